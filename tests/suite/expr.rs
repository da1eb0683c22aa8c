//! The language of expressions and templates as authors meet it.

use std::sync::Arc;

use atoll::expr::{Data, Expr, FaultKind, Functions, Items, Ref, Scope, Step, Template, Tree};
use serde_json::{Value, json};

fn scope() -> Scope {
    let value = json!({
        "steps": {
            "judge": {"ok": true, "output": {"score": 93, "reason": "fine", "parts": [1, 2.5, 3]}},
            "build": {"failed": false, "output": null},
            "two-words": {"output": "x"}
        },
        "inputs": {"name": "ada", "model": null, "n": 3, "text": "10", "big": 9_007_199_254_740_993_i64},
        "items": [{"id": "a", "n": 3, "ok": true}, {"id": "b", "n": 1, "ok": false}, {"id": "c", "n": 2, "ok": true}],
        "which": "judge"
    });
    let Value::Object(table) = value else { unreachable!() };
    table
        .into_iter()
        .fold(Scope::new(), |scope, (name, value)| scope.with(&name, Data::from_arc(Arc::new(value))))
}

fn eval(text: &str) -> Value {
    let expr = Expr::parse(text, &Functions::empty()).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
    expr.eval(&scope()).unwrap_or_else(|error| panic!("{text}: {error} {:?}", error.hint)).to_value()
}

/// The message and the hint of an evaluation that fails.
fn fails(text: &str) -> String {
    let expr = Expr::parse(text, &Functions::empty()).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
    match expr.eval(&scope()) {
        Ok(data) => panic!("{text} gave {data:?}"),
        Err(error) => format!("{} | {}", error.message, error.hint.unwrap_or_default()),
    }
}

/// The fault of a text that does not load: kind, the bytes it points at, message and help.
fn refused(text: &str) -> (FaultKind, String, String) {
    let faults = Expr::parse(text, &Functions::empty()).map(|_| ()).expect_err(text);
    let fault = &faults[0];
    (
        fault.kind,
        text[fault.range.clone()].to_owned(),
        format!("{} | {}", fault.message, fault.help.clone().unwrap_or_default()),
    )
}

fn paths(refs: &[Ref]) -> Vec<String> {
    let step = |step: &Step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
        Step::Dynamic => "*".to_owned(),
    };
    let mark = |guarded| if guarded { "?" } else { "" };
    refs.iter().map(|r| r.path.iter().map(step).collect::<Vec<_>>().join("/") + mark(r.guarded)).collect()
}

fn refs(text: &str) -> Vec<String> {
    paths(Expr::parse(text, &Functions::empty()).unwrap().refs())
}

fn template(text: &str) -> Template {
    Template::parse(text, &Functions::empty(), &|_| None)
        .unwrap_or_else(|faults| panic!("{text}: {faults:#?}"))
}

fn render(text: &str) -> String {
    template(text).render_text(&scope()).unwrap_or_else(|error| panic!("{text}: {error} {:?}", error.hint))
}

