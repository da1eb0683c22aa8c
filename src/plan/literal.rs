use std::collections::HashMap;

use super::shape::variants;
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::Shape;
use crate::model::{Node, Raw};
use crate::value::Value;

/// Complains where what is written of an input can be seen not to fit `schema`, before anything is rendered:
/// unknown and missing keys, and literals of the wrong type. `owner` is the verb or resource, `at` its key.
/// `made` says what is known of what its templates make.
pub(super) fn check(
    node: &Node,
    schema: &Value,
    (owner, at): (&str, Span),
    made: &HashMap<Span, Shape>,
    found: &mut Vec<Diagnostic>,
) {
    let mut check = Check { root: schema, owner, made, found: Vec::new() };
    check.value(node, schema, owner, at);
    found.append(&mut check.found);
}

struct Check<'a> {
    root: &'a Value,
    owner: &'a str,
    made: &'a HashMap<Span, Shape>,
    found: Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    fn value(&mut self, node: &Node, schema: &'a Value, name: &str, at: Span) {
        if let Raw::Text(text) = &node.value
            && (text.trim().starts_with("{{") && text.trim().ends_with("}}"))
        {
            return self.made(node, schema, name);
        }
        let all = variants(schema, self.root, 0);
        let mixed = matches!(&node.value, Raw::Text(text) if text.contains("{{") || text.contains("{%"));
        let fitting: Vec<&Value> = all.iter().copied().filter(|schema| kind_fits(node, schema)).collect();
        if fitting.is_empty() {
            let expected = nouns(&all);
            self.found.push(
                Diagnostic::new(
                    Code::VerbKeyType,
                    format!("`{name}` must be {expected}, this is {}", node.noun()),
                )
                .at(node.span, format!("expected {expected}"))
                .help(format!("`atoll explain verb {}` describes it", self.owner)),
            );
            return;
        }
        match &node.value {
            Raw::Table(_) => self.table(node, &meant(node, fitting), name, at),
            Raw::List(items) => {
                let element = fitting.iter().find_map(|schema| schema.get("items"));
                for item in items {
                    if let Some(element) = element {
                        self.value(item, element, name, item.span);
                    }
                }
            }
            Raw::Text(word) if !mixed => self.word(node, &fitting, name, word),
            Raw::Int(_) | Raw::Float(_) => self.number(node, &fitting, name),
            _ => {}
        }
    }

    /// A template that is one expression, of which something may be known.
    fn made(&mut self, node: &Node, schema: &'a Value, name: &str) {
        let Some(shape) = self.made.get(&node.span).filter(|shape| **shape != Shape::Any) else { return };
        let all = variants(schema, self.root, 0);
        if all.iter().any(|schema| shape_fits(shape, schema)) {
            return;
        }
        let expected = nouns(&all);
        let complaint = Diagnostic::new(
            Code::VerbKeyType,
            format!("`{name}` must be {expected}, this is {}", shape.noun()),
        )
        .at(node.span, format!("expected {expected}"));
        let fields: Vec<&str> = shape.variants().iter().flat_map(fields).collect();
        let text = node.text().map(|text| text.text).unwrap_or_default();
        let path = text.trim().trim_start_matches("{{").trim_end_matches("}}").trim().to_owned();
        let field = ["path", "text", "tree", "output"].into_iter().find(|field| fields.contains(field));
        self.found.push(complaint.help(match field {
            Some(field) if expected == "text" => format!("write `{{{{ {path}.{field} }}}}`"),
            _ => format!("`atoll explain verb {}` describes it", self.owner),
        }));
    }

    fn table(&mut self, node: &Node, fitting: &[&'a Value], name: &str, at: Span) {
        let Some(table) = node.table() else { return };
        let with_keys: Vec<&Value> =
            fitting.iter().copied().filter(|s| s.get("properties").is_some()).collect();
        let closed = |schema: &&Value| schema.get("additionalProperties") == Some(&Value::Bool(false));
        let keys =
            |schema: &'a Value| schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let all_closed = !with_keys.is_empty() && fitting.iter().all(closed);
        for (key, entry) in table {
            let inner = with_keys.iter().find_map(|schema| schema.get("properties")?.get(key));
            let others = || {
                fitting.iter().find_map(|schema| schema.get("additionalProperties").filter(|s| s.is_object()))
            };
            if let Some(inner) = inner.or_else(others) {
                self.value(&entry.node, inner, key, entry.key);
            } else if all_closed {
                let known: Vec<&str> =
                    with_keys.iter().flat_map(|schema| keys(schema)).map(|(key, _)| key.as_str()).collect();
                self.found.push(
                    Diagnostic::new(Code::UnknownVerbKey, format!("`{name}` takes no key `{key}`"))
                        .at(entry.key, "unknown key")
                        .suggest(key, known),
                );
            }
        }
        let [schema] = fitting else { return };
        for key in
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            if !table.contains_key(key) {
                let about = schema.pointer(&format!("/properties/{key}/description")).and_then(Value::as_str);
                let help = about.map_or_else(
                    || format!("add `{key}`; `atoll explain verb {}` describes it", self.owner),
                    |about| format!("add `{key}`: {}", about.lines().next().unwrap_or_default()),
                );
                self.found.push(
                    Diagnostic::new(Code::MissingVerbKey, format!("`{name}` needs `{key}`"))
                        .at(at, format!("without `{key}`"))
                        .help(help),
                );
            }
        }
    }

    fn word(&mut self, node: &Node, fitting: &[&'a Value], name: &str, word: &str) {
        let mut words = Vec::new();
        for schema in fitting {
            match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
                (Some(word), _) => words.extend(word.as_str()),
                (None, Some(all)) => words.extend(all.iter().filter_map(Value::as_str)),
                (None, None) => return,
            }
        }
        if !words.contains(&word) {
            self.found.push(
                Diagnostic::new(Code::VerbKeyType, format!("`{name}` cannot be `{word}`"))
                    .at(node.span, "not one of its words")
                    .suggest(word, words),
            );
        }
    }

    fn number(&mut self, node: &Node, fitting: &[&'a Value], name: &str) {
        let Some(number) = node.to_value().as_f64() else { return };
        let bound = |key: &str| fitting.iter().find_map(|schema| schema.get(key)).and_then(Value::as_f64);
        let wrong = match (bound("minimum"), bound("maximum")) {
            (Some(min), _) if number < min => Some(format!("at least {min}")),
            (_, Some(max)) if number > max => Some(format!("at most {max}")),
            _ => None,
        };
        if let Some(bounds) = wrong {
            self.found.push(
                Diagnostic::new(Code::VerbKeyType, format!("`{name}` must be {bounds}, this is {number}"))
                    .at(node.span, "out of range")
                    .help(format!("give a number of {bounds}")),
            );
        }
    }
}

