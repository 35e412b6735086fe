// store/src/ccs/error.rs
//! What can be wrong with a package, or go wrong with one.

use std::io;

use recipes::Digest;

use super::frame::FrameError;
use super::layout::LayoutError;
use crate::error::{ErrorKind, StoreError};
use crate::manifest::ManifestError;
use crate::tree::TreeError;

/// A package could not be written, read or imported.
#[derive(Debug, thiserror::Error)]
pub enum CcsError {
    /// The operating system refused a step with the package's file.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Something is larger than any package may make it.
    #[error("package has {actual} {limit}; at most {maximum} are allowed")]
    Limit {
        /// The limit's name in docs/design/ccs.md.
        limit: &'static str,
        /// The number found.
        actual: u64,
        /// The largest number allowed.
        maximum: u64,
    },
    /// The file ends before the package does.
    #[error("package ends too early: it has {actual} bytes and should have at least {expected}")]
    Truncated {
        /// Bytes that it should have at least.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// Bytes stand behind the package's end.
    #[error("package has {actual} bytes and should have {expected}")]
    Trailing {
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        actual: u64,
    },
    /// The archive holds something else than the member whose turn it is.
    #[error("package has {found} where its member `{expected}` should stand")]
    Member {
        /// The member whose turn it is.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The space behind a member is not empty.
    #[error("package has bytes between its members, at byte {offset}")]
    Padding {
        /// Where.
        offset: u64,
    },
    /// A newer Conary made the package.
    #[error("package has {what} version {found}; this version of Conary knows {known}")]
    Newer {
        /// What is newer.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// The member with signatures has another form than a writer gives it.
    #[error("package's signatures have a form that no writer gives them")]
    Signatures,
    /// The list of troves, or what follows from it, has another form than a writer gives it.
    #[error("bundle has a form that no writer gives it")]
    Bundle,
    /// The manifest cannot be used.
    #[error("package's manifest cannot be used")]
    Manifest(#[source] ManifestError),
    /// The manifest is another one than the index knows.
    #[error("package's manifest is damaged: its index expects {expected} and it is {actual}")]
    ManifestDigest {
        /// The digest in the index.
        expected: Digest,
        /// The manifest's digest.
        actual: Digest,
    },
    /// A component's tree cannot be used.
    #[error("package's tree of component {component} cannot be used")]
    Tree {
        /// The component.
        component: String,
        /// Why not.
        source: TreeError,
    },
    /// A component's tree is another one than the manifest names.
    #[error("package's tree of component {component} is damaged: expected {expected}, found {actual}")]
    TreeDigest {
        /// The component.
        component: String,
        /// The digest in the manifest.
        expected: Digest,
        /// The tree's digest.
        actual: Digest,
    },
    /// The manifest says something about a component that its tree does not bear out.
    #[error("package's manifest has a `{field}` of component {component} that is not what its tree says")]
    Component {
        /// The component.
        component: String,
        /// The field of the manifest.
        field: &'static str,
    },
    /// Two components of the package have different things at one path.
    #[error("package's components contradict each other")]
    Conflict(#[source] TreeError),
    /// Entries with one content have different sizes.
    #[error("package gives object {object} a size that it cannot have")]
    ObjectSize {
        /// The object.
        object: Digest,
    },
    /// The index does not read, or does not fit the rest.
    #[error("package's index is damaged")]
    Index(#[source] IndexError),
    /// The frames do not fit the objects.
    #[error("package's payload is laid out wrongly")]
    Layout(#[source] LayoutError),
    /// A frame of the payload does not decode as the index says.
    #[error("package's payload frame {frame} is damaged")]
    Frame {
        /// The frame's number.
        frame: usize,
        /// What is wrong with it.
        source: FrameError,
    },
    /// Content in the payload is not what its digest says.
    #[error("package's payload frame {frame} is damaged: object {expected} is {actual} there")]
    Object {
        /// The frame, or the first of several.
        frame: usize,
        /// What should lie there.
        expected: Digest,
        /// What does.
        actual: Digest,
    },
    /// An object of the store changed its length since its tree was made.
    #[error("object {object} has {actual} bytes in the store and {expected} in its tree")]
    StoredSize {
        /// The object.
        object: Digest,
        /// The size in the tree.
        expected: u64,
        /// The size in the store.
        actual: u64,
    },
    /// An object of the store is not what its name says.
    #[error("object {expected} is damaged in the store: it is {actual}")]
    StoredObject {
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// zstd refused to compress.
    #[error("cannot compress at level {level}")]
    Compress {
        /// The level.
        level: i32,
        /// zstd's answer.
        source: io::Error,
    },
    /// The store could not give or take something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cancel flag was raised.
    #[error("interrupted")]
    Interrupted,
}

impl CcsError {
    /// Returns a function that wraps an error of the system.
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// Returns what kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Store(source) => source.kind(),
            Self::Interrupted => ErrorKind::Interrupted,
            Self::Compress { .. } | Self::Newer { .. } | Self::Limit { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Damaged,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(source) => source.hint(),
            Self::Newer { .. } => Some("use a newer Conary, or cook the package again".to_owned()),
            Self::Limit { .. } => {
                Some("limits are the same for all packages: docs/design/ccs.md, \"Limits\"".to_owned())
            }
            Self::Io { source, .. } => match ErrorKind::of_io(source) {
                ErrorKind::NoSpace => Some("free space, then try again".to_owned()),
                _ => None,
            },
            Self::StoredObject { .. } | Self::StoredSize { .. } => {
                Some("run `conary store verify` to see what is damaged, and `--repair` to mend it".to_owned())
            }
            Self::Compress { .. } | Self::Interrupted => None,
            _ => Some("the file is damaged or no package; fetch it again, or cook it again".to_owned()),
        }
    }
}

/// What is wrong with an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is no index.
    #[error("it does not begin like an index")]
    Magic,
    /// It is longer or shorter than its counts say.
    #[error("its length is not what its counts say")]
    Length,
    /// An object is listed twice, or does not exist.
    #[error("it lists object {object} twice or without there being one")]
    Order {
        /// The number.
        object: u32,
    },
    /// It has more or fewer objects than the trees.
    #[error("it has {found} objects and the trees have {expected}")]
    Objects {
        /// Objects of the trees.
        expected: usize,
        /// Objects of the index.
        found: usize,
    },
    /// The trees take more or less room than it says.
    #[error("it gives the trees another room than they take")]
    TreeBlocks,
}
