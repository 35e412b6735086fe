// sandbox/src/loose.rs
//! The first process of a command that runs without namespaces: it gathers orphans and ends them.
//!
//! Without a pid namespace the kernel does not end what a command leaves behind. So this process becomes
//! the one that orphans fall to, and when the command has ended, or the caller asks for the end with
//! SIGTERM, it kills every child that it has until none is left. As all of `child.rs`, it runs between
//! clone and exec: no allocation, lock or panic.

use std::os::fd::RawFd;

use crate::child;
use crate::sys::{self, Result};

const TERMINATE: u64 = 1 << (libc::SIGTERM - 1);

/// Becomes the reaper of all descendants and lets SIGTERM in, which ends it by default.
pub(crate) fn prepare() -> Result<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)?;
    sys::new_session()
}

/// Waits for the command or for a SIGTERM, then ends what is left.
pub(crate) fn reap(command: libc::pid_t, report: RawFd) -> ! {
    let mut largest = 0;
    let mut status = None;
    // SIGTERM stays blocked, as all signals are since the clone: it is taken out of the queue.
    while status.is_none() {
        if sys::wait_signal(TERMINATE | 1 << (libc::SIGCHLD - 1)) == Ok(libc::SIGTERM) {
            break;
        }
        while let Ok(waited) = sys::wait(-1, libc::WNOHANG) {
            if waited.pid == 0 {
                break;
            }
            largest = largest.max(waited.usage.ru_maxrss);
            if waited.pid == command {
                status = Some(waited.status);
            }
        }
    }
    // Killing makes new orphans fall to us: until there is no child.
    loop {
        kill_children();
        match sys::wait(-1, 0) {
            Ok(waited) => {
                if waited.pid == command {
                    status = Some(waited.status);
                }
            }
            Err(libc::EINTR) => {}
            Err(_) => break,
        }
    }
    child::ended(status.unwrap_or(libc::SIGKILL), largest, report)
}

/// Sends SIGKILL to every child, as the kernel lists them.
fn kill_children() {
    let Ok(file) = sys::open(c"/proc/thread-self/children", libc::O_RDONLY, 0) else {
        return;
    };
    let mut buffer = [0; 4096];
    let mut pid: libc::pid_t = 0;
    while let Ok(count @ 1..) = sys::read(file, &mut buffer) {
        for byte in buffer.iter().take(count) {
            if byte.is_ascii_digit() {
                pid = pid.wrapping_mul(10).wrapping_add(libc::pid_t::from(byte.wrapping_sub(b'0')));
            } else {
                if pid > 0 {
                    let _ = sys::kill(pid, libc::SIGKILL);
                }
                pid = 0;
            }
        }
    }
    sys::close(file);
}
