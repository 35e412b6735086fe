// sandbox/tests/wall/ready.rs
//! Sandboxes that are made while another command is at work.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{Level, Plan, Status};

use crate::common::Kitchen;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn script(kitchen: &Kitchen, script: &str) -> Plan {
    let mut plan = kitchen.plan.clone();
    plan.command = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    plan
}

/// Lets a sandbox run and returns what it printed.
fn output(ready: sandbox::Ready) -> String {
    let mut output = Vec::new();
    let outcome = ready.run(None, || (), &mut |bytes| output.extend(bytes), &GO_ON).expect("it starts").outcome;
    assert_eq!(outcome.status, Status::Exited(0));
    String::from_utf8_lossy(&output).into_owned()
}

#[test]
fn what_a_command_finds_is_what_there_is_when_it_begins() {
    let Some(mut kitchen) = Kitchen::new() else { return };
    kitchen.plan.directory = "/build/later".to_owned();
    for level in [Level::Full, Level::None] {
        kitchen.plan.level = level;
        if level == Level::None {
            kitchen.plan.directory = kitchen.build().join("later").to_str().expect("text").to_owned();
        }
        let place = kitchen.build().join("later");
        fs::create_dir(&place).expect("a directory");
        let second = sandbox::prepare(script(&kitchen, "pwd; cat made"), None).expect("it can be made");
        // The first command is at work between the second one's preparation and its begin: it puts another directory in the place.
        let first = "cat /dev/null; cd ..; rmdir later; mkdir later; echo content > later/made";
        assert_eq!(output(sandbox::prepare(script(&kitchen, first), None).expect("it can be made")), "");
        assert_eq!(output(second), format!("{}\ncontent\n", kitchen.plan.directory), "{level:?}");
        fs::remove_dir_all(&place).expect("it is there");
    }
}

#[test]
fn something_else_is_done_meanwhile() {
    let Some(kitchen) = Kitchen::new() else { return };
    let ready = sandbox::prepare(script(&kitchen, "sleep 0.3; cat word"), None).expect("it can be made");
    let (mut next, mut printed) = (None, Vec::new());
    let meanwhile = || {
        fs::write(kitchen.build().join("word"), "said").expect("a file");
        next = Some(sandbox::prepare(script(&kitchen, "echo next"), None).expect("it can be made"));
    };
    ready.run(None, meanwhile, &mut |bytes| printed.extend(bytes), &GO_ON).expect("it starts");
    assert_eq!((printed.as_slice(), output(next.expect("it was made")).as_str()), (b"said".as_slice(), "next\n"));
}

#[test]
fn a_command_that_is_not_let_go_never_begins() {
    let Some(mut kitchen) = Kitchen::new() else { return };
    for level in [Level::Full, Level::None] {
        kitchen.plan.level = level;
        if level == Level::None {
            kitchen.plan.directory = kitchen.build().to_str().expect("text").to_owned();
        }
        let ready = sandbox::prepare(script(&kitchen, "echo > begun"), None).expect("it can be made");
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        drop(ready);
        assert!(started.elapsed() < Duration::from_secs(5), "{level:?}");
        std::thread::sleep(Duration::from_millis(100));
        assert!(!kitchen.build().join("begun").exists(), "{level:?}");
    }
}

#[test]
fn the_limit_of_time_begins_with_the_command() {
    let Some(mut kitchen) = Kitchen::new() else { return };
    kitchen.plan.limits.wall_clock = Some(Duration::from_secs(2));
    let ready = sandbox::prepare(script(&kitchen, "echo done"), None).expect("it can be made");
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(output(ready), "done\n");
}

#[test]
fn who_has_ended_writes_no_more_while_the_sandbox_is_taken_apart() {
    let Some(mut kitchen) = Kitchen::new() else { return };
    for level in [Level::Full, Level::None] {
        kitchen.plan.level = level;
        let file = kitchen.build().join("written");
        kitchen.plan.directory =
            if level == Level::Full { "/build".to_owned() } else { kitchen.build().to_str().expect("text").to_owned() };
        let writers = "for i in 1 2 3; do (trap '' TERM HUP; while :; do echo x >> written; done) & done; sleep 0.2";
        let ready = sandbox::prepare(script(&kitchen, writers), None).expect("it can be made");
        let ended = ready.run(None, || (), &mut |_| (), &GO_ON).expect("it starts");
        assert_eq!(ended.outcome.status, Status::Exited(0));
        assert!(ended.outcome.cpu_user + ended.outcome.cpu_system > Duration::from_millis(20), "{ended:?}");
        let size = || fs::metadata(&file).expect("it was written").len();
        let before = size();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(size(), before, "{level:?}");
    }
}
