// installer/src/stage.rs
//! Staging: every new thing is made beside its target, before anything is changed.
//!
//! A new directory is made whole under one temporary name, so that moving it in is one rename however much it holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;
use store::durable::{self, Dirty, Written};
use store::place::{Attributes, Placement, Prepared, dress};
use store::root_db::FileRow;
use store::{Batch, Store, StoreError};

use crate::beneath::{self, Beneath, Directories};
use crate::decide::applied_mode;
use crate::error::CommitError;
use crate::event::{Event, Warning};
use crate::journal::{Step, Touched};
use crate::owners::Owners;
use crate::paths;
use crate::plan::{Ownership, Put, Take, What, Work};

/// From this many new things on, a barrier is one `syncfs`.
const SYNC_ALL_FROM: usize = 64;

/// What staging needs.
pub(crate) struct Stage<'a> {
    pub root: &'a Beneath,
    pub store: &'a Store,
    /// Who works.
    pub uid: u32,
    pub owners: Owners,
    pub cancel: &'a AtomicBool,
    pub events: &'a dyn Fn(Event),
}

/// How many files wait before they are placed, by several threads, and how many filled directories wait with them: each is open.
const FILES_TOGETHER: usize = 1024;
const DIRECTORIES_TOGETHER: usize = 128;

/// From this many files on, several threads are worth their start.
const THREADS_FROM: usize = 64;

/// A file that will be placed in a new directory.
struct Coming<'p> {
    object: &'p Digest,
    size: u64,
    share: bool,
    dress: Dress,
    directory: Arc<OwnedFd>,
    name: Vec<u8>,
}

/// Files that are to be placed, and the directories that are finished after them.
#[derive(Default)]
struct Queue<'p> {
    files: Vec<Coming<'p>>,
    directories: Vec<Filling>,
}

impl Queue<'_> {
    fn is_full(&self) -> bool {
        self.files.len() >= FILES_TOGETHER || self.directories.len() >= DIRECTORIES_TOGETHER
    }

    fn work_off(&mut self, store: &Store, prepared: &Prepared<'_>, steps: &mut [Step]) -> Result<(), CommitError> {
        let place = |file: &Coming<'_>| {
            let Coming { object, size, share, dress, directory, name } = file;
            let placement = Placement { object, size: *size, attributes: dress.attributes(), share: *share };
            store.place(&placement, prepared, directory.as_fd(), name).map(drop)
        };
        if self.files.len() < THREADS_FROM {
            self.files.iter().try_for_each(place)?;
        } else {
            self.files.par_iter().with_min_len(THREADS_FROM / 2).try_for_each(place)?;
        }
        self.files.clear();
        self.directories.drain(..).try_for_each(|directory| finish_directory(directory, steps))
    }
}

/// A new directory that is being filled.
struct Filling {
    path: Vec<u8>,
    directory: Arc<OwnedFd>,
    attributes: Dress,
    /// The step that moves it in, when it is not inside another new one.
    step: Option<(usize, Arc<OwnedFd>, Vec<u8>)>,
}

/// Where the first of each hard link group was made, by its path and trove.
type Groups = HashMap<(Vec<u8>, usize), (Arc<OwnedFd>, Vec<u8>)>;

/// Attributes that are to be applied.
struct Dress {
    mode: u32,
    owner: Option<(u32, u32)>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Dress {
    fn attributes(&self) -> Attributes<'_> {
        Attributes { mode: self.mode, owner: self.owner, xattrs: &self.xattrs }
    }
}

