// installer/tests/engine/basic.rs
//! Install, upgrade, remove, roll back; dependencies; conflicts; configuration; kinds of paths.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use installer::{
    Conflict, Difference, ErrorKind, Event, PathAction, PlanError, PlanOptions, Reason, Rollback, Root, Warning,
};

use crate::lab::*;

const REPLACE: PlanOptions = PlanOptions { replace: true, no_scripts: false };

fn hello(version: &str, text: &str) -> Recipe {
    package("hello", version)
        .file_in("runtime", "usr/bin/hello", text, 0o755)
        .file("usr/share/hello/a", "same")
        .file("usr/share/hello/b", text)
        .file("etc/hello.conf", "greeting = hello\n")
        .symlink("usr/bin/hi", "hello")
        .directory("var/cache/hello", 0o750)
        .file_in("devel", "usr/include/hello.h", "int hello;", 0o644)
        .file_in("debuginfo", "usr/lib/debug/hello.debug", "dwarf", 0o644)
}

#[test]
fn what_is_installed_is_there_and_goes_again() {
    let lab = Lab::new();
    lab.write("etc/passwd", "root:x:0:0::/:/bin/sh\n");
    let before = lab.listing();
    let file = lab.cook(&hello("1.0-1", "one"));
    let (changeset, _) = lab.install(&file);
    assert_eq!(changeset.number, Some(1));
    assert_eq!(lab.names(), ["hello=1.0-1"]);
    assert_eq!(lab.read("usr/bin/hi"), "one");
    assert!(lab.exists("usr/include/hello.h"));
    assert!(!lab.exists("usr/lib/debug"), "debuginfo is not installed unless asked for");
    let found = fs::metadata(lab.root().join("usr/bin/hello")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o755, store::EPOCH_SECS));
    assert_eq!(fs::metadata(lab.root().join("var/cache/hello")).unwrap().mode() & 0o7777, 0o750);
    lab.assert_verified();
    let root = Root::open(&lab.root(), &options(false)).unwrap();
    let owner = root.owner(b"/usr/bin/../bin/hi").unwrap();
    assert_eq!((owner[0].trove.to_string(), owner[0].file.component.as_str()), ("hello=1.0-1".to_owned(), "runtime"));
    assert!(root.owner(b"/etc/passwd").unwrap().is_empty());
    let devel = root.files(&"hello:devel".parse().unwrap()).unwrap();
    assert_eq!(devel.iter().filter(|file| file.kind == installer::Kind::File).count(), 1);
    assert_eq!(root.history().unwrap()[0].actor, "tester");
    drop(root);

    lab.remove(&["hello"]);
    assert_eq!(lab.listing(), before);
    assert!(lab.names().is_empty());
}

#[test]
fn files_share_inodes_with_the_store_and_configuration_does_not() {
    let lab = Lab::new();
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    let links = |path: &str| fs::metadata(lab.root().join(path)).unwrap().nlink();
    assert_eq!(links("usr/bin/hello"), 2);
    assert_eq!(links("etc/hello.conf"), 1);
}

#[test]
fn an_upgrade_touches_only_what_changes() {
    let lab = Lab::new();
    lab.install(&lab.cook(&hello("1.0-1", "one").file("usr/share/hello/old", "")));
    let inode = |path: &str| fs::metadata(lab.root().join(path)).unwrap().ino();
    let same = inode("usr/share/hello/a");
    let two = lab.cook(&hello("2.0-1", "two").file("usr/share/hello/new", ""));
    let plan = lab.plan(&[install(&two)]).unwrap();
    let paths: Vec<_> =
        plan.paths.iter().map(|change| (installer::show_path(&change.path), change.action.clone())).collect();
    let replace = PathAction::Replace { displaces: false };
    assert_eq!(
        paths,
        [
            ("/usr/bin/hello".to_owned(), replace.clone()),
            ("/usr/share/hello/b".to_owned(), replace),
            ("/usr/share/hello/new".to_owned(), PathAction::Add),
            ("/usr/share/hello/old".to_owned(), PathAction::Remove { displaces: false }),
        ]
    );
    lab.install(&two);
    assert_eq!(lab.names(), ["hello=2.0-1"]);
    assert_eq!(inode("usr/share/hello/a"), same);
    assert_eq!(lab.read("usr/bin/hello"), "two");
    lab.assert_verified();
    // A downgrade is the same thing the other way round.
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    assert_eq!(lab.read("usr/bin/hello"), "one");
    lab.assert_verified();
}

