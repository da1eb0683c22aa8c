//! Named sums: what an attempt, a round or a run has spent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Sums by unit, e.g. `usd`, `tokens_in`, `tokens_out`, `calls`. Kept in billionths of a unit, so that
/// adding is exact; written as decimal numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meter(BTreeMap<String, Amount>);

/// A sum in billionths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

const SCALE: f64 = 1e9;

impl Amount {
    /// The amount nearest to `units`.
    #[expect(clippy::cast_possible_truncation, reason = "saturates far beyond any sum of money or tokens")]
    pub fn of(units: f64) -> Self {
        Self((units * SCALE).round() as i64)
    }

    /// The amount in units.
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine million units")]
    pub fn units(self) -> f64 {
        self.0 as f64 / SCALE
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = self.units();
        if self.0 % 1_000_000_000 == 0 {
            serializer.serialize_i64(self.0 / 1_000_000_000)
        } else {
            serializer.serialize_f64(units)
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::of)
    }
}

impl Meter {
    /// Nothing spent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `units` under the name `unit`.
    pub fn add(&mut self, unit: &str, units: f64) {
        self.add_amount(unit, Amount::of(units));
    }

    /// The same meter with `units` more under the name `unit`.
    #[must_use]
    pub fn with(mut self, unit: &str, units: f64) -> Self {
        self.add(unit, units);
        self
    }

    /// Adds all of `other`.
    pub fn absorb(&mut self, other: &Self) {
        for (unit, amount) in &other.0 {
            self.add_amount(unit, *amount);
        }
    }

    fn add_amount(&mut self, unit: &str, amount: Amount) {
        if let Some(sum) = self.0.get_mut(unit) {
            sum.0 = sum.0.saturating_add(amount.0);
        } else {
            self.0.insert(unit.to_owned(), amount);
        }
    }

    /// Sum of `unit`, zero where nothing was added.
    pub fn get(&self, unit: &str) -> f64 {
        self.0.get(unit).copied().unwrap_or_default().units()
    }

    /// Whether nothing was ever added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Units and sums, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(unit, amount)| (unit.as_str(), amount.units()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_written_as_decimals() {
        let mut meter = Meter::new();
        for _ in 0..10 {
            meter.absorb(&Meter::new().with("usd", 0.1).with("calls", 1.0));
        }
        assert_eq!(serde_json::to_string(&meter).unwrap(), r#"{"calls":10,"usd":1}"#);
        meter.add("usd", 0.000_000_001);
        let back: Meter = serde_json::from_str(&serde_json::to_string(&meter).unwrap()).unwrap();
        assert_eq!(back, meter);
    }
}
