//! Batches: collecting requests, costs, outcomes of requests, and no double submission.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use atoll::id::Address;
use atoll::llm::{CassetteMode, Models};
use atoll::verb::{Class, CursorSink, Failure, Output};
use serde_json::{Value, json};

use super::Step;
use super::bureau::{Bureau, Ending, Lot, Making};
use super::server::{self, Act, Server, openai};
use crate::scenario::QuickClock;

/// A model of each vendor with batches, and the cost of one request of these tests.
const MODELS: [(&str, f64); 4] = [
    // 600 at 0.40 $, 400 cached at 0.10 $, 100 written at 1.60 $ a million: half of it
    ("gpt-4.1-mini", 0.000_22),
    ("openai-responses/gpt-4.1-mini", 0.000_22),
    // 100 at 1 $, 700 cached at 0.10 $, 200 into the cache at 1.25 $, 100 written at 5 $
    ("claude-haiku-4-5", 0.000_46),
    // 600 at 0.30 $, 400 cached at 0.03 $, 100 written at 2.50 $
    ("gemini-2.5-flash", 0.000_221),
];

/// One attempt in batch mode, with its saved cursors.
pub(super) struct Attempt {
    pub(super) step: Step,
    saved: Arc<Mutex<Vec<Value>>>,
}

impl Attempt {
    pub(super) fn new(number: usize) -> Self {
        let mut step = Step::new();
        let saved: Arc<Mutex<Vec<Value>>> = Arc::default();
        let sink = saved.clone();
        step.cx.cursors = CursorSink::new(move |cursor| {
            sink.lock().unwrap().push(cursor);
            Box::pin(async { Ok(()) })
        });
        step.cx.clock = Arc::new(QuickClock::default());
        step.cx.address = Address::new(format!("all[{number}]/one"));
        step.cx.idempotency_key = format!("key{number}");
        Self { step, saved }
    }

    /// The next attempt, which starts with the last saved cursor.
    fn next(&self) -> Self {
        let mut next = Self::new(0);
        next.step.cx.address = self.step.cx.address.clone();
        next.step.cx.idempotency_key.clone_from(&self.step.cx.idempotency_key);
        next.step.cx.attempt = self.step.cx.attempt + 1;
        next.step.cx.cursor = self.cursor().or(self.step.cx.cursor.clone());
        next
    }

    fn cursor(&self) -> Option<Value> {
        self.saved.lock().unwrap().last().cloned()
    }

    /// The entry of the only request in the last cursor.
    fn note(&self) -> Value {
        let cursor = self.cursor().unwrap_or_default();
        cursor["batches"].as_object().and_then(|notes| notes.values().next()).cloned().unwrap_or_default()
    }

    pub(super) async fn ask(&self, models: &Models, with: &Value) -> Result<Output<Value>, Failure> {
        self.step.run(models, with.clone()).await
    }
}

pub(super) fn with(model: &str, prompt: &str) -> Value {
    json!({"model": model, "prompt": prompt, "mode": "batch"})
}

/// Sends `prompts` at the same time; returns the outcomes and the attempts.
async fn ask_all(
    bureau: &Bureau,
    model: &str,
    prompts: &[&str],
) -> Vec<(Attempt, Result<Output<Value>, Failure>)> {
    let models = bureau.models(prompts.len(), &CassetteMode::Off);
    let asking = prompts.iter().enumerate().map(|(number, prompt)| {
        let (attempt, models) = (Attempt::new(number), models.clone());
        async move {
            let outcome = attempt.ask(&models, &with(model, prompt)).await;
            (attempt, outcome)
        }
    });
    futures_util::future::join_all(asking).await
}

async fn ask_one(bureau: &Bureau, model: &str, attempt: &Attempt) -> Result<Output<Value>, Failure> {
    attempt.ask(&bureau.models(1, &CassetteMode::Off), &with(model, "hi")).await
}

