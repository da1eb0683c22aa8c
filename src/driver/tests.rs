//! The loop with test verbs, a store in memory and a manual clock.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::engine::tests::plans::{after, ask, body, plan, step, template};
use crate::engine::{Fact, Pause, RunStatus};
use crate::expr::Tree;
use crate::id::{Address, RunId};
use crate::meter::Meter;
use crate::plan::{Action, Plan, Step};
use crate::store::{Memory, Owner, Settled, Signal};
use crate::value::{Digest, Value};
use crate::verb::{Catalog, Class, Context, Failure, Output, Secrets, Traits, Verb};

#[derive(Clone, Default)]
struct Toy {
    calls: Arc<AtomicU32>,
    cleaned: Arc<AtomicU32>,
}

#[derive(Deserialize, JsonSchema)]
struct ToyWith {
    say: String,
}

impl Verb for Toy {
    const NAME: &'static str = "toy";
    const SUMMARY: &'static str = "does as it is told";
    const TRAITS: Traits = Traits::repeatable("toy");
    const EXAMPLE: &'static str = "";
    type With = ToyWith;
    type Out = Value;

    async fn run(&self, with: ToyWith, cx: Context) -> Result<Output<Value>, Failure> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        match with.say.as_str() {
            "panic" => panic!("on purpose"),
            "hang" => {
                cx.cancel.cancelled().await;
                self.cleaned.fetch_add(1, Ordering::SeqCst);
                Err(Failure::cancelled().spent(Meter::new().with("usd", 0.5)))
            }
            "flaky" if call < 3 => Err(Failure::transient("not yet").spent(Meter::new().with("usd", 0.25))),
            "cursor" => {
                if let Some(cursor) = cx.cursor {
                    return Ok(Output::free(cursor));
                }
                cx.cursors.save(Value::from("batch-7")).await?;
                Err(Failure::transient("interrupted"))
            }
            say => Ok(Output::free(Value::from(say))),
        }
    }
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _: &str) -> Option<crate::verb::SecretText> {
        None
    }
    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

struct Bench {
    house: Runtime,
    toy: Toy,
    clock: ManualClock,
    heard: Arc<Mutex<Vec<String>>>,
}

fn toy_step(id: &str, say: &str) -> Step {
    let with = Tree::Table([("say".to_owned(), template(say))].into_iter().collect());
    step(id, Action::Verb { name: "toy".to_owned(), with, traits: Toy::TRAITS, again: None })
}

impl Bench {
    fn new() -> Self {
        let (toy, clock) = (Toy::default(), ManualClock::at(1_000));
        let house = Runtime {
            catalog: Catalog::new().verb(toy.clone()).verb(crate::verbs::Set),
            store: Arc::new(Memory::new(Arc::new(clock.clone()))),
            clock: Arc::new(clock.clone()),
            owner: Owner { pid: 1, started_at: 0, host: "here".to_owned() },
            seal: crate::value::Seal::new(b"test"),
            secrets: Arc::new(NoSecrets),
            grants: Arc::default(),
            project: "/".into(),
            inputs: Arc::new(crate::plan::NoFiles),
            scratch: "/nowhere".into(),
            files: "/nowhere".into(),
            lanes: indexmap::IndexMap::new(),
            caps: indexmap::IndexMap::new(),
            grace: Runtime::GRACE,
        };
        Self { house, toy, clock, heard: Arc::default() }
    }

    fn wires(&self) -> (RunHandles, mpsc::Sender<RunCommand>) {
        let (tell, commands) = mpsc::channel(4);
        let heard = self.heard.clone();
        let events = Arc::new(move |events: Vec<Event>| {
            for event in events {
                if let Event::Fact { record, seq, .. } = event {
                    heard.lock().unwrap().push(format!("{seq} {} {}", record.fact.word(), record.address));
                }
            }
        });
        (RunHandles { events, notes: true, commands, ask: None }, tell)
    }

