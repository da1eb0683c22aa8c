//! Decides whether a provider refuses an answer because of the content: first by error codes, then by words
//! about policy, moderation and safety. Words about keys or accounts alone are not decisive.

use crate::value::Value;

/// Parts of codes, without word separators.
const CODES: [&str; 16] = [
    "contentfilter",
    "contentpolicy",
    "policyviolation",
    "moderation",
    "flagged",
    "safety",
    "unsafe",
    "prohibitedcontent",
    "contentblocked",
    "blockedcontent",
    "sensitivecontent",
    "datainspectionfailed",
    "responsibleai",
    "guardrail",
    "cyberpolicy",
    "invalidprompt",
];
/// Rules that a request can break.
const RULES: [&str; 15] = [
    "content polic",
    "content management polic",
    "content guideline",
    "content filter",
    "usage polic",
    "use polic",
    "usage guideline",
    "community guideline",
    "moderation",
    "moderated",
    "safety",
    "responsible ai",
    "guardrail",
    "terms of service",
    "terms of use",
];
/// Words for breaking a rule.
const VERDICTS: [&str; 8] =
    ["flagged", "violat", "blocked", "filtered", "rejected", "refused", "withheld", "prohibited"];
/// Words for unwanted content, without a rule.
const UNWANTED: [&str; 7] = [
    "flagged",
    "unsafe",
    "harmful",
    "prohibited content",
    "inappropriate content",
    "sensitive content",
    "sensitive word",
];
const CONTENT: [&str; 12] = [
    "prompt",
    "input",
    "content",
    "message",
    "request",
    "output",
    "response",
    "text",
    "image",
    "completion",
    "conversation",
    "query",
];
/// Words for blocked accounts.
const ACCOUNTS: [&str; 6] = ["account", "organization", "organisation", "workspace", "your key", "api key"];
const SHUT_OUT: [&str; 6] = ["suspended", "disabled", "deactivated", "banned", "terminated", "revoked"];

/// Whether a code in `error` means a content refusal.
pub(super) fn is_coded(error: &Value) -> bool {
    let codes = [&error["code"], &error["type"], &error["status"], &error["innererror"]["code"]];
    let plain =
        |code: &str| code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    codes.iter().any(|code| code.as_str().is_some_and(|code| has(&plain(code), &CODES)))
}

/// Whether the provider lists its findings (OpenRouter), or the lower-case message means a content refusal.
pub(super) fn is_said(error: &Value, lower: &str) -> bool {
    error["metadata"].get("flagged_input").is_some()
        || error["metadata"]["reasons"].is_array()
        || in_words(lower)
}

fn in_words(lower: &str) -> bool {
    // `safety_settings` is the name of an option.
    let text = lower.replace("safety_", " ").replace("safety-", "safety ");
    let rules = RULES.iter().any(|rule| text.contains(rule));
    // Names of rules contain words for content.
    let rest = RULES.iter().fold(text.clone(), |text, rule| text.replace(rule, " "));
    let content = has(&rest, &CONTENT);
    if has(&rest, &SHUT_OUT) || (has(&rest, &ACCOUNTS) && !content) {
        return false;
    }
    (rules && has(&rest, &VERDICTS)) || (content && has(&rest, &UNWANTED))
}

fn has(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_about_what_is_asked_are_told_from_words_about_who_asks() {
        for refused in [
            "your request was flagged by our content policy",
            "content violates usage policies",
            "this request has been blocked by our content filters.",
            "the prompt was flagged as potentially violating our usage policy.",
            "your request was flagged by our moderation system",
            "unavailable for legal reasons: flagged content",
            "the prompt was flagged: it seems to hold an api key",
            "input rejected: violates our safety guidelines",
            "the response was filtered due to the prompt triggering azure openai's content management policy",
            "this input was deemed unsafe",
            "violates our acceptable use policy",
            "your account's request was flagged",
        ] {
            assert!(in_words(refused), "{refused}");
        }
        for other in [
            "api key does not have moderation permission",
            "invalid api key. contact safety@example.com",
            "you are not allowed to use this model. upgrade your plan.",
            "country, region, or territory not supported",
            "your account was flagged for violating our usage policies",
            "your organization has been suspended: its requests violated our usage policies",
            "sorry, you have been blocked",
            "no endpoints found matching your data policy for this model",
            "invalid value for 'safety_settings': `off` is rejected",
            "blocked by the security policy of your network",
            "key not found",
        ] {
            assert!(!in_words(other), "{other}");
        }
    }

    #[test]
    fn codes_are_read_however_they_are_written() {
        for code in
            ["invalid_prompt", "content_filter", "ResponsibleAIPolicyViolation", "CONTENT-POLICY", "SAFETY"]
        {
            assert!(is_coded(&json!({ "code": code })), "{code}");
        }
        assert!(is_coded(&json!({"type": "moderation_error"})));
        for code in ["invalid_api_key", "permission_error", "rate_limit_exceeded", "invalid_request_error"] {
            assert!(!is_coded(&json!({ "code": code, "type": code })), "{code}");
        }
    }
}
