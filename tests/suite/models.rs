//! `atoll models` and `atoll cassette`.
#![expect(clippy::disallowed_methods, reason = "tests read and write files")]

use serde_json::{Value, json};

use crate::binary::{Project, Ran};
use crate::llm::server::{Act, KEY, Server};

#[test]
fn models_are_listed_with_limits_prices_and_aliases() {
    let project = Project::new();
    let text = project.run(&["models"]).exits(0).stdout;
    let line = |name: &str| {
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert!(
        line("claude-haiku-4-5 ").contains("200000") && line("claude-haiku-4-5 ").contains("1 / 5"),
        "{text}"
    );
    assert!(line("cheap ").contains("claude-haiku-4-5, gpt-5-mini"), "{text}");

    let json = project.run(&["models", "--provider", "gemini", "--format", "json"]).exits(0).json();
    assert_eq!(json["providers"].as_array().unwrap().len(), 1);
    let models = json["models"].as_array().unwrap();
    assert!(models.iter().all(|model| model["provider"] == "gemini") && models.len() >= 3, "{json}");
    let flash = models.iter().find(|model| model["name"] == "gemini-2.5-flash").unwrap();
    assert_eq!(
        flash["price"],
        json!({"input": 0.3, "output": 2.5, "cache_read": 0.03, "cache_write": null, "batch": 0.5})
    );
    project.run(&["models", "--provider", "gemni"]).exits(2).stderr_has("did you mean `gemini`?");
}

#[test]
fn the_user_and_the_project_add_to_the_registry() {
    let project = Project::new();
    project.write(
        "home/.config/atoll/models.toml",
        "[providers.acme]\nkind = \"openai\"\nbase_url = \"http://acme.test/v1\"\nprice = { input = 9, output = 9 }\n\
         [aliases]\njudge = \"acme/big\"\nmine = \"acme/big\"\n",
    );
    project.write(
        "atoll.toml",
        "[models.\"acme/big\"]\ncontext = 4096\n[aliases]\njudge = [\"acme/big\", \"gpt-5\"]\n",
    );
    let json = project.run(&["models", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&json["aliases"]["judge"], &json["aliases"]["mine"]),
        (&json!(["acme/big", "gpt-5"]), &json!(["acme/big"]))
    );
    let big = json["models"].as_array().unwrap().iter().find(|model| model["name"] == "acme/big").unwrap();
    assert_eq!((&big["context"], &big["price"]["input"]), (&json!(4096), &json!(9.0)));

    for (text, words) in [
        ("[aliases]\nx = \"gpt-55\"", "the alias `x` refers to an unknown model `gpt-55`"),
        ("[aliases]\nx = \"cheap\"", "the alias `x` refers to the alias `cheap`"),
        ("[aliases]\nx = []", "the alias `x` is empty"),
        ("[aliases]\ngpt-5 = \"o3\"", "the alias `gpt-5` is the name of a model"),
        ("[providers.local]\nidle = \"soon\"", "`idle` is not a duration: soon"),
    ] {
        project.write("atoll.toml", text);
        project.run(&["models"]).exits(3).stderr_has(words);
    }
}

async fn refreshed(project: Project, provider: &str) -> (Project, Ran) {
    let provider = provider.to_owned();
    let listing = move || {
        let ran = project.run(&["models", "--refresh", "--provider", &provider, "--format", "json"]);
        (project, ran)
    };
    tokio::task::spawn_blocking(listing).await.unwrap()
}

fn at(server: &Server) -> Project {
    let mut project = Project::new();
    for name in ["OPENAI", "ANTHROPIC", "GOOGLE_GEMINI", "ATOLL_OLLAMA"] {
        project = project.env(&format!("{name}_BASE_URL"), &server.base);
    }
    for name in ["OPENAI", "ANTHROPIC", "GEMINI"] {
        project = project.env(&format!("{name}_API_KEY"), KEY);
    }
    project
}

fn listed(body: &Value) -> Act {
    Act::Plain(200, vec![("content-type", "application/json")], body.to_string())
}

#[tokio::test]
async fn providers_are_asked_what_they_serve() {
    let openai = json!({"object": "list", "data": [{"id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai"},
        {"id": "gpt-6", "object": "model", "created": 1, "owned_by": "openai"}]});
    let claude = |id: &str| json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z", "max_input_tokens": 900});
    let first = json!({"data": [claude("claude-new")], "has_more": true, "first_id": "claude-new", "last_id": "claude-new"});
    let second = json!({"data": [claude("claude-old")], "has_more": false, "first_id": "claude-old", "last_id": "claude-old"});
    let gemini = json!({"models": [
        {"name": "models/gemini-9", "inputTokenLimit": 1000, "outputTokenLimit": 100, "supportedGenerationMethods": ["generateContent"]},
        {"name": "models/embed", "inputTokenLimit": 9, "supportedGenerationMethods": ["embedContent"]}]});
    let ollama = json!({"models": [{"name": "small:1b", "model": "small:1b", "size": 5}]});
    for (provider, pages, path, names) in [
        ("openai", vec![openai], "/v1/models", vec!["openai/gpt-6"]),
        (
            "anthropic",
            vec![first, second],
            "/v1/models",
            vec!["anthropic/claude-new", "anthropic/claude-old"],
        ),
        ("gemini", vec![gemini], "/v1/models", vec!["gemini/gemini-9"]),
        ("ollama", vec![ollama], "/api/tags", vec!["ollama/small:1b"]),
    ] {
        let server = Server::start(pages.iter().map(listed)).await;
        let (_, ran) = refreshed(at(&server), provider).await;
        let json = ran.exits(0).json();
        let models = json["models"].as_array().unwrap();
        let new: Vec<&str> = models
            .iter()
            .filter_map(|model| model["name"].as_str())
            .filter(|name| name.contains('/'))
            .collect();
        assert_eq!(new, names, "{provider}");
        assert!(models.iter().all(|model| model["served"].is_boolean()), "{json}");
        assert_eq!(server.seen()[0].path, path);
        assert_eq!(server.seen().len(), pages.len());
        if provider == "anthropic" {
            assert_eq!(server.seen()[1].query, "limit=1000&after_id=claude-new");
            assert_eq!(models.iter().find(|model| model["id"] == "claude-new").unwrap()["context"], 900);
        }
        if provider == "openai" {
            let served = |name: &str| &models.iter().find(|model| model["name"] == name).unwrap()["served"];
            assert_eq!((served("gpt-5"), served("o1")), (&json!(true), &json!(false)));
        }
    }
}

#[tokio::test]
async fn a_provider_that_does_not_list_is_named() {
    let wrong = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}});
    let server = Server::start([Act::Plain(401, vec![], wrong.to_string())]).await;
    let (_, ran) = refreshed(at(&server), "openai").await;
    let ran = ran
        .exits(1)
        .stderr_has("openai answered 401: Incorrect API key provided: ***")
        .stderr_has("check OPENAI_API_KEY");
    assert_eq!(ran.json()["providers"][0]["failure"]["class"], "auth");
}

