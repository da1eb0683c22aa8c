//! Secrets by name, for every verb that connects to or starts something. Their values must not appear
//! anywhere else.
#![expect(clippy::disallowed_methods, reason = "tests read everything that a run leaves behind")]

use std::path::Path;

use crate::binary::Project;
use crate::llm::server::Server;

/// A secret whose encodings have all kinds of characters.
const VALUE: &str = "open-sesame?73+15/é";

/// A secret that can be sent in a header.
const VALUE_OF_HEADER: &str = "Token open-sesame?73+15";

pub fn files(dir: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(std::fs::read(&path).unwrap()) }
    }
}

/// Fails if any file below the data directory of the project contains one of `needles`.
pub fn nowhere(project: &Project, needles: &[&str]) {
    let mut found = Vec::new();
    files(&project.path(".atoll"), &mut found);
    for needle in needles {
        let holds = |bytes: &Vec<u8>| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!found.iter().any(holds), "{needle} is on the disk");
    }
}

const SHELL: &str = r#"
atoll = 1
[steps.a.shell]
argv = ["sh", "-c", """
printf 'plain %s\n' "$TOKEN"
printf %s "$TOKEN" | base64
printf 'user:%s' "$TOKEN" | base64
printf %s "$TOKEN" | od -An -tx1
printf %s "$TOKEN" >&2
"""]
env = { TOKEN = { secret = "MY_TOKEN" }, PLAIN = "hello", BEARER = { secret = "MY_TOKEN", prefix = "Bearer " } }
[steps.b.shell]
argv = ["sh", "-c", "echo $BEARER $PLAIN; echo failed with $BEARER >&2; exit 3"]
env = { BEARER = { secret = "MY_TOKEN", prefix = "Bearer " }, PLAIN = "hello" }
observe = true
[outputs]
a = "steps.a.output.stdout"
b = "steps.b.output.stdout"
"#;

#[test]
fn a_command_gets_a_secret_and_tells_nobody() {
    let project = Project::new().env("MY_TOKEN", VALUE).file("pipelines/p.toml", SHELL);
    let paused = project.run(&["run", "p"]).exits(7);
    let paused = paused.stderr_has("the variable `TOKEN` of the command requests the secret `MY_TOKEN`");
    assert!(paused.stderr.contains("--allow-secret MY_TOKEN"), "{}", paused.stderr);
    let run = ["run", "p", "--allow-secret", "MY_TOKEN", "--format", "json", "--events", "events.jsonl"];
    let ran = project.run(&run).exits(0);
    let told = ran.json()["outputs"]["a"].as_str().unwrap().to_owned();
    assert_eq!(told.matches("***").count(), 4, "{told}");
    assert!(ran.json()["outputs"]["b"].as_str().unwrap().contains("Bearer *** hello"), "{}", ran.stdout);
    // printf 'open-sesame?73+15/é' | base64
    let needles = [VALUE, "b3Blbi1zZXNhbWU", "6f 70 65 6e 2d 73"];
    for needle in needles {
        assert!(!ran.stdout.contains(needle) && !ran.stderr.contains(needle), "{needle}: {}", ran.stdout);
        assert!(!project.read("events.jsonl").contains(needle), "{needle}");
    }
    nowhere(&project, &needles);
}

/// Prints the secret as numbers in several ways, each after a line `=== command`.
const NUMBERS: &str = r#"
atoll = 1
[steps.a.shell]
argv = ["sh", "-c", """
say() { echo "=== $*"; printf 'T=%s\n' "$TOKEN" | "$@"; }
say od -tx1 -tc
say od -a
say od -A x -t x1c
say od -An -tx1 -tc
say od -tx2 -ta -td1
for size in u2 d2 u4 d8 fF fD; do say od -t$size; done
say python3 -c 'import sys; print("/".join(str(b) for b in sys.stdin.buffer.read()))'
say python3 -c 'import sys; print([bin(b) for b in sys.stdin.buffer.read()])'
say python3 -c 'import sys; print([float(b) for b in sys.stdin.buffer.read()])'
say python3 -c 'import sys; print({str(i): b for i, b in enumerate(sys.stdin.buffer.read())})'
say python3 -c 'import sys; print("".join(chr(92) + "%o" % b for b in sys.stdin.buffer.read()))'
say python3 -c 'import sys; print(list(sys.stdin.read().encode("utf-16")))'
"""]
env = { TOKEN = { secret = "MY_TOKEN" } }
[outputs]
a = "steps.a.output.stdout"
"#;

