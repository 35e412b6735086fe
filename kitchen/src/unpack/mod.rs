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
mod tape;
mod zip;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use crate::beneath::{Beneath, EXECUTABLE_MODE, Obstacle, PLAIN_MODE};
use crate::shown::shown;
use decode::{Format, Halt};

/// How much an archive may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Members, of any kind.
    pub entries: u64,
    /// Decompressed bytes, headers included.
    pub bytes: u64,
    /// Decompressed bytes for one compressed byte, once more than `ratio_from_bytes` came out.
    pub ratio: u64,
    /// Up to this many decompressed bytes, no ratio is too high.
    pub ratio_from_bytes: u64,
    /// Names in one path.
    pub depth: usize,
    /// Bytes of one path, and of one link target.
    pub path_bytes: usize,
    /// What a decoder may need: the dictionary of xz, lzma and lzip, the window of zstd.
    pub decoder_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            bytes: 64 << 30,
            ratio: 1000,
            ratio_from_bytes: 1 << 30,
            depth: 128,
            path_bytes: 4095,
            decoder_memory_bytes: 256 << 20,
        }
    }
}

/// Which of the [`Limits`] was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::bytes`].
    Bytes,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::decoder_memory_bytes`].
    DecoderMemory,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Entries => "entries",
            Self::Bytes => "bytes when unpacked",
            Self::Ratio => "unpacked bytes for each packed one",
            Self::DecoderMemory => "bytes of memory for the decoder",
        })
    }
}

/// What an archive held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// The newest time of a member in seconds since 1970, of those between then and 2106.
    pub newest_mtime: Option<i64>,
    /// The first names of all paths, sorted bytewise.
    pub top_level: Vec<Vec<u8>>,
    /// The number of members.
    pub entries: u64,
    /// The bytes of all regular files.
    pub bytes: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The content is no archive.
    #[error("{file} is not an archive")]
    NotAnArchive {
        /// The archive's name.
        file: String,
    },
    /// The archive, or a member of it, is of a kind that is not read.
    #[error("{file} is or holds {what}, which is not supported")]
    Unsupported {
        /// The archive's name.
        file: String,
        /// The format, or the kind of member.
        what: String,
    },
    /// The archive is truncated or malformed.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The archive's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A member would have done harm.
    #[error("{file} holds {entry:?}, which is refused: {why}")]
    Refused {
        /// The archive's name.
        file: String,
        /// The member, made legible.
        entry: String,
        /// What it would have done.
        why: Refusal,
    },
    /// The archive asks for more than the limits allow.
    #[error("{file} is refused: more than {allowed} {bound}")]
    Limit {
        /// The archive's name.
        file: String,
        /// Which limit.
        bound: Bound,
        /// Its value.
        allowed: u64,
    },
    /// Reading the archive failed.
    #[error("cannot read {file}")]
    Read {
        /// The archive's name.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Writing a member failed.
    #[error("cannot unpack {entry:?} from {file}")]
    Write {
        /// The archive's name.
        file: String,
        /// The member, made legible.
        entry: String,
        /// Why.
        source: io::Error,
    },
    /// The caller cancelled.
    #[error("unpacking was interrupted")]
    Cancelled,
}

impl UnpackError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAnArchive { .. } => {
                "if the file is to stay as it is, set `extract = false` for it; if it should be an archive, look at what the server sent".to_owned()
            }
            Self::Unsupported { .. } => "repack it as tar and name that archive in the recipe".to_owned(),
            Self::Damaged { .. } => {
                "the digest matched, so the file is as its publisher made it or as it was pinned: check the recipe's checksum against upstream's".to_owned()
            }
            Self::Refused { .. } | Self::Limit { .. } => {
                "no release needs this: check where the archive comes from before using it".to_owned()
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space, or put the store on another file system with `--store`".to_owned()
            }
            Self::Read { .. } | Self::Write { .. } | Self::Cancelled => return None,
        })
    }
}

/// What a refused member would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its path is absolute.
    Absolute,
    /// Its path leads upwards with `..`.
    Parent,
    /// Its path or link target is empty.
    Empty,
    /// Its path or link target holds a NUL byte.
    Nul,
    /// A name in its path is longer than 255 bytes.
    NameTooLong,
    /// Its path or link target is longer than the limit.
    PathTooLong,
    /// Its path has more names than the limit.
    TooDeep,
    /// Its path leads through a symlink.
    ThroughSymlink,
    /// Its path leads through something that is no directory.
    UnderFile,
    /// Another kind of file stands at its path.
    OtherKind,
    /// It is a hard link, and what it names does not exist in the archive.
    LinkMissing,
    /// It is a hard link to something that is not a regular file.
    LinkToOther,
    /// It is a device, a FIFO or a socket.
    Special,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Absolute => "its path is absolute",
            Self::Parent => "its path leads upwards with `..`",
            Self::Empty => "its path or its target is empty",
            Self::Nul => "its path or its target holds a NUL byte",
            Self::NameTooLong => "a name in it is longer than 255 bytes",
            Self::PathTooLong => "its path or its target is too long",
            Self::TooDeep => "it lies too deep",
            Self::ThroughSymlink => "its path leads through a symlink",
            Self::UnderFile => "its path leads through a file",
            Self::OtherKind => "another kind of file is at its path",
            Self::LinkMissing => "it is a hard link to a file that is not there",
            Self::LinkToOther => "it is a hard link to something that is no regular file",
            Self::Special => "it is a device, a FIFO or a socket",
        })
    }
}

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

/// What a reader of one archive format hands its members to.
struct Sink<'a> {
    beneath: Beneath<'a>,
    limits: &'a Limits,
    /// Devices, FIFOs and sockets are passed over.
    pass_special: bool,
    /// The archive's name, made legible.
    file: String,
    top_level: BTreeSet<Vec<u8>>,
    done: Unpacked,
}

/// One member, as its format tells it.
struct Member {
    path: Vec<u8>,
    mtime: Option<i64>,
    kind: MemberKind,
}

/// What a member is. The content of a file follows from a reader.
enum MemberKind {
    Directory,
    File { size: u64, executable: bool },
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
    Special,
}

impl Sink<'_> {
    /// Makes one member; `content` gives the bytes of a file, which it must have exactly.
    fn add(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), UnpackError> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return Err(UnpackError::Limit {
                file: self.file.clone(),
                bound: Bound::Entries,
                allowed: self.limits.entries,
            });
        }
        let refused = |why| Self::refused(&self.file, &member.path, why);
        let path = normalise(&member.path, self.limits).map_err(refused)?;
        if let Some(mtime) = member.mtime.filter(|mtime| (1..=i64::from(u32::MAX)).contains(mtime)) {
            self.done.newest_mtime = self.done.newest_mtime.max(Some(mtime));
        }
        if path.is_empty() {
            // The directory itself, as `./`.
            return match member.kind {
                MemberKind::Directory => Ok(()),
                _ => Err(refused(Refusal::Empty)),
            };
        }
        let top = path.split(|byte| *byte == b'/').next().unwrap_or(&path);
        if !self.top_level.contains(top) {
            self.top_level.insert(top.to_vec());
        }
        let made = match &member.kind {
            MemberKind::Directory => self.beneath.directory(&path),
            MemberKind::File { size, executable } => {
                return self.add_file(member, &path, *size, *executable, content);
            }
            MemberKind::Symlink { target } => {
                check_target(target, self.limits).map_err(refused)?;
                self.beneath.symlink(&path, target)
            }
            MemberKind::HardLink { target } => {
                let target = normalise(target, self.limits).map_err(refused)?;
                self.beneath.hard_link(&path, &target)
            }
            MemberKind::Special if self.pass_special => return Ok(()),
            MemberKind::Special => return Err(refused(Refusal::Special)),
        };
        made.map_err(|obstacle| self.obstacle(&member.path, obstacle))
    }

    fn add_file(
        &mut self,
        member: &Member,
        path: &[u8],
        size: u64,
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let mut file = self.beneath.file(path).map_err(|obstacle| self.obstacle(&member.path, obstacle))?;
        let mut buffer = [0; 1 << 14];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = match content.read(&mut buffer[..wanted]) {
                Ok(0) => {
                    return Err(self.damaged(format!("it ends within {:?}", shown(&member.path))));
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_error(error)),
            };
            file.write_all(&buffer[..count]).map_err(|error| self.write_error(&member.path, error))?;
            left -= count as u64;
        }
        let mode = if executable { EXECUTABLE_MODE } else { PLAIN_MODE };
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
            .map_err(|error| self.write_error(&member.path, error.into()))?;
        self.done.bytes += size;
        Ok(())
    }

    fn refused(file: &str, path: &[u8], why: Refusal) -> UnpackError {
        UnpackError::Refused { file: file.to_owned(), entry: shown(path), why }
    }

    fn obstacle(&self, path: &[u8], obstacle: Obstacle) -> UnpackError {
        let why = match obstacle {
            Obstacle::Symlink => Refusal::ThroughSymlink,
            Obstacle::NotADirectory => Refusal::UnderFile,
            Obstacle::OtherKind => Refusal::OtherKind,
            Obstacle::NoTarget => Refusal::LinkMissing,
            Obstacle::TargetNotAFile => Refusal::LinkToOther,
            Obstacle::Io(source) => return self.write_error(path, source),
        };
        Self::refused(&self.file, path, why)
    }

    fn write_error(&self, path: &[u8], source: io::Error) -> UnpackError {
        UnpackError::Write { file: self.file.clone(), entry: shown(path), source }
    }

    fn damaged(&self, reason: impl Into<String>) -> UnpackError {
        UnpackError::Damaged { file: self.file.clone(), reason: reason.into() }
    }

    fn unsupported(&self, what: impl Into<String>) -> UnpackError {
        UnpackError::Unsupported { file: self.file.clone(), what: what.into() }
    }

    fn read_error(&self, error: io::Error) -> UnpackError {
        read_error(self.file.clone(), error)
    }
}

/// Tells our own stops, the operating system's errors and damaged data apart.
fn read_error(file: String, error: io::Error) -> UnpackError {
    match Halt::find(&error) {
        Some(Halt::Cancelled) => UnpackError::Cancelled,
        Some(Halt::Bound(bound, allowed)) => UnpackError::Limit { file, bound, allowed },
        None if error.raw_os_error().is_some() => UnpackError::Read { file, source: error },
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            UnpackError::Damaged { file, reason: "it ends too early".to_owned() }
        }
        None => UnpackError::Damaged { file, reason: shown(error.to_string().as_bytes()) },
    }
}

/// Brings a member's path into the one form that is used: names between single slashes; empty for `./`.
fn normalise(path: &[u8], limits: &Limits) -> Result<Vec<u8>, Refusal> {
    if path.is_empty() {
        return Err(Refusal::Empty);
    }
    if path.contains(&0) {
        return Err(Refusal::Nul);
    }
    if path.len() > limits.path_bytes {
        return Err(Refusal::PathTooLong);
    }
    if path[0] == b'/' {
        return Err(Refusal::Absolute);
    }
    let mut normal = Vec::with_capacity(path.len());
    let mut depth = 0;
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err(Refusal::Parent),
            name if name.len() > 255 => return Err(Refusal::NameTooLong),
            name => {
                if !normal.is_empty() {
                    normal.push(b'/');
                }
                normal.extend_from_slice(name);
            }
        }
        depth += 1;
        if depth > limits.depth {
            return Err(Refusal::TooDeep);
        }
    }
    Ok(normal)
}

fn check_target(target: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if target.is_empty() {
        Err(Refusal::Empty)
    } else if target.contains(&0) {
        Err(Refusal::Nul)
    } else if target.len() > limits.path_bytes {
        Err(Refusal::PathTooLong)
    } else {
        Ok(())
    }
}

/// Stops when the caller wants it.
fn check_cancel(cancel: &AtomicBool) -> Result<(), UnpackError> {
    if cancel.load(Ordering::Relaxed) { Err(UnpackError::Cancelled) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
