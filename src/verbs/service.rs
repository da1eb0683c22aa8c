//! `hold = { service = {…} }`: a running service. One that does not come up is an observation.

mod inside;

pub use inside::inside;

use std::collections::BTreeMap;
use std::pin::Pin;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lapse::Lapse;
use crate::clients::service::{Ready, Running, Runtimes, ServiceSpec, Tag};
use crate::value::Value;
use crate::verb::{Context, Failure, Lease, Resource, Traits};

/// How much of the log `held` carries, in bytes.
const LOG_TAIL: usize = 16 << 10;

/// Runs services.
pub struct Service {
    runtimes: Runtimes,
}

impl Service {
    /// Services are run by `runtimes`.
    pub fn new(runtimes: Runtimes) -> Self {
        Self { runtimes }
    }
}

/// What `service` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The image, as `docker_build` brings it.
    pub image: String,
    /// Instead of the image's own command: the program and its arguments.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Environment on top of the image's own. Nothing else of this machine's environment is visible.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub env: IndexMap<String, String>,
    /// The port it listens on, also given to it as `PORT`.
    #[serde(default = "port")]
    pub port: u16,
    /// More ports that it listens on, e.g. one for gRPC; `held.ports` says where they lead.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// When it counts as up.
    #[serde(default)]
    pub ready: ReadyWhen,
    /// Memory, such as `512m`: of the container, or of each process in a sandbox.
    #[serde(default)]
    pub memory: Option<String>,
    /// Processors.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<u64>,
    /// Whether it may reach the network.
    #[serde(default)]
    pub egress: bool,
}

fn port() -> u16 {
    8080
}

/// `"tcp"`, `"none"`, or a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ReadyWhen {
    /// A word.
    Word(ReadyWord),
    /// A table with one of `http`, `tcp`, `log`.
    Table(ReadyTable),
}

/// The conditions that need no more than a word.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadyWord {
    /// Its port accepts connections.
    Tcp,
    /// At once; without a `command` nothing runs but what scenarios execute in it.
    None,
}

/// When a service counts as up, and how long that may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyTable {
    /// This path answers with a status below 500.
    #[serde(default)]
    pub http: Option<String>,
    /// Its port accepts connections.
    #[serde(default)]
    pub tcp: Option<bool>,
    /// Its log matches this regular expression.
    #[serde(default)]
    pub log: Option<String>,
    /// Which of its ports is asked, `port` where nothing is said.
    #[serde(default)]
    pub port: Option<u16>,
    /// How long it may take, 30 s where nothing is said.
    #[serde(default)]
    pub within: Option<Lapse>,
}

impl Default for ReadyWhen {
    fn default() -> Self {
        Self::Word(ReadyWord::Tcp)
    }
}

impl ReadyTable {
    fn fill(self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        spec.within = self.within.map_or(spec.within, |lapse| lapse.0);
        spec.ready = match (self.http, self.log, self.tcp) {
            (Some(path), None, None) => Ready::Http(path),
            (None, Some(pattern), None) => Ready::Log(pattern),
            (None, None, None | Some(true)) => Ready::Tcp,
            _ => {
                return Err(Failure::permanent("`ready` takes one of http, tcp and log")
                    .hint("`ready = { http = \"/health\", within = \"20s\" }`, or `ready = \"none\"`"));
            }
        };
        if let Ready::Log(pattern) = &spec.ready {
            regex::Regex::new(pattern)
                .map_err(|e| Failure::permanent(format!("`ready.log` is no regular expression: {e}")))?;
        }
        if let Some(port) = self.port.filter(|port| *port != spec.port && !spec.ports.contains(port)) {
            return Err(Failure::permanent(format!("`ready.port = {port}` is no port of the service"))
                .hint("name it in `port` or `ports`"));
        }
        spec.ready_port = self.port;
        Ok(())
    }
}

/// What the body sees as `held`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Held {
    /// Whether it is up.
    pub ok: bool,
    /// Its id, for `scenario`.
    pub id: String,
    /// Where it answers, without a slash at the end.
    pub url: String,
    /// Its own ports, and for each the port on 127.0.0.1 that leads there.
    pub ports: BTreeMap<String, u16>,
    /// The end of its log.
    pub log: String,
    /// Its exit code, where it has ended.
    pub exit_code: Option<i64>,
    /// `docker`, `process`, or `host` for a process without a sandbox.
    pub runtime: String,
    /// Why it is not up.
    pub reason: Option<String>,
}

impl With {
    fn spec(self, tag: Tag) -> Result<ServiceSpec, Failure> {
        let mut spec = ServiceSpec::new(self.image, tag);
        (spec.command, spec.env, spec.port, spec.egress) = (self.command, self.env, self.port, self.egress);
        spec.ports = self.ports;
        spec.cpus = self.cpus.unwrap_or(spec.cpus);
        spec.pids = self.pids.unwrap_or(spec.pids);
        if let Some(memory) = self.memory {
            spec.memory = bytes(&memory).ok_or_else(|| {
                Failure::permanent(format!("`memory = \"{memory}\"` is no size"))
                    .hint("write it like \"512m\" or \"1g\"")
            })?;
        }
        let no_port = spec.port == 0 || spec.ports.contains(&0);
        if !(0.01..=1024.0).contains(&spec.cpus) || spec.pids == 0 || spec.memory < 6 << 20 || no_port {
            return Err(Failure::permanent("a limit or port of the service is out of range")
                .hint("cpus from 0.01 to 1024, pids and ports from 1, memory from 6m"));
        }
        match self.ready {
            ReadyWhen::Word(ReadyWord::None) => spec.ready = Ready::None,
            ReadyWhen::Word(ReadyWord::Tcp) => {}
            ReadyWhen::Table(table) => table.fill(&mut spec)?,
        }
        Ok(spec)
    }
}

