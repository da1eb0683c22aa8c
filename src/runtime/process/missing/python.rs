//! Modules of the Python of a base image. The Python of this machine knows its own modules; those of newer
//! and older versions are listed here.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::{PROGRAMS, is_small, is_system, named};

/// Modules by the minor version of Python 3 that added them: `sys.stdlib_module_names` of CPython 3.8 to
/// 3.15 from version 2026.9.3 of the PyPI package `stdlibs`, without those that only the tests of CPython
/// use. Submodules are from "What's New in Python" of each version.
const ADDED: &[(u32, &[&str])] = &[
    (9, &["_aix_support", "_zoneinfo", "graphlib", "zoneinfo"]),
    (11, &["tomllib", "_tokenize", "_typing", "wsgiref.types"]),
    (12, &["_pydatetime", "_pylong", "_sha2", "_wmi", "_xxinterpchannels"]),
    (
        13,
        &[
            "_android_support",
            "_apple_support",
            "_colorize",
            "_interpchannels",
            "_interpqueues",
            "_interpreters",
            "_ios_support",
            "_opcode_metadata",
            "_pyrepl",
            "_suggestions",
            "_sysconfig",
            "dbm.sqlite3",
        ],
    ),
    (
        14,
        &[
            "_ast_unparse",
            "_hmac",
            "_py_warnings",
            "_remote_debugging",
            "_types",
            "_zstd",
            "annotationlib",
            "compression",
            "compression.bz2",
            "compression.gzip",
            "compression.lzma",
            "compression.zlib",
            "compression.zstd",
            "concurrent.interpreters",
            "concurrent.futures.interpreter",
            "pathlib.types",
            "string.templatelib",
        ],
    ),
    (15, &["_math_integer", "profiling", "profiling.sampling", "profiling.tracing"]),
];

/// Modules by the minor version of Python 3 that removed them.
const REMOVED: &[(u32, &[&str])] = &[
    (12, &["_bootsubprocess", "_sha256", "_sha512", "asynchat", "asyncore", "distutils", "imp", "smtpd"]),
    (
        13,
        &[
            "_crypt",
            "_msi",
            "_xxinterpchannels",
            "_xxsubinterpreters",
            "aifc",
            "audioop",
            "cgi",
            "cgitb",
            "chunk",
            "crypt",
            "imghdr",
            "lib2to3",
            "mailcap",
            "msilib",
            "nis",
            "nntplib",
            "ossaudiodev",
            "pipes",
            "sndhdr",
            "spwd",
            "sunau",
            "telnetlib",
            "uu",
            "xdrlib",
        ],
    ),
    (14, &["_compression"]),
    (15, &["sre_compile", "sre_constants", "sre_parse"]),
];

/// Frequently used names in modules, by the minor version of Python 3 that added them, from "What's New in
/// Python" of each version.
const NAMES: &[(u32, &str, &[&str])] = &[
    (11, "asyncio", &["Runner", "TaskGroup", "timeout"]),
    (11, "contextlib", &["chdir"]),
    (11, "datetime", &["UTC"]),
    (11, "enum", &["StrEnum", "verify"]),
    (
        11,
        "typing",
        &[
            "LiteralString",
            "Never",
            "NotRequired",
            "Required",
            "Self",
            "assert_never",
            "assert_type",
            "reveal_type",
        ],
    ),
    (12, "collections.abc", &["Buffer"]),
    (12, "inspect", &["BufferFlags", "markcoroutinefunction"]),
    (12, "itertools", &["batched"]),
    (12, "typing", &["TypeAliasType", "get_protocol_members", "override"]),
    (13, "copy", &["replace"]),
    (13, "queue", &["ShutDown"]),
    (13, "typing", &["NoDefault", "ReadOnly", "TypeIs", "is_protocol"]),
    (13, "warnings", &["deprecated"]),
    (14, "concurrent.futures", &["InterpreterPoolExecutor"]),
    (14, "functools", &["Placeholder"]),
    (14, "uuid", &["uuid6", "uuid7", "uuid8"]),
];

