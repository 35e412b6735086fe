// store/src/batch.rs
//! Batches: many objects, one barrier, one transaction.
//!
//! ```text
//! add: hash, write tmp/batch-PID-N/0, 1, 2 …        (any number of threads)
//! commit: barrier over contents → rename to objects/ab/… → barrier over directories → rows
//! ```
//!
//! A batch holds a lease, so what it found to be present stays present. A process that dies in the
//! middle leaves files without rows: the temporary directory is removed by the next batch or gc, objects that were already named
//! by the next gc. Content that is there already is not written.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use recipes::Digest;
use rusqlite::params;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::Store;
use crate::cas::{self, Variant};
use crate::condemned;
use crate::copy::{self, How};
use crate::database::signed;
use crate::durable::{self, Dirty, Written};
use crate::error::StoreError;
use crate::hold::Hold;
use crate::place::Placement;
use crate::tree::Tree;
use crate::work::Work;

/// How much of a content in pieces is gathered before it is hashed and written.
const PIECE_BYTES: usize = 256 << 10;

/// How many files lie in one directory while they are written: a directory of thousands is searched for long, and its lock is
/// what threads wait for.
const TOGETHER: u64 = 64;

/// Returns where a file lies in the work directory while it is written.
fn temporary_name(number: u64) -> String {
    if number < TOGETHER { number.to_string() } else { format!("{}/{}", temporary_directory(number), number) }
}

/// Returns the directory inside the work directory that all but the first files lie in.
fn temporary_directory(number: u64) -> String {
    format!("d{}", number / TOGETHER)
}

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
    store: &'s Store,
    work: Work,
    next: AtomicU64,
    pending: Mutex<HashMap<Digest, BTreeMap<Variant, Pending>>>,
    _hold: Hold,
}

/// An object that is written and not yet in place.
#[derive(Debug, Clone, Copy)]
struct Pending {
    temporary: u64,
    size: u64,
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
        Ok(Batch { store: self, work, next: AtomicU64::new(0), pending: Mutex::default(), _hold: hold })
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

    /// Adds content whose digest the caller has just computed from these bytes.
    pub(crate) fn add_hashed(&self, object: &Digest, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
        let size = bytes.len() as u64;
        if self.is_here(object, size)? {
            return Ok(());
        }
        let mut temporary = self.temporary()?;
        temporary.file.write_all(bytes).map_err(self.failed("write"))?;
        self.keep(temporary, *object, Variant::of_mode(mode), size, &BTreeMap::new())
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
        ObjectWriter { batch: self, mode, hasher: blake3::Hasher::new(), buffer: Vec::new(), temporary: None, size: 0 }
    }

    /// Adds one more variant of content that the store has, by reflink or copy.
    pub(crate) fn add_variant(
        &self,
        object: &Digest,
        variant: &Variant,
        size: u64,
        xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let added = self.pending().get(object).is_some_and(|found| found.contains_key(variant));
        if added {
            return Ok(());
        }
        let temporary = self.temporary()?;
        self.store.copy_object(object, size, None, &temporary.file, How::Any)?;
        self.keep(temporary, *object, variant.clone(), size, xattrs)
    }

    /// Opens an object that this batch added, or that was there before.
    ///
    /// # Errors
    /// As [`Store::open_object`].
    pub fn open_object(&self, object: &Digest) -> Result<File, StoreError> {
        let pending =
            self.pending().get(object).and_then(|variants| variants.values().next().map(|pending| pending.temporary));
        let Some(number) = pending else {
            return self.store.open_object(object);
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.work.directory(), temporary_name(number), flags, Mode::empty());
        Ok(file.map_err(|error| self.failed("open")(error.into()))?.into())
    }

