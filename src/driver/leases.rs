use std::collections::HashMap;

use futures_util::future::join_all;

use super::inbox::{Message, Outbox};
use crate::engine::Report;
use crate::id::Address;
use crate::verb::Lease;

/// Resources that are held right now.
#[derive(Default)]
pub(super) struct Leases(HashMap<Address, Box<dyn Lease>>);

impl Leases {
    pub(super) fn hold(&mut self, address: Address, lease: Box<dyn Lease>) {
        self.0.insert(address, lease);
    }

    /// Lets go of what `address` holds, and reports what it became.
    pub(super) fn release(&mut self, address: Address, outbox: &Outbox) {
        let (lease, outbox) = (self.0.remove(&address), outbox.clone());
        tokio::spawn(async move {
            let held = match lease {
                Some(lease) => Some(lease.release().await),
                None => None,
            };
            // The loop may have ended meanwhile; then nobody needs to know.
            outbox.send(Message::Report(Report::Released { address, held })).ok();
        });
    }

    /// Lets go of everything.
    pub(super) async fn release_all(&mut self) {
        join_all(self.0.drain().map(|(_, lease)| lease.release())).await;
    }
}
