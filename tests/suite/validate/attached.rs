//! Rows, bodies and schemas in files next to a scenario.
#![expect(clippy::disallowed_methods, reason = "tests remove files")]

use serde_json::Value;

use super::Site;
use crate::binary::{Project, Ran};

/// Sends back what it was sent, with its path, as JSON.
const ECHO: &str = "import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_POST(self):
        text = self.rfile.read(int(self.headers['Content-Length'])).decode()
        self.send_response(201)
        self.end_headers()
        self.wfile.write(json.dumps({'path': self.path, 'text': text, 'order': json.loads(text)}).encode())
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print('port', server.server_address[1])
server.serve_forever()
";

const ORDERS: &str = "id: orders
for_each: { file: data/orders.csv }
fixtures: [first]
steps:
  - description: '{name} is taken'
    request: { method: POST, path: '/{name}', bytes: { file: data/order.json } }
    assert:
      status: 201
      json:
        $.path: { equals: '/{name}' }
        $.text: { contains: '{size}' }
        $.order: { schema: { file: data/order.schema.json } }
  - for_each: { file: data/more.yaml }
    request: { method: POST, path: '/{item}', body: { n: 1 } }
    assert: { json: { $.path: '/{item}' } }
";

const FIXTURE: &str = "setup:
  - request: { method: POST, path: /, bytes: { file: seed.json } }
    assert: { status: 201 }
";

fn project() -> (Project, Site) {
    let project = Project::new()
        .file("echo.py", ECHO)
        .file("cases/orders.yaml", ORDERS)
        .file("cases/fixtures/first.yaml", FIXTURE)
        .file("cases/fixtures/seed.json", "{}")
        .file("cases/data/orders.csv", "name,size\nbolt,1.10\n\"nut\",07\n")
        .file("cases/data/more.yaml", "- 1.10\n- b\n")
        .file("cases/data/order.json", "{\"size\": \"{size}\"}")
        .file("cases/data/order.schema.json", "{\"type\": \"object\", \"required\": [\"size\"]}");
    let site = Site::running(&project.path("echo.py"));
    (project, site)
}

fn run(project: &Project, site: &Site, scenarios: &str) -> Ran {
    let own = ["validate", "--scenarios", scenarios, "--no-judge", "--format", "json", "--target", &site.url];
    project.run(&own)
}

#[test]
fn rows_bodies_and_schemas_come_from_files() {
    let (project, site) = project();
    // Placeholders in a file are not replaced, so `$.text` still contains one.
    let report = run(&project, &site, "cases").exits(4).json();
    let all = report["scenarios"].as_array().unwrap();
    let ids: Vec<&Value> = all.iter().map(|scenario| &scenario["id"]).collect();
    assert_eq!(ids, ["orders-1", "orders-2"], "{report}");
    for (scenario, name) in all.iter().zip(["bolt", "nut"]) {
        let steps = scenario["steps"].as_array().unwrap();
        let passed: Vec<&Value> = steps.iter().map(|step| &step["passed"]).collect();
        assert_eq!(passed, [&false.into(), &true.into(), &Value::from(true)], "{scenario}");
        assert_eq!(steps[0]["description"], format!("{name} is taken"));
        let sent = steps[0]["sent"].as_str().unwrap();
        assert!(sent.starts_with(&format!("POST /{name}")), "{sent}");
        assert!(
            steps[1]["sent"].as_str().unwrap().starts_with("POST /1.10"),
            "the number keeps its text: {scenario}"
        );
        let failures = steps[0]["failures"].as_array().unwrap();
        assert_eq!(failures.len(), 1, "path and schema hold: {failures:?}");
    }
    project.write("cases/data/order.json", "{\"size\": \"1.10 07\"}");
    run(&project, &site, "cases").exits(0);
    run(&project, &site, "cases/orders.yaml").exits(0);
    // A file that another scenario refers to is still a scenario.
    project.write("cases/data/other.yaml", "id: other\nsteps: [{ request: { method: GTE, path: / } }]\n");
    project
        .write("cases/names.yaml", &ORDERS.replace("more.yaml", "other.yaml").replace("orders\n", "names\n"));
    run(&project, &site, "cases").exits(3).stdout_has("cases/data/other.yaml:2");
    project.write("cases/names.yaml", &ORDERS.replace("orders\n", "names\n"));
    project.write("cases/data/other.yaml", "id: other\nsteps: [{ ws: { url: /, receive: {} } }]\n");
    run(&project, &site, "cases").exits(4).stdout_has("\"other\"");
    for file in ["cases/names.yaml", "cases/data/other.yaml"] {
        std::fs::remove_file(project.path(file)).unwrap();
    }
    project.write("cases/data/order.schema.json", "{\"type\": \"object\", \"required\": [\"weight\"]}");
    run(&project, &site, "cases").exits(4).stdout_has("weight");
}

