// sandbox/src/ownership.rs
//! Answers the calls that give files away, make devices and look at files, for a command whose owners are recorded.
//!
//! ```text
//! chown …     the file is the command's?  record it, answer success      else the kernel answers
//! mknod       of a device: note its path, answer EPERM                   else the kernel answers
//! stat …      a record of that file?      the kernel's words with the recorded owner     else the kernel answers
//! ```
//!
//! A path is resolved below the caller's own root, so what it says reaches nothing of the host. What cannot be
//! resolved, read or written is left to the kernel, which has the right error for it.
#![allow(unsafe_code, reason = "the listener is spoken to by ioctl, with structures of the kernel's")]

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::owners::{Owner, Owners};
use crate::supervisor::still_waits;
use crate::sys;

/// What becomes of a call.
pub(crate) enum Answer {
    /// It returns this.
    Value(i64),
    /// It fails with this errno.
    Error(i32),
    /// The kernel carries it out.
    Kernel,
}

/// Longest path with its final NUL.
const PATH: usize = 4096;
/// No change, for `chown`.
const SAME: u32 = u32::MAX;

/// The file that a call is about: how it is named, and what is asked.
enum Asked {
    Chown { uid: u32, gid: u32 },
    Stat { place: u64 },
    Statx { flags: i32, mask: u32, place: u64 },
    Node,
}

/// A file as a call names it.
struct Named {
    directory: RawFd,
    /// Address of the path; `None` where the call has a descriptor only.
    path: Option<u64>,
    follow: bool,
    empty: bool,
}

/// Answers one call of [`crate::filter::OWNERSHIP`]. `owner` is the host's uid behind the command's.
pub(crate) fn answer(owners: &mut Owners, owner: u32, listener: &OwnedFd, call: &libc::seccomp_notif) -> Answer {
    let Some((named, asked)) = understand(call) else { return Answer::Kernel };
    let looks = matches!(asked, Asked::Stat { .. } | Asked::Statx { .. });
    if looks && owners.is_empty() {
        return Answer::Kernel;
    }
    let Some(caller) = Caller::meet(listener, call) else { return Answer::Kernel };
    if matches!(asked, Asked::Node) {
        if let Some(path) = named.path.and_then(|address| caller.path(address)) {
            owners.record_node(path);
        }
        return Answer::Error(libc::EPERM);
    }
    let Some(file) = caller.open(&named) else { return Answer::Kernel };
    let Ok(mut about) = sys::raw_stat(file.as_raw_fd()) else { return Answer::Kernel };
    if !still_waits(listener, call.id) {
        return Answer::Kernel;
    }
    let inode = about.inode();
    match asked {
        Asked::Node => Answer::Kernel,
        Asked::Chown { uid, gid } => {
            if about.uid() != owner {
                return Answer::Kernel;
            }
            let said = |id: u32| (id != SAME).then_some(id);
            if !owners.record(&file, inode, Owner { uid: said(uid), gid: said(gid) }) {
                return Answer::Error(libc::ENOSPC);
            }
            take_set_id(&file, about.mode());
            Answer::Value(0)
        }
        Asked::Stat { place } => {
            let Some(recorded) = owners.find(&file, inode) else { return Answer::Kernel };
            about.set_owner(
                recorded.uid.unwrap_or(crate::child::INNER_ID),
                recorded.gid.unwrap_or(crate::child::INNER_ID),
            );
            caller.write(place, about.bytes())
        }
        Asked::Statx { flags, mask, place } => {
            let Some(recorded) = owners.find(&file, inode) else { return Answer::Kernel };
            let Ok(mut about) = sys::raw_statx(file.as_raw_fd(), flags, mask) else { return Answer::Kernel };
            let (uid, gid) =
                (recorded.uid.unwrap_or(crate::child::INNER_ID), recorded.gid.unwrap_or(crate::child::INNER_ID));
            about[20..24].copy_from_slice(&uid.to_ne_bytes());
            about[24..28].copy_from_slice(&gid.to_ne_bytes());
            caller.write(place, &about)
        }
    }
}

