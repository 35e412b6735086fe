// store/src/batch.rs
//! Batches: many objects, one barrier, one transaction.
//!
//! ```text
//! add: write objects/ab/… where nothing is, else tmp/work-PID-N/0, 1, 2 …        (any number of threads)
//! commit: barrier over temporary files → rename them to objects/ab/… → barrier over files and directories → rows
//! ```
//!
//! Rows are the truth about `objects/`: a file without one is nobody's, whatever its name and content. So content whose digest is known
//! before it is written gets its own name at once, which saves a rename and a barrier for each batch. Only where a row speaks of that
//! name, where a file has it already (another process writes it, or a killed one left it), or where the digest is not known yet, a temporary name takes the
//! content, and is moved over at commit.
//!
//! A batch holds an epoch, so what it found to be present stays present, and gc leaves files without rows alone. A process that dies in the
//! middle leaves such files: the next gc removes them. Content that is there already is not written.

mod spot;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use recipes::Digest;
use rusqlite::params;
use rustix::fs::{Mode, OFlags};

pub(crate) use self::spot::Temporary;
use self::spot::{Pending, Shards, Spot, temporary_name};
use crate::Store;
use crate::actions::{self, ActionRow};
use crate::cas::{self, Variant};
use crate::ccs::Signature;
use crate::condemned;
use crate::copy::{self, How};
use crate::database::signed;
use crate::durable::{self, Dirty, Written};
use crate::error::StoreError;
use crate::hold::Hold;
use crate::manifest::Manifest;
use crate::object_writer::ObjectWriter;
use crate::place::Placement;
use crate::refs::Reference;
use crate::tree::Tree;
use crate::troves::{self, Prepared};
use crate::trust;
use crate::work::Work;

/// How long the kernel is left alone with what a batch adds while more comes: [`Batch::flush_during`].
const BETWEEN_FLUSHES: Duration = Duration::from_millis(60);

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// Files written.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Objects on their way into the store. Threads may share one; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Batch<'s> {
    pub(crate) store: &'s Store,
    work: Work,
    next: AtomicU64,
    pending: Mutex<HashMap<Digest, BTreeMap<Variant, Pending>>>,
    troves: Mutex<Vec<(Manifest, Vec<Signature>)>>,
    actions: Mutex<Vec<ActionRow>>,
    shards: Shards,
    /// Names that this batch took and wants no more.
    unwanted: Mutex<Vec<(Digest, Variant)>>,
    _hold: Hold,
}

impl Store {
    /// Begins a batch of objects.
    ///
    /// # Errors
    /// [`StoreError`]: the store was opened for reading only, cannot be written, or is being collected.
    pub fn batch(&self) -> Result<Batch<'_>, StoreError> {
        self.writable()?;
        let hold = self.hold()?;
        let work = Work::make(self)?;
        Ok(Batch {
            store: self,
            work,
            next: AtomicU64::new(0),
            pending: Mutex::default(),
            troves: Mutex::default(),
            actions: Mutex::default(),
            shards: Shards::new(),
            unwanted: Mutex::default(),
            _hold: hold,
        })
    }

    /// Keeps a tree as an object, durable on return, and returns its id.
    ///
    /// The objects of its files need not be there; [`Store::put_trove`] checks that.
    ///
    /// # Errors
    /// As [`Store::put_bytes`].
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest, StoreError> {
        self.put_bytes(&tree.encode())
    }

    /// Reads a tree, verified.
    ///
    /// # Errors
    /// As [`Store::read`], and [`StoreError::Tree`] when the object is not a tree.
    pub fn tree(&self, id: &Digest) -> Result<Tree, StoreError> {
        Tree::decode(&self.read(id)?).map_err(|source| StoreError::Tree { object: *id, source })
    }
}

impl Store {
    /// Puts a fresh file in the place of each of these files' variants, which have too many links.
    pub(crate) fn renew_variants(&self, files: &[Placement<'_>]) -> Result<(), StoreError> {
        let batch = self.batch()?;
        for file in files {
            if let Some(variant) = self.linkable(file) {
                batch.add_variant(file.object, &variant, file.size, file.attributes.xattrs)?;
            }
        }
        batch.commit().map(drop)
    }
}

impl<'s> Batch<'s> {
    /// Adds content; `mode` is what files of it are expected to have (`0o444` when none).
    ///
    /// # Errors
    /// [`StoreError`]: the store is full or cannot be written.
    pub fn add_bytes(&self, bytes: &[u8], mode: u32) -> Result<Digest, StoreError> {
        let object = Digest::blake3(*blake3::hash(bytes).as_bytes());
        self.add_hashed(&object, bytes, mode)?;
        Ok(object)
    }

