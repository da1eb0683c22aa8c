//! Building: the Dockerfile's instructions, followed in a directory.
#![expect(clippy::disallowed_methods, reason = "measures how long a build takes")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indexmap::IndexMap;
use tokio::time::timeout;

use super::dockerfile::{Order, Step, expand, parse};
use super::sandbox::Sandbox;
use super::{Image, PREFIX, Place, disk, exec, ours};
use crate::clients::agent::{ExecSpec, Limits, Orders, Program, unique_mark};
use crate::clients::service::{BuildOptions, BuildReport, Ignored};
use crate::tree::Tree;
use crate::value::Digest;
use crate::verb::{Blobs, Failure};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.atoll-bin";
const RUN_MEMORY: u64 = 2 << 30;
const RUN_PIDS: u64 = 512;

/// Why a build ended early: the product's fault, or ours.
enum Stop {
    Product { reason: String, exit_code: Option<i64> },
    Ours(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                product(e.to_string())
            }
            _ => Self::Ours(ours(e)),
        }
    }
}

fn product(reason: impl Into<String>) -> Stop {
    Stop::Product { reason: reason.into(), exit_code: None }
}

struct Build<'a> {
    place: &'a Place,
    tree: &'a Tree,
    ignored: &'a Ignored,
    blobs: &'a dyn Blobs,
    root: PathBuf,
    image: Image,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    args: IndexMap<String, String>,
    given: &'a BTreeMap<String, String>,
    sandbox: Option<Sandbox>,
}

impl Place {
    /// Prepares the file system that the tree's Dockerfile describes; one that is there already is used again. What of the
    /// tree is ignored cannot be copied.
    pub async fn build(
        &self,
        (tree, ignored): (&Tree, &Ignored),
        blobs: &dyn Blobs,
        options: &BuildOptions,
    ) -> Result<BuildReport, Failure> {
        let begun = Instant::now();
        let key = Digest::of_value(&serde_json::json!([1, tree.digest(), options.dockerfile, options.args]))
            .to_string();
        let home = self.home().join("images").join(&key);
        let mut report = BuildReport { runtime: self.word().to_owned(), ..BuildReport::default() };
        let done = disk::read(&home.join("image.json")).ok();
        if let Some(image) = done.and_then(|text| serde_json::from_slice::<Image>(&text).ok()) {
            disk::note_user(&home, &options.tag.run).map_err(ours)?;
            (report.ok, report.image, report.log) = (true, Some(format!("{PREFIX}{key}")), image.log);
            return Ok(report);
        }
        let dir = self.home().join("builds").join(unique_mark());
        disk::claim(&dir, &options.tag.run).map_err(ours)?;
        let _swept = Swept(&dir);
        let mut build = Build {
            place: self,
            tree,
            ignored,
            blobs,
            root: dir.join("image/root"),
            image: Image { cwd: "/".into(), ..Image::default() },
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            args: IndexMap::new(),
            given: &options.args,
            sandbox: None,
        };
        let text = tree.text(blobs, &options.dockerfile)?;
        let followed = timeout(options.timeout, build.follow(&text)).await;
        build.close().await;
        let result =
            followed.unwrap_or_else(|_| Err(product(format!("not built within {:?}", options.timeout))));
        let log = crate::clients::service::Log::default();
        log.push(build.image.log.as_bytes());
        report.log = log.text();
        build.image.log.clone_from(&report.log);
        report.duration_ms = crate::clock::millis(begun.elapsed());
        match result {
            Ok(()) => {
                let meta = serde_json::to_vec(&build.image).unwrap_or_default();
                let image = dir.join("image");
                disk::write(&image.join("image.json"), &meta).map_err(ours)?;
                // Noted twice: it must not be without a user for a moment, and another may have been there first.
                disk::note_user(&image, &options.tag.run).map_err(ours)?;
                disk::settle(&image, &home).map_err(ours)?;
                disk::note_user(&home, &options.tag.run).map_err(ours)?;
                (report.ok, report.image) = (true, Some(format!("{PREFIX}{key}")));
            }
            Err(Stop::Product { reason, exit_code }) => {
                let _ = writeln!(report.log, "{reason}");
                (report.reason, report.exit_code) = (Some(reason), exit_code);
            }
            Err(Stop::Ours(failure)) => return Err(failure),
        }
        Ok(report)
    }
}

