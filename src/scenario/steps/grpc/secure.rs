//! Connections for gRPC. TLS has the same settings as for requests and WebSockets.
#![expect(clippy::disallowed_methods, reason = "a door: connects to the target of a scenario")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Uri;
use tower_service::Service;

use crate::scenario::network::stream::FairStream;

/// Name of HTTP/2 in ALPN.
const HTTP2: &[u8] = b"h2";

/// Connects to an address with TLS.
#[derive(Clone)]
pub(super) struct SecureConnector(Arc<ClientConfig>);

impl SecureConnector {
    pub(super) fn new(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Self(Arc::new(config))
    }
}

impl Service<Uri> for SecureConnector {
    type Response = TokioIo<FairStream<TlsStream<TcpStream>>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = TlsConnector::from(self.0.clone());
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(443);
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let socket = TcpStream::connect((host.as_str(), port)).await?;
            socket.set_nodelay(true)?;
            let stream = connector.connect(name, socket).await?;
            if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
                return Err(io::Error::other(
                    "the server does not support HTTP/2 over TLS, which gRPC requires",
                ));
            }
            Ok(TokioIo::new(FairStream::of(stream)))
        })
    }
}

/// Connects to an address without TLS.
#[derive(Clone)]
pub(super) struct PlainConnector(HttpConnector);

impl PlainConnector {
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self(tcp)
    }
}

impl Service<Uri> for PlainConnector {
    type Response = TokioIo<FairStream<TcpStream>>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let socket = self.0.call(uri);
        Box::pin(async move { Ok(TokioIo::new(FairStream::of(socket.await?.into_inner()))) })
    }
}
