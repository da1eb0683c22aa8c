//! `docker_build`: an image from a tree of files. A failed build is a result, not an error.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build_limits::{BUILD_DISK, BUILD_MEMORY, BUILD_TIMEOUT};
use super::duration_input::DurationInput;
use super::null_characters::{names_of_variables, with_null};
use super::size::size;
use crate::runtime::service::{BuildOptions, BuildReport, OwnerTag, RuntimeKind, Runtimes};
use crate::tree::{Tree, TreeRef};
use crate::verb::{Class, Context, EVERY_HOST, Failure, Output, Permission, Refusal, Traits, Verb, pointer};

/// Builds images.
pub struct DockerBuild {
    runtimes: Runtimes,
}

impl DockerBuild {
    /// Images are built by `runtimes`.
    pub fn new(runtimes: Runtimes) -> Self {
        Self { runtimes }
    }
}

/// Input of `docker_build`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerBuildInput {
    /// The tree: the output of `pack`, `edit` or `agent`, or its digest.
    pub tree: TreeRef,
    /// Where the image is built: `auto`, `docker` or `process`.
    #[serde(default)]
    pub runtime: RuntimeKind,
    /// Path of the Dockerfile in the tree.
    #[serde(default = "dockerfile")]
    pub dockerfile: String,
    /// Build arguments.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Maximum duration of the build.
    #[serde(default = "default_timeout")]
    pub timeout: DurationInput,
    /// Memory limit of each command of the build with all its processes, such as `2g`.
    #[serde(default)]
    pub memory: Option<String>,
    /// Disk limit of the image, such as `4g`. A build that writes more fails.
    #[serde(default)]
    pub disk: Option<String>,
    /// Whether commands of the build have network access, in Docker. A sandboxed build never has it.
    #[serde(default)]
    pub egress: bool,
}

fn dockerfile() -> String {
    "Dockerfile".to_owned()
}

fn default_timeout() -> DurationInput {
    DurationInput(BUILD_TIMEOUT)
}

/// Output of `docker_build`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DockerBuildOutput {
    /// Report of the build.
    #[serde(flatten)]
    pub report: BuildReport,
    /// Digest of the tree.
    pub tree: String,
}

impl Verb for DockerBuild {
    const NAME: &'static str = "docker_build";
    const SUMMARY: &'static str = "build an image from a tree of files";
    const TRAITS: Traits = Traits::repeatable("build");
    const EXAMPLE: &'static str = r#"
[steps.build]
docker_build = { tree = "{{ steps.code.output.tree }}", runtime = "auto", timeout = "5m" }
"#;
    type With = DockerBuildInput;
    type Out = DockerBuildOutput;

    fn refusals(with: &DockerBuildInput) -> Vec<Refusal> {
        let memory = size("memory", with.memory.as_deref()).err().map(|failure| ("/memory", failure));
        let disk = size("disk", with.disk.as_deref()).err().map(|failure| ("/disk", failure));
        let timeout = with.timeout.0.is_zero().then(|| {
            let failure = Failure::permanent("`timeout` is zero");
            ("/timeout", failure.hint("write a duration such as 5m"))
        });
        let found = memory.into_iter().chain(disk).chain(timeout);
        let mut found: Vec<Refusal> = found.map(|(at, failure)| Refusal::of(at, failure)).collect();
        found.extend(names_of_variables("/args", with.args.keys()));
        for (name, value) in &with.args {
            found.extend(with_null(&pointer("/args", name), value, "the value of an argument"));
        }
        found
    }

    async fn run(&self, with: DockerBuildInput, cx: Context) -> Result<Output<DockerBuildOutput>, Failure> {
        let tree = Tree::load(&*cx.blobs, &with.tree.tree)?;
        let every = Permission::Egress(EVERY_HOST.to_owned());
        if with.egress && !cx.grants.allows(&every) {
            let message = "this build gives its commands full network access, which is not allowed";
            return Err(Failure::new(Class::Auth, message).hint(format!(
                "allow it for this run: `atoll resume {} {}`; `atoll trust FILE` remembers it",
                cx.run,
                every.option()
            )));
        }
        let options = BuildOptions {
            runtime: with.runtime,
            dockerfile: with.dockerfile,
            args: with.args,
            timeout: with.timeout.0,
            memory: size("memory", with.memory.as_deref())?.unwrap_or(BUILD_MEMORY),
            disk: size("disk", with.disk.as_deref())?.unwrap_or(BUILD_DISK),
            egress: with.egress || self.runtimes.builds_reach_out(),
            tag: OwnerTag { run: cx.run.clone(), address: cx.address.clone() },
            cancel: cx.cancel.clone(),
        };
        let runtime = self.runtimes.choice(options.runtime).await?;
        cx.progress.line(format!("building with runtime {runtime}"));
        let report = self.runtimes.build(&tree, cx.blobs.clone(), &options).await?;
        match &report.reason {
            Some(reason) => cx.progress.line(format!("not built: {reason}")),
            None => cx.progress.line(format!("built in {} ms", report.duration_ms)),
        }
        Ok(Output::free(DockerBuildOutput { report, tree: with.tree.tree.to_string() }))
    }
}
