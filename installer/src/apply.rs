// installer/src/apply.rs
//! After staging: the check, the steps themselves, and both ways of bringing a transaction to an end.
//!
//! Every function here may run again after a crash: each step looks whether it is done before it does anything. The table
//! of steps is in docs/design/transaction.md.

mod exchange;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;
use store::durable;
use store::root_db::{Kind, PathPrint};

use crate::beneath::{self, Beneath, Directories, Seen};
use crate::error::CommitError;
use crate::event::{Event, Warning};
use crate::journal::{Step, Touched};
use crate::paths;
use crate::plan::Take;
use crate::stage::sync_file_systems;

/// What a staged thing takes the place of.
#[derive(Debug, Clone, Copy)]
struct Old {
    /// What the check saw.
    seen: Seen,
    /// Whether a user's link to it must not keep its bits.
    strip: bool,
}

/// Where things are applied.
pub(crate) struct Apply<'a> {
    directories: Directories<'a>,
    root: &'a Beneath,
    events: &'a dyn Fn(Event),
    /// Paths at which something takes the place of something else: below them nothing old is left to take.
    replaced: HashSet<Vec<u8>>,
    /// Whether it was told that exchanges are refused here: once is enough.
    told_no_exchange: std::cell::Cell<bool>,
}

impl<'a> Apply<'a> {
    pub fn new(root: &'a Beneath, events: &'a dyn Fn(Event)) -> Self {
        let directories = Directories::new(root);
        Self { directories, root, events, replaced: HashSet::new(), told_no_exchange: std::cell::Cell::new(false) }
    }

    /// Checks, before the commit point, that everything is still what the plan saw, and that nobody has forbidden to change it.
    pub fn check(&mut self, steps: &[Step]) -> Result<(), CommitError> {
        for step in steps {
            let path = step.path();
            let (parent, name) = paths::split(path);
            let fail = |source| CommitError::Stage { action: "look at", path: path.to_vec(), source };
            let directory = self.directories.get(parent).map_err(fail)?;
            if !matches!(step, Step::Place { .. }) && beneath::is_frozen(&*directory, name).map_err(fail)? {
                return Err(CommitError::Frozen { path: path.to_vec() });
            }
            let seen = match step {
                Step::Place { .. } => None,
                Step::Replace { seen, .. } | Step::Take(Take::Remove { seen, .. } | Take::Save { seen, .. }) => {
                    Some(*seen)
                }
                Step::Take(Take::RemoveDirectory { .. } | Take::SetDirectory { .. }) => continue,
            };
            let found = beneath::stat(&*directory, name).map_err(fail)?.map(|found| found.seen());
            if found != seen {
                return Err(CommitError::Changed { path: path.to_vec() });
            }
        }
        Ok(())
    }

    /// Does every step that is not done.
    pub fn run(&mut self, steps: &[Step]) -> Result<(), CommitError> {
        let replaced = steps.iter().filter(|step| matches!(step, Step::Replace { .. }));
        self.replaced = replaced.map(|step| step.path().to_vec()).collect();
        for step in steps {
            match step {
                Step::Place { path, temporary, inode } => {
                    self.place(path, temporary, *inode, None)?;
                }
                Step::Replace { path, temporary, inode, seen, strip } => {
                    self.place(path, temporary, *inode, Some(Old { seen: *seen, strip: *strip }))?;
                }
                Step::Take(take) => self.take(take)?,
            }
        }
        Ok(())
    }

