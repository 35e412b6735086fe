// store/src/tests/names.rs
//! Names without rows: files that a batch has just written, that a killed one left, or that somebody put there.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use recipes::Digest;

use super::{NEVER, Place, open};
use crate::cas::{Variant, object_path};
use crate::place::{Attributes, Placement};
use crate::{EPOCH_SECS, GcOptions, Problem, Reference, Store, VerifyOptions, durable};

/// Counts the files below `objects/`.
fn files(store: &Path) -> usize {
    let shards = fs::read_dir(store.join("objects")).unwrap();
    shards.map(|shard| fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
}

/// Puts a file where an object would lie: everything about it is right but its bytes, as a power cut may leave it.
fn plant(store: &Path, content: &[u8], mode: u32) -> Digest {
    let object = Digest::blake3(*blake3::hash(content).as_bytes());
    let path = store.join("objects").join(object_path(&object, &Variant::of_mode(mode)));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![0; content.len()]).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(EPOCH_SECS.unsigned_abs());
    File::open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    object
}

#[test]
fn a_file_without_a_row_is_never_believed() {
    let place = Place::new();
    let store = &place.store;
    let object = plant(store.directory(), b"content", 0o444);
    assert!(!store.has(&object).unwrap());
    assert_eq!(store.put_bytes(b"content").unwrap(), object);
    assert_eq!(store.read(&object).unwrap(), b"content");

    // The content is there as 0444, and what lies under the name of its variant for 0644 is nobody's.
    plant(store.directory(), b"content", 0o644);
    let none = std::collections::BTreeMap::new();
    let attributes = Attributes { mode: 0o644, owner: None, xattrs: &none };
    let file = Placement { object: &object, size: 7, attributes, share: true };
    store.clones.store(crate::place::clones::NO, std::sync::atomic::Ordering::Relaxed);
    let out = durable::open_directory(rustix::fs::CWD, place.top.path()).unwrap();
    store.place(&file, &crate::place::Prepared::default(), out.as_fd(), b"unprepared").unwrap();
    assert_eq!(fs::read(place.top.path().join("unprepared")).unwrap(), b"content");
    let (prepared, made) = store.prepare(&[file]).unwrap();
    assert_eq!(made, 1);
    assert_eq!(store.place(&file, &prepared, out.as_fd(), b"prepared").unwrap(), crate::place::Placed::Linked);
    assert_eq!(fs::read(place.top.path().join("prepared")).unwrap(), b"content");
}

#[test]
fn a_batch_that_is_given_up_leaves_nothing() {
    let place = Place::new();
    let batch = place.store.batch().unwrap();
    batch.add_bytes(b"content", 0o644).unwrap();
    assert_eq!(files(place.store.directory()), 1, "content that is known beforehand gets its name at once");
    drop(batch);
    assert_eq!(files(place.store.directory()), 0);
}

#[test]
fn what_a_batch_forgets_is_never_there() {
    let place = Place::new();
    let batch = place.store.batch().unwrap();
    let kept = batch.add_bytes(b"kept", 0o644).unwrap();
    let named = batch.add_bytes(b"forgotten", 0o644).unwrap();
    let mut writer = batch.writer(0o644);
    writer.push(b"forgotten under a temporary name").unwrap();
    let (numbered, _) = writer.finish().unwrap();
    let again = batch.add_bytes(b"wanted again", 0o644).unwrap();
    assert_eq!(batch.read(&named).unwrap(), b"forgotten");
    batch.retain(|object| *object == kept);
    assert!(batch.read(&named).is_err());
    assert_eq!(batch.add_bytes(b"wanted again", 0o644).unwrap(), again);
    assert_eq!(batch.commit().unwrap().objects, 2);
    assert_eq!(files(place.store.directory()), 2);
    assert_eq!(place.store.read(&again).unwrap(), b"wanted again");
    for forgotten in [named, numbered] {
        assert!(!place.store.has(&forgotten).unwrap());
    }
}

#[test]
fn two_batches_may_write_the_same() {
    for first_commits in [true, false] {
        let place = Place::new();
        let other = open(place.store.directory());
        let (first, second) = (place.store.batch().unwrap(), other.batch().unwrap());
        let object = first.add_bytes(b"content", 0o644).unwrap();
        second.add_bytes(b"content", 0o644).unwrap();
        if first_commits {
            first.commit().unwrap();
            drop(second);
        } else {
            second.commit().unwrap();
            drop(first);
        }
        assert_eq!(place.store.read(&object).unwrap(), b"content", "{first_commits}");
        assert_eq!(files(place.store.directory()), 1);
    }
}

#[test]
fn collection_and_verification_leave_what_a_batch_writes() {
    let place = Place::new();
    let batch = place.store.batch().unwrap();
    let object = batch.add_bytes(b"content", 0o644).unwrap();
    let other = open(place.store.directory());
    let gc = |store: &Store| store.gc(&GcOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert_eq!(gc(&other).strays, 0);
    for repair in [false, true] {
        let options = VerifyOptions { repair, ..VerifyOptions::default() };
        assert_eq!(other.verify(&options, &mut |_| {}, &NEVER).unwrap().problems, vec![]);
    }
    batch.commit().unwrap();
    place.store.pin(&Reference::Object(object), "test").unwrap();
    assert_eq!(place.store.read(&object).unwrap(), b"content");

    // What nobody is writing any more is found and removed.
    plant(place.store.directory(), b"left over", 0o644);
    let report = other.verify(&VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
    assert!(matches!(report.problems[..], [Problem::Stray { .. }]), "{:?}", report.problems);
    assert_eq!(gc(&other).strays, 1);
    assert_eq!(files(place.store.directory()), 1);
}
