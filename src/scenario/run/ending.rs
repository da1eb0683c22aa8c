//! Explains failed steps by the end of the program: steps after that say nothing more about it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::ports::Shell;
use crate::scenario::steps::TestEnvironment;

/// Time at which a program ended, relative to a step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedWhen {
    /// Before the step began.
    Before,
    /// While the step ran.
    During,
}

/// How long to wait for the end of a program that gave no answer: its connections close first.
const LATE: Duration = Duration::from_secs(2);

/// The end of a program.
pub(super) struct ProgramEnding {
    pub when: EndedWhen,
    how: String,
    /// Message in one line.
    note: String,
}

impl ProgramEnding {
    /// Adds the note to `error`, unless it already contains it; to `log` if there is no error.
    pub fn tell(&self, error: Option<&mut String>, log: &mut String) {
        match error {
            Some(error) if error.contains(&self.how) => {}
            Some(error) => *error = format!("{error}; {}", self.note),
            None => {
                let line = if log.is_empty() || log.ends_with('\n') { "" } else { "\n" };
                *log = format!("{log}{line}({})\n", self.note);
            }
        }
    }
}

/// Whether and when the program that a failed step talks to has ended. `before` describes its end before
/// the step began. Waits a moment for its end unless the step was `answered`.
pub(super) async fn of_program(
    stage: &TestEnvironment<'_>,
    before: Option<String>,
    service: Option<&String>,
    answered: bool,
) -> Option<ProgramEnding> {
    let shell = stage.shell?;
    let program = service.map_or_else(|| "the program".to_owned(), |name| format!("`{name}`"));
    if let Some(how) = before {
        let note = format!("before this step, {program} {how}");
        return Some(ProgramEnding { when: EndedWhen::Before, how, note });
    }
    // A sandbox for commands is not the program that did not answer.
    let is_asked = stage.target.is_none_or(|target| shell.serves(target));
    if !answered && is_asked {
        tokio::select! {
            () = shell.ends() => {}
            () = stage.clock.sleep(LATE) => {}
        }
    }
    let how = shell.ending()?;
    let note = format!("during this step, {program} {how}");
    Some(ProgramEnding { when: EndedWhen::During, how, note })
}

/// How the program has ended, if it has.
pub(super) fn by_now(stage: &TestEnvironment<'_>) -> Option<String> {
    stage.shell.and_then(Shell::ending)
}
