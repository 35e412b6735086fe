// installer/src/apply/exchange.rs
//! One thing takes the place of another, also where the file system refuses an exchange.
//!
//! It is refused by file systems that know no flags of `renameat2` (`EINVAL`), and by an overlay for a directory that lies in a lower layer
//! (`EXDEV`). There the old thing goes first: a plain rename takes the name of a file, a directory is removed, and between its
//! removal and the rename nothing is at the path. A crash in between is found like any other: the staged thing is still to be moved in.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;
use store::durable;
use store::root_db::Kind;

use super::{Apply, Old, apply_error, is_same, strip_bits, unlink};
use crate::beneath;
use crate::decide::SAVE;
use crate::error::CommitError;
use crate::event::Warning;
use crate::paths;

impl Apply<'_> {
    /// Exchanges a staged thing with what is at the path.
    pub(super) fn move_in(
        &self,
        path: &[u8],
        temporary: &[u8],
        expected: Option<Old>,
        directory: &OwnedFd,
    ) -> Result<(), CommitError> {
        let name = paths::split(path).1;
        let fail = |source| apply_error("exchange", path, source);
        match durable::exchange(directory, temporary, directory, name) {
            Err(error) if is_refused(&error) => {
                if !self.told_no_exchange.replace(true) {
                    self.warn(Warning::NoExchange { path: path.to_vec() });
                }
                self.make_way(path, temporary, expected, directory)?;
                durable::rename(directory, temporary, directory, name).map_err(fail)
            }
            // The old thing went in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                durable::rename(directory, temporary, directory, name).map_err(fail)
            }
            other => other.map_err(fail),
        }
    }

    /// Brings what is at a path to where a plain rename may take its name.
    fn make_way(
        &self,
        path: &[u8],
        temporary: &[u8],
        expected: Option<Old>,
        directory: &OwnedFd,
    ) -> Result<(), CommitError> {
        let name = paths::split(path).1;
        let fail = |source| apply_error("make way at", path, source);
        let Some(old) = beneath::stat(directory, name).map_err(fail)? else {
            return Ok(());
        };
        if old.kind == Some(Kind::Directory) {
            return match unlink(directory, name, AtFlags::REMOVEDIR) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    self.move_aside(path, name, directory)
                }
                other => other.map_err(fail),
            };
        }
        let Some(expected) = expected.filter(|expected| is_same(expected.seen, old.seen())) else {
            return self.move_aside(path, name, directory);
        };
        if expected.strip {
            strip_bits(directory, name).map_err(fail)?;
        }
        let staged = beneath::stat(directory, temporary).map_err(fail)?;
        if staged.is_some_and(|staged| staged.kind == Some(Kind::Directory)) {
            unlink(directory, name, AtFlags::empty()).map_err(fail)?;
        }
        Ok(())
    }

    /// Gives something that nobody expected a name of its own beside the path.
    pub(super) fn move_aside(&self, path: &[u8], from: &[u8], directory: &OwnedFd) -> Result<(), CommitError> {
        let mut number = 0;
        loop {
            let suffix = if number == 0 { String::new() } else { format!(".{number}") };
            let to = [path, SAVE, suffix.as_bytes()].concat();
            match rename_noreplace(directory, from, paths::split(&to).1) {
                Ok(()) => {
                    self.warn(Warning::MovedAside { path: path.to_vec(), to });
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(apply_error("move aside", path, error)),
            }
        }
    }
}

/// Renames within a directory, to a name that must be free; where the file system cannot see to that itself, it is looked at before.
pub(super) fn rename_noreplace(directory: &OwnedFd, from: &[u8], to: &[u8]) -> io::Result<()> {
    let error = match durable::rename_noreplace(directory, from, directory, to) {
        Err(error) if is_refused(&error) => error,
        other => return other,
    };
    if beneath::stat(directory, to)?.is_some() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if is_elsewhere(&error) {
        return relocate(directory, from, directory, to);
    }
    durable::rename(directory, from, directory, to)
}

/// Moves something; of a directory that cannot be renamed, a new one takes over everything in it.
fn relocate(from_directory: &OwnedFd, from: &[u8], to_directory: &OwnedFd, to: &[u8]) -> io::Result<()> {
    match durable::rename_noreplace(from_directory, from, to_directory, to) {
        Err(error) if is_elsewhere(&error) => {}
        other => return other,
    }
    let old = beneath::open_directory(from_directory, from)?;
    let found = beneath::stat_open(&old)?;
    rustix::fs::mkdirat(to_directory, to, Mode::RWXU)?;
    let new = beneath::open_directory(to_directory, to)?;
    for child in beneath::names(&old)? {
        relocate(&old, &child, &new, &child)?;
    }
    // Only root may give away, and an ordinary user has nothing of others to give.
    match rustix::fs::fchown(&new, Some(Uid::from_raw(found.uid)), Some(Gid::from_raw(found.gid))) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    rustix::fs::fchmod(&new, Mode::from_raw_mode(found.mode))?;
    unlink(from_directory, from, AtFlags::REMOVEDIR)
}

/// Whether a file system does not do what `renameat2` was asked for here.
pub(super) fn is_refused(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    is_elsewhere(error) || Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// Whether it lies in a layer in which nothing can be renamed.
fn is_elsewhere(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::XDEV)
}
