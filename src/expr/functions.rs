//! A pipeline's own functions: named pure expressions that see their arguments and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiled::Compiled;
use super::fault::{Fault, FaultKind};
use super::filters::{self, Absent, Param};
use super::refs::Step;
use crate::diag::nearest;

/// The functions that the expressions of one pipeline may call.
#[derive(Debug, Default)]
pub struct Functions {
    list: Vec<Function>,
    places: HashMap<String, usize>,
}

#[derive(Debug)]
pub(super) struct Function {
    pub name: String,
    pub args: Vec<Arc<str>>,
    pub body: Option<Compiled>,
}

impl Functions {
    /// No functions.
    pub fn empty() -> Arc<Self> {
        Arc::default()
    }

    /// Compiles `(name, arguments, expression)` entries, as [`declare`](Self::declare) does, if all of them are right.
    pub fn build(entries: Vec<(String, Vec<String>, String)>) -> Result<Arc<Self>, Vec<(usize, Fault)>> {
        let (built, faults) = Self::declare(entries);
        if faults.is_empty() { Ok(built) } else { Err(faults) }
    }

    /// Compiles `(name, arguments, expression)` entries. A fault comes with the index of its entry, and its range is in
    /// that entry's expression (empty if the name or an argument is at fault). What is wrong with one function is no fault
    /// of the others and of those that call it.
    #[expect(clippy::needless_pass_by_value, reason = "callers have no further use for the texts")]
    pub fn declare(entries: Vec<(String, Vec<String>, String)>) -> (Arc<Self>, Vec<(usize, Fault)>) {
        let mut built = Self::default();
        let mut faults = Vec::new();
        for (i, (name, args, _)) in entries.iter().enumerate() {
            faults.extend(names(name, args).map(|fault| (i, fault)));
            let args = args.iter().map(|arg| Arc::from(arg.as_str())).collect();
            if built.places.insert(name.clone(), i).is_some() {
                let message = format!("there are two functions `{name}`");
                faults.push((i, Fault::new(FaultKind::Syntax, 0..0, message)));
            }
            built.list.push(Function { name: name.clone(), args, body: None });
        }
        let mut calls = Vec::new();
        for (i, (name, args, text)) in entries.iter().enumerate() {
            match body(name, args, text, &built) {
                Ok(body) => {
                    calls.push(body.calls(&built));
                    built.list[i].body = Some(body);
                }
                Err(found) => {
                    calls.push(Vec::new());
                    faults.extend(found.into_iter().map(|fault| (i, fault)));
                }
            }
        }
        faults.extend(circles(&calls, &built));
        (Arc::new(built), faults)
    }

    /// Their names, in the order in which they were written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|function| function.name.as_str())
    }

    pub(super) fn find(&self, name: &str) -> Option<&Function> {
        self.places.get(name).map(|place| &self.list[*place])
    }

    /// The function at `place`, and its body.
    pub(super) fn at(&self, place: usize) -> Option<(&Function, &Compiled)> {
        let function = self.list.get(place)?;
        Some((function, function.body.as_ref()?))
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The arguments of the function `name`.
    pub(super) fn params(&self, name: &str) -> Option<Vec<Param>> {
        let one = |arg: &Arc<str>| Param {
            name: arg.to_string().into(),
            optional: false,
            rest: false,
            absent: Absent::None,
        };
        self.find(name).map(|function| function.args.iter().map(one).collect())
    }
}

fn names(name: &str, args: &[String]) -> Option<Fault> {
    let fault = |message: String| Some(Fault::new(FaultKind::Syntax, 0..0, message));
    if let Some(wrong) =
        std::iter::once(name).chain(args.iter().map(String::as_str)).find(|name| !is_name(name))
    {
        return fault(format!("`{wrong}` cannot be the name of a function or an argument"));
    }
    if filters::find(name).is_some() || name == "range" {
        return fault(format!("`{name}` is built in"));
    }
    let twice = args.iter().enumerate().find(|(i, arg)| args[..*i].contains(arg))?;
    fault(format!("`{name}` has two arguments `{}`", twice.1))
}

/// Whether an author may give that name.
fn is_name(name: &str) -> bool {
    super::token::tokens(name, 0, super::token::Until::End)
        .and_then(|tokens| {
            let mut parser = super::parse::Parser::new(&tokens)?;
            parser.binding()?;
            parser.end()
        })
        .is_ok()
}

fn body(name: &str, args: &[String], text: &str, functions: &Functions) -> Result<Compiled, Vec<Fault>> {
    let names: Vec<&str> = args.iter().map(String::as_str).collect();
    let compiled = Compiled::parse(text, functions, &names)?;
    let free = compiled.refs().iter().filter_map(|found| match &found.path[0] {
        Step::Key(root) if !args.contains(root) => Some((root, found.key_ranges[0].clone())),
        _ => None,
    });
    let faults: Vec<Fault> = free
        .map(|(root, range)| {
            let fault =
                Fault::new(FaultKind::UnknownName, range, format!("`{name}` has no argument `{root}`"));
            match nearest(root, args.iter().map(String::as_str)) {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None => fault.help("a function sees its arguments and nothing else: pass it in"),
            }
        })
        .collect();
    if faults.is_empty() { Ok(compiled) } else { Err(faults) }
}

/// A fault for every function that calls itself, directly or through others.
fn circles(calls: &[Vec<usize>], functions: &Functions) -> Vec<(usize, Fault)> {
    let mut faults = Vec::new();
    for start in 0..calls.len() {
        if let Some(path) = circle(start, calls)
            && path.iter().all(|place| *place >= start)
        {
            let words: Vec<String> =
                path.iter().map(|at| format!("`{}`", functions.list[*at].name)).collect();
            let message = format!("functions cannot call each other in a circle: {}", words.join(" → "));
            faults.push((start, Fault::new(FaultKind::Cycle, 0..0, message)));
        }
    }
    faults
}

/// The way from `start` back to it.
fn circle(start: usize, calls: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut came_from: Vec<Option<usize>> = vec![None; calls.len()];
    let mut open = std::collections::VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for &next in &calls[at] {
            if next == start {
                let mut path = vec![start];
                let mut back = Some(at);
                while let Some(place) = back.filter(|place| *place != start) {
                    path.push(place);
                    back = came_from[place];
                }
                path.push(start);
                path.reverse();
                return Some(path);
            }
            if came_from[next].is_none() {
                came_from[next] = Some(at);
                open.push_back(next);
            }
        }
    }
    None
}
