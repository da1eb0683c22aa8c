//! Recorded answers: JSON Lines, one answer per line, keys sorted, so that two recordings can be compared
//! with `diff`. A line has the request (with volatile texts and secrets replaced), its digests, the answer
//! and its usage. An answer is found by `key`, the digest of model, system text, messages, options and
//! schema. A request that is sent several times in a run has several lines, numbered by `index`. Each is
//! returned once: first the one that was recorded at the same location (`at`: step instance, attempt,
//! sample), otherwise the first unused one, so that a retry or another sample gets the next recorded
//! answer.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cassette_diff;
use super::timing::TimedPiece;
use crate::llm::registry::Model;
use crate::llm::{
    ChatMessage, MessageImage, ModelRequest, ModelResponse, StopReason, TokenUsage, Tool, ToolCall,
    ToolResult,
};
use crate::rooted_fs::read_file;
use crate::value::{Digest, DigestPart, Value, canonical, digest_of_fields};
use crate::verb::Failure;

/// Mode of a cassette.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CassetteMode {
    /// Send requests, and record nothing.
    #[default]
    Off,
    /// Send requests, and append every answer to the file.
    Record(PathBuf),
    /// Send nothing: answer from the file, or fail if it has no answer.
    Replay(PathBuf),
    /// Answer from the file; send missing requests and append their answers.
    Fill(PathBuf),
}

/// Recorder and player of answers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cassette(Option<Arc<CassettePlayer>>);

struct CassettePlayer {
    path: PathBuf,
    replays: bool,
    asks: bool,
    /// Whether the timing of the pieces of an answer is recorded or replayed.
    timed: bool,
    tape: Mutex<Tape>,
}

#[derive(Default)]
struct Tape {
    lines: Vec<TapeEntry>,
    by_key: HashMap<Digest, Vec<usize>>,
    /// Number of indexes that were assigned to each key.
    counts: HashMap<Digest, u32>,
    file: Option<File>,
}

struct TapeEntry {
    line: CassetteLine,
    used: bool,
}

/// One line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CassetteLine {
    pub(super) key: Digest,
    pub(super) index: u32,
    pub(super) at: String,
    pub(super) request: RecordedRequest,
    digests: Value,
    preview: String,
    answer: RecordedResponse,
    usage: TokenUsage,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    timing: Vec<TimedPiece>,
}

/// A request without parts that differ from run to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RecordedRequest {
    pub(super) model: String,
    pub(super) system: Option<String>,
    pub(super) messages: Vec<ChatMessage>,
    pub(super) options: Value,
    pub(super) schema: Option<Arc<Value>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RecordedResponse {
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<ToolCall>,
    stop: StopReason,
    model: String,
    provider: String,
}

/// A recorded request with its key.
pub(super) struct KeyedRequest {
    pub(super) key: Digest,
    pub(super) request: RecordedRequest,
}

/// Result of a lookup.
pub(super) enum CassetteMatch {
    /// The answer, with the timing of its pieces if requested and known.
    Answer(ModelResponse, Vec<TimedPiece>),
    /// No answer: send the request, and record the answer under this index.
    Ask(u32),
}

/// Error of a cassette.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cassette {path}: {message}")]
pub struct CassetteError {
    /// Path of the file.
    pub path: String,
    /// Message.
    pub message: String,
}

impl Cassette {
    /// Opens the file of `mode`. Recording continues an existing file; an incomplete last line is dropped.
    pub fn open(mode: &CassetteMode) -> Result<Self, CassetteError> {
        let (path, replays, asks) = match mode {
            CassetteMode::Off => return Ok(Self(None)),
            CassetteMode::Record(path) => (path, false, true),
            CassetteMode::Replay(path) => (path, true, false),
            CassetteMode::Fill(path) => (path, true, true),
        };
        let failed = |message: String| CassetteError { path: path.display().to_string(), message };
        let tape = Tape::load(path, asks).map_err(failed)?;
        let player =
            CassettePlayer { path: path.clone(), replays, asks, timed: false, tape: Mutex::new(tape) };
        Ok(Self(Some(Arc::new(player))))
    }

