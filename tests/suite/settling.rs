//! Calls that were sent and not answered: recorded with their maximum cost, and corrected when the same
//! call is answered. Answered calls are never repeated.

use std::io::BufReader;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::agent::loops::script;
use crate::binary::Project;
use crate::fifo::{Group, processes_with, was_killed};
use crate::llm::server::{Act, Server, openai};

/// `with` is the table of the step's verb.
fn pipeline(verb: &str, with: &str) -> String {
    format!(
        "atoll = 1\nname = \"one\"\nsummary = \"asks\"\n\n[steps.ask]\nretry = {{ max = 2, backoff = \"1ms..2ms\" }}\n{verb} = {with}\n\n\
         [outputs]\nanswer = \"steps.ask.output.text\"\n"
    )
}

fn project(server: &Server, pipeline: &str) -> Project {
    Project::new()
        .file("pipelines/one.toml", pipeline)
        .env("OPENAI_API_KEY", "sk-test-0123456789")
        .env("OPENAI_BASE_URL", &server.base)
}

fn answer() -> Act {
    Act::Stream(openai("here", "stop"))
}

/// Runs or resumes, and kills the process when `there` is true.
async fn kill(project: &Project, words: &[&str], there: impl Fn() -> bool) {
    let mut command = project.command(words);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut group = Group::start(command);
    while !there() {
        assert!(group.child.try_wait().unwrap().is_none(), "it ended by itself");
        tokio::task::yield_now().await;
    }
    group.signal(Signal::SIGKILL);
    assert!(was_killed(group.wait()));
    group.wait_for_all();
}

fn spent(project: &Project) -> Value {
    project.run(&["cost", "last", "--format", "json"]).exits(0).json()["spent"].clone()
}

fn near(sum: &Value, right: f64) {
    assert!((sum.as_f64().unwrap_or_default() - right).abs() < 1e-9, "{sum}, and not {right}");
}

