//! What was booked for calls that were sent in vain is replaced once the same call is answered.

use std::sync::Arc;

use super::super::{Bounds, Fact, Order, Report, Run};
use super::plans::{body, expr, hold, plan, template, verb};
use super::world::World;
use crate::id::Address;
use crate::meter::Meter;
use crate::plan::{Limit, Plan, Step};
use crate::verb::{Failure, Output};

fn usd(usd: f64) -> Meter {
    Meter::new().with("calls", 1.0).with("usd", usd).paid("acme/big", "judge")
}

fn near(sum: &Meter, right: f64) {
    assert!((sum.get("usd") - right).abs() < 1e-9, "{sum:?}, and not {right}");
}

fn world(plan: Arc<Plan>) -> World {
    let mut world = World::new(plan, 1);
    world.settings.bounds = Some(Bounds::new(|name, _, _| (name == "toy").then(|| usd(10.0))));
    world
}

/// The process is killed, and another one resumes the run.
fn killed(world: &mut World, run: Run) -> Run {
    drop(run);
    let mut run = world.refold();
    run.resume(1).unwrap();
    run
}

fn started(world: &mut World, run: &mut Run) -> (Address, u32, Meter) {
    for _ in 0..10 {
        let turn = run.next(1).unwrap();
        world.journal.extend(turn.records);
        for order in turn.orders {
            match order {
                Order::Run(attempt) => return (attempt.address, attempt.number, attempt.unsettled),
                Order::Acquire(attempt) => {
                    let (address, attempt) = (attempt.address, attempt.number);
                    run.report(1, Report::Acquired { address, attempt, result: Ok(1.into()) }).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("nothing is started: {:?}", run.status());
}

fn answered(run: &mut Run, (address, attempt, _): &(Address, u32, Meter), instead: &Meter) {
    let (address, attempt, instead) = (address.clone(), *attempt, instead.clone());
    run.report(2, Report::Settled { address: address.clone(), attempt, instead }).unwrap();
    let result = Ok(Output { value: "x".into(), spent: usd(1.0) });
    run.report(2, Report::Ran { address, attempt, result, cached: false }).unwrap();
}

fn limited(mut plan: Arc<Plan>, cap: &str) -> Arc<Plan> {
    let limit = Limit { unit: crate::meter::Unit::parse("usd").unwrap(), cap: expr(cap) };
    Arc::get_mut(&mut plan).unwrap().limits.push(limit);
    plan
}

fn echo(id: &str, words: &str) -> Step {
    verb(id, template(words))
}

#[test]
fn lost_calls_are_settled_at_the_price_of_the_answer() {
    let mut world = world(plan(vec![body(vec![echo("a", "x")])], &[]));
    let mut run = world.begin();
    assert!(started(&mut world, &mut run).2.is_empty());
    let mut run = killed(&mut world, run);
    started(&mut world, &mut run);
    let mut run = killed(&mut world, run);
    let attempt = started(&mut world, &mut run);
    assert_eq!(attempt.2, usd(10.0).times(2.0).paid("acme/big", "judge").with("lost", 2.0));
    near(run.spent(), 20.0);
    answered(&mut run, &attempt, &usd(2.0).with("calls", 1.0).with("estimated", 2.0));
    near(run.spent(), 3.0);
    world.journal.extend(run.next(3).unwrap().records);
    let facts: Meter =
        world.journal.iter().filter_map(|record| record.fact.spent()).fold(Meter::new(), |mut sum, spent| {
            sum.absorb_shares(spent);
            sum
        });
    assert_eq!(facts.plain(), run.spent().plain(), "the sum is the sum of the facts");
    assert_eq!((facts.get("lost"), facts.get("estimated"), facts.get("calls")), (0.0, 2.0, 3.0));
    near(&facts.shares()[0].meter(), 3.0);
    near(world.refold().spent(), 3.0);
}

#[test]
fn what_is_settled_pays_for_others() {
    let steps = vec![echo("a", "x"), echo("b", "y")];
    let mut world = world(limited(plan(vec![body(steps)], &[]), "31"));
    let mut run = world.begin();
    started(&mut world, &mut run);
    let mut run = killed(&mut world, run);
    let attempt = started(&mut world, &mut run);
    assert_eq!(attempt.0.as_str(), "a");
    answered(&mut run, &attempt, &usd(1.0).with("estimated", 1.0));
    assert_eq!(started(&mut world, &mut run).0.as_str(), "b", "12 are spent, 10 fit");
}

#[test]
fn another_input_settles_nothing() {
    let mut world = world(plan(vec![body(vec![echo("a", "{{ attempt.n }}")])], &[]));
    let mut run = world.begin();
    started(&mut world, &mut run);
    let mut run = killed(&mut world, run);
    let attempt = started(&mut world, &mut run);
    assert!(attempt.2.is_empty());
    answered(&mut run, &attempt, &usd(1.0));
    near(run.spent(), 11.0);
}

#[test]
fn a_body_that_runs_again_books_and_settles_what_was_in_flight() {
    let mut inner = body(vec![echo("a", "x")]);
    inner.steps[0].budget.push(Limit { unit: crate::meter::Unit::parse("usd").unwrap(), cap: expr("12") });
    let mut world = world(plan(vec![body(vec![hold("box", 1)]), inner], &[]));
    let mut run = world.begin();
    started(&mut world, &mut run);
    let mut run = killed(&mut world, run);
    near(run.spent(), 10.0);
    let attempt = started(&mut world, &mut run);
    assert_eq!((attempt.0.as_str(), attempt.2.get("lost")), ("box/a", 1.0));
    answered(&mut run, &attempt, &usd(2.0).with("estimated", 1.0));
    near(run.spent(), 3.0);
}

#[test]
fn a_failed_attempt_that_was_not_answered_is_settled_by_the_next() {
    let mut step = echo("a", "x");
    step.retry.max = 1;
    step.retry.on = vec![crate::verb::Class::Transient];
    let mut world = world(plan(vec![body(vec![step])], &[]));
    let mut run = world.begin();
    let (address, attempt, _) = started(&mut world, &mut run);
    let lost = usd(10.0).with("lost", 1.0);
    let failure = Failure::transient("cut").spent(lost.clone()).unsettled(lost);
    run.report(1, Report::Ran { address, attempt, result: Err(failure), cached: false }).unwrap();
    let turn = run.next(1).unwrap();
    world.journal.extend(turn.records);
    let turn = run.next(turn.wake.unwrap()).unwrap();
    let Some(Order::Run(attempt)) = turn.orders.into_iter().next() else { panic!() };
    assert_eq!((attempt.number, attempt.unsettled.get("lost")), (2, 1.0));
    let settled = (attempt.address, attempt.number, attempt.unsettled);
    answered(&mut run, &settled, &usd(1.0).with("estimated", 1.0));
    near(run.spent(), 2.0);
}

#[test]
fn what_only_waited_costs_nothing_and_what_is_left_over_is_free() {
    for (cursor, cost, lost) in [
        (serde_json::json!({"attempt": 1, "spent": {}, "waiting": usd(10.0)}), 0.0, 0.0),
        (serde_json::json!({"attempt": 1, "spent": usd(2.0), "free": {"usd": 8}}), 2.0, 0.0),
        (serde_json::json!({"attempt": 1, "spent": {}}), 10.0, 1.0),
        (serde_json::json!({"attempt": 0, "spent": usd(2.0), "free": {"usd": 8}}), 10.0, 1.0),
    ] {
        let mut world = world(plan(vec![body(vec![echo("a", "x")])], &[]));
        let mut run = world.begin();
        let (address, attempt, _) = started(&mut world, &mut run);
        run.report(1, Report::Cursor { address, attempt, cursor: cursor.clone() }).unwrap();
        world.journal.extend(run.next(1).unwrap().records);
        let run = killed(&mut world, run);
        near(run.spent(), cost);
        assert!((run.spent().get("lost") - lost).abs() < 1e-9, "{cursor}");
    }
    assert!(matches!(Fact::Settled { spent: Meter::new() }.word(), "settled"));
}