#[test]
fn expressions_have_the_values_of_minijinja() {
    for (text, wanted) in [
        ("steps.judge.output.score >= 90 and not steps.build.failed", json!(true)),
        ("inputs.big + 1", json!(9_007_199_254_740_994_i64)),
        ("7 / 2", json!(3.5)),
        ("6 / 2", json!(3.0)),
        ("7 // 2", json!(3)),
        ("-7 // 2", json!(-4)),
        ("-7 % 3", json!(2)),
        ("2 ** 10", json!(1024)),
        ("-2 ** 2", json!(4)),
        ("1 + 2 * 3 - 4", json!(3)),
        ("10 - 4 - 3", json!(3)),
        ("'a' ~ 1 ~ none ~ true ~ [1, 'x'] ~ 1.0", json!("a1nulltrue[1,\"x\"]1.0")),
        ("'yes' if inputs.n > 2 else 'no'", json!("yes")),
        ("1 if false else 2 if false else 3", json!(3)),
        ("not inputs.n == 4", json!(true)),
        ("1 < inputs.n <= 3", json!(true)),
        ("1 < inputs.n < 3", json!(false)),
        ("3 > 2 > 1 > 0", json!(true)),
        ("'b' in 'abc'", json!(true)),
        ("4 not in [1, 2]", json!(true)),
        ("'judge' in steps", json!(true)),
        ("'1' in [1]", json!(false)),
        ("steps['two-words'].output", json!("x")),
        ("steps[which].output.score", json!(93)),
        ("items[-1].id", json!("c")),
        ("items[0]['n']", json!(3)),
        ("items[1:] | map(attribute='id')", json!(["b", "c"])),
        ("'abcdef'[1:5:2]", json!("bd")),
        ("'abc'[::-1]", json!("cba")),
        ("[1, 2, 3][::-1]", json!([3, 2, 1])),
        ("[1, 2] + [3]", json!([1, 2, 3])),
        ("{'a': 1, inputs.name: [none]}", json!({"a": 1, "ada": [null]})),
        ("inputs.model is none", json!(true)),
        ("inputs.model == 'x'", json!(false)),
        ("inputs.nope is defined", json!(false)),
        ("inputs.nope is not defined or inputs.nope.x", json!(true)),
        ("inputs.nope | default('d')", json!("d")),
        ("inputs.model | default('d')", json!(null)),
        ("inputs.model | default('d', boolean=true)", json!("d")),
        ("6 is divisibleby 3", json!(true)),
        ("'score 1' is matching('\\d')", json!(true)),
        ("items | selectattr('ok') | map(attribute='n') | sum", json!(5)),
        ("items | rejectattr('id', 'in', ['a', 'b']) | length", json!(1)),
        ("items | sort(attribute='n') | map(attribute='id') | join('')", json!("bca")),
        ("['b', 'a'] | map('upper') | sort", json!(["A", "B"])),
        ("[2.34567, 2.0] | map('round', 2)", json!([2.35, 2.0])),
        ("range(2, 9, 3)", json!([2, 5, 8])),
        ("range(3, 0, -1)", json!([3, 2, 1])),
        ("items | group_by('ok') | map(attribute='key')", json!([true, false])),
        ("(steps.judge if steps.judge.ok else steps.build).output.score", json!(93)),
        ("[0.1, 0.2] | sum > 0.3", json!(true)),
        ("'it\\'s' ~ \"\\u00e9\\n\" 'x'", json!("it'sé\nx")),
        ("1 == 1.0", json!(true)),
        ("[1, [2]] == [1, [2]]", json!(true)),
        ("range(2) == [0, 1]", json!(true)),
        ("steps.judge.output.parts", json!([1, 2.5, 3])),
    ] {
        assert_eq!(eval(text), wanted, "{text}");
        assert_eq!(eval(text).to_string(), wanted.to_string(), "{text}");
    }
}

#[test]
fn what_is_not_there_is_named_with_its_neighbours() {
    assert_eq!(
        fails("steps.judge.output.scroe"),
        "`steps.judge.output.scroe` is not there; it has: score, reason, parts | did you mean `score`?"
    );
    assert_eq!(
        fails("steps.jugde.output.score > 1"),
        "`steps.jugde` is not there; it has: judge, build, two-words | did you mean `judge`?"
    );
    assert_eq!(
        fails("1 + stpes.x"),
        "`stpes` is not there; there is: steps, inputs, items, which | did you mean `steps`?"
    );
    assert_eq!(
        fails("steps.build.output.x == 1"),
        "`steps.build.output.x` is not there: `steps.build.output` is none | "
    );
    assert_eq!(fails("items[7].id"), "`items[7]` is not there: `items` is a list of 3 | ");
    assert_eq!(fails("inputs.name.first"), "`inputs.name.first` is not there: `inputs.name` is text | ");
    assert_eq!(fails("[] | first"), "`[] | first` has no value: the list is empty | add `| default(…)`");
    assert_eq!(fails("[] | mean + 1"), "`[] | mean` has no value: the list is empty | add `| default(…)`");
    assert_eq!(fails("items | map(attribute='nope')").split(" | it has").count(), 2);
}

