//! Which scenarios share a program, and in which order they run in it.

use serde_json::json;

use super::With;
use crate::scenario::{Isolation, Readiness, Scenario, runs_commands};

/// Says of each scenario what its program is waited for, in which group it runs and at which place of it. What a gate
/// does to a program must not show in the findings of another scenario: those of different visibility never share one.
pub(super) fn group(scenarios: &mut [Scenario], with: &With) {
    for scenario in scenarios {
        scenario.readiness = Readiness::of(&scenario.uses);
        scenario.commands = scenario.uses.iter().any(|used| runs_commands(used));
        scenario.group = name(scenario, with);
        // Rows of one scenario are called `x-1` to `x-10`.
        scenario.order = vec![json!(scenario.file), json!(scenario.id.chars().count()), json!(scenario.id)];
    }
}

/// The name of its group. The first word says whether it is shared, so that no id of a scenario is the name of a shared group.
fn name(scenario: &Scenario, with: &With) -> String {
    let Scenario { id, isolation, visibility, readiness, tier, .. } = scenario;
    let tier = if with.by_tier { format!("/{tier}") } else { String::new() };
    match isolation {
        Isolation::Fresh => format!("fresh/{id}"),
        Isolation::Shared if with.target.is_some() => format!("shared/target{tier}"),
        Isolation::Shared => format!("shared/{}/{}{tier}", visibility.word(), readiness.word()),
    }
}
