use std::fmt::Write;

use prost::bytes::Bytes;
use prost_reflect::{MessageDescriptor, MethodDescriptor};

use super::any::MessageTypes;
use super::call::{CallEnd, GrpcCall};
use super::{message, metadata};
use crate::scenario::answer::StepOutcome;
use crate::scenario::answer::{StepAnswer, StructuredResponse};
use crate::scenario::values::KeptContent;
use crate::value::Value;

/// Most bytes kept of all messages of a step; the rest is counted and digested.
const KEPT: usize = 1 << 20;

/// The messages of a step as JSON: one message, or a list.
pub struct MessageBody {
    kept: KeptContent,
    count: usize,
    /// Number of messages of the call that earlier steps have received.
    earlier: usize,
    form: BodyForm,
    types: Option<MessageTypes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyForm {
    /// No messages are expected.
    None,
    /// One message.
    One,
    /// A list.
    List,
}

impl MessageBody {
    /// An empty body for the answer of `method`.
    pub fn of(method: &MethodDescriptor) -> Self {
        if method.is_server_streaming() { Self::list() } else { Self::new(BodyForm::One) }
    }

    /// A list.
    pub fn list() -> Self {
        Self::new(BodyForm::List)
    }

    /// Nothing.
    pub fn none() -> Self {
        Self::new(BodyForm::None)
    }

    fn new(form: BodyForm) -> Self {
        Self { kept: KeptContent::new(KEPT), count: 0, earlier: 0, form, types: None }
    }

    /// The body for a call of which earlier steps have received `earlier` messages.
    pub fn after(self, earlier: usize) -> Self {
        Self { earlier, ..self }
    }

    /// The body, with `types` for messages in an `Any`.
    pub fn knowing(self, types: MessageTypes) -> Self {
        Self { types: Some(types), ..self }
    }

    /// Takes the types out again.
    pub fn types(&mut self) -> Option<MessageTypes> {
        self.types.take()
    }

    /// Number of received messages.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds a message.
    pub async fn push(&mut self, descriptor: &MessageDescriptor, bytes: Bytes) -> Result<(), String> {
        let message = message::decode(descriptor, bytes)?;
        let text = match &mut self.types {
            Some(types) => types.told(&message).await?,
            None => message::to_json(&message)?,
        };
        self.count += 1;
        if self.form == BodyForm::One && self.count + self.earlier > 1 {
            return Err("the method returns one message, but there are more".to_owned());
        }
        if self.form == BodyForm::List {
            self.kept.push(if self.count == 1 { b"[" } else { b"," });
        }
        self.kept.push(text.as_bytes());
        Ok(())
    }

    /// The end of the call after a check of the messages. As in every client, a single message counts if
    /// and only if the status is OK.
    pub fn check(&mut self, end: CallEnd) -> CallEnd {
        match end {
            CallEnd::Status { code: "OK", .. }
                if self.form == BodyForm::One && self.count + self.earlier == 0 =>
            {
                CallEnd::Broken("the status is OK, but there is no message".to_owned())
            }
            CallEnd::Status { code, .. } if self.form == BodyForm::One && code != "OK" => {
                *self = Self { types: self.types.take(), earlier: self.earlier, ..Self::new(BodyForm::One) };
                end
            }
            end => end,
        }
    }

    fn finish(mut self) -> KeptContent {
        if self.form == BodyForm::List {
            self.kept.push(if self.count == 0 { b"[]" } else { b"]" });
        }
        self.kept
    }
}

/// Result of a step.
pub struct GrpcReply<'a> {
    /// The call, with everything that was read.
    pub call: &'a GrpcCall,
    /// Name of a stream that continues in the background; empty for others.
    pub name: &'a str,
    /// Whether the step only started the stream.
    pub begun: bool,
}

impl GrpcReply<'_> {
    /// The answer with its messages, and the reason if it was interrupted.
    pub fn outcome(&self, body: MessageBody) -> StepOutcome {
        let (status, message, trailer) = match self.call.ended() {
            Some(CallEnd::Status { code, message, trailer }) => (*code, message.as_str(), Some(trailer)),
            // A stream that continues has no error yet.
            None => ("OK", "", None),
            Some(CallEnd::Broken(_)) => ("", "", None),
        };
        let broken = match self.call.ended() {
            Some(CallEnd::Broken(reason)) => Some(after(reason, &body)),
            _ => None,
        };
        let (count, form) = (body.count, body.form);
        let main = body.finish();
        let mut text = self.line(count, form);
        if !status.is_empty() {
            let _ = writeln!(text, "Status: {status}");
        }
        if !message.is_empty() {
            let _ = writeln!(text, "Message: {message}");
        }
        if !self.begun {
            // It is a matter of chance whether headers were received when a stream has just started.
            text.push_str(&self.call.header().map(metadata::lines).unwrap_or_default());
        }
        if let Some(lines) = trailer.map(metadata::lines).filter(|lines| !lines.is_empty()) {
            let _ = write!(text, "Trailers:\n{lines}");
        }
        if !main.is_empty() {
            let _ = write!(text, "\n{}", main.text());
        }
        let part = |known: bool, value: Value| if known { value } else { Value::Null };
        let told = StructuredResponse {
            text,
            parts: [
                ("status", part(!status.is_empty(), status.into())),
                ("message", part(!status.is_empty(), message.into())),
                ("header", self.call.header().map(metadata::table).unwrap_or_default()),
                ("trailer", trailer.map(metadata::table).unwrap_or_default()),
                ("count", count.into()),
            ]
            .into_iter()
            .collect(),
            main: ("body", main),
            evidence: Vec::new(),
        };
        StepOutcome { answer: Some(StepAnswer::Told(Box::new(told))), error: broken }
    }

    /// The first line: the method and the state of the call.
    fn line(&self, count: usize, form: BodyForm) -> String {
        let method = self.call.method();
        let mut notes = Vec::new();
        if !self.name.is_empty() {
            notes.push(format!("stream `{}`{}", self.name, if self.begun { " begun" } else { "" }));
        }
        if form == BodyForm::List {
            notes.push(format!("{count} message{}", if count == 1 { "" } else { "s" }));
        }
        if self.call.ended().is_none() && !self.begun && form != BodyForm::None {
            notes.push(if self.name.is_empty() { "not read to its end" } else { "still open" }.to_owned());
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        format!("gRPC {}/{}{notes}\n", method.parent_service().full_name(), method.name())
    }
}

fn after(reason: &str, body: &MessageBody) -> String {
    match (body.form, body.count) {
        (BodyForm::List, 1) => format!("{reason} after 1 message"),
        (BodyForm::List, count) => format!("{reason} after {count} messages"),
        _ => reason.to_owned(),
    }
}
