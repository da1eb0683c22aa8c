//! Interprets errors of providers: class of failure, time to wait, and what to do.

use std::error::Error;

use reqwest::header::HeaderMap;
use serde_json::json;

use super::rate_limiter::{CallPermit, CallResult};
use super::{moderation, retry_after};
use crate::clock::Millis;
use crate::llm::registry::{Model, Provider, ProviderKind, Registry};
use crate::value::Value;
use crate::verb::{Cause, Class, Failure};

/// Names of the token limit at providers, in lower case.
const LIMITS: [&str; 7] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "maxoutputtokens",
    "num_predict",
    "max tokens",
];

/// The failure for an error status.
pub(super) fn status(
    status: u16,
    headers: &HeaderMap,
    body: &str,
    model: &Model,
    registry: &Registry,
    now: Millis,
) -> Failure {
    let parsed: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    // Some providers wrap the error in a list.
    let parsed = parsed.get(0).unwrap_or(&parsed);
    let error = parsed.get("error").filter(|error| !error.is_null()).unwrap_or(parsed);
    let message = match said(error) {
        text if text.is_empty() => clip(body),
        text => clip(&text),
    };
    let how = format!("{} answered {status}", model.provider.name);
    complained(&ProviderError { status, headers, error, message: &message, how: &how, now }, model, registry)
}

/// An error of a provider.
struct ProviderError<'a> {
    status: u16,
    headers: &'a HeaderMap,
    error: &'a Value,
    message: &'a str,
    how: &'a str,
    now: Millis,
}

fn complained(said: &ProviderError<'_>, model: &Model, registry: &Registry) -> Failure {
    let ProviderError { status, error, message, .. } = *said;
    let class = class(status, error, message);
    let provider = &model.provider.name;
    let mut failure = Failure::new(class, format!("{}: {message}", said.how))
        .cause(Cause::Status(status))
        .detail(json!({"status": status, "provider": provider, "model": model.id}));
    failure.hint = hint(class, status, error, message, model, registry);
    // The error is about the server, not the request.
    failure.outage = class == Class::Transient && matches!(status, 503 | 529);
    if matches!(class, Class::RateLimited | Class::Transient) {
        failure.retry_after_ms = retry_after::wait(said.headers, error, said.now).map(crate::clock::millis);
    }
    failure
}

/// Reports the outcome of a call to the rate limiter. A rate limit failure then has the time to wait.
pub(super) fn tell<T>(pass: &CallPermit, outcome: &mut Result<T, Failure>, now: Millis) {
    match outcome {
        Ok(_) => drop(pass.tell(CallResult::Well, "", now)),
        Err(failure) => {
            let told = pass.tell(finding(failure), &failure.message, now);
            failure.retry_after_ms = told.pause.or(failure.retry_after_ms);
            failure.outage |= told.outage;
        }
    }
}

/// What a failed call shows about its provider.
fn finding(failure: &Failure) -> CallResult {
    match failure.class {
        Class::RateLimited => CallResult::Busy(failure.retry_after_ms),
        Class::Transient => CallResult::Down { overloaded: matches!(failure.status(), Some(503 | 529)) },
        _ => CallResult::There,
    }
}

/// The failure for an error object inside an answer.
pub(super) fn interrupted(error: &Value, model: &Model, registry: &Registry) -> Failure {
    let how = format!("{} ended its answer with an error", model.provider.name);
    inside(error, &how, model, registry)
}

/// The failure for an answer body without an answer.
pub(super) fn no_answer(body: &Value, model: &Model, registry: &Registry) -> Failure {
    inside(body, &format!("{} sent no answer", model.provider.name), model, registry)
}

fn inside(error: &Value, how: &str, model: &Model, registry: &Registry) -> Failure {
    let number = match &error["code"] {
        Value::String(text) => text.parse().ok(),
        code => code.as_u64(),
    };
    let number = number.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let word = error.get("code").and_then(Value::as_str).unwrap_or_default();
    let code = number.or([kind(error), word].iter().find_map(|word| match *word {
        "overloaded_error" | "server_is_overloaded" => Some(529),
        "rate_limit_error" | "rate_limit_exceeded" => Some(429),
        "authentication_error" | "invalid_api_key" => Some(401),
        "permission_error" => Some(403),
        "billing_error" | "insufficient_quota" => Some(402),
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" => Some(400),
        "not_found_error" => Some(404),
        _ => None,
    }));
    let message = match said(error) {
        text if text.is_empty() => clip(&error.to_string()),
        text => clip(&text),
    };
    // Without a code, the words decide whether the content is refused.
    let refused = moderation::is_said(error, &message.to_lowercase());
    let status = code.unwrap_or(if refused { 403 } else { 500 });
    // An error inside an answer has no headers with a time, so no clock is needed.
    let headers = HeaderMap::new();
    let complaint = ProviderError { status, headers: &headers, error, message: &message, how, now: 0 };
    complained(&complaint, model, registry)
}

