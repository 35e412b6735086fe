// store/src/tests/round_trip.rs
//! Directories in, directories out: `find` and `tar` see no difference.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags};

use super::{NEVER, Place, archive, inode, is_root, listing};
use crate::{
    CheckoutError, CheckoutOptions, CheckoutReport, Decision, EPOCH_SECS, ErrorKind, Event, IngestError, IngestOptions,
    LinkMode, Node, OwnerName, Tree,
};

/// Makes one of everything that a package can hold.
fn everything(top: &Path) {
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    fs::create_dir_all(top.join("usr/bin")).unwrap();
    fs::create_dir_all(top.join("usr/lib/deep/er")).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::write(top.join("usr/bin/tool"), b"#!/bin/sh\n").unwrap();
    mode(&top.join("usr/bin/tool"), 0o755);
    fs::write(top.join("usr/bin.conf"), b"between a directory and its files").unwrap();
    fs::write(top.join("usr/lib/nothing"), b"").unwrap();
    fs::write(top.join("usr/lib/same"), b"#!/bin/sh\n").unwrap();
    fs::write(top.join("usr/lib/large"), vec![7; 9 << 20]).unwrap();
    fs::write(top.join("usr/lib/larger"), vec![7; 9 << 20]).unwrap();
    let mut sparse = File::create(top.join("usr/lib/sparse")).unwrap();
    sparse.write_all(b"start").unwrap();
    sparse.seek(SeekFrom::Start(20 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    sparse.set_len(30 << 20).unwrap();
    fs::write(top.join("usr/lib/deep/er/first"), b"linked").unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test makes its input by hand")]
    for name in ["usr/lib/deep/a", "usr/bin/z", "b"] {
        fs::hard_link(top.join("usr/lib/deep/er/first"), top.join(name)).unwrap();
    }
    symlink("../../../etc/passwd", top.join("usr/bin/out")).unwrap();
    symlink("tool", top.join("usr/bin/in")).unwrap();
    symlink(OsStr::from_bytes(b"dangling\xff"), top.join("dangling")).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"caf\xe9\n\x1b[0m")), b"not UTF-8").unwrap();
    fs::write(top.join("x".repeat(255)), b"a long name").unwrap();
    fs::write(top.join("noted"), b"with an attribute").unwrap();
    let noted = File::open(top.join("noted")).unwrap();
    rustix::fs::fsetxattr(&noted, "user.note", b"a\0b", XattrFlags::empty()).unwrap();
    fs::write(top.join("secret"), b"for nobody else").unwrap();
    mode(&top.join("secret"), 0o600);
    fs::write(top.join("program"), b"changes identity").unwrap();
    mode(&top.join("program"), 0o4755);
    mode(&top.join("empty"), 0o1777);
    fs::write(top.join("usr/lib/deep/read-only"), b"read only").unwrap();
    mode(&top.join("usr/lib/deep/read-only"), 0o444);
    mode(&top.join("usr/lib/deep"), 0o555);
}

fn check_out(place: &Place, tree: &Tree, name: &str, options: &CheckoutOptions<'_>) -> CheckoutReport {
    let path = place.path(name);
    fs::create_dir(&path).unwrap();
    let into = File::open(&path).unwrap();
    place.store.checkout(tree, &into, options, &NEVER).unwrap()
}

/// Compares two directories; times and, where files may be links to objects, link counts aside.
fn assert_same(left: &Path, right: &Path, links: bool) {
    let read = |path: &Path| -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> =
            listing(path).iter().map(|line| line.split(r"\t").map(str::to_owned).collect()).collect();
        for row in &mut rows {
            row.truncate(if links { 6 } else { 5 });
            if row[1] == "d" {
                // How large a directory is and how many entries it counts is the file system's affair.
                row[3].clear();
                row.truncate(5);
            }
        }
        rows
    };
    assert_eq!(read(left), read(right));
}

