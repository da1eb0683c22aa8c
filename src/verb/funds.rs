use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Context, Failure};
use crate::meter::{Meter, Unit};

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
    unsettled: Meter,
    source: Arc<dyn Fn(Meter) -> Granting + Send + Sync>,
    settle: Arc<dyn Fn(Meter) + Send + Sync>,
}

impl Funds {
    /// `granted` is what the attempt began with; claims go to `source`, whose future resolves when they are granted or
    /// refused.
    pub fn new(granted: Meter, source: impl Fn(Meter) -> Granting + Send + Sync + 'static) -> Self {
        Self { granted, unsettled: Meter::new(), source: Arc::new(source), settle: Arc::new(|_| ()) }
    }

    /// The same, where earlier attempts had sent calls in vain for which `unsettled` was booked: `settle` is told what is
    /// to be booked in its place.
    #[must_use]
    pub fn unsettled(self, unsettled: Meter, settle: impl Fn(Meter) + Send + Sync + 'static) -> Self {
        Self { unsettled, settle: Arc::new(settle), ..self }
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
    /// What was booked for calls that earlier attempts had sent in vain.
    earlier: Meter,
}

impl Purse {
    /// The purse of an attempt.
    pub fn new(cx: &Context) -> Self {
        let (granted, earlier) = (cx.funds.granted.clone(), cx.funds.unsettled.clone());
        let state = State { granted, earlier, ..State::default() };
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
        let claim_of = || match most.shares() {
            [one] => short.plain().paid(one.to.clone(), one.role.clone()),
            _ => short.clone(),
        };
        if !short.is_empty()
            && let Err(refusal) = self.funds.reserve(claim_of()).await
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

    /// What was sent and may have cost up to `most` has ended after all, and cost `spent`.
    pub fn end_sent(&self, most: &Meter, spent: &Meter) {
        self.end(most, true, spent);
    }

    fn end(&self, most: &Meter, sent: bool, spent: &Meter) {
        let mut state = self.state();
        state.open.remove_shares(most);
        if sent {
            state.sent.remove_shares(most);
            state.lost -= 1.0;
        }
        state.spent.absorb_shares(spent);
    }

    /// What was sent and not answered, now that the attempt ends: it counts with all that it may have cost, and in `lost`.
    /// What still waited to be sent costs nothing.
    pub fn unsettled(&self) -> Meter {
        let state = self.state();
        if state.lost > 0.0 { state.sent.clone().with(Unit::Lost, state.lost) } else { Meter::new() }
    }

    /// What is set aside for calls that are not sent yet.
    pub fn waiting(&self) -> Meter {
        let state = self.state();
        state.sent.shortfall(&state.open)
    }

    /// Gives back what is set aside beyond what was spent and what calls in progress may cost. It is free once a cursor
    /// with it as `free` is on disk.
    pub fn free(&self) -> Meter {
        let mut state = self.state();
        let mut used = state.spent.plain();
        used.absorb(&state.open);
        let free = used.shortfall(&state.granted);
        state.granted.remove(&free);
        free
    }

    /// A call was answered that earlier attempts with the same input had sent in vain, and cost `each`. They count with
    /// that now, as estimates, if the same model was asked.
    pub fn repeated(&self, each: &Meter) {
        if each.is_empty() {
            return;
        }
        let earlier = std::mem::take(&mut self.state().earlier);
        let ([asked], [answered]) = (earlier.shares(), each.shares()) else { return };
        let calls = earlier.get(Unit::Calls);
        if asked.to != answered.to || calls < 1.0 {
            return;
        }
        let instead = each.times(calls).paid(asked.to.clone(), asked.role.clone());
        (self.funds.settle)(instead.with(Unit::Estimated, calls));
    }
}

/// What is not granted yet; dropped, it is as if it had never been asked for.
struct Claim<'a> {
    purse: &'a Purse,
    most: Option<Meter>,
}

impl<'a> Claim<'a> {
    fn granted(mut self) -> Covered<'a> {
        let most = Mutex::new(self.most.take().unwrap_or_default());
        Covered { purse: self.purse, most, sent: AtomicBool::new(false) }
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
    most: Mutex<Meter>,
    sent: AtomicBool,
}

impl Covered<'_> {
    /// It is sent now: from here on it may cost something.
    pub fn sent(&self) {
        if !self.sent.swap(true, Ordering::Relaxed) {
            let mut state = self.purse.state();
            state.sent.absorb_shares(&self.most());
            state.lost += 1.0;
        }
    }

