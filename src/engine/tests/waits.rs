//! Waiting is per step: whatever waits, everything else is carried out, and the run pauses only after that.

use std::time::Duration;

use proptest::prelude::*;

use super::super::node::Node;
use super::super::{Bounds, Fact, Known, Order, Pause, Refusal, Report, Run, RunStatus};
use super::plans::{after, ask, body, each, expr, hold, plan, template, verb};
use super::prefixes::{random_plan, settled, sketch};
use super::world::{World, evaluated, late};
use crate::id::Address;
use crate::meter::Meter;
use crate::plan::Limit;
use crate::value::Value;
use crate::verb::{Class, Failure, Output};

/// A paused run has nothing left that could proceed, and says why every step waits.
fn check_pause(run: &Run) {
    let RunStatus::Paused { pause, reasons, .. } = run.status() else { panic!("{:?}", run.status()) };
    assert_eq!(Some(*pause), reasons.first().map(|reason| reason.pause));
    assert!(reasons.is_sorted_by_key(|reason| reason.pause));
    assert!(run.lanes.values().all(|lane| lane.queue.is_empty()));
    for (id, frame) in &run.frames {
        for (place, node) in frame.nodes.iter().enumerate() {
            let address = run.address((*id, place));
            let told = reasons.iter().any(|reason| reason.address == address);
            match node {
                Node::Blocked { .. } | Node::Asking { .. } => assert!(told, "`{address}` waits untold"),
                Node::Waiting => assert!(frame.waits[place] > 0, "`{address}` could have begun"),
                Node::Running(_) | Node::Resting { .. } | Node::Cut(_) | Node::Answered { .. } => {
                    panic!("`{address}` could have gone on")
                }
                Node::Open(_) | Node::Done(_) | Node::Failed(..) | Node::Skipped(_) => {}
            }
        }
    }
}

/// A world in which providers are down at first and questions are often answered only after the run has paused.
fn waiting(plan: std::sync::Arc<crate::plan::Plan>, fate: u64) -> World {
    World { waits: true, check_pause: Some(check_pause), ..World::new(plan, fate) }
}

fn answers(world: &World) -> usize {
    world.journal.iter().filter(|record| matches!(record.fact, Fact::Answered { .. })).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_run_with_waits_ends_like_one_without_from_any_prefix(
        sketches in prop::collection::vec(sketch(), 1..5),
        fate in any::<u64>(),
    ) {
        let plan = random_plan(&sketches);
        let mut smooth = World::new(plan.clone(), fate);
        smooth.run();
        let mut whole = waiting(plan.clone(), fate);
        whole.run();
        prop_assert_eq!(whole.ends(), smooth.ends());
        let step = (whole.journal.len() / 16).max(1);
        for cut in (0..=whole.journal.len()).step_by(step) {
            let mut world = waiting(plan.clone(), fate);
            world.blobs = whole.blobs.clone();
            world.journal = whole.journal[..cut].to_vec();
            world.run();
            prop_assert_eq!(world.ends(), smooth.ends(), "cut after {} of {}", cut, whole.journal.len());
            for address in settled(&world, cut) {
                prop_assert!(!world.started.contains_key(&address), "{} ran again after {}", address, cut);
            }
        }
    }
}

pub(super) fn states(run: &Run) -> (Pause, Vec<(String, String)>) {
    let RunStatus::Paused { pause, reasons, .. } = run.status() else { panic!("{:?}", run.status()) };
    let reasons = reasons.iter().map(|reason| (reason.address.to_string(), reason.message.clone()));
    (*pause, reasons.collect())
}

