use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::Selector;
use crate::scenario::answer::{StepAnswer, StructuredResponse};
use crate::scenario::values::size::length;
use crate::scenario::values::variables::as_text;
use crate::scenario::values::{Excerpt, Variables, json};
use crate::value::{MAX_READ_DEPTH, Value, is_deeper, nested};

/// Saves a part of an answer under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// Name of the variable.
    pub name: String,
    /// JSONPath of a part of JSON text.
    #[serde(default)]
    pub jsonpath: Option<String>,
    /// Part of the answer; by default the body or stdout.
    #[serde(default)]
    pub source: Option<String>,
}

/// Most bytes of one captured value, and of all values of a scenario.
const LARGEST: usize = 4 << 20;
const MOST: usize = 64 << 20;
/// Most bytes of a value in an observation.
const RECORDED: usize = 8 << 10;

/// Result of one capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Captured {
    /// Name of the variable.
    pub name: String,
    /// Captured value; null if there is none.
    pub value: Value,
    /// Why nothing was captured.
    pub error: Option<String>,
}

/// Captures the part of `answer` that `capture` names.
pub fn take(capture: &Capture, answer: &StepAnswer, variables: &Variables) -> Captured {
    let name = capture.name.clone();
    match part(capture, answer, variables).and_then(fitting) {
        Ok(value) => Captured { name, value, error: None },
        Err(reason) => Captured { name, value: Value::Null, error: Some(reason) },
    }
}

fn fitting(value: Value) -> Result<Value, String> {
    if is_deeper(&value, MAX_READ_DEPTH) {
        let nested = nested(MAX_READ_DEPTH);
        return Err(format!("it is {nested}, the limit for captured values: capture a part of it"));
    }
    if length(&value) <= LARGEST {
        return Ok(value);
    }
    Err(format!(
        "it is larger than {} MiB, the limit for captured values: capture a part of it",
        LARGEST >> 20
    ))
}

fn part(capture: &Capture, answer: &StepAnswer, variables: &Variables) -> Result<Value, String> {
    let text = match &capture.source {
        Some(source) => Some(source_text(&variables.fill(source), answer)?),
        None => None,
    };
    let Some(path) = &capture.jsonpath else {
        return text
            .map(|text| text.trim().into())
            .ok_or_else(|| "the capture has neither `jsonpath` nor `source`".into());
    };
    let value = match text {
        Some(text) => json::parse_as_written(&text)
            .map_err(|unread| format!("{} {unread}", capture.source.as_deref().unwrap_or("it")))?,
        None => answer.json_as_written()?,
    };
    let path = variables.fill(path);
    let found = Selector::parse(&path)?.pick(&value)?.ok_or_else(|| format!("there is nothing at {path}"))?;
    // The value is used as text, so the literal is enough.
    Ok(json::literal(&found).map(Value::from).unwrap_or(found))
}

fn source_text(source: &str, answer: &StepAnswer) -> Result<String, String> {
    Ok(match (source, answer) {
        ("status", StepAnswer::Http(http)) => http.status.to_string(),
        ("body", StepAnswer::Http(http)) => http.body.text().into_owned(),
        (source, StepAnswer::Http(http)) => match source.strip_prefix("header:") {
            Some(name) => http
                .header(name.trim())
                .map(str::to_owned)
                .ok_or_else(|| format!("the answer has no header `{}`", name.trim()))?,
            None => return Err(format!("a request has no source `{source}`")),
        },
        ("stdout", StepAnswer::Exec(exec)) => exec.stdout.text().into_owned(),
        ("stderr", StepAnswer::Exec(exec)) => exec.stderr.text().into_owned(),
        ("exitcode" | "exit_code", StepAnswer::Exec(exec)) => exec
            .exit_code
            .map(|code| code.to_string())
            .ok_or("the command was killed: it has no exit code")?,
        (source, StepAnswer::Told(told)) => return told_text(source, told),
        (source, StepAnswer::Exec(_)) => return Err(format!("a command has no source `{source}`")),
    })
}

/// A part of a structured answer; some sources have aliases.
fn told_text(source: &str, told: &StructuredResponse) -> Result<String, String> {
    let entry = source.strip_prefix("header:").map(|name| ("header", name));
    let entry = entry.or_else(|| source.strip_prefix("trailer:").map(|name| ("trailer", name)));
    if let Some((table, name)) = entry {
        let entries = told.part(table).and_then(Value::as_object);
        let found = entries.and_then(|e| e.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim())));
        return found.map(|(_, value)| as_text(value)).ok_or(format!("the answer has no {table} `{name}`"));
    }
    let word = match source {
        "location" => "url",
        "exitcode" => "exit_code",
        "headers" => "header",
        "trailers" => "trailer",
        word => word,
    };
    if word == told.main.0 {
        return Ok(told.main.1.text().into_owned());
    }
    let part = told.part(word).filter(|part| !part.is_null());
    part.map(as_text).ok_or(format!("the answer has no `{source}`"))
}

