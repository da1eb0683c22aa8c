//! Joins the parts: the catalog of verbs, the store, the clock, and the runtime that executes runs.
#![expect(
    clippy::disallowed_methods,
    reason = "the door that makes the directory of runs and names the machine"
)]

mod images;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chromium::{self, Chromium};
use crate::cli::error::CommandError;
use crate::cli::permissions;
use crate::cli::permissions::PermissionFlags;
use crate::cli::permissions::run_grants::owned;
use crate::cli::project::settings::Settings;
use crate::cli::project::text_layers::TextLayers;
use crate::clock::Clock;
use crate::coding_agents::CodingAgents;
use crate::driver::Runtime;
use crate::llm::registry::Registry;
use crate::llm::{Cassette, CassetteMode, Models};
use crate::rooted_fs::read_text;
use crate::runtime::process::Host;
use crate::runtime::service::{self, Runtimes};
use crate::secrets::{EnvSecrets, file};
use crate::store::{Durability, Owner, Sqlite, Store};
use crate::system_clock::SystemClock;
use crate::value::Digest;
use crate::verb::{Catalog, Grants, Permission, Secrets};
use crate::verbs;

/// The options for verbs.
#[derive(Clone, Debug, Default)]
pub struct RunAccess {
    /// Durability of recorded facts.
    pub durability: Durability,
    /// Cassette for model answers.
    pub cassette: CassetteMode,
    /// Whether it records or replays the timing of the pieces of an answer.
    pub timing: bool,
    /// Whether services may run without a sandbox if none is available.
    pub allow_host: bool,
    /// Permissions from the command line.
    pub allow: PermissionFlags,
}

/// Control verbs, which are part of the language.
pub const CONTROL: [(&str, &str); 6] = [
    ("loop", "repeat a body in rounds up to a limit, with state"),
    ("each", "run a body for each item of a list, in parallel"),
    ("hold", "acquire a resource, run a body, always release the resource"),
    ("call", "run another pipeline as a step"),
    ("ask", "ask a person"),
    ("compute", "compute values in a pure loop in memory"),
];

/// The verbs and resources for displaying and checking pipelines: no connections are opened.
pub fn listing(settings: &Settings) -> Result<Catalog, CommandError> {
    let registry = registry(settings)?;
    let secrets = Arc::new(EnvSecrets::default());
    let models = Models::new(registry, secrets, Cassette::default());
    catalog(settings, models, &runtimes(settings, false)?, &Grants::default())
}

fn catalog(
    settings: &Settings,
    models: Models,
    runtimes: &Runtimes,
    grants: &Grants,
) -> Result<Catalog, CommandError> {
    let from = |name: &str| Settings::environment(name).unwrap_or_default();
    let host = Host::new(program(), from("PATH"), from("HOME"));
    let programs = verbs::agent::Programs { own: program(), path: from("PATH"), home: from("HOME") };
    let program = Settings::environment("ATOLL_CHROMIUM");
    let chromium = Chromium::new(chromium::ChromiumSettings { program, path: from("PATH") });
    let coders = coders(settings, grants)?;
    let doors =
        verbs::VerbDependencies { models, runtimes: runtimes.clone(), host, chromium, coders, programs };
    Ok(verbs::catalog(doors).with_lanes(settings.lanes.keys().cloned()))
}

/// The runtimes for services.
pub fn runtimes(settings: &Settings, allow_host: bool) -> Result<Runtimes, CommandError> {
    Ok(Runtimes::new(service::RuntimeSettings {
        allow_host,
        docker_host: Settings::environment("DOCKER_HOST"),
        images: images::images(settings)?,
        build_egress: Settings::environment("ATOLL_BUILD_EGRESS").is_some_and(|word| word == "1"),
        seal: crate::cli::project::seal::seal(settings)?,
        ..service::RuntimeSettings::new(program(), settings.data.clone())
    }))
}

/// The path of this executable.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("atoll"))
}

