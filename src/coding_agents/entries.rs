//! The tables `[agents.NAME]` of settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::diag::nearest;
use crate::llm::registry::RegistryError;
use crate::value::Value;

const EMBEDDED: &str = include_str!("agents.toml");
const KEYS: &str = "the keys of [agents.NAME] are argv, prompt, options, base_url_env, env, pass, secrets, rename, home, readable, \
                    provider, events";

/// Coding agents by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CodingAgents(Arc<BTreeMap<String, Arc<CodingAgent>>>);

/// A coding agent program.
#[derive(Clone, Debug, Default)]
pub struct CodingAgent {
    /// Name in a step.
    pub name: String,
    pub(super) argv: Vec<String>,
    pub(super) prompt: PromptDelivery,
    pub(super) options: BTreeMap<String, Vec<String>>,
    pub(super) base_url_env: Option<String>,
    pub(super) env: IndexMap<String, String>,
    pub(super) pass: Vec<String>,
    /// Names of the secrets that it needs.
    pub secrets: Vec<String>,
    pub(super) rename: BTreeMap<String, String>,
    /// Files of its home directory.
    pub home: IndexMap<String, String>,
    /// Additional readable directories in a sandbox.
    pub readable: Vec<String>,
    /// Provider of its models in the registry.
    pub provider: Option<String>,
    pub(super) events: Vec<EventRule>,
    /// Whether an untrusted project defines it, so that the user must allow each secret by name.
    pub(super) asks: bool,
}

/// How an agent receives its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptDelivery {
    /// On standard input.
    #[default]
    Stdin,
    /// As the argument `{prompt}`.
    Argument,
    /// In a file, whose path replaces `{prompt_file}`.
    File,
}

/// A limit of its own that an agent reports to have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentLimit {
    /// Number of answers.
    Turns,
    /// US dollars.
    Usd,
}

/// Meaning of an event. Locations are JSON Pointers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EventRule {
    pub(super) when: BTreeMap<String, Value>,
    pub(super) end: Option<super::AgentEnd>,
    pub(super) limit: Option<AgentLimit>,
    pub(super) text: Option<String>,
    /// Location of the flag that this text continues the previous one.
    pub(super) append: Option<String>,
    /// Whether earlier text does not belong to the final answer.
    pub(super) forget: bool,
    pub(super) result: Option<String>,
    pub(super) error: Option<String>,
    /// Location of the id of the answer that the usage is for; by default the usage is the total.
    pub(super) answer: Option<String>,
    pub(super) turns: Option<String>,
    pub(super) usd: Option<String>,
    pub(super) tokens_in: Vec<String>,
    pub(super) tokens_cached: Vec<String>,
    pub(super) tokens_out: Vec<String>,
}

/// The tables of a file. All keys are optional, so that one file can extend another.
#[derive(Default, Deserialize)]
struct AgentsFile {
    #[serde(default)]
    agents: BTreeMap<String, AgentEntry>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentEntry {
    argv: Option<Vec<String>>,
    prompt: Option<PromptDelivery>,
    options: Option<BTreeMap<String, Vec<String>>>,
    base_url_env: Option<String>,
    env: Option<IndexMap<String, String>>,
    pass: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    rename: Option<BTreeMap<String, String>>,
    home: Option<IndexMap<String, String>>,
    readable: Option<Vec<String>>,
    provider: Option<String>,
    events: Option<Vec<EventRule>>,
}

impl AgentEntry {
    /// Whether it changes what is started or what that receives.
    fn decides(&self) -> bool {
        self.argv.is_some()
            || self.env.is_some()
            || self.pass.is_some()
            || self.secrets.is_some()
            || self.rename.is_some()
            || self.home.is_some()
            || self.base_url_env.is_some()
            || self.options.is_some()
    }

    fn over(self, base: &mut CodingAgent) {
        fn put<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        put(&mut base.argv, self.argv);
        put(&mut base.prompt, self.prompt);
        put(&mut base.options, self.options);
        put(&mut base.base_url_env, self.base_url_env.map(Some));
        put(&mut base.env, self.env);
        put(&mut base.pass, self.pass);
        put(&mut base.secrets, self.secrets);
        put(&mut base.rename, self.rename);
        put(&mut base.home, self.home);
        put(&mut base.readable, self.readable);
        put(&mut base.provider, self.provider.map(Some));
        put(&mut base.events, self.events);
    }
}

impl CodingAgents {
    /// Only the embedded agents.
    pub fn embedded() -> Result<Self, RegistryError> {
        Self::layered([])
    }

    /// The embedded agents, extended by files `(name, text)`; later files take precedence.
    pub fn layered<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, RegistryError> {
        Self::of_project(files, None)
    }

    /// The agents extended by the file of a project; `trusted` says whether the user trusts it.
    pub fn of_project<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        project: Option<((&'a str, &'a str), bool)>,
    ) -> Result<Self, RegistryError> {
        let mut coders: BTreeMap<String, CodingAgent> = BTreeMap::new();
        let own = [("agents.toml", EMBEDDED)].into_iter().chain(files).map(|file| (file, true));
        for ((file, text), trusted) in own.chain(project) {
            let layer: AgentsFile = crate::value::parse_toml(text).map_err(|e| RegistryError {
                message: format!("{file}: {}", e.to_string().trim_end()),
                hint: Some(KEYS.to_owned()),
            })?;
            for (name, entry) in layer.agents {
                let by_path = entry.argv.iter().flatten().next().is_some_and(|program| program.contains('/'));
                if (entry.readable.is_some() || by_path) && !trusted {
                    return Err(RegistryError {
                        message: format!(
                            "{file}: [agents.{name}] makes some of your directories readable for a program"
                        ),
                        hint: Some(format!(
                            "review the file and run `atoll trust {file}`, or move the table to ~/.config/atoll/models.toml"
                        )),
                    });
                }
                let coder = coders
                    .entry(name.clone())
                    .or_insert_with(|| CodingAgent { name, ..CodingAgent::default() });
                coder.asks |= entry.decides() && !trusted;
                entry.over(coder);
            }
        }
        coders.values().try_for_each(sound)?;
        Ok(Self(Arc::new(coders.into_iter().map(|(name, coder)| (name, Arc::new(coder))).collect())))
    }

