//! `files`: makes, edits, packs, compares, shows and delivers trees of files.

mod misfit;

use std::path::Path;

use globset::GlobSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::globs::globs;
use super::{place, unusual};
use crate::rooted_fs::remove_tree;
use crate::tree::edit::{ApplyError, Change, Edit, EditError, apply};
use crate::tree::{Tree, TreeEntry, TreeRef, blocks, check_path, holds_foreign_files, is_on_disk, real_path};
use crate::value::{Digest, Value};
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb, Workspace, pointer};

/// The verb `files`.
pub struct Files;

/// Input of `files`: exactly one of `edits`, `files`, `text`, `dir`, `diff`, `materialise`, `show`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "they are keys that authors write")]
pub struct With {
    /// The tree that `edits`, `files` or `text` change; none for an empty one. For `materialise`, what the user gave: its files
    /// need no consent.
    pub base: Option<TreeRef>,
    /// A tree whose files lie over what `edits`, `files` or `text` come to: those of the same path stay as they are in it.
    pub over: Option<TreeRef>,
    /// Edits, applied all or nothing: objects with `op` `write` (`path`, `content`), `replace` (`path`, `find`,
    /// `replace`, `all`), `delete` (`path`) or `rename` (`path`, `to`).
    #[schemars(with = "Option<Vec<Edit>>")]
    pub edits: Option<Vec<Value>>,
    /// Whole files to write: a list of `{path, content}`, or an object of contents by path.
    pub files: Option<Whole>,
    /// Whether the tree may be left without any file.
    pub empty: bool,
    /// Text with blocks `=== FILE: path ===` … `=== END FILE ===` and lines `=== DELETE: path ===`.
    pub text: Option<String>,
    /// Whether the writer of `text` came to an end by itself, as a model's `stop` of `end` says: the last block then
    /// needs no end line.
    pub ended: bool,
    /// A directory to pack, relative to the project: at most 100,000 files and 2 GiB.
    pub dir: Option<String>,
    /// Globs that `dir` leaves out; one without `/` is matched against names.
    pub ignore: Vec<String>,
    /// What becomes of links that `dir` cannot follow: those that lead out of it, nowhere or in a circle.
    pub links: Links,
    /// Two trees to compare.
    pub diff: Option<Diff>,
    /// A tree to deliver to `into`.
    pub materialise: Option<TreeRef>,
    /// The directory that becomes exactly the tree, relative to the project.
    pub into: Option<String>,
    /// Replaces the content of `into` even where no delivery made it.
    pub force: bool,
    /// Whether to look only if the tree can be delivered: nothing is written.
    pub check_only: bool,
    /// A tree whose texts are wanted.
    pub show: Option<TreeRef>,
    /// Globs that say which files to show, all where there are none; one without `/` is matched against names.
    pub paths: Vec<String>,
    /// At most so many bytes are shown in all; files that do not fit are listed in `omitted`.
    pub max_bytes: Option<u64>,
}

/// What becomes of links that cannot be followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// They are an error.
    #[default]
    Refuse,
    /// They are kept as links, and not followed, and so are links to what is left out. Directories without files, permissions
    /// and times are kept as well. Only the `files` of a `service` take a tree that has some links.
    Keep,
}

/// Whole files, as weak models write them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Whole {
    /// One after the other.
    List(Vec<File>),
    /// Contents by path.
    Map(serde_json::Map<String, Value>),
}

/// A whole file.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct File {
    /// Relative path.
    pub path: String,
    /// The whole text.
    pub content: String,
}

/// Two trees.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    /// The old one; none for an empty one.
    pub from: Option<TreeRef>,
    /// The new one.
    pub to: TreeRef,
}

/// Output of `files`; will do wherever a tree is wanted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Out {
    /// Digest of the tree that was made, packed, shown, delivered, or compared to.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// Its files.
    pub files: Vec<TreeEntry>,
    /// What the edits did.
    pub changes: Vec<Change>,
    /// Whether the tree equals `base`, or both sides of `diff` are equal.
    pub unchanged: bool,
    /// Unified diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// The texts of `show`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<Vec<Shown>>,
    /// Files that `show` was asked for and left out: no text, or beyond `max_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omitted: Option<Vec<String>>,
    /// The directory that was delivered to, absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A file that is shown.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Shown {
    /// Relative path.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What a step can do, by the key that says so.
