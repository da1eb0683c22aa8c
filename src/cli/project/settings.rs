//! The locations of the project and of runs, and the settings in `atoll.toml`. Read once, at the start.
#![expect(clippy::disallowed_methods, reason = "the door to settings: environment and atoll.toml")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::cli::error::CommandError;
use crate::cli::permissions::trust_file::TrustFile;
use crate::cli::project::input_files::regular;
use crate::cli::project::owners::{Owners, way_out};
use crate::diag::{SourceMap, nearest};
use crate::model::Node;

/// The name of a project's settings file.
pub const FILE: &str = "atoll.toml";
const TABLES: [&str; 6] = ["providers", "models", "aliases", "agents", "lanes", "docker"];

/// Settings for every command.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory that relative paths and the project's own pipelines start from.
    pub project: PathBuf,
    /// Working directory.
    pub here: PathBuf,
    /// Directory of the runs.
    pub data: PathBuf,
    /// Whether the user specified that directory; otherwise it is in the project, and may have come with it.
    pub data_is_named: bool,
    /// Directory of the user's pipelines for all projects.
    pub user: Option<PathBuf>,
    /// Path and text of `atoll.toml`.
    pub file: Option<(PathBuf, Arc<str>)>,
    /// Maximum number of parallel attempts, by lane.
    pub lanes: IndexMap<String, usize>,
    /// Accepted owners of files.
    pub owners: Owners,
}

