//! `hold = { service = {…} }`: a running service. A failed start is a result, not an error.

mod environment;
mod input;
mod inside;
mod refusals;
mod target;

pub use environment::{ProgramSettings, ServiceEnvironment};
pub use input::{Egress, FileMount, ReadyTable, ReadyWhen, ReadyWord, ServiceInput, SidecarFailure};
pub use inside::inside;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::expr::tail_text;
use crate::runtime::service::{Environment, RunningService, Runtimes};
use crate::value::Value;
use crate::verb::{Context, Failure, Lease, Refusal, Resource, Secrets, Traits};

/// The length of the log in `held`, in bytes.
const LOG_TAIL: usize = 16 << 10;

/// The length of the log in a failure, in characters.
const LOG_OF_FAILURE: usize = 2000;

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

/// Output of a held `service`: the value of `held` in the body.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ServiceState {
    /// Whether it is running and ready.
    pub ok: bool,
    /// Whether it became ready. It may have ended since; `ok` is then false.
    pub came_up: bool,
    /// Id for `scenario`.
    pub id: String,
    /// URL of the service, without a slash at the end.
    pub url: String,
    /// Ports of the service, each with its forwarded port on 127.0.0.1.
    pub ports: BTreeMap<String, u16>,
    /// End of its log.
    pub log: String,
    /// Exit code, if it has ended.
    pub exit_code: Option<i64>,
    /// Runtime: `docker`, `process`, `host` for a process without a sandbox, or `target` for an already
    /// running program.
    pub runtime: String,
    /// Reason why it is not running.
    pub reason: Option<String>,
    /// Name of the sidecar that is not running, if that is the reason; the service itself is not at fault
    /// then.
    pub blame: Option<String>,
    /// Services by name: this one and its sidecars.
    pub services: BTreeMap<String, HeldService>,
}

/// One of several services.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HeldService {
    /// Whether it is running and ready.
    pub ok: bool,
    /// Id for `scenario`.
    pub id: String,
    /// URL of the service, without a slash at the end.
    pub url: String,
    /// Ports of the service, each with its forwarded port on 127.0.0.1.
    pub ports: BTreeMap<String, u16>,
    /// Exit code, if it has ended.
    pub exit_code: Option<i64>,
}

impl Resource for Service {
    const NAME: &'static str = "service";
    const SUMMARY: &'static str = "run a service in a sandbox while the body runs";
    const TRAITS: Traits = Traits::repeatable("service");
    const EXAMPLE: &'static str = r#"
[steps.up]
hold = { service = { image = "{{ steps.build.output.image }}", port = 8080, ready = { http = "/health", within = "20s" } } }
"#;
    type With = ServiceInput;
    type Held = ServiceState;

    fn refusals(with: &ServiceInput) -> Vec<Refusal> {
        with.input_refusals()
    }

    async fn acquire(&self, with: ServiceInput, cx: Context) -> Result<Box<dyn Lease>, Failure> {
        if let Some(target) = with.target.clone() {
            return self.reach(&target, with, &cx).await;
        }
        let blame = with.blame;
        let ahead = with.ahead;
        let key = ahead.map(|_| with.key(&cx));
        let members = || with.clone().members(&cx);
        let start = async {
            match (ahead, key) {
                (Some(ahead), Some(key)) => self.runtimes.take(key, ahead, &members).await,
                _ => self.runtimes.start_all(members()?).await,
            }
        };
        let environment = tokio::select! {
            environment = start => environment?,
            () = cx.cancel.cancelled() => return Err(Failure::cancelled()),
        };
        cx.progress.line(cx.secrets.redact(&log_text(&environment)));
        let secrets = cx.secrets.clone();
        let (runtimes, late) = (self.runtimes.clone(), ahead.is_some());
        let hold = ServiceLease { runtimes, environment: Some(environment), secrets, late };
        if blame == SidecarFailure::Fail
            && let Some(failure) = hold.failure_beside()
        {
            Box::new(hold).release().await;
            return Err(failure);
        }
        Ok(Box::new(hold))
    }

