//! Filters of text.

use std::sync::{Arc, Mutex};

use minijinja::Value as Inner;
use regex::{Regex, RegexBuilder};

use crate::expr::check::{Checked, bounded, count, display, flag, made, text, text_or, wrong, wrong_with};
use crate::expr::machine::Machine;
use crate::expr::record;
use crate::visible;

pub(super) fn upper(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    made(text(&args[0])?.to_uppercase())
}

pub(super) fn lower(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    made(text(&args[0])?.to_lowercase())
}

pub(super) fn capitalize(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let text = text(&args[0])?;
    let mut chars = text.chars();
    made(chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect()
    }))
}

pub(super) fn title(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut begins = true;
    let mut made_text = String::new();
    for c in text(&args[0])?.chars() {
        if begins {
            made_text.extend(c.to_uppercase());
        } else {
            made_text.extend(c.to_lowercase());
        }
        begins = !c.is_alphanumeric() && c != '\'';
    }
    made(made_text)
}

pub(super) fn trim(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let subject = text(&args[0])?;
    Ok(Inner::from(if args[1].is_none() {
        subject.trim()
    } else {
        let set = text(&args[1])?;
        subject.trim_matches(|c| set.contains(c))
    }))
}

pub(super) fn replace(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (subject, old, new) = (text(&args[0])?, text(&args[1])?, text(&args[2])?);
    let growth = subject.matches(old).count().saturating_mul(new.len());
    if subject.len().saturating_add(growth) > crate::expr::check::MAX_BYTES {
        return Err(crate::expr::check::too_long());
    }
    made(subject.replace(old, new))
}

pub(super) fn split(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let subject = text(&args[0])?;
    let at_most = if args[2].is_none() { usize::MAX } else { count(&args[2])?.saturating_add(1) };
    if args[1].is_none() {
        return bounded(subject.split_whitespace().map(Inner::from)).map(record::list);
    }
    let separator = text(&args[1])?;
    if separator.is_empty() {
        return Err(wrong("text cannot be split at nothing"));
    }
    bounded(subject.splitn(at_most, separator).map(Inner::from)).map(record::list)
}

pub(super) fn lines(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    bounded(text(&args[0])?.lines().map(Inner::from)).map(record::list)
}

pub(super) fn wordcount(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    Ok(Inner::from(text(&args[0])?.split_whitespace().count()))
}

pub(super) fn indent(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let subject = text(&args[0])?;
    let width = if args[1].is_none() { 4 } else { count(&args[1])? };
    if width > 200 {
        return Err(wrong("an indent is at most 200 spaces"));
    }
    let first = flag(&args[2])?;
    let pad = " ".repeat(width);
    let mut out = String::with_capacity(subject.len() + width);
    for (i, line) in subject.split_inclusive('\n').enumerate() {
        if (i > 0 || first) && !line.trim().is_empty() {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    made(out)
}

/// A code block whose fence is longer than any run of backticks in the text, so that the text cannot close it.
pub(super) fn fence(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let subject = display(&args[0]);
    let language = text_or(&args[1], "")?;
    let longest = subject.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    let end = if subject.is_empty() || subject.ends_with('\n') { "" } else { "\n" };
    made(format!("{fence}{language}\n{subject}{end}{fence}"))
}

/// Text that others wrote, for whoever must not be deceived by it.
pub(super) fn show_hidden(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    made(visible::escape(&display(&args[0])).into_owned())
}

pub(super) fn one_line(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let width = if args[1].is_none() { 200 } else { count(&args[1])? };
    made(visible::line(&display(&args[0]), width))
}

/// One line as a code span that the text cannot leave.
pub(super) fn code_span(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let width = if args[1].is_none() { 200 } else { count(&args[1])? };
    let line = visible::line(&display(&args[0]), width);
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    // A space keeps backticks at either end apart, and is no part of the text.
    let space = if longest == 0 && !line.is_empty() { "" } else { " " };
    made(format!("{ticks}{space}{line}{space}{ticks}"))
}

pub(super) fn string(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    made(display(&args[0]))
}

pub(super) fn regex_replace(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (subject, regex, with) = (text(&args[0])?, compiled(text(&args[1])?)?, text(&args[2])?);
    let found = regex.find_iter(subject).count();
    let references = with.matches('$').count();
    let size = found.saturating_mul(with.len()).saturating_add(subject.len().saturating_mul(references + 1));
    if size > crate::expr::check::MAX_BYTES.saturating_mul(4) {
        return Err(crate::expr::check::too_long());
    }
    made(regex.replace_all(subject, with).into_owned())
}

/// The first group if the pattern has one, else the whole match.
fn hit(found: &regex::Captures<'_>) -> Inner {
    let whole = found.get(0);
    let wanted = if found.len() > 1 { found.get(1) } else { whole };
    wanted.map_or_else(|| Inner::from(()), |part| Inner::from(part.as_str()))
}

pub(super) fn regex_find(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let found = compiled(text(&args[1])?)?;
    Ok(found.captures(text(&args[0])?).map_or_else(|| Inner::from(()), |found| hit(&found)))
}

pub(super) fn regex_findall(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let regex = compiled(text(&args[1])?)?;
    bounded(regex.captures_iter(text(&args[0])?).map(|found| hit(&found))).map(record::list)
}

/// Whether the pattern is found anywhere in `subject`.
pub(in crate::expr) fn matches(subject: &str, pattern: &str) -> Checked<bool> {
    Ok(compiled(pattern)?.is_match(subject))
}

/// Compiled patterns are kept: compiling costs far more than matching.
fn compiled(pattern: &str) -> Checked<Arc<Regex>> {
    const KEPT: usize = 64;
    static PATTERNS: Mutex<Vec<Arc<Regex>>> = Mutex::new(Vec::new());
    let kept = |list: &Vec<Arc<Regex>>| list.iter().find(|regex| regex.as_str() == pattern).cloned();
    let mut patterns = PATTERNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(regex) = kept(&patterns) {
        return Ok(regex);
    }
    let regex = RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| {
        let reason = error.to_string();
        let reason =
            reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        wrong_with(
            format!("`{pattern}` is not a pattern: {reason}"),
            "look-around and back-references do not exist",
        )
    })?;
    if patterns.len() >= KEPT {
        patterns.remove(0);
    }
    let regex = Arc::new(regex);
    patterns.push(Arc::clone(&regex));
    Ok(regex)
}