/// New syntax by minor version, as a pattern for the line that a `SyntaxError` shows.
const SYNTAX: &[(u32, &str)] = &[
    (11, r"^except\s*\*"),
    (12, r"^type\s+\w+\s*(?:\[|=)"),
    (12, r"^(?:async\s+)?(?:def|class)\s+\w+\s*\["),
    (12, r#"\bf"[^"]*\{[^}"]*"[^"]*"[^}]*\}|\bf'[^']*\{[^}']*'[^']*'[^}]*\}|\bf["'].*\{[^}]*\\"#),
    (14, r"^except\s+[\w.]+\s*,"),
    (14, r#"\bt["']"#),
];

/// Prints the minor version of this Python.
pub(super) const MINOR: &str = "import sys; print(sys.version_info[1])";

/// Exits with 42 if this Python cannot import the module and the Python of the image has it: certainly, or
/// because this Python should have it. Small images have no window system.
pub(super) const IMPORT: &str = "
import importlib, sys
name, full, certain = sys.argv[1], sys.argv[2] == 'full', sys.argv[3] == 'certain'
elsewhere = {'winreg', 'winsound', 'msvcrt', 'nt', '_winapi', '_overlapped', '_wmi', '_scproxy', 'msilib', '_msi'}
windows = {'tkinter', '_tkinter', 'turtle', 'turtledemo'}
top = name.split('.')[0]
known = certain or top in sys.stdlib_module_names or top == 'pip'
if not known or top in elsewhere or top in windows and not full:
    sys.exit(0)
try:
    importlib.import_module(name if certain else top)
except ImportError:
    sys.exit(42)
";

/// The Python of a base image, according to its name.
pub(super) struct Interpreter {
    /// Whether it is an image of Python.
    pub(super) has_python: bool,
    /// Whether it is an unknown image, which may have any Python.
    is_unknown: bool,
    /// Minor version, if the tag has it.
    minor: Option<u32>,
    /// Whether it is a small image.
    is_small: bool,
}

/// Knowledge about a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// The Python of the image has it.
    Certainly,
    /// The Python of the image does not have it.
    Not,
    /// The Python of the image has it if that of this machine has it.
    AsHere,
}

impl Interpreter {
    /// The Python of the image `base`.
    pub(super) fn of(base: &str) -> Self {
        let (name, tag) = named(base);
        let is_named = name.contains("python") || name.contains("pypy");
        let has_python = is_named || tag.contains("python") || tag.contains("pypy");
        let is_other =
            || is_system(base, &name) || PROGRAMS.iter().any(|(images, _)| images.contains(&name.as_str()));
        let is_unknown = !has_python && !is_other();
        Self { has_python, is_unknown, minor: version(&name, &tag, is_named), is_small: is_small(&tag) }
    }

    /// `full` or `small`.
    pub(super) fn size(&self) -> &'static str {
        if self.has_python && !self.is_small { "full" } else { "small" }
    }

    /// Whether the module `name` belongs to it.
    pub(super) fn has(&self, name: &str) -> Belongs {
        let since = |table: &[(u32, &[&str])]| {
            table.iter().find(|(_, names)| names.contains(&name)).map(|(minor, _)| *minor)
        };
        let (added, removed) = (since(ADDED), since(REMOVED));
        let is_listed = added.is_some() || removed.is_some();
        if !is_listed || !self.has_python && !self.is_unknown {
            return Belongs::AsHere;
        }
        // A tag without a version is the newest version.
        let minor = self.minor.unwrap_or(u32::MAX);
        let is_there =
            added.is_none_or(|added| added <= minor) && removed.is_none_or(|removed| minor < removed);
        if is_there { Belongs::Certainly } else { Belongs::Not }
    }

    /// The minor version that supports the name or syntax that Python rejected in `said`, if the Python of
    /// the image supports it.
    pub(super) fn newer(&self, said: &str) -> Option<(u32, String)> {
        static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
            let import = r"cannot import name '(\w+)' from '([\w.]+)'";
            let attribute = r"module '([\w.]+)' has no attribute '(\w+)'";
            Regex::new(&format!("{import}|{attribute}")).ok()
        });
        if !self.has_python {
            return None;
        }
        let minor = self.minor.unwrap_or(u32::MAX);
        let lines: Vec<&str> = said.lines().rev().take(50).collect();
        let named = lines.iter().filter_map(|line| NAMED.as_ref()?.captures(line)).find_map(|found| {
            let group = |at: usize| found.get(at).map(|text| text.as_str());
            let (module, name) = group(2).zip(group(1)).or_else(|| group(3).zip(group(4)))?;
            let known = |(_, of, names): &&(u32, &str, &[&str])| *of == module && names.contains(&name);
            NAMES.iter().find(known).map(|(since, ..)| (*since, format!("`{name}` of `{module}`")))
        });
        let syntax = || {
            lines.iter().find(|line| line.starts_with("SyntaxError"))?;
            let matches =
                |line: &str, pattern: &str| Regex::new(pattern).is_ok_and(|regex| regex.is_match(line));
            let mut shown = lines.iter().map(|line| line.trim());
            let known = |line: &str| SYNTAX.iter().find(|(_, pattern)| matches(line, pattern));
            shown.find_map(|line| Some((known(line)?.0, format!("the syntax of `{line}`"))))
        };
        named.or_else(syntax).filter(|(since, _)| *since <= minor)
    }

    /// What to install to get the same Python.
    pub(super) fn needed(&self, certainty: Belongs) -> String {
        match (certainty, self.minor) {
            (Belongs::Certainly, Some(minor)) => format!("install Python 3.{minor} here"),
            (Belongs::Certainly, None) => "install a newer Python here".to_owned(),
            _ => {
                "install the complete Python here, for example with `apt-get install python3-full`".to_owned()
            }
        }
    }
}

/// The minor version in the name or the tag of an image: `python:3.14-slim`, `uv:python3.14`, `python-314`.
fn version(name: &str, tag: &str, is_named: bool) -> Option<u32> {
    static SAID: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?:python|pypy|py)[-_]?3\.?([0-9]{1,2})\b").ok());
    static PLAIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?:^|-)3\.([0-9]{1,2})\b").ok());
    let read =
        |pattern: &Option<Regex>, text: &str| pattern.as_ref()?.captures(text)?.get(1)?.as_str().parse().ok();
    read(&SAID, tag).or_else(|| is_named.then(|| read(&PLAIN, tag)).flatten()).or_else(|| read(&SAID, name))
}

