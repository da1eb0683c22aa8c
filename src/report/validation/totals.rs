use serde::Serialize;

use super::{ScenarioResult, Validation};

/// The numbers of scenarios and steps, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Scenarios by result.
    pub scenarios: Counts,
    /// Steps by result; those of a scenario that was not run are unknown.
    pub steps: Counts,
}

/// Parts of a total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Total number.
    pub total: usize,
    /// Number that passed.
    pub passed: usize,
    /// Number that failed.
    pub failed: usize,
    /// Number of others: not run, or undecided.
    pub skipped: usize,
}

impl Counts {
    fn of(passed: impl Iterator<Item = Option<bool>>) -> Self {
        let mut counts = Self::default();
        for passed in passed {
            counts.total += 1;
            *match passed {
                Some(true) => &mut counts.passed,
                Some(false) => &mut counts.failed,
                None => &mut counts.skipped,
            } += 1;
        }
        counts
    }

    /// `12 steps: 10 passed, 1 failed, 1 skipped`.
    fn text(self, one: &str) -> String {
        let parts = [(self.passed, "passed"), (self.failed, "failed"), (self.skipped, "skipped")];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let plural = if self.total == 1 { "" } else { "s" };
        let separator = if parts.is_empty() { "" } else { ": " };
        format!("{} {one}{plural}{separator}{}", self.total, parts.join(", "))
    }
}

impl Totals {
    /// Counts the results of a validation.
    pub fn of(found: &Validation) -> Self {
        let decided = |scenario: &ScenarioResult| {
            scenario.passed.filter(|_| scenario.not_run.is_none() && scenario.trouble.is_none())
        };
        let steps = found.scenarios.iter().flat_map(|scenario| {
            let broken = scenario.broken.iter().map(|_| Some(false));
            broken.chain(scenario.steps.iter().map(|step| step.verdict.passed))
        });
        Self { scenarios: Counts::of(found.scenarios.iter().map(decided)), steps: Counts::of(steps) }
    }

    /// Both on one line.
    pub fn text(self) -> String {
        format!("{} · {}", self.scenarios.text("scenario"), self.steps.text("step"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_counted_and_named() {
        let counts = Counts::of([Some(true), Some(false), None, Some(true)].into_iter());
        assert_eq!(counts.text("step"), "4 steps: 2 passed, 1 failed, 1 skipped");
        assert_eq!(Counts::of([Some(true)].into_iter()).text("scenario"), "1 scenario: 1 passed");
        assert_eq!(Counts::default().text("step"), "0 steps");
    }
}
