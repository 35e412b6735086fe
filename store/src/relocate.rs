// store/src/relocate.rs
//! Moving a store to another place, whole, beside commands that wait.
//!
//! ```text
//! lease alone, nobody holds an epoch
//! same file system    rename → link at the old place
//! another one         copy, every object hashed, one barrier → rename to its name → exchange the old directory for a link
//!                       → the old database refuses every change → the old directory goes
//! ```
//!
//! Until the rename the old place is the store, and what lies beside the new one is garbage with a name of its own. A command that had the
//! store open and waited meanwhile goes on in the same directory, or, after a copy, is refused by the old database.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use recipes::Digest;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use crate::Store;
use crate::cas::{self, Variant};
use crate::copy::{self, How};
use crate::database::FILE_NAME;
use crate::durable;
use crate::error::StoreError;
use crate::hold::HOLDS;
use crate::ingest;
use crate::lock::{LEASE, Lease, Patience};
use crate::work;

/// The database of a root: a store beside it belongs to that root.
const OF_A_ROOT: &str = "root.db";

impl Store {
    /// Moves the whole store to `target`, which must not exist, and leaves a symbolic link to it at the old place.
    ///
    /// Waits for commands that use the store, at most `timeout_secs`; `waiting` hears of it. Durable on return. To another file system
    /// everything is copied, and every object hashed on the way.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the store belongs to a root or `target` lies in it; [`StoreError::Busy`] when others do not end in
    /// time; [`StoreError::Damaged`] when an object is not what its name says. The store is then where it was.
    pub fn move_to(
        self,
        target: &Path,
        timeout_secs: u32,
        waiting: &mut dyn FnMut(&str),
        cancel: &AtomicBool,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let refuse = |reason: &str| {
            let (what, value) = ("a store at", target.display().to_string());
            Err(StoreError::Invalid { what, value, reason: reason.to_owned() })
        };
        if rustix::fs::statat(self.top(), OF_A_ROOT, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return refuse("this store belongs to a root and moves with it");
        }
        let from = Place::of(self.directory())?;
        let to = Place::of(target)?;
        if to.parent_path.starts_with(self.directory()) {
            return refuse("it lies inside the store");
        }
        if rustix::fs::statat(&to.parent, to.name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return refuse("something is there already");
        }
        let lease = self.nobody_else(timeout_secs, waiting, cancel)?;
        match durable::rename_noreplace(&from.parent, from.name.as_os_str(), &to.parent, to.name.as_os_str()) {
            Ok(()) => {
                let linked = to.sync().and_then(|()| {
                    rustix::fs::symlinkat(target, &from.parent, from.name.as_os_str())
                        .map_err(|error| StoreError::io("leave a link at", self.directory())(error.into()))
                });
                if linked.is_err() {
                    // With nothing at the old place the next command would begin an empty store there.
                    let (back, name) = (&from.parent, from.name.as_os_str());
                    let _ = durable::rename_noreplace(&to.parent, to.name.as_os_str(), back, name);
                }
                linked?;
                from.sync()
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.copy_whole(&to, cancel)?;
                self.give_way(&from, &to, target)?;
                drop(lease);
                Ok(())
            }
            Err(error) => Err(StoreError::io("move the store to", target)(error)),
        }
    }

