//! What verbs say of their inputs before a run, and models that are the defaults of inputs.

use super::resolve::Resolver;
use super::types::InputKind;
use crate::diag::{Code, Diagnostic};
use crate::expr::{Shape, Tree};
use crate::model::{Node, Raw, Use};
use crate::value::Value;
use crate::verb::{InputDraft, OpenTemplate, Refusal, Remark, pointer};

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

    /// Complains about what of an input an attempt would refuse, whatever its templates become.
    pub(super) fn refuse(&mut self, used: &Use, refusals: Vec<Refusal>) {
        for refusal in refusals {
            let place = refusal.at.iter().rev().find_map(|pointer| node_at(&used.with, pointer));
            let span =
                place.filter(|node| node.span != used.with.span).map_or(used.name.span, |node| node.span);
            let complaint = Diagnostic::new(Code::VerbKeyType, refusal.failure.message).at(span, "");
            let help = refusal.failure.hint;
            let help =
                help.unwrap_or_else(|| format!("`atoll explain verb {}` describes it", used.name.text));
            self.loader.found.push(complaint.help(help));
        }
    }

    /// Complains about those of `keys` that `used` has: they make the output what it is, and the step has a schema as well.
    pub(super) fn no_schema(&mut self, used: &Use, keys: &[&str]) {
        let Some(table) = used.with.table() else { return };
        for key in keys {
            let Some(entry) = table.get(*key) else { continue };
            let message = format!("`{key}` says what the output is, and the step has `output` as well");
            self.loader.found.push(
                Diagnostic::new(Code::VerbKeyType, message)
                    .at(entry.key, "")
                    .help(format!("remove `output`, or leave `{key}` out")),
            );
        }
    }

    /// The input of a verb before anything is rendered, and what is known of its templates.
    pub(super) fn draft(&self, node: &Node, tree: &Tree) -> InputDraft {
        let mut draft = InputDraft::default();
        draft.value = self.drafted(node, tree, "", &mut draft.open);
        draft
    }

    fn drafted(&self, node: &Node, tree: &Tree, at: &str, open: &mut Vec<OpenTemplate>) -> Value {
        match (tree, &node.value) {
            (Tree::Template(template), _) => {
                if let Some(literal) = template.literal() {
                    return Value::from(literal);
                }
                let shape = self.made.get(&node.span).cloned().unwrap_or_default();
                let may_be_none = template.single() && shape.may(|shape| *shape == Shape::None);
                open.push(OpenTemplate { pointer: at.to_owned(), may_be_none });
                Value::from(template.text())
            }
            (Tree::List(trees), Raw::List(nodes)) => {
                let items = nodes.iter().zip(trees).enumerate();
                items.map(|(n, (node, tree))| self.drafted(node, tree, &format!("{at}/{n}"), open)).collect()
            }
            (Tree::Table(trees), Raw::Table(table)) => {
                let entries =
                    table.iter().filter_map(|(key, entry)| Some((key, &entry.node, trees.get(key)?)));
                let entries = entries.map(|(key, node, tree)| {
                    (key.clone(), self.drafted(node, tree, &pointer(at, key), open))
                });
                Value::Object(entries.collect())
            }
            (Tree::Literal(value), _) => value.clone(),
            _ => node.to_value(),
        }
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

/// What `pointer` names in `node`.
fn node_at<'n>(node: &'n Node, pointer: &str) -> Option<&'n Node> {
    pointer.split('/').skip(1).try_fold(node, |node, part| match &node.value {
        Raw::Table(table) => table.get(&part.replace("~1", "/").replace("~0", "~")).map(|entry| &entry.node),
        Raw::List(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}