/// Returns the directories that exist and that a changeset works in.
pub(crate) fn touched(root: &Beneath, uid: u32, work: &Work) -> Result<Vec<Touched>, CommitError> {
    let made: HashSet<&[u8]> =
        work.puts.iter().filter(|put| put.what == What::Directory).map(|put| put.path.as_slice()).collect();
    let put = work.puts.iter().map(|put| paths::split(&put.path).0);
    let taken = work.takes.iter().filter(|take| !matches!(take, Take::SetDirectory { .. }));
    let taken = taken.map(|take| paths::split(take.path()).0);
    let mut directories: Vec<&[u8]> = put.chain(taken).filter(|path| !made.contains(path)).collect();
    directories.sort_unstable();
    directories.dedup();
    let mut touched = Vec::with_capacity(directories.len());
    for path in directories {
        let mut closed = None;
        if uid != 0 {
            let found = if path.is_empty() { beneath::stat_open(root.top()).map(Some) } else { root.stat(path) };
            let found = found.map_err(|source| stage_error("look at", path, source))?;
            closed = found.filter(|found| found.uid == uid && found.mode & 0o300 != 0o300).map(|found| found.mode);
        }
        touched.push(Touched { path: path.to_vec(), mode: closed });
    }
    Ok(touched)
}

impl Stage<'_> {
    /// Returns which owner, mode and attributes a new thing really gets.
    fn dress(&mut self, put: &Put) -> Dress {
        let root = self.uid == 0;
        let owner = match &put.owner {
            Ownership::Ids { uid, gid } => (*uid, *gid),
            Ownership::Names { owner, group } => (self.owners.user(owner), self.owners.group(group)),
        };
        let mut xattrs = put.xattrs.clone();
        if !root {
            xattrs.retain(|name, _| name.starts_with(b"user."));
        }
        Dress { mode: applied_mode(put.mode, root), owner: root.then_some(owner), xattrs }
    }

    /// Tells what of a new thing is left off.
    fn tell_left_off(&self, put: &Put, dress: &Dress) {
        let path = || put.path.clone();
        if dress.mode != put.mode {
            self.warn(Warning::NotApplied { path: path(), what: "set-id bits" });
        }
        if dress.xattrs.len() != put.xattrs.len() {
            self.warn(Warning::NotApplied { path: path(), what: "extended attributes" });
        }
    }

    fn warn(&self, warning: Warning) {
        (self.events)(Event::Warning(warning));
    }

    /// Makes the link variants that the new files need, in the batch that comes into the store with them.
    pub fn prepare<'b>(&mut self, batch: &'b Batch<'b>, puts: &[Put]) -> Result<Prepared<'b>, StoreError> {
        let mut dressed = Vec::new();
        for put in puts {
            if let What::File { object, size, private, .. } = &put.what {
                dressed.push((object, *size, !*private, self.dress(put)));
            }
        }
        batch.prepare(dressed.iter().map(|(object, size, share, dress)| Placement {
            object,
            size: *size,
            attributes: dress.attributes(),
            share: *share,
        }))
    }

    /// Stages everything; returns the steps of the journal in their order, and what is to be synced before they count.
    ///
    /// Fills in what is applied in the rows of `files`.
    pub fn run(
        &mut self,
        work: &Work,
        prepared: &Prepared<'_>,
        files: &mut [Vec<FileRow>],
    ) -> Result<(Vec<Step>, Unsynced), CommitError> {
        let mut directories = Directories::new(self.root);
        let mut filling: Vec<Filling> = Vec::new();
        let mut groups = Groups::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut written = Unsynced::default();
        let mut queue = Queue::default();
        for (count, put) in work.puts.iter().enumerate() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(CommitError::Interrupted);
            }
            if count % 256 == 0 {
                (self.events)(Event::Staging { done: count, total: work.puts.len() });
            }
            while filling.last().is_some_and(|last| !paths::is_below(&put.path, &last.path)) {
                queue.directories.extend(filling.pop());
            }
            if queue.is_full() {
                queue.work_off(self.store, prepared, &mut steps)?;
            }
            let dress = self.dress(put);
            self.tell_left_off(put, &dress);
            note_applied(put, &dress, self.uid, files);
            let (parent, last) = paths::split(&put.path);
            let (directory, name, step) = if let Some(top) = filling.last() {
                (Arc::clone(&top.directory), last.to_vec(), None)
            } else {
                let directory = directories.get(parent).map_err(|source| stage_error("open", parent, source))?;
                let name = paths::temporary_name(work.number, count);
                steps.push(empty_step(put, &name));
                (directory, name, Some(steps.len() - 1))
            };
            match &put.what {
                What::Directory => {
                    let fail = |source| stage_error("make the directory", &put.path, source);
                    rustix::fs::mkdirat(&*directory, name.as_slice(), Mode::RWXU)
                        .map_err(|error| fail(error.into()))?;
                    let made = beneath::open_directory(&*directory, &name).map_err(fail)?;
                    written.add(&directory, &name);
                    filling.push(Filling {
                        path: put.path.clone(),
                        directory: Arc::new(made),
                        attributes: dress,
                        step: step.map(|step| (step, directory, name)),
                    });
                    continue;
                }
                What::Symlink { target } => make_link(put, target, &directory, &name, &dress)?,
                What::File { object, size, private, group: None } if step.is_none() => {
                    written.add(&directory, &name);
                    queue.files.push(Coming { object, size: *size, share: !private, dress, directory, name });
                    continue;
                }
                What::File { .. } => self.file(put, prepared, &directory, &name, &dress, &mut groups)?,
            }
            written.add(&directory, &name);
            if let Some(step) = step {
                note_inode(&mut steps[step], &directory, &name)?;
            }
        }
        queue.directories.extend(filling.into_iter().rev());
        queue.work_off(self.store, prepared, &mut steps)?;
        Ok((in_order(steps, &work.takes, &work.puts), written))
    }

    fn file(
        &self,
        put: &Put,
        prepared: &Prepared<'_>,
        directory: &Arc<OwnedFd>,
        name: &[u8],
        dress: &Dress,
        groups: &mut Groups,
    ) -> Result<(), CommitError> {
        let What::File { object, size, private, group } = &put.what else {
            return Ok(());
        };
        let group =
            group.as_ref().map(|first| (first.clone(), put.rows.first().map_or(usize::MAX, |(trove, _)| *trove)));
        if let Some((first, first_name)) = group.as_ref().and_then(|group| groups.get(group)) {
            match durable::link(&**first, first_name.as_slice(), &**directory, name) {
                Ok(()) => return Ok(()),
                Err(error) => match Errno::from_io_error(&error) {
                    // Another file system, or too many links: a file of its own.
                    Some(Errno::XDEV | Errno::MLINK) => {}
                    _ => return Err(stage_error("link", &put.path, error)),
                },
            }
        }
        let placement = Placement { object, size: *size, attributes: dress.attributes(), share: !private };
        self.store.place(&placement, prepared, directory.as_fd(), name)?;
        if let Some(group) = group {
            groups.entry(group).or_insert_with(|| (Arc::clone(directory), name.to_vec()));
        }
        Ok(())
    }
}

