use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::reflection::{self, ReflectionVersion};
use super::secure::{PlainConnector, SecureConnector};
use crate::scenario::network::tls;
use crate::scenario::network::tls::TlsIdentity;

/// Flow-control window of a connection, in bytes. It is large, so that an unread stream does not block the
/// others.
const WINDOW: u32 = 32 << 20;

/// Flow-control window of one stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// A connection to the program, with its known types. A clone uses the same connection.
#[derive(Clone)]
pub struct GrpcServer {
    channel: Channel,
    pub(super) pool: DescriptorPool,
    pub(super) dialect: Option<ReflectionVersion>,
}

impl GrpcServer {
    /// Connects to `target`, which is `http://HOST:PORT`, `https://HOST:PORT`, `grpcs://HOST:PORT` or `HOST:PORT`. Over TLS, `trusted` says whom to
    /// trust and which certificate to show.
    pub async fn connect(target: &str, trusted: &TlsIdentity) -> Result<Self, String> {
        let target = target.trim();
        let url = match target.split_once("://") {
            Some(("grpc", place)) => format!("http://{place}"),
            Some(("grpcs", place)) => format!("https://{place}"),
            Some(_) => target.to_owned(),
            None => format!("http://{target}"),
        };
        let endpoint = Endpoint::from_shared(url.clone())
            .ok()
            .filter(|endpoint| {
                let (scheme, host) = (endpoint.uri().scheme_str(), endpoint.uri().host());
                matches!(scheme, Some("http" | "https")) && host.is_some()
            })
            .ok_or_else(|| format!("`{target}` is not an address such as http://127.0.0.1:50051"))?;
        let connected = match url.strip_prefix("https://") {
            None => with_windows(endpoint).connect_with_connector(PlainConnector::new()).await,
            // The connector handles TLS; the library would refuse `https` without TLS of its own.
            Some(place) => match Endpoint::from_shared(format!("http://{place}")) {
                Err(error) => Err(error),
                Ok(dialled) => {
                    let secure = SecureConnector::new(trusted.config_in_full()?);
                    let dialled = with_windows(dialled.origin(endpoint.uri().clone()));
                    dialled.connect_with_connector(secure).await
                }
            },
        };
        let channel = connected.map_err(|e| format!("no connection: {}", describe(&e)))?;
        Ok(Self { channel, pool: DescriptorPool::global(), dialect: None })
    }

    /// The channel for calls.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The method, as the server describes it.
    pub async fn method(
        &mut self,
        service: &str,
        method: &str,
        metadata: &MetadataMap,
    ) -> Result<MethodDescriptor, String> {
        reflection::method(self, service, method, metadata).await
    }
}

fn with_windows(endpoint: Endpoint) -> Endpoint {
    endpoint.initial_connection_window_size(WINDOW).initial_stream_window_size(STREAM_WINDOW)
}

/// The causes of an error, without repetitions and without the wrapper message of the library.
fn describe(error: &tonic::transport::Error) -> String {
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if causes.last().is_none_or(|last: &String| !last.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    tls::reason(if causes.is_empty() { error.to_string() } else { causes.join(": ") })
}
