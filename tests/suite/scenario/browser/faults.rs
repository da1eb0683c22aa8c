//! Failures of pages, of the program under test and of Chromium.
#![expect(clippy::disallowed_methods, reason = "tests start programs and end them")]

use std::future::pending;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use atoll::chromium::{Chromium, ChromiumSettings};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Kept, assert_all_hold, browse, chromium, text};
use crate::fifo::{Group, processes_with};
use crate::scenario::program::serve;
use crate::scenario::steps;

const FLOOD: &str =
    "<title>Flood</title><script>for (let i = 0; i < 20000; i++) console.error('x'.repeat(2000));
document.write('<p>begin</p>' + '<div><span>some words </span></div>'.repeat(50000) + '<p>end</p>')</script>";

fn broken() -> Router {
    let page = |html: &'static str| get(move || async move { Html(html) });
    Router::new()
        .route("/", page("<title>Fine</title><button onclick='for (;;);'>Spin</button>"))
        .route("/image", page("<title>Image</title><p>text</p><img src=/never>"))
        .route("/spins", page("<title>Spins</title><script>for (;;);</script>"))
        .route("/flood", page(FLOOD))
        .route("/never", get(pending::<()>))
        .route("/reloads", page("<title>Reloads</title><p>again</p><script>location.reload()</script>"))
        .route(
            "/soon",
            page("<title>Soon</title><script>setTimeout(() => location.replace('/still'), 50)</script>"),
        )
        .route("/still", page("<title>Still</title><h1>  Hello\n <b>big</b>&nbsp;wor&shy;ld </h1>"))
        .route("/poll", page("<title>Poll</title><button onclick='fetch(`/never`)'>Ask</button><p>there"))
}

#[tokio::test]
async fn the_time_of_a_step_bounds_all_of_it() {
    let Some(chromium) = chromium("the_time_of_a_step_bounds_all_of_it").await else { return };
    let url = serve(broken()).await;
    let scenario = steps(
        r#"
- { browser: { action: navigate, url: /, timeout: 20s }, assert: { title: Fine } }
- { browser: { action: click, selector: "role=button[name=\"Nobody\"]", timeout: 2s }, expect: x }
- { browser: { action: wait, text: never, timeout: 2s }, expect: x }
- { browser: { action: assert, selector: p, text: never, timeout: 2s }, expect: x }
- { browser: { action: click, selector: text=Spin, timeout: 2s }, expect: x }
- { browser: { action: navigate, url: /spins, timeout: 2s }, expect: x }
- { browser: { action: navigate, url: /reloads, timeout: 2s }, expect: x }
- { browser: { action: wait, selector: text=nowhere, timeout: 2s }, expect: x }
"#,
    );
    let seen = browse(&chromium, &scenario, &url, Some(&Kept::default())).await;
    for step in &seen.steps[1..] {
        // On a busy machine, timeouts fire late.
        assert!(
            step.duration_ms <= 2_700,
            "step {} took {} ms: {:?}",
            step.index + 1,
            step.duration_ms,
            step.error
        );
        assert_ne!(step.decided, atoll::scenario::StepDecision::Held);
        let error = step.error.as_deref().unwrap_or_default();
        assert!(!error.contains("ReferenceError"), "{error}");
    }
    assert_eq!(seen.steps[6].error.as_deref(), Some("the page had not finished loading after 2s"));
}

#[tokio::test]
async fn a_page_that_replaces_itself_is_looked_at_and_text_is_what_a_person_sees() {
    let Some(chromium) = chromium("a_page_that_replaces_itself").await else { return };
    let url = serve(broken()).await;
    let scenario = steps(
        r#"
- { browser: { action: navigate, url: /soon, timeout: 20s }, assert: { text: Hello big world } }
- { browser: { action: assert, selector: h1, text: Hello big world, text_absent: Hello  world } }
- { browser: { action: assert, selector: "text=Hello big world", count: 1 } }
- { browser: { action: wait, text: Hello big world, timeout: 5s }, assert: { text: { equals: Hello big world } } }
"#,
    );
    assert_all_hold(&browse(&chromium, &scenario, &url, None).await);
}

