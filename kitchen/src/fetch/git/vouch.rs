// kitchen/src/fetch/git/vouch.rs
//! What vouches for a commit beside its name: a checksum of its archive, and a signature by one of the recipe's keys.
//!
//! A tag that is asked for and is an object of its own must be signed; otherwise the commit. Both hold their signature in themselves: a tag behind its
//! message, a commit in the header `gpgsig`, and it is over the rest. What held is remembered by the commit's name with
//! exactly the digests, tag and keys, so that only a change of one of them asks again.

use std::io::Read;
use std::path::Path;

use git2::ObjectType;
use recipes::{Algorithm, Digest};
use store::{Hasher, SourceRow, Store, StoreError};

use super::export::Objects;
use super::{Commit, GitError, Id, archive};
use crate::fetch::signature::{self, Key, SignatureError, Signed};
use crate::fetch::weak::{Sums, Weak};
use crate::fetch::{Event, FetchError, Fetching};

/// How the signature of a tag begins, behind its message.
const BEGINS: [&str; 2] = ["-----BEGIN PGP SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----"];

/// Bytes that are signed.
struct Bytes(Vec<u8>);

impl Signed for Bytes {
    fn open(&self) -> Result<Box<dyn Read + '_>, SignatureError> {
        Ok(Box::new(&self.0[..]))
    }
}

