//! JSONPath (RFC 9535) with bounded work.
//!
//! A path may come from a scenario file and the value from a product, and `$..[*]..[*]..[*]` over a value
//! of a few kilobytes visits more values than fit in memory. Before a path is evaluated, its work is
//! bounded from its form and from the size and depth of the value; a path over the limit is refused.

use std::fmt;

use serde_json_path::{JsonPath as Query, NormalizedPath};

use crate::value::Value;

mod form;

use form::QueryForm;

/// Most values that one evaluation may visit.
pub const MAX_WORK: u64 = 5_000_000;

/// A path that was parsed and whose work can be bounded.
#[derive(Clone, Debug)]
pub struct JsonPath {
    query: Query,
    form: QueryForm,
}

/// An evaluation that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuchWork;

impl fmt::Display for TooMuchWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the path would visit more than {MAX_WORK} values of this JSON: use fewer `..`, or names instead of `*` and filters"
        )
    }
}

impl JsonPath {
    /// Parses a path.
    ///
    /// # Errors
    /// The reason, if it is not a path of RFC 9535, is nested more than 16 levels deep or longer than
    /// 10,000 bytes, or matches against a pattern that is not a literal or is too large.
    pub fn parse(text: &str) -> Result<Self, String> {
        form::check_nesting(text)?;
        let query = Query::parse(text).map_err(|error| error.to_string())?;
        Ok(Self { query, form: QueryForm::of(text)? })
    }

    /// Whether the path has only names and indexes, so that it selects at most one value.
    pub fn is_singular(&self) -> bool {
        self.form.is_singular()
    }

    /// All values that the path selects.
    ///
    /// # Errors
    /// The work would exceed [`MAX_WORK`].
    pub fn select<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, TooMuchWork> {
        self.check_work(value)?;
        Ok(self.query.query(value).all())
    }

    /// The JSON pointers of all values that the path selects.
    ///
    /// # Errors
    /// The work would exceed [`MAX_WORK`].
    pub fn pointers(&self, value: &Value) -> Result<Vec<String>, TooMuchWork> {
        self.check_work(value)?;
        Ok(self.query.query_located(value).locations().map(NormalizedPath::to_json_pointer).collect())
    }

    fn check_work(&self, value: &Value) -> Result<(), TooMuchWork> {
        if self.is_singular() {
            return Ok(());
        }
        let (values, depth) = extent(value);
        if self.form.work(values, depth) > MAX_WORK { Err(TooMuchWork) } else { Ok(()) }
    }
}

/// Number of values in `value`, and its depth.
fn extent(value: &Value) -> (u64, u64) {
    let (mut values, mut deepest) = (0, 0);
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        values += 1;
        deepest = deepest.max(depth);
        match value {
            Value::Array(entries) => open.extend(entries.iter().map(|entry| (entry, depth + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, depth + 1))),
            _ => {}
        }
    }
    (values, deepest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn work(path: &str, value: &Value) -> u64 {
        let (values, depth) = extent(value);
        JsonPath::parse(path).unwrap().form.work(values, depth)
    }

    #[test]
    fn ordinary_paths_are_evaluated_on_large_values() {
        let items: Vec<Value> =
            (0..20_000).map(|n| json!({"id": n, "tags": [{"k": "a"}], "name": "x"})).collect();
        let value = json!({"items": items});
        for (path, count) in [
            ("$.items[*].id", 20_000),
            ("$..id", 20_000),
            ("$.items[?@.id > 19990].name", 9),
            ("$.items[?@.tags[?@.k == 'a']].id", 20_000),
            ("$.items[?count(@.tags[*]) == 1]", 20_000),
            ("$.items[0,1,2]", 3),
            ("$.items[:5].id", 5),
            ("$.items[?@.name == $.items[0].name].id", 20_000),
        ] {
            let found = JsonPath::parse(path).unwrap().select(&value).map(|found| found.len());
            assert_eq!(found, Ok(count), "{path}: {}", work(path, &value));
        }
        let few = json!({"items": items[..1_000]});
        let matching = JsonPath::parse("$.items[?match(@.name, '[a-z]{1,3}')].id").unwrap();
        assert_eq!(matching.select(&few).unwrap().len(), 1_000);
    }

    #[test]
    fn the_bound_is_never_below_what_is_found() {
        let mut value = json!([1, {"a": [2, 3]}]);
        for _ in 0..4 {
            value = json!({"a": [value, value], "b": value});
        }
        for path in
            ["$..*", "$..*..*", "$..*..a", "$..[0,0]", "$[*,*]['a','a']", "$..['a','b']..*", "$..[?@..a]..a"]
        {
            let parsed = JsonPath::parse(path).unwrap();
            let found = parsed.query.query(&value).all().len() as u64;
            assert!(found > 0 && found <= work(path, &value), "{path}: {found} > {}", work(path, &value));
        }
    }

    #[test]
    fn paths_that_multiply_are_refused() {
        let mut value = json!(1);
        for _ in 0..40 {
            value = json!([value, 1, 1, 1]);
        }
        let tens = format!("[{}]", ["*"; 10].join(","));
        for path in [
            "$..[*]..[*]..[*]..[*]..[*]".to_owned(),
            format!("${tens}{tens}{tens}{tens}{tens}"),
            "$..[?@..[?@..[?@..[?@.x == 1]]]]".to_owned(),
            "$..[?count($..[?count($..*) > 1]) > 1]".to_owned(),
        ] {
            assert_eq!(JsonPath::parse(&path).unwrap().select(&value), Err(TooMuchWork), "{path}");
            assert_eq!(JsonPath::parse(&path).unwrap().pointers(&value), Err(TooMuchWork), "{path}");
        }
    }

    #[test]
    fn paths_that_are_costly_to_parse_or_to_match_are_refused() {
        let nested = format!("$[?{}@.a{}]", "(".repeat(17), ")".repeat(17));
        assert!(JsonPath::parse(&nested).unwrap_err().contains("nested"));
        assert!(JsonPath::parse(&format!("$.{}", "a".repeat(10_000))).unwrap_err().contains("10,000"));
        assert!(JsonPath::parse("$[?match(@.a, @.b)]").unwrap_err().contains("literal"));
        assert!(JsonPath::parse("$[?search(@.a, '(x{1000}){1000}')]").unwrap_err().contains("too large"));
        assert!(JsonPath::parse("$[?search(@['),('], '[0-9]+')]").is_ok());
    }
}
