//! What runs because the run pauses: the facts of it, and what it sees.

use std::sync::Arc;

use serde_json::json;

use super::super::{Fact, Order, Pause, Report, Run, RunStatus};
use super::plans::{after, ask, body, plan, rounds, template, verb};
use super::waits::{fine, settle, states};
use super::world::World;
use crate::id::Address;
use crate::plan::{Plan, Step};
use crate::value::Value;
use crate::verb::Failure;

fn at_pause(id: &str, text: &str, places: &[usize]) -> Step {
    Step { on_pause: true, ..after(verb(id, template(text)), places) }
}

/// A loop that asks in each round, `deliver`, which reads it, and `report`, which reads both and stands before them.
fn asking() -> Arc<Plan> {
    let steps = vec![
        rounds("rounds", "1", &[], 1),
        at_pause("deliver", "{{ steps.rounds.output.sum }} {{ steps.rounds.output.status }}", &[0]),
        at_pause("report", "{{ steps.deliver.output }}", &[1]),
    ];
    let outputs = [("sum", "steps.rounds.output.sum"), ("report", "steps.report.output.none.at.all")];
    plan(vec![body(steps), body(vec![ask("q")])], &outputs)
}

fn facts(world: &World) -> Vec<String> {
    let told = world.journal.iter().filter_map(|record| match &record.fact {
        Fact::PausedStep { step, failure, .. } => Some(format!("{step} {}", failure.is_none())),
        Fact::Paused { .. } | Fact::Resumed => Some(record.fact.word().to_owned()),
        _ => None,
    });
    told.collect()
}

fn answer(run: &mut Run, now: u64, round: u32) {
    let address = Address::new(format!("rounds#{round}/q"));
    let report = Report::Answered { address, answer: "yes".into(), by: "ada".into(), note: None };
    run.resume_with(now, vec![report]).unwrap();
}

#[test]
fn steps_run_once_in_each_pause_on_what_there_is_so_far() {
    let mut world = World::new(asking(), 1);
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    assert_eq!(facts(&world), ["paused"], "no round is closed");
    assert_eq!(run.outputs_so_far(), json!({}));
    answer(&mut run, 100, 1);
    settle(&mut run, &mut world, &fine);
    assert_eq!(facts(&world)[1..], ["resumed", "paused", "deliver true", "report true"]);
    assert_eq!(run.outputs_so_far(), json!({"sum": 1}));
    assert!(!run.is_busy());
    assert_eq!(states(&run).0, Pause::Waiting);
    assert!(!world.ends().contains_key("deliver"), "that is no outcome");
    assert_eq!(world.refold().outputs_so_far(), json!({"sum": 1}), "the journal says the same");
    let mut run = world.refold();
    answer(&mut run, 200, 2);
    settle(&mut run, &mut world, &fine);
    assert_eq!(facts(&world)[5..], ["resumed", "paused", "deliver true", "report true"]);
    answer(&mut run, 300, 3);
    settle(&mut run, &mut world, &fine);
    assert!(world.ends()["deliver"].starts_with("succeeded"), "they run again at their time");
    assert!(world.ends()["report"].starts_with("succeeded"));
    assert!(matches!(run.status(), RunStatus::Finished { .. }));
}

/// A run that pauses with one closed round, and the order that follows.
fn paused(world: &mut World) -> (Run, Vec<Order>) {
    let mut run = world.begin();
    settle(&mut run, world, &fine);
    answer(&mut run, 100, 1);
    let turn = run.next(101).unwrap();
    world.take(turn.records);
    let [Order::Ask { address, .. }] = turn.orders.as_slice() else { panic!("{:?}", turn.orders) };
    run.report(102, Report::Unasked { address: address.clone() }).unwrap();
    let turn = run.next(103).unwrap();
    world.take(turn.records);
    (run, turn.orders)
}

#[test]
fn an_attempt_in_a_pause_is_bounded_and_counts_for_nothing() {
    let mut world = World::new(asking(), 1);
    let (mut run, orders) = paused(&mut world);
    let [Order::Run(attempt)] = orders.as_slice() else { panic!("one at a time: {orders:?}") };
    assert_eq!((attempt.address.as_str(), attempt.number, attempt.pause), ("deliver", 0, 2));
    assert_eq!((attempt.with.clone(), attempt.key), (Value::from("1 running"), None));
    assert_eq!(attempt.timeout.unwrap().as_secs(), 30);
    assert!(run.is_busy(), "the run does not end before it has");
    let result = Err(Failure::transient("no"));
    run.report(110, Report::Ran { address: attempt.address.clone(), attempt: 0, result, cached: false })
        .unwrap();
    let turn = run.next(111).unwrap();
    world.take(turn.records);
    assert!(turn.orders.is_empty(), "it is not tried again, and what reads it does not run");
    assert_eq!(facts(&world).last().unwrap(), "deliver false");
    assert!(!run.is_busy());
}

#[test]
fn a_kill_skips_what_has_not_ended() {
    let mut world = World::new(asking(), 1);
    let (mut run, orders) = paused(&mut world);
    assert_eq!(orders.len(), 1);
    run.report(110, Report::Kill).unwrap();
    let result = Err(Failure::cancelled());
    let ran = Report::Ran { address: Address::new("deliver"), attempt: 0, result, cached: false };
    run.report(111, ran).unwrap();
    let turn = run.next(112).unwrap();
    assert!(turn.orders.is_empty() && turn.records.is_empty() && !run.is_busy());
}