/// The registry of models: from the binary, the user's `models.toml`, and the project.
pub fn registry(settings: &Settings) -> Result<Registry, CommandError> {
    let (own, project) = (facts(settings)?, project(settings));
    let registry = Registry::of_project(own.iter().map(pair), project.as_ref().map(pair));
    let registry =
        registry.map_err(|error| CommandError { hint: error.hint.clone(), ..CommandError::wrong(error) })?;
    Ok(registry.with_base_urls(Settings::environment))
}

/// The external coding agents, from the same files.
fn coders(settings: &Settings, grants: &Grants) -> Result<CodingAgents, CommandError> {
    let (own, project) = (facts(settings)?, project(settings));
    let trusted = trusts_project(settings, grants);
    let coders =
        CodingAgents::of_project(own.iter().map(pair), project.as_ref().map(|file| (pair(file), trusted)));
    coders.map_err(|error| CommandError { hint: error.hint.clone(), ..CommandError::wrong(error) })
}

/// The coding agents that the project changes or adds, as `agent NAME`.
pub fn changed_agents(settings: &Settings) -> Result<Vec<String>, CommandError> {
    let (own, project) = (facts(settings)?, project(settings));
    let Some((_, text)) = project else { return Ok(Vec::new()) };
    let known = CodingAgents::layered(own.iter().map(pair))
        .map_err(|error| CommandError { hint: error.hint.clone(), ..CommandError::wrong(error) })?;
    Ok(known.changed_by(&text).map(|name| format!("agent {name}")).collect())
}

fn pair((name, text): &(String, Arc<str>)) -> (&str, &str) {
    (name.as_str(), text)
}

/// The text and path of the project's `atoll.toml`.
fn project(settings: &Settings) -> Option<(String, Arc<str>)> {
    settings.file.as_ref().map(|(path, text)| (path.display().to_string(), text.clone()))
}

/// Whether the user trusts the project's `atoll.toml` with its current content.
fn trusts_project(settings: &Settings, grants: &Grants) -> bool {
    let file = settings.file.as_ref();
    file.is_some_and(|(path, text)| {
        path.canonicalize().is_ok_and(|path| grants.trusts(&path, &Digest::of(&**text)))
    })
}

/// The registry, without keys that the project would send to an address that the user has not allowed.
fn withheld(settings: &Settings, registry: Registry, grants: &Grants) -> Registry {
    match &settings.file {
        Some((path, _)) if !trusts_project(settings, grants) => registry
            .withheld(&path.display().to_string(), &|name| {
                grants.allows(&Permission::Secret(name.to_owned()))
            }),
        _ => registry,
    }
}

