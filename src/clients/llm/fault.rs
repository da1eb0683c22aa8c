//! What a provider's complaint means: which class of failure, how long to wait, what to do.

use std::error::Error;

use reqwest::header::HeaderMap;
use serde_json::json;

use super::gate::Finding;
use super::resets;
use crate::clients::registry::{Kind, Model, Provider, Registry};
use crate::value::Value;
use crate::verb::{Class, Failure};

/// The failure that a refused call means.
pub(super) fn status(
    status: u16,
    headers: &HeaderMap,
    body: &str,
    model: &Model,
    registry: &Registry,
) -> Failure {
    let parsed: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    // Some wrap it in a list of one.
    let parsed = parsed.get(0).unwrap_or(&parsed);
    let error = parsed.get("error").unwrap_or(parsed);
    let message = match said(error) {
        "" => clip(body),
        text => clip(text),
    };
    let class = class(status, error, &message);
    let provider = &model.provider.name;
    let mut failure = Failure::new(class, format!("{provider} answered {status}: {message}"))
        .detail(json!({"status": status, "provider": provider, "model": model.id}));
    failure.hint = hint(class, status, error, &message, model, registry);
    // Said of the server, not of the request.
    failure.outage = class == Class::Transient && matches!(status, 503 | 529);
    if matches!(class, Class::RateLimited | Class::Transient) {
        failure.retry_after_ms = resets::wait(headers, error).map(crate::clock::millis);
    }
    failure
}

/// What a failed call says about its provider.
pub(super) fn finding(failure: &Failure) -> Finding {
    match failure.class {
        Class::RateLimited => Finding::Busy(failure.retry_after_ms),
        Class::Transient => {
            Finding::Down { overloaded: failure.detail["status"] == 529 || failure.detail["status"] == 503 }
        }
        _ => Finding::There,
    }
}

/// The failure that an error object inside a stream means.
pub(super) fn interrupted(error: &Value, model: &Model, registry: &Registry) -> Failure {
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let word = error.get("code").and_then(Value::as_str).unwrap_or_default();
    let code = code.or([kind(error), word].iter().find_map(|word| match *word {
        "overloaded_error" => Some(529),
        "rate_limit_error" | "rate_limit_exceeded" => Some(429),
        "authentication_error" | "invalid_api_key" => Some(401),
        "permission_error" => Some(403),
        "billing_error" | "insufficient_quota" => Some(402),
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" => Some(400),
        "not_found_error" => Some(404),
        _ => None,
    }));
    let body = json!({"error": error}).to_string();
    status(code.unwrap_or(500), &HeaderMap::new(), &body, model, registry)
}

/// The failure of a call that got no answer at all.
pub(super) fn unreachable(error: &reqwest::Error, provider: &Provider) -> Failure {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let why = causes.map(ToString::to_string).last().unwrap_or_else(|| error.to_string());
    if error.is_builder() {
        return Failure::permanent(format!(
            "the address of {}, `{}`, is no URL: {why}",
            provider.name, provider.base_url
        ))
        .hint(format!("mend base_url under [providers.{}] or its environment variable", provider.name));
    }
    let failure =
        Failure::transient(format!("cannot reach {} at {}: {why}", provider.name, provider.base_url));
    let failure = if error.is_connect() { failure.outage() } else { failure };
    failure.hint(format!(
        "is the server running there? ATOLL_{}_BASE_URL points the provider somewhere else",
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
    let filtered = matches!(
        code,
        "content_filter"
            | "content_policy_violation"
            | "moderation_blocked"
            | "image_content_policy_violation"
    );
    // Gemini answers 400 to a wrong or expired key.
    let keyless = error["details"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|detail| detail["reason"].as_str().is_some_and(|reason| reason.starts_with("API_KEY_")));
    match status {
        _ if broke => Class::Auth,
        _ if filtered => Class::Refused,
        _ if keyless => Class::Auth,
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
            Some(format!("check {key}: it is wrong, expired or not allowed this"))
        }
        Class::Auth => Some(format!(
            "the account of {} is exhausted: add credit, or use another provider",
            provider.name
        )),
        Class::RateLimited if lower.contains("per day") || error.to_string().contains("PerDay") => {
            Some("the provider's limit of a day is used up: use another model meanwhile".to_owned())
        }
        Class::Permanent if provider.kind == Kind::Ollama && status == 404 => {
            Some(format!("`ollama pull {}` brings it there", model.id))
        }
        Class::Transient if lower.contains("loading model") => {
            Some("the server is still loading its model".to_owned())
        }
        Class::Permanent if is_unknown_model(status, error, &lower) => {
            Some(match nearest_model(model, registry) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{} has no model called `{}`", provider.name, model.id),
            })
        }
        Class::Permanent if lower.contains("context") || status == 413 => Some(
            "the request is too long for this model: send less, or use one with a larger context".to_owned(),
        ),
        _ => None,
    }
}

fn is_broke(lower: &str) -> bool {
    ["credit", "billing", "quota"].iter().any(|word| lower.contains(word))
}

fn nearest_model<'a>(model: &Model, registry: &'a Registry) -> Option<&'a str> {
    registry.nearest(&model.id, Some(&model.provider.name)).filter(|near| *near != model.id)
}

fn is_unknown_model(status: u16, error: &Value, lower: &str) -> bool {
    let code = error.get("code").and_then(Value::as_str).unwrap_or_default();
    code == "model_not_found"
        || (matches!(status, 400 | 404) && lower.contains("model") && !lower.contains("context"))
}

fn kind(error: &Value) -> &str {
    error.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn said(error: &Value) -> &str {
    let text = error.get("message").and_then(Value::as_str).or_else(|| error.as_str());
    text.or_else(|| error.get("detail").and_then(Value::as_str)).unwrap_or_default()
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
        status(code, &HeaderMap::new(), body, &model, &registry)
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
        let unknown =
            judged(404, &error("invalid_request_error", "model_not_found", "The model does not exist"));
        assert_eq!(
            (unknown.class, unknown.hint.as_deref()),
            (Class::Permanent, Some("did you mean `gpt-5-mini`?"))
        );
        let long =
            judged(400, &error("", "context_length_exceeded", "maximum context length is 8192 tokens"));
        assert!(long.hint.unwrap().contains("too long"));
        let page = judged(502, "<html>bad gateway</html>");
        assert_eq!((page.class, page.message.contains("<html>bad gateway")), (Class::Transient, true));
    }
}
