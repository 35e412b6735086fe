// sandbox/src/landlock.rs
//! The second wall: a landlock rule set that says again what the mounts say already.
//!
//! Everything in the root may be read and executed, and written only where the plan says so. It never makes a sandbox
//! by itself: it holds if a mount should ever be reachable that is not meant to be. A restricted command on the host has no other wall
//! around files, which is why that level is not called isolation. Which rights and scopes
//! exist depends on the kernel's version of landlock; what this kernel lacks is left out.

use std::ffi::{CStr, CString};

use crate::operation::{Writable, WritableKind};
use crate::sys::{self, LandlockRules, Result};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// The rights of version 1.
const FIRST: u64 = (1 << 13) - 1;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

const SCOPE_ABSTRACT_SOCKETS: u64 = 1;
const SCOPE_SIGNALS: u64 = 1 << 1;

/// What a kernel with this version of landlock can handle, and how much of the structure it knows.
pub(crate) fn rules(version: u32) -> (LandlockRules, usize) {
    let mut files = FIRST;
    if version >= 2 {
        files |= REFER;
    }
    if version >= 3 {
        files |= TRUNCATE;
    }
    if version >= 5 {
        files |= IOCTL_DEV;
    }
    // The network needs no rules: its namespace has nothing but a loopback of its own.
    let scoped = if version >= 6 { SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS } else { 0 };
    let size = match version {
        0..4 => 8,
        4..6 => 16,
        _ => 24,
    };
    (LandlockRules { files, network: 0, scoped }, size)
}

/// Puts this process behind the wall. Called between clone and exec: see `sys`.
pub(crate) fn restrict(rules: &LandlockRules, size: usize, readable: &[CString], writable: &[Writable]) -> Result<()> {
    let ruleset = sys::landlock_create(rules, size)?;
    let reading = EXECUTE | READ_FILE | READ_DIR;
    for place in readable {
        allow(ruleset, place, reading, rules)?;
    }
    for place in writable {
        let access = match place.kind {
            WritableKind::Tree => !(MAKE_CHAR | MAKE_BLOCK),
            WritableKind::File => EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV,
            WritableKind::Existing => reading | WRITE_FILE | TRUNCATE | IOCTL_DEV,
        };
        allow(ruleset, &place.path, access, rules)?;
    }
    let restricted = sys::landlock_restrict(ruleset);
    sys::close(ruleset);
    restricted
}

fn allow(ruleset: i32, path: &CStr, access: u64, rules: &LandlockRules) -> Result<()> {
    let place = sys::open(path, libc::O_PATH, 0)?;
    let allowed = sys::landlock_allow(ruleset, place, access & rules.files);
    sys::close(place);
    allowed
}