#[test]
fn undefined_passes_nowhere() {
    for text in [
        "nope",
        "inputs.nope",
        "[inputs.nope]",
        "{'a': nope}",
        "nope == 1",
        "nope == none",
        "nope is none",
        "not nope",
        "true and nope",
        "nope or true",
        "1 if nope else 2",
        "nope if true else 2",
        "nope | length",
        "[1] | join(nope)",
        "nope in [1]",
        "1 in nope",
        "'a' ~ nope",
        "-nope",
        "nope * 2",
        "nope[0]",
        "[1][nope]",
        "[1][nope:]",
        "nope[1:]",
        "range(nope)",
        "inputs[nope]",
        "{nope: 1}",
        "nope.x is defined",
        "nope.x | default(1)",
        "1 | default(nope)",
        "[[]] | map('first')",
        "nope < 1",
        "nope + 1",
        "inputs.nope.x is defined",
    ] {
        assert!(
            fails(text).contains("is not there") || fails(text).contains("has no value"),
            "{text}: {}",
            fails(text)
        );
    }
}

#[test]
fn text_numbers_and_conditions_are_not_mixed() {
    for (text, wanted) in [
        ("inputs.text > 9", "cannot compare text with a number | convert one"),
        ("inputs.text == 10", "cannot compare text with a number | convert one"),
        ("inputs.n < inputs.model", "cannot compare a number with none | ask first"),
        ("steps.judge.ok > 0", "cannot compare a truth value with a number"),
        ("inputs.text + 1", "cannot add text and a number | join text with `~`"),
        ("inputs.text * 2", "cannot calculate with text | convert it"),
        ("items - 1", "cannot calculate with a list"),
        ("steps.judge.ok + 1", "cannot add a truth value and a number"),
        ("-inputs.name", "cannot calculate with text"),
        ("items + 1", "cannot add a list and a number | put it into a list"),
        ("inputs + inputs", "objects cannot be added | write `a | merge(b)`"),
        ("1 in inputs.n", "expected a list, an object or text after `in`, this is a number"),
        ("true or false and items > 1", "never"),
        ("1 / 0", "unable to calculate 1 / 0"),
        ("10 ** 300 * 1.0 if false else 1e308 * 10", "too large"),
        ("range(2000000)", "more than 1000000"),
        ("'x' | round", "expected a number, this is text"),
        ("['a', 1] | sort", "cannot compare"),
        ("'(' is matching('(')", "is not a pattern"),
        ("inputs.name | int", "`ada` is not a number | give a default"),
    ] {
        if wanted == "never" {
            assert_eq!(eval(text), json!(true), "{text}");
        } else {
            assert!(fails(text).contains(wanted), "{text}: {}", fails(text));
        }
    }
    // Any value may be a condition: a text that is not empty is true.
    assert!(Expr::parse("inputs.name", &Functions::empty()).unwrap().eval_bool(&scope()).unwrap());
    assert!(Expr::parse("inputs.n > 1", &Functions::empty()).unwrap().eval_bool(&scope()).unwrap());
}

#[test]
fn faults_point_at_what_is_wrong() {
    use FaultKind::{Arity, Mixed, Syntax, UnknownFilter, UnknownFunction, UnknownTest};
    for (text, kind, at, message) in [
        ("a | lenght", UnknownFilter, "lenght", "there is no filter `lenght` | did you mean `length`?"),
        ("a | count", UnknownFilter, "count", "there is no filter `count` | write `length`"),
        ("a is emtpy", UnknownTest, "emtpy", "there is no test `emtpy` | "),
        ("a is evn", UnknownTest, "evn", "there is no test `evn` | did you mean `even`?"),
        ("now()", UnknownFunction, "now", "there is no function `now` | "),
        (
            "length(a)",
            UnknownFunction,
            "length",
            "there is no function `length` | it is a filter: `value | length`",
        ),
        (
            "a | clamp(1)",
            Arity,
            "clamp",
            "`clamp` lacks the argument `high` | it is called `clamp(low, high)`",
        ),
        (
            "a | round(1, 2)",
            Arity,
            "round",
            "`round` has too many arguments | it is called `round(digits=…)`",
        ),
        (
            "a | round(place=1)",
            Arity,
            "place",
            "`round` takes no argument `place` | it is called `round(digits=…)`",
        ),
        ("a | map('nope')", UnknownFilter, "'nope'", "there is no filter `nope` | "),
        ("a | map(b)", Syntax, "b", "the name of the filter must be written out as text | "),
        (
            "a | map",
            Arity,
            "map",
            "`map` takes a filter or an attribute | write `map('upper')` or `map(attribute='score')`",
        ),
        ("a | select('gt')", Arity, "'gt'", "`gt` takes one argument | "),
        ("a == 'x' and '1' < 2", Mixed, "'1' < 2", "cannot compare text with a number | "),
        ("1 == 'a'", Mixed, "1 == 'a'", "a number is never equal to text | "),
        ("'a' + 1", Mixed, "'a' + 1", "cannot add text and a number | join text with `~`"),
        (
            "a.items()",
            Syntax,
            "items",
            "values have no methods, so `items` cannot be called | if it is a filter write `| items`",
        ),
        ("a = 1", Syntax, "=", "expected the end of the expression, found `=` | to compare write `==`"),
        ("a || b", Syntax, "|", "expected the name of a filter, found `|` | "),
        ("a && b", Syntax, "&", "`&` has no meaning here | write `and`"),
        ("!a", Syntax, "!", "`!` has no meaning here | write `not`"),
        (
            "1 if a",
            Syntax,
            "1 if a",
            "this `if` has no `else` | say what the value is otherwise: `… else none`",
        ),
        ("'open", Syntax, "'open", "this text has no closing quote | "),
        ("a +", Syntax, "", "an expression is missing at the end | "),
        ("", Syntax, "", "an expression is missing at the end | "),
        ("__f_sum", Syntax, "__f_sum", "a name cannot begin with two underscores | "),
        ("(1, 2)", Syntax, ",", "expected `)`, found `,` | write a list: `[a, b]`"),
        ("99999999999999999999", Syntax, "99999999999999999999", "this number is too large | "),
        ("ü", Syntax, "ü", "`ü` has no meaning in an expression | "),
    ] {
        assert_eq!(refused(text), (kind, at.to_owned(), message.to_owned()), "{text}");
    }
}

