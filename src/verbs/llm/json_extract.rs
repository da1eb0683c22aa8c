//! Extracts JSON from a model's text.
//!
//! Thoughts are not part of the answer. Of several different values that fit, the last counts, or none: a
//! judge quotes the product that it judges, and a value in a quotation must not become the verdict.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::pieces::{self, JsonPiece};
use super::quotation::is_quoted;
use crate::llm::{ModelRequest, has_marks, without_end, without_thoughts};
use crate::schema::Schema;
use crate::value::{Value, canonical};

const QUOTED: &str = "its value is part of the question as well, among other words, so that it may be a quotation: \
                      answer with the JSON value alone";

/// The handling of an answer with several different values that fit the schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AmbiguousAnswer {
    /// The last one counts.
    #[default]
    Last,
    /// The answer is rejected.
    Reject,
}

/// The result of reading a text.
#[derive(Debug, PartialEq)]
pub(super) enum Extracted {
    /// A value that fits.
    Fits(Value),
    /// No value that can be the answer, with reasons.
    Breaks(Vec<String>),
    /// The beginning of a value.
    Unfinished,
    /// No JSON.
    Nothing,
}

/// The way in which a text is read.
#[derive(Clone, Copy)]
pub(super) struct Extraction<'a> {
    pub(super) schema: Option<&'a Schema>,
    pub(super) ambiguous: AmbiguousAnswer,
    /// Whether the model finished, so that an incomplete value stays incomplete.
    pub(super) ended: bool,
    /// The request: a value that is also part of it may be a quotation.
    pub(super) asked: Option<&'a ModelRequest>,
}

/// The meaning of a piece of a text for the schema.
struct Candidate {
    fit: Result<Value, Extracted>,
    /// Whether it looks like the answer.
    meant: bool,
}

impl Extraction<'_> {
    /// The value in `text`: the text itself, or one inside a code fence or among prose.
    pub(super) fn read(self, text: &str) -> Extracted {
        let mut names = BTreeSet::new();
        if let Some(schema) = self.schema {
            let source = schema.source();
            fields(source, source, 3, &mut names);
        }
        Extractor { reading: self, names }.read(text)
    }
}

/// The way in which a text is read, with the names of the answer's fields.
struct Extractor<'a> {
    reading: Extraction<'a>,
    names: BTreeSet<&'a str>,
}

impl Extractor<'_> {
    fn read(&self, text: &str) -> Extracted {
        let said = without_thoughts(text);
        let found = self.said(without_end(said.trim()));
        if self.is_strict()
            && said.len() < text.len()
            && let Extracted::Fits(value) = &found
        {
            // Values among thoughts are not the answer. But the end mark of the thoughts may be a quotation
            // of the product as well.
            let others = pieces::pieces(text).list.into_iter().map(|piece| self.candidate(piece).fit);
            if others.into_iter().flatten().any(|other| differ(&other, value)) {
                return several();
            }
        }
        found
    }

    /// Whether exactly one answer is required.
    fn is_strict(&self) -> bool {
        self.reading.ambiguous == AmbiguousAnswer::Reject
    }

    fn said(&self, text: &str) -> Extracted {
        let fences = [Some(text), lone_fence(text)];
        if let Some(piece) = fences.into_iter().flatten().find_map(pieces::whole) {
            return self.candidate(piece).fit.map_or_else(|found| found, Extracted::Fits);
        }
        let found = pieces::pieces(text);
        let candidates: Vec<Candidate> = found.list.into_iter().map(|piece| self.candidate(piece)).collect();
        match self.reading.ambiguous {
            _ if candidates.is_empty() => self.in_fence(text),
            AmbiguousAnswer::Reject if found.cut => {
                Extracted::Breaks(vec!["it is too long to be sure that it has one answer".to_owned()])
            }
            AmbiguousAnswer::Reject if !candidates.is_empty() && has_marks(text) => Extracted::Breaks(vec![
                "it has marks of thoughts or of a chat template beside a value".to_owned(),
            ]),
            AmbiguousAnswer::Reject => {
                let fits = candidates.iter().zip(&found.places);
                let mut fits = fits.filter_map(|(candidate, place)| {
                    Some((candidate.fit.as_ref().ok()?, &text[place.clone()]))
                });
                match self.reading.asked {
                    Some(asked) if fits.any(|(value, text)| is_quoted(asked, value, text)) => {
                        Extracted::Breaks(vec![QUOTED.to_owned()])
                    }
                    _ => only(candidates),
                }
            }
            AmbiguousAnswer::Last => last(candidates, self.reading.ended),
        }
    }

    /// Numbers, texts and the like are searched in code fences only.
    fn in_fence(&self, text: &str) -> Extracted {
        let inside =
            text.split_once("```").and_then(|(_, rest)| rest.split_once('\n')).map(|(_, inside)| inside);
        let inside =
            inside.and_then(|inside| inside.rsplit_once("```")).and_then(|(inside, _)| pieces::whole(inside));
        inside.map_or(Extracted::Nothing, |piece| {
            self.candidate(piece).fit.map_or_else(|found| found, Extracted::Fits)
        })
    }

    fn candidate(&self, piece: JsonPiece) -> Candidate {
        match piece {
            JsonPiece::Value { repeats: true, .. } if self.is_strict() => {
                let why = "it gives one name two different values".to_owned();
                Candidate { fit: Err(Extracted::Breaks(vec![why])), meant: true }
            }
            JsonPiece::Value { value, .. } => {
                let meant = value.as_object().is_some_and(|table| table.keys().any(|name| self.names(name)));
                Candidate { fit: fit(value, self.reading.schema).map_err(Extracted::Breaks), meant }
            }
            JsonPiece::Malformed { name, why } => {
                let meant = name.is_some_and(|name| self.names(&name));
                Candidate { fit: Err(Extracted::Breaks(vec![why])), meant }
            }
            JsonPiece::Unfinished { name } => {
                let meant = self.is_strict() || name.is_some_and(|name| self.names(&name));
                Candidate { fit: Err(Extracted::Unfinished), meant }
            }
        }
    }

    /// Whether a field called `name` belongs to the answer. If the schema names no fields, a judge's answer
    /// may have any.
    fn names(&self, name: &str) -> bool {
        if self.names.is_empty() { self.is_strict() } else { self.names.contains(name) }
    }
}

