//! The agent loop: a model is called, its tool calls are carried out, and their results are sent back, until
//! it is done.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::super::model_selection::can_switch;
use super::cursor::AgentCursor;
use super::goal::{FINISH, ResultSource, unfit};
use super::history::{MessageHistory, Saved, SavedState, part};
use super::idle_timer::IdleTimer;
use super::input::AgentJob;
use super::report::EndedBy;
use super::texts::{answer_line, asking_line, called, refused, system};
use super::tools::Tools;
use super::turn_budget::{Flight, TurnBudget, is_beyond_own};
use super::workspace::{Snapshot, WorkspaceFiles};
use crate::llm::registry::Model;
use crate::llm::{
    CallContext, ChatMessage, ModelRequest, Models, Role, StopReason, TokenUsage, Tool, ToolCall, ToolResult,
    is_unanswered, is_worth_asking_again, sent_bytes,
};
use crate::meter::Meter;
use crate::tree::Tree;
use crate::value::Value;
use crate::verb::{AttemptBudget, Class, Context, Failure, Note};
use crate::visible;

/// The assumed context in tokens of a model whose context is unknown.
const DEFAULT_CONTEXT: u64 = 32_768;
/// The minimum number of tokens that an answer must be allowed; below it no call is made.
const LEAST_ANSWER: u64 = 256;

/// How a conversation ended.
pub(super) struct ConversationEnd {
    pub(super) by: EndedBy,
    pub(super) result: Option<Value>,
}

/// A conversation in progress. A future of [`Conversation::go`] may be dropped at any time: the state here stays
/// valid.
pub(super) struct Conversation<'a> {
    pub(super) job: &'a AgentJob,
    pub(super) models: &'a Models,
    pub(super) cx: &'a Context,
    pub(super) tools: Tools<'a>,
    pub(super) idle_timer: &'a IdleTimer,
    pub(super) history: MessageHistory,
    /// The cost of this attempt, and of those before it.
    pub(super) spent: Meter,
    before: Meter,
    pub(super) turn: u32,
    repairs: u32,
    model: usize,
    flight: Flight,
    /// The amounts reserved for answers in progress.
    purse: Arc<AttemptBudget>,
    /// The state that was last saved for the next attempt.
    kept: Arc<AgentCursor>,
    /// Whether the next call repeats one that an earlier attempt may have sent without receiving the answer.
    repeats: bool,
}

impl<'a> Conversation<'a> {
    /// A conversation that starts, or resumes from `saved`.
    pub(super) fn new(
        job: &'a AgentJob,
        models: &'a Models,
        cx: &'a Context,
        tools: Tools<'a>,
        pulse: &'a IdleTimer,
    ) -> Self {
        let mut history = MessageHistory::default();
        history.tell(0, ChatMessage::user(&job.with.prompt));
        let (spent, before) = (Meter::new(), Meter::new());
        let (flight, purse) = (Flight::default(), Arc::new(AttemptBudget::new(cx)));
        let (turn, repairs, model) = (0, 0, 0);
        let kept = Arc::new(AgentCursor::new(cx, purse.clone()));
        // An attempt that starts over, after one that got further, repeats none of that one's calls.
        let repeats = cx.cursor.as_ref().is_none_or(|cursor| cursor["anew"] != true);
        Self {
            job,
            models,
            cx,
            tools,
            idle_timer: pulse,
            history,
            spent,
            before,
            turn,
            repairs,
            model,
            flight,
            purse,
            kept,
            repeats,
        }
    }

    /// Resumes from `saved`.
    pub(super) fn take_up(&mut self, saved: &Saved) -> Result<(), Failure> {
        self.history = MessageHistory::load(saved, &*self.cx.blobs)?;
        self.before = saved.before.clone();
        self.before.absorb(&saved.spent);
        self.turn = self.history.parts.last().map_or(0, |part| part.turn);
        self.repeats = true;
        // Keeps the conversation if this attempt is interrupted before its next answer.
        self.kept.take_up(json!(saved.taken_up(self.cx.attempt, &self.before)));
        (self.repairs, self.model) = (saved.repairs, saved.model.min(self.job.models.len() - 1));
        self.cx.progress.line(format!("resuming after turn {}", self.turn));
        Ok(())
    }

    /// The model in use.
    pub(super) fn model(&self) -> (&'a str, &'a Arc<Model>) {
        let (name, model) = &self.job.models[self.model];
        (name, model)
    }

    /// Runs until the work is done or a limit is reached.
    pub(super) async fn go(&mut self) -> Result<ConversationEnd, Failure> {
        loop {
            if let Some(end) = self.react().await? {
                return Ok(end);
            }
            if let Some(by) = self.limit() {
                return Ok(self.ended(by));
            }
            let Some(request) = self.request() else { return Ok(self.ended(EndedBy::Usd)) };
            if !self.fits(&request) {
                return Ok(self.ended(EndedBy::Context));
            }
            match self.ask(request).await {
                Err(failure) if is_beyond_own(&failure) => return Ok(self.ended(EndedBy::Usd)),
                asked => asked?,
            }
            self.save().await?;
        }
    }

