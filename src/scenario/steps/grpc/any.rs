//! `google.protobuf.Any`: messages of types that the method does not name. Server reflection describes them.

use std::collections::BTreeSet;

use prost::Message;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorProto};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value as Field};
use tonic::metadata::MetadataMap;

use super::connection::GrpcServer;
use super::message;
use super::reflection::learn;
use crate::value::Value;

/// Most types that are looked up for one message.
const MOST: usize = 64;

/// JSON key with the type of a message in an `Any`.
const TYPE: &str = "@type";

/// Full name of the type `Any`.
const ANY: &str = "google.protobuf.Any";

/// Known message types, and the server to ask for more.
pub struct MessageTypes {
    server: GrpcServer,
    metadata: MetadataMap,
    /// Types that the server does not know either.
    unknown: BTreeSet<String>,
}

impl MessageTypes {
    /// Looks up types at `server`, with `metadata`.
    pub fn new(server: GrpcServer, metadata: MetadataMap) -> Self {
        Self { server, metadata, unknown: BTreeSet::new() }
    }

    /// All types that were found.
    pub fn into_pool(self) -> DescriptorPool {
        self.server.pool
    }

    /// `message` as JSON text. Of messages with an unknown type, only the name of the type is given.
    pub async fn told(&mut self, message: &DynamicMessage) -> Result<String, String> {
        let mut pool = message.descriptor().parent_pool().clone();
        if foreign(message, &pool).is_none() {
            return message::to_json(message);
        }
        for _ in 0..MOST {
            let Some(name) = foreign(message, &pool) else { break };
            if !self.unknown.contains(&name) && learn(&mut self.server, &name, &self.metadata).await {
                pool = self.server.pool.clone();
            } else {
                self.unknown.insert(name);
            }
            for name in &self.unknown {
                stand_in(&mut pool, name)?;
            }
        }
        let name = message.descriptor().full_name().to_owned();
        let known = pool.get_message_by_name(&name).unwrap_or_else(|| message.descriptor());
        message::to_json(&message::decode(&known, message.encode_to_vec().into())?)
    }
}

/// Adds an empty type in place of an unknown one.
fn stand_in(pool: &mut DescriptorPool, name: &str) -> Result<(), String> {
    if pool.get_message_by_name(name).is_some() {
        return Ok(());
    }
    let (package, own) = name.rsplit_once('.').unwrap_or(("", name));
    let file = FileDescriptorProto {
        name: Some(format!("unknown/{name}")),
        package: Some(package.to_owned()),
        message_type: vec![DescriptorProto { name: Some(own.to_owned()), ..DescriptorProto::default() }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    pool.add_file_descriptor_proto(file)
        .map_err(|_| format!("the type `{name}` in a message is not known to server reflection"))
}

/// A type in `message` that is not in `pool`.
fn foreign(message: &DynamicMessage, pool: &DescriptorPool) -> Option<String> {
    if message.descriptor().full_name() != ANY {
        return message.fields().find_map(|(_, field)| foreign_in(field, pool));
    }
    let url = message.get_field_by_name("type_url")?;
    let name = named(url.as_str()?)?;
    let Some(known) = pool.get_message_by_name(name) else { return Some(name.to_owned()) };
    let value = message.get_field_by_name("value")?;
    let inner = DynamicMessage::decode(known, value.as_bytes()?.clone()).ok()?;
    foreign(&inner, pool)
}

fn foreign_in(field: &Field, pool: &DescriptorPool) -> Option<String> {
    match field {
        Field::Message(message) => foreign(message, pool),
        Field::List(items) => items.iter().find_map(|item| foreign_in(item, pool)),
        Field::Map(table) => table.values().find_map(|value| foreign_in(value, pool)),
        _ => None,
    }
}

/// The types that `@type` keys in JSON name.
pub fn types(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().flat_map(types).collect(),
        Value::Object(table) => {
            let own = table.get(TYPE).and_then(Value::as_str).and_then(named);
            table.values().flat_map(types).chain(own).collect()
        }
        _ => Vec::new(),
    }
}

/// The name in a type URL such as `type.googleapis.com/shop.v1.Item`.
fn named(url: &str) -> Option<&str> {
    url.rsplit_once('/').map(|(_, name)| name).filter(|name| !name.is_empty())
}
