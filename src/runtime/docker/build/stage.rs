//! Instructions of a stage, and how they change the image.

use bollard::models::{ContainerConfig, HealthConfig};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::base::LocalImage;
use super::layer::command_env;
use super::put::{ChangeKind, CopySpec, PendingChange, mode};
use super::{DockerBuildStop, ImageBuild, product};
use crate::rooted_fs::{blocking, normalize};
use crate::runtime::service::{
    BuildStage, CONFIG_LIMIT, CopyInstruction, Dockerfile, Instruction, InstructionKind, expand,
    parse_trigger,
};
use crate::verb::Failure;

/// Build arguments that every command of a build receives.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];
/// Most ports in one `EXPOSE`.
const PORTS: usize = 1_000;

/// An image that is being built.
#[derive(Clone)]
pub(super) struct StageImage {
    /// The current image, and its cache key.
    pub(super) image: String,
    pub(super) key: Value,
    /// Configuration of the image without its environment.
    pub(super) config: ContainerConfig,
    pub(super) env: IndexMap<String, String>,
    /// Directories of the base image that are volumes.
    pub(super) volumes: Vec<String>,
    /// Size of the base image, in bytes.
    pub(super) begun: u64,
    /// Changes to carry out before the next command.
    pub(super) pending: Vec<PendingChange>,
    args: IndexMap<String, String>,
    has_command: bool,
}

impl StageImage {
    pub(super) fn of(found: LocalImage) -> Self {
        let mut config = found.config;
        let env = config.env.take().unwrap_or_default().into_iter();
        let env = env.filter_map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
        Self {
            key: json!([1, found.id]),
            image: found.id,
            env: env.collect(),
            volumes: config.volumes.clone().unwrap_or_default(),
            config,
            begun: found.size,
            pending: Vec::new(),
            args: IndexMap::new(),
            has_command: false,
        }
    }

    /// The state of another stage that begins with this one.
    fn as_base(&self) -> Self {
        Self { args: IndexMap::new(), has_command: false, ..self.clone() }
    }

    /// Working directory, to which paths are relative.
    pub(super) fn dir(&self) -> String {
        self.config.working_dir.clone().filter(|dir| !dir.is_empty()).unwrap_or_else(|| "/".to_owned())
    }

    fn path(&self, text: &str) -> String {
        normalize(&std::path::Path::new(&self.dir()).join(text)).display().to_string()
    }

    fn shell(&self) -> Vec<String> {
        let usual = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.config.shell.clone().filter(|shell| !shell.is_empty()).unwrap_or_else(usual)
    }
}

/// Base of a stage.
enum Base {
    Stage(usize),
    Image(String),
}

/// The stage before `end` with the name `name`.
fn stage_of(stages: &[BuildStage], end: usize, name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    stages[..end].iter().rposition(|stage| stage.name.as_deref() == Some(&*name))
}

/// The stage of `--from=NAME`, by name or number.
fn source_of(stages: &[BuildStage], end: usize, name: &str) -> Option<usize> {
    stage_of(stages, end, name).or_else(|| name.parse().ok().filter(|number| *number < end))
}

/// The stages that the last one needs.
fn needed(file: &Dockerfile, bases: &[Base]) -> Vec<bool> {
    let mut needed = vec![false; bases.len()];
    if let Some(last) = needed.last_mut() {
        *last = true;
    }
    for at in (0..bases.len()).rev().filter(|at| *at < bases.len()) {
        if !needed[at] {
            continue;
        }
        if let Base::Stage(base) = bases[at] {
            needed[base] = true;
        }
        for step in &file.stages[at].steps {
            if let InstructionKind::Copy(CopyInstruction { from: Some(from), .. }) = &step.order
                && let Some(source) = source_of(&file.stages, at, from)
            {
                needed[source] = true;
            }
        }
    }
    needed
}

