// sandbox/src/probe.rs
//! What this host offers the sandbox, and the switch to flip where it does not.

use std::ffi::OsString;
use std::fs;
use std::sync::atomic::AtomicBool;

use crate::error::SandboxError;
use crate::owner::Owner;
use crate::plan::{Level, Limits, Plan, RootView, Status};
use crate::{cgroup::Group, run, sys};

/// One feature of the sandbox on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was tried.
    pub feature: &'static str,
    /// Whether it is there.
    pub available: bool,
    /// What was found.
    pub detail: String,
    /// What to flip to get it, where that is known.
    pub switch: Option<String>,
}

/// Tries every feature of the sandbox.
#[must_use]
pub fn probe() -> Vec<Probe> {
    vec![whole(), landlock(), time(), groups(), identity()]
}

/// Whether this host gives a whole sandbox: one is made and a command run in it.
#[must_use]
pub fn gives_isolation() -> bool {
    whole().available
}

/// A command in a whole sandbox: the feature that all others are parts of.
fn whole() -> Probe {
    let plan = Plan {
        root: RootView::Host { overlays: Vec::new() },
        binds: Vec::new(),
        command: vec![OsString::from("/bin/true")],
        environment: Vec::new(),
        directory: "/".to_owned(),
        limits: Limits::default(),
        level: Level::Full,
    };
    let found = |available, detail: String, switch| Probe { feature: "isolation", available, detail, switch };
    match run::run(&plan, &mut |_| {}, &AtomicBool::new(false)) {
        Ok(outcome) if outcome.status == Status::Exited(0) => {
            let applied: Vec<String> = outcome.applied.iter().map(|(name, value)| format!("{name}={value}")).collect();
            found(true, applied.join(" "), None)
        }
        Ok(outcome) => found(false, format!("/bin/true ended with {:?}", outcome.status), None),
        Err(error) => {
            let detail = match &error {
                SandboxError::Step { source, .. }
                | SandboxError::Source { source, .. }
                | SandboxError::Command { source, .. } => format!("{error}: {source}"),
                _ => error.to_string(),
            };
            found(false, detail, error.hint())
        }
    }
}

fn landlock() -> Probe {
    let (available, detail) = match sys::landlock_version() {
        Ok(version) => (true, format!("version {version}")),
        Err(libc::EOPNOTSUPP) => (false, "built into this kernel but not switched on".to_owned()),
        Err(_) => (false, "not in this kernel".to_owned()),
    };
    let switch = (!available).then(|| "add landlock to the kernel's `lsm=` parameter".to_owned());
    Probe { feature: "landlock", available, detail, switch }
}

fn time() -> Probe {
    let available = fs::exists("/proc/self/timens_offsets").unwrap_or(false);
    let detail = if available { "uptime is hidden" } else { "builds see the time since boot" };
    let switch = (!available).then(|| "a kernel with CONFIG_TIME_NS".to_owned());
    Probe { feature: "time namespace", available, detail: detail.to_owned(), switch }
}

fn groups() -> Probe {
    let limits = Limits { memory_bytes: Some(1 << 30), processes: Some(1000), ..Limits::default() };
    let group = Group::make(&limits);
    let detail = match &group {
        Some(group) => format!("{}: limits hold for all processes of a build together", group.version()),
        None => "memory limits hold for each process of a build".to_owned(),
    };
    let switch = group
        .is_none()
        .then(|| "run in a delegated control group: `systemd-run --user --scope -p Delegate=yes conary …`".to_owned());
    Probe { feature: "control groups", available: group.is_some(), detail, switch }
}

fn identity() -> Probe {
    let owner = Owner::of_caller();
    let detail = format!("id 1000 inside is {}:{} on the host", owner.uid, owner.gid);
    Probe { feature: "identity", available: true, detail, switch: None }
}
