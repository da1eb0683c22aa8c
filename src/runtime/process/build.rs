//! Builds: carries out the instructions of a Dockerfile in a directory.
#![expect(clippy::disallowed_methods, reason = "measures the duration of a build")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::dockerfile::BuildPlan;
use super::sandbox::Sandbox;
use super::{PREFIX, ProcessImage, SandboxHost, Unstarted, disk, exec, missing, ours};
use crate::confine::{FILES, check_space};
use crate::relay::{ExecSpec, Limits, Orders, RelayProgram, unique_mark};
use crate::rooted_fs::{RootedFs, blocking, is_machine_fault, named, normalize};
use crate::runtime::service::{
    BuildContext, BuildOptions, BuildReport, CONFIG_LIMIT, Copied, Instruction, InstructionKind, Log,
    MOST_COPIED, expand, parse,
};
use crate::value::Digest;
use crate::verb::Failure;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.atoll-bin";
const RUN_PIDS: u64 = 512;

/// Why a build ended early: the fault of the product, or ours.
enum ProcessBuildStop {
    Product { reason: String, exit_code: Option<i64> },
    Ours(Failure),
}

impl From<Failure> for ProcessBuildStop {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}

impl From<Unstarted> for ProcessBuildStop {
    fn from(unstarted: Unstarted) -> Self {
        match unstarted {
            Unstarted::Image(reason) => product(format!("the command cannot be started: {reason}")),
            Unstarted::Machine(failure) => Self::Ours(failure),
        }
    }
}

fn product(reason: impl Into<String>) -> ProcessBuildStop {
    ProcessBuildStop::Product { reason: reason.into(), exit_code: None }
}

/// Classifies an error in the file system of the product: its own fault, unless the machine has a problem.
fn found(e: io::Error) -> ProcessBuildStop {
    // There was enough space at the start of the build.
    let is_full = e.kind() == io::ErrorKind::StorageFull;
    if is_machine_fault(&e) && !is_full { ProcessBuildStop::Ours(ours(e)) } else { product(e.to_string()) }
}

struct ProcessBuild<'a> {
    place: &'a SandboxHost,
    dir: PathBuf,
    fs: Arc<RootedFs>,
    /// Locked by work on the disk, which may outlive the future that waits for it.
    busy: Arc<Mutex<()>>,
    context: Arc<BuildContext>,
    image: ProcessImage,
    log: Log,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    escape: char,
    args: IndexMap<String, String>,
    options: &'a BuildOptions,
    sandbox: Option<Sandbox>,
}

impl SandboxHost {
    /// Prepares the file system that the Dockerfile of the tree describes, or reuses an existing one.
    /// Ignored files of the tree cannot be copied.
    pub async fn build(
        &self,
        context: BuildContext,
        text: &str,
        options: &BuildOptions,
    ) -> Result<BuildReport, Failure> {
        let begun = Instant::now();
        let key = Digest::of_value(&serde_json::json!([
            2,
            context.tree.digest(),
            options.dockerfile,
            options.args
        ]))
        .to_string();
        let home = self.image_home(&key);
        let mut report = BuildReport { runtime: self.word().to_owned(), ..BuildReport::default() };
        let done = disk::read(&home.join("image.json")).ok();
        if let Some(image) = done.and_then(|text| serde_json::from_slice::<ProcessImage>(&text).ok()) {
            disk::note_user(&home, &options.tag.run).map_err(ours)?;
            (report.ok, report.image, report.log) = (true, Some(format!("{PREFIX}{key}")), image.log);
            return Ok(report);
        }
        // Too little space before the build is not the fault of the product; later it is.
        check_space(&self.settings.data).map_err(ours)?;
        let mut build = ProcessBuild::begin(self, context, options)?;
        let result = tokio::select! {
            result = timeout(options.timeout, build.follow(text)) => {
                result.unwrap_or_else(|_| Err(product(format!("the build did not finish within {:?}", options.timeout))))
            }
            () = options.cancel.cancelled() => Err(ProcessBuildStop::Ours(Failure::cancelled())),
        };
        let result = match (result, build.close().await) {
            (Ok(()), Ok(())) => build.settle(&home).map_err(ProcessBuildStop::Ours),
            (Ok(()), Err(e)) => Err(ProcessBuildStop::Ours(ours(e))),
            (stopped, _) => stopped,
        };
        build.clean().await;
        report.log = build.log.text();
        report.duration_ms = crate::clock::millis(begun.elapsed());
        match result {
            Ok(()) => (report.ok, report.image) = (true, Some(format!("{PREFIX}{key}"))),
            Err(ProcessBuildStop::Product { reason, exit_code }) => {
                build.log.push(format!("{reason}\n").as_bytes());
                report.log = build.log.text();
                (report.reason, report.exit_code) = (Some(reason), exit_code);
            }
            Err(ProcessBuildStop::Ours(failure)) => return Err(failure),
        }
        Ok(report)
    }
}