/// The failure of a call without any answer.
pub(super) fn unreachable(error: &reqwest::Error, provider: &Provider) -> Failure {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let why = causes.map(ToString::to_string).last().unwrap_or_else(|| error.to_string());
    if error.is_builder() {
        return Failure::permanent(format!(
            "the address of {}, `{}`, is not a URL: {why}",
            provider.name,
            provider.shown_url()
        ))
        .hint(format!("correct base_url in [providers.{}] or its environment variable", provider.name));
    }
    let failure =
        Failure::transient(format!("cannot reach {} at {}: {why}", provider.name, provider.shown_url()));
    let failure = if error.is_connect() { failure.outage() } else { failure };
    failure.hint(format!(
        "check that the server is running there, or set another address in ATOLL_{}_BASE_URL",
        provider.name.to_uppercase().replace('-', "_")
    ))
}

fn class(status: u16, error: &Value, message: &str) -> Class {
    let kind = kind(error);
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    let lower = message.to_lowercase();
    let broke = [kind, code].iter().any(|word| {
        matches!(
            *word,
            "insufficient_quota" | "billing_error" | "billing_hard_limit_reached" | "account_deactivated"
        )
    }) || lower.contains("credit balance is too low");
    // Gemini returns 400 for a wrong or expired key.
    let keyless = error["details"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|detail| detail["reason"].as_str().is_some_and(|reason| reason.starts_with("API_KEY_")));
    let named = matches!(code, "invalid_api_key" | "incorrect_api_key") || kind == "authentication_error";
    match status {
        _ if broke => Class::Auth,
        _ if moderation::is_coded(error) => Class::Refused,
        _ if keyless || named => Class::Auth,
        400 | 403 | 422 | 451 if moderation::is_said(error, &lower) => Class::Refused,
        401..=403 => Class::Auth,
        429 => Class::RateLimited,
        408 | 409 | 425 | 500..=599 => Class::Transient,
        _ => Class::Permanent,
    }
}

fn hint(
    class: Class,
    status: u16,
    error: &Value,
    message: &str,
    model: &Model,
    registry: &Registry,
) -> Option<String> {
    let provider = &model.provider;
    let key = provider.key_env.as_deref().unwrap_or("its key");
    let lower = message.to_lowercase();
    match class {
        Class::Auth if matches!(status, 400 | 401 | 403) && !is_broke(&lower) => {
            Some(format!("check {key}: it is missing, wrong, expired or lacks permission"))
        }
        Class::Auth => Some(format!(
            "the account of {} is exhausted: add credit, or use another provider",
            provider.name
        )),
        Class::Refused => Some("reword the prompt, or use another model".to_owned()),
        Class::RateLimited if lower.contains("per day") || error.to_string().contains("PerDay") => {
            Some("the daily limit of the provider is used up: use another model meanwhile".to_owned())
        }
        Class::Permanent if provider.kind == ProviderKind::Ollama && status == 404 => {
            Some(format!("download it with `ollama pull {}`", model.id))
        }
        Class::Transient if is_loading(&lower) => Some("the server is still loading its model".to_owned()),
        Class::Permanent if is_unknown_model(error, &lower) => Some(match nearest_model(model, registry) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{} has no model `{}`", provider.name, model.id),
        }),
        Class::Permanent if matches!(status, 400 | 422) && LIMITS.iter().any(|name| lower.contains(name)) => {
            let told = if ["context", "input", "prompt"].iter().any(|word| lower.contains(word)) {
                "the request and `max_tokens` together may be too long for this model: lower `max_tokens`, send \
                 less, or use one with a larger context"
            } else {
                "set another `max_tokens` in the step, or set `max_output` of the model in atoll.toml"
            };
            Some(told.to_owned())
        }
        Class::Permanent if lower.contains("context") || lower.contains("too long") || status == 413 => Some(
            "the request is too long for this model: send less, or use one with a larger context".to_owned(),
        ),
        Class::Permanent if status == 404 && !error.is_object() => Some(format!(
            "check whether {} is the address of its API: set base_url in [providers.{}] of atoll.toml",
            provider.shown_url(),
            provider.name
        )),
        _ => None,
    }
}

/// Whether the error means that the model is still being loaded.
fn is_loading(lower: &str) -> bool {
    ["loading model", "model is loading", "currently loading", "loading the model"]
        .iter()
        .any(|w| lower.contains(w))
}

