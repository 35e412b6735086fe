// store/src/tests/collect.rs
//! Garbage collection and verification.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use recipes::Digest;

use super::{NEVER, Place, open, spawn};
use crate::manifest::tests::sample;
use crate::{
    ActionRow, CheckoutOptions, Component, ErrorKind, GcOptions, GcReport, Input, LinkMode, Problem, Reference,
    SourceKind, SourceRow, Store, StoreError, VerifyOptions, VerifyReport,
};

/// Puts a trove with one file; returns its id and the file's object.
fn trove(place: &Place, name: &str, version: &str) -> (Digest, Digest) {
    let path = place.directory(&format!("{name}-{version}"), &[("usr/file", &format!("{name} {version}"))]);
    let tree = place.ingest(&path);
    let object = tree.objects().next().unwrap();
    let mut manifest = sample(name, version);
    let (files, size_bytes) = tree.content();
    let component =
        Component { tree: place.store.put_tree(&tree).unwrap(), files, size_bytes, provides: vec![], requires: vec![] };
    manifest.components = BTreeMap::from([("runtime".to_owned(), component)]);
    (place.store.put_trove(&manifest).unwrap(), object)
}

fn action(key: u8, name: &str, trove: Digest, input: &Digest) -> ActionRow {
    ActionRow {
        key: Digest::blake3([key; 32]),
        name: name.to_owned(),
        version: "1-1".to_owned(),
        inputs: vec![Input { kind: "host".to_owned(), name: "usr".to_owned(), value: input.to_string() }],
        troves: vec![trove],
        log: None,
        isolation: "full".to_owned(),
        made_by_uid: 0,
        at_unix_secs: 0,
        statement: "{}".to_owned(),
    }
}

fn gc(store: &Store, options: &GcOptions<'_>) -> GcReport {
    store.gc(options, &mut |_| {}, &NEVER).unwrap()
}

fn verify(store: &Store, repair: bool) -> VerifyReport {
    let options = VerifyOptions { repair, ..VerifyOptions::default() };
    store.verify(&options, &mut |_| {}, &NEVER).unwrap()
}

#[test]
fn gc_keeps_what_something_refers_to() {
    let place = Place::new();
    let store = &place.store;
    let (pinned, pinned_file) = trove(&place, "pinned", "1-1");
    let (old, old_file) = trove(&place, "hello", "1-1");
    let (new, new_file) = trove(&place, "hello", "2-1");
    let (installed, installed_file) = trove(&place, "installed", "1-1");
    let (loose, loose_file) = trove(&place, "loose", "1-1");
    store.pin(&Reference::Trove(pinned), "seed").unwrap();
    let seen = store.put_bytes(b"what the key saw").unwrap();
    store.record_action(&action(1, "hello", old, &seen)).unwrap();
    store.record_action(&action(2, "hello", new, &seen)).unwrap();
    let root = Path::new("/srv/not/mounted");
    store.add_root_refs(root, &[Reference::Trove(installed)]).unwrap();
    let source = store.put_bytes(b"distfile").unwrap();
    let row = SourceRow {
        object: source,
        size_bytes: 8,
        kind: SourceKind::File,
        origin: String::new(),
        file_name: "distfile".to_owned(),
    };
    store.record_source("sha256:0", &row).unwrap();
    let garbage = store.put_bytes(b"garbage").unwrap();
    let stray = place.path("store/objects").join(&pinned_file.hex()[..2]).join("stray");
    fs::write(&stray, b"12345").unwrap();

    let dry = gc(store, &GcOptions { dry_run: true, ..GcOptions::default() });
    assert_eq!((dry.troves, dry.objects, dry.strays, dry.stray_bytes), (2, 5, 1, 5));
    assert!(store.has(&garbage).unwrap() && stray.exists());
    assert_eq!(gc(store, &GcOptions::default()), dry);
    assert!(!stray.exists());
    for kept in [pinned_file, new_file, installed_file, seen, source] {
        assert!(store.read(&kept).is_ok());
    }
    for gone in [old_file, loose_file, garbage] {
        assert!(!store.has(&gone).unwrap());
        assert!(matches!(store.read(&gone), Err(StoreError::Missing { .. })));
    }
    for (id, there) in [(pinned, true), (old, false), (new, true), (installed, true), (loose, false)] {
        assert_eq!(store.is_complete(&id).unwrap(), there);
    }
    assert_eq!(store.actions("hello", 9).unwrap().len(), 2, "facts stay");
    assert_eq!(verify(store, false).problems, []);
    let again = gc(store, &GcOptions::default());
    assert_eq!((again.objects, again.strays, again.troves), (0, 0, 0));

    store.forget_root(root).unwrap();
    gc(store, &GcOptions { keep_sources: false, ..GcOptions::default() });
    assert!(!store.has(&installed_file).unwrap() && !store.has(&source).unwrap());
    assert!(store.source("sha256:0").unwrap().is_some(), "facts stay");
}