/// Whether everything that is to vouch for a commit was seen to hold.
pub(super) fn is_vouched(store: &Store, directory: &Path, wanted: &Commit) -> Result<bool, StoreError> {
    // What keys cannot be read is for the fetch phase to say.
    let Ok(claims) = claims(directory, wanted) else { return Ok(false) };
    for claim in claims {
        if store.source(&claim)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Under what it is written down that it held.
fn claims(directory: &Path, wanted: &Commit) -> Result<Vec<String>, GitError> {
    let mut claims: Vec<String> =
        wanted.proof.archive.iter().map(|digest| format!("git-archive:{}:{digest}", wanted.id)).collect();
    if !wanted.proof.keys.is_empty() {
        let mut hasher = blake3::Hasher::new_derive_key("conary 2026 keys of a git signature that held");
        for key in keys(directory, wanted)? {
            hasher.update(&(key.bytes.len() as u64).to_le_bytes());
            hasher.update(&key.bytes);
        }
        let (id, tag, keys) = (wanted.id, wanted.tag.unwrap_or_default(), hasher.finalize().to_hex());
        claims.push(format!("git-signed:{id}:{keys}:{tag}"));
    }
    Ok(claims)
}

fn keys(directory: &Path, wanted: &Commit) -> Result<Vec<Key>, GitError> {
    let failed = |source| GitError::Signature { what: wanted.id.to_owned(), source: Box::new(source) };
    signature::keys(directory, &wanted.proof.keys).map_err(failed)
}

impl Fetching<'_> {
    /// Writes down that it holds.
    pub(super) fn remember_vouched(&self, wanted: &Commit, row: &SourceRow) -> Result<(), GitError> {
        for claim in claims(self.directory, wanted)? {
            self.store.record_source(&claim, row)?;
        }
        Ok(())
    }

    /// Holds a commit against everything that is to vouch for it.
    pub(super) fn vouch(
        &self,
        wanted: &Commit,
        objects: &Objects,
        id: Id,
        commit: &[u8],
        tag: Option<Id>,
    ) -> Result<(), GitError> {
        let mut hashers: Vec<(Digest, Hasher)> =
            wanted.proof.archive.iter().map(|digest| (*digest, Hasher::new(digest.algorithm()))).collect();
        if !hashers.is_empty() {
            let mut sink = |bytes: &[u8]| hashers.iter_mut().for_each(|(_, hasher)| hasher.update(bytes));
            archive::write(objects, id, commit, &mut sink, self.cancel)?;
        }
        for (expected, hasher) in hashers {
            let actual = hasher.finish();
            if actual != expected {
                let (expected, actual) = (expected.to_string(), actual.to_string());
                return Err(GitError::OtherArchive { commit: wanted.id.to_owned(), expected, actual });
            }
        }
        if wanted.proof.keys.is_empty() {
            return Ok(());
        }
        let what = match (tag, wanted.tag) {
            (Some(_), Some(tag)) => format!("tag {tag}"),
            _ => format!("commit {}", wanted.id),
        };
        let found = match tag {
            Some(tag) => of_tag(&objects.read(tag, ObjectType::Tag, 16 << 20)?),
            None => of_commit(commit),
        };
        let Some((signature, signed)) = found else { return Err(GitError::Unsigned { what }) };
        let made_by = signature::verify(&what, &signature, &keys(self.directory, wanted)?, &Bytes(signed), "git");
        let key = made_by.map_err(|source| GitError::Signature { what: what.clone(), source: Box::new(source) })?;
        (self.events)(Event::Verified { file: format!("{what} of {}", super::directory_name(wanted.url)), key });
        Ok(())
    }

    /// The SHA-256 of the archive of a commit that is in the place that the recipe names, if what `weak` says holds for it.
    pub(in crate::fetch) fn archived(&self, wanted: &Commit, weak: &[Weak]) -> Result<Digest, FetchError> {
        let failed = |source| FetchError::Git { url: super::redacted(wanted.url), source: Box::new(source) };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut sums = Sums::default();
        let mut sink = |bytes: &[u8]| {
            hasher.update(bytes);
            sums.update(bytes);
        };
        self.with_objects(wanted, |objects, id, commit| archive::write(objects, id, commit, &mut sink, self.cancel))
            .map_err(failed)?;
        if let Some((expected, actual)) = sums.first_other(weak) {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            return Err(failed(GitError::OtherArchive { commit: wanted.id.to_owned(), expected, actual }));
        }
        Ok(hasher.finish())
    }
}

/// The signature of a tag object, and what it is over.
fn of_tag(content: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let starts = BEGINS.iter().filter_map(|begin| {
        let begin = begin.as_bytes();
        (0..content.len()).rev().find(|at| content[*at..].starts_with(begin) && (*at == 0 || content[at - 1] == b'\n'))
    });
    let at = starts.max()?;
    Some((content[at..].to_vec(), content[..at].to_vec()))
}

/// The signature in a commit's header, and what it is over: everything else.
fn of_commit(content: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut signature, mut signed) = (Vec::new(), Vec::new());
    let (mut in_header, mut in_signature, mut in_other) = (true, false, false);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if in_header && line == b"\n" {
            in_header = false;
        }
        let goes_on = in_header && line.starts_with(b" ");
        in_signature = in_header && (line.starts_with(b"gpgsig ") || (goes_on && in_signature));
        in_other = in_header && (line.starts_with(b"gpgsig-sha256 ") || (goes_on && in_other));
        if in_signature {
            signature.extend_from_slice(line.strip_prefix(b"gpgsig ").unwrap_or(&line[1..]));
        } else if !in_other {
            signed.extend_from_slice(line);
        }
    }
    (!signature.is_empty()).then_some((signature, signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_taken_out_of_what_they_are_over() {
        let commit = b"tree a\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\nencoding b\n\ngpgsig no\n";
        let (signature, signed) = of_commit(commit).unwrap();
        assert_eq!(signature, b"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n");
        assert_eq!(signed, b"tree a\nencoding b\n\ngpgsig no\n");
        let tag = b"object a\n\nmessage\n-----BEGIN SSH SIGNATURE-----\ny\n";
        assert_eq!(of_tag(tag), Some((tag[18..].to_vec(), tag[..18].to_vec())));
        assert_eq!(
            (of_commit(b"tree a\n\nx\n"), of_tag(b"object a\n\nx -----BEGIN PGP SIGNATURE-----\n")),
            (None, None)
        );
    }
}
