//! The rules of the house, as tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot read the house has failed")]
#![expect(
    clippy::disallowed_methods,
    reason = "reads the sources of the house, and writes one page on request"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use atoll::diag::Code;

/// The rooms, each using only its own and those in front of it.
const ROOMS: [&str; 34] = [
    "clock",
    "duration",
    "id",
    "meter",
    "value",
    "visible",
    "json_path",
    "rooted_fs",
    "diag",
    "expr",
    "schema",
    "model",
    "verb",
    "tree",
    "plan",
    "engine",
    "store",
    "driver",
    "system_clock",
    "requests",
    "secrets",
    "confine",
    "relay",
    "runtime",
    "chromium",
    "llm",
    "coding_agents",
    "scenario",
    "verbs",
    "view",
    "report",
    "web",
    "embed",
    "cli",
];
/// The folders and files of `src/scenario`, each using only its own and those in front of it.
const SCENARIO: [&str; 12] = [
    "values",
    "reader",
    "answer",
    "checks",
    "network",
    "ports",
    "steps",
    "language",
    "load",
    "credentials",
    "run",
    "lint",
];
/// Rooms that know nothing of what steps do.
const PURE: [&str; 2] = ["plan", "engine"];
const FORBIDDEN: [&str; 5] = ["llm", "docker", "http", "prompt", "token"];
const LONGEST: usize = 500;
const DOOR: &str = "#![expect(clippy::disallowed_methods, reason = \"";

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

fn room(path: &Path) -> Option<usize> {
    let first = path.strip_prefix("src").ok()?.components().next()?;
    let name = first.as_os_str().to_str()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    ROOMS.iter().position(|room| *room == name)
}

/// The lines that are neither comments nor tests, numbered from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| {
        part.to_str()
            .is_some_and(|part| part == "tests" || part.contains("tests.rs") || part.contains("tests_"))
    })
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Every `crate::ROOM` that a line names, also in braces: `use crate::{plan, verb::Class};`.
fn rooms_named(line: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let inner = rest.strip_prefix('{').and_then(|list| list.split('}').next());
        for part in inner.unwrap_or(rest).split(',').take(if inner.is_some() { usize::MAX } else { 1 }) {
            let part = part.trim();
            named.push(&part[..part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len())]);
        }
    }
    named
}

#[test]
fn no_room_uses_one_that_stands_below_it() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let Some(own) = room(path) else { continue };
        for (at, line) in lines(text) {
            for name in rooms_named(line) {
                if ROOMS.iter().position(|room| *room == name).is_some_and(|other| other > own) {
                    wrong.push(format!("{}:{at}: `{}` must not use `{name}`", path.display(), ROOMS[own]));
                }
            }
        }
    }
    report(&wrong);
}

/// What a line names of `crate::scenario`, and the same for `crate::scenario::steps`.
fn inner_names<'l>(line: &'l str, module: &str) -> Vec<&'l str> {
    let names = line.split(module).skip(1);
    names
        .map(|rest| &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())])
        .collect()
}

#[test]
fn folders_of_scenario_use_only_those_in_front_of_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src/scenario")) {
        let Ok(inner) = path.strip_prefix("src/scenario") else { continue };
        let mut parts =
            inner.iter().filter_map(|part| part.to_str()).map(|part| part.trim_end_matches(".rs"));
        let (own, step_type) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(place) = SCENARIO.iter().position(|folder| *folder == own) else {
            if own != "mod" {
                wrong.push(format!("{} has no place in SCENARIO", path.display()));
            }
            continue;
        };
        let is_type = own == "steps" && path.iter().count() == 5;
        for (at, line) in lines(text) {
            for name in inner_names(line, "crate::scenario::") {
                if SCENARIO.iter().position(|folder| *folder == name).is_none_or(|other| other > place) {
                    wrong.push(format!("{}:{at}: `{own}` must not use `{name}`", path.display()));
                }
            }
            let others = inner_names(line, "crate::scenario::steps::");
            for name in others.into_iter().filter(|name| is_type && name.starts_with(char::is_lowercase)) {
                if name != step_type && Path::new("src/scenario/steps").join(name).is_dir() {
                    wrong.push(format!(
                        "{}:{at}: the step type `{step_type}` must not use `{name}`",
                        path.display()
                    ));
                }
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_law_of_imports_is_looked_at_rightly() {
    assert_eq!(rooms_named("use crate::plan::Plan;"), ["plan"]);
    assert_eq!(rooms_named("use crate::{plan, verb::Class};"), ["plan", "verb"]);
    assert_eq!(rooms_named("fn f(a: crate::id::StepId, b: crate::value::Value)"), ["id", "value"]);
    assert!(rooms_named("use std::fmt;").is_empty());
}

#[test]
fn commands_do_not_use_each_other_and_nothing_uses_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src/cli")) {
        let inside = path.starts_with("src/cli/commands") && !path.ends_with("mod.rs");
        for (at, line) in lines(text) {
            let sibling = inside && line.contains("super::") && !line.contains("super::*");
            let own = path.ends_with("command_line.rs") && line == "use crate::cli::commands::Command;";
            if sibling || line.contains("cli::commands::") && !own {
                wrong.push(format!("{}:{at}: commands share code outside `commands/`", path.display()));
            }
        }
        if inside && !(text.contains("pub struct Args") && text.contains("pub fn run(app: &App, ")) {
            wrong.push(format!("{} has no `Args` and `run(&App, &Args)`", path.display()));
        }
    }
    report(&wrong);
}

