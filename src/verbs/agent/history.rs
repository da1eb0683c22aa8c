//! The conversation so far, and how it is saved: an interrupted attempt resumes without asking again for
//! answers that were received, and a long conversation still fits the model's context.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::llm::{ChatMessage, ModelResponse, StopReason, ToolCall, ToolResult, without_thoughts};
use crate::meter::Meter;
use crate::value::{Digest, Value, canonical};
use crate::verb::{Blobs, Failure, Secrets};

/// The number of messages at the end of a conversation that are never shortened.
const KEPT_MESSAGES: usize = 6;
/// The length in bytes up to which a text is never removed.
const SHORT: usize = 240;

/// A message, with details if it is from a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HistoryPart {
    /// The turn, from 1; 0 for the messages before the first answer.
    pub(super) turn: u32,
    pub(super) message: ChatMessage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<StopReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    #[serde(default, skip_serializing_if = "Meter::is_empty")]
    pub(super) spent: Meter,
}

/// A conversation.
#[derive(Default)]
pub(super) struct MessageHistory {
    pub(super) parts: Vec<HistoryPart>,
    /// Digests of the saved parts.
    kept: Vec<Digest>,
    /// The number of parts, from the start, that are sent shortened.
    pub(super) shortened: usize,
}

/// The state that an attempt leaves for the next one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    /// See [`super::input::AgentInput::key`].
    pub(super) key: Digest,
    /// The attempt that saved it, with the cost so far: this is recorded if the attempt is interrupted.
    pub(super) attempt: u32,
    pub(super) spent: Meter,
    /// The cost of the attempts before it.
    pub(super) before: Meter,
    parts: Vec<Digest>,
    shortened: usize,
    /// The files at the time of the last answer.
    pub(super) tree: Digest,
    pub(super) repairs: u32,
    /// The index of the model in use.
    pub(super) model: usize,
}

/// What a save contains besides the conversation.
pub(super) struct SavedState {
    pub(super) key: Digest,
    pub(super) attempt: u32,
    pub(super) spent: Meter,
    pub(super) before: Meter,
    pub(super) tree: Digest,
    pub(super) repairs: u32,
    pub(super) model: usize,
}

impl Saved {
    /// The state in `cursor`, if it belongs to this input.
    pub(super) fn read(cursor: Option<&Value>, key: &Digest) -> Option<Self> {
        let saved = Self::deserialize(cursor?).ok()?;
        (saved.key == *key).then_some(saved)
    }

    /// The state for the attempt that continues from it, if all attempts before that cost `before`.
    pub(super) fn taken_up(&self, attempt: u32, before: &Meter) -> Self {
        Self { attempt, spent: Meter::new(), before: before.clone(), ..self.clone() }
    }
}

impl MessageHistory {
    /// Loads the saved conversation.
    pub(super) fn load(saved: &Saved, blobs: &dyn Blobs) -> Result<Self, Failure> {
        let read = |digest: &Digest| {
            let bytes = blobs.get(digest)?;
            serde_json::from_slice(&bytes)
                .map_err(|e| Failure::permanent(format!("a saved message cannot be read: {e}")))
        };
        let parts = saved.parts.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok(Self { parts, kept: saved.parts.clone(), shortened: saved.shortened })
    }

    /// Saves the new messages and returns the cursor for the next attempt.
    pub(super) fn save(&mut self, state: SavedState, blobs: &dyn Blobs) -> Result<Value, Failure> {
        for part in &self.parts[self.kept.len()..] {
            self.kept.push(blobs.put(line(part).as_bytes())?.digest);
        }
        let SavedState { key, attempt, spent, before, tree, repairs, model } = state;
        let (parts, shortened) = (self.kept.clone(), self.shortened);
        Ok(json!(Saved { key, attempt, spent, before, parts, shortened, tree, repairs, model }))
    }

    /// Adds a message to the model.
    pub(super) fn tell(&mut self, turn: u32, message: ChatMessage) {
        self.parts.push(HistoryPart { turn, message, stop: None, model: None, spent: Meter::new() });
    }

    /// The messages to send.
    pub(super) fn messages(&self) -> Vec<ChatMessage> {
        let told = |(i, part): (usize, &HistoryPart)| {
            if i < self.shortened { shortened(&part.message) } else { part.message.clone() }
        };
        self.parts.iter().enumerate().map(told).collect()
    }

    /// The length in bytes of the messages to send.
    pub(super) fn size(&self) -> usize {
        self.messages().iter().map(ChatMessage::size).sum()
    }

    /// Shortens all but the end; `false` if that was already done.
    pub(super) fn shorten(&mut self) -> bool {
        let most = self.parts.len().saturating_sub(KEPT_MESSAGES);
        let more = most > self.shortened;
        self.shortened = self.shortened.max(most);
        more
    }

