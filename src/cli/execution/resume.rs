//! Resuming a run from its journal, with an answer to one of its questions if there is one.

use std::sync::Arc;

use indexmap::IndexMap;

use super::event_output::stream;
use super::flags::RunFlags;
use super::{Presentation, execute_and_show, leftovers, replan, send_signal, store_bundle};
use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::loading;
use crate::cli::permissions::run_grants;
use crate::cli::project::input_files::InputFiles;
use crate::cli::project::text_layers::TextLayers;
use crate::cli::stored_run::StoredRun;
use crate::cli::wiring;
use crate::driver::{RunRequest, RunStart, Runtime};
use crate::plan::{self, Given, Input, Plan, check_inputs};
use crate::store::{Settled, Signal};
use crate::value::Value;

/// Continues the run whose id starts with `name`, with an answer if one is given.
pub fn resume(
    app: &App,
    name: &str,
    replan: bool,
    flags: &RunFlags,
    answer: Option<Signal>,
) -> CommandResult {
    if !wiring::has_runs(&app.settings)? {
        return StoredRun::find(app, name).map(|_| ExitStatus::REACHED);
    }
    let stream = stream(flags)?;
    let mut runtime = flags.execution.runtime(app)?;
    let stored = StoredRun::of(runtime.store.clone(), name)?;
    if !replan {
        stored.continues()?;
    }
    let bundle = stored.bundle()?;
    let fresh = plan::load(&bundle.main, &TextLayers::new(&app.settings), &runtime.catalog, &bundle.sets);
    let mut drift: Vec<String> = plan::drift(&bundle, &fresh.bundle).iter().map(shown).collect();
    let open = stored.head.finished_at.is_none();
    if replan {
        let pipeline = loading::require_plan(app, fresh, flags.format)?;
        run_grants::print_changes(app, &pipeline)?;
        run_grants::grant(app, &mut runtime, (&pipeline.plan, &pipeline.bundle), &stored.inputs()?)?;
        store_bundle(&runtime, &pipeline.bundle)?;
        return replan::over(app, &runtime, &stored, pipeline, Presentation { flags, stream });
    }
    let loaded = plan::load_bundle(&bundle, &runtime.catalog);
    if loaded.plan.is_none() {
        app.terminal
            .say("the language has changed since this run was started, and its pipeline cannot be read");
        app.terminal.say("start a new run with the current files: `atoll resume RUN --replan`");
    }
    let pipeline = loading::require_plan(app, loaded, flags.format)?;
    run_grants::print_changes(app, &pipeline)?;
    if open {
        run_grants::grant(app, &mut runtime, (&pipeline.plan, &bundle), &stored.inputs()?)?;
        drift.extend(inputs_that_changed(app, &pipeline.plan, &stored.inputs()?));
        if !drift.is_empty() {
            return Err(refusal(&stored, &drift));
        }
    }
    let Some(answer) = answer else {
        return execute_rest(app, &runtime, &stored, pipeline.plan, Presentation { flags, stream });
    };
    let id = runtime.store.signal(&answer)?;
    let resumed = execute_rest(app, &runtime, &stored, pipeline.plan, Presentation { flags, stream });
    match resumed {
        // Another process has claimed the run meanwhile, and receives the answer as well.
        Err(stop) if stop.exit == ExitStatus::HELD => {
            send_signal::wait(app, runtime.store.as_ref(), stored.run(), id, "answered")
        }
        resumed => match runtime.store.settlement(id)? {
            Some(Settled::Refused(why)) => Err(CommandError::usage(format!("the answer was refused: {why}"))),
            _ => resumed,
        },
    }
}

fn execute_rest(
    app: &App,
    runtime: &Runtime,
    stored: &StoredRun,
    plan: Arc<Plan>,
    presentation: Presentation<'_>,
) -> CommandResult {
    leftovers::clear_for(app, &stored.head, &plan)?;
    let job = RunRequest { run: stored.run().clone(), plan, begin: RunStart::Resume };
    execute_and_show(app, runtime, job, presentation)
}

fn refusal(stored: &StoredRun, drift: &[String]) -> CommandError {
    let message =
        format!("files of run {} have changed since it was started:\n{}", stored.run(), drift.join("\n"));
    CommandError::wrong(message).hint(
        "undo the changes, or use `--replan`: a new run of the changed pipeline that reuses every result whose verb, input and schema are the same",
    )
}

fn shown(changed: &plan::Changed) -> String {
    let mut text = format!("  {}", changed.path);
    for line in &changed.diff {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

/// Files and directories among the inputs whose content has changed, one line each.
fn inputs_that_changed(app: &App, plan: &Plan, recorded: &Value) -> Vec<String> {
    let files = InputFiles::alone(&app.settings);
    let is_file = |input: &Input| input.kind.is_read();
    let mut lines = Vec::new();
    for (name, _) in plan.inputs.iter().filter(|(_, input)| is_file(input)) {
        let Some(path) = recorded[name]["path"].as_str() else { continue };
        // Only this input is checked; missing other inputs are ignored.
        let given: IndexMap<String, Given> = recorded
            .as_object()
            .into_iter()
            .flatten()
            .map(|(other, value)| {
                let value =
                    if other == name { Given::Text(path.to_owned()) } else { Given::Value(value.clone()) };
                (other.clone(), value)
            })
            .collect();
        match check_inputs(plan, &given, &files) {
            Ok(now) if now[name]["digest"] == recorded[name]["digest"] => {}
            Ok(_) => lines.push(format!("  {path} (input `{name}`)")),
            Err(found) => {
                lines.extend(found.iter().map(|d| format!("  {path} (input `{name}`): {}", d.message)));
            }
        }
    }
    lines
}
