//! Diagnostics about files that a step reads, as text.

use crate::diag::{Diagnostic, SourceMap};

/// `file:line:column: error[E0701]: what is wrong`, with the help on a line of its own.
pub(super) fn render(complaint: &Diagnostic, sources: &SourceMap) -> String {
    let place = complaint.span().map_or_else(String::new, |span| {
        let position = sources.position(span.source, span.start);
        format!("{}:{}:{}: ", sources.get(span.source).name, position.line, position.column)
    });
    let help = complaint.help.as_ref().map_or_else(String::new, |help| format!("\n  help: {help}"));
    format!("{place}{}[{}]: {}{help}", complaint.severity.word(), complaint.code, complaint.message)
}
