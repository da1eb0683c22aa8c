//! Credentials in scenario files: they are hidden where a file is quoted, and left out of what is kept of a scenario.

mod hidden;
mod left_out;

pub use hidden::hide;
pub use left_out::{leave_out, restore, values};
