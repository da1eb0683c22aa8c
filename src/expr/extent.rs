//! How deep and how large values are. Lists and objects know it of themselves, so that one that was made of others costs no
//! more than its own items; what stands in it twice is not looked at twice, and counts twice.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use super::check::{Checked, wrong_with};
use super::{data, record};
use crate::value::Extent;

/// An extent that is found when it is first asked for: what a scope holds may be a list that is made when it is read, and a
/// look at all of it is as much work as it is long.
#[derive(Debug, Default)]
pub(super) struct FoundOnce {
    depth: AtomicUsize,
    /// 0 until it is found: no value is as small.
    size: AtomicU64,
}

impl FoundOnce {
    pub(super) fn known(extent: Extent) -> Self {
        Self { depth: AtomicUsize::new(extent.depth), size: AtomicU64::new(extent.size) }
    }

    /// The extent, which `find` finds. Two threads that ask at the same time find the same.
    pub(super) fn get(&self, find: impl FnOnce() -> Extent) -> Extent {
        let size = self.size.load(Ordering::Acquire);
        if size > 0 {
            return Extent { depth: self.depth.load(Ordering::Relaxed), size };
        }
        let extent = find();
        self.depth.store(extent.depth, Ordering::Relaxed);
        self.size.store(extent.size, Ordering::Release);
        extent
    }
}

/// The extent of `value`; of one that may not be, so much of it that this can be seen.
pub(super) fn extent(value: &Inner) -> Extent {
    match value.kind() {
        ValueKind::String => Extent::leaf(value.as_str().map_or(0, str::len)),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            record::extent(value).or_else(|| data::known_extent(value)).unwrap_or_else(|| walked(value))
        }
        _ => Extent::leaf(0),
    }
}

/// The extent of a list or an object by a look at everything in it.
pub(super) fn walked(value: &Inner) -> Extent {
    let is_table = value.kind() == ValueKind::Map;
    let mut whole = Extent::empty();
    for item in value.try_iter().into_iter().flatten() {
        whole = if is_table {
            let inner = extent(&value.get_item(&item).unwrap_or_default());
            whole.key(item.as_str().map_or(0, str::len)).and(inner)
        } else {
            whole.and(extent(&item))
        };
        if whole.fault().is_some() {
            break;
        }
    }
    whole
}

/// `value`, unless it is too deep or too large. What was not made by an expression was looked at where it came from.
pub(super) fn sound(value: Inner) -> Checked {
    let is_whole = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map);
    if !is_whole || data::is_given(&value) {
        return Ok(value);
    }
    fits(extent(&value)).map(|()| value)
}

/// Refuses what is too deep or too large.
pub(super) fn fits(extent: Extent) -> Checked<()> {
    match extent.fault() {
        None => Ok(()),
        Some(why) => Err(wrong_with(format!("the value is {why}"), HINT)),
    }
}

