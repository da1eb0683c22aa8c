//! Sources of keys, and places where keys must never appear.
#![expect(clippy::disallowed_methods, reason = "tests look into every file that a run left")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::server::{Act, KEY, Server, openai};
use crate::binary::{Project, Ran};

/// Shows the environment of a child, has the key repeated in an answer and in an error, and records
/// everything.
const LEAKY: &str = r#"
atoll = 1
name = "leaky"
summary = "tries to let the key out"

[steps.child]
shell = { argv = ["env"] }

[steps.said]
llm = { model = "gpt-4.1-mini", prompt = "hi" }

[steps.complained]
needs = ["said", "child"]
llm = { model = "openai/other", prompt = "hi", unknown_cost = "count" }

[outputs]
env = "steps.child.output.stdout"
said = "steps.said.output"
"#;

/// Configuration of the user.
const OWN: &str = "home/.config/atoll/models.toml";

async fn leaky_server() -> Server {
    let complaint = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}});
    let said = format!("your key is {KEY}, or {}", STANDARD.encode(KEY));
    Server::start([Act::Stream(openai(&said, "stop")), Act::Plain(401, vec![], complaint.to_string())]).await
}

/// Runs it with all recording options.
async fn leak(project: Project) -> (Project, Vec<Ran>) {
    let running = move || {
        let keeping = ["run", "leaky", "--record", "tape.jsonl", "--events", "events.jsonl"];
        let told = vec![
            project.run(&keeping).exits(7).stderr_has("OPENAI_API_KEY"),
            project.run(&["log", "last", "--format", "json"]).exits(0),
            project.run(&["show", "last"]).exits(0),
        ];
        (project, told)
    };
    tokio::task::spawn_blocking(running).await.unwrap()
}

/// Every file below `dir` except those that contain keys by intent.
fn files(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            files(&path, found);
        } else if !name.ends_with("keys.toml") && !name.ends_with("vault") {
            found.push((name, std::fs::read(&path).unwrap()));
        }
    }
}

fn is_nowhere(project: &Project, told: &[Ran]) {
    let encoded = STANDARD.encode(KEY);
    let mut found = Vec::new();
    files(&project.path(""), &mut found);
    assert!(found.len() > 3, "{found:?}");
    for ran in told {
        found.push(("standard output".to_owned(), ran.stdout.clone().into_bytes()));
        found.push(("standard error".to_owned(), ran.stderr.clone().into_bytes()));
    }
    for (name, bytes) in &found {
        for needle in [KEY, encoded.trim_end_matches('=')] {
            let leaked = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!leaked, "{needle} is in {name}");
        }
    }
    let events = project.read("events.jsonl");
    assert!(events.contains("your key is ***"), "the answer is there, without the key: {events}");
}

#[tokio::test]
async fn a_key_of_the_environment_gets_nowhere() {
    let server = leaky_server().await;
    let project = Project::new().file("pipelines/leaky.toml", LEAKY).env("OPENAI_BASE_URL", &server.base);
    let (project, told) = leak(project.env("OPENAI_API_KEY", KEY)).await;
    assert_eq!(server.seen()[0].headers["authorization"], format!("Bearer {KEY}"));
    is_nowhere(&project, &told);
}

#[tokio::test]
async fn a_key_that_a_command_prints_gets_nowhere() {
    let server = leaky_server().await;
    let settings = "[providers.openai]\nkey_command = [\"cat\", \"vault\"]\n";
    let project = Project::new().file("pipelines/leaky.toml", LEAKY).file(OWN, settings).file("vault", KEY);
    let (project, told) = leak(project.env("OPENAI_BASE_URL", &server.base)).await;
    assert_eq!(server.seen()[0].headers["authorization"], format!("Bearer {KEY}"));
    is_nowhere(&project, &told);
}

#[tokio::test]
async fn a_key_that_was_configured_gets_nowhere() {
    let server = leaky_server().await;
    let project = Project::new().file("pipelines/leaky.toml", LEAKY).env("OPENAI_BASE_URL", &server.base);
    configured(&project, "openai", KEY).exits(0);
    let (project, told) = leak(project).await;
    assert_eq!(server.seen()[0].headers["authorization"], format!("Bearer {KEY}"));
    is_nowhere(&project, &told);
}

/// `atoll configure`, with the key on standard input.
fn configured(project: &Project, provider: &str, key: &str) -> Ran {
    project.write("given", &format!("{key}\n"));
    let arguments = ["configure", provider];
    let mut command = project.command(&arguments);
    command.stdin(std::fs::File::open(project.path("given")).unwrap());
    let ran = Ran::of(&arguments, &command.output().unwrap());
    std::fs::remove_file(project.path("given")).unwrap();
    ran
}

#[test]
fn keys_are_configured_shown_by_source_and_forgotten() {
    let project = Project::new().env("GEMINI_API_KEY", "sk-of-the-environment");
    configured(&project, "anthropic", KEY).exits(0).stdout_is("").stderr_has("readable only by you");
    let path = project.path("home/.config/atoll/keys.toml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let told = project.run(&["configure"]).exits(0).stdout;
    for line in [
        "ANTHROPIC_API_KEY in keys.toml",
        "GEMINI_API_KEY in the environment",
        "needs no key",
        "OPENAI_API_KEY is not set",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains(KEY) && !told.contains("sk-of"), "{told}");

    configured(&project, "anthropic", "").exits(2).stderr_has("the key is empty");
    configured(&project, "anthropic", "a key").exits(2).stderr_has("the key contains invalid characters");
    configured(&project, "antropic", KEY).exits(2).stderr_has("did you mean `anthropic`?");
    configured(&project, "ollama", KEY).exits(2).stderr_has("ollama needs no key");
    project.run(&["configure", "anthropic", "--remove"]).exits(0);
    assert!(project.run(&["configure"]).exits(0).stdout.contains("ANTHROPIC_API_KEY is not set"));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    project.run(&["configure"]).exits(3).stderr_has("is readable for other users");
}

#[tokio::test]
async fn a_command_that_fails_is_named() {
    let project = Project::new().file("pipelines/leaky.toml", LEAKY);
    project.write(OWN, "[providers.openai]\nkey_command = [\"sh\", \"-c\", \"echo sk-secret; exit 4\"]\n");
    let ran =
        project.run(&["run", "leaky"]).exits(7).stderr_has("the key command `sh` failed: exit status: 4");
    assert!(!ran.stderr.contains("sk-secret"), "{}", ran.stderr);
}

#[test]
fn a_project_does_not_run_a_command_for_a_key() {
    let project = Project::new()
        .file("pipelines/leaky.toml", LEAKY)
        .file("atoll.toml", "[providers.openai]\nkey_command = [\"touch\", \"was-here\"]\n");
    for arguments in [["run", "leaky"], ["check", "leaky"], ["models", "--refresh"]] {
        let refused = project
            .run(&arguments)
            .exits(3)
            .stderr_has("atoll.toml:2:1: `key_command` is not allowed in a project");
        refused.stderr_has("models.toml");
    }
    assert!(!project.path("was-here").exists());
}
