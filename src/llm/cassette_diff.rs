//! Message for a request without a recorded answer: the most similar recorded request, and the differences.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::cassette::{CassetteLine, KeyedRequest, RecordedRequest};
use crate::llm::ChatMessage;
use crate::value::{Value, canonical};
use crate::verb::{Cause, Failure};

/// A part of a request that differs from the recorded one.
struct Difference {
    part: String,
    recorded: String,
    asked: String,
}

/// The failure of a request without an answer in `lines`.
pub(super) fn failure(kept: &KeyedRequest, lines: &[&CassetteLine], path: &Path) -> Failure {
    let path = path.display();
    let recorded = lines.iter().filter(|line| line.key == kept.key).count();
    if recorded > 0 {
        return Failure::permanent(format!(
            "{path} has no unused answer to this request: {recorded} recorded, all used (key {})",
            kept.key.short()
        ))
        .hint(format!("record the missing answer with `--replay-fill {path}`"))
        .cause(Cause::NotRecorded)
        .detail(json!({"key": kept.key}));
    }
    let nearest = lines.iter().map(|line| (differences(&line.request, &kept.request), line)).min_by_key(
        |(differences, _)| differences.iter().map(|d| 1000 + distance(&d.recorded, &d.asked)).sum::<usize>(),
    );
    let failure = match nearest {
        None => {
            Failure::permanent(format!("{path} has no recorded answers")).detail(json!({"key": kept.key}))
        }
        Some((differences, line)) => {
            let parts: Vec<&str> = differences.iter().map(|d| d.part.as_str()).collect();
            let shown: Vec<String> = differences.iter().map(show).collect();
            Failure::permanent(format!(
                "{path} has no answer to this request; the most similar recorded one ({} at {}) differs in {}:\n{}",
                line.key.short(),
                line.at,
                parts.join(", "),
                shown.join("\n")
            ))
            .detail(json!({"key": kept.key, "nearest": line.key, "at": line.at, "differs": parts}))
        }
    };
    failure
        .cause(Cause::NotRecorded)
        .hint("record it with `--replay-fill`; list texts that differ from run to run in `volatile`")
}

fn differences(recorded: &RecordedRequest, asked: &RecordedRequest) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |part: String, recorded: String, asked: String| {
        if recorded != asked {
            found.push(Difference { part, recorded, asked });
        }
    };
    compare("model".to_owned(), recorded.model.clone(), asked.model.clone());
    let text = |system: &Option<String>| system.clone().unwrap_or_default();
    compare("system".to_owned(), text(&recorded.system), text(&asked.system));
    for i in 0..recorded.messages.len().max(asked.messages.len()) {
        let text = |request: &RecordedRequest| {
            let images =
                |m: &ChatMessage| m.images.iter().map(|image| image.data.to_string()).collect::<Vec<_>>();
            let tools = |m: &ChatMessage| {
                let calls =
                    m.calls.iter().map(|call| format!("call {} {}", call.name, canonical(&call.input)));
                let results =
                    m.results.iter().map(|result| format!("{} returned: {}", result.name, result.text));
                calls.chain(results).collect::<Vec<_>>()
            };
            let text = |m: &ChatMessage| {
                let said = vec![format!("{}: {}", m.role.word(), m.content)];
                [said, images(m), tools(m)].concat().join("\n")
            };
            request.messages.get(i).map(text).unwrap_or_default()
        };
        compare(format!("message {}", i + 1), text(recorded), text(asked));
    }
    compare("options".to_owned(), pretty(&recorded.options), pretty(&asked.options));
    let schema = |request: &RecordedRequest| request.schema.as_deref().map(pretty).unwrap_or_default();
    compare("schema".to_owned(), schema(recorded), schema(asked));
    let tools = |request: &RecordedRequest| {
        request.tools.iter().map(|tool| pretty(&json!(tool))).collect::<Vec<_>>().join("\n")
    };
    compare("tools".to_owned(), tools(recorded), tools(asked));
    found
}

/// One line for each part, with sorted keys, because requests from a file have another key order.
fn pretty(value: &Value) -> String {
    let sorted: Value = serde_json::from_str(&canonical(value)).unwrap_or_default();
    serde_json::to_string_pretty(&sorted).unwrap_or_default()
}

/// Share of the longer text between the common prefix and the common suffix, per mille.
fn distance(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - same;
    let tail = a.bytes().rev().zip(b.bytes().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let longer = a.len().max(b.len());
    (longer - same - tail) * 1000 / longer.max(1)
}

/// The first few lines between the common prefix and the common suffix of each side.
fn show(difference: &Difference) -> String {
    const MOST: usize = 6;
    let recorded: Vec<&str> = difference.recorded.lines().collect();
    let asked: Vec<&str> = difference.asked.lines().collect();
    let same = recorded.iter().zip(&asked).take_while(|(a, b)| a == b).count();
    let rest = recorded.len().min(asked.len()) - same;
    let tail = recorded.iter().rev().zip(asked.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut text = format!("  {} line {}", difference.part, same + 1);
    for (mark, lines) in [("-", &recorded), ("+", &asked)] {
        let changed = &lines[same..lines.len() - tail];
        for line in changed.iter().take(MOST) {
            let line: String = line.chars().take(160).collect();
            let _ = write!(text, "\n  {mark} {line}");
        }
        if changed.len() > MOST {
            let _ = write!(text, "\n  {mark} … {} more lines", changed.len() - MOST);
        }
    }
    text
}
