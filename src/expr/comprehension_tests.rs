//! Comprehensions: what they make, what they refuse, and that they say the same as filters.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::properties::{condition, number};
use super::{Allowance, Data, Expr, FaultKind, Functions, Names, Scope, Shape, Step, Template};

fn scope() -> Scope {
    let value = json!({
        "trials": [{"id": "a", "n": 3, "ok": true}, {"id": "b", "n": 1, "ok": false}, {"id": "c", "n": 2, "ok": true}],
        "table": {"x": 1, "y": [2]},
        "pairs": [["p", 1], ["q", 2]],
        "words": ["one", "two"],
        "text": "abc",
        "x": 7, "t": {"y": 2.5}, "xs": [3, 4],
    });
    let table = value.as_object().into_iter().flatten();
    table.fold(Scope::new(), |scope, (name, value)| scope.with(name, Data::from_value(value)))
}

fn parse(text: &str) -> Result<Expr, String> {
    let told = |faults: Vec<super::Fault>| {
        let fault =
            faults.into_iter().next().map(|fault| (text[fault.range].to_owned(), fault.message, fault.help));
        let (place, message, help) = fault.unwrap_or_default();
        format!("{place} | {message} | {}", help.unwrap_or_default())
    };
    Expr::parse(text, &Functions::empty()).map_err(told)
}

fn eval(text: &str) -> Value {
    parse(text).unwrap().eval(&scope()).unwrap_or_else(|error| panic!("{error}")).to_value()
}

fn fails(text: &str) -> String {
    let error = parse(text).unwrap().eval(&scope()).unwrap_err();
    format!("{} | {}", error.message, error.hint.unwrap_or_default())
}

#[test]
fn lists_and_objects_are_made_of_items_keys_and_pairs() {
    for (text, wanted) in [
        ("[m.n for m in trials if m.ok]", json!([3, 2])),
        ("{m.id: m.n for m in trials}", json!({"a": 3, "b": 1, "c": 2})),
        ("[k ~ v for k, v in table]", json!(["x1", "y[2]"])),
        ("[k for k in table]", json!(["x", "y"])),
        ("{v: k for k, v in {'a': 'b', 'c': 'd'}}", json!({"b": "a", "d": "c"})),
        ("[v for k, v in pairs if k != 'p']", json!([2])),
        ("[[a * b for b in range(a)] for a in range(3)]", json!([[], [0], [0, 2]])),
        ("[[b for b in a] for a in [[1], [2]] if a[0] > 1] | flatten", json!([2])),
        ("[m.n if m.ok else 0 for m in trials]", json!([3, 0, 2])),
        ("[n for n in ([1] if x > 9 else [2])]", json!([2])),
        ("[n is even for n in xs if n is odd or n is even]", json!([false, true])),
        ("[x + n for n in xs | reverse]", json!([11, 10])),
        ("[n\n for n\n in xs\n]", json!([3, 4])),
        ("{} | merge({w: w | length for w in words})", json!({"one": 3, "two": 3})),
        ("[none for w in words]", json!([null, null])),
        ("{w: n for w, n in [['b', 1], ['a', 2]]} | keys", json!(["b", "a"])),
        ("{'k' ~ (30 - n): n for n in range(20)} | keys | head(2)", json!(["k30", "k29"])),
        ("[n for n in []]", json!([])),
        ("{w: 1 for w in []}", json!({})),
        ("[{'a': m} for m in [1]][0].a", json!(1)),
        ("[words[i] for i in range(2)]", json!(["one", "two"])),
    ] {
        assert_eq!(eval(text).to_string(), wanted.to_string(), "{text}");
    }
}

