use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use serde_json::json;
use vt100::{Callbacks, Cell, Color, Parser, Screen};

use super::charset::Charset;
use crate::scenario::ports::TerminalSize;
use crate::value::Value;

/// Most bytes without a control byte. A longer escape sequence is aborted, because the parser keeps it in
/// memory until it ends.
const STRETCH: usize = 1 << 20;

/// Longest title, in bytes.
const TITLE: usize = 1 << 10;

/// Most bytes of answers that are waiting to be sent.
const REPLIES: usize = 4 << 10;

/// A terminal emulator: receives the output of a program, and returns what a person would see.
pub struct Emulator {
    parser: Parser<Attributes>,
    charset: Charset,
    stretch: usize,
}

/// Ranges of bytes.
type Ranges = Vec<(usize, usize)>;

/// Finds text that must not be shown.
pub struct Hiding<'a> {
    /// Ranges in a text.
    pub in_text: &'a dyn Fn(&str) -> Ranges,
    /// Ranges in the rows of a screen. The line breaks at the given positions are line wraps.
    pub on_screen: &'a dyn Fn(&str, &[usize]) -> Ranges,
}

/// Cells by row and column.
type Cells = BTreeMap<(u16, u16), Torn>;

/// State of the terminal other than the screen.
#[derive(Default)]
struct Attributes {
    title: String,
    replies: Vec<u8>,
}

impl Callbacks for Attributes {
    fn set_window_title(&mut self, _: &mut Screen, title: &[u8]) {
        self.title = String::from_utf8_lossy(&title[..title.len().min(TITLE)]).into_owned();
    }

    /// Answers queries about the type and status of the terminal and its cursor position, for which
    /// programs wait.
    fn unhandled_csi(
        &mut self,
        screen: &mut Screen,
        first: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        letter: char,
    ) {
        let parameter = parameters.first().and_then(|values| values.first()).copied().unwrap_or(0);
        let reply = match (first, letter, parameter) {
            (None, 'c', 0) => "\x1b[?62;22c".to_owned(),
            (Some(b'>'), 'c', 0) => "\x1b[>1;0;0c".to_owned(),
            (None, 'n', 5) => "\x1b[0n".to_owned(),
            (None, 'n', 6) => {
                let (row, column) = screen.cursor_position();
                format!("\x1b[{};{}R", row + 1, column + 1)
            }
            (None, 't', 18) => {
                let (rows, columns) = screen.size();
                format!("\x1b[8;{rows};{columns}t")
            }
            _ => return,
        };
        if self.replies.len() + reply.len() <= REPLIES {
            self.replies.extend_from_slice(reply.as_bytes());
        }
    }
}

impl Emulator {
    /// An empty screen.
    pub fn new(size: TerminalSize) -> Self {
        let parser = Parser::new_with_callbacks(size.rows, size.columns, 0, Attributes::default());
        Self { parser, charset: Charset::default(), stretch: 0 }
    }

