use std::sync::Arc;

use atoll::diag::Severity;
use atoll::scenario::{Attachments, ScenarioFiles, load};
use atoll::schema::Schema;
use atoll::value::Value;

const REFERENCE: &str = include_str!("../../../docs/scenarios.md");
const PUBLISHED: &str = include_str!("../../../schemas/scenario.json");
const SAMPLES: [&str; 3] = [
    include_str!("../../scenarios/items-crud.yaml"),
    include_str!("../../scenarios/session-auth.yaml"),
    include_str!("../../scenarios/text-tool.yaml"),
];

/// The YAML examples of the reference; lists of steps are completed to scenarios.
fn examples() -> Vec<String> {
    let blocks = REFERENCE.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .map(
            |block| {
                if block.starts_with("- ") {
                    format!("id: example\nsteps:\n{block}")
                } else {
                    block.to_owned()
                }
            },
        )
        .collect()
}

/// The files that the examples refer to.
#[derive(Debug)]
struct Beside;

impl Attachments for Beside {
    fn read(&self, _: &str, name: &str) -> Result<Vec<u8>, String> {
        match name {
            "data/orders.csv" => Ok(b"name\nbolt\n".to_vec()),
            "data/order.json" | "data/order.schema.json" => Ok(b"{}".to_vec()),
            other => Err(format!("no example has {other}")),
        }
    }

    fn is_named(&self, _: &str) -> bool {
        false
    }
}

fn published() -> Schema {
    Schema::compile("scenario.json", serde_json::from_str(PUBLISHED).unwrap()).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_example_of_the_reference_loads() {
    let examples = examples();
    assert!(examples.len() >= 4);
    for example in examples {
        let scenarios = vec![("docs".into(), example.clone())];
        let files = ScenarioFiles { scenarios, attached: Some(Arc::new(Beside)), ..ScenarioFiles::default() };
        let (scenarios, _, complaints) = load(files);
        let errors: Vec<_> = complaints.iter().filter(|c| c.severity == Severity::Error).collect();
        assert!(scenarios.len() == 1 && errors.is_empty(), "{example}\n{errors:#?}");
    }
}

#[test]
fn the_published_schema_takes_what_the_loader_takes() {
    let schema = published();
    for text in examples().iter().map(String::as_str).chain(SAMPLES) {
        assert_eq!(schema.violations(&yaml(text)), [], "{text}");
    }
}

#[test]
fn the_published_schema_refuses_what_the_loader_refuses() {
    let schema = published();
    for step in [
        "{ expect: nothing }",
        "{ request: { method: GET, path: / }, exec: { command: ls } }",
        "{ grpcs: { service: x } }",
        "{ request: { method: GET } }",
        "{ request: { method: FETCH, path: / } }",
        "{ request: { method: GET, path: /, boddy: 1 } }",
        "{ exec: { command: ls, timeout: 30 } }",
        "{ exec: { command: ls, files: { a.txt: x } } }",
        "{ exec: { command: ls }, capture: [{ name: a }] }",
        "{ exec: { command: ls }, capture: [{ name: a-b, source: stdout }] }",
        "{ exec: { command: ls }, assert: {} }",
        "{ exec: { command: ls }, assert: { stdout: { is: x } } }",
        "{ request: { method: GET, path: / }, assert: { status: true } }",
        "{ request: { method: GET, path: / }, assert: { json: [{ equals: 1 }] } }",
        "{ request: { method: GET, path: / }, assert: { json: { $.a: { type: text } } } }",
    ] {
        let text = format!("id: x\nsteps:\n- {step}\n");
        assert!(!schema.accepts(&yaml(&text)), "the schema accepts {step}");
        let (scenarios, ..) = load(vec![("x".into(), text)]);
        assert!(scenarios.is_empty(), "the loader accepts {step}");
    }
    assert!(
        !schema.accepts(&yaml("id: x\nsteps: []\n"))
            && !schema.accepts(&yaml("steps: [{ exec: { command: a } }]"))
    );
}
