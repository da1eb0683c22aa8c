//! `a ?? b`: a value, and another one in its place if it is absent.
//!
//! A path is absent if any part of it is missing or none. Of any other value only none is replaced: an absent path inside
//! `f(x)` is an error. The right side is evaluated only if it is needed.

use std::ops::Range;

use minijinja::Value as Inner;
use minijinja::{Error, ErrorKind};

use super::ast::{Kind, Node};
use super::code::{Cell, Code};
use super::fault::{Fault, FaultKind};
use super::infer::Infer;
use super::machine::{Evaluated, MAX_NESTING, Machine, Trouble, at, undefined};
use super::operators as calculate;
use super::parse::Parser;
use super::record;
use super::refs::{Fallback, Reading, Ref, Step, collect, path};
use super::shape::Shape;
use super::words::syntax;

/// The table whose entries are listed before a run: a name that is not in it is an error, also on the left of `??`.
const LISTED: &str = "steps";

impl Parser<'_> {
    /// The rest of `left ?? …`, which binds tighter than all operators and groups to the right.
    pub(super) fn coalesced(&mut self, left: Node) -> Result<Node, Fault> {
        let start = left.span.start;
        let right = self.nested(Self::negated)?;
        let kind = Kind::Coalesce { left: Box::new(left), right: Box::new(right) };
        Ok(Node { kind, span: self.from(start) })
    }

    /// Refuses `a ?? b | f` and `a | f ?? b`, which can be read in two ways.
    pub(super) fn no_mixture(&self, node: &Node) -> Result<(), Fault> {
        if self.is_sign("|") && is_open(node) {
            return Err(syntax(self.span(), "`??` and `|` need parentheses: this can be read in two ways")
                .help("write `(a ?? b) | filter`, or `a ?? (b | filter)`"));
        }
        if self.is_sign("??") {
            return Err(syntax(self.span(), "`??` after a filter or a test needs parentheses")
                .help("write `(a | filter) ?? b`, or `a | filter(b ?? c)`"));
        }
        Ok(())
    }
}

/// Whether `node` is `a ?? b` without parentheses around it.
fn is_open(node: &Node) -> bool {
    match &node.kind {
        Kind::Coalesce { left, .. } => node.span.start == left.span.start,
        Kind::Neg(inner) => is_open(inner),
        _ => false,
    }
}

/// Takes up the references of both sides of `??`. `end` is what takes the place of the right one.
pub(super) fn operands([left, right]: [&Node; 2], end: Fallback, outside: Reading, refs: &mut Vec<Ref>) {
    operand(left, Fallback::Follows, outside, refs);
    // The right side is only read if it is needed.
    operand(right, end, Reading { fallback: Fallback::Last, ..outside }, refs);
}

/// Takes up the references of one side of `??`. Only a path may be absent, so what is inside of another expression is read
/// as `outside` says.
pub(super) fn operand(node: &Node, own: Fallback, outside: Reading, refs: &mut Vec<Ref>) {
    match &node.kind {
        Kind::Name(_) | Kind::Key { .. } | Kind::Index { .. } | Kind::Slice { .. } => {
            path(node, Reading { fallback: own, ..outside }, outside, refs);
        }
        Kind::Coalesce { left, right } => operands([left, right], own, outside, refs),
        _ => collect(node, outside, refs),
    }
}

impl Machine<'_> {
    /// The first of both values that is not absent.
    pub(super) fn coalesce(&mut self, [left, right]: &[Cell; 2]) -> Evaluated {
        let value = self.lenient(left)?;
        if is_absent(&value) { self.eval(right) } else { Ok(value) }
    }

    /// The value of a path, undefined or none if any part of it is.
    fn lenient(&mut self, cell: &Cell) -> Evaluated {
        let endless = |error| Box::new(Trouble::new(error, None));
        self.work(1).map_err(endless)?;
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(endless(Error::from(ErrorKind::OutOfFuel)));
        }
        let value = match &cell.code {
            Code::Name(_) => self.listed(cell)?,
            Code::Key(base, _) if is_listed(base) => self.listed(cell)?,
            Code::Key(base, key) => {
                let base = self.lenient(base)?;
                if is_absent(&base) { base } else { record::field(&base, key).map_err(at(cell))? }
            }
            Code::Index(parts) => {
                let [base, index] = &**parts;
                let base = self.lenient(base)?;
                let index = self.eval(index)?;
                if is_absent(&base) { base } else { calculate::index(&base, &index).map_err(at(cell))? }
            }
            Code::Slice(parts) => {
                let [base, start, stop, by] = &**parts;
                let base = self.lenient(base)?;
                if is_absent(&base) { base } else { self.sliced(cell, &base, [start, stop, by])? }
            }
            Code::Coalesce(parts) => {
                let [left, right] = &**parts;
                let value = self.lenient(left)?;
                if is_absent(&value) { self.lenient(right)? } else { value }
            }
            _ => self.raw(cell)?,
        };
        self.nesting -= 1;
        Ok(value)
    }

    /// The value of a name that must be in scope.
    fn listed(&mut self, cell: &Cell) -> Evaluated {
        let value = self.raw(cell)?;
        if value.is_undefined() { undefined(cell) } else { Ok(value) }
    }
}

