//! The selection of scenarios, and their weights.

use std::collections::BTreeMap;

use regex::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ScenarioLoadInput;
use crate::diag::nearest;
use crate::scenario::{Scenario, Visibility};
use crate::verb::{Failure, Refusal, pointer};

/// The tier of a scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Tier {
    /// A number.
    Number(i64),
    /// A number as text, as list values of the command line are.
    Text(String),
}

impl Tier {
    fn number(&self) -> Result<i64, Failure> {
        match self {
            Self::Number(tier) => Ok(*tier),
            Self::Text(text) => text.trim().parse().map_err(|_| {
                Failure::permanent(format!("`{text}` is not a valid tier: tiers are whole numbers"))
                    .hint("write for example `tiers = [1, 2]`")
            }),
        }
    }
}

/// Errors of a selection that do not depend on the scenarios.
pub(super) fn refusals(with: &ScenarioLoadInput) -> Vec<Refusal> {
    let tiers = with.tiers.iter().flatten().enumerate();
    let tiers = tiers.filter_map(|(n, tier)| Some(Refusal::of(format!("/tiers/{n}"), tier.number().err()?)));
    let patterns = with.only.iter().flatten().enumerate();
    let patterns =
        patterns.filter_map(|(n, text)| Some(Refusal::of(format!("/only/{n}"), pattern(text).err()?)));
    let weights = with.weights.iter().flatten().filter(|(_, factor)| !factor.is_finite() || **factor < 0.0);
    let weights = weights.map(|(tag, factor)| {
        let failure = Failure::permanent(format!("the factor {factor} of the tag `{tag}` is below zero"))
            .hint("a factor is 0 or more: 2 doubles the weight, 0 removes it");
        Refusal::of(pointer("/weights", tag), failure)
    });
    tiers.chain(patterns).chain(weights).collect()
}

/// A pattern of ids, in which `*` stands for any characters.
fn pattern(text: &str) -> Result<Regex, Failure> {
    let pattern = format!("(?s)^{}$", regex::escape(text).replace(r"\*", ".*"));
    Regex::new(&pattern).map_err(|_| Failure::permanent(format!("the pattern `{text:.100}` is too long")))
}

/// The selection. An empty list selects all.
pub(super) struct ScenarioSelection<'a> {
    only: Vec<Regex>,
    tags: &'a [String],
    tiers: Vec<i64>,
    visibility: &'a [Visibility],
    empty: bool,
    weights: Option<&'a BTreeMap<String, f64>>,
}

/// The selected scenarios.
pub(super) struct SelectedScenarios {
    pub(super) scenarios: Vec<Scenario>,
    /// The number of scenarios before the selection.
    pub(super) found: usize,
    /// The number of sealed ones among them.
    pub(super) sealed: usize,
}

impl<'a> ScenarioSelection<'a> {
    pub(super) fn of(with: &'a ScenarioLoadInput) -> Result<Self, Failure> {
        Ok(Self {
            only: with.only.iter().flatten().map(|text| pattern(text)).collect::<Result<_, _>>()?,
            tags: with.tags.as_deref().unwrap_or_default(),
            tiers: with.tiers.iter().flatten().map(Tier::number).collect::<Result<_, _>>()?,
            visibility: with.visibility.as_deref().unwrap_or_default(),
            empty: with.empty,
            weights: with.weights.as_ref(),
        })
    }

