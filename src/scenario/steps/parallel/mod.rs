//! The step type `parallel`: several requests, commands and calls at the same time, to test for race
//! conditions.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Action, Connections, Played, StepAction, StepContext, StepType, TYPES, TestEnvironment, actions_in,
};
use crate::clock::millis;
use crate::diag::Code;
use crate::scenario::answer::SentRecord;
use crate::scenario::answer::StepOutcome;
use crate::scenario::answer::{JUDGED, StepAnswer, StructuredResponse};
use crate::scenario::checks::assert::{AssertionForm, Subject, time};
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::values::credentials::CredentialPart;
use crate::scenario::values::json as written;
use crate::scenario::values::variables::as_text;
use crate::scenario::values::{Excerpt, KeptContent, Variables};
use crate::value::Value;

/// Keys of one entry, next to its step type.
const MEMBER: &[&str] = &["times"];

/// Several actions that run at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parallel {
    /// Actions to run at the same time, repeated ones several times.
    pub members: Vec<Action>,
}

/// Most bytes kept of all results.
const KEPT: usize = 1 << 20;

/// Longest body in one result, in bytes.
const SHOWN: usize = 16 << 10;

/// `parallel`: several steps at once.
pub static TYPE: StepType = StepType {
    word: "parallel",
    subjects: &[
        (Subject::Json, AssertionForm::Json),
        (Subject::Count, AssertionForm::Count),
        (Subject::Duration, AssertionForm::Duration),
    ],
    read: |reader, node, _| read(reader, node).map(Action::Parallel),
    lint,
    ..StepType::PLAIN
};

impl StepAction for Parallel {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        Box::pin(play(self, context))
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        [None, None]
    }

    fn needs_target(&self) -> bool {
        self.members.iter().any(Action::needs_target)
    }

    fn members(&self) -> &[Action] {
        &self.members
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(CredentialPart<'_>)) {
        self.members.iter_mut().for_each(|member| member.step_mut().each_credential(see));
    }
}

/// Most actions that run at the same time.
const AT_ONCE: usize = 1_000;

fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Parallel> {
    let words: Vec<&str> = TYPES.iter().filter(|known| known.in_parallel).map(|known| known.word).collect();
    let known = [MEMBER, &words].concat();
    let mut members = Vec::new();
    for item in reader.list(node, "`parallel`") {
        if reader.table(item, "an entry of `parallel`", &known).is_none() {
            continue;
        }
        let Some((step_type, _, value)) = actions_in(item).find(|(known, ..)| known.in_parallel) else {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let message = format!("this entry has no action: it has neither {}", words.join(" nor "));
            reader.complain(Code::ScenarioAction, item, message);
            continue;
        };
        let times = given(item, "times").and_then(|value| reader.number(value, "`times`")).unwrap_or(1);
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        if times == 0 || members.len().saturating_add(times) > AT_ONCE {
            let message = format!("`times` is a whole number from 1 to {AT_ONCE}");
            reader.complain(Code::ScenarioValue, given(item, "times").unwrap_or(item), message);
            continue;
        }
        if let Some(action) = step_type.read(reader, value, item) {
            if action.step().outlasts_itself() {
                let message = "a stream or connection that other steps use cannot be part of `parallel`";
                reader.complain(Code::ScenarioValue, value, message);
            }
            members.extend(std::iter::repeat_n(action, times));
        }
    }
    if members.is_empty() {
        reader.complain(Code::ScenarioMissing, node, "`parallel` needs at least one entry with an action");
        return None;
    }
    Some(Parallel { members })
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    let NodeKind::List(items) = &node.kind else { return };
    for item in items {
        for (step_type, _, action) in actions_in(item) {
            (step_type.lint)(linter, action);
        }
    }
}

/// Runs all members at the same time and waits for all. The answer has the result of each; a single failure
/// does not fail the step.
async fn play(parallel: &Parallel, context: StepContext<'_>) -> Played {
    let StepContext { stage, connections, variables, left } = context;
    let begun = stage.clock.now();
    let mut prepared: Vec<(&str, Result<(), String>)> = Vec::new();
    for member in &parallel.members {
        if !prepared.iter().any(|(word, _)| *word == member.word()) {
            let context = StepContext { stage, connections: &mut *connections, variables, left };
            prepared.push((member.word(), member.step().prepare(context).await));
        }
    }
    // The time for connecting counts towards the limit.
    let left =
        left.map(|left| left.saturating_sub(Duration::from_millis(stage.clock.now().saturating_sub(begun))));
    let all = parallel.members.iter().map(|member| {
        let ready = prepared.iter().find(|(word, _)| *word == member.word());
        let refusal = ready.and_then(|(_, ready)| ready.as_ref().err());
        one(member, refusal, stage, connections.twin(), variables, left)
    });
    let all = join_all(all).await;
    let took = stage.clock.now().saturating_sub(begun);
    let sent: Vec<&SentRecord> = all.iter().filter_map(|(sent, _)| sent.as_ref()).collect();
    let sent = SentRecord { text: Excerpt::visible(&summary(&sent), SHOWN).text, ..SentRecord::default() };
    let results: Vec<Value> = all.into_iter().map(|(_, result)| result).collect();
    (Some(sent), StepOutcome { answer: Some(StepAnswer::Told(Box::new(told(&results, took)))), error: None })
}

