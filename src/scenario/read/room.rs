//! How much scenario files may come to once rows and fixtures are multiplied out.

use std::io;

use serde::Serialize;

use crate::scenario::Scenario;

/// Most steps of one file and of all files, all rows counted.
pub const STEPS: usize = 20_000;
pub const ALL_STEPS: usize = 100_000;
/// Most bytes of one file and of all files, all rows counted, as JSON.
pub const BYTES: usize = 128 << 20;
pub const ALL_BYTES: usize = 512 << 20;

/// What scenario files come to together.
#[derive(Debug, Default)]
pub struct Total {
    steps: usize,
    bytes: usize,
}

impl Total {
    /// Adds the scenarios of one more file; says what there is too much of.
    pub fn add(&mut self, scenarios: &[Scenario]) -> Option<String> {
        for scenario in scenarios {
            self.steps += scenario.setup.len() + scenario.steps.len() + scenario.teardown.len();
            self.bytes += size_of(scenario);
        }
        if self.steps > ALL_STEPS {
            return Some(format!("the scenario files come to more than {ALL_STEPS} steps, all rows counted"));
        }
        let mib = ALL_BYTES >> 20;
        (self.bytes > ALL_BYTES)
            .then(|| format!("the scenario files come to more than {mib} MiB, all rows counted"))
    }
}

/// The bytes that `value` has as JSON.
pub fn size_of(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    // What cannot be written as JSON has no size that matters.
    serde_json::to_writer(&mut count, value).ok();
    count.0
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