/// Whether `failure` is of a server that is still loading its model.
pub(super) fn loads(failure: &Failure) -> bool {
    failure.class == Class::Transient
        && failure.status().is_some()
        && is_loading(&failure.message.to_lowercase())
}

fn is_broke(lower: &str) -> bool {
    ["credit", "billing", "quota"].iter().any(|word| lower.contains(word))
}

fn nearest_model<'a>(model: &Model, registry: &'a Registry) -> Option<&'a str> {
    registry.nearest(&model.id, Some(&model.provider.name)).filter(|near| *near != model.id)
}

/// Whether the model is unknown there; not every error about a model means that.
fn is_unknown_model(error: &Value, lower: &str) -> bool {
    const WORDS: [&str; 7] = [
        "does not exist",
        "not found",
        "no such model",
        "unknown model",
        "not a valid model",
        "invalid model name",
        "no endpoints found for",
    ];
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    let unknown = lower.contains("model") && WORDS.iter().any(|word| lower.contains(word));
    // Anthropic returns only the name.
    let named = kind(error) == "not_found_error" && lower.starts_with("model:");
    matches!(code, "model_not_found" | "unknown_model") || unknown || named
}

fn kind(error: &Value) -> &str {
    error.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The message of an error, which can be in one of many locations.
pub(super) fn said(error: &Value) -> String {
    for place in ["message", "detail", "msg", "error_msg", "error_message"] {
        match &error[place] {
            Value::String(text) => return text.clone(),
            // Errors of each field (FastAPI).
            Value::Array(list) => {
                let each = list.iter().map(|one| {
                    let at = one["loc"].as_array().into_iter().flatten().filter_map(Value::as_str);
                    let at: Vec<&str> = at.filter(|part| *part != "body").collect();
                    let what = one["msg"].as_str().or(one.as_str()).unwrap_or_default();
                    if at.is_empty() { what.to_owned() } else { format!("{}: {what}", at.join(".")) }
                });
                return each.collect::<Vec<_>>().join("; ");
            }
            inner @ Value::Object(_) => return said(inner),
            _ => {}
        }
    }
    error.as_str().unwrap_or_default().to_owned()
}

fn clip(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "(nothing)".to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: u16, body: &str) -> Failure {
        let registry = Registry::embedded().unwrap();
        let model = registry.find("openai/gpt-5-mimi").unwrap();
        status(code, &HeaderMap::new(), body, &model, &registry, 0)
    }

    #[test]
    fn complaints_get_their_class() {
        let error = |kind: &str, code: &str, message: &str| {
            json!({"error": {"type": kind, "code": code, "message": message}}).to_string()
        };
        assert_eq!(
            judged(429, &error("requests", "rate_limit_exceeded", "slow down")).class,
            Class::RateLimited
        );
        let broke =
            judged(429, &error("insufficient_quota", "insufficient_quota", "you exceeded your quota"));
        assert_eq!((broke.class, broke.hint.unwrap().contains("exhausted")), (Class::Auth, true));
        let broke =
            judged(400, &error("invalid_request_error", "", "Your credit balance is too low to access"));
        assert_eq!(broke.class, Class::Auth);
        assert_eq!(judged(402, "").class, Class::Auth);
        assert_eq!(judged(529, "").class, Class::Transient);
        assert_eq!(judged(400, &error("", "content_filter", "no")).class, Class::Refused);
        assert_eq!(judged(403, &error("", "invalid_prompt", "no")).class, Class::Refused);
        assert_eq!(judged(403, &error("", "", "flagged by our content policy")).class, Class::Refused);
        assert_eq!(judged(403, &error("", "invalid_api_key", "content policy violated")).class, Class::Auth);
        assert_eq!(judged(429, &error("", "", "flagged by our content policy")).class, Class::RateLimited);
        let unknown =
            judged(404, &error("invalid_request_error", "model_not_found", "The model does not exist"));
        assert_eq!(
            (unknown.class, unknown.hint.as_deref()),
            (Class::Permanent, Some("did you mean `gpt-5-mini`?"))
        );
        let long =
            judged(400, &error("", "context_length_exceeded", "maximum context length is 8192 tokens"));
        assert!(long.hint.unwrap().contains("too long"));
        let limit = judged(400, &error("", "", "max_tokens must be a multiple of 8 for the context"));
        assert!(limit.hint.unwrap().contains("lower `max_tokens`"));
        let page = judged(502, "<html>bad gateway</html>");
        assert_eq!((page.class, page.message.contains("<html>bad gateway")), (Class::Transient, true));
    }
}