/// Carries out everything that does not wait: nobody is asked, and `end` says what comes of attempts.
pub(super) fn settle(
    run: &mut Run,
    journal: &mut World,
    end: &dyn Fn(&str) -> Result<Output<Value>, Failure>,
) {
    let mut now = 10;
    loop {
        let turn = run.next(now).unwrap();
        journal.take(turn.records);
        if turn.orders.is_empty() {
            return;
        }
        for order in turn.orders {
            now += 1;
            let report = match order {
                Order::Run(attempt) => Report::Ran {
                    result: end(attempt.address.as_str()),
                    address: attempt.address,
                    attempt: attempt.number,
                    cached: false,
                },
                Order::Acquire(attempt) => Report::Acquired {
                    address: attempt.address,
                    attempt: attempt.number,
                    result: Ok(Value::Null),
                },
                Order::Release(address) => Report::Released { address, held: None },
                Order::Ask { address, .. } => Report::Unasked { address },
                Order::Compute { address, work, .. } => evaluated(address, work),
                Order::Evaluate { work, .. } => late(&work),
                Order::Read { address, .. } => Report::Read { address, values: Ok(Vec::new()) },
            };
            run.report(now, report).unwrap();
        }
    }
}

pub(super) fn fine(_: &str) -> Result<Output<Value>, Failure> {
    Ok(Output::free(Value::from("fine")))
}

#[test]
fn a_question_holds_up_only_what_needs_its_answer() {
    let item = body(vec![
        verb("make", template("x")),
        after(ask("approve"), &[0]),
        after(verb("publish", template("x")), &[1]),
    ]);
    let steps = vec![
        ask("q"),
        verb("a", template("x")),
        after(verb("b", template("x")), &[1]),
        each("all", "range(3)", 1),
    ];
    let mut world = World::new(plan(vec![body(steps), item], &[]), 1);
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    check_pause(&run);
    let (pause, reasons) = states(&run);
    assert_eq!(pause, Pause::Waiting);
    let asked: Vec<&str> = reasons.iter().map(|(address, _)| address.as_str()).collect();
    assert_eq!(
        asked,
        ["all[0]/approve", "all[1]/approve", "all[2]/approve", "q"],
        "all questions are told at once"
    );
    let ends = world.ends();
    for done in ["a", "b", "all[0]/make", "all[2]/make"] {
        assert!(ends[done].starts_with("succeeded"), "{done}");
    }
    let answer = |address: &str| Report::Answered {
        address: Address::new(address),
        answer: "yes".into(),
        by: "ada".into(),
        note: None,
    };
    let mut run = world.refold();
    run.resume_with(100, vec![answer("all[1]/approve")]).unwrap();
    settle(&mut run, &mut world, &fine);
    assert!(world.ends().contains_key("all[1]/publish"));
    assert_eq!(states(&run).1.len(), 3);
    let mut run = world.refold();
    run.resume_with(200, ["q", "all[0]/approve", "all[2]/approve"].map(answer).into()).unwrap();
    settle(&mut run, &mut world, &fine);
    assert!(matches!(run.status(), RunStatus::Finished { code: 0, .. }));
    assert_eq!(answers(&world), 4);
}

#[test]
fn the_first_reason_in_the_table_decides_the_exit_code_and_all_are_told() {
    let steps = vec![
        ask("q"),
        verb("down", template("x")),
        verb("locked", template("x")),
        verb("free", template("x")),
    ];
    let mut world = World::new(plan(vec![body(steps)], &[]), 1);
    let mut run = world.begin();
    let end = |address: &str| match address {
        "down" => Err(Failure::permanent("no route").outage()),
        "locked" => Err(Failure::new(Class::Auth, "no key").hint("set KEY")),
        _ => fine(address),
    };
    settle(&mut run, &mut world, &end);
    check_pause(&run);
    let (pause, reasons) = states(&run);
    assert_eq!((pause, pause.status().code), (Pause::Auth, 7));
    let told: Vec<&str> = reasons.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!(told, ["`locked`: no key: set KEY", "`down`: no route", "`q` asks: sure?"]);
    assert!(world.ends()["free"].starts_with("succeeded"));
    let mut run = world.refold();
    run.resume(1_000).unwrap();
    settle(&mut run, &mut world, &fine);
    assert_eq!(states(&run), (Pause::Waiting, vec![("q".to_owned(), "`q` asks: sure?".to_owned())]));
    assert!(world.ends()["down"].starts_with("succeeded") && world.ends()["locked"].starts_with("succeeded"));
}