    /// Runs to the end, moving the clock on whenever everything waits.
    async fn run(&self, plan: &Arc<Plan>, begin: RunStart) -> Outcome {
        let (wires, _tell) = self.wires();
        let job = RunRequest { run: RunId::new("r"), plan: plan.clone(), begin };
        let driving = drive(&self.house, job, wires);
        tokio::pin!(driving);
        loop {
            tokio::select! {
                biased;
                outcome = &mut driving => return outcome.unwrap(),
                () = settle() => { self.clock.advance_to_next(); }
            }
        }
    }

    fn failures(&self) -> Vec<(Class, String)> {
        let mut failures = Vec::new();
        journal::read(self.house.store.as_ref(), &RunId::new("r"), |_, record| {
            if let Fact::Failed { failure } = record.fact {
                failures.push((failure.class, failure.message));
            }
            Ok(())
        })
        .unwrap();
        failures
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn fresh() -> RunStart {
    RunStart::Fresh { inputs: serde_json::json!({}), seed: 1 }
}

#[tokio::test]
async fn retries_wait_on_the_clock_and_add_up_what_was_spent() {
    let bench = Bench::new();
    let outcome = bench.run(&plan(vec![body(vec![toy_step("a", "flaky")])], &[]), fresh()).await;
    assert!(matches!(outcome.status, RunStatus::Finished { code: 0, .. }), "{outcome:?}");
    assert_eq!(outcome.spent, Meter::new().with("usd", 0.5));
    assert!(bench.clock.now() >= 1_000 + 500 + 1_000, "{}", bench.clock.now());
}

#[tokio::test]
async fn a_timeout_stops_the_attempt_and_keeps_what_it_cost() {
    let bench = Bench::new();
    let mut slow = toy_step("a", "hang");
    slow.timeout = Some(Duration::from_secs(5));
    let outcome = bench.run(&plan(vec![body(vec![slow])], &[]), fresh()).await;
    assert!(matches!(outcome.status, RunStatus::Finished { code: 1, .. }));
    assert_eq!(bench.failures(), [(Class::Timeout, "took longer than 5 s".to_owned())]);
    assert_eq!(bench.toy.cleaned.load(Ordering::SeqCst), 1);
    assert_eq!(outcome.spent, Meter::new().with("usd", 0.5));
}

#[tokio::test]
async fn a_panic_is_a_failure_of_its_step_alone() {
    let bench = Bench::new();
    let steps = vec![toy_step("a", "panic"), toy_step("b", "fine")];
    let outcome = bench.run(&plan(vec![body(steps)], &[("b", "steps.b.output")]), fresh()).await;
    let RunStatus::Finished { code, outputs, .. } = outcome.status else { panic!() };
    assert_eq!((code, &outputs["b"]), (70, &Value::from("fine")));
    assert_eq!(bench.failures()[0], (Class::Bug, "panicked: on purpose".to_owned()));
}

#[tokio::test]
async fn a_cursor_is_on_disk_before_the_verb_goes_on() {
    let bench = Bench::new();
    let outcome = bench
        .run(&plan(vec![body(vec![toy_step("a", "cursor")])], &[("a", "steps.a.output")]), fresh())
        .await;
    let RunStatus::Finished { outputs, .. } = outcome.status else { panic!() };
    assert_eq!(outputs["a"], "batch-7");
    assert!(bench.heard.lock().unwrap().contains(&"3 cursor_saved a".to_owned()));
}

#[tokio::test]
async fn a_killed_run_goes_on_where_it_was() {
    let bench = Bench::new();
    let steps = vec![toy_step("a", "fine"), after(toy_step("b", "hang"), &[0])];
    let plan = plan(vec![body(steps)], &[]);
    let (wires, tell) = bench.wires();
    let job = RunRequest { run: RunId::new("r"), plan: plan.clone(), begin: fresh() };
    let (house, heard) = (bench.house.clone(), bench.heard.clone());
    let driving = tokio::spawn(async move { drive(&house, job, wires).await });
    while !heard.lock().unwrap().iter().any(|line| line.ends_with("started b")) {
        tokio::task::yield_now().await;
    }
    tell.send(RunCommand::Kill).await.unwrap();
    let outcome = driving.await.unwrap();
    // Stopping takes no time: the attempt is cancelled at once, and the run waits for nothing else.
    let outcome = outcome.unwrap();
    assert!(matches!(outcome.status, RunStatus::Paused { pause: Pause::Cancelled, .. }), "{outcome:?}");
    assert_eq!(bench.house.store.head(&RunId::new("r")).unwrap().unwrap().status, "cancelled");

    let again = bench.toy.calls.load(Ordering::SeqCst);
    let (wires, tell) = bench.wires();
    let job = RunRequest { run: RunId::new("r"), plan, begin: RunStart::Resume };
    let (house, toy) = (bench.house.clone(), bench.toy.clone());
    let driving = tokio::spawn(async move { drive(&house, job, wires).await });
    while toy.calls.load(Ordering::SeqCst) == again {
        tokio::task::yield_now().await;
    }
    tell.send(RunCommand::Kill).await.unwrap();
    driving.await.unwrap().unwrap();
    assert_eq!(bench.toy.calls.load(Ordering::SeqCst), again + 1, "`a` was not run again");
}

#[tokio::test]
async fn what_was_on_record_is_told_before_any_news() {
    let bench = Bench::new();
    let plan = plan(vec![body(vec![toy_step("a", "fine")])], &[]);
    bench.run(&plan, fresh()).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = heard.clone();
    let events = Arc::new(move |events: Vec<Event>| {
        let told = events.iter().filter_map(|event| match event {
            Event::Past { record, .. } => Some(format!("past {}", record.fact.word())),
            Event::Fact { record, .. } => Some(format!("fact {}", record.fact.word())),
            Event::Note { .. } => None,
        });
        listener.lock().unwrap().extend(told);
    });
    let (_tell, commands) = mpsc::channel(1);
    let job = RunRequest { run: RunId::new("r"), plan, begin: RunStart::Resume };
    drive(&bench.house, job, RunHandles { events, notes: false, commands, ask: None }).await.unwrap();
    let journal = bench.heard.lock().unwrap().len();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), journal, "{heard:?}");
    assert!(heard.iter().all(|line| line.starts_with("past ")), "{heard:?}");
}

