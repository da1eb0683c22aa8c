//! The closed list of tests: what may follow `is`.

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use super::check::{Checked, is_list, items, noun_error, order, same, text, whole, wrong};

/// A test: its name, how many arguments it takes, what it asks.
pub(super) struct Test {
    pub name: &'static str,
    pub args: usize,
    pub ask: fn(&[Inner]) -> Checked<bool>,
}

const fn test(name: &'static str, args: usize, ask: fn(&[Inner]) -> Checked<bool>) -> Test {
    Test { name, args, ask }
}

/// Every test, sorted by name.
pub(super) static TESTS: &[Test] = &[
    test("boolean", 0, |args| Ok(args[0].kind() == ValueKind::Bool)),
    test("defined", 0, |args| Ok(!args[0].is_undefined())),
    test("divisibleby", 1, |args| match whole(&args[1])? {
        0 => Err(wrong("nothing is divisible by zero")),
        divisor => Ok(whole(&args[0])?.wrapping_rem(divisor) == 0),
    }),
    test("endingwith", 1, |args| Ok(text(&args[0])?.ends_with(text(&args[1])?))),
    test("eq", 1, |args| same(&args[0], &args[1])),
    test("even", 0, |args| Ok(whole(&args[0])? % 2 == 0)),
    test("false", 0, |args| Ok(args[0].kind() == ValueKind::Bool && !args[0].is_true())),
    test("float", 0, |args| Ok(args[0].is_number() && !args[0].is_integer())),
    test("ge", 1, |args| Ok(order(&args[0], &args[1])?.is_ge())),
    test("gt", 1, |args| Ok(order(&args[0], &args[1])?.is_gt())),
    test("in", 1, |args| contains(&args[1], &args[0])),
    test("integer", 0, |args| Ok(args[0].is_number() && args[0].is_integer())),
    test("iterable", 0, |args| Ok(args[0].try_iter().is_ok() && !args[0].is_none())),
    test("le", 1, |args| Ok(order(&args[0], &args[1])?.is_le())),
    test("lower", 0, |args| text(&args[0]).map(|text| !text.chars().any(char::is_uppercase))),
    test("lt", 1, |args| Ok(order(&args[0], &args[1])?.is_lt())),
    test("mapping", 0, |args| Ok(args[0].kind() == ValueKind::Map)),
    test("matching", 1, |args| super::filters::matches(text(&args[0])?, text(&args[1])?)),
    test("ne", 1, |args| same(&args[0], &args[1]).map(|same| !same)),
    test("none", 0, |args| Ok(args[0].is_none())),
    test("number", 0, |args| Ok(args[0].is_number())),
    test("odd", 0, |args| Ok(whole(&args[0])? % 2 != 0)),
    test("sequence", 0, |args| Ok(is_list(&args[0]))),
    test("startingwith", 1, |args| Ok(text(&args[0])?.starts_with(text(&args[1])?))),
    test("string", 0, |args| Ok(args[0].kind() == ValueKind::String)),
    test("true", 0, |args| Ok(args[0].kind() == ValueKind::Bool && args[0].is_true())),
    test("undefined", 0, |args| Ok(args[0].is_undefined())),
    test("upper", 0, |args| text(&args[0]).map(|text| !text.chars().any(char::is_lowercase))),
];

/// The names of all tests.
pub fn tests() -> impl Iterator<Item = &'static str> {
    TESTS.iter().map(|test| test.name)
}

/// The test of that name.
pub(super) fn find(name: &str) -> Option<&'static Test> {
    TESTS.binary_search_by(|test| test.name.cmp(name)).ok().map(|at| &TESTS[at])
}

/// Asks the test `name` about the first of `args`.
pub(super) fn run(name: &str, args: &[Inner]) -> Checked<bool> {
    let test = find(name).ok_or_else(|| wrong(format!("there is no test `{name}`")))?;
    if args.len() != test.args + 1 {
        return Err(wrong(format!("`{name}` takes {} arguments", test.args)));
    }
    (test.ask)(args)
}

/// Whether `container` holds `value`: text in text, a key in an object, an item in a list.
pub(super) fn contains(container: &Inner, value: &Inner) -> Checked<bool> {
    match container.kind() {
        ValueKind::String => Ok(text(container)?.contains(text(value)?)),
        ValueKind::Map => {
            text(value).map(|key| container.get_attr(key).is_ok_and(|found| !found.is_undefined()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let equal = |item: Inner| item.kind() == value.kind() && same(&item, value).unwrap_or(false);
            Ok(items(container)?.any(equal))
        }
        _ => Err(noun_error("a list, an object or text after `in`", container)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_so_that_they_can_be_found() {
        assert!(TESTS.iter().map(|test| test.name).is_sorted());
        assert!(TESTS.iter().all(|test| find(test.name).is_some()));
    }
}
