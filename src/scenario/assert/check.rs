use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Assertion, Bound, Rule, Subject};
use crate::scenario::variables::{as_text, placeholders};
use crate::scenario::{Answer, Excerpt, Kept, Lapse, Selector, Variables};
use crate::schema::Schema;
use crate::value::Value;

/// What became of one assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The assertion in words, variables filled in.
    pub assert: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was wanted.
    pub expected: Value,
    /// What was found; null where there was nothing.
    pub actual: Value,
    /// JSONPath or header name, where it has one.
    pub path: Option<String>,
    /// Why it does not hold, where the two values do not show it.
    pub reason: Option<String>,
}

/// Longest text in `actual`, in bytes.
const ACTUAL: usize = 512;

/// Checks `assertion` against `answer`, which took the last of the times in `took`.
pub fn check(assertion: &Assertion, answer: &Answer, took: &[Duration], variables: &Variables) -> Verdict {
    let loose = assertion.rule == Rule::Equals && is_placeholder(&assertion.value);
    let filled = Assertion {
        path: assertion.path.as_ref().map(|path| variables.fill(path).into_owned()),
        value: match (&assertion.value, assertion.rule) {
            (Value::String(pattern), Rule::Matches) => Value::from(variables.fill_pattern(pattern)),
            (value, _) => variables.fill_json(value),
        },
        ..assertion.clone()
    };
    let (actual, outcome) = match find(&filled, answer, took) {
        Ok(actual) => {
            let outcome = match (&actual, cut(filled.subject, answer)) {
                _ if told_in_part(&filled, answer) => judge_part(&filled, actual.as_ref()),
                (_, Some(kept)) => judge_cut(&filled, kept),
                (Some(actual), None) if loose && !actual.is_array() && !actual.is_object() => {
                    plain(as_text(actual) == as_text(&filled.value))
                }
                (actual, None) => judge(&filled, actual.as_ref()),
            };
            (actual, outcome)
        }
        Err(reason) => (None, Err(Some(reason))),
    };
    Verdict {
        assert: filled.to_string(),
        ok: outcome.is_ok(),
        expected: filled.value.clone(),
        actual: shorten(actual.unwrap_or_default()),
        path: filled.path.clone(),
        reason: outcome.err().flatten(),
    }
}

fn is_placeholder(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    matches!(placeholders(text).as_slice(), [(0, end, _)] if *end == text.len())
}

fn shorten(actual: Value) -> Value {
    match actual {
        Value::String(text) if text.len() > ACTUAL => Excerpt::of_text(&text, ACTUAL).text.into(),
        Value::Array(_) | Value::Object(_) if actual.to_string().len() > ACTUAL => {
            Excerpt::of_text(&actual.to_string(), ACTUAL).text.into()
        }
        actual => actual,
    }
}

/// The part that is checked, `None` where the answer does not have it, an error where it cannot be told.
fn find(assertion: &Assertion, answer: &Answer, took: &[Duration]) -> Result<Option<Value>, String> {
    let path = assertion.path.as_deref().unwrap_or_default();
    Ok(match (assertion.subject, answer) {
        (Subject::Duration, _) => Some(Lapse(time(took, path)).to_string().into()),
        (Subject::Json, _) => {
            let value = answer.json()?;
            Selector::parse(path)?.pick(&value)
        }
        (Subject::Status, Answer::Http(http)) => Some(http.status.into()),
        (Subject::Header, Answer::Http(http)) => http.header(path).map(Value::from),
        (Subject::Body, Answer::Http(http)) => Some(http.body.text().into_owned().into()),
        (Subject::ExitCode, Answer::Exec(exec)) => exec.exit_code.map(Value::from),
        (Subject::Stdout, Answer::Exec(exec)) => Some(exec.stdout.text().into_owned().into()),
        (Subject::Stderr, Answer::Exec(exec)) => Some(exec.stderr.text().into_owned().into()),
        (Subject::Header | Subject::Trailer, Answer::Told(told)) => {
            told.part(assertion.subject.word()).and_then(|table| named(table, path)).cloned()
        }
        (subject, Answer::Told(told)) => told.part(subject.word()).filter(|part| !part.is_null()).cloned(),
        (subject, _) => return Err(format!("this step's answer has no {}", subject.word())),
    })
}

