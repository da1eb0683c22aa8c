//! A parsed, checked and compiled expression, and how its errors are told.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minijinja::{Error, ErrorKind, Value as Inner};

use super::ast::Node;
use super::call::{self, Call, Given, Target};
use super::check::Hint;
use super::code::Cell;
use super::comprehension::Parted;
use super::data::Data;
use super::fault::{EvalError, Fault, FaultKind};
use super::functions::Functions;
use super::lower::Lowering;
use super::machine::{Evaluated, Machine, Trouble, result};
use super::memo::Memo;
use super::refs::{Ref, refs_of};
use super::scope::Scope;
use super::{comprehension, lint, missing, parse};

/// An expression, ready to be evaluated. Cheap to clone.
#[derive(Clone)]
pub(super) struct Compiled(Arc<Parts>);

struct Parts {
    source: Arc<str>,
    span: Range<usize>,
    node: Node,
    refs: Parted,
    code: Cell,
}

impl Compiled {
    /// Compiles the whole of `text`, in which `locals` are arguments.
    pub(super) fn parse(text: &str, functions: &Functions, locals: &[&str]) -> Result<Self, Vec<Fault>> {
        let node = parse::parse(text).map_err(|fault| vec![fault])?;
        Self::with_locals(&Arc::from(text), node, functions, locals)
    }

    /// Compiles `node`, which was read from `source`.
    pub(super) fn new(source: &Arc<str>, node: Node, functions: &Functions) -> Result<Self, Vec<Fault>> {
        Self::with_locals(source, node, functions, &[])
    }

    fn with_locals(
        source: &Arc<str>,
        node: Node,
        functions: &Functions,
        locals: &[&str],
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = lint::faults(&node, functions);
        faults.extend(comprehension::faults(&node, locals));
        if !faults.is_empty() {
            return Err(faults);
        }
        let code = Lowering { functions, locals, bound: &[] }.whole(&node).ok_or_else(|| {
            vec![
                Fault::new(FaultKind::Syntax, node.span.clone(), "this expression is nested too deeply")
                    .help("name a part of it with `let`, `set` or a function"),
            ]
        })?;
        let (refs, span) = (refs_of(&node), node.span.clone());
        Ok(Self(Arc::new(Parts { source: Arc::clone(source), span, node, refs, code })))
    }

    pub(super) fn text(&self) -> &str {
        self.0.source.get(self.0.span.clone()).unwrap_or(&self.0.source)
    }

    pub(super) fn node(&self) -> &Node {
        &self.0.node
    }

    pub(super) fn refs(&self) -> &[Ref] {
        &self.0.refs.free
    }

    /// The places of names that comprehensions bind.
    pub(super) fn binds(&self) -> &[Ref] {
        &self.0.refs.binds
    }

    /// Places of the functions that it calls.
    pub(super) fn calls(&self, functions: &Functions) -> Vec<usize> {
        let mut found = Vec::new();
        calls(&self.0.node, functions, &mut found);
        found
    }

    pub(super) fn code(&self) -> &Cell {
        &self.0.code
    }

    /// Its value.
    pub(super) fn eval(&self, scope: &Scope, functions: &Functions) -> Result<Inner, EvalError> {
        self.eval_with(scope, functions, None)
    }

    /// The same, in which what functions gave last is used again.
    pub(super) fn eval_with(
        &self,
        scope: &Scope,
        functions: &Functions,
        memo: Option<&mut Memo>,
    ) -> Result<Inner, EvalError> {
        self.told(Machine::new(scope, functions).with_memo(memo).run(&self.0.code), scope)
    }

    fn told(&self, value: Evaluated, scope: &Scope) -> Result<Inner, EvalError> {
        value.and_then(result).map_err(|trouble| self.explain(&trouble, scope))
    }

    /// Whether it is true.
    pub(super) fn eval_bool(&self, scope: &Scope, functions: &Functions) -> Result<bool, EvalError> {
        self.eval(scope, functions).map(|value| super::check::truth(&value))
    }

    /// Tells an error that is about the whole expression.
    pub(super) fn complain(&self, error: Error, scope: &Scope) -> EvalError {
        self.explain(&Trouble::new(error, None), scope)
    }

    /// Tells an error in the author's words.
    pub(super) fn explain(&self, Trouble { error, at, bound }: &Trouble, scope: &Scope) -> EvalError {
        let text = self.text();
        if let Some(inner) = cause::<EvalError>(error) {
            return inner.clone();
        }
        let place = at.clone().and_then(|at| self.0.source.get(at.clone()).map(|snippet| (at, snippet)));
        if error.kind() == ErrorKind::UndefinedError {
            let refs = [&self.0.refs.bound[..], &self.0.refs.free].concat();
            let bound = bound.iter().rev();
            let scope =
                &bound.fold(scope.clone(), |scope, (name, value)| scope.with(name, Data(value.clone())));
            let (message, hint, missing) = match place {
                Some((at, snippet)) => missing::tell(&refs, &at, snippet, scope),
                None => missing::tell(&refs, &self.0.span, text, scope),
            };
            return EvalError { missing, ..EvalError::new(text, message, hint) };
        }
        if error.kind() == ErrorKind::OutOfFuel {
            return EvalError::new(text, "this expression does not come to an end", None);
        }
        let what = match (error.kind(), error.detail()) {
            (_, Some(detail)) => detail.to_owned(),
            (kind, None) => kind.to_string(),
        };
        let message = match place {
            Some((_, snippet)) if snippet.len() < text.len() && snippet.len() < 80 => {
                format!("`{snippet}`: {what}")
            }
            _ => what,
        };
        EvalError::new(text, message, cause::<Hint>(error).map(|hint| hint.0.clone()))
    }
}

fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        at = error.source();
    }
    None
}

fn calls(node: &Node, functions: &Functions, found: &mut Vec<usize>) {
    if let Ok(Some(Call { target, args })) = call::resolve(node, functions) {
        found.extend(args.iter().filter_map(|arg| match arg {
            Given::Function(place) => Some(*place),
            _ => None,
        }));
        if let Target::Function(place) = target {
            found.push(place);
        }
    }
    node.children().into_iter().for_each(|child| calls(child, functions, found));
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
