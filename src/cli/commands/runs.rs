//! `atoll runs`: lists runs, newest first.

use std::fmt::Write as _;

use serde_json::{Map, json};

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::stored_run::status;
use crate::cli::wiring;
use crate::report::units::{moment, name, number, rfc3339, span, sums};
use crate::store::RunSummary;
use crate::value::Value;

/// `atoll runs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// List only runs of this pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// Maximum number of runs
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Format of the list
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Lists runs.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let mut heads = Vec::new();
    if let Some(store) = wiring::open_to_read(&app.settings)? {
        heads = store.heads(args.limit, args.pipeline.as_deref())?;
        for head in &mut heads {
            head.status = status(store.as_ref(), head).to_owned();
        }
    }
    if heads.is_empty() && args.format.is_text() {
        let data = app.settings.data.display();
        let missing = if app.settings.data.exists() { "" } else { " (the directory does not exist)" };
        app.terminal.say(&format!("no runs in {data}{missing}"));
    }
    let json = || json!({"version": 1, "runs": heads.iter().map(object).collect::<Vec<_>>()});
    args.format.print(app.terminal, json, || table(&heads))?;
    Ok(ExitStatus::REACHED)
}

fn object(head: &RunSummary) -> Value {
    let mut object = Map::new();
    object.insert("run".into(), json!(head.run));
    object.insert("pipeline".into(), json!(head.pipeline));
    object.insert("status".into(), json!(head.status));
    object.insert("code".into(), json!(head.code));
    object.insert("started_at".into(), json!(rfc3339(head.started_at)));
    object.insert("finished_at".into(), json!(head.finished_at.map(rfc3339)));
    object.insert("spent".into(), json!(head.spent));
    if let Some(score) = head.score {
        object.insert("score".into(), json!(score));
    }
    Value::Object(object)
}

fn table(heads: &[RunSummary]) -> String {
    let shown = |head: &RunSummary| RunSummary {
        pipeline: name(&head.pipeline),
        status: name(&head.status),
        ..head.clone()
    };
    let heads: Vec<RunSummary> = heads.iter().map(shown).collect();
    let width = |text: fn(&RunSummary) -> &str| {
        heads.iter().map(|head| text(head).chars().count()).max().unwrap_or(0)
    };
    let (pipelines, states) = (width(|head| &head.pipeline), width(|head| &head.status));
    let mut text = String::new();
    for head in &heads {
        let took = head.finished_at.map(|end| span(end.saturating_sub(head.started_at))).unwrap_or_default();
        let score = head.score.map(number).unwrap_or_default();
        let line = format!(
            "{}  {:pipelines$}  {:states$}  {}  {took:>7}  {score:>7}  {}",
            head.run,
            head.pipeline,
            head.status,
            moment(head.started_at),
            sums(&head.spent),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
