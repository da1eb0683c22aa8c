//! Edits of a tree as steps and models write them: parsed, checked before there is a tree, and applied.

mod misfit;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::unusual;
use crate::tree::edit::{AppliedEdit, ApplyError, Edit, EditError, apply};
use crate::tree::{Tree, TreeRef, blocks, check_path};
use crate::value::Value;
use crate::verb::{Context, Failure, Refusal, pointer};

/// Whole files, as weak models write them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WholeFiles {
    /// A list.
    List(Vec<WholeFile>),
    /// Contents by path.
    Map(serde_json::Map<String, Value>),
}

/// A whole file.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct WholeFile {
    /// Path relative to the tree.
    pub path: String,
    /// Whole content.
    pub content: String,
}

/// The edits in a step's input, by key.
#[derive(Clone, Copy, Default)]
pub(super) struct EditSource<'a> {
    pub(super) edits: Option<&'a [Value]>,
    pub(super) files: Option<&'a WholeFiles>,
    pub(super) text: Option<&'a str>,
    /// Whether `text` is known to be complete.
    pub(super) ended: bool,
    /// Whether the edits start from a tree.
    pub(super) has_base: bool,
}

impl EditSource<'_> {
    /// The edits; `None` if no key has any.
    pub(super) fn read(&self) -> Result<Option<Vec<Edit>>, Failure> {
        let edits = match (self.edits, self.files, self.text) {
            (Some(values), ..) => read_edits(values)?,
            (_, Some(files), _) => read_whole(files)?,
            (.., Some(text)) => read_text(text, self.ended)?,
            _ => return Ok(None),
        };
        Ok(Some(edits))
    }

    /// Errors of the edits that do not depend on the tree.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        match self.read() {
            Err(failure) => {
                let refusal = Refusal::of(format!("/{}", self.key()), failure);
                vec![if self.key() == "text" { refusal.with("/ended") } else { refusal }]
            }
            Ok(edits) => {
                let edits = edits.unwrap_or_default();
                let unusable = self.unusable_paths(&edits);
                if unusable.is_empty() { self.misfit(&edits).into_iter().collect() } else { unusable }
            }
        }
    }

    /// The key that is used.
    fn key(&self) -> &'static str {
        match (self.edits, self.files) {
            (Some(_), _) => "edits",
            (_, Some(_)) => "files",
            _ => "text",
        }
    }

    /// Errors for files that a tree cannot contain.
    fn unusable_paths(&self, edits: &[Edit]) -> Vec<Refusal> {
        let refusal = |(index, edit): (usize, &Edit)| {
            let reason = check_path(edit.path()).err()?;
            let error = EditError { index, path: edit.path().to_owned(), reason, hint: None };
            let failure = Failure::from(ApplyError::from(error));
            let at = self.place_of(index, edit);
            let is_key = matches!(self.files, Some(WholeFiles::Map(_)));
            Some(if is_key { Refusal::key(at, failure) } else { Refusal::of(at, failure) })
        };
        edits.iter().enumerate().filter_map(refusal).collect()
    }

    /// The location of the path of an edit.
    fn place_of(&self, index: usize, edit: &Edit) -> String {
        match (self.files, self.edits) {
            (Some(WholeFiles::Map(_)), _) => pointer("/files", edit.path()),
            (Some(WholeFiles::List(_)), _) => format!("/files/{index}/path"),
            (_, Some(_)) => format!("/edits/{index}/path"),
            _ => "/text".to_owned(),
        }
    }
}

/// A tree after edits.
pub(super) struct Applied {
    /// The stored tree.
    pub(super) tree: TreeRef,
    /// The effect of each edit.
    pub(super) changes: Vec<AppliedEdit>,
    /// Whether the tree equals the previous one.
    pub(super) unchanged: bool,
}

/// The tree to which `edits` are applied, and the files that must stay unchanged.
#[derive(Clone, Copy, Default)]
pub(super) struct EditBase<'a> {
    /// The tree that the edits change; `None` for an empty one.
    pub(super) base: Option<&'a TreeRef>,
    /// A tree of files that edits cannot change.
    pub(super) fixed: Option<&'a TreeRef>,
    /// Whether the result may be empty.
    pub(super) empty: bool,
}

