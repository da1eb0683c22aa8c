//! Time as a parameter: no module below the command line reads the system clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// A moment in UTC: `2026-11-21T04:26:13.001Z`.
pub fn rfc3339(at: Millis) -> String {
    i64::try_from(at)
        .ok()
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
        .map_or_else(|| at.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// A sleep that ends when the clock has advanced.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Source of the current time and of sleeps.
pub trait Clock: Send + Sync {
    /// Current time.
    fn now(&self) -> Millis;
    /// Resolves once `span` has passed.
    fn sleep(&self, span: Duration) -> Sleep;
}

/// A clock for tests, which only advances explicitly.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Default)]
struct Hands {
    now: Millis,
    next: u64,
    waiting: BTreeMap<(Millis, u64), Option<Waker>>,
}

impl ManualClock {
    /// A clock at the time `now`.
    pub fn at(now: Millis) -> Self {
        Self(Arc::new(Mutex::new(Hands { now, ..Hands::default() })))
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Advances by `span` and wakes the sleeps that have ended.
    pub fn advance(&self, span: Duration) {
        let to = self.hands().now + millis(span);
        self.advance_to(to);
    }

    /// Advances to the end of the next sleep; `false` if there is none.
    pub fn advance_to_next(&self) -> bool {
        let next = self.hands().waiting.keys().next().map(|(at, _)| *at);
        next.map(|at| self.advance_to(at)).is_some()
    }

    fn advance_to(&self, to: Millis) {
        let mut hands = self.hands();
        hands.now = hands.now.max(to);
        let later = hands.waiting.split_off(&(to + 1, 0));
        let due = std::mem::replace(&mut hands.waiting, later);
        drop(hands);
        due.into_values().flatten().for_each(Waker::wake);
    }
}

/// A duration in whole milliseconds, saturating.
pub fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX)
}

struct ManualPause {
    clock: ManualClock,
    key: (Millis, u64),
}

impl Future for ManualPause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.clock.hands();
        if hands.now >= self.key.0 {
            hands.waiting.remove(&self.key);
            return Poll::Ready(());
        }
        hands.waiting.insert(self.key, Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for ManualPause {
    fn drop(&mut self) {
        self.clock.hands().waiting.remove(&self.key);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        self.hands().now
    }

    fn sleep(&self, span: Duration) -> Sleep {
        let mut hands = self.hands();
        hands.next += 1;
        let key = (hands.now + millis(span), hands.next);
        hands.waiting.insert(key, None);
        drop(hands);
        Box::pin(ManualPause { clock: self.clone(), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_exactly_those_who_are_due() {
        let clock = ManualClock::at(1_000);
        let soon = clock.sleep(Duration::from_millis(5));
        let late = clock.sleep(Duration::from_secs(5));
        assert!(clock.advance_to_next());
        soon.await;
        assert_eq!(clock.now(), 1_005);
        clock.advance(Duration::from_secs(5));
        late.await;
        assert!(!clock.advance_to_next());
    }
}
