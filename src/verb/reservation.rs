use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Context, Failure};
use crate::meter::{Meter, Unit};

type GrantFuture = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// The bounds for the cost of an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CostBound {
    /// Maximum before it asks [`BudgetSource`] for more: reserved when it starts.
    pub first: Meter,
    /// Maximum in total.
    pub most: Meter,
}

/// A verb asks here before it spends more than its [`bound`](super::Verb::bound). Cheap to clone.
#[derive(Clone)]
pub struct BudgetSource {
    granted: Meter,
    unsettled: Meter,
    source: Arc<dyn Fn(Meter) -> GrantFuture + Send + Sync>,
    settle: Arc<dyn Fn(Meter) + Send + Sync>,
}

impl BudgetSource {
    /// `granted` is the initial reservation; claims go to `source`, whose future resolves when they are
    /// granted or refused.
    pub fn new(granted: Meter, source: impl Fn(Meter) -> GrantFuture + Send + Sync + 'static) -> Self {
        Self { granted, unsettled: Meter::new(), source: Arc::new(source), settle: Arc::new(|_| ()) }
    }

    /// The same, if earlier attempts sent calls without an answer, for which `unsettled` was recorded:
    /// `settle` receives the correction.
    #[must_use]
    pub fn unsettled(self, unsettled: Meter, settle: impl Fn(Meter) + Send + Sync + 'static) -> Self {
        Self { unsettled, settle: Arc::new(settle), ..self }
    }

    /// No limits.
    pub fn endless() -> Self {
        Self::new(Meter::new(), |_| Box::pin(async { Ok(()) }))
    }

    /// Reserves `more` for this attempt, in addition. Waits if other attempts may release something; the
    /// failure has the class `budget`.
    pub async fn reserve(&self, more: Meter) -> Result<(), Failure> {
        (self.source)(more).await
    }
}

/// The accounting of one attempt: its reservations, the possible cost of calls in progress, its spending.
pub struct AttemptBudget {
    funds: BudgetSource,
    state: Mutex<BudgetState>,
}

#[derive(Default)]
struct BudgetState {
    granted: Meter,
    /// Reserved amounts that are not settled.
    open: Meter,
    /// The part that was sent: it may have been spent, however the call ends.
    sent: Meter,
    spent: Meter,
    lost: f64,
    /// The recorded cost of calls that earlier attempts sent without an answer.
    earlier: Meter,
}

impl AttemptBudget {
    /// The accounting of a new attempt.
    pub fn new(cx: &Context) -> Self {
        let (granted, earlier) = (cx.budget.granted.clone(), cx.budget.unsettled.clone());
        let state = BudgetState { granted, earlier, ..BudgetState::default() };
        Self { funds: cx.budget.clone(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves the cost of a call of up to `most`, in addition to everything else of this attempt.
    ///
    /// Errors with `budget`; the call must not be made then.
    pub async fn cover(&self, most: &Meter) -> Result<Reservation<'_>, Failure> {
        let claim = PendingReservation { purse: self, most: Some(most.clone()) };
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

    /// The amount spent so far.
    pub fn spent(&self) -> Meter {
        self.state().spent.clone()
    }

    /// Settles a sent call of up to `most` that has ended after all, and cost `spent`.
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

    /// The cost of calls that were sent without an answer, at the end of the attempt: their maximum cost, and
    /// their number in `lost`. Calls that were not sent yet cost nothing.
    pub fn unsettled(&self) -> Meter {
        let state = self.state();
        if state.lost > 0.0 { state.sent.clone().with(Unit::Lost, state.lost) } else { Meter::new() }
    }

    /// The reservations of calls that are not sent yet.
    pub fn waiting(&self) -> Meter {
        let state = self.state();
        state.sent.shortfall(&state.open)
    }

    /// Releases reservations beyond the spending and the calls in progress. They are released once a cursor
    /// with this amount as `free` is on disk.
    pub fn free(&self) -> Meter {
        let mut state = self.state();
        let mut used = state.spent.plain();
        used.absorb(&state.open);
        let free = used.shortfall(&state.granted);
        state.granted.remove(&free);
        free
    }

    /// Settles calls that earlier attempts with the same input sent without an answer, now that one was
    /// answered and cost `each`. They count with that amount, as estimates, if the model is the same.
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

/// A claim that is not granted yet; dropping it cancels it.
struct PendingReservation<'a> {
    purse: &'a AttemptBudget,
    most: Option<Meter>,
}

impl<'a> PendingReservation<'a> {
    fn granted(mut self) -> Reservation<'a> {
        let most = Mutex::new(self.most.take().unwrap_or_default());
        Reservation { purse: self.purse, most, sent: AtomicBool::new(false) }
    }
}

impl Drop for PendingReservation<'_> {
    fn drop(&mut self) {
        if let Some(most) = &self.most {
            self.purse.state().open.remove_shares(most);
        }
    }
}

/// A reserved call. If it is dropped after it was sent, without being settled, it counts as lost: its cost is
/// unknown.
#[must_use]
pub struct Reservation<'a> {
    purse: &'a AttemptBudget,
    most: Mutex<Meter>,
    sent: AtomicBool,
}

