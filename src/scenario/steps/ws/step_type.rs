//! Registration of the step type `ws`.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use serde_json::json;

use super::play::WsRunner;
use super::{KEYS, Ws, read};
use crate::diag::Code;
use crate::scenario::answer::StepAnswer;
use crate::scenario::checks::assert::{AssertionForm, Subject};
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::steps::{Action, Played, StepAction, StepContext, StepType};
use crate::scenario::values::credentials::CredentialPart;
use crate::value::Value;

/// `ws`: messages over a WebSocket.
pub static TYPE: StepType = StepType {
    word: "ws",
    keys: KEYS,
    subjects: &[
        (Subject::Messages, AssertionForm::Text),
        (Subject::Json, AssertionForm::Json),
        (Subject::Count, AssertionForm::Count),
        (Subject::Close, AssertionForm::Codes),
        (Subject::Protocol, AssertionForm::Text),
        (Subject::Status, AssertionForm::Status),
        (Subject::Header, AssertionForm::Named),
        (Subject::Duration, AssertionForm::Duration),
    ],
    sources: &["messages", "count", "close", "reason", "protocol", "status", "header:"],
    vacuous_words: ["a refusal", "silence"],
    read: |reader, node, step| read::read(reader, node, step).map(Action::Ws),
    lint,
    lint_order,
    ..StepType::PLAIN
};

impl StepAction for Ws {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        let StepContext { stage, connections, variables, left } = context;
        Box::pin(connections.runner::<WsRunner>().play(self, stage, variables, left))
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        let refused = self.may_be_refused.then(|| answer(404, json!(null)));
        [refused, Some(answer(101, json!(1000)))]
    }

    fn needs_target(&self) -> bool {
        self.url.is_some()
    }

    fn receives(&self) -> bool {
        self.receive.is_some()
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(CredentialPart<'_>)) {
        if let Some(url) = &mut self.url {
            see(CredentialPart::url(url));
        }
        self.headers.iter_mut().for_each(|(name, text)| see(CredentialPart::header(name, text)));
    }
}

/// The answer of a program that sends nothing.
fn answer(status: u16, close: Value) -> StepAnswer {
    let parts = vec![
        ("messages", "".into()),
        ("count", 0.into()),
        ("close", close),
        ("status", status.into()),
        ("header", json!({})),
    ];
    StepAnswer::structured(("messages", if status == 101 { "[]" } else { "" }), parts)
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    if !linter.is_mapping(Code::LintWs, node, "ws") {
        return;
    }
    let Some(receive) = node.get("receive") else { return };
    linter.duration(Code::LintWsTimeout, receive, "timeout");
    if let Some(count) = receive.get("count").filter(|count| !count.is_null())
        && count.to_json().as_i64().is_none_or(|count| count < 1)
    {
        linter.say(Code::LintWsCount, count, "`count` is a whole number above zero");
    }
}

/// Finds steps on a connection that no earlier step has opened.
fn lint_order(linter: &mut Linter<'_>, steps: &[&YamlNode]) {
    let mut open = HashSet::new();
    for socket in steps.iter().filter_map(|step| step.get("ws")) {
        let id = socket.get("id").and_then(YamlNode::scalar_text).unwrap_or_else(|| "default".to_owned());
        if socket.get("url").is_some() {
            open.insert(id);
        } else if !open.contains(&id) && matches!(socket.kind, NodeKind::Table(_)) {
            linter.say(
                Code::LintWsUrl,
                socket,
                format!("no step has opened the WebSocket `{id}`: `url` is missing"),
            );
        }
    }
}
