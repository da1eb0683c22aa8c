use super::types::{Input, InputKind};
use crate::diag::Code;
use crate::duration;
use crate::value::{MAX_READ_DEPTH, Value, nested, unrecordable};
use crate::verb::is_secret_name;

/// `value` as the type that `input` declares (neither file nor directory), or what is wrong with it. `written` says that it
/// is text which somebody wrote, as on a command line: JSON is read from it.
pub fn convert(name: &str, input: &Input, value: &Value, written: bool) -> Result<Value, (Code, String)> {
    let taken = typed(&input.kind, value, written).ok_or_else(|| {
        if input.kind == InputKind::Secret {
            // It may be the secret itself.
            return (
                Code::InputType,
                format!("`{name}` must be the name of a secret; what is given has no such form"),
            );
        }
        let why = if written { unread(&input.kind, value) } else { None };
        if let Some(why) = why {
            return (Code::InputType, format!("`{name}` must be {}, this is {why}", noun(&input.kind)));
        }
        let code = if matches!(input.kind, InputKind::Enum(_)) { Code::InputWord } else { Code::InputType };
        (code, format!("`{name}` must be {}, this is `{}`", noun(&input.kind), shown(value)))
    })?;
    if let Some(why) = unrecordable(format_args!("`{name}`"), &taken) {
        return Err((Code::InputType, why));
    }
    let (size, what) = match &taken {
        Value::Number(number) => (number.as_f64(), ""),
        #[expect(clippy::cast_precision_loss, reason = "no list is that long")]
        Value::Array(items) => (Some(items.len() as f64), "the length of "),
        #[expect(clippy::cast_precision_loss, reason = "no text is that long")]
        Value::String(text) => (Some(text.chars().count() as f64), "the length of "),
        _ => (None, ""),
    };
    if let (Some(size), Some(min)) = (size, input.min)
        && size < min
    {
        return Err((Code::InputRange, format!("{what}`{name}` must be at least {min}, this is {size}")));
    }
    if let (Some(size), Some(max)) = (size, input.max)
        && size > max
    {
        return Err((Code::InputRange, format!("{what}`{name}` must be at most {max}, this is {size}")));
    }
    Ok(taken)
}

fn typed(kind: &InputKind, value: &Value, written: bool) -> Option<Value> {
    let text = value.as_str();
    let parsed = || text.and_then(|text| crate::value::parse(text).ok());
    match kind {
        InputKind::Secret => text.filter(|text| is_secret_name(text)).map(Value::from),
        InputKind::OutputPath => {
            text.filter(|text| !text.is_empty() && !text.contains('\0')).map(Value::from)
        }
        InputKind::String | InputKind::Model => match value {
            Value::String(_) => Some(value.clone()),
            Value::Number(_) | Value::Bool(_) => Some(Value::from(value.to_string())),
            _ => None,
        },
        InputKind::Int => {
            value.as_i64().or_else(|| text.and_then(|text| text.trim().parse().ok())).map(Value::from)
        }
        InputKind::Number => number(value).map(Value::from),
        InputKind::Usd => number(value).filter(|usd| *usd >= 0.0).map(Value::from),
        InputKind::Bool => match (value, text) {
            (Value::Bool(_), _) => Some(value.clone()),
            (_, Some("true" | "yes" | "on" | "1")) => Some(Value::Bool(true)),
            (_, Some("false" | "no" | "off" | "0")) => Some(Value::Bool(false)),
            _ => None,
        },
        InputKind::Enum(words) => text.filter(|text| words.iter().any(|word| word == text)).map(Value::from),
        InputKind::Json if written && text.is_some() => parsed(),
        InputKind::Json => Some(value.clone()),
        InputKind::List => match (value, text) {
            (Value::Array(_), _) => Some(value.clone()),
            (_, Some(text)) => match parsed() {
                Some(list @ Value::Array(_)) => Some(list),
                _ if is_too_deep(text) => None,
                _ => Some(
                    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect(),
                ),
            },
            _ => None,
        },
        InputKind::Duration => match text {
            Some(text) => duration::parse(text).ok().map(|span| Value::from(span.as_secs_f64())),
            None => number(value).filter(|seconds| *seconds >= 0.0).map(Value::from),
        },
        InputKind::File | InputKind::FilePath | InputKind::Dir | InputKind::Path => None,
    }
}

/// Why text of somebody is no JSON that can be read; `None` if other words say it as well.
fn unread(kind: &InputKind, value: &Value) -> Option<String> {
    let text = value.as_str().filter(|_| matches!(kind, InputKind::Json | InputKind::List))?;
    if is_too_deep(text) {
        return Some(nested(MAX_READ_DEPTH));
    }
    let error = crate::value::parse(text).err().filter(|_| *kind == InputKind::Json)?;
    Some(format!("`{}`: {error}", shown(value)))
}

/// Whether `text` is JSON, but for its depth.
fn is_too_deep(text: &str) -> bool {
    crate::value::parse(text).err().is_some_and(|error| error.to_string().contains(&nested(MAX_READ_DEPTH)))
}

fn number(value: &Value) -> Option<f64> {
    let text = || value.as_str().and_then(|text| text.trim().trim_start_matches('$').parse::<f64>().ok());
    value.as_f64().or_else(text).filter(|number| number.is_finite())
}

/// What a value of that type is, with its article.
pub(super) fn noun(kind: &InputKind) -> String {
    match kind {
        InputKind::String => "text".to_owned(),
        InputKind::Int => "a whole number".to_owned(),
        InputKind::Number => "a number".to_owned(),
        InputKind::Bool => "`true` or `false`".to_owned(),
        InputKind::Enum(words) => format!("one of {}", words.join(", ")),
        InputKind::File | InputKind::FilePath => "a file".to_owned(),
        InputKind::Dir => "a directory".to_owned(),
        InputKind::Path => "a file or directory".to_owned(),
        InputKind::OutputPath => "a path to write to".to_owned(),
        InputKind::Json => "JSON".to_owned(),
        InputKind::List => "a list".to_owned(),
        InputKind::Duration => "a span of time such as `90s` or `2h`".to_owned(),
        InputKind::Usd => "an amount of dollars".to_owned(),
        InputKind::Model => "the name of a model".to_owned(),
        InputKind::Secret => "the name of a secret".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() > 60 { format!("{}…", text.chars().take(60).collect::<String>()) } else { text }
}
