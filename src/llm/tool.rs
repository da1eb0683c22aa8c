use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::value::{Value, change_texts};

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64: what providers accept.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its input, an object.
    pub schema: Arc<Value>,
}

impl Tool {
    /// Its length in bytes for the model that reads of it.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.description.len() + self.schema.to_string().len()
    }
}

/// A call of a tool by a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// What the provider calls it; its result names it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The input. Where the model wrote something that is no JSON, that text.
    pub input: Value,
    /// What the provider wants to see again beside the call, unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl ToolCall {
    /// The input as an object, which is the only form in which every provider takes it back.
    pub(super) fn object(&self) -> Value {
        if self.input.is_object() { self.input.clone() } else { json!({ "malformed": self.input }) }
    }

    /// Its length in bytes for the model that reads it again.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.input.to_string().len()
    }

    /// The same with every text in its input replaced by what `plain` makes of it.
    pub(super) fn mapped(&self, plain: &dyn Fn(&str) -> String) -> Self {
        let mut call = self.clone();
        change_texts(&mut call.input, plain);
        call
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolResult {
    /// The call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it brought, or why not.
    pub text: String,
    /// Whether it went wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// A call while it comes in.
#[derive(Clone, Debug, Default)]
pub struct PartialToolCall {
    /// What the provider calls it, where it does.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The text of its input so far.
    pub input: String,
    /// See [`ToolCall::signature`].
    pub signature: Option<String>,
    /// Where it stands in the answer, where the provider says so with each piece of it.
    pub place: Option<u64>,
    /// Whether the input came whole, before any piece of it.
    pub at_once: bool,
}

impl PartialToolCall {
    /// The whole call, the one at `place` of its answer. No input at all is an empty one if the answer `ended` by itself.
    pub(super) fn whole(self, place: usize, ended: bool) -> ToolCall {
        let text = if ended && self.input.trim().is_empty() { "{}" } else { &self.input };
        let input = crate::value::parse(text).unwrap_or_else(|_| Value::String(self.input.clone()));
        let id = if self.id.is_empty() { format!("call_{place}") } else { self.id };
        ToolCall { id, name: self.name, input, signature: self.signature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_stays_text_and_goes_back_as_an_object() {
        let calling = |input: &str| PartialToolCall {
            name: "f".to_owned(),
            input: input.to_owned(),
            ..PartialToolCall::default()
        };
        let call = calling("{\"a\": 1}").whole(0, false);
        assert_eq!((call.id.as_str(), call.object()), ("call_0", json!({"a": 1})));
        assert_eq!(calling("  ").whole(1, true).input, json!({}));
        assert_eq!(calling("  ").whole(1, false).input, json!("  "), "the limit of tokens came before it");
        let cut = calling("{\"a\": ").whole(0, true);
        assert_eq!(cut.input, json!("{\"a\": "));
        assert_eq!(cut.object(), json!({"malformed": "{\"a\": "}));
        assert_eq!(calling("[1]").whole(0, true).object(), json!({"malformed": [1]}));
    }
}
