use std::borrow::Cow;

use super::assert::AssertionRule;
use crate::json_path::{JsonPath, TooMuchWork};
use crate::scenario::values::json;
use crate::value::Value;

/// A path to parts of a JSON value: RFC 9535, or the plain dotted form `$.a.b-c`, whose keys need not be
/// identifiers.
pub struct Selector {
    path: JsonPath,
}

/// Values that a path selects.
pub enum Selection {
    /// The only part that the path can select, if it exists.
    One(Option<Value>),
    /// All parts that a filter, a wildcard or a slice selects.
    Several(Vec<Value>),
}

impl Selection {
    /// The selection as one value: several parts are a list, which exists if it is not empty.
    pub fn whole(&self, rule: AssertionRule) -> Option<Value> {
        match self {
            Self::One(found) => found.clone(),
            Self::Several(found) if found.is_empty() && rule == AssertionRule::Exists => None,
            Self::Several(found) => Some(found.clone().into()),
        }
    }
}

impl Selector {
    /// Parses a path. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match JsonPath::parse(text) {
            Ok(path) => Ok(Self { path }),
            Err(reason) => dotted(text).map(|path| Self { path }).ok_or_else(|| {
                if text.starts_with('$') {
                    format!("no JSONPath: {reason}")
                } else {
                    format!(
                        "not a JSONPath, which begins with `$`, as in `$.{}`",
                        text.trim_start_matches('.')
                    )
                }
            }),
        }
    }

    /// The parts of `value` that the path selects.
    ///
    /// # Errors
    /// The path would visit too many values.
    pub fn find(&self, value: &Value) -> Result<Selection, String> {
        let rounded = json::rounded(value);
        let too_much = |refused: TooMuchWork| refused.to_string();
        let mut found: Vec<Value> = match &rounded {
            Cow::Borrowed(value) => self.path.select(value).map_err(too_much)?.into_iter().cloned().collect(),
            Cow::Owned(rounded) => {
                let pointers = self.path.pointers(rounded).map_err(too_much)?;
                pointers.iter().filter_map(|pointer| value.pointer(pointer).cloned()).collect()
            }
        };
        Ok(if self.path.is_singular() { Selection::One(found.pop()) } else { Selection::Several(found) })
    }

    /// The selected part, a list if there are several, `None` if there is none.
    ///
    /// # Errors
    /// The path would visit too many values.
    pub fn pick(&self, value: &Value) -> Result<Option<Value>, String> {
        Ok(match self.find(value)? {
            Selection::One(found) => found,
            Selection::Several(mut found) if found.len() == 1 => found.pop(),
            Selection::Several(found) => (!found.is_empty()).then(|| found.into()),
        })
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
        let pick = |path: &str| Selector::parse(path).unwrap().pick(&value).unwrap();
        assert_eq!(pick("$.a.b-c"), Some(json!(1)));
        assert_eq!(pick("$.a.9"), Some(json!(2)));
        assert_eq!(pick("$.items[*].n"), Some(json!([1, 2])));
        assert_eq!(pick("$.items[?@.ok].n"), Some(json!(1)));
        assert_eq!(pick("$.items[-1].n"), Some(json!(2)));
        assert_eq!(pick("$.none"), None);
        assert_eq!(pick("$"), Some(value.clone()));
    }

    #[test]
    fn only_names_and_numbers_lead_to_one_part() {
        for path in ["$", "$.a.b-c", "$['a.b,c:*?']", "$[0]", "$[-1].a", "$[\"a'b\"]['x\\'*']", "$.a.9"] {
            assert!(Selector::parse(path).unwrap().path.is_singular(), "{path}");
        }
        for path in ["$[*]", "$.*", "$..a", "$[?@.a]", "$[0,1]", "$[1:]", "$['a','b']", "$[?@.a == 'x'].id"] {
            assert!(!Selector::parse(path).unwrap().path.is_singular(), "{path}");
        }
        let big = json::parse(r#"{"ids": [123456789012345678901234567890, 1]}"#).unwrap();
        let first = Selector::parse("$.ids[?@ > 5]").unwrap().pick(&big).unwrap().unwrap();
        assert_eq!(json::literal(&first), Some("123456789012345678901234567890"));
    }

    #[test]
    fn bad_paths_say_why() {
        assert!(Selector::parse("a.b").err().unwrap().contains("`$.a.b`"));
        assert!(Selector::parse("$.a[").is_err() && Selector::parse("$..").is_err());
    }
}