fn capped(steps: Vec<crate::plan::Step>) -> World {
    let mut plan = plan(vec![body(steps)], &[]);
    let plan_mut = std::sync::Arc::get_mut(&mut plan).unwrap();
    plan_mut.limits.push(Limit { unit: crate::meter::Unit::parse("usd").unwrap(), cap: expr("1") });
    plan_mut.lanes.insert("toy".to_owned(), 1);
    let mut world = World::new(plan, 1);
    world.settings.bounds = Some(Bounds::new(|_, with, _| {
        let usd: f64 = with.as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        (usd > 0.0).then(|| Meter::new().with("usd", usd))
    }));
    world
}

#[test]
fn a_step_that_cannot_be_paid_lets_the_others_of_its_lane_go_first() {
    let steps = vec![
        verb("big", template("5")),
        verb("free", template("0")),
        verb("small", template("0.5")),
        after(verb("last", template("0")), &[1]),
    ];
    let mut world = capped(steps);
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    check_unpaid(&run);
    for done in ["free", "small", "last"] {
        assert!(world.ends()[done].starts_with("succeeded"), "{done}");
    }
    let mut run = world.refold();
    let caps = indexmap::IndexMap::from([(crate::meter::Unit::Usd, 10.0)]);
    run.resume_with(500, vec![Report::Limits { caps, by: "ada".into() }]).unwrap();
    settle(&mut run, &mut world, &fine);
    assert!(matches!(run.status(), RunStatus::Finished { code: 0, .. }));
}

fn check_unpaid(run: &Run) {
    let (pause, reasons) = states(run);
    assert_eq!((pause, pause.status().code), (Pause::Budget, 5));
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].1.starts_with("`big` may take up to 5 usd"), "{reasons:?}");
}

#[test]
fn a_limit_that_is_raised_under_way_lets_a_waiting_step_begin() {
    let mut world = capped(vec![verb("big", template("5")), verb("slow", template("0"))]);
    let mut run = world.begin();
    let turn = run.next(1).unwrap();
    assert_eq!(turn.orders.len(), 1, "only `slow` has begun");
    let caps = indexmap::IndexMap::from([(crate::meter::Unit::Usd, 10.0)]);
    run.report(2, Report::Limits { caps, by: "ada".into() }).unwrap();
    let slow = Report::Ran { address: Address::new("slow"), attempt: 1, result: fine(""), cached: false };
    run.report(3, slow).unwrap();
    let turn = run.next(3).unwrap();
    assert!(matches!(&turn.orders[..], [Order::Run(attempt)] if attempt.address.as_str() == "big"));
}

#[test]
fn an_answer_outlives_the_loss_of_what_was_held_around_its_question() {
    let inner = body(vec![verb("a", template("x")), after(ask("first"), &[0]), after(ask("second"), &[1])]);
    let mut world = World::new(plan(vec![body(vec![hold("box", 1)]), inner], &[]), 1);
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    for question in ["box/first", "box/second"] {
        assert_eq!(states(&run).1[0].0, question);
        run = world.refold();
        let address = Address::new(question);
        let report = Report::Answered { address, answer: "yes".into(), by: "ada".into(), note: None };
        run.resume_with(50, vec![report]).unwrap();
        settle(&mut run, &mut world, &fine);
    }
    assert!(matches!(run.status(), RunStatus::Finished { code: 0, .. }), "{:?}", run.status());
    let by_ada = world
        .journal
        .iter()
        .filter(|record| matches!(&record.fact, Fact::Answered { by, .. } if by == "ada"));
    assert!(by_ada.count() > 2, "an answer that is reused keeps its author");
}

fn dated(default: Option<&str>, at_deadline: Option<&str>, deadline: Duration) -> World {
    let mut step = ask("q");
    if let crate::plan::Action::Ask(ask) = &mut step.action {
        ask.deadline = Some(deadline);
        ask.default = default.map(template);
        ask.at_deadline = at_deadline.map(template);
    }
    World::new(plan(vec![body(vec![step])], &[("q", "steps.q.output if steps.q.ok else none")]), 1)
}