/// What a call asks of which file. `None` for calls that we have no words for.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the kernel looks at the low half of such arguments"
)]
fn understand(call: &libc::seccomp_notif) -> Option<(Named, Asked)> {
    let [first, second, third, fourth, fifth, _] = call.data.args;
    let at = |directory: u64, path: u64, flags: u64| Named {
        directory: directory as RawFd,
        path: Some(path),
        follow: flags as i32 & libc::AT_SYMLINK_NOFOLLOW == 0,
        empty: flags as i32 & libc::AT_EMPTY_PATH != 0,
    };
    let open = |descriptor: u64| Named { directory: descriptor as RawFd, path: None, follow: true, empty: true };
    let chown = |uid: u64, gid: u64| Asked::Chown { uid: uid as u32, gid: gid as u32 };
    Some(match i64::from(call.data.nr) {
        libc::SYS_fchown => (open(first), chown(second, third)),
        libc::SYS_fchownat => (at(first, second, fifth), chown(third, fourth)),
        libc::SYS_mknodat => (at(first, second, 0), Asked::Node),
        libc::SYS_fstat => (open(first), Asked::Stat { place: second }),
        libc::SYS_newfstatat => (at(first, second, fourth), Asked::Stat { place: third }),
        libc::SYS_statx => {
            (at(first, second, third), Asked::Statx { flags: third as i32, mask: fourth as u32, place: fifth })
        }
        #[cfg(target_arch = "x86_64")]
        number => {
            let here = u64::from(libc::AT_FDCWD.cast_unsigned());
            let no_follow = u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned());
            match number {
                libc::SYS_chown => (at(here, first, 0), chown(second, third)),
                libc::SYS_lchown => (at(here, first, no_follow), chown(second, third)),
                libc::SYS_mknod => (at(here, first, 0), Asked::Node),
                libc::SYS_stat => (at(here, first, 0), Asked::Stat { place: second }),
                libc::SYS_lstat => (at(here, first, no_follow), Asked::Stat { place: second }),
                _ => return None,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        _ => return None,
    })
}

/// Giving a program away takes its set-id bits, for root too; `install` sets them afterwards.
fn take_set_id(file: &OwnedFd, mode: u32) {
    let set_group = mode & 0o2010 == 0o2010;
    let taken = if set_group { mode & !0o6000 } else { mode & !0o4000 };
    if mode & libc::S_IFMT == libc::S_IFREG && taken != mode {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Where that fails, the bits stay: the file is the command's own, and it could have set them itself.
        let _ = rustix::fs::chmod(path, Mode::from_raw_mode(taken & 0o7777));
    }
}

/// A process whose call waits.
struct Caller {
    pid: u32,
    memory: File,
    root: OwnedFd,
}

impl Caller {
    /// Opens what is needed of the caller, and makes sure that it was the caller's.
    fn meet(listener: &OwnedFd, call: &libc::seccomp_notif) -> Option<Self> {
        let pid = call.pid;
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).ok()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
        still_waits(listener, call.id).then_some(Self { pid, memory, root })
    }

    /// Reads a path out of the caller's memory.
    fn path(&self, address: u64) -> Option<Vec<u8>> {
        let mut path = Vec::new();
        while path.len() < PATH {
            let at = address.checked_add(path.len() as u64)?;
            // Not past the end of a page, for the next one may not be there.
            let mut piece = [0; 256];
            let within = usize::try_from(4096 - at % 4096).ok()?.min(piece.len());
            let count = self.memory.read_at(&mut piece[..within], at).ok().filter(|count| *count > 0)?;
            if let Some(end) = piece[..count].iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&piece[..end]);
                return (path.len() < PATH).then_some(path);
            }
            path.extend_from_slice(&piece[..count]);
        }
        None
    }

    /// Opens the file that a call names, as the caller would find it, without reading it.
    fn open(&self, named: &Named) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = match named.directory {
            libc::AT_FDCWD => format!("/proc/{}/cwd", self.pid),
            descriptor => format!("/proc/{}/fd/{descriptor}", self.pid),
        };
        let path = match named.path {
            None => Vec::new(),
            Some(address) => self.path(address)?,
        };
        if path.is_empty() {
            return if named.empty { rustix::fs::open(place, flags, Mode::empty()).ok() } else { None };
        }
        let whole = if path.first() == Some(&b'/') {
            path
        } else {
            let directory = std::fs::read_link(place).ok().filter(|directory| directory.is_absolute())?;
            [directory.as_os_str().as_bytes(), b"/", &path].concat()
        };
        let flags = if named.follow { flags } else { flags | OFlags::NOFOLLOW };
        rustix::fs::openat2(&self.root, whole, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()
    }

    /// Writes an answer into the caller's memory.
    fn write(&self, place: u64, bytes: &[u8]) -> Answer {
        match self.memory.write_all_at(bytes, place) {
            Ok(()) => Answer::Value(0),
            Err(_) => Answer::Error(libc::EFAULT),
        }
    }
}
