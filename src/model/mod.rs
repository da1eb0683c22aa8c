//! What an author wrote: a pipeline as a tree in which every key and value knows its place in the file.
//! It must never know which verbs exist, what the defaults are, or where files lie: a verb's own table stays a
//! [`Node`]. Start with [`Pipeline`] and [`Step`]; [`Node`] is the merged TOML that they are read from.

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
