//! Edits of a tree, which are applied atomically.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Tree, TreeError};
use crate::verb::{Blobs, Failure};

/// One edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// Sets the whole content of a new or existing file.
    Write {
        /// Relative path.
        path: String,
        /// The whole text.
        content: String,
    },
    /// Replaces a piece of a file.
    Replace {
        /// Relative path.
        path: String,
        /// Text to search; must occur exactly once, unless `all` is true.
        find: String,
        /// Replacement.
        replace: String,
        /// Replaces every occurrence.
        #[serde(default)]
        all: bool,
    },
    /// Removes a file.
    Delete {
        /// Relative path.
        path: String,
    },
    /// Moves a file to a path at which there is no file.
    Rename {
        /// Relative path.
        path: String,
        /// The new path.
        to: String,
    },
}

/// Result of an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AppliedEdit {
    /// Path of the file after the edit.
    pub path: String,
    /// `added`, `changed`, `unchanged`, `deleted` or `renamed`.
    pub op: &'static str,
    /// Size after the edit in bytes; 0 if it was deleted.
    pub bytes: u64,
    /// Remark about the edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An edit that does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("edit {} of {path:?} does not apply: {reason}", index + 1)]
pub struct EditError {
    /// Index of the edit, from 0.
    pub index: usize,
    /// The given path.
    pub path: String,
    /// Reason.
    pub reason: String,
    /// Suggestion for a correction.
    pub hint: Option<String>,
}

/// Why edits were not applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplyError {
    /// An edit does not apply to the tree.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The content store failed.
    #[error(transparent)]
    Tree(TreeError),
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Tree(error) => error.into(),
            ApplyError::Edit(error) => {
                let failure = Self::rejected(error.to_string()).hint(
                    error.hint.clone().unwrap_or_else(|| "nothing was changed; correct this edit".to_owned()),
                );
                failure.detail(serde_json::to_value(&error).unwrap_or_default())
            }
        }
    }
}

/// The reason of a failed edit, without its index.
struct Misfit {
    reason: String,
    hint: Option<String>,
}

enum EditProblem {
    Misfit(Misfit),
    Store(TreeError),
}

impl From<TreeError> for EditProblem {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Path { reason, .. } => misfit(reason, None),
            TreeError::NoFile { .. } => misfit("there is no such file", None),
            TreeError::NotText { .. } => misfit("the file is not text", None),
            other => Self::Store(other),
        }
    }
}

/// The beginning of a text on one line, quoted: at most 120 characters of it.
fn beginning(text: &str) -> String {
    let head: String = text.chars().take(120).collect();
    format!("{head:?}{}", if head.len() < text.len() { "…" } else { "" })
}

fn misfit(reason: impl Into<String>, hint: Option<String>) -> EditProblem {
    EditProblem::Misfit(Misfit { reason: reason.into(), hint })
}

/// The tree with all of `edits` applied, one after the other, or the first that does not apply.
pub fn apply(blobs: &dyn Blobs, base: &Tree, edits: &[Edit]) -> Result<(Tree, Vec<AppliedEdit>), ApplyError> {
    let mut tree = base.clone();
    let mut changes = Vec::with_capacity(edits.len());
    for (index, edit) in edits.iter().enumerate() {
        match apply_one(blobs, &mut tree, edit) {
            Ok(change) => changes.push(change),
            Err(EditProblem::Store(error)) => return Err(ApplyError::Tree(error)),
            Err(EditProblem::Misfit(Misfit { reason, hint })) => {
                let path = edit.path().to_owned();
                return Err(EditError { index, path, reason, hint }.into());
            }
        }
    }
    Ok((tree, changes))
}

impl Edit {
    /// The given path of the edit.
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. }
            | Self::Replace { path, .. }
            | Self::Delete { path }
            | Self::Rename { path, .. } => path,
        }
    }
}

fn apply_one(blobs: &dyn Blobs, tree: &mut Tree, edit: &Edit) -> Result<AppliedEdit, EditProblem> {
    match edit {
        Edit::Write { path, content } => write(blobs, tree, path, content, None),
        Edit::Replace { path, find, replace, all } => {
            let path = existing(tree, path)?;
            let text = tree.text(blobs, &path)?;
            let (text, note) = substitute(&text, find, replace, *all).map_err(EditProblem::Misfit)?;
            write(blobs, tree, &path, &text, note)
        }
        Edit::Delete { path } => {
            let path = existing(tree, path)?;
            tree.files.remove(&path);
            Ok(AppliedEdit { path, op: "deleted", bytes: 0, note: None })
        }
        Edit::Rename { path, to } => {
            let path = existing(tree, path)?;
            let file = tree.files[&path];
            tree.files.remove(&path);
            let to = tree.free_path(to)?;
            if tree.files.contains_key(&to) {
                return Err(misfit(
                    format!("the file {to:?} already exists"),
                    Some("delete it first".to_owned()),
                ));
            }
            tree.files.insert(to.clone(), file);
            Ok(AppliedEdit {
                path: to,
                op: "renamed",
                bytes: file.blob.size,
                note: Some(format!("was {path}")),
            })
        }
    }
}

