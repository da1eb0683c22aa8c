use std::time::Duration;

use super::rows::{self, RowVariables};
use super::{assertion, weight};
use crate::diag::Code;
use crate::scenario::checks::Capture;
use crate::scenario::checks::assert::Assertion;
use crate::scenario::checks::{Selector, When};
use crate::scenario::language::{ScenarioStep, StepRetry, StepUntil};
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given, keys};
use crate::scenario::steps::{self, Action, StepType, actions_in};
use crate::scenario::values::size::size_of;
use crate::scenario::values::variables::is_name;
use crate::scenario::values::{Variables, WrittenDuration};

/// Reads one entry of `setup`, `steps` or `teardown`: one step, or one for each of its rows, and their size
/// as JSON. `None` if they exceed the `room` for steps or bytes.
pub fn read(
    reader: &mut NodeReader<'_>,
    node: &YamlNode,
    room: (usize, usize),
) -> Option<(Vec<ScenarioStep>, usize)> {
    let rows = given(node, "for_each").map(|value| rows::read(reader, value)).unwrap_or_default();
    let Some(step) = one(reader, node) else { return Some((Vec::new(), 0)) };
    let count = rows.len().max(1);
    let size = size_of(&step).saturating_mul(count);
    if count > room.0 || size > room.1 {
        return None;
    }
    if rows.is_empty() {
        return Some((vec![step], size));
    }
    #[expect(clippy::cast_precision_loss, reason = "there are at most a thousand rows")]
    let weight = step.weight / rows.len() as f64;
    let of_row = |row: RowVariables| {
        let description = Variables::given(row.clone()).fill(&step.description).into_owned();
        ScenarioStep { description, weight, variables: row, ..step.clone() }
    };
    Some((rows.into_iter().map(of_row).collect(), size))
}

