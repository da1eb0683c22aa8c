use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use indexmap::IndexMap;

use super::generator::{GENERATORS, Generator};
use super::json;
use crate::value::Value;

/// Captured and given values of a scenario. Placeholders are `{name}` or `{{name}}`. A placeholder without
/// a value stays as written, see [`Variables::missing`]. `{$uuid}` and so on are generated; `\\{name}` is
/// the literal text `{name}`.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    values: IndexMap<String, Value>,
    /// Names of values that come from the program under test, completely or in part.
    made: Arc<BTreeSet<String>>,
    /// Names that may get a value while the scenario runs.
    declared: Arc<BTreeSet<String>>,
    /// Reasons of failed captures, by name.
    missed: Arc<BTreeMap<String, String>>,
    generator: Arc<Generator>,
}

/// A placeholder found in a text: `(start, end, name)` in bytes.
pub type Placeholder<'t> = (usize, usize, &'t str);

/// Whether `name` may name a variable.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether `name` is valid in a placeholder: a variable, `$` and a word, or that with `:` and a name.
fn is_placeholder_name(name: &str) -> bool {
    match name.strip_prefix('$') {
        Some(made) => {
            made.split_once(':').map_or(is_name(made), |(word, label)| is_name(word) && is_name(label))
        }
        None => is_name(name),
    }
}

/// All `{name}` and `{{name}}` in `text`, in order, except after a backslash and in character classes of a
/// pattern (`\p{Lu}`).
pub fn placeholders(text: &str) -> Vec<Placeholder<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|i| at + i) {
        if text[..open].ends_with('\\') {
            at = text[open..].find(|c| c != '{').map_or(text.len(), |braces| open + braces);
            continue;
        }
        if text[..open].ends_with("\\p") || text[..open].ends_with("\\P") {
            at = open + 1;
            continue;
        }
        let double = text[open..].starts_with("{{");
        let hit = (double.then(|| placeholder(text, open, "{{", "}}")).flatten())
            .or_else(|| placeholder(text, open, "{", "}"));
        at = hit.map_or(open + 1, |(_, end, _)| end);
        found.extend(hit);
    }
    found
}

fn placeholder<'t>(text: &'t str, open: usize, left: &str, right: &str) -> Option<Placeholder<'t>> {
    if !text[open..].starts_with(left) {
        return None;
    }
    let inner = open + left.len();
    // Searches only to the end of the name, so that a text with many braces takes linear time.
    let close = inner + text[inner..].find(|c: char| !c.is_ascii_alphanumeric() && !"_$:".contains(c))?;
    let name = &text[inner..close];
    (text[close..].starts_with(right) && is_placeholder_name(name)).then_some((
        open,
        close + right.len(),
        name,
    ))
}

impl Variables {
    /// Variables with values from outside.
    pub fn given(values: IndexMap<String, Value>) -> Self {
        Self { values, ..Self::default() }
    }

    /// The variables with generated values of `generator`.
    #[must_use]
    pub fn generating(self, generator: Generator) -> Self {
        Self { generator: Arc::new(generator), ..self }
    }

    /// The variables and those of `values` that are not set yet.
    #[must_use]
    pub fn beside(self, values: &IndexMap<String, Value>) -> Self {
        let mut all: IndexMap<String, Value> =
            values.iter().map(|(name, value)| (name.clone(), self.fill_json(value))).collect();
        let made = self.made_with(values.iter().filter(|(name, _)| !self.values.contains_key(*name)));
        all.extend(self.values);
        Self { values: all, made, ..self }
    }

    /// The variables, overridden by `row`.
    #[must_use]
    pub fn under(&self, row: &IndexMap<String, Value>) -> Self {
        let mut values = self.values.clone();
        values.extend(row.iter().map(|(name, value)| (name.clone(), self.fill_json(value))));
        Self { values, made: self.made_with(row.iter()), ..self.clone() }
    }

    /// The variables, if the names `declared` may get a value later.
    #[must_use]
    pub fn declaring(self, declared: impl IntoIterator<Item = String>) -> Self {
        Self { declared: Arc::new(declared.into_iter().collect()), ..self }
    }

