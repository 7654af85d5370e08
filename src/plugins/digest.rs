//! What a file's content, and code made of it, are known by.

use std::fmt;
use std::hash::Hasher;

use blake3::Hasher as Blake3;

/// A cryptographic hash (BLAKE3, as `b3sum` prints it): nobody can make a file that passes for another
/// one. A reload waits for it, of some 20 MB for a plugin in Python.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Of a file's content.
    pub(super) fn of(content: &[u8]) -> Self {
        Self(blake3::hash(content).into())
    }

    /// Of both.
    pub(super) fn with(self, other: Self) -> Self {
        let mut hash = Blake3::new();
        hash.update(&self.0);
        hash.update(&other.0);
        Self(hash.finalize().into())
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes in what implements [`std::hash::Hash`].
#[derive(Default)]
pub(super) struct DigestHasher(Blake3);

impl DigestHasher {
    /// Of all that was taken in.
    pub(super) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not a cryptographic hash: [`DigestHasher::digest`] is.
    fn finish(&self) -> u64 {
        let digest: [u8; 32] = self.0.finalize().into();
        digest[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash;

    use super::*;

    #[test]
    fn a_digest_is_blake3() {
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        let mut hasher = DigestHasher::default();
        b'a'.hash(&mut hasher);
        hasher.write(b"bc");
        assert!(hasher.digest() == Digest::of(b"abc"));
        assert!(Digest::of(b"a").with(Digest::of(b"b")) != Digest::of(b"b").with(Digest::of(b"a")));
    }
}