/// What to do about a value that is too deep or too large.
pub(super) const HINT: &str =
    "keep only what later steps need: a list of entries instead of entries inside entries";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{Data, Expr, Functions, Items, Scope, Tree};
    use crate::value::{Extent, Value};

    fn eval(text: &str, scope: &Scope) -> Result<Data, String> {
        let expr = Expr::parse(text, &Functions::empty()).unwrap();
        expr.eval(scope).map_err(|error| error.message)
    }

    /// The value that `text` makes of itself as `x`, again and again, until that is refused.
    fn repeated(text: &str) -> (usize, String) {
        let mut scope = Scope::new().with("x", Data::from(1));
        for round in 0..200 {
            match eval(text, &scope) {
                Ok(value) => scope = scope.with("x", value),
                Err(message) => return (round, message),
            }
        }
        panic!("`{text}` is never refused");
    }

    /// A list that counts how often it is read.
    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl Items for Counted {
        fn len(&self) -> usize {
            1_000
        }

        fn get(&self, i: usize) -> Data {
            self.0.fetch_add(1, Ordering::Relaxed);
            Data::from(i64::try_from(i).unwrap())
        }
    }

    #[test]
    fn what_a_scope_holds_is_not_looked_through_before_it_is_asked_how_large_it_is() {
        let items = Arc::new(Counted::default());
        let history = Data::lazy_list(items.clone());
        let table = Data::table([("index", Data::from(7)), ("history", history)]);
        let scope = Scope::new().with("loop", Data::table([("all", Data::list(vec![table]))]));
        assert_eq!(eval("loop.all[0].index + 1", &scope), Ok(Data::from(8)));
        assert_eq!(eval("loop.all[0].history | length", &scope), Ok(Data::from(1_000)));
        assert_eq!(items.0.load(Ordering::Relaxed), 0);
        assert_eq!(eval("[loop]", &scope).unwrap().extent().depth, 5);
        assert_eq!(items.0.load(Ordering::Relaxed), 1_000, "found once");
    }

    #[test]
    fn values_inside_themselves_are_refused_before_they_are_too_deep_or_too_large() {
        for text in ["[x]", "{'a': x}", "[x, 1] | list", "x | default(1) | list_of", "[[x] | first]"] {
            let text = text.replace("x | default(1) | list_of", "[x] | reverse");
            let (round, message) = repeated(&text);
            assert_eq!(round, 96, "{text}");
            assert!(message.contains("nested more than 96 levels deep"), "{message}");
        }
        for text in [
            "[x, x]",
            "{'a': x, 'b': x}",
            "[x] + [x]",
            "[x, x] | chunk(1)",
            "[[x, x]] | zip([1])",
            "[['a', x], ['b', x]] | dict",
        ] {
            let (round, message) = repeated(text);
            assert!(round < 60, "{text}");
            assert!(message.contains("the value is "), "{text}: {message}");
        }
    }

    #[test]
    fn one_expression_cannot_make_what_is_too_large_either() {
        let functions = Functions::build(vec![
            ("twice".to_owned(), vec!["x".to_owned()], "[x, x]".to_owned()),
            ("four".to_owned(), vec!["x".to_owned()], "twice(twice(x))".to_owned()),
            ("long".to_owned(), vec!["x".to_owned()], "range(200000) | map('string') | join".to_owned()),
        ])
        .unwrap();
        let nested = format!("{}1{}", "four(".repeat(14), ")".repeat(14));
        for text in [format!("{nested} | tojson | length"), "range(1000) | map('long') | length".to_owned()] {
            let error = Expr::parse(&text, &functions).unwrap().eval(&Scope::new()).unwrap_err();
            assert!(error.message.contains("larger than 64 MiB"), "{}", error.message);
        }
    }

    #[test]
    fn the_extent_is_that_of_the_json_however_a_value_was_made() {
        let scope = Scope::new()
            .with("json", Data::from_arc(Arc::new(serde_json::json!({"a": [1, {"b": "text"}], "c": null}))))
            .with("long", eval("range(40) | list", &Scope::new()).unwrap());
        for text in [
            "json",
            "json.a",
            "[json, json.a]",
            "{'x': json, 'y': 'a text of some length'}",
            "[1, 2] + ['x']",
            "range(3) | map('string') | list",
            "json | items",
            "json.a | reverse",
            "{'a': 1} | merge({'b': [json]})",
            "range(9) | map('string') | zip(range(9)) | dict",
            "'[[1], {\"a\": [2]}]' | fromjson",
        ] {
            let value = eval(text, &scope).unwrap();
            assert_eq!(value.extent(), Extent::of(&value.to_value()), "{text}");
        }
        let grown = eval("long + [json] + ['x']", &scope).unwrap();
        assert_eq!(grown.extent().depth, Extent::of(&grown.to_value()).depth);
        assert!(grown.extent().size >= Extent::of(&grown.to_value()).size);
    }

    #[test]
    fn what_templates_put_together_is_bounded_as_a_whole() {
        let tree = |value: Value| Tree::parse(&value, &Functions::empty(), &|_| None).unwrap();
        let mut scope = Scope::new().with("x", Data::from(1));
        let nests = tree(serde_json::json!({"l": [{"m": "{{ x }}"}]}));
        let error = loop {
            match nests.render(&scope) {
                Ok(value) => scope = scope.with("x", Data::from_value(&value)),
                Err(error) => break error,
            }
        };
        assert!(error.message.contains("nested more than 96 levels deep"), "{}", error.message);
        let scope = Scope::new().with("x", eval("range(1000000)", &Scope::new()).unwrap());
        let many = tree(serde_json::json!(vec!["{{ x }}"; 8]));
        assert!(many.render(&scope).unwrap_err().message.contains("larger than 64 MiB"));
    }
}