#[test]
fn what_comes_out_is_what_went_in() {
    for parent in ["/dev/shm", "/var/tmp"] {
        let place = Place::at(tempfile::tempdir_in(parent).unwrap());
        let source = place.path("source");
        fs::create_dir(&source).unwrap();
        everything(&source);
        if !is_root() {
            // Nobody but root gets set-id bits out of a store; see below.
            fs::set_permissions(source.join("program"), Permissions::from_mode(0o755)).unwrap();
        }
        let before = archive(&source);
        let tree = place.ingest(&source);
        assert_eq!(archive(&source), before, "reading changes nothing");
        assert_eq!(place.ingest(&source).id(), tree.id(), "twice is the same");
        assert_eq!(tree.get(b"usr/lib/deep/a").unwrap().node, Node::Hardlink { first: b"b".to_vec() });
        assert_eq!(tree.get(b"noted").unwrap().xattrs[&b"user.note"[..]], b"a\0b");
        for (name, link_mode, editable) in [
            ("auto", LinkMode::Auto, false),
            ("links", LinkMode::Hardlink, false),
            ("copies", LinkMode::Copy, false),
            ("editable", LinkMode::Auto, true),
        ] {
            let options = CheckoutOptions { link_mode, editable, ..CheckoutOptions::default() };
            let report = check_out(&place, &tree, name, &options);
            let path = place.path(name);
            assert_same(&source, &path, report.linked == 0);
            assert_eq!(archive_without_object_links(&path, &report), before, "{name} {report:?}");
            if report.linked == 0 {
                // Links to one object cannot be told from hard links that a tree has.
                assert_eq!(place.ingest(&path).id(), tree.id(), "{name}");
            }
            let times: Vec<String> = listing(&path);
            let time = format!(r"{EPOCH_SECS}.0000000000");
            assert!(times.iter().all(|line| line.ends_with(&time)), "{times:?}");
            assert_eq!(inode(&path.join("b")), inode(&path.join("usr/bin/z")));
            assert!(fs::metadata(path.join("usr/lib/sparse")).unwrap().blocks() < 2048, "{name}: holes stay");
            match link_mode {
                LinkMode::Hardlink => {
                    assert!(report.linked > 8, "{report:?}");
                    // What can change identity is never a link.
                    let links = fs::metadata(path.join("program")).unwrap().nlink();
                    assert!(links == 1 || !is_root());
                }
                LinkMode::Copy => assert_eq!((report.linked, report.cloned), (0, 0)),
                _ if editable => assert_eq!(report.linked, 0, "who edits gets files of his own"),
                _ => {}
            }
        }
        let report = place.store.verify(&crate::VerifyOptions::default(), &mut |_| {}, &NEVER).unwrap();
        assert_eq!(report.problems, []);
    }
}

/// Archives a checkout. Names that are links to one object look like hard links of one file to tar, so it reads each as a file
/// of its own, except those that the tree says are one.
fn archive_without_object_links(path: &Path, report: &CheckoutReport) -> Vec<u8> {
    if report.linked == 0 {
        return archive(path);
    }
    let copy = path.with_extension("copy");
    fs::create_dir(&copy).unwrap();
    let status = Command::new("cp").args(["-a", "--no-preserve=links"]).arg(path.join(".")).arg(&copy).status();
    assert!(status.unwrap().success());
    #[expect(clippy::disallowed_methods, reason = "a test makes its input by hand")]
    for name in ["usr/lib/deep/er/first", "usr/lib/deep/a", "usr/bin/z"] {
        let deep = copy.join("usr/lib/deep");
        fs::set_permissions(&deep, Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(copy.join(name)).unwrap();
        fs::hard_link(copy.join("b"), copy.join(name)).unwrap();
        fs::set_permissions(&deep, Permissions::from_mode(0o555)).unwrap();
    }
    archive(&copy)
}

#[test]
fn set_id_bits_come_out_only_for_whom_they_name() {
    let place = Place::new();
    let source = place.directory("source", &[("program", "x")]);
    fs::set_permissions(source.join("program"), Permissions::from_mode(0o6755)).unwrap();
    let directory = File::open(&source).unwrap();
    let options = IngestOptions { owner: "games".to_owned(), ..IngestOptions::default() };
    let tree = place.store.ingest(&directory, &options, &NEVER).unwrap();
    assert_eq!(tree.get(b"program").unwrap().mode, 0o6755);
    let report = check_out(&place, &tree, "callers", &CheckoutOptions::default());
    assert_eq!(report.disarmed, 1);
    assert_eq!(fs::metadata(place.path("callers/program")).unwrap().mode() & 0o7777, 0o755);
    if is_root() {
        let look_up = |name: OwnerName<'_>| match name {
            OwnerName::User("games") => Some(5),
            OwnerName::Group("root") => Some(0),
            _ => None,
        };
        let options = CheckoutOptions { owners: Some(&look_up), ..CheckoutOptions::default() };
        assert_eq!(check_out(&place, &tree, "named", &options).disarmed, 0);
        let found = fs::metadata(place.path("named/program")).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o6755, 5, 0));
    }
}

