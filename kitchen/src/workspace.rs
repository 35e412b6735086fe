// kitchen/src/workspace.rs
//! The directories of one build, on the store's file system: where sources are unpacked, where the
//! output is collected, and the scripts of the steps.
//!
//! ```text
//! <store>/tmp/work-<process>-<number>/
//!   build/            bound to /build, writable
//!     <name>-<version>/   the unpacked and patched main source
//!   dest/             bound to /dest, writable
//!   outputs/<name>/   bound to /outputs, writable: one for each output with an install of its own
//!   strip/            bound to /strip, writable, when files are stripped
//!   steps/            bound to /steps, read-only
//!   room.json         the room of a step that failed (`kept`)
//! ```
//!
//! When a build is started by root, everything that a step sees of it belongs to the sandbox's build id,
//! never to root. Nobody else can reach into the workspace (it is 0700: a set-user-id file that a step makes is of no
//! use to a passer-by); the sandbox mounts its directories by descriptor. A workspace is removed when it is dropped, unless it was kept; that of a process that was killed
//! is removed by the next one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use recipes::Name;
use store::{Store, StoreError, Work};

use crate::kept::{self, Kept};

/// A directory of the workspace could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The file system refused.
    #[error("cannot {act} {path}")]
    Io {
        /// What was being done.
        act: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store has no working space.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WorkspaceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let source = match self {
            Self::Io { source, .. } => source,
            Self::Store(error) => return error.hint(),
        };
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("make room, run `conary gc`, or name a store elsewhere with `--store`".to_owned())
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("name a store that you may write with `--store`".to_owned())
            }
            _ => None,
        }
    }
}

/// The directories of one build.
#[derive(Debug)]
pub struct Workspace {
    work: Work,
    source_name: String,
    /// The host's ids of the build.
    owner: (u32, u32),
}

impl Workspace {
    /// Makes the directories of a build in the store's working space; `source_name` is `<name>-<version>`.
    ///
    /// # Errors
    /// [`WorkspaceError`] if a directory cannot be made.
    pub fn create(store: &Store, source_name: &str) -> Result<Self, WorkspaceError> {
        let workspace =
            Self { work: store.work()?, source_name: source_name.to_owned(), owner: sandbox::build_owner() };
        let directories =
            [workspace.build(), workspace.dest(), workspace.outputs(), workspace.strip(), workspace.steps()];
        directories.into_iter().try_for_each(make)?;
        Ok(workspace)
    }

    /// Makes the directory of an output with an `install` of its own.
    ///
    /// # Errors
    /// [`WorkspaceError`] if it cannot be made.
    pub fn add_output(&self, name: &Name) -> Result<(), WorkspaceError> {
        make(self.output(name))
    }

    /// The directory bound to `/outputs`.
    #[must_use]
    pub fn outputs(&self) -> PathBuf {
        self.work.path().join("outputs")
    }

    /// The directory that one output fills.
    #[must_use]
    pub fn output(&self, name: &Name) -> PathBuf {
        self.outputs().join(name.as_str())
    }

    /// The directory bound to `/strip`.
    #[must_use]
    pub fn strip(&self) -> PathBuf {
        self.work.path().join("strip")
    }

    /// The directory bound to `/build`.
    #[must_use]
    pub fn build(&self) -> PathBuf {
        self.work.path().join("build")
    }