/// The text and path of the user's `models.toml`.
fn facts(settings: &Settings) -> Result<Vec<(String, Arc<str>)>, CommandError> {
    let mut files: Vec<(String, Arc<str>)> = Vec::new();
    if let Some(path) = settings.user.as_ref().map(|dir| dir.join("models.toml")) {
        match read_text(&path) {
            Ok(text) => {
                owned(settings, &path)?;
                files.push((path.display().to_string(), text.into()));
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(e) => return Err(CommandError::failed(format!("{}: {e}", path.display()))),
        }
    }
    Ok(files)
}

/// Keys from the environment, else from the user's file, else from the output of a command.
fn secrets(settings: &Settings, registry: &Registry) -> Result<Arc<dyn Secrets>, CommandError> {
    Ok(Arc::new(EnvSecrets::new(registry.key_names()).or(kept_keys(settings)?, registry.key_commands())))
}

/// The keys in the user's file.
pub fn kept_keys(settings: &Settings) -> Result<file::Keys, CommandError> {
    Ok(match settings.user {
        Some(_) => {
            let path = keys_file(settings)?;
            owned(settings, &path)?;
            file::load(&path).map_err(CommandError::wrong)?
        }
        None => file::Keys::new(),
    })
}

/// The path of the key file, in the user's own directory.
pub fn keys_file(settings: &Settings) -> Result<PathBuf, CommandError> {
    let dir = settings.user.as_ref();
    dir.map(|dir| dir.join("keys.toml")).ok_or_else(|| {
        CommandError::failed("there is no directory for settings").hint("set HOME or XDG_CONFIG_HOME")
    })
}

/// Models with their keys, for listing them: nothing is recorded or replayed.
pub fn models(settings: &Settings, allow: &PermissionFlags) -> Result<Models, CommandError> {
    let registry = registry(settings)?;
    let secrets = secrets(settings, &registry)?;
    let registry = withheld(settings, registry, &permissions::grants(settings, allow)?);
    Ok(Models::new(registry, secrets, Cassette::default()))
}

/// Everything that runs need.
pub fn runtime(settings: &Settings, doors: &RunAccess) -> Result<Runtime, CommandError> {
    let clock = clock();
    let registry = registry(settings)?;
    let secrets = secrets(settings, &registry)?;
    let mut grants = permissions::grants(settings, &doors.allow)?;
    grants.reserve(TextLayers::new(settings).reserved());
    let registry = withheld(settings, registry, &grants);
    if let CassetteMode::Record(path) | CassetteMode::Replay(path) | CassetteMode::Fill(path) =
        &doors.cassette
        && std::fs::metadata(path).is_ok_and(|file| !file.is_file())
    {
        return Err(CommandError::usage(format!("{} is not a regular file", path.display())));
    }
    let cassette = Cassette::open(&doors.cassette).map_err(CommandError::wrong)?;
    let cassette = if doors.timing { cassette.timed() } else { cassette };
    let store = open(settings, doors.durability)?;
    let owner = Owner { pid: std::process::id(), started_at: clock.now(), host: host() };
    Ok(Runtime {
        catalog: catalog(
            settings,
            Models::new(registry, secrets.clone(), cassette),
            &runtimes(settings, doors.allow_host)?,
            &grants,
        )?,
        store,
        clock,
        owner,
        seal: crate::cli::project::seal::seal(settings)?,
        secrets,
        grants: Arc::new(grants),
        inputs: Arc::new(crate::cli::project::input_files::InputFiles::new(settings)?),
        project: settings.project.clone(),
        scratch: settings.scratch(),
        files: settings.files(),
        lanes: settings.lanes.clone(),
        caps: indexmap::IndexMap::new(),
        grace: Runtime::GRACE,
    })
}

/// The clock of this machine.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The store of runs; its directory is created if it does not exist.
pub fn open(settings: &Settings, durability: Durability) -> Result<Arc<dyn Store>, CommandError> {
    crate::cli::project::seal::check_data(settings)?;
    let unmade = |e: std::io::Error| {
        CommandError::failed(format!("{} cannot be created: {e}", settings.data.display()))
            .hint("choose another directory with `--data-dir DIR` or ATOLL_DATA")
    };
    make(&settings.data).map_err(unmade)?;
    crate::cli::project::seal::mark_data(settings)?;
    Ok(Arc::new(Sqlite::open(&settings.database(), durability, clock())?))
}

/// The store of runs for reading; `None` if there are no runs here.
pub fn open_to_read(settings: &Settings) -> Result<Option<Arc<dyn Store>>, CommandError> {
    let path = settings.database();
    Ok(if has_runs(settings)? { Some(Arc::new(Sqlite::open_to_read(&path, clock())?)) } else { None })
}

/// Whether there is a database of runs. An unreadable directory is an error.
pub fn has_runs(settings: &Settings) -> Result<bool, CommandError> {
    let path = settings.database();
    let unreadable = |e: std::io::Error| {
        CommandError::failed(format!("{} cannot be read: {e}", settings.data.display()))
            .hint("check the permissions of the directory, or choose another with `--data-dir DIR`")
    };
    match std::fs::metadata(&path) {
        Ok(file) if file.is_file() => Ok(true),
        Ok(_) => Err(CommandError::failed(format!("{} is not a file", path.display()))),
        Err(e) if e.kind() == ErrorKind::NotFound => match std::fs::metadata(&settings.data) {
            Ok(dir) if dir.is_dir() => std::fs::read_dir(&settings.data).map(|_| false).map_err(unreadable),
            Ok(_) => Err(CommandError::failed(format!("{} is not a directory", settings.data.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(unreadable(e)),
        },
        Err(e) => Err(unreadable(e)),
    }
}

/// Creates the directory of runs, with a file that makes version control ignore it.
fn make(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join(".gitignore"), "*\n")
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
