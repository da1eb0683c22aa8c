//! Caps hold whatever happens at the same time, and nothing that was spent is forgotten.

use super::super::{Bounds, Fact, Order, Pause, Report, Run, RunStatus};
use super::plans::{after, body, each, expr, plan, rounds, step, template, verb};
use super::world::World;
use crate::id::Address;
use crate::meter::Meter;
use crate::plan::{Action, Limit, Plan, Retry};
use crate::value::{Digest, Value};
use crate::verb::{Class, Failure, Output};

use std::sync::Arc;

fn draw(what: &str) -> u64 {
    Digest::of(what).seed()
}

fn usd(hundredths: u64) -> Meter {
    let hundredths = f64::from(u32::try_from(hundredths).unwrap());
    Meter::new().with("usd", hundredths / 100.0).with("calls", 1.0)
}

/// Several lists side by side, each item two questions, one behind the other.
fn script(seed: u64) -> Arc<Plan> {
    let lists = 1 + draw(&format!("{seed}/lists")) % 4;
    let mut bodies = vec![body(Vec::new())];
    let mut steps = Vec::new();
    for list in 0..lists {
        let place = bodies.len();
        let ask = |id: &str| verb(id, template(&format!("{list}/{id}/{{{{ item_{place} }}}}")));
        bodies.push(body(vec![ask("first"), after(ask("second"), &[0])]));
        let items = 1 + draw(&format!("{seed}/{list}/items")) % 6;
        steps.push(each(&format!("list{list}"), &format!("range({items})"), place));
    }
    bodies[0] = body(steps);
    let mut plan = plan(bodies, &[]);
    let limit = Limit { unit: crate::meter::Unit::parse("usd").unwrap(), cap: expr("1.5") };
    Arc::get_mut(&mut plan).unwrap().limits.push(limit);
    plan
}

fn bound(with: &Value) -> Meter {
    usd(5 + draw(&format!("bound {with}")) % 60)
}

/// What an attempt comes to: never more than it has set aside, often less, and some fail all the same.
fn end(address: &Address, attempt: u32, with: &Value, granted: &Meter) -> Result<Output<Value>, Failure> {
    let luck = draw(&format!("{address}@{attempt}"));
    let share = f64::from(u32::try_from(luck % 101).unwrap()) / 100.0;
    let spent = Meter::new().with("usd", granted.get("usd") * share).with("calls", 1.0);
    if luck.is_multiple_of(5) && attempt < 3 {
        return Err(Failure::transient("drawn").spent(spent));
    }
    Ok(Output { value: with.clone(), spent })
}

struct Script {
    world: World,
    cap: f64,
    kills: u32,
    pauses: u32,
    /// How much of the journal was looked at, and what that part has spent.
    seen: (usize, f64),
}

impl Script {
    /// Never is more spent, or more promised, than the cap in force.
    fn check(&mut self, run: &Run) {
        let fresh = &self.world.journal[self.seen.0..];
        let spent = fresh.iter().filter_map(|record| record.fact.spent()).map(|spent| spent.get("usd"));
        self.seen = (self.world.journal.len(), self.seen.1 + spent.sum::<f64>());
        assert!(self.seen.1 <= self.cap + 1e-6, "{} of {}", self.seen.1, self.cap);
        assert!((run.spent().get("usd") - self.seen.1).abs() < 1e-6, "the sum is the sum of the facts");
    }

