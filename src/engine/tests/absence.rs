//! Steps that read what may be absent: which endings they accept, and what is passed on and handled.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Fact, RunStatus, SkipReason};
use super::plans::{body, each, expr, plan, template, verb};
use super::world::World;
use crate::plan::{Accepts, Dep, Plan, Seen, Step};
use crate::verb::Class;

/// `step` reads the steps at `places`, and accepts these endings of them.
fn reads(mut step: Step, places: &[(usize, Accepts)]) -> Step {
    step.deps.extend(places.iter().map(|(place, accepts)| Dep {
        step: *place,
        accepts: *accepts,
        items: false,
    }));
    step.sees = places.iter().map(|(place, _)| Seen { up: 0, step: *place }).collect();
    step
}

/// A world in which `a` fails with `class`, and nothing else fails.
fn failing(plan: Arc<Plan>, class: Option<Class>) -> World {
    let fails = class.map(|class| BTreeMap::from([("a".to_owned(), class)]));
    World { fails: Some(fails.unwrap_or_default()), ..World::new(plan, 1) }
}

fn ended(world: &World, address: &str) -> String {
    let record = world.journal.iter().rev().find(|record| record.address.as_str() == address);
    match record.map(|record| &record.fact) {
        Some(Fact::Skipped { reason: SkipReason::AfterFailure { step } }) => format!("failure of {step}"),
        Some(Fact::Skipped { reason: SkipReason::AfterSkip { step } }) => format!("skip of {step}"),
        Some(fact) => fact.word().to_owned(),
        None => "nothing".to_owned(),
    }
}

fn code(world: &mut World) -> i32 {
    let run = world.run();
    let RunStatus::Finished { code, .. } = run.status() else { panic!("not finished") };
    *code
}

#[test]
fn an_unusable_answer_is_replaced_and_no_other_failure_is() {
    for class in
        [Class::Rejected, Class::Refused, Class::Permanent, Class::Timeout, Class::Transient, Class::Bug]
    {
        let b = reads(verb("b", template("{{ steps.a.output.n ?? 'nothing' }}")), &[(0, Accepts::ABSENCE)]);
        let mut world = failing(plan(vec![body(vec![verb("a", template("x")), b])], &[]), Some(class));
        let ended_well = code(&mut world) == 0;
        let unusable = matches!(class, Class::Rejected | Class::Refused);
        assert_eq!(ended_well, unusable, "{class}");
        assert_eq!(ended(&world, "b"), if unusable { "succeeded" } else { "failure of a" }, "{class}");
    }
}

#[test]
fn a_step_skipped_after_a_failure_passes_it_on() {
    let steps = || {
        let b = reads(verb("b", template("{{ steps.a.output.n }}")), &[(0, Accepts::OUTPUT)]);
        let c = reads(verb("c", template("{{ steps.b.output.n ?? 7 }}")), &[(1, Accepts::ABSENCE)]);
        vec![verb("a", template("x")), b, c]
    };
    let mut world = failing(plan(vec![body(steps())], &[]), Some(Class::Rejected));
    assert_eq!(code(&mut world), 0, "the answer that nobody could use is handled where it is replaced");
    assert_eq!((ended(&world, "b"), ended(&world, "c")), ("failure of a".into(), "succeeded".into()));
    let mut world = failing(plan(vec![body(steps())], &[]), Some(Class::Permanent));
    assert_eq!(code(&mut world), 1);
    assert_eq!((ended(&world, "b"), ended(&world, "c")), ("failure of a".into(), "skip of b".into()));
}

#[test]
fn a_chain_that_is_absent_as_a_whole_skips_its_reader() {
    let steps = || {
        let mut b = verb("b", template("x"));
        b.when = Some(expr("1 > 2"));
        let c = reads(
            verb("c", template("{{ steps.a.output.n ?? steps.b.output.n }}")),
            &[(0, Accepts::ABSENCE), (1, Accepts::ABSENCE)],
        );
        vec![verb("a", template("x")), b, c]
    };
    let mut world = failing(plan(vec![body(steps())], &[]), None);
    assert_eq!((code(&mut world), ended(&world, "c")), (0, "succeeded".to_owned()));
    let mut world = failing(plan(vec![body(steps())], &[]), Some(Class::Rejected));
    code(&mut world);
    assert_eq!(ended(&world, "c"), "skip of b", "the last value is the reason");
}