    /// The last text from the model.
    pub(super) fn last_words(&self) -> String {
        let said = self.parts.iter().rev().filter(|part| part.model.is_some());
        said.map(|part| part.message.content.clone()).find(|text| !text.trim().is_empty()).unwrap_or_default()
    }

    /// One line of JSON for each part, without secrets.
    pub(super) fn transcript(&self, secrets: &dyn Secrets) -> String {
        self.parts.iter().map(|part| secrets.redact(&line(part)) + "\n").collect()
    }
}

/// The input of calls in its saved order: every later request repeats it in this order.
pub(super) fn part(turn: u32, answer: &ModelResponse, spent: Meter) -> HistoryPart {
    let ordered = |call: &ToolCall| {
        let input = serde_json::from_str(&canonical(&call.input)).unwrap_or_else(|_| call.input.clone());
        ToolCall { input, ..call.clone() }
    };
    let calls = answer.calls.iter().map(ordered).collect();
    let message = ChatMessage { calls, ..ChatMessage::assistant(without_thoughts(&answer.text)) };
    let model = format!("{}/{}", answer.provider, answer.model);
    HistoryPart { turn, message, stop: Some(answer.stop), model: Some(model), spent }
}

/// The same text for the same part, whether its answer came from a cassette or not.
fn line(part: &HistoryPart) -> String {
    canonical(&json!(part))
}

/// The same message without long tool results and inputs; a line says what was removed.
fn shortened(message: &ChatMessage) -> ChatMessage {
    let mut short = message.clone();
    for ToolResult { text, name, .. } in &mut short.results {
        if text.len() > SHORT {
            *text = format!(
                "[left out: {} bytes that `{name}` brought; call it again where they are needed]",
                text.len()
            );
        }
    }
    for ToolCall { input, .. } in &mut short.calls {
        for value in input.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            if let Some(length) = value.as_str().map(str::len).filter(|length| *length > SHORT) {
                *value = json!(format!("[left out: {length} bytes]"));
            }
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Role;
    use crate::verb::MemoryBlobs;

    fn long() -> MessageHistory {
        let mut history = MessageHistory::default();
        history.tell(0, ChatMessage::user("do it"));
        for turn in 1..=6 {
            let call = ToolCall {
                id: format!("c{turn}"),
                name: "write".to_owned(),
                input: json!({"path": "a", "content": "x".repeat(1_000)}),
                signature: None,
            };
            history.tell(
                turn,
                ChatMessage { calls: vec![call], ..ChatMessage::said(Role::Assistant, "writing") },
            );
            let result = ToolResult {
                id: format!("c{turn}"),
                name: "write".to_owned(),
                text: "y".repeat(2_000),
                failed: false,
            };
            history.tell(turn, ChatMessage { results: vec![result], ..ChatMessage::user("") });
        }
        history
    }

    #[test]
    fn what_is_old_and_long_is_left_out_and_its_place_is_told() {
        let mut history = long();
        let before = history.size();
        assert!(history.shorten() && !history.shorten());
        assert!(history.size() < before * 2 / 3);
        let messages = history.messages();
        assert_eq!(messages[1].calls[0].input, json!({"path": "a", "content": "[left out: 1000 bytes]"}));
        assert!(messages[2].results[0].text.starts_with("[left out: 2000 bytes that `write` brought"));
        assert_eq!((messages[1].calls[0].id.as_str(), messages[1].content.as_str()), ("c1", "writing"));
        assert_eq!(
            messages[messages.len() - KEPT_MESSAGES..],
            long().messages()[messages.len() - KEPT_MESSAGES..]
        );
        assert_eq!(history.parts[2].message.results[0].text.len(), 2_000, "the transcript has all of it");
    }

    #[test]
    fn a_saved_conversation_is_told_the_same_again() {
        let blobs = MemoryBlobs::default();
        let mut history = long();
        history.shorten();
        let key = Digest::of("k");
        let state = || SavedState {
            key,
            attempt: 2,
            spent: Meter::new().with("usd", 0.5),
            before: Meter::new(),
            tree: Digest::of("t"),
            repairs: 1,
            model: 0,
        };
        let first = history.save(state(), &blobs).unwrap();
        history.tell(7, ChatMessage::user("more"));
        let cursor = history.save(state(), &blobs).unwrap();
        assert_eq!(cursor["parts"].as_array().unwrap()[..13], first["parts"].as_array().unwrap()[..]);
        let saved = Saved::read(Some(&cursor), &key).unwrap();
        assert_eq!((saved.attempt, saved.spent.get("usd").to_bits()), (2, 0.5_f64.to_bits()));
        let loaded = MessageHistory::load(&saved, &blobs).unwrap();
        assert_eq!(loaded.messages(), history.messages());
        assert!(Saved::read(Some(&cursor), &Digest::of("other")).is_none());
        assert!(Saved::read(Some(&Value::Null), &key).is_none());
    }
}
