//! Finds credentials that are written literally in scenario files, so that quoted lines do not show them.
//! The files may be broken, so there may be no parsed scenario to read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::diag::{Diagnostic, SourceMap};
use crate::scenario::reader::yaml::{self, YamlNode};
use crate::scenario::values::credentials::{
    CredentialKind, MASK, is_header, is_literal, keys_in, literals, scheme,
};
use crate::scenario::values::variables::placeholders;

/// Shorter credentials are words that messages may contain for other reasons.
const SHORTEST: usize = 6;

/// Most credentials of a file that are searched for in the rest of it.
const MOST_REPEATED: usize = 200;

/// A line `NAME: VALUE` of a file that is not valid YAML.
static PAIR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?m)["']?([A-Za-z][A-Za-z0-9_-]*)["']?[ \t]*:[ \t]+["']?([^\s{\["'][^\r\n"']*)"#).ok()
});

/// Hides the literal credentials in the texts of `sources`, and masks them in the messages of `found`.
pub fn hide(sources: &mut SourceMap, found: &mut [Diagnostic]) {
    let texts: Vec<_> = sources.iter().map(|(id, source)| (id, source.text.clone())).collect();
    let mut values = BTreeSet::new();
    for (id, text) in texts {
        let mut spans = spans(&text);
        let own: BTreeSet<&str> = spans
            .iter()
            .flat_map(|span| said(&text[span.clone()]))
            .filter(|value| value.len() >= SHORTEST)
            .collect();
        for value in own.iter().take(MOST_REPEATED) {
            spans.extend(text.match_indices(value).map(|(at, value)| at..at + value.len()));
        }
        values.extend(own.into_iter().map(str::to_owned));
        sources.hide(id, spans);
    }
    for complaint in found {
        let Diagnostic { message, labels, help, .. } = complaint;
        let texts =
            std::iter::once(message).chain(labels.iter_mut().map(|label| &mut label.text)).chain(help);
        for text in texts {
            // Longest first: one may be part of another.
            let mut inside: Vec<&String> =
                values.iter().filter(|value| text.contains(value.as_str())).collect();
            inside.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
            for value in inside {
                *text = text.replace(value.as_str(), MASK);
            }
        }
    }
}

/// The parts of a credential that a message may repeat: all of it, or the text between its variables.
fn said(credential: &str) -> impl Iterator<Item = &str> {
    let words = credential.split_whitespace().filter(|word| is_literal(word));
    std::iter::once(credential).chain(literals(credential).map(str::trim)).chain(words)
}

/// The spans of literal credentials in a scenario file.
fn spans(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = keys_in(text).collect();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        found.extend(written(CredentialKind::Url, line).map(|span| {
            // The end of a flow list or mapping does not belong to the value.
            let value = line[span.clone()].trim_end_matches([',', '}', ']']);
            start + span.start..start + span.start + value.len()
        }));
        start += line.len();
    }
    if let Ok(documents) = yaml::parse(text) {
        let mut walk = CredentialFinder { text, names: BTreeSet::new(), found };
        documents.iter().for_each(|node| walk.node(node, KeyContext::Anything));
        let names = std::mem::take(&mut walk.names);
        documents.iter().for_each(|node| walk.variables(node, &names));
        return walk.found;
    }
    for pair in PAIR.iter().flat_map(|pair| pair.captures_iter(text)) {
        let (Some(name), Some(value)) = (pair.get(1), pair.get(2)) else { continue };
        if is_header(name.as_str()) {
            let spans = written(CredentialKind::Header(name.as_str()), value.as_str());
            found.extend(spans.map(|span| value.start() + span.start..value.start() + span.end));
        }
    }
    found
}

/// The credentials in `text` that do not consist of variables alone.
fn written<'t>(kind: CredentialKind<'_>, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    kind.spans(text).into_iter().filter(move |span| is_literal(&text[span.clone()]))
}

/// Meaning of a table, by the key that holds it.
#[derive(Clone, Copy)]
enum KeyContext {
    Headers,
    Cookies,
    Query,
    Anything,
}

struct CredentialFinder<'t> {
    text: &'t str,
    /// Variables that are used as credentials.
    names: BTreeSet<String>,
    found: Vec<Range<usize>>,
}

