//! Detects programs and modules that a base image has and this machine, which is the base image of this
//! runtime, does not have. A program that fails for that reason is not at fault. Its error messages are
//! only a hint: this machine is checked, too.

mod python;

use std::path::Path;
use std::time::Duration;

use self::python::{Belongs, IMPORT, Interpreter, MINOR, modules};
use super::SandboxHost;
use crate::relay::ExecSpec;
use crate::rooted_fs::{RootedFs, normalize};
use crate::verb::Failure;

/// Base images, by the last part of their names, and their main programs.
const PROGRAMS: &[(&[&str], &[&str])] = &[
    (&["python", "pypy"], &["python", "python3", "pip", "pip3", "idle3", "2to3", "pydoc3"]),
    (&["uv"], &["uv", "uvx"]),
    (&["node"], &["node", "npm", "npx", "corepack", "yarn"]),
    (&["golang"], &["go", "gofmt"]),
    (&["rust"], &["cargo", "rustc", "rustup"]),
    (&["ruby"], &["ruby", "bundle", "bundler", "gem", "rake", "irb", "erb", "rdoc", "ri", "racc"]),
    (&["php"], &["php", "phpize", "pecl", "pear"]),
    (&["composer"], &["composer", "php"]),
    (&["perl"], &["perl", "cpan", "cpanm", "prove"]),
    (&["openjdk", "eclipse-temurin", "amazoncorretto"], &["java", "javac", "jar", "jshell"]),
    (&["maven"], &["mvn", "java", "javac", "jar"]),
    (&["gradle"], &["gradle", "java", "javac", "jar"]),
    (&["clojure"], &["clojure", "clj", "lein", "java"]),
    (&["groovy"], &["groovy", "java"]),
    (&["gcc", "buildpack-deps"], &["gcc", "g++", "cc", "c++", "make", "gfortran"]),
    (&["sdk", "runtime", "aspnet"], &["dotnet"]),
    (&["mono"], &["mono", "mcs", "csc", "msbuild"]),
    (&["deno"], &["deno"]),
    (&["bun"], &["bun", "bunx"]),
    (&["elixir"], &["elixir", "mix", "iex", "erl", "escript"]),
    (&["erlang"], &["erl", "erlc", "escript", "rebar3"]),
    (&["haskell"], &["ghc", "cabal", "stack", "runghc", "runhaskell"]),
    (&["swift"], &["swift", "swiftc"]),
    (&["julia"], &["julia"]),
    (&["r-base", "r-ver"], &["R", "Rscript"]),
    (&["dart"], &["dart"]),
    (&["crystal"], &["crystal", "shards"]),
    (&["nim"], &["nim", "nimble"]),
    (&["ocaml", "opam"], &["ocaml", "opam", "dune"]),
    (&["racket"], &["racket", "raco"]),
    (&["rakudo-star"], &["raku"]),
    (&["lua", "luajit"], &["lua", "luajit", "luarocks"]),
    (&["nginx"], &["nginx"]),
    (&["httpd"], &["httpd"]),
    (&["caddy"], &["caddy"]),
    (&["redis", "valkey"], &["redis-server", "redis-cli"]),
    (&["postgres"], &["postgres", "psql"]),
    (&["mysql", "mariadb"], &["mysqld", "mysql", "mariadbd", "mariadb"]),
];

/// Images of plain systems: a program has to install everything else itself.
const SYSTEMS: &[&str] = &[
    "scratch",
    "debian",
    "ubuntu",
    "alpine",
    "busybox",
    "fedora",
    "centos",
    "rockylinux",
    "almalinux",
    "amazonlinux",
    "archlinux",
];

/// Additional programs of the full images of languages, which include a compiler and its tools.
const FULL: &[&str] = &[
    "python",
    "pypy",
    "node",
    "golang",
    "rust",
    "ruby",
    "perl",
    "gcc",
    "buildpack-deps",
    "erlang",
    "elixir",
];
const TOOLS: &[&str] = &[
    "gcc", "g++", "cc", "c++", "make", "perl", "python3", "git", "hg", "svn", "curl", "wget", "unzip",
    "patch", "file", "autoconf",
];

/// Programs of every system with a package manager, which all base images except the smallest have.
const COMMON: &[&str] = &["bash", "awk", "sed", "grep", "find", "xargs", "tar", "gzip", "env", "diff"];
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Most bytes of a file that are read to find its interpreter.
const HEAD: u64 = 1 << 20;

/// A started command and its environment.
pub(super) struct StartedCommand<'a> {
    /// Base image.
    pub(super) base: &'a str,
    /// File system of the product, on this machine.
    pub(super) root: &'a Path,
    /// Working directory in that file system.
    pub(super) cwd: &'a Path,
    /// Program and arguments.
    pub(super) argv: &'a [String],
}

