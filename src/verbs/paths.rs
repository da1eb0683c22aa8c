//! Resolution of paths in a step's input.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::rooted_fs::normalize;
use crate::verb::{Failure, Workspace};

/// A file or a directory, by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PathOrInput {
    /// Path, relative to the project.
    Path(String),
    /// The value of an input of type `file` or `dir`; only its path is used.
    Input {
        /// Its path.
        path: String,
    },
}

impl PathOrInput {
    /// Its path, relative to the project.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Path(path) | Self::Input { path } => path,
        }
    }
}

/// Errors if `target` is in a directory that git or Atoll reads, other than that of the run.
pub(super) fn usual(workspace: &Workspace, target: &Path) -> Result<(), Failure> {
    let plain = |path: &&Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    let kept = target.strip_prefix(&workspace.kept).ok().filter(plain);
    let below = kept.or_else(|| target.strip_prefix(&workspace.project).ok());
    let names =
        below.unwrap_or(target).components().map(|part| part.as_os_str().to_string_lossy().to_lowercase());
    let refused = names.into_iter().find(|name| name == ".git" || (below.is_some() && name == ".atoll"));
    match refused {
        None => Ok(()),
        Some(name) => Err(reserved_directory(target, &name)),
    }
}

/// The absolute form of `given`. A relative path starts from `project` and must stay in it, links included;
/// an absolute path may lead anywhere.
pub(super) fn inside(project: &Path, given: &str) -> Result<PathBuf, Failure> {
    let below = path_components(given)?;
    if Path::new(given).is_absolute() {
        return Ok(given.into());
    }
    let target = below.iter().fold(project.to_owned(), |dir, name| dir.join(name));
    let Ok(root) = project.canonicalize() else { return Ok(target) };
    let existing = target.ancestors().find_map(|dir| dir.canonicalize().ok());
    if existing.is_some_and(|real| !real.starts_with(&root)) {
        return Err(outside(given));
    }
    Ok(target)
}

/// The components of `given`. Errors if it is not a path, or leads out of the project.
fn path_components(given: &str) -> Result<Vec<&OsStr>, Failure> {
    if given.is_empty() || given.contains('\0') {
        return Err(Failure::permanent(format!("{given:?} is not a valid path")));
    }
    let path = Path::new(given);
    let mut below: Vec<&OsStr> = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir if below.pop().is_none() && path.is_relative() => {
                return Err(outside(given));
            }
            _ => {}
        }
    }
    Ok(below)
}

/// The reason why `given` can never be written to.
pub(super) fn unusable(given: &str) -> Option<Failure> {
    let below = match path_components(given) {
        Ok(below) => below,
        Err(failure) => return Some(failure),
    };
    let git = below.iter().find(|name| name.to_string_lossy().eq_ignore_ascii_case(".git"));
    git.map(|_| reserved_directory(Path::new(given), ".git"))
}

/// The failure of a step that would write into the directory `name`.
fn reserved_directory(target: &Path, name: &str) -> Failure {
    Failure::permanent(format!("{} is refused: steps may not write into `{name}`", target.display()))
        .hint("write it to another directory")
}

/// `target`, which `given` names, with all links of its existing part followed: a directory to start from,
/// and the rest of the path, which has no links. A relative path starts from `project`; an absolute one from
/// the root.
pub(super) fn resolved(project: &Path, given: &str, target: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let there = target.ancestors().find_map(|dir| Some((dir, dir.canonicalize().ok()?)));
    let Some((there, real)) = there else {
        return Err(Failure::permanent(format!("{given:?} is not a path to a file")));
    };
    let missing = target.strip_prefix(there).unwrap_or(Path::new(""));
    // The part that does not exist has no links: its `..` can be resolved lexically.
    let real = normalize(&real.join(missing));
    if Path::new(given).is_absolute() {
        return Ok((PathBuf::from("/"), real));
    }
    // The project directory is created if it does not exist.
    let root = project.canonicalize().unwrap_or_else(|_| PathBuf::from("/"));
    match real.strip_prefix(&root) {
        Ok(below) => Ok((root.clone(), below.to_owned())),
        Err(_) => Err(outside(given)),
    }
}

/// The failure of a relative path that does not stay in the project.
pub(super) fn outside(given: &str) -> Failure {
    Failure::permanent(format!("the path {given:?} leads out of the project directory"))
        .hint("to write outside the project, use an absolute path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_stay_in_the_project() {
        let place = tempfile::tempdir().unwrap();
        let project = place.path().join("project");
        std::fs::create_dir(&project).unwrap();
        std::os::unix::fs::symlink(place.path(), project.join("link")).unwrap();
        assert_eq!(inside(&project, "a/../b/./c").unwrap(), project.join("b/c"));
        assert_eq!(inside(&project, "/anywhere").unwrap(), Path::new("/anywhere"));
        for given in ["..", "a/../../x", "link/x", "link", ""] {
            assert!(inside(&project, given).is_err(), "{given}");
        }
        let target = project.join("link/x");
        assert!(resolved(&project, "link/x", &target).is_err());
        let root = project.canonicalize().unwrap();
        assert_eq!(resolved(&project, "a/b", &project.join("a/b")).unwrap(), (root, "a/b".into()));
        let place = place.path().canonicalize().unwrap();
        assert_eq!(resolved(&project, "/x", &target).unwrap(), ("/".into(), place.join("x")));
        let target = place.join("none/../x");
        assert_eq!(resolved(&project, "/x", &target).unwrap(), ("/".into(), place.join("x")));
    }
}
