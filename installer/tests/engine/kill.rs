// installer/tests/engine/kill.rs
//! Killed at every step: the engine runs under `strace`, which kills it at its Nth system call of each mutating kind.
//! After the next start the root is exactly old or exactly new; with scriptlets and triggers, which are transactions of their own, it is
//! exactly as after one of these.
//!
//! By default every kind is covered at up to a few points, in memory and, as root, on ext4, xfs and btrfs. `CONARY_KILL_POINTS=all` kills at
//! every call of every scenario; `CONARY_KILL_SCENARIOS=live-install,live-remove` is all that is tried on the file systems then.

use std::sync::atomic::AtomicBool;

use crate::lab::{is_root, listing, open};
use crate::scene::*;

fn every_point() -> bool {
    std::env::var("CONARY_KILL_POINTS").is_ok_and(|points| points == "all")
}

fn killed_at_every_step(scenario: &'static str, place: Place<'_>) {
    let Some(scene) = Scene::new(scenario, place) else { return };
    let few_points = !matches!(place, Place::Memory) || scenario.starts_with("live");
    let place = place.name();
    let (mut points, mut at_stage) = (0, vec![0; scene.stages.len()]);
    for (call, count) in &scene.count("1") {
        let few = match (call.as_str(), few_points) {
            ("renameat2" | "unlinkat" | "mkdirat", false) => 12,
            (_, false) => 2,
            ("renameat2" | "unlinkat", true) => 4,
            (_, true) => 1,
        };
        let stride = if every_point() { 1 } else { count.div_ceil(few) };
        // Where few points are tried of a kind, not only its first call.
        let first = if every_point() || !few_points { 1 } else { stride.div_ceil(2) };
        for number in (first..=*count).step_by(stride) {
            let root = scene.fresh();
            let inject = format!("inject={call}:signal=KILL:when={number}");
            // Where that call fails anyway, it has to be seen to fail.
            let trace = format!("trace={call},renameat2");
            if scene.run(&root, &scene.strace("/dev/null", &["-e", &trace, "-e", &inject]), "1") {
                // Counted in another thread, or a call that this run did not need.
                continue;
            }
            points += 1;
            let at = format!("{scenario} {place}, killed at {call} number {number}");
            at_stage[scene.check(&root, points % 5 == 0, &at)] += 1;
        }
    }
    let (old, new) = (at_stage[0], at_stage[at_stage.len() - 1]);
    let between = points - old - new;
    eprintln!("{scenario} {place}: {points} points, {old} old, {new} new, {between} between transactions");
    assert!(points > 10 && old > 0, "{scenario}: {points} points, {at_stage:?}");
}

#[test]
fn an_install_is_killed() {
    killed_at_every_step("install", Place::Memory);
}

/// With a thread each for what waits for the disk and what writes rows.
#[test]
fn an_install_of_many_files_is_killed() {
    killed_at_every_step("many", Place::Memory);
}

#[test]
fn an_upgrade_is_killed() {
    killed_at_every_step("upgrade", Place::Memory);
}

#[test]
fn a_removal_is_killed() {
    killed_at_every_step("remove", Place::Memory);
}

#[test]
fn a_rollback_is_killed() {
    killed_at_every_step("rollback", Place::Memory);
}

#[test]
fn hooks_scriptlets_and_triggers_are_killed_on_install() {
    killed_at_every_step("live-install", Place::Memory);
}

#[test]
fn hooks_scriptlets_and_triggers_are_killed_on_upgrade() {
    killed_at_every_step("live-upgrade", Place::Memory);
}

#[test]
fn hooks_scriptlets_and_triggers_are_killed_on_removal() {
    killed_at_every_step("live-remove", Place::Memory);
}

fn killed_on(kind: &'static str) {
    let Some(disk) = Disk::make(kind) else { return };
    let chosen = std::env::var("CONARY_KILL_SCENARIOS").ok();
    let is_chosen = |scenario: &&str| match &chosen {
        Some(names) => names.split(',').any(|name| name == *scenario),
        None => every_point() || ["upgrade", "rollback", "live-upgrade"].contains(scenario),
    };
    for scenario in PLAIN.into_iter().chain(LIVE).filter(is_chosen) {
        killed_at_every_step(scenario, Place::Disk(kind, &disk));
    }
}

#[test]
fn everything_is_killed_on_ext4() {
    killed_on("ext4");
}

#[test]
fn everything_is_killed_on_xfs() {
    killed_on("xfs");
}

#[test]
fn everything_is_killed_on_btrfs() {
    killed_on("btrfs");
}

#[test]
fn everything_is_killed_on_an_overlay() {
    if !is_root() {
        as_root_of_a_namespace("kill::everything_is_killed_on_an_overlay");
        return;
    }
    for scenario in PLAIN {
        killed_at_every_step(scenario, Place::Overlay);
    }
}

#[test]
fn everything_is_killed_without_renameat2() {
    for scenario in PLAIN {
        killed_at_every_step(scenario, Place::NoRenameat2);
    }
}

/// Somebody's file comes into a directory that is about to become a file, after the commit point, and the directory can only be removed.
#[test]
fn a_directory_of_a_lower_layer_is_moved_aside_piece_by_piece() {
    if !is_root() {
        as_root_of_a_namespace("kill::a_directory_of_a_lower_layer_is_moved_aside_piece_by_piece");
        return;
    }
    let Some(scene) = Scene::new("upgrade", Place::Overlay) else { return };
    let path = scene.fresh();
    let root = open(&path).unwrap();
    let requests = requests("upgrade", scene.lab.top.path());
    let mut plan = root.plan(&requests, &[], &installer::PlanOptions::default()).unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let note = |event: installer::Event| match event {
        installer::Event::Committed { .. } => {
            std::fs::create_dir_all(path.join("usr/share/p/shape/mine/deep")).unwrap();
            std::fs::write(path.join("usr/share/p/shape/mine/deep/x"), "mine").unwrap();
        }
        installer::Event::Warning(warning) => told.lock().unwrap().push(format!("{warning:?}")),
        _ => {}
    };
    root.commit(&mut plan, &[], &AtomicBool::new(false), &note).unwrap();
    drop(root);
    let told = told.into_inner().unwrap();
    assert!(told.iter().any(|warning| warning.starts_with("NoExchange")), "{told:?}");
    assert!(told.iter().any(|warning| warning.starts_with("MovedAside")), "{told:?}");
    let mut lines = listing(&path);
    let aside = "usr/share/p/shape.conary-save";
    let read = std::fs::read_to_string(path.join(aside).join("mine/deep/x")).unwrap();
    assert_eq!(read, "mine");
    lines.retain(|line| !line.starts_with(aside));
    assert_eq!(lines, scene.new_listing());
}
