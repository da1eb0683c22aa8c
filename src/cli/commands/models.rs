//! `atoll models`: the models in the registry, and those that providers report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, json};

use crate::cli::app::App;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::permissions::PermissionFlags;
use crate::cli::wiring;
use crate::llm::registry::{Model, Price, Registry};
use crate::llm::{Models, Served};
use crate::value::Value;
use crate::verb::Failure;

/// `atoll models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// List only models of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Ask providers which models they serve: the provider of `--provider`, else all providers
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    allow: PermissionFlags,
    /// Format of the list
    #[arg(long, default_value = "text")]
    format: Format,
}

/// The lists of providers, by name.
type Lists = BTreeMap<String, Result<Vec<Served>, Failure>>;

/// One line of the list.
struct ModelRow {
    name: String,
    model: Model,
    /// Whether its provider reports it, if the provider was asked.
    served: Option<bool>,
}

/// Lists models.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let registry = wiring::registry(&app.settings)?;
    if let Some(name) = &args.provider {
        registry
            .provider(name)
            .map_err(|error| CommandError { hint: error.hint.clone(), ..CommandError::usage(error) })?;
    }
    let chosen = |name: &str| args.provider.as_deref().is_none_or(|only| only == name);
    let lists = if args.refresh { refresh(app, args, &registry, chosen)? } else { Lists::new() };
    let mut rows: Vec<ModelRow> = registry
        .models()
        .filter(|(_, model)| chosen(&model.provider.name))
        .map(|(name, model)| row(name, model, &lists))
        .collect();
    for (provider, list) in &lists {
        for served in list.iter().flatten() {
            rows.extend(unlisted(provider, served, &registry));
        }
    }
    let json = || whole(&registry, &rows, &lists, chosen);
    args.format.print(app.terminal, json, || table(&registry, &rows, args.provider.is_none()))?;
    complaints(app, &lists, args.provider.is_some())
}

/// Asks every chosen provider, one after the other.
fn refresh(
    app: &App,
    options: &Args,
    registry: &Registry,
    chosen: impl Fn(&str) -> bool,
) -> Result<Lists, CommandError> {
    let clock = wiring::clock();
    let models = wiring::models(&app.settings, &options.allow)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CommandError::failed)?;
    let ask = |models: &Models, name: &str| runtime.block_on(models.served(name, &*clock));
    let names = registry.providers().map(|provider| &provider.name).filter(|name| chosen(name));
    Ok(names.map(|name| (name.clone(), ask(&models, name))).collect())
}

fn row(name: &str, model: &Model, lists: &Lists) -> ModelRow {
    let list = lists.get(&model.provider.name).and_then(|list| list.as_ref().ok());
    let served = list.map(|list| list.iter().any(|served| served.id == model.id));
    ModelRow { name: name.to_owned(), model: model.clone(), served }
}

/// A model that the registry does not list, with the figures from its provider's list.
fn unlisted(provider: &str, served: &Served, registry: &Registry) -> Option<ModelRow> {
    let name = format!("{provider}/{}", served.id);
    let listed = registry.models().any(|(_, model)| model.provider.name == provider && model.id == served.id);
    let mut model = if listed { None } else { registry.find(&name).ok() }?.as_ref().clone();
    model.context = served.context.or(model.context);
    model.max_output = served.max_output.or(model.max_output);
    Some(ModelRow { name, model, served: Some(true) })
}

fn whole(registry: &Registry, rows: &[ModelRow], lists: &Lists, chosen: impl Fn(&str) -> bool) -> Value {
    let aliases: Map<String, Value> =
        registry.aliases().map(|(name, meant)| (name.to_owned(), json!(meant))).collect();
    let providers = registry.providers().filter(|provider| chosen(&provider.name)).map(|provider| {
        let mut object = json!({"name": provider.name, "kind": provider.kind, "base_url": provider.shown_url(),
            "key": provider.key_env, "price": provider.price, "features": provider.features});
        if let Some(Err(failure)) = lists.get(&provider.name) {
            object["failure"] =
                json!({"class": failure.class, "message": failure.message, "hint": failure.hint});
        }
        object
    });
    let models: Vec<Value> = rows.iter().map(object).collect();
    json!({"version": 1, "aliases": aliases, "providers": providers.collect::<Vec<_>>(), "models": models})
}

fn object(row: &ModelRow) -> Value {
    let model = &row.model;
    let mut object = json!({"name": row.name, "provider": model.provider.name, "id": model.id,
        "context": model.context, "max_output": model.max_output, "default_output": model.default_output,
        "features": model.features, "price": model.price});
    if let Some(served) = row.served {
        object["served"] = json!(served);
    }
    object
}

fn table(registry: &Registry, rows: &[ModelRow], aliases: bool) -> String {
    let wide = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{:wide$}  {:>9}  {:>8}  {:>21}  features\n",
        "model", "context", "output", "$ per million in/out"
    );
    for row in rows {
        let model = &row.model;
        let gone = if row.served == Some(false) { "  (not served)" } else { "" };
        let _ = writeln!(
            text,
            "{:wide$}  {:>9}  {:>8}  {:>21}  {}{gone}",
            row.name,
            tokens(model.context),
            tokens(model.max_output),
            price(model.price.as_ref()),
            model.features.names().join(" "),
        );
    }
    if aliases {
        text.push('\n');
        for (name, meant) in registry.aliases() {
            let _ = writeln!(text, "{name:wide$}  {}", meant.join(", "));
        }
    }
    text
}

fn tokens(count: Option<u64>) -> String {
    count.map_or_else(|| "?".to_owned(), |count| count.to_string())
}

fn price(price: Option<&Price>) -> String {
    match price {
        None => "unknown".to_owned(),
        Some(price) if *price == Price::FREE => "free".to_owned(),
        Some(price) => format!("{} / {}", price.input, price.output),
    }
}

/// Reports providers that could not be asked. It is a failure if the named provider, or every provider,
/// failed.
fn complaints(app: &App, lists: &Lists, named: bool) -> CommandResult {
    let failures: Vec<&Failure> = lists.values().filter_map(|list| list.as_ref().err()).collect();
    for failure in &failures {
        app.terminal.say(&failure.message);
        if let Some(hint) = failure.hint.as_ref().filter(|_| named) {
            app.terminal.say(&format!("  {hint}"));
        }
    }
    let none = !lists.is_empty() && failures.len() == lists.len();
    Ok(if none { ExitStatus::FAILED } else { ExitStatus::REACHED })
}