impl ImageBuild<'_> {
    /// Builds the stages that the last one needs.
    pub(super) async fn stages(&self, file: &Dockerfile) -> Result<StageImage, DockerBuildStop> {
        let globals = self.globals(file)?;
        let lookup = |name: &str| globals.get(name).map(String::as_str);
        let read = |text: &str| expand(text, file.escape, CONFIG_LIMIT, &lookup).map_err(product);
        let mut bases = Vec::new();
        for (at, stage) in file.stages.iter().enumerate() {
            let name = read(&stage.base).map_err(|stop| at_line(stage.line, stop))?;
            bases.push(stage_of(&file.stages, at, &name).map_or(Base::Image(name), Base::Stage));
        }
        let needed = needed(file, &bases);
        let mut done: Vec<Option<StageImage>> = Vec::new();
        for (at, stage) in file.stages.iter().enumerate() {
            if !needed[at] {
                done.push(None);
                continue;
            }
            self.log.push(format!("line {}: {}\n", stage.line, stage.text).as_bytes());
            let platform = stage.platform.as_deref().map(read).transpose()?;
            let state = match &bases[at] {
                Base::Stage(base) => done[*base].as_ref().map(StageImage::as_base),
                Base::Image(name) => {
                    let found = self.base(name, platform.as_deref()).await;
                    Some(StageImage::of(found.map_err(|stop| at_line(stage.line, stop))?))
                }
            };
            let Some(state) = state else { return Err(product("a stage refers to itself")) };
            let (build, escape, stages) = (self, file.escape, &file.stages[..at]);
            let mut follower = StageBuilder { build, state, escape, globals: &globals, stages, done: &done };
            Box::pin(follower.triggers()).await?;
            for step in &stage.steps {
                self.log.push(format!("line {}: {}\n", step.line, step.text).as_bytes());
                let followed = Box::pin(follower.step(step)).await;
                followed.map_err(|stop| at_line(step.line, stop))?;
            }
            let mut state = follower.state;
            Box::pin(self.flush(&mut state, None)).await?;
            done.push(Some(state));
        }
        done.pop().flatten().ok_or_else(|| product("the Dockerfile has no FROM"))
    }

    /// Values of `ARG` before the first `FROM`.
    fn globals(&self, file: &Dockerfile) -> Result<IndexMap<String, String>, DockerBuildStop> {
        let mut globals = IndexMap::new();
        for step in &file.args {
            let InstructionKind::Arg(pairs) = &step.order else { continue };
            for (name, default) in pairs {
                let value = match (self.options.args.get(name), default) {
                    (Some(given), _) => given.clone(),
                    (None, Some(default)) => {
                        let lookup = |name: &str| globals.get(name).map(String::as_str);
                        let read = expand(default, file.escape, CONFIG_LIMIT, &lookup);
                        read.map_err(|why| at_line(step.line, product(why)))?
                    }
                    (None, None) => continue,
                };
                globals.insert(name.clone(), value);
            }
        }
        Ok(globals)
    }
}

/// Adds the line number to the reason.
pub(super) fn at_line(line: usize, stop: DockerBuildStop) -> DockerBuildStop {
    match stop {
        DockerBuildStop::Product { reason, exit_code } if line > 0 && !reason.starts_with("line ") => {
            DockerBuildStop::Product { reason: format!("line {line}: {reason}"), exit_code }
        }
        other => other,
    }
}

struct StageBuilder<'a> {
    build: &'a ImageBuild<'a>,
    state: StageImage,
    escape: char,
    globals: &'a IndexMap<String, String>,
    /// The stages before this one, and their results.
    stages: &'a [BuildStage],
    done: &'a [Option<StageImage>],
}