#[test]
fn a_reinstall_brings_back_what_is_missing_or_damaged() {
    let lab = Lab::new();
    let file = lab.cook(&hello("1.0-1", "one"));
    lab.install(&file);
    let whole = lab.listing();
    assert_eq!(lab.run(&[install(&file)]).unwrap().0.number, None, "nothing to do");
    fs::remove_file(lab.root().join("usr/bin/hello")).unwrap();
    lab.write("usr/share/hello/a", "mine");
    fs::set_permissions(lab.root().join("usr/share/hello/b"), fs::Permissions::from_mode(0o600)).unwrap();
    let root = lab.open();
    let verified = root.verify(&[], &AtomicBool::new(false), &|_, _| {}).unwrap();
    let differences: Vec<_> = verified.findings.iter().map(|finding| &finding.difference).collect();
    assert!(
        matches!(
            differences[..],
            [Difference::Missing, Difference::Content { .. }, Difference::Mode { expected: 0o644, actual: 0o600 }]
        ),
        "{differences:?}"
    );
    drop(root);
    let (changeset, _) = lab.install(&file);
    assert_eq!(changeset.number, Some(2));
    assert_eq!(lab.listing(), whole);
    lab.assert_verified();
    // The edit was kept: going back brings it again.
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("usr/share/hello/a"), "mine");
}

#[test]
fn the_plan_is_what_happens() {
    let lab = Lab::new();
    lab.write("usr/share/mine", "x");
    lab.install(&lab.cook(&hello("1.0-1", "one").file("usr/lib/hello/deep/er/x", "")));
    lab.write("usr/lib/hello/deep/kept", "by the user");
    let two = lab.cook(&hello("2.0-1", "two").file("opt/new/dir/file", ""));
    let before = lab.listing();
    let plan = lab.plan(&[install(&two)]).unwrap();
    assert_eq!(before, lab.listing(), "planning changes nothing");
    lab.install(&two);
    let after = lab.listing();
    let name = |line: &String| format!("/{}", line.split(' ').next().unwrap());
    let mut added: Vec<_> =
        after.iter().map(name).filter(|path| !before.iter().map(name).any(|old| old == *path)).collect();
    let mut removed: Vec<_> =
        before.iter().map(name).filter(|path| !after.iter().map(name).any(|new| new == *path)).collect();
    added.sort();
    removed.sort();
    let planned = |wanted: fn(&PathAction) -> bool| {
        let changes = plan.paths.iter().filter(|change| wanted(&change.action));
        let mut paths: Vec<_> = changes.map(|change| installer::show_path(&change.path)).collect();
        paths.sort();
        paths
    };
    assert_eq!(planned(|action| *action == PathAction::Add), added);
    assert_eq!(planned(|action| matches!(action, PathAction::Remove { .. })), removed);
    assert!(lab.exists("usr/lib/hello/deep/kept"));
}

