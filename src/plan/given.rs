use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::json;

use super::takes::{convert, noun};
use super::types::{Input, InputKind, Plan, Refusal};
use crate::diag::{Code, Diagnostic};
use crate::expr::{Allowance, Data, Scope};
use crate::value::{Digest, Value};
use crate::verb::has_credentials;

/// How much work the refusals of a pipeline may take, in nodes and items: about half a second.
const REFUSAL_WORK: u64 = 20_000_000;

/// What somebody gives for an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// Text, as on a command line.
    Text(String),
    /// A value, as from a program.
    Value(Value),
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFile {
    /// Its last name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path from the directory, with `/`.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its content.
    pub digest: Digest,
}

/// What inputs name: files, directories and models. Errors say what happened, in words.
pub trait InputDoor {
    /// The text of the file at `path`.
    fn file(&self, path: &str) -> Result<ReadFile, String>;
    /// All files below the directory at `path`, by path.
    fn dir(&self, path: &str) -> Result<Vec<Listed>, String>;
    /// The file at `path`, if that is no directory.
    fn single(&self, _path: &str) -> Option<Result<Vec<Listed>, String>> {
        None
    }
    /// Whether there is a model called `name`. An error has what is wrong, and what to do about it.
    fn model(&self, name: &str) -> Result<(), (String, Option<String>)>;
    /// Whether there is a secret called `name`, as far as that is known before a run.
    fn secret(&self, _name: &str) -> bool {
        true
    }
}

/// A place where there are no files, and any name will do for a model.
pub struct NoFiles;

impl InputDoor for NoFiles {
    fn file(&self, _: &str) -> Result<ReadFile, String> {
        Err("there are no files here".to_owned())
    }

    fn dir(&self, _: &str) -> Result<Vec<Listed>, String> {
        Err("there are no files here".to_owned())
    }

    fn model(&self, _: &str) -> Result<(), (String, Option<String>)> {
        Ok(())
    }
}

/// The value of `inputs` for a run of `plan`, or everything that is wrong with what was given.
pub fn check_inputs(
    plan: &Plan,
    given: &IndexMap<String, Given>,
    door: &dyn InputDoor,
) -> Result<Value, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let spelt = |name: &str| name.replace('-', "_");
    for name in given.keys() {
        if !plan.inputs.keys().any(|known| spelt(known) == spelt(name)) {
            found.push(
                Diagnostic::new(Code::InputUnknown, format!("`{}` has no input `{name}`", plan.name))
                    .suggest(name, plan.inputs.keys().map(String::as_str)),
            );
        }
    }
    let mut values = serde_json::Map::new();
    for (name, input) in &plan.inputs {
        let given = given.iter().find(|(key, _)| spelt(key) == spelt(name)).map(|(_, given)| given);
        let written = matches!(given, Some(Given::Text(_)));
        let value = given.map(|given| match given {
            Given::Text(text) => Value::from(text.as_str()),
            Given::Value(value) => value.clone(),
        });
        let value = value.filter(|value| !value.is_null()).or_else(|| Some(input.default.clone()));
        match value.filter(|value| !value.is_null()) {
            None => {
                if input.required {
                    found.push(missing(plan, name, input));
                }
                values.insert(name.clone(), Value::Null);
            }
            Some(value) => match take(name, input, (&value, written), door) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(wrong) => found.push(wrong),
            },
        }
    }
    let values = Value::Object(values);
    if found.is_empty() {
        found =
            plan.refused(&values).into_iter().map(|why| Diagnostic::new(Code::InputRefused, why)).collect();
    }
    if found.is_empty()
        && let Err(unfit) = plan.at_start(&values)
    {
        let complaint = Diagnostic::new(Code::InputRefused, unfit.message).at(unfit.span, "");
        found.push(complaint.help("give inputs with which it fits"));
    }
    if found.is_empty() { Ok(values) } else { Err(found) }
}

impl Plan {
    /// Why no run begins with `inputs`, each of which is right by itself.
    pub fn refused(&self, inputs: &Value) -> Vec<String> {
        let allowance = Arc::new(Allowance::new(REFUSAL_WORK));
        self.refused_in(&Scope::new().with("inputs", Data::from_value(inputs)).within(allowance))
    }

