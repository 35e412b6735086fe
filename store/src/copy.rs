// store/src/copy.rs
//! Copies of file contents, and what an inode has beside them.
//!
//! A copy shares the disk's blocks where the file system can (reflink), is made inside the kernel where that
//! can (`copy_file_range`), and keeps holes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{Gid, Mode, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::EPOCH_SECS;

/// The times that every object and every materialised entry has.
pub(crate) const EPOCH: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: EPOCH_SECS, tv_nsec: 0 },
    last_modification: Timespec { tv_sec: EPOCH_SECS, tv_nsec: 0 },
};

/// How much of a file must be zero, from a multiple of this on, to become a hole.
const HOLE_BYTES: usize = 64 << 10;

/// Pieces of a large content that go to the disk at once and do not stay in the page cache.
const STREAMED_BYTES: usize = 1 << 20;

/// `RWF_DONTCACHE` of Linux 6.14, which the libraries do not name yet.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);

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

/// Writes bytes at an offset of a new file, and leaves out pieces of nothing but zeros: they are holes. Whoever has written all
/// sets the file's length, because a hole at the end has none.
pub(crate) fn write_at(to: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut begin = None;
    let mut at = 0;
    while at < bytes.len() {
        // Pieces begin at multiples of their size in the file, whatever the caller's pieces are.
        let inside = usize::try_from((offset + at as u64) % HOLE_BYTES as u64).unwrap_or(0);
        let end = bytes.len().min(at + HOLE_BYTES - inside);
        if is_zero(&bytes[at..end]) {
            if let Some(begin) = begin.take() {
                write_run(to, &bytes[begin..at], offset + begin as u64)?;
            }
        } else {
            begin = begin.or(Some(at));
        }
        at = end;
    }
    match begin {
        Some(begin) => write_run(to, &bytes[begin..], offset + begin as u64),
        None => Ok(()),
    }
}

/// Writes bytes between holes, those of a large content as a stream: the disk begins at once, and the same few pages of memory are used
/// again and again, where a large package would otherwise push what the machine works with out of them.
fn write_run(to: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while let Some(piece) = bytes.get(..STREAMED_BYTES) {
        match rustix::io::pwritev2(to, &[IoSlice::new(piece)], offset, DONTCACHE) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            // The kernel or the file system does not know how.
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => break,
            Err(error) => return Err(error.into()),
        }
    }
    to.write_all_at(bytes, offset)
}

/// Writes a whole content to a new file, with holes where it has long runs of zeros.
pub(crate) fn write_all(to: &File, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() < HOLE_BYTES {
        return to.write_all_at(bytes, 0);
    }
    write_at(to, bytes, 0)?;
    if is_zero(&bytes[(bytes.len() - 1) / HOLE_BYTES * HOLE_BYTES..]) { to.set_len(bytes.len() as u64) } else { Ok(()) }
}

/// Says whether all bytes are zero; looks at no more than it must.
fn is_zero(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<64>();
    lines.iter().all(|line| line.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Says whether a file has holes worth keeping.
fn is_sparse(stat: &Stat) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn long_zeros_become_holes_however_the_bytes_come() {
        const PIECE: usize = HOLE_BYTES;
        let mut content = vec![0_u8; 40 * PIECE + 77];
        content[3] = 1;
        content[5 * PIECE..6 * PIECE].fill(7);
        content[20 * PIECE - 1] = 1;
        let directory = tempfile::tempdir().unwrap();
        for (name, pieces) in [("whole", content.len()), ("even", 4 * PIECE), ("odd", 100_003), ("small", 513)] {
            let path = directory.path().join(name);
            let file = File::create_new(&path).unwrap();
            let mut offset = 0;
            for piece in content.chunks(pieces) {
                write_at(&file, piece, offset).unwrap();
                offset += piece.len() as u64;
            }
            file.set_len(offset).unwrap();
            assert!(std::fs::read(&path).unwrap() == content, "{name}");
            assert!(file.metadata().unwrap().blocks() * 512 <= 4 * PIECE as u64, "{name}");
        }
    }

    /// Where the kernel knows streams and where it does not: a disk, and memory.
    #[test]
    fn a_large_content_comes_out_as_it_went_in() {
        let content: Vec<u8> =
            (0..120_000_u32).flat_map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect();
        for place in ["/var/tmp", "/dev/shm"] {
            let directory = tempfile::tempdir_in(place).unwrap();
            for (name, pieces) in [("whole", content.len()), ("even", STREAMED_BYTES), ("odd", STREAMED_BYTES + 4097)] {
                let path = directory.path().join(name);
                let file = File::create_new(&path).unwrap();
                for (number, piece) in content.chunks(pieces).enumerate() {
                    write_at(&file, piece, (number * pieces) as u64).unwrap();
                }
                assert!(std::fs::read(&path).unwrap() == content, "{place}: {name}");
            }
        }
    }

    #[test]
    fn a_whole_content_has_its_length_whatever_is_at_its_end() {
        const PIECE: usize = HOLE_BYTES;
        let directory = tempfile::tempdir().unwrap();
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            for last in [0, 1] {
                let mut content = vec![0; size];
                if let Some(byte) = content.last_mut() {
                    *byte = last;
                }
                let path = directory.path().join(format!("{size}-{last}"));
                write_all(&File::create_new(&path).unwrap(), &content).unwrap();
                assert!(std::fs::read(&path).unwrap() == content, "{size} {last}");
            }
        }
    }
}
