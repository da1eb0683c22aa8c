//! The language from text to plan: what is read, merged, ordered and kept.

use std::collections::HashMap;
use std::fmt::Write as _;

use atoll::diag::Code;
use atoll::plan::{
    Action, BodyId, Given, InputDoor, Listed, Loaded, MemorySources, OnInterrupt, Plan, ReadFile,
    check_inputs, drift, load, load_bundle,
};
use atoll::report::diagnostics::render_text;
use atoll::report::graph;
use atoll::value::{Digest, Value};
use indexmap::IndexMap;
use serde_json::json;

use crate::toys;

fn one(text: &str) -> Loaded {
    load("main", &MemorySources::new([("pipelines/main.toml", text)]), &toys::catalog(), &[])
}

fn sound(loaded: &Loaded) -> &Plan {
    let complaints = render_text(&loaded.diagnostics, &loaded.sources, false);
    loaded.plan.as_deref().unwrap_or_else(|| panic!("{complaints}"))
}

fn names(plan: &Plan, body: BodyId) -> Vec<&str> {
    let body = &plan.bodies[body.0];
    body.order.iter().map(|place| body.steps[*place].id.as_str()).collect()
}

#[test]
fn references_and_needs_order_the_steps_and_the_file_orders_the_rest() {
    let loaded = one(r#"
        atoll = 1
        [steps.late]
        needs = ["mid"]
        set = { x = 1 }
        [steps.a]
        set = { x = 1 }
        [steps.b]
        set = { x = 1 }
        [steps.mid]
        tolerates = ["b"]
        set = { x = "{{ steps.b.output.x }}" }
    "#);
    let plan = sound(&loaded);
    assert_eq!(names(plan, BodyId::ROOT), ["a", "b", "mid", "late"]);
    let body = &plan.bodies[0];
    let mid = &body.steps[3];
    assert_eq!((mid.deps.len(), mid.deps[0].step, mid.deps[0].accepts.is_full()), (1, 2, true));
    assert_eq!((mid.sees[0].up, mid.sees[0].step), (0, 2));
    assert_eq!(body.sinks, [0, 1]);
}

#[test]
fn a_body_waits_for_what_its_inside_reads() {
    let loaded = one(r#"
        atoll = 1
        [steps.outer]
        set = { x = [1, 2] }
        [steps.unread]
        set = { x = 1 }
        [steps.l.loop]
        max = 3
        state = { n = 0 }
        let = { b = "let.a + 1", a = "steps.e.output | length" }
        next = { n = "let.b" }
        [steps.l.steps.e]
        each = { over = "[1, 2]", as = "part", key = "part" }
        [steps.l.steps.e.steps.deep]
        set = { y = "{{ steps.outer.output.x[part] + state.n + part_index }}" }
    "#);
    let plan = sound(&loaded);
    let step = &plan.bodies[0].steps[2];
    assert_eq!(step.deps.iter().map(|dep| dep.step).collect::<Vec<_>>(), [0]);
    let Action::Loop(inner) = &step.action else { panic!("no loop") };
    assert_eq!(inner.lets.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(inner.sees.iter().map(|seen| (seen.up, seen.step)).collect::<Vec<_>>(), [(0, 0)]);
    let Action::Each(each) = &plan.bodies[inner.body.0].steps[0].action else { panic!("no each") };
    let deep = &plan.bodies[each.body.0].steps[0];
    assert_eq!(deep.sees.iter().map(|seen| (seen.up, seen.step)).collect::<Vec<_>>(), [(2, 0)]);
    assert_eq!(each.item, "part");
}

#[test]
fn extends_and_settings_are_merged_and_steps_removed() {
    let door = MemorySources::new([
        (
            "pipelines/base.toml",
            "atoll = 1\nname = 'base'\n[steps.a]\ntimeout = '5s'\nshell = { argv = ['x'] }\n[steps.b]\nset = { x = 1 }\n",
        ),
        ("pipelines/mid.toml", "extends = 'base'\n[steps.a]\ntimeout = '7s'\n[steps]\nb = false\n"),
        ("pipelines/top.toml", "extends = 'mid'\nname = 'top'\n"),
    ]);
    let sets = ["steps.a.retry.max=9".to_owned(), "steps.a.when=run.id != 'x'".to_owned()];
    let loaded = load("top", &door, &toys::catalog(), &sets);
    let plan = sound(&loaded);
    assert_eq!(plan.name, "top");
    let step = &plan.bodies[0].steps[0];
    assert_eq!((step.timeout.unwrap().as_secs(), step.retry.max, plan.bodies[0].steps.len()), (7, 9, 1));
    assert!(step.when.is_some());
    assert_eq!(step.on_interrupt, OnInterrupt::Ask);
    let bad = load("top", &door, &toys::catalog(), &["steps.a.retry.max=lots".to_owned()]);
    assert_eq!(bad.diagnostics[0].code, Code::UnknownName);
    assert!(render_text(&bad.diagnostics, &bad.sources, false).contains("--set:1:20"));
    let bad = load("top", &door, &toys::catalog(), &["nothing".to_owned()]);
    assert_eq!(bad.diagnostics[0].code, Code::BadSetting);
}

#[test]
fn a_bundle_gives_the_same_plan_again_and_shows_drift() {
    let door = MemorySources::new([
        (
            "pipelines/main.toml",
            "atoll = 1\n[steps.a]\noutput = 'schemas/s.json'\nllm = { model = 'm', prompt = 'prompts/a.md' }\n[steps.c]\ncall = { pipeline = 'callee' }\n",
        ),
        ("pipelines/callee.toml", "atoll = 1\n[steps.x]\nset = { y = 1 }\n"),
        ("prompts/a.md", "Say {{ run.id }}.\n{% include 'prompts/b.md' %}"),
        ("prompts/b.md", "The end.\n"),
        ("schemas/s.json", "{\"type\": \"object\"}"),
        ("prompts/unused.md", "not read"),
    ]);
    let first = load("main", &door, &toys::catalog(), &[]);
    let again = load_bundle(&first.bundle, &toys::catalog());
    assert_eq!(sound(&first).digest, sound(&again).digest);
    assert_eq!(first.bundle, again.bundle);
    let mut paths: Vec<&String> = first.bundle.files.keys().collect();
    paths.retain(|path| path.starts_with("prompts"));
    assert_eq!(paths, ["prompts/a.md", "prompts/b.md"]);
    let stored: atoll::plan::Bundle =
        serde_json::from_str(&serde_json::to_string(&first.bundle).unwrap()).unwrap();
    let changed = load("main", &door.with("prompts/b.md", "The END.\n"), &toys::catalog(), &[]);
    let drift = drift(&stored, &changed.bundle);
    assert_eq!((drift.len(), drift[0].path.as_str()), (1, "prompts/b.md"));
    assert_ne!(sound(&first).digest, sound(&changed).digest);
}

struct Disk(HashMap<&'static str, &'static str>);

impl InputDoor for Disk {
    fn file(&self, path: &str) -> Result<ReadFile, String> {
        let text = self.0.get(path).ok_or("no such file")?;
        Ok(ReadFile { name: path.to_owned(), text: (*text).to_owned() })
    }

    fn dir(&self, path: &str) -> Result<Vec<Listed>, String> {
        if path != "cases" {
            return Err("not a directory".to_owned());
        }
        Ok(vec![Listed { path: "one.yaml".to_owned(), size: 3, digest: Digest::of("abc") }])
    }

    fn model(&self, _: &str) -> Result<(), (String, Option<String>)> {
        Ok(())
    }
}

const INPUTS: &str = r#"
    atoll = 1
    [inputs]
    spec      = { type = "file", required = true, help = "what to build" }
    cases     = { type = "dir" }
    threshold = { type = "number", default = 0.8, min = 0, max = 1 }
    rounds    = { type = "int", default = 3 }
    mode      = { type = "enum", values = ["fast", "slow"], default = "fast" }
    wait      = { type = "duration", default = "90s" }
    tags      = { type = "list", default = [] }
    dry_run   = { type = "bool", default = false }
    [steps.a]
    set = { x = "{{ inputs }}" }
"#;

fn given(pairs: &[(&str, &str)]) -> IndexMap<String, Given> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), Given::Text((*text).to_owned()))).collect()
}

