//! One expression: parsed once, evaluated often.

use std::sync::Arc;

use super::compiled::Compiled;
use super::data::Data;
use super::fault::{EvalError, Fault};
use super::functions::Functions;
use super::infer::{Infer, Names};
use super::memo::Memo;
use super::refs::Ref;
use super::scope::Scope;
use super::shape::Shape;

/// A compiled expression. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expr {
    pub(super) compiled: Compiled,
    pub(super) functions: Arc<Functions>,
}

impl Expr {
    /// Parses `text`, which may call `functions`.
    pub fn parse(text: &str, functions: &Arc<Functions>) -> Result<Self, Vec<Fault>> {
        Ok(Self { compiled: Compiled::parse(text, functions, &[])?, functions: Arc::clone(functions) })
    }

    /// What the author wrote, without white space around it.
    pub fn text(&self) -> &str {
        self.compiled.text()
    }

    /// The values it reads, in the order of the text.
    pub fn refs(&self) -> &[Ref] {
        self.compiled.refs()
    }

    /// The places of names that it binds itself.
    pub fn binds(&self) -> &[Ref] {
        self.compiled.binds()
    }

    /// What it gives, where the names in scope are `names`, and what can never be right in it.
    pub fn infer(&self, names: &dyn Names) -> (Shape, Vec<Fault>) {
        let mut infer = Infer::new(names, &self.functions);
        let shape = infer.compiled(&self.compiled);
        (shape, infer.faults)
    }

    /// The same of a condition.
    pub fn infer_condition(&self, names: &dyn Names) -> (Shape, Vec<Fault>) {
        let mut infer = Infer::new(names, &self.functions);
        let shape = infer.compiled(&self.compiled);
        infer.ask_zero(self.compiled.node());
        (shape, infer.faults)
    }

    /// Its value, which is never undefined. Where the allowance of the scope is used up, the error says nothing about the
    /// expression.
    pub fn eval(&self, scope: &Scope) -> Result<Data, EvalError> {
        self.compiled.eval(scope, &self.functions).map(Data)
    }

    /// The same, in which what functions gave last is used again.
    pub fn eval_with(&self, scope: &Scope, memo: &mut Memo) -> Result<Data, EvalError> {
        self.compiled.eval_with(scope, &self.functions, Some(memo)).map(Data)
    }

    /// Whether it is true: none, false, 0, and empty text, lists and objects are not.
    pub fn eval_bool(&self, scope: &Scope) -> Result<bool, EvalError> {
        self.compiled.eval_bool(scope, &self.functions)
    }
}
