//! `agent`: a model with tools, or an external coding agent, works on a tree of files until a task is done.

mod bound;
mod conversation;
mod cursor;
mod external_agent;
mod goal;
mod history;
mod idle_timer;
mod input;
mod remarks;
mod report;
mod search;
mod texts;
mod tools;
mod turn_budget;
mod workspace;

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::coding_agents::CodingAgents;
use crate::llm::Models;
use crate::meter::Meter;
use crate::runtime::process::AgentWorkspace;
use crate::runtime::service::Runtimes;
use crate::schema::Schema;
use crate::tree::Tree;
use crate::value::Value;
use crate::verb::{Class, Context, CostBound, Failure, Output, Refusal, Remark, Traits, Verb};

use conversation::{Conversation, ConversationEnd, first_tree};
use goal::ResultSource;
use history::Saved;
use idle_timer::IdleTimer;
use input::{AgentJob, ToolKind};
use report::{EndedBy, Ending, with_remains};
use tools::Tools;
use workspace::WorkspaceFiles;

pub use external_agent::Programs;
pub use input::AgentInput;
pub use report::{AgentOutput, AgentReport};
pub use workspace::Touched;

/// The verb `agent`.
pub struct Agent {
    models: Models,
    runtimes: Runtimes,
    coders: CodingAgents,
    programs: Programs,
}

impl Agent {
    /// `models` answer, `runtimes` provide the sandbox, `programs` locate the external agents in `coders`.
    pub fn new(models: Models, runtimes: Runtimes, coders: CodingAgents, programs: Programs) -> Self {
        Self { models, runtimes, coders, programs }
    }
}

impl Verb for Agent {
    const NAME: &'static str = "agent";
    const SUMMARY: &'static str =
        "let a model with tools, or an external coding agent, work on a tree of files";
    const TRAITS: Traits = Traits::paid("llm");
    const EXAMPLE: &'static str = r#"[steps.mend]
output = "schemas/verdict.json"

[steps.mend.agent]
model  = ["claude-sonnet-4-6", "gpt-5.1"]
prompt = "Observed: {{ inputs.observed }} Find the cause and fix the program."
tree   = "{{ steps.code.output }}"
turns  = 40
usd    = 2.0
wall   = "20m"
"#;
    const EXTRA_FIELDS: &'static [&'static str] = &["agent"];
    const RETRY_PROMPT: Option<&'static str> = Some(super::llm::RETRY_PROMPT);
    type With = AgentInput;
    type Out = AgentOutput;

    fn bound(&self, with: &Value, _: Option<&Schema>) -> Option<CostBound> {
        let usd = with.get("usd").map_or_else(|| Some(input::usd()), Value::as_f64)?;
        let turns = with.get("turns").map_or_else(|| Some(u64::from(input::turns())), Value::as_u64)?;
        let calls = Meter::new().with("calls", f64::from(u32::try_from(turns).unwrap_or(u32::MAX)));
        if with.get("cli").is_some() {
            // An external program does not ask before it spends.
            let most = calls.with("usd", usd);
            return Some(CostBound { first: most.clone(), most });
        }
        // A model is called once per turn.
        Some(CostBound { first: Meter::new(), most: bound::of(&self.models, with, (turns, usd)) })
    }

    fn depends_on(&self, with: &Value) -> Option<String> {
        let program = with.get("cli").and_then(Value::as_str).and_then(|name| self.coders.find(name).ok());
        let served = super::model_selection::served(&self.models, with);
        Some(program.map_or_else(|| served.clone(), |program| format!("{served}{program:?}")))
    }

    fn remarks(&self, with: &Value) -> Vec<Remark> {
        if with.get("cli").is_some() {
            remarks::of_program(&self.models, &self.coders, with)
        } else {
            super::model_selection::remarks(&self.models, with)
        }
    }

    fn refusals(with: &AgentInput) -> Vec<Refusal> {
        with.input_refusals()
    }

    async fn run(&self, mut with: AgentInput, cx: Context) -> Result<Output<AgentOutput>, Failure> {
        if let Some(again) = with.again.take() {
            with.prompt = format!("{}\n\n{again}", with.prompt.trim_end());
        }
        if let Some(name) = with.cli.clone() {
            return self.run_external(&with, &name, &cx).await;
        }
        let job = with.job(&self.models, &cx)?;
        Box::pin(self.work(&job, &cx)).await
    }
}

