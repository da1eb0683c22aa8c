//! The inputs of a pipeline as options of the command line.

use std::collections::HashSet;

use clap::{Arg, ArgAction, ArgMatches};
use indexmap::IndexMap;

use crate::plan::{Given, Input, InputKind, Plan};
use crate::report::units::{name, one_line};
use crate::value::Value;

const HEADING: &str = "Inputs";

/// `command` with an option for each input of `plan`. An input with the name of an option of the command can
/// only be given as `--input NAME=VALUE`.
pub fn add(command: clap::Command, plan: &Plan) -> clap::Command {
    let mut taken: HashSet<String> =
        command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    taken.extend(["help", "version", "data-dir", "color", "quiet"].map(str::to_owned));
    plan.inputs.iter().fold(command, |command, (name, input)| {
        if taken.insert(long(name)) { command.arg(option(name, input)) } else { command }
    })
}

/// The values of the options, by input; text stays text until the plan checks it.
pub fn given(plan: &Plan, matches: &ArgMatches) -> IndexMap<String, Given> {
    let mut given = IndexMap::new();
    for (name, input) in &plan.inputs {
        let Ok(Some(values)) = matches.try_get_many::<String>(&id(name)) else { continue };
        let mut values: Vec<String> = values.cloned().collect();
        let value = match (&input.kind, values.len()) {
            (_, 0) => continue,
            (InputKind::List, 2..) => Given::Value(values.into()),
            _ => Given::Text(values.swap_remove(0)),
        };
        given.insert(name.clone(), value);
    }
    given
}

fn id(name: &str) -> String {
    format!("input.{name}")
}

fn long(name: &str) -> String {
    name.replace('_', "-")
}

fn option(name: &str, input: &Input) -> Arg {
    let arg = Arg::new(id(name))
        .long(long(name))
        .help_heading(HEADING)
        .help(help(input))
        .value_name(noun(&input.kind));
    let arg = if name.contains(['_', '-']) { arg.alias(name.replace('-', "_")) } else { arg };
    match &input.kind {
        InputKind::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        InputKind::List => arg.action(ArgAction::Append),
        InputKind::Int | InputKind::Number | InputKind::Usd => arg.allow_negative_numbers(true),
        _ => arg,
    }
}

fn help(input: &Input) -> String {
    let mut text = name(&input.help);
    let mut add = |note: String| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&note);
    };
    if let InputKind::Enum(words) = &input.kind {
        add(format!("[one of: {}]", one_line(&words.join(", "), 1000)));
    }
    match (input.min, input.max) {
        (Some(min), Some(max)) => add(format!("[{min} to {max}]")),
        (Some(min), None) => add(format!("[from {min}]")),
        (None, Some(max)) => add(format!("[up to {max}]")),
        (None, None) => {}
    }
    match &input.default {
        _ if input.required => add("[required]".to_owned()),
        Value::Null => {}
        Value::String(word) => add(format!("[default: {}]", name(word))),
        other => add(format!("[default: {}]", name(&other.to_string()))),
    }
    text
}

fn noun(kind: &InputKind) -> &'static str {
    match kind {
        InputKind::String => "TEXT",
        InputKind::Int => "WHOLE NUMBER",
        InputKind::Number => "NUMBER",
        InputKind::Bool => "BOOL",
        InputKind::Enum(_) => "WORD",
        InputKind::File | InputKind::FilePath => "FILE",
        InputKind::Dir => "DIR",
        InputKind::Path => "FILE OR DIR",
        InputKind::OutputPath => "PATH",
        InputKind::Json => "JSON",
        InputKind::List => "LIST",
        InputKind::Duration => "DURATION",
        InputKind::Usd => "USD",
        InputKind::Model => "MODEL",
        InputKind::Secret => "SECRET NAME",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diag::SourceMap;
    use crate::value::Digest;

    fn plan(inputs: &[(&str, InputKind, Value)]) -> Plan {
        let mut texts = SourceMap::new();
        let source = texts.add("p.toml", "");
        let input = |kind: &InputKind, default: &Value| Input {
            kind: kind.clone(),
            required: false,
            default: default.clone(),
            help: "its purpose".into(),
            min: Some(1.0),
            max: None,
            label: None,
            span: texts.span(source, 0..0),
        };
        Plan {
            name: "p".into(),
            summary: String::new(),
            inputs: inputs
                .iter()
                .map(|(name, kind, default)| ((*name).to_owned(), input(kind, default)))
                .collect(),
            refusals: Vec::new(),
            bodies: Vec::new(),
            outputs: Vec::new(),
            shapes: Vec::new(),
            exits: Vec::new(),
            sees: [].into(),
            limits: Vec::new(),
            lanes: IndexMap::new(),
            settings: Vec::new(),
            digest: Digest::of("p"),
        }
    }

    fn parse(plan: &Plan, words: &[&str]) -> Result<Value, String> {
        let base = clap::Command::new("run").no_binary_name(true).arg(Arg::new("set").long("set"));
        let matches = add(base, plan).try_get_matches_from(words).map_err(|e| e.to_string())?;
        let plain = |given: Given| match given {
            Given::Text(text) => json!(text),
            Given::Value(value) => value,
        };
        Ok(given(plan, &matches).into_iter().map(|(name, given)| (name, plain(given))).collect())
    }

    #[test]
    fn inputs_are_options() {
        let plan = plan(&[
            ("max_rounds", InputKind::Int, json!(3)),
            ("skip", InputKind::Bool, json!(false)),
            ("models", InputKind::List, json!(null)),
            ("set", InputKind::String, json!(null)),
        ]);
        let all =
            parse(&plan, &["--max-rounds", "-4", "--skip", "--models", "a", "--models=b", "--set", "x"])
                .unwrap();
        assert_eq!(all, json!({"max_rounds": "-4", "skip": "true", "models": ["a", "b"]}));
        let all = parse(&plan, &["--max_rounds=4", "--skip=false", "--models", "[1]"]).unwrap();
        assert_eq!(all, json!({"max_rounds": "4", "skip": "false", "models": "[1]"}));
        let error = parse(&plan, &["--max-round", "4"]).unwrap_err();
        assert!(error.contains("--max-rounds"), "{error}");
        assert!(
            add(clap::Command::new("run"), &plan).render_help().to_string().contains("[from 1] [default: 3]")
        );
    }
}
