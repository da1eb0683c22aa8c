//! The tools of an agent: their descriptions for the model, and what they do. Errors are reported to the
//! model.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::input::ToolKind;
use super::search::{self, SearchArgs};
use super::workspace::{WorkspaceFiles, local};
use crate::llm::{Tool, ToolCall};
use crate::runtime::process::{AgentWorkspace, WORK};
use crate::runtime::service::{ExecReport, ExecSpec};
use crate::tree::edit::{ApplyError, Edit, apply};
use crate::tree::{Tree, Unusual};
use crate::value::Value;
use crate::verb::{Failure, Grants, MemoryBlobs};
use crate::verbs::unusual;
use crate::visible;

/// The maximum size in bytes of a file that is read, edited or searched.
pub(super) const LARGEST: u64 = 8 << 20;
/// The maximum number of lines and of bytes that one call of `read` shows.
const LINES: usize = 2_000;
const SHOWN: usize = 48 << 10;
/// The maximum number of files that one call of `list` shows.
const LISTED: usize = 500;
/// The number of bytes shown from the beginning and the end of each output of a command.
const HEAD: usize = 4 << 10;
const TAIL: usize = 12 << 10;
/// The maximum time for a command.
const LONGEST: Duration = Duration::from_secs(3_600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadArgs {
    path: String,
    from: Option<usize>,
    lines: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteArgs {
    path: String,
    content: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditArgs {
    path: String,
    find: String,
    replace: String,
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListArgs {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunArgs {
    command: String,
    timeout: Option<f64>,
}

/// The workspace and limits of the tools.
pub(super) struct Tools<'a> {
    pub(super) kinds: &'a [ToolKind],
    pub(super) workspace: Arc<Mutex<WorkspaceFiles>>,
    pub(super) bench: &'a AgentWorkspace,
    pub(super) patience: Duration,
    /// The unusual files that the user allows.
    pub(super) grants: Arc<Grants>,
}

impl ToolKind {
    /// The name for the model.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Edit => "edit",
            Self::List => "list",
            Self::Search => "search",
            Self::Run => "run",
        }
    }

    fn about(self) -> (&'static str, Value, &'static [&'static str]) {
        let text = |about: &str| json!({"type": "string", "description": about});
        let count = |about: &str| json!({"type": "integer", "minimum": 1, "description": about});
        match self {
            Self::Read => (
                "Shows a text file.",
                json!({"path": text("The file."), "from": count("The first line to show, from 1."),
                    "lines": count("How many lines to show.")}),
                &["path"],
            ),
            Self::Write => (
                "Writes a whole file, new or not, with the directories above it.",
                json!({"path": text("The file."), "content": text("All of its text.")}),
                &["path", "content"],
            ),
            Self::Edit => (
                "Replaces a piece of a file. The piece has to occur exactly once, unless `all` is true.",
                json!({"path": text("The file."), "find": text("The piece, as it stands in the file."),
                    "replace": text("What takes its place."),
                    "all": {"type": "boolean", "description": "Replaces every occurrence."}}),
                &["path", "find", "replace"],
            ),
            Self::List => (
                "Lists all files below a directory, with their sizes.",
                json!({"path": text("The directory; all of the workspace where it is left out.")}),
                &[],
            ),
            Self::Search => (
                "Looks for a regular expression in the lines of all text files.",
                json!({"pattern": text("The regular expression."), "path": text("Only files below this directory."),
                    "glob": text("Only files whose path fits this glob, e.g. *.rs.")}),
                &["pattern"],
            ),
            Self::Run => (
                "Runs a command line with `sh -c` in the workspace, without network, to its end.",
                json!({"command": text("The command line."),
                    "timeout": {"type": "number", "description": "Seconds after which it is ended."}}),
                &["command"],
            ),
        }
    }

    /// The description for the model.
    pub(super) fn tool(self) -> Tool {
        let (description, properties, required) = self.about();
        let schema = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
        Tool { name: self.word().to_owned(), description: description.to_owned(), schema: Arc::new(schema) }
    }
}

impl Tools<'_> {
    /// Carries out `call`. A problem with the call is the inner error; only a problem of Atoll is the outer
    /// one.
    pub(super) async fn call(&self, call: &ToolCall) -> Result<Result<String, String>, Failure> {
        let Some(kind) = self.kinds.iter().copied().find(|kind| kind.word() == call.name) else {
            let known: Vec<&str> = self.kinds.iter().map(|kind| kind.word()).collect();
            return Ok(Err(format!("there is no tool `{}`; there are {}", call.name, known.join(", "))));
        };
        if kind == ToolKind::Run {
            return match input::<RunArgs>(&call.input) {
                Ok(run) => self.run(run).await,
                Err(why) => Ok(Err(why)),
            };
        }
        let (workspace, value, grants) = (self.workspace.clone(), call.input.clone(), self.grants.clone());
        let done = tokio::task::spawn_blocking(move || {
            let workspace = workspace.lock().unwrap_or_else(PoisonError::into_inner);
            on_files(kind, &value, &workspace, &grants)
        });
        done.await
            .map_err(|e| Failure::new(crate::verb::Class::Bug, format!("internal error in a tool: {e}")))
    }

    async fn run(&self, run: RunArgs) -> Result<Result<String, String>, Failure> {
        let asked = run.timeout.map(Duration::try_from_secs_f64);
        let patience = match asked {
            Some(Ok(asked)) if !asked.is_zero() => asked.min(LONGEST.max(self.patience)),
            Some(_) => return Ok(Err("`timeout` is no number of seconds".to_owned())),
            None => self.patience,
        };
        let report = self.bench.run(ExecSpec::shell(run.command, patience)).await?;
        let ended = match report.exit_code {
            Some(code) => format!("exit code {code}"),
            None => format!("ended after {} s: it took too long", patience.as_secs_f64()),
        };
        let text = outputs(&report) + &ended;
        Ok(if report.exit_code == Some(0) { Ok(text) } else { Err(text) })
    }
}

fn input<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    if let Value::String(text) = value {
        let start: String = text.chars().take(200).collect();
        return Err(format!("the input is no JSON object: {start}"));
    }
    T::deserialize(value).map_err(|e| format!("the input does not fit: {e}"))
}

fn on_files(
    kind: ToolKind,
    value: &Value,
    workspace: &WorkspaceFiles,
    grants: &Grants,
) -> Result<String, String> {
    match kind {
        ToolKind::Read => read(&input(value)?, workspace),
        ToolKind::Write => write(&input(value)?, workspace, grants),
        ToolKind::Edit => edit(input(value)?, workspace, grants),
        ToolKind::List => list(&input(value)?, workspace),
        ToolKind::Search => search::search(&input::<SearchArgs>(value)?, workspace),
        ToolKind::Run => Err("a command is no matter of files".to_owned()),
    }
}

fn text_of(path: &str, workspace: &WorkspaceFiles) -> Result<String, String> {
    let bytes = workspace.fs.read(Path::new(path), LARGEST).map_err(|e| format!("{path}: {e}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{path} is no UTF-8 text"))
}

fn read(read: &ReadArgs, workspace: &WorkspaceFiles) -> Result<String, String> {
    let path = local(&read.path)?;
    let text = text_of(&path, workspace)?;
    let all = text.lines().count();
    let from = read.from.unwrap_or(1).max(1);
    if from > all.max(1) {
        return Err(format!("{path} has {all} lines"));
    }
    let mut shown = String::new();
    let mut next = from;
    for line in text.split_inclusive('\n').skip(from - 1).take(read.lines.unwrap_or(LINES).min(LINES)) {
        if shown.len() + line.len() > SHOWN {
            break;
        }
        shown.push_str(line);
        next += 1;
    }
    if next == from && all > 0 {
        let cut: String = text.lines().nth(from - 1).unwrap_or_default().chars().take(SHOWN / 4).collect();
        return Ok(format!("{cut}\n[… line {from} is longer than can be shown]"));
    }
    if next <= all {
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        let _ = write!(shown, "[… lines {next} to {all} are not shown: go on with from = {next}]");
    }
    Ok(if shown.is_empty() { "[the file is empty]".to_owned() } else { shown })
}

/// Errors if a delivery would refuse the file at `path`. An existing file may be changed unless its path is
/// always refused: it came with the program, or the delivery checks it.
fn deliverable(path: &str, workspace: &WorkspaceFiles, grants: &Grants) -> Result<(), String> {
    match unusual::found(path, grants) {
        None => Ok(()),
        Some(Unusual::Refused(why)) => {
            Err(format!("this path is refused: {why}; give the file another path"))
        }
        Some(Unusual::Obeyed(_)) if workspace.fs.has(Path::new(path)) => Ok(()),
        Some(Unusual::Obeyed(who)) => Err(format!(
            "`{path}` is refused: it is obeyed by {who}, and only the user can allow it; do without this file"
        )),
    }
}

fn write(write: &WriteArgs, workspace: &WorkspaceFiles, grants: &Grants) -> Result<String, String> {
    let path = local(&write.path)?;
    deliverable(&path, workspace, grants)?;
    // Tells a model that repeats itself. The content may equal an earlier one.
    let same =
        workspace.fs.read(Path::new(&path), LARGEST).is_ok_and(|before| before == write.content.as_bytes());
    if same && !workspace.is_stale(&path) {
        return Ok(format!("nothing has changed: that is what {path} holds already"));
    }
    workspace.fs.rewrite(Path::new(&path), write.content.as_bytes()).map_err(|e| format!("{path}: {e}"))?;
    Ok(format!("wrote {} bytes to {path}", write.content.len()))
}

/// The same as an edit of the verb `edit`, on one file.
fn edit(change: EditArgs, workspace: &WorkspaceFiles, grants: &Grants) -> Result<String, String> {
    let path = local(&change.path)?;
    deliverable(&path, workspace, grants)?;
    let text = text_of(&path, workspace)?;
    let blobs = MemoryBlobs::default();
    let mut tree = Tree::new();
    tree.put(&blobs, &path, text.as_bytes()).map_err(|e| e.to_string())?;
    let EditArgs { mut find, mut replace, all, .. } = change;
    // The model was shown invisible characters as escapes, and copies these.
    if !text.contains(&find) && text.contains(&visible::unescape(&find)) {
        find = visible::unescape(&find);
        replace = visible::unescape(&replace);
    }
    let edit = Edit::Replace { path: path.clone(), find, replace, all };
    let (tree, changes) = apply(&blobs, &tree, &[edit]).map_err(|error| match error {
        ApplyError::Edit(edit) => {
            format!(
                "{path}: {}{}",
                edit.reason,
                edit.hint.map(|hint| format!(": {hint}")).unwrap_or_default()
            )
        }
        ApplyError::Tree(error) => error.to_string(),
    })?;
    let bytes = tree.bytes(&blobs, &path).map_err(|e| e.to_string())?;
    workspace.fs.rewrite(Path::new(&path), &bytes).map_err(|e| format!("{path}: {e}"))?;
    let note = changes.into_iter().find_map(|change| change.note).map(|note| format!(" ({note})"));
    Ok(format!("changed {path}{}", note.unwrap_or_default()))
}

fn list(list: &ListArgs, workspace: &WorkspaceFiles) -> Result<String, String> {
    let below = prefix(&list.path)?;
    let listing = workspace.list(&|_| false).map_err(|e| e.to_string())?;
    let files: Vec<_> = listing.files.iter().filter(|file| file.path.starts_with(&below)).collect();
    let mut lines: Vec<String> =
        files.iter().take(LISTED).map(|file| format!("{} ({} bytes)", file.path, file.size)).collect();
    if files.len() > LISTED {
        lines.push(format!("[… {} more files: list a directory]", files.len() - LISTED));
    }
    Ok(if lines.is_empty() { "[no files]".to_owned() } else { lines.join("\n") })
}

/// The prefix of the paths below a directory.
pub(super) fn prefix(path: &str) -> Result<String, String> {
    let trimmed = path.trim_end_matches('/');
    if matches!(trimmed, "" | "." | WORK) {
        return Ok(String::new());
    }
    local(trimmed).map(|path| path + "/")
}

fn outputs(report: &ExecReport) -> String {
    let mut text = String::new();
    for (name, bytes) in [("standard output", &report.stdout), ("standard error", &report.stderr)] {
        if bytes.is_empty() {
            continue;
        }
        let mut kept = crate::relay::BoundedOutput::new(HEAD, TAIL);
        kept.push(bytes);
        let said = String::from_utf8_lossy(&kept.all().bytes).into_owned();
        let _ = writeln!(text, "{name}:\n{}", said.trim_end_matches('\n'));
    }
    text
}
