use std::fmt::Write;

use indexmap::IndexMap;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::value::Value;

/// Entries of the protocol, not of the program.
const PROTOCOL: [&str; 2] = ["grpc-status", "grpc-message"];

/// Entries that vary or say nothing about the program.
const VOLATILE: [&str; 7] = [
    "date",
    "server",
    "content-type",
    "user-agent",
    "grpc-encoding",
    "grpc-accept-encoding",
    "accept-encoding",
];

/// The metadata of a request. Values of names that end in `-bin` are base64.
pub fn request<T: AsRef<str>>(headers: &[(&str, T)]) -> Result<MetadataMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{name}` is not a metadata name"))?;
        if key.as_str().starts_with("grpc-") {
            return Err(format!(
                "`{name}` is reserved: metadata names that begin with `grpc-` cannot be set"
            ));
        }
        let value = HeaderValue::from_bytes(value.as_ref().trim().as_bytes()).map_err(|_| {
            format!("the value of the metadata `{name}` contains a line break or control character")
        })?;
        map.append(key, value);
    }
    let metadata = MetadataMap::from_headers(map);
    for entry in metadata.iter() {
        if let KeyAndValueRef::Binary(key, value) = entry
            && value.to_bytes().is_err()
        {
            return Err(format!(
                "the value of the metadata `{key}` is not base64, which is required for names that end in `-bin`"
            ));
        }
    }
    Ok(metadata)
}

/// Names and values, sorted; several values of one name joined, binary ones as base64.
pub fn entries(metadata: &MetadataMap) -> impl Iterator<Item = (String, String)> {
    let mut table: IndexMap<String, String> = IndexMap::new();
    for entry in metadata.iter() {
        let (name, value) = match entry {
            KeyAndValueRef::Ascii(key, value) => (key.as_str(), value.as_encoded_bytes()),
            KeyAndValueRef::Binary(key, value) => (key.as_str(), value.as_encoded_bytes()),
        };
        if PROTOCOL.contains(&name) {
            continue;
        }
        let value = String::from_utf8_lossy(value);
        table
            .entry(name.to_owned())
            .and_modify(|known| *known = format!("{known}, {value}"))
            .or_insert_with(|| value.into_owned());
    }
    table.sort_keys();
    table.into_iter()
}

/// All entries as a table of texts.
pub fn table(metadata: &MetadataMap) -> Value {
    entries(metadata)
        .map(|(name, value)| (name, Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A line for each meaningful entry.
pub fn lines(metadata: &MetadataMap) -> String {
    let mut lines = String::new();
    for (name, value) in entries(metadata).filter(|(name, _)| !VOLATILE.contains(&name.as_str())) {
        let _ = writeln!(lines, "{name}: {value}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_checked() {
        let refused = |name, value| request(&[(name, value)]).unwrap_err();
        assert!(refused("a b", "x").contains("not a metadata name"));
        assert!(refused("x", "a\nb").contains("line break"));
        assert!(refused("grpc-timeout", "1S").contains("is reserved"));
        assert!(refused("key-bin", "not base64!").contains("is not base64"));
    }

    #[test]
    fn a_table_is_sorted_and_joined() {
        let metadata = request(&[("X-B", "2"), ("x-a", "1"), ("x-b", "3"), ("k-bin", "AAE=")]).unwrap();
        assert_eq!(table(&metadata).to_string(), r#"{"k-bin":"AAE=","x-a":"1","x-b":"2, 3"}"#);
    }
}
