//! The deadline of a step.

use std::time::Duration;

use crate::clock::{Clock, Millis, Sleep, millis};

/// A clock on which no sleep is longer than the time that is left for a step, so that all waits of all step
/// types end in time, together as well as individually.
pub(super) struct BoundedClock<'a> {
    clock: &'a dyn Clock,
    end: Option<Millis>,
}

impl<'a> BoundedClock<'a> {
    /// `clock`, limited to `left`; unlimited if `None`.
    pub fn new(clock: &'a dyn Clock, left: Option<Duration>) -> Self {
        Self { clock, end: left.map(|left| clock.now().saturating_add(millis(left))) }
    }

    /// `span`, or the time that is left if that is shorter.
    pub fn within(&self, span: Duration) -> Duration {
        match self.end {
            Some(end) => span.min(Duration::from_millis(end.saturating_sub(self.now()))),
            None => span,
        }
    }
}

impl Clock for BoundedClock<'_> {
    fn now(&self) -> Millis {
        self.clock.now()
    }

    fn sleep(&self, span: Duration) -> Sleep {
        self.clock.sleep(self.within(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn no_pause_is_longer_than_what_is_left() {
        let clock = ManualClock::at(1_000);
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let bounded = BoundedClock::new(&clock, Some(2 * second));
        assert_eq!((bounded.within(second), bounded.within(minute)), (second, 2 * second));
        let _pause = bounded.sleep(minute);
        assert!(clock.advance_to_next());
        assert_eq!((bounded.now(), bounded.within(second)), (3_000, Duration::ZERO));
        assert_eq!(BoundedClock::new(&clock, None).within(minute), minute);
    }
}