impl Drop for ProcessBuild<'_> {
    /// Removes the leftovers of a cancelled build.
    fn drop(&mut self) {
        let sandbox = self.sandbox.take();
        if !self.dir.exists() {
            return;
        }
        let (dir, busy) = (self.dir.clone(), self.busy.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(sandbox) = sandbox {
                    let _ = sandbox.stop().await;
                }
                remove(dir, busy).await;
            });
        }
    }
}

/// Removes the directory of a build when no work on it is running.
async fn remove(dir: PathBuf, busy: Arc<Mutex<()>>) {
    let removal = tokio::task::spawn_blocking(move || {
        let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        disk::remove(&dir);
    });
    let _ = removal.await;
}

impl<'a> ProcessBuild<'a> {
    fn begin(
        place: &'a SandboxHost,
        context: BuildContext,
        options: &'a BuildOptions,
    ) -> Result<Self, Failure> {
        let dir = place.home().join("builds").join(unique_mark());
        disk::claim(&dir, &options.tag.run).map_err(ours)?;
        Ok(Self {
            place,
            fs: Arc::new(RootedFs::create(&dir.join("image/root")).map_err(ours)?.unlocking()),
            dir,
            busy: Arc::default(),
            context: Arc::new(context),
            image: ProcessImage { cwd: "/".into(), ..ProcessImage::default() },
            log: Log::default(),
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            escape: '\\',
            args: IndexMap::new(),
            options,
            sandbox: None,
        })
    }

