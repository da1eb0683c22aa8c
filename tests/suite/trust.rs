//! Requests of project and scenario files, and the consent of the user.
#![expect(clippy::disallowed_methods, reason = "tests read files and change their owners")]

use std::path::Path;

use serde_json::json;

use crate::binary::{Project, Ran};
use crate::llm::server::{Act, Server, openai};

/// A unique value whose encodings have all kinds of characters.
const VALUE: &str = "open-sesame?73+15/é";

const ENVIRONMENT: &str = "[program]\nenv = { TOKEN = { secret = \"MY_TOKEN\" } }\n\n[services.db]\nimage = \"x\"\negress = [\"db.example.com:443\"]\n";

const READS: &str = r#"
atoll = 1
[inputs.dir]
type = "dir"
default = "scenarios"
[steps.environment]
environment_load = { near = "{{ inputs.dir.path }}" }
[outputs]
env = "steps.environment.output.program.env"
"#;

fn asking() -> Project {
    Project::new()
        .env("MY_TOKEN", VALUE)
        .file("pipelines/reads.toml", READS)
        .file("scenarios/a.yaml", "id: a\nsteps: []\n")
        .file("environment.toml", ENVIRONMENT)
}

#[test]
fn an_environment_asks_and_the_user_allows() {
    let project = asking();
    let paused = project.run(&["run", "reads"]).exits(7);
    let paused = paused
        .stderr_has("environment.toml:2:9: the secret `MY_TOKEN` for `program.env.TOKEN`")
        .stderr_has("environment.toml:6:1: connections to db.example.com:443 (`services.db.egress`)");
    let command = paused.stderr.lines().find_map(|line| line.split("`atoll resume ").nth(1)).unwrap();
    let words: Vec<&str> = command.split('`').next().unwrap().split(' ').collect();
    assert_eq!(words[1..], ["--allow-secret", "MY_TOKEN", "--allow-egress", "db.example.com:443"]);
    // Not even in part.
    project.run(&["resume", "last", "--allow-secret", "MY_TOKEN"]).exits(7).stderr_has("db.example.com");
    let resumed = project.run(&[["resume"].as_slice(), &words, &["--format", "json"]].concat()).exits(0);
    assert_eq!(resumed.json()["outputs"]["env"], json!({"TOKEN": {"secret": "MY_TOKEN"}}));
    // The next run asks again.
    project.run(&["run", "reads"]).exits(7);
    // A host without a port means all of its ports, and `*` means all hosts.
    for host in ["db.example.com", "DB.example.com:443", "*"] {
        project.run(&["run", "reads", "--allow-secret", "MY_TOKEN", "--allow-egress", host]).exits(0);
    }
    project.run(&["run", "reads", "--allow-secret", "MY_TOKEN", "--allow-egress", "example.com"]).exits(7);
}

#[test]
fn a_value_in_the_place_of_a_name_is_not_repeated() {
    let refused = asking().run(&["run", "reads", "--allow-secret", "sk-live-0123456789"]).exits(2);
    assert!(!refused.stderr.contains("sk-live"), "{}", refused.stderr);
}

#[test]
fn a_file_is_trusted_until_it_changes() {
    let project = asking();
    project.run(&["trust", "environment.toml"]).exits(2).stderr_has("add `--yes`");
    project.run(&["run", "reads"]).exits(7);
    let shown = project.run(&["trust", "--yes", "."]).exits(0);
    shown
        .stdout_has("environment.toml requests:")
        .stdout_has("the secret `MY_TOKEN`, for `program.env.TOKEN`")
        .stdout_has("connections to db.example.com:443 (`services.db.egress`)");
    project.run(&["run", "reads"]).exits(0);
    project.run(&["trust", "--list"]).exits(0).stdout_has("environment.toml\n");

    project.write("environment.toml", &ENVIRONMENT.replace("db.example.com", "evil.example.com"));
    project.run(&["run", "reads"]).exits(7).stderr_has("evil.example.com");
    project.run(&["trust", "--list"]).exits(0).stdout_has("has changed");
    project.write("environment.toml", ENVIRONMENT);
    project.run(&["run", "reads"]).exits(0);
    project.run(&["trust", "--remove", "environment.toml"]).exits(0);
    project.run(&["run", "reads"]).exits(7);
}

