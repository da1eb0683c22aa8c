//! Arguments that depend on the pipeline: after `run PIPELINE`, `plan PIPELINE` and `validate`, the options
//! of the command and the inputs of the pipeline, which are known once the pipeline is loaded.

mod input_flags;

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args as _, FromArgMatches, ValueEnum as _};
use indexmap::IndexMap;

use crate::cli::app::App;
use crate::cli::command_line;
use crate::cli::command_line::GlobalArgs;
use crate::cli::error::CommandError;
use crate::cli::format::Format;
use crate::cli::loading;
use crate::cli::project::settings::Settings;
use crate::cli::terminal::Terminal;
use crate::plan::{self, InputKind};
use crate::report::units;

/// A pipeline, the options of the command, and the given inputs.
pub struct DynamicArgs<O> {
    /// App, including the options after the name.
    pub app: App,
    /// Pipeline to run.
    pub pipeline: loading::LoadedPipeline,
    /// Options of the command.
    pub options: O,
    /// Inputs as given.
    pub inputs: IndexMap<String, plan::Given>,
}

/// Reads everything after `atoll COMMAND`; `words` start with the name of the pipeline.
pub fn read<O: clap::Args>(
    app: &App,
    command: &'static str,
    words: &[String],
) -> Result<DynamicArgs<O>, CommandError> {
    let name = words.first().filter(|name| !name.starts_with('-')).ok_or_else(|| {
        CommandError::usage("the pipeline is missing")
            .hint(format!("write `atoll {command} PIPELINE …`, with its inputs after its name"))
    })?;
    let named = Arg::new("pipeline").required(true).value_name("PIPELINE").help("The pipeline");
    understand(app, (command, name), Some(named))
}

/// Reads everything after `atoll NAME`, a command that runs the pipeline of the same name.
pub fn of<O: clap::Args>(app: &App, name: &'static str) -> Result<DynamicArgs<O>, CommandError> {
    understand(app, (name, name), None)
}

fn understand<O: clap::Args>(
    app: &App,
    (command, name): (&'static str, &str),
    named: Option<Arg>,
) -> Result<DynamicArgs<O>, CommandError> {
    let arguments = &app.arguments[..];
    let sets = sets(arguments);
    let pipeline = loading::load_valid(app, name, &sets, format(arguments))?;
    let own = O::augment_args(clap::Command::new(command))
        .about(units::name(&pipeline.plan.summary))
        .long_about(None)
        .args(named)
        .arg(
            Arg::new("input")
                .long("input")
                .value_name("NAME=VALUE")
                .action(clap::ArgAction::Append)
                .help("Set an input whose name is also an option"),
        );
    let own = input_flags::add(own, &pipeline.plan);
    let whole = GlobalArgs::augment_args(clap::Command::new("atoll")).subcommand(own).max_term_width(110);
    let matches = whole
        .try_get_matches_from(arguments)
        .map_err(|error| CommandError::told(command_line::report_usage(&error)))?;
    let usage = |error: clap::Error| CommandError::told(command_line::report_usage(&error));
    let common = GlobalArgs::from_arg_matches(&matches).map_err(usage)?;
    let (_, inner) = matches.subcommand().ok_or_else(|| CommandError::usage("the command is missing"))?;
    let options = O::from_arg_matches(inner).map_err(usage)?;
    let app = App {
        settings: Settings::find(common.data_dir.as_deref())?,
        terminal: Terminal::find(common.color, common.quiet),
        arguments: app.arguments.clone(),
    };
    let mut inputs = input_flags::given(&pipeline.plan, inner);
    inputs.extend(by_name(inner)?);
    for (name, given) in &mut inputs {
        let kind = pipeline.plan.inputs.get(name).map(|input| &input.kind);
        let plan::Given::Text(path) = given else { continue };
        match kind {
            Some(InputKind::OutputPath) if !path.is_empty() => {
                *path = app.settings.output_from_project(path);
            }
            Some(kind) if kind.is_read() => *path = app.settings.input_from_project(path),
            _ => {}
        }
    }
    Ok(DynamicArgs { app, pipeline, options, inputs })
}

fn by_name(matches: &ArgMatches) -> Result<Vec<(String, plan::Given)>, CommandError> {
    let given = matches.get_many::<String>("input").into_iter().flatten();
    given
        .map(|text| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), plan::Given::Text(value.to_owned()))),
            None => Err(CommandError::usage(format!("`--input {text}` has no value"))
                .hint("write `--input NAME=VALUE`")),
        })
        .collect()
}

/// The values of `--set` at any position: they must be known before the pipeline is loaded.
fn sets(arguments: &[OsString]) -> Vec<String> {
    values(arguments, "--set").collect()
}

fn format(arguments: &[OsString]) -> Format {
    let mut formats = values(arguments, "--format").filter_map(|word| Format::from_str(&word, false).ok());
    formats.find(|format| !format.is_text()).unwrap_or_default()
}

fn values<'a>(arguments: &'a [OsString], flag: &'a str) -> impl Iterator<Item = String> + 'a {
    let words = || arguments.iter().map(|word| word.to_string_lossy());
    words().zip(words().skip(1).map(Some).chain([None])).filter_map(move |(word, next)| {
        let rest = word.strip_prefix(flag)?;
        if rest.is_empty() {
            next.map(std::borrow::Cow::into_owned)
        } else {
            rest.strip_prefix('=').map(str::to_owned)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_wherever_they_stand() {
        let words = [
            "atoll",
            "--set",
            "a=1",
            "run",
            "p",
            "--set=b.c=2",
            "--settle",
            "x",
            "--format",
            "json",
            "--set",
        ];
        let arguments: Vec<OsString> = words.map(OsString::from).to_vec();
        assert_eq!(sets(&arguments), ["a=1", "b.c=2"]);
        assert_eq!(format(&arguments), Format::Json);
    }
}
