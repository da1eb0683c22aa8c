//! Interprets undocumented stop reasons of providers.

use crate::llm::StopReason;

/// Parts of reasons for a token limit.
const LIMITS: [&str; 6] =
    ["length", "max_token", "max_output", "max_completion", "context_window", "token_limit"];
/// Parts of reasons for an incomplete answer.
const BROKEN: [&str; 18] = [
    "not_finish",
    "unfinish",
    "error",
    "fail",
    "incomplete",
    "partial",
    "interrupt",
    "overload",
    "abort",
    "cancel",
    "timeout",
    "timed_out",
    "malformed",
    "insufficient",
    "truncat",
    "disconnect",
    "unavailable",
    "exception",
];
/// Parts of reasons for a withheld answer.
const WITHHELD: [&str; 8] =
    ["filter", "sensitive", "safety", "guardrail", "moderation", "recitation", "blocked", "prohibited"];

/// Parts of reasons for a complete answer.
const ENDED: [&str; 9] = ["stop", "end", "eos", "tool", "call", "complete", "finish", "done", "success"];

/// Whether the reason, if it matches nothing else, means a complete answer.
pub(super) fn is_end(reason: &str) -> bool {
    let lower = reason.to_ascii_lowercase();
    stop(reason) == Some(StopReason::Other) && ENDED.iter().any(|word| lower.contains(word))
}

/// The stop reason for a word; `None` if it means an incomplete answer.
pub(super) fn stop(reason: &str) -> Option<StopReason> {
    let lower = reason.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(&LIMITS) {
        Some(StopReason::Length)
    } else if says(&BROKEN) {
        None
    } else if says(&WITHHELD) {
        Some(StopReason::ContentFilter)
    } else if lower.contains("refus") {
        Some(StopReason::Refusal)
    } else {
        Some(StopReason::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_an_answer_that_is_not_whole_is_known_by_its_parts() {
        let broken = "incomplete failed partial interrupted overloaded engine_overloaded error_finish ABORT \
                      malformed_model_output stop_error insufficient_system_resource network_error cancelled";
        for reason in broken.split_whitespace() {
            assert_eq!(stop(reason), None, "{reason}");
        }
        for (reason, meant) in [
            ("max_output_tokens", StopReason::Length),
            ("model_context_window_exceeded", StopReason::Length),
            ("context_length_exceeded", StopReason::Length),
            ("guardrail_intervened", StopReason::ContentFilter),
            ("RECITATION", StopReason::ContentFilter),
            ("eos", StopReason::Other),
            ("end_turn", StopReason::Other),
            ("unknown", StopReason::Other),
        ] {
            assert_eq!(stop(reason), Some(meant), "{reason}");
        }
        for (reason, whole) in [
            ("eos_token", true),
            ("end_turn", true),
            ("COMPLETE", true),
            ("tool_use", true),
            ("unknown", false),
            ("repetition", false),
            ("not_finished", false),
            ("incomplete", false),
            ("stop_error", false),
            ("max_tokens_done", false),
        ] {
            assert_eq!(is_end(reason), whole, "{reason}");
        }
    }
}
