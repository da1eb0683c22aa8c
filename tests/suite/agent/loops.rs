//! A model that works with tools, turn by turn.

use atoll::llm::CassetteMode;
use atoll::verb::Class;
use serde_json::{Value, json};

use super::{Step, number, on_files};
use crate::llm::calls::{Call, act};
use crate::llm::server::{Act, Server, anthropic, openai};

const MODELS: [(&str, &str); 5] = [
    ("openai", "gpt-4.1-mini"),
    ("openai_responses", "openai-responses/gpt-4.1-mini"),
    ("anthropic", "claude-haiku-4-5"),
    ("gemini", "gemini-2.5-flash"),
    ("ollama", "ollama/small:1b"),
];

/// Answers of one model in the format of chat completions: each calls one tool.
pub fn script<'a>(calls: impl IntoIterator<Item = (&'a str, Value)>) -> Vec<Act> {
    let act = |(n, (name, input)): (usize, (&str, Value))| {
        let (id, input) = (format!("call_{n}"), input.to_string());
        act("openai", "", &[(&id, name, &input)])
    };
    calls.into_iter().enumerate().map(act).collect()
}

pub fn with(prompt: &str, more: Value) -> Value {
    let mut with = json!({"model": "gpt-4.1-mini", "prompt": prompt, "tools": on_files()});
    if let Value::Object(more) = more {
        with.as_object_mut().unwrap().extend(more);
    }
    with
}