    /// Opens the directory of a path; none when it is gone.
    fn directory(&mut self, path: &[u8]) -> Result<Option<Arc<OwnedFd>>, CommitError> {
        let parent = paths::split(path).0;
        match self.directories.get(parent) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // A directory that has become a file or a link; anybody else's link in its place is an error.
            Err(error) if beneath::is_absence(&error) && self.is_replaced(parent) => Ok(None),
            Err(error) => Err(apply_error("open", parent, error)),
        }
    }

    fn is_replaced(&self, path: &[u8]) -> bool {
        let mut path = path;
        while !path.is_empty() {
            if self.replaced.contains(path) {
                return true;
            }
            path = paths::split(path).0;
        }
        false
    }

    /// Moves a staged thing to its place; what is there is kept at the temporary name, or aside if it is not `expected`.
    fn place(&mut self, path: &[u8], temporary: &[u8], inode: u64, expected: Option<Old>) -> Result<(), CommitError> {
        let name = paths::split(path).1;
        let fail = |action| move |source| apply_error(action, path, source);
        let Some(directory) = self.directory(path)? else {
            self.warn(Warning::Lost { path: path.to_vec() });
            return Ok(());
        };
        if expected.is_none() {
            // The usual case in one call; what it cannot do is looked at below.
            match durable::rename_noreplace(&*directory, temporary, &*directory, name) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if exchange::is_refused(&error) => {}
                Err(error) => return Err(fail("move into place")(error)),
            }
        }
        let look = |name| beneath::stat(&*directory, name).map_err(fail("look at"));
        let there = look(name)?;
        if there.is_none_or(|found| found.print.inode != inode) {
            let staged = look(temporary)?;
            if staged.is_none_or(|found| found.print.inode != inode) {
                self.warn(Warning::Lost { path: path.to_vec() });
                return Ok(());
            }
            self.move_in(path, temporary, expected, &directory)?;
        }
        // Whatever is at the temporary name now was at the path.
        let Some(old) = look(temporary)? else {
            return Ok(());
        };
        if expected.is_none_or(|expected| !is_same(expected.seen, old.seen())) {
            self.move_aside(path, temporary, &directory)?;
        }
        Ok(())
    }

    fn take(&mut self, take: &Take) -> Result<(), CommitError> {
        let path = take.path();
        let name = paths::split(path).1;
        let fail = |action| move |source: io::Error| apply_error(action, path, source);
        let Some(directory) = self.directory(path)? else {
            return Ok(());
        };
        let Some(found) = beneath::stat(&*directory, name).map_err(fail("look at"))? else {
            return Ok(());
        };
        match take {
            Take::Remove { seen, strip, .. } => {
                if !is_same(*seen, found.seen()) {
                    self.warn(Warning::LeftAlone { path: path.to_vec() });
                    return Ok(());
                }
                if *strip {
                    strip_bits(&directory, name).map_err(fail("take the set-id bits from"))?;
                }
                unlink(&directory, name, AtFlags::empty()).map_err(fail("remove"))
            }
            Take::Save { to, seen, .. } => {
                if !is_same(*seen, found.seen()) {
                    self.warn(Warning::LeftAlone { path: path.to_vec() });
                    return Ok(());
                }
                match exchange::rename_noreplace(&directory, name, paths::split(to).1) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.move_aside(path, name, &directory)
                    }
                    other => other.map_err(fail("move aside")),
                }
            }
            Take::RemoveDirectory { .. } => self.remove_directory(path, name, &directory),
            Take::SetDirectory { mode, uid, gid, .. } => {
                if found.kind != Some(Kind::Directory) {
                    return Ok(());
                }
                let inner = beneath::open_directory(&*directory, name).map_err(fail("open"))?;
                if (found.uid, found.gid) != (*uid, *gid) {
                    let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                    rustix::fs::fchown(&inner, uid, gid).map_err(|error| fail("give away")(error.into()))?;
                }
                rustix::fs::fchmod(&inner, Mode::from_raw_mode(*mode))
                    .map_err(|error| fail("set the mode of")(error.into()))
            }
        }
    }

    fn remove_directory(&self, path: &[u8], name: &[u8], directory: &OwnedFd) -> Result<(), CommitError> {
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::NOTDIR) => {
                self.warn(Warning::DirectoryKept { path: path.to_vec() });
                Ok(())
            }
            Err(error) => Err(apply_error("remove the directory", path, error.into())),
        }
    }

    /// Makes durable what was done in the directories of some paths.
    pub fn sync<'p>(&mut self, paths: impl Iterator<Item = &'p [u8]>) -> Result<(), CommitError> {
        let mut file_systems: BTreeMap<u64, Arc<OwnedFd>> = BTreeMap::new();
        let mut last: Option<&[u8]> = None;
        for path in paths {
            let parent = paths::split(path).0;
            if last == Some(parent) {
                continue;
            }
            last = Some(parent);
            if let Some(directory) = self.directory(path)? {
                let found = beneath::stat_open(&*directory).map_err(|source| apply_error("look at", parent, source))?;
                file_systems.entry(found.device).or_insert(directory);
            }
        }
        sync_file_systems(file_systems.values()).map_err(|source| apply_error("sync", b"", source))
    }

    /// Returns how the files at some paths look, so that an edit shows without reading them; none for what is not as it was put there.
    pub fn fingerprints<'p>(&mut self, paths: &'p [Vec<u8>]) -> Result<Vec<PathPrint<'p>>, CommitError> {
        let mut prints = Vec::with_capacity(paths.len());
        for path in paths {
            let Some(directory) = self.directory(path)? else {
                continue;
            };
            let found = beneath::stat(&*directory, paths::split(path).1)
                .map_err(|source| apply_error("look at", path, source))?;
            prints.push((path.as_slice(), found.and_then(|found| found.untouched())));
        }
        Ok(prints)
    }

    /// Removes what was exchanged out.
    pub fn clean_up(&mut self, steps: &[Step]) -> Result<(), CommitError> {
        for step in steps {
            let Step::Replace { path, temporary, strip, .. } = step else {
                continue;
            };
            let fail = |source| apply_error("clean up", path, source);
            let Some(directory) = self.directory(path)? else {
                continue;
            };
            let Some(old) = beneath::stat(&*directory, temporary).map_err(fail)? else {
                continue;
            };
            if old.kind == Some(Kind::Directory) {
                match unlink(&directory, temporary, AtFlags::REMOVEDIR) {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                        self.move_aside(path, temporary, &directory)?;
                    }
                    other => other.map_err(fail)?,
                }
                continue;
            }
            if *strip {
                strip_bits(&directory, temporary).map_err(fail)?;
            }
            unlink(&directory, temporary, AtFlags::empty()).map_err(fail)?;
        }
        Ok(())
    }

    fn warn(&self, warning: Warning) {
        (self.events)(Event::Warning(warning));
    }

    /// Removes every temporary name of a transaction that did not happen.
    pub fn roll_back(&mut self, number: i64, touched: &[Touched]) -> Result<(), CommitError> {
        let prefix = paths::temporary_prefix(number);
        for Touched { path, .. } in touched {
            let fail = |source| CommitError::Stage { action: "clean up in", path: path.clone(), source };
            let directory = match self.directories.get(path) {
                Ok(directory) => directory,
                Err(error) if beneath::is_absence(&error) => continue,
                Err(error) => return Err(fail(error)),
            };
            for name in beneath::names(&*directory).map_err(fail)? {
                if name.starts_with(&prefix) && paths::looks_temporary(&name) {
                    beneath::remove_all(directory.as_fd(), &name).map_err(fail)?;
                }
            }
        }
        self.restore_modes(touched, &[])?;
        // Nothing knows these names any more once the transaction is forgotten.
        let mut file_systems: BTreeMap<u64, Arc<OwnedFd>> = BTreeMap::new();
        for Touched { path, .. } in touched {
            let fail = |source| CommitError::Stage { action: "sync", path: path.clone(), source };
            match self.directories.get(path) {
                Ok(directory) => {
                    let found = beneath::stat_open(&*directory).map_err(fail)?;
                    file_systems.entry(found.device).or_insert(directory);
                }
                Err(error) if beneath::is_absence(&error) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        sync_file_systems(file_systems.values()).map_err(|source| CommitError::Stage {
            action: "sync",
            path: Vec::new(),
            source,
        })
    }

    /// Opens up directories of our own that we may not write in.
    pub fn open_up(&self, touched: &[Touched]) -> Result<(), CommitError> {
        for Touched { path, mode } in touched {
            if let Some(mode) = mode {
                self.set_mode(path, mode | 0o700)?;
            }
        }
        Ok(())
    }

    /// Gives opened-up directories their modes back, except those that `steps` give another.
    pub fn restore_modes(&self, touched: &[Touched], steps: &[Step]) -> Result<(), CommitError> {
        let set = |path: &[u8]| {
            steps.iter().any(|step| matches!(step, Step::Take(Take::SetDirectory { path: set, .. }) if set == path))
        };
        for Touched { path, mode } in touched.iter().rev() {
            if let Some(mode) = mode
                && !set(path)
            {
                self.set_mode(path, *mode)?;
            }
        }
        Ok(())
    }

    fn set_mode(&self, path: &[u8], mode: u32) -> Result<(), CommitError> {
        let fail = |source| CommitError::Stage { action: "set the mode of", path: path.to_vec(), source };
        match self.root.directory_if_present(path).map_err(fail)? {
            None => Ok(()),
            Some(directory) => {
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*directory));
                rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(|error| fail(error.into()))
            }
        }
    }
}

/// Compares a thing with what was seen, the inode number aside where an exchange may have changed it.
fn is_same(seen: Seen, now: Seen) -> bool {
    seen.size == now.size && seen.mtime_ns == now.mtime_ns
}

fn unlink(directory: &OwnedFd, name: &[u8], flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes from a file what a user's link to it must not keep.
fn strip_bits(directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let found = beneath::stat(directory, name)?;
    let Some(found) = found.filter(|found| found.kind == Some(Kind::File)) else {
        return Ok(());
    };
    if found.mode & 0o6000 != 0 {
        // The name is in a directory that we hold open, and is no link.
        let mode = Mode::from_raw_mode(found.mode & 0o1777);
        let file = match beneath::open_file(directory, name) {
            Ok(file) => file,
            // The user's own file without read permission; their own bits harm nobody.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(error),
        };
        rustix::fs::fchmod(&file, mode)?;
    }
    let Ok(file) = beneath::open_file(directory, name) else {
        return Ok(());
    };
    match rustix::fs::fremovexattr(&file, "security.capability") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn apply_error(action: &'static str, path: &[u8], source: io::Error) -> CommitError {
    CommitError::Apply { action, path: path.to_vec(), source }
}
