// recipes/src/digest.rs
//! Digests: the algorithm and the bytes, together.
//!
//! One spelling everywhere, `blake3:<hex>` or `sha256:<hex>`, in lower-case hexadecimal. `blake3` names content
//! of ours; the others are claims that somebody else made about a file. MD5 and SHA-1 are recognised only to be
//! refused with a way out. Nothing here computes a digest.

use std::fmt;
use std::str::FromStr;

use crate::text::{quote, serde_as_text};

/// A digest algorithm that Conary trusts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// BLAKE3 with 32 bytes, for content of ours.
    Blake3,
    /// SHA-256, for claims in other people's formats.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-384.
    Sha384,
    /// SHA-224.
    Sha224,
    /// `BLAKE2b` with 64 bytes, what `b2sum` prints.
    Blake2b,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::Blake3,
        Algorithm::Sha256,
        Algorithm::Sha512,
        Algorithm::Sha384,
        Algorithm::Sha224,
        Algorithm::Blake2b,
    ];

    /// Returns the name that stands before the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Blake3 => "blake3",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha224 => "sha224",
            Algorithm::Blake2b => "blake2b",
        }
    }

    /// Returns the length of a digest in bytes.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Algorithm::Sha224 => 28,
            Algorithm::Blake3 | Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 | Algorithm::Blake2b => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A digest and the algorithm that made it.
///
/// Orders by algorithm, then by bytes. Bytes beyond the algorithm's length are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// Wraps the 32 bytes of a BLAKE3 digest.
    #[must_use]
    pub fn blake3(bytes: [u8; 32]) -> Self {
        let mut wide = [0; 64];
        wide[..32].copy_from_slice(&bytes);
        Self { algorithm: Algorithm::Blake3, bytes: wide }
    }

    /// Wraps the bytes of a digest.
    ///
    /// # Errors
    /// [`DigestError::Length`] when they are not as many as the algorithm gives.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, DigestError> {
        if bytes.len() != algorithm.size_bytes() {
            return Err(DigestError::Length {
                algorithm,
                expected_hex: algorithm.size_bytes() * 2,
                actual_hex: bytes.len() * 2,
            });
        }
        let mut wide = [0; 64];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { algorithm, bytes: wide })
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the bytes, as many as the algorithm gives.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size_bytes()]
    }

    /// Returns the bytes in lower-case hexadecimal, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(self.algorithm.size_bytes() * 2);
        for byte in self.as_bytes() {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }

    /// Returns the first twelve hexadecimal digits, enough for a person to tell digests apart.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((name, hex)) = text.split_once(':') else {
            return Err(match text.len() {
                32 | 40 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    DigestError::Weak { algorithm: if text.len() == 32 { "md5" } else { "sha1" } }
                }
                _ => DigestError::NoAlgorithm { text: text.to_owned() },
            });
        };
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        let Some(algorithm) = algorithm else {
            return Err(match name.to_ascii_lowercase().as_str() {
                "md5" => DigestError::Weak { algorithm: "md5" },
                "sha1" | "sha-1" => DigestError::Weak { algorithm: "sha1" },
                "cksum" => DigestError::Weak { algorithm: "cksum" },
                _ => DigestError::UnknownAlgorithm { name: name.to_owned() },
            });
        };
        if hex.len() != algorithm.size_bytes() * 2 {
            return Err(DigestError::Length {
                algorithm,
                expected_hex: algorithm.size_bytes() * 2,
                actual_hex: hex.len(),
            });
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = match (hex_value(pair[0]), hex_value(pair[1])) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => {
                    return Err(DigestError::NotHex { text: hex.to_owned() });
                }
            };
        }
        Ok(Self { algorithm, bytes })
    }
}

serde_as_text!(Digest);

