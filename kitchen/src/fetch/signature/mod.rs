// kitchen/src/fetch/signature/mod.rs
//! Detached signatures: OpenPGP, minisign and SSH, by a key that the recipe names.
//!
//! The signature's own content says which kind it is, and it must be made by one of the recipe's keys: a file beside the
//! recipe, or the key itself as text (an OpenPGP block, a minisign key, an SSH key). A fingerprint is not a key. The
//! signature must cover the file as it was fetched; where it is named after the archive without its compression
//! (`a.tar.sign` beside `a.tar.xz`), it covers what comes out of the compression. What held once is remembered with the
//! exact bytes of file, signature and keys, so that only a change of one of them asks again.
//!
//! Times are judged at the moment at which the signature says it was made, since nothing here reads a clock: a
//! key that expired later still vouches for what it signed before. A revoked key vouches for nothing.

mod openpgp;

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use recipes::Digest;
use ssh_key::{PublicKey, SshSig};
use store::{SourceKind, SourceRow, Store};

use super::error::FetchError;
use super::file::{Wanted, open_regular};
use super::place::Place;
use super::{Event, Fetching};
use crate::shown::shown;
use crate::unpack::{self, Limits};

/// The largest signature, and the largest file of keys.
const SMALL_BYTES: u64 = 4 << 20;
/// The largest file whose signature covers its bytes and not a digest of them.
const WHOLE_BYTES: u64 = 1 << 30;
/// Counts changes of what counts as valid; part of what is remembered.
const POLICY: u32 = 1;

/// Why a signature is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It cannot be had.
    #[error("the signature cannot be fetched")]
    Missing(#[source] Box<FetchError>),
    /// It is none of the kinds that are known.
    #[error("{file} is not an OpenPGP, minisign or SSH signature")]
    Unknown {
        /// The signature's name.
        file: String,
    },
    /// It, or what is behind it, is malformed.
    #[error("the signature is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be read.
    #[error("the key {key} cannot be used: {reason}")]
    Key {
        /// The key, or the file that holds it.
        key: String,
        /// Why.
        reason: String,
    },
    /// None of the recipe's keys made it.
    #[error("it was made by {made_by}, which is none of the recipe's keys")]
    OtherKey {
        /// The key that made it, as far as it says.
        made_by: String,
    },
    /// It uses a digest that can be forged.
    #[error("it uses {algorithm}, which can be forged")]
    Weak {
        /// The digest.
        algorithm: String,
    },
    /// Its key was not valid when it was made.
    #[error("the key {key} {why}")]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is for another purpose than files.
    #[error("it was made for {namespace:?}, which is another purpose")]
    Purpose {
        /// The purpose.
        namespace: String,
    },
    /// It is over other bytes.
    #[error("it was made over other bytes")]
    Wrong,
    /// The file is too large for this kind of signature.
    #[error("the file is too large for a signature of this kind")]
    TooLarge,
    /// What was signed cannot be read.
    #[error("what was signed cannot be read")]
    Read(#[source] std::io::Error),
}

impl SignatureError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OtherKey { .. } | Self::Invalid { .. } => {
                "if upstream changed its key, get the new one from a place that you trust and put it into `keys`"
                    .to_owned()
            }
            Self::Wrong => "do not use this file: ask upstream, or take a release whose signature holds".to_owned(),
            Self::Weak { .. } => {
                "leave `signature` and `keys` out: the checksum still pins the file, and this signature adds nothing"
                    .to_owned()
            }
            Self::Key { .. } => {
                "export it with `gpg --armor --export`, or use the `.pub` file of minisign or SSH".to_owned()
            }
            Self::Missing(source) => return source.hint(),
            _ => return None,
        })
    }
}

/// What a signature is over.
pub(super) trait Signed {
    /// Its bytes from the start.
    fn open(&self) -> Result<Box<dyn Read + '_>, SignatureError>;

