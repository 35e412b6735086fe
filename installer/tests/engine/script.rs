// installer/tests/engine/script.rs
//! Scriptlets: caught, all or nothing, refused beforehand or retried afterwards.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use installer::{Event, PlanOptions, Rollback, Warning};
use recipes::Scriptlet;

use crate::lab::*;
use crate::trigger::programs;

fn tool(version: &str, scripts: &[(Scriptlet, &str)]) -> Recipe {
    let mut recipe = package("tool", version).file("usr/share/tool/data", version).file("etc/tool.conf", "packaged");
    recipe.scripts = scripts.iter().map(|(scriptlet, text)| (*scriptlet, (*text).to_owned())).collect();
    recipe
}

/// A root with programs; none where no sandbox can be made here.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    lab.install(&lab.cook(&programs()));
    let (probe, _) = lab.install(&lab.cook(&tool("0-1", &[(Scriptlet::PostInstall, "true")])));
    if let Some((_, why)) = probe.failed.first() {
        skip(&format!("no sandbox for a scriptlet: {why}"));
        return None;
    }
    lab.remove(&["tool"]);
    Some(lab)
}

const ALL: [(Scriptlet, &str); 6] = [
    (
        Scriptlet::PreInstall,
        "mkdir -p /var/lib; echo pre-install $# $1 >> /var/lib/log; test ! -e /usr/share/tool/data",
    ),
    (Scriptlet::PostInstall, "echo post-install $# $1 >> /var/lib/log; test -e /usr/share/tool/data"),
    (Scriptlet::PreUpgrade, "echo pre-upgrade $1 $2 >> /var/lib/log; cat /usr/share/tool/data >> /var/lib/log"),
    (
        Scriptlet::PostUpgrade,
        "#!/bin/sh -e\necho post-upgrade $1 $2 >> /var/lib/log; cat /usr/share/tool/data >> /var/lib/log",
    ),
    (Scriptlet::PreRemove, "echo pre-remove $# $1 >> /var/lib/log; test -e /usr/share/tool/data"),
    (Scriptlet::PostRemove, "echo post-remove $# $1 >> /var/lib/log; test ! -e /usr/share/tool/data"),
];

#[test]
fn scriptlets_run_around_their_changesets() {
    let Some(lab) = lab() else { return };
    let none: [(String, String); 0] = [];
    let (changeset, _) = lab.install(&lab.cook(&tool("1-1", &ALL)));
    assert_eq!(changeset.failed, none);
    assert_eq!(lab.install(&lab.cook(&tool("2-1", &ALL))).0.failed, none);
    assert_eq!(lab.remove(&["tool"]).0.failed, none);
    let expected = "pre-install 1 1-1\npost-install 1 1-1\npre-upgrade 2-1 1-1\n1-1post-upgrade 2-1 1-1\n2-1\
                    pre-remove 1 2-1\npost-remove 1 2-1\n";
    assert_eq!(lab.read("var/lib/log"), expected);
    let found = fs::metadata(lab.root().join("var/lib/log")).unwrap();
    assert_eq!(found.uid(), rustix::process::geteuid().as_raw(), "what it makes belongs to who works");
    // A rollback runs them too.
    assert_eq!(lab.roll_back(Rollback::Last).0.failed, none);
    assert!(lab.read("var/lib/log").ends_with("pre-install 1 2-1\npost-install 1 2-1\n"));
    lab.assert_verified();
}

#[test]
fn one_that_fails_beforehand_refuses_the_changeset() {
    let Some(lab) = lab() else { return };
    let before = lab.listing();
    for text in
        ["echo half > /half; exit 3", "mkdir -p /var/lib/conary/x", "echo x > /bin/sh", "rm -r /bin", "kill -9 $$"]
    {
        let refused = lab.run(&[install(&lab.cook(&tool("1-1", &[(Scriptlet::PreInstall, text)])))]).unwrap_err();
        assert_eq!(refused.kind(), installer::ErrorKind::Refused, "{text}");
        assert_eq!(lab.listing(), before, "{text}");
    }
    assert_eq!(lab.names(), ["programs=1-1"]);
    assert!(lab.open().due_scripts().unwrap().is_empty());
}

