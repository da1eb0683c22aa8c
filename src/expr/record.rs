//! Small objects and growing lists: values that are cheap to make again and again.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use minijinja::Value as Inner;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::check::Checked;
use super::data::is_one;
use super::extent::{FoundOnce, extent as extent_of, walked};
use crate::value::Extent;

/// How many keys are looked through one by one.
const SMALL: usize = 8;

/// An object with these keys, in this order; of equal keys the last counts.
pub(super) fn table(entries: Vec<(Inner, Inner)>) -> Inner {
    let twice = |i: usize| entries[..i].iter().any(|(known, _)| *known == entries[i].0);
    if entries.len() <= SMALL && !(1..entries.len()).any(twice) { small(entries) } else { wide(entries) }
}

/// The same of keys that are all different.
pub(super) fn table_of_unequal(entries: Vec<(Inner, Inner)>) -> Inner {
    if entries.len() <= SMALL { small(entries) } else { wide(entries) }
}

fn small(entries: Vec<(Inner, Inner)>) -> Inner {
    Inner::from_object(Record { entries, extent: FoundOnce::default() })
}

fn wide(entries: Vec<(Inner, Inner)>) -> Inner {
    Inner::from_object(Wide { map: Inner::from_pairs(entries), extent: FoundOnce::default() })
}

/// A list of `items`.
pub(super) fn list(items: Vec<Inner>) -> Inner {
    Inner::from_object(Row { items, extent: FoundOnce::default() })
}

/// The items of a list that was made here and shares none of them.
pub(super) fn items(value: &Inner) -> Option<&[Inner]> {
    value.downcast_object_ref::<Row>().map(|row| row.items.as_slice())
}

/// The keys and values of a small object that was made here.
pub(super) fn entries(value: &Inner) -> Option<&[(Inner, Inner)]> {
    value.downcast_object_ref::<Record>().map(|record| record.entries.as_slice())
}

/// The value under `key`; undefined if there is none.
pub(super) fn field(table: &Inner, key: &str) -> Checked {
    match entries(table) {
        Some(entries) => Ok(under(entries, key).cloned().unwrap_or_default()),
        None => table.get_attr(key),
    }
}

fn under<'e>(entries: &'e [(Inner, Inner)], key: &str) -> Option<&'e Inner> {
    entries.iter().find(|(known, _)| known.as_str() == Some(key)).map(|(_, value)| value)
}

/// `list` and `more` behind it, as a list of its own.
pub(super) fn joined(list: &Inner, more: &[Inner]) -> Inner {
    let extent = more.iter().fold(extent_of(list), |sum, item| sum.and(extent_of(item)));
    let mut all = Vec::with_capacity(list.len().unwrap_or_default() + more.len());
    match items(list) {
        Some(items) => all.extend_from_slice(items),
        None => all.extend(list.try_iter().into_iter().flatten()),
    }
    all.extend_from_slice(more);
    Inner::from_object(Row { items: all, extent: FoundOnce::known(extent) })
}

/// The extent of a list or object that was made here.
pub(super) fn extent(value: &Inner) -> Option<Extent> {
    if let Some(row) = value.downcast_object_ref::<Row>() {
        return Some(row.extent.get(|| extent_of_items(&row.items)));
    }
    if let Some(record) = value.downcast_object_ref::<Record>() {
        return Some(record.extent.get(|| extent_of_entries(&record.entries)));
    }
    value
        .downcast_object_ref::<Grown>()
        .map(|grown| grown.extent)
        .or_else(|| value.downcast_object_ref::<Longer>().map(|longer| longer.extent))
        .or_else(|| value.downcast_object_ref::<Wide>().map(|wide| wide.extent.get(|| walked(value))))
}

fn extent_of_items(items: &[Inner]) -> Extent {
    items.iter().fold(Extent::empty(), |sum, item| sum.and(extent_of(item)))
}

fn extent_of_entries(entries: &[(Inner, Inner)]) -> Extent {
    entries.iter().fold(Extent::empty(), |sum, (key, value)| {
        sum.key(key.as_str().map_or(0, str::len)).and(extent_of(value))
    })
}

#[derive(Debug)]
struct Row {
    items: Vec<Inner>,
    extent: FoundOnce,
}

impl Object for Row {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.items.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }
}

