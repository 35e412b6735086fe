// sandbox/src/sys/rights.rs
//! What a process gives up: capabilities, system calls, files.
#![allow(unsafe_code, reason = "the raw calls of the kernel live here, one per function")]

use std::os::fd::RawFd;

use libc::{c_int, c_long, c_uint, c_ulong, c_void};

use super::{Result, check, descriptor, prctl};

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// The calling thread's effective capabilities, a bit each.
pub fn effective_capabilities() -> u64 {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 writes two data structures.
    let read = check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) });
    let [low, high] = data;
    if read.is_ok() { u64::from(high.effective) << 32 | u64::from(low.effective) } else { 0 }
}

/// Empties the bounding and ambient sets, locks the secure bits, then drops every capability, but those whose bits are in `kept`: then
/// root's programs go on having these.
#[allow(clippy::cast_possible_truncation, reason = "each half is masked")]
pub fn drop_capabilities(kept: u64) -> Result<()> {
    const PR_CAP_AMBIENT: c_int = 47;
    const PR_CAP_AMBIENT_CLEAR_ALL: c_ulong = 4;
    const PR_SET_SECUREBITS: c_int = 28;
    // NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, and the lock of each.
    const SECURE_BITS: c_ulong = 0b1110_1111;
    if kept == 0 {
        prctl(PR_SET_SECUREBITS, SECURE_BITS, 0)?;
    }
    for capability in (0..64).filter(|number| kept & (1 << number) == 0) {
        match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(_) => {}
            // The first number behind the last capability that this kernel knows.
            Err(libc::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    // Who has less already keeps less.
    let kept = kept & effective_capabilities();
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    for (half, shift) in data.iter_mut().zip([0, 32]) {
        let bits = (kept >> shift & u64::from(u32::MAX)) as u32;
        (half.effective, half.permitted) = (bits, bits);
    }
    // SAFETY: version 3 reads two data structures.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Installs a seccomp filter for this thread.
pub fn seccomp_filter(program: &[libc::sock_filter], flags: c_uint) -> Result<c_long> {
    #[allow(clippy::cast_possible_truncation, reason = "the kernel allows 4096 instructions")]
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program outlives the call, which only reads it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })
}

/// What a landlock rule set handles.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LandlockRules {
    pub files: u64,
    pub network: u64,
    pub scoped: u64,
}

/// The version of landlock that the kernel offers.
pub fn landlock_version() -> Result<u32> {
    const VERSION: c_uint = 1;
    // SAFETY: with this flag no memory is read.
    let value =
        check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0, VERSION) });
    value.map(|version| u32::try_from(version).unwrap_or(0))
}

/// Makes a rule set; `size` is how much of `rules` the kernel's version knows.
pub fn landlock_create(rules: &LandlockRules, size: usize) -> Result<RawFd> {
    // SAFETY: `size` is at most the structure's.
    descriptor(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(rules),
            size.min(size_of::<LandlockRules>()),
            0,
        )
    })
}

/// Allows `access` at and below an open directory, or on an open file.
pub fn landlock_allow(ruleset: RawFd, parent: RawFd, access: u64) -> Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const PATH_BENEATH: c_int = 1;
    let rule = PathBeneath { access, parent };
    // SAFETY: the kernel reads one rule of this type.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0) }).map(drop)
}

/// Puts this thread under a rule set, for good.
pub fn landlock_restrict(ruleset: RawFd) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) }).map(drop)
}
