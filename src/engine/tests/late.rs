//! Steps that run when everything else has ended: they come last, see the end, and change nothing about it.

use std::sync::Arc;

use super::super::{Fact, Pause, Report, RunStatus};
use super::plans::{after, ask, body, plan, template, tolerating, verb};
use super::waits::{fine, settle};
use super::world::World;
use crate::plan::{Plan, Step};

fn late(id: &str, places: &[usize]) -> Step {
    let text = template("{{ run.status }} {{ steps.work.ok }}");
    Step { always: true, fails_none: true, ..tolerating(after(verb(id, text), places), places) }
}

/// `work`, and `other`, which reads it; and `last` if it is asked for.
fn working(with_last: bool) -> Arc<Plan> {
    let work = verb("work", template("x"));
    let other = after(verb("other", template("{{ steps.work.output.n }}")), &[0]);
    let mut steps = vec![work, other];
    if with_last {
        steps.push(late("last", &[0, 1]));
    }
    plan(vec![body(steps)], &[("n", "steps.other.output.n")])
}

fn finished(world: &World) -> Option<&str> {
    world.journal.iter().find_map(|record| match &record.fact {
        Fact::Finished { status, .. } => Some(status.as_str()),
        _ => None,
    })
}

#[test]
fn it_comes_last_and_changes_nothing_about_the_end() {
    let (mut failed, mut failed_itself) = (false, false);
    for fate in 0..60 {
        let mut plain = World::new(working(false), fate);
        plain.run();
        let mut world = World::new(working(true), fate);
        world.run();
        let status = finished(&world).unwrap();
        let ends = world.ends();
        assert_eq!(ends[""], plain.ends()[""], "fate {fate}");
        let last = &ends["last"];
        failed |= status == "failed";
        failed_itself |= last.starts_with("failed");
        let sees = format!("{status} {}", ends["work"].starts_with("succeeded"));
        assert!(last.contains(&sees) || last.starts_with("failed"), "fate {fate}: {last} without {sees}");
        let place = |wanted: &dyn Fn(&str, &Fact) -> bool| {
            world.journal.iter().position(|record| wanted(record.address.as_str(), &record.fact)).unwrap()
        };
        let started = place(&|at, fact| at == "last" && matches!(fact, Fact::Started { .. }));
        let ended = place(&|at, fact| {
            at == "other"
                && (matches!(fact, Fact::Succeeded { .. } | Fact::Failed { .. } | Fact::Skipped { .. }))
        });
        assert!(ended < started, "fate {fate}");
        let told = world.journal.iter().any(
            |record| matches!(&record.fact, Fact::Finished { always_failed, .. } if always_failed.len() == 1),
        );
        assert_eq!(told, last.starts_with("failed"), "fate {fate}");
    }
    assert!(failed && failed_itself, "the fates are too kind");
}

#[test]
fn a_run_that_is_cut_off_at_any_moment_runs_it_once_and_ends_the_same() {
    for fate in 0..12 {
        let mut whole = World::new(working(true), fate);
        whole.run();
        for cut in 0..whole.journal.len() {
            let mut world = World::new(working(true), fate);
            world.blobs = whole.blobs.clone();
            world.journal = whole.journal[..cut].to_vec();
            world.run();
            assert_eq!(world.ends(), whole.ends(), "fate {fate}, cut after {cut}");
        }
    }
}

#[test]
fn a_question_is_no_end_and_a_stop_by_a_person_is_one_for_now() {
    let steps = vec![ask("q"), verb("work", template("x")), late("last", &[0, 1])];
    let mut world = World::new(plan(vec![body(steps)], &[]), 1);
    let mut run = world.begin();
    settle(&mut run, &mut world, &fine);
    assert!(matches!(run.status(), RunStatus::Paused { pause: Pause::Waiting, .. }));
    let at_pause = |world: &World| {
        let is_one = |fact: &Fact| matches!(fact, Fact::PausedStep { step, .. } if step == "last");
        world.journal.iter().filter(|record| is_one(&record.fact)).count()
    };
    assert!(at_pause(&world) == 0 && !world.started.contains_key(&crate::id::Address::new("last")));
    run.resume(100).unwrap();
    run.report(101, Report::Pause { pause: Pause::Cancelled, message: "stopped".to_owned() }).unwrap();
    settle(&mut run, &mut world, &fine);
    assert_eq!(at_pause(&world), 1);
    assert!(!world.ends().contains_key("last"), "that is not its outcome");
}
