//! Checks of an answer that need no model: assertions, captures and conditions.
//! This module does not know step types: each step type lists the subjects and sources that its answers have.

pub mod assert;
pub mod capture;
pub mod select;
pub mod when;

pub use capture::{Capture, Captured};
pub use select::Selector;
pub use when::When;
