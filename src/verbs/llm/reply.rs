//! One complete reply: requested, continued if it was truncated, and read.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::batch_cursor::BatchCursor;
use super::continuation::PartialReplies;
use super::edits::EditAnswer;
use super::json_extract::{AmbiguousAnswer, Extracted, Extraction};
use super::{AnswerFormat, AskMode, LlmJob};
use crate::llm::registry::Model;
use crate::llm::{
    BatchOptions, CallContext, ChatMessage, ModelRequest, ModelResponse, Models, QueueMemory, StopReason,
    StoreFuture, TokenUsage, is_unanswered, is_worth_asking_again, left_out, without_thoughts,
};
use crate::meter::Meter;
use crate::schema::Schema;
use crate::value::Value;
use crate::verb::{AttemptBudget, Class, Context, Failure, Note};

/// The maximum number of continuations of a reply that reached the token limit.
pub(super) const CONTINUATIONS: usize = 3;
/// The maximum length of a rejected answer in its failure, in characters.
const SHOWN: usize = 65_536;
const CONTINUE: &str = "Your answer was cut off. Go on exactly where it stopped: begin with the very next character, \
                        repeat nothing, add no introduction and no code fence.";

/// The model calls of one attempt. Knows their cost, however the attempt ends.
pub(super) struct Session<'a> {
    models: &'a Models,
    cx: &'a Context,
    format: AnswerFormat,
    ambiguous: AmbiguousAnswer,
    /// Whether answers are passed on while they arrive: with several samples the pieces would be mixed.
    live: bool,
    role: &'a str,
    /// The tree that an answer changes, if any.
    edits: Option<&'a Arc<EditAnswer>>,
    purse: AttemptBudget,
    /// The cost of the first call of a sample: the maximum of all samples.
    first: Mutex<Option<Meter>>,
    /// The positions of its requests in batches, if batches are used.
    batch_cursor: Option<BatchCursor>,
    /// The partial answers, if batches are not used.
    partial: Option<PartialReplies>,
}

/// The request to one model, the same for all samples.
pub(super) struct ModelQuestion<'a> {
    pub(super) request: &'a ModelRequest,
    pub(super) model: &'a Model,
    /// The schema for answers.
    pub(super) schema: Option<&'a Schema>,
    /// Whether there is another model to fall back to.
    pub(super) elsewhere: bool,
}

/// A complete reply.
pub(super) struct Reply {
    /// The resulting output.
    pub(super) value: Value,
}

/// A reply that is being assembled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ReplyParts {
    text: String,
    last: String,
    usage: TokenUsage,
}

impl<'a> Session<'a> {
    pub(super) fn new(models: &'a Models, cx: &'a Context, plan: &'a LlmJob) -> Self {
        let live = plan.samples == 1;
        let notes = (plan.mode == AskMode::Batch).then(|| BatchCursor::of(cx));
        let begun = notes.is_none().then(|| PartialReplies::of(cx));
        let purse = AttemptBudget::new(cx);
        let (format, ambiguous) = (plan.format, plan.ambiguous);
        let (role, first) = (plan.role.as_str(), Mutex::default());
        let edits = plan.edits.as_ref();
        Self {
            models,
            cx,
            format,
            ambiguous,
            live,
            role,
            edits,
            purse,
            first,
            batch_cursor: notes,
            partial: begun,
        }
    }

    /// Ends a failed attempt: saves what the next one needs, and reports which batches continue without it.
    pub(super) async fn close(&self, failure: &Failure) {
        let Some(notes) = &self.batch_cursor else { return };
        notes.close().await;
        if failure.class == Class::Cancelled {
            for place in notes.places().iter().filter(|place| self.models.leave(place)) {
                let batch = place.batch.as_deref().unwrap_or_default();
                self.say(format!("{batch} continues at the provider: `atoll resume` fetches its answers"));
            }
        }
    }

