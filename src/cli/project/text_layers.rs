//! Pipelines, prompts and schemas by name: from the project, the user's directory, and the binary, in this
//! order.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::cli::project::input_files::LARGEST;
use crate::cli::project::owners::{Owners, way_out};
use crate::cli::project::settings::Settings;
use crate::plan::{BUILTIN, Found, Layer, Sources, USERS, Unreadable, library_path};
use crate::rooted_fs::{EntryKind, RootedFs, read_file};
use crate::tree::folded;

static EMBEDDED: [(&str, Dir<'static>); 3] = [
    ("pipelines", include_dir!("$CARGO_MANIFEST_DIR/pipelines")),
    ("prompts", include_dir!("$CARGO_MANIFEST_DIR/prompts")),
    ("schemas", include_dir!("$CARGO_MANIFEST_DIR/schemas")),
];

/// The maximum number of listed files.
const MOST: usize = 10_000;

/// The three layers of texts.
#[derive(Clone, Debug)]
pub struct TextLayers {
    roots: Vec<(Layer, PathBuf)>,
    project: PathBuf,
    owners: Owners,
}

impl TextLayers {
    /// The layers that `settings` describe.
    pub fn new(settings: &Settings) -> Self {
        let mut roots = vec![(Layer::Project, settings.project.clone())];
        roots.extend(settings.user.clone().map(|dir| (Layer::User, dir)));
        Self { roots, project: settings.project.clone(), owners: settings.owners.clone() }
    }

    /// All texts at `path` of the library, the effective one first. A path may include the layer, e.g. for a
    /// text that is overridden.
    pub fn all(&self, path: &str) -> Result<Vec<Found>, Unreadable> {
        let mut found = Vec::new();
        let only = [(BUILTIN, Layer::Embedded), (USERS, Layer::User)];
        let only = only.iter().find(|(front, _)| path.starts_with(front)).map(|(_, layer)| *layer);
        let path = library_path(path);
        if !is_of_library(path) {
            return Ok(found);
        }
        for (layer, root) in self.roots.iter().filter(|(layer, _)| only.is_none_or(|only| only == *layer)) {
            found.extend(self.file(&root.join(path), *layer)?);
        }
        if only == Some(Layer::User) {
            return Ok(found);
        }
        found.extend(embedded(path).map(|text| Found {
            layer: Layer::Embedded,
            name: format!("<atoll>/{path}"),
            text: text.into(),
        }));
        Ok(found)
    }

    /// The texts that a file of the project with the same path would override.
    pub fn reserved(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        for (name, dir) in &EMBEDDED {
            collect_embedded(name, dir, &mut paths);
            for (_, root) in self.roots.iter().filter(|(layer, _)| *layer == Layer::User) {
                collect(root, name, &mut paths);
            }
        }
        paths.into_iter().map(|path| folded(&path)).collect()
    }

    fn file(&self, path: &Path, layer: Layer) -> Result<Option<Found>, Unreadable> {
        let name = path.strip_prefix(&self.project).unwrap_or(path).display().to_string();
        let missing = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        let read = read_file(path, LARGEST);
        if read.as_ref().is_err_and(missing) {
            return Ok(None);
        }
        let text = read.map_err(|e| e.to_string()).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|e| format!("it is not UTF-8 text ({})", e.utf8_error()))
        });
        match text {
            Ok(text) => {
                self.owners.check(path).map_err(|why| Unreadable {
                    name: name.clone(),
                    reason: format!("{why}; {}", way_out(path)),
                })?;
                Ok(Some(Found { layer, name, text: text.into() }))
            }
            Err(reason) => Err(Unreadable { name, reason }),
        }
    }
}

impl Sources for TextLayers {
    /// An existing file that cannot be read is an error; it is never skipped.
    fn find(&self, path: &str) -> Result<Option<Found>, Unreadable> {
        if let Some(found) = self.all(path)?.into_iter().next() {
            return Ok(Some(found));
        }
        let named = Path::new(path).extension().is_some_and(|extension| extension == "toml");
        if named && library_path(path) == path { self.file(Path::new(path), Layer::File) } else { Ok(None) }
    }

    fn layers(&self, path: &str) -> Result<Vec<Found>, Unreadable> {
        self.all(path)
    }

