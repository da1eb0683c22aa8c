//! The grouping of scenarios that share a program, and their order in it.

use serde_json::json;

use super::ScenarioLoadInput;
use crate::scenario::{Isolation, Readiness, Scenario, runs_commands};

/// Sets the readiness check, group and order of each scenario. Effects of a `gate` scenario on the program
/// must not show in the findings of others: scenarios of different visibility never share a program.
pub(super) fn group(scenarios: &mut [Scenario], with: &ScenarioLoadInput) {
    for scenario in scenarios {
        scenario.readiness = Readiness::of(&scenario.uses);
        scenario.commands = scenario.uses.iter().any(|used| runs_commands(used));
        scenario.group = name(scenario, with);
        // The rows of a scenario are called `x-1` to `x-10`.
        scenario.order = vec![json!(scenario.file), json!(scenario.id.chars().count()), json!(scenario.id)];
    }
}

/// The name of its group. The first word says whether it is shared, so that no scenario id equals the name of
/// a shared group.
fn name(scenario: &Scenario, with: &ScenarioLoadInput) -> String {
    let Scenario { id, isolation, visibility, readiness, tier, .. } = scenario;
    let tier = if with.by_tier { format!("/{tier}") } else { String::new() };
    match isolation {
        Isolation::Fresh => format!("fresh/{id}"),
        Isolation::Shared if with.target.is_some() => format!("shared/target{tier}"),
        Isolation::Shared => format!("shared/{}/{}{tier}", visibility.word(), readiness.word()),
    }
}
