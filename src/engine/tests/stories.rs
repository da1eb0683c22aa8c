//! Single behaviours, told one by one.

use super::super::{Bounds, Fact, Pause, Report, RunStatus, SkipReason};
use super::plans::{after, body, each, expr, hold, plan, rounds, template, verb};
use super::world::World;
use crate::id::Address;
use crate::meter::Meter;
use crate::plan::{Limit, OnInterrupt};

fn words(world: &World, address: &str) -> Vec<&'static str> {
    world
        .journal
        .iter()
        .filter(|record| record.address.as_str() == address)
        .map(|record| record.fact.word())
        .collect()
}

#[test]
fn a_skip_names_its_culprit_and_a_condition_its_values() {
    let mut first = verb("first", template("x"));
    first.when = Some(expr("run.spent.calls > 3"));
    let second = after(verb("second", template("{{ steps.first.output }}")), &[0]);
    let mut world = World::new(plan(vec![body(vec![first, second])], &[]), 1);
    world.run();
    let reason = |address: &str| {
        world.journal.iter().find_map(|record| match &record.fact {
            Fact::Skipped { reason } if record.address.as_str() == address => Some(reason.clone()),
            _ => None,
        })
    };
    let Some(SkipReason::When { expression, values }) = reason("first") else { panic!() };
    assert_eq!(expression, "run.spent.calls > 3");
    assert_eq!(values["run.spent.calls"], 0.0);
    assert_eq!(reason("second"), Some(SkipReason::AfterSkip { step: "first".to_owned() }));
}

#[test]
fn a_round_goes_let_next_rule_exit_and_is_one_fact() {
    let inner = body(vec![verb("inner", template("x"))]);
    let root = body(vec![rounds("converge", "0", &[], 1)]);
    let mut world = World::new(plan(vec![root, inner], &[("sum", "steps.converge.output.sum")]), 3);
    let run = world.run();
    let closed: Vec<_> = world
        .journal
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::RoundClosed { rule, exit, .. } => {
                Some((record.address.to_string(), rule.clone(), exit.clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        closed,
        [
            ("converge#1".to_owned(), None, None),
            ("converge#2".to_owned(), Some("nudge".to_owned()), None),
            ("converge#3".to_owned(), None, None),
        ]
    );
    let RunStatus::Finished { outputs, .. } = run.status() else { panic!() };
    assert_eq!(outputs["sum"], 1);
}

#[test]
fn a_lost_hold_runs_its_body_again_from_the_start() {
    let inner =
        body(vec![verb("a", template("x")), after(verb("b", template("{{ steps.a.output.n }}")), &[0])]);
    let root = body(vec![hold("box", 1)]);
    let plan = plan(vec![root, inner], &[]);
    let mut whole = World::new(plan.clone(), 11);
    whole.run();
    let cut = whole
        .journal
        .iter()
        .position(|record| record.address.as_str() == "box/a" && record.fact.word() == "succeeded");
    let mut world = World::new(plan, 11);
    world.journal = whole.journal[..=cut.unwrap()].to_vec();
    world.run();
    assert!(words(&world, "box").contains(&"lost"));
    assert_eq!(words(&world, "box/a").iter().filter(|word| **word == "succeeded").count(), 2);
    assert_eq!(world.ends(), whole.ends());
}

#[test]
fn an_interrupted_step_that_must_not_repeat_asks_first() {
    let mut pay = verb("pay", template("x"));
    pay.on_interrupt = OnInterrupt::Ask;
    let plan = plan(vec![body(vec![pay])], &[]);
    let mut world = World::new(plan, 2);
    let mut run = world.begin();
    world.journal = run.next(0).unwrap().records;
    let mut run = world.begin();
    let turn = run.next(1).unwrap();
    assert!(turn.records.iter().any(|record| record.fact.word() == "asked"));
    assert!(!turn.records.iter().any(|record| record.fact.word() == "started"));
    run.report(
        2,
        Report::Answered {
            address: Address::new("pay"),
            answer: "fail".into(),
            by: "test".into(),
            note: None,
        },
    )
    .unwrap();
    let turn = run.next(2).unwrap();
    assert!(turn.records.iter().any(|record| record.fact.word() == "failed"));
    let RunStatus::Finished { code, .. } = run.status() else { panic!() };
    assert_eq!(*code, 1);
}

#[test]
fn a_reached_cap_pauses_the_run_and_a_higher_one_lets_it_go_on() {
    let build = |cap: &str| {
        let steps = vec![verb("a", template("x")), after(verb("b", template("x")), &[0])];
        let mut plan = plan(vec![body(steps)], &[("a", "steps.a.output"), ("b", "steps.b.output")]);
        let limit = Limit { unit: crate::meter::Unit::parse("calls").unwrap(), cap: expr(cap) };
        std::sync::Arc::get_mut(&mut plan).unwrap().limits.push(limit);
        plan
    };
    let fate = (0..1_000).find(|fate| {
        let mut world = World::new(build("100"), *fate);
        world.run();
        words(&world, "a") == ["started", "succeeded"]
    });
    let mut world = World::new(build("1"), fate.unwrap());
    world.settings.bounds = Some(Bounds::new(|_, _, _| Some(Meter::new().with("calls", 1.0))));
    let mut run = world.begin();
    let orders = run.next(0).unwrap();
    world.journal.extend(orders.records);
    run.report(
        1,
        Report::Ran {
            address: Address::new("a"),
            attempt: 1,
            result: Ok(crate::verb::Output { value: 1.into(), spent: Meter::new().with("calls", 1.0) }),
            cached: false,
        },
    )
    .unwrap();
    world.journal.extend(run.next(1).unwrap().records);
    assert!(matches!(run.status(), RunStatus::Paused { pause: Pause::Budget, .. }));
    assert_eq!(run.outputs_so_far(), serde_json::json!({"a": 1}), "those that can be evaluated");
    let mut richer = World::new(build("100"), fate.unwrap());
    richer.journal = world.journal;
    richer.run();
    assert_eq!(words(&richer, "a"), ["started", "succeeded"]);
    assert!(words(&richer, "b").contains(&"succeeded"));
}

#[test]
fn wide_and_nested_items_stay_in_source_order() {
    let leaf = body(vec![verb("leaf", template("{{ item_2 }}"))]);
    let row = body(vec![each("row", "range(3)", 2)]);
    let root = body(vec![each("rows", "range(5)", 1)]);
    let mut world = World::new(plan(vec![root, row, leaf], &[("rows", "steps.rows.output")]), 9);
    let run = world.run();
    let RunStatus::Finished { outputs, .. } = run.status() else { panic!() };
    let rows = outputs["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        for (i, cell) in row.as_array().unwrap().iter().enumerate() {
            assert!(cell["with"] == i || cell["ok"] == false, "{cell}");
        }
    }
}

#[test]
fn a_journal_of_another_pipeline_is_refused_by_name() {
    let mut world = World::new(plan(vec![body(vec![verb("a", template("x"))])], &[]), 1);
    world.run();
    let other = World::new(plan(vec![body(vec![verb("b", template("x"))])], &[]), 1);
    let folded = super::super::Run::fold(
        crate::id::RunId::new("x"),
        other.plan.clone(),
        other.blobs.clone(),
        super::super::Settings::default(),
        &world.journal,
    );
    let error = folded.err().unwrap();
    assert_eq!(error.address.as_str(), "a");
}
