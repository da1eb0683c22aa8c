//! `let` of a step: named expressions, each evaluated when it is first read, and then kept.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::Value as Inner;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

use super::allowance::Allowance;
use super::check::{Checked, wrong};
use super::data::Data;
use super::expression::Expr;
use super::fault::EvalError;
use super::record;
use super::refs::Step;
use super::scope::Scope;

/// The root under which expressions read them.
const ROOT: &str = "let";

/// Named expressions in an order in which each comes after those that it reads.
#[derive(Debug, Default)]
pub struct Lets {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    expr: Expr,
    /// Places of the entries that it reads, all before its own.
    reads: Vec<usize>,
}

impl Lets {
    /// `entries`, which are in order.
    pub fn new(entries: Vec<(String, Expr)>) -> Self {
        let places: HashMap<String, usize> =
            entries.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let mut made: Vec<Entry> = Vec::with_capacity(entries.len());
        for (place, (name, expr)) in entries.into_iter().enumerate() {
            let read = expr.refs().iter().filter_map(|found| match found.path.as_slice() {
                [Step::Key(root), Step::Key(name), ..] if root == ROOT => places.get(name).copied(),
                _ => None,
            });
            let mut reads: Vec<usize> = read.filter(|read| *read < place).collect();
            reads.sort_unstable();
            reads.dedup();
            made.push(Entry { name, expr, reads });
        }
        Self { entries: made }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and expressions, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Expr)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), &entry.expr))
    }

    /// `scope` with these entries, which see what is in `scope`. Entries that `scope` has already stay, unless one of these
    /// has the same name.
    pub fn within(self: &Arc<Self>, scope: &Scope) -> Scope {
        if self.is_empty() { scope.clone() } else { scope.with(ROOT, self.bind(scope)) }
    }

    /// `let` in a scope like `scope`.
    pub fn bind(self: &Arc<Self>, scope: &Scope) -> Data {
        let values = self.entries.iter().map(|_| OnceLock::new()).collect();
        let outer = scope.get(ROOT).map(|outer| outer.0.clone());
        Data(Inner::from_object(Bound { lets: Arc::clone(self), scope: scope.clone(), outer, values }))
    }
}

impl Scope {
    /// This scope with the values `own` under `let`. Entries that are there stay, unless one of `own` has the same name.
    #[must_use]
    pub fn with_let(&self, own: Data) -> Self {
        let data = match self.get(ROOT) {
            Some(outer) => Data(Inner::from_object(Joined { own: own.0, outer: outer.0.clone() })),
            None => own,
        };
        self.with(ROOT, data)
    }
}

/// Entries with the scope that they see and the values that are known.
struct Bound {
    lets: Arc<Lets>,
    scope: Scope,
    outer: Option<Inner>,
    values: Vec<OnceLock<Inner>>,
}

impl Bound {
    fn place(&self, name: &str) -> Option<usize> {
        self.lets.entries.iter().position(|entry| entry.name == name)
    }

    /// The places of `place` and of all entries that it needs and whose values are not known, in order.
    fn needed(&self, place: usize) -> BTreeSet<usize> {
        let (mut found, mut open) = (BTreeSet::new(), vec![place]);
        while let Some(place) = open.pop() {
            if self.values[place].get().is_none() && found.insert(place) {
                open.extend(&self.lets.entries[place].reads);
            }
        }
        found
    }

    /// The value at `place`. What it needs is evaluated first, so that evaluations do not nest.
    fn value(
        self: &Arc<Self>,
        place: usize,
        allowance: Option<&Arc<Allowance>>,
    ) -> Result<Inner, Box<EvalError>> {
        if let Some(value) = self.values[place].get() {
            return Ok(value.clone());
        }
        let own = Data(Inner::from_dyn_object(DynObject::new(Arc::clone(self))));
        let mut scope = self.scope.with(ROOT, own);
        if let Some(allowance) = allowance {
            scope = scope.within(Arc::clone(allowance));
        }
        let mut last = Inner::UNDEFINED;
        for place in self.needed(place) {
            let Entry { name, expr, .. } = &self.lets.entries[place];
            let value = expr.eval(&scope).map_err(|error| Box::new(told(name, error)))?;
            last = self.values[place].get_or_init(|| value.0).clone();
        }
        Ok(last)
    }
}

/// `error` of the entry `name`, or of one that it reads.
fn told(name: &str, error: EvalError) -> EvalError {
    let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if error.text.strip_prefix("let.").is_some_and(is_name) {
        return error;
    }
    let quoted = format!("`{}`", error.text);
    let message = match error.message.strip_prefix(&quoted) {
        Some(_) => error.message,
        None => format!("{quoted}: {}", error.message),
    };
    EvalError { text: format!("let.{name}"), message, ..error }
}

