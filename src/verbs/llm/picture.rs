//! Pictures in a prompt.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::llm::MessageImage;
use crate::rooted_fs::read_file;
use crate::value::Digest;
use crate::verb::{Context, Failure};

/// The maximum size of a picture in bytes: the limit of the strictest provider.
const LARGEST: u64 = 5 << 20;

/// A picture: the path of a file, or evidence of a scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Picture {
    /// A file, relative to the project or absolute.
    File(String),
    /// Evidence of a scenario, such as `{name, media_type, digest}`.
    Kept(StoredPicture),
}

/// Evidence; its other fields are ignored.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct StoredPicture {
    /// Digest of the content.
    #[schemars(with = "String")]
    digest: Digest,
}

impl Picture {
    /// The picture in the form of a request. Its type is read from its first bytes; the name is ignored.
    pub(super) fn load(&self, cx: &Context) -> Result<MessageImage, Failure> {
        let (name, bytes) = match self {
            Self::File(path) => (format!("{path:?}"), file(path, cx)?),
            Self::Kept(kept) => {
                let bytes = cx.blobs.get(&kept.digest);
                let bytes = bytes.map_err(|e| Failure::permanent(format!("`images`: {e}")))?;
                (kept.digest.short(), bytes.to_vec())
            }
        };
        let wrong =
            |what: String, hint: &str| Failure::permanent(format!("`images`: {name} {what}")).hint(hint);
        if bytes.len() as u64 > LARGEST {
            return Err(wrong(
                format!("has more than {} MiB", LARGEST >> 20),
                "make it smaller: models accept no more",
            ));
        }
        let Some(media_type) = kind(&bytes) else {
            return Err(wrong("is not a picture".to_owned(), "use PNG, JPEG, GIF or WebP"));
        };
        Ok(MessageImage { media_type: media_type.to_owned(), data: STANDARD.encode(&bytes).into() })
    }
}

fn file(path: &str, cx: &Context) -> Result<Vec<u8>, Failure> {
    let place = cx.workspace.project.join(path);
    let failed = |e: std::io::Error| Failure::permanent(format!("`images`: {path:?} cannot be read: {e}"));
    read_file(&place, LARGEST).map_err(failed)
}

fn kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}
