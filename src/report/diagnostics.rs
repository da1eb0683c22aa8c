//! Diagnostics as text, JSON, SARIF and GitHub workflow commands.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use serde_json::json;

use super::github;
use super::snippet::{Window, windows};
use crate::diag::{Code, Diagnostic, Severity, SourceId, SourceMap, Span};
use crate::value::Value;
use crate::visible;

/// For machines: `{version, diagnostics: [{code, severity, message, file, line, column, end_line, end_column,
/// help}]}`.
pub fn render_json(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    let all: Vec<Value> = diagnostics.iter().map(|diagnostic| object(diagnostic, sources)).collect();
    visible::json(format!("{:#}\n", json!({"version": 1, "diagnostics": all})))
}

/// SARIF 2.1.0, for code scanning.
pub fn render_sarif(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    visible::json(format!("{:#}\n", sarif(diagnostics, sources)))
}

/// For people: the wrong text underlined, then the number of diagnostics.
pub fn render_text(diagnostics: &[Diagnostic], sources: &SourceMap, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut all = String::new();
    for diagnostic in diagnostics {
        all.push_str(&shown(diagnostic, sources, &renderer));
        all.push_str("\n\n");
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let words = [Severity::Error, Severity::Warning, Severity::Note];
    let words = words.map(|severity| (count(severity), severity.word()));
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

/// Stands in for line and column until those of the file are known: titles never contain it.
const MOVED: &str = "\u{fdd0}";

/// One diagnostic with the texts of its spans.
fn shown(diagnostic: &Diagnostic, sources: &SourceMap, renderer: &Renderer) -> String {
    let mut ids: Vec<SourceId> = Vec::new();
    for label in &diagnostic.labels {
        if !ids.contains(&label.span.source) {
            ids.push(label.span.source);
        }
    }
    let mut moved = Vec::new();
    let mut elements = Vec::new();
    for id in ids {
        let name = visible::line(&sources.get(id).name, 1000);
        for window in windows(diagnostic, id, sources) {
            let mark = if window.moved.is_some() { MOVED } else { "" };
            moved.extend(window.moved);
            elements.push(snippet(window, format!("{name}{mark}"), diagnostic));
        }
    }
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(visible::escape(&diagnostic.message)).id(diagnostic.code.number());
    let group = title.elements(elements);
    let rendered = renderer.render(&[match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(visible::escape(help))),
        None => group,
    }]);
    moved.into_iter().fold(rendered, put_place)
}

fn snippet<'a>(window: Window<'a>, path: String, diagnostic: &'a Diagnostic) -> Snippet<'a, Annotation<'a>> {
    let Window { text, line, places, .. } = window;
    let annotations = places.into_iter().map(|(at, place)| {
        let kind = if at == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let label = diagnostic.labels[at].text.as_str();
        if label.is_empty() { kind.span(place) } else { kind.span(place).label(label) }
    });
    Snippet::source(text).path(path).line_start(line).annotations(annotations)
}

/// Replaces line and column of the shown part with those of the file.
fn put_place(rendered: String, (line, column): (usize, usize)) -> String {
    let Some((before, rest)) = rendered.split_once(MOVED) else { return rendered };
    let rest = rest.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
    format!("{before}:{line}:{column}{rest}")
}

fn object(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let place = diagnostic.span().map(|span| SourceRange::of(span, sources));
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

struct SourceRange {
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

impl SourceRange {
    fn of(span: Span, sources: &SourceMap) -> Self {
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

fn sarif(diagnostics: &[Diagnostic], sources: &SourceMap) -> Value {
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

fn result(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let text = match &diagnostic.help {
        Some(help) => format!("{}\n{help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let locations: Vec<Value> = diagnostic
        .span()
        .map(|span| SourceRange::of(span, sources))
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
pub fn render_github(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    let all: Vec<github::Annotation<'_>> =
        diagnostics.iter().map(|found| annotation(found, sources)).collect();
    github::render(&all)
}

fn annotation(diagnostic: &Diagnostic, sources: &SourceMap) -> github::Annotation<'static> {
    let place = diagnostic.span().map(|span| SourceRange::of(span, sources));
    let at = place
        .as_ref()
        .map_or_else(String::new, |place| format!("{}:{}:{}: ", place.file, place.line, place.column));
    let help = diagnostic.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    github::Annotation {
        severity: match diagnostic.severity {
            Severity::Note => "notice",
            severity => severity.word(),
        },
        title: format!("{} {}", diagnostic.code, diagnostic.code.title()),
        place: place.map(|place| github::FileLines {
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

    fn sample(count: usize) -> (Vec<Diagnostic>, SourceMap) {
        let mut sources = SourceMap::new();
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
            first.starts_with("::error title=E0102 unknown key,file=pipelines/ü.toml,line=1,"),
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
    fn of_a_long_line_only_what_is_around_the_place_is_shown() {
        let mut sources = SourceMap::new();
        let line = format!("a = ['{}', 'wrong', '{}']", "ü".repeat(3_000), "y".repeat(300_000));
        let id = sources.add("x.toml", format!("b = 1\n{line}\nc = 2\n"));
        let at = sources.get(id).text.find("wrong").unwrap();
        let first =
            Diagnostic::new(Code::UnknownKey, "odd\u{fdd0}:1:1").at(sources.span(id, at..at + 5), "here");
        let found = first.at(sources.span(id, 0..1), "and there");
        let text = render_text(&[found], &sources, false);
        assert!(text.contains("--> x.toml:2:3011\n") && text.contains("::: x.toml:1:1\n"), "{text}");
        assert!(
            text.contains("2 | … üü") && text.contains("^^^^^ here") && text.contains("1 | b = 1"),
            "{text}"
        );
        assert!(text.len() < 1_500, "{text}");
    }

    #[test]
    fn what_a_text_hides_is_masked() {
        let mut sources = SourceMap::new();
        let id = sources.add("x.yaml", "a: 1\nkey: Bearer abcdef # abcdef\n");
        sources.hide(id, [17..23, 26..32]);
        let found = Diagnostic::new(Code::UnknownKey, "odd").at(sources.span(id, 24..25), "here");
        let text = render_text(&[found], &sources, false);
        assert!(text.contains("--> x.yaml:2:20\n") && text.contains("2 | key: Bearer *** # ***"), "{text}");
        assert!(text.contains("|                 ^ here"), "{text}");
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
