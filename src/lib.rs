//! Atoll runs durable LLM and coding-agent pipelines that are declared in TOML. This crate is the program `atoll` and a
//! library with the same engine.
//!
//! # As a library
//!
//! [`Atoll`] joins the parts: [`Atoll::load`] reads a pipeline and reports all its mistakes, [`Atoll::check`] checks
//! inputs, [`Atoll::run`] begins a run, [`Run::next`] follows its events, [`Atoll::resume`] continues a run that was
//! stopped or interrupted.
//!
//! ```
//! use atoll::{Atoll, Event, RunStatus};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let atoll = Atoll::in_memory()?.with_file(
//!     "pipelines/tea.toml",
//!     r#"
//! atoll = 1
//! inputs.cups = { type = "int", default = 2, min = 1 }
//! steps.boil.set = { water = "{{ inputs.cups }} cups of water" }
//! outputs = { water = "steps.boil.output.water" }
//! "#,
//! );
//! let tea = atoll.load("tea")?;
//! let ready = atoll.check(&tea, &json!({ "cups": 3 }))?;
//! let mut run = atoll.run(&ready)?;
//! let mut succeeded = Vec::new();
//! while let Some(event) = run.next().await {
//!     if let Event::Fact { record, .. } = event && record.fact.word() == "succeeded" {
//!         succeeded.push(record.address.to_string());
//!     }
//! }
//! let outcome = run.outcome().await?;
//! assert!(matches!(outcome.status, RunStatus::Finished { code: 0, .. }));
//! assert_eq!(outcome.outputs["water"], "3 cups of water");
//! assert_eq!(succeeded, ["boil"]);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! Mistakes are data with codes and places, and print as `atoll check` prints them:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = "atoll = 1\nsteps.boil.set = { water = \"{{ inputs.cups }}\" }\n";
//! let atoll = atoll::Atoll::in_memory()?.with_file("pipelines/tea.toml", text);
//! let mistakes = atoll.load("tea").err().ok_or("the pipeline has a mistake")?;
//! assert_eq!(mistakes.diagnostics[0].code.number(), "E0203");
//! assert!(mistakes.to_string().contains("pipelines/tea.toml:2:"));
//! # Ok(())
//! # }
//! ```
//!
//! A step type of your own is a [`Verb`]; `examples/embed.rs` in the repository has one, with a run that is recorded on
//! disk. The verbs that start programs (`shell`, `service`, `docker_build`, `agent`) start them through the file of the `atoll`
//! program: give its path to `Host::new` and `service::Settings::new`, never the path of your own program.
//!
//! The items listed under "Re-exports" are the public surface. All other modules are public for the program, its tests and
//! its benchmarks, and change without notice. `ARCHITECTURE.md` describes them.

pub mod clock;
pub mod duration;
pub mod id;
pub mod json_path;
pub mod meter;
pub mod rooted_fs;
pub mod value;
pub mod visible;

pub mod diag;
pub mod expr;
pub mod schema;

pub mod model;
pub mod verb;

pub mod tree;

pub mod engine;
pub mod plan;

pub mod driver;
pub mod store;
pub mod system_clock;

pub mod chromium;
pub mod coding_agents;
pub mod confine;
pub mod llm;
pub mod relay;
pub mod requests;
pub mod runtime;
pub mod secrets;

pub mod scenario;
pub mod verbs;

pub mod report;
pub mod view;

pub mod cli;
pub mod embed;

pub use driver::{Answer, AnswerFuture, Asker, Event, Outcome, Runtime};
pub use embed::{Atoll, Error, Mistakes, Pipeline, Ready, Run};
pub use engine::{Question, RunStatus};
pub use id::{Address, RunId};
pub use value::Value;
pub use verb::{Context, Failure, Output, Traits, Verb};
