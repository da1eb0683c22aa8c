use std::fmt::{self, Write as _};
use std::time::Duration;

use futures_util::FutureExt;
use indexmap::IndexMap;

use super::emulator::{Emulator, Hiding};
use super::play::{ScreenWait, TuiInput, TypedInput};
use crate::clock::{Clock, Millis, Sleep, millis};
use crate::scenario::answer::StructuredResponse;
use crate::scenario::ports::{ServiceTerminal, Shell, TerminalEvent, TerminalProgram, TerminalSize};
use crate::scenario::values::{KeptContent, WrittenDuration};
use crate::value::Value;

/// Longest wait for the first output of a program.
const FIRST_SIGN: Duration = Duration::from_secs(2);

/// Longest wait for output after typing.
const REACTION: Duration = Duration::from_millis(300);

/// Pause between two keys, the repeat rate of a key that is held down.
const PACE: Duration = Duration::from_millis(30);

/// Most pieces of output that are read at the beginning of a step.
const GATHERED: usize = 64;

/// Most bytes of terminal answers in one step: a program may send queries without end and read no answer.
const ANSWERED: usize = 64 << 10;

/// Most bytes of the answer that are kept.
const KEPT: usize = 1 << 20;

/// A program in a terminal, with its screen.
pub struct TuiSession {
    terminal: Box<dyn ServiceTerminal>,
    emulator: Emulator,
    answered: usize,
    /// Time of the last output.
    last: Option<Millis>,
    ended: Option<ProgramEnd>,
}

/// End of a program.
#[derive(Clone, Copy)]
struct ProgramEnd {
    code: Option<i64>,
}

/// Time limit of a step.
pub struct TimeLimit {
    pause: Sleep,
    span: Duration,
    ends: Millis,
    is_over: bool,
}

impl TimeLimit {
    /// A limit of `span` from now on.
    pub fn new(span: Duration, clock: &dyn Clock) -> Self {
        let ends = clock.now().saturating_add(millis(span));
        Self { pause: clock.sleep(span), span, ends, is_over: false }
    }

    /// Remaining time.
    fn left(&self, clock: &dyn Clock) -> Duration {
        if self.is_over {
            Duration::ZERO
        } else {
            Duration::from_millis(self.ends.saturating_sub(clock.now()))
        }
    }

    async fn over(&mut self) {
        if !self.is_over {
            (&mut self.pause).await;
            self.is_over = true;
        }
    }
}

/// Actions for a session and their time limit.
pub struct SessionInput<'a> {
    /// The actions.
    pub act: &'a TuiInput,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Time limit.
    pub limit: &'a mut TimeLimit,
    /// Service in which the program runs.
    pub shell: &'a dyn Shell,
}

impl TuiSession {
    /// Starts a program.
    pub async fn open(
        program: TerminalProgram,
        shell: &dyn Shell,
        limit: &mut TimeLimit,
    ) -> Result<Self, String> {
        let emulator = Emulator::new(program.size);
        let opened = tokio::select! {
            opened = shell.terminal(program) => opened.map_err(|e| e.to_string()),
            () = limit.over() => Err(format!("it did not start within {}", WrittenDuration(limit.span))),
        };
        let terminal = opened.map_err(|reason| format!("the command could not be run: {reason}"))?;
        Ok(Self { terminal, emulator, answered: 0, last: None, ended: None })
    }

    /// Carries out the actions and returns the screen afterwards, also after an error.
    pub async fn work(
        &mut self,
        begins: bool,
        mut work: SessionInput<'_>,
    ) -> (StructuredResponse, Option<String>) {
        self.answered = 0;
        self.catch_up(work.clock);
        let error = self.drive(begins, &mut work).await.err();
        let is_settled = self.settle(&mut work).await;
        (self.told(&work, is_settled), error)
    }

    /// Ends the program, and waits until it is gone.
    pub async fn end(self) {
        self.terminal.end().await;
    }

    async fn drive(&mut self, begins: bool, work: &mut SessionInput<'_>) -> Result<(), String> {
        let act = work.act;
        let looks_first = matches!(act.wait, None | Some(ScreenWait::Gone(_)));
        if begins && (looks_first || !act.input.is_empty()) {
            // A program that is still starting may discard early input, so wait for its first output. A
            // step with `settle: 0s` takes the screen as it is and does not wait.
            if !act.settle.is_zero() {
                self.sign(FIRST_SIGN, work).await;
            }
            self.settle(work).await;
        }
        if let Some(size) = act.size.filter(|size| *size != self.emulator.size()) {
            self.emulator.resize(size);
            self.terminal.resize(size);
            self.sign(REACTION, work).await;
        }
        self.type_in(work).await?;
        if let Some(wait) = &act.wait {
            let seen = self.until(work, |session| wait.is_met(&session.emulator.text())).await;
            if !seen {
                return Err(self.missed(wait, work.limit.span));
            }
        }
        if act.wait_exit && !self.until(work, |session| session.ended.is_some()).await {
            return Err(format!("the program did not end within {}", WrittenDuration(work.limit.span)));
        }
        Ok(())
    }

