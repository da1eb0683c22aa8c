//! Limits the concurrent calls to a provider: fewer after a rate limit, none for a while if it is down,
//! then gradually more. All steps of a run share it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Millis};
use crate::verb::{Class, Failure};

/// Consecutive failures after which a provider counts as down.
const DOWN: u32 = 5;
/// First pause for a provider that is down, in milliseconds; doubled with every failed call.
const FIRST_REST: Millis = 5_000;
const LONGEST_REST: Millis = 300_000;
/// Longest wait of a call, in milliseconds; longer waits fail with the time of the next attempt.
const PATIENCE: Millis = 60_000;

/// First pause after a rate limit without a time, in milliseconds; doubled each time.
const FIRST_PAUSE: Millis = 1_000;
/// Time and number of consecutive rate limits after which a provider counts as down.
const BUSY_FOR: Millis = 300_000;
const BUSY: u32 = 8;

/// Rate limiter and circuit breaker of one provider.
pub(super) struct RateLimiter {
    provider: String,
    most: f64,
    state: Mutex<LimiterState>,
    left: Notify,
}

#[derive(Default)]
struct LimiterState {
    /// Most concurrent calls: grows by one after this number of answers, and is halved by a rate limit.
    limit: f64,
    under_way: usize,
    /// Time before which no call starts.
    shut_until: Millis,
    /// Consecutive calls that found it down.
    failures: u32,
    /// Message of the last failure.
    cause: String,
    /// Consecutive rate limits, and the time of the first.
    busy: u32,
    busy_since: Millis,
    /// Number of pauses. Results of calls from before the last pause are already known.
    epoch: u64,
}

/// What a call shows about its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallResult {
    /// It answered.
    Well,
    /// Rate limit, with the time to wait in milliseconds if known.
    Busy(Option<Millis>),
    /// It is down; `overloaded` if it says so.
    Down { overloaded: bool },
    /// It is up, and the request was at fault.
    There,
}

/// Advice for a call after its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LimiterAdvice {
    /// Time to wait after a rate limit, in milliseconds.
    pub(super) pause: Option<Millis>,
    /// Whether the provider counts as down because of rate limits.
    pub(super) outage: bool,
}

/// Permission for a call.
pub(super) struct CallPermit {
    gate: Arc<RateLimiter>,
    epoch: u64,
}

pub(super) enum LimiterWait {
    /// Until another call has ended.
    Turn,
    /// For this time in milliseconds.
    Shut { span: Millis, failures: u32, cause: String },
}

impl RateLimiter {
    /// A rate limiter for `provider` with at most `most` concurrent calls.
    pub(super) fn new(provider: &str, most: usize) -> Arc<Self> {
        let most = f64::from(u32::try_from(most).unwrap_or(u32::MAX));
        let state = LimiterState { limit: most, ..LimiterState::default() };
        Arc::new(Self { provider: provider.to_owned(), most, state: Mutex::new(state), left: Notify::new() })
    }

