// sandbox/tests/wall/refused.rs
//! A host that refuses a sandbox is told apart by step, errno and hint, and a host within a host works.

use std::process::Command;

use sandbox::Status;

use crate::common::Kitchen;

/// Runs [`attempt`] on a host that `prepare`, a shell script in a user namespace of its own, has changed.
fn on_a_host_where(prepare: &str) -> String {
    let program = std::env::current_exe().expect("a path");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!("{prepare}; exec \"$0\" --exact refused::attempt --ignored --nocapture"))
        .arg(&program)
        .output()
        .expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.split_once("attempt: ")).map(|(_, line)| line.to_owned());
    line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Not a test: what the others run on a host of their making.
#[test]
#[ignore = "runs only as the child of other tests"]
fn attempt() {
    let probes = sandbox::probe();
    let isolation = probes.iter().find(|probe| probe.feature == "isolation").expect("it is always tried");
    println!("attempt: {} | {}", isolation.detail, isolation.switch.as_deref().unwrap_or("none"));
}

#[test]
fn refusals_name_step_and_switch() {
    if Kitchen::new().is_none() {
        return;
    }
    let refused = on_a_host_where("echo 0 > /proc/sys/user/max_user_namespaces");
    assert!(refused.starts_with("cannot make the sandbox (step: clone into new namespaces): "), "{refused}");
    assert!(refused.ends_with("raise `sysctl user.max_user_namespaces`"), "{refused}");
    let refused = on_a_host_where("mount -t tmpfs none /proc/sys");
    assert!(refused.starts_with("cannot make the sandbox (step: mount /proc): "), "{refused}");
    assert!(refused.contains("systempaths=unconfined"), "{refused}");
}

#[test]
fn sandbox_runs_inside_a_user_namespace() {
    let Some(kitchen) = Kitchen::new() else {
        return;
    };
    let found = on_a_host_where("true");
    assert!(found.contains("uname=fixed") && found.ends_with("| none"), "{found}");
    assert_eq!(kitchen.run(["true"]).status(), Status::Exited(0));
}
