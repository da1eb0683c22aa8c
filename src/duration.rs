//! Parser and formatter for durations. Pipelines, scenarios, verbs, settings and commands use the same form.

use std::time::Duration;

/// Units with their lengths in seconds.
const UNITS: [(&str, f64); 9] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
];

/// Parses a duration: numbers with units `ns us ms s m h d`, one after the other (`1m30s`, `1.5h`), or `0`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a duration is missing, such as `500ms` or `1m30s`".to_owned());
    }
    if text.starts_with('-') {
        return Err(format!("`{text}` is negative"));
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits]
            .parse()
            .map_err(|_| format!("`{text}` is not a duration such as `500ms` or `1m30s`"))?;
        rest = &rest[digits..];
        let unit = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
        if rest.starts_with(char::is_whitespace) {
            return Err(format!("`{text}` is not a duration such as `500ms` or `1m30s`"));
        }
        if unit.is_empty() {
            return Err(format!("`{text}` has no unit: write `{number}s` or `{number}ms`"));
        }
        let Some((_, seconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("`{unit}` in `{text}` is not a unit of time: ns, us, ms, s, m, h, d"));
        };
        sum = Duration::try_from_secs_f64(number * seconds)
            .ok()
            .and_then(|part| sum.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too long"))?;
        rest = rest[unit.len()..].trim_start();
    }
    Ok(sum)
}

/// Formats `span` exactly, so that [`parse`] returns the same: `0s`, `250us`, `1500ms`, `90s`, `2m`.
pub fn exact(span: Duration) -> String {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    match nanos {
        0 if seconds == 0 => "0s".to_owned(),
        0 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        0 => format!("{seconds}s"),
        nanos if nanos.is_multiple_of(1_000_000) && seconds < 10 => format!("{}ms", span.as_millis()),
        nanos if nanos.is_multiple_of(1_000) && seconds == 0 => format!("{}us", span.as_micros()),
        nanos if seconds == 0 => format!("{nanos}ns"),
        _ => format!("{}s", span.as_secs_f64()),
    }
}

/// Formats `span` in one unit with at most one decimal place: `300ms`, `1.5h`.
pub fn rounded(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    let (amount, unit) = match seconds {
        s if s >= 3_600.0 => (s / 3_600.0, "h"),
        s if s >= 60.0 => (s / 60.0, "m"),
        s if s >= 1.0 => (s, "s"),
        s => (s * 1_000.0, "ms"),
    };
    let text = format!("{amount:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Formats an elapsed time for display: `340 ms`, `1.2 s`, `3m07s`, `2h05m`.
pub fn elapsed(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{seconds}.{} s", span.subsec_millis() / 100),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// Formats a limit for messages: `300 ms`, `1.5 s`.
pub fn limit(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{} s", span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("300ms", 300),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("1.5h", 5_400_000),
            ("2d", 172_800_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "10", "10 minutes", "s", "-1s", "1e9d", "..s", "99999999999999999999999d", "3 days"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("30").unwrap_err(), "`30` has no unit: write `30s` or `30ms`");
        assert!(parse("3days").unwrap_err().contains("not a unit of time"));
    }

    #[test]
    fn what_is_written_exactly_is_read_the_same() {
        for text in ["0s", "250us", "17ns", "1500ms", "90s", "2m", "12.345s"] {
            let span = parse(text).unwrap();
            assert_eq!(exact(span), text);
        }
    }

    #[test]
    fn other_forms_are_for_people() {
        let millis = Duration::from_millis;
        assert_eq!([rounded(millis(300)), rounded(millis(5_400_000))], ["300ms", "1.5h"]);
        assert_eq!([elapsed(millis(0)), elapsed(millis(1_250))], ["0 ms", "1.2 s"]);
        assert_eq!([elapsed(millis(187_000)), elapsed(millis(7_500_000))], ["3m07s", "2h05m"]);
        assert_eq!([limit(millis(300)), limit(millis(1_500))], ["300 ms", "1.5 s"]);
    }
}
