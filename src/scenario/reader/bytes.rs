//! Binary content in scenario files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::yaml::YamlNode;
use super::{NodeReader, keys};
use crate::diag::Code;

/// Bytes, written as `{ base64: … }` or `{ hex: … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum EncodedBytes {
    /// RFC 4648, with padding.
    Base64(String),
    /// Two digits per byte; blanks are ignored.
    Hex(String),
}

impl EncodedBytes {
    /// Reads bytes, or reports an invalid value. `what` names their place in messages.
    pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode, what: &str) -> Option<Self> {
        let entries = reader.table(node, what, keys::BYTES)?;
        let [(key, value)] = entries else {
            reader.complain(
                Code::ScenarioValue,
                node,
                format!("{what} has exactly one of the keys `base64`, `hex` and `file`"),
            );
            return None;
        };
        if key.text() == Some("file") {
            // A readable file has already been replaced by its content.
            reader.mistyped(value, "`file`", "the name of a file next to the scenario");
            return None;
        }
        let form = match key.text() {
            Some("hex") => Self::Hex,
            Some("base64") => Self::Base64,
            // Already reported.
            _ => return None,
        };
        let bytes = form(reader.text(value, what)?);
        if let Err(reason) = bytes.decode() {
            reader.complain(Code::ScenarioValue, value, reason);
            return None;
        }
        Some(bytes)
    }

    /// The decoded bytes.
    pub fn decode(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Base64(text) => {
                let text: String = text.split_whitespace().collect();
                STANDARD.decode(text).map_err(|e| format!("invalid base64: {e}"))
            }
            Self::Hex(text) => {
                let digits: Vec<u32> = text
                    .chars()
                    .filter(|c| !c.is_whitespace())
                    .map(|c| c.to_digit(16).ok_or(format!("invalid hexadecimal: `{c}` is not a digit")))
                    .collect::<Result<_, _>>()?;
                if digits.len() % 2 == 1 {
                    return Err("invalid hexadecimal: a digit is missing".into());
                }
                Ok(digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EncodedBytes;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(EncodedBytes::Hex("00 ff 7f".into()).decode(), Ok(vec![0, 255, 127]));
        assert_eq!(EncodedBytes::Base64("AP9/\n".into()).decode(), Ok(vec![0, 255, 127]));
        assert_eq!(
            EncodedBytes::Hex("0".into()).decode(),
            Err("invalid hexadecimal: a digit is missing".into())
        );
        assert_eq!(
            EncodedBytes::Hex("0g".into()).decode(),
            Err("invalid hexadecimal: `g` is not a digit".into())
        );
        assert!(EncodedBytes::Base64("A".into()).decode().unwrap_err().starts_with("invalid base64: "));
    }
}
