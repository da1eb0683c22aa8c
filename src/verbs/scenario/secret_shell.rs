//! Command lines with secrets, which must not be arguments of a process.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::scenario::{CommandExecution, ServiceCommand, Shell, TerminalOpening, TerminalProgram};
use crate::verb::{Failure, Secrets};

/// The variable that holds a command line with a secret until the shell reads it.
const LINE: &str = "ATOLL_COMMAND_LINE";

/// The inside of a service. Command lines with secrets are not arguments of the shell, because every user of
/// the machine could read those.
pub(super) struct SecretShell {
    pub(super) shell: Arc<dyn Shell>,
    pub(super) secrets: Arc<dyn Secrets>,
}

impl SecretShell {
    /// The replacement of `line`, and its environment variable. The commands of the line do not inherit the
    /// variable.
    fn line(&self, line: String) -> (String, Option<(String, String)>) {
        if self.secrets.redact(&line) == line {
            return (line, None);
        }
        (format!("eval \"unset {LINE}\n${LINE}\""), Some((LINE.to_owned(), line)))
    }
}

impl Shell for SecretShell {
    fn exec(&self, mut command: ServiceCommand) -> CommandExecution<'_> {
        let (line, variable) = self.line(command.line);
        command.line = line;
        command.env.extend(variable);
        self.shell.exec(command)
    }

    fn terminal(&self, mut program: TerminalProgram) -> TerminalOpening<'_> {
        let (line, variable) = self.line(program.line);
        program.line = line;
        program.env.extend(variable);
        self.shell.terminal(program)
    }

    fn lacked(&self) -> Option<Failure> {
        self.shell.lacked()
    }

    fn hide(&self, secrets: &Arc<dyn Secrets>) {
        self.shell.hide(secrets);
    }

    fn hidden_in(&self, text: &str) -> Vec<(usize, usize)> {
        self.secrets.places(text)
    }

    fn serves(&self, target: &str) -> bool {
        self.shell.serves(target)
    }

    fn hidden_on_screen(&self, text: &str, wraps: &[usize]) -> Vec<(usize, usize)> {
        self.secrets.places_on_screen(text, wraps)
    }

    fn log_mark(&self) -> u64 {
        self.shell.log_mark()
    }

    fn log_since(&self, mark: u64) -> String {
        self.shell.log_since(mark)
    }

    fn ending(&self) -> Option<String> {
        self.shell.ending()
    }

    fn ends(&self) -> BoxFuture<'_, ()> {
        self.shell.ends()
    }

    fn log_grows(&self) -> BoxFuture<'_, ()> {
        self.shell.log_grows()
    }
}
