//! Cached steps: files that they read are part of the key, and files that they write are part of the output.
#![expect(clippy::disallowed_methods, reason = "tests remove what a step produced")]

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::binary::Project;

const BUILD: &str = r#"
atoll = 1
[steps.build]
idempotent = true
cache = true
inputs = ["src/*.txt"]
produces = ["out/*"]
shell = { argv = ["sh", "-c", "mkdir -p out && cat src/*.txt > out/all && echo x >> ran && cat out/all"] }
[outputs]
text = "steps.build.output.stdout"
"#;

fn run(project: &Project) -> Value {
    project.run(&["run", "p", "--format", "json"]).exits(0).json()
}

/// The run id in the output of `atoll explain`.
fn id(text: &str) -> String {
    text.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_changed_input_is_noticed_and_what_was_produced_comes_back() {
    let project = Project::new().file("pipelines/p.toml", BUILD).file("src/a.txt", "one ");
    assert_eq!(run(&project)["outputs"]["text"], "one ");
    let key = |project: &Project| project.run(&["explain", "last", "build"]).exits(0).stdout;
    let first = key(&project);
    assert!(first.contains("no recorded output was reused") && first.contains("verb     shell"), "{first}");
    std::fs::remove_dir_all(project.path("out")).unwrap();
    let again = run(&project);
    assert_eq!((&again["outputs"]["text"], &again["steps"][0]["cached"]), (&json!("one "), &json!(true)));
    assert_eq!(project.read("out/all"), "one ", "what the step produced is restored");
    let second = key(&project);
    assert_eq!(second, first.replace(": no recorded", ": a recorded").replace(&id(&first), &id(&second)));
    project.run(&["show", "last", "build"]).exits(0).stdout_has("cache key\n").stdout_has("produces out/*\n");
    project.write("src/b.txt", "two");
    assert_eq!(run(&project)["outputs"]["text"], "one two");
    let third = key(&project);
    let part = |text: &str, name: &str| {
        text.lines().find(|line| line.trim_start().starts_with(name)).map(str::to_owned).unwrap()
    };
    assert_eq!(part(&third, "input "), part(&first, "input "), "the input is the same");
    assert!(part(&third, "inputs").contains("src/*.txt: 2 files, "), "{third}");
    assert_ne!(part(&third, "key"), part(&first, "key"));
    project.write("other.txt", "not named");
    assert_eq!(run(&project)["steps"][0]["cached"], true);
    assert_eq!(project.read("ran").lines().count(), 2, "it ran once for each content of its files");
    let ran = project.run(&["run", "p"]).exits(0);
    ran.stderr_has("2 files of src/*.txt");
}

/// A step whose command writes more than plain files.
fn writes(script: &str) -> Project {
    let text = format!(
        "atoll = 1\n[steps.b]\nidempotent = true\ncache = true\ninputs = [\"src/**\"]\nproduces = [\"out/**\"]\n\
         shell = {{ argv = [\"sh\", \"-c\", '{script}; echo x >> ran'] }}\n"
    );
    Project::new().file("pipelines/p.toml", &text).file("src/a", "a")
}

#[test]
fn links_modes_and_empty_directories_come_back() {
    let project =
        writes("mkdir -p out/d/e; echo x > out/d/run.sh; chmod 750 out/d/run.sh; ln -sf run.sh out/d/link");
    run(&project);
    std::fs::remove_dir_all(project.path("out")).unwrap();
    assert_eq!(run(&project)["steps"][0]["cached"], true);
    assert_eq!(std::fs::read_link(project.path("out/d/link")).unwrap(), std::path::Path::new("run.sh"));
    assert_eq!(project.read("out/d/link"), "x\n");
    assert!(project.path("out/d/e").is_dir());
    let mode = std::fs::metadata(project.path("out/d/run.sh")).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, project.read("ran").as_str()), (0o750, "x\n"));
}

#[test]
fn what_cannot_be_recorded_is_not_cached_and_that_is_said() {
    for (script, words) in [
        ("mkdir -p out; ln -sf /etc/hostname out/abroad", "`out/abroad` is a link to a target outside"),
        ("mkdir -p out; mkfifo out/pipe", "`out/pipe` is neither a file"),
        ("mkdir -p other; ln -sfn other out; echo x > out/file", "`out` is a symbolic link"),
    ] {
        let project = writes(script);
        for runs in 1..=2 {
            project.run(&["run", "p"]).exits(0).stderr_has("not cached").stderr_has(words);
            assert_eq!(project.read("ran").lines().count(), runs, "{script}");
            std::fs::remove_file(project.path("out"))
                .or_else(|_| std::fs::remove_dir_all(project.path("out")))
                .unwrap();
        }
    }
}