#[test]
fn rollback_undoes_and_redoes() {
    let lab = Lab::new();
    let start = lab.listing();
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    let one = lab.listing();
    lab.install(&lab.cook(&hello("2.0-1", "two")));
    let two = lab.listing();
    lab.remove(&["hello"]);
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.listing(), two);
    lab.roll_back(Rollback::To(1));
    assert_eq!(lab.listing(), one);
    lab.assert_verified();
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.listing(), two, "a rollback is a changeset, and can be undone");
    lab.roll_back(Rollback::To(0));
    assert_eq!(lab.listing(), start);
    let history = lab.open().history().unwrap();
    let returns: Vec<_> = history.iter().map(|changeset| changeset.returns_to).collect();
    assert_eq!(returns, [None, None, None, Some(2), Some(1), Some(4), Some(0)]);
    assert_eq!(history[1].changes[0].before.as_ref().unwrap().spec, "hello=1.0-1");
    let error = lab.run(&[installer::Request::Rollback(Rollback::To(99))]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn edited_configuration_is_never_lost() {
    let lab = Lab::new();
    let conf = |version: &str, text: &str| package("conf", version).file("etc/conf", text);
    let beside = "etc/conf.conary-new";
    lab.install(&lab.cook(&conf("1-1", "one")));
    lab.install(&lab.cook(&conf("2-1", "two")));
    assert_eq!(lab.read("etc/conf"), "two", "pristine: replaced");
    lab.write("etc/conf", "mine");
    lab.install(&lab.cook(&conf("3-1", "two")));
    assert!(!lab.exists(beside), "the package says nothing new");
    assert_eq!(lab.read("etc/conf"), "mine");
    lab.install(&lab.cook(&conf("4-1", "four")));
    assert_eq!((lab.read("etc/conf"), lab.read(beside)), ("mine".into(), "four".into()));
    lab.install(&lab.cook(&conf("5-1", "mine")));
    assert_eq!(lab.read("etc/conf"), "mine", "the package caught up");
    lab.install(&lab.cook(&conf("6-1", "six")));
    assert_eq!(lab.read("etc/conf"), "six", "which makes it pristine");
    lab.write("etc/conf", "again mine");
    lab.remove(&["conf"]);
    assert!(!lab.exists("etc/conf"));
    assert!(!lab.exists(beside), "ours, unchanged: gone with the package");
    assert_eq!(lab.read("etc/conf.conary-save"), "again mine");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("etc/conf"), "again mine", "a rollback puts the edit back");
    assert!(!lab.exists("etc/conf.conary-save"));
    lab.install(&lab.cook(&conf("7-1", "seven")));
    assert_eq!((lab.read("etc/conf"), lab.read(beside)), ("again mine".into(), "seven".into()));
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("etc/conf"), "again mine");
    assert!(!lab.exists(beside), "a rollback removes what it made beside");
}

#[test]
fn edits_of_other_files_are_kept_in_the_store() {
    let lab = Lab::new();
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    lab.write("usr/share/hello/b", "patched by hand");
    lab.install(&lab.cook(&hello("2.0-1", "two")));
    assert_eq!(lab.read("usr/share/hello/b"), "two");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("usr/share/hello/b"), "patched by hand");
    lab.remove(&["hello"]);
    assert!(!lab.exists("usr/share/hello/b"));
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("usr/share/hello/b"), "patched by hand");
}

#[test]
fn two_packages_cannot_own_one_file() {
    let lab = Lab::new();
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    let other = lab.cook(&package("hello-traditional", "1-1").file("usr/bin/hello", "other"));
    let before = lab.listing();
    let error = lab.run(&[install(&other)]).unwrap_err();
    assert_eq!(error.conflict(), "/usr/bin/hello belongs to both hello-traditional:runtime and hello:runtime");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(lab.listing(), before);
    // In one request too, and also when the contents are the same.
    let lab = Lab::new();
    let (one, two) = (package("a", "1-1").file("usr/x", "same"), package("b", "1-1").file("usr/x", "same"));
    let error = lab.run(&[install(&lab.cook(&one)), install(&lab.cook(&two))]).unwrap_err();
    assert_eq!(error.conflict(), "/usr/x belongs to both a:runtime and b:runtime");
    // Unless the owner leaves in the same changeset.
    lab.install(&lab.cook(&one));
    lab.run(&[install(&lab.cook(&two)), remove("a")]).unwrap();
    assert_eq!(lab.names(), ["b=1-1"]);
    lab.assert_verified();
}

