use super::texts::Texts;
use crate::diag::{Code, Diagnostic, nearest};
use crate::model::{Node, Raw, Table};

/// Lays `over` over `base`. `NAME = false` among steps removes the step of that name.
pub(super) fn lay(base: &mut Node, mut over: Node, found: &mut Vec<Diagnostic>) {
    if let (Raw::Table(base), Raw::Table(over)) = (&mut base.value, &mut over.value) {
        remove(base, over, found);
    }
    base.merge(over);
}

fn remove(base: &mut Table, over: &mut Table, found: &mut Vec<Diagnostic>) {
    let Some(Raw::Table(over)) = over.get_mut("steps").map(|entry| &mut entry.node.value) else { return };
    let mut none = Table::new();
    let base = match base.get_mut("steps").map(|entry| &mut entry.node.value) {
        Some(Raw::Table(steps)) => steps,
        _ => &mut none,
    };
    over.retain(|name, entry| {
        if !matches!(entry.node.value, Raw::Bool(false)) {
            return true;
        }
        if base.shift_remove(name).is_none() {
            let hint = match nearest(name, base.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "leave the line out".to_owned(),
            };
            found.push(
                Diagnostic::new(Code::NothingToRemove, format!("there is no step `{name}` to remove"))
                    .at(entry.key, "")
                    .help(hint),
            );
        }
        false
    });
    for (name, entry) in over.iter_mut() {
        let inner = base.get_mut(name).map(|entry| &mut entry.node.value);
        if let (Raw::Table(over), Some(Raw::Table(base))) = (&mut entry.node.value, inner) {
            remove(base, over, found);
        }
    }
}

/// Complains where a setting names a step, an input or a function that the pipeline does not have: it would make a new
/// one that nothing uses.
pub(super) fn reaches(base: &Node, over: &Node, found: &mut Vec<Diagnostic>) {
    let (Some(base), Some(over)) = (base.table(), over.table()) else { return };
    for (section, noun, code) in [
        ("steps", "step", Code::UnknownStep),
        ("inputs", "input", Code::UnknownInput),
        ("functions", "function", Code::UnknownName),
    ] {
        let Some(entries) = over.get(section).and_then(|entry| entry.node.table()) else { continue };
        let known = base.get(section).and_then(|entry| entry.node.table());
        for (name, entry) in entries {
            match known.and_then(|known| known.get(name)) {
                Some(inner) if section == "steps" => reaches(&inner.node, &entry.node, found),
                Some(_) => {}
                // `NAME = false` removes a step: that there is none is said elsewhere.
                None if matches!(entry.node.value, Raw::Bool(false)) => {}
                None => found.push(
                    Diagnostic::new(code, format!("`--set` reaches nothing: there is no {noun} `{name}`"))
                        .at(entry.key, "unknown")
                        .suggest(name, known.into_iter().flat_map(|known| known.keys().map(String::as_str))),
                ),
            }
        }
    }
}

/// Reads `PATH=VALUE`; a value that is no TOML is text.
pub(super) fn setting(text: &str, texts: &Texts<'_>) -> Result<Node, Diagnostic> {
    let bad = |message: String| {
        Diagnostic::new(Code::BadSetting, message)
            .help("write `--set steps.NAME.timeout=5m`: a dotted path, `=`, a value")
    };
    let Some((path, value)) = text.split_once('=') else {
        return Err(bad(format!("`--set {text}` has no `=`")));
    };
    let parse = |line: String| {
        let id = texts.add("--set", line);
        texts.with(|sources| Node::parse(sources, id))
    };
    if let Ok(node) = parse(format!("{path}={value}")) {
        return Ok(node);
    }
    let quoted = serde_json::Value::from(value.trim()).to_string();
    parse(format!("{path}={quoted}")).map_err(|_| bad(format!("`{}` is no path of a pipeline", path.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::MemorySources;
    use serde_json::json;

    #[test]
    fn settings_are_toml_or_text() {
        let door = MemorySources::default();
        let texts = Texts::new(&door);
        let value = |text| setting(text, &texts).unwrap().to_value();
        assert_eq!(value("steps.a.loop.max=20"), json!({"steps": {"a": {"loop": {"max": 20}}}}));
        assert_eq!(
            value("steps.a.when=not inputs.fast"),
            json!({"steps": {"a": {"when": "not inputs.fast"}}})
        );
        assert_eq!(value("x=[1, 2]"), json!({"x": [1, 2]}));
        assert!(setting("steps.a", &texts).is_err());
        assert!(setting("a b=1", &texts).is_err());
    }
}
