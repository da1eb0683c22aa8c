//! The files and directories that inputs refer to.

use std::path::{Path, PathBuf};

use crate::cli::error::CommandError;
use crate::cli::project::settings::Settings;
use crate::cli::wiring;
use crate::llm::registry::Registry;
use crate::plan::{InputDoor, Listed, ReadFile};
use crate::rooted_fs::{EntryKind, RootedFs, read_file};
use crate::value::Digest;
use crate::verbs::scenario_load::companions;

/// The maximum size of an input file, or of a file in an input directory, in bytes.
pub const LARGEST: u64 = 256 << 20;
/// The maximum number of files in an input directory.
const MOST_FILES: usize = 100_000;

/// Reads files, relative to the project, and checks models against the registry.
pub struct InputFiles {
    project: PathBuf,
    registry: Option<Registry>,
    /// The names of stored keys.
    keys: Vec<String>,
}

impl InputFiles {
    /// Files and models of the project that `settings` describe.
    pub fn new(settings: &Settings) -> Result<Self, CommandError> {
        let registry = wiring::registry(settings)?;
        let keys = wiring::kept_keys(settings)?.into_keys().chain(registry.key_commands().into_keys());
        Ok(Self { keys: keys.collect(), registry: Some(registry), ..Self::alone(settings) })
    }

    /// The same, with every model name accepted.
    pub fn alone(settings: &Settings) -> Self {
        Self { project: settings.project.clone(), registry: None, keys: Vec::new() }
    }
}

impl InputDoor for InputFiles {
    fn file(&self, path: &str) -> Result<ReadFile, String> {
        let full = self.project.join(path);
        let bytes = read_file(&full, LARGEST).map_err(|e| e.to_string())?;
        let text =
            String::from_utf8(bytes).map_err(|e| format!("it is not UTF-8 text ({})", e.utf8_error()))?;
        let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ReadFile { name, text })
    }

    fn dir(&self, path: &str) -> Result<Vec<Listed>, String> {
        list(&self.project.join(path))
    }

    fn single(&self, path: &str) -> Option<Result<Vec<Listed>, String>> {
        let full = self.project.join(path);
        if full.is_dir() {
            return None;
        }
        let read = read_file(&full, LARGEST).map_err(|e| e.to_string());
        Some(read.map(|bytes| {
            let name = full.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let own = Listed { path: name, size: bytes.len() as u64, digest: Digest::of(&bytes) };
            // The digest of a scenario file includes its fixtures and the files that it refers to.
            let is_yaml = full.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            let needed = if is_yaml { companions(&full) } else { Vec::new() };
            let listed = |(path, size, digest)| Listed { path, size, digest };
            std::iter::once(own).chain(needed.into_iter().map(listed)).collect()
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

/// The bytes of the regular file at `path`; pipes and devices are refused without waiting.
pub fn regular(path: &Path) -> Result<Vec<u8>, String> {
    read_file(path, LARGEST).map_err(|e| e.to_string())
}

/// The files of `dir`, at most [`MOST_FILES`], without those of `.git`. Links are followed to files in `dir`;
/// other entries are skipped.
fn list(dir: &Path) -> Result<Vec<Listed>, String> {
    let root = RootedFs::open(dir).map_err(|e| e.to_string())?.following_links();
    let shown = |path: &Path, e: &std::io::Error| {
        if path.as_os_str().is_empty() { e.to_string() } else { format!("{}: {e}", path.display()) }
    };
    let (mut listed, mut left) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(dir) = left.pop() {
        for (name, kind) in root.entries(&dir, MOST_FILES).map_err(|e| shown(&dir, &e))? {
            let path = dir.join(&name);
            match kind {
                EntryKind::Dir if name != ".git" => left.push(path),
                EntryKind::Link if !root.is_file(&path) => {}
                EntryKind::File | EntryKind::Link => {
                    let bytes = root.read(&path, LARGEST).map_err(|e| shown(&path, &e))?;
                    let digest = Digest::of(&bytes);
                    let path = path.to_string_lossy().into_owned();
                    listed.push(Listed { path, size: bytes.len() as u64, digest });
                }
                EntryKind::Dir | EntryKind::Other => {}
            }
            if listed.len() + left.len() > MOST_FILES {
                return Err(format!("it has more than {MOST_FILES} files"));
            }
        }
    }
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files")]

    use std::fs;

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
        std::os::unix::fs::symlink("/etc/passwd", root.join("out")).unwrap();
        std::os::unix::fs::symlink("b/a.yaml", root.join("near")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status();
        assert!(made.unwrap().success());
        fs::write(place.path().join("bad"), [0xff, 0xfe]).unwrap();
        let files = InputFiles { project: place.path().to_owned(), registry: None, keys: Vec::new() };
        let listed = files.dir("s").unwrap();
        assert_eq!(
            listed.iter().map(|f| (f.path.as_str(), f.size)).collect::<Vec<_>>(),
            [("b/a.yaml", 2), ("near", 2), ("z.yaml", 1)]
        );
        assert_eq!(files.file("s/z.yaml").unwrap(), ReadFile { name: "z.yaml".into(), text: "1".into() });
        assert!(files.file("bad").unwrap_err().contains("UTF-8"));
        assert!(files.file("missing").unwrap_err().contains("No such file"));
        assert!(files.dir("bad").unwrap_err().contains("directory"));
    }
}
