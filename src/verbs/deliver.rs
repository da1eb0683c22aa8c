//! `deliver`: replaces a directory with the files of a tree.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edit_source::stored;
use super::{paths, unusual};
use crate::rooted_fs::remove_tree;
use crate::tree::{Tree, TreeEntry, TreeRef, holds_foreign_files, is_on_disk, real_path};
use crate::value::Digest;
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb, Workspace};

/// The verb `deliver`.
pub struct Deliver;

/// Input of `deliver`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverInput {
    /// The tree.
    pub tree: TreeRef,
    /// The directory to replace, relative to the project. Afterwards it holds exactly the files of the tree.
    pub into: String,
    /// A tree that the user provided: its files need no permission.
    #[serde(default)]
    pub trusted: Option<TreeRef>,
    /// Whether the content of `into` is replaced even if it is not an earlier delivery. Default: `false`.
    #[serde(default)]
    pub force: bool,
    /// Whether to check only, without writing anything. Default: `false`.
    #[serde(default)]
    pub dry_run: bool,
}

/// Output of `deliver`: can be used wherever a tree is expected.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeliverOutput {
    /// Absolute path of the directory.
    pub path: String,
    /// Digest of the tree.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// Files of the tree.
    pub files: Vec<TreeEntry>,
}

impl Verb for Deliver {
    const NAME: &'static str = "deliver";
    const SUMMARY: &'static str = "replace a directory with the files of a tree";
    const TRAITS: Traits = Traits::repeatable("disk").always_rerun();
    const EXAMPLE: &'static str = r#"[steps.page]
pack = { files = { "index.html" = "<h1>hello</h1>" } }

[steps.site]
deliver = { tree = "{{ steps.page.output.tree }}", into = "out" }
"#;
    type With = DeliverInput;
    type Out = DeliverOutput;

    fn refusals(with: &DeliverInput) -> Vec<Refusal> {
        paths::unusable(&with.into).map(|failure| Refusal::of("/into", failure)).into_iter().collect()
    }

    async fn run(&self, with: DeliverInput, cx: Context) -> Result<Output<DeliverOutput>, Failure> {
        let done = tokio::task::spawn_blocking(move || deliver(&with, &cx)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `deliver`: {e}")))?
            .map(Output::free)
    }
}

fn deliver(with: &DeliverInput, cx: &Context) -> Result<DeliverOutput, Failure> {
    let given = &with.into;
    let project = real_path(&cx.workspace.project)?;
    let into = real_path(&paths::inside(&cx.workspace.project, given)?)?;
    let workspace = Workspace { project: project.clone(), ..cx.workspace.clone() };
    paths::usual(&workspace, &into)?;
    if project.starts_with(&into) {
        return Err(Failure::permanent(format!(
            "{given:?} contains the project itself and cannot be replaced"
        ))
        .hint("deliver into a directory of its own"));
    }
    if !Path::new(given).is_absolute() && !into.starts_with(&project) {
        return Err(paths::outside(given));
    }
    let tree = stored(Some(&with.tree), cx)?;
    if !with.force && holds_foreign_files(&*cx.blobs, &into)? {
        return Err(Failure::permanent(format!(
            "the directory {given:?} contains files that are not from an earlier delivery"
        ))
        .hint("choose another directory, or set force = true to replace what is in it"));
    }
    // Files that the user provided, or that are already there, need no permission.
    let own = stored(with.trusted.as_ref(), cx)?;
    let foreign = tree
        .files
        .iter()
        .filter(|(path, file)| own.files.get(*path) != Some(file) && !is_on_disk(&into, path, file));
    let paths = foreign.map(|(path, _)| path.as_str());
    if let Some(failure) = unusual::undeliverable(&into, &tree.files.keys().map(String::as_str), paths, cx) {
        return Err(failure);
    }
    if with.dry_run {
        Tree::can_materialise_at(&into)?;
    } else {
        tree.materialise_at(&*cx.blobs, &into)?;
    }
    // Other steps may have written files of a git repository since the check.
    if let Some(failure) = unusual::in_repository(&into) {
        remove_tree(&into).map_err(|e| Failure::permanent(format!("{}; and {e}", failure.message)))?;
        return Err(failure);
    }
    let TreeRef { tree, files } = tree.save(&*cx.blobs)?;
    Ok(DeliverOutput { path: into.to_string_lossy().into_owned(), tree, files })
}

#[cfg(test)]
mod tests;
