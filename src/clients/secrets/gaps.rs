//! What is left of a secret where a text was cut: its first letters in front of the note about what was left out, its last ones
//! behind it.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Fewer letters of a secret are not hidden.
const FEWEST: usize = 4;

/// Notes about what was left out, with the line breaks and brackets around them.
static NOTE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\n\[]{0,2}… [0-9]+ bytes (?:left out|cut) …[\n\]]{0,2}").ok());

/// Finds parts of secrets around notes of what was left out.
#[derive(Default)]
pub(super) struct Gaps(Vec<Vec<u8>>);

impl Gaps {
    /// Finds parts of `forms`.
    pub(super) fn of<'f>(forms: impl Iterator<Item = &'f String>) -> Self {
        let mut forms: Vec<Vec<u8>> = forms.map(|form| form.as_bytes().to_vec()).collect();
        forms.sort_unstable();
        forms.dedup();
        Self(forms)
    }

    /// Adds where they are.
    pub(super) fn find(&self, bytes: &[u8], spans: &mut Vec<(usize, usize)>) {
        let Some(note) = NOTE.as_ref() else { return };
        for found in note.find_iter(bytes) {
            let (before, behind) = (&bytes[..found.start()], &bytes[found.end()..]);
            let first =
                self.0.iter().filter_map(|form| longest(form, |part| before.ends_with(part), false)).max();
            let last =
                self.0.iter().filter_map(|form| longest(form, |part| behind.starts_with(part), true)).max();
            spans.extend(first.map(|length| (before.len() - length, before.len())));
            spans.extend(last.map(|length| (found.end(), found.end() + length)));
        }
    }
}

/// The length of the longest beginning, or end, of `form` that fits. All of it is found without this.
fn longest(form: &[u8], fits: impl Fn(&[u8]) -> bool, end: bool) -> Option<usize> {
    let part = |length: &usize| if end { &form[form.len() - length..] } else { &form[..*length] };
    (FEWEST..form.len()).rev().find(|length| fits(part(length)))
}
