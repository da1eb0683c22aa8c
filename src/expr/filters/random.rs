//! Filters that choose by a seed. The same list and seed give the same result on every machine, in every run.

use minijinja::Value as Inner;

use crate::expr::canonical::canonical_list;
use crate::expr::check::{Checked, count, list, number, whole, wrong, wrong_with};
use crate::expr::machine::Machine;
use crate::expr::record;
use crate::value::Digest;

/// A stream of numbers that depends on a filter's name and a seed alone (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn of(filter: &str, seed: &[Inner]) -> Self {
        Self(Digest::of(format!("{filter}:{}", canonical_list(seed))).seed())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `bound`, all equally likely.
    fn below(&mut self, bound: u64) -> u64 {
        // Numbers above the last whole multiple of `bound` would favour small results.
        let limit = u64::MAX - u64::MAX % bound.max(1);
        loop {
            let number = self.next();
            if number < limit {
                return number % bound.max(1);
            }
        }
    }

    fn place_below(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }

    /// A number from -1 up to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn signed(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

pub(super) fn choice(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let items = list(&args[0])?;
    if items.is_empty() {
        return Ok(Inner::UNDEFINED);
    }
    let place = Numbers::of("choice", &args[1..]).place_below(items.len());
    Ok(items[place].clone())
}

pub(super) fn shuffle(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let items = list(&args[0])?;
    let all = items.len();
    drawn(items, all, &mut Numbers::of("shuffle", &args[1..]))
}

pub(super) fn sample(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (items, wanted) = (list(&args[0])?, count(&args[1])?);
    if wanted > items.len() {
        let message = format!("a sample of {wanted} needs a longer list, this has {}", items.len());
        return Err(wrong_with(message, "take fewer: `[n, list | length] | min`"));
    }
    drawn(items, wanted, &mut Numbers::of("sample", &args[2..]))
}

/// The first `wanted` items of `items` in a chosen order.
fn drawn(mut items: Vec<Inner>, wanted: usize, numbers: &mut Numbers) -> Checked {
    for place in 0..wanted.min(items.len()) {
        let other = place + numbers.place_below(items.len() - place);
        items.swap(place, other);
    }
    items.truncate(wanted);
    Ok(record::list(items))
}

pub(super) fn randint(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (low, high) = (whole(&args[1])?, whole(&args[2])?);
    if low > high {
        return Err(wrong("the lower limit is above the upper one"));
    }
    let mut numbers = Numbers::of("randint", &[args[0].clone(), args[3].clone()]);
    let offset = match high.abs_diff(low).checked_add(1) {
        Some(bound) => numbers.below(bound),
        None => numbers.next(),
    };
    Ok(Inner::from(low.wrapping_add_unsigned(offset)))
}

/// Marsaglia's polar method, with arithmetic that is exactly the same on every machine.
pub(super) fn gauss(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (mean, deviation) = (number(&args[1])?, number(&args[2])?);
    if deviation < 0.0 {
        return Err(wrong("a standard deviation is not negative"));
    }
    let mut numbers = Numbers::of("gauss", &[args[0].clone(), args[3].clone()]);
    loop {
        let (x, y) = (numbers.signed(), numbers.signed());
        let square = x.mul_add(x, y * y);
        if square > 0.0 && square < 1.0 {
            let normal = x * (-2.0 * natural_log(square) / square).sqrt();
            return Ok(Inner::from(normal.mul_add(deviation, mean)));
        }
    }
}

/// The natural logarithm of a number between 0 and 1, without the mathematics library of the machine.
fn natural_log(number: f64) -> f64 {
    let (mut mantissa, mut exponent) = (number, 0.0);
    while mantissa < 0.75 {
        mantissa *= 2.0;
        exponent -= 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), and its series converges quickly near 1.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let (square, mut power, mut sum, mut odd) = (ratio * ratio, ratio, 0.0, 1.0);
    while odd < 40.0 {
        sum += power / odd;
        power *= square;
        odd += 2.0;
    }
    exponent * std::f64::consts::LN_2 + 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::super::super::{Expr, Functions, Scope};
    use super::*;

    fn eval(text: &str) -> serde_json::Value {
        Expr::parse(text, &Functions::empty()).unwrap().eval(&Scope::new()).unwrap().to_value()
    }

    #[test]
    fn a_logarithm_is_that_of_the_library() {
        for n in 1..1_000 {
            let x = f64::from(n) / 1_000.0;
            assert!((natural_log(x) - x.ln()).abs() < 1e-14, "{x}");
        }
        assert!((natural_log(1e-300) - 1e-300_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn chosen_numbers_are_spread_as_they_should_be() {
        let ints = eval(
            "range(6000) | map('randint', 1, 6, 'die') | group_by | map(attribute='items') | map('length') | sort",
        );
        let (least, most) = (ints[0].as_u64().unwrap(), ints[5].as_u64().unwrap());
        assert!(ints[6].is_null() && least > 900 && most < 1_100, "{ints}");
        let mean = eval("range(10000) | map('gauss', 5, 2, 'g') | mean").as_f64().unwrap();
        let deviation = eval("range(10000) | map('gauss', 5, 2, 'g') | stdev").as_f64().unwrap();
        assert!((mean - 5.0).abs() < 0.1 && (deviation - 2.0).abs() < 0.1, "{mean} {deviation}");
    }

    #[test]
    fn a_sample_has_no_item_twice_and_a_shuffle_has_all() {
        assert_eq!(eval("range(100) | sample(40, 1) | unique | length"), 40);
        assert_eq!(eval("(range(100) | shuffle('x') | sort) == (range(100) | list)"), true);
        assert_eq!(eval("(range(100) | shuffle('x')) == (range(100) | shuffle('y'))"), false);
        assert_eq!(eval("[] | shuffle(1)"), serde_json::json!([]));
        assert_eq!(eval("7 | randint(3, 3)"), 3);
        assert_eq!(eval("(7 | randint(-9223372036854775807, 9223372036854775807)) is integer"), true);
    }
}
