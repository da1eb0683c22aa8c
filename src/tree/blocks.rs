//! Edits as marked blocks in the text of a model:
//!
//! ```text
//! === FILE: path ===
//! whole content
//! === END FILE ===
//! === DELETE: path ===
//! ```
//! Text around the blocks is ignored. `=== UNCHANGED: path ===` declares that a file is not changed.

use super::edit::Edit;

/// Edits in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedEdits {
    /// Writes and deletions, in order; complete blocks only.
    pub edits: Vec<Edit>,
    /// Path of the first block without an end: the text is truncated there, or another header follows. Such
    /// a text must not be applied.
    pub truncated: Option<String>,
    /// The incomplete last block, if the text ends inside it and is otherwise correct. Usable if the writer
    /// is known to have finished.
    pub rest: Option<Edit>,
    /// Files that are declared as unchanged.
    pub unchanged: Vec<String>,
}

enum Mark<'a> {
    File(&'a str),
    End,
    Delete(&'a str),
    Unchanged(&'a str),
}

/// Parses the blocks in `text`.
pub fn parse(text: &str) -> ParsedEdits {
    let mut parsed = ParsedEdits::default();
    let mut open: Option<(String, Vec<&str>)> = None;
    for line in text.lines() {
        let Some(mark) = mark(line) else {
            if let Some((_, content)) = &mut open {
                content.push(line);
            }
            continue;
        };
        match (mark, open.take()) {
            (Mark::End, Some((path, content))) => {
                parsed.edits.push(Edit::Write { path, content: joined(&content) });
            }
            (Mark::End, None) => {}
            (mark, left) => {
                parsed.leave(left);
                parsed.rest = None;
                match mark {
                    Mark::File(path) => open = Some((path.to_owned(), Vec::new())),
                    Mark::Delete(path) => parsed.edits.push(Edit::Delete { path: path.to_owned() }),
                    Mark::Unchanged(path) => parsed.unchanged.push(path.to_owned()),
                    Mark::End => {}
                }
            }
        }
    }
    parsed.leave(open);
    parsed
}

impl ParsedEdits {
    /// Handles a block without an end line. If its content is one closed code fence, the block is complete;
    /// otherwise the text is truncated.
    fn leave(&mut self, open: Option<(String, Vec<&str>)>) {
        let Some((path, content)) = open else { return };
        match closed_fence(&content) {
            Some(inside) => self.edits.push(Edit::Write { path, content: joined(inside) }),
            None if self.truncated.is_none() => {
                self.truncated = Some(path.clone());
                // A partial end line always means that the text is truncated.
                let last = content.iter().rfind(|line| !line.trim().is_empty());
                let cut = last.is_none_or(|line| line.trim_start().starts_with("==="));
                self.rest = (!cut).then(|| Edit::Write { path, content: joined(&content) });
            }
            None => self.rest = None,
        }
    }
}

/// The content of the code fence that opens on the first line, if exactly one line could close it.
fn closed_fence<'a, 'b>(lines: &'a [&'b str]) -> Option<&'a [&'b str]> {
    let first = lines.iter().position(|line| !line.trim().is_empty())?;
    let ticks = lines[first].trim_start().chars().take_while(|c| *c == '`').count();
    let fence = "`".repeat(ticks);
    let mut ends = (first + 1..lines.len()).filter(|at| lines[*at].trim() == fence);
    let end = ends.next().filter(|_| ticks >= 3 && ends.next().is_none())?;
    lines.get(first + 1..end)
}

fn mark(line: &str) -> Option<Mark<'_>> {
    let inner = line.trim().strip_prefix("===")?.strip_suffix("===")?.trim();
    if inner == "END FILE" {
        return Some(Mark::End);
    }
    let (word, path) = inner.split_once(':')?;
    let path = path.trim().trim_matches('`');
    if path.is_empty() {
        return None;
    }
    match word.trim() {
        "FILE" => Some(Mark::File(path)),
        "DELETE" => Some(Mark::Delete(path)),
        "UNCHANGED" => Some(Mark::Unchanged(path)),
        _ => None,
    }
}

/// The lines as a file that ends in exactly one newline, without a code fence around all of them.
fn joined(lines: &[&str]) -> String {
    let text = unfenced(lines).unwrap_or(lines).join("\n");
    match text.trim_end_matches(['\n', '\r']) {
        "" => String::new(),
        text => format!("{text}\n"),
    }
}

