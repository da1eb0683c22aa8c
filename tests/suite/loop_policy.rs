//! What the factory's loop does with drafts: which one is better, what ends the run, what is told to the next draft, and
//! what is delivered. Drafts and verdicts are scripted; programs are built and run for real in the process sandbox.
#![expect(clippy::disallowed_methods, reason = "a model server of the test's own")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};

use crate::binary::{Project, Ran};
use crate::recorded::there;

const SPEC: &str = "# Points\n\n`python3 main.py NAME` prints how many points NAME has.\n";

/// What the models do: drafts in turn (the last one again and again), verdicts as the program itself prints them.
#[derive(Default)]
struct Script {
    drafts: Vec<String>,
    requests: Vec<Value>,
    judged: HashMap<String, usize>,
}

type Shared = Arc<Mutex<Script>>;

impl Script {
    fn answer(&mut self, request: &Value) -> String {
        self.requests.push(request.clone());
        match kind(request) {
            "judge" => self.verdict(&request.to_string()),
            "wonder" => json!({
                "hypotheses": [{"claim": "main.py prints too little", "evidence": "the points"}],
                "root_cause": "the table", "approach": "print more"
            })
            .to_string(),
            _ => {
                let next = if self.drafts.len() > 1 { self.drafts.remove(0) } else { self.drafts[0].clone() };
                next.replace("UNIQUE", &self.requests.len().to_string())
            }
        }
    }

    /// `points=40` gets 40. `points=never` gets no usable answer, `points=late` none the first three times.
    fn verdict(&mut self, request: &str) -> String {
        let points = request.rsplit("points=").next().unwrap_or_default();
        let points: String = points.chars().take_while(char::is_ascii_alphanumeric).collect();
        let asked = self.judged.entry(points.clone()).or_default();
        *asked += 1;
        let score = match points.as_str() {
            "never" => return "I cannot tell.".to_owned(),
            "late" if *asked <= 3 => return "I cannot tell.".to_owned(),
            "late" => 100,
            number => number.parse().unwrap_or(0),
        };
        json!({"parts": [{"expected": "points", "found": points, "holds": score == 100}], "reason": "as it says", "score": score}).to_string()
    }

    fn drafts_asked(&self) -> Vec<&Value> {
        self.requests.iter().filter(|request| kind(request) == "draft").collect()
    }
}

fn kind(request: &Value) -> &'static str {
    let system = request["messages"][0]["content"].as_str().unwrap_or_default();
    match system {
        text if text.starts_with("You judge software") => "judge",
        text if text.starts_with("You find out why") => "wonder",
        _ => "draft",
    }
}

/// In place of a draft: the provider refuses the request.
const REFUSED: &str = "the provider refuses";

async fn answer(State(script): State<Shared>, body: Bytes) -> (StatusCode, String) {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let text = script.lock().unwrap().answer(&request);
    if text == REFUSED {
        return (StatusCode::BAD_REQUEST, json!({"error": {"message": "no such thing"}}).to_string());
    }
    let chunk = |delta: Value, stop: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": stop});
        format!(
            "data: {}\n\n",
            json!({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})
        )
    };
    let usage = json!({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}});
    let answer = chunk(json!({"role": "assistant", "content": text}), Value::Null);
    let end = chunk(json!({}), json!("stop"));
    (StatusCode::OK, format!("{answer}{end}data: {usage}\n\ndata: [DONE]\n\n"))
}

fn block(path: &str, text: &str) -> String {
    format!("=== FILE: {path} ===\n{text}\n=== END FILE ===\n")
}

const DOCKERFILE: &str = "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nCMD [\"true\"]";

/// A draft that prints these points.
fn draft(points: &[(&str, &str)]) -> String {
    let mut table = String::new();
    for (name, points) in points {
        write!(table, "{name:?}: {points:?}, ").unwrap();
    }
    let main = format!("# UNIQUE\nimport sys\nprint('points=' + {{{table}}}[sys.argv[1]])");
    block("main.py", &main) + &block("Dockerfile", DOCKERFILE)
}

fn unbuilt() -> String {
    block("main.py", "# UNIQUE") + &block("Dockerfile", "FROM python:3.12-slim\nRUN exit 7\nCMD [\"true\"]")
}

fn scenario(id: &str, more: &str) -> String {
    format!(
        "id: {id}\ndescription: points\n{more}\nsteps:\n  - exec: {{ command: python3 main.py {id} }}\n    expect: many points\n"
    )
}

/// A run of the factory with these drafts on the scenarios `a` and `b` (`a` counts nine times), threshold 80, floor 50.
struct Grown {
    project: Project,
    ran: Ran,
    script: Shared,
}

