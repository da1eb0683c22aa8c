//! What a pipeline's functions gave last: entries of `compute` cannot see each other, so they call the same function with the
//! same arguments in one round.

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use super::data::{is_given, is_one_object};
use super::extent::extent;

/// The most arguments of a call that is kept, and the most bytes of a text among them and of the value, roughly.
const MOST: usize = 8;
const MOST_BYTES: u64 = 64 * 1024;

/// The last call of each function, with its value. Functions are pure, so it holds for as long as the pipeline does.
#[derive(Clone, Debug, Default)]
pub struct Memo(Vec<Last>);

#[derive(Clone, Debug, Default)]
struct Last {
    args: Vec<Inner>,
    value: Option<Inner>,
    work: u64,
}

impl Memo {
    /// The value of the function at `place`, and the work that it took, where its last arguments were `args`.
    pub(super) fn get(&self, place: usize, args: &[Inner]) -> Option<(Inner, u64)> {
        let last = self.0.get(place)?;
        let value = last.value.as_ref()?;
        let same = last.args.len() == args.len() && last.args.iter().zip(args).all(|(a, b)| is_same(a, b));
        same.then(|| (value.clone(), last.work))
    }

    /// Keeps the value of a call instead of that of the call before.
    pub(super) fn keep(&mut self, place: usize, args: &[Inner], value: &Inner, work: u64) {
        let is_small = |value: &Inner| value.as_str().is_none_or(|text| text.len() as u64 <= MOST_BYTES);
        if args.len() > MOST
            || !args.iter().all(is_small)
            || !(is_given(value) || extent(value).size <= MOST_BYTES)
        {
            return;
        }
        if self.0.len() <= place {
            self.0.resize_with(place + 1, Last::default);
        }
        let last = &mut self.0[place];
        last.args.clear();
        last.args.extend_from_slice(args);
        (last.value, last.work) = (Some(value.clone()), work);
    }
}

/// Whether no expression can tell the two apart: `1` and `1.0` are equal and not the same.
fn is_same(a: &Inner, b: &Inner) -> bool {
    match (a.kind(), b.kind()) {
        (ValueKind::Number, ValueKind::Number) => a.is_integer() && b.is_integer() && a == b,
        (ValueKind::String, ValueKind::String)
        | (ValueKind::Bool, ValueKind::Bool)
        | (ValueKind::None, ValueKind::None) => a == b,
        _ => is_one_object(a, b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Functions, Scope};
    use super::*;

    fn functions() -> std::sync::Arc<Functions> {
        let function = |name: &str, args: &[&str], value: &str| {
            (name.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect(), value.to_owned())
        };
        Functions::build(vec![
            function("text", &["x"], "x | string"),
            function("size", &["x"], "x | length"),
            function("half", &["x"], "10 / x"),
        ])
        .unwrap()
    }

    #[test]
    fn values_are_those_without_a_memo_whatever_the_arguments_were_before() {
        let (functions, mut memo) = (functions(), Memo::default());
        for text in [
            "[text(1), text(1.0), text(1), text('1'), text(true), text(none)]",
            "[size('ab'), size([1]), size('ab'), size([1, 2]), size([1, 2])]",
            "[text(size([text(7), 2])), text(2), size(text(2) ~ text(10))]",
            "[half(2), half(2), half(5)]",
        ] {
            let expr = Expr::parse(text, &functions).unwrap();
            let without = expr.eval(&Scope::new()).unwrap();
            for _ in 0..2 {
                let with = expr.eval_with(&Scope::new(), &mut memo).unwrap();
                assert_eq!(with.to_value(), without.to_value(), "{text}");
            }
        }
    }

    #[test]
    fn a_kept_value_is_as_much_work_as_finding_it_and_a_failure_is_not_kept() {
        let (functions, mut memo) = (functions(), Memo::default());
        let mut work = || {
            let allowance = std::sync::Arc::new(super::super::Allowance::new(1_000));
            let scope = Scope::new().within(allowance.clone());
            Expr::parse("text(1)", &functions).unwrap().eval_with(&scope, &mut memo).unwrap();
            allowance.left()
        };
        assert_eq!(work(), work());
        let wrong = Expr::parse("half(0)", &functions).unwrap();
        for _ in 0..2 {
            assert!(wrong.eval_with(&Scope::new(), &mut memo).is_err());
        }
        assert!(memo.get(2, &[Inner::from(0)]).is_none());
        memo.keep(2, &[Inner::from(5)], &Inner::from("x".repeat(70_000)), 1);
        memo.keep(2, &[Inner::from("x".repeat(70_000))], &Inner::from(5), 1);
        assert!(memo.get(2, &[Inner::from(5)]).is_none(), "what is large is not kept");
        assert_eq!(memo.get(0, &[Inner::from(1)]).map(|(value, _)| value.to_string()), Some("1".to_owned()));
    }
}
