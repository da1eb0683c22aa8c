//! Colours, or none.

use std::fmt::Display;

/// Colours text for a terminal, or leaves it unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    pub const PLAIN: Self = Self { on: false };

    /// Colours if `on`.
    pub fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether colours are on.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// Success.
    pub fn good(self, text: impl Display) -> String {
        self.wrap("32", text)
    }

    /// Failure.
    pub fn bad(self, text: impl Display) -> String {
        self.wrap("31", text)
    }

    /// Warning.
    pub fn warm(self, text: impl Display) -> String {
        self.wrap("33", text)
    }

    /// Names and headings.
    pub fn strong(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    /// Less important text.
    pub fn faint(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, style: &str, text: impl Display) -> String {
        if self.on { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}
