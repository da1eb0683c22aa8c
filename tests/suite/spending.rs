//! Money: caps hold with concurrent calls, every call is in the ledger, a kill costs at most the calls in
//! progress, and if a provider is down, the run stops and can be resumed.
//! `ATOLL_PAID_KILLS` is the number of kills in the loop of kills (default: 10):
//!
//! ```sh
//! ATOLL_PAID_KILLS=200 cargo nextest run --test suite --no-capture spending::kills
//! ```
#![expect(clippy::disallowed_methods, reason = "tests run a provider and read a setting")]
#![expect(clippy::cast_precision_loss, reason = "counts of calls are small")]

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::binary::Project;
use crate::fifo::{Group, was_killed};

/// A provider that counts paid calls.
#[derive(Clone, Default)]
struct Shop(Arc<Inside>);

#[derive(Default)]
struct Inside {
    books: Mutex<Books>,
    news: Condvar,
}

#[derive(Default)]
struct Books {
    /// How often each prompt was answered.
    answered: BTreeMap<String, u64>,
    calls: u64,
    /// Number of the call after which it is down.
    down_from: Option<u64>,
    /// Whether three of ten calls fail, each in a different way.
    clumsy: bool,
    came: u64,
    /// Number of answers that cannot be parsed.
    garbled: u64,
    refused: u64,
}

/// Reported usage of a call.
const READ: u64 = 400;
const WRITTEN: u64 = 40;