/// An object of many keys.
#[derive(Debug)]
struct Wide {
    map: Inner,
    extent: FoundOnce,
}

impl Object for Wide {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.map.get_item(key).ok().filter(|found| !found.is_undefined())
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        self.map.get_attr(key).ok().filter(|found| !found.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.map.try_iter().into_iter().flatten().collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        self.map.len()
    }
}

#[derive(Debug)]
struct Record {
    entries: Vec<(Inner, Inner)>,
    extent: FoundOnce,
}

impl Object for Record {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        under(&self.entries, key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.entries.iter().map(|(key, _)| key.clone()).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// From how many items on a list that is added to shares them.
pub(super) const GROWING: usize = 16;

/// `list` and `more` behind it. A list that shares its items stays as it is: what is added to it lies beside it.
pub(super) fn longer(list: &Inner, more: &[Inner]) -> Inner {
    if let Some(known) = list.downcast_object_ref::<Longer>() {
        return Longer::of(known.base.clone(), extended(&known.more, more));
    }
    if list.downcast_object_ref::<Grown>().is_some() {
        return Longer::of(list.clone(), self::list(more.to_vec()));
    }
    Grown::append(list, more.iter().cloned())
}

/// What stands in `new` behind the items of `old`, where `new` was made from it so.
pub(super) fn added(old: &Inner, new: &Inner) -> Option<Inner> {
    let base = new.downcast_object_ref::<Longer>()?.base.downcast_object_ref::<Grown>()?;
    let old = old.downcast_object_ref::<Grown>()?;
    let same = Arc::ptr_eq(&base.items, &old.items) && base.length == old.length;
    same.then(|| new.downcast_object_ref::<Longer>().map(|longer| longer.more.clone()))?
}

/// Whether both are one list that was made here.
pub(super) fn is_one_list(a: &Inner, b: &Inner) -> bool {
    is_one::<Row>(a, b) || is_one::<Grown>(a, b) || is_one::<Longer>(a, b)
}

fn extended(list: &Inner, more: &[Inner]) -> Inner {
    let before = list.len().unwrap_or_default();
    if before >= GROWING {
        return Grown::append(list, more.iter().cloned());
    }
    joined(list, more)
}

/// A list that shares its items, and a list behind it.
#[derive(Debug)]
struct Longer {
    base: Inner,
    more: Inner,
    before: usize,
    extent: Extent,
}

impl Longer {
    fn of(base: Inner, more: Inner) -> Inner {
        let before = base.len().unwrap_or_default();
        let extent = extent_of(&base).joined(extent_of(&more));
        Inner::from_object(Self { base, more, before, extent })
    }
}

impl Object for Longer {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        let index = key.as_usize()?;
        let found = match index.checked_sub(self.before) {
            None => self.base.get_item_by_index(index),
            Some(index) => self.more.get_item_by_index(index),
        };
        found.ok().filter(|found| !found.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.before + self.more.len().unwrap_or_default())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.before + self.more.len()?)
    }
}

/// How many items the first part of a growing list holds; each further part holds as many as all before it.
const FIRST: usize = 16;
const PARTS: usize = 24;

/// A list that shares its items with the lists that it was made longer from: adding to the longest costs what is added.
pub(super) struct Grown {
    items: Arc<Items>,
    length: usize,
    extent: Extent,
}

struct Items {
    parts: [OnceLock<Box<[OnceLock<Inner>]>>; PARTS],
    /// How many there are: whoever adds holds it.
    length: Mutex<usize>,
}

impl Grown {
    /// `list` and `more` behind it.
    pub(super) fn append(list: &Inner, more: impl ExactSizeIterator<Item = Inner>) -> Inner {
        if let Some(grown) = list.downcast_object_ref::<Self>()
            && let Some(length) = grown.items.add(grown.length, more.len())
        {
            let mut extent = grown.extent;
            more.enumerate().for_each(|(i, item)| {
                extent = extent.and(extent_of(&item));
                grown.items.put(grown.length + i, item);
            });
            return Inner::from_object(Self { items: grown.items.clone(), length, extent });
        }
        let before = list.try_iter().into_iter().flatten();
        let items = Arc::new(Items::default());
        let (mut length, mut extent) = (0, Extent::empty());
        for item in before.chain(more) {
            extent = extent.and(extent_of(&item));
            items.put(length, item);
            length += 1;
        }
        items.add(0, length);
        Inner::from_object(Self { items, length, extent })
    }

