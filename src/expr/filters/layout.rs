//! How a number or a text is laid out: the format specifications of Python, without those for other objects.

use minijinja::Value as Inner;

use crate::expr::check::{Checked, display, noun_error, number, wrong, wrong_with};

/// The most characters that a value is padded to, and the most digits behind the point.
const MOST_WIDTH: usize = 1_000;
const MOST_DIGITS: usize = 100;

/// A specification: `[[fill]align][sign][#][0][width][,][.digits][type]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    width: usize,
    separator: Option<char>,
    digits: Option<usize>,
    kind: Option<char>,
}

impl Layout {
    pub(super) fn parse(spec: &str) -> Checked<Self> {
        let wrong_spec = || {
            let shown: String = spec.chars().take(40).collect();
            wrong_with(
                format!("`{shown}` is not a format"),
                "write e.g. `format('.2f')`, `format(',')`, `format('>8')`, `format('03d')` or `format('.0%')`",
            )
        };
        let mut layout = Self::default();
        let mut rest: Vec<char> = spec.chars().take(100).collect();
        rest.reverse();
        let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '^' | '='));
        if rest.len() > 1 && is_align(rest.get(rest.len() - 2)) {
            layout.fill = rest.pop();
        }
        if is_align(rest.last()) {
            layout.align = rest.pop();
        }
        layout.sign = rest.pop_if(|c| matches!(c, '+' | '-' | ' '));
        if rest.pop_if(|c| *c == '0').is_some() {
            layout.fill = layout.fill.or(Some('0'));
            layout.align = layout.align.or(Some('='));
        }
        layout.width = digits(&mut rest).unwrap_or_default();
        layout.separator = rest.pop_if(|c| matches!(c, ',' | '_'));
        if rest.pop_if(|c| *c == '.').is_some() {
            layout.digits = Some(digits(&mut rest).ok_or_else(wrong_spec)?);
        }
        layout.kind = rest.pop();
        let is_known = layout.kind.is_none_or(|kind| "bdoxXeEfFgs%".contains(kind));
        if !rest.is_empty() || !is_known || spec.is_empty() {
            return Err(wrong_spec());
        }
        if layout.width > MOST_WIDTH || layout.digits.is_some_and(|digits| digits > MOST_DIGITS) {
            let message =
                format!("a format has a width of at most {MOST_WIDTH} and at most {MOST_DIGITS} digits");
            return Err(wrong(message));
        }
        Ok(layout)
    }

    /// `value` in this layout.
    pub(super) fn apply(&self, value: &Inner) -> Checked<String> {
        if value.is_number() && self.kind != Some('s') {
            return self.number(value);
        }
        let asks_for_number =
            self.kind.is_some_and(|kind| kind != 's') || self.sign.is_some() || self.separator.is_some();
        if asks_for_number || self.align == Some('=') {
            return Err(noun_error("a number", value));
        }
        let text = display(value);
        let text = match self.digits {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        };
        Ok(self.padded("", &text, '<'))
    }

    fn number(&self, value: &Inner) -> Checked<String> {
        let is_negative = number(value)?.is_sign_negative() && (number(value)? != 0.0 || !value.is_integer());
        let digits = match self.kind {
            Some(kind @ ('b' | 'd' | 'o' | 'x' | 'X')) => {
                if !value.is_integer() {
                    return Err(wrong_with(
                        format!("`{kind}` is a format of whole numbers"),
                        "round first: `… | round | int`",
                    ));
                }
                whole(kind, i128::try_from(value.clone())?.unsigned_abs())
            }
            None if value.is_integer() && self.digits.is_none() => {
                whole('d', i128::try_from(value.clone())?.unsigned_abs())
            }
            kind => fraction(kind, number(value)?.abs(), self.digits),
        };
        let sign = match (is_negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        Ok(self.padded(sign, &self.grouped(&digits), '>'))
    }

    /// `digits` with the separator between groups of three before the point.
    fn grouped(&self, digits: &str) -> String {
        let Some(separator) = self.separator else { return digits.to_owned() };
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (front, rest) = digits.split_at(end);
        let mut grouped = String::with_capacity(digits.len() * 2);
        for (place, digit) in front.chars().enumerate() {
            if place > 0 && (front.len() - place).is_multiple_of(3) {
                grouped.push(separator);
            }
            grouped.push(digit);
        }
        grouped + rest
    }

    fn padded(&self, sign: &str, text: &str, usual: char) -> String {
        let missing = self.width.saturating_sub(sign.len() + text.chars().count());
        let fill = |n: usize| self.fill.unwrap_or(' ').to_string().repeat(n);
        match self.align.unwrap_or(usual) {
            '<' => format!("{sign}{text}{}", fill(missing)),
            '^' => format!("{}{sign}{text}{}", fill(missing / 2), fill(missing - missing / 2)),
            '=' => format!("{sign}{}{text}", fill(missing)),
            _ => format!("{}{sign}{text}", fill(missing)),
        }
    }
}