#[tokio::test]
async fn many_requests_are_one_batch_at_half_the_price() {
    for (model, usd) in MODELS {
        let bureau = Bureau::start().await;
        let prompts = ["item 0", "item 1", "item 2", "item 3", "item 4"];
        for ((attempt, outcome), prompt) in ask_all(&bureau, model, &prompts).await.iter().zip(prompts) {
            let output = outcome.as_ref().unwrap();
            assert_eq!(
                output.value["text"],
                format!("to: {prompt}"),
                "{model}: results are in another order"
            );
            let (spent, calls) = (output.spent.get("usd"), output.spent.get("calls"));
            assert!((spent - usd).abs() < 1e-9 && (calls - 1.0).abs() < 1e-9, "{model}: {spent}");
            let saved = attempt.saved.lock().unwrap().clone();
            assert_eq!(saved.len(), 2, "{saved:?}");
            assert!(!saved[0].to_string().contains("\"batch\":"), "the intent is noted first: {}", saved[0]);
            assert_eq!(attempt.note()["place"]["batch"], bureau.batches()[0].id);
        }
        let batches = bureau.batches();
        assert_eq!((batches.len(), batches[0].entries.len()), (1, 5));
        let body = batches[0].entries[0].1.to_string();
        assert!(!body.contains("stream"), "{body}");
    }
}

#[tokio::test]
async fn each_request_has_its_own_fate() {
    let rule = |text: &str| match text {
        "wrong" => Lot::Error(400, "messages: too odd"),
        "late" => Lot::Expired,
        "forgotten" => Lot::Missing,
        "evil" => Lot::Answer("no".to_owned(), "refusal"),
        text => Lot::Answer(text.to_uppercase(), "stop"),
    };
    for model in ["gpt-4.1-mini", "claude-haiku-4-5", "gemini-2.5-flash"] {
        let bureau = Bureau::ruled(rule).await;
        let outcomes = ask_all(&bureau, model, &["good", "wrong", "late", "forgotten", "evil"]).await;
        let failure = |i: usize| outcomes[i].1.as_ref().unwrap_err();
        assert_eq!(outcomes[0].1.as_ref().unwrap().value["text"], "GOOD");
        assert_eq!(failure(1).class, Class::Permanent, "{model}: {}", failure(1));
        assert!(failure(1).message.contains("messages: too odd"), "{model}: {}", failure(1));
        for i in [2, 3] {
            assert_eq!(failure(i).class, Class::Transient, "{model}: {}", failure(i));
            assert!(
                failure(i).message.contains("did not process the request: its batch "),
                "{model}: {}",
                failure(i)
            );
            assert_eq!(outcomes[i].0.note(), json!({"lost": 1}), "{model}: it is asked anew");
        }
        assert_eq!(failure(4).class, Class::Refused, "{model}: {}", failure(4));
        assert!(failure(4).spent.get("usd") > 0.0, "a refusal was paid for");
        assert_eq!(
            outcomes[4].0.cursor().unwrap(),
            json!({"batches": {}, "kept": true}),
            "{model}: a refused request is finished"
        );
        assert_eq!(outcomes[0].0.saved.lock().unwrap().len(), 2);
        assert_eq!(bureau.counts().made, 1);
    }
}

#[tokio::test]
async fn lines_that_are_no_results_hide_none() {
    const STRAYS: &[&str] = &[
        "{\"custom_id\": \"foreign\", \"response\": {\"status_code\": 200, \"body\": {}}}",
        "",
        "no JSON",
        "[]",
        "\"text\"",
        "{\"custom_id\": \"foreign\", \"response\": \"text\", \"result\": \"text\", \"error\": []}",
        "{\"custom_id\": \"foreign\", \"result\": {\"type\": \"errored\", \"error\": \"text\"}}",
    ];
    for model in ["gpt-4.1-mini", "claude-haiku-4-5"] {
        let bureau = Bureau::start().await.straying(STRAYS);
        for (_, outcome) in ask_all(&bureau, model, &["a", "b"]).await {
            let text = outcome.unwrap_or_else(|failure| panic!("{model}: {failure}")).value["text"].clone();
            assert!(text == "to: a" || text == "to: b", "{model}: {text}");
        }
        assert_eq!((bureau.counts().made, bureau.counts().looks), (1, 1), "{model}");
    }
}

#[tokio::test]
async fn what_expired_or_was_cancelled_is_asked_again_within_bounds() {
    for model in ["gpt-4.1-mini", "claude-haiku-4-5", "gemini-2.5-flash"] {
        for ending in [Ending::Expired, Ending::Cancelled] {
            let bureau = Bureau::ruled(|_| Lot::Expired).await.ending([ending; 3]);
            let mut attempt = Attempt::new(0);
            for made in 1..=3 {
                let failure = ask_one(&bureau, model, &attempt).await.unwrap_err();
                let expected = if made < 3 { Class::Transient } else { Class::Permanent };
                assert_eq!(failure.class, expected, "{model} {ending:?}: {failure}");
                assert_eq!(bureau.counts().made, made);
                attempt = attempt.next();
            }
        }
    }
}

