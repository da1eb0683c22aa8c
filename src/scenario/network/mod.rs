//! Connections to the target that several step types share: TLS and fair reading.

pub mod errors;
pub mod stream;
mod target;
pub mod tls;

pub use target::TargetUrl;
pub use tls::{Tls, TlsGiven};

/// Most header lines of an answer with HTTP/1.1; the whole head has at most 400 KiB.
pub const MOST_HEADERS: usize = 2_000;
