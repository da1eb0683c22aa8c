//! Decisions without a model, and their reports.
#![expect(clippy::disallowed_methods, reason = "tests start the program under test")]

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
    // All decided steps passed, and the rest is reported as undecided.
    let report = run(&["--only", "greet*"]).exits(0).json();
    assert_eq!((&report["unjudged"], &report["aggregate_score"]), (&1.into(), &100.0.into()));
    assert!(report["scenarios"][0]["passed"].is_null(), "{report}");
    assert!(report["scenarios"][0]["steps"][1]["score"].is_null(), "{report}");
    assert_eq!(report["scenarios"].as_array().unwrap().len(), 1);
    // If nothing is decided, the result is not satisfied.
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
fn a_single_file_is_enough() {
    let (project, site) = project();
    project.write("cases/fixtures/login.yaml", "setup: [{ request: { method: GET, path: / } }]\n");
    project.write("cases/one.yaml", &GREETING.replace("steps:", "fixtures: [login]\nsteps:"));
    project.write("cases/broken.yaml", "id: [\n");
    let run = |file: &str| {
        let more = ["--no-judge", "--format", "json", "--target", &site.url];
        project.run(&[&["validate", "--scenarios", file], more.as_slice()].concat())
    };
    let report = run("cases/one.yaml").exits(0).json();
    assert_eq!(report["totals"]["scenarios"]["total"], 1, "{report}");
    assert_eq!(report["scenarios"][0]["file"], "cases/one.yaml");
    run("cases/nothing.yaml")
        .exits(3)
        .stdout_has("cannot read `cases/nothing.yaml` for `scenarios`: No such file");
    let again = project.run(&["validate", "--of", "last", "--format", "json"]).json();
    assert_eq!(again["scenarios"], report["scenarios"], "the report is the same as after the run");
}

#[test]
fn commands_need_a_program_that_atoll_starts() {
    let (project, site) = project();
    project.write(
        "cases/tool.yaml",
        "id: tool\nsteps:\n  - exec: { command: touch ran }\n    assert: { exit_code: 0 }\n",
    );
    let run = |more: &[&str]| {
        let target = ["validate", "--scenarios", "cases", "--no-judge", "--target", &site.url];
        project.run(&[&target, more].concat())
    };
    run(&[])
        .exits(3)
        .stdout_has("`exec` and `tui` steps run inside a program that Atoll starts")
        .stdout_has("nothing was run")
        .stdout_has("Give the files that they need as `--service-dir DIR`")
        .stdout_has("(`--only`, `--tag`): tool");
    let report = run(&["--format", "json"]).exits(3).json();
    assert_eq!(report["scenarios"], serde_json::json!([]), "{report}");
    run(&["--only", "page"]).exits(4).stdout_has("page");
}

