//! The files and directories that inputs name.
#![expect(clippy::disallowed_methods, reason = "the door to the files that inputs name")]

use std::fs;
use std::path::{Path, PathBuf};

use super::{Settings, Stop, house};
use crate::clients::registry::Registry;
use crate::plan::{InputDoor, Listed, ReadFile};
use crate::rooted_fs::read_file;
use crate::value::Digest;

/// Most bytes of a file that an input names, or of one in a directory that it names.
const LARGEST: u64 = 256 << 20;

/// Files, found from the directory of the project, and the models of the registry.
pub struct Files {
    project: PathBuf,
    registry: Option<Registry>,
    /// The names of keys that the user keeps.
    keys: Vec<String>,
}

impl Files {
    /// Files and models of the project that `settings` know.
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        let registry = house::registry(settings)?;
        let keys = house::kept_keys(settings)?.into_keys().chain(registry.key_commands().into_keys());
        Ok(Self { keys: keys.collect(), registry: Some(registry), ..Self::alone(settings) })
    }

    /// The same, where any name will do for a model.
    pub fn alone(settings: &Settings) -> Self {
        Self { project: settings.project.clone(), registry: None, keys: Vec::new() }
    }
}

impl InputDoor for Files {
    fn file(&self, path: &str) -> Result<ReadFile, String> {
        let full = self.project.join(path);
        let bytes = read_file(&full, LARGEST).map_err(|e| e.to_string())?;
        let text =
            String::from_utf8(bytes).map_err(|e| format!("it is no UTF-8 text ({})", e.utf8_error()))?;
        let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ReadFile { name, text })
    }

    fn dir(&self, path: &str) -> Result<Vec<Listed>, String> {
        let mut listed = Vec::new();
        let root = self.project.join(path);
        list(&root, &root, &mut listed)?;
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listed)
    }

    fn single(&self, path: &str) -> Option<Result<Vec<Listed>, String>> {
        let full = self.project.join(path);
        if full.is_dir() {
            return None;
        }
        let read = read_file(&full, LARGEST).map_err(|e| e.to_string());
        Some(read.map(|bytes| {
            let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
            vec![Listed { path: name, size: bytes.len() as u64, digest: Digest::of(&bytes) }]
        }))
    }

    fn model(&self, name: &str) -> Result<(), (String, Option<String>)> {
        let Some(registry) = &self.registry else { return Ok(()) };
        registry.find(name).map(drop).map_err(|error| (error.message, error.hint))
    }

    fn secret(&self, name: &str) -> bool {
        self.registry.is_none()
            || Settings::environment(name).is_some()
            || self.keys.iter().any(|key| key == name)
    }
}

/// The bytes of the regular file at `path`; pipes and devices are refused without waiting for them.
pub fn regular(path: &Path) -> Result<Vec<u8>, String> {
    read_file(path, LARGEST).map_err(|e| e.to_string())
}

/// Everything below `dir` but `.git`; links are followed to files only, so that no directory is walked for ever.
fn list(root: &Path, dir: &Path, listed: &mut Vec<Listed>) -> Result<(), String> {
    let shown = |path: &Path, e: &dyn std::fmt::Display| match path.strip_prefix(root) {
        Ok(below) if !below.as_os_str().is_empty() => format!("{}: {e}", below.display()),
        _ => e.to_string(),
    };
    for entry in fs::read_dir(dir).map_err(|e| shown(dir, &e))? {
        let entry = entry.map_err(|e| shown(dir, &e))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| shown(&path, &e))?;
        if kind.is_dir() {
            if entry.file_name() != ".git" {
                list(root, &path, listed)?;
            }
        } else if path.is_file() {
            let bytes = read_file(&path, LARGEST).map_err(|e| shown(&path, &e))?;
            let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            listed.push(Listed { path: below, size: bytes.len() as u64, digest: Digest::of(&bytes) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_listed_by_path_and_trouble_is_named() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("s");
        fs::create_dir_all(root.join("b/.git")).unwrap();
        for (path, text) in [("z.yaml", "1"), ("b/a.yaml", "22"), ("b/.git/x", "no")] {
            fs::write(root.join(path), text).unwrap();
        }
        std::os::unix::fs::symlink(&root, root.join("b/loop")).unwrap();
        fs::write(place.path().join("bad"), [0xff, 0xfe]).unwrap();
        let files = Files { project: place.path().to_owned(), registry: None, keys: Vec::new() };
        let listed = files.dir("s").unwrap();
        assert_eq!(
            listed.iter().map(|f| (f.path.as_str(), f.size)).collect::<Vec<_>>(),
            [("b/a.yaml", 2), ("z.yaml", 1)]
        );
        assert_eq!(files.file("s/z.yaml").unwrap(), ReadFile { name: "z.yaml".into(), text: "1".into() });
        assert!(files.file("bad").unwrap_err().contains("UTF-8"));
        assert!(files.file("missing").unwrap_err().contains("No such file"));
        assert!(files.dir("bad").unwrap_err().contains("Not a directory"));
    }
}
