//! Recording, replaying and filling cassettes; messages for missing answers; data that is never recorded.
#![expect(clippy::disallowed_methods, reason = "reads the files that are looked at")]

use std::path::Path;

use atoll::llm::{Cassette, CassetteMode};
use atoll::verb::Class;
use serde_json::{Value, json};

use super::server::{self, Act, KEY, Server, openai};
use super::{Step, verdict};

const NOWHERE: &str = "http://127.0.0.1:9/v1";

fn ask(prompt: &str) -> Value {
    json!({"model": "gpt-4.1-mini", "system": "judge", "prompt": prompt, "temperature": 0.5})
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_timed_tape_knows_the_pieces_of_an_answer_and_gives_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let text = "one two three four five six";
    let server = Server::start([Act::Stream(openai(text, "stop"))]).await;
    let step = Step::new();
    let recording = server::timed_models(&server.base, &CassetteMode::Record(path.clone()));
    step.run(&recording, ask("count")).await.unwrap();
    let timing = lines(&path)[0]["timing"].as_array().unwrap().clone();
    let whole: u64 = timing.iter().map(|piece| piece[1].as_u64().unwrap()).sum();
    assert_eq!(whole, text.len() as u64, "{timing:?}");
    for replaying in [
        server::timed_models(NOWHERE, &CassetteMode::Replay(path.clone())),
        server::models(NOWHERE, &CassetteMode::Replay(path.clone())),
    ] {
        let step = Step::new();
        step.run(&replaying, ask("count")).await.unwrap();
        assert_eq!(step.said().1, text);
    }
}

#[tokio::test]
async fn a_replay_gives_the_same_outputs_and_costs_without_a_provider() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let script =
        [("{\"score\": 1}", "stop"), ("{\"score\"", "length"), (": 2}", "stop"), ("{\"score\": 3}", "stop")];
    let server = Server::start(script.map(|(text, stop)| Act::Stream(openai(text, stop)))).await;
    let step = Step::with_schema(verdict());
    let asked = [ask("first"), ask("second"), ask("first")];

    let recording = server.models(&CassetteMode::Record(path.clone()));
    let mut recorded = Vec::new();
    for with in &asked {
        recorded.push(step.run(&recording, with.clone()).await.unwrap());
    }
    assert_eq!(recorded[2].value, json!({"score": 3}));

    let replaying = server::models(NOWHERE, &CassetteMode::Replay(path.clone()));
    for (with, recorded) in asked.iter().zip(&recorded) {
        let step = Step::with_schema(verdict());
        let replayed = step.run(&replaying, with.clone()).await.unwrap();
        assert_eq!((&replayed.value, &replayed.spent), (&recorded.value, &recorded.spent));
        assert!(step.said().0.contains(", replayed"), "{}", step.said().0);
    }
    let failure = step.run(&replaying, ask("first")).await.unwrap_err();
    assert_eq!(failure.class, Class::Permanent);
    assert!(
        failure.message.contains("has no unused answer to this request: 2 recorded, all used"),
        "{failure}"
    );

    let lines = lines(&path);
    assert_eq!(lines.len(), 4, "a continuation is a separate answer");
    assert_eq!((&lines[0]["index"], &lines[3]["index"]), (&json!(0), &json!(1)));
    assert_eq!(lines[0]["key"], lines[3]["key"]);
    assert_eq!(lines[0]["request"]["messages"][0]["content"], "first");
    assert_eq!(lines[0]["at"], "step@1.0");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with(r#"{"answer":{"model":"gpt-x-2026","provider":"openai","stop":"end","text":"#),
        "sorted: {text}"
    );
}

#[tokio::test]
async fn equal_requests_of_two_steps_keep_their_own_answers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let server = Server::start(["of a", "of b"].map(|text| Act::Stream(openai(text, "stop")))).await;
    let at = |address: &str| {
        let mut step = Step::new();
        step.cx.address = atoll::id::Address::new(address);
        step
    };
    let recording = server.models(&CassetteMode::Record(path.clone()));
    for address in ["a", "b"] {
        at(address).run(&recording, ask("same")).await.unwrap();
    }
    let replaying = server::models(NOWHERE, &CassetteMode::Replay(path));
    for (address, text) in [("b", "of b"), ("a", "of a")] {
        assert_eq!(
            at(address).run(&replaying, ask("same")).await.unwrap().value["text"],
            text,
            "in any order"
        );
    }
}

