//! Filters that measure lists and calculate with single numbers.

use minijinja::Value as Inner;

use super::numbers::{key_of, numbers};
use crate::expr::check::{Checked, items, number, same, text, whole, wrong, wrong_with};
use crate::expr::machine::Machine;
use crate::expr::record;

/// `percentile(subject, p, attribute)`, with linear interpolation between neighbours.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a list"
)]
pub(super) fn percentile(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let percent = number(&args[1])?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(wrong_with("a percentile is from 0 to 100", "the median is `percentile(50)`"));
    }
    let mut values = numbers(&[args[0].clone(), args[2].clone()])?;
    if values.is_empty() {
        return Ok(Inner::UNDEFINED);
    }
    values.sort();
    let place = (values.len() - 1) as f64 * percent / 100.0;
    let (below, part) = (place.floor() as usize, place.fract());
    if part == 0.0 {
        return Ok(values[below].clone());
    }
    let (low, high) = (number(&values[below])?, number(&values[(below + 1).min(values.len() - 1)])?);
    Ok(Inner::from(low + (high - low) * part))
}

pub(super) fn sqrt(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let value = number(&args[0])?;
    if value < 0.0 {
        return Err(wrong("a negative number has no square root"));
    }
    Ok(Inner::from(value.sqrt()))
}

/// `log(subject, base)`.
pub(super) fn log(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let value = number(&args[0])?;
    if value <= 0.0 {
        return Err(wrong("only a number above 0 has a logarithm"));
    }
    if args[1].is_none() {
        return Ok(Inner::from(value.ln()));
    }
    let base = number(&args[1])?;
    if base <= 0.0 || (base - 1.0).abs() < f64::EPSILON {
        return Err(wrong("the base of a logarithm is above 0 and is not 1"));
    }
    // Powers of these have whole logarithms.
    let exact = [(2.0, value.log2()), (10.0, value.log10())]
        .into_iter()
        .find(|(known, _)| base.to_bits() == f64::to_bits(*known));
    Ok(Inner::from(exact.map_or_else(|| value.ln() / base.ln(), |(_, log)| log)))
}

/// `enumerate(subject, start)`.
pub(super) fn enumerate(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let start = if args[1].is_none() { 0 } else { whole(&args[1])? };
    let mut pairs = Vec::new();
    for (place, item) in (start..=i64::MAX).zip(items(&args[0])?) {
        pairs.push(record::list(vec![Inner::from(place), item]));
        if pairs.len() > crate::expr::check::MAX_ITEMS {
            return Err(wrong(format!("a list of more than {} items", crate::expr::check::MAX_ITEMS)));
        }
    }
    Ok(record::list(pairs))
}

/// `index(subject, value, attribute)`: the first place of the value, or none.
pub(super) fn index(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let none = || Inner::from(());
    if let (Some(subject), true) = (args[0].as_str(), args[2].is_none()) {
        let found = subject.find(text(&args[1])?);
        return Ok(found.map_or_else(none, |at| Inner::from(subject[..at].chars().count())));
    }
    for (place, item) in items(&args[0])?.enumerate() {
        if same(&key_of(&item, &args[2])?, &args[1]).unwrap_or(false) {
            return Ok(Inner::from(place));
        }
    }
    Ok(none())
}

/// `without(subject, keys…)`.
pub(super) fn without(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let keys = args[1..].iter().map(text).collect::<Checked<Vec<_>>>()?;
    let entries = super::lists::entries(&args[0])?;
    let kept = entries.into_iter().filter(|(key, _)| !key.as_str().is_some_and(|key| keys.contains(&key)));
    Ok(record::table_of_unequal(kept.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Expr, Functions, Scope};
    use serde_json::json;

    fn eval(text: &str) -> Result<serde_json::Value, String> {
        let value = Expr::parse(text, &Functions::empty()).unwrap().eval(&Scope::new());
        value.map(|value| value.to_value()).map_err(|error| error.message)
    }

    #[test]
    fn measures_have_limits() {
        assert_eq!(
            eval("[[1, 2, 3, 4] | percentile(25), [1] | percentile(99), [4, 1] | percentile(100)]").unwrap(),
            json!([1.75, 1, 4])
        );
        assert_eq!(eval("[{'n': 1}, {'n': 3}] | percentile(50, 'n')").unwrap(), json!(2.0));
        assert!(eval("[1] | percentile(101)").unwrap_err().contains("from 0 to 100"));
        assert!(eval("-1 | sqrt").unwrap_err().contains("no square root"));
        assert!(eval("0 | log").unwrap_err().contains("above 0"));
        assert!(eval("2 | log(1)").unwrap_err().contains("is not 1"));
        assert_eq!(eval("[1000 | log(10), 1024 | log(2), 1 | log]").unwrap(), json!([3.0, 10.0, 0.0]));
    }

    #[test]
    fn places_are_those_of_equal_values() {
        assert_eq!(eval("[[1, 2.0, 2] | index(2), 'aäb' | index('b'), [1] | index('1'), [{'k': 'x'}] | index('x', 'k')]").unwrap(), json!([1, 2, null, 0]));
        assert_eq!(eval("['a'] | enumerate(1)").unwrap(), json!([[1, "a"]]));
        assert_eq!(eval("{'a': 1, 'b': 2, 'c': 3} | without('a', 'c')").unwrap(), json!({"b": 2}));
    }

    #[test]
    fn an_empty_list_has_the_extreme_that_is_given() {
        assert_eq!(eval("[] | max(default=0)").unwrap(), 0);
        assert_eq!(eval("[] | max(attribute='rank', default=none)").unwrap(), json!(null));
        assert_eq!(
            eval("[{'rank': 2}, {'rank': 5}] | max(attribute='rank', default=none)").unwrap(),
            json!({"rank": 5})
        );
        assert_eq!(eval("[] | min(default='x')").unwrap(), "x");
        assert!(eval("([] | max) + 1").is_err());
    }
}