/// A directory that goes when its build ends, however it ends.
struct Swept<'a>(&'a Path);

impl Drop for Swept<'_> {
    fn drop(&mut self) {
        disk::remove(self.0);
    }
}

impl Build<'_> {
    async fn follow(&mut self, text: &str) -> Result<(), Stop> {
        let steps = parse(text).map_err(product)?;
        self.prepare()?;
        for step in &steps {
            let _ = writeln!(self.image.log, "line {}: {}", step.line, step.text);
            self.step(step).await.map_err(|stop| match stop {
                Stop::Product { reason, exit_code } => {
                    Stop::Product { reason: format!("line {}: {reason}", step.line), exit_code }
                }
                ours @ Stop::Ours(_) => ours,
            })?;
        }
        self.image.argv = [self.entrypoint.as_slice(), self.cmd.as_slice()].concat();
        Ok(())
    }

    /// What every program expects to find.
    fn prepare(&mut self) -> Result<(), Stop> {
        let env = [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("PYTHONUNBUFFERED", "1")];
        self.image.env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        disk::make_dir(&self.root, Path::new("/"))?;
        let files = [
            ("/etc/passwd", "root:x:0:0:root:/tmp:/bin/sh\n"),
            ("/etc/group", "root:x:0:\n"),
            ("/etc/hosts", "127.0.0.1 localhost\n"),
        ];
        for (path, text) in files {
            disk::write_file(&self.root, Path::new(path), text.as_bytes(), false)?;
        }
        // Dockerfiles for Python say `python`, which not every system has.
        disk::link(&self.root, Path::new("/.atoll-bin/python"), Path::new("/usr/bin/python3"))?;
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match &step.order {
            Order::Workdir(dir) => {
                let dir = self.path(&self.expand(dir));
                self.put_dir(&dir)?;
                self.image.cwd = dir;
            }
            Order::Copy { from, to } => self.copy(from, to)?,
            Order::Env(pairs) => {
                for (name, value) in pairs {
                    let value = self.expand(value);
                    self.image.env.insert(name.clone(), value);
                }
            }
            Order::Arg(name, default) => {
                let value =
                    self.given.get(name).cloned().or_else(|| default.as_ref().map(|d| self.expand(d)));
                self.args.extend(value.map(|value| (name.clone(), value)));
            }
            Order::Run(argv) => self.run(argv).await?,
            Order::Cmd(argv) => self.cmd.clone_from(argv),
            Order::Entrypoint(argv) => {
                self.entrypoint.clone_from(argv);
                self.cmd.clear();
            }
            Order::Nothing => {}
        }
        Ok(())
    }

    fn expand(&self, text: &str) -> String {
        expand(text, &|name| self.image.env.get(name).or_else(|| self.args.get(name)).cloned())
    }

    fn path(&self, text: &str) -> PathBuf {
        disk::normal(&self.image.cwd.join(text))
    }

    /// Notes what of the system's own must not cover it.
    fn place(&mut self, path: &Path) -> Result<(), Stop> {
        if ["/proc", "/dev", "/sys", "/tmp"].iter().any(|own| path.starts_with(own))
            || path == Path::new("/usr")
        {
            return Err(product(format!("the process runtime cannot keep files in {}", path.display())));
        }
        if path != Path::new("/") && !self.image.placed.iter().any(|own| path.starts_with(own)) {
            self.image.placed.insert(path.to_owned());
        }
        Ok(())
    }

    fn put_dir(&mut self, dir: &Path) -> Result<(), Stop> {
        // A directory that the system has as well is filled, not hidden.
        if !dir.is_dir() {
            self.place(dir)?;
        }
        disk::make_dir(&self.root, dir)?;
        Ok(())
    }

    fn copy(&mut self, from: &[String], to: &str) -> Result<(), Stop> {
        let to = self.expand(to);
        let target = self.path(&to);
        let into_dir = to.ends_with(['/', '.'])
            || from.len() > 1
            || disk::is_dir(&self.root, &target)
            || target.is_dir();
        for source in from {
            let source = self.expand(source);
            let mut found = sources(self.tree, &source).map_err(product)?;
            found.retain(|(path, _)| !self.ignored.hides(path));
            if found.is_empty() {
                return Err(product(format!("the tree has no `{source}`")));
            }
            for (path, rest) in found {
                let place = match rest {
                    Rest::Below(rest) => target.join(rest),
                    Rest::File(name) if into_dir => target.join(name),
                    Rest::File(_) => target.clone(),
                };
                let bytes = self.tree.bytes(self.blobs, path).map_err(Failure::from)?;
                self.place(&place)?;
                disk::write_file(&self.root, &place, &bytes, self.tree.files[path].executable)?;
            }
        }
        Ok(())
    }

    async fn run(&mut self, argv: &[String]) -> Result<(), Stop> {
        // What was copied since the last command belongs to whoever runs the next.
        self.close().await;
        let mut env = self.args.clone();
        env.extend(self.image.env.clone());
        let session = Program { argv: Vec::new(), env, cwd: self.image.cwd.clone() };
        let limits =
            Limits { memory: Some(RUN_MEMORY), pids: Some(RUN_PIDS), file: Some(super::LARGEST_FILE) };
        let orders = Orders { limits, session, ..Orders::default() };
        let sandbox =
            self.place.sandbox(&self.root, &self.image.placed, super::Outside::default(), orders).await?;
        let socket = sandbox.socket.clone();
        self.sandbox = Some(sandbox);
        // The build's own time limit ends it; this one only has to be no shorter.
        let spec = ExecSpec {
            argv: argv.to_vec(),
            timeout: std::time::Duration::from_secs(86_400),
            ..ExecSpec::default()
        };
        let ran = exec(&socket, spec).await?;
        for output in [&ran.stdout, &ran.stderr] {
            self.image.log.push_str(&String::from_utf8_lossy(output));
        }
        match ran.exit_code {
            Some(0) => Ok(()),
            code => Err(Stop::Product {
                reason: format!("the command ended with exit code {}", code.unwrap_or(-1)),
                exit_code: code,
            }),
        }
    }

    async fn close(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.stop().await;
        }
    }
}

