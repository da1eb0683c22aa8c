//! Credentials in scenario files: hidden if a file is quoted, and removed from stored scenarios.

mod hidden;
mod left_out;

pub use hidden::hide;
pub use left_out::{leave_out, restore, values};
