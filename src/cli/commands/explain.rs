//! `atoll explain`: explains a diagnostic code, the input and output of a verb, a filter, or the cache key of
//! a step.

use std::fmt::Write as _;

use crate::cli::app::App;
use crate::cli::cache_key;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::exit::ExitStatus;
use crate::cli::wiring::{self, CONTROL};
use crate::diag::{Code, nearest};
use crate::expr::{filters, tests};
use crate::report::Paint;
use crate::value::Value;
use crate::verb::Catalog;

/// `atoll explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A code such as `E0203`, `verb NAME`, `filters` (all filters and tests), `filter NAME`, or a run and one of its
    /// cached steps
    #[arg(value_name = "CODE | verb NAME | filters | filter NAME | RUN STEP", required = true, num_args = 1..=2)]
    words: Vec<String>,
}

/// Explains.
pub fn run(app: &App, args: &Args) -> CommandResult {
    let catalog = wiring::listing(&app.settings)?;
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let text = match words[..] {
        ["verb", name] => verb(&catalog, name, app.terminal.out)?,
        ["filters" | "filter"] => all_filters(app.terminal.out),
        ["filter", name] => filter(name, app.terminal.out)?,
        [code] => explain_code(&catalog, code, app.terminal.out)?,
        [run, step] => cache_key::explain(app, run, step, app.terminal.out)?,
        _ => {
            return Err(CommandError::usage("specify what to explain")
                .hint("a code, `verb NAME`, `filter NAME` or a run and a step"));
        }
    };
    app.terminal.print_line(&text)?;
    Ok(ExitStatus::REACHED)
}

fn explain_code(catalog: &Catalog, word: &str, paint: Paint) -> Result<String, CommandError> {
    if let Some(code) = Code::parse(word) {
        return Ok(format!("{} {}\n\n{}", paint.strong(code), code.title(), code.explanation().trim()));
    }
    let upper = word.to_uppercase();
    let stop = CommandError::usage(format!("unknown code `{word}`"));
    if catalog.find_verb(word).is_some() || catalog.find_resource(word).is_some() {
        return Err(stop.hint(format!("did you mean `atoll explain verb {word}`?")));
    }
    if filters().iter().any(|filter| filter.name == word) {
        return Err(stop.hint(format!("did you mean `atoll explain filter {word}`?")));
    }
    Err(match nearest(&upper, Code::ALL.iter().map(|code| code.number())) {
        Some(near) => stop.hint(format!("did you mean `{near}`?")),
        None => stop.hint("`atoll explain verb NAME` and `atoll explain filter NAME` explain those"),
    })
}

/// Every filter with its arguments and one line, and the names of the tests.
fn all_filters(paint: Paint) -> String {
    let mut text = format!("{}\n", paint.strong("Filters: `value | NAME(…)`"));
    for filter in filters() {
        let _ = writeln!(text, "  {}  {}", filter.call(), filter.doc);
    }
    let tests: Vec<&str> = tests().collect();
    let _ = writeln!(text, "\n{}\n  {}", paint.strong("Tests: `value is NAME`"), tests.join(", "));
    text.push_str("\n`atoll explain filter NAME` shows an example");
    text
}

fn filter(name: &str, paint: Paint) -> Result<String, CommandError> {
    let known = filters();
    let Some(filter) = known.iter().find(|filter| filter.name == name) else {
        return Err(unknown("filter", name, known.iter().map(|filter| filter.name)));
    };
    Ok(format!(
        "{}\n{}\nWorks on {}.\n\n  {{{{ {} }}}}\n  returns {}",
        paint.strong(filter.call()),
        filter.doc,
        filter.works_on(),
        filter.example,
        filter.gives
    ))
}

