//! A thread that keeps the board of a run and displays it, so that a slow screen or disk does not block the
//! run.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cli::error::CommandError;
use crate::cli::terminal::Terminal;
use crate::clock::{Clock, Millis};
use crate::driver::Event;
use crate::report::lines::PlainProgress;
use crate::report::live::Live;
use crate::report::{ProgressDisplay, jsonl};
use crate::view::Board;
use crate::visible;

const QUEUE: usize = 1_024;
const TICK: Duration = Duration::from_millis(100);

/// The destination of the event stream.
pub enum EventOutput {
    /// No destination.
    Nowhere,
    /// To standard output.
    Out,
    /// To a file.
    File(BufWriter<File>),
}

enum ProgressMessage {
    Events(Vec<Event>),
    Say(String),
    Hush(bool, oneshot::Sender<()>),
    End,
}

/// The handle of the thread. It returns its [`Board`] at the end.
pub struct ProgressThread {
    line: ProgressHandle,
    thread: JoinHandle<(Board, Option<String>)>,
}

/// A cloneable connection to a [`ProgressThread`].
#[derive(Clone)]
pub struct ProgressHandle {
    queue: SyncSender<ProgressMessage>,
    /// If nothing is displayed or streamed, the thread is not woken: this is enough for the last lines.
    unseen: Option<Arc<Mutex<Board>>>,
}

impl ProgressThread {
    /// Starts the thread.
    pub fn start(face: Terminal, clock: Arc<dyn Clock>, stream: EventOutput) -> Result<Self, CommandError> {
        let (queue, messages) = sync_channel(QUEUE);
        let unseen = face.quiet && matches!(stream, EventOutput::Nowhere);
        let follow = move || {
            let mut following = ProgressState {
                face: progress(face),
                stream,
                board: Board::new(),
                hushed: false,
                broken: None,
            };
            following.follow(&messages, clock.as_ref());
            (following.board, following.broken)
        };
        let thread = std::thread::Builder::new().name("follower".to_owned()).spawn(follow);
        let thread = thread.map_err(|e| CommandError::failed(format!("no thread for progress: {e}")))?;
        Ok(Self { line: ProgressHandle { queue, unseen: unseen.then(Arc::default) }, thread })
    }

    /// A connection to it.
    pub fn line(&self) -> ProgressHandle {
        self.line.clone()
    }

    /// Whether its board has no steps, because they are not displayed.
    pub fn is_unseen(&self) -> bool {
        self.line.unseen.is_some()
    }

    /// Processes the queued events and ends. Returns the board of the run, and why the event stream is
    /// incomplete, if so.
    pub fn end(self) -> Result<(Board, Option<String>), CommandError> {
        let unseen = self.line.unseen.clone();
        // If the thread is gone, `join` reports it.
        let _ = self.line.queue.send(ProgressMessage::End);
        drop(self.line);
        let (board, broken) = self
            .thread
            .join()
            .map_err(|_| CommandError::failed("the progress of the run could not be shown"))?;
        let outline = unseen.map(|board| board.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Ok((outline.unwrap_or(board), broken))
    }
}

impl ProgressHandle {
    /// Whether progress messages of steps are displayed or streamed.
    pub fn hears_notes(&self) -> bool {
        self.unseen.is_none()
    }

    /// Passes on events: facts wait for space in the queue, progress messages are dropped if it is full.
    pub fn events(&self, events: Vec<Event>) {
        if let Some(board) = &self.unseen {
            let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
            events.iter().for_each(|event| board.apply_outline(event));
        } else if events.iter().all(|event| matches!(event, Event::Note { .. })) {
            match self.queue.try_send(ProgressMessage::Events(events)) {
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            }
        } else {
            // If the thread is gone, that is reported at the end.
            let _ = self.queue.send(ProgressMessage::Events(events));
        }
    }

    /// Prints a text between the progress lines.
    pub fn say(&self, text: &str) {
        let _ = self.queue.send(ProgressMessage::Say(text.to_owned()));
    }

    /// Draws again.
    pub fn unhush(&self) {
        let _ = self.queue.send(ProgressMessage::Hush(false, oneshot::channel().0));
    }

    /// Stops drawing while a person is asked, or continues. Earlier messages are on the screen when this
    /// returns.
    pub async fn hush(&self, hushed: bool) {
        let (done, heard) = oneshot::channel();
        let _ = self.queue.send(ProgressMessage::Hush(hushed, done));
        // If the thread is gone, nothing is drawn.
        let _ = heard.await;
    }
}

fn progress(face: Terminal) -> Box<dyn ProgressDisplay> {
    match face {
        Terminal { quiet: true, err, .. } => Box::new(Silence(err.is_on())),
        Terminal { live: true, err, .. } => Box::new(Live::new(err)),
        Terminal { err, .. } => Box::new(PlainProgress::new(io::stderr(), err)),
    }
}

struct ProgressState {
    face: Box<dyn ProgressDisplay>,
    stream: EventOutput,
    board: Board,
    hushed: bool,
    broken: Option<String>,
}

impl ProgressState {
    fn follow(&mut self, messages: &Receiver<ProgressMessage>, clock: &dyn Clock) {
        let mut drawn: Millis = 0;
        loop {
            match messages.recv_timeout(TICK) {
                Ok(ProgressMessage::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.flush(),
            }
            let now = clock.now();
            if now.saturating_sub(drawn) >= u64::try_from(TICK.as_millis()).unwrap_or_default() {
                drawn = now;
                self.flush();
                if !self.hushed {
                    self.face.tick(now, &self.board);
                }
            }
        }
        self.flush();
        self.face.end(&self.board);
    }

    fn take(&mut self, message: ProgressMessage) {
        match message {
            ProgressMessage::Events(events) => {
                for event in events {
                    self.write(&event);
                    self.board.apply(&event);
                    self.face.event(&event, &self.board);
                }
            }
            ProgressMessage::Say(text) => self.face.say(&text),
            ProgressMessage::Hush(hushed, done) => {
                self.hushed = hushed;
                if hushed {
                    self.face.end(&self.board);
                }
                let _ = done.send(());
            }
            ProgressMessage::End => {}
        }
    }

    fn write(&mut self, event: &Event) {
        let written = match &mut self.stream {
            EventOutput::Nowhere => Ok(()),
            EventOutput::Out => jsonl::write(&mut io::stdout().lock(), event),
            EventOutput::File(file) => jsonl::write(file, event),
        };
        self.give_up(written);
    }

    fn flush(&mut self) {
        let flushed = match &mut self.stream {
            EventOutput::Nowhere => Ok(()),
            EventOutput::Out => io::stdout().lock().flush(),
            EventOutput::File(file) => file.flush(),
        };
        self.give_up(flushed);
    }

    /// A stream that cannot be written ends; the run continues.
    fn give_up(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        self.stream = EventOutput::Nowhere;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.face.say(&format!("the event stream ends here, it cannot be written: {error}"));
            self.broken = Some(error.to_string());
        }
    }
}

/// Displays only messages; the field is whether standard error has colours.
struct Silence(bool);

impl ProgressDisplay for Silence {
    fn event(&mut self, _event: &Event, _board: &Board) {}
    fn tick(&mut self, _now: Millis, _board: &Board) {}
    fn end(&mut self, _board: &Board) {}
    fn say(&mut self, text: &str) {
        let _ = writeln!(io::stderr(), "{}", visible::terminal(text, self.0));
    }
}
