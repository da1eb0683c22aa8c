//! Infers the type of an expression if it is known, and finds what can never be right in it.
//!
//! Every complaint is certain: it holds for all values that the names may have.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use super::ast::{Arg, Kind, Node, Op};
use super::blocks::{Loop, Part};
use super::choices::Choices;
use super::compiled::Compiled;
use super::fault::{Fault, FaultKind};
use super::functions::Functions;
use super::kinds::{asks_kind, filter_misuse, operator, test_misuse};
use super::refs::Step;
use super::rules::{dig, impossible, merged, plain, same_list, sum};
use super::shape::{KnownFields, Shape};

/// What the names in scope are.
pub trait Names {
    /// What lies under the path, whose first step is the root name.
    fn shape(&self, path: &[Step]) -> Shape;

    /// The values that can lie under the path, where they are known one by one.
    fn choices(&self, _path: &[Step]) -> Option<Arc<Choices>> {
        None
    }

    /// Whether the value under the path is a number that may be absent and may be 0: as a condition, both are false.
    fn may_be_zero_or_none(&self, _path: &[Step]) -> bool {
        false
    }
}

/// How many nodes one expression may take, with the functions that it calls.
const MOST: u32 = 20_000;
const DEEPEST: u32 = 16;

/// How many faults of one expression or template are noted.
const MOST_FAULTS: usize = 500;

pub(super) struct Infer<'a> {
    pub names: &'a dyn Names,
    pub functions: &'a Functions,
    pub faults: Vec<Fault>,
    /// Names that the expression or template binds itself, innermost last.
    pub(super) locals: Vec<(String, Shape)>,
    /// Inside the body of a function: it sees its arguments only, and what is wrong is the call.
    pub(super) inside: u32,
    /// Inside something that is not for every value.
    quiet: u32,
    seen: Cell<u32>,
    /// Whether the next node is a path on the left of `??`.
    pub(super) lenient: bool,
    file: Option<Arc<str>>,
}

impl<'a> Infer<'a> {
    pub(super) fn new(names: &'a dyn Names, functions: &'a Functions) -> Self {
        Self {
            names,
            functions,
            faults: Vec::new(),
            locals: Vec::new(),
            inside: 0,
            quiet: 0,
            seen: Cell::new(0),
            lenient: false,
            file: None,
        }
    }

    pub(super) fn compiled(&mut self, compiled: &Compiled) -> Shape {
        self.node(compiled.node())
    }

    pub(super) fn complain(&mut self, kind: FaultKind, range: &Range<usize>, message: String, help: &str) {
        if self.quiet > 0 || self.faults.len() >= MOST_FAULTS {
            return;
        }
        let within = |fault: &Fault| {
            fault.file == self.file && range.start <= fault.range.start && fault.range.end <= range.end
        };
        // What is wrong with a part is enough.
        let follows = self.inside == 0 && kind == FaultKind::Mixed && self.faults.iter().any(within);
        if !follows {
            let fault = Fault::new(kind, range.clone(), message);
            let fault = Fault { file: self.file.clone(), ..fault };
            self.faults.push(if help.is_empty() { fault } else { fault.help(help) });
        }
    }