impl Shop {
    /// Opens it on a free port of 127.0.0.1; it closes with the test's process.
    fn open() -> (Self, String) {
        let shop = Self::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let app = Router::new().fallback(serve).with_state(shop.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        (shop, base)
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0.books.lock().unwrap()
    }

    /// Waits until it has answered `calls` calls in total, or `ended` is true because no more calls will
    /// come.
    fn wait_for(&self, calls: u64, ended: &Mutex<bool>) {
        let mut books = self.books();
        while books.calls < calls && !*ended.lock().unwrap() {
            books = self.0.news.wait(books).unwrap();
        }
    }
}

async fn serve(State(shop): State<Shop>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let asked = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
    let mut books = shop.books();
    if books.down_from.is_some_and(|from| books.calls >= from) {
        books.refused += 1;
        let body = json!({"error": {"message": "overloaded", "type": "overloaded_error"}});
        return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response();
    }
    books.came += 1;
    if books.clumsy && [2, 5, 8].contains(&(books.came % 10)) {
        let kind = (books.came / 10 * 3 + books.came % 10 / 3) % 5;
        books.garbled += u64::from(kind == 3);
        return mishap(kind);
    }
    books.calls += 1;
    *books.answered.entry(asked.clone()).or_default() += 1;
    drop(books);
    shop.0.news.notify_all();
    let answer = json!({
        "id": "c", "object": "chat.completion", "model": "clerk", "created": 1,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": format!("re: {asked}")}}],
        "usage": {"prompt_tokens": READ, "completion_tokens": WRITTEN, "total_tokens": READ + WRITTEN},
    });
    axum::Json(answer).into_response()
}

/// A way in which a provider fails without an answer.
fn mishap(kind: u64) -> Response {
    let error = |text: &str| axum::Json(json!({"error": {"message": text, "type": "server_error"}}));
    match kind {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after-ms", "1")], error("slow down")).into_response(),
        1 => (StatusCode::INTERNAL_SERVER_ERROR, error("broken")).into_response(),
        2 => (StatusCode::BAD_GATEWAY, "<html>bad gateway</html>").into_response(),
        3 => ([("content-type", "application/json")], "{\"choices\": [{").into_response(),
        _ => ([("content-type", "text/event-stream")], "").into_response(),
    }
}

/// Actual cost of a call in dollars, at one dollar for a thousand tokens.
fn price() -> f64 {
    (READ + WRITTEN) as f64 / 1e3
}

const PIPELINE: &str = r#"
atoll = 1
summary = "asks about many things"

[inputs.things]
type = "int"
default = 40

[limits]
usd = "none"

[steps.ask.each]
over = "range(inputs.things)"
parallel = "8"
result = "steps.say.output.text"

[steps.ask.steps.say]
retry = { max = 2, backoff = "1ms..2ms" }
llm = { model = "shop/clerk", role = "clerk", prompt = "thing {{ item }}", max_tokens = 100 }

[outputs]
all = "steps.ask.output"
"#;

fn project(base: &str) -> Project {
    let providers = format!(
        "[providers.shop]\nkind = \"openai\"\nbase_url = \"{base}\"\nprice = {{ input = 1000, output = 1000 }}\n\n[models.\"shop/clerk\"]\ncontext = 8192\n\n[lanes]\nllm = 8\n"
    );
    Project::new().file("pipelines/ask.toml", PIPELINE).file("atoll.toml", &providers)
}

#[track_caller]
fn near(a: &Value, b: f64) {
    let a = a.as_f64().unwrap_or_else(|| panic!("{a} is not a number"));
    assert!((a - b).abs() < 1e-6, "{a} is not {b}");
}

#[test]
fn a_cap_holds_with_eight_calls_in_flight_and_the_rest_is_paid_later() {
    let (shop, base) = Shop::open();
    let project = project(&base);
    let ran = project.run(&["run", "ask", "--limit", "usd=8", "--format", "json"]).exits(5);
    let paid = shop.books().calls;
    let spent = ran.json()["spent"].clone();
    near(&spent["usd"], paid as f64 * price());
    assert!(spent["usd"].as_f64().unwrap() <= 8.0, "{spent}");
    // A call may cost up to 1.11 dollars and costs 0.44: the rest of each reservation was released and used.
    assert!(paid >= 15, "{paid} calls");
    ran.stderr_has("may take up to 1.1").stderr_has("--limit usd=N");
    let ended = project.run(&["resume", "last", "--limit", "usd=100", "--format", "json"]).exits(0).json();
    near(&ended["spent"]["usd"], 40.0 * price());
    assert_eq!(shop.books().calls, 40);
    assert!(shop.books().answered.values().all(|times| *times == 1), "no call is paid twice");
    let texts = ended["outputs"]["all"].as_array().unwrap().clone();
    assert_eq!((texts.len(), &texts[39]), (40, &json!("re: thing 39")));
}

#[test]
fn the_ledger_says_who_was_paid_for_what() {
    let (_shop, base) = Shop::open();
    let project = project(&base);
    project.run(&["run", "ask", "--things", "5"]).exits(0);
    let cost = project.run(&["cost", "last", "--format", "json"]).exits(0).json();
    near(&cost["spent"]["usd"], 5.0 * price());
    for (by, name) in [("by_model", "shop/clerk"), ("by_role", "clerk"), ("by_step", "ask/say")] {
        assert_eq!(cost[by].as_array().unwrap().len(), 1, "{by}: {cost}");
        assert_eq!((&cost[by][0]["name"], &cost[by][0]["attempts"]), (&json!(name), &json!(5)), "{by}");
        near(&cost[by][0]["spent"]["usd"], 5.0 * price());
    }
    let text = project.run(&["cost", "last"]).exits(0).stdout;
    for words in ["$2.20", "5 calls", "shop/clerk", "ask/say"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    project.run(&["cost", "nothing"]).exits(2).stderr_has("unknown run");
}

#[test]
fn the_worst_case_is_known_before_anything_is_asked() {
    let (shop, base) = Shop::open();
    let project = project(&base);
    let worst =
        project.run(&["plan", "ask", "--things", "5", "--format", "json"]).exits(0).json()["worst"].clone();
    assert_eq!(worst["complete"], true, "{worst}");
    let step = &worst["steps"][0];
    // Five things, three attempts at each.
    assert_eq!((&step["step"], &step["times"]), (&json!("ask/say"), &json!(15.0)));
    // Each may be repeated once if its answer is empty.
    near(&worst["all"]["calls"], 30.0);
    near(&worst["all"]["tokens_out"], 3000.0);
    let ran = project.run(&["run", "ask", "--things", "5", "--format", "json"]).exits(0).json();
    for unit in ["usd", "tokens_in", "tokens_out", "calls"] {
        let (spent, most) = (ran["spent"][unit].as_f64().unwrap(), worst["all"][unit].as_f64().unwrap());
        assert!(spent <= most, "{unit}: {spent} of {most}");
    }
    let text = project.run(&["plan", "ask"]).exits(0).stdout;
    assert!(text.contains("worst case") && text.contains("total    240 calls"), "{text}");
    assert_eq!(shop.books().calls, 5, "planning makes no calls");
}

#[test]
fn a_plan_says_which_costs_are_unknown_and_which_caps_are_in_force() {
    let free = "[providers.shop]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";
    let pipeline = "atoll = 1\nname = \"two\"\nsummary = \"asks two\"\n[inputs.most]\ntype = \"number\"\ndefault = 2.5\n\
        [limits]\nusd = \"inputs.most\"\ncalls = \"7\"\n\
        [steps.a]\nllm = { model = \"shop/clerk\", prompt = \"x\", max_tokens = 100, unknown_cost = \"count\" }\n";
    let priced = "[steps.b]\nllm = { model = \"gpt-4.1-mini\", prompt = \"x\", max_tokens = 100 }\n";
    let project = Project::new().file("pipelines/two.toml", pipeline).file("atoll.toml", free);
    let text = project.run(&["plan", "two"]).exits(0).stdout;
    assert!(text.contains("price unknown") && !text.contains('$'), "unknown is not zero: {text}");
    assert!(text.contains("limits: usd 2.5 (`inputs.most`), calls 7"), "{text}");
    let text = project.run(&["plan", "two", "--most", "4"]).exits(0).stdout;
    assert!(
        text.contains("limits: usd 4.0 (`inputs.most`)") || text.contains("limits: usd 4 (`inputs.most`)"),
        "{text}"
    );

    project.write("pipelines/two.toml", &(pipeline.to_owned() + priced));
    let text = project.run(&["plan", "two"]).exits(0).stdout;
    assert!(text.contains(" or more, the cost of a is unknown") && !text.contains("$0.00 "), "{text}");
    let plan = project.run(&["plan", "two", "--format", "json"]).exits(0).json();
    assert_eq!((&plan["worst"]["unknown"], &plan["worst"]["complete"]), (&json!(["a"]), &json!(false)));
    assert_eq!((&plan["caps"][0]["unit"], &plan["caps"][0]["cap"]), (&json!("usd"), &json!(2.5)));
}

#[test]
fn a_plan_names_the_caps_of_steps_rounds_and_called_pipelines() {
    let project = Project::new()
        .file(
            "pipelines/outer.toml",
            "atoll = 1\n[inputs.most]\ntype = \"number\"\ndefault = 3\n\
             [steps.l]\nloop = { max = 2, budget = { usd = \"inputs.most / 2\" } }\n\
             [steps.l.steps.x]\nbudget = { calls = 4 }\nshell = { argv = [\"true\"] }\n\
             [steps.c]\nneeds = [\"l\"]\ncall = { pipeline = \"inner\", with = { most = \"inputs.most\" } }\n\
             [outputs]\nl = \"steps.l.ok\"\n",
        )
        .file(
            "pipelines/inner.toml",
            "atoll = 1\n[inputs.most]\ntype = \"number\"\ndefault = 1\n[limits]\nusd = \"inputs.most\"\n\
             tokens = \"9\"\n[steps.s]\nset = { a = 1 }\n",
        );
    let text = project.run(&["plan", "outer"]).exits(0).stdout;
    for line in [
        "limit of l, each round: usd 1.5 (`inputs.most / 2`)\n",
        "limit of l/x: calls 4\n",
        "limit of c, each call: usd 3.0 (`inputs.most`)\n",
        "limit of c, each call: tokens 9\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let plan = project.run(&["plan", "outer", "--format", "json"]).exits(0).json();
    assert_eq!(plan["inner_caps"].as_array().map(Vec::len), Some(4));
}

/// Models with and without a price, and one whose context is unknown.
const PRICES: &str = r#"
[providers.p]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
[models."p/priced"]
context = 10000
max_output = 1000
price = { input = 1, output = 10 }
[models."p/unpriced"]
context = 10000
max_output = 1000
[models."p/zero"]
context = 10000
max_output = 1000
price = { input = 0, output = 0 }
[models."p/vague"]
max_output = 1000
price = { input = 1, output = 10 }
[aliases]
mix = ["p/priced", "p/unpriced"]
"#;

/// What `plan` prints for steps with these keys, named `s0`, `s1`, and so on.
fn planned(steps: &[&str]) -> (String, Value) {
    let text =
        steps.iter().enumerate().map(|(n, step)| format!("[steps.s{n}]\nretry = {{ max = 0 }}\n{step}\n"));
    let inputs = "[inputs.a]\ntype = \"model\"\ndefault = \"p/zero\"\n[inputs.b]\ntype = \"model\"\ndefault = \"p/unpriced\"\n";
    let pipeline = format!("atoll = 1\n{inputs}{}", text.collect::<String>());
    let project = Project::new().file("pipelines/p.toml", &pipeline).file("atoll.toml", PRICES);
    let json = project.run(&["plan", "p", "--format", "json"]).exits(0).json()["worst"].clone();
    (project.run(&["plan", "p"]).exits(0).stdout, json)
}

#[test]
fn one_model_without_a_price_makes_the_price_of_the_step_unknown() {
    let llm = |model: &str| {
        format!("llm = {{ model = {model}, prompt = 'x', max_tokens = 10, unknown_cost = 'count' }}")
    };
    for model in [
        "['p/unpriced', 'p/zero']",
        "['p/zero', 'p/unpriced']",
        "'mix'",
        "['p/priced', 'mix']",
        "'{{ inputs.a if run.id | length == 1 else inputs.b }}'",
    ] {
        let (text, worst) = planned(&[&llm(model), &llm("'p/priced'")]);
        assert!(text.contains("price unknown") && !text.contains("$0.00\n"), "{model}: {text}");
        assert!(text.contains(" or more, the cost of s0 is unknown"), "{model}: {text}");
        assert_eq!((&worst["unknown"], &worst["steps"][0]["once"]["usd"]), (&json!(["s0"]), &Value::Null));
    }
    let (text, worst) = planned(&[&llm("'p/zero'")]);
    assert!(text.contains("$0.00") && !text.contains("price unknown"), "{text}");
    assert_eq!(worst["complete"], true);
}

#[test]
fn the_worst_case_of_an_agent_has_its_tokens_and_its_price() {
    let agent = |model: &str, more: &str| {
        format!("agent = {{ model = {model}, prompt = 'x', turns = 5, unknown_cost = 'count'{more} }}")
    };
    // Five answers, each of which may be repeated once if it is empty.
    let (text, worst) = planned(&[&agent("'p/priced'", "")]);
    assert!(text.contains("10 calls, 100000 tokens in, 10000 out, $5.00"), "{text}");
    assert_eq!(worst["complete"], true);
    let (text, _) = planned(&[&agent("'p/priced'", ", max_tokens = 100, tokens = 500")]);
    assert!(text.contains("10 calls, 20500 tokens in, 700 out"), "{text}");
    for (model, price) in
        [("'p/zero'", "$0.00"), ("'p/unpriced'", "price unknown"), ("'mix'", "price unknown")]
    {
        let (text, _) = planned(&[&agent(model, "")]);
        let line =
            text.lines().find(|line| line.contains(" s0 ") && line.contains("calls")).unwrap().to_owned();
        assert!(line.contains("10000 out") && line.ends_with(price), "{model}: {text}");
    }
    let (text, worst) = planned(&[&agent("'p/vague'", ""), &agent("'p/zero'", "")]);
    assert!(text.contains("unknown tokens in, 10000 out, $5.00"), "{text}");
    assert!(text.contains("at least 20 calls") && text.contains("the tokens of s0 are unknown"), "{text}");
    assert_eq!((&worst["unknown"], &worst["complete"]), (&json!(["s0"]), &json!(false)));
}

#[test]
fn an_outage_pauses_the_run_and_it_goes_on_where_it_was() {
    let (shop, base) = Shop::open();
    // In sequence, because with concurrent calls a provider that is down gets no new calls for seconds.
    let patient = PIPELINE.replace("parallel = \"8\"", "parallel = \"1\"");
    assert_ne!(patient, PIPELINE);
    let project = project(&base).file("pipelines/ask.toml", &patient);
    shop.books().down_from = Some(12);
    let ran = project.run(&["run", "ask", "--format", "json"]).exits(7);
    assert_eq!(ran.json()["status"], "outage");
    ran.stderr_has("shop answered 503").stderr_has("tries again");
    assert!(shop.books().refused > 0);
    // Still down: the run pauses again, and no results are lost.
    project.run(&["resume", "last"]).exits(7);
    shop.books().down_from = None;
    let ended = project.run(&["resume", "last", "--format", "json"]).exits(0).json();
    assert_eq!(shop.books().calls, 40);
    assert!(shop.books().answered.values().all(|times| *times == 1), "no call is paid twice");
    near(&ended["spent"]["usd"], 40.0 * price());
}

/// `ATOLL_FAULTY_CALLS` is the number of calls to answer (default: 500).
#[test]
fn with_three_of_ten_calls_failing_nothing_is_lost_and_nothing_counted_twice() {
    let things: u64 = std::env::var("ATOLL_FAULTY_CALLS").ok().map_or(500, |text| text.parse().unwrap());
    let (shop, base) = Shop::open();
    let project = project(&base).file("pipelines/ask.toml", &PIPELINE.replace("max = 2", "max = 50"));
    shop.books().clumsy = true;
    let count = things.to_string();
    let ran = project.run(&["run", "ask", "--things", &count, "--quiet", "--format", "json"]).exits(0).json();
    let books = shop.books();
    let answered = ran["outputs"]["all"].as_array().unwrap();
    let whole = |(n, text): (usize, &Value)| *text == json!(format!("re: thing {n}"));
    assert!(
        answered.len() as u64 == things && answered.iter().enumerate().all(whole),
        "all answers are there"
    );
    assert_eq!((books.answered.len() as u64, books.calls), (things, things), "no call is paid twice");
    // Answers that could not be parsed were paid as well.
    near(&ran["spent"]["calls"], (things + books.garbled) as f64);
    assert!(ran["spent"]["usd"].as_f64().unwrap() >= things as f64 * price(), "{}", ran["spent"]);
    println!(
        "{things} things, {} calls of which {} failed: 0 lost, 0 paid twice",
        books.came,
        books.came - books.calls
    );
}

/// Lanes allow eight concurrent calls, so up to eight are in progress at a kill.
const SLOTS: u64 = 8;

#[test]
fn kills_cost_at_most_what_was_in_flight_and_all_of_it_is_in_the_ledger() {
    let wanted: u64 = std::env::var("ATOLL_PAID_KILLS").ok().map_or(10, |text| text.parse().unwrap());
    let (mut kills, mut repeated, mut runs) = (0, 0, 0);
    while kills < wanted {
        runs += 1;
        let (shop, base) = Shop::open();
        let project = project(&base);
        let (mut killed, mut first) = (0, true);
        loop {
            let before = shop.books().calls;
            let arguments: &[&str] = if first {
                &["run", "ask", "--things", "60", "--quiet"]
            } else {
                &["resume", "last", "--quiet"]
            };
            let mut command = project.command(arguments);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let group = Group::start(command);
            let pid = group.pid();
            let ended = Arc::new(Mutex::new(false));
            let waiting = {
                let (shop, ended, mut group) = (shop.clone(), ended.clone(), group);
                std::thread::spawn(move || {
                    let status = group.wait();
                    {
                        let _books = shop.books();
                        *ended.lock().unwrap() = true;
                        shop.0.news.notify_all();
                    }
                    group.wait_for_all();
                    status
                })
            };
            // At a different time in each round: after the third call, the eleventh, the fifth, …
            shop.wait_for(before + 3 + (killed * 8 + runs * 5) % 17, &ended);
            let _ = nix::sys::signal::killpg(pid, Signal::SIGKILL);
            let status = waiting.join().unwrap();
            // If it was killed before its run was recorded, a new run is started.
            first = first && project.run(&["runs", "--format", "json"]).json()["runs"] == json!([]);
            if was_killed(status) {
                killed += 1;
            } else {
                assert_eq!(status.code(), Some(0));
                break;
            }
        }
        let books = shop.books();
        assert_eq!(books.answered.len(), 60, "every prompt was answered");
        let again = books.calls - 60;
        assert!(again <= killed * SLOTS, "{again} calls too many for {killed} kills");
        let show = project.run(&["show", "last", "--format", "json"]).exits(0).json();
        assert_eq!(show["outputs"]["all"].as_array().unwrap().len(), 60);
        let cost = project.run(&["cost", "last", "--format", "json"]).exits(0).json();
        let recorded = cost["spent"]["calls"].as_f64().unwrap();
        // Lost calls were repeated and answered, so they count with the cost of the repeated call.
        assert_eq!(cost["spent"]["lost"], Value::Null, "{cost}");
        let estimated = cost["spent"]["estimated"].as_f64().unwrap_or_default();
        assert!(recorded >= books.calls as f64, "{recorded} of {} calls are in the ledger", books.calls);
        near(&json!(recorded), 60.0 + estimated);
        near(&cost["spent"]["usd"], recorded * price());
        assert!(estimated <= (killed * SLOTS) as f64, "{estimated} lost for {killed} kills");
        kills += killed;
        repeated += again;
    }
    println!(
        "{kills} kills in {runs} runs: {repeated} paid calls repeated of {} in flight at most",
        kills * SLOTS
    );
}
