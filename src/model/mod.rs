//! A pipeline as the author wrote it: a tree in which every key and value has its position in the file.
//! This module does not know which verbs exist, what the defaults are, or where files are stored: the table
//! of a verb stays a [`Node`]. Start with [`Pipeline`] and [`Step`]; [`Node`] is the merged TOML that they
//! are read from.

mod control;
mod fields;
mod format;
mod node;
mod pipeline;
mod step;
mod text;

pub use control::{Ask, Call, Compute, Each, Hold, Inherit, Loop, LoopExit, Rule};
pub use fields::ANYTHING;
pub use format::{NotFormatted, formatted};
pub use node::{Entry, Node, Raw, Table};
pub use pipeline::{Exit, Function, Input, Pipeline, Refusal};
pub use step::{Check, Retry, Step, TimeLimit, Use};
pub use text::{Name, Parts, Text};
