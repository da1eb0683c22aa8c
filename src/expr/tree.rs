//! A verb's input before it is rendered: JSON whose strings are templates.

use std::sync::Arc;

use indexmap::IndexMap;

use super::extent::HINT;
use super::fault::{EvalError, Fault};
use super::functions::Functions;
use super::refs::Ref;
use super::scope::Scope;
use super::template::Template;
use crate::value::{Extent, Value, unrecordable};

/// JSON with templates in it.
#[derive(Clone, Debug)]
pub enum Tree {
    /// A value that is what it is.
    Literal(Value),
    /// A string with expressions in it.
    Template(Template),
    /// A list.
    List(Vec<Tree>),
    /// An object.
    Table(IndexMap<String, Tree>),
}

impl Tree {
    /// Reads every string of `value` as a template. A fault comes with the JSON pointer of its string.
    pub fn parse(
        value: &Value,
        functions: &Arc<Functions>,
        includes: &dyn Fn(&str) -> Option<Arc<str>>,
    ) -> Result<Self, Vec<(String, Fault)>> {
        let mut faults = Vec::new();
        let tree = build(value, "", functions, includes, &mut faults);
        if faults.is_empty() { Ok(tree) } else { Err(faults) }
    }

    /// The value with every template rendered.
    pub fn render(&self, scope: &Scope) -> Result<Value, EvalError> {
        let (mut size, mut last) = (0, "");
        let value = self.rendered(scope, &mut size, &mut last)?;
        match unrecordable("the value", &value) {
            Some(why) => Err(EvalError::new(last, why, Some(HINT.to_owned()))),
            None => Ok(value),
        }
    }

    /// The same; `size` is that of all that was rendered, and `last` the template that was rendered last.
    fn rendered<'t>(&'t self, scope: &Scope, size: &mut u64, last: &mut &'t str) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Template(template) => {
                let data = template.render(scope)?;
                *last = template.text();
                let whole = Extent { depth: 0, size: size.saturating_add(data.extent().size) };
                if let Some(why) = whole.fault() {
                    let message = format!("the value of all texts together is {why}");
                    return Err(EvalError::new(last, message, Some(HINT.to_owned())));
                }
                *size = whole.size;
                data.to_value()
            }
            Self::List(items) => Value::Array(
                items.iter().map(|item| item.rendered(scope, size, last)).collect::<Result<_, _>>()?,
            ),
            Self::Table(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, tree)| Ok((key.clone(), tree.rendered(scope, size, last)?)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    /// The values it reads, in the order of the text.
    pub fn refs(&self) -> Vec<&Ref> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Template(template) => template.refs().iter().collect(),
            Self::List(items) => items.iter().flat_map(Self::refs).collect(),
            Self::Table(entries) => entries.values().flat_map(Self::refs).collect(),
        }
    }
}

fn build(
    value: &Value,
    pointer: &str,
    functions: &Arc<Functions>,
    includes: &dyn Fn(&str) -> Option<Arc<str>>,
    faults: &mut Vec<(String, Fault)>,
) -> Tree {
    match value {
        Value::String(text) => match Template::parse(text, functions, includes) {
            Ok(template) => match template.literal() {
                Some(text) => Tree::Literal(Value::from(text)),
                None => Tree::Template(template),
            },
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| (pointer.to_owned(), fault)));
                Tree::Literal(Value::Null)
            }
        },
        Value::Array(items) => Tree::List(
            items
                .iter()
                .enumerate()
                .map(|(i, item)| build(item, &format!("{pointer}/{i}"), functions, includes, faults))
                .collect(),
        ),
        Value::Object(table) => Tree::Table(
            table
                .iter()
                .map(|(key, value)| {
                    let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    (key.clone(), build(value, &pointer, functions, includes, faults))
                })
                .collect(),
        ),
        leaf => Tree::Literal(leaf.clone()),
    }
}
