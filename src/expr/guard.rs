//! The printer: from our syntax tree to an expression that minijinja evaluates as strictly as we want.
//!
//! minijinja lets an undefined result pass, orders text against numbers and takes anything for a condition. So what is
//! printed calls a guard wherever that could happen: `a < b` becomes `__lt(a, b)`, a condition `__truth(x)`, a path
//! that is used as a value `__there(a.b)`. A map from printed places to written ones leads errors back.

use std::fmt::Write;
use std::ops::Range;

use super::ast::{Kind, Node, Op};
use super::call::Call;
use super::filters::Filter;

/// A printed expression.
#[derive(Debug, Default)]
pub(super) struct Printed {
    pub text: String,
    /// Inner places first.
    pub places: Vec<Place>,
}

/// Printed bytes, and the written bytes they stand for.
pub(super) type Place = (Range<usize>, Range<usize>);

impl Printed {
    /// Prints `node`, whose calls were checked before. Its value is guarded against being undefined.
    pub(super) fn of(node: &Node, resolve: &dyn for<'n> Fn(&'n Node) -> Option<Call<'n>>) -> Self {
        let mut printer = Printer { out: Self::default(), resolve };
        printer.value(node);
        printer.out
    }

    /// The written place that the printed place `range` stands for.
    pub(super) fn written(places: &[Place], range: &Range<usize>) -> Option<Range<usize>> {
        let around = |place: &&Place| place.0.start <= range.start && range.end <= place.0.end;
        places.iter().filter(around).min_by_key(|place| place.0.len()).map(|place| place.1.clone())
    }
}

struct Printer<'a> {
    out: Printed,
    resolve: &'a dyn for<'n> Fn(&'n Node) -> Option<Call<'n>>,
}

