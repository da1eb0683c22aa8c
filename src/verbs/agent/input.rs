//! The input of `agent`, checked.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::model_selection::{ModelNames, UnknownCost, priced};
use super::goal::ResultGoal;
use crate::llm::registry::Model;
use crate::llm::{Effort, Models};
use crate::tree::TreeRef;
use crate::value::Digest;
use crate::verb::{Context, Failure, Refusal};
use crate::verbs::duration_input::DurationInput;
use crate::verbs::globs::globs;
use crate::verbs::null_characters::with_null;

/// Input of `agent`: who works, on what, and within which limits.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentInput {
    /// The model that works with Atoll's own tools: a name of the registry, `provider/name`, an alias, or a
    /// list. The next model of a list is used if one cannot be reached. With `cli`, the model that the
    /// program is started with.
    #[serde(default)]
    pub(super) model: Option<ModelNames>,
    /// An external coding agent instead of a model: `claude`, `codex`, `gemini`, or one that `atoll.toml`
    /// describes under `[agents.NAME]`.
    #[serde(default)]
    pub(super) cli: Option<String>,
    /// The task.
    pub(super) prompt: String,
    /// Text added to `prompt` after a rejected result. Default: the text of `prompts/llm/again.md`, unless a
    /// text of the step reads `attempt.error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) again: Option<String>,
    /// System text, added after Atoll's own description of the workspace.
    #[serde(default)]
    pub(super) system: Option<String>,
    /// The files to start from, as `pack`, `edit` or another `agent` returns them. Default: none. They are
    /// copied; the changed files are in the output.
    #[serde(default)]
    pub(super) tree: Option<TreeRef>,
    /// A tree of files that the agent cannot change: at the end they are as in this tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fixed: Option<TreeRef>,
    /// Globs of files that are not saved at the end; one without `/` is matched against file names.
    #[serde(default)]
    pub(super) ignore: Vec<String>,
    /// The workspace file in which the agent leaves its result. It is read and checked as JSON if its name
    /// ends in `.json` or the step has a schema. Without it, the result of a step with a schema is passed to
    /// the tool `finish`, or is the last event of the program.
    #[serde(default)]
    pub(super) result: Option<String>,
    /// The tools that the model may use. Default: all.
    #[serde(default = "all_tools")]
    pub(super) tools: Vec<ToolKind>,
    /// Maximum number of answers of the model.
    #[serde(default = "turns")]
    #[schemars(range(min = 1))]
    pub(super) turns: u32,
    /// Maximum cost in dollars, for all attempts that continue one conversation.
    #[serde(default = "usd")]
    pub(super) usd: f64,
    /// Maximum number of tokens, read and written. Default: no limit.
    #[serde(default)]
    pub(super) tokens: Option<u64>,
    /// Maximum duration of an attempt.
    #[serde(default = "wall")]
    pub(super) wall: DurationInput,
    /// Maximum time without activity (a piece of an answer, a line of the program's output). Time while a
    /// command runs does not count.
    #[serde(default = "idle")]
    pub(super) idle: DurationInput,
    /// Number of times that a missing or wrong result is requested again.
    #[serde(default = "repairs")]
    pub(super) repairs: u32,
    /// Maximum duration of a command; the model may ask for less.
    #[serde(default = "command_timeout")]
    pub(super) command_timeout: DurationInput,
    /// Number of conversation tokens from which old tool results are removed. Default: three quarters of the
    /// model's context in the registry, or of 32,768.
    #[serde(default)]
    pub(super) context: Option<u64>,
    /// Maximum number of tokens of one answer. Default: the model's limit in the registry.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) max_tokens: Option<u64>,
    /// Sampling temperature, 0 to 2. Not sent to models that do not support it.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 2.0))]
    pub(super) temperature: Option<f64>,
    /// Reasoning effort. Not sent to models that do not support it.
    #[serde(default)]
    pub(super) effort: Option<Effort>,
    /// Sampling seed, for models that support it.
    #[serde(default)]
    pub(super) seed: Option<u64>,
    /// Label for costs, e.g. `repair`: `atoll cost` groups by it. Default: the name of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    /// How a model without a known price is handled. Default: `refuse`.
    #[serde(default)]
    pub(super) unknown_cost: UnknownCost,
    /// Whether a program runs in a file sandbox: it can read the system, its own files and the workspace, and
    /// use the whole network. Without the sandbox it runs with your permissions. Default: `true`.
    #[serde(default = "default_true")]
    pub(super) sandbox: bool,
}

