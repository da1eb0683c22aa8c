//! `atoll which PATH`: which file wins for a name, and which it hides.

use clap::Args;
use serde_json::json;

use super::args::Format;
use super::{Desk, Done, Exit, Stop, Texts};
use crate::diag::nearest;
use crate::plan::{Found, Sources, Unreadable};
use crate::value::Value;

const DIRS: [&str; 3] = ["pipelines", "prompts", "schemas"];

/// `atoll which`.
#[derive(Debug, Args)]
pub struct Ask {
    /// A path such as `prompts/factory/generate.md`, or the name of a pipeline
    #[arg(value_name = "PATH")]
    path: String,
    /// Output format
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Says which.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let texts = Texts::new(&desk.settings);
    let failed = |e: Unreadable| Stop::failed(e);
    let mut found = texts.all(&ask.path).map_err(failed)?;
    if found.is_empty() {
        found = texts.all(&format!("pipelines/{}.toml", ask.path)).map_err(failed)?;
    }
    let Some((first, hidden)) = found.split_first() else { return Err(unknown(&texts, &ask.path)) };
    match ask.format {
        Format::Json => {
            let object = |found: &Found| json!({"layer": found.layer.word(), "path": found.name});
            let hidden: Vec<Value> = hidden.iter().map(object).collect();
            desk.face.print_json(&json!({"version": 1, "found": object(first), "hides": hidden}))?;
        }
        Format::Text => {
            let line = |found: &Found| format!("{} ({})", found.name, found.layer.word());
            let mut text = line(first) + "\n";
            for found in hidden {
                text.push_str("  hides ");
                text.push_str(&line(found));
                text.push('\n');
            }
            desk.face.print(&text)?;
        }
    }
    Ok(Exit::REACHED)
}

fn unknown(texts: &Texts, path: &str) -> Stop {
    let known: Vec<String> = DIRS.iter().flat_map(|dir| texts.list(dir)).collect();
    let names = known.iter().filter_map(|path| path.strip_prefix("pipelines/")?.strip_suffix(".toml"));
    let stop =
        Stop::usage(format!("there is no `{path}` in the project, the user's directory or the binary"));
    match nearest(path, known.iter().map(String::as_str).chain(names)) {
        Some(near) => stop.hint(format!("did you mean `{near}`?")),
        None => stop,
    }
}