impl StageBuilder<'_> {
    fn expand(&self, text: &str) -> Result<String, DockerBuildStop> {
        let (env, args) = (&self.state.env, &self.state.args);
        let value = |name: &str| env.get(name).or_else(|| args.get(name)).map(String::as_str);
        expand(text, self.escape, CONFIG_LIMIT, &value).map_err(product)
    }

    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, DockerBuildStop> {
        pairs.iter().map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?))).collect()
    }

    /// Carries out the `ONBUILD` instructions of the base image.
    async fn triggers(&mut self) -> Result<(), DockerBuildStop> {
        for text in self.state.config.on_build.take().unwrap_or_default() {
            let step = parse_trigger(&text).map_err(product)?;
            self.build.log.push(format!("{}\n", step.text).as_bytes());
            Box::pin(self.step(&step)).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Instruction) -> Result<(), DockerBuildStop> {
        match &step.order {
            InstructionKind::Workdir(dir) => {
                let dir = self.state.path(&self.expand(dir)?);
                self.wait(step, json!(["dir", dir]), ChangeKind::Dir(dir.clone()));
                self.state.config.working_dir = Some(dir);
            }
            InstructionKind::Copy(copy) => self.copy(step, copy).await?,
            InstructionKind::Env(pairs) => {
                let pairs = self.pairs(pairs)?;
                self.state.env.extend(pairs);
            }
            InstructionKind::Arg(pairs) => self.arg(pairs)?,
            InstructionKind::Run(command) => {
                let mut args: IndexMap<String, String> = self.state.args.clone();
                args.retain(|name, _| !self.state.env.contains_key(name));
                let key = json!(["run", command.argv(&self.state.shell()), args]);
                let given = &self.build.options.args;
                for name in PROXIES.into_iter().filter(|name| !self.state.env.contains_key(*name)) {
                    args.extend(given.get(name).map(|value| (name.to_owned(), value.clone())));
                }
                let argv = command_env(command, &self.state.shell(), &args);
                Box::pin(self.build.flush(&mut self.state, Some((argv, key)))).await?;
            }
            other => self.configure(other)?,
        }
        self.check_size()
    }

    /// Carries out instructions that change only the configuration.
    fn configure(&mut self, order: &InstructionKind) -> Result<(), DockerBuildStop> {
        let shell = self.state.shell();
        match order {
            InstructionKind::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                // As in Docker, this changes the cache keys of later layers.
                self.state.key = json!([self.state.key, "label", pairs]);
                self.state.config.labels.get_or_insert_default().extend(pairs);
            }
            InstructionKind::Cmd(command) => {
                self.state.config.cmd = Some(command.argv(&shell));
                self.state.has_command = true;
            }
            InstructionKind::Entrypoint(command) => {
                self.state.config.entrypoint = Some(command.argv(&shell));
                if !self.state.has_command {
                    self.state.config.cmd = None;
                }
            }
            InstructionKind::Shell(shell) => self.state.config.shell = Some(shell.clone()),
            InstructionKind::User(user) => self.state.config.user = Some(self.expand(user)?),
            InstructionKind::Expose(text) => {
                let ports = ports(&self.expand(text)?).map_err(product)?;
                self.state.config.exposed_ports.get_or_insert_default().extend(ports);
            }
            InstructionKind::Volume(paths) => {
                for path in paths {
                    let path = self.state.path(&self.expand(path)?);
                    self.state.config.volumes.get_or_insert_default().push(path);
                }
            }
            InstructionKind::StopSignal(signal) => self.state.config.stop_signal = Some(self.expand(signal)?),
            InstructionKind::Healthcheck(check) => {
                let test = check.command.as_ref().map_or_else(
                    || vec!["NONE".to_owned()],
                    |command| command.argv(&["CMD-SHELL".to_owned()]),
                );
                let is_list = matches!(check.command, Some(crate::runtime::service::CommandForm::Exec(_)));
                let test = is_list.then(|| "CMD".to_owned()).into_iter().chain(test).collect();
                self.state.config.healthcheck = Some(HealthConfig {
                    test: Some(test),
                    interval: check.interval,
                    timeout: check.timeout,
                    start_period: check.start_period,
                    retries: check.retries,
                    ..HealthConfig::default()
                });
            }
            InstructionKind::OnBuild(text) => {
                self.state.config.on_build.get_or_insert_default().push(text.clone());
            }
            _ => {}
        }
        Ok(())
    }

    fn arg(&mut self, pairs: &[(String, Option<String>)]) -> Result<(), DockerBuildStop> {
        for (name, default) in pairs {
            let value = match (self.build.options.args.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(default)?),
                (None, None) => self.globals.get(name).cloned(),
            };
            self.state.args.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(())
    }

    fn wait(&mut self, step: &Instruction, key: Value, op: ChangeKind) {
        self.state.pending.push(PendingChange { line: step.line, key, op });
    }

    async fn copy(&mut self, step: &Instruction, copy: &CopyInstruction) -> Result<(), DockerBuildStop> {
        let text = self.expand(&copy.to)?;
        let put = CopySpec {
            sources: copy.sources.iter().map(|source| self.expand(source)).collect::<Result<_, _>>()?,
            to: self.state.path(&text),
            into_dir: text.ends_with('/') || text == "." || text.ends_with("/."),
            owner: copy.chown.as_deref().map(|owner| self.expand(owner)).transpose()?,
            mode: copy.chmod.as_deref().map(|text| mode(&self.expand(text)?)).transpose()?,
            unpacks: copy.adds,
        };
        if let Some(volume) = self.state.volumes.iter().find(|volume| is_below(&put.to, volume)) {
            return Err(product(format!(
                "{volume} is a volume of the base image: files copied there are lost"
            )));
        }
        let how = json!([put.sources, put.to, put.into_dir, put.owner, put.mode, put.unpacks]);
        let Some(from) = &copy.from else {
            if put.sources.iter().any(|source| source.contains("://") || source.starts_with("git@")) {
                return Err(product(
                    "ADD can use only files of the tree; download others with RUN, which needs `egress`",
                ));
            }
            let key = self.content(&put).await?;
            self.wait(step, json!(["copy", how, key]), ChangeKind::Tree(put));
            return Ok(());
        };
        let source = source_of(self.stages, self.stages.len(), from);
        let (image, key) = if let Some(state) = source.and_then(|at| self.done[at].as_ref()) {
            (state.image.clone(), state.key.clone())
        } else {
            let found = self.build.source(from).await?;
            (found.id.clone(), json!(found.id))
        };
        self.wait(step, json!(["copy from", how, key]), ChangeKind::Image(image, put));
        Ok(())
    }

    /// Cache key for the copied files of the tree.
    async fn content(&self, put: &CopySpec) -> Result<Value, DockerBuildStop> {
        let (context, sources, to) = (self.build.context.clone(), put.sources.clone(), put.to.clone());
        let chosen = blocking(move |cancel| context.choose(&sources, to.as_ref(), true, cancel)).await;
        let chosen = chosen.map_err(|e| Failure::transient(format!("cannot choose files: {e}")))?;
        let files = chosen.map_err(product)?;
        let whole: u64 = files.iter().map(crate::runtime::service::Copied::size).sum();
        if whole > self.build.options.disk {
            return Err(product(format!("the files have {whole} bytes, more than the limit of the image")));
        }
        let told = files.iter().map(|copied| {
            json!([
                copied.to.display().to_string(),
                copied.file.blob.digest.to_string(),
                copied.file.executable
            ])
        });
        Ok(told.collect())
    }

    /// Refuses a configuration that is too large to start a program.
    fn check_size(&self) -> Result<(), DockerBuildStop> {
        let whole = serde_json::to_string(&self.state.config).unwrap_or_default().len()
            + json!([self.state.env, self.state.args]).to_string().len();
        if whole <= CONFIG_LIMIT {
            return Ok(());
        }
        Err(product(format!(
            "variables, labels and commands have {whole} bytes, more than the limit of {CONFIG_LIMIT}"
        )))
    }
}

