//! Values inside values inside values, and work without an end: refused where they are made, with a clear word, and no run
//! is lost by them.

use std::fmt::Write as _;

use crate::binary::Project;
use crate::validate::Site;

fn nest(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn deep_files(project: Project) -> Project {
    [60, 65, 100, 120, 126, 5_000]
        .into_iter()
        .fold(project, |project, levels| project.file(&format!("www/{levels}.json"), &nest(levels)))
}

/// The last run can be shown, and so resumed: its journal can be read.
#[track_caller]
fn can_be_read(project: &Project) {
    for command in ["show", "log", "cost"] {
        project.run(&[command, "last"]).exits(0);
    }
}

const LOOP: &str = r#"atoll = 1
[steps.l.loop]
max = 140
result = "state.n"
[steps.l.loop.state]
n = 0
best = "none"
[steps.l.loop.next]
n = "state.n + 1"
best = "{'n': state.n, 'before': state.best}"
[steps.l.steps.s]
set = { x = 1 }
"#;

#[test]
fn a_loop_that_puts_its_state_into_itself_fails_and_stays_readable() {
    let project = Project::new().file("pipelines/l.toml", LOOP);
    project.run(&["run", "l"]).exits(1).stderr_has("nested more than 96 levels deep");
    can_be_read(&project);
}

#[test]
fn values_that_grow_inside_each_other_fail_before_they_take_the_memory() {
    let compute = |next: &str| {
        format!(
            "atoll = 1\n[steps.a]\ncompute = {{ init = {{ l = '[1]' }}, next = {{ l = \"{next}\" }}, max = 100000 }}\n"
        )
    };
    let in_loop = |next: &str| {
        format!(
            "atoll = 1\n[steps.a.loop]\nmax = 200\n[steps.a.loop.state]\nl = '[1]'\n[steps.a.loop.next]\nl = \"{next}\"\n\
             [steps.a.steps.b]\nset = {{ x = 1 }}\n"
        )
    };
    // Much larger in each round: what is recorded before that is small.
    let many = |text: &str| format!("[{}]", vec![text; 30].join(", "));
    let mut sets = "atoll = 1\n[steps.s0]\nset = { x = [1] }\n".to_owned();
    for n in 1..10 {
        let inner = many(&format!("steps.s{}.output.x", n - 1));
        let _ = write!(sets, "[steps.s{n}]\nset = {{ x = \"{{{{ {inner} }}}}\" }}\n");
    }
    let (deep, large) = ("nested more than 96 levels deep", "larger than 64 MiB");
    let project = Project::new();
    for (name, pipeline, why) in [
        ("c6", compute("[state.l]"), deep),
        ("c1", compute("[state.l, state.l]"), large),
        ("c3", compute("{'a': state.l, 'b': state.l}"), large),
        ("l1", in_loop(&many("state.l")), large),
        ("l2", in_loop(&many("loop.history")), "the value is "),
        ("s1", sets, large),
    ] {
        project.write(&format!("pipelines/{name}.toml"), &pipeline);
        project.run(&["run", name]).exits(1).stderr_has(why);
        can_be_read(&project);
    }
}

#[test]
fn deep_json_of_files_and_programs_is_refused_where_it_comes_in() {
    let project = deep_files(Project::new());
    let site = Site::of(&project.path("www"));
    for levels in [60, 65, 100, 126, 5_000] {
        let read = format!(
            "atoll = 1\n[steps.a]\nread = {{ path = 'www/{levels}.json' }}\n[outputs]\nv = \"steps.a.output.value\"\n"
        );
        project.write("pipelines/r.toml", &read);
        let http = format!(
            "atoll = 1\n[steps.a]\nhttp = {{ url = '{}/{levels}.json' }}\n[outputs]\nis = \"steps.a.output.json is defined\"\n",
            site.url
        );
        project.write("pipelines/h.toml", &http);
        let ran = project.run(&["run", "r", "--quiet"]).exits(i32::from(levels > 64));
        if levels > 64 {
            ran.stderr_has("nested more than 64 levels deep").stderr_has(&format!("{levels}.json"));
        }
        can_be_read(&project);
        let ran = project.run(&["run", "h", "--format", "json"]).exits(0);
        assert_eq!(ran.json()["outputs"]["is"], levels <= 64, "{}", ran.stdout);
        can_be_read(&project);
    }
}

#[test]
fn a_deep_answer_of_a_program_is_an_observation_of_the_program() {
    let project = deep_files(Project::new());
    let site = Site::of(&project.path("www"));
    for levels in [60, 100, 120, 126] {
        let scenario = format!(
            "id: deep\ndescription: d\nsteps:\n  - description: s\n    request: {{ method: GET, path: /{levels}.json }}\n    \
             assert: {{ status: 200 }}\n    capture: [{{ name: all, jsonpath: $ }}]\n  - description: t\n    request: {{ method: \
             GET, path: /60.json, headers: {{ X-All: '{{all}}' }} }}\n    assert: {{ status: 200 }}\n"
        );
        project.write("scenarios/deep.yaml", &scenario);
        let ran = project.run(&["validate", "--scenarios", "scenarios", "--target", &site.url]);
        let ran = ran.exits(if levels <= 64 { 0 } else { 4 });
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!told.contains("undecided") && !told.contains("is not there"), "{told}");
        assert_eq!(told.contains("nested more than 64 levels deep"), levels > 64, "{told}");
        can_be_read(&project);
    }
}

