//! The documentation is true: its examples are sound, its commands do what it says, its generated page is up to date.
//! `UPDATE_DOCS=1` writes `docs/verbs.md` anew.
#![expect(clippy::disallowed_methods, reason = "tests read the documentation and run its commands")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use atoll::chromium::{self, Chromium};
use atoll::llm::registry::Registry;
use atoll::llm::{Cassette, Models};
use atoll::plan::{MemorySources, load};
use atoll::report::diagnostics::render_text;
use atoll::runtime::process::Host;
use atoll::runtime::service::{RuntimeSettings, Runtimes};
use atoll::schema::Schema;
use atoll::secrets::EnvSecrets;
use atoll::verb::Catalog;
use atoll::verbs::{VerbDependencies, catalog};
use regex::Regex;

use crate::binary::Project;
use crate::recorded::{has_image, there};

/// Pages whose commands are run, in the order in which they stand.
const PAGES: [&str; 4] = ["README.md", "docs/factory.md", "docs/running.md", "docs/validate.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn verbs() -> Catalog {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_atoll"));
    catalog(VerbDependencies {
        models: Models::new(
            Registry::embedded().unwrap(),
            Arc::new(EnvSecrets::default()),
            Cassette::default(),
        ),
        runtimes: Runtimes::new(RuntimeSettings::new(program.clone(), PathBuf::from("images"))),
        host: Host::new(program, String::new(), String::new()),
        chromium: Chromium::new(chromium::ChromiumSettings::default()),
        coders: atoll::coding_agents::CodingAgents::embedded().unwrap(),
        programs: atoll::verbs::agent::Programs::default(),
    })
}

/// What examples read without declaring it, by the text that reads it.
const AROUND: [(&str, &str); 6] = [
    ("inputs.name", "[inputs.name]\ntype = 'string'\ndefault = 'Ada'\n"),
    ("inputs.graded", "[inputs.graded]\ntype = 'list'\ndefault = []\n"),
    ("inputs.observed", "[inputs.observed]\ntype = 'string'\ndefault = ''\n"),
    ("inputs.scenarios", "[inputs.scenarios]\ntype = 'dir'\nrequired = true\n"),
    ("steps.code.", "[steps.code]\npack = { files = { Dockerfile = 'FROM scratch' } }\n"),
    ("steps.build.", "[steps.build]\ndocker_build = { tree = '{{ run.id }}' }\n"),
];

/// What surrounds an example that works on an item, on what is held.
const TRIAL: &str = "[steps.cases]\nscenario_load = { dir = 'scenarios' }\n\
    [steps.all.each]\nover = 'steps.cases.output.scenarios'\n\
    [steps.all.steps.up]\nhold = { service = { image = 'x' } }\n";

/// An example as a whole pipeline.
fn whole(example: &str) -> String {
    let mut pipeline = String::from("atoll = 1\n");
    for (name, declared) in AROUND {
        let head = declared.lines().next().unwrap_or_default();
        if example.contains(name) && !example.contains(head) {
            pipeline.push_str(declared);
        }
    }
    if example.contains("held.") {
        pipeline.push_str(TRIAL);
        pipeline.push_str(&example.replace("[steps.", "[steps.all.steps.up.steps."));
    } else {
        pipeline.push_str(example);
    }
    // A `hold` is shown without what happens meanwhile.
    if example.contains("hold = {") && !example.contains(".steps.") {
        pipeline.push_str("\n[steps.up.steps.meanwhile]\nset = { url = '{{ held.url }}' }\n");
    }
    pipeline
}

