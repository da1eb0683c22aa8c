//! One expression: parsed once, evaluated often.

use std::sync::Arc;

use super::data::Data;
use super::fault::{EvalError, Fault, FaultKind};
use super::functions::Functions;
use super::refs::Ref;
use super::scope::Scope;

/// A compiled expression. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expr {
    text: Arc<str>,
    refs: Arc<[Ref]>,
}

impl Expr {
    /// Parses `text`, which may call `functions`.
    pub fn parse(text: &str, _functions: &Arc<Functions>) -> Result<Self, Vec<Fault>> {
        Err(vec![Fault::new(FaultKind::Syntax, 0..text.len(), "expressions are not built in yet")])
    }

    /// What the author wrote.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values it reads.
    pub fn refs(&self) -> &[Ref] {
        &self.refs
    }

    /// Its value.
    pub fn eval(&self, _scope: &Scope) -> Result<Data, EvalError> {
        Err(EvalError::new(&self.text, "expressions are not built in yet", None))
    }

    /// Its value, which must be a truth value.
    pub fn eval_bool(&self, scope: &Scope) -> Result<bool, EvalError> {
        let data = self.eval(scope)?;
        data.as_bool().ok_or_else(|| {
            EvalError::new(
                &self.text,
                format!("a condition must be true or false, this is {}", data.noun()),
                None,
            )
        })
    }
}
