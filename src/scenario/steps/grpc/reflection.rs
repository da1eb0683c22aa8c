//! Server reflection: version 1, or v1alpha if that is missing, which has the same messages under another
//! name. Only the types that a call needs are requested.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tokio::sync::mpsc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Reply;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::call::{CallEnd, MessageSender, name, open};
use super::connection::GrpcServer;
use super::message::suggestion;

/// Most files of one description.
const FILES: usize = 2000;

/// Most bytes of one description.
const BYTES: usize = 64 << 20;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReflectionVersion {
    /// `grpc.reflection.v1`.
    V1,
    /// `grpc.reflection.v1alpha`.
    V1Alpha,
}

impl ReflectionVersion {
    fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Self::V1 => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Self::V1Alpha => "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        })
    }
}

/// The method `method` of `service`, looked up on first use.
pub async fn method(
    server: &mut GrpcServer,
    service: &str,
    method: &str,
    metadata: &MetadataMap,
) -> Result<MethodDescriptor, String> {
    if server.pool.get_service_by_name(service).is_none() {
        match describe(server, service, metadata).await {
            Ok(()) => {}
            Err(ReflectionError::Unknown(code)) => {
                return Err(no_service(server, service, code, metadata).await);
            }
            Err(ReflectionError::Broken(reason)) => return Err(reason),
        }
    }
    let known = server.pool.get_service_by_name(service);
    let known =
        known.ok_or_else(|| format!("server reflection describes `{service}`, but it is not a service"))?;
    let found = known.methods().find(|known| known.name() == method);
    found.ok_or_else(|| {
        let names: Vec<String> = known.methods().map(|method| method.name().to_owned()).collect();
        let hint = suggestion(method, &names, "its methods are");
        format!("the service `{service}` has no method `{method}`{hint}")
    })
}

/// Looks up the type `name` unless it is known. Returns false if the server does not know it.
pub async fn learn(server: &mut GrpcServer, name: &str, metadata: &MetadataMap) -> bool {
    server.pool.get_message_by_name(name).is_some()
        || describe(server, name, metadata).await.is_ok() && server.pool.get_message_by_name(name).is_some()
}

/// Waits for any answer of the server. It has then received everything that was sent before.
pub async fn round_trip(server: &mut GrpcServer, metadata: &MetadataMap) {
    // Any answer will do, even an error.
    let _ = ask(server, vec![Question::ListServices(String::new())], metadata).await;
}

/// Why a symbol could not be described.
enum ReflectionError {
    /// The server refused with this code.
    Unknown(i32),
    /// The description is not available, for this reason.
    Broken(String),
}