    /// The cost of the attempt at its end, and the part of it that is only an upper bound.
    pub(super) fn end(&self) -> (Meter, Meter) {
        let mut spent = self.purse.spent();
        // Requests in a batch are not lost: the next attempt fetches and pays for them.
        if self.batch_cursor.is_some() {
            return (spent, Meter::new());
        }
        if let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.purse.repeated(&first);
        }
        let unsettled = self.purse.unsettled();
        spent.absorb_shares(&unsettled);
        (spent, unsettled)
    }

    /// Records the cost of the first call of a sample. An earlier attempt may have sent the same call without
    /// an answer.
    fn began(&self, spent: Meter) {
        let weight = |spent: &Meter| (spent.get("usd"), spent.get("tokens"));
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|known| weight(known) < weight(&spent)) {
            *first = Some(spent);
        }
    }

    /// Prints a line.
    pub(super) fn say(&self, line: String) {
        self.cx.progress.line(line);
    }

    /// Requests sample number `sample` and continues it until it is complete.
    pub(super) async fn reply(&self, asked: &ModelQuestion<'_>, sample: u32) -> Result<Reply, Failure> {
        if let Some(value) = self.partial.as_ref().and_then(|begun| begun.whole(asked.request, sample)) {
            self.say(format!("sample {sample} was already answered"));
            return Ok(Reply { value });
        }
        let reply = match Box::pin(self.whole(asked, sample)).await {
            Ok(reply) => self.applied(reply).await,
            failed => failed,
        };
        if let (Ok(reply), Some(begun), false) = (&reply, &self.partial, self.live) {
            begun.end((asked.request, sample), &reply.value, &self.purse).await?;
        }
        if let Err(failure) = &reply
            && matches!(failure.class, Class::Rejected | Class::Refused)
        {
            if let Some(notes) = &self.batch_cursor {
                notes.drop_sample(sample);
            }
            if let Some(begun) = &self.partial {
                begun.drop_sample(sample, &self.purse).await;
            }
        }
        reply
    }

    /// The reply after its changes are applied, if it changes a tree.
    async fn applied(&self, reply: Reply) -> Result<Reply, Failure> {
        let Some(edits) = self.edits.cloned() else { return Ok(reply) };
        let cx = self.cx.clone();
        // Trees are read and written with blocking disk calls.
        let done = tokio::task::spawn_blocking(move || edits.apply(&reply.value, &cx)).await;
        let value = done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `llm`: {e}")))??;
        Ok(Reply { value })
    }

    async fn whole(&self, asked: &ModelQuestion<'_>, sample: u32) -> Result<Reply, Failure> {
        let begun = self.partial.as_ref().and_then(|begun| begun.find(asked.request, sample));
        let mut further = begun.as_ref().map(|parts| continued(asked.request, &parts.text));
        if begun.is_some() {
            self.say("continuing a partial answer".to_owned());
        }
        let mut parts = begun.unwrap_or_default();
        let mut silent = false;
        for part in 0..=CONTINUATIONS {
            let request = further.as_ref().unwrap_or(asked.request);
            let answer = match self.ask(request, asked, (sample, silent)).await {
                // In a batch, this is another request in another batch.
                Err(failure) if !silent && is_worth_asking_again(&failure) => {
                    self.say(format!("{}: asking again", failure.message));
                    silent = true;
                    self.ask(request, asked, (sample, silent)).await?
                }
                answer => answer?,
            };
            let (answer, spent) = answer;
            if part == 0 {
                self.began(spent);
            }
            if matches!(answer.stop, StopReason::Refusal | StopReason::ContentFilter) {
                return Err(refused(&answer));
            }
            parts.add(&answer);
            if let Some(value) = self.read(&parts, &answer, asked)? {
                return Ok(Reply { value });
            }
            // Providers strip or refuse white space at the end of a model's turn: the model writes it again.
            parts.text.truncate(parts.text.trim_end().len());
            if let Some(begun) = &self.partial {
                begun.keep((asked.request, sample), &parts, &self.purse).await?;
            }
            further = Some(continued(asked.request, &parts.text));
        }
        Err(Failure::rejected(format!(
            "the answer is truncated: {CONTINUATIONS} continuations did not end it"
        ))
        .hint("raise `max_tokens`, or ask for a shorter answer")
        .detail(
            json!({"answer": shown(&parts.text), "violations": ["truncated"], "stop": StopReason::Length}),
        ))
    }

    /// Sends one request. `again` says whether an earlier answer to it was empty.
    async fn ask(
        &self,
        request: &ModelRequest,
        asked: &ModelQuestion<'_>,
        (sample, again): (u32, bool),
    ) -> Result<(ModelResponse, Meter), Failure> {
        let model = asked.model;
        if self.cx.progress.is_observed() {
            self.say(asking_line(request, model));
        }
        let at = format!("{}@{}.{sample}", self.cx.address, self.cx.attempt);
        let suffix = if again { "-again" } else { "" };
        let idempotency_key = format!("{}-{sample}{suffix}", self.cx.idempotency_key);
        let chunk = |text: &str| {
            if self.live && self.cx.progress.is_observed() {
                self.cx.progress.note(Note::Chunk { text: text.to_owned() });
            }
        };
        let (to, role): (Arc<str>, Arc<str>) = (model.full_name().into(), self.role.into());
        let paid = |spent: &Meter| spent.plain().paid(to.clone(), role.clone());
        let covered = self.purse.cover(&paid(&self.models.bound(request, model))).await?;
        let asking = CallContext {
            at: &at,
            idempotency_key: &idempotency_key,
            on_chunk: &chunk,
            say: &|text| self.say(text),
            sent: &|| covered.sent(),
            waits: self,
            budget: &covered,
            elsewhere: asked.elsewhere,
            clock: &*self.cx.clock,
            batch: self.batch_cursor.as_ref().map(|notes| BatchOptions {
                sample,
                again,
                places: notes,
                clock: &self.cx.clock,
                progress: &self.cx.progress,
            }),
        };
        match self.models.ask(request, asking).await {
            Ok((answer, spent)) => {
                let spent = paid(&spent);
                covered.settle(&spent);
                if self.cx.progress.is_observed() {
                    self.say(answer_line(&answer, model, &spent));
                }
                Ok((answer, spent))
            }
            // Its cost is unknown: it counts as lost.
            Err(failure) if is_unanswered(&failure) => {
                drop(covered);
                Err(failure)
            }
            Err(failure) => {
                let spent = &failure.spent;
                covered.settle(&if spent.is_empty() { Meter::new() } else { paid(spent) });
                Err(failure)
            }
        }
    }

    /// The output of `parts`, or `None` if the reply must be continued.
    fn read(
        &self,
        parts: &ReplyParts,
        answer: &ModelResponse,
        asked: &ModelQuestion<'_>,
    ) -> Result<Option<Value>, Failure> {
        let cut_off = answer.stop == StopReason::Length;
        if self.format != AnswerFormat::Json {
            // A truncated plain text is accepted: its limit was set by the author, and `stop` reports it.
            let meant = self.format == AnswerFormat::Text && asked.request.max_tokens.is_some();
            return Ok((!cut_off || meant).then(|| parts.output(answer)));
        }
        let reading = Extraction {
            schema: asked.schema,
            ambiguous: self.ambiguous,
            ended: !cut_off,
            asked: Some(asked.request),
        };
        let found = match reading.read(&parts.text) {
            Extracted::Fits(value) => return Ok(Some(value)),
            found => found,
        };
        // A model that starts over instead of continuing has the whole answer in its last part. For a judge,
        // the last part may be inside a quotation.
        let again = asked.schema.is_some() && self.ambiguous == AmbiguousAnswer::Last;
        if let (true, Extracted::Fits(value)) = (again, reading.read(&parts.last)) {
            return Ok(Some(value));
        }
        if cut_off {
            return Ok(None);
        }
        let violations = match found {
            Extracted::Breaks(violations) => violations,
            Extracted::Unfinished => vec!["the JSON value does not end".to_owned()],
            _ => vec!["there is no JSON value in the answer".to_owned()],
        };
        let more = if violations.len() > 1 {
            format!(" (and {} more)", violations.len() - 1)
        } else {
            String::new()
        };
        Err(Failure::rejected(format!(
            "the answer of {} does not fit: {}{more}",
            answer.model, violations[0]
        ))
        .detail(json!({"answer": shown(&parts.text), "violations": violations, "stop": answer.stop})))
    }
}

