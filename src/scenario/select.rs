use serde_json_path::JsonPath;

use crate::value::Value;

/// A way to parts of a JSON value: RFC 9535, and the plain dotted form `$.a.b-c` whose keys need not be identifiers.
pub struct Selector(JsonPath);

impl Selector {
    /// Reads a path, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match JsonPath::parse(text) {
            Ok(path) => Ok(Self(path)),
            Err(error) => dotted(text).map(Self).ok_or_else(|| {
                if text.starts_with('$') {
                    format!("no JSONPath: {}", error.message())
                } else {
                    format!("no JSONPath: one begins with `$`, as in `$.{}`", text.trim_start_matches('.'))
                }
            }),
        }
    }

    /// All parts of `value` that it leads to.
    pub fn all<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        self.0.query(value).all()
    }

    /// The one part it leads to, a list where there are several, `None` where there is none.
    pub fn pick(&self, value: &Value) -> Option<Value> {
        let mut found = self.all(value);
        match found.len() {
            0 => None,
            1 => found.pop().cloned(),
            _ => Some(found.into_iter().cloned().collect()),
        }
    }
}

fn dotted(text: &str) -> Option<JsonPath> {
    let keys = text.strip_prefix("$.")?;
    if keys.is_empty() || keys.contains(['[', ']', '*', '?', '\'', '"', '\\', ' ']) {
        return None;
    }
    let quoted = keys.split('.').map(|key| (!key.is_empty()).then(|| format!("['{key}']")));
    JsonPath::parse(&format!("${}", quoted.collect::<Option<String>>()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_both_kinds() {
        let value = json!({"a": {"b-c": 1, "9": 2}, "items": [{"n": 1, "ok": true}, {"n": 2}]});
        let pick = |path: &str| Selector::parse(path).unwrap().pick(&value);
        assert_eq!(pick("$.a.b-c"), Some(json!(1)));
        assert_eq!(pick("$.a.9"), Some(json!(2)));
        assert_eq!(pick("$.items[*].n"), Some(json!([1, 2])));
        assert_eq!(pick("$.items[?@.ok].n"), Some(json!(1)));
        assert_eq!(pick("$.items[-1].n"), Some(json!(2)));
        assert_eq!(pick("$.none"), None);
        assert_eq!(pick("$"), Some(value.clone()));
    }

    #[test]
    fn bad_paths_say_why() {
        assert!(Selector::parse("a.b").err().unwrap().contains("`$.a.b`"));
        assert!(Selector::parse("$.a[").is_err() && Selector::parse("$..").is_err());
    }
}