    /// Records the cost of an answer that was being received at the interruption: it is paid for. Returns the
    /// unknown part,
    /// the possible cost of calls without an answer, which is recorded as well.
    pub(super) fn broken_off(&mut self) -> Meter {
        let Flight { sent, heard, most } = std::mem::take(&mut self.flight);
        let (heard, most) = (heard.into_inner(), most.into_inner().unwrap_or_else(PoisonError::into_inner));
        if heard > 0 {
            let model = self.model().1;
            let spent = self.paid(model, &model.meter(&TokenUsage::estimate(sent, heard)));
            self.purse.end_sent(&most, &spent);
            self.spent.absorb_shares(&spent);
        }
        let unsettled = self.purse.unsettled();
        self.spent.absorb_shares(&unsettled);
        unsettled
    }

    /// The end at a limit, with the result if it is already there.
    pub(super) fn ended(&self, by: EndedBy) -> ConversationEnd {
        let result = match &self.job.goal.place {
            ResultSource::File(path, json) => self.file(path, *json).ok(),
            ResultSource::Nowhere | ResultSource::Call => None,
        };
        ConversationEnd { by, result }
    }

    /// The total cost of the conversation, including earlier attempts.
    pub(super) fn total(&self) -> Meter {
        let mut total = self.before.clone();
        total.absorb(&self.spent);
        total
    }

    fn limit(&self) -> Option<EndedBy> {
        let with = &self.job.with;
        let total = self.total();
        let tokens = total.get("tokens_in") + total.get("tokens_out");
        if self.turn >= with.turns {
            Some(EndedBy::Turns)
        } else if total.get("usd") >= with.usd {
            Some(EndedBy::Usd)
        } else if with.tokens.is_some_and(|most| tokens >= count(most)) {
            Some(EndedBy::Tokens)
        } else {
            None
        }
    }

    /// The next request; `None` if its answer cannot be paid for.
    fn request(&mut self) -> Option<ModelRequest> {
        let system = system(self.job);
        let tools: Vec<Tool> =
            self.job.with.tools.iter().map(|kind| kind.tool()).chain(self.job.goal.tool()).collect();
        let most = self.most();
        // Shortened in one go, not at every turn: a provider's cache stores requests with the same beginning.
        if tokens(self.history.size()) > most && self.history.shorten() {
            self.cx.progress.line("the conversation is long: removing early tool results");
        }
        let (name, model) = self.model();
        let with = &self.job.with;
        let mut request = ModelRequest {
            model: name.to_owned(),
            system: Some(system),
            messages: self.history.messages(),
            tools,
            must_call: matches!(self.job.goal.place, ResultSource::Call),
            temperature: with.temperature,
            max_tokens: with.max_tokens,
            effort: with.effort,
            seed: with.seed,
            cache_prompt: true,
            ..ModelRequest::default()
        };
        let fitted = self.models.fitted(model);
        if let Some(affordable) = self.affordable(model, &request)
            && affordable < fitted.most_output(request.max_tokens)
        {
            // A model without a limit parameter cannot be asked for a shorter answer.
            request.max_tokens =
                Some(affordable).filter(|tokens| *tokens >= LEAST_ANSWER && fitted.sends_limit());
            request.max_tokens?;
        }
        Some(request)
    }

    /// The maximum length of the conversation, in tokens.
    fn most(&self) -> u64 {
        let (_, model) = self.model();
        self.job.with.context.unwrap_or_else(|| model.context.unwrap_or(DEFAULT_CONTEXT) / 4 * 3)
    }

    /// Whether `request` and an answer fit the model's context.
    fn fits(&self, request: &ModelRequest) -> bool {
        let (_, model) = self.model();
        model.context.is_none_or(|context| tokens(sent_bytes(request, model)) < context)
    }

