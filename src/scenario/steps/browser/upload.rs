use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::diag::Code;
use crate::scenario::reader::bytes::EncodedBytes;
use crate::scenario::reader::yaml::YamlNode;
use crate::scenario::reader::{NodeReader, given};
use crate::scenario::values::Variables;
use crate::value::Value;

/// A file to select in a file field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    /// Name of the file.
    pub filename: String,
    /// Content as text, if there are no bytes.
    #[serde(default)]
    pub value: String,
    /// Content as bytes.
    #[serde(default)]
    pub bytes: Option<EncodedBytes>,
    /// Media type.
    #[serde(default, rename = "type")]
    pub media_type: String,
}

/// All keys in a scenario file.
pub const KEYS: &[&str] = &["filename", "value", "bytes", "type"];

impl Upload {
    /// The upload with variables filled in.
    #[must_use]
    pub fn filled(&self, variables: &Variables) -> Self {
        let fill = |text: &String| variables.fill(text).into_owned();
        Self { filename: fill(&self.filename), value: fill(&self.value), ..self.clone() }
    }
}

/// Reads `files`.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Vec<Upload>> {
    let Some(list) = given(node, "files") else {
        reader.complain(Code::ScenarioMissing, node, "`files` is missing: `upload` needs it").help =
            Some("write `files: [{ filename: note.txt, value: text of it }]`".into());
        return None;
    };
    reader.list(list, "`files`").iter().map(|item| one(reader, item)).collect()
}

fn one(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Upload> {
    reader.table(node, "a file", KEYS)?;
    Some(Upload {
        filename: reader.required(node, "filename", "a file")?,
        value: reader.optional(node, "value"),
        bytes: given(node, "bytes").and_then(|value| EncodedBytes::read(reader, value, "`bytes`")),
        media_type: reader.optional(node, "type"),
    })
}

/// The files as our script expects them.
pub fn told(files: &[Upload]) -> Result<Value, String> {
    files
        .iter()
        .map(|file| {
            let bytes = match &file.bytes {
                Some(bytes) => bytes.decode()?,
                None => file.value.clone().into_bytes(),
            };
            let content = STANDARD.encode(bytes);
            Ok(json!({ "filename": file.filename, "type": file.media_type, "base64": content }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::reader::keys::assert_published;

    #[test]
    fn the_published_schema_has_exactly_these_keys() {
        assert_published("/$defs/file/properties", KEYS);
    }
}
