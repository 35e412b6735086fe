// store/src/error.rs
//! What can go wrong in a store, and what kind of trouble it is.
//!
//! Every error names what failed on which path or object; the cause is its `source`, advice its `hint()`, and
//! `kind()` groups them for exit codes.

use std::io;
use std::path::{Path, PathBuf};

use recipes::Digest;

use crate::manifest::ManifestError;
use crate::tree::TreeError;

/// What kind of trouble an error is, for exit codes and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Bytes on the disk are not what they should be.
    Damaged,
    /// Something asked for is not in the store.
    NotFound,
    /// Another process holds a lock.
    Busy,
    /// The file system or a quota is full.
    NoSpace,
    /// The file system, or the way the store was opened, does not allow writing.
    ReadOnly,
    /// The user may not do this.
    Permission,
    /// The caller's cancel flag was raised.
    Interrupted,
    /// What was given cannot be taken, whatever the store's state.
    Invalid,
    /// Anything else, such as an input or output error.
    Other,
}

impl ErrorKind {
    /// Sorts an error of the operating system.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Other,
        }
    }

    /// Sorts an error of the database.
    #[must_use]
    pub fn of_database(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoSpace,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Self::Permission,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            _ => match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged,
                _ => Self::Other,
            },
        }
    }

    /// Returns the advice that fits trouble of this kind with a store's directory.
    #[must_use]
    pub fn hint(self, directory: &Path) -> Option<String> {
        let directory = directory.display();
        match self {
            Self::NoSpace => {
                Some(format!("free space on the file system of {directory}, for example with `conary gc`"))
            }
            Self::ReadOnly => Some(format!("{directory} cannot be written; choose another store with `--store DIR`")),
            Self::Permission => Some(format!("check who owns {directory}, or choose another store with `--store DIR`")),
            Self::Damaged => {
                Some("run `conary store verify` to see what is damaged, and `--repair` to mend it".to_owned())
            }
            Self::Busy => Some("wait for the other process, then try again".to_owned()),
            Self::NotFound | Self::Interrupted | Self::Invalid | Self::Other => None,
        }
    }
}

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused a step.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database refused a step.
    #[error("cannot {action} in the store's database {}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// Its answer.
        source: rusqlite::Error,
    },
    /// A row of the database does not say what it must.
    #[error("a row about {what} in the store's database {} is damaged", path.display())]
    Row {
        /// What the row is about.
        what: &'static str,
        /// The database.
        path: PathBuf,
    },
    /// The store has no such object.
    #[error("the store in {} has no object {object}", directory.display())]
    Missing {
        /// The object.
        object: Digest,
        /// The store.
        directory: PathBuf,
    },
    /// The database has an object whose file is gone.
    #[error("object {object} is lost: its file {} is not there", path.display())]
    Lost {
        /// The object.
        object: Digest,
        /// Where it should be.
        path: PathBuf,
    },
    /// The store has no such trove.
    #[error("the store in {} has no trove {trove}", directory.display())]
    NoTrove {
        /// The trove.
        trove: Digest,
        /// The store.
        directory: PathBuf,
    },
    /// An object's bytes are not what its name says.
    #[error("object {expected} is damaged: {} holds {actual}", path.display())]
    Damaged {
        /// What the object should be.
        expected: Digest,
        /// What its bytes are.
        actual: Digest,
        /// The file.
        path: PathBuf,
    },
    /// An object that should be a tree is none.
    #[error("object {object} is not a tree")]
    Tree {
        /// The object.
        object: Digest,
        /// Why not.
        source: TreeError,
    },
    /// A manifest does not read.
    #[error("the manifest of trove {trove} is damaged")]
    Manifest {
        /// The trove.
        trove: Digest,
        /// Why not.
        source: ManifestError,
    },
    /// A trove names a tree, or a tree an object, that the store does not have.
    #[error("trove {trove} needs object {object}, which the store does not have")]
    Incomplete {
        /// The trove.
        trove: String,
        /// The object.
        object: Digest,
    },
    /// A value cannot be kept.
    #[error("{what} `{value}` cannot be kept: {reason}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// The value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// The store was opened for reading only.
    #[error("the store in {} was opened for reading only", directory.display())]
    ReadOnly {
        /// The store.
        directory: PathBuf,
    },
    /// Another process holds a lock for too long.
    #[error("{what} is held by {holder}")]
    Busy {
        /// The lock.
        what: String,
        /// Who has it.
        holder: String,
        /// The store.
        directory: PathBuf,
    },
    /// The cancel flag was raised.
    #[error("interrupted")]
    Interrupted,
}

