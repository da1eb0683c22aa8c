//! The exit codes: one table, shown by `--help`.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::engine::{INTERRUPTED, Pause, RunStatus};
use crate::view::Status;

/// The exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(u8);

impl ExitStatus {
    /// The run reached its goal, or the command succeeded.
    pub const REACHED: Self = Self(0);
    /// A step failed, or this machine did.
    pub const FAILED: Self = Self(1);
    /// The command line is wrong.
    pub const USAGE: Self = Self(2);
    /// The pipeline or an input is wrong.
    pub const WRONG: Self = Self(3);
    /// The run ended without reaching its goal.
    pub const UNREACHED: Self = Self(4);
    /// A spending limit is reached.
    pub const BUDGET: Self = Self(5);
    /// Reserved.
    pub const BARRIER: Self = Self(6);
    /// The run waits for an answer, credentials or a provider.
    pub const WAITING: Self = Self(7);
    /// The run was stopped by a user.
    pub const CANCELLED: Self = Self(8);
    /// Another process works on the run.
    pub const HELD: Self = Self(9);
    /// The target of a validation does not accept connections.
    pub const UNREACHABLE: Self = Self(10);
    /// A bug in Atoll.
    pub const BUG: Self = Self(70);

    /// Every code with its meaning.
    pub const TABLE: [(Self, &'static str); 12] = [
        (Self::REACHED, "reached its goal"),
        (Self::FAILED, "a step or this machine (disk, network) failed"),
        (Self::USAGE, "the command line is wrong"),
        (Self::WRONG, "the pipeline or an input is wrong; see the diagnostics"),
        (Self::UNREACHED, "ended without reaching the goal: stalled, exhausted, below threshold, unclear"),
        (Self::BUDGET, "a spending limit is reached; resumable with a higher one"),
        (Self::BARRIER, "reserved for information barriers"),
        (Self::WAITING, "waits for an answer, credentials, or a provider that is down; resumable"),
        (Self::CANCELLED, "stopped by Ctrl-C or a signal; resumable"),
        (Self::HELD, "another process is executing the run: nothing was done"),
        (Self::UNREACHABLE, "the target of `atoll validate` does not accept connections"),
        (Self::BUG, "a bug in Atoll: please report it"),
    ];

    /// The code as a number.
    pub fn code(self) -> i32 {
        i32::from(self.0)
    }

    /// The code that a pipeline asks for; an invalid one becomes 1.
    pub fn of_code(code: i32) -> Self {
        u8::try_from(code).map_or(Self::FAILED, Self)
    }

    /// The code for a run with this status.
    pub fn of_standing(standing: &RunStatus) -> Self {
        match standing {
            RunStatus::Going => Self::CANCELLED,
            RunStatus::Paused { pause, .. } => Self::of_pause(*pause),
            RunStatus::Finished { code, .. } => Self::of_code(*code),
        }
    }

    /// The code for a run with these facts; an interrupted run counts as stopped.
    pub fn of_status(status: &Status) -> Self {
        match status {
            Status::Unborn | Status::Running | Status::Interrupted => Self::of_code(INTERRUPTED.code),
            Status::Paused { pause, .. } => Self::of_pause(*pause),
            Status::Finished { code, .. } => Self::of_code(*code),
        }
    }

    fn of_pause(pause: Pause) -> Self {
        Self::of_code(pause.status().code)
    }

    /// The table as text.
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Self::TABLE {
            let _ = writeln!(text, "  {:>2}  {meaning}", exit.code());
        }
        text
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_stand_has_a_code() {
        let paused = |pause| {
            let standing = RunStatus::Paused { pause, message: String::new(), reasons: Vec::new() };
            ExitStatus::of_standing(&standing).code()
        };
        assert_eq!(paused(Pause::Budget), 5);
        assert_eq!(paused(Pause::Waiting), 7);
        assert_eq!(paused(Pause::Cancelled), 8);
        assert_eq!(paused(Pause::Auth), 7);
        assert_eq!(ExitStatus::of_code(4).code(), 4);
        assert_eq!(ExitStatus::of_code(300), ExitStatus::FAILED);
        assert_eq!(ExitStatus::of_status(&Status::Running), ExitStatus::CANCELLED);
        for (exit, meaning) in ExitStatus::TABLE {
            assert!(ExitStatus::table().contains(&format!("{:>2}  {meaning}", exit.code())));
        }
    }
}
