//! `atoll trust`: what files ask for, and which of it the user allows. Files only ask; options and the user's own
//! `trust.toml` decide.
#![expect(clippy::disallowed_methods, reason = "the door to the files that are named")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::asks::{self, Asking, read};
use super::trusted::{File, Trusted, place};
use super::typed::{Line, Typed};
use super::{Desk, Done, Exit, Settings, Stop, seal};
use crate::tree::visible;
use crate::value::Digest;
use crate::verb::Grants;

/// `atoll trust`.
#[derive(Debug, Args)]
pub struct Request {
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

/// Options that allow something.
#[derive(Clone, Debug, Default, Args)]
pub struct Allow {
    /// Let the run use this secret: an environment variable, or a key that `atoll configure` has stored
    #[arg(long = "allow-secret", value_name = "NAME")]
    pub secrets: Vec<String>,
    /// Let services connect to this host: `NAME:PORT`, `NAME`, or `*` for every host
    #[arg(long = "allow-egress", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Let the run write files that other programs obey automatically, e.g. `.github/**`
    #[arg(long = "allow-file", value_name = "GLOB")]
    pub files: Vec<String>,
}

/// Shows what files ask for, and remembers them if the user agrees.
pub fn serve(desk: &Desk, ask: &Request) -> Done {
    let Some(dir) = &desk.settings.user else {
        return Err(Stop::failed("there is no directory for settings").hint("set HOME or XDG_CONFIG_HOME"));
    };
    let mut trusted = Trusted::load(Some(dir))?;
    if ask.list {
        let lines = trusted
            .files
            .iter()
            .map(|file| format!("{}{}\n", visible(&file.path.display().to_string()), changed(file)));
        desk.face.print(&lines.collect::<String>())?;
        return Ok(Exit::REACHED);
    }
    let is_data = |path: &PathBuf| path.ends_with(".atoll") || path.join("atoll.db").exists();
    let (data, files): (Vec<_>, Vec<_>) =
        ask.files.iter().map(|path| desk.settings.here.join(path)).partition(is_data);
    for path in &data {
        trust_data(desk, path, ask.yes)?;
    }
    if files.is_empty() && !data.is_empty() {
        return Ok(Exit::REACHED);
    }
    let mut found = Vec::new();
    for path in &files {
        collect(path, true, &mut found)?;
    }
    if ask.remove {
        trusted.files.retain(|known| !found.iter().any(|(path, _)| *path == known.path));
        trusted.store(dir)?;
        return Ok(Exit::REACHED);
    }
    let found: Vec<Asking> = found
        .into_iter()
        .map(|(path, text)| asks::of_file(&desk.settings, path, &text))
        .filter(|found| found.as_ref().map_or(true, |asking| !asking.lines.is_empty()))
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        desk.face.say("no secret, host or key is asked for here: nothing to remember");
        return Ok(Exit::REACHED);
    }
    for asking in &found {
        desk.face.print(&shown(asking))?;
    }
    if !ask.yes && !agreed(desk)? {
        desk.face.say("nothing is allowed");
        return Ok(Exit::CANCELLED);
    }
    for Asking { file, .. } in found {
        trusted.files.retain(|known| known.path != file.path);
        trusted.files.push(file);
    }
    trusted.store(dir)?;
    desk.face.say(&format!("allowed until a file changes; remembered in {}", place(dir).display()));
    Ok(Exit::REACHED)
}

/// What a file asks for, a line each, and what has to stay as it is.
fn shown(Asking { file, lines }: &Asking) -> String {
    let name = |path: &Path| visible(&path.display().to_string());
    let mut text = format!("{} asks for:\n", name(&file.path));
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
    if !file.with.is_empty() {
        let with: Vec<String> = file.with.iter().map(|part| name(&part.path)).collect();
        let _ = writeln!(text, "  together with {}", with.join(", "));
    }
    text
}

fn changed(file: &File) -> String {
    let is = |path: &Path, digest: &Digest| read(path).map(|text| Digest::of(&text) == *digest);
    match is(&file.path, &file.digest) {
        Some(true) => {}
        Some(false) => return " (has changed: not trusted any more)".to_owned(),
        None => return " (is not there)".to_owned(),
    }
    match file.with.iter().find(|part| is(&part.path, &part.digest) != Some(true)) {
        Some(part) => {
            let part = visible(&part.path.display().to_string());
            format!(" ({part} has changed: not trusted any more)")
        }
        None => String::new(),
    }
}

fn agreed(desk: &Desk) -> Result<bool, Stop> {
    if !desk.face.person {
        return Err(Stop::usage("there is no terminal to ask on").hint("read the list, then add `--yes`"));
    }
    let mut typed = Typed::default();
    typed.early();
    desk.face.say("allow this? [y/N]");
    Ok(matches!(typed.line(|| true), Line::Text(line) if matches!(line.trim(), "y" | "Y" | "yes")))
}

/// Believes what the data directory `path` says, if the user agrees.
fn trust_data(desk: &Desk, path: &Path, yes: bool) -> Result<(), Stop> {
    let shown = visible(&path.display().to_string());
    desk.face.print(&format!("{shown}: its runs, answers, recorded outputs and images will be trusted\n"))?;
    if !yes && !agreed(desk)? {
        return Err(Stop::usage("nothing is allowed"));
    }
    seal::mark(&desk.settings, path)?;
    desk.face.say(&format!("{shown} is trusted from now on"));
    Ok(())
}

/// The file at `path`, or those of the directory that may ask for something.
fn collect(path: &Path, named: bool, found: &mut Vec<(PathBuf, String)>) -> Result<(), Stop> {
    let failed = |e: std::io::Error| Stop::usage(format!("{}: {e}", path.display()));
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
        None => return Err(Stop::usage(format!("{} is not a readable text file", path.display()))),
    }
    Ok(())
}

/// The settings of `desk` with what they and `allow` allow.
pub fn grants(settings: &Settings, allow: &Allow) -> Result<Grants, Stop> {
    Trusted::load(settings.user.as_deref())?.grants(allow)
}
