// store/src/ingest/read.rs
//! Reading files into a batch.
//!
//! One thread takes some files at a time. Small ones are read and hashed one behind the other until a megabyte is gathered; then the
//! database is asked once what of it the store lacks, and only that is written. Large ones go through by themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use recipes::Digest;
use rustix::fs::{Mode, OFlags, Stat};

use super::{IngestError, attributes, check, open_beneath, shown};
use crate::batch::Batch;
use crate::cas::Variant;
use crate::copy::{self, How};
use crate::error::StoreError;
use crate::event::{Event, Listener};
use crate::need::Need;
use crate::tree::{Entry, Node};

/// Files up to this size are read into memory before anything is written; the database indexes larger ones by size.
const SMALL_BYTES: u64 = 4 << 20;

/// Files from this size on are cloned where the file system can share blocks.
const CLONE_BYTES: u64 = 64 << 10;

/// How much is gathered of small files before the store is asked about them.
const GATHER_BYTES: usize = 256 << 10;

/// How much of a large file is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Extended attributes by name.
pub(super) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A file that was taken: its place among the entries, what it is, and its attributes.
pub(super) type Taken = (usize, Node, Xattrs);

/// Reads files into a batch.
pub(super) struct Reader<'a, 's> {
    pub(super) batch: &'a Batch<'s>,
    pub(super) top: BorrowedFd<'a>,
    pub(super) entries: &'a [Entry],
    /// What each regular file was when it was found.
    pub(super) stats: &'a [Option<Stat>],
    pub(super) xattrs: bool,
    pub(super) events: Listener<'a>,
    pub(super) cancel: &'a AtomicBool,
    /// Whether blocks can be shared between this directory and the store, as far as is known.
    pub(super) clones: AtomicBool,
}

/// What one thread uses for files after files.
#[derive(Default)]
pub(super) struct Bench {
    buffer: Vec<u8>,
    /// How much of the buffer holds what was gathered.
    used: usize,
    gathered: Vec<Gathered>,
}

/// The content of a small file, in the buffer.
struct Gathered {
    object: Digest,
    mode: u32,
    place: Range<usize>,
}

impl Reader<'_, '_> {
    /// Takes files, which are given by their places among the entries, those of one directory together.
    pub(super) fn files(&self, files: &[usize], bench: &mut Bench) -> Result<Vec<Taken>, IngestError> {
        (bench.used, bench.gathered) = (0, Vec::new());
        let mut open: Option<(&[u8], OwnedFd)> = None;
        let mut taken = Vec::with_capacity(files.len());
        for &index in files {
            check(self.cancel)?;
            let entry = &self.entries[index];
            let parent = entry.parent().unwrap_or_default();
            let directory = match open.take() {
                Some((path, directory)) if path == parent => directory,
                _ => open_beneath(self.top, parent)?,
            };
            let stat = self.stats[index].as_ref().expect("because only regular files are read");
            let (node, xattrs) = self.file(&directory, entry, stat, bench)?;
            taken.push((index, node, xattrs));
            open = Some((parent, directory));
        }
        self.write_gathered(bench)?;
        Ok(taken)
    }

