// store/src/lock.rs
//! Locks: the lease that keeps gc from the moments that matter, and one lock for each action key.
//!
//! All are `flock`s, so they end with their process however it dies. Nobody waits silently: whoever has to wait
//! hears who holds the lock, and can be told to stop waiting.
//!
//! The **lease** is `<store>/lock`: shared for the moments in which files are named and rows about them committed; exclusive for
//! gc, repair and changes of the schema. What lasts longer, such as a cook, holds an epoch instead (`hold.rs`). An **action
//! lock** is `<store>/locks/<key>`, which is removed by its last holder.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use recipes::Digest;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Store;
use crate::error::StoreError;

/// How often a waiting process looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Name of the lease in the store's directory.
pub(crate) const LEASE: &str = "lock";

/// A `flock` on an open file or directory, until it is dropped.
///
/// It is given back by a call of its own, not by closing the file: what another thread is just starting has a copy of every
/// descriptor until its `execve`, and would keep the lock as long.
#[derive(Debug)]
pub struct Flock(OwnedFd);

impl Flock {
    /// Takes a lock that nobody else may have meanwhile, if nobody has it.
    ///
    /// # Errors
    /// [`io::Error`]: the file system knows no locks.
    pub fn try_alone(file: OwnedFd) -> io::Result<Option<Self>> {
        Self::try_take(file, Hold::Alone)
    }

