//! Colours, or none.

use std::fmt::Display;

/// Paints text for a terminal, or leaves it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Leaves everything alone.
    pub const PLAIN: Self = Self { on: false };

    /// Paints if `on`.
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether it paints.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// What went well.
    pub fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// What went wrong.
    pub fn bad(self, text: impl Display) -> String {
        self.wrap("31", text)
    }

    /// What asks for attention.
    pub fn warm(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    /// Names and headings.
    pub fn strong(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    /// What may be skipped over.
    pub fn faint(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, style: &str, text: impl Display) -> String {
        if self.on { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}