    /// Names of the agents that the `text` of a project file defines differently from `self`.
    pub fn changed_by<'t>(&'t self, text: &str) -> impl Iterator<Item = &'t str> {
        let layer: Option<AgentsFile> = crate::value::parse_toml(text).ok();
        let described = layer.map(|layer| layer.agents).unwrap_or_default();
        self.0.keys().map(String::as_str).filter(move |name| described.contains_key(*name))
    }

    /// The agent `name`.
    pub fn find(&self, name: &str) -> Result<Arc<CodingAgent>, RegistryError> {
        self.0.get(name).cloned().ok_or_else(|| {
            let near = nearest(name, self.0.keys().map(String::as_str));
            let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let known = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            RegistryError {
                message: format!("unknown agent `{name}`"),
                hint: Some(format!(
                    "{near}known agents: {known}; define another one in [agents.{name}] of atoll.toml"
                )),
            }
        })
    }
}

/// Requests of a project's settings for agents, one line each.
pub fn requests(text: &str) -> Vec<String> {
    let Ok(layer) = crate::value::parse_toml::<AgentsFile>(text) else { return Vec::new() };
    let embedded = CodingAgents::embedded().ok();
    let line = |(name, entry): (String, AgentEntry)| {
        let mut coder =
            embedded.as_ref().and_then(|all| all.find(&name).ok()).map(|known| (*known).clone())?;
        entry.over(&mut coder);
        Some(line_of(&name, &coder))
    };
    let unknown = |(name, entry): (String, AgentEntry)| {
        let mut coder = CodingAgent::default();
        entry.over(&mut coder);
        line_of(&name, &coder)
    };
    let agents = layer.agents.into_iter();
    agents
        .map(|(name, entry)| line((name.clone(), entry.clone())).unwrap_or_else(|| unknown((name, entry))))
        .collect()
}

fn line_of(name: &str, coder: &CodingAgent) -> String {
    let gets: Vec<&str> =
        coder.secrets.iter().chain(&coder.pass).chain(&coder.base_url_env).map(String::as_str).collect();
    let gets = if gets.is_empty() { String::new() } else { format!(", which receives {}", gets.join(", ")) };
    let reads = if coder.readable.is_empty() {
        String::new()
    } else {
        format!(" and reads {}", coder.readable.join(", "))
    };
    format!("the program `{}` is started as an agent{gets}{reads} (agents.{name})", coder.argv.join(" "))
}

/// Checks an agent definition from any file.
fn sound(coder: &CodingAgent) -> Result<(), RegistryError> {
    const OPTIONS: [&str; 7] = ["model", "system", "turns", "usd", "schema", "schema_file", "base_url"];
    let name = &coder.name;
    let wrong = |message: String, hint: &str| Err(RegistryError { message, hint: Some(hint.to_owned()) });
    if coder.argv.is_empty() {
        return wrong(
            format!("`argv` is missing in [agents.{name}]"),
            "set the program and its fixed arguments",
        );
    }
    if let Some(unknown) = coder.options.keys().find(|key| !OPTIONS.contains(&key.as_str())) {
        return wrong(
            format!("[agents.{name}]: unknown option `{unknown}`"),
            &format!("known options: {}", OPTIONS.join(", ")),
        );
    }
    if !coder.events.iter().any(|rule| rule.end.is_some()) {
        return wrong(
            format!("[agents.{name}] has no end event"),
            "add [[agents.NAME.events]] with `end = \"done\"`, so that Atoll can distinguish a finished agent from a hanging one",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_data_that_can_be_extended() {
        let coders = CodingAgents::embedded().unwrap();
        for name in ["claude", "codex", "gemini"] {
            assert_eq!(coders.find(name).unwrap().argv[0], name);
        }
        let more = "[agents.claude]\nargv = ['/opt/claude']\n[agents.mine]\nargv = ['mine']\n\
                    [[agents.mine.events]]\nwhen = { '/done' = true }\nend = 'done'\n";
        let coders = CodingAgents::layered([("atoll.toml", more)]).unwrap();
        let claude = coders.find("claude").unwrap();
        assert_eq!(
            (claude.argv.len(), claude.secrets.as_slice()),
            (1, ["ANTHROPIC_API_KEY".to_owned()].as_slice())
        );
        assert_eq!(coders.find("mine").unwrap().prompt, PromptDelivery::Stdin);
        assert!(coders.find("mime").unwrap_err().hint.unwrap().contains("did you mean `mine`?"));
    }

    #[test]
    fn what_is_wrong_with_a_program_is_said() {
        for (text, word) in [
            ("[agents.x]\nargv = []", "`argv` is missing"),
            ("[agents.x]\nargv = ['x']", "no end event"),
            ("[agents.claude]\noptions = { colour = [] }", "unknown option `colour`"),
            ("[agents.x]\nargs = ['x']", "unknown field `args`"),
            ("[agents.claude]\nevents = [{ end = 'over' }]", "unknown variant `over`"),
        ] {
            let error = CodingAgents::layered([("atoll.toml", text)]).unwrap_err();
            assert!(error.message.contains(word), "{error}");
        }
    }
}
