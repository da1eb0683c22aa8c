//! Values in scopes: JSON as expressions see it, shared and lazy where it is large.

use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::Value as Inner;
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};

use super::extent::{extent, walked};
use super::record;
use crate::value::{Extent, Value};

/// A value that expressions can see. Cheap to clone.
#[derive(Clone, Default, PartialEq)]
pub struct Data(pub(super) Inner);

/// A list whose items are made when they are asked for: a hundred thousand results that live elsewhere.
pub trait Items: Send + Sync + fmt::Debug {
    /// How many items there are.
    fn len(&self) -> usize;
    /// The item at `i`, which is below [`len`](Self::len).
    fn get(&self, i: usize) -> Data;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An object whose values are made when they are asked for.
pub trait Fields: Send + Sync + fmt::Debug {
    /// Its keys, in order.
    fn keys(&self) -> Vec<String>;
    /// The value under `key`.
    fn get(&self, key: &str) -> Option<Data>;
}

impl Data {
    /// A copy of `value`.
    pub fn from_value(value: &Value) -> Self {
        Self(inner(value))
    }

    /// A view of `value`, converted when an expression first looks into it.
    pub fn from_arc(value: Arc<Value>) -> Self {
        match &*value {
            Value::Array(_) | Value::Object(_) => Self(Inner::from_object(Deferred {
                source: value,
                made: OnceLock::new(),
                extent: OnceLock::new(),
            })),
            leaf => Self(inner(leaf)),
        }
    }

    /// The JSON of this value. Integers stay integers, `1.0` stays `1.0`; what JSON cannot say (undefined, infinity) is `null`.
    pub fn to_value(&self) -> Value {
        outer(&self.0)
    }

    /// `none`.
    pub fn none() -> Self {
        Self(Inner::from(()))
    }

