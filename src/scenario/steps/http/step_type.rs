//! Registration of the step type `request`.

use futures_util::future::BoxFuture;

use super::{HttpClient, HttpRequest, request};
use crate::diag::Code;
use crate::scenario::answer::{HttpAnswer, StepAnswer, StepOutcome};
use crate::scenario::checks::assert::{AssertionForm, Subject};
use crate::scenario::reader::linter::{Linter, written};
use crate::scenario::reader::yaml::YamlNode;
use crate::scenario::steps::{Action, Played, StepAction, StepContext, StepType};
use crate::scenario::values::KeptContent;
use crate::scenario::values::credentials::CredentialPart;
use crate::value::Value;

/// `request`: an HTTP request to the target.
pub static TYPE: StepType = StepType {
    word: "request",
    keys: request::KEYS,
    subjects: &[
        (Subject::Status, AssertionForm::Status),
        (Subject::Header, AssertionForm::Named),
        (Subject::Json, AssertionForm::Json),
        (Subject::Body, AssertionForm::Text),
        (Subject::Count, AssertionForm::Count),
        (Subject::Duration, AssertionForm::Duration),
    ],
    sources: &["status", "body", "header:"],
    in_parallel: true,
    is_basic: true,
    vacuous_words: ["an empty 404", "an empty 200"],
    read: |reader, node, _| request::read(reader, node).map(Action::Request),
    lint,
    ..StepType::PLAIN
};

impl StepAction for HttpRequest {
    fn step_type(&self) -> &'static StepType {
        &TYPE
    }

    fn play<'a>(&'a self, context: StepContext<'a>) -> BoxFuture<'a, Played> {
        Box::pin(async move {
            let Some(web) = context.stage.web else {
                return (None, StepOutcome::error("there is no target to send to"));
            };
            match web.prepare(self, context.variables) {
                Ok(prepared) => {
                    let limit = context.limit(self.timeout.0);
                    (Some(prepared.sent()), HttpClient::send(prepared, limit, context.stage.clock).await)
                }
                Err(error) => (None, StepOutcome::error(error)),
            }
        })
    }

    fn vacuous(&self) -> [Option<StepAnswer>; 2] {
        [404, 200].map(|status| {
            let headers = vec![("content-length".to_owned(), "0".to_owned())];
            let body = KeptContent::of(&[], 1);
            Some(StepAnswer::Http(HttpAnswer { status, headers, body, url: String::new() }))
        })
    }

    fn needs_target(&self) -> bool {
        true
    }

    fn each_credential(&mut self, see: &mut dyn FnMut(CredentialPart<'_>)) {
        for (name, value) in &mut self.query {
            let values = match value {
                Value::Array(items) => items.as_mut_slice(),
                value => std::slice::from_mut(value),
            };
            for value in values.iter_mut().filter(|value| value.is_string() || value.is_number()) {
                see(CredentialPart::parameter(name, value));
            }
        }
        self.cookies.values_mut().for_each(|text| see(CredentialPart::cookie(text)));
        see(CredentialPart::url(&mut self.path));
        self.headers.iter_mut().for_each(|(name, text)| see(CredentialPart::header(name, text)));
    }
}

fn lint(linter: &mut Linter<'_>, node: &YamlNode) {
    if !linter.is_mapping(Code::LintRequest, node, "request") {
        return;
    }
    match written(node, "method") {
        None => linter.needs(Code::LintMethodMissing, node, "a request", "method"),
        Some(method) => {
            let upper = method.to_uppercase();
            if !request::METHODS.contains(&upper.as_str()) {
                let at = node.get("method").unwrap_or(node);
                let message = format!("`{method}` is not an HTTP method");
                linter.unknown(Code::LintMethod, at, message, &upper, request::METHODS);
            }
        }
    }
    linter.needs(Code::LintPath, node, "a request", "path");
}
