//! `atoll run PIPELINE`: begins a run and carries it out.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;

use super::args::Format;
use super::events::stream;
use super::follow::{Follower, Stream};
use super::given::{self, Given};
use super::house::{self, Doors};
use super::past::Past;
use super::person::Terminal;
use super::trust::Allow;
use super::{Desk, Done, Exit, Files, Stop, granted, loading, signals};
use crate::clock::parse_span;
use crate::diag::nearest;
use crate::driver::{Asker, Begin, House, Job, Outcome, Wires, drive};
use crate::engine::Standing;
use crate::id::RunId;
use crate::llm::Mode;
use crate::plan::{Bundle, Limit, check_inputs};
use crate::report::outcome::{Ending, outputs_text};
use crate::store::Durability;
use crate::value::{Value, canonical};
use crate::view::{Board, Status};

/// `atoll run`.
#[derive(Debug, Args)]
pub struct Ask {
    #[command(flatten)]
    options: Options,
    /// The pipeline, followed by its inputs; `atoll run PIPELINE --help` lists them
    #[arg(value_name = "PIPELINE [--INPUT VALUE]", required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct Options {
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    carry: Carry,
}

/// Options that control how a run is executed and shown.
#[derive(Clone, Debug, Args)]
pub struct Carry {
    /// Format of the result on standard output
    #[arg(long, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub means: Means,
}

/// Options that control how a run is executed.
#[derive(Clone, Debug, Args)]
pub struct Means {
    /// Write each event as one line of JSON to this file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Do not prompt: a question takes its default, or the run pauses
    #[arg(long)]
    pub no_input: bool,
    /// Maximum number of concurrent attempts in a lane
    #[arg(long, value_name = "NAME=N", value_parser = lane)]
    pub lane: Vec<(String, usize)>,
    /// Spending limit for a unit, which replaces the limit in the pipeline: `usd=10`
    #[arg(long, value_name = "UNIT=N", value_parser = limit)]
    limit: Vec<(String, f64)>,
    /// What a recorded fact survives: a power cut (`full`), or only a crash (`normal`)
    #[arg(long, value_name = "HOW", default_value = "full")]
    pub durability: Sureness,
    /// How long running steps may continue after Ctrl-C or SIGTERM before they are stopped: `90s`, `5m`
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span)]
    grace: Duration,
    #[command(flatten)]
    pub doors: DoorOptions,
}

/// Options for cassettes, the sandbox and permissions.
#[derive(Clone, Debug, Args)]
pub struct DoorOptions {
    /// Record all model answers in this file
    #[arg(long, value_name = "FILE", group = "cassette")]
    pub record: Option<PathBuf>,
    /// Replay model answers from this file, and fail if an answer is missing
    #[arg(long, value_name = "FILE", group = "cassette")]
    pub replay: Option<PathBuf>,
    /// Replay model answers from this file; if one is missing, call the model and record its answer
    #[arg(long, value_name = "FILE", group = "cassette")]
    pub replay_fill: Option<PathBuf>,
    /// With `--record`, record when each piece of an answer arrives; with `--replay`, replay at that speed
    #[arg(long, requires = "cassette")]
    pub timing: bool,
    /// Run services and the commands of agents without a sandbox if none is available
    #[arg(long)]
    pub allow_host: bool,
    #[command(flatten)]
    pub allow: Allow,
}

impl DoorOptions {
    fn cassette(&self) -> Mode {
        match (&self.record, &self.replay, &self.replay_fill) {
            (Some(path), _, _) => Mode::Record(path.clone()),
            (_, Some(path), _) => Mode::Replay(path.clone()),
            (_, _, Some(path)) => Mode::Fill(path.clone()),
            (None, None, None) => Mode::Off,
        }
    }
}

/// What a recorded fact survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sureness {
    /// Survives a power cut.
    Full,
    /// Survives a crash of the process.
    Normal,
}