fn tape() -> Project {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/greeting/cassette.jsonl");
    Project::new().file("tape.jsonl", &std::fs::read_to_string(path).unwrap())
}

#[test]
fn a_tape_is_listed_and_shown() {
    let project = tape();
    let all = project.run(&["cassette", "list", "tape.jsonl", "--format", "json"]).exits(0).json();
    let answers = all["answers"].as_array().unwrap();
    assert_eq!(answers.len(), project.read("tape.jsonl").lines().count());
    let key = answers[0]["key"].as_str().unwrap();
    let text = project.run(&["cassette", "list", "tape.jsonl"]).exits(0).stdout;
    assert!(text.lines().count() == answers.len() && text.starts_with(&key[..12]), "{text}");
    let shown = project.run(&["cassette", "show", "tape.jsonl", &key[..12]]).exits(0).stdout;
    assert!(
        shown.starts_with(key) && shown.contains("\nsystem\n") && shown.contains("\nanswer (end)\n"),
        "{shown}"
    );
    project
        .run(&["cassette", "show", "tape.jsonl", "zz"])
        .exits(2)
        .stderr_has("no answer with a key that begins with `zz`");
    project.run(&["cassette", "list", "none.jsonl"]).exits(3).stderr_has("cannot be read");
}

#[test]
fn answers_are_taken_off_and_the_others_stay_to_the_byte() {
    let project = tape();
    let before = project.read("tape.jsonl");
    let first: Value = serde_json::from_str(before.lines().next().unwrap()).unwrap();
    let (key, step) =
        (first["key"].as_str().unwrap(), first["at"].as_str().unwrap().split('@').next().unwrap());
    project.run(&["cassette", "prune", "tape.jsonl"]).exits(2);
    project
        .run(&["cassette", "prune", "tape.jsonl", "--at", step, "--dry-run"])
        .exits(0)
        .stderr_has("1 answer(s) would be removed");
    project
        .run(&["cassette", "prune", "tape.jsonl", "--at", "no/such/step"])
        .exits(0)
        .stderr_has("0 answer(s) removed");
    assert_eq!(project.read("tape.jsonl"), before);
    project
        .run(&["cassette", "prune", "tape.jsonl", "--at", step, "--key", &key[..12]])
        .exits(0)
        .stderr_has("1 answer(s) removed");
    assert_eq!(project.read("tape.jsonl"), before.split_once('\n').unwrap().1);
    project.run(&["cassette", "prune", "tape.jsonl", "--model", "local/qwen2.5-coder-1.5b"]).exits(0);
    assert_eq!(project.read("tape.jsonl"), "");
}

/// The page on models, which tests compare with the program.
fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/models.md")).unwrap()
}

#[test]
fn the_page_on_models_describes_what_there_is() {
    let page = page();
    let project = Project::new();
    let json = project.run(&["models", "--format", "json"]).exits(0).json();
    let known: Vec<&str> =
        json["providers"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    let table = page.split("## Providers").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let told = table.lines().skip(2).map(|line| line.split('`').nth(1).unwrap());
    let mut told: Vec<&str> = told.collect();
    told.sort_unstable();
    assert_eq!(told, known);
    let settings: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let (pipelines, settings): (Vec<&str>, Vec<&str>) =
        settings.into_iter().partition(|text| text.starts_with("atoll = 1"));
    assert_eq!((pipelines.len(), settings.len()), (1, 3));
    for text in settings {
        // Each begins with the file that it belongs to.
        let place = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap();
        project.write(&place.replace("~/", "home/"), text);
        project.run(&["models"]).exits(0);
    }
    for class in ["rate_limited", "auth", "transient", "rejected", "refused", "permanent"] {
        assert!(page.contains(&format!("`{class}`")), "{class}");
    }
}