#[test]
fn a_secret_is_not_shown_as_numbers() {
    let project = Project::new().env("MY_TOKEN", "tok-Zq9#vB7!mX2kLr").file("pipelines/p.toml", NUMBERS);
    let ran = project.run(&["run", "p", "--allow-secret", "MY_TOKEN", "--format", "json"]).exits(0);
    let out = ran.json()["outputs"]["a"].as_str().unwrap().to_owned();
    let forms: Vec<&str> = out.split("=== ").skip(1).collect();
    assert_eq!(forms.len(), 17, "{out}");
    for form in forms {
        let (_, shown) = form.split_once('\n').unwrap();
        assert!(shown.contains("***") && shown.len() < 60, "{form}");
    }
}

#[test]
fn a_failure_tells_no_secret() {
    let failing = SHELL.replace("observe = true\n", "");
    let project = Project::new().env("MY_TOKEN", VALUE).file("pipelines/p.toml", &failing);
    let failed = project.run(&["run", "p", "--allow-secret", "MY_TOKEN"]).exits(1);
    let failed = failed.stderr_has("failed with Bearer ***");
    assert!(!failed.stderr.contains(VALUE), "{}", failed.stderr);
    nowhere(&project, &[VALUE]);
}

#[test]
fn an_input_names_a_secret_and_never_holds_it() {
    let pipeline = r#"
atoll = 1
inputs.token = { type = "secret" }
inputs.text = { type = "string", default = "x" }
[steps.a]
when = "inputs.token is not none"
shell = { argv = ["sh", "-c", "echo $TOKEN"], env = { TOKEN = { secret = "{{ inputs.token }}" } } }
[outputs]
said = "steps.a.output.stdout"
"#;
    let project = Project::new()
        .env("MY_TOKEN", VALUE)
        .env("OPENAI_API_KEY", "sk-live-0123456789")
        .file("pipelines/p.toml", pipeline);
    // Naming it on the command line allows it.
    project.run(&["run", "p", "--token", "MY_TOKEN"]).exits(0).stdout_has("***");
    for value in [VALUE, "ghp_0123456789abcdefghij", "sk-live-0123456789"] {
        let refused = project.run(&["run", "p", "--token", value]).exits(3);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(!told.contains(value) && told.contains("the name of a secret"), "{told}");
        let refused = project.run(&["plan", "p", "--token", value]).exits(3);
        assert!(!format!("{}{}", refused.stdout, refused.stderr).contains(value));
    }
    nowhere(&project, &[VALUE, "ghp_0123456789abcdefghij", "sk-live-0123456789"]);
    project
        .run(&["run", "p", "--text", "my key is sk-live-0123456789"])
        .exits(3)
        .stderr_has("the input `text` contains the value of a secret");
    // A default is set by the author, so the user must allow it.
    project.write(
        "pipelines/p.toml",
        &pipeline.replace("type = \"secret\"", "type = \"secret\", default = \"MY_TOKEN\""),
    );
    project.run(&["run", "p"]).exits(7);
    project.run(&["resume", "last", "--allow-secret", "MY_TOKEN"]).exits(0);
    project.run(&["trust", "--yes", "."]).exits(0).stdout_has("the secret `MY_TOKEN`, for `inputs.token`");
    project.run(&["run", "p"]).exits(0);
}

