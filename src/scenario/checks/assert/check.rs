use std::time::Duration;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::seen::{Rendering, unseen};
use super::{Assertion, AssertionRule, Comparison, Subject, openapi};
use crate::scenario::answer::StepAnswer;
use crate::scenario::checks::Selector;
use crate::scenario::checks::select::Selection;
use crate::scenario::values::json as written;
use crate::scenario::values::variables::{as_text, placeholders};
use crate::scenario::values::{Excerpt, KeptContent, Variables, WrittenDuration};
use crate::schema::Schema;
use crate::value::{MAX_READ_DEPTH, Value, is_deeper};
use crate::visible;

/// Result of one assertion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AssertionResult {
    /// The assertion in words, variables filled in.
    pub assert: String,
    /// True if the assertion holds.
    pub ok: bool,
    /// Expected value.
    pub expected: Value,
    /// Actual value; null if there is none.
    pub actual: Value,
    /// JSONPath or header name, if the assertion has one.
    pub path: Option<String>,
    /// Reason of the failure, if the two values do not show it.
    pub reason: Option<String>,
}

/// Longest text of an assertion or a reason, in characters.
const ASSERTED: usize = 2_000;

/// Longest text in `actual`, in bytes.
const ACTUAL: usize = 512;

/// Checks `assertion` against `answer`, which took the last of the times in `took`.
pub fn check(
    assertion: &Assertion,
    answer: &StepAnswer,
    took: &[Duration],
    variables: &Variables,
) -> AssertionResult {
    let loose = assertion.rule == AssertionRule::Equals && is_placeholder(&assertion.value);
    let filled = Assertion {
        path: assertion.path.as_ref().map(|path| variables.fill(path).into_owned()),
        value: match (&assertion.value, assertion.rule) {
            (Value::String(pattern), AssertionRule::Matches) => Value::from(variables.fill_pattern(pattern)),
            (value, _) => variables.fill_json(value),
        },
        ..assertion.clone()
    };
    let missing = |text: &String| variables.missing(text, true);
    let missing = assertion.path.as_ref().and_then(missing).or(variables.missing_in(&assertion.value, true));
    let found = match missing {
        Some(name) => Err(variables.unset(&name, "")),
        None => find(&filled, answer, took),
    };
    let (actual, outcome) = match found {
        Ok(found) => {
            let outcome = decide(&filled, &found, answer, loose);
            (found.whole(filled.rule), outcome)
        }
        Err(reason) => (None, Err(Some(reason))),
    };
    AssertionResult {
        assert: visible::line(&filled.to_string(), ASSERTED),
        ok: outcome.is_ok(),
        expected: shown(filled.value.clone()),
        actual: shorten(shown(actual.unwrap_or_default())),
        path: filled.path.clone(),
        reason: outcome.err().flatten().map(|reason| visible::line(&reason, ASSERTED)),
    }
}

/// Decides the assertion for the selected parts. Several parts are a list; if a filter selects exactly one
/// part, that part may also be compared by itself.
fn decide(assertion: &Assertion, found: &Selection, answer: &StepAnswer, loose: bool) -> CheckResult {
    let whole = found.whole(assertion.rule);
    let alone = match found {
        Selection::Several(found) if !assertion.value.is_array() => match found.as_slice() {
            [one] => Some(one),
            _ => None,
        },
        _ => None,
    };
    if told_in_part(assertion, answer) {
        return judge_part(assertion, whole.as_ref());
    }
    if let Some(kept) = cut(assertion.subject, answer) {
        return judge_cut(assertion, kept);
    }
    if let Some(actual) = alone.or(whole.as_ref())
        && loose
        && (!actual.is_array() && !actual.is_object() || written::literal(actual).is_some())
    {
        let wanted = as_text(&assertion.value);
        let number = written::number(&wanted);
        let is_same = number.is_some_and(|number| written::same_number(actual, &number) == Some(true));
        return plain(is_same || as_text(actual) == wanted);
    }
    let held = judge_seen(assertion, whole.as_ref());
    match (alone, assertion.rule) {
        (
            Some(one),
            AssertionRule::Equals | AssertionRule::Matches | AssertionRule::Contains | AssertionRule::Type,
        ) => held.or_else(|reason| judge_seen(assertion, Some(one)).map_err(|_| reason)),
        (Some(one), AssertionRule::NotContains) => held.and_then(|()| judge_seen(assertion, Some(one))),
        _ => held,
    }
}

