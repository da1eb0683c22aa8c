use std::pin::Pin;
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
    open: Meter,
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

    /// What the attempt comes to, now that it ends: what was under way counts with all that it may have cost, and in
    /// `lost`.
    pub fn close(&self) -> Meter {
        let state = self.state();
        let mut all = state.spent.clone();
        if !state.open.is_empty() {
            all.absorb_shares(&state.open);
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
        self.purse.state().lost += 1.0;
        Covered { purse: self.purse, most: self.most.take().unwrap_or_default() }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(most) = &self.most {
            self.purse.state().open.remove_shares(most);
        }
    }
}

/// Something under way that can be paid. Dropped without being settled it counts as lost: nobody knows what it cost.
#[must_use]
pub struct Covered<'a> {
    purse: &'a Purse,
    most: Meter,
}

impl Covered<'_> {
    /// It has ended and cost `spent`.
    pub fn settle(self, spent: &Meter) {
        let mut state = self.purse.state();
        state.open.remove_shares(&self.most);
        state.lost -= 1.0;
        state.spent.absorb_shares(spent);
    }
}