    async fn settle(&self) {
        self.runtimes.close().await;
    }
}

fn log_text(environment: &Environment) -> String {
    let beside = match environment.services.len() {
        0 | 1 => String::new(),
        2 => ", with 1 sidecar".to_owned(),
        n => format!(", with {} sidecars", n - 1),
    };
    match (environment.running(), reason(environment)) {
        (Some(running), None) => {
            format!("running with runtime {} at {}{beside}", running.runtime(), running.url())
        }
        (Some(running), Some(reason)) => format!("not running with runtime {}: {reason}", running.runtime()),
        (None, reason) => format!("not running: {}", reason.unwrap_or_default()),
    }
}

/// The reason why a service is not running.
fn reason(environment: &Environment) -> Option<String> {
    let now = environment.running().and_then(RunningService::reason);
    environment.reason.clone().or(now)
}

/// A held service; it is stopped when it is dropped.
struct ServiceLease {
    runtimes: Runtimes,
    environment: Option<Environment>,
    secrets: Arc<dyn Secrets>,
    /// Whether it is stopped in the background after it is released.
    late: bool,
}

impl ServiceLease {
    fn seen(&self, environment: &Environment) -> Value {
        let one = |running: &RunningService| HeldService {
            ok: running.is_up(),
            id: running.id().to_owned(),
            url: running.url(),
            ports: running.ports(),
            exit_code: running.exit_code(),
        };
        let named = |(name, running): &(String, RunningService)| (name.clone(), one(running));
        let services: BTreeMap<_, _> = environment.services.iter().map(named).collect();
        let main = environment.running();
        let reason = reason(environment);
        let held = ServiceState {
            ok: main.is_some_and(RunningService::is_up) && reason.is_none(),
            came_up: environment.came_up(),
            id: main.map_or_else(String::new, |running| running.id().to_owned()),
            url: main.map_or_else(String::new, RunningService::url),
            ports: main.map_or_else(BTreeMap::new, RunningService::ports),
            log: self.log(environment),
            exit_code: main.and_then(RunningService::exit_code),
            runtime: main.map_or_else(String::new, |running| running.runtime().to_owned()),
            reason: reason.map(|reason| self.redact(environment, &reason)),
            blame: environment.blame.clone(),
            services,
        };
        serde_json::to_value(held).unwrap_or_default()
    }

    /// The failure of a sidecar of the held service, if there is one.
    fn failure_beside(&self) -> Option<Failure> {
        let environment = self.environment.as_ref().filter(|environment| environment.blame.is_some())?;
        let reason = self.redact(environment, &reason(environment).unwrap_or_default());
        let log = self.log(environment);
        let log = tail_text(&log, LOG_OF_FAILURE).unwrap_or(log);
        Some(Failure::permanent(format!("{reason}\n{log}").trim_end().to_owned()))
    }

    fn log(&self, environment: &Environment) -> String {
        self.redact(environment, &environment.combined_log.tail(LOG_TAIL))
    }

    /// `text` without secrets, and without the credentials of the scenarios that used the service.
    fn redact(&self, environment: &Environment, text: &str) -> String {
        self.secrets.redact(&environment.combined_log.redact(text))
    }
}

impl Lease for ServiceLease {
    fn held(&self) -> Value {
        self.environment.as_ref().map(|environment| self.seen(environment)).unwrap_or_default()
    }

    fn release(mut self: Box<Self>) -> Pin<Box<dyn Future<Output = Value> + Send>> {
        Box::pin(async move {
            // The body has seen its state; that it ends now is expected.
            let mut last = self.held();
            let Some(environment) = self.environment.take() else { return last };
            if self.late {
                self.runtimes.stop_late(environment);
            } else {
                self.runtimes.stop_all(&environment).await;
                last["log"] = Value::String(self.log(&environment));
            }
            last
        })
    }
}

impl Drop for ServiceLease {
    fn drop(&mut self) {
        if let Some(environment) = self.environment.take() {
            self.runtimes.stop_late(environment);
        }
    }
}