impl Means {
    /// Everything that the run is carried out with.
    pub fn house(&self, desk: &Desk) -> Result<House, Stop> {
        let durability = match self.durability {
            Sureness::Full => Durability::Full,
            Sureness::Normal => Durability::Normal,
        };
        let DoorOptions { timing, allow_host, .. } = self.doors;
        let allow = self.doors.allow.clone();
        let doors = Doors { durability, cassette: self.doors.cassette(), timing, allow_host, allow };
        let mut house = house::house(&desk.settings, &doors)?;
        house.lanes.extend(self.lane.iter().cloned());
        house.caps.extend(self.limit.iter().cloned());
        house.grace = self.grace;
        Ok(house)
    }
}

/// A limit of a unit: `usd=10`.
pub fn limit(text: &str) -> Result<(String, f64), String> {
    let wrong = || "a limit is UNIT=N, e.g. usd=10, tokens=200000, calls=50 or wall=2h".to_owned();
    let (unit, n) = text.split_once('=').ok_or_else(wrong)?;
    if !Limit::UNITS.contains(&unit) {
        let near = nearest(unit, Limit::UNITS).map(|near| format!(": did you mean `{near}`?"));
        return Err(format!(
            "nothing is counted in `{unit}`{}",
            near.unwrap_or_else(|| format!(", units are {}", Limit::UNITS.join(", ")))
        ));
    }
    let span = || parse_span(n).filter(|_| unit == "wall").map(|span| span.as_secs_f64());
    let cap = n.parse().ok().or_else(span).filter(|n: &f64| n.is_finite() && *n >= 0.0);
    Ok((unit.to_owned(), cap.ok_or_else(wrong)?))
}

fn span(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| "a span is a number and a unit, e.g. 30s, 5m or 1h30m".to_owned())
}

fn lane(text: &str) -> Result<(String, usize), String> {
    let limit = text.split_once('=').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?)));
    limit.filter(|(_, n)| *n > 0).ok_or_else(|| "a lane is NAME=N, with N from 1 on".to_owned())
}

/// Runs a pipeline.
pub fn serve(desk: &Desk, ask: &Ask, arguments: &[OsString]) -> Done {
    let Given { desk, pipeline, options, inputs } =
        given::read::<Options>(desk, "run", &ask.words, arguments)?;
    let carry = options.carry;
    granted::introduce(&desk, &pipeline)?;
    let inputs = match check_inputs(&pipeline.plan, &inputs, &Files::new(&desk.settings)?) {
        Ok(inputs) => inputs,
        Err(found) => return Err(loading::refuse(&desk, &found, &pipeline.sources, carry.format)?),
    };
    let stream = stream(&carry)?;
    let mut house = carry.means.house(&desk)?;
    granted::prepare(&desk, &mut house, (&pipeline.plan, &pipeline.bundle), &inputs)?;
    let job = fresh(&house, &pipeline, inputs)?;
    carry_out(&desk, &house, job, Showing { carry: &carry, stream })
}

/// A run of `pipeline` that is about to begin; what its plan was made from is kept.
pub fn fresh(house: &House, pipeline: &loading::Pipeline, inputs: Value) -> Result<Job, Stop> {
    keep(house, &pipeline.bundle)?;
    let run = RunId::at(house.clock.now(), u128::from(chance()) << 64 | u128::from(chance()));
    Ok(Job { run, plan: pipeline.plan.clone(), begin: Begin::Fresh { inputs, seed: chance() } })
}

/// Keeps what the plan was made from, under the digest that the head of the run names.
pub fn keep(house: &House, bundle: &Bundle) -> Result<(), Stop> {
    let value = serde_json::to_value(bundle).map_err(Stop::failed)?;
    house.store.put(canonical(&value).as_bytes())?;
    Ok(())
}

/// A number nobody can foretell.
pub fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

/// How a run is shown, and what is answered without asking.
pub struct Showing<'a> {
    /// The options.
    pub carry: &'a Carry,
    /// Where events go.
    pub stream: Stream,
}

/// Carries a run out to its end or pause, shows it, and says with which code to end.
pub fn carry_out(desk: &Desk, house: &House, job: Job, showing: Showing<'_>) -> Done {
    let format = showing.carry.format;
    let to_stdout = matches!(showing.stream, Stream::Out);
    let events = showing.carry.means.events.clone();
    let (board, outcome, broken) = conduct(desk, house, job, showing)?;
    let exit = show(desk, house, format, to_stdout, (&board, &outcome))?;
    whole(exit, events, broken)
}