/// Applies `edits`, all or none, and stores the result. Edits that do not apply, and files that other
/// programs obey, are `rejected`.
pub(super) fn applied(edits: &[Edit], ground: &EditBase<'_>, cx: &Context) -> Result<Applied, Failure> {
    let (mut tree, mut changes) = apply(&*cx.blobs, &stored(ground.base, cx)?, edits)?;
    let written = changes.iter().filter(|change| matches!(change.op, "added" | "changed" | "renamed"));
    if let Some(refusal) = unusual::refusal(written.map(|change| change.path.as_str()), cx) {
        return Err(refusal);
    }
    let fixed = stored(ground.fixed, cx)?;
    for change in &mut changes {
        let kept = fixed.files.get(&change.path);
        if kept.is_some() && kept != tree.files.get(&change.path) {
            change.op = "unchanged";
            change.bytes = kept.map_or(0, |file| file.blob.size);
            change.note = Some("this file is fixed: it stays as it is".to_owned());
        }
    }
    tree.cover(&fixed);
    if tree.files.is_empty() && !ground.empty {
        return Err(Failure::rejected("no file is left in the tree").hint("give at least one file"));
    }
    let saved = tree.save(&*cx.blobs)?;
    let unchanged = ground.base.is_some_and(|base| base.tree == saved.tree);
    Ok(Applied { tree: saved, changes, unchanged })
}

/// The tree of `tree`; an empty one for `None`.
pub(super) fn stored(tree: Option<&TreeRef>, cx: &Context) -> Result<Tree, Failure> {
    match tree {
        Some(tree) => Ok(Tree::load(&*cx.blobs, &tree.tree)?),
        None => Ok(Tree::new()),
    }
}

/// Edits from a model's answer; `op` may be missing if the other keys determine it.
pub(super) fn read_edits(values: &[Value]) -> Result<Vec<Edit>, Failure> {
    let read = |(index, value): (usize, &Value)| {
        let mut value = value.clone();
        if let Some(table) = value.as_object_mut()
            && !table.contains_key("op")
        {
            let op = match () {
                () if table.contains_key("content") => "write",
                () if table.contains_key("find") => "replace",
                () if table.contains_key("to") => "rename",
                () => "missing",
            };
            table.insert("op".to_owned(), op.into());
        }
        serde_json::from_value(value.clone()).map_err(|e| {
            Failure::rejected(format!("edit {} is none: {e}", index + 1))
                .hint("`op` is write (path, content), replace (path, find, replace), delete (path) or rename (path, to)")
                .detail(json!({ "index": index, "edit": value }))
        })
    };
    values.iter().enumerate().map(read).collect()
}

fn read_whole(files: &WholeFiles) -> Result<Vec<Edit>, Failure> {
    let write = |path: &str, content: &str| Edit::Write { path: path.into(), content: content.into() };
    match files {
        WholeFiles::List(files) => Ok(files.iter().map(|file| write(&file.path, &file.content)).collect()),
        WholeFiles::Map(files) => files
            .iter()
            .map(|(path, content)| match content {
                Value::String(content) => Ok(write(path, content)),
                other => Err(Failure::rejected(format!("the content of {path:?} is no text"))
                    .hint("give each file's whole content as one string")
                    .detail(json!({ "path": path, "content": other }))),
            })
            .collect(),
    }
}

/// Edits from the blocks in a text. `ended` says that the text is known to be complete: the last block then
/// needs no end line.
pub(super) fn read_text(text: &str, ended: bool) -> Result<Vec<Edit>, Failure> {
    let mut parsed = blocks::parse(text);
    if let Some(rest) = parsed.rest.take().filter(|_| ended) {
        parsed.edits.push(rest);
        parsed.truncated = None;
    }
    let complete: Vec<&str> = parsed.edits.iter().map(Edit::path).collect();
    if let Some(path) = &parsed.truncated {
        return Err(Failure::rejected(format!("the text breaks off: {path:?} has no `=== END FILE ===`"))
            .hint("nothing was applied; ask for the rest, or for shorter files")
            .detail(json!({ "truncated": path, "complete": complete })));
    }
    if parsed.edits.is_empty() && parsed.unchanged.is_empty() {
        let mut head: String = text.chars().take(200).collect();
        if head.len() < text.len() {
            head.push('…');
        }
        return Err(Failure::rejected("the text holds no file")
            .hint("each file goes between a line `=== FILE: path ===` and a line `=== END FILE ===`")
            .detail(json!({ "text": head })));
    }
    Ok(parsed.edits)
}
