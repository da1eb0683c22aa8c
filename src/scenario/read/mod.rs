//! From a YAML tree to a [`Scenario`](super::Scenario): every complaint is collected, nothing stops at the first.
//! It must never know files or what a step does. Start with [`scenario`]; `keys.rs` lists every key there is.

mod action;
mod assertion;
mod flow;
pub mod keys;
mod step;

use super::lapse::Lapse;
use super::yaml::{Kind, Node};
use super::{Action, Scenario, Step};
use crate::diag::{Code, Diagnostic, SourceId, Sources, Span};

/// Collects complaints while a file is read.
pub struct Reader<'s> {
    sources: &'s Sources,
    source: SourceId,
    complaints: Vec<Diagnostic>,
}

impl<'s> Reader<'s> {
    /// Reads the text `source`.
    pub fn new(sources: &'s Sources, source: SourceId) -> Self {
        Self { sources, source, complaints: Vec::new() }
    }

    /// All complaints.
    pub fn into_complaints(self) -> Vec<Diagnostic> {
        self.complaints
    }

    /// Complains about `node`.
    pub fn complain(&mut self, code: Code, node: &Node, message: impl Into<String>) -> &mut Diagnostic {
        let span = self.span(node);
        self.complain_at(code, span, message)
    }

    fn complain_at(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let at = self.complaints.len();
        self.complaints.push(Diagnostic::new(code, message).at(span, ""));
        &mut self.complaints[at]
    }

    fn span(&self, node: &Node) -> Span {
        self.sources.span(self.source, node.at.clone())
    }

    fn line(&self, node: &Node) -> usize {
        self.sources.position(self.source, node.at.start).line
    }

    /// The entries of a mapping whose keys are all in `known`; complains about every other key.
    pub(in crate::scenario) fn table<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
    ) -> Option<&'n [(Node, Node)]> {
        let entries = self.entries(node, what)?;
        for (key, _) in entries {
            let name = key.scalar_text().unwrap_or_default();
            if !known.contains(&name.as_str()) {
                let complaint = self.complain(Code::ScenarioKey, key, format!("{what} has no key `{name}`"));
                *complaint = complaint.clone().suggest(&name, known.iter().copied());
            }
        }
        Some(entries)
    }

    /// The entries of a mapping with free keys.
    pub(in crate::scenario) fn entries<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
    ) -> Option<&'n [(Node, Node)]> {
        if let Kind::Table(entries) = &node.kind {
            return Some(entries);
        }
        self.mistyped(node, what, "a mapping");
        None
    }

    pub(in crate::scenario) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Kind::List(items) = &node.kind {
            return items;
        }
        self.mistyped(node, what, "a list");
        &[]
    }

    pub(in crate::scenario) fn mistyped(&mut self, node: &Node, what: &str, wanted: &str) {
        let message = format!("{what} is {wanted}, not {}", node.type_name());
        self.complain(Code::ScenarioShape, node, message);
    }

    pub(in crate::scenario) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        if node.is_null() {
            return None;
        }
        let text = node.scalar_text();
        if text.is_none() {
            self.mistyped(node, what, "text");
        }
        text
    }

    /// A mapping of names to texts.
    pub(in crate::scenario) fn texts(
        &mut self,
        node: Option<&Node>,
        what: &str,
    ) -> indexmap::IndexMap<String, String> {
        let entries = node.and_then(|node| self.entries(node, what)).unwrap_or_default();
        let mut texts = indexmap::IndexMap::new();
        for (key, value) in entries {
            let value = self.text(value, &format!("each value of {what}")).unwrap_or_default();
            texts.insert(key.scalar_text().unwrap_or_default(), value);
        }
        texts
    }

    pub(in crate::scenario) fn lapse(&mut self, node: &Node, what: &str) -> Option<Lapse> {
        let text = self.text(node, what)?;
        match Lapse::parse(&text) {
            Ok(lapse) => Some(lapse),
            Err(reason) => {
                self.complain(Code::ScenarioTime, node, format!("{what} is no length of time: {reason}"));
                None
            }
        }
    }

    /// The value of a key that must be there and not be empty.
    pub(in crate::scenario) fn required(&mut self, node: &Node, key: &str, what: &str) -> Option<String> {
        let Some(value) = given(node, key) else {
            self.complain(Code::ScenarioMissing, node, format!("{what} needs `{key}`"));
            return None;
        };
        let text = self.text(value, &format!("`{key}`"))?;
        if text.trim().is_empty() {
            self.complain(Code::ScenarioMissing, value, format!("`{key}` is empty"));
        }
        Some(text)
    }

    pub(in crate::scenario) fn optional(&mut self, node: &Node, key: &str) -> String {
        given(node, key).and_then(|value| self.text(value, &format!("`{key}`"))).unwrap_or_default()
    }
}