#[test]
fn too_much_of_anything_is_a_fault_not_a_crash() {
    for text in [
        "(".repeat(5000),
        "[".repeat(5000),
        "not ".repeat(5000) + "a",
        "-".repeat(5000) + "1",
        "1".to_owned() + &" + 1".repeat(5000),
        "a".to_owned() + &".b".repeat(5000),
        "a".to_owned() + &" | trim".repeat(5000),
        "1 if true else ".repeat(5000) + "2",
    ] {
        assert!(Expr::parse(&text, &Functions::empty()).is_err());
    }
    let deep = "(1 - ".repeat(20) + "1" + &")".repeat(20);
    assert!(Expr::parse(&deep, &Functions::empty()).is_ok());
    let long = vec!["true"; 60].join(" and ");
    assert!(Expr::parse(&long, &Functions::empty()).unwrap().eval_bool(&Scope::new()).unwrap());
}

#[test]
fn references_are_complete() {
    assert_eq!(
        refs("steps.judge.output.score >= inputs.threshold"),
        ["steps/judge/output/score", "inputs/threshold"]
    );
    assert_eq!(refs("steps['build'].x"), ["steps/build/x"]);
    assert_eq!(refs("steps"), ["steps/*"]);
    assert_eq!(refs("steps[which].x"), ["steps/*/x", "which/*"]);
    assert_eq!(refs("steps.a.list[0].b[-1]"), ["steps/a/list/0/b/-1"]);
    assert_eq!(refs("xs[steps.a.n:steps.b.n]"), ["xs/*", "steps/a/n", "steps/b/n"]);
    assert_eq!(refs("a.b is defined and (c.d | default(e.f))"), ["a/b?", "c/d?", "e/f"]);
    assert_eq!(refs("(a if b else c).d"), ["a/*", "b/*", "c/*"]);
    assert_eq!(refs("{a.k: [b.v, {'x': c.w}]} | map('round', d.n) | join(e.s)").len(), 5);
    assert_eq!(refs("a.x is divisibleby(b.y)"), ["a/x", "b/y"]);
    assert_eq!(refs("a < b.c < d"), ["a/*", "b/c", "d/*"]);
    let expr = Expr::parse("1 + steps['build'].x", &Functions::empty()).unwrap();
    let found = &expr.refs()[0];
    assert_eq!(&expr.text()[found.range.clone()], "steps['build'].x");
    let keys: Vec<&str> = found.key_ranges.iter().map(|range| &expr.text()[range.clone()]).collect();
    assert_eq!(keys, ["steps", "'build'", "x"]);
}

