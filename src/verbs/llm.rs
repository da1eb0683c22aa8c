//! `llm`: calls a language model.

mod batch_cursor;
mod bound;
mod continuation;
mod edits;
mod json_extract;
mod mode;
mod picture;
mod pieces;
mod quotation;
mod refusals;
mod reply;
mod vote;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::model_selection::{ModelNames, UnknownCost, can_switch, priced, remarks, served};
use crate::llm::registry::{Model, SchemaMode};
use crate::llm::{ChatMessage, Effort, ModelRequest, Models, ResponseSchema, Role, in_prose};
use crate::schema::Schema;
use crate::value::Value;
use crate::verb::{Class, Context, CostBound, Failure, Output, Refusal, Remark, Traits, Verb};

use edits::{EditAnswer, EditProtocol};
use json_extract::AmbiguousAnswer;
use mode::AskMode;
use picture::Picture;
use reply::{ModelQuestion, Reply, Session};
use vote::Vote;

/// The text that is added to a prompt after a rejected answer.
pub(super) const RETRY_PROMPT: &str = "prompts/llm/again.md";

/// The verb `llm`.
pub struct Llm {
    models: Models,
}

impl Llm {
    /// A verb that calls `models`.
    pub fn new(models: Models) -> Self {
        Self { models }
    }
}

/// Input of `llm`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LlmInput {
    /// Model: a name of the registry, `provider/name`, or an alias such as `cheap`. A list is tried in order:
    /// the next one is called if one cannot be reached, fails, has no usable key, does not support images, or
    /// asks to wait for more than a minute.
    model: ModelNames,
    /// System text.
    system: Option<String>,
    /// Text added to the last message after a rejected answer. Default: the text of `prompts/llm/again.md`,
    /// unless a text of the step reads `attempt.error`.
    again: Option<String>,
    /// User message. Either this or `messages`.
    prompt: Option<String>,
    /// Conversation `[{role, content, images}]` with the roles `user` and `assistant`; the last message is
    /// answered.
    messages: Option<Vec<MessageInput>>,
    /// Pictures of the last message: paths of PNG, JPEG, GIF or WebP files, or evidence of a scenario such as
    /// a screenshot. A model without image input is not called.
    #[serde(default)]
    images: Vec<Picture>,
    /// Sampling temperature, 0 to 2. Not sent to models that do not support it; a message says so.
    #[schemars(range(min = 0.0, max = 2.0))]
    temperature: Option<f64>,
    /// Maximum number of tokens of the answer. Default: the model's limit in the registry.
    #[schemars(range(min = 1))]
    max_tokens: Option<u64>,
    /// Reasoning effort. Not sent to models that do not support it; a message says so.
    effort: Option<Effort>,
    /// Sampling seed: makes answers repeatable if the provider supports it. Otherwise it is not sent; a
    /// message says so.
    seed: Option<u64>,
    /// Stop sequences: the answer ends before them. A model that does not support them is not called.
    #[serde(default)]
    stop: Vec<String>,
    /// Number of parallel calls, 1 to 64; `vote` combines the answers. Default: 1.
    #[serde(default = "default_samples")]
    #[schemars(range(min = 1, max = 64))]
    samples: u32,
    /// Method that chooses among the samples. The output is the chosen answer, with the additional fields
    /// `samples` (all answers) and `spread` (median: largest minus smallest; majority: the share that
    /// disagrees), unless the step's schema forbids further fields.
    vote: Option<Vote>,
    /// Value to vote on: a field of the answer or a JSON Pointer. Default: the whole answer.
    vote_on: Option<String>,
    /// Whether the system text, or the first message, is marked for the provider's prompt cache. Providers
    /// without such marks cache automatically or not at all. Default: `false`.
    #[serde(default)]
    cache_prompt: bool,
    /// Format of the answer. Default: `json` if the step has a schema, else `text`.
    format: Option<AnswerFormat>,
    /// Tree of files that the answer changes. The changes are applied within the attempt: an answer that
    /// cannot be read or applied is `rejected`, and `attempt.error` gives the next attempt the reason. The
    /// output is `{tree, files, changes, unchanged}`. Cannot be combined with `output`, `format` or
    /// `samples`.
    edits: Option<EditAnswer>,
    /// Handling of an answer with several different values that fit the schema, e.g. because it quotes the
    /// program that it is about: `last` takes the last one, `reject` rejects the answer. A judge should use
    /// `reject`.
    #[serde(default)]
    ambiguous: AmbiguousAnswer,
    /// Texts in the prompt that differ from run to run (ports, nonces): they are not part of a recorded
    /// answer's key.
    #[serde(default)]
    volatile: Vec<VolatileText>,
    /// Maximum duration of the attempt, e.g. `5m`.
    timeout: Option<String>,
    /// Label for costs, e.g. `judge`: `atoll cost` groups by it. Default: the name of the step.
    role: Option<String>,
    /// Handling of a model without a known price. Default: `refuse`.
    #[serde(default)]
    unknown_cost: UnknownCost,
    /// Whether the request is sent at once, or in a batch: at half the price, within a day. Of a list of
    /// models only the first is called. Default: `realtime`.
    #[serde(default)]
    mode: AskMode,
}

