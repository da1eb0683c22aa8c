//! `scenario`: one scenario, run against a program. No model is involved and nothing is scored.

use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::scenario::{Observation, Scenario, Shell, Stage, Variables, Web, run};
use crate::value::Value;
use crate::verb::{Context, Failure, Output, Traits, Verb};

/// Finds the inside of a held service by its id.
pub trait Services: Send + Sync + 'static {
    /// The service `id` while it is held, `None` where none of that name is.
    fn shell(&self, id: &str) -> Option<Arc<dyn Shell>>;
}

/// Runs a scenario.
pub struct ScenarioRun {
    services: Arc<dyn Services>,
}

impl ScenarioRun {
    /// Commands run inside what `services` finds.
    pub fn new(services: Arc<dyn Services>) -> Self {
        Self { services }
    }
}

/// What `scenario` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The scenario, as `scenario_load` brings it.
    pub scenario: Scenario,
    /// Base URL for its requests.
    #[serde(default)]
    pub target: Option<String>,
    /// Id of the held service: its commands run in it, its log is kept beside each step.
    #[serde(default)]
    pub service: Option<String>,
    /// Variables that placeholders may use from the beginning.
    #[serde(default)]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub variables: Option<IndexMap<String, Value>>,
}

impl Verb for ScenarioRun {
    const NAME: &'static str = "scenario";
    const SUMMARY: &'static str = "run a scenario and tell what was observed";
    const TRAITS: Traits = Traits::repeatable("scenario");
    const EXAMPLE: &'static str = r#"
[steps.trial]
scenario = { scenario = "{{ item }}", target = "{{ held.url }}", service = "{{ held.id }}" }
"#;
    type With = With;
    type Out = Observation;

    async fn run(&self, with: With, cx: Context) -> Result<Output<Observation>, Failure> {
        let scenario = with.scenario;
        let uses = |word: &str| scenario.setup.iter().chain(&scenario.steps).any(|s| s.action.word() == word);
        let shell = match &with.service {
            Some(id) => Some(self.services.shell(id).ok_or_else(|| no_service(id))?),
            None if uses(EXEC) => return Err(lacks(&scenario, EXEC, "service", "{{ held.id }}")),
            None => None,
        };
        let web = match &with.target {
            Some(target) if uses(REQUEST) => Some(Web::new(target).map_err(Failure::permanent)?),
            None if uses(REQUEST) => return Err(lacks(&scenario, REQUEST, "target", "{{ held.url }}")),
            _ => None,
        };
        let stage = Stage { web: web.as_ref(), shell: shell.as_deref(), clock: &*cx.clock };
        let variables = Variables::given(with.variables.unwrap_or_default());
        tokio::select! {
            observation = run(&scenario, &stage, variables) => Ok(Output::free(observation)),
            () = cx.cancel.cancelled() => Err(Failure::cancelled()),
        }
    }
}

const REQUEST: &str = "request";
const EXEC: &str = "exec";

fn no_service(id: &str) -> Failure {
    Failure::permanent(format!("no service `{id}` is held"))
        .hint("a scenario that needs a service runs inside `hold = { service = { … } }`")
}

fn lacks(scenario: &Scenario, word: &str, key: &str, example: &str) -> Failure {
    Failure::permanent(format!("the scenario `{}` has `{word}` steps, but no `{key}` is given", scenario.id))
        .hint(format!("add `{key} = \"{example}\"` to the step"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Action;

    #[test]
    fn the_words_are_those_of_the_language() {
        let request = serde_json::json!({"request": {"method": "GET", "path": "/"}});
        let exec = serde_json::json!({"exec": {"command": "true"}});
        assert_eq!(serde_json::from_value::<Action>(request).unwrap().word(), REQUEST);
        assert_eq!(serde_json::from_value::<Action>(exec).unwrap().word(), EXEC);
    }
}
