use std::collections::HashMap;

use super::Scenario;
use super::read::{self, Reader};
use super::yaml;
use crate::diag::{Code, Diagnostic, Severity, SourceId, Sources, Span};

/// Reads scenario files, given as name and text. Returns the scenarios that are free of errors, sorted by id, the texts
/// that the complaints point into, and all complaints of all files in the order in which they stand there.
pub fn load(files: Vec<(String, String)>) -> (Vec<Scenario>, Sources, Vec<Diagnostic>) {
    let mut sources = Sources::new();
    let mut complaints = Vec::new();
    let mut found: Vec<(Scenario, Span)> = Vec::new();
    if files.is_empty() {
        complaints.push(
            Diagnostic::new(Code::ScenarioNone, "there are no scenario files")
                .help("scenarios are the files that end in .yaml or .yml, directly in the directory"),
        );
    }
    for (name, text) in files {
        let source = sources.add(name, text);
        let (scenario, mut own) = load_one(&sources, source);
        own.sort_by_key(|complaint| complaint.span().map_or(0, |span| span.start));
        complaints.extend(own);
        found.extend(scenario);
    }
    complaints.extend(twice(&found, &sources));
    let mut scenarios: Vec<Scenario> = found.into_iter().map(|(scenario, _)| scenario).collect();
    scenarios.sort_by(|a, b| a.id.cmp(&b.id));
    (scenarios, sources, complaints)
}

fn load_one(sources: &Sources, source: SourceId) -> (Option<(Scenario, Span)>, Vec<Diagnostic>) {
    let text = &sources.get(source).text;
    let start = sources.span(source, 0..0);
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(broken) => {
            let complaint =
                Diagnostic::new(Code::ScenarioSyntax, format!("no valid YAML: {}", broken.message))
                    .at(sources.span(source, broken.at), "");
            return (None, vec![complaint]);
        }
    };
    let Some(first) = documents.first() else {
        return (None, vec![Diagnostic::new(Code::ScenarioNone, "the file is empty").at(start, "")]);
    };
    let mut reader = Reader::new(sources, source);
    if let Some(second) = documents.get(1) {
        reader.complain(Code::ScenarioDocuments, second, "only the first document of a file is read");
    }
    let scenario = read::scenario(&mut reader, first);
    let complaints = reader.into_complaints();
    let sound = complaints.iter().all(|complaint| complaint.severity != Severity::Error);
    let id = first.get("id").map_or(start, |id| sources.span(source, id.at.clone()));
    (scenario.filter(|_| sound).map(|scenario| (scenario, id)), complaints)
}

fn twice(found: &[(Scenario, Span)], sources: &Sources) -> Vec<Diagnostic> {
    let mut first: HashMap<&str, Span> = HashMap::new();
    let mut complaints = Vec::new();
    for (scenario, span) in found {
        if let Some(earlier) = first.get(scenario.id.as_str()) {
            let file = &sources.get(earlier.source).name;
            complaints.push(
                Diagnostic::new(Code::ScenarioTwice, format!("the id `{}` is taken by {file}", scenario.id))
                    .at(*span, "used again")
                    .at(*earlier, "first used here")
                    .help("give each scenario an id of its own"),
            );
        } else {
            first.insert(&scenario.id, *span);
        }
    }
    complaints
}
