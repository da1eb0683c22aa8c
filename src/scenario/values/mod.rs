//! Values in scenario files and answers: JSON with exact numbers, variables and placeholders, durations,
//! shortened texts, and credentials in any of these. This module does not know YAML or steps.

pub mod credentials;
pub mod duration;
pub mod excerpt;
pub mod generator;
pub mod json;
pub mod size;
pub mod variables;

pub use duration::WrittenDuration;
pub use excerpt::{Excerpt, KeptContent};
pub use generator::Generator;
pub use variables::Variables;