#[test]
fn functions_and_their_arguments_keep_what_comprehensions_bind_apart() {
    let function = |name: &str, args: &[&str], value: &str| {
        (name.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect(), value.to_owned())
    };
    let functions = Functions::build(vec![
        function("both", &["a", "b"], "[[c, a, b] for c in b]"),
        function("twice", &["a"], "both(a, [n * 2 for n in a])"),
    ])
    .unwrap();
    let eval = |text: &str| Expr::parse(text, &functions).unwrap().eval(&scope()).unwrap().to_value();
    assert_eq!(
        eval("[both(n, [m + n for m in xs]) for n in [1]]"),
        json!([[[4, 1, [4, 5]], [5, 1, [4, 5]]]])
    );
    assert_eq!(eval("[twice([n]) for n in xs] | last"), json!([[8, [4], [8]]]));
    assert_eq!(eval("[n for n in xs] | map('both', [1]) | length"), json!(2));
}

#[test]
fn what_a_comprehension_lacks_is_named() {
    assert_eq!(fails("[m.score for m in trials]"), "`m.score` is not there; it has: id, n, ok | ");
    assert_eq!(
        fails("[m.idd for m in trials]"),
        "`m.idd` is not there; it has: id, n, ok | did you mean `id`?"
    );
    assert_eq!(
        fails("[[a.score for a in [m]] for m in trials]"),
        "`a.score` is not there; it has: id, n, ok | "
    );
    let twice = fails("{m.ok ~ '': m.n for m in trials}");
    assert!(twice.starts_with("`m.ok ~ ''`: two items have the key `true` | keep one item"), "{twice}");
    assert_eq!(
        fails("{m.n: 1 for m in trials}"),
        "`m.n`: the keys of an object are text, this is a number | convert it: `… | string`"
    );
    assert_eq!(
        fails("[c for c in text]"),
        "`text`: `for` takes a list or an object, this is text | write `… | lines`"
    );
    assert_eq!(fails("[c for c in x]"), "`x`: `for` takes a list or an object, this is a number | ");
    assert_eq!(
        fails("[a for a, b in xs]"),
        "`xs`: two names take pairs: lists of two, this item is a number | "
    );
    let three = "two names take pairs: lists of two, this item is a list of 3 | ";
    assert_eq!(fails("[a for a, b in [[1, 2, 3]]]"), format!("`[[1, 2, 3]]`: {three}"));
    assert!(fails("[m for m in trials if m.nope]").starts_with("`m.nope` is not there"));
}

#[test]
fn what_is_no_comprehension_is_refused_with_what_to_write() {
    for (text, wanted) in [
        (
            "[a for a in xs if a > 1 if a < 4]",
            "if | expected `]`, found `if` | a comprehension has at most one `if`",
        ),
        ("[a for a in xs for b in xs]", "for | expected `]`, found `for` | a comprehension has one `for`"),
        ("[a for a in xs if a else 1]", "else | expected `]`, found `else` | put the choice in parentheses"),
        (
            "[a if a > 1 for a in xs]",
            "a if a > 1 | this `if` has no `else` | the condition of a comprehension",
        ),
        ("[1, a for a in xs]", "for | expected `,` or `]`, found `for` | a comprehension makes one value"),
        ("[a for a, b, c in xs]", ", | expected `in`, found `,` | a comprehension has one name"),
        ("[a for a, a in xs]", "a | two names `a`"),
        ("[a for in in xs]", "in | `in` is a word"),
        ("[a for a of xs]", "of | expected `in`"),
        ("[a for a in xs}", "} | expected `]`"),
        ("{a: 1 for a in xs]", "] | expected `}`"),
        ("[a for a in xs,]", ", | expected `]`"),
        ("for", "for | expected an expression"),
        ("[[a for a in xs] for a in [a]]", "a | this `a` hides another `a` | choose another name"),
        ("[a for a in [a for a in xs]]", ""),
        ("[a.b for __a in xs]", "__a | a name cannot begin with two underscores"),
    ] {
        let told = parse(text).err().unwrap_or_default();
        assert!(told.starts_with(wanted) && wanted.is_empty() == told.is_empty(), "{text}: {told}");
    }
}

