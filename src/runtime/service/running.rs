//! A running service.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::{Log, PortForward, ServiceSpec, health};
use crate::relay::{ExecReport, ExecSpec, TerminalHandle, TerminalSpec};
use crate::verb::Failure;

/// A running call to a runtime.
pub type BackendFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Operations of a runtime on a service that it has started.
pub trait Backend: Send + Sync + 'static {
    /// Runs a command in the service.
    fn exec(&self, spec: ExecSpec) -> BackendFuture<'_, Result<ExecReport, Failure>>;
    /// Starts a program in a terminal in the service.
    fn terminal(&self, spec: TerminalSpec) -> BackendFuture<'_, Result<TerminalHandle, Failure>>;
    /// Stops the service within a second and removes its resources. May be called repeatedly.
    fn stop(&self) -> BackendFuture<'_, ()>;
    /// The real failure if a service did not become ready because its runtime lacks something that the
    /// image needs.
    fn machine_fault(&self) -> BackendFuture<'_, Option<Failure>> {
        Box::pin(async { None })
    }
    /// The real failure behind the end of a command in the service, for the same reason.
    fn lacked(&self) -> Option<Failure> {
        None
    }
}

/// A service that a runtime has started.
pub struct Boot {
    /// Operations on the service.
    pub backend: Arc<dyn Backend>,
    /// Output of the service.
    pub log: Log,
    /// Exit code and, if known, the cause of the end; set once.
    pub exit: watch::Receiver<Option<ServiceExit>>,
    /// Socket of the agent.
    pub socket: PathBuf,
}

impl Boot {
    /// A service that could not be started because of its own image, which is an observation.
    pub fn never(spec: &ServiceSpec, reason: &str) -> Self {
        let log = spec.log();
        log.push(format!("{reason}\n").as_bytes());
        let cause = Some(format!("it cannot be started: {}", reason.lines().last().unwrap_or_default()));
        let exit = watch::channel(Some(ServiceExit { code: 126, cause })).1;
        Self { backend: Arc::new(Nothing), log, exit, socket: PathBuf::from("/nonexistent") }
    }
}

/// Backend of a service that was never started.
struct Nothing;

impl Backend for Nothing {
    fn exec(&self, _: ExecSpec) -> BackendFuture<'_, Result<ExecReport, Failure>> {
        Box::pin(async { Err(Failure::permanent("the service was never started")) })
    }

    fn terminal(&self, _: TerminalSpec) -> BackendFuture<'_, Result<TerminalHandle, Failure>> {
        Box::pin(async { Err(Failure::permanent("the service was never started")) })
    }

    fn stop(&self) -> BackendFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// How a service ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceExit {
    /// Exit code.
    pub code: i64,
    /// Cause of the end, if known.
    pub cause: Option<String>,
}

/// A service that was started: ready, or with the reason why not. Cheap to clone; must be stopped.
#[derive(Clone)]
pub struct RunningService(Arc<RunningInner>);

struct RunningInner {
    id: String,
    runtime: &'static str,
    came_up: bool,
    reason: Option<String>,
    front: PortForward,
    others: Vec<(u16, PortForward)>,
    port: u16,
    boot: Boot,
}

impl RunningService {
    /// Waits until the service is ready, has ended, or its time limit is over. Each is an observation.
    pub(super) async fn boot(
        id: String,
        runtime: &'static str,
        spec: &ServiceSpec,
        boot: Boot,
    ) -> Result<Self, Failure> {
        let fronts = match fronts(&boot.socket, spec).await {
            Ok(fronts) => fronts,
            Err(e) => {
                boot.backend.stop().await;
                return Err(Failure::transient(format!("cannot listen on 127.0.0.1: {e}")));
            }
        };
        let asked = spec.ready_port.unwrap_or(spec.port);
        let mut exit = boot.exit.clone();
        let (came_up, reason) = tokio::select! {
            biased;
            _ = exit.wait_for(Option::is_some) => (false, None),
            healthy = health::wait(&spec.ready, spec.within, (&boot.socket, asked), &*boot.backend, &boot.log) => {
                (healthy.is_ok(), healthy.err())
            }
        };
        let (front, others) = fronts;
        Ok(Self(Arc::new(RunningInner {
            id,
            runtime,
            came_up,
            reason,
            front,
            others,
            port: spec.port,
            boot,
        })))
    }

