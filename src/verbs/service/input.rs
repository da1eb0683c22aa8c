//! The input of `service`, and the resulting services.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::environment::ServiceEnvironment;
use crate::runtime::service::{
    EnvironmentService, OwnerTag, Placed, PlacedAs, ReadinessCheck, ServiceSpec, WarmPoolSize,
};
use crate::tree::{Tree, TreeRef};
use crate::value::Digest;
use crate::verb::{Class, Context, EVERY_HOST, Failure, Permission};
use crate::verbs::duration_input::DurationInput;
use crate::verbs::secret::TextOrSecret;
use crate::verbs::size::size;

/// The name of a service without a name.
pub(super) const MAIN: &str = "program";

/// Input of `service`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceInput {
    /// Image to run, from `docker_build`. Either this or `target`.
    #[serde(default)]
    pub image: Option<String>,
    /// URL of an already running program, instead of an image. Nothing is started; of the other keys only
    /// `files` has an effect: they are put into a sandbox with the programs of this machine, in which
    /// commands of scenarios run.
    #[serde(default)]
    pub target: Option<String>,
    /// Environment of the program and its sidecars, from `environment_load` with `build = true`. Its settings
    /// override the keys next to it. Its `ports` are added to those of the step.
    #[serde(default)]
    pub environment: Option<Box<ServiceEnvironment>>,
    /// Program and arguments that replace the image's command.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Host name of the service for other services. Default: `program`.
    #[serde(default)]
    pub name: Option<String>,
    /// Environment variables in addition to those of the image: texts, or `{ secret = "NAME" }`. No other
    /// variables of this machine are passed.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TextOrSecret>")]
    pub env: IndexMap<String, TextOrSecret>,
    /// Port that the service listens on; passed to it as `PORT`.
    #[serde(default = "port")]
    pub port: u16,
    /// Additional ports, e.g. one for gRPC; `held.ports` has their forwarded ports.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Readiness check.
    #[serde(default)]
    pub ready: ReadyWhen,
    /// Memory limit of all its processes together, such as `512m`.
    #[serde(default)]
    pub memory: Option<String>,
    /// Disk limit in addition to the image, such as `1g`. A service that writes more is stopped.
    #[serde(default)]
    pub disk: Option<String>,
    /// Limit of processor cores.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Limit of processes and threads.
    #[serde(default)]
    pub pids: Option<u64>,
    /// Network access: nothing, everything (`true`), or a list of hosts such as `api.example.com:443`.
    #[serde(default)]
    pub egress: Egress,
    /// Trees of files that are copied into it before it starts, each to an absolute path.
    #[serde(default)]
    pub files: Vec<FileMount>,
    /// Volumes by name, each with its absolute path in the service. Services that are held together share
    /// volumes with the same name. Volumes are new for every hold, and deleted after it.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, PathBuf>")]
    pub volumes: IndexMap<String, PathBuf>,
    /// Command lines that are run in it, in order, once it is ready. If one fails, the service counts as not
    /// ready.
    #[serde(default)]
    pub seed: Vec<String>,
    /// Sidecar services by name. Each has the keys of a held service, and all reach each other by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ServiceInput>")]
    pub beside: IndexMap<String, Self>,
    /// For a sidecar: services that must be ready before it is started.
    #[serde(default)]
    pub after: Vec<String>,
    /// Effect of a sidecar that does not become ready.
    #[serde(default)]
    pub blame: SidecarFailure,
    /// Number of further copies that will be needed soon: they are started in advance.
    #[serde(default)]
    pub ahead: Option<WarmPoolSize>,
}

/// The effect of a sidecar that does not become ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SidecarFailure {
    /// `held.blame` is the name of the sidecar.
    #[default]
    Tell,
    /// The step fails.
    Fail,
}

/// The network access of a service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Egress {
    /// Everything or nothing.
    All(bool),
    /// These hosts, as `NAME:PORT`.
    Hosts(Vec<String>),
}

impl Egress {
    /// Errors with `auth` if the user has not allowed `service` to reach these hosts.
    fn granted(&self, service: &str, cx: &Context) -> Result<(), Failure> {
        let asks: Vec<Permission> = match self {
            Self::All(false) => Vec::new(),
            Self::All(true) => vec![Permission::Egress(EVERY_HOST.to_owned())],
            Self::Hosts(hosts) => hosts.iter().cloned().map(Permission::Egress).collect(),
        };
        let Some(ask) = asks.iter().find(|ask| !cx.grants.allows(ask)) else { return Ok(()) };
        let Permission::Egress(host) = ask else { return Ok(()) };
        let host = if host == EVERY_HOST { "every host".to_owned() } else { format!("`{host}`") };
        Err(Failure::new(
            Class::Auth,
            format!("the service `{service}` requests network access to {host}, which is not allowed"),
        )
        .hint(format!(
            "allow it for this run: `atoll resume {} {}`; `atoll trust FILE` remembers it",
            cx.run,
            ask.option()
        )))
    }
}