#[test]
fn what_a_link_leads_to_is_an_input() {
    let project = writes("true").file("data/one", "1").file("data/two", "2");
    let link = |to: &str| {
        std::fs::remove_file(project.path("src/link")).ok();
        std::os::unix::fs::symlink(to, project.path("src/link")).unwrap();
    };
    let cached = || run(&project)["steps"][0]["cached"] == true;
    link("../data/one");
    assert_eq!((cached(), cached()), (false, true));
    project.write("data/one", "new");
    assert!(!cached(), "the content behind a link is part of the key");
    link("../data/two");
    assert!(!cached());
    link("../data");
    project.run(&["run", "p"]).exits(0).stderr_has("not cached").stderr_has("`src/link` is a symbolic link");
    assert!(!cached(), "files behind a link are not read");
}

#[test]
fn a_recorded_output_that_is_rejected_is_made_again() {
    let text = r#"
atoll = 1
[inputs]
least = { type = "int", default = 0 }
[steps.a]
idempotent = true
cache = true
inputs = []
check = ["output.stdout | trim | int >= inputs.least"]
retry = { max = 1, backoff = "1ms..1ms", on = ["rejected"] }
shell = { argv = ["sh", "-c", "echo x >> ran; wc -l < ran"] }
"#;
    let project = Project::new().file("pipelines/p.toml", text);
    project.run(&["run", "p"]).exits(0);
    project.run(&["run", "p"]).exits(0);
    assert_eq!(project.read("ran").lines().count(), 1);
    project.run(&["run", "p", "--least", "2"]).exits(0);
    assert_eq!(project.read("ran").lines().count(), 2);
}

#[test]
fn what_cannot_be_known_about_a_cache_is_said() {
    let blind = BUILD.replace("inputs = [\"src/*.txt\"]\nproduces = [\"out/*\"]\n", "");
    let project = Project::new().file("pipelines/p.toml", &blind).file("src/a.txt", "one");
    project.run(&["check", "p"]).exits(0).stdout_has("W0401");
    let all = "atoll = 1\n[steps.all.each]\nover = \"range(4)\"\nparallel = 1\n[steps.all.steps.one]\ncache = true\n\
               inputs = []\nidempotent = true\nshell = { argv = [\"date\", \"+%s%N\"] }\n";
    let project = Project::new().file("pipelines/p.toml", all);
    project
        .run(&["check", "p"])
        .exits(0)
        .stdout_has("W0402")
        .stdout_has("all items share one recorded output");
}

#[test]
fn a_step_without_a_key_says_so() {
    let text = "atoll = 1\n[steps.a]\ncache = true\nset = { x = 1 }\n[steps.b]\nset = { x = 1 }\n";
    let project = Project::new().file("pipelines/p.toml", text);
    project.run(&["run", "p"]).exits(0);
    project.run(&["explain", "last", "a"]).exits(0).stdout_has("verb     set");
    project.run(&["explain", "last", "b"]).exits(2).stderr_has("`b` has no cache key");
    project.run(&["explain", "last", "c"]).exits(2).stderr_has("nothing recorded at `c`");
}

#[test]
fn retries_are_narrowed_by_what_is_known_of_the_failure() {
    let text = |code: u32| {
        format!(
            "atoll = 1\n[steps.a]\nidempotent = true\n\
             retry = {{ max = 2, backoff = \"1ms..1ms\", on = [\"permanent\"], when = \"error.detail.exit_code == 75\" }}\n\
             shell = {{ argv = [\"sh\", \"-c\", \"echo x >> ran; exit {code}\"] }}\n"
        )
    };
    let project = Project::new().file("pipelines/p.toml", &text(75));
    project.run(&["run", "p"]).exits(1);
    assert_eq!(project.read("ran").lines().count(), 3);
    let project = Project::new().file("pipelines/p.toml", &text(1));
    project.run(&["run", "p"]).exits(1);
    assert_eq!(project.read("ran").lines().count(), 1);
}