#[test]
fn inputs_are_typed_and_filled_in() {
    let loaded = one(INPUTS);
    let disk = Disk([("spec.md", "# Spec")].into());
    let pairs =
        [("spec", "spec.md"), ("cases", "cases"), ("tags", "a, b"), ("dry-run", "true"), ("rounds", "5")];
    let value = check_inputs(sound(&loaded), &given(&pairs), &disk).unwrap();
    assert_eq!(value["spec"]["text"], "# Spec");
    assert_eq!(value["cases"]["files"][0]["path"], "one.yaml");
    let plain: Vec<&Value> =
        ["threshold", "rounds", "mode", "wait", "tags", "dry_run"].iter().map(|name| &value[*name]).collect();
    assert_eq!(json!(plain), json!([0.8, 5, "fast", 90.0, ["a", "b"], true]));
}

#[test]
fn all_complaints_about_inputs_come_at_once() {
    let loaded = one(INPUTS);
    let disk = Disk([("empty.md", " \n")].into());
    let codes = |pairs: &[(&str, &str)]| -> Vec<&str> {
        let complaints = check_inputs(sound(&loaded), &given(pairs), &disk).unwrap_err();
        assert!(complaints.iter().all(|complaint| complaint.help.is_some()));
        complaints.iter().map(|complaint| complaint.code.number()).collect()
    };
    let pairs = [("spce", "x"), ("cases", "file"), ("threshold", "7"), ("rounds", "many"), ("mode", "fsat")];
    assert_eq!(codes(&pairs), ["E0601", "E0602", "E0606", "E0604", "E0603", "E0605"]);
    assert_eq!(codes(&[("spec", "gone.md")]), ["E0606"]);
    assert_eq!(codes(&[("spec", "empty.md")]), ["E0607"]);
}

#[test]
fn a_graph_is_drawn_with_bodies_inside_their_owners() {
    let loaded = one(r#"
        atoll = 1
        [steps.a]
        set = { x = [1] }
        [steps.e]
        each = { over = "steps.a.output.x" }
        [steps.e.steps.end]
        set = { y = "{{ item }}" }
    "#);
    let plan = sound(&loaded);
    assert_eq!(
        graph::mermaid(plan),
        "flowchart TD\n  s_a[\"a · set\"]\n  subgraph s_e[\"e · each\"]\n    s_e__end[\"end · set\"]\n  end\n  s_a --> s_e\n"
    );
    assert!(graph::dot(plan).contains("s_a -> s_e [lhead=cluster_s_e];"));
    assert_eq!(graph::json(plan)["steps"][1]["steps"][0]["id"], "end");
}

#[test]
fn five_thousand_steps_are_planned() {
    let mut text = String::from("atoll = 1\n");
    for n in 0..5_000 {
        let read =
            if n == 0 { "{{ 0 }}".to_owned() } else { format!("{{{{ steps.s{}.output.x + 1 }}}}", n - 1) };
        let _ = write!(text, "[steps.s{n}]\nset = {{ x = \"{read}\" }}\n");
    }
    let loaded = one(&text);
    assert_eq!(sound(&loaded).bodies[0].order.len(), 5_000);
}
