//! Diagnostics as text, JSON, SARIF and GitHub workflow commands.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::github::{self, Annotation};
use crate::diag::{Code, Diagnostic, Severity, Sources, Span};
use crate::value::Value;
use crate::visible;

/// For machines: `{version, diagnostics: [{code, severity, message, file, line, column, end_line, end_column, help}]}`.
pub fn render_json(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let all: Vec<Value> = diagnostics.iter().map(|diagnostic| object(diagnostic, sources)).collect();
    visible::json(format!("{:#}\n", json!({"version": 1, "diagnostics": all})))
}

/// SARIF 2.1.0, for code scanning.
pub fn render_sarif(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    visible::json(format!("{:#}\n", sarif(diagnostics, sources)))
}

/// For people: the offending text underlined, then how many there are.
pub fn render_text(diagnostics: &[Diagnostic], sources: &Sources, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut all = String::new();
    for diagnostic in diagnostics {
        all.push_str(&renderer.render(&[group(diagnostic, sources)]));
        all.push_str("\n\n");
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let words = [(count(Severity::Error), "error"), (count(Severity::Warning), "warning")];
    let sums: Vec<String> = words
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if !sums.is_empty() {
        all.push_str(&sums.join(", "));
        all.push('\n');
    }
    all
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(visible::escape(&diagnostic.message))
        .id(diagnostic.code.number())
        .elements(Vec::<Snippet<'_, annotate_snippets::Annotation<'_>>>::new());
    let mut shown = Vec::new();
    for label in &diagnostic.labels {
        if shown.contains(&label.span.source) {
            continue;
        }
        shown.push(label.span.source);
        let source = sources.get(label.span.source);
        let annotations =
            diagnostic.labels.iter().enumerate().filter(|(_, other)| other.span.source == label.span.source);
        let snippet = Snippet::source(source.text.as_ref())
            .path(visible::line(&source.name, 1000))
            .annotations(annotations.map(|(at, label)| {
                let kind = if at == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let annotation = kind.span(within(label.span, &source.text));
                if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) }
            }));
        group = group.element(snippet);
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(visible::escape(help))),
        None => group,
    }
}

/// The span on character boundaries, of at least one byte where the text has one there.
fn within(span: Span, text: &str) -> std::ops::Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, end) = (floor(span.start), floor(span.end));
    let width = text[start..].chars().next().map_or(0, char::len_utf8);
    start..end.max(start + if text[start..].starts_with('\n') { 0 } else { width })
}

fn object(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let place = diagnostic.span().map(|span| Place::of(span, sources));
    json!({
        "code": diagnostic.code.number(),
        "severity": diagnostic.severity.word(),
        "message": diagnostic.message,
        "file": place.as_ref().map(|place| place.file.as_str()),
        "line": place.as_ref().map(|place| place.line),
        "column": place.as_ref().map(|place| place.column),
        "end_line": place.as_ref().map(|place| place.end_line),
        "end_column": place.as_ref().map(|place| place.end_column),
        "help": diagnostic.help,
    })
}

struct Place {
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl Place {
    fn of(span: Span, sources: &Sources) -> Self {
        let (start, end) =
            (sources.position(span.source, span.start), sources.position(span.source, span.end));
        Self {
            file: sources.get(span.source).name.clone(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
        }
    }
}

fn sarif(diagnostics: &[Diagnostic], sources: &Sources) -> Value {
    let mut codes: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| {
            json!({
                "id": code.number(),
                "shortDescription": {"text": code.title()},
                "help": {"text": code.explanation()},
            })
        })
        .collect();
    let results: Vec<Value> = diagnostics.iter().map(|diagnostic| result(diagnostic, sources)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "atoll", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let text = match &diagnostic.help {
        Some(help) => format!("{}\n{help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let locations: Vec<Value> = diagnostic
        .span()
        .map(|span| Place::of(span, sources))
        .map(|place| {
            json!({"physicalLocation": {
                "artifactLocation": {"uri": place.file},
                "region": {
                    "startLine": place.line,
                    "startColumn": place.column,
                    "endLine": place.end_line,
                    "endColumn": place.end_column,
                },
            }})
        })
        .into_iter()
        .collect();
    json!({
        "ruleId": diagnostic.code.number(),
        "level": diagnostic.severity.word(),
        "message": {"text": text},
        "locations": locations,
    })
}

/// Workflow commands of GitHub Actions.
pub fn render_github(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let all: Vec<Annotation<'_>> = diagnostics.iter().map(|found| annotation(found, sources)).collect();
    github::render(&all)
}

fn annotation(diagnostic: &Diagnostic, sources: &Sources) -> Annotation<'static> {
    let place = diagnostic.span().map(|span| Place::of(span, sources));
    let at = place
        .as_ref()
        .map_or_else(String::new, |place| format!("{}:{}:{}: ", place.file, place.line, place.column));
    let help = diagnostic.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    Annotation {
        severity: diagnostic.severity.word(),
        title: format!("{} {}", diagnostic.code, diagnostic.code.title()),
        place: place.map(|place| github::Place {
            columns: (place.line == place.end_line).then_some((place.column, place.end_column)),
            file: place.file,
            line: place.line,
            end_line: place.end_line,
        }),
        message: format!("{}{help}", diagnostic.message),
        brief: format!("{at}{} {}", diagnostic.code, diagnostic.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(count: usize) -> (Vec<Diagnostic>, Sources) {
        let mut sources = Sources::new();
        let id = sources.add("pipelines/ü.toml", "ä = 'x: y'\n");
        let one = Diagnostic::new(Code::UnknownKey, "100% wrong\nreally")
            .at(sources.span(id, 5..11), "here")
            .help("a, b");
        (vec![one; count], sources)
    }

    #[test]
    fn github_commands_are_escaped_and_rolled_up() {
        let (found, sources) = sample(12);
        let lines = render_github(&found, &sources);
        assert_eq!(lines.lines().count(), 10);
        let first = lines.lines().next().unwrap();
        assert!(
            first.starts_with(
                "::error title=E0102 a key that means nothing here,file=pipelines/ü.toml,line=1,"
            ),
            "{first}"
        );
        assert!(first.contains("col=5,") && first.ends_with("::100%25 wrong%0Areally%0Aa, b"), "{first}");
        assert!(lines.lines().last().unwrap().contains("and 3 more:%0A"));
    }

    #[test]
    fn json_has_the_promised_keys() {
        let (found, sources) = sample(1);
        let value: Value = serde_json::from_str(&render_json(&found, &sources)).unwrap();
        let one = &value["diagnostics"][0];
        assert_eq!((&one["line"], &one["column"], &one["end_column"]), (&json!(1), &json!(5), &json!(11)));
        assert_eq!(one["code"], "E0102");
    }

    #[test]
    fn no_place_and_odd_places_do_not_panic() {
        let (_, sources) = sample(0);
        let id = sources.iter().next().unwrap().0;
        for range in [0..0, 1..1, 12..12, 11..99, 0..1] {
            let one = Diagnostic::new(Code::Syntax, "x").at(sources.span(id, range), "");
            let two = [one, Diagnostic::new(Code::InputMissing, "y")];
            assert!(render_text(&two, &sources, true).contains("2 errors"));
            assert!(render_sarif(&two, &sources).contains("E0602"));
            assert_eq!(render_github(&two, &sources).lines().count(), 2);
        }
    }
}