impl From<String> for ReflectionError {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// Requests the file that defines `symbol`, and its imports.
async fn describe(
    server: &mut GrpcServer,
    symbol: &str,
    metadata: &MetadataMap,
) -> Result<(), ReflectionError> {
    let mut files: BTreeMap<String, (Bytes, Vec<String>)> = BTreeMap::new();
    let mut questions = vec![Question::FileContainingSymbol(symbol.to_owned())];
    let mut bytes = 0;
    while !questions.is_empty() {
        for answer in ask(server, questions, metadata).await? {
            match answer {
                Reply::FileDescriptorResponse(described) => {
                    for file in described.file_descriptor_proto {
                        bytes += file.len();
                        let (name, imports) = outline(&file)?;
                        files.insert(name, (file.into(), imports));
                    }
                }
                Reply::ErrorResponse(error) if files.is_empty() => {
                    return Err(ReflectionError::Unknown(error.error_code));
                }
                Reply::ErrorResponse(error) => {
                    let why = error.error_message;
                    return Err(ReflectionError::Broken(format!(
                        "server reflection refuses a file that `{symbol}` imports: {why}"
                    )));
                }
                _ => {
                    return Err(ReflectionError::Broken(
                        "server reflection sent an answer to another question".to_owned(),
                    ));
                }
            }
        }
        if files.len() > FILES || bytes > BYTES {
            let most = BYTES >> 20;
            return Err(ReflectionError::Broken(format!(
                "server reflection describes `{symbol}` with more than {FILES} files or {most} MiB"
            )));
        }
        // Some servers send the imports along with a file, others only on request.
        let imports: BTreeSet<&String> = files.values().flat_map(|(_, imports)| imports).collect();
        let missing = imports
            .into_iter()
            .filter(|name| !files.contains_key(*name) && server.pool.get_file_by_name(name).is_none());
        questions = missing.cloned().map(Question::FileByFilename).collect();
    }
    admit(&mut server.pool, files).map_err(|why| {
        ReflectionError::Broken(format!("server reflection sent an invalid description of `{symbol}`: {why}"))
    })
}

/// The name of a file and what it imports.
fn outline(file: &[u8]) -> Result<(String, Vec<String>), String> {
    let file = FileDescriptorProto::decode(file)
        .map_err(|e| format!("server reflection sent an invalid file descriptor: {e}"))?;
    Ok((file.name.unwrap_or_default(), file.dependency))
}

/// Adds files to `pool`, each after its imports. Their bytes are kept unchanged, including custom options.
fn admit(pool: &mut DescriptorPool, mut files: BTreeMap<String, (Bytes, Vec<String>)>) -> Result<(), String> {
    while !files.is_empty() {
        let next =
            files.iter().find(|(_, (_, imports))| !imports.iter().any(|name| files.contains_key(name)));
        let Some(name) = next.map(|(name, _)| name.clone()) else {
            return Err("its files import each other in a cycle".to_owned());
        };
        if let Some((file, _)) = files.remove(&name)
            && pool.get_file_by_name(&name).is_none()
        {
            pool.decode_file_descriptor_proto(file).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

async fn no_service(server: &mut GrpcServer, service: &str, code: i32, metadata: &MetadataMap) -> String {
    let code = Code::from_i32(code);
    if code != Code::NotFound {
        return format!("server reflection refuses to describe `{service}`: {}", name(code));
    }
    let list = ask(server, vec![Question::ListServices(String::new())], metadata).await.unwrap_or_default();
    let names: Vec<String> = list
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::ListServicesResponse(list) => Some(list.service.into_iter().map(|service| service.name)),
            _ => None,
        })
        .flatten()
        .filter(|name| !name.starts_with("grpc.reflection."))
        .collect();
    format!("the server has no service `{service}`{}", suggestion(service, &names, "its services are"))
}

/// Sends questions in the protocol version of the server and waits for as many answers.
async fn ask(
    server: &mut GrpcServer,
    questions: Vec<Question>,
    metadata: &MetadataMap,
) -> Result<Vec<Reply>, String> {
    let dialects = match server.dialect {
        Some(known) => vec![known],
        None => vec![ReflectionVersion::V1, ReflectionVersion::V1Alpha],
    };
    for dialect in dialects {
        match ask_in(server, dialect, &questions, metadata).await {
            Ok(answers) => {
                server.dialect = Some(dialect);
                return Ok(answers);
            }
            Err(CallEnd::Status { code: "UNIMPLEMENTED", .. }) => {}
            Err(CallEnd::Status { code, message, .. }) => {
                let colon = if message.is_empty() { "" } else { ": " };
                return Err(format!("the server refused reflection with {code}{colon}{message}"));
            }
            Err(CallEnd::Broken(reason)) => {
                return Err(format!("server reflection does not answer: {reason}; is this a gRPC server?"));
            }
        }
    }
    Err("the server has no reflection (grpc.reflection.v1 or v1alpha), which describes its methods: enable it in the program"
        .to_owned())
}

async fn ask_in(
    server: &GrpcServer,
    dialect: ReflectionVersion,
    questions: &[Question],
    metadata: &MetadataMap,
) -> Result<Vec<Reply>, CallEnd> {
    let (outbox, requests) = mpsc::unbounded_channel();
    for question in questions {
        let asked = ServerReflectionRequest { host: String::new(), message_request: Some(question.clone()) };
        let _ = outbox.send(Bytes::from(asked.encode_to_vec()));
    }
    drop(outbox);
    let mut request = Request::new(MessageSender::of(requests));
    *request.metadata_mut() = metadata.clone();
    let (_, mut stream) = open(server.channel(), dialect.path(), request).await?;
    let mut answers = Vec::new();
    while answers.len() < questions.len() {
        let Some(bytes) = stream.message().await.map_err(|status| CallEnd::of(&status))? else { break };
        let answer = ServerReflectionResponse::decode(bytes)
            .map_err(|e| CallEnd::Broken(format!("an answer cannot be read: {e}")))?;
        answers.extend(answer.message_response);
    }
    if answers.len() < questions.len() {
        return Err(CallEnd::Broken("there are fewer answers than questions".to_owned()));
    }
    Ok(answers)
}
