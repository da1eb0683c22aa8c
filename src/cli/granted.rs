//! What a run is allowed, from its pipeline and its inputs, and what a person is told of that before it begins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trust::{allow_all, allow_trusted, allow_trusted_below, read};
use super::{Desk, Settings, Stop, Texts, house};
use crate::driver::House;
use crate::plan::{Bundle, InputKind, Layer, Plan};
use crate::value::Value;
use crate::verb::{Ask, is_secret_name};
use crate::verbs::environment_load::USUAL;

/// Lets `house` do what the user allows a run of `plan`, made from `bundle`, with `inputs`. Says on the first line what the
/// project changes of what is built in. Errors: an input holds the value of a secret.
pub fn prepare(
    desk: &Desk,
    house: &mut House,
    (plan, bundle): (&Plan, &Bundle),
    inputs: &Value,
) -> Result<(), Stop> {
    let texts = Texts::new(&desk.settings);
    let mut grants = house.grants.as_ref().clone();
    allow_trusted_below(&mut grants, &desk.settings)?;
    let mut own = Vec::new();
    for (path, text) in &bundle.files {
        match origin(&texts, path, text) {
            Layer::Embedded => {}
            Layer::User => allow_all(&mut grants, text),
            _ => {
                allow_trusted(&mut grants, &on_disk(&desk.settings, path), text);
                let hides =
                    texts.all(path).is_ok_and(|all| all.iter().any(|found| found.layer == Layer::Embedded));
                own.extend(hides.then(|| path.clone()));
            }
        }
    }
    for (name, input) in &plan.inputs {
        let value = &inputs[name];
        match input.kind {
            // Whoever runs the pipeline has named it: it is not the author's choice.
            InputKind::Secret if *value != input.default => {
                grants.allow_pipeline(Ask::Secret(value.as_str().unwrap_or_default().to_owned()));
            }
            InputKind::File | InputKind::FilePath | InputKind::Dir | InputKind::Path => {
                for path in environments(&desk.settings, value) {
                    if let Some(text) = read(&path) {
                        allow_trusted(&mut grants, &path, &text);
                    }
                }
            }
            _ => {}
        }
    }
    // Their values are then known, and redacted from the first line on.
    for name in grants.secrets().filter(|name| is_secret_name(name)) {
        let _ = house.secrets.get(name);
    }
    house.grants = Arc::new(grants);
    without_values(house, plan, inputs)?;
    own.extend(
        house::registry(&desk.settings)?.priced_by_project().map(|name| format!("the price of {name}")),
    );
    if !own.is_empty() {
        desk.face.say(&format!("note: this project has its own {}", own.join(", ")));
    }
    Ok(())
}

/// Whose text it is: as strong as the strongest layer that has the same.
fn origin(texts: &Texts, path: &str, text: &str) -> Layer {
    let all = texts.all(path).unwrap_or_default();
    let same = all.iter().filter(|found| *found.text == *text).map(|found| found.layer);
    same.max().unwrap_or(Layer::File)
}

fn on_disk(settings: &Settings, path: &str) -> PathBuf {
    let library = settings.project.join(path);
    if library.is_file() { library } else { settings.here.join(path) }
}

/// Files that may say what runs next to a program, as far as an input names them.
fn environments(settings: &Settings, input: &Value) -> Vec<PathBuf> {
    let Some(path) = input["path"].as_str() else { return Vec::new() };
    let path = settings.project.join(path);
    let beside = path.parent().map(|dir| dir.join(USUAL));
    let itself = path.extension().is_some_and(|extension| extension == "toml").then_some(path);
    itself.into_iter().chain(beside).collect()
}

/// Refuses inputs that hold the value of a secret: they are stored with the run.
fn without_values(house: &House, plan: &Plan, inputs: &Value) -> Result<(), Stop> {
    for (name, _) in plan.inputs.iter().filter(|(_, input)| !input.kind.is_read()) {
        let mut value = inputs[name].clone();
        house.secrets.redact_value(&mut value);
        if value != inputs[name] {
            return Err(Stop::wrong(format!("the input `{name}` holds the value of a secret, which would be stored with the run"))
                .hint("give it by name: an input of `type = \"secret\"`, and `{ secret = \"{{ inputs.NAME }}\" }` in the step"));
        }
    }
    Ok(())
}

/// Errors: the path of a settings file of another user.
pub fn owned(settings: &Settings, path: &Path) -> Result<(), Stop> {
    settings.owners.check(path).map_err(|why| Stop::wrong(why).hint(super::owner::way_out(path)))
}
