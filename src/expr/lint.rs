//! What is wrong with an expression whatever the scope says.

use super::ast::{Kind, Node, Op};
use super::call;
use super::fault::{Fault, FaultKind};
use super::functions::Functions;

/// All faults of `node` and what is below it.
pub(super) fn faults(node: &Node, functions: &Functions) -> Vec<Fault> {
    let mut found = Vec::new();
    visit(node, functions, &mut found);
    found.dedup();
    found
}

fn visit(node: &Node, functions: &Functions, found: &mut Vec<Fault>) {
    node.children().into_iter().for_each(|child| visit(child, functions, found));
    found.extend(call::resolve(node, functions).err());
    match &node.kind {
        Kind::Binary { op, left, right } if op.level() == 4 => {
            found.extend(comparison(node, *op, left, right));
        }
        Kind::Coalesce { left, .. } => {
            found.extend(literal(left).filter(|noun| *noun != "none").map(|noun| {
                let message = format!("the left side of `??` is {noun}, which is never absent");
                Fault::new(FaultKind::Mixed, left.span.clone(), message).help("remove the `??`")
            }));
        }
        Kind::Binary { op, left, right } if !matches!(op, Op::And | Op::Or | Op::Concat) => {
            found.extend(arithmetic(node, *op, left, right));
        }
        _ => {}
    }
}

/// Whether it is written as it is: what is wrong with it is found here.
pub(super) fn is_literal(node: &Node) -> bool {
    literal(node).is_some()
}

/// What a literal is, in the words of messages.
fn literal(node: &Node) -> Option<&'static str> {
    Some(match &node.kind {
        Kind::Bool(_) => "a truth value",
        Kind::Int(_) | Kind::Big(_) | Kind::Float(_) => "a number",
        Kind::Neg(inner) => literal(inner)?,
        Kind::Text(_) => "text",
        Kind::List(_) => "a list",
        Kind::Table(_) => "an object",
        Kind::None => "none",
        _ => return None,
    })
}

fn comparison(node: &Node, op: Op, left: &Node, right: &Node) -> Option<Fault> {
    let mixed = |message: String| Some(Fault::new(FaultKind::Mixed, node.span.clone(), message));
    let (left, right) = (literal(left), literal(right));
    match op {
        Op::In | Op::NotIn => match right? {
            noun @ ("a number" | "a truth value" | "none") => mixed(format!("nothing is `in` {noun}")),
            _ => None,
        },
        Op::Eq | Op::Ne => match (left?, right?) {
            (a, b) if a != b && a != "none" && b != "none" => mixed(format!("{a} is never equal to {b}")),
            _ => None,
        },
        _ => {
            if let Some(noun) =
                [left, right].into_iter().flatten().find(|noun| !matches!(*noun, "a number" | "text"))
            {
                return mixed(format!("`{}` orders numbers or texts, this is {noun}", op.sign()));
            }
            match (left?, right?) {
                (a, b) if a != b => mixed(format!("cannot compare {a} with {b}")),
                _ => None,
            }
        }
    }
}

fn arithmetic(node: &Node, op: Op, left: &Node, right: &Node) -> Option<Fault> {
    let mixed = |message: String| Some(Fault::new(FaultKind::Mixed, node.span.clone(), message));
    let (left, right) = (literal(left), literal(right));
    if op == Op::Add {
        return match (left?, right?) {
            (a, b) if a != b => {
                mixed(format!("cannot add {a} and {b}")).map(|fault| fault.help("join text with `~`"))
            }
            _ => None,
        };
    }
    let noun = [left, right].into_iter().flatten().find(|noun| *noun != "a number")?;
    mixed(format!("`{}` calculates with numbers, this is {noun}", op.sign()))
}