/// Returns the value of one hexadecimal digit.
fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Why a text is not a digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DigestError {
    /// MD5, SHA-1 and CRCs prove nothing: files with a chosen digest can be made.
    #[error("{algorithm} cannot prove what a file is: files with equal {algorithm} can be made at will")]
    Weak {
        /// `md5`, `sha1` or `cksum`.
        algorithm: &'static str,
    },
    /// A name before the colon that no algorithm has.
    #[error("unknown digest algorithm {}", quote(name))]
    UnknownAlgorithm {
        /// The text before the colon.
        name: String,
    },
    /// No colon.
    #[error("{} is not a digest: the algorithm is missing", quote(text))]
    NoAlgorithm {
        /// The whole text.
        text: String,
    },
    /// Too few or too many digits for the algorithm.
    #[error("a {algorithm} digest has {expected_hex} hexadecimal digits, this one {actual_hex}")]
    Length {
        /// The algorithm.
        algorithm: Algorithm,
        /// Digits that the algorithm gives.
        expected_hex: usize,
        /// Digits found.
        actual_hex: usize,
    },
    /// A character that is not a hexadecimal digit.
    #[error("{} is not hexadecimal", quote(text))]
    NotHex {
        /// The text behind the colon.
        text: String,
    },
}

impl DigestError {
    /// Returns what to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            DigestError::Weak { .. } => Some(
                "run `conary source pin RECIPE`: it fetches, shows where the bytes came from and writes the SHA-256"
                    .into(),
            ),
            DigestError::UnknownAlgorithm { .. } => Some(
                "write `sha256:`, `sha512:`, `sha384:`, `sha224:`, `blake2b:` or `blake3:` and the hexadecimal digits"
                    .into(),
            ),
            DigestError::NoAlgorithm { text } if text.len() == 64 => {
                Some("write `sha256:` before it, if that is what it is".into())
            }
            DigestError::NoAlgorithm { .. } => Some("write it like `sha256:` and 64 hexadecimal digits".into()),
            DigestError::Length { .. } | DigestError::NotHex { .. } => {
                Some("copy the whole digest, and only it".into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_round_trip() {
        for algorithm in Algorithm::ALL {
            let bytes: Vec<u8> = (0..64).map(|at: u8| at.wrapping_mul(37)).take(algorithm.size_bytes()).collect();
            let digest = Digest::new(algorithm, &bytes).unwrap();
            assert_eq!(digest.as_bytes(), bytes);
            assert_eq!(digest.to_string().parse(), Ok(digest));
            let upper = format!("{algorithm}:{}", digest.hex().to_uppercase());
            assert_eq!(upper.parse(), Ok(digest));
        }
    }

    #[test]
    fn digests_print_as_documented() {
        let digest: Digest = format!("sha256:{EMPTY_SHA256}").parse().unwrap();
        assert_eq!(digest.hex(), EMPTY_SHA256);
        assert_eq!(digest.short(), "e3b0c44298fc");
        assert_eq!(Digest::blake3([0xab; 32]).to_string(), format!("blake3:{}", "ab".repeat(32)));
        assert_eq!(through_serde(&digest), format!("sha256:{EMPTY_SHA256}"));
    }

    /// Serializes and reads back.
    fn through_serde(digest: &Digest) -> String {
        let value = toml::Value::try_from(digest).unwrap();
        assert_eq!(value.clone().try_into::<Digest>().unwrap(), *digest);
        value.as_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        let long = "a".repeat(64);
        let cases = [
            ("md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), "md5 cannot prove"),
            ("MD5:d41d8cd98f00b204e9800998ecf8427e".to_owned(), "md5 cannot prove"),
            ("sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(), "sha1 cannot prove"),
            ("d41d8cd98f00b204e9800998ecf8427e".to_owned(), "md5 cannot prove"),
            ("da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(), "sha1 cannot prove"),
            (long.clone(), "the algorithm is missing"),
            (String::new(), "the algorithm is missing"),
            (format!("crc32:{long}"), "unknown digest algorithm `crc32`"),
            (format!("SHA256:{long}"), "unknown digest algorithm `SHA256`"),
            ("sha256:abc".to_owned(), "has 64 hexadecimal digits, this one 3"),
            (format!("sha512:{long}"), "has 128 hexadecimal digits, this one 64"),
            (format!("sha256:{}é", "a".repeat(62)), "is not hexadecimal"),
            (format!("sha256: {}", "a".repeat(63)), "is not hexadecimal"),
        ];
        for (text, part) in cases {
            let error = text.parse::<Digest>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().is_some(), "{text}");
        }
        assert!(Digest::new(Algorithm::Sha256, &[0; 20]).is_err());
    }
}
