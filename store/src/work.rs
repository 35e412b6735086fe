// store/src/work.rs
//! Work directories: places below `tmp/` that vanish with whoever made them.
//!
//! A work directory is held by a lock on itself. One that nobody holds was left by a process that died and is
//! removed by the next one that makes any, and by gc.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Dir, Mode};
use rustix::io::Errno;

use crate::Store;
use crate::durable;
use crate::error::StoreError;
use crate::lock::Flock;

/// What work directories are called, before the process id.
const PREFIX: &str = "work-";

/// A directory below `tmp/`, held by this process; dropped, it goes with everything in it.
#[derive(Debug)]
pub struct Work {
    parent: OwnedFd,
    directory: Flock,
    name: String,
    path: PathBuf,
    give_to: Option<(u32, u32)>,
}

impl Work {
    /// Makes a work directory, and removes those of dead processes.
    pub(crate) fn make(store: &Store) -> Result<Self, StoreError> {
        let top = store.directory().join("tmp");
        let failed = |error: Errno| StoreError::io("make a directory in", top.clone())(error.into());
        sweep(store)?;
        loop {
            let number = store.work.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", std::process::id());
            match rustix::fs::mkdirat(store.temporary(), &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed(error)),
            }
            let path = top.join(&name);
            let opened = durable::open_directory(store.temporary(), &name);
            let directory = match opened {
                // Another process took it for a dead one's before it was locked.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.map_err(StoreError::io("open", &path))?,
            };
            let taken = Flock::try_alone(directory).map_err(StoreError::io("lock", &path))?;
            let Some(directory) = taken else { continue };
            let stat = rustix::fs::fstat(&directory).map_err(failed)?;
            if stat.st_nlink == 0 {
                continue;
            }
            // A directory with the set-group-id bit, or another primary group: files would not be root's.
            let odd = store.owner() == (0, 0) && (stat.st_gid != 0 || stat.st_mode & 0o2000 != 0);
            let give_to = odd.then_some((0, 0));
            let parent = store.temporary().try_clone_to_owned().map_err(StoreError::io("open", &top))?;
            return Ok(Self { parent, directory, name, path, give_to });
        }
    }

    /// Returns the open directory.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Returns whom new files must be given to, when they do not come out as the store owner's.
    pub(crate) fn give_to(&self) -> Option<(u32, u32)> {
        self.give_to
    }

    /// Makes the directory durable, with all in it, as `name` in one of the store's own directories. Where that name
    /// is taken, somebody has made the same meanwhile, and this one goes.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be synced or moved.
    pub fn place(self, directory: &str, name: &str, store: &Store) -> Result<(), StoreError> {
        let failed = |act| StoreError::io(act, store.directory().join(directory).join(name));
        durable::sync_file_system(&self.directory).map_err(failed("sync"))?;
        rustix::fs::fchmod(&self.directory, Mode::from_raw_mode(0o755)).map_err(|e| failed("open up")(e.into()))?;
        let to = store.subdirectory(directory)?;
        match durable::rename_noreplace(&self.parent, self.name.as_str(), &to, name) {
            Ok(()) => self.moved_away(),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(failed("move")(error)),
        }
        durable::sync_directory(&to).map_err(failed("sync"))
    }

    /// Lets the directory live on as `tmp/kept-LABEL-…`, until somebody removes it; returns where it is.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be renamed.
    pub fn keep(self, label: &str) -> Result<PathBuf, StoreError> {
        let kept = self.name.replacen(PREFIX, &format!("kept-{label}-"), 1);
        durable::rename_noreplace(&self.parent, self.name.as_str(), &self.parent, kept.as_str())
            .map_err(StoreError::io("keep", &self.path))?;
        let path = self.path.with_file_name(kept);
        self.moved_away();
        Ok(path)
    }

    /// Lets the directory live on under another name: the caller has moved it away.
    pub(crate) fn moved_away(mut self) {
        self.name.clear();
    }
}

impl Store {
    /// Makes a directory of working space below the store's `tmp/`, for one build.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot be written.
    pub fn work(&self) -> Result<Work, StoreError> {
        self.writable()?;
        Work::make(self)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What cannot be removed is garbage that the next process removes.
            let _ = remove_all(self.parent.as_fd(), self.name.as_bytes());
        }
    }
}

/// Removes the work directories that no living process holds; returns how many.
pub(crate) fn sweep(store: &Store) -> Result<u64, StoreError> {
    let failed = |error: Errno| StoreError::io("read", store.directory().join("tmp"))(error.into());
    let mut removed = 0;
    let directory = Dir::read_from(store.temporary()).map_err(failed)?;
    for entry in directory {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !name.to_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(directory) = durable::open_directory(store.temporary(), name) else {
            continue;
        };
        if let Ok(Some(_held)) = Flock::try_alone(directory) {
            // The same name may not come back: its number is taken as long as the directory is there.
            let _ = remove_all(store.temporary(), name.to_bytes());
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes a name and everything beneath it, never through a symbolic link.
pub(crate) fn remove_all(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return other,
    }
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::DIRECTORY
        | rustix::fs::OFlags::NOFOLLOW
        | rustix::fs::OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // A directory of ours whose mode keeps us out.
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let writable = rustix::fs::fstat(&directory)?.st_mode & 0o300 == 0o300;
    if !writable {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    let names: Vec<Vec<u8>> = Dir::read_from(&directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_bytes().to_vec()))
        .collect::<Result<_, Errno>>()?;
    for inner in names.iter().filter(|inner| inner.as_slice() != b"." && inner.as_slice() != b"..") {
        remove_all(directory.as_fd(), inner)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
