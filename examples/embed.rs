//! Atoll as a library: a program with a verb of its own loads a pipeline, checks its inputs, runs it and follows it.
//!
//!     cargo run --example embed -- Ada Grace

use std::error::Error;
use std::io::{self, Write};

use atoll::{Atoll, Context, Event, Failure, Output, RunStatus, Traits, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a pipeline can change without a new build: a real program would read this from a file.
const PIPELINE: &str = r#"
atoll = 1

[inputs]
names = { type = "json", required = true, help = "whom to greet" }

[steps.greetings.each]
over   = "inputs.names"
result = "steps.greeting.output.text"

[steps.greetings.steps.greeting]
greet = { name = "{{ item }}" }

[outputs]
greetings = "steps.greetings.output"
"#;

/// A verb: its input and output are types, which `load` checks pipelines against.
struct Greet;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Name {
    /// whom to greet
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Greeting {
    /// the greeting
    text: String,
}

impl Verb for Greet {
    const NAME: &'static str = "greet";
    const SUMMARY: &'static str = "greets somebody";
    // May be repeated after a crash; `Traits::once` is for what may not.
    const TRAITS: Traits = Traits::repeatable("default");
    const EXAMPLE: &'static str = "greet = { name = \"Ada\" }";
    type With = Name;
    type Out = Greeting;

    async fn run(&self, with: Name, context: Context) -> Result<Output<Greeting>, Failure> {
        context.progress.line(format!("greeting {}", with.name));
        Ok(Output::free(Greeting { text: format!("Hello, {}!", with.name) }))
    }
}

/// Greets `names` in a run that is recorded in `dir`, and writes what happens to `out`.
pub async fn greet(
    dir: &std::path::Path,
    names: &[String],
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let atoll = Atoll::at(dir)?.with_verb(Greet).with_file("pipelines/greetings.toml", PIPELINE);
    let pipeline = atoll.load("greetings")?;
    let ready = atoll.check(&pipeline, &json!({ "names": names }))?;

    let mut run = atoll.run(&ready)?;
    let id = run.id().clone();
    while let Some(event) = run.next().await {
        match event {
            Event::Fact { record, .. } => writeln!(out, "{} {}", record.fact.word(), record.address)?,
            Event::Note { note, .. } => writeln!(out, "note {}", serde_json::to_string(&note)?)?,
            Event::Past { .. } => {}
        }
    }
    let outcome = run.outcome().await?;
    match &outcome.status {
        RunStatus::Finished { status, .. } => writeln!(out, "{status}: {}", outcome.outputs["greetings"])?,
        // A run that waits or was stopped continues where it was, also in another process: `atoll.resume(&id)`.
        RunStatus::Paused { message, .. } => writeln!(out, "run {id} is paused: {message}")?,
        RunStatus::Going => {}
    }
    Ok(())
}

/// Greets the arguments.
fn main() -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let names = if names.is_empty() { vec!["Ada".to_owned()] } else { names };
    let runtime = tokio::runtime::Runtime::new()?;
    let mut out = io::stdout().lock();
    runtime.block_on(greet("target/embed".as_ref(), &names, &mut out))
}
