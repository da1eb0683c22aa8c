use serde::{Deserialize, Serialize};

use crate::value::Digest;

/// The key under which the output of a cached step is recorded, and its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheKey {
    /// The key.
    pub key: Digest,
    /// The verb.
    pub verb: String,
    /// Digest of its input.
    pub input: Digest,
    /// Digest of the schema that its output must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Digest>,
    /// Files that it reads, by glob.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<KeyFiles>,
    /// Files that it writes, as globs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub produces: Vec<String>,
}

/// Files whose content is a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFiles {
    /// The glob that chooses them.
    pub glob: String,
    /// How many there are.
    pub count: usize,
    /// Digest of their paths and contents.
    pub content: Digest,
}
