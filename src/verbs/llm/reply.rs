//! One whole reply: asked for, continued where it was cut off, read.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::begun::Begun;
use super::edits::Edits;
use super::finding::{Ambiguous, Found, Reading};
use super::notes::Notes;
use super::{Format, Mode, Plan};
use crate::llm::registry::Model;
use crate::llm::{
    BatchOptions, CallContext, ChatMessage, ModelRequest, ModelResponse, Models, QueueMemory, StopReason,
    StoreFuture, TokenUsage, is_unanswered, is_worth_asking_again, left_out, without_thoughts,
};
use crate::meter::Meter;
use crate::schema::Schema;
use crate::value::Value;
use crate::verb::{Class, Context, Failure, Note, Purse};

/// How often a reply that ran into the limit of tokens is continued.
pub(super) const CONTINUATIONS: usize = 3;
/// Most characters of a rejected answer that its failure carries.
const SHOWN: usize = 65_536;
const CONTINUE: &str = "Your answer was cut off. Go on exactly where it stopped: begin with the very next character, \
                        repeat nothing, add no introduction and no code fence.";

/// One attempt's dealings with models; knows what they cost, whatever becomes of the attempt.
pub(super) struct Session<'a> {
    models: &'a Models,
    cx: &'a Context,
    format: Format,
    ambiguous: Ambiguous,
    /// Pass on answers while they come in: of several samples the pieces would be mixed.
    live: bool,
    role: &'a str,
    /// What an answer changes, if it does.
    edits: Option<&'a Arc<Edits>>,
    purse: Purse,
    /// What the first call of a sample cost: the most of all samples.
    first: Mutex<Option<Meter>>,
    /// Where its requests are, if they are asked in batches.
    notes: Option<Notes>,
    /// What there is of its answers, if they are not.
    begun: Option<Begun>,
}

/// What is asked of one model, by all samples alike.
pub(super) struct Asked<'a> {
    pub(super) request: &'a ModelRequest,
    pub(super) model: &'a Model,
    /// What the answer is checked against.
    pub(super) schema: Option<&'a Schema>,
    /// Whether there is another model to turn to.
    pub(super) elsewhere: bool,
}

/// A reply that came to its end.
pub(super) struct Reply {
    /// The output it makes.
    pub(super) value: Value,
}

/// A reply while it is put together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Parts {
    text: String,
    last: String,
    usage: TokenUsage,
}

impl<'a> Session<'a> {
    pub(super) fn new(models: &'a Models, cx: &'a Context, plan: &'a Plan) -> Self {
        let live = plan.samples == 1;
        let notes = (plan.mode == Mode::Batch).then(|| Notes::of(cx));
        let begun = notes.is_none().then(|| Begun::of(cx));
        let purse = Purse::new(cx);
        let (format, ambiguous) = (plan.format, plan.ambiguous);
        let (role, first) = (plan.role.as_str(), Mutex::default());
        let edits = plan.edits.as_ref();
        Self { models, cx, format, ambiguous, live, role, edits, purse, first, notes, begun }
    }

    /// The end of an attempt that has failed: keeps what the next one needs, and says which batches go on without it.
    pub(super) async fn close(&self, failure: &Failure) {
        let Some(notes) = &self.notes else { return };
        notes.close().await;
        if failure.class == Class::Cancelled {
            for place in notes.places().iter().filter(|place| self.models.leave(place)) {
                let batch = place.batch.as_deref().unwrap_or_default();
                self.say(format!("{batch} goes on without us: `atoll resume` comes back to it"));
            }
        }
    }

