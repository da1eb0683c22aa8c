//! `environment_load`: the sidecar services of a program, from its environment file.

mod built;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::diagnostic_text::render;
use super::paths::PathOrInput;
use crate::diag::{Code, Diagnostic, SourceId, SourceMap, Span};
use crate::model::{Node, Raw, Table};
use crate::rooted_fs::read_file;
use crate::runtime::service::{RuntimeKind, Runtimes};
use crate::schema::{Schema, Violation};
use crate::tree::{Tree, TreeRef};
use crate::value::{Digest, Value};
use crate::verb::{
    Class, Context, EVERY_HOST, Failure, Output, Permission, PermissionRequest, Refusal, Traits, Verb,
    pointer,
};

/// The verb `environment_load`.
pub struct EnvironmentLoad {
    runtimes: Runtimes,
}

impl EnvironmentLoad {
    /// `runtimes` build the images of services.
    pub fn new(runtimes: Runtimes) -> Self {
        Self { runtimes }
    }
}

/// Input of `environment_load`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentLoadInput {
    /// The file: a path, or the value of an input of type `file`.
    pub file: Option<PathOrInput>,
    /// A file or directory next to the environment: without `file`, `environment.toml` in the same directory
    /// is read if it exists. A path, or the value of an input of type `file` or `dir`.
    pub near: Option<PathOrInput>,
    /// Additional settings in the format of the file. They override those of the file.
    pub also: Option<Value>,
    /// Whether the images of services with `code` are built, so that `hold.service` accepts the output as its
    /// `environment`. The step fails if a build fails. Default: `false`.
    pub build: bool,
    /// Where images are built: `auto`, `docker` or `process`.
    pub runtime: RuntimeKind,
}

/// Output of `environment_load`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct EnvironmentLoadOutput {
    /// The file that was read, if any.
    pub file: Option<String>,
    /// Settings for the program itself: keys of `hold.service`.
    pub program: Map<String, Value>,
    /// Sidecar services by name, in the format of `hold.service`; those in `builds` have no `image` yet.
    pub services: Map<String, Value>,
    /// Services that are still to be built; empty with `build = true`.
    pub builds: Vec<PendingBuild>,
}

/// A service that is built from a directory.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PendingBuild {
    /// Name of the service.
    pub service: String,
    /// Files to build from.
    pub tree: TreeRef,
    /// Path of the Dockerfile among the files.
    pub dockerfile: String,
}

/// The file name to look for.
pub const DEFAULT_FILE: &str = "environment.toml";

/// The maximum size of the file, in bytes.
const LARGEST: u64 = 1 << 20;

impl Verb for EnvironmentLoad {
    const NAME: &'static str = "environment_load";
    const SUMMARY: &'static str = "read which sidecar services a program needs, and build their images";
    const TRAITS: Traits = Traits::repeatable("disk").always_rerun();
    const READS_FILES: bool = true;
    const EXAMPLE: &'static str = r#"
[steps.environment]
environment_load = { near = "examples/visits/scenarios", build = true }
"#;
    type With = EnvironmentLoadInput;
    type Out = EnvironmentLoadOutput;

    fn lane(with: &Value) -> &'static str {
        // Images are built in the lane of `docker_build`.
        let builds = with.get("build").is_some_and(|build| *build != Value::Bool(false));
        if builds { "build" } else { Self::TRAITS.lane }
    }

    fn refusals(with: &EnvironmentLoadInput) -> Vec<Refusal> {
        // With a file, the merged settings are checked when the step runs.
        let (None, None, Some(also)) = (&with.file, &with.near, &with.also) else { return Vec::new() };
        let Ok(schema) = schema() else { return Vec::new() };
        let violations = schema.violations(also);
        let found: Vec<Diagnostic> =
            violations.iter().flat_map(|violation| complaints(violation, also, &|_| None)).collect();
        if found.is_empty() {
            let services = also.get("services").and_then(Value::as_object).into_iter().flatten();
            let lacking = services.filter(|(_, service)| !service.as_object().is_some_and(has_source));
            let refusal = |(name, _): (&String, &Value)| {
                let found = Diagnostic::new(Code::Environment, no_source(name));
                let failure = refused("of the pipeline", &[found], &SourceMap::new());
                Refusal::key(pointer("/also/services", name), failure).if_given("/file").if_given("/near")
            };
            return lacking.map(refusal).collect();
        }
        let failure = refused("of the pipeline", &found, &SourceMap::new());
        vec![Refusal::of("/also", failure).if_given("/file").if_given("/near")]
    }

    async fn run(
        &self,
        with: EnvironmentLoadInput,
        cx: Context,
    ) -> Result<Output<EnvironmentLoadOutput>, Failure> {
        let inner = cx.clone();
        let (build, runtime) = (with.build, with.runtime);
        let read = tokio::task::spawn_blocking(move || load(with, &inner)).await;
        let mut out = read
            .map_err(|e| Failure::new(Class::Bug, format!("internal error in `environment_load`: {e}")))??;
        if let Some(file) = &out.file {
            let names: Vec<&str> = out.services.keys().map(String::as_str).collect();
            let services = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            cx.progress.line(format!("{file}: sidecar services: {services}"));
        }
        if build {
            built::build_all(&mut out, runtime, &self.runtimes, &cx).await?;
        }
        Ok(Output::free(out))
    }
}