/// The entry `key` of `lets`, or what `key` is of any other value.
pub(super) fn entry(lets: &Inner, key: &str, allowance: Option<&Arc<Allowance>>) -> Checked {
    let mut at = lets.clone();
    loop {
        let outer = if let Some(bound) = at.downcast_object::<Bound>() {
            if let Some(place) = bound.place(key) {
                let value = bound.value(place, allowance);
                return value.map_err(|error| wrong(format!("in `let.{key}`")).with_source(*error));
            }
            bound.outer.clone()
        } else if let Some(joined) = at.downcast_object_ref::<Joined>() {
            let own = record::field(&joined.own, key)?;
            if !own.is_undefined() {
                return Ok(own);
            }
            Some(joined.outer.clone())
        } else {
            return record::field(&at, key);
        };
        match outer {
            Some(outer) => at = outer,
            None => return Ok(Inner::UNDEFINED),
        }
    }
}

fn names_in(value: &Inner) -> Vec<Inner> {
    value.try_iter().map(Iterator::collect).unwrap_or_default()
}

fn with_outer(mut own: Vec<Inner>, outer: Option<&Inner>) -> Enumerator {
    for name in outer.map(names_in).unwrap_or_default() {
        if !own.contains(&name) {
            own.push(name);
        }
    }
    Enumerator::Values(own)
}

impl Object for Bound {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        let own = Inner::from_dyn_object(DynObject::new(Arc::clone(self)));
        entry(&own, key, None).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let own = self.lets.entries.iter().map(|entry| Inner::from(entry.name.as_str())).collect();
        with_outer(own, self.outer.as_ref())
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lets.iter().map(|(name, _)| name)).finish()
    }
}

/// The `let` of a loop inside a step that has a `let`, too.
#[derive(Debug)]
struct Joined {
    own: Inner,
    outer: Inner,
}

impl Object for Joined {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        let own = Inner::from_dyn_object(DynObject::new(Arc::clone(self)));
        entry(&own, key, None).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        with_outer(names_in(&self.own), Some(&self.outer))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Functions;
    use super::*;

    fn lets(entries: &[(&str, &str)]) -> Arc<Lets> {
        let parse = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), Expr::parse(text, &Functions::empty()).unwrap())
        };
        Arc::new(Lets::new(entries.iter().map(parse).collect()))
    }

    fn eval(text: &str, scope: &Scope) -> Result<String, String> {
        let value = Expr::parse(text, &Functions::empty()).unwrap().eval(scope);
        value.map(|value| value.to_value().to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn entries_read_each_other_and_those_around_them() {
        let outer =
            lets(&[("a", "n + 1"), ("b", "let.a * 2")]).within(&Scope::new().with("n", Data::from(3)));
        let inner = lets(&[("c", "let.b + 1"), ("d", "let.c ~ let.a")]).within(&outer);
        assert_eq!(eval("[let.a, let.b, let.c, let['d'], let.d]", &inner).unwrap(), r#"[4,8,9,"94","94"]"#);
        let joined = outer.with_let(Data::table([("c", Data::from(1)), ("a", Data::from(2))]));
        assert_eq!(eval("[let.a, let.b, let.c]", &joined).unwrap(), "[2,8,1]");
        assert_eq!(joined.get("let").and_then(|data| data.get("b")), Some(Data::from(8)));
        assert!(eval("let.x", &joined).unwrap_err().contains("`let.x` is not there; it has: c, a, b"));
    }

    #[test]
    fn an_entry_is_evaluated_when_it_is_read_and_once() {
        let scope = Scope::new().with("n", Data::from(0));
        let scope = lets(&[("wrong", "1 // n"), ("long", "range(50000) | sum"), ("more", "let.wrong + 1")])
            .within(&scope);
        let work = |text: &str| {
            let allowance = Arc::new(Allowance::new(1_000_000));
            eval(text, &scope.clone().within(allowance.clone())).unwrap();
            1_000_000 - allowance.left()
        };
        let (first, second) = (work("let.long"), work("let.long"));
        assert!(first > 50_000 && second < 10, "{first} {second}");
        let message = eval("let.more", &scope).unwrap_err();
        assert_eq!(message, "`1 // n`: unable to calculate 1 // 0 (in `let.wrong`)");
        let nested = lets(&[("x", "{'y': 1}"), ("z", "let.x['q']")]).within(&Scope::new());
        assert_eq!(
            eval("let.z", &nested).unwrap_err(),
            "`let.x['q']`: `let.x.q` is not there; it has: y (in `let.z`)"
        );
    }

    #[test]
    fn what_takes_too_long_is_evaluated_again_with_another_allowance() {
        let scope = lets(&[("long", "range(50000) | sum")]).within(&Scope::new());
        let little = Arc::new(Allowance::new(1_000));
        assert!(eval("let.long", &scope.clone().within(little.clone())).is_err() && little.is_used_up());
        assert_eq!(eval("let.long", &scope).unwrap(), "1249975000");
    }

    #[test]
    fn a_long_chain_does_not_nest() {
        let names: Vec<(String, String)> = (0..20_000)
            .map(|n: u32| {
                (format!("a{n}"), n.checked_sub(1).map_or("0".to_owned(), |n| format!("let.a{n} + 1")))
            })
            .collect();
        let entries: Vec<(&str, &str)> = names.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let scope = lets(&entries[..2_000]).within(&Scope::new());
        assert_eq!(eval("let.a1999", &scope).unwrap(), "1999");
    }
}
