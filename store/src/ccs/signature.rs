// store/src/ccs/signature.rs
//! Ed25519 over a trove's id: keys, signatures, and the member of a package that holds them.
//!
//! What is signed is [`CONTEXT`] and the 32 bytes of the manifest's digest, so that a signature made for anything else is none
//! here. A key is known by all of its 32 bytes and by nothing shorter: `ed25519:` and 64 hexadecimal digits. Verification is
//! the strict one: no second encoding of a signature or key, and no key of small order, is taken. Format: docs/design/ccs.md,
//! "Signatures".

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use recipes::Digest;

use super::{CcsError, limits};

/// What stands before the digest in what is signed.
const CONTEXT: &[u8] = b"conary trove signature 1\n";
/// First bytes of the member.
const MAGIC: &[u8; 8] = b"CCSSIGNS";
/// The version that this code writes and reads.
const VERSION: u32 = 1;
/// Bytes before the first signature.
const HEAD: usize = 16;
/// Bytes of one key and its signature.
const ROW: usize = 96;

/// How keys are written.
const PREFIX: &str = "ed25519:";
/// First line of a file with a public key.
const PUBLIC: &str = "conary public key 1";
/// First line of a file with a secret key.
const SECRET: &str = "conary secret key 1";

/// A key that signatures are checked with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A key that signs. Its bytes are never shown by `Debug`.
pub struct SecretKey(SigningKey);

/// A signature of a trove by one key; nothing says that it is valid before [`Signature::verify`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// Whose it claims to be.
    pub key: PublicKey,
    /// The 64 bytes.
    pub bytes: [u8; 64],
}

/// A key or a file with one does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not `ed25519:` and 64 lower-case hexadecimal digits.
    #[error("a key is `ed25519:` and 64 hexadecimal digits in lower case")]
    Text,
    /// No point of the curve, or one of small order, for which signatures prove nothing.
    #[error("no signature can be checked with this key")]
    Weak,
    /// The file holds something else.
    #[error("the file does not hold a {expected} key of Conary")]
    File {
        /// `public` or `secret`.
        expected: &'static str,
    },
    /// A secret key where a public one belongs.
    #[error("the file holds a secret key; give the public one, and keep this one to yourself")]
    Secret,
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SecretKey").field(&self.public()).finish()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(read_hex(text)?)
    }
}

impl PublicKey {
    /// Takes the bytes of a key.
    ///
    /// # Errors
    /// [`KeyError::Weak`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(KeyError::Weak),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a file with a public key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(SECRET) {
            return Err(KeyError::Secret);
        }
        key_line(text, PUBLIC).ok_or(KeyError::File { expected: "public" })?.parse()
    }

    /// Returns what the file of this key holds.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("{PUBLIC}\n{self}\n")
    }
}

impl SecretKey {
    /// Makes a key of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the key that its signatures are checked with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Reads a file with a secret key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(text: &str) -> Result<Self, KeyError> {
        let line = key_line(text, SECRET).ok_or(KeyError::File { expected: "secret" })?;
        Ok(Self::from_seed(&read_hex(line)?))
    }

    /// Returns what the file of this key holds; who reads it can sign.
    #[must_use]
    pub fn to_file(&self) -> String {
        format!("{SECRET}\n{PREFIX}{}\n", hex(self.0.as_bytes()))
    }

    /// Signs a trove by its id.
    #[must_use]
    pub fn sign(&self, trove: &Digest) -> Signature {
        Signature { key: self.public(), bytes: self.0.sign(&message(trove)).to_bytes() }
    }
}

impl Signature {
    /// Says whether the signature is by its key and for this trove.
    #[must_use]
    pub fn verify(&self, trove: &Digest) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.bytes);
        VerifyingKey::from_bytes(&self.key.0).is_ok_and(|key| key.verify_strict(&message(trove), &signature).is_ok())
    }
}

/// Encodes the member: signatures by key, each key once, the latest of equal ones.
///
/// # Errors
/// [`CcsError::Limit`].
pub(super) fn encode(signatures: &[Signature]) -> Result<Vec<u8>, CcsError> {
    let by_key: std::collections::BTreeMap<PublicKey, [u8; 64]> =
        signatures.iter().map(|signature| (signature.key, signature.bytes)).collect();
    let count = limits::SIGNATURES.check(by_key.len() as u64)?;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEAD + ROW * by_key.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    for (key, bytes) in &by_key {
        out.extend_from_slice(&key.0);
        out.extend_from_slice(bytes);
    }
    Ok(out)
}

/// Returns the most bytes that the member has.
pub(super) const fn most_bytes() -> u64 {
    HEAD as u64 + ROW as u64 * limits::SIGNATURES.maximum
}

/// Decodes the member; whether the signatures are valid is another question.
///
/// # Errors
/// [`CcsError::Signatures`] for bytes that [`encode`] cannot have made, [`CcsError::Newer`] for a later version.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Signature>, CcsError> {
    let (head, rows) = bytes.split_at_checked(HEAD).ok_or(CcsError::Signatures)?;
    let number = |at: usize| {
        let bytes = head[at..at + 4].try_into().expect("because four bytes were taken");
        u32::from_le_bytes(bytes)
    };
    if &head[..8] != MAGIC {
        return Err(CcsError::Signatures);
    }
    if number(8) != VERSION {
        return Err(CcsError::Newer { what: "signatures", found: number(8), known: VERSION });
    }
    let count = limits::SIGNATURES.check(u64::from(number(12)))?;
    if count == 0 || rows.len() as u64 != count * ROW as u64 {
        return Err(CcsError::Signatures);
    }
    let signatures: Vec<Signature> = rows
        .chunks_exact(ROW)
        .map(|row| {
            let (key, bytes) = row.split_at(32);
            let key = PublicKey(key.try_into().expect("because 32 bytes were split off"));
            Signature { key, bytes: bytes.try_into().expect("because a row has 96 bytes") }
        })
        .collect();
    if signatures.windows(2).any(|pair| pair[0].key >= pair[1].key) {
        return Err(CcsError::Signatures);
    }
    Ok(signatures)
}