    fn list(&self, folder: &str) -> Vec<String> {
        if let Some(folder) = folder.strip_prefix(BUILTIN) {
            let mut paths = BTreeSet::new();
            EMBEDDED
                .iter()
                .filter(|(name, _)| *name == folder)
                .for_each(|(name, dir)| collect_embedded(name, dir, &mut paths));
            return paths.into_iter().map(|path| format!("{BUILTIN}{path}")).collect();
        }
        let mut paths = BTreeSet::new();
        for (_, root) in &self.roots {
            collect(root, folder, &mut paths);
        }
        for (name, dir) in &EMBEDDED {
            collect_embedded(name, dir, &mut paths);
        }
        let below = |path: &String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let hidden = |path: &String| path.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
        paths.into_iter().filter(|path| below(path) && !hidden(path)).collect()
    }
}

/// Adds the files in `folder` of `root` and below, as paths from `root`, up to [`MOST`] files. A file may be
/// a link; a link to a directory is not followed, because it may lead in a circle.
fn collect(root: &Path, folder: &str, paths: &mut BTreeSet<String>) {
    let at = root.join(folder);
    let Ok(files) = RootedFs::open(&at) else { return };
    let mut left = vec![PathBuf::new()];
    while let Some(dir) = left.pop() {
        for (name, kind) in files.entries(&dir, MOST).unwrap_or_default() {
            let path = dir.join(name);
            let is_file = kind == EntryKind::File || (kind == EntryKind::Link && at.join(&path).is_file());
            if kind == EntryKind::Dir {
                left.push(path);
            } else if is_file {
                paths.extend(Path::new(folder).join(path).to_str().map(str::to_owned));
            }
        }
        if paths.len() + left.len() > MOST {
            return;
        }
    }
}

fn collect_embedded(name: &str, dir: &Dir<'static>, paths: &mut BTreeSet<String>) {
    paths.extend(dir.files().filter_map(|file| file.path().to_str()).map(|path| format!("{name}/{path}")));
    dir.dirs().for_each(|dir| collect_embedded(name, dir, paths));
}

fn embedded(path: &str) -> Option<&'static str> {
    let (dir, rest) = path.split_once('/')?;
    let (_, dir) = EMBEDDED.iter().find(|(name, _)| *name == dir)?;
    dir.get_file(rest)?.contents_utf8()
}

fn is_of_library(path: &str) -> bool {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    inside && EMBEDDED.iter().any(|(dir, _)| path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files")]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_project_hides_the_user_and_nothing_outside_is_found() {
        let place = tempfile::tempdir().unwrap();
        let (project, user) = (place.path().join("project"), place.path().join("user"));
        for (root, text) in [(&project, "ours"), (&user, "mine")] {
            std::fs::create_dir_all(root.join("prompts/x")).unwrap();
            std::fs::write(root.join("prompts/x/y.md"), text).unwrap();
            for name in ["circle", "round"] {
                symlink(root, root.join("prompts/x").join(name)).unwrap();
            }
        }
        std::fs::write(place.path().join("secret"), "no").unwrap();
        let settings = Settings {
            data_is_named: true,
            project,
            here: place.path().join("project"),
            data: place.path().join("data"),
            user: Some(user),
            file: None,
            lanes: indexmap::IndexMap::new(),
            owners: Owners::default(),
        };
        let texts = TextLayers::new(&settings);
        let all = texts.all("prompts/x/y.md").unwrap();
        let seen: Vec<_> = all.iter().map(|found| (found.layer.word(), &*found.text)).collect();
        assert_eq!(seen, [("project", "ours"), ("user", "mine")]);
        assert_eq!(all[0].name, "prompts/x/y.md");
        assert_eq!(texts.find("../secret"), Ok(None));
        assert_eq!(texts.find("prompts/../../secret"), Ok(None));
        assert_eq!(texts.find("/etc/hostname"), Ok(None));
        assert_eq!(texts.list("prompts/x"), ["prompts/x/y.md"]);
        assert!(texts.list("pipelines").contains(&"pipelines/factory.toml".to_owned()));
        assert!(texts.find("prompts/x").is_err(), "a directory is not skipped silently");
    }
}
