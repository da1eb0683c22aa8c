//! Verbs and resources, one file each: typed input, typed output, the code, and an example in TOML. They do
//! not use each other or the engine.
//! Start with `set.rs`, the smallest; [`catalog`] lists them all.

pub mod agent;
mod attached_files;
mod build_limits;
pub mod chromium;
pub mod deliver;
mod diagnostic_text;
pub mod diff;
pub mod docker_build;
mod duration_input;
pub mod edit;
mod edit_source;
pub mod environment_load;
#[cfg(test)]
mod expression_model;
mod fail;
pub mod findings;
mod globs;
pub mod grade;
pub mod graded;
pub mod http;
pub mod llm;
mod model_selection;
mod null_characters;
pub mod pack;
mod paths;
mod reach;
pub mod read;
pub mod scenario;
pub mod scenario_load;
pub mod secret;
pub mod service;
mod set;
pub mod shell;
pub mod show;
mod size;
mod tls;
pub mod total;
mod unusual;
pub mod write;

pub use deliver::Deliver;
pub use diff::DiffTrees;
pub use edit::EditTree;
pub use fail::Fail;
pub use http::Http;
pub use pack::Pack;
pub use reach::Reach;
pub use read::Read;
pub use set::Set;
pub use show::Show;
pub use write::Write;

use std::sync::Arc;

use crate::chromium::Chromium;
use crate::coding_agents::CodingAgents;
use crate::llm::Models;
use crate::runtime::process::Host;
use crate::runtime::service::Runtimes;
use crate::scenario::Shell;
use crate::verb::Catalog;

/// The connections of verbs to the outside.
#[derive(Clone)]
pub struct VerbDependencies {
    /// Model providers.
    pub models: Models,
    /// Builds and runs services.
    pub runtimes: Runtimes,
    /// Runs commands of the pipeline's author.
    pub host: Host,
    /// Opens browser pages.
    pub chromium: Chromium,
    /// The external coding agents.
    pub coders: CodingAgents,
    /// The locations of their programs.
    pub programs: agent::Programs,
}

/// The replacement of the former verb `files`.
const FILES_REPLACEMENT: &str = "use one of: `pack` (a directory or files become a tree), `edit` (change a tree), `show` (its \
                     texts), `diff` (compare two trees) or `deliver` (a tree becomes a directory)";

/// All verbs and resources.
pub fn catalog(doors: VerbDependencies) -> Catalog {
    let models = doors.models.clone();
    Catalog::new()
        .with_models(move |name| {
            let unknown = models.registry().find(name).err()?;
            Some((unknown.message, unknown.hint.unwrap_or_default()))
        })
        .verb(Set)
        .verb(Fail)
        .verb(Pack)
        .verb(EditTree)
        .verb(Show)
        .verb(DiffTrees)
        .verb(Deliver)
        .replaced("files", FILES_REPLACEMENT)
        .verb(Read)
        .verb(Reach)
        .verb(Write)
        .verb(shell::ShellCommand::new(doors.host))
        .verb(Http::default())
        .verb(llm::Llm::new(doors.models.clone()))
        .verb(agent::Agent::new(doors.models, doors.runtimes.clone(), doors.coders, doors.programs))
        .verb(docker_build::DockerBuild::new(doors.runtimes.clone()))
        .verb(scenario_load::ScenarioLoad)
        .verb(environment_load::EnvironmentLoad::new(doors.runtimes.clone()))
        .verb(scenario::ScenarioRun::new(Arc::new(HeldServices(doors.runtimes.clone())), doors.chromium))
        .verb(grade::Grade)
        .verb(findings::Findings)
        .verb(total::Total)
        .resource(service::Service::new(doors.runtimes))
}

/// How scenarios run commands: inside the held services.
struct HeldServices(Runtimes);

impl scenario::Services for HeldServices {
    fn shell(&self, id: &str) -> Option<Arc<dyn Shell>> {
        service::inside(&self.0, id)
    }
}
