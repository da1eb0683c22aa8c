use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time, written as numbers with units: `300ms`, `1.5s`, `1m30s`. Units: `ns us ms s m h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transparent)]
pub struct Lapse(#[schemars(with = "String")] pub Duration);

const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

impl Lapse {
    /// Seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Reads a length of time, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        if rest.starts_with('-') {
            return Err("time does not run backwards".into());
        }
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err("a length of time is expected, such as `500ms` or `1m30s`".into());
        }
        let mut secs = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 = rest[..digits]
                .parse()
                .map_err(|_| format!("`{rest}` does not begin with a number, as in `500ms` or `1m30s`"))?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            let unit = &rest[..letters];
            if unit.is_empty() {
                return Err(format!("a unit is missing: `{}ms` or `{0}s`", text.trim()));
            }
            let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(format!("`{unit}` is no unit of time: ns, us, ms, s, m, h"));
            };
            secs += number * scale;
            rest = &rest[letters..];
        }
        Duration::try_from_secs_f64(secs).map(Self).map_err(|_| "too long".into())
    }
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.subsec_nanos();
        let secs = self.0.as_secs();
        if self.0.is_zero() {
            f.write_str("0s")
        } else if nanos == 0 && secs.is_multiple_of(60) {
            write!(f, "{}m", secs / 60)
        } else if nanos == 0 {
            write!(f, "{secs}s")
        } else if nanos.is_multiple_of(1_000_000) && secs < 10 {
            write!(f, "{}ms", self.0.as_millis())
        } else if nanos.is_multiple_of(1_000) && secs == 0 {
            write!(f, "{}us", self.0.as_micros())
        } else if secs == 0 {
            write!(f, "{nanos}ns")
        } else {
            write!(f, "{}s", self.0.as_secs_f64())
        }
    }
}

impl Serialize for Lapse {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lapse {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_and_print_the_same() {
        for (text, millis) in [("300ms", 300), ("1.5s", 1500), ("1m30s", 90_000), ("2h", 7_200_000), ("0", 0)]
        {
            let lapse = Lapse::parse(text).unwrap();
            assert_eq!(lapse.0, Duration::from_millis(millis), "{text}");
            assert_eq!(Lapse::parse(&lapse.to_string()).unwrap(), lapse, "{lapse}");
        }
        assert_eq!(Lapse::parse("250us").unwrap().to_string(), "250us");
        assert_eq!(Lapse::parse("90s").unwrap().to_string(), "90s");
    }

    #[test]
    fn a_bad_length_says_why() {
        assert!(Lapse::parse("30").unwrap_err().contains("`30ms` or `30s`"));
        assert!(Lapse::parse("3 days").unwrap_err().contains("no unit"));
        assert!(Lapse::parse("-1s").is_err() && Lapse::parse("").is_err() && Lapse::parse("s").is_err());
        assert!(Lapse::parse("1e400h").is_err());
    }
}