/// Output of a command in a shell.
#[expect(clippy::disallowed_methods, reason = "runs a command in a shell as a user does")]
fn pasted(command: &str) -> String {
    let output = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_failed_request_can_be_pasted_into_a_shell() {
    let (project, site) = project();
    project.write(
        "cases/sends.yaml",
        "id: sends\nsteps:\n  - request: { method: POST, path: \"/it's?a=b c\", body: \"it's\", headers: { Authorization: Bearer open-sesame } }\n    assert: { status: 201 }\n",
    );
    let run = |more: &[&str]| {
        let target =
            ["validate", "--scenarios", "cases", "--only", "sends", "--no-judge", "--target", &site.url];
        project.run(&[&target, more].concat()).exits(4)
    };
    let command =
        run(&["--format", "json"]).json()["scenarios"][0]["steps"][0]["curl"].as_str().unwrap().to_owned();
    assert!(command.contains("\"$AUTHORIZATION\"") && !command.contains("sesame"), "{command}");
    run(&[]).stdout_has(&command);
    run(&["--format", "junit"]).stdout_has("--- try it\ncurl -sS -i -X POST");
    let again = pasted(&format!("AUTHORIZATION=x; {command}"));
    assert!(again.contains("501 Unsupported method"), "{again}");
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
    nowhere.stderr_has("cannot read `nowhere` for `scenarios`: No such file").stdout_is("");
    project.run(&["validate", "--target", &site.url]).exits(3).stderr_has("needs the input `scenarios`");
    project.run(&["validate", "--scenarois", "cases"]).exits(2).stderr_has("--scenarios");
    project.run(&["validate", "--help"]).exits(0).stdout_has("--grpc-target").stdout_has("--format <FORMAT>");
    assert!(!project.path(".atoll/atoll.db").exists(), "a run that cannot start leaves no files");
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
fn a_target_that_is_not_there_says_nothing_about_the_program() {
    let (project, site) = project();
    let url = site.url.clone();
    drop(site);
    let run = |more: &[&str]| {
        project.run(
            &[["validate", "--scenarios", "cases", "--target", &url, "--no-judge"].as_slice(), more].concat(),
        )
    };
    run(&[])
        .exits(10)
        .stdout_has("the target is unreachable")
        .stdout_has("refused")
        .stderr_has("validate unreachable");
    let json = run(&["--format", "json"]).exits(10).json();
    assert_eq!(
        (&json["status"], &json["totals"]["scenarios"]["skipped"]),
        (&"unreachable".into(), &2.into()),
        "{json}"
    );
    run(&["--format", "junit"]).exits(10).stdout_has("the target is reachable").stdout_has("skipped=\"2\"");
    run(&["--format", "github"]).exits(10).stdout_has("::error title=the target is unreachable");
}

#[test]
fn a_grpc_target_that_is_not_there_says_nothing_about_the_program() {
    let call =
        "id: call\nsteps:\n  - grpc: { service: a.B, method: C, body: {} }\n    assert: { status: OK }\n";
    let (project, site) = project();
    project.write("calls/call.yaml", call);
    let run = |cases: &str, grpc: &str, more: &[&str]| {
        let own =
            ["validate", "--scenarios", cases, "--target", &site.url, "--no-judge", "--grpc-target", grpc];
        project.run(&[own.as_slice(), more].concat())
    };
    for grpc in ["http://127.0.0.1:1", "127.0.0.1:1", "grpcs://127.0.0.1:1"] {
        run("calls", grpc, &[])
            .exits(10)
            .stdout_has("gRPC at 127.0.0.1:1")
            .stderr_has("validate unreachable");
    }
    run("calls", "http://127.0.0.1:1", &["--format", "json"])
        .exits(10)
        .stdout_has("\"unreachable\": \"gRPC at");
    // Scenarios without gRPC calls do not need the gRPC target.
    run("cases", "http://127.0.0.1:1", &[]).exits(4);
    for nonsense in ["nonsense", "ftp://127.0.0.1:1", "http://", "http:///x", ""] {
        run("calls", nonsense, &[]).exits(3).stderr_has("`grpc_target`");
    }
    let code = ["validate", "--scenarios", "cases", "--code", "site", "--grpc-target", "http://127.0.0.1:1"];
    project.run(&code).exits(3).stderr_has("use `grpc_port`");
}

#[test]
fn options_without_effect_are_refused() {
    let (project, site) = project();
    project.write("own.pem", "x");
    project.write("environment.toml", "[program]\nport = 1\n");
    let refused = |more: &[&str], why: &str| {
        let own = ["validate", "--scenarios", "cases", "--target", &site.url];
        project.run(&[own.as_slice(), more].concat()).exits(3).stderr_has(why);
    };
    let plain = "is reached without it";
    refused(&["--insecure"], plain);
    refused(&["--ca-cert", "own.pem"], plain);
    refused(&["--client-cert", "own.pem", "--client-key", "own.pem"], plain);
    refused(&["--insecure", "--grpc-target", "http://127.0.0.1:1"], plain);
    refused(&["--environment", "environment.toml"], "`environment` says");
    refused(&["--no-judge", "--budget", "1"], "`budget` is for judging");
    refused(&["--ca-cert", "site"], "cannot read `site` for `ca_cert`: it is a directory");
    let help = project.run(&["validate", "--help"]).exits(0).stdout;
    assert!(help.contains("--ca-cert <FILE>") && help.contains("--client-key <FILE>"), "{help}");
}

/// The program starts after the validation.
#[test]
fn a_target_is_waited_for() {
    let (project, site) = project();
    let port = site.url.rsplit(':').next().unwrap().to_owned();
    drop(site);
    project.write(
        "late.sh",
        "read -r line < events\nexec python3 -m http.server \"$1\" --bind 127.0.0.1 --directory site > /dev/null 2>&1\n",
    );
    nix::unistd::mkfifo(&project.path("events"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut late = std::process::Command::new("sh");
    let mut late = late.args(["late.sh", &port]).current_dir(project.path("")).spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let ran = project.run(&[
        "validate",
        "--scenarios",
        "cases",
        "--only",
        "page",
        "--target",
        &url,
        "--no-judge",
        "--wait",
        "60s",
        "--events",
        "events",
    ]);
    late.kill().ok();
    late.wait().ok();
    ran.exits(4).stdout_has("✗ page").stdout_has("4 steps: 2 passed, 2 failed");
}

#[test]
fn options_that_do_nothing_are_refused() {
    let (project, site) = project();
    let run = |more: &[&str]| {
        project.run(&[["validate", "--scenarios", "cases"].as_slice(), more].concat()).exits(3)
    };
    for option in [["--boot", "5s"], ["--ready", "/up"], ["--port", "81"], ["--runtime", "process"]] {
        run(&[["--target", &site.url].as_slice(), &option].concat())
            .stderr_has("use `wait` to wait for the target");
    }
    run(&["--code", "site", "--wait", "5s"]).stderr_has("`wait` is for `target`");
    run(&["--target", &site.url, "--variable", "novalue"])
        .stderr_has("`novalue` is not a variable: write NAME=VALUE");
}

const TEN: &str = "id: ten
steps:
  - request: { method: GET, path: / }
    repeat: 9
    assert: { status: 200 }
    weight: 9
  - request: { method: GET, path: / }
    assert: { status: 418 }
";

/// Like a test runner: without a judge, one failed assertion is a failure, even if many others pass.
#[test]
fn one_failed_assertion_fails_unless_a_threshold_is_given() {
    let (project, site) = served(&[PAGES.as_slice(), &[("cases/ten.yaml", TEN)]].concat());
    let run = |more: &[&str]| {
        project.run(
            &[["validate", "--scenarios", "cases", "--target", &site.url, "-q"].as_slice(), more].concat(),
        )
    };
    for more in [[].as_slice(), &["--no-judge"]] {
        let ran = run(more).exits(4).stderr_has("validate unsatisfied");
        ran.stdout_has("✗ ten")
            .stdout_has("90.0/100 (threshold 100)")
            .stdout_has("2 steps: 1 passed, 1 failed");
    }
    run(&["--threshold", "80", "--passing", "80"]).exits(0).stdout_has("✓ ten");
}

#[test]
fn a_failed_assertion_of_no_weight_fails_as_well() {
    for weight in ["0", "0.000000001"] {
        let text = format!(
            "id: light\nsteps:\n  - request: {{ method: GET, path: / }}\n    assert: {{ status: 200 }}\n  \
             - request: {{ method: GET, path: /none }}\n    weight: {weight}\n    assert: {{ status: 200 }}\n"
        );
        let (project, site) = served(&[PAGES.as_slice(), &[("cases/light.yaml", &text)]].concat());
        let own = ["validate", "--scenarios", "cases", "--target", &site.url, "-q", "--no-judge"];
        project.run(&own).exits(4).stdout_has("✗ light").stdout_has("2 steps: 1 passed, 1 failed");
        project.run(&[own.as_slice(), &["--threshold", "99", "--passing", "99"]].concat()).exits(0);
    }
}

#[test]
fn reports_are_written_in_several_formats_at_once() {
    let (project, site) = project();
    let ran = project.run(&[
        "validate",
        "--scenarios",
        "cases",
        "--target",
        &site.url,
        "--no-judge",
        "-q",
        "--report",
        "junit=report.xml",
        "--report",
        "json=report.json",
    ]);
    ran.exits(4).stdout_has("Aggregate satisfaction");
    assert!(project.read("report.xml").contains("<testsuites"), "{}", project.read("report.xml"));
    let json: serde_json::Value = serde_json::from_str(&project.read("report.json")).unwrap();
    assert_eq!(json["totals"]["steps"]["total"], 6, "{json}");
    let wrong =
        project.run(&["validate", "--scenarios", "cases", "--target", &site.url, "--report", "xml=x"]);
    wrong.exits(2).stderr_has("unknown format `xml`");
    let wrong = project.run(&[
        "validate",
        "--scenarios",
        "cases",
        "--target",
        &site.url,
        "--no-judge",
        "-q",
        "--report",
        "json=no/where/x",
    ]);
    wrong.exits(1).stderr_has("cannot write the report");
}

const NAMED: &str = "id: named
steps:
  - request: { method: GET, path: '/{page}' }
    assert: { status: 200, body: { contains: '{word}' } }
";

#[test]
fn variables_come_from_the_command_line_and_from_a_file() {
    let named =
        [("cases/named.yaml", NAMED), ("vars", "# what to look for\nword = Gadget\npage=index.html\n")];
    let (project, site) = served(&[PAGES.as_slice(), &named].concat());
    let run = |more: &[&str]| {
        project.run(
            &[["validate", "--scenarios", "cases", "--target", &site.url, "-q"].as_slice(), more].concat(),
        )
    };
    run(&["--variable", "page=items.json", "--variable", "word=Widget"]).exits(0);
    run(&["--variables-file", "vars", "--variable", "word=Good morning"])
        .exits(3)
        .stderr_has("`word = Gadget` is not");
    project.write("vars", "# what to look for\nword=Gadget\n\npage=index.html\n");
    run(&["--variables-file", "vars"]).exits(4);
    run(&["--variables-file", "vars", "--variable", "word=Good morning"]).exits(0);
    run(&["--variable", "page=items.json"])
        .exits(3)
        .stdout_has("`{word}` never has a value")
        .stdout_has("--variable word=VALUE");
}

#[test]
fn commands_against_a_bare_target_are_refused_before_anything_runs() {
    let (project, site) = project();
    project.write(
        "cases/tool.yaml",
        "id: tool\nsteps:\n  - exec: { command: 'true' }\n    assert: { exit_code: 0 }\n",
    );
    let only = ["--only", "tool", "--only", "greeting", "--format", "json", "--no-judge"];
    let ran = project
        .run(&[&["validate", "--scenarios", "cases", "--target", &site.url], only.as_slice()].concat());
    let report = ran.exits(3).json();
    assert_eq!(
        (&report["status"], &report["scenarios"]),
        (&serde_json::json!("wrong"), &serde_json::json!([])),
        "{report}"
    );
    let trouble = report["trouble"].as_str().unwrap();
    assert!(trouble.contains("`exec` and `tui` steps") && trouble.ends_with(": tool"), "{trouble}");
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
    // A recorded run can be reported in any format, without requests to the program.
    drop(site);
    let again = |format| project.run(&["validate", "--of", "last", "--format", format, "-q"]).exits(4);
    again("junit").stdout_has("<testcase name=\"setup 1. Log in\"").stdout_has("failures=\"5\"");
    again("github").stdout_has("::error title=page%3A its setup failed,file=cases/page.yaml,line=1");
    let object = again("json").json();
    assert_eq!(object["scenarios"][0]["broken"]["step"], 0, "{object}");
    assert_eq!(object["scenarios"][0]["steps"][0]["score"], 0, "{object}");
}

/// Characters that control a terminal, change the reading direction, or are invisible.
const HIDDEN: [char; 11] = [
    '\u{1b}',
    '\0',
    '\u{9b}',
    '\u{202e}',
    '\u{2066}',
    '\u{200b}',
    '\u{feff}',
    '\u{e0041}',
    '\u{fffe}',
    '\u{ffff}',
    '\u{fdd0}',
];

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

/// Neither the name of a scenario nor the answer of a program can forge a line of the report or send a
/// command to a CI system.
#[test]
fn no_line_of_the_text_is_anybody_elses() {
    const FORGED: &str = "x\n::error::forged\n  ::warning file=a::forged\n##[error]forged\nforged line";
    let name = serde_json::to_string(FORGED).unwrap();
    let scenario = format!(
        "id: {name}
description: {name}
setup:
  - description: {name}
    request: {{ method: GET, path: /forged.txt }}
    assert: {{ status: 404 }}
steps:
  - request: {{ method: GET, path: / }}
    assert: {{ status: 200 }}
"
    );
    let step = format!(
        "id: step
steps:
  - description: {name}
    request: {{ method: GET, path: /forged.txt }}
    assert: {{ status: 404 }}
"
    );
    let files = [
        ("cases/a\n::error::forged.yaml", scenario.as_str()),
        ("cases/b.yaml", &step),
        ("site/forged.txt", FORGED),
    ];
    let (project, site) = served(&[PAGES.as_slice(), &files].concat());
    let ran = project.run(&["validate", "--scenarios", "cases", "--no-judge", "-q", "--target", &site.url]);
    let lint = project.run(&["lint", "cases"]);
    let shown = project.run(&["show", "last"]);
    for ran in [ran.exits(4), lint, shown] {
        for line in ran.stdout.lines().chain(ran.stderr.lines()) {
            let body = line.trim_start();
            assert!(!body.starts_with("::") && !body.starts_with("##["), "{line:?}");
            assert!(!line.starts_with("forged line"), "{line:?}");
        }
    }
}