fn functions(entries: &[(&str, &[&str], &str)]) -> Result<Arc<Functions>, Vec<(usize, atoll::expr::Fault)>> {
    let owned = entries.iter().map(|(name, args, text)| {
        ((*name).to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect(), (*text).to_owned())
    });
    Functions::build(owned.collect())
}

#[test]
fn functions_of_a_pipeline_see_their_arguments_only() {
    let built = functions(&[
        ("twice", &["x"], "x * 2"),
        ("share", &["item", "total"], "twice(item.n) / total"),
        ("large", &["item", "limit"], "item.n >= limit"),
        ("keep", &["xs", "limit"], "xs | select('large', limit) | map('share', 10)"),
    ])
    .unwrap();
    let eval = |text: &str| Expr::parse(text, &built).unwrap().eval(&scope()).map(|data| data.to_value());
    assert_eq!(eval("twice(4)").unwrap(), json!(8));
    assert_eq!(eval("4 | twice").unwrap(), json!(8));
    assert_eq!(eval("twice(x=4)").unwrap(), json!(8));
    assert_eq!(eval("items | map('share', 10)").unwrap(), json!([0.6, 0.2, 0.4]));
    assert_eq!(eval("items | keep(limit=2)").unwrap(), json!([0.6, 0.4]));
    assert_eq!(eval("items | reject('large', 2) | map(attribute='id')").unwrap(), json!(["b"]));
    let error = eval("share({'m': 1}, 2)").unwrap_err();
    assert_eq!(error.message, "`item.n` is not there; it has: m");
    assert_eq!(error.text, "twice(item.n) / total");

    let faults = Expr::parse("twice(1, 2) + twise(1)", &built).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[1].help.as_deref(), Some("did you mean `twice`?"));
}

#[test]
fn functions_that_cannot_be_are_refused() {
    let fault = |entries: &[(&str, &[&str], &str)]| {
        let (at, fault) = functions(entries).map(|_| ()).unwrap_err().remove(0);
        (at, fault.kind, fault.message)
    };
    assert_eq!(
        fault(&[("a", &["x"], "b(x)"), ("b", &["x"], "[x] | map('a')")]),
        (0, FaultKind::Cycle, "functions cannot call each other in a circle: `a` → `b` → `a`".to_owned())
    );
    assert_eq!(
        fault(&[("a", &["x"], "x + y")]),
        (0, FaultKind::UnknownName, "`a` has no argument `y`".to_owned())
    );
    assert_eq!(fault(&[("sum", &["x"], "x")]), (0, FaultKind::Syntax, "`sum` is built in".to_owned()));
    assert_eq!(fault(&[("a", &["x", "x"], "x")]).1, FaultKind::Syntax);
    assert_eq!(fault(&[("a-b", &["x"], "x")]).1, FaultKind::Syntax);
    assert_eq!(fault(&[("a", &["x"], "x"), ("a", &["x"], "x")]).1, FaultKind::Syntax);
}

#[test]
fn templates_print_text_as_it_is_and_the_rest_as_json() {
    assert_eq!(render("{{ inputs.name }} <b> {{ '<i>' }}"), "ada <b> <i>");
    assert_eq!(
        render("{{ true }} {{ none }} {{ [1, 'a'] }} {{ {'a': 1.0} }} {{ 6 / 2 }}"),
        "true null [1,\"a\"] {\"a\":1.0} 3.0"
    );
    let single = template("{{ items[0].n }}");
    assert!(single.single());
    assert_eq!(single.render(&scope()).unwrap().to_value(), json!(3));
    assert_eq!(
        template("{{ {'a': {'b': 1}} }}").render(&scope()).unwrap().to_value(),
        json!({"a": {"b": 1}})
    );
    assert_eq!(template(" {{ items[0].n }}").render(&scope()).unwrap().to_value(), json!(" 3"));
    let plain = template("{% raw %}{{ x }}{% endraw %}{# c #}!\n");
    assert_eq!(plain.literal(), Some("{{ x }}!\n"));
}

