use std::collections::HashMap;

use crate::diag::{Code, Diagnostic, SourceId, SourceMap, Span};

struct Heading<'t> {
    level: usize,
    text: &'t str,
    span: Span,
    /// Whether there is text before the next heading.
    filled: bool,
}

/// Checks a specification in Markdown and adds it to the sources.
pub fn spec(sources: &mut SourceMap, name: String, text: String) -> Vec<Diagnostic> {
    let source = sources.add(name, text);
    let sources = &*sources;
    let mut found = Vec::new();
    let text = &sources.get(source).text;
    let start = sources.span(source, 0..0);
    if text.trim().is_empty() {
        found.push(Diagnostic::new(Code::SpecEmpty, "the specification is empty").at(start, ""));
        return found;
    }
    let (headings, open) = headings(sources, source);
    if let Some(title) = headings.iter().position(|heading| heading.level == 1) {
        review(&headings, title, &mut found);
    } else {
        found.push(
            Diagnostic::new(Code::SpecTitle, "the specification has no title")
                .at(start, "")
                .help("begin the file with `# NAME`"),
        );
    }
    if let Some(open) = open {
        found.push(Diagnostic::new(Code::SpecFence, "this code block is not closed").at(open, ""));
    }
    found
}

fn headings(sources: &SourceMap, source: SourceId) -> (Vec<Heading<'_>>, Option<Span>) {
    let text = &sources.get(source).text;
    let mut headings: Vec<Heading<'_>> = Vec::new();
    let mut fence: Option<(&str, Span)> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let span = sources.span(source, start..start + line.trim_end().len());
        start += line.len();
        let trimmed = line.trim();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (&fence, mark) {
            (None, Some(mark)) => fence = Some((mark, span)),
            (Some((open, _)), Some(mark)) if *open == mark => fence = None,
            _ => {}
        }
        let level = trimmed.chars().take_while(|c| *c == '#').count();
        let is_heading = fence.is_none()
            && (1..=6).contains(&level)
            && trimmed[level..].chars().next().is_none_or(char::is_whitespace);
        if is_heading {
            let text = trimmed[level..].trim().trim_end_matches('#').trim();
            headings.push(Heading { level, text, span, filled: false });
        } else if let Some(heading) = headings.last_mut() {
            heading.filled |= !trimmed.is_empty();
        }
    }
    (headings, fence.map(|(_, span)| span))
}

fn review(headings: &[Heading<'_>], title: usize, found: &mut Vec<Diagnostic>) {
    if !headings[title].filled {
        found.push(
            Diagnostic::new(
                Code::SpecSummary,
                "there is no summary under the title: write what the software is for",
            )
            .at(headings[title].span, ""),
        );
    }
    let mut seen: HashMap<(usize, &str), Span> = HashMap::new();
    for (at, heading) in headings.iter().enumerate() {
        let has_sections = headings.get(at + 1).is_some_and(|next| next.level > heading.level);
        if at != title && !heading.filled && !has_sections {
            let message = format!("the section `{}` is empty", heading.text);
            found.push(Diagnostic::new(Code::SpecSection, message).at(heading.span, ""));
        }
        if let Some(first) = seen.get(&(heading.level, heading.text)) {
            let message = format!("there is another section `{}`", heading.text);
            found.push(
                Diagnostic::new(Code::SpecTwice, message).at(heading.span, "").at(*first, "the first one"),
            );
        } else {
            seen.insert((heading.level, heading.text), heading.span);
        }
    }
}