/// What `which` says of some times: their mean, their longest, or that which so many of a hundred do not exceed; the last
/// one where it says nothing.
pub fn time(took: &[Duration], which: &str) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let count = sorted.len().max(1);
    let chosen = match which {
        "" => took.last().copied(),
        "max" => sorted.last().copied(),
        "mean" => u32::try_from(count).ok().map(|count| took.iter().sum::<Duration>() / count),
        percentile => {
            let of_hundred: usize = percentile.trim_start_matches('p').parse().unwrap_or(100);
            sorted.get((count * of_hundred).div_ceil(100).saturating_sub(1)).copied()
        }
    };
    chosen.unwrap_or_default()
}

/// The entry `name` of a table, in any case.
fn named<'v>(table: &'v Value, name: &str) -> Option<&'v Value> {
    table.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The text that is checked, where its middle is missing.
fn cut(subject: Subject, answer: &Answer) -> Option<&Kept> {
    let kept = match (subject, answer) {
        (Subject::Body, Answer::Http(http)) => &http.body,
        (Subject::Stdout, Answer::Exec(exec)) => &exec.stdout,
        (Subject::Stderr, Answer::Exec(exec)) => &exec.stderr,
        _ => return None,
    };
    kept.is_cut().then_some(kept)
}

/// What was found in a part holds for the whole; everything else cannot be told from parts.
fn judge_cut(assertion: &Assertion, kept: &Kept) -> Held {
    let found = || kept.stretches().into_iter().any(|part| judge(assertion, Some(&part.into())).is_ok());
    if matches!(assertion.rule, Rule::Contains | Rule::Matches) && found() {
        return Ok(());
    }
    let (name, length) = (assertion.subject.word(), kept.length());
    Err(Some(format!("{name} has {length} bytes, too many to be checked as a whole")))
}

/// Whether the middle of the checked part is missing.
fn told_in_part(assertion: &Assertion, answer: &Answer) -> bool {
    let Answer::Told(told) = answer else { return false };
    let cut = told.part("cut").and_then(Value::as_array);
    cut.is_some_and(|words| words.iter().any(|word| word == assertion.subject.word()))
}

/// Like [`judge_cut`], where nothing is known of how much is missing.
fn judge_part(assertion: &Assertion, actual: Option<&Value>) -> Held {
    if matches!(assertion.rule, Rule::Contains | Rule::Matches) && judge(assertion, actual).is_ok() {
        return Ok(());
    }
    Err(Some(format!("{} is too long to be checked as a whole", assertion.subject.word())))
}

/// `Err` where it does not hold, with a reason where the values alone do not tell.
type Held = Result<(), Option<String>>;

fn plain(ok: bool) -> Held {
    if ok { Ok(()) } else { Err(None) }
}

