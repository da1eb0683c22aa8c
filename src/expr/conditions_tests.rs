//! Which values are true, wherever truth is asked.

use serde_json::{Value, json};

use super::{Data, Expr, FaultKind, Functions, Names, Scope, Shape, Step, Template};

fn values() -> Vec<(Value, bool)> {
    vec![
        (json!(null), false),
        (json!(false), false),
        (json!(true), true),
        (json!(0), false),
        (json!(0.0), false),
        (json!(-0.0), false),
        (json!(1), true),
        (json!(-1), true),
        (json!(0.1), true),
        (json!(u64::MAX), true),
        (json!(""), false),
        (json!(" "), true),
        (json!("0"), true),
        (json!("false"), true),
        (json!([]), false),
        (json!([0]), true),
        (json!({}), false),
        (json!({"a": null}), true),
    ]
}

fn eval(text: &str, scope: &Scope) -> Result<Value, String> {
    let expr = Expr::parse(text, &Functions::empty()).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    expr.eval(scope).map(|data| data.to_value()).map_err(|error| error.message)
}

#[test]
fn one_rule_says_what_is_true() {
    for (value, truth) in values() {
        let scope = Scope::new().with("v", Data::from_value(&value));
        for (text, wanted) in [
            ("not v", json!(!truth)),
            ("v and true", json!(truth)),
            ("true and v", json!(truth)),
            ("v or false", json!(truth)),
            ("v or v", json!(truth)),
            ("1 if v else 2", json!(if truth { 1 } else { 2 })),
            ("[v] | select | length", json!(i32::from(truth))),
            ("[v] | reject | length", json!(i32::from(!truth))),
            ("[{'v': v}] | selectattr('v') | length", json!(i32::from(truth))),
            ("[v] | all", json!(truth)),
            ("[v] | any", json!(truth)),
            ("[1 for x in [v] if x] | length", json!(i32::from(truth))),
            ("[1 for x in [v | tojson | fromjson] if x] | length", json!(i32::from(truth))),
        ] {
            assert_eq!(eval(text, &scope), Ok(wanted), "{text} of {value}");
        }
        let when = Expr::parse("v", &Functions::empty()).unwrap();
        assert_eq!(when.eval_bool(&scope), Ok(truth), "{value}");
        let text = "{% if v %}1{% else %}0{% endif %}{% for x in [1] if v %}2{% endfor %}";
        let text = Template::parse(text, &Functions::empty(), &|_| None).unwrap().render_text(&scope);
        assert_eq!(text, Ok(if truth { "12" } else { "0" }.to_owned()), "{value}");
    }
}

#[test]
fn values_that_expressions_make_follow_the_rule() {
    for (text, wanted) in [
        ("not range(0)", true),
        ("not range(1)", false),
        ("not ([1] | reject)", true),
        ("not ({'a': 1} | merge({}))", false),
        ("not {}", true),
        ("not ('a' | replace('a', ''))", true),
        ("0.5 - 0.5 or 0", false),
        ("[] + [] or {}", false),
        ("2 ** 64 and true", true),
    ] {
        assert_eq!(eval(text, &Scope::new()), Ok(json!(wanted)), "{text}");
    }
}

#[test]
fn what_does_not_exist_and_what_cannot_be_compared_stay_errors() {
    let scope = Scope::new().with("v", Data::from_value(&json!({"n": 1})));
    for (text, wanted) in [
        ("not v.x", "`v.x` is not there"),
        ("v.x or true", "`v.x` is not there"),
        ("1 if w else 2", "`w` is not there"),
        ("v.n and v.n > 'a'", "cannot compare a number with text"),
        ("[v] | selectattr('x')", "an item has no `x`"),
    ] {
        let error = eval(text, &scope).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    assert_eq!(eval("v.x is defined and v.x", &scope), Ok(json!(false)));
}

struct Inputs;

impl Names for Inputs {
    fn shape(&self, _: &[Step]) -> Shape {
        Shape::Number.or_none()
    }

    fn may_be_zero_or_none(&self, path: &[Step]) -> bool {
        path == ["inputs", "n"].map(|key| Step::Key(key.to_owned()))
    }
}

#[test]
fn a_bare_number_that_may_be_absent_and_a_literal_are_doubtful() {
    let found = |text: &str| {
        let (_, faults) = Expr::parse(text, &Functions::empty()).unwrap().infer_condition(&Inputs);
        faults.iter().map(|fault| (fault.kind, text[fault.range.clone()].to_owned())).collect::<Vec<_>>()
    };
    let zero = |text: &str| vec![(FaultKind::Zero, text.to_owned())];
    let constant = |text: &str| vec![(FaultKind::Constant, text.to_owned())];
    for (text, wanted) in [
        ("inputs.n", zero("inputs.n")),
        ("not inputs.n", zero("inputs.n")),
        ("inputs['n'] and true", zero("inputs['n']")),
        ("inputs.m or [x for x in [1] if inputs.n]", zero("inputs.n")),
        ("inputs.m", vec![]),
        ("inputs.n is not none and inputs.n > 0", vec![]),
        ("inputs.m == 1 or 2", constant("2")),
        ("inputs.m or 'b'", constant("'b'")),
        ("inputs.m or []", constant("[]")),
        ("inputs.m or true", vec![]),
        ("'x'", vec![]),
    ] {
        assert_eq!(found(text), wanted, "{text}");
    }
}
