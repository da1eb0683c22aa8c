//! Diagnostics about what an author wrote: with codes and spans, many at once, as plain data. It must not
//! depend on terminals or colours: `report/` renders. Start with [`Diagnostic`]; every code is in `code.rs`
//! with its explanation.

mod code;
mod nearest;
mod source;

pub use code::Code;
pub use nearest::{listed, nearest};
pub use source::{Position, SourceId, SourceMap, SourceText, Span};

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be run.
    Error,
    /// The file can be run, but is probably wrong.
    Warning,
    /// The file is correct; `check` prints it as information, and a run does not.
    Note,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A span and a text about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Position in a text.
    pub span: Span,
    /// Text about it; may be empty.
    pub text: String,
}

/// An error, a warning or a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Kind of diagnostic.
    pub code: Code,
    /// Severity of the diagnostic.
    pub severity: Severity,
    /// Message: lower case, no full stop.
    pub message: String,
    /// Spans: the wrong text first, then others that explain it.
    pub labels: Vec<Label>,
    /// Advice what to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic of kind `code`, with the severity of the code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), message: message.into(), labels: Vec::new(), help: None }
    }

    /// Adds `span`. The first call sets the primary span.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Sets the help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Suggests the nearest of `known`, or lists them if there are only a few.
    #[must_use]
    pub fn suggest<'a>(mut self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        const FEW: usize = 24;
        let mut known = known.into_iter();
        let first: Vec<&str> = known.by_ref().take(FEW + 1).collect();
        self.help = nearest(word, first.iter().copied().chain(known))
            .map(|near| format!("did you mean `{near}`?"))
            .or_else(|| {
                (!first.is_empty() && first.len() <= FEW).then(|| format!("known here: {}", first.join(", ")))
            });
        self
    }

    /// The primary span.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }
}