impl QueueMemory for Session<'_> {
    /// For requests in a batch, the position is saved.
    fn keep(&self, waiting: bool) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            match &self.partial {
                Some(begun) => begun.wait(waiting, &self.purse).await,
                None => Ok(()),
            }
        })
    }
}

impl ReplyParts {
    fn add(&mut self, answer: &ModelResponse) {
        self.usage.absorb(&answer.usage);
        let fresh = &answer.text[overlap(&self.text, &answer.text)..];
        self.text.push_str(fresh);
        self.last.clone_from(&answer.text);
    }

    fn output(&self, answer: &ModelResponse) -> Value {
        json!({
            "text": without_thoughts(&self.text),
            "model": format!("{}/{}", answer.provider, answer.model),
            "stop": answer.stop,
            "usage": self.usage,
        })
    }
}

/// `request` with the answer so far and the instruction to continue. Without the schema, because the rest of
/// a JSON value is not a JSON value.
fn continued(request: &ModelRequest, so_far: &str) -> ModelRequest {
    let mut request = ModelRequest { schema: None, ..request.clone() };
    request.messages.push(ChatMessage::assistant(so_far));
    request.messages.push(ChatMessage::user(CONTINUE));
    request
}

/// The number of bytes at the beginning of `next` that repeat the end of `text`. A few equal characters do
/// not count.
fn overlap(text: &str, next: &str) -> usize {
    const LEAST: usize = 24;
    const MOST: usize = 2_000;
    let ends = next.char_indices().map(|(end, _)| end).chain([next.len()]);
    ends.take_while(|&end| end <= MOST)
        .filter(|&end| end >= LEAST && text.ends_with(&next[..end]))
        .last()
        .unwrap_or(0)
}

