//! What is inferred is held against what evaluation says, for every filter, operator and test and for values of every kind.

use super::fault::FaultKind;
use super::filters::filters;
use super::tests_table::TESTS;
use super::{Data, Expr, Functions, Names, Scope, Shape, Step};
use crate::value::Value;
use serde_json::json;

/// Values by name: several of most kinds, so that nothing depends on one of them.
fn values() -> Value {
    json!({
        "whole": 3, "real": 2.5, "zero": 0, "yes": true, "no": false, "text": "abc", "digits": "12", "empty": "",
        "numbers": [3, 1, 2], "texts": ["b", "a"], "nothing": [], "table": {"a": 1, "b": "x"}, "pairs": [["k", 1]],
        "rows": [{"k": "x", "v": 1, "ok": true}, {"k": "y", "v": 2, "ok": false}], "truths": [true, false],
        "lists": [[1], [2]], "none": null, "json": "{\"a\": 1}", "bare": {},
    })
}

struct Known(Value);

fn shape_of(value: &Value) -> Shape {
    match value {
        Value::Null => Shape::None,
        Value::Bool(_) => Shape::Bool,
        Value::Number(_) => Shape::Number,
        Value::String(_) => Shape::Text,
        Value::Array(items) => Shape::list(Shape::one_of(items.iter().map(shape_of))),
        Value::Object(table) => Shape::table(table.iter().map(|(name, value)| (name, shape_of(value)))),
    }
}

impl Names for Known {
    fn shape(&self, path: &[Step]) -> Shape {
        let [Step::Key(root), rest @ ..] = path else { return Shape::Any };
        self.0.get(root).and_then(|value| shape_of(value).walk(rest).ok()).unwrap_or_default()
    }
}

/// Whether something is complained about, and whether it can be evaluated. `None` if it is no expression.
fn looked_at(source: &str, values: &Value) -> Option<(Vec<String>, Result<(), String>)> {
    let expr = Expr::parse(source, &Functions::empty()).ok()?;
    let (_, faults) = expr.infer(&Known(values.clone()));
    let entries = values.as_object().into_iter().flatten();
    let scope = entries.fold(Scope::new(), |scope, (name, value)| scope.with(name, Data::from_value(value)));
    let evaluated = expr.eval(&scope).map(drop).map_err(|error| error.message);
    // A condition that never changes is a warning.
    let mistakes = faults.into_iter().filter(|fault| fault.kind != FaultKind::Constant);
    Some((mistakes.map(|fault| fault.message).collect(), evaluated))
}

/// All expressions that apply a filter, a test or an operator to these values.
fn expressions(names: &[String]) -> Vec<String> {
    let with_arguments = |name: &str| {
        let given: &[&str] = match name {
            "chunk" | "head" | "tail" | "head_text" | "tail_text" => &["(2)", "(text)"],
            "clamp" => &["(0, 2)", "('a', 2)"],
            "jsonpath" => &["('$.a')", "(whole)"],
            "map" => &["('upper')", "(attribute='k')", "('round')"],
            "regex_find" | "regex_findall" => &["('[a-z]')", "(whole)"],
            "regex_replace" | "replace" => &["('a', 'b')", "('a', 1)"],
            "rejectattr" | "selectattr" => &["('ok')", "('k', 'eq', 'x')"],
            "zip" => &["([1, 2, 3])", "(text)"],
            "merge" => &["({'q': 1})", "(text)"],
            "join" | "split" | "trim" => &["", "(',')", "(whole)"],
            "round" | "indent" => &["", "(1)", "(text)"],
            "sort" => &["", "(reverse=true)", "(reverse=text)", "(attribute='k')"],
            "sum" | "min" | "max" | "unique" | "group_by" => &["", "(attribute='v')"],
            "default" => &["(1)"],
            "add" => &["('2h')", "(true)"],
            "choice" | "shuffle" => &["('s')"],
            "csv" | "date" => &["", "(1)"],
            "enumerate" | "log" => &["", "('a')"],
            "format" => &["('.2f')", "('>5')", "(2)"],
            "gauss" | "randint" => &["(1, 6)", "('a', 6)"],
            "index" => &["('a')", "(1)"],
            "percentile" => &["(50)", "('a')"],
            "sample" => &["(2, 's')", "(text, 's')"],
            "since" => &["(0)", "([])"],
            "without" => &["('k')", "(1)"],
            _ => &[""],
        };
        given.iter().map(|given| format!("{name}{given}")).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for name in names {
        for filter in filters() {
            all.extend(with_arguments(filter.name).iter().map(|filter| format!("{name} | {filter}")));
        }
        for test in TESTS {
            let given: &[&str] = if test.args == 0 { &[""] } else { &["(2)", "('a')", "([1, 'abc'])"] };
            all.extend(given.iter().map(|given| format!("{name} is {}{given}", test.name)));
        }
        all.extend([format!("-{name}"), format!("not {name}"), format!("1 if {name} else 2")]);
        for other in names {
            let operators = [
                "+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or",
                "in", "not in",
            ];
            all.extend(operators.iter().map(|op| format!("{name} {op} {other}")));
        }
    }
    all
}

#[test]
fn nothing_that_can_be_evaluated_is_complained_about() {
    let values = values();
    let names: Vec<String> = values.as_object().unwrap().keys().cloned().collect();
    let (mut complained, mut looked) = (0, 0);
    for source in expressions(&names) {
        let Some((faults, evaluated)) = looked_at(&source, &values) else { continue };
        looked += 1;
        complained += usize::from(!faults.is_empty());
        // A comparison with what may not be there is right, and one with something of another kind is a mistake although
        // `and` and `or` may not come to it.
        let lazy = source.contains(" and ") || source.contains(" or ");
        assert!(
            faults.is_empty() || evaluated.is_err() || lazy,
            "`{source}` works, and is refused: {faults:?}"
        );
    }
    assert!(looked > 8_000 && complained > 3_000, "{complained} of {looked}");
}

#[test]
fn values_of_the_wrong_kind_are_complained_about() {
    let values = values();
    let names: Vec<String> = values.as_object().unwrap().keys().cloned().collect();
    let silent: Vec<String> = expressions(&names)
        .into_iter()
        .filter_map(|source| {
            let (faults, evaluated) = looked_at(&source, &values)?;
            let error = evaluated.err()?;
            // Not of kinds: what a value says, how long it is, what its items are.
            let kind = error.starts_with("expected ") || error.starts_with("cannot ");
            (kind && faults.is_empty()).then(|| format!("{source}: {error}"))
        })
        .collect();
    assert!(silent.len() < 400, "{} are silent: {silent:#?}", silent.len());
}