    /// Processes output of the program. Returns the answers of the terminal.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        const CANCEL: u8 = 0x18;
        match bytes.iter().rposition(|byte| matches!(byte, 0x07 | 0x18 | 0x1a | 0x1b)) {
            Some(at) => self.stretch = bytes.len() - at,
            None => self.stretch += bytes.len(),
        }
        self.parser.process(&self.charset.translate(bytes));
        if self.stretch > STRETCH {
            self.parser.process(&self.charset.translate(&[CANCEL]));
            self.stretch = 0;
        }
        std::mem::take(&mut self.parser.callbacks_mut().replies)
    }

    /// Changes the size.
    pub fn resize(&mut self, size: TerminalSize) {
        self.parser.set_size(size.rows, size.columns);
    }

    /// Whether bracketed paste is on.
    pub fn marks_pastes(&self) -> bool {
        self.parser.screen().bracketed_paste()
    }

    /// Whether cursor keys are in application mode.
    pub fn has_application_keys(&self) -> bool {
        self.parser.screen().application_cursor()
    }

    /// Window title that the program has set.
    pub fn title(&self) -> &str {
        &self.parser.callbacks().title
    }

    /// The size.
    pub fn size(&self) -> TerminalSize {
        let (rows, columns) = self.parser.screen().size();
        TerminalSize { columns, rows }
    }

    /// The text of the screen, without trailing blanks and trailing blank lines.
    pub fn text(&self) -> String {
        let lines = self.lines();
        let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines[..used].join("\n")
    }

    fn lines(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let columns: NonZeroU16 = screen.size().1;
        screen.rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
    }

    /// Position of the cursor, from 1, and whether it is visible.
    pub fn cursor(&self) -> Value {
        let screen = self.parser.screen();
        let (row, column) = screen.cursor_position();
        json!({ "row": row + 1, "column": column + 1, "visible": !screen.hide_cursor() })
    }

    /// The text of the screen with masks for the secrets that later masking cannot find, because they span
    /// rows or are only partly visible.
    pub fn text_without(&self, hiding: &Hiding<'_>) -> String {
        let lines = self.lines_without(&self.torn(hiding, false));
        let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines[..used].join("\n")
    }

    /// The screen with its colours and attributes: runs of text with the same style, row by row. Secrets
    /// that are split into several runs are masked.
    pub fn styles(&self, hiding: &Hiding<'_>) -> Value {
        let TerminalSize { columns, rows } = self.size();
        let torn = self.torn(hiding, true);
        let runs: Vec<Value> = (0..rows.get()).flat_map(|row| self.runs(row, &torn)).collect();
        let lines = self.lines_without(&torn);
        json!({
            "columns": columns,
            "rows": rows,
            "title": self.title(),
            "cursor": self.cursor(),
            "lines": lines,
            "runs": runs,
        })
    }

    /// The lines, with masks for `torn` cells.
    fn lines_without(&self, torn: &Cells) -> Vec<String> {
        let mut lines = self.lines();
        for row in torn.keys().map(|(row, _)| *row).collect::<BTreeSet<_>>() {
            let line: String =
                self.cells(row).map(|(column, cell)| shown(cell, torn.get(&(row, column)))).collect();
            line.trim_end().clone_into(&mut lines[usize::from(row)]);
        }
        lines
    }

    /// Cells of a row with their columns.
    fn cells(&self, row: u16) -> impl Iterator<Item = (u16, &Cell)> {
        let screen = self.parser.screen();
        let columns = 0..screen.size().1.get();
        let cells = columns.filter_map(move |column| Some((column, screen.cell(row, column)?)));
        cells.filter(|(_, cell)| !cell.is_wide_continuation())
    }

    /// Cells of secrets that later masking cannot find: they span rows, or several styles if `by_look`, or
    /// are found only on the screen.
    fn torn(&self, hiding: &Hiding<'_>, by_look: bool) -> Cells {
        let (mut text, mut cells, mut wraps) = (String::new(), Vec::new(), Vec::new());
        for row in 0..self.size().rows.get() {
            for (column, cell) in self.cells(row) {
                cells.push((text.len(), (row, column), look(cell)));
                text.push_str(shown(cell, None));
            }
            if self.parser.screen().row_wrapped(row) {
                wraps.push(text.len());
            }
            text.push('\n');
        }
        let mut torn = Cells::new();
        for (from, to) in (hiding.on_screen)(&text, &wraps) {
            let place = |at: usize| cells.partition_point(|(start, ..)| *start < at);
            let cells = &cells[place(from)..place(to)];
            let differ = |pair: &[(usize, (u16, u16), _)]| {
                pair[0].1.0 != pair[1].1.0 || by_look && pair[0].2 != pair[1].2
            };
            let is_found = || (hiding.in_text)(&text[from..to]).contains(&(0, to - from));
            if cells.windows(2).any(differ) || !is_found() {
                for (at, (_, place, _)) in cells.iter().enumerate() {
                    let part = if at == 0 { Torn::First } else { Torn::Other };
                    torn.entry(*place).or_insert(part);
                }
            }
        }
        torn
    }

    fn runs(&self, row: u16, torn: &Cells) -> Vec<Value> {
        let mut runs: Vec<StyledRun<'_>> = Vec::new();
        for (column, cell) in self.cells(row) {
            let text = shown(cell, torn.get(&(row, column)));
            match runs.last_mut().filter(|run| look(run.cell) == look(cell)) {
                Some(run) => run.text.push_str(text),
                None => runs.push(StyledRun { cell, column, text: text.to_owned() }),
            }
        }
        runs.iter().filter_map(|run| run.told(row)).collect()
    }
}

