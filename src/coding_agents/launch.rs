//! Builds the command of a coding agent for a step.

use indexmap::IndexMap;
use secrecy::ExposeSecret;

use super::{CodingAgent, PromptDelivery};
use crate::secrets::environment;
use crate::verb::{Class, Failure, Secrets};
use crate::visible::userinfo;

/// Request of a step to an agent. The caller must handle settings for which the agent has no option.
#[derive(Clone, Debug, Default)]
pub struct LaunchRequest {
    /// Prompt.
    pub prompt: String,
    /// System prompt.
    pub system: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Limit for answers.
    pub turns: u32,
    /// Limit in US dollars.
    pub usd: f64,
    /// JSON Schema of the result, as text.
    pub schema: Option<String>,
    /// Directory for input files, as the agent sees it.
    pub files: String,
    /// Whether it may run without keys, because its home directory has logins.
    pub logged_in: bool,
}

/// A command with its input.
#[derive(Clone, Default)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment in addition to `PATH` and `HOME`; contains secrets.
    pub env: IndexMap<String, String>,
    /// Standard input.
    pub stdin: String,
    /// Input files by name.
    pub files: IndexMap<String, String>,
}

const PROMPT_FILE: &str = "prompt.md";
const SCHEMA_FILE: &str = "schema.json";

impl CodingAgent {
    /// Name or path of the program.
    pub fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// Whether it reports its cost.
    pub fn tells_cost(&self) -> bool {
        self.events.iter().any(|rule| rule.usd.is_some())
    }

    /// Whether it supports a schema for the result.
    pub fn takes_schema(&self) -> bool {
        self.options.contains_key("schema") || self.options.contains_key("schema_file")
    }

    /// The command for `wish`. Errors: `auth` if a required secret is missing.
    pub fn launch(&self, wish: &LaunchRequest, secrets: &dyn Secrets) -> Result<Launch, Failure> {
        let mut launch = Launch { env: self.env.clone(), ..Launch::default() };
        for name in self.pass.iter().chain(&self.base_url_env) {
            let value = environment(name);
            if self.asks && value.is_some() && secrets.get(name).is_none() {
                return Err(self.not_allowed(name));
            }
        }
        let base_url = self.base_url_env.as_deref().and_then(|name| Some((name, environment(name)?)));
        if let Some((name, _)) = base_url.filter(|(_, url)| userinfo(url).next().is_some())
            && self.options.contains_key("base_url")
        {
            let program = &self.name;
            let message = format!(
                "the address in {name} contains a user name or password, and the agent `{program}` receives it on its command line, which \
                 every user of this machine can read"
            );
            return Err(Failure::new(Class::Auth, message)
                .hint(format!("use a proxy that adds them, and set {name} to its address")));
        }
        for name in &self.pass {
            launch.env.extend(environment(name).map(|value| (name.clone(), value)));
        }
        for name in &self.secrets {
            let known = secrets.of_settings(name);
            let secret = if self.asks { secrets.get(name) } else { known.clone() };
            if secret.is_none() && known.is_some() {
                return Err(self.not_allowed(name));
            }
            if secret.is_none() && wish.logged_in {
                continue;
            }
            let secret = secret.ok_or_else(|| {
                let why = secrets.trouble(name).unwrap_or_else(|| format!("{name} is not set"));
                Failure::new(Class::Auth, format!("the key for the agent `{}` is missing: {why}", self.name))
                    .hint(format!("export {name}=…, or save it with `atoll configure`"))
            })?;
            let own = self.rename.get(name).unwrap_or(name);
            launch.env.insert(own.clone(), secret.expose_secret().to_owned());
        }
        let system = wish.system.as_ref().filter(|_| !self.options.contains_key("system"));
        let prompt = system.map_or(wish.prompt.clone(), |system| format!("{system}\n\n{}", wish.prompt));
        let path = |name: &str| format!("{}/{name}", wish.files);
        // Some programs need their last argument at the end, so options are inserted before it.
        let (last, head) = self.argv.split_last().map_or((None, &[][..]), |(last, head)| (Some(last), head));
        let told = self.told(wish, &path(SCHEMA_FILE));
        let lone = last.is_some_and(|word| word == "-" || word.contains("{prompt"));
        let words: Vec<String> = if lone {
            head.iter().chain(&told).chain(last).cloned().collect()
        } else {
            [self.argv.as_slice(), told.as_slice()].concat()
        };
        let fill = |word: &String| match self.prompt {
            PromptDelivery::Argument => word.replace("{prompt}", &prompt),
            PromptDelivery::File => word.replace("{prompt_file}", &path(PROMPT_FILE)),
            PromptDelivery::Stdin => word.clone(),
        };
        launch.argv = words.iter().map(fill).collect();
        match self.prompt {
            PromptDelivery::Stdin => launch.stdin = prompt,
            PromptDelivery::File => drop(launch.files.insert(PROMPT_FILE.to_owned(), prompt)),
            PromptDelivery::Argument => {}
        }
        if let Some(schema) = wish.schema.clone().filter(|_| self.options.contains_key("schema_file")) {
            launch.files.insert(SCHEMA_FILE.to_owned(), schema);
        }
        Ok(launch)
    }

