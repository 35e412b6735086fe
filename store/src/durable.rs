// store/src/durable.rs
//! The one place where bytes are made to survive: fsync, syncfs, rename, link and exchange.
//!
//! Everything here works on open directories and single names and knows no root, no store and no
//! database. `clippy.toml` forbids the calls underneath to the rest of the house, so that reading
//! this file is enough to know what a power cut can do.
//!
//! # The order of a durable write
//!
//! ```text
//! create under a temporary name → write → barrier (contents) → link or rename into place
//!   → barrier (directories) → commit the row that makes it true
//! ```
//!
//! Where only the row is believed, and never the name, the file may have its last name from the start:
//!
//! ```text
//! create under a new name → write → barrier (contents and directories) → commit the row
//! ```
//!
//! # What is assumed of the medium
//!
//! * `fsync` returns only when the file's bytes and inode would be read back after a power cut, and
//!   `fsync` of a directory does the same for its names. A medium that lies about flushes loses this.
//! * A rename or link within one file system is atomic for other processes; after a power cut the
//!   directory holds the old name or the new one. It is *not* assumed that it reaches the disk before
//!   the directory is synced, nor that file contents reach it before the name does.
//! * After a failed `fsync` nothing is known about the file (the kernel may have dropped the dirty
//!   pages): the error is final, nobody tries again, and the temporary file is thrown away.
//!
//! # One syncfs or many fsyncs
//!
//! A [`barrier`] over a few files syncs each of them, in parallel. Over [`SYNCFS_FROM`] files or more it asks
//! once for the whole file system, which lets the kernel order the writes. `syncfs` also waits for what other programs
//! have dirtied on the same file system; [`Dirty`] lets the caller say how much that is.
// The rest of the house is forbidden these calls; this file is where they are allowed.
#![allow(clippy::disallowed_methods)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

/// From this many files on, a barrier is one `syncfs` (measured: docs/design/store.md, "Barrier").
pub const SYNCFS_FROM: usize = 256;

/// What may wait to be written beside a batch without being called much.
const OTHERS_BYTES: u64 = 64 << 20;

/// Permissions of a temporary file until it is finished.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A file that a [`barrier`] makes durable: a name in an open directory.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The directory that holds it.
    pub directory: BorrowedFd<'a>,
    /// Its name there, without `/`.
    pub name: &'a [u8],
}

/// Creates a new file beneath `directory` for reading and writing; an existing name is an error.
///
/// # Errors
/// As `openat` with `O_CREAT | O_EXCL | O_NOFOLLOW`.
pub fn create(directory: impl AsFd, name: impl Arg) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, PRIVATE)?.into())
}

/// Opens a directory that is an entry of `directory`, never through a symbolic link.
///
/// # Errors
/// As `openat` with `O_DIRECTORY | O_NOFOLLOW`.
pub fn open_directory(directory: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Makes one file's bytes and inode durable.
///
/// # Errors
/// As `fsync`; after one, the file's content is not to be trusted.
pub fn sync_file(file: impl AsFd) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::fsync(file.as_fd()))?)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// As `fsync`.
pub fn sync_directory(directory: impl AsFd) -> io::Result<()> {
    sync_file(directory)
}

/// Makes everything written so far to the file system that holds `fd` durable.
///
/// # Errors
/// As `syncfs`; since Linux 5.8 it reports write-back errors that happened since `fd` was opened.
pub fn sync_file_system(fd: impl AsFd) -> io::Result<()> {
    Ok(retry_on_intr(|| rustix::fs::syncfs(fd.as_fd()))?)
}

/// What else is waiting to be written on the machine, for choosing how a barrier is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dirty {
    /// Little beside this batch: one `syncfs` is right for a large batch.
    #[default]
    Ours,
    /// Other work shares the file system: sync the batch's own files one by one.
    Shared,
}