#[test]
fn every_room_has_its_place_in_the_order() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let known = room(&path).is_some() || path.ends_with("main.rs") || path.ends_with("lib.rs");
        if !known {
            wrong.push(format!("{} is no room: give it a place in ROOMS", path.display()));
        }
    }
    report(&wrong);
}

#[test]
fn plan_and_engine_do_not_know_what_steps_do() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !room(&path).is_some_and(|own| PURE.contains(&ROOMS[own])) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_lowercase);
            for word in words.filter(|word| FORBIDDEN.contains(&word.as_str())) {
                wrong.push(format!("{}:{}: `{word}` is a word of verbs", path.display(), at + 1));
            }
        }
    }
    report(&wrong);
}

#[test]
fn units_of_spending_and_durations_have_one_home() {
    let units: Vec<String> =
        atoll::meter::Unit::ALL.iter().map(|unit| format!("\"{}\"", unit.word())).collect();
    // The names of a kind of fact and of a type of input are the same words.
    let others = ["Self::Lost => \"lost\",", "\"usd\" => InputKind::Usd,", "    \"usd\","];
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let name = room(path).map(|own| ROOMS[own]).unwrap_or_default();
        for (at, line) in lines(text) {
            let unit = units.iter().find(|unit| line.contains(*unit));
            if let (Some(unit), true, false) = (
                unit,
                ["plan", "engine", "driver"].contains(&name),
                others.iter().any(|other| line.ends_with(other)),
            ) {
                wrong.push(format!("{}:{at}: write `Unit` instead of `{unit}`", path.display()));
            }
            if line.contains("jiff::SignedDuration") || line.contains("jiff::Span") {
                wrong.push(format!("{}:{at}: read and write durations with `duration`", path.display()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn only_doors_touch_the_world() {
    const CALLS: [&str; 12] = [
        "std::fs::",
        "std::env::var",
        "std::process::Command",
        "tokio::process::Command",
        "std::process::exit",
        "tokio::net::",
        "TcpListener::bind",
        "TcpStream::connect",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "tokio::time::sleep",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let head = text
            .lines()
            .take_while(|line| line.starts_with("//") || line.starts_with('#') || line.is_empty());
        let door = head.clone().any(|line| line.starts_with(DOOR) || line.starts_with("#![expect("))
            && text.contains("clippy::disallowed_methods");
        for (at, line) in lines(text) {
            let import = line.trim_start().starts_with("use ");
            if let Some(call) = CALLS
                .iter()
                .find(|call| line.contains(**call) && line.contains('('))
                .filter(|_| !door && !import)
            {
                wrong.push(format!("{}:{at}: `{call}` outside a door", path.display()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn no_file_is_too_long_and_every_room_says_what_it_is() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let count = text.lines().count();
        if count > LONGEST {
            wrong.push(format!("{} has {count} lines, more than {LONGEST}", path.display()));
        }
        let head = path.ends_with("mod.rs") && path.iter().count() == 3;
        if head && !text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with what lives here", path.display()));
        }
        let allowed =
            text.lines().any(|line| line.trim_start().starts_with("#[allow") || line.starts_with("#![allow"));
        if allowed {
            wrong.push(format!("{} has an `allow`: write `expect` with a reason", path.display()));
        }
    }
    report(&wrong);
}

/// The page of all codes. `UPDATE_DOCS=1 cargo test --test tidy` writes it.
fn page() -> String {
    let mut page = String::from(
        "# Diagnostics\n\nEvery complaint about a pipeline, an input or a scenario has a code that keeps its meaning.\n\
         `atoll explain CODE` prints the same text. This page is generated from the codes.\n",
    );
    for code in Code::ALL {
        let _ = write!(
            page,
            "\n## {} · {}\n\n*{}.* {}\n",
            code.number(),
            code.title(),
            code.severity().word(),
            code.explanation()
        );
    }
    page
}

#[test]
fn every_code_is_unique_and_documented() {
    let numbers: BTreeSet<&str> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(numbers.len(), Code::ALL.len(), "a code is used twice");
    report(
        &Code::ALL
            .iter()
            .filter(|code| code.explanation().is_empty())
            .map(|code| format!("{code} has no explanation"))
            .collect::<Vec<_>>(),
    );
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write("docs/errors.md", &page).unwrap();
    }
    let written = std::fs::read_to_string("docs/errors.md").unwrap_or_default();
    assert!(written == page, "docs/errors.md is not up to date: UPDATE_DOCS=1 cargo test --test tidy");
}
