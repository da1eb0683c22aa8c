//! What JSON Schemas, inputs and control steps say of the values that a run will make.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::types::{Input, InputKind};
use crate::expr::{KnownFields, Shape, Step};
use crate::meter::Unit;
use crate::value::Value;

/// How many parts of a schema are looked at.
const MOST: usize = 20_000;

/// Something that fits `schema`, with `further` fields where it is an object that may have them.
pub(super) fn of_schema(schema: &Value, further: &[&str]) -> Shape {
    let shape = Reading { root: schema, targets: HashMap::new(), seen: 0 }.read(schema);
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    match shape {
        Shape::Table(fields) if !further.is_empty() && !closed => {
            let mut fields = fields.as_ref().clone();
            for name in further {
                fields.known.entry((*name).to_owned()).or_default();
            }
            Shape::Table(Arc::new(fields))
        }
        other => other,
    }
}

struct Reading<'a> {
    root: &'a Value,
    /// By reference: what it stands for; none while that is being read.
    targets: HashMap<&'a str, Option<Shape>>,
    seen: usize,
}

impl<'a> Reading<'a> {
    fn read(&mut self, schema: &'a Value) -> Shape {
        self.seen += 1;
        if self.seen > MOST {
            return Shape::Any;
        }
        let mut parts = Vec::new();
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            parts.push(self.target(target));
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for inner in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                parts.push(self.read(inner));
            }
        }
        if parts.is_empty() || schema.get("properties").is_some() {
            parts.push(self.own(schema));
        }
        Shape::one_of(parts)
    }

    fn target(&mut self, target: &'a str) -> Shape {
        if let Some(known) = self.targets.get(target) {
            return known.clone().unwrap_or_default();
        }
        let Some(inner) = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
            return Shape::Any;
        };
        self.targets.insert(target, None);
        let shape = self.read(inner);
        self.targets.insert(target, Some(shape.clone()));
        shape
    }

    fn own(&mut self, schema: &'a Value) -> Shape {
        match schema.get("type") {
            Some(Value::String(word)) => self.typed(word, schema),
            Some(Value::Array(words)) => {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                let shapes: Vec<Shape> = words.into_iter().map(|word| self.typed(word, schema)).collect();
                Shape::one_of(shapes)
            }
            _ if schema.get("properties").is_some() => self.typed("object", schema),
            _ => match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
                (Some(value), _) => of_value(value),
                (None, Some(values)) => Shape::one_of(values.iter().map(of_value)),
                (None, None) => Shape::Any,
            },
        }
    }

    fn typed(&mut self, word: &str, schema: &'a Value) -> Shape {
        match word {
            "string" => Shape::Text,
            "integer" | "number" => Shape::Number,
            "boolean" => Shape::Bool,
            "null" => Shape::None,
            "array" => {
                let plain = schema.get("prefixItems").is_none();
                Shape::list(
                    schema.get("items").filter(|_| plain).map_or(Shape::Any, |items| self.read(items)),
                )
            }
            "object" => {
                let properties = schema.get("properties").and_then(Value::as_object);
                let more = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
                let open = properties.is_none() || more || schema.get("patternProperties").is_some();
                let known = properties.into_iter().flatten();
                let known = known.map(|(name, inner)| (name.clone(), self.read(inner))).collect();
                Shape::Table(Arc::new(KnownFields { known, open }))
            }
            _ => Shape::Any,
        }
    }
}

/// What is known of a value that is what it is.
pub(super) fn of_value(value: &Value) -> Shape {
    match value {
        Value::Null => Shape::None,
        Value::Bool(_) => Shape::Bool,
        Value::Number(_) => Shape::Number,
        Value::String(_) => Shape::Text,
        Value::Array(items) => Shape::list(Shape::one_of(items.iter().map(of_value))),
        Value::Object(table) => Shape::table(table.iter().map(|(name, value)| (name, of_value(value)))),
    }
}

/// What an input is in a run.
pub(super) fn of_input(input: &Input) -> Shape {
    let shape = match &input.kind {
        InputKind::File => Shape::table(["path", "name", "text", "digest"].map(|name| (name, Shape::Text))),
        InputKind::FilePath => Shape::table(["path", "name", "digest"].map(|name| (name, Shape::Text))),
        InputKind::Dir | InputKind::Path => {
            let text = |name: &'static str| (name, Shape::Text);
            let file = Shape::table([text("path"), ("size", Shape::Number), text("digest")]);
            Shape::table([text("path"), text("digest"), ("files", Shape::list(file))])
        }
        InputKind::Json => Shape::Any,
        InputKind::List => Shape::list(Shape::Any),
        InputKind::Bool => Shape::Bool,
        InputKind::Int | InputKind::Number | InputKind::Usd | InputKind::Duration => Shape::Number,
        InputKind::String
        | InputKind::OutputPath
        | InputKind::Enum(_)
        | InputKind::Model
        | InputKind::Secret => Shape::Text,
    };
    if input.required || !input.default.is_null() { shape } else { shape.or_none() }
}