    /// Runs `work` on the file system in a blocking thread.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RootedFs, &CancellationToken) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (fs, busy) = (self.fs.clone(), self.busy.clone());
        blocking(move |cancel| {
            let _busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            work(&fs, cancel)
        })
        .await
    }

    async fn follow(&mut self, text: &str) -> Result<(), ProcessBuildStop> {
        let file = parse(text).map_err(product)?;
        self.escape = file.escape;
        let plan = BuildPlan::of(file).map_err(product)?;
        self.image.base = plan.base;
        self.on_disk(|fs, _| prepare(fs)).await.map_err(ours)?;
        let env = [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("PYTHONUNBUFFERED", "1")];
        let env = env.iter().chain(missing::variables(&self.image.base));
        self.image.env = env.map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        for step in &plan.steps {
            self.log.push(format!("line {}: {}\n", step.line, step.text).as_bytes());
            self.step(step).await.map_err(|stop| match stop {
                ProcessBuildStop::Product { reason, exit_code } => {
                    ProcessBuildStop::Product { reason: format!("line {}: {reason}", step.line), exit_code }
                }
                ours @ ProcessBuildStop::Ours(_) => ours,
            })?;
        }
        self.image.argv = [self.entrypoint.as_slice(), self.cmd.as_slice()].concat();
        Ok(())
    }

    /// Moves the finished file system to the images.
    fn settle(&mut self, home: &Path) -> Result<(), Failure> {
        self.image.log = self.log.text();
        let meta = serde_json::to_vec(&self.image).unwrap_or_default();
        let image = self.dir.join("image");
        let settled = disk::write(&image.join("image.json"), &meta)
            // Recorded twice: the image must never be without a user, and another build may have been first.
            .and_then(|()| disk::note_user(&image, &self.options.tag.run))
            .and_then(|()| disk::settle(&image, home))
            .and_then(|()| disk::note_user(home, &self.options.tag.run));
        settled.map_err(ours)
    }

    /// Removes the directory of the build.
    async fn clean(&self) {
        remove(self.dir.clone(), self.busy.clone()).await;
    }

    async fn step(&mut self, step: &Instruction) -> Result<(), ProcessBuildStop> {
        match &step.order {
            InstructionKind::Workdir(dir) => {
                let dir = self.path(&self.expand(dir)?);
                self.put_dir(&dir).await?;
                self.image.cwd = dir;
            }
            InstructionKind::Copy(copy) => self.copy(&copy.sources, &copy.to).await?,
            InstructionKind::Env(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| Ok((name.clone(), self.expand(value)?)));
                let pairs = pairs.collect::<Result<Vec<_>, ProcessBuildStop>>()?;
                self.image.env.extend(pairs);
            }
            InstructionKind::Arg(pairs) => {
                for (name, default) in pairs {
                    let value = match (self.options.args.get(name), default) {
                        (Some(given), _) => Some(given.clone()),
                        (None, Some(default)) => Some(self.expand(default)?),
                        (None, None) => None,
                    };
                    self.args.extend(value.map(|value| (name.clone(), value)));
                }
            }
            InstructionKind::Run(command) => self.run(&command.argv(&shell())).await?,
            InstructionKind::Cmd(command) => self.cmd = command.argv(&shell()),
            InstructionKind::Entrypoint(command) => {
                self.entrypoint = command.argv(&shell());
                self.cmd.clear();
            }
            // These have no effect on a process; others were refused before.
            _ => {}
        }
        self.check_size()
    }

    /// Refuses a configuration that no program could be started with.
    fn check_size(&self) -> Result<(), ProcessBuildStop> {
        let whole = serde_json::json!([self.image.env, self.args, self.entrypoint, self.cmd]).to_string();
        if whole.len() <= CONFIG_LIMIT {
            return Ok(());
        }
        Err(product(format!(
            "ENV, ARG, ENTRYPOINT and CMD have {} bytes, more than the limit of {CONFIG_LIMIT}",
            whole.len()
        )))
    }

    fn expand(&self, text: &str) -> Result<String, ProcessBuildStop> {
        let value = |name: &str| self.image.env.get(name).or_else(|| self.args.get(name)).map(String::as_str);
        expand(text, self.escape, CONFIG_LIMIT, &value).map_err(product)
    }

    fn path(&self, text: &str) -> PathBuf {
        normalize(&self.image.cwd.join(text))
    }

    /// Records that directories of the system must not cover this path.
    fn place(&mut self, path: &Path) -> Result<(), ProcessBuildStop> {
        if ["/proc", "/dev", "/sys", "/tmp"].iter().any(|own| path.starts_with(own))
            || path == Path::new("/usr")
        {
            return Err(product(format!("the process runtime cannot store files in {}", path.display())));
        }
        if path != Path::new("/") && !path.ancestors().any(|above| self.image.placed.contains(above)) {
            self.image.placed.insert(path.to_owned());
        }
        Ok(())
    }

    async fn put_dir(&mut self, dir: &Path) -> Result<(), ProcessBuildStop> {
        // A directory that the system also has is merged, not hidden.
        let there = dir.to_owned();
        let made =
            self.on_disk(move |fs, _| fs.make_dirs(&there).map_err(named(&there)).map(|()| there.is_dir()));
        if !made.await.map_err(found)? {
            self.place(dir)?;
        }
        Ok(())
    }

    async fn copy(&mut self, from: &[String], to: &str) -> Result<(), ProcessBuildStop> {
        let to = self.expand(to)?;
        let target = self.path(&to);
        let from = from.iter().map(|source| self.expand(source)).collect::<Result<Vec<_>, _>>()?;
        let (context, into, named_dir) = (self.context.clone(), target.clone(), to.ends_with(['/', '.']));
        let chosen = self.on_disk(move |fs, cancel| {
            let into_dir = named_dir || from.len() > 1 || fs.is_dir(&into) || into.is_dir();
            context.choose(&from, &into, into_dir, cancel)
        });
        let files = chosen.await.map_err(found)?.map_err(product)?;
        for file in &files {
            self.place(&file.to)?;
        }
        self.image.copied += files.iter().map(Copied::size).sum::<u64>();
        if self.image.copied > MOST_COPIED {
            return Err(product(format!("the copied files have more than {MOST_COPIED} bytes")));
        }
        let context = self.context.clone();
        let written = self.on_disk(move |fs, cancel| context.write(&files, fs, cancel));
        written.await.map_err(found)?.map_err(ProcessBuildStop::Ours)
    }

    /// Runs a command. All its processes have ended when this returns.
    async fn run(&mut self, argv: &[String]) -> Result<(), ProcessBuildStop> {
        let mut env = self.args.clone();
        env.extend(self.image.env.clone());
        let session = RelayProgram { argv: Vec::new(), env, cwd: self.image.cwd.clone() };
        let limits = Limits {
            memory: Some(self.options.memory),
            pids: Some(RUN_PIDS),
            cpus: None,
            file: Some(super::LARGEST_FILE),
            disk: Some(self.options.disk),
            files: Some(FILES),
        };
        let orders = Orders { limits, session, ..Orders::default() };
        let root = self.dir.join("image/root");
        let outside =
            super::SandboxSharing { counts_all: true, disposable: true, ..super::SandboxSharing::default() };
        let sandbox = self.place.sandbox(&root, &self.image.placed, &outside, orders).await?;
        let (socket, mut exit) = (sandbox.socket.clone(), sandbox.exit.clone());
        self.sandbox = Some(sandbox);
        // The time limit of the build ends the command; this one must only not be shorter.
        let spec =
            ExecSpec { argv: argv.to_vec(), timeout: Duration::from_secs(86_400), ..ExecSpec::default() };
        let ran = exec(&socket, spec).await;
        let ended_itself =
            ran.is_err() && timeout(Duration::from_secs(2), exit.wait_for(Option::is_some)).await.is_ok();
        // Too much disk usage counts also after success; lack of memory only after a failure.
        let exit_code = ran.as_ref().ok().and_then(|ran| ran.exit_code);
        let overrun = match &self.sandbox {
            Some(sandbox) => sandbox.overrun(exit_code == Some(0)).await,
            None => None,
        };
        // Leftover processes must not see the next instruction.
        self.close().await.map_err(ours)?;
        for output in ran.iter().flat_map(|ran| [&ran.stdout, &ran.stderr]) {
            self.log.push(output);
        }
        if let Some(overrun) = overrun {
            return Err(ProcessBuildStop::Product {
                reason: format!("the command was ended: {overrun}"),
                exit_code,
            });
        }
        let ran = match ran {
            Ok(ran) => ran,
            // Only the command could have ended the sandbox.
            Err(_) if ended_itself => return Err(product("the command ended its own sandbox")),
            Err(failure) => return Err(failure.into()),
        };
        if ran.exit_code == Some(0) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.stderr);
        let started =
            missing::StartedCommand { base: &self.image.base, root: &root, cwd: &self.image.cwd, argv };
        if let Some(failure) = missing::of_machine(self.place, &started, &said).await {
            return Err(failure.into());
        }
        Err(ProcessBuildStop::Product {
            reason: format!("the command ended with exit code {}", ran.exit_code.unwrap_or(-1)),
            exit_code: ran.exit_code,
        })
    }

    async fn close(&mut self) -> io::Result<()> {
        match self.sandbox.take() {
            Some(sandbox) => sandbox.stop().await,
            None => Ok(()),
        }
    }
}

/// The shell for command lines.
fn shell() -> [String; 2] {
    ["/bin/sh".to_owned(), "-c".to_owned()]
}

/// Creates files that every program expects.
fn prepare(fs: &RootedFs) -> io::Result<()> {
    let files = [
        ("/etc/passwd", "root:x:0:0:root:/tmp:/bin/sh\n"),
        ("/etc/group", "root:x:0:\n"),
        ("/etc/hosts", "127.0.0.1 localhost\n"),
    ];
    for (path, text) in files {
        fs.put(Path::new(path), text.as_bytes(), false)?;
    }
    // Dockerfiles for Python use `python`, which not every system has.
    fs.link(Path::new("/.atoll-bin/python"), Path::new("/usr/bin/python3"))
}