    /// The most that it may cost.
    pub fn most(&self) -> Meter {
        self.most.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether something that may cost up to `most` can be paid with it.
    pub fn covers(&self, most: &Meter) -> bool {
        self.most().shortfall(most).is_empty()
    }

    /// It was not sent after all, or refused: as it is, it costs nothing.
    pub fn recall(&self) {
        if self.sent.swap(false, Ordering::Relaxed) {
            let mut state = self.purse.state();
            state.sent.remove_shares(&self.most());
            state.lost -= 1.0;
        }
    }

    /// It was sent, refused, and is to be sent again as something that may cost up to `most`: makes sure that this can be
    /// paid. Until it is sent again it costs nothing.
    ///
    /// Errors: `budget`; then it is not to be sent.
    pub async fn raise(&self, most: &Meter) -> Result<(), Failure> {
        self.recall();
        let before = self.most();
        let mut more = before.shortfall(most);
        if let [share] = before.shares() {
            more = more.paid(share.to.clone(), share.role.clone());
        }
        self.purse.cover(&more).await?.merge_into(self);
        Ok(())
    }

    /// Makes `other` pay for what this pays for.
    fn merge_into(self, other: &Self) {
        other.most.lock().unwrap_or_else(PoisonError::into_inner).absorb_shares(&self.most());
    }

    /// It has ended and cost `spent`.
    pub fn settle(self, spent: &Meter) {
        self.purse.end(&self.most(), self.sent.load(Ordering::Relaxed), spent);
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
        assert!(purse.unsettled().is_empty(), "it waits for its turn");
        let sent = purse.cover(&most).await.unwrap();
        sent.sent();
        assert_eq!(purse.unsettled(), Meter::new().with("usd", 5.0).with("lost", 1.0));
        assert_eq!(purse.waiting(), most);
        sent.settle(&Meter::new().with("usd", 1.0));
        assert!(purse.unsettled().is_empty());
        assert_eq!(purse.spent().get("usd").to_bits(), 1.0_f64.to_bits());
        waiting.sent();
        drop(waiting);
        assert_eq!((purse.unsettled().get("usd"), purse.unsettled().get("lost")), (5.0, 1.0));
    }

    #[tokio::test]
    async fn what_is_left_over_is_free_and_asked_for_again() {
        let claims = Arc::new(Mutex::new(Vec::new()));
        let mut cx = Context::for_test(".".into(), Arc::new(ManualClock::default()));
        let heard = claims.clone();
        cx.funds = Funds::new(Meter::new(), move |more| {
            heard.lock().unwrap().push(more);
            Box::pin(async { Ok(()) })
        });
        let purse = Purse::new(&cx);
        let usd = |usd: f64| Meter::new().with("usd", usd);
        purse.cover(&usd(5.0)).await.unwrap().settle(&usd(1.0));
        assert_eq!(purse.free(), usd(4.0));
        assert!(purse.free().is_empty());
        let other = purse.cover(&usd(3.0)).await.unwrap();
        assert!(purse.free().is_empty(), "it is set aside for a call");
        other.settle(&Meter::new());
        assert_eq!(*claims.lock().unwrap(), [usd(5.0), usd(3.0)]);
    }

    #[tokio::test]
    async fn what_is_sent_again_at_a_higher_price_is_paid_before() {
        let cap = 8.0;
        let mut cx = Context::for_test(".".into(), Arc::new(ManualClock::default()));
        let claimed = Arc::new(Mutex::new(0.0));
        cx.funds = Funds::new(Meter::new(), move |more| {
            let mut claimed = claimed.lock().unwrap();
            let fits = *claimed + more.get("usd") <= cap;
            *claimed += if fits { more.get("usd") } else { 0.0 };
            Box::pin(async move {
                if fits { Ok(()) } else { Err(Failure::new(crate::verb::Class::Budget, "too much")) }
            })
        });
        let purse = Purse::new(&cx);
        let usd = |usd: f64| Meter::new().with("usd", usd);
        let call = purse.cover(&usd(2.0).paid("acme/big", "judge")).await.unwrap();
        call.sent();
        assert!(call.covers(&usd(2.0)) && !call.covers(&usd(3.0)));
        call.raise(&usd(7.0)).await.unwrap();
        assert!(purse.unsettled().is_empty(), "it is not sent again yet");
        call.sent();
        assert_eq!(purse.unsettled().get("usd").to_bits(), 7.0_f64.to_bits());
        assert_eq!(&*purse.unsettled().shares()[0].to, "acme/big");
        assert_eq!(call.raise(&usd(9.0)).await.unwrap_err().class, crate::verb::Class::Budget);
        assert!(call.covers(&usd(7.0)) && !call.covers(&usd(9.0)));
        call.settle(&usd(1.0));
        assert!(purse.unsettled().is_empty() && purse.waiting().is_empty());
        assert_eq!(purse.spent().get("usd").to_bits(), 1.0_f64.to_bits());
    }

    #[tokio::test]
    async fn calls_sent_in_vain_count_with_what_the_same_call_cost() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let call = |usd: f64| Meter::new().with("calls", 1.0).with("usd", usd);
        let booked = call(5.0).times(2.0).paid("acme/big", "judge").with("lost", 2.0);
        let purse = |earlier: &Meter| {
            let mut cx = Context::for_test(".".into(), Arc::new(ManualClock::default()));
            let heard = told.clone();
            cx.funds = Funds::endless()
                .unsettled(earlier.clone(), move |instead| heard.lock().unwrap().push(instead));
            Purse::new(&cx)
        };
        purse(&booked).repeated(&call(1.0).paid("acme/small", "judge"));
        purse(&Meter::new()).repeated(&call(1.0).paid("acme/big", "judge"));
        assert!(
            told.lock().unwrap().is_empty(),
            "another model's price says nothing, and nothing is to be settled"
        );
        let same = purse(&booked);
        same.repeated(&call(1.0).paid("acme/big", "judge"));
        same.repeated(&call(2.0).paid("acme/big", "judge"));
        let instead = call(1.0).times(2.0).paid("acme/big", "judge").with("estimated", 2.0);
        assert_eq!(*told.lock().unwrap(), [instead], "once");
    }
}
