// installer/src/journal.rs
//! The journal: what has to be done to the files after the commit point, and what was begun before it.
//!
//! Written to `root.db` as JSON. Recovery reads it and runs the same code as the command that was interrupted.

use serde::{Deserialize, Serialize};
use store::root_db::{bytes_text, list_text};

use crate::beneath::Seen;
use crate::plan::Take;

/// Everything after the commit point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// In the order in which they are done.
    pub steps: Vec<Step>,
    /// Paths of packaged files that get their fingerprints when they are in place: moving changed how they look.
    #[serde(with = "list_text")]
    pub fresh: Vec<Vec<u8>>,
}

/// One change to one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A staged thing moves to a path where nothing is.
    Place {
        #[serde(with = "bytes_text")]
        path: Vec<u8>,
        #[serde(with = "bytes_text")]
        temporary: Vec<u8>,
        inode: u64,
    },
    /// A staged thing and an old one change places; the old one is removed at the end.
    Replace {
        #[serde(with = "bytes_text")]
        path: Vec<u8>,
        #[serde(with = "bytes_text")]
        temporary: Vec<u8>,
        inode: u64,
        seen: Seen,
        strip: bool,
    },
    /// Something goes, moves or changes in place.
    Take(Take),
}

impl Step {
    /// Returns the path that it works on.
    pub fn path(&self) -> &[u8] {
        match self {
            Step::Place { path, .. } | Step::Replace { path, .. } => path,
            Step::Take(take) => take.path(),
        }
    }
}

/// A directory that a transaction works in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Touched {
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    /// The mode it had, where it had to be opened up for us; it gets that back.
    pub mode: Option<u32>,
}