    /// An object, with its keys in the order given.
    pub fn table<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Data)>) -> Self {
        let entries = entries.into_iter().map(|(key, data)| (Inner::from(key.as_ref()), data.0));
        Self(record::table(entries.collect()))
    }

    /// An object whose keys, which are texts, all differ.
    pub fn table_of_unequal(entries: impl IntoIterator<Item = (Data, Data)>) -> Self {
        Self(record::table_of_unequal(entries.into_iter().map(|(key, data)| (key.0, data.0)).collect()))
    }

    /// A list.
    pub fn list(items: Vec<Data>) -> Self {
        Self(record::list(items.into_iter().map(|item| item.0).collect()))
    }

    /// A list that asks `items` for what it needs.
    pub fn lazy_list(items: Arc<dyn Items>) -> Self {
        Self(Inner::from_object(LazyList(items, OnceLock::new())))
    }

    /// An object that asks `fields` for what it needs.
    pub fn lazy_table(fields: Arc<dyn Fields>) -> Self {
        Self(Inner::from_object(LazyTable(fields, OnceLock::new())))
    }

    /// This list with `items` behind it; the items that are there are shared.
    #[must_use]
    pub fn appended(&self, items: &[Value]) -> Self {
        Self(record::Grown::append(&self.0, items.iter().map(inner)))
    }

    /// What stands behind the items of the list `old`, as JSON, where this is `old` with more behind it.
    pub fn added_to(&self, old: &Self) -> Option<Vec<Value>> {
        let json = |value: Value| match value {
            Value::Array(items) => Some(items),
            _ => None,
        };
        if let Some(added) = record::added(&old.0, &self.0) {
            return json(outer(&added));
        }
        if !self.is_list() || !old.is_list() || self.len_hint() < old.len_hint() {
            return None;
        }
        if is_one_object(&self.0, &old.0) {
            return Some(Vec::new());
        }
        let (mut items, old) = (json(self.to_value())?, json(old.to_value())?);
        items.starts_with(&old).then(|| items.split_off(old.len()))
    }

    /// Whether `one == other` in the language: `2` is `2.0`.
    pub fn are_equal(one: &Value, other: &Value) -> bool {
        one == other
            || (one.is_number() && other.is_number() && Self::from_value(one).0 == Self::from_value(other).0)
    }

    /// Whether this is `other`, or says the same in JSON.
    pub fn is_same(&self, other: &Self) -> bool {
        is_one_object(&self.0, &other.0)
            || (self.0.kind() == other.0.kind() && self.to_value() == other.to_value())
    }

    /// The number of items, keys or characters, where the value has such a number.
    pub fn len_hint(&self) -> Option<usize> {
        self.0.len()
    }

    /// The items of a list; `None` if this is no list.
    pub fn items(&self) -> Option<Vec<Data>> {
        self.is_list().then(|| self.0.try_iter().ok().map(|items| items.map(Data).collect()))?
    }

    /// The keys and values of an object; `None` if this is no object.
    pub fn entries(&self) -> Option<Vec<(String, Data)>> {
        if self.0.kind() != ValueKind::Map {
            return None;
        }
        let keys = self.0.try_iter().ok()?;
        Some(keys.map(|key| (text_of(&key), Data(self.0.get_item(&key).unwrap_or_default()))).collect())
    }

    /// The value under `key` of an object.
    pub fn get(&self, key: &str) -> Option<Data> {
        let found = self.0.get_attr(key).ok()?;
        (!found.is_undefined()).then_some(Self(found))
    }

    /// The item at `index` of a list.
    pub fn at(&self, index: usize) -> Option<Data> {
        if !self.is_list() {
            return None;
        }
        let found = self.0.get_item_by_index(index).ok()?;
        (!found.is_undefined()).then_some(Self(found))
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        (self.0.kind() == ValueKind::Bool).then(|| self.0.is_true())
    }

    /// The whole number, if this is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        if self.0.is_integer() { self.0.as_i64() } else { None }
    }

    /// The number, if this is one.
    pub fn as_f64(&self) -> Option<f64> {
        if self.0.is_number() { f64::try_from(self.0.clone()).ok() } else { None }
    }

    /// Whether this is `none`.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this is true as a condition.
    pub fn is_true(&self) -> bool {
        super::check::truth(&self.0)
    }

    /// Whether this is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.0.kind(), ValueKind::Seq | ValueKind::Iterable)
    }

    /// How deep and how large it is; of a value that may not be, so much of it that this can be seen.
    pub fn extent(&self) -> Extent {
        extent(&self.0)
    }

    /// What kind of value this is, in the words of messages: `a list`, `text`, `a number`.
    pub fn noun(&self) -> &'static str {
        noun(&self.0)
    }
}

/// Whether both are known to be one and the same list or object, without a look into it.
pub(super) fn is_one_object(a: &Inner, b: &Inner) -> bool {
    is_one::<Deferred>(a, b) || is_one::<LazyList>(a, b) || record::is_one_list(a, b)
}

/// Whether `value` is a list or an object that no expression made.
pub(super) fn is_given(value: &Inner) -> bool {
    value.downcast_object_ref::<Deferred>().is_some()
        || value.downcast_object_ref::<LazyList>().is_some()
        || value.downcast_object_ref::<LazyTable>().is_some()
}

/// Whether both are one object of the type `T`.
pub(super) fn is_one<T: 'static>(a: &Inner, b: &Inner) -> bool {
    match (a.downcast_object_ref::<T>(), b.downcast_object_ref::<T>()) {
        (Some(a), Some(b)) => std::ptr::eq(a, b),
        _ => false,
    }
}

pub(super) fn noun(value: &Inner) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "none",
        ValueKind::Bool => "a truth value",
        ValueKind::Number => "a number",
        ValueKind::String => "text",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "an object",
        _ => "a function",
    }
}

fn text_of(key: &Inner) -> String {
    key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned)
}

pub(super) fn inner(value: &Value) -> Inner {
    match value {
        Value::Null => Inner::from(()),
        Value::Bool(truth) => Inner::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Inner::from(whole),
            (None, Some(whole)) => Inner::from(whole),
            (None, None) => Inner::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Inner::from(text.as_str()),
        Value::Array(items) => record::list(items.iter().map(inner).collect()),
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| (Inner::from(key.as_str()), inner(value)));
            record::table_of_unequal(entries.collect())
        }
    }
}

