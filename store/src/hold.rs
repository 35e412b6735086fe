// store/src/hold.rs
//! Holds: how a command says that it is under way, so that gc can work beside it.
//!
//! Time in a store is counted in epochs. Whoever begins something that ends with a row (a cook, an install, an import, a checkout) holds
//! the epoch of that moment: a shared `flock` on `<store>/holds/<epoch>`, gone with its process however it dies. gc takes what
//! nothing refers to out of sight at once, notes the epoch, and begins the next one; files go when no hold of that epoch
//! or an earlier one is left. So what a command saw when it began stays readable for it, and what it refers to later is put back.
//!
//! ```text
//! hold 7      cook ───────────────────────────────┐ refers to x: x is back
//! gc               x, y condemned in epoch 7; 8 begins
//! hold 8              install ──────┐  sees neither x nor y
//! gc                                              │ nobody holds 7 or less: y's file goes
//! ```

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::Store;
use crate::durable;
use crate::error::StoreError;
use crate::lock::{self, Flock, Lease};

/// Directory of the files that stand for epochs.
pub(crate) const HOLDS: &str = "holds";

/// Keeps everything that was in the store when it began readable, while it lives.
#[derive(Debug)]
pub struct Hold {
    _held: Option<Arc<Held>>,
    /// What a store that this user may not write to is held by: gc waits for it.
    _lease: Option<Lease>,
}

/// An epoch that this process holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) epoch: i64,
    _lock: Flock,
}

impl Store {
    /// Holds the store's present epoch: until the hold is dropped, gc removes nothing of what is there now, nor of what
    /// is added meanwhile.
    ///
    /// Taken before objects are added or looked for, kept until the row that refers to them is committed. Several
    /// holds of one open store share the first one's epoch. Cheap: some ten system calls.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when gc or a change of the schema in another process does not end within the store's lock timeout;
    /// [`OpenOptions::waiting`](crate::OpenOptions) hears of it at once.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let mut current = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = current.upgrade() {
            return Ok(Hold { _held: Some(held), _lease: None });
        }
        // No epoch ends while the lease is shared.
        let lease = self.lease()?;
        let epoch = self.epoch()?;
        let failed = || StoreError::io("hold", self.directory().join(HOLDS).join(epoch.to_string()));
        match self.open_epoch(epoch) {
            Ok(file) => {
                // Only gc takes one alone, and it has the lease then.
                let taken = Flock::try_take(file, lock::Hold::Shared).map_err(failed())?;
                let lock = taken.ok_or_else(|| failed()(ErrorKind::ResourceBusy.into()))?;
                let held = Arc::new(Held { epoch, _lock: lock });
                *current = Arc::downgrade(&held);
                Ok(Hold { _held: Some(held), _lease: None })
            }
            Err(Errno::ACCESS | Errno::ROFS | Errno::PERM | Errno::NOENT) if self.is_read_only() => {
                Ok(Hold { _held: None, _lease: Some(lease) })
            }
            Err(error) => Err(failed()(error.into())),
        }
    }

    /// Returns the epoch that this process holds, if it does.
    pub(crate) fn held_epoch(&self) -> Option<i64> {
        let current = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        current.upgrade().map(|held| held.epoch)
    }

    /// Returns the epoch that a command holds which begins now.
    pub(crate) fn epoch(&self) -> Result<i64, StoreError> {
        self.database().read("find the epoch", |connection| {
            connection.prepare_cached("SELECT number FROM epoch")?.query_row([], |row| row.get(0))
        })
    }

    /// Finds the oldest epoch that anybody holds, and removes the files of those that nobody does. The caller has the lease alone.
    pub(crate) fn oldest_held(&self) -> Result<Option<i64>, StoreError> {
        let parent = self.subdirectory(HOLDS)?;
        let mut oldest = None;
        for name in self.names(&parent, HOLDS)? {
            if lock::is_free(&parent, &name) {
                // One that cannot be removed is found free again by the next gc.
                let _ = rustix::fs::unlinkat(&parent, name.as_slice(), AtFlags::empty());
                continue;
            }
            let epoch = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
            // A name of another shape, held by somebody, may mean anything: it holds everything.
            let epoch: i64 = epoch.unwrap_or(i64::MIN);
            oldest = Some(oldest.map_or(epoch, |oldest: i64| oldest.min(epoch)));
        }
        Ok(oldest)
    }

    fn open_epoch(&self, epoch: i64) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o644);
        let open = |parent: &OwnedFd| rustix::fs::openat(parent, epoch.to_string(), flags, mode);
        match durable::open_directory(self.top(), HOLDS) {
            Ok(parent) => open(&parent),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match rustix::fs::mkdirat(self.top(), HOLDS, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                let parent = durable::open_directory(self.top(), HOLDS);
                open(&parent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?)
            }
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}
