//! The permissions of a run, from its pipeline and its inputs, and the notes about them before it starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::app::App;
use crate::cli::error::CommandError;
use crate::cli::loading::LoadedPipeline;
use crate::cli::permissions::requests;
use crate::cli::permissions::requests::{ProjectText, is_pipeline, read};
use crate::cli::permissions::trust_file::{FileDigest, TrustFile, TrustedFile};
use crate::cli::project::settings::Settings;
use crate::cli::project::text_layers::TextLayers;
use crate::cli::wiring;
use crate::driver::Runtime;
use crate::plan::{self, Bundle, InputKind, Layer, MemorySources, Plan, path_of};
use crate::tree::visible;
use crate::value::{Digest, Value};
use crate::verb::{Grants, Permission, is_secret_name};
use crate::verbs::environment_load::DEFAULT_FILE;

/// Prints which built-in files the project replaces, and then the warnings of the pipeline.
pub fn print_changes(app: &App, pipeline: &LoadedPipeline) -> Result<(), CommandError> {
    let texts = TextLayers::new(&app.settings);
    let mut own = Vec::new();
    for ProjectText { name, .. } in requests::foreign(&app.settings, &texts, &pipeline.bundle) {
        let hides = texts.all(&name).is_ok_and(|all| all.iter().any(|found| found.layer == Layer::Embedded));
        own.extend(hides.then_some(name));
    }
    own.extend(wiring::registry(&app.settings)?.changed_by_project().map(str::to_owned));
    own.extend(wiring::changed_agents(&app.settings)?);
    if !own.is_empty() {
        app.terminal.say(&visible(&format!("note: this project has its own {}", own.join(", "))));
    }
    pipeline.warn(app);
    Ok(())
}

/// Gives `runtime` the permissions for a run of `plan`, made from `bundle`, with `inputs`. Errors if an input
/// contains the value of a secret.
pub fn grant(
    app: &App,
    runtime: &mut Runtime,
    (plan, bundle): (&Plan, &Bundle),
    inputs: &Value,
) -> Result<(), CommandError> {
    let mut grants = runtime.grants.as_ref().clone();
    let whole = is_trusted(&app.settings, bundle)?;
    if whole {
        of_pipelines(&mut grants, runtime, bundle);
        beside_project(&mut grants, &app.settings)?;
    }
    for (name, input) in &plan.inputs {
        let value = &inputs[name];
        match input.kind {
            // The input was given by the person who runs the pipeline, not by its author.
            InputKind::Secret if *value != input.default => {
                grants.allow_pipeline(Permission::Secret(value.as_str().unwrap_or_default().to_owned()));
            }
            InputKind::File | InputKind::FilePath | InputKind::Dir | InputKind::Path if whole => {
                environments(&app.settings, value).iter().for_each(|path| beside(&mut grants, path));
            }
            _ => {}
        }
    }
    // Their values are then known, and masked from the first line.
    for name in grants.secrets().filter(|name| is_secret_name(name)) {
        let _ = runtime.secrets.get(name);
    }
    runtime.grants = Arc::new(grants);
    without_values(runtime, plan, inputs)
}

/// Whether all texts that decide how a secret is used are built in, the user's own, or trusted in this
/// combination.
fn is_trusted(settings: &Settings, bundle: &Bundle) -> Result<bool, CommandError> {
    let texts = TextLayers::new(settings);
    let foreign = requests::foreign(settings, &texts, bundle);
    let trusted = TrustFile::load(settings.user.as_deref())?;
    let knows = |part: &FileDigest| trusted.files.iter().find(|file| file.is(part));
    let main = path_of(&bundle.main);
    if let Some(own) = foreign.iter().find(|text| text.name == main) {
        let covers = |file: &TrustedFile, part: &FileDigest| file.is(part) || file.with.contains(part);
        return Ok(knows(&own.part).is_some_and(|file| foreign.iter().all(|text| covers(file, &text.part))));
    }
    let main = bundle.files.get(&main).map(|text| requests::origin(&texts, &main, text));
    // Prompts and schemas of the project do not decide how built-in pipelines use a secret.
    let spared = |text: &ProjectText| main == Some(Layer::Embedded) && !text.is_pipeline();
    Ok(foreign.iter().all(|text| spared(text) || knows(&text.part).is_some()))
}

/// Adds the requests of the pipelines of `bundle`, after they are merged with what they extend.
fn of_pipelines(grants: &mut Grants, runtime: &Runtime, bundle: &Bundle) {
    let door = MemorySources::new(bundle.files.iter().map(|(path, text)| (path.clone(), text.as_str())));
    let Ok((merged, _)) = plan::merged(&bundle.main, &door, &runtime.catalog) else { return };
    for asked in merged.iter().flat_map(|pipeline| Permission::all_of(&pipeline.value)) {
        grants.allow_pipeline(asked.what);
    }
}

/// Adds the requests of trusted environment files, anywhere in the project.
fn beside_project(grants: &mut Grants, settings: &Settings) -> Result<(), CommandError> {
    let Ok(dir) = settings.project.canonicalize() else { return Ok(()) };
    let trusted = TrustFile::load(settings.user.as_deref())?;
    let inside = trusted.files.iter().filter(|file| file.path.starts_with(&dir));
    inside.for_each(|file| beside(grants, &file.path));
    Ok(())
}

/// Adds the requests of the file at `path`, if it is trusted.
fn beside(grants: &mut Grants, path: &Path) {
    let (Some(text), Ok(path)) = (read(path), path.canonicalize()) else { return };
    let is_settings = path.file_name().is_some_and(|name| name == crate::cli::project::settings::FILE);
    if is_settings || is_pipeline(&path, &text) || !grants.trusts(&path, &Digest::of(&text)) {
        return;
    }
    let value: Value = crate::value::parse_toml(&text).unwrap_or_default();
    for asked in Permission::all_of(&value) {
        grants.allow_pipeline(asked.what);
    }
}

/// Possible environment files at the path of an input.
fn environments(settings: &Settings, input: &Value) -> Vec<PathBuf> {
    let Some(path) = input["path"].as_str() else { return Vec::new() };
    let path = settings.project.join(path);
    let beside = path.parent().map(|dir| dir.join(DEFAULT_FILE));
    let itself = path.extension().is_some_and(|extension| extension == "toml").then_some(path);
    itself.into_iter().chain(beside).collect()
}

/// Refuses inputs that contain the value of a secret: they are stored with the run.
fn without_values(runtime: &Runtime, plan: &Plan, inputs: &Value) -> Result<(), CommandError> {
    for (name, _) in plan.inputs.iter().filter(|(_, input)| !input.kind.is_read()) {
        let mut value = inputs[name].clone();
        runtime.secrets.redact_value(&mut value);
        if value != inputs[name] {
            return Err(CommandError::wrong(format!("the input `{name}` contains the value of a secret, which would be stored with the run"))
                .hint("pass it by name: an input of `type = \"secret\"`, and `{ secret = \"{{ inputs.NAME }}\" }` in the step"));
        }
    }
    Ok(())
}

/// Errors if a settings file belongs to another user.
pub fn owned(settings: &Settings, path: &Path) -> Result<(), CommandError> {
    settings
        .owners
        .check(path)
        .map_err(|why| CommandError::wrong(why).hint(crate::cli::project::owners::way_out(path)))
}