fn judge(assertion: &Assertion, actual: Option<&Value>) -> Held {
    let wanted = &assertion.value;
    if assertion.rule == Rule::Exists {
        return plain(actual.is_some() == wanted.as_bool().unwrap_or(true));
    }
    let Some(actual) = actual else {
        let absent = assertion.rule == Rule::NotContains;
        return if absent { Ok(()) } else { Err(Some(nothing(assertion))) };
    };
    match assertion.rule {
        Rule::Exists => Ok(()),
        Rule::Equals => plain(equal(wanted, actual)),
        Rule::OneOf => {
            plain(wanted.as_array().is_some_and(|items| items.iter().any(|it| one_of(it, actual))))
        }
        Rule::Matches => {
            let pattern = Regex::new(&as_text(wanted)).map_err(|e| Some(format!("no pattern: {e}")))?;
            plain(pattern.is_match(&as_text(actual)))
        }
        Rule::Contains => plain(contains(actual, wanted)),
        Rule::NotContains => plain(!contains(actual, wanted)),
        Rule::Length => {
            let length = length(actual).ok_or_else(|| Some("it has no length".to_owned()))?;
            let text = as_text(wanted);
            let bound = Bound::parse(&text);
            let limit = bound.limit.parse().map_err(|_| Some(format!("`{text}` is no length")))?;
            if bound.admits(&length, &limit, "=") {
                Ok(())
            } else {
                Err(Some(format!("its length is {length}")))
            }
        }
        Rule::Amount => {
            let text = as_text(wanted);
            let bound = Bound::parse(&text);
            let limit: u64 = bound.limit.parse().map_err(|_| Some(format!("`{text}` is no number")))?;
            let actual = actual.as_u64().ok_or_else(|| Some("it is no number".to_owned()))?;
            plain(bound.admits(&actual, &limit, "="))
        }
        Rule::Type => plain(wanted.as_str().is_some_and(|name| has_type(actual, name))),
        Rule::Schema => {
            let schema = Schema::compile("assert", wanted.clone()).map_err(|e| Some(e.to_string()))?;
            let violations = schema.violations(actual);
            let lines: Vec<String> = violations.iter().take(5).map(ToString::to_string).collect();
            if lines.is_empty() { Ok(()) } else { Err(Some(lines.join("; "))) }
        }
        Rule::Within => {
            let text = as_text(wanted);
            let bound = Bound::parse(&text);
            let limit = Lapse::parse(bound.limit).map_err(Some)?;
            let took = Lapse::parse(&as_text(actual)).map_err(Some)?;
            plain(bound.admits(&took, &limit, "<="))
        }
    }
}

fn nothing(assertion: &Assertion) -> String {
    match (assertion.subject, &assertion.path) {
        (Subject::Header | Subject::Trailer, Some(name)) => {
            format!("the answer has no {} `{name}`", assertion.subject.word())
        }
        (_, Some(path)) => format!("there is nothing at {path}"),
        (subject, None) => format!("there is no {}", subject.word()),
    }
}

/// Equal as JSON; numbers by their value.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

fn one_of(wanted: &Value, actual: &Value) -> bool {
    let class = wanted.as_str().and_then(|text| text.strip_suffix("xx")).and_then(|c| c.parse::<u64>().ok());
    match (class, actual.as_u64()) {
        (Some(class), Some(status)) => status / 100 == class,
        // A code that was captured is text.
        _ => equal(wanted, actual) || wanted.as_str().is_some_and(|text| text == as_text(actual)),
    }
}

fn contains(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Array(items), wanted) => items.iter().any(|item| equal(item, wanted) || within(item, wanted)),
        (Value::Object(_), Value::Object(_)) => within(actual, wanted),
        (Value::Object(table), Value::String(key)) => table.contains_key(key),
        (actual, wanted) => as_text(actual).contains(&as_text(wanted)),
    }
}

