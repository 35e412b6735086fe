// installer/src/stage.rs
//! Staging: every new thing is made beside its target, before anything is changed.
//!
//! A new directory is made whole under one temporary name, so that moving it in is one rename however much it holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use rayon::prelude::*;
use recipes::Digest;
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;
use store::durable::{self, Dirty, Written};
use store::place::{Attributes, Placement, Prepared, dress};
use store::root_db::{Applied, Fingerprint};
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
const FILES_TOGETHER: usize = 512;
const DIRECTORIES_TOGETHER: usize = 96;

/// From this many new things on, several threads are worth their start.
pub(crate) const THREADS_FROM: usize = 64;

/// A file that will be placed in a new directory.
struct Coming<'p> {
    /// Its place among the new things.
    put: usize,
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

/// What became of a queue.
#[derive(Default)]
struct Placed {
    /// How files look that are where they will be, by their places among the new things.
    prints: Vec<(usize, Fingerprint)>,
    /// Inode numbers of what steps move in.
    inodes: Vec<(usize, u64)>,
}

impl Queue<'_> {
    fn is_full(&self) -> bool {
        self.files.len() >= FILES_TOGETHER || self.directories.len() >= DIRECTORIES_TOGETHER
    }

    /// Places the files, and finishes directories that nothing will be added to.
    fn work_off(self, store: &Store, prepared: &Prepared<'_>) -> Result<Placed, CommitError> {
        let place = |file: &Coming<'_>| -> Result<Option<(usize, Fingerprint)>, CommitError> {
            let Coming { put, object, size, share, dress, directory, name } = file;
            let placement = Placement { object, size: *size, attributes: dress.attributes(), share: *share };
            store.place(&placement, prepared, directory.as_fd(), name)?;
            let found = beneath::stat(&**directory, name).map_err(|source| stage_error("look at", name, source))?;
            Ok(found.and_then(|found| found.untouched()).map(|print| (*put, print)))
        };
        let prints: Vec<_> = if self.files.len() < THREADS_FROM {
            self.files.iter().map(place).collect::<Result<_, _>>()?
        } else {
            self.files.par_iter().with_min_len(THREADS_FROM / 2).map(place).collect::<Result<_, _>>()?
        };
        let inodes: Vec<_> = self.directories.into_iter().map(finish_directory).collect::<Result<_, _>>()?;
        Ok(Placed { prints: prints.into_iter().flatten().collect(), inodes: inodes.into_iter().flatten().collect() })
    }
}

/// Queues that another thread works off, one at a time, while the next one is filled.
struct Ahead<'scope, 'env> {
    scope: &'scope rayon::Scope<'env>,
    store: &'env Store,
    prepared: &'env Prepared<'env>,
    sender: Sender<Result<Placed, CommitError>>,
    receiver: Receiver<Result<Placed, CommitError>>,
    is_busy: bool,
    all: Placed,
}

impl<'env> Ahead<'_, 'env> {
    /// Hands over a queue. The one before it is done then: what directories of this one hold may be in that one.
    fn begin(&mut self, queue: Queue<'env>) -> Result<(), CommitError> {
        self.wait()?;
        let (store, prepared, sender) = (self.store, self.prepared, self.sender.clone());
        self.is_busy = true;
        // Where nobody waits for the answer any more, something else has failed.
        self.scope.spawn(move |_| drop(sender.send(queue.work_off(store, prepared))));
        Ok(())
    }

    fn wait(&mut self) -> Result<(), CommitError> {
        if std::mem::take(&mut self.is_busy) {
            let placed = self.receiver.recv().expect("because a queue is answered for")?;
            self.note(placed);
        }
        Ok(())
    }

    fn note(&mut self, placed: Placed) {
        self.all.prints.extend(placed.prints);
        self.all.inodes.extend(placed.inodes);
    }

    /// Works off the last queue, here where it is small; returns what became of all of them.
    fn end(mut self, queue: Queue<'env>) -> Result<Placed, CommitError> {
        self.wait()?;
        let placed = queue.work_off(self.store, self.prepared)?;
        self.note(placed);
        Ok(self.all)
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
        let look = |source| stage_error("look at", path, source);
        if let Some(directory) = root.directory_if_present(path).map_err(look)?
            && beneath::is_frozen(&*directory, b"").map_err(look)?
        {
            return Err(CommitError::Frozen { path: path.to_vec() });
        }
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

    /// Stages everything.
    pub fn run(&mut self, work: &Work, prepared: &Prepared<'_>) -> Result<Laid, CommitError> {
        let mut laid = Laid {
            applied: work.files.iter().map(|files| files.iter().map(Applied::of).collect()).collect(),
            ..Laid::default()
        };
        let store = self.store;
        let placed = rayon::in_place_scope(|scope| {
            let (sender, receiver) = channel();
            let ahead = Ahead { scope, store, prepared, sender, receiver, is_busy: false, all: Placed::default() };
            self.lay_out(work, ahead, &mut laid)
        })?;
        for (step, number) in placed.inodes {
            if let Step::Place { inode, .. } | Step::Replace { inode, .. } = &mut laid.steps[step] {
                *inode = number;
            }
        }
        laid.note_prints(work, placed.prints);
        laid.steps = in_order(std::mem::take(&mut laid.steps), &work.takes, &work.puts);
        Ok(laid)
    }

    fn lay_out<'env>(
        &mut self,
        work: &'env Work,
        mut ahead: Ahead<'_, 'env>,
        laid: &mut Laid,
    ) -> Result<Placed, CommitError> {
        let mut directories = Directories::new(self.root);
        let mut filling: Vec<Filling> = Vec::new();
        let mut groups = Groups::new();
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
                ahead.begin(std::mem::take(&mut queue))?;
            }
            let dress = self.dress(put);
            self.tell_left_off(put, &dress);
            note_applied(put, &dress, self.uid, &mut laid.applied);
            let (parent, last) = paths::split(&put.path);
            let (directory, name, step) = if let Some(top) = filling.last() {
                (Arc::clone(&top.directory), last.to_vec(), None)
            } else {
                let directory = directories.get(parent).map_err(|source| stage_error("open", parent, source))?;
                let name = paths::temporary_name(work.number, count);
                laid.steps.push(empty_step(put, &name));
                (directory, name, Some(laid.steps.len() - 1))
            };
            match &put.what {
                What::Directory => {
                    let fail = |source| stage_error("make the directory", &put.path, source);
                    rustix::fs::mkdirat(&*directory, name.as_slice(), Mode::RWXU)
                        .map_err(|error| fail(error.into()))?;
                    let made = beneath::open_directory(&*directory, &name).map_err(fail)?;
                    laid.unsynced.add(&directory, &name);
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
                    laid.unsynced.add(&directory, &name);
                    let share = !private;
                    queue.files.push(Coming { put: count, object, size: *size, share, dress, directory, name });
                    continue;
                }
                What::File { .. } => {
                    self.file(put, ahead.prepared, &directory, &name, &dress, &mut groups)?;
                    if step.is_none() {
                        let found = beneath::stat(&*directory, &name);
                        let found = found.map_err(|source| stage_error("look at", &put.path, source))?;
                        let print = found.and_then(|found| found.untouched());
                        ahead.all.prints.extend(print.map(|print| (count, print)));
                    }
                }
            }
            laid.unsynced.add(&directory, &name);
            if let Some(step) = step {
                ahead.all.inodes.push((step, inode_of(&put.path, &directory, &name)?));
            }
        }
        queue.directories.extend(filling.into_iter().rev());
        ahead.end(queue)
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

