//! Steps that run again although nothing failed, and calls that are made again.

use std::sync::Arc;

use super::plans::template;
use super::plans::{after, body, each, expr, plan, step, verb};
use super::world::World;
use crate::engine::Fact;
use crate::plan::{Action, Call, Plan, Step};

fn call(id: &str, inner: Arc<Plan>) -> Step {
    step(id, Action::Call(Call { plan: inner, with: Vec::new(), inherited: Vec::new() }))
}

/// A call that is made again twice, because `until` never comes true, and then a step that reads it.
fn calls(until: &str) -> Arc<Plan> {
    let leaf = body(vec![verb("leaf", template("{{ item_1 }}"))]);
    let root = body(vec![verb("a", template("x")), each("all", "range(3)", 1)]);
    let inner = plan(vec![root, leaf], &[("a", "steps.a.output if steps.a.ok else none")]);
    let mut calling = call("c", inner);
    calling.retry.until = Some(expr(until));
    calling.retry.on.clear();
    calling.tells_spent = true;
    plan(
        vec![body(vec![calling, after(verb("z", template("{{ steps.c.spent }}")), &[0])])],
        &[("c", "steps.c.output"), ("calls", "steps.c.spent.calls")],
    )
}

fn faltered(world: &World, address: &str) -> usize {
    let again = |fact: &Fact| matches!(fact, Fact::Faltered { waits: None, .. });
    world.journal.iter().filter(|record| record.address.as_str() == address && again(&record.fact)).count()
}

#[test]
fn a_call_that_is_made_again_ends_the_same_from_every_prefix() {
    let plan = calls("1 > 2");
    // One in which nothing inside fails for good: the call itself succeeds.
    let fate = (0..200).find(|fate| {
        let mut world = World::new(plan.clone(), *fate);
        world.run();
        faltered(&world, "c") == 2 && world.ends()["c"].starts_with("succeeded")
    });
    let fate = fate.unwrap();
    let mut whole = World::new(plan.clone(), fate);
    whole.run();
    let opened =
        whole.journal.iter().filter(|r| matches!(r.fact, Fact::Opened { .. }) && r.address.as_str() == "c");
    assert_eq!(opened.count(), 3);
    for cut in 0..=whole.journal.len() {
        let mut world = World::new(plan.clone(), fate);
        world.blobs = whole.blobs.clone();
        world.journal = whole.journal[..cut].to_vec();
        world.run();
        assert_eq!(world.ends()["c"], whole.ends()["c"], "cut after {cut}");
        assert_eq!(faltered(&world, "c"), 2, "cut after {cut}");
    }
}

#[test]
fn a_call_whose_output_is_what_is_waited_for_is_made_once() {
    let mut world = World::new(calls("output.a is not none or true"), 3);
    world.run();
    assert_eq!(faltered(&world, "c"), 0);
}

#[test]
fn a_leaf_runs_again_until_its_output_is_right_and_its_last_output_counts() {
    let mut polled = verb("p", template("x"));
    polled.retry.until = Some(expr("output.n > 9"));
    polled.retry.on.clear();
    let plan = plan(vec![body(vec![polled])], &[("p", "steps.p.output.n")]);
    let fate = (0..200).find(|fate| {
        let mut world = World::new(plan.clone(), *fate);
        world.run();
        world.ends().get("p").is_some_and(|end| end.starts_with("succeeded"))
    });
    let mut world = World::new(plan, fate.unwrap());
    world.run();
    assert_eq!((faltered(&world, "p"), world.started[&crate::id::Address::new("p")]), (2, 3));
}
