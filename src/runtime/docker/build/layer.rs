//! Layers: files are copied into a container, a command runs in it, and the result becomes an image.
//! Results are cached by image and operation.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerConfig, ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CommitContainerOptionsBuilder, InspectContainerOptions,
    ListImagesOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;
use indexmap::IndexMap;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::start::{network, security, shared_memory, words};
use super::super::{LAYER, ours};
use super::stage::{StageImage, at_line};
use super::{DockerBuildStop, ImageBuild, product};
use crate::confine::Overrun;
use crate::runtime::service::CommandForm;
use crate::value::Digest;

/// Most processes of a command.
const PIDS: i64 = 512;
/// Additional capabilities of build commands: package managers and `useradd` change owners and users. They
/// affect only files of the container.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"];
/// How long to wait for the last output of a command.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Messages of commands that have no network.
const UNREACHED: [&str; 7] = [
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Could not resolve",
    "bad address",
    "Network is unreachable",
    "EAI_AGAIN",
    "dial tcp",
];

/// A command as a program and its arguments, with build arguments in its environment. The environment of
/// the container cannot be used, because it would stay in the image.
pub(super) fn command_env(
    command: &CommandForm,
    shell: &[String],
    args: &IndexMap<String, String>,
) -> Vec<String> {
    if args.is_empty() {
        return command.argv(shell);
    }
    let is_posix = shell
        .first()
        .and_then(|program| program.rsplit('/').next())
        .is_some_and(|name| ["sh", "bash", "ash", "dash", "ksh", "zsh"].contains(&name));
    if let (CommandForm::Shell(line), true) = (command, is_posix) {
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let named = args.iter().filter(|(name, _)| is_name(name));
        let pairs = named.map(|(name, value)| format!(" {name}='{}'", value.replace('\'', r"'\''")));
        let line = format!("export{}; {line}", pairs.collect::<String>());
        return CommandForm::Shell(line).argv(shell);
    }
    let pairs = args.iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once("env".to_owned()).chain(pairs).chain(command.argv(shell)).collect()
}

/// How a command ended.
struct LayerExit {
    code: i64,
    overrun: Option<Overrun>,
}

