//! Evaluating: a walk over prepared code, within bounds of work.
//!
//! Arguments of the pipeline's functions lie on one stack, so a call costs no more than its arguments.

use std::ops::Range;
use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value as Inner};

use super::allowance::Allowance;
use super::ast::Op;
use super::check::{Checked, order, same, text, truth, wrong};
use super::code::{Cell, Code};
use super::compiled::Compiled;
use super::extent::{extent, sound};
use super::functions::Functions;
use super::lets;
use super::lower::Reference;
use super::memo::Memo;
use super::operators as calculate;
use super::record;
use super::scope::Scope;
use super::tests_table::contains;

/// How much work one evaluation may take, in nodes and items: far more than any needs, and far less than forever.
const MAX_WORK: u64 = 100_000_000;
/// How many calls of a pipeline's functions one evaluation may make, how deep they may lie, and how deep it may nest.
const MAX_CALLS: u32 = 2_000_000;
const MAX_DEPTH: u32 = 32;
pub(super) const MAX_NESTING: u32 = 1_000;
/// How much work passes between two looks at the clock.
const SLICE: u64 = 4_096;
/// How many bytes of a text are as much work as one item.
pub(super) const PIECE: usize = 64;

/// An error, and the bytes of the text that it is about.
pub(super) struct Trouble {
    pub error: Error,
    pub at: Option<Range<usize>>,
    /// What the comprehensions around it have bound, innermost first.
    pub bound: Vec<(Arc<str>, Inner)>,
}

impl Trouble {
    pub(super) fn new(error: Error, at: Option<Range<usize>>) -> Self {
        Self { error, at, bound: Vec::new() }
    }
}

pub(super) type Evaluated<T = Inner> = Result<T, Box<Trouble>>;

/// One evaluation under way.
pub(super) struct Machine<'a> {
    scope: &'a Scope,
    functions: &'a Functions,
    allowance: Option<&'a Allowance>,
    memo: Option<&'a mut Memo>,
    /// Arguments of the functions under way, innermost last.
    stack: Vec<Inner>,
    /// Where those of the innermost function begin.
    base: usize,
    /// What comprehensions bind, innermost last, and where the innermost function's begin.
    pub(super) bound: Vec<Inner>,
    bound_base: usize,
    /// Work that was done in all, up to the slice under way.
    done: u64,
    /// The slice under way, and what is left of it.
    slice: u64,
    left: u64,
    calls: u32,
    depth: u32,
    pub(super) nesting: u32,
}

impl<'a> Machine<'a> {
    /// An evaluation in `scope`, within the allowance of that.
    pub(super) fn new(scope: &'a Scope, functions: &'a Functions) -> Self {
        let allowance = scope.allowance();
        let slice = allowance.map_or(SLICE, |allowance| allowance.left().min(SLICE));
        Self {
            scope,
            functions,
            allowance,
            memo: None,
            stack: Vec::new(),
            base: 0,
            bound: Vec::new(),
            bound_base: 0,
            done: 0,
            slice,
            left: slice,
            calls: 0,
            depth: 0,
            nesting: 0,
        }
    }

    /// The same with what functions gave last.
    pub(super) fn with_memo(self, memo: Option<&'a mut Memo>) -> Self {
        Self { memo, ..self }
    }

    /// The value of `cell`, which is the whole of an expression.
    pub(super) fn run(&mut self, cell: &Cell) -> Evaluated {
        let value = self.eval(cell);
        if let Some(allowance) = self.allowance {
            allowance.book(self.slice - self.left);
            (self.slice, self.left) = (0, 0);
        }
        value
    }

    /// All the work that was done.
    fn worked(&self) -> u64 {
        self.done + self.slice - self.left
    }