#[test]
fn what_nobody_owns_is_not_overwritten() {
    let lab = Lab::new();
    let file = lab.cook(&hello("1.0-1", "one"));
    lab.write("usr/bin/hello", "mine");
    lab.write("etc/hello.conf", "greeting = mine\n");
    let before = lab.listing();
    let error = lab.run(&[install(&file)]).unwrap_err();
    let Failure::Plan(PlanError::Conflicts { conflicts }) = &error else { panic!("{error:?}") };
    assert_eq!(conflicts.len(), 2);
    assert!(matches!(&conflicts[1], Conflict::InTheWay { path, .. } if path == b"usr/bin/hello"));
    assert_eq!(lab.listing(), before);
    lab.run_with(&[install(&file)], REPLACE).unwrap();
    assert_eq!(lab.read("usr/bin/hello"), "one");
    assert_eq!(lab.read("etc/hello.conf"), "greeting = mine\n");
    assert_eq!(lab.read("etc/hello.conf.conary-new"), "greeting = hello\n");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.listing(), before, "a rollback brings back what was replaced");
}

#[test]
fn what_is_there_already_is_adopted() {
    let lab = Lab::new();
    lab.write("usr/share/hello/a", "same");
    fs::set_permissions(lab.root().join("usr/share/hello/a"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir_all(lab.root().join("usr/bin")).unwrap();
    symlink("hello", lab.root().join("usr/bin/hi")).unwrap();
    let before = lab.listing();
    let inode = fs::metadata(lab.root().join("usr/share/hello/a")).unwrap().ino();
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    assert_eq!(fs::metadata(lab.root().join("usr/share/hello/a")).unwrap().ino(), inode);
    lab.assert_verified();
    lab.remove(&["hello"]);
    assert_eq!(lab.listing(), before);
}

#[test]
fn shared_directories_go_with_their_last_owner() {
    let lab = Lab::new();
    let before = lab.listing();
    lab.install(&lab.cook(&package("a", "1-1").file("usr/share/common/a", "")));
    lab.install(&lab.cook(&package("b", "1-1").file("usr/share/common/b", "")));
    lab.remove(&["a"]);
    assert!(lab.exists("usr/share/common/b"));
    lab.write("usr/share/common/mine", "");
    lab.remove(&["b"]);
    assert!(lab.exists("usr/share/common/mine"), "a directory with something of the user's stays");
    fs::remove_dir_all(lab.root().join("usr")).unwrap();
    assert_eq!(lab.listing(), before);
}

#[test]
fn requirements_are_pulled_in_and_kept() {
    let lab = Lab::new();
    let mut app = package("app", "1-1").file("usr/bin/app", "");
    app.requires = vec!["lib >= 2", "lib:devel"];
    app.recommends = vec!["docs"];
    app.scanned = vec!["soname(libc.so.6)", "soname(libnone.so.1)", "/usr/bin/tool", "pkgconfig(lib)"];
    let app = lab.cook(&app);
    let error = lab.run(&[install(&app)]).unwrap_err();
    assert_eq!(error.conflict(), "app=1-1 requires lib >= 2, which nobody provides");
    lab.cook(&package("lib", "1-1").file("usr/lib/liblib.so", ""));
    let error = lab.run(&[install(&app)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "too old");
    let mut lib =
        package("lib", "2.1-1").file("usr/lib/liblib.so", "").file_in("devel", "usr/lib/pkgconfig/lib.pc", "", 0o644);
    lib.requires = vec!["tool"];
    lib.provides = vec!["pkgconfig(lib) = 2.1"];
    lab.cook(&lib);
    lab.cook(&package("tool", "1-1").file("usr/bin/tool", ""));
    lab.write("usr/lib/x86_64-linux-gnu/libc.so.6", "");
    let (_, events) = lab.install(&app);
    assert_eq!(lab.names(), ["app=1-1", "lib=2.1-1", "tool=1-1"]);
    let warnings: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Warning(warning) => Some(warning),
            _ => None,
        })
        .collect();
    assert_eq!(
        warnings,
        [
            Warning::Unmet { trove: "app=1-1".into(), requirement: "soname(libnone.so.1)".into() },
            Warning::Recommended { trove: "app=1-1".into(), requirement: "docs".into() },
        ]
    );
    let root = lab.open();
    let reasons: Vec<_> = root.list().unwrap().iter().map(|trove| trove.reason).collect();
    assert_eq!(reasons, [Reason::Explicit, Reason::Dependency, Reason::Dependency]);
    drop(root);
    let error = lab.run(&[remove("lib")]).unwrap_err();
    assert_eq!(error.conflict(), "app=1-1 requires lib >= 2, which would be gone");
    let error = lab.run(&[remove("lib:devel")]).unwrap_err();
    assert_eq!(error.conflict(), "app=1-1 requires lib:devel, which would be gone");
    lab.run(&[remove("lib"), remove("app")]).unwrap();
    assert_eq!(lab.names(), ["tool=1-1"]);
    assert_eq!(lab.run(&[remove("lib")]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab.run(&[by_name("nothing")]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn conflicts_and_replacements_are_honoured() {
    let lab = Lab::new();
    lab.install(&lab.cook(&package("old", "1-1").file("usr/bin/tool", "old")));
    let mut enemy = package("enemy", "1-1").file("usr/bin/enemy", "");
    enemy.conflicts = vec!["old < 2"];
    let error = lab.run(&[install(&lab.cook(&enemy))]).unwrap_err();
    assert_eq!(error.conflict(), "enemy=1-1 conflicts with old=1-1");
    let mut new = package("new", "1-1").file("usr/bin/tool", "new");
    new.replaces = vec!["old"];
    lab.install(&lab.cook(&new));
    assert_eq!(lab.names(), ["new=1-1"]);
    assert_eq!(lab.read("usr/bin/tool"), "new");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.names(), ["old=1-1"]);
    assert_eq!(lab.read("usr/bin/tool"), "old");
}

#[test]
fn components_come_and_go_by_name() {
    let lab = Lab::new();
    lab.cook(&hello("1.0-1", "one"));
    lab.run(&[by_name("hello:runtime")]).unwrap();
    assert!(!lab.exists("usr/include"));
    lab.cook(&hello("2.0-1", "two"));
    lab.run(&[by_name("hello:debuginfo")]).unwrap();
    assert_eq!(lab.names(), ["hello=1.0-1"], "a component comes in the version that is installed");
    assert!(lab.exists("usr/lib/debug/hello.debug"));
    lab.run(&[by_name("hello")]).unwrap();
    assert_eq!(lab.names(), ["hello=2.0-1"]);
    assert!(lab.exists("usr/include/hello.h") && lab.exists("usr/lib/debug/hello.debug"));
    lab.run(&[remove("hello:debuginfo"), remove("hello:devel")]).unwrap();
    assert!(!lab.exists("usr/include") && !lab.exists("usr/lib"));
    lab.assert_verified();
    assert_eq!(lab.run(&[by_name("hello:none")]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn merged_directories_are_one() {
    let lab = Lab::new();
    fs::create_dir_all(lab.root().join("usr/lib")).unwrap();
    symlink("usr/lib", lab.root().join("lib")).unwrap();
    let before = lab.listing();
    lab.install(&lab.cook(&package("a", "1-1").file("lib/liba.so", "a").file("usr/lib/libb.so", "b")));
    assert_eq!(lab.read("usr/lib/liba.so"), "a");
    assert!(fs::symlink_metadata(lab.root().join("lib")).unwrap().is_symlink());
    let error = lab.run(&[install(&lab.cook(&package("c", "1-1").file("usr/lib/liba.so", "c")))]).unwrap_err();
    assert_eq!(error.conflict(), "/usr/lib/liba.so belongs to both c:runtime and a:runtime");
    let owner = lab.open().owner(b"/lib/liba.so").unwrap();
    assert_eq!(owner[0].file.packaged.as_deref(), Some(b"lib/liba.so".as_slice()));
    lab.assert_verified();
    lab.remove(&["a"]);
    assert_eq!(lab.listing(), before);
    // The link may come with the changeset.
    let lab = Lab::new();
    let base = package("base", "1-1").directory("usr/bin", 0o755).symlink("bin", "usr/bin");
    lab.run(&[install(&lab.cook(&package("sh", "1-1").file("bin/sh", "sh"))), install(&lab.cook(&base))]).unwrap();
    assert_eq!(lab.read("usr/bin/sh"), "sh");
    lab.assert_verified();
    lab.remove(&["base", "sh"]);
    assert!(lab.listing().is_empty());
}

#[test]
fn one_kind_becomes_another() {
    let lab = Lab::new();
    let shapes = [
        package("p", "1-1").file("usr/x/a", "a").file("usr/x/b/c", "c").file("usr/z", "z"),
        package("p", "2-1").file("usr/x", "now a file").symlink("usr/z", "x"),
        package("p", "3-1").symlink("usr/x", "y").file("usr/y/a", "a").directory("usr/z", 0o700),
        package("p", "4-1").file("usr/x/a", "a").file("usr/y", "y").file("usr/z/deep/er", ""),
        package("p", "5-1").file("usr/x/a", "a2").symlink("usr/y", "x").file("usr/y/through", "t"),
    ];
    let mut listings = vec![lab.listing()];
    for shape in &shapes[..4] {
        lab.install(&lab.cook(shape));
        lab.assert_verified();
        listings.push(lab.listing());
    }
    for number in (0..=4).rev() {
        lab.roll_back(Rollback::To(number));
        assert_eq!(lab.listing(), listings[usize::try_from(number).unwrap()], "{number}");
        lab.assert_verified();
    }
}

#[test]
fn a_directory_with_foreign_things_does_not_become_a_file() {
    let lab = Lab::new();
    lab.install(&lab.cook(&package("p", "1-1").file("usr/x/a", "a")));
    lab.write("usr/x/mine", "mine");
    let before = lab.listing();
    let error = lab.run(&[install(&lab.cook(&package("p", "2-1").file("usr/x", "")))]).unwrap_err();
    assert_eq!(error.conflict(), "/usr/x cannot become a file for p:runtime: /usr/x/mine stays in it");
    assert_eq!(lab.listing(), before);
}

#[test]
fn hard_links_attributes_and_set_id_bits() {
    if !is_root() {
        not_for_us("only root can set owners and set-id bits");
        return;
    }
    let lab = Lab::new();
    lab.write("etc/passwd", "root:x:0:0::/:\ngames:x:5:60::/:\n");
    lab.write("etc/group", "games:x:60:\n");
    let recipe = |version: &str, text: &str| {
        package("p", version)
            .file_in("runtime", "usr/bin/su", text, 0o755)
            .hardlink("usr/bin/su2", "usr/bin/su")
            .file("usr/games/score", "0")
            .file("usr/note", "n")
            .file("usr/ghost", "g")
            .directory("usr/drop", 0o755)
            .with("usr/bin/su", |entry| entry.mode = 0o4755)
            .with("usr/bin/su2", |entry| entry.mode = 0o4755)
            .with("usr/drop", |entry| entry.mode = 0o1777)
            .with("usr/games/score", |entry| {
                (entry.owner, entry.group, entry.mode) = ("games".into(), "games".into(), 0o660);
            })
            .with("usr/ghost", |entry| entry.owner = "nobody-here".into())
            .with("usr/note", |entry| {
                entry.xattrs.insert(b"user.note".to_vec(), b"\xff\0".to_vec());
                entry.xattrs.insert(b"trusted.t".to_vec(), b"1".to_vec());
            })
    };
    let (_, events) = lab.install(&lab.cook(&recipe("1-1", "one")));
    assert!(events.contains(&Event::Warning(Warning::UnknownOwner { name: "nobody-here".into(), group: false })));
    let found = |path: &str| fs::metadata(lab.root().join(path)).unwrap();
    assert_eq!(found("usr/bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(
        (found("usr/bin/su").ino(), found("usr/bin/su").nlink()),
        (found("usr/bin/su2").ino(), 2),
        "not linked to the store"
    );
    assert_eq!((found("usr/games/score").uid(), found("usr/games/score").gid()), (5, 60));
    assert_eq!(found("usr/drop").mode() & 0o7777, 0o1777);
    lab.assert_verified();
    // A user's link to the old program must not stay set-id.
    fs::hard_link(lab.root().join("usr/bin/su"), lab.root().join("kept")).unwrap();
    lab.install(&lab.cook(&recipe("2-1", "two")));
    assert_eq!(found("kept").mode() & 0o7777, 0o755);
    assert_eq!(found("usr/bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(found("usr/bin/su").ino(), found("usr/bin/su2").ino());
    fs::hard_link(lab.root().join("usr/bin/su"), lab.root().join("kept2")).unwrap();
    lab.remove(&["p"]);
    assert_eq!(found("kept2").mode() & 0o7777, 0o755);
}

#[test]
fn packages_cannot_reach_the_state_or_our_names() {
    let lab = Lab::new();
    for path in ["var/lib/conary/root.db", "var/lib/conary/lock", "usr/.conary-1-0"] {
        let error = lab.run(&[install(&lab.cook(&package("p", "1-1").file(path, "")))]).unwrap_err();
        assert!(
            matches!(&error, Failure::Plan(PlanError::Conflicts { conflicts }) if matches!(conflicts[0], Conflict::Forbidden { .. })),
            "{path}"
        );
    }
    // Links that lead there do not help either.
    let sly = package("p", "1-1").symlink("state", "var/lib/conary");
    let through = package("q", "1-1").file("state/root.db", "");
    let error = lab.run(&[install(&lab.cook(&sly)), install(&lab.cook(&through))]).unwrap_err();
    assert!(error.conflict().contains("keeps its state"), "{}", error.conflict());
}

#[test]
fn nothing_outside_the_root_is_reached() {
    let lab = Lab::new();
    let outside = lab.top.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink("../outside", lab.root().join("rel")).unwrap();
    symlink(&outside, lab.root().join("abs")).unwrap();
    symlink(outside.join("target"), lab.root().join("file")).unwrap();
    let error = lab.run(&[install(&lab.cook(&package("p", "1-1").file("abs/x", "")))]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "there is no such directory inside");
    // As a process whose root this is would see it.
    lab.install(&lab.cook(&package("p", "1-1").file("rel/x", "inside")));
    assert_eq!(lab.read("outside/x"), "inside");
    lab.remove(&["p"]);
    let error = lab.run(&[install(&lab.cook(&package("p", "1-1").file("file", "")))]).unwrap_err();
    assert_eq!(error.conflict(), "/file is in the way of p:runtime: a symbolic link that no package owns");
    lab.run_with(&[install(&lab.cook(&package("p", "1-1").file("file", "x")))], REPLACE).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(lab.read("file"), "x");
}

#[test]
fn names_of_all_kinds_are_only_names() {
    let lab = Lab::new();
    let mut recipe = package("p", "1-1").file("usr/-rf", "").file("usr/$(touch x);`y` \n\u{1b}[2J", "");
    recipe = recipe.file("usr/Case", "1").file("usr/case", "2");
    let strange = |entry: &mut store::Entry| entry.path = b"usr/\xff\xfe".to_vec();
    recipe = recipe.file("usr/strange", "s").with("usr/strange", strange);
    let before = lab.listing();
    lab.install(&lab.cook(&recipe));
    lab.assert_verified();
    assert_eq!(lab.read("usr/Case"), "1");
    lab.remove(&["p"]);
    assert_eq!(lab.listing(), before);
}

#[test]
fn several_roots_share_one_store() {
    let lab = Lab::new();
    let file = lab.cook(&hello("1.0-1", "one"));
    for name in ["one", "two"] {
        let path = lab.top.path().join(name);
        let options = installer::RootOptions { store: Some(lab.top.path().join("store")), ..options(true) };
        let root = Root::open(&path, &options).unwrap();
        let mut plan = root.plan(&[install(&file)], &[], &PlanOptions::default()).unwrap();
        root.commit(&mut plan, &[], &AtomicBool::new(false), &|_| {}).unwrap();
        assert!(!path.join("var/lib/conary/store.db").exists());
    }
    let inode = |name: &str| fs::metadata(lab.top.path().join(name).join("usr/bin/hello")).unwrap().ino();
    assert_eq!(inode("one"), inode("two"));
}

#[test]
fn a_missing_root_or_database_is_nothing_installed() {
    let lab = Lab::new();
    assert!(lab.names().is_empty());
    assert!(!lab.exists("var"), "looking makes nothing");
    let missing = lab.top.path().join("missing");
    let error = Root::open(&missing, &options(false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let remove_only = installer::RootOptions { create: false, ..options(true) };
    let root = Root::open(&lab.root(), &remove_only).unwrap();
    let error = root.plan(&[remove("x")], &[], &PlanOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!lab.exists("var"));
}

/// What the database says of files is how they look, so that nothing has to be read to know that they are untouched.
#[test]
fn fingerprints_are_those_of_the_files() {
    let lab = Lab::new();
    let recipe = |version: &str| {
        // The same content at several places is one inode in the end, and each link changes it. Enough files for several threads.
        let recipe = package("p", version).file("usr/known/changes", version).file("usr/first/same", "same");
        let recipe = recipe.hardlink("usr/last/linked", "usr/first/same").file("etc/conf", version);
        (0..300).fold(recipe, |recipe, number| {
            recipe.file(&format!("usr/{version}/{}/{number}", number % 40), &format!("{}", number % 9))
        })
    };
    lab.install(&lab.cook(&package("q", "1-1").file("usr/known/q", "q")));
    for version in ["1-1", "2-1"] {
        lab.install(&lab.cook(&recipe(version)));
        let db = store::root_db::RootDb::open_read_only(&lab.root().join("var/lib/conary")).unwrap().unwrap();
        let troves = db.troves().unwrap();
        let rows = troves.iter().flat_map(|trove| db.files(trove.row).unwrap());
        let files: Vec<_> = rows.filter(|row| row.kind == installer::Kind::File).collect();
        assert_eq!(files.len(), 305);
        for row in files {
            let path = String::from_utf8(row.path).unwrap();
            let found = fs::metadata(lab.root().join(&path)).unwrap();
            let print = row.fingerprint.unwrap_or_else(|| panic!("{version}: {path} has none"));
            let nanoseconds = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
            assert_eq!(print.inode, found.ino(), "{version}: {path}");
            assert_eq!(print.mtime_ns, nanoseconds(found.mtime(), found.mtime_nsec()), "{version}: {path}");
            assert_eq!(print.ctime_ns, nanoseconds(found.ctime(), found.ctime_nsec()), "{version}: {path}");
        }
    }
}

#[test]
fn a_root_can_be_moved() {
    let lab = Lab::new();
    lab.install(&lab.cook(&hello("1.0-1", "one")));
    let moved = lab.top.path().join("moved");
    fs::rename(lab.root(), &moved).unwrap();
    change(&moved, &[remove("hello")], &[], PlanOptions::default()).unwrap();
    change(&moved, &[installer::Request::Rollback(Rollback::Last)], &[], PlanOptions::default()).unwrap();
    assert!(moved.join("usr/bin/hello").exists());
    assert_eq!(Path::new(&moved).join("usr/bin/hello").metadata().unwrap().nlink(), 2);
}