impl Captured {
    /// Makes the value available to later steps. If nothing was captured, their placeholders stay as written.
    pub fn store(&mut self, variables: &mut Variables) {
        if let Some(error) = &self.error {
            variables.miss(&self.name, error);
            return;
        }
        let others = variables.all().filter(|(name, _)| *name != self.name);
        if others.map(|(_, value)| length(value)).sum::<usize>() + length(&self.value) > MOST {
            let why = format!("with it, the values of the scenario are larger than {} MiB", MOST >> 20);
            variables.miss(&self.name, &why);
            (self.error, self.value) = (Some(why), Value::Null);
            return;
        }
        variables.set(&self.name, self.value.clone());
    }

    /// The record for an observation: a long value is shortened.
    #[must_use]
    pub fn recorded(self) -> Self {
        if length(&self.value) <= RECORDED {
            return self;
        }
        Self { value: Excerpt::of_text(&as_text(&self.value), RECORDED).text.into(), ..self }
    }

    /// The value as text.
    pub fn text(&self) -> String {
        as_text(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::answer::test::{exec, http};
    use serde_json::json;

    fn capture(source: Option<&str>, jsonpath: Option<&str>) -> Capture {
        Capture { name: "x".into(), source: source.map(Into::into), jsonpath: jsonpath.map(Into::into) }
    }

    #[test]
    fn every_source() {
        let web = http(
            201,
            &[("Location", "/items/7")],
            r#"{"id": 7, "list": [{"k": "a"}], "price": 1.10, "half": 0.5}"#,
        );
        let run = exec(3, " {\"n\": 1.0} \n", "oops\n");
        for (answer, source, path, wanted) in [
            (&web, None, Some("$.id"), json!(7)),
            (&web, Some("header:location"), None, json!("/items/7")),
            (&web, Some("status"), None, json!("201")),
            (&web, Some("body"), Some("$.list[0].k"), json!("a")),
            (&run, None, Some("$.n"), json!("1.0")),
            (&web, None, Some("$.price"), json!("1.10")),
            (&web, None, Some("$.half"), json!(0.5)),
            (&run, Some("stderr"), None, json!("oops")),
            (&run, Some("exitcode"), None, json!("3")),
        ] {
            let captured = take(&capture(source, path), answer, &Variables::default());
            assert_eq!((captured.value, captured.error), (wanted, None));
        }
    }

    #[test]
    fn a_miss_says_why_and_sets_nothing() {
        let web = http(404, &[], "nope");
        let mut captured = take(&capture(None, Some("$.id")), &web, &Variables::default());
        assert!(captured.error.as_deref().unwrap().starts_with("the body is not JSON"), "{captured:?}");
        let mut variables = Variables::default();
        captured.store(&mut variables);
        assert_eq!(variables.fill("{x}"), "{x}");
        let captured = take(&capture(Some("header:etag"), None), &web, &Variables::default());
        assert_eq!(captured.error.as_deref(), Some("the answer has no header `etag`"));
    }
    #[test]
    fn values_are_bounded_one_by_one_and_together_and_recorded_in_part() {
        let told = |length: usize| {
            let text = "x".repeat(length);
            let mut web = http(200, &[], "");
            if let StepAnswer::Http(http) = &mut web {
                http.body = crate::scenario::KeptContent::of(text.as_bytes(), 8 << 20);
            }
            take(&capture(Some("body"), None), &web, &Variables::default())
        };
        let error = told(LARGEST + 1).error.unwrap();
        assert!(error.starts_with("it is larger than 4 MiB"), "{error}");
        let mut variables = Variables::default();
        for n in 0..MOST / LARGEST {
            let mut captured = Captured { name: format!("x{n}"), ..told(LARGEST) };
            captured.store(&mut variables);
            assert_eq!(captured.error, None);
            assert!(length(&captured.recorded().value) < 2 * RECORDED);
        }
        let mut again = Captured { name: "x0".into(), ..told(LARGEST) };
        again.store(&mut variables);
        assert_eq!(again.error, None, "it replaces another value");
        let mut more = told(1);
        more.store(&mut variables);
        assert!(
            more.error.unwrap().starts_with("with it, the values of the scenario are larger than 64 MiB")
        );
    }
}
