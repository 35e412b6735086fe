// conary/codes.rs
//! Which exit code each error of the libraries has.
//!
//! A match here names every kind, so that a new one does not compile until somebody has decided.

use std::error::Error;

use kitchen::CookError;
use kitchen::dependencies::DependencyError;
use kitchen::fetch::{FetchError, PinError};
use kitchen::harvest::HarvestError;
use kitchen::order::CycleError;
use kitchen::package::PackageError;
use kitchen::phases::PhaseError;
use kitchen::plan::PlanError;
use kitchen::roots::RootError;
use kitchen::seed::SeedError;
use kitchen::sources::SourceError;
use kitchen::tidy::TidyError;
use sandbox::{SandboxError, Status};
use store::ccs::CcsError;
use store::{ErrorKind, IngestError, OpenError, StoreError};

use crate::exit::Code;
use crate::failure::Failure;

/// An error of a library that has an exit code and advice.
pub trait Coded: Error + Sized + 'static {
    /// Its exit code.
    fn code(&self) -> Code;
    /// What to do about it.
    fn advice(&self) -> Option<String>;
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(error.code(), &error, error.advice())
    }
}

/// The code of a kind of trouble with a store.
pub fn of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Damaged => Code::Damaged,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Busy => Code::Busy,
        ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Permission => Code::System,
        ErrorKind::Interrupted => Code::Interrupted,
        ErrorKind::Invalid | ErrorKind::Other => Code::General,
    }
}

impl Coded for StoreError {
    fn code(&self) -> Code {
        of_kind(self.kind())
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for CcsError {
    fn code(&self) -> Code {
        match self {
            Self::Limit { .. } => Code::Limit,
            error => of_kind(error.kind()),
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for OpenError {
    fn code(&self) -> Code {
        of_kind(self.kind())
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for CookError {
    fn code(&self) -> Code {
        match self {
            Self::Plan(error) => error.code(),
            Self::Fetch(error) => error.code(),
            Self::Source(error) => of_source(error),
            Self::Root(error) => of_build_root(error),
            Self::Phase(error) => of_phase(error),
            Self::Harvest(error) => of_harvest(error),
            Self::Package(error) => of_package(error),
            Self::Store(error) => error.code(),
            Self::Answer { .. } => Code::Recipe,
            Self::Workspace(_) | Self::Log(_) => Code::System,
            Self::Cancelled => Code::Interrupted,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for PlanError {
    fn code(&self) -> Code {
        match self {
            Self::Recipe(_) | Self::Architecture { .. } => Code::Recipe,
            Self::Dependency(DependencyError::Missing { .. }) => Code::NotFound,
            Self::Dependency(DependencyError::Store(error)) | Self::Store(error) => error.code(),
            Self::Host(_) => Code::System,
            Self::NoRoot { .. } => Code::Usage,
            Self::Seed(error) => error.code(),
            Self::Root(error) => of_build_root(error),
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for SeedError {
    fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => Code::NotFound,
            Self::Empty { .. } | Self::Unpack(_) => Code::Source,
            Self::Read { .. } | Self::Ingest(_) => Code::System,
            Self::Store(error) => error.code(),
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for FetchError {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Cancelled => Code::Interrupted,
            _ => Code::Source,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

fn of_source(error: &SourceError) -> Code {
    match error {
        SourceError::Unpack(_) | SourceError::Patch { .. } | SourceError::NoDirectory { .. } => Code::Source,
        SourceError::Checkout(error) => of_kind(error.kind()),
        SourceError::Place { .. } | SourceError::Workspace(_) => Code::System,
        SourceError::Store(error) => error.code(),
    }
}

fn of_build_root(error: &RootError) -> Code {
    match error {
        RootError::Store(error) => error.code(),
        RootError::Tree { .. } => Code::Build,
        RootError::Checkout(error) => of_kind(error.kind()),
    }
}

fn of_phase(error: &PhaseError) -> Code {
    match error {
        PhaseError::Failed { status, .. } => match status {
            Status::Exited(_) | Status::Signaled(_) => Code::Build,
            Status::TimedOut | Status::OutputLimit | Status::OutOfMemory | Status::DiskLimit | Status::ProcessLimit => {
                Code::Limit
            }
            Status::Cancelled => Code::Interrupted,
        },
        PhaseError::Sandbox(error) | PhaseError::Refused(error) => error.code(),
        PhaseError::Workspace(_) => Code::System,
    }
}

impl Coded for SandboxError {
    fn code(&self) -> Code {
        Code::Sandbox
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

fn of_harvest(error: &HarvestError) -> Code {
    match error {
        HarvestError::Empty { .. }
        | HarvestError::Leftover { .. }
        | HarvestError::Twice { .. }
        | HarvestError::Hook(_)
        | HarvestError::Classify(_)
        | HarvestError::Ingest(IngestError::Unsupported { .. } | IngestError::Tree(_))
        | HarvestError::Tidy(TidyError::Tree(_)) => Code::Build,
        HarvestError::Ingest(error) => of_kind(error.kind()),
        HarvestError::Store(error) | HarvestError::Tidy(TidyError::Store(error)) => error.code(),
        HarvestError::Strip(error) => of_phase(error),
        HarvestError::Workspace(_) => Code::System,
    }
}

fn of_package(error: &PackageError) -> Code {
    match error {
        PackageError::Write { .. } => Code::System,
        PackageError::Ccs(error) => error.code(),
        PackageError::Store(error) => error.code(),
    }
}

/// The code of a kind of trouble with a root.
fn of_root_kind(kind: installer::ErrorKind) -> Code {
    match kind {
        installer::ErrorKind::Refused => Code::Refused,
        installer::ErrorKind::Busy => Code::Busy,
        installer::ErrorKind::NotFound => Code::NotFound,
        installer::ErrorKind::Damaged => Code::Damaged,
        installer::ErrorKind::System => Code::System,
        installer::ErrorKind::Usage => Code::Usage,
        installer::ErrorKind::Interrupted => Code::Interrupted,
        installer::ErrorKind::Other => Code::General,
    }
}

/// Errors of crate `installer` know their kind and their advice.
macro_rules! of_the_installer {
    ($($error:ty),*) => {$(
        impl Coded for $error {
            fn code(&self) -> Code {
                of_root_kind(self.kind())
            }

            fn advice(&self) -> Option<String> {
                self.hint()
            }
        }
    )*};
}

of_the_installer!(
    installer::RootError,
    installer::PlanError,
    installer::CommitError,
    installer::QueryError,
    installer::RebuildError
);

impl Coded for CycleError {
    fn code(&self) -> Code {
        Code::Recipe
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}

impl Coded for PinError {
    fn code(&self) -> Code {
        match self {
            Self::Fetch(error) => error.code(),
            _ => Code::Recipe,
        }
    }

    fn advice(&self) -> Option<String> {
        self.hint()
    }
}