    async fn type_in(&mut self, work: &mut SessionInput<'_>) -> Result<(), String> {
        let act = work.act;
        let shortest = shortest(act);
        let mut left = act.input.iter().peekable();
        while let Some(input) = left.next() {
            if let Some(ended) = self.ended {
                return Err(format!("nothing can be typed: the program {ended}"));
            }
            // Keys that do not fit into the time limit are not typed without pauses: a program reads keys
            // that arrive together as something else.
            let typed = act.input.len() - left.len() - 1;
            let time = work.limit.left(work.clock);
            if time.is_zero() || typed == 0 && time < shortest {
                return Err(too_short(act, typed, shortest, work.limit.span));
            }
            let bytes = self.bytes(input);
            self.terminal.send(bytes);
            match left.peek() {
                Some(_) => self.pause(after(input, act), work).await,
                None => self.sign(REACTION, work).await,
            }
        }
        Ok(())
    }

    fn bytes(&self, input: &TypedInput) -> Vec<u8> {
        match input {
            TypedInput::Key(chord) => chord.bytes(self.emulator.has_application_keys()),
            TypedInput::Text(text) => text.clone().into_bytes(),
            TypedInput::Paste(text) => {
                let text = text.replace("\r\n", "\r").replace('\n', "\r");
                if self.emulator.marks_pastes() {
                    // Pasted text must not be able to end the paste mode.
                    format!("\x1b[200~{}\x1b[201~", text.replace('\x1b', "")).into_bytes()
                } else {
                    text.into_bytes()
                }
            }
        }
    }

    /// Processes the output since the last step.
    fn catch_up(&mut self, clock: &dyn Clock) {
        for _ in 0..GATHERED {
            if self.ended.is_some() {
                return;
            }
            match self.terminal.next().now_or_never() {
                Some(shown) => self.show(shown, clock),
                None => return,
            }
        }
    }

    /// Processes the next event.
    async fn take_in(&mut self, clock: &dyn Clock) {
        let shown = self.terminal.next().await;
        self.show(shown, clock);
        // Continuous output must not prevent timeouts.
        tokio::task::yield_now().await;
    }

    fn show(&mut self, shown: TerminalEvent, clock: &dyn Clock) {
        self.last = Some(clock.now());
        match shown {
            TerminalEvent::Bytes(bytes) => {
                let reply = self.emulator.feed(&bytes);
                self.answered += reply.len();
                if !reply.is_empty() && self.answered <= ANSWERED {
                    self.terminal.send(reply);
                }
            }
            TerminalEvent::Ended(code) => self.ended = Some(ProgramEnd { code }),
        }
    }

    /// Waits for any output, for at most `span`.
    async fn sign(&mut self, span: Duration, work: &mut SessionInput<'_>) {
        if self.ended.is_none() {
            tokio::select! {
                () = work.limit.over() => {}
                () = self.take_in(work.clock) => {}
                () = work.clock.sleep(span) => {}
            }
        }
    }

    /// Waits for `span` while processing output.
    async fn pause(&mut self, span: Duration, work: &mut SessionInput<'_>) {
        let mut over = work.clock.sleep(span);
        while self.ended.is_none() && !work.limit.is_over {
            tokio::select! {
                biased;
                () = &mut over => return,
                () = work.limit.over() => {}
                () = self.take_in(work.clock) => {}
            }
        }
    }

    /// Waits until there was no output for the `settle` time; returns false if that does not happen in time.
    async fn settle(&mut self, work: &mut SessionInput<'_>) -> bool {
        if work.act.settle.is_zero() || work.limit.is_over {
            self.catch_up(work.clock);
            return self.is_settled(work);
        }
        while self.ended.is_none() {
            let quiet = work.clock.sleep(work.act.settle);
            tokio::select! {
                biased;
                () = self.take_in(work.clock) => {}
                () = quiet => return true,
                () = work.limit.over() => return self.is_settled(work),
            }
        }
        true
    }

    fn is_settled(&self, work: &SessionInput<'_>) -> bool {
        let quiet =
            self.last.is_none_or(|last| work.clock.now().saturating_sub(last) >= millis(work.act.settle));
        quiet || self.ended.is_some()
    }

