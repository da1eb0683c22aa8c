//! The report of an agent's work.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

use super::workspace::{Snapshot, Touched, touched};
use crate::meter::Meter;
use crate::tree::{Tree, TreeEntry, TreeRef};
use crate::value::{Digest, Value};
use crate::verb::{Class, Context, Failure};
use crate::verbs::edit_source::stored;

/// The reason why the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The agent finished.
    Done,
    /// The limit of turns.
    Turns,
    /// The limit of dollars.
    Usd,
    /// The limit of tokens.
    Tokens,
    /// The limit of time.
    Wall,
    /// No activity for too long.
    Idle,
    /// A conversation that exceeds the context of every model.
    Context,
}

impl EndedBy {
    /// The class, message and hint if there is no result by then.
    fn failure(self) -> Failure {
        let (class, what, hint) = match self {
            Self::Done => (
                Class::Rejected,
                "the agent ended without a result",
                "say in the prompt which result is expected",
            ),
            Self::Turns => {
                (Class::Budget, "the agent used up its turns", "raise `turns`, or make the task smaller")
            }
            Self::Usd => {
                (Class::Budget, "the agent used up its dollars", "raise `usd`, or use a cheaper model")
            }
            Self::Tokens => {
                (Class::Budget, "the agent used up its tokens", "raise `tokens`, or make the task smaller")
            }
            Self::Wall => {
                (Class::Timeout, "the agent took too long", "raise `wall`, or make the task smaller")
            }
            Self::Idle => (Class::Timeout, "the agent was idle for too long", "raise `idle`"),
            Self::Context => (
                Class::Permanent,
                "the conversation is too long for the model",
                "use a model with a larger context",
            ),
        };
        Failure::new(class, what).hint(hint)
    }

    fn word(self) -> Value {
        json!(self)
    }
}

/// The outcome of an agent's work.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AgentReport {
    /// The agent's final message.
    pub text: String,
    /// Content of the file `result`, or the value passed to `finish`; absent if neither was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Digest of the tree of all files at the end. The whole output can be used wherever a tree is expected.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// Files at the end.
    pub files: Vec<TreeEntry>,
    /// Changes that the agent made to files.
    pub changes: Vec<Touched>,
    /// Paths that could not be saved: links that lead out, devices, unusual names.
    pub left_out: Vec<String>,
    /// Reason for the end: `done`, or the limit that was reached.
    pub ended_by: EndedBy,
    /// Number of answers, including those of interrupted attempts.
    pub turns: u32,
    /// Name of the model that answered last, or of the program.
    pub model: String,
    /// Cost, including interrupted attempts: `calls`, `tokens_in`, `tokens_out`, `tokens_cached`, `usd`.
    #[schemars(with = "std::collections::BTreeMap<String, f64>")]
    pub spent: Meter,
    /// Digest of the transcript, a line of JSON for each message.
    #[schemars(with = "String")]
    pub transcript: Digest,
}

/// The output of an agent: the report of its work. If the step has a schema, the result, with the report
/// added to its fields as `agent` unless the schema forbids further fields.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct AgentOutput(pub(super) Value);

impl JsonSchema for AgentOutput {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AgentOutput".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        AgentReport::json_schema(generator)
    }
}

/// The facts about finished work.
pub(super) struct Ending<'a> {
    pub(super) begun: &'a Tree,
    /// Files that are restored from this tree at the end.
    pub(super) fixed: Option<&'a TreeRef>,
    pub(super) left: Snapshot,
    pub(super) by: EndedBy,
    pub(super) result: Option<Value>,
    /// Whether a result is required; otherwise the files are the result.
    pub(super) wants: bool,
    pub(super) text: String,
    pub(super) turns: u32,
    pub(super) model: String,
    pub(super) spent: Meter,
    pub(super) transcript: String,
}

impl Ending<'_> {
    /// The output, or the failure of an agent without a result; its files are in the detail.
    pub(super) fn settle(self, cx: &Context) -> Result<AgentOutput, Failure> {
        let Self { begun, fixed, mut left, by, result, wants, text, turns, model, spent, transcript } = self;
        left.tree.cover(&stored(fixed, cx)?);
        let changes = touched(begun, &left.tree);
        let saved = left.tree.save(&*cx.blobs)?;
        let transcript = cx.blobs.put(transcript.as_bytes())?.digest;
        let brought = if wants { result.is_some() } else { by == EndedBy::Done || !changes.is_empty() };
        let (tree, files, left_out, ended_by) = (saved.tree, saved.files, left.left_out, by);
        let report = AgentReport {
            text,
            result,
            tree,
            files,
            changes,
            left_out,
            ended_by,
            turns,
            model,
            spent,
            transcript,
        };
        if !brought {
            let detail = json!({
                "ended_by": by.word(), "tree": tree, "changes": report.changes, "transcript": transcript,
                "turns": turns, "text": report.text,
            });
            return Err(by.failure().detail(detail));
        }
        Ok(AgentOutput(output_value(report, cx)))
    }
}

/// The report, or the result with the report in it if the step has a schema.
fn output_value(report: AgentReport, cx: &Context) -> Value {
    let whole = |report: &AgentReport| serde_json::to_value(report).unwrap_or_default();
    let (Some(schema), Some(result)) = (&cx.schema, report.result.clone()) else { return whole(&report) };
    let Value::Object(mut fields) = result.clone() else { return result };
    fields.entry("agent").or_insert(whole(&AgentReport { result: None, ..report }));
    let fuller = Value::Object(fields);
    if schema.accepts(&fuller) {
        return fuller;
    }
    cx.progress.line(
        "the step's schema allows no further fields: its output is the result alone, without the files",
    );
    result
}

/// The failure of unfinished work: what it produced is added to the detail, so that nothing is lost.
pub(super) fn with_remains(failure: Failure, remains: Value, spent: Meter) -> Failure {
    let mut detail = match failure.detail.clone() {
        Value::Object(table) => table,
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("detail".to_owned(), other)]),
    };
    detail.insert("agent".to_owned(), remains);
    failure.detail(Value::Object(detail)).spent(spent)
}