impl Default for Egress {
    fn default() -> Self {
        Self::All(false)
    }
}

/// A tree of files and its destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileMount {
    /// Tree, from `pack` or `edit`.
    pub tree: TreeRef,
    /// Absolute path of a directory.
    pub at: PathBuf,
}

fn port() -> u16 {
    8080
}

/// `"tcp"`, `"none"`, or a table.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ReadyWhen {
    /// A condition without parameters.
    Word(ReadyWord),
    /// A table with one of `http`, `tcp`, `log`, `command`.
    Table(ReadyTable),
}

/// The conditions without parameters.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadyWord {
    /// Its port accepts connections.
    Tcp,
    /// Ready at once; without a `command`, nothing runs in it except commands of scenarios.
    None,
}

/// The readiness check of a service, and its time limit.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyTable {
    /// Path that answers with a status below 500.
    #[serde(default)]
    pub http: Option<String>,
    /// Whether its port accepts connections.
    #[serde(default)]
    pub tcp: Option<bool>,
    /// Regular expression that matches its log.
    #[serde(default)]
    pub log: Option<String>,
    /// Command line that exits with code 0 when run inside.
    #[serde(default)]
    pub command: Option<String>,
    /// Port that is checked. Default: `port`.
    #[serde(default)]
    pub port: Option<u16>,
    /// Time limit. Default: 30 s.
    #[serde(default)]
    pub within: Option<DurationInput>,
}

impl Default for ReadyWhen {
    fn default() -> Self {
        Self::Word(ReadyWord::Tcp)
    }
}

impl ReadyTable {
    fn fill(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        spec.within = self.within.map_or(spec.within, |lapse| lapse.0);
        spec.ready = self.condition()?;
        spec.ready_port = self.port;
        Ok(())
    }

    pub(super) fn condition(&self) -> Result<ReadinessCheck, Failure> {
        let ready = match (&self.http, &self.log, &self.command, self.tcp) {
            (Some(path), None, None, None) => ReadinessCheck::Http(path.clone()),
            (None, Some(pattern), None, None) => ReadinessCheck::Log(pattern.clone()),
            (None, None, Some(line), None) => ReadinessCheck::Command(line.clone()),
            (None, None, None, None | Some(true)) => ReadinessCheck::Tcp,
            _ => {
                return Err(Failure::permanent(
                    "`ready` must have exactly one of http, tcp, log and command",
                )
                .hint("write `ready = { http = \"/health\", within = \"20s\" }`, or `ready = \"none\"`"));
            }
        };
        if let ReadinessCheck::Log(pattern) = &ready {
            regex::Regex::new(pattern).map_err(|e| {
                Failure::permanent(format!("`ready.log` is not a valid regular expression: {e}"))
            })?;
        }
        Ok(ready)
    }

    /// The failure if the checked port is not one of the service's.
    pub(super) fn stray_port(&self, own: u16, others: &[u16]) -> Option<Failure> {
        let port = self.port.filter(|port| *port != own && !others.contains(port))?;
        let failure = Failure::permanent(format!("`ready.port = {port}` is not a port of the service"));
        Some(failure.hint("add it to `port` or `ports`"))
    }
}

impl ServiceInput {
    /// A key that is the same for equal inputs of one run.
    pub fn key(&self, cx: &Context) -> String {
        Digest::of(format!("{} {self:?}", cx.run)).to_string()
    }

    /// All services of the input, the main one first.
    pub fn members(self, cx: &Context) -> Result<Vec<EnvironmentService>, Failure> {
        let mut this = self.within()?;
        let beside = std::mem::take(&mut this.beside);
        let name = this.name.take().unwrap_or_else(|| MAIN.to_owned());
        let mut members = vec![this.member(name, cx)?];
        for (name, with) in beside {
            members.push(with.member(name, cx)?);
        }
        Ok(members)
    }

    fn member(mut self, name: String, cx: &Context) -> Result<EnvironmentService, Failure> {
        let (after, seed) = (std::mem::take(&mut self.after), std::mem::take(&mut self.seed));
        let volumes: Vec<_> = std::mem::take(&mut self.volumes).into_iter().collect();
        self.egress.granted(&name, cx)?;
        let hosts = match &self.egress {
            Egress::All(_) => Vec::new(),
            Egress::Hosts(hosts) => hosts.iter().map(|host| read_host(host)).collect::<Result<_, _>>()?,
        };
        Ok(EnvironmentService { spec: self.spec(&name, cx)?, name, after, hosts, volumes, seed })
    }