#[tokio::test]
async fn a_second_driver_is_refused_with_the_owner_named() {
    let bench = Bench::new();
    let run = RunId::new("r");
    let _claim = bench.house.store.claim(&run, bench.house.owner.clone()).unwrap();
    let (wires, _tell) = bench.wires();
    let job = RunRequest { run, plan: plan(vec![body(vec![toy_step("a", "fine")])], &[]), begin: fresh() };
    let error = drive(&bench.house, job, wires).await.unwrap_err();
    assert!(error.to_string().contains('1') && error.to_string().contains("here"), "{error}");
}

#[tokio::test]
async fn pure_steps_are_one_commit_each_and_facts_come_in_order() {
    let bench = Bench::new();
    let pure = |id: &str| {
        let with = Tree::Table([("n".to_owned(), template("1"))].into_iter().collect());
        step(id, Action::Verb { name: "set".to_owned(), with, traits: Traits::PURE, again: None })
    };
    let steps = vec![pure("a"), after(pure("b"), &[0]), after(pure("c"), &[1])];
    bench.run(&plan(vec![body(steps)], &[]), fresh()).await;
    let heard = bench.heard.lock().unwrap().clone();
    let numbers: Vec<String> = (1..=heard.len()).map(|n| n.to_string()).collect();
    assert!(heard.iter().zip(&numbers).all(|(line, n)| line.starts_with(n.as_str())), "{heard:?}");
    assert_eq!(heard.len(), 1 + 6 + 1);
}

/// Leaves a signal and waits for its result, while the clock moves on.
async fn left(bench: &Bench, address: &str, question: Option<Digest>, command: (&str, Value)) -> Settled {
    let signal = Signal {
        id: 0,
        run: RunId::new("r"),
        address: Address::new(address),
        question,
        command: command.0.to_owned(),
        value: command.1,
        by: "ada".to_owned(),
        at: 1,
    };
    let id = bench.house.store.signal(&signal).unwrap();
    loop {
        if let Some(settled) = bench.house.store.settlement(id).unwrap() {
            return settled;
        }
        settle().await;
        bench.clock.advance_to_next();
    }
}

