//! Recorded outputs: which attempt reuses one, and which are stored for later runs.

use std::collections::VecDeque;

use super::super::Event;
use super::super::output_cache::{CachedOutput, FOREIGN_OUTPUT};
use super::Driver;
use crate::engine::{Attempt, Report};
use crate::value::{Digest, Value};

impl Driver {
    /// A recorded output for an attempt with the same key: from the run whose results are reused, or from the
    /// store if the step is cached.
    pub(super) fn known(&mut self, attempt: &Attempt) -> Option<Value> {
        let key = attempt.key?;
        let store = self.env.house.store.clone();
        if let Some(payload) = self.taken.get_mut(&key).and_then(VecDeque::pop_front)
            && let Ok(value) = crate::engine::load(&payload, store.as_ref())
        {
            return Some(value.as_ref().clone());
        }
        // An output that was recorded and rejected is not used a second time.
        if !attempt.cache || attempt.number > 1 {
            return None;
        }
        let shelf = self.env.output_cache();
        let key = self.env.cache_key(attempt, key);
        let found = shelf.find(&key).unwrap_or(CachedOutput::Nothing);
        if let CachedOutput::Output(output) = found {
            self.emit_shared(attempt, key);
            return Some(output);
        }
        if matches!(found, CachedOutput::Foreign) {
            self.emit_line(attempt, FOREIGN_OUTPUT.to_owned());
        }
        self.keys.push((attempt.address.clone(), attempt.number, key));
        None
    }

    /// Whether the result of another run is used instead of this attempt.
    pub(super) fn takes_over(&self, attempt: &Attempt) -> bool {
        attempt.key.and_then(|key| self.taken.get(&key)).is_some_and(|known| !known.is_empty())
    }

    /// Reports that the reused output is from this run: items that should differ have the same input.
    fn emit_shared(&self, attempt: &Attempt, key: Digest) {
        let Some(first) = self.recorded.get(&key).filter(|first| **first != attempt.address) else { return };
        self.emit_line(attempt, format!("uses the output of `{first}`, because the input is the same"));
    }

    fn emit_line(&self, attempt: &Attempt, text: String) {
        let (run, address) = (self.env.run.clone(), attempt.address.clone());
        let note = crate::verb::Note::Line { text };
        (self.env.events)(vec![Event::Note { run, address, attempt: attempt.number, note }]);
    }

    /// Stores a fresh output for later runs if the step is cached.
    pub(super) fn remember(&mut self, report: &Report) {
        let Report::Ran { address, attempt, result, cached } = report else { return };
        let Some(place) = self.keys.iter().position(|(at, n, _)| at == address && n == attempt) else {
            return;
        };
        let (_, _, key) = self.keys.swap_remove(place);
        if let (Ok(output), false) = (result, cached) {
            self.recorded.insert(key, address.clone());
            self.env.output_cache().put(&key, &output.value);
        }
    }
}