fn one(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<ScenarioStep> {
    let all: Vec<&str> = [&steps::words(), keys::STEP].concat();
    reader.table(node, "a step", &all)?;
    let action = the_action(reader, node);
    let kind = action.as_ref().map(Action::step_type);
    if let (Some(_), Some(until)) = (given(node, "retry"), given(node, "until")) {
        let message = "a step can have `retry` or `until`, not both";
        reader.complain(Code::ScenarioValue, until, message).help = Some(
            "`until` already repeats the step: set the time limit with `within` and the pause with `every`"
                .into(),
        );
    }
    Some(ScenarioStep {
        description: reader.optional(node, "description"),
        expect: reader.optional(node, "expect"),
        service: Some(reader.optional(node, "service")).filter(|name| !name.is_empty()),
        when: given(node, "when").map(|value| When(assertion::conditions(reader, value))),
        delay: given(node, "delay").and_then(|value| reader.duration(value, "`delay`")),
        retry: given(node, "retry").and_then(|value| retry(reader, value)),
        until: given(node, "until").and_then(|value| until(reader, value, kind)),
        repeat: given(node, "repeat").and_then(|value| repeat(reader, value)).unwrap_or(1),
        must: given(node, "must").and_then(|value| reader.flag(value, "`must`")).unwrap_or_default(),
        weight: weight(reader, node, 1.0),
        variables: RowVariables::new(),
        capture: captures(reader, node, kind),
        assert: asserted(reader, node, kind),
        line: reader.line(node),
        action: action?,
    })
}

/// Most repetitions of a step.
const MOST_TIMES: u64 = 100_000;

fn repeat(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<u32> {
    let times = reader.number(node, "`repeat`")?;
    if !(1..=MOST_TIMES).contains(&times) {
        let message = format!("`repeat` is a whole number from 1 to {MOST_TIMES}");
        reader.complain(Code::ScenarioValue, node, message);
    }
    u32::try_from(times).ok()
}

/// Assertions of a step: those that the keys of its action imply, then those of `assert`.
fn asserted(reader: &mut NodeReader<'_>, node: &YamlNode, kind: Option<&StepType>) -> Vec<Assertion> {
    let actions = actions_in(node).filter(|(.., action)| !action.is_null());
    let mut asserted: Vec<Assertion> =
        actions.flat_map(|(step_type, _, action)| (step_type.implied)(action)).collect();
    if let Some(written) = given(node, "assert") {
        asserted.extend(assertion::read(reader, written, kind));
    }
    asserted
}

/// Reads `until`: assertions together with `within` and `every`.
fn until(reader: &mut NodeReader<'_>, node: &YamlNode, kind: Option<&StepType>) -> Option<StepUntil> {
    let entries = reader.entries(node, "`until`")?;
    let duration = |reader: &mut NodeReader<'_>, key: &str| {
        given(node, key).and_then(|value| reader.duration(value, &format!("`{key}`")))
    };
    let within = duration(reader, "within").unwrap_or(WrittenDuration::secs(30));
    let every = duration(reader, "every").unwrap_or(WrittenDuration(Duration::from_millis(500)));
    let is_time = |key: &YamlNode| key.text().is_some_and(|word| keys::UNTIL.contains(&word));
    let asserted = entries.iter().filter(|(key, _)| !is_time(key)).cloned().collect();
    let asserted = YamlNode::table(node.at.clone(), asserted);
    Some(StepUntil { assert: assertion::read(reader, &asserted, kind), within, every })
}

fn the_action(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Action> {
    let NodeKind::Table(entries) = &node.kind else { return None };
    let present: Vec<_> = actions_in(node).collect();
    match present.as_slice() {
        [] => {
            let known =
                |(key, _): &(YamlNode, YamlNode)| key.text().is_some_and(|name| keys::STEP.contains(&name));
            if entries.iter().all(known) {
                let message = "this step has no action";
                reader.complain(Code::ScenarioAction, node, message).help =
                    Some(format!("a step has one of these actions: {}", steps::words().join(", ")));
            }
            None
        }
        [(step_type, _, value)] => step_type.read(reader, value, node),
        [(first, ..), (second, key, _), ..] => {
            let (first, second) = (first.word, second.word);
            let message = format!("a step has one action, but this one has `{first}` and `{second}`");
            reader.complain(Code::ScenarioAction, key, message).help = Some("split it into two steps".into());
            None
        }
    }
}

fn retry(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<StepRetry> {
    reader.table(node, "`retry`", keys::RETRY)?;
    let attempts = match given(node, "attempts") {
        None => 3,
        Some(value) => match value.to_json().as_i64() {
            // In this format, 0 or fewer attempts mean the default.
            Some(attempts) if attempts < 1 => 3,
            Some(attempts) => u32::try_from(attempts).unwrap_or(u32::MAX),
            None => {
                reader.mistyped(value, "`attempts`", "a whole number");
                3
            }
        },
    };
    let interval = given(node, "interval").and_then(|value| reader.duration(value, "`interval`"));
    let timeout = given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`"));
    Some(StepRetry { attempts, interval: interval.unwrap_or(WrittenDuration::secs(1)), timeout })
}

fn captures(reader: &mut NodeReader<'_>, node: &YamlNode, kind: Option<&StepType>) -> Vec<Capture> {
    let Some(list) = given(node, "capture") else { return Vec::new() };
    let items = reader.list(list, "`capture`");
    items.iter().filter_map(|item| capture(reader, item, kind)).collect()
}

fn capture(reader: &mut NodeReader<'_>, node: &YamlNode, kind: Option<&StepType>) -> Option<Capture> {
    reader.table(node, "a capture", keys::CAPTURE)?;
    let name = reader.required(node, "name", "a capture");
    if let (Some(name), Some(value)) = (&name, given(node, "name"))
        && !name.is_empty()
        && !is_name(name)
    {
        let message = format!("`{name}` cannot be used in a placeholder: a name has letters, digits and `_`");
        reader.complain(Code::ScenarioCapture, value, message);
    }
    let (path, source) = (given(node, "jsonpath"), given(node, "source"));
    if path.is_none() && source.is_none() {
        let message = "`jsonpath` or `source` is missing in this capture";
        reader.complain(Code::ScenarioCapture, node, message);
    }
    let jsonpath = path.and_then(|value| json_path(reader, value));
    let source = source.and_then(|value| known_source(reader, value, kind));
    Some(Capture { name: name?, jsonpath, source })
}

/// Reads a JSONPath. Paths with placeholders are checked when the values are known.
pub(super) fn json_path(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<String> {
    let path = reader.text(node, "a JSONPath")?;
    if !path.contains('{')
        && let Err(reason) = Selector::parse(&path)
    {
        reader.complain(Code::ScenarioPath, node, format!("`{path}` is {reason}"));
    }
    Some(path)
}

fn known_source(reader: &mut NodeReader<'_>, node: &YamlNode, kind: Option<&StepType>) -> Option<String> {
    let source = reader.text(node, "`source`")?;
    let Some(kind) = kind else { return Some(source) };
    let known = kind.sources;
    let named = ["header:", "trailer:"].into_iter().find(|word| source.starts_with(word));
    let fits = match named {
        Some(word) => known.contains(&word) && !source[word.len()..].trim().is_empty(),
        None => known.contains(&source.as_str()),
    };
    if !fits {
        let message = format!("`{}` has no source `{source}`", kind.word);
        let complaint = reader.complain(Code::ScenarioCapture, node, message);
        *complaint = complaint.clone().suggest(&source, known.iter().copied());
    }
    Some(source)
}