/// A cell of a hidden text.
#[derive(Clone, Copy)]
enum Torn {
    /// The first cell, which is replaced by a mask.
    First,
    /// Any other cell.
    Other,
}

/// The visible text of a cell.
fn shown<'c>(cell: &'c Cell, torn: Option<&Torn>) -> &'c str {
    match torn {
        Some(Torn::First) => "***",
        Some(Torn::Other) => "",
        None if cell.has_contents() => cell.contents(),
        None => " ",
    }
}

/// Adjacent cells with the same style.
struct StyledRun<'s> {
    cell: &'s Cell,
    column: u16,
    text: String,
}

impl StyledRun<'_> {
    /// The run as JSON; `None` if it has no text.
    fn told(&self, row: u16) -> Option<Value> {
        let text = self.text.trim();
        let before = self.text.chars().take_while(|c| c.is_whitespace()).count();
        let cell = self.cell;
        (!text.is_empty()).then(|| {
            json!({
                "row": row + 1,
                "column": usize::from(self.column) + before + 1,
                "text": text,
                "fg": color(cell.fgcolor()),
                "bg": color(cell.bgcolor()),
                "bold": cell.bold(),
                "dim": cell.dim(),
                "italic": cell.italic(),
                "underline": cell.underline(),
                "inverse": cell.inverse(),
            })
        })
    }
}

fn look(cell: &Cell) -> (Color, Color, [bool; 5]) {
    let attributes = [cell.bold(), cell.dim(), cell.italic(), cell.underline(), cell.inverse()];
    (cell.fgcolor(), cell.bgcolor(), attributes)
}

