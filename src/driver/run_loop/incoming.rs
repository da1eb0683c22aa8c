//! Receives reports of orders, answers of people, and commands.

use super::super::inbox::{Inbox, Message};
use super::super::signals::{self, PendingSignal};
use super::super::{DriveError, RunCommand};
use super::{Driver, MAX_GATHER_ROUNDS};
use crate::clock::millis;
use crate::engine::{Pause, Report};
use crate::store::Signal;

impl Driver {
    pub(super) fn handle_signal(&mut self, signal: &Signal) -> Result<(), DriveError> {
        let command = signals::command(&self.run, &self.env.run, signal);
        self.signals.push(PendingSignal::new(signal, command.as_ref().err().cloned()));
        command.map_or(Ok(()), |command| self.handle_command(command))
    }

    pub(super) fn handle_command(&mut self, command: RunCommand) -> Result<(), DriveError> {
        let pause = match &command {
            RunCommand::Cancel => {
                self.env.stopping.cancel();
                self.grace = Some(self.now() + millis(self.env.house.grace));
                Some("stopped on request")
            }
            RunCommand::Kill => {
                self.env.cancel.cancel();
                self.env.kill.cancel();
                Some("killed on request")
            }
            _ => None,
        };
        let pause =
            pause.map(|message| Report::Pause { pause: Pause::Cancelled, message: message.to_owned() });
        let kills = matches!(command, RunCommand::Kill);
        if let Some(report) = pause.or_else(|| report_of(command)) {
            self.run.report(self.now(), report)?;
        }
        if kills {
            self.run.report(self.now(), Report::Kill)?;
        }
        Ok(())
    }

    /// Lets other tasks run first, and receives their reports until there are no more: reports that are
    /// received together share a flush to disk.
    pub(super) async fn gather(&mut self, inbox: &mut Inbox) -> Result<(), DriveError> {
        for _ in 0..MAX_GATHER_ROUNDS {
            tokio::task::yield_now().await;
            if inbox.is_empty() {
                break;
            }
            self.drain(inbox)?;
        }
        Ok(())
    }

    pub(super) fn drain(&mut self, inbox: &mut Inbox) -> Result<(), DriveError> {
        while let Ok(message) = inbox.try_recv() {
            self.handle_message(message)?;
        }
        Ok(())
    }

    pub(super) fn handle_message(&mut self, message: Message) -> Result<(), DriveError> {
        let now = self.now();
        let answers_order = matches!(message, Message::Report(_) | Message::Leased { .. });
        if answers_order {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        let report = match message {
            Message::Report(report) => {
                self.remember(&report);
                report
            }
            Message::Leased { address, attempt, lease } => {
                let held = lease.held();
                self.leases.hold(address.clone(), lease);
                Report::Acquired { address, attempt, result: Ok(held) }
            }
            Message::Meanwhile(report) => report,
            Message::Signal(signal) => return self.handle_signal(&signal),
            Message::Answer(report) => {
                self.questions.ended(&report);
                report
            }
            Message::Claim { report, told } => {
                if let Report::Claim { address, attempt, .. } = &report {
                    self.claims.push((address.clone(), *attempt, told));
                }
                report
            }
            Message::Cursor { report, saved } => {
                self.saved.push(saved);
                report
            }
        };
        Ok(self.run.report(now, report)?)
    }
}

/// The report to the engine for a command that does not stop the run.
pub(super) fn report_of(command: RunCommand) -> Option<Report> {
    match command {
        RunCommand::Cancel | RunCommand::Kill => None,
        RunCommand::Answer { address, answer, by, note } => {
            Some(Report::Answered { address, answer, by, note })
        }
        RunCommand::Limit { caps, by } => Some(Report::Limits { caps, by }),
    }
}
