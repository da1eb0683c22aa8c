//! Reads the basic parts of scenario files from YAML, and reports errors in them.
//! This module does not know steps or scenarios.

pub mod bytes;
pub mod keys;
pub mod linter;
pub mod yaml;

use regex::Regex;

use crate::diag::{Code, Diagnostic, Severity, SourceId, SourceMap, Span};
use crate::scenario::values::WrittenDuration;
use crate::scenario::values::variables::placeholders;
use yaml::{NodeKind, YamlNode};

/// Most diagnostics of one file that are shown individually.
const MOST_COMPLAINTS: usize = 1_000;

/// Collects diagnostics while a file is read.
pub struct NodeReader<'s> {
    pub(super) sources: &'s SourceMap,
    pub(super) source: SourceId,
    pub(super) complaints: Vec<Diagnostic>,
}

impl<'s> NodeReader<'s> {
    /// A reader for the text `source`.
    pub fn new(sources: &'s SourceMap, source: SourceId) -> Self {
        Self { sources, source, complaints: Vec::new() }
    }

    /// All diagnostics. If there are very many, the first ones and the number of the others.
    pub fn into_complaints(mut self) -> Vec<Diagnostic> {
        let beyond = self.complaints.split_off(self.complaints.len().min(MOST_COMPLAINTS));
        if let Some(worst) = beyond.iter().max_by_key(|complaint| complaint.severity == Severity::Error) {
            let rest = Diagnostic {
                message: format!("{} (and {} more in this file)", worst.message, beyond.len() - 1),
                ..worst.clone()
            };
            self.complaints.push(rest);
        }
        self.complaints
    }

    /// Adds a diagnostic at `node`.
    pub fn complain(&mut self, code: Code, node: &YamlNode, message: impl Into<String>) -> &mut Diagnostic {
        let span = self.span(node);
        self.complain_at(code, span, message)
    }

    pub(super) fn complain_at(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let at = self.complaints.len();
        self.complaints.push(Diagnostic::new(code, message).at(span, ""));
        &mut self.complaints[at]
    }

    pub(super) fn span(&self, node: &YamlNode) -> Span {
        self.sources.span(self.source, node.at.clone())
    }

    pub(super) fn line(&self, node: &YamlNode) -> usize {
        self.sources.position(self.source, node.at.start).line
    }

    /// The entries of a mapping; reports every key that is not in `known`.
    pub(in crate::scenario) fn table<'n>(
        &mut self,
        node: &'n YamlNode,
        what: &str,
        known: &[&str],
    ) -> Option<&'n [(YamlNode, YamlNode)]> {
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

    /// The entries of a mapping with any keys.
    pub(in crate::scenario) fn entries<'n>(
        &mut self,
        node: &'n YamlNode,
        what: &str,
    ) -> Option<&'n [(YamlNode, YamlNode)]> {
        if let NodeKind::Table(entries) = &node.kind {
            return Some(entries);
        }
        self.mistyped(node, what, "a mapping");
        None
    }

    pub(in crate::scenario) fn list<'n>(&mut self, node: &'n YamlNode, what: &str) -> &'n [YamlNode] {
        if let NodeKind::List(items) = &node.kind {
            return items;
        }
        self.mistyped(node, what, "a list");
        &[]
    }

    pub(in crate::scenario) fn mistyped(&mut self, node: &YamlNode, what: &str, wanted: &str) {
        let message = format!("{what} is {wanted}, not {}", node.type_name());
        self.complain(Code::ScenarioShape, node, message);
    }

    pub(in crate::scenario) fn text(&mut self, node: &YamlNode, what: &str) -> Option<String> {
        let text = node.scalar_text();
        if text.is_none() && !node.is_null() {
            self.mistyped(node, what, "text");
        }
        text
    }

    /// A mapping of names to texts.
    pub(in crate::scenario) fn texts(
        &mut self,
        node: Option<&YamlNode>,
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

    pub(in crate::scenario) fn duration(&mut self, node: &YamlNode, what: &str) -> Option<WrittenDuration> {
        let text = self.text(node, what)?;
        match WrittenDuration::parse(&text) {
            Ok(duration) => Some(duration),
            Err(reason) => {
                self.complain(Code::ScenarioTime, node, format!("{what} is not a duration: {reason}"));
                None
            }
        }
    }

    pub(in crate::scenario) fn flag(&mut self, node: &YamlNode, what: &str) -> Option<bool> {
        let flag = node.to_json().as_bool();
        if flag.is_none() {
            self.mistyped(node, what, "true or false");
        }
        flag
    }

    /// A whole number from 0.
    pub(in crate::scenario) fn number(&mut self, node: &YamlNode, what: &str) -> Option<u64> {
        let number = node.to_json().as_u64();
        if number.is_none() {
            self.mistyped(node, what, "a whole number");
        }
        number
    }

    /// One of the keywords in `known`.
    pub(in crate::scenario) fn word(
        &mut self,
        node: &YamlNode,
        what: &str,
        known: &[&str],
    ) -> Option<String> {
        let word = self.text(node, what)?;
        if !known.contains(&word.as_str()) {
            let message = format!("{what} cannot be `{word}`");
            let complaint = self.complain(Code::ScenarioValue, node, message);
            *complaint = complaint.clone().suggest(&word, known.iter().copied());
            return None;
        }
        Some(word)
    }

    /// A regular expression that compiles.
    pub(in crate::scenario) fn pattern(&mut self, node: &YamlNode, what: &str) -> Option<String> {
        let pattern = self.text(node, what)?;
        compiles(self, node, &pattern).then_some(pattern)
    }

    /// The value of a required key, which must not be empty.
    pub(in crate::scenario) fn required(&mut self, node: &YamlNode, key: &str, what: &str) -> Option<String> {
        let Some(value) = given(node, key) else {
            self.complain(Code::ScenarioMissing, node, format!("`{key}` is missing: {what} needs it"));
            return None;
        };
        let text = self.text(value, &format!("`{key}`"))?;
        if text.trim().is_empty() {
            self.complain(Code::ScenarioMissing, value, format!("`{key}` is empty"));
        }
        Some(text)
    }

    pub(in crate::scenario) fn optional(&mut self, node: &YamlNode, key: &str) -> String {
        given(node, key).and_then(|value| self.text(value, &format!("`{key}`"))).unwrap_or_default()
    }
}

/// The value of `key`; a key without a value counts as absent.
pub(in crate::scenario) fn given<'n>(node: &'n YamlNode, key: &str) -> Option<&'n YamlNode> {
    node.get(key).filter(|value| !value.is_null())
}

/// Whether a pattern compiles. Placeholders are replaced by a letter, so that the text around them is
/// checked.
pub fn compiles(reader: &mut NodeReader<'_>, node: &YamlNode, pattern: &str) -> bool {
    let Err(error) = Regex::new(&placeholder_free(pattern)) else { return true };
    let reason = error.to_string();
    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    reader.complain(Code::ScenarioPattern, node, format!("invalid regular expression: {reason}"));
    false
}

fn placeholder_free(pattern: &str) -> String {
    let mut free = String::new();
    let mut copied = 0;
    for (start, end, _) in placeholders(pattern) {
        free.push_str(&pattern[copied..start]);
        free.push('x');
        copied = end;
    }
    free.push_str(&pattern[copied..]);
    free
}