#[tokio::test]
async fn a_page_that_hangs_breaks_its_step_and_no_other() {
    let Some(chromium) = chromium("a_page_that_hangs_breaks_its_step_and_no_other").await else { return };
    let url = serve(broken()).await;
    let scenario = steps(
        r#"
- { browser: { action: click, selector: button }, expect: x }
- { browser: { action: navigate, url: /never, timeout: 500ms }, expect: x }
- { browser: { action: navigate, url: /image, timeout: 1s }, expect: x }
- { browser: { action: navigate, url: / }, assert: { title: Fine } }
- { browser: { action: click, selector: text=Spin, timeout: 500ms }, expect: x }
- { browser: { action: navigate, url: /, timeout: 20s }, assert: { title: Fine } }
- { browser: { action: navigate, url: /spins, timeout: 1s }, expect: x }
- { browser: { action: navigate, url: /poll, timeout: 20s }, assert: { title: Poll } }
- { browser: { action: click, selector: button, timeout: 20s }, assert: { text: there } }
- { browser: { action: click, selector: "!!", timeout: 20s }, expect: x }
"#,
    );
    let seen = browse(&chromium, &scenario, &url, None).await;
    let errors: Vec<_> = seen.steps.iter().map(|step| step.error.as_deref().unwrap_or_default()).collect();
    assert_eq!(
        errors,
        [
            "no page is open: a `navigate` step opens one",
            "the page had not finished loading after 500ms",
            "the page had not finished loading after 1s",
            "",
            "the page did not answer within 500ms",
            "",
            "the page had not finished loading after 1s",
            "",
            "",
            "`!!` is not a CSS selector",
        ]
    );
    assert!(text(&seen.steps[2]).contains("Title: Image"), "{:?}", seen.steps[2].observed);
    for line in [3, 5, 7, 8] {
        assert!(seen.steps[line].assertions[0].ok, "{:?}", seen.steps[line]);
    }
    assert!(seen.steps[8].duration_ms < 10_000, "a request without an answer is not waited for");
}

#[tokio::test]
async fn nobody_at_the_target_and_floods() {
    let Some(chromium) = chromium("nobody_at_the_target_and_floods").await else { return };
    let page = steps("- { browser: { action: navigate, url: / }, expect: x }");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let seen = browse(&chromium, &page, &free, None).await;
    assert_eq!(seen.steps[0].error.as_deref(), Some("no answer: connection refused"));
    let url = serve(broken()).await;
    let flood = steps(
        r#"
- browser: { action: navigate, url: /flood, timeout: 60s }
  assert:
    text: { contains: [begin, end] }
    console: { contains: "more lines" }
- browser: { action: assert, selector: span, count: 50000, timeout: 60s }
- browser: { action: assert, selector: body, timeout: 3s }
  assert: { text: { not_contains: nothing } }
"#,
    );
    let mut seen = browse(&chromium, &flood, &url, None).await;
    let cut = seen.steps.pop().unwrap();
    assert_eq!(cut.assertions[0].reason.as_deref(), Some("text is too long to be checked as a whole"));
    assert_all_hold(&seen);
    let bytes = serde_json::to_vec(&seen).unwrap().len();
    assert!(bytes < 1 << 20, "an observation is bounded: {bytes}");
}

/// A Chromium that can be identified by a word on its command line.
fn marked(dir: &Path, word: &str) -> Option<PathBuf> {
    let found = std::env::var("PATH").unwrap().split(':').find_map(|dir| {
        ["chromium-headless-shell", "chromium"]
            .into_iter()
            .map(|name| Path::new(dir).join(name))
            .find(|file| file.exists())
    })?;
    let file = dir.join("marked-chromium");
    std::fs::write(&file, format!("#!/bin/sh\nexec {} \"$@\" --atoll-test={word}\n", found.display()))
        .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(file)
}