    /// Takes the lease alone at a moment when no command is under way.
    fn nobody_else(
        &self,
        timeout_secs: u32,
        waiting: &mut dyn FnMut(&str),
        cancel: &AtomicBool,
    ) -> Result<Lease, StoreError> {
        let until = Instant::now() + Duration::from_secs(timeout_secs.into());
        let mut told = false;
        loop {
            let lease = self.lease_alone(&mut Patience { waiting, cancel, timeout_secs: Some(timeout_secs) })?;
            if self.oldest_held()?.is_none() {
                return Ok(lease);
            }
            // A command under way must be able to commit, so it is waited for without the lease.
            drop(lease);
            let holder = "a command that is under way";
            if Instant::now() > until {
                let (what, directory) = ("the store".to_owned(), self.directory().to_owned());
                return Err(StoreError::Busy { what, holder: holder.to_owned(), directory });
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Interrupted);
            }
            if !std::mem::replace(&mut told, true) {
                waiting(holder);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Copies everything but caches to a directory beside the new place, and gives it its name.
    fn copy_whole(&self, to: &Place, cancel: &AtomicBool) -> Result<(), StoreError> {
        let temporary = to.beside("moving");
        let path = to.parent_path.join(&temporary);
        let failed = |action| StoreError::io(action, path.clone());
        // What a move that was interrupted left.
        let _ = work::remove_all(to.parent.as_fd(), temporary.as_encoded_bytes());
        let make = |parent: &OwnedFd, name: &std::ffi::OsStr| -> Result<OwnedFd, StoreError> {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)).map_err(|e| failed("make")(e.into()))?;
            durable::open_directory(parent, name).map_err(failed("open"))
        };
        let top = make(&to.parent, &temporary)?;
        let copied = (|| {
            let objects = make(&top, "objects".as_ref())?;
            (0..=255_u8).into_par_iter().try_for_each(|byte| self.copy_shard(byte, &objects, cancel))?;
            let logs = make(&top, "logs".as_ref())?;
            let from = self.subdirectory("logs")?;
            for name in self.names(&from, "logs")? {
                copy_file(&from, &logs, &name, None).map_err(failed("copy a log to"))?;
            }
            self.database().copy_to(&path.join(FILE_NAME))?;
            // What a store has besides when it is made.
            for name in ["roots", "locks", HOLDS] {
                make(&top, name.as_ref())?;
            }
            let open = |error: rustix::io::Errno| failed("open up")(error.into());
            rustix::fs::fchmod(make(&top, "tmp".as_ref())?, Mode::RWXU).map_err(open)?;
            let lease = durable::create(&top, LEASE).map_err(failed("make a lock in"))?;
            rustix::fs::fchmod(&lease, Mode::from_raw_mode(0o644)).map_err(open)?;
            let database = rustix::fs::statat(self.top(), FILE_NAME, AtFlags::SYMLINK_NOFOLLOW).map_err(open)?;
            let mode = Mode::from_raw_mode(database.st_mode & 0o777);
            rustix::fs::chmodat(&top, FILE_NAME, mode, AtFlags::empty()).map_err(open)?;
            let mode = self.top_mode()?;
            rustix::fs::fchmod(&top, mode).map_err(open)?;
            durable::sync_file_system(&top).map_err(failed("sync"))?;
            durable::rename_noreplace(&to.parent, &*temporary, &to.parent, to.name.as_os_str())
                .map_err(failed("move into its place"))
        })();
        if copied.is_err() {
            // Named as garbage already; the next move removes it.
            let _ = work::remove_all(to.parent.as_fd(), temporary.as_encoded_bytes());
        }
        copied?;
        let synced = to.sync();
        if synced.is_err() {
            // Nobody knows the copy yet, and in its place it would be in the way of the next move.
            let _ = work::remove_all(to.parent.as_fd(), to.name.as_encoded_bytes());
        }
        synced
    }

    fn top_mode(&self) -> Result<Mode, StoreError> {
        let stat = rustix::fs::fstat(self.top());
        let stat = stat.map_err(|error| StoreError::io("examine", self.directory())(error.into()))?;
        Ok(Mode::from_raw_mode(stat.st_mode & 0o7777))
    }