#[test]
fn owners_are_found_by_name_and_keep_variants_apart() {
    if !is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let place = Place::at(tempfile::tempdir_in("/var/tmp").unwrap());
    let source = place.directory("source", &[("d/mine", "same"), ("d/games", "same")]);
    let directory = File::open(&source).unwrap();
    let decide = |found: &crate::Found<'_>| match found.path {
        b"d/games" => Decision::Replace { mode: 0o640, owner: "games".to_owned(), group: "games".to_owned() },
        _ => Decision::Keep,
    };
    let options = IngestOptions { decide: Some(&decide), ..IngestOptions::default() };
    let tree = place.store.ingest(&directory, &options, &NEVER).unwrap();
    let look_up = |name: OwnerName<'_>| match name {
        OwnerName::User("games") => Some(5),
        OwnerName::Group("games") => Some(60),
        OwnerName::User("root") | OwnerName::Group("root") => Some(0),
        _ => None,
    };
    let options =
        CheckoutOptions { link_mode: LinkMode::Hardlink, owners: Some(&look_up), ..CheckoutOptions::default() };
    let report = check_out(&place, &tree, "one", &options);
    assert_eq!(report.linked, 2);
    // Which of the two the content came in with depends on the order of reading.
    assert!((1..=2).contains(&report.variants));
    assert_eq!(check_out(&place, &tree, "two", &options).variants, 0, "made once");
    let found = fs::metadata(place.path("two/d/games")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777, found.nlink()), (5, 60, 0o640, 3));
    let found = fs::metadata(place.path("two/d/mine")).unwrap();
    assert_eq!((found.uid(), found.gid(), found.nlink()), (0, 0, 3));
    let nobody = |_: OwnerName<'_>| None;
    let options = CheckoutOptions { owners: Some(&nobody), ..CheckoutOptions::default() };
    fs::create_dir(place.path("three")).unwrap();
    let into = File::open(place.path("three")).unwrap();
    let error = place.store.checkout(&tree, &into, &options, &NEVER).unwrap_err();
    assert!(matches!(error, CheckoutError::UnknownOwner { .. }), "{error}");
    assert_eq!(fs::read_dir(place.path("three")).unwrap().count(), 0, "nothing was begun");
}

#[test]
fn things_that_no_tree_holds_are_refused_by_name() {
    let place = Place::new();
    let refused = |what: &str| {
        let directory = File::open(place.path("source")).unwrap();
        let error = place.store.ingest(&directory, &IngestOptions::default(), &NEVER).unwrap_err();
        assert!(matches!(error, IngestError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains("d/special"), "{error}");
        assert!(error.hint().is_some());
        fs::remove_file(place.path("source/d/special")).unwrap();
    };
    let special = place.directory("source", &[("d/file", "x")]).join("d/special");
    drop(UnixListener::bind(&special).unwrap());
    refused("socket");
    rustix::fs::mknodat(CWD, &special, FileType::Fifo, Mode::RWXU, 0).unwrap();
    refused("named pipe");
    if is_root() {
        let null = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, &special, FileType::CharacterDevice, Mode::RWXU, null).unwrap();
        refused("character device");
    }
}

#[test]
fn what_changes_under_way_is_noticed() {
    let place = Place::new();
    let source = place.directory("source", &[("a", "content"), ("d/b", "content")]);
    let directory = File::open(&source).unwrap();
    let ingest = |decide: crate::Decide<'_>| {
        let options = IngestOptions { decide: Some(decide), ..IngestOptions::default() };
        place.store.ingest(&directory, &options, &NEVER)
    };
    let grow = |found: &crate::Found<'_>| {
        if found.path == b"a" {
            fs::write(source.join("a"), b"contentx").unwrap();
        }
        Decision::Keep
    };
    assert!(matches!(ingest(&grow), Err(IngestError::Changed { .. })));
    let swap = |found: &crate::Found<'_>| {
        if found.path == b"d" {
            fs::remove_file(source.join("d/b")).unwrap();
            fs::remove_dir(source.join("d")).unwrap();
            symlink("/etc", source.join("d")).unwrap();
        }
        Decision::Keep
    };
    let error = ingest(&swap).unwrap_err();
    assert!(matches!(error, IngestError::Io { action: "open", .. }), "{error}");
    assert!(place.store.stats().unwrap().objects <= 2);
}