fn is_below(path: &str, dir: &str) -> bool {
    std::path::Path::new(path).starts_with(dir)
}

/// Ports in the form of images: `80/tcp`.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let wrong = |word: &str| format!("`{word}` is not a port, such as 8080 or 53/udp");
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let (range, kind) = word.split_once('/').unwrap_or((word, "tcp"));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else { return Err(wrong(word)) };
        let kind = kind.to_ascii_lowercase();
        if !["tcp", "udp", "sctp"].contains(&&*kind) || from > to {
            return Err(wrong(word));
        }
        found.extend((from..=to).take(PORTS).map(|port| format!("{port}/{kind}")));
        if found.len() >= PORTS {
            return Err(format!("EXPOSE can have at most {PORTS} ports"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::service::parse;

    #[test]
    fn ports_are_read_with_their_protocol() {
        assert_eq!(ports("80 53/UDP 9000-9001").unwrap(), ["80/tcp", "53/udp", "9000/tcp", "9001/tcp"]);
        for wrong in ["x", "70000", "9-8", "80/icmp", "1-65535"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stages_that_nothing_needs_are_left_out() {
        let file = parse(
            "FROM a AS one\nFROM b AS two\nFROM one AS three\nFROM c\nCOPY --from=Three /x /y\nCOPY --from=9 /x /y\n",
        )
        .unwrap();
        let bases: Vec<Base> = file
            .stages
            .iter()
            .enumerate()
            .map(|(at, stage)| {
                stage_of(&file.stages, at, &stage.base).map_or(Base::Image(stage.base.clone()), Base::Stage)
            })
            .collect();
        assert_eq!(needed(&file, &bases), [true, false, true, true]);
        assert_eq!(source_of(&file.stages, 3, "0"), Some(0));
        assert_eq!(source_of(&file.stages, 3, "3"), None);
    }
}
