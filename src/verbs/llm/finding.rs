//! JSON out of a model's text.

use crate::schema::Schema;
use crate::value::Value;

/// Most places in a text at which a value is looked for.
const PLACES: usize = 200;

/// What a text holds.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// A value that fits.
    Fits(Value),
    /// A value, and how it breaks the schema.
    Breaks(Vec<String>),
    /// The beginning of a value.
    Unfinished,
    /// No JSON.
    Nothing,
}

/// What to ask of models whose provider cannot hold them to a schema.
pub(super) fn instruction(schema: &str) -> String {
    format!(
        "Answer with one JSON value and nothing else: no prose, no code fence. It must fit this JSON Schema:\n{schema}"
    )
}

/// The first JSON value in `text` that fits `schema`: the text itself, or one inside a code fence or among prose.
pub(super) fn read(text: &str, schema: Option<&Schema>) -> Found {
    let text = text.trim();
    let mut breaks = None;
    let mut judge = |value: Value| match fit(value, schema) {
        Ok(value) => Some(Found::Fits(value)),
        Err(violations) => {
            breaks.get_or_insert(violations);
            None
        }
    };
    for whole in [text, inside_fence(text)] {
        if let Some(found) = serde_json::from_str(whole).ok().and_then(&mut judge) {
            return found;
        }
    }
    let mut rest = text;
    let mut unfinished = false;
    for _ in 0..PLACES {
        let Some(start) = rest.find(['{', '[']) else { break };
        rest = &rest[start..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                let end = values.byte_offset();
                if let Some(found) = judge(value) {
                    return found;
                }
                rest = &rest[end..];
            }
            // The rest is the inside of something cut off: a value found there is not the answer.
            Some(Err(e)) if e.is_eof() => {
                unfinished = true;
                break;
            }
            _ => rest = &rest[1..],
        }
    }
    match breaks {
        _ if unfinished => Found::Unfinished,
        Some(violations) => Found::Breaks(violations),
        None => Found::Nothing,
    }
}

/// What stands between the first ``` line and the last ```.
fn inside_fence(text: &str) -> &str {
    let inside = text.split_once("```").and_then(|(_, rest)| rest.split_once('\n')).map(|(_, inside)| inside);
    inside.map_or(text, |inside| inside.rsplit_once("```").map_or(inside, |(inside, _)| inside)).trim()
}

fn fit(value: Value, schema: Option<&Schema>) -> Result<Value, Vec<String>> {
    let Some(schema) = schema else { return Ok(value) };
    let violations = schema.violations(&value);
    if violations.is_empty() {
        return Ok(value);
    }
    let mut mended = value;
    for violation in &violations {
        number_in_text(&mut mended, &violation.pointer);
    }
    if schema.accepts(&mended) {
        return Ok(mended);
    }
    Err(violations.iter().map(ToString::to_string).collect())
}

/// Where `pointer` is a text that reads as a number: the number. Only ever asked for places that break the schema.
fn number_in_text(value: &mut Value, pointer: &str) {
    let Some(place) = value.pointer_mut(pointer) else { return };
    let number = place.as_str().and_then(|text| serde_json::from_str::<serde_json::Number>(text.trim()).ok());
    if let Some(number) = number {
        *place = Value::Number(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict() -> Schema {
        let schema = json!({"type": "object", "required": ["score"], "properties": {"score": {"type": "integer"}, "why": {"type": "string"}}});
        Schema::compile("verdict", schema).unwrap()
    }

    #[test]
    fn json_is_found_wherever_it_stands() {
        let schema = verdict();
        for text in [
            r#"{"score": 7}"#,
            "```json\n{\"score\": 7}\n```",
            "Here you are [as asked]:\n```\n{\"score\": 7}\n```\nAnything else?",
            "See [1] for {the rules}. {\"score\": 7} is my verdict.",
            r#"{"score": "7"}"#,
        ] {
            assert_eq!(read(text, Some(&schema)), Found::Fits(json!({"score": 7})), "{text}");
        }
        assert_eq!(read("42", None), Found::Fits(json!(42)));
        assert_eq!(read("[1, 2]", None), Found::Fits(json!([1, 2])));
    }

    #[test]
    fn a_number_stays_text_where_text_is_wanted() {
        let text = r#"{"score": 7, "why": "12"}"#;
        assert_eq!(read(text, Some(&verdict())), Found::Fits(json!({"score": 7, "why": "12"})));
        let Found::Breaks(violations) = read(r#"{"score": "seven"}"#, Some(&verdict())) else { panic!() };
        assert!(violations[0].starts_with("/score: "), "{violations:?}");
    }

    #[test]
    fn a_part_of_something_cut_off_is_no_answer() {
        assert_eq!(read(r#"{"list": [{"score": 7}, {"sco"#, Some(&verdict())), Found::Unfinished);
        assert_eq!(read("```json\n{\"score\": ", None), Found::Unfinished);
        assert_eq!(read("I cannot say.", Some(&verdict())), Found::Nothing);
        assert_eq!(read(&"[x".repeat(100_000), None), Found::Nothing, "and is not searched for ever");
    }
}