    /// Selects from `all`, which is displayed as `shown`. A tag in `weights` that no scenario has is a
    /// warning.
    pub(super) fn select(
        &self,
        all: Vec<Scenario>,
        shown: &str,
        warnings: &mut Vec<String>,
    ) -> Result<SelectedScenarios, Failure> {
        let found = all.len();
        let sealed = all.iter().filter(|scenario| scenario.visibility == Visibility::Sealed).count();
        let all_tags: Vec<String> = all.iter().flat_map(|scenario| scenario.tags.clone()).collect();
        let unknown = |tag: &&String| !all_tags.contains(tag);
        let near = |tag: &str| match nearest(tag, all_tags.iter().map(String::as_str)) {
            Some(near) => format!(": did you mean `{near}`?"),
            None => String::new(),
        };
        for tag in self.weights.iter().flat_map(|weights| weights.keys()).filter(unknown) {
            warnings.push(format!(
                "`weights` names the tag `{tag}`, which no scenario of {shown} has{}",
                near(tag)
            ));
        }
        let mut scenarios: Vec<Scenario> = all.into_iter().filter(|scenario| self.wants(scenario)).collect();
        if scenarios.is_empty() && !self.empty {
            let strange = self.tags.iter().find(unknown);
            let strange = strange.map(|tag| format!("no scenario has the tag `{tag}`{}; ", near(tag)));
            let hint = format!(
                "{}change the selection, or set `empty = true` if there may be none",
                strange.unwrap_or_default()
            );
            return Err(Failure::permanent(self.nothing_left(found, shown)).hint(hint));
        }
        for scenario in &mut scenarios {
            scenario.weight *= self.factor(scenario);
            if !scenario.weight.is_finite() {
                return Err(Failure::permanent(format!(
                    "the weight of the scenario `{}` is too large with its factors",
                    scenario.id
                ))
                .hint("use smaller factors in `weights`"));
            }
        }
        Ok(SelectedScenarios { scenarios, found, sealed })
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|pattern| pattern.is_match(&scenario.id));
        let tagged = self.tags.is_empty() || scenario.tags.iter().any(|tag| self.tags.contains(tag));
        let tiered = self.tiers.is_empty() || self.tiers.contains(&scenario.tier);
        let visible = self.visibility.is_empty() || self.visibility.contains(&scenario.visibility);
        named && tagged && tiered && visible
    }

    /// The product of the factors of a scenario's tags; a repeated tag counts once.
    fn factor(&self, scenario: &Scenario) -> f64 {
        let factors = self.weights.iter().flat_map(|weights| weights.iter());
        factors.filter(|(tag, _)| scenario.tags.contains(tag)).map(|(_, factor)| factor).product()
    }

    fn nothing_left(&self, found: usize, shown: &str) -> String {
        let given = [
            ("only", !self.only.is_empty()),
            ("tags", !self.tags.is_empty()),
            ("tiers", !self.tiers.is_empty()),
            ("visibility", !self.visibility.is_empty()),
        ];
        let keys: Vec<String> =
            given.into_iter().filter(|(_, given)| *given).map(|(key, _)| format!("`{key}`")).collect();
        let keys = match keys.split_last() {
            Some((last, [])) => format!("{last} excludes"),
            Some((last, others)) => format!("{} and {last} exclude", others.join(", ")),
            None => return format!("no scenario is selected: {shown} has none"),
        };
        format!("no scenario is selected: {keys} all {found} of {shown}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::grouping::group;
    use super::*;

    fn scenario(id: &str, more: &Value) -> Scenario {
        let mut value = json!({"id": id, "file": format!("{id}.yaml"), "steps": [], "uses": ["request"]});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn all() -> Vec<Scenario> {
        vec![
            scenario("create-item", &json!({"tags": ["crud", "critical"], "weight": 2.0})),
            scenario("list-items", &json!({"tags": ["crud"], "tier": 2, "isolation": "shared"})),
            scenario("limits", &json!({"tier": 3, "visibility": "gate", "isolation": "shared"})),
            scenario("export", &json!({"visibility": "sealed", "uses": ["exec"], "isolation": "shared"})),
        ]
    }

    fn with(more: &Value) -> ScenarioLoadInput {
        let mut value = json!({"dir": "s"});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn select(more: &Value) -> Result<(Vec<String>, SelectedScenarios, Vec<String>), Failure> {
        let (with, mut warnings) = (with(more), Vec::new());
        let selected = ScenarioSelection::of(&with)?.select(all(), "s", &mut warnings)?;
        Ok((selected.scenarios.iter().map(|scenario| scenario.id.clone()).collect(), selected, warnings))
    }

    #[test]
    fn each_word_restricts_what_the_others_leave() {
        for (more, ids) in [
            (json!({}), &["create-item", "list-items", "limits", "export"][..]),
            (
                json!({"only": [], "tags": null, "tiers": [], "visibility": null}),
                &["create-item", "list-items", "limits", "export"],
            ),
            (json!({"only": ["li*"]}), &["list-items", "limits"]),
            (json!({"only": ["*-item", "export"]}), &["create-item", "export"]),
            (json!({"only": ["li?ts"], "empty": true}), &[]),
            (json!({"tags": ["critical", "none"]}), &["create-item"]),
            (json!({"tiers": [2, "3"]}), &["list-items", "limits"]),
            (json!({"visibility": ["dev"]}), &["create-item", "list-items"]),
            (json!({"visibility": ["dev"], "tags": ["crud"], "tiers": ["1"]}), &["create-item"]),
        ] {
            let (chosen, selected, _) = select(&more).unwrap();
            assert_eq!(chosen, ids, "{more}");
            assert_eq!((selected.found, selected.sealed), (4, 1), "{more}");
        }
    }

    #[test]
    fn nothing_left_is_a_failure_that_says_why() {
        let failure = select(&json!({"tags": ["cruds"], "visibility": ["gate"]})).err().unwrap();
        assert_eq!(failure.message, "no scenario is selected: `tags` and `visibility` exclude all 4 of s");
        assert!(failure.hint.unwrap().starts_with("no scenario has the tag `cruds`: did you mean `crud`?"));
        let failure = select(&json!({"only": ["x"]})).err().unwrap();
        assert_eq!(failure.message, "no scenario is selected: `only` excludes all 4 of s");
    }

    #[test]
    fn factors_of_all_tags_are_multiplied_into_the_weight() {
        let (_, selected, warnings) =
            select(&json!({"weights": {"crud": 3, "critical": 0.5, "crudd": 2}})).unwrap();
        let weights: Vec<f64> = selected.scenarios.iter().map(|scenario| scenario.weight).collect();
        assert_eq!(weights, [3.0, 3.0, 1.0, 1.0]);
        assert_eq!(
            warnings,
            ["`weights` names the tag `crudd`, which no scenario of s has: did you mean `crud`?"]
        );
        let failure = select(&json!({"weights": {"crud": 1.7e308, "critical": 10}})).err().unwrap();
        assert!(failure.message.contains("too large"), "{failure}");
    }

    #[test]
    fn what_cannot_be_a_selection_is_refused() {
        for (more, at, word) in [
            (json!({"tiers": ["high"]}), "/tiers/0", "`high` is not a valid tier"),
            (json!({"weights": {"a/b": -1}}), "/weights/a~1b", "below zero"),
            (json!({"only": ["*".repeat(3_000_000)]}), "/only/0", "too long"),
        ] {
            let found = refusals(&with(&more));
            assert_eq!((found.len(), found[0].at[0].as_str()), (1, at));
            assert!(found[0].failure.message.contains(word), "{}", found[0].failure);
        }
        let unknown =
            serde_json::from_value::<ScenarioLoadInput>(json!({"dir": "s", "visibility": ["open"]}))
                .unwrap_err();
        assert!(unknown.to_string().contains("unknown variant `open`"), "{unknown}");
    }

    #[test]
    fn scenarios_of_different_visibility_never_share_a_program() {
        let mut scenarios = all();
        scenarios.push(scenario("another", &json!({"isolation": "shared"})));
        scenarios.push(scenario("grpc", &json!({"isolation": "shared", "uses": ["exec", "grpc"]})));
        let groups = |scenarios: &mut Vec<Scenario>, more: Value| -> Vec<String> {
            group(scenarios, &with(&more));
            scenarios.iter().map(|scenario| scenario.group.clone()).collect()
        };
        assert_eq!(
            groups(&mut scenarios, json!({})),
            [
                "fresh/create-item",
                "shared/dev/http",
                "shared/gate/http",
                "shared/sealed/none",
                "shared/dev/http",
                "shared/dev/grpc"
            ]
        );
        assert_eq!(scenarios[3].readiness.word(), "none");
        assert!(scenarios[3].commands && scenarios[5].commands && !scenarios[0].commands);
        let tiers = groups(&mut scenarios, json!({"by_tier": true}));
        assert_eq!((tiers[1].as_str(), tiers[4].as_str()), ("shared/dev/http/2", "shared/dev/http/1"));
        let target = groups(&mut scenarios, json!({"target": "http://x"}));
        assert_eq!(target.iter().filter(|group| *group == "shared/target").count(), 5);
        // The id of a scenario never makes it a member of a shared group.
        let mut hostile = vec![scenario("shared/dev/http", &json!({}))];
        assert_eq!(groups(&mut hostile, json!({})), ["fresh/shared/dev/http"]);
        assert_eq!(hostile[0].order, [json!("shared/dev/http.yaml"), json!(15), json!("shared/dev/http")]);
    }
}