/// Gives a filled directory its mode and owner.
fn finish_directory(filled: Filling, steps: &mut [Step]) -> Result<(), CommitError> {
    dress(&*filled.directory, &filled.attributes.attributes())
        .map_err(|source| stage_error("set mode and owner of", &filled.path, source))?;
    if let Some((step, parent, name)) = filled.step {
        note_inode(&mut steps[step], &parent, &name)?;
    }
    Ok(())
}

fn make_link(put: &Put, target: &[u8], directory: &OwnedFd, name: &[u8], dress: &Dress) -> Result<(), CommitError> {
    let fail = |source| stage_error("make the link", &put.path, source);
    rustix::fs::symlinkat(target, directory, name).map_err(|error| fail(error.into()))?;
    if let Some((uid, gid)) = dress.owner {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| fail(error.into()))?;
    }
    beneath::set_time(directory, name).map_err(fail)
}

/// Things that are not durable yet: few of them by name, or the file systems of many.
#[derive(Default)]
pub(crate) struct Unsynced {
    few: Vec<(Arc<OwnedFd>, Vec<u8>)>,
    count: usize,
    file_systems: BTreeMap<u64, Arc<OwnedFd>>,
    last: Option<Arc<OwnedFd>>,
}

impl Unsynced {
    fn add(&mut self, directory: &Arc<OwnedFd>, name: &[u8]) {
        self.count += 1;
        if self.count < SYNC_ALL_FROM {
            self.few.push((Arc::clone(directory), name.to_vec()));
        }
        let same = self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, directory));
        if !same {
            // A directory that cannot be looked at was opened a moment ago; the sync will say why.
            let device = beneath::stat_open(&**directory).map_or(0, |found| found.device);
            self.file_systems.entry(device).or_insert_with(|| Arc::clone(directory));
            self.last = Some(Arc::clone(directory));
        }
    }

    /// Makes it all durable.
    pub(crate) fn sync(&self) -> Result<(), CommitError> {
        self.barrier().map_err(|source| stage_error("sync", b"", source))
    }

    fn barrier(&self) -> io::Result<()> {
        if self.count >= SYNC_ALL_FROM {
            return sync_file_systems(self.file_systems.values());
        }
        let Some((any, _)) = self.few.first() else {
            return Ok(());
        };
        let mut files = Vec::new();
        for (directory, name) in &self.few {
            // A symbolic link cannot be opened; its directory's sync covers it.
            let link = beneath::stat(&**directory, name)?
                .is_some_and(|found| found.kind == Some(store::root_db::Kind::Symlink));
            if !link {
                files.push(Written { directory: directory.as_fd(), name });
            }
            files.push(Written { directory: directory.as_fd(), name: b"." });
        }
        durable::barrier(any.as_fd(), &files, Dirty::Shared)
    }
}