/// Whether `path` is an input that is a number, need not be given and may be 0.
pub(super) fn may_be_zero_or_none(inputs: &IndexMap<String, Input>, path: &[Step]) -> bool {
    let [Step::Key(root), Step::Key(name)] = path else { return false };
    let Some(input) = inputs.get(name).filter(|_| root == "inputs") else { return false };
    let has_zero = input.min.is_none_or(|min| min <= 0.0) && input.max.is_none_or(|max| max >= 0.0);
    has_zero && of_input(input) == Shape::Number.or_none()
}

/// What was spent, as expressions see it.
pub(super) fn spent() -> Shape {
    Shape::table([Unit::Usd, Unit::Tokens, Unit::Calls].map(|unit| (unit.word(), Shape::Number)))
}

/// The same of one step, with seconds of work.
pub(super) fn spent_by_step() -> Shape {
    Shape::table([Unit::Usd, Unit::Tokens, Unit::Calls, Unit::Wall].map(|unit| (unit.word(), Shape::Number)))
}

/// A failure, as expressions see it.
pub(super) fn failure() -> Shape {
    let hint = Shape::Text.or_none();
    Shape::table([("class", Shape::Text), ("message", Shape::Text), ("hint", hint), ("detail", Shape::Any)])
}

/// `failed` of an `each`.
pub(super) fn failed_items() -> Shape {
    let index = Shape::Number.or_none();
    Shape::list(Shape::table([("index", index), ("key", Shape::Any), ("error", failure())]))
}

/// `items` of an `each` whose items leave `output` behind.
pub(super) fn all_items(output: Shape) -> Shape {
    Shape::list(Shape::table([
        ("index", Shape::Number),
        ("key", Shape::Any),
        ("ok", Shape::Bool),
        ("skipped", Shape::Bool),
        ("output", output.or_none()),
        ("error", failure().or_none()),
    ]))
}

/// The output of a loop with such a result.
pub(super) fn of_loop(result: &Shape) -> Shape {
    let outputs = result.variants().iter().map(|shape| {
        let mut fields = match shape {
            Shape::Any => return Shape::Any,
            Shape::Table(fields) => fields.as_ref().clone(),
            other => KnownFields {
                known: [("result".to_owned(), other.clone())].into_iter().collect(),
                open: false,
            },
        };
        fields.known.insert("status".to_owned(), Shape::Text);
        fields.known.insert("rounds".to_owned(), Shape::Number);
        Shape::Table(Arc::new(fields))
    });
    Shape::one_of(outputs.collect::<Vec<_>>())
}

/// The schemas that `schema` stands for: references followed, alternatives and parts side by side, each once.
pub(super) fn variants<'a>(schema: &'a Value, root: &'a Value, depth: usize) -> Vec<&'a Value> {
    let mut all = Vec::new();
    follow(schema, root, depth, &mut HashSet::new(), &mut all);
    all
}

fn follow<'a>(
    schema: &'a Value,
    root: &'a Value,
    depth: usize,
    seen: &mut HashSet<*const Value>,
    all: &mut Vec<&'a Value>,
) {
    if !seen.insert(schema) {
        return;
    }
    if depth > 16 {
        all.push(schema);
        return;
    }
    let target =
        schema.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
    let listed = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let mut leads = false;
    for inner in target.into_iter().chain(listed) {
        leads = true;
        follow(inner, root, depth + 1, seen, all);
    }
    if !leads || schema.get("properties").is_some() {
        all.push(schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Step;
    use serde_json::json;

    fn keys(path: &[&str]) -> Vec<Step> {
        path.iter().map(|key| Step::Key((*key).to_owned())).collect()
    }

    #[test]
    fn fields_are_known_through_references_and_alternatives() {
        let shape = of_schema(
            &json!({
                "type": "object",
                "properties": {
                    "score": {"type": "number"},
                    "part": {"anyOf": [{"$ref": "#/$defs/part"}, {"type": "null"}]},
                    "open": {"type": "object"},
                    "list": {"type": "array", "items": {"$ref": "#/$defs/part"}},
                    "self": {"$ref": "#"},
                },
                "$defs": {"part": {"type": "object", "properties": {"name": {"type": "string"}}}},
            }),
            &["more"],
        );
        let wrong = |path: &[&str]| shape.walk(&keys(path)).err().map(|wrong| wrong.at);
        assert_eq!(wrong(&["score"]), None);
        assert_eq!(wrong(&["scroe"]), Some(0));
        assert_eq!(wrong(&["score", "x"]), Some(1));
        assert_eq!(wrong(&["part", "nmae"]), Some(1));
        assert_eq!(wrong(&["part", "name"]), None);
        assert_eq!(wrong(&["open", "anything"]), None);
        assert_eq!(wrong(&["more", "anything"]), None);
        assert_eq!(wrong(&["self", "self"]), None);
        let mut path = keys(&["list"]);
        path.extend([Step::Index(0), Step::Key("x".to_owned())]);
        assert_eq!(shape.walk(&path).err().map(|wrong| wrong.at), Some(2));
    }

    #[test]
    fn nested_alternatives_are_read_once_each() {
        let mut defs = serde_json::Map::new();
        for n in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            defs.insert(format!("d{n}"), json!({"anyOf": [next, next, next]}));
        }
        defs.insert("d40".to_owned(), json!({"type": "string"}));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": defs});
        assert_eq!(of_schema(&schema, &[]), Shape::Text);
        assert!(variants(&schema, &schema, 0).len() < 2_000);
    }
}
