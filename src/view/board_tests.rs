use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::engine::{Changes, Opening};
use crate::value::Digest;
use crate::view::ROUNDS_KEPT;

fn fold(facts: impl IntoIterator<Item = (&'static str, u32, Fact)>) -> Board {
    let mut board = Board::new();
    for (n, (address, attempt, fact)) in facts.into_iter().enumerate() {
        let at = 1_000 + n as Millis;
        let record = Arc::new(Record { at, address: Address::new(address), attempt, fact });
        board.apply(&Event::Fact { run: RunId::new("01run"), seq: n as u64 + 1, record });
    }
    board
}

fn begun() -> (&'static str, u32, Fact) {
    let inputs = Payload::value(json!({}));
    (
        "",
        0,
        Fact::RunStarted {
            pipeline: "demo".into(),
            plan: Digest::of("p"),
            inputs,
            seed: 1,
            format: crate::engine::FORMAT,
            at_start: indexmap::IndexMap::new(),
        },
    )
}

fn started() -> Fact {
    Fact::Started { key: None, reserved: Meter::new() }
}

fn succeeded(usd: f64) -> Fact {
    Fact::Succeeded { output: Payload::value(json!(1)), spent: Meter::new().with("usd", usd), cached: false }
}

fn each(items: u32) -> Fact {
    let over = Payload::value((0..items).map(|n| json!(n)).collect());
    Fact::Opened { with: Opening::Each { over, parallel: 4, max_failures: None, keys: None } }
}

fn looped() -> Fact {
    Fact::Opened { with: Opening::Loop { max: 500, over: None, state: Payload::value(json!({})) } }
}

fn round(score: f64, exit: Option<&str>) -> Fact {
    Fact::RoundClosed {
        lets: Payload::value(json!({"score": score, "improved": true, "tree": {"big": 1}})),
        changes: Changes::new(),
        state: None,
        rule: Some("escalate".into()),
        exit: exit.map(str::to_owned),
    }
}

#[test]
fn a_retried_step_counts_its_attempts_and_what_they_cost() {
    let failure =
        Failure::transient("reset").spent(Meter::new().with("usd", 0.25)).detail(json!({"log": "long"}));
    let mut facts = vec![
        begun(),
        ("a", 1, started()),
        ("a", 1, Fact::Faltered { failure, again_at: Some(9), charged: true, waits: None }),
    ];
    let waiting = fold(facts.clone());
    let step = waiting.step(&Address::new("a")).unwrap();
    assert_eq!(step.state, StepState::Waiting);
    assert_eq!(step.failure.as_ref().unwrap().message, "reset");
    assert_eq!(step.failure.as_ref().unwrap().detail, json!(null));

    facts.extend([("a", 2, started()), ("a", 2, succeeded(0.5))]);
    let board = fold(facts);
    let step = board.step(&Address::new("a")).unwrap();
    assert_eq!((step.state, step.attempts), (StepState::Done, 2));
    assert_eq!(step.duration(99_999), Some(3));
    assert_eq!(step.failure, None);
    assert!((board.spent.get("usd") - 0.75).abs() < 1e-9);
    assert_eq!((board.pipeline.as_str(), &board.status), ("demo", &Status::Running));
}

#[test]
fn closed_items_are_counted_and_forgotten() {
    let mut board = fold([begun(), ("judge", 0, each(100_000))]);
    let apply = |board: &mut Board, address: Address, attempt, fact| {
        board.apply_record(&Record { at: 5_000, address, attempt, fact });
    };
    for n in 0..100_000_u32 {
        let item = Address::new("judge").item(n);
        let score = Address::new(format!("{item}/score"));
        apply(&mut board, score.clone(), 1, started());
        apply(&mut board, score, 1, succeeded(0.001));
        let failed = n % 1_000 == 7;
        let result = Payload::value(json!({"index": n, "key": "k", "error": {"message": "no"}}));
        apply(&mut board, item, 0, Fact::ItemClosed { result, failed, skipped: false });
    }
    assert_eq!(board.iter().count(), 1);
    let step = board.step(&Address::new("judge")).unwrap();
    let Some(ControlView::Each { total, closed, failed, mishaps }) = &step.control else {
        panic!("{step:?}")
    };
    assert_eq!((*total, *closed, *failed), (Some(100_000), 100_000, 100));
    assert_eq!(mishaps.len(), 10);
    assert_eq!((mishaps[0].index, mishaps[0].message.as_str()), (7, "no"));
    assert!((step.spent.get("usd") - 100.0).abs() < 1e-6, "the cost of items is kept: {:?}", step.spent);
}

#[test]
fn rounds_keep_their_figures_and_old_ones_lose_their_steps() {
    let mut board = fold([begun(), ("converge", 0, looped())]);
    let last = u32::try_from(ROUNDS_KEPT).unwrap() + 5;
    for n in 1..=last {
        let at = Address::new("converge").round(n);
        let inner = Address::new(format!("{at}/generate"));
        board.apply_record(&Record { at: 1, address: inner, attempt: 1, fact: started() });
        let exit = (n == last).then_some("converged");
        board.apply_record(&Record { at: 2, address: at, attempt: 0, fact: round(f64::from(n), exit) });
    }
    let step = board.step(&Address::new("converge")).unwrap();
    let Some(ControlView::Loop { max, closed, rounds }) = &step.control else { panic!("{step:?}") };
    assert_eq!((*max, *closed, rounds.len()), (500, last, ROUNDS_KEPT));
    assert_eq!(rounds[0].number, 6);
    let end = rounds.back().unwrap();
    assert_eq!(end.lets, [("score".to_owned(), json!(105.0)), ("improved".to_owned(), json!(true))]);
    assert_eq!((end.rule.as_deref(), end.exit.as_deref()), (Some("escalate"), Some("converged")));
    assert_eq!(board.step(&Address::new("converge#5/generate")), None);
    assert!(board.step(&Address::new("converge#6/generate")).is_some());
}

#[test]
fn a_lost_hold_forgets_its_body() {
    let held = Payload::value(json!({"ok": true}));
    let board = fold([
        begun(),
        ("app", 1, started()),
        ("app", 1, Fact::Acquired { held }),
        ("app/observe", 1, started()),
        ("application", 1, started()),
        ("app", 0, Fact::Lost),
    ]);
    assert_eq!(board.step(&Address::new("app/observe")), None);
    assert!(
        board.step(&Address::new("application")).is_some(),
        "a name with the same beginning is another step"
    );
    assert_eq!(board.step(&Address::new("app")).unwrap().control, Some(ControlView::Hold { held: false }));
}

#[test]
fn notes_show_the_end_of_what_was_said() {
    let mut board = fold([begun(), ("a", 1, started())]);
    let mut say = |note: Note| {
        let address = Address::new("a");
        board.apply(&Event::Note { run: RunId::new("01run"), address, attempt: 1, note });
        board.step(&Address::new("a")).unwrap().note.clone().unwrap()
    };
    assert_eq!(say(Note::Line { text: "hello\n".into() }), "hello");
    assert_eq!(say(Note::Count { done: 3, total: Some(9) }), "3/9");
    assert_eq!(say(Note::Chunk { text: "\nfirst\nü".repeat(100) }), "ü");
    assert_eq!(say(Note::Chunk { text: "é".repeat(5_000) }).len(), 200);
}

#[test]
fn the_run_ends_with_its_own_word() {
    let pause = Fact::Paused { pause: Pause::Budget, message: "usd".into(), reasons: Vec::new() };
    let board = fold([begun(), ("", 0, pause.clone())]);
    assert_eq!(board.status.word(), "budget");
    let board = fold([begun(), ("", 0, pause.clone()), ("", 0, Fact::Resumed)]);
    assert_eq!(board.status, Status::Running);
    let outputs = Payload::value(json!({"score": 1}));
    let finished = Fact::Finished {
        status: "converged".into(),
        code: 0,
        outputs: outputs.clone(),
        always_failed: Vec::new(),
    };
    let board = fold([begun(), ("", 0, pause), ("", 0, Fact::Resumed), ("", 0, finished)]);
    assert_eq!((board.status.word(), board.outputs), ("converged", Some(outputs)));
}
