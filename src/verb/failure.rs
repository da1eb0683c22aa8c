use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::meter::Meter;
use crate::value::{Value, unrecordable};
use crate::visible::without_userinfo;

/// The reason why a step failed. The list is closed: retries use these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A temporary fault: connection reset, 5xx, a service that restarts.
    Transient,
    /// A rate limit: the step waits as long as requested, and the attempt is not counted.
    RateLimited,
    /// The time limit of the step was reached.
    Timeout,
    /// The output does not fit its schema or a check.
    Rejected,
    /// A model declined to answer.
    Refused,
    /// Missing or wrong credentials, or an exhausted account.
    Auth,
    /// A budget would be exceeded.
    Budget,
    /// A flow of labelled information that is not allowed.
    Barrier,
    /// A fault that another attempt does not fix.
    Permanent,
    /// Stopped from outside.
    Cancelled,
    /// A bug in Atoll.
    Bug,
}

impl Class {
    /// All classes, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Transient,
        Self::RateLimited,
        Self::Timeout,
        Self::Rejected,
        Self::Refused,
        Self::Auth,
        Self::Budget,
        Self::Barrier,
        Self::Permanent,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The word for it in pipelines, journals and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Auth => "auth",
            Self::Budget => "budget",
            Self::Barrier => "barrier",
            Self::Permanent => "permanent",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }

    /// The class with that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The cause, for callers of a verb or a client that decide whether to repeat a call or use another model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A server answered with this status.
    Status(u16),
    /// A request was sent without an answer.
    Unanswered,
    /// An answer is empty, although it could have been longer.
    Empty,
    /// There is no recorded answer.
    NotRecorded,
    /// A feature that the request needs is not supported.
    Lacking,
    /// A limit of the caller's own would be exceeded.
    OwnLimit,
    /// An expression needs the output of a step that has none: `step` of the failure's detail.
    NoOutput,
}

/// The failure of a step: recorded in the journal, and available as `steps.ID.error` with `{class, message,
/// hint, detail}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Failure {
    /// Class of the failure.
    pub class: Class,
    /// Message: lower case, no full stop.
    pub message: String,
    /// Advice what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Details for machines: the rejected answer, violations, an exit code, a log excerpt.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// Requested waiting time, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Cost of the failed attempt.
    #[serde(default, skip_serializing_if = "Meter::is_empty")]
    pub spent: Meter,
    /// Part of `spent` that is an upper bound, for calls that were sent without an answer. It is corrected
    /// once the same call is answered.
    #[serde(default, skip_serializing_if = "Meter::is_empty")]
    pub unsettled: Box<Meter>,
    /// Cause, for decisions of callers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Whether the service is down for everyone: once its retries are used up, the run pauses instead of
    /// failing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
}

impl Failure {
    /// A failure of `class`.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            hint: None,
            detail: Value::Null,
            retry_after_ms: None,
            spent: Meter::new(),
            unsettled: Box::default(),
            cause: None,
            outage: false,
        }
    }

    /// A temporary fault.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Class::Transient, message)
    }

    /// A permanent fault.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, message)
    }

    /// An output that does not fit its schema or a check.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(Class::Rejected, message)
    }

    /// The same without secrets, and without user names and passwords in its URLs.
    #[must_use]
    pub fn redacted(mut self, secrets: &dyn super::Secrets) -> Self {
        self.message = secrets.redact(&without_userinfo(&self.message));
        self.hint = self.hint.map(|hint| secrets.redact(&without_userinfo(&hint)));
        secrets.redact_value(&mut self.detail);
        self
    }

    /// The same without details that the journal cannot store.
    #[must_use]
    pub fn recordable(mut self) -> Self {
        if let Some(why) = unrecordable("the detail of this failure", &self.detail) {
            self.detail = Value::String(why);
        }
        self
    }

    /// The failure of a cancelled attempt.
    pub fn cancelled() -> Self {
        Self::new(Class::Cancelled, "stopped")
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the details for machines.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The HTTP status of the answer, if that is the cause.
    pub fn status(&self) -> Option<u16> {
        match self.cause {
            Some(Cause::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// Sets the requested waiting time.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after_ms = Some(crate::clock::millis(span));
        self
    }

    /// Marks that the service is down for everyone.
    #[must_use]
    pub fn outage(mut self) -> Self {
        self.outage = true;
        self
    }

    /// Sets the cost of the attempt.
    #[must_use]
    pub fn spent(mut self, spent: Meter) -> Self {
        self.spent = spent;
        self
    }

    /// Sets the part of the cost that is an upper bound.
    #[must_use]
    pub fn unsettled(mut self, unsettled: Meter) -> Self {
        self.unsettled = Box::new(unsettled);
        self
    }
}