/// Like [`judge`], but compares text as a person sees it if a person is the reader. If the texts differ
/// only in invisible characters, the reason says so.
fn judge_seen(assertion: &Assertion, actual: Option<&Value>) -> CheckResult {
    let held = judge(assertion, actual);
    let (Some(actual), Some(wanted)) = (actual.and_then(Value::as_str), assertion.value.as_str()) else {
        return held;
    };
    let sight = Rendering::of(assertion.subject);
    let again = |sight: Rendering| {
        let value =
            if assertion.rule == AssertionRule::Matches { wanted.to_owned() } else { sight.seen(wanted) };
        let is_something = !value.is_empty();
        let assertion = Assertion { value: value.into(), ..assertion.clone() };
        is_something.then(|| judge(&assertion, Some(&sight.seen(actual).into())))
    };
    match assertion.rule {
        AssertionRule::Equals | AssertionRule::Contains | AssertionRule::Matches
            if held.is_err() && sight != Rendering::Exact =>
        {
            again(sight).unwrap_or(held)
        }
        AssertionRule::NotContains if held.is_ok() && sight != Rendering::Exact => {
            again(sight).unwrap_or(held)
        }
        AssertionRule::Equals | AssertionRule::Contains
            if held == Err(None) && again(Rendering::Page) == Some(Ok(())) =>
        {
            let (there, here) = (unseen(actual).join(" "), unseen(wanted).join(" "));
            let none = |list: &str| if list.is_empty() { "none".to_owned() } else { list.to_owned() };
            Err(Some(format!(
                "they differ only in white space or invisible characters: apart from plain spaces, the answer has {}, and the expected text has {}",
                none(&there),
                none(&here)
            )))
        }
        _ => held,
    }
}

/// Replaces numbers with exact literals by their text.
fn shown(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(shown).collect(),
        Value::Object(_) if written::literal(&value).is_some() => as_text(&value).into(),
        Value::Object(table) => table.into_iter().map(|(key, value)| (key, shown(value))).collect(),
        leaf => leaf,
    }
}

fn is_placeholder(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    matches!(placeholders(text).as_slice(), [(0, end, _)] if *end == text.len())
}

fn shorten(actual: Value) -> Value {
    match actual {
        Value::String(text) if text.len() > ACTUAL => Excerpt::of_text(&text, ACTUAL).text.into(),
        // Deeply nested values could not be recorded.
        Value::Array(_) | Value::Object(_)
            if is_deeper(&actual, MAX_READ_DEPTH) || actual.to_string().len() > ACTUAL =>
        {
            Excerpt::of_text(&actual.to_string(), ACTUAL).text.into()
        }
        actual => actual,
    }
}

/// The part that is checked, or an error if it cannot be determined.
fn find(assertion: &Assertion, answer: &StepAnswer, took: &[Duration]) -> Result<Selection, String> {
    let path = assertion.path.as_deref().unwrap_or_default();
    if assertion.subject == Subject::Json {
        let value = answer.json()?;
        return Selector::parse(path)?.find(&value);
    }
    Ok(Selection::One(match (assertion.subject, answer) {
        (Subject::Duration, _) => Some(WrittenDuration(time(took, path)).to_string().into()),
        (Subject::Status, StepAnswer::Http(http)) => Some(http.status.into()),
        (Subject::Header, StepAnswer::Http(http)) => http.header(path).map(Value::from),
        (Subject::Body, StepAnswer::Http(http)) => Some(http.body.text().into_owned().into()),
        (Subject::ExitCode, StepAnswer::Exec(exec)) => exec.exit_code.map(Value::from),
        (Subject::Stdout, StepAnswer::Exec(exec)) => Some(exec.stdout.text().into_owned().into()),
        (Subject::Stderr, StepAnswer::Exec(exec)) => Some(exec.stderr.text().into_owned().into()),
        (Subject::Header | Subject::Trailer, StepAnswer::Told(told)) => {
            told.part(assertion.subject.word()).and_then(|table| named(table, path)).cloned()
        }
        (subject, StepAnswer::Told(told)) => {
            told.part(subject.word()).filter(|part| !part.is_null()).cloned()
        }
        (subject, _) => return Err(format!("this step's answer has no {}", subject.word())),
    }))
}

