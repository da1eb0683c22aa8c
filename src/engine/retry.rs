//! Whether and when a failed attempt is made again.

use std::time::Duration;

use super::Pause;
use super::node::Tries;
use crate::clock::{Millis, millis};
use crate::plan::Retry;
use crate::value::Digest;
use crate::verb::{Class, Failure};

/// Rate-limited attempts charge nothing, but do not go on for ever.
const MOST_FREE: u32 = 200;

/// A step waits no longer than this for the other side to come back, in milliseconds, nor longer than one of its attempts
/// may take: what would take longer is an outage.
const PATIENCE: Millis = 60_000;

/// What becomes of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is made again, not before `at`.
    Again { at: Millis, charged: bool },
    /// The step fails.
    Fail,
    /// The run pauses, and the attempt is made again when it goes on.
    Pause(Pause),
}

/// What a step says of outages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    /// Whether it waits for their end; otherwise it fails.
    pub(super) pauses: bool,
    /// How long one of its attempts may take.
    pub(super) timeout: Option<Duration>,
}

/// Decides on `failure` after `tries`; `seed` and `address` fix the jitter.
pub(super) fn decide(
    policy: &Retry,
    outage: Outage,
    tries: &Tries,
    failure: &Failure,
    now: Millis,
    jitter: (u64, &str),
) -> Verdict {
    let asked = failure.retry_after_ms;
    let patience = outage.timeout.map_or(PATIENCE, |timeout| PATIENCE.min(millis(timeout)));
    let for_long = asked.is_some_and(|wait| wait > patience);
    let down = if outage.pauses { Verdict::Pause(Pause::Outage) } else { Verdict::Fail };
    match failure.class {
        Class::Auth => Verdict::Pause(Pause::Auth),
        Class::RateLimited if for_long || failure.outage || tries.free >= MOST_FREE => down,
        Class::RateLimited => {
            let pause = asked.unwrap_or_else(|| backoff(policy, tries.free, jitter));
            Verdict::Again { at: now.saturating_add(pause), charged: false }
        }
        _ if failure.outage && for_long => down,
        // Also a fault that names a time is not waited for longer than any other.
        class if policy.on.contains(&class) && tries.charged < policy.max && for_long => down,
        class if policy.on.contains(&class) && tries.charged < policy.max => {
            let pause = backoff(policy, tries.charged, jitter).max(asked.unwrap_or(0));
            Verdict::Again { at: now.saturating_add(pause), charged: true }
        }
        _ if failure.outage => down,
        _ => Verdict::Fail,
    }
}

/// Doubles from `policy.from` up to `policy.to`, then takes between half and all of it.
pub(super) fn backoff(policy: &Retry, before: u32, (seed, address): (u64, &str)) -> Millis {
    let full = policy.from.checked_mul(1 << before.min(20)).unwrap_or(Duration::MAX).min(policy.to);
    let full = millis(full);
    let draw = Digest::of(format!("{seed}/{address}/{before}")).seed() % 1_000;
    full / 2 + full.saturating_mul(draw) / 2_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Retry {
        Retry {
            max: 2,
            from: Duration::from_secs(2),
            to: Duration::from_secs(5),
            on: vec![Class::Transient],
            when: None,
            until: None,
        }
    }

    const WAITS: Outage = Outage { pauses: true, timeout: None };
    const FAILS: Outage = Outage { pauses: false, timeout: None };

    #[test]
    fn only_named_classes_are_tried_again_and_only_so_often() {
        let failure = Failure::transient("x");
        let tries = |charged| Tries { charged, ..Tries::default() };
        let at = |charged| decide(&policy(), WAITS, &tries(charged), &failure, 0, (1, "a"));
        let Verdict::Again { at: first, charged: true } = at(0) else { panic!() };
        assert!((1_000..=2_000).contains(&first), "{first}");
        let Verdict::Again { at: second, .. } = at(1) else { panic!() };
        assert!((2_000..=4_000).contains(&second), "{second}");
        assert_eq!(at(2), Verdict::Fail);
        assert_eq!(decide(&policy(), WAITS, &tries(0), &Failure::permanent("x"), 0, (1, "a")), Verdict::Fail);
    }

    #[test]
    fn a_rate_limit_waits_as_told_and_charges_nothing() {
        let asks =
            |seconds| Failure::new(Class::RateLimited, "slow").retry_after(Duration::from_secs(seconds));
        let tries = |free| Tries { charged: 2, free, ..Tries::default() };
        let verdict = decide(&policy(), WAITS, &tries(0), &asks(49), 10, (1, "a"));
        assert_eq!(verdict, Verdict::Again { at: 49_010, charged: false });
        let short = Outage { timeout: Some(Duration::from_secs(20)), ..WAITS };
        for (outage, free, failure) in [
            (WAITS, 0, asks(3_600)),
            (short, 0, asks(21)),
            (WAITS, MOST_FREE, asks(1)),
            (WAITS, 8, asks(1).outage()),
        ] {
            let verdict = decide(&policy(), outage, &tries(free), &failure, 10, (1, "a"));
            assert_eq!(verdict, Verdict::Pause(Pause::Outage));
            let fails = Outage { pauses: false, ..outage };
            assert_eq!(decide(&policy(), fails, &tries(free), &failure, 10, (1, "a")), Verdict::Fail);
        }
    }

    #[test]
    fn a_fault_that_names_a_time_is_waited_for_within_bounds() {
        let at = |outage, class, seconds| {
            let failure = Failure::new(class, "broken").retry_after(Duration::from_secs(seconds));
            decide(&policy(), outage, &Tries::default(), &failure, 0, (1, "a"))
        };
        assert_eq!(at(WAITS, Class::Transient, 60), Verdict::Again { at: 60_000, charged: true });
        assert_eq!(at(WAITS, Class::Transient, 3_600), Verdict::Pause(Pause::Outage));
        assert_eq!(at(FAILS, Class::Transient, 3_600), Verdict::Fail);
        assert_eq!(at(WAITS, Class::Permanent, 3_600), Verdict::Fail, "it would not be made again");
        let short = Outage { timeout: Some(Duration::from_secs(4)), ..WAITS };
        assert_eq!(at(short, Class::Transient, 5), Verdict::Pause(Pause::Outage));
    }

    #[test]
    fn an_outage_pauses_the_run_once_the_retries_are_used_up_or_the_wait_is_long() {
        let at = |failure: &Failure, charged| {
            decide(&policy(), WAITS, &Tries { charged, ..Tries::default() }, failure, 0, (1, "a"))
        };
        let down = Failure::transient("down").outage();
        assert!(matches!(at(&down, 0), Verdict::Again { charged: true, .. }));
        assert_eq!(at(&down, 2), Verdict::Pause(Pause::Outage));
        let for_long = down.retry_after(Duration::from_secs(80));
        assert_eq!(at(&for_long, 0), Verdict::Pause(Pause::Outage));
        assert_eq!(decide(&policy(), FAILS, &Tries::default(), &for_long, 0, (1, "a")), Verdict::Fail);
    }

    #[test]
    fn jitter_spreads_steps_and_is_the_same_again() {
        fn pause(address: &str) -> Millis {
            backoff(&policy(), 0, (7, address))
        }
        assert_eq!(pause("a"), pause("a"));
        let spread: std::collections::BTreeSet<_> = (0..50).map(|i| pause(&format!("a[{i}]"))).collect();
        assert!(spread.len() > 25);
    }
}
