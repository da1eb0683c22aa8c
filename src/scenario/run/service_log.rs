use std::time::Duration;

use crate::scenario::steps::TestEnvironment;

/// Time without output after which the log of a service counts as complete.
const QUIET: Duration = Duration::from_millis(50);
/// Time limit for reading the log of a service that never stops logging.
const LIMIT: Duration = Duration::from_millis(500);

/// The log of the service since `mark`. Lines that it wrote while it answered may arrive after the answer,
/// so this waits for them if the step is `faulty`.
pub(super) async fn logged(stage: &TestEnvironment<'_>, mark: Option<u64>, faulty: bool) -> String {
    let Some((mark, shell)) = mark.zip(stage.shell) else { return String::new() };
    if faulty {
        let limit = stage.clock.sleep(LIMIT);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                () = shell.log_grows() => {}
                () = stage.clock.sleep(QUIET) => break,
                () = &mut limit => break,
            }
        }
    }
    shell.log_since(mark)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::clock::ManualClock;
    use crate::scenario::ports::{CommandExecution, ServiceCommand, Shell, TerminalOpening, TerminalProgram};

    /// Logs the next of its lines each time it is waited for.
    struct Late(Mutex<Vec<&'static str>>, Mutex<String>);

    impl Shell for Late {
        fn exec(&self, _: ServiceCommand) -> CommandExecution<'_> {
            Box::pin(std::future::pending())
        }

        fn terminal(&self, _: TerminalProgram) -> TerminalOpening<'_> {
            Box::pin(std::future::pending())
        }

        fn log_mark(&self) -> u64 {
            0
        }

        fn log_since(&self, _: u64) -> String {
            self.1.lock().unwrap().clone()
        }

        fn log_grows(&self) -> BoxFuture<'_, ()> {
            match self.0.lock().unwrap().pop() {
                Some(line) => {
                    self.1.lock().unwrap().push_str(line);
                    Box::pin(std::future::ready(()))
                }
                None => Box::pin(std::future::pending()),
            }
        }
    }

    async fn told(faulty: bool) -> (String, u64) {
        let late = Late(Mutex::new(vec!["two\n", "one\n"]), Mutex::new(String::new()));
        let clock = ManualClock::at(0);
        let stage = TestEnvironment { shell: Some(&late), ..TestEnvironment::new(&clock) };
        let log = logged(&stage, Some(0), faulty);
        tokio::pin!(log);
        loop {
            tokio::select! {
                biased;
                log = &mut log => return (log, crate::clock::Clock::now(&clock)),
                () = tokio::task::yield_now() => { clock.advance_to_next(); }
            }
        }
    }

    #[tokio::test]
    async fn what_comes_behind_the_answer_is_waited_for_where_there_is_a_fault() {
        assert_eq!(told(true).await, ("one\ntwo\n".to_owned(), 50));
        assert_eq!(told(false).await, (String::new(), 0), "no wait if all is well");
    }
}
