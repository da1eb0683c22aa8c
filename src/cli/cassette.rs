//! `atoll cassette`: what is on a tape of models' answers.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::Format;
use super::{Desk, Done, Exit, Stop};
use crate::llm::{CassetteError, prune, recorded};
use crate::value::Value;

/// `atoll cassette`.
#[derive(Debug, Args)]
pub struct Ask {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the answers, in the order in which they were recorded
    List(List),
    /// Show complete requests and answers
    Show(Show),
    /// Remove answers, so that `--replay-fill` asks for them again
    Prune(Prune),
}

#[derive(Debug, Args)]
struct List {
    /// The cassette file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Format of the list
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
struct Show {
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

#[derive(Debug, Args)]
struct Prune {
    /// The cassette file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Print only how many answers would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Answers that have everything that is given.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Which {
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
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    match &ask.what {
        What::List(ask) => list(desk, ask),
        What::Show(ask) => show(desk, ask),
        What::Prune(ask) => remove(desk, ask),
    }
}

fn unusable(error: CassetteError) -> Stop {
    Stop::wrong(error)
}

fn word<'a>(line: &'a Value, pointer: &str) -> &'a str {
    line.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list(desk: &Desk, ask: &List) -> Done {
    let lines = recorded(&ask.file).map_err(unusable)?;
    if ask.format == Format::Json {
        let short = |line: &Value| {
            json!({"key": line["key"], "index": line["index"], "at": line["at"], "model": line["request"]["model"],
                "stop": line["answer"]["stop"], "usage": line["usage"], "preview": line["preview"]})
        };
        let answers: Vec<Value> = lines.iter().map(short).collect();
        desk.face.print_json(&json!({"version": 1, "answers": answers}))?;
        return Ok(Exit::REACHED);
    }
    let wide =
        |pointer: &str| lines.iter().map(|line| word(line, pointer).chars().count()).max().unwrap_or(0);
    let (places, models) = (wide("/at"), wide("/request/model"));
    let mut text = String::new();
    for line in &lines {
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
    desk.face.print(&text)?;
    Ok(Exit::REACHED)
}

fn show(desk: &Desk, ask: &Show) -> Done {
    let lines = recorded(&ask.file).map_err(unusable)?;
    let found: Vec<&Value> = lines.iter().filter(|line| word(line, "/key").starts_with(&ask.key)).collect();
    if found.is_empty() {
        return Err(Stop::usage(format!(
            "{} has no answer whose key begins with `{}`",
            ask.file.display(),
            ask.key
        ))
        .hint("`atoll cassette list FILE` shows the keys"));
    }
    match ask.format {
        Format::Json => desk.face.print_json(&json!({"version": 1, "answers": found}))?,
        Format::Text => desk.face.print(&found.iter().map(|line| told(desk, line)).collect::<String>())?,
    }
    Ok(Exit::REACHED)
}

fn told(desk: &Desk, line: &Value) -> String {
    let strong = |text: &str| desk.face.out.strong(text);
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
            let _ = writeln!(text, "{} brought: {}", word(result, "/name"), word(result, "/text").trim_end());
        }
        text += &calls(&message["calls"]);
    }
    let stop = word(line, "/answer/stop");
    let _ = writeln!(text, "\n{} ({stop})\n{}", strong("answer"), word(line, "/answer/text").trim_end());
    text + &calls(&line["answer"]["calls"]) + "\n"
}

/// The tools that are called, a line each.
fn calls(calls: &Value) -> String {
    let calls = calls.as_array().into_iter().flatten();
    let lines = calls.map(|call| format!("calls {} {}\n", word(call, "/name"), call["input"]));
    lines.collect::<Vec<_>>().concat()
}

fn remove(desk: &Desk, ask: &Prune) -> Done {
    let Which { key, at, model } = &ask.which;
    let inside = |place: &str, at: &str| {
        place.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '[', '#', '@']))
    };
    let goes = |line: &Value| {
        key.as_ref().is_none_or(|key| word(line, "/key").starts_with(key.as_str()))
            && at.as_ref().is_none_or(|at| inside(word(line, "/at"), at))
            && model.as_ref().is_none_or(|model| word(line, "/request/model") == model)
    };
    let count = if ask.dry_run {
        recorded(&ask.file).map_err(unusable)?.iter().filter(|line| goes(line)).count()
    } else {
        prune(&ask.file, goes).map_err(unusable)?
    };
    let what = if ask.dry_run { "would be removed" } else { "removed" };
    desk.face.say(&format!("{count} answer(s) {what}"));
    Ok(Exit::REACHED)
}