    fn run(&mut self, seed: u64) {
        let mut run = self.world.begin();
        let mut open: Vec<(Order, Meter)> = Vec::new();
        for tick in 0_u64..20_000 {
            let turn = run.next(tick * 5_000).unwrap();
            self.world.take(turn.records);
            self.check(&run);
            open.extend(turn.orders.into_iter().map(|order| {
                let Order::Run(attempt) = &order else { panic!("only questions") };
                let granted = attempt.reserved.clone();
                (order, granted)
            }));
            for (address, _, grant) in turn.grants {
                let asked =
                    open.iter_mut().find(|(order, _)| matches!(order, Order::Run(a) if a.address == address));
                let (Order::Run(attempt), granted) = asked.unwrap() else { panic!() };
                match grant {
                    Ok(()) => granted.absorb(&usd(20)),
                    Err(refusal) => {
                        let (at, number) = (attempt.address.clone(), attempt.number);
                        let spent = granted.clone();
                        open.retain(|(order, _)| !matches!(order, Order::Run(a) if a.address == at));
                        let result = Err(refusal.spent(spent));
                        run.report(tick, Report::Ran { address: at, attempt: number, result, cached: false })
                            .unwrap();
                    }
                }
            }
            match run.status() {
                RunStatus::Finished { code, .. } => {
                    assert_eq!(*code, 0, "{:?}", self.world.journal.last());
                    return;
                }
                RunStatus::Paused { pause, .. } if open.is_empty() && run.running() == 0 => {
                    assert_eq!(*pause, Pause::Budget);
                    self.pauses += 1;
                    self.cap += 0.7;
                    self.world.settings.caps.insert(crate::meter::Unit::Usd, self.cap);
                    run = self.world.begin();
                    continue;
                }
                _ => {}
            }
            let luck = draw(&format!("{seed}/{tick}"));
            if luck.is_multiple_of(23) {
                // Killed: what was under way is gone, and nobody knows what it cost.
                self.kills += 1;
                open.clear();
                run = self.world.begin();
                continue;
            }
            if open.is_empty() {
                continue;
            }
            let pick = usize::try_from(luck / 23 % open.len() as u64).unwrap();
            let Order::Run(attempt) = &open[pick].0 else { panic!() };
            let (address, number) = (attempt.address.clone(), attempt.number);
            let asks = draw(&format!("more {address}@{number}")).is_multiple_of(4);
            if asks && open[pick].1 == attempt.reserved {
                open[pick].1.add("asked", 1.0);
                run.report(tick, Report::Claim { address, attempt: number, more: usd(20) }).unwrap();
                continue;
            }
            let waits = open[pick].1.get("asked") > 0.0 && open[pick].1.get("calls") < 2.0;
            if waits {
                continue;
            }
            let result = end(&address, number, &attempt.with, &open[pick].1);
            open.remove(pick);
            run.report(tick, Report::Ran { address, attempt: number, result, cached: false }).unwrap();
        }
        panic!("the script does not end: {}", run.waiting_at());
    }
}

#[test]
fn five_hundred_scripts_never_spend_more_than_their_cap() {
    let (mut kills, mut pauses) = (0, 0);
    for seed in 0..500 {
        let mut world = World::new(script(seed), seed);
        world.settings.bounds = Some(Bounds::new(|_, with, _| Some(bound(with))));
        let mut script = Script { world, cap: 1.5, kills: 0, pauses: 0, seen: (0, 0.0) };
        script.run(seed);
        let count =
            |word: &str| script.world.journal.iter().filter(|record| record.fact.word() == word).count();
        let ended: usize = ["succeeded", "faltered", "failed", "interrupted"].into_iter().map(count).sum();
        // Lists succeed as well, and were never started.
        let lists = script.world.plan.bodies[0].steps.len();
        assert_eq!(count("started"), ended - lists, "script {seed}: every attempt is accounted for");
        kills += script.kills;
        pauses += script.pauses;
    }
    assert!(kills > 500 && pauses > 500, "{kills} kills, {pauses} pauses");
}

/// A loop of three rounds, each of which asks twice, one after the other.
fn spending_loop(change: impl FnOnce(&mut crate::plan::Loop)) -> Arc<Plan> {
    let ask = |id: &str| {
        let mut ask = verb(id, template("x"));
        ask.retry = Retry { max: 0, ..ask.retry };
        ask
    };
    let inside = body(vec![ask("a"), after(ask("b"), &[0])]);
    let mut looping = rounds("rounds", "1", &[], 1);
    if let Action::Loop(looping) = &mut looping.action {
        looping.max = Some(expr("3"));
        looping.exits.clear();
        looping.counts.clear();
        change(looping);
    }
    plan(vec![body(vec![looping]), inside], &[])
}

