use super::Linter;
use crate::diag::Code;
use crate::scenario::read::keys;
use crate::scenario::yaml::{Kind, Node};
use crate::scenario::{Lapse, browser};

/// The action of a step.
pub fn check(linter: &mut Linter<'_>, word: &str, node: &Node) {
    let code = match word {
        "request" => Code::LintRequest,
        "exec" => Code::LintExec,
        "browser" => Code::LintBrowser,
        "grpc" => Code::LintGrpc,
        "ws" => Code::LintWs,
        "tui" => Code::LintTui,
        _ => return at_once(linter, node),
    };
    if !matches!(node.kind, Kind::Table(_)) {
        linter.say(code, node, format!("`{word}` is a mapping, not {}", node.type_name()));
        return;
    }
    match word {
        "request" => request(linter, node),
        "exec" => exec(linter, node),
        "browser" => browser(linter, node),
        "grpc" => grpc(linter, node),
        "ws" => ws(linter, node),
        _ => tui(linter, node),
    }
}

fn at_once(linter: &mut Linter<'_>, node: &Node) {
    let Kind::List(items) = &node.kind else { return };
    for item in items {
        for (word, action) in super::actions_of(item) {
            check(linter, word, action);
        }
    }
}

fn written(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::scalar_text).filter(|text| !text.trim().is_empty())
}

fn needs(linter: &mut Linter<'_>, code: Code, node: &Node, what: &str, key: &str) {
    if written(node, key).is_none() {
        linter.say(code, node.get(key).unwrap_or(node), format!("{what} needs `{key}`"));
    }
}

fn lapse(linter: &mut Linter<'_>, code: Code, node: &Node, key: &str) {
    let Some(value) = node.get(key).filter(|value| !value.is_null()) else { return };
    let text = value.scalar_text().unwrap_or_default();
    if let Err(reason) = Lapse::parse(&text) {
        linter.say(code, value, format!("`{key}` is no length of time: {reason}"));
    }
}

fn request(linter: &mut Linter<'_>, node: &Node) {
    match written(node, "method") {
        None => needs(linter, Code::LintMethodMissing, node, "a request", "method"),
        Some(method) => {
            let upper = method.to_uppercase();
            if !keys::METHODS.contains(&upper.as_str()) {
                let at = node.get("method").unwrap_or(node);
                let message = format!("`{method}` is no HTTP method");
                linter.unknown(Code::LintMethod, at, message, &upper, keys::METHODS);
            }
        }
    }
    needs(linter, Code::LintPath, node, "a request", "path");
}

fn exec(linter: &mut Linter<'_>, node: &Node) {
    match node.get("command") {
        None => needs(linter, Code::LintCommandMissing, node, "`exec`", "command"),
        Some(_) => needs(linter, Code::LintCommand, node, "`exec`", "command"),
    }
    if let Some(env) = node.get("env").filter(|env| !env.is_null() && !matches!(env.kind, Kind::Table(_))) {
        linter.say(Code::LintEnv, env, format!("`env` is a mapping, not {}", env.type_name()));
    }
    lapse(linter, Code::LintExecTimeout, node, "timeout");
}

fn browser(linter: &mut Linter<'_>, node: &Node) {
    let Some(action) = written(node, "action") else {
        return needs(linter, Code::LintBrowserMissing, node, "`browser`", "action");
    };
    match action.as_str() {
        "navigate" => needs(linter, Code::LintNavigate, node, "`navigate`", "url"),
        "click" => needs(linter, Code::LintClick, node, "`click`", "selector"),
        "fill" => {
            needs(linter, Code::LintFill, node, "`fill`", "selector");
            if node.get("value").is_none() {
                linter.say(Code::LintFillValue, node, "`fill` needs `value`");
            }
        }
        "assert" => {
            needs(linter, Code::LintAssert, node, "`assert`", "selector");
            if ["text", "text_absent", "count"].into_iter().all(|key| node.get(key).is_none()) {
                let message = "this `assert` looks for nothing: it has neither text, text_absent nor count";
                linter.say(Code::LintAssertWhat, node, message);
            }
        }
        other if browser::actions().contains(&other) => {}
        other => {
            let at = node.get("action").unwrap_or(node);
            let message = format!("the browser has no action `{other}`");
            linter.unknown(Code::LintBrowserAction, at, message, other, &browser::actions());
        }
    }
    lapse(linter, Code::LintBrowserTimeout, node, "timeout");
}

fn grpc(linter: &mut Linter<'_>, node: &Node) {
    let stream = node.get("stream");
    if stream.is_none() || node.get("service").is_some() || node.get("method").is_some() {
        needs(linter, Code::LintService, node, "`grpc`", "service");
        needs(linter, Code::LintGrpcMethod, node, "`grpc`", "method");
    }
    lapse(linter, Code::LintGrpcTimeout, node, "timeout");
    let Some(stream) = stream else { return };
    if let Some(messages) = stream.get("messages").filter(|node| !matches!(node.kind, Kind::List(_))) {
        linter.say(
            Code::LintMessages,
            messages,
            format!("`messages` is a list, not {}", messages.type_name()),
        );
    }
    if let Some(receive) = stream.get("receive") {
        lapse(linter, Code::LintReceive, receive, "timeout");
    }
}

fn ws(linter: &mut Linter<'_>, node: &Node) {
    let Some(receive) = node.get("receive") else { return };
    lapse(linter, Code::LintWsTimeout, receive, "timeout");
    if let Some(count) = receive.get("count").filter(|count| !count.is_null())
        && count.to_json().as_i64().is_none_or(|count| count < 1)
    {
        linter.say(Code::LintWsCount, count, "`count` is a whole number above zero");
    }
}

fn tui(linter: &mut Linter<'_>, node: &Node) {
    let Kind::Table(entries) = &node.kind else { return };
    if entries.iter().all(|(key, _)| key.text() == Some("timeout")) {
        linter.say(Code::LintTuiNothing, node, "this `tui` does nothing");
    }
    if node.get("command").is_some() {
        needs(linter, Code::LintTuiCommand, node, "`tui`", "command");
    }
    lapse(linter, Code::LintTuiTimeout, node, "timeout");
}