fn refused(settled: Settled, why: &str) {
    let Settled::Refused(text) = settled else { panic!("{settled:?}") };
    assert!(text.contains(why), "{text}");
}

#[tokio::test]
async fn signals_reach_a_run_once_each() {
    let bench = Bench::new();
    let plan = plan(vec![body(vec![ask("q"), toy_step("b", "hang")])], &[]);
    let (wires, _tell) = bench.wires();
    let job = RunRequest { run: RunId::new("r"), plan: plan.clone(), begin: fresh() };
    let (house, heard) = (bench.house.clone(), bench.heard.clone());
    let driving = tokio::spawn(async move { drive(&house, job, wires).await });
    while !heard.lock().unwrap().iter().any(|line| line.ends_with("asked q")) {
        tokio::task::yield_now().await;
    }
    let mut digest = None;
    journal::read(bench.house.store.as_ref(), &RunId::new("r"), |_, record| {
        if let Fact::Asked(question) = record.fact {
            digest = question.digest;
        }
        Ok(())
    })
    .unwrap();
    assert!(digest.is_some());
    let yes = || ("answer", serde_json::json!({"answer": "yes", "note": "fine by me"}));
    refused(left(&bench, "q", Some(Digest::of("other")), yes()).await, "the question has changed since");
    refused(left(&bench, "nowhere", None, yes()).await, "no question waits at `nowhere`");
    refused(left(&bench, "q", None, ("answer", serde_json::json!({"answer": 7}))).await, "text");
    let Settled::Taken(seq) = left(&bench, "q", digest, yes()).await else { panic!("refused") };
    let line = bench.heard.lock().unwrap()[usize::try_from(seq).unwrap() - 1].clone();
    assert_eq!(line, format!("{seq} answered q"));
    refused(left(&bench, "q", digest, yes()).await, "by ada: \"yes\"");
    assert!(matches!(
        left(&bench, "", None, ("limit", serde_json::json!({"usd": 3}))).await,
        Settled::Taken(_)
    ));
    refused(left(&bench, "", None, ("limit", Value::from("usd"))).await, "a limit");
    refused(left(&bench, "", None, ("dance", Value::Null)).await, "`dance`");
    assert!(matches!(left(&bench, "", None, ("kill", Value::Null)).await, Settled::Taken(_)));
    let outcome = driving.await.unwrap().unwrap();
    assert!(matches!(outcome.status, RunStatus::Paused { pause: Pause::Cancelled, .. }), "{outcome:?}");
    assert_eq!(bench.heard.lock().unwrap().iter().filter(|line| line.ends_with(" answered q")).count(), 1);
}

#[tokio::test]
async fn an_answer_that_waits_for_a_resume_is_taken_by_it_and_a_pause_is_not() {
    let bench = Bench::new();
    let plan = plan(vec![body(vec![ask("q")])], &[("q", "steps.q.output")]);
    let outcome = bench.run(&plan, fresh()).await;
    assert!(matches!(outcome.status, RunStatus::Paused { pause: Pause::Waiting, .. }));
    let leave = |command: &str, value: Value| {
        let (address, by) = (if command == "answer" { "q" } else { "" }, "ada".to_owned());
        bench.house.store.signal(&Signal {
            id: 0,
            run: RunId::new("r"),
            address: Address::new(address),
            question: None,
            command: command.to_owned(),
            value,
            by,
            at: 1,
        })
    };
    let pause = leave("pause", Value::Null).unwrap();
    let answer = leave("answer", serde_json::json!({"answer": "yes"})).unwrap();
    let late = leave("answer", serde_json::json!({"answer": "no"})).unwrap();
    let outcome = bench.run(&plan, RunStart::Resume).await;
    let RunStatus::Finished { outputs, .. } = outcome.status else { panic!("{outcome:?}") };
    assert_eq!(outputs["q"], "yes", "the first answer counts");
    let settled = |id| bench.house.store.settlement(id).unwrap().unwrap();
    refused(settled(pause), "no process");
    assert!(matches!(settled(answer), Settled::Taken(_)));
    refused(settled(late), "in the meantime");
}