/// The value of `key`; a key without a value counts as absent.
pub(in crate::scenario) fn given<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.get(key).filter(|value| !value.is_null())
}

/// Reads a whole file.
pub fn scenario(reader: &mut Reader<'_>, node: &Node) -> Option<Scenario> {
    reader.table(node, "a scenario", keys::SCENARIO)?;
    let id = reader.required(node, "id", "a scenario");
    let weight = weight(reader, node);
    let setup = steps(reader, node, "setup");
    let steps = steps(reader, node, "steps");
    if given(node, "steps").is_none_or(|list| matches!(&list.kind, Kind::List(items) if items.is_empty())) {
        reader.complain(
            Code::ScenarioMissing,
            given(node, "steps").unwrap_or(node),
            "a scenario needs at least one entry in `steps`",
        );
    }
    flow::review(reader, node, &setup, &steps);
    Some(Scenario {
        description: reader.optional(node, "description"),
        kind: reader.optional(node, "type"),
        weight,
        tier: tier(reader, node, &steps),
        component: reader.optional(node, "component"),
        satisfaction_criteria: reader.optional(node, "satisfaction_criteria"),
        file: reader.sources.get(reader.source).name.clone(),
        setup,
        steps,
        id: id?,
    })
}

fn steps(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<Step> {
    let Some(list) = given(node, key) else { return Vec::new() };
    let items = reader.list(list, &format!("`{key}`"));
    items.iter().filter_map(|item| step::read(reader, item)).collect()
}

fn weight(reader: &mut Reader<'_>, node: &Node) -> f64 {
    let Some(value) = given(node, "weight") else { return 1.0 };
    match value.to_json().as_f64() {
        Some(weight) if weight >= 0.0 => weight,
        Some(_) => {
            reader.complain(Code::ScenarioValue, value, "`weight` is below zero");
            1.0
        }
        None => {
            reader.mistyped(value, "`weight`", "a number");
            1.0
        }
    }
}

fn tier(reader: &mut Reader<'_>, node: &Node, steps: &[Step]) -> i64 {
    let written = given(node, "tier");
    match written.map(|value| value.to_json().as_i64()) {
        Some(None) => {
            if let Some(value) = written {
                reader.mistyped(value, "`tier`", "a whole number");
            }
            1
        }
        None | Some(Some(0)) => infer_tier(steps),
        Some(Some(tier)) => tier,
    }
}

/// How advanced a scenario is by the look of its steps: many steps, retries, mixed step types and captures raise it.
fn infer_tier(steps: &[Step]) -> i64 {
    let captures = steps.iter().filter(|step| !step.capture.is_empty()).count();
    let mixed = steps.windows(2).any(|pair| pair[0].action.word() != pair[1].action.word());
    let rich = |step: &Step| !matches!(step.action, Action::Request(_) | Action::Exec(_));
    let score = steps
        .iter()
        .map(|step| {
            1 + usize::from(rich(step))
                + usize::from(step.action.receives())
                + usize::from(step.retry.is_some())
        })
        .sum::<usize>();
    match (score + 2 * usize::from(mixed), captures) {
        (7.., _) | (_, 3..) => 3,
        (4.., _) | (_, 1..) => 2,
        _ => 1,
    }
}
