use schemars::JsonSchema;
use serde::Serialize;

use crate::value::Value;
use crate::verb::{Context, Failure, Output, Traits, Verb};

/// `set`: names values; its output is its input.
pub struct Set;

/// Values by name.
type SetValues = serde_json::Map<String, Value>;

impl Verb for Set {
    const NAME: &'static str = "set";
    const SUMMARY: &'static str = "name values: the output is the input";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = r#"
[steps.sum]
set = { total = "{{ 40 + 2 }}", note = "the answer" }
"#;
    type With = SetValues;
    type Out = SetOutput;

    async fn run(&self, with: SetValues, _cx: Context) -> Result<Output<SetOutput>, Failure> {
        Ok(Output::free(SetOutput(with)))
    }
}

/// Values by name, unchanged.
#[derive(Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-same-as-input" = true))]
pub struct SetOutput(SetValues);
