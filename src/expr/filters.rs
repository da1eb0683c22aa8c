//! The closed list of filters.

/// What `atoll explain` says about a filter.
#[derive(Clone, Copy, Debug)]
pub struct FilterDoc {
    /// Its name.
    pub name: &'static str,
    /// How it is called: `round(digits=0)`.
    pub signature: &'static str,
    /// One line.
    pub doc: &'static str,
    /// An expression that uses it.
    pub example: &'static str,
    /// What the example gives, as JSON.
    pub gives: &'static str,
}

/// Every filter, by name.
pub fn filters() -> &'static [FilterDoc] {
    &[]
}