    /// Adds a tree and returns its id.
    ///
    /// # Errors
    /// As [`Batch::add_bytes`].
    pub fn add_tree(&self, tree: &Tree) -> Result<Digest, StoreError> {
        self.add_bytes(&tree.encode(), cas::PLAIN_MODE)
    }

    /// Adds a trove, with its signatures as far as they are valid: it is recorded at commit, when what it is made of must be in this
    /// batch or in the store.
    pub fn add_trove(&self, manifest: Manifest, signatures: Vec<Signature>) {
        self.troves.lock().unwrap_or_else(PoisonError::into_inner).push((manifest, signatures));
    }

    /// Adds an action, which is recorded at commit: the troves that it gave must be in this batch or in the store.
    pub fn add_action(&self, action: ActionRow) {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner).push(action);
    }

    /// Adds content whose digest the caller has just computed from these bytes.
    pub(crate) fn add_hashed(&self, object: &Digest, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
        let size = bytes.len() as u64;
        if self.is_here(object, size)? {
            return Ok(());
        }
        let variant = Variant::of_mode(mode);
        self.fill_new(self.begin(object, &variant)?, object, variant, bytes)
    }

    /// Adds content that is known to be neither in this batch nor whole in the store; `replace` says that a row may speak of it.
    pub(crate) fn write_object(
        &self,
        object: &Digest,
        bytes: &[u8],
        mode: u32,
        replace: bool,
    ) -> Result<(), StoreError> {
        let variant = Variant::of_mode(mode);
        self.fill_new(self.begin_as(object, &variant, replace)?, object, variant, bytes)
    }

    /// Fills a new file with a content, and keeps it.
    pub(crate) fn fill_new(
        &self,
        file: Temporary<'_, '_>,
        object: &Digest,
        variant: Variant,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        copy::write_all(&file.file, bytes).map_err(self.failed("write"))?;
        self.keep(file, *object, variant, bytes.len() as u64, &BTreeMap::new())
    }