#[tokio::test]
async fn a_batch_whose_file_is_refused_names_the_line() {
    let bureau = Bureau::start().await.ending([Ending::Faulty]);
    let outcomes = ask_all(&bureau, "gpt-4.1-mini", &["a", "b", "c"]).await;
    let classes: Vec<Class> =
        outcomes.iter().map(|(_, outcome)| outcome.as_ref().unwrap_err().class).collect();
    let at = bureau.batches()[0].entries[1].1["body"]["messages"][0]["content"].as_str().unwrap().to_owned();
    let faulty = ["a", "b", "c"].iter().position(|prompt| *prompt == at).unwrap();
    for (i, class) in classes.iter().enumerate() {
        assert_eq!(*class, if i == faulty { Class::Permanent } else { Class::Transient }, "{i}");
    }
    let message = outcomes[faulty].1.as_ref().unwrap_err().message.clone();
    assert!(message.contains("line 2 is no request"), "{message}");
}

#[tokio::test]
async fn an_account_with_too_much_waiting_is_waited_for() {
    for model in ["gpt-4.1-mini", "gemini-2.5-flash"] {
        let bureau = Bureau::start().await.ending([Ending::Crowded]);
        let attempt = Attempt::new(0);
        let failure = ask_one(&bureau, model, &attempt).await.unwrap_err();
        assert_eq!((failure.class, failure.retry_after_ms), (Class::RateLimited, Some(60_000)), "{failure}");
        let output = ask_one(&bureau, model, &attempt.next()).await.unwrap();
        assert_eq!((&output.value["text"], bureau.counts().made), (&json!("to: hi"), 2));
    }
}

#[tokio::test]
async fn a_batch_that_may_have_been_made_is_looked_for_before_another_is_made() {
    for (model, _) in MODELS {
        let bureau = Bureau::start().await.making([Making::Broken]);
        let attempt = Attempt::new(0);
        let output = ask_one(&bureau, model, &attempt).await.unwrap();
        assert_eq!((&output.value["text"], bureau.counts().made), (&json!("to: hi"), 1), "{model}");

        let bureau = Bureau::start().await.making([Making::Failed, Making::Failed]);
        let output = ask_one(&bureau, model, &attempt).await.unwrap();
        assert_eq!((&output.value["text"], bureau.counts().made), (&json!("to: hi"), 1), "{model}");
        let looked =
            bureau.calls().iter().filter(|call| call.ends_with("batches") && call.starts_with("GET")).count();
        assert!((2..40).contains(&looked), "{model}: {looked}");

        let bureau = Bureau::start().await.making([Making::Failed; 3]);
        let failure = ask_one(&bureau, model, &Attempt::new(0)).await.unwrap_err();
        assert_eq!((failure.class, bureau.counts().made), (Class::Transient, 0), "{model}: {failure}");
    }
}

#[tokio::test]
async fn a_wrong_key_makes_no_batch() {
    let bureau = Bureau::start().await.making([Making::Locked]);
    let attempt = Attempt::new(0);
    let failure = ask_one(&bureau, "gpt-4.1-mini", &attempt).await.unwrap_err();
    assert_eq!(
        (failure.class, attempt.cursor()),
        (Class::Auth, Some(json!({"batches": {}, "kept": true}))),
        "{failure}"
    );
    assert!(failure.hint.unwrap().contains("OPENAI_API_KEY"));
}

/// An attempt that was interrupted when its batch was created (`known`), or just before that was recorded.
async fn cut_off(bureau: &Bureau, model: &str, known: bool) -> Attempt {
    let attempt = Attempt::new(0);
    let models = bureau.models(1, &CassetteMode::Off);
    let with = with(model, "hi");
    let asking = attempt.ask(&models, &with);
    tokio::select! {
        outcome = asking => panic!("{outcome:?}"),
        _ = bureau.until(|counts| counts.made == 1 && (!known || counts.looks > 0)) => {}
    }
    if known {
        assert!(attempt.note()["place"]["batch"].is_string());
    } else {
        assert!(attempt.note()["place"].get("batch").is_none(), "{}", attempt.note());
    }
    attempt
}

