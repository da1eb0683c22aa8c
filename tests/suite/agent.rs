//! The verb `agent`: a model with our tools, and external coding agents.
#![expect(clippy::disallowed_methods, reason = "tests write files and look at processes")]

mod limits;
pub mod loops;
mod pages;
mod programs;
mod real;
mod resume;
mod sandbox;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use atoll::clock::{Clock, ManualClock};
use atoll::coding_agents::CodingAgents;
use atoll::llm::Models;
use atoll::runtime::service::{RuntimeSettings, Runtimes};
use atoll::schema::Schema;
use atoll::tree::Tree;
use atoll::value::{Digest, Value};
use atoll::verb::{Context, CursorSink, DynVerb, Failure, Note, Output, Progress};
use atoll::verbs::agent::{Agent, Programs};
use serde_json::json;

/// One step with an agent.
pub struct Step {
    pub cx: Context,
    pub data: tempfile::TempDir,
    pub agents: String,
    pub allow_host: bool,
    saved: Arc<Mutex<Vec<Value>>>,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Step {
    pub fn new() -> Self {
        Self::at(Arc::new(ManualClock::at(1)))
    }

    pub fn at(clock: Arc<dyn Clock>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut cx = Context::for_test(data.path().join("project"), clock);
        let saved: Arc<Mutex<Vec<Value>>> = Arc::default();
        let sink = saved.clone();
        cx.cursors = CursorSink::new(move |cursor| {
            sink.lock().unwrap().push(cursor);
            Box::pin(async { Ok(()) })
        });
        let notes: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = notes.clone();
        cx.progress = Progress::new(move |note| {
            if let Note::Line { text } = note {
                sink.lock().unwrap().push(text);
            }
        });
        Self { cx, data, agents: String::new(), allow_host: false, saved, notes }
    }

    /// One step with an agent and a schema for the result.
    pub fn wants(mut self, schema: Value) -> Self {
        self.cx.schema = Some(Arc::new(Schema::compile("schemas/report.json", schema).unwrap()));
        self
    }

    pub async fn run(&self, models: &Models, with: Value) -> Result<Output<Value>, Failure> {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_atoll"));
        let mut settings = RuntimeSettings::new(program.clone(), self.data.path().join("data"));
        settings.allow_host = self.allow_host;
        let coders = CodingAgents::layered([("atoll.toml", self.agents.as_str())]).unwrap();
        let home = self.data.path().join("home").display().to_string();
        let programs = Programs { own: program, path: "/usr/local/bin:/usr/bin:/bin".to_owned(), home };
        let agent = Agent::new(models.clone(), Runtimes::new(settings), coders, programs);
        DynVerb::run(&agent, with, self.cx.clone()).await
    }

    /// A tree of these files, as input of a step.
    pub fn tree(&self, files: &[(&str, &str)]) -> Value {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.put(&*self.cx.blobs, path, text.as_bytes()).unwrap();
        }
        json!(tree.save(&*self.cx.blobs).unwrap())
    }

    /// The text of a file of an output.
    pub fn text(&self, output: &Value, path: &str) -> String {
        let digest = Digest::parse(output["tree"].as_str().unwrap()).unwrap();
        Tree::load(&*self.cx.blobs, &digest).unwrap().text(&*self.cx.blobs, path).unwrap()
    }

    /// The lines of a transcript.
    pub fn transcript(&self, digest: &Value) -> Vec<String> {
        let digest = Digest::parse(digest.as_str().unwrap()).unwrap();
        let bytes = self.cx.blobs.get(&digest).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Cursors for the next attempt, the latest last.
    pub fn saved(&self) -> Vec<Value> {
        self.saved.lock().unwrap().clone()
    }

    /// Reported lines.
    pub fn said(&self) -> String {
        self.notes.lock().unwrap().join("\n")
    }

    /// Fails if files are left on disk.
    pub fn leaves_nothing(&self) {
        let live = self.data.path().join("data/process/live");
        let left: Vec<_> =
            std::fs::read_dir(live).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The schema of a result with a number.
pub fn number() -> Value {
    json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
}

/// The tools that need no sandbox.
pub fn on_files() -> Value {
    json!(["read", "write", "edit", "list", "search"])
}