#[test]
fn a_failure_is_not_handled_by_the_step_that_is_skipped_because_of_it() {
    let b = reads(verb("b", template("{{ steps.a.output.n }}")), &[(0, Accepts::all())]);
    let mut world = failing(plan(vec![body(vec![verb("a", template("x")), b])], &[]), Some(Class::Permanent));
    assert_eq!(code(&mut world), 1);
    assert_eq!(ended(&world, "b"), "failure of a");
}

#[test]
fn a_result_that_accepts_an_unusable_answer_handles_it() {
    let build = |accepts: Accepts| {
        let mut inner = body(vec![verb("one", template("x"))]);
        inner.accepts[0] = accepts;
        let mut all = each("all", "[1]", 1);
        if let crate::plan::Action::Each(each) = &mut all.action {
            each.result = Some(expr("steps.one.output.n ?? 'nothing'"));
            each.sees = Arc::new([Seen { up: 0, step: 0 }]);
        }
        plan(vec![body(vec![all]), inner], &[("all", "steps.all.output")])
    };
    let outputs = |accepts: Accepts, class: Class| {
        let fails = BTreeMap::from([("all[0]/one".to_owned(), class)]);
        let mut world = World { fails: Some(fails), ..World::new(build(accepts), 1) };
        let run = world.run();
        let RunStatus::Finished { outputs, .. } = run.status() else { panic!("not finished") };
        outputs["all"].clone()
    };
    assert_eq!(outputs(Accepts::ABSENCE, Class::Rejected), serde_json::json!(["nothing"]));
    assert_eq!(outputs(Accepts::ABSENCE, Class::Timeout), serde_json::json!([]));
    assert_eq!(outputs(Accepts::OUTPUT, Class::Rejected), serde_json::json!([]));
}

/// A step of a random plan: what it reads, whether that may be absent, how it fails, and whether its condition is false.
type Sketch = (Vec<(prop::sample::Index, bool)>, Option<usize>, bool);

const CLASSES: [Class; 5] =
    [Class::Rejected, Class::Refused, Class::Permanent, Class::Timeout, Class::Transient];

fn sketch() -> impl Strategy<Value = Sketch> {
    let reads = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3);
    (reads, prop::option::weighted(0.4, 0..CLASSES.len()), prop::bool::weighted(0.2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Nothing runs that reads what another failure than an unusable answer has kept from being there, however many steps
    /// are between.
    #[test]
    fn no_failure_is_concealed(sketches in prop::collection::vec(sketch(), 1..8)) {
        let (mut steps, mut fails, mut behind) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (place, (waits, class, off)) in sketches.iter().enumerate() {
            let name = format!("s{place}");
            let mut deps = BTreeMap::new();
            for (index, absent) in waits.iter().filter(|_| place > 0) {
                deps.insert(index.index(place), *absent);
            }
            let texts = deps.iter().map(|(at, absent)| {
                let output = format!("steps.s{at}.output.n");
                if *absent { format!("{{{{ {output} ?? 'nothing' }}}}") } else { format!("{{{{ {output} }}}}") }
            });
            let mut step = verb(&name, template(&texts.collect::<String>()));
            step.when = off.then(|| expr("1 > 2"));
            let accepts = |absent: &bool| if *absent { Accepts::ABSENCE } else { Accepts::OUTPUT };
            let places: Vec<(usize, Accepts)> = deps.iter().map(|(at, absent)| (*at, accepts(absent))).collect();
            steps.push(reads(step, &places));
            fails.extend(class.map(|class| (name, CLASSES[class])));
            behind.push(places.into_iter().map(|(at, _)| at).collect::<Vec<_>>());
        }
        let mut world = World { fails: Some(fails.clone()), ..World::new(plan(vec![body(steps)], &[]), 1) };
        let code = code(&mut world);
        let mut kept: Vec<bool> = Vec::new();
        for (place, reads) in behind.iter().enumerate() {
            let name = format!("s{place}");
            let is_behind = reads.iter().any(|at| kept[*at]);
            prop_assert!(!is_behind || !world.started.contains_key(&crate::id::Address::new(&name)), "{} ran", name);
            let hard = |class: &Class| !matches!(class, Class::Rejected | Class::Refused);
            let failed = ended(&world, &name) == "failed" && fails.get(&name).is_some_and(hard);
            prop_assert!(!failed || code == 1, "the failure of {} is not handled", name);
            kept.push(is_behind || failed);
        }
    }
}
