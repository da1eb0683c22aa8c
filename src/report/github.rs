//! Workflow commands of GitHub Actions.

use std::fmt::Write as _;

use crate::visible;

/// An annotation at a line of a file.
pub struct Annotation<'a> {
    /// `error`, `warning` or `notice`.
    pub severity: &'a str,
    /// Title in a few words.
    pub title: String,
    /// Position in a file.
    pub place: Option<FileLines>,
    /// Message of the annotation.
    pub message: String,
    /// Message in one line, for the combined annotation.
    pub brief: String,
}

/// Lines of a file, and columns if known.
#[derive(Clone, Debug)]
pub struct FileLines {
    /// Path of the file.
    pub file: String,
    /// First line, from 1.
    pub line: usize,
    /// Last line.
    pub end_line: usize,
    /// First column and the one after the last, from 1.
    pub columns: Option<(usize, usize)>,
}

impl FileLines {
    /// A whole line.
    pub fn line(file: &str, line: usize) -> Self {
        Self { file: file.to_owned(), line, end_line: line, columns: None }
    }
}

/// GitHub shows ten errors, ten warnings and ten notices of a step: the tenth combines all further ones.
pub fn render(annotations: &[Annotation<'_>]) -> String {
    const MOST: usize = 10;
    let mut all = String::new();
    for severity in ["error", "warning", "notice"] {
        let of: Vec<&Annotation<'_>> = annotations.iter().filter(|a| a.severity == severity).collect();
        let single = if of.len() > MOST { MOST - 1 } else { of.len() };
        for annotation in &of[..single] {
            all.push_str(&command(annotation, &annotation.message));
        }
        if let Some(next) = of.get(single) {
            let mut message = format!("and {} more:", of.len() - single);
            for annotation in &of[single..] {
                let _ = write!(message, "\n{}", annotation.brief);
            }
            all.push_str(&command(next, &message));
        }
    }
    all
}

fn command(annotation: &Annotation<'_>, message: &str) -> String {
    let mut properties = vec![format!("title={}", property(&annotation.title))];
    if let Some(place) = &annotation.place {
        properties.push(format!("file={}", property(&place.file)));
        properties.push(format!("line={}", place.line));
        properties.push(format!("endLine={}", place.end_line));
        if let Some((first, behind)) = place.columns {
            properties.push(format!("col={first}"));
            properties.push(format!("endColumn={behind}"));
        }
    }
    format!("::{} {}::{}\n", annotation.severity, properties.join(","), escape(message))
}

fn escape(text: &str) -> String {
    visible::escape(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}