#[test]
fn one_that_fails_afterwards_has_changed_nothing_and_stays_due() {
    let Some(lab) = lab() else { return };
    let text = "echo half > /half; test -e /wanted; rm /half; echo done > /done";
    let (changeset, _) = lab.install(&lab.cook(&tool("1-1", &[(Scriptlet::PostInstall, &format!("set -e; {text}"))])));
    assert_eq!(changeset.failed[0].0, "scriptlet post-install of tool");
    assert!(changeset.failed[0].1.contains("ended with 1"), "{:?}", changeset.failed);
    assert!(!lab.exists("half") && lab.exists("usr/share/tool/data"), "the changeset is complete");
    let degraded = Warning::Degraded { names: vec!["scriptlet post-install of tool".to_owned()] };
    assert!(lab.open().notes().contains(&Event::Warning(degraded)));
    let run = |lab: &Lab| lab.open().run_triggers(&AtomicBool::new(false), &|_| {}).unwrap();
    assert_eq!(run(&lab).len(), 1);
    lab.write("wanted", "");
    assert_eq!(run(&lab), []);
    assert_eq!(lab.read("done"), "done\n");
    assert!(!lab.exists("half") && lab.open().notes().is_empty());
    // What is due of a version that went is not run any more.
    fs::remove_file(lab.root().join("wanted")).unwrap();
    lab.remove(&["tool"]);
    lab.install(&lab.cook(&tool("1-1", &[(Scriptlet::PostInstall, "exit 1")])));
    assert_eq!(lab.open().due_scripts().unwrap().len(), 1);
    lab.install(&lab.cook(&tool("2-1", &[])));
    assert!(lab.open().due_scripts().unwrap().is_empty());
}

#[test]
fn what_a_scriptlet_does_is_taken_over_as_it_is() {
    let Some(lab) = lab() else { return };
    for (path, content) in [("srv/old/a", "a"), ("srv/old/b/c", "c"), ("srv/kept", "kept"), ("srv/edited", "before")] {
        lab.write(path, content);
    }
    fs::set_permissions(lab.root().join("srv/edited"), fs::Permissions::from_mode(0o640)).unwrap();
    let text =
        "set -e; rm -r /srv/old; mkdir -p /srv/new/deep; echo n > /srv/new/deep/file; ln -s deep/file /srv/new/link
        echo more >> /srv/edited; chmod 600 /srv/kept; echo edited > /etc/tool.conf; mv /srv/new/link /srv/link
        rm -r /srv/new; mkdir /srv/new; echo again > /srv/new/only";
    let (changeset, _) = lab.install(&lab.cook(&tool("1-1", &[(Scriptlet::PostInstall, text)])));
    assert_eq!(changeset.failed, []);
    assert!(!lab.exists("srv/old") && !lab.exists("srv/new/deep"));
    assert_eq!((lab.read("srv/edited").as_str(), lab.read("srv/new/only").as_str()), ("beforemore\n", "again\n"));
    assert_eq!(fs::read_link(lab.root().join("srv/link")).unwrap().to_str(), Some("deep/file"));
    let mode = |path: &str| fs::metadata(lab.root().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("srv/edited"), mode("srv/kept")), (0o640, 0o600));
    // Configuration counts as edited.
    assert_eq!(lab.read("etc/tool.conf"), "edited\n");
    lab.remove(&["tool"]);
    assert_eq!(lab.read("etc/tool.conf.conary-save"), "edited\n");
}

#[test]
fn scriptlets_are_left_out_on_request() {
    let Some(lab) = lab() else { return };
    let path = lab.cook(&tool("1-1", &[(Scriptlet::PreInstall, "exit 1"), (Scriptlet::PostInstall, "exit 1")]));
    let options = PlanOptions { no_scripts: true, ..PlanOptions::default() };
    let (changeset, events) = lab.run_with(&[install(&path)], options).unwrap();
    assert_eq!(changeset.failed, []);
    for scriptlet in ["pre-install", "post-install"] {
        let warning = Warning::ScriptSkipped { script: format!("scriptlet {scriptlet} of tool") };
        assert!(events.contains(&Event::Warning(warning)), "{events:?}");
    }
}

#[test]
fn one_that_hangs_or_leaves_something_running_is_ended() {
    let Some(lab) = lab() else { return };
    // A daemon dies with its scriptlet, nothing can be read from a terminal, and its parent is out of reach.
    let text = "(sleep 600; echo late > /late) & read line; test -z \"$line\"; kill -9 $PPID; echo survived > /here";
    let (changeset, _) = lab.install(&lab.cook(&tool("1-1", &[(Scriptlet::PostInstall, text)])));
    assert_eq!(changeset.failed, []);
    assert_eq!(lab.read("here"), "survived\n");
    assert!(!lab.exists("late"));
    let package = lab.cook(&tool("2-1", &[(Scriptlet::PostUpgrade, "echo half > /half; sleep 600")]));
    let root = lab.open();
    let mut plan = root.plan(&[install(&package)], &[&lab.store], &PlanOptions::default()).unwrap();
    let cancel = AtomicBool::new(false);
    let changeset = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !lab.exists("usr/share/tool/data") || lab.read("usr/share/tool/data") != "2-1" {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(500));
            cancel.store(true, Ordering::Relaxed);
        });
        root.commit(&mut plan, &[&lab.store], &cancel, &|_| {}).unwrap()
    });
    drop(root);
    assert!(changeset.failed[0].1.contains("was interrupted"), "{:?}", changeset.failed);
    assert!(!lab.exists("half"));
}