/// The last few modules that Python reported as missing.
pub(super) fn modules(said: &str) -> BTreeSet<&str> {
    static MISSING: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"No module named '?([A-Za-z_][A-Za-z0-9_]{0,63}(?:\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,4})(?:'|\s*$)").ok()
    });
    let Some(missing) = &*MISSING else { return BTreeSet::new() };
    let lines: Vec<&str> = said.lines().rev().take(50).collect();
    // Message of the Python of Debian about a module that was removed from it.
    let ensurepip =
        lines.iter().any(|line| line.contains("ensurepip is not available")).then_some("ensurepip");
    let names = lines.into_iter().flat_map(|line| missing.captures_iter(line));
    let names = names.filter_map(|found| found.get(1)).map(|name| name.as_str());
    ensurepip.into_iter().chain(names).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_read_from_what_python_says() {
        let said = "x\nModuleNotFoundError: No module named 'http.server'\nImportError: No module named 'json'\nNo module named 'a b'";
        assert_eq!(modules(said).into_iter().collect::<Vec<_>>(), ["http.server", "json"]);
        let said = "No module named 'string.templatelib'; 'string' is not a package";
        assert_eq!(modules(said).into_iter().collect::<Vec<_>>(), ["string.templatelib"]);
        assert_eq!(
            modules("/usr/bin/python3: No module named pip\n").into_iter().collect::<Vec<_>>(),
            ["pip"]
        );
        assert_eq!(
            modules("because ensurepip is not available.").into_iter().collect::<Vec<_>>(),
            ["ensurepip"]
        );
    }

    #[test]
    fn a_newer_python_knows_more_names_and_syntax() {
        let newer = |base: &str, said: &str| Interpreter::of(base).newer(said).map(|(since, _)| since);
        let import =
            "ImportError: cannot import name 'override' from 'typing' (/usr/lib/python3.11/typing.py)";
        assert_eq!(newer("python:3.12-slim", import), Some(12));
        assert_eq!(newer("python:3.11", import), None, "the image does not know it either");
        assert_eq!(
            newer("python", "AttributeError: module 'itertools' has no attribute 'batched'"),
            Some(12)
        );
        assert_eq!(newer("python:3.13", "ImportError: cannot import name 'overide' from 'typing'"), None);
        for (line, since) in [
            ("type X = int", Some(12)),
            ("    def first[T](items: list[T]) -> T:", Some(12)),
            ("print(f\"{d[\"a\"]}\")", Some(12)),
            ("    except ValueError, TypeError:", Some(14)),
            ("name = t\"hello {x}\"", Some(14)),
            ("type(x) = int", None),
            ("prin(f\"{d['a']}\"", None),
            ("def f(x:", None),
        ] {
            let said = format!("  File \"m.py\", line 1\n    {line}\n    ^^^\nSyntaxError: invalid syntax\n");
            assert_eq!(newer("python:3.14", &said), since, "{line}");
        }
        assert_eq!(newer("node:22", import), None);
    }

    #[test]
    fn the_version_of_an_image_says_which_modules_it_has() {
        use Belongs::{AsHere, Certainly, Not};
        for (base, module, belongs) in [
            ("python:3.14-slim", "annotationlib", Certainly),
            ("docker.io/library/python:3.13@sha256:0", "annotationlib", Not),
            ("python:3.13-slim", "_pyrepl", Certainly),
            ("python", "compression", Certainly),
            ("ghcr.io/astral-sh/uv:python3.14-bookworm-slim", "compression.zstd", Certainly),
            ("ghcr.io/astral-sh/uv:0.9-python3.13-alpine", "compression", Not),
            ("python:3.14", "string.templatelib", Certainly),
            ("python:3.11", "distutils", Certainly),
            ("python:3.12", "distutils", Not),
            ("python:3", "distutils", Not),
            ("registry.access.redhat.com/ubi9/python-312", "cgi", Certainly),
            ("tiangolo/uvicorn-gunicorn-fastapi:python3.11", "imp", Certainly),
            ("python:3.15-rc", "profiling.sampling", Certainly),
            ("python:3.14-rc", "sre_parse", Certainly),
            ("python:3.14", "json", AsHere),
            ("python:3.14", "requests", AsHere),
            ("example.com/own:1", "annotationlib", Certainly),
            // A program installs the Python of the system itself.
            ("debian:12", "annotationlib", AsHere),
            ("node:22", "annotationlib", AsHere),
        ] {
            assert_eq!(Interpreter::of(base).has(module), belongs, "{base} {module}");
        }
        for (base, has_python) in [
            ("ghcr.io/astral-sh/uv:python3.14", true),
            ("ghcr.io/astral-sh/uv:0.9", false),
            ("node:22", false),
        ] {
            assert_eq!(Interpreter::of(base).has_python, has_python, "{base}");
        }
    }
}
