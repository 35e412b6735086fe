// installer/tests/engine/policy.rs
//! States, redo and pruning; holds, reasons and orphans; room; what is downloaded only.

use std::fs;

use installer::{ErrorKind, Event, Hold, PlanError, PlanOptions, PolicyError, Reason, Request, Rollback};
use store::{OpenOptions, Store};

use crate::lab::*;

fn p(version: &str) -> Recipe {
    package("p", version).file("usr/p", version).file("etc/p.conf", version)
}

fn refusal(failure: Failure) -> PlanError {
    match failure {
        Failure::Plan(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Frees what nothing refers to.
fn collect(store: &Store) {
    let cancel = std::sync::atomic::AtomicBool::new(false);
    store.gc(&store::GcOptions::default(), &mut |_| {}, &cancel).unwrap();
}

#[test]
fn every_state_can_be_listed_compared_and_returned_to() {
    let lab = Lab::new();
    lab.install(&lab.cook(&p("1-1")));
    lab.install(&lab.cook(&package("q", "1-1").file("usr/q", "q")));
    let two = lab.listing();
    lab.install(&lab.cook(&p("2-1")));
    lab.remove(&["q"]);
    let root = lab.open();
    let counts: Vec<_> = root.states().unwrap().iter().map(|state| (state.changeset.number, state.troves)).collect();
    assert_eq!(counts, [(1, 1), (2, 2), (3, 2), (4, 1)]);
    assert!(root.state(0).unwrap().is_empty());
    let specs: Vec<_> = root.state(2).unwrap().into_values().map(|held| held.spec).collect();
    assert_eq!(specs, ["p=1-1", "q=1-1"]);
    let names: Vec<_> = root.state_difference(2, 4).unwrap().into_iter().map(|change| change.name).collect();
    assert_eq!(names, ["p", "q"]);
    assert_eq!(root.state(9).unwrap_err().kind(), ErrorKind::NotFound);
    drop(root);
    lab.roll_back(Rollback::To(2));
    assert_eq!(lab.listing(), two);
}

#[test]
fn redo_does_again_what_a_rollback_took_back() {
    let lab = Lab::new();
    let redo = || lab.run(&[Request::Rollback(Rollback::Redo)]);
    lab.install(&lab.cook(&p("1-1")));
    lab.install(&lab.cook(&p("2-1")));
    let two = lab.listing();
    assert!(matches!(refusal(redo().unwrap_err()), PlanError::NothingToRedo));
    lab.roll_back(Rollback::To(0));
    redo().unwrap();
    assert_eq!(lab.listing(), two);
    assert!(matches!(refusal(redo().unwrap_err()), PlanError::NothingToRedo));
    lab.roll_back(Rollback::To(1));
    lab.remove(&["p"]);
    assert!(matches!(refusal(redo().unwrap_err()), PlanError::NothingToRedo), "something new happened since");
}

#[test]
fn what_is_pruned_is_freed_and_cannot_be_returned_to() {
    let lab = Lab::new();
    lab.install(&lab.cook(&p("1-1")));
    lab.write("etc/p.conf", "mine");
    lab.install(&lab.cook(&p("2-1")));
    lab.install(&lab.cook(&p("3-1")));
    let three = lab.listing();
    lab.remove(&["p"]);
    let own = || Store::open(&lab.root().join("var/lib/conary"), &OpenOptions::default()).unwrap();
    let old = |store: &Store| store.find_troves("p").unwrap().len();
    assert_eq!(old(&own()), 3);
    let root = lab.open();
    assert_eq!(root.prune(2).unwrap(), 3);
    let kept: Vec<_> = root.states().unwrap().iter().map(|state| state.kept).collect();
    assert_eq!(kept, [false, false, true, true]);
    drop(root);
    collect(&own());
    assert_eq!(old(&own()), 1, "only what state 3 needs");
    let error = refusal(lab.run(&[Request::Rollback(Rollback::To(2))]).unwrap_err());
    assert!(matches!(error, PlanError::Pruned { number: 2, oldest: 3 }), "{error:?}");
    lab.roll_back(Rollback::Last);
    assert_eq!(lab.listing(), three);
    assert_eq!(lab.open().history().unwrap().len(), 5, "the history itself stays");
}

#[test]
fn held_packages_stay() {
    let lab = Lab::new();
    lab.install(&lab.cook(&p("1-1")));
    let two = lab.cook(&p("2-1"));
    let hold = |pinned, protected| lab.open().hold(&["p".to_owned()], |_| Hold { pinned, protected }).unwrap();
    hold(true, false);
    assert!(lab.open().holds().unwrap()["p"].pinned);
    let error = refusal(lab.run(&[install(&two)]).unwrap_err());
    assert!(matches!(&error, PlanError::Policy(PolicyError::Pinned { spec, .. }) if spec == "p=1-1"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Refused);
    // Another package cannot move it either.
    let needy = lab.cook(&package("needy", "1-1").file("usr/n", "n").requiring(&["p >= 2"]));
    assert!(matches!(refusal(lab.run(&[install(&needy)]).unwrap_err()), PlanError::Policy(_)));
    lab.remove(&["p"]);
    let error = refusal(lab.run(&[Request::Rollback(Rollback::To(0)), install(&two)]).unwrap_err());
    assert!(matches!(error, PlanError::Mixed));
    lab.install(&two);
    hold(false, true);
    let error = refusal(lab.run(&[remove("p")]).unwrap_err());
    assert!(matches!(error, PlanError::Policy(PolicyError::Protected { .. })), "{error:?}");
    assert!(lab.run(&[Request::Rollback(Rollback::To(0))]).is_err(), "a rollback is no way around it");
    lab.install(&lab.cook(&p("3-1")));
    hold(false, false);
    lab.remove(&["p"]);
}

#[test]
fn orphans_are_what_nobody_asked_for_and_nothing_needs() {
    let lab = Lab::new();
    lab.cook(&package("deep", "1-1").file("usr/deep", "d"));
    lab.cook(&package("library", "1-1").file("usr/library", "l").requiring(&["deep"]));
    lab.cook(&package("nice", "1-1").file("usr/nice", "n"));
    let program = lab.cook(&package("program", "1-1").file("usr/program", "p").requiring(&["library"]));
    let orphans = || lab.open().orphans().unwrap();
    let go = || lab.run(&[Request::RemoveOrphans]).unwrap();
    let before = lab.listing();
    lab.install(&program);
    assert_eq!(lab.names(), ["deep=1-1", "library=1-1", "program=1-1"]);
    assert!(orphans().is_empty());
    assert_eq!(go().0.number, None, "nothing to do");
    lab.remove(&["program"]);
    assert_eq!(orphans(), ["deep", "library"]);
    // What somebody wants is no orphan, nor is what that one needs.
    let mark = |reason| lab.run(&[Request::Mark { spec: "library".parse().unwrap(), reason }]).unwrap();
    let (changeset, _) = mark(Reason::Explicit);
    assert_eq!(changeset.row.changes.len(), 1);
    assert!(orphans().is_empty());
    mark(Reason::Dependency);
    // What is held is none either.
    lab.open().hold(&["deep".to_owned()], |_| Hold { pinned: false, protected: true }).unwrap();
    assert_eq!(orphans(), ["library"]);
    lab.open().hold(&["deep".to_owned()], |_| Hold::default()).unwrap();
    go();
    assert_eq!(lab.listing(), before);
    // In one go with the removal.
    lab.install(&program);
    lab.run(&[remove("program"), Request::RemoveOrphans]).unwrap();
    assert_eq!(lab.listing(), before);
}

#[test]
fn what_is_downloaded_needs_no_source_later() {
    let lab = Lab::new();
    let file = lab.cook(&p("1-1"));
    let before = lab.listing();
    let root = lab.open();
    let plan = root.plan(&[install(&file)], &[], &PlanOptions::default()).unwrap();
    let cancel = std::sync::atomic::AtomicBool::new(false);
    assert_eq!(root.download(&plan, &[], &cancel, &|_: Event| {}).unwrap(), 1);
    drop(root);
    assert_eq!(lab.listing(), before);
    fs::remove_file(&file).unwrap();
    let own = Store::open(&lab.root().join("var/lib/conary"), &OpenOptions::default()).unwrap();
    collect(&own);
    drop(own);
    change(&lab.root(), &[by_name("p")], &[], PlanOptions::default()).unwrap();
    assert_eq!(lab.read("usr/p"), "1-1");
}