    /// Takes one file. It is the one that was found, and did not change meanwhile, or this fails.
    fn file(
        &self,
        directory: &OwnedFd,
        entry: &Entry,
        expected: &Stat,
        bench: &mut Bench,
    ) -> Result<(Node, Xattrs), IngestError> {
        let path = &entry.path;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, entry.file_name(), flags, Mode::empty());
        let file = File::from(file.map_err(IngestError::io("open", path))?);
        let size = u64::try_from(expected.st_size).unwrap_or(0);
        let object = if size < CLONE_BYTES || (size < SMALL_BYTES && !self.clones.load(Ordering::Relaxed)) {
            self.small(&file, size, entry, bench)?
        } else {
            self.large(&file, size, entry, bench)?
        };
        let xattrs = if self.xattrs { attributes(&file, path)? } else { BTreeMap::new() };
        let after = rustix::fs::fstat(&file).map_err(IngestError::io("examine", path))?;
        match object {
            Some(object) if same(expected, &after) => Ok((Node::File { object, size }, xattrs)),
            _ => Err(IngestError::Changed { path: shown(path) }),
        }
    }

    /// Gathers a file in memory; returns nothing when it is not as long as it was.
    fn small(
        &self,
        mut file: &File,
        size: u64,
        entry: &Entry,
        bench: &mut Bench,
    ) -> Result<Option<Digest>, IngestError> {
        // One byte more than expected shows a file that grew.
        let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
        if bench.used + room > GATHER_BYTES {
            self.write_gathered(bench)?;
        }
        let (begin, end) = (bench.used, bench.used + room);
        if bench.buffer.len() < end {
            bench.buffer.resize(end.max(GATHER_BYTES), 0);
        }
        let buffer = &mut bench.buffer[begin..end];
        let mut length = 0;
        while length < room {
            match file.read(&mut buffer[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = shown(&entry.path);
                    return Err(IngestError::Io { action: "read", path, source });
                }
            }
            // A regular file gives everything at once; asking again at the end is a call for nothing.
            if length as u64 == size {
                break;
            }
        }
        if length as u64 != size {
            return Ok(None);
        }
        let object = Digest::blake3(*blake3::hash(&buffer[..length]).as_bytes());
        bench.used += length;
        bench.gathered.push(Gathered { object, mode: entry.mode, place: begin..bench.used });
        (self.events)(Event::Hashed { bytes: size });
        Ok(Some(object))
    }

    /// Adds what was gathered, as far as the store lacks it.
    fn write_gathered(&self, bench: &mut Bench) -> Result<(), StoreError> {
        let objects: Vec<_> = bench.gathered.iter().map(|file| (file.object, file.place.len() as u64)).collect();
        let needs = self.batch.store.needs(&objects)?;
        for (file, need) in bench.gathered.drain(..).zip(needs) {
            if need != Need::Nothing && !self.batch.is_coming(&file.object) {
                let replace = need == Need::Replacement;
                self.batch.write_object(&file.object, &bench.buffer[file.place], file.mode, replace)?;
            }
        }
        bench.used = 0;
        Ok(())
    }

    /// Takes a large file by sharing its blocks, or in pieces.
    fn large(&self, file: &File, size: u64, entry: &Entry, bench: &mut Bench) -> Result<Option<Digest>, IngestError> {
        let batch = self.batch;
        let variant = Variant::of_mode(entry.mode);
        let nothing = BTreeMap::new();
        if self.clones.load(Ordering::Relaxed) {
            let temporary = batch.temporary()?;
            if copy::contents(file, &temporary.file, size, How::Reflink).is_ok() {
                // What was cloned cannot change any more, so its digest is right whatever happens to the file.
                let (object, length) = self.pieces(&temporary.file, entry, bench, |_, _| Ok(()))?;
                if length == size && !batch.is_here(&object, size)? {
                    batch.keep(temporary, object, variant, size, &nothing)?;
                }
                return Ok((length == size).then_some(object));
            }
            self.clones.store(false, Ordering::Relaxed);
            if size < SMALL_BYTES {
                return self.small(file, size, entry, bench);
            }
        }
        if batch.may_be_here(size)? {
            let (object, length) = self.pieces(file, entry, bench, |_, _| Ok(()))?;
            if length != size {
                return Ok(None);
            }
            if batch.is_here(&object, size)? {
                return Ok(Some(object));
            }
            (&*file).rewind().map_err(batch.failed("read again a file for"))?;
        }
        let temporary = batch.temporary()?;
        let (object, length) = self.pieces(file, entry, bench, |piece, offset| {
            copy::write_at(&temporary.file, piece, offset).map_err(batch.failed("write"))
        })?;
        if length != size {
            return Ok(None);
        }
        temporary.file.set_len(size).map_err(batch.failed("write"))?;
        if !batch.is_here(&object, size)? {
            batch.keep(temporary, object, variant, size, &nothing)?;
        }
        Ok(Some(object))
    }

    /// Reads a file in pieces, hashing them, and gives each with its offset to `each`; returns digest and length.
    fn pieces(
        &self,
        mut file: &File,
        entry: &Entry,
        bench: &mut Bench,
        mut each: impl FnMut(&[u8], u64) -> Result<(), StoreError>,
    ) -> Result<(Digest, u64), IngestError> {
        // The buffer is one for all files.
        self.write_gathered(bench)?;
        if bench.buffer.len() < PIECE_BYTES {
            bench.buffer.resize(PIECE_BYTES, 0);
        }
        let mut hasher = blake3::Hasher::new();
        let mut length = 0;
        loop {
            check(self.cancel)?;
            match file.read(&mut bench.buffer[..PIECE_BYTES]) {
                Ok(0) => break,
                Ok(read) => {
                    let piece = &bench.buffer[..read];
                    hasher.update(piece);
                    each(piece, length)?;
                    length += read as u64;
                    (self.events)(Event::Hashed { bytes: read as u64 });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let path = shown(&entry.path);
                    return Err(IngestError::Io { action: "read", path, source });
                }
            }
        }
        Ok((Digest::blake3(*hasher.finalize().as_bytes()), length))
    }
}

/// Says whether a file is still the one, with the content, that it was.
fn same(before: &Stat, after: &Stat) -> bool {
    let key = |stat: &Stat| {
        let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        (stat.st_dev, stat.st_ino, stat.st_mode, stat.st_size, times)
    };
    key(before) == key(after)
}