#[tokio::test]
async fn an_attempt_goes_on_with_the_batch_of_the_one_before() {
    for (model, usd) in MODELS {
        let bureau = Bureau::start().await.hold();
        let before = cut_off(&bureau, model, true).await;
        bureau.let_go();
        let attempt = before.next();
        let output = ask_one(&bureau, model, &attempt).await.unwrap();
        assert_eq!((&output.value["text"], bureau.counts().made), (&json!("to: hi"), 1), "{model}");
        assert!((output.spent.get("usd") - usd).abs() < 1e-9);
    }
}

#[tokio::test]
async fn an_attempt_finds_the_batch_that_the_one_before_could_not_note() {
    for (model, _) in MODELS {
        let bureau = Bureau::start().await.making([Making::Mute]).hold();
        let before = cut_off(&bureau, model, false).await;
        let attempt = before.next();
        let models = bureau.models(1, &CassetteMode::Off);
        let with = with(model, "hi");
        let release = async {
            bureau.until(|counts| counts.looks > 1).await;
            bureau.let_go();
            std::future::pending::<()>().await;
        };
        let output = tokio::select! {
            output = attempt.ask(&models, &with) => output.unwrap(),
            () = release => unreachable!(),
        };
        assert_eq!((&output.value["text"], bureau.counts().made), (&json!("to: hi"), 1), "{model}");
        let waited =
            attempt.step.said().0.contains("anthropic does not reveal the owner of batch msgbatch_1");
        assert_eq!(waited, model.starts_with("claude"), "{}", attempt.step.said().0);
    }
}

#[tokio::test]
async fn a_note_without_a_batch_is_no_batch() {
    for (model, _) in MODELS {
        let bureau = Bureau::start().await.making([Making::Mute]);
        let before = cut_off(&bureau, model, false).await;
        // Another account: its batch is not listed here, but a similar batch of another user is.
        let other = Bureau::start().await;
        ask_one(&other, model, &Attempt::new(7)).await.unwrap();
        let output = ask_one(&other, model, &before.next()).await.unwrap();
        assert_eq!((&output.value["text"], other.counts().made), (&json!("to: hi"), 2), "{model}");
    }
}

#[tokio::test]
async fn a_batch_that_is_not_found_at_first_is_looked_for_again() {
    for (model, _) in MODELS {
        let bureau = Bureau::start().await.hide(5);
        let output = ask_one(&bureau, model, &Attempt::new(7)).await.unwrap();
        assert_eq!((&output.value["text"], bureau.counts().made), (&json!("to: hi"), 1), "{model}");
        assert!(bureau.counts().looks > 5, "{model}");
    }
}

#[tokio::test]
async fn a_batch_that_is_no_longer_kept_is_made_again() {
    let bureau = Bureau::start().await.hold();
    let before = cut_off(&bureau, "gpt-4.1-mini", true).await;
    let other = Bureau::start().await;
    let attempt = before.next();
    let failure = ask_one(&other, "gpt-4.1-mini", &attempt).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient);
    assert!(failure.message.contains("no longer has its batch"), "{failure}");
    ask_one(&other, "gpt-4.1-mini", &attempt.next()).await.unwrap();
}

#[tokio::test]
async fn samples_are_entries_of_one_batch_and_a_fetched_answer_is_paid_once() {
    let rule = |_: &str| Lot::Answer("{\"score\": 4}".to_owned(), "stop");
    let bureau = Bureau::ruled(rule).await;
    let models = bureau.models(3, &CassetteMode::Off);
    let asked = json!({"model": "claude-haiku-4-5", "prompt": "judge", "mode": "batch", "samples": 3, "vote": "majority"});
    let mut attempt = Attempt::new(0);
    attempt.step.cx.schema = Step::with_schema(super::verdict()).cx.schema;
    let output = attempt.ask(&models, &asked).await.unwrap();
    assert_eq!((&output.value, bureau.batches()[0].entries.len()), (&json!({"score": 4}), 3));
    assert!(output.spent.get("calls") > 2.9);

    // Stopped after two of three answers were received and counted.
    let mut next = attempt.next();
    let mut cursor = next.step.cx.cursor.take().unwrap();
    for (_, note) in cursor["batches"].as_object_mut().unwrap().iter_mut().take(2) {
        note["paid"] = json!(true);
    }
    next.step.cx.cursor = Some(cursor);
    next.step.cx.schema = attempt.step.cx.schema.clone();
    let output = next.ask(&models, &asked).await.unwrap();
    assert_eq!((&output.value, bureau.counts().made), (&json!({"score": 4}), 1));
    assert!((output.spent.get("calls") - 1.0).abs() < 1e-9, "{:?}", output.spent);
}

