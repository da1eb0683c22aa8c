//! Cutting long text for prompts: whole lines, and a mark that says how much is missing.

use minijinja::Value as Inner;

use crate::expr::check::{Checked, count, made, text};
use crate::expr::machine::Machine;

pub(super) fn head_text(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    match head(text(&args[0])?, count(&args[1])?) {
        Some(cut) => made(cut),
        None => Ok(args[0].clone()),
    }
}

pub(super) fn tail_text(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    match tail(text(&args[0])?, count(&args[1])?) {
        Some(cut) => made(cut),
        None => Ok(args[0].clone()),
    }
}

/// The beginning of `subject` in whole lines, at most `chars` characters of it, and how much was cut; `None` where it fits.
pub fn head(subject: &str, chars: usize) -> Option<String> {
    let limit = subject.char_indices().nth(chars).map(|(at, _)| at)?;
    let kept = subject[..limit].rfind('\n').map_or(limit, |at| at + 1);
    let end = if kept == 0 || subject[..kept].ends_with('\n') { "" } else { "\n" };
    Some(format!("{}{end}… {} bytes cut …", &subject[..kept], subject.len() - kept))
}

/// The end of `subject` in the same way.
pub fn tail(subject: &str, chars: usize) -> Option<String> {
    let total = subject.chars().count();
    if total <= chars {
        return None;
    }
    let limit = subject.char_indices().nth(total - chars).map_or(subject.len(), |(at, _)| at);
    // A limit right behind a line break loses nothing of the line.
    let whole = limit == 0 || subject[..limit].ends_with('\n');
    let kept = match subject[limit..].find('\n') {
        Some(at) if !whole && limit + at + 1 < subject.len() => limit + at + 1,
        _ => limit,
    };
    Some(format!("… {kept} bytes cut …\n{}", &subject[kept..]))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Expr, Functions, Scope};

    fn eval(text: &str) -> String {
        let expr = Expr::parse(text, &Functions::empty()).unwrap();
        expr.eval(&Scope::new()).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn text_that_fits_is_left_alone() {
        assert_eq!(eval("'one\\ntwo' | head_text(7)"), "one\ntwo");
        assert_eq!(eval("'one\\ntwo' | tail_text(7)"), "one\ntwo");
    }

    #[test]
    fn lines_stay_whole_and_the_mark_counts_bytes() {
        assert_eq!(eval("'one\\ntwo\\nthree' | head_text(6)"), "one\n… 9 bytes cut …");
        assert_eq!(eval("'one\\ntwo\\nthree' | tail_text(7)"), "… 8 bytes cut …\nthree");
        assert_eq!(eval("'one\\ntwo' | tail_text(3)"), "… 4 bytes cut …\ntwo");
    }

    #[test]
    fn a_single_long_line_is_cut_inside() {
        assert_eq!(eval("'ääää' | head_text(3)"), "äää\n… 2 bytes cut …");
        assert_eq!(eval("'ääää' | tail_text(3)"), "… 2 bytes cut …\näää");
    }
}
