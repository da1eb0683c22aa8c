//! `edit`: applies edits to a tree of files, all or none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edit_source::{EditBase, EditSource, WholeFiles, applied};
use crate::tree::edit::{AppliedEdit, Edit};
use crate::tree::{TreeEntry, TreeRef};
use crate::value::{Digest, Value};
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `edit`.
pub struct EditTree;

/// Input of `edit`: exactly one of `edits`, `files` and `text`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditInput {
    /// The tree to change. Default: an empty one.
    pub base: Option<TreeRef>,
    /// Edits, applied in order, all or none: objects with `op` `write` (`path`, `content`), `replace`
    /// (`path`, `find`, `replace`, `all`), `delete` (`path`) or `rename` (`path`, `to`).
    #[schemars(with = "Option<Vec<Edit>>")]
    pub edits: Option<Vec<Value>>,
    /// Whole files to write: a list of `{path, content}`, or an object of contents by path.
    pub files: Option<WholeFiles>,
    /// Text with blocks `=== FILE: path ===` … `=== END FILE ===` and lines `=== DELETE: path ===`.
    pub text: Option<String>,
    /// Whether `text` is known to be complete, as if a model's `stop` is `end`: the last block then needs no
    /// end line.
    pub ended: bool,
    /// A tree of files that cannot be changed: in the result they are as in this tree.
    pub fixed: Option<TreeRef>,
    /// Whether the result may be empty. Default: `false`.
    pub empty: bool,
}

/// Output of `edit`: can be used wherever a tree is expected.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EditOutput {
    /// Digest of the new tree.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// Files of the new tree.
    pub files: Vec<TreeEntry>,
    /// Effect of each edit.
    pub changes: Vec<AppliedEdit>,
    /// Whether the new tree equals `base`.
    pub unchanged: bool,
}

/// The keys of which exactly one is given.
const FORMS: [&str; 3] = ["edits", "files", "text"];

impl EditInput {
    fn source(&self) -> EditSource<'_> {
        EditSource {
            edits: self.edits.as_deref(),
            files: self.files.as_ref(),
            text: self.text.as_deref(),
            ended: self.ended,
            has_base: self.base.is_some(),
        }
    }

    /// The keys of `FORMS` that are given.
    fn forms(&self) -> Vec<&'static str> {
        let given = [self.edits.is_some(), self.files.is_some(), self.text.is_some()];
        FORMS.into_iter().zip(given).filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }
}

impl Verb for EditTree {
    const NAME: &'static str = "edit";
    const SUMMARY: &'static str = "change a tree of files, all edits or none";
    const TRAITS: Traits = Traits::repeatable("disk");
    const EXAMPLE: &'static str = r##"[steps.page]
pack = { files = [{ path = "index.html", content = "<h1>hello</h1>" }, { path = "README.md", content = "# hello" }] }

[steps.better]
edit = { base = "{{ steps.page.output }}", edits = [
    { op = "replace", path = "index.html", find = "hello", replace = "good morning" },
    { op = "delete", path = "README.md" },
] }
"##;
    type With = EditInput;
    type Out = EditOutput;

    fn refusals(with: &EditInput) -> Vec<Refusal> {
        let forms = with.forms();
        if forms.len() == 1 {
            return with.source().refusals();
        }
        let found = if forms.is_empty() { "none".to_owned() } else { forms.join(" and ") };
        let failure = Failure::permanent(format!("`edit` takes one of edits, files and text, found {found}"))
            .hint("give exactly one of: edits, files, text");
        vec![Refusal::among(&FORMS, failure)]
    }

    async fn run(&self, with: EditInput, cx: Context) -> Result<Output<EditOutput>, Failure> {
        // Trees are read and written with blocking disk calls.
        let done = tokio::task::spawn_blocking(move || edit(&with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `edit`: {e}")))?
            .map(Output::free)
    }
}

fn edit(with: &EditInput, cx: &Context) -> Result<EditOutput, Failure> {
    let edits = with.source().read()?;
    let edits = edits.ok_or_else(|| Failure::new(Class::Bug, "`edit` has no edits"))?;
    let ground = EditBase { base: with.base.as_ref(), fixed: with.fixed.as_ref(), empty: with.empty };
    let done = applied(&edits, &ground, cx)?;
    let TreeRef { tree, files } = done.tree;
    Ok(EditOutput { tree, files, changes: done.changes, unchanged: done.unchanged })
}

#[cfg(test)]
mod tests;