/// A colour by name, by its number in the palette of 256, or as `#rrggbb`; null for the default.
fn color(color: Color) -> Value {
    const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    match color {
        Color::Default => Value::Null,
        Color::Idx(number @ 0..=7) => NAMES[usize::from(number)].into(),
        Color::Idx(number @ 8..=15) => format!("bright_{}", NAMES[usize::from(number - 8)]).into(),
        Color::Idx(number) => number.into(),
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Hiding<'static> = Hiding { in_text: &|_| Vec::new(), on_screen: &|_, _| Vec::new() };

    fn screen(bytes: &str) -> Emulator {
        let mut emulator = Emulator::new(TerminalSize::default());
        emulator.feed(bytes.as_bytes());
        emulator
    }

    #[test]
    fn the_screen_is_what_a_person_sees() {
        let emulator = screen("\x1b]2;my title\x07one  \r\n\r\n\x1b[3Ctwo\x1b[1;1HO");
        assert_eq!((emulator.text().as_str(), emulator.title()), ("One\n\n   two", "my title"));
        assert_eq!(emulator.cursor(), json!({"row": 1, "column": 2, "visible": true}));
    }

    #[test]
    fn runs_tell_colours_and_attributes() {
        let emulator = screen("a \x1b[1;31m OK \x1b[0;4;38;5;208mx\x1b[0;7;48;2;1;2;3my\x1b[0m");
        let runs = &emulator.styles(&NOTHING)["runs"];
        let look = |n: usize, keys: [&str; 3]| keys.map(|key| runs[n][key].clone());
        assert_eq!(look(1, ["text", "fg", "bold"]), [json!("OK"), json!("red"), json!(true)]);
        assert_eq!(runs[1]["column"], 4);
        assert_eq!(look(2, ["text", "fg", "underline"]), [json!("x"), json!(208), json!(true)]);
        assert_eq!(look(3, ["bg", "inverse", "fg"]), [json!("#010203"), json!(true), Value::Null]);
    }

    #[test]
    fn what_is_hidden_is_not_shown_in_pieces() {
        let hidden = |text: &str| -> Vec<(usize, usize)> {
            let joined = text.replace('\n', "");
            let found = ["SESAME", "WHOLE"]
                .into_iter()
                .filter_map(|word| text.find(word).map(|at| (at, at + word.len())));
            // A secret on two rows of 80 columns.
            let wrapped = joined.find("WRAPPED").map(|at| (at + 1, at + 2 + "WRAPPED".len()));
            found.chain(wrapped).collect()
        };
        let wide = format!("a SES\x1b[31mAME b \x1b[0mWHOLE\r\n{}WRAPPED", "x".repeat(77));
        let hiding = Hiding { in_text: &hidden, on_screen: &|text, _| hidden(text) };
        let styles = screen(&wide).styles(&hiding);
        let text = screen(&wide).text_without(&hiding);
        assert_eq!(
            text,
            format!("a SESAME b WHOLE\n{}***", "x".repeat(77)),
            "later masking finds all but the wrapped one"
        );
        let told = styles.to_string();
        assert!(["SES", "AME", "WRA", "PPED"].iter().all(|half| !told.contains(half)), "{told}");
        assert_eq!(styles["lines"][0], "a *** b WHOLE");
        assert_eq!((&styles["lines"][1], &styles["lines"][2]), (&json!("x".repeat(77) + "***"), &json!("")));
        let texts: Vec<_> =
            styles["runs"].as_array().unwrap().iter().map(|run| run["text"].clone()).collect();
        assert_eq!(texts[..3], [json!("a ***"), json!("b"), json!("WHOLE")]);
    }

    #[test]
    fn boxes_of_old_terminals_are_boxes() {
        assert_eq!(screen("\x1b(0lqk\r\nx x\r\nmqj\x1b(B ok").text(), "┌─┐\n│ │\n└─┘ ok");
    }

    #[test]
    fn questions_are_answered() {
        let mut emulator = screen("ab");
        assert_eq!(emulator.feed(b"\x1b[6n\x1b[c"), b"\x1b[1;3R\x1b[?62;22c");
        assert_eq!(emulator.feed(b"c"), b"");
        assert!(emulator.feed(&b"\x1b[6n".repeat(100_000)).len() <= REPLIES);
    }

    #[test]
    fn a_title_without_end_does_not_fill_the_memory() {
        let mut emulator = screen("\x1b]2;");
        (0..3 * STRETCH / 1024).for_each(|_| drop(emulator.feed(&[b't'; 1024])));
        emulator.feed(b"\r\nhere");
        assert!(emulator.text().ends_with("here") && emulator.title().len() <= TITLE);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>, columns in 2..20_u16, rows in 1..8_u16, tail in "(\\x1b\\[[0-9;?]{0,6}[@-~]|[a-z界\\n\\t]){0,60}") {
            let size = |columns, rows| TerminalSize {
                columns: NonZeroU16::new(columns).unwrap(),
                rows: NonZeroU16::new(rows).unwrap(),
            };
            let mut emulator = Emulator::new(size(columns, rows));
            emulator.feed(tail.as_bytes());
            emulator.feed(&bytes);
            emulator.resize(size(rows + 1, columns));
            emulator.feed(tail.as_bytes());
            emulator.styles(&NOTHING);
        }
    }
}