    /// Waits for the permission to call, and reports the reason. A call with an alternative model
    /// (`elsewhere`) does not wait for a provider that is down.
    pub(super) async fn enter(
        self: &Arc<Self>,
        clock: &dyn Clock,
        elsewhere: bool,
        say: &(dyn Fn(String) + Send + Sync),
    ) -> Result<CallPermit, Failure> {
        loop {
            // Registers before the check, so that a call that ends in between is not missed.
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            let (span, failures, cause) = match self.step_in(clock.now()) {
                Ok(pass) => return Ok(pass),
                Err(LimiterWait::Turn) => {
                    left.await;
                    continue;
                }
                Err(LimiterWait::Shut { span, failures, cause }) => (span, failures, cause),
            };
            let down = failures >= DOWN;
            if span > PATIENCE || (down && elsewhere) {
                return Err(self.shut(span, failures, &cause));
            }
            say(format!("{}: waiting {}", self.why(failures, &cause), seconds(span)));
            clock.sleep(Duration::from_millis(span)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The permission to call, if it is available without waiting.
    pub(super) fn step_in(self: &Arc<Self>, now: Millis) -> Result<CallPermit, LimiterWait> {
        let mut state = self.state();
        if state.shut_until > now {
            let (span, cause) = (state.shut_until - now, state.cause.clone());
            return Err(LimiterWait::Shut { span, failures: state.failures, cause });
        }
        if state.under_way >= whole(state.limit) {
            return Err(LimiterWait::Turn);
        }
        state.under_way += 1;
        Ok(CallPermit { gate: self.clone(), epoch: state.epoch })
    }

    fn why(&self, failures: u32, cause: &str) -> String {
        let name = &self.provider;
        match (failures >= DOWN, cause) {
            (true, cause) => format!("{name} failed {failures} times in a row, the last time with `{cause}`"),
            (false, "") => format!("{name} sent a rate limit"),
            (false, cause) => format!("{name} sent a rate limit (`{cause}`)"),
        }
    }

    fn shut(&self, span: Millis, failures: u32, cause: &str) -> Failure {
        let class = if failures >= DOWN { Class::Transient } else { Class::RateLimited };
        let message = format!("{}; the next attempt is in {}", self.why(failures, cause), seconds(span));
        let failure = Failure::new(class, message).retry_after(Duration::from_millis(span));
        if failures >= DOWN { failure.outage() } else { failure }
    }
}

impl CallPermit {
    /// Reports the result of the call at the time `now`, with the message of the provider if it failed.
    pub(super) fn tell(&self, finding: CallResult, cause: &str, now: Millis) -> LimiterAdvice {
        let mut state = self.gate.state();
        let before = whole(state.limit);
        let news = self.epoch == state.epoch;
        let mut told = LimiterAdvice::default();
        if !matches!(finding, CallResult::Busy(_)) {
            state.busy = 0;
        }
        match finding {
            CallResult::Well => {
                if state.failures >= DOWN {
                    state.shut_until = now;
                }
                state.failures = 0;
                state.limit = (state.limit + 1.0 / state.limit).min(self.gate.most);
            }
            CallResult::There => state.failures = 0,
            CallResult::Busy(span) => {
                state.failures = 0;
                cause.clone_into(&mut state.cause);
                if news {
                    state.halve();
                    state.busy += 1;
                    if state.busy == 1 {
                        state.busy_since = now;
                    }
                }
                let pause = state.pause(span);
                state.shut_until = state.shut_until.max(now.saturating_add(pause));
                let outage = state.busy >= BUSY && now.saturating_sub(state.busy_since) >= BUSY_FOR;
                told = LimiterAdvice { pause: Some(pause), outage };
            }
            CallResult::Down { overloaded } if news => {
                state.failures = state.failures.saturating_add(1);
                cause.clone_into(&mut state.cause);
                if state.failures >= DOWN {
                    let rest = FIRST_REST.saturating_mul(1 << (state.failures - DOWN).min(16));
                    state.shut_until = now.saturating_add(rest.min(LONGEST_REST));
                    // Single calls check whether it is up again.
                    state.limit = 1.0;
                    state.epoch += 1;
                } else if overloaded {
                    state.halve();
                }
            }
            CallResult::Down { .. } => {}
        }
        let more = whole(state.limit) > before;
        drop(state);
        if more {
            self.gate.left.notify_waiters();
        }
        told
    }
}

impl LimiterState {
    /// Time to wait after a rate limit: `span`, unless it is missing, zero, or was less than a second and
    /// did not help.
    fn pause(&self, span: Option<Millis>) -> Millis {
        let times = self.busy.max(1) - 1;
        match span {
            Some(span) if span >= FIRST_PAUSE || (span > 0 && times == 0) => span,
            _ => FIRST_PAUSE.saturating_mul(1 << times.min(16)).min(PATIENCE),
        }
    }

    fn halve(&mut self) {
        let running = f64::from(u32::try_from(self.under_way).unwrap_or(u32::MAX));
        self.limit = (self.limit.min(running) / 2.0).max(1.0);
        // The results of other calls in this burst are already known.
        self.epoch += 1;
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.gate.state().under_way -= 1;
        self.gate.left.notify_waiters();
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 2^32")]
fn whole(limit: f64) -> usize {
    limit as usize
}

fn seconds(span: Millis) -> String {
    format!("{} s", span.div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const BUSY: CallResult = CallResult::Busy(Some(7_000));
    const DEAD: CallResult = CallResult::Down { overloaded: false };

    fn in_flight(gate: &Arc<RateLimiter>, now: Millis) -> Vec<CallPermit> {
        std::iter::from_fn(|| gate.step_in(now).ok()).collect()
    }

    #[test]
    fn a_burst_that_is_turned_away_halves_the_number_of_calls_once() {
        let gate = RateLimiter::new("acme", 16);
        let burst = in_flight(&gate, 0);
        assert_eq!(burst.len(), 16);
        for pass in &burst {
            pass.tell(BUSY, "no", 1_000);
        }
        drop(burst);
        assert!(in_flight(&gate, 7_999).is_empty(), "no call before the requested time is over");
        assert_eq!(in_flight(&gate, 8_000).len(), 8);
    }

    #[test]
    fn calls_grow_again_up_to_what_there_were() {
        let gate = RateLimiter::new("acme", 4);
        let burst = in_flight(&gate, 0);
        burst[0].tell(CallResult::Busy(Some(1)), "no", 0);
        drop(burst);
        let mut most = Vec::new();
        for _ in 0..12 {
            let passes = in_flight(&gate, 1);
            most.push(passes.len());
            passes[0].tell(CallResult::Well, "no", 1);
        }
        assert_eq!(most[0], 2);
        assert!(most.is_sorted() && most.last() == Some(&4), "{most:?}");
    }

    #[test]
    fn a_provider_that_is_down_is_left_alone_longer_and_longer() {
        let gate = RateLimiter::new("acme", 64);
        let burst = in_flight(&gate, 0);
        for pass in &burst {
            pass.tell(DEAD, "no", 0);
        }
        drop(burst);
        assert!(in_flight(&gate, 4_999).is_empty());
        let probe = in_flight(&gate, 5_000);
        assert_eq!(probe.len(), 1, "one call checks whether it is up again");
        probe[0].tell(DEAD, "no", 5_000);
        drop(probe);
        assert!(in_flight(&gate, 14_999).is_empty(), "the pause is twice as long");
        let probe = in_flight(&gate, 15_000);
        probe[0].tell(CallResult::Well, "no", 15_000);
        drop(probe);
        assert_eq!(in_flight(&gate, 15_000).len(), 2);
    }

    #[test]
    fn a_provider_that_names_no_time_is_asked_less_and_less_often() {
        for (span, first) in [(None, 1_000), (Some(0), 1_000), (Some(1), 1)] {
            let gate = RateLimiter::new("acme", 4);
            let mut now = 0;
            let mut pauses = Vec::new();
            let outage = (0..20).find_map(|_| {
                let pass = gate.step_in(now).ok().unwrap();
                let told = pass.tell(CallResult::Busy(span), "slow down", now);
                pauses.push(told.pause.unwrap());
                now += told.pause.unwrap();
                told.outage.then_some(now)
            });
            let doubled = [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
            assert_eq!((pauses[0], &pauses[1..8]), (first, &doubled[..]), "{span:?}");
            assert!(outage.unwrap() < 600_000, "in the end it counts as down: {pauses:?}");
            gate.step_in(now).ok().unwrap().tell(CallResult::Well, "", now);
            let pause = gate.step_in(now).ok().unwrap().tell(CallResult::Busy(span), "no", now).pause;
            assert_eq!(pause, Some(first));
        }
        let gate = RateLimiter::new("acme", 4);
        for now in [0, 2_000, 4_000] {
            let told = gate.step_in(now).ok().unwrap().tell(CallResult::Busy(Some(2_000)), "no", now);
            assert_eq!(told.pause, Some(2_000), "a given time is respected");
        }
    }

    #[test]
    fn a_fault_of_the_request_says_that_the_provider_is_there() {
        let gate = RateLimiter::new("acme", 64);
        for finding in [DEAD, DEAD, DEAD, DEAD, CallResult::There, DEAD, DEAD, DEAD, DEAD] {
            let pass = gate.step_in(0).ok().unwrap();
            pass.tell(finding, "no", 0);
        }
        assert!(gate.step_in(0).is_ok());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_turn_gets_it_also_after_others_gave_up() {
        let gate = RateLimiter::new("acme", 1);
        let clock = ManualClock::at(0);
        let say = |_: String| {};
        let first = gate.enter(&clock, false, &say).await.unwrap();
        let mut impatient = Box::pin(gate.enter(&clock, false, &say));
        let mut patient = Box::pin(gate.enter(&clock, false, &say));
        let (a, b) = (futures_util::poll!(&mut impatient), futures_util::poll!(&mut patient));
        assert!(a.is_pending() && b.is_pending());
        drop(first);
        drop(impatient);
        assert!(patient.await.is_ok());
    }

    #[tokio::test]
    async fn all_who_wait_for_a_turn_hear_that_the_provider_is_down() {
        let gate = RateLimiter::new("acme", 1);
        let clock = ManualClock::at(0);
        let say = |_: String| {};
        let first = gate.enter(&clock, false, &say).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(gate.enter(&clock, false, &say))).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait).is_pending());
        }
        first.tell(CallResult::Busy(Some(61_000)), "no", 0);
        drop(first);
        for wait in waiting {
            assert_eq!(wait.await.err().map(|failure| failure.class), Some(Class::RateLimited));
        }
    }

    #[tokio::test]
    async fn long_waits_are_handed_back() {
        let gate = RateLimiter::new("acme", 1);
        let clock = ManualClock::at(0);
        gate.step_in(0).ok().unwrap().tell(CallResult::Busy(Some(61_000)), "no", 0);
        let failure = gate.enter(&clock, false, &|_| {}).await.err().unwrap();
        assert_eq!((failure.class, failure.retry_after_ms), (Class::RateLimited, Some(61_000)));
        assert_eq!(failure.message, "acme sent a rate limit (`no`); the next attempt is in 61 s");
    }
}