    /// Counts work, in nodes and items.
    pub(super) fn work(&mut self, work: u64) -> Checked<()> {
        match self.left.checked_sub(work) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => self.next_slice(work),
        }
    }

    #[cold]
    fn next_slice(&mut self, work: u64) -> Checked<()> {
        let used = self.slice - self.left + work;
        self.done += used;
        let goes_on = self.allowance.is_none_or(|allowance| allowance.take(used));
        if self.done > MAX_WORK || !goes_on {
            return Err(Error::from(ErrorKind::OutOfFuel));
        }
        self.slice = self.allowance.map_or(SLICE, |allowance| allowance.left().min(SLICE));
        self.left = self.slice;
        Ok(())
    }

    pub(super) fn eval(&mut self, cell: &Cell) -> Evaluated {
        let value = self.raw(cell)?;
        if cell.there && value.is_undefined() { undefined(cell) } else { Ok(value) }
    }

    /// The same, undefined or not.
    pub(super) fn raw(&mut self, cell: &Cell) -> Evaluated {
        let endless = |error| Box::new(Trouble::new(error, None));
        self.work(1).map_err(endless)?;
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(endless(Error::from(ErrorKind::OutOfFuel)));
        }
        let value = self.node(cell)?;
        self.nesting -= 1;
        Ok(value)
    }

    fn node(&mut self, cell: &Cell) -> Evaluated {
        match &cell.code {
            Code::Constant(value) => Ok(value.clone()),
            Code::Name(_) | Code::Local(_) | Code::Bound(_) => {
                Ok(self.known(cell).cloned().unwrap_or_default())
            }
            Code::Key(base, key) => self.key(cell, base, key),
            Code::Let(name, key) => {
                let lets = self.scope.find(&name.text, &name.place).map_or(&Inner::UNDEFINED, |data| &data.0);
                lets::entry(lets, key, self.scope.shared_allowance()).map_err(at(cell))
            }
            Code::Index(parts) => self.index(cell, parts),
            Code::Slice(parts) => self.slice(cell, parts),
            Code::List(items) => sound(record::list(self.list(items)?)).map_err(at(cell)),
            Code::Table(entries) => self.table(cell, entries),
            Code::Each(each) => self.each(each),
            Code::Not(inner) => self.truth(inner).map(|truth| Inner::from(!truth)),
            Code::Neg(inner) => {
                let number = self.number(inner)?;
                calculate::negative(&number).map_err(at(cell))
            }
            Code::Any(operands) => self.logic(operands, true),
            Code::All(operands) => self.logic(operands, false),
            Code::Add(operands) => self.add(cell, operands),
            Code::Concat(operands) => {
                let values = self.list(operands)?;
                self.work(values.iter().map(size_of).sum()).map_err(at(cell))?;
                calculate::concat(&values).map_err(at(cell))
            }
            Code::Compare(op, operands) => self.compare(cell, *op, operands),
            Code::Arithmetic(op, operands) => self.arithmetic(cell, *op, operands),
            Code::Coalesce(parts) => self.coalesce(parts),
            Code::Choice(parts) => {
                let [condition, then, otherwise] = &**parts;
                let chosen = if self.truth(condition)? { then } else { otherwise };
                self.eval(chosen)
            }
            Code::Filter(..) | Code::Test(..) | Code::Range(_) | Code::Call(..) => self.applied(cell),
        }
    }

    fn applied(&mut self, cell: &Cell) -> Evaluated {
        let made = match &cell.code {
            Code::Filter(filter, args) => self.with_args(args, |machine, args| {
                machine.work(args.iter().map(size_of).sum())?;
                (filter.run)(machine, args)
            })?,
            Code::Test(test, args) => self.with_args(args, |_, args| (test.ask)(args))?.map(Inner::from),
            Code::Range(args) => self.with_args(&**args, |machine, args| {
                let [start, stop, by] = args else { return Err(wrong("`range` takes three numbers")) };
                let range = calculate::range(start, stop, by)?;
                machine.work(size_of(&range))?;
                Ok(range)
            })?,
            Code::Call(place, args) => {
                let start = self.stack.len();
                for arg in args {
                    let value = self.eval(arg)?;
                    self.stack.push(value);
                }
                let value = self.call_again(*place, start);
                self.stack.truncate(start);
                value
            }
            _ => Ok(Inner::UNDEFINED),
        };
        made.and_then(sound).map_err(at(cell))
    }

    /// The value of a node that is known already, without a copy.
    fn known<'s>(&'s self, cell: &'s Cell) -> Option<&'s Inner> {
        match &cell.code {
            Code::Constant(value) => Some(value),
            Code::Local(place) => self.stack.get(self.base + place),
            Code::Bound(place) => self.bound.get(self.bound_base + place),
            Code::Name(name) => self.scope.find(&name.text, &name.place).map(|data| &data.0),
            _ => None,
        }
    }

    fn key(&mut self, cell: &Cell, base: &Cell, key: &str) -> Evaluated {
        let found = match self.known(base) {
            Some(base) => record::field(base, key),
            None => record::field(&self.eval(base)?, key),
        };
        found.map_err(at(cell))
    }

    fn index(&mut self, cell: &Cell, [base, index]: &[Cell; 2]) -> Evaluated {
        let base = self.eval(base)?;
        let index = self.eval(index)?;
        calculate::index(defined(&base, cell)?, &index).map_err(at(cell))
    }

    fn slice(&mut self, cell: &Cell, [base, start, stop, by]: &[Cell; 4]) -> Evaluated {
        let base = self.eval(base)?;
        self.sliced(cell, &base, [start, stop, by])
    }

    pub(super) fn sliced(&mut self, cell: &Cell, base: &Inner, [start, stop, by]: [&Cell; 3]) -> Evaluated {
        let (start, stop, by) = (self.eval(start)?, self.eval(stop)?, self.eval(by)?);
        self.work(size_of(base)).map_err(at(cell))?;
        calculate::slice(base, &start, &stop, &by).map_err(at(cell))
    }

    fn list(&mut self, cells: &[Cell]) -> Evaluated<Vec<Inner>> {
        let mut values = Vec::with_capacity(cells.len());
        for cell in cells {
            values.push(self.eval(cell)?);
        }
        Ok(values)
    }

    fn table(&mut self, cell: &Cell, entries: &[(Cell, Cell)]) -> Evaluated {
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.eval(key)?;
            text(&key).map_err(at(cell))?;
            pairs.push((key, self.eval(value)?));
        }
        sound(record::table(pairs)).map_err(at(cell))
    }

    pub(super) fn truth(&mut self, cell: &Cell) -> Evaluated<bool> {
        let value = self.eval(cell)?;
        defined(&value, cell).map(truth)
    }

    /// Whether an operand is as `wanted`: the others are not looked at then.
    fn logic(&mut self, operands: &[Cell], wanted: bool) -> Evaluated {
        for operand in operands {
            if self.truth(operand)? == wanted {
                return Ok(Inner::from(wanted));
            }
        }
        Ok(Inner::from(!wanted))
    }

    fn number(&mut self, cell: &Cell) -> Evaluated {
        let value = self.eval(cell)?;
        calculate::factor(defined(&value, cell)?).map_err(at(cell))?;
        Ok(value)
    }

    fn add(&mut self, cell: &Cell, operands: &[Cell]) -> Evaluated {
        if let [left, right] = operands {
            let (left, right) = (self.eval(left)?, self.eval(right)?);
            return self.sum(&left, &right).map_err(at(cell));
        }
        let Some((first, others)) = operands.split_first() else { return Ok(Inner::default()) };
        let sum = self.eval(first)?;
        let mut rest = self.list(others)?.into_iter();
        rest.try_fold(sum, |sum, value| self.sum(&sum, &value)).map_err(at(cell))
    }

    fn sum(&mut self, left: &Inner, right: &Inner) -> Checked {
        if !left.is_number() {
            // A list that is added to is rarely made again as a whole.
            self.work(size_of(left) / 16 + size_of(right))?;
        }
        calculate::add(left, right).and_then(sound)
    }

    fn compare(&mut self, cell: &Cell, op: Op, [left, right]: &[Cell; 2]) -> Evaluated {
        let (left, right) = (self.eval(left)?, self.eval(right)?);
        let (left, right) = (defined(&left, cell)?, defined(&right, cell)?);
        // What occurs in a value more than once is compared more than once. Of a list that is only searched, no item is
        // made before it is looked at.
        let looked_at = match op {
            Op::In | Op::NotIn if right.kind() == ValueKind::String => size_of(right) * 16,
            Op::In | Op::NotIn => size_of(right).saturating_mul(extent(left).size),
            _ if left.is_number() && right.is_number() => 0,
            _ if left.len() != right.len() => 0,
            _ => extent(left).size.min(extent(right).size),
        };
        self.work(looked_at / 128).map_err(at(cell))?;
        let answer = match op {
            Op::Eq => same(left, right),
            Op::Ne => same(left, right).map(|same| !same),
            Op::Lt => order(left, right).map(std::cmp::Ordering::is_lt),
            Op::Le => order(left, right).map(std::cmp::Ordering::is_le),
            Op::Gt => order(left, right).map(std::cmp::Ordering::is_gt),
            Op::Ge => order(left, right).map(std::cmp::Ordering::is_ge),
            Op::In => contains(right, left),
            _ => contains(right, left).map(|found| !found),
        };
        answer.map(Inner::from).map_err(at(cell))
    }

    fn arithmetic(&mut self, cell: &Cell, op: Op, [left, right]: &[Cell; 2]) -> Evaluated {
        let (left, right) = (self.number(left)?, self.number(right)?);
        calculate::arithmetic(op, &left, &right).map_err(at(cell))
    }

    /// Evaluates `cells` and hands them over together.
    fn with_args<T>(
        &mut self,
        cells: &[Cell],
        use_them: impl FnOnce(&mut Self, &[Inner]) -> T,
    ) -> Evaluated<T> {
        match cells {
            [only] => {
                let only = [self.eval(only)?];
                Ok(use_them(self, &only))
            }
            [first, second] => {
                let both = [self.eval(first)?, self.eval(second)?];
                Ok(use_them(self, &both))
            }
            _ => {
                let all = self.list(cells)?;
                Ok(use_them(self, &all))
            }
        }
    }

    /// Calls the function that `value` stands for.
    pub(super) fn call_value(&mut self, value: &Inner, args: &[Inner]) -> Checked {
        let Some(Reference(place)) = value.downcast_object_ref() else {
            return Err(wrong("expected a filter or a function"));
        };
        let start = self.stack.len();
        self.stack.extend_from_slice(args);
        let value = self.call(*place, start);
        self.stack.truncate(start);
        value
    }

    /// Calls the function at `place` with the last values of the stack, those from `start` on.
    fn call(&mut self, place: usize, start: usize) -> Checked {
        self.calls += 1;
        if self.calls > MAX_CALLS || self.depth >= MAX_DEPTH {
            return Err(Error::from(ErrorKind::OutOfFuel));
        }
        let Some((function, body)) = self.functions.at(place) else {
            return Err(wrong("this function has no body"));
        };
        let outer = std::mem::replace(&mut self.base, start);
        let outer_bound = std::mem::replace(&mut self.bound_base, self.bound.len());
        self.depth += 1;
        let value = self.body(body);
        self.depth -= 1;
        (self.base, self.bound_base) = (outer, outer_bound);
        value.map_err(|trouble| {
            let scope = Scope::of(function.args.iter().cloned().zip(self.stack[start..].iter().cloned()));
            let told = body.explain(&trouble, &scope);
            wrong(format!("in `{}`", function.name)).with_source(told)
        })
    }

    /// The same, unless its value is known from its last call.
    fn call_again(&mut self, place: usize, start: usize) -> Checked {
        let known = self.memo.as_ref().and_then(|memo| memo.get(place, &self.stack[start..]));
        if let Some((value, work)) = known {
            return self.work(work).map(|()| value);
        }
        let before = self.worked();
        let value = self.call(place, start)?;
        let work = self.worked() - before;
        if let Some(memo) = &mut self.memo {
            memo.keep(place, &self.stack[start..], &value, work);
        }
        Ok(value)
    }

    fn body(&mut self, body: &Compiled) -> Evaluated {
        let value = self.eval(body.code())?;
        result(value)
    }
}

