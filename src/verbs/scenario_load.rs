//! `scenario_load`: the scenarios of a directory, checked as a whole.
#![expect(clippy::disallowed_methods, reason = "a door: reads the scenario directory")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::complaint::render;
use crate::diag::{Code, Diagnostic, Severity};
use crate::scenario::{Files, Scenario, load};
use crate::value::{Digest, Value};
use crate::verb::{Context, Failure, Output, Traits, Verb};

/// Reads the scenario files of a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScenarioLoad;

/// What `scenario_load` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct With {
    /// The directory: a path, or the value of an input of type `dir`. Its `*.yaml` and `*.yml` files are read, not
    /// those of directories in it, except `fixtures`.
    pub dir: Dir,
}

/// A directory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Dir {
    /// Its path, relative to the project.
    Path(String),
    /// The value of an input of type `dir`; only its path is used.
    Input {
        /// Its path.
        path: String,
    },
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

/// The directory beside the scenarios that holds what they share.
const FIXTURES: &str = "fixtures";

/// Most bytes of one file.
const LARGEST: u64 = 8 << 20;

impl Verb for ScenarioLoad {
    const NAME: &'static str = "scenario_load";
    const SUMMARY: &'static str = "read the scenario files of a directory and check them all";
    const TRAITS: Traits = Traits::repeatable("disk");
    const EXAMPLE: &'static str = r#"
[steps.cases]
scenario_load = { dir = "{{ inputs.scenarios }}" }
"#;
    type With = With;
    type Out = Out;

    async fn run(&self, with: With, cx: Context) -> Result<Output<Out>, Failure> {
        let (Dir::Path(path) | Dir::Input { path }) = with.dir;
        let dir = cx.workspace.project.join(&path);
        let read = tokio::task::spawn_blocking(move || read_and_load(&dir, &path)).await;
        let out = read.map_err(|e| Failure::permanent(format!("the scenarios could not be read: {e}")))??;
        for warning in &out.warnings {
            cx.progress.line(warning);
        }
        Ok(Output::free(out))
    }
}

fn read_and_load(dir: &Path, shown: &str) -> Result<Out, Failure> {
    let (files, mut unreadable) = read_files(dir, shown)?;
    let all = files.scenarios.iter().chain(&files.fixtures);
    let texts: Vec<Value> = all.map(|(name, text)| json!([name, Digest::of(text)])).collect();
    let digest = Digest::of_value(&texts.into()).to_string();
    // A directory whose files are all unreadable has files: only the complaints about them are of use.
    let (scenarios, sources, mut complaints) =
        if files.scenarios.is_empty() && !unreadable.is_empty() { Default::default() } else { load(files) };
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

/// The scenario files of a directory with their fixtures, and complaints about those that cannot be read. They are called
/// by the name `shown` of the directory.
pub fn read_files(dir: &Path, shown: &str) -> Result<(Files, Vec<String>), Failure> {
    let (scenarios, mut unreadable) = read_dir(dir, shown)?;
    let mut files = Files { scenarios, fixtures: Vec::new() };
    if dir.join(FIXTURES).is_dir() {
        let (fixtures, broken) = read_dir(&dir.join(FIXTURES), &format!("{shown}/{FIXTURES}"))?;
        files.fixtures = fixtures;
        unreadable.extend(broken);
    }
    Ok((files, unreadable))
}

type Texts = (Vec<(String, String)>, Vec<String>);

/// Names and texts of the scenario files by name, and complaints about files that cannot be read.
fn read_dir(dir: &Path, shown: &str) -> Result<Texts, Failure> {
    let failed = |e: std::io::Error| {
        Failure::permanent(format!("the scenario directory {shown} cannot be read: {e}"))
            .hint("give a directory that holds .yaml or .yml files")
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let wanted = matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml"));
        if wanted && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut files, mut complaints) = (Vec::new(), Vec::new());
    for path in paths {
        let name = named(&path, shown);
        match read_text(&path) {
            Ok(text) => files.push((name, text)),
            Err(reason) => {
                let code = Code::ScenarioFile;
                complaints.push(format!("{name}:1:1: error[{code}]: {reason}"));
            }
        }
    }
    Ok((files, complaints))
}

fn named(path: &Path, shown: &str) -> String {
    let file = path.file_name().map(PathBuf::from).unwrap_or_default();
    Path::new(shown).join(file).display().to_string()
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("the file cannot be read: {e}"))?.len();
    if size > LARGEST {
        return Err(format!("the file has {size} bytes, a scenario at most {LARGEST}"));
    }
    let bytes = std::fs::read(path).map_err(|e| format!("the file cannot be read: {e}"))?;
    String::from_utf8(bytes)
        .map_err(|e| format!("the file is no UTF-8 text: byte {} is not", e.utf8_error().valid_up_to()))
}
