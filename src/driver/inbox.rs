use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::engine::Report;
use crate::id::Address;
use crate::meter::Meter;
use crate::store::Signal;
use crate::verb::{BudgetSource, CursorSink, Failure, Lease};

/// Messages from attempts to the loop.
pub(super) enum Message {
    /// An order has been carried out.
    Report(Report),
    /// A resource has been acquired.
    Leased { address: Address, attempt: u32, lease: Box<dyn Lease> },
    /// A reservation is to be increased, or refused, before `told` is answered.
    Claim { report: Report, told: oneshot::Sender<Result<(), Failure>> },
    /// The result of a question to a person at this process.
    Answer(Report),
    /// A command from another process.
    Signal(Signal),
    /// A fact about an attempt that has not ended.
    Meanwhile(Report),
    /// A cursor is to be on disk before `saved` is answered.
    Cursor { report: Report, saved: oneshot::Sender<()> },
}

pub(super) type Inbox = mpsc::UnboundedReceiver<Message>;
pub(super) type Outbox = mpsc::UnboundedSender<Message>;

/// The cursor sink of one attempt.
pub(super) fn cursor_sink(outbox: &Outbox, address: &Address, attempt: u32) -> CursorSink {
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

/// Receives corrections of the costs of calls that earlier attempts sent without an answer.
pub(super) fn settlement_sink(
    outbox: &Outbox,
    address: &Address,
    attempt: u32,
) -> impl Fn(Meter) + Send + Sync + use<> {
    let (outbox, address) = (outbox.clone(), address.clone());
    move |instead| {
        let report = Report::Settled { address: address.clone(), attempt, instead };
        // If the loop has ended, this is not needed.
        outbox.send(Message::Meanwhile(report)).ok();
    }
}

/// The budget of one attempt; `granted` is its reservation so far.
pub(super) fn budget_source(
    outbox: &Outbox,
    address: &Address,
    attempt: u32,
    granted: &Arc<Mutex<Meter>>,
) -> BudgetSource {
    let (outbox, address) = (outbox.clone(), address.clone());
    let begun = granted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let granted = granted.clone();
    BudgetSource::new(begun, move |more| {
        let (told, answer) = oneshot::channel();
        let report = Report::Claim { address: address.clone(), attempt, more: more.clone() };
        let sent = outbox.send(Message::Claim { report, told });
        let granted = granted.clone();
        Box::pin(async move {
            let (Ok(()), Ok(answer)) = (sent, answer.await) else { return Err(Failure::cancelled()) };
            answer.inspect(|()| granted.lock().unwrap_or_else(PoisonError::into_inner).absorb_shares(&more))
        })
    })
}
