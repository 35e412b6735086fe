// store/src/tests/limits.rs
//! Full, read-only, foreign and damaged stores.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use super::{NEVER, Place, is_root, open};
use crate::{ErrorKind, IngestOptions, OpenError, OpenOptions, Store, StoreError, VerifyOptions};

/// A file system of its own, unmounted when dropped.
struct Mounted {
    path: PathBuf,
    _top: tempfile::TempDir,
}

impl Mounted {
    /// Mounts a tmpfs of this size; nothing when that is not allowed.
    fn tmpfs(size: &str) -> Option<Self> {
        let top = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let status = Command::new("mount").args(arguments).arg(top.path()).output().ok()?.status;
        if !is_root() || !status.success() {
            eprintln!("skipped: cannot mount a tmpfs");
            return None;
        }
        Some(Self { path: top.path().to_owned(), _top: top })
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.path).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn a_full_file_system_is_an_error_and_loses_nothing() {
    let Some(mounted) = Mounted::tmpfs("3m") else { return };
    let store = open(&mounted.path.join("store"));
    let kept = store.put_bytes(b"before").unwrap();
    let source = tempfile::tempdir().unwrap();
    for number in 0..64_u8 {
        fs::write(source.path().join(number.to_string()), vec![number; 100_000]).unwrap();
    }
    let directory = File::open(source.path()).unwrap();
    let error = store.ingest(&directory, &IngestOptions::default(), &NEVER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
    assert!(error.hint().unwrap().contains("free space"), "{:?}", error.hint());
    assert_eq!(store.read(&kept).unwrap(), b"before");
    assert_eq!(fs::read_dir(mounted.path.join("store/tmp")).unwrap().count(), 0, "space is given back");
    let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert_eq!((report.problems, report.files), (vec![], 1));
    store.put_bytes(b"after").unwrap();
    // Not even the database finds room.
    let _ = fs::write(mounted.path.join("filler"), vec![0; 4 << 20]);
    let mut full = None;
    for number in 0..200 {
        if let Err(error) = store.set_setting(&format!("key {number}"), Some(&"x".repeat(4000))) {
            full = Some(error);
            break;
        }
    }
    assert_eq!(full.unwrap().kind(), ErrorKind::NoSpace);
    drop(store);
    fs::remove_file(mounted.path.join("filler")).unwrap();
    let store = open(&mounted.path.join("store"));
    assert_eq!(store.read(&kept).unwrap(), b"before");
    let report = store.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert_eq!(report.problems, []);
}

#[test]
fn a_read_only_medium_is_read_and_not_written() {
    let Some(mounted) = Mounted::tmpfs("8m") else { return };
    let path = mounted.path.join("store");
    let store = open(&path);
    let object = store.put_bytes(b"content").unwrap();
    drop(store);
    mounted.remount("ro");
    let error = Store::open(&path, &OpenOptions::default()).map(|store| store.put_bytes(b"x").map(drop));
    match error {
        Ok(written) => assert_eq!(written.unwrap_err().kind(), ErrorKind::ReadOnly),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Permission), "{error:?}"),
    }
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let store = Store::open(&path, &options).unwrap();
    assert_eq!(store.read(&object).unwrap(), b"content");
    let refused = store.put_bytes(b"new").unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }));
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
    assert!(refused.hint().is_some());
    let out = tempfile::tempdir().unwrap();
    let tree = crate::Tree::default();
    store.checkout(&tree, File::open(out.path()).unwrap(), &crate::CheckoutOptions::default(), &NEVER).unwrap();
    drop(store);
    mounted.remount("rw");
}

#[test]
fn reading_beside_a_writer_sees_what_it_commits() {
    let place = Place::new();
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    let reader = Store::open(&place.path("store"), &options).unwrap();
    let object = place.store.put_bytes(b"content").unwrap();
    assert_eq!(reader.read(&object).unwrap(), b"content");
    assert!(matches!(reader.set_setting("a", None), Err(StoreError::ReadOnly { .. })));
}

#[test]
fn a_store_that_is_not_there_is_not_made_by_reading() {
    let top = tempfile::tempdir().unwrap();
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    for path in [top.path().join("none"), top.path().to_owned()] {
        let error = Store::open(&path, &options).unwrap_err();
        assert!(matches!(error, OpenError::NoStore { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
}

/// Opens a store whose database was changed by `change`, with everything in the database itself.
fn reopened(change: impl FnOnce(&Path)) -> Result<Store, OpenError> {
    let top = tempfile::tempdir().unwrap();
    drop(open(top.path()));
    let everything = Connection::open(top.path().join("store.db")).unwrap();
    everything.query_row("SELECT count(*) FROM objects", [], |_| Ok(())).unwrap();
    drop(everything);
    assert!(!top.path().join("store.db-wal").exists());
    change(&top.path().join("store.db"));
    Store::open(top.path(), &OpenOptions::default())
}

#[test]
fn databases_that_are_not_ours_are_refused() {
    let set = |pragma: &'static str| move |path: &Path| Connection::open(path).unwrap().execute_batch(pragma).unwrap();
    let error = reopened(set("PRAGMA user_version = 99")).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.hint().is_some());
    let error = reopened(set("PRAGMA application_id = 7")).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    let error = reopened(|path| fs::write(path, b"this is not a database at all").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error:?}");
    assert!(error.hint().is_some());
    let error = reopened(|path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
    });
    match error {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{error:?}"),
        // SQLite may find out later; then every use says so.
        Ok(store) => {
            let options = VerifyOptions::default();
            let report = store.verify(&options, &mut |_| {}, &NEVER);
            assert!(report.map_or_else(|error| error.kind() == ErrorKind::Damaged, |r| !r.problems.is_empty()));
        }
    }
    assert!(reopened(|path| fs::remove_file(path).unwrap()).is_ok(), "a missing database is made again");
}

#[test]
fn a_store_of_another_user_is_not_written() {
    if !is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let place = Place::new();
    let object = place.store.put_bytes(b"theirs").unwrap();
    let path = place.path("store");
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    let error = Store::open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::NotOwner { owner: 12345, user: 0, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Permission);
    let options = OpenOptions { read_only: true, ..OpenOptions::default() };
    assert_eq!(Store::open(&path, &options).unwrap().read(&object).unwrap(), b"theirs");
}
