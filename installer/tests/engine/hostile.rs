// installer/tests/engine/hostile.rs
//! Hostile moments and media: locks, full and read-only disks, damage, swapped parents, ordinary users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use installer::{CommitError, ErrorKind, Event, PlanOptions, Rollback, Root, RootError, Warning};

use crate::lab::*;
use crate::scene::{Disk, Place, Scene};

#[test]
fn a_held_root_names_its_holder() {
    let lab = Lab::new();
    let held = lab.open();
    let error = Root::open(&lab.root(), &options(true)).unwrap_err();
    let RootError::Busy { pid, command_line, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*pid, command_line.as_str()), (std::process::id(), "conary test"));
    assert_eq!(error.kind(), ErrorKind::Busy);
    // Readers wait for nobody.
    assert!(Root::open(&lab.root(), &options(false)).unwrap().list().unwrap().is_empty());
    drop(held);
    lab.open();
}

#[test]
fn interruption_before_the_commit_point_changes_nothing() {
    let lab = Lab::new();
    let file = lab.cook(&package("p", "1-1").file("usr/a", "a").file("etc/b", "b"));
    let before = lab.listing();
    let root = lab.open();
    let mut plan = root.plan(&[install(&file)], &[], &PlanOptions::default()).unwrap();
    let cancel = AtomicBool::new(false);
    let stop = |event: Event| {
        if matches!(event, Event::Staging { .. }) {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let error = root.commit(&mut plan, &[], &cancel, &stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(lab.listing(), before);
    drop(root);
    assert!(lab.open().notes().is_empty());
    lab.install(&file);
}

#[test]
fn a_change_between_plan_and_commit_is_noticed() {
    let lab = Lab::new();
    lab.install(&lab.cook(&package("p", "1-1").file("usr/a", "one")));
    let two = lab.cook(&package("p", "2-1").file("usr/a", "two").file("usr/new", "new"));
    for (path, content) in [("usr/a", "edited"), ("usr/new", "suddenly")] {
        let root = lab.open();
        let mut plan = root.plan(&[install(&two)], &[], &PlanOptions::default()).unwrap();
        lab.write(path, content);
        let before = lab.listing();
        let error = root.commit(&mut plan, &[], &AtomicBool::new(false), &|_| {}).unwrap_err();
        assert!(matches!(error, CommitError::Changed { .. }), "{error:?}");
        assert_eq!(lab.listing(), before);
        fs::remove_file(lab.root().join("usr/new")).unwrap_or_default();
    }
}

#[test]
fn an_edit_after_the_commit_point_is_moved_aside() {
    let lab = Lab::new();
    lab.install(&lab.cook(&package("p", "1-1").file("usr/a", "one")));
    let two = lab.cook(&package("p", "2-1").file("usr/a", "two").file("usr/new", "new"));
    let root = lab.open();
    let mut plan = root.plan(&[install(&two)], &[], &PlanOptions::default()).unwrap();
    let warnings = std::sync::Mutex::new(Vec::new());
    let meddle = |event: Event| match event {
        Event::Committed { .. } => {
            lab.write("usr/a", "at the last moment");
            lab.write("usr/new", "another");
        }
        Event::Warning(warning) => warnings.lock().unwrap().push(warning),
        _ => {}
    };
    root.commit(&mut plan, &[], &AtomicBool::new(false), &meddle).unwrap();
    drop(root);
    assert_eq!((lab.read("usr/a"), lab.read("usr/new")), ("two".into(), "new".into()));
    assert_eq!(lab.read("usr/a.conary-save"), "at the last moment");
    assert_eq!(lab.read("usr/new.conary-save"), "another");
    let warnings = warnings.into_inner().unwrap();
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| matches!(warning, Warning::MovedAside { .. })));
    lab.assert_verified();
}

#[test]
fn a_parent_that_is_swapped_for_a_link_is_never_followed() {
    let lab = Lab::new();
    let outside = lab.top.path().join("outside");
    fs::create_dir(&outside).unwrap();
    lab.write("home/user/mine", "mine");
    let file = lab.cook(&package("p", "1-1").file("home/user/x", "x").file("home/user/d/y", "y"));
    let (real, hidden) = (lab.root().join("home/user"), lab.root().join("home/hidden"));
    // At chosen moments: before staging, and after the commit point.
    for moment in ["staging", "committed"] {
        let root = lab.open();
        let mut plan = root.plan(&[install(&file)], &[], &PlanOptions::default()).unwrap();
        let swap = |event: Event| {
            let now = match event {
                Event::Importing { .. } => "staging",
                Event::Staging { .. } if !hidden.exists() => "staging",
                Event::Committed { .. } => "committed",
                _ => return,
            };
            if now == moment {
                fs::rename(&real, &hidden).unwrap();
                symlink("../../outside", &real).unwrap();
            }
        };
        let done = root.commit(&mut plan, &[], &AtomicBool::new(false), &swap);
        drop(root);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{moment}");
        assert!(done.is_err(), "{moment}");
        if moment == "committed" {
            let stuck = open(&lab.root()).unwrap_err();
            assert!(matches!(stuck, RootError::Recovery { .. }), "{stuck:?}");
            assert!(stuck.hint().is_some());
        }
        fs::remove_file(&real).unwrap();
        fs::rename(&hidden, &real).unwrap();
        drop(open(&lab.root()).unwrap());
        let expected: &[&str] = if moment == "committed" { &["p=1-1"] } else { &[] };
        assert_eq!(lab.names(), expected, "{moment}");
        let left: Vec<_> = lab.listing().into_iter().filter(|line| line.contains(".conary-")).collect();
        assert_eq!(left, Vec::<String>::new(), "{moment}");
    }
    lab.assert_verified();
    // In a loop, as fast as it goes.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if fs::rename(&real, &hidden).is_ok() {
                    let _ = symlink("../../outside", &real);
                    let _ = fs::remove_file(&real);
                    while fs::rename(&hidden, &real).is_err() && !stop.load(Ordering::Relaxed) {}
                }
            }
        });
        for _ in 0..20 {
            let _ = change(&lab.root(), &[remove("p")], &[], PlanOptions::default());
            let _ = change(&lab.root(), &[install(&file)], &[], PlanOptions::default());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    let _ = fs::remove_file(&real);
    let _ = fs::rename(&hidden, &real);
    drop(open(&lab.root()).unwrap());
    // Perhaps moved aside, because it came back where the package's directory was about to be; never lost.
    let mine = lab.listing().into_iter().filter(|line| line.contains("/mine ") && line.ends_with(" mine"));
    assert_eq!(mine.count(), 1, "{:?}", lab.listing());
}

