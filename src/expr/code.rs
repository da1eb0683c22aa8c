//! What is evaluated: an expression whose names, calls and checks were settled when it was read.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use minijinja::Value as Inner;

use super::ast::Op;
use super::each_item::Each;
use super::filters::Filter;
use super::tests_table::Test;

/// One node of evaluated code, and the bytes of the text that it came from.
pub(super) struct Cell {
    pub code: Code,
    pub span: Range<usize>,
    /// Whether an undefined value is an error here: who reads the value does not look.
    pub there: bool,
}

/// A name, and the place in the scope where it stood last: scopes of one kind have their names in one order.
pub(super) struct Name {
    pub text: Arc<str>,
    pub place: AtomicUsize,
}

pub(super) enum Code {
    Constant(Inner),
    /// A name in the scope.
    Name(Name),
    /// An argument of the function that this is the body of.
    Local(usize),
    /// A name that a comprehension binds.
    Bound(usize),
    Key(Box<Cell>, Arc<str>),
    /// A key of the name `let`, whose values are evaluated when they are read.
    Let(Name, Arc<str>),
    Index(Box<[Cell; 2]>),
    /// The value, then start, stop and step.
    Slice(Box<[Cell; 4]>),
    List(Box<[Cell]>),
    Table(Box<[(Cell, Cell)]>),
    /// A comprehension.
    Each(Box<Each>),
    Not(Box<Cell>),
    Neg(Box<Cell>),
    Any(Box<[Cell]>),
    All(Box<[Cell]>),
    Add(Box<[Cell]>),
    Concat(Box<[Cell]>),
    /// A comparison of two values, `in` and `not in` among them.
    Compare(Op, Box<[Cell; 2]>),
    /// An operator of two numbers.
    Arithmetic(Op, Box<[Cell; 2]>),
    /// A value, and the one in its place if it is absent.
    Coalesce(Box<[Cell; 2]>),
    /// Condition, value, value otherwise.
    Choice(Box<[Cell; 3]>),
    Filter(&'static Filter, Box<[Cell]>),
    Test(&'static Test, Box<[Cell]>),
    Range(Box<[Cell; 3]>),
    /// A function of the pipeline, by its place.
    Call(usize, Box<[Cell]>),
}
