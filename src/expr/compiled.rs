//! A parsed, checked and compiled expression, and how its errors are told.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Expression, State, Value as Inner};

use super::ast::Node;
use super::call::{self, Call};
use super::check::{Checked, Hint, wrong};
use super::env::ENVIRONMENT;
use super::fault::{EvalError, Fault, FaultKind};
use super::functions::Functions;
use super::guard::{Place, Printed};
use super::refs::{Ref, refs_of};
use super::scope::Scope;
use super::{data::Data, lint, missing, parse};

/// How many calls of a pipeline's functions one evaluation may make, and how deep they may lie.
const MAX_CALLS: u32 = 2_000_000;
const MAX_DEPTH: u32 = 32;

/// An expression, ready to be evaluated. Cheap to clone.
#[derive(Clone)]
pub(super) struct Compiled(Arc<Parts>);

struct Parts {
    source: Arc<str>,
    span: Range<usize>,
    node: Node,
    refs: Vec<Ref>,
    places: Vec<Place>,
    expression: Expression<'static, 'static>,
}

impl Compiled {
    /// Compiles the whole of `text`.
    pub(super) fn parse(text: &str, functions: &Functions) -> Result<Self, Vec<Fault>> {
        let node = parse::parse(text).map_err(|fault| vec![fault])?;
        Self::new(&Arc::from(text), node, functions)
    }

    /// Compiles `node`, which was read from `source`.
    pub(super) fn new(source: &Arc<str>, node: Node, functions: &Functions) -> Result<Self, Vec<Fault>> {
        let faults = lint::faults(&node, functions);
        if !faults.is_empty() {
            return Err(faults);
        }
        let printed = Printed::of(&node, &|node| call::resolve(node, functions).ok().flatten());
        let expression = ENVIRONMENT.compile_expression_owned(printed.text).map_err(|_| {
            vec![
                Fault::new(FaultKind::Syntax, node.span.clone(), "this expression is nested too deeply")
                    .help("name a part of it with `let`, `set` or a function"),
            ]
        })?;
        let (refs, span) = (refs_of(&node), node.span.clone());
        Ok(Self(Arc::new(Parts {
            source: Arc::clone(source),
            span,
            node,
            refs,
            places: printed.places,
            expression,
        })))
    }

    pub(super) fn text(&self) -> &str {
        self.0.source.get(self.0.span.clone()).unwrap_or(&self.0.source)
    }

    pub(super) fn refs(&self) -> &[Ref] {
        &self.0.refs
    }

    /// Places of the functions that it calls.
    pub(super) fn calls(&self, functions: &Functions) -> Vec<usize> {
        let mut found = Vec::new();
        calls(&self.0.node, functions, &mut found);
        found
    }

    /// Its value.
    pub(super) fn eval(&self, scope: &Scope, functions: &Arc<Functions>) -> Result<Inner, EvalError> {
        let frame = Frame {
            scope: scope.clone(),
            functions: Arc::clone(functions),
            outer: None,
            depth: 0,
            calls: AtomicU32::new(0),
        };
        self.eval_in(frame)
    }

    /// Its value, which must be a truth value.
    pub(super) fn eval_bool(&self, scope: &Scope, functions: &Arc<Functions>) -> Result<bool, EvalError> {
        let value = self.eval(scope, functions)?;
        super::check::truth(&value).map_err(|error| self.explain(&error, scope))
    }

    fn eval_in(&self, frame: Frame) -> Result<Inner, EvalError> {
        let scope = frame.scope.clone();
        let value = self
            .0
            .expression
            .eval(Inner::from_object(frame))
            .map_err(|error| self.explain(&error, &scope))?;
        if value.is_number()
            && !value.is_integer()
            && f64::try_from(value.clone()).is_ok_and(|x| !x.is_finite())
        {
            return Err(self.explain(&wrong("the result is too large to be a number"), &scope));
        }
        Ok(value)
    }

    /// Tells an error of minijinja's in the author's words.
    pub(super) fn explain(&self, error: &Error, scope: &Scope) -> EvalError {
        let text = self.text();
        if let Some(inner) = cause::<EvalError>(error) {
            return inner.clone();
        }
        let at = error.range().and_then(|range| Printed::written(&self.0.places, &range));
        let place = at.and_then(|at| self.0.source.get(at.clone()).map(|snippet| (at, snippet)));
        if error.kind() == ErrorKind::UndefinedError {
            let (message, hint) = match place {
                Some((at, snippet)) => missing::tell(&self.0.refs, &at, snippet, scope),
                None => missing::tell(&self.0.refs, &self.0.span, text, scope),
            };
            return EvalError::new(text, message, hint);
        }
        let what = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => "this expression does not come to an end".to_owned(),
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
        let given = args.iter().filter_map(|arg| match arg {
            call::Given::Name(name) => Some(name.as_str()),
            _ => None,
        });
        let names =
            given.chain([target.as_str()]).filter_map(|name| functions.place(name.strip_prefix("__fn_")?));
        found.extend(names);
    }
    node.children().into_iter().for_each(|child| calls(child, functions, found));
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What minijinja looks names up in: the scope, and the functions of the pipeline.
#[derive(Debug)]
struct Frame {
    scope: Scope,
    functions: Arc<Functions>,
    /// The frame of the whole evaluation, which counts calls.
    outer: Option<Arc<Frame>>,
    depth: u32,
    calls: AtomicU32,
}

impl Object for Frame {
    fn get_value(self: &Arc<Self>, key: &Inner) -> Option<Inner> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Inner> {
        let reserved = match key.strip_prefix("__") {
            Some(reserved) if key != super::blocks::BLOCK => reserved,
            _ => return self.scope.get(key).map(|data| data.0.clone()),
        };
        let place = self.functions.place(reserved.strip_prefix("fn_")?)?;
        Some(Inner::from_object(Callable { place, frame: Arc::clone(self) }))
    }
}

/// A function of the pipeline as a value that minijinja can call.
#[derive(Debug)]
struct Callable {
    place: usize,
    frame: Arc<Frame>,
}

impl Object for Callable {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Inner]) -> Checked {
        let outer = self.frame.outer.as_ref().unwrap_or(&self.frame);
        if outer.calls.fetch_add(1, Ordering::Relaxed) >= MAX_CALLS || self.frame.depth >= MAX_DEPTH {
            return Err(Error::from(ErrorKind::OutOfFuel));
        }
        let Some((function, body)) = self.frame.functions.at(self.place) else {
            return Err(wrong("this function has no body"));
        };
        let scope = function
            .args
            .iter()
            .zip(args)
            .fold(Scope::new(), |scope, (name, value)| scope.with(name, Data(value.clone())));
        let frame = Frame {
            scope,
            functions: Arc::clone(&self.frame.functions),
            outer: Some(Arc::clone(outer)),
            depth: self.frame.depth + 1,
            calls: AtomicU32::new(0),
        };
        body.eval_in(frame).map_err(|error| wrong(format!("in `{}`", function.name)).with_source(error))
    }
}