    /// Copies the objects that begin with one byte, each compared with its name.
    fn copy_shard(&self, byte: u8, objects: &OwnedFd, cancel: &AtomicBool) -> Result<(), StoreError> {
        let shard = format!("{byte:02x}");
        let path = self.directory().join("objects").join(&shard);
        let from = match durable::open_directory(self.objects(), shard.as_str()) {
            Ok(from) => from,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        rustix::fs::mkdirat(objects, shard.as_str(), Mode::from_raw_mode(0o755))
            .map_err(|error| StoreError::io("copy", path.clone())(error.into()))?;
        let to = durable::open_directory(objects, shard.as_str()).map_err(StoreError::io("copy", path.clone()))?;
        for name in self.names(&from, "objects")? {
            if cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Interrupted);
            }
            let text = String::from_utf8_lossy(&name);
            // A file of another name belongs to no object, and stays behind.
            let Some((object, variant)) = object_of(&shard, &text) else { continue };
            let path = path.join(&*text);
            let actual = copy_file(&from, &to, &name, Some(&variant)).map_err(StoreError::io("copy", path.clone()))?;
            if actual != object {
                return Err(StoreError::Damaged { expected: object, actual, path });
            }
        }
        Ok(())
    }

    /// Puts a link to the new place where the old store is, and removes that one; where that fails the copy goes.
    fn give_way(&self, from: &Place, to: &Place, target: &Path) -> Result<(), StoreError> {
        let aside = from.beside("moved");
        let failed = |action| StoreError::io(action, self.directory());
        // What a move that was interrupted left: a link, or the store of before it.
        let _ = work::remove_all(from.parent.as_fd(), aside.as_encoded_bytes());
        let linked = rustix::fs::symlinkat(target, &from.parent, &*aside)
            .map_err(|error| failed("leave a link at")(error.into()))
            .and_then(|()| {
                durable::exchange(&from.parent, &*aside, &from.parent, from.name.as_os_str())
                    .map_err(failed("put a link in the place of"))
            });
        if linked.is_err() {
            // Nobody knows the copy yet, and in its place it would be in the way of the next move.
            let _ = work::remove_all(from.parent.as_fd(), aside.as_encoded_bytes());
            let _ = work::remove_all(to.parent.as_fd(), to.name.as_encoded_bytes());
        }
        linked?;
        from.sync()?;
        self.database().retire()?;
        work::remove_all(from.parent.as_fd(), aside.as_encoded_bytes())
            .map_err(|error| failed("remove what was")(error.into()))
    }
}

/// A name in an open directory.
struct Place {
    parent: OwnedFd,
    parent_path: PathBuf,
    name: OsString,
}