/// Makes durable what was done on some file systems.
pub(crate) fn sync_file_systems<'a>(directories: impl Iterator<Item = &'a Arc<OwnedFd>>) -> io::Result<()> {
    for directory in directories {
        durable::sync_file_system(beneath::open_directory(&**directory, b".")?)?;
    }
    Ok(())
}

fn note_applied(put: &Put, dress: &Dress, uid: u32, files: &mut [Vec<FileRow>]) {
    for (trove, at) in &put.rows {
        let row = &mut files[*trove][*at];
        row.applied_mode = dress.mode;
        (row.uid, row.gid) = dress.owner.unwrap_or((uid, row.gid));
    }
}

fn empty_step(put: &Put, temporary: &[u8]) -> Step {
    let (path, temporary) = (put.path.clone(), temporary.to_vec());
    match put.over {
        None => Step::Place { path, temporary, inode: 0 },
        Some(over) => Step::Replace { path, temporary, inode: 0, seen: over.seen, strip: over.strip },
    }
}

fn note_inode(step: &mut Step, directory: &OwnedFd, name: &[u8]) -> Result<(), CommitError> {
    let path = step.path().to_vec();
    let found = beneath::stat(directory, name).map_err(|source| stage_error("look at", &path, source))?;
    let found = found.ok_or_else(|| stage_error("stage", &path, io::ErrorKind::NotFound.into()))?;
    if let Step::Place { inode, .. } | Step::Replace { inode, .. } = step {
        *inode = found.print.inode;
    }
    Ok(())
}

/// Orders the steps: new things, then what goes, then directories that become something else, then modes.
fn in_order(steps: Vec<Step>, takes: &[Take], puts: &[Put]) -> Vec<Step> {
    let emptied: HashSet<&[u8]> =
        puts.iter().filter(|put| put.over.is_some_and(|over| over.directory)).map(|put| put.path.as_slice()).collect();
    let (late, mut ordered): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| emptied.contains(step.path()));
    let pick = |wanted: fn(&Take) -> bool| takes.iter().filter(move |take| wanted(take)).cloned().map(Step::Take);
    ordered.extend(pick(|take| matches!(take, Take::Remove { .. } | Take::Save { .. })));
    ordered.extend(pick(|take| matches!(take, Take::RemoveDirectory { .. })));
    ordered.extend(late);
    ordered.extend(pick(|take| matches!(take, Take::SetDirectory { .. })));
    ordered
}

fn stage_error(action: &'static str, path: &[u8], source: io::Error) -> CommitError {
    CommitError::Stage { action, path: path.to_vec(), source }
}