#[tokio::test]
async fn a_rejected_answer_is_not_fetched_again() {
    let bureau = Bureau::ruled(|_| Lot::Answer("no JSON".to_owned(), "stop")).await;
    let models = bureau.models(1, &CassetteMode::Off);
    let mut attempt = Attempt::new(0);
    attempt.step.cx.schema = Step::with_schema(super::verdict()).cx.schema;
    let failure = attempt.ask(&models, &with("gpt-4.1-mini", "judge")).await.unwrap_err();
    assert_eq!(
        (failure.class, attempt.cursor()),
        (Class::Rejected, Some(json!({"batches": {}, "kept": true})))
    );
    assert!(failure.spent.get("usd") > 0.0);
    attempt.next().ask(&models, &with("gpt-4.1-mini", "judge")).await.unwrap();
    assert_eq!(bureau.counts().made, 2);
}

#[tokio::test]
async fn an_answer_that_ended_with_an_error_was_paid_for() {
    let bureau = Bureau::ruled(|_| Lot::Answer("half an ans".to_owned(), "error")).await;
    let models = bureau.models(1, &CassetteMode::Off);
    let mut attempt = Attempt::new(0);
    for _ in 0..3 {
        let failure = attempt.ask(&models, &with("gpt-4.1-mini", "hi")).await.unwrap_err();
        assert_eq!(failure.class, Class::Transient, "{failure}");
        assert!((failure.spent.get("usd") - MODELS[0].1).abs() < 1e-9, "{:?}", failure.spent);
        assert!((failure.spent.get("calls") - 1.0).abs() < 1e-9, "{:?}", failure.spent);
        attempt = attempt.next();
    }
    assert_eq!(bureau.counts().made, 3);
}

#[tokio::test]
async fn an_empty_answer_is_asked_for_once_more_in_another_batch() {
    for good in [true, false] {
        let asked = AtomicUsize::new(0);
        let rule = move |_: &str| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            let text = if first || !good { "" } else { "hello" };
            Lot::Answer(text.to_owned(), "stop")
        };
        let bureau = Bureau::ruled(rule).await;
        let models = bureau.models(1, &CassetteMode::Off);
        let attempt = Attempt::new(0);
        let outcome = attempt.ask(&models, &with("gpt-4.1-mini", "hi")).await;
        assert_eq!(bureau.counts().made, 2, "good: {good}");
        let (spent, left) = match &outcome {
            Ok(output) => (&output.spent, 2),
            Err(failure) => (&failure.spent, 0),
        };
        assert!((spent.get("calls") - 2.0).abs() < 1e-9, "both were paid for: {spent:?}");
        assert_eq!(outcome.is_ok(), good);
        let cursor = attempt.cursor().unwrap();
        assert_eq!(cursor["batches"].as_object().unwrap().len(), left, "{cursor}");
        if good {
            // If it is stopped here, the next attempt fetches both, sends no request, and does not count
            // them again.
            let output = attempt.next().ask(&models, &with("gpt-4.1-mini", "hi")).await.unwrap();
            assert_eq!((&output.value["text"], bureau.counts().made), (&json!("hello"), 2));
            assert!((output.spent.get("calls") - 1.0).abs() < 1e-9, "{:?}", output.spent);
        } else {
            assert_eq!(outcome.unwrap_err().class, Class::Rejected);
        }
    }
}

