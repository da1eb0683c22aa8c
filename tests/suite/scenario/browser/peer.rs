//! `datasette`, a third-party program, with a database that the test creates.
#![expect(clippy::disallowed_methods, reason = "tests start programs")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Kept, assert_all_hold, browse, chromium, required, text};
use crate::scenario::{read, steps};
use atoll::scenario::StepDecision;
use serde_json::{Value, json};

struct Datasette {
    url: String,
    _child: tokio::process::Child,
    _dir: tempfile::TempDir,
}

/// Starts it if it is installed, and waits until it has printed its address.
async fn datasette(test: &str) -> Option<Datasette> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin/datasette");
    if !program.exists() {
        assert!(!required("peers"), "peers are required: {} is missing", program.display());
        println!("skipped: {test}: datasette is missing; tests/setup/peers.sh installs it");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = database(dir.path());
    let mut child = tokio::process::Command::new(program)
        .args(["serve", "--host", "127.0.0.1", "--port", "0"])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap().expect("datasette prints its address");
        if let Some((_, rest)) = line.split_once("running on ") {
            break rest.split_whitespace().next().unwrap().to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Some(Datasette { url, _child: child, _dir: dir })
}

fn database(dir: &Path) -> PathBuf {
    let file = dir.join("shop.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection
        .execute_batch(
            "create table items (id integer primary key, name text, colour text, price real);
             insert into items (name, colour, price) values
               ('Anvil', 'black', 99.5), ('Kite', 'red', 12), ('Rocket', 'red', 450),
               ('Magnet', 'black', 7.25), ('Glue', 'white', 3);",
        )
        .unwrap();
    file
}

const JOURNEY: &str = include_str!("../../../scenarios/datasette-browse.yaml");

#[tokio::test]
async fn a_journey_through_datasette() {
    let test = "a_journey_through_datasette";
    let (Some(chromium), Some(peer)) = (chromium(test).await, datasette(test).await) else { return };
    let kept = Kept::default();
    let seen = browse(&chromium, &read(JOURNEY), &peer.url, Some(&kept)).await;
    assert_all_hold(&seen);
    assert!(seen.setup_ok);
    let step = |line: &str| seen.steps.iter().find(|step| step.description.starts_with(line)).unwrap();
    assert_eq!(
        step("Look for").sent.as_ref().unwrap().text,
        r#"select "colour" in select[name=_filter_column]"#
    );
    assert_eq!(step("Count").captures[0].value, json!("2"));
    assert_eq!(
        text(step("Count")),
        "URL: /shop/items?_sort=id&colour__exact=red\n\
         Title: shop: items: 2 rows where colour = \"red\" sorted by id\n\
         table.rows-and-columns tbody tr: 2 found, visible\n\
         Element:\n- row\n  - cell \"2\"\n    - link \"2\" -> /shop/items/2\n  - cell \"Kite\"\n  - cell \"red\"\n  - cell \"12.0\""
    );
    assert_eq!(step("Count").decided, StepDecision::Held);
    let judged = step("Follow");
    assert_eq!(judged.decided, StepDecision::Open);
    assert!(!text(judged).contains(&peer.url), "the judged text is the same on every port");
    let pictures = kept.all();
    assert_eq!(pictures.len(), 3, "one for every step that will be judged, and the requested one");
    for picture in &pictures {
        let size =
            [&picture[16..20], &picture[20..24]].map(|part| u32::from_be_bytes(part.try_into().unwrap()));
        assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n") && picture.ends_with(b"IEND\xaeB`\x82"));
        assert_eq!(size, [1280, 720]);
    }
    let evidence = &judged.observed.as_ref().unwrap().evidence[0];
    assert_eq!((evidence.name.as_str(), evidence.media_type.as_str()), ("screenshot", "image/png"));
    assert_eq!(evidence.length, pictures[0].len() as u64);
}

/// `role name` of all nodes of the roles that scenarios select by.
fn named<'t>(nodes: impl Iterator<Item = (&'t str, &'t str)>) -> BTreeSet<String> {
    const ROLES: [&str; 7] = ["link", "button", "heading", "cell", "columnheader", "checkbox", "navigation"];
    nodes
        .filter(|(role, _)| ROLES.contains(role))
        .map(|(role, name)| format!("{role} {}", name.replace('\u{a0}', " ")))
        .collect()
}

#[tokio::test]
async fn roles_and_names_are_those_that_chromium_tells_screen_readers() {
    let test = "roles_and_names_are_those_that_chromium_tells_screen_readers";
    let (Some(chromium), Some(peer)) = (chromium(test).await, datasette(test).await) else { return };
    let page = steps("- { browser: { action: navigate, url: /shop/items }, expect: x }");
    let seen = browse(&chromium, &page, &peer.url, None).await;
    let tree = seen.steps[0].observed.as_ref().unwrap().parts["tree"].as_str().unwrap().to_owned();
    let line = |line: &str| -> Option<(String, String)> {
        let line = line.trim_start().strip_prefix("- ")?;
        let (role, rest) = line.split_once(' ').unwrap_or((line, ""));
        let name = rest.strip_prefix('"').and_then(|rest| {
            serde_json::Deserializer::from_str(&format!("\"{rest}")).into_iter::<String>().next()
        });
        Some((role.to_owned(), name.and_then(Result::ok).unwrap_or_default()))
    };
    let ours: Vec<(String, String)> = tree.lines().filter_map(line).collect();

    let (loaded, load) = tokio::sync::oneshot::channel();
    let loaded = std::sync::Mutex::new(Some(loaded));
    let ear = std::sync::Arc::new(move |event: &str, _: &Value| {
        if event == "Page.loadEventFired" {
            loaded.lock().unwrap().take().map(|loaded| loaded.send(()));
        }
    });
    let tab = chromium.open(None, ear).await.unwrap();
    tab.call("Page.enable", json!({})).await.unwrap();
    tab.call("Page.navigate", json!({ "url": format!("{}/shop/items", peer.url) })).await.unwrap();
    load.await.unwrap();
    let nodes = tab.call("Accessibility.getFullAXTree", json!({})).await.unwrap();
    let nodes = nodes["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] == false);
    let theirs: Vec<(&str, &str)> = nodes
        .map(|node| {
            (node["role"]["value"].as_str().unwrap(), node["name"]["value"].as_str().unwrap_or_default())
        })
        .collect();
    let ours = named(ours.iter().map(|(role, name)| (role.as_str(), name.as_str())));
    let theirs = named(theirs.into_iter());
    assert!(theirs.len() > 25, "{theirs:?}");
    assert_eq!(ours, theirs);
}
