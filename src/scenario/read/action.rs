use super::{Reader, given, keys};
use crate::diag::Code;
use crate::scenario::bytes::Bytes;
use crate::scenario::language::thirty_seconds;
use crate::scenario::yaml::{Kind, Node};
use crate::scenario::{Action, Exec, Parallel, browser, grpc, http, tui, ws};

/// Reads the action named `word`.
pub fn read(reader: &mut Reader<'_>, word: &str, node: &Node) -> Option<Action> {
    match word {
        "request" => http::read_request(reader, node).map(Action::Request),
        "browser" => browser::read(reader, node).map(Action::Browser),
        "grpc" => grpc::read(reader, node).map(Action::Grpc),
        "ws" => ws::read(reader, node).map(Action::Ws),
        "tui" => tui::read(reader, node).map(Action::Tui),
        "parallel" => parallel(reader, node).map(Action::Parallel),
        _ => exec(reader, node).map(Action::Exec),
    }
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
    let (stdin, stdin_bytes) = match given(node, "stdin") {
        Some(value) if matches!(value.kind, Kind::Table(_)) => {
            (String::new(), Bytes::read(reader, value, "`stdin`"))
        }
        _ => (reader.optional(node, "stdin"), None),
    };
    Some(Exec {
        command: command?,
        stdin,
        stdin_bytes,
        env: reader.texts(given(node, "env"), "`env`"),
        files,
        timeout: timeout.unwrap_or_else(thirty_seconds),
    })
}

/// Most things that are done at once.
const AT_ONCE: usize = 1_000;

fn parallel(reader: &mut Reader<'_>, node: &Node) -> Option<Parallel> {
    let known = [keys::MEMBER, keys::AT_ONCE].concat();
    let mut members = Vec::new();
    for item in reader.list(node, "`parallel`") {
        let Some(entries) = reader.table(item, "an entry of `parallel`", &known) else { continue };
        let action =
            entries.iter().find(|(key, _)| key.text().is_some_and(|word| keys::AT_ONCE.contains(&word)));
        let Some((key, value)) = action else {
            let message = "this entry does nothing: it has neither `request` nor `exec` nor `grpc`";
            reader.complain(Code::ScenarioAction, item, message);
            continue;
        };
        let times = given(item, "times").and_then(|value| reader.number(value, "`times`")).unwrap_or(1);
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        if times == 0 || members.len().saturating_add(times) > AT_ONCE {
            let message = format!("from 1 to {AT_ONCE} things can be done at once");
            reader.complain(Code::ScenarioValue, given(item, "times").unwrap_or(item), message);
            continue;
        }
        if let Some(action) = read(reader, key.text().unwrap_or_default(), value) {
            if matches!(&action, Action::Grpc(call) if call.goes_beyond_its_step()) {
                let message = "a stream that other steps go on with cannot be done at once with others";
                reader.complain(Code::ScenarioValue, value, message);
            }
            members.extend(std::iter::repeat_n(action, times));
        }
    }
    if members.is_empty() {
        reader.complain(
            Code::ScenarioMissing,
            node,
            "`parallel` needs at least one entry that does something",
        );
        return None;
    }
    Some(Parallel { members })
}
