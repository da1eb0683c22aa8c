//! `atoll eject PIPELINE`: copies a pipeline with its prompts and schemas, for editing.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::loading;
use crate::plan::library_path;
use crate::rooted_fs::RootedFs;

/// `atoll eject`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Directory for the copy [default: the project]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Overwrite existing files that differ
    #[arg(long)]
    force: bool,
}

/// Copies.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let loaded = loading::load(app, &args.pipeline, &[])?;
    // A file that a file of the project extends is not copied.
    let mut files = loaded.bundle.files;
    files.retain(|path, _| library_path(path) == path);
    if files.is_empty() {
        return Err(loading::report_errors(app, &loaded.diagnostics, &loaded.sources, Format::Text)?);
    }
    let root =
        args.into.as_ref().map_or_else(|| app.settings.project.clone(), |dir| app.settings.here.join(dir));
    let failed = |path: &Path, e: &io::Error| {
        CommandError::failed(format!("{} cannot be written: {e}", root.join(path).display()))
    };
    // Links in the project are not followed, so that nothing is written elsewhere.
    let into = RootedFs::create(&root).map_err(|e| failed(Path::new(""), &e))?;
    let differs = |path: &String, text: &String| is_there(&into, path, text) == Some(false);
    let in_the_way: Vec<&str> =
        files.iter().filter(|(path, text)| differs(path, text)).map(|(path, _)| path.as_str()).collect();
    if !in_the_way.is_empty() && !args.force {
        return Err(CommandError::usage(format!(
            "these files already exist and differ: {}",
            in_the_way.join(", ")
        ))
        .hint("overwrite them with `--force`, or choose another directory with `--into DIR`"));
    }
    for (path, text) in &files {
        let shown = root.join(path);
        if is_there(&into, path, text) == Some(true) {
            app.terminal.say(&format!("{} already exists", shown.display()));
            continue;
        }
        into.replace(Path::new(path), text.as_bytes()).map_err(|e| failed(Path::new(path), &e))?;
        app.terminal.print_line(&shown.display().to_string())?;
    }
    Ok(ExitStatus::REACHED)
}

/// Whether the file at `path` contains `text`; `None` if there is none.
fn is_there(dir: &RootedFs, path: &str, text: &str) -> Option<bool> {
    match dir.read(Path::new(path), text.len() as u64) {
        Ok(there) => Some(there == text.as_bytes()),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(_) => Some(false),
    }
}