fn load(with: EnvironmentLoadInput, cx: &Context) -> Result<EnvironmentLoadOutput, Failure> {
    let project = &cx.workspace.project;
    let mut sources = SourceMap::new();
    let mut written = None;
    if let Some(file) = chosen(&with, project) {
        let text = read_text(&project.join(&file), &file)?;
        let id = sources.add(&file, text);
        let node = Node::parse(&sources, id).map_err(|errors| refused(&file, &errors, &sources))?;
        written = Some((file, id, node));
    }
    let also = with.also.unwrap_or_default();
    let mut value = written.as_ref().map_or_else(|| json!({}), |(_, _, node)| node.to_value());
    if !also.is_null() {
        merge(&mut value, also.clone());
    }
    let file = written.as_ref().map(|(file, ..)| file.clone());
    let name = match &file {
        Some(file) if also.is_null() => file.clone(),
        Some(file) => format!("{file} with what the pipeline adds"),
        None => "of the pipeline".to_owned(),
    };
    // Settings of the pipeline have no position in the file.
    let place = |pointer: &str| {
        let of_file = written.as_ref().filter(|_| also.pointer(pointer).is_none());
        of_file.map(|(_, id, node)| spanned(*id, node, pointer))
    };
    let schema = schema()?;
    let found: Vec<Diagnostic> = schema
        .violations(&value)
        .iter()
        .flat_map(|violation| complaints(violation, &value, &place))
        .collect();
    if !found.is_empty() {
        return Err(refused(&name, &found, &sources));
    }
    if let Some((file, id, node)) = &written {
        granted((file, *id, node), cx, &sources)?;
    }
    let base = match &file {
        Some(file) => project.join(file).parent().map_or_else(|| project.clone(), Path::to_owned),
        None => project.clone(),
    };
    let complain = |pointer: &str, message: String| {
        refused(&name, &[placed(Diagnostic::new(Code::Environment, message), place(pointer))], &sources)
    };
    let pack = |pointer: &str, dir: &str| {
        let complain = |why: String| complain(pointer, format!("cannot pack the directory {dir:?}: {why}"));
        let inside = file.is_some() && also.pointer(pointer).is_none();
        let dir = if inside { below(&base, dir).map_err(&complain)? } else { base.join(dir) };
        let ignored = |path: &str| path == ".atoll" || path.starts_with(".atoll/");
        let tree = Tree::from_dir(&*cx.blobs, &dir, &ignored).map_err(|e| complain(e.to_string()))?;
        Ok(tree.save(&*cx.blobs)?)
    };
    finish(value, &pack, &complain).map(|out| EnvironmentLoadOutput { file, ..out })
}

/// The file can only request permissions: the error lists each request that the user has not allowed.
fn granted(
    (file, id, node): (&str, SourceId, &Node),
    cx: &Context,
    sources: &SourceMap,
) -> Result<(), Failure> {
    let path = cx.workspace.project.join(file);
    let text = &sources.get(id).text;
    if path.canonicalize().is_ok_and(|path| cx.grants.trusts(&path, &Digest::of(text.as_bytes()))) {
        return Ok(());
    }
    let asks =
        Permission::all_of(&node.to_value()).into_iter().filter(|asked| !cx.grants.allows_all(&asked.what));
    let asks: Vec<(Permission, String)> = asks
        .map(|PermissionRequest { pointer, what }| {
            let at = sources.position(id, spanned(id, node, &pointer).start);
            let receiver = pointer.trim_start_matches('/').replace('/', ".");
            let wish = match &what {
                Permission::Secret(name) => format!("the secret `{name}` for `{receiver}`"),
                Permission::Egress(host) if host == EVERY_HOST => {
                    format!("connections to every host (`{receiver}`)")
                }
                Permission::Egress(host) => format!("connections to {host} (`{receiver}`)"),
            };
            (what, format!("{file}:{}:{}: {wish}", at.line, at.column))
        })
        .collect();
    if asks.is_empty() {
        return Ok(());
    }
    let lines: Vec<&str> = asks.iter().map(|(_, line)| line.as_str()).collect();
    let mut options: Vec<String> = asks.iter().map(|(ask, _)| ask.option()).collect();
    options.dedup();
    Err(Failure::new(
        Class::Auth,
        format!("the environment requests permissions that are not allowed:\n{}", lines.join("\n")),
    )
    .hint(format!(
        "allow it for this run: `atoll resume {} {}`; or remember it: `atoll trust {file}`",
        cx.run,
        options.join(" ")
    )))
}

