//! `atoll resume RUN --replan`: a new run of a changed pipeline that reuses the recorded results of the old
//! one.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::{Presentation, execute_and_show, random_u64};
use crate::cli::app::App;
use crate::cli::error::CommandResult;
use crate::cli::loading;
use crate::cli::project::input_files::InputFiles;
use crate::cli::stored_run::StoredRun;
use crate::driver::{Answer, ReusableOutputs, RunRequest, RunStart, Runtime};
use crate::engine::Fact;
use crate::id::{Address, RunId};
use crate::plan::{Given, check_inputs};
use crate::value::{Digest, Value};

/// Starts a run of `pipeline` with the inputs of `stored`, read again, and its results.
pub fn over(
    app: &App,
    runtime: &Runtime,
    stored: &StoredRun,
    pipeline: loading::LoadedPipeline,
    presentation: Presentation<'_>,
) -> CommandResult {
    let given = again(&stored.inputs()?, &pipeline.plan.inputs);
    let inputs = match check_inputs(&pipeline.plan, &given, &InputFiles::new(&app.settings)?) {
        Ok(inputs) => inputs,
        Err(found) => {
            return Err(loading::report_errors(app, &found, &pipeline.sources, presentation.flags.format)?);
        }
    };
    let taken = outcomes(stored)?;
    let run = RunId::at(runtime.clock.now(), u128::from(random_u64()) << 64 | u128::from(random_u64()));
    let outputs: usize = taken.outputs.values().map(std::collections::VecDeque::len).sum();
    let known = outputs + taken.answers.len();
    app.terminal
        .say(&format!("run {run} reuses recorded results of run {} ({known} available)", stored.run()));
    let job = RunRequest {
        run,
        plan: pipeline.plan,
        begin: RunStart::Replan { inputs, seed: random_u64(), taken },
    };
    execute_and_show(app, runtime, job, presentation)
}

/// The recorded inputs as options would give them: files and directories by their path.
fn again(recorded: &Value, declared: &IndexMap<String, crate::plan::Input>) -> IndexMap<String, Given> {
    let recorded = recorded.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let known = recorded.filter_map(|(name, value)| declared.get(name).map(|input| (name, value, input)));
    known
        .map(|(name, value, input)| {
            let path = value["path"].as_str().filter(|_| input.kind.is_read());
            let given = path.map_or_else(|| Given::Value(value.clone()), |path| Given::Text(path.to_owned()));
            (name.clone(), given)
        })
        .collect()
}

/// Outputs of leaf steps by content key, in the order of the journal, and answers of people by their
/// question.
fn outcomes(stored: &StoredRun) -> Result<ReusableOutputs, crate::cli::error::CommandError> {
    let mut keys: HashMap<(Address, u32), Digest> = HashMap::new();
    let mut taken = ReusableOutputs::default();
    let mut asked: HashMap<Address, Vec<(Digest, Digest)>> = HashMap::new();
    let from = stored.run().to_string();
    stored.read(|_, record| match record.fact {
        Fact::Started { key: Some(key), .. } => {
            keys.insert((record.address, record.attempt), key);
        }
        Fact::Succeeded { output, .. } => {
            if let Some(key) = keys.remove(&(record.address, record.attempt)) {
                taken.outputs.entry(key).or_default().push_back(output);
            }
        }
        Fact::Asked(question) => {
            let step = record.address.of_any_item();
            if let (Some(put), true) = (question.digest, step != record.address) {
                let anywhere = question.digest_at(&step);
                asked.entry(step).or_default().push((anywhere, put));
            }
        }
        // The question includes everything that the person saw, its step included. A default is applied
        // again.
        Fact::Answered { answer, by, question: Some(question), note }
            if by != "default" && by != "deadline" =>
        {
            let note = note.unwrap_or_else(|| format!("answered in run {from}"));
            taken.answers.insert(question, Answer { answer, by, note: Some(note) });
        }
        _ => {}
    })?;
    for questions in asked.into_values() {
        let different: HashSet<&Digest> = questions.iter().map(|(anywhere, _)| anywhere).collect();
        // If several items asked different questions, the question includes the item number.
        let put: HashSet<&Digest> = questions.iter().map(|(_, put)| put).collect();
        if put.len() > 1 && different.len() == put.len() {
            taken.moved.extend(questions);
        }
    }
    Ok(taken)
}
