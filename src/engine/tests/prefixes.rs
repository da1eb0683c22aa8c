//! Whatever part of a journal reached the disk, the run that goes on from there ends the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::Fact;
use super::plans::{after, ask, body, each, expr, hold, plan, pure, rounds, template, tolerating, verb};
use super::world::World;
use crate::id::Address;
use crate::plan::{Body, Plan, Step};

/// The kind of a step that asks.
const ASKS: u8 = 9;

/// What a random step is made of.
#[derive(Clone, Debug)]
pub struct Sketch {
    kind: u8,
    waits: Vec<(prop::sample::Index, bool)>,
    reads: bool,
    when: u8,
    inside: Vec<Sketch>,
}

pub fn sketch() -> impl Strategy<Value = Sketch> {
    let waits = prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3);
    let leaf =
        (0_u8..4, waits.clone(), any::<bool>(), 0_u8..4).prop_map(|(kind, waits, reads, when)| Sketch {
            // One leaf of four asks, and one is a pure loop.
            kind: match kind {
                3 => ASKS,
                2 => 4,
                _ => 0,
            },
            waits,
            reads,
            when,
            inside: Vec::new(),
        });
    leaf.prop_recursive(3, 12, 3, move |inner| {
        (0_u8..4, waits.clone(), any::<bool>(), 0_u8..4, prop::collection::vec(inner, 1..4))
            .prop_map(|(kind, waits, reads, when, inside)| Sketch { kind, waits, reads, when, inside })
    })
}

fn build(sketches: &[Sketch], bodies: &mut Vec<Option<Body>>, names: &mut usize) -> usize {
    let id = bodies.len();
    bodies.push(None);
    let mut steps: Vec<Step> = Vec::new();
    for sketch in sketches {
        *names += 1;
        let name = format!("s{names}");
        let waits: Vec<(usize, bool)> = if steps.is_empty() {
            Vec::new()
        } else {
            let mut seen = BTreeSet::new();
            let chosen = sketch.waits.iter().map(|(index, tolerated)| (index.index(steps.len()), *tolerated));
            chosen.filter(|(place, _)| seen.insert(*place)).collect()
        };
        let strict: Vec<usize> =
            waits.iter().filter(|(_, tolerated)| !tolerated).map(|(place, _)| *place).collect();
        let lenient: Vec<usize> =
            waits.iter().filter(|(_, tolerated)| *tolerated).map(|(place, _)| *place).collect();
        let with = match (sketch.reads, strict.first()) {
            (true, Some(place)) => template(&format!("{{{{ steps.{}.output }}}}", steps[*place].id)),
            _ => template("plain"),
        };
        let step = match sketch.kind {
            0 => verb(&name, with),
            ASKS => ask(&name),
            1 => {
                let inside = build(&sketch.inside, bodies, names);
                each(&name, "range(4)", inside)
            }
            2 => {
                let inside = build(&sketch.inside, bodies, names);
                hold(&name, inside)
            }
            4 => pure(&name),
            _ => {
                let first = *names + 1;
                let inside = build(&sketch.inside, bodies, names);
                rounds(&name, &format!("1 if steps.s{first}.ok else 0"), &[0], inside)
            }
        };
        let places: Vec<usize> = waits.iter().map(|(place, _)| *place).collect();
        let mut step = tolerating(after(step, &places), &lenient);
        if let (2, Some(place)) = (sketch.when, lenient.first()) {
            step.when = Some(expr(&format!("steps.{}.ok", steps[*place].id)));
        }
        if sketch.when == 3 && sketch.inside.is_empty() {
            step.when = Some(expr("1 > 2"));
        }
        steps.push(step);
    }
    bodies[id] = Some(body(steps));
    id
}

pub fn random_plan(sketches: &[Sketch]) -> Arc<Plan> {
    let mut bodies = Vec::new();
    build(sketches, &mut bodies, &mut 0);
    let bodies: Vec<Body> = bodies.into_iter().flatten().collect();
    let first = bodies[0].steps[0].id.to_string();
    plan(bodies, &[("first", &format!("steps.{first}.output if steps.{first}.ok else none"))])
}

/// Steps of the journal's first `cut` lines that had ended outside of anything that was lost afterwards.
pub fn settled(world: &World, cut: usize) -> Vec<Address> {
    let lost: Vec<(usize, String)> = world
        .journal
        .iter()
        .enumerate()
        .filter(|(_, record)| record.fact == Fact::Lost)
        .map(|(place, record)| (place, format!("{}/", record.address)))
        .collect();
    let ended =
        |fact: &Fact| matches!(fact, Fact::Succeeded { .. } | Fact::Failed { .. } | Fact::Skipped { .. });
    let records = world.journal[..cut].iter().enumerate().filter(|(_, record)| ended(&record.fact));
    let outside = records.filter(|(place, record)| {
        !lost.iter().any(|(later, inside)| later > place && record.address.as_str().starts_with(inside))
    });
    outside.map(|(_, record)| record.address.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn where_turns_end_changes_nothing(
        sketches in prop::collection::vec(sketch(), 1..5),
        fate in any::<u64>(),
        slice in 1_usize..5,
    ) {
        let plan = random_plan(&sketches);
        let mut whole = World::new(plan.clone(), fate);
        whole.run();
        let mut sliced = World { slice, ..World::new(plan, fate) };
        sliced.run();
        prop_assert_eq!(sliced.journal, whole.journal);
    }

    #[test]
    fn evaluations_that_take_long_change_nothing(
        sketches in prop::collection::vec(sketch(), 1..5),
        fate in any::<u64>(),
    ) {
        let plan = random_plan(&sketches);
        let mut whole = World::new(plan.clone(), fate);
        whole.run();
        let mut late = World::new(plan, fate);
        late.settings.at_once = 0;
        late.run();
        prop_assert_eq!(late.ends(), whole.ends());
    }

    #[test]
    fn a_run_resumed_from_any_prefix_ends_the_same(
        sketches in prop::collection::vec(sketch(), 1..5),
        fate in any::<u64>(),
    ) {
        let plan = random_plan(&sketches);
        let mut whole = World::new(plan.clone(), fate);
        whole.run();
        let step = (whole.journal.len() / 60).max(1);
        for cut in (0..=whole.journal.len()).step_by(step) {
            let mut world = World::new(plan.clone(), fate);
            world.blobs = whole.blobs.clone();
            world.journal = whole.journal[..cut].to_vec();
            world.run();
            prop_assert_eq!(world.ends(), whole.ends(), "cut after {} of {}", cut, whole.journal.len());
            for address in settled(&world, cut) {
                prop_assert!(!world.started.contains_key(&address), "{} ran again after {}", address, cut);
            }
            let in_flight = world.journal[cut..].iter().filter(|record| matches!(record.fact, Fact::Interrupted { .. })).count();
            prop_assert!(in_flight <= 16);
            // A crash inside the recovery itself.
            let mut again = World::new(plan.clone(), fate);
            again.blobs = whole.blobs.clone();
            again.journal = world.journal[..cut + (world.journal.len() - cut) / 2].to_vec();
            again.run();
            prop_assert_eq!(again.ends(), whole.ends(), "second cut after {}", cut);
        }
    }
}
