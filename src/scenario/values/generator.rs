//! Generated values such as `{$uuid}`. They are derived from a seed, so that a scenario that is run again
//! after a crash sends the same values.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use crate::clock::Millis;
use crate::value::{Digest, Value};

/// Generators, by the word after the `$`.
pub const GENERATORS: &[&str] = &["uuid", "now", "timestamp", "random_email", "random_int", "random_string"];

/// Generates values. `{$uuid}` is different each time; `{$uuid:order}` is the same everywhere in a scenario.
#[derive(Debug, Default)]
pub struct Generator {
    seed: String,
    now: Millis,
    state: Mutex<Generated>,
}

#[derive(Debug, Default)]
struct Generated {
    made: u64,
    named: HashMap<String, Value>,
}

impl Generator {
    /// A generator for `seed` at the time `now`.
    pub fn new(seed: impl Into<String>, now: Millis) -> Self {
        Self { seed: seed.into(), now, state: Mutex::default() }
    }

    /// The value of `word`, which may have a name: `uuid`, `uuid:order`. `None` for unknown words.
    pub fn make(&self, word: &str) -> Option<Value> {
        let (kind, name) = word.split_once(':').unwrap_or((word, ""));
        if !GENERATORS.contains(&kind) {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = state.named.get(word) {
            return Some(value.clone());
        }
        state.made += 1;
        let source = if name.is_empty() { format!("#{}", state.made) } else { word.to_owned() };
        let value = self.value(kind, &source);
        if !name.is_empty() {
            state.named.insert(word.to_owned(), value.clone());
        }
        Some(value)
    }

    fn value(&self, kind: &str, source: &str) -> Value {
        let digits = Digest::of(format!("{}\n{source}", self.seed)).to_string();
        match kind {
            "uuid" => uuid(&digits).into(),
            "now" => moment(self.now).into(),
            "timestamp" => (self.now / 1_000).into(),
            "random_email" => format!("{}@example.com", &digits[..12]).into(),
            "random_int" => (u64::from_str_radix(&digits[..12], 16).unwrap_or_default() % 1_000_000).into(),
            _ => digits[..16].into(),
        }
    }
}

/// A UUID of version 4 from hexadecimal digits.
fn uuid(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().take(32).enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(match at {
            12 => '4',
            16 => ['8', '9', 'a', 'b'][digit.to_digit(16).unwrap_or_default() as usize % 4],
            _ => digit,
        });
    }
    text
}

fn moment(now: Millis) -> String {
    let mut text = String::new();
    let moment = i64::try_from(now).ok().and_then(|now| jiff::Timestamp::from_millisecond(now).ok());
    let _ = moment.map(|moment| write!(text, "{moment}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_unless_they_are_named_and_come_back_with_the_seed() {
        let make = |word: &str| Generator::new("a", 0).make(word);
        let generator = Generator::new("a", 1_700_000_000_123);
        let first = generator.make("uuid");
        assert_eq!(first, make("uuid"));
        assert_ne!(first, generator.make("uuid"));
        assert_eq!(generator.make("uuid:x"), generator.make("uuid:x"));
        assert_ne!(generator.make("uuid:x"), generator.make("uuid:y"));
        assert_ne!(generator.make("uuid:x"), Generator::new("b", 0).make("uuid:x"));
        assert_eq!(generator.make("uid"), None);
    }

    #[test]
    fn values_look_like_what_they_are() {
        let generator = Generator::new("a", 1_700_000_000_123);
        let text = |word: &str| generator.make(word).unwrap().as_str().unwrap().to_owned();
        let uuid = regex::Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$");
        assert!(uuid.unwrap().is_match(&text("uuid")));
        assert_eq!(text("now"), "2023-11-14T22:13:20.123Z");
        assert_eq!(generator.make("timestamp"), Some(1_700_000_000_u64.into()));
        assert!(text("random_email").ends_with("@example.com"));
        assert!(generator.make("random_int").unwrap().as_u64().unwrap() < 1_000_000);
    }
}
