//! Reads the time to wait from answers of providers, in all common forms.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::clock::Millis;
use crate::value::Value;

/// Limited quantities, as in the headers `HEAD-remaining-WHAT` or `HEAD-WHAT-remaining`.
const COUNTED: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// The time to wait from `headers`, or from the error object. A timestamp is compared with the `Date` of
/// the server, or with our time `now`.
pub(super) fn wait(headers: &HeaderMap, error: &Value, now: Millis) -> Option<Duration> {
    let told = RetryHeaders { headers, now };
    told.asked().or_else(|| delay(error)).or_else(|| told.reset())
}

/// Longest wait that is computed with our clock, which may be wrong.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Headers with times, and the time of arrival.
struct RetryHeaders<'a> {
    headers: &'a HeaderMap,
    now: Millis,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// The delay in an error detail of Gemini: `{"@type": "….RetryInfo", "retryDelay": "34.07s"}`.
fn delay(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let info = |detail: &&Value| detail["@type"].as_str().is_some_and(|kind| kind.ends_with("RetryInfo"));
    crate::duration::parse(details.iter().find(info)?.get("retryDelay")?.as_str()?).ok()
}

impl RetryHeaders<'_> {
    /// `Retry-After` as seconds or as a date, or `retry-after-ms`.
    fn asked(&self) -> Option<Duration> {
        if let Some(span) = text(self.headers, "retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()) {
            return seconds(span / 1000.0);
        }
        self.read(text(self.headers, "retry-after")?)
    }

    /// The reset time of the exhausted quantity; if none is marked as exhausted, the earliest reset.
    fn reset(&self) -> Option<Duration> {
        let openai = COUNTED
            .map(|what| [format!("x-ratelimit-reset-{what}"), format!("x-ratelimit-remaining-{what}")]);
        let anthropic = COUNTED.map(|what| {
            [format!("anthropic-ratelimit-{what}-reset"), format!("anthropic-ratelimit-{what}-remaining")]
        });
        let plain = [["x-ratelimit-reset".to_owned(), "x-ratelimit-remaining".to_owned()]];
        let names = openai.into_iter().chain(anthropic).chain(plain);
        let resets: Vec<(Duration, bool)> = names
            .filter_map(|[reset, remaining]| {
                let span = self.read(text(self.headers, &reset)?)?;
                let left = text(self.headers, &remaining);
                let none_left = left.is_some_and(|left| left.parse::<f64>().is_ok_and(|n| n <= 0.0));
                Some((span, none_left))
            })
            .collect();
        let ran_out = resets.iter().filter(|(_, none_left)| *none_left).map(|(span, _)| *span).max();
        ran_out.or_else(|| resets.iter().map(|(span, _)| *span).min())
    }

    /// Parses `6m0s`, `2026-11-20T10:00:30Z`, an HTTP date, seconds, or a timestamp in seconds or
    /// milliseconds since the Unix epoch.
    fn read(&self, reset: &str) -> Option<Duration> {
        const MOMENTS: f64 = 1e9;
        const MILLISECONDS: f64 = 1e11;
        if let Ok(number) = reset.parse::<f64>() {
            let moment = if number >= MILLISECONDS { number / 1000.0 } else { number };
            return match number {
                n if n < MOMENTS => seconds(n),
                _ => self.until(Timestamp::UNIX_EPOCH.checked_add(seconds(moment)?).ok()?),
            };
        }
        match reset.parse().ok().or_else(|| date(reset)) {
            Some(moment) => self.until(moment),
            None => crate::duration::parse(reset).ok(),
        }
    }

    fn until(&self, moment: Timestamp) -> Option<Duration> {
        let span = |now| Duration::try_from(moment.duration_since(now)).ok();
        if let Some(now) = text(self.headers, "date").and_then(date) {
            return span(now);
        }
        let now = Timestamp::from_millisecond(i64::try_from(self.now).ok()?).ok()?;
        span(now).map(|span| span.min(LONGEST))
    }
}

/// Parses an HTTP date in any of its three forms.
fn date(text: &str) -> Option<Timestamp> {
    let old = |form| {
        let date = jiff::fmt::strtime::parse(form, text.trim_end_matches(" GMT")).ok()?.to_datetime().ok()?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|date| date.timestamp())
    };
    let plain = jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    plain.or_else(|| old("%A, %d-%b-%y %H:%M:%S")).or_else(|| old("%a %b %d %H:%M:%S %Y"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two hours before [`DATE`].
    const NOW: Millis = 1_795_161_600_000;
    const DATE: (&str, &str) = ("date", "Fri, 20 Nov 2026 10:00:00 GMT");

    fn millis(pairs: &[(&'static str, &str)]) -> Option<u128> {
        let headers = pairs.iter().map(|(n, v)| ((*n).parse().unwrap(), v.parse().unwrap())).collect();
        wait(&headers, &Value::Null, NOW).map(|span| span.as_millis())
    }

    #[test]
    fn a_moment_without_a_date_is_read_against_our_clock() {
        for (name, moment, span) in [
            ("retry-after", "Fri, 20 Nov 2026 09:00:00 GMT", 3_600_000),
            ("retry-after", "Friday, 20-Nov-26 09:00:00 GMT", 3_600_000),
            ("retry-after", "Fri Nov 20 09:00:00 2026", 3_600_000),
            ("retry-after", "2026-11-20T09:00:00Z", 3_600_000),
            ("retry-after", "1795165200", 3_600_000),
            ("anthropic-ratelimit-requests-reset", "2026-11-20T08:00:31Z", 31_000),
            ("x-ratelimit-reset", "1795161615000", 15_000),
            ("retry-after", "Sun, 20 Nov 2050 09:00:00 GMT", 86_400_000),
        ] {
            assert_eq!(millis(&[(name, moment)]), Some(span), "{moment}");
            assert_eq!(millis(&[(name, moment), ("date", "today")]), Some(span), "{moment}");
        }
        assert_eq!(millis(&[("retry-after", "Fri, 20 Nov 2026 07:00:00 GMT")]), None, "the time has passed");
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
        assert_eq!(millis(&[openai[1], openai[3]]), Some(120), "no quantity is marked as exhausted");
        assert_eq!(
            millis(&[openai[3], ("retry-after", "2")]),
            Some(2_000),
            "an explicit request takes precedence"
        );
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
        assert_eq!(wait(&HeaderMap::new(), &error, NOW), Some(Duration::from_millis(34_500)));
    }
}
