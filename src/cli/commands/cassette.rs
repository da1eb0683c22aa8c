//! `atoll cassette`: the recorded model answers in a file.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::llm::{CassetteError, prune, recorded};
use crate::value::Value;

/// `atoll cassette`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: CassetteCommand,
}

#[derive(Debug, Subcommand)]
enum CassetteCommand {
    /// List the answers, in the order in which they were recorded
    List(ListArgs),
    /// Show complete requests and answers
    Show(ShowArgs),
    /// Remove answers, so that `--replay-fill` asks for them again
    Prune(PruneArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// The cassette file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Format of the list
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The cassette file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The beginning of the answer's key, as `list` shows it
    #[arg(value_name = "KEY")]
    key: String,
    /// Output format
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct PruneArgs {
    /// The cassette file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    which: AnswerFilter,
    /// Print only how many answers would be removed
    #[arg(long)]
    dry_run: bool,
}

/// The filters for answers; all that are given must match.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct AnswerFilter {
    /// The beginning of a key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The address of a step instance; includes everything inside it
    #[arg(long, value_name = "ADDRESS")]
    at: Option<String>,
    /// The name of a model, as `list` shows it
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
}

/// Lists, shows or prunes.
pub fn run(app: &App, args: &Args) -> CommandResult {
    match &args.what {
        CassetteCommand::List(args) => list(app, args),
        CassetteCommand::Show(args) => show(app, args),
        CassetteCommand::Prune(args) => remove(app, args),
    }
}

fn unusable(error: CassetteError) -> CommandError {
    CommandError::wrong(error)
}

fn word<'a>(line: &'a Value, pointer: &str) -> &'a str {
    line.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list(app: &App, args: &ListArgs) -> CommandResult {
    let lines = recorded(&args.file).map_err(unusable)?;
    args.format.print(app.terminal, || list_json(&lines), || list_text(&lines))?;
    Ok(ExitStatus::REACHED)
}

fn list_json(lines: &[Value]) -> Value {
    let short = |line: &Value| {
        json!({"key": line["key"], "index": line["index"], "at": line["at"], "model": line["request"]["model"],
            "stop": line["answer"]["stop"], "usage": line["usage"], "preview": line["preview"]})
    };
    json!({"version": 1, "answers": lines.iter().map(short).collect::<Vec<_>>()})
}

fn list_text(lines: &[Value]) -> String {
    let wide =
        |pointer: &str| lines.iter().map(|line| word(line, pointer).chars().count()).max().unwrap_or(0);
    let (places, models) = (wide("/at"), wide("/request/model"));
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(
            text,
            "{:12}  {:places$}  {:models$}  {:>6} in {:>6} out  {}",
            &word(line, "/key").chars().take(12).collect::<String>(),
            word(line, "/at"),
            word(line, "/request/model"),
            line["usage"]["tokens_in"],
            line["usage"]["tokens_out"],
            word(line, "/preview"),
        );
    }
    text
}

fn show(app: &App, args: &ShowArgs) -> CommandResult {
    let lines = recorded(&args.file).map_err(unusable)?;
    let found: Vec<&Value> = lines.iter().filter(|line| word(line, "/key").starts_with(&args.key)).collect();
    if found.is_empty() {
        return Err(CommandError::usage(format!(
            "{} has no answer with a key that begins with `{}`",
            args.file.display(),
            args.key
        ))
        .hint("`atoll cassette list FILE` shows the keys"));
    }
    let json = || json!({"version": 1, "answers": found});
    let text = || found.iter().map(|line| answer_text(app, line)).collect();
    args.format.print(app.terminal, json, text)?;
    Ok(ExitStatus::REACHED)
}

fn answer_text(app: &App, line: &Value) -> String {
    let strong = |text: &str| app.terminal.out.strong(text);
    let mut text =
        format!("{}  {}  {}\n", word(line, "/key"), word(line, "/at"), word(line, "/request/model"));
    let options = line["request"]["options"].as_object().into_iter().flatten();
    for (name, value) in options.filter(|(_, value)| !value.is_null() && *value != &json!([])) {
        let _ = writeln!(text, "{name}: {value}");
    }
    if let Some(system) = line["request"]["system"].as_str() {
        let _ = writeln!(text, "\n{}\n{}", strong("system"), system.trim_end());
    }
    for message in line["request"]["messages"].as_array().into_iter().flatten() {
        let _ =
            writeln!(text, "\n{}\n{}", strong(word(message, "/role")), word(message, "/content").trim_end());
        for result in message["results"].as_array().into_iter().flatten() {
            let _ =
                writeln!(text, "{} returned: {}", word(result, "/name"), word(result, "/text").trim_end());
        }
        text += &calls(&message["calls"]);
    }
    let stop = word(line, "/answer/stop");
    let _ = writeln!(text, "\n{} ({stop})\n{}", strong("answer"), word(line, "/answer/text").trim_end());
    text + &calls(&line["answer"]["calls"]) + "\n"
}

/// The tools that are called, one line each.
fn calls(calls: &Value) -> String {
    let calls = calls.as_array().into_iter().flatten();
    let lines = calls.map(|call| format!("calls {} {}\n", word(call, "/name"), call["input"]));
    lines.collect::<Vec<_>>().concat()
}

fn remove(app: &App, args: &PruneArgs) -> CommandResult {
    let AnswerFilter { key, at, model } = &args.which;
    let inside = |place: &str, at: &str| {
        place.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '[', '#', '@']))
    };
    let goes = |line: &Value| {
        key.as_ref().is_none_or(|key| word(line, "/key").starts_with(key.as_str()))
            && at.as_ref().is_none_or(|at| inside(word(line, "/at"), at))
            && model.as_ref().is_none_or(|model| word(line, "/request/model") == model)
    };
    let count = if args.dry_run {
        recorded(&args.file).map_err(unusable)?.iter().filter(|line| goes(line)).count()
    } else {
        prune(&args.file, goes).map_err(unusable)?
    };
    let what = if args.dry_run { "would be removed" } else { "removed" };
    app.terminal.say(&format!("{count} answer(s) {what}"));
    Ok(ExitStatus::REACHED)
}
