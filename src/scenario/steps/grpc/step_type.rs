//! What `grpc` is among the step types.

use futures_util::future::BoxFuture;
use serde_json::json;

use super::{Grpc, GrpcRunner, read};
use crate::diag::Code;
use crate::scenario::answer::Answer;
use crate::scenario::checks::assert::{Form, Subject};
use crate::scenario::reader::linter::Linter;
use crate::scenario::reader::yaml::{Kind, Node};
use crate::scenario::steps::{Action, Played, StepAction, StepContext, StepType};
use crate::scenario::values::credentials::Part;

/// `grpc`: a call of a gRPC method.
pub static TYPE: StepType = StepType {
    word: "grpc",
    keys: read::KEYS,
    subjects: &[
        (Subject::Status, Form::Names),
        (Subject::Message, Form::Text),
        (Subject::Header, Form::Named),
        (Subject::Trailer, Form::Named),
        (Subject::Json, Form::Json),
        (Subject::Count, Form::Count),
        (Subject::Duration, Form::Duration),
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

    fn vacuous(&self) -> [Option<Answer>; 2] {
        [("UNIMPLEMENTED", ""), ("OK", "{}")].map(|(status, body)| {
            let parts = vec![
                ("status", status.into()),
                ("message", "".into()),
                ("header", json!({})),
                ("trailer", json!({})),
                ("count", usize::from(!body.is_empty()).into()),
            ];
            Some(Answer::structured(("body", body), parts))
        })
    }

    fn receives(&self) -> bool {
        self.stream.is_some()
    }

    fn outlasts_itself(&self) -> bool {
        let receive = self.stream.as_ref().and_then(|stream| stream.receive.as_ref());
        self.service.is_empty() || receive.is_some_and(|receive| receive.background)
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(Part<'_>)) {
        self.headers.iter_mut().for_each(|(name, text)| see(Part::header(name, text)));
    }

    fn prepare<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Result<(), String>> {
        let StepContext { stage, connections, variables, left } = context;
        Box::pin(connections.runner::<GrpcRunner>().ready(self, stage, variables, left))
    }
}

fn lint(linter: &mut Linter<'_>, node: &Node) {
    if !linter.is_mapping(Code::LintGrpc, node, "grpc") {
        return;
    }
    let stream = node.get("stream");
    if stream.is_none() || node.get("service").is_some() || node.get("method").is_some() {
        linter.needs(Code::LintService, node, "`grpc`", "service");
        linter.needs(Code::LintGrpcMethod, node, "`grpc`", "method");
    }
    linter.lapse(Code::LintGrpcTimeout, node, "timeout");
    let Some(stream) = stream else { return };
    if let Some(messages) = stream.get("messages").filter(|node| !matches!(node.kind, Kind::List(_))) {
        linter.say(
            Code::LintMessages,
            messages,
            format!("`messages` is a list, not {}", messages.type_name()),
        );
    }
    if let Some(receive) = stream.get("receive") {
        linter.lapse(Code::LintReceive, receive, "timeout");
    }
}
