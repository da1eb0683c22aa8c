//! The budget for one answer: limited by the agent's own limit and by those of the run.

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};

use crate::llm::{CallBudget, StoreFuture};
use crate::meter::Meter;
use crate::verb::{Cause, Class, Failure, Reservation};

/// An answer in progress: the length of its request, and the bytes received so far.
#[derive(Default)]
pub(super) struct Flight {
    pub(super) sent: usize,
    pub(super) heard: AtomicUsize,
    /// Its maximum cost.
    pub(super) most: Mutex<Meter>,
}

impl Flight {
    /// A request of `sent` bytes whose answer may cost up to `most`.
    pub(super) fn new(sent: usize, most: Meter) -> Self {
        Self { sent, heard: AtomicUsize::new(0), most: Mutex::new(most) }
    }
}

/// Reserves the cost of one call.
pub(super) struct TurnBudget<'a> {
    covered: &'a Reservation<'a>,
    flight: &'a Flight,
    affordable: Option<u64>,
}

impl<'a> TurnBudget<'a> {
    /// Uses the reservation `covered`; `affordable` is the number of tokens that the agent's remaining
    /// dollars pay for,
    /// `None` if they are free.
    pub(super) fn new(covered: &'a Reservation<'a>, flight: &'a Flight, affordable: Option<u64>) -> Self {
        Self { covered, flight, affordable }
    }
}

impl CallBudget for TurnBudget<'_> {
    fn covers(&self, most: &Meter) -> bool {
        self.covered.covers(most)
    }

    fn recall(&self) {
        self.covered.recall();
    }

    fn cover<'a>(&'a self, most: &'a Meter) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 tokens")]
            let beyond = self.affordable.is_some_and(|tokens| most.get("tokens_out") > tokens as f64);
            if beyond {
                let failure =
                    Failure::new(Class::Budget, "the rest of `usd` does not pay for the longest answer");
                return Err(failure.cause(Cause::OwnLimit));
            }
            self.covered.raise(most).await?;
            *self.flight.most.lock().unwrap_or_else(PoisonError::into_inner) = self.covered.most();
            Ok(())
        })
    }
}

/// Whether `failure` is about a call that exceeds the agent's own limit.
pub(super) fn is_beyond_own(failure: &Failure) -> bool {
    failure.cause == Some(Cause::OwnLimit)
}
