use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::attach::{self, Attachments};
use super::{Fixture, LoadedTotal, fixture, scenario};
use crate::diag::{Code, Diagnostic, Severity, SourceId, SourceMap, Span, nearest};
use crate::scenario::language::Scenario;
use crate::scenario::reader::yaml::{self, NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, keys};
use crate::scenario::steps::actions_in;

/// Scenario files as pairs of name and text.
#[derive(Clone, Debug, Default)]
pub struct ScenarioFiles {
    /// Scenarios.
    pub scenarios: Vec<(String, String)>,
    /// Fixtures. Scenarios refer to them by the file name without directory and extension.
    pub fixtures: Vec<(String, String)>,
    /// Access to the files that scenarios refer to; if `None`, such references are errors.
    pub attached: Option<Arc<dyn Attachments>>,
}

impl From<Vec<(String, String)>> for ScenarioFiles {
    fn from(scenarios: Vec<(String, String)>) -> Self {
        Self { scenarios, ..Self::default() }
    }
}

/// Reads scenario files. Returns the scenarios without errors, sorted by id; the sources that the
/// diagnostics point into; and the diagnostics of all files, in the order of their positions.
pub fn load(files: impl Into<ScenarioFiles>) -> (Vec<Scenario>, SourceMap, Vec<Diagnostic>) {
    load_with(files.into(), None)
}

/// Like [`load()`], but the variables `given` have values from the start and no others come from outside: a
/// placeholder that can never have a value is an error.
pub fn load_given(
    files: impl Into<ScenarioFiles>,
    given: &[String],
) -> (Vec<Scenario>, SourceMap, Vec<Diagnostic>) {
    load_with(files.into(), Some(given))
}

fn load_with(files: ScenarioFiles, given: Option<&[String]>) -> (Vec<Scenario>, SourceMap, Vec<Diagnostic>) {
    let mut sources = SourceMap::new();
    let mut complaints = Vec::new();
    let mut found: Vec<(Scenario, Span)> = Vec::new();
    if files.scenarios.is_empty() {
        complaints.push(Diagnostic::new(Code::ScenarioNone, "there are no scenario files").help(
            "scenarios are the files that end in .yaml or .yml, in the directory and its subdirectories",
        ));
    }
    let attached = files.attached.as_deref();
    let mut fixtures = BTreeMap::new();
    for (name, text) in files.fixtures {
        let stem = stem(&name).to_owned();
        let source = sources.add(name, text);
        let (fixture, own) = read_file(&sources, source, attached, |reader, node| {
            fixture(reader, node, given.unwrap_or_default())
        });
        complaints.extend(own);
        if fixtures.contains_key(&stem) {
            let message = format!("there are two fixtures `{stem}`: fixtures need distinct file names");
            complaints.push(Diagnostic::new(Code::ScenarioTwice, message).at(sources.span(source, 0..0), ""));
        }
        // A fixture that cannot be read is reported once, not in every scenario that uses it.
        fixtures.insert(stem, fixture.map_or_else(Fixture::unknown, |(fixture, _)| fixture));
    }
    let mut told = Vec::new();
    let mut all = LoadedTotal::default();
    for (name, text) in files.scenarios {
        let source = sources.add(name, text);
        let read = |reader: &mut NodeReader<'_>, node: &YamlNode| scenario(reader, node, &fixtures, given);
        let (scenarios, own) = read_file(&sources, source, attached, read);
        told.push((source, scenarios.is_none(), own));
        let (scenarios, span) = scenarios.unwrap_or_else(|| (Vec::new(), sources.span(source, 0..0)));
        if let Some(message) = all.add(&scenarios) {
            complaints.push(
                Diagnostic::new(Code::ScenarioValue, message)
                    .at(span, "this file and those after it are not read")
                    .help("use fewer rows of `for_each`, or validate parts of the scenarios one after the other"),
            );
            break;
        }
        found.extend(scenarios.into_iter().map(|scenario| (scenario, span)));
    }
    for (source, is_unsound, own) in told {
        let file = sources.get(source);
        if is_unsound && is_data(&file.name, &file.text, attached) {
            complaints.extend(misspelt_steps(&sources, source));
        } else {
            complaints.extend(own);
        }
    }
    complaints.extend(twice(&found, &sources));
    let mut scenarios: Vec<Scenario> = found.into_iter().map(|(scenario, _)| scenario).collect();
    scenarios.sort_by(|a, b| a.id.cmp(&b.id));
    (scenarios, sources, complaints)
}