/// The content of a code fence around everything, if no line inside could be its end.
fn unfenced<'a, 'b>(lines: &'a [&'b str]) -> Option<&'a [&'b str]> {
    let blank = |line: &&str| line.trim().is_empty();
    let first = lines.iter().position(|line| !blank(line))?;
    let last = lines.iter().rposition(|line| !blank(line))?;
    let ticks = lines[first].trim_start().chars().take_while(|c| *c == '`').count();
    let fence = "`".repeat(ticks);
    let opens = ticks >= 3 && !lines[first].trim_start()[ticks..].contains('`');
    let inside = lines.get(first + 1..last)?;
    let wraps = opens && lines[last].trim() == fence && !inside.iter().any(|line| line.trim() == fence);
    wraps.then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_fence_ends_a_block_that_has_no_end_line() {
        let text = "=== FILE: a ===\n```python\nprint(1)\n```\n=== FILE: Dockerfile ===\n```Dockerfile\nFROM x\n```\n\nThat is all.";
        let parsed = parse(text);
        assert_eq!(parsed.truncated, None);
        assert_eq!(parsed.edits, [write("a", "print(1)\n"), write("Dockerfile", "FROM x\n")]);
        for cut in ["=== FILE: a ===\n```python\nprint(1)\n", "=== FILE: a ===\nprint(1)\n"] {
            assert_eq!((parse(cut).truncated.as_deref(), parse(cut).edits.len()), (Some("a"), 0));
        }
        let unclear = "=== FILE: a.md ===\n```\nx\n```\ny\n```\nz\n```\n";
        assert_eq!(parse(unclear).truncated.as_deref(), Some("a.md"));
    }

    fn write(path: &str, content: &str) -> Edit {
        Edit::Write { path: path.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn blocks_are_read_and_prose_is_passed_over() {
        let parsed = parse(
            "Sure, here it is:\n\n  === FILE: main.py ===\nprint('=== x ===')\r\n\n\n=== END FILE ===\nand\n\
             === FILE: `a b/run.sh` ===\n#!/bin/sh\n=== END FILE ===\n=== DELETE: old.py ===\n=== UNCHANGED: README.md ===\n\
             === FILE: empty ===\n=== END FILE ===\n=== END FILE ===\nDone.",
        );
        assert_eq!(parsed.truncated, None);
        assert_eq!(parsed.unchanged, ["README.md"]);
        assert_eq!(
            parsed.edits,
            [
                write("main.py", "print('=== x ===')\n"),
                write("a b/run.sh", "#!/bin/sh\n"),
                Edit::Delete { path: "old.py".to_owned() },
                write("empty", ""),
            ]
        );
    }

    #[test]
    fn a_fence_around_all_of_a_file_is_no_part_of_it() {
        let block =
            |content: &str| parse(&format!("=== FILE: x ===\n{content}\n=== END FILE ===")).edits[0].clone();
        assert_eq!(block("```python\nx = 1\n```"), write("x", "x = 1\n"));
        assert_eq!(block("\n````\n```\nx\n```\n````\n"), write("x", "```\nx\n```\n"));
        let two = "```a\n1\n```\ntext\n```b\n2\n```";
        assert_eq!(block(two), write("x", &format!("{two}\n")));
        assert_eq!(block("# doc\n```\nx\n```"), write("x", "# doc\n```\nx\n```\n"));
        assert_eq!(block("```"), write("x", "```\n"));
        assert_eq!(block("```\n```"), write("x", ""));
    }

    #[test]
    fn a_block_without_end_is_truncated() {
        let parsed = parse("=== FILE: a ===\n1\n=== END FILE ===\n=== FILE: b ===\n2\n");
        assert_eq!((parsed.edits.len(), parsed.truncated.as_deref()), (1, Some("b")));
        let parsed = parse("=== FILE: a ===\n1\n=== FILE: b ===\n2\n=== END FILE ===");
        assert_eq!((parsed.edits, parsed.truncated.as_deref()), (vec![write("b", "2\n")], Some("a")));
        let parsed = parse("=== FILE: a ===\n1\n=== END FI");
        assert_eq!((parsed.edits.len(), parsed.truncated.as_deref()), (0, Some("a")));
        assert_eq!(parse("no blocks at all"), ParsedEdits::default());
        let rest = |text: &str| parse(text).rest.map(|edit| edit.path().to_owned());
        let whole = "=== FILE: a ===\n1\n=== END FILE ===\n";
        assert_eq!(rest(&format!("{whole}=== FILE: b ===\n2\n")).as_deref(), Some("b"));
        for cut in ["=== FILE: b ===", "=== FILE: b ===\n2\n=== EN", "=== FILE: b ===\n2\n=== FILE: c ===\n3"]
        {
            assert_eq!(rest(&format!("{whole}{cut}")), None, "{cut}");
        }
    }
}