fn placed(complaint: Diagnostic, place: Option<Span>) -> Diagnostic {
    match place {
        Some(span) => complaint.at(span, ""),
        None => complaint,
    }
}

/// The directory `dir` below `base`, without links. Files outside the directory of the environment's file
/// must not reach a program. Errors if the directory does not exist or is elsewhere.
fn below(base: &Path, dir: &str) -> Result<PathBuf, String> {
    let (base, real) = (base.canonicalize(), base.join(dir).canonicalize());
    let (base, real) = (base.map_err(|e| e.to_string())?, real.map_err(|e| e.to_string())?);
    if real.starts_with(&base) {
        return Ok(real);
    }
    Err("it is outside the directory of the environment file".to_owned())
}

/// Packs the named directories into trees; the other keys become keys of `hold.service`.
fn finish(
    mut value: Value,
    pack: &dyn Fn(&str, &str) -> Result<TreeRef, Failure>,
    complain: &dyn Fn(&str, String) -> Failure,
) -> Result<EnvironmentLoadOutput, Failure> {
    let mut out = EnvironmentLoadOutput::default();
    let puts = |table: &mut Map<String, Value>, pointer: &str| -> Result<(), Failure> {
        let Some(Value::Object(files)) = table.remove("files") else { return Ok(()) };
        let mut list = Vec::new();
        for (at, dir) in files {
            let tree = pack(&format!("{pointer}/files/{}", escaped(&at)), dir.as_str().unwrap_or_default())?;
            list.push(json!({ "tree": tree.tree, "at": at }));
        }
        table.insert("files".to_owned(), list.into());
        Ok(())
    };
    if let Some(Value::Object(mut program)) = value.get_mut("program").map(Value::take) {
        puts(&mut program, "/program")?;
        out.program = program;
    }
    let services = match value.get_mut("services").map(Value::take) {
        Some(Value::Object(services)) => services,
        _ => Map::new(),
    };
    for (name, service) in services {
        let Value::Object(mut service) = service else { continue };
        let pointer = format!("/services/{}", escaped(&name));
        if !has_source(&service) {
            return Err(complain(&pointer, no_source(&name)));
        }
        let dockerfile = service.remove("dockerfile");
        if let Some(code) = service.remove("code") {
            let tree = pack(&format!("{pointer}/code"), code.as_str().unwrap_or_default())?;
            let dockerfile = dockerfile.as_ref().and_then(Value::as_str).unwrap_or("Dockerfile").to_owned();
            out.builds.push(PendingBuild { service: name.clone(), tree, dockerfile });
        }
        puts(&mut service, &pointer)?;
        out.services.insert(name, service.into());
    }
    Ok(out)
}

/// Whether exactly one of an image and code is given for a service.
fn has_source(service: &Map<String, Value>) -> bool {
    match (service.contains_key("image"), service.contains_key("code")) {
        (true, false) => !service.contains_key("dockerfile"),
        (image, code) => image != code,
    }
}

fn no_source(service: &str) -> String {
    format!("the service `{service}` must have either `image` or `code` (with `dockerfile`)")
}

/// The file to read, and its display name.
fn chosen(with: &EnvironmentLoadInput, project: &Path) -> Option<String> {
    if let Some(file) = &with.file {
        return Some(file.path().to_owned());
    }
    let near = with.near.as_ref().map(PathOrInput::path).filter(|near| !near.is_empty())?;
    let dir = Path::new(near).parent().map_or_else(PathBuf::new, Path::to_owned);
    let usual = dir.join(DEFAULT_FILE);
    project.join(&usual).is_file().then(|| usual.display().to_string())
}

fn read_text(path: &Path, shown: &str) -> Result<String, Failure> {
    let failed = |why: String| Failure::permanent(format!("the environment {shown} cannot be read: {why}"));
    let bytes = read_file(path, LARGEST).map_err(|e| failed(e.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))
}