#[test]
fn every_example_of_a_verb_is_a_sound_pipeline() {
    let catalog = verbs();
    let named: Vec<(&str, &str)> = catalog
        .verbs()
        .map(|verb| (verb.name(), verb.example()))
        .chain(catalog.resources().map(|held| (held.name(), held.example())))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    for (name, example) in named {
        let shown = Regex::new(&format!(r"\b{name}(\]| *=)")).unwrap();
        assert!(shown.is_match(example), "the example of `{name}` does not show it:\n{example}");
        let pipeline = whole(example);
        let door = MemorySources::new([
            ("pipelines/main.toml", pipeline.as_str()),
            ("schemas/verdict.json", r#"{"type": "object", "properties": {"score": {"type": "integer"}}}"#),
        ]);
        let loaded = load("main", &door, &catalog, &[]);
        let complaints = render_text(&loaded.diagnostics, &loaded.sources, false);
        let sound = loaded.diagnostics.is_empty();
        assert!(sound, "the example of `{name}`:\n{complaints}\n{pipeline}");
    }
}

#[test]
fn an_example_with_a_mistake_is_found() {
    let pipeline = whole("[steps.greet]\nshell = { argv = ['echo', '{{ inputs.nam }}'], timout = '10s' }\n");
    let loaded = load("main", &MemorySources::new([("pipelines/main.toml", pipeline)]), &verbs(), &[]);
    assert_eq!(loaded.diagnostics.len(), 2, "{}", render_text(&loaded.diagnostics, &loaded.sources, false));
}

#[test]
fn every_schema_of_a_verb_compiles() {
    let catalog = verbs();
    let of_verbs = catalog.verbs().map(|verb| (verb.name(), verb.with_schema(), verb.out_schema()));
    let of_held = catalog.resources().map(|held| (held.name(), held.with_schema(), held.held_schema()));
    for (name, with, out) in of_verbs.chain(of_held) {
        for (side, schema) in [("takes", with), ("gives", out)] {
            assert!(schema.is_object(), "what `{name}` {side}: {schema}");
            let compiled = Schema::compile(format!("{name} {side}"), schema);
            assert!(compiled.is_ok(), "{}", compiled.err().map(|e| e.to_string()).unwrap_or_default());
        }
    }
}

/// The page of all verbs, made of what `atoll explain verb NAME` says.
fn page() -> String {
    let project = Project::new();
    let mut page = String::from(
        "# Verbs\n\nWhat a step can do, and what `hold` can hold. The control verbs `loop each hold call ask compute` are \
         part of [the language](language.md).\n`atoll explain verb NAME` says the same, `atoll verbs --format json` has the \
         whole schemas. This page is generated from them.\n",
    );
    let catalog = verbs();
    let names = catalog.verbs().map(|verb| verb.name()).chain(catalog.resources().map(|held| held.name()));
    for name in names {
        let told = project.run(&["explain", "verb", name]).exits(0).stdout;
        let (about, example) = told.split_once("\nExample\n").expect(name);
        for (at, line) in about.lines().enumerate() {
            if let Some(summary) = line.strip_prefix(name).filter(|_| at == 0) {
                let _ = writeln!(page, "\n## {name}\n\n{}\n", summary.trim());
            } else if let Some(key) = line.strip_prefix("  ") {
                page.push_str(&entry(key));
            } else if line.is_empty() || line.starts_with("lane ") {
                let _ = writeln!(page, "{line}");
            } else {
                let _ = writeln!(page, "### {line}\n");
            }
        }
        let _ = writeln!(page, "\n```toml\n{}\n```", example.trim());
    }
    page
}

/// `name  type. what it is` as an item of a list; other text as it is.
fn entry(line: &str) -> String {
    match line.split_once("  ") {
        Some((name, about)) => format!("- `{name}`: {}\n", about.trim()),
        None => format!("{line}\n"),
    }
}

#[test]
fn the_page_of_verbs_is_up_to_date() {
    let page = page();
    let path = root().join("docs/verbs.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "docs/verbs.md is not up to date: UPDATE_DOCS=1 cargo test --test suite docs::";
    assert!(written == page, "{hint}");
}

#[test]
fn the_language_reference_has_all_tests() {
    let page = text("docs/language.md");
    let section =
        page.split("### Filters and tests").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap();
    for name in atoll::expr::tests() {
        assert!(section.contains(&format!("`{name}`")), "{name} is missing in docs/language.md");
    }
}

/// The page of all filters. Their examples are run by the unit tests of the table.
fn filters_page() -> String {
    let mut page = String::from(
        "# Filters\n\n\
         A filter changes a value: `value | NAME(…)`. It works in every expression and every template.\n\
         [The language](language.md#expressions-and-templates) says where these are. An argument with `=` is\n\
         optional, and `*more` takes any number of arguments. `atoll explain filters` lists all filters, and\n\
         `atoll explain filter NAME` shows one.\n\n\
         Filters depend on their arguments alone, so a resumed run gets the same values. Those that choose at\n\
         random (`choice`, `gauss`, `randint`, `random`, `sample`, `shuffle`) take a seed. A moment (`add`,\n\
         `date`, `since`) is text in ISO 8601, such as `run.started_at`, or a number of seconds since 1970.\n\n\
         This page is generated from the table of filters.\n",
    );
    for filter in atoll::expr::filters() {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n- call: `{}`\n- works on: {}\n- example: `` {} ``\n- result: `` {} ``\n",
            filter.name,
            filter.doc,
            filter.call(),
            filter.works_on(),
            filter.example,
            filter.gives,
        );
    }
    page
}

#[test]
fn the_page_of_filters_is_up_to_date() {
    let page = filters_page();
    let path = root().join("docs/filters.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "docs/filters.md is not up to date: UPDATE_DOCS=1 cargo test --test suite docs::";
    assert!(written == page, "{hint}");
}

/// A fenced block of a page: its kind, the line that it begins on, its text.
struct Block {
    kind: String,
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text(page).lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block { kind: kind.to_owned(), line: at + 2, text: String::new() });
            }
            (None, None) => {}
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    blocks
}