#[test]
fn a_damaged_package_changes_nothing() {
    let lab = Lab::new();
    let file = lab.cook(&package("p", "1-1").file("usr/a", &"content ".repeat(1000)).file("usr/b", "b"));
    let whole = fs::read(&file).unwrap();
    let before = lab.listing();
    for at in (0..whole.len()).step_by(whole.len() / 24) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&file, &bytes).unwrap();
        if let Err(error) = lab.run(&[install(&file)]) {
            assert_ne!(error.kind(), ErrorKind::Other, "{at}: {error:?}");
        } else {
            // Padding that nothing depends on.
            lab.assert_verified();
            lab.remove(&["p"]);
        }
        assert_eq!(lab.listing(), before, "{at}");
    }
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(lab.run(&[install(&file)]).unwrap_err().kind(), ErrorKind::Damaged);
    fs::write(&file, &whole).unwrap();
    // Exchanged after it was planned with.
    let root = lab.open();
    let mut plan = root.plan(&[install(&file)], &[], &PlanOptions::default()).unwrap();
    let other = lab.cook(&package("p", "2-1").file("usr/a", "other"));
    fs::rename(other, &file).unwrap();
    let done = root.commit(&mut plan, &[], &AtomicBool::new(false), &|_| {});
    assert!(matches!(done, Err(CommitError::PackageChanged { .. })), "{done:?}");
}

#[test]
fn a_damaged_database_is_refused_and_says_so() {
    let lab = Lab::new();
    lab.install(&lab.cook(&package("p", "1-1").file("usr/a", "a")));
    let db = lab.root().join("var/lib/conary/root.db");
    let whole = fs::read(&db).unwrap();
    fs::write(&db, b"").unwrap();
    for write in [false, true] {
        let error = Root::open(&lab.root(), &options(write)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.hint().is_some());
    }
    fs::write(&db, whole).unwrap();
    assert_eq!(lab.names(), ["p=1-1"]);
}

