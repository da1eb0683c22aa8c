//! `atoll verbs`: lists the verbs.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::wiring::{self, CONTROL};
use crate::report::Paint;
use crate::value::Value;
use crate::verb::Catalog;

/// `atoll verbs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Format of the list; `json` includes the schemas of every verb
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Lists.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let catalog = wiring::listing(&app.settings)?;
    args.format.print(app.terminal, || json(&catalog), || text(&catalog, app.terminal.out))?;
    if args.format.is_text() {
        app.terminal.say("show one with `atoll explain verb NAME`");
    }
    Ok(ExitStatus::REACHED)
}

fn json(catalog: &Catalog) -> Value {
    let verbs: Vec<Value> = catalog
        .verbs()
        .map(|verb| {
            json!({
                "name": verb.name(), "summary": verb.summary(), "lane": verb.traits().lane,
                "with": verb.with_schema(), "output": verb.out_schema(), "example": verb.example().trim(),
            })
        })
        .collect();
    let resources: Vec<Value> = catalog
        .resources()
        .map(|resource| {
            json!({
                "name": resource.name(), "summary": resource.summary(), "lane": resource.traits().lane,
                "with": resource.with_schema(), "held": resource.held_schema(),
                "example": resource.example().trim(),
            })
        })
        .collect();
    let control: Vec<Value> =
        CONTROL.iter().map(|(name, summary)| json!({"name": name, "summary": summary})).collect();
    json!({"version": 1, "verbs": verbs, "resources": resources, "control": control})
}

fn text(catalog: &Catalog, paint: Paint) -> String {
    let mut text = String::new();
    let mut section = |title: &str, entries: Vec<(&str, &str)>| {
        if entries.is_empty() {
            return;
        }
        let _ = writeln!(text, "{}", paint.strong(title));
        for (name, summary) in entries {
            let _ = writeln!(text, "  {name:14} {summary}");
        }
    };
    section("Verbs", catalog.verbs().map(|verb| (verb.name(), verb.summary())).collect());
    section("Held by `hold`", catalog.resources().map(|held| (held.name(), held.summary())).collect());
    section("Control", CONTROL.to_vec());
    text
}