/// 400 cached input tokens at $0.1, 600 other input tokens at $0.4, and 100 output tokens at $1.6 per
/// million.
const PRICE: f64 = (400.0 * 0.1 + 600.0 * 0.4 + 100.0 * 1.6) / 1e6;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_at_a_kill_counts_as_lost_until_it_is_answered() {
    let server = Server::start([Act::Mute, Act::Mute, answer()]).await;
    let asks =
        pipeline("llm", r#"{ model = "gpt-4.1-mini", prompt = "hi", role = "clerk", max_tokens = 4000 }"#);
    let project = project(&server, &asks);
    kill(&project, &["run", "one", "--quiet"], || server.seen().len() == 1).await;
    kill(&project, &["resume", "last", "--quiet"], || server.seen().len() == 2).await;
    let lost = spent(&project);
    assert_eq!((&lost["calls"], &lost["lost"]), (&json!(1), &json!(1)), "{lost}");
    assert!(lost["usd"].as_f64().unwrap() > 10.0 * PRICE, "the maximum cost: {lost}");

    project.run(&["resume", "last", "--quiet"]).exits(0);
    let settled = spent(&project);
    assert_eq!(
        [&settled["calls"], &settled["lost"], &settled["estimated"], &settled["tokens_in"]],
        [&json!(3), &Value::Null, &json!(2), &json!(3000)],
        "{settled}"
    );
    near(&settled["usd"], 3.0 * PRICE);
    let cost = project.run(&["cost", "last", "--format", "json"]).exits(0).json();
    for of in ["by_model", "by_role", "by_step"] {
        near(&cost[of][0]["spent"]["usd"], 3.0 * PRICE);
    }
    assert_eq!((&cost["attempts"], &cost["wasted"]["attempts"]), (&json!(3), &json!(2)), "{cost}");
    near(&cost["wasted"]["spent"]["usd"], 2.0 * PRICE);
    project
        .run(&["cost", "last"])
        .exits(0)
        .stdout_has("2 calls were sent without an answer and repeated: estimated");
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    near(&shown["spent"]["usd"], 3.0 * PRICE);
    let runs = project.run(&["runs", "--format", "json"]).exits(0).json();
    near(&runs["runs"][0]["spent"]["usd"], 3.0 * PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_before_a_word_is_a_lost_call() {
    let asks = pipeline("llm", r#"{ model = "gpt-4.1-mini", prompt = "hi", max_tokens = 4000 }"#);
    for (acts, calls, lost, estimated) in [
        (vec![Act::Cut(String::new()), answer()], 2, 0, 1),
        // Partial answers are estimated from the received part, as usual.
        (vec![Act::Cut(String::new()), Act::Cut(String::new()), Act::Cut(String::new())], 3, 3, 0),
    ] {
        let server = Server::start(acts).await;
        let project = project(&server, &asks);
        let ran = project.run(&["run", "one", "--quiet"]);
        drop(if lost == 0 { ran.exits(0) } else { ran });
        let spent = spent(&project);
        let number = |name: &str| spent[name].as_u64().unwrap_or_default();
        assert_eq!(
            (number("calls"), number("lost"), number("estimated")),
            (calls, lost, estimated),
            "{spent}"
        );
        if lost == 0 {
            near(&spent["usd"], 2.0 * PRICE);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_free_again_for_the_rest_of_the_run() {
    let server = Server::start([Act::Mute, answer(), answer()]).await;
    let two = "atoll = 1\nname = \"one\"\nsummary = \"asks twice\"\n[limits]\nusd = \"0.02\"\n\
               [steps.a]\nllm = { model = \"gpt-4.1-mini\", prompt = \"one\", max_tokens = 4000 }\n\
               [steps.b]\nllm = { model = \"gpt-4.1-mini\", prompt = \"{{ steps.a.output.text }}\", max_tokens = 4000 }\n";
    let project = project(&server, two);
    // Each may cost $0.0068. The lost call and one other fit, but a third does not until the lost one is
    // settled.
    kill(&project, &["run", "one", "--quiet", "--limit", "usd=0.014"], || server.seen().len() == 1).await;
    project.run(&["resume", "last", "--quiet", "--limit", "usd=0.014"]).exits(0);
    near(&spent(&project)["usd"], 3.0 * PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_samples_only_those_in_flight_are_asked_again() {
    let server = Server::start([answer(), Act::Mute, Act::Mute, answer(), answer()]).await;
    let asks = pipeline(
        "llm",
        r#"{ model = "gpt-4.1-mini", prompt = "hi", samples = 3, vote = "majority", max_tokens = 4000 }"#,
    );
    let project = project(&server, &asks);
    let mut command = project.command(&["run", "one", "--quiet", "--events", "-"]);
    command.stderr(Stdio::null());
    let mut group = Group::start(command);
    let mut events = BufReader::new(group.child.stdout.take().unwrap());
    Group::read_until(&mut events, "cursor_saved");
    while server.seen().len() < 3 {
        tokio::task::yield_now().await;
    }
    group.signal(Signal::SIGKILL);
    assert!(was_killed(group.wait()));
    group.wait_for_all();
    project.run(&["resume", "last", "--quiet"]).exits(0);
    assert_eq!(server.seen().len(), 5, "the answered sample is not requested again");
    let spent = spent(&project);
    assert_eq!(
        [&spent["calls"], &spent["lost"], &spent["estimated"]],
        [&json!(5), &Value::Null, &json!(2)],
        "{spent}"
    );
    near(&spent["usd"], 5.0 * PRICE);
    let shown = project.run(&["show", "last", "--format", "json"]).exits(0).json();
    assert_eq!(shown["outputs"]["answer"], "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_that_failed_are_asked_again_without_the_others() {
    let down = || Act::Plain(500, vec![], "{}".to_owned());
    let server = Server::start([answer(), down(), down(), answer(), answer()]).await;
    let asks =
        pipeline("llm", r#"{ model = "gpt-4.1-mini", prompt = "hi", samples = 3, vote = "majority" }"#);
    let project = project(&server, &asks);
    project.run(&["run", "one", "--quiet"]).exits(0);
    assert_eq!(server.seen().len(), 5);
    near(&spent(&project)["usd"], 3.0 * PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_their_turn_at_a_kill_cost_nothing() {
    // The first answer is a rate limit, so all other calls wait at the limiter.
    for (verb, with, calls) in [
        ("llm", r#"{ model = "gpt-4.1-mini", prompt = "hi", samples = 3, vote = "majority" }"#, 3),
        ("agent", r#"{ model = "gpt-4.1-mini", prompt = "hi", tools = ["write"] }"#, 1),
    ] {
        let busy = Act::Plain(429, vec![("retry-after", "50")], "{}".to_owned());
        let server = Server::start([busy]).await;
        let text = format!(
            "atoll = 1\nname = \"one\"\nsummary = \"asks\"\n[inputs.go]\ntype = \"string\"\n\
             [steps.first]\nllm = {{ model = \"gpt-4.1-mini\", prompt = \"first\" }}\n\
             [steps.go]\nshell = {{ argv = [\"sh\", \"-c\", 'until test -e \"$1\"; do sleep 0.05; done', \"sh\", \"{{{{ inputs.go }}}}\"] }}\n\
             [steps.ask]\nneeds = [\"go\"]\n{verb} = {with}\n"
        );
        let project = project(&server, &text);
        let mut command = project.command(&["run", "one", "--quiet", "--events", "-"]);
        command.arg("--go").arg(project.path("go")).stderr(Stdio::null());
        let mut group = Group::start(command);
        let mut events = BufReader::new(group.child.stdout.take().unwrap());
        Group::read_until(&mut events, "faltered");
        project.write("go", "");
        Group::read_until(&mut events, &format!("\"waiting\":{{\"calls\":{calls}"));
        group.signal(Signal::SIGKILL);
        assert!(was_killed(group.wait()));
        group.wait_for_all();
        assert_eq!(server.seen().len(), 1);

        let mut command = project.command(&["resume", "last", "--quiet", "--events", "-"]);
        command.stderr(Stdio::null());
        let mut group = Group::start(command);
        let mut events = BufReader::new(group.child.stdout.take().unwrap());
        let heard = Group::read_until(&mut events, "interrupted");
        let cut: Value = serde_json::from_str(heard.last().unwrap()).unwrap();
        assert_eq!((&cut["address"], &cut["spent"]), (&json!("ask"), &Value::Null), "{cut}");
        group.signal(Signal::SIGKILL);
        group.wait();
        group.wait_for_all();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_an_agents_tool_runs_loses_nothing() {
    let span = format!("{}.5", 81_000 + std::process::id());
    let acts = script([("run", json!({"command": format!("sleep {span}")}))]);
    let server = Server::start(acts).await;
    let asks = pipeline(
        "agent",
        r#"{ model = "gpt-4.1-mini", prompt = "hi", tools = ["run"], command_timeout = "10m", idle = "20m" }"#,
    );
    let project = project(&server, &asks);
    let sleeps = || !processes_with(&format!("sleep {span}")).is_empty();
    kill(&project, &["run", "one", "--quiet"], sleeps).await;
    while sleeps() {
        tokio::task::yield_now().await;
    }
    // It continues with the tool, and repeats no answered call.
    kill(&project, &["resume", "last", "--quiet"], sleeps).await;
    assert_eq!(server.seen().len(), 1);
    let spent = spent(&project);
    assert_eq!((&spent["calls"], &spent["lost"]), (&json!(1), &Value::Null), "{spent}");
    near(&spent["usd"], PRICE);
}