#[test]
fn a_lost_object_is_healed_by_the_package() {
    let lab = Lab::new();
    let file = lab.cook(&package("p", "1-1").file_in("runtime", "usr/a", "precious", 0o644));
    lab.install(&file);
    lab.remove(&["p"]);
    let objects = lab.root().join("var/lib/conary/objects");
    let found =
        Command::new("find").arg(&objects).args(["-type", "f", "-size", "8c", "-delete", "-print"]).output().unwrap();
    assert!(!found.stdout.is_empty());
    lab.install(&file);
    assert_eq!(lab.read("usr/a"), "precious");
    lab.assert_verified();
}

/// Mounts a file system for the length of a test.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(at: &'a Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).status();
        status.ok().filter(std::process::ExitStatus::success).map(|_| Self(at))
    }

    fn read_only(&self, yes: bool) {
        let how = if yes { "remount,ro" } else { "remount,rw" };
        assert!(Command::new("mount").args(["-o", how]).arg(self.0).status().unwrap().success());
    }

    fn resize(&self, size: &str) {
        let how = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &how]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_the_old_state() {
    let lab = Lab::new();
    let path = lab.root();
    if !is_root() {
        not_for_us("only root can mount a small file system");
        return;
    }
    let Some(small) = Mounted::tmpfs(&path, "4m") else {
        skip("cannot mount a tmpfs");
        return;
    };
    lab.install(&lab.cook(&package("p", "1-1").file("usr/a", "one").file("etc/conf", "one")));
    let before = lab.listing();
    let noise: String =
        (0..400_000_u32).map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 94)).collect();
    let mut big = package("p", "2-1").file("usr/a", "two").file("etc/conf", "two");
    for number in 0..12 {
        big = big.file(&format!("usr/big/{number}"), &format!("{number}{noise}"));
    }
    let big = lab.cook(&big);
    let error = lab.run(&[install(&big)]).unwrap_err();
    assert!(matches!(error, Failure::Commit(CommitError::NoSpace { .. })), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::System);
    assert_eq!(lab.listing(), before);
    // Full to the last block, at different moments.
    for spare_kib in [0, 16, 64, 128, 256, 512] {
        let _ = fs::remove_file(path.join("filler"));
        small.resize("64m");
        // Somebody fills it after the check that there is room.
        let root = open(&path).unwrap();
        let mut plan = root.plan(&[install(&big)], &[], &PlanOptions::default()).unwrap();
        let fill = |event: Event| {
            if matches!(event, Event::Importing { .. }) {
                let found = rustix::fs::statvfs(&path).unwrap();
                let used = (found.f_blocks - found.f_bfree) * found.f_frsize;
                small.resize(&format!("{}k", used / 1024 + spare_kib));
            }
        };
        let failed = root.commit(&mut plan, &[], &AtomicBool::new(false), &fill);
        assert!(!matches!(failed, Ok(_) | Err(CommitError::NoSpace { .. })), "{spare_kib}: {failed:?}");
        drop(root);
        small.resize("64m");
        drop(open(&path).unwrap());
        assert_eq!(lab.listing(), before, "{spare_kib}");
    }
    lab.install(&big);
    lab.assert_verified();
    drop(small);
}