impl StoreError {
    /// Returns a function that wraps an error of the system.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Returns what kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Database { source, .. } => ErrorKind::of_database(source),
            Self::Missing { .. } | Self::NoTrove { .. } => ErrorKind::NotFound,
            Self::Damaged { .. }
            | Self::Lost { .. }
            | Self::Tree { .. }
            | Self::Manifest { .. }
            | Self::Row { .. }
            | Self::Incomplete { .. } => ErrorKind::Damaged,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::ReadOnly { .. } => ErrorKind::ReadOnly,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, .. }
            | Self::Damaged { path, .. }
            | Self::Lost { path, .. }
            | Self::Database { path, .. }
            | Self::Row { path, .. } => self.kind().hint(path),
            Self::ReadOnly { directory } | Self::Busy { directory, .. } => self.kind().hint(directory),
            Self::Missing { .. } | Self::NoTrove { .. } => {
                Some("it may have been collected; cook, fetch or import it again".to_owned())
            }
            Self::Tree { .. } | Self::Manifest { .. } | Self::Incomplete { .. } => self.kind().hint(Path::new("")),
            Self::Invalid { .. } | Self::Interrupted => None,
        }
    }
}

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory, or something in it, could not be made or opened.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing is there, and the store was to be read only.
    #[error("there is no store in {}", directory.display())]
    NoStore {
        /// Where it should be.
        directory: PathBuf,
    },
    /// The directory belongs to another user.
    #[error(
        "the store in {} belongs to user {owner}, and this process runs as user {user}",
        directory.display()
    )]
    NotOwner {
        /// The store.
        directory: PathBuf,
        /// Numeric id of its owner.
        owner: u32,
        /// Numeric id of the process.
        user: u32,
    },
    /// The database could not be opened or made.
    #[error("cannot {action} the store's database {}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// Its answer.
        source: rusqlite::Error,
    },
    /// A newer Conary wrote the database.
    #[error(
        "the store's database {} has schema {found}; this version of Conary knows up to {known}",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The database must be brought up to date first, which reading cannot do.
    #[error(
        "the store's database {} has the older schema {found} and cannot be changed here",
        path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// The database is not one of a store.
    #[error("{} is not the database of a store", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
}

impl OpenError {
    /// Returns what kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Database { source, .. } => ErrorKind::of_database(source),
            Self::NoStore { .. } => ErrorKind::NotFound,
            Self::NotOwner { .. } => ErrorKind::Permission,
            Self::Newer { .. } => ErrorKind::Invalid,
            Self::Older { .. } => ErrorKind::ReadOnly,
            Self::Foreign { .. } => ErrorKind::Damaged,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Database { path, .. } if self.kind() == ErrorKind::Damaged => {
                Some(format!("move {} away and import the packages again; objects are kept", path.display()))
            }
            Self::Io { path, .. } | Self::Database { path, .. } => self.kind().hint(path),
            Self::NoStore { .. } => Some("`conary cook` and `conary source add` make a store".to_owned()),
            Self::NotOwner { .. } => {
                Some("run as the store's owner, or choose another store with `--store DIR`".to_owned())
            }
            Self::Newer { .. } => Some("use the newer Conary, or another `--store DIR`".to_owned()),
            Self::Older { .. } => Some("run any command that writes once, as the store's owner".to_owned()),
            Self::Foreign { .. } => Some("choose another store with `--store DIR`".to_owned()),
        }
    }
}