    pub(crate) fn try_take(file: OwnedFd, hold: Hold) -> io::Result<Option<Self>> {
        match rustix::fs::flock(&file, hold.operation()) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Flock {
    fn drop(&mut self) {
        // Where this fails, closing the file does it.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl AsFd for Flock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Keeps gc away while it lives.
#[derive(Debug)]
pub(crate) struct Lease {
    _held: Option<Flock>,
}

/// Keeps others from the same action while it lives.
#[derive(Debug)]
pub struct ActionLock {
    directory: OwnedFd,
    name: String,
    _held: Flock,
}

impl Drop for ActionLock {
    fn drop(&mut self) {
        // Removed while it is still held: whoever opened it before sees that its file is gone and opens a new one.
        let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

/// Whether a lock is shared or held alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Shared,
    Alone,
}

impl Hold {
    fn operation(self) -> FlockOperation {
        match self {
            Self::Shared => FlockOperation::NonBlockingLockShared,
            Self::Alone => FlockOperation::NonBlockingLockExclusive,
        }
    }
}

/// What to do while another process has a lock.
pub(crate) struct Patience<'a> {
    /// Called once with the holder when waiting begins.
    pub(crate) waiting: &'a mut dyn FnMut(&str),
    /// Ends the waiting.
    pub(crate) cancel: &'a AtomicBool,
    /// Ends the waiting too; `None` waits as long as it takes.
    pub(crate) timeout_secs: Option<u32>,
}

impl Store {
    /// Takes a shared lease: as long as it lives, gc neither condemns nor removes anything.
    ///
    /// Held for moments only. Cheap, and may be taken many times. A store opened for reading only on a medium that
    /// cannot be written needs none. [`StoreError::Busy`] when gc in another process does not end within the store's lock timeout.
    pub(crate) fn lease(&self) -> Result<Lease, StoreError> {
        let path = self.directory().join(LEASE);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(self.top(), LEASE, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) if self.is_read_only() => return Ok(Lease { _held: None }),
            Err(error) => return Err(StoreError::io("open", path)(error.into())),
        };
        let mut waiting = |holder: &str| self.tell_waiting("garbage collection", holder);
        let cancel = AtomicBool::new(false);
        let mut patience =
            Patience { waiting: &mut waiting, cancel: &cancel, timeout_secs: Some(self.lock_timeout_secs()) };
        let held = acquire(file, Hold::Shared, "the store", self.directory(), &mut patience)?;
        Ok(Lease { _held: Some(held) })
    }

    /// Takes the lease alone, for gc.
    pub(crate) fn lease_alone(&self, patience: &mut Patience<'_>) -> Result<Lease, StoreError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(self.top(), LEASE, flags, Mode::empty())
            .map_err(|error| StoreError::io("open", self.directory().join(LEASE))(error.into()))?;
        let held = acquire(file, Hold::Alone, "the store", self.directory(), patience)?;
        Ok(Lease { _held: Some(held) })
    }

    /// Takes the lease alone if nobody has it.
    pub(crate) fn try_lease_alone(&self) -> io::Result<Option<Lease>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(self.top(), LEASE, flags, Mode::empty())?;
        Ok(Flock::try_alone(file)?.map(|held| Lease { _held: Some(held) }))
    }

    /// Takes the lock of an action, so that the same thing is not made twice at once.
    ///
    /// `waiting` is called once, with the holder, when another process or thread has it.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] when `cancel` is raised while waiting, or the failure to make the lock.
    pub fn lock_action(
        &self,
        key: &Digest,
        waiting: &mut dyn FnMut(&str),
        cancel: &AtomicBool,
    ) -> Result<ActionLock, StoreError> {
        self.writable()?;
        let name = key.hex();
        let path = self.directory().join("locks").join(&name);
        let failed = |error: Errno| StoreError::io("lock", path.clone())(error.into());
        let directory = self.subdirectory("locks")?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut patience = Patience { waiting, cancel, timeout_secs: None };
        loop {
            let file = rustix::fs::openat(&directory, &name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            let held = acquire(file, Hold::Alone, "the action", self.directory(), &mut patience)?;
            let ours = rustix::fs::fstat(&held).map_err(failed)?;
            match rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if named.st_ino == ours.st_ino => {
                    return Ok(ActionLock { directory, name, _held: held });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Store {
    /// Says whether a process holds the lock of an action: is making it now. Also where that cannot be found out.
    #[must_use]
    pub fn is_being_made(&self, key: &Digest) -> bool {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened =
            self.subdirectory("locks").map(|directory| rustix::fs::openat(directory, key.hex(), flags, Mode::empty()));
        match opened {
            Ok(Ok(file)) => !matches!(Flock::try_take(file, Hold::Shared), Ok(Some(_))),
            Ok(Err(Errno::NOENT)) => false,
            _ => true,
        }
    }
}

/// Takes a `flock`, waiting as `patience` says.
pub(crate) fn acquire(
    file: OwnedFd,
    hold: Hold,
    what: &str,
    directory: &Path,
    patience: &mut Patience<'_>,
) -> Result<Flock, StoreError> {
    let looks = patience.timeout_secs.map(|secs| u128::from(secs) * 1000 / LOOK_AGAIN.as_millis());
    let mut looked = 0_u128;
    loop {
        match rustix::fs::flock(&file, hold.operation()) {
            Ok(()) => return Ok(Flock(file)),
            Err(Errno::WOULDBLOCK) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(StoreError::io("lock", directory)(error.into())),
        }
        if looks.is_some_and(|looks| looked >= looks) {
            return Err(StoreError::Busy {
                what: what.to_owned(),
                holder: holder(&file),
                directory: directory.to_owned(),
            });
        }
        if looked == 0 {
            (patience.waiting)(&holder(&file));
        }
        if patience.cancel.load(Ordering::Relaxed) {
            return Err(StoreError::Interrupted);
        }
        looked += 1;
        thread::sleep(LOOK_AGAIN);
    }
}

/// Says whether nobody holds a lock on a directory or file.
pub(crate) fn is_free(parent: &OwnedFd, name: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    opened.is_ok_and(|file| matches!(Flock::try_alone(file), Ok(Some(_))))
}

/// How often the list of locks is looked through for a holder before it is called unknown.
const HOLDER_LOOKS: usize = 16;

/// Says who holds a `flock` on a file, as far as the system tells.
///
/// The kernel gives its list a page at a time, and forgets where it was when locks before that place come or go: a
/// lock that is held all the while can be passed over. So a list without it is read again.
pub(crate) fn holder(file: impl AsFd) -> String {
    let unknown = || "another process".to_owned();
    let Ok(stat) = rustix::fs::fstat(file) else {
        return unknown();
    };
    let inode = format!(":{}", stat.st_ino);
    for _ in 0..HOLDER_LOOKS {
        // With room from the start, each call asks for as much as the kernel gives at once.
        let mut locks = String::with_capacity(1 << 16);
        if fs::File::open("/proc/locks").and_then(|mut file| file.read_to_string(&mut locks)).is_err() {
            return unknown();
        }
        let holders = holders(&locks, &inode);
        if !holders.is_empty() {
            return holders.join(", ");
        }
    }
    unknown()
}

/// The holders of a file's locks, by process and name, in a list as `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`.
fn holders(locks: &str, inode: &str) -> Vec<String> {
    let mut holders: Vec<String> = locks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() > 5 && words[1] == "FLOCK" && words[5].ends_with(inode))
        .map(|words| {
            let name = fs::read_to_string(format!("/proc/{}/comm", words[4]));
            name.map_or_else(
                |_| format!("process {}", words[4]),
                |name| format!("process {} ({})", words[4], name.trim()),
            )
        })
        .collect();
    holders.sort_unstable();
    holders.dedup();
    holders
}

#[cfg(test)]
mod tests {
    use super::{Flock, Hold, is_free};

    #[test]
    fn a_lock_ends_with_its_holder_even_while_a_process_is_being_started() {
        let top = tempfile::tempdir().unwrap();
        let parent = std::fs::File::open(top.path()).unwrap().into();
        let file = std::fs::File::create(top.path().join("lock")).unwrap();
        // What a new process has until its execve.
        let copy = file.try_clone().unwrap();
        let held = Flock::try_take(file.into(), Hold::Shared).unwrap().unwrap();
        assert!(!is_free(&parent, b"lock"));
        drop(held);
        assert!(is_free(&parent, b"lock"));
        drop(copy);
    }
}
