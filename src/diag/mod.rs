//! Complaints about what an author wrote: coded, with spans, many at once, as plain data.
//! It must never know terminals or colours: `report/` renders.
//! Start with [`Diagnostic`]; every code stands in `code.rs` with its explanation.

mod code;
mod nearest;
mod source;

pub use code::Code;
pub use nearest::{listed, nearest};
pub use source::{Position, SourceId, SourceMap, SourceText, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Cannot be run.
    Error,
    /// Can be run, but is most likely not meant.
    Warning,
    /// Is meant, but good to know; `check` says it, and a run does not.
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

/// A place and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is said about it; may be empty.
    pub text: String,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// The offending text first, then other places that explain it.
    pub labels: Vec<Label>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A complaint of kind `code`, with the severity that the code has.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), message: message.into(), labels: Vec::new(), help: None }
    }

    /// Points at `span`. The first call sets the primary place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says `did you mean …` where one of `known` is near `word`, else lists them where they are few.
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

    /// The primary place.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }
}