/// Whether the file is data: another file refers to it, and it has no `steps`. Known once all files are read.
pub fn is_data(name: &str, text: &str, attached: Option<&dyn Attachments>) -> bool {
    let has_steps = || yaml::parse(text).map(|documents| documents.iter().any(|d| d.get("steps").is_some()));
    attached.is_some_and(|files| files.is_named(name)) && matches!(has_steps(), Ok(false))
}

/// A warning about a data file that looks like a scenario: it has steps under another key.
fn misspelt_steps(sources: &SourceMap, source: SourceId) -> Option<Diagnostic> {
    let documents = yaml::parse(&sources.get(source).text).ok()?;
    let NodeKind::Table(entries) = &documents.first()?.kind else { return None };
    let is_step = |node: &YamlNode| actions_in(node).next().is_some();
    let has_steps = |node: &YamlNode| match &node.kind {
        NodeKind::List(items) => items.iter().any(is_step),
        _ => is_step(node),
    };
    let (key, _) = entries.iter().find(|(_, value)| has_steps(value))?;
    let word = key.scalar_text().unwrap_or_default();
    let message = format!(
        "this file looks like a scenario, but `steps` is missing: it is used as data only (`{word}`)"
    );
    let note = Diagnostic::new(Code::ScenarioData, message).at(sources.span(source, key.at.clone()), "");
    Some(match nearest(&word, keys::SCENARIO.iter().copied()).filter(|near| *near != word) {
        Some(near) => note.help(format!("did you mean `{near}`?")),
        None => note.help("if it is a scenario, put its steps under `steps`"),
    })
}

/// The name of a file without directory and extension.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// The result of `read` for the first document of a file, unless there are errors, and the span of its id.
fn read_file<T>(
    sources: &SourceMap,
    source: SourceId,
    attached: Option<&dyn Attachments>,
    read: impl Fn(&mut NodeReader<'_>, &YamlNode) -> Option<T>,
) -> (Option<(T, Span)>, Vec<Diagnostic>) {
    let text = &sources.get(source).text;
    let start = sources.span(source, 0..0);
    let mut documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(broken) => {
            let complaint =
                Diagnostic::new(Code::ScenarioSyntax, format!("invalid YAML: {}", broken.message))
                    .at(sources.span(source, broken.at), "");
            return (None, vec![complaint]);
        }
    };
    let Some(first) = documents.first_mut() else {
        return (None, vec![Diagnostic::new(Code::ScenarioNone, "the file is empty").at(start, "")]);
    };
    let missing = attach::expand(first, (sources, source), attached);
    if !missing.is_empty() {
        // Without the content of the file, most other diagnostics would only follow from this.
        return (None, missing);
    }
    let Some(first) = documents.first() else { return (None, Vec::new()) };
    let mut reader = NodeReader::new(sources, source);
    if let Some(second) = documents.get(1) {
        reader.complain(
            Code::ScenarioDocuments,
            second,
            "a file has one scenario, and this is a second YAML document",
        );
    }
    let what = read(&mut reader, first);
    let mut complaints = reader.into_complaints();
    complaints.sort_by_key(|complaint| complaint.span().map_or(0, |span| span.start));
    let sound = complaints.iter().all(|complaint| complaint.severity != Severity::Error);
    let id = first.get("id").map_or(start, |id| sources.span(source, id.at.clone()));
    (what.filter(|_| sound).map(|what| (what, id)), complaints)
}

fn twice(found: &[(Scenario, Span)], sources: &SourceMap) -> Vec<Diagnostic> {
    let mut first: HashMap<&str, Span> = HashMap::new();
    let mut complaints = Vec::new();
    for (scenario, span) in found {
        if let Some(earlier) = first.get(scenario.id.as_str()) {
            let file = &sources.get(earlier.source).name;
            complaints.push(
                Diagnostic::new(
                    Code::ScenarioTwice,
                    format!("the id `{}` is already used in {file}", scenario.id),
                )
                .at(*span, "used again")
                .at(*earlier, "first used here")
                .help("give each scenario a unique id"),
            );
        } else {
            first.insert(&scenario.id, *span);
        }
    }
    complaints
}
