use std::fmt::{self, Write as _};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Tool, ToolCall, ToolResult};
use crate::llm::registry::Model;
use crate::schema::Schema;
use crate::value::{Digest, Value};

/// Request to a model of any provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelRequest {
    /// Name of the model in the registry, or `provider/name`.
    pub model: String,
    /// System text.
    pub system: Option<String>,
    /// The conversation; the last message is the one to answer.
    pub messages: Vec<ChatMessage>,
    /// Temperature from 0 to 2; by default, and for models without support, that of the provider.
    pub temperature: Option<f64>,
    /// Token limit of the answer; by default that of the registry.
    pub max_tokens: Option<u64>,
    /// Thinking effort, for models that support it.
    pub effort: Option<Effort>,
    /// Seed, for providers that support it.
    pub seed: Option<u64>,
    /// Stop texts.
    pub stop: Vec<String>,
    /// Schema of the answer; enforced by the provider if possible.
    pub schema: Option<ResponseSchema>,
    /// Whether to mark the constant beginning of the request for the prompt cache.
    pub cache_prompt: bool,
    /// Texts in the request that differ from run to run (ports, nonces), which are not part of its identity.
    pub volatile: Vec<String>,
    /// Tools that the model may call. A schema that would need an answer tool is not sent in addition.
    pub tools: Vec<Tool>,
    /// Whether an answer must call a tool. Enforced only for models with emulated tools, because others
    /// would lose the text in which they think.
    pub must_call: bool,
}

/// A named JSON Schema for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseSchema {
    /// Name with at most 64 letters, digits, `_` and `-`, as providers require.
    pub name: String,
    /// The schema.
    pub schema: Arc<Value>,
    /// Its canonical text.
    pub canonical: Arc<str>,
}

impl ResponseSchema {
    /// The response schema for `schema`. Its name, such as a file path, is changed to characters that
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
    /// Speaker.
    pub role: Role,
    /// The text.
    pub content: String,
    /// Images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<MessageImage>,
    /// Tool calls of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// Results of the calls of the previous message, which come before the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ToolResult>,
}

impl ChatMessage {
    /// A message with text only.
    pub fn said(role: Role, content: impl Into<String>) -> Self {
        let (content, images, calls, results) = (content.into(), Vec::new(), Vec::new(), Vec::new());
        Self { role, content, images, calls, results }
    }

    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self::said(Role::User, content)
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::said(Role::Assistant, content)
    }

    /// Size in bytes; each image counts like a page of text.
    pub fn size(&self) -> usize {
        let calls = self.calls.iter().map(ToolCall::size).sum::<usize>();
        let results = self.results.iter().map(|result| result.text.len()).sum::<usize>();
        self.content.len() + self.images.len() * MessageImage::SIZE + calls + results
    }
}

/// An image in a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageImage {
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`, which all providers support.
    pub media_type: String,
    /// Content in base64; on a cassette its digest.
    pub data: Arc<str>,
}

impl MessageImage {
    /// Assumed size of any image, in bytes: about 1,500 tokens.
    const SIZE: usize = 5_250;

    /// The image as a data URL.
    pub(super) fn url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, self.data)
    }

    /// The image with a digest instead of its content, for a cassette.
    pub(super) fn digested(&self) -> Self {
        let data = Digest::of(self.data.as_bytes()).to_string().into();
        Self { media_type: self.media_type.clone(), data }
    }
}

impl fmt::Debug for MessageImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} characters", self.media_type, self.data.len())
    }
}

/// Speaker of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// Keyword in wire formats.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Thinking effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Minimal.
    Minimal,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Maximum.
    Max,
}

impl Effort {
    /// Keyword in wire formats.
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

/// Answer of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelResponse {
    /// The text.
    pub text: String,
    /// Stop reason.
    pub stop: StopReason,
    /// Tool calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    /// Usage.
    pub usage: TokenUsage,
    /// Name of the answering model at the provider.
    pub model: String,
    /// Name of the provider in the registry.
    pub provider: String,
    /// Whether it was replayed from a cassette.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// Stop reason of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model finished.
    End,
    /// The token limit was reached.
    Length,
    /// A stop text was written.
    StopText,
    /// The model refused.
    Refusal,
    /// The provider withheld it.
    ContentFilter,
    /// The model waits for the results of tool calls.
    Tools,
    /// Another reason.
    Other,
}

/// Token usage of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenUsage {
    /// All input tokens, from the cache or not.
    pub tokens_in: u64,
    /// All output tokens, including thoughts.
    pub tokens_out: u64,
    /// The part of `tokens_in` that came from the provider's cache.
    #[serde(default)]
    pub cache_read: u64,
    /// The part of `tokens_in` that was written to the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
    /// Whether the numbers are estimated from lengths, because the provider reported none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl TokenUsage {
    /// An estimate from lengths in bytes: 3.5 bytes per token, rounded up.
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
    /// A digest that identifies the request to `model`. It does not depend on volatile texts.
    pub(super) fn fingerprint(&self, model: &Model) -> Digest {
        let mut volatile: Vec<&String> = self.volatile.iter().filter(|text| !text.is_empty()).collect();
        volatile.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let mut text = model.full_name();
        let mut add = |part: &str| {
            // With the length, so that different lists of parts give different texts.
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

    /// Size of everything that the model reads, in bytes; each image counts like a page of text.
    pub fn size(&self) -> usize {
        let tools = self.tools.iter().map(Tool::size).sum::<usize>();
        self.system.as_ref().map_or(0, String::len)
            + tools
            + self.messages.iter().map(ChatMessage::size).sum::<usize>()
    }
}
