use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Ask, Blobs, Class, Failure, Funds, Grants};
use crate::clock::Clock;
use crate::id::{Address, RunId};
use crate::schema::Schema;
use crate::value::{Value, change_texts};

/// What a verb or resource may use beside its input. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The run.
    pub run: RunId,
    /// The step instance.
    pub address: Address,
    /// Which attempt at it this is, from 1.
    pub attempt: u32,
    /// The same for every attempt at this step instance: hand it to the other side where it takes one.
    pub idempotency_key: String,
    /// Ends when the attempt should end: stop at once, leave nothing behind, return [`Failure::cancelled`].
    pub cancel: CancellationToken,
    /// Ends when the run takes no new work: an attempt that only waits for something that goes on elsewhere, and that its
    /// cursor leads back to, need not wait for it and may return [`Failure::cancelled`]. All others may pass over it.
    pub stopping: CancellationToken,
    /// Where progress goes.
    pub progress: Progress,
    /// What an earlier attempt saved before it was cut off.
    pub cursor: Option<Value>,
    /// Where to save such a value.
    pub cursors: CursorSink,
    /// Where to ask before more is spent than the attempt began with.
    pub funds: Funds,
    /// Content-addressed storage of the run.
    pub blobs: Arc<dyn Blobs>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Directories.
    pub workspace: Workspace,
    /// Secrets by name, those that are allowed: see [`Context::secret`].
    pub secrets: Arc<dyn Secrets>,
    /// What the user allows this run.
    pub grants: Arc<Grants>,
    /// The schema that the step's header puts on the output, for verbs that can make use of it early.
    /// The engine checks the output against it in any case.
    pub schema: Option<Arc<Schema>>,
}

/// Directories that an attempt may use.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Where relative paths that the author or user wrote start from.
    pub project: PathBuf,
    /// Where steps of the run keep files that are not products; exists if the input of the attempt names it.
    pub kept: PathBuf,
    /// Private to the attempt, exists when [`Workspace::scratch_dir`] has been called; removed with the run's
    /// temporary files.
    pub scratch: PathBuf,
}

/// Something a step says while it works; shown, never read by the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// A line of text.
    Line {
        /// The line.
        text: String,
    },
    /// A piece of an answer that is still coming in.
    Chunk {
        /// The piece.
        text: String,
    },
    /// How far it is.
    Count {
        /// Units done.
        done: u64,
        /// Units in all, where known.
        total: Option<u64>,
    },
}

/// Where notes go, if anybody hears them. A full or closed channel loses notes, never blocks.
#[derive(Clone)]
pub struct Progress(Option<Arc<dyn Fn(Note) + Send + Sync>>);

impl Progress {
    /// Notes go to `sink`.
    pub fn new(sink: impl Fn(Note) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    /// Notes go nowhere.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Says a line.
    pub fn line(&self, text: impl Into<String>) {
        self.note(Note::Line { text: text.into() });
    }

    /// Whether anybody hears: a note that is not, need not be made.
    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    /// Passes on a note.
    pub fn note(&self, note: Note) {
        if let Some(sink) = &self.0 {
            sink(note);
        }
    }
}

type Saving = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Where a verb saves a small value (a batch id, a position) so that paid work is never submitted twice. One that says
/// `{attempt, spent}` beside its own fields tells what the attempt has cost so far: that is booked where it is cut off.
/// With `kept = true`, which holds for the attempt that it names or for all, that is all that is booked: what else was set aside is not lost, or not spent. `open = N` says that so
/// many things go on elsewhere: where the step fails for good, nobody fetches them, and what was set aside counts as lost.
#[derive(Clone)]
pub struct CursorSink(Arc<dyn Fn(Value) -> Saving + Send + Sync>);

impl CursorSink {
    /// Cursors go to `sink`, whose future resolves when the value is on disk.
    pub fn new(sink: impl Fn(Value) -> Saving + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Cursors go nowhere.
    pub fn nowhere() -> Self {
        Self::new(|_| Box::pin(async { Ok(()) }))
    }

    /// Saves `cursor`; when this returns it is on disk.
    pub async fn save(&self, cursor: Value) -> Result<(), Failure> {
        self.0(cursor).await
    }
}

/// A secret's text; its `Debug` form is masked.
pub type SecretText = SecretString;

/// Secrets by name. They never become a [`Value`].
pub trait Secrets: Send + Sync + 'static {
    /// The secret named `name`, `None` if there is none or a step may not use it.
    fn get(&self, name: &str) -> Option<SecretText>;
    /// The secret named `name`, for a program that Atoll itself or the user's own settings give it to: needs no grant.
    fn of_settings(&self, name: &str) -> Option<SecretText> {
        self.get(name)
    }
    /// Why the secret named `name` could not be had, where more can be said than that it is not set.
    fn trouble(&self, _name: &str) -> Option<String> {
        None
    }
    /// `text` with every known secret value, in plain or encoded form, replaced by `***`.
    fn redact(&self, text: &str) -> String;
    /// The same for bytes, which may be text in another encoding than UTF-8, or no text at all.
    fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        let clean = self.redact(&text);
        if clean == text { bytes.to_vec() } else { clean.into_bytes() }
    }
    /// [`Secrets::redact`] for the beginning of a longer text, of which a secret may be cut.
    fn redact_head(&self, text: &str) -> String {
        self.redact(text)
    }
    /// The last place of `text`, at most `at`, where it may be cut: no secret is cut there, and behind it is all that could be the
    /// beginning of one.
    fn cut(&self, _text: &str, at: usize) -> usize {
        at
    }
    /// Where in `text` secrets are, as ranges of bytes, which may overlap.
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        if self.redact(text) == text { Vec::new() } else { vec![(0, text.len())] }
    }
    /// The same for the rows of a screen: also where a secret is wrapped in a frame, or where telling parts of one are. The line
    /// breaks at `wraps` are no breaks for the program.
    fn places_on_screen(&self, text: &str, _wraps: &[usize]) -> Vec<(usize, usize)> {
        self.places(text)
    }
    /// [`Secrets::redact`] for every text in `value`.
    fn redact_value(&self, value: &mut Value) {
        change_texts(value, &|text| self.redact(text));
    }
}