/// The extent of a value that lies elsewhere, found once.
pub(super) fn known_extent(value: &Inner) -> Option<Extent> {
    if let Some(deferred) = value.downcast_object_ref::<Deferred>() {
        return Some(*deferred.extent.get_or_init(|| Extent::of(&deferred.source)));
    }
    let known = value.downcast_object_ref::<LazyList>().map(|list| &list.1);
    let known = known.or_else(|| value.downcast_object_ref::<LazyTable>().map(|table| &table.1));
    known.map(|known| *known.get_or_init(|| walked(value)))
}

/// The JSON that `value` is a view of, if it is one.
pub(super) fn source(value: &Inner) -> Option<&Value> {
    value.downcast_object_ref::<Deferred>().map(|deferred| &*deferred.source)
}

pub(super) fn outer(value: &Inner) -> Value {
    if let Some(source) = source(value) {
        return source.clone();
    }
    if let Some(items) = record::items(value) {
        return Value::Array(items.iter().map(outer).collect());
    }
    if let Some(entries) = record::entries(value) {
        return Value::Object(entries.iter().map(|(key, value)| (text_of(key), outer(value))).collect());
    }
    match value.kind() {
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => number(value),
        ValueKind::String => Value::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => match value.try_iter() {
            Ok(items) => Value::Array(items.map(|item| outer(&item)).collect()),
            Err(_) => Value::Null,
        },
        ValueKind::Map => match value.try_iter() {
            Ok(keys) => Value::Object(
                keys.map(|key| (text_of(&key), outer(&value.get_item(&key).unwrap_or_default()))).collect(),
            ),
            Err(_) => Value::Null,
        },
        _ => Value::Null,
    }
}

fn number(value: &Inner) -> Value {
    if value.is_integer() {
        if let Some(whole) = value.as_i64() {
            return Value::from(whole);
        }
        if let Ok(whole) = u64::try_from(value.clone()) {
            return Value::from(whole);
        }
    }
    f64::try_from(value.clone()).map_or(Value::Null, Value::from)
}

/// JSON that is converted as a whole on the first look.
struct Deferred {
    source: Arc<Value>,
    made: OnceLock<Inner>,
    extent: OnceLock<Extent>,
}

impl Deferred {
    fn made(&self) -> &Inner {
        self.made.get_or_init(|| inner(&self.source))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.source, f)
    }
}

impl Object for Deferred {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.source.is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.made().get_item(key).ok().filter(|found| !found.is_undefined())
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        self.made().get_attr(key).ok().filter(|found| !found.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &*self.source {
            Value::Array(items) => Enumerator::Seq(items.len()),
            Value::Object(table) => {
                Enumerator::Values(table.keys().map(|key| Inner::from(key.as_str())).collect())
            }
            _ => Enumerator::Empty,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        match &*self.source {
            Value::Array(items) => Some(items.len()),
            Value::Object(table) => Some(table.len()),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct LazyList(Arc<dyn Items>, OnceLock<Extent>);

impl Object for LazyList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        let index = key.as_usize()?;
        (index < self.0.len()).then(|| self.0.get(index).0)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.len())
    }
}

#[derive(Debug)]
struct LazyTable(Arc<dyn Fields>, OnceLock<Extent>);

impl Object for LazyTable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        self.0.get(key).map(|data| data.0)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().into_iter().map(Inner::from).collect())
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<bool> for Data {
    fn from(truth: bool) -> Self {
        Self(Inner::from(truth))
    }
}

impl From<i32> for Data {
    fn from(whole: i32) -> Self {
        Self(Inner::from(whole))
    }
}

impl From<i64> for Data {
    fn from(whole: i64) -> Self {
        Self(Inner::from(whole))
    }
}

impl From<u64> for Data {
    fn from(whole: u64) -> Self {
        Self(Inner::from(whole))
    }
}

impl From<f64> for Data {
    fn from(number: f64) -> Self {
        Self(Inner::from(number))
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self(Inner::from(text))
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self(Inner::from(text))
    }
}

impl From<&Value> for Data {
    fn from(value: &Value) -> Self {
        Self::from_value(value)
    }
}