/// A tool of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToolKind {
    /// Reads a file.
    Read,
    /// Writes a whole file.
    Write,
    /// Replaces part of a file.
    Edit,
    /// Lists files.
    List,
    /// Searches files for a regular expression.
    Search,
    /// Runs a command line in a sandbox without network.
    Run,
}

fn all_tools() -> Vec<ToolKind> {
    vec![ToolKind::Read, ToolKind::Write, ToolKind::Edit, ToolKind::List, ToolKind::Search, ToolKind::Run]
}

pub(super) fn turns() -> u32 {
    50
}

pub(super) fn usd() -> f64 {
    5.0
}

fn wall() -> DurationInput {
    DurationInput(Duration::from_secs(1_800))
}

fn idle() -> DurationInput {
    DurationInput(Duration::from_secs(300))
}

fn repairs() -> u32 {
    2
}

fn command_timeout() -> DurationInput {
    DurationInput(Duration::from_secs(120))
}

fn default_true() -> bool {
    true
}

/// A checked [`AgentInput`] for a model with Atoll's own tools.
pub(super) struct AgentJob {
    pub(super) with: AgentInput,
    /// The models that may be used, in order; never empty.
    pub(super) models: Vec<(String, Arc<Model>)>,
    pub(super) goal: ResultGoal,
    /// A key that is equal for attempts that may continue each other's conversation.
    pub(super) key: Digest,
}

impl AgentInput {
    /// Errors that do not depend on which agent works.
    pub(super) fn input_refusals(&self) -> Vec<Refusal> {
        let wrong = |what: &str, hint: &str| Failure::permanent(format!("`agent`: {what}")).hint(hint);
        let mut found = Vec::new();
        if self.prompt.trim().is_empty() {
            found.push(Refusal::of("/prompt", wrong("the prompt is empty", "describe the task")));
        }
        if self.cli.is_none() && self.model.as_ref().is_none_or(|names| names.list().is_empty()) {
            let failure = wrong(
                "`model` or `cli` is missing",
                "set `model` to a model, or `cli` to a program such as claude",
            );
            let refusal = Refusal::among(&["model", "cli"], failure);
            found.push(if self.model.is_some() { refusal.with("/model") } else { refusal });
        }
        let zero = [
            ("/turns", self.turns == 0),
            ("/usd", self.usd <= 0.0 || !self.usd.is_finite()),
            ("/tokens", self.tokens == Some(0)),
        ];
        for (at, _) in zero.into_iter().filter(|(_, zero)| *zero) {
            let hint = "set `turns`, `usd` and `tokens` above 0";
            found.push(Refusal::of(at, wrong("a limit is zero", hint)));
        }
        for (at, span) in [("/wall", self.wall), ("/idle", self.idle)] {
            if span.0.is_zero() {
                let failure = wrong("`wall` or `idle` is zero", "write a duration such as 30m");
                found.push(Refusal::of(at, failure));
            }
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            let failure = wrong(
                "`temperature` is not between 0 and 2",
                "use 0 for the most repeatable answers; 1 is usual",
            );
            found.push(Refusal::of("/temperature", failure));
        }
        // These values are passed as command-line arguments.
        if let Some(cli) = &self.cli {
            found.extend(with_null("/cli", cli, "the program"));
            found.extend(with_null("/prompt", &self.prompt, "the prompt for a program"));
        }
        let result = ResultGoal::new(self.result.as_deref(), None).err();
        found.extend(result.map(|failure| Refusal::of("/result", failure)));
        found.extend(globs(&self.ignore).err().map(|failure| Refusal::of("/ignore", failure)));
        found
    }

    /// A key that is equal for attempts with the same input and schema.
    pub(super) fn key(&self, cx: &Context) -> Digest {
        let schema = cx.schema.as_ref().map(|schema| schema.source().clone());
        Digest::of_value(&serde_json::json!({ "with": self, "schema": schema }))
    }

    /// The settings of the agent loop.
    pub(super) fn job(self, models: &Models, cx: &Context) -> Result<AgentJob, Failure> {
        let names = self.model.as_ref().map(|names| names.list().to_vec()).unwrap_or_default();
        let meant = names.iter().flat_map(|name| models.registry().resolve_alias(name));
        let found = meant.map(|name| Ok((name.to_owned(), models.find(name)?)));
        let found: Vec<_> = found.collect::<Result<_, Failure>>()?;
        if self.unknown_cost == UnknownCost::Refuse {
            found.iter().try_for_each(|(name, model)| priced(name, model))?;
        }
        let goal = ResultGoal::new(self.result.as_deref(), cx.schema.clone())?;
        let key = self.key(cx);
        Ok(AgentJob { models: found, goal, key, with: self })
    }
}
