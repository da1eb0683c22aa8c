//! `scenario_load`: reads the scenarios of a directory, checks them together, selects and groups them.

mod grouping;
mod selection;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use selection::{ScenarioSelection, SelectedScenarios, Tier};

use super::attached_files::AttachedFiles;
use super::diagnostic_text::render;
use super::paths::PathOrInput;
use crate::diag::{Code, Diagnostic, Severity};
use crate::rooted_fs::{EntryKind, RootedFs, read_file};
use crate::scenario::{Scenario, ScenarioFiles, ScenarioSource, Visibility, credentials, load, load_given};
use crate::value::{Digest, Value};
use crate::verb::{Context, Failure, Output, Refusal, Traits, Verb};

/// Reads the scenario files of a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScenarioLoad;

/// Input of `scenario_load`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioLoadInput {
    /// Directory, or a single scenario file: a path, or the value of an input of type `dir`, `file` or
    /// `path`. Of a directory, all `*.yaml` and `*.yml` files are read, including those in subdirectories;
    /// files in a directory called `fixtures` are fixtures.
    pub dir: PathOrInput,
    /// Names of variables that are passed to the scenarios when they run, so that placeholders for them are
    /// valid.
    #[serde(default)]
    pub given: Vec<String>,
    /// Ids of the scenarios to select, `*` for any characters. Each of `only`, `tags`, `tiers` and
    /// `visibility` that is not empty excludes the other scenarios.
    #[serde(default)]
    pub only: Option<Vec<String>>,
    /// Tags to select: scenarios with at least one of them.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    /// Tiers to select.
    #[serde(default)]
    pub tiers: Option<Vec<Tier>>,
    /// Visibilities to select.
    #[serde(default)]
    pub visibility: Option<Vec<Visibility>>,
    /// Whether the selection may be empty. Otherwise the step fails if it is. Default: `false`.
    #[serde(default)]
    pub empty: bool,
    /// Factors by tag: the weight of a scenario is multiplied by the factors of all its tags.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, f64>>")]
    pub weights: Option<BTreeMap<String, f64>>,
    /// Whether scenarios of different tiers never share a program. Default: `false`.
    #[serde(default)]
    pub by_tier: bool,
    /// URL of an already running program, if the scenarios are run against one: all scenarios that may share
    /// a program then share it.
    #[serde(default)]
    pub target: Option<String>,
}

/// Output of `scenario_load`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioLoadOutput {
    /// Selected scenarios, sorted by id. Scenarios with the same `group` run in one program, in the order of
    /// `order`; `readiness` is the readiness check of that program. Scenarios of different visibility are
    /// never in one group.
    pub scenarios: Vec<Scenario>,
    /// Number of selected scenarios.
    pub count: usize,
    /// Number of scenarios in the directory.
    pub found: usize,
    /// Number of scenarios that are not selected.
    pub excluded: usize,
    /// Number of sealed scenarios in the directory, selected or not.
    pub sealed: usize,
    /// Digest of the names and contents of all files, including those that scenarios refer to.
    pub digest: String,
    /// Warnings, as printed.
    pub warnings: Vec<String>,
}

/// The name of directories with shared fixtures.
const FIXTURES: &str = "fixtures";

/// The maximum size of one file, in bytes.
const LARGEST: u64 = 8 << 20;
/// The maximum size of all files, in bytes.
const LARGEST_SUM: u64 = 256 << 20;
/// The maximum number of entries in all directories.
const MOST_ENTRIES: usize = 100_000;

impl Verb for ScenarioLoad {
    const NAME: &'static str = "scenario_load";
    const SUMMARY: &'static str = "read the scenario files of a directory, check them all, and select some";
    const TRAITS: Traits = Traits::repeatable("disk").always_rerun();
    const READS_FILES: bool = true;
    const EXAMPLE: &'static str = r#"
[steps.cases]
scenario_load = { dir = "{{ inputs.scenarios }}", visibility = ["dev"], weights = { critical = 3 } }
"#;
    type With = ScenarioLoadInput;
    type Out = ScenarioLoadOutput;

    fn refusals(with: &ScenarioLoadInput) -> Vec<Refusal> {
        selection::refusals(with)
    }

    async fn run(&self, with: ScenarioLoadInput, cx: Context) -> Result<Output<ScenarioLoadOutput>, Failure> {
        let path = with.dir.path().to_owned();
        let dir = cx.workspace.project.join(&path);
        let read = tokio::task::spawn_blocking(move || read_and_load(&dir, &path, &with)).await;
        let out = read.map_err(|e| Failure::permanent(format!("the scenarios could not be read: {e}")))??;
        for warning in &out.warnings {
            cx.progress.line(warning);
        }
        Ok(Output::free(out))
    }
}

