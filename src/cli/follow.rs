//! A thread that keeps the picture of a run and shows it, so that a slow screen or disk is not waited for by the run.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Face, Stop};
use crate::clock::{Clock, Millis};
use crate::driver::Event;
use crate::report::lines::Lines;
use crate::report::live::Live;
use crate::report::{Progress, jsonl};
use crate::view::Board;

const QUEUE: usize = 8_192;
const TICK: Duration = Duration::from_millis(100);

/// Where the event stream goes.
pub enum Stream {
    /// Nowhere.
    Nowhere,
    /// To standard output.
    Out,
    /// To a file.
    File(BufWriter<File>),
}

enum Message {
    Event(Event),
    Say(String),
    Hush(bool, oneshot::Sender<()>),
    End,
}

/// What follows a run. Ask it for its [`Board`] at the end.
pub struct Follower {
    queue: SyncSender<Message>,
    thread: JoinHandle<Board>,
    notes: bool,
}

/// A way to reach a [`Follower`] from elsewhere.
#[derive(Clone)]
pub struct Line {
    queue: SyncSender<Message>,
    /// Whether anybody hears notes: where they are neither shown nor streamed, nobody is woken for them.
    notes: bool,
}

impl Follower {
    /// Begins to follow.
    pub fn start(face: Face, clock: Arc<dyn Clock>, stream: Stream) -> Result<Self, Stop> {
        let (queue, messages) = sync_channel(QUEUE);
        let notes = !face.quiet || !matches!(stream, Stream::Nowhere);
        let follow = move || {
            let mut following =
                Following { face: progress(face), stream, board: Board::new(), hushed: false };
            following.follow(&messages, clock.as_ref());
            following.board
        };
        let thread = std::thread::Builder::new().name("follower".to_owned()).spawn(follow);
        let thread = thread.map_err(|e| Stop::failed(format!("no thread for progress: {e}")))?;
        Ok(Self { queue, thread, notes })
    }

    /// A way to reach it.
    pub fn line(&self) -> Line {
        Line { queue: self.queue.clone(), notes: self.notes }
    }

    /// Takes in what is still queued, and ends.
    pub fn end(self) -> Result<Board, Stop> {
        // A thread that is gone is reported by `join`.
        let _ = self.queue.send(Message::End);
        drop(self.queue);
        self.thread.join().map_err(|_| Stop::failed("the progress of the run could not be shown"))
    }
}

impl Line {
    /// Passes on an event: facts wait for room in the queue, notes are lost where there is none.
    pub fn event(&self, event: &Event) {
        let message = || Message::Event(event.clone());
        match event {
            Event::Fact { .. } | Event::Past { .. } => drop(self.queue.send(message())),
            Event::Note { .. } if !self.notes => {}
            Event::Note { .. } => match self.queue.try_send(message()) {
                Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
            },
        }
    }

    /// Says something among the progress.
    pub fn say(&self, text: &str) {
        let _ = self.queue.send(Message::Say(text.to_owned()));
    }

    /// Stops drawing while somebody is asked, or goes on. What was said before is on the screen when this is done.
    pub async fn hush(&self, hushed: bool) {
        let (done, heard) = oneshot::channel();
        let _ = self.queue.send(Message::Hush(hushed, done));
        // A follower that is gone draws nothing any more.
        let _ = heard.await;
    }
}

fn progress(face: Face) -> Box<dyn Progress> {
    match face {
        Face { quiet: true, .. } => Box::new(Silence),
        Face { live: true, err, .. } => Box::new(Live::new(err)),
        Face { err, .. } => Box::new(Lines::new(io::stderr(), err)),
    }
}

struct Following {
    face: Box<dyn Progress>,
    stream: Stream,
    board: Board,
    hushed: bool,
}

impl Following {
    fn follow(&mut self, messages: &Receiver<Message>, clock: &dyn Clock) {
        let mut drawn: Millis = 0;
        loop {
            match messages.recv_timeout(TICK) {
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => break,
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

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                self.write(&event);
                self.board.apply(&event);
                self.face.event(&event, &self.board);
            }
            Message::Say(text) => self.face.say(&text),
            Message::Hush(hushed, done) => {
                self.hushed = hushed;
                if hushed {
                    self.face.end(&self.board);
                }
                let _ = done.send(());
            }
            Message::End => {}
        }
    }

    fn write(&mut self, event: &Event) {
        let written = match &mut self.stream {
            Stream::Nowhere => Ok(()),
            Stream::Out => jsonl::write(&mut io::stdout().lock(), event),
            Stream::File(file) => jsonl::write(file, event),
        };
        self.give_up(written);
    }

    fn flush(&mut self) {
        let flushed = match &mut self.stream {
            Stream::Nowhere => Ok(()),
            Stream::Out => io::stdout().lock().flush(),
            Stream::File(file) => file.flush(),
        };
        self.give_up(flushed);
    }

    /// A stream that cannot be written ends; the run goes on.
    fn give_up(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        self.stream = Stream::Nowhere;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.face.say(&format!("the event stream ends here, it cannot be written: {error}"));
        }
    }
}

struct Silence;

impl Progress for Silence {
    fn event(&mut self, _event: &Event, _board: &Board) {}
    fn tick(&mut self, _now: Millis, _board: &Board) {}
    fn end(&mut self, _board: &Board) {}
    fn say(&mut self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}
