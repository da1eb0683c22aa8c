//! `atoll trust`: what files ask for, and which of it the user allows. Files only ask; options and the user's own
//! `trust.toml` decide.
#![expect(clippy::disallowed_methods, reason = "the door to trust.toml and to the files that it names")]

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use globset::{Glob, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use super::files::regular;
use super::owner::{Owners, way_out};
use super::{Desk, Done, Exit, Settings, Stop};
use crate::clients::{coder, registry};
use crate::tree::visible;
use crate::value::{Digest, Value};
use crate::verb::{Ask, EVERY_HOST, Grants, is_secret_name};

/// `atoll trust`.
#[derive(Debug, Args)]
pub struct Request {
    /// Files that ask for secrets, hosts or keys (`environment.toml`, `atoll.toml`, a pipeline), or directories with such files
    #[arg(value_name = "FILE", required_unless_present = "list")]
    files: Vec<PathBuf>,
    /// Allow without asking
    #[arg(long, short)]
    yes: bool,
    /// Forget the files
    #[arg(long, conflicts_with = "yes")]
    remove: bool,
    /// List the files that are trusted
    #[arg(long, conflicts_with_all = ["files", "yes", "remove"])]
    list: bool,
}

/// What options allow.
#[derive(Clone, Debug, Default, Args)]
pub struct Allow {
    /// Let the run use this secret: an environment variable, or a key that `atoll configure` keeps
    #[arg(long = "allow-secret", value_name = "NAME")]
    secrets: Vec<String>,
    /// Let services connect to this host: `NAME:PORT`, `NAME`, or `*` for every host
    #[arg(long = "allow-egress", value_name = "HOST")]
    hosts: Vec<String>,
    /// Let the run write files that other programs obey without being asked, e.g. `.github/**`
    #[arg(long = "allow-file", value_name = "GLOB")]
    files: Vec<String>,
}

/// The user's own `trust.toml`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trusted {
    /// Secrets that every run may use.
    secrets: Vec<String>,
    /// Hosts that every service may connect to.
    egress: Vec<String>,
    /// Directories whose owner does not matter.
    pub directories: Vec<PathBuf>,
    /// Files whose requests are allowed as long as they do not change.
    files: Vec<File>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: PathBuf,
    digest: Digest,
}

impl Trusted {
    /// What `dir`, the user's own directory, has.
    pub fn load(dir: Option<&Path>) -> Result<Self, Stop> {
        let Some(path) = dir.map(place) else { return Ok(Self::default()) };
        let wrong = |what: String| Stop::wrong(format!("{}: {what}", path.display()));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(e) => return Err(Stop::failed(format!("{}: {e}", path.display()))),
        };
        Owners::new([]).check(&path).map_err(|why| Stop::wrong(why).hint(way_out(&path)))?;
        toml::from_str(&text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))
    }

    fn store(&self, dir: &Path) -> Result<(), Stop> {
        let failed = |e: std::io::Error| Stop::failed(format!("{}: {e}", place(dir).display()));
        let text = toml::to_string(self).map_err(Stop::failed)?;
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        writeln!(
            file,
            "# What files of projects may use, written by `atoll trust`. A changed file is asked about again."
        )
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
        file.persist(place(dir)).map(drop).map_err(|e| failed(e.error))
    }

    /// What it and the options in `allow` allow, whatever is run.
    pub fn grants(&self, allow: &Allow) -> Result<Grants, Stop> {
        let mut grants = Grants::default();
        for name in self.secrets.iter().chain(&allow.secrets) {
            if !is_secret_name(name) {
                return Err(Stop::usage(
                    "`--allow-secret` takes the name of an environment variable, never a value",
                ));
            }
            grants.allow(Ask::Secret(name.clone()));
        }
        for host in self.egress.iter().chain(&allow.hosts) {
            grants.allow(Ask::Egress(host.clone()));
        }
        let mut files = GlobSetBuilder::new();
        for glob in &allow.files {
            let glob = Glob::new(glob).map_err(|e| Stop::usage(format!("--allow-file: {e}")))?;
            files.add(glob);
        }
        grants.allow_files(files.build().map_err(Stop::usage)?);
        for File { path, digest } in &self.files {
            grants.trust(path.clone(), *digest);
        }
        Ok(grants)
    }
}

/// The text of the regular file at `path`; pipes and devices are not waited for.
pub fn read(path: &Path) -> Option<String> {
    String::from_utf8(regular(path).ok()?).ok()
}

