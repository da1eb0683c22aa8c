//! Answers that change a tree of files: the request, and how the answer is applied.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::AnswerFormat;
use crate::schema::Schema;
use crate::tree::TreeRef;
use crate::tree::edit::Edit;
use crate::value::Value;
use crate::verb::{Class, Context, Failure};
use crate::verbs::edit_source::{Applied, EditBase, applied, read_edits, read_text};

/// The tree that the answer changes, and how.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EditAnswer {
    /// The tree to change. `null` means an empty one.
    pub(super) base: Option<TreeRef>,
    /// A tree of files that the answer cannot change: in the result they are as in this tree.
    pub(super) fixed: Option<TreeRef>,
    /// Format of the answer. The prompt must ask for the same format.
    #[serde(rename = "as")]
    pub(super) protocol: EditProtocol,
}

/// The format in which a model writes changes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EditProtocol {
    /// JSON `{edits: [{op, path, …}]}`: `write`, `replace`, `delete` and `rename`.
    #[default]
    Edits,
    /// The same JSON, with whole files only.
    Files,
    /// Text with blocks `=== FILE: path ===` … `=== END FILE ===`, for models that are weak at JSON.
    Blocks,
}

/// The schema of an answer in JSON. Pipelines may use the same file as `output`: the request is then the
/// same.
const SCHEMA: (&str, &str) = ("schemas/edits.json", include_str!("../../../schemas/edits.json"));

impl EditProtocol {
    /// The schema of an answer, if it is JSON.
    pub(super) fn schema(self) -> Result<Option<Arc<Schema>>, Failure> {
        if self == Self::Blocks {
            return Ok(None);
        }
        let bug = |e: String| Failure::new(Class::Bug, format!("{}: {e}", SCHEMA.0));
        let source = serde_json::from_str(SCHEMA.1).map_err(|e| bug(e.to_string()))?;
        Schema::compile(SCHEMA.0, source).map(|schema| Some(Arc::new(schema))).map_err(|e| bug(e.to_string()))
    }
}

impl EditAnswer {
    /// The format that is requested.
    pub(super) fn asked(&self) -> Result<(AnswerFormat, Option<Arc<Schema>>), Failure> {
        let schema = self.protocol.schema()?;
        Ok((if schema.is_some() { AnswerFormat::Json } else { AnswerFormat::Files }, schema))
    }

    /// The output for `answer`: the changed tree. An answer that cannot be applied is `rejected`, with the
    /// answer in the detail.
    pub(super) fn apply(&self, answer: &Value, cx: &Context) -> Result<Value, Failure> {
        let ground = EditBase { base: self.base.as_ref(), fixed: self.fixed.as_ref(), empty: false };
        let made = self.read(answer).and_then(|edits| applied(&edits, &ground, cx));
        let Applied { tree, changes, unchanged } = made.map_err(|failure| {
            if failure.class != Class::Rejected {
                return failure;
            }
            let shown = match answer.get("text").and_then(Value::as_str) {
                Some(text) => super::reply::shown(text),
                None => super::reply::shown(&answer.to_string()),
            };
            let detail = json!({ "answer": shown, "edit": failure.detail });
            failure.detail(detail)
        })?;
        Ok(json!({ "tree": tree.tree, "files": tree.files, "changes": changes, "unchanged": unchanged }))
    }

    fn read(&self, answer: &Value) -> Result<Vec<Edit>, Failure> {
        match self.protocol {
            EditProtocol::Edits | EditProtocol::Files => {
                read_edits(answer.get("edits").and_then(Value::as_array).map_or(&[], Vec::as_slice))
            }
            EditProtocol::Blocks => {
                let text = answer.get("text").and_then(Value::as_str).unwrap_or_default();
                read_text(text, answer.get("stop").is_some_and(|stop| stop == "end"))
            }
        }
    }
}
