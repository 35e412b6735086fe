// sandbox/src/root.rs
//! Carries out a layout: makes the root and leaves the host's. Runs between clone and exec: see `child`.

use std::ffi::CStr;
use std::os::fd::RawFd;

use crate::child::Prepared;
use crate::operation::{Access, Operation};
use crate::report::{At, Failure, Stage};
use crate::sys::{self, Result};

/// Leaves the host's root for an empty one; returns our own `/proc`, which is not attached yet.
///
/// This is done before the command is cloned: letting go of the host's mounts waits until no processor is in the middle of something, and
/// the command would be in the middle of making a network.
pub(crate) fn leave_host(prepared: &mut Prepared<'_>) -> std::result::Result<RawFd, Failure> {
    sys::umask(0);
    let private = libc::MS_REC | libc::MS_PRIVATE;
    sys::mount(None, c"/", None, private, None).at(Stage::Propagation)?;
    for (index, (mount, source)) in prepared.mounts.iter_mut().zip(prepared.sources).enumerate() {
        if mount.is_none() {
            *mount = Some(open_source(&source.name, source.access, None).at_index(Stage::Source, index)?);
        }
    }
    // The kernel gives a /proc only to those who see one.
    let attributes = Access::Write.attributes() | libc::MOUNT_ATTR_NOEXEC;
    #[allow(clippy::cast_possible_truncation, reason = "these attributes are low bits")]
    let proc = sys::new_filesystem(c"proc", &[(c"hidepid", c"2")], attributes as u32).at(Stage::Proc)?;
    // Size and number of files are fixed: their defaults follow the machine's memory.
    let small = [(c"mode", c"0755"), (c"size", c"16m"), (c"nr_inodes", c"1000000")];
    #[allow(clippy::cast_possible_truncation, reason = "these attributes are low bits")]
    let root = sys::new_filesystem(c"tmpfs", &small, Access::Write.attributes() as u32).at(Stage::NewRoot)?;
    sys::move_mount(root, prepared.foothold).at(Stage::NewRoot)?;
    sys::fchdir(root).at(Stage::Pivot)?;
    sys::close(root);
    enter_here().at(Stage::Pivot)?;
    Ok(proc)
}

/// Makes the root. Before it is entered, the command says on `line` that it has left our mount namespace: who copied it between the
/// steps of that would have the old root above the new one.
pub(crate) fn make(prepared: &Prepared<'_>, proc: RawFd, line: RawFd) -> std::result::Result<(), Failure> {
    for (index, operation) in prepared.operations.iter().enumerate() {
        if matches!(operation, Operation::Enter { .. }) {
            sys::wait_for_byte(line).at(Stage::Network)?;
        }
        perform(operation, prepared.mounts, proc).at_index(Stage::Operation, index)?;
    }
    sys::close(proc);
    Ok(())
}

/// Clones one mount of the host and takes its rights away. With `ids`, its owners are mapped.
pub(crate) fn open_source(name: &CStr, access: Access, ids: Option<RawFd>) -> Result<RawFd> {
    #[allow(clippy::cast_sign_loss, reason = "a flag")]
    let mount = sys::open_tree(name, libc::AT_RECURSIVE as u32)?;
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    let taken = sys::mount_setattr(mount, c"", flags, access.attributes(), None).and_then(|()| match ids {
        Some(_) => sys::mount_setattr(mount, c"", libc::AT_EMPTY_PATH, 0, ids),
        None => Ok(()),
    });
    match taken {
        Ok(()) => Ok(mount),
        Err(errno) => {
            sys::close(mount);
            Err(errno)
        }
    }
}

/// Makes the working directory the root and lets go of the old one.
fn enter_here() -> Result<()> {
    sys::pivot_root_here()?;
    // The old root lies above the new one now.
    sys::detach(c".")?;
    sys::chdir(c"/")
}

fn perform(operation: &Operation, mounts: &[Option<RawFd>], proc: RawFd) -> Result<()> {
    match operation {
        Operation::Directory { path, mode } => match sys::mkdir(path, *mode) {
            Err(libc::EEXIST) => Ok(()),
            made => made,
        },
        Operation::File { path, content } => {
            let file = sys::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o644)?;
            let written = write_all(file, content);
            sys::close(file);
            written
        }
        Operation::Link { path, target } => sys::symlink(target, path),
        Operation::Attach { source, path } => {
            let mount = mounts.get(*source).copied().flatten().ok_or(libc::EBADF)?;
            let attached = sys::move_mount(mount, path);
            sys::close(mount);
            attached
        }
        Operation::Tmpfs { path, options } => {
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            sys::mount(Some(c"tmpfs"), path, Some(c"tmpfs"), flags, Some(options))
        }
        Operation::Terminals { path } => {
            let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
            sys::mount(Some(c"devpts"), path, Some(c"devpts"), flags, Some(c"newinstance,ptmxmode=0666,mode=0620"))
        }
        Operation::Processes { path } => sys::move_mount(proc, path),
        Operation::Again { from, path, optional } => match sys::mount(Some(from), path, None, libc::MS_BIND, None) {
            Err(libc::ENOENT | libc::ENOTDIR) if *optional => Ok(()),
            bound => bound,
        },
        Operation::Overlay { directory, options, path, writable } => {
            sys::chdir(directory)?;
            let read_only = if *writable { 0 } else { libc::MS_RDONLY };
            let flags = read_only | libc::MS_NOSUID | libc::MS_NODEV;
            sys::mount(Some(c"overlay"), path, Some(c"overlay"), flags, Some(options))
        }
        Operation::ReadOnly { path } => {
            sys::mount_setattr(libc::AT_FDCWD, path, 0, Access::Read.attributes() & !libc::MOUNT_ATTR_NODEV, None)
        }
        Operation::Enter { path } => {
            sys::chdir(path)?;
            enter_here()
        }
    }
}

fn write_all(file: RawFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = sys::write(file, bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
