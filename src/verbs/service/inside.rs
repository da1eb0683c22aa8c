use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::runtime::service::{self, ExecSpec, RunningService, Runtimes, TerminalSpec};
use crate::scenario::{
    self, CommandExecution, CommandResult, ServiceCommand, Shell, ShellError, TerminalOpening,
    TerminalProgram, TerminalSize,
};
use crate::verb::Secrets;

impl Shell for RunningService {
    fn exec(&self, command: ServiceCommand) -> CommandExecution<'_> {
        Box::pin(async move {
            let mut spec = ExecSpec::shell(command.line, command.timeout);
            (spec.stdin, spec.env, spec.files) = (command.stdin, command.env, command.files);
            let report =
                RunningService::exec(self, spec).await.map_err(|failure| ShellError(failure.message))?;
            Ok(CommandResult {
                exit_code: report.exit_code,
                stdout: report.stdout,
                stderr: report.stderr,
                timed_out: report.timed_out,
            })
        })
    }

    fn terminal(&self, program: TerminalProgram) -> TerminalOpening<'_> {
        Box::pin(async move {
            let TerminalProgram { line, env, size } = program;
            let spec = TerminalSpec { line, env, columns: size.columns.get(), rows: size.rows.get() };
            let opened = RunningService::terminal(self, spec).await;
            let terminal = opened.map_err(|failure| ShellError(failure.message))?;
            Ok(Box::new(HeldTerminal(terminal)) as Box<dyn scenario::ServiceTerminal>)
        })
    }

    fn lacked(&self) -> Option<crate::verb::Failure> {
        RunningService::lacked(self)
    }

    fn hide(&self, secrets: &Arc<dyn Secrets>) {
        self.combined_log().hide(secrets);
    }

    fn serves(&self, target: &str) -> bool {
        let Ok(url) = reqwest::Url::parse(target) else { return false };
        let ports = self.ports();
        url.host_str() == Some("127.0.0.1") && ports.values().any(|port| url.port() == Some(*port))
    }

    fn log_mark(&self) -> u64 {
        self.combined_log().mark()
    }

    fn log_since(&self, mark: u64) -> String {
        self.combined_log().since(mark)
    }

    fn ending(&self) -> Option<String> {
        RunningService::ending(self)
    }

    fn ends(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.ended())
    }

    fn log_grows(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.log().grows())
    }
}

/// A terminal inside a service.
struct HeldTerminal(service::TerminalHandle);

impl scenario::ServiceTerminal for HeldTerminal {
    fn send(&mut self, bytes: Vec<u8>) {
        self.0.send(service::TerminalInput::Bytes(bytes));
    }

    fn resize(&mut self, size: TerminalSize) {
        self.0.send(service::TerminalInput::Size { columns: size.columns.get(), rows: size.rows.get() });
    }

    fn next(&mut self) -> Pin<Box<dyn Future<Output = scenario::TerminalEvent> + Send + '_>> {
        Box::pin(async move {
            match self.0.next().await {
                service::TerminalOutput::Bytes(bytes) => scenario::TerminalEvent::Bytes(bytes),
                service::TerminalOutput::Ended(code) => scenario::TerminalEvent::Ended(code),
            }
        })
    }

    fn end(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.end())
    }
}

/// The inside of the service `id` of `runtimes`, while it is held.
pub fn inside(runtimes: &Runtimes, id: &str) -> Option<Arc<dyn Shell>> {
    runtimes.live(id).map(|running| Arc::new(running) as Arc<dyn Shell>)
}
