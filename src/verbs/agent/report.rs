//! What an agent leaves behind.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

use super::workspace::{Snapshot, Touched, touched};
use crate::meter::Meter;
use crate::tree::{Tree, TreeEntry, TreeRef};
use crate::value::{Digest, Value};
use crate::verb::{Class, Context, Failure};
use crate::verbs::written::stored;

/// What ended an agent's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// It was done.
    Done,
    /// The limit of answers.
    Turns,
    /// The limit of dollars.
    Usd,
    /// The limit of tokens.
    Tokens,
    /// The limit of time.
    Wall,
    /// Silence.
    Idle,
    /// A conversation that no model can read any more.
    Context,
}

impl EndedBy {
    /// What to say of an agent that brought nothing before that.
    fn failure(self) -> Failure {
        let (class, what, hint) = match self {
            Self::Done => {
                (Class::Rejected, "the agent ended without a result", "say in the prompt what it is to bring")
            }
            Self::Turns => (Class::Budget, "the agent used up its turns", "raise `turns`, or ask for less"),
            Self::Usd => {
                (Class::Budget, "the agent used up its dollars", "raise `usd`, or use a cheaper model")
            }
            Self::Tokens => {
                (Class::Budget, "the agent used up its tokens", "raise `tokens`, or ask for less")
            }
            Self::Wall => (Class::Timeout, "the agent took too long", "raise `wall`, or ask for less"),
            Self::Idle => (Class::Timeout, "nothing was heard of the agent for too long", "raise `idle`"),
            Self::Context => (
                Class::Permanent,
                "the conversation is too long for the model",
                "use one with a larger context",
            ),
        };
        Failure::new(class, what).hint(hint)
    }

    fn word(self) -> Value {
        json!(self)
    }
}

/// How an agent's work went.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// What it said at last.
    pub text: String,
    /// What the file `result` holds, or what it handed in; absent where neither was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Digest of the tree of all files at the end: wherever a tree is wanted, this output will do.
    #[schemars(with = "String")]
    pub tree: Digest,
    /// All files at the end.
    pub files: Vec<TreeEntry>,
    /// What it did to files.
    pub changes: Vec<Touched>,
    /// What could not be brought back: links that lead out, devices, strange names.
    pub left_out: Vec<String>,
    /// What ended it: `done`, or the limit that it ran into.
    pub ended_by: EndedBy,
    /// How many answers it took, attempts that were cut off included.
    pub turns: u32,
    /// The model that answered last, or the program.
    pub model: String,
    /// What all of it cost, attempts that were cut off included: `calls`, `tokens_in`, `tokens_out`, `tokens_cached`, `usd`.
    #[schemars(with = "std::collections::BTreeMap<String, f64>")]
    pub spent: Meter,
    /// Digest of what was said and done, a line of JSON for each message.
    #[schemars(with = "String")]
    pub transcript: Digest,
}

/// What an agent brings: the report of its work. Where the step has a schema, its result, with the report beside its own
/// fields as `agent`, unless the schema forbids further fields.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Out(pub(super) Value);

impl JsonSchema for Out {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Out".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Report::json_schema(generator)
    }
}

/// What is known when the work ends.
pub(super) struct Ending<'a> {
    pub(super) begun: &'a Tree,
    /// Files that are at the end as they are in this tree.
    pub(super) fixed: Option<&'a TreeRef>,
    pub(super) left: Snapshot,
    pub(super) by: EndedBy,
    pub(super) result: Option<Value>,
    /// Whether a result is wanted: without one the files are what was wanted.
    pub(super) wants: bool,
    pub(super) text: String,
    pub(super) turns: u32,
    pub(super) model: String,
    pub(super) spent: Meter,
    pub(super) transcript: String,
}

impl Ending<'_> {
    /// The output, or the failure of an agent that brought nothing: what it left is in its detail.
    pub(super) fn settle(self, cx: &Context) -> Result<Out, Failure> {
        let Self { begun, fixed, mut left, by, result, wants, text, turns, model, spent, transcript } = self;
        left.tree.cover(&stored(fixed, cx)?);
        let changes = touched(begun, &left.tree);
        let saved = left.tree.save(&*cx.blobs)?;
        let transcript = cx.blobs.put(transcript.as_bytes())?.digest;
        let brought = if wants { result.is_some() } else { by == EndedBy::Done || !changes.is_empty() };
        let (tree, files, left_out, ended_by) = (saved.tree, saved.files, left.left_out, by);
        let report = Report {
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
        Ok(Out(shaped(report, cx)))
    }
}

/// The report, or where the step has a schema the result with the report in it.
fn shaped(report: Report, cx: &Context) -> Value {
    let whole = |report: &Report| serde_json::to_value(report).unwrap_or_default();
    let (Some(schema), Some(result)) = (&cx.schema, report.result.clone()) else { return whole(&report) };
    let Value::Object(mut fields) = result.clone() else { return result };
    fields.entry("agent").or_insert(whole(&Report { result: None, ..report }));
    let fuller = Value::Object(fields);
    if schema.accepts(&fuller) {
        return fuller;
    }
    cx.progress.line(
        "the step's schema allows no further fields: its output is the result alone, without the files",
    );
    result
}

/// What a failure of work that was under way carries beside its own detail, so that nothing of it is lost.
pub(super) fn with_remains(failure: Failure, remains: Value, spent: Meter) -> Failure {
    let mut detail = match failure.detail.clone() {
        Value::Object(table) => table,
        Value::Null => serde_json::Map::new(),
        other => serde_json::Map::from_iter([("detail".to_owned(), other)]),
    };
    detail.insert("agent".to_owned(), remains);
    failure.detail(Value::Object(detail)).spent(spent)
}