#[test]
fn tags_do_what_jinja_does() {
    for (text, wanted) in [
        ("{% if inputs.n > 5 %}a{% elif inputs.n > 2 %}b{% else %}c{% endif %}", "b"),
        (
            "{% for i in items %}{{ loop.index }}{{ i.id }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1a,2b,3c",
        ),
        ("{% for i in items if i.ok %}{{ i.id }}{{ loop.length }}{% endfor %}", "a2c2"),
        ("{% for i in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for k, v in inputs | items %}{% if k == 'n' %}{{ v }}{% endif %}{% endfor %}", "3"),
        ("{% for k in {'a': 1} %}{{ k }}{% endfor %}", "a"),
        (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "02",
        ),
        ("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1"),
        ("{% if true %}{% set x = 2 %}{% else %}{% set x = 3 %}{% endif %}{{ x }}", "2"),
        ("{% set a, b = [1, 2] %}{{ b }}{{ a }}", "21"),
        ("{% set x %}he{{ 1 }}{% endset %}{{ x | upper }}", "HE1"),
        ("{% set x | upper %}he{% endset %}{{ x }}", "HE"),
        ("{% with a = 1, b = a + 1 %}{{ b }}{% endwith %}", "2"),
        ("{% filter upper | replace('A', 'b') %}a{{ inputs.name }}{% endfilter %}", "bbDb"),
        ("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc\n"),
        ("a\n{# gone #}\nb", "a\nb"),
        ("a  {{- 1 -}}  b", "a1b"),
        ("a\n  {%- if true -%}  b  {%- endif %}\nc", "abc"),
        ("x {% if true %} y {% endif %} z", "x  y  z"),
        ("{%+ if true +%}\n1{% endif %}", "\n1"),
        ("line\n{{ 1 }}\nend\n", "line\n1\nend\n"),
        ("{% raw -%}  {{ x }} {%- endraw %}.", "{{ x }}."),
    ] {
        assert_eq!(render(text), wanted, "{text:?}");
    }
}

#[test]
fn faults_of_templates_have_their_place() {
    for (text, kind, at, words) in [
        ("a {{ b | nope }}", FaultKind::UnknownFilter, "nope", "no filter"),
        ("{% macro x() %}{% endmacro %}", FaultKind::UnknownTag, "macro", "no tag `macro`"),
        ("{% if a %}x", FaultKind::Syntax, "{% if a %}", "has no `{% endif %}`"),
        ("x{% endif %}", FaultKind::Syntax, "{% endif %}", "without its beginning"),
        ("{% if a %}{% endfor %}{% endif %}", FaultKind::Syntax, "{% endfor %}", "without its beginning"),
        ("{{ a ", FaultKind::Syntax, "{{", "`}}` is missing"),
        ("{# a ", FaultKind::Syntax, "{#", "no `#}`"),
        ("{{ }}", FaultKind::Syntax, "{{ }}", "no expression"),
        ("{% break %}", FaultKind::Syntax, "{% break %}", "outside of a `for`"),
        ("{% include name %}", FaultKind::Include, "{% include name %}", "names one file"),
        ("{% include 'x' %}", FaultKind::Include, "'x'", "no file `x`"),
        ("{% if 1 %}{% endif %}é{{ a b }}", FaultKind::Syntax, "b", "found `b`"),
        ("{% raw %}", FaultKind::Syntax, "{% raw %}", "no `{% endraw %}`"),
        ("{% for if in x %}{% endfor %}", FaultKind::Syntax, "if", "cannot be a name"),
    ] {
        let faults = Template::parse(text, &Functions::empty(), &|_| None).expect_err(text);
        assert_eq!((faults[0].kind, &text[faults[0].range.clone()]), (kind, at), "{text}: {faults:?}");
        assert!(faults[0].message.contains(words), "{text}: {}", faults[0].message);
    }
    let faults = Template::parse("{{ a | x }} {{ b | y }}", &Functions::empty(), &|_| None).unwrap_err();
    assert_eq!(faults.len(), 2);
}