    /// All of its bytes.
    fn whole(&self) -> Result<Vec<u8>, SignatureError> {
        let mut bytes = Vec::new();
        self.open()?.take(WHOLE_BYTES + 1).read_to_end(&mut bytes).map_err(SignatureError::Read)?;
        if bytes.len() as u64 > WHOLE_BYTES { Err(SignatureError::TooLarge) } else { Ok(bytes) }
    }
}

impl Fetching<'_> {
    /// Holds a file of the store against the signature that the recipe names.
    pub(super) fn verify_signature(
        &self,
        wanted: &Wanted,
        object: &Digest,
        signature: &recipes::Signature,
    ) -> Result<(), FetchError> {
        let file = shown(wanted.file_name.as_bytes());
        let failed = |source| FetchError::Signature { file: file.clone(), source: Box::new(source) };
        let name = signature.location.rsplit('/').next().unwrap_or(&signature.location).to_owned();
        let bytes = match self.signature_bytes(object, signature, &name, wanted.mirrors) {
            Ok(bytes) => bytes,
            Err(FetchError::Cancelled) => return Err(FetchError::Cancelled),
            Err(error) => return Err(failed(SignatureError::Missing(Box::new(error)))),
        };
        let keys = keys(self.directory, &signature.keys).map_err(failed)?;
        let uncompressed = is_over_uncompressed(wanted.file_name, &name);
        let memory = remembered(object, &bytes, &keys, uncompressed);
        if self.store.source(&memory)?.is_some() {
            return Ok(());
        }
        let signed = Stored { fetching: self, object: *object, uncompressed };
        let made_by = verify(&name, &bytes, &keys, &signed, "file").map_err(failed)?;
        let row = SourceRow {
            object: *object,
            size_bytes: 0,
            kind: SourceKind::File,
            origin: made_by.clone(),
            file_name: wanted.file_name.to_owned(),
        };
        self.store.record_source(&memory, &row)?;
        (self.events)(Event::Verified { file, key: made_by });
        Ok(())
    }

    /// The signature's own bytes: from beside the recipe, from the store, or from where the recipe says.
    fn signature_bytes(
        &self,
        object: &Digest,
        signature: &recipes::Signature,
        name: &str,
        mirrors: &[String],
    ) -> Result<Vec<u8>, FetchError> {
        if let Place::Local(path) = Place::of(&signature.location, self.directory)? {
            return read_small(&path);
        }
        // A signature has no checksum: what was fetched for this file is kept for it.
        let claim = fetched_for(object, signature);
        if !self.options.refetch
            && let Some(row) = self.store.source(&claim)?
            && self.store.has(&row.object)?
        {
            return Ok(self.store.read(&row.object)?);
        }
        let wanted = Wanted { url: &signature.location, file_name: name, checksums: &[], mirrors };
        let obtained = self.find_anywhere(&wanted)?;
        let row = SourceRow {
            object: obtained.object,
            size_bytes: obtained.size_bytes,
            kind: SourceKind::File,
            origin: obtained.origin,
            file_name: name.to_owned(),
        };
        self.store.record_source(&claim, &row)?;
        if obtained.size_bytes > SMALL_BYTES {
            return Err(FetchError::Kind { path: PathBuf::from(name), wanted: "as small as a signature" });
        }
        Ok(self.store.read(&obtained.object)?)
    }
}

/// Whether a file's signature was seen to hold, by one of the keys that the recipe names now.
pub(super) fn is_remembered(
    store: &Store,
    directory: &Path,
    (file_name, object): (&str, &Digest),
    signature: &recipes::Signature,
) -> Result<bool, FetchError> {
    let name = signature.location.rsplit('/').next().unwrap_or(&signature.location);
    let bytes = if let Ok(Place::Local(path)) = Place::of(&signature.location, directory) {
        read_small(&path).ok()
    } else {
        let row = store.source(&fetched_for(object, signature))?;
        row.and_then(|row| store.read(&row.object).ok())
    };
    // What cannot be read is for the fetch phase to say.
    let (Some(bytes), Ok(keys)) = (bytes, keys(directory, &signature.keys)) else { return Ok(false) };
    let memory = remembered(object, &bytes, &keys, is_over_uncompressed(file_name, name));
    Ok(store.source(&memory)?.is_some())
}