/// Of tables that a constant tells apart, those whose constants are written; all where none is.
fn meant<'a>(node: &Node, fitting: Vec<&'a Value>) -> Vec<&'a Value> {
    let written =
        |key: &str| node.table().and_then(|table| table.get(key)).map(|entry| entry.node.to_value());
    let is_meant = |schema: &Value| {
        let keys = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        keys.filter_map(|(key, about)| Some((key, about.get("const")?)))
            .all(|(key, word)| written(key).is_none_or(|value| value == *word))
    };
    let meant: Vec<&Value> = fitting.iter().copied().filter(|schema| is_meant(schema)).collect();
    if meant.is_empty() { fitting } else { meant }
}

fn fields(shape: &Shape) -> Vec<&str> {
    match shape {
        Shape::Table(fields) => fields.known.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value of this shape may be what `schema` asks for.
fn shape_fits(shape: &Shape, schema: &Value) -> bool {
    let fits = |word: &str| {
        shape.may(|shape| match shape {
            Shape::None => word == "null",
            Shape::Bool => word == "boolean",
            Shape::Number => matches!(word, "integer" | "number"),
            Shape::Text => word == "string",
            Shape::List(_) => word == "array",
            Shape::Table(_) => word == "object",
            Shape::Any | Shape::OneOf(_) => true,
        })
    };
    match schema.get("type") {
        Some(Value::String(word)) => fits(word),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).any(fits),
        _ => match schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            Some(Value::String(_)) => fits("string"),
            _ => *schema != Value::Bool(false),
        },
    }
}

fn kind_fits(node: &Node, schema: &Value) -> bool {
    let fits = |word: &str| match (&node.value, word) {
        (Raw::Text(_) | Raw::Date(_), "string")
        | (Raw::Int(_), "integer" | "number")
        | (Raw::Float(_), "number")
        | (Raw::Bool(_), "boolean")
        | (Raw::List(_), "array")
        | (Raw::Table(_), "object") => true,
        (Raw::Float(number), "integer") => number.fract() == 0.0,
        _ => false,
    };
    match schema.get("type") {
        Some(Value::String(word)) => fits(word),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).any(fits),
        _ => match schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            Some(Value::String(_)) => fits("string"),
            _ => *schema != Value::Bool(false),
        },
    }
}

fn nouns(schemas: &[&Value]) -> String {
    let mut nouns: Vec<&str> = Vec::new();
    for schema in schemas {
        let words: Vec<&str> = match schema.get("type") {
            Some(Value::String(word)) => vec![word],
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => vec!["string"],
        };
        for word in words {
            let noun = match word {
                "string" => "text",
                "integer" => "a whole number",
                "number" => "a number",
                "boolean" => "`true` or `false`",
                "array" => "a list",
                "object" => "a table",
                _ => continue,
            };
            if !nouns.contains(&noun) {
                nouns.push(noun);
            }
        }
    }
    nouns.join(" or ")
}