/// A message of a conversation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MessageInput {
    /// Role of the author.
    role: Role,
    /// Text of the message.
    content: String,
    /// Pictures of the message.
    #[serde(default)]
    images: Vec<Picture>,
}

/// A text, or a number that is used as text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum VolatileText {
    Text(String),
    Number(serde_json::Number),
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AnswerFormat {
    /// One JSON value, with or without a code fence or prose around it. It is the output.
    Json,
    /// Text. The output is `{text, model, stop, usage}`.
    Text,
    /// Blocks `=== FILE: path ===` … `=== END FILE ===`, never truncated. The output is as with `text`.
    Files,
}

/// Output of `llm`. With `json` it is the value itself; with `text` it is `{text, model, stop, usage:
/// {tokens_in, tokens_out, cache_read, cache_write}}`. If another model of a list answered, `switched` names
/// those that failed, unless the step's schema forbids further fields. With `edits` it is the tree: `{tree,
/// files, changes, unchanged}`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct LlmOutput(Value);

fn default_samples() -> u32 {
    1
}

impl Verb for Llm {
    const NAME: &'static str = "llm";
    const SUMMARY: &'static str =
        "call a language model; the answer is text, or JSON that fits the step's schema";
    const TRAITS: Traits = Traits::paid("llm");
    const EXAMPLE: &'static str = r#"[steps.verdict]
output = "schemas/verdict.json"
retry  = { max = 2, on = ["rejected", "transient"] }

[steps.verdict.llm]
model       = ["claude-haiku-4-5", "local/qwen2.5-coder"]
system      = "You judge whether an observation satisfies an expectation."
prompt      = "Expected: a greeting. Observed: {{ inputs.observed }}"
temperature = 0
max_tokens  = 512
"#;
    type With = LlmInput;
    type Out = LlmOutput;
    const LANES: &'static [(&'static str, usize)] = &[mode::LANE];
    const KEYS_AT_START: &'static [&'static str] = &["mode"];
    const RETRY_PROMPT: Option<&'static str> = Some(RETRY_PROMPT);
    const EXTRA_FIELDS: &'static [&'static str] = &["samples", "spread", "switched"];
    const OUTPUT_KEYS: &'static [&'static str] = &["edits"];

    fn lane(with: &Value) -> &'static str {
        mode::lane(with).unwrap_or(Self::TRAITS.lane)
    }

    fn bound(&self, with: &Value, schema: Option<&Schema>) -> Option<CostBound> {
        bound::of(&self.models, with, schema)
    }

    fn depends_on(&self, with: &Value) -> Option<String> {
        Some(served(&self.models, with))
    }

    fn remarks(&self, with: &Value) -> Vec<Remark> {
        let mut found = remarks(&self.models, with);
        if found.is_empty() {
            found.extend(mode::remark(&self.models, with));
        }
        found
    }

    fn refusals(with: &LlmInput) -> Vec<Refusal> {
        with.input_refusals()
    }

    async fn run(&self, with: LlmInput, cx: Context) -> Result<Output<LlmOutput>, Failure> {
        let models = self.models.clone();
        let shows = with.shows();
        let plan = move || with.plan(&models, &cx).map(|plan| (plan, cx));
        let planned = if shows {
            // Pictures are read from the disk.
            let planning = tokio::task::spawn_blocking(plan).await;
            planning.map_err(|e| Failure::new(Class::Bug, format!("internal error in `llm`: {e}")))?
        } else {
            plan()
        };
        let (plan, cx) = planned?;
        let session = Session::new(&self.models, &cx, &plan);
        let out = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(Failure::cancelled()),
            () = cx.stopping.cancelled(), if plan.mode == AskMode::Batch => Err(Failure::cancelled()),
            () = wait(&cx, plan.timeout) => Err(out_of_time(&plan)),
            out = plan.ask(&session) => out,
        };
        if let Err(failure) = &out {
            session.close(failure).await;
        }
        let (spent, unsettled) = session.end();
        match out {
            Ok(value) => Ok(Output { value: LlmOutput(value), spent }),
            Err(failure) => Err(failure.spent(spent).unsettled(unsettled)),
        }
    }
}

