//! Filters that write values as text for other programs.

use std::fmt::Write as _;

use minijinja::Value as Inner;
use minijinja::value::ValueKind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::lists::entries;
use crate::expr::canonical::canonical;
use crate::expr::check::{
    Checked, MAX_BYTES, display, flag, is_list, items, list, made, noun_error, text, text_or, too_long, wrong,
};
use crate::expr::machine::Machine;

/// What a URL has unencoded, apart from letters and digits.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same in a path.
const PATH: &AsciiSet = &PLAIN.remove(b'/');

/// The most columns of a table.
const MOST_COLUMNS: usize = 10_000;

pub(super) fn jsonl(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let mut text = String::new();
    for item in items(&args[0])? {
        let _ = writeln!(text, "{}", crate::expr::data::outer(&item));
        if text.len() > MAX_BYTES {
            return Err(too_long());
        }
    }
    made(text)
}

/// `csv(subject, separator, header)`.
pub(super) fn csv(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let separator = text_or(&args[1], ",")?;
    let [separator] = separator.as_bytes() else {
        return Err(wrong("the separator is one character of ASCII, such as `;`"));
    };
    if matches!(separator, b'"' | b'\n' | b'\r') {
        return Err(wrong("the separator is neither a quote nor a line break"));
    }
    let with_header = args[2].is_none() || flag(&args[2])?;
    let rows = list(&args[0])?;
    let columns = columns(&rows)?;
    let mut writer = csv::WriterBuilder::new().delimiter(*separator).flexible(true).from_writer(Vec::new());
    let failed = |error: csv::Error| wrong(error.to_string());
    if with_header && !columns.is_empty() {
        writer.write_record(columns.iter()).map_err(failed)?;
    }
    let mut size = 0_usize;
    for row in &rows {
        let cells: Vec<String> = if is_list(row) {
            items(row)?.map(|value| cell(&value)).collect()
        } else {
            columns
                .iter()
                .map(|column| row.get_attr(column).map_or_else(|_| String::new(), |value| cell(&value)))
                .collect()
        };
        size = cells.iter().fold(size, |size, cell| size.saturating_add(cell.len() + 1));
        if size > MAX_BYTES {
            return Err(too_long());
        }
        writer.write_record(&cells).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string())).and_then(made)
}

/// The keys of all rows, in order of first use; rows that are lists have none.
fn columns(rows: &[Inner]) -> Checked<Vec<String>> {
    let mut columns = indexmap::IndexSet::new();
    for (place, row) in rows.iter().enumerate() {
        match row.kind() {
            ValueKind::Map => columns.extend(entries(row)?.into_iter().map(|(key, _)| display(&key))),
            _ if is_list(row) => {}
            _ => {
                let message = noun_error("an object or a list", row).detail().unwrap_or_default().to_owned();
                return Err(wrong(format!("row {place}: {message}")));
            }
        }
        if columns.len() > MOST_COLUMNS {
            return Err(wrong("a table of more than 10,000 columns"));
        }
    }
    Ok(columns.into_iter().collect())
}

fn cell(value: &Inner) -> String {
    if value.is_none() || value.is_undefined() { String::new() } else { display(value) }
}

/// Text for a path, or the query of an object.
pub(super) fn urlencode(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    if args[0].kind() != ValueKind::Map {
        let text = display(&args[0]);
        return encoded(&text, PATH).and_then(made);
    }
    let mut query = String::new();
    for (key, value) in entries(&args[0])? {
        let values = if is_list(&value) { list(&value)? } else { vec![value] };
        for value in values {
            let separator = if query.is_empty() { "" } else { "&" };
            let _ = write!(
                query,
                "{separator}{}={}",
                encoded(&display(&key), PLAIN)?,
                encoded(&cell(&value), PLAIN)?
            );
            if query.len() > MAX_BYTES {
                return Err(too_long());
            }
        }
    }
    made(query)
}

fn encoded(text: &str, kept: &'static AsciiSet) -> Checked<String> {
    if text.len() > MAX_BYTES { Err(too_long()) } else { Ok(utf8_percent_encode(text, kept).to_string()) }
}

pub(super) fn sha256(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let bytes = args[0].as_str().map_or_else(|| canonical(&args[0]).into(), |text| text.as_bytes().to_vec());
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    made(digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// `format(subject, spec)`: `[[fill]align][sign][0][width][,][.digits][type]`, as in Python.
pub(super) fn format(_: &mut Machine<'_>, args: &[Inner]) -> Checked {
    let spec = super::layout::Layout::parse(text(&args[1])?)?;
    made(spec.apply(&args[0])?)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Expr, Functions, Scope};

    fn eval(text: &str) -> Result<serde_json::Value, String> {
        let value = Expr::parse(text, &Functions::empty()).unwrap().eval(&Scope::new());
        value.map(|value| value.to_value()).map_err(|error| error.message)
    }

    #[test]
    fn tables_have_the_columns_of_all_rows() {
        let rows = r#"[{'a': 1, 'b': 'x,y'}, {'b': 'a "q"', 'c': [1]}, [none, true]] | csv"#;
        assert_eq!(eval(rows).unwrap(), "a,b,c\n1,\"x,y\",\n,\"a \"\"q\"\"\",[1]\n,true\n");
        assert_eq!(eval("[[1, 2]] | csv(';')").unwrap(), "1;2\n");
        assert_eq!(eval("[{'a': 1}] | csv(header=false)").unwrap(), "1\n");
        assert_eq!(eval("[] | csv").unwrap(), "");
        assert!(eval("[1] | csv").unwrap_err().contains("row 0: expected an object or a list"));
        assert!(eval("[] | csv('ab')").unwrap_err().contains("one character"));
    }

    #[test]
    fn addresses_are_encoded() {
        assert_eq!(eval("'a b/c?d=ä&e' | urlencode").unwrap(), "a%20b/c%3Fd%3D%C3%A4%26e");
        assert_eq!(
            eval("{'q': 'a/b c', 'n': [1, 2], 'x': none} | urlencode").unwrap(),
            "q=a%2Fb%20c&n=1&n=2&x="
        );
    }
}
