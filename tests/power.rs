// tests/power.rs
//! Power cuts: the plug is pulled while Conary works on ext4, xfs and btrfs (`tests/power/cut.py` says how).
//!
//! `CONARY_POWER_CUTS` is the number of cuts on each file system, `CONARY_POWER_SEED` what their dice begin with. Mounting a file
//! system needs root; the same program runs for an ordinary user, so there is nothing else to try there.

use std::process::{Command, Stdio};

use crate::support::{checkout, is_root, note, program, skip};

/// Cuts on each file system when nobody says how many.
const FEW: &str = "14";

fn survives(file_system: &str) {
    if !is_root() {
        note("power cuts are tried as root: they need loop devices and mounts");
        return;
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if !std::path::Path::new(device).exists() {
            skip(&format!("no {device}, so no power can be cut"));
            return;
        }
    }
    let variable = |name, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let output = Command::new("python3")
        .arg(checkout().join("tests/power/cut.py"))
        .arg(program())
        .arg(file_system)
        .arg(variable("CONARY_POWER_CUTS", FEW))
        .arg(variable("CONARY_POWER_SEED", "1"))
        .stdin(Stdio::null())
        .output()
        .expect("because the tests need python3");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    note(told.lines().last().unwrap_or_default());
}

#[test]
fn cuts_on_ext4_lose_nothing() {
    survives("ext4");
}

#[test]
fn cuts_on_xfs_lose_nothing() {
    survives("xfs");
}

#[test]
fn cuts_on_btrfs_lose_nothing() {
    survives("btrfs");
}
