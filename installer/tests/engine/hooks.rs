// installer/tests/engine/hooks.rs
//! Hooks: accounts, enabled services and alternatives come and go with their packages, and nothing that people did is lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use installer::{Event, PlanOptions, Rollback, Warning};
use recipes::{HookAlternative, HookUser};

use crate::lab::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n";
const GROUP: &str = "root:x:0:\naudio:x:29:me\n";

fn base(version: &str, passwd: &str) -> Recipe {
    package("base", version).file("etc/passwd", passwd).file("etc/group", GROUP).directory("usr/bin", 0o755)
}

fn user(name: &str) -> HookUser {
    let home = Some(format!("/var/lib/{name}"));
    HookUser {
        name: name.to_owned(),
        id: None,
        group: None,
        groups: vec!["audio".to_owned()],
        home,
        shell: None,
        comment: None,
    }
}

/// A package with a user that owns a directory of it.
fn tool(version: &str) -> Recipe {
    let mut recipe = package("tool", version).directory("etc", 0o755).directory("var/lib/tool", 0o750);
    recipe = recipe.with("var/lib/tool", |entry| {
        "tool".clone_into(&mut entry.owner);
        "tool".clone_into(&mut entry.group);
    });
    recipe.hooks.users = vec![user("tool")];
    recipe
}

fn alternative(name: &str, priority: u32) -> Recipe {
    let target = format!("usr/bin/{name}");
    let mut recipe = package(name, "1-1").file(&target, name).file(&format!("usr/share/man/{name}"), name);
    recipe.hooks.alternatives = vec![HookAlternative {
        link: "/usr/bin/editor".to_owned(),
        target: format!("/{target}"),
        priority,
        also: BTreeMap::from([("/usr/share/man/editor".to_owned(), format!("/usr/share/man/{name}"))]),
    }];
    recipe
}

fn target(lab: &Lab, path: &str) -> String {
    fs::read_link(lab.root().join(path)).unwrap().to_string_lossy().into_owned()
}

fn told(events: &[Event], warning: &Warning) -> bool {
    events.iter().any(|event| matches!(event, Event::Warning(told) if told == warning))
}

#[test]
fn a_user_comes_with_its_package_and_owns_its_files() {
    let lab = Lab::new();
    let empty = lab.listing();
    // In one changeset with the files that the lines go into.
    let (one, two) = (lab.cook(&base("1-1", PASSWD)), lab.cook(&tool("1-1")));
    lab.run(&[install(&one), install(&two)]).unwrap();
    let passwd = format!("{PASSWD}tool:!*:999:999::/var/lib/tool:/usr/sbin/nologin\n");
    assert_eq!(lab.read("etc/passwd"), passwd);
    assert_eq!(lab.read("etc/group"), "root:x:0:\naudio:x:29:me,tool\ntool:x:999:\n");
    let found = fs::metadata(lab.root().join("var/lib/tool")).unwrap();
    if is_root() {
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (999, 999, 0o750));
    }
    lab.assert_verified();
    // A new version of the file keeps the line; the file did not count as edited.
    lab.install(&lab.cook(&base("2-1", &format!("{PASSWD}new:x:5:5::/:\n"))));
    assert!(lab.read("etc/passwd").contains("new:x:5") && lab.read("etc/passwd").contains("tool:!*:999:999"));
    assert!(!lab.exists("etc/passwd.conary-new"));
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("etc/passwd"), passwd);
    // The user alone goes, then comes again with a rollback.
    lab.remove(&["tool"]);
    assert_eq!((lab.read("etc/passwd").as_str(), lab.read("etc/group").as_str()), (PASSWD, GROUP));
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("etc/passwd"), passwd);
    lab.remove(&["tool", "base"]);
    assert_eq!(lab.listing(), empty);
}

#[test]
fn a_user_that_still_owns_something_stays() {
    let lab = Lab::new();
    lab.install(&lab.cook(&base("1-1", PASSWD)));
    lab.install(&lab.cook(&tool("1-1")));
    lab.write("var/lib/tool/data", "precious");
    let (_, events) = lab.remove(&["tool"]);
    assert!(lab.exists("var/lib/tool/data"));
    assert!(lab.read("etc/passwd").contains("tool:"), "its number must not fall to another");
    assert!(lab.read("etc/group").contains("tool:x:999:"));
    assert!(told(&events, &Warning::AccountKept { name: "tool".to_owned() }), "{events:?}");
    // Back again, and clean this time.
    fs::remove_dir_all(lab.root().join("var/lib/tool")).unwrap();
    lab.install(&lab.cook(&tool("1-1")));
    lab.remove(&["tool"]);
    assert_eq!((lab.read("etc/passwd").as_str(), lab.read("etc/group").as_str()), (PASSWD, GROUP));
}

#[test]
fn what_an_administrator_did_to_accounts_stays() {
    let lab = Lab::new();
    lab.install(&lab.cook(&base("1-1", PASSWD)));
    let before = format!("{PASSWD}tool:x:7:29:mine:/home:/bin/sh\n");
    lab.write("etc/passwd", &before);
    lab.install(&lab.cook(&tool("1-1")));
    assert_eq!(lab.read("etc/passwd"), before);
    if is_root() {
        assert_eq!(fs::metadata(lab.root().join("var/lib/tool")).unwrap().uid(), 7);
    }
    lab.remove(&["tool"]);
    assert_eq!(lab.read("etc/passwd"), before);
}

