//! Properties: nothing an author types makes the parser panic, and what is well typed means what minijinja says.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior, Value as Inner};
use proptest::prelude::*;
use serde_json::json;

use super::{Data, Expr, Functions, Scope, Template};

/// Text made of what expressions and templates are made of.
fn fragments() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a", ".b", "[", "]", "(", ")", "{", "}", "'x'", "\"", "'", "1", "2.5", "|", "map", "sum", " is ",
        " not ", " in ", " and ", " or ", " if ", " else ", "==", "<", "-", "+", "**", "//", "~", ",", ":",
        "=", "{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", " for ", " endfor ", " set ", " raw ",
        " endraw ", " with ", " filter ", "é", "\\", "\\u12", "\n", " ", "include", "true", "none", "__",
        "range(", "first", "default(",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.concat())
}

pub(super) fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0i64..1000).prop_map(|whole| whole.to_string()),
        (0i64..100, 0i64..100).prop_map(|(whole, part)| format!("{whole}.{part}")),
        Just("x".to_owned()),
        Just("t.y".to_owned()),
        Just("xs[1]".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let sign = prop::sample::select(vec!["+", "-", "*", "/", "//", "%"]);
        prop_oneof![
            (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a} if {b} < {c} else {c})")),
        ]
    })
}

pub(super) fn condition() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let leaf = (number(), sign, number()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}"));
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} and {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
            inner.clone().prop_map(|a| format!("not {a}")),
            inner.prop_map(|a| format!("({a})")),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[ a-zé\"\\\\n]{0,6}".prop_map(|text| format!("{text:?}")),
        Just("s".to_owned()),
        Just("t['k k']".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} ~ {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} + {b}")),
            (inner.clone(), condition(), inner).prop_map(|(a, c, b)| format!("({a} if {c} else {b})")),
        ]
    })
}

/// Both sides' answers, where minijinja has one that is finite.
fn agree(source: &str) -> Result<(), TestCaseError> {
    let values = json!({"x": 7, "t": {"y": 2.5, "k k": "é"}, "xs": [3, 4], "s": "some text"});
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    let theirs = env
        .compile_expression(source)
        .and_then(|expression| expression.eval(minijinja::value::Serde(&values)))
        .ok()
        .filter(|value| f64::try_from(value.clone()).map_or(true, f64::is_finite));
    let Ok(ours) = Expr::parse(source, &Functions::empty()) else {
        prop_assert!(source.len() > 100 || theirs.is_none(), "refused {}", source);
        return Ok(());
    };
    let table = values.as_object().into_iter().flatten();
    let scope = table
        .fold(Scope::new(), |scope, (name, value)| scope.with(name, Data::from_arc(Arc::new(value.clone()))));
    let ours: Option<Inner> = ours.eval(&scope).ok().map(|data| data.0);
    prop_assert_eq!(ours, theirs, "{}", source);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parsers_panic(source in prop_oneof![fragments(), any::<String>()]) {
        for fault in Expr::parse(&source, &Functions::empty()).err().into_iter().flatten() {
            prop_assert!(source.get(fault.range.clone()).is_some(), "{:?}", fault);
        }
        let include = |_: &str| Some(Arc::from(source.as_str()));
        match Template::parse(&source, &Functions::empty(), &include) {
            Ok(template) => {
                let _ = template.render_text(&Scope::new().with("a", Data::from("b")));
                prop_assert!(template.refs().iter().all(|found| source.get(found.range.clone()).is_some()));
            }
            Err(faults) => prop_assert!(faults.iter().all(|fault| source.get(fault.range.clone()).is_some()), "{:?}", faults),
        }
    }

    #[test]
    fn numbers_come_out_as_in_minijinja(source in number()) {
        agree(&source)?;
    }

    #[test]
    fn conditions_come_out_as_in_minijinja(source in condition()) {
        agree(&source)?;
    }

    #[test]
    fn text_comes_out_as_in_minijinja(source in text()) {
        agree(&source)?;
    }
}
