use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::value::{Value, canonical};
use crate::verb::Failure;

/// The method to choose among samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Vote {
    /// The median of the numbers, the lower one of two.
    Median,
    /// The most frequent answer, the earlier one of two.
    Majority,
}

/// The outcome of a vote.
#[derive(Debug, PartialEq)]
pub(super) struct VoteResult {
    /// Index of the winning sample.
    pub(super) winner: usize,
    /// Median: largest minus smallest number. Majority: the share of other answers, 0 to 1.
    pub(super) spread: Value,
}

/// Chooses among `values`, which is not empty, by the field or JSON Pointer `on`.
pub(super) fn decide(vote: Vote, on: Option<&str>, values: &[Value]) -> Result<VoteResult, Failure> {
    let votes = values.iter().map(|value| field(value, on)).collect::<Result<Vec<_>, _>>()?;
    match vote {
        Vote::Median => median(&votes),
        Vote::Majority => Ok(majority(&votes)),
    }
}

fn field<'a>(value: &'a Value, on: Option<&str>) -> Result<&'a Value, Failure> {
    let Some(on) = on else { return Ok(value) };
    let found = if on.is_empty() || on.starts_with('/') { value.pointer(on) } else { value.get(on) };
    found.ok_or_else(|| {
        Failure::rejected(format!("an answer has no `{on}` to vote on"))
            .hint("`vote_on` is a field of the answer, or a JSON Pointer such as /verdict/score")
            .detail(json!({"answer": value}))
    })
}

fn median(votes: &[&Value]) -> Result<VoteResult, Failure> {
    let number = |(i, vote): (usize, &&Value)| {
        vote.as_f64().map(|number| (number, i)).ok_or_else(|| {
            Failure::rejected(format!("there is no median of {}", canonical(vote)))
                .hint("set `vote_on` to a field with a number, or use vote = \"majority\"")
        })
    };
    let mut numbers = votes.iter().enumerate().map(number).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let spread = numbers[numbers.len() - 1].0 - numbers[0].0;
    Ok(VoteResult { winner: numbers[(numbers.len() - 1) / 2].1, spread: json!(spread) })
}

fn majority(votes: &[&Value]) -> VoteResult {
    let words: Vec<String> = votes.iter().map(|vote| canonical(vote)).collect();
    let agreeing = |word: &String| words.iter().filter(|other| *other == word).count();
    let mut winner = 0;
    for (i, word) in words.iter().enumerate() {
        if agreeing(word) > agreeing(&words[winner]) {
            winner = i;
        }
    }
    let against = u32::try_from(words.len() - agreeing(&words[winner])).unwrap_or(u32::MAX);
    let all = u32::try_from(words.len()).unwrap_or(u32::MAX);
    VoteResult { winner, spread: json!(f64::from(against) / f64::from(all)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_real_sample() {
        let values = [json!({"score": 90}), json!({"score": 20}), json!({"score": 70}), json!({"score": 80})];
        let decided = decide(Vote::Median, Some("score"), &values).unwrap();
        assert_eq!(decided, VoteResult { winner: 2, spread: json!(70.0) });
        let failure = decide(Vote::Median, Some("/score"), &[json!({"score": "high"})]).unwrap_err();
        assert!(failure.message.contains("no median of \"high\""), "{failure}");
        assert!(decide(Vote::Median, Some("grade"), &values).unwrap_err().message.contains("no `grade`"));
    }

    #[test]
    fn the_majority_wins_and_the_first_of_equals() {
        let values = [json!("no"), json!("yes"), json!("yes"), json!("no")];
        assert_eq!(
            decide(Vote::Majority, None, &values).unwrap(),
            VoteResult { winner: 0, spread: json!(0.5) }
        );
        assert_eq!(decide(Vote::Majority, None, &values[..3]).unwrap().winner, 1);
    }
}