/// A number at the end of `rest`, which is in reverse.
fn digits(rest: &mut Vec<char>) -> Option<usize> {
    let mut found = None;
    while let Some(digit) = rest.pop_if(|c| c.is_ascii_digit()) {
        let digit = digit.to_digit(10).unwrap_or_default() as usize;
        found = Some(found.unwrap_or(0_usize).saturating_mul(10).saturating_add(digit));
    }
    found
}

fn whole(kind: char, value: u128) -> String {
    match kind {
        'b' => format!("{value:b}"),
        'o' => format!("{value:o}"),
        'x' => format!("{value:x}"),
        'X' => format!("{value:X}"),
        _ => value.to_string(),
    }
}

fn fraction(kind: Option<char>, value: f64, digits: Option<usize>) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan".to_owned() } else { "inf".to_owned() };
    }
    let fixed = digits.unwrap_or(6);
    match kind {
        Some('e' | 'E') => {
            let made = scientific(value, fixed);
            if kind == Some('E') { made.to_uppercase() } else { made }
        }
        Some('%') => format!("{:.fixed$}%", value * 100.0),
        Some('f' | 'F') => format!("{value:.fixed$}"),
        _ => match digits {
            Some(significant) => general(value, significant.max(1)),
            None => value.to_string(),
        },
    }
}

/// `1.5e+03`.
fn scientific(value: f64, digits: usize) -> String {
    let made = format!("{value:.digits$e}");
    let Some((mantissa, exponent)) = made.split_once('e') else { return made };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{mantissa}e{sign}{exponent:0>2}")
}

/// So many significant digits, without zeros at the end.
fn general(value: f64, significant: usize) -> String {
    let rounded = scientific(value, significant - 1);
    let exponent =
        rounded.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or(0);
    let before = i32::try_from(significant).unwrap_or(i32::MAX);
    let shorten = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= before {
        let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "+00"));
        return format!("{}e{exponent}", shorten(mantissa));
    }
    let digits = usize::try_from(before - 1 - exponent).unwrap_or(0);
    shorten(&format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_in_python() {
        let number = |spec: &str, value: f64| {
            Layout::parse(spec).and_then(|layout| layout.apply(&Inner::from(value))).unwrap()
        };
        let whole = |spec: &str, value: i64| {
            Layout::parse(spec).and_then(|layout| layout.apply(&Inner::from(value))).unwrap()
        };
        let text = |spec: &str, value: &str| {
            Layout::parse(spec).and_then(|layout| layout.apply(&Inner::from(value))).unwrap()
        };
        assert_eq!(number(",.2f", 1_234_567.891), "1,234,567.89");
        assert_eq!(number("+.1f", 2.25), "+2.2");
        assert_eq!(number("08.2f", -3.25), "-0003.25");
        assert_eq!(number(".1%", 0.1234), "12.3%");
        assert_eq!(number(".2e", 12_345.0), "1.23e+04");
        assert_eq!(number(".3g", 1_234.5), "1.23e+03");
        assert_eq!(number(".3g", 0.5), "0.5");
        assert_eq!(number(".3", 123.456), "123");
        assert_eq!(
            (whole("03", 7), whole("03d", -7), whole(",", -1_234_567)),
            ("007".into(), "-07".into(), "-1,234,567".into())
        );
        assert_eq!(
            (whole("x", 255), whole("b", 5), whole(">5", 42), whole("*^6", 42)),
            ("ff".into(), "101".into(), "   42".into(), "**42**".into())
        );
        assert_eq!(whole(".1f", 3), "3.0");
        assert_eq!(whole(" d", i64::MAX), " 9223372036854775807");
        assert_eq!(
            (text("5", "ä"), text(">3", "ab"), text(".2", "abc"), text("-^5s", "x")),
            ("ä    ".into(), " ab".into(), "ab".into(), "--x--".into())
        );
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for spec in ["", "%d", "5.f", ".", "zz", "2000", ".500f", "5d5"] {
            assert!(Layout::parse(spec).is_err(), "{spec}");
        }
        let misfit = |spec: &str, value: Inner| Layout::parse(spec).unwrap().apply(&value).is_err();
        assert!(
            misfit("d", Inner::from(1.5)) && misfit(".2f", Inner::from("a")) && misfit(",", Inner::from("a"))
        );
    }
}