fn verb(catalog: &Catalog, name: &str, paint: Paint) -> Result<String, CommandError> {
    if let Some(verb) = catalog.find_verb(name) {
        let traits = verb.traits();
        let again = if traits.idempotent { "made again" } else { "not made again without asking" };
        let lanes: Vec<&str> =
            [traits.lane].into_iter().chain(verb.lanes().iter().map(|(name, _)| *name)).collect();
        let mut text = format!(
            "{}  {}\nlane {}; after a crash an attempt is {again}\n",
            paint.strong(name),
            verb.summary(),
            lanes.join(" or ")
        );
        schema(&mut text, "Input", &verb.with_schema(), paint);
        schema(&mut text, "Output", &verb.out_schema(), paint);
        let _ = write!(text, "\n{}\n{}", paint.strong("Example"), verb.example().trim());
        return Ok(text);
    }
    if let Some(held) = catalog.find_resource(name) {
        let mut text = format!("{}  {} (for `hold`)\n", paint.strong(name), held.summary());
        schema(&mut text, "Input", &held.with_schema(), paint);
        schema(&mut text, "`held`", &held.held_schema(), paint);
        let _ = write!(text, "\n{}\n{}", paint.strong("Example"), held.example().trim());
        return Ok(text);
    }
    if let Some((name, summary)) = CONTROL.iter().find(|(control, _)| *control == name) {
        return Ok(format!("{}  {summary}\npart of the language: see its reference", paint.strong(name)));
    }
    let held = catalog.resources().map(|held| held.name());
    let control = CONTROL.iter().map(|(name, _)| *name);
    Err(unknown("verb", name, catalog.verbs().map(|verb| verb.name()).chain(held).chain(control)))
}

fn unknown<'a>(noun: &str, name: &str, known: impl Iterator<Item = &'a str>) -> CommandError {
    let known: Vec<&str> = known.collect();
    let stop = CommandError::usage(format!("unknown {noun} `{name}`"));
    match nearest(name, known.iter().copied()) {
        Some(near) => stop.hint(format!("did you mean `{near}`?")),
        None => stop.hint(format!("available: {}", known.join(", "))),
    }
}

/// The keys of an object schema, one per line: name, type, whether it is required, description.
fn schema(text: &mut String, title: &str, schema: &Value, paint: Paint) {
    let _ = writeln!(text, "\n{}", paint.strong(title));
    let Some(keys) = schema["properties"].as_object().filter(|keys| !keys.is_empty()) else {
        let about = schema["description"].as_str().unwrap_or("any table").replace('\n', " ");
        let _ = writeln!(text, "  {about}");
        return;
    };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let width = keys.keys().map(String::len).max().unwrap_or(0);
    for (name, key) in keys {
        let needed = if required.contains(&name.as_str()) { "" } else { ", optional" };
        let about = key["description"].as_str().unwrap_or_default().replace('\n', " ");
        let line = format!("  {name:width$}  {}{needed}. {about}", type_of(key, schema));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// The type of a key in words.
fn type_of(key: &Value, root: &Value) -> String {
    if let Some(name) = key["$ref"].as_str() {
        let target = name.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(|| "value".to_owned(), |target| type_of(target, root));
    }
    if let Some(words) = key["enum"].as_array() {
        return words.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(word) = key.get("const") {
        return word.to_string();
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(kinds) = key[choice].as_array() {
            let mut kinds: Vec<String> =
                kinds.iter().map(|kind| type_of(kind, root)).filter(|kind| kind != "null").collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
    }
    match &key["type"] {
        Value::String(word) if word == "array" => match key.get("items") {
            Some(items) => format!("list of {}", type_of(items, root)),
            None => "list".to_owned(),
        },
        Value::String(word) => word.clone(),
        Value::Array(words) => {
            let words: Vec<&str> =
                words.iter().filter_map(Value::as_str).filter(|word| *word != "null").collect();
            words.join(" or ")
        }
        _ => "value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_told_in_words() {
        let schema_json = json!({
            "required": ["a"],
            "properties": {
                "a": {"type": "string", "description": "The a."},
                "bb": {"type": ["integer", "null"]},
                "c": {"$ref": "#/$defs/C"},
                "d": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
            },
            "$defs": {"C": {"enum": ["x", "y"]}},
        });
        let mut text = String::new();
        schema(&mut text, "Input", &schema_json, Paint::PLAIN);
        assert_eq!(
            text,
            "\nInput\n  a   string. The a.\n  bb  integer, optional.\n  c   \"x\" | \"y\", optional.\n  \
             d   list of number, optional.\n"
        );
    }

    #[test]
    fn near_words_are_offered() {
        let catalog = Catalog::new().verb(crate::verbs::Set);
        let code = |word: &str| explain_code(&catalog, word, Paint::PLAIN);
        assert_eq!(code("e0001").unwrap().split(' ').next(), Some("E0001"));
        assert_eq!(code("E00O1").unwrap_err().hint.unwrap(), "did you mean `E0001`?");
        assert!(code("set").unwrap_err().hint.unwrap().contains("explain verb set"));
        let verb = |name: &str| verb(&catalog, name, Paint::PLAIN);
        assert_eq!(verb("sett").unwrap_err().hint.unwrap(), "did you mean `set`?");
        assert!(verb("set").unwrap().contains("[steps.sum]"));
        assert!(verb("each").is_ok());
    }
}