fn write(
    blobs: &dyn Blobs,
    tree: &mut Tree,
    path: &str,
    text: &str,
    note: Option<String>,
) -> Result<AppliedEdit, EditProblem> {
    let path = tree.free_path(path)?;
    let old = tree.files.get(&path).copied();
    tree.put(blobs, &path, text.as_bytes())?;
    let new = tree.files[&path];
    let op = match old {
        None => "added",
        Some(old) if old == new => "unchanged",
        Some(_) => "changed",
    };
    Ok(AppliedEdit { path, op, bytes: new.blob.size, note })
}

/// The normalized `path`, if the file exists.
fn existing(tree: &Tree, path: &str) -> Result<String, EditProblem> {
    let checked = super::check_path(path).map_err(|reason| misfit(reason, None))?;
    if tree.files.contains_key(&checked) {
        return Ok(checked);
    }
    let names: Vec<&str> = tree.files.keys().map(String::as_str).collect();
    let near = names.iter().max_by(|a, b| strsim::jaro(a, &checked).total_cmp(&strsim::jaro(b, &checked)));
    let hint =
        near.map_or("the tree has no files".to_owned(), |near| format!("the nearest file is {near:?}"));
    Err(misfit("there is no such file", Some(hint)))
}

/// `text` with `find` replaced, and a note if it was found only by ignoring white space.
fn substitute(text: &str, find: &str, replace: &str, all: bool) -> Result<(String, Option<String>), Misfit> {
    if find.trim().is_empty() {
        let hint = Some("use `write` to set the whole file".to_owned());
        return Err(Misfit { reason: "`find` is empty".to_owned(), hint });
    }
    match text.matches(find).count() {
        0 => {}
        1 => return Ok((text.replacen(find, replace, 1), None)),
        _ if all => return Ok((text.replace(find, replace), None)),
        n => {
            let reason = format!("`find` occurs {n} times");
            let hint = Some("add lines around it until it occurs once, or set `all`".to_owned());
            return Err(Misfit { reason, hint });
        }
    }
    let spans = loose_matches(text, find);
    match spans.len() {
        0 => Err(Misfit {
            reason: format!("`find` does not occur in the file: {}", beginning(find)),
            hint: nearest_line(text, find),
        }),
        n if n > 1 && !all => Err(Misfit {
            reason: format!("`find` does not occur exactly, and {n} times if white space is ignored"),
            hint: Some("copy the lines as they are in the file, with more lines around them".to_owned()),
        }),
        _ => {
            let mut result = text.to_owned();
            for (start, end) in spans.into_iter().rev() {
                let indented = reindent(&text[start..end], find, replace);
                result.replace_range(start..end, &indented);
            }
            Ok((result, Some("found only by ignoring white space at the ends of lines".to_owned())))
        }
    }
}

/// Byte ranges of whole lines of `text` that equal the lines of `find` except for surrounding white space.
fn loose_matches(text: &str, find: &str) -> Vec<(usize, usize)> {
    let wanted: Vec<&str> = find.trim_matches('\n').lines().map(str::trim).collect();
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        lines.push((start, start + line.trim_end_matches(['\n', '\r']).len(), line.trim()));
        start += line.len();
    }
    let mut found = Vec::new();
    let mut first = 0;
    while first + wanted.len() <= lines.len() {
        let window = &lines[first..first + wanted.len()];
        if window.iter().zip(&wanted).all(|((_, _, line), wanted)| line == wanted) {
            found.push((window[0].0, window[window.len() - 1].1));
            first += wanted.len();
        } else {
            first += 1;
        }
    }
    found
}

/// `replace` with the additional indentation of `found` compared with `find`.
fn reindent(found: &str, find: &str, replace: &str) -> String {
    let indent = |text: &str| -> String {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        line.chars().take_while(|c| c.is_whitespace()).collect()
    };
    let (there, given) = (indent(found), indent(find));
    let body = if replace.trim().is_empty() { "" } else { replace.trim_matches('\n') };
    let moved = body.lines().map(|line| match line.strip_prefix(given.as_str()) {
        _ if line.trim().is_empty() => String::new(),
        Some(rest) => format!("{there}{rest}"),
        None => line.to_owned(),
    });
    moved.collect::<Vec<_>>().join("\n")
}