async fn grown(drafts: Vec<String>, more: &[&str], code: i32) -> Grown {
    let script = Shared::new(Mutex::new(Script { drafts, ..Script::default() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let project = Project::new()
        .file("spec.md", SPEC)
        .file("scenarios/a.yaml", &scenario("a", "weight: 9"))
        .file("scenarios/b.yaml", &scenario("b", ""))
        .env("ATOLL_LOCAL_BASE_URL", &base);
    let goal = ["run", "factory", "--spec", "spec.md", "--scenarios", "scenarios", "--format", "json"];
    let models =
        ["--model", "local/m", "--judge-model", "local/judge", "--skip-preflight", "--runtime", "process"];
    let bounds = ["--threshold", "80", "--floor", "50", "--product", "command", "--language", "python"];
    let arguments: Vec<String> =
        [goal.as_slice(), &models, &bounds, more].concat().into_iter().map(str::to_owned).collect();
    let (project, ran) = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = project.run(&arguments).exits(code);
        (project, ran)
    })
    .await
    .unwrap();
    Grown { project, ran, script }
}

impl Grown {
    fn outputs(&self) -> Value {
        self.ran.json()["outputs"].clone()
    }
}

const BLOCKS: [&str; 2] = ["--answers", "blocks"];

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_meets_every_end_condition_beats_one_with_a_higher_mean() {
    if !there("process", "a_draft_that_meets_every_end_condition_beats_one_with_a_higher_mean") {
        return;
    }
    let drafts = vec![draft(&[("a", "99"), ("b", "40")]), draft(&[("a", "85"), ("b", "60")])];
    let grown = grown(drafts, &BLOCKS, 0).await;
    let outputs = grown.outputs();
    assert_eq!((&outputs["status"], &outputs["score"]), (&json!("converged"), &json!(82.5)), "{outputs}");
    assert!(grown.project.read("out/main.py").contains("85"), "the one that meets them is delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_the_judge_left_undecided_is_judged_once_more_before_another_draft() {
    if !there("process", "a_step_that_the_judge_left_undecided_is_judged_once_more_before_another_draft") {
        return;
    }
    let grown = grown(vec![draft(&[("a", "90"), ("b", "late")])], &BLOCKS, 0).await;
    let outputs = grown.outputs();
    assert_eq!((&outputs["status"], &outputs["rounds"]), (&json!("converged"), &json!(1)), "{outputs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_with_an_undecided_step_does_not_stand_in_the_way_of_one_that_is_done() {
    if !there("process", "a_draft_with_an_undecided_step_does_not_stand_in_the_way_of_one_that_is_done") {
        return;
    }
    let drafts = vec![draft(&[("a", "99"), ("b", "never")]), draft(&[("a", "85"), ("b", "80")])];
    let grown = grown(drafts, &BLOCKS, 0).await;
    let outputs = grown.outputs();
    assert_eq!((&outputs["status"], &outputs["score"]), (&json!("converged"), &json!(84.5)), "{outputs}");
    assert_eq!(outputs["unjudged"], 0, "{outputs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_wrong_with_an_edit_is_told_to_the_next_draft_which_sees_its_program() {
    if !there("process", "what_was_wrong_with_an_edit_is_told_to_the_next_draft_which_sees_its_program") {
        return;
    }
    let write = |path: &str, text: &str| json!({"op": "write", "path": path, "content": text});
    let main = |points: &str| format!("# UNIQUE\nprint('points={points}')");
    let edits = |edits: Value| json!({ "edits": edits }).to_string();
    let replace = json!([{"op": "replace", "path": "main.py", "find": "no such line", "replace": "x"}]);
    let drafts = vec![
        edits(json!([write("main.py", &main("40")), write("Dockerfile", DOCKERFILE)])),
        edits(replace),
        edits(json!([write("main.py", &main("90"))])),
    ];
    let grown = grown(drafts, &[], 0).await;
    let outputs = grown.outputs();
    assert_eq!(outputs["scores"], json!([40.0, null, 90.0]), "{outputs}");
    let script = grown.script.lock().unwrap();
    let asked = script.drafts_asked();
    let last = asked.last().unwrap().to_string();
    assert!(last.contains("It could not be used") && last.contains("no such line"), "{last}");
    assert!(last.contains("points=40"), "it sees the program that it changes: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_build_is_not_delivered_and_one_that_does_is_better() {
    if !there("process", "a_program_that_does_not_build_is_not_delivered_and_one_that_does_is_better") {
        return;
    }
    let stuck = grown(vec![unbuilt()], &[&BLOCKS[..], &["--max-iterations", "2"]].concat(), 4).await;
    let outputs = stuck.outputs();
    assert_eq!((&outputs["status"], &outputs["score"]), (&json!("exhausted"), &json!(0.0)), "{outputs}");
    assert!(!stuck.project.path("out").exists(), "nothing that does not build is delivered");

    let drafts = vec![unbuilt(), draft(&[("a", "0"), ("b", "0")])];
    let built = grown(drafts, &[&BLOCKS[..], &["--max-iterations", "2"]].concat(), 4).await;
    assert!(built.project.read("out/main.py").contains("points="), "the one that builds is the better one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unjudged_draft_beats_one_that_does_not_build() {
    if !there("process", "an_unjudged_draft_beats_one_that_does_not_build") {
        return;
    }
    let unjudged = || draft(&[("a", "never"), ("b", "never")]);
    for drafts in [vec![unjudged(), unbuilt()], vec![unbuilt(), unjudged()]] {
        let grown = grown(drafts, &[&BLOCKS[..], &["--max-iterations", "2"]].concat(), 4).await;
        let outputs = grown.outputs();
        assert_eq!((&outputs["score"], &outputs["unjudged"]), (&Value::Null, &json!(2)), "{outputs}");
        assert!(grown.project.read("out/main.py").contains("points="), "the one that builds is delivered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stronger_model_and_a_diagnosis_get_rounds_of_their_own() {
    if !there("process", "a_stronger_model_and_a_diagnosis_get_rounds_of_their_own") {
        return;
    }
    let more = [&BLOCKS[..], &["--frugal-model", "local/small", "--max-iterations", "20"]].concat();
    let grown = grown(vec![draft(&[("a", "66"), ("b", "66")])], &more, 4).await;
    assert_eq!(grown.outputs()["status"], "stalled", "{}", grown.outputs());
    let script = grown.script.lock().unwrap();
    let models: Vec<&str> =
        script.drafts_asked().iter().map(|request| request["model"].as_str().unwrap()).collect();
    let small = models.iter().filter(|model| **model == "small").count();
    // One that counts, two without gain; then the diagnosis, and three rounds after it.
    assert_eq!((small, models.len()), (3, 7), "{models:?}");
    let diagnoses = script.requests.iter().filter(|request| kind(request) == "wonder").count();
    assert_eq!(diagnoses, 1, "one diagnosis for each best draft");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_budget_is_used_up_delivers_the_best_program_so_far() {
    if !there("process", "a_run_whose_budget_is_used_up_delivers_the_best_program_so_far") {
        return;
    }
    let first = draft(&[("a", "40"), ("b", "40")]);
    let second = draft(&[("a", "90"), ("b", "90")]);
    let grown = grown(vec![first, second], &["--answers", "blocks", "--limit", "calls=4"], 5).await;
    let outputs = &grown.ran.json()["outputs"];
    assert_eq!((&outputs["status"], &outputs["rounds"]), (&json!("running"), &json!(1)), "{outputs}");
    assert_eq!(outputs["score"].as_f64(), Some(40.0));
    assert!(grown.project.read("out/main.py").contains("40"), "what was scored is delivered");
    assert!(grown.ran.stderr.contains("score so far: 40"), "{}", grown.ran.stderr);
    let resume = ["resume", "last", "--limit", "calls=100", "--format", "json"];
    let (project, ended) = tokio::task::spawn_blocking(move || {
        let ended = grown.project.run(&resume).exits(0).json();
        (grown.project, ended)
    })
    .await
    .unwrap();
    assert_eq!(ended["outputs"]["status"], "converged");
    assert!(project.read("out/main.py").contains("90"), "and once more at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_in_a_later_round_delivers_the_best_program_and_names_the_cause() {
    if !there("process", "a_run_that_fails_in_a_later_round_delivers_the_best_program") {
        return;
    }
    let drafts =
        vec![draft(&[("a", "40"), ("b", "60")]), draft(&[("a", "30"), ("b", "30")]), REFUSED.to_owned()];
    let grown = grown(drafts, &BLOCKS, 1).await;
    let outputs = grown.outputs();
    assert_eq!((&outputs["status"], &outputs["rounds"]), (&json!("failed"), &json!(2)), "{outputs}");
    assert_eq!(outputs["score"].as_f64(), Some(42.0), "nine times 40 and once 60");
    assert!(grown.project.read("out/main.py").contains("40"), "the best one is delivered");
    assert!(grown.ran.stderr.contains("no such thing"), "{}", grown.ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_pause_no_program_is_delivered_that_never_built() {
    if !there("process", "at_a_pause_no_program_is_delivered_that_never_built") {
        return;
    }
    let more = ["--answers", "blocks", "--limit", "calls=2"];
    let grown = grown(vec![unbuilt(), draft(&[("a", "90"), ("b", "90")])], &more, 5).await;
    assert_eq!(grown.ran.json()["outputs"]["score"].as_f64(), Some(0.0));
    assert!(!grown.project.path("out").exists());
}
