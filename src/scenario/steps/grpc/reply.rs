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

/// The messages of a step as JSON: one of them, or a list.
pub struct MessageBody {
    kept: KeptContent,
    count: usize,
    /// How many messages of the call earlier steps have received.
    earlier: usize,
    form: BodyForm,
    types: Option<MessageTypes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyForm {
    /// Nothing is asked for.
    None,
    /// One message.
    One,
    /// A list of them.
    List,
}

impl MessageBody {
    /// What `method` answers with.
    pub fn of(method: &MethodDescriptor) -> Self {
        if method.is_server_streaming() { Self::list() } else { Self::new(BodyForm::One) }
    }

    /// A list of messages.
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

    /// The same, of a call of which earlier steps have received so many messages.
    pub fn after(self, earlier: usize) -> Self {
        Self { earlier, ..self }
    }

    /// The same, which asks `types` for what stands in an `Any`.
    pub fn knowing(self, types: MessageTypes) -> Self {
        Self { types: Some(types), ..self }
    }

    /// Gives back what it asked.
    pub fn types(&mut self) -> Option<MessageTypes> {
        self.types.take()
    }

    /// How many messages have come.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes one more message.
    pub async fn push(&mut self, descriptor: &MessageDescriptor, bytes: Bytes) -> Result<(), String> {
        let message = message::decode(descriptor, bytes)?;
        let text = match &mut self.types {
            Some(types) => types.told(&message).await?,
            None => message::to_json(&message)?,
        };
        self.count += 1;
        if self.form == BodyForm::One && self.count + self.earlier > 1 {
            return Err("there is more than the one message that the method answers with".to_owned());
        }
        if self.form == BodyForm::List {
            self.kept.push(if self.count == 1 { b"[" } else { b"," });
        }
        self.kept.push(text.as_bytes());
        Ok(())
    }

    /// What the end of the call makes of it: a single message counts where the status is OK, and only there, as in
    /// every client.
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

/// What came of a step.
pub struct GrpcReply<'a> {
    /// The call, as far as it was read.
    pub call: &'a GrpcCall,
    /// The name of a stream that goes on in the background; empty for others.
    pub name: &'a str,
    /// Whether it was only begun.
    pub begun: bool,
}

impl GrpcReply<'_> {
    /// The answer with its messages, and the reason where it broke off.
    pub fn outcome(&self, body: MessageBody) -> StepOutcome {
        let (status, message, trailer) = match self.call.ended() {
            Some(CallEnd::Status { code, message, trailer }) => (*code, message.as_str(), Some(trailer)),
            // A stream that goes on is well so far.
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
            // Whether headers are there already when a stream has begun is a matter of chance.
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

    /// What was called, and how far it went.
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