#[test]
fn gc_removes_nothing_when_it_cannot_read_what_stays() {
    let place = Place::new();
    let (pinned, _) = trove(&place, "pinned", "1-1");
    place.store.pin(&Reference::Trove(pinned), "seed").unwrap();
    let tree = place.store.trove(&pinned).unwrap().components["runtime"].tree;
    damage(&object_file(&place, &tree));
    let garbage = place.store.put_bytes(b"garbage").unwrap();
    let error = place.store.gc(&GcOptions::default(), &mut |_| {}, &NEVER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(place.store.has(&garbage).unwrap());
}

/// What the process in the next tests does: adds an object, finds others, and refers to them when it is told to.
pub(super) fn hold_epoch(path: &Path) {
    let store = open(path);
    let hold = store.hold().unwrap();
    let added = store.put_bytes(b"not yet referred to").unwrap();
    let seen = store.put_bytes(b"was there").unwrap();
    let trove = store.find_troves("seen").unwrap().pop().map(|row| row.id);
    println!("\nadded");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    // gc has run since.
    assert_eq!(store.read(&added).unwrap(), b"not yet referred to");
    assert_eq!(store.read(&seen).unwrap(), b"was there");
    store.pin(&Reference::Object(added), "test").unwrap();
    store.pin(&Reference::Object(seen), "test").unwrap();
    if let Some(trove) = trove {
        store.record_action(&action(9, "seen", trove, &seen)).unwrap();
    }
    drop(hold);
}

/// What the process in the next test does: shares the lease until it is told to end.
pub(super) fn hold_lease(path: &Path) {
    let store = open(path);
    let lease = store.lease().unwrap();
    let object = store.put_bytes(b"not yet referred to").unwrap();
    println!("\nadded");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    // One lease for both, as a commit has.
    let (kind, target) = ("object", object);
    let sql = "INSERT INTO pins (kind, target, reason) VALUES (?, ?, 'test')";
    let pinned = store.database().write("pin", |transaction| transaction.execute(sql, (kind, target.as_bytes())));
    pinned.unwrap();
    drop(lease);
}

/// A process that does `work` and says that it has begun; what is written to its standard input ends it.
fn waiting_child(work: &str, store: &Path) -> (std::process::Child, std::io::PipeWriter) {
    let (output, input) = std::io::pipe().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::child_process", "--nocapture", "--test-threads=1"])
        .env(super::WORK, work)
        .env(super::WHERE, store)
        .stdin(output)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "added" {}
    (child, input)
}

#[test]
fn gc_works_beside_a_command_that_is_under_way() {
    let place = Place::new();
    let store = &place.store;
    let seen = store.put_bytes(b"was there").unwrap();
    let unseen = store.put_bytes(b"nobody wants it").unwrap();
    let (trove, file) = trove(&place, "seen", "1-1");
    let sequence = store.find_troves("seen").unwrap()[0].sequence;
    let paths: Vec<PathBuf> = [seen, unseen, file].iter().map(|object| object_file(&place, object)).collect();
    let (mut child, mut input) = waiting_child("hold", store.directory());
    let impatient = GcOptions { timeout_secs: 0, ..GcOptions::default() };
    let mut waiting = |holder: &str| panic!("{holder} is waited for");
    let report = store.gc(&impatient, &mut waiting, &NEVER).unwrap();
    // Two loose objects, what the child added, and the trove's tree and file.
    assert_eq!((report.objects, report.deferred, report.troves), (0, 5, 1));
    let gone = |object: &Digest| !store.has(object).unwrap();
    assert!(gone(&seen) && gone(&unseen) && gone(&file), "out of sight");
    assert!(paths.iter().all(|path| path.exists()), "and not off the disk");
    assert!(store.find_troves("seen").unwrap().is_empty());
    assert_eq!(verify(store, false).problems, [], "condemned files are no strays");
    // Again: nothing more to condemn, and nothing goes while the child lives.
    let again = store.gc(&impatient, &mut waiting, &NEVER).unwrap();
    assert_eq!((again.objects, again.deferred, again.strays), (0, 5, 0));

    input.write_all(b"x").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(store.read(&seen).unwrap(), b"was there");
    assert!(store.is_complete(&trove).unwrap());
    assert_eq!(store.find_troves("seen").unwrap()[0].sequence, sequence, "a trove that is back is no newer for it");
    assert!(store.read(&file).is_ok());
    let last = gc(store, &GcOptions::default());
    assert_eq!((last.objects, last.deferred, last.kept_objects), (1, 0, 4));
    assert!(!paths[1].exists());
    assert_eq!(fs::read_dir(place.path("store/holds")).unwrap().count(), 0);
    assert_eq!(verify(store, false).problems, []);
}

#[test]
fn garbage_goes_beside_commands_that_began_after_it_was_found() {
    let place = Place::new();
    let garbage = place.store.put_bytes(b"was there").unwrap();
    let path = object_file(&place, &garbage);
    let first = place.store.hold().unwrap();
    assert_eq!(gc(&place.store, &GcOptions::default()).deferred, 1);
    // This one began later: it does not see the garbage and makes its own.
    let other = open(place.store.directory());
    let second = other.hold().unwrap();
    assert!(!other.has(&garbage).unwrap() && place.store.has(&garbage).unwrap());
    drop(first);
    let report = gc(&place.store, &GcOptions::default());
    assert_eq!((report.objects, report.deferred), (1, 0));
    assert!(!path.exists());
    drop(second);
}

#[test]
fn what_was_condemned_is_whole_again_when_it_is_added_again() {
    let place = Place::new();
    let store = &place.store;
    let garbage = store.put_bytes(b"was there").unwrap();
    let hold = store.hold().unwrap();
    assert_eq!(gc(store, &GcOptions::default()).deferred, 1);
    let other = open(store.directory());
    assert_eq!(other.put_bytes(b"was there").unwrap(), garbage);
    other.pin(&Reference::Object(garbage), "test").unwrap();
    drop(hold);
    let report = gc(store, &GcOptions::default());
    assert_eq!((report.objects, report.kept_objects), (0, 1));
    assert_eq!(store.read(&garbage).unwrap(), b"was there");
}

#[test]
fn the_schema_is_not_changed_under_a_command() {
    let place = Place::new();
    let hold = place.store.hold().unwrap();
    let sql = "PRAGMA user_version = 2; DROP TABLE signatures; DROP TABLE trusted_keys;";
    place.store.database().write("go back", |transaction| transaction.execute_batch(sql)).unwrap();
    let options = crate::OpenOptions { lock_timeout_secs: 0, ..crate::OpenOptions::default() };
    let error = Store::open(place.store.directory(), &options).unwrap_err();
    assert!(error.to_string().starts_with("cannot change the schema of"), "{error}");
    drop(hold);
    Store::open(place.store.directory(), &options).unwrap();
}

#[test]
fn gc_waits_for_who_is_committing_something() {
    let place = Place::new();
    let (mut child, mut input) = waiting_child("lease", place.store.directory());
    let impatient = GcOptions { timeout_secs: 0, ..GcOptions::default() };
    let error = place.store.gc(&impatient, &mut |_| {}, &NEVER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&child.id().to_string()), "{error}");
    let mut heard = String::new();
    let mut waiting = |holder: &str| {
        heard = holder.to_owned();
        input.write_all(b"x").unwrap();
    };
    let report = place.store.gc(&GcOptions::default(), &mut waiting, &NEVER).unwrap();
    assert!(heard.contains(&child.id().to_string()), "{heard}");
    assert_eq!((report.kept_objects, report.objects), (1, 0));
    assert!(child.wait().unwrap().success());
}