impl Dirty {
    /// Looks whether far more than a batch of `own_bytes` waits to be written on this machine.
    ///
    /// The system tells only the sum over all file systems, so this errs towards [`Dirty::Shared`].
    #[must_use]
    pub fn measure(own_bytes: u64) -> Self {
        let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
            return Self::Shared;
        };
        let kibibytes = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_suffix("kB")?.trim().parse().ok())
                .unwrap_or(0_u64)
        };
        let waiting = (kibibytes("Dirty:") + kibibytes("Writeback:")) << 10;
        if waiting > own_bytes.saturating_mul(2) + OTHERS_BYTES { Self::Shared } else { Self::Ours }
    }
}

/// Makes a batch of files durable, contents and inodes; their names are another step.
///
/// `file_system` is a descriptor on the file system that holds them all, opened before the first of
/// them was written.
///
/// # Errors
/// The first failure; none of the batch is to be trusted then.
pub fn barrier(file_system: impl AsFd, files: &[Written<'_>], dirty: Dirty) -> io::Result<()> {
    if files.len() >= SYNCFS_FROM && dirty == Dirty::Ours {
        return sync_file_system(file_system);
    }
    each(files, |file| {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        sync_file(rustix::fs::openat(file.directory, file.name, flags, Mode::empty())?)
    })
}

/// Runs `work` over the items, in parallel when there is more than one.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> io::Result<()> + Sync + Send) -> io::Result<()> {
    match items {
        [] => Ok(()),
        [only] => work(only),
        many => many.par_iter().try_for_each(work),
    }
}

/// Gives a file a second name; an existing name is an error. Not durable before the directory is.
///
/// # Errors
/// As `linkat`.
pub fn link(from_directory: impl AsFd, from: impl Arg, to_directory: impl AsFd, to: impl Arg) -> io::Result<()> {
    Ok(rustix::fs::linkat(from_directory, from, to_directory, to, AtFlags::empty())?)
}

/// Moves a name over whatever stands at the target. Not durable before both directories are.
///
/// # Errors
/// As `renameat`.
pub fn rename(from_directory: impl AsFd, from: impl Arg, to_directory: impl AsFd, to: impl Arg) -> io::Result<()> {
    Ok(rustix::fs::renameat(from_directory, from, to_directory, to)?)
}

/// Moves a name to a place where nothing stands.
///
/// # Errors
/// As `renameat2` with `RENAME_NOREPLACE`; `EEXIST` when the target is there.
pub fn rename_noreplace(
    from_directory: impl AsFd,
    from: impl Arg,
    to_directory: impl AsFd,
    to: impl Arg,
) -> io::Result<()> {
    let flags = RenameFlags::NOREPLACE;
    Ok(rustix::fs::renameat_with(from_directory, from, to_directory, to, flags)?)
}

/// Swaps two names in one step; both must exist.
///
/// # Errors
/// As `renameat2` with `RENAME_EXCHANGE`; `EINVAL` where the file system cannot.
pub fn exchange(
    one_directory: impl AsFd,
    one: impl Arg,
    other_directory: impl AsFd,
    other: impl Arg,
) -> io::Result<()> {
    let flags = RenameFlags::EXCHANGE;
    Ok(rustix::fs::renameat_with(one_directory, one, other_directory, other, flags)?)
}

/// Replaces the file `name` by one that holds `bytes`: old or new after a crash, never between.
///
/// The temporary file is `.NAME.N.tmp` beside it. Durable on return.
///
/// # Errors
/// Any failure of the steps; the old file is then untouched and no temporary file stays.
pub fn write_atomically(directory: impl AsFd, name: &str, bytes: &[u8], mode: Mode) -> io::Result<()> {
    place(directory, name, mode, |out| out.write_all(bytes))
}