/// Where a copied file goes: under its own name, or at a path below the target.
enum Rest<'a> {
    File(&'a str),
    Below(&'a str),
}

/// The files of the tree that a source of `COPY` names.
fn sources<'a>(tree: &'a Tree, source: &str) -> Result<Vec<(&'a str, Rest<'a>)>, String> {
    let wanted = source.trim_start_matches("./").trim_matches('/');
    let wanted = if wanted == "." { "" } else { wanted };
    if wanted.split('/').any(|part| part == "..") {
        return Err(format!("`{source}` leads out of the tree"));
    }
    let pattern = globset::GlobBuilder::new(wanted).literal_separator(true).build();
    let pattern = pattern.map_err(|e| format!("`{source}`: {e}"))?.compile_matcher();
    let mut found = Vec::new();
    for path in tree.files.keys() {
        let name = path.rsplit('/').next().unwrap_or(path);
        let dirs = path.match_indices('/').map(|(at, _)| at);
        if wanted.is_empty() {
            found.push((path.as_str(), Rest::Below(path)));
        } else if path == wanted || pattern.is_match(path) {
            found.push((path.as_str(), Rest::File(name)));
        } else if let Some(at) =
            dirs.into_iter().find(|at| path[..*at] == *wanted || pattern.is_match(&path[..*at]))
        {
            found.push((path.as_str(), Rest::Below(&path[at + 1..])));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn sources_are_files_directories_and_patterns() {
        let blobs = MemoryBlobs::default();
        let mut tree = Tree::new();
        for path in ["a.py", "b.py", "lib/x/y.py", "lib/z.py"] {
            tree.put(&blobs, path, b"").unwrap();
        }
        let found = |source: &str| -> Vec<String> {
            let name = |rest| match rest {
                Rest::File(name) => format!("={name}"),
                Rest::Below(path) => path.to_owned(),
            };
            sources(&tree, source).unwrap().into_iter().map(|(_, rest)| name(rest)).collect()
        };
        assert_eq!(found("."), ["a.py", "b.py", "lib/x/y.py", "lib/z.py"]);
        assert_eq!(found("./lib/"), ["x/y.py", "z.py"]);
        assert_eq!(found("*.py"), ["=a.py", "=b.py"]);
        assert_eq!(found("a.py"), ["=a.py"]);
        assert!(found("c.py").is_empty());
        assert!(sources(&tree, "../x").is_err());
    }
}