impl ImageBuild<'_> {
    /// Carries out pending copies, and runs a command with its cache key, if there is one.
    pub(super) async fn flush(
        &self,
        state: &mut StageImage,
        run: Option<(Vec<String>, Value)>,
    ) -> Result<(), DockerBuildStop> {
        if state.pending.is_empty() && run.is_none() {
            return Ok(());
        }
        let put: Vec<&Value> = state.pending.iter().map(|pending| &pending.key).collect();
        let around = json!([state.env, state.config.user, state.config.working_dir, self.options.egress]);
        let key =
            Digest::of_value(&json!([state.key, put, run.as_ref().map(|run| (&run.1, around))])).to_string();
        state.key = json!(key);
        if let Some(image) = self.cached(&key).await {
            if run.is_some() {
                self.log.push(b"unchanged: the result of an earlier build is used\n");
            }
            state.pending.clear();
            state.image = image;
            return Ok(());
        }
        let argv = run.as_ref().map(|run| run.0.clone());
        let body = self.body(state, argv.unwrap_or_else(|| vec!["-".to_owned()]));
        let container = Box::pin(self.container(body)).await?;
        let mut left = self.left(state).await?;
        for pending in std::mem::take(&mut state.pending) {
            let written = Box::pin(self.put(&container, state, &pending.op, left)).await;
            let written = written.map_err(|stop| at_line(pending.line, stop))?;
            left = left.saturating_sub(written);
        }
        if run.is_some() {
            Box::pin(self.run(&container, left, self.host(true))).await?;
        }
        let config = ContainerConfig {
            env: Some(pairs(&state.env)),
            user: state.config.user.clone(),
            working_dir: Some(state.dir()),
            ..ContainerConfig::default()
        };
        state.image = self.commit(&container, config, &key).await?;
        self.engine.drop_container(&container).await;
        self.left(state).await.map(drop)
    }

    /// The final image with its configuration, labelled with the run.
    pub(super) async fn finish(&self, state: StageImage) -> Result<String, DockerBuildStop> {
        let mut config = state.config.clone();
        config.env = Some(pairs(&state.env));
        let labels = self.engine.labels(&self.options.tag);
        let told = serde_json::to_value(&config).unwrap_or_default();
        let labels: std::collections::BTreeMap<_, _> = labels.into_iter().collect();
        let key = Digest::of_value(&json!(["image", state.key, told, labels])).to_string();
        if let Some(image) = self.cached(&key).await {
            return Ok(image);
        }
        let container = Box::pin(self.container(self.body(&state, vec!["-".to_owned()]))).await?;
        let image = self.commit(&container, config, &key).await?;
        self.engine.drop_container(&container).await;
        Ok(image)
    }

    /// Bytes by which the image may still grow.
    async fn left(&self, state: &StageImage) -> Result<u64, DockerBuildStop> {
        let found =
            self.engine.api.inspect_image(&state.image).await.map_err(|e| ours("inspect a layer", &e))?;
        let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        let most = self.options.disk;
        let left = most.checked_sub(size.saturating_sub(state.begun));
        left.ok_or_else(|| product(format!("the image takes more than {} MiB of disk", most >> 20)))
    }

    /// The cached image for `key`.
    async fn cached(&self, key: &str) -> Option<String> {
        let filter: HashMap<String, Vec<String>> =
            [("label".to_owned(), vec![format!("{LAYER}={key}")])].into();
        let list = ListImagesOptionsBuilder::new().all(true).filters(&filter).build();
        let found = self.engine.api.list_images(Some(list)).await.ok()?;
        found.into_iter().next().map(|image| image.id)
    }

    /// Configuration of the containers of the build.
    pub(super) fn host(&self, runs: bool) -> HostConfig {
        let memory = i64::try_from(self.options.memory).ok();
        HostConfig {
            memory,
            memory_swap: memory,
            pids_limit: Some(PIDS),
            cap_drop: words(&["ALL"]),
            cap_add: words(&CAPABILITIES),
            security_opt: Some(security(self.engine)),
            network_mode: Some(network(runs && self.options.egress)),
            ipc_mode: Some("private".to_owned()),
            tmpfs: Some(shared_memory(std::iter::empty())),
            // The output is read directly; a copy would only fill the disk of the daemon.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }
    }

    /// A container of the image that runs `argv`. It is set as the entrypoint without a command, so that a
    /// commit can remove it from the image again.
    pub(super) fn body(&self, state: &StageImage, argv: Vec<String>) -> ContainerCreateBody {
        let silent = || HealthConfig { test: words(&["NONE"]), ..HealthConfig::default() };
        ContainerCreateBody {
            image: Some(state.image.clone()),
            entrypoint: Some(argv),
            env: Some(pairs(&state.env)),
            user: state.config.user.clone(),
            working_dir: Some(state.dir()),
            healthcheck: state.config.healthcheck.is_some().then(silent),
            host_config: Some(self.host(true)),
            ..ContainerCreateBody::default()
        }
    }

    async fn commit(
        &self,
        container: &str,
        config: ContainerConfig,
        key: &str,
    ) -> Result<String, DockerBuildStop> {
        let mut labels = config.labels.clone().unwrap_or_default();
        labels.extend(self.engine.labels(&self.options.tag));
        labels.insert(LAYER.to_owned(), key.to_owned());
        let config = ContainerConfig {
            labels: Some(labels),
            // Set even if it is empty; otherwise that of the container is used.
            entrypoint: Some(config.entrypoint.clone().unwrap_or_default()),
            ..config
        };
        let options = CommitContainerOptionsBuilder::new().container(container).pause(false).build();
        match Box::pin(self.engine.api.commit_container(options, config)).await {
            Ok(made) => Ok(made.id),
            Err(e) => {
                Err(Box::pin(self.blame("create an image from a container", &e, self.host(true))).await)
            }
        }
    }

    /// Runs the command of a container. All its processes have ended when this returns.
    async fn run(&self, container: &str, left: u64, host: HostConfig) -> Result<(), DockerBuildStop> {
        let mark = self.log.mark();
        let ran = self.run_within(container, left, host).await?;
        let api = &self.engine.api;
        let state = api.inspect_container(container, None::<InspectContainerOptions>).await;
        let killed = state.ok().and_then(|found| found.state?.oom_killed).unwrap_or_default();
        let exit_code = Some(ran.code);
        if let Some(overrun) = ran.overrun {
            return Err(DockerBuildStop::Product {
                reason: format!("the command was ended: {overrun}"),
                exit_code,
            });
        }
        if ran.code == 0 {
            return Ok(());
        }
        let memory = self.options.memory >> 20;
        let said = self.log.since(mark);
        let why = if killed {
            format!(": it used more than {memory} MiB of memory")
        } else if !self.options.egress && UNREACHED.iter().any(|words| said.contains(words)) {
            "; commands of a build have no network unless `egress = true` is set for the build, or \
             `ATOLL_BUILD_EGRESS=1`"
                .to_owned()
        } else {
            String::new()
        };
        let reason = format!("the command ended with exit code {}{why}", ran.code);
        // The command may have used up the space itself, within its limit.
        if said.contains("No space left on device") && self.disk_is_full().await {
            return Err(Self::full(&reason));
        }
        Err(DockerBuildStop::Product { reason, exit_code })
    }

    async fn run_within(
        &self,
        container: &str,
        left: u64,
        host: HostConfig,
    ) -> Result<LayerExit, DockerBuildStop> {
        let (engine, api) = (self.engine, &self.engine.api);
        let attach = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
        let attached = api.attach_container(container, Some(attach)).await;
        let mut output = attached.map_err(|e| ours("read the output of a command", &e))?.output;
        let watched = engine.begin_watch(container, left).await;
        if let Err(e) = api.start_container(container, None::<StartContainerOptions>).await {
            return Err(Box::pin(self.blame("start a command", &e, host)).await);
        }
        let listen = async {
            while let Some(Ok(piece)) = output.next().await {
                self.log.push(piece.as_ref());
            }
        };
        let mut ended = Box::pin(api.wait_container(container, None::<WaitContainerOptions>));
        let mut end = async || match ended.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(e)) => Err(DockerBuildStop::Ours(ours("wait for a command", &e))),
            None => Ok(137),
        };
        let follow = async {
            tokio::select! {
                code = end() => code.map(|code| LayerExit { code, overrun: None }),
                overrun = engine.overrun(watched) => {
                    engine.kill_now(container).await;
                    Ok(LayerExit { code: 137, overrun: Some(overrun) })
                }
            }
        };
        tokio::pin!(listen);
        tokio::pin!(follow);
        let mut heard = false;
        let ran = loop {
            tokio::select! {
                () = &mut listen, if !heard => heard = true,
                ran = &mut follow => break ran,
            }
        };
        if !heard {
            let _ = timeout(LAST_WORDS, listen).await;
        }
        ran
    }
}

fn pairs(env: &IndexMap<String, String>) -> Vec<String> {
    env.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_arguments_are_in_the_environment_of_a_command_alone() {
        let shell = |line: &str| CommandForm::Shell(line.to_owned());
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let sh = list(&["/bin/sh", "-c"]);
        let args: IndexMap<String, String> =
            [("A", "it's"), ("b.c", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(command_env(&shell("x"), &sh, &IndexMap::new()), ["/bin/sh", "-c", "x"]);
        assert_eq!(command_env(&shell("x"), &sh, &args), ["/bin/sh", "-c", r"export A='it'\''s'; x"]);
        let exec = CommandForm::Exec(list(&["/x", "y"]));
        assert_eq!(command_env(&exec, &sh, &args), ["env", "A=it's", "b.c=2", "/x", "y"]);
        let odd = list(&["/usr/bin/python3", "-c"]);
        assert_eq!(command_env(&shell("x"), &odd, &args)[0], "env");
    }
}
