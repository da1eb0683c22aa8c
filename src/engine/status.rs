use super::Pause;

/// Where a run stands if it has not ended with a word of its pipeline: the word in every list and report, the exit
/// code, and what to do next. In hints, `RUN` is the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusWord {
    /// The word.
    pub word: &'static str,
    /// The exit code.
    pub code: i32,
    /// What to do next.
    pub hint: &'static str,
}

const fn status(word: &'static str, code: i32, hint: &'static str) -> StatusWord {
    StatusWord { word, code, hint }
}

/// The word for a run that a process carries out.
pub const STATUS_RUNNING: &str = "running";

/// Every status that is none of a pipeline's own.
pub const STATUSES: [StatusWord; 10] = [
    status(STATUS_RUNNING, 8, ""),
    status("interrupted", 8, "`atoll resume RUN` continues it"),
    status("barrier", 6, "change the pipeline, then `atoll resume RUN --replan`"),
    status("cancelled", 8, "`atoll resume RUN` continues it"),
    status("budget", 5, "`atoll resume RUN --limit UNIT=N` continues it with a higher limit"),
    status("auth", 7, "give the credentials, then `atoll resume RUN` continues it"),
    status("outage", 7, "`atoll resume RUN` tries again"),
    status("waiting", 7, "`atoll answer RUN STEP VALUE` answers a question, `atoll resume RUN` continues"),
    status("incomplete", 4, "`atoll resume RUN --replan` runs what failed again"),
    status("failed", 1, "`atoll resume RUN --replan` begins a new run that reuses the recorded results"),
];

/// The status of a run that no process carries out although it has not ended or paused.
pub const INTERRUPTED: StatusWord = STATUSES[1];

impl Pause {
    /// The status of a run that pauses so.
    pub const fn status(self) -> StatusWord {
        match self {
            Self::Barrier => STATUSES[2],
            Self::Cancelled => STATUSES[3],
            Self::Budget => STATUSES[4],
            Self::Auth => STATUSES[5],
            Self::Outage => STATUSES[6],
            Self::Waiting => STATUSES[7],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pause_has_its_row() {
        let row = |pause: Pause| (pause.status().word, pause.status().code);
        assert_eq!(row(Pause::Barrier), ("barrier", 6));
        assert_eq!(row(Pause::Cancelled), ("cancelled", 8));
        assert_eq!(row(Pause::Budget), ("budget", 5));
        assert_eq!(row(Pause::Auth), ("auth", 7));
        assert_eq!(row(Pause::Outage), ("outage", 7));
        assert_eq!(row(Pause::Waiting), ("waiting", 7));
        assert_eq!(INTERRUPTED.word, "interrupted");
    }
}
