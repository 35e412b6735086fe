// kitchen/src/fetch/error.rs
//! Why a source was not fetched, and what to do about it.

use std::io;
use std::path::PathBuf;

use recipes::Digest;
use store::StoreError;

use super::git::GitError;
use super::http::HttpError;
use super::signature::SignatureError;

/// Why a source was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// What was received is not what the recipe names.
    #[error("source {file} does not match its digest\n  expected {expected}  got {actual}")]
    Mismatch {
        /// The source.
        file: String,
        /// Where the bytes came from.
        origin: String,
        /// What the recipe says.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What was received is not what a checksum says that counts only while a recipe is pinned.
    #[error("source {file} is not what its packager had\n  expected {expected}  got {actual}")]
    Other {
        /// The source.
        file: String,
        /// What the recipe says.
        expected: String,
        /// What came.
        actual: String,
    },
    /// No place gave the source.
    #[error("source {file} cannot be fetched{}", list(tried))]
    Unreachable {
        /// The source.
        file: String,
        /// What was tried, in order.
        tried: Vec<Tried>,
    },
    /// The source is not here, and the network may not be used.
    #[error("source {file} is not in the store, and fetching is off")]
    Offline {
        /// The source.
        file: String,
        /// Where it would come from.
        url: String,
    },
    /// Fetching from this kind of place is not supported.
    #[error("cannot fetch {url}: {reason}")]
    Scheme {
        /// The place.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file beside the recipe is missing.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file or directory.
        path: PathBuf,
    },
    /// A local source is of the wrong kind.
    #[error("{} is not {wanted}", path.display())]
    Kind {
        /// The file or directory.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// A local file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A local file was changed while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A git source failed.
    #[error("git source {url} cannot be fetched")]
    Git {
        /// The repository.
        url: String,
        /// Why.
        source: Box<GitError>,
    },
    /// A signature is missing or wrong.
    #[error("the signature of {file} is not accepted")]
    Signature {
        /// The source.
        file: String,
        /// Why.
        source: Box<SignatureError>,
    },
    /// The store failed.
    #[error("the store cannot keep or give a source")]
    Store(#[source] Box<StoreError>),
    /// The caller cancelled.
    #[error("fetching was interrupted")]
    Cancelled,
}

/// One place that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The place, without passwords.
    pub url: String,
    /// What happened.
    pub reason: String,
}

fn list(tried: &[Tried]) -> String {
    tried.iter().fold(String::new(), |text, tried| text + "\n  " + &tried.url + ": " + &tried.reason)
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Other { .. } => {
                "look at what the server sent: if upstream changed the file and you trust the new one, take the old checksum out of \
                 the recipe".to_owned()
            }
            Self::Mismatch { .. } => {
                "if upstream re-released it, check why, then put the new digest into the recipe: `conary source pin` shows it".to_owned()
            }
            Self::Unreachable { tried, .. } if tried.iter().any(|tried| tried.reason.contains("certificate")) => {
                "check the clock and the certificate authorities of this machine; `SSL_CERT_FILE` names others".to_owned()
            }
            Self::Unreachable { .. } | Self::Offline { .. } => {
                "download it by other means and run `conary source add FILE`, or name a mirror with `conary mirror add PREFIX URL`".to_owned()
            }
            Self::Scheme { .. } => "name an http or https mirror for it with `conary mirror add PREFIX URL`".to_owned(),
            Self::Missing { .. } => "paths in a recipe are relative to the recipe's directory".to_owned(),
            Self::Git { source, .. } => return source.hint(),
            Self::Signature { source, .. } => return source.hint(),
            Self::Store(source) => return source.hint(),
            Self::Changed { .. } => "run the command again when nothing writes there".to_owned(),
            Self::Kind { .. } | Self::Read { .. } | Self::Cancelled => return None,
        })
    }

    /// What an HTTP transfer that failed means for the whole: cancelling is not a failure of that place.
    pub(super) fn of_http(error: &HttpError) -> Option<Self> {
        matches!(error, HttpError::Cancelled).then_some(Self::Cancelled)
    }
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}
