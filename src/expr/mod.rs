//! Expressions and templates: parsed by us (exact spans, sound references) and evaluated by us, over minijinja's values.
//!
//! This room is the only place that names minijinja. It must never know steps, runs, time or files.
//! Start reading at [`Expr`] and [`Template`].

mod ast;
mod blocks;
mod call;
mod check;
mod code;
mod compiled;
mod data;
mod expression;
mod extent;
mod fault;
mod filters;
mod functions;
mod infer;
mod kinds;
#[cfg(test)]
mod kinds_tests;
mod lint;
mod lower;
mod machine;
mod missing;
mod operators;
mod parse;
#[cfg(test)]
mod properties;
mod record;
mod refs;
mod render;
mod rules;
mod scan;
mod scope;
mod shape;
mod template;
mod tests_table;
mod token;
mod tree;
mod words;

pub use data::{Data, Fields, Items};
pub use expression::Expr;
pub use fault::{EvalError, Fault, FaultKind};
pub use filters::{FilterDoc, filters};
pub use functions::Functions;
pub use infer::Names;
pub use machine::Allowance;
pub use refs::{Ref, Step};
pub use scope::Scope;
pub use shape::{KnownFields, NoField, Shape};
pub use template::Template;
pub use tree::Tree;
