//! How long a provider asks us to wait, in all the ways in which providers say it.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::value::Value;

/// What providers count, with the words of their headers `HEAD-remaining-WHAT` or `HEAD-WHAT-remaining`.
const COUNTED: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// How long the server asks us to wait: as it says in `headers`, else as it says in the error object.
/// A moment is read against the server's own `Date`, so no clock is needed.
pub(super) fn wait(headers: &HeaderMap, error: &Value) -> Option<Duration> {
    asked(headers).or_else(|| delay(error)).or_else(|| reset(headers))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// `Retry-After` as seconds or as a date, and its neighbour in milliseconds.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    if let Some(span) = text(headers, "retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
        return seconds(span / 1000.0);
    }
    let asked = text(headers, "retry-after")?;
    match asked.parse::<f64>() {
        Ok(span) => seconds(span),
        Err(_) => until(date(asked)?, headers),
    }
}

/// Gemini says it in a detail of its error: `{"@type": "….RetryInfo", "retryDelay": "34.07s"}`.
fn delay(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let info = |detail: &&Value| detail["@type"].as_str().is_some_and(|kind| kind.ends_with("RetryInfo"));
    crate::clock::parse_span(details.iter().find(info)?.get("retryDelay")?.as_str()?)
}

/// When what ran out is there again. Where nothing says that it ran out, the soonest of all resets.
fn reset(headers: &HeaderMap) -> Option<Duration> {
    let openai =
        COUNTED.map(|what| [format!("x-ratelimit-reset-{what}"), format!("x-ratelimit-remaining-{what}")]);
    let anthropic = COUNTED.map(|what| {
        [format!("anthropic-ratelimit-{what}-reset"), format!("anthropic-ratelimit-{what}-remaining")]
    });
    let plain = [["x-ratelimit-reset".to_owned(), "x-ratelimit-remaining".to_owned()]];
    let names = openai.into_iter().chain(anthropic).chain(plain);
    let resets: Vec<(Duration, bool)> = names
        .filter_map(|[reset, remaining]| {
            let span = read(text(headers, &reset)?, headers)?;
            let none_left =
                text(headers, &remaining).is_some_and(|left| left.parse::<f64>().is_ok_and(|n| n <= 0.0));
            Some((span, none_left))
        })
        .collect();
    let ran_out = resets.iter().filter(|(_, none_left)| *none_left).map(|(span, _)| *span).max();
    ran_out.or_else(|| resets.iter().map(|(span, _)| *span).min())
}

/// `6m0s`, `2026-11-20T10:00:30Z`, seconds, or a moment in seconds or milliseconds since the Unix epoch.
fn read(reset: &str, headers: &HeaderMap) -> Option<Duration> {
    const MOMENTS: f64 = 1e9;
    const MILLISECONDS: f64 = 1e11;
    if let Ok(number) = reset.parse::<f64>() {
        let moment = if number >= MILLISECONDS { number / 1000.0 } else { number };
        return match number {
            n if n < MOMENTS => seconds(n),
            _ => until(Timestamp::UNIX_EPOCH.checked_add(seconds(moment)?).ok()?, headers),
        };
    }
    match reset.parse::<Timestamp>() {
        Ok(moment) => until(moment, headers),
        Err(_) => crate::clock::parse_span(reset),
    }
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

fn until(moment: Timestamp, headers: &HeaderMap) -> Option<Duration> {
    let now = date(text(headers, "date")?)?;
    Duration::try_from(moment.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DATE: (&str, &str) = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");

    fn millis(pairs: &[(&'static str, &str)]) -> Option<u128> {
        let headers = pairs.iter().map(|(n, v)| ((*n).parse().unwrap(), v.parse().unwrap())).collect();
        wait(&headers, &Value::Null).map(|span| span.as_millis())
    }

    #[test]
    fn waiting_times_are_read_in_all_three_forms() {
        assert_eq!(millis(&[("retry-after", "7")]), Some(7_000));
        assert_eq!(millis(&[("retry-after", "9"), ("retry-after-ms", "250")]), Some(250));
        assert_eq!(millis(&[("retry-after", "Fri, 20 Nov 2026 10:01:30 GMT"), DATE]), Some(90_000));
        assert_eq!(millis(&[("retry-after", "Fri, 20 Nov 2026 09:00:00 GMT"), DATE]), None);
        assert_eq!(millis(&[("retry-after", "-3")]), None);
    }

    #[test]
    fn resets_of_what_ran_out_are_waited_for() {
        let openai = [
            ("x-ratelimit-remaining-requests", "12"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        assert_eq!(millis(&openai), Some(360_000));
        assert_eq!(millis(&[openai[1], openai[3]]), Some(120), "nothing is said to have run out");
        assert_eq!(millis(&[openai[3], ("retry-after", "2")]), Some(2_000), "what was asked for comes first");
        let anthropic = [
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-20T10:00:01Z"),
            ("anthropic-ratelimit-output-tokens-remaining", "0"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-11-20T10:00:31Z"),
            DATE,
        ];
        assert_eq!(millis(&anthropic), Some(31_000));
        let moment = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795168815000"), DATE];
        assert_eq!(millis(&moment), Some(15_000));
    }

    #[test]
    fn a_delay_in_the_error_is_read() {
        let error = json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]});
        assert_eq!(wait(&HeaderMap::new(), &error), Some(Duration::from_millis(34_500)));
    }
}