/// The results of the tools in request number `i`.
fn brought(server: &Server, i: usize) -> Vec<String> {
    let body = server.body(i);
    let messages = body["messages"].as_array().unwrap().clone();
    let results = messages.iter().filter(|message| message["role"] == "tool");
    results.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_loop_is_the_same_in_every_format() {
    for (kind, model) in MODELS {
        let write: Call<'_> = ("id_1", "write", "{\"path\": \"src/a.txt\", \"content\": \"one\\n\"}");
        let finish: Call<'_> = ("id_2", "finish", "{\"n\": 3}");
        let server = Server::start([act(kind, "I write.", &[write]), act(kind, "", &[finish])]).await;
        let step = Step::new().wants(number());
        let with = json!({"model": model, "prompt": "make it", "tools": on_files(), "tree": step.tree(&[("b", "two\n")])});
        let output = step.run(&server.models(&CassetteMode::Off), with).await.unwrap();
        let report = &output.value["agent"];
        assert_eq!((&output.value["n"], &report["ended_by"]), (&json!(3), &json!("done")), "{model}");
        assert_eq!(report["changes"], json!([{"path": "src/a.txt", "op": "added"}]), "{model}");
        assert_eq!((&report["turns"], &report["text"]), (&json!(2), &json!("I write.")), "{model}");
        assert_eq!(step.text(report, "src/a.txt"), "one\n");
        assert_eq!(output.spent.get("calls").to_bits(), 2.0_f64.to_bits(), "{model}");
        assert_eq!(report["spent"]["tokens_in"], json!(2000), "{model}");
        assert!(server.body(1).to_string().contains("wrote 4 bytes to src/a.txt"), "{model}");
        step.leaves_nothing();
    }
}

#[tokio::test]
async fn a_model_that_calls_no_tools_works_through_a_schema() {
    let call =
        |tool: &str, input: Value| json!({"say": "", "call": {"tool": tool, "input": input}}).to_string();
    let texts =
        [call("write", json!({"path": "a.txt", "content": "one\n"})), call("finish", json!({"n": 3}))];
    let server = Server::start(texts.map(|text| Act::Stream(openai(&text, "stop")))).await;
    let models =
        server.models_with("[models.\"openai/plain\"]\nfeatures = { tools = false, json_schema = true }\nprice = { input = 1, output = 1 }\n");
    let step = Step::new().wants(number());
    let output = step.run(&models, with("make it", json!({"model": "openai/plain"}))).await.unwrap();
    assert_eq!((&output.value["n"], &output.value["agent"]["turns"]), (&json!(3), &json!(2)));
    assert_eq!(step.text(&output.value["agent"], "a.txt"), "one\n");
    let asked = server.body(0);
    let choices = &asked["response_format"]["json_schema"]["schema"]["properties"]["call"]["anyOf"];
    let choices = choices.as_array().unwrap();
    assert_eq!(choices.len(), 6, "its five tools and `finish`: there is no way to end without a result");
    assert!(server.body(1).to_string().contains("write brought:\\nwrote 4 bytes to a.txt"));
}

#[tokio::test]
async fn tools_do_what_they_say_and_tell_what_goes_wrong() {
    let step = Step::new();
    let long: String = (1..=3_000).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
    let tree = step.tree(&[
        ("src/app.py", "def f():\n    a = 1\n    b = 1\n"),
        ("README.md", "# Größe\n"),
        ("long.txt", &long),
    ]);
    let calls = [
        ("list", json!({})),
        ("list", json!({"path": "src/"})),
        ("read", json!({"path": "src/app.py", "from": 2, "lines": 1})),
        ("read", json!({"path": "/atoll/work/README.md"})),
        ("read", json!({"path": "long.txt"})),
        ("search", json!({"pattern": "= \\d", "glob": "*.py"})),
        ("search", json!({"pattern": "(", "path": "src"})),
        ("edit", json!({"path": "src/app.py", "find": "b = 1", "replace": "b = 2"})),
        ("edit", json!({"path": "src/app.py", "find": "c = 1", "replace": ""})),
        ("write", json!({"path": "new/deep.sh", "content": "#!/bin/sh\n"})),
        ("write", json!({"path": "new/deep.sh", "content": "#!/bin/sh\n"})),
        ("read", json!({"path": "../secret"})),
        ("write", json!({"path": "/etc/passwd", "content": ""})),
        ("read", json!({"path": "none.txt"})),
        ("read", json!({"file": "README.md"})),
        ("run", json!({"command": "ls"})),
    ];
    let last = calls.len();
    let server = Server::start(script(calls).into_iter().chain([Act::Stream(openai("Done.", "stop"))])).await;
    let output =
        step.run(&server.models(&CassetteMode::Off), with("work", json!({ "tree": tree }))).await.unwrap();
    let told = brought(&server, last);
    let expected = [
        "README.md (10 bytes)\nlong.txt (28893 bytes)\nsrc/app.py (29 bytes)",
        "src/app.py (29 bytes)",
        "    a = 1\n[… lines 3 to 3 are not shown: go on with from = 3]",
        "# Größe\n",
    ];
    assert_eq!(told[..4], expected);
    assert!(told[4].ends_with("line 2000\n[… lines 2001 to 3000 are not shown: go on with from = 2001]"));
    assert_eq!(told[5], "src/app.py:2:     a = 1\nsrc/app.py:3:     b = 1");
    assert!(told[6].starts_with("the pattern is wrong"), "{}", told[6]);
    assert_eq!(told[7], "changed src/app.py");
    assert!(told[8].contains("the nearest line is"), "{}", told[8]);
    assert_eq!(told[9], "wrote 10 bytes to new/deep.sh");
    assert_eq!(told[10], "nothing has changed: that is what new/deep.sh holds already");
    assert!(told[11].contains("`..` is not allowed"), "{}", told[11]);
    assert!(told[12].contains("it is absolute"), "{}", told[12]);
    assert!(told[13].contains("No such file"), "{}", told[13]);
    assert!(told[14].contains("unknown field `file`"), "{}", told[14]);
    assert_eq!(told[15], "there is no tool `run`; there are read, write, edit, list, search");
    let report = &output.value;
    assert_eq!(report["text"], "Done.");
    assert_eq!(
        report["changes"],
        json!([{"path": "new/deep.sh", "op": "added"}, {"path": "src/app.py", "op": "changed"}])
    );
    assert!(step.text(report, "src/app.py").contains("b = 2"));
    let transcript = step.transcript(&report["transcript"]);
    assert_eq!(transcript.len(), 2 + 2 * last, "a line for each message");
    assert!(transcript[1].contains("\"name\":\"list\"") && transcript[2].contains("README.md (10 bytes)"));
}

#[tokio::test]
async fn what_a_delivery_refuses_is_refused_at_once_and_hidden_characters_are_shown() {
    let mut step = Step::new();
    step.cx.grants = std::sync::Arc::default();
    let tree = step.tree(&[("app.py", "a = 'x\u{202e}y'\n\u{1b}[31m"), ("AGENTS.md", "Be kind.\n")]);
    let calls = [
        ("write", json!({"path": ".envrc", "content": "x"})),
        ("write", json!({"path": ".atoll/runs", "content": "x"})),
        ("write", json!({"path": "sub/.git/config", "content": "x"})),
        ("write", json!({"path": "a\u{202e}gnp.exe", "content": "x"})),
        ("write", json!({"path": ".github/workflows/ci.yml", "content": "x"})),
        ("write", json!({"path": "AGENTS.md", "content": "Be brief.\n"})),
        ("read", json!({"path": "app.py"})),
        ("search", json!({"pattern": "x.y"})),
        ("edit", json!({"path": "app.py", "find": "'x\\u{202e}y'", "replace": "'z\\u{202e}'"})),
    ];
    let last = calls.len();
    let server = Server::start(script(calls).into_iter().chain([Act::Stream(openai("Done.", "stop"))])).await;
    let output =
        step.run(&server.models(&CassetteMode::Off), with("work", json!({ "tree": tree }))).await.unwrap();
    let told = brought(&server, last);
    let refused = "`.envrc` is refused: it is obeyed by direnv or mise, on entering the directory, and only the user can allow it";
    assert!(told[0].starts_with(refused), "{}", told[0]);
    assert!(told[1].contains("`.atoll` contains the runs of Atoll"), "{}", told[1]);
    assert!(told[2].contains("`.git` is reserved for git"), "{}", told[2]);
    assert!(told[3].contains("a\\u{202e}gnp.exe contains the invisible character U+202E"), "{}", told[3]);
    assert!(told[4].contains("is obeyed by CI systems"), "{}", told[4]);
    assert_eq!(told[5], "wrote 10 bytes to AGENTS.md", "it came with the program");
    assert_eq!(told[6], "a = 'x\\u{202e}y'\n\\u{1b}[31m");
    assert_eq!(told[7], "app.py:1: a = 'x\\u{202e}y'");
    assert_eq!(told[8], "changed app.py");
    assert!(step.text(&output.value, "app.py").starts_with("a = 'z\u{202e}'\n"));
    let changed = output.value["changes"].as_array().unwrap().len();
    assert_eq!(changed, 2, "{}", output.value["changes"]);
}

#[tokio::test]
async fn input_that_is_no_json_is_told_to_the_model() {
    let broken = act("openai", "", &[("c1", "write", "{\"path\": \"a\", \"conte")]);
    let server = Server::start([broken, Act::Stream(openai("Sorry.", "stop"))]).await;
    let step = Step::new();
    let output = step.run(&server.models(&CassetteMode::Off), with("work", json!({}))).await.unwrap();
    assert_eq!(output.value["ended_by"], "done");
    assert_eq!(brought(&server, 1), ["the input is no JSON object: {\"path\": \"a\", \"conte"]);
}

#[tokio::test]
async fn a_result_is_asked_for_again_and_never_taken_from_prose() {
    let prose = Act::Stream(openai("The result is {\"n\": 3}.", "stop"));
    let acts =
        |last: Vec<Act>| [vec![prose.clone()], script([("finish", json!({"n": "three"}))]), last].concat();
    let server = Server::start(acts(script([("finish", json!({"n": 3}))]))).await;
    let step = Step::new().wants(number());
    let output = step.run(&server.models(&CassetteMode::Off), with("count", json!({}))).await.unwrap();
    assert_eq!(output.value["n"], 3);
    assert!(server.body(1)["messages"].to_string().contains("`finish` was not called"));
    assert!(brought(&server, 2)[0].contains("/n: \\\"three\\\"") || brought(&server, 2)[0].contains("/n: "));
    assert!(step.said().contains("the result does not fit"));

    let server = Server::start(vec![prose.clone(); 3]).await;
    let failure = step.run(&server.models(&CassetteMode::Off), with("count", json!({}))).await.unwrap_err();
    let hint = failure.hint.unwrap_or_default();
    assert!(hint.contains("[models.\"openai/gpt-4.1-mini\"] features = { tools = false"), "{hint}");

    let server = Server::start(acts(vec![prose.clone()])).await;
    let failure = step.run(&server.models(&CassetteMode::Off), with("count", json!({}))).await.unwrap_err();
    assert_eq!((failure.class, &failure.hint), (Class::Rejected, &None), "it called a tool: {failure}");
    assert_eq!(failure.detail["violations"], json!(["`finish` was not called"]));
    assert!(failure.detail["agent"]["transcript"].is_string());
    assert_eq!(failure.spent.get("calls").to_bits(), 3.0_f64.to_bits());
    let saved = step.saved().last().cloned().unwrap();
    assert_eq!(
        (saved.get("key"), &saved["spent"]["calls"]),
        (None, &json!(3)),
        "another attempt begins anew"
    );
    step.leaves_nothing();
}

#[tokio::test]
async fn a_result_is_a_file_of_the_workspace() {
    let done = || Act::Stream(openai("Done.", "stop"));
    let write = |text: &str| script([("write", json!({"path": "out/report.json", "content": text}))]);
    let acts =
        [vec![done()], write("{\"n\": \"x\"}"), vec![done()], write("{\"n\": 3}"), vec![done()]].concat();
    let server = Server::start(acts).await;
    let step = Step::new().wants(number());
    let more = json!({"result": "out/report.json"});
    let output = step.run(&server.models(&CassetteMode::Off), with("count", more.clone())).await.unwrap();
    assert_eq!((&output.value["n"], &output.value["agent"]["turns"]), (&json!(3), &json!(5)));
    let asked = server.body(0);
    assert!(
        asked["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("leave the result in the file `out/report.json`")
    );
    assert!(!asked["tools"].to_string().contains("finish"));
    assert!(server.body(1)["messages"].to_string().contains("there is no file `out/report.json`"));

    // A text report without a schema.
    let acts = [script([("write", json!({"path": "r.md", "content": "all good"}))]), vec![done()]].concat();
    let server = Server::start(acts).await;
    let step = Step::new();
    let output =
        step.run(&server.models(&CassetteMode::Off), with("tell", json!({"result": "r.md"}))).await.unwrap();
    assert_eq!(output.value["result"], "all good");
}

#[tokio::test]
async fn what_is_fixed_is_at_the_end_as_it_was_given() {
    let acts = [
        script([
            ("write", json!({"path": "server.py", "content": "changed"})),
            ("write", json!({"path": "main.py", "content": "new"})),
        ]),
        vec![Act::Stream(openai("Done.", "stop"))],
    ];
    let server = Server::start(acts.concat()).await;
    let step = Step::new();
    let given = step.tree(&[("server.py", "given")]);
    let more = json!({"tree": given, "fixed": given});
    let output = step.run(&server.models(&CassetteMode::Off), with("build", more)).await.unwrap().value;
    assert_eq!(
        (step.text(&output, "server.py"), step.text(&output, "main.py")),
        ("given".into(), "new".into())
    );
    assert_eq!(output["changes"], json!([{"path": "main.py", "op": "added"}]));
}

#[tokio::test]
async fn a_file_that_was_there_before_the_attempt_is_no_result() {
    let done = || Act::Stream(openai("Done.", "stop"));
    let write = script([("write", json!({"path": "r.json", "content": "{\"n\": 1}"}))]);
    let server = Server::start([vec![done()], write, vec![done()]].concat()).await;
    let step = Step::new().wants(number());
    let tree = step.tree(&[("r.json", "{\"n\": 1}"), ("a.txt", "x")]);
    let more = json!({"result": "r.json", "tree": tree});
    let output = step.run(&server.models(&CassetteMode::Off), with("count", more)).await.unwrap();
    assert!(server.body(1)["messages"].to_string().contains("was not written in this attempt"));
    let value = &output.value;
    assert_eq!(
        (&value["n"], &value["agent"]["turns"]),
        (&json!(1), &json!(3)),
        "the same content, written anew"
    );
}

#[tokio::test]
async fn a_strict_schema_gets_the_result_alone() {
    let mut strict = number();
    strict["additionalProperties"] = json!(false);
    let server = Server::start(script([("finish", json!({"n": 3}))])).await;
    let step = Step::new().wants(strict);
    let output = step.run(&server.models(&CassetteMode::Off), with("count", json!({}))).await.unwrap();
    assert_eq!(output.value, json!({"n": 3}));
    assert!(step.said().contains("its output is the result alone"));
    let server = Server::start(script([("finish", json!({"result": [1]}))])).await;
    let step = Step::new().wants(json!({"type": "array"}));
    let output = step.run(&server.models(&CassetteMode::Off), with("count", json!({}))).await.unwrap();
    assert_eq!(output.value, json!([1]));
}

#[tokio::test]
async fn cut_off_answers_and_refusals_are_understood() {
    let server = Server::start([
        Act::Stream(openai("I begin", "length")),
        Act::Stream(openai("done", "stop")),
        Act::Stream(anthropic("No.", "refusal")),
    ])
    .await;
    let step = Step::new();
    let models = server.models(&CassetteMode::Off);
    let output = step.run(&models, with("work", json!({}))).await.unwrap();
    assert_eq!((&output.value["text"], &output.value["turns"]), (&json!("done"), &json!(2)));
    assert!(server.body(1)["messages"].to_string().contains("cut off at the limit of tokens"));
    let failure = step.run(&models, with("work", json!({"model": "claude-haiku-4-5"}))).await.unwrap_err();
    assert_eq!((failure.class, &failure.detail["answer"]), (Class::Refused, &json!("No.")));
    assert!(failure.spent.get("usd") > 0.0);
}

#[tokio::test]
async fn another_model_goes_on_where_one_is_down() {
    let write = act("openai", "", &[("c1", "write", "{\"path\": \"a\", \"content\": \"1\"}")]);
    let server = Server::start([
        write,
        Act::Plain(500, vec![], String::new()),
        Act::Stream(anthropic("done", "end_turn")),
    ])
    .await;
    let step = Step::new();
    let more = json!({"model": ["gpt-4.1-mini", "claude-haiku-4-5"]});
    let output = step.run(&server.models(&CassetteMode::Off), with("work", more)).await.unwrap();
    assert_eq!(
        (&output.value["model"], step.text(&output.value, "a")),
        (&json!("anthropic/claude-haiku-4-5"), "1".to_owned())
    );
    assert!(server.body(2)["messages"].to_string().contains("tool_result"));
    assert!(step.said().contains("continuing with claude-haiku-4-5"));
}

#[tokio::test]
async fn a_tape_plays_the_whole_work_again() {
    let dir = tempfile::tempdir().unwrap();
    let tape = dir.path().join("run.jsonl");
    let acts = script([("write", json!({"path": "a", "content": "1"})), ("finish", json!({"n": 1}))]);
    let server = Server::start(acts).await;
    let first = Step::new().wants(number());
    let recorded = first
        .run(&server.models(&CassetteMode::Record(tape.clone())), with("work", json!({})))
        .await
        .unwrap();
    let again = Step::new().wants(number());
    let replayed =
        again.run(&server.models(&CassetteMode::Replay(tape)), with("work", json!({}))).await.unwrap();
    assert_eq!((recorded.value, recorded.spent), (replayed.value, replayed.spent));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_spent() {
    let server = Server::start([]).await;
    let step = Step::new();
    let models = server.models(&CassetteMode::Off);
    for (more, words) in [
        (json!({"prompt": " "}), "the prompt is empty"),
        (json!({"model": []}), "`model` or `cli` is missing"),
        (json!({"turns": 0}), "a limit is zero"),
        (json!({"idle": "0s"}), "is zero"),
        (json!({"result": "../x"}), "cannot be a file"),
        (json!({"model": "openai/unheard-of"}), "the price of `openai/unheard-of` is unknown"),
        (json!({"model": "openrouter/x", "unknown_cost": "count"}), "does not support tools"),
        (json!({"ignore": ["["]}), "the glob"),
        (json!({"cli": "clade"}), "unknown agent `clade`"),
        (json!({"tools": ["fly"]}), "cannot use its input"),
    ] {
        let failure = step.run(&models, with("work", more)).await.unwrap_err();
        assert_eq!(failure.class, Class::Permanent, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    assert!(server.seen().is_empty());
    step.leaves_nothing();
}
