//! Bounds of the work of an evaluation.

use std::sync::Arc;

use super::{Allowance, Data, Expr, Functions, Scope, Template};

#[test]
fn deep_functions_fit_the_stack_and_endless_work_is_refused() {
    let mut entries = vec![("f0".to_owned(), vec!["x".to_owned()], "x".to_owned())];
    for n in 1..32 {
        let body = format!("{}f{}(x){}", "1 - (".repeat(20), n - 1, ")".repeat(20));
        entries.push((format!("f{n}"), vec!["x".to_owned()], body));
    }
    entries.push(("more".to_owned(), vec!["x".to_owned()], "f0(f0(x))".to_owned()));
    let functions = Functions::build(entries).unwrap();
    let eval = |text: &str| Expr::parse(text, &functions).unwrap().eval(&Scope::new());
    assert_eq!(eval("f31(7)").unwrap().as_i64(), Some(7));
    let endless = eval("range(1000000) | map('more') | sum").unwrap_err();
    assert_eq!(endless.message, "this expression does not come to an end");
}

#[test]
fn an_allowance_ends_an_evaluation_and_says_that_it_did() {
    let expr = Expr::parse("range(100) | map('string') | join", &Functions::empty()).unwrap();
    let within = |expr: &Expr, allowance: Allowance| {
        let allowance = Arc::new(allowance);
        let value = expr.eval(&Scope::new().within(allowance.clone()));
        (value.is_ok(), allowance.is_used_up(), allowance.left())
    };
    assert!(matches!(within(&expr, Allowance::new(50)), (false, true, _)));
    let enough = within(&expr, Allowance::new(1_000));
    assert!(matches!(enough, (true, false, ..900)), "what was done is taken off: {enough:?}");
    let long = Expr::parse("range(10000) | sum", &Functions::empty()).unwrap();
    assert!(matches!(within(&long, Allowance::until(|| true)), (false, true, _)));
    let wrong = Expr::parse("1 / 0", &Functions::empty()).unwrap();
    assert!(matches!(within(&wrong, Allowance::new(1_000)), (false, false, _)));
}

#[test]
fn the_parts_of_a_template_share_an_allowance_and_long_texts_are_work() {
    let render = |text: &str, work: u64| {
        let template = Template::parse(text, &Functions::empty(), &|_| None).unwrap();
        let allowance = Arc::new(Allowance::new(work));
        let long = Data::from_value(&"x".repeat(64_000).into());
        let scope = Scope::new().with("long", long).within(allowance.clone());
        (template.render(&scope).is_ok(), allowance.is_used_up())
    };
    let rounds = "{% for n in range(1000) %}{% if n > 5 %}{% endif %}{% endfor %}";
    assert_eq!(render(rounds, 3_000), (false, true));
    assert_eq!(render(rounds, 30_000), (true, false));
    for text in
        ["{{ long | upper }}", "{{ long ~ 'y' }}", "{{ 'y' in long }}", "{{ long == long }}", "a{{ long }}"]
    {
        assert_eq!(render(text, 100), (false, true), "{text}");
        assert_eq!(render(text, 5_000), (true, false), "{text}");
    }
}
