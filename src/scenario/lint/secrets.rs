use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::Linter;
use crate::diag::Code;

/// How keys of well-known kinds look.
static KINDS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let kinds = [
        r"\bsk-[A-Za-z0-9_-]{20,}",
        r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{36,}",
        r"\bgithub_pat_[A-Za-z0-9_]{40,}",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
        r"\bAIza[0-9A-Za-z_-]{35}\b",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)",
    ];
    kinds.iter().filter_map(|kind| Regex::new(kind).ok()).collect()
});

/// Where `text` holds what looks like a key.
pub fn keys_in(text: &str) -> impl Iterator<Item = Range<usize>> {
    KINDS.iter().flat_map(move |kind| kind.find_iter(text)).map(|found| found.range())
}

/// Complains about every line that holds what looks like a key. The key itself is not repeated.
pub fn find(linter: &mut Linter<'_>) {
    let text = linter.text();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if keys_in(line).next().is_some() {
            let indent = line.len() - line.trim_start().len();
            let span = linter.sources.span(linter.source, start + indent..start + line.trim_end().len());
            linter.at(Code::LintSecret, span, "this line holds what looks like a secret").help =
                Some("give the value in a variable of the run".into());
        }
        start += line.len();
    }
}