/// Refuses success where the events could not be written.
pub fn whole(exit: Exit, events: Option<PathBuf>, broken: Option<String>) -> Done {
    match (events, broken) {
        (Some(path), Some(why)) if exit == Exit::REACHED => {
            Err(Stop::failed(format!("not all events could be written to {}: {why}", path.display()))
                .hint("the run itself is recorded: `atoll log last --format json` prints its events"))
        }
        _ => Ok(exit),
    }
}

/// Carries a run out to its end or pause, with its progress shown.
pub fn conduct(
    desk: &Desk,
    house: &House,
    job: Job,
    showing: Showing<'_>,
) -> Result<(Board, Outcome, Option<String>), Stop> {
    let Showing { carry, stream } = showing;
    let follower = Follower::start(desk.face, house.clock.clone(), stream)?;
    let person = (desk.face.person && !carry.means.no_input)
        .then(|| Arc::new(Terminal::new(follower.line())) as Arc<dyn Asker>);
    let (run, unseen) = (job.run.clone(), follower.is_unseen());
    let outcome = block_on(house, job, person, &follower);
    let (board, broken) = follower.end()?;
    let outcome = outcome?;
    let reached = Exit::of_standing(&outcome.standing).code() == Exit::REACHED.code();
    if unseen && (!reached || carry.format == Format::Json) {
        // What its steps came to is told, so it is read again.
        return Ok((Past::of(house.store.clone(), run.as_str())?.board()?, outcome, broken));
    }
    Ok((board, outcome, broken))
}

fn block_on(
    house: &House,
    job: Job,
    ask: Option<Arc<dyn Asker>>,
    follower: &Follower,
) -> Result<Outcome, Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Stop::failed(format!("no threads to run on: {e}")))?;
    let (line, told) = (follower.line(), follower.line());
    let house = house.clone();
    let driving = async move {
        let (sender, commands) = mpsc::channel(8);
        let listening = signals::listen(sender, house.grace, move |text| told.say(text))?;
        let notes = line.hears_notes();
        let wires = Wires { events: Arc::new(move |events| line.events(events)), notes, commands, ask };
        let outcome = drive(&house, job, wires).await;
        listening.abort();
        Ok(outcome?)
    };
    // On the threads of those it works with: on this one it would have to be woken for each of their reports.
    let outcome = runtime.block_on(async { tokio::spawn(driving).await });
    runtime.shutdown_background();
    match outcome {
        Ok(outcome) => outcome,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(broken) => Err(Stop::failed(format!("the run was broken off: {broken}"))),
        },
    }
}

fn show(
    desk: &Desk,
    house: &House,
    format: Format,
    to_stdout: bool,
    (board, outcome): (&Board, &Outcome),
) -> Done {
    let exit = Exit::of_standing(&outcome.standing);
    let outputs = Some(&*outcome.outputs);
    let ending = Ending { board, code: exit.code(), outputs, now: house.clock.now() };
    // Outputs so far are told with the last lines: standard output has those of a run that came to its end.
    let last = outputs.filter(|_| matches!(outcome.standing, Standing::Finished { .. }));
    match (format, last) {
        (Format::Json, _) => desk.face.print_json(&ending.json())?,
        (Format::Text, Some(outputs)) if !to_stdout => {
            desk.face.print(&outputs_text(outputs, desk.face.out))?;
        }
        (Format::Text, _) => {}
    }
    tell(desk, &ending);
    Ok(exit)
}

/// The last lines on standard error: what failed where the goal was not reached, and how the run ended.
pub fn tell(desk: &Desk, ending: &Ending<'_>) {
    if ending.code != Exit::REACHED.code() && matches!(ending.board.status, Status::Finished { .. }) {
        let failures = ending.failures(desk.face.err);
        if !failures.is_empty() {
            desk.face.say(&failures);
        }
    }
    desk.face.say(&ending.summary(desk.face.err));
}
