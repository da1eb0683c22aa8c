//! Expressions and templates: parsed by us (exact spans, sound references) and evaluated by us, over minijinja's values.
//!
//! This room is the only place that names minijinja. It must never know steps, runs, time or files.
//! Start reading at [`Expr`] and [`Template`].

mod allowance;
mod ast;
mod blocks;
mod brackets;
mod call;
mod canonical;
mod check;
mod choices;
mod coalesce;
mod code;
mod compiled;
mod comprehension;
#[cfg(test)]
mod comprehension_tests;
mod conditions;
#[cfg(test)]
mod conditions_tests;
mod data;
mod decode;
mod each_item;
mod expression;
mod extent;
mod fault;
mod filters;
mod functions;
mod infer;
mod inherit;
mod kinds;
#[cfg(test)]
mod kinds_tests;
mod lets;
mod lint;
mod lower;
mod machine;
#[cfg(test)]
mod machine_tests;
mod memo;
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

pub use allowance::Allowance;
pub use choices::Choices;
pub use data::{Data, Fields, Items};
pub use expression::Expr;
pub use fault::{EvalError, Fault, FaultKind};
pub use filters::{FilterDoc, filters, head_text, tail_text};
pub use functions::Functions;
pub use infer::Names;
pub use inherit::{Layout, Named, Segment, expand, has_blocks, layout};
pub use lets::Lets;
pub use memo::Memo;
pub use refs::{Fallback, Ref, Step};
pub use scope::Scope;
pub use shape::{KnownFields, NoField, Shape};
pub use template::Template;
pub use tests_table::tests;
pub use tree::Tree;