/// A quota of btrfs, which no answer about free room speaks of. Where it is used up the kernel may refuse a page of a file that is mapped,
/// as SQLite's index of a log is, and SIGBUS ends the process.
#[test]
fn a_quota_leaves_the_old_state() {
    let Some(mut disk) = Disk::make("btrfs") else { return };
    let top = disk.place.clone();
    let btrfs = |words: &[&str], at: &Path| {
        let done = Command::new("btrfs").args(words).arg(at).output().unwrap();
        assert!(done.status.success(), "btrfs {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    btrfs(&["quota", "enable"], &top);
    // In a subvolume: what is over quota is raised from outside.
    disk.place.push("within");
    btrfs(&["subvolume", "create"], &disk.place);
    let mut outcomes = Vec::new();
    for scenario in ["many", "upgrade", "remove"] {
        let scene = Scene::new(scenario, Place::Disk("btrfs", &disk)).unwrap();
        for spare_kib in [0, 32, 64, 128, 256, 512, 768, 1024, 2048] {
            let root = scene.fresh();
            rustix::fs::syncfs(fs::File::open(&root).unwrap()).unwrap();
            let shown = btrfs(&["qgroup", "show", "--raw"], &top);
            let row = shown.lines().find(|line| line.starts_with("0/256")).unwrap();
            let used: u64 = row.split_whitespace().nth(1).unwrap().parse().unwrap();
            btrfs(&["qgroup", "limit", &(used + spare_kib * 1024).to_string(), "0/256"], &top);
            let done = scene.run(&root, &["env"], "2");
            btrfs(&["qgroup", "limit", "none", "0/256"], &top);
            let stage = scene.check(&root, true, &format!("{scenario}, {spare_kib} KiB to the quota"));
            assert!(!done || stage + 1 == scene.stages.len(), "{scenario}, {spare_kib} KiB: it said that it was done");
            outcomes.push((scenario, spare_kib, done, stage));
        }
    }
    let ended = outcomes.iter().filter(|(_, _, done, _)| !done).count();
    eprintln!("{} quotas, {ended} ended in an error: {outcomes:?}", outcomes.len());
    assert!(ended > 5, "{outcomes:?}");
}

#[test]
fn what_is_marked_immutable_is_refused_before_anything_changes() {
    if !is_root() {
        not_for_us("only root marks files immutable");
        return;
    }
    let lab = Lab::new();
    let old = package("p", "1-1").file("usr/p/same", "s").file("usr/p/changed", "one").file("usr/p/leaves/x", "x");
    lab.install(&lab.cook(&old));
    let new =
        lab.cook(&package("p", "2-1").file("usr/p/same", "s").file("usr/p/changed", "two").file("usr/p/new", "n"));
    let before = lab.listing();
    let mark = |flag: &str, path: &str| {
        Command::new("chattr").arg(flag).arg(lab.root().join(path)).status().is_ok_and(|status| status.success())
    };
    for (kind, path) in [
        ("i", "usr/p/changed"),
        ("a", "usr/p/changed"),
        ("i", "usr/p"),
        ("a", "usr/p"),
        ("i", "usr/p/leaves"),
        ("i", "usr/p/leaves/x"),
    ] {
        if !mark(&format!("+{kind}"), path) {
            skip("no chattr, or a file system that knows no such marks");
            return;
        }
        let refused = lab.run(&[install(&new)]).map(drop);
        assert!(mark(&format!("-{kind}"), path));
        let error = refused.unwrap_err();
        assert!(matches!(&error, Failure::Commit(CommitError::Frozen { .. })), "{kind} {path}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(lab.listing(), before, "{kind} {path}");
        assert_eq!(lab.names(), ["p=1-1"]);
    }
    lab.install(&new);
    lab.assert_verified();
}

/// A file that is to be replaced has become a link to a secret: before the plan, and between plan and commit.
#[test]
fn a_file_that_became_a_link_to_a_secret_is_not_followed() {
    let lab = Lab::new();
    let secret = lab.top.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let recipe = |version: &str, text: &str| package("p", version).file("usr/a", text).file("etc/conf", text);
    lab.install(&lab.cook(&recipe("1-1", "one")));
    let two = lab.cook(&recipe("2-1", "two"));
    let link = |path: &str| {
        fs::remove_file(lab.root().join(path)).unwrap();
        std::os::unix::fs::symlink(&secret, lab.root().join(path)).unwrap();
    };
    let root = lab.open();
    let mut plan = root.plan(&[install(&two)], &[], &PlanOptions::default()).unwrap();
    link("usr/a");
    let error = root.commit(&mut plan, &[], &AtomicBool::new(false), &|_| {}).unwrap_err();
    assert!(matches!(error, CommitError::Changed { .. }), "{error:?}");
    drop(root);
    link("etc/conf");
    lab.install(&two);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(lab.read("usr/a"), "two");
    // What people made of a path is theirs, and comes back.
    lab.roll_back(Rollback::Last);
    assert_eq!(fs::read_link(lab.root().join("usr/a")).unwrap(), secret);
    lab.remove(&["p"]);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
}

#[test]
fn a_read_only_root_can_be_read() {
    let lab = Lab::new();
    let path = lab.root();
    if !is_root() {
        not_for_us("only root can mount a file system");
        return;
    }
    let Some(medium) = Mounted::tmpfs(&path, "16m") else {
        skip("cannot mount a tmpfs");
        return;
    };
    let file = lab.cook(&package("p", "1-1").file("usr/a", "one"));
    lab.install(&file);
    medium.read_only(true);
    assert_eq!(lab.names(), ["p=1-1"]);
    lab.assert_verified();
    let error = Root::open(&path, &options(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System, "{error:?}");
    assert!(error.hint().is_some());
    medium.read_only(false);
    lab.remove(&["p"]);
}

/// Does everything that an ordinary user can do in a root of their own; runs as whoever starts it.
#[test]
fn a_users_own_root() {
    let lab = Lab::new();
    let recipe = |version: &str, text: &str| {
        package("p", version)
            .file_in("runtime", "usr/bin/p", text, 0o755)
            .file("etc/p.conf", text)
            .file_in("runtime", "usr/bin/su", text, 0o4755)
            .directory("usr/closed", 0o555)
            .file("usr/closed/inside", text)
            .file_in("runtime", "usr/secret", text, 0o400)
            .with("usr/bin/p", |entry| (entry.owner, entry.group) = ("games".into(), "games".into()))
    };
    let before = lab.listing();
    lab.install(&lab.cook(&recipe("1-1", "one")));
    lab.assert_verified();
    let mode = |path: &str| fs::symlink_metadata(lab.root().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("usr/closed"), 0o555);
    assert_eq!(mode("usr/bin/su"), if is_root() { 0o4755 } else { 0o755 });
    let root = lab.open();
    let files = root.files(&"p".parse().unwrap()).unwrap();
    let program = files.iter().find(|file| file.path == b"usr/bin/p").unwrap();
    assert_eq!(program.owner, "games", "recorded by name whoever installs");
    drop(root);
    lab.install(&lab.cook(&recipe("2-1", "two").file("usr/closed/more", "more")));
    lab.assert_verified();
    assert_eq!(mode("usr/closed"), 0o555);
    assert_eq!(lab.read("usr/closed/inside"), "two");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("usr/closed/inside"), "one");
    lab.assert_verified();
    lab.remove(&["p"]);
    assert_eq!(lab.listing(), before);
}

#[test]
fn an_ordinary_user_does_the_same() {
    if !is_root() {
        not_for_us("already an ordinary user");
        return;
    }
    // The binary may lie where only root can read.
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = home.path().join("engine");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let scratch = home.path().join("tmp");
    fs::create_dir(&scratch).unwrap();
    std::os::unix::fs::chown(&scratch, Some(4321), Some(4321)).unwrap();
    let output = Command::new(&copy)
        .args(["basic::", "hostile::a_users_own_root", "--test-threads=2"])
        .env("TMPDIR", &scratch)
        .env_remove("CONARY_FORBID_SKIPS")
        .current_dir("/")
        .uid(4321)
        .gid(4321)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_user_reads_a_root_that_is_not_theirs() {
    if !is_root() {
        not_for_us("needs root to make a root that is not ours");
        return;
    }
    let lab = Lab::new();
    lab.install(&lab.cook(&package("p", "1-1").file("usr/a", "one")));
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = home.path().join("engine");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(&copy)
        .args(["--exact", "hostile::reader", "--ignored", "--test-threads=1"])
        .env("READER_ROOT", lab.root())
        .current_dir("/")
        .uid(4321)
        .gid(4321)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "started by another test"]
fn reader() {
    let Some(path) = std::env::var_os("READER_ROOT") else { return };
    let root = Root::open(Path::new(&path), &options(false)).unwrap();
    assert_eq!(root.list().unwrap().len(), 1);
    let verified = root.verify(&[], &AtomicBool::new(false), &|_, _| {}).unwrap();
    assert_eq!(verified.findings, []);
    let error = Root::open(Path::new(&path), &options(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System, "{error:?}");
}
