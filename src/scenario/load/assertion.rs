use super::step::json_path;
use crate::diag::Code;
use crate::scenario::checks::assert::{
    Assertion, AssertionForm, AssertionRule, Comparison, GRPC_STATUSES, Subject, openapi,
};
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, compiles, given, keys};
use crate::scenario::steps::StepType;
use crate::scenario::values::WrittenDuration;
use crate::scenario::values::variables::is_name;
use crate::schema::Schema;
use crate::value::Value;

/// Reads the `assert` block of a step of type `kind`.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode, kind: Option<&StepType>) -> Vec<Assertion> {
    let mut out = Vec::new();
    let Some(entries) = reader.table(node, "`assert`", keys::ASSERT) else { return out };
    if entries.is_empty() {
        reader.complain(Code::ScenarioAssert, node, "`assert` is empty");
    }
    let Some(kind) = kind else { return out };
    let known = kind.subjects;
    for (key, value) in entries {
        let word = key.text().unwrap_or_default();
        let Some((subject, form)) = known.iter().copied().find(|(subject, _)| subject.word() == word) else {
            if keys::ASSERT.contains(&word) {
                let kind = kind.word;
                let message = format!("answers to `{kind}` steps have no `{word}`");
                let known = known.iter().map(|(subject, _)| subject.word()).collect::<Vec<_>>();
                reader.complain(Code::ScenarioAssert, key, message).help =
                    Some(format!("`{kind}` steps have: {}", known.join(", ")));
            }
            continue;
        };
        match form {
            AssertionForm::Status => out.extend(status(reader, value)),
            AssertionForm::Codes => out.extend(codes(reader, value, subject)),
            AssertionForm::Names => out.extend(names(reader, value, subject)),
            AssertionForm::Flag => out.extend(flag(reader, value, subject)),
            AssertionForm::Count => out.extend(count(reader, value, subject)),
            AssertionForm::Named => named(reader, value, subject, &mut out),
            AssertionForm::Json => json(reader, value, &mut out),
            AssertionForm::Text => texts(reader, value, subject, &mut out),
            AssertionForm::Duration => durations(reader, value, &mut out),
        }
    }
    out
}

/// Reads `when`: for each variable the value that it must equal, or comparisons.
pub fn conditions(reader: &mut NodeReader<'_>, node: &YamlNode) -> Vec<Assertion> {
    let mut out = Vec::new();
    let entries = reader.entries(node, "`when`").unwrap_or_default();
    if entries.is_empty() && matches!(node.kind, NodeKind::Table(_)) {
        reader.complain(Code::ScenarioAssert, node, "`when` is empty");
    }
    for (key, value) in entries {
        let name = key.scalar_text().unwrap_or_default();
        if !is_name(&name) {
            let message = format!("`{name}` is not a variable: a name has letters, digits and `_`");
            reader.complain(Code::ScenarioCapture, key, message);
            continue;
        }
        let base = Assertion {
            path: Some(format!("$.{name}")),
            ..plain(Subject::Json, AssertionRule::Equals, Value::Null)
        };
        if matches!(value.kind, NodeKind::Table(_)) {
            rules(reader, value, &base, keys::WHEN_RULES, &mut out);
        } else {
            out.push(Assertion { value: value.to_text_or_json(), ..base });
        }
    }
    out
}

fn plain(subject: Subject, rule: AssertionRule, value: Value) -> Assertion {
    Assertion { subject, path: None, rule, value }
}

/// One value or a list of them.
fn several(node: &YamlNode) -> Vec<&YamlNode> {
    match &node.kind {
        NodeKind::List(items) => items.iter().collect(),
        _ => vec![node],
    }
}