#[test]
fn deep_scenarios_are_pointed_at_and_overflow_nothing() {
    let body = |line: &dyn Fn(usize) -> String| (0..80).map(line).collect::<String>();
    let tables = body(&|level| format!("{}a:\n", " ".repeat(10 + level)));
    let lists = format!("          {}1\n", "- ".repeat(80));
    for deep in [tables, lists] {
        let scenario = format!(
            "id: deep\ndescription: d\nsteps:\n  - description: s\n    request:\n      method: POST\n      path: /\n      \
             body:\n{deep}    assert: {{ status: 200 }}\n"
        );
        let project = Project::new().file("scenarios/deep.yaml", &scenario);
        let ran = project.run(&["lint", "scenarios"]);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains("nested more than 64 levels deep") && told.contains("deep.yaml:"), "{told}");
        let ran =
            project.run(&["validate", "--scenarios", "scenarios", "--target", "http://127.0.0.1:1"]).exits(3);
        ran.stderr_has("E0701").stderr_has("nested more than 64 levels deep");
        // The same in a file that a scenario names.
        let project = Project::new()
            .file("scenarios/deep.yaml", &scenario_of_rows())
            .file("scenarios/rows.json", &format!("[{{\"a\": {}}}]", nest(80)));
        project
            .run(&["validate", "--scenarios", "scenarios", "--target", "http://127.0.0.1:1"])
            .exits(3)
            .stderr_has("nested more than 64 levels deep")
            .stderr_has("rows.json");
    }
}

fn scenario_of_rows() -> String {
    "id: rows\ndescription: d\nfor_each: { file: rows.json }\nsteps:\n  - description: s\n    \
     request: { method: GET, path: / }\n    assert: { status: 200 }\n"
        .to_owned()
}

#[test]
fn a_text_of_many_placeholders_is_told_of_once() {
    let many = (0..20_000).map(|n| format!("{{a{n}}}")).collect::<Vec<_>>().concat();
    let scenario = format!(
        "id: many\ndescription: d\nsteps:\n  - description: s\n    request: {{ method: GET, path: '/{many}' }}\n    assert: {{ status: 200 }}\n"
    );
    let project = Project::new().file("scenarios/many.yaml", &scenario);
    let ran = project.run(&["lint", "scenarios", "--format", "json"]);
    let unset = |diagnostic: &&serde_json::Value| diagnostic["code"] == "SC030";
    assert_eq!(ran.json()["diagnostics"].as_array().unwrap().iter().filter(unset).count(), 20);
}