#[test]
fn the_name_of_a_secret_is_never_sent_as_if_it_were_the_value() {
    for (step, column) in [
        (
            r#"http = { url = "http://127.0.0.1:1/", headers = { Authorization = "Bearer {{ inputs.token }}" } }"#,
            "4:",
        ),
        (r#"shell = { argv = ["echo", "{{ inputs.token }}"] }"#, "4:"),
    ] {
        let text = format!(
            "atoll = 1\ninputs.token = {{ type = \"secret\", default = \"MY_TOKEN\" }}\n[steps.a]\n{step}\n"
        );
        let project = Project::new().file("p.toml", &text);
        project
            .run(&["check", "p.toml"])
            .exits(3)
            .stdout_has("`inputs.token` is the name of a secret")
            .stdout_has(&format!("p.toml:{column}"))
            .stdout_has("{ secret = \"{{ inputs.token }}\" }");
    }
    let passed = "atoll = 1\ninputs.token = { type = \"secret\", default = \"MY_TOKEN\" }\n[steps.a.call]\npipeline = \"q\"\nwith = { key = \"inputs.token\" }\n";
    let callee = "atoll = 1\ninputs.key = { type = \"secret\" }\n[steps.a]\nshell = { argv = [\"true\"], env = { K = { secret = \"{{ inputs.key }}\" } } }\n";
    Project::new().file("p.toml", passed).file("pipelines/q.toml", callee).run(&["check", "p.toml"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_gets_a_secret_and_records_show_no_credentials() {
    let server = Server::start([]).await;
    let cases = "id: a\nsteps:\n  - { description: one, request: { method: GET, path: /one }, assert: { status: 418 } }\n  \
                 - { description: two, request: { method: GET, path: /two, headers: { Authorization: Bearer of-the-file } }, assert: { status: 418 } }\n";
    let project = Project::new().env("MY_TOKEN", VALUE_OF_HEADER).file("scenarios/a.yaml", cases);
    let target = server.base.trim_end_matches("/v1");
    let run = ["validate", "--scenarios", "scenarios", "--target", target, "--no-judge", "--format", "json"];
    let ran = project.run(&[run.as_slice(), &["--authorization", "MY_TOKEN"]].concat()).exits(0);
    let seen: Vec<_> = server.seen().iter().map(|seen| seen.headers["authorization"].clone()).collect();
    assert_eq!(seen, [VALUE_OF_HEADER, "Bearer of-the-file"]);
    assert!(!ran.stdout.contains("of-the-file") && !ran.stdout.contains(VALUE_OF_HEADER), "{}", ran.stdout);
    assert!(ran.stdout.contains("authorization: Bearer ***"), "{}", ran.stdout);
    nowhere(&project, &[VALUE_OF_HEADER, "of-the-file"]);
    // A password in the address would be stored with the run.
    let secret = target.replace("http://", "http://me:hunter2-hunter2@");
    let run = ["validate", "--scenarios", "scenarios", "--target", &secret, "--no-judge"];
    let refused = project.run(&run).exits(3).stderr_has("holds a user name or password");
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}

#[test]
fn a_secret_at_the_edge_of_a_shortened_output_is_not_shown() {
    let pipeline = r#"
atoll = 1
[steps.a.shell]
argv = ["sh", "-c", """
fill() { head -c $1 /dev/zero | tr '\\0' '~'; }
fill 262135; printf %s "$TOKEN"; fill 2000000; printf %s "$TOKEN"; fill 786423
"""]
env = { TOKEN = { secret = "MY_TOKEN" } }
[outputs]
a = "steps.a.output.stdout"
"#;
    let project = Project::new().env("MY_TOKEN", "Tk-9f8e7d6c5b4aQQzz").file("pipelines/p.toml", pipeline);
    let ran = project.run(&["run", "p", "--allow-secret", "MY_TOKEN", "--format", "json"]).exits(0);
    let out = ran.json()["outputs"]["a"].as_str().unwrap().replace('~', "");
    assert_eq!(out, "***\n[… 2000020 bytes left out …]\n***");
    nowhere(&project, &["Tk-9f8", "aQQzz"]);
}

#[test]
fn the_password_in_the_address_of_a_provider_is_not_shown() {
    let pipeline = "atoll = 1\n[steps.a]\nretry = { max = 1 }\non_outage = \"fail\"\nllm = { model = \"local/x\", prompt = \"hi\" }\n";
    let address = "http://me:hunter2-hunter2@127.0.0.1:1/v1";
    let project = Project::new().env("ATOLL_LOCAL_BASE_URL", address).file("pipelines/p.toml", pipeline);
    let failed = project.run(&["run", "p", "--events", "events.jsonl"]);
    assert!(failed.stderr.contains("***@127.0.0.1:1"), "{}", failed.stderr);
    let listed = project.run(&["models", "--format", "json"]);
    for said in
        [&failed.stderr, &failed.stdout, &listed.stdout, &listed.stderr, &project.read("events.jsonl")]
    {
        assert!(!said.contains("hunter2"), "{said}");
    }
    nowhere(&project, &["hunter2"]);
}
