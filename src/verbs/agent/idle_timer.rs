//! Idle detection: whether there was activity recently.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Millis, millis};

/// The time of the last activity.
pub(super) struct IdleTimer {
    last_activity: AtomicU64,
    busy: AtomicBool,
}

impl IdleTimer {
    /// Activity now.
    pub(super) fn new(now: Millis) -> Self {
        Self { last_activity: AtomicU64::new(now), busy: AtomicBool::new(false) }
    }

    /// Activity at `now`.
    pub(super) fn activity(&self, now: Millis) {
        self.last_activity.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether the current operation has a time limit of its own: then there is no idle limit.
    pub(super) fn busy(&self, busy: bool, now: Millis) {
        self.busy.store(busy, Ordering::Relaxed);
        self.activity(now);
    }

    /// Resolves when there was no activity for `span`.
    pub(super) async fn stopped(&self, clock: &dyn Clock, span: Duration) {
        loop {
            let silence = clock.now().saturating_sub(self.last_activity.load(Ordering::Relaxed));
            let left = match millis(span).saturating_sub(silence) {
                _ if self.busy.load(Ordering::Relaxed) => millis(span),
                0 => return,
                left => left,
            };
            clock.sleep(Duration::from_millis(left)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn silence_counts_from_the_last_beat_and_not_while_busy() {
        let clock = ManualClock::at(1_000);
        let pulse = Arc::new(IdleTimer::new(clock.now()));
        let (watched, ticking) = (pulse.clone(), clock.clone());
        let mut stopped =
            tokio::spawn(async move { watched.stopped(&ticking, Duration::from_secs(5)).await });
        for _ in 0..3 {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(4));
            pulse.activity(clock.now());
        }
        pulse.busy(true, clock.now());
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(60));
        tokio::task::yield_now().await;
        assert!((&mut stopped).now_or_never().is_none());
        pulse.busy(false, clock.now());
        while (&mut stopped).now_or_never().is_none() {
            tokio::task::yield_now().await;
            clock.advance_to_next();
        }
        assert_eq!(clock.now(), 1_000 + 12_000 + 60_000 + 5_000);
    }
}