/// `value`, unless it is too large to be a number, or too deep or too large to be kept.
pub(super) fn result(value: Inner) -> Evaluated {
    let fits =
        !value.is_number() || value.is_integer() || f64::try_from(value.clone()).map_or(true, f64::is_finite);
    let value = if fits { sound(value) } else { Err(wrong("the result is too large to be a number")) };
    value.map_err(|error| Box::new(Trouble::new(error, None)))
}

pub(super) fn at(cell: &Cell) -> impl FnOnce(Error) -> Box<Trouble> {
    let at = cell.span.clone();
    move |error| Box::new(Trouble::new(error, Some(at)))
}

pub(super) fn undefined<T>(cell: &Cell) -> Evaluated<T> {
    Err(at(cell)(Error::from(ErrorKind::UndefinedError)))
}

/// `value`, unless it is undefined, which is the fault of `cell`.
fn defined<'v>(value: &'v Inner, cell: &Cell) -> Evaluated<&'v Inner> {
    if value.is_undefined() { undefined(cell) } else { Ok(value) }
}

/// The work of going through a value once: the items of a list or an object, and the pieces of a text.
fn size_of(value: &Inner) -> u64 {
    let length = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => value.len(),
        ValueKind::String => value.as_str().map(|text| text.len() / PIECE),
        _ => None,
    };
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}
