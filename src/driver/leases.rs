use std::collections::HashMap;

use futures_util::future::join_all;

use super::inbox::{Message, Outbox};
use crate::engine::Report;
use crate::id::Address;
use crate::verb::Lease;

/// The resources that are held now.
#[derive(Default)]
pub(super) struct Leases(HashMap<Address, Box<dyn Lease>>);

impl Leases {
    pub(super) fn hold(&mut self, address: Address, lease: Box<dyn Lease>) {
        self.0.insert(address, lease);
    }

    /// Releases the resource of `address`, and reports its final state.
    pub(super) fn release(&mut self, address: Address, outbox: &Outbox) {
        let (lease, outbox) = (self.0.remove(&address), outbox.clone());
        tokio::spawn(async move {
            let held = match lease {
                Some(lease) => Some(lease.release().await),
                None => None,
            };
            // If the loop has ended, the report is not needed.
            outbox.send(Message::Report(Report::Released { address, held })).ok();
        });
    }

    /// Releases all resources.
    pub(super) async fn release_all(&mut self) {
        join_all(self.0.drain().map(|(_, lease)| lease.release())).await;
    }
}
