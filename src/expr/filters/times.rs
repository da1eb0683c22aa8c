//! Filters of moments. A moment is text in ISO 8601, as `run.started_at` is, or a number of seconds since 1970 in UTC.

use jiff::fmt::strtime;
use jiff::{SignedDuration, Timestamp};
use minijinja::Value as Inner;
use minijinja::value::ValueKind;

use crate::duration;
use crate::expr::check::{Checked, made, noun_error, number, text, text_or, wrong, wrong_with};
use crate::expr::machine::Machine;

fn moment(value: &Inner) -> Checked<Timestamp> {
    let hint = "write it in ISO 8601: `2026-05-31T08:30:00Z`";
    match value.kind() {
        ValueKind::Number => {
            let outside = || wrong("a number of seconds since 1970 that no date has");
            let millis = (number(value)? * 1_000.0).round();
            if millis.abs() > 1e15 {
                return Err(outside());
            }
            #[expect(clippy::cast_possible_truncation, reason = "checked to be within i64")]
            Timestamp::from_millisecond(millis as i64).map_err(|_| outside())
        }
        ValueKind::String => {
            let written = text(value)?.trim();
            if let Ok(moment) = written.parse::<Timestamp>() {
                return Ok(moment);
            }
            let date = written.parse::<jiff::civil::Date>().ok();
            let zoned = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
            let shown: String = written.chars().take(40).collect();
            zoned
                .map(|date| date.timestamp())
                .ok_or_else(|| wrong_with(format!("`{shown}` is not a moment"), hint))
        }
        _ => Err(noun_error("a moment, as text or a number", value)),
    }
}

fn written(moment: Timestamp) -> Checked {
    made(format!("{moment:.3}"))
}

/// `date(subject, format)`.
pub(super) fn date(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (moment, format) = (moment(&args[0])?, text_or(&args[1], "%Y-%m-%d")?);
    if format.len() > 1_000 {
        return Err(wrong("a format of a date has at most 1,000 characters"));
    }
    let date = moment.to_zoned(jiff::tz::TimeZone::UTC);
    let made_text = strtime::format(format, &date).map_err(|_| {
        wrong_with(
            format!("`{format}` is not a format of a date"),
            "write e.g. `%Y-%m-%d %H:%M`; `%%` is a percent sign",
        )
    })?;
    made(made_text)
}

/// `add(subject, span)`.
pub(super) fn add(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let start = moment(&args[0])?;
    let outside = || wrong("there is no date that early or late");
    let span = if args[1].is_number() {
        SignedDuration::try_from_secs_f64(number(&args[1])?).map_err(|_| outside())?
    } else {
        let span = text(&args[1])?.trim();
        let (is_earlier, span) = span.strip_prefix('-').map_or((false, span), |span| (true, span));
        let parsed = duration::parse(span);
        let span = parsed.map_err(|why| wrong_with(why, "write e.g. `add('1h30m')` or `add('-2d')`"))?;
        let span = SignedDuration::try_from(span).map_err(|_| outside())?;
        if is_earlier { -span } else { span }
    };
    start.checked_add(span).map_err(|_| outside()).and_then(written)
}

/// `since(subject, start)`: seconds.
pub(super) fn since(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let (end, start) = (moment(&args[0])?, moment(&args[1])?);
    Ok(Inner::from(end.duration_since(start).as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Expr, Functions, Scope};

    fn eval(text: &str) -> Result<serde_json::Value, String> {
        let value = Expr::parse(text, &Functions::empty()).unwrap().eval(&Scope::new());
        value.map(|value| value.to_value()).map_err(|error| error.message)
    }

    #[test]
    fn moments_are_read_in_each_form_and_out_of_range_refused() {
        assert_eq!(eval("0 | add('1d')").unwrap(), "1970-01-02T00:00:00.000Z");
        assert_eq!(eval("'2026-02-28' | add('36h') | date('%d.%m. %H:%M %%')").unwrap(), "01.03. 12:00 %");
        assert_eq!(eval("'2026-02-28T10:00:00+02:00' | since('2026-02-28T07:00:00Z')").unwrap(), 3_600.0);
        assert_eq!(eval("'2026-02-28T10:00:00Z' | add(-0.5)").unwrap(), "2026-02-28T09:59:59.500Z");
        assert!(eval("'soon' | date").unwrap_err().contains("`soon` is not a moment"));
        assert!(eval("1e30 | date").unwrap_err().contains("no date has"));
        assert!(
            eval("'2026-01-01' | add('99999999999d')").unwrap_err().contains("no date that early or late")
        );
        assert!(eval("'2026-01-01' | add('soon')").unwrap_err().contains("not a duration"));
        assert!(eval("'2026-01-01' | date('%Q%!')").unwrap_err().contains("not a format"));
        assert!(eval("[] | date").unwrap_err().contains("expected a moment"));
    }
}
