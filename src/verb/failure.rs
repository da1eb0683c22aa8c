use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::meter::Meter;
use crate::value::{Value, unrecordable};
use crate::visible::without_userinfo;

/// Why a step failed. The list is closed: retries name these words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A passing fault: connection reset, 5xx, a service that restarts.
    Transient,
    /// Told to slow down; waits as long as it was told and charges no attempt.
    RateLimited,
    /// The step's time ran out.
    Timeout,
    /// The output broke its schema or a check.
    Rejected,
    /// A model declined to answer.
    Refused,
    /// No or wrong credentials, or an exhausted account.
    Auth,
    /// A budget would be exceeded.
    Budget,
    /// Labelled information would have crossed a barrier.
    Barrier,
    /// Will not get better by trying again.
    Permanent,
    /// Stopped from outside.
    Cancelled,
    /// A fault of Atoll.
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

/// What callers of a verb or a client decide on: whether to ask again, or somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A server answered with this status.
    Status(u16),
    /// A request was sent and not answered.
    Unanswered,
    /// An answer says nothing, although it could have been longer.
    Empty,
    /// There is no recorded answer.
    NotRecorded,
    /// The other side lacks a feature that the request needs.
    Lacking,
    /// A limit of the caller's own would be exceeded.
    OwnLimit,
}

/// A step's misfortune: goes to the journal, and to `steps.ID.error` as `{class, message, hint, detail}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Failure {
    /// Why.
    pub class: Class,
    /// What happened: lower case, no full stop.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Facts for machines: the rejected answer, violations, an exit code, a log tail.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// How long the other side asked us to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What the failed attempt cost all the same.
    #[serde(default, skip_serializing_if = "Meter::is_empty")]
    pub spent: Meter,
    /// The part of `spent` that is an upper bound: what was sent and not answered. It is corrected once the same call is
    /// answered.
    #[serde(default, skip_serializing_if = "Meter::is_empty")]
    pub unsettled: Box<Meter>,
    /// What callers decide on beside the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Whether the other side is down for everybody: once its retries are used up, the run pauses instead of failing.
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

    /// One that may pass.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Class::Transient, message)
    }

    /// One that stays.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Class::Permanent, message)
    }

    /// An output that broke its schema or a check.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(Class::Rejected, message)
    }

    /// The same without secrets, and without user names and passwords in the URLs that it names.
    #[must_use]
    pub fn redacted(mut self, secrets: &dyn super::Secrets) -> Self {
        self.message = secrets.redact(&without_userinfo(&self.message));
        self.hint = self.hint.map(|hint| secrets.redact(&without_userinfo(&hint)));
        secrets.redact_value(&mut self.detail);
        self
    }

    /// The same, without details that a journal could not give back.
    #[must_use]
    pub fn recordable(mut self) -> Self {
        if let Some(why) = unrecordable("the detail of this failure", &self.detail) {
            self.detail = Value::String(why);
        }
        self
    }

    /// Stopped from outside.
    pub fn cancelled() -> Self {
        Self::new(Class::Cancelled, "stopped")
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds facts for machines.
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }

    /// Says what callers decide on.
    #[must_use]
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The status with which a server answered, if that is the cause.
    pub fn status(&self) -> Option<u16> {
        match self.cause {
            Some(Cause::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// Notes how long the other side asked us to wait.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after_ms = Some(crate::clock::millis(span));
        self
    }

    /// Notes that the other side is down for everybody.
    #[must_use]
    pub fn outage(mut self) -> Self {
        self.outage = true;
        self
    }

    /// Notes what the attempt cost.
    #[must_use]
    pub fn spent(mut self, spent: Meter) -> Self {
        self.spent = spent;
        self
    }

    /// Notes which part of what it cost is an upper bound.
    #[must_use]
    pub fn unsettled(mut self, unsettled: Meter) -> Self {
        self.unsettled = Box::new(unsettled);
        self
    }
}
