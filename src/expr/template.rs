//! One template: text with expressions in it.

use std::fmt;
use std::sync::Arc;

use super::blocks::{Builder, Part};
use super::data::Data;
use super::fault::{EvalError, Fault};
use super::functions::Functions;
use super::infer::{Infer, Names};
use super::refs::Ref;
use super::render::Rendering;
use super::scope::Scope;
use super::shape::Shape;

/// A compiled template. Cheap to clone.
#[derive(Clone)]
pub struct Template(Arc<Body>);

struct Body {
    text: Arc<str>,
    refs: Vec<Ref>,
    binds: Vec<Ref>,
    parts: Vec<Part>,
    functions: Arc<Functions>,
    /// What it renders to, if that does not depend on anything.
    literal: Option<String>,
}

impl Template {
    /// Parses `text`; `includes` gives the text of the file that an `{% include "name" %}` names.
    pub fn parse(
        text: &str,
        functions: &Arc<Functions>,
        includes: &dyn Fn(&str) -> Option<Arc<str>>,
    ) -> Result<Self, Vec<Fault>> {
        let text: Arc<str> = Arc::from(text);
        let mut builder = Builder::new(functions, includes);
        let parts = builder.file(&text);
        let Builder { refs, binds, faults, .. } = builder;
        if !faults.is_empty() {
            return Err(faults);
        }
        let plain = parts.iter().map(|part| match part {
            Part::Text(text) => Some(&**text),
            _ => None,
        });
        let literal = plain.collect::<Option<String>>();
        Ok(Self(Arc::new(Body { text, refs, binds, parts, functions: Arc::clone(functions), literal })))
    }

    /// What the author wrote.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The values it reads, those of its includes too.
    pub fn refs(&self) -> &[Ref] {
        &self.0.refs
    }

    /// The places of names that its comprehensions bind.
    pub fn binds(&self) -> &[Ref] {
        &self.0.binds
    }

    /// Whether it is exactly one `{{ expression }}`, whose type it keeps.
    pub fn single(&self) -> bool {
        matches!(&self.0.parts[..], [Part::Output(_)])
    }

    /// Whether it renders to the same text whatever the scope.
    pub fn is_literal(&self) -> bool {
        self.0.literal.is_some()
    }

    /// The text it renders to whatever the scope, if that is so.
    pub fn literal(&self) -> Option<&str> {
        self.0.literal.as_deref()
    }

    /// What it gives, where the names in scope are `names`, and what can never be right in it.
    pub fn infer(&self, names: &dyn Names) -> (Shape, Vec<Fault>) {
        let mut infer = Infer::new(names, &self.0.functions);
        let shape = match &self.0.parts[..] {
            [Part::Output(value)] => infer.compiled(value),
            parts => {
                infer.parts(parts);
                Shape::Text
            }
        };
        (shape, infer.faults)
    }

    /// Its value: of the expression's type if it is [`single`](Self::single), else text.
    pub fn render(&self, scope: &Scope) -> Result<Data, EvalError> {
        match &self.0.parts[..] {
            [Part::Output(value)] => value.eval(scope, &self.0.functions).map(Data),
            _ => self.render_text(scope).map(Data::from),
        }
    }

    /// Its value as text: text as it is, anything else as JSON.
    pub fn render_text(&self, scope: &Scope) -> Result<String, EvalError> {
        let mut rendering = Rendering::new(&self.0.functions, &self.0.text);
        rendering.run(&self.0.parts, scope)?;
        Ok(rendering.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.0.text).finish()
    }
}
