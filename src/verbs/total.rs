//! `total`: one score for several sets of scenarios, and for parts that are measured in other ways.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::graded::{mean, rounded};
use crate::verb::{Context, Failure, Output, Refusal, Traits, Verb, pointer};

/// The verb `total`.
pub struct Total;

/// Input of `total`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TotalInput {
    /// Scored scenarios, from `grade`; several sets can be concatenated.
    pub graded: Vec<CountedScenario>,
    /// Scores to reach.
    #[serde(default)]
    pub goal: ScoreGoal,
    /// Scores of other kinds, by name, e.g. that of a linter.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ScorePart>")]
    pub parts: BTreeMap<String, ScorePart>,
    /// Step to which `score` and `lowest` are rounded down. Default: six decimal places. `done` is decided
    /// before rounding.
    #[serde(default)]
    pub precision: Option<f64>,
}

/// The fields of a scenario that are needed here.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CountedScenario {
    /// Weight in the mean.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// Whether the goal requires that it passes.
    #[serde(default)]
    pub must: bool,
    /// Score, 0 to 100; null if it has none.
    #[serde(default)]
    pub score: Option<f64>,
    /// Whether it passes.
    #[serde(default)]
    pub passed: Option<bool>,
    /// Number of undecided steps and criteria.
    #[serde(default)]
    pub unjudged: u64,
    /// Reason why it could not be run.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Reason why it was not run.
    #[serde(default)]
    pub not_run: Option<String>,
}

fn default_weight() -> f64 {
    1.0
}

/// The scores to reach.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreGoal {
    /// Minimum total score, which each `must` scenario has to reach as well.
    #[serde(default = "full_score")]
    pub score: f64,
    /// Minimum score of each scenario.
    #[serde(default)]
    pub lowest: f64,
}

fn full_score() -> f64 {
    100.0
}

impl Default for ScoreGoal {
    fn default() -> Self {
        Self { score: full_score(), lowest: 0.0 }
    }
}

/// A score of another kind.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorePart {
    /// Score, 0 to 100; null if it could not be measured. It is then excluded, and counts as undecided.
    pub score: Option<f64>,
    /// Share of the whole, from 0 to less than 1. The scenarios have the rest.
    pub share: f64,
}

/// Output of `total`.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct TotalOutput {
    /// Total score, 0 to 100; null if nothing is decided. Without any scenario it is 0, because there was no
    /// program to test.
    pub score: Option<f64>,
    /// Lowest score of a scenario; null if none has a score.
    pub lowest: Option<f64>,
    /// Whether the goal is reached.
    pub done: bool,
    /// Whether everything is decided.
    pub judged: bool,
    /// Number of undecided steps, criteria, scenarios and parts.
    pub unjudged: u64,
}

impl Verb for Total {
    const NAME: &'static str = "total";
    const SUMMARY: &'static str = "compute one score of all scenarios, and whether the goal is reached";
    const TRAITS: Traits = Traits::PURE;
    const EXAMPLE: &'static str = r#"
[steps.lint]
shell = { argv = ["ruff", "check", "--quiet", "."], observe = true }

[steps.score.total]
graded     = "{{ inputs.graded }}"
goal       = { score = 95, lowest = 50 }
parts.lint = { score = "{{ 100 if steps.lint.output.exit_code == 0 else 0 }}", share = 0.2 }
"#;
    type With = TotalInput;
    type Out = TotalOutput;

