//! `atoll which PATH`: shows which file a name resolves to, and which files it overrides.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::project::text_layers::TextLayers;
use crate::diag::nearest;
use crate::plan::{Found, Sources, Unreadable};
use crate::value::Value;

const DIRS: [&str; 3] = ["pipelines", "prompts", "schemas"];

/// `atoll which`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A path such as `prompts/factory/generate.md`, or the name of a pipeline
    #[arg(value_name = "PATH")]
    path: String,
    /// Output format
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Shows the files.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let texts = TextLayers::new(&app.settings);
    let failed = |e: Unreadable| CommandError::failed(e);
    let mut found = texts.all(&args.path).map_err(failed)?;
    if found.is_empty() {
        found = texts.all(&format!("pipelines/{}.toml", args.path)).map_err(failed)?;
    }
    let Some((first, hidden)) = found.split_first() else { return Err(unknown(&texts, &args.path)) };
    let json = || {
        let object = |found: &Found| json!({"layer": found.layer.word(), "path": found.name});
        let hidden: Vec<Value> = hidden.iter().map(object).collect();
        json!({"version": 1, "found": object(first), "hides": hidden})
    };
    let text = || {
        let line = |found: &Found| format!("{} ({})", found.name, found.layer.word());
        let mut text = line(first) + "\n";
        for found in hidden {
            text.push_str("  overrides ");
            text.push_str(&line(found));
            text.push('\n');
        }
        text
    };
    args.format.print(app.terminal, json, text)?;
    Ok(ExitStatus::REACHED)
}

fn unknown(texts: &TextLayers, path: &str) -> CommandError {
    let known: Vec<String> = DIRS.iter().flat_map(|dir| texts.list(dir)).collect();
    let names = known.iter().filter_map(|path| path.strip_prefix("pipelines/")?.strip_suffix(".toml"));
    let stop =
        CommandError::usage(format!("`{path}` is not in the project, the user's directory or the binary"));
    match nearest(path, known.iter().map(String::as_str).chain(names)) {
        Some(near) => stop.hint(format!("did you mean `{near}`?")),
        None => stop,
    }
}
