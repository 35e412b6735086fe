// kitchen/src/cook/error.rs
//! Why a cook ends without a package.

use std::io;

use store::StoreError;

use crate::fetch::FetchError;
use crate::harvest::HarvestError;
use crate::package::PackageError;
use crate::phases::PhaseError;
use crate::plan::PlanError;
use crate::roots::RootError;
use crate::sources::SourceError;
use crate::workspace::WorkspaceError;

/// Why a cook ended without a package.
#[derive(Debug, thiserror::Error)]
pub enum CookError {
    /// No plan could be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A source could not be brought in.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A source could not be unpacked or patched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The build root could not be made.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The build's directories could not be made.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// A step failed.
    #[error(transparent)]
    Phase(#[from] PhaseError),
    /// The output is not a package.
    #[error(transparent)]
    Harvest(HarvestError),
    /// The package file could not be written.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be written.
    #[error("cannot write the log of this cook")]
    Log(#[source] io::Error),
    /// What was asked for cannot be read.
    #[error("the step made no file {file}")]
    Answer {
        /// Which.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Cancelled,
}

impl From<HarvestError> for CookError {
    /// Stripping is a step like others: what it printed is shown.
    fn from(error: HarvestError) -> Self {
        match error {
            HarvestError::Strip(error) => Self::Phase(error),
            other => Self::Harvest(other),
        }
    }
}

impl CookError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Root(error) => error.hint(),
            Self::Workspace(error) => error.hint(),
            Self::Phase(error) => error.hint(),
            Self::Harvest(error) => error.hint(),
            Self::Package(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Log(_) => Some("make room on the store's file system".to_owned()),
            Self::Answer { .. } | Self::Cancelled => None,
        }
    }
}
