// installer/tests/engine/rebuild.rs
//! A database that is damaged or gone is made anew, and everything goes on as before.

use std::fs;
use std::path::PathBuf;

use installer::{Difference, ErrorKind, RebuildError, Rebuilt, Rollback, Root};

use crate::lab::*;

fn recipe(version: &str) -> Recipe {
    package("tool", version)
        .file("usr/share/tool/data", version)
        .file("etc/tool.conf", version)
        .hardlink_pair()
        .symlink("usr/share/tool/link", "data")
        .directory("var/empty", 0o700)
}

impl Recipe {
    fn hardlink_pair(self) -> Self {
        self.file("usr/share/tool/one", "same").hardlink("usr/share/tool/two", "usr/share/tool/one")
    }
}

fn database(lab: &Lab) -> PathBuf {
    lab.root().join("var/lib/conary/root.db")
}

fn rebuild(lab: &Lab) -> Result<Rebuilt, RebuildError> {
    for _ in 0..100 {
        match Root::rebuild(&lab.root(), &options(true)) {
            Err(RebuildError::Root(installer::RootError::Busy { .. })) => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            other => return other,
        }
    }
    Root::rebuild(&lab.root(), &options(true))
}

/// Two changesets, a hook, a rule and an edit.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.install(&lab.cook(&recipe("1-1")));
    let mut other = package("other", "1-1").directory("etc", 0o755);
    other.hooks.groups = vec![recipes::HookGroup { name: "watchers".to_owned(), id: None }];
    lab.run(&[install(&lab.cook(&recipe("2-1"))), install(&lab.cook(&other))]).unwrap();
    lab.write("etc/tool.conf", "mine");
    lab
}

#[test]
fn everything_goes_on_with_a_rebuilt_database() {
    for damage in 0..3 {
        let lab = lab();
        let (before, names) = (lab.listing(), lab.names());
        let path = database(&lab);
        let whole = fs::read(&path).unwrap();
        match damage {
            0 => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, &whole[..whole.len() / 2]).unwrap(),
            _ => {
                // Inside, where no header tells.
                let mut torn = whole.clone();
                let middle = torn.len() / 2;
                torn[middle..].fill(0x5a);
                fs::write(&path, torn).unwrap();
            }
        }
        if damage < 2 {
            let refused = Root::open(&lab.root(), &options(true)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Damaged, "{damage}: {refused:?}");
            assert!(refused.hint().unwrap().contains("conary rebuild"));
        }
        let rebuilt = rebuild(&lab).unwrap();
        assert_eq!((rebuilt.troves, rebuilt.lost.len(), rebuilt.changeset), (2, 0, 2), "{damage}");
        assert_eq!((lab.listing(), lab.names()), (before, names), "{damage}: no file is changed");
        let root = lab.open();
        assert_eq!(root.history().unwrap().len(), 2);
        let verified = root.verify(&[], &std::sync::atomic::AtomicBool::new(false), &|_, _| {}).unwrap();
        let differs: Vec<_> = verified.findings.iter().map(|finding| finding.path.as_slice()).collect();
        assert_eq!(differs, [&b"etc/tool.conf"[..]], "{:?}", verified.findings);
        assert!(matches!(verified.findings[0].difference, Difference::Content { .. }));
        drop(root);
        // The edit is kept, the hook is taken back, the first state is returned to.
        lab.install(&lab.cook(&recipe("3-1")));
        assert_eq!(lab.read("etc/tool.conf"), "mine");
        assert_eq!(lab.read("etc/tool.conf.conary-new"), "3-1");
        lab.remove(&["other"]);
        assert!(!lab.exists("etc/group"), "{damage}");
        lab.roll_back(Rollback::To(1));
        assert_eq!(lab.read("usr/share/tool/data"), "1-1");
        fs::remove_file(lab.root().join("etc/tool.conf")).unwrap();
        lab.remove(&["tool"]);
        assert_eq!(lab.listing(), Vec::<String>::new(), "{damage}");
    }
}

#[test]
fn what_cannot_be_rebuilt_is_left_alone() {
    let lab = lab();
    assert!(matches!(rebuild(&lab), Err(RebuildError::Sound { .. })));
    fs::remove_file(database(&lab)).unwrap();
    let export = lab.root().join("var/lib/conary/state.json");
    let text = fs::read(&export).unwrap();
    for wrong in [&b""[..], b"{}", &text[..text.len() / 2]] {
        fs::write(&export, wrong).unwrap();
        let refused = rebuild(&lab).unwrap_err();
        assert!(matches!(refused, RebuildError::NoExport { .. }), "{refused:?}");
        assert!(!database(&lab).exists());
    }
    fs::write(&export, text).unwrap();
    assert_eq!(rebuild(&lab).unwrap().troves, 2);
}

#[test]
fn what_changesets_found_displaced_and_left_is_known_again() {
    let lab = Lab::new();
    let tool = |version: &str| {
        package("tool", version)
            .file("usr/share/adopted", "found there")
            .file("usr/share/edited", version)
            .file("etc/tool.conf", version)
            .directory("usr/share/found", 0o755)
    };
    lab.write("usr/share/adopted", "found there");
    fs::create_dir_all(lab.root().join("usr/share/found")).unwrap();
    lab.install(&lab.cook(&tool("1-1")));
    lab.write("usr/share/edited", "somebody's");
    lab.write("etc/tool.conf", "somebody's");
    let mut second = tool("2-1");
    // Degraded: there is no shell, so that this stays due.
    second.scripts.insert(recipes::Scriptlet::PostUpgrade, "true".to_owned());
    let (changeset, _) = lab.install(&lab.cook(&second));
    assert_eq!(changeset.failed.len(), 1, "{:?}", changeset.failed);
    assert_eq!(lab.read("usr/share/edited"), "2-1");
    let before = lab.listing();
    let facts = |lab: &Lab| {
        let root = lab.open();
        let due = root.due_scripts().unwrap().into_iter().map(|due| (due.changeset, due.script)).collect::<Vec<_>>();
        let waiting = root.configuration().unwrap().iter().map(|file| file.beside.len()).sum::<usize>();
        (due, waiting)
    };
    let known = facts(&lab);
    assert_eq!((known.0.len(), known.1), (1, 1));
    fs::remove_file(database(&lab)).unwrap();
    rebuild(&lab).unwrap();
    assert_eq!(lab.listing(), before);
    assert_eq!(facts(&lab), known);
    lab.roll_back(Rollback::To(1));
    assert_eq!(lab.read("usr/share/edited"), "somebody's", "the edit comes back");
    assert!(!lab.exists("etc/tool.conf.conary-new"), "and what was laid beside goes");
    lab.remove(&["tool"]);
    assert_eq!(lab.read("usr/share/adopted"), "found there", "what was adopted stays");
    assert!(lab.exists("usr/share/found"));
}
