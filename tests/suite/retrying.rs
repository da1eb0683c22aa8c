//! Checks with words, further attempts that know what was wrong, `until`, and what is evaluated once when a run starts.
#![expect(clippy::disallowed_methods, reason = "a model server of the test's own")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};

use crate::binary::Project;

/// A provider that gives its answers in order, the last one again and again, and keeps what it was asked.
#[derive(Clone, Default)]
struct Oracle(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    answers: Vec<String>,
    asked: Vec<Value>,
}

impl Oracle {
    /// Opens it on a free port of 127.0.0.1; it closes with the test's process.
    fn open(answers: &[&str]) -> (Self, String) {
        let answers = answers.iter().map(|text| (*text).to_owned()).collect();
        let oracle = Self(Arc::new(Mutex::new(Said { answers, asked: Vec::new() })));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(oracle.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        (oracle, base)
    }

    /// The last message of each request.
    fn prompts(&self) -> Vec<String> {
        let said = self.0.lock().unwrap();
        let last = |body: &Value| body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
        said.asked.iter().map(|body| last(body).as_str().unwrap().to_owned()).collect()
    }
}

async fn answer(State(oracle): State<Oracle>, body: Bytes) -> axum::Json<Value> {
    let mut said = oracle.0.lock().unwrap();
    let at = said.asked.len().min(said.answers.len() - 1);
    let text = said.answers[at].clone();
    said.asked.push(serde_json::from_slice(&body).unwrap());
    axum::Json(json!({
        "id": "c", "object": "chat.completion", "model": "sage", "created": 1,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }))
}

fn project(base: &str, pipeline: &str) -> Project {
    let settings = format!(
        "[providers.tent]\nkind = \"openai\"\nbase_url = \"{base}\"\nprice = {{ input = 1000, output = 1000 }}\n\n\
         [models.\"tent/sage\"]\ncontext = 8192\n"
    );
    Project::new().file("p.toml", pipeline).file("atoll.toml", &settings)
}

const CARDS: &str = r#"
atoll = 1
[steps.deal]
retry  = { max = 3, backoff = "1ms" }
output = { type = "object", required = ["total", "cards"], properties = { total = { type = "number" }, cards = { type = "array" } } }
check  = ["output.total > 0", { that = "output.total == (output.cards | sum)", else = "the cards add up to {{ output.cards | sum }}, not {{ output.total }}" }]
llm    = { model = "tent/sage", prompt = "Deal.", max_tokens = 100 }
[outputs]
total = "steps.deal.output.total"
"#;

#[test]
fn a_check_says_what_is_wrong_and_the_next_attempt_is_told() {
    let (oracle, base) = Oracle::open(&[
        r#"{"total": 5, "cards": [1, 2]}"#,
        r#"{"total": "many", "cards": []}"#,
        r#"{"total": 3, "cards": [1, 2]}"#,
    ]);
    let ran = project(&base, CARDS).run(&["run", "p.toml", "--format", "json"]).exits(0).json();
    assert_eq!(ran["outputs"]["total"], 3);
    let prompts = oracle.prompts();
    assert_eq!((prompts.len(), prompts[0].trim()), (3, "Deal."));
    assert!(prompts[1].starts_with("Deal."), "{}", prompts[1]);
    assert!(prompts[1].contains("the cards add up to 3, not 5"), "{}", prompts[1]);
    assert!(prompts[2].contains("total") && !prompts[2].contains("add up"), "{}", prompts[2]);
}

#[test]
fn the_words_of_a_check_are_those_of_the_failure() {
    let (oracle, base) = Oracle::open(&[r#"{"total": 5, "cards": [1, 2]}"#]);
    let project = project(&base, CARDS);
    let ran = project.run(&["run", "p.toml"]).exits(1);
    ran.stderr_has("the cards add up to 3, not 5");
    assert_eq!(oracle.prompts().len(), 4, "a step with `check` covers `rejected`");
    let told = project.run(&["show", "last", "deal", "--format", "json"]).exits(0).stdout;
    assert!(told.contains("the cards add up to 3, not 5"), "{told}");
}

#[test]
fn a_prompt_that_reads_the_error_itself_gets_nothing_added_and_a_project_has_words_of_its_own() {
    let bad = r#"{"total": 5, "cards": [1, 2]}"#;
    let good = r#"{"total": 3, "cards": [1, 2]}"#;
    let (oracle, base) = Oracle::open(&[bad, good]);
    let own = CARDS.replace(
        "\"Deal.\"",
        "\"Deal.{% if attempt.error is not none %} Oh: {{ attempt.error.class }}{% endif %}\"",
    );
    project(&base, &own).run(&["run", "p.toml"]).exits(0);
    assert_eq!(oracle.prompts()[1].trim(), "Deal. Oh: rejected");
    let (oracle, base) = Oracle::open(&[bad, good]);
    let project = project(&base, CARDS).file("prompts/llm/again.md", "No: {{ attempt.error.message }}!");
    project.run(&["run", "p.toml"]).exits(0);
    assert_eq!(oracle.prompts()[1].trim(), "Deal.\n\nNo: the cards add up to 3, not 5!");
}

#[test]
fn a_step_runs_again_until_its_output_is_what_is_waited_for() {
    let text = r#"
atoll = 1
[inputs.most]
type = "int"
default = 5
[steps.poll]
retry = { max = "inputs.most", backoff = "1ms", until = "output.stdout | trim | int >= 3" }
idempotent = true
shell = { argv = ["sh", "-c", "echo x >> seen; wc -l < seen"] }
[outputs]
n = "steps.poll.output.stdout | trim | int"
"#;
    let project = Project::new().file("p.toml", text);
    assert_eq!(project.run(&["run", "p.toml", "--format", "json"]).exits(0).json()["outputs"]["n"], 3);
    let project = Project::new().file("p.toml", text);
    let ran = project.run(&["run", "p.toml", "--most", "1", "--format", "json"]).exits(0);
    assert_eq!(
        ran.json()["outputs"]["n"],
        2,
        "the last output counts, even if it is not what was waited for"
    );
    ran.stderr_has("is not true yet");
}

const CALLS: &str = r#"
atoll = 1
[steps.measure]
retry = { max = 4, backoff = "1ms", until = "output.n >= 3" }
call = { pipeline = "inner.toml" }
[outputs]
n = "steps.measure.output.n"
again = "steps.measure.output.again"
"#;

const INNER: &str = r#"
atoll = 1
[steps.count]
idempotent = true
shell = { argv = ["sh", "-c", "echo x >> seen; wc -l < seen"] }
[steps.twice]
each = { over = "[1, 2]", result = "steps.one.output.x" }
[steps.twice.steps.one]
set = { x = "{{ item * 2 }}" }
[outputs]
n = "steps.count.output.stdout | trim | int"
again = "steps.twice.output"
"#;

#[test]
fn a_call_is_made_again_as_a_whole() {
    let project = Project::new().file("p.toml", CALLS).file("inner.toml", INNER);
    let ran = project.run(&["run", "p.toml", "--format", "json"]).exits(0).json();
    assert_eq!((&ran["outputs"]["n"], &ran["outputs"]["again"]), (&json!(3), &json!([2, 4])));
    let shown = project.run(&["show", "last"]).exits(0).stdout;
    assert!(shown.contains("measure"), "{shown}");
    // The journal of a call that was made again is read back.
    project.run(&["resume", "last"]).exits(0);
}

#[test]
fn a_call_that_fails_is_made_again_if_the_class_is_named() {
    let inner = "atoll = 1\n[steps.x]\nidempotent = true\n\
                 shell = { argv = [\"sh\", \"-c\", \"echo x >> seen; test $(wc -l < seen) -ge 2\"] }\n[outputs]\nok = \"steps.x.ok\"\n";
    let outer = "atoll = 1\n[steps.c]\nretry = { max = 2, backoff = \"1ms\", on = [\"permanent\"] }\n\
                 call = { pipeline = \"inner.toml\" }\n[outputs]\nok = \"steps.c.output.ok\"\n";
    let project = Project::new().file("p.toml", outer).file("inner.toml", inner);
    assert_eq!(project.run(&["run", "p.toml", "--format", "json"]).exits(0).json()["outputs"]["ok"], true);
    let once = outer.replace(", on = [\"permanent\"]", ", on = [\"transient\"]");
    let project = Project::new().file("p.toml", &once).file("inner.toml", inner);
    project.run(&["run", "p.toml"]).exits(1).stderr_has("exit code 1");
}

#[test]
fn what_hangs_on_inputs_is_evaluated_when_the_run_starts_and_shown() {
    let text = r#"
atoll = 1
[inputs]
patience = { type = "duration", default = "90s" }
wide = { type = "int", default = 2 }
queue = { type = "string", default = "slow" }
mode = { type = "string", default = "realtime" }
[lanes]
slow = "inputs.wide"
[steps.a]
timeout = "inputs.patience"
lane = "inputs.queue"
retry = { max = "0" }
shell = { argv = ["sleep", "3"] }
[steps.b]
when = "inputs.wide > 100"
timeout = "'1m' if inputs.wide > 1 else none"
llm = { model = "tent/sage", prompt = "x", mode = "{{ inputs.mode }}" }
"#;
    let project = project("http://127.0.0.1:9/v1", text);
    let plan = project.run(&["plan", "p.toml", "--mode", "batch"]).exits(0).stdout;
    for line in [
        "steps.a.timeout: 90.0 (`inputs.patience`)",
        "steps.a.lane: slow (`inputs.queue`)",
        "lanes.slow: 2 (`inputs.wide`)",
        "steps.b.timeout: 1m (`'1m' if inputs.wide > 1 else none`)",
        "steps.b.llm.mode: batch (`{{ inputs.mode }}`)",
    ] {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    let ran = project.run(&["run", "p.toml", "--patience", "100ms", "--format", "json"]).exits(1);
    ran.stderr_has("100 ms");
    let facts = project.run(&["log", "last", "--format", "json"]).exits(0).stdout;
    assert!(facts.contains("\"steps.a.timeout\":0.1"), "it is on record: {facts}");
    project
        .run(&["run", "p.toml", "--wide", "0"])
        .exits(3)
        .stderr_has("`lanes.slow`: 0 is not a whole number");
    project.run(&["run", "p.toml", "--queue", "slwo"]).exits(3).stderr_has("did you mean `slow`?");
}

#[test]
fn a_step_tells_what_it_has_spent_with_all_its_attempts() {
    let text = r#"
atoll = 1
[steps.rounds.loop]
max    = 2
result = "{ 'usd': state.usd, 'calls': state.calls, 'wall': state.wall }"
state  = { usd = 0, calls = 0, wall = 0 }
[steps.rounds.loop.next]
usd   = "state.usd + steps.ask.spent.usd"
calls = "state.calls + steps.ask.spent.calls"
wall  = "state.wall + steps.nap.spent.wall"
[steps.rounds.steps.ask]
retry = { max = 1, backoff = "1ms" }
check = ["output.text == 'yes'"]
llm = { model = "tent/sage", prompt = "Really?", max_tokens = 100 }
[steps.rounds.steps.nap]
shell = { argv = ["sleep", "0.2"] }
[steps.never]
when = "run.id == ''"
set = { x = 1 }
[steps.tell]
tolerates = ["never"]
set = { usd = "{{ steps.rounds.spent.usd }}", none = "{{ steps.never.spent }}" }
[outputs]
rounds = "steps.rounds.output"
whole = "steps.tell.output"
"#;
    let (_, base) = Oracle::open(&["no", "yes"]);
    let ran = project(&base, text).run(&["run", "p.toml", "--format", "json"]).exits(0).json();
    let rounds = &ran["outputs"]["rounds"];
    assert_eq!(rounds["calls"], 3.0, "two attempts, then one: {ran}");
    let near = |value: &Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 1e-6;
    assert!(near(&rounds["usd"], 0.33) && near(&ran["outputs"]["whole"]["usd"], 0.33), "{ran}");
    assert!(rounds["wall"].as_f64().unwrap() >= 0.4, "{ran}");
    assert_eq!(
        ran["outputs"]["whole"]["none"],
        json!({"usd": 0.0, "tokens": 0.0, "calls": 0.0, "wall": 0.0})
    );
}

#[test]
fn whether_an_outage_pauses_the_run_may_hang_on_an_input() {
    let pipeline = r#"
atoll = 1
inputs.outage = { type = "string", default = "fail" }

[steps.a]
retry = { max = 0 }
on_outage = "inputs.outage"
llm = { model = "local/x", prompt = "hello" }
"#;
    let project =
        Project::new().env("ATOLL_LOCAL_BASE_URL", "http://127.0.0.1:1/v1").file("p.toml", pipeline);
    project.run(&["run", "p.toml"]).exits(1);
    project.run(&["run", "p.toml", "--outage", "pause"]).exits(7);
    let wrong = project.run(&["run", "p.toml", "--outage", "wait"]).exits(3);
    wrong.stderr_has("`steps.a.on_outage`: \"wait\" is neither 'pause' nor 'fail'");
}

#[test]
fn a_failure_is_passed_on_with_its_class_and_hint() {
    let pipeline = r#"
atoll = 1

[steps.first]
fail = { message = "no disk", hint = "buy one", class = "rejected" }
retry = { max = 0 }

[steps.second]
tolerates = ["first"]
fail = { message = "the build", error = "{{ steps.first.error }}" }
retry = { max = 0 }

[steps.third]
tolerates = ["second"]
fail = { error = "{{ steps.second.error }}", class = "budget" }
"#;
    let project = Project::new().file("p.toml", pipeline);
    let ran = project.run(&["run", "p.toml"]).exits(5);
    ran.stderr_has("the build: no disk").stderr_has("buy one");
    project.write("p.toml", "atoll = 1\nsteps.a.fail = {}\n");
    project.run(&["check", "p.toml"]).exits(3).stdout_has("`fail` has neither `message` nor `error`");
}
