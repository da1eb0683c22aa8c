//! Rendering: walking the tree of a template with a scope, within bounds of output and work.

use std::sync::Arc;

use minijinja::Value as Inner;

use super::blocks::{BLOCK, Loop, Part};
use super::check::{self, MAX_BYTES, display};
use super::compiled::Compiled;
use super::data::Data;
use super::each_item;
use super::fault::EvalError;
use super::functions::Functions;
use super::machine::PIECE;
use super::scope::Scope;

/// How many parts one rendering may walk through.
const MAX_STEPS: usize = 2_000_000;

/// How the parts of a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// A rendering under way.
pub(super) struct Rendering<'a> {
    pub functions: &'a Arc<Functions>,
    /// The template, for messages.
    pub name: &'a str,
    pub text: String,
    steps: usize,
}

type Rendered<T = ()> = Result<T, EvalError>;

impl<'a> Rendering<'a> {
    pub(super) fn new(functions: &'a Arc<Functions>, name: &'a str) -> Self {
        Self { functions, name, text: String::new(), steps: 0 }
    }

    /// Renders `parts` behind what is there.
    pub(super) fn run(&mut self, parts: &[Part], scope: &Scope) -> Rendered {
        let mut scope = scope.clone();
        self.parts(parts, &mut scope).map(drop)
    }

    /// Counts one part or item.
    fn step(&mut self, scope: &Scope) -> Rendered {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err(self.endless()) } else { self.work(1, scope) }
    }

    /// Takes work off the allowance of `scope`.
    fn work(&self, work: usize, scope: &Scope) -> Rendered {
        let work = u64::try_from(work).unwrap_or(u64::MAX);
        match scope.allowance() {
            Some(allowance) if work > 0 && !allowance.take(work) => Err(self.endless()),
            _ => Ok(()),
        }
    }

    fn endless(&self) -> EvalError {
        EvalError::new(self.name, "this template does not come to an end", None)
    }

    fn put(&mut self, text: &str) -> Rendered {
        if self.text.len() + text.len() > MAX_BYTES {
            let message = format!("the rendered text is longer than {} MiB", MAX_BYTES >> 20);
            return Err(EvalError::new(
                self.name,
                message,
                Some("cut long values: `… | tail_text(20000)`".to_owned()),
            ));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn parts(&mut self, parts: &[Part], scope: &mut Scope) -> Rendered<Flow> {
        for part in parts {
            self.step(scope)?;
            let before = self.text.len();
            let flow = self.part(part, scope)?;
            self.work(self.text.len().saturating_sub(before) / PIECE, scope)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn part(&mut self, part: &Part, scope: &mut Scope) -> Rendered<Flow> {
        match part {
            Part::Text(text) => self.put(text)?,
            Part::Output(value) => {
                let value = value.eval(scope, self.functions)?;
                match value.as_str() {
                    Some(text) => self.put(text)?,
                    None => self.put(&display(&value))?,
                }
            }
            Part::If { branches, otherwise } => {
                for (asked, body) in branches {
                    if asked.eval_bool(scope, self.functions)? {
                        return self.parts(body, scope);
                    }
                }
                return self.parts(otherwise, scope);
            }
            Part::For(each) => return self.each(each, scope),
            Part::Set { names, value } => {
                let made = value.eval(scope, self.functions)?;
                match &names[..] {
                    [name] => scope.set(name, Data(made)),
                    names => *scope = bind(names, made, value, scope)?,
                }
            }
            Part::Capture { name, filter, body } => {
                return self.capture(name.as_deref(), filter.as_ref(), body, scope);
            }
            Part::With { bindings, body } => {
                let mut inner = scope.clone();
                for (name, value) in bindings {
                    let value = value.eval(&inner, self.functions)?;
                    inner = inner.with(name, Data(value));
                }
                return self.parts(body, &mut inner);
            }
            Part::Include { name, body } => {
                return self.parts(body, scope).map_err(|error| EvalError {
                    message: format!("in `{name}`: {}", error.message),
                    ..error
                });
            }
            Part::Break => return Ok(Flow::Break),
            Part::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn capture(
        &mut self,
        name: Option<&str>,
        filter: Option<&Compiled>,
        body: &[Part],
        scope: &mut Scope,
    ) -> Rendered<Flow> {
        let before = std::mem::take(&mut self.text);
        let flow = self.parts(body, scope);
        let inner = std::mem::replace(&mut self.text, before);
        let flow = flow?;
        let mut value = Inner::from(inner);
        if let Some(filter) = filter {
            value = filter.eval(&scope.with(BLOCK, Data(value)), self.functions)?;
        }
        match name {
            Some(name) => scope.set(name, Data(value)),
            None => self.put(&display(&value))?,
        }
        Ok(flow)
    }

    fn each(&mut self, each: &Loop, scope: &mut Scope) -> Rendered<Flow> {
        let over = each.over.eval(scope, self.functions)?;
        let items =
            each_item::items(&over, each.names.len()).map_err(|error| each.over.complain(error, scope))?;
        if !each.counted {
            return self.rounds(each, items.map(|item| (item, None)), scope);
        }
        let mut kept = Vec::new();
        for item in items {
            self.step(scope)?;
            if self.wanted(each, &item, scope)?.is_some() {
                kept.push(item);
            }
        }
        let length = kept.len();
        let counted = kept.into_iter().enumerate().map(move |(i, item)| (item, Some(counter(i, length))));
        self.rounds(each, counted, scope)
    }

    /// The scope of a round for `item`, unless the loop's condition leaves it out.
    fn wanted(&self, each: &Loop, item: &Inner, scope: &Scope) -> Rendered<Option<Scope>> {
        let inner = bind(&each.names, item.clone(), &each.over, scope)?;
        match &each.filter {
            Some(filter) if !filter.eval_bool(&inner, self.functions)? => Ok(None),
            _ => Ok(Some(inner)),
        }
    }

    fn rounds(
        &mut self,
        each: &Loop,
        items: impl Iterator<Item = (Inner, Option<Data>)>,
        scope: &mut Scope,
    ) -> Rendered<Flow> {
        let mut any = false;
        for (item, counter) in items {
            self.step(scope)?;
            let Some(mut inner) = self.wanted(each, &item, scope)? else { continue };
            any = true;
            if let Some(counter) = counter {
                inner = inner.with("loop", counter);
            }
            if self.parts(&each.body, &mut inner)? == Flow::Break {
                break;
            }
        }
        if any { Ok(Flow::On) } else { self.parts(&each.otherwise, scope) }
    }
}

/// `scope` with `value` under one name, or its items under several.
fn bind(names: &[String], value: Inner, source: &Compiled, scope: &Scope) -> Rendered<Scope> {
    if let [name] = names {
        return Ok(scope.with(name, Data(value)));
    }
    let items = check::list(&value).map_err(|error| source.complain(error, scope))?;
    if items.len() != names.len() {
        let message = format!("{} names cannot take a list of {}", names.len(), items.len());
        return Err(source.complain(check::wrong(message), scope));
    }
    Ok(names.iter().zip(items).fold(scope.clone(), |scope, (name, item)| scope.with(name, Data(item))))
}

/// What `loop` is inside a `for`.
fn counter(i: usize, length: usize) -> Data {
    let number = |n: usize| Data(Inner::from(n));
    Data::table([
        ("index", number(i + 1)),
        ("index0", number(i)),
        ("revindex", number(length - i)),
        ("revindex0", number(length - i - 1)),
        ("first", Data::from(i == 0)),
        ("last", Data::from(i + 1 == length)),
        ("length", number(length)),
    ])
}
