//! The closed list of filters: one table, with a line of documentation and a tested example each.
//!
//! Filters know values only: no clock, no chance, no files. Start at [`table::FILTERS`].

mod json;
mod layout;
mod lists;
mod measures;
mod numbers;
mod random;
mod table;
mod text;
mod text_cut;
mod times;
mod written;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use minijinja::Value as Inner;

use super::check::Checked;
use super::machine::Machine;
use table::FILTERS;
pub(super) use text::matches;
pub use text_cut::{head as head_text, tail as tail_text};

/// What `atoll explain` says about a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterDoc {
    /// Its name.
    pub name: &'static str,
    /// Its arguments: `digits=0` is optional, `*more` takes any number.
    pub signature: &'static str,
    /// One line.
    pub doc: &'static str,
    /// An expression that uses it.
    pub example: &'static str,
    /// What the example gives, as JSON.
    pub gives: &'static str,
}

impl FilterDoc {
    /// The kinds of values that it works on: `a number or text`.
    pub fn works_on(&self) -> String {
        super::kinds::works_on(self.name)
    }

    /// How it is called: `round(digits=0)`.
    pub fn call(&self) -> String {
        if self.signature.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}({})", self.name, self.signature)
        }
    }
}

/// Every filter, by name.
pub fn filters() -> &'static [FilterDoc] {
    static DOCS: LazyLock<Vec<FilterDoc>> =
        LazyLock::new(|| FILTERS.iter().map(|filter| filter.doc).collect());
    &DOCS
}

/// What a filter does with its subject and its arguments. An argument that was left out is `none`.
pub(super) type Run = fn(&mut Machine<'_>, &[Inner]) -> Checked;

/// A filter and what it does.
pub(super) struct Filter {
    pub doc: FilterDoc,
    pub run: Run,
}

/// One argument of a filter.
#[derive(Debug)]
pub(super) struct Param {
    pub name: Cow<'static, str>,
    pub optional: bool,
    /// Takes all further arguments.
    pub rest: bool,
    /// What stands for it when it is left out.
    pub absent: Absent,
}

/// What stands for an argument that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    None,
    Undefined,
}

impl Filter {
    /// Its arguments, read from its signature.
    pub(super) fn params(&self) -> Vec<Param> {
        let words = self.doc.signature.split(',').map(str::trim).filter(|word| !word.is_empty());
        words
            .map(|word| {
                let rest = word.starts_with('*');
                let name = word.trim_start_matches('*').split('=').next().unwrap_or(word);
                let absent = if word.ends_with("=undefined") { Absent::Undefined } else { Absent::None };
                Param { name: name.into(), optional: rest || word.contains('='), rest, absent }
            })
            .collect()
    }

    /// Whether it may have no value: the first item of an empty list.
    pub(super) fn may_be_undefined(name: &str) -> bool {
        matches!(
            name,
            "choice" | "first" | "last" | "min" | "max" | "mean" | "median" | "percentile" | "stdev"
        )
    }
}

/// The filter of that name.
pub(super) fn find(name: &str) -> Option<&'static Filter> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Filter>> =
        LazyLock::new(|| FILTERS.iter().map(|filter| (filter.doc.name, filter)).collect());
    BY_NAME.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Functions, Scope};
    use super::*;
    use crate::value::Value;

    #[test]
    fn every_example_gives_what_it_says() {
        for doc in filters() {
            let expr = Expr::parse(doc.example, &Functions::empty())
                .unwrap_or_else(|faults| panic!("{}: {faults:?}", doc.name));
            let found =
                expr.eval(&Scope::new()).unwrap_or_else(|error| panic!("{}: {error:?}", doc.name)).to_value();
            let wanted: Value = serde_json::from_str(doc.gives).unwrap_or_else(|_| panic!("{}", doc.name));
            assert_eq!(found, wanted, "{}: {found}", doc.name);
            assert!(doc.example.contains(doc.name), "{} is not in its example", doc.name);
        }
    }

    #[test]
    fn names_are_sorted_and_there_once() {
        let names: Vec<_> = filters().iter().map(|doc| doc.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }
}