    fn refusals(with: &TotalInput) -> Vec<Refusal> {
        let mut found = Vec::new();
        let mut note = |at: String, message: String, hint: &str| {
            found.push(Refusal::of(at, Failure::permanent(message).hint(hint)));
        };
        for (key, score) in [("score", with.goal.score), ("lowest", with.goal.lowest)] {
            if !(0.0..=100.0).contains(&score) {
                note(
                    format!("/goal/{key}"),
                    format!("`goal.{key}` is {score}"),
                    "write a score from 0 to 100",
                );
            }
        }
        for (name, part) in &with.parts {
            let at = pointer("/parts", name);
            if !(0.0..1.0).contains(&part.share) {
                let message = format!("the share of `{name}` is {}", part.share);
                note(pointer(&at, "share"), message, "write a share of at least 0 and less than 1");
            }
            if part.score.is_some_and(|score| !(0.0..=100.0).contains(&score)) {
                let message = format!("the score of `{name}` is {}", part.score.unwrap_or_default());
                note(pointer(&at, "score"), message, "write a score from 0 to 100");
            }
        }
        if found.is_empty() && shares(with) >= 1.0 {
            let message = format!("the shares of `parts` add up to {}", rounded(shares(with)));
            let failure = Failure::permanent(message)
                .hint("reduce them to less than 1 in total, because the scenarios have the rest");
            found.push(Refusal::of("/parts", failure));
        }
        if let Some(precision) = with.precision.filter(|precision| !(*precision > 0.0 && *precision <= 100.0))
        {
            let failure = Failure::permanent(format!("`precision` is {precision}"));
            found.push(Refusal::of("/precision", failure.hint("write a number above 0, e.g. 0.125")));
        }
        found
    }

    async fn run(&self, with: TotalInput, _cx: Context) -> Result<Output<TotalOutput>, Failure> {
        Ok(Output::free(total(&with)))
    }
}

fn shares(with: &TotalInput) -> f64 {
    with.parts.values().map(|part| part.share).sum()
}

fn total(with: &TotalInput) -> TotalOutput {
    if with.graded.is_empty() {
        return TotalOutput { score: Some(0.0), lowest: Some(0.0), done: false, judged: true, unjudged: 0 };
    }
    let scores = with.graded.iter().filter_map(|one| Some((one.score?, one.weight)));
    let lowest = scores.clone().map(|(score, _)| score).min_by(f64::total_cmp);
    let parts = || with.parts.values().filter_map(|part| Some((part.score?, part.share)));
    let taken: f64 = parts().map(|(_, share)| share).sum();
    let score = mean(scores)
        .map(|mean| rounded(mean * (1.0 - taken) + parts().map(|(score, share)| score * share).sum::<f64>()));
    let unrun = with.graded.iter().filter(|one| one.trouble.is_some() || one.not_run.is_some()).count();
    let unmeasured = with.parts.values().filter(|part| part.score.is_none()).count();
    let unjudged = with.graded.iter().map(|one| one.unjudged).sum::<u64>() + (unrun + unmeasured) as u64;
    let is_missed = |one: &CountedScenario| {
        one.must && (one.passed == Some(false) || one.score.is_some_and(|score| score < with.goal.score))
    };
    let done = score.is_some_and(|score| score >= with.goal.score)
        && lowest.is_some_and(|lowest| lowest >= with.goal.lowest)
        && unjudged == 0
        && !with.graded.iter().any(is_missed);
    let shown = |value: f64| with.precision.map_or(value, |precision| down(value, precision));
    TotalOutput { score: score.map(shown), lowest: lowest.map(shown), done, judged: unjudged == 0, unjudged }
}

