//! The results of scenarios: read from the items of an `each` over scenarios or over their groups, or from a
//! plain list.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::ScenarioEntry;
use crate::scenario::Observation;
use crate::value::Value;
use crate::verb::Failure;
use crate::verbs::graded::{ProgramFault, ProgramFaultKind};

/// The result of a scenario.
#[derive(Debug)]
pub(super) enum TrialOutcome {
    /// It was run: the observation, and the questions that it leaves open.
    Seen(Box<Observation>, Vec<Value>),
    /// The program was not running.
    Fault(ProgramFault),
    /// It could not be run, which is not a fault of the program.
    Trouble(String),
    /// It was not run.
    NotRun(String),
}

/// The results in `trials`, by the id of the scenario. The last of several results of a scenario counts; a
/// result of an unknown scenario is an error.
pub(super) fn read(
    trials: &[Value],
    scenarios: &[ScenarioEntry],
) -> Result<HashMap<String, TrialOutcome>, Failure> {
    let mut groups: HashMap<&str, Vec<&str>> = HashMap::new();
    for scenario in scenarios.iter().filter(|scenario| !scenario.group.is_empty()) {
        groups.entry(&scenario.group).or_default().push(&scenario.id);
    }
    let ids = scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
    let mut reader = TrialReader { ids, groups, found: HashMap::new() };
    trials.iter().try_for_each(|trial| reader.entry(trial, KeyLevel::Group))?;
    Ok(reader.found)
}

/// The meaning of the keys of items.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyLevel {
    /// Names of groups or scenarios.
    Group,
    /// Ids of scenarios.
    Scenario,
}

struct TrialReader<'a> {
    ids: HashSet<&'a str>,
    /// The scenarios of each group.
    groups: HashMap<&'a str, Vec<&'a str>>,
    found: HashMap<String, TrialOutcome>,
}

impl TrialReader<'_> {
    fn entry(&mut self, entry: &Value, level: KeyLevel) -> Result<(), Failure> {
        match entry {
            Value::Null => Ok(()),
            Value::Array(entries) => entries.iter().try_for_each(|entry| self.entry(entry, level)),
            Value::Object(_) if !given(entry, "key").is_null() => self.item(entry, level),
            Value::Object(_) => self.plain(entry),
            _ => Err(unreadable("an entry of `trials` is not an object")),
        }
    }

    /// An item of an `each`: `{ key, ok, output | error, skipped }`.
    fn item(&mut self, item: &Value, level: KeyLevel) -> Result<(), Failure> {
        let key = text(item, "key");
        let is_skipped = given(item, "skipped") == &Value::Bool(true);
        let is_failed = given(item, "ok") != &Value::Bool(true) && !is_skipped;
        let output = given(item, "output");
        if is_failed && output.is_null() {
            let why = text(given(item, "error"), "message");
            return self.all(&key, level, || TrialOutcome::Trouble(why.clone()));
        }
        match output {
            Value::Null => self.known(&key, level),
            Value::Array(_) => self.entry(output, KeyLevel::Scenario),
            _ if output.get("held").is_some() => self.group(&key, output, is_skipped),
            _ => self.plain(output),
        }
    }

    /// The output of a `hold` around the scenarios of a group: `{ held, result }`.
    fn group(&mut self, key: &str, output: &Value, is_skipped: bool) -> Result<(), Failure> {
        if let (Some(fault), false) = (fault_of(given(output, "held")), is_skipped) {
            return self.all(key, KeyLevel::Group, || TrialOutcome::Fault(fault.clone()));
        }
        self.known(key, KeyLevel::Group)?;
        self.entry(given(output, "result"), KeyLevel::Scenario)
    }

    /// An observation, or `{ id, seen | fault | trouble | not_run | held }`.
    fn plain(&mut self, entry: &Value) -> Result<(), Failure> {
        let id = text(entry, "id");
        self.known(&id, KeyLevel::Scenario)?;
        let became = if entry.get("setup_ok").is_some() {
            Some(observed(entry)?)
        } else if !given(entry, "seen").is_null() {
            Some(observed(given(entry, "seen"))?)
        } else if let Ok(fault) = ProgramFault::deserialize(given(entry, "fault")) {
            Some(TrialOutcome::Fault(fault))
        } else if let Some(fault) = fault_of(given(entry, "held")) {
            Some(TrialOutcome::Fault(fault))
        } else if let Some(why) = given(entry, "trouble").as_str() {
            Some(TrialOutcome::Trouble(why.to_owned()))
        } else {
            given(entry, "not_run").as_str().map(|why| TrialOutcome::NotRun(why.to_owned()))
        };
        self.found.extend(became.map(|became| (id, became)));
        Ok(())
    }

    /// The scenarios that `key` names.
    fn members(&self, key: &str, level: KeyLevel) -> Vec<&str> {
        let group = self.groups.get(key).filter(|_| level == KeyLevel::Group);
        group.cloned().unwrap_or_else(|| self.ids.get(key).copied().into_iter().collect())
    }

    fn known(&self, key: &str, level: KeyLevel) -> Result<(), Failure> {
        if self.members(key, level).is_empty() {
            return Err(unreadable(&format!("`{key:.200}` in `trials` is not one of `scenarios`")));
        }
        Ok(())
    }

    fn all(&mut self, key: &str, level: KeyLevel, became: impl Fn() -> TrialOutcome) -> Result<(), Failure> {
        self.known(key, level)?;
        let found: Vec<_> =
            self.members(key, level).into_iter().map(|id| (id.to_owned(), became())).collect();
        self.found.extend(found);
        Ok(())
    }
}

fn observed(value: &Value) -> Result<TrialOutcome, Failure> {
    let seen = Observation::deserialize(value)
        .map_err(|e| unreadable(&format!("an entry of `trials` is not an output of `scenario`: {e}")))?;
    let open = given(value, "open").as_array().cloned().unwrap_or_default();
    Ok(TrialOutcome::Seen(Box::new(seen), open))
}

/// The reason why the program of `held` did not start, if it did not.
fn fault_of(held: &Value) -> Option<ProgramFault> {
    let is_down = given(held, "came_up") == &Value::Bool(false);
    is_down.then(|| ProgramFault {
        kind: ProgramFaultKind::Start,
        reason: text(held, "reason"),
        log: text(held, "log"),
    })
}

fn given<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn text(value: &Value, key: &str) -> String {
    given(value, key).as_str().unwrap_or_default().to_owned()
}

fn unreadable(message: &str) -> Failure {
    Failure::permanent(message).hint(
        "`trials` are `steps.NAME.items` of an `each` over the scenarios or over their groups, or objects \
         `{ id, seen | fault | trouble | not_run }`",
    )
}
