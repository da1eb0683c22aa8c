//! `when`: conditions about variables that decide whether a step is run. They read captured values only and
//! ask no model.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assert::{Assertion, AssertionRule, check};
use crate::scenario::answer::StepAnswer;
use crate::scenario::values::Variables;
use crate::scenario::values::size::too_large;
use crate::scenario::values::variables::as_text;
use crate::value::Value;

/// Conditions that must all hold. Each is about the variable that its path selects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct When(pub Vec<Assertion>);

impl When {
    /// Reason why a step is skipped; `None` if it is not.
    pub fn refusal(&self, variables: &Variables) -> Option<String> {
        if too_large(self, variables).is_some() {
            // The step is run, and fails for the same reason.
            return None;
        }
        let known = variables.all().map(|(name, value)| (name.to_owned(), plain(value.clone()))).collect();
        let text = Value::Object(known).to_string();
        let answer = StepAnswer::structured(("variables", &text), Vec::new());
        self.0.iter().find_map(|condition| {
            let condition = match condition.rule {
                AssertionRule::Equals => {
                    Assertion { value: plain(condition.value.clone()), ..condition.clone() }
                }
                _ => condition.clone(),
            };
            let verdict = check(&condition, &answer, &[Duration::ZERO], variables);
            (!verdict.ok).then(|| format!("{} does not hold", verdict.assert.trim_start_matches("json $.")))
        })
    }
}

/// A number or a boolean as text: the same value is captured as text from one source and as a number from
/// another.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => as_text(&value).into(),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::assert::Subject;
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_look_at_variables_alone() {
        let mut variables = Variables::default();
        variables.set("status", json!("200"));
        variables.set("count", json!(3));
        variables.set("tags", json!(["a", "b"]));
        let holds = |path: &str, rule, value: Value| {
            let condition = Assertion { subject: Subject::Json, path: Some(path.into()), rule, value };
            When(vec![condition]).refusal(&variables).is_none()
        };
        assert!(
            holds("$.status", AssertionRule::Equals, json!(200))
                && holds("$.count", AssertionRule::Equals, json!("3"))
        );
        assert!(
            holds("$.tags", AssertionRule::Contains, json!("a"))
                && holds("$.none", AssertionRule::Exists, json!(false))
        );
        assert!(
            !holds("$.none", AssertionRule::Equals, json!("x"))
                && !holds("$.status", AssertionRule::Matches, json!("^4"))
        );
        assert!(holds("$.count", AssertionRule::Equals, json!("{count}")));
        let why = When(vec![Assertion {
            subject: Subject::Json,
            path: Some("$.plan".into()),
            rule: AssertionRule::Equals,
            value: json!("pro"),
        }]);
        assert_eq!(why.refusal(&variables).as_deref(), Some("plan equals \"pro\" does not hold"));
    }
}
