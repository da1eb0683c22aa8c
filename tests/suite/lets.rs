//! `let` of a step and of a `compute`.

use crate::binary::Project;

const PIPELINE: &str = r#"
atoll = 1
[inputs]
n = { type = "int", default = 3 }

[steps.first]
set = { words = ["b", "a", "c"] }

[steps.skipped]
let  = { many = "steps.first.output.words | length > 5" }
when = "let.many"
set  = { x = 1 }

[steps.lazy]
let   = { wrong = "1 // (inputs.n - inputs.n)", twice = "let.once + let.once", once = "steps.first.output.words" }
check = ["output.n == let.twice | length"]
set   = { n = "{{ let.once | length * 2 }}", all = "{{ let.twice }}" }

[steps.items]
let  = { base = "inputs.n * 10", list = "steps.first.output.words | sort" }
each = { over = "let.list", result = "steps.inner.output.x ~ let.base" }
[steps.items.steps.inner]
let  = { here = "item ~ let.base" }
set  = { x = "{{ let.here }}/" }

[steps.paid]
needs = ["items"]
let   = { command = "['sh', '-c', 'echo ran >> effects; echo ' ~ steps.items.output[0]]" }
shell = { argv = "{{ let.command }}" }

[steps.group]
let  = { asked = "steps.paid.output.stdout | trim" }
each = { over = "[1]" }
[steps.group.steps.question]
ask  = { question = "is {{ let.asked }} right?" }
[steps.group.steps.after]
needs = ["question"]
set  = { x = "{{ let.asked }}!" }

[steps.sums]
let     = { step = "inputs.n" }
compute = { init = { x = "0" }, let = { y = "let.double + 1", double = "state.x + let.step" }, next = { x = "let.y" }, until = "let.double > 10", max = 50 }

[outputs]
lazy  = "steps.lazy.output.all | join"
items = "steps.items.output"
group = "steps.group.output[0].x"
sums  = "steps.sums.output"
"#;

#[test]
fn entries_are_seen_in_the_step_and_inside_it_and_again_after_a_resume() {
    let project = Project::new().file("lets.toml", PIPELINE);
    project.run(&["check", "lets.toml"]).exits(0).stdout_has("W0204").stdout_has("`let.wrong`");
    project.run(&["run", "lets.toml", "--no-input"]).exits(7).stderr_has("is a30/30 right?");
    let shown = project.run(&["show", "last"]).exits(0);
    shown.stdout_has("let.many");
    let log = project.run(&["log", "last", "--format", "json"]).exits(0).stdout;
    assert!(log.contains("\"all\"") && !log.contains("\"twice\""), "{log}");
    let done =
        project.run(&["answer", "last", "group[0]/question", "yes", "--format", "json"]).exits(0).json();
    assert_eq!(
        done["outputs"],
        serde_json::json!({
            "lazy": "bacbac",
            "items": ["a30/30", "b30/30", "c30/30"],
            "group": "a30/30!",
            "sums": {"x": 8, "n": 2},
        })
    );
    assert_eq!(project.read("effects"), "ran\n", "nothing that ended ran again");
}

#[test]
fn an_entry_that_fails_fails_the_step_that_reads_it() {
    let text = "atoll = 1\n[steps.a]\nlet = { x = \"{'y': 1}\", z = \"let.x[let.n].y\", n = \"'q'\" }\nset = { v = \"{{ let.z }}\" }\n";
    let project = Project::new().file("a.toml", text);
    project.run(&["run", "a.toml"]).exits(1).stderr_has("`let.z`: `let.x[let.n].y` is not there");
}

#[test]
fn what_takes_long_is_stopped_by_the_time_limit() {
    let text = "atoll = 1\n[steps.a]\ntimeout = \"200ms\"\nlet = { x = \"range(100000) | map('string') | list\", y = \"range(900) | map('again') | sum\" }\n\
                set = { v = \"{{ let.y }}\" }\n[functions]\nagain = { args = [\"n\"], value = \"range(20000) | map('string') | list | length\" }\n";
    let project = Project::new().file("a.toml", text);
    project.run(&["run", "a.toml"]).exits(1).stderr_has("200 ms");
}