#[test]
fn gc_leaves_a_batch_alone_and_sweeps_dead_work() {
    let place = Place::new();
    let batch = place.store.batch().unwrap();
    batch.add_bytes(b"on its way", 0o644).unwrap();
    let impatient = GcOptions { timeout_secs: 0, ..GcOptions::default() };
    assert_eq!(place.store.gc(&impatient, &mut |_| {}, &NEVER).unwrap(), GcReport::default());
    batch.commit().unwrap();
    fs::create_dir_all(place.path("store/tmp/work-1-1/deep")).unwrap();
    fs::write(place.path("store/tmp/work-1-1/deep/0"), b"left").unwrap();
    fs::set_permissions(place.path("store/tmp/work-1-1/deep"), Permissions::from_mode(0o000)).unwrap();
    fs::write(place.path("store/locks/dead"), b"").unwrap();
    let report = gc(&place.store, &GcOptions::default());
    assert_eq!((report.objects, report.work), (1, 1));
    assert_eq!(fs::read_dir(place.path("store/tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.path("store/locks")).unwrap().count(), 0);
}

#[test]
fn gc_leaves_checked_out_troves_that_live_or_may_be_in_use() {
    let place = Place::new();
    let (live, _) = trove(&place, "live", "1-1");
    let (dead, _) = trove(&place, "dead", "1-1");
    place.store.pin(&Reference::Trove(live), "test").unwrap();
    for id in [live, dead] {
        fs::create_dir_all(place.path("store/roots").join(id.hex()).join("usr")).unwrap();
    }
    let there = |id: &Digest| place.path("store/roots").join(id.hex()).exists();
    let hold = place.store.hold().unwrap();
    assert_eq!(gc(&place.store, &GcOptions::default()).roots, 0);
    assert!(there(&live) && there(&dead));
    drop(hold);
    assert_eq!(gc(&place.store, &GcOptions::default()).roots, 1);
    assert!(there(&live) && !there(&dead));
}

fn object_file(place: &Place, object: &Digest) -> PathBuf {
    let shard = place.path("store/objects").join(&object.hex()[..2]);
    let found = fs::read_dir(shard).unwrap().map(|entry| entry.unwrap().path());
    found.into_iter().find(|path| path.to_str().unwrap().contains(&object.hex()[2..])).unwrap()
}

/// Flips one bit and hides it: same length, same time, same mode.
fn damage(path: &Path) {
    let before = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[test]
fn verify_finds_and_mends_everything() {
    let place = Place::new();
    let store = &place.store;
    let (hello, hello_file) = trove(&place, "hello", "1-1");
    let (whole, whole_file) = trove(&place, "whole", "1-1");
    let lost = store.put_bytes(b"lost").unwrap();
    let touched = store.put_bytes(b"touched").unwrap();
    let short = store.put_bytes(b"short").unwrap();
    assert_eq!(verify(store, false).problems, []);

    damage(&object_file(&place, &hello_file));
    fs::remove_file(object_file(&place, &lost)).unwrap();
    fs::set_permissions(object_file(&place, &touched), Permissions::from_mode(0o666)).unwrap();
    let path = object_file(&place, &short);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
    let stray = place.path("store/objects").join(&lost.hex()[..2]).join("stray");
    fs::write(&stray, b"x").unwrap();
    fs::write(place.path("store/objects/beside"), b"x").unwrap();

    let report = verify(store, false);
    let kinds: Vec<&str> = report
        .problems
        .iter()
        .map(|problem| match problem {
            Problem::Damaged { .. } => "damaged",
            Problem::Lost { .. } => "lost",
            Problem::Touched { .. } => "touched",
            Problem::Stray { .. } => "stray",
            Problem::Incomplete { .. } => "incomplete",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["damaged", "damaged", "lost", "touched", "stray", "stray", "incomplete"]);
    assert_eq!(report.repaired, 0);
    assert_eq!(report.lost.len(), 3);

    let mended = verify(store, true);
    assert_eq!(mended.repaired, 7);
    assert_eq!(verify(store, false).problems, []);
    assert!(!store.is_complete(&hello).unwrap() && store.is_complete(&whole).unwrap());
    assert!(store.read(&whole_file).is_ok() && store.read(&touched).is_ok());
    assert!(!store.has(&lost).unwrap(), "whoever adds it again writes it");
    assert_eq!(store.put_bytes(b"lost").unwrap(), lost);
    assert_eq!(store.read(&lost).unwrap(), b"lost");
}

#[test]
fn a_lost_content_comes_back_from_who_still_has_it() {
    let place = Place::new();
    let other = Place::new();
    let (id, file) = trove(&place, "hello", "1-1");
    let (same, _) = trove(&other, "hello", "1-1");
    assert_eq!(id, same);
    let gone = place.store.put_bytes(b"nobody has it").unwrap();
    for object in [file, gone] {
        damage(&object_file(&place, &object));
    }
    let mend = |rescue: crate::Rescue<'_>| {
        let options = VerifyOptions { repair: true, rescue, ..VerifyOptions::default() };
        place.store.verify(&options, &mut |_| {}, &NEVER).unwrap()
    };
    let report = mend(&|object| match other.store.read(object) {
        Ok(bytes) => Some(bytes),
        // A liar is not believed.
        Err(_) => Some(b"something else".to_vec()),
    });
    assert_eq!((report.rescued, report.repaired, report.lost), (1, 2, vec![gone]));
    assert!(place.store.is_complete(&id).unwrap() && place.store.read(&file).is_ok());
    assert_eq!(verify(&place.store, false).problems, []);
    // And a file that is gone altogether.
    fs::remove_file(object_file(&place, &file)).unwrap();
    assert_eq!(mend(&|object| other.store.read(object).ok()).rescued, 1);
    assert_eq!(verify(&place.store, false).problems, []);
}

#[test]
fn one_whole_variant_saves_a_content() {
    let place = Place::at(tempfile::tempdir_in("/var/tmp").unwrap());
    let store = &place.store;
    let path = place.directory("source", &[("a", "same")]);
    let object = store.put_bytes(b"same").unwrap();
    let tree = place.ingest(&path);
    fs::create_dir(place.path("out")).unwrap();
    let options = CheckoutOptions { link_mode: LinkMode::Hardlink, ..CheckoutOptions::default() };
    let report = store.checkout(&tree, File::open(place.path("out")).unwrap(), &options, &NEVER).unwrap();
    assert_eq!((report.variants, report.linked), (1, 1));
    // Somebody writes through the link.
    damage(&place.path("out/a"));
    assert_eq!(store.read(&object).unwrap(), b"same", "another variant is read");
    let report = verify(store, true);
    assert_eq!((report.problems.len(), report.repaired, report.lost.len()), (1, 1, 0));
    fs::create_dir(place.path("again")).unwrap();
    store.checkout(&tree, File::open(place.path("again")).unwrap(), &options, &NEVER).unwrap();
    assert_eq!(fs::read(place.path("again/a")).unwrap(), b"same");
    assert_eq!(verify(store, false).problems, []);
}

#[test]
fn the_same_action_runs_once_at_a_time() {
    let place = Place::new();
    let key = Digest::blake3([7; 32]);
    let held = place.store.lock_action(&key, &mut |_| panic!("free"), &NEVER).unwrap();
    let other = Digest::blake3([8; 32]);
    drop(place.store.lock_action(&other, &mut |_| panic!("free"), &NEVER).unwrap());
    let cancelled = std::sync::atomic::AtomicBool::new(true);
    let mut heard = String::new();
    let mut waiting = |holder: &str| heard = holder.to_owned();
    let error = place.store.lock_action(&key, &mut waiting, &cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(heard.contains(&std::process::id().to_string()), "{heard}");
    let order = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (store, order, key) = (&place.store, &order, &key);
            scope.spawn(move || {
                let _lock = store.lock_action(key, &mut |_| {}, &NEVER).unwrap();
                order.lock().unwrap().push(number);
                std::thread::sleep(std::time::Duration::from_millis(30));
                order.lock().unwrap().push(number);
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(held);
    });
    let order = order.into_inner().unwrap();
    assert!(order.chunks(2).all(|pair| pair[0] == pair[1]), "{order:?}");
    assert_eq!(fs::read_dir(place.path("store/locks")).unwrap().count(), 0);
}

#[test]
fn stats_count_files_and_links() {
    let place = Place::at(tempfile::tempdir_in("/var/tmp").unwrap());
    let (id, _) = trove(&place, "hello", "1-1");
    let tree = place.store.tree(&place.store.trove(&id).unwrap().components["runtime"].tree).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    let options = CheckoutOptions { link_mode: LinkMode::Hardlink, ..CheckoutOptions::default() };
    place.store.checkout(&tree, File::open(place.path("out")).unwrap(), &options, &NEVER).unwrap();
    let stats = place.store.stats().unwrap();
    assert_eq!((stats.troves, stats.objects, stats.files, stats.links), (1, 2, 2, 1));
    assert!(stats.linked_bytes > 0 && stats.linked_bytes < stats.disk_bytes);
    drop(spawn("none", &place.path("store")).wait());
}