/// The last of `candidates` that fits, if nothing after it looks like the answer.
fn last(candidates: Vec<Candidate>, ended: bool) -> Extracted {
    let mut found = Extracted::Nothing;
    for Candidate { fit, meant } in candidates {
        let fits = matches!(found, Extracted::Fits(_));
        match fit {
            Ok(value) => found = Extracted::Fits(value),
            Err(Extracted::Unfinished) if !ended || meant || !fits => found = Extracted::Unfinished,
            Err(why) if meant || !fits => found = why,
            Err(_) => {}
        }
    }
    found
}

/// The only one of `candidates` that fits, if it is the last one and no other looks like the answer.
fn only(candidates: Vec<Candidate>) -> Extracted {
    let breaks = |why: &str| Extracted::Breaks(vec![format!("{why}, so none of them counts")]);
    let mut fits = candidates.iter().filter_map(|candidate| candidate.fit.as_ref().ok());
    let Some(first) = fits.next() else { return last(candidates, true) };
    if fits.any(|other| differ(first, other)) {
        return several();
    }
    if candidates.iter().any(|candidate| candidate.meant && candidate.fit.is_err()) {
        return breaks("it has a value that fits and another one that does not");
    }
    match candidates.into_iter().next_back() {
        Some(Candidate { fit: Ok(value), .. }) => Extracted::Fits(value),
        _ => breaks("it has a value that fits and another one behind it"),
    }
}

fn several() -> Extracted {
    Extracted::Breaks(vec!["it has several different values that fit, so none of them counts".to_owned()])
}

pub(super) fn differ(a: &Value, b: &Value) -> bool {
    a != b && canonical(a) != canonical(b)
}

/// The names of the fields that `schema` describes, including its alternatives.
fn fields<'a>(root: &'a Value, schema: &'a Value, depth: usize, names: &mut BTreeSet<&'a str>) {
    names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()));
    if depth == 0 {
        return;
    }
    let listed = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema[*key].as_array()).flatten();
    let meant = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?));
    for part in listed.take(64).chain(meant) {
        fields(root, part, depth - 1, names);
    }
}

/// The content of `text`, if it is one code fence.
fn lone_fence(text: &str) -> Option<&str> {
    let (_, inside) = text.strip_prefix("```")?.split_once('\n')?;
    inside.strip_suffix("```").filter(|inside| !inside.contains("```"))
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

/// The number in the text at `pointer`, if it is one. Called only for violations of the schema.
fn number_in_text(value: &mut Value, pointer: &str) {
    let Some(place) = value.pointer_mut(pointer) else { return };
    let number = place.as_str().and_then(|text| serde_json::from_str::<serde_json::Number>(text.trim()).ok());
    if let Some(number) = number {
        *place = Value::Number(number);
    }
}

#[cfg(test)]
#[path = "json_extract_tests.rs"]
mod tests;