async fn wait(cx: &Context, timeout: Option<Duration>) {
    match timeout {
        Some(span) => cx.clock.sleep(span).await,
        None => std::future::pending().await,
    }
}

fn out_of_time(plan: &LlmJob) -> Failure {
    let seconds = plan.timeout.unwrap_or_default().as_secs_f64();
    Failure::new(Class::Timeout, format!("no answer within {seconds} s"))
        .hint("raise `timeout`, lower `max_tokens`, or use a faster model")
}

/// A checked [`LlmInput`]: the request, the models, and how answers are processed.
struct LlmJob {
    models: Vec<(String, Arc<Model>)>,
    request: ModelRequest,
    format: AnswerFormat,
    mode: AskMode,
    samples: u32,
    vote: Option<Vote>,
    vote_on: Option<String>,
    ambiguous: AmbiguousAnswer,
    timeout: Option<Duration>,
    schema: Option<Arc<Schema>>,
    role: String,
    edits: Option<Arc<EditAnswer>>,
}

impl LlmInput {
    fn plan(self, models: &Models, cx: &Context) -> Result<LlmJob, Failure> {
        let names = match self.model {
            ModelNames::One(name) => vec![name],
            ModelNames::Many(names) => names,
        };
        let meant = names.iter().flat_map(|name| models.registry().resolve_alias(name));
        let found = meant.map(|name| Ok((name.to_owned(), models.find(name)?)));
        let mut found: Vec<_> = found.collect::<Result<_, Failure>>()?;
        if self.mode == AskMode::Batch {
            found = mode::in_batch(found)?;
        }
        if self.unknown_cost == UnknownCost::Refuse {
            found.iter().try_for_each(|(name, model)| priced(name, model))?;
        }
        let (format, schema) = if let Some(edits) = &self.edits {
            edits.asked()?
        } else {
            let usual = if cx.schema.is_some() { AnswerFormat::Json } else { AnswerFormat::Text };
            (self.format.unwrap_or(usual), cx.schema.clone())
        };
        let schema = schema.filter(|_| format == AnswerFormat::Json);
        let volatile = self.volatile.into_iter().map(|part| match part {
            VolatileText::Text(text) => text,
            VolatileText::Number(number) => number.to_string(),
        });
        Ok(LlmJob {
            request: ModelRequest {
                model: String::new(),
                system: self.system.filter(|text| !text.trim().is_empty()),
                messages: conversation(self.prompt, self.messages, (&self.images, self.again), cx)?,
                temperature: self.temperature,
                max_tokens: self.max_tokens,
                effort: self.effort,
                seed: self.seed,
                stop: self.stop,
                schema: schema.as_deref().map(ResponseSchema::of),
                cache_prompt: self.cache_prompt,
                volatile: volatile.collect(),
                tools: Vec::new(),
                must_call: false,
            },
            role: self.role.unwrap_or_default(),
            timeout: self.timeout.as_deref().map(span).transpose()?,
            models: found,
            format,
            mode: self.mode,
            samples: self.samples,
            vote: self.vote,
            vote_on: self.vote_on,
            ambiguous: self.ambiguous,
            schema,
            edits: self.edits.map(Arc::new),
        })
    }

    /// Whether it contains pictures.
    fn shows(&self) -> bool {
        !self.images.is_empty() || self.messages.iter().flatten().any(|turn| !turn.images.is_empty())
    }
}

fn conversation(
    prompt: Option<String>,
    turns: Option<Vec<MessageInput>>,
    (images, again): (&[Picture], Option<String>),
    cx: &Context,
) -> Result<Vec<ChatMessage>, Failure> {
    let shown =
        |images: &[Picture]| images.iter().map(|picture| picture.load(cx)).collect::<Result<Vec<_>, _>>();
    let mut messages = match (turns, prompt) {
        (Some(turns), _) => turns
            .into_iter()
            .map(|turn| {
                Ok(ChatMessage { images: shown(&turn.images)?, ..ChatMessage::said(turn.role, turn.content) })
            })
            .collect::<Result<_, Failure>>()?,
        (None, prompt) => prompt.map(ChatMessage::user).into_iter().collect::<Vec<_>>(),
    };
    if let Some(last) = messages.last_mut() {
        last.images.extend(shown(images)?);
        if let Some(again) = again {
            last.content = format!("{}\n\n{again}", last.content.trim_end());
        }
    }
    Ok(messages)
}

