use indexmap::IndexMap;

use super::nesting::{rounds_of, shape_of};
use crate::engine::{Fact, Record};
use crate::meter::Meter;

/// The spending of a run: in total, and by payee, role, step and round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Total spending.
    pub total: LedgerEntry,
    /// Spending by payee, e.g. a model.
    pub payees: IndexMap<String, LedgerEntry>,
    /// Spending by role: the role of the step, or its name.
    pub roles: IndexMap<String, LedgerEntry>,
    /// Spending by step, for all its instances together.
    pub steps: IndexMap<String, LedgerEntry>,
    /// Spending by round of a loop; inner loops are included in outer ones.
    pub rounds: IndexMap<String, LedgerEntry>,
    /// Spending of attempts that failed or were interrupted.
    pub wasted: LedgerEntry,
}

/// A sum, and its number of attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LedgerEntry {
    /// Sum of the spending.
    pub spent: Meter,
    /// Number of attempts that spent something.
    pub attempts: u64,
}

impl LedgerEntry {
    fn add(&mut self, spent: &Meter, attempts: u64) {
        self.spent.absorb(spent);
        self.attempts += attempts;
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a fact.
    pub fn apply_record(&mut self, record: &Record) {
        let Some(spent) = record.fact.spent().filter(|spent| !spent.is_empty()) else { return };
        let step = shape_of(&record.address);
        let name = step.rsplit('/').next().unwrap_or(&step).to_owned();
        // A correction belongs to an attempt that is already counted.
        let attempts = u64::from(!matches!(record.fact, Fact::Settled { .. }));
        self.total.add(spent, attempts);
        if !matches!(record.fact, Fact::Succeeded { .. }) {
            self.wasted.add(spent, attempts);
        }
        for share in spent.shares() {
            let role = if share.role.is_empty() { name.as_str() } else { &share.role };
            self.payees.entry(share.to.to_string()).or_default().add(&share.meter(), attempts);
            self.roles.entry(role.to_owned()).or_default().add(&share.meter(), attempts);
        }
        for round in rounds_of(&record.address) {
            self.rounds.entry(round).or_default().add(spent, attempts);
        }
        self.steps.entry(step).or_default().add(spent, attempts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Address;
    use crate::verb::Failure;

    fn paid(usd: f64, to: &str, role: &str) -> Meter {
        Meter::new().with("usd", usd).with("calls", 1.0).paid(to, role)
    }

    fn record(address: &str, fact: Fact) -> Record {
        Record { at: 0, address: Address::new(address), attempt: 1, fact }
    }

    fn succeeded(spent: Meter) -> Fact {
        Fact::Succeeded { output: crate::engine::Payload::value(1.into()), spent, cached: false }
    }

    #[test]
    fn every_sum_is_the_sum_of_the_facts() {
        let mut ledger = Ledger::new();
        let failure = Failure::rejected("no").spent(paid(0.25, "b", "judge"));
        for record in [
            record("spec", succeeded(paid(0.5, "a", ""))),
            record(
                "converge#1/judge[0]/ask",
                Fact::Faltered { failure, again_at: Some(0), charged: true, waits: None },
            ),
            record("converge#1/judge[0]/ask", succeeded(paid(0.25, "b", "judge"))),
            record("converge#2/judge[1]/ask", succeeded(paid(1.0, "a", "judge"))),
            record("converge#2", succeeded(Meter::new())),
        ] {
            ledger.apply_record(&record);
        }
        let usd = |entries: &IndexMap<String, LedgerEntry>| -> Vec<(String, f64, u64)> {
            entries
                .iter()
                .map(|(name, entry)| (name.clone(), entry.spent.get("usd"), entry.attempts))
                .collect()
        };
        let row = |name: &str, usd: f64, attempts: u64| (name.to_owned(), usd, attempts);
        assert_eq!((ledger.total.spent.get("usd"), ledger.total.attempts), (2.0, 4));
        assert_eq!(usd(&ledger.payees), [row("a", 1.5, 2), row("b", 0.5, 2)]);
        assert_eq!(usd(&ledger.roles), [row("spec", 0.5, 1), row("judge", 1.5, 3)]);
        assert_eq!(usd(&ledger.steps), [row("spec", 0.5, 1), row("converge/judge/ask", 1.5, 3)]);
        assert_eq!(usd(&ledger.rounds), [row("converge#1", 0.5, 2), row("converge#2", 1.0, 1)]);
        assert_eq!((ledger.wasted.spent.get("usd"), ledger.wasted.attempts), (0.25, 1));
    }
}
