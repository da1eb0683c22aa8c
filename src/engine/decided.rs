//! What an expression was decided on, for people.

use crate::expr::{Data, Expr, Ref, Scope, Step as Key};
use crate::value::Value;

/// The values that an expression was decided on, by the names it reads; long texts are cut.
pub(super) fn values_of(expr: &Expr, scope: &Scope) -> Value {
    values_where(expr, scope, |_| true)
}

/// The same, of names whose first part is `wanted`.
pub(super) fn values_where(expr: &Expr, scope: &Scope, wanted: impl Fn(&str) -> bool) -> Value {
    let mut values = serde_json::Map::new();
    let is_wanted = |reference: &&Ref| match reference.path.first() {
        Some(Key::Key(root)) => wanted(root),
        _ => true,
    };
    for reference in expr.refs().iter().filter(is_wanted) {
        let text = &expr.text()[reference.range.clone()];
        if let Some(data) = resolve(reference, scope) {
            values.insert(text.to_owned(), brief(&data));
        }
    }
    Value::Object(values)
}

fn resolve(reference: &Ref, scope: &Scope) -> Option<Data> {
    let mut path = reference.path.iter();
    let Some(Key::Key(root)) = path.next() else { return None };
    path.try_fold(scope.get(root)?.clone(), |data, key| match key {
        Key::Key(key) => data.get(key),
        Key::Index(index) => data.at(usize::try_from(*index).ok()?),
        Key::Dynamic => None,
    })
}

/// What is shown of a value: the beginning of a text, and a list or an object only if it is small.
fn brief(data: &Data) -> Value {
    match data.as_str() {
        Some(text) if text.chars().count() > 200 => {
            text.chars().take(200).chain(['…']).collect::<String>().into()
        }
        None if data.extent().size > 1_000 => "…".into(),
        _ => data.to_value(),
    }
}
