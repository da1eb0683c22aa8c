//! What `request` is among the step types.

use futures_util::future::BoxFuture;

use super::{Request, Web, request};
use crate::diag::Code;
use crate::scenario::answer::{Answer, HttpAnswer, Outcome};
use crate::scenario::checks::assert::{Form, Subject};
use crate::scenario::reader::linter::{Linter, written};
use crate::scenario::reader::yaml::Node;
use crate::scenario::steps::{Action, Played, StepAction, StepContext, StepType};
use crate::scenario::values::Kept;
use crate::scenario::values::credentials::Part;
use crate::value::Value;

/// `request`: an HTTP request to the target.
pub static TYPE: StepType = StepType {
    word: "request",
    keys: request::KEYS,
    subjects: &[
        (Subject::Status, Form::Status),
        (Subject::Header, Form::Named),
        (Subject::Json, Form::Json),
        (Subject::Body, Form::Text),
        (Subject::Count, Form::Count),
        (Subject::Duration, Form::Duration),
    ],
    sources: &["status", "body", "header:"],
    in_parallel: true,
    is_basic: true,
    vacuous_words: ["an empty 404", "an empty 200"],
    read: |reader, node, _| request::read(reader, node).map(Action::Request),
    lint,
    ..StepType::PLAIN
};

impl StepAction for Request {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        Box::pin(async move {
            let Some(web) = context.stage.web else {
                return (None, Outcome::error("there is no target to send to"));
            };
            match web.prepare(self, context.variables) {
                Ok(prepared) => {
                    let limit = context.limit(self.timeout.0);
                    (Some(prepared.sent()), Web::send(prepared, limit, context.stage.clock).await)
                }
                Err(error) => (None, Outcome::error(error)),
            }
        })
    }

    fn vacuous(&self) -> [Option<Answer>; 2] {
        [404, 200].map(|status| {
            let headers = vec![("content-length".to_owned(), "0".to_owned())];
            let body = Kept::of(&[], 1);
            Some(Answer::Http(HttpAnswer { status, headers, body, url: String::new() }))
        })
    }

    fn needs_target(&self) -> bool {
        true
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(Part<'_>)) {
        for (name, value) in &mut self.query {
            let values = match value {
                Value::Array(items) => items.as_mut_slice(),
                value => std::slice::from_mut(value),
            };
            for value in values.iter_mut().filter(|value| value.is_string() || value.is_number()) {
                see(Part::parameter(name, value));
            }
        }
        self.cookies.values_mut().for_each(|text| see(Part::cookie(text)));
        see(Part::url(&mut self.path));
        self.headers.iter_mut().for_each(|(name, text)| see(Part::header(name, text)));
    }
}

fn lint(linter: &mut Linter<'_>, node: &Node) {
    if !linter.is_mapping(Code::LintRequest, node, "request") {
        return;
    }
    match written(node, "method") {
        None => linter.needs(Code::LintMethodMissing, node, "a request", "method"),
        Some(method) => {
            let upper = method.to_uppercase();
            if !request::METHODS.contains(&upper.as_str()) {
                let at = node.get("method").unwrap_or(node);
                let message = format!("`{method}` is no HTTP method");
                linter.unknown(Code::LintMethod, at, message, &upper, request::METHODS);
            }
        }
    }
    linter.needs(Code::LintPath, node, "a request", "path");
}
