//! Models behind one door: a [`Request`] goes in, an [`Answer`] or a classed failure comes out, whatever the provider.
//! It must never know what is asked for or why: no prompts, no pipelines, no retries.
//! Start with [`Models::ask`]; then a [`Dialect`], which is pure (what to send, how to read), and `exchange`, the one
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
mod dialect;
mod exchange;
mod fault;
mod figures;
mod gaps;
mod gate;
mod gemini;
mod halves;
mod hush;
mod listing;
mod miss;
mod models;
mod moderation;
mod ollama;
mod openai;
mod options;
mod reasons;
pub mod registry;
mod request;
mod resets;
mod responses;
mod shape;
mod shelf;
mod spoken;
mod sse;
mod thoughts;
mod timing;
mod tool;

pub use batch::{Entry, Keeping, Place, Places};
pub use cassette::{Cassette, CassetteError, Mode};
pub use dialect::{Call, Dialect, Draft, Interrupted, is_unanswered, is_worth_asking_again};
pub use figures::Figures;
pub use gaps::left_out;
pub use listing::Served;
pub use models::{Asking, CallBudget, Models, Waiting};
pub(in crate::llm) use shape::can_say;
pub use shape::in_prose;
pub use shelf::{prune, recorded};
pub use spoken::sent_bytes;
pub use thoughts::{has_marks, without_end, without_thoughts};

pub use request::{Answer, Effort, Image, Message, Request, Role, Shape, Stop, Usage};
pub use tool::{Calling, Tool, ToolCall, ToolResult};