/// The row of a signature that was fetched for a file.
fn fetched_for(object: &Digest, signature: &recipes::Signature) -> String {
    format!("signature:{object} {}", signature.location)
}

/// The contents of the keys that a recipe names.
pub(super) fn keys(directory: &Path, named: &[String]) -> Result<Vec<Key>, SignatureError> {
    named.iter().map(|key| one_key(directory, key)).collect()
}

fn one_key(directory: &Path, key: &str) -> Result<Key, SignatureError> {
    let text = key.trim();
    let is_text = text.starts_with("ssh-")
        || text.starts_with("ecdsa-")
        || text.starts_with("sk-")
        || text.starts_with("-----BEGIN ")
        || text.starts_with("untrusted comment:")
        || (text.starts_with("RW") && text.len() == 56 && !text.contains('.'));
    if is_text {
        return Ok(Key {
            name: shown(text.lines().next().unwrap_or_default().as_bytes()),
            bytes: text.as_bytes().to_vec(),
        });
    }
    let bytes = read_small(&directory.join(text))
        .map_err(|error| SignatureError::Key { key: text.to_owned(), reason: error.to_string() })?;
    Ok(Key { name: text.to_owned(), bytes })
}

/// A key, or a file with several, as the recipe gives it.
pub(super) struct Key {
    name: String,
    pub(super) bytes: Vec<u8>,
}

impl Key {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    fn unusable(&self, reason: &dyn std::fmt::Display) -> SignatureError {
        SignatureError::Key { key: self.name.clone(), reason: shown(reason.to_string().as_bytes()) }
    }
}

/// A file of the store, or what comes out of its compression.
struct Stored<'a> {
    fetching: &'a Fetching<'a>,
    object: Digest,
    uncompressed: bool,
}

impl Signed for Stored<'_> {
    fn open(&self) -> Result<Box<dyn Read + '_>, SignatureError> {
        let file = self
            .fetching
            .store
            .open_object(&self.object)
            .map_err(|error| SignatureError::Read(std::io::Error::other(error)))?;
        if self.uncompressed {
            let reader =
                unpack::decompressed(file, &Limits::default(), self.fetching.cancel).map_err(SignatureError::Read)?;
            return Ok(Box::new(reader));
        }
        Ok(Box::new(file))
    }
}

/// Verifies a signature and returns who made it. SSH's say what for: `purpose`.
pub(super) fn verify(
    name: &str,
    signature: &[u8],
    keys: &[Key],
    signed: &dyn Signed,
    purpose: &str,
) -> Result<String, SignatureError> {
    let text = std::str::from_utf8(signature).ok();
    if let Some(text) = text.map(str::trim_start) {
        if text.starts_with("-----BEGIN SSH SIGNATURE-----") {
            return verify_ssh(text, keys, signed, purpose);
        }
        if text.starts_with("untrusted comment:") {
            return verify_minisign(text, keys, signed);
        }
        if text.starts_with("-----BEGIN PGP SIGNATURE-----") {
            return openpgp::verify(signature, keys, signed);
        }
    }
    // The first byte of a binary signature packet: tag 2, in either form of length.
    if matches!(signature.first(), Some(0x88..=0x8b | 0xc2)) {
        return openpgp::verify(signature, keys, signed);
    }
    Err(SignatureError::Unknown { file: shown(name.as_bytes()) })
}