#[test]
fn a_misspelt_scenario_is_not_passed_over_because_another_names_it() {
    let (project, _) = project();
    project.write("cases/orders.yaml", &ORDERS.replace("data/order.json", "data/order.yaml"));
    project.write("cases/data/order.yaml", "size: 1\n");
    let note =
        "cases/data/order.yaml:2:1: warning[W0706]: this file looks like a scenario, but `steps` is missing";
    let lint = || project.run(&["lint", "cases"]);
    let data = lint();
    assert!(
        !data.stdout.contains("--> cases/data/"),
        "files that scenarios refer to are data: {}",
        data.stdout
    );
    project.write("cases/data/order.yaml", "id: other\nstep: [{ request: { method: GET, path: / } }]\n");
    lint().stdout_has("W0706").stdout_has("data/order.yaml:2:1").stdout_has("did you mean `steps`?");
    project.write("p.toml", "atoll = 1\n[steps.cases]\nscenario_load = { dir = \"cases\" }\n[outputs]\nsaid = \"steps.cases.output.warnings\"\n");
    project.run(&["run", "p.toml"]).stdout_has(note);
    // A data file with an id is still data.
    project.write("cases/data/order.yaml", "id: 7\nstep: 3\nitems: [{ name: a }]\n");
    assert!(!lint().stdout.contains("W0706"));
    // A file that no other file refers to is an error, even if it refers to itself.
    let own = "id: own\nfor_each: { file: own.yaml }\nstep: [{ request: { method: GET, path: / } }]\n";
    project.write("cases/own.yaml", own);
    lint().exits(3).stdout_has("cases/own.yaml:3:1").stdout_has("did you mean `steps`?");
    project.run(&["run", "p.toml"]).exits(1).stderr_has("cases/own.yaml:3:1");
    project.run(&["lint", "cases/own.yaml"]).exits(3).stdout_has("`steps` is missing");
}

#[test]
fn a_name_that_leads_elsewhere_is_refused_with_its_place() {
    let (project, site) = project();
    project.write("secret.csv", "name,size\na,1\n");
    std::os::unix::fs::symlink(project.path("secret.csv"), project.path("cases/data/link.csv")).unwrap();
    let refused = |from: &str, to: &str, why: &str| {
        project.write("cases/orders.yaml", &ORDERS.replace(from, to));
        let report = run(&project, &site, "cases").exits(3).json();
        let trouble = report["trouble"].as_str().unwrap();
        assert!(trouble.contains("cases/orders.yaml:") && trouble.contains(why), "{trouble}");
    };
    let relative = "a file is named relative to the scenario file";
    refused("data/orders.csv", "../secret.csv", relative);
    refused("data/orders.csv", "/etc/passwd", relative);
    refused("data/orders.csv", "data/link.csv", "symbolic link");
    refused("data/orders.csv", "data/none.csv", "cases/orders.yaml:2:");
    refused("data/order.json", "data", "cannot be read");
    project.write("cases/data/orders.csv", "name,size\nbolt\n");
    refused("first", "first", "is not a valid CSV table");
    project.write("cases/data/orders.csv", "name,size\nbolt,\"1\nnut,2\nring,3\n");
    refused("first", "first", "the quote that is opened in line 2 is not closed");
    project.write("cases/data/orders.csv", "name,name\nbolt,1\n");
    refused("first", "first", "two columns have the name `name`");
    project.write("cases/data/orders.csv", "name,size\n");
    refused("first", "first", "0 rows");
}

/// The digest of the input `scenarios` that the last run recorded.
fn recorded(project: &Project) -> String {
    fn found(value: &Value) -> Option<String> {
        match value {
            Value::Object(table) if table.contains_key("files") => {
                table["digest"].as_str().map(str::to_owned)
            }
            Value::Object(table) => table.values().find_map(found),
            Value::Array(items) => items.iter().find_map(found),
            _ => None,
        }
    }
    let log = project.run(&["log", "last", "--format", "json"]).exits(0).json_lines();
    log.iter().find_map(found).expect("inputs with files")
}

#[test]
fn a_changed_file_is_another_input() {
    let (project, site) = project();
    for scenarios in ["cases", "cases/orders.yaml"] {
        run(&project, &site, scenarios);
        let mut before = recorded(&project);
        run(&project, &site, scenarios);
        assert_eq!(before, recorded(&project), "{scenarios}");
        for file in ["cases/data/more.yaml", "cases/fixtures/seed.json", "cases/fixtures/first.yaml"] {
            project.write(file, &format!("{} ", project.read(file)));
            run(&project, &site, scenarios);
            let now = recorded(&project);
            assert_ne!(before, now, "{scenarios}: {file}");
            before = now;
        }
    }
}
