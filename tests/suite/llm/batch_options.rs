//! Options that a provider refuses in a batch.

use std::sync::Arc;

use atoll::llm::CassetteMode;
use atoll::schema::Schema;
use atoll::verb::Class;
use serde_json::json;

use super::batch::{Attempt, with};
use super::bureau::{Bureau, Lot};
use super::refusals::purse;

#[tokio::test]
async fn an_option_that_is_refused_in_a_batch_is_left_out_of_the_next() {
    const COLD: &str = "Unsupported value: 'temperature' does not support 0.5 with this model.";
    const SHAPE: &str =
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.";
    const LIMIT: &str =
        "Unsupported parameter: 'max_completion_tokens' is not supported. Use 'max_tokens' instead.";
    let shape = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    for (words, more, field, schema) in [
        (COLD, json!({"temperature": 0.5}), "temperature", None),
        (LIMIT, json!({"max_tokens": 50}), "max_completion_tokens", None),
        (SHAPE, json!({}), "response_format", Some(shape)),
    ] {
        let bureau = Bureau::judging(move |request, text| {
            let refused = request["body"].get(field).is_some();
            if refused { Lot::Error(400, words) } else { Lot::Answer(format!("{{\"n\": 1}} {text}"), "stop") }
        })
        .await;
        let models = bureau.models(2, &CassetteMode::Off);
        let asking = ["one", "two"].into_iter().enumerate().map(|(number, prompt)| {
            let mut attempt = Attempt::new(number);
            attempt.step.cx.schema =
                schema.as_ref().map(|shape| Arc::new(Schema::compile("n.json", shape.clone()).unwrap()));
            let (models, mut with) = (models.clone(), with("gpt-4.1-mini", prompt));
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            async move {
                let outcome = attempt.ask(&models, &with).await;
                (attempt, outcome)
            }
        });
        let mut said = String::new();
        for (attempt, outcome) in futures_util::future::join_all(asking).await {
            let output = outcome.unwrap();
            assert_eq!(output.spent.get("calls").to_bits(), 1.0_f64.to_bits(), "a refusal costs nothing");
            said += &attempt.step.said().0;
        }
        assert!(said.contains("repeated the request"), "{words}: {said}");
        let batches = bureau.batches();
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.entries.len()).collect();
        assert_eq!(sizes, [2, 2], "{words}: those that were refused share the next batch");
        assert!(batches[1].entries.iter().all(|(_, line)| line["body"].get(field).is_none()), "{words}");
        // The refusal is known from then on.
        let models = &models;
        let asked = ["three", "four"].into_iter().enumerate().map(|(number, prompt)| {
            let mut attempt = Attempt::new(7 + number);
            attempt.step.cx.schema =
                schema.as_ref().map(|shape| Arc::new(Schema::compile("n.json", shape.clone()).unwrap()));
            let mut with = with("gpt-4.1-mini", prompt);
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            async move { attempt.ask(models, &with).await.unwrap() }
        });
        futures_util::future::join_all(asked).await;
        assert_eq!(bureau.batches().len(), 3, "{words}");
    }
}

#[tokio::test]
async fn a_request_of_a_batch_without_a_limit_is_paid_for_with_the_longest_answer() {
    let bureau = || {
        Bureau::judging(|request, _| match request["body"].get("max_completion_tokens") {
            Some(_) => Lot::Error(400, "Unrecognized request argument supplied: max_completion_tokens"),
            None => Lot::Answer("hello".to_owned(), "stop"),
        })
    };
    let mut with = with("gpt-4.1-mini", "hi");
    with["max_tokens"] = json!(200);
    // 32,768 tokens at 1.60 $ a million, half of it
    let longest = 32_768.0 * 1.6e-6 / 2.0;
    for (dollars, batches) in [(longest / 2.0, 1), (longest * 1.1, 2)] {
        let (bureau, (paying, _)) = (bureau().await, purse(dollars));
        let mut attempt = Attempt::new(0);
        attempt.step.cx.budget = paying.cx.budget;
        let outcome = attempt.ask(&bureau.models(1, &CassetteMode::Off), &with).await;
        assert_eq!(bureau.batches().len(), batches);
        match outcome {
            Ok(_) => assert_eq!(batches, 2),
            Err(failure) => assert_eq!((failure.class, batches), (Class::Budget, 1), "{failure}"),
        }
    }
}