#[test]
fn no_name_hides_another_one() {
    let function = ("f".to_owned(), vec!["a".to_owned()], "[a for a in [1]]".to_owned());
    let faults = Functions::build(vec![function]).unwrap_err();
    assert_eq!(faults[0].1.kind, FaultKind::Hidden);
    for text in [
        "{% for a in xs %}{{ [a for a in xs] }}{% endfor %}",
        "{% set a = 1 %}{{ {a: 1 for a in words} }}",
        "{% with a = 1 %}{% if [a for a in xs] %}{% endif %}{% endwith %}",
    ] {
        let faults = Template::parse(text, &Functions::empty(), &|_| None).unwrap_err();
        assert_eq!((faults[0].kind, &text[faults[0].range.clone()]), (FaultKind::Hidden, "a"), "{text}");
    }
    let template = "{{ [a for a in xs] }}{% for a in xs %}{{ a }}{% endfor %}";
    let template = Template::parse(template, &Functions::empty(), &|_| None).unwrap();
    assert_eq!(template.render_text(&scope()).unwrap(), "[3,4]34");
}

#[test]
fn references_are_all_but_the_names_it_binds() {
    let roots = |text: &str| -> Vec<String> {
        let expr = parse(text).unwrap();
        let spelled = |step: &Step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
            Step::Dynamic => "*".to_owned(),
        };
        expr.refs()
            .iter()
            .map(|r| {
                r.path.iter().map(spelled).collect::<Vec<_>>().join(".") + if r.guarded { "?" } else { "" }
            })
            .collect()
    };
    assert_eq!(
        roots("[inputs.a + m.n for m in steps.x.output if m.ok and inputs.b]"),
        ["inputs.a", "steps.x.output", "inputs.b"]
    );
    assert_eq!(roots("{k: table[k] for k, v in t.u if v}"), ["table.*", "t.u"]);
    assert_eq!(roots("[[a.b for b in a.c] for a in b.d]"), ["b.d"]);
    assert_eq!(roots("[a.x.y for n in xs if a.x is mapping]"), ["a.x.y?", "xs.*", "a.x"]);
    assert_eq!(roots("[(m).n for m in (m)]"), ["m.*"]);
    let binds = parse("[[b for b in a] for a in c]").unwrap();
    let names: Vec<_> = binds.binds().iter().map(|bind| bind.path.clone()).collect();
    assert_eq!(names, [[Step::Key("a".to_owned())], [Step::Key("b".to_owned())]]);
}

#[test]
fn templates_keep_the_type_and_go_through_pairs_as_well() {
    let template = |text: &str| Template::parse(text, &Functions::empty(), &|_| None).unwrap();
    let whole = template("{{ [m.id for m in trials if m.ok] }}");
    assert_eq!(whole.render(&scope()).unwrap().to_value(), json!(["a", "c"]));
    assert_eq!(template("{{ {'a': {}} }}").render(&scope()).unwrap().to_value(), json!({"a": {}}));
    let pairs = template("{% for k, v in table %}{{ k }}={{ v }};{% endfor %}");
    assert_eq!(pairs.render_text(&scope()).unwrap(), "x=1;y=[2];");
}

struct Known;

impl Names for Known {
    fn shape(&self, path: &[Step]) -> Shape {
        let trial = Shape::table([("id", Shape::Text), ("n", Shape::Number), ("ok", Shape::Bool)]);
        let known = Shape::table([
            ("trials", Shape::list(trial)),
            ("table", Shape::table([("x", Shape::Number)])),
            ("n", Shape::Number),
        ]);
        known.walk(path).unwrap_or_default()
    }
}

#[test]
fn types_go_through_a_comprehension() {
    let infer = |text: &str| {
        let (shape, faults) = parse(text).unwrap().infer(&Known);
        (shape, faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join(";"))
    };
    assert_eq!(infer("[m.n for m in trials]"), (Shape::list(Shape::Number), String::new()));
    assert_eq!(
        infer("[[k, v] for k, v in table]").0,
        Shape::list(Shape::list(Shape::one_of([Shape::Text, Shape::Number])))
    );
    assert!(matches!(infer("{m.id: m.n for m in trials}").0, Shape::Table(fields) if fields.open));
    for (text, wanted) in [
        ("[m.nn for m in trials]", "an object here has no field `nn`"),
        ("[m.id + 1 for m in trials]", "cannot add text and a number"),
        ("[m for m in n]", "`for` takes a list or an object, this is a number"),
        ("{m.n: 1 for m in trials}", "the keys of an object are text, this is a number"),
        ("[m.id for m in trials if m.id > 1]", "`>` orders numbers or texts, this is text and a number"),
        ("[m.id - 1 for m in trials if m.id is number]", ""),
        ("[[v - 1, k - 1] for k, v in table]", "`-` calculates with numbers, this is text and a number"),
    ] {
        let (_, told) = infer(text);
        assert_eq!(told, wanted, "{text}");
    }
}

