//! The requests of files in readable form: what is given to which receiver, and where that is written.

use std::path::{Path, PathBuf};

use crate::cli::error::CommandError;
use crate::cli::permissions::trust_file::{FileDigest, TrustedFile};
use crate::cli::project::input_files::regular;
use crate::cli::project::settings;
use crate::cli::project::settings::Settings;
use crate::cli::project::text_layers::TextLayers;
use crate::cli::wiring;
use crate::coding_agents;
use crate::llm::registry;
use crate::plan::{self, Bundle, Layer};
use crate::tree::visible;
use crate::value::{Digest, Value};
use crate::verb::{EVERY_HOST, Permission, PermissionRequest};

/// A file with its requests.
pub struct FileRequests {
    /// The file, and the files that decide with it where secrets go.
    pub file: TrustedFile,
    /// Requests, one line each.
    pub lines: Vec<String>,
}

/// A text of a bundle that is neither built in nor the user's own.
pub struct ProjectText {
    /// Path in the bundle.
    pub name: String,
    /// Path of the file.
    pub part: FileDigest,
}

impl ProjectText {
    /// Whether it is a pipeline: only pipelines decide how a secret that another file requests is used.
    pub fn is_pipeline(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|extension| extension == "toml")
    }
}

/// The text of the regular file at `path`; pipes and devices are refused without waiting.
pub fn read(path: &Path) -> Option<String> {
    String::from_utf8(regular(path).ok()?).ok()
}

/// The requests of the file at the canonical `path` with the content `text`. Errors if it is a pipeline that
/// cannot be loaded.
pub fn of_file(settings: &Settings, path: PathBuf, text: &str) -> Result<FileRequests, CommandError> {
    let digest = Digest::of(text);
    if is_pipeline(&path, text) {
        return of_pipeline(settings, path, digest);
    }
    let value: Value = crate::value::parse_toml(text).unwrap_or_default();
    let mut lines = lines(&value, "");
    if path.file_name().is_some_and(|name| name == settings::FILE) {
        let keys = registry::requests(text).into_iter().chain(coding_agents::requests(text));
        lines.extend(keys.map(|line| visible(&line)));
    }
    Ok(FileRequests { file: TrustedFile { path, digest, with: Vec::new() }, lines })
}

/// Whether the file at `path` is a pipeline, not an environment.
pub fn is_pipeline(path: &Path, text: &str) -> bool {
    if path.file_name().is_some_and(|name| name == settings::FILE) {
        return false;
    }
    let value: Value = crate::value::parse_toml(text).unwrap_or_default();
    ["atoll", "steps", "extends"].iter().any(|key| value.get(key).is_some())
}

fn of_pipeline(settings: &Settings, path: PathBuf, digest: Digest) -> Result<FileRequests, CommandError> {
    let texts = TextLayers::new(settings);
    let project = settings.project.canonicalize().unwrap_or_else(|_| settings.project.clone());
    let below = path.strip_prefix(&project).ok().filter(|below| below.starts_with("pipelines"));
    let name = below.unwrap_or(&path).display().to_string();
    let loaded = plan::merged(&name, &texts, &wiring::listing(settings)?);
    let (merged, bundle) = loaded.map_err(|_| {
        CommandError::wrong(format!("the pipeline {} has errors", visible(&path.display().to_string())))
            .hint(format!("show them with `atoll check {name}`"))
    })?;
    let mut asked = Vec::new();
    for (index, pipeline) in merged.iter().enumerate() {
        let of = if index == 0 { String::new() } else { format!(" of {}", pipeline.path) };
        let text = bundle.files.get(&pipeline.path).map_or("", String::as_str);
        if origin(&texts, &pipeline.path, text) == Layer::Embedded {
            asked.extend(environment(&pipeline.value, &of));
        } else {
            asked.extend(lines(&pipeline.value, &of));
        }
    }
    let foreign = foreign(settings, &texts, &bundle);
    let with = foreign.into_iter().map(|foreign| foreign.part).filter(|part| part.path != path).collect();
    Ok(FileRequests { file: TrustedFile { path, digest, with }, lines: asked })
}

/// The texts of `bundle` that are neither built in nor the user's own.
pub fn foreign(settings: &Settings, texts: &TextLayers, bundle: &Bundle) -> Vec<ProjectText> {
    let files = bundle.files.iter();
    let foreign =
        files.filter(|(path, text)| matches!(origin(texts, path, text), Layer::File | Layer::Project));
    foreign
        .map(|(name, text)| {
            let path = on_disk(settings, name);
            let path = path.canonicalize().unwrap_or(path);
            ProjectText { name: name.clone(), part: FileDigest { path, digest: Digest::of(text) } }
        })
        .collect()
}

/// The layer of a text: the strongest one that contains the same text.
pub fn origin(texts: &TextLayers, path: &str, text: &str) -> Layer {
    let all = texts.all(path).unwrap_or_default();
    let same = all.iter().filter(|found| *found.text == *text).map(|found| found.layer);
    same.max().unwrap_or(Layer::File)
}

fn on_disk(settings: &Settings, path: &str) -> PathBuf {
    let library = settings.project.join(path);
    if library.is_file() { library } else { settings.here.join(path) }
}

