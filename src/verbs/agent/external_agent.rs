//! Work by an external program: it is started, its events are read, and it is ended. Its cost is recorded in
//! every case.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::json;

use super::super::model_selection::{UnknownCost, priced};
use super::conversation::locked;
use super::goal::{ResultGoal, ResultSource, unfit};
use super::input::AgentInput;
use super::report::{AgentOutput, EndedBy, Ending, with_remains};
use super::workspace::WorkspaceFiles;
use super::{Agent, lay_out};
use crate::coding_agents::{AgentEnd, AgentLimit, CodingAgent, EventParser, LaunchRequest};
use crate::llm::registry::Model;
use crate::meter::Meter;
use crate::relay::BoundedOutput;
use crate::runtime::process::{AgentWorkspace, LineProcess, ProgramIsolation, installed};
use crate::runtime::service::ExecSpec;
use crate::tree::Tree;
use crate::value::Value;
use crate::verb::{Class, Context, Failure, Output};

/// Time that a program may take to exit after it reported its end.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes kept from the beginning and from the end of the program's output.
const HEAD: usize = 2 << 20;
const TAIL: usize = 6 << 20;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How programs are found, and the home directory that they use outside a sandbox.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The path of this executable, which is started again to supervise programs.
    pub own: PathBuf,
    /// The search path.
    pub path: String,
    /// The user's home.
    pub home: String,
}

/// A running program.
struct ExternalRun<'a> {
    with: &'a AgentInput,
    coder: Arc<CodingAgent>,
    goal: ResultGoal,
    /// The model, for the price, if the program does not report its cost.
    model: Option<Arc<Model>>,
    cx: &'a Context,
    events: EventParser,
    transcript: BoundedOutput,
}

impl Agent {
    /// Runs the program that `with` names.
    pub(super) async fn run_external(
        &self,
        with: &AgentInput,
        name: &str,
        cx: &Context,
    ) -> Result<Output<AgentOutput>, Failure> {
        let coder = self.coders.find(name)?;
        if !self.models.asks() {
            return Err(Failure::permanent(format!(
                "the work of the agent `{name}` is not recorded in the cassette"
            ))
            .hint("replay with a `model` instead of `cli`, or run this step without --replay"));
        }
        let mut work = ExternalRun {
            with,
            goal: ResultGoal::new(with.result.as_deref(), cx.schema.clone())?,
            model: self.priced_model(with, &coder)?,
            coder,
            cx,
            events: EventParser::default(),
            transcript: BoundedOutput::new(HEAD, TAIL),
        };
        let begun = match &with.tree {
            Some(tree) => Tree::load(&*cx.blobs, &tree.tree)?,
            None => Tree::new(),
        };
        let bench = self.runtimes.bench(&cx.run, with.sandbox)?;
        if !with.sandbox && !self.runtimes.allows_host() {
            return Err(Failure::permanent(format!("the agent `{name}` may not run without a sandbox"))
                .hint("allow it with --allow-host, or remove `sandbox = false`"));
        }
        lay_out(&begun, &bench, cx).await?;
        let mut workspace = WorkspaceFiles::new(&bench, &with.ignore)?;
        if let ResultSource::File(path, _) = &work.goal.place {
            workspace.before_work(path)?;
        }
        let workspace = Arc::new(Mutex::new(workspace));
        let by = work.run(&bench, &self.programs).await;
        work.settle(by, &begun, &workspace).await
    }

    /// The model that a program uses, for its price. A program whose cost would be unknown is not started.
    fn priced_model(&self, with: &AgentInput, coder: &CodingAgent) -> Result<Option<Arc<Model>>, Failure> {
        let name = with.model.as_ref().and_then(|names| names.list().first());
        let full = name.map(|name| full_name(coder, name));
        let model = full.as_ref().and_then(|full| self.models.find(full).ok());
        if coder.tells_cost() || with.unknown_cost == UnknownCost::Count {
            return Ok(model);
        }
        match (&full, &model) {
            (Some(name), Some(model)) => priced(name, model)?,
            _ => {
                return Err(Failure::permanent(format!("the cost of the agent `{}` is unknown", coder.name))
                    .hint(
                        "set `model` to one with a price in the registry, or set unknown_cost = \"count\"",
                    ));
            }
        }
        Ok(model)
    }
}

/// The registry name of the model that a program is started with.
pub(super) fn full_name(coder: &CodingAgent, name: &str) -> String {
    match &coder.provider {
        Some(provider) if !name.contains('/') => format!("{provider}/{name}"),
        _ => name.to_owned(),
    }
}