#[tokio::test]
async fn a_cut_off_answer_is_continued_in_the_next_batch() {
    let rule = |text: &str| match text {
        "judge" => Lot::Answer("{\"sco".to_owned(), "length"),
        _ => Lot::Answer("re\": 4}".to_owned(), "stop"),
    };
    let bureau = Bureau::ruled(rule).await;
    let mut attempt = Attempt::new(0);
    attempt.step.cx.schema = Step::with_schema(super::verdict()).cx.schema;
    let models = bureau.models(1, &CassetteMode::Off);
    let output = attempt.ask(&models, &with("gemini-2.5-flash", "judge")).await.unwrap();
    assert_eq!((&output.value, bureau.counts().made), (&json!({"score": 4}), 2));
    // Both are found again.
    let mut next = attempt.next();
    next.step.cx.schema = attempt.step.cx.schema.clone();
    let output = next.ask(&models, &with("gemini-2.5-flash", "judge")).await.unwrap();
    assert_eq!((&output.value, bureau.counts().made), (&json!({"score": 4}), 2));
}

#[tokio::test]
async fn whoever_takes_no_batches_is_refused_at_once() {
    let facts = "[models.dear]\nprovider = \"openai\"\nprice = { input = 1, output = 1 }\n";
    let models = server::models_described(facts, "http://127.0.0.1:9/v1", &CassetteMode::Off);
    for (model, words, hint) in [
        (
            "local/qwen",
            "`local/qwen` cannot be used in batches: local does not support them",
            "remove `mode = \"batch\"`",
        ),
        ("ollama/x", "ollama does not support them", "Anthropic, Gemini and OpenAI"),
        ("dear", "the batch price of `openai/dear` is unknown", "add `batch = 0.5` to its price"),
    ] {
        let failure = Attempt::new(0).ask(&models, &with(model, "hi")).await.unwrap_err();
        assert_eq!(failure.class, Class::Permanent);
        assert!(
            failure.message.contains(words) && failure.hint.as_ref().unwrap().contains(hint),
            "{failure:?}"
        );
    }
    // Only the first model of a list is used.
    let bureau = Bureau::start().await.making([Making::Locked]);
    let asked = json!({"model": ["gpt-4.1-mini", "claude-haiku-4-5"], "prompt": "hi", "mode": "batch"});
    let failure = Attempt::new(0).ask(&bureau.models(1, &CassetteMode::Off), &asked).await.unwrap_err();
    assert_eq!((failure.class, bureau.counts().made), (Class::Auth, 0));
}

#[tokio::test]
async fn a_tape_is_the_same_in_either_mode() {
    let dir = tempfile::tempdir().unwrap();
    let [in_batch, at_once] = ["batch", "realtime"].map(|name| dir.path().join(name));
    let bureau = Bureau::ruled(|_| Lot::Answer("Grüße".to_owned(), "stop")).await;
    let recording = bureau.models(1, &CassetteMode::Record(in_batch.clone()));
    let recorded = Attempt::new(0).ask(&recording, &with("gpt-4.1-mini", "greet")).await.unwrap();
    let server = Server::start([Act::Stream(openai("Grüße", "stop"))]).await;
    let realtime = json!({"model": "gpt-4.1-mini", "prompt": "greet"});
    Attempt::new(0).ask(&server.models(&CassetteMode::Record(at_once.clone())), &realtime).await.unwrap();
    for tape in [in_batch, at_once] {
        for (asked, usd) in [(with("gpt-4.1-mini", "greet"), 0.000_22), (realtime.clone(), 0.000_44)] {
            let replaying = server::models("http://127.0.0.1:9/v1", &CassetteMode::Replay(tape.clone()));
            let attempt = Attempt::new(0);
            let output = attempt.ask(&replaying, &asked).await.unwrap();
            assert_eq!((&output.value, attempt.cursor()), (&recorded.value, None), "no batch is created");
            assert!((output.spent.get("usd") - usd).abs() < 1e-9, "{asked}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_repeated_is_not_passed_on() {
    let bureau = Bureau::ruled(|text| match text {
        "echo" => Lot::Answer(format!("your key is {}", server::KEY), "stop"),
        _ => Lot::Error(400, "sk-test-0123456789 may not ask this"),
    });
    let bureau = bureau.await;
    let outcomes = ask_all(&bureau, "gpt-4.1-mini", &["echo", "fail"]).await;
    assert_eq!(outcomes[0].1.as_ref().unwrap().value["text"], "your key is ***");
    let failure = outcomes[1].1.as_ref().unwrap_err();
    assert!(failure.message.contains("*** may not ask this"), "{failure}");
    let (lines, chunks) = outcomes[0].0.step.said();
    assert!(!lines.contains(server::KEY), "{lines}");
    assert_eq!(chunks, "your key is ***");
}
