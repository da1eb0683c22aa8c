//! What is decided without a model, and how it is told.

use super::{GREETING, PAGE, PAGES, lasting, served};
use crate::binary::{Project, Ran};

fn project() -> (Project, super::Site) {
    served(&[PAGES.as_slice(), &[("cases/page.yaml", PAGE), ("cases/greeting.yaml", GREETING)]].concat())
}

fn validated(format: &str) -> Ran {
    let (project, site) = project();
    let target = ["--target", &site.url, "--format", format];
    project.run(&[["validate", "--scenarios", "cases", "--no-judge", "-q"].as_slice(), &target].concat())
}

#[test]
fn the_text_has_scores_and_the_evidence_of_what_failed() {
    let ran = validated("text").exits(4).stderr_has("validate unsatisfied");
    insta::assert_snapshot!(lasting(&ran.stdout));
}

#[test]
fn the_object_has_the_documented_keys() {
    let ran = validated("json").exits(4);
    insta::assert_snapshot!(lasting(&ran.stdout));
    let object = ran.json();
    assert_eq!(object["version"], 1);
    assert_eq!(object["scenarios"][1]["steps"].as_array().unwrap().len(), 4);
}

#[test]
fn junit_has_a_suite_for_each_scenario() {
    let ran = validated("junit").exits(4);
    insta::assert_snapshot!(lasting(&ran.stdout));
}

#[test]
fn annotations_stand_at_the_line_of_the_step() {
    let ran = validated("github").exits(4);
    insta::assert_snapshot!(lasting(&ran.stdout));
    assert!(ran.stdout.contains("file=cases/page.yaml,line=11,"), "{}", ran.stdout);
    assert!(ran.stdout.contains("title=page%3A 3. Nothing is not%2C 100%25 found"), "{}", ran.stdout);
}

#[test]
fn what_nobody_judged_is_never_passed() {
    let (project, site) = project();
    let run = |more: &[&str]| {
        let target = ["validate", "--scenarios", "cases", "--no-judge", "--format", "json", "--target"];
        project.run(&[&target, [site.url.as_str()].as_slice(), more].concat())
    };
    // Everything that is decided holds, and the rest is said to be open.
    let report = run(&["--only", "greet*"]).exits(0).json();
    assert_eq!((&report["unjudged"], &report["aggregate_score"]), (&1.into(), &100.0.into()));
    assert!(report["scenarios"][0]["passed"].is_null(), "{report}");
    assert!(report["scenarios"][0]["steps"][1]["score"].is_null(), "{report}");
    assert_eq!(report["scenarios"].as_array().unwrap().len(), 1);
    // Where nothing at all is decided, nothing is satisfied.
    project.write(
        "cases/vague.yaml",
        &GREETING.replace("assert: { status: 200 }", "expect: A page").replace("id: greeting", "id: vague"),
    );
    let report = run(&["--only", "vague"]).exits(4).json();
    assert_eq!(report["status"], "unjudged", "{report}");
    assert!(report["aggregate_score"].is_null() && report["passed"] == false, "{report}");
}

