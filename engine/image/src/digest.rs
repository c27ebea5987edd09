//! Identities: a digest names content by what it is.
//!
//! Three kinds of hash look alike and mean different things, so they have
//! different types (OCI image-spec `config.md`, "Layer DiffID" and "Layer ChainID"):
//!
//! - [`Digest`]: of bytes as they are stored and sent, so of a *compressed* layer;
//! - [`DiffId`]: of a layer's *uncompressed* archive;
//! - [`ChainId`]: of a layer *and all layers below it*; it names an unpacked layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::SerializableState as _;
use sha2::{Digest as _, Sha256, Sha512};

/// Why a text is not a digest; worded as Docker words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not `algorithm:hex`.
    #[error("invalid checksum digest format")]
    Format,
    /// An algorithm other than sha256 and sha512.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// Not as many hex digits as the algorithm gives.
    #[error("invalid checksum digest length")]
    Length,
}

/// A registered algorithm of OCI image-spec `descriptor.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The hash of content: `sha256:` and 64 hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::with(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` by this algorithm.
    #[must_use]
    pub fn with(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Reads a digest.
    ///
    /// # Errors
    ///
    /// If `text` is no digest of a known algorithm, in lower case.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, hex) = text.split_once(':').ok_or(Error::Format)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            "" => return Err(Error::Format),
            _ => return Err(Error::Algorithm),
        };
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::Format);
        }
        if hex.len() != algorithm.hex_length() {
            return Err(Error::Length);
        }
        Ok(Self { algorithm, hex: hex.into() })
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve hex digits, as people see them.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// A hasher of the same algorithm, for holding bytes against this digest.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Hashes bytes as they pass by. On processors with SHA instructions, `sha2` uses them.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::new(Sha512::new())),
        })
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// What the hasher knows, for another process to go on with ([`Hasher::thaw`]).
    #[must_use]
    pub fn freeze(&self) -> Vec<u8> {
        match &self.0 {
            State::Sha256(state) => state.serialize().to_vec(),
            State::Sha512(state) => state.serialize().to_vec(),
        }
    }

    /// A hasher that goes on where another stood. `None` if these bytes are no frozen hasher
    /// of this algorithm.
    #[must_use]
    pub fn thaw(algorithm: Algorithm, frozen: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::deserialize(frozen.try_into().ok()?).ok()?),
            Algorithm::Sha512 => State::Sha512(Box::new(Sha512::deserialize(frozen.try_into().ok()?).ok()?)),
        }))
    }

    /// The digest of all bytes taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self.0 {
            State::Sha256(state) => (Algorithm::Sha256, hex::encode(state.finalize())),
            State::Sha512(state) => (Algorithm::Sha512, hex::encode(state.finalize())),
        };
        Digest { algorithm, hex: hex.into() }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// The digest of a layer's uncompressed archive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The identity of a layer on top of those below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain id of a layer: its diff id if nothing is below it, else
    /// `sha256(chain id below + " " + diff id)`.
    #[must_use]
    pub fn next(below: Option<&ChainId>, diff_id: &DiffId) -> Self {
        match below {
            None => Self(diff_id.0.clone()),
            Some(below) => Self(Digest::of(format!("{below} {diff_id}").as_bytes())),
        }
    }

    /// The chain ids of a whole image, the lowest first, one a diff id.
    #[must_use]
    pub fn chain(diff_ids: &[DiffId]) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chain.push(Self::next(chain.last(), diff_id));
        }
        chain
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY), Ok(Digest::of(b"")));
        let mut long = Hasher::new(Algorithm::Sha512);
        long.update(b"abc");
        assert!(long.finish().to_string().starts_with("sha512:ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn a_hasher_goes_on_elsewhere() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for cut in [0, 1, 64, 1000] {
                let mut first = Hasher::new(algorithm);
                first.update(&vec![7; cut]);
                let frozen = first.freeze();
                let mut second = Hasher::thaw(algorithm, &frozen).expect("its own bytes");
                second.update(b"more");
                let whole = [vec![7; cut], b"more".to_vec()].concat();
                assert_eq!(second.finish(), Digest::with(algorithm, &whole));
                assert!(Hasher::thaw(algorithm, &frozen[1..]).is_none());
            }
        }
    }

    #[test]
    fn what_is_no_digest_says_why() {
        assert_eq!(Digest::parse("sha256"), Err(Error::Format));
        assert_eq!(Digest::parse("sha256:zz"), Err(Error::Format));
        assert_eq!(Digest::parse(&EMPTY.to_uppercase().replace("SHA", "sha")), Err(Error::Format));
        assert_eq!(Digest::parse("sha256:abcd"), Err(Error::Length));
        assert_eq!(Digest::parse("md5:d41d8cd98f00b204e9800998ecf8427e"), Err(Error::Algorithm));
        assert_eq!(Digest::parse("sha256:../../../../etc/passwd"), Err(Error::Format));
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let diffs = [DiffId(Digest::of(b"a")), DiffId(Digest::of(b"b"))];
        let chain = ChainId::chain(&diffs);
        assert_eq!(chain[0].0, diffs[0].0);
        assert_eq!(chain[1].0, Digest::of(format!("{} {}", diffs[0], diffs[1]).as_bytes()));
    }
}
