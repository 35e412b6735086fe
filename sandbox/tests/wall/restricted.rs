// sandbox/tests/wall/restricted.rs
//! The level for hosts without namespaces: what is kept from a command there, and what is not promised.

use std::fs;
use std::os::unix::net::UnixListener;

use sandbox::{Level, SandboxError, Status};

use crate::common::{Kitchen, bind};

/// A kitchen at this level, whose paths are the host's.
fn kitchen() -> Option<Kitchen> {
    let mut kitchen = Kitchen::new()?;
    if sandbox::probe().iter().any(|probe| probe.feature == "landlock" && !probe.available) {
        crate::common::skipped("this kernel has no landlock");
        return None;
    }
    kitchen.plan.level = Level::Restricted;
    kitchen.build().to_str().expect("text").clone_into(&mut kitchen.plan.directory);
    Some(kitchen)
}

#[test]
fn a_restricted_command_works_where_it_may() {
    let Some(kitchen) = kitchen() else { return };
    let ran = kitchen.sh(
        "echo 'int main(void) { return 7; }' > a.c; TMPDIR=$PWD cc -o a a.c; ./a; echo $?; echo > /dev/null; : | cat",
    );
    assert_eq!((ran.status(), ran.output.as_str()), (Status::Exited(0), "7\n"));
    assert!(kitchen.build().join("a").exists());
    assert!(!ran.applied("landlock").is_empty() && !ran.applied("seccomp").is_empty());
    assert_eq!(ran.applied("namespaces"), "");
}

#[test]
fn a_restricted_command_writes_only_what_is_its_own_and_sees_no_home() {
    let Some(kitchen) = kitchen() else { return };
    let beside = kitchen.beside("private");
    fs::write(beside.join("secret"), "told").expect("a file");
    let place = beside.to_str().expect("text");
    let script = format!(
        "for file in {place}/new /tmp/conary-restricted-$$ $PWD/../new; do echo > $file && echo wrote $file; done 2> /dev/null
         for file in {place}/secret /proc/1/environ /proc/$PPID/environ; do cat $file && echo read $file; done 2> /dev/null
         for directory in {place} /home /root /var /sys; do ls $directory && echo listed $directory; done 2> /dev/null
         ln -s {place}/secret link; cat link 2> /dev/null; mknod node c 1 3 2> /dev/null && echo node; true"
    );
    let ran = kitchen.sh(&script);
    assert_eq!((ran.status(), ran.output.as_str()), (Status::Exited(0), ""));
}

#[test]
fn a_restricted_command_reaches_nobody() {
    let Some(kitchen) = kitchen() else { return };
    let path = kitchen.build().join("socket");
    let _service = UnixListener::bind(&path).expect("a socket");
    let ran = kitchen.run(["/bin/bash", "-c", "exec 3<> /dev/tcp/127.0.0.1/1"]);
    assert!(ran.status() != Status::Exited(0) && ran.output.contains("Permission denied"), "{}", ran.output);
    // Namespaces would be a way to rights that this level does not have.
    let ran = kitchen.run(["/bin/sh", "-c", "unshare -U true; kill -0 $PPID; grep NoNewPrivs /proc/self/status"]);
    assert!(ran.output.contains("NoNewPrivs:\t1") && ran.output.contains("unshare"), "{}", ran.output);
    for refused in ["unshare failed", "not permitted"] {
        assert!(ran.output.contains(refused), "{refused}: {}", ran.output);
    }
}

#[test]
fn nothing_of_a_restricted_step_survives() {
    let Some(kitchen) = kitchen() else { return };
    let ran = kitchen.sh("(sleep 1; echo late > late) & echo begun");
    assert_eq!((ran.status(), ran.output.as_str()), (Status::Exited(0), "begun\n"));
    std::thread::sleep(std::time::Duration::from_millis(1300));
    assert!(!kitchen.build().join("late").exists());
}

#[test]
fn a_root_of_its_own_is_refused_without_namespaces() {
    let Some(mut kitchen) = kitchen() else { return };
    let overlay = kitchen.beside("overlay");
    kitchen.plan.root = sandbox::RootView::Host { overlays: vec![overlay] };
    assert!(matches!(kitchen.try_run(["/bin/true"]), Err(SandboxError::Plan { .. })));
    kitchen.plan.root = sandbox::RootView::Layers { lowers: vec!["/".into()] };
    assert!(matches!(kitchen.try_run(["/bin/true"]), Err(SandboxError::Plan { .. })));
}

#[test]
fn what_is_bound_to_be_read_is_not_written() {
    let Some(mut kitchen) = kitchen() else { return };
    let read = kitchen.beside("read");
    fs::write(read.join("file"), "content\n").expect("a file");
    let (uid, gid) = sandbox::build_owner();
    std::os::unix::fs::chown(&read, Some(uid), Some(gid)).expect("chown");
    kitchen.plan.binds.push(bind(&read, "/read", false));
    let ran = kitchen.sh(&format!("cat {0}/file; (echo more > {0}/other) 2> /dev/null || echo kept", read.display()));
    assert_eq!(ran.output, "content\nkept\n");
}
