use std::fmt::{self, Write as _};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Tool, ToolCall, ToolResult};
use crate::llm::registry::Model;
use crate::schema::Schema;
use crate::value::{Digest, Value};

/// What is asked of a model, whatever its provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRequest {
    /// The model, as the registry or `provider/name` names it.
    pub model: String,
    /// What stands above the conversation.
    pub system: Option<String>,
    /// The conversation; the last message is the one to answer.
    pub messages: Vec<ChatMessage>,
    /// 0 to 2; left to the provider where absent, and for models that do not take one.
    pub temperature: Option<f64>,
    /// Most tokens to answer with; the registry's default where absent.
    pub max_tokens: Option<u64>,
    /// How hard to think, for models that take it.
    pub effort: Option<Effort>,
    /// For providers that take one.
    pub seed: Option<u64>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// The schema that the answer shall fit; enforced by the provider where it can.
    pub schema: Option<ResponseSchema>,
    /// Mark the unchanging beginning of the request for the provider's prompt cache.
    pub cache_prompt: bool,
    /// Texts inside the request that differ from run to run (ports, nonces): not part of its identity.
    pub volatile: Vec<String>,
    /// Tools that the model may call. A schema that would need a tool of its own is not sent beside them.
    pub tools: Vec<Tool>,
    /// Whether an answer that calls no tool is of no use: a model whose calls are held to a schema has no other choice
    /// then. Others are left to decide, for being forced costs them the words that they think in.
    pub must_call: bool,
}

/// A named JSON Schema for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseSchema {
    /// Letters, digits, `_` and `-`, at most 64: what providers accept.
    pub name: String,
    /// The schema.
    pub schema: Arc<Value>,
    /// Its canonical text.
    pub canonical: Arc<str>,
}

impl ResponseSchema {
    /// The shape that `schema` asks for. Its name is made from the schema's, e.g. a file's path, in letters that
    /// providers accept.
    pub fn of(schema: &Schema) -> Self {
        let name = schema.name();
        let stem = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".json");
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = stem.chars().map(plain).take(64).collect();
        let name = if name.is_empty() { "answer".to_owned() } else { name };
        Self { name, schema: schema.source().clone(), canonical: schema.canonical().clone() }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// The text.
    pub content: String,
    /// Pictures that are shown with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<MessageImage>,
    /// Tools that the model called in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// What became of the calls of the message before it; they stand in front of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ToolResult>,
}

impl ChatMessage {
    /// What somebody says, in words alone.
    pub fn said(role: Role, content: impl Into<String>) -> Self {
        let (content, images, calls, results) = (content.into(), Vec::new(), Vec::new(), Vec::new());
        Self { role, content, images, calls, results }
    }

    /// What the user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::said(Role::User, content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::said(Role::Assistant, content)
    }

    /// Its length in bytes for whoever reads it; each picture counts like a page of text.
    pub fn size(&self) -> usize {
        let calls = self.calls.iter().map(ToolCall::size).sum::<usize>();
        let results = self.results.iter().map(|result| result.text.len()).sum::<usize>();
        self.content.len() + self.images.len() * MessageImage::SIZE + calls + results
    }
}

/// A picture in a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageImage {
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`: what all providers take.
    pub media_type: String,
    /// Its bytes in base64; on a cassette their digest.
    pub data: Arc<str>,
}

impl MessageImage {
    /// What a provider is taken to read for one, whatever its size: some 1,500 tokens.
    const SIZE: usize = 5_250;

    /// It as an address that holds its content.
    pub(super) fn url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, self.data)
    }

    /// It as a cassette knows it.
    pub(super) fn digested(&self) -> Self {
        let data = Digest::of(self.data.as_bytes()).to_string().into();
        Self { media_type: self.media_type.clone(), data }
    }
}

impl fmt::Debug for MessageImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} letters", self.media_type, self.data.len())
    }
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The asking side.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The word for it in both dialects.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// How hard a model shall think.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// As little as possible.
    Minimal,
    /// Little.
    Low,
    /// The middle.
    Medium,
    /// Much.
    High,
    /// As much as it can.
    Max,
}

impl Effort {
    /// The word for it in both dialects.
    pub fn word(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Max => "max",
        }
    }
}

/// What a model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelResponse {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// Tools that it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// What it used.
    pub usage: TokenUsage,
    /// The model as the provider calls what answered.
    pub model: String,
    /// The provider's name in the registry.
    pub provider: String,
    /// Whether it was read from a cassette.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model was done.
    End,
    /// It ran into the limit of tokens.
    Length,
    /// It wrote one of the stop texts.
    StopText,
    /// The model declined.
    Refusal,
    /// The provider withheld it.
    ContentFilter,
    /// It waits for what the tools bring that it calls.
    Tools,
    /// Something else.
    Other,
}

/// What a call used, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenUsage {
    /// All that was read, from the cache or not.
    pub tokens_in: u64,
    /// All that was written, thinking included.
    pub tokens_out: u64,
    /// The part of `tokens_in` that came from the provider's cache.
    #[serde(default)]
    pub cache_read: u64,
    /// The part of `tokens_in` that was written to the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
    /// The provider gave no figures: these are estimated from lengths.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl TokenUsage {
    /// An estimate from lengths in bytes, at 3.5 bytes a token, rounded up.
    pub fn estimate(read: usize, written: usize) -> Self {
        let tokens = |bytes: usize| (bytes as u64 * 2).div_ceil(7);
        Self { tokens_in: tokens(read), tokens_out: tokens(written), estimated: true, ..Self::default() }
    }

    /// Adds `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.tokens_in += other.tokens_in;
        self.tokens_out += other.tokens_out;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
        self.estimated |= other.estimated;
    }
}

impl ModelRequest {
    /// A digest by which it is told from other requests to `model`: the same however often it is asked, also where its
    /// volatile texts are others.
    pub(super) fn fingerprint(&self, model: &Model) -> Digest {
        let mut volatile: Vec<&String> = self.volatile.iter().filter(|text| !text.is_empty()).collect();
        volatile.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let mut text = model.full_name();
        let mut add = |part: &str| {
            // With its length, so that no two lists of parts are the same text.
            let _ = write!(text, "\0{}\0", part.len());
            if volatile.is_empty() {
                text.push_str(part);
            } else {
                text.push_str(&volatile.iter().fold(part.to_owned(), |text, part| text.replace(*part, "\0")));
            }
        };
        add(self.system.as_deref().unwrap_or_default());
        for message in &self.messages {
            add(message.role.word());
            add(&message.content);
            message.images.iter().for_each(|image| add(&image.data));
            message.calls.iter().for_each(|call| add(&call.input.to_string()));
            message.results.iter().for_each(|result| add(&result.text));
        }
        let options = (self.temperature, self.max_tokens, self.effort, self.seed, &self.stop);
        add(&format!("{options:?}"));
        add(self.schema.as_ref().map_or("", |shape| &shape.canonical));
        self.tools.iter().for_each(|tool| add(&tool.name));
        Digest::of(text)
    }

    /// Length in bytes of everything the model is to read; each picture counts like a page of text.
    pub fn size(&self) -> usize {
        let tools = self.tools.iter().map(Tool::size).sum::<usize>();
        self.system.as_ref().map_or(0, String::len)
            + tools
            + self.messages.iter().map(ChatMessage::size).sum::<usize>()
    }
}