/// Gives a filled directory its mode and owner; returns its inode number where a step moves it in.
fn finish_directory(filled: Filling) -> Result<Option<(usize, u64)>, CommitError> {
    dress(&*filled.directory, &filled.attributes.attributes())
        .map_err(|source| stage_error("set mode and owner of", &filled.path, source))?;
    match filled.step {
        Some((step, parent, name)) => Ok(Some((step, inode_of(&filled.path, &parent, &name)?))),
        None => Ok(None),
    }
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

fn note_applied(put: &Put, dress: &Dress, uid: u32, applied: &mut [Vec<Applied>]) {
    for (trove, at) in &put.rows {
        let one = &mut applied[*trove][*at];
        one.mode = dress.mode;
        (one.uid, one.gid) = dress.owner.unwrap_or((uid, one.gid));
    }
}

/// What was staged.
#[derive(Default)]
pub(crate) struct Laid {
    /// The steps of the journal in their order.
    pub steps: Vec<Step>,
    /// How each row of the arriving troves is applied.
    pub applied: Vec<Vec<Applied>>,
    /// Files that get their fingerprints when a step has moved them in.
    pub fresh: Vec<Vec<u8>>,
    /// What is to be synced before all this counts.
    pub unsynced: Unsynced,
}

impl Laid {
    /// Writes down how files look whose content is put as packaged, so that they can be known again.
    fn note_prints(&mut self, work: &Work, prints: Vec<(usize, Fingerprint)>) {
        // A file that is linked again looks changed from then on, wherever it was linked before.
        let mut latest: HashMap<u64, i64> = HashMap::new();
        for (_, print) in &prints {
            let at = latest.entry(print.inode).or_insert(print.ctime_ns);
            *at = print.ctime_ns.max(*at);
        }
        let mut by_put: Vec<Option<Fingerprint>> = vec![None; work.puts.len()];
        for (put, print) in prints {
            by_put[put] = Some(Fingerprint { ctime_ns: latest[&print.inode], ..print });
        }
        let moved: HashSet<&[u8]> = self.steps.iter().map(Step::path).collect();
        // What leaves may be links to the same files, which look changed once it has left.
        let leaves = work.puts.iter().any(|put| put.over.is_some())
            || work.takes.iter().any(|take| matches!(take, Take::Remove { .. }));
        for (put, print) in work.puts.iter().zip(by_put) {
            let (What::File { object, .. }, Some((trove, at))) = (&put.what, put.rows.first()) else {
                continue;
            };
            if work.files[*trove][*at].object != Some(*object) {
                continue;
            }
            if leaves || moved.contains(put.path.as_slice()) {
                self.fresh.push(put.path.clone());
            }
            for (trove, at) in &put.rows {
                self.applied[*trove][*at].fingerprint = print;
            }
        }
    }
}

fn empty_step(put: &Put, temporary: &[u8]) -> Step {
    let (path, temporary) = (put.path.clone(), temporary.to_vec());
    match put.over {
        None => Step::Place { path, temporary, inode: 0 },
        Some(over) => Step::Replace { path, temporary, inode: 0, seen: over.seen, strip: over.strip },
    }
}

fn inode_of(path: &[u8], directory: &OwnedFd, name: &[u8]) -> Result<u64, CommitError> {
    let found = beneath::stat(directory, name).map_err(|source| stage_error("look at", path, source))?;
    let found = found.ok_or_else(|| stage_error("stage", path, io::ErrorKind::NotFound.into()))?;
    Ok(found.print.inode)
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
