//! Folds of events, boards and diagnostics into what people and machines read.
//! It must never know a store's tables, how a run works, or where standard output is.
//! Start with [`diagnostics`]; [`graph`] draws a plan.

pub mod diagnostics;
pub mod graph;