/// Why `receiver` cannot be given the secret `name`, if that can be no name of one.
pub fn no_name(name: &str, receiver: &str) -> Option<Failure> {
    // What is not a name may be the value itself: it is not repeated.
    let failure = || Failure::permanent(format!("{receiver} has no valid name of a secret"));
    let hint = "give the name of an environment variable, never a value: `{ secret = \"API_TOKEN\" }`";
    (!is_name(name)).then(|| failure().hint(hint))
}

impl Context {
    /// The value of the secret `name`, which is to be given to `receiver`, e.g. "the header `authorization`".
    /// Errors: `auth` if the user has not allowed it, or it is not set.
    pub fn secret(&self, name: &str, receiver: &str) -> Result<SecretText, Failure> {
        let ask = Ask::Secret(name.to_owned());
        if let Some(failure) = no_name(name, receiver) {
            return Err(failure);
        }
        if !self.grants.allows(&ask) {
            return Err(Failure::new(
                Class::Auth,
                format!("{receiver} would be given the secret `{name}`, and you have not allowed that"),
            )
            .hint(format!(
                "allow it for this run: `atoll resume {} {}`; `atoll trust FILE` remembers it",
                self.run,
                ask.option()
            )));
        }
        self.secrets.get(name).ok_or_else(|| {
            let why = self.secrets.trouble(name).map(|why| format!(": {why}")).unwrap_or_default();
            Failure::new(Class::Auth, format!("the secret `{name}` for {receiver} is not set{why}"))
                .hint(format!("set the environment variable {name}"))
        })
    }

    /// A context for tests of a single verb: memory blobs, no secrets, `project` as the only directory.
    pub fn for_test(project: PathBuf, clock: Arc<dyn Clock>) -> Self {
        struct NoSecrets;
        impl Secrets for NoSecrets {
            fn get(&self, _: &str) -> Option<SecretText> {
                None
            }
            fn redact(&self, text: &str) -> String {
                text.to_owned()
            }
        }
        Self {
            run: RunId::new("01test"),
            address: Address::new("step"),
            attempt: 1,
            idempotency_key: "test".to_owned(),
            cancel: CancellationToken::new(),
            stopping: CancellationToken::new(),
            progress: Progress::silent(),
            cursor: None,
            cursors: CursorSink::nowhere(),
            funds: Funds::endless(),
            blobs: Arc::new(super::MemoryBlobs::default()),
            clock,
            workspace: Workspace { scratch: project.join(".scratch"), kept: project.join(".files"), project },
            secrets: Arc::new(NoSecrets),
            grants: Arc::new(Grants::everything()),
            schema: None,
        }
    }
}

/// Whether `name` can be the name of a secret: that of an environment variable.
pub fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= 128
        && name.starts_with(first)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether `text` is a URL with a password, or of HTTP with a user name, which may be a token.
pub fn has_credentials(text: &str) -> bool {
    let Some((scheme, rest)) = text.trim().split_once("://") else { return false };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    let web = ["http", "https", "ws", "wss"].contains(&scheme.to_ascii_lowercase().as_str());
    scheme.chars().all(is_scheme) && !user.is_empty() && (web || user.contains(':'))
}
