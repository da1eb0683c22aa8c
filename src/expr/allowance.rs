//! How much work evaluations may take.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How much work evaluations may take together before they are interrupted.
pub struct Allowance {
    work: AtomicU64,
    expired: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    used_up: AtomicBool,
}

impl Allowance {
    /// At most `work`, in nodes and items.
    pub fn new(work: u64) -> Self {
        Self { work: AtomicU64::new(work), expired: None, used_up: AtomicBool::new(false) }
    }

    /// Work without a limit, until `expired`.
    pub fn until(expired: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { expired: Some(Box::new(expired)), ..Self::new(u64::MAX) }
    }

    /// Whether an evaluation failed because the allowance was used up: nothing is wrong with its expression.
    pub fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::Relaxed)
    }

    /// Whether there is work and time left; for work of many small evaluations.
    pub fn goes_on(&self) -> bool {
        self.take(1)
    }

    /// What is left of the work.
    pub fn left(&self) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    /// Takes `work` off; `false` where too little is left.
    pub(super) fn take(&self, work: u64) -> bool {
        // One thread evaluates at a time.
        let left = self.left().checked_sub(work);
        self.work.store(left.unwrap_or(0), Ordering::Relaxed);
        if left.is_none() || self.expired.as_ref().is_some_and(|expired| expired()) {
            self.used_up.store(true, Ordering::Relaxed);
        }
        !self.is_used_up()
    }

    /// Takes `work` off that was done already.
    pub(super) fn book(&self, work: u64) {
        self.work.store(self.left().saturating_sub(work), Ordering::Relaxed);
    }
}
