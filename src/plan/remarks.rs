//! What verbs say of their inputs before a run, and models that are the defaults of inputs.

use super::resolve::Resolver;
use super::types::InputKind;
use crate::diag::{Code, Diagnostic};
use crate::model::{Raw, Use};
use crate::value::Value;
use crate::verb::Remark;

impl Resolver<'_, '_> {
    /// Passes on what a verb says of its input.
    pub(super) fn remark(&mut self, used: &Use, remark: Remark) {
        let node = used.with.table().and_then(|table| table.get(remark.key)).map(|entry| &entry.node);
        let item = node.and_then(|node| match (&node.value, remark.item) {
            (Raw::List(items), Some(item)) => items.get(item),
            _ => None,
        });
        let span = item.or(node).map_or(used.name.span, |node| node.span);
        let warning = Diagnostic::new(Code::Refused, remark.message).at(span, "").help(remark.help);
        self.loader.found.push(warning);
    }

    /// The input of a verb, where a template that is nothing but an input which is a model is the default of that. Defaults
    /// that are unknown stay templates: the input has its own complaint.
    pub(super) fn with_defaults(&self, with: Value) -> Value {
        match with {
            Value::String(text) => Value::String(self.default_model(&text).unwrap_or(text)),
            Value::Array(items) => items.into_iter().map(|item| self.with_defaults(item)).collect(),
            Value::Object(table) => {
                table.into_iter().map(|(key, value)| (key, self.with_defaults(value))).collect()
            }
            other => other,
        }
    }

    fn default_model(&self, text: &str) -> Option<String> {
        let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("inputs.")?;
        let input = self.inputs.get(name).filter(|input| input.kind == InputKind::Model)?;
        let model = input.default.as_str()?;
        self.loader.catalog.unknown_model(model).is_none().then(|| model.to_owned())
    }
}
