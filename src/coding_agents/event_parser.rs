//! Reads the events of a coding agent.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::entries::EventRule;
use super::{AgentLimit, CodingAgent};
use crate::llm::TokenUsage;
use crate::value::Value;

/// Most bytes of text; the rest is ignored.
const LONGEST: usize = 4 << 20;

/// End that an agent reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentEnd {
    /// The work is done.
    Done,
    /// The work failed.
    Failed,
}

/// State from the events. Pure.
#[derive(Clone, Debug, Default)]
pub struct EventParser {
    /// Text of the final answer.
    pub text: String,
    /// Structured result.
    pub result: Option<Value>,
    /// Error message of the agent.
    pub error: String,
    /// Reported end.
    pub end: Option<AgentEnd>,
    /// Limit of its own that it reached.
    pub limit: Option<AgentLimit>,
    /// Number of events.
    pub events: u64,
    /// Reported cost in US dollars.
    pub usd: Option<f64>,
    turns: Option<u64>,
    total: Option<TokenUsage>,
    /// Usage of single answers, until a total is reported.
    answers: BTreeMap<String, TokenUsage>,
}

impl EventParser {
    /// Processes a line; lines that are not events are ignored.
    pub fn take(&mut self, line: &[u8], coder: &CodingAgent) {
        let Ok(event) = crate::value::parse(line) else { return };
        if !event.is_object() {
            return;
        }
        self.events += 1;
        for rule in &coder.events {
            if rule.when.iter().all(|(place, wanted)| event.pointer(place) == Some(wanted)) {
                self.apply(rule, &event);
            }
        }
    }

    fn apply(&mut self, rule: &EventRule, event: &Value) {
        let at = |place: &Option<String>| place.as_ref().and_then(|place| event.pointer(place));
        if rule.forget {
            self.text.clear();
        }
        if let Some(text) = at(&rule.text).and_then(Value::as_str) {
            if at(&rule.append) != Some(&Value::Bool(true)) {
                self.text.clear();
            }
            if self.text.len() < LONGEST {
                self.text.push_str(text);
            }
        }
        if let Some(error) = at(&rule.error) {
            self.error = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
        }
        self.result = at(&rule.result).filter(|value| !value.is_null()).cloned().or(self.result.take());
        self.end = rule.end.or(self.end);
        self.limit = rule.limit.or(self.limit);
        self.turns = at(&rule.turns).and_then(Value::as_u64).or(self.turns);
        self.usd =
            at(&rule.usd).and_then(Value::as_f64).filter(|usd| usd.is_finite() && *usd >= 0.0).or(self.usd);
        if let Some(usage) = figures(rule, event) {
            match at(&rule.answer).and_then(Value::as_str) {
                Some(answer) => drop(self.answers.insert(answer.to_owned(), usage)),
                None => self.total = Some(usage),
            }
        }
    }

    /// Reported usage.
    pub fn usage(&self) -> TokenUsage {
        self.total.unwrap_or_else(|| {
            let mut sum = TokenUsage::default();
            self.answers.values().for_each(|usage| sum.absorb(usage));
            sum
        })
    }

    /// Reported number of model answers.
    pub fn turns(&self) -> u64 {
        self.turns.unwrap_or(self.answers.len() as u64)
    }
}

/// The usage in an event, if there is any.
fn figures(rule: &EventRule, event: &Value) -> Option<TokenUsage> {
    let sum = |places: &[String]| {
        let found: Vec<u64> = places.iter().filter_map(|place| event.pointer(place)?.as_u64()).collect();
        (!found.is_empty()).then(|| found.iter().fold(0_u64, |sum, n| sum.saturating_add(*n)))
    };
    let (read, written) = (sum(&rule.tokens_in), sum(&rule.tokens_out));
    if read.is_none() && written.is_none() {
        return None;
    }
    let tokens_in = read.unwrap_or(0);
    let cache_read = sum(&rule.tokens_cached).unwrap_or(0).min(tokens_in);
    Some(TokenUsage { tokens_in, tokens_out: written.unwrap_or(0), cache_read, ..TokenUsage::default() })
}

