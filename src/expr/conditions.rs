//! What is said about conditions: any value is one, and some are never meant as one.

use super::ast::{Kind, Node};
use super::fault::FaultKind;
use super::infer::Infer;
use super::shape::Shape;

impl Infer<'_> {
    /// A part of an expression that is asked whether it is true.
    pub(super) fn condition(&mut self, node: &Node) -> Shape {
        let shape = self.node(node);
        if let Some(truth) = written_out(node) {
            let help = "compare it: `… == 'text'`; for a value in place of a missing one, write `a ?? b`";
            self.complain(FaultKind::Constant, &node.span, format!("this is always {truth}"), help);
        }
        self.ask_zero(node);
        shape
    }

    /// Warns about a number for which 0 and absent are the same.
    pub(super) fn ask_zero(&mut self, node: &Node) {
        let Some(path) = self.path_of(node).filter(|path| self.names.may_be_zero_or_none(path)) else {
            return;
        };
        let path = super::refs::spelled(&path);
        let message = format!("`{path}` counts as false if it is 0, as if it were not given");
        let help = format!("ask whether it was given: `{path} is not none`");
        self.complain(FaultKind::Zero, &node.span, message, &help);
    }
}

/// The truth of a value that is written out. `true` and `false` are meant as they are.
fn written_out(node: &Node) -> Option<bool> {
    Some(match &node.kind {
        Kind::None => false,
        Kind::Int(whole) => *whole != 0,
        Kind::Big(_) => true,
        Kind::Float(number) => *number != 0.0,
        Kind::Text(text) => !text.is_empty(),
        Kind::List(items) => !items.is_empty(),
        Kind::Table(entries) => !entries.is_empty(),
        Kind::Neg(inner) => written_out(inner)?,
        _ => return None,
    })
}