    /// Waits until `done`; returns false if that does not happen in time or before the program ends.
    async fn until(&mut self, work: &mut SessionInput<'_>, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            if self.ended.is_some() || work.limit.is_over {
                return false;
            }
            tokio::select! {
                () = self.take_in(work.clock) => {}
                () = work.limit.over() => {}
            }
        }
    }

    fn missed(&self, wait: &ScreenWait, span: Duration) -> String {
        let what = match wait {
            ScreenWait::Text(text) => format!("`{text}` did not appear on the screen"),
            ScreenWait::Matches(pattern) => {
                format!("nothing that matches `{pattern}` appeared on the screen")
            }
            ScreenWait::Gone(text) => format!("`{text}` did not disappear from the screen"),
        };
        match self.ended {
            Some(ended) => format!("{what} before the program {ended}"),
            None => format!("{what} within {}", WrittenDuration(span)),
        }
    }

    fn told(&self, work: &SessionInput<'_>, is_settled: bool) -> StructuredResponse {
        let hiding = Hiding {
            in_text: &|text| work.shell.hidden_in(text),
            on_screen: &|text, wraps| work.shell.hidden_on_screen(text, wraps),
        };
        let screen = self.emulator.text_without(&hiding);
        let TerminalSize { columns, rows } = self.emulator.size();
        let mut text = format!("Screen of {columns} columns and {rows} rows:\n{screen}\n");
        if let Some(ended) = self.ended {
            let _ = writeln!(text, "The program {ended}");
        }
        if !is_settled {
            let _ = writeln!(text, "The screen had not settled after {}", WrittenDuration(work.limit.span));
        }
        let styles = work.act.styles.then(|| self.emulator.styles(&hiding));
        if let Some(styles) = &styles {
            text.push_str(&looks(styles));
        }
        let main = match styles {
            Some(styles) => ("styles", styles.to_string()),
            None => ("screen", screen.clone()),
        };
        let parts = [
            ("screen", screen.into()),
            ("exit_code", self.ended.and_then(|ended| ended.code).map_or(Value::Null, Value::from)),
            ("cursor", self.emulator.cursor()),
            ("title", self.emulator.title().into()),
            ("settled", is_settled.into()),
            ("running", self.ended.is_none().into()),
        ];
        StructuredResponse {
            text,
            main: (main.0, KeptContent::of(main.1.as_bytes(), KEPT)),
            parts: parts.into_iter().collect(),
            evidence: Vec::new(),
        }
    }
}

/// Minimum time between the first and the last input of a step.
fn shortest(act: &TuiInput) -> Duration {
    let others = act.input.split_last().map_or(&[][..], |(_, others)| others);
    others.iter().map(|input| after(input, act)).sum()
}

/// Pause after an input. It is longer after Escape, because programs read input that follows soon as one
/// key with it.
fn after(input: &TypedInput, act: &TuiInput) -> Duration {
    let is_open = match input {
        TypedInput::Key(chord) => chord.is_open(),
        TypedInput::Text(text) => text.ends_with('\x1b'),
        TypedInput::Paste(_) => false,
    };
    if is_open { REACTION + act.settle } else { PACE }
}

fn too_short(act: &TuiInput, typed: usize, shortest: Duration, span: Duration) -> String {
    let what =
        if act.input.iter().all(|input| matches!(input, TypedInput::Key(_))) { "key" } else { "input" };
    let all = act.input.len();
    let plural = if all == 1 { "" } else { "s" };
    let typed = match typed {
        0 => "nothing was typed".to_owned(),
        typed => format!("only {typed} typed"),
    };
    let shortest = if shortest.is_zero() {
        String::new()
    } else {
        format!(", which take at least {}", WrittenDuration(shortest))
    };
    format!(
        "the `timeout` of {} is too short to type {all} {what}{plural}{shortest}: {typed}; raise it, or type less in one step",
        WrittenDuration(span)
    )
}

impl fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "ended with exit code {code}"),
            None => f.write_str("was interrupted"),
        }
    }
}

/// Description of the styles of a screen: the most common style, then the runs with other styles, one per
/// line.
fn looks(styles: &Value) -> String {
    let runs = styles["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lengths: IndexMap<String, usize> = IndexMap::new();
    for run in runs {
        *lengths.entry(look(run)).or_default() += run["text"].as_str().unwrap_or_default().len();
    }
    let usual =
        lengths.into_iter().max_by_key(|(_, length)| *length).map(|(look, _)| look).unwrap_or_default();
    let mut text = if usual.is_empty() { String::new() } else { format!("Most of it is {usual}\n") };
    for run in runs.iter().filter(|run| look(run) != usual) {
        let (look, place) = (look(run), format!("row {}, column {}", run["row"], run["column"]));
        let look = if look.is_empty() { "plain" } else { &look };
        let _ = writeln!(text, "{place}: {} is {look}", run["text"]);
    }
    text
}

/// Colours and attributes in words; empty for plain text.
fn look(run: &Value) -> String {
    let color = |key: &str| {
        let color = &run[key];
        color.as_str().map(str::to_owned).or_else(|| color.as_u64().map(|number| format!("colour {number}")))
    };
    let mut words: Vec<String> = color("fg").into_iter().collect();
    words.extend(color("bg").map(|bg| format!("on {bg}")));
    let attributes = ["bold", "dim", "italic", "underline", "inverse"];
    words.extend(attributes.into_iter().filter(|key| run[*key] == true).map(str::to_owned));
    words.join(" ")
}
