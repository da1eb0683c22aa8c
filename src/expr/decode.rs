//! JSON text as a value, without a copy of it between.

use std::fmt;

use minijinja::Value as Inner;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::data::Data;
use super::record;

impl Data {
    /// The value that JSON `text` stands for: the same that its [`Value`](crate::value::Value) becomes.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<Json>(text).map(|json| Self(json.0))
    }
}

struct Json(Inner);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Inner;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Inner, E> {
        Ok(Inner::from(()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Inner, E> {
        Ok(Inner::from(truth))
    }

    fn visit_i64<E>(self, whole: i64) -> Result<Inner, E> {
        Ok(Inner::from(whole))
    }

    fn visit_u64<E>(self, whole: u64) -> Result<Inner, E> {
        Ok(i64::try_from(whole).map_or_else(|_| Inner::from(whole), Inner::from))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Inner, E> {
        Ok(Inner::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Inner, E> {
        Ok(Inner::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inner, A::Error> {
        let mut all = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(record::list(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Inner, A::Error> {
        let mut all = Vec::new();
        while let Some((Json(key), Json(value))) = entries.next_entry()? {
            all.push((key, value));
        }
        Ok(record::table(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn text_becomes_what_its_value_becomes() {
        for text in [
            "null",
            "[true, false, 0, -7, 9223372036854775807, 18446744073709551615, -9223372036854775808, 1.0, 1e300, 0.1]",
            r#"{"a": ["é\n\u0001", ""], "b": {}, "": [[], [[1]]], "k": "a text of more than twenty-two bytes"}"#,
            r#"{"1":1,"2":2,"3":3,"4":4,"5":5,"6":6,"7":7,"8":8,"9":9}"#,
            r#"{"twice": 1, "b": 2, "twice": 3}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            let (data, known) = (Data::parse(text.as_bytes()).unwrap(), Data::from_value(&value));
            assert_eq!(data, known, "{text}");
            assert_eq!(data.to_value(), value, "{text}");
            assert_eq!(data.extent(), known.extent(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in ["[1", "{\"a\":}", "1 2", "", deep.as_str()] {
            assert!(Data::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
