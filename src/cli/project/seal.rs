//! The user's key for recorded outputs, and the mark of the user's own data directories.
#![expect(clippy::disallowed_methods, reason = "the door to the key")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::cli::error::CommandError;
use crate::cli::project::settings::Settings;
use crate::rooted_fs::{read_file, read_text};
use crate::value::Seal;

/// The variable that replaces the user's file, for machines that share recorded outputs.
const VARIABLE: &str = "ATOLL_CACHE_KEY";
/// The minimum length of its value.
const SHORTEST: usize = 16;
/// The length of the file in bytes.
const LENGTH: usize = 32;
/// The key of this process.
static FRESH: OnceLock<[u8; LENGTH]> = OnceLock::new();

/// The user's key.
pub fn seal(settings: &Settings) -> Result<Seal, CommandError> {
    kept(settings).map(|(seal, _)| seal)
}

/// The user's key, and whether other processes of the user have the same. If it cannot be stored (there is no
/// home directory, or it is read-only), it is a random one for this process.
fn kept(settings: &Settings) -> Result<(Seal, bool), CommandError> {
    if let Some(text) = Settings::environment(VARIABLE) {
        if text.len() < SHORTEST {
            let stop = CommandError::usage(format!("{VARIABLE} has fewer than {SHORTEST} characters"));
            return Err(stop.hint("set it to a random secret, e.g. the output of `openssl rand -hex 32`"));
        }
        return Ok((Seal::new(text.as_bytes()), true));
    }
    let made = random().map_err(|e| CommandError::failed(format!("no random numbers: {e}")))?;
    let fresh = *FRESH.get_or_init(|| made);
    let Some(dir) = &settings.user else { return Ok((Seal::new(&fresh), false)) };
    let path = dir.join("cache.key");
    match read_file(&path, 2 * LENGTH as u64) {
        Ok(kept) if kept.len() == LENGTH => return Ok((Seal::new(&kept), true)),
        Ok(_) => {
            let stop = CommandError::failed(format!("{} is not {LENGTH} bytes long", path.display()));
            return Err(
                stop.hint("remove it: a new one is created, and outputs recorded earlier are not reused")
            );
        }
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(e) => return Err(CommandError::failed(format!("{}: {e}", path.display()))),
    }
    Ok(match keep(dir, &path, fresh) {
        Ok(kept) => (Seal::new(&kept), true),
        Err(_) => (Seal::new(&fresh), false),
    })
}

/// Stores `fresh`, or returns the key that another process has stored meanwhile.
fn keep(dir: &Path, path: &Path, fresh: [u8; LENGTH]) -> std::io::Result<[u8; LENGTH]> {
    std::fs::create_dir_all(dir)?;
    let mut staged = tempfile::NamedTempFile::new_in(dir)?;
    staged.write_all(&fresh)?;
    if staged.persist_noclobber(path).is_ok() {
        return Ok(fresh);
    }
    let kept = read_file(path, 2 * LENGTH as u64)?;
    kept.try_into().map_err(|_| ErrorKind::InvalidData.into())
}

/// The file that marks a data directory as its owner's.
fn mark_of(data: &Path) -> PathBuf {
    data.join("seal")
}

/// The content of the mark; `None` if no later process could compute it again.
fn code(settings: &Settings) -> Result<Option<String>, CommandError> {
    let (seal, is_kept) = kept(settings)?;
    Ok(is_kept.then(|| seal.code([b"data directory".as_slice()]).to_string()))
}

/// Errors if the data directory is part of the project and was not created by this user. Its content would be
/// trusted: runs and answers, signals to them, directories to clean up.
pub fn check_data(settings: &Settings) -> Result<(), CommandError> {
    let data = &settings.data;
    let is_bare = || {
        let entries = std::fs::read_dir(data).into_iter().flatten();
        // Another process may be creating it at this moment.
        let is_begun = |name: &str| name == ".gitignore" || name.starts_with(".tmp");
        entries.flatten().all(|entry| is_begun(&entry.file_name().to_string_lossy()))
    };
    if settings.data_is_named || data.symlink_metadata().is_err() || is_bare() {
        return Ok(());
    }
    let Some(code) = code(settings)? else { return Ok(()) };
    if read_text(&mark_of(data)).is_ok_and(|mark| mark.trim() == code) {
        return Ok(());
    }
    let shown = data.display();
    let stop = CommandError::wrong(format!(
        "{shown} was made by another user or on another machine, so its runs, answers and recorded outputs are not trusted"
    ));
    Err(stop.hint(format!(
        "move it away; or, if it is yours, run `atoll trust {shown}`, or pass it with `--data-dir`; machines that share it \
         need the same {VARIABLE}"
    )))
}

/// Marks the data directory as the user's own.
pub fn mark_data(settings: &Settings) -> Result<(), CommandError> {
    let path = mark_of(&settings.data);
    if settings.data_is_named || path.symlink_metadata().is_ok() {
        return Ok(());
    }
    mark(settings, &settings.data)
}

/// Marks `data` as a data directory that the user trusts.
pub fn mark(settings: &Settings, data: &Path) -> Result<(), CommandError> {
    let failed = |e: std::io::Error| CommandError::failed(format!("{}: {e}", mark_of(data).display()));
    let Some(code) = code(settings)? else { return Ok(()) };
    let mut staged = tempfile::NamedTempFile::new_in(data).map_err(failed)?;
    staged.write_all(code.as_bytes()).map_err(failed)?;
    staged.persist(mark_of(data)).map(drop).map_err(|e| failed(e.error))
}

fn random() -> std::io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