fn pids(word: &str) -> Vec<Pid> {
    let lines = processes_with(&format!("--atoll-test={word}"));
    lines.iter().filter_map(|line| line.split(' ').next()?.parse().ok()).map(Pid::from_raw).collect()
}

/// Fails if processes with `word` do not end soon.
fn assert_gone(word: &str) {
    assert!((0..100_000).any(|_| pids(word).is_empty()), "{:?}", processes_with(word));
}

#[tokio::test]
async fn a_crash_of_chromium_breaks_a_step_and_the_next_scenario_has_a_new_one() {
    let test = "a_crash_of_chromium";
    if chromium(test).await.is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let word = format!("crash-{}", std::process::id());
    let Some(program) = marked(dir.path(), &word) else {
        return println!("skipped: {test}: no chromium on PATH");
    };
    let chromium = Chromium::new(ChromiumSettings {
        program: Some(program.display().to_string()),
        path: std::env::var("PATH").unwrap(),
    });
    let killer = word.clone();
    let crash = get(move || async move {
        for pid in pids(&killer) {
            kill(pid, Signal::SIGKILL).unwrap();
        }
        pending::<()>().await;
    });
    let url = serve(broken().route("/crash", crash)).await;
    let scenario = steps(
        "
- { browser: { action: navigate, url: / }, assert: { title: Fine } }
- { browser: { action: navigate, url: /crash }, expect: x }
- { browser: { action: click, selector: button }, expect: x }
",
    );
    let seen = browse(&chromium, &scenario, &url, None).await;
    assert!(seen.steps[0].assertions[0].ok);
    assert_eq!(seen.steps[1].error.as_deref(), Some("the browser ended"));
    assert_eq!(seen.steps[2].error.as_deref(), Some("no page is open: a `navigate` step opens one"));
    let page = steps("- { browser: { action: navigate, url: / }, assert: { title: Fine } }");
    assert_all_hold(&browse(&chromium, &page, &url, None).await);
    assert!(!pids(&word).is_empty());
    drop(chromium);
    assert_gone(&word);
}

#[tokio::test]
async fn atoll_killed_leaves_no_chromium_behind() {
    let test = "atoll_killed_leaves_no_chromium_behind";
    if chromium(test).await.is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let word = format!("kill-{}", std::process::id());
    let Some(program) = marked(dir.path(), &word) else {
        return println!("skipped: {test}: no chromium on PATH");
    };
    let (came, mut come) = tokio::sync::mpsc::unbounded_channel();
    let never = get(move || async move {
        came.send(()).unwrap();
        pending::<()>().await;
    });
    let url = serve(Router::new().route("/", never)).await;
    std::fs::create_dir_all(dir.path().join("cases")).unwrap();
    std::fs::create_dir_all(dir.path().join("tmp")).unwrap();
    let page = "id: a\nsteps:\n  - { browser: { action: navigate, url: /, timeout: 1h }, expect: x }\n";
    std::fs::write(dir.path().join("cases/a.yaml"), page).unwrap();
    let pipeline = format!(
        "atoll = 1\n[steps.cases]\nscenario_load = {{ dir = 'cases' }}\n[steps.trial.each]\nover = 'steps.cases.output.scenarios'\n\
         [steps.trial.steps.one]\nscenario = {{ scenario = '{{{{ item }}}}', target = '{url}' }}\n"
    );
    std::fs::write(dir.path().join("trial.toml"), pipeline).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.args(["run", "trial.toml"]).current_dir(dir.path());
    command.env("ATOLL_CHROMIUM", &program).env("TMPDIR", dir.path().join("tmp"));
    let mut group = Group::start(command);
    let pid = group.pid();
    tokio::select! {
        came = come.recv() => came.unwrap(),
        status = tokio::task::spawn_blocking(move || nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT)) => panic!("{status:?}"),
    }
    assert!(!pids(&word).is_empty());
    group.child.kill().unwrap();
    tokio::task::spawn_blocking(move || group.wait_for_all()).await.unwrap();
    assert_gone(&word);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