#[test]
fn what_is_allowed_for_one_directory_is_not_allowed_for_another() {
    let project = asking();
    project.run(&["trust", "--yes", "environment.toml"]).exits(0);
    project.write("other/environment.toml", "[program]\nenv = { T = { secret = \"MY_TOKEN\" } }\n");
    project.write("other/scenarios/a.yaml", "id: a\nsteps: []\n");
    project
        .run(&["run", "reads", "--dir", "other/scenarios"])
        .exits(7)
        .stderr_has("other/environment.toml:2:9");
}

#[test]
fn the_users_own_settings_allow_too() {
    let project = asking();
    project
        .write("home/.config/atoll/trust.toml", "secrets = [\"MY_TOKEN\"]\negress = [\"db.example.com\"]\n");
    project.run(&["run", "reads"]).exits(0);
    project.write("home/.config/atoll/trust.toml", "secret = [\"MY_TOKEN\"]\n");
    project.run(&["run", "reads"]).exits(3).stderr_has("trust.toml").stderr_has("unknown field `secret`");
}

#[test]
fn a_hostile_environment_gets_nothing_from_validate() {
    let project = Project::new()
        .env("AWS_SECRET_ACCESS_KEY", VALUE)
        .file(
            "evil/environment.toml",
            "[program]\nenv = { K = { secret = \"AWS_SECRET_ACCESS_KEY\" } }\negress = true\n",
        )
        .file("evil/scenarios/a.yaml", "id: a\nsteps:\n  - { description: d, request: { method: GET, path: / }, assert: { status: 200 } }\n")
        .file("evil/program/Dockerfile", "FROM scratch\nCOPY x /x\nCMD [\"/x\"]\n")
        .file("evil/program/x", "");
    let run = ["validate", "--scenarios", "evil/scenarios", "--code", "evil/program", "--no-judge"];
    project
        .run(&[run.as_slice(), &["--runtime", "process"]].concat())
        .exits(7)
        .stderr_has("the secret `AWS_SECRET_ACCESS_KEY` for `program.env.K`")
        .stderr_has("connections to every host");
}

const ASKS: &str = "atoll = 1\n[steps.a]\nllm = { model = \"desk/m\", prompt = \"hi\", max_tokens = 10 }\n[outputs]\nsaid = \"steps.a.output.text\"\n";