    fn not_allowed(&self, name: &str) -> Failure {
        let program = &self.name;
        let message = format!(
            "the agent `{program}`, which the atoll.toml of the project defines, would receive `{name}`, and you have not allowed that"
        );
        Failure::new(Class::Auth, message).hint(format!(
            "allow it with `--allow-secret {name}`, or permanently with `atoll trust atoll.toml`, or define [agents.{program}] in \
             your own ~/.config/atoll/models.toml"
        ))
    }

    /// The arguments for the options of `wish`.
    fn told(&self, wish: &LaunchRequest, schema_file: &str) -> Vec<String> {
        let file = wish.schema.as_ref().map(|_| schema_file.to_owned());
        let base_url = self.base_url_env.as_deref().and_then(environment);
        let values = [
            ("model", wish.model.clone()),
            ("system", wish.system.clone()),
            ("turns", Some(wish.turns.to_string())),
            ("usd", Some(wish.usd.to_string())),
            ("schema", wish.schema.clone()),
            ("schema_file", file),
            ("base_url", base_url),
        ];
        let words = |(name, value): &(&str, Option<String>)| {
            let value = value.as_ref()?;
            Some(
                self.options
                    .get(*name)?
                    .iter()
                    .map(|word| word.replace("{value}", value))
                    .collect::<Vec<_>>(),
            )
        };
        values.iter().filter_map(words).flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::CodingAgents;
    use super::*;
    use crate::secrets::EnvSecrets;

    fn launch(text: &str, name: &str) -> Launch {
        let coder = CodingAgents::layered([("atoll.toml", text)]).unwrap().find(name).unwrap();
        let keys = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"];
        let secrets = EnvSecrets::from_values(keys.map(|key| (key.to_owned(), "sk-secret".to_owned())));
        let wish = LaunchRequest {
            prompt: "do it".to_owned(),
            system: Some("kindly".to_owned()),
            model: Some("m".to_owned()),
            turns: 7,
            usd: 1.5,
            schema: Some("{}".to_owned()),
            files: "/in".to_owned(),
            logged_in: false,
        };
        coder.launch(&wish, &secrets).unwrap()
    }

    #[test]
    fn a_program_is_told_what_it_has_options_for() {
        let claude = launch("", "claude");
        let told = claude.argv.join(" ");
        assert!(
            told.ends_with(
                "--model m --append-system-prompt kindly --max-turns 7 --max-budget-usd 1.5 --json-schema {}"
            ),
            "{told}"
        );
        assert_eq!((claude.stdin.as_str(), claude.env["ANTHROPIC_API_KEY"].as_str()), ("do it", "sk-secret"));
        let codex = launch("", "codex");
        assert!(codex.argv.join(" ").ends_with("-m m --output-schema /in/schema.json -"), "{:?}", codex.argv);
        assert_eq!((codex.stdin.as_str(), codex.files["schema.json"].as_str()), ("kindly\n\ndo it", "{}"));
        assert_eq!(codex.env.keys().collect::<Vec<_>>(), ["CODEX_API_KEY"]);
    }

    #[test]
    fn a_prompt_comes_as_an_argument_or_in_a_file() {
        let end = "[[agents.x.events]]\nend = 'done'\n";
        let argument = launch(
            &format!(
                "[agents.x]\nargv = ['x', '{{prompt}}']\nprompt = 'argument'\noptions = {{ model = ['-m{{value}}'] }}\n{end}"
            ),
            "x",
        );
        assert_eq!(argument.argv, ["x", "-mm", "kindly\n\ndo it"]);
        let file = launch(
            &format!("[agents.x]\nargv = ['x', '--from={{prompt_file}}', 'y']\nprompt = 'file'\n{end}"),
            "x",
        );
        assert_eq!(file.argv, ["x", "--from=/in/prompt.md", "y"]);
        assert_eq!((file.stdin.as_str(), file.files["prompt.md"].as_str()), ("", "kindly\n\ndo it"));
    }
}