fn read_and_load(dir: &Path, shown: &str, with: &ScenarioLoadInput) -> Result<ScenarioLoadOutput, Failure> {
    let (files, mut unreadable, beside) = found_files(dir, shown)?;
    let digests = Digests::of(&files);
    // If all files are unreadable, the directory is not empty: only the errors about them are useful.
    let (scenarios, mut sources, mut complaints) = if files.scenarios.is_empty() && !unreadable.is_empty() {
        Default::default()
    } else {
        load_given(files, &with.given)
    };
    credentials::hide(&mut sources, &mut complaints);
    let others = digests.others(&beside);
    let digest = Digest::of_value(&json!([digests.scenarios, others])).to_string();
    let broken = |complaint: &Diagnostic| complaint.severity == Severity::Error;
    if unreadable.is_empty() && !complaints.iter().any(broken) {
        let mut warnings: Vec<String> =
            complaints.iter().map(|complaint| render(complaint, &sources)).collect();
        let source = |scenario: &Scenario| ScenarioSource {
            path: shown.to_owned(),
            digest: digests.scenarios.get(&scenario.file).map(Digest::to_string).unwrap_or_default(),
            others: others.clone(),
        };
        let mut scenarios = scenarios;
        for scenario in &mut scenarios {
            if credentials::leave_out(scenario) {
                scenario.source = Some(source(scenario));
            }
        }
        grouping::group(&mut scenarios, with);
        let SelectedScenarios { scenarios, found, sealed } =
            ScenarioSelection::of(with)?.select(scenarios, shown, &mut warnings)?;
        let (count, excluded) = (scenarios.len(), found - scenarios.len());
        return Ok(ScenarioLoadOutput { scenarios, count, found, excluded, sealed, digest, warnings });
    }
    complaints.retain(broken);
    unreadable.extend(complaints.iter().map(|complaint| render(complaint, &sources)));
    let count = unreadable.len();
    let files = if count == 1 { "an error".to_owned() } else { format!("{count} errors") };
    Err(Failure::permanent(format!("{files} in the scenarios of {shown}\n{}", unreadable.join("\n")))
        .hint("fix the files; run `atoll explain CODE` for details of an error")
        .detail(json!({ "diagnostics": unreadable })))
}

/// Digests of scenario files and fixtures, by name.
struct Digests {
    scenarios: BTreeMap<String, Digest>,
    fixtures: BTreeMap<String, Digest>,
}

impl Digests {
    fn of(files: &ScenarioFiles) -> Self {
        let all = |files: &[(String, String)]| {
            files.iter().map(|(name, text)| (name.clone(), Digest::of(text))).collect()
        };
        Self { scenarios: all(&files.scenarios), fixtures: all(&files.fixtures) }
    }

    /// The digest of the fixtures and of the files that scenarios refer to, which were read by now.
    fn others(&self, beside: &AttachedFiles) -> String {
        let named: Vec<Value> = beside.read().iter().map(|(name, _, digest)| json!([name, digest])).collect();
        Digest::of_value(&json!([self.fixtures, named])).to_string()
    }
}

/// Scenarios with the credentials in their files.
pub struct CredentialedScenarios {
    /// The scenarios without errors.
    pub scenarios: Vec<Scenario>,
    /// Digest of the fixtures and of the files that scenarios refer to.
    pub others: String,
    digests: Digests,
}

impl CredentialedScenarios {
    /// The scenarios of the file or directory `dir`, with the display name `shown`.
    pub fn read(dir: &Path, shown: &str) -> Result<Self, Failure> {
        let (files, _, beside) = found_files(dir, shown)?;
        let digests = Digests::of(&files);
        let (scenarios, _, _) = load(files);
        Ok(Self { scenarios, others: digests.others(&beside), digests })
    }

    /// Digest of the scenario file `name`.
    pub fn digest(&self, name: &str) -> Option<String> {
        self.digests.scenarios.get(name).map(Digest::to_string)
    }
}

/// The scenario files of a directory and its subdirectories, with their fixtures, and errors about unreadable
/// ones. Their names start with `shown`, the name of the directory.
pub fn read_files(dir: &Path, shown: &str) -> Result<(ScenarioFiles, Vec<String>), Failure> {
    let (files, complaints, _) = found_files(dir, shown)?;
    Ok((files, complaints))
}

/// The files that a scenario file depends on: its fixtures and the files that it and they refer to, each with
/// its path relative to the file, its size and its digest. Unreadable files are skipped.
pub fn companions(file: &Path) -> Vec<(String, u64, Digest)> {
    let Some(name) = file.file_name().and_then(OsStr::to_str) else { return Vec::new() };
    let Ok((files, _, beside)) = found_files(file, name) else { return Vec::new() };
    let fixture = |(name, text): &(String, String)| (name.clone(), text.len() as u64, Digest::of(text));
    let mut needed: Vec<_> = files.fixtures.iter().map(fixture).collect();
    drop(load_given(files, &[]));
    needed.extend(beside.read());
    needed
}

type FoundFiles = (ScenarioFiles, Vec<String>, Arc<AttachedFiles>);

