//! Message authentication codes: they distinguish recorded outputs of this user from those that another person put there.

use std::fmt;

use super::Digest;

/// A key for codes.
#[derive(Clone, Copy)]
pub struct Seal([u8; 32]);

impl Seal {
    /// The key derived from `secret`.
    pub fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key("atoll 2026-11 codes of recorded outputs", secret))
    }

    /// The code of `parts`, in their order.
    pub fn code<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Digest(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_depends_on_the_key_and_on_every_part() {
        let seal = Seal::new(b"one");
        let code = |parts: &[&str]| seal.code(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(code(&["a", "b"]), code(&["a", "b"]));
        assert_ne!(code(&["a", "b"]), code(&["ab", ""]));
        assert_ne!(code(&["a"]), Seal::new(b"two").code([b"a".as_slice()]));
    }
}
