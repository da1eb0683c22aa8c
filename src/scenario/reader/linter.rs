//! Collects what the lint rules find in one file.

use super::yaml::{NodeKind, YamlNode};
use crate::diag::{Code, Diagnostic, SourceId, SourceMap, Span};
use crate::scenario::values::WrittenDuration;

/// Findings in one file.
pub struct Linter<'s> {
    /// All files.
    pub sources: &'s SourceMap,
    /// The file that is checked.
    pub source: SourceId,
    /// Findings until now.
    pub found: Vec<Diagnostic>,
}

impl<'s> Linter<'s> {
    /// A linter for the file `source`.
    pub fn new(sources: &'s SourceMap, source: SourceId) -> Self {
        Self { sources, source, found: Vec::new() }
    }

    /// The text of the file.
    pub fn text(&self) -> &'s str {
        &self.sources.get(self.source).text
    }

    /// Adds a finding at `span`.
    pub fn at(&mut self, code: Code, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let at = self.found.len();
        self.found.push(Diagnostic::new(code, message).at(span, ""));
        &mut self.found[at]
    }

    /// Adds a finding at `node`.
    pub fn say(&mut self, code: Code, node: &YamlNode, message: impl Into<String>) -> &mut Diagnostic {
        let span = self.sources.span(self.source, node.at.clone());
        self.at(code, span, message)
    }

    /// Reports that `node` is not one of `known`, with the nearest of them.
    pub fn unknown(&mut self, code: Code, node: &YamlNode, message: String, word: &str, known: &[&str]) {
        let complaint = self.say(code, node, message);
        *complaint = complaint.clone().suggest(word, known.iter().copied());
    }

    /// Whether the value of `word` is a mapping; reports `code` if it is not.
    pub fn is_mapping(&mut self, code: Code, node: &YamlNode, word: &str) -> bool {
        let is_mapping = matches!(node.kind, NodeKind::Table(_));
        if !is_mapping {
            self.say(code, node, format!("`{word}` is a mapping, not {}", node.type_name()));
        }
        is_mapping
    }

    /// Reports `code` if `node` has no text under `key`.
    pub fn needs(&mut self, code: Code, node: &YamlNode, what: &str, key: &str) {
        if written(node, key).is_none() {
            self.say(code, node.get(key).unwrap_or(node), format!("`{key}` is missing: {what} needs it"));
        }
    }

    /// Reports `code` if the value of `key` is not a duration.
    pub fn duration(&mut self, code: Code, node: &YamlNode, key: &str) {
        let Some(value) = node.get(key).filter(|value| !value.is_null()) else { return };
        let text = value.scalar_text().unwrap_or_default();
        if let Err(reason) = WrittenDuration::parse(&text) {
            self.say(code, value, format!("`{key}` is not a duration: {reason}"));
        }
    }
}

/// The text under `key`, unless it is empty.
pub fn written(node: &YamlNode, key: &str) -> Option<String> {
    node.get(key).and_then(YamlNode::scalar_text).filter(|text| !text.trim().is_empty())
}
