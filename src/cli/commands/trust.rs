//! `atoll trust`: shows what files request, and stores which requests the user allows. Files can only
//! request; options and the user's own `trust.toml` decide.
#![expect(clippy::disallowed_methods, reason = "the door to the files that are named")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::permissions::requests;
use crate::cli::permissions::requests::{FileRequests, read};
use crate::cli::permissions::trust_file::{TrustFile, TrustedFile, place};
use crate::cli::project::seal;
use crate::cli::terminal::keyboard::{Keyboard, TypedLine};
use crate::tree::visible;
use crate::value::Digest;

/// `atoll trust`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files that request secrets, hosts or keys (`environment.toml`, `atoll.toml`, a pipeline), or directories with
    /// such files
    #[arg(value_name = "FILE", required_unless_present = "list")]
    files: Vec<PathBuf>,
    /// Allow without asking
    #[arg(long, short)]
    yes: bool,
    /// Revoke the trust in these files
    #[arg(long, conflicts_with = "yes")]
    remove: bool,
    /// List the trusted files
    #[arg(long, conflicts_with_all = ["files", "yes", "remove"])]
    list: bool,
}

/// Shows what files request, and stores them if the user agrees.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let Some(dir) = &app.settings.user else {
        return Err(
            CommandError::failed("there is no directory for settings").hint("set HOME or XDG_CONFIG_HOME")
        );
    };
    let mut trusted = TrustFile::load(Some(dir))?;
    if args.list {
        let lines = trusted
            .files
            .iter()
            .map(|file| format!("{}{}\n", visible(&file.path.display().to_string()), changed(file)));
        app.terminal.print(&lines.collect::<String>())?;
        return Ok(ExitStatus::REACHED);
    }
    let is_data = |path: &PathBuf| path.ends_with(".atoll") || path.join("atoll.db").exists();
    let (data, files): (Vec<_>, Vec<_>) =
        args.files.iter().map(|path| app.settings.here.join(path)).partition(is_data);
    for path in &data {
        trust_data(app, path, args.yes)?;
    }
    if files.is_empty() && !data.is_empty() {
        return Ok(ExitStatus::REACHED);
    }
    let mut found = Vec::new();
    for path in &files {
        collect(path, true, &mut found)?;
    }
    if args.remove {
        trusted.files.retain(|known| !found.iter().any(|(path, _)| *path == known.path));
        trusted.store(dir)?;
        return Ok(ExitStatus::REACHED);
    }
    let found: Vec<FileRequests> = found
        .into_iter()
        .map(|(path, text)| requests::of_file(&app.settings, path, &text))
        .filter(|found| found.as_ref().map_or(true, |asking| !asking.lines.is_empty()))
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        app.terminal.say("these files request no secrets, hosts or keys: nothing to remember");
        return Ok(ExitStatus::REACHED);
    }
    for asking in &found {
        app.terminal.print(&shown(asking))?;
    }
    if !args.yes && !agreed(app)? {
        app.terminal.say("nothing was allowed");
        return Ok(ExitStatus::CANCELLED);
    }
    for FileRequests { file, .. } in found {
        trusted.files.retain(|known| known.path != file.path);
        trusted.files.push(file);
    }
    trusted.store(dir)?;
    app.terminal.say(&format!("allowed until a file changes; remembered in {}", place(dir).display()));
    Ok(ExitStatus::REACHED)
}

/// The requests of a file, one line each, and the files that must stay unchanged.
fn shown(FileRequests { file, lines }: &FileRequests) -> String {
    let name = |path: &Path| visible(&path.display().to_string());
    let mut text = format!("{} requests:\n", name(&file.path));
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
    if !file.with.is_empty() {
        let with: Vec<String> = file.with.iter().map(|part| name(&part.path)).collect();
        let _ = writeln!(text, "  together with {}", with.join(", "));
    }
    text
}

fn changed(file: &TrustedFile) -> String {
    let is = |path: &Path, digest: &Digest| read(path).map(|text| Digest::of(&text) == *digest);
    match is(&file.path, &file.digest) {
        Some(true) => {}
        Some(false) => return " (has changed: no longer trusted)".to_owned(),
        None => return " (does not exist)".to_owned(),
    }
    match file.with.iter().find(|part| is(&part.path, &part.digest) != Some(true)) {
        Some(part) => {
            let part = visible(&part.path.display().to_string());
            format!(" ({part} has changed: no longer trusted)")
        }
        None => String::new(),
    }
}

fn agreed(app: &App) -> Result<bool, CommandError> {
    if !app.terminal.person {
        return Err(
            CommandError::usage("no terminal for the question").hint("check the list, then add `--yes`")
        );
    }
    let mut typed = Keyboard::default();
    typed.early();
    app.terminal.say("allow this? [y/N]");
    Ok(matches!(typed.line(|| true), TypedLine::Text(line) if matches!(line.trim(), "y" | "Y" | "yes")))
}

/// Trusts the data directory `path`, if the user agrees.
fn trust_data(app: &App, path: &Path, yes: bool) -> Result<(), CommandError> {
    let shown = visible(&path.display().to_string());
    app.terminal
        .print(&format!("{shown}: its runs, answers, recorded outputs and images will be trusted\n"))?;
    if !yes && !agreed(app)? {
        return Err(CommandError::usage("nothing was allowed"));
    }
    seal::mark(&app.settings, path)?;
    app.terminal.say(&format!("{shown} is now trusted"));
    Ok(())
}

/// The file at `path`, or the files of the directory that may contain requests.
fn collect(path: &Path, named: bool, found: &mut Vec<(PathBuf, String)>) -> Result<(), CommandError> {
    let failed = |e: std::io::Error| CommandError::usage(format!("{}: {e}", path.display()));
    if path.is_dir() {
        for name in ["atoll.toml", "environment.toml"] {
            collect(&path.join(name), false, found)?;
        }
        for entry in std::fs::read_dir(path.join("pipelines")).into_iter().flatten().flatten() {
            let inner = entry.path();
            if inner.extension().is_some_and(|extension| extension == "toml") {
                collect(&inner, false, found)?;
            }
        }
        return Ok(());
    }
    match read(path) {
        Some(text) => found.push((path.canonicalize().map_err(failed)?, text)),
        None if !named && !path.exists() => {}
        None => return Err(CommandError::usage(format!("{} is not a readable text file", path.display()))),
    }
    Ok(())
}
