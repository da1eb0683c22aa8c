//! Pictures that a prompt shows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::llm::MessageImage;
use crate::rooted_fs::read_file;
use crate::value::Digest;
use crate::verb::{Context, Failure};

/// Most bytes of a picture: what the strictest provider takes.
const LARGEST: u64 = 5 << 20;

/// A picture: the path of a file, or what was kept beside an observation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Picture {
    /// A file, relative to the project or absolute.
    File(String),
    /// Evidence of a scenario, such as `{name, media_type, digest}`.
    Kept(Kept),
}

/// Evidence; what else is said of it does not matter here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Kept {
    /// What it is found by.
    #[schemars(with = "String")]
    digest: Digest,
}

impl Picture {
    /// The picture as a request holds it. What kind it is its first bytes say, whatever it is called.
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
                "make it smaller: no model sees so much",
            ));
        }
        let Some(media_type) = kind(&bytes) else {
            return Err(wrong("is no picture".to_owned(), "models see PNG, JPEG, GIF and WebP"));
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