#[tokio::test]
async fn a_miss_shows_the_nearest_request_and_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let server = Server::start(["a", "b"].map(|text| Act::Stream(openai(text, "stop")))).await;
    let recording = server.models(&CassetteMode::Record(path.clone()));
    let long = "Rules:\n- be fair\n- be brief\nThe program printed 12.";
    Step::new().run(&recording, ask("something else entirely")).await.unwrap();
    Step::new().run(&recording, ask(long)).await.unwrap();

    let replaying = server::models(NOWHERE, &CassetteMode::Replay(path));
    let failure = Step::new().run(&replaying, ask(&long.replace("12", "13"))).await.unwrap_err();
    assert_eq!(failure.class, Class::Permanent);
    assert!(failure.message.contains("differs in message 1:\n  message 1 line 4\n  - The program printed 12.\n  + The program printed 13."), "{failure}");
    assert!(failure.hint.unwrap().contains("--replay-fill"));

    let mut warmer = ask(long);
    warmer["temperature"] = json!(0.9);
    let failure = Step::new().run(&replaying, warmer).await.unwrap_err();
    assert_eq!(failure.detail["differs"], json!(["options"]));
    assert!(
        failure.message.contains("options line 6\n  -   \"temperature\": 0.5\n  +   \"temperature\": 0.9"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_differs_from_run_to_run_is_declared_and_no_part_of_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let server = Server::start([Act::Stream(openai("seen", "stop"))]).await;
    let at_port = |port: u16| {
        let mut with = ask(&format!("GET http://127.0.0.1:{port}/ answered 200, nonce n-{port}"));
        with["volatile"] = json!([port, format!("n-{port}")]);
        with
    };
    Step::new().run(&server.models(&CassetteMode::Record(path.clone())), at_port(40_001)).await.unwrap();
    assert!(
        server.body(0)["messages"][1]["content"].as_str().unwrap().contains("40001"),
        "the model sees it all"
    );
    let replaying = server::models(NOWHERE, &CassetteMode::Replay(path.clone()));
    let output = Step::new().run(&replaying, at_port(51_234)).await.unwrap();
    assert_eq!(output.value["text"], "seen");
    assert!(!std::fs::read_to_string(path).unwrap().contains("40001"));
}

#[tokio::test]
async fn filling_asks_only_for_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let server = Server::start(["one", "two"].map(|text| Act::Stream(openai(text, "stop")))).await;
    Step::new().run(&server.models(&CassetteMode::Fill(path.clone())), ask("one")).await.unwrap();
    // A crash in the middle of a line loses only that line.
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{}", &whole[..40])).unwrap();
    let filling = server.models(&CassetteMode::Fill(path.clone()));
    for text in ["one", "two"] {
        assert_eq!(Step::new().run(&filling, ask(text)).await.unwrap().value["text"], text);
    }
    assert_eq!(server.seen().len(), 2, "the first was on the cassette");
    assert_eq!(lines(&path).len(), 2);
}

#[tokio::test]
async fn an_answer_of_the_second_model_is_replayed_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let server =
        Server::start([Act::Plain(500, vec![], String::new()), Act::Stream(openai("second", "stop"))]).await;
    let with = json!({"model": ["gpt-5", "gpt-4.1-mini"], "prompt": "hi"});
    let recorded =
        Step::new().run(&server.models(&CassetteMode::Record(path.clone())), with.clone()).await.unwrap();
    let replayed =
        Step::new().run(&server::models(NOWHERE, &CassetteMode::Replay(path)), with).await.unwrap();
    assert_eq!(recorded.value["switched"], json!(["gpt-5"]));
    assert_eq!((recorded.value, recorded.spent), (replayed.value, replayed.spent));
}

#[tokio::test]
async fn keys_are_never_on_a_cassette() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let server = Server::start([Act::Stream(openai(&format!("your key is {KEY}"), "stop"))]).await;
    Step::new()
        .run(&server.models(&CassetteMode::Record(path.clone())), ask(&format!("I use {KEY}")))
        .await
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("I use ***") && text.contains("your key is ***"), "{text}");
    assert!(!text.contains(KEY));
}

#[test]
fn an_unusable_cassette_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let error = Cassette::open(&CassetteMode::Replay(path.clone())).err().unwrap();
    assert!(error.message.contains("cannot be read"), "{error}");
    std::fs::write(&path, "{}\n").unwrap();
    let error = Cassette::open(&CassetteMode::Fill(path)).err().unwrap();
    assert!(error.message.contains("line 1 is not a recorded answer"), "{error}");
}