impl CredentialFinder<'_> {
    fn node(&mut self, node: &YamlNode, around: KeyContext) {
        match &node.kind {
            yaml::NodeKind::Scalar(_) => {}
            yaml::NodeKind::List(items) => {
                items.iter().for_each(|item| self.node(item, KeyContext::Anything));
            }
            yaml::NodeKind::Table(entries) => {
                for (key, value) in entries {
                    let name = key.scalar_text().unwrap_or_default();
                    match around {
                        KeyContext::Headers => self.values(value, CredentialKind::Header(&name)),
                        KeyContext::Cookies => self.values(value, CredentialKind::Cookie),
                        KeyContext::Query => self.values(value, CredentialKind::Parameter(&name)),
                        KeyContext::Anything => self.values(value, CredentialKind::Url),
                    }
                    self.node(value, around_of(&name));
                }
            }
        }
    }

    /// A scalar, or a list of them.
    fn values(&mut self, node: &YamlNode, kind: CredentialKind<'_>) {
        if let yaml::NodeKind::List(items) = &node.kind {
            return items.iter().for_each(|item| self.value(item, kind));
        }
        self.value(node, kind);
    }

    fn value(&mut self, node: &YamlNode, kind: CredentialKind<'_>) {
        let Some(value) = node.scalar_text() else { return };
        for span in kind.spans(&value) {
            let credential = &value[span.clone()];
            let secret = match kind {
                CredentialKind::Url => {
                    credential.split_once(':').map_or(credential, |(_, password)| password)
                }
                _ => credential,
            };
            self.names.extend(placeholders(secret).into_iter().map(|(_, _, name)| name.to_owned()));
            if is_literal(credential) {
                self.hide(node, &value, span);
            }
        }
    }

    /// Hides a part of a scalar; the whole scalar if it is written with escapes.
    fn hide(&mut self, node: &YamlNode, value: &str, part: Range<usize>) {
        let Some(raw) = self.text.get(node.at.clone()) else { return };
        self.found.push(match raw.find(value) {
            Some(at) => node.at.start + at + part.start..node.at.start + at + part.end,
            None => node.at.clone(),
        });
    }

    /// Hides the values of the variables `names`, wherever they are set.
    fn variables(&mut self, node: &YamlNode, names: &BTreeSet<String>) {
        match &node.kind {
            yaml::NodeKind::Scalar(_) => {}
            yaml::NodeKind::List(items) => items.iter().for_each(|item| self.variables(item, names)),
            yaml::NodeKind::Table(entries) => {
                for (key, value) in entries {
                    let name = key.scalar_text().unwrap_or_default();
                    let text = value.scalar_text().filter(|_| names.contains(&name));
                    if let Some(text) = text.filter(|text| is_literal(text)) {
                        let start = scheme(&text).map_or(0, |scheme| scheme.len() + 1);
                        self.hide(value, &text, start..text.len());
                    }
                    self.variables(value, names);
                }
            }
        }
    }
}

fn around_of(key: &str) -> KeyContext {
    match key {
        "headers" | "metadata" => KeyContext::Headers,
        "cookies" => KeyContext::Cookies,
        "query" => KeyContext::Query,
        _ => KeyContext::Anything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Code;

    fn shown(text: &str) -> String {
        let mut sources = SourceMap::new();
        let id = sources.add("x.yaml", text);
        hide(&mut sources, &mut []);
        let source = sources.get(id);
        let (mut shown, mut done) = (String::new(), 0);
        for hidden in source.hidden_in(&(0..text.len())) {
            shown = shown + &text[done..hidden.start] + MASK;
            done = hidden.end;
        }
        shown + &text[done..]
    }

    #[test]
    fn what_reports_mask_is_hidden_in_the_file() {
        for (text, wanted) in [
            (
                "headers: { Authorization: Bearer abc, Accept: x }",
                "headers: { Authorization: Bearer ***, Accept: x }",
            ),
            ("headers:\n  x-api-key: 'it''s one'\n", "headers:\n  x-api-key: ***\n"),
            (
                "cookies: { s: abc1 }\nquery: { token: [a, '{b}'], page: 2 }",
                "cookies: { s: *** }\nquery: { token: [***, '{b}'], page: 2 }",
            ),
            ("path: /a?api_key=abc&page=2", "path: /a?api_key=***&page=2"),
            ("url: ws://me:pw@h/feed", "url: ws://***@h/feed"),
            (
                "variables: { t: abcdef, o: vwxyz }\nheaders: { authorization: 'Bearer {t}' }",
                "variables: { t: ***, o: vwxyz }\nheaders: { authorization: 'Bearer {t}' }",
            ),
            ("json: { password: x }", "json: { password: x }"),
            ("{ path: /a?token=abc, x: 1 }", "{ path: /a?token=***, x: 1 }"),
            ("headers: { authorization: abcdef }\nx: abcdef", "headers: { authorization: *** }\nx: ***"),
            // Not valid YAML.
            ("a: [\nAuthorization: Bearer abc\nname: x", "a: [\nAuthorization: Bearer ***\nname: x"),
            ("a: [\nheaders: { Authorization: Bearer abc }", "a: [\nheaders: { Authorization: Bearer ***"),
            ("a: sk-abcdefghijklmnopqrstuvwxyz", "a: ***"),
        ] {
            assert_eq!(shown(text), wanted);
        }
    }

    #[test]
    fn what_is_said_of_a_credential_is_masked() {
        let mut sources = SourceMap::new();
        sources.add("x.yaml", "headers: { authorization: 'Bearer abcdef-{n}' }");
        let said = Diagnostic::new(Code::ScenarioValue, "`Bearer abcdef-{n}` is odd").help("not `abcdef-`");
        let mut found = [said];
        hide(&mut sources, &mut found);
        assert_eq!(found[0].message, "`Bearer ***` is odd");
        assert_eq!(found[0].help.as_deref(), Some("not `***`"));
    }
}
