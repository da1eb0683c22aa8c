//! Texts with their blocks in place: a text file may extend another one, also the one that it hides.

use std::ops::Range;
use std::sync::Arc;

use super::sources::library_path;
use super::texts::Texts;
use crate::diag::{self, Code, Diagnostic, SourceId, Span};
use crate::expr::{Fault, FaultKind, Layout, Segment, expand, has_blocks, layout};

/// The most files that extend each other.
const MOST_FILES: usize = 64;

/// Where the pieces of a text that is put together come from.
pub(super) struct Expansion {
    files: Vec<SourceId>,
    segments: Vec<Segment>,
}

impl Expansion {
    /// The place in the file where its author wrote what stands at `span` of the text.
    pub(super) fn place(&self, span: Span, sources: &diag::SourceMap) -> Span {
        let Some((start, first)) = self.at(span.start) else { return span };
        let from = |segment: &Segment, begin: usize, at: usize| {
            let length = segment.range.end - segment.range.start;
            if length == segment.length {
                segment.range.start + (at - begin).min(length)
            } else {
                segment.range.start
            }
        };
        let begin = from(first, start, span.start);
        let end = match self.at(span.end.saturating_sub(1).max(span.start)) {
            Some((start, last)) if last.file == first.file && last.range.start >= first.range.start => {
                let length = last.range.end - last.range.start;
                if length == last.length {
                    last.range.start + (span.end - start).min(length)
                } else {
                    last.range.end
                }
            }
            _ => first.range.end,
        };
        sources.span(self.files[first.file], begin..end.max(begin))
    }

    /// The segment in which the byte `at` is, and where it begins.
    fn at(&self, at: usize) -> Option<(usize, &Segment)> {
        let mut begin = 0;
        for segment in &self.segments {
            if at < begin + segment.length {
                return Some((begin, segment));
            }
            begin += segment.length;
        }
        self.segments.last().map(|last| (begin - last.length, last))
    }
}

/// A file that takes part in an extension.
struct Part {
    path: String,
    id: SourceId,
    text: Arc<str>,
    layout: Layout,
}

impl Texts<'_> {
    /// The text at `path` with its blocks in place, `None` where there is none.
    pub(super) fn expanded_text(&self, path: &str) -> Result<Option<SourceId>, Diagnostic> {
        if let Some(id) = self.read.borrow().expanded.get(path) {
            return Ok(Some(*id));
        }
        let Some(id) = self.read(path)? else { return Ok(None) };
        if !has_blocks(&self.text(id)) {
            return Ok(Some(id));
        }
        let id = self.expanded(path, id)?;
        self.read.borrow_mut().expanded.insert(path.to_owned(), id);
        Ok(Some(id))
    }

    /// The text of an include, with its blocks in place.
    pub(super) fn include(&self, path: &str) -> Option<Arc<str>> {
        match self.expanded_text(path) {
            Ok(id) => id.map(|id| self.text(id)),
            Err(complaint) => {
                self.read.borrow_mut().complaints.push(complaint);
                Some(Arc::from(""))
            }
        }
    }

    fn expanded(&self, path: &str, id: SourceId) -> Result<SourceId, Diagnostic> {
        let mut parts: Vec<Part> = Vec::new();
        let mut next = Some((path.to_owned(), id));
        while let Some((path, id)) = next.take() {
            let text = self.text(id);
            let layout = layout(&text).map_err(|fault| self.wrong(id, &fault))?;
            // A file that is extended may be without blocks; a single one is then what it is.
            let Some(layout) = layout.or_else(|| (!parts.is_empty()).then(Layout::default)) else {
                return Ok(id);
            };
            if let Some(base) = &layout.extends {
                let at = self.with(|sources| sources.span(id, base.range.clone()));
                let found = self.base(&path, &base.text, at)?;
                let again = parts.iter().any(|part| part.path == found.0) || found.0 == path;
                if again || parts.len() >= MOST_FILES {
                    let complaint = Diagnostic::new(Code::ExtendsCycle, format!("`{path}` extends itself"));
                    return Err(complaint.at(at, "").help("let one of the files stand on its own"));
                }
                next = Some(found);
            }
            parts.push(Part { path, id, text, layout });
        }
        let files: Vec<(&str, &Layout)> = parts.iter().map(|part| (&*part.text, &part.layout)).collect();
        let (text, segments) = expand(&files).map_err(|(file, fault)| self.wrong(parts[file].id, &fault))?;
        let mut read = self.read.borrow_mut();
        let name = read.sources.get(id).name.clone();
        let made = read.sources.add(name, text);
        let files = parts.iter().map(|part| part.id).collect();
        read.expansions.insert(made, Expansion { files, segments });
        Ok(made)
    }

    /// The file that the one at `own` extends, named at `at`.
    fn base(&self, own: &str, name: &str, at: Span) -> Result<(String, SourceId), Diagnostic> {
        if !library_path(name).starts_with("prompts/") {
            let complaint =
                Diagnostic::new(Code::TextMissing, format!("`{name}` is not below `prompts`")).at(at, "");
            return Err(complaint.help("name one: `{% extends \"builtin/prompts/factory/system.md\" %}`"));
        }
        if library_path(own) == name {
            return self.below(own)?.ok_or_else(|| {
                let message = format!("`{name}` extends itself, and there is no other file of this name");
                let complaint = Diagnostic::new(Code::ExtendsCycle, message).at(at, "hides no other file");
                complaint.help("a text of the project may extend the one that it hides")
            });
        }
        let id = self.read(name).map_err(|complaint| complaint.at(at, ""))?;
        let missing = || self.missing(format!("there is no file `{name}`"), name, Some(at));
        id.map(|id| (name.to_owned(), id)).ok_or_else(missing)
    }

    fn wrong(&self, id: SourceId, fault: &Fault) -> Diagnostic {
        let code =
            if fault.kind == FaultKind::UnknownName { Code::UnknownName } else { Code::TemplateSyntax };
        let range: Range<usize> = fault.range.clone();
        let span = self.with(|sources| sources.span(id, range));
        let help = fault.help.clone();
        let help = help.unwrap_or_else(|| "write `{% block NAME %}…{% endblock %}`".to_owned());
        Diagnostic::new(code, fault.message.clone()).at(span, "").help(help)
    }
}
