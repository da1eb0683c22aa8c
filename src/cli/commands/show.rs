//! `atoll show RUN [ADDRESS]`: a run as a tree, or everything recorded about one step.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::cache_key;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::stored_run::StoredRun;
use crate::cli::terminal::prompt;
use crate::cli::wiring;
use crate::diag::nearest;
use crate::engine::{Fact, Record};
use crate::id::Address;
use crate::report::outcome::{RunEnding, heading, outputs_text};
use crate::report::tree::{glyph, remark, tree};
use crate::report::units::{hanging, harmless, moment};
use crate::value::Value;
use crate::view::{Board, Status, StepState, StepView};

/// `atoll show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// The address of one of its steps, e.g. `converge#3/judge[7]/score`
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    /// Output format
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Shows.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let stored = StoredRun::find(app, &args.run)?;
    match &args.address {
        None => whole(app, &stored, args.format),
        Some(address) => step(app, &stored, &Address::new(address), args.format),
    }
}

fn whole(app: &App, stored: &StoredRun, format: Format) -> CommandResult {
    let board = stored.board()?;
    let outputs = match &board.outputs {
        Some(payload) => Some(stored.value(payload, &Address::root())?),
        // A run that this version cannot continue is shown without them.
        None if board.status != Status::Running => stored.outputs_so_far(app).ok(),
        None => None,
    };
    let so_far = board.outputs.is_none();
    let now = wiring::clock().now();
    let ending = RunEnding {
        board: &board,
        code: ExitStatus::of_status(&board.status).code(),
        outputs: outputs.as_ref(),
        now,
    };
    let text = || {
        let paint = app.terminal.out;
        let mut text = format!("{}\n\n{}", heading(&board, now, paint), tree(&board, now, paint));
        if let Some(outputs) =
            outputs.as_ref().filter(|outputs| outputs.as_object().is_some_and(|o| !o.is_empty()))
        {
            let head = if so_far { "outputs so far:\n" } else { "" };
            let _ = write!(text, "\n{head}{}", outputs_text(outputs, paint));
        }
        text
    };
    format.print(app.terminal, || ending.json(), text)?;
    Ok(ExitStatus::REACHED)
}

fn step(app: &App, stored: &StoredRun, address: &Address, format: Format) -> CommandResult {
    let mut records: Vec<(u64, Record)> = Vec::new();
    let mut seen: Vec<Address> = Vec::new();
    let mut board = Board::new();
    stored.read(|seq, record| {
        // Items and rounds of its own are counted in its line.
        let inside = record.address.as_str().strip_prefix(address.as_str());
        if inside.is_some_and(|rest| rest.is_empty() || (rest.starts_with(['[', '#']) && !rest.contains('/')))
        {
            board.apply_record(&record);
        }
        if record.address == *address {
            records.push((seq, record));
        } else if seen.last() != Some(&record.address) && seen.len() < 10_000 {
            seen.push(record.address);
        }
    })?;
    if records.is_empty() {
        let stop = CommandError::usage(format!("run {} has nothing recorded at `{address}`", stored.run()));
        return Err(match nearest(address.as_str(), seen.iter().map(Address::as_str)) {
            Some(near) => stop.hint(format!("did you mean `{near}`?")),
            None => stop.hint(format!("`atoll show {}` lists its steps", stored.run())),
        });
    }
    let view = board.step(address);
    let output = match view.and_then(|view| view.output.as_ref()) {
        Some(payload) => Some(stored.value(payload, address)?),
        None => None,
    };
    let json = || object(stored, address, &records, view, output.as_ref());
    format.print(app.terminal, json, || text(app, address, &records, view, output.as_ref()))?;
    Ok(ExitStatus::REACHED)
}

fn object(
    stored: &StoredRun,
    address: &Address,
    records: &[(u64, Record)],
    view: Option<&StepView>,
    output: Option<&Value>,
) -> Value {
    let facts: Vec<Value> = records
        .iter()
        .map(|(seq, record)| {
            let mut fact = json!({"seq": seq, "at": record.at, "attempt": record.attempt});
            if let (Some(into), Ok(Value::Object(body))) =
                (fact.as_object_mut(), serde_json::to_value(&record.fact))
            {
                into.extend(body);
            }
            fact
        })
        .collect();
    json!({
        "version": 1,
        "run": stored.run(),
        "address": address,
        "state": view.map(|view| view.state.word()),
        "output": output,
        "failure": last_failure(records),
        "facts": facts,
    })
}

/// The complete last failure, with its details for machines.
fn last_failure(records: &[(u64, Record)]) -> Option<&crate::verb::Failure> {
    records.iter().rev().find_map(|(_, record)| match &record.fact {
        Fact::Failed { failure } | Fact::Faltered { failure, .. } => Some(failure),
        _ => None,
    })
}

fn text(
    app: &App,
    address: &Address,
    records: &[(u64, Record)],
    view: Option<&StepView>,
    output: Option<&Value>,
) -> String {
    let paint = app.terminal.out;
    let mut text = match view {
        Some(view) => {
            format!(
                "{} {}  {}\n\n",
                glyph(view.state, paint),
                paint.strong(address),
                remark(view, wiring::clock().now())
            )
        }
        None => format!("{}\n\n", paint.strong(address)),
    };
    for (seq, record) in records {
        let attempt =
            if record.attempt > 0 { format!(" (attempt {})", record.attempt) } else { String::new() };
        let _ =
            writeln!(text, "{seq:>6}  {}  {}{attempt}", paint.faint(moment(record.at)), record.fact.word());
    }
    if let Some(question) = view.and_then(|view| view.question.as_ref()) {
        let digest = question.digest.map(|digest| format!(" (digest {})", digest.short()));
        let _ = write!(text, "\n{}{}\n", paint.strong("question"), digest.unwrap_or_default());
        let _ = writeln!(text, "{}", prompt::shown_question(address, question).trim());
    }
    if let (Some(failure), true) =
        (last_failure(records), view.is_none_or(|view| view.state != StepState::Done))
    {
        let _ = write!(text, "\n{}\n{}\n", paint.bad("failure"), hanging(&failure.to_string(), "  "));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "  {}", hanging(hint, "  "));
        }
        if !failure.detail.is_null() {
            let _ = writeln!(text, "{}", pretty(&failure.detail));
        }
    }
    if let Some(parts) = cache_key::parts(records.iter().map(|(_, record)| record)) {
        let _ = write!(text, "\n{}\n{parts}", paint.strong("cache key"));
    }
    if let Some(output) = output {
        let _ = write!(text, "\n{}\n{}\n", paint.strong("output"), pretty(output));
    }
    text
}

/// Text unchanged, an object key by key so that logs in it are readable, anything else as JSON.
fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Object(_) => harmless(outputs_text(value, crate::report::Paint::PLAIN).trim_end()),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}
