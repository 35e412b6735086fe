// kitchen/src/unpack/error.rs
//! What an archive may ask for, and why one is refused.

use std::io;

/// How much an archive may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Members, of any kind.
    pub entries: u64,
    /// Decompressed bytes, headers included.
    pub bytes: u64,
    /// Decompressed bytes for one compressed byte, once more than `ratio_from_bytes` came out.
    pub ratio: u64,
    /// Up to this many decompressed bytes, no ratio is too high.
    pub ratio_from_bytes: u64,
    /// Names in one path.
    pub depth: usize,
    /// Bytes of one path, and of one link target.
    pub path_bytes: usize,
    /// What a decoder may need: the dictionary of xz, lzma and lzip, the window of zstd.
    pub decoder_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            bytes: 64 << 30,
            ratio: 1000,
            ratio_from_bytes: 1 << 30,
            depth: 128,
            path_bytes: 4095,
            decoder_memory_bytes: 256 << 20,
        }
    }
}

/// Which of the [`Limits`] was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::decoder_memory_bytes`].
    DecoderMemory,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Entries => "entries",
            Self::Bytes => "bytes when unpacked",
            Self::Ratio => "unpacked bytes for each packed one",
            Self::DecoderMemory => "bytes of memory for the decoder",
        })
    }
}

/// What an archive held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The newest time of a member in seconds since 1970, of those between then and 2106.
    pub newest_mtime: Option<i64>,
    /// The first names of all paths, sorted bytewise.
    pub top_level: Vec<Vec<u8>>,
    /// The number of members.
    pub entries: u64,
    /// The bytes of all regular files.
    pub bytes: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The content is no archive.
    #[error("{file} is not an archive")]
    NotAnArchive {
        /// The archive's name.
        file: String,
    },
    /// The archive, or a member of it, is of a kind that is not read.
    #[error("{file} is or holds {what}, which is not supported")]
    Unsupported {
        /// The archive's name.
        file: String,
        /// The format, or the kind of member.
        what: String,
    },
    /// The archive is truncated or malformed.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The archive's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member would have done harm.
    #[error("{file} holds {entry:?}, which is refused: {why}")]
    Refused {
        /// The archive's name.
        file: String,
        /// The member, made legible.
        entry: String,
        /// What it would have done.
        why: Refusal,
    },
    /// The archive asks for more than the limits allow.
    #[error("{file} is refused: more than {allowed} {bound}")]
    Limit {
        /// The archive's name.
        file: String,
        /// Which limit.
        bound: Bound,
        /// Its value.
        allowed: u64,
    },
    /// Reading the archive failed.
    #[error("cannot read {file}")]
    Read {
        /// The archive's name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Writing a member failed.
    #[error("cannot unpack {entry:?} from {file}")]
    Write {
        /// The archive's name.
        file: String,
        /// The member, made legible.
        entry: String,
        /// Why.
        source: io::Error,
    },
    /// The caller cancelled.
    #[error("unpacking was interrupted")]
    Cancelled,
}

impl UnpackError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAnArchive { .. } => {
                "if the file is to stay as it is, set `extract = false` for it; if it should be an archive, look at what the server sent".to_owned()
            }
            Self::Unsupported { .. } => "repack it as tar and name that archive in the recipe".to_owned(),
            Self::Damaged { .. } => {
                "the digest matched, so the file is as its publisher made it or as it was pinned: check the recipe's checksum against upstream's".to_owned()
            }
            Self::Refused { .. } | Self::Limit { .. } => {
                "no release needs this: check where the archive comes from before using it".to_owned()
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space, or put the store on another file system with `--store`".to_owned()
            }
            Self::Read { .. } | Self::Write { .. } | Self::Cancelled => return None,
        })
    }
}

/// What a refused member would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its path is absolute.
    Absolute,
    /// Its path leads upwards with `..`.
    Parent,
    /// Its path or link target is empty.
    Empty,
    /// Its path or link target holds a NUL byte.
    Nul,
    /// A name in its path is longer than 255 bytes.
    NameTooLong,
    /// Its path or link target is longer than the limit.
    PathTooLong,
    /// Its path has more names than the limit.
    TooDeep,
    /// Its path leads through a symlink.
    ThroughSymlink,
    /// Its path leads through something that is no directory.
    UnderFile,
    /// Another kind of file stands at its path.
    OtherKind,
    /// It is a hard link, and what it names does not exist in the archive.
    LinkMissing,
    /// It is a hard link to something that is not a regular file.
    LinkToOther,
    /// It is a device, a FIFO or a socket.
    Special,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Absolute => "its path is absolute",
            Self::Parent => "its path leads upwards with `..`",
            Self::Empty => "its path or its target is empty",
            Self::Nul => "its path or its target holds a NUL byte",
            Self::NameTooLong => "a name in it is longer than 255 bytes",
            Self::PathTooLong => "its path or its target is too long",
            Self::TooDeep => "it lies too deep",
            Self::ThroughSymlink => "its path leads through a symlink",
            Self::UnderFile => "its path leads through a file",
            Self::OtherKind => "another kind of file is at its path",
            Self::LinkMissing => "it is a hard link to a file that is not there",
            Self::LinkToOther => "it is a hard link to something that is no regular file",
            Self::Special => "it is a device, a FIFO or a socket",
        })
    }
}