    /// The first placeholder in `text` without a value. In texts that often have braces for other reasons
    /// (`free`: shell, prose, patterns), only names that may get a value count as placeholders.
    pub fn missing(&self, text: &str, free: bool) -> Option<String> {
        let is_missing = |(start, _, name): &Placeholder<'_>| match name.strip_prefix('$') {
            _ if text[..*start].ends_with('$') => false,
            Some(made) => !free && !GENERATORS.contains(&made.split(':').next().unwrap_or_default()),
            None => !self.values.contains_key(*name) && (!free || self.declared.contains(*name)),
        };
        placeholders(text).into_iter().find(is_missing).map(|(_, _, name)| name.to_owned())
    }

    /// The first placeholder without a value in any text of `value`.
    pub fn missing_in(&self, value: &Value, free: bool) -> Option<String> {
        match value {
            Value::String(text) => self.missing(text, free),
            Value::Array(items) => items.iter().find_map(|item| self.missing_in(item, free)),
            Value::Object(table) => table
                .iter()
                .find_map(|(key, value)| self.missing(key, free).or_else(|| self.missing_in(value, free))),
            _ => None,
        }
    }

    /// All variables, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Sets `name` to `value`, which comes from the program under test. The last value wins.
    pub fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
        Arc::make_mut(&mut self.made).insert(name.to_owned());
    }

    /// Removes the value of `name` and records why the capture failed.
    pub fn miss(&mut self, name: &str, why: &str) {
        self.values.shift_remove(name);
        Arc::make_mut(&mut self.missed).insert(name.to_owned(), why.to_owned());
    }

    /// A message about the placeholder `name` in `place` (such as `` in `expect` ``), which has no value.
    pub fn unset(&self, name: &str, place: &str) -> String {
        match self.missed.get(name) {
            Some(why) => format!("`{{{name}}}`{place} has no value: it could not be captured: {why}"),
            None => format!("`{{{name}}}`{place} has no value: nothing was captured under this name"),
        }
    }

    /// Whether the value of `name` comes from the program under test, completely or in part.
    pub fn is_made(&self, name: &str) -> bool {
        self.made.contains(name)
    }

    /// Names of such values after `written` is added.
    fn made_with<'v>(&self, written: impl Iterator<Item = (&'v String, &'v Value)>) -> Arc<BTreeSet<String>> {
        let mut made = Arc::clone(&self.made);
        for (name, value) in written {
            let has_part = self.mentions_made(value);
            if has_part != made.contains(name) {
                let made = Arc::make_mut(&mut made);
                if has_part {
                    made.insert(name.clone())
                } else {
                    made.remove(name)
                };
            }
        }
        made
    }

    /// Whether any placeholder in `value` has a value from the program under test.
    fn mentions_made(&self, value: &Value) -> bool {
        let in_text = |text: &str| placeholders(text).into_iter().any(|(_, _, name)| self.is_made(name));
        match value {
            Value::String(text) => in_text(text),
            Value::Array(items) => items.iter().any(|item| self.mentions_made(item)),
            Value::Object(table) => {
                table.iter().any(|(key, value)| in_text(key) || self.mentions_made(value))
            }
            _ => false,
        }
    }

    /// The value of `name`, if it has one that is not generated.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value of `name` as text.
    pub fn text(&self, name: &str) -> Option<String> {
        match name.strip_prefix('$') {
            Some(word) => self.generator.make(word).as_ref().map(as_text),
            None => self.values.get(name).map(as_text),
        }
    }

    /// `text` with every known placeholder replaced. Placeholders in values are not replaced.
    pub fn fill<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.fill_with(text, |value| value)
    }

    /// Like [`Variables::fill`], but values are escaped for a regular expression.
    pub fn fill_pattern<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.fill_with(text, |value| regex::escape(&value))
    }

    /// Like [`Variables::fill`], but values are JSON, with texts escaped but without quotes.
    pub fn fill_escaped<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.fill_with(text, |value| {
            let quoted = Value::String(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        })
    }

    /// Like [`Variables::fill`], but only for names and values for which `fit` returns true; other
    /// placeholders stay.
    pub fn fill_words(&self, text: &str, fit: &dyn Fn(&str, &str) -> bool) -> String {
        let mut filled = String::new();
        let mut copied = 0;
        let mut known: HashMap<&str, Option<String>> = HashMap::new();
        for (start, end, name) in placeholders(text) {
            let fitting = || self.text(name).filter(|value| fit(name, value));
            let value = if name.starts_with('$') {
                self.text(name)
            } else {
                known.entry(name).or_insert_with(fitting).clone()
            };
            if let Some(value) = value {
                filled.push_str(&plain(&text[copied..start]));
                filled.push_str(&value);
                copied = end;
            }
        }
        filled.push_str(&plain(&text[copied..]));
        filled
    }

    fn fill_with<'t>(&self, text: &'t str, written: impl Fn(String) -> String) -> Cow<'t, str> {
        let mut filled = String::new();
        let mut copied = 0;
        for (start, end, name) in placeholders(text) {
            if let Some(value) = self.text(name) {
                filled.push_str(&plain(&text[copied..start]));
                filled.push_str(&written(value));
                copied = end;
            }
        }
        if copied == 0 {
            return plain(text);
        }
        filled.push_str(&plain(&text[copied..]));
        Cow::Owned(filled)
    }

    /// `value` with placeholders replaced in all its texts and keys. A number becomes text if its
    /// placeholder is only a part of a text.
    pub fn fill_json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text).into_owned()),
            Value::Array(items) => items.iter().map(|item| self.fill_json(item)).collect(),
            Value::Object(table) => table
                .iter()
                .map(|(key, value)| (self.fill(key).into_owned(), self.fill_json(value)))
                .collect(),
            leaf => leaf.clone(),
        }
    }
}