const ACTIONS: [&str; 7] = ["edits", "files", "text", "dir", "diff", "materialise", "show"];

impl With {
    /// What it is to do: the keys that are there.
    fn actions(&self) -> Vec<&'static str> {
        let there = [
            self.edits.is_some(),
            self.files.is_some(),
            self.text.is_some(),
            self.dir.is_some(),
            self.diff.is_some(),
            self.materialise.is_some(),
            self.show.is_some(),
        ];
        ACTIONS.into_iter().zip(there).filter(|(_, there)| *there).map(|(key, _)| key).collect()
    }

    /// The edits of files that no tree can hold.
    fn unusable_paths(&self, edits: &[Edit]) -> Vec<Refusal> {
        let refusal = |(index, edit): (usize, &Edit)| {
            let reason = check_path(edit.path()).err()?;
            let error = EditError { index, path: edit.path().to_owned(), reason, hint: None };
            let failure = Failure::from(ApplyError::from(error));
            let at = self.place_of(index, edit);
            let is_key = matches!(self.files, Some(Whole::Map(_)));
            Some(if is_key { Refusal::key(at, failure) } else { Refusal::of(at, failure) })
        };
        edits.iter().enumerate().filter_map(refusal).collect()
    }

    /// The place of the path of an edit.
    fn place_of(&self, index: usize, edit: &Edit) -> String {
        match (&self.files, &self.edits) {
            (Some(Whole::Map(_)), _) => pointer("/files", edit.path()),
            (Some(Whole::List(_)), _) => format!("/files/{index}/path"),
            (_, Some(_)) => format!("/edits/{index}/path"),
            _ => "/text".to_owned(),
        }
    }

    /// The edits that it asks for; none if it asks for something else.
    fn edits(&self) -> Result<Option<Vec<Edit>>, Failure> {
        let edits = match (&self.edits, &self.files, &self.text) {
            (Some(values), ..) => read_edits(values)?,
            (_, Some(files), _) => read_whole(files)?,
            (.., Some(text)) => read_text(text, self.ended)?,
            _ => return Ok(None),
        };
        Ok(Some(edits))
    }
}

impl Verb for Files {
    const NAME: &'static str = "files";
    const SUMMARY: &'static str = "make, edit, pack, compare, show or deliver a tree of files";
    const TRAITS: Traits = Traits::repeatable("disk").anew();
    const EXAMPLE: &'static str = r##"[steps.page]
files = { files = [{ path = "index.html", content = "<h1>hello</h1>" }, { path = "README.md", content = "# hello" }] }

[steps.better]
files = { base = "{{ steps.page.output }}", edits = [
    { op = "replace", path = "index.html", find = "hello", replace = "good morning" },
    { op = "delete", path = "README.md" },
] }
"##;
    type With = With;
    type Out = Out;

    fn refusals(with: &With) -> Vec<Refusal> {
        let actions = with.actions();
        let [action] = actions.as_slice() else {
            let found = if actions.is_empty() { "none".to_owned() } else { actions.join(" and ") };
            let failure = Failure::permanent(format!("`files` does one thing at a time, found {found}"))
                .hint("give exactly one of: edits, files, text, dir, diff, materialise, show");
            return vec![Refusal::among(&ACTIONS, failure)];
        };
        let chosen = [("ignore", &with.ignore), ("paths", &with.paths)];
        let mut found = Vec::new();
        for (key, patterns) in chosen {
            found.extend(globs(patterns).err().map(|failure| Refusal::of(format!("/{key}"), failure)));
        }
        match with.edits() {
            Err(failure) => {
                let refusal = Refusal::of(format!("/{action}"), failure);
                found.push(if *action == "text" { refusal.with("/ended") } else { refusal });
            }
            Ok(edits) => {
                let edits = edits.unwrap_or_default();
                let unusable = with.unusable_paths(&edits);
                let misfit = if unusable.is_empty() { with.misfit(&edits) } else { None };
                found.extend(unusable.into_iter().chain(misfit));
            }
        }
        if *action == "materialise" {
            found.extend(match &with.into {
                None => {
                    let failure = Failure::permanent("`materialise` does not say where to");
                    let failure = failure.hint("add into = \"directory\"");
                    Some(Refusal::among(&["into", "materialise"], failure))
                }
                Some(into) => place::unusable(into).map(|failure| Refusal::of("/into", failure)),
            });
        }
        found
    }

