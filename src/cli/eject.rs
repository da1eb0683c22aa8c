//! `atoll eject PIPELINE`: copies a pipeline with its prompts and schemas, for editing.
#![expect(clippy::disallowed_methods, reason = "the door through which texts are written into the project")]

use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::{Desk, Done, Exit, Stop, loading};

/// `atoll eject`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Where to copy it [default: the project]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Overwrite files that are there and differ
    #[arg(long)]
    force: bool,
}

/// Copies.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let loaded = loading::load(desk, &ask.pipeline, &[])?;
    let files = &loaded.bundle.files;
    if files.is_empty() {
        return Err(loading::refuse(desk, &loaded.diagnostics, &loaded.sources, super::args::Format::Text)?);
    }
    let root =
        ask.into.as_ref().map_or_else(|| desk.settings.project.clone(), |dir| desk.settings.here.join(dir));
    let differs =
        |path: &String, text: &String| fs::read_to_string(root.join(path)).is_ok_and(|there| there != *text);
    let in_the_way: Vec<&str> =
        files.iter().filter(|(path, text)| differs(path, text)).map(|(path, _)| path.as_str()).collect();
    if !in_the_way.is_empty() && !ask.force {
        return Err(Stop::usage(format!(
            "these files are there already and differ: {}",
            in_the_way.join(", ")
        ))
        .hint("`--force` overwrites them, `--into DIR` copies to somewhere else"));
    }
    for (path, text) in files {
        let target = root.join(path);
        let failed = |e: std::io::Error| Stop::failed(format!("{} cannot be written: {e}", target.display()));
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        if fs::read_to_string(&target).is_ok_and(|there| there == *text) {
            desk.face.say(&format!("{} is there already", target.display()));
            continue;
        }
        fs::write(&target, text).map_err(failed)?;
        desk.face.print_line(&target.display().to_string())?;
    }
    Ok(Exit::REACHED)
}