/// `text` without the backslashes that escape `{name}`; other backslashes stay.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains("\\{") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\{") {
        let braced = &rest[at + 1..];
        let hidden = placeholder(braced, 0, "{", "}").or_else(|| placeholder(braced, 0, "{{", "}}"));
        let keep = if hidden.is_some() { at } else { at + 1 };
        plain.push_str(&rest[..keep]);
        plain.push('{');
        rest = &braced[1..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// A captured value as text: text unchanged, whole numbers without decimals, lists and mappings as JSON.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 1e15")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                (float as i64).to_string()
            }
            _ => number.to_string(),
        },
        other => json::text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        variables.set("id", json!(42.0));
        variables.set("name", json!("say \"{id}\"\n"));
        variables
    }

    #[test]
    fn placeholders_are_replaced_once_and_unknown_ones_stay() {
        let variables = variables();
        assert_eq!(variables.fill("/items/{id}?q={other}"), "/items/42?q={other}");
        assert_eq!(variables.fill("/items/{{id}}/{{other}}"), "/items/42/{{other}}");
        assert_eq!(variables.fill("{name}"), "say \"{id}\"\n");
        assert_eq!(
            variables.fill("{\"a\": {id}, \"b\": {}} {1} { id }"),
            "{\"a\": 42, \"b\": {}} {1} { id }"
        );
        assert_eq!(variables.fill("{{{id}}}"), "{42}");
    }

    #[test]
    fn values_in_json_are_escaped_and_in_patterns_literal() {
        let filled = variables().fill_json(&json!({"t": "{name}", "n": ["{id}"], "{id}": 1}));
        assert_eq!(filled.to_string(), r#"{"t":"say \"{id}\"\n","n":["42"],"42":1}"#);
        let mut dots = Variables::default();
        dots.set("v", json!("1.2"));
        assert_eq!(dots.fill_pattern("^v{v}{2}$"), "^v1\\.2{2}$");
        let filled = variables().fill_escaped(r#"{"t": "{name}", "n": {id}}"#).into_owned();
        assert_eq!(filled, r#"{"t": "say \"{id}\"\n", "n": 42}"#);
    }

    #[test]
    fn a_backslash_makes_a_placeholder_text() {
        let variables = variables();
        assert_eq!(variables.fill("\\{id} is {id}"), "{id} is 42");
        assert_eq!(variables.fill("\\{{id}} \\{other}"), "{{id}} {other}");
        assert_eq!(variables.fill(r"^\{ [0-9]\{2}"), r"^\{ [0-9]\{2}", "patterns keep theirs");
    }

    #[test]
    fn made_up_values_and_rows() {
        let variables = variables().generating(Generator::new("seed", 0));
        assert_eq!(variables.fill("{$uuid:a}"), variables.fill("{$uuid:a}"));
        assert_eq!(variables.fill("{$nothing} {$}"), "{$nothing} {$}");
        let row = [("id".to_owned(), json!("row {name}"))].into_iter().collect();
        assert_eq!(variables.under(&row).fill("{id}"), "row say \"{id}\"\n");
        assert_eq!(variables.beside(&row).fill("{id}"), "42");
    }

    #[test]
    fn what_the_program_has_a_part_in_is_known() {
        let row = |entries: &[(&str, Value)]| -> IndexMap<String, Value> {
            entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let given = Variables::given(row(&[("own", json!("x"))]));
        let mut variables = given.beside(&row(&[("other", json!("y"))]));
        assert!(!variables.is_made("own") && !variables.is_made("other"));
        variables.set("id", json!("z"));
        let under = variables.under(&row(&[("path", json!(["/{id}"])), ("plain", json!("{own}"))]));
        assert!(under.is_made("id") && under.is_made("path") && !under.is_made("plain"));
        let hidden = under.under(&row(&[("id", json!("mine"))]));
        assert!(!hidden.is_made("id") && hidden.is_made("path"));
    }

    #[test]
    fn numbers_as_text() {
        assert_eq!(as_text(&json!(1.5)), "1.5");
        assert_eq!(as_text(&json!(3.0)), "3");
        assert_eq!(as_text(&json!(null)), "null");
        assert_eq!(as_text(&json!([1, "a"])), r#"[1,"a"]"#);
    }
}
