use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use prost::bytes::Bytes;
use prost_reflect::MethodDescriptor;
use tonic::metadata::MetadataMap;

use super::{Grpc, GrpcStream, message, metadata};
use crate::scenario::answer::SentRecord;
use crate::scenario::values::credentials;
use crate::scenario::values::{Excerpt, Variables, json};
use crate::value::Value;

/// Longest text in a record of what was sent, in bytes.
const SHOWN: usize = 8 << 10;

/// A step with variables filled in.
pub struct CallRequest {
    /// Full name of the service; empty to continue a stream.
    pub service: String,
    /// Name of the method.
    pub method: String,
    /// Metadata of the request.
    pub metadata: MetadataMap,
    /// Time limit of the step.
    pub limit: Duration,
    /// Name of the stream.
    pub id: String,
    /// Whether the sending side is closed after the messages.
    pub close: bool,
    /// Whether the stream continues in the background.
    pub background: bool,
    /// Time limit for messages, if one is written.
    pub patience: Option<Duration>,
    count: Option<usize>,
    body: Option<Value>,
    messages: Option<Vec<Value>>,
}

impl CallRequest {
    /// The request of `step`, which may take `limit`.
    pub fn of(step: &Grpc, limit: Duration, variables: &Variables) -> Result<Self, String> {
        let plain = GrpcStream::default();
        let stream = step.stream.as_ref().unwrap_or(&plain);
        let fill = |value: &Value| fill(value, variables);
        let headers = step
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), variables.fill(value)))
            .collect::<Vec<_>>();
        Ok(Self {
            service: variables.fill(step.service.trim_start_matches('/')).into_owned(),
            method: variables.fill(&step.method).into_owned(),
            metadata: metadata::request(&headers)?,
            limit,
            id: variables.fill(&stream.id).into_owned(),
            close: stream.close,
            background: stream.receive.as_ref().is_some_and(|receive| receive.background),
            patience: stream.receive.as_ref().and_then(|receive| receive.timeout).map(|timeout| timeout.0),
            count: stream.receive.as_ref().map(|receive| receive.count),
            body: Some(&step.body).filter(|body| !is_empty(body)).map(fill).transpose()?,
            messages: stream
                .messages
                .as_ref()
                .map(|messages| messages.iter().map(fill).collect::<Result<_, _>>())
                .transpose()?,
        })
    }

    /// Record of the request, without the target, which differs from run to run.
    pub fn sent(&self) -> SentRecord {
        let mut text = if self.service.is_empty() {
            format!("gRPC stream `{}`\n", self.id)
        } else {
            format!("gRPC {}/{}\n", self.service, self.method)
        };
        let entries = || {
            let recorded = |(name, value): (String, String)| {
                let value = credentials::recorded(&name, &value);
                (name, value)
            };
            metadata::entries(&self.metadata).map(recorded)
        };
        for (name, value) in entries() {
            let _ = writeln!(text, "{name}: {value}");
        }
        let written: Vec<String> = self.written().iter().map(ToString::to_string).collect();
        if !written.is_empty() {
            let _ = write!(text, "\n{}", written.join("\n"));
        }
        SentRecord {
            text: Excerpt::visible(&text, SHOWN).text,
            headers: (!self.service.is_empty()).then(|| entries().collect()),
            body: (!written.is_empty()).then(|| Excerpt::of_text(&written.join("\n"), SHOWN).text),
            ..SentRecord::default()
        }
    }

    /// The written messages: those of the stream, otherwise the body.
    pub fn written(&self) -> Cow<'_, [Value]> {
        match (&self.messages, &self.body) {
            (Some(messages), _) => Cow::Borrowed(messages),
            (None, Some(body)) => Cow::Borrowed(std::slice::from_ref(body)),
            (None, None) => Cow::Owned(Vec::new()),
        }
    }

    /// The messages to send, encoded for `method`.
    pub fn messages(&self, method: &MethodDescriptor) -> Result<Vec<Bytes>, String> {
        let mut written = self.written().into_owned();
        if !method.is_client_streaming() && !self.service.is_empty() {
            if self.messages.is_some() && self.body.is_some() {
                return Err(format!(
                    "`{}` takes one message: write `body` or `messages`",
                    method.full_name()
                ));
            }
            if written.is_empty() {
                written.push(Value::Null);
            }
            if written.len() > 1 {
                let message = "takes one message, and the step has";
                return Err(format!("`{}` {message} {}", method.full_name(), written.len()));
            }
        }
        written.iter().map(|value| message::encode(&method.input(), value)).collect()
    }

    /// Whether the sending side is closed after the messages.
    pub fn closes(&self, method: &MethodDescriptor) -> bool {
        self.close || !self.background || !method.is_client_streaming()
    }

    /// Number of messages to wait for; `None` to read until the end of the call, or if the step only sends.
    pub fn wanted(&self, method: &MethodDescriptor) -> Option<usize> {
        if self.service.is_empty() {
            let only_sends = self.messages.is_some() || self.close;
            return self.count.or((!only_sends).then_some(1)).filter(|_| !self.background);
        }
        self.count.filter(|_| method.is_server_streaming())
    }
}

fn is_empty(body: &Value) -> bool {
    body.is_null() || body.as_str().is_some_and(|text| text.trim().is_empty())
}

/// A message with variables filled in. Text is JSON, so values are filled in as JSON.
fn fill(value: &Value, variables: &Variables) -> Result<Value, String> {
    let Some(text) = value.as_str() else {
        return Ok(json::rounded(&variables.fill_json(value)).into_owned());
    };
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    crate::value::parse(variables.fill_escaped(text).as_ref())
        .map_err(|e| format!("a message is not JSON: {e}"))
}