/// The real failure behind the end of a program, if this machine lacks something that the base image has.
pub(super) async fn of_machine(
    place: &SandboxHost,
    started: &StartedCommand<'_>,
    said: &str,
) -> Option<Failure> {
    let base = started.base;
    if let Some(program) = program(started, said) {
        return Some(
            Failure::permanent(format!(
                "the base image `{base}` has the program `{program}`, and this machine does not"
            ))
            .hint(format!(
                "install `{program}` here (the process runtime uses the programs of this machine), or use Docker"
            )),
        );
    }
    let python = Interpreter::of(base);
    for module in modules(said) {
        let belongs = python.has(module);
        if belongs == Belongs::Not || module == "pip" && !python.has_python {
            continue;
        }
        let certainty = if belongs == Belongs::Certainly { "certain" } else { "as here" };
        let argv = ["python3", "-I", "-c", IMPORT, module, python.size(), certainty];
        let argv = argv.map(ToOwned::to_owned).to_vec();
        let spec = ExecSpec { argv, timeout: Duration::from_secs(20), ..ExecSpec::default() };
        if place.run_alone(spec).await.is_some_and(|report| report.exit_code == Some(42)) {
            let message = format!(
                "the Python of this machine has no module `{module}`, which the Python of the base image `{base}` has"
            );
            return Some(
                Failure::permanent(message).hint(format!("{}, or use Docker", python.needed(belongs))),
            );
        }
    }
    let (since, what) = python.newer(said)?;
    let argv = ["python3", "-I", "-c", MINOR].map(ToOwned::to_owned).to_vec();
    let spec = ExecSpec { argv, timeout: Duration::from_secs(20), ..ExecSpec::default() };
    let told = place.run_alone(spec).await?;
    let here: u32 = String::from_utf8_lossy(&told.stdout).trim().parse().ok()?;
    (here < since).then(|| {
        let message = format!(
            "the Python of this machine is 3.{here} and does not support {what}, which the Python of the base image `{base}` supports"
        );
        Failure::permanent(message).hint(format!("{}, or use Docker", python.needed(Belongs::Certainly)))
    })
}

/// Variables for build commands because this machine is not the base image: pip of a Python image may
/// install into its own directories, that of a system may not.
pub(super) fn variables(base: &str) -> &'static [(&'static str, &'static str)] {
    if Interpreter::of(base).has_python { &[("PIP_BREAK_SYSTEM_PACKAGES", "1")] } else { &[] }
}

/// The last part of the name of an image, and its tag.
fn named(base: &str) -> (String, String) {
    let last = base.rsplit('/').next().unwrap_or(base);
    let last = last.split('@').next().unwrap_or_default();
    let (name, tag) = last.split_once(':').unwrap_or((last, ""));
    (name.to_owned(), tag.to_owned())
}

/// Whether the image `base`, whose last part is `name`, is a plain system.
fn is_system(base: &str, name: &str) -> bool {
    let is_distroless = base.split('/').any(|part| part == "distroless");
    SYSTEMS.contains(&name)
        || is_distroless && ["static", "base", "cc"].iter().any(|kind| name.starts_with(kind))
}

fn is_small(tag: &str) -> bool {
    ["slim", "alpine"].iter().any(|word| tag.contains(word))
}

/// A program that is missing here and that the image has.
fn program(started: &StartedCommand<'_>, said: &str) -> Option<String> {
    // A name to search, or a path; programs of the product itself are not missing.
    let here = |program: &str| {
        let in_root = |path: &str| started.root.join(path.trim_start_matches('/')).symlink_metadata().is_ok();
        let there = |path: &str| Path::new(path).exists() || in_root(path);
        if program.contains('/') {
            there(program)
        } else {
            PATH.iter().any(|dir| there(&format!("{dir}/{program}")))
        }
    };
    let wanted = wanted(started, said).into_iter().find(|program| {
        let name = program.rsplit('/').next().unwrap_or(program);
        // `python` exists if `python3` does: builds create that link.
        let linked = program == "python" && here("python3");
        has(started.base, name) && !here(program) && !linked
    })?;
    Some(wanted)
}

/// Whether the image has the program. An unknown image is only known not to be a plain system.
fn has(base: &str, program: &str) -> bool {
    let (name, tag) = named(base);
    // For example `python3.12`.
    let plain = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    // The tag of another image may show that it has Python.
    let python = Interpreter::of(base).has_python;
    let is_of = |images: &[&str]| images.contains(&name.as_str()) || python && images.contains(&"python");
    let mut programs = PROGRAMS.iter().filter(|(images, _)| is_of(images)).peekable();
    let known = programs.peek().is_some();
    if programs.any(|(_, programs)| programs.contains(&program) || programs.contains(&plain)) {
        return true;
    }
    let is_full = FULL.contains(&name.as_str()) || python && !base.contains("distroless");
    if is_full && !is_small(&tag) && TOOLS.contains(&program) {
        return true;
    }
    if is_system(base, &name) || known {
        return name != "scratch" && !tag.contains("alpine") && name != "alpine" && COMMON.contains(&program);
    }
    PROGRAMS.iter().any(|(_, programs)| programs.contains(&program) || programs.contains(&plain))
        || COMMON.contains(&program)
}

