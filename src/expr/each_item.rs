//! Evaluating comprehensions.

use std::collections::HashSet;
use std::sync::Arc;

use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use super::ast::{Comprehension, Node};
use super::check::{Checked, MAX_ITEMS, is_list, wrong, wrong_with};
use super::code::{Cell, Code};
use super::data::noun;
use super::extent::{extent, fits};
use super::lower::{Lowered, Lowering};
use super::machine::{Evaluated, Machine, at};
use super::record;
use crate::value::Extent;

/// A comprehension, ready to be evaluated.
pub(super) struct Each {
    names: Vec<Arc<str>>,
    over: Cell,
    only: Option<Cell>,
    key: Option<Cell>,
    value: Cell,
}

impl Lowering<'_> {
    pub(super) fn comprehension(&self, made: &Comprehension, depth: usize) -> Lowered<Code> {
        let over = self.value(&made.over, depth)?;
        let bound: Vec<&str> =
            self.bound.iter().copied().chain(made.names.iter().map(|(name, _)| name.as_str())).collect();
        let inner = Lowering { bound: &bound, ..*self };
        let maybe = |node: &Option<Node>, lower: &dyn Fn(&Node) -> Lowered| match node {
            Some(node) => lower(node).map(Some),
            None => Some(None),
        };
        let only = maybe(&made.only, &|node| inner.raw(node, depth))?;
        let key = maybe(&made.key, &|node| inner.value(node, depth))?;
        let value = inner.value(&made.value, depth)?;
        let names = made.names.iter().map(|(name, _)| Arc::from(name.as_str())).collect();
        Some(Code::Each(Box::new(Each { names, over, only, key, value })))
    }
}

/// How many levels of nesting a comprehension counts as, because it needs more of the stack than other expressions.
const LEVELS: u32 = 4;

impl Machine<'_> {
    pub(super) fn each(&mut self, each: &Each) -> Evaluated {
        self.nesting += LEVELS;
        let made = self.made(each)?;
        self.nesting -= LEVELS;
        Ok(made)
    }

    fn made(&mut self, each: &Each) -> Evaluated {
        let over = self.eval(&each.over)?;
        let items = items(&over, each.names.len()).map_err(at(&each.over))?;
        let mut made = Making::default();
        for item in items {
            let bound = self.bound.len();
            if each.names.len() == 1 {
                self.bound.push(item);
            } else {
                let [first, second] = pair(&item).map_err(at(&each.over))?;
                self.bound.extend([first, second]);
            }
            let one = self.one(each).map_err(|mut trouble| {
                let values = self.bound[bound..].iter().cloned();
                trouble.bound.extend(each.names.iter().cloned().zip(values));
                trouble
            })?;
            self.bound.truncate(bound);
            let Some((key, value)) = one else { continue };
            let cell = if key.is_some() { each.key.as_ref() } else { None };
            made.add(key, value).map_err(at(cell.unwrap_or(&each.value)))?;
        }
        Ok(made.finish(each.key.is_some()))
    }

    /// Key and value of one item, unless the condition leaves it out.
    fn one(&mut self, each: &Each) -> Evaluated<Option<(Option<Inner>, Inner)>> {
        if let Some(only) = &each.only
            && !self.truth(only)?
        {
            return Ok(None);
        }
        let key = each.key.as_ref().map(|key| self.eval(key)).transpose()?;
        Ok(Some((key, self.eval(&each.value)?)))
    }
}

/// What was made so far.
struct Making {
    values: Vec<Inner>,
    entries: Vec<(Inner, Inner)>,
    keys: HashSet<String>,
    whole: Extent,
}

impl Default for Making {
    fn default() -> Self {
        Self { values: Vec::new(), entries: Vec::new(), keys: HashSet::new(), whole: Extent::empty() }
    }
}

impl Making {
    fn add(&mut self, key: Option<Inner>, value: Inner) -> Checked<()> {
        if self.values.len() + self.entries.len() >= MAX_ITEMS {
            return Err(wrong(format!("a list of more than {MAX_ITEMS} items")));
        }
        let size = extent(&value);
        let Some(key) = key else {
            self.whole = self.whole.and(size);
            self.values.push(value);
            return fits(self.whole);
        };
        let Some(word) = key.as_str() else {
            let message = format!("the keys of an object are text, this is {}", noun(&key));
            return Err(wrong_with(message, "convert it: `… | string`"));
        };
        if !self.keys.insert(word.to_owned()) {
            let hint = "keep one item for each key: `… | unique(attribute='…')`, or collect them: `… | group_by('…')`";
            return Err(wrong_with(format!("two items have the key `{word}`"), hint));
        }
        self.whole = self.whole.key(word.len()).and(size);
        self.entries.push((key, value));
        fits(self.whole)
    }

    fn finish(self, keyed: bool) -> Inner {
        if keyed { record::table_of_unequal(self.entries) } else { record::list(self.values) }
    }
}

/// What a `for` with `names` names goes through: the items of a list, the keys of an object, or its pairs.
pub(super) fn items(over: &Inner, names: usize) -> Checked<Box<dyn Iterator<Item = Inner> + Send + Sync>> {
    match over.kind() {
        ValueKind::Map if names == 2 => {
            let table = over.clone();
            let pair = move |key: Inner| {
                let value = table.get_item(&key).unwrap_or_default();
                record::list(vec![key, value])
            };
            Ok(Box::new(over.try_iter()?.map(pair)))
        }
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => Ok(Box::new(over.try_iter()?)),
        ValueKind::String => {
            Err(wrong_with("`for` takes a list or an object, this is text", "write `… | lines`"))
        }
        _ => Err(wrong(format!("`for` takes a list or an object, this is {}", noun(over)))),
    }
}

fn pair(item: &Inner) -> Checked<[Inner; 2]> {
    let wanted = "two names take pairs: lists of two";
    if !is_list(item) {
        return Err(wrong(format!("{wanted}, this item is {}", noun(item))));
    }
    let parts: Vec<Inner> = item.try_iter()?.take(3).collect();
    <[Inner; 2]>::try_from(parts).map_err(|parts| {
        let length = item.len().unwrap_or(parts.len());
        wrong(format!("{wanted}, this item is a list of {length}"))
    })
}