/// The command of a line of a console, if it is one.
fn command(line: &str) -> Option<&str> {
    line.strip_prefix("$ ")
}

/// Runs commands one after another in one shell, and says what a terminal would show of each.
fn console(project: &Project, commands: &[&str]) -> Vec<String> {
    let mut script = String::from("exec 2>&1\n");
    for command in commands {
        let _ = writeln!(script, "{command}\nprintf '\\036'");
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_atoll")).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(project.path(""))
        .env_clear()
        .env("HOME", project.path("home"))
        .env("PATH", format!("{}:/usr/bin:/bin", binary.display()))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split('\u{1e}').take(commands.len()).map(str::to_owned).collect()
}

/// Output without what differs from run to run.
fn lasting(output: &str) -> String {
    let rules = [
        (r"\b01[0-9a-z]{24}\b", "RUN"),
        (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z", "MOMENT"),
        (r"(?m)^\d\d:\d\d:\d\d", "TIME"),
        // Numbers in a column are padded.
        (r" +\d+(\.\d+)? (ms|s)\b", " SPAN"),
        (r#""(duration_ms|at|seed|seq)":\d+"#, "NUMBER"),
        (r#""plan":"[0-9a-f]{64}""#, "PLAN"),
        // Only steps that take a while are said to begin.
        (r"(?m)^TIME ● .*\n", ""),
    ];
    let same = rules.iter().fold(output.to_owned(), |text, (from, to)| {
        Regex::new(from).unwrap().replace_all(&text, *to).into_owned()
    });
    same.trim_end().to_owned()
}

/// Whether `seen` is `told`, where a line `…` in `told` stands for any lines.
fn fits(told: &[&str], seen: &[&str]) -> bool {
    match told {
        [] => seen.is_empty(),
        ["…", rest @ ..] => (0..=seen.len()).any(|n| fits(rest, &seen[n..])),
        [line, rest @ ..] => seen.first() == Some(line) && fits(rest, &seen[1..]),
    }
}

/// Puts the files of a page into a project and runs its consoles, each from where the one before left off.
fn follow(page: &str) -> usize {
    follow_with(page, &[], |_| true)
}

/// The same, with words of the page replaced, and without the consoles that cannot be run here.
fn follow_with(page: &str, words: &[(&str, &str)], runs: impl Fn(&str) -> bool) -> usize {
    follow_in(&Project::new(), page, words, runs)
}

/// The same in a project that has files already. Returns how many commands were run.
pub(crate) fn follow_in(
    project: &Project,
    page: &str,
    words: &[(&str, &str)],
    runs: impl Fn(&str) -> bool,
) -> usize {
    let mut run = 0;
    for mut block in blocks(page) {
        block.text = words.iter().fold(block.text, |text, (word, other)| text.replace(word, other));
        if block.kind == "console" {
            if !runs(&block.text) {
                continue;
            }
            let commands: Vec<&str> = block.text.lines().filter_map(command).collect();
            let told: Vec<Vec<&str>> = block.text.lines().fold(Vec::new(), |mut told, line| {
                match (command(line), told.last_mut()) {
                    (Some(_), _) => told.push(Vec::new()),
                    (None, Some(last)) => last.push(line),
                    (None, None) => panic!("{page}:{}: output before any command", block.line),
                }
                told
            });
            for ((command, told), seen) in commands.iter().zip(told).zip(console(project, &commands)) {
                run += 1;
                let (told, seen) = (lasting(&told.join("\n")), lasting(&seen));
                let (told_lines, seen_lines): (Vec<&str>, Vec<&str>) =
                    (told.lines().collect(), seen.lines().collect());
                let line = block.line;
                assert!(
                    fits(&told_lines, &seen_lines),
                    "{page}:{line}: $ {command}\n--- told\n{told}\n--- seen\n{seen}"
                );
            }
        } else if let Some(path) = block.text.lines().next().and_then(|line| line.strip_prefix("# "))
            && (Path::new(path).extension().is_some() || path.ends_with("/Dockerfile"))
            && !path.contains(' ')
        {
            project.write(path, &block.text);
        }
    }
    run
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    assert!(follow("README.md") >= 5);
}

#[test]
fn the_commands_of_the_page_on_running_do_what_it_says() {
    assert!(follow("docs/running.md") >= 5);
}

#[test]
fn the_commands_of_the_page_on_the_factory_do_what_it_says() {
    assert!(follow("docs/factory.md") >= 2);
}

/// An image that is of no use to anybody afterwards.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        Command::new("docker").args(["image", "rm", "--force", &self.0]).output().ok();
    }
}

#[test]
fn the_commands_of_the_page_on_validating_do_what_it_says() {
    const TEST: &str = "the_commands_of_the_page_on_validating_do_what_it_says";
    // Readers have the port; here somebody else may.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let image = format!("atoll-docs-{port}");
    let words = [
        ("8080", port.as_str()),
        ("FROM python:3.12-slim", "FROM atoll/python:3"),
        ("--tag shop ", &format!("--tag {image} ")),
        ("--image shop ", &format!("--image {image} ")),
    ];
    let (process, docker) =
        (there("process", TEST), there("docker", TEST) && has_image("python:3.12-slim", TEST));
    let runs = |block: &str| {
        (process || !block.contains("--runtime process")) && (docker || !block.contains("docker build"))
    };
    let built = Image(image);
    let run = follow_with("docs/validate.md", &words, runs);
    drop(built);
    assert!(run >= 9, "{run}");
}

/// The words of every `atoll run …` in the blocks of a page that are not run.
fn unrun(page: &str) -> Vec<Vec<String>> {
    let mut runs = Vec::new();
    for block in blocks(page).iter().filter(|block| block.kind == "sh") {
        for line in block.text.replace("\\\n", " ").lines() {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            if words.starts_with(&["atoll".to_owned(), "run".to_owned()]) {
                runs.push(words[1..].to_vec());
            }
        }
    }
    runs
}

/// The inputs of a recorded example.
fn recorded(example: &str) -> Vec<String> {
    let text = text(&format!("examples/{example}/run.args"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// `atoll plan` says whether a pipeline takes these options, without running it; how a run is carried out it does not
/// take.
#[track_caller]
fn is_planned(mut words: Vec<String>) {
    while let Some(at) = words.iter().position(|word| word == "--record" || word == "--replay") {
        words.drain(at..at + 2);
    }
    "plan".clone_into(&mut words[0]);
    let output = Command::new(env!("CARGO_BIN_EXE_atoll")).args(&words).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{words:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_run_that_needs_a_model_is_understood() {
    let runs: Vec<Vec<String>> = PAGES.iter().flat_map(|page| unrun(page)).collect();
    assert!(runs.len() >= 3 && runs.iter().any(|words| words[1] == "calibrate-judge"), "{runs:?}");
    runs.into_iter().for_each(is_planned);
    for example in ["greeting", "roman", "hello-api"] {
        is_planned([vec!["run".to_owned(), "factory".to_owned()], recorded(example)].concat());
    }
}

#[test]
fn the_commands_that_set_up_are_there() {
    use std::os::unix::fs::PermissionsExt;
    let readme = text("README.md");
    for path in ["examples/run.sh", "tests/run.sh"] {
        assert!(readme.contains(path), "{path} is not in README.md");
        let mode = std::fs::metadata(root().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{path} is not executable");
        let checked = Command::new("bash").arg("-n").arg(root().join(path)).status().unwrap();
        assert!(checked.success(), "{path}");
    }
}

/// The words behind `examples/run.sh` of every line of README.md that needs no model server.
fn example_runs() -> Vec<Vec<String>> {
    let page = text("README.md");
    let lines = page.lines().filter_map(|line| line.strip_prefix("examples/run.sh"));
    let words = lines.map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
    let runs = words.map(|words| words.map(str::to_owned).collect::<Vec<_>>());
    runs.filter(|words| !words.iter().any(|word| word == "--live")).collect()
}

#[test]
fn the_examples_of_the_readme_grow_their_programs() {
    let runs = example_runs();
    assert!(runs.len() >= 3 && runs.iter().any(|words| words.contains(&"--docker".to_owned())), "{runs:?}");
    for words in runs {
        // To the letter, as a reader would type it.
        let example = words.iter().find(|word| !word.starts_with("--")).map_or("greeting", String::as_str);
        let place = root().join("target").join(example);
        if place.exists() {
            std::fs::remove_dir_all(&place).unwrap();
        }
        let output = Command::new(root().join("examples/run.sh"))
            .args(&words)
            .env("ATOLL", env!("CARGO_BIN_EXE_atoll"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let docker = words.contains(&"--docker".to_owned());
        if docker {
            let house = format!("label=atoll.house={}", place.join("runs").display());
            Command::new("docker").args(["image", "prune", "--force", "--filter", &house]).output().ok();
        }
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (said(&output.stdout), said(&output.stderr));
        if output.status.code() == Some(77) {
            let required = std::env::var("ATOLL_REQUIRE").unwrap_or_default();
            let runtime = if docker { "docker" } else { "process" };
            assert!(!required.split(',').any(|name| name == runtime), "{out}{err}");
            println!("skipped: examples/run.sh {}: {}", words.join(" "), format!("{out}{err}").trim());
            continue;
        }
        assert_eq!(output.status.code(), Some(0), "{words:?}: {out}{err}");
        assert!(out.contains("status: converged"), "{words:?}: {out}{err}");
        assert!(place.join("program/Dockerfile").exists(), "{words:?}: {out}{err}");
    }
}

/// The pages of the documentation.
fn pages() -> Vec<String> {
    let names = std::fs::read_dir(root().join("docs")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages = names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
    pages.map(|name| format!("docs/{name}")).collect()
}

#[test]
fn every_pipeline_of_the_documentation_is_sound() {
    let (mut checked, mut wrong) = (0, String::new());
    for page in pages().into_iter().chain(["README.md".to_owned()]) {
        for block in blocks(&page) {
            if block.kind != "toml" || !block.text.trim_start().starts_with("atoll = 1") {
                continue;
            }
            let project = Project::new();
            project.write("pipelines/shown.toml", &block.text);
            let said = project.run(&["check", "shown"]);
            if !said.stderr.contains("no mistakes found") {
                let _ = writeln!(wrong, "{page}:{}:\n{}", block.line, said.stdout);
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(checked > 12, "{checked}");
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let beside =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned);
    let pages: Vec<String> = beside.into_iter().chain(pages()).collect();
    let link = Regex::new(r#"\]\(([^)#\s]+)[^)]*\)|src="([^"]+)""#).unwrap();
    let mut broken = BTreeSet::new();
    for page in &pages {
        let here = root().join(page).parent().unwrap().to_owned();
        for found in link.captures_iter(&text(page)) {
            let target = found.get(1).or(found.get(2)).unwrap().as_str();
            if !target.contains("://") && !here.join(target).exists() {
                broken.insert(format!("{page}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_has_the_exit_codes_of_the_program() {
    let help = Project::new().run(&["--help"]).exits(0).stdout;
    let table = help.split_once("Exit codes:\n").unwrap().1;
    let readme = text("README.md");
    for line in table.lines() {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "{line}");
    }
    let architecture = text("ARCHITECTURE.md");
    let promised = readme.split("## What is promised about crashes").nth(1).unwrap();
    let promised = promised.trim().split("\n\n").next().unwrap();
    assert!(promised.contains("exactly once"), "{promised}");
    assert!(architecture.contains(promised), "the promise of README.md is not that of ARCHITECTURE.md");
}
