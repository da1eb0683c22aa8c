//! `scenario`: runs one scenario against a program. It calls no model and computes no score.

mod literals;
mod questions;
mod secret_shell;

pub use questions::{JudgeQuestion, JudgedExpectation, KeptValue, QuestionScope, StepEvidence};

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use reqwest::header::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use literals::{HiddenValues, Literals};
use secret_shell::SecretShell;

use super::chromium::ChromiumPages;
use super::secret::{SecretName, TextOrSecret};
use super::tls::TlsFiles;
use crate::chromium::Chromium;
use crate::diag::nearest;
use crate::scenario::{
    Action, Evidences, Generator, HttpClient, Observation, Scenario, ServiceEndpoint, Shell, TestEnvironment,
    Variables, run, runs_commands,
};
use crate::value::{BlobRef, Value};
use crate::verb::{Blobs, Context, Failure, Output, Refusal, Secrets, Traits, Verb, no_secret_name, pointer};

/// Looks up held services by id.
pub trait Services: Send + Sync + 'static {
    /// The service `id` while it is held, `None` if there is none.
    fn shell(&self, id: &str) -> Option<Arc<dyn Shell>>;
}

/// Runs a scenario.
pub struct ScenarioRun {
    services: Arc<dyn Services>,
    chromium: Chromium,
    literals: Literals,
}

impl ScenarioRun {
    /// Commands run inside the services that `services` finds; pages are opened in `chromium`.
    pub fn new(services: Arc<dyn Services>, chromium: Chromium) -> Self {
        Self { services, chromium, literals: Literals::default() }
    }
}

/// Input of `scenario`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioInput {
    /// Scenario to run, from `scenario_load`.
    pub scenario: Scenario,
    /// Base URL for its requests.
    #[serde(default)]
    pub target: Option<String>,
    /// Address for gRPC calls, e.g. `http://127.0.0.1:50051`. Default: `target`.
    #[serde(default)]
    pub grpc_target: Option<String>,
    /// Id of the held service: commands run in it, and its log is recorded for each step. Empty for none.
    #[serde(default)]
    pub service: Option<String>,
    /// Sidecar services by name, from `held.services`: steps can select one with `service`.
    #[serde(default)]
    pub services: BTreeMap<String, SidecarAddress>,
    /// Secret that is sent to the target in the header `Authorization`, unless a step sets that header. None
    /// if its name is empty.
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// TLS settings: which certificates of the target are trusted, and the client certificate.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Whether complete answers of failed steps are kept as evidence, up to 1 MiB each.
    #[serde(default)]
    pub keep_answers: bool,
    /// Initial variables for placeholders: values, or `{ secret = "NAME" }`.
    #[serde(default)]
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    pub variables: Option<IndexMap<String, Value>>,
    /// Grouping of the questions in `open`.
    #[serde(default)]
    pub ask: QuestionScope,
    /// Whether the `satisfaction_criteria` of the scenario are a separate question. Otherwise they are added
    /// to the other questions.
    #[serde(default = "default_true")]
    pub criteria: bool,
}

fn default_true() -> bool {
    true
}

/// Output of `scenario`: the observation, and the questions that it leaves open.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ScenarioOutput {
    /// Observation of the run.
    #[serde(flatten)]
    pub observation: Observation,
    /// Questions for a judge that no assertion decides.
    pub open: Vec<JudgeQuestion>,
}

/// An optional secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// Name of the secret.
    #[serde(default)]
    pub secret: Option<String>,
    /// Text before the value, e.g. `Bearer ` with the space.
    #[serde(default)]
    pub prefix: String,
}

impl Authorization {
    fn header(self, cx: &Context) -> Result<Option<(String, HeaderValue)>, Failure> {
        let Some(secret) = self.secret else { return Ok(None) };
        let name = secret.clone();
        let text = TextOrSecret::Secret(SecretName { secret, prefix: self.prefix }).reveal(AUTHORIZED, cx)?;
        let value = HeaderValue::from_str(&text);
        value.map(|value| Some((name, value))).map_err(|_| unsendable())
    }
}

/// The receiver of the secret of `authorization`, for messages.
const AUTHORIZED: &str = "the header `Authorization` of requests to the target";

fn unsendable() -> Failure {
    Failure::permanent("the value of the secret for `Authorization` cannot be sent")
}

