//! Models behind one door: a [`ModelRequest`] goes in, an [`ModelResponse`] or a classed failure comes out, whatever the provider.
//! It must never know what is asked for or why: no prompts, no pipelines, no retries.
//! Start with [`Models::ask`]; then a [`WireFormat`], which is pure (what to send, how to read), and `exchange`, the one
//! place that talks to the network. `gate` keeps the number of calls to what a provider bears, `batch` asks many requests
//! together. [`Cassette`] keeps answers and gives them back.
//!
//! Why the dialects here are our own and not those of `genai` 0.7.2, which was weighed for them: it rewrites every
//! answer schema to the strict form (optional properties become required), takes `-low`, `-high`, … off the end of
//! model names and puts them into the effort, drops `delta.refusal`, the model that a stream names and the usage of a
//! stream that is cut off, though all of that was paid for. A dialect is some 150 lines.
//! Why the gate is our own and not `governor`: that one keeps to a rate that is known beforehand; what a provider
//! bears is known only from what it answers.

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