/// Makes the file `name` out of what `fill` writes, or replaces it: old or new after a crash, never between. Durable on return.
///
/// # Errors
/// What `fill` returns, or any failure of the steps; an old file is then untouched and no temporary file stays.
pub fn place(
    directory: impl AsFd,
    name: &str,
    mode: Mode,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let directory = directory.as_fd();
    let (file, temporary) = create_beside(directory, name)?;
    let mut out = io::BufWriter::with_capacity(1 << 18, file);
    let filled = fill(&mut out).and_then(|()| {
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        rustix::fs::fchmod(&file, mode)?;
        sync_file(&file)?;
        rename(directory, temporary.as_str(), directory, name)
    });
    if filled.is_err() {
        // The write failed already; a leftover temporary is overwritten by nobody and harms nobody.
        let _ = rustix::fs::unlinkat(directory, temporary.as_str(), AtFlags::empty());
    }
    filled?;
    sync_directory(directory)
}

/// Creates a temporary file next to `name`, avoiding the leftovers of dead processes.
fn create_beside(directory: BorrowedFd<'_>, name: &str) -> io::Result<(File, String)> {
    for number in 0..1000_u32 {
        let temporary = format!(".{name}.{number}.tmp");
        match create(directory, temporary.as_str()) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    fn directory() -> (tempfile::TempDir, OwnedFd) {
        let temporary = tempfile::tempdir().unwrap();
        let fd = open_directory(rustix::fs::CWD, temporary.path()).unwrap();
        (temporary, fd)
    }

    #[test]
    fn atomic_write_replaces_and_leaves_no_temporary() {
        let (path, fd) = directory();
        write_atomically(&fd, "config", b"one", Mode::from_raw_mode(0o644)).unwrap();
        fs::write(path.path().join(".config.0.tmp"), b"left by a dead process").unwrap();
        write_atomically(&fd, "config", b"two", Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(fs::read(path.path().join("config")).unwrap(), b"two");
        assert_eq!(fs::metadata(path.path().join("config")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(path.path()).unwrap().count(), 2);
    }

    #[test]
    fn names_are_not_taken_twice() {
        let (_path, fd) = directory();
        drop(create(&fd, "a").unwrap());
        drop(create(&fd, "b").unwrap());
        assert_eq!(create(&fd, "a").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        for refused in [link(&fd, "a", &fd, "b"), rename_noreplace(&fd, "a", &fd, "b")] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
    }

    #[test]
    fn exchange_swaps_two_inodes() {
        let (path, fd) = directory();
        fs::write(path.path().join("a"), b"a").unwrap();
        fs::create_dir(path.path().join("b")).unwrap();
        exchange(&fd, "a", &fd, "b").unwrap();
        assert!(path.path().join("a").is_dir());
        assert_eq!(fs::read(path.path().join("b")).unwrap(), b"a");
        assert!(exchange(&fd, "a", &fd, "missing").is_err());
    }

    #[test]
    fn barriers_cover_few_and_many() {
        let (path, fd) = directory();
        for count in [0, 1, 3, SYNCFS_FROM] {
            let names: Vec<String> = (0..count).map(|n| format!("{count}-{n}")).collect();
            for name in &names {
                fs::write(path.path().join(name), name).unwrap();
            }
            let files: Vec<Written> =
                names.iter().map(|name| Written { directory: fd.as_fd(), name: name.as_bytes() }).collect();
            barrier(&fd, &files, Dirty::Ours).unwrap();
            barrier(&fd, &files, Dirty::Shared).unwrap();
        }
        let missing = [Written { directory: fd.as_fd(), name: b"missing" }];
        assert!(barrier(&fd, &missing, Dirty::Ours).is_err());
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let (path, fd) = directory();
        std::os::unix::fs::symlink("/etc/passwd", path.path().join("link")).unwrap();
        let link = [Written { directory: fd.as_fd(), name: b"link" }];
        assert!(barrier(&fd, &link, Dirty::Ours).is_err());
        assert!(open_directory(&fd, "link").is_err());
    }
}