/// The secret of a variable, if it is one.
fn secret_of(value: &Value) -> Option<SecretName> {
    value.get("secret").is_some_and(Value::is_string).then(|| serde_json::from_value(value.clone()).ok())?
}

/// Variables for placeholders.
fn revealed(given: IndexMap<String, Value>, cx: &Context) -> Result<IndexMap<String, Value>, Failure> {
    let reveal = |(name, value): (String, Value)| {
        let value = match secret_of(&value) {
            Some(secret) => TextOrSecret::Secret(secret)
                .reveal(&format!("the variable `{name}` of scenarios"), cx)?
                .into(),
            None => value,
        };
        Ok((name, value))
    };
    given.into_iter().map(reveal).collect()
}

/// A sidecar service.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SidecarAddress {
    /// Its id.
    pub id: String,
    /// URL of the service.
    pub url: String,
    /// Ports of the service, each with its forwarded port on 127.0.0.1.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
}

impl Verb for ScenarioRun {
    const NAME: &'static str = "scenario";
    const SUMMARY: &'static str = "run a scenario and record what was observed";
    const TRAITS: Traits = Traits::repeatable("scenario");
    const EXAMPLE: &'static str = r#"
[steps.trial]
scenario = { scenario = "{{ item }}", target = "{{ held.url }}", service = "{{ held.id }}" }
"#;
    type With = ScenarioInput;
    type Out = ScenarioOutput;

    fn refusals(with: &ScenarioInput) -> Vec<Refusal> {
        let mut found = Vec::new();
        if let Some(Authorization { secret: Some(secret), prefix }) = &with.authorization {
            found.extend(
                no_secret_name(secret, AUTHORIZED)
                    .map(|failure| Refusal::of("/authorization/secret", failure)),
            );
            if HeaderValue::from_str(prefix).is_err() {
                found.push(
                    Refusal::of("/authorization/prefix", unsendable()).if_given("/authorization/secret"),
                );
            }
        }
        for (name, value) in with.variables.iter().flatten() {
            let receiver = format!("the variable `{name}` of scenarios");
            let secret = secret_of(value).and_then(|secret| secret.unusable(&receiver));
            let at = pointer(&pointer("/variables", name), "secret");
            found.extend(secret.map(|(_, failure)| Refusal::of(at, failure)));
        }
        found
    }

    async fn run(&self, with: ScenarioInput, cx: Context) -> Result<Output<ScenarioOutput>, Failure> {
        let mut scenario = with.scenario;
        let hidden = self.literals.restore(&mut scenario, &cx).await?;
        let secrets = hidden.secrets.clone();
        let used =
            |words: &[&str]| scenario.uses.iter().map(String::as_str).find(|word| words.contains(word));
        let tls = with.tls.read(&cx).await?;
        let places = self.places(&scenario, &with.services, &hidden)?;
        let shell = match with.service.as_ref().filter(|id| !id.is_empty()) {
            Some(id) => Some(self.shell(id, &hidden).ok_or_else(|| no_service(id))?),
            None => match scenario.uses.iter().find(|word| runs_commands(word)) {
                Some(word) => return Err(lacks(&scenario, word, "service", "{{ held.id }}")),
                None => None,
            },
        };
        let web = match &with.target {
            Some(target) if used(&["request"]).is_some() => {
                let authorization =
                    with.authorization.map(|secret| secret.header(&cx)).transpose()?.flatten();
                let web = HttpClient::new(target).map_err(Failure::permanent)?;
                Some(web.trusting(&scenario.trust).secured(tls.clone()).authorized(authorization))
            }
            Some(_) => None,
            None => match outside(&scenario) {
                Some(word) => return Err(lacks(&scenario, word, "target", "{{ held.url }}")),
                None => None,
            },
        };
        let grpc_target = with.grpc_target.as_deref().or(with.target.as_deref());
        if let (None, Some(word)) = (grpc_target, used(&["grpc"])) {
            return Err(lacks(&scenario, word, "grpc_target", "{{ held.url }}"));
        }
        let steps = scenario.setup.iter().chain(&scenario.steps).chain(&scenario.teardown);
        if steps.into_iter().any(|step| matches!(step.action, Action::Browser(_))) {
            if tls.has_client_certificate() {
                return Err(no_certificate_for_pages(&scenario));
            }
            tokio::select! {
                ready = self.chromium.ready() => ready?,
                () = cx.cancel.cancelled() => return Err(Failure::cancelled()),
            }
        }
        let pages = ChromiumPages(self.chromium.clone());
        let kept = KeptEvidence { blobs: cx.blobs.clone(), secrets: secrets.clone() };
        let stage = TestEnvironment {
            web: web.as_ref(),
            target: with.target.as_deref(),
            grpc_target,
            shell: shell.as_deref(),
            tls: Some(&tls),
            places: Some(&places),
            browsers: Some(&pages),
            evidence: Some(&kept),
            keeps_answers: with.keep_answers,
            clock: &*cx.clock,
        };
        let seed = format!("{}/{}", cx.idempotency_key, scenario.id);
        let generator = Generator::new(seed, cx.clock.now());
        let variables =
            Variables::given(revealed(with.variables.unwrap_or_default(), &cx)?).generating(generator);
        tokio::select! {
            mut observation = run(&scenario, &stage, variables) => {
                // Not an observation of the program: something on this machine is missing.
                let beside = places.values().filter_map(|place| place.shell.as_ref());
                if let Some(failure) = shell.iter().chain(beside).find_map(|shell| shell.lacked()) {
                    return Err(failure.redacted(&*secrets));
                }
                // Programs may print secrets.
                observation.change_texts(&|text| secrets.redact(text));
                let open = questions::questions(&observation, with.ask, with.criteria);
                Ok(Output::free(ScenarioOutput { observation, open }))
            }
            () = cx.cancel.cancelled() => Err(Failure::cancelled()),
        }
    }
}

