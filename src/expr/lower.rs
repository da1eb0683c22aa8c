//! From the syntax tree to what is evaluated.
//!
//! Evaluation is strict: an undefined result is an error wherever a value is used, conditions too, and only
//! numbers are calculated with. Here it is settled where each check stands: `value` prepares a node whose value is used
//! as it is, `raw` one whose user looks itself.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use minijinja::Value as Inner;
use minijinja::value::Object;

use super::ast::{Kind, Node, Op};
use super::call::{self, Call, Given, Target};
use super::code::{Cell, Code, Name};
use super::filters::{Absent, Filter};
use super::functions::Functions;

/// How deep an expression may be: far deeper than anybody writes, and far less than the stack holds.
const MAX_DEPTH: usize = 160;

/// Prepares expressions that may call `functions`, whose `locals` are arguments, inside comprehensions that bind `bound`.
pub(super) struct Lowering<'a> {
    pub functions: &'a Functions,
    pub locals: &'a [&'a str],
    pub bound: &'a [&'a str],
}

/// A function of the pipeline as a value: what `map` and `select` are given.
#[derive(Debug)]
pub(super) struct Reference(pub usize);

impl Object for Reference {}

pub(super) type Lowered<T = Cell> = Option<T>;

impl Lowering<'_> {
    /// Prepares `node`, whose calls were checked before; nothing where it is nested too deeply.
    pub(super) fn whole(&self, node: &Node) -> Lowered {
        self.value(node, MAX_DEPTH)
    }

    /// A node whose value is used without a further check.
    pub(super) fn value(&self, node: &Node, depth: usize) -> Lowered {
        Some(Cell { there: may_be_undefined(node), ..self.raw(node, depth)? })
    }

    /// A node that may turn out undefined: who evaluates it looks.
    pub(super) fn raw(&self, node: &Node, depth: usize) -> Lowered {
        let code = self.code(node, depth.checked_sub(1)?)?;
        Some(Cell { code, span: node.span.clone(), there: false })
    }

    fn boxed(&self, node: &Node, depth: usize) -> Lowered<Box<Cell>> {
        self.raw(node, depth).map(Box::new)
    }

    fn pair(&self, left: &Node, right: &Node, depth: usize) -> Lowered<Box<[Cell; 2]>> {
        Some(Box::new([self.raw(left, depth)?, self.raw(right, depth)?]))
    }

    fn values<'n>(&self, nodes: impl IntoIterator<Item = &'n Node>, depth: usize) -> Lowered<Box<[Cell]>> {
        nodes.into_iter().map(|node| self.value(node, depth)).collect()
    }

    fn code(&self, node: &Node, depth: usize) -> Lowered<Code> {
        Some(match &node.kind {
            Kind::None => Code::Constant(Inner::from(())),
            Kind::Bool(truth) => Code::Constant(Inner::from(*truth)),
            Kind::Int(whole) => Code::Constant(Inner::from(*whole)),
            Kind::Big(whole) => Code::Constant(Inner::from(*whole)),
            Kind::Float(number) => Code::Constant(Inner::from(*number)),
            Kind::Text(text) => Code::Constant(Inner::from(text.as_str())),
            Kind::Name(name) => self.name(name),
            Kind::Key { base, key, .. } if self.is_let(base) => let_entry(key),
            Kind::Key { base, key, .. } => {
                Code::Key(Box::new(self.base(base, depth)?), Arc::from(key.as_str()))
            }
            Kind::Index { base, index } => match &index.kind {
                Kind::Text(key) if self.is_let(base) => let_entry(key),
                _ => Code::Index(Box::new([self.base(base, depth)?, self.value(index, depth)?])),
            },
            Kind::Slice { base, bounds } => self.slice(base, bounds, depth)?,
            Kind::List(items) => Code::List(self.values(items, depth)?),
            Kind::Table(entries) => self.table(entries, depth)?,
            Kind::Comprehension(made) => self.comprehension(made, depth)?,
            Kind::Not(inner) => Code::Not(self.boxed(inner, depth)?),
            Kind::Neg(inner) => match inner.kind {
                Kind::Int(whole) => Code::Constant(Inner::from(-whole)),
                _ => Code::Neg(self.boxed(inner, depth)?),
            },
            Kind::Binary { op, left, right } => self.binary(*op, left, right, depth)?,
            Kind::Coalesce { left, right } => {
                Code::Coalesce(Box::new([self.raw(left, depth)?, self.value(right, depth)?]))
            }
            Kind::Choice { then, condition, otherwise } => {
                let (condition, then) = (self.raw(condition, depth)?, self.value(then, depth)?);
                Code::Choice(Box::new([condition, then, self.value(otherwise, depth)?]))
            }
            Kind::Filter { .. } | Kind::Test { .. } | Kind::Call { .. } => self.call(node, depth)?,
        })
    }

    fn name(&self, name: &str) -> Code {
        let place = |names: &[&str]| names.iter().rposition(|known| *known == name);
        match (place(self.bound), place(self.locals)) {
            (Some(place), _) => Code::Bound(place),
            (None, Some(place)) => Code::Local(place),
            (None, None) => Code::Name(Name { text: Arc::from(name), place: AtomicUsize::new(0) }),
        }
    }

    /// What a key or an index is taken of: below an undefined value there is nothing, and that is an error of its own.
    fn base(&self, node: &Node, depth: usize) -> Lowered {
        if node.is_path() { self.raw(node, depth) } else { self.value(node, depth) }
    }

    fn is_let(&self, node: &Node) -> bool {
        matches!(&node.kind, Kind::Name(name) if name == "let" && matches!(self.name(name), Code::Name(_)))
    }

    fn slice(&self, base: &Node, bounds: &[Option<Box<Node>>; 3], depth: usize) -> Lowered<Code> {
        let [start, stop, by] = bounds;
        let bound = |bound: &Option<Box<Node>>| match bound {
            Some(bound) => self.value(bound, depth),
            None => Some(constant(Inner::from(()), base)),
        };
        Some(Code::Slice(Box::new([self.value(base, depth)?, bound(start)?, bound(stop)?, bound(by)?])))
    }

    fn table(&self, entries: &[(Node, Node)], depth: usize) -> Lowered<Code> {
        let entry = |(key, value): &(Node, Node)| Some((self.value(key, depth)?, self.value(value, depth)?));
        Some(Code::Table(entries.iter().map(entry).collect::<Option<_>>()?))
    }

    fn binary(&self, op: Op, left: &Node, right: &Node, depth: usize) -> Lowered<Code> {
        let raw = |nodes: Vec<&Node>| -> Lowered<Box<[Cell]>> {
            nodes.into_iter().map(|node| self.raw(node, depth)).collect()
        };
        Some(match op {
            Op::Or => Code::Any(raw(operands(op, left, right))?),
            Op::And => Code::All(raw(operands(op, left, right))?),
            Op::Add => Code::Add(self.values(operands(op, left, right), depth)?),
            Op::Concat => Code::Concat(self.values(operands(op, left, right), depth)?),
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::In | Op::NotIn => {
                Code::Compare(op, self.pair(left, right, depth)?)
            }
            Op::Sub | Op::Mul | Op::Div | Op::FloorDiv | Op::Rem | Op::Pow => {
                Code::Arithmetic(op, self.pair(left, right, depth)?)
            }
        })
    }

    fn call(&self, node: &Node, depth: usize) -> Lowered<Code> {
        let Ok(Some(Call { target, args })) = call::resolve(node, self.functions) else {
            return Some(Code::Constant(Inner::UNDEFINED));
        };
        let given = |given: &Given<'_>| match given {
            Given::Value(node) => self.value(node, depth),
            Given::Raw(node) => self.raw(node, depth),
            Given::Text(text) => Some(constant(Inner::from(*text), node)),
            Given::Absent(Absent::None) => Some(constant(Inner::from(()), node)),
            Given::Absent(Absent::Undefined) => Some(constant(Inner::UNDEFINED, node)),
            Given::Function(place) => Some(constant(Inner::from_object(Reference(*place)), node)),
        };
        let args: Vec<Cell> = args.iter().map(given).collect::<Option<_>>()?;
        Some(match target {
            Target::Filter(filter) => Code::Filter(filter, args.into()),
            Target::Test(test) => Code::Test(test, args.into()),
            Target::Range => Code::Range(Box::new(<[Cell; 3]>::try_from(args).ok()?)),
            Target::Function(place) => Code::Call(place, args.into()),
        })
    }
}

fn let_entry(key: &str) -> Code {
    Code::Let(Name { text: Arc::from("let"), place: AtomicUsize::new(0) }, Arc::from(key))
}

fn constant(value: Inner, node: &Node) -> Cell {
    Cell { code: Code::Constant(value), span: node.span.clone(), there: false }
}

/// Whether the value of `node` may turn out undefined without an error of its own.
fn may_be_undefined(node: &Node) -> bool {
    match &node.kind {
        Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. } => true,
        Kind::Filter { name, .. } => Filter::may_be_undefined(name),
        _ => false,
    }
}

/// The operands of a left-leaning chain of `op`.
fn operands<'a>(op: Op, left: &'a Node, right: &'a Node) -> Vec<&'a Node> {
    let mut found = vec![right];
    let mut first = left;
    while let Kind::Binary { op: inner, left, right } = &first.kind
        && *inner == op
    {
        found.push(right);
        first = left;
    }
    found.push(first);
    found.reverse();
    found
}