impl Place {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let invalid = || StoreError::Invalid {
            what: "a store at",
            value: path.display().to_string(),
            reason: "it is no name in a directory".to_owned(),
        };
        let name = path.file_name().ok_or_else(invalid)?.to_owned();
        let parent_path = path.parent().ok_or_else(invalid)?;
        let parent_path = parent_path.canonicalize().map_err(StoreError::io("open", parent_path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(CWD, &parent_path, flags, Mode::empty())
            .map_err(|error| StoreError::io("open", &parent_path)(error.into()))?;
        Ok(Self { parent, parent_path, name })
    }

    /// A name beside this one that nobody else gives.
    fn beside(&self, what: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(format!(".conary-{what}"));
        name
    }

    fn sync(&self) -> Result<(), StoreError> {
        durable::sync_directory(&self.parent).map_err(StoreError::io("sync", &self.parent_path))
    }
}

/// Reads the name of a file below `objects/`.
fn object_of(shard: &str, name: &str) -> Option<(Digest, Variant)> {
    let (rest, variant) = name.split_once('.')?;
    let object: Digest = format!("blake3:{shard}{rest}").parse().ok()?;
    let variant = Variant::parse(variant)?;
    (cas::object_path(&object, &variant) == format!("{shard}/{name}")).then_some((object, variant))
}

/// Copies a file with what its inode has, and returns the BLAKE3 of what was written.
fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &[u8], variant: Option<&Variant>) -> io::Result<Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source: File = rustix::fs::openat(from, name, flags, Mode::empty())?.into();
    let stat = rustix::fs::fstat(&source)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let copied = durable::create(to, name)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    copy::contents(&source, &copied, size, How::Any)?;
    let mut hasher = blake3::Hasher::new();
    let mut written = copied.try_clone()?;
    io::Seek::rewind(&mut written)?;
    io::copy(&mut written, &mut hasher)?;
    match variant {
        Some(variant) => {
            let xattrs = ingest::attributes(&source, name).map_err(io::Error::other)?;
            copy::finish(&copied, variant.mode, variant.owner, &xattrs)?;
        }
        None => rustix::fs::fchmod(&copied, Mode::from_raw_mode(stat.st_mode & 0o777))?,
    }
    Ok(Digest::blake3(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use std::fs;

    fn made(path: &Path) -> (Store, Digest) {
        let store = Store::open(path, &OpenOptions::default()).unwrap();
        let batch = store.batch().unwrap();
        let object = batch.add_bytes(b"content", 0o755).unwrap();
        batch.commit().unwrap();
        store.set_setting("distfiles", Some("/somewhere")).unwrap();
        (store, object)
    }

    fn moved(store: Store, target: &Path) -> Result<(), StoreError> {
        store.move_to(target, 0, &mut |_| {}, &AtomicBool::new(false))
    }

    fn holds(path: &Path, object: &Digest) {
        let store = Store::open(path, &OpenOptions::default()).unwrap();
        assert_eq!(store.read(object).unwrap(), b"content");
        assert_eq!(store.setting("distfiles").unwrap().as_deref(), Some("/somewhere"));
        let report = store.verify(&crate::VerifyOptions::default(), &mut |_| {}, &AtomicBool::new(false)).unwrap();
        assert_eq!((report.problems.len(), report.files), (0, 1), "{:?}", report.problems);
    }

    /// A directory on another file system than the one of temporary files, where there is one that everybody may write to.
    fn elsewhere() -> Option<tempfile::TempDir> {
        use std::os::unix::fs::MetadataExt;
        let other = tempfile::tempdir_in("/dev/shm").ok()?;
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        (device(other.path()) != device(&std::env::temp_dir())).then_some(other)
    }

    #[test]
    fn a_store_is_found_at_both_places() {
        let top = tempfile::tempdir().unwrap();
        let other = elsewhere();
        let targets = [Some(top.path().join("new")), other.as_ref().map(|other| other.path().join("new"))];
        for target in targets.into_iter().flatten() {
            let old = top.path().join("old");
            let (store, object) = made(&old);
            moved(store, &target).unwrap();
            assert_eq!(fs::read_link(&old).unwrap(), target);
            holds(&target, &object);
            holds(&old, &object);
            let left: Vec<_> = fs::read_dir(target.parent().unwrap()).unwrap().map(|entry| entry.unwrap()).collect();
            assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.')), "{left:?}");
            fs::remove_file(&old).unwrap();
        }
    }

    #[test]
    fn a_store_in_use_or_of_a_root_stays() {
        let top = tempfile::tempdir().unwrap();
        let (old, new) = (top.path().join("old"), top.path().join("new"));
        let (store, object) = made(&old);
        let user = Store::open(&old, &OpenOptions::default()).unwrap();
        let hold = user.hold().unwrap();
        assert!(matches!(moved(store, &new), Err(StoreError::Busy { .. })));
        drop((hold, user));
        let again = || Store::open(&old, &OpenOptions::default()).unwrap();
        for target in [top.path().join("old/inside"), top.path().to_owned()] {
            assert!(matches!(moved(again(), &target), Err(StoreError::Invalid { .. })), "{}", target.display());
        }
        fs::write(old.join(OF_A_ROOT), b"").unwrap();
        assert!(matches!(moved(again(), &new), Err(StoreError::Invalid { .. })));
        fs::remove_file(old.join(OF_A_ROOT)).unwrap();
        holds(&old, &object);
        assert!(!new.exists());
    }

    #[test]
    fn a_copy_finds_damage_and_the_old_store_takes_no_more() {
        let (top, Some(other)) = (tempfile::tempdir().unwrap(), elsewhere()) else { return };
        let (old, new) = (top.path().join("old"), other.path().join("new"));
        let (store, object) = made(&old);
        let file = old.join("objects").join(cas::object_path(&object, &Variant::of_mode(0o755)));
        fs::remove_file(&file).unwrap();
        fs::write(&file, b"CONTENT").unwrap();
        assert!(matches!(moved(store, &new), Err(StoreError::Damaged { .. })));
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
        assert!(fs::symlink_metadata(&old).unwrap().is_dir());
        fs::write(&file, b"content").unwrap();
        // One that had the store open all along.
        let late = Store::open(&old, &OpenOptions::default()).unwrap();
        moved(Store::open(&old, &OpenOptions::default()).unwrap(), &new).unwrap();
        assert!(late.set_setting("distfiles", None).is_err());
    }
}
