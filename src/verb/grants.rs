use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobSet;

use super::{SecretText, Secrets};
use crate::value::{Digest, Value};

/// The pattern for all hosts.
pub const EVERY_HOST: &str = "*";

/// The permissions that the user gave to the steps of a run: which secrets they may use, which hosts a
/// sandboxed service may reach, and which unusual files they may write. Pipelines, projects and scenario
/// directories can only request them. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    everything: bool,
    secrets: BTreeSet<String>,
    hosts: BTreeSet<String>,
    files: GlobSet,
    library: Arc<BTreeSet<String>>,
    trusted: BTreeMap<PathBuf, Digest>,
    /// Permissions for this run's own pipeline and files, because the user trusts them.
    derived: BTreeSet<Permission>,
}

/// A permission that a file requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Use of a secret, by name.
    Secret(String),
    /// A connection to a host, as `NAME:PORT`, or to [`EVERY_HOST`].
    Egress(String),
}

/// An [`Permission`] with the JSON pointer of the requesting value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionRequest {
    /// Location of the request.
    pub pointer: String,
    /// Requested permission.
    pub what: Permission,
}

impl Grants {
    /// Allows everything: for tests of single verbs.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Allows a request.
    pub fn allow(&mut self, ask: Permission) {
        match ask {
            Permission::Secret(name) => self.secrets.insert(name),
            Permission::Egress(host) => self.hosts.insert(host.to_ascii_lowercase()),
        };
    }

    /// Allows the pipeline of this run the requests of a file that the user trusts. The caller has checked
    /// that all files of the pipeline are trusted, because each of them can decide where a secret goes.
    pub fn allow_pipeline(&mut self, ask: Permission) {
        self.derived.insert(ask);
    }

    /// Allows files whose paths match.
    pub fn allow_files(&mut self, files: GlobSet) {
        self.files = files;
    }

    /// Sets the texts that Atoll reads from a project, by their paths in it.
    pub fn reserve(&mut self, library: impl IntoIterator<Item = String>) {
        self.library = Arc::new(library.into_iter().collect());
    }

    /// Whether a file at `path` in a project, or one of its directories, changes the behaviour of Atoll in
    /// that project.
    pub fn is_reserved(&self, path: &str) -> bool {
        let starts = path.match_indices('/').map(|(at, _)| at + 1);
        std::iter::once(0).chain(starts).any(|start| self.library.contains(&path[start..]))
    }

    /// Allows all requests of the file at `path` while its content has `digest`.
    pub fn trust(&mut self, path: PathBuf, digest: Digest) {
        self.trusted.insert(path, digest);
    }

    /// Whether all requests of the file at the absolute `path` are allowed.
    pub fn trusts(&self, path: &Path, digest: &Digest) -> bool {
        self.everything || self.trusted.get(path) == Some(digest)
    }

    /// Whether steps may use it.
    pub fn allows(&self, ask: &Permission) -> bool {
        self.allows_all(ask) || self.derived.contains(ask)
    }

    /// Whether it is allowed for every requester. A host is also allowed by its name without the port.
    pub fn allows_all(&self, ask: &Permission) -> bool {
        self.everything
            || match ask {
                Permission::Secret(name) => self.secrets.contains(name),
                Permission::Egress(host) => {
                    let host = host.to_ascii_lowercase();
                    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
                    [EVERY_HOST, host.as_str(), name].iter().any(|host| self.hosts.contains(*host))
                }
            }
    }

    /// Whether an unusual file may be written at `path`.
    pub fn allows_file(&self, path: &str) -> bool {
        self.everything || self.files.is_match(path)
    }

    /// The names of allowed secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let derived = self.derived.iter().filter_map(|ask| match ask {
            Permission::Secret(name) => Some(name),
            Permission::Egress(_) => None,
        });
        self.secrets.iter().chain(derived).map(String::as_str)
    }
}

impl Permission {
    /// The command-line option that allows it.
    pub fn option(&self) -> String {
        match self {
            Self::Secret(name) => format!("--allow-secret {name}"),
            Self::Egress(host) if host == EVERY_HOST => "--allow-egress '*'".to_owned(),
            Self::Egress(host) => format!("--allow-egress {host}"),
        }
    }

    /// All requests in `value`: tables with `secret = "NAME"`, inputs of type `secret` with a default, and
    /// `egress`. A name that is still a template is no request yet.
    pub fn all_of(value: &Value) -> Vec<PermissionRequest> {
        let mut found = Vec::new();
        collect(value, "", &mut found);
        found.retain(|asked| !is_template(asked.what.name()));
        found
    }

    /// The JSON pointers of possible requests that are known only during the run, with their templates.
    pub fn decided_later(value: &Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        collect(value, "", &mut found);
        let later = found.into_iter().filter(|asked| is_template(asked.what.name()));
        later.map(|asked| (asked.pointer, asked.what.name().to_owned())).collect()
    }

