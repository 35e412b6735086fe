// store/src/root_db/error.rs
//! What can be wrong with a root's database.

use std::path::PathBuf;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootDbError {
    /// A newer version of Conary wrote it.
    #[error("{} has schema {found}, this version knows {known}", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema number.
        found: i64,
        /// The newest one that is known here.
        known: i64,
    },
    /// It is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It, or its directory, cannot be opened, read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The database or its directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("the database of the root failed")]
    Sql(#[from] rusqlite::Error),
}

impl RootDbError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            RootDbError::Newer { .. } => Some("use the newer version of conary for this root".to_owned()),
            RootDbError::Damaged { .. } => {
                Some("run `conary rebuild --root DIR`; installed files are untouched".to_owned())
            }
            RootDbError::Sql(_) if self.is_full() => {
                Some("make room on the file system that holds var/lib/conary and run the command again".to_owned())
            }
            RootDbError::Io { .. } | RootDbError::Sql(_) => None,
        }
    }

    /// Whether the content of the file is at fault.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            RootDbError::Damaged { .. } => true,
            RootDbError::Sql(error) => {
                matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            _ => false,
        }
    }

    /// Whether the disk is full, read-only, failing, or closed to this user.
    #[must_use]
    pub fn is_system_limit(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly, SystemIoFailure};
        match self {
            RootDbError::Io { .. } => true,
            RootDbError::Sql(error) => {
                self.is_full()
                    || matches!(
                        error.sqlite_error_code(),
                        Some(CannotOpen | PermissionDenied | ReadOnly | SystemIoFailure)
                    )
            }
            _ => false,
        }
    }

    fn is_full(&self) -> bool {
        matches!(self, RootDbError::Sql(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}