    /// The directory of the main source.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.build().join(&self.source_name)
    }

    /// `<name>-<version>`, the name of the main source's directory.
    #[must_use]
    pub fn source_name(&self) -> &str {
        &self.source_name
    }

    /// The directory bound to `/dest`.
    #[must_use]
    pub fn dest(&self) -> PathBuf {
        self.work.path().join("dest")
    }

    /// The directory bound to `/steps`.
    #[must_use]
    pub fn steps(&self) -> PathBuf {
        self.work.path().join("steps")
    }

    /// Writes the script of one step into a file of this name.
    ///
    /// # Errors
    /// [`WorkspaceError`] if it cannot be written.
    pub fn write_step(&self, name: &str, script: &str) -> Result<(), WorkspaceError> {
        let path = self.steps().join(name);
        let mut file =
            File::create(&path).map_err(|source| WorkspaceError::Io { act: "write", path: path.clone(), source })?;
        let (uid, gid) = self.owner;
        file.write_all(script.as_bytes())
            // Inside, it belongs to the same user whoever cooks.
            .and_then(|()| fchown(&file, Some(uid), Some(gid)))
            .and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o444)))
            .map_err(|source| WorkspaceError::Io { act: "write", path, source })
    }

    /// Writes the room of a failed step into the workspace, where no step sees it.
    ///
    /// # Errors
    /// [`WorkspaceError`] if it cannot be written.
    pub fn write_room(&self, kept: &Kept) -> Result<(), WorkspaceError> {
        let path = self.work.path().join(kept::FILE);
        let text = kept.to_json().map_err(io::Error::other);
        text.and_then(|text| fs::write(&path, text)).map_err(|source| WorkspaceError::Io { act: "write", path, source })
    }

    /// Opens one of the workspace's directories.
    ///
    /// # Errors
    /// [`WorkspaceError`] if it cannot be opened.
    pub fn open(&self, path: &Path) -> Result<OwnedFd, WorkspaceError> {
        open_directory(path)
    }

    /// Gives everything that a step sees to the build id, where that is another than ours.
    ///
    /// # Errors
    /// [`WorkspaceError`] if an owner cannot be changed.
    pub fn give_to_build(&self) -> Result<(), WorkspaceError> {
        [self.build(), self.dest(), self.outputs(), self.steps()].into_iter().try_for_each(|path| self.give(path))
    }

    /// Gives one directory and all below it to the build id, where that is another than ours.
    ///
    /// # Errors
    /// [`WorkspaceError`] if an owner cannot be changed.
    pub fn give(&self, path: PathBuf) -> Result<(), WorkspaceError> {
        let (uid, gid) = self.owner;
        let about = rustix::fs::fstat(self.work.directory()).map_err(|error| WorkspaceError::Io {
            act: "look at",
            path: self.work.path(),
            source: error.into(),
        })?;
        if (about.st_uid, about.st_gid) == (uid, gid) {
            return Ok(());
        }
        let directory = open_directory(&path)?;
        give(&directory, uid, gid).map_err(|source| WorkspaceError::Io { act: "change the owner of", path, source })
    }

    /// Leaves the directories in place and returns where they are.
    ///
    /// # Errors
    /// [`WorkspaceError`] if they cannot be renamed to what is kept.
    pub fn keep(self) -> Result<PathBuf, WorkspaceError> {
        Ok(self.work.keep(&self.source_name)?)
    }
}

/// Makes a directory.
fn make(path: PathBuf) -> Result<(), WorkspaceError> {
    // The caller's umask is no business of the build's.
    let open = |()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755));
    let made = DirBuilder::new().mode(0o755).create(&path).and_then(open);
    made.map_err(|source| WorkspaceError::Io { act: "make", path, source })
}

/// Opens a directory that we made, not through a link.
fn open_directory(path: &Path) -> Result<OwnedFd, WorkspaceError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| WorkspaceError::Io {
        act: "open",
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Changes the owner of a directory and all below it, following nothing.
fn give(directory: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchown, openat};
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    fchown(directory, owner, group)?;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            give(&openat(directory.as_fd(), name, flags, Mode::empty())?, uid, gid)?;
        } else {
            chownat(directory, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_in(dir: &Path) -> Store {
        Store::open(&dir.join("store"), &store::OpenOptions::default()).unwrap()
    }

    fn left(dir: &Path) -> usize {
        fs::read_dir(dir.join("store/tmp")).unwrap().count()
    }

    #[test]
    fn a_workspace_goes_when_dropped_even_with_closed_directories() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(&store_in(dir.path()), "hello-1.0").unwrap();
        let closed = workspace.build().join("a/b");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(closed.parent().unwrap(), fs::Permissions::from_mode(0o000)).unwrap();
        drop(workspace);
        assert_eq!(left(dir.path()), 0);
    }

    #[test]
    fn a_kept_workspace_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = Workspace::create(&store_in(dir.path()), "hello-1.0").unwrap().keep().unwrap();
        assert!(path.join("dest").is_dir());
        assert!(path.file_name().unwrap().to_string_lossy().starts_with("kept-hello-1.0-"));
    }

    #[test]
    fn a_link_in_the_build_is_not_followed_when_removed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("keep"), "x").unwrap();
        let workspace = Workspace::create(&store_in(dir.path()), "hello-1.0").unwrap();
        std::os::unix::fs::symlink(outside.path(), workspace.build().join("out")).unwrap();
        workspace.give_to_build().unwrap();
        drop(workspace);
        assert!(outside.path().join("keep").exists());
        assert_eq!(left(dir.path()), 0);
    }
}