#[test]
fn scenarios_are_chosen_by_id_tag_and_tier() {
    let (project, site) = project();
    let run = |more: &[&str]| {
        let target = ["validate", "--scenarios", "cases", "--no-judge", "--format", "json", "--target"];
        project.run(&[&target, [site.url.as_str()].as_slice(), more].concat())
    };
    let ids = |ran: &Ran| {
        let report = ran.json();
        let all = report["scenarios"].as_array().unwrap().clone();
        all.iter().map(|scenario| scenario["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&run(&["--only", "page", "--only", "g*g"])), ["greeting", "page"]);
    assert_eq!(ids(&run(&["--only", "*a*"])), ["page"]);
    assert_eq!(ids(&run(&["--tier", "1"])), ["greeting"], "four steps are more advanced");
    let nothing = run(&["--only", "p.ge"]).exits(3).json();
    assert!(nothing["trouble"].as_str().unwrap().contains("leave out all 2"), "{nothing}");
    assert_eq!(ids(&run(&["--tag", "slow"]).exits(3)), Vec::<String>::new());
}

#[test]
fn what_cannot_be_validated_begins_no_run() {
    let (project, site) = project();
    let run = |more: &[&str]| project.run(&[["validate", "--scenarios", "cases"].as_slice(), more].concat());
    run(&[]).exits(3).stderr_has("give exactly one of `target`, `code` and `image`").stdout_is("");
    let both = run(&["--target", &site.url, "--image", "x", "--format", "github"]).exits(3);
    both.stdout_has("::error title=E0610").stdout_has("exactly one of");
    let json = run(&["--target", &site.url, "--code", "site", "--format", "json"]).exits(3).json();
    assert!(json.to_string().contains("E0610"), "{json}");
    for url in ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", "localhost"] {
        run(&["--target", url]).exits(3).stderr_has(&format!("`{url}` is no URL")).stdout_is("");
    }
    run(&["--code", "nowhere"]).exits(3).stderr_has("cannot read the directory `nowhere` for `code`");
    let nowhere = project.run(&["validate", "--scenarios", "nowhere", "--target", &site.url]).exits(3);
    nowhere.stderr_has("cannot read the directory `nowhere` for `scenarios`: No such file").stdout_is("");
    project.run(&["validate", "--target", &site.url]).exits(3).stderr_has("needs the input `scenarios`");
    project.run(&["validate", "--scenarois", "cases"]).exits(2).stderr_has("--scenarios");
    project.run(&["validate", "--help"]).exits(0).stdout_has("--grpc-target").stdout_has("--format <FORMAT>");
    assert!(!project.path(".atoll/atoll.db").exists(), "what cannot begin leaves nothing");
}

#[test]
fn a_directory_without_scenarios_is_nothing_to_hold() {
    let (project, site) = project();
    let none = project.run(&["validate", "--scenarios", "site", "--target", &site.url]).exits(3);
    none.stdout_has("there are no scenario files");
}

#[test]
fn a_broken_scenario_file_is_named_with_its_place() {
    let (project, site) = project();
    project.write("cases/broken.yaml", "id: broken\nsteps:\n  - request: { method: GET, path: [ }\n");
    let ran = project.run(&["validate", "--scenarios", "cases", "--target", &site.url]).exits(3);
    ran.stdout_has("cases/broken.yaml:3:");
}

#[test]
fn a_target_that_is_gone_fails_with_its_reason() {
    let (project, site) = project();
    let url = site.url.clone();
    drop(site);
    let ran = project.run(&["validate", "--scenarios", "cases", "--target", &url, "--no-judge"]).exits(4);
    ran.stdout_has("refused").stdout_has("✗ greeting");
}

#[test]
fn commands_against_a_bare_target_are_trouble_of_ours() {
    let (project, site) = project();
    project.write(
        "cases/tool.yaml",
        "id: tool\nsteps:\n  - exec: { command: 'true' }\n    assert: { exit_code: 0 }\n",
    );
    let only = ["--only", "tool", "--only", "greeting", "--format", "json", "--no-judge"];
    let ran = project
        .run(&[&["validate", "--scenarios", "cases", "--target", &site.url], only.as_slice()].concat());
    let report = ran.exits(1).json();
    assert_eq!(report["status"], "undecided", "{report}");
    let tool = &report["scenarios"][1];
    assert!(tool["trouble"].as_str().unwrap().contains("`exec` steps"), "{tool}");
    assert!(tool["score"].is_null(), "{tool}");
}

#[test]
fn a_setup_that_breaks_has_its_exchange_in_every_report() {
    let (project, site) = project();
    let setup = "setup:\n  - description: Log in\n    request: { method: POST, path: /login }\n    \
        assert: { status: 200 }\nsteps:";
    project.write("cases/page.yaml", &PAGE.replacen("steps:", setup, 1));
    let target = ["--target", &site.url, "--only", "page", "-q"];
    let text = project.run(&[["validate", "--scenarios", "cases"].as_slice(), &target].concat()).exits(4);
    let text = text.stdout_has("✗ setup, step 1  Log in").stdout_has("POST /login").stdout_has("HTTP 501");
    assert!(!text.stdout.contains("not run"), "{}", text.stdout);
    // A recorded run is told again in any format, and nothing is asked of the program.
    drop(site);
    let again = |format| project.run(&["validate", "--of", "last", "--format", format, "-q"]).exits(4);
    again("junit").stdout_has("<testcase name=\"setup 1. Log in\"").stdout_has("failures=\"5\"");
    again("github").stdout_has("::error title=page%3A its setup broke,file=cases/page.yaml,line=1");
    let object = again("json").json();
    assert_eq!(object["scenarios"][0]["broken"]["step"], 0, "{object}");
    assert_eq!(object["scenarios"][0]["steps"][0]["score"], 0, "{object}");
}

/// What steers a terminal, turns the reading direction, or is not seen at all.
const HIDDEN: [char; 8] =
    ['\u{1b}', '\0', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{e0041}'];

#[test]
fn no_format_passes_on_what_cannot_be_seen() {
    let tricks: String = HIDDEN.iter().collect();
    let scenario = "id: tricks
steps:
  - request: { method: GET, path: /tricks.txt }
    assert: { body: { contains: nothing }, header: { X-None: there } }
";
    let (project, site) =
        served(&[PAGES.as_slice(), &[("cases/a.yaml", scenario), ("site/tricks.txt", &tricks)]].concat());
    for format in ["text", "json", "junit", "github"] {
        let run = ["validate", "--scenarios", "cases", "--no-judge", "-q", "--format", format, "--target"];
        let ran = project.run(&[run.as_slice(), &[&site.url]].concat()).exits(4);
        assert!(ran.stdout.contains("tricks"), "{}", ran.stdout);
        let passed_on: Vec<char> = ran.stdout.chars().filter(|c| HIDDEN.contains(c)).collect();
        assert!(passed_on.is_empty(), "{format}: {passed_on:?}");
        let shown = if format == "json" { "\\u202e" } else { "\\u{202e}" };
        assert!(ran.stdout.contains(shown), "{format}: {}", ran.stdout);
    }
    let ran = project.run(&["show", "last", "outputs"]);
    assert!(!ran.stdout.chars().any(|c| HIDDEN.contains(&c)));
}
