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

const IDENTITY: &str = r#"
atoll = 1
[steps.root]
set = { address = "{{ run.address }}", instance = "{{ run.instance }}", day = "{{ run.started_at | date }}" }

[steps.rounds.loop]
max = 2
state = { seen = "[]" }
next = { seen = "state.seen + steps.items.output" }
[steps.rounds.steps.items.each]
over = "[1, 2]"
parallel = 1
[steps.rounds.steps.items.steps.one]
set = { address = "{{ run.address }}", instance = "{{ run.instance }}", late = "{{ attempt.at >= run.started_at }}", span = "{{ attempt.at | since(run.started_at) }}" }

[steps.called.each]
over = "['x']"
[steps.called.steps.inner]
call = { pipeline = "callee.toml" }

[outputs]
root = "steps.root.output"
seen = "steps.rounds.output.seen"
called = "steps.called.output[0].address"
"#;

#[test]
fn an_identity_differs_between_items_and_not_between_rounds() {
    let project = Project::new().file("main.toml", IDENTITY).file(
        "callee.toml",
        "atoll = 1\n[steps.a]\nset = { address = \"{{ run.address }}\" }\n[outputs]\naddress = \"steps.a.output.address\"\n",
    );
    let run = project.run(&["run", "main.toml", "--format", "json"]).exits(0).json();
    let (outputs, started_at) = (&run["outputs"], run["started_at"].as_str().unwrap());
    assert_eq!(outputs["root"]["address"], "");
    assert_eq!(outputs["root"]["day"], started_at[..10]);
    let field = |name: &str| -> Vec<String> {
        let seen = outputs["seen"].as_array().unwrap().iter();
        seen.map(|one| one[name].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(
        field("address"),
        ["rounds/items[0]", "rounds/items[1]", "rounds/items[0]", "rounds/items[1]"]
    );
    let instances = field("instance");
    assert!(instances.iter().all(|instance| instance.len() == 12), "{instances:?}");
    assert!(instances[0] == instances[2] && instances[0] != instances[1], "{instances:?}");
    assert_ne!(outputs["root"]["instance"], instances[0].as_str());
    assert_eq!(outputs["called"], "called[0]/inner");
    for one in outputs["seen"].as_array().unwrap() {
        assert!(one["late"] == true && one["span"].as_f64().unwrap() >= 0.0, "{one}");
    }
}
