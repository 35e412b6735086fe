// sandbox/src/idmap.rs
//! A user namespace that only serves as a table: one owner's files in a mapped mount belong to the build.
//!
//! A user who cooks owns the trees of the store, so they are id 1000's inside. When root cooks, they are
//! root's, and root is nobody inside. Mounting them with this table makes both see the same. A directory that
//! `conary sandbox --rw` names is mapped in the same way from whoever owns it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::owner::Owner;
use crate::sys::{self, Cloned};

/// Makes the table from a user and group of the host to the build's, by way of a process that lives as long as
/// that takes.
pub(crate) fn namespace(from: (u32, u32), owner: &Owner) -> io::Result<OwnedFd> {
    let (go, caller) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let error = io::Error::from_raw_os_error;
    let mask = sys::set_signal_mask(u64::MAX).map_err(error)?;
    let cloned = sys::clone(libc::CLONE_NEWUSER);
    if matches!(cloned, Ok(Cloned::Child)) {
        // Until the caller closes its end, or dies. No other end of a pipe stays here: that of another thread's table would keep
        // its process alive, and that one ours.
        keep_only(go.as_raw_fd());
        let _ = sys::read(go.as_raw_fd(), &mut [0]);
        sys::exit(0)
    }
    let restored = sys::set_signal_mask(mask);
    let Cloned::Parent { pid, pidfd } = cloned.map_err(error)? else { unreachable!("the child never returns") };
    let pidfd = sys::owned(pidfd);
    let made = make(from, owner, pid);
    drop(caller);
    while matches!(sys::wait(pid, 0), Err(libc::EINTR)) {}
    drop(pidfd);
    restored.map_err(error)?;
    made
}

/// Closes every descriptor but one.
fn keep_only(kept: RawFd) {
    let kept = kept.unsigned_abs();
    // Neither fails: the second begins behind a descriptor that is open, the first ends before it.
    if kept > 0 {
        let _ = sys::close_range(0, kept - 1);
    }
    let _ = sys::close_range(kept + 1, u32::MAX);
}

fn make((uid, gid): (u32, u32), owner: &Owner, pid: libc::pid_t) -> io::Result<OwnedFd> {
    fs::write(format!("/proc/{pid}/uid_map"), format!("{uid} {} 1", owner.uid))?;
    fs::write(format!("/proc/{pid}/gid_map"), format!("{gid} {} 1", owner.gid))?;
    fs::File::open(format!("/proc/{pid}/ns/user")).map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn tables_that_are_made_at_once_do_not_wait_for_each_other() {
        let owner = Owner::of_caller();
        let (done, finished) = mpsc::channel();
        for _ in 0..4 {
            let done = done.clone();
            thread::spawn(move || {
                for _ in 0..100 {
                    // Only root may write every map; the process comes and goes all the same.
                    let _ = namespace((owner.uid, owner.gid), &owner);
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..4 {
            finished.recv_timeout(Duration::from_mins(2)).expect("a table waits for another");
        }
    }
}
