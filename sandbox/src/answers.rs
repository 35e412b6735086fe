// sandbox/src/answers.rs
//! Which system calls answer, and how: for the leak test, which runs this inside a sandbox.
#![allow(unsafe_code, reason = "every system call is tried by its number")]

use crate::filter::NEWEST;

/// Calls that end, hold or split whoever makes them, or burden the whole machine.
const NOT_TRIED: [libc::c_long; 8] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_clone,
    libc::SYS_sync,
    libc::SYS_sched_yield,
    // The kernel's own trampolines, which kill everybody else: uretprobe and uprobe.
    335,
    336,
];
#[cfg(target_arch = "x86_64")]
const NOT_TRIED_HERE: [libc::c_long; 4] = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_pause, libc::SYS_alarm];
#[cfg(not(target_arch = "x86_64"))]
const NOT_TRIED_HERE: [libc::c_long; 0] = [];

/// Makes every system call once, with arguments that hardly one accepts: number and errno, 0 for those that succeed.
///
/// Only for a process that has nothing else to do and ends soon: descriptors are opened, the umask is changed.
#[must_use]
pub fn answers() -> Vec<(i64, i32)> {
    let tried = |number: &libc::c_long| !NOT_TRIED.contains(number) && !NOT_TRIED_HERE.contains(number);
    (0..=libc::c_long::from(NEWEST.cast_signed() + 1))
        .filter(tried)
        .map(|number| {
            // SAFETY: every pointer is -1, which no process has mapped, so that nothing is read or written; every
            // descriptor, process and size is -1. What still succeeds changes this process only.
            let result = unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) };
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            (number, if result == -1 { errno } else { 0 })
        })
        .collect()
}