fn found_files(dir: &Path, shown: &str) -> Result<FoundFiles, Failure> {
    let mut reader =
        ScenarioFileReader { left: LARGEST_SUM, entries: MOST_ENTRIES, ..ScenarioFileReader::default() };
    if dir.is_file() {
        reader.only(dir, shown);
    } else {
        reader.directory(dir, shown).map_err(|e| {
            Failure::permanent(format!("the scenarios {shown} cannot be read: {e}"))
                .hint("set `dir` to a scenario file, or to a directory with .yaml or .yml files")
        })?;
    }
    let ScenarioFileReader { mut files, complaints, places, .. } = reader;
    let beside = Arc::new(AttachedFiles::of(places.iter()));
    files.attached = Some(beside.clone());
    Ok((files, complaints, beside))
}

/// Reads files, and collects errors about unreadable ones.
#[derive(Default)]
struct ScenarioFileReader {
    files: ScenarioFiles,
    complaints: Vec<String>,
    /// The locations and names of the files.
    places: Vec<(PathBuf, String)>,
    /// The number of bytes that may still be read.
    left: u64,
    /// The number of directory entries that may still be visited.
    entries: usize,
}

impl ScenarioFileReader {
    /// The single scenario file `path`, and the fixtures in the directory `fixtures` next to it.
    fn only(&mut self, path: &Path, shown: &str) {
        let text = read_file(path, LARGEST);
        self.keep(path.to_owned(), shown.to_owned(), text, false);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Ok(beside) = RootedFs::open(parent.unwrap_or(Path::new("."))) else { return };
        if !beside.is_dir(Path::new(FIXTURES)) {
            return;
        }
        let shown = Path::new(shown).with_file_name(FIXTURES).display().to_string();
        let fixtures = beside.dir(Path::new(FIXTURES)).map(RootedFs::following_links);
        let place = path.with_file_name(FIXTURES);
        if let Err(error) = fixtures.and_then(|fixtures| self.look((&fixtures, &place), &shown, true)) {
            self.complain(&shown, &format!("it cannot be read: {error}"));
        }
    }

    /// All files of the directory `dir`.
    fn directory(&mut self, dir: &Path, shown: &str) -> io::Result<()> {
        let root = RootedFs::open(dir)?.following_links();
        self.look((&root, dir), shown, false)
    }

    /// Reads the files of `root`, which is the directory `place`, by name, and those of its subdirectories.
    /// Files may be symbolic links that stay in `root`; links to directories are not followed, because they
    /// may lead in a circle. Names that begin with a dot are skipped. Errors if `root` itself cannot be read,
    /// or contains too much.
    fn look(
        &mut self,
        (root, place): (&RootedFs, &Path),
        shown: &str,
        among_fixtures: bool,
    ) -> io::Result<()> {
        let mut left = vec![(PathBuf::new(), among_fixtures)];
        while let Some((dir, among_fixtures)) = left.pop() {
            let entries = match root.entries(&dir, self.entries) {
                Ok(entries) => entries,
                Err(error) if dir.as_os_str().is_empty() => return Err(error),
                Err(error) => {
                    self.complain(&named(shown, &dir), &format!("it cannot be read: {error}"));
                    continue;
                }
            };
            self.entries = self.entries.saturating_sub(entries.len());
            let mut below = Vec::new();
            for (name, kind) in entries {
                let path = dir.join(&name);
                // Files of editors and systems: backups, locks, settings.
                if name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                if kind == EntryKind::Dir {
                    let fixtures = among_fixtures || name == FIXTURES;
                    below.push((path, fixtures));
                } else if matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml"))
                    && !(kind == EntryKind::Link && root.is_dir(&path))
                {
                    let text = root.read(&path, LARGEST.min(self.left));
                    self.keep(place.join(&path), named(shown, &path), text, among_fixtures);
                }
            }
            // A stack: the last one is taken first.
            left.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn keep(&mut self, place: PathBuf, name: String, read: io::Result<Vec<u8>>, among_fixtures: bool) {
        let text = read.map_err(|e| format!("the file cannot be read: {e}")).and_then(|bytes| {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            String::from_utf8(bytes).map_err(|e| {
                format!("the file is not UTF-8 text: byte {} is invalid", e.utf8_error().valid_up_to())
            })
        });
        let list = if among_fixtures { &mut self.files.fixtures } else { &mut self.files.scenarios };
        match text {
            Ok(text) => {
                self.places.push((place, name.clone()));
                list.push((name, text));
            }
            Err(why) => self.complain(&name, &why),
        }
    }

    fn complain(&mut self, name: &str, why: &str) {
        let code = Code::ScenarioFile;
        self.complaints.push(format!("{name}:1:1: error[{code}]: {why}"));
    }
}

/// The display name of the file at `below` in the directory `shown`.
fn named(shown: &str, below: &Path) -> String {
    Path::new(shown).join(below).display().to_string()
}
