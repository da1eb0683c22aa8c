//! An upper bound for the cost of a run, before it starts.

use std::fmt::Write as _;

use serde_json::json;

use super::Paint;
use super::units::{dollars, number};
use crate::meter::Meter;
use crate::plan::Worst;
use crate::value::Value;

/// `{steps: [{step, times, per[], once, all}], all, unknown[], complete}`: `all` is the sum of known costs,
/// with one item for each list of unknown length; `unknown` are the steps with a missing figure; `complete`
/// is whether nothing is missing.
pub fn json(worst: &[Worst]) -> Value {
    let steps: Vec<Value> = worst
        .iter()
        .map(|step| {
            json!({"step": step.step, "times": step.times, "per": step.per, "once": step.once, "all": step.all()})
        })
        .collect();
    let unknown = unknown(worst.iter());
    let complete = unknown.is_empty() && worst.iter().all(|step| step.per.is_empty());
    json!({"steps": steps, "all": sum(worst.iter()), "unknown": unknown, "complete": complete})
}

/// The upper bound as text; empty if no step spends anything.
pub fn text(worst: &[Worst], paint: Paint) -> String {
    let mut text = String::new();
    if worst.is_empty() {
        return text;
    }
    let wide = worst.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    let _ = writeln!(text, "{}", paint.strong("worst case"));
    for step in worst {
        let once = step.once.as_ref().map_or_else(|| "unknown".to_owned(), meter);
        let times =
            [number(step.times)].into_iter().chain(step.per.iter().map(|each| format!("items of {each}")));
        let times = times.collect::<Vec<_>>().join(" × ");
        let _ = writeln!(text, "  {:wide$}  {times} × {once}", step.step);
    }
    let of_all = |per: &[String]| all(&worst.iter().filter(|step| step.per == per));
    let mut lists: Vec<&[String]> =
        worst.iter().map(|step| step.per.as_slice()).filter(|per| !per.is_empty()).collect();
    lists.sort_unstable();
    lists.dedup();
    if worst.iter().any(|step| step.per.is_empty()) {
        let _ = writeln!(text, "  {:wide$}  {}", "total", of_all(&[]));
    }
    for per in lists {
        let _ =
            writeln!(text, "  {:wide$}  {} for each item of {}", "and", of_all(per), per.join(" and of "));
    }
    text
}

/// The sum of known costs, and the steps with unknown costs: an unknown cost is not zero.
fn all<'a>(steps: &(impl Iterator<Item = &'a Worst> + Clone)) -> String {
    let known = sum(steps.clone());
    let lacks = |has: fn(&Meter) -> bool| {
        let lacking = steps.clone().filter(|step| step.once.as_ref().is_none_or(|once| !has(once)));
        lacking.map(|step| step.step.as_str()).collect::<Vec<_>>()
    };
    let (unpriced, uncounted) = (lacks(has_dollars), lacks(has_tokens));
    if unpriced.is_empty() && uncounted.is_empty() {
        return meter(&known);
    }
    if known.is_empty() {
        return format!("unknown ({})", unpriced.join(", "));
    }
    let mut text = if uncounted.is_empty() { counts(&known) } else { format!("at least {}", counts(&known)) };
    let _ = match (unpriced.is_empty(), known.says("usd")) {
        (true, _) => write!(text, ", {}", dollars(known.get("usd"))),
        (false, true) => write!(text, ", {} or more", dollars(known.get("usd"))),
        (false, false) => Ok(()),
    };
    if !unpriced.is_empty() {
        let _ = write!(text, ", the cost of {} is unknown", unpriced.join(", "));
    }
    let uncounted: Vec<&str> = uncounted.into_iter().filter(|step| !unpriced.contains(step)).collect();
    if !uncounted.is_empty() {
        let _ = write!(text, ", the tokens of {} are unknown", uncounted.join(", "));
    }
    text
}

/// The steps with a missing figure.
fn unknown<'a>(steps: impl Iterator<Item = &'a Worst>) -> Vec<&'a str> {
    let complete = |once: &Meter| has_dollars(once) && has_tokens(once);
    steps
        .filter(|step| step.once.as_ref().is_none_or(|once| !complete(once)))
        .map(|step| step.step.as_str())
        .collect()
}

fn has_dollars(meter: &Meter) -> bool {
    meter.get("calls") == 0.0 || meter.says("usd")
}

fn has_tokens(meter: &Meter) -> bool {
    meter.get("calls") == 0.0 || (meter.says("tokens_in") && meter.says("tokens_out"))
}

fn sum<'a>(steps: impl Iterator<Item = &'a Worst>) -> Meter {
    steps.filter_map(Worst::all).fold(Meter::new(), |mut all, one| {
        all.absorb(&one);
        all
    })
}

fn meter(meter: &Meter) -> String {
    let cost = if has_dollars(meter) { dollars(meter.get("usd")) } else { "price unknown".to_owned() };
    format!("{}, {cost}", counts(meter))
}

fn counts(meter: &Meter) -> String {
    let calls = number(meter.get("calls"));
    let noun = if calls == "1" { "call" } else { "calls" };
    let tokens = |unit: &str| {
        let known = meter.get("calls") == 0.0 || meter.says(unit);
        if known { number(meter.get(unit)) } else { "unknown".to_owned() }
    };
    format!("{calls} {noun}, {} tokens in, {} out", tokens("tokens_in"), tokens("tokens_out"))
}
