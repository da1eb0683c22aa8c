//! The clock of the machine.
#![expect(clippy::disallowed_methods, reason = "the one door to the time of the machine")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{Clock, Millis, Sleep, millis};

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn sleep(&self, span: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(span))
    }
}
