//! Calls that were sent and not answered: each is booked with all that it may have cost. Once an attempt with the same
//! input has the answer to the same call, what that one cost is booked instead, as an estimate.

use super::node::Node;
use super::{Fact, Mismatch, Record, Run};
use crate::clock::Millis;
use crate::id::Address;
use crate::meter::Meter;
use crate::value::Digest;

/// What was booked with an upper bound at a step instance.
#[derive(Debug)]
pub(super) struct Unsettled {
    /// The key of the attempts that it was booked for.
    key: Digest,
    booked: Meter,
    /// Where it is booked: the instance itself, or the `hold` around it that runs its body again.
    at: Address,
}

impl Run {
    /// What may still be settled by an attempt at `address` with that key.
    pub(super) fn unsettled(&self, address: &Address, key: Option<Digest>) -> Meter {
        let open = self.unsettled.get(address).filter(|open| Some(open.key) == key);
        open.map(|open| open.booked.clone()).unwrap_or_default()
    }

    /// Puts what an answer has cost in place of what was booked for calls that were sent in vain.
    pub(super) fn settle(
        &mut self,
        now: Millis,
        address: Address,
        attempt: u32,
        instead: &Meter,
    ) -> Result<(), Mismatch> {
        let Some(open) = self.unsettled.get(&address) else { return Ok(()) };
        let spent = instead.less(&open.booked);
        self.emit(now, address, attempt, Fact::Settled { spent })
    }

    /// Where what `record` says was spent is booked.
    pub(super) fn booked_at<'a>(&'a self, record: &'a Record) -> &'a Address {
        match (&record.fact, self.unsettled.get(&record.address)) {
            (Fact::Settled { .. }, Some(open)) => &open.at,
            _ => &record.address,
        }
    }

    /// Notes what `record` books with an upper bound, and forgets what is settled or cannot be settled any more. Comes
    /// before the record is applied to its step.
    pub(super) fn note_unsettled(&mut self, record: &Record) {
        let address = &record.address;
        match &record.fact {
            Fact::Interrupted { unsettled, .. } if !unsettled.is_empty() => self.add(address, unsettled),
            Fact::Faltered { failure, .. } if !failure.unsettled.is_empty() => {
                self.add(address, &failure.unsettled);
            }
            // Another input is another call.
            Fact::Started { key, .. }
                if self.unsettled.get(address).is_some_and(|open| Some(open.key) != *key) =>
            {
                self.unsettled.remove(address);
            }
            Fact::Settled { .. } => {
                self.unsettled.remove(address);
                // What is free again may pay for others.
                self.requeue_unpaid();
            }
            Fact::Succeeded { .. } | Fact::Failed { .. } => {
                self.unsettled.remove(address);
            }
            // A `hold` or `call` that begins anew: what its inside had sent is a matter of the step itself now.
            Fact::Lost | Fact::Faltered { .. } => {
                let inside = format!("{address}/");
                for open in self.unsettled.values_mut().filter(|open| open.at.as_str().starts_with(&inside)) {
                    open.at = address.clone();
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, address: &Address, more: &Meter) {
        let node = self.locate(address).map(|spot| &self.frame(spot.0).nodes[spot.1]);
        let Some(Node::Running(tries)) = node else { return };
        let Some(key) = tries.key else { return };
        let open = self.unsettled.entry(address.clone()).or_insert_with(|| Unsettled {
            key,
            booked: Meter::new(),
            at: address.clone(),
        });
        open.booked.absorb_shares(more);
    }
}
