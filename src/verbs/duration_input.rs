//! Durations in the input of verbs.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration, written `300ms`, `2s` or `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationInput(pub Duration);

impl<'de> Deserialize<'de> for DurationInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        crate::duration::parse(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for DurationInput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::duration::exact(self.0))
    }
}

impl JsonSchema for DurationInput {
    fn schema_name() -> Cow<'static, str> {
        "Lapse".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a duration such as 300ms, 2s or 1m30s" })
    }
}
