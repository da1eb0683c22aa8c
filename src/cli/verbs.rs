//! `atoll verbs`: what a step can do.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::args::Format;
use super::{Desk, Done, Exit, house};
use crate::value::Value;

/// Control verbs, which are part of the language.
pub const CONTROL: [(&str, &str); 6] = [
    ("loop", "bounded rounds with carried state"),
    ("each", "items of a list side by side"),
    ("hold", "acquires a resource, runs a body, releases it in any case"),
    ("call", "another pipeline as a step"),
    ("ask", "a question to a person"),
    ("compute", "a pure loop in memory"),
];

/// `atoll verbs`.
#[derive(Debug, Args)]
pub struct Ask {
    /// Format of the list; `json` includes the schemas of every verb
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Lists.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let catalog = house::listing(&desk.settings)?;
    match ask.format {
        Format::Json => {
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
            desk.face.print_json(
                &json!({"version": 1, "verbs": verbs, "resources": resources, "control": control}),
            )?;
        }
        Format::Text => {
            let paint = desk.face.out;
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
            section(
                "Held by `hold`",
                catalog.resources().map(|held| (held.name(), held.summary())).collect(),
            );
            section("Control", CONTROL.to_vec());
            desk.face.print(&text)?;
            desk.face.say("`atoll explain verb NAME` says more");
        }
    }
    Ok(Exit::REACHED)
}
