//! The canonical JSON of values, written without a copy of them.

use std::borrow::Borrow;

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use super::data::{outer, source};
use super::record;

/// The canonical JSON of `value`.
pub(super) fn canonical(value: &Inner) -> String {
    let mut text = String::with_capacity(64);
    write_canonical(value, &mut text);
    text
}

/// The same of a list of `items`.
pub(super) fn canonical_list(items: &[Inner]) -> String {
    let mut text = String::with_capacity(64);
    write_items(items, &mut text);
    text
}

fn write_items<I: Borrow<Inner>>(items: impl IntoIterator<Item = I>, text: &mut String) {
    text.push('[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_canonical(item.borrow(), text);
    }
    text.push(']');
}

pub(super) fn write_canonical(value: &Inner, text: &mut String) {
    if let Some(source) = source(value) {
        return crate::value::write_canonical(source, text);
    }
    match value.kind() {
        ValueKind::String => crate::value::write_text(value.as_str().unwrap_or_default(), text),
        ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => match record::items(value) {
            Some(items) => write_items(items, text),
            None => write_items(value.try_iter().into_iter().flatten(), text),
        },
        ValueKind::Number if value.is_integer() => match value.as_i64() {
            Some(whole) => write_whole(whole, text),
            None => crate::value::write_canonical(&outer(value), text),
        },
        _ => crate::value::write_canonical(&outer(value), text),
    }
}

fn write_whole(whole: i64, text: &mut String) {
    let mut digits = [b'0'; 20];
    let (mut left, mut from) = (whole.unsigned_abs(), digits.len());
    loop {
        from -= 1;
        // A digit fits.
        digits[from] = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if whole < 0 {
        text.push('-');
    }
    text.extend(digits[from..].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Functions, Scope};
    use super::*;

    #[test]
    fn what_is_written_is_the_canonical_json() {
        for text in [
            "[0, 9, 10, -1, 9223372036854775807, -9223372036854775808, 18446744073709551615, 1.0, 0.5]",
            "[[], [[1]], 'a\"\\b', {'b': 1, 'a': [none, true]}, {}]",
            "range(40) | list + [1]",
            "'text'",
            "7",
        ] {
            let value = Expr::parse(text, &Functions::empty()).unwrap().eval(&Scope::new()).unwrap();
            assert_eq!(canonical(&value.0), crate::value::canonical(&value.to_value()), "{text}");
            let all = canonical_list(&[value.0.clone(), Inner::from("x")]);
            assert_eq!(all, format!("[{},\"x\"]", canonical(&value.0)));
        }
    }
}
