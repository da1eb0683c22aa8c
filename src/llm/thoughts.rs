//! Removes thoughts that a server leaves in an answer.

use std::borrow::Cow;

/// Start and end marks of thoughts.
const MARKS: [(&str, &str); 13] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought", "<channel|>"),
    ("<unused94>thought", "<unused95>"),
    ("<|channel|>analysis", "<|end|>"),
    ("<|channel|>commentary", "<|end|>"),
];
/// End marks that a server may leave in an answer.
const ENDS: [&str; 8] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|return|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
];
/// Most bytes of attributes of a mark.
const MOST_ATTRIBUTES: usize = 200;
/// Marks between thoughts and answer, and after the answer.
const AROUND: [&str; 8] = [
    "<|start|>assistant",
    "<|channel|>final<|message|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|begin_of_solution|>",
    "<|end_of_solution|>",
    "<|return|>",
    "<|end|>",
];

/// `text` without thoughts. They begin on a separate line, outside code fences and blocks `=== FILE: …
/// ===`. Thoughts without an end mark extend to the end of the text, if there is no text before them. If
/// there is an end mark without a start mark (because a chat template puts the start mark into the prompt),
/// everything before it is a thought. Marks that look like tags may have attributes.
pub fn without_thoughts(text: &str) -> Cow<'_, str> {
    if !MARKS.iter().any(|(open, close)| has(text, open) || has(text, close)) {
        return Cow::Borrowed(text);
    }
    let mut said = String::new();
    let mut rest = text;
    let mut place = LineContext::default();
    while !rest.is_empty() {
        let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        let head = line.trim_start();
        if !place.is_quoted() {
            // The line may begin with a channel mark.
            let head = AROUND.iter().find_map(|mark| head.strip_prefix(mark)).unwrap_or(head);
            if let Some((length, close)) =
                MARKS.iter().find_map(|(open, close)| Some((begins(head, open)?, close)))
            {
                let inside = &rest[line.len() - head.len() + length..];
                match find(inside, close) {
                    Some((at, length)) => rest = &inside[at + length..],
                    None if said.trim().is_empty() => rest = "",
                    None => {
                        said.push_str(line);
                        rest = after;
                    }
                }
                continue;
            }
            if let Some(end) = closing(line) {
                said.clear();
                rest = &rest[end..];
                continue;
            }
        }
        place.pass(line);
        said.push_str(line);
        rest = after;
    }
    Cow::Owned(bare(&said).to_owned())
}

/// Context of a line that is inside a fence or file block.
#[derive(Default)]
struct LineContext {
    file: bool,
    fence: bool,
}

impl LineContext {
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

/// `text` without chat template marks at its end.
pub fn without_end(mut text: &str) -> &str {
    while let Some(rest) = ENDS.iter().find_map(|mark| text.trim_end().strip_suffix(mark)) {
        text = rest;
    }
    text.trim_end()
}

/// Whether `text` contains a mark of thoughts or of a chat template.
pub fn has_marks(text: &str) -> bool {
    text.contains("<|")
        || text.contains("|>")
        || MARKS.iter().any(|(open, close)| has(text, open) || has(text, close))
}

/// End position of an end mark at the beginning or the end of `line`.
fn closing(line: &str) -> Option<usize> {
    let (head, tail) = (line.len() - line.trim_start().len(), line.trim_end().len());
    MARKS.iter().filter(|(_, close)| *close != "<|end|>").find_map(|(_, close)| {
        if let Some(length) = begins(&line[head..], close) {
            return Some(head + length);
        }
        let (mut from, mut last) = (0, None);
        while let Some((at, length)) = find(&line[from..], close) {
            from += at + length;
            last = Some(from);
        }
        last.filter(|end| *end == tail)
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

/// Length of `mark` at the beginning of `text`. A tag may have attributes.
fn begins(text: &str, mark: &str) -> Option<usize> {
    if text.get(..mark.len()).is_some_and(|head| head.eq_ignore_ascii_case(mark)) {
        return Some(mark.len());
    }
    let name = mark.strip_suffix('>').filter(|name| !name.contains('|'))?;
    let rest =
        text.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name)).map(|_| &text[name.len()..])?;
    let end =
        rest.find(['>', '<', '\n']).filter(|end| *end <= MOST_ATTRIBUTES && rest[*end..].starts_with('>'))?;
    rest.starts_with([' ', '\t', '/']).then_some(name.len() + end + 1)
}

fn has(text: &str, mark: &str) -> bool {
    find(text, mark).is_some()
}

/// First position and length of `mark`.
fn find(text: &str, mark: &str) -> Option<(usize, usize)> {
    let first = mark.chars().next()?;
    text.match_indices(first).find_map(|(at, _)| Some((at, begins(&text[at..], mark)?)))
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
            ("<think budget=\"5\">hm</think >hello", "hello"),
            (
                "<|begin_of_thought|>hm<|end_of_thought|>\n<|begin_of_solution|>hello<|end_of_solution|>",
                "hello",
            ),
            ("<|channel>thought\nhm\n<channel|>hello", "hello"),
            ("<unused94>thought\nhm<unused95>hello", "hello"),
            (
                "<|channel|>commentary<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>hello",
                "hello",
            ),
            ("<|start|>assistant<|channel|>analysis<|message|>hm<|end|>hello", "hello"),
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
            "<thinker>hello</thinker>",
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