fn span(text: &str) -> Result<Duration, Failure> {
    crate::duration::parse(text).ok().filter(|span| !span.is_zero()).ok_or_else(|| {
        Failure::permanent(format!("`llm`: `timeout` is not a duration: {text}"))
            .hint("write it as `90s` or `5m`")
    })
}

impl LlmJob {
    /// Calls the models in order until one answers.
    async fn ask(&self, session: &Session<'_>) -> Result<Value, Failure> {
        let mut switched: Vec<&str> = Vec::new();
        let mut first: Option<Failure> = None;
        for (i, (name, model)) in self.models.iter().enumerate() {
            let elsewhere = i + 1 < self.models.len();
            let failure = match self.ask_one(session, name, model, elsewhere).await {
                Ok(value) if switched.is_empty() => return Ok(value),
                Ok(value) => return Ok(self.with_fields(value, [("switched", json!(switched))])),
                Err(failure) => failure,
            };
            if !can_switch(&failure) {
                return Err(failure);
            }
            if let Some((next, _)) = self.models.get(i + 1) {
                session.say(format!("{name} failed ({failure}): calling {next} instead"));
            }
            switched.push(name);
            // The failure that matters to a person is that of the first model.
            first.get_or_insert(failure);
        }
        let failure = first.unwrap_or_else(|| Failure::permanent("`model` is empty"));
        Err(if switched.len() > 1 {
            Failure {
                message: format!("{} (nor did {} answer)", failure.message, switched[1..].join(", ")),
                ..failure
            }
        } else {
            failure
        })
    }

    async fn ask_one(
        &self,
        session: &Session<'_>,
        name: &str,
        model: &Model,
        elsewhere: bool,
    ) -> Result<Value, Failure> {
        let mut request = ModelRequest { model: name.to_owned(), ..self.request.clone() };
        if let Some(shape) = request.schema.as_ref().filter(|shape| model.means(shape) == SchemaMode::Words) {
            let ask = in_prose(&shape.canonical);
            request.system = Some(request.system.map_or(ask.clone(), |system| format!("{system}\n\n{ask}")));
        }
        let schema = self.schema.as_deref();
        let asked = ModelQuestion { request: &request, model, schema, elsewhere };
        let replies = (0..self.samples).map(|sample| session.reply(&asked, sample));
        let mut replies = futures_util::future::join_all(replies).await;
        if replies.len() == 1 {
            return replies.remove(0).map(|reply| reply.value);
        }
        self.choose(session, replies)
    }

    /// Votes, if more than half of the samples are answers.
    fn choose(&self, session: &Session<'_>, replies: Vec<Result<Reply, Failure>>) -> Result<Value, Failure> {
        let asked = replies.len();
        let (good, bad): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
        let good: Vec<Value> = good.into_iter().flatten().map(|reply| reply.value).collect();
        let failures: Vec<Failure> = bad.into_iter().filter_map(Result::err).collect();
        if let Some(failure) = failures.first() {
            session.say(format!("{} of {asked} samples failed, the first with {failure}", failures.len()));
        }
        if good.len() * 2 <= asked {
            return Err(failures
                .into_iter()
                .next()
                .unwrap_or_else(|| Failure::rejected("no sample answered")));
        }
        let vote = self.vote.unwrap_or(Vote::Majority);
        let text = (self.format != AnswerFormat::Json).then_some("/text");
        let decided = vote::decide(vote, self.vote_on.as_deref().or(text), &good)?;
        session.say(format!("{} samples, spread {}", good.len(), decided.spread));
        let winner = good[decided.winner].clone();
        Ok(self.with_fields(winner, [("samples", Value::Array(good)), ("spread", decided.spread)]))
    }

    /// `value` with additional fields, unless it is not an object or the schema forbids them.
    fn with_fields<const N: usize>(&self, value: Value, more: [(&str, Value); N]) -> Value {
        let Value::Object(mut fields) = value.clone() else { return value };
        fields.extend(more.map(|(name, field)| (name.to_owned(), field)));
        let fuller = Value::Object(fields);
        // With `edits` the schema is for the answer, not for the output.
        let fits = |schema: &Arc<Schema>| self.edits.is_some() || schema.accepts(&fuller);
        if self.schema.as_ref().is_none_or(fits) { fuller } else { value }
    }
}

#[cfg(test)]
#[path = "llm/tests.rs"]
mod tests;