fn limit(unit: &str, cap: &str) -> Limit {
    Limit { unit: crate::meter::Unit::parse(unit).unwrap(), cap: expr(cap) }
}

/// Carries a run on until it ends or pauses; every question costs as much as it may.
fn spend(world: &mut World) -> Run {
    world.settings.bounds = Some(Bounds::new(|_, _, _| Some(usd(10))));
    let mut run = world.begin();
    for now in 0.. {
        let turn = run.next(now).unwrap();
        world.take(turn.records);
        if *run.status() != RunStatus::Going && run.running() == 0 {
            break;
        }
        for order in turn.orders {
            let Order::Run(attempt) = order else { panic!() };
            let result = Ok(Output { value: Value::Null, spent: usd(10) });
            let (address, attempt) = (attempt.address, attempt.number);
            run.report(now, Report::Ran { address, attempt, result, cached: false }).unwrap();
        }
    }
    run
}

#[test]
fn a_round_that_cannot_be_paid_is_not_begun() {
    let mut plan = spending_loop(|looping| looping.fund.push(limit("usd", "0.2")));
    Arc::get_mut(&mut plan).unwrap().limits.push(limit("usd", "0.5"));
    let mut world = World::new(plan, 1);
    let run = spend(&mut world);
    let RunStatus::Paused { pause: Pause::Budget, message, .. } = run.status() else {
        panic!("{:?}", run.status())
    };
    assert!(
        message.starts_with("round 3 is not begun: `rounds` may take up to 0.2 usd, and 0.4 of 0.5"),
        "{message}"
    );
    assert_eq!(*run.spent(), usd(40).with("calls", 3.0), "not one question of the third round was asked");
    world.settings.caps.insert(crate::meter::Unit::Usd, 0.6);
    let run = spend(&mut world);
    assert!(matches!(run.status(), RunStatus::Finished { code: 0, .. }), "{:?}", run.status());
    assert_eq!(*run.spent(), usd(60).with("calls", 5.0));
}

#[test]
fn a_round_has_a_budget_of_its_own() {
    let mut world = World::new(spending_loop(|looping| looping.budget.push(limit("calls", "1"))), 1);
    let run = spend(&mut world);
    let RunStatus::Finished { code, .. } = run.status() else { panic!("{:?}", run.status()) };
    assert_eq!(*code, 5, "a narrower cap than the run's fails the step");
    let failed = world.journal.iter().find_map(|record| match &record.fact {
        Fact::Failed { failure } if record.address.as_str() == "rounds#1/b" => Some(failure.clone()),
        _ => None,
    });
    let failure = failed.unwrap();
    assert_eq!(failure.class, Class::Budget);
    assert!(failure.message.contains("1 of 1 are spent in the budget of `rounds#1`"), "{failure}");
}

#[test]
fn a_step_has_a_budget_for_all_its_attempts_and_everything_inside_it() {
    let mut plan = spending_loop(|_| {});
    Arc::get_mut(&mut plan).unwrap().bodies[0].steps[0].budget.push(limit("usd", "0.3"));
    let mut world = World::new(plan, 1);
    let run = spend(&mut world);
    assert!(matches!(run.status(), RunStatus::Finished { code: 5, .. }), "{:?}", run.status());
    assert_eq!(*run.spent(), usd(30).with("calls", 2.0));
}

#[test]
fn what_a_round_spent_stands_in_its_history() {
    let plan = spending_loop(|looping| {
        looping.result = Some(expr("{'spent': loop.history | map(attribute='spent.usd') | list}"));
    });
    let mut world = World::new(plan, 1);
    let run = spend(&mut world);
    let outputs = world.journal.iter().find_map(|record| match &record.fact {
        Fact::Succeeded { output: super::super::Payload::Value(output), .. }
            if record.address.as_str() == "rounds" =>
        {
            Some(output.clone())
        }
        _ => None,
    });
    assert_eq!(outputs.unwrap()["spent"], serde_json::json!([0.2, 0.2, 0.2]));
    drop(run);
}

