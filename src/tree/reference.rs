//! Reference to a tree in a pipeline.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use crate::value::Digest;

/// Reference to a tree in pipelines: `{tree: "<digest>", files: [{path, size}]}`. Can be read from such an
/// object (other keys are ignored, so the output of a verb can be used) or from the digest as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeRef {
    /// Digest of the tree's manifest.
    pub tree: Digest,
    /// Files, sorted by path; empty if it was read from a digest.
    pub files: Vec<TreeEntry>,
}

/// A file in a [`TreeRef`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TreeEntry {
    /// Relative path with `/`.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenTreeRef {
    Bare(String),
    Full {
        tree: String,
        #[serde(default)]
        files: Vec<TreeEntry>,
    },
}

impl<'de> Deserialize<'de> for TreeRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a tree is its digest (64 hexadecimal digits) or an object {tree, files}";
        let written =
            WrittenTreeRef::deserialize(deserializer).map_err(|_| serde::de::Error::custom(expected))?;
        let (text, files) = match written {
            WrittenTreeRef::Bare(text) => (text, Vec::new()),
            WrittenTreeRef::Full { tree, files } => (tree, files),
        };
        let tree = Digest::parse(text.trim())
            .ok_or_else(|| serde::de::Error::custom(format!("{expected}; found {text:?}")))?;
        Ok(Self { tree, files })
    }
}

impl JsonSchema for TreeRef {
    fn schema_name() -> Cow<'static, str> {
        "TreeRef".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let files = generator.subschema_for::<Vec<TreeEntry>>();
        json_schema!({
            "description": "a tree of files: its digest, or an object that names it",
            "anyOf": [
                {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                {
                    "type": "object",
                    "required": ["tree"],
                    "properties": {"tree": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "files": files}
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tree_is_read_from_an_object_or_a_digest() {
        let digest = Digest::of("x").to_string();
        let full = json!({"tree": digest, "files": [{"path": "a", "size": 1}], "changes": []});
        let full: TreeRef = serde_json::from_value(full).unwrap();
        assert_eq!(full.files[0].path, "a");
        let bare: TreeRef = serde_json::from_value(json!(digest)).unwrap();
        assert_eq!(bare.tree, full.tree);
        assert_eq!(serde_json::to_value(&bare).unwrap(), json!({"tree": digest, "files": []}));
        for wrong in [json!("abc"), json!({}), json!(7), json!({"tree": 1})] {
            let error = serde_json::from_value::<TreeRef>(wrong).unwrap_err().to_string();
            assert!(error.contains("a tree is its digest"), "{error}");
        }
    }
}
