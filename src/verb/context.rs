use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Blobs, BudgetSource, Class, Failure, Grants, Permission};
use crate::clock::Clock;
use crate::id::{Address, RunId};
use crate::schema::Schema;
use crate::value::{Value, change_texts};

/// What a verb or resource may use besides its input. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Id of the run.
    pub run: RunId,
    /// Address of the step instance.
    pub address: Address,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Key that is the same for every attempt at this step instance, for services that support idempotency
    /// keys.
    pub idempotency_key: String,
    /// Cancellation of the attempt: stop at once, clean up, return [`Failure::cancelled`].
    pub cancel: CancellationToken,
    /// Signal that the run starts no new work. An attempt that only waits for something outside Atoll, to
    /// which its cursor leads back, may return [`Failure::cancelled`]. All others can ignore it.
    pub stopping: CancellationToken,
    /// Receiver of progress messages.
    pub progress: Progress,
    /// Value that an earlier attempt saved before it was interrupted.
    pub cursor: Option<Value>,
    /// Storage for such a value.
    pub cursors: CursorSink,
    /// Requests for a larger budget than the attempt started with.
    pub budget: BudgetSource,
    /// Content-addressed storage of the run.
    pub blobs: Arc<dyn Blobs>,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Directories for the attempt.
    pub workspace: Workspace,
    /// Secrets by name, those that are allowed: see [`Context::secret`].
    pub secrets: Arc<dyn Secrets>,
    /// Permissions of this run.
    pub grants: Arc<Grants>,
    /// Schema of the step for the output, for verbs that can use it early. The engine always checks the
    /// output against it.
    pub schema: Option<Arc<Schema>>,
}

/// The directories for an attempt.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Directory that relative paths of authors and users start from.
    pub project: PathBuf,
    /// Directory of the run for files that are not products; it exists if the input of the attempt refers to
    /// it.
    pub kept: PathBuf,
    /// Private directory of the attempt. It exists after a call of [`Workspace::scratch_dir`], and is removed
    /// with the temporary files of the run.
    pub scratch: PathBuf,
}

/// A progress message of a step; shown, never read by the pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// A line of text.
    Line {
        /// Text of the line.
        text: String,
    },
    /// A piece of an answer that is being received.
    Chunk {
        /// Text of the piece.
        text: String,
    },
    /// A progress count.
    Count {
        /// Units done.
        done: u64,
        /// Total number of units, if known.
        total: Option<u64>,
    },
}

/// The receiver of progress messages, if any. If its channel is full or closed, messages are lost; it never
/// blocks.
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

    /// Sends a line.
    pub fn line(&self, text: impl Into<String>) {
        self.note(Note::Line { text: text.into() });
    }

    /// Whether there is a receiver: otherwise messages need not be made.
    pub fn is_observed(&self) -> bool {
        self.0.is_some()
    }

    /// Sends a message.
    pub fn note(&self, note: Note) {
        if let Some(sink) = &self.0 {
            sink(note);
        }
    }
}

type SaveFuture = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Stores a small value of a verb (a batch id, a position) so that paid work is never submitted twice. Fields
/// with a meaning: `{attempt, spent}` is the cost of the attempt so far, which is recorded if it is
/// interrupted. With `kept = true`, only this is recorded, and other reservations do not count as lost. `open
/// = N` is the number of tasks that continue elsewhere: if the step fails for good, their results are never
/// fetched, and their reservations count as lost.
#[derive(Clone)]
pub struct CursorSink(Arc<dyn Fn(Value) -> SaveFuture + Send + Sync>);

impl CursorSink {
    /// Cursors go to `sink`, whose future resolves when the value is on disk.
    pub fn new(sink: impl Fn(Value) -> SaveFuture + Send + Sync + 'static) -> Self {
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
    /// The secret named `name`, for a program that Atoll itself or the user's own settings give it to: needs
    /// no permission.
    fn of_settings(&self, name: &str) -> Option<SecretText> {
        self.get(name)
    }
    /// The reason why the secret `name` is not available, if it is more specific than that it is not set.
    fn trouble(&self, _name: &str) -> Option<String> {
        None
    }
    /// `text` with every known secret value, in plain or encoded form, replaced by `***`.
    fn redact(&self, text: &str) -> String;
    /// The same for bytes, which may be text in another encoding than UTF-8, or binary.
    fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(bytes);
        let clean = self.redact(&text);
        if clean == text { bytes.to_vec() } else { clean.into_bytes() }
    }
    /// [`Secrets::redact`] for the beginning of a longer text, at whose end a secret may be truncated.
    fn redact_head(&self, text: &str) -> String {
        self.redact(text)
    }
    /// The last position of `text`, up to `at`, at which it may be split: it is not inside a secret, and the
    /// beginning of a possible secret comes after it.
    fn cut(&self, _text: &str, at: usize) -> usize {
        at
    }
    /// The ranges of bytes in `text` that are secrets; they may overlap.
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        if self.redact(text) == text { Vec::new() } else { vec![(0, text.len())] }
    }
    /// The same for the rows of a screen: also finds secrets that are wrapped in a frame, and recognizable
    /// parts of secrets. The line breaks at `wraps` are not from the program.
    fn places_on_screen(&self, text: &str, _wraps: &[usize]) -> Vec<(usize, usize)> {
        self.places(text)
    }
    /// [`Secrets::redact`] for every text in `value`.
    fn redact_value(&self, value: &mut Value) {
        change_texts(value, &|text| self.redact(text));
    }
}

/// The reason why `receiver` cannot be given the secret `name`, if that is not a valid name.
pub fn no_name(name: &str, receiver: &str) -> Option<Failure> {
    // An invalid name may be the value itself: it is not repeated.
    let failure = || Failure::permanent(format!("{receiver} has no valid name of a secret"));
    let hint = "give the name of an environment variable, never a value: `{ secret = \"API_TOKEN\" }`";
    (!is_name(name)).then(|| failure().hint(hint))
}

impl Context {
    /// The value of the secret `name`, for `receiver`, e.g. "the header `authorization`". Errors with `auth`
    /// if the user has not allowed it, or it is not set.
    pub fn secret(&self, name: &str, receiver: &str) -> Result<SecretText, Failure> {
        let ask = Permission::Secret(name.to_owned());
        if let Some(failure) = no_name(name, receiver) {
            return Err(failure);
        }
        if !self.grants.allows(&ask) {
            return Err(Failure::new(
                Class::Auth,
                format!("{receiver} requests the secret `{name}`, which is not allowed"),
            )
            .hint(format!(
                "allow it for this run: `atoll resume {} {}`; or remember it: `atoll trust FILE`",
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
            budget: BudgetSource::endless(),
            blobs: Arc::new(super::MemoryBlobs::default()),
            clock,
            workspace: Workspace { scratch: project.join(".scratch"), kept: project.join(".files"), project },
            secrets: Arc::new(NoSecrets),
            grants: Arc::new(Grants::everything()),
            schema: None,
        }
    }
}

/// Whether `name` is a valid name of a secret: that of an environment variable.
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
