//! Limits that end an agent that does not end by itself.

use std::sync::Arc;

use atoll::llm::CassetteMode;
use atoll::system_clock::SystemClock;
use atoll::verb::Class;
use serde_json::{Value, json};

use super::loops::{script, with};
use super::{Step, number};
use crate::llm::calls::act;
use crate::llm::server::{Act, Server, openai, openai_open};

fn list(times: usize) -> Vec<Act> {
    script((0..times).map(|_| ("list", json!({}))))
}

fn write(path: &str) -> Vec<Act> {
    script([("write", json!({"path": path, "content": "{\"n\": 4}"}))])
}

#[tokio::test]
async fn turns_tokens_and_dollars_end_the_work() {
    // Each answer uses 1,100 tokens and 0.00044 dollars.
    for (more, word, calls) in [
        (json!({"turns": 2}), "turns", 2),
        (json!({"tokens": 2500}), "tokens", 3),
        (json!({"usd": 0.0013, "max_tokens": 300}), "usd", 2),
    ] {
        let server = Server::start(list(9)).await;
        let step = Step::new().wants(number());
        let failure = step.run(&server.models(&CassetteMode::Off), with("work", more)).await.unwrap_err();
        assert_eq!((failure.class, &failure.detail["ended_by"]), (Class::Budget, &json!(word)), "{failure}");
        assert_eq!(server.seen().len(), calls, "{word}");
        assert_eq!(failure.detail["turns"], json!(calls), "{word}");
        assert!(failure.detail["transcript"].is_string() && failure.detail["tree"].is_string());
        assert!(failure.spent.get("usd") > 0.0004 && failure.spent.get("usd") <= 0.0014, "{word}");
        step.leaves_nothing();
    }
}

#[tokio::test]
async fn no_answer_may_cost_more_than_what_is_left() {
    let server = Server::start(list(2)).await;
    let step = Step::new();
    let failure = step
        .run(&server.models(&CassetteMode::Off), with("work", json!({"usd": 0.0018, "turns": 1})))
        .await
        .unwrap_err();
    assert_eq!(failure.detail["ended_by"], "turns");
    let most = server.body(0)["max_completion_tokens"].as_u64().unwrap();
    assert!((256..1_125).contains(&most), "0.0018 $ pay for less than 1,125 tokens: {most}");
}

#[tokio::test]
async fn what_is_there_at_a_limit_is_the_result() {
    let acts = [write("r.json"), list(3)].concat();
    let server = Server::start(acts.clone()).await;
    let step = Step::new().wants(number());
    let more = json!({"turns": 2, "result": "r.json"});
    let output = step.run(&server.models(&CassetteMode::Off), with("work", more)).await.unwrap();
    assert_eq!((&output.value["n"], &output.value["agent"]["ended_by"]), (&json!(4), &json!("turns")));
    // Without a schema, the files are the result.
    let server = Server::start(acts).await;
    let step = Step::new();
    let output =
        step.run(&server.models(&CassetteMode::Off), with("work", json!({"turns": 2}))).await.unwrap();
    assert_eq!(
        (&output.value["ended_by"], step.text(&output.value, "r.json")),
        (&json!("turns"), "{\"n\": 4}".to_owned())
    );
}

#[tokio::test]
async fn silence_and_the_wall_end_the_work_with_what_it_cost() {
    for (more, word) in [(json!({"idle": "700ms"}), "idle"), (json!({"wall": "2s"}), "wall")] {
        for hang in [Act::Mute, Act::Hang("data: ".to_owned())] {
            let server = Server::start(list(1).into_iter().chain([hang])).await;
            let step = Step::at(Arc::new(SystemClock));
            let failure =
                step.run(&server.models(&CassetteMode::Off), with("work", more.clone())).await.unwrap_err();
            assert_eq!(
                (failure.class, &failure.detail["ended_by"]),
                (Class::Timeout, &json!(word)),
                "{failure}"
            );
            let spent = |unit: &str| failure.spent.get(unit);
            assert_eq!((spent("calls"), spent("lost")), (2.0, 1.0), "{word}: what was sent may be paid");
            assert_eq!(failure.unsettled.get("lost").to_bits(), 1.0_f64.to_bits(), "{word}");
            step.leaves_nothing();
        }
    }
}

#[tokio::test]
async fn what_came_of_an_answer_that_is_broken_off_is_paid() {
    let begun = Act::Hang(openai_open(&"a long answer ".repeat(50)));
    let server = Server::start([begun]).await;
    let step = Step::at(Arc::new(SystemClock));
    let failure = step
        .run(&server.models(&CassetteMode::Off), with("work", json!({"idle": "700ms"})))
        .await
        .unwrap_err();
    assert_eq!(failure.detail["ended_by"], "idle");
    assert!(failure.spent.get("tokens_out") > 190.0 && failure.spent.get("usd") > 0.0, "{:?}", failure.spent);
}

