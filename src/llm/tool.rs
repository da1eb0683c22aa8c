use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::value::{Value, change_texts};

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name with at most 64 letters, digits, `_` and `-`, as providers require.
    pub name: String,
    /// Description for the model.
    pub description: String,
    /// JSON Schema of its input, which is an object.
    pub schema: Arc<Value>,
}

impl Tool {
    /// Size of its description in bytes.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.description.len() + self.schema.to_string().len()
    }
}

/// A tool call of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Id at the provider, which the result refers to.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Input; the text of the model if it is not JSON.
    pub input: Value,
    /// Opaque data that the provider needs back with the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl ToolCall {
    /// The input as an object, the only form that every provider accepts.
    pub(super) fn object(&self) -> Value {
        if self.input.is_object() { self.input.clone() } else { json!({ "malformed": self.input }) }
    }

    /// Size in bytes.
    pub(super) fn size(&self) -> usize {
        self.name.len() + self.input.to_string().len()
    }

    /// The call with every text in its input replaced by `plain` of it.
    pub(super) fn mapped(&self, plain: &dyn Fn(&str) -> String) -> Self {
        let mut call = self.clone();
        change_texts(&mut call.input, plain);
        call
    }
}

/// Result of a tool call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolResult {
    /// Id of the call.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Result, or the error message.
    pub text: String,
    /// Whether it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// A tool call that is being received.
#[derive(Clone, Debug, Default)]
pub struct PartialToolCall {
    /// Id at the provider, if any.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Received text of its input.
    pub input: String,
    /// See [`ToolCall::signature`].
    pub signature: Option<String>,
    /// Index in the answer, if the provider sends it with each piece.
    pub place: Option<u64>,
    /// Whether the input was received completely before any piece.
    pub at_once: bool,
}

impl PartialToolCall {
    /// The complete call at `place` of its answer. A missing input is an empty object if the answer `ended`
    /// normally.
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
        assert_eq!(calling("  ").whole(1, false).input, json!("  "), "the token limit came before it");
        let cut = calling("{\"a\": ").whole(0, true);
        assert_eq!(cut.input, json!("{\"a\": "));
        assert_eq!(cut.object(), json!({"malformed": "{\"a\": "}));
        assert_eq!(calling("[1]").whole(0, true).object(), json!({"malformed": [1]}));
    }
}