#[test]
fn includes_are_read_at_load_and_told_by_name() {
    let files = |name: &str| -> Option<Arc<str>> {
        Some(match name {
            "a.md" => "A {{ who }} {{ steps.build.failed }}\n".into(),
            "loop.md" => "{% include 'back.md' %}".into(),
            "back.md" => "{% include 'loop.md' %}".into(),
            "bad.md" => "text {{ x | nope }}".into(),
            _ => return None,
        })
    };
    let parse = |text: &str| Template::parse(text, &Functions::empty(), &files);
    let found = parse("{% with who = inputs.name %}{% include 'a.md' %}{% endwith %}").unwrap();
    assert_eq!(found.render_text(&scope()).unwrap(), "A ada false\n");
    assert_eq!(paths(found.refs()), ["inputs/name", "steps/build/failed"]);
    assert_eq!(found.refs()[1].file.as_deref(), Some("a.md"));
    let faults = parse("{% include 'bad.md' %}").unwrap_err();
    assert_eq!((faults[0].file.as_deref(), faults[0].range.clone()), (Some("bad.md"), 12..16));
    let faults = parse("{% include 'loop.md' %}").unwrap_err();
    assert_eq!(
        (faults[0].kind, faults[0].message.as_str()),
        (FaultKind::Include, "`loop.md` includes itself")
    );
    let error = parse("{% include 'a.md' %}").unwrap().render_text(&Scope::new()).unwrap_err();
    assert_eq!(error.message, "in `a.md`: `who` is not there");
}

#[test]
fn names_that_a_template_binds_are_not_references() {
    let refs = |text: &str| paths(template(text).refs());
    assert_eq!(refs("{% for i in xs.list if i.ok %}{{ i.id }}{{ loop.index }}{% endfor %}"), ["xs/list"]);
    assert_eq!(refs("{% for i in xs %}{% endfor %}{{ i }}{{ loop.index }}"), ["xs/*", "i/*", "loop/index"]);
    assert_eq!(refs("{% set s = steps %}{{ s.hidden }}"), ["steps/*"]);
    assert_eq!(refs("{% if a.b %}{% set x = 1 %}{% endif %}{{ x }}"), ["a/b", "x/*"]);
    assert_eq!(refs("{% if a.b %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}"), ["a/b"]);
    assert_eq!(refs("{% with y = y.z %}{{ y }}{% endwith %}{{ y }}"), ["y/z", "y/*"]);
    assert_eq!(refs("{% filter indent(a.n) %}{{ b.c }}{% endfilter %}"), ["a/n", "b/c"]);
}

#[test]
fn templates_ask_for_truth_and_go_through_lists() {
    let error = |text: &str| template(text).render_text(&scope()).unwrap_err();
    assert_eq!(render("{% if inputs.name %}x{% endif %}{% if inputs.model %}y{% endif %}"), "x");
    assert_eq!(render("{% for i in items if i.n - 1 %}{{ i.n }}{% endfor %}"), "32");
    assert!(error("{% if inputs.nope %}{% endif %}").message.contains("`inputs.nope` is not there"));
    assert_eq!(error("{% for c in inputs.name %}{% endfor %}").hint.as_deref(), Some("write `… | lines`"));
    assert_eq!(error("{% for a, b in items %}{% endfor %}").message, "expected a list, this is an object");
    assert_eq!(error("{% for a, b in [[1]] %}{% endfor %}").message, "2 names cannot take a list of 1");
    assert!(error("a {{ steps.judge.output.scroe }}").message.contains("has: score"));
}

#[test]
fn templates_come_to_an_end() {
    let error = |text: &str| template(text).render_text(&scope()).unwrap_err().message;
    let three = "{% set r = range(1000) %}{% for a in r %}{% for b in r %}{% for c in r %}{% endfor %}{% endfor %}{% endfor %}";
    assert_eq!(error(three), "this template does not come to an end");
    let wide = "{% set s = 'x' | indent(200, true) %}{% for a in range(100000) %}{{ s }}{% endfor %}";
    assert_eq!(error(wide), "the rendered text is longer than 16 MiB");
}

/// A list that counts how often it is asked.
#[derive(Debug)]
struct Counted(std::sync::atomic::AtomicUsize);

impl Items for Counted {
    fn len(&self) -> usize {
        100_000
    }

    fn get(&self, i: usize) -> Data {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Data::table([("n", Data::from(i as u64))])
    }
}