fn status(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Assertion> {
    let mut wanted = Vec::new();
    for item in several(node) {
        let value = item.to_json();
        let class = value.as_str().is_some_and(|text| {
            matches!(text.as_bytes(), [b'1'..=b'5', b'x', b'x'])
                || (text.starts_with('{') && text.ends_with('}'))
        });
        if class || value.as_u64().is_some_and(|code| (100..600).contains(&code)) {
            wanted.push(value);
        } else {
            let message = format!("{value} is not an HTTP status");
            reader.complain(Code::ScenarioAssert, item, message).help =
                Some("write a number such as 201, a class such as \"2xx\", or a list of them".into());
        }
    }
    (!wanted.is_empty()).then(|| plain(Subject::Status, AssertionRule::OneOf, wanted.into()))
}

fn codes(reader: &mut NodeReader<'_>, node: &YamlNode, subject: Subject) -> Option<Assertion> {
    let mut wanted = Vec::new();
    for item in several(node) {
        match item.to_json() {
            Value::Number(code) if code.is_i64() || code.is_u64() => wanted.push(Value::Number(code)),
            _ => {
                reader.mistyped(item, &format!("`{}`", subject.word()), "a whole number or a list of them");
            }
        }
    }
    (!wanted.is_empty()).then(|| plain(subject, AssertionRule::OneOf, wanted.into()))
}

fn names(reader: &mut NodeReader<'_>, node: &YamlNode, subject: Subject) -> Option<Assertion> {
    let mut wanted: Vec<Value> = Vec::new();
    for item in several(node) {
        let Some(name) = reader.text(item, &format!("`{}`", subject.word())) else { continue };
        if !name.contains('{') && !GRPC_STATUSES.contains(&name.as_str()) {
            let complaint =
                reader.complain(Code::ScenarioAssert, item, format!("`{name}` is not a gRPC status"));
            *complaint = complaint.clone().suggest(&name, GRPC_STATUSES);
        }
        wanted.push(name.into());
    }
    (!wanted.is_empty()).then(|| plain(subject, AssertionRule::OneOf, wanted.into()))
}

fn flag(reader: &mut NodeReader<'_>, node: &YamlNode, subject: Subject) -> Option<Assertion> {
    let value = node.to_json();
    if !value.is_boolean() {
        reader.mistyped(node, &format!("`{}`", subject.word()), "true or false");
        return None;
    }
    Some(plain(subject, AssertionRule::Equals, value))
}

fn count(reader: &mut NodeReader<'_>, node: &YamlNode, subject: Subject) -> Option<Assertion> {
    let text = node.scalar_text().unwrap_or_default();
    if Comparison::parse(&text).limit.parse::<u64>().is_err() {
        reader.mistyped(node, &format!("`{}`", subject.word()), "a number or a bound such as \">=3\"");
        return None;
    }
    Some(plain(subject, AssertionRule::Amount, text.into()))
}

/// Reads a bound, or bounds for the mean and percentiles of a repeated step.
fn durations(reader: &mut NodeReader<'_>, node: &YamlNode, out: &mut Vec<Assertion>) {
    if !matches!(node.kind, NodeKind::Table(_)) {
        out.extend(duration(reader, node));
        return;
    }
    for (key, value) in reader.table(node, "`duration`", keys::TIMES).unwrap_or_default() {
        let which = key.scalar_text();
        out.extend(duration(reader, value).map(|bound| Assertion { path: which, ..bound }));
    }
}

fn duration(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Assertion> {
    let text = reader.text(node, "`duration`")?;
    let bound = Comparison::parse(&text);
    match WrittenDuration::parse(bound.limit) {
        Ok(limit) => {
            let written = format!("{}{limit}", bound.sign.unwrap_or("<="));
            Some(plain(Subject::Duration, AssertionRule::Within, written.into()))
        }
        Err(reason) => {
            reader.complain(Code::ScenarioTime, node, format!("`duration` is not a bound: {reason}")).help =
                Some("write a bound such as \"<500ms\"".into());
            None
        }
    }
}

fn named(reader: &mut NodeReader<'_>, node: &YamlNode, subject: Subject, out: &mut Vec<Assertion>) {
    for (key, value) in reader.entries(node, &format!("`{}`", subject.word())).unwrap_or_default() {
        let name = key.scalar_text().unwrap_or_default();
        let base = Assertion { path: Some(name), ..plain(subject, AssertionRule::Equals, Value::Null) };
        if let Some(text) = value.scalar_text() {
            out.push(Assertion { value: text.into(), ..base });
        } else {
            rules(reader, value, &base, keys::HEADER_RULES, out);
        }
    }
}

/// Reads comparisons; a plain text must be contained.
fn texts(reader: &mut NodeReader<'_>, node: &YamlNode, subject: Subject, out: &mut Vec<Assertion>) {
    if let Some(text) = node.scalar_text() {
        out.push(plain(subject, AssertionRule::Contains, text.into()));
        return;
    }
    rules(reader, node, &plain(subject, AssertionRule::Equals, Value::Null), keys::TEXT_RULES, out);
}

fn json(reader: &mut NodeReader<'_>, node: &YamlNode, out: &mut Vec<Assertion>) {
    match &node.kind {
        NodeKind::List(items) => items.iter().for_each(|item| json_entry(reader, item, out)),
        NodeKind::Table(_) if node.get("path").is_some() => json_entry(reader, node, out),
        NodeKind::Table(entries) => {
            for (key, value) in entries {
                let Some(path) = json_path(reader, key) else { continue };
                let base = Assertion {
                    path: Some(path),
                    ..plain(Subject::Json, AssertionRule::Equals, Value::Null)
                };
                if matches!(value.kind, NodeKind::Table(_)) {
                    rules(reader, value, &base, keys::JSON_RULES, out);
                } else {
                    out.push(Assertion { value: value.to_json(), ..base });
                }
            }
        }
        NodeKind::Scalar(_) => reader.mistyped(node, "`json`", "a list of paths or a mapping by path"),
    }
}

fn json_entry(reader: &mut NodeReader<'_>, node: &YamlNode, out: &mut Vec<Assertion>) {
    let known = [&["path"], keys::JSON_RULES].concat();
    let Some(entries) = reader.table(node, "a `json` assertion", &known) else { return };
    let Some(path) = given(node, "path") else {
        reader.complain(Code::ScenarioMissing, node, "`path` is missing in this `json` assertion");
        return;
    };
    let Some(path) = json_path(reader, path) else { return };
    let base = Assertion { path: Some(path), ..plain(Subject::Json, AssertionRule::Exists, true.into()) };
    if entries.len() == 1 {
        out.push(base);
        return;
    }
    for (key, value) in entries {
        rule(reader, key, value, (&base, keys::JSON_RULES), out);
    }
}

fn rules(
    reader: &mut NodeReader<'_>,
    node: &YamlNode,
    base: &Assertion,
    known: &[&str],
    out: &mut Vec<Assertion>,
) {
    let what = match &base.path {
        Some(path) => format!("the assertion on `{path}`"),
        None => format!("`{}`", base.subject.word()),
    };
    let before = reader.complaints.len();
    let Some(entries) = reader.table(node, &what, known) else { return };
    if entries.is_empty() {
        reader.complain(Code::ScenarioAssert, node, format!("{what} has no comparison"));
    }
    if base.subject == Subject::Json
        && reader.complaints.len() == before + entries.len()
        && let Some(complaint) = reader.complaints.last_mut()
    {
        complaint.help = Some("to compare with a whole object, write it under `equals:`".into());
    }
    for (key, value) in entries.iter().filter(|(key, _)| key.text().is_some_and(|word| known.contains(&word)))
    {
        rule(reader, key, value, (base, known), out);
    }
}

fn rule(
    reader: &mut NodeReader<'_>,
    key: &YamlNode,
    value: &YamlNode,
    (base, known): (&Assertion, &[&str]),
    out: &mut Vec<Assertion>,
) {
    let Some(rule) = key.text().and_then(rule_named) else { return };
    let text_only = base.subject != Subject::Json;
    let each = rule == AssertionRule::Matches
        || text_only && matches!(rule, AssertionRule::Contains | AssertionRule::NotContains);
    // `when` compares the text of a variable.
    let is_condition = !known.contains(&AssertionRule::Schema.word());
    for item in if each { several(value) } else { vec![value] } {
        if sound(reader, rule, item, text_only) {
            let value = match (rule, item.scalar_text()) {
                (AssertionRule::Exists | AssertionRule::Length, _) => item.to_json(),
                (AssertionRule::Matches, Some(text)) => text.into(),
                (_, Some(text)) if text_only => text.into(),
                _ if is_condition => item.to_text_or_json(),
                _ => item.to_json(),
            };
            out.push(Assertion { rule, value, ..base.clone() });
        }
    }
}

fn rule_named(word: &str) -> Option<AssertionRule> {
    use AssertionRule::{Contains, Equals, Exists, Length, Matches, NotContains, Schema, Type};
    let all = [Equals, Exists, Matches, Contains, NotContains, Length, Type, Schema];
    all.into_iter().find(|rule| rule.word() == word)
}

/// Whether the right side of a comparison is valid.
fn sound(reader: &mut NodeReader<'_>, rule: AssertionRule, node: &YamlNode, text_only: bool) -> bool {
    let word = rule.word();
    match rule {
        AssertionRule::Exists if !node.to_json().is_boolean() => {
            reader.mistyped(node, "`exists`", "true or false");
        }
        AssertionRule::Matches => {
            let Some(pattern) = reader.text(node, "`matches`") else { return false };
            return compiles(reader, node, &pattern);
        }
        AssertionRule::Length => {
            let text = node.scalar_text().unwrap_or_default();
            if Comparison::parse(&text).limit.parse::<usize>().is_ok() {
                return true;
            }
            reader.mistyped(node, "`length`", "a number or a bound such as \">=3\"");
        }
        AssertionRule::Type => {
            let name = node.text().unwrap_or_default();
            if keys::TYPES.contains(&name) {
                return true;
            }
            let complaint =
                reader.complain(Code::ScenarioAssert, node, format!("`{name}` is not a JSON type"));
            *complaint = complaint.clone().suggest(name, keys::TYPES.iter().copied());
        }
        AssertionRule::Schema => match Schema::compile("`schema`", openapi::plain(node.to_json())) {
            Ok(_) => return true,
            Err(error) => {
                reader.complain(Code::ScenarioPattern, node, error.to_string());
            }
        },
        AssertionRule::Equals | AssertionRule::Contains | AssertionRule::NotContains
            if text_only && node.scalar_text().is_none() =>
        {
            reader.mistyped(node, &format!("`{word}`"), "text");
        }
        _ => return true,
    }
    false
}
