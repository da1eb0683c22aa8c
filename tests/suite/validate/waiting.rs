//! A run that waits for the key of the judge: decided parts are reported, and the run continues when the
//! key is set.
#![expect(clippy::disallowed_methods, reason = "a model server of the test's own")]

use axum::Router;
use axum::routing::post;
use serde_json::json;

use super::{GREETING, PAGE, PAGES, served};
use crate::binary::Project;
use crate::llm::server::anthropic;

fn project() -> (Project, super::Site) {
    served(&[PAGES.as_slice(), &[("cases/page.yaml", PAGE), ("cases/greeting.yaml", GREETING)]].concat())
}

#[test]
fn what_is_decided_without_a_judge_is_told_while_its_key_is_missing() {
    let (project, site) = project();
    let run = ["validate", "--scenarios", "cases", "--target", &site.url, "--format"];
    let with = |format| project.run(&[run.as_slice(), &[format]].concat()).exits(7);
    let text =
        with("text").stdout_has("? greeting                       100.0/100  (weight 1.0)  1 unjudged");
    let text = text
        .stdout_has("✗   0 3. Nothing is not, 100% found")
        .stdout_has("(threshold 80, passing 80, 1 unjudged)");
    let text =
        text.stdout_has("ANTHROPIC_API_KEY is not set").stdout_has("`atoll resume last` continues the run");
    text.stderr_has("validate auth").stderr_has("exit 7");

    let report = with("json").json();
    assert_eq!(
        (&report["status"], &report["code"], &report["passed"]),
        (&json!("auth"), &json!(7), &json!(false))
    );
    assert!(report["message"].as_str().unwrap().contains("ANTHROPIC_API_KEY"), "{report}");
    assert_eq!(report["scenarios"][1]["score"], 50.0, "{report}");
    with("junit")
        .stdout_has("<testsuite name=\"validate\" tests=\"1\" skipped=\"1\"")
        .stdout_has("ANTHROPIC_API_KEY");
    with("github")
        .stdout_has("::warning title=the run waits%3A parts are undecided::")
        .stdout_has("::error title=page");

    // The same report, from the journal only.
    drop(site);
    let again = project
        .run(&["validate", "--of", report["run"].as_str().unwrap(), "--format", "json"])
        .exits(7)
        .json();
    assert_eq!(again["scenarios"], report["scenarios"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_key_it_goes_on_and_the_whole_report_is_there() {
    let verdict = json!({"parts": [{"expected": "a greeting", "found": "one", "holds": true}], "score": 90,
        "reason": "it greets", "failures": [], "category": "none"});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/v1/messages", post(move || async move { anthropic(&verdict.to_string(), "end_turn") }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let told = tokio::task::spawn_blocking(move || {
        let (project, site) = served(&[PAGES.as_slice(), &[("cases/greeting.yaml", GREETING)]].concat());
        project.run(&["validate", "--scenarios", "cases", "--target", &site.url, "-q"]).exits(7);
        drop(site);
        let project = project.env("ANTHROPIC_API_KEY", "k").env("ATOLL_ANTHROPIC_BASE_URL", &base);
        project.run(&["resume", "last", "-q"]).exits(0).stdout_has("status: satisfied");
        project.run(&["validate", "--of", "last", "--format", "json"])
    });
    let report = told.await.unwrap().exits(0).json();
    assert_eq!(
        (&report["status"], &report["aggregate_score"]),
        (&json!("satisfied"), &json!(95.0)),
        "{report}"
    );
    assert_eq!(report["scenarios"][0]["steps"][1]["reasoning"], "it greets");
}