/// The statistic `which` of several times: the mean, the maximum or a percentile; the last time if `which`
/// is empty.
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

/// The text that is checked, if its middle is missing.
fn cut(subject: Subject, answer: &StepAnswer) -> Option<&KeptContent> {
    let kept = match (subject, answer) {
        (Subject::Body, StepAnswer::Http(http)) => &http.body,
        (Subject::Stdout, StepAnswer::Exec(exec)) => &exec.stdout,
        (Subject::Stderr, StepAnswer::Exec(exec)) => &exec.stderr,
        _ => return None,
    };
    kept.is_cut().then_some(kept)
}

/// A match in the kept part also holds for the whole; anything else cannot be decided from a part.
fn judge_cut(assertion: &Assertion, kept: &KeptContent) -> CheckResult {
    let found = || kept.stretches().into_iter().any(|part| judge(assertion, Some(&part.into())).is_ok());
    if matches!(assertion.rule, AssertionRule::Contains | AssertionRule::Matches) && found() {
        return Ok(());
    }
    let (name, length) = (assertion.subject.word(), kept.length());
    Err(Some(format!("{name} has {length} bytes, too many to be checked as a whole")))
}

/// Whether the middle of the checked part is missing.
fn told_in_part(assertion: &Assertion, answer: &StepAnswer) -> bool {
    let StepAnswer::Told(told) = answer else { return false };
    let cut = told.part("cut").and_then(Value::as_array);
    cut.is_some_and(|words| words.iter().any(|word| word == assertion.subject.word()))
}

/// Like [`judge_cut`], for parts of which the missing length is unknown.
fn judge_part(assertion: &Assertion, actual: Option<&Value>) -> CheckResult {
    if matches!(assertion.rule, AssertionRule::Contains | AssertionRule::Matches)
        && judge(assertion, actual).is_ok()
    {
        return Ok(());
    }
    Err(Some(format!("{} is too long to be checked as a whole", assertion.subject.word())))
}

/// `Err` if the assertion does not hold, with a reason if the values alone do not show it.
type CheckResult = Result<(), Option<String>>;

fn plain(ok: bool) -> CheckResult {
    if ok { Ok(()) } else { Err(None) }
}

