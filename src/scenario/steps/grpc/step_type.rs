//! Registration of the step type `grpc`.

use futures_util::future::BoxFuture;
use serde_json::json;

use super::{Grpc, GrpcRunner, read};
use crate::diag::Code;
use crate::scenario::answer::StepAnswer;
use crate::scenario::checks::assert::{AssertionForm, Subject};
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::steps::{Action, Played, StepAction, StepContext, StepType};
use crate::scenario::values::credentials::CredentialPart;

/// `grpc`: a call of a gRPC method.
pub static TYPE: StepType = StepType {
    word: "grpc",
    keys: read::KEYS,
    subjects: &[
        (Subject::Status, AssertionForm::Names),
        (Subject::Message, AssertionForm::Text),
        (Subject::Header, AssertionForm::Named),
        (Subject::Trailer, AssertionForm::Named),
        (Subject::Json, AssertionForm::Json),
        (Subject::Count, AssertionForm::Count),
        (Subject::Duration, AssertionForm::Duration),
    ],
    sources: &["status", "message", "headers", "trailers", "header:", "trailer:", "body"],
    in_parallel: true,
    vacuous_words: ["UNIMPLEMENTED", "an empty message"],
    read: |reader, node, _| read::read(reader, node).map(Action::Grpc),
    lint,
    ..StepType::PLAIN
};

impl StepAction for Grpc {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        let StepContext { stage, connections, variables, left } = context;
        Box::pin(connections.runner::<GrpcRunner>().play(self, stage, variables, left))
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        [("UNIMPLEMENTED", ""), ("OK", "{}")].map(|(status, body)| {
            let parts = vec![
                ("status", status.into()),
                ("message", "".into()),
                ("header", json!({})),
                ("trailer", json!({})),
                ("count", usize::from(!body.is_empty()).into()),
            ];
            Some(StepAnswer::structured(("body", body), parts))
        })
    }

    fn receives(&self) -> bool {
        self.stream.is_some()
    }

    fn outlasts_itself(&self) -> bool {
        let receive = self.stream.as_ref().and_then(|stream| stream.receive.as_ref());
        self.service.is_empty() || receive.is_some_and(|receive| receive.background)
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(CredentialPart<'_>)) {
        self.headers.iter_mut().for_each(|(name, text)| see(CredentialPart::header(name, text)));
    }

    fn prepare<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Result<(), String>> {
        let StepContext { stage, connections, variables, left } = context;
        Box::pin(connections.runner::<GrpcRunner>().ready(self, stage, variables, left))
    }
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    if !linter.is_mapping(Code::LintGrpc, node, "grpc") {
        return;
    }
    let stream = node.get("stream");
    if stream.is_none() || node.get("service").is_some() || node.get("method").is_some() {
        linter.needs(Code::LintService, node, "`grpc`", "service");
        linter.needs(Code::LintGrpcMethod, node, "`grpc`", "method");
    }
    linter.duration(Code::LintGrpcTimeout, node, "timeout");
    let Some(stream) = stream else { return };
    if let Some(messages) = stream.get("messages").filter(|node| !matches!(node.kind, NodeKind::List(_))) {
        linter.say(
            Code::LintMessages,
            messages,
            format!("`messages` is a list, not {}", messages.type_name()),
        );
    }
    if let Some(receive) = stream.get("receive") {
        linter.duration(Code::LintReceive, receive, "timeout");
    }
}
