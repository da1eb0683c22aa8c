//! `atoll resume RUN`: goes on with a run from its journal.

use clap::Args;
use indexmap::IndexMap;

use super::events::stream;
use super::past::Past;
use super::run::{Carry, Showing, carry_out, keep};
use super::{Desk, Done, Exit, Files, Stop, Texts, granted};
use super::{house, leftovers, loading, replan, signal};
use crate::driver::{Begin, House, Job};
use crate::plan::{self, Given, Input, Plan, check_inputs};
use crate::store::{Settled, Signal};
use crate::value::Value;

/// `atoll resume`.
#[derive(Debug, Args)]
pub struct Ask {
    /// The run: the beginning of its id, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// Start a new run with the current pipeline and input files, and reuse every recorded result whose verb, input
    /// and schema are unchanged
    #[arg(long)]
    replan: bool,
    #[command(flatten)]
    carry: Carry,
}

/// Resumes a run.
pub fn serve(desk: &Desk, ask: &Ask) -> Done {
    go_on(desk, &ask.run, ask.replan, &ask.carry, None)
}

/// Continues the run whose id begins with `name`, with an answer where one is given.
pub fn go_on(desk: &Desk, name: &str, replan: bool, carry: &Carry, answer: Option<Signal>) -> Done {
    if !house::has_runs(&desk.settings)? {
        return Past::find(desk, name).map(|_| Exit::REACHED);
    }
    let stream = stream(carry)?;
    let mut house = carry.means.house(desk)?;
    let past = Past::of(house.store.clone(), name)?;
    if !replan {
        past.continues()?;
    }
    let stored = past.bundle()?;
    let pipeline = loading::settle(desk, plan::load_bundle(&stored, &house.catalog), carry.format)?;
    let fresh = plan::load(&stored.main, &Texts::new(&desk.settings), &house.catalog, &stored.sets);
    let mut drift: Vec<String> = plan::drift(&stored, &fresh.bundle).iter().map(shown).collect();
    let open = past.head.finished_at.is_none();
    if replan {
        let pipeline = loading::settle(desk, fresh, carry.format)?;
        granted::introduce(desk, &pipeline)?;
        granted::prepare(desk, &mut house, (&pipeline.plan, &pipeline.bundle), &past.inputs()?)?;
        keep(&house, &pipeline.bundle)?;
        return replan::over(desk, &house, &past, pipeline, Showing { carry, stream });
    }
    granted::introduce(desk, &pipeline)?;
    if open {
        granted::prepare(desk, &mut house, (&pipeline.plan, &stored), &past.inputs()?)?;
        drift.extend(inputs_that_changed(desk, &pipeline.plan, &past.inputs()?));
        if !drift.is_empty() {
            return Err(refusal(&past, &drift));
        }
    }
    let Some(answer) = answer else {
        return resume(desk, &house, &past, pipeline.plan, Showing { carry, stream });
    };
    let id = house.store.signal(&answer)?;
    let resumed = resume(desk, &house, &past, pipeline.plan, Showing { carry, stream });
    match resumed {
        // Another process has taken the run meanwhile, and takes the answer as well.
        Err(stop) if stop.exit == Exit::HELD => {
            signal::wait(desk, house.store.as_ref(), past.run(), id, "answered")
        }
        resumed => match house.store.settlement(id)? {
            Some(Settled::Refused(why)) => Err(Stop::usage(format!("the answer was refused: {why}"))),
            _ => resumed,
        },
    }
}

fn resume(desk: &Desk, house: &House, past: &Past, plan: std::sync::Arc<Plan>, showing: Showing<'_>) -> Done {
    leftovers::clear_for(desk, &past.head, &plan)?;
    let job = Job { run: past.run().clone(), plan, begin: Begin::Resume };
    carry_out(desk, house, job, showing)
}

fn refusal(past: &Past, drift: &[String]) -> Stop {
    let message = format!("what run {} was begun with has changed since:\n{}", past.run(), drift.join("\n"));
    Stop::wrong(message).hint(
        "undo the changes, or use `--replan`: a new run of the changed pipeline that takes over every outcome whose verb, input and schema are the same",
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

/// Files and directories among the inputs whose content is not what it was, each as a line.
fn inputs_that_changed(desk: &Desk, plan: &Plan, recorded: &Value) -> Vec<String> {
    let files = Files::alone(&desk.settings);
    let is_file = |input: &Input| input.kind.is_read();
    let mut lines = Vec::new();
    for (name, _) in plan.inputs.iter().filter(|(_, input)| is_file(input)) {
        let Some(path) = recorded[name]["path"].as_str() else { continue };
        // Only this input is looked at; what others lack is no news.
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