#[test]
fn callers_choose_what_is_taken() {
    let place = Place::new();
    let source = place.directory("source", &[("keep/a", "1"), ("drop/b", "2"), ("keep/c", "3")]);
    fs::set_permissions(source.join("keep/a"), Permissions::from_mode(0o666)).unwrap();
    let directory = File::open(&source).unwrap();
    let seen = Mutex::new(Vec::new());
    let decide = |found: &crate::Found<'_>| {
        seen.lock().unwrap().push(found.path.to_vec());
        if found.path == b"drop" { Decision::Exclude } else { Decision::Keep }
    };
    let hashed = Mutex::new(0);
    let events = |event: Event| {
        if let Event::Hashed { bytes } = event {
            *hashed.lock().unwrap() += bytes;
        }
    };
    let options =
        IngestOptions { mode_mask: 0o755, decide: Some(&decide), events: &events, ..IngestOptions::default() };
    let tree = place.store.ingest(&directory, &options, &NEVER).unwrap();
    let paths: Vec<&[u8]> = tree.entries().iter().map(|entry| entry.path.as_slice()).collect();
    assert_eq!(paths, [&b"keep"[..], b"keep/a", b"keep/c"]);
    assert_eq!(tree.get(b"keep/a").unwrap().mode, 0o644);
    assert!(!seen.into_inner().unwrap().contains(&b"drop/b".to_vec()));
    assert_eq!(hashed.into_inner().unwrap(), 2);
}

#[test]
fn nothing_that_stands_there_is_touched() {
    let place = Place::new();
    let source = place.directory("source", &[("d/a", "new")]);
    let tree = place.ingest(&source);
    for (name, make) in [
        ("file", Box::new(|top: &Path| fs::write(top.join("d"), b"old").unwrap()) as Box<dyn Fn(&Path)>),
        ("directory", Box::new(|top: &Path| fs::create_dir(top.join("d")).unwrap())),
        ("link", Box::new(|top: &Path| symlink("/etc", top.join("d")).unwrap())),
    ] {
        let path = place.path(name);
        fs::create_dir(&path).unwrap();
        make(&path);
        let into = File::open(&path).unwrap();
        let error = place.store.checkout(&tree, &into, &CheckoutOptions::default(), &NEVER).unwrap_err();
        assert!(matches!(error, CheckoutError::Exists { .. }), "{name}: {error}");
        assert!(!path.join("d/a").exists());
    }
}

#[test]
fn cancelled_work_stops() {
    let place = Place::new();
    let source = place.directory("source", &[("d/a", "new")]);
    let directory = File::open(&source).unwrap();
    let cancelled = AtomicBool::new(true);
    let error = place.store.ingest(&directory, &IngestOptions::default(), &cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    let tree = place.ingest(&source);
    fs::create_dir(place.path("out")).unwrap();
    let into = File::open(place.path("out")).unwrap();
    let error = place.store.checkout(&tree, &into, &CheckoutOptions::default(), &cancelled).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(fs::read_dir(place.path("store/tmp")).unwrap().count(), 0);
}

#[test]
fn another_file_system_gets_copies() {
    let place = Place::at(tempfile::tempdir_in("/var/tmp").unwrap());
    let source = place.directory("source", &[("a", "content")]);
    let tree = place.ingest(&source);
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let into = File::open(other.path()).unwrap();
    let hard = CheckoutOptions { link_mode: LinkMode::Hardlink, ..CheckoutOptions::default() };
    assert!(place.store.checkout(&tree, &into, &hard, &NEVER).is_err());
    let report = place.store.checkout(&tree, &into, &CheckoutOptions::default(), &NEVER).unwrap();
    assert_eq!((report.copied, report.linked, report.variants), (1, 0, 0));
    assert_same(&source, other.path(), true);
}

#[test]
fn an_object_with_as_many_links_as_there_can_be_gets_a_fresh_file() {
    let place = Place::at(tempfile::tempdir_in("/var/tmp").unwrap());
    let source = place.directory("source", &[("a", "content")]);
    let tree = place.ingest(&source);
    let links = place.path("links");
    fs::create_dir(&links).unwrap();
    let options = CheckoutOptions { link_mode: LinkMode::Hardlink, ..CheckoutOptions::default() };
    check_out(&place, &tree, "one", &options);
    let directory = File::open(&links).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test fills the link count by hand")]
    for number in 0..70_000 {
        let name = number.to_string();
        if rustix::fs::linkat(CWD, place.path("one/a"), &directory, &name, AtFlags::empty()).is_err() {
            break;
        }
    }
    if fs::metadata(place.path("one/a")).unwrap().nlink() > 70_000 {
        eprintln!("skipped: this file system has no limit of links");
        return;
    }
    assert_eq!(check_out(&place, &tree, "two", &options).copied, 1);
    assert_eq!(fs::read(place.path("two/a")).unwrap(), b"content");
    assert_eq!(check_out(&place, &tree, "three", &options).linked, 1);
    assert_ne!(inode(&place.path("three/a")), inode(&place.path("one/a")));
}
