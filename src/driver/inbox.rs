use tokio::sync::{mpsc, oneshot};

use crate::engine::Report;
use crate::id::Address;
use crate::verb::{CursorSink, Failure, Lease};

/// What comes in from attempts.
pub(super) enum Message {
    /// An order has been carried out.
    Report(Report),
    /// A resource has been acquired.
    Leased { address: Address, attempt: u32, lease: Box<dyn Lease> },
    /// A cursor is to be on disk before `saved` is answered.
    Cursor { report: Report, saved: oneshot::Sender<()> },
}

pub(super) type Inbox = mpsc::UnboundedReceiver<Message>;
pub(super) type Outbox = mpsc::UnboundedSender<Message>;

/// The cursor sink of one attempt.
pub(super) fn cursors(outbox: &Outbox, address: &Address, attempt: u32) -> CursorSink {
    let (outbox, address) = (outbox.clone(), address.clone());
    CursorSink::new(move |cursor| {
        let (saved, on_disk) = oneshot::channel();
        let report = Report::Cursor { address: address.clone(), attempt, cursor };
        let sent = outbox.send(Message::Cursor { report, saved });
        Box::pin(async move {
            match (sent, on_disk.await) {
                (Ok(()), Ok(())) => Ok(()),
                _ => Err(Failure::cancelled()),
            }
        })
    })
}