fn answered(world: &World) -> Option<(Value, String)> {
    world.journal.iter().find_map(|record| match &record.fact {
        Fact::Answered { answer, by, .. } => Some((answer.clone(), by.clone())),
        _ => None,
    })
}

#[test]
fn a_deadline_is_kept_without_a_person() {
    let soon = Duration::from_secs(30);
    // Nobody can be asked: the default is taken at once.
    let mut world = dated(Some("no"), Some("late"), soon);
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    assert_eq!(answered(&world), Some(("no".into(), "default".into())));
    // Without one the run waits for a deadline that is near, and takes what is said for it.
    for (at_deadline, end) in [(Some("late"), Some(("late".into(), "deadline".to_owned()))), (None, None)] {
        let mut world = dated(None, at_deadline, soon);
        let mut run = world.begin();
        settle(&mut run, &mut world, &fine);
        assert_eq!(run.status(), &RunStatus::Going);
        let turn = run.next(30_010).unwrap();
        world.take(turn.records);
        assert_eq!(answered(&world), end);
        if at_deadline.is_none() {
            assert!(world.ends()["q"].contains("no answer within 30 s"), "{:?}", world.ends());
        }
    }
    // One that is far pauses the run, and is kept when the run is resumed after it.
    let mut world = dated(None, Some("late"), Duration::from_secs(3 * 86_400));
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    assert_eq!(states(&run).0, Pause::Waiting);
    let mut run = world.refold();
    run.resume(3 * 86_400_000 + 11).unwrap();
    let turn = run.next(3 * 86_400_000 + 11).unwrap();
    assert!(turn.orders.is_empty(), "nobody is asked after the deadline");
    world.take(turn.records);
    assert_eq!(answered(&world), Some(("late".into(), "deadline".into())));
}

#[test]
fn an_answer_after_the_deadline_is_none() {
    let day = 86_400_000;
    let mut world = dated(None, Some("late"), Duration::from_secs(86_400));
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    let (q, yes) = (Address::new("q"), Value::from("yes"));
    assert_eq!(run.refuses(&q, None, &yes, day), None);
    let late = run.refuses(&q, None, &yes, day + 20);
    assert!(matches!(late, Some(Refusal::Late(until)) if until <= day + 20), "{late:?}");
    // Where the answer is refused, what was to be taken at the deadline is.
    let mut run = world.refold();
    run.resume(day + 20).unwrap();
    world.take(run.next(day + 20).unwrap().records);
    assert_eq!(answered(&world), Some(("late".into(), "deadline".into())));
}

#[test]
fn an_answer_is_refused_for_another_question_and_after_the_first() {
    let mut world = World::new(plan(vec![body(vec![ask("q"), ask("r")])], &[]), 1);
    let mut run = world.begin();
    let turn = run.next(1).unwrap();
    let digest = turn.orders.iter().find_map(|order| match order {
        Order::Ask { address, question } if address.as_str() == "q" => question.digest,
        _ => None,
    });
    let (q, yes) = (Address::new("q"), Value::from("yes"));
    assert_eq!(run.refuses(&q, digest, &yes, 2), None);
    assert_eq!(run.refuses(&q, None, &yes, 2), None);
    assert_eq!(run.refuses(&Address::new("r"), digest, &yes, 2), Some(Refusal::Changed));
    assert_eq!(run.refuses(&Address::new("s"), None, &yes, 2), Some(Refusal::NotAsked));
    assert!(matches!(run.refuses(&q, digest, &Value::from(3), 2), Some(Refusal::Unfit(_))));
    let report = Report::Answered { address: q.clone(), answer: yes.clone(), by: "ada".into(), note: None };
    run.report(2, report).unwrap();
    let known = Known { answer: yes.clone(), by: "ada".into(), at: 2, question: digest };
    assert_eq!(run.refuses(&q, digest, &yes, 2), Some(Refusal::Answered(known)));
}