    fn spec(self, service: &str, cx: &Context) -> Result<ServiceSpec, Failure> {
        let mut spec = ServiceSpec::new(
            self.image.unwrap_or_default(),
            OwnerTag { run: cx.run.clone(), address: cx.address.clone() },
        );
        for (name, value) in self.env {
            let value = value.reveal(&format!("the variable `{name}` of the service `{service}`"), cx)?;
            spec.env.insert(name, value);
        }
        let mut dirs = Vec::new();
        for put in &self.files {
            let tree = Tree::load_with_links(&*cx.blobs, &put.tree.tree)?;
            for (path, file) in &tree.files {
                let bytes = cx.blobs.get(&file.blob.digest)?;
                let status = tree.status.get(path).copied();
                let what = PlacedAs::File { bytes, executable: file.executable, status };
                spec.files.push(Placed { path: put.at.join(path), what });
            }
            for (path, target) in tree.links {
                spec.files.push(Placed { path: put.at.join(path), what: PlacedAs::Link(target.into()) });
            }
            dirs.extend(tree.dirs.into_iter().map(|(path, status)| (put.at.join(path), status)));
        }
        // Adding files to a directory changes its time and needs permissions: the innermost come first.
        dirs.reverse();
        spec.files
            .extend(dirs.into_iter().map(|(path, status)| Placed { path, what: PlacedAs::Dir(status) }));
        (spec.command, spec.port, spec.ports) = (self.command, self.port, self.ports);
        spec.egress = matches!(self.egress, Egress::All(true));
        spec.cpus = self.cpus.unwrap_or(spec.cpus);
        spec.pids = self.pids.unwrap_or(spec.pids);
        spec.memory = size("memory", self.memory.as_deref())?.unwrap_or(spec.memory);
        spec.disk = size("disk", self.disk.as_deref())?.unwrap_or(spec.disk);
        match self.ready {
            ReadyWhen::Word(ReadyWord::None) => spec.ready = ReadinessCheck::None,
            ReadyWhen::Word(ReadyWord::Tcp) => {}
            ReadyWhen::Table(table) => table.fill(&mut spec)?,
        }
        Ok(spec)
    }
}

