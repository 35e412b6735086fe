// installer/src/decide/disk.rs
//! What is on the disk, and whether it is what somebody put there.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use recipes::Digest;
use store::root_db::{Displaced, FileRow, Kind};

use super::{Decider, SAVE, applied_mode};
use crate::accounts;
use crate::beneath::{self, Found};
use crate::error::PlanError;
use crate::paths;

impl Decider<'_> {
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Option<Arc<OwnedFd>>, PlanError> {
        // The root is not changed while it is planned for: what is absent stays so, with all below it.
        let mut above = path;
        while !above.is_empty() {
            if self.absent.contains(above) {
                return Ok(None);
            }
            above = paths::split(above).0;
        }
        let found = self.directories.get_if_present(path).map_err(|source| io_error(path, source))?;
        if found.is_none() {
            self.absent.insert(path.to_vec());
        }
        Ok(found)
    }

    pub(super) fn look(&mut self, path: &[u8]) -> Result<Option<Found>, PlanError> {
        let (parent, name) = paths::split(path);
        match self.directory(parent)? {
            None => Ok(None),
            Some(directory) => beneath::stat(&*directory, name).map_err(|source| io_error(path, source)),
        }
    }

    pub(super) fn hash(&mut self, path: &[u8]) -> Result<Digest, PlanError> {
        let (parent, name) = paths::split(path);
        let missing = || io_error(path, io::ErrorKind::NotFound.into());
        let directory = self.directory(parent)?.ok_or_else(missing)?;
        let file = beneath::open_file(&*directory, name).map_err(|source| io_error(path, source))?;
        crate::hash::of_file(file).map_err(|source| io_error(path, source))
    }

    pub(super) fn link_target(&mut self, path: &[u8]) -> Result<Vec<u8>, PlanError> {
        let (parent, name) = paths::split(path);
        let missing = || io_error(path, io::ErrorKind::NotFound.into());
        let directory = self.directory(parent)?.ok_or_else(missing)?;
        beneath::read_link(&*directory, name).map_err(|source| io_error(path, source))
    }

    /// Whether a path holds what its row says was put there.
    pub(super) fn is_pristine(&mut self, path: &[u8], row: &FileRow, found: &Found) -> Result<bool, PlanError> {
        if found.kind != Some(row.kind) {
            return Ok(false);
        }
        match row.kind {
            Kind::Directory => Ok(true),
            Kind::Symlink => Ok(Some(self.link_target(path)?) == row.target),
            Kind::File => {
                if let Some(text) = self.without_hooks(path) {
                    return Ok(Some(Digest::blake3(*blake3::hash(&text).as_bytes())) == row.object);
                }
                if found.size != row.size {
                    return Ok(false);
                }
                if row.fingerprint == Some(found.print) {
                    return Ok(true);
                }
                Ok(Some(self.hash(path)?) == row.object)
            }
        }
    }

    /// Returns what an account file holds beside the lines of hooks; none for other files.
    fn without_hooks(&self, path: &[u8]) -> Option<Vec<u8>> {
        let place = accounts::FILES.iter().position(|file| *file == path)?;
        let text = self.scene.accounts.as_ref().and_then(|known| known.texts[place].as_ref());
        let lines = |text: &Vec<u8>| accounts::without(place, text, &self.scene.recorded);
        text.filter(|_| !self.scene.recorded.is_empty()).map(lines)
    }

    /// Whether something unowned is what a package would put there.
    pub(super) fn is_identical(&mut self, path: &[u8], row: &FileRow, found: &Found) -> Result<bool, PlanError> {
        let link = row.kind == Kind::Symlink;
        let root = self.scene.uid == 0;
        if found.kind != Some(row.kind)
            || (!link && found.mode != applied_mode(row.mode, root))
            || !row.xattrs.is_empty()
        {
            return Ok(false);
        }
        if root && (found.uid, found.gid) != (self.owners.user(&row.owner), self.owners.group(&row.group)) {
            return Ok(false);
        }
        self.is_pristine(path, row, found)
    }

    /// Whether a path holds a displaced thing again.
    pub(super) fn is_thing(&mut self, path: &[u8], thing: &Displaced, found: &Found) -> Result<bool, PlanError> {
        if found.kind != Some(thing.kind) {
            return Ok(false);
        }
        match thing.kind {
            Kind::Directory => Ok(true),
            Kind::Symlink => Ok(Some(self.link_target(path)?) == thing.target),
            Kind::File => Ok(found.size == thing.size && Some(self.hash(path)?) == thing.object),
        }
    }

    /// Returns a name beside `path` for something that is moved aside.
    pub(super) fn free_name(&mut self, path: &[u8]) -> Result<Vec<u8>, PlanError> {
        let mut name = [path, SAVE].concat();
        let mut number = 1;
        while self.look(&name)?.is_some() {
            name = [path, SAVE, format!(".{number}").as_bytes()].concat();
            number += 1;
        }
        Ok(name)
    }
}

/// Names a kind of thing for a message.
pub(super) fn noun(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Directory) => "directory",
        Some(Kind::File) => "file",
        Some(Kind::Symlink) => "symbolic link",
        None => "special file",
    }
}

pub(super) fn io_error(path: &[u8], source: io::Error) -> PlanError {
    PlanError::Io { path: path.to_vec(), source }
}