    /// Id of the service in this process.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// `docker`, `process` or `host`.
    pub fn runtime(&self) -> &'static str {
        self.0.runtime
    }

    /// Whether it became ready and has not ended since.
    pub fn is_up(&self) -> bool {
        self.0.reason.is_none() && self.exit().is_none()
    }

    /// Whether it became ready. It may have ended since.
    pub fn came_up(&self) -> bool {
        self.0.came_up
    }

    /// Why it is not up.
    pub fn reason(&self) -> Option<String> {
        self.ending().map(|ending| format!("it {ending}")).or_else(|| self.0.reason.clone())
    }

    /// How it ended, such as `ended with exit code 1`; `None` while it runs.
    pub fn ending(&self) -> Option<String> {
        let exit = self.exit()?;
        let cause = exit.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        Some(format!("ended with exit code {}{cause}", exit.code))
    }

    /// Base URL, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.front.port())
    }

    /// Its ports, each with the forwarded port on 127.0.0.1.
    pub fn ports(&self) -> BTreeMap<String, u16> {
        let first = (self.0.port.to_string(), self.0.front.port());
        let others = self.0.others.iter().map(|(port, front)| (port.to_string(), front.port()));
        others.chain([first]).collect()
    }

    /// Output until now.
    pub fn log(&self) -> &Log {
        &self.0.boot.log
    }

    /// Output of it and the other services of its environment, with their names before each line; for a
    /// single service, its log.
    pub fn combined_log(&self) -> Log {
        self.0.boot.log.combined_log()
    }

    /// Its exit code, once it has ended.
    pub fn exit_code(&self) -> Option<i64> {
        self.exit().map(|exit| exit.code)
    }

    fn exit(&self) -> Option<ServiceExit> {
        self.0.boot.exit.borrow().clone()
    }

    /// Resolves when it has ended.
    pub async fn ended(&self) {
        let mut exit = self.0.boot.exit.clone();
        let _ = exit.wait_for(Option::is_some).await;
    }

    /// Runs a command in it. The report also describes a command that was killed at its time limit.
    /// Failures: the service has ended, or a problem of this machine.
    pub async fn exec(&self, spec: ExecSpec) -> Result<ExecReport, Failure> {
        self.must_run()?;
        self.0.boot.backend.exec(spec).await
    }

    /// The real failure behind the end of a command in it, if its runtime lacks something that the image
    /// needs.
    pub fn lacked(&self) -> Option<Failure> {
        self.0.boot.backend.lacked()
    }

    /// Starts a program in a terminal in it. The program ends when the terminal is dropped.
    pub async fn terminal(&self, spec: TerminalSpec) -> Result<TerminalHandle, Failure> {
        self.must_run()?;
        self.0.boot.backend.terminal(spec).await
    }

    fn must_run(&self) -> Result<(), Failure> {
        match self.ending() {
            Some(ending) => Err(Failure::permanent(format!("the service has {ending}"))),
            None => Ok(()),
        }
    }

    /// The real failure if it did not become ready and the machine is at fault.
    pub(super) async fn machine_fault(&self) -> Option<Failure> {
        if self.is_up() { None } else { self.0.boot.backend.machine_fault().await }
    }

    /// Stops it within a second and removes its resources.
    pub(super) async fn stop(&self) {
        self.0.boot.backend.stop().await;
        let _ = timeout(Duration::from_millis(300), self.ended()).await;
    }
}

/// Port forwards to a service: to its first port, and to the others by port.
async fn fronts(socket: &Path, spec: &ServiceSpec) -> io::Result<(PortForward, Vec<(u16, PortForward)>)> {
    let first = PortForward::open(socket, spec.port).await?;
    let mut others = Vec::new();
    for port in spec.ports.iter().copied().filter(|port| *port != spec.port) {
        others.push((port, PortForward::open(socket, port).await?));
    }
    Ok((first, others))
}

impl fmt::Debug for RunningService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("id", &self.0.id)
            .field("runtime", &self.0.runtime)
            .finish_non_exhaustive()
    }
}
