/// A comparison with a limit: `<500ms`, `>=3`, `2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison<'t> {
    /// `<`, `<=`, `>`, `>=` or `=`; `None` if no sign was written.
    pub sign: Option<&'static str>,
    /// The limit as it is written.
    pub limit: &'t str,
}

impl<'t> Comparison<'t> {
    /// Splits a bound into its sign and its limit.
    pub fn parse(text: &'t str) -> Self {
        let text = text.trim();
        for sign in ["<=", ">=", "==", "<", ">", "="] {
            if let Some(limit) = text.strip_prefix(sign) {
                let sign = if sign == "==" { "=" } else { sign };
                return Self { sign: Some(sign), limit: limit.trim() };
            }
        }
        Self { sign: None, limit: text }
    }

    /// Whether `actual` is within the limit; `bare` is the sign to use if none was written.
    pub fn admits<N: PartialOrd>(&self, actual: &N, limit: &N, bare: &'static str) -> bool {
        match self.sign.unwrap_or(bare) {
            "<" => actual < limit,
            "<=" => actual <= limit,
            ">" => actual > limit,
            ">=" => actual >= limit,
            _ => actual == limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Comparison;

    #[test]
    fn signs_and_limits() {
        let bound = Comparison::parse(" <= 500ms ");
        assert_eq!(bound, Comparison { sign: Some("<="), limit: "500ms" });
        assert!(bound.admits(&5, &5, "=") && !Comparison::parse("<5").admits(&5, &5, "="));
        assert!(Comparison::parse("5").admits(&4, &5, "<=") && !Comparison::parse("5").admits(&4, &5, "="));
        assert!(Comparison::parse(">=3").admits(&3, &3, "=") && Comparison::parse("==3").admits(&3, &3, "<"));
    }
}
