//! The step type `parallel`: several requests, commands and calls at once, to see who wins a race.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::assert::time;
use super::attempt::alone;
use super::http::Outcome;
use super::json as written;
use super::observation::Sent;
use super::variables::as_text;
use super::{Action, Answer, Excerpt, Kept, Parallel, Stage, Told, Variables, grpc};
use crate::clock::millis;
use crate::value::Value;

/// Most bytes kept of all results.
const KEPT: usize = 1 << 20;

/// Longest body in one result, in bytes.
const SHOWN: usize = 16 << 10;

/// Does all of it at once and waits for all of it. What came of each is in the answer; no single one fails the step.
pub async fn play(
    parallel: &Parallel,
    stage: &Stage<'_>,
    caller: &mut grpc::Player,
    variables: &Variables,
    left: Option<Duration>,
) -> (Option<Sent>, Outcome) {
    let begun = stage.clock.now();
    let call = parallel.members.iter().find_map(|member| match member {
        Action::Grpc(call) => Some(call),
        _ => None,
    });
    let ready = match call {
        Some(call) => caller.ready(call, stage, variables, left).await,
        None => Ok(()),
    };
    // What connecting took is gone for the rest.
    let left =
        left.map(|left| left.saturating_sub(Duration::from_millis(stage.clock.now().saturating_sub(begun))));
    let caller = ready.as_ref().map(|()| &*caller).map_err(String::as_str);
    let all =
        join_all(parallel.members.iter().map(|member| one(member, stage, caller, variables, left))).await;
    let took = stage.clock.now().saturating_sub(begun);
    let sent: Vec<&Sent> = all.iter().filter_map(|(sent, _)| sent.as_ref()).collect();
    let sent = Sent { text: Excerpt::visible(&summary(&sent), SHOWN).text, ..Sent::default() };
    let results: Vec<Value> = all.into_iter().map(|(_, result)| result).collect();
    (Some(sent), Outcome { answer: Some(Answer::Told(Box::new(told(&results, took)))), error: None })
}

async fn one(
    member: &Action,
    stage: &Stage<'_>,
    caller: Result<&grpc::Player, &str>,
    variables: &Variables,
    left: Option<Duration>,
) -> (Option<Sent>, Value) {
    let begun = stage.clock.now();
    let (sent, outcome) = match (member, caller) {
        (Action::Grpc(call), Ok(caller)) => {
            let mut twin = caller.twin();
            Box::pin(twin.play(call, stage, variables, left)).await
        }
        (Action::Grpc(_), Err(reason)) => (None, Outcome::error(reason)),
        _ => alone(member, stage, variables, left).await,
    };
    let took = stage.clock.now().saturating_sub(begun);
    (sent, result(&outcome, took))
}

fn result(outcome: &Outcome, took: u64) -> Value {
    let shown = |kept: &Kept| {
        let text = Excerpt::of_text(&kept.text(), SHOWN).text;
        written::parse_part(&text).unwrap_or(Value::String(text))
    };
    let mut result = match &outcome.answer {
        Some(Answer::Http(http)) => json!({ "status": http.status, "body": shown(&http.body) }),
        Some(Answer::Exec(exec)) => {
            json!({ "exit_code": exec.exit_code, "stdout": shown(&exec.stdout), "stderr": shown(&exec.stderr) })
        }
        Some(Answer::Told(told)) => json!({ "status": told.part("status"), "body": shown(&told.main.1) }),
        None => json!({}),
    };
    result["error"] = json!(outcome.error);
    result["ms"] = took.into();
    result
}

/// How a result is counted: its status, its exit code, or that it broke.
fn outcome_of(result: &Value) -> String {
    let code = ["status", "exit_code"].iter().find_map(|key| result.get(*key)).filter(|code| !code.is_null());
    match code {
        Some(code) if result["error"].is_null() => as_text(code),
        _ => "error".to_owned(),
    }
}

fn told(results: &[Value], took: u64) -> Told {
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
    // Who came first is another one each time: the bodies are told in an order of their own.
    let mut bodies: Vec<String> = results.iter().map(body_line).collect();
    bodies.sort_unstable();
    bodies.dedup();
    text.push_str(&bodies.join("\n"));
    let count = results.len();
    let main = json!({
        "outcomes": tally, "results": results, "slowest_ms": most("max"), "p50_ms": most("p50"), "p95_ms": most("p95"),
        "ms": took, "per_second": count as u64 * 1_000 / took.max(1),
    });
    Told {
        text: Excerpt::of_text(&text, super::JUDGED).text,
        main: ("results", Kept::of(written::text(&main).as_bytes(), KEPT)),
        parts: std::iter::once(("count", json!(count))).collect(),
        evidence: Vec::new(),
    }
}

fn body_line(result: &Value) -> String {
    let body = ["body", "stdout", "error"].iter().find_map(|key| result.get(*key)).unwrap_or(&Value::Null);
    format!("{}: {}", outcome_of(result), Excerpt::of_text(&body.to_string(), 512).text)
}

fn summary(sent: &[&Sent]) -> String {
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