    /// The cassette with timing: the times of the pieces of answers are recorded and replayed.
    #[must_use]
    pub fn timed(self) -> Self {
        let player = self.0.and_then(Arc::into_inner);
        Self(player.map(|player| Arc::new(CassettePlayer { timed: true, ..player })))
    }

    /// Whether timing is on.
    pub(super) fn is_timed(&self) -> bool {
        self.0.as_ref().is_some_and(|player| player.timed)
    }

    /// Whether there is a cassette; otherwise no keys are needed.
    pub(super) fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// Whether requests may be sent.
    pub(super) fn asks(&self) -> bool {
        self.0.as_ref().is_none_or(|player| player.asks)
    }

    /// Takes the answer to `kept`, or an index for a new one.
    pub(super) fn find(&self, kept: &KeyedRequest, at: &str) -> Result<CassetteMatch, Failure> {
        let Some(player) = &self.0 else { return Ok(CassetteMatch::Ask(0)) };
        let mut tape = player.tape.lock().unwrap_or_else(PoisonError::into_inner);
        if player.replays
            && let Some((answer, timing)) = tape.take(&kept.key, at)
        {
            return Ok(CassetteMatch::Answer(answer, if player.timed { timing } else { Vec::new() }));
        }
        if !player.asks {
            let lines: Vec<&CassetteLine> = tape.lines.iter().map(|taken| &taken.line).collect();
            return Err(cassette_diff::failure(kept, &lines, &player.path));
        }
        let count = tape.counts.entry(kept.key).or_default();
        *count += 1;
        Ok(CassetteMatch::Ask(*count - 1))
    }

    /// Appends `answer` to the file. It is on disk when this returns.
    pub(super) fn keep(
        &self,
        index: u32,
        kept: &KeyedRequest,
        at: &str,
        (answer, timing): (&ModelResponse, Vec<TimedPiece>),
    ) -> Result<(), Failure> {
        let Some(player) = &self.0 else { return Ok(()) };
        let last = kept.request.messages.last().map(heard).unwrap_or_default();
        let line = CassetteLine {
            key: kept.key,
            index,
            at: at.to_owned(),
            digests: kept.request.digests(),
            preview: last.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect(),
            request: kept.request.clone(),
            answer: RecordedResponse {
                text: answer.text.clone(),
                calls: answer.calls.clone(),
                stop: answer.stop,
                model: answer.model.clone(),
                provider: answer.provider.clone(),
            },
            usage: answer.usage,
            timing,
        };
        let mut tape = player.tape.lock().unwrap_or_else(PoisonError::into_inner);
        tape.append(&line).map_err(|e| {
            Failure::transient(format!("cannot add an answer to the cassette {}: {e}", player.path.display()))
        })
    }
}

/// Most bytes of a cassette.
const LARGEST: u64 = 1 << 30;

/// The text of a cassette. Only a regular file is read, because it may be part of an untrusted project.
pub(super) fn read_text(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read_file(path, LARGEST)?)
        .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e.utf8_error()))
}

impl Tape {
    fn load(path: &Path, writes: bool) -> Result<Self, String> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(e) if writes && e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(format!("cannot be read: {e}")),
        };
        let mut tape = Self::default();
        let mut whole = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            match serde_json::from_str::<CassetteLine>(line) {
                _ if line.trim().is_empty() => {}
                Ok(line) => tape.add(line, false),
                Err(_) if !line.ends_with('\n') => break,
                Err(e) => return Err(format!("line {} is not a recorded answer: {e}", number + 1)),
            }
            whole += line.len();
        }
        if writes {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let mut file = file.map_err(|e| format!("cannot be written: {e}"))?;
            file.set_len(whole as u64)
                .map_err(|e| format!("its incomplete last line cannot be removed: {e}"))?;
            if whole > 0 && !text[..whole].ends_with('\n') {
                file.write_all(b"\n").map_err(|e| e.to_string())?;
            }
            tape.file = Some(file);
        }
        Ok(tape)
    }

    fn add(&mut self, line: CassetteLine, used: bool) {
        self.by_key.entry(line.key).or_default().push(self.lines.len());
        let count = self.counts.entry(line.key).or_default();
        *count = (*count).max(line.index + 1);
        self.lines.push(TapeEntry { line, used });
    }

    fn take(&mut self, key: &Digest, at: &str) -> Option<(ModelResponse, Vec<TimedPiece>)> {
        let places = self.by_key.get(key)?;
        let left = || places.iter().copied().filter(|&i| !self.lines[i].used);
        let here = left().find(|&i| self.lines[i].line.at == at);
        let place = here.or_else(|| left().min_by_key(|&i| self.lines[i].line.index))?;
        let taken = &mut self.lines[place];
        taken.used = true;
        let CassetteLine { answer, usage, timing, .. } = taken.line.clone();
        let RecordedResponse { text, calls, stop, model, provider } = answer;
        Some((ModelResponse { text, calls, stop, usage, model, provider, replayed: true }, timing))
    }

    fn append(&mut self, line: &CassetteLine) -> std::io::Result<()> {
        let mut text = canonical(&serde_json::to_value(line)?);
        text.push('\n');
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
        }
        self.add(line.clone(), true);
        Ok(())
    }
}