fn refused(answer: &ModelResponse) -> Failure {
    let why = match answer.stop {
        StopReason::ContentFilter => "the provider's filter withheld the answer",
        _ => "the model declined to answer",
    };
    Failure::new(Class::Refused, format!("{}: {why}", answer.model))
        .hint("reword the prompt, or name another model")
        .detail(json!({"answer": shown(&answer.text), "stop": answer.stop}))
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn asking_line(request: &ModelRequest, model: &Model) -> String {
    let dropped = left_out(request, model);
    let mut line = format!(
        "asking {}: {} messages, {} bytes, at most {} tokens",
        model.full_name(),
        request.messages.len() + usize::from(request.system.is_some()),
        request.size(),
        model.most_output(request.max_tokens)
    );
    if !dropped.is_empty() {
        let _ = write!(line, "; not supported and removed: {}", dropped.join(", "));
    }
    line
}

fn answer_line(answer: &ModelResponse, model: &Model, spent: &Meter) -> String {
    let usage = &answer.usage;
    let mut line =
        format!("{} answered: {} tokens in, {} out", model.full_name(), usage.tokens_in, usage.tokens_out);
    if usage.cache_read > 0 {
        let _ = write!(line, " ({} cached)", usage.cache_read);
    }
    match model.price {
        Some(_) => {
            let _ = write!(line, ", ${:.4}", spent.get("usd"));
        }
        None => line += ", price unknown",
    }
    if usage.estimated {
        line.push_str(", figures estimated: the server gave none");
    }
    if answer.replayed {
        line.push_str(", replayed");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn a_repeated_end_is_left_out_and_a_few_equal_letters_are_not() {
        let text = "fn main() {\n    println!(\"hello, wörld\");\n";
        assert_eq!(
            overlap(text, "    println!(\"hello, wörld\");\n}\n"),
            "    println!(\"hello, wörld\");\n".len()
        );
        assert_eq!(overlap(text, ");\n}\n"), 0);
        assert_eq!(overlap("", "anything at all, however long it may be"), 0);
    }
}
