//! Thoughts that a server leaves inside an answer: never part of what a model says.

use std::borrow::Cow;

/// How models mark their thoughts: the mark before and the one after them.
const MARKS: [(&str, &str); 9] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
];
/// What may stand between thoughts and answer, and after the answer.
const AROUND: [&str; 6] = [
    "<|start|>assistant",
    "<|channel|>final<|message|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|return|>",
    "<|end|>",
];

/// `text` without thoughts. They begin on a line of their own, outside of code fences and of blocks `=== FILE: … ===`.
/// Thoughts without an end reach to the end, if nothing is said before them. A mark that ends thoughts which nothing began
/// (a chat template put the first mark into the prompt) makes everything before it a thought.
pub fn without_thoughts(text: &str) -> Cow<'_, str> {
    if !MARKS.iter().any(|(open, close)| has(text, open) || has(text, close)) {
        return Cow::Borrowed(text);
    }
    let mut said = String::new();
    let mut rest = text;
    let mut place = Place::default();
    while !rest.is_empty() {
        let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        let head = line.trim_start();
        if !place.is_quoted() {
            if let Some((open, close)) = MARKS.iter().find(|(open, _)| begins(head, open)) {
                let inside = &rest[line.len() - head.len() + open.len()..];
                match find(inside, close) {
                    Some(at) => rest = &inside[at + close.len()..],
                    None if said.trim().is_empty() => rest = "",
                    None => {
                        said.push_str(line);
                        rest = after;
                    }
                }
                continue;
            }
            if let Some((at, close)) = closing(line) {
                said.clear();
                rest = &rest[at + close.len()..];
                continue;
            }
        }
        place.pass(line);
        said.push_str(line);
        rest = after;
    }
    Cow::Owned(bare(&said).to_owned())
}

/// Where a line is that is not the text's own words.
#[derive(Default)]
struct Place {
    file: bool,
    fence: bool,
}

impl Place {
    fn is_quoted(&self) -> bool {
        self.file || self.fence
    }

    fn pass(&mut self, line: &str) {
        let line = line.trim();
        match line.strip_prefix("===").and_then(|line| line.strip_suffix("===")) {
            Some(mark) => self.file = mark.trim().starts_with("FILE:"),
            None if line.starts_with("```") && !self.file => self.fence = !self.fence,
            None => {}
        }
    }
}

/// A mark at the beginning or the end of `line` that ends thoughts.
fn closing(line: &str) -> Option<(usize, &'static str)> {
    let (head, tail) = (line.len() - line.trim_start().len(), line.trim_end().len());
    MARKS.iter().filter(|(_, close)| *close != "<|end|>").find_map(|(_, close)| {
        if begins(&line[head..], close) {
            return Some((head, *close));
        }
        let at = tail.checked_sub(close.len()).filter(|at| line.is_char_boundary(*at))?;
        begins(&line[at..], close).then_some((at, *close))
    })
}

fn bare(mut text: &str) -> &str {
    text = text.trim();
    while let Some(rest) = AROUND.iter().find_map(|mark| text.strip_prefix(mark)) {
        text = rest.trim_start();
    }
    while let Some(rest) = AROUND.iter().find_map(|mark| text.strip_suffix(mark)) {
        text = rest.trim_end();
    }
    text
}

fn begins(text: &str, mark: &str) -> bool {
    text.get(..mark.len()).is_some_and(|head| head.eq_ignore_ascii_case(mark))
}

fn has(text: &str, mark: &str) -> bool {
    find(text, mark).is_some()
}

fn find(text: &str, mark: &str) -> Option<usize> {
    let first = mark.chars().next()?;
    text.match_indices(first).map(|(at, _)| at).find(|at| begins(&text[*at..], mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_no_part_of_what_is_said() {
        for (text, said) in [
            ("<think>The word banana.</think>\n\nhello", "hello"),
            ("\n <Thinking>\na\nb\n</THINKING>hello\n", "hello"),
            ("[THINK]hm[/THINK]hello", "hello"),
            ("◁think▷hm◁/think▷hello", "hello"),
            (
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>hello<|return|>",
                "hello",
            ),
            ("what is it? A greeting.\n</think>\n\nhello", "hello"),
            ("A greeting.</think>\nhello", "hello"),
            ("<think>one</think>\n<think>two</think>\nhello", "hello"),
            ("<think>They wrote </think> in it.\nHm.\n</think>\nhello", "hello"),
            ("Sure.\n<think>\nhm\n</think>\nhello", "Sure.\n\nhello"),
            ("<think>cut", ""),
        ] {
            assert_eq!(without_thoughts(text), said, "{text}");
        }
    }

    #[test]
    fn words_about_thoughts_are_no_thoughts() {
        for text in [
            "hello",
            "The tag <think> begins and </think> ends it, says the page.",
            "```\n<think>\nx\n</think>\n```\nThat is how it looks.",
            "=== FILE: a.md ===\n<think>\n</think>\n=== END FILE ===",
            "{\"a\": \"</think>\"}",
            "Open it with\n<think>\nand go on.",
        ] {
            assert_eq!(without_thoughts(text).trim(), text);
        }
    }

    #[test]
    fn files_inside_thoughts_are_gone_and_files_about_thoughts_stay() {
        let draft = "=== FILE: junk.py ===\nboom\n=== END FILE ===\n";
        let file = "=== FILE: main.py ===\nx\n</think>\n=== END FILE ===";
        for text in
            [format!("<think>\n{draft}No.\n</think>\n{file}"), format!("{draft}No.\n</think>\n{file}")]
        {
            assert_eq!(without_thoughts(&text), file);
        }
    }
}