fn place(dir: &Path) -> PathBuf {
    dir.join("trust.toml")
}

/// Adds to `grants` what the text at `path` asks for, if the user trusts it.
pub fn allow_trusted(grants: &mut Grants, path: &Path, text: &str) {
    let Ok(path) = path.canonicalize() else { return };
    if grants.trusts(&path, &Digest::of(text)) {
        allow_all(grants, text);
    }
}

/// Adds to `grants` what trusted files of the project ask for: what one file of a project may use, its pipelines may use.
pub fn allow_trusted_below(grants: &mut Grants, settings: &Settings) -> Result<(), Stop> {
    let Ok(dir) = settings.project.canonicalize() else { return Ok(()) };
    let trusted = Trusted::load(settings.user.as_deref())?;
    for file in trusted.files.iter().filter(|file| file.path.starts_with(&dir)) {
        if let Some(text) = read(&file.path) {
            allow_trusted(grants, &file.path, &text);
        }
    }
    Ok(())
}

/// Adds to `grants` all that `text` asks for.
pub fn allow_all(grants: &mut Grants, text: &str) {
    for asked in requests(text) {
        grants.allow_pipeline(asked.1);
    }
}

/// What a TOML text asks for, each with the dotted path of its place.
fn requests(text: &str) -> Vec<(String, Ask)> {
    let value: Value = toml::from_str(text).unwrap_or_default();
    let place = |pointer: &str| {
        pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
    };
    Ask::all_of(&value).into_iter().map(|asked| (place(&asked.pointer), asked.what)).collect()
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
    let mut found = Vec::new();
    for path in &ask.files {
        collect(&desk.settings.here.join(path), true, &mut found)?;
    }
    if ask.remove {
        trusted.files.retain(|known| !found.iter().any(|(path, _)| *path == known.path));
        trusted.store(dir)?;
        return Ok(Exit::REACHED);
    }
    found.retain(|(path, text)| !summary(path, text).is_empty());
    if found.is_empty() {
        desk.face.say("nothing here asks for a secret, a host or a key");
        return Ok(Exit::REACHED);
    }
    for (path, text) in &found {
        desk.face.print(&format!(
            "{} asks for:\n{}",
            visible(&path.display().to_string()),
            summary(path, text)
        ))?;
    }
    if !ask.yes && !agreed(desk)? {
        desk.face.say("nothing is allowed");
        return Ok(Exit::CANCELLED);
    }
    for (path, text) in found {
        trusted.files.retain(|known| known.path != path);
        trusted.files.push(File { path, digest: Digest::of(&text) });
    }
    trusted.store(dir)?;
    desk.face.say(&format!("allowed until a file changes; remembered in {}", place(dir).display()));
    Ok(Exit::REACHED)
}

fn changed(file: &File) -> &'static str {
    match read(&file.path) {
        Some(text) if Digest::of(&text) == file.digest => "",
        Some(_) => " (has changed: not trusted any more)",
        None => " (is not there)",
    }
}

fn agreed(desk: &Desk) -> Result<bool, Stop> {
    if !desk.face.person {
        return Err(Stop::usage("there is no terminal to ask on").hint("read the list, then add `--yes`"));
    }
    desk.face.say("allow this? [y/N]");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
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

/// What the file asks for, a line each: what would be sent where.
fn summary(path: &Path, text: &str) -> String {
    let mut lines = String::new();
    for (at, ask) in requests(text) {
        let at = visible(&at);
        let _ = match ask {
            Ask::Secret(name) => writeln!(lines, "  the secret `{}`, for `{at}`", visible(&name)),
            Ask::Egress(host) if host == EVERY_HOST => {
                writeln!(lines, "  connections to every host (`{at}`)")
            }
            Ask::Egress(host) => writeln!(lines, "  connections to {} (`{at}`)", visible(&host)),
        };
    }
    if path.file_name().is_some_and(|name| name == super::settings::FILE) {
        for line in registry::requests(text).into_iter().chain(coder::requests(text)) {
            let _ = writeln!(lines, "  {}", visible(&line));
        }
    }
    lines
}

/// The settings of `desk` with what they and `allow` allow.
pub fn grants(settings: &Settings, allow: &Allow) -> Result<Grants, Stop> {
    Trusted::load(settings.user.as_deref())?.grants(allow)
}