#[test]
fn what_another_user_recorded_is_not_used() {
    let with = |home: &str, key: &str| {
        let project = Project::new().file("pipelines/p.toml", BUILD).file("src/a.txt", "one ");
        project.env("XDG_CONFIG_HOME", home).env("ATOLL_CACHE_KEY", key)
    };
    let (mine, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mine, theirs) = (mine.path().to_str().unwrap(), theirs.path().to_str().unwrap());
    let stranger = with(theirs, "");
    assert_eq!(run(&stranger)["steps"][0]["cached"], Value::Null);
    assert_eq!(run(&stranger)["steps"][0]["cached"], true, "their own");
    let bring = |from: &Project, to: &Project| {
        std::fs::remove_dir_all(to.path(".atoll")).ok();
        let copied =
            std::process::Command::new("cp").arg("-r").args([from.path(".atoll"), to.path("")]).status();
        assert!(copied.unwrap().success());
    };
    let victim = with(mine, "");
    bring(&stranger, &victim);
    for command in [&["run", "p"][..], &["resume", "last"], &["gc"]] {
        victim
            .run(command)
            .exits(3)
            .stderr_has("by another user or on another machine")
            .stderr_has("atoll trust");
    }
    victim.run(&["runs"]).exits(0);
    // A named directory is trusted for its runs, but recorded outputs are still bound to the user's key.
    let named = victim.run(&["run", "p", "--format", "json", "--data-dir", ".atoll"]).exits(0);
    assert_eq!(named.json()["steps"][0]["cached"], Value::Null, "it is part of the project");
    named.stderr_has("ATOLL_CACHE_KEY");
    victim.run(&["trust", ".atoll", "--yes"]).exits(0).stderr_has("is now trusted");
    assert_eq!(run(&victim)["steps"][0]["cached"], true, "recorded again");
    let key = std::path::Path::new(mine).join("atoll/cache.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    let shared = "a secret of all machines of a CI";
    let first = with(theirs, shared);
    run(&first);
    let second = with(mine, shared);
    bring(&first, &second);
    assert_eq!(run(&second)["steps"][0]["cached"], true, "they share a key");
    // Without a place for the key, directories cannot be distinguished, so nothing is reused.
    let homeless = with("/proc/nowhere", "");
    assert_eq!(run(&homeless)["steps"][0]["cached"], Value::Null);
    assert_eq!(run(&homeless)["steps"][0]["cached"], Value::Null);
    with(mine, "short").run(&["run", "p"]).exits(2).stderr_has("fewer than 16 characters");
    std::fs::write(&key, "x").unwrap();
    victim.run(&["run", "p"]).exits(1).stderr_has("cache.key is not 32 bytes long");
}

#[test]
fn an_input_that_changes_while_the_step_runs_is_not_recorded() {
    let text = "atoll = 1\n[steps.build]\nidempotent = true\ncache = true\ninputs = [\"src\"]\n\
                shell = { argv = [\"sh\", \"-c\", \"cat src; test -e once || { touch once; echo new > src; cat src; }\"] }\n\
                [outputs]\ntext = \"steps.build.output.stdout\"\n";
    let project = Project::new().file("pipelines/p.toml", text).file("src", "old\n");
    project.run(&["run", "p"]).exits(0).stderr_has("a file of `inputs` was changed while it ran");
    project.write("src", "old\n");
    let again = run(&project);
    assert_eq!((&again["outputs"]["text"], &again["steps"][0]["cached"]), (&json!("old\n"), &Value::Null));
    assert_eq!(run(&project)["steps"][0]["cached"], true);
    // Also if the change was reverted.
    let text = text.replace("; cat src; }", "; cat src; echo old > src; }").replace("cat src; test", "test");
    let project = Project::new().file("pipelines/p.toml", &text).file("src", "old\n");
    project.run(&["run", "p"]).exits(0).stderr_has("a file of `inputs` was changed while it ran");
}

#[test]
fn the_value_of_a_secret_belongs_to_the_key() {
    let text = "atoll = 1\n[steps.a]\nidempotent = true\ncache = true\ninputs = []\n\
                shell = { argv = [\"sh\", \"-c\", \"printf %s $T | wc -c\"], env = { T = { secret = \"MY_TOKEN\" } } }\n\
                [outputs]\ntext = \"steps.a.output.stdout\"\n";
    let mut project = Project::new().file("pipelines/p.toml", text);
    for (value, text, cached) in
        [("aaaaaaaaaa11", "12", false), ("aaaaaaaaaa11", "12", true), ("bbbbbbbbbbb22", "13", false)]
    {
        project = project.env("MY_TOKEN", value);
        let ran =
            project.run(&["run", "p", "--format", "json", "--allow-secret", "MY_TOKEN"]).exits(0).json();
        assert_eq!(ran["outputs"]["text"], format!("{text}\n"));
        assert_eq!(ran["steps"][0]["cached"] == true, cached, "{value}");
    }
}
