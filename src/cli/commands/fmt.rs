//! `atoll fmt`: pipelines and other TOML files in their canonical form.
#![expect(clippy::disallowed_methods, reason = "finds and writes the files that the user names")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::project::input_files::regular;
use crate::model::formatted;

/// The most files that one call formats.
const MOST: usize = 10_000;

/// `atoll fmt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// TOML files, or directories with such files [default: `pipelines` of the project]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Change nothing; exit with 4 if a file is not in its canonical form
    #[arg(long)]
    check: bool,
}

/// Formats.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let named: Vec<PathBuf> = args.paths.iter().map(|path| app.settings.here.join(path)).collect();
    let named = if named.is_empty() { vec![app.settings.project.join("pipelines")] } else { named };
    let mut files = Vec::new();
    for path in named {
        gather(path, true, &mut files)?;
    }
    let (mut changed, mut wrong) = (0, false);
    for path in &files {
        let shown = path.strip_prefix(&app.settings.here).unwrap_or(path).display().to_string();
        let failed = |why: String| CommandError::failed(format!("{shown}: {why}"));
        let bytes = regular(path).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|e| failed(e.to_string()))?;
        let made = match formatted(&text) {
            Ok(made) if made == text => continue,
            Ok(made) => made,
            Err(why) => {
                app.terminal.say(&format!("{shown}: {why}"));
                wrong = true;
                continue;
            }
        };
        changed += 1;
        if !args.check {
            replace(path, &made).map_err(|e| failed(e.to_string()))?;
        }
        app.terminal.print_line(&shown)?;
    }
    Ok(match (wrong, changed) {
        (true, _) => ExitStatus::WRONG,
        (false, 0) => ExitStatus::REACHED,
        (false, _) if args.check => ExitStatus::UNREACHED,
        (false, _) => ExitStatus::REACHED,
    })
}

/// Adds the file at `path`, or the TOML files below it, in order. Links to directories are not followed.
fn gather(path: PathBuf, is_named: bool, files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
    let failed = |e: std::io::Error| CommandError::failed(format!("{}: {e}", path.display()));
    if files.len() >= MOST {
        return Err(CommandError::failed(format!("these are more than {MOST} files")));
    }
    let kind = if is_named { std::fs::metadata(&path) } else { std::fs::symlink_metadata(&path) };
    if !kind.map_err(failed)?.is_dir() {
        if is_named || (path.extension().is_some_and(|extension| extension == "toml") && path.is_file()) {
            files.push(path);
        }
        return Ok(());
    }
    let entries = std::fs::read_dir(&path).map_err(failed)?;
    let mut inner = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    inner.sort();
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    inner.into_iter().filter(|path| !hidden(path)).try_for_each(|path| gather(path, false, files))
}

/// Replaces the file with `text` atomically.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.persist(path).map(drop).map_err(|e| e.error)
}