impl ScenarioRun {
    /// The inside of the service `id`: secrets are not passed on command lines, and hidden values are removed
    /// from its log.
    fn shell(&self, id: &str, hidden: &HiddenValues) -> Option<Arc<dyn Shell>> {
        let shell = self.services.shell(id)?;
        hidden.credentials.iter().for_each(|credentials| shell.hide(credentials));
        Some(Arc::new(SecretShell { shell, secrets: hidden.secrets.clone() }))
    }

    /// The services that steps of a scenario use.
    fn places(
        &self,
        scenario: &Scenario,
        services: &BTreeMap<String, SidecarAddress>,
        hidden: &HiddenValues,
    ) -> Result<BTreeMap<String, ServiceEndpoint>, Failure> {
        let place = |called: &String| {
            let (name, port) = called.split_once(':').map_or((called.as_str(), None), |(n, p)| (n, Some(p)));
            let beside = services.get(name);
            let beside = beside.ok_or_else(|| no_place(scenario, called, name, services.keys()))?;
            let target = match port {
                None => beside.url.clone(),
                Some(port) => {
                    let own = beside.ports.get(port);
                    let own = own.ok_or_else(|| no_place(scenario, called, port, beside.ports.keys()))?;
                    format!("http://127.0.0.1:{own}")
                }
            };
            let web = HttpClient::new(&target).map_err(Failure::permanent)?.trusting(&scenario.trust);
            Ok((called.clone(), ServiceEndpoint { web, shell: self.shell(&beside.id, hidden), target }))
        };
        scenario.services.iter().map(place).collect()
    }
}

/// The failure of a step that uses `called` with the unknown name or port `meant`.
fn no_place<'a>(
    scenario: &Scenario,
    called: &str,
    meant: &str,
    known: impl Iterator<Item = &'a String>,
) -> Failure {
    let mut steps = scenario.setup.iter().chain(&scenario.steps).chain(&scenario.teardown);
    let line = steps.find(|step| step.service.as_deref() == Some(called)).map_or(1, |step| step.line);
    let known: Vec<&str> = known.map(String::as_str).collect();
    let near = nearest(meant, known.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    let known = match known.as_slice() {
        [] => "an already running program has none; services need an environment, and a program that is started \
               (`--code` or `--image`)"
            .to_owned(),
        known => format!("{}there are: {}", near.unwrap_or_default(), known.join(", ")),
    };
    let file = if scenario.file.is_empty() { &scenario.id } else { &scenario.file };
    Failure::permanent(format!("{file}:{line}: there is no service `{called}`: {known}"))
        .hint("services are declared in the environment file")
}

/// The step type that needs a URL, if there is one.
fn outside(scenario: &Scenario) -> Option<&'static str> {
    let steps = scenario.setup.iter().chain(&scenario.steps).chain(&scenario.teardown);
    let own = steps.filter(|step| step.service.is_none());
    own.map(|step| &step.action).find(|action| action.needs_target()).map(Action::word)
}

