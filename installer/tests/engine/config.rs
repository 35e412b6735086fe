// installer/tests/engine/config.rs
//! Configuration files: what an upgrade leaves to people, and what they decide.

use installer::{ConfigAction, ConfigState, PathAction, Request, Rollback};

use crate::lab::*;

fn tool(version: &str, text: &str) -> Recipe {
    package("tool", version)
        .file("usr/bin/tool", version)
        .file("etc/tool.conf", text)
        .file("usr/share/tool/site.conf", text)
        .file("var/lib/tool/state", text)
        .configure(&["/usr/share/tool/site.conf"], &["/var/lib/tool/state"])
}

fn decide(lab: &Lab, path: &str, action: ConfigAction) -> Result<(), Failure> {
    lab.run(&[Request::Config { path: path.as_bytes().to_vec(), action }]).map(drop)
}

/// An edited root after an upgrade: three decisions wait.
fn upgraded() -> Lab {
    let lab = Lab::new();
    lab.install(&lab.cook(&tool("1-1", "one")));
    lab.write("etc/tool.conf", "mine");
    lab.write("usr/share/tool/site.conf", "mine");
    lab.install(&lab.cook(&tool("2-1", "two")));
    lab
}

fn states(lab: &Lab) -> Vec<(String, ConfigState, usize)> {
    let files = lab.open().configuration().unwrap();
    files.into_iter().map(|file| (installer::show_path(&file.path), file.state, file.beside.len())).collect()
}

#[test]
fn declared_configuration_is_kept_like_etc() {
    let lab = upgraded();
    assert_eq!(lab.read("usr/bin/tool"), "2-1");
    for file in ["etc/tool.conf", "usr/share/tool/site.conf"] {
        assert_eq!((lab.read(file), lab.read(&format!("{file}.conary-new"))), ("mine".into(), "two".into()));
    }
    // Nobody edited this one, and it stays all the same.
    assert_eq!(
        (lab.read("var/lib/tool/state"), lab.read("var/lib/tool/state.conary-new")),
        ("one".into(), "two".into())
    );
    let edited = ConfigState::Edited;
    assert_eq!(
        states(&lab),
        [
            ("/etc/tool.conf".to_owned(), edited, 1),
            ("/usr/share/tool/site.conf".to_owned(), edited, 1),
            ("/var/lib/tool/state".to_owned(), edited, 1),
        ]
    );
    // The next version says nothing new about what it does not change.
    let third = tool("3-1", "two");
    lab.install(&lab.cook(&third));
    assert_eq!(lab.read("var/lib/tool/state"), "one");
    lab.remove(&["tool"]);
    assert_eq!(lab.read("usr/share/tool/site.conf.conary-save"), "mine");
    assert!(!lab.exists("usr/share/tool/site.conf"));
}

#[test]
fn unedited_configuration_is_replaced() {
    let lab = Lab::new();
    lab.install(&lab.cook(&tool("1-1", "one")));
    assert!(states(&lab).iter().all(|(_, state, _)| *state == ConfigState::Pristine));
    lab.install(&lab.cook(&tool("2-1", "two")));
    assert_eq!((lab.read("etc/tool.conf"), lab.read("usr/share/tool/site.conf")), ("two".into(), "two".into()));
    assert!(!lab.exists("etc/tool.conf.conary-new"));
}

#[test]
fn accept_takes_what_waits_and_rollback_brings_the_edit_back() {
    let lab = upgraded();
    let before = lab.listing();
    // A person may have merged the two in the file that waits: that is what is taken.
    lab.write("etc/tool.conf.conary-new", "two, merged");
    decide(&lab, "/etc/tool.conf", ConfigAction::Accept).unwrap();
    assert_eq!(lab.read("etc/tool.conf"), "two, merged");
    assert!(!lab.exists("etc/tool.conf.conary-new"));
    let backups = lab.open().backups(Some(b"/etc/tool.conf")).unwrap();
    assert_eq!((backups.len(), backups[0].changeset), (1, 3));
    lab.roll_back(Rollback::Last);
    assert_eq!(
        (lab.read("etc/tool.conf"), lab.read("etc/tool.conf.conary-new")),
        ("mine".into(), "two, merged".into())
    );
    lab.write("etc/tool.conf.conary-new", "two");
    let strip = |lines: Vec<String>| lines.into_iter().filter(|line| !line.contains("conary-new")).collect::<Vec<_>>();
    assert_eq!(strip(lab.listing()), strip(before));
    assert_eq!(states(&lab)[0].2, 1, "it waits again");
}

#[test]
fn keep_removes_what_waits() {
    let lab = upgraded();
    decide(&lab, "etc/tool.conf", ConfigAction::Keep).unwrap();
    assert_eq!(lab.read("etc/tool.conf"), "mine");
    assert!(!lab.exists("etc/tool.conf.conary-new"));
    assert_eq!(states(&lab)[0], ("/etc/tool.conf".to_owned(), ConfigState::Edited, 0));
    let error = decide(&lab, "etc/tool.conf", ConfigAction::Keep).unwrap_err();
    assert_eq!(error.conflict(), "nothing lies beside /etc/tool.conf");
    assert_eq!(error.kind(), installer::ErrorKind::NotFound);
}

#[test]
fn restore_returns_to_the_packaged_content_or_to_a_copy() {
    let lab = upgraded();
    decide(&lab, "etc/tool.conf", ConfigAction::Restore).unwrap();
    assert_eq!(lab.read("etc/tool.conf"), "two");
    assert!(!lab.exists("etc/tool.conf.conary-new"), "it has nothing more to say");
    assert_eq!(states(&lab)[0].1, ConfigState::Pristine);
    decide(&lab, "etc/tool.conf", ConfigAction::RestoreFrom(3)).unwrap();
    assert_eq!(lab.read("etc/tool.conf"), "mine");
    // What is removed with its package can be had again, too.
    lab.remove(&["tool"]);
    assert_eq!(lab.read("etc/tool.conf.conary-save"), "mine");
    std::fs::remove_file(lab.root().join("etc/tool.conf.conary-save")).unwrap();
    decide(&lab, "etc/tool.conf", ConfigAction::RestoreFrom(5)).unwrap();
    assert_eq!(lab.read("etc/tool.conf"), "mine");
    for (path, action) in [
        ("etc/tool.conf", ConfigAction::RestoreFrom(1)),
        ("etc/passwd", ConfigAction::Restore),
        ("usr/bin/tool", ConfigAction::Restore),
    ] {
        assert_eq!(decide(&lab, path, action).unwrap_err().kind(), installer::ErrorKind::NotFound, "{path}");
    }
}

#[test]
fn a_deleted_file_can_be_restored() {
    let lab = upgraded();
    std::fs::remove_file(lab.root().join("etc/tool.conf")).unwrap();
    assert_eq!(states(&lab)[0].1, ConfigState::Missing);
    decide(&lab, "etc/tool.conf", ConfigAction::Restore).unwrap();
    assert_eq!(lab.read("etc/tool.conf"), "two");
}

#[test]
fn the_plan_says_what_a_decision_does() {
    let lab = upgraded();
    let request = Request::Config { path: b"etc/tool.conf".to_vec(), action: ConfigAction::Accept };
    let plan = lab.plan(&[request]).unwrap();
    let paths: Vec<_> = plan.paths.iter().map(|change| installer::show_path(&change.path)).collect();
    assert_eq!(paths, ["/etc/tool.conf", "/etc/tool.conf.conary-new"]);
    assert_eq!(plan.paths[0].action, PathAction::Replace { displaces: true });
    assert!(plan.troves.is_empty() && !plan.is_empty());
}
