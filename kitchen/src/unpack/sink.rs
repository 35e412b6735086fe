// kitchen/src/unpack/sink.rs
//! Members of any archive, checked and made beneath the directory.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Mode;

use super::decode::Halt;
use super::{Bound, Limits, Refusal, UnpackError, Unpacked};
use crate::beneath::{Beneath, EXECUTABLE_MODE, Obstacle, PLAIN_MODE};
use crate::shown::shown;

/// What a reader of one archive format hands its members to.
pub(super) struct Sink<'a> {
    pub(super) beneath: Beneath<'a>,
    pub(super) limits: &'a Limits,
    /// Devices, FIFOs and sockets are passed over.
    pub(super) pass_special: bool,
    /// The archive's name, made legible.
    pub(super) file: String,
    pub(super) top_level: BTreeSet<Vec<u8>>,
    pub(super) done: Unpacked,
}

/// One member, as its format tells it.
pub(super) struct Member {
    pub(super) path: Vec<u8>,
    pub(super) mtime: Option<i64>,
    pub(super) kind: MemberKind,
}

/// What a member is. The content of a file follows from a reader.
pub(super) enum MemberKind {
    Directory,
    File { size: u64, executable: bool },
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
    Special,
}

impl Sink<'_> {
    /// Makes one member; `content` gives the bytes of a file, which it must have exactly.
    pub(super) fn add(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), UnpackError> {
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

    pub(super) fn refused(file: &str, path: &[u8], why: Refusal) -> UnpackError {
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

    pub(super) fn damaged(&self, reason: impl Into<String>) -> UnpackError {
        UnpackError::Damaged { file: self.file.clone(), reason: reason.into() }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>) -> UnpackError {
        UnpackError::Unsupported { file: self.file.clone(), what: what.into() }
    }

    pub(super) fn read_error(&self, error: io::Error) -> UnpackError {
        read_error(self.file.clone(), error)
    }
}

/// Tells our own stops, the operating system's errors and damaged data apart.
pub(super) fn read_error(file: String, error: io::Error) -> UnpackError {
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
pub(super) fn check_cancel(cancel: &AtomicBool) -> Result<(), UnpackError> {
    if cancel.load(Ordering::Relaxed) { Err(UnpackError::Cancelled) } else { Ok(()) }
}
