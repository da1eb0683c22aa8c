//! Whose files settings and pipelines are: those of other users are refused, as git refuses their repositories.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::cli::project::settings::Settings;

/// The variable that lists directories whose owner does not matter, separated by `:`.
pub const SAFE: &str = "ATOLL_SAFE_DIRECTORY";

/// Who may own what is read.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// Directories whose owner does not matter.
    safe: Vec<PathBuf>,
    /// Whether that holds for all directories.
    all: bool,
}

impl Owners {
    /// Accepts the user, root, with sudo the user who called it, and what [`SAFE`] or `listed` name.
    pub fn new(listed: impl IntoIterator<Item = PathBuf>) -> Self {
        let named = Settings::environment(SAFE).unwrap_or_default();
        let named: Vec<PathBuf> =
            named.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).chain(listed).collect();
        let all = named.iter().any(|path| path == Path::new("*"));
        let safe = named.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        Self { safe, all }
    }

    /// Why the file or directory at `path` is not to be used; `Ok` also if there is nothing.
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

/// What to do about a path that [`Owners::check`] refuses.
pub fn way_out(path: &Path) -> String {
    let dir = if path.is_dir() { Some(path) } else { path.parent() };
    let dir = dir.unwrap_or(path).display();
    format!(
        "if you trust that user, say so: `export {SAFE}={dir}` (as in a container with a mounted checkout), or add the directory \
         to `directories` in your own ~/.config/atoll/trust.toml"
    )
}

fn is_ours(owner: u32) -> bool {
    let me = Uid::effective();
    let caller = || Settings::environment("SUDO_UID").and_then(|uid| uid.parse::<u32>().ok());
    owner == me.as_raw() || owner == 0 || (me.is_root() && caller() == Some(owner))
}