    /// The same in a scope that has the `inputs`.
    pub fn refused_in(&self, scope: &Scope) -> Vec<String> {
        let why = |refusal: &Refusal| match refusal.when.eval_bool(scope) {
            Ok(true) => Some(refusal.message.render_text(scope)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        let said = self.refusals.iter().filter_map(why);
        said.map(|said| said.unwrap_or_else(|e| format!("refuse `{}`: {}", e.text, e.message))).collect()
    }
}

fn missing(plan: &Plan, name: &str, input: &Input) -> Diagnostic {
    Diagnostic::new(Code::InputMissing, format!("`{}` needs the input `{name}`", plan.name))
        .help(help(name, input))
}

fn help(name: &str, input: &Input) -> String {
    let about = if input.help.is_empty() { String::new() } else { format!(": {}", input.help) };
    format!("give {} with `--{}`{about}", noun(&input.kind), name.replace('_', "-"))
}

fn take(name: &str, input: &Input, value: (&Value, bool), door: &dyn InputDoor) -> Result<Value, Diagnostic> {
    let wrong = |(code, message)| Diagnostic::new(code, message).help(help(name, input));
    let taken = read(name, input, value, door).map_err(wrong)?;
    if let (InputKind::Model, Some(model)) = (&input.kind, taken.as_str()) {
        door.model(model).map_err(|(message, hint)| {
            let found = Diagnostic::new(Code::InputModel, format!("{message} for `{name}`"));
            found.help(hint.unwrap_or_else(|| help(name, input)))
        })?;
    }
    let unknown = |secret: &str| taken != input.default && !door.secret(secret);
    if input.kind == InputKind::Secret && taken.as_str().is_some_and(unknown) {
        // It may be the secret itself: it is not repeated.
        let message = format!("`{name}` must be the name of a secret; no secret with the given name is set");
        return Err(wrong((Code::InputSecret, message)));
    }
    if taken != input.default && taken.as_str().is_some_and(has_credentials) {
        let message = format!(
            "the URL given for `{name}` holds a user name or password, which would be stored with the run"
        );
        let found = Diagnostic::new(Code::InputSecret, message);
        return Err(found.help("give the URL without it, and the secret by name"));
    }
    Ok(taken)
}

/// The value of one input: files and directories are read, anything else is converted. `written` is text as on a command line.
pub fn read(
    name: &str,
    input: &Input,
    (value, written): (&Value, bool),
    door: &dyn InputDoor,
) -> Result<Value, (Code, String)> {
    let path = || {
        value
            .as_str()
            .ok_or_else(|| (Code::InputType, format!("`{name}` must be the path of {}", noun(&input.kind))))
    };
    let size = |size: f64, what: &str| {
        let outside = |bound: &str, limit: f64| {
            Err((Code::InputRange, format!("`{name}` must have at {bound} {limit} {what}, this has {size}")))
        };
        match (input.min, input.max) {
            (Some(min), _) if size < min => outside("least", min),
            (_, Some(max)) if size > max => outside("most", max),
            _ => Ok(()),
        }
    };
    match input.kind {
        // A caller that is a pipeline hands on what it has already read.
        _ if input.kind.is_read() && value.is_object() => Ok(value.clone()),
        InputKind::File => {
            let path = path()?;
            let file = door.file(path).map_err(|reason| {
                (Code::InputUnreadable, format!("cannot read `{path}` for `{name}`: {reason}"))
            })?;
            if file.text.trim().is_empty() && input.min != Some(0.0) {
                return Err((Code::InputEmpty, format!("the file `{path}` for `{name}` is empty")));
            }
            #[expect(clippy::cast_precision_loss, reason = "no file is that long")]
            size(file.text.len() as f64, "bytes")?;
            Ok(json!({"path": path, "name": file.name, "text": file.text, "digest": Digest::of(&file.text)}))
        }
        InputKind::FilePath => {
            let path = path()?;
            let read = door.single(path).unwrap_or_else(|| Err("it is a directory".to_owned()));
            let files = read.map_err(|reason| {
                (Code::InputUnreadable, format!("cannot read `{path}` for `{name}`: {reason}"))
            })?;
            let Some(file) = files.first() else { return Ok(Value::Null) };
            if file.size == 0 && input.min != Some(0.0) {
                return Err((Code::InputEmpty, format!("the file `{path}` for `{name}` is empty")));
            }
            #[expect(clippy::cast_precision_loss, reason = "no file is that long")]
            size(file.size as f64, "bytes")?;
            Ok(json!({"path": path, "name": file.path, "digest": file.digest}))
        }
        InputKind::Dir | InputKind::Path => {
            let path = path()?;
            let single = (input.kind == InputKind::Path).then(|| door.single(path)).flatten();
            let files = single.unwrap_or_else(|| door.dir(path)).map_err(|reason| {
                let what = if input.kind == InputKind::Path { "" } else { "the directory " };
                (Code::InputUnreadable, format!("cannot read {what}`{path}` for `{name}`: {reason}"))
            })?;
            if files.is_empty() && input.min != Some(0.0) {
                return Err((Code::InputEmpty, format!("the directory `{path}` for `{name}` has no files")));
            }
            #[expect(clippy::cast_precision_loss, reason = "no directory is that large")]
            size(files.len() as f64, "files")?;
            let files: Value = files
                .into_iter()
                .map(|file| json!({"path": file.path, "size": file.size, "digest": file.digest}))
                .collect();
            Ok(json!({"path": path, "digest": Digest::of_value(&files), "files": files}))
        }
        _ => convert(name, input, value, written),
    }
}