fn schema() -> Result<Arc<Schema>, Failure> {
    let bug = |e: String| Failure::new(Class::Bug, format!("schemas/environment.json: {e}"));
    let source = serde_json::from_str(include_str!("../../schemas/environment.json"))
        .map_err(|e| bug(e.to_string()))?;
    Schema::compile("schemas/environment.json", source).map(Arc::new).map_err(|e| bug(e.to_string()))
}

fn merge(into: &mut Value, over: Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over,
    }
}

fn refused(name: &str, found: &[Diagnostic], sources: &SourceMap) -> Failure {
    let texts: Vec<String> = found.iter().map(|complaint| render(complaint, sources)).collect();
    let count = if texts.len() == 1 { "an error".to_owned() } else { format!("{} errors", texts.len()) };
    Failure::permanent(format!("{count} in the environment {name}\n{}", texts.join("\n")))
        .hint("fix the file; run `atoll explain E0801` for details")
        .detail(json!({ "diagnostics": texts }))
}

/// A violation in the author's terms: each unknown key is named, with the nearest known one.
fn complaints(violation: &Violation, value: &Value, place: &dyn Fn(&str) -> Option<Span>) -> Vec<Diagnostic> {
    let known = known_keys(&violation.pointer);
    let here = value.pointer(&violation.pointer).and_then(Value::as_object);
    let strange: Vec<&String> = here
        .filter(|_| !known.is_empty())
        .map(|here| here.keys().filter(|key| !known.contains(&key.as_str())).collect())
        .unwrap_or_default();
    if strange.is_empty() {
        let name = violation.pointer.trim_start_matches('/').replace('/', ".");
        let message = if name.is_empty() {
            violation.message.clone()
        } else {
            format!("`{name}`: {}", violation.message)
        };
        return vec![placed(Diagnostic::new(Code::Environment, message), place(&violation.pointer))];
    }
    let complain = |key: &String| {
        let message = format!("unknown key `{key}`");
        let complaint = Diagnostic::new(Code::Environment, message).suggest(key, known.iter().copied());
        placed(complaint, place(&format!("{}/{}", violation.pointer, escaped(key))))
    };
    strange.into_iter().map(complain).collect()
}

/// The known keys of the table at `pointer`; none if any name is allowed.
fn known_keys(pointer: &str) -> Vec<&'static str> {
    const COMMON: [&str; 13] = [
        "command", "env", "port", "ports", "ready", "memory", "disk", "cpus", "pids", "egress", "files",
        "volumes", "seed",
    ];
    const READY: [&str; 6] = ["http", "tcp", "log", "command", "port", "within"];
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    match parts.as_slice() {
        [] => vec!["program", "services"],
        ["program"] => COMMON.iter().copied().chain(["name"]).collect(),
        ["services", _] => COMMON.iter().copied().chain(["image", "code", "dockerfile", "after"]).collect(),
        [.., "ready"] => READY.to_vec(),
        _ => Vec::new(),
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The position of the value that a pointer names (of its key, if it has one), or of its nearest parent.
fn spanned(id: SourceId, root: &Node, pointer: &str) -> Span {
    let mut span = Span { source: id, ..root.span };
    let mut here = root;
    for part in pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")) {
        let next = match &here.value {
            Raw::Table(table) => keyed(table, &part),
            Raw::List(items) => {
                part.parse::<usize>().ok().and_then(|at| items.get(at)).map(|node| (node.span, node))
            }
            _ => None,
        };
        let Some((at, node)) = next else { break };
        (span, here) = (at, node);
    }
    span
}

fn keyed<'n>(table: &'n Table, key: &str) -> Option<(Span, &'n Node)> {
    table.get(key).map(|entry| (entry.key, &entry.node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_schema() {
        let schema = schema().unwrap();
        let keys = |pointer: &str| {
            let table = schema.source().pointer(pointer).and_then(Value::as_object).unwrap();
            let mut keys: Vec<String> = table.keys().cloned().collect();
            keys.sort();
            keys
        };
        let known = |pointer: &str| {
            let mut known: Vec<String> = known_keys(pointer).into_iter().map(str::to_owned).collect();
            known.sort();
            known
        };
        assert_eq!(keys("/properties"), known(""));
        assert_eq!(keys("/$defs/program/properties"), known("/program"));
        assert_eq!(keys("/$defs/service/properties"), known("/services/db"));
        assert_eq!(keys("/$defs/ready/oneOf/1/properties"), known("/services/db/ready"));
    }
}