fn is_absent(value: &Inner) -> bool {
    value.is_undefined() || value.is_none()
}

fn is_listed(base: &Cell) -> bool {
    matches!(&base.code, Code::Name(name) if &*name.text == LISTED)
}

/// One of `left`, unless it is none, and `right`.
pub(super) fn either(left: &Shape, right: Shape) -> Shape {
    let present = left.variants().iter().filter(|shape| **shape != Shape::None).cloned();
    Shape::one_of(present.chain([right]))
}

impl Infer<'_> {
    /// One of both sides, which is not none if it is the left one.
    pub(super) fn coalesced(&mut self, left: &Node, right: &Node) -> Shape {
        self.lenient = left.is_path();
        let value = self.node(left);
        self.lenient = false;
        let other = self.node(right);
        either(&value, other)
    }

    /// Whether `steps` lead to a field that only one side of the `??` in `base` has; complains about it.
    pub(super) fn is_one_sided(&mut self, base: &Node, steps: &[(Step, Range<usize>)]) -> bool {
        let (mut sides, mut open) = (Vec::new(), vec![base]);
        while let Some(node) = open.pop() {
            match &node.kind {
                Kind::Coalesce { left, right } => open.extend([&**left, right]),
                _ if std::ptr::eq(node, base) => return false,
                _ => sides.push(self.quietly(node)),
            }
        }
        let path: Vec<Step> = steps.iter().map(|(step, _)| step.clone()).collect();
        let walked: Vec<Result<Shape, usize>> =
            sides.iter().map(|side| side.walk(&path).map_err(|wrong| wrong.at)).collect();
        let missed = walked.iter().find_map(|walked| walked.as_ref().err());
        let (Some(at), true) = (missed, walked.iter().any(Result::is_ok)) else { return false };
        let Some((Step::Key(key), range)) = steps.get(*at) else { return false };
        let message = format!("only one side of this `??` has a field `{key}`");
        self.complain(
            FaultKind::Field,
            range,
            message,
            "give both sides the field, or write `(a ?? b).field ?? c`",
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Data, Expr, Functions, Scope, Template};
    use super::*;

    fn scope() -> Scope {
        let steps = json!({
            "done": {"ok": true, "output": {"score": 0, "text": "", "none": null, "list": [1]}},
            "skipped": {"ok": false, "skipped": true},
        });
        Scope::new()
            .with("steps", Data::from_value(&steps))
            .with("state", Data::from_value(&json!({"best": null, "all": []})))
    }

    fn eval(text: &str) -> Result<String, String> {
        let functions = Functions::build(vec![
            ("twice".to_owned(), vec!["x".to_owned()], "[x, x]".to_owned()),
            ("name".to_owned(), vec!["x".to_owned()], "x.a.name ?? 'nothing'".to_owned()),
        ]);
        let expr = Expr::parse(text, &functions.unwrap()).map_err(|faults| faults[0].message.clone())?;
        expr.eval(&scope()).map(|data| data.to_value().to_string()).map_err(|error| error.message)
    }

    #[test]
    fn an_absent_value_is_replaced_and_no_other() {
        for (text, wanted) in [
            ("steps.done.output.score ?? 7", "0"),
            ("steps.done.output.text ?? 'x'", "\"\""),
            ("steps.done.output.none ?? 7", "7"),
            ("steps.done.output.none.deeper ?? 7", "7"),
            ("steps.done.output.other[2].x ?? 7", "7"),
            ("steps.done.output.list[0] ?? 7", "1"),
            ("steps.done.output.list[3] ?? 7", "7"),
            ("steps.done.output.list[-1:] ?? 7", "[1]"),
            ("steps.skipped.output.list[1:] ?? 7", "7"),
            ("steps.skipped.output.x ?? steps.skipped.output ?? 7", "7"),
            ("steps.skipped.output ?? steps.done.output.list", "[1]"),
            ("(steps.skipped.output ?? steps.done.output.none).x ?? 7", "7"),
            ("(steps.skipped.output ?? {'x': 1}).x", "1"),
            ("state.best.tree ?? none", "null"),
            ("steps.skipped.error.message ?? 'fine'", "\"fine\""),
            ("(state.all | first) ?? 7", "7"),
            ("(state.all | first).name ?? 7", "7"),
            ("name(state)", "\"nothing\""),
            ("name({'a': {'name': 'x'}})", "\"x\""),
            ("false ?? 1", "the left side of `??` is a truth value, which is never absent"),
        ] {
            assert_eq!(eval(text).unwrap_or_else(|message| message), wanted, "{text}");
        }
    }

    #[test]
    fn it_binds_tighter_than_operators_and_groups_to_the_right() {
        for (text, wanted) in [
            ("1 + state.best ?? 2", "3"),
            ("-state.best.x ?? 2", "-2"),
            ("state.best ?? -2 ** 2", "4"),
            ("state.best ?? 'a' ~ 'b'", "\"ab\""),
            ("state.best ?? 3 > 2", "true"),
            ("not state.best ?? true", "false"),
            ("1 in state.best ?? [1]", "true"),
            ("state.best ?? none is none", "true"),
            ("state.best ?? 1 if true else 2", "1"),
            ("state.best ?? state.best ?? 3", "3"),
            ("[state.best ?? 1, {'a': state.best ?? 2}]", "[1,{\"a\":2}]"),
        ] {
            assert_eq!(eval(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn a_mixture_with_filters_needs_parentheses() {
        for text in [
            "state.best ?? [] | length",
            "-state.best ?? 1 | abs",
            "state.all | first ?? 1",
            "1 is none ?? 2",
        ] {
            assert!(eval(text).unwrap_err().contains("parentheses"), "{text}");
        }
        for (text, wanted) in [
            ("(state.best ?? []) | length", "0"),
            ("state.best ?? (state.all | length)", "0"),
            ("(state.all | first) ?? 1", "1"),
            ("state.all | sum ~ (state.best ?? 1)", "\"01\""),
        ] {
            assert_eq!(eval(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_not_in_scope_is_an_error_also_on_the_left() {
        for text in [
            "nothing.x ?? 1",
            "steps.other.output ?? 1",
            "steps.other ?? 1",
            "twice(steps.skipped.output) ?? 1",
            "(steps.skipped.output if true else 1) ?? 1",
            "state.best ?? steps.skipped.output",
        ] {
            assert!(eval(text).unwrap_err().contains("is not there"), "{text}: {:?}", eval(text));
        }
    }

    #[test]
    fn the_right_side_is_evaluated_only_if_it_is_needed() {
        assert_eq!(eval("steps.done.output.score ?? 1 / 0").unwrap_err(), "unable to calculate 0 / 0");
        assert_eq!(eval("steps.done.output.score ?? (1 / 0)").as_deref(), Ok("0"));
        assert_eq!(eval("steps.done.output.score ?? steps.skipped.output").as_deref(), Ok("0"));
    }

    #[test]
    fn an_error_names_the_path_that_is_missing() {
        let missing = |text: &str| {
            let error = Expr::parse(text, &Functions::empty()).unwrap().eval(&scope()).unwrap_err();
            error.missing.map(|path| path.len())
        };
        assert_eq!(missing("state.best ?? steps.skipped.output.x.y"), Some(3));
        assert_eq!(missing("steps.done.output.list[7]"), Some(5));
        assert_eq!(missing("nothing.x"), None);
        let template =
            Template::parse("a {{ steps.skipped.output }}", &Functions::empty(), &|_| None).unwrap();
        assert_eq!(template.render_text(&scope()).unwrap_err().missing.map(|path| path.len()), Some(3));
    }

    #[test]
    fn references_tell_what_takes_their_place() {
        let fallbacks = |text: &str| {
            let expr = Expr::parse(text, &Functions::empty()).unwrap();
            let of = |found: &Ref| match found.fallback {
                Fallback::None => format!("{}!", text[found.range.clone()].to_owned()),
                Fallback::Follows => format!("{}?", text[found.range.clone()].to_owned()),
                Fallback::Last => text[found.range.clone()].to_owned(),
            };
            expr.refs().iter().map(of).collect::<Vec<_>>().join(" ")
        };
        for (text, wanted) in [
            ("a ?? b", "a? b"),
            ("a ?? b ?? c", "a? b? c"),
            ("(a ?? b) ?? c", "a? b? c"),
            ("(a ?? b).x ?? c", "a? b? c"),
            ("a.x[i] ?? b", "a.x[i]? i! b"),
            ("a ?? [b, c ?? d]", "a? b c? d"),
            ("[a] ~ (b ?? 1)", "a! b?"),
            ("(a | length) ?? b", "a! b"),
        ] {
            assert_eq!(fallbacks(text), wanted, "{text}");
        }
    }
}
