//! Limits for the size of scenario files after rows and fixtures are expanded.

use crate::scenario::language::Scenario;
use crate::scenario::values::size::size_of;

/// Most steps of one file and of all files, counting all rows.
pub const STEPS: usize = 20_000;
pub const ALL_STEPS: usize = 100_000;
/// Most bytes as JSON of one file and of all files, counting all rows.
pub const BYTES: usize = 128 << 20;
pub const ALL_BYTES: usize = 512 << 20;

/// Number of steps and bytes of all scenario files together.
#[derive(Debug, Default)]
pub struct LoadedTotal {
    steps: usize,
    bytes: usize,
}

impl LoadedTotal {
    /// Adds the scenarios of one file. Returns a message if a limit is exceeded.
    pub fn add(&mut self, scenarios: &[Scenario]) -> Option<String> {
        for scenario in scenarios {
            self.steps += scenario.setup.len() + scenario.steps.len() + scenario.teardown.len();
            self.bytes += size_of(scenario);
        }
        if self.steps > ALL_STEPS {
            return Some(format!("the scenario files have more than {ALL_STEPS} steps, counting all rows"));
        }
        let mib = ALL_BYTES >> 20;
        (self.bytes > ALL_BYTES)
            .then(|| format!("the scenario files have more than {mib} MiB, counting all rows"))
    }
}
