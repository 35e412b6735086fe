// kitchen/src/fetch/git/error.rs
//! Why a commit cannot be had.

use std::io;
use std::path::PathBuf;

use recipes::Digest;
use store::StoreError;

use crate::fetch::http::HttpError;
use crate::fetch::signature::SignatureError;

/// Why a commit was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The URL is not one of a repository.
    #[error("the address is not understood: {reason}")]
    BadUrl {
        /// Why.
        reason: &'static str,
    },
    /// The commit is not a full SHA-1 name.
    #[error("{commit:?} is not the full name of a commit, forty hexadecimal digits")]
    BadCommit {
        /// What is there instead.
        commit: String,
    },
    /// A connection failed or broke.
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    /// A request over HTTP failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server does not keep to the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// The server refused.
    #[error("the server says: {message}")]
    Remote {
        /// Its words, made legible.
        message: String,
    },
    /// The repository does not have the commit, or something that it needs.
    #[error("the repository does not have {commit}")]
    NotFound {
        /// The object.
        commit: String,
    },
    /// There is no repository there.
    #[error("{} is not a git repository", path.display())]
    NoRepository {
        /// The directory.
        path: PathBuf,
    },
    /// There is no such tag.
    #[error("the repository has no tag {tag}")]
    NoTag {
        /// The tag.
        tag: String,
    },
    /// There is no such branch or tag.
    #[error("the repository has no {reference}")]
    NoReference {
        /// Its full name.
        reference: String,
    },
    /// The tag names another commit.
    #[error("tag {tag} is not the commit of the recipe\n  expected {expected}  got {actual}")]
    TagMoved {
        /// The tag.
        tag: String,
        /// The recipe's commit.
        expected: String,
        /// The tag's.
        actual: String,
    },
    /// The same commit gave another tree than before.
    #[error("commit {commit} has another content than it had\n  expected {expected}  got {actual}")]
    Differs {
        /// The commit.
        commit: String,
        /// The tree in the store.
        expected: Digest,
        /// The tree that came.
        actual: Digest,
    },
    /// The `ssh` program is not installed.
    #[error("the program `ssh` is needed for this address and is not installed")]
    NoSsh,
    /// A name in the tree would do harm.
    #[error("the tree holds {name:?}, which is refused")]
    UnsafeName {
        /// The name, made legible.
        name: String,
    },
    /// An object is malformed.
    #[error("{what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// A submodule cannot be had.
    #[error("submodule {path} cannot be fetched")]
    Submodule {
        /// Its path.
        path: String,
        /// Why.
        source: Box<GitError>,
    },
    /// The tree names a commit of another repository, and `.gitmodules` does not say which.
    #[error("`.gitmodules` does not say where it comes from")]
    UnknownSubmodule,
    /// Submodules are too deep within submodules.
    #[error("there are too many submodules within submodules")]
    TooDeep,
    /// More than the limit came.
    #[error("the repository is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The archive of the commit is another than the recipe says.
    #[error("the archive that git makes of {commit} does not match its checksum\n  expected {expected}  got {actual}")]
    OtherArchive {
        /// The commit.
        commit: String,
        /// The recipe's checksum.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// What an archive of the commit holds depends on more than the commit.
    #[error("the checksum of the archive that git makes cannot be known: {path} {what}")]
    NoArchive {
        /// The file that it depends on, made legible.
        path: String,
        /// What is the matter with it.
        what: &'static str,
    },
    /// Keys are asked for, and nobody signed.
    #[error("{what} is not signed")]
    Unsigned {
        /// The tag or the commit.
        what: String,
    },
    /// The signature of the tag or the commit is not accepted.
    #[error("the signature of {what} does not hold")]
    Signature {
        /// The tag or the commit.
        what: String,
        /// Why.
        source: Box<SignatureError>,
    },
    /// The commit is not in the store, and the network may not be used.
    #[error("the commit is not in the store, and fetching is off")]
    Offline,
    /// A pack or an object is damaged.
    #[error("the pack or an object is damaged")]
    Damaged(#[from] git2::Error),
    /// The store failed.
    #[error("the store cannot keep the tree")]
    Store(#[source] Box<StoreError>),
    /// The caller cancelled.
    #[error("interrupted")]
    Cancelled,
}

impl GitError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSsh => "install OpenSSH's client, or use the repository's https address".to_owned(),
            Self::TagMoved { .. } => {
                "a tag that moves is a warning: look at upstream, then correct `commit` or `tag`".to_owned()
            }
            Self::NotFound { .. } => {
                "check the address, and whether the commit was dropped from its branch upstream".to_owned()
            }
            Self::UnknownSubmodule => "set `submodules = false` if the build does without it".to_owned(),
            Self::Offline | Self::Connection(_) | Self::Http(_) => {
                "name a mirror with `conary mirror add PREFIX URL`; it may be a local clone".to_owned()
            }
            Self::OtherArchive { .. } => {
                "look at upstream: the commit is pinned by its name, but it is not what the packager saw".to_owned()
            }
            Self::NoArchive { .. } => "leave `checksum` out: the commit pins the repository".to_owned(),
            Self::Unsigned { .. } => {
                "name a signed `tag`, or leave `keys` out: the commit pins the repository".to_owned()
            }
            Self::Signature { source, .. } => return source.hint(),
            Self::Submodule { source, .. } => return source.hint(),
            Self::Store(source) => return source.hint(),
            _ => return None,
        })
    }
}

impl From<StoreError> for GitError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}
