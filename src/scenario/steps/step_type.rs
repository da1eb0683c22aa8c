use std::future::ready;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Action, Connections, TestEnvironment};
use crate::scenario::answer::{Evidence, SentRecord, StepAnswer, StepOutcome};
use crate::scenario::checks::assert::{Assertion, AssertionForm, Subject};
use crate::scenario::reader::NodeReader;
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::YamlNode;
use crate::scenario::values::Variables;
use crate::scenario::values::credentials::CredentialPart;

/// Description of a step type: how its steps are written and checked. It is registered in
/// [`TYPES`](super::TYPES).
pub struct StepType {
    /// Key of the step in a scenario file, such as `request`.
    pub word: &'static str,
    /// Keys of the step's table; empty if its value is a list.
    pub keys: &'static [&'static str],
    /// Parts of an answer that `assert` can name and the form of each, in the order of the reference.
    pub subjects: &'static [(Subject, AssertionForm)],
    /// Parts of an answer that `capture` can name; `header:` stands for any header.
    pub sources: &'static [&'static str],
    /// True if its texts are commands in the held service, in which braces are often not placeholders.
    pub runs_commands: bool,
    /// True if an entry of `parallel` may have this type.
    pub in_parallel: bool,
    /// True if many scenarios have nothing else, so that it does not raise the inferred `tier`.
    pub is_basic: bool,
    /// Answers of the two programs that do nothing (see [`StepAction::vacuous`]), in words; empty if there
    /// are none.
    pub vacuous_words: [&'static str; 2],
    /// Reader of the value under the key. The last argument is the whole step.
    pub read: fn(&mut NodeReader<'_>, &YamlNode, &YamlNode) -> Option<Action>,
    /// Assertions that the keys of the value imply.
    pub implied: fn(&YamlNode) -> Vec<Assertion>,
    /// Lint rules for the value.
    pub lint: fn(&mut Linter<'_>, &YamlNode),
    /// Lint rules for the order of all steps of a scenario.
    pub lint_order: fn(&mut Linter<'_>, &[&YamlNode]),
}

impl StepType {
    /// A type without keys and rules, to be completed.
    pub const PLAIN: Self = Self {
        word: "",
        keys: &[],
        subjects: &[],
        sources: &[],
        runs_commands: false,
        in_parallel: false,
        is_basic: false,
        vacuous_words: ["", ""],
        read: |_, _, _| None,
        implied: |_| Vec::new(),
        lint: |_, _| (),
        lint_order: |_, _| (),
    };

    /// Reads the value under the key; `step` is the whole step.
    pub fn read(&self, reader: &mut NodeReader<'_>, value: &YamlNode, step: &YamlNode) -> Option<Action> {
        if !self.keys.is_empty() {
            reader.table(value, &format!("`{}`", self.word), self.keys)?;
        }
        (self.read)(reader, value, step)
    }
}

/// Step of any type.
pub trait StepAction: Send + Sync {
    /// Type of the step.
    fn step_type(&self) -> &'static StepType;

    /// Runs the step. Returns what was sent and the outcome.
    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played>;

    /// Answers of two programs that do nothing. `None` if such a program makes the step fail by itself.
    fn vacuous(&self) -> [Option<StepAnswer>; 2];

    /// True if the step needs the base URL of the program.
    fn needs_target(&self) -> bool {
        false
    }

    /// True if the step waits for messages on a stream.
    fn receives(&self) -> bool {
        false
    }

    /// Steps that this one consists of.
    fn members(&self) -> &[Action] {
        &[]
    }

    /// True if the step continues or leaves open a connection that other steps use.
    fn outlasts_itself(&self) -> bool {
        false
    }

    /// Calls `see` for every text that may hold credentials, always in the same order.
    fn each_credential(&mut self, _see: &mut dyn FnMut(CredentialPart<'_>)) {}

    /// Prepares once what all steps of this type in a `parallel` need.
    fn prepare<'a>(&'a self, _context: StepContext<'a>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }

    /// Waits until the answer may have changed, and returns the new one; `None` if it does not change any more.
    fn look_again<'a>(&'a self, _connections: &'a mut Connections) -> BoxFuture<'a, Option<StepOutcome>> {
        Box::pin(ready(None))
    }

    /// Evidence of the current state. Unless `is_needed`, only if the step itself asks for it.
    fn evidence<'a>(
        &'a self,
        _stage: &'a TestEnvironment<'a>,
        _connections: &'a mut Connections,
        _is_needed: bool,
    ) -> BoxFuture<'a, Vec<Evidence>> {
        Box::pin(ready(Vec::new()))
    }
}

/// Record of what was sent, if anything was, and the outcome.
pub type Played = (Option<SentRecord>, StepOutcome);

/// Everything that a step needs to run.
pub struct StepContext<'a> {
    /// Program under test.
    pub stage: &'a TestEnvironment<'a>,
    /// Connections that earlier steps have opened.
    pub connections: &'a mut Connections,
    /// Values of placeholders.
    pub variables: &'a Variables,
    /// Remaining time of a retry or the scenario; unlimited if `None`.
    pub left: Option<Duration>,
}

impl StepContext<'_> {
    /// `own`, or the remaining time if that is shorter.
    pub fn limit(&self, own: Duration) -> Duration {
        self.left.map_or(own, |left| left.min(own))
    }
}
