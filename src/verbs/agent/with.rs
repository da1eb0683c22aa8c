//! What `agent` takes, checked.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::asked::{Names, UnknownCost, priced};
use super::goal::Goal;
use crate::llm::registry::Model;
use crate::llm::{Effort, Models};
use crate::tree::TreeRef;
use crate::value::Digest;
use crate::verb::{Context, Failure, Refusal};
use crate::verbs::globs::globs;
use crate::verbs::lapse::Lapse;
use crate::verbs::null::with_null;

/// Who works, on what, towards what, and how long.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The model that works, through Atoll's own tools: a name of the registry, `provider/name`, an alias, or a list of which
    /// the next one is used if one cannot be reached. With `cli`, the model that the program is told to use.
    #[serde(default)]
    pub(super) model: Option<Names>,
    /// Instead of a model: a coding agent that is a program of its own, `claude`, `codex`, `gemini`, or one that
    /// `atoll.toml` describes under `[agents.NAME]`.
    #[serde(default)]
    pub(super) cli: Option<String>,
    /// What is to be done.
    pub(super) prompt: String,
    /// What is added to `prompt` after a result that was rejected. Atoll fills it in from `prompts/llm/again.md`, unless a
    /// text of the step reads `attempt.error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) again: Option<String>,
    /// What stands above the conversation, after what is said there about the workspace.
    #[serde(default)]
    pub(super) system: Option<String>,
    /// The files to begin with, as `pack`, `edit` or another `agent` gives them; none where there are none. They are copied: what
    /// comes of them is in the output.
    #[serde(default)]
    pub(super) tree: Option<TreeRef>,
    /// A tree whose files the work cannot change: at the end they are as they are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fixed: Option<TreeRef>,
    /// Globs of what is not brought back; one without `/` is matched against names.
    #[serde(default)]
    pub(super) ignore: Vec<String>,
    /// The file of the workspace in which the result is to be left. A `.json` file, or any where the step has a schema, is
    /// read as JSON and checked. Without it a step with a schema takes its result from a tool `finish`, or from the last
    /// event of the program.
    #[serde(default)]
    pub(super) result: Option<String>,
    /// Which tools the model has. Default: all of them.
    #[serde(default = "all")]
    pub(super) tools: Vec<Kind>,
    /// Most answers of the model.
    #[serde(default = "turns")]
    #[schemars(range(min = 1))]
    pub(super) turns: u32,
    /// Most dollars, for all attempts that continue one conversation.
    #[serde(default = "usd")]
    pub(super) usd: f64,
    /// Most tokens, read and written.
    #[serde(default)]
    pub(super) tokens: Option<u64>,
    /// Ends an attempt after this long.
    #[serde(default = "wall")]
    pub(super) wall: Lapse,
    /// Ends an attempt when nothing has been heard for this long: no piece of an answer, no line of the program. Time in
    /// which a command runs does not count.
    #[serde(default = "idle")]
    pub(super) idle: Lapse,
    /// How often a result that is missing or does not fit is asked for again.
    #[serde(default = "repairs")]
    pub(super) repairs: u32,
    /// How long a command may run, where the model asks for no less.
    #[serde(default = "command")]
    pub(super) command_timeout: Lapse,
    /// Tokens of conversation at which what tools brought long ago is left out. Default: three quarters of what the
    /// registry says that the model can read, or of 32,768.
    #[serde(default)]
    pub(super) context: Option<u64>,
    /// Most tokens of one answer. Default: what the registry says about the model.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(super) max_tokens: Option<u64>,
    /// 0 to 2. Not sent to models that take none.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 2.0))]
    pub(super) temperature: Option<f64>,
    /// How hard to think. Not sent to models that take none.
    #[serde(default)]
    pub(super) effort: Option<Effort>,
    /// For models that take one.
    #[serde(default)]
    pub(super) seed: Option<u64>,
    /// What it works as, e.g. `repair`: `atoll cost` sums up by it. Default: the name of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    /// What to do about an unknown price. Default: refuse.
    #[serde(default)]
    pub(super) unknown_cost: UnknownCost,
    /// Whether a program runs in a sandbox of files: it sees the system, its own files and the workspace, and the whole
    /// network. Without one it runs as you do.
    #[serde(default = "yes")]
    pub(super) sandbox: bool,
}

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Reads a file.
    Read,
    /// Writes a whole file.
    Write,
    /// Replaces a piece of a file.
    Edit,
    /// Lists files.
    List,
    /// Looks for a regular expression in files.
    Search,
    /// Runs a command line in a sandbox without network.
    Run,
}

