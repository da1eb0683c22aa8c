use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::expr::Step;
use crate::value::Value;

/// What is known at load of a value that a run will make.
#[derive(Clone, Default)]
pub(super) enum Shape {
    /// Nothing.
    #[default]
    Any,
    /// An object with these fields, of which nothing is known.
    Fields(Arc<[String]>),
    /// It fits a JSON Schema.
    Schema(Arc<Value>),
}

impl Shape {
    pub(super) fn fields<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Fields(names.into_iter().map(Into::into).collect())
    }

    /// Something that fits `schema`, with further fields where it is an object that may have them.
    pub(super) fn of(schema: &Arc<Value>, further: &[&str]) -> Self {
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        if further.is_empty() || closed || schema.get("properties").is_none_or(|known| !known.is_object()) {
            return Self::Schema(schema.clone());
        }
        let mut fuller = schema.as_ref().clone();
        for name in further {
            if fuller["properties"].get(name).is_none() {
                fuller["properties"][*name] = Value::Object(serde_json::Map::new());
            }
        }
        Self::Schema(Arc::new(fuller))
    }

    /// The first step of `path` that names a field which there cannot be, and the fields there are.
    pub(super) fn first_unknown(&self, path: &[Step]) -> Option<(usize, Vec<String>)> {
        match self {
            Self::Any => None,
            Self::Fields(known) => match path.first() {
                Some(Step::Key(key)) if !known.contains(key) => Some((0, known.to_vec())),
                _ => None,
            },
            Self::Schema(root) => {
                let mut here = vec![root.as_ref()];
                for (at, step) in path.iter().enumerate() {
                    here = match step {
                        Step::Key(key) => match property(&here, key, root) {
                            Property::Known(inner) => inner,
                            Property::Open => return None,
                            Property::Unknown(known) => return Some((at, known)),
                        },
                        Step::Index(_) => {
                            let variants = here.iter().flat_map(|schema| variants(schema, root, 0));
                            variants.filter_map(|schema| schema.get("items")).collect()
                        }
                        Step::Dynamic => return None,
                    };
                    if here.is_empty() {
                        return None;
                    }
                }
                None
            }
        }
    }
}

enum Property<'a> {
    Known(Vec<&'a Value>),
    Open,
    Unknown(Vec<String>),
}

fn property<'a>(schemas: &[&'a Value], key: &str, root: &'a Value) -> Property<'a> {
    let (mut inner, mut known, mut open) = (Vec::new(), BTreeSet::new(), false);
    for schema in schemas.iter().flat_map(|schema| variants(schema, root, 0)) {
        match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => {
                inner.extend(properties.get(key));
                known.extend(properties.keys().cloned());
                open |= schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false))
                    || schema.get("patternProperties").is_some();
            }
            // A plain value has no fields at all; anything else may have any.
            None if plain(schema) => {}
            None => open = true,
        }
    }
    if !inner.is_empty() {
        Property::Known(inner)
    } else if open || known.is_empty() {
        Property::Open
    } else {
        Property::Unknown(known.into_iter().collect())
    }
}

fn plain(schema: &Value) -> bool {
    let scalar = |word: &Value| word.as_str().is_some_and(|word| word != "object");
    match schema.get("type") {
        Some(Value::Array(words)) => words.iter().all(scalar),
        Some(word) => scalar(word),
        None => schema.get("const").is_some() || schema.get("enum").is_some(),
    }
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
    use serde_json::json;

    fn keys(path: &[&str]) -> Vec<Step> {
        path.iter().map(|key| Step::Key((*key).to_owned())).collect()
    }

    #[test]
    fn fields_are_known_through_references_and_alternatives() {
        let shape = Shape::Schema(Arc::new(json!({
            "type": "object",
            "properties": {
                "score": {"type": "number"},
                "part": {"anyOf": [{"$ref": "#/$defs/part"}, {"type": "null"}]},
                "open": {"type": "object"},
                "list": {"type": "array", "items": {"$ref": "#/$defs/part"}},
            },
            "$defs": {"part": {"type": "object", "properties": {"name": {"type": "string"}}}},
        })));
        assert!(shape.first_unknown(&keys(&["score"])).is_none());
        assert_eq!(shape.first_unknown(&keys(&["scroe"])).map(|(at, _)| at), Some(0));
        assert_eq!(shape.first_unknown(&keys(&["part", "nmae"])).map(|(at, _)| at), Some(1));
        assert!(shape.first_unknown(&keys(&["part", "name"])).is_none());
        assert!(shape.first_unknown(&keys(&["open", "anything"])).is_none());
        let mut path = keys(&["list"]);
        path.extend([Step::Index(0), Step::Key("x".to_owned())]);
        assert_eq!(shape.first_unknown(&path).map(|(at, _)| at), Some(2));
    }
}
