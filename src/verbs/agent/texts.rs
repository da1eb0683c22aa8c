//! The instructions for an agent, and the progress messages about it.

use serde_json::json;

use super::input::AgentJob;
use crate::llm::registry::Model;
use crate::llm::{ModelRequest, ModelResponse, ToolCall, left_out};
use crate::meter::Meter;
use crate::verb::{Class, Failure};

pub(super) fn asking_line(turn: u32, request: &ModelRequest, model: &Model) -> String {
    let dropped: Vec<_> = left_out(request, model).into_iter().filter(|what| *what != "cache mark").collect();
    let left = if dropped.is_empty() {
        String::new()
    } else {
        format!("; not supported and removed: {}", dropped.join(", "))
    };
    let (messages, bytes) = (request.messages.len(), request.size());
    format!("turn {turn}: asking {}: {messages} messages, {bytes} bytes{left}", model.full_name())
}

pub(super) fn answer_line(answer: &ModelResponse, model: &Model, spent: &Meter) -> String {
    let usage = &answer.usage;
    let usd = model.price.map(|_| format!("${:.4}", spent.get("usd")));
    let cost = usd.unwrap_or_else(|| "price unknown".to_owned());
    format!("{} tokens in ({} cached), {} out, {cost}", usage.tokens_in, usage.cache_read, usage.tokens_out)
}

/// A short description of a call.
pub(super) fn called(call: &ToolCall) -> String {
    let about =
        ["path", "pattern", "command"].iter().find_map(|key| call.input[*key].as_str()).unwrap_or_default();
    let more = if about.chars().nth(80).is_some() { "…" } else { "" };
    let about: String = about.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{} {about}{more}", call.name).trim_end().to_owned()
}

/// The system text.
pub(super) fn system(job: &AgentJob) -> String {
    let mut parts = vec![
        "You work in a directory of files, through tools. Paths are relative to it. Look before you change, change no \
         more than is asked for, and see for yourself that what you did works. Nobody reads along or answers: decide \
         by yourself what is left open, and stop when everything is done."
            .to_owned(),
    ];
    parts.extend(job.goal.words());
    parts.extend(job.with.system.clone().filter(|text| !text.trim().is_empty()));
    parts.join("\n\n")
}

pub(super) fn refused(text: &str, model: &str) -> Failure {
    let shown: String = text.chars().take(4_000).collect();
    Failure::new(Class::Refused, format!("{model}: the model declined to continue"))
        .hint("reword the prompt, or name another model")
        .detail(json!({ "answer": shown }))
}