/// The requests in `tree`; `of` names it.
fn lines(tree: &Value, of: &str) -> Vec<String> {
    let mut lines: Vec<String> = Permission::all_of(tree).iter().map(|asked| line(tree, asked, of)).collect();
    for (pointer, template) in Permission::decided_later(tree) {
        let (at, template) = (place(&pointer), visible(&template));
        let to = receiver(tree, &pointer);
        lines.push(match input(&template) {
            Some(name) => format!("the secret that the input `{name}` names, for `{at}`{of}{to}"),
            None => format!(
                "the value of `{template}` in the run, for `{at}`{of}{to}: a secret or a host that only this names \
                 stays forbidden until you allow it by name"
            ),
        });
    }
    lines.extend(environment(tree, of));
    lines
}

/// The line for a step that loads an environment: the pipeline decides where secrets of that file go.
fn environment(tree: &Value, of: &str) -> Option<String> {
    loads_environment(tree).then(|| {
        format!("the requests of the `environment.toml` that it loads, if you trust that as well{of}")
    })
}

fn loads_environment(tree: &Value) -> bool {
    match tree {
        Value::Object(table) => {
            table.contains_key("environment_load") || table.values().any(loads_environment)
        }
        Value::Array(items) => items.iter().any(loads_environment),
        _ => false,
    }
}

fn line(tree: &Value, asked: &PermissionRequest, of: &str) -> String {
    let (at, to) = (place(&asked.pointer), receiver(tree, &asked.pointer));
    match &asked.what {
        Permission::Secret(name) => format!("the secret `{}`, for `{at}`{of}{to}", visible(name)),
        Permission::Egress(host) if host == EVERY_HOST => {
            format!("connections to every host (`{at}`){of}{to}")
        }
        Permission::Egress(host) => format!("connections to {} (`{at}`){of}{to}", visible(host)),
    }
}

/// The input that the template consists of.
fn input(template: &str) -> Option<&str> {
    let name = template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("inputs.")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// The dotted path of a pointer.
fn place(pointer: &str) -> String {
    visible(&pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~"))
}

/// The keys that name the receiver of values in the same table, or below it.
const RECEIVERS: [(&str, &str); 6] = [
    ("url", "sent to"),
    ("target", "sent to"),
    ("argv", "given to the command"),
    ("image", "given to the image"),
    ("build", "given to what is built from"),
    ("program", "given to the program"),
];

/// The receiver of the request at `pointer`, as text: from the nearest table around it that names one.
fn receiver(tree: &Value, pointer: &str) -> String {
    let mut at = pointer;
    while let Some((above, _)) = at.rsplit_once('/') {
        at = above;
        let table = tree.pointer(at);
        let found = RECEIVERS.iter().find_map(|(key, verb)| Some((verb, words(table?.get(key)?)?)));
        if let Some((verb, whom)) = found {
            let later = if is_template(&whom) { ", which is known only in the run" } else { "" };
            return format!(", {verb} {}{later}", visible(&origin_of(&whom)));
        }
    }
    String::new()
}

fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            words.filter(|words| !words.is_empty()).map(|words| words.join(" "))
        }
        _ => None,
    }
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// A URL reduced to its real host and port. Other texts are unchanged.
fn origin_of(text: &str) -> String {
    match reqwest::Url::parse(text) {
        Ok(url) if !is_template(text) && url.has_host() => url.origin().ascii_serialization(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_said_what_goes_where() {
        let tree = json!({
            "inputs": { "token": { "type": "secret", "default": "TWO" } },
            "steps": {
                "a": { "http": { "url": "https://good.example@evil.example:8443/x", "headers": {
                    "A": { "secret": "ONE" }, "B": { "secret": "{{ inputs.token }}" }, "C": { "secret": "{{ steps.x.output }}" } } } },
                "b": { "shell": { "argv": ["sh", "-c", "x\u{202e}y"], "env": { "T": { "secret": "ONE" } } } },
                "c": { "http": { "url": "{{ steps.x.output }}", "headers": "{{ steps.y.output }}" } },
                "d": { "environment_load": { "near": "scenarios" } },
            },
        });
        let lines = lines(&tree, "");
        let later = "stays forbidden until you allow it by name";
        assert_eq!(
            lines,
            [
                "the secret `TWO`, for `inputs.token`".to_owned(),
                "the secret `ONE`, for `steps.a.http.headers.A`, sent to https://evil.example:8443".to_owned(),
                "the secret `ONE`, for `steps.b.shell.env.T`, given to the command sh -c x\\u{202e}y".to_owned(),
                "the secret that the input `token` names, for `steps.a.http.headers.B`, sent to https://evil.example:8443"
                    .to_owned(),
                format!(
                    "the value of `{{{{ steps.x.output }}}}` in the run, for `steps.a.http.headers.C`, sent to \
                     https://evil.example:8443: a secret or a host that only this names {later}"
                ),
                format!(
                    "the value of `{{{{ steps.y.output }}}}` in the run, for `steps.c.http.headers`, sent to \
                     {{{{ steps.x.output }}}}, which is known only in the run: a secret or a host that only this names {later}"
                ),
                "the requests of the `environment.toml` that it loads, if you trust that as well".to_owned(),
            ]
        );
    }
}
