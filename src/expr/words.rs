//! Words of the language, and what is said to those who bring words of another.

use std::ops::Range;

use super::ast::{Kind, Node};
use super::fault::{Fault, FaultKind};

const KEYWORDS: [&str; 8] = ["and", "or", "not", "in", "is", "if", "else", "for"];

/// Whether `word` is one of the grammar's own.
pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// What a word that is a literal stands for.
pub(super) fn constant(word: &str) -> Option<Kind> {
    Some(match word {
        "true" | "True" => Kind::Bool(true),
        "false" | "False" => Kind::Bool(false),
        "none" | "None" | "null" => Kind::None,
        _ => return None,
    })
}

pub(super) fn syntax(range: Range<usize>, message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Syntax, range, message)
}

/// Names that only the printer uses.
pub(super) fn reserved(name: &str, span: &Range<usize>) -> Result<(), Fault> {
    if name.starts_with("__") {
        return Err(syntax(span.clone(), "a name cannot begin with two underscores"));
    }
    Ok(())
}

/// The fault of calling anything but a function, with the way to write it here.
pub(super) fn not_callable(node: &Node, at: Range<usize>) -> Fault {
    let Kind::Key { key, key_span, .. } = &node.kind else {
        return syntax(at, "only functions can be called");
    };
    let fault = syntax(key_span.clone(), format!("values have no methods, so `{key}` cannot be called"));
    let help = match key.as_str() {
        "get" => "write `table['key'] | default(…)`".to_owned(),
        "keys" => "iterate the object itself, or write `| list`".to_owned(),
        "append" => "write `list + [item]`".to_owned(),
        "strip" => "write `| trim`".to_owned(),
        "startswith" => "write `is startingwith('…')`".to_owned(),
        "endswith" => "write `is endingwith('…')`".to_owned(),
        _ => format!("if it is a filter write `| {key}`"),
    };
    fault.help(help)
}