    pub(super) fn node(&mut self, node: &Node) -> Shape {
        self.seen.set(self.seen.get() + 1);
        if self.seen.get() > MOST {
            return Shape::Any;
        }
        match &node.kind {
            Kind::None => Shape::None,
            Kind::Bool(_) => Shape::Bool,
            Kind::Int(_) | Kind::Big(_) | Kind::Float(_) => Shape::Number,
            Kind::Text(_) => Shape::Text,
            Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. } | Kind::Slice { .. } => self.path(node),
            Kind::List(items) => {
                let items: Vec<Shape> = items.iter().map(|item| self.node(item)).collect();
                Shape::list(Shape::one_of(items))
            }
            Kind::Table(entries) => self.table(entries),
            Kind::Comprehension(made) => self.comprehension(made),
            Kind::Not(inner) => {
                self.condition(inner);
                Shape::Bool
            }
            Kind::Neg(inner) => {
                let shape = self.node(inner);
                if !shape.may(|shape| *shape == Shape::Number) && !super::lint::is_literal(inner) {
                    let message = format!("`-` calculates with numbers, this is {}", shape.noun());
                    self.complain(FaultKind::Mixed, &node.span, message, "");
                }
                Shape::Number
            }
            Kind::Binary { op, left, right } => self.binary(node, *op, left, right),
            Kind::Coalesce { left, right } => self.coalesced(left, right),
            Kind::Choice { then, condition, otherwise } => {
                self.condition(condition);
                let chosen = self.inside > 0 || asks_kind(condition);
                let then = self.at_times(chosen, |this| this.node(then));
                let otherwise = self.at_times(chosen, |this| this.node(otherwise));
                Shape::one_of([then, otherwise])
            }
            Kind::Filter { name, base, args, .. } => self.filter(node, name, base, args),
            Kind::Test { name, base, args, .. } => {
                if !matches!(name.as_str(), "defined" | "undefined") {
                    let on = self.node(base);
                    let given: Vec<Shape> = args.iter().map(|arg| self.node(&arg.value)).collect();
                    if let Some((message, help)) = test_misuse(name, &on, &given) {
                        self.complain(FaultKind::Mixed, &node.span, message, help);
                    }
                    if let (Some(op), [other]) = (operator(name), args.as_slice()) {
                        self.compare_choices(node, op, base, &other.value);
                    }
                }
                Shape::Bool
            }
            Kind::Call { name, args, .. } => {
                let given: Vec<Shape> = args.iter().map(|arg| self.node(&arg.value)).collect();
                if name == "range" { Shape::list(Shape::Number) } else { self.call(node, name, args, given) }
            }
        }
    }

    /// What holds for some values only, if `so`: nothing is complained about.
    pub(super) fn at_times<T>(&mut self, so: bool, look: impl FnOnce(&mut Self) -> T) -> T {
        self.quiet += u32::from(so);
        let seen = look(self);
        self.quiet -= u32::from(so);
        seen
    }

    fn table(&mut self, entries: &[(Node, Node)]) -> Shape {
        let mut fields = KnownFields::default();
        for (key, value) in entries {
            let value = self.node(value);
            if let Kind::Text(key) = &key.kind {
                fields.known.insert(key.clone(), value);
            } else {
                self.node(key);
                fields.open = true;
            }
        }
        Shape::Table(Arc::new(fields))
    }

    /// A chain of keys: of a name in scope, or of a value that the expression makes itself.
    fn path(&mut self, node: &Node) -> Shape {
        let lenient = std::mem::take(&mut self.lenient);
        let mut steps = Vec::new();
        let mut at = node;
        loop {
            match &at.kind {
                Kind::Key { base, key, key_span } => {
                    steps.push((Step::Key(key.clone()), key_span.clone()));
                    at = base;
                }
                Kind::Index { base, index } => {
                    let step = match &index.kind {
                        Kind::Int(n) => Step::Index(*n),
                        _ => Step::Dynamic,
                    };
                    let index_shape = self.node(index);
                    let step = if index_shape == Shape::Number && step == Step::Dynamic {
                        Step::Index(0)
                    } else {
                        step
                    };
                    steps.push((step, index.span.clone()));
                    at = base;
                }
                Kind::Slice { base, bounds } => {
                    bounds.iter().flatten().for_each(|bound| drop(self.node(bound)));
                    let sliced = self.node(base);
                    steps.reverse();
                    return self.below(&sliced, &steps);
                }
                _ => break,
            }
        }
        steps.reverse();
        let Kind::Name(root) = &at.kind else {
            let base = self.node(at);
            let is_certain = lenient || !self.is_one_sided(at, &steps);
            return if is_certain { self.below(&base, &steps) } else { Shape::Any };
        };
        if let Some((_, shape)) = self.locals.iter().rev().find(|(name, _)| name == root) {
            let shape = shape.clone();
            return self.below(&shape, &steps);
        }
        if self.inside > 0 {
            return Shape::Any;
        }
        let path: Vec<Step> =
            std::iter::once(Step::Key(root.clone())).chain(steps.into_iter().map(|(step, _)| step)).collect();
        self.names.shape(&path)
    }

    /// What lies under `steps` of a value that is not in scope by name: a field that there cannot be is a fault.
    fn below(&mut self, shape: &Shape, steps: &[(Step, Range<usize>)]) -> Shape {
        let path: Vec<Step> = steps.iter().map(|(step, _)| step.clone()).collect();
        match shape.walk(&path) {
            Ok(shape) => shape,
            Err(wrong) => {
                let (Step::Key(key), range) = &steps[wrong.at] else { return Shape::Any };
                self.no_field(key, range, &wrong);
                Shape::Any
            }
        }
    }

    fn binary(&mut self, node: &Node, op: Op, left: &Node, right: &Node) -> Shape {
        if matches!(op, Op::And | Op::Or) {
            self.condition(left);
            let chosen = self.inside > 0 || asks_kind(left);
            self.at_times(chosen, |this| this.condition(right));
            return Shape::Bool;
        }
        let (a, b) = (self.node(left), self.node(right));
        self.compare_choices(node, op, left, right);
        let literal = super::lint::is_literal(left) && super::lint::is_literal(right);
        if !literal && let Some(message) = impossible(op, &a, &b) {
            let help = match (op, a.noun(), b.noun()) {
                (Op::Add, ..) => "join text with `~`",
                (_, "text", "a number") | (_, "a number", "text") => {
                    "convert one: `… | float` or `… | string`"
                }
                _ => "",
            };
            self.complain(FaultKind::Mixed, &node.span, message, help);
        }
        match op {
            Op::Concat => Shape::Text,
            Op::Add => sum(&a, &b),
            _ if op.level() == 4 => Shape::Bool,
            _ => Shape::Number,
        }
    }

    /// A call of a function of the pipeline, with what its arguments are.
    fn call(&mut self, node: &Node, name: &str, args: &[Arg], given: Vec<Shape>) -> Shape {
        let Some((function, Some(body))) = self.functions.find(name).map(|f| (f, f.body.as_ref())) else {
            return Shape::Any;
        };
        if self.inside >= DEEPEST {
            return Shape::Any;
        }
        let offset = given.len().saturating_sub(args.len());
        let mut bound: Vec<(String, Shape)> =
            function.args.iter().map(|arg| (arg.to_string(), Shape::Any)).collect();
        for (place, shape) in given.into_iter().enumerate() {
            let named = place.checked_sub(offset).and_then(|at| args.get(at)?.name.as_ref());
            let slot = match named {
                Some((name, _)) => bound.iter_mut().find(|(arg, _)| arg == name),
                None => bound.get_mut(place),
            };
            if let Some((_, slot)) = slot {
                *slot = shape;
            }
        }
        let outer = std::mem::replace(&mut self.locals, bound);
        let before = self.faults.len();
        self.inside += 1;
        let shape = self.node(body.node());
        self.inside -= 1;
        self.locals = outer;
        // What is wrong in the function with these arguments is wrong with the call.
        if let Some(fault) = self.faults.split_off(before).into_iter().next() {
            let message = format!("in `{name}`: {}", fault.message);
            self.complain(fault.kind, &node.span, message, fault.help.as_deref().unwrap_or_default());
        }
        shape
    }

    fn filter(&mut self, node: &Node, name: &str, base: &Node, args: &[Arg]) -> Shape {
        let subject = if name == "default" { self.quietly(base) } else { self.node(base) };
        let given: Vec<Shape> = args.iter().map(|arg| self.node(&arg.value)).collect();
        self.apply(node, name, subject, (args, &given))
    }

    /// What is not there is allowed: nothing is complained about.
    pub(super) fn quietly(&mut self, node: &Node) -> Shape {
        let count = self.faults.len();
        let shape = self.node(node);
        self.faults.truncate(count);
        shape
    }

    fn apply(&mut self, node: &Node, name: &str, subject: Shape, (args, given): (&[Arg], &[Shape])) -> Shape {
        let text = |at: usize| match args.get(at).map(|arg| (&arg.name, &arg.value.kind)) {
            Some((None, Kind::Text(text))) => Some(text.as_str()),
            _ => None,
        };
        let named = |name: &str| {
            args.iter().find(|arg| arg.name.as_ref().is_some_and(|(n, _)| n == name)).map(|arg| &arg.value)
        };
        let attribute = named("attribute").and_then(|node| match &node.kind {
            Kind::Text(text) => Some((text.as_str(), node.span.clone())),
            _ => None,
        });
        if let (Some((path, range)), true) = (&attribute, named("default").is_none()) {
            self.attribute(&subject, path, range);
        }
        if let Some((message, help)) = filter_misuse(name, &subject, args, given) {
            self.complain(FaultKind::Mixed, &node.span, message, help);
        }
        match name {
            "map" => {
                let item = subject.item();
                let made = if let Some((path, _)) = attribute {
                    if named("default").is_some() { Shape::Any } else { dig(&item, path).unwrap_or_default() }
                } else if let Some(filter) = text(0) {
                    self.apply(node, filter, item, (&args[1..], &given[1..]))
                } else {
                    Shape::Any
                };
                Shape::list(made)
            }
            "select" | "reject" => {
                if let Some(test) = text(0).filter(|test| self.functions.find(test).is_some()) {
                    self.apply(node, test, subject.item(), (&args[1..], &given[1..]));
                }
                same_list(&subject)
            }
            "selectattr" | "rejectattr" => {
                let presence = matches!(text(1), Some("defined" | "undefined"));
                if let (Some(path), false) = (text(0), presence) {
                    self.attribute(&subject, path, &args[0].value.span);
                }
                same_list(&subject)
            }
            "default" => {
                let other = given.first().cloned().unwrap_or_default();
                Shape::one_of([subject, other])
            }
            "int" | "float" if !given.is_empty() => {
                Shape::one_of(given.iter().cloned().chain([Shape::Number]))
            }
            "merge" => merged(std::iter::once(&subject).chain(given)),
            _ if super::filters::find(name).is_some() => plain(name, &subject),
            _ => {
                let given = std::iter::once(subject).chain(given.iter().cloned()).collect();
                self.call(node, name, args, given)
            }
        }
    }

    /// The parts of a template.
    pub(super) fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Text(_) | Part::Break | Part::Continue => {}
                Part::Output(value) => drop(self.compiled(value)),
                Part::If { branches, otherwise } => {
                    let asks = branches.iter().any(|(condition, _)| asks_kind(condition.node()));
                    for (condition, body) in branches {
                        self.condition(condition.node());
                        self.at_times(asks, |this| this.scoped(body));
                    }
                    self.at_times(asks, |this| this.scoped(otherwise));
                }
                Part::For(looping) => self.looping(looping),
                Part::Set { names, value } => {
                    let shape = self.compiled(value);
                    self.bind(names, &shape);
                }
                Part::Capture { name, body, .. } => {
                    self.scoped(body);
                    self.locals.extend(name.iter().map(|name| (name.clone(), Shape::Text)));
                }
                Part::With { bindings, body } => {
                    let depth = self.locals.len();
                    for (name, value) in bindings {
                        let shape = self.compiled(value);
                        self.locals.push((name.clone(), shape));
                    }
                    self.scoped(body);
                    self.locals.truncate(depth);
                }
                Part::Include { name, body } => {
                    let outer = self.file.replace(name.clone());
                    self.parts(body);
                    self.file = outer;
                }
            }
        }
    }

    /// A branch, whose names are not known behind it: what it sets may or may not have been set.
    fn scoped(&mut self, parts: &[Part]) {
        let depth = self.locals.len();
        self.parts(parts);
        let set: Vec<String> = self.locals.drain(depth..).map(|(name, _)| name).collect();
        self.locals.extend(set.into_iter().map(|name| (name, Shape::Any)));
    }

    fn bind(&mut self, names: &[String], shape: &Shape) {
        match names {
            [name] => self.locals.push((name.clone(), shape.clone())),
            several => self.locals.extend(several.iter().map(|name| (name.clone(), Shape::Any))),
        }
    }

    fn looping(&mut self, looping: &Loop) {
        let over = self.compiled(&looping.over);
        let depth = self.locals.len();
        let item = if over.may(|shape| !matches!(shape, Shape::List(_) | Shape::None)) {
            Shape::Any
        } else {
            over.item()
        };
        self.bind(&looping.names, &item);
        if let Some(filter) = &looping.filter {
            self.condition(filter.node());
        }
        self.locals.push(("loop".to_owned(), Shape::Any));
        self.scoped(&looping.body);
        let set: Vec<String> =
            self.locals.drain(depth..).skip(looping.names.len() + 1).map(|(name, _)| name).collect();
        self.locals.extend(set.into_iter().map(|name| (name, Shape::Any)));
        self.scoped(&looping.otherwise);
    }
}
