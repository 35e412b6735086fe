// sandbox/src/operation.rs
//! The steps of which a root is made, as plain data that can be compared and printed.

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::PathBuf;

/// A mount that is cloned from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub name: CString,
    pub access: Access,
}

/// What a mount allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read and execute.
    Read,
    /// The same, of a tree that the caller brings: its files belong to the build, whoever runs it.
    Layer,
    /// Read, execute and write.
    Write,
    /// Use of a device node.
    Device,
}

impl Access {
    /// The attributes of a mount with this access. None ever honours setuid bits.
    pub fn attributes(self) -> u64 {
        match self {
            Self::Read | Self::Layer => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            Self::Write => libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
            Self::Device => libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        }
    }
}

/// One step of making the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Makes a directory, unless it is there.
    Directory { path: CString, mode: libc::mode_t },
    /// Makes a file.
    File { path: CString, content: Vec<u8> },
    /// Makes a symbolic link.
    Link { path: CString, target: CString },
    /// Attaches a source.
    Attach { source: usize, path: CString },
    /// Mounts an empty file system for files.
    Tmpfs { path: CString, options: CString },
    /// Mounts our own terminals.
    Terminals { path: CString },
    /// Attaches our own `/proc`.
    Processes { path: CString },
    /// Makes a directory or file appear at a second place; `optional` if that place may be missing.
    Again { from: CString, path: CString, optional: bool },
    /// Mounts an overlay of layers named relative to `directory`.
    Overlay { directory: CString, options: CString, path: CString, writable: bool },
    /// Makes one mount read-only.
    ReadOnly { path: CString },
    /// Makes a mounted directory the root, and lets go of everything outside of it.
    Enter { path: CString },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = CStr::to_string_lossy;
        match self {
            Self::Directory { path, mode } => write!(f, "directory {} {mode:04o}", text(path)),
            Self::File { path, content } => {
                write!(f, "file {} ({} bytes)", text(path), content.len())
            }
            Self::Link { path, target } => write!(f, "link {} to {}", text(path), text(target)),
            Self::Attach { source, path } => write!(f, "attach source {source} at {}", text(path)),
            Self::Tmpfs { path, options } => write!(f, "tmpfs {} ({})", text(path), text(options)),
            Self::Terminals { path } => write!(f, "devpts {}", text(path)),
            Self::Processes { path } => write!(f, "proc {}", text(path)),
            Self::Again { from, path, .. } => write!(f, "bind {} at {}", text(from), text(path)),
            Self::Overlay { directory, options, path, .. } => {
                write!(f, "overlay {} at {} (in {})", text(options), text(path), text(directory))
            }
            Self::ReadOnly { path } => write!(f, "read-only {}", text(path)),
            Self::Enter { path } => write!(f, "enter {}", text(path)),
        }
    }
}

/// A place where the command may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writable {
    pub path: CString,
    pub kind: WritableKind,
}

/// What may be written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WritableKind {
    /// Anything except device nodes.
    Tree,
    /// This one file.
    File,
    /// Files and devices that exist.
    Existing,
}