fn message(trove: &Digest) -> Vec<u8> {
    [CONTEXT, trove.as_bytes()].concat()
}

/// Returns the one line behind the first one of a key's file.
fn key_line<'t>(text: &'t str, first: &str) -> Option<&'t str> {
    text.strip_prefix(first)?.strip_prefix('\n')?.strip_suffix('\n').filter(|line| !line.contains('\n'))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_hex(text: &str) -> Result<[u8; 32], KeyError> {
    let digits = text.strip_prefix(PREFIX).ok_or(KeyError::Text)?.as_bytes();
    let lower = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
    if digits.len() != 64 || !digits.iter().all(lower) {
        return Err(KeyError::Text);
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        *byte = value(pair[0]) << 4 | value(pair[1]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_seed(&[byte; 32])
    }

    #[test]
    fn a_signature_is_for_one_trove_and_by_one_key() {
        let (trove, other) = (Digest::blake3([1; 32]), Digest::blake3([2; 32]));
        let signature = secret(7).sign(&trove);
        assert!(signature.verify(&trove) && !signature.verify(&other));
        assert!(!Signature { key: secret(8).public(), ..signature }.verify(&trove));
        for place in 0..64 {
            let mut bytes = signature.bytes;
            bytes[place] ^= 1;
            assert!(!Signature { bytes, ..signature }.verify(&trove), "byte {place}");
        }
        // The plain signature of the digest, as another protocol might make it, is none.
        let plain = SigningKey::from_bytes(&[7; 32]).sign(trove.as_bytes()).to_bytes();
        assert!(!Signature { bytes: plain, ..signature }.verify(&trove));
    }

    #[test]
    fn a_signature_has_one_encoding() {
        let trove = Digest::blake3([1; 32]);
        let signature = secret(7).sign(&trove);
        // S + L, where L is the order of the group, little-endian: the same equation, other bytes.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut bytes = signature.bytes;
        let mut carry = 0_u16;
        for (byte, more) in bytes[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(more);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert_ne!(bytes, signature.bytes);
        assert!(!Signature { bytes, ..signature }.verify(&trove));
    }

    #[test]
    fn keys_of_small_order_are_no_keys() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(PublicKey::from_bytes(neutral), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_bytes([0; 32]), Err(KeyError::Weak));
        // With such a key the neutral signature would fit every message.
        let mut bytes = [0; 64];
        bytes[0] = 1;
        assert!(!Signature { key: PublicKey(neutral), bytes }.verify(&Digest::blake3([1; 32])));
    }

    #[test]
    fn keys_have_one_spelling() {
        let key = secret(7).public();
        assert_eq!(key.to_string().parse(), Ok(key));
        let upper = key.to_string().to_uppercase().replace("ED25519", "ed25519");
        let short = &key.to_string()[..70];
        for text in ["", "ed25519:", upper.as_str(), short, &key.to_string()[8..]] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError::Text), "{text}");
        }
    }

    #[test]
    fn files_of_keys_are_not_confused() {
        let key = secret(7);
        assert_eq!(PublicKey::from_file(&key.public().to_file()), Ok(key.public()));
        assert_eq!(SecretKey::from_file(&key.to_file()).unwrap().public(), key.public());
        assert_eq!(PublicKey::from_file(&key.to_file()), Err(KeyError::Secret));
        assert_eq!(SecretKey::from_file(&key.public().to_file()).unwrap_err(), KeyError::File { expected: "secret" });
        assert!(PublicKey::from_file(&(key.public().to_file() + "more\n")).is_err());
        assert!(!format!("{key:?}").contains(&hex(key.0.as_bytes())));
    }

    #[test]
    fn the_member_has_one_encoding() {
        let trove = Digest::blake3([1; 32]);
        let signatures: Vec<Signature> = (1..5).map(|byte| secret(byte).sign(&trove)).collect();
        let bytes = encode(&signatures).unwrap();
        let back = decode(&bytes).unwrap();
        assert_eq!(back.len(), 4);
        assert_eq!(encode(&back).unwrap(), bytes);
        assert!(back.iter().all(|signature| signature.verify(&trove)));
        let mut swapped = bytes.clone();
        swapped[HEAD..].rotate_left(ROW);
        let mut newer = bytes.clone();
        newer[8] = 2;
        let twice = [&bytes[..HEAD], &bytes[HEAD..HEAD + ROW], &bytes[HEAD..HEAD + ROW]].concat();
        let none = encode(&[]).unwrap();
        let long = [&bytes[..], b"x"].concat();
        for bad in [&swapped, &newer, &twice, &none, &long, &bytes[..bytes.len() - 1].to_vec(), &bytes[..9].to_vec()] {
            assert!(decode(bad).is_err());
        }
        let many: Vec<Signature> = (0..65).map(|byte| secret(byte).sign(&trove)).collect();
        assert!(matches!(encode(&many), Err(CcsError::Limit { .. })));
    }
}