#[tokio::test]
async fn a_stop_from_outside_leaves_nothing_behind() {
    let server = Server::start(list(1).into_iter().chain([Act::Mute])).await;
    let step = Step::new();
    let models = server.models(&CassetteMode::Off);
    let cancel = step.cx.cancel.clone();
    let watched = server.clone();
    let stop = async move {
        while watched.seen().len() < 2 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(step.run(&models, with("work", json!({}))), stop);
    let failure = ended.unwrap_err();
    let spent = |unit: &str| failure.spent.get(unit);
    assert_eq!((failure.class, spent("calls"), spent("lost")), (Class::Cancelled, 2.0, 1.0));
    assert!(step.saved().last().is_some_and(Value::is_object), "what was said is kept for the next attempt");
    step.leaves_nothing();
}

#[tokio::test]
async fn a_long_conversation_is_shortened_and_still_told_in_order() {
    let text: String = (0..400).map(|n| format!("a line with the number {n}\n")).collect::<Vec<_>>().concat();
    let reads = script((0..8).map(|_| ("read", json!({"path": "long.txt"}))));
    let server = Server::start(reads.into_iter().chain([Act::Stream(openai("done", "stop"))])).await;
    let step = Step::new();
    let more = json!({"tree": step.tree(&[("long.txt", &text)]), "context": 9_000});
    let output = step.run(&server.models(&CassetteMode::Off), with("read", more)).await.unwrap();
    assert_eq!(output.value["ended_by"], "done");
    let size = |i: usize| server.body(i).to_string().len();
    assert!((0..9).all(|i| size(i) < 60_000), "{:?}", (0..9).map(size).collect::<Vec<_>>());
    let last = server.body(8);
    let messages = last["messages"].as_array().unwrap();
    let told = messages.iter().filter(|message| message["role"] == "tool");
    let left: Vec<bool> = told.map(|m| m["content"].as_str().unwrap().starts_with("[left out: ")).collect();
    assert_eq!(left.len(), 8);
    assert!(left[0] && !left[7] && left.is_sorted_by(|a, b| a >= b), "{left:?}");
    assert!(step.said().contains("removing early tool results"));
    let whole = step.transcript(&output.value["transcript"]);
    assert!(
        whole.iter().filter(|line| line.contains("with the number 399")).count() == 8,
        "the transcript has all"
    );
}

#[tokio::test]
async fn a_conversation_that_no_model_could_read_is_not_sent() {
    let text = "x".repeat(40_000);
    let reads =
        [act("openai", "", &[("a", "read", "{\"path\": \"a\"}"), ("b", "read", "{\"path\": \"a\"}")])];
    let server = Server::start(reads).await;
    let step = Step::new();
    let models = server.models_with("[models.\"local/tiny\"]\ncontext = 4096");
    let more = json!({"model": "local/tiny", "tree": step.tree(&[("a", &text)])});
    let failure = step.run(&models, with("read", more)).await.unwrap_err();
    assert_eq!((failure.class, &failure.detail["ended_by"]), (Class::Permanent, &json!("context")));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_limit_is_not_begun_beyond_the_dollars() {
    let facts = |field: &str| {
        format!(
            "[providers.dear]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n{field}\
             features = {{ tools = true }}\nprice = {{ input = 0, output = 1000000 }}\n[models.\"dear/m\"]\ncontext = 100000\nmax_output = 8192\n"
        )
    };
    let refusal = json!({"error": {"message": "Unrecognized request argument supplied: max_tokens"}});
    let refusal = Act::Plain(400, vec![("content-type", "application/json")], refusal.to_string());
    for (field, calls) in [("", 1), ("max_tokens_field = \"\"\n", 0)] {
        let done = Act::Stream(openai("done", "stop"));
        let script = if calls == 1 { vec![refusal.clone(), done] } else { vec![done] };
        let server = Server::start(script).await;
        let more = json!({"model": "dear/m", "usd": 300, "max_tokens": 290});
        let step = Step::new();
        let failure = step.run(&server.models_with(&facts(field)), with("do it", more)).await.unwrap_err();
        assert_eq!((&failure.detail["ended_by"], server.seen().len()), (&json!("usd"), calls), "{failure}");
        assert!(failure.spent.is_empty() && failure.unsettled.is_empty(), "{:?}", failure.spent);
    }
}