/// A size such as `512m`, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.trim_end_matches("ib").trim_end_matches('b');
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Resource for Service {
    const NAME: &'static str = "service";
    const SUMMARY: &'static str = "a running service, reachable by us while it reaches nothing";
    const TRAITS: Traits = Traits::repeatable("service");
    const EXAMPLE: &'static str = r#"
[steps.up]
hold = { service = { image = "{{ steps.build.output.image }}", port = 8080, ready = { http = "/health", within = "20s" } } }
"#;
    type With = With;
    type Held = Held;

    async fn acquire(&self, with: With, cx: Context) -> Result<Box<dyn Lease>, Failure> {
        let spec = with.spec(Tag { run: cx.run.clone(), address: cx.address.clone() })?;
        let running = tokio::select! {
            running = self.runtimes.start(&spec) => running?,
            () = cx.cancel.cancelled() => return Err(Failure::cancelled()),
        };
        let line = match running.reason() {
            None => format!("up with runtime {} at {}", running.runtime(), running.url()),
            Some(reason) => format!("not up with runtime {}: {reason}", running.runtime()),
        };
        cx.progress.line(line);
        Ok(Box::new(Hold { runtimes: self.runtimes.clone(), running: Some(running) }))
    }
}

/// A service while it is held; one that is let fall is stopped all the same.
struct Hold {
    runtimes: Runtimes,
    running: Option<Running>,
}

fn held(running: &Running) -> Value {
    let held = Held {
        ok: running.is_up(),
        id: running.id().to_owned(),
        url: running.url(),
        ports: running.ports(),
        log: running.log().tail(LOG_TAIL),
        exit_code: running.exit_code(),
        runtime: running.runtime().to_owned(),
        reason: running.reason(),
    };
    serde_json::to_value(held).unwrap_or_default()
}

impl Lease for Hold {
    fn held(&self) -> Value {
        self.running.as_ref().map(held).unwrap_or_default()
    }

    fn release(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = Value> + Send>> {
        Box::pin(async move {
            let Some(running) = self.running.take() else { return Value::Null };
            // What it was is what the body saw; that we end it now is no news.
            let mut last = held(&running);
            self.runtimes.stop(&running).await;
            last["log"] = Value::String(running.log().tail(LOG_TAIL));
            last
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (Some(running), Ok(runtime)) = (self.running.take(), tokio::runtime::Handle::try_current()) {
            let runtimes = self.runtimes.clone();
            runtime.spawn(async move { runtimes.stop(&running).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::id::{Address, RunId};
    use serde_json::json;

    fn spec(with: Value) -> Result<ServiceSpec, String> {
        let tag = Tag { run: RunId::new("r"), address: Address::new("a") };
        let with: With = serde_json::from_value(with).map_err(|e| e.to_string())?;
        with.spec(tag).map_err(|failure| failure.message)
    }

    #[test]
    fn conditions_and_limits_are_read() {
        let given = json!({"image": "x", "memory": "1g", "ready": {"http": "/h", "within": "1m30s"}});
        let read = spec(given).unwrap();
        assert_eq!((read.memory, read.within), (1 << 30, Duration::from_secs(90)));
        assert_eq!(read.ready, Ready::Http("/h".into()));
        assert!(spec(json!({"image": "x", "ready": "none"})).unwrap().is_session());
        assert_eq!(spec(json!({"image": "x"})).unwrap().ready, Ready::Tcp);
        let given = json!({"image": "x", "ports": [50051], "ready": {"tcp": true, "port": 50051}});
        let read = spec(given).unwrap();
        assert_eq!((read.port, read.ports, read.ready_port), (8080, vec![50051], Some(50051)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(spec(json!({"image": "x", "memory": "much"})).unwrap_err().contains("no size"));
        assert!(spec(json!({"image": "x", "cpus": -1.0})).unwrap_err().contains("out of range"));
        assert!(
            spec(json!({"image": "x", "ready": {"log": "("}})).unwrap_err().contains("regular expression")
        );
        assert!(
            spec(json!({"image": "x", "ready": {"log": "a", "tcp": true}})).unwrap_err().contains("one of")
        );
        assert!(spec(json!({"image": "x", "ports": [0]})).unwrap_err().contains("out of range"));
        let stray = spec(json!({"image": "x", "ready": {"port": 50051}})).unwrap_err();
        assert!(stray.contains("no port of the service"), "{stray}");
        assert!(spec(json!({"image": "x", "prot": 1})).unwrap_err().contains("prot"));
    }
}
