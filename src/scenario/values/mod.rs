//! Values that scenario files and answers consist of: JSON with exact numbers, variables and placeholders, lengths of
//! time, shortened texts, and credentials in any of these. It must never know YAML or steps.

pub mod credentials;
pub mod excerpt;
pub mod generator;
pub mod json;
pub mod lapse;
pub mod size;
pub mod variables;

pub use excerpt::{Excerpt, Kept};
pub use generator::Generator;
pub use lapse::Lapse;
pub use variables::Variables;
