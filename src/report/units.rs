//! Times, durations and sums for people.

use std::time::Duration;

use crate::clock::Millis;
use crate::duration;
use crate::meter::Meter;
use crate::visible;

/// A duration: `340 ms`, `1.2 s`, `3m07s`, `2h05m`.
pub fn span(millis: Millis) -> String {
    duration::elapsed(Duration::from_millis(millis))
}

/// A moment in UTC: `2026-11-21 04:26:13Z`.
pub fn moment(at: Millis) -> String {
    stamp(at, "%Y-%m-%d %H:%M:%SZ")
}

/// The time of day in UTC: `04:26:13`.
pub fn time_of_day(at: Millis) -> String {
    stamp(at, "%H:%M:%S")
}

pub use crate::clock::rfc3339;

fn stamp(at: Millis, format: &str) -> String {
    i64::try_from(at)
        .ok()
        .and_then(|at| jiff::Timestamp::from_millisecond(at).ok())
        .map_or_else(|| at.to_string(), |at| at.strftime(format).to_string())
}

/// Money first, then everything else: `$0.0123, 3 calls, 1204 tokens_in`. Empty if nothing was spent.
pub fn sums(meter: &Meter) -> String {
    let money = meter.iter().filter(|(unit, _)| *unit == "usd").map(|(_, units)| dollars(units));
    let rest = meter
        .iter()
        .filter(|(unit, _)| *unit != "usd")
        .map(|(unit, units)| format!("{} {unit}", number(units)));
    money.chain(rest).collect::<Vec<_>>().join(", ")
}

/// US dollars, with more decimal places for small amounts: `$1.25`, `$0.0042`.
pub fn dollars(usd: f64) -> String {
    if usd == 0.0 || usd.abs() >= 0.1 { format!("${usd:.2}") } else { format!("${usd:.4}") }
}

/// A number without unnecessary decimal places.
pub fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    rounded.to_string()
}

/// `text` in one line of at most `width` characters, cut at its end with `…`.
pub fn one_line(text: &str, width: usize) -> String {
    visible::line(text, width)
}

/// `text` with invisible characters escaped: output of a program under test must not control the terminal.
pub fn harmless(text: &str) -> String {
    visible::escape(text).into_owned()
}

/// [`harmless`], where every line but the first begins with `before` and a bar.
pub fn hanging(text: &str, before: &str) -> String {
    visible::hanging(text, before)
}

/// The maximum width of a name of a pipeline, a step, a scenario or a file in a text, in characters.
const NAME: usize = 200;

/// A name in one line.
pub fn name(text: &str) -> String {
    visible::line(text, NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_moments_and_sums_read_well() {
        assert_eq!([span(0), span(999), span(1_250)], ["0 ms", "999 ms", "1.2 s"]);
        assert_eq!([span(187_000), span(7_500_000)], ["3m07s", "2h05m"]);
        assert_eq!(moment(1_763_699_173_001), "2025-11-21 04:26:13Z");
        assert_eq!(rfc3339(1_763_699_173_001), "2025-11-21T04:26:13.001Z");
        assert_eq!(moment(u64::MAX), u64::MAX.to_string());
        let meter = Meter::new().with("calls", 3.0).with("usd", 0.0042);
        assert_eq!(sums(&meter), "$0.0042, 3 calls");
        assert_eq!([dollars(0.0), dollars(1.25)], ["$0.00", "$1.25"]);
        assert_eq!(number(57.333_333), "57.333");
    }

    #[test]
    fn lines_are_cut_by_characters_and_cannot_steer_a_terminal() {
        assert_eq!(one_line("grün\nzwei", 20), "grün zwei");
        assert_eq!(one_line("grünzwei", 5), "grün…");
        assert_eq!(one_line("grün", 4), "grün");
        assert_eq!(harmless("a\u{1b}[31mb\n\tc"), "a\\u{1b}[31mb\n\tc");
    }
}