#[test]
fn check_leaves_long_work_to_the_run() {
    let lets = (0..16)
        .map(|n| format!("a{n} = \"range(1000000) | map('string') | list | sort | length + {n}\"\n"))
        .collect::<Vec<_>>()
        .concat();
    let project = Project::new()
        .file(
            "pipelines/keys.toml",
            "atoll = 1\n[steps.e.each]\nover = \"range(100000)\"\n\
             key = \"range(100000) | map('string') | join(',') | digest ~ item\"\n[steps.e.steps.z]\nset = { a = 1 }\n",
        )
        .file(
            "pipelines/lets.toml",
            &format!("atoll = 1\n[steps.l.loop]\nmax = 3\n[steps.l.loop.let]\n{lets}[steps.l.steps.b]\nset = {{ x = 1 }}\n"),
        );
    for name in ["keys", "lets"] {
        project.run(&["check", name]).exits(0);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures time")]
fn a_plan_leaves_long_work_to_the_run() {
    let heavy = "| map('string') | join(',') | length";
    let steps = |over: &str| {
        (0..300).fold(String::new(), |mut steps, n| {
            let _ = write!(steps, "[steps.s{n}]\nset = {{ x = \"{{{{ range({over}) {heavy} }}}}\" }}\n");
            steps
        })
    };
    let inputs = "[inputs]\nn = { type = \"int\", default = 1000000 }\n";
    let project = Project::new()
        .file("pipelines/fixed.toml", &format!("atoll = 1\n{}", steps("1000000")))
        .file("pipelines/given.toml", &format!("atoll = 1\n{inputs}{}", steps("inputs.n")));
    for name in ["fixed", "given"] {
        let begun = std::time::Instant::now();
        project.run(&["plan", name]).exits(0).stdout_has("s299");
        assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_plan_of_pipelines_that_call_each_other_many_times_is_told_in_time() {
    let shell = "[steps.s]\nshell = { argv = [\"true\"] }\n";
    let project = (0..30).fold(Project::new(), |project, n| {
        let inside = if n == 29 {
            shell.to_owned()
        } else {
            let next = n + 1;
            format!("[steps.a]\ncall = {{ pipeline = \"call{next}\" }}\n[steps.b]\ncall = {{ pipeline = \"call{next}\" }}\n")
        };
        project.file(&format!("pipelines/call{n}.toml"), &format!("atoll = 1\n{inside}"))
    });
    project.run(&["plan", "call0"]).exits(0);
}

#[test]
fn of_very_many_mistakes_the_first_are_told() {
    let words = (0..3_000).map(|n| format!("'{{{{ inputs.q{n} }}}}'")).collect::<Vec<_>>().join(", ");
    let project = Project::new()
        .file("pipelines/q.toml", &format!("atoll = 1\n[steps.a]\nshell = {{ argv = ['x', {words}] }}\n"));
    let ran = project.run(&["check", "q", "--format", "json"]).exits(3);
    let told = ran.json()["diagnostics"].as_array().unwrap().clone();
    assert_eq!(told.len(), 200);
    let last = told.last().unwrap()["message"].as_str().unwrap();
    assert!(last.ends_with("(and 2800 more)"), "{last}");
}

/// Files of up to a megabyte with thousands of mistakes. Work that grows with the square of them takes minutes.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures time")]
fn thousands_of_mistakes_take_no_time() {
    let many = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<String>();
    let words = many(5_000, &|n| format!("\"c{n}\", "));
    let texts = [
        format!(
            "[steps.a]\nshell = {{ argv = [{}] }}",
            many(5_000, &|n| format!("\"{{{{ inputs.q{n} }}}}\", "))
        ),
        format!(
            "[steps.a]\nshell = {{ argv = [\n{}] }}",
            many(5_000, &|n| format!("\"{{{{ inputs.q{n} }}}}\",\n"))
        ),
        format!(
            "[steps.a]\nset = {{ x = \"{}\" }}",
            many(10_000, &|_| "\\u00e9\\n{{ run.id + 1 }}".to_owned())
        ),
        format!(
            "[inputs]\ni = {{ type = \"enum\", values = [{words}] }}\n[steps.a]\nset = {{ {} }}",
            many(1_500, &|n| format!("x{n} = \"{{{{ inputs.i == 'd{n}' }}}}\", "))
        ),
        format!(
            "[steps.q]\nask = {{ question = \"?\", choices = [{words}] }}\n[steps.a]\nset = {{ {} }}",
            many(1_500, &|n| format!("x{n} = \"{{{{ steps.q.output == 'd{n}' }}}}\", "))
        ),
        many(1_500, &|n| format!("[steps.s{n}]\nset = {{ x = \"{{{{ steps.t{n}.output }}}}\" }}\n")),
        format!(
            "[steps.a]\nloop = {{ max = 2, result = \"let.a0\", let = {{ {} a1000 = \"1\" }} }}\n[steps.a.steps.b]\nset = {{ x = 1 }}",
            many(1_000, &|n| format!("a{n} = \"let.a{}\", ", n + 1))
        ),
    ];
    for text in texts {
        let (project, begun) = (Project::new(), std::time::Instant::now());
        project.write("p.toml", &format!("atoll = 1\n{text}"));
        for format in ["text", "json"] {
            let ran = project.run(&["check", "p.toml", "--format", format]);
            assert!(ran.stdout.len() < 400_000, "{} bytes about {}", ran.stdout.len(), &text[..60]);
        }
        assert!(begun.elapsed().as_secs() < 120, "{:?} for {}", begun.elapsed(), &text[..60]);
    }
}

#[test]
fn a_circle_of_very_many_steps_is_told() {
    let steps = (0..40_000).fold(String::new(), |mut steps, n| {
        let _ = write!(steps, "[steps.s{n}]\nneeds = [\"s{}\"]\nset = {{ x = 1 }}\n", (n + 1) % 40_000);
        steps
    });
    let project = Project::new().file("p.toml", &format!("atoll = 1\n{steps}"));
    project.run(&["check", "p.toml"]).exits(3).stdout_has("steps wait for each other: s0 → s1 → ");
}
