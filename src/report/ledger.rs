//! The spending of a run, as tables and as an object for machines.

use std::fmt::Write as _;

use indexmap::IndexMap;
use serde_json::{Map, json};

use super::Paint;
use super::units::{dollars, harmless, number, sums};
use crate::meter::Meter;
use crate::value::Value;
use crate::view::{Ledger, LedgerEntry};

/// `{spent, attempts, wasted, by_model[], by_role[], by_step[], by_round[]}`, where a sum is `{name?, attempts, spent}`.
pub fn json(ledger: &Ledger) -> Map<String, Value> {
    let list = |entries: &IndexMap<String, LedgerEntry>| {
        entries
            .iter()
            .map(|(name, entry)| json!({"name": name, "attempts": entry.attempts, "spent": entry.spent}))
            .collect::<Vec<_>>()
    };
    let sum = |entry: &LedgerEntry| json!({"attempts": entry.attempts, "spent": entry.spent});
    Map::from_iter([
        ("spent".to_owned(), json!(ledger.total.spent)),
        ("attempts".to_owned(), json!(ledger.total.attempts)),
        ("wasted".to_owned(), sum(&ledger.wasted)),
        ("by_model".to_owned(), json!(list(&ledger.payees))),
        ("by_role".to_owned(), json!(list(&ledger.roles))),
        ("by_step".to_owned(), json!(list(&ledger.steps))),
        ("by_round".to_owned(), json!(list(&ledger.rounds))),
    ])
}

/// The tables for people, the most expensive first; rounds in their order.
pub fn text(ledger: &Ledger, paint: Paint) -> String {
    if ledger.total.attempts == 0 {
        return "nothing was spent\n".to_owned();
    }
    let mut text = format!("{} in {} attempts\n", sums(&ledger.total.spent), ledger.total.attempts);
    if ledger.wasted.attempts > 0 {
        let _ = writeln!(
            text,
            "of it {} in {} attempts that failed or were interrupted",
            sums(&ledger.wasted.spent),
            ledger.wasted.attempts
        );
    }
    let lost = ledger.total.spent.get("lost");
    if lost > 0.0 {
        let _ = writeln!(text, "{} sent without an answer: counted with the maximum cost", calls(lost));
    }
    let estimated = ledger.total.spent.get("estimated");
    if estimated > 0.0 {
        let _ = writeln!(
            text,
            "{} sent without an answer and repeated: estimated from the cost of the repeated call",
            calls(estimated)
        );
    }
    let tables = [
        ("model", &ledger.payees, true),
        ("role", &ledger.roles, true),
        ("step", &ledger.steps, true),
        ("round", &ledger.rounds, false),
    ];
    for (head, entries, by_price) in tables.into_iter().filter(|(_, entries, _)| !entries.is_empty()) {
        let mut rows: Vec<(&String, &LedgerEntry)> = entries.iter().collect();
        if by_price {
            rows.sort_by(|a, b| weight(&b.1.spent).total_cmp(&weight(&a.1.spent)).then_with(|| a.0.cmp(b.0)));
        }
        table(&mut text, head, &rows, paint);
    }
    text
}

/// The sort key: dollars, and tokens for what is free.
fn weight(spent: &Meter) -> f64 {
    spent.get("usd") * 1e9 + spent.get("tokens")
}

fn calls(count: f64) -> String {
    format!("{} {}", number(count), if number(count) == "1" { "call was" } else { "calls were" })
}

fn table(text: &mut String, head: &str, rows: &[(&String, &LedgerEntry)], paint: Paint) {
    let wide = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(head.len());
    let line = format!(
        "{head:wide$}  {:>8}  {:>8}  {:>12}  {:>12}  {:>10}",
        "attempts", "calls", "tokens in", "tokens out", "dollars"
    );
    let _ = writeln!(text, "\n{}", paint.faint(line));
    for (name, entry) in rows {
        let spent = &entry.spent;
        let _ = writeln!(
            text,
            "{:wide$}  {:>8}  {:>8}  {:>12}  {:>12}  {:>10}",
            harmless(name),
            entry.attempts,
            number(spent.get("calls")),
            number(spent.get("tokens_in")),
            number(spent.get("tokens_out")),
            dollars(spent.get("usd")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Fact, Payload, Record};
    use crate::id::Address;

    #[test]
    fn the_dearest_comes_first_and_rounds_come_in_their_order() {
        let mut ledger = Ledger::new();
        for (n, model, usd) in [(1, "small", 0.01), (2, "large", 0.5), (10, "small", 0.02)] {
            let spent = Meter::new().with("calls", 1.0).with("tokens_in", 100.0).with("usd", usd);
            let output = Payload::value(1.into());
            let fact = Fact::Succeeded { output, spent: spent.paid(model, "judge"), cached: false };
            let address = Address::new(format!("loop#{n}/ask"));
            ledger.apply_record(&Record { at: 0, address, attempt: 1, fact });
        }
        let text = text(&ledger, Paint::PLAIN);
        assert!(
            text.starts_with("$0.53, 3 calls, 300 tokens_in in 3 attempts\n\nmodel  attempts "),
            "{text}"
        );
        let names: Vec<&str> = text.lines().skip(3).filter_map(|line| line.split(' ').next()).collect();
        let order = [
            "large", "small", "", "role", "judge", "", "step", "loop/ask", "", "round", "loop#1", "loop#2",
            "loop#10",
        ];
        assert_eq!(names, order);
        assert_eq!(json(&ledger)["by_model"][1]["name"], "large");
    }
}