impl Settings {
    /// Looks for `atoll.toml` from the working directory upwards. `data` is the directory of the runs from
    /// the command line or `ATOLL_DATA`.
    pub fn find(data: Option<&Path>) -> Result<Self, CommandError> {
        let here = std::env::current_dir()
            .map_err(|e| CommandError::failed(format!("the working directory cannot be read: {e}")))?;
        let user = user_dir();
        let owners = Owners::new(TrustFile::load(user.as_deref())?.directories);
        let refuse =
            |path: &Path| owners.check(path).map_err(|why| CommandError::wrong(why).hint(way_out(path)));
        let file =
            match here.ancestors().map(|dir| dir.join(FILE)).find(|path| path.symlink_metadata().is_ok()) {
                Some(path) => {
                    refuse(&path)?;
                    path.parent().map_or(Ok(()), &refuse)?;
                    let text = regular(&path)
                        .and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.utf8_error().to_string()))
                        .map_err(|e| CommandError::failed(format!("{}: {e}", path.display())))?;
                    Some((path, Arc::from(text)))
                }
                None => None,
            };
        let lanes = match &file {
            Some((path, text)) => {
                refuse_commands(path, text)?;
                lanes(path, text)?
            }
            None => IndexMap::new(),
        };
        let project =
            file.as_ref().and_then(|(path, _)| path.parent()).map_or_else(|| here.clone(), Path::to_path_buf);
        let given = data.map(|data| here.join(data));
        let data = given.clone().unwrap_or_else(|| project.join(".atoll"));
        if given.is_none() {
            refuse(&data)?;
        }
        Ok(Self { project, here, data, data_is_named: given.is_some(), user, file, lanes, owners })
    }

    /// The database of runs.
    pub fn database(&self) -> PathBuf {
        self.data.join("atoll.db")
    }

    /// The directory for temporary files of steps.
    pub fn scratch(&self) -> PathBuf {
        self.data.join("scratch")
    }

    /// The directory with a subdirectory for each run, for files that are kept with it.
    pub fn files(&self) -> PathBuf {
        self.data.join("files")
    }

    /// A path from the user, relative to the project: the working directory may be a subdirectory.
    pub fn input_from_project(&self, path: &str) -> String {
        if self.here == self.project { path.to_owned() } else { self.here.join(path).display().to_string() }
    }

    /// The same for a path to write to: relative to the project, which it may not leave.
    pub fn output_from_project(&self, path: &str) -> String {
        let here = self.here.strip_prefix(&self.project).unwrap_or(&self.here);
        here.join(path).display().to_string()
    }

    /// The environment variable `name`, if it is set and not empty.
    pub fn environment(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

fn user_dir() -> Option<PathBuf> {
    let config = Settings::environment("XDG_CONFIG_HOME").map(PathBuf::from);
    let config =
        config.or_else(|| Settings::environment("HOME").map(|home| Path::new(&home).join(".config")));
    config.map(|dir| dir.join("atoll"))
}

/// Keys of a provider that a project may not set: a command for a key would run with the user's rights, and
/// any variable could be sent to an address.
const OURS: [(&str, &str); 2] = [
    ("key_command", "it would run a command from the author of the project"),
    ("base_url_env", "it could send the value of any variable somewhere"),
];

fn refuse_commands(path: &Path, text: &str) -> Result<(), CommandError> {
    let mut sources = SourceMap::new();
    let id = sources.add(path.display().to_string(), text);
    // Invalid TOML is reported when the rest of the file is read.
    let Ok(root) = Node::parse(&sources, id) else { return Ok(()) };
    let table = |node: &Node, key: &str| node.table().and_then(|table| table.get(key)).cloned();
    let providers = table(&root, "providers").and_then(|entry| entry.node.table().cloned());
    for (name, provider) in providers.unwrap_or_default() {
        for (key, why) in OURS {
            let Some(entry) = table(&provider.node, key) else { continue };
            let at = sources.position(id, entry.key.start);
            let place = format!("{}:{}:{}", path.display(), at.line, at.column);
            return Err(CommandError::wrong(format!("{place}: `{key}` is not allowed in a project: {why}"))
                .hint(format!("move it to [providers.{name}] in your own ~/.config/atoll/models.toml")));
        }
    }
    Ok(())
}

fn lanes(path: &Path, text: &str) -> Result<IndexMap<String, usize>, CommandError> {
    let wrong = |message: String| CommandError::wrong(format!("{}: {message}", path.display()));
    let table: toml::Table =
        crate::value::parse_toml(text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
    if let Some(unknown) = table.keys().find(|key| !TABLES.contains(&key.as_str())) {
        let near = nearest(unknown, TABLES).map(|near| format!("did you mean `{near}`?"));
        let hint = near.unwrap_or_else(|| format!("known here: {}", TABLES.join(", ")));
        return Err(wrong(format!("unknown table `{unknown}`")).hint(hint));
    }
    let Some(lanes) = table.get("lanes") else { return Ok(IndexMap::new()) };
    let bad = || wrong("`lanes` must be a table of names and whole numbers of at least 1".to_owned());
    let lanes = lanes.as_table().ok_or_else(bad)?;
    lanes.iter().map(|(name, limit)| Ok((name.clone(), limit_of(limit).ok_or_else(bad)?))).collect()
}

fn limit_of(value: &toml::Value) -> Option<usize> {
    value.as_integer().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_read_and_mistakes_are_named() {
        let path = Path::new("atoll.toml");
        let read = lanes(path, "[lanes]\nllm = 4\n[providers.local]\nkind = 'openai'\n").unwrap();
        assert_eq!(read.get("llm"), Some(&4));
        let stop = lanes(path, "[lane]\nllm = 4\n").unwrap_err();
        assert_eq!(stop.message.as_deref(), Some("atoll.toml: unknown table `lane`"));
        assert_eq!(stop.hint.as_deref(), Some("did you mean `lanes`?"));
        assert_eq!(stop.exit.code(), 3);
        for bad in ["[lanes]\nllm = 0", "[lanes]\nllm = 'x'", "lanes = 3"] {
            assert!(lanes(path, bad).unwrap_err().message.unwrap().contains("whole numbers"), "{bad}");
        }
        assert!(refuse_commands(path, "a = ").is_ok());
        assert!(lanes(path, "a = ").unwrap_err().message.unwrap().contains("line 1"));
    }
    #[test]
    fn a_project_names_no_command_for_a_key() {
        let path = Path::new("atoll.toml");
        assert!(refuse_commands(path, "[providers.app]\nkey_env = 'KEY'\n").is_ok());
        for text in ["[providers.app]\n  key_command = ['x']\n", "\n  providers.app.key_command = []\n"] {
            let stop = refuse_commands(path, text).unwrap_err();
            assert_eq!(stop.exit.code(), 3);
            let message = stop.message.unwrap();
            assert!(message.starts_with("atoll.toml:2:"), "{message}");
            assert!(message.contains("`key_command` is not allowed in a project"), "{message}");
            assert!(stop.hint.unwrap().contains("[providers.app]"));
        }
        let stop = refuse_commands(path, "[providers.app]\n  key_command = ['x']\n").unwrap_err();
        assert!(stop.message.unwrap().starts_with("atoll.toml:2:3: "));
    }
}