/// A host and its port, from `NAME:PORT`.
pub(super) fn read_host(text: &str) -> Result<(String, u16), Failure> {
    let parts = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let named = |name: &str| name.split('.').all(label) && name.parse::<Ipv4Addr>().is_err();
    match parts {
        Some((name, port @ 1..)) if named(name) => Ok((name.to_ascii_lowercase(), port)),
        _ => Err(Failure::permanent(format!("`{text}` in `egress` is not a host with a port")).hint(
            "write it like \"api.example.com:443\", by name: addresses and patterns cannot be allowed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use std::sync::Arc;

    use crate::clock::ManualClock;
    use crate::value::Value;
    use serde_json::json;

    fn members(with: Value) -> Result<Vec<EnvironmentService>, String> {
        let cx = Context::for_test(PathBuf::from("/"), Arc::new(ManualClock::at(0)));
        let with: ServiceInput = serde_json::from_value(with).map_err(|e| e.to_string())?;
        if let Some(refusal) = with.input_refusals().into_iter().next() {
            return Err(refusal.failure.message);
        }
        with.members(&cx).map_err(|failure| failure.message)
    }

    fn spec(with: Value) -> Result<ServiceSpec, String> {
        members(with).map(|mut members| members.remove(0).spec)
    }

    #[test]
    fn services_beside_it_are_read() {
        let given = json!({"image": "x", "name": "app", "egress": ["API.example.com:443"], "volumes": {"shared": "/data"},
            "beside": {"db": {"image": "y", "port": 5432, "ready": {"command": "pg_isready"}, "seed": ["psql"], "volumes": {"shared": "/backup"}}}});
        let read = members(given).unwrap();
        assert_eq!(read.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), ["app", "db"]);
        assert_eq!(read[0].hosts, [("api.example.com".to_owned(), 443)]);
        assert_eq!(
            (read[1].spec.ready.clone(), read[1].spec.port),
            (ReadinessCheck::Command("pg_isready".into()), 5432)
        );
        assert_eq!(read[1].volumes, [("shared".to_owned(), PathBuf::from("/backup"))]);
    }

    #[test]
    fn what_services_beside_it_cannot_be_is_refused() {
        let message = |with: Value| members(with).err().unwrap();
        let beside = |with: Value| json!({"image": "x", "beside": with});
        assert!(message(beside(json!({"DB": {"image": "y"}}))).contains("not a valid name for a service"));
        assert!(
            message(beside(json!({"db": {"image": "y", "ahead": {"keep": 1, "of": 2}}}))).contains("`ahead`")
        );
        assert!(
            message(beside(json!({"db": {"image": "y", "beside": {"z": {"image": "z"}}}})))
                .contains("`beside`")
        );
        for host in ["example.com", "10.0.0.1:443", "*.example.com:443", "example.com:0", ":1"] {
            assert!(
                message(json!({"image": "x", "egress": [host]})).contains("not a host with a port"),
                "{host}"
            );
        }
        for path in ["data", "/", "/data/../etc"] {
            assert!(
                message(json!({"image": "x", "volumes": {"v": path}})).contains("not an absolute path"),
                "{path}"
            );
        }
        assert!(
            message(json!({"image": "x", "env": {"KEY": {"secret": "NONE"}}}))
                .contains("the secret `NONE` for the variable `KEY` of the service `program` is not set")
        );
    }

    #[test]
    fn what_an_environment_says_counts() {
        let environment = json!({
            "file": "environment.toml", "builds": [],
            "program": {"name": "app", "port": 9000, "ports": [9001], "env": {"A": "1"}, "ready": {"http": "/h"}},
            "services": {"db": {"image": "y", "port": 5432}},
        });
        let given = json!({"image": "x", "port": 8080, "ports": [9001, 9002], "env": {"B": "2"}, "memory": "1g",
            "ready": {"tcp": true}, "environment": environment, "beside": {"cache": {"image": "z", "port": 6379}}});
        let read = members(given).unwrap();
        assert_eq!(
            read.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(),
            ["app", "cache", "db"]
        );
        let spec = &read[0].spec;
        assert_eq!((spec.port, spec.ports.as_slice(), spec.memory), (9000, &[9001, 9002][..], 1 << 30));
        assert_eq!(spec.env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A"]);
        assert_eq!(spec.ready, ReadinessCheck::Http("/h".into()));
        // Without an environment, or with an empty one, the step's own keys apply.
        for environment in [json!(null), json!({}), json!({"file": null, "program": {}, "services": {}})] {
            let read = members(json!({"image": "x", "port": 81, "environment": environment})).unwrap();
            assert_eq!((read.len(), read[0].name.as_str(), read[0].spec.port), (1, "program", 81));
        }
        let unbuilt = json!({"image": "x", "environment": {"services": {"db": {"port": 1}}}});
        let message = members(unbuilt).err().unwrap();
        assert!(message.contains("the service `db` of the environment has no image"), "{message}");
        let unknown = json!({"image": "x", "environment": {"program": {"prot": 1}}});
        assert!(members(unknown).err().unwrap().contains("prot"));
    }

    #[test]
    fn conditions_and_limits_are_read() {
        let given = json!({"image": "x", "memory": "1g", "ready": {"http": "/h", "within": "1m30s"}});
        let read = spec(given).unwrap();
        assert_eq!((read.memory, read.within), (1 << 30, Duration::from_secs(90)));
        assert_eq!(read.ready, ReadinessCheck::Http("/h".into()));
        assert!(spec(json!({"image": "x", "ready": "none"})).unwrap().is_session());
        assert_eq!(spec(json!({"image": "x"})).unwrap().ready, ReadinessCheck::Tcp);
        let given = json!({"image": "x", "ports": [50051], "ready": {"tcp": true, "port": 50051}});
        let read = spec(given).unwrap();
        assert_eq!((read.port, read.ports, read.ready_port), (8080, vec![50051], Some(50051)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(spec(json!({"image": "x", "memory": "much"})).unwrap_err().contains("not a valid size"));
        assert!(spec(json!({"image": "x", "cpus": -1.0})).unwrap_err().contains("out of range"));
        assert!(
            spec(json!({"image": "x", "ready": {"log": "("}})).unwrap_err().contains("regular expression")
        );
        assert!(
            spec(json!({"image": "x", "ready": {"log": "a", "tcp": true}})).unwrap_err().contains("one of")
        );
        assert!(spec(json!({"image": "x", "ports": [0]})).unwrap_err().contains("out of range"));
        let stray = spec(json!({"image": "x", "ready": {"port": 50051}})).unwrap_err();
        assert!(stray.contains("not a port of the service"), "{stray}");
        assert!(spec(json!({"image": "x", "prot": 1})).unwrap_err().contains("prot"));
    }
}