/// Runs one member on connections of its own, unless there is a `refusal`.
async fn one(
    member: &Action,
    refusal: Option<&String>,
    stage: &TestEnvironment<'_>,
    mut connections: Connections,
    variables: &Variables,
    left: Option<Duration>,
) -> (Option<SentRecord>, Value) {
    let begun = stage.clock.now();
    let (sent, outcome) = match refusal {
        Some(reason) => (None, StepOutcome::error(reason)),
        None if member.step_type().in_parallel => {
            let context = StepContext { stage, connections: &mut connections, variables, left };
            member.step().play(context).await
        }
        None => {
            (None, StepOutcome::error(format!("a `{}` step cannot be part of `parallel`", member.word())))
        }
    };
    let took = stage.clock.now().saturating_sub(begun);
    (sent, result(&outcome, took))
}

fn result(outcome: &StepOutcome, took: u64) -> Value {
    let shown = |kept: &KeptContent| {
        let text = Excerpt::of_text(&kept.text(), SHOWN).text;
        written::parse_part(&text).unwrap_or(Value::String(text))
    };
    let mut result = match &outcome.answer {
        Some(StepAnswer::Http(http)) => json!({ "status": http.status, "body": shown(&http.body) }),
        Some(StepAnswer::Exec(exec)) => {
            json!({ "exit_code": exec.exit_code, "stdout": shown(&exec.stdout), "stderr": shown(&exec.stderr) })
        }
        Some(StepAnswer::Told(told)) => json!({ "status": told.part("status"), "body": shown(&told.main.1) }),
        None => json!({}),
    };
    result["error"] = json!(outcome.error);
    result["ms"] = took.into();
    result
}

/// Key for counting a result: its status, its exit code, or an error.
fn outcome_of(result: &Value) -> String {
    let code = ["status", "exit_code"].iter().find_map(|key| result.get(*key)).filter(|code| !code.is_null());
    match code {
        Some(code) if result["error"].is_null() => as_text(code),
        _ => "error".to_owned(),
    }
}

fn told(results: &[Value], took: u64) -> StructuredResponse {
    let mut tally: BTreeMap<String, u64> = BTreeMap::new();
    for result in results {
        *tally.entry(outcome_of(result)).or_default() += 1;
    }
    let times: Vec<Duration> =
        results.iter().filter_map(|result| result["ms"].as_u64()).map(Duration::from_millis).collect();
    let most = |which: &str| millis(time(&times, which));
    let mut text = format!("{} at once\n", results.len());
    for (outcome, count) in &tally {
        let _ = writeln!(text, "{count} × {outcome}");
    }
    // The order of completion varies, so the bodies are sorted.
    let mut bodies: Vec<String> = results.iter().map(body_line).collect();
    bodies.sort_unstable();
    bodies.dedup();
    text.push_str(&bodies.join("\n"));
    let count = results.len();
    let main = json!({
        "outcomes": tally, "results": results, "slowest_ms": most("max"), "p50_ms": most("p50"), "p95_ms": most("p95"),
        "ms": took, "per_second": count as u64 * 1_000 / took.max(1),
    });
    StructuredResponse {
        text: Excerpt::of_text(&text, JUDGED).text,
        main: ("results", KeptContent::of(written::text(&main).as_bytes(), KEPT)),
        parts: std::iter::once(("count", json!(count))).collect(),
        evidence: Vec::new(),
    }
}

fn body_line(result: &Value) -> String {
    let body = ["body", "stdout", "error"].iter().find_map(|key| result.get(*key)).unwrap_or(&Value::Null);
    format!("{}: {}", outcome_of(result), Excerpt::of_text(&body.to_string(), 512).text)
}

fn summary(sent: &[&SentRecord]) -> String {
    let mut times: Vec<(&str, u32)> = Vec::new();
    for sent in sent {
        match times.iter_mut().find(|(text, _)| *text == sent.text) {
            Some((_, count)) => *count += 1,
            None => times.push((&sent.text, 1)),
        }
    }
    let blocks = times.iter().map(|(text, count)| format!("{count} ×\n{}", text.trim_end()));
    format!("At once:\n{}", blocks.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::reader::keys::assert_published;

    #[test]
    fn the_published_schema_has_exactly_these_keys() {
        let words = TYPES.iter().filter(|known| known.in_parallel).map(|known| known.word);
        let known: Vec<&str> = MEMBER.iter().copied().chain(words).collect();
        assert_published("/$defs/member/properties", &known);
    }
}
