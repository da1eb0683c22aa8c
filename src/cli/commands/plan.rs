//! `atoll plan PIPELINE`: shows what a run would do. Makes no call and writes nothing.

use serde_json::json;

use crate::cli::app::App;
use crate::cli::dynamic_args;
use crate::cli::dynamic_args::DynamicArgs;
use crate::cli::error::CommandResult;
use crate::cli::exit::ExitStatus;
use crate::cli::format::Format;
use crate::cli::loading;
use crate::cli::project::input_files::InputFiles;
use crate::cli::wiring;
use crate::meter::{Meter, Unit};
use crate::plan::{InnerCap, Plan, caps, check_inputs, inner_caps, worst};
use crate::report::outline::{outline, text};
use crate::report::units::name;
use crate::report::{Paint, cost_bound};
use crate::schema::Schema;
use crate::value::Value;

/// `atoll plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: PlanOptions,
    /// The pipeline, followed by inputs that are inserted into its texts
    #[arg(value_name = "PIPELINE [--INPUT VALUE]", required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct PlanOptions {
    /// Change the pipeline: `--set steps.converge.loop.max=20`
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Format of the plan
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Shows the plan.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let DynamicArgs { app, pipeline, options, inputs } =
        dynamic_args::read::<PlanOptions>(app, "plan", &args.words)?;
    pipeline.warn(&app);
    let inputs = match check_inputs(&pipeline.plan, &inputs, &InputFiles::new(&app.settings)?) {
        Ok(inputs) => Some(inputs),
        Err(_) if inputs.is_empty() => None,
        Err(found) => return Err(loading::report_errors(&app, &found, &pipeline.sources, options.format)?),
    };
    let rendered = inputs.is_some();
    let known = inputs.clone().unwrap_or_else(|| defaults(&pipeline.plan));
    let catalog = wiring::listing(&app.settings)?;
    let most = |name: &str, with: &Value, schema: Option<&Schema>| match catalog.find_verb(name) {
        Some(verb) => verb.bound(with, schema).map(|bound| bound.most),
        None => Some(Meter::new()),
    };
    let worst = worst(&pipeline.plan, &known, &most);
    let caps = caps(&pipeline.plan, &known);
    let inner = inner_caps(&pipeline.plan, &known);
    let at_start = pipeline.plan.at_start_so_far(&known);
    let settings: Vec<Shown<'_>> = pipeline
        .plan
        .settings
        .iter()
        .map(|setting| (setting.path.as_str(), setting.text(), at_start.values.get(&setting.path)))
        .collect();
    let steps = outline(&pipeline.plan, &pipeline.sources, inputs);
    let json = || {
        json!({
            "version": 1,
            "pipeline": pipeline.plan.name,
            "summary": pipeline.plan.summary,
            "digest": pipeline.plan.digest,
            "steps": steps,
            "inner_caps": inner.iter().map(inner_json).collect::<Vec<_>>(),
            "caps": caps.iter().map(|(unit, cap, text)| json!({"unit": unit, "cap": cap, "text": text})).collect::<Vec<_>>(),
            "settings": settings.iter().map(|(path, text, value)| json!({"path": path, "text": text, "value": value})).collect::<Vec<_>>(),
            "worst": cost_bound::json(&worst),
        })
    };
    let paint = app.terminal.out;
    let text = || {
        let heading = heading(&pipeline.plan, &caps, !worst.is_empty(), paint);
        let inner = inner_text(&inner) + &settings_text(&settings);
        format!("{heading}{inner}\n{}{}", text(&steps, paint), cost_bound::text(&worst, paint))
    };
    options.format.print(app.terminal, json, text)?;
    if options.format.is_text() && !rendered {
        app.terminal.say("texts are not rendered: the required inputs are missing");
    }
    Ok(ExitStatus::REACHED)
}

/// Values that are evaluated once when a run starts: path, text, and the value if known.
type Shown<'a> = (&'a str, &'a str, Option<&'a Value>);

/// The same, one line each.
fn settings_text(settings: &[Shown<'_>]) -> String {
    let line = |(path, text, value): &Shown<'_>| match value {
        Some(value) => {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{}: {} (`{}`)\n", name(path), name(&value), name(text))
        }
        None => format!("{}: `{}`, known when the run starts\n", name(path), name(text)),
    };
    settings.iter().map(line).collect()
}

/// The known inputs if none are given.
fn defaults(plan: &Plan) -> Value {
    let known = plan.inputs.iter().filter(|(_, input)| !input.required);
    Value::Object(known.map(|(name, input)| (name.clone(), input.default.clone())).collect())
}

fn heading(plan: &Plan, caps: &[(Unit, Option<Value>, String)], spends: bool, paint: Paint) -> String {
    let limits: Vec<String> =
        caps.iter().map(|(unit, cap, text)| cap_text(*unit, cap.as_ref(), text)).collect();
    let limits = match (limits.is_empty(), spends) {
        (true, false) => String::new(),
        (true, true) => "\nlimits: none".to_owned(),
        (false, _) => format!("\nlimits: {}", limits.join(", ")),
    };
    format!("{} {}{limits}\n", paint.strong(name(&plan.name)), name(&plan.summary))
}

/// A limit of `unit` with its value, if known, and its expression.
fn cap_text(unit: Unit, cap: Option<&Value>, text: &str) -> String {
    match cap {
        Some(Value::Null) => format!("{unit} none (`{text}`)"),
        Some(cap) => {
            let cap = name(&cap.as_str().map_or_else(|| cap.to_string(), str::to_owned));
            if cap == text { format!("{unit} {cap}") } else { format!("{unit} {cap} (`{text}`)") }
        }
        None => format!("{unit} `{text}`, known when the run starts"),
    }
}

/// The limits inside the pipeline, one line for each step; empty if there are none.
fn inner_text(inner: &[InnerCap]) -> String {
    let line = |InnerCap { step, applies_to, unit, cap, text }: &InnerCap| {
        let whose = if *applies_to == "step" { String::new() } else { format!(", each {applies_to}") };
        format!("limit of {}{whose}: {}\n", name(step), cap_text(*unit, cap.as_ref(), text))
    };
    inner.iter().map(line).collect()
}

fn inner_json(inner: &InnerCap) -> Value {
    let InnerCap { step, applies_to, unit, cap, text } = inner;
    json!({"step": step, "applies_to": applies_to, "unit": unit, "cap": cap, "text": text})
}