#[test]
fn lazy_lists_make_only_what_is_asked_for() {
    let items = Arc::new(Counted(std::sync::atomic::AtomicUsize::new(0)));
    let scope = Scope::new().with("xs", Data::lazy_list(items.clone()));
    for (text, wanted, cost) in [
        ("xs | length", json!(100_000), 0),
        ("xs[99999].n", json!(99_999), 1),
        ("xs[-1].n", json!(99_999), 1),
        ("xs[2:4] | map(attribute='n')", json!([2, 3]), 2),
        ("xs | head(3) | map(attribute='n')", json!([0, 1, 2]), 3),
        ("xs | tail(2) | map(attribute='n')", json!([99_998, 99_999]), 2),
        ("xs | first", json!({"n": 0}), 1),
        ("xs | last", json!({"n": 99_999}), 1),
        ("{'n': 5} in xs", json!(true), 6),
        ("xs | sum(attribute='n')", json!(4_999_950_000_u64), 100_000),
        ("xs", Value::Null, 0),
    ] {
        items.0.store(0, std::sync::atomic::Ordering::Relaxed);
        let found = Expr::parse(text, &Functions::empty()).unwrap().eval(&scope).unwrap();
        if text != "xs" {
            assert_eq!(found.to_value(), wanted, "{text}");
        }
        assert!(items.0.load(std::sync::atomic::Ordering::Relaxed) <= cost, "{text}: {items:?}");
    }
    let text = template("{% for x in xs %}{% if x.n == 3 %}{% break %}{% endif %}{{ x.n }}{% endfor %}");
    items.0.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(text.render_text(&scope).unwrap(), "012");
    assert_eq!(items.0.load(std::sync::atomic::Ordering::Relaxed), 4);
}

#[test]
fn values_go_through_unchanged() {
    for value in [
        json!({"b": 1, "a": [1.0, -0.5, 18_446_744_073_709_551_615_u64, i64::MIN, "é\n", null, true, {}]}),
        json!([]),
        json!("text"),
        json!(1.0),
        json!(null),
    ] {
        assert_eq!(Data::from_value(&value).to_value().to_string(), value.to_string());
        assert_eq!(Data::from_arc(Arc::new(value.clone())).to_value().to_string(), value.to_string());
        let scope = Scope::new().with("x", Data::from_arc(Arc::new(value.clone())));
        let expr = Expr::parse("[x][0]", &Functions::empty()).unwrap();
        assert_eq!(expr.eval(&scope).unwrap().to_value().to_string(), value.to_string());
    }
}

#[test]
fn trees_render_to_json() {
    let value =
        json!({"a": "{{ items[0].n }}", "b": ["x{{ inputs.name }}", 1, "plain {# c #}"], "c": {"d": null}});
    let tree = Tree::parse(&value, &Functions::empty(), &|_| None).unwrap();
    assert_eq!(tree.render(&scope()).unwrap(), json!({"a": 3, "b": ["xada", 1, "plain "], "c": {"d": null}}));
    assert_eq!(tree.refs().len(), 2);
    let faults = Tree::parse(&json!({"a/b": ["{{ x"]}), &Functions::empty(), &|_| None).unwrap_err();
    assert_eq!(faults[0].0, "/a~1b/0");
}

#[test]
fn compiled_things_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Expr>();
    shared::<Template>();
    shared::<Scope>();
    shared::<Data>();
    shared::<Arc<Functions>>();
}

#[test]
fn many_tags_on_one_line_are_read_at_once_and_names_are_bounded() {
    let none = |_: &str| None;
    let deep = format!("{}x{}", "{% if true %}".repeat(200_000), "{% endif %}".repeat(200_000));
    let faults = Template::parse(&deep, &Functions::empty(), &none).unwrap_err();
    assert_eq!(faults[0].message, "tags are nested too deeply");
    let flat = format!("a {}", "{% if true %}x{% endif %}".repeat(100_000));
    let template = Template::parse(&flat, &Functions::empty(), &none).unwrap();
    assert_eq!(template.render_text(&Scope::new()).unwrap().len(), 100_002);
    let names =
        |count: usize| (0..count).map(|n| format!("{{% set v{n} = {n} %}}")).collect::<Vec<_>>().concat();
    assert!(Template::parse(&names(256), &Functions::empty(), &none).is_ok());
    let faults = Template::parse(&names(300), &Functions::empty(), &none).unwrap_err();
    assert_eq!(faults[0].message, "a template cannot set more than 256 names");
    let spaced = Template::parse(
        "  {% if true %}\n x {# note #} {% endif %}\n\t{% set a = 1 %}y",
        &Functions::empty(),
        &none,
    );
    assert_eq!(spaced.unwrap().render_text(&Scope::new()).unwrap(), " x  y");
}
