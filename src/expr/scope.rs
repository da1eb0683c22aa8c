//! The names an expression may see. What is not in the scope does not exist.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::Value as Inner;

use super::allowance::Allowance;
use super::data::Data;

/// A flat map from root names to values. Cheap to clone; extending it shares every value.
#[derive(Clone, Default)]
pub struct Scope {
    names: Arc<Vec<(Arc<str>, Data)>>,
    allowance: Option<Arc<Allowance>>,
}

impl Scope {
    /// A scope without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// This scope and `name`, which hides an equal name that was there.
    #[must_use]
    pub fn with(&self, name: &str, data: Data) -> Self {
        let mut names = Vec::with_capacity(self.names.len() + 1);
        names.extend(self.names.iter().filter(|(known, _)| &**known != name).cloned());
        names.push((Arc::from(name), data));
        Self { names: Arc::new(names), allowance: self.allowance.clone() }
    }

    /// This scope, in which all evaluations together take no more than `allowance`.
    #[must_use]
    pub fn within(self, allowance: Arc<Allowance>) -> Self {
        Self { allowance: Some(allowance), ..self }
    }

    /// The same within what takes about 25 milliseconds, for values that are only of use before a run.
    #[must_use]
    pub fn briefly(self) -> Self {
        self.within(Arc::new(Allowance::new(1_000_000)))
    }

    pub(super) fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_deref()
    }

    pub(super) fn shared_allowance(&self) -> Option<&Arc<Allowance>> {
        self.allowance.as_ref()
    }

    /// Values under names that differ.
    pub(super) fn of(names: impl Iterator<Item = (Arc<str>, Inner)>) -> Self {
        let names = names.map(|(name, value)| (name, Data(value))).collect();
        Self { names: Arc::new(names), allowance: None }
    }

    /// Puts another value under `name`, in place where nobody else holds this scope.
    pub fn set(&mut self, name: &str, data: Data) {
        let names = Arc::make_mut(&mut self.names);
        match names.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, old)) => *old = data,
            None => names.push((Arc::from(name), data)),
        }
    }

    /// What `name` stands for.
    pub fn get(&self, name: &str) -> Option<&Data> {
        self.names.iter().find(|(known, _)| &**known == name).map(|(_, data)| data)
    }

    /// The same, looked for first at `place`, which is changed to where it is.
    pub(super) fn find(&self, name: &str, place: &AtomicUsize) -> Option<&Data> {
        if let Some((known, data)) = self.names.get(place.load(Ordering::Relaxed))
            && &**known == name
        {
            return Some(data);
        }
        let found = self.names.iter().position(|(known, _)| &**known == name)?;
        place.store(found, Ordering::Relaxed);
        Some(&self.names[found].1)
    }

    /// All names, oldest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_name_hides_an_older_one_and_leaves_the_old_scope_alone() {
        let outer = Scope::new().with("a", Data::from(1)).with("b", Data::from(2));
        let inner = outer.with("a", Data::from(3));
        assert_eq!(inner.get("a"), Some(&Data::from(3)));
        assert_eq!(outer.get("a"), Some(&Data::from(1)));
        assert_eq!(inner.names().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(inner.get("c"), None);
    }
}
