//! Lint rules for scenario files. Rules with numbers below 100 are those that authors know from other
//! tools; the others are our own. Lint never runs a scenario against a program.

mod captures;
mod flow;
mod secrets;
mod spec;
mod steps;
mod vacuous;

pub use spec::spec;

use std::collections::HashMap;

use crate::diag::{Code, Diagnostic, SourceId, SourceMap, Span};
use crate::scenario::credentials;
use crate::scenario::load::{ScenarioFiles, is_data, load};
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{self, NodeKind, YamlNode};

/// All findings in scenario files, by file and position: those of the rules, and diagnostics of loading
/// that no rule covers. The diagnostics point into the returned sources.
pub fn scenarios(files: &ScenarioFiles) -> (SourceMap, Vec<Diagnostic>) {
    // Loading and the rules read the same texts independently, so each has a thread.
    let ((scenarios, sources, loading), mut found) = std::thread::scope(|threads| {
        let rules = threads.spawn(|| rules(files));
        (load(files.clone()), rules.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    // The rules apply to scenarios. A file without steps that another file names is data.
    let is_data = |source: SourceId| {
        let file = sources.get(source);
        is_data(&file.name, &file.text, files.attached.as_deref())
    };
    let data: Vec<SourceId> =
        sources.iter().map(|(source, _)| source).filter(|source| is_data(*source)).collect();
    found.retain(|complaint| {
        complaint.code == Code::LintSecret || complaint.span().is_none_or(|span| !data.contains(&span.source))
    });
    let mut names: HashMap<&str, SourceId> =
        sources.iter().map(|(source, known)| (known.name.as_str(), source)).collect();
    for scenario in &scenarios {
        // One row of a scenario is enough.
        let Some(source) = names.remove(scenario.file.as_str()) else { continue };
        let mut linter = Linter::new(&sources, source);
        vacuous::check(&mut linter, scenario);
        found.extend(linter.found);
    }
    let beyond: Vec<Diagnostic> =
        loading.into_iter().filter(|complaint| !is_said(complaint, &found)).map(renumbered).collect();
    found.extend(beyond);
    found.sort_by_key(|complaint| complaint.span().map(|span| (span.source, span.start)));
    let mut sources = sources;
    credentials::hide(&mut sources, &mut found);
    (sources, found)
}

/// Findings of the rules, file by file. The texts are added in the same order as by loading, so that the
/// sources of loading fit these spans too.
fn rules(files: &ScenarioFiles) -> Vec<Diagnostic> {
    let mut sources = SourceMap::new();
    for (name, text) in files.fixtures.iter().chain(&files.scenarios) {
        sources.add(name.as_str(), text.as_str());
    }
    let mut found = Vec::new();
    let mut ids = HashMap::new();
    for (at, (source, _)) in sources.iter().enumerate() {
        let mut linter = Linter::new(&sources, source);
        if at >= files.fixtures.len() {
            linter.file(&mut ids);
        }
        secrets::find(&mut linter);
        found.extend(linter.found);
    }
    found
}

/// Gives diagnostics of loading about placeholders the code of the lint rule.
fn renumbered(complaint: Diagnostic) -> Diagnostic {
    let code = if complaint.code == Code::ScenarioUnset { Code::LintUnset } else { complaint.code };
    Diagnostic { code, ..complaint }
}

/// Whether a rule has already reported the same position.
fn is_said(complaint: &Diagnostic, found: &[Diagnostic]) -> bool {
    let Some(span) = complaint.span() else { return false };
    let beyond = [Code::ScenarioKey, Code::ScenarioBraces, Code::ScenarioDocuments, Code::ScenarioFixture];
    !beyond.contains(&complaint.code)
        && found.iter().filter_map(Diagnostic::span).any(|other| {
            other.source == span.source
                && (other.start == span.start || other.start < span.start && span.start < other.end)
        })
}

impl Linter<'_> {
    fn file(&mut self, ids: &mut HashMap<String, Span>) {
        let start = self.sources.span(self.source, 0..0);
        let documents = match yaml::parse(self.text()) {
            Ok(documents) => documents,
            Err(broken) => {
                let span = self.sources.span(self.source, broken.at);
                self.at(Code::LintYaml, span, format!("invalid YAML: {}", broken.message));
                return;
            }
        };
        let Some(root) = documents.first() else {
            self.at(Code::LintEmpty, start, "the file is empty");
            return;
        };
        let NodeKind::Table(_) = &root.kind else {
            self.say(Code::LintRoot, root, format!("a scenario is a mapping, not {}", root.type_name()));
            return;
        };
        self.head(root, ids);
        steps::check(self, root);
        flow::check(self, root);
    }

    fn head(&mut self, root: &YamlNode, ids: &mut HashMap<String, Span>) {
        match root.get("id") {
            None => _ = self.say(Code::LintIdMissing, root, "`id` is missing"),
            Some(id) => self.id(id, ids),
        }
        if let Some(kind) = root.get("type").filter(|kind| !kind.is_null()) {
            let word = kind.scalar_text().unwrap_or_default();
            if !["api", "functional"].contains(&word.as_str()) {
                let message = format!("other tools have no scenario type `{word}`");
                self.unknown(Code::LintType, kind, message, &word, &["api", "functional"]);
            }
        }
        if let Some(weight) = root.get("weight").filter(|weight| !weight.is_null()) {
            match weight.to_json().as_f64() {
                None => _ = self.say(Code::LintWeightNumber, weight, "`weight` is not a number"),
                Some(number) if number <= 0.0 => {
                    self.say(Code::LintWeight, weight, "a scenario with this weight does not count");
                }
                Some(_) => {}
            }
        }
    }

    fn id(&mut self, id: &YamlNode, ids: &mut HashMap<String, Span>) {
        let text = id.scalar_text().unwrap_or_default();
        if text.trim().is_empty() {
            self.say(Code::LintIdEmpty, id, "`id` is empty");
            return;
        }
        let fits = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        if !fits {
            let message =
                format!("`{text}` has characters other than lower-case letters, digits, `-` and `_`");
            self.say(Code::LintId, id, message);
        }
        let span = self.sources.span(self.source, id.at.clone());
        if let Some(first) = ids.get(&text) {
            let file = &self.sources.get(first.source).name;
            let first = *first;
            let complaint =
                self.at(Code::LintTwice, span, format!("the id `{text}` is already used in {file}"));
            *complaint = complaint.clone().at(first, "first used here");
        } else {
            ids.insert(text, span);
        }
    }
}