impl ExternalRun<'_> {
    /// Starts the program and reads its events until it ends.
    async fn run(&mut self, bench: &AgentWorkspace, programs: &Programs) -> Result<EndedBy, Failure> {
        let asked = self.coder.clone();
        let argv0 = asked.program();
        let (found, dirs) = installed(argv0, &programs.path).ok_or_else(|| {
            Failure::permanent(format!(
                "the agent `{}` is not installed: `{argv0}` is not on PATH",
                asked.name
            ))
            .hint(format!("install it, or set its path: [agents.{}] argv = [\"/path/to/it\", …]", asked.name))
        })?;
        let mut readable = dirs;
        readable.push("/etc/resolv.conf".into());
        readable.extend(asked.readable.iter().map(|dir| match dir.strip_prefix("~/") {
            Some(rest) => PathBuf::from(&programs.home).join(rest),
            None => PathBuf::from(dir),
        }));
        let ground =
            if self.with.sandbox { ProgramIsolation::Sandbox(&readable) } else { ProgramIsolation::Host };
        let (_, aside) = bench.aside(&ground);
        let launch = asked.launch(&self.launch_request(aside.display().to_string()), &*self.cx.secrets)?;
        for (name, text) in &launch.files {
            bench.put_aside(name, text)?;
        }
        let home = if self.with.sandbox {
            asked.home.iter().try_for_each(|(name, text)| bench.put_aside(&format!("home/{name}"), text))?;
            bench.put_aside("home/.keep", "")?;
            aside.join("home").display().to_string()
        } else {
            programs.home.clone()
        };
        let mut argv = launch.argv;
        argv[0] = found.display().to_string();
        let path = if self.with.sandbox {
            let own = found.parent().map(|dir| format!(":{}", dir.display())).unwrap_or_default();
            format!("{PATH}{own}")
        } else {
            programs.path.clone()
        };
        let beneath =
            [("PATH", path), ("HOME", home), ("LANG", "C.UTF-8".to_owned()), ("CI", "true".to_owned())];
        let mut env: IndexMap<String, String> = beneath.map(|(name, value)| (name.to_owned(), value)).into();
        env.extend(launch.env);
        let spec = ExecSpec {
            argv,
            env,
            cwd: Some(bench.seen(&ground)),
            stdin: launch.stdin.into_bytes(),
            ..ExecSpec::default()
        };
        self.cx.progress.line(format!("starting the agent `{}`", asked.name));
        let piped = bench.launch(&spec, &ground, &programs.own).await?;
        self.read_output(piped).await
    }

    /// The prompt for the program.
    fn launch_request(&self, files: String) -> LaunchRequest {
        let with = self.with;
        let mut prompt = with.prompt.clone();
        let words = match (&self.goal.place, &self.goal.schema) {
            (ResultSource::File(..), _) => self.goal.words(),
            (ResultSource::Call, Some(schema)) if !self.coder.takes_schema() => Some(format!(
                "When everything is done, end with one JSON value and nothing else: no prose, no code fence. It has to \
                 fit this JSON Schema:\n{}",
                schema.canonical()
            )),
            _ => None,
        };
        if let Some(words) = words {
            prompt = format!("{prompt}\n\n{words}");
        }
        let schema =
            matches!(self.goal.place, ResultSource::Call).then_some(self.goal.schema.as_ref()).flatten();
        LaunchRequest {
            prompt,
            system: with.system.clone().filter(|text| !text.trim().is_empty()),
            model: with.model.as_ref().and_then(|names| names.list().first()).cloned(),
            turns: with.turns,
            usd: with.usd,
            schema: schema.map(|schema| schema.canonical().to_string()),
            files,
            logged_in: !with.sandbox,
        }
    }

    /// Reads events until the program ends or a limit is reached; then stops all of its processes.
    async fn read_output(&mut self, mut piped: LineProcess) -> Result<EndedBy, Failure> {
        let clock = self.cx.clock.clone();
        let mut wall = clock.sleep(self.with.wall.0);
        let mut silence = clock.sleep(self.with.idle.0);
        let mut linger = None;
        let ended = loop {
            let lingering = async {
                match &mut linger {
                    Some(pause) => pause.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.cx.cancel.cancelled() => break Err(Failure::cancelled()),
                line = piped.line() => match line {
                    Ok(Some(line)) => if self.take(&line) {
                        self.report_cost().await?;
                    },
                    _ => break Ok(None),
                },
                () = lingering => {
                    self.cx.progress.line("the agent reported its end but did not exit: stopping it");
                    break Ok(Some(EndedBy::Done));
                }
                () = &mut wall => break Ok(Some(EndedBy::Wall)),
                () = &mut silence => break Ok(Some(EndedBy::Idle)),
            }
            silence = clock.sleep(self.with.idle.0);
            if self.events.end.is_some() && linger.is_none() {
                linger = Some(clock.sleep(LINGER));
            }
            if let Some(by) = self.limit() {
                break Ok(Some(by));
            }
        };
        // The output is closed; the program may run on only until the grace period ends.
        let over = match (&ended, self.events.end) {
            (Ok(None), _) => tokio::select! {
                code = piped.ended() => Some(code),
                () = clock.sleep(LINGER) => None,
                () = self.cx.cancel.cancelled() => None,
            },
            _ => None,
        };
        let code = piped.stop().await;
        while let Some(line) = piped.last_line().await {
            let _ = self.take(&line);
        }
        let errors = piped.errors().await;
        match ended? {
            Some(EndedBy::Done) => self.judge(None, &errors),
            Some(by) => Ok(by),
            None => self.judge(over.unwrap_or(code), &errors),
        }
    }

    /// Processes a line; returns whether it reports another answer.
    fn take(&mut self, line: &[u8]) -> bool {
        self.transcript.push(&[line, b"\n"].concat());
        let before = self.events.turns();
        self.events.take(line, &self.coder);
        let more = self.events.turns() > before || self.events.end.is_some();
        if more && self.events.end.is_none() {
            self.cx.progress.line(format!("turn {}", self.events.turns()));
        }
        more
    }

    /// Saves the cost so far, in case this process does not live to report it at the end.
    async fn report_cost(&self) -> Result<(), Failure> {
        // The reported cost is taken as complete.
        let told = json!({ "attempt": self.cx.attempt, "spent": self.spent(), "kept": true });
        self.cx.cursors.save(told).await
    }

    /// The limit that is exceeded according to the program's reports: some programs have no limits of their
    /// own.
    fn limit(&self) -> Option<EndedBy> {
        let spent = self.spent();
        let tokens = spent.get("tokens_in") + spent.get("tokens_out");
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
        let past = |most: u64| tokens >= most as f64;
        if self.events.end.is_some() {
            None
        } else if self.events.turns() > u64::from(self.with.turns) {
            Some(EndedBy::Turns)
        } else if spent.get("usd") >= self.with.usd {
            Some(EndedBy::Usd)
        } else if self.with.tokens.is_some_and(past) {
            Some(EndedBy::Tokens)
        } else {
            None
        }
    }

    /// How it ended, as reported; a program that exits without a report failed.
    fn judge(&self, code: Option<i32>, errors: &str) -> Result<EndedBy, Failure> {
        let name = &self.coder.name;
        let said = |text: &str| -> String { self.cx.secrets.redact(text).chars().take(400).collect() };
        match (self.events.end, self.events.limit) {
            (_, Some(AgentLimit::Turns)) => Ok(EndedBy::Turns),
            (_, Some(AgentLimit::Usd)) => Ok(EndedBy::Usd),
            (Some(AgentEnd::Done), None) => {
                if code.is_some_and(|code| code != 0) {
                    self.cx.progress.line(format!(
                        "the agent `{name}` was done, and then ended with exit code {}",
                        code.unwrap_or(0)
                    ));
                }
                Ok(EndedBy::Done)
            }
            (Some(AgentEnd::Failed), None) => Err(classified_failure(
                &self.events.error,
                format!("the agent `{name}` failed: {}", said(&self.events.error)),
            )),
            (None, None) => {
                let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
                let last = errors.lines().last().unwrap_or_default();
                let message = format!(
                    "the agent `{name}` ended with {code} without reporting a result: {}",
                    said(last)
                );
                let failure = classified_failure(errors, message);
                // A program that never sent an event was started with wrong arguments.
                let class = if self.events.events == 0 && failure.class == Class::Transient {
                    Class::Permanent
                } else {
                    failure.class
                };
                Err(Failure { class, ..failure }.detail(json!({ "stderr": said(errors) })))
            }
        }
    }

    /// The cost reported so far.
    fn spent(&self) -> Meter {
        let usage = self.events.usage();
        let turns = self.events.turns();
        let mut meter = Meter::new();
        if turns == 0 && usage.tokens_in + usage.tokens_out == 0 && self.events.usd.is_none() {
            return meter;
        }
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
        let mut add = |unit: &str, n: u64| meter.add(unit, n as f64);
        add("calls", turns.max(1));
        add("tokens_in", usage.tokens_in);
        add("tokens_out", usage.tokens_out);
        if usage.cache_read > 0 {
            add("tokens_cached", usage.cache_read);
        }
        let price = self.model.as_ref().and_then(|model| model.price);
        if let Some(usd) = self.events.usd.or_else(|| price.map(|price| price.of(&usage))) {
            meter.add("usd", usd);
        }
        let to = self.model.as_ref().map_or_else(|| self.coder.name.clone(), |model| model.full_name());
        meter.paid(to, self.with.role.as_deref().unwrap_or_default())
    }

    /// The output, or the failure; both have the cost.
    async fn settle(
        self,
        by: Result<EndedBy, Failure>,
        begun: &Tree,
        workspace: &Arc<Mutex<WorkspaceFiles>>,
    ) -> Result<Output<AgentOutput>, Failure> {
        let spent = self.spent();
        let transcript = self.cx.secrets.redact(&String::from_utf8_lossy(&self.transcript.all().bytes));
        let by = match by {
            Ok(by) => by,
            Err(failure) => {
                let kept = self.cx.blobs.put(transcript.as_bytes()).ok().map(|blob| blob.digest);
                let remains = json!({"turns": self.events.turns(), "transcript": kept});
                return Err(with_remains(failure, remains, spent));
            }
        };
        let (taken, blobs) = (workspace.clone(), self.cx.blobs.clone());
        let left = tokio::task::spawn_blocking(move || locked(&taken).snapshot(&*blobs)).await;
        let left = left.map_err(|e| Failure::new(Class::Bug, format!("the files cannot be saved: {e}")));
        let left = left.and_then(|left| left).map_err(|failure| failure.spent(spent.clone()))?;
        let result = match self.result(workspace) {
            Ok(result) => result,
            Err(violations) if by == EndedBy::Done => {
                let answer = self.events.result.clone().unwrap_or_else(|| json!(self.events.text));
                return Err(unfit(&violations, &answer).spent(spent));
            }
            Err(_) => None,
        };
        let result = result.map(|value| redacted(value, self.cx));
        let ending = Ending {
            begun,
            fixed: self.with.fixed.as_ref(),
            left,
            by,
            result,
            wants: !matches!(self.goal.place, ResultSource::Nowhere),
            text: self.cx.secrets.redact(&self.events.text),
            turns: u32::try_from(self.events.turns()).unwrap_or(u32::MAX),
            model: self.coder.name.clone(),
            spent: spent.plain(),
            transcript,
        };
        match ending.settle(self.cx) {
            Ok(value) => Ok(Output { value, spent }),
            Err(failure) => Err(failure.spent(spent)),
        }
    }

    /// The result: from its file, its last event, or a final message that is only JSON.
    fn result(&self, workspace: &Mutex<WorkspaceFiles>) -> Result<Option<Value>, Vec<String>> {
        match &self.goal.place {
            ResultSource::Nowhere => Ok(None),
            ResultSource::File(path, json) => {
                let bytes = locked(workspace).result(path).map_err(|why| vec![why])?;
                self.goal.written(path, *json, &bytes).map(Some)
            }
            ResultSource::Call => {
                let value = match &self.events.result {
                    Some(value) => value.clone(),
                    None => crate::value::parse(self.events.text.trim())
                        .map_err(|e| vec![format!("its final message is not JSON: {e}")])?,
                };
                self.goal.fitting(value).map(Some)
            }
        }
    }
}

/// `value` without secrets: the program has its key and may print it.
fn redacted(value: Value, cx: &Context) -> Value {
    let text = value.to_string();
    let hushed = cx.secrets.redact(&text);
    if hushed == text { value } else { serde_json::from_str(&hushed).unwrap_or_default() }
}

/// A failure whose class follows from a vendor's message.
fn classified_failure(words: &str, message: String) -> Failure {
    let lower = words.to_lowercase();
    let has = |list: &[&str]| list.iter().any(|word| lower.contains(word));
    if has(&[
        "api key",
        "api_key",
        "unauthorized",
        "authentication",
        "not logged in",
        "credit balance",
        "/login",
        "401",
    ]) {
        Failure::new(Class::Auth, message).hint("check the key that the agent gets, and its account")
    } else if has(&["rate limit", "rate_limit", "too many requests", "429", "usage limit", "quota"]) {
        Failure::new(Class::RateLimited, message)
    } else {
        Failure::transient(message)
    }
}
