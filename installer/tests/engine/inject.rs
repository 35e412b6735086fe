// installer/tests/engine/inject.rs
//! Errors of the system: a change fails at its Nth call of each mutating kind with EIO, ENOSPC, EINTR, EMLINK, EDQUOT, EPERM or EROFS, or its
//! files may not grow, so that writes come short. The root is exactly old or exactly new, and the next command goes through.
//!
//! By default every kind fails at a few points; `CONARY_INJECT_POINTS=all` fails every call with every error.

use crate::scene::*;

/// Every error that a call is made to fail with.
fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "link" | "linkat" | "rename" | "renameat" | "renameat2" => &["EIO", "ENOSPC", "EINTR", "EMLINK"],
        "mkdirat" => &["EIO", "ENOSPC", "EINTR", "EMLINK", "EDQUOT"],
        "symlinkat" | "write" | "pwrite64" | "pwritev2" | "copy_file_range" => &["EIO", "ENOSPC", "EINTR", "EDQUOT"],
        "unlinkat" | "fchmod" | "fchown" => &["EIO", "EPERM", "EROFS"],
        _ => &["EIO", "ENOSPC", "EINTR"],
    }
}

/// Fails the calls of a scenario, each in turn; returns how many, how many times the change was refused, and the stages that were seen.
fn every_call_fails_in_turn(scenario: &'static str, threads: &str) {
    let Some(scene) = Scene::new(scenario, Place::Memory) else { return };
    let all = std::env::var("CONARY_INJECT_POINTS").is_ok_and(|points| points == "all");
    let (mut points, mut refused, mut at_stage) = (0, 0, vec![0; scene.stages.len()]);
    for (call, count) in scene.count(threads) {
        for (turn, error) in errors(&call).iter().enumerate() {
            let stride = if all { 1 } else { count };
            let first = if all { 1 } else { 1 + count * turn / 4 };
            for number in (first..=count).step_by(stride) {
                let root = scene.fresh();
                let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}:when={number}"));
                let before = scene.strace("/dev/null", &["-e", &trace, "-e", &inject]);
                let done = scene.run(&root, &before, threads);
                points += 1;
                refused += u32::from(!done);
                let at = format!("{scenario} on {threads} threads, {call} number {number} fails with {error}");
                if done {
                    assert_eq!(crate::lab::listing(&root), scene.new_listing(), "{at}: it said that it was done");
                }
                at_stage[scene.check(&root, all || points % 4 == 0, &at)] += 1;
            }
        }
    }
    eprintln!("{scenario} on {threads} threads: {points} points, {refused} refused, by stage {at_stage:?}");
    assert!(points > 20 && refused > 5 && at_stage[0] > 0, "{scenario}: {points} points, {refused} refused");
}

#[test]
fn an_install_survives_every_error() {
    every_call_fails_in_turn("install", "1");
}

#[test]
fn an_upgrade_survives_every_error() {
    every_call_fails_in_turn("upgrade", "1");
}

#[test]
fn a_removal_survives_every_error() {
    every_call_fails_in_turn("remove", "1");
}

#[test]
fn a_rollback_survives_every_error() {
    every_call_fails_in_turn("rollback", "1");
}

/// Counts are of each thread, so that the same call fails in several of them.
#[test]
fn an_install_on_several_threads_survives_every_error() {
    every_call_fails_in_turn("many", "4");
}

#[test]
fn hooks_scriptlets_and_triggers_survive_every_error() {
    every_call_fails_in_turn("live-upgrade", "1");
}

#[test]
fn writes_that_come_short_lose_nothing() {
    let (mut points, mut refused) = (0, 0);
    for scenario in ["install", "upgrade", "rollback", "many"] {
        let Some(scene) = Scene::new(scenario, Place::Memory) else { return };
        // Kilobytes that a file may have: a write across that line comes short, the next one fails.
        for limit in ["1", "3", "5", "9", "17", "33", "65", "100", "129", "150", "200", "300"] {
            let root = scene.fresh();
            let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\"");
            let done = scene.run(&root, &["bash", "-c", &script, "bash"], "2");
            points += 1;
            refused += u32::from(!done);
            let at = format!("{scenario}: files of at most {limit} KiB");
            let stage = scene.check(&root, true, &at);
            assert!(!done || stage + 1 == scene.stages.len(), "{at}: it said that it was done");
        }
    }
    eprintln!("short writes: {points} points, {refused} refused");
    assert!(refused > 3, "{refused}");
}