impl Reservation<'_> {
    /// Marks the call as sent: from now on it may cost something.
    pub fn sent(&self) {
        if !self.sent.swap(true, Ordering::Relaxed) {
            let mut state = self.purse.state();
            state.sent.absorb_shares(&self.most());
            state.lost += 1.0;
        }
    }

    /// Its maximum cost.
    pub fn most(&self) -> Meter {
        self.most.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the reservation covers a call of up to `most`.
    pub fn covers(&self, most: &Meter) -> bool {
        self.most().shortfall(most).is_empty()
    }

    /// Marks the call as not sent, or refused: it costs nothing.
    pub fn recall(&self) {
        if self.sent.swap(false, Ordering::Relaxed) {
            let mut state = self.purse.state();
            state.sent.remove_shares(&self.most());
            state.lost -= 1.0;
        }
    }

    /// For a call that was refused and is to be sent again as one of up to `most`: reserves the difference.
    /// Until it is sent again it costs nothing.
    ///
    /// Errors with `budget`; the call must not be sent then.
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

    /// Moves the cost of `other` to this reservation.
    fn merge_into(self, other: &Self) {
        other.most.lock().unwrap_or_else(PoisonError::into_inner).absorb_shares(&self.most());
    }

    /// Settles the call, which cost `spent`.
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
        let purse = AttemptBudget::new(&cx);
        let most = Meter::new().with("usd", 5.0);
        let waiting = purse.cover(&most).await.unwrap();
        assert!(purse.unsettled().is_empty(), "it is queued");
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
        cx.budget = BudgetSource::new(Meter::new(), move |more| {
            heard.lock().unwrap().push(more);
            Box::pin(async { Ok(()) })
        });
        let purse = AttemptBudget::new(&cx);
        let usd = |usd: f64| Meter::new().with("usd", usd);
        purse.cover(&usd(5.0)).await.unwrap().settle(&usd(1.0));
        assert_eq!(purse.free(), usd(4.0));
        assert!(purse.free().is_empty());
        let other = purse.cover(&usd(3.0)).await.unwrap();
        assert!(purse.free().is_empty(), "it is reserved for a call");
        other.settle(&Meter::new());
        assert_eq!(*claims.lock().unwrap(), [usd(5.0), usd(3.0)]);
    }

    #[tokio::test]
    async fn what_is_sent_again_at_a_higher_price_is_paid_before() {
        let cap = 8.0;
        let mut cx = Context::for_test(".".into(), Arc::new(ManualClock::default()));
        let claimed = Arc::new(Mutex::new(0.0));
        cx.budget = BudgetSource::new(Meter::new(), move |more| {
            let mut claimed = claimed.lock().unwrap();
            let fits = *claimed + more.get("usd") <= cap;
            *claimed += if fits { more.get("usd") } else { 0.0 };
            Box::pin(async move {
                if fits { Ok(()) } else { Err(Failure::new(crate::verb::Class::Budget, "too much")) }
            })
        });
        let purse = AttemptBudget::new(&cx);
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
            cx.budget = BudgetSource::endless()
                .unsettled(earlier.clone(), move |instead| heard.lock().unwrap().push(instead));
            AttemptBudget::new(&cx)
        };
        purse(&booked).repeated(&call(1.0).paid("acme/small", "judge"));
        purse(&Meter::new()).repeated(&call(1.0).paid("acme/big", "judge"));
        assert!(
            told.lock().unwrap().is_empty(),
            "another model's price is irrelevant, and nothing is to be settled"
        );
        let same = purse(&booked);
        same.repeated(&call(1.0).paid("acme/big", "judge"));
        same.repeated(&call(2.0).paid("acme/big", "judge"));
        let instead = call(1.0).times(2.0).paid("acme/big", "judge").with("estimated", 2.0);
        assert_eq!(*told.lock().unwrap(), [instead], "once");
    }
}