fn judge(assertion: &Assertion, actual: Option<&Value>) -> CheckResult {
    let wanted = &assertion.value;
    if assertion.rule == AssertionRule::Exists {
        return plain(actual.is_some() == wanted.as_bool().unwrap_or(true));
    }
    let Some(actual) = actual else {
        let absent = assertion.rule == AssertionRule::NotContains;
        return if absent { Ok(()) } else { Err(Some(nothing(assertion))) };
    };
    match assertion.rule {
        AssertionRule::Exists => Ok(()),
        AssertionRule::Equals => plain(equal(wanted, actual)),
        AssertionRule::OneOf => {
            plain(wanted.as_array().is_some_and(|items| items.iter().any(|it| one_of(it, actual))))
        }
        AssertionRule::Matches => {
            let pattern = Regex::new(&as_text(wanted)).map_err(|e| Some(format!("invalid pattern: {e}")))?;
            plain(pattern.is_match(&as_text(actual)))
        }
        AssertionRule::Contains => plain(contains(actual, wanted)),
        AssertionRule::NotContains => plain(!contains(actual, wanted)),
        AssertionRule::Length => {
            let length =
                length(actual).ok_or_else(|| Some("a value of this type has no length".to_owned()))?;
            let text = as_text(wanted);
            let bound = Comparison::parse(&text);
            let limit = bound.limit.parse().map_err(|_| Some(format!("`{text}` is not a length")))?;
            if bound.admits(&length, &limit, "=") {
                Ok(())
            } else {
                Err(Some(format!("its length is {length}")))
            }
        }
        AssertionRule::Amount => {
            let text = as_text(wanted);
            let bound = Comparison::parse(&text);
            let limit: u64 = bound.limit.parse().map_err(|_| Some(format!("`{text}` is not a number")))?;
            let actual = actual.as_u64().ok_or_else(|| Some("it is not a number".to_owned()))?;
            plain(bound.admits(&actual, &limit, "="))
        }
        AssertionRule::Type => {
            plain(wanted.as_str().is_some_and(|name| has_type(&written::rounded(actual), name)))
        }
        AssertionRule::Schema => {
            let schema = openapi::plain(written::rounded(wanted).into_owned());
            let schema = Schema::compile("assert", schema).map_err(|e| Some(e.to_string()))?;
            let violations = schema.violations(&written::rounded(actual));
            let lines: Vec<String> = violations.iter().take(5).map(ToString::to_string).collect();
            if lines.is_empty() { Ok(()) } else { Err(Some(lines.join("; "))) }
        }
        AssertionRule::Within => {
            let text = as_text(wanted);
            let bound = Comparison::parse(&text);
            let limit = WrittenDuration::parse(bound.limit).map_err(Some)?;
            let took = WrittenDuration::parse(&as_text(actual)).map_err(Some)?;
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
        (a, b) if written::same_number(a, b).is_some() => written::same_number(a, b) == Some(true),
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
        // A captured exit code is text.
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
        Value::Object(table) => written::literal(value).is_none().then_some(table.len()),
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

    fn verdict(subject: Subject, path: Option<&str>, rule: AssertionRule, value: Value) -> AssertionResult {
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
        use AssertionRule::*;
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
        let failed = verdict(Subject::Status, None, AssertionRule::OneOf, json!([200, "4xx"]));
        assert_eq!(
            (failed.ok, failed.actual, failed.assert.as_str()),
            (false, json!(201), "status is one of [200,\"4xx\"]")
        );
        let failed = verdict(Subject::Json, Some("$.missing"), AssertionRule::Equals, json!(1));
        assert_eq!(failed.reason.as_deref(), Some("there is nothing at $.missing"));
        let failed = verdict(Subject::Json, Some("$.o"), AssertionRule::Schema, json!({"required": ["y"]}));
        assert!(failed.reason.unwrap().contains("\"y\" is a required property"));
        let failed = verdict(Subject::Body, None, AssertionRule::Matches, json!("id{dot}:7"));
        assert!(!failed.ok, "a variable in a pattern is literal text");
        assert!(!verdict(Subject::Duration, None, AssertionRule::Within, json!("<480ms")).ok);
        assert!(
            !verdict(Subject::Json, Some("$.id"), AssertionRule::Equals, json!("7")).ok,
            "text is not a number"
        );
        assert!(!verdict(Subject::ExitCode, None, AssertionRule::Equals, json!(0)).ok);
    }

    #[test]
    fn commands_and_text_that_is_no_json() {
        let answer = exec(3, "[1, 2]\n", "boom\n");
        let check = |subject, path: Option<&str>, rule, value| {
            let assertion = Assertion { subject, path: path.map(Into::into), rule, value };
            check(&assertion, &answer, &[Duration::ZERO], &Variables::default())
        };
        assert!(check(Subject::ExitCode, None, AssertionRule::OneOf, json!([3])).ok);
        assert!(check(Subject::Stderr, None, AssertionRule::Contains, json!("boom")).ok);
        assert!(check(Subject::Json, Some("$[1]"), AssertionRule::Equals, json!(2)).ok);
        let plain = http(200, &[], "<html>");
        let assertion = Assertion {
            subject: Subject::Json,
            path: Some("$.a".into()),
            rule: AssertionRule::Exists,
            value: json!(true),
        };
        let verdict = super::check(&assertion, &plain, &[Duration::ZERO], &Variables::default());
        assert!(verdict.reason.unwrap().starts_with("the body is not JSON"));
    }
}