impl Agent {
    /// Runs a model with Atoll's own tools.
    async fn work(&self, job: &AgentJob, cx: &Context) -> Result<Output<AgentOutput>, Failure> {
        let saved = Saved::read(cx.cursor.as_ref(), &job.key);
        let (tree, begun) = first_tree(job, saved.as_ref(), cx)?;
        let mut bench = self.runtimes.bench(&cx.run, job.with.tools.contains(&ToolKind::Run))?;
        lay_out(&tree, &bench, cx).await?;
        bench.open().await?;
        let mut workspace = WorkspaceFiles::new(&bench, &job.with.ignore)?;
        if let ResultSource::File(path, _) = &job.goal.place
            && tree.files.get(path) == begun.files.get(path)
        {
            workspace.before_work(path)?;
        }
        let workspace = Arc::new(Mutex::new(workspace));
        let pulse = IdleTimer::new(cx.clock.now());
        let tools = Tools {
            kinds: &job.with.tools,
            workspace,
            bench: &bench,
            patience: job.with.command_timeout.0,
            grants: cx.grants.clone(),
        };
        let mut talk = Conversation::new(job, &self.models, cx, tools, &pulse);
        if let Some(saved) = &saved {
            talk.take_up(saved)?;
        }
        let ended = tokio::select! {
            biased;
            () = cx.cancel.cancelled() => Err(Failure::cancelled()),
            () = cx.clock.sleep(job.with.wall.0) => Ok(Err(EndedBy::Wall)),
            () = pulse.stopped(&*cx.clock, job.with.idle.0) => Ok(Err(EndedBy::Idle)),
            end = talk.go() => end.map(Ok),
        };
        // The files do not change after this point.
        bench.halt().await;
        let unsettled = talk.broken_off();
        let ended = match ended {
            Ok(Ok(end)) => finish(talk, end, &begun, cx).await,
            Ok(Err(by)) => {
                let end = talk.ended(by);
                finish(talk, end, &begun, cx).await
            }
            Err(failure) => Err(give_up(talk, failure).await),
        };
        ended.map_err(|failure| failure.unsettled(unsettled))
    }
}

/// Writes the files into the workspace.
async fn lay_out(tree: &Tree, bench: &AgentWorkspace, cx: &Context) -> Result<(), Failure> {
    let (tree, place, blobs) = (tree.clone(), bench.workspace(), cx.blobs.clone());
    let laid = tokio::task::spawn_blocking(move || tree.materialise(&*blobs, &place));
    laid.await.map_err(|e| Failure::new(Class::Bug, format!("internal error in `agent`: {e}")))??;
    Ok(())
}

/// The result of work that ended, whether it was finished or stopped by a limit.
async fn finish(
    talk: Conversation<'_>,
    end: ConversationEnd,
    begun: &Tree,
    cx: &Context,
) -> Result<Output<AgentOutput>, Failure> {
    let spent = talk.spent.clone();
    let left = match talk.snapshot().await {
        Ok(left) => left,
        Err(failure) => return Err(failure.spent(spent)),
    };
    let ending = Ending {
        begun,
        fixed: talk.job.with.fixed.as_ref(),
        left,
        by: end.by,
        result: end.result,
        wants: !matches!(talk.job.goal.place, ResultSource::Nowhere),
        text: talk.history.last_words(),
        turns: talk.turn,
        model: talk.model().1.full_name(),
        spent: talk.total(),
        transcript: talk.history.transcript(&*cx.secrets),
    };
    match ending.settle(cx) {
        Ok(value) => Ok(Output { value, spent }),
        Err(failure) => {
            forget(cx, &spent).await;
            Err(failure.spent(spent))
        }
    }
}

/// The failure of interrupted work, with what has been produced. The conversation is kept if a later attempt
/// can continue it.
async fn give_up(talk: Conversation<'_>, failure: Failure) -> Failure {
    let cx = talk.cx;
    let goes_on = matches!(
        failure.class,
        Class::Transient | Class::RateLimited | Class::Auth | Class::Budget | Class::Cancelled
    );
    if !goes_on {
        forget(cx, &talk.spent).await;
    }
    let transcript = cx.blobs.put(talk.history.transcript(&*cx.secrets).as_bytes()).ok();
    let remains = json!({"turns": talk.turn, "transcript": transcript.map(|blob| blob.digest)});
    with_remains(failure, remains, talk.spent.clone())
}

/// Makes the next attempt start from the beginning; the cost of this one is still recorded.
async fn forget(cx: &Context, spent: &Meter) {
    // If it cannot be saved, this is the last attempt in any case.
    let _ = cx.cursors.save(json!({ "attempt": cx.attempt, "spent": spent, "anew": true })).await;
}
