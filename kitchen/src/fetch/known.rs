// kitchen/src/fetch/known.rs
//! What is known of sources without looking anywhere: neither at the network, nor at their content.
//!
//! The store remembers of each claim of a recipe (a checksum, a commit, a signature by certain keys) that it held, and of what. Whatever was never
//! seen to hold is not known, and the fetch phase looks at it, before anything answers from the cache.

use std::path::Path;

use recipes::{Additional, AdditionalFrom, Digest, Signature, Source};
use store::Store;

use super::error::FetchError;
use super::git::{self, Commit};
use super::{file, signature};

/// Where sources are known, and where paths in a recipe start.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The store.
    pub store: &'a Store,
    /// The recipe's directory.
    pub directory: &'a Path,
}

impl Known<'_> {
    /// The content of a main source that is an archive or a repository; `None` if something about it was never seen to hold.
    ///
    /// # Errors
    /// [`FetchError::Store`].
    pub fn main(self, source: &Source) -> Result<Option<Digest>, FetchError> {
        match source {
            Source::None | Source::Path { .. } => Ok(None),
            Source::Archive { url, checksums, signature, .. } => {
                self.signed(url, source.file_name().unwrap_or_default(), checksums, signature.as_ref())
            }
            Source::Git { url, commit, tag, submodules, mirrors, proof } => {
                self.commit(&Commit { url, id: commit, tag: tag.as_deref(), submodules: *submodules, mirrors, proof })
            }
        }
    }

    /// The same for a further source.
    ///
    /// # Errors
    /// As [`Known::main`].
    pub fn additional(self, additional: &Additional) -> Result<Option<Digest>, FetchError> {
        match &additional.from {
            AdditionalFrom::Archive { url, checksums, signature } => {
                self.signed(url, additional.file_name(), checksums, signature.as_ref())
            }
            AdditionalFrom::Git { url, commit, tag, proof } => {
                self.commit(&Commit { url, id: commit, tag: tag.as_deref(), submodules: false, mirrors: &[], proof })
            }
        }
    }

    /// The content of a file for which all these claims must hold.
    ///
    /// A claim that was verified with bytes from one URL says nothing yet about another: a recipe whose URL was changed and
    /// whose checksum was forgotten is looked at again.
    ///
    /// # Errors
    /// As [`Known::main`].
    pub fn file(self, url: &str, checksums: &[Digest]) -> Result<Option<Digest>, FetchError> {
        let mut content = None;
        for checksum in checksums {
            match (self.store.source(&checksum.to_string())?, content) {
                (None, _) => return Ok(None),
                (Some(row), None) => {
                    let from_elsewhere = url.contains("://") && row.origin.contains("://");
                    if from_elsewhere && !file::is_known_from(url, checksums, self.store)? {
                        return Ok(None);
                    }
                    content = Some(row.object);
                }
                // Two claims that were verified with different files: the fetch phase says so.
                (Some(row), Some(other)) if row.object != other => return Ok(None),
                (Some(_), Some(_)) => {}
            }
        }
        Ok(content)
    }

    fn signed(
        self,
        url: &str,
        file_name: &str,
        checksums: &[Digest],
        signature: Option<&Signature>,
    ) -> Result<Option<Digest>, FetchError> {
        let Some(object) = self.file(url, checksums)? else { return Ok(None) };
        let holds = match signature {
            Some(signature) => signature::is_remembered(self.store, self.directory, (file_name, &object), signature)?,
            None => true,
        };
        Ok(holds.then_some(object))
    }

    fn commit(self, wanted: &Commit) -> Result<Option<Digest>, FetchError> {
        Ok(git::known(self.store, self.directory, wanted)?.map(|row| row.object))
    }
}