/// Names and paths of the programs that the command tried to start, from its arguments and error messages,
/// and interpreters of scripts.
fn wanted(started: &StartedCommand<'_>, said: &str) -> Vec<String> {
    const MOST: usize = 32;
    let separators = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+'));
    let complains = |line: &&str| {
        ["not found", "No such file or directory", "bad interpreter", "no such file"]
            .iter()
            .any(|words| line.contains(words))
    };
    let lines: Vec<&str> = said.lines().rev().take(50).filter(complains).collect();
    let words = lines.iter().flat_map(|line| line.split(separators)).map(|word| word.trim_end_matches('.'));
    let words = started.argv.first().map(String::as_str).into_iter().chain(words);
    let words: Vec<String> =
        words.filter(|word| !word.is_empty()).map(ToOwned::to_owned).take(MOST).collect();
    let Ok(files) = RootedFs::open(started.root) else { return words };
    let interpreters: Vec<String> = words
        .iter()
        .filter(|word| word.contains('/'))
        .flat_map(|word| interpreters(&files, &normalize(&started.cwd.join(word))))
        .collect();
    words.into_iter().chain(interpreters).collect()
}

/// The interpreters in the first line of the script at `path`: a program, and the one after `env`.
fn interpreters(files: &RootedFs, path: &Path) -> Vec<String> {
    let Ok(bytes) = files.read(path, HEAD) else { return Vec::new() };
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = line.strip_prefix(b"#!") else { return Vec::new() };
    let line = String::from_utf8_lossy(&line[..line.len().min(256)]).into_owned();
    let mut words = line.split_ascii_whitespace().map(ToOwned::to_owned);
    let Some(first) = words.next() else { return Vec::new() };
    let behind = words.find(|word| !word.starts_with('-') && !word.contains('='));
    let behind = behind.filter(|_| first.ends_with("/env"));
    std::iter::once(first).chain(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(root: &Path, base: &str, argv: &[&str], said: &str) -> Option<String> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        program(&StartedCommand { base, root, cwd: Path::new("/app"), argv: &argv }, said)
    }

    #[test]
    fn only_what_the_image_would_have_is_missing() {
        let empty = tempfile::tempdir().unwrap();
        let missing = |base: &str, argv: &[&str], said: &str| missing(empty.path(), base, argv, said);
        assert_eq!(
            missing("docker.io/library/elixir:1.17@sha256:0", &["elixir"], "").as_deref(),
            Some("elixir")
        );
        assert_eq!(missing("elixir", &["sh"], "sh: 1: mix: not found\n").as_deref(), Some("mix"));
        assert_eq!(missing("elixir", &["sh"], "mix ended\n"), None);
        assert_eq!(missing("debian:12", &["elixir"], "elixir: not found"), None);
        assert_eq!(missing("perl", &["sh"], "sh: 1: sh: not found"), None);
        // A path in any form; a program at another path is missing.
        assert_eq!(missing("elixir", &["/usr/local/bin/mix"], "").as_deref(), Some("/usr/local/bin/mix"));
        assert_eq!(
            missing("elixir", &["sh"], "env: 'iex': No such file or directory").as_deref(),
            Some("iex")
        );
        assert_eq!(
            missing(
                "elixir",
                &["sh"],
                "bash: ./run: /usr/bin/iex: bad interpreter: No such file or directory"
            )
            .as_deref(),
            Some("/usr/bin/iex")
        );
        // Programs other than the main one, unknown images, and errors of the program itself.
        assert_eq!(missing("elixir", &["elixirr"], "elixirr: not found"), None);
        assert_eq!(missing("example.com/own:1", &["mix"], "").as_deref(), Some("mix"));
        assert_eq!(missing("example.com/own:1", &["x-tool"], "x-tool: not found"), None);
        assert_eq!(missing("node:22", &["mix"], "mix: not found"), None);
        // A tag with the base of the image.
        let uv = "ghcr.io/astral-sh/uv:python3.14-bookworm-slim";
        assert_eq!(missing(uv, &["python3.14"], "").as_deref(), Some("python3.14"));
        assert_eq!(missing("ghcr.io/astral-sh/uv:0.9", &["python3.14"], ""), None);
    }

    #[test]
    fn a_script_without_its_interpreter_is_no_fault_of_the_program() {
        use std::io::Write as _;
        let root = tempfile::tempdir().unwrap();
        let files = RootedFs::open(root.path()).unwrap();
        for (name, line) in
            [("env", "#!/usr/bin/env -S mix run"), ("direct", "#!/usr/bin/iex"), ("own", "#!/app/mix")]
        {
            let mut text = Vec::new();
            writeln!(text, "{line}\nputs 1").unwrap();
            files.put(Path::new("/app").join(name).as_path(), &text, true).unwrap();
        }
        let missing = |base: &str, argv: &[&str], said: &str| missing(root.path(), base, argv, said);
        assert_eq!(missing("elixir", &["/app/env"], "").as_deref(), Some("mix"));
        assert_eq!(missing("elixir", &["sh"], "sh: 1: ./direct: not found").as_deref(), Some("/usr/bin/iex"));
        assert_eq!(missing("debian:12", &["/app/env"], ""), None);
        files.put(Path::new("/app/mix"), b"x", true).unwrap();
        assert_eq!(missing("elixir", &["sh"], "sh: 1: ./own: not found"), None, "the product has it itself");
    }
}