    /// The number of answer tokens that the remaining dollars pay for; `None` if they are free.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and truncation is intended"
    )]
    fn affordable(&self, model: &Model, request: &ModelRequest) -> Option<u64> {
        let price = model.price.filter(|price| price.output > 0.0)?;
        let read =
            count(tokens(sent_bytes(request, model))) * price.input.max(price.cache_write.unwrap_or(0.0));
        let left = (self.job.with.usd - self.total().get("usd")) * 1e6 - read;
        Some((left / price.output).max(0.0) as u64)
    }

    /// `spent` for a call of `model`.
    fn paid(&self, model: &Model, spent: &Meter) -> Meter {
        spent.plain().paid(model.full_name(), self.job.with.role.as_deref().unwrap_or_default())
    }

    /// Calls the model, and the next one if it cannot be reached.
    async fn ask(&mut self, mut request: ModelRequest) -> Result<(), Failure> {
        let mut silent = false;
        loop {
            let (name, model) = self.model();
            let elsewhere = self.model + 1 < self.job.models.len();
            self.cx.progress.line(asking_line(self.turn + 1, &request, model));
            let at = format!("{}@{}.{}", self.cx.address, self.cx.attempt, self.turn);
            let (key, turn) = (&self.cx.idempotency_key, self.turn);
            let idempotency_key = format!("{key}-{turn}{}", if silent { "-again" } else { "" });
            let most = self.paid(model, &self.models.bound(&request, model));
            let (purse, kept) = (self.purse.clone(), self.kept.clone());
            let covered = purse.cover(&most).await?;
            self.flight = Flight::new(sent_bytes(&request, model), most);
            let budget = TurnBudget::new(&covered, &self.flight, self.affordable(model, &request));
            let chunk = |text: &str| {
                self.idle_timer.activity(self.cx.clock.now());
                self.flight.heard.fetch_add(text.len().max(1), Ordering::Relaxed);
                if !text.is_empty() {
                    self.cx.progress.note(Note::Chunk { text: text.to_owned() });
                }
            };
            let asking = CallContext {
                at: &at,
                idempotency_key: &idempotency_key,
                on_chunk: &chunk,
                say: &|text| {
                    self.idle_timer.activity(self.cx.clock.now());
                    self.cx.progress.line(text);
                },
                sent: &|| covered.sent(),
                waits: &*kept,
                budget: &budget,
                elsewhere,
                clock: &*self.cx.clock,
                batch: None,
            };
            let asked = self.models.ask(&request, asking).await;
            self.idle_timer.activity(self.cx.clock.now());
            self.flight = Flight::default();
            if asked.as_ref().err().is_some_and(is_unanswered) {
                drop(covered);
            } else {
                covered.settle(asked.as_ref().map_or_else(|failure| &failure.spent, |(_, spent)| spent));
            }
            match asked {
                Ok((answer, spent)) => {
                    let paid = self.paid(model, &spent);
                    if std::mem::take(&mut self.repeats) {
                        purse.repeated(&paid);
                    }
                    self.spent.absorb_shares(&paid);
                    self.turn += 1;
                    self.cx.progress.line(format!(
                        "turn {}: {}",
                        self.turn,
                        answer_line(&answer, model, &spent)
                    ));
                    self.history.parts.push(part(self.turn, &answer, spent));
                    return Ok(());
                }
                Err(failure) => {
                    if !failure.spent.is_empty() {
                        self.spent.absorb_shares(&self.paid(model, &failure.spent));
                    }
                    if !silent && is_worth_asking_again(&failure) {
                        self.cx.progress.line(format!("{}: asking again", failure.message));
                        silent = true;
                        continue;
                    }
                    if !elsewhere || !can_switch(&failure) {
                        return Err(failure);
                    }
                    self.model += 1;
                    let next = self.model().0;
                    self.cx.progress.line(format!("{name} failed ({failure}): continuing with {next}"));
                    next.clone_into(&mut request.model);
                }
            }
        }
    }

    /// Saves everything up to the last answer: an attempt that is interrupted now does not request it again.
    async fn save(&mut self) -> Result<(), Failure> {
        let snapshot = self.snapshot().await?;
        let state = SavedState {
            key: self.job.key,
            attempt: self.cx.attempt,
            spent: self.spent.clone(),
            before: self.before.clone(),
            tree: snapshot.tree.save(&*self.cx.blobs)?.tree,
            repairs: self.repairs,
            model: self.model,
        };
        let cursor = self.history.save(state, &*self.cx.blobs)?;
        self.kept.save(cursor).await
    }

    /// The tree of the current files.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let (workspace, blobs) = (self.tools.workspace.clone(), self.cx.blobs.clone());
        let kept = tokio::task::spawn_blocking(move || locked(&workspace).snapshot(&*blobs));
        kept.await.map_err(|e| Failure::new(Class::Bug, format!("the files cannot be saved: {e}")))?
    }

    /// Carries out the tool calls of the last answer; returns the end if it is one.
    async fn react(&mut self) -> Result<Option<ConversationEnd>, Failure> {
        let Some(last) = self.history.parts.last().filter(|part| part.message.role == Role::Assistant) else {
            return Ok(None);
        };
        let (stop, calls, text) = (last.stop, last.message.calls.clone(), last.message.content.clone());
        match stop {
            Some(StopReason::Refusal | StopReason::ContentFilter) => Err(refused(&text, self.model().0)),
            _ if !calls.is_empty() => self.serve(&calls).await,
            Some(StopReason::Length) => {
                self.tell("Your answer was cut off at the limit of tokens. Go on, in smaller pieces.");
                Ok(None)
            }
            Some(StopReason::Other) => {
                self.tell(
                    "Your answer could not be read to its end. Go on, with well-formed calls of tools.",
                );
                Ok(None)
            }
            _ => self.settle(),
        }
    }

    fn tell(&mut self, text: impl Into<String>) {
        self.history.tell(self.turn, ChatMessage::user(text));
    }

    /// Runs the tool calls in order; returns the end if the last one is a result that fits.
    async fn serve(&mut self, calls: &[ToolCall]) -> Result<Option<ConversationEnd>, Failure> {
        let mut results = Vec::new();
        for call in calls {
            let (text, failed) = if call.name == FINISH && self.job.goal.tool().is_some() {
                match self.job.goal.called(&call.input) {
                    Ok(value) => return Ok(Some(ConversationEnd { by: EndedBy::Done, result: Some(value) })),
                    Err(violations) => (self.complain(&violations, &call.input)?, true),
                }
            } else {
                self.idle_timer.busy(true, self.cx.clock.now());
                let done = self.tools.call(call).await;
                self.idle_timer.busy(false, self.cx.clock.now());
                match done? {
                    Ok(text) => (text, false),
                    Err(text) => (text, true),
                }
            };
            let how = if failed { "failed" } else { "done" };
            self.cx.progress.line(format!("turn {}: {} {how}", self.turn, called(call)));
            let text = self.cx.secrets.redact(if text.is_empty() { "[nothing]" } else { &text });
            let text = visible::escape(&text).into_owned();
            results.push(ToolResult { id: call.id.clone(), name: call.name.clone(), text, failed });
        }
        self.history.tell(self.turn, ChatMessage { results, ..ChatMessage::user("") });
        Ok(None)
    }

    /// Handles a final answer: checks whether the result is there.
    fn settle(&mut self) -> Result<Option<ConversationEnd>, Failure> {
        let complaint = match &self.job.goal.place {
            ResultSource::Nowhere => return Ok(Some(ConversationEnd { by: EndedBy::Done, result: None })),
            ResultSource::Call => self.complain(&[format!("`{FINISH}` was not called")], &Value::Null)?,
            ResultSource::File(path, json) => match self.file(path, *json) {
                Ok(value) => return Ok(Some(ConversationEnd { by: EndedBy::Done, result: Some(value) })),
                Err(violations) => self.complain(&violations, &Value::Null)?,
            },
        };
        self.tell(complaint);
        Ok(None)
    }

    fn file(&self, path: &str, json: bool) -> Result<Value, Vec<String>> {
        let bytes = locked(&self.tools.workspace).result(path).map_err(|why| vec![why])?;
        self.job.goal.written(path, json, &bytes)
    }

    /// `failure` with a hint for a model that has not called any tool.
    fn without_tools(&self, failure: Failure) -> Failure {
        if self.history.parts.iter().any(|part| !part.message.calls.is_empty()) {
            return failure;
        }
        let name = self.model().1.full_name();
        failure.hint(format!(
            "{name} called no tool; if the provider supports schemas, set in atoll.toml [models.\"{name}\"] features = \
             {{ tools = false, json_schema = true }}"
        ))
    }

    /// The message to the model about a result that does not fit, while corrections are left.
    fn complain(&mut self, violations: &[String], answer: &Value) -> Result<String, Failure> {
        if self.repairs >= self.job.with.repairs {
            return Err(self.without_tools(unfit(violations, answer)));
        }
        self.repairs += 1;
        self.cx.progress.line(format!("turn {}: the result does not fit: {}", self.turn, violations[0]));
        let how = self.job.goal.words().unwrap_or_default();
        Ok(format!("The result does not fit:\n- {}\nMend it. {how}", violations.join("\n- ")))
    }
}

/// The workspace, even if the thread that held its lock panicked.
pub(super) fn locked(workspace: &Mutex<WorkspaceFiles>) -> std::sync::MutexGuard<'_, WorkspaceFiles> {
    workspace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tree to start from: the saved one, or that of the input.
pub(super) fn first_tree(
    job: &AgentJob,
    saved: Option<&Saved>,
    cx: &Context,
) -> Result<(Tree, Tree), Failure> {
    let given = match &job.with.tree {
        Some(tree) => Tree::load(&*cx.blobs, &tree.tree)?,
        None => Tree::new(),
    };
    let now = saved.map(|saved| Tree::load(&*cx.blobs, &saved.tree)).transpose()?;
    Ok((now.unwrap_or_else(|| given.clone()), given))
}

fn tokens(bytes: usize) -> u64 {
    TokenUsage::estimate(bytes, 0).tokens_in
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}