impl KeyedRequest {
    /// `request` to `model`, with volatile texts replaced by their indexes and secrets by `***`.
    pub(super) fn new(request: &ModelRequest, model: &Model, redact: impl Fn(&str) -> String) -> Self {
        let mut volatile: Vec<(usize, &String)> =
            request.volatile.iter().enumerate().filter(|(_, text)| !text.is_empty()).collect();
        volatile.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        let plain = |text: &str| {
            let replace =
                |text: String, (i, part): &(usize, &String)| text.replace(*part, &format!("‹volatile {i}›"));
            redact(&volatile.iter().fold(text.to_owned(), replace))
        };
        let message = |m: &ChatMessage| ChatMessage {
            role: m.role,
            content: plain(&m.content),
            images: m.images.iter().map(MessageImage::digested).collect(),
            calls: m.calls.iter().map(|call| call.mapped(&plain)).collect(),
            results: m.results.iter().map(|r| ToolResult { text: plain(&r.text), ..r.clone() }).collect(),
        };
        let asked = RecordedRequest {
            model: model.full_name(),
            system: request.system.as_deref().map(plain),
            messages: request.messages.iter().map(message).collect(),
            options: json!({
                "temperature": request.temperature, "max_tokens": request.max_tokens, "effort": request.effort,
                "seed": request.seed, "stop": request.stop,
            }),
            schema: request.schema.as_ref().map(|shape| shape.schema.clone()),
            tools: request.tools.clone(),
        };
        let schema = request.schema.as_ref().map(|shape| &*shape.canonical);
        Self { key: asked.key(schema), request: asked }
    }
}

/// The last text of a message.
fn heard(message: &ChatMessage) -> &str {
    match message.results.last() {
        Some(result) if message.content.is_empty() => &result.text,
        _ => &message.content,
    }
}

impl RecordedRequest {
    /// The key; `schema` is the canonical text of the schema.
    fn key(&self, schema: Option<&str>) -> Digest {
        let (model, system, messages) = (json!(self.model), json!(self.system), json!(self.messages));
        let tools = (!self.tools.is_empty()).then(|| json!(self.tools));
        let fields = [
            ("model", DigestPart::Value(&model)),
            ("system", DigestPart::Value(&system)),
            ("messages", DigestPart::Value(&messages)),
            ("options", DigestPart::Value(&self.options)),
            ("schema", schema.map_or(DigestPart::Value(&Value::Null), DigestPart::Canonical)),
        ];
        digest_of_fields(
            fields.into_iter().chain(tools.as_ref().map(|tools| ("tools", DigestPart::Value(tools)))),
        )
    }

    fn digests(&self) -> Value {
        let short = |text: &str| Digest::of(text).short();
        json!({
            "system": self.system.as_deref().map(short),
            "messages": self.messages.iter().map(|m| short(&m.content)).collect::<Vec<_>>(),
            "options": Digest::of_value(&self.options).short(),
            "schema": self.schema.as_deref().map(|schema| Digest::of_value(schema).short()),
        })
    }
}