    /// Adds what a file holds from its current position to its end; returns its digest and size.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be read, or the store not written.
    pub fn add_file(&self, file: &mut File, mode: u32) -> Result<(Digest, u64), StoreError> {
        let mut writer = self.writer(mode);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return writer.finish(),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::io("read", "the file to add")(error)),
            };
            writer.push(&buffer[..read])?;
        }
    }

    /// Begins content that comes in pieces.
    #[must_use]
    pub fn writer(&self, mode: u32) -> ObjectWriter<'_, 's> {
        ObjectWriter::new(self, mode)
    }

    /// Adds one more variant of content that the store has, by reflink or copy.
    pub(crate) fn add_variant(
        &self,
        object: &Digest,
        variant: &Variant,
        size: u64,
        xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(), StoreError> {
        if self.has(object, variant) {
            return Ok(());
        }
        let file = self.begin(object, variant)?;
        self.fill(object, size, &file.file)?;
        self.keep(file, *object, variant.clone(), size, xattrs)
    }

    /// Fills a file with content that this batch added, or that the store has.
    fn fill(&self, object: &Digest, size: u64, to: &File) -> Result<(), StoreError> {
        if !self.is_coming(object) {
            return self.store.copy_object(object, size, to, How::Any);
        }
        copy::contents(&self.open_object(object)?, to, size, How::Any).map_err(self.failed("write"))
    }

    /// Reads content that this batch added, or that the store has, and checks that it is what its name says.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read(&self, object: &Digest) -> Result<Vec<u8>, StoreError> {
        if !self.is_coming(object) {
            return self.store.read(object);
        }
        let mut bytes = Vec::new();
        self.open_object(object)?.read_to_end(&mut bytes).map_err(self.failed("read"))?;
        let actual = Digest::blake3(*blake3::hash(&bytes).as_bytes());
        if actual != *object {
            let path = self.store.directory().join("objects");
            return Err(StoreError::Damaged { expected: *object, actual, path });
        }
        Ok(bytes)
    }

    /// Reads a tree that this batch added, or that the store has.
    pub(crate) fn tree(&self, id: &Digest) -> Result<Tree, StoreError> {
        Tree::decode(&self.read(id)?).map_err(|source| StoreError::Tree { object: *id, source })
    }

    /// Forgets the contents of this batch that nothing wants after all: they are neither made durable nor recorded.
    pub fn retain(&self, wanted: impl Fn(&Digest) -> bool) {
        let forgotten: Vec<_> = self.pending().extract_if(|object, _| !wanted(object)).collect();
        let mut names = self.unwanted();
        for (object, variants) in forgotten {
            for (variant, pending) in variants {
                match pending.spot {
                    Spot::Named => names.push((object, variant)),
                    Spot::Temporary(number) => self.remove_temporary(number),
                }
            }
        }
    }

    /// Says whether this batch added the content.
    pub(crate) fn is_coming(&self, object: &Digest) -> bool {
        self.pending().contains_key(object)
    }

    /// Says whether this batch added a variant of it.
    pub(crate) fn has(&self, object: &Digest, variant: &Variant) -> bool {
        self.pending().get(object).is_some_and(|found| found.contains_key(variant))
    }

    /// Finds the file of a variant that this batch added: a directory and a path below it.
    pub(crate) fn locate(&self, object: &Digest, variant: &Variant) -> Option<(BorrowedFd<'_>, String)> {
        let spot = self.pending().get(object)?.get(variant)?.spot;
        Some(match spot {
            Spot::Named => (self.store.objects(), cas::object_path(object, variant)),
            Spot::Temporary(number) => (self.work.directory(), temporary_name(number)),
        })
    }

    /// Opens an object that this batch added, or that was there before.
    ///
    /// # Errors
    /// As [`Store::open_object`].
    pub fn open_object(&self, object: &Digest) -> Result<File, StoreError> {
        let variant = self.pending().get(object).and_then(|found| found.keys().next().cloned());
        let Some((directory, path)) = variant.and_then(|variant| self.locate(object, &variant)) else {
            return self.store.open_object(object);
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, path, flags, Mode::empty());
        Ok(file.map_err(|error| self.failed("open")(error.into()))?.into())
    }

    /// Has the kernel write what was added so far, when that is much, so that the commit waits less. Promises nothing.
    ///
    /// # Errors
    /// [`StoreError::Io`]: something could not be written, and the batch must be given up.
    pub fn flush(&self) -> Result<(), StoreError> {
        if self.pending().len() < durable::SYNCFS_FROM {
            return Ok(());
        }
        durable::sync_file_system(self.work.directory()).map_err(self.failed("sync"))
    }

    /// Does what adds much, and has the kernel write meanwhile what was added so far: the disk works while the processors do.
    ///
    /// # Errors
    /// Those of `work`, and of [`Batch::flush`].
    pub fn flush_during<T, E: From<StoreError>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let flusher = scope.spawn(|| {
                loop {
                    thread::park_timeout(BETWEEN_FLUSHES);
                    if done.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    self.flush()?;
                }
            });
            let made = work();
            done.store(true, Ordering::Relaxed);
            flusher.thread().unpark();
            let flushed: Result<(), StoreError> =
                flusher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let made = made?;
            flushed?;
            Ok(made)
        })
    }

    /// Makes everything added so far durable and part of the store.
    ///
    /// # Errors
    /// [`StoreError`]; the store is then as it was before the batch.
    pub fn commit(self) -> Result<Committed, StoreError> {
        let mut pending: Vec<((Digest, Variant), Pending)> = self
            .pending()
            .iter()
            .flat_map(|(object, variants)| {
                variants.iter().map(move |(variant, pending)| ((*object, variant.clone()), *pending))
            })
            .collect();
        let troves = std::mem::take(&mut *self.troves.lock().unwrap_or_else(PoisonError::into_inner));
        let actions = std::mem::take(&mut *self.actions.lock().unwrap_or_else(PoisonError::into_inner));
        if pending.is_empty() && troves.is_empty() && actions.is_empty() {
            return Ok(Committed::default());
        }
        pending.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        self.record(&pending, &troves, &actions)?;
        self.pending().clear();
        let bytes = pending.iter().map(|(_, pending)| pending.size).sum();
        Ok(Committed { objects: pending.len() as u64, bytes })
    }

    /// Gives every file its name, makes files and names durable, and writes the rows about them.
    fn record(
        &self,
        pending: &[((Digest, Variant), Pending)],
        troves: &[(Manifest, Vec<Signature>)],
        actions: &[ActionRow],
    ) -> Result<(), StoreError> {
        let bytes: u64 = pending.iter().map(|(_, pending)| pending.size).sum();
        let dirty = if pending.len() >= durable::SYNCFS_FROM { Dirty::measure(bytes) } else { Dirty::Ours };
        let paths: Vec<String> =
            pending.iter().map(|((object, variant), _)| cas::object_path(object, variant)).collect();
        let temporary: Vec<(&str, u8, String)> = pending
            .iter()
            .zip(&paths)
            .filter_map(|(((object, _), pending), path)| match pending.spot {
                Spot::Named => None,
                Spot::Temporary(number) => Some((path.as_str(), object.as_bytes()[0], temporary_name(number))),
            })
            .collect();
        let mut files: Vec<Written<'_>> = temporary
            .iter()
            .map(|(_, _, name)| Written { directory: self.work.directory(), name: name.as_bytes() })
            .collect();
        durable::barrier(self.work.directory(), &files, dirty).map_err(self.failed("sync"))?;
        // From the first rename to the rows: gc would take the new file for the old one that a row speaks of.
        let _lease = self.store.lease()?;
        let troves: Vec<(Prepared<'_>, &[Signature])> = troves
            .iter()
            .map(|(manifest, signatures)| {
                Ok((self.store.prepare_trove_of(manifest, Some(self))?, signatures.as_slice()))
            })
            .collect::<Result<_, StoreError>>()?;
        let coming: HashSet<Digest> = troves.iter().map(|(trove, _)| trove.id).collect();
        let given = actions.iter().flat_map(|action| &action.troves).filter(|trove| !coming.contains(*trove));
        self.store.revive(&given.map(|trove| Reference::Trove(*trove)).collect::<Vec<_>>())?;
        for (path, byte, name) in &temporary {
            let shard = self.shards.get(self.store, *byte)?;
            durable::rename(self.work.directory(), name.as_str(), shard, &path[3..])
                .map_err(StoreError::io("name", self.store.directory().join("objects").join(path)))?;
        }
        files.clear();
        for (((object, _), pending), path) in pending.iter().zip(&paths) {
            if pending.spot == Spot::Named {
                let directory = self.shards.get(self.store, object.as_bytes()[0])?;
                files.push(Written { directory, name: &path.as_bytes()[3..] });
            }
        }
        files.extend(self.shards.used().map(|directory| Written { directory, name: b"." }));
        if self.shards.made.load(Ordering::Relaxed) {
            files.push(Written { directory: self.store.objects(), name: b"." });
        }
        durable::barrier(self.work.directory(), &files, dirty).map_err(self.failed("sync"))?;
        let recorded = self.store.database().write("record objects", |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO objects (digest, variant, size_bytes) VALUES (?, ?, ?)
                 ON CONFLICT DO UPDATE SET size_bytes = excluded.size_bytes",
            )?;
            for ((object, variant), Pending { size, .. }) in pending {
                insert.execute(params![object.as_bytes(), variant.to_string(), signed(*size)])?;
            }
            condemned::replaced(transaction, pending.iter().map(|((object, variant), _)| (object, variant)))?;
            for (trove, signatures) in &troves {
                troves::insert(transaction, trove)?;
                trust::insert_signatures(transaction, &trove.id, signatures)?;
            }
            actions.iter().try_for_each(|action| actions::insert(transaction, action))
        });
        if recorded.is_err() {
            // A transaction whose sync failed may stand in the log all the same, and be found there after a crash: the files stay. Where it
            // is not, they are nobody's, and gc's.
            self.pending().clear();
        }
        recorded
    }

    /// Says whether content is in this batch or whole in the store.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn is_here(&self, object: &Digest, size: u64) -> Result<bool, StoreError> {
        if self.is_coming(object) {
            return Ok(true);
        }
        self.store.is_whole(object, size)
    }

    /// Says whether content of this size may be in the store, so that it is worth hashing before copying.
    pub(crate) fn may_be_here(&self, size: u64) -> Result<bool, StoreError> {
        self.store.database().read("find objects of a size", |connection| {
            connection
                .prepare_cached("SELECT 1 FROM objects WHERE size_bytes = ? AND size_bytes >= 4194304 LIMIT 1")?
                .exists([signed(size)])
        })
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Digest, BTreeMap<Variant, Pending>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwanted(&self) -> MutexGuard<'_, Vec<(Digest, Variant)>> {
        self.unwanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> StoreError + use<> {
        StoreError::io(action, self.work.path())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut names = std::mem::take(&mut *self.unwanted());
        for (object, variants) in &*self.pending() {
            let named = variants.iter().filter(|(_, pending)| pending.spot == Spot::Named);
            names.extend(named.map(|(variant, _)| (*object, variant.clone())));
        }
        if !names.is_empty() {
            self.store.give_up_names(&names);
        }
    }
}