#[test]
fn work_items_and_sizes_are_bounded() {
    let eval = |text: &str| parse(text).unwrap().eval(&scope()).map(drop).map_err(|error| error.message);
    let nested = "[[[1 for a in range(1000)] | sum for b in range(1000)] | sum for c in range(1000)] | sum";
    assert_eq!(eval(nested), Err("this expression does not come to an end".to_owned()));
    let long = eval("[range(200000) | map('string') | join for a in range(1000)] | length").unwrap_err();
    assert!(long.contains("larger than 64 MiB"), "{long}");
    let keys = eval("{a | string: 1 for a in range(1000000)} | length");
    assert!(keys.is_ok() || keys.as_ref().is_err_and(|told| told.contains("larger than")), "{keys:?}");
    let allowance = Arc::new(Allowance::new(1_000));
    let expr = parse("[a for a in range(10000)]").unwrap();
    assert!(expr.eval(&scope().within(allowance.clone())).is_err() && allowance.is_used_up());
    let deep = format!("{}1{}", "[".repeat(30), " for a in xs]".repeat(30));
    assert!(parse(&deep).unwrap_err().contains("nested too deeply"));
    let over = format!("{}xs{}", "[1 for a in ".repeat(30), "]".repeat(30));
    assert!(parse(&over).unwrap_err().contains("nested too deeply"));
}

#[test]
fn deep_comprehensions_in_functions_fit_the_stack() {
    let mut entries = vec![("f0".to_owned(), vec!["x".to_owned()], "x".to_owned())];
    for n in 1..32 {
        let names = (0..20).map(|i| format!(" for a{i} in [1]]")).collect::<Vec<_>>().concat();
        entries.push((
            format!("f{n}"),
            vec!["x".to_owned()],
            format!("{}f{}(x){names}", "[".repeat(20), n - 1),
        ));
    }
    let functions = Functions::build(entries).unwrap();
    let eval = |text: &str| Expr::parse(text, &functions).unwrap().eval(&Scope::new());
    assert!(eval("f31(7)").is_err(), "too deep, and no crash");
    assert!(eval("f4(7)").is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_comprehension_says_the_same_as_filters(
        value in number(),
        asked in condition(),
        items in prop::collection::vec(-20i64..20, 0..6),
    ) {
        let args = || ["x", "t", "xs"].map(str::to_owned).to_vec();
        let functions = Functions::build(vec![
            ("made".to_owned(), args(), value.clone()),
            ("asked".to_owned(), args(), asked.clone()),
        ]);
        let Ok(functions) = functions else { return Ok(()) };
        let eval = |text: &str| {
            let scope = Scope::new()
                .with("t", Data::from_value(&json!({"y": 2.5})))
                .with("xs", Data::from_value(&json!([3, 4])))
                .with("items", Data::from_value(&json!(items)));
            Expr::parse(text, &functions).ok().map(|expr| expr.eval(&scope).ok().map(|data| data.to_value()))
        };
        let filters = eval("items | select('asked', t, xs) | map('made', t, xs)");
        let made = eval(&format!("[{value} for x in items if {asked}]"));
        if let (Some(filters), Some(made)) = (filters, made) {
            // Filters ask about all items first; then which error comes first may differ, but not whether there is one.
            prop_assert_eq!(&made, &filters, "{} / {}", value, asked);
            let table = eval(&format!("{{x | string: {value} for x in items | unique if {asked}}} | values"));
            let list = eval(&format!("[{value} for x in items | unique if {asked}]"));
            prop_assert_eq!(table, list);
        }
    }
}