    async fn run(&self, with: With, cx: Context) -> Result<Output<Out>, Failure> {
        // Trees are read and written with calls that block for the disk.
        let done = tokio::task::spawn_blocking(move || act(&with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("`files` broke down: {e}")))?.map(Output::free)
    }
}

fn act(with: &With, cx: &Context) -> Result<Out, Failure> {
    if let Some(edits) = with.edits()? {
        return edit(with, &edits, cx);
    }
    match with {
        With { dir: Some(dir), .. } => pack(dir, with, cx),
        With { diff: Some(diff), .. } => compare(diff, cx),
        With { materialise: Some(tree), .. } => deliver(tree, with, cx),
        With { show: Some(tree), .. } => show(tree, with, cx),
        _ => Err(Failure::new(Class::Bug, "`files` has nothing to do")),
    }
}

/// Edits from a model's answer; `op` may be missing where the other keys tell it.
fn read_edits(values: &[Value]) -> Result<Vec<Edit>, Failure> {
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

fn read_whole(files: &Whole) -> Result<Vec<Edit>, Failure> {
    let write = |path: &str, content: &str| Edit::Write { path: path.into(), content: content.into() };
    match files {
        Whole::List(files) => Ok(files.iter().map(|file| write(&file.path, &file.content)).collect()),
        Whole::Map(files) => files
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

fn read_text(text: &str, ended: bool) -> Result<Vec<Edit>, Failure> {
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

fn out(tree: TreeRef) -> Out {
    let TreeRef { tree, files } = tree;
    Out {
        tree,
        files,
        changes: Vec::new(),
        unchanged: false,
        diff: None,
        texts: None,
        omitted: None,
        path: None,
    }
}

fn load(tree: Option<&TreeRef>, cx: &Context) -> Result<Tree, Failure> {
    match tree {
        Some(tree) => Ok(Tree::load(&*cx.blobs, &tree.tree)?),
        None => Ok(Tree::new()),
    }
}

fn edit(with: &With, edits: &[Edit], cx: &Context) -> Result<Out, Failure> {
    let base = with.base.as_ref();
    let (mut tree, changes) = apply(&*cx.blobs, &load(base, cx)?, edits)?;
    let written = changes.iter().filter(|change| matches!(change.op, "added" | "changed" | "renamed"));
    if let Some(refusal) = unusual::refusal(written.map(|change| change.path.as_str()), cx) {
        return Err(refusal);
    }
    tree.cover(&load(with.over.as_ref(), cx)?);
    if tree.files.is_empty() && !with.empty {
        return Err(Failure::rejected("no file is left in the tree").hint("give at least one file"));
    }
    let saved = tree.save(&*cx.blobs)?;
    let unchanged = base.is_some_and(|base| base.tree == saved.tree);
    Ok(Out { changes, unchanged, ..out(saved) })
}

fn pack(dir: &str, with: &With, cx: &Context) -> Result<Out, Failure> {
    let ignore = globs(&with.ignore)?;
    let from = cx.workspace.project.join(dir);
    let ignored = |path: &str| matches(&ignore, path);
    let tree = match with.links {
        Links::Refuse => Tree::from_dir(&*cx.blobs, &from, &ignored),
        Links::Keep => Tree::from_dir_with_links(&*cx.blobs, &from, &ignored),
    };
    let tree = tree.map_err(|e| Failure::permanent(format!("cannot pack the directory {dir:?}: {e}")))?;
    if tree.files.is_empty() && tree.links.is_empty() {
        return Err(Failure::rejected(format!("the directory {dir:?} holds no file to pack")));
    }
    let saved = tree.save(&*cx.blobs)?;
    let unchanged = with.base.as_ref().is_some_and(|base| base.tree == saved.tree);
    Ok(Out { unchanged, ..out(saved) })
}

fn compare(diff: &Diff, cx: &Context) -> Result<Out, Failure> {
    let (from, to) = (load(diff.from.as_ref(), cx)?, load(Some(&diff.to), cx)?);
    let text = from.diff(&*cx.blobs, &to)?;
    let unchanged = from == to;
    Ok(Out { diff: Some(text), unchanged, ..out(to.save(&*cx.blobs)?) })
}

fn deliver(tree: &TreeRef, with: &With, cx: &Context) -> Result<Out, Failure> {
    let Some(given) = &with.into else {
        return Err(
            Failure::permanent("`materialise` does not say where to").hint("add into = \"directory\"")
        );
    };
    let project = real_path(&cx.workspace.project)?;
    let into = real_path(&place::inside(&cx.workspace.project, given)?)?;
    let workspace = Workspace { project: project.clone(), ..cx.workspace.clone() };
    place::usual(&workspace, &into)?;
    if project.starts_with(&into) {
        return Err(Failure::permanent(format!(
            "{given:?} holds the project itself and cannot be replaced by a tree"
        ))
        .hint("deliver into a directory of its own"));
    }
    if !Path::new(given).is_absolute() && !into.starts_with(&project) {
        return Err(place::outside(given));
    }
    let tree = load(Some(tree), cx)?;
    if !with.force && holds_foreign_files(&*cx.blobs, &into)? {
        return Err(Failure::permanent(format!(
            "the directory {given:?} holds files that are no earlier delivery"
        ))
        .hint("choose another directory, or set force = true to replace what is in it"));
    }
    // What the user gave, or has there already, needs no consent.
    let own = load(with.base.as_ref(), cx)?;
    let foreign = tree
        .files
        .iter()
        .filter(|(path, file)| own.files.get(*path) != Some(file) && !is_on_disk(&into, path, file));
    let paths = foreign.map(|(path, _)| path.as_str());
    if let Some(failure) = unusual::undeliverable(&into, &tree.files.keys().map(String::as_str), paths, cx) {
        return Err(failure);
    }
    if with.check_only {
        Tree::can_materialise_at(&into)?;
    } else {
        tree.materialise_at(&*cx.blobs, &into)?;
    }
    // Other steps may have written their part of a repository since.
    if let Some(failure) = unusual::in_repository(&into) {
        remove_tree(&into).map_err(|e| Failure::permanent(format!("{}; and {e}", failure.message)))?;
        return Err(failure);
    }
    Ok(Out { path: Some(into.to_string_lossy().into_owned()), ..out(tree.save(&*cx.blobs)?) })
}

fn show(tree: &TreeRef, with: &With, cx: &Context) -> Result<Out, Failure> {
    let wanted = globs(&with.paths)?;
    let tree = load(Some(tree), cx)?;
    let mut left = with.max_bytes.unwrap_or(u64::MAX);
    let (mut texts, mut omitted) = (Vec::new(), Vec::new());
    for (path, file) in &tree.files {
        if !with.paths.is_empty() && !matches(&wanted, path) {
            continue;
        }
        match (file.blob.size <= left).then(|| tree.text(&*cx.blobs, path)) {
            Some(Ok(text)) => {
                left -= file.blob.size;
                texts.push(Shown { path: path.clone(), text });
            }
            Some(Err(crate::tree::TreeError::NotText { .. })) | None => omitted.push(path.clone()),
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(Out { texts: Some(texts), omitted: Some(omitted), ..out(tree.save(&*cx.blobs)?) })
}

fn matches(set: &GlobSet, path: &str) -> bool {
    set.is_match(path)
}

#[cfg(test)]
mod tests;