impl Printer<'_> {
    fn put(&mut self, text: &str) {
        self.out.text.push_str(text);
    }

    /// Prints `node` where its value is used without a further check.
    fn value(&mut self, node: &Node) {
        if may_be_undefined(node) {
            let start = self.out.text.len();
            self.put("__there(");
            self.raw(node);
            self.put(")");
            self.out.places.push((start..self.out.text.len(), node.span.clone()));
        } else {
            self.raw(node);
        }
    }

    /// Prints `node` where a truth value must stand.
    fn truth(&mut self, node: &Node) {
        if is_truth(node) {
            return self.raw(node);
        }
        let start = self.out.text.len();
        self.put("__truth(");
        self.raw(node);
        self.put(")");
        self.out.places.push((start..self.out.text.len(), node.span.clone()));
    }

    /// Prints `node`, which may turn out undefined: who prints it so checks it.
    fn raw(&mut self, node: &Node) {
        let start = self.out.text.len();
        self.kind(node);
        self.out.places.push((start..self.out.text.len(), node.span.clone()));
    }

    fn kind(&mut self, node: &Node) {
        match &node.kind {
            Kind::None => self.put("none"),
            Kind::Bool(truth) => self.put(if *truth { "true" } else { "false" }),
            Kind::Int(whole) => self.number(whole),
            Kind::Big(whole) => self.number(whole),
            Kind::Float(number) => self.float(*number),
            Kind::Text(text) => self.text(text),
            Kind::Name(name) => self.put(name),
            Kind::Key { base, key, .. } => {
                self.base(base);
                if is_name(key) {
                    self.put(".");
                    self.put(key);
                } else {
                    self.put("[");
                    self.text(key);
                    self.put("]");
                }
            }
            Kind::Index { base, index } => self.index(base, index),
            Kind::Slice { base, bounds } => self.slice(base, bounds),
            Kind::List(items) => {
                self.put("[");
                for item in items {
                    self.value(item);
                    self.put(",");
                }
                self.put("]");
            }
            Kind::Table(entries) => self.table(entries),
            Kind::Not(inner) => {
                self.put("(not ");
                self.truth(inner);
                self.put(")");
            }
            Kind::Neg(inner) => {
                self.put("(-");
                self.factor(inner);
                self.put(")");
            }
            Kind::Binary { op, left, right } => self.binary(*op, left, right),
            Kind::Choice { then, condition, otherwise } => {
                self.put("(");
                self.value(then);
                self.put(" if ");
                self.truth(condition);
                self.put(" else ");
                self.value(otherwise);
                self.put(")");
            }
            Kind::Filter { .. } | Kind::Test { .. } | Kind::Call { .. } => self.call(node),
        }
    }

    fn number(&mut self, number: impl std::fmt::Display) {
        let _ = write!(self.out.text, "{number}");
    }

    fn float(&mut self, number: f64) {
        let _ = write!(self.out.text, "{number:?}");
    }

    fn text(&mut self, text: &str) {
        self.put("\"");
        for c in text.chars() {
            match c {
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                '\n' => self.put("\\n"),
                '\r' => self.put("\\r"),
                '\t' => self.put("\\t"),
                c if c.is_control() => {
                    let _ = write!(self.out.text, "\\u{:04x}", u32::from(c));
                }
                c => self.out.text.push(c),
            }
        }
        self.put("\"");
    }

    /// What a key, an index or a slice is taken of: undefined below it is an error of minijinja's own.
    fn base(&mut self, node: &Node) {
        if node.is_path() {
            self.raw(node);
        } else {
            self.put("(");
            self.value(node);
            self.put(")");
        }
    }

    fn index(&mut self, base: &Node, index: &Node) {
        self.put("__index(");
        self.base(base);
        self.put(",");
        self.value(index);
        self.put(")");
    }

    fn slice(&mut self, base: &Node, bounds: &[Option<Box<Node>>; 3]) {
        self.put("__slice(");
        self.value(base);
        for bound in bounds {
            self.put(",");
            match bound {
                Some(bound) => self.value(bound),
                None => self.put("none"),
            }
        }
        self.put(")");
    }

    fn table(&mut self, entries: &[(Node, Node)]) {
        self.put("{");
        for (key, value) in entries {
            if let Kind::Text(text) = &key.kind {
                self.text(text);
            } else {
                self.put("__key(");
                self.value(key);
                self.put(")");
            }
            self.put(":");
            self.value(value);
            self.put(",");
        }
        self.put("}");
    }

    fn binary(&mut self, op: Op, left: &Node, right: &Node) {
        let guard = match op {
            Op::Or | Op::And => return self.logic(op, left, right),
            Op::Add => return self.chain(op, "__add", left, right),
            Op::Concat => return self.chain(op, "__concat", left, right),
            Op::Eq => "__eq(",
            Op::Ne => "__ne(",
            Op::Lt => "__lt(",
            Op::Le => "__le(",
            Op::Gt => "__gt(",
            Op::Ge => "__ge(",
            Op::In => "__in(",
            Op::NotIn => "__not_in(",
            Op::Sub | Op::Mul | Op::Div | Op::FloorDiv | Op::Rem | Op::Pow => {
                self.put("(");
                self.factor(left);
                self.put(" ");
                self.put(op.sign());
                self.put(" ");
                self.factor(right);
                return self.put(")");
            }
        };
        self.put(guard);
        self.raw(left);
        self.put(",");
        self.raw(right);
        self.put(")");
    }

    /// A number, for an operator that minijinja evaluates itself.
    fn factor(&mut self, node: &Node) {
        if is_number(node) {
            return self.raw(node);
        }
        let start = self.out.text.len();
        self.put("__number(");
        self.raw(node);
        self.put(")");
        self.out.places.push((start..self.out.text.len(), node.span.clone()));
    }

    /// A chain of one operator, printed flat: minijinja limits how deep brackets nest.
    fn chain(&mut self, op: Op, guard: &str, left: &Node, right: &Node) {
        self.put(guard);
        self.put("(");
        for (i, operand) in operands(op, left, right).into_iter().enumerate() {
            if i > 0 {
                self.put(",");
            }
            self.value(operand);
        }
        self.put(")");
    }

    fn logic(&mut self, op: Op, left: &Node, right: &Node) {
        self.put("(");
        for (i, operand) in operands(op, left, right).into_iter().enumerate() {
            if i > 0 {
                self.put(if op == Op::Or { " or " } else { " and " });
            }
            self.truth(operand);
        }
        self.put(")");
    }

    fn call(&mut self, node: &Node) {
        let Some(call) = (self.resolve)(node) else { return self.put("none") };
        self.put(&call.target);
        self.put("(");
        for (i, arg) in call.args.iter().enumerate() {
            if i > 0 {
                self.put(",");
            }
            match arg {
                super::call::Given::Value(node) => self.value(node),
                super::call::Given::Raw(node) => self.raw(node),
                super::call::Given::Text(text) => self.text(text),
                super::call::Given::Name(name) => self.put(name),
            }
        }
        self.put(")");
    }
}

/// Whether the value of `node` may turn out undefined without an error of its own.
pub(super) fn may_be_undefined(node: &Node) -> bool {
    match &node.kind {
        Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. } => true,
        Kind::Filter { name, .. } => Filter::may_be_undefined(name),
        _ => false,
    }
}

/// Whether the value of `node` is a truth value whatever the scope says.
fn is_truth(node: &Node) -> bool {
    match &node.kind {
        Kind::Bool(_) | Kind::Not(_) | Kind::Test { .. } => true,
        Kind::Binary { op, .. } => op.level() <= 4,
        _ => false,
    }
}

/// Whether the value of `node` is a number, or evaluating it fails.
fn is_number(node: &Node) -> bool {
    match &node.kind {
        Kind::Int(_) | Kind::Big(_) | Kind::Float(_) | Kind::Neg(_) => true,
        Kind::Binary { op, .. } => {
            matches!(op, Op::Sub | Op::Mul | Op::Div | Op::FloorDiv | Op::Rem | Op::Pow)
        }
        _ => false,
    }
}

fn is_name(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
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
