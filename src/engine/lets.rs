//! `let` of a step: its entries see what `when` sees, and are evaluated when they are first read. They are on no record:
//! where a run is resumed, they are evaluated again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Run;
use super::frame::Spot;
use crate::expr::{Data, Scope};
use crate::verb::Failure;

/// The bound `let` of the steps of a frame, by place. All expressions of a step instance share one, so that each entry is
/// evaluated once.
#[derive(Default)]
pub(super) struct BoundLets(Mutex<HashMap<usize, Data>>);

impl BoundLets {
    fn get(&self, place: usize) -> Option<Data> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned()
    }

    fn keep(&self, place: usize, lets: &Data) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, lets.clone());
    }

    /// Forgets the values of a step that has ended.
    pub(super) fn forget(&mut self, place: usize) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).remove(&place);
    }
}

impl Run {
    /// `scope`, which the step at `spot` sees, with the step's `let`.
    pub(super) fn with_lets(&self, spot: Spot, scope: Scope) -> Result<Scope, Failure> {
        let frame = self.frame(spot.0);
        let lets = &frame.step(spot.1).lets;
        if lets.entries.is_empty() {
            return Ok(scope);
        }
        if let Some(bound) = frame.lets.get(spot.1) {
            return Ok(scope.with("let", bound));
        }
        let bound = lets.entries.bind(&self.scope_for(spot, &lets.sees)?);
        // Before everything that it waits for has ended, a step sees less than it will.
        if frame.waits[spot.1] == 0 {
            frame.lets.keep(spot.1, &bound);
        }
        Ok(scope.with("let", bound))
    }

    /// The names that are in scope in the steps inside the step at `spot`.
    pub(super) fn names_inside(&self, spot: Spot) -> Result<Scope, Failure> {
        self.with_lets(spot, self.frame(spot.0).names.clone())
    }
}