/// The line of `text` that is most similar to the first line of `find`.
fn nearest_line(text: &str, find: &str) -> Option<String> {
    const LINES: usize = 5_000;
    let wanted = find.lines().map(str::trim).find(|line| !line.is_empty())?;
    let scored = text.lines().take(LINES).enumerate().filter(|(_, line)| !line.trim().is_empty());
    let scored = scored.map(|(n, line)| (strsim::normalized_levenshtein(line.trim(), wanted), n, line));
    let (_, n, line) = scored.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
    let line = line.trim_end();
    let shown: String = line.chars().take(200).collect();
    let more = if shown.len() < line.len() { "…" } else { "" };
    Some(format!("the nearest line is {}: {shown}{more}", n + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::MemoryBlobs;
    use serde_json::json;

    const CODE: &str = "def f():\n    a = 1\n    b = 2\n\ndef g():\n    a = 1\n";

    fn base(blobs: &MemoryBlobs) -> Tree {
        let mut tree = Tree::new();
        tree.put(blobs, "app.py", CODE.as_bytes()).unwrap();
        tree.put(blobs, "run.sh", b"#!/bin/sh\n").unwrap();
        tree
    }

    fn edits(value: serde_json::Value) -> Vec<Edit> {
        serde_json::from_value(value).unwrap()
    }

    fn refused(value: serde_json::Value) -> EditError {
        let blobs = MemoryBlobs::default();
        match apply(&blobs, &base(&blobs), &edits(value)) {
            Err(ApplyError::Edit(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn edits_apply_in_order() {
        let blobs = MemoryBlobs::default();
        let (tree, changes) = apply(
            &blobs,
            &base(&blobs),
            &edits(json!([
                {"op": "replace", "path": "./app.py", "find": "b = 2", "replace": "b = 3"},
                {"op": "replace", "path": "app.py", "find": "a = 1", "replace": "a = 9", "all": true},
                {"op": "rename", "path": "run.sh", "to": "bin/run"},
                {"op": "write", "path": "new.txt", "content": "x"},
                {"op": "write", "path": "new.txt", "content": "x"},
                {"op": "delete", "path": "new.txt"},
            ])),
        )
        .unwrap();
        assert_eq!(
            tree.text(&blobs, "app.py").unwrap(),
            CODE.replace("b = 2", "b = 3").replace("a = 1", "a = 9")
        );
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["app.py", "bin/run"]);
        assert!(tree.files["bin/run"].executable);
        let ops: Vec<_> = changes.iter().map(|change| change.op).collect();
        assert_eq!(ops, ["changed", "changed", "renamed", "added", "unchanged", "deleted"]);
    }

    #[test]
    fn an_edit_that_does_not_apply_says_which_and_why() {
        let error = refused(json!([
            {"op": "write", "path": "x", "content": ""},
            {"op": "replace", "path": "app.py", "find": "b == 2", "replace": ""},
        ]));
        assert_eq!((error.index, error.path.as_str()), (1, "app.py"));
        assert_eq!(error.hint.unwrap(), "the nearest line is 3:     b = 2");
        let error = refused(json!([{"op": "replace", "path": "app.py", "find": "a = 1", "replace": "x"}]));
        assert!(error.reason.contains("occurs 2 times"), "{error}");
        let error = refused(json!([{"op": "replace", "path": "app.py", "find": "", "replace": "x"}]));
        assert!(error.reason.contains("empty"), "{error}");
        let error = refused(json!([{"op": "delete", "path": "ap.py"}]));
        assert_eq!(error.hint.unwrap(), "the nearest file is \"app.py\"");
        let error = refused(json!([{"op": "write", "path": "../x", "content": ""}]));
        assert!(error.reason.contains("`..` is not allowed"), "{error}");
        let error = refused(json!([{"op": "rename", "path": "app.py", "to": "run.sh"}]));
        assert!(error.reason.contains("already"), "{error}");
        let failure = Failure::from(ApplyError::from(error));
        assert_eq!((failure.class, &failure.detail["index"]), (crate::verb::Class::Rejected, &json!(0)));
    }

    #[test]
    fn white_space_is_passed_over_only_where_that_is_unambiguous() {
        let blobs = MemoryBlobs::default();
        let find = "a = 1\nb = 2  \n";
        let loose =
            edits(json!([{"op": "replace", "path": "app.py", "find": find, "replace": "c = 3\n  d = 4\n"}]));
        let (tree, changes) = apply(&blobs, &base(&blobs), &loose).unwrap();
        assert!(changes[0].note.as_ref().unwrap().contains("white space"));
        assert_eq!(
            tree.text(&blobs, "app.py").unwrap(),
            "def f():\n    c = 3\n      d = 4\n\ndef g():\n    a = 1\n"
        );
        let error = refused(json!([{"op": "replace", "path": "app.py", "find": "\ta = 1", "replace": "x"}]));
        assert!(error.reason.contains("2 times if white space"), "{error}");
    }

    #[test]
    fn a_rename_onto_itself_and_into_its_own_name_is_fine() {
        let blobs = MemoryBlobs::default();
        let nested = edits(json!([{"op": "rename", "path": "app.py", "to": "app.py/main.py"}]));
        let (tree, _) = apply(&blobs, &base(&blobs), &nested).unwrap();
        assert!(tree.files.contains_key("app.py/main.py") && !tree.files.contains_key("app.py"));
    }
}
