//! `HEALTHCHECK`.

use super::CommandForm;

/// Health check of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// Command; `None` for `NONE`.
    pub command: Option<CommandForm>,
    /// Interval between two checks, in nanoseconds.
    pub interval: Option<i64>,
    /// Time limit of a check, in nanoseconds.
    pub timeout: Option<i64>,
    /// Start period in which failures do not count, in nanoseconds.
    pub start_period: Option<i64>,
    /// Number of consecutive failures that count.
    pub retries: Option<i64>,
}

impl Healthcheck {
    pub(super) fn read(rest: &str) -> Result<Self, String> {
        let (options, rest) = super::options(rest);
        let mut check = Self::default();
        for (name, value) in options {
            let span = || span(value).ok_or_else(|| format!("`{value}` is not a duration, such as 30s"));
            match name {
                "interval" => check.interval = Some(span()?),
                "timeout" => check.timeout = Some(span()?),
                "start-period" => check.start_period = Some(span()?),
                "start-interval" => {}
                "retries" => {
                    let count = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
                    check.retries = Some(count);
                }
                other => return Err(format!("HEALTHCHECK has no option --{other}")),
            }
        }
        let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match (word.to_ascii_uppercase().as_str(), command.trim()) {
            ("NONE", "") => Ok(Self::default()),
            ("CMD", command) if !command.is_empty() => {
                check.command = Some(CommandForm::read(command));
                Ok(check)
            }
            _ => Err("HEALTHCHECK requires NONE, or CMD and a command".to_owned()),
        }
    }
}

/// Parses a duration such as `1m30s` into nanoseconds.
fn span(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 6] =
        [("ms", 1e6), ("us", 1e3), ("ns", 1.0), ("h", 3600e9), ("m", 60e9), ("s", 1e9)];
    let (mut left, mut whole) = (text, 0.0);
    while !left.is_empty() {
        let end = left.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let count: f64 = left[..end].parse().ok()?;
        let (unit, size) = UNITS.iter().find(|(unit, _)| left[end..].starts_with(unit))?;
        whole += count * size;
        left = &left[end + unit.len()..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a duration of more than 292 years is limited to that"
    )]
    let nanoseconds = whole as i64;
    (!text.is_empty()).then_some(nanoseconds)
}
