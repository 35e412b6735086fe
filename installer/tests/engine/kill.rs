// installer/tests/engine/kill.rs
//! Killed at every step: the engine runs under `strace`, which kills it at its Nth system call of each mutating kind.
//! After the next start the root is exactly old or exactly new; with scriptlets and triggers, which are transactions of their own, it is
//! exactly as after one of these.
//!
//! By default every kind is covered at up to a few points, in memory and, as root, on ext4, xfs and btrfs. `CONARY_KILL_POINTS=all` kills at
//! every call of every scenario.

use crate::scene::*;

fn every_point() -> bool {
    std::env::var("CONARY_KILL_POINTS").is_ok_and(|points| points == "all")
}

fn killed_at_every_step(scenario: &'static str, disk: Option<(&str, &Disk)>) {
    let Some(scene) = Scene::new(scenario, disk.map(|(_, disk)| disk)) else { return };
    let place = disk.map_or("in memory", |(kind, _)| kind);
    let few_points = disk.is_some() || scenario.starts_with("live");
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
            let trace = format!("trace={call}");
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
    assert!(points > 15 && old > 0, "{scenario}: {points} points, {at_stage:?}");
}

#[test]
fn an_install_is_killed() {
    killed_at_every_step("install", None);
}

#[test]
fn an_upgrade_is_killed() {
    killed_at_every_step("upgrade", None);
}

#[test]
fn a_removal_is_killed() {
    killed_at_every_step("remove", None);
}

#[test]
fn a_rollback_is_killed() {
    killed_at_every_step("rollback", None);
}

#[test]
fn hooks_scriptlets_and_triggers_are_killed_on_install() {
    killed_at_every_step("live-install", None);
}

#[test]
fn hooks_scriptlets_and_triggers_are_killed_on_upgrade() {
    killed_at_every_step("live-upgrade", None);
}

#[test]
fn hooks_scriptlets_and_triggers_are_killed_on_removal() {
    killed_at_every_step("live-remove", None);
}

fn killed_on(kind: &'static str) {
    let Some(disk) = Disk::make(kind) else { return };
    let few = ["upgrade", "rollback", "live-upgrade"];
    let all = PLAIN.into_iter().chain(LIVE);
    for scenario in all.filter(|scenario| every_point() || few.contains(scenario)) {
        killed_at_every_step(scenario, Some((kind, &disk)));
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
