//! `atoll graph PIPELINE`: draws a pipeline.

use clap::{Args, ValueEnum};

use super::{Desk, Done, Exit, args, loading};
use crate::report::graph;

/// `atoll graph`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The pipeline: a name, or the path of a TOML file
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Format of the graph
    #[arg(long, default_value = "mermaid")]
    format: Format,
}

/// Format of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Mermaid, for Markdown.
    Mermaid,
    /// Graphviz.
    Dot,
    /// Steps and edges as a JSON object.
    Json,
}

/// Draws.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    let pipeline = loading::sound(desk, &ask.pipeline, &ask.set, args::Format::Text)?;
    pipeline.warn(desk);
    match ask.format {
        Format::Mermaid => desk.face.print_line(&graph::mermaid(&pipeline.plan))?,
        Format::Dot => desk.face.print_line(&graph::dot(&pipeline.plan))?,
        Format::Json => desk.face.print_json(&graph::json(&pipeline.plan))?,
    }
    Ok(Exit::REACHED)
}
