// store/src/copy.rs
//! Copies of file contents, and what an inode has beside them.
//!
//! A copy shares the disk's blocks where the file system can (reflink), is made inside the kernel where that
//! can (`copy_file_range`), and keeps holes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Gid, Mode, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::EPOCH_SECS;

/// The times that every object and every materialised entry has.
pub(crate) const EPOCH: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: EPOCH_SECS, tv_nsec: 0 },
    last_modification: Timespec { tv_sec: EPOCH_SECS, tv_nsec: 0 },
};

/// How a copy may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Only by sharing blocks; an error where the file system cannot.
    Reflink,
    /// By sharing blocks, else by copying bytes.
    Any,
    /// By copying bytes.
    Bytes,
}

/// Fills the empty file `to` with the `size` bytes of `from`.
pub(crate) fn contents(from: &File, to: &File, size: u64, how: How) -> io::Result<()> {
    if how != How::Bytes {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => return Ok(()),
            Err(error) if how == How::Reflink => return Err(error.into()),
            Err(_) => {}
        }
    }
    let stat = rustix::fs::fstat(from)?;
    if u64::try_from(stat.st_size) != Ok(size) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !is_sparse(&stat) {
        return range(from, to, 0, size);
    }
    let mut offset = 0;
    while offset < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(offset)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        offset = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(size);
        range(from, to, data, offset)?;
    }
    to.set_len(size)
}

/// Says whether a file has holes worth keeping.
pub(crate) fn is_sparse(stat: &Stat) -> bool {
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512 + 4096 < u64::try_from(stat.st_size).unwrap_or(0)
}

/// Copies the bytes from `start` to `end`.
fn range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let length = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), length) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return range_by_hand(from, to, read, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn range_by_hand(from: &File, to: &File, mut start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    while start < end {
        let length = usize::try_from(end - start).unwrap_or(usize::MAX).min(buffer.len());
        from.read_exact_at(&mut buffer[..length], start)?;
        to.write_all_at(&buffer[..length], start)?;
        start += length as u64;
    }
    Ok(())
}

/// Gives a file its owner, mode, attributes and the constant time.
///
/// The order matters: user attributes need a writable mode, giving a file away clears set-id bits and
/// capabilities, and everything changes times.
pub(crate) fn finish(
    file: impl AsFd,
    mode: u32,
    owner: Option<(u32, u32)>,
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> io::Result<()> {
    let file = file.as_fd();
    let set =
        |name: &Vec<u8>, value: &Vec<u8>| rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
    for (name, value) in xattrs.iter().filter(|(name, _)| name.starts_with(b"user.")) {
        set(name, value)?;
    }
    if let Some((user, group)) = owner {
        rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    for (name, value) in xattrs.iter().filter(|(name, _)| !name.starts_with(b"user.")) {
        set(name, value)?;
    }
    Ok(rustix::fs::futimens(file, &EPOCH)?)
}