/// Verifies what `ssh-keygen -Y sign -n PURPOSE` makes.
fn verify_ssh(text: &str, keys: &[Key], signed: &dyn Signed, purpose: &str) -> Result<String, SignatureError> {
    let malformed = |error: ssh_key::Error| SignatureError::Malformed { reason: error.to_string() };
    let signature = SshSig::from_pem(text.trim_end().to_owned() + "\n").map_err(malformed)?;
    let made_by = PublicKey::new(signature.public_key().clone(), "").fingerprint(ssh_key::HashAlg::Sha256).to_string();
    let mut found = None;
    for key in keys {
        let lines = key.text().unwrap_or_default().lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // Keys of the other kinds may stand beside it.
            let Ok(public) = PublicKey::from_openssh(line) else { continue };
            if public.key_data() == signature.public_key() {
                found = Some(public);
            }
        }
    }
    let Some(key) = found else { return Err(SignatureError::OtherKey { made_by }) };
    if signature.namespace() != purpose {
        return Err(SignatureError::Purpose { namespace: shown(signature.namespace().as_bytes()) });
    }
    key.verify(purpose, &signed.whole()?, &signature).map_err(|_| SignatureError::Wrong)?;
    Ok(if key.comment().is_empty() { made_by } else { format!("{made_by} ({})", shown(key.comment().as_bytes())) })
}

/// Verifies what `minisign -S` makes.
fn verify_minisign(text: &str, keys: &[Key], signed: &dyn Signed) -> Result<String, SignatureError> {
    use minisign_verify::{Error, PublicKey, Signature};
    let malformed = |error: Error| SignatureError::Malformed { reason: error.to_string() };
    if text.trim_end().lines().count() != 4 {
        return Err(SignatureError::Malformed { reason: "a minisign signature has four lines".to_owned() });
    }
    let signature = Signature::decode(text).map_err(malformed)?;
    let mut other = None;
    for key in keys {
        let Some(content) = key
            .text()
            .map(str::trim)
            .filter(|content| content.starts_with("RW") || content.starts_with("untrusted comment:"))
        else {
            continue;
        };
        let public =
            if content.starts_with("RW") { PublicKey::from_base64(content) } else { PublicKey::decode(content) };
        let public = public.map_err(|error| key.unusable(&error))?;
        let result = match public.verify_stream(&signature) {
            Ok(mut stream) => {
                let mut reader = signed.open()?;
                let mut buffer = vec![0; 256 << 10];
                loop {
                    match reader.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(count) => stream.update(&buffer[..count]),
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(SignatureError::Read(error)),
                    }
                }
                stream.finalize()
            }
            // The older form, over the bytes themselves.
            Err(Error::UnsupportedLegacyMode) => public.verify(&signed.whole()?, &signature, true),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => return Ok(format!("minisign key {}", shown(key.name.as_bytes()))),
            Err(Error::UnexpectedKeyId) => other = Some("another minisign key".to_owned()),
            Err(_) => return Err(SignatureError::Wrong),
        }
    }
    Err(SignatureError::OtherKey { made_by: other.unwrap_or_else(|| "a minisign key".to_owned()) })
}

/// Whether a signature is named after what is inside the compression: `a.tar.sign` for `a.tar.xz`.
fn is_over_uncompressed(file_name: &str, signature_name: &str) -> bool {
    let signed = [".sign", ".sig", ".asc", ".minisig"].iter().find_map(|suffix| signature_name.strip_suffix(suffix));
    let inner = [".gz", ".xz", ".bz2", ".zst", ".lz", ".lzma"].iter().find_map(|suffix| file_name.strip_suffix(suffix));
    signed.is_some() && signed == inner
}

/// The row that says that exactly this signature by one of exactly these keys held for exactly this object.
fn remembered(object: &Digest, signature: &[u8], keys: &[Key], uncompressed: bool) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("conary 2026 signature that held");
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let mut head = String::new();
    // Writing into a String cannot fail.
    let _ = write!(head, "{POLICY} {object} {uncompressed}");
    add(head.as_bytes());
    add(signature);
    for key in keys {
        add(&key.bytes);
    }
    format!("verified:{}", hasher.finalize().to_hex())
}

fn read_small(path: &Path) -> Result<Vec<u8>, FetchError> {
    let (file, size) = open_regular(path)?;
    if size > SMALL_BYTES {
        return Err(FetchError::Kind { path: path.to_owned(), wanted: "as small as a key or a signature" });
    }
    let mut bytes = Vec::new();
    file.take(SMALL_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|source| FetchError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}
