//! The most that a run can spend, before it begins.

use std::fmt::Write as _;

use serde_json::json;

use super::Paint;
use super::units::{dollars, number};
use crate::meter::Meter;
use crate::plan::Worst;
use crate::value::Value;

/// `{steps: [{step, times, per[], once, all}], all, complete}`: `all` sums up what can be told, for one item of each list
/// whose length is not known; `complete` is whether that is everything.
pub fn json(worst: &[Worst]) -> Value {
    let steps: Vec<Value> = worst
        .iter()
        .map(|step| {
            json!({"step": step.step, "times": step.times, "per": step.per, "once": step.once, "all": step.all()})
        })
        .collect();
    let complete = worst.iter().all(|step| step.per.is_empty() && step.once.is_some());
    json!({"steps": steps, "all": sum(worst.iter()), "complete": complete})
}

/// The worst case for people; nothing where no step spends anything.
pub fn text(worst: &[Worst], paint: Paint) -> String {
    let mut text = String::new();
    if worst.is_empty() {
        return text;
    }
    let wide = worst.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    let _ = writeln!(text, "{}", paint.strong("at worst"));
    for step in worst {
        let once = step.once.as_ref().map_or_else(|| "nobody can tell how much".to_owned(), meter);
        let times =
            [number(step.times)].into_iter().chain(step.per.iter().map(|each| format!("items of {each}")));
        let times = times.collect::<Vec<_>>().join(" × ");
        let _ = writeln!(text, "  {:wide$}  {times} × {once}", step.step);
    }
    let all = sum(worst.iter().filter(|step| step.per.is_empty()));
    let _ = writeln!(text, "  {:wide$}  {}", "in all", meter(&all));
    let mut lists: Vec<&[String]> =
        worst.iter().map(|step| step.per.as_slice()).filter(|per| !per.is_empty()).collect();
    lists.sort_unstable();
    lists.dedup();
    for per in lists {
        let each = sum(worst.iter().filter(|step| step.per == per));
        let _ =
            writeln!(text, "  {:wide$}  {} for each item of {}", "and", meter(&each), per.join(" and of "));
    }
    text
}

fn sum<'a>(steps: impl Iterator<Item = &'a Worst>) -> Meter {
    steps.filter_map(Worst::all).fold(Meter::new(), |mut all, one| {
        all.absorb(&one);
        all
    })
}

fn meter(meter: &Meter) -> String {
    let tokens =
        format!("{} tokens in, {} out", number(meter.get("tokens_in")), number(meter.get("tokens_out")));
    let calls = format!("{} calls", number(meter.get("calls")));
    format!("{calls}, {tokens}, {}", dollars(meter.get("usd")))
}