/// Whether all entries of the mapping `wanted` are in the mapping `actual`.
fn within(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            actual.get(key).is_some_and(|actual| equal(actual, wanted) || within(actual, wanted))
        }),
        _ => false,
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(items) => Some(items.len()),
        Value::Object(table) => Some(table.len()),
        _ => None,
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    Schema::compile("type", json!({ "type": name })).is_ok_and(|schema| schema.accepts(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::answer::test::{exec, http};

    fn verdict(subject: Subject, path: Option<&str>, rule: Rule, value: Value) -> Verdict {
        let answer =
            http(201, &[("Location", "/items/7")], r#"{"id":7,"tags":["a","b"],"o":{"x":1.0},"n":null}"#);
        let mut variables = Variables::default();
        variables.set("id", json!("7"));
        variables.set("dot", json!("."));
        let assertion = Assertion { subject, path: path.map(Into::into), rule, value };
        check(&assertion, &answer, &[Duration::from_millis(480)], &variables)
    }

    #[test]
    fn what_holds() {
        use Rule::*;
        for (subject, path, rule, value) in [
            (Subject::Status, None, OneOf, json!([200, "2xx"])),
            (Subject::Header, Some("location"), Equals, json!("/items/{id}")),
            (Subject::Header, Some("etag"), Exists, json!(false)),
            (Subject::Json, Some("$.id"), Equals, json!("{id}")),
            (Subject::Json, Some("$.id"), Equals, json!(7.0)),
            (Subject::Json, Some("$.id"), Type, json!("integer")),
            (Subject::Json, Some("$.tags"), Length, json!(2)),
            (Subject::Json, Some("$.tags"), Length, json!(">=1")),
            (Subject::Json, Some("$.tags"), Contains, json!("b")),
            (Subject::Json, Some("$.tags[*]"), Equals, json!(["a", "b"])),
            (Subject::Json, Some("$"), Contains, json!({"o": {"x": 1}})),
            (Subject::Json, Some("$.n"), Exists, json!(true)),
            (Subject::Json, Some("$.n"), Type, json!("null")),
            (Subject::Json, Some("$.o"), Schema, json!({"required": ["x"]})),
            (Subject::Body, None, Matches, json!("\"id\":{id}\\b")),
            (Subject::Body, None, NotContains, json!("error")),
            (Subject::Duration, None, Within, json!("<500ms")),
        ] {
            let verdict = verdict(subject, path, rule, value);
            assert!(verdict.ok, "{verdict:?}");
        }
    }

    #[test]
    fn times_have_percentiles() {
        let took: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        let millis = |which: &str| time(&took, which).as_micros();
        assert_eq!(["p50", "p95", "p99", "max", ""].map(millis), [50_000, 95_000, 99_000, 100_000, 1_000]);
        assert_eq!((millis("mean"), time(&took[..1], "p50").as_millis()), (50_500, 100));
    }

    #[test]
    fn what_fails_shows_both_sides() {
        let failed = verdict(Subject::Status, None, Rule::OneOf, json!([200, "4xx"]));
        assert_eq!(
            (failed.ok, failed.actual, failed.assert.as_str()),
            (false, json!(201), "status is one of [200,\"4xx\"]")
        );
        let failed = verdict(Subject::Json, Some("$.missing"), Rule::Equals, json!(1));
        assert_eq!(failed.reason.as_deref(), Some("there is nothing at $.missing"));
        let failed = verdict(Subject::Json, Some("$.o"), Rule::Schema, json!({"required": ["y"]}));
        assert!(failed.reason.unwrap().contains("\"y\" is a required property"));
        let failed = verdict(Subject::Body, None, Rule::Matches, json!("id{dot}:7"));
        assert!(!failed.ok, "a variable in a pattern is literal text");
        assert!(!verdict(Subject::Duration, None, Rule::Within, json!("<480ms")).ok);
        assert!(!verdict(Subject::Json, Some("$.id"), Rule::Equals, json!("7")).ok, "text is no number");
        assert!(!verdict(Subject::ExitCode, None, Rule::Equals, json!(0)).ok);
    }

    #[test]
    fn commands_and_text_that_is_no_json() {
        let answer = exec(3, "[1, 2]\n", "boom\n");
        let check = |subject, path: Option<&str>, rule, value| {
            let assertion = Assertion { subject, path: path.map(Into::into), rule, value };
            check(&assertion, &answer, &[Duration::ZERO], &Variables::default())
        };
        assert!(check(Subject::ExitCode, None, Rule::OneOf, json!([3])).ok);
        assert!(check(Subject::Stderr, None, Rule::Contains, json!("boom")).ok);
        assert!(check(Subject::Json, Some("$[1]"), Rule::Equals, json!(2)).ok);
        let plain = http(200, &[], "<html>");
        let assertion = Assertion {
            subject: Subject::Json,
            path: Some("$.a".into()),
            rule: Rule::Exists,
            value: json!(true),
        };
        let verdict = super::check(&assertion, &plain, &[Duration::ZERO], &Variables::default());
        assert!(verdict.reason.unwrap().starts_with("the body is no JSON"));
    }
}
