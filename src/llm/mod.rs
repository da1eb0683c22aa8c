//! Access to models: a [`ModelRequest`] gives a [`ModelResponse`] or a classified failure, for any
//! provider. This module does not know what is requested or why: no prompts, no pipelines, no retries.
//! Start with [`Models::ask`]; then [`WireFormat`], which is pure (building calls, parsing answers), and
//! `transport`, the only place with network access. `rate_limiter` adapts the number of calls to the
//! provider, `batch` sends many requests together. [`Cassette`] records and replays answers. The wire
//! formats are our own instead of those of `genai` 0.7.2, because `genai` rewrites every answer schema to
//! the strict form (optional properties become required), moves suffixes of model names such as `-low` and
//! `-high` into the effort, and drops `delta.refusal`, the model of a stream and the usage of an
//! interrupted stream, although all of that is paid for. A wire format has about 150 lines. The rate
//! limiter is our own instead of `governor`, which needs a known rate; the limits of a provider are known
//! only from its answers.

mod anthropic;
mod batch;
mod bounds;
mod cassette;
mod cassette_diff;
mod cassette_file;
mod dialect;
mod emulated_tools;
mod figures;
mod gemini;
mod listing;
mod models;
mod moderation;
mod ollama;
mod openai;
mod options;
mod provider_error;
mod rate_limiter;
mod reasons;
pub mod registry;
mod request;
mod responses;
mod retry_after;
mod shape;
mod sse;
mod stream_redactor;
mod surrogates;
mod thoughts;
mod timing;
mod tool;
mod transport;
mod unsupported;

pub use batch::{BatchHandle, BatchOptions, HandleStore, StoreFuture};
pub use cassette::{Cassette, CassetteError, CassetteMode};
pub use cassette_file::{prune, recorded};
pub use dialect::{
    Interrupted, PartialResponse, ProviderCall, WireFormat, is_unanswered, is_worth_asking_again,
};
pub use emulated_tools::sent_bytes;
pub use figures::Figures;
pub use listing::Served;
pub use models::{CallBudget, CallContext, Models, QueueMemory};
pub(in crate::llm) use shape::can_say;
pub use shape::in_prose;
pub use thoughts::{has_marks, without_end, without_thoughts};
pub use unsupported::left_out;

pub use request::{
    ChatMessage, Effort, MessageImage, ModelRequest, ModelResponse, ResponseSchema, Role, StopReason,
    TokenUsage,
};
pub use tool::{PartialToolCall, Tool, ToolCall, ToolResult};
