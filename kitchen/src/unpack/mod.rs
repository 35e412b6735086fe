// kitchen/src/unpack/mod.rs
//! Unpacks an archive beneath one open directory.
//!
//! Read are tar (POSIX, GNU, pax and the old form), alone or compressed with gzip, bzip2, xz, lzma, lzip or
//! zstd, and zip. The content decides, never the name. Nothing here trusts an archive, also when its digest
//! is the one that the recipe names:
//!
//! - every path is resolved by the kernel below the directory, through no symlink (`beneath.rs`); `..`,
//!   absolute paths, NUL bytes and names that no file system takes are refused before that;
//! - symlinks are made with whatever target they have and never followed by anything here; hard links name a
//!   regular file that exists below the directory;
//! - a later member replaces an earlier one of the same path and kind, as in tar, and never one of another kind;
//! - devices, FIFOs and sockets are refused, setuid, setgid and sticky bits, owners and extended attributes are
//!   dropped: directories and executables are 0755, other files 0644;
//! - entries, bytes, the ratio of bytes out to bytes in, depth, lengths and decoder memory are bounded;
//! - an archive without its end marker is a truncated one; what follows the end marker is read, so that the
//!   compressed stream is checked to its end, and never interpreted, as tar does it.
//!
//! An archive that is refused half-way leaves what it had made: the caller throws the directory away.

mod decode;
mod error;
mod sink;
mod tape;
mod zip;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use crate::beneath::Beneath;
use crate::shown::shown;
use decode::Format;
use sink::{Sink, read_error};

pub use error::{Bound, Limits, Refusal, UnpackError, Unpacked};

/// Unpacks `archive` into the open directory `into`, which may hold files already.
///
/// `file_name` is for messages alone. Times are left as they come: [`set_times`] sets them once everything is
/// unpacked and patched. Nothing is synced: what is unpacked is working space.
///
/// # Errors
/// [`UnpackError`], at the first member that is refused; what was made until then stays.
pub fn unpack(
    archive: File,
    file_name: &str,
    into: BorrowedFd,
    limits: &Limits,
    cancel: &AtomicBool,
) -> Result<Unpacked, UnpackError> {
    unpack_kinds(archive, file_name, into, limits, false, cancel)
}

/// As [`unpack`], for the tarball of a whole root: its devices, FIFOs and sockets are passed over.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_root(
    archive: File,
    file_name: &str,
    into: BorrowedFd,
    limits: &Limits,
    cancel: &AtomicBool,
) -> Result<Unpacked, UnpackError> {
    unpack_kinds(archive, file_name, into, limits, true, cancel)
}

fn unpack_kinds(
    archive: File,
    file_name: &str,
    into: BorrowedFd,
    limits: &Limits,
    pass_special: bool,
    cancel: &AtomicBool,
) -> Result<Unpacked, UnpackError> {
    let file = shown(file_name.as_bytes());
    let mut sink = Sink {
        beneath: Beneath::new(into),
        limits,
        pass_special,
        file,
        top_level: BTreeSet::new(),
        done: Unpacked::default(),
    };
    let format = decode::head(&archive).map(|head| decode::sniff(&head)).map_err(|error| sink.read_error(error))?;
    io::Seek::rewind(&mut &archive).map_err(|error| sink.read_error(error))?;
    match format {
        Format::Unsupported(what) => {
            return Err(UnpackError::Unsupported { file: sink.file, what: format!("a {what} archive") });
        }
        Format::Zip => zip::unpack(archive, &mut sink, cancel)?,
        _ => {
            let input = decode::open(archive, format, limits, cancel).map_err(|error| sink.read_error(error))?;
            tape::unpack(input, &mut sink)?;
        }
    }
    sink.done.top_level = sink.top_level.into_iter().collect();
    Ok(sink.done)
}

/// Whether the content of `file` is an archive that [`unpack`] reads, by looking at its beginning.
///
/// A compressed file that holds no tar is not an archive: a patch that is gzipped stays a file.
///
/// # Errors
/// An I/O error when the file cannot be read.
pub fn is_archive(file: &File, limits: &Limits) -> io::Result<bool> {
    let head = decode::head(file)?;
    let format = decode::sniff(&head);
    match format {
        Format::Zip => return Ok(true),
        Format::Unsupported(_) => return Ok(false),
        _ => {}
    }
    let cancel = AtomicBool::new(false);
    let mut block = [0; tape::BLOCK];
    let mut file = file;
    io::Seek::rewind(&mut file)?;
    let Ok(mut input) = decode::open(file, format, limits, &cancel) else {
        return Ok(false);
    };
    Ok(input.read_exact(&mut block).is_ok() && tape::is_header(&block))
}

/// Decompresses `bytes` whole when they are in a compressed format, within `limits`; else gives them back.
///
/// # Errors
/// [`UnpackError`] for damage, and for more bytes than the limits allow.
pub fn decompress(
    bytes: Vec<u8>,
    file_name: &str,
    limits: &Limits,
    cancel: &AtomicBool,
) -> Result<Vec<u8>, UnpackError> {
    let file = || shown(file_name.as_bytes());
    match decode::sniff(&bytes) {
        Format::Plain => Ok(bytes),
        Format::Zip => Err(UnpackError::Unsupported { file: file(), what: "a zip archive".to_owned() }),
        Format::Unsupported(what) => Err(UnpackError::Unsupported { file: file(), what: format!("a {what} archive") }),
        format => {
            let mut content = Vec::new();
            decode::open(&bytes[..], format, limits, cancel)
                .and_then(|mut input| input.read_to_end(&mut content))
                .map_err(|error| read_error(file(), error))?;
            Ok(content)
        }
    }
}

/// What comes out of the compression of `file`, within `limits`; the file itself where it has none.
pub(crate) fn decompressed<'a>(file: File, limits: &Limits, cancel: &'a AtomicBool) -> io::Result<impl Read + use<'a>> {
    let format = decode::sniff(&decode::head(&file)?);
    io::Seek::rewind(&mut &file)?;
    decode::open(file, format, limits, cancel)
}

/// Sets the time of everything below `directory`, and its own, to `epoch_secs` since 1970.
///
/// Symlinks get it themselves and are not followed.
///
/// # Errors
/// An I/O error when something cannot be listed or changed.
pub fn set_times(directory: BorrowedFd, epoch_secs: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: epoch_secs, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let listing =
        rustix::fs::openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Named first, changed then: a listing that is read while it changes is not defined.
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&listing)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    for (name, kind) in names {
        let kind = match kind {
            FileType::Unknown => {
                FileType::from_raw_mode(rustix::fs::statat(&listing, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
            }
            known => known,
        };
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(&listing, &name, flags, Mode::empty())?;
            set_times(below.as_fd(), epoch_secs)?;
        } else {
            rustix::fs::utimensat(&listing, &name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(rustix::fs::futimens(&listing, &times)?)
}

#[cfg(test)]
mod tests;