#[test]
fn time_is_counted_while_the_run_is_worked_on_and_ends_it_when_it_is_up() {
    let ask = |id: &str| verb(id, template("x"));
    let mut plan = plan(vec![body(vec![ask("a"), after(ask("b"), &[0])])], &[]);
    Arc::get_mut(&mut plan).unwrap().limits.push(limit("wall", "'10s'"));
    let mut world = World::new(plan, 1);
    let mut run = world.begin();
    let turn = run.next(1_000).unwrap();
    assert_eq!(turn.wake, Some(10_000), "the run began at 0");
    world.take(turn.records);
    // Cut off at 1 s; the hour in which nobody worked on it does not count.
    let mut run = world.begin();
    let report = |run: &mut Run, now, attempt| {
        let result = Ok(Output::free(Value::Null));
        run.report(now, Report::Ran { address: Address::new("a"), attempt, result, cached: false }).unwrap();
    };
    let hour = 3_600_000;
    drop(run.next(1_000).unwrap());
    world.journal.last_mut().unwrap().at = 1_000;
    let mut run = Run::fold(
        crate::id::RunId::new("test"),
        world.plan.clone(),
        world.blobs.clone(),
        world.settings.clone(),
        &world.journal,
    )
    .unwrap();
    run.resume(hour).unwrap();
    let turn = run.next(hour).unwrap();
    assert_eq!(turn.wake, Some(hour + 9_000));
    report(&mut run, hour + 9_500, 2);
    let turn = run.next(hour + 9_500).unwrap();
    assert!(turn.orders.is_empty(), "nothing new begins");
    let RunStatus::Paused { pause: Pause::Budget, message, .. } = run.status() else { panic!() };
    assert!(message.starts_with("10 s of 10 s are over"), "{message}");
    assert!(run.next(2 * hour).unwrap().records.is_empty(), "it pauses once");
}

#[test]
fn without_budgets_nothing_is_set_aside() {
    let mut world = World::new(plan(vec![body(vec![step("a", verb("a", template("x")).action)])], &[]), 1);
    let run = world.run();
    assert!(matches!(run.status(), RunStatus::Finished { .. }));
    assert!(world.journal.iter().all(|record| record.fact.word() != "reserved"));
}

#[test]
fn what_goes_on_elsewhere_when_a_step_fails_for_good_is_booked_as_lost() {
    for (open, lost) in [(1, usd(10).with("lost", 1.0)), (0, usd(3))] {
        let mut world = World::new(plan(vec![body(vec![verb("a", template("x"))])], &[]), 1);
        world.settings.bounds = Some(Bounds::new(|_, _, _| Some(usd(10).paid("acme/big", "judge"))));
        let mut run = world.begin();
        let turn = run.next(0).unwrap();
        let Order::Run(attempt) = turn.orders.into_iter().next().unwrap() else { panic!() };
        let (address, attempt) = (attempt.address, attempt.number);
        let cursor = serde_json::json!({"kept": true, "open": open});
        run.report(0, Report::Cursor { address: address.clone(), attempt, cursor }).unwrap();
        let result = Err(Failure::permanent("given up").spent(usd(3).paid("acme/big", "judge")));
        run.report(0, Report::Ran { address, attempt, result, cached: false }).unwrap();
        let turn = run.next(1).unwrap();
        let failed = turn.records.iter().find(|record| record.fact.word() == "failed").unwrap();
        let spent = failed.fact.spent().unwrap();
        assert_eq!(spent.plain(), lost);
        let usd = |meter: &Meter| meter.get("usd").to_bits();
        assert_eq!(usd(&spent.shares()[0].meter()), usd(&lost), "and to whom it went");
    }
}