fn all() -> Vec<Kind> {
    vec![Kind::Read, Kind::Write, Kind::Edit, Kind::List, Kind::Search, Kind::Run]
}

pub(super) fn turns() -> u32 {
    50
}

pub(super) fn usd() -> f64 {
    5.0
}

fn wall() -> Lapse {
    Lapse(Duration::from_secs(1_800))
}

fn idle() -> Lapse {
    Lapse(Duration::from_secs(300))
}

fn repairs() -> u32 {
    2
}

fn command() -> Lapse {
    Lapse(Duration::from_secs(120))
}

fn yes() -> bool {
    true
}

/// A checked [`With`] for a model that works through our tools.
pub(super) struct Job {
    pub(super) with: With,
    /// Those that may work, in order; never empty.
    pub(super) models: Vec<(String, Arc<Model>)>,
    pub(super) goal: Goal,
    /// The same for attempts that may go on with each other's conversation.
    pub(super) key: Digest,
}

impl With {
    /// What would be wrong whoever works.
    pub(super) fn wrong(&self) -> Vec<Refusal> {
        let wrong = |what: &str, hint: &str| Failure::permanent(format!("`agent`: {what}")).hint(hint);
        let mut found = Vec::new();
        if self.prompt.trim().is_empty() {
            found.push(Refusal::of("/prompt", wrong("the prompt is empty", "say what is to be done")));
        }
        if self.cli.is_none() && self.model.as_ref().is_none_or(|names| names.list().is_empty()) {
            let failure =
                wrong("there is neither `model` nor `cli`", "name a model, or a program such as claude");
            let refusal = Refusal::among(&["model", "cli"], failure);
            found.push(if self.model.is_some() { refusal.with("/model") } else { refusal });
        }
        let zero = [
            ("/turns", self.turns == 0),
            ("/usd", self.usd <= 0.0 || !self.usd.is_finite()),
            ("/tokens", self.tokens == Some(0)),
        ];
        for (at, _) in zero.into_iter().filter(|(_, zero)| *zero) {
            let hint = "with `turns`, `usd` or `tokens` of 0 nothing could be done";
            found.push(Refusal::of(at, wrong("a limit is zero", hint)));
        }
        for (at, span) in [("/wall", self.wall), ("/idle", self.idle)] {
            if span.0.is_zero() {
                let failure = wrong("`wall` or `idle` is zero", "write a span such as 30m");
                found.push(Refusal::of(at, failure));
            }
        }
        if self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)) {
            let failure =
                wrong("`temperature` is not between 0 and 2", "0 is the most repeatable, 1 the usual");
            found.push(Refusal::of("/temperature", failure));
        }
        // They become words of a command line.
        if let Some(cli) = &self.cli {
            found.extend(with_null("/cli", cli, "the program"));
            found.extend(with_null("/prompt", &self.prompt, "the prompt for a program"));
        }
        let result = Goal::new(self.result.as_deref(), None).err();
        found.extend(result.map(|failure| Refusal::of("/result", failure)));
        found.extend(globs(&self.ignore).err().map(|failure| Refusal::of("/ignore", failure)));
        found
    }

    /// The same for attempts with the same input and schema.
    pub(super) fn key(&self, cx: &Context) -> Digest {
        let schema = cx.schema.as_ref().map(|schema| schema.source().clone());
        Digest::of_value(&serde_json::json!({ "with": self, "schema": schema }))
    }

    /// What our own loop is to do.
    pub(super) fn job(self, models: &Models, cx: &Context) -> Result<Job, Failure> {
        let names = self.model.as_ref().map(|names| names.list().to_vec()).unwrap_or_default();
        let meant = names.iter().flat_map(|name| models.registry().resolve_alias(name));
        let found = meant.map(|name| Ok((name.to_owned(), models.find(name)?)));
        let found: Vec<_> = found.collect::<Result<_, Failure>>()?;
        if self.unknown_cost == UnknownCost::Refuse {
            found.iter().try_for_each(|(name, model)| priced(name, model))?;
        }
        let goal = Goal::new(self.result.as_deref(), cx.schema.clone())?;
        let key = self.key(cx);
        Ok(Job { models: found, goal, key, with: self })
    }
}
