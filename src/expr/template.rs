//! One template: text with expressions in it.

use std::sync::Arc;

use super::data::Data;
use super::fault::{EvalError, Fault, FaultKind};
use super::functions::Functions;
use super::refs::Ref;
use super::scope::Scope;

/// A compiled template. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Template {
    text: Arc<str>,
    refs: Arc<[Ref]>,
}

impl Template {
    /// Parses `text`; `includes` gives the text of the file that an `{% include "name" %}` names.
    pub fn parse(
        text: &str,
        _functions: &Arc<Functions>,
        _includes: &dyn Fn(&str) -> Option<Arc<str>>,
    ) -> Result<Self, Vec<Fault>> {
        Err(vec![Fault::new(FaultKind::Syntax, 0..text.len(), "templates are not built in yet")])
    }

    /// What the author wrote.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values it reads, those of its includes too.
    pub fn refs(&self) -> &[Ref] {
        &self.refs
    }

    /// Whether it is exactly one `{{ expression }}`, whose type it keeps.
    pub fn single(&self) -> bool {
        false
    }

    /// Whether it is plain text.
    pub fn is_literal(&self) -> bool {
        false
    }

    /// Its value: of the expression's type if it is [`single`](Self::single), else text.
    pub fn render(&self, scope: &Scope) -> Result<Data, EvalError> {
        self.render_text(scope).map(Data::from)
    }

    /// Its value as text.
    pub fn render_text(&self, _scope: &Scope) -> Result<String, EvalError> {
        Err(EvalError::new(&self.text, "templates are not built in yet", None))
    }
}