/// Saves evidence as blobs of the run, without secrets.
struct KeptEvidence {
    blobs: Arc<dyn Blobs>,
    secrets: Arc<dyn Secrets>,
}

impl Evidences for KeptEvidence {
    fn keep(&self, bytes: &[u8]) -> Result<BlobRef, String> {
        self.blobs.put(&self.secrets.redact_bytes(bytes)).map_err(|e| e.to_string())
    }
}

fn no_certificate_for_pages(scenario: &Scenario) -> Failure {
    Failure::permanent(format!(
        "the scenario `{}` has `browser` steps, and browsers cannot use the client certificate",
        scenario.id
    ))
    .hint("remove the client certificate, or use an address of the target that does not need one")
}

fn no_service(id: &str) -> Failure {
    Failure::permanent(format!("no service `{id}` is held"))
        .hint("a scenario that needs a service runs inside `hold = { service = { … } }`")
}

fn lacks(scenario: &Scenario, word: &str, key: &str, example: &str) -> Failure {
    Failure::permanent(format!("the scenario `{}` has `{word}` steps, but no `{key}` is given", scenario.id))
        .hint(format!("add `{key} = \"{example}\"` to the step"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::scenario::{
        CommandExecution, CommandResult, ServiceCommand, ShellError, TerminalOpening, TerminalProgram,
    };
    use crate::secrets::EnvSecrets;
    use crate::verb::MemoryBlobs;

    #[derive(Default)]
    struct Heard(Mutex<Vec<ServiceCommand>>);

    impl Shell for Heard {
        fn exec(&self, command: ServiceCommand) -> CommandExecution<'_> {
            self.0.lock().unwrap().push(command);
            Box::pin(std::future::ready(Ok(CommandResult::default())))
        }
        fn terminal(&self, program: TerminalProgram) -> TerminalOpening<'_> {
            let TerminalProgram { line, env, .. } = program;
            self.0.lock().unwrap().push(ServiceCommand { line, env, ..ServiceCommand::default() });
            Box::pin(std::future::ready(Err(ShellError(String::new()))))
        }
        fn log_mark(&self) -> u64 {
            0
        }
        fn log_since(&self, _: u64) -> String {
            String::new()
        }
    }

    #[tokio::test]
    async fn a_command_line_with_a_secret_is_no_argument() {
        let heard = Arc::new(Heard::default());
        let secrets = EnvSecrets::from_values([("KEY".to_owned(), "open-sesame".to_owned())]);
        let quiet = SecretShell { shell: heard.clone(), secrets: Arc::new(secrets) };
        for line in ["echo hello", "echo open-sesame; env | grep -c ATOLL; exit 3"] {
            quiet.exec(ServiceCommand { line: line.to_owned(), ..ServiceCommand::default() }).await.unwrap();
            let refused =
                quiet.terminal(TerminalProgram { line: line.to_owned(), ..TerminalProgram::default() }).await;
            assert!(refused.is_err());
        }
        let heard = std::mem::take(&mut *heard.0.lock().unwrap());
        for command in &heard[..2] {
            assert_eq!((command.line.as_str(), command.env.len()), ("echo hello", 0));
        }
        for command in &heard[2..] {
            assert!(!command.line.contains("sesame"), "{}", command.line);
            #[expect(clippy::disallowed_methods, reason = "the shell is what is tested")]
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &command.line]).env_clear().env("PATH", "/usr/bin:/bin").envs(&command.env);
            let ran = shell.output().unwrap();
            assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(3), &b"open-sesame\n0\n"[..]));
        }
    }

    #[test]
    fn evidence_is_kept_without_secrets() {
        let blobs = Arc::new(MemoryBlobs::default());
        let secrets = EnvSecrets::from_values([("KEY".to_owned(), "open-sesame".to_owned())]);
        let kept = KeptEvidence { blobs: blobs.clone(), secrets: Arc::new(secrets) };
        let keep = |bytes: &[u8]| {
            let blob = kept.keep(bytes).unwrap();
            let found = blobs.get(&blob.digest).unwrap().to_vec();
            assert_eq!(blob.size, found.len() as u64);
            found
        };
        assert_eq!(keep(b"<p>open-sesame</p>"), b"<p>***</p>");
        assert_eq!(keep(b"\xffPNG open-sesame"), b"\xffPNG ***");
    }
}
