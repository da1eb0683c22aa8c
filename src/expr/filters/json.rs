//! Filters between values and JSON text.

use minijinja::Value as Inner;
use serde::Serialize;

use crate::expr::check::{Checked, MAX_BYTES, count, made, text, too_long, wrong, wrong_with};
use crate::expr::data::{inner, outer};
use crate::expr::machine::Machine;
use crate::expr::record;
use crate::json_path::JsonPath;
use crate::value::Value;

pub(super) fn tojson(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let value = outer(&args[0]);
    if args[1].is_none() {
        return made(value.to_string());
    }
    let width = count(&args[1])?;
    if width > 16 {
        return Err(wrong("JSON is indented by at most 16 spaces"));
    }
    let pad = " ".repeat(width);
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(pad.as_bytes());
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut writer).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string())).and_then(made)
}

pub(super) fn fromjson(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let source = text(&args[0])?;
    if source.len() > MAX_BYTES {
        return Err(too_long());
    }
    serde_json::from_str::<Value>(source)
        .map(|value| inner(&value))
        .map_err(|error| wrong(format!("this text is not JSON: {error}")))
}

pub(super) fn jsonpath(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let query = text(&args[1])?;
    let path = JsonPath::parse(query).map_err(|error| {
        wrong_with(format!("`{query}` is not a JSONPath: {error}"), "the syntax is that of RFC 9535")
    })?;
    let value = outer(&args[0]);
    let found = path.select(&value).map_err(|refused| wrong(refused.to_string()))?;
    Ok(record::list(found.into_iter().map(inner).collect()))
}
