// sandbox/src/prepare.rs
//! Everything that is made before the clone, because nothing can be made after it: descriptors, mounts, C
//! strings, limits.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::cgroup::Group;
use crate::error::SandboxError;
use crate::layout::{self, Layout};
use crate::operation::{Access, Source};
use crate::owner::Owner;
use crate::plan::{Limits, Plan};
use crate::{idmap, root, sys};

pub(crate) fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

pub(crate) fn step(step: &str, source: io::Error) -> SandboxError {
    SandboxError::Step { step: step.to_owned(), source, hint: None }
}

pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| step("pipe", errno.into()))
}

pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| step("socket pair", errno.into()))
}

/// The same descriptor under a number above those that the command's own will have.
pub(crate) fn out_of_the_way(fd: &OwnedFd) -> Result<OwnedFd, SandboxError> {
    const ABOVE: RawFd = 10;
    rustix::io::fcntl_dupfd_cloexec(fd, ABOVE).map_err(|errno| step("duplicate a descriptor", errno.into()))
}

/// Clones the host's mounts with the caller's own rights, and says whether root's files in the layers are
/// the build's.
pub(crate) fn open_sources(layout: &Layout, owner: &Owner) -> Result<(Vec<OwnedFd>, bool), SandboxError> {
    let layers = layout.sources.iter().any(|source| source.access == Access::Layer);
    // Without it, the build sees files that only root may read as nobody does.
    let ids = if layers { idmap::namespace((0, 0), owner).ok() } else { None };
    let mut mapped = ids.is_some();
    let mut opened = Vec::new();
    for source in &layout.sources {
        let open = |ids| root::open_source(&source.name, source.access, ids).map(sys::owned);
        let own = if source.access == Access::Write { of_another(source, owner) } else { None };
        let table = if source.access == Access::Layer { ids.as_ref() } else { own.as_ref() };
        let ids = table.map(AsRawFd::as_raw_fd);
        // Not every file system can map owners.
        let mount = open(ids).or_else(|errno| {
            mapped &= source.access != Access::Layer;
            if ids.is_some() { open(None) } else { Err(errno) }
        });
        opened.push(mount.map_err(|errno| SandboxError::Source {
            path: source.path.clone(),
            step: "clone its mount",
            source: error(errno),
        })?);
    }
    Ok((opened, mapped))
}

/// A table for a writable place that is not the build's on the host: its owner is id 1000 inside, and what the
/// command makes there is its owner's. `None` where none is needed, or none can be made: it is nobody's then.
fn of_another(source: &Source, owner: &Owner) -> Option<OwnedFd> {
    let about = fs::metadata(&source.path).ok()?;
    if (about.uid(), about.gid()) == (owner.uid, owner.gid) {
        return None;
    }
    idmap::namespace((about.uid(), about.gid()), owner).ok()
}

/// Ranges of descriptor numbers around those that are kept.
pub(crate) fn gaps(kept: impl Iterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = kept.filter_map(|fd| u32::try_from(fd).ok()).collect();
    kept.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 0;
    for fd in kept {
        if fd > next {
            gaps.push((next, fd - 1));
        }
        next = fd + 1;
    }
    gaps.push((next, u32::MAX));
    gaps
}

pub(crate) fn strings(values: &[OsString]) -> Result<Vec<CString>, SandboxError> {
    values.iter().map(|value| layout::text(value.as_bytes())).collect()
}

pub(crate) fn environment(plan: &Plan) -> Result<Vec<CString>, SandboxError> {
    plan.environment
        .iter()
        .map(|(name, value)| {
            if name.is_empty() || name.contains('=') {
                return Err(SandboxError::Plan { what: format!("{name:?} is no name of a variable") });
            }
            let mut text = name.clone().into_bytes();
            text.push(b'=');
            text.extend(value.as_bytes());
            layout::text(text)
        })
        .collect()
}

/// The paths at which the command's program may be: itself, or in each directory of the plan's `PATH`.
pub(crate) fn programs(plan: &Plan) -> Result<Vec<CString>, SandboxError> {
    let program = plan.command.first().ok_or_else(|| SandboxError::Plan { what: "no command".to_owned() })?;
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![layout::text(program.as_bytes())?]);
    }
    let path = plan.environment.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.as_bytes());
    path.unwrap_or(b"/usr/bin:/bin")
        .split(|byte| *byte == b':')
        .map(|directory| {
            let directory = if directory.is_empty() { b"." } else { directory };
            layout::text([directory, b"/", program.as_bytes()].concat())
        })
        .collect()
}

/// A directory that every host has, where the new root hangs for a moment.
pub(crate) fn foothold() -> Result<CString, SandboxError> {
    let place = ["/tmp", "/usr", "/proc"].into_iter().find(|path| fs::metadata(path).is_ok_and(|about| about.is_dir()));
    layout::text(place.unwrap_or("/"))
}

/// Resource limits, each `(resource, soft, hard)`: fixed ones, and the plan's where no group keeps them.
#[allow(clippy::cast_possible_wrap, reason = "resources are small numbers on every C library")]
pub(crate) fn resource_limits(limits: &Limits, group: Option<&Group>) -> Vec<(i32, u64, u64)> {
    let no_limit = libc::RLIM_INFINITY;
    let memory_by_group = group.is_some_and(Group::holds_memory);
    let each_process = limits.memory_bytes.filter(|_| !memory_by_group).unwrap_or(no_limit);
    let file_size = limits.file_bytes.unwrap_or(no_limit);
    // One more than a group's limit, so that the group, which says afterwards that it refused, is the first to do so.
    let processes = limits.processes.map_or(MOST_PROCESSES, |count| count.saturating_add(1));
    let queue = 819_200;
    let locked = 8 << 20;
    // Hard limits are such that no host is below them by default: who asks gets the same number everywhere.
    let (files, most_files) = (1024, 4096);
    [
        (libc::RLIMIT_CORE, 0, 0),
        (libc::RLIMIT_NOFILE, files, most_files),
        (libc::RLIMIT_NPROC, processes, processes),
        (libc::RLIMIT_FSIZE, file_size, file_size),
        (libc::RLIMIT_DATA, each_process, each_process),
        (libc::RLIMIT_AS, no_limit, no_limit),
        (libc::RLIMIT_RSS, no_limit, no_limit),
        (libc::RLIMIT_CPU, no_limit, no_limit),
        (libc::RLIMIT_STACK, 8 << 20, no_limit),
        (libc::RLIMIT_MEMLOCK, locked, locked),
        (libc::RLIMIT_MSGQUEUE, queue, queue),
        (libc::RLIMIT_SIGPENDING, 4096, 4096),
        (libc::RLIMIT_LOCKS, no_limit, no_limit),
        (libc::RLIMIT_NICE, 0, 0),
        (libc::RLIMIT_RTPRIO, 0, 0),
        (libc::RLIMIT_RTTIME, no_limit, no_limit),
    ]
    .map(|(resource, soft, hard)| (resource as i32, soft, hard))
    .to_vec()
}

/// Processes and threads of a sandbox without a limit of its own.
const MOST_PROCESSES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_leave_only_what_is_kept() {
        assert_eq!(gaps([7, 5].into_iter()), [(0, 4), (6, 6), (8, u32::MAX)]);
        assert_eq!(gaps([0, 1].into_iter()), [(2, u32::MAX)]);
    }
}
