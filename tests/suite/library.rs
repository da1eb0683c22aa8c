//! Atoll as a library: what another program sees of it.
#![expect(clippy::disallowed_methods, reason = "starts the program")]

use atoll::driver::{Answer, AnswerFuture, Asker};
use atoll::engine::Question;
use atoll::id::{Address, RunId};
use atoll::{Atoll, Error, Event, Run, RunStatus};
use serde_json::json;

#[expect(dead_code, reason = "its `main` is not called here")]
#[path = "../../examples/embed.rs"]
mod embed;

const QUESTION: &str = "atoll = 1\ninputs.n = { type = \"int\", default = 1 }\nsteps.first.set = { n = \"{{ inputs.n + 1 }}\" }\n\
    steps.sugar = { needs = [\"first\"], ask = { question = \"Sugar?\", choices = [\"yes\", \"no\"] } }\n\
    outputs = { n = \"steps.first.output.n\", sugar = \"steps.sugar.output\" }\n";

/// The facts of a run, as `WORD ADDRESS`; those of before it was resumed have `past ` in front.
async fn follow(run: &mut Run) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(event) = run.next().await {
        match event {
            Event::Fact { record, .. } => seen.push(format!("{} {}", record.fact.word(), record.address)),
            Event::Past { record, .. } => {
                seen.push(format!("past {} {}", record.fact.word(), record.address));
            }
            Event::Note { .. } => {}
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_a_verb_of_its_own_and_records_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let names = ["Ada".to_owned(), "Grace".to_owned()];
    embed::greet(&dir.path().join("runs"), &names, &mut out).await.unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("note {\"note\":\"line\",\"text\":\"greeting Grace\"}"), "{out}");
    assert!(out.contains("succeeded greetings[1]/greeting"), "{out}");
    assert!(out.ends_with("[\"Hello, Ada!\",\"Hello, Grace!\"]\n"), "{out}");
    // The program reads the same records.
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_atoll"))
        .args(["show", "last", "--data-dir"])
        .arg(dir.path().join("runs"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(shown.status.success(), "{shown:?}");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("greetings"), "{shown:?}");
}

struct Yes;

impl Asker for Yes {
    fn ask(&self, _: &Address, _: &Question) -> AnswerFuture {
        Box::pin(async { Some(Answer { answer: json!("yes"), by: "a test".to_owned(), note: None }) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_continues_in_another_process_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let atoll = Atoll::at(dir.path()).unwrap().with_file("pipelines/tea.toml", QUESTION);
    let ready = atoll.check(&atoll.load("tea").unwrap(), &json!({ "n": 4 })).unwrap();
    let mut run = atoll.run(&ready).unwrap();
    let (id, seen) = (run.id().clone(), follow(&mut run).await);
    assert!(seen.contains(&"succeeded first".to_owned()), "{seen:?}");
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome.status, RunStatus::Paused { .. }), "{outcome:?}");
    assert_eq!(outcome.outputs["n"], 5, "outputs so far");
    drop(atoll);
    // Without its files: the run has its own.
    let atoll = Atoll::at(dir.path()).unwrap().with_asker(Yes);
    let mut run = atoll.resume(&id).unwrap();
    let seen = follow(&mut run).await;
    assert!(seen.contains(&"past succeeded first".to_owned()), "{seen:?}");
    assert!(
        !seen.contains(&"started first".to_owned()) && !seen.contains(&"succeeded first".to_owned()),
        "{seen:?}"
    );
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome.status, RunStatus::Finished { code: 0, .. }), "{outcome:?}");
    assert_eq!(*outcome.outputs, json!({ "n": 5, "sugar": "yes" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_its_code() {
    let atoll = Atoll::in_memory().unwrap().with_file("pipelines/tea.toml", QUESTION);
    let mistakes = atoll.load("te").err().unwrap();
    assert!(mistakes.to_string().starts_with("error[E0002]"), "{mistakes}");
    let tea = atoll.load("tea").unwrap();
    assert!(tea.warnings().is_empty(), "{:?}", tea.warnings());
    let cases = [(json!({ "m": 1 }), "E0601"), (json!({ "n": "many" }), "E0603"), (json!([1]), "E0603")];
    for (inputs, code) in cases {
        let mistakes = atoll.check(&tea, &inputs).err().unwrap();
        assert_eq!(mistakes.diagnostics[0].code.number(), code, "{mistakes}");
    }
    assert_eq!(*atoll.check(&tea, &json!({})).unwrap().inputs(), json!({ "n": 1 }));
    let unknown = atoll.resume(&RunId::new("01nothing")).err().unwrap();
    assert!(matches!(unknown, Error::Store(_)) && unknown.to_string().contains("01nothing"), "{unknown}");
    // A run that is not followed comes to its end as well, also if what began it is gone.
    let atoll = atoll.with_asker(Yes);
    let run = atoll.run(&atoll.check(&tea, &json!({})).unwrap()).unwrap();
    drop(atoll);
    assert_eq!(run.outcome().await.unwrap().outputs["sugar"], "yes");
}
