//! The owners of settings and pipelines: files of other users are refused, as git refuses their repositories.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::cli::project::settings::Settings;

/// The variable with directories for which the owner is not checked, separated by `:`.
pub const SAFE: &str = "ATOLL_SAFE_DIRECTORY";

/// The accepted owners of files.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Directories for which the owner is not checked.
    safe: Vec<PathBuf>,
    /// Whether no owner is checked.
    all: bool,
}

impl Owners {
    /// Accepts the user, root, with sudo the calling user, and the directories in [`SAFE`] or `listed`.
    pub fn new(listed: impl IntoIterator<Item = PathBuf>) -> Self {
        let named = Settings::environment(SAFE).unwrap_or_default();
        let named: Vec<PathBuf> =
            named.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).chain(listed).collect();
        let all = named.iter().any(|path| path == Path::new("*"));
        let safe = named.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        Self { safe, all }
    }

    /// The reason why the file or directory at `path` must not be used; `Ok` also if it does not exist.
    pub fn check(&self, path: &Path) -> Result<(), String> {
        if self.all {
            return Ok(());
        }
        let states = [path.symlink_metadata(), path.metadata()];
        let Some(owner) = states.iter().flatten().map(MetadataExt::uid).find(|uid| !is_ours(*uid)) else {
            return Ok(());
        };
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.safe.iter().any(|safe| place.starts_with(safe)) {
            return Ok(());
        }
        let user = User::from_uid(Uid::from_raw(owner)).ok().flatten();
        let user = user
            .map_or_else(|| format!("the user with id {owner}"), |user| format!("the user `{}`", user.name));
        Err(format!(
            "{} belongs to {user}, who could decide what is run here and where your keys go",
            path.display()
        ))
    }
}

/// The advice for a path that [`Owners::check`] refuses.
pub fn way_out(path: &Path) -> String {
    let dir = if path.is_dir() { Some(path) } else { path.parent() };
    let dir = dir.unwrap_or(path).display();
    format!(
        "if you trust that user: `export {SAFE}={dir}` (as in a container with a mounted checkout), or add the directory \
         to `directories` in your own ~/.config/atoll/trust.toml"
    )
}

fn is_ours(owner: u32) -> bool {
    let me = Uid::effective();
    let caller = || Settings::environment("SUDO_UID").and_then(|uid| uid.parse::<u32>().ok());
    owner == me.as_raw() || owner == 0 || (me.is_root() && caller() == Some(owner))
}