    fn name(&self) -> &str {
        match self {
            Self::Secret(name) | Self::Egress(name) => name,
        }
    }
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// The tables whose keys are names chosen by the author.
const TABLES_OF_NAMES: [&str; 4] = ["env", "headers", "query", "variables"];

/// The keys whose values may be or contain `{ secret = "NAME" }`.
const TAKES_SECRETS: [&str; 7] =
    ["env", "headers", "query", "variables", "basic", "authorization", "password"];

fn collect(value: &Value, pointer: &str, found: &mut Vec<PermissionRequest>) {
    let mut ask = |what| found.push(PermissionRequest { pointer: pointer.to_owned(), what });
    match value {
        Value::Object(table) => {
            let chosen = pointer.rsplit('/').next().is_some_and(|key| TABLES_OF_NAMES.contains(&key));
            let text = |key: &str| table.get(key).and_then(Value::as_str).filter(|_| !chosen);
            if let Some(name) = text("secret") {
                ask(Permission::Secret(name.to_owned()));
            }
            if let (Some("secret"), Some(name)) = (text("type"), text("default")) {
                ask(Permission::Secret(name.to_owned()));
            }
            for (key, inner) in table {
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                if key == "egress" && !chosen {
                    hosts(inner, &pointer, found);
                }
                // A whole table that is computed during the run may contain secrets.
                if let (true, Some(text)) = (TAKES_SECRETS.contains(&key.as_str()) && !chosen, inner.as_str())
                    && is_template(text)
                {
                    found.push(PermissionRequest {
                        pointer: pointer.clone(),
                        what: Permission::Secret(text.to_owned()),
                    });
                }
                collect(inner, &pointer, found);
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| collect(item, &format!("{pointer}/{index}"), found));
        }
        _ => {}
    }
}

fn hosts(egress: &Value, pointer: &str, found: &mut Vec<PermissionRequest>) {
    let all = [Value::from(EVERY_HOST)];
    let hosts = match egress {
        Value::Bool(true) => all.as_slice(),
        Value::Array(hosts) => hosts,
        Value::String(text) if is_template(text) => std::slice::from_ref(egress),
        _ => &[],
    };
    let hosts = hosts.iter().filter_map(Value::as_str);
    found.extend(hosts.map(|host| PermissionRequest {
        pointer: pointer.to_owned(),
        what: Permission::Egress(host.to_owned()),
    }));
}

/// The secrets that steps can use: only those that are allowed.
pub struct AllowedSecrets {
    secrets: Arc<dyn Secrets>,
    grants: Arc<Grants>,
}

impl AllowedSecrets {
    /// The secrets in `secrets` that `grants` allow.
    pub fn new(secrets: Arc<dyn Secrets>, grants: Arc<Grants>) -> Self {
        Self { secrets, grants }
    }

    fn allows(&self, name: &str) -> bool {
        self.grants.allows(&Permission::Secret(name.to_owned()))
    }
}

impl Secrets for AllowedSecrets {
    fn get(&self, name: &str) -> Option<SecretText> {
        if self.allows(name) { self.secrets.get(name) } else { None }
    }
    fn of_settings(&self, name: &str) -> Option<SecretText> {
        self.secrets.of_settings(name)
    }
    fn trouble(&self, name: &str) -> Option<String> {
        if self.allows(name) {
            self.secrets.trouble(name)
        } else {
            Some(format!("{name} is not allowed in this run"))
        }
    }
    fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }
    fn redact_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.secrets.redact_bytes(bytes)
    }
    fn redact_head(&self, text: &str) -> String {
        self.secrets.redact_head(text)
    }
    fn cut(&self, text: &str, at: usize) -> usize {
        self.secrets.cut(text, at)
    }
    fn places(&self, text: &str) -> Vec<(usize, usize)> {
        self.secrets.places(text)
    }

    fn places_on_screen(&self, text: &str, wraps: &[usize]) -> Vec<(usize, usize)> {
        self.secrets.places_on_screen(text, wraps)
    }
    fn redact_value(&self, value: &mut Value) {
        self.secrets.redact_value(value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_a_file_asks_for_is_found() {
        let file = json!({
            "program": { "env": { "A": { "secret": "ONE" }, "secret": "a variable", "B": "plain" }, "egress": true },
            "services": { "db": { "egress": ["api.example.com:443"], "env": { "C": { "secret": "{{ inputs.c }}" } } } },
            "inputs": { "token": { "type": "secret", "default": "TWO" } },
            "steps": [{ "http": { "headers": { "X": { "secret": "ONE", "prefix": "Bearer " } } } }],
        });
        let found: Vec<_> =
            Permission::all_of(&file).into_iter().map(|ask| (ask.pointer, ask.what.option())).collect();
        let found: Vec<_> =
            found.iter().map(|(pointer, option)| (pointer.as_str(), option.as_str())).collect();
        assert_eq!(
            found,
            [
                ("/program/env/A", "--allow-secret ONE"),
                ("/program/egress", "--allow-egress '*'"),
                ("/services/db/egress", "--allow-egress api.example.com:443"),
                ("/inputs/token", "--allow-secret TWO"),
                ("/steps/0/http/headers/X", "--allow-secret ONE"),
            ]
        );
    }

    #[test]
    fn nothing_is_allowed_until_it_is_granted() {
        let mut grants = Grants::default();
        let (secret, host) =
            (Permission::Secret("ONE".into()), Permission::Egress("Api.example.com:443".into()));
        assert!(!grants.allows(&secret) && !grants.allows(&host) && !grants.allows_file(".envrc"));
        grants.allow(secret.clone());
        grants.allow(Permission::Egress("api.EXAMPLE.com".into()));
        assert!(grants.allows(&secret) && grants.allows(&host));
        assert!(
            !grants.allows(&Permission::Secret("one".into()))
                && !grants.allows(&Permission::Egress("example.com:443".into()))
        );
        assert!(!grants.allows(&Permission::Egress(EVERY_HOST.into())), "one host is not all of them");
        let (path, digest) = (Path::new("/a/environment.toml"), Digest::of("x"));
        grants.trust(path.to_owned(), digest);
        assert!(grants.trusts(path, &digest) && !grants.trusts(path, &Digest::of("y")));
    }
}
