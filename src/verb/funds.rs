use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Context, Failure};
use crate::meter::Meter;

type Granting = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What an attempt may cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bound {
    /// The most before it asks [`Funds`] for more: set aside when it begins.
    pub first: Meter,
    /// The most in all.
    pub most: Meter,
}

/// Where a verb asks before it spends more than its [`bound`](super::Verb::bound). Cheap to clone.
#[derive(Clone)]
pub struct Funds {
    granted: Meter,
    source: Arc<dyn Fn(Meter) -> Granting + Send + Sync>,
}

impl Funds {
    /// `granted` is what the attempt began with; claims go to `source`, whose future resolves when they are granted or
    /// refused.
    pub fn new(granted: Meter, source: impl Fn(Meter) -> Granting + Send + Sync + 'static) -> Self {
        Self { granted, source: Arc::new(source) }
    }

    /// Nothing is ever refused.
    pub fn endless() -> Self {
        Self::new(Meter::new(), |_| Box::pin(async { Ok(()) }))
    }

    /// Sets `more` aside for this attempt, on top of what it has. Waits where other attempts may leave something over;
    /// the failure is of class `budget`.
    pub async fn reserve(&self, more: Meter) -> Result<(), Failure> {
        (self.source)(more).await
    }
}

/// The dealings of one attempt: what it has set aside, what calls under way may cost, what it has spent.
pub struct Purse {
    funds: Funds,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    granted: Meter,
    /// What may be spent: all that was asked for and is not settled.
    open: Meter,
    /// The part of it that has been sent: whatever ends it, it may have been spent.
    sent: Meter,
    spent: Meter,
    lost: f64,
}

impl Purse {
    /// The purse of an attempt.
    pub fn new(cx: &Context) -> Self {
        let state = State { granted: cx.funds.granted.clone(), ..State::default() };
        Self { funds: cx.funds.clone(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that something that may cost up to `most` can be paid, beside everything else of this attempt.
    ///
    /// Errors: `budget`; then nothing is to be begun.
    pub async fn cover(&self, most: &Meter) -> Result<Covered<'_>, Failure> {
        let claim = Claim { purse: self, most: Some(most.clone()) };
        let short = {
            let mut state = self.state();
            state.open.absorb_shares(most);
            let mut all = state.spent.plain();
            all.absorb(&state.open);
            let short = state.granted.shortfall(&all);
            state.granted.absorb(&short);
            short
        };
        if !short.is_empty()
            && let Err(refusal) = self.funds.reserve(short.clone()).await
        {
            self.state().granted.remove(&short);
            return Err(refusal);
        }
        Ok(claim.granted())
    }

    /// What was spent so far.
    pub fn spent(&self) -> Meter {
        self.state().spent.clone()
    }

    /// What the attempt comes to, now that it ends: what was sent and not answered counts with all that it may have cost, and
    /// in `lost`. What still waited to be sent costs nothing.
    pub fn close(&self) -> Meter {
        let state = self.state();
        let mut all = state.spent.clone();
        if state.lost > 0.0 {
            all.absorb_shares(&state.sent);
            all.add("lost", state.lost);
        }
        all
    }
}

/// What is not granted yet; dropped, it is as if it had never been asked for.
struct Claim<'a> {
    purse: &'a Purse,
    most: Option<Meter>,
}

impl<'a> Claim<'a> {
    fn granted(mut self) -> Covered<'a> {
        Covered {
            purse: self.purse,
            most: self.most.take().unwrap_or_default(),
            sent: AtomicBool::new(false),
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(most) = &self.most {
            self.purse.state().open.remove_shares(most);
        }
    }
}

/// Something that can be paid. Dropped without being settled it counts as lost, if it was sent: its cost is unknown then.
#[must_use]
pub struct Covered<'a> {
    purse: &'a Purse,
    most: Meter,
    sent: AtomicBool,
}

impl Covered<'_> {
    /// It is sent now: from here on it may cost something.
    pub fn sent(&self) {
        if !self.sent.swap(true, Ordering::Relaxed) {
            let mut state = self.purse.state();
            state.sent.absorb_shares(&self.most);
            state.lost += 1.0;
        }
    }

    /// It has ended and cost `spent`.
    pub fn settle(self, spent: &Meter) {
        let mut state = self.purse.state();
        state.open.remove_shares(&self.most);
        if self.sent.load(Ordering::Relaxed) {
            state.sent.remove_shares(&self.most);
            state.lost -= 1.0;
        }
        state.spent.absorb_shares(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn only_what_was_sent_can_be_lost() {
        let cx = Context::for_test(".".into(), Arc::new(ManualClock::default()));
        let purse = Purse::new(&cx);
        let most = Meter::new().with("usd", 5.0);
        let waiting = purse.cover(&most).await.unwrap();
        assert!(purse.close().is_empty(), "it waits for its turn");
        let sent = purse.cover(&most).await.unwrap();
        sent.sent();
        assert_eq!(purse.close(), Meter::new().with("usd", 5.0).with("lost", 1.0));
        sent.settle(&Meter::new().with("usd", 1.0));
        assert_eq!(purse.close().get("usd").to_bits(), 1.0_f64.to_bits());
        waiting.sent();
        drop(waiting);
        assert_eq!((purse.close().get("usd"), purse.close().get("lost")), (6.0, 1.0));
    }
}
