//! Small objects and growing lists: values that are cheap to make again and again.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use minijinja::Value as Inner;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::data::is_one;

/// How many keys are looked through one by one.
const SMALL: usize = 8;

/// An object with these keys, in this order; of equal keys the last counts.
pub(super) fn table(entries: Vec<(Inner, Inner)>) -> Inner {
    let twice = |i: usize| entries[..i].iter().any(|(known, _)| *known == entries[i].0);
    if entries.len() > SMALL || (1..entries.len()).any(twice) {
        return Inner::from_pairs(entries);
    }
    Inner::from_object(Record(entries))
}

#[derive(Debug)]
struct Record(Vec<(Inner, Inner)>);

impl Object for Record {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        self.0.iter().find(|(known, _)| known.as_str() == Some(key)).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(key, _)| key.clone()).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.len())
    }
}

/// From how many items on a list that is added to shares them.
pub(super) const GROWING: usize = 16;

/// `list` and `more` behind it. A list that shares its items stays as it is: what is added to it lies beside it.
pub(super) fn longer(list: &Inner, more: Vec<Inner>) -> Inner {
    if let Some(known) = list.downcast_object_ref::<Longer>() {
        return Longer::of(known.base.clone(), extended(&known.more, more));
    }
    if list.downcast_object_ref::<Grown>().is_some() {
        return Longer::of(list.clone(), Inner::from(more));
    }
    Grown::append(list, more.into_iter())
}

/// What stands in `new` behind the items of `old`, where `new` was made from it so.
pub(super) fn added(old: &Inner, new: &Inner) -> Option<Inner> {
    let base = new.downcast_object_ref::<Longer>()?.base.downcast_object_ref::<Grown>()?;
    let old = old.downcast_object_ref::<Grown>()?;
    let same = Arc::ptr_eq(&base.items, &old.items) && base.length == old.length;
    same.then(|| new.downcast_object_ref::<Longer>().map(|longer| longer.more.clone()))?
}

/// Whether both are one list that shares its items.
pub(super) fn is_one_list(a: &Inner, b: &Inner) -> bool {
    is_one::<Grown>(a, b) || is_one::<Longer>(a, b)
}

fn extended(list: &Inner, more: Vec<Inner>) -> Inner {
    let before = list.len().unwrap_or_default();
    if before >= GROWING {
        return Grown::append(list, more.into_iter());
    }
    let mut all = Vec::with_capacity(before + more.len());
    all.extend(list.try_iter().into_iter().flatten());
    all.extend(more);
    Inner::from(all)
}

/// A list that shares its items, and a list behind it.
#[derive(Debug)]
struct Longer {
    base: Inner,
    more: Inner,
    before: usize,
}

impl Longer {
    fn of(base: Inner, more: Inner) -> Inner {
        let before = base.len().unwrap_or_default();
        Inner::from_object(Self { base, more, before })
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
            more.enumerate().for_each(|(i, item)| grown.items.put(grown.length + i, item));
            return Inner::from_object(Self { items: grown.items.clone(), length });
        }
        let before = list.try_iter().into_iter().flatten();
        let items = Arc::new(Items::default());
        let mut length = 0;
        for item in before.chain(more) {
            items.put(length, item);
            length += 1;
        }
        items.add(0, length);
        Inner::from_object(Self { items, length })
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
        let mut new = longer(&old, more(20, 1).collect());
        for next in 21..80 {
            new = longer(&new, more(next, 1).collect());
        }
        assert_eq!(numbers(&new), (0..80).collect::<Vec<_>>());
        assert_eq!(new.len(), Some(80));
        assert_eq!(numbers(&added(&old, &new).unwrap()), (20..80).collect::<Vec<_>>());
        assert_eq!(numbers(&old), (0..20).collect::<Vec<_>>());
        let other = longer(&old, more(-3, 2).collect());
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
