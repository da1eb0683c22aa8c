//! Conversion of messages from and to JSON, by the mapping of proto3.

use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, SerializeOptions,
};

use crate::diag::nearest;
use crate::value::Value;

/// Most names in an error message.
const NAMED: usize = 24;

/// Encodes the message `value`; null is an empty message.
pub fn encode(descriptor: &MessageDescriptor, value: &Value) -> Result<Bytes, String> {
    if value.is_null() {
        return Ok(DynamicMessage::new(descriptor.clone()).encode_to_vec().into());
    }
    if let Some(stray) = stray(descriptor, value) {
        return Err(stray);
    }
    let message = DynamicMessage::deserialize(descriptor.clone(), value.clone())
        .map_err(|e| misfit(descriptor, value, &e))?;
    Ok(message.encode_to_vec().into())
}

/// Why `value` does not fit the message type, with the wrong field if it is only one.
fn misfit(descriptor: &MessageDescriptor, value: &Value, error: &serde_json::Error) -> String {
    let alone = |(key, value): (&String, &Value)| {
        let one: Value =
            std::iter::once((key.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into();
        DynamicMessage::deserialize(descriptor.clone(), one).err().map(|error| (key.clone(), error))
    };
    match value.as_object().and_then(|table| table.iter().find_map(alone)) {
        Some((key, error)) => {
            format!("the field `{key}` of `{}` does not fit: {error}", descriptor.full_name())
        }
        None => format!("the message is not a valid `{}`: {error}", descriptor.full_name()),
    }
}

/// Decodes a received message.
pub fn decode(descriptor: &MessageDescriptor, bytes: Bytes) -> Result<DynamicMessage, String> {
    DynamicMessage::decode(descriptor.clone(), bytes)
        .map_err(|why| format!("a message is not a valid `{}`: {why}", descriptor.full_name()))
}

/// A message as JSON text, with default values.
pub fn to_json(message: &DynamicMessage) -> Result<String, String> {
    let descriptor = message.descriptor();
    let broken =
        |why: &dyn std::fmt::Display| format!("a message is not a valid `{}`: {why}", descriptor.full_name());
    let mut text = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(false);
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)
        .map_err(|e| broken(&e))?;
    String::from_utf8(text).map_err(|e| broken(&e))
}

/// A message about a field of `value` that the type does not have.
fn stray(descriptor: &MessageDescriptor, value: &Value) -> Option<String> {
    // The well-known types have special JSON forms.
    if descriptor.package_name() == "google.protobuf" {
        return None;
    }
    value.as_object()?.iter().find_map(|(key, value)| {
        let field = descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key));
        match field {
            Some(field) => stray_in(&field, value),
            None if key.starts_with('[') => None,
            None => Some(no_field(descriptor, key)),
        }
    })
}

fn stray_in(field: &FieldDescriptor, value: &Value) -> Option<String> {
    let Kind::Message(inner) = field.kind() else { return None };
    if field.is_map() {
        let Kind::Message(inner) = inner.map_entry_value_field().kind() else { return None };
        return value.as_object()?.values().find_map(|value| stray(&inner, value));
    }
    match value {
        Value::Array(items) if field.is_list() => items.iter().find_map(|item| stray(&inner, item)),
        value => stray(&inner, value),
    }
}

fn no_field(descriptor: &MessageDescriptor, key: &str) -> String {
    let names: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    format!("`{}` has no field `{key}`{}", descriptor.full_name(), suggestion(key, &names, "its fields are"))
}

/// The nearest of `names`, or all of them.
pub fn suggestion(word: &str, names: &[String], those: &str) -> String {
    if let Some(near) = nearest(word, names.iter().map(String::as_str)) {
        return format!("; did you mean `{near}`?");
    }
    match names {
        [] => "; there are none".to_owned(),
        names if names.len() <= NAMED => format!("; {those} {}", names.join(", ")),
        names => format!("; {those} {} and {} more", names[..NAMED].join(", "), names.len() - NAMED),
    }
}
