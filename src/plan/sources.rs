use std::collections::BTreeMap;
use std::sync::Arc;

/// Where pipelines and the texts they name come from. The plan asks; it never looks itself.
pub trait Sources {
    /// The file at `path`: either a path of the library (`pipelines/NAME.toml`, `prompts/…`, `schemas/…`), looked
    /// up layer by layer, or the path of a pipeline file.
    fn find(&self, path: &str) -> Result<Option<Found>, Unreadable>;

    /// All texts at `path` of the library, the one that wins first, then those that it hides.
    fn layers(&self, path: &str) -> Result<Vec<Found>, Unreadable> {
        Ok(self.find(path)?.into_iter().collect())
    }

    /// Paths of all files of the library below `folder`, e.g. `pipelines`; for suggestions.
    fn list(&self, folder: &str) -> Vec<String>;
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path as people know it.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
    /// Which layer it came from.
    pub layer: Layer,
}

/// Stands in front of the path of a text that is built in, whatever hides it.
pub const BUILTIN: &str = "builtin/";
/// The same for a text of the user that a project hides. Authors cannot name it.
pub const USERS: &str = "<user>/";

/// The path of the library that `path` is, whichever layer it names.
pub fn library_path(path: &str) -> &str {
    path.strip_prefix(BUILTIN).or_else(|| path.strip_prefix(USERS)).unwrap_or(path)
}

/// Layers, the first that has a file wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Named by its own path.
    File,
    /// The project.
    Project,
    /// The user's configuration.
    User,
    /// Built in.
    Embedded,
    /// Stored with a run.
    Stored,
}

impl Layer {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Project => "project",
            Self::User => "user",
            Self::Embedded => "embedded",
            Self::Stored => "stored",
        }
    }
}

/// A file that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Unreadable {
    /// Its path as people know it.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Texts in memory, by path: those stored with a run, and those of tests.
#[derive(Clone, Debug, Default)]
pub struct MemorySources(BTreeMap<String, Arc<str>>);

impl MemorySources {
    /// The given texts by path.
    pub fn new<P: Into<String>, T: Into<Arc<str>>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }

    /// The same with one text more.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        self.0.insert(path.into(), text.into());
        self
    }
}

impl Sources for MemorySources {
    fn find(&self, path: &str) -> Result<Option<Found>, Unreadable> {
        let found = self.0.get(path);
        Ok(found.map(|text| Found { name: path.to_owned(), text: text.clone(), layer: Layer::Stored }))
    }

    fn layers(&self, path: &str) -> Result<Vec<Found>, Unreadable> {
        let stored = [("", Layer::Stored), (USERS, Layer::User), (BUILTIN, Layer::Embedded)];
        let found = stored.map(|(front, layer)| {
            let name = format!("{front}{path}");
            self.0.get(&name).map(|text| Found { name, text: text.clone(), layer })
        });
        Ok(found.into_iter().flatten().collect())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let below = |path: &&String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.0.keys().filter(below).cloned().collect()
    }
}