#[cfg(test)]
mod tests {
    use super::super::CodingAgents;
    use super::*;

    /// The state after these lines of the agent `name`.
    fn heard(name: &str, lines: &[&str]) -> EventParser {
        let coder = CodingAgents::embedded().unwrap().find(name).unwrap();
        let mut heard = EventParser::default();
        lines.iter().for_each(|line| heard.take(line.as_bytes(), &coder));
        heard
    }

    #[test]
    fn answers_are_counted_once_until_the_end_says_it_all() {
        let one = r#"{"type":"assistant","message":{"id":"m1","usage":{"input_tokens":100,"cache_read_input_tokens":50,"output_tokens":1}}}"#;
        let two =
            r#"{"type":"assistant","message":{"id":"m2","usage":{"input_tokens":10,"output_tokens":2}}}"#;
        let so_far = heard("claude", &["no JSON", one, one, two, "[1]"]);
        assert_eq!((so_far.end, so_far.turns(), so_far.events), (None, 2, 3));
        assert_eq!(
            (so_far.usage().tokens_in, so_far.usage().cache_read, so_far.usage().tokens_out),
            (160, 50, 3)
        );
        let last = r#"{"type":"result","subtype":"success","is_error":false,"result":"done","structured_output":{"n":3},"num_turns":3,
            "total_cost_usd":0.25,"usage":{"input_tokens":200,"cache_creation_input_tokens":5,"cache_read_input_tokens":50,"output_tokens":40}}"#;
        let whole = heard("claude", &[one, &last.replace('\n', " ")]);
        assert_eq!((whole.end, whole.turns(), whole.usd), (Some(AgentEnd::Done), 3, Some(0.25)));
        assert_eq!((whole.text.as_str(), whole.result.unwrap()["n"].as_u64()), ("done", Some(3)));
        assert_eq!((whole.total.unwrap().tokens_in, whole.total.unwrap().tokens_out), (255, 40));
    }

    #[test]
    fn ends_of_every_kind_are_told_apart() {
        let failed = heard("claude", &[r#"{"type":"result","is_error":true,"result":"Invalid API key"}"#]);
        assert_eq!((failed.end, failed.error.as_str()), (Some(AgentEnd::Failed), "Invalid API key"));
        let turns = heard(
            "claude",
            &[r#"{"type":"result","subtype":"error_max_turns","is_error":true,"num_turns":4}"#],
        );
        assert_eq!((turns.end, turns.limit), (Some(AgentEnd::Failed), Some(AgentLimit::Turns)));
        let codex = heard(
            "codex",
            &[
                r#"{"type":"item.completed","item":{"type":"agent_message","text":"first"}}"#,
                r#"{"type":"item.completed","item":{"type":"agent_message","text":"{\"n\": 3}"}}"#,
                r#"{"type":"turn.completed","usage":{"input_tokens":200,"cached_input_tokens":80,"output_tokens":40}}"#,
            ],
        );
        assert_eq!(
            (codex.end, codex.text.as_str(), codex.usage().cache_read),
            (Some(AgentEnd::Done), "{\"n\": 3}", 80)
        );
        let gemini = heard(
            "gemini",
            &[
                r#"{"type":"message","role":"assistant","content":"I look","delta":true}"#,
                r#"{"type":"tool_use","tool_name":"x"}"#,
                r#"{"type":"message","role":"assistant","content":"All ","delta":true}"#,
                r#"{"type":"message","role":"assistant","content":"done.","delta":true}"#,
                r#"{"type":"result","status":"error","error":{"message":"quota"},"stats":{"input_tokens":7,"output_tokens":1}}"#,
            ],
        );
        assert_eq!(
            (gemini.end, gemini.text.as_str(), gemini.error.as_str()),
            (Some(AgentEnd::Failed), "All done.", "quota")
        );
        assert_eq!(gemini.usage().tokens_in, 7);
    }
}
