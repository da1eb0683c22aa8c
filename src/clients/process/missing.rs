//! What a base image has and this machine, which is the base image of this runtime, has not. A program that fails for that
//! reason has no fault of its own. What the program says is only a hint: the machine itself is asked.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::Place;
use crate::clients::agent::ExecSpec;
use crate::verb::Failure;

/// Base images, by the last part of their names, and the programs that they are made for. Package managers are not among
/// them: without a network they are of no use.
const PROGRAMS: &[(&[&str], &[&str])] = &[
    (&["python", "pypy"], &["python", "python3"]),
    (&["node"], &["node"]),
    (&["golang"], &["go"]),
    (&["rust"], &["cargo", "rustc"]),
    (&["ruby"], &["ruby"]),
    (&["php"], &["php"]),
    (&["perl"], &["perl"]),
    (&["openjdk", "eclipse-temurin", "amazoncorretto", "maven", "gradle"], &["java", "javac"]),
    (&["gcc", "buildpack-deps"], &["gcc", "g++", "cc", "make"]),
    (&["sdk", "runtime", "aspnet"], &["dotnet"]),
    (&["deno"], &["deno"]),
    (&["bun"], &["bun"]),
    (&["elixir"], &["elixir", "mix"]),
];
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Ends with 42 if the module belongs to every Python on this system and this Python cannot import it.
const IMPORT: &str = "
import importlib, sys
name = sys.argv[1]
elsewhere = {'winreg', 'winsound', 'msvcrt', 'nt', '_winapi', '_overlapped', '_wmi', '_scproxy',
             'tkinter', '_tkinter', 'turtle', 'turtledemo', 'idlelib'}
top = name.split('.')[0]
if top not in sys.stdlib_module_names or top in elsewhere:
    sys.exit(0)
try:
    importlib.import_module(top)
except ImportError:
    sys.exit(42)
";

/// The failure that a program's end really is, if the machine lacks what the image `base` would have.
pub(super) async fn of_machine(place: &Place, base: &str, argv: &[String], said: &str) -> Option<Failure> {
    if let Some(program) = program(base, argv, said) {
        return Some(
            Failure::permanent(format!(
                "the base image `{base}` has the program `{program}`, and this machine does not"
            ))
            .hint(format!(
                "install `{program}` here (the process runtime uses the programs of this machine), or use Docker"
            )),
        );
    }
    for module in modules(said) {
        let argv = ["python3", "-I", "-c", IMPORT, module].map(ToOwned::to_owned).to_vec();
        let spec = ExecSpec { argv, timeout: Duration::from_secs(20), ..ExecSpec::default() };
        if place.run_alone(spec).await.is_some_and(|report| report.exit_code == Some(42)) {
            return Some(
                Failure::permanent(format!(
                    "the Python of this machine has no module `{module}`, which belongs to every Python"
                ))
                .hint("install the whole of Python here, e.g. with `apt-get install python3`, or use Docker"),
            );
        }
    }
    None
}

/// A program that is missing here and that the image has.
fn program(base: &str, argv: &[String], said: &str) -> Option<&'static str> {
    let name = base.rsplit('/').next().unwrap_or(base).split([':', '@']).next().unwrap_or_default();
    let (_, programs) = PROGRAMS.iter().find(|(images, _)| images.contains(&name))?;
    let named = |program: &&&str| {
        argv.first().is_some_and(|first| first == *program)
            || said.lines().any(|line| {
                line.contains("not found") && line.split([' ', ':']).any(|word| word == **program)
            })
    };
    let here = |program: &str| PATH.iter().any(|dir| Path::new(dir).join(program).exists());
    // `python` is there where `python3` is: builds make that link.
    programs
        .iter()
        .filter(named)
        .find(|program| !(here(program) || **program == "python" && here("python3")))
        .copied()
}

/// The modules that Python said it does not have, the last few of them.
fn modules(said: &str) -> BTreeSet<&str> {
    static MISSING: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"No module named '([A-Za-z_][A-Za-z0-9_]{0,63})[.']").ok());
    let Some(missing) = &*MISSING else { return BTreeSet::new() };
    let lines: Vec<&str> = said.lines().rev().take(50).collect();
    let names = lines.into_iter().flat_map(|line| missing.captures_iter(line));
    names.filter_map(|found| found.get(1)).map(|name| name.as_str()).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_image_would_have_is_missing() {
        let missing = |base: &str, argv: &[&str], said: &str| {
            program(base, &argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), said)
        };
        assert_eq!(missing("docker.io/library/elixir:1.17@sha256:0", &["elixir"], ""), Some("elixir"));
        assert_eq!(missing("elixir", &["sh"], "sh: 1: mix: not found\n"), Some("mix"));
        assert_eq!(missing("elixir", &["sh"], "mix ended\n"), None);
        assert_eq!(missing("debian:12", &["elixir"], "elixir: not found"), None);
        assert_eq!(missing("perl", &["sh"], "sh: 1: sh: not found"), None);
    }

    #[test]
    fn modules_are_read_from_what_python_says() {
        let said = "x\nModuleNotFoundError: No module named 'http.server'\nImportError: No module named 'json'\nNo module named 'a b'";
        assert_eq!(modules(said).into_iter().collect::<Vec<_>>(), ["http", "json"]);
    }
}