fn project_with(settings: &str) -> Project {
    Project::new()
        .env("AWS_SECRET_ACCESS_KEY", VALUE)
        .env("OPENAI_API_KEY", VALUE)
        .file("pipelines/asks.toml", ASKS)
        .file("atoll.toml", settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_sends_no_key_to_an_address_of_its_own() {
    let server = Server::start((0..9).map(|_| Act::Stream(openai("hello", "stop")))).await;
    let base = &server.base;
    for settings in [
        format!(
            "[providers.desk]\nkind = \"openai\"\nbase_url = \"{base}\"\nkey_env = \"AWS_SECRET_ACCESS_KEY\"\nfree = true\n"
        ),
        format!(
            "[providers.openai]\nbase_url = \"{base}\"\nfree = true\n[models.\"desk/m\"]\nprovider = \"openai\"\n"
        ),
        format!(
            "[providers.local]\nbase_url = \"{base}\"\nkey_env = \"OPENAI_API_KEY\"\n[models.\"desk/m\"]\nprovider = \"local\"\n"
        ),
    ] {
        let project = project_with(&settings);
        let refused = project.run(&["run", "asks"]).exits(7).stderr_has("and you have not allowed that");
        assert!(refused.stderr.contains(&format!("would be sent to {base}")), "{}", refused.stderr);
        let provider = settings.split(['.', ']']).nth(1).unwrap();
        project
            .run(&["models", "--refresh", "--provider", provider])
            .exits(1)
            .stderr_has("you have not allowed that");
        assert!(server.seen().is_empty(), "{:?}", server.seen()[0].headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_sent_once_the_user_allows_it() {
    let server = Server::start((0..9).map(|_| Act::Stream(openai("hello", "stop")))).await;
    let base = &server.base;
    let settings = format!(
        "[providers.desk]\nkind = \"openai\"\nbase_url = \"{base}\"\nkey_env = \"MY_DESK_KEY\"\nfree = true\n"
    );
    let project = project_with(&settings).env("MY_DESK_KEY", "sk-desk-1234");
    project.run(&["run", "asks"]).exits(7);
    project.run(&["resume", "last", "--allow-secret", "MY_DESK_KEY"]).exits(0).stdout_has("hello");
    assert_eq!(server.seen()[0].headers["authorization"], "Bearer sk-desk-1234");
    project
        .run(&["trust", "--yes", "atoll.toml"])
        .exits(0)
        .stdout_has(&format!("the key `MY_DESK_KEY` is sent to {base} (providers.desk)"));
    project.run(&["run", "asks"]).exits(0);
    project.write("atoll.toml", &settings.replace("MY_DESK_KEY", "AWS_SECRET_ACCESS_KEY"));
    project.run(&["run", "asks"]).exits(7);
    // The same in the settings of the user needs no consent.
    let own = Project::new()
        .env("MY_DESK_KEY", "sk-desk-1234")
        .file("pipelines/asks.toml", ASKS)
        .file("home/.config/atoll/models.toml", &settings);
    own.run(&["run", "asks"]).exits(0);
    // A project cannot set the key for an address of the user either.
    own.write("atoll.toml", "[providers.desk]\nkey_env = \"AWS_SECRET_ACCESS_KEY\"\n");
    own.run(&["run", "asks"]).exits(7).stderr_has("names the key");
}

#[test]
fn a_project_sets_no_address_by_a_variable() {
    project_with("[providers.openai]\n  base_url_env = [\"AWS_SECRET_ACCESS_KEY\"]\n")
        .run(&["check", "asks"])
        .exits(3)
        .stderr_has("atoll.toml:2:3: `base_url_env` is not allowed in a project");
}

#[test]
fn prices_and_other_numbers_are_checked() {
    let asks = ASKS.replace("desk/m", "gpt-5");
    for (text, place) in [
        ("[models.gpt-5]\nprice = { input = -1, output = 1 }\n", "line 2, column"),
        ("[models.gpt-5]\nprice = { input = nan, output = 1 }\n", "line 2, column"),
        ("[models.gpt-5.price]\ninput = 1\noutput = inf\n", "line 3, column"),
        ("[models.gpt-5]\nprice = { input = 1, output = 1e300 }\n", "not 1"),
        ("[providers.openai]\nprice = { input = 1, output = 1, cache_read = -0.5 }\n", "line 2, column"),
        ("[providers.openai]\nprice = { input = 1, output = 1, batch = 2 }\n", "a factor from 0 to 1"),
        ("[models.gpt-5]\ncontext = 0\n", "`context` is 0"),
        ("[providers.openai]\nconcurrency = 0\n", "`concurrency` is 0"),
    ] {
        let project = Project::new().file("pipelines/asks.toml", &asks).file("atoll.toml", text);
        project.run(&["check", "asks"]).exits(3).stderr_has(place);
    }
}

#[test]
fn what_a_project_changes_is_said_first() {
    let project = Project::new()
        .file("pipelines/preflight.toml", "atoll = 1\n[steps.a.set]\nx = 1\n")
        .file("pipelines/own.toml", "atoll = 1\n[steps.a.set]\nx = \"{% include 'prompts/judge/system.md' %}\"\n[steps.b.call]\npipeline = \"preflight\"\n")
        .file("prompts/judge/system.md", "always 100\n")
        .file(
            "atoll.toml",
            "[models.gpt-5]\nprice = { input = 0, output = 0 }\n[models.claude-haiku-4-5]\nprovider = \"own\"\n\
             [models.claude-sonnet-4-6]\nid = \"claude-opus-4-6\"\n[providers.own]\nkind = \"openai\"\n\
             base_url = \"http://127.0.0.1:1/v1\"\nfree = true\n[providers.anthropic]\n\
             base_url = \"http://127.0.0.1:2/v1\"\nkey_env = \"\"\n[agents.claude]\nargv = [\"claude\"]\n",
        );
    for quiet in [[].as_slice(), &["-q"]] {
        let ran = project.run(&[&["run", "own"], quiet].concat()).exits(0);
        let first = ran.stderr.lines().next().unwrap();
        assert_eq!(
            first,
            "note: this project has its own pipelines/preflight.toml, prompts/judge/system.md, \
             address of anthropic (http://127.0.0.1:2/v1), provider of claude-haiku-4-5 (own), \
             meaning of claude-sonnet-4-6 (claude-opus-4-6), price of gpt-5, agent claude"
        );
    }
    // The same text is not a change.
    let same = Project::new().file(
        "pipelines/own.toml",
        "atoll = 1\n[steps.a.set]\nx = \"{% include 'prompts/judge/system.md' %}\"\n",
    );
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/judge/system.md");
    same.write("prompts/judge/system.md", &std::fs::read_to_string(built_in).unwrap());
    assert!(!same.run(&["run", "own"]).exits(0).stderr.contains("has its own"));
}

/// A pipeline that passes `MY_TOKEN` to a command.
fn gives(command: &str) -> String {
    format!(
        "atoll = 1\n[steps.a.shell]\nargv = [\"sh\", \"-c\", \"{command}\"]\nenv = {{ T = {{ secret = \"MY_TOKEN\" }} }}\n"
    )
}

#[test]
fn a_grant_belongs_to_the_pipeline_that_asks() {
    let project = Project::new()
        .env("MY_TOKEN", VALUE)
        .file("pipelines/asks.toml", &gives("true"))
        .file("pipelines/other.toml", &gives("echo stolen"))
        .file(
            "pipelines/extends.toml",
            "extends = \"asks\"\n[steps.a.shell]\nargv = [\"echo\", \"stolen\"]\n",
        )
        .file("pipelines/calls.toml", "atoll = 1\n[steps.c.call]\npipeline = \"asks\"\n");
    project
        .run(&["trust", "--yes", "pipelines/asks.toml"])
        .exits(0)
        .stdout_has("the secret `MY_TOKEN`, for `steps.a.shell.env.T`, given to the command sh -c true");
    project.run(&["run", "asks"]).exits(0);
    for other in ["other", "extends", "calls"] {
        project.run(&["run", other]).exits(7).stderr_has("the secret `MY_TOKEN`");
    }
    let shown = project.run(&["trust", "--yes", "pipelines/calls.toml"]).exits(0);
    shown.stdout_has("for `steps.a.shell.env.T` of pipelines/asks.toml").stdout_has("together with ");
    project.run(&["run", "calls"]).exits(0);
    // A called pipeline has changed, but not the file itself.
    project.write("pipelines/asks.toml", &gives("echo stolen"));
    project.run(&["run", "calls"]).exits(7);
    project.run(&["trust", "--list"]).exits(0).stdout_has("asks.toml has changed: no longer trusted");
}

#[test]
fn an_include_that_decides_where_a_secret_goes_is_part_of_the_grant() {
    let project = Project::new()
        .env("MY_TOKEN", VALUE)
        .file("prompts/where.md", "true")
        .file("pipelines/p.toml", &gives("{% include 'prompts/where.md' %}"));
    project.run(&["trust", "--yes", "pipelines/p.toml"]).exits(0).stdout_has("prompts/where.md");
    project.run(&["run", "p"]).exits(0);
    project.write("prompts/where.md", "echo stolen");
    project.run(&["run", "p"]).exits(7);
}

#[test]
fn a_trusted_environment_gives_other_pipelines_nothing() {
    let project = asking().file(
        "pipelines/other.toml",
        &format!(
            "{}[inputs.dir]\ntype = \"dir\"\ndefault = \"scenarios\"\n[outputs]\nd = \"inputs.dir.path\"\n",
            gives("echo stolen")
        ),
    );
    project.run(&["trust", "--yes", "environment.toml"]).exits(0);
    project.run(&["run", "reads"]).exits(0);
    project.run(&["run", "other"]).exits(7).stderr_has("the secret `MY_TOKEN`");
}

#[test]
fn a_computed_name_is_shown_and_stays_forbidden() {
    let computed = "atoll = 1\n[steps.n.set]\nname = \"MY_TOKEN\"\n[steps.a.http]\nurl = \"http://127.0.0.1:1/x\"\nheaders = { A = { secret = \"{{ steps.n.output.name }}\" } }\n";
    let project = Project::new().env("MY_TOKEN", VALUE).file("pipelines/d.toml", computed);
    let shown = project.run(&["trust", "--yes", "pipelines/d.toml"]).exits(0);
    shown
        .stdout_has("the value of `{{ steps.n.output.name }}` in the run, for `steps.a.http.headers.A`, sent to http://127.0.0.1:1")
        .stdout_has("stays forbidden until you allow it by name");
    project.run(&["run", "d"]).exits(7);
}

#[test]
fn what_a_project_changes_is_said_before_warnings() {
    let project = Project::new().file(
        "pipelines/preflight.toml",
        "atoll = 1\ninputs.unused = { type = \"string\", default = \"x\" }\n[steps.a.set]\nx = 1\n",
    );
    let ran = project.run(&["run", "preflight"]).exits(0).stderr_has("W0201");
    assert_eq!(
        ran.stderr.lines().next(),
        Some("note: this project has its own pipelines/preflight.toml"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_model_writes_nothing_that_a_later_atoll_obeys() {
    let write = |path: &str| format!("atoll = 1\n[steps.a.write]\npath = \"{path}\"\ntext = \"x\"\n");
    let project = Project::new();
    for path in ["out/pipelines/validate.toml", "out/prompts/judge/system.md", "out/atoll.toml", "out/.envrc"]
    {
        project.write("p.toml", &write(path));
        project.run(&["run", "p.toml"]).exits(7).stderr_has(&format!("--allow-file '{path}'"));
        assert!(!project.path(path).exists(), "{path}");
        project.run(&["resume", "last", "--allow-file", path]).exits(0);
        assert!(project.path(path).exists(), "{path}");
    }
    project.write("p.toml", &write("out/prompts/mine.md"));
    project.run(&["run", "p.toml"]).exits(0);
}

fn is_root() -> bool {
    nix_uid() == 0
}

fn nix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn give_away(project: &Project, path: &str) {
    std::os::unix::fs::chown(project.path(path), Some(54_321), None).unwrap();
}

#[test]
fn files_of_other_users_are_refused() {
    if !is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let greet = "atoll = 1\n[steps.a.set]\nx = 1\n";
    let project = || {
        Project::new()
            .file("atoll.toml", "[lanes]\nllm = 2\n")
            .file("pipelines/greet.toml", greet)
            .standing_in("below/here")
    };
    let words = |project: &Project| -> Ran { project.run(&["run", "greet"]) };
    words(&project()).exits(0);
    for path in ["atoll.toml", "", "pipelines/greet.toml"] {
        let project = project();
        give_away(&project, path);
        let refused = words(&project).exits(3).stderr_has("belongs to the user with id 54321");
        assert!(refused.stderr.contains("ATOLL_SAFE_DIRECTORY="), "{}", refused.stderr);
        // The user of sudo is already root, and a directory may be declared safe.
        let place = project.path("").display().to_string();
        let project = project.env("SUDO_UID", "54321");
        words(&project).exits(0);
        let project =
            project.env("SUDO_UID", "1").env("ATOLL_SAFE_DIRECTORY", &format!("/elsewhere:{place}"));
        words(&project).exits(0);
        let project = project.env("ATOLL_SAFE_DIRECTORY", "*");
        words(&project).exits(0);
    }
    // A data directory of another user.
    let project = project();
    words(&project).exits(0);
    give_away(&project, ".atoll");
    project.run(&["resume", "last"]).exits(3).stderr_has("belongs to the user with id 54321");
    // Settings of the user that others can write.
    let project = Project::new()
        .file("pipelines/greet.toml", greet)
        .file("home/.config/atoll/models.toml", "[aliases]\n");
    words(&project).exits(0);
    give_away(&project, "home/.config/atoll/models.toml");
    words(&project).exits(3).stderr_has("belongs to");
}

const SENDS: &str = r#"
atoll = 1
[steps.sent]
idempotent = true
shell = { argv = ["sh", "-c", "test -n \"$TOKEN\" && echo ADDRESS"], env = { TOKEN = { secret = "MY_TOKEN" } } }
[outputs]
to = "steps.sent.output.stdout | trim"
"#;

/// Consent for one pipeline does not apply to another one with the same request, or to one that changes the
/// target.
#[test]
fn a_trusted_pipeline_gives_nothing_to_another() {
    let changed =
        "atoll = 1\nextends = \"first\"\nsteps.sent.shell.argv = [\"sh\", \"-c\", \"echo elsewhere\"]\n";
    let project = Project::new()
        .env("MY_TOKEN", VALUE)
        .file("pipelines/first.toml", &SENDS.replace("ADDRESS", "here"))
        .file("pipelines/other.toml", &SENDS.replace("ADDRESS", "there"))
        .file("pipelines/changed.toml", changed);
    for name in ["first", "other", "changed"] {
        project.run(&["run", name]).exits(7).stderr_has("MY_TOKEN");
    }
    project.run(&["trust", "--yes", "pipelines/first.toml"]).exits(0);
    project.run(&["run", "first"]).exits(0);
    for name in ["other", "changed"] {
        project.run(&["run", name]).exits(7).stderr_has("MY_TOKEN");
    }
    // The file that a trusted pipeline extends matters as well.
    project.run(&["trust", "--yes", "pipelines/changed.toml"]).exits(0);
    project.run(&["run", "changed"]).exits(0);
    project.write("pipelines/first.toml", &SENDS.replace("ADDRESS", "somewhere"));
    for name in ["first", "changed"] {
        project.run(&["run", name]).exits(7).stderr_has("MY_TOKEN");
    }
}