    /// Makes everything added so far durable and part of the store.
    ///
    /// # Errors
    /// [`StoreError`]; the store is then as it was before the batch.
    pub fn commit(self) -> Result<Committed, StoreError> {
        let pending = std::mem::take(&mut *self.pending());
        if pending.is_empty() {
            return Ok(Committed::default());
        }
        let mut pending: Vec<((Digest, Variant), Pending)> = pending
            .into_iter()
            .flat_map(|(object, variants)| {
                variants.into_iter().map(move |(variant, pending)| ((object, variant), pending))
            })
            .collect();
        pending.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let bytes: u64 = pending.iter().map(|(_, pending)| pending.size).sum();
        let dirty = if pending.len() >= durable::SYNCFS_FROM { Dirty::measure(bytes) } else { Dirty::Ours };
        let names: Vec<String> = pending.iter().map(|(_, pending)| temporary_name(pending.temporary)).collect();
        let files: Vec<Written<'_>> =
            names.iter().map(|name| Written { directory: self.work.directory(), name: name.as_bytes() }).collect();
        durable::barrier(self.work.directory(), &files, dirty).map_err(self.failed("sync"))?;
        // From the first name to its row: a file without a row is garbage to gc.
        let _lease = self.store.lease()?;
        let shards = self.name(&pending, &names)?;
        let directories: Vec<BorrowedFd<'_>> = shards.iter().map(AsFd::as_fd).collect();
        durable::barrier_directories(self.store.objects(), &directories, dirty).map_err(self.failed("sync"))?;
        self.store.database().write("record objects", |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO objects (digest, variant, size_bytes) VALUES (?, ?, ?)
                 ON CONFLICT DO UPDATE SET size_bytes = excluded.size_bytes",
            )?;
            for ((object, variant), Pending { size, .. }) in &pending {
                insert.execute(params![object.as_bytes(), variant.to_string(), signed(*size)])?;
            }
            condemned::replaced(transaction, pending.iter().map(|((object, variant), _)| (object, variant)))
        })?;
        Ok(Committed { objects: pending.len() as u64, bytes })
    }

    /// Moves the written files to their places; returns the directories that changed.
    fn name(&self, pending: &[((Digest, Variant), Pending)], names: &[String]) -> Result<Vec<OwnedFd>, StoreError> {
        let mut shards: Vec<OwnedFd> = Vec::new();
        let mut made_any = false;
        let mut current = None;
        for (((object, variant), _), name) in pending.iter().zip(names) {
            let byte = object.as_bytes()[0];
            if current != Some(byte) {
                let (directory, made) = self.store.shard(byte)?;
                shards.push(directory);
                made_any |= made;
                current = Some(byte);
            }
            let path = cas::object_path(object, variant);
            let Some(directory) = shards.last() else {
                continue;
            };
            durable::rename(self.work.directory(), name.as_str(), directory, &path[3..])
                .map_err(StoreError::io("name", self.store.directory().join("objects").join(&path)))?;
        }
        if made_any {
            let objects = self.store.objects().try_clone_to_owned();
            shards.push(objects.map_err(self.failed("open"))?);
        }
        Ok(shards)
    }

    /// Says whether content is in this batch or whole in the store.
    pub(crate) fn is_here(&self, object: &Digest, size: u64) -> Result<bool, StoreError> {
        if self.pending().contains_key(object) {
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

    /// Makes a new file in the work directory.
    pub(crate) fn temporary(&self) -> Result<Temporary<'_, 's>, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (directory, name) = (self.work.directory(), temporary_name(number));
        let mut file = durable::create(directory, name.as_str());
        if matches!(&file, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            match rustix::fs::mkdirat(directory, temporary_directory(number), Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => file = durable::create(directory, name.as_str()),
                Err(error) => file = Err(error.into()),
            }
        }
        let file = file.map_err(self.failed("make a file in"))?;
        Ok(Temporary { batch: self, number, file, kept: false })
    }

    /// Gives a written file what its variant says, and remembers it for the commit.
    pub(crate) fn keep(
        &self,
        mut temporary: Temporary<'_, '_>,
        object: Digest,
        variant: Variant,
        size: u64,
        xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let owner = variant.owner.or(self.work.give_to());
        copy::finish(&temporary.file, variant.mode, owner, xattrs).map_err(self.failed("finish a file in"))?;
        // Two threads may have added the same content at once; then this file is one too many and goes.
        if let Entry::Vacant(place) = self.pending().entry(object).or_default().entry(variant) {
            place.insert(Pending { temporary: temporary.number, size });
            temporary.kept = true;
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Digest, BTreeMap<Variant, Pending>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> StoreError + use<> {
        StoreError::io(action, self.work.path())
    }
}

/// A file being written in a batch's work directory; dropped before it is kept, it is removed.
#[derive(Debug)]
pub(crate) struct Temporary<'b, 's> {
    batch: &'b Batch<'s>,
    number: u64,
    pub(crate) file: File,
    kept: bool,
}

impl Drop for Temporary<'_, '_> {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is removed with the directory.
            let directory = self.batch.work.directory();
            let _ = rustix::fs::unlinkat(directory, temporary_name(self.number), AtFlags::empty());
        }
    }
}

/// Content of a batch that comes in pieces; dropped before [`ObjectWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct ObjectWriter<'b, 's> {
    batch: &'b Batch<'s>,
    mode: u32,
    hasher: blake3::Hasher,
    /// Not yet hashed, at most [`PIECE_BYTES`].
    buffer: Vec<u8>,
    /// Where everything hashed so far is, once there is any.
    temporary: Option<Temporary<'b, 's>>,
    size: u64,
}

impl ObjectWriter<'_, '_> {
    /// Ends the content and adds it to the batch; returns its digest and size.
    ///
    /// # Errors
    /// As [`Batch::add_bytes`].
    pub fn finish(mut self) -> Result<(Digest, u64), StoreError> {
        self.hasher.update(&self.buffer);
        let object = Digest::blake3(*self.hasher.finalize().as_bytes());
        let Some(mut temporary) = self.temporary.take() else {
            self.batch.add_hashed(&object, &self.buffer, self.mode)?;
            return Ok((object, self.size));
        };
        if !self.batch.is_here(&object, self.size)? {
            temporary.file.write_all(&self.buffer).map_err(self.batch.failed("write"))?;
            let variant = Variant::of_mode(self.mode);
            self.batch.keep(temporary, object, variant, self.size, &BTreeMap::new())?;
        }
        Ok((object, self.size))
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// As [`Batch::add_bytes`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PIECE_BYTES {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Hashes and writes what was gathered.
    fn spill(&mut self) -> Result<(), StoreError> {
        self.hasher.update(&self.buffer);
        let temporary = match &mut self.temporary {
            Some(temporary) => temporary,
            empty => empty.insert(self.batch.temporary()?),
        };
        temporary.file.write_all(&self.buffer).map_err(self.batch.failed("write"))?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for ObjectWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
