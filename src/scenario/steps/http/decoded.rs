//! Decompression of bodies.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use futures_util::stream::{Stream, try_unfold};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use super::connections::WireResponse;

/// Value of `Accept-Encoding` for requests without this header.
pub const ACCEPTED: HeaderValue = HeaderValue::from_static("zstd,gzip,deflate,br");

/// Most encodings of one body.
const MOST: usize = 4;
/// Most bytes of a piece of a body.
const PIECE: usize = 16 << 10;
/// Most compressed bytes that are read before other tasks get a turn: they may decompress to nothing,
/// without end.
const TURN: usize = 64 << 10;

type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
type EncodedBody = StreamReader<ByteStream, Bytes>;

/// Compression format.
#[derive(Clone, Copy, Debug)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Why a body cannot be decompressed.
#[derive(Debug)]
pub struct DecodeError {
    coding: Coding,
    /// What is wrong with the bytes; `None` if the body is incomplete.
    wrong: Option<String>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = self.coding.name();
        match &self.wrong {
            Some(wrong) => write!(f, "it is not valid `{coding}`: {wrong}"),
            None => write!(f, "the `{coding}` data is incomplete"),
        }
    }
}

impl Error for DecodeError {}

impl DecodeError {
    /// The decode error among the causes of `error`, if there is one.
    pub fn of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        match inner.and_then(|inner| inner.downcast_ref()) {
            Some(fault) => Some(fault),
            None => Self::of(error.source()?),
        }
    }
}

impl Coding {
    /// The coding with this name, in any case; `x-gzip` is `gzip`.
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// A decoder for a body that begins with the byte `first`.
    fn decoder(self, first: u8, source: EncodedBody) -> Box<dyn Decoder> {
        match self {
            Self::Gzip => Box::new(GzipDecoder::new(source)),
            // With the zlib header, as in the standard, or without it, as some servers send it. Without the
            // header, a body cannot begin like this: it would be a stored block with padding that is not
            // zero.
            Self::Deflate if first & 0x0f == 8 => Box::new(ZlibDecoder::new(source)),
            Self::Deflate => Box::new(DeflateDecoder::new(source)),
            Self::Brotli => Box::new(BrotliDecoder::new(source)),
            Self::Zstd => Box::new(ZstdDecoder::new(source)),
        }
    }

    /// Whether the byte `first` begins another part of the same body.
    fn goes_on(self, first: u8) -> bool {
        match self {
            Self::Gzip => first == 0x1f,
            // A frame, or a skippable frame.
            Self::Zstd => first == 0x28 || first & 0xf0 == 0x50,
            Self::Deflate | Self::Brotli => false,
        }
    }

    /// Turns an error of the decoder into a [`DecodeError`]; errors of its source stay unchanged.
    fn explained(self, error: io::Error) -> io::Error {
        let is_of_source =
            error.get_ref().is_some_and(|inner| inner.is::<DecodeError>() || inner.is::<hyper::Error>());
        if is_of_source {
            return error;
        }
        // For deflate, only invalid bytes have a special error type; missing bytes do not.
        let typed = error.get_ref().and_then(|inner| inner.downcast_ref::<flate2::DecompressError>());
        let is_short =
            error.kind() == io::ErrorKind::UnexpectedEof || matches!(self, Self::Deflate) && typed.is_none();
        let wrong = (!is_short).then(|| error.to_string());
        io::Error::new(io::ErrorKind::InvalidData, DecodeError { coding: self, wrong })
    }
}

