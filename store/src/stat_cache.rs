// store/src/stat_cache.rs
//! What files hashed to when they were last looked at, so that unchanged ones need not be read again.
//!
//! A file counts as unchanged while device, inode, size, mtime and ctime are. A file that was written to just before it was recorded
//! may be written to again within the same tick of the file system's clock and look the same; so, as
//! git does with its index, an answer counts only when the record is at least [`SETTLED_NS`] younger than the
//! file's times. The record's time is that of the store's own file system, read by touching the lease file.
//!
//! Whoever remembers a file stats it before *and* after reading and remembers only what did not change.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use recipes::Digest;
use rusqlite::{OptionalExtension, params};
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW};

use crate::Store;
use crate::database;
use crate::error::StoreError;
use crate::lock::LEASE;

/// How much older than its record a file must be. Covers file systems that count whole seconds, or pairs of them.
const SETTLED_NS: i64 = 2_100_000_000;

/// What tells whether a file is still the one that was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFingerprint {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Length.
    pub size_bytes: u64,
    /// Time of the last change of content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of anything, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl StatFingerprint {
    /// Takes the fingerprint of a file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |secs: i64, rest: i64| secs.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Store {
    /// Returns the digest of a file that is still as it was recorded, and was settled then.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn cached_stat(&self, path: &Path, now: &StatFingerprint) -> Result<Option<Digest>, StoreError> {
        let row = self.database().read("find a file's digest", |connection| {
            connection
                .prepare_cached(
                    "SELECT object, recorded_ns FROM stats WHERE path = ? AND device = ?
                     AND inode = ? AND size_bytes = ? AND mtime_ns = ? AND ctime_ns = ?",
                )?
                .query_row(
                    params![
                        path.as_os_str().as_bytes(),
                        now.device.cast_signed(),
                        now.inode.cast_signed(),
                        database::signed(now.size_bytes),
                        now.mtime_ns,
                        now.ctime_ns,
                    ],
                    |row| Ok((database::digest(row, 0)?, row.get::<_, i64>(1)?)),
                )
                .optional()
        })?;
        let newest = now.mtime_ns.max(now.ctime_ns);
        Ok(row.filter(|(_, at)| newest.saturating_add(SETTLED_NS) <= *at).map(|(object, _)| object))
    }

    /// Remembers what a file hashed to; `fingerprint` was the same before and after it was read.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remember_stat(&self, path: &Path, fingerprint: &StatFingerprint, object: &Digest) -> Result<(), StoreError> {
        self.remember_stats(&[(path, *fingerprint, *object)])
    }

    /// Remembers what several files hashed to, in one transaction.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remember_stats(&self, files: &[(&Path, StatFingerprint, Digest)]) -> Result<(), StoreError> {
        self.writable()?;
        let recorded_ns = self.file_system_time()?;
        self.database().note("record files' digests", |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO stats
                 (path, device, inode, size_bytes, mtime_ns, ctime_ns, recorded_ns, object)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            for (path, fingerprint, object) in files {
                insert.execute(params![
                    path.as_os_str().as_bytes(),
                    fingerprint.device.cast_signed(),
                    fingerprint.inode.cast_signed(),
                    database::signed(fingerprint.size_bytes),
                    fingerprint.mtime_ns,
                    fingerprint.ctime_ns,
                    recorded_ns,
                    object.as_bytes(),
                ])?;
            }
            Ok(())
        })
    }

    /// Returns what the store's file system takes for now.
    fn file_system_time(&self) -> Result<i64, StoreError> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        let touched = rustix::fs::utimensat(self.top(), LEASE, &times, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| rustix::fs::statat(self.top(), LEASE, AtFlags::SYMLINK_NOFOLLOW));
        let stat = touched.map_err(|error| StoreError::io("touch", self.directory().join(LEASE))(error.into()))?;
        let rest = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
        Ok(stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use std::fs;
    use std::time::{Duration, SystemTime};

    #[test]
    fn only_settled_and_unchanged_files_are_believed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &OpenOptions::default()).unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"content").unwrap();
        let object = Digest::blake3([1; 32]);
        let young = StatFingerprint::of(&fs::metadata(&path).unwrap());
        store.remember_stat(&path, &young, &object).unwrap();
        assert_eq!(store.cached_stat(&path, &young).unwrap(), None, "as young as its record");

        let old = StatFingerprint { ctime_ns: young.ctime_ns - 10_000_000_000, mtime_ns: 5, ..young };
        store.remember_stat(&path, &old, &object).unwrap();
        assert_eq!(store.cached_stat(&path, &old).unwrap(), Some(object));
        for changed in [
            StatFingerprint { device: old.device + 1, ..old },
            StatFingerprint { inode: old.inode + 1, ..old },
            StatFingerprint { size_bytes: old.size_bytes + 1, ..old },
            StatFingerprint { mtime_ns: old.mtime_ns + 1, ..old },
            StatFingerprint { ctime_ns: old.ctime_ns + 1, ..old },
        ] {
            assert_eq!(store.cached_stat(&path, &changed).unwrap(), None);
        }
        assert_eq!(store.cached_stat(Path::new("/other"), &old).unwrap(), None);
        // A file from the future is never settled.
        let future = SystemTime::now() + Duration::from_hours(1);
        fs::File::open(&path).unwrap().set_modified(future).unwrap();
        let future = StatFingerprint::of(&fs::metadata(&path).unwrap());
        store.remember_stat(&path, &future, &object).unwrap();
        assert_eq!(store.cached_stat(&path, &future).unwrap(), None);
    }
}