#[test]
fn two_packages_share_a_user() {
    let lab = Lab::new();
    lab.install(&lab.cook(&base("1-1", PASSWD)));
    let mut other = package("other", "1-1").directory("etc", 0o755);
    other.hooks.users = vec![user("tool")];
    lab.run(&[install(&lab.cook(&tool("1-1"))), install(&lab.cook(&other))]).unwrap();
    lab.remove(&["tool"]);
    assert!(lab.read("etc/passwd").contains("tool:"));
    lab.remove(&["other"]);
    assert_eq!(lab.read("etc/passwd"), PASSWD);
}

#[test]
fn the_highest_priority_stands_behind_a_name() {
    let lab = Lab::new();
    let empty = lab.listing();
    lab.install(&lab.cook(&alternative("low", 10)));
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/low");
    lab.install(&lab.cook(&alternative("high", 20)));
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/high");
    assert_eq!(target(&lab, "usr/share/man/editor"), "/usr/share/man/high");
    lab.install(&lab.cook(&alternative("middle", 15)));
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/high");
    // A choice is kept, and followed.
    fs::remove_file(lab.root().join("usr/bin/editor")).unwrap();
    symlink("/usr/bin/low", lab.root().join("usr/bin/editor")).unwrap();
    lab.remove(&["middle"]);
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/low");
    assert_eq!(target(&lab, "usr/share/man/editor"), "/usr/share/man/low");
    // Until what was chosen goes.
    lab.remove(&["low"]);
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/high");
    lab.remove(&["high"]);
    assert_eq!(lab.listing(), empty);
}

#[test]
fn a_name_that_others_have_is_refused() {
    let lab = Lab::new();
    lab.install(&lab.cook(&package("holder", "1-1").file("usr/bin/editor", "mine")));
    let low = lab.cook(&alternative("low", 10));
    let before = lab.listing();
    let refused = lab.run(&[install(&low)]).unwrap_err().conflict();
    assert!(refused.contains("usr/bin/editor belongs to both low and holder:runtime"), "{refused}");
    assert_eq!(lab.listing(), before);
    lab.remove(&["holder"]);
    lab.write("usr/bin/editor", "somebody's");
    assert!(lab.run(&[install(&low)]).unwrap_err().conflict().contains("in the way of low"));
    lab.run_with(&[install(&low)], PlanOptions { replace: true, ..PlanOptions::default() }).unwrap();
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/low");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.read("usr/bin/editor"), "somebody's");
    // A package may turn its own file into an alternative, and back.
    fs::remove_dir_all(lab.root().join("usr")).unwrap();
    lab.install(&lab.cook(&package("low", "0-1").file("usr/bin/editor", "a file")));
    lab.install(&low);
    assert_eq!(target(&lab, "usr/bin/editor"), "/usr/bin/low");
    lab.install(&lab.cook(&package("low", "2-1").file("usr/bin/editor", "a file")));
    assert_eq!(lab.read("usr/bin/editor"), "a file");
    lab.assert_verified();
}

fn service(version: &str, target: &str) -> Recipe {
    let directory = "etc/systemd/system/multi-user.target.wants";
    let mut recipe =
        package("daemon", version).file("usr/lib/systemd/system/d.service", "unit").directory(directory, 0o755);
    recipe.hooks.services = BTreeMap::from([(format!("/{directory}/d.service"), target.to_owned())]);
    recipe
}

#[test]
fn a_service_that_was_disabled_stays_so() {
    let lab = Lab::new();
    let empty = lab.listing();
    let link = "etc/systemd/system/multi-user.target.wants/d.service";
    lab.install(&lab.cook(&service("1-1", "/usr/lib/systemd/system/d.service")));
    assert_eq!(target(&lab, link), "/usr/lib/systemd/system/d.service");
    lab.install(&lab.cook(&service("2-1", "/lib/systemd/system/d.service")));
    assert_eq!(target(&lab, link), "/lib/systemd/system/d.service");
    fs::remove_file(lab.root().join(link)).unwrap();
    lab.install(&lab.cook(&service("3-1", "/usr/lib/systemd/system/d.service")));
    assert!(!lab.exists(link));
    lab.remove(&["daemon"]);
    assert_eq!(lab.listing(), empty);
    // Out and in again, it is enabled.
    lab.install(&lab.cook(&service("3-1", "/usr/lib/systemd/system/d.service")));
    assert!(lab.exists(link));
}

#[test]
fn the_plan_names_what_hooks_change() {
    let lab = Lab::new();
    lab.install(&lab.cook(&base("1-1", PASSWD)));
    let plan = lab.plan(&[install(&lab.cook(&tool("1-1")))]).unwrap();
    let paths: Vec<&[u8]> = plan.paths.iter().map(|change| change.path.as_slice()).collect();
    for path in [&b"etc/passwd"[..], b"etc/group", b"var/lib/tool"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
}