/// The answer with a decompressed body. Unknown encodings stay, and so do those inside them.
pub fn decoded(mut response: WireResponse) -> Result<hyper::Response<reqwest::Body>, String> {
    let mut names = names(response.headers());
    let mut codings = Vec::new();
    while let Some(name) = names.last() {
        match Coding::of(name) {
            Some(coding) => codings.push(coding),
            None if name.eq_ignore_ascii_case("identity") => {}
            None => break,
        }
        names.pop();
    }
    if codings.is_empty() {
        return Ok(response.map(reqwest::Body::wrap));
    }
    if codings.len() > MOST {
        return Err(format!("the body is compressed {} times, more than {MOST}", codings.len()));
    }
    let headers = response.headers_mut();
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    if let Some(left) = HeaderValue::try_from(names.join(", ")).ok().filter(|left| !left.is_empty()) {
        headers.insert(CONTENT_ENCODING, left);
    }
    Ok(response.map(|body| {
        let pieces = codings.into_iter().fold(pieces(body), |pieces, coding| undone(pieces, coding));
        reqwest::Body::wrap_stream(pieces)
    }))
}

/// The names of the encodings, in the order in which they were applied.
fn names(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The pieces of a body as they are received.
fn pieces(body: Incoming) -> ByteStream {
    Box::pin(try_unfold((body, 0), |(mut body, mut taken)| async move {
        if taken >= TURN {
            tokio::task::yield_now().await;
            taken = 0;
        }
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                taken += data.len();
                return Ok(Some((data, (body, taken))));
            }
        }
        Ok(None)
    }))
}

/// Decompresses a stream of pieces.
fn undone(pieces: ByteStream, coding: Coding) -> ByteStream {
    let source = StreamReader::new(pieces);
    Box::pin(try_unfold(DecodePart::Begins(source), move |part| part.next(coding)))
}

/// A part of a compressed body, which may have several.
enum DecodePart {
    Begins(EncodedBody),
    /// The decoder.
    Runs(Box<dyn Decoder>),
}

impl DecodePart {
    /// The next piece and the next state.
    async fn next(self, coding: Coding) -> io::Result<Option<(Bytes, Self)>> {
        let mut part = self;
        loop {
            match part {
                Self::Begins(mut source) => match source.fill_buf().await?.first().copied() {
                    Some(first) => part = Self::Runs(coding.decoder(first, source)),
                    None => return Ok(None),
                },
                Self::Runs(mut decoder) => {
                    let mut piece = vec![0; PIECE];
                    let length = decoder.read(&mut piece).await.map_err(|e| coding.explained(e))?;
                    if length > 0 {
                        piece.truncate(length);
                        return Ok(Some((piece.into(), Self::Runs(decoder))));
                    }
                    let mut source = decoder.into_source();
                    match source.fill_buf().await?.first() {
                        Some(first) if coding.goes_on(*first) => part = Self::Begins(source),
                        Some(0) if matches!(coding, Coding::Gzip) => {
                            padding(source, coding).await?;
                            return Ok(None);
                        }
                        Some(_) => return Err(trailing(coding)),
                        None => return Ok(None),
                    }
                }
            }
        }
    }
}

/// The error of a body with bytes after the compressed data.
fn trailing(coding: Coding) -> io::Error {
    let wrong = Some("there is data after the end".to_owned());
    io::Error::new(io::ErrorKind::InvalidData, DecodeError { coding, wrong })
}

/// Reads zeros up to the end: some programs pad gzip data with them.
async fn padding(mut source: EncodedBody, coding: Coding) -> io::Result<()> {
    loop {
        let piece = source.fill_buf().await?;
        let length = piece.len();
        if length == 0 {
            return Ok(());
        }
        if piece.iter().any(|byte| *byte != 0) {
            return Err(trailing(coding));
        }
        source.consume(length);
    }
}

/// Something that decompresses.
trait Decoder: AsyncRead + Send + Unpin {
    /// The source of the decoder.
    fn into_source(self: Box<Self>) -> EncodedBody;
}

macro_rules! decoders {
    ($($decoder:ident)*) => {
        $(impl Decoder for $decoder<EncodedBody> {
            fn into_source(self: Box<Self>) -> EncodedBody {
                self.into_inner()
            }
        })*
    };
}

decoders!(BrotliDecoder DeflateDecoder GzipDecoder ZlibDecoder ZstdDecoder);
