//! `scenario_load`: the scenarios of a directory, checked as a whole.
#![expect(clippy::disallowed_methods, reason = "a door: reads the scenario directory")]

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::complaint::render;
use super::place::Named;
use crate::diag::{Code, Diagnostic, Severity};
use crate::rooted_fs::read_file;
use crate::scenario::{Files, Scenario, load_given};
use crate::value::{Digest, Value};
use crate::verb::{Context, Failure, Output, Traits, Verb};

/// Reads the scenario files of a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScenarioLoad;

/// What `scenario_load` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The directory, or a single scenario file: a path, or the value of an input of type `dir`, `file` or `path`. Of a
    /// directory, its `*.yaml` and `*.yml` files are read, and those of
    /// directories in it; what lies in a directory called `fixtures` are fixtures.
    pub dir: Named,
    /// Names of the variables that the scenarios are given when they are run, so that their placeholders are no mistake.
    #[serde(default)]
    pub given: Vec<String>,
}

/// What `scenario_load` brings back.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Out {
    /// The scenarios, sorted by id.
    pub scenarios: Vec<Scenario>,
    /// How many there are.
    pub count: usize,
    /// Digest of the names and texts of all files.
    pub digest: String,
    /// Warnings, one text each, as they are printed.
    pub warnings: Vec<String>,
}

/// The directory that holds what scenarios share, beside them or deeper.
const FIXTURES: &str = "fixtures";

/// Most bytes of one file.
const LARGEST: u64 = 8 << 20;

impl Verb for ScenarioLoad {
    const NAME: &'static str = "scenario_load";
    const SUMMARY: &'static str = "read the scenario files of a directory and check them all";
    const TRAITS: Traits = Traits::repeatable("disk");
    const READS_FILES: bool = true;
    const EXAMPLE: &'static str = r#"
[steps.cases]
scenario_load = { dir = "{{ inputs.scenarios }}" }
"#;
    type With = With;
    type Out = Out;

    async fn run(&self, with: With, cx: Context) -> Result<Output<Out>, Failure> {
        let With { dir, given } = with;
        let path = dir.path().to_owned();
        let dir = cx.workspace.project.join(&path);
        let read = tokio::task::spawn_blocking(move || read_and_load(&dir, &path, &given)).await;
        let out = read.map_err(|e| Failure::permanent(format!("the scenarios could not be read: {e}")))??;
        for warning in &out.warnings {
            cx.progress.line(warning);
        }
        Ok(Output::free(out))
    }
}

fn read_and_load(dir: &Path, shown: &str, given: &[String]) -> Result<Out, Failure> {
    let (files, mut unreadable) = read_files(dir, shown)?;
    let all = files.scenarios.iter().chain(&files.fixtures);
    let texts: Vec<Value> = all.map(|(name, text)| json!([name, Digest::of(text)])).collect();
    let digest = Digest::of_value(&texts.into()).to_string();
    // A directory whose files are all unreadable has files: only the complaints about them are of use.
    let (scenarios, sources, mut complaints) = if files.scenarios.is_empty() && !unreadable.is_empty() {
        Default::default()
    } else {
        load_given(files, given)
    };
    let broken = |complaint: &Diagnostic| complaint.severity == Severity::Error;
    if unreadable.is_empty() && !complaints.iter().any(broken) {
        let warnings = complaints.iter().map(|complaint| render(complaint, &sources)).collect();
        return Ok(Out { count: scenarios.len(), scenarios, digest, warnings });
    }
    complaints.retain(broken);
    unreadable.extend(complaints.iter().map(|complaint| render(complaint, &sources)));
    let count = unreadable.len();
    let files = if count == 1 { "an error".to_owned() } else { format!("{count} errors") };
    Err(Failure::permanent(format!("{files} in the scenarios of {shown}\n{}", unreadable.join("\n")))
        .hint("mend the files; `atoll explain CODE` tells more about an error")
        .detail(json!({ "diagnostics": unreadable })))
}

/// The scenario files of a directory and of the directories in it, with their fixtures, and complaints about those that
/// cannot be read. They are called by the name `shown` of the directory.
pub fn read_files(dir: &Path, shown: &str) -> Result<(Files, Vec<String>), Failure> {
    let mut found = Found::default();
    if dir.is_file() {
        found.only(dir, shown);
    } else {
        found.look(dir, shown, false).map_err(|e| {
            Failure::permanent(format!("the scenarios {shown} cannot be read: {e}"))
                .hint("give a scenario file, or a directory that has .yaml or .yml files")
        })?;
    }
    let ((scenarios, own), (fixtures, theirs)) = (read_all(found.scenarios), read_all(found.fixtures));
    let complaints = found.unreadable.into_iter().chain(own).chain(theirs).collect();
    Ok((Files { scenarios, fixtures }, complaints))
}

/// Where the files lie, and what they are called.
#[derive(Default)]
struct Found {
    scenarios: Vec<(PathBuf, String)>,
    fixtures: Vec<(PathBuf, String)>,
    unreadable: Vec<String>,
}

impl Found {
    /// The one scenario file `path`, and the fixtures in the directory `fixtures` next to it.
    fn only(&mut self, path: &Path, shown: &str) {
        self.scenarios.push((path.to_owned(), shown.to_owned()));
        let fixtures = path.with_file_name(FIXTURES);
        if fixtures.is_dir() {
            let shown = Path::new(shown).with_file_name(FIXTURES).display().to_string();
            if let Err(error) = self.look(&fixtures, &shown, true) {
                let code = Code::ScenarioFile;
                self.unreadable.push(format!("{shown}:1:1: error[{code}]: it cannot be read: {error}"));
            }
        }
    }

    /// Looks into `dir`, by name, and into the directories in it. Files may be symbolic links; directories that are, are not
    /// followed, because they may lead in a circle. What begins with a dot is passed over.
    fn look(&mut self, dir: &Path, shown: &str, among_fixtures: bool) -> io::Result<()> {
        let mut entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(DirEntry::file_name);
        let (directories, files): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        for entry in files {
            let path = entry.path();
            let wanted = matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml"));
            if wanted && path.is_file() {
                let named = named(&path, shown);
                let list = if among_fixtures { &mut self.fixtures } else { &mut self.scenarios };
                list.push((path, named));
            }
        }
        for entry in directories {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let shown = named(&path, shown);
            if let Err(error) = self.look(&path, &shown, among_fixtures || name == FIXTURES) {
                let code = Code::ScenarioFile;
                self.unreadable.push(format!("{shown}:1:1: error[{code}]: it cannot be read: {error}"));
            }
        }
        Ok(())
    }
}

type Texts = (Vec<(String, String)>, Vec<String>);

/// Names and texts of files, and complaints about those that cannot be read.
fn read_all(paths: Vec<(PathBuf, String)>) -> Texts {
    let (mut files, mut complaints) = (Vec::new(), Vec::new());
    for (path, name) in paths {
        match read_text(&path) {
            Ok(text) => files.push((name, text)),
            Err(reason) => {
                let code = Code::ScenarioFile;
                complaints.push(format!("{name}:1:1: error[{code}]: {reason}"));
            }
        }
    }
    (files, complaints)
}

fn named(path: &Path, shown: &str) -> String {
    let file = path.file_name().map(PathBuf::from).unwrap_or_default();
    Path::new(shown).join(file).display().to_string()
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_file(path, LARGEST).map_err(|e| format!("the file cannot be read: {e}"))?;
    String::from_utf8(bytes)
        .map_err(|e| format!("the file is no UTF-8 text: byte {} is not", e.utf8_error().valid_up_to()))
}