    fn get(&self, index: usize) -> Option<Inner> {
        if index < self.length { self.items.get(index).cloned() } else { None }
    }
}

impl Default for Items {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| OnceLock::new()), length: Mutex::new(0) }
    }
}

impl Items {
    /// Makes room for `count` items behind the first `length`, if those are all there are; tells how many there are then.
    fn add(&self, length: usize, count: usize) -> Option<usize> {
        let mut all = self.length.lock().unwrap_or_else(PoisonError::into_inner);
        (*all == length).then(|| {
            *all += count;
            *all
        })
    }

    /// The part that holds item `index`, its place in it, and the length of the part.
    fn place(index: usize) -> (usize, usize, usize) {
        let part = (index / FIRST + 1).ilog2() as usize;
        let start = FIRST * ((1 << part) - 1);
        (part, index - start, FIRST << part)
    }

    fn put(&self, index: usize, item: Inner) {
        let (part, place, length) = Self::place(index);
        let Some(part) = self.parts.get(part) else { return };
        let part = part.get_or_init(|| (0..length).map(|_| OnceLock::new()).collect());
        // It is empty: whoever adds has room of his own.
        let _ = part[place].set(item);
    }

    fn get(&self, index: usize) -> Option<&Inner> {
        let (part, place, _) = Self::place(index);
        self.parts.get(part)?.get()?.get(place)?.get()
    }
}

impl fmt::Debug for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.length).filter_map(|i| self.get(i))).finish()
    }
}

impl Object for Grown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get(key.as_usize()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.length)
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(value: &Inner) -> Vec<i64> {
        value.try_iter().unwrap().map(|item| item.as_i64().unwrap()).collect()
    }

    fn more(from: i64, count: i64) -> std::vec::IntoIter<Inner> {
        (from..from + count).map(Inner::from).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn lists_that_grow_share_their_items_and_keep_their_own_length() {
        let mut lists = vec![Grown::append(&Inner::from(Vec::<Inner>::new()), more(0, 1))];
        for next in 1..1_000 {
            lists.push(Grown::append(lists.last().unwrap(), more(next, 1)));
        }
        for (i, list) in lists.iter().enumerate().step_by(37) {
            assert_eq!(numbers(list), (0..=i64::try_from(i).unwrap()).collect::<Vec<_>>());
        }
        let other = Grown::append(&lists[10], more(-5, 2));
        assert_eq!(numbers(&other)[9..], [9, 10, -5, -4]);
        assert_eq!(numbers(&lists[12])[9..], [9, 10, 11, 12], "the list that was there is as it was");
        assert_eq!(lists[999].get_item_by_index(1_000).unwrap(), Inner::UNDEFINED);
    }

    #[test]
    fn what_was_added_to_a_shared_list_is_known_and_leaves_it_alone() {
        let old = Grown::append(&Inner::from(Vec::<Inner>::new()), more(0, 20));
        let mut new = longer(&old, more(20, 1).as_slice());
        for next in 21..80 {
            new = longer(&new, more(next, 1).as_slice());
        }
        assert_eq!(numbers(&new), (0..80).collect::<Vec<_>>());
        assert_eq!(new.len(), Some(80));
        assert_eq!(numbers(&added(&old, &new).unwrap()), (20..80).collect::<Vec<_>>());
        assert_eq!(numbers(&old), (0..20).collect::<Vec<_>>());
        let other = longer(&old, more(-3, 2).as_slice());
        assert_eq!(numbers(&other)[18..], [18, 19, -3, -2]);
        assert_eq!(numbers(&new)[18..22], [18, 19, 20, 21]);
        assert!(added(&Inner::from(vec![1]), &new).is_none());
        assert_eq!(Grown::append(&old, more(20, 60)), new, "equal lists are equal however they were made");
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        let entry = |key: &str, n: i64| (Inner::from(key), Inner::from(n));
        let found = table(vec![entry("a", 1), entry("b", 2), entry("a", 3)]);
        assert_eq!(found.get_attr("a").unwrap(), Inner::from(3));
        assert_eq!(found.len(), Some(2));
        assert_eq!(table(vec![entry("a", 3), entry("b", 2)]), found);
    }
}
