use super::{Reader, given, keys};
use crate::diag::Code;
use crate::scenario::language::thirty_seconds;
use crate::scenario::yaml::Node;
use crate::scenario::{Action, Exec, Request, browser, grpc, tui, ws};
use crate::value::Value;

/// Reads the action named `word`.
pub fn read(reader: &mut Reader<'_>, word: &str, node: &Node) -> Option<Action> {
    match word {
        "request" => request(reader, node).map(Action::Request),
        "browser" => browser::read(reader, node).map(Action::Browser),
        "grpc" => grpc::read(reader, node).map(Action::Grpc),
        "ws" => ws::read(reader, node).map(Action::Ws),
        "tui" => tui::read(reader, node).map(Action::Tui),
        _ => exec(reader, node).map(Action::Exec),
    }
}

fn request(reader: &mut Reader<'_>, node: &Node) -> Option<Request> {
    reader.table(node, "`request`", keys::REQUEST)?;
    let method = reader.required(node, "method", "a request").map(|method| method.to_uppercase());
    if let (Some(method), Some(value)) = (&method, given(node, "method"))
        && !method.is_empty()
        && !keys::METHODS.contains(&method.as_str())
    {
        let complaint = reader.complain(Code::ScenarioValue, value, format!("`{method}` is no HTTP method"));
        *complaint = complaint.clone().suggest(method, keys::METHODS.iter().copied());
    }
    let path = reader.required(node, "path", "a request");
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    Some(Request {
        method: method?,
        path: path?,
        headers: reader.texts(given(node, "headers"), "`headers`"),
        body: node.get("body").map_or(Value::Null, Node::to_json),
        timeout: timeout.unwrap_or_else(thirty_seconds),
    })
}

fn exec(reader: &mut Reader<'_>, node: &Node) -> Option<Exec> {
    reader.table(node, "`exec`", keys::EXEC)?;
    let command = reader.required(node, "command", "a command");
    let timeout = given(node, "timeout").and_then(|value| reader.lapse(value, "`timeout`"));
    let files = reader.texts(given(node, "files"), "`files`");
    if let Some(table) = given(node, "files") {
        for (key, _) in reader.entries(table, "`files`").unwrap_or_default() {
            let path = key.scalar_text().unwrap_or_default();
            if !path.starts_with(['/', '{']) {
                let message = format!("the file path `{path}` is not absolute");
                reader.complain(Code::ScenarioValue, key, message).help = Some(format!("write `/{path}`"));
            }
        }
    }
    Some(Exec {
        command: command?,
        stdin: reader.optional(node, "stdin"),
        env: reader.texts(given(node, "env"), "`env`"),
        files,
        timeout: timeout.unwrap_or_else(thirty_seconds),
    })
}
