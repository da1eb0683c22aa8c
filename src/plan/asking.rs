//! What is known of answers before they are given: to questions, and of inputs that are one of a few words.

use std::sync::Arc;

use super::resolve::Resolver;
use super::scope::StepShape;
use super::shape;
use crate::diag::{Code, Diagnostic, listed, nearest};
use crate::expr::{Choices, Data, Scope, Shape, Step, Tree};
use crate::model::{self, Node, Raw, Use};
use crate::value::Value;

/// What is known of the answer to the question `asked`.
pub(super) fn shape(asked: &Use) -> StepShape {
    let under = |key: &str| Some(&asked.with.table()?.get(key)?.node);
    let choices = under("choices").and_then(|choices| match &choices.value {
        Raw::List(items) if !items.is_empty() => items.iter().map(written).collect::<Option<Vec<_>>>(),
        _ => None,
    });
    if let Some(choices) = choices {
        let output = Shape::one_of(choices.iter().map(shape::of_value));
        return StepShape { output, choices: Some(Arc::new(Choices::of(choices))), ..StepShape::default() };
    }
    // Without choices a person gives text, and what is taken in place of an answer may be anything.
    let mut taken = ["default", "at_deadline"].into_iter().filter_map(under);
    let free = under("choices").is_none() && word(asked, "type").is_none_or(|word| word == "text");
    let is_text = free && taken.all(|node| matches!(written(node), Some(Value::String(_))));
    StepShape::of(if is_text { Shape::Text } else { Shape::Any })
}

/// The value of `node`, where it has no template in it and names no file.
fn written(node: &Node) -> Option<Value> {
    let value = node.to_value();
    is_plain(&value).then_some(value)
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('{') && !text.starts_with("prompts/"),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(table) => table.values().all(is_plain),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The text that is written under `key` of a control verb.
pub(super) fn word(used: &Use, key: &str) -> Option<String> {
    Some(used.with.table()?.get(key)?.node.text()?.text)
}

/// The value, if it does not depend on anything.
fn constant(tree: Option<&Option<Tree>>) -> Option<Value> {
    let tree = tree?.as_ref().filter(|tree| tree.refs().is_empty())?;
    tree.render(&Scope::new().briefly()).ok()
}

impl Resolver<'_, '_> {
    /// Complains where no answer is among the choices, or where what is taken in place of one is not.
    pub(super) fn answers_fit(
        &mut self,
        read: &model::Ask,
        [choices, default, at_deadline]: [Option<&Option<Tree>>; 3],
    ) {
        let (Some(node), Some(Value::Array(choices))) = (&read.choices, constant(choices)) else { return };
        if choices.is_empty() {
            let complaint = Diagnostic::new(Code::VerbKeyType, "`choices` is empty, so no answer would fit");
            let complaint = complaint.at(node.span, "").help("name the answers, or remove `choices`");
            self.loader.found.push(complaint);
            return;
        }
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let words: Vec<String> = choices.iter().map(shown).collect();
        let taken = [("default", &read.default, default), ("at_deadline", &read.at_deadline, at_deadline)];
        for (key, written, tree) in taken {
            let (Some(written), Some(answer)) = (written, constant(tree)) else { continue };
            if choices.iter().any(|choice| Data::are_equal(choice, &answer)) {
                continue;
            }
            let answer = shown(&answer);
            let message = format!(
                "`{key}`: `{answer}` is not one of the choices: {}",
                listed(words.iter().map(String::as_str))
            );
            let help = match nearest(&answer, words.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "take one of the choices".to_owned(),
            };
            let complaint = Diagnostic::new(Code::VerbKeyType, message).at(written.span, "");
            self.loader.found.push(complaint.at(node.span, "the choices").help(help));
        }
    }

    /// The values that can lie under `path`, where they are known one by one.
    pub(super) fn choices(&self, path: &[Step]) -> Option<Arc<Choices>> {
        match path {
            [Step::Key(root), Step::Key(name)] if root == "inputs" => self.enums.get(name).cloned(),
            [Step::Key(root), Step::Key(name), Step::Key(field)] if root == "steps" && field == "output" => {
                let (depth, place) = self.find(name)?;
                self.levels[depth].shapes[place].choices.clone()
            }
            _ => None,
        }
    }
}