/// The largest multiple of `precision` that is not above `value`.
fn down(value: f64, precision: f64) -> f64 {
    // 66.6 is a multiple of 0.1, although its binary form is slightly less.
    const SLACK: f64 = 1e-9;
    rounded((value / precision + SLACK).floor() * precision)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(with: Value) -> Result<TotalOutput, Failure> {
        let with: TotalInput = serde_json::from_value(with).unwrap();
        match Total::refusals(&with).into_iter().next() {
            Some(refusal) => Err(refusal.failure),
            None => Ok(total(&with)),
        }
    }

    #[test]
    fn the_goal_is_a_conjunction() {
        let one = |score: f64| json!({"score": score, "weight": 1.0, "passed": true});
        for (graded, goal, done) in [
            (json!([one(100.0), one(90.0)]), json!({"score": 95, "lowest": 50}), true),
            (json!([one(100.0), one(89.9)]), json!({"score": 95, "lowest": 50}), false),
            (json!([one(100.0), one(49.0), one(100.0)]), json!({"score": 80, "lowest": 50}), false),
            (json!([one(100.0), {"score": 90, "must": true}]), json!({"score": 95}), false),
            (json!([one(100.0), {"score": 100, "must": true, "passed": false}]), json!({"score": 95}), false),
            (json!([one(100.0), {"score": 100, "unjudged": 1}]), json!({"score": 95}), false),
            (json!([one(100.0), {"trouble": "no network"}]), json!({"score": 95}), false),
            (json!([one(100.0), {"not_run": ""}]), json!({"score": 95}), false),
            (json!([]), json!({"score": 0}), false),
        ] {
            let out = run(json!({"graded": graded, "goal": goal})).unwrap();
            assert_eq!(out.done, done, "{graded} {goal} {out:?}");
        }
    }

    #[test]
    fn a_part_takes_its_share_from_the_scenarios() {
        let graded = json!([{"score": 80.0, "weight": 3.0}, {"score": 40.0, "weight": 1.0}]);
        let out = run(json!({"graded": graded, "parts": {"lint": {"score": 100, "share": 0.2}}})).unwrap();
        assert_eq!((out.score, out.lowest), (Some(76.0), Some(40.0)));
        let out = run(json!({"graded": graded, "parts": {"lint": {"score": null, "share": 0.2}}})).unwrap();
        assert_eq!((out.score, out.judged, out.unjudged), (Some(70.0), false, 1));
        for (parts, word) in [
            (json!({"a": {"score": 1, "share": 1}}), "the share of `a` is 1"),
            (json!({"a": {"score": 1, "share": -0.1}}), "the share of `a` is -0.1"),
            (json!({"a": {"score": 101, "share": 0.1}}), "the score of `a` is 101"),
            (json!({"a": {"score": 1, "share": 0.5}, "b": {"score": 1, "share": 0.5}}), "add up to 1"),
        ] {
            let failure = run(json!({"graded": graded, "parts": parts})).unwrap_err();
            assert!(failure.message.contains(word), "{failure}");
        }
    }

    #[test]
    fn what_was_not_tried_has_nothing_and_what_is_not_decided_no_score() {
        let none =
            TotalOutput { score: Some(0.0), lowest: Some(0.0), done: false, judged: true, unjudged: 0 };
        assert_eq!(
            run(json!({"graded": [], "parts": {"lint": {"score": 100, "share": 0.2}}})).unwrap(),
            none
        );
        let out = run(json!({"graded": [{"score": null, "unjudged": 2}]})).unwrap();
        assert_eq!(out, TotalOutput { score: None, lowest: None, done: false, judged: false, unjudged: 2 });
    }

    #[test]
    fn scores_are_rounded_down_after_the_goal_is_decided() {
        let graded = json!([{"score": 99.99}, {"score": 99.99}]);
        let out = run(json!({"graded": graded, "goal": {"score": 99.95}, "precision": 0.125})).unwrap();
        assert_eq!((out.score, out.lowest, out.done), (Some(99.875), Some(99.875), true));
        let third = json!([{"score": 66.666_667}]);
        let out = run(json!({"graded": third, "precision": 0.125})).unwrap();
        assert_eq!(out.score, Some(66.625));
        for (value, precision, expected) in
            [(100.0, 0.125, 100.0), (66.6, 0.1, 66.6), (0.0, 7.0, 0.0), (69.999, 10.0, 60.0)]
        {
            assert_eq!(down(value, precision).to_bits(), f64::to_bits(expected), "{value} {precision}");
        }
        assert!(run(json!({"graded": [], "precision": 0})).is_err());
    }
}