    /// What the attempt comes to, now that it ends, and the part of it that is only an upper bound.
    pub(super) fn end(&self) -> (Meter, Meter) {
        let mut spent = self.purse.spent();
        // What is in a batch is not lost: the next attempt fetches it, and pays for it.
        if self.notes.is_some() {
            return (spent, Meter::new());
        }
        if let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.purse.repeated(&first);
        }
        let unsettled = self.purse.unsettled();
        spent.absorb_shares(&unsettled);
        (spent, unsettled)
    }

    /// Keeps what the first call of a sample cost. Earlier attempts may have sent the same call in vain.
    fn began(&self, spent: Meter) {
        let weight = |spent: &Meter| (spent.get("usd"), spent.get("tokens"));
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|known| weight(known) < weight(&spent)) {
            *first = Some(spent);
        }
    }

    /// Says a line.
    pub(super) fn say(&self, line: String) {
        self.cx.progress.line(line);
    }

    /// Asks for sample number `sample` and continues it until it is whole.
    pub(super) async fn reply(&self, asked: &Asked<'_>, sample: u32) -> Result<Reply, Failure> {
        if let Some(value) = self.begun.as_ref().and_then(|begun| begun.whole(asked.request, sample)) {
            self.say(format!("sample {sample} was answered before"));
            return Ok(Reply { value });
        }
        let reply = match Box::pin(self.whole(asked, sample)).await {
            Ok(reply) => self.applied(reply).await,
            failed => failed,
        };
        if let (Ok(reply), Some(begun), false) = (&reply, &self.begun, self.live) {
            begun.end((asked.request, sample), &reply.value, &self.purse).await?;
        }
        if let Err(failure) = &reply
            && matches!(failure.class, Class::Rejected | Class::Refused)
        {
            if let Some(notes) = &self.notes {
                notes.drop_sample(sample);
            }
            if let Some(begun) = &self.begun {
                begun.drop_sample(sample, &self.purse).await;
            }
        }
        reply
    }

    /// The reply with what it changes applied, if it changes anything.
    async fn applied(&self, reply: Reply) -> Result<Reply, Failure> {
        let Some(edits) = self.edits.cloned() else { return Ok(reply) };
        let cx = self.cx.clone();
        // Trees are read and written with calls that block for the disk.
        let done = tokio::task::spawn_blocking(move || edits.apply(&reply.value, &cx)).await;
        let value = done.map_err(|e| Failure::new(Class::Bug, format!("`llm` broke down: {e}")))??;
        Ok(Reply { value })
    }

    async fn whole(&self, asked: &Asked<'_>, sample: u32) -> Result<Reply, Failure> {
        let begun = self.begun.as_ref().and_then(|begun| begun.find(asked.request, sample));
        let mut further = begun.as_ref().map(|parts| continued(asked.request, &parts.text));
        if begun.is_some() {
            self.say("going on with an answer that is there in part".to_owned());
        }
        let mut parts = begun.unwrap_or_default();
        let mut silent = false;
        for part in 0..=CONTINUATIONS {
            let request = further.as_ref().unwrap_or(asked.request);
            let answer = match self.ask(request, asked, (sample, silent)).await {
                // In a batch that is another request, of another batch.
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
            // A provider strips white space from the end of a model's turn, or refuses it: the model writes it again.
            parts.text.truncate(parts.text.trim_end().len());
            if let Some(begun) = &self.begun {
                begun.keep((asked.request, sample), &parts, &self.purse).await?;
            }
            further = Some(continued(asked.request, &parts.text));
        }
        Err(Failure::rejected(format!(
            "the answer is truncated: {CONTINUATIONS} continuations did not end it"
        ))
        .hint("raise `max_tokens`, or ask for less")
        .detail(
            json!({"answer": shown(&parts.text), "violations": ["truncated"], "stop": StopReason::Length}),
        ))
    }

    /// Asks once. `again` says whether an answer to this reply was empty already.
    async fn ask(
        &self,
        request: &ModelRequest,
        asked: &Asked<'_>,
        (sample, again): (u32, bool),
    ) -> Result<(ModelResponse, Meter), Failure> {
        let model = asked.model;
        if self.cx.progress.is_heard() {
            self.say(asking_line(request, model));
        }
        let at = format!("{}@{}.{sample}", self.cx.address, self.cx.attempt);
        let suffix = if again { "-again" } else { "" };
        let idempotency_key = format!("{}-{sample}{suffix}", self.cx.idempotency_key);
        let chunk = |text: &str| {
            if self.live && self.cx.progress.is_heard() {
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
            batch: self.notes.as_ref().map(|notes| BatchOptions {
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
                if self.cx.progress.is_heard() {
                    self.say(answer_line(&answer, model, &spent));
                }
                Ok((answer, spent))
            }
            // What it cost is not known: it counts as lost.
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

    /// The output that `parts` make, or `None` where the reply has to go on.
    fn read(
        &self,
        parts: &Parts,
        answer: &ModelResponse,
        asked: &Asked<'_>,
    ) -> Result<Option<Value>, Failure> {
        let cut_off = answer.stop == StopReason::Length;
        if self.format != Format::Json {
            // Whoever sets a limit for plain text means it, and sees it in `stop`.
            let meant = self.format == Format::Text && asked.request.max_tokens.is_some();
            return Ok((!cut_off || meant).then(|| parts.output(answer)));
        }
        let reading = Reading {
            schema: asked.schema,
            ambiguous: self.ambiguous,
            ended: !cut_off,
            asked: Some(asked.request),
        };
        let found = match reading.read(&parts.text) {
            Found::Fits(value) => return Ok(Some(value)),
            found => found,
        };
        // A model that starts again instead of going on has the whole answer in its last part. A judge's last part may be
        // inside of what it repeats.
        let again = asked.schema.is_some() && self.ambiguous == Ambiguous::Last;
        if let (true, Found::Fits(value)) = (again, reading.read(&parts.last)) {
            return Ok(Some(value));
        }
        if cut_off {
            return Ok(None);
        }
        let violations = match found {
            Found::Breaks(violations) => violations,
            Found::Unfinished => vec!["the JSON value does not end".to_owned()],
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
    /// Of a batch it is known where it is.
    fn keep(&self, waiting: bool) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            match &self.begun {
                Some(begun) => begun.wait(waiting, &self.purse).await,
                None => Ok(()),
            }
        })
    }
}

impl Parts {
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

/// `request` with what was answered so far and the wish to go on. Without the schema: the rest of a JSON value is
/// no JSON value.
fn continued(request: &ModelRequest, so_far: &str) -> ModelRequest {
    let mut request = ModelRequest { schema: None, ..request.clone() };
    request.messages.push(ChatMessage::assistant(so_far));
    request.messages.push(ChatMessage::user(CONTINUE));
    request
}

/// How many bytes at the beginning of `next` repeat the end of `text`. A few equal characters are no repetition.
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
        let _ = write!(line, "; it takes no {}: left out", dropped.join(", no "));
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
