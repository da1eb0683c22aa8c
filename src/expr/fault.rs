//! What can be wrong with an expression: at load (`Fault`), and while it is evaluated (`EvalError`).

use std::ops::Range;
use std::sync::Arc;

use super::refs::Step;

/// Which family a [`Fault`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The text is not an expression or a template.
    Syntax,
    /// A filter that does not exist.
    UnknownFilter,
    /// A test (`is …`) that does not exist.
    UnknownTest,
    /// A function that does not exist.
    UnknownFunction,
    /// A name that can never be in scope here: the body of a function sees its arguments only.
    UnknownName,
    /// Too few, too many or misnamed arguments.
    Arity,
    /// A tag that templates do not have.
    UnknownTag,
    /// An include that is not there, or that includes itself.
    Include,
    /// A literal compared with a literal of another type.
    Mixed,
    /// A field that a value never has.
    Field,
    /// Something that is one of a few words, compared with another word.
    OtherWord,
    /// A condition that is written out, so that it is always true or always false.
    Constant,
    /// A condition that is a number for which 0 and absent are the same.
    Zero,
    /// A name that hides another one in scope.
    Hidden,
    /// Functions that call each other in a circle.
    Cycle,
}

/// A problem found while an expression or a template is loaded: the author's to repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The family.
    pub kind: FaultKind,
    /// The include the problem lies in; `None` is the text that was given.
    pub file: Option<Arc<str>>,
    /// Bytes of that text.
    pub range: Range<usize>,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    pub(super) fn new(kind: FaultKind, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind, file: None, range, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// An expression that could not be evaluated with the values it met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (in `{text}`)")]
pub struct EvalError {
    /// What happened: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The expression, shortened if it is long.
    pub text: String,
    /// The path up to the first part that is missing, if that is the reason.
    pub missing: Option<Box<[Step]>>,
}

impl EvalError {
    pub(super) fn new(text: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { message: message.into(), hint, text: shorten(text), missing: None }
    }
}

/// At most 120 characters of `text`, on one line.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 120;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
