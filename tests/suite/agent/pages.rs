//! The examples of the page on agents are valid.

use crate::binary::Project;

/// The TOML blocks of the page.
fn blocks() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agents.md")).unwrap();
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[test]
fn its_pipelines_are_sound_and_its_settings_are_understood() {
    let (settings, pipelines): (Vec<_>, Vec<_>) =
        blocks().into_iter().partition(|block| block.starts_with("# atoll.toml"));
    assert_eq!((settings.len(), pipelines.len()), (2, 2));
    // Readable directories in the `atoll.toml` of a project need trust.
    let project = Project::new().file("home/.config/atoll/models.toml", &settings.concat());
    for (n, pipeline) in pipelines.iter().enumerate() {
        let path = format!("pipelines/p{n}.toml");
        project.write(&path, pipeline);
        project.run(&["check", &path]).exits(0);
    }
    let mistaken = settings.concat().replace("end    = \"done\"", "ende = \"done\"");
    project.write("home/.config/atoll/models.toml", &mistaken);
    project
        .run(&["verbs"])
        .exits(3)
        .stderr_has("unknown field `ende`")
        .stderr_has("the keys of [agents.NAME] are");
}

#[test]
fn the_page_has_the_defaults_of_the_verb() {
    let verbs = Project::new().run(&["verbs", "--format", "json"]).exits(0).json();
    let agent = verbs["verbs"].as_array().unwrap().iter().find(|verb| verb["name"] == "agent").unwrap();
    let keys = &agent["with"]["properties"];
    assert_eq!((&keys["turns"]["default"], &keys["usd"]["default"]), (&50.into(), &5.0.into()));
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agents.md")).unwrap();
    for row in ["| `turns` | 50 |", "| `usd` | 5.0 |", "| `wall` | 30m |", "| `idle` | 5m |"] {
        assert!(page.contains(row), "{row}");
    }
}
