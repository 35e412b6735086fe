// store/src/ingest.rs
//! From a directory to a tree: every file becomes an object.
//!
//! ```text
//! walk (one thread): names, stats, links, targets → files by directory
//! read (all cores):  open beneath → compare stat → read, hash, write if new → compare stat again
//! one barrier for everything → Tree
//! ```
//!
//! Names are resolved beneath the open directory, never through a symbolic link. A file that changes while it is
//! read is an error, not a tree that never was.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::Store;
use crate::batch::Batch;
use crate::cas::Variant;
use crate::copy::{self, How};
use crate::error::{ErrorKind, StoreError};
use crate::event::{Event, Listener, nobody};
use crate::tree::{Entry, Node, Tree, TreeError};

/// Files up to this size are read into memory before anything is written; the database indexes larger ones by size.
const SMALL_BYTES: u64 = 4 << 20;

/// Files from this size on are cloned where the file system can share blocks.
const CLONE_BYTES: u64 = 64 << 10;

/// How many files of one directory make a piece of work.
const CHUNK: usize = 64;

/// How much of a sparse file must be zero to become a hole.
const HOLE_BYTES: usize = 64 << 10;

/// How much of a large file is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Something found on the way, for whoever decides about it.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Path below the directory.
    pub path: &'a [u8],
    /// Whether it is a directory; everything below one that is left out is left out too.
    pub is_directory: bool,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Device and inode, to find what was recorded about it elsewhere.
    pub inode: (u64, u64),
    /// Length of a regular file.
    pub size_bytes: u64,
}

/// What to do with something found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Take it, with the owner and group of the options.
    Keep,
    /// Leave it out.
    Exclude,
    /// Take it with this metadata.
    Replace {
        /// Permission bits.
        mode: u32,
        /// Owner by name.
        owner: String,
        /// Group by name.
        group: String,
    },
}

/// Decides about everything found.
pub type Decide<'a> = &'a dyn Fn(&Found<'_>) -> Decision;

/// How to take a directory into the store.
#[derive(Clone)]
pub struct IngestOptions<'a> {
    /// Owner of everything; the numbers on the disk are the builder's, and say nothing.
    pub owner: String,
    /// Group of everything.
    pub group: String,
    /// Permission bits that may stay, for directories and files.
    pub mode_mask: u32,
    /// Whether extended attributes are taken (`user.*` and `security.capability`).
    pub xattrs: bool,
    /// Looks at each thing found; `None` keeps everything.
    pub decide: Option<Decide<'a>>,
    /// Hears how much was hashed.
    pub events: Listener<'a>,
}

impl Default for IngestOptions<'_> {
    fn default() -> Self {
        Self {
            owner: "root".to_owned(),
            group: "root".to_owned(),
            mode_mask: 0o7777,
            xattrs: true,
            decide: None,
            events: &nobody,
        }
    }
}

/// A directory could not be taken into the store.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The system refused to read something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Path below the directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A thing that no package can hold.
    #[error("{} is a {what}, which a tree cannot hold", path.display())]
    Unsupported {
        /// Path below the directory.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file changed while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// Path below the directory.
        path: PathBuf,
    },
    /// What was found cannot be a tree.
    #[error("the directory cannot be kept as a tree")]
    Tree(#[source] TreeError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cancel flag was raised.
    #[error("interrupted")]
    Interrupted,
}

impl IngestError {
    fn io(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = shown(path);
        move |error| Self::Io { action, path, source: error.into() }
    }

    /// Returns what kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Unsupported { .. } | Self::Tree(_) => ErrorKind::Invalid,
            Self::Changed { .. } => ErrorKind::Other,
            Self::Store(error) => error.kind(),
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } if self.kind() == ErrorKind::Permission => {
                Some("make it readable for the user who runs this".to_owned())
            }
            Self::Unsupported { .. } => {
                Some("leave it out; device nodes, pipes and sockets are made when a system starts".to_owned())
            }
            Self::Changed { .. } => Some("wait until nothing writes there any more, then try again".to_owned()),
            Self::Tree(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Io { .. } | Self::Interrupted => None,
        }
    }
}

impl Store {
    /// Takes everything below an open directory into the store and returns its tree.
    ///
    /// Paths in the tree are relative to `directory`, sorted bytewise; the directory itself is no entry. Sizes are bytes.
    /// Files are durable on return, by one barrier; the tree is not yet kept, see [`Store::put_tree`].
    /// Hold a [`Store::lease`] until something refers to the objects. Times, and attributes other than `user.*` and
    /// `security.capability`, are not kept.
    ///
    /// # Errors
    /// [`IngestError::Unsupported`] for devices, pipes and sockets; [`IngestError::Changed`] if a file
    /// changed while it was read; nothing is kept then.
    pub fn ingest(
        &self,
        directory: impl AsFd,
        options: &IngestOptions<'_>,
        cancel: &AtomicBool,
    ) -> Result<Tree, IngestError> {
        let batch = self.batch()?;
        let tree = batch.ingest(directory, options, cancel)?;
        batch.commit()?;
        Ok(tree)
    }
}

impl Batch<'_> {
    /// Adds everything below an open directory to the batch; see [`Store::ingest`].
    ///
    /// # Errors
    /// As [`Store::ingest`]. The batch is to be dropped then.
    pub fn ingest(
        &self,
        directory: impl AsFd,
        options: &IngestOptions<'_>,
        cancel: &AtomicBool,
    ) -> Result<Tree, IngestError> {
        let top = directory.as_fd();
        let mut walk = Walk { top, options, cancel, entries: Vec::new(), stats: Vec::new() };
        walk.directory(Vec::new())?;
        let Walk { mut entries, stats, .. } = walk;
        let links = hard_links(&entries, &stats);
        let mut jobs: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if stats[index].is_some() && !links.contains_key(&index) {
                jobs.entry(entry.parent().unwrap_or_default()).or_default().push(index);
            }
        }
        let jobs: Vec<(&[u8], &[usize])> =
            jobs.iter().flat_map(|(parent, files)| files.chunks(CHUNK).map(|chunk| (*parent, chunk))).collect();
        let (xattrs, events) = (options.xattrs, options.events);
        let clones = AtomicBool::new(true);
        let reader = Reader { batch: self, xattrs, events, cancel, clones };
        let read = jobs
            .par_iter()
            .map_init(Vec::new, |buffer, (parent, files)| {
                let directory = open_beneath(top, parent)?;
                let read = |index: &usize| {
                    let file = reader.file(&directory, &entries[*index], stats[*index].as_ref(), buffer)?;
                    Ok((*index, file))
                };
                files.iter().map(read).collect::<Result<Vec<_>, IngestError>>()
            })
            .collect::<Result<Vec<_>, IngestError>>()?;
        for (index, (node, xattrs)) in read.into_iter().flatten() {
            entries[index].node = node;
            entries[index].xattrs = xattrs;
        }
        for (index, first) in links {
            let Entry { path, mode, owner, group, xattrs, .. } = entries[first].clone();
            let node = Node::Hardlink { first: path };
            let path = std::mem::take(&mut entries[index].path);
            entries[index] = Entry { path, mode, owner, group, xattrs, node };
        }
        Tree::new(entries).map_err(IngestError::Tree)
    }
}

/// The walk over names and stats.
struct Walk<'a> {
    top: BorrowedFd<'a>,
    options: &'a IngestOptions<'a>,
    cancel: &'a AtomicBool,
    entries: Vec<Entry>,
    /// For each entry that is a regular file, what it was when it was found.
    stats: Vec<Option<Stat>>,
}

impl Walk<'_> {
    /// Walks one directory and then those in it.
    fn directory(&mut self, top: Vec<u8>) -> Result<(), IngestError> {
        let mut waiting = vec![top];
        while let Some(path) = waiting.pop() {
            check(self.cancel)?;
            let directory = open_beneath(self.top, &path)?;
            if !path.is_empty() && self.options.xattrs {
                let xattrs = attributes(&directory, &path)?;
                // A directory's entry was added when its name was found.
                if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.path == path)
                    && !xattrs.is_empty()
                {
                    entry.xattrs = xattrs;
                }
            }
            for name in Dir::read_from(&directory).map_err(IngestError::io("read", &path))? {
                let name = name.map_err(IngestError::io("read", &path))?;
                let name = name.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                let mut inner = path.clone();
                if !inner.is_empty() {
                    inner.push(b'/');
                }
                inner.extend_from_slice(name);
                if self.entry(&directory, name, &inner)? {
                    waiting.push(inner);
                }
            }
        }
        Ok(())
    }

    /// Adds one name; says whether it is a directory to walk.
    fn entry(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> Result<bool, IngestError> {
        let stat =
            rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(IngestError::io("examine", path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let found = Found {
            path,
            is_directory: kind.is_dir(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            inode: (stat.st_dev, stat.st_ino),
            size_bytes: if kind.is_file() { size } else { 0 },
        };
        let decision = self.options.decide.map_or(Decision::Keep, |decide| decide(&found));
        let (mode, owner, group) = match decision {
            Decision::Exclude => return Ok(false),
            Decision::Keep => (found.mode, self.options.owner.clone(), self.options.group.clone()),
            Decision::Replace { mode, owner, group } => (mode, owner, group),
        };
        let mut mode = mode & 0o7777 & self.options.mode_mask;
        let node = match kind {
            FileType::Directory => Node::Directory,
            FileType::RegularFile => {
                // Filled in when the file is read.
                Node::File { object: Digest::blake3([0; 32]), size }
            }
            FileType::Symlink => {
                mode = 0o777;
                let target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(IngestError::io("read the link", path))?;
                Node::Symlink { target: target.into_bytes() }
            }
            other => {
                return Err(IngestError::Unsupported { path: shown(path), what: named(other) });
            }
        };
        let xattrs = BTreeMap::new();
        self.entries.push(Entry { path: path.to_vec(), mode, owner, group, xattrs, node });
        self.stats.push(kind.is_file().then_some(stat));
        Ok(kind.is_dir())
    }
}

/// Finds the entries that are further names of a file: each with the index of its bytewise first name.
fn hard_links(entries: &[Entry], stats: &[Option<Stat>]) -> HashMap<usize, usize> {
    let mut names: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
    for (index, stat) in stats.iter().enumerate() {
        if let Some(stat) = stat
            && stat.st_nlink > 1
        {
            names.entry((stat.st_dev, stat.st_ino)).or_default().push(index);
        }
    }
    let mut links = HashMap::new();
    for mut group in names.into_values() {
        group.sort_unstable_by(|left, right| entries[*left].path.cmp(&entries[*right].path));
        links.extend(group[1..].iter().map(|index| (*index, group[0])));
    }
    links
}

/// Extended attributes by name.
type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads files into a batch.
struct Reader<'a, 's> {
    batch: &'a Batch<'s>,
    xattrs: bool,
    events: Listener<'a>,
    cancel: &'a AtomicBool,
    /// Whether blocks can be shared between this directory and the store, as far as is known.
    clones: AtomicBool,
}

impl Reader<'_, '_> {
    fn file(
        &self,
        directory: &OwnedFd,
        entry: &Entry,
        expected: Option<&Stat>,
        buffer: &mut Vec<u8>,
    ) -> Result<(Node, Xattrs), IngestError> {
        check(self.cancel)?;
        let path = &entry.path;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, entry.file_name(), flags, Mode::empty());
        let file = File::from(file.map_err(IngestError::io("open", path))?);
        let changed = || IngestError::Changed { path: shown(path) };
        let before = rustix::fs::fstat(&file).map_err(IngestError::io("examine", path))?;
        if !expected.is_some_and(|expected| same(expected, &before)) {
            return Err(changed());
        }
        let size = u64::try_from(before.st_size).unwrap_or(0);
        let object = if size < CLONE_BYTES || (size < SMALL_BYTES && !self.clones.load(Ordering::Relaxed)) {
            self.small(&file, size, entry, buffer)?
        } else {
            self.large(&file, &before, entry, buffer)?
        };
        let xattrs = if self.xattrs { attributes(&file, path)? } else { BTreeMap::new() };
        let after = rustix::fs::fstat(&file).map_err(IngestError::io("examine", path))?;
        match object {
            Some(object) if same(&before, &after) => Ok((Node::File { object, size }, xattrs)),
            _ => Err(changed()),
        }
    }

    /// Reads a file into memory; returns nothing when it is not as long as it was.
    fn small(
        &self,
        mut file: &File,
        size: u64,
        entry: &Entry,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Digest>, IngestError> {
        // One byte more than expected shows a file that grew.
        let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let mut length = 0;
        while length < room {
            match file.read(&mut buffer[length..room]) {
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
        let bytes = &buffer[..length];
        let object = Digest::blake3(*blake3::hash(bytes).as_bytes());
        self.batch.add_hashed(&object, bytes, entry.mode)?;
        (self.events)(Event::Hashed { bytes: size });
        Ok(Some(object))
    }

    /// Takes a large file by sharing its blocks, or in pieces.
    fn large(
        &self,
        file: &File,
        stat: &Stat,
        entry: &Entry,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Digest>, IngestError> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let batch = self.batch;
        let variant = Variant::of_mode(entry.mode);
        let nothing = BTreeMap::new();
        if self.clones.load(Ordering::Relaxed) {
            let temporary = batch.temporary()?;
            if copy::contents(file, &temporary.file, size, How::Reflink).is_ok() {
                // What was cloned cannot change any more, so its digest is right whatever happens to the file.
                let (object, length) = self.pieces(&temporary.file, entry, buffer, |_| Ok(()))?;
                if length == size && !batch.is_here(&object, size)? {
                    batch.keep(temporary, object, variant, size, &nothing)?;
                }
                return Ok((length == size).then_some(object));
            }
            self.clones.store(false, Ordering::Relaxed);
            if size < SMALL_BYTES {
                return self.small(file, size, entry, buffer);
            }
        }
        if batch.may_be_here(size)? {
            let (object, length) = self.pieces(file, entry, buffer, |_| Ok(()))?;
            if length != size {
                return Ok(None);
            }
            if batch.is_here(&object, size)? {
                return Ok(Some(object));
            }
            (&*file).rewind().map_err(batch.failed("read again a file for"))?;
        }
        let temporary = batch.temporary()?;
        let holes = copy::is_sparse(stat);
        let mut out = &temporary.file;
        let (object, length) = self.pieces(file, entry, buffer, |piece| {
            let written = if holes {
                piece.chunks(HOLE_BYTES).try_for_each(|chunk| {
                    if chunk.iter().any(|byte| *byte != 0) {
                        return out.write_all(chunk);
                    }
                    out.seek_relative(chunk.len().cast_signed() as i64)
                })
            } else {
                out.write_all(piece)
            };
            written.map_err(batch.failed("write"))
        })?;
        if length != size {
            return Ok(None);
        }
        if holes {
            temporary.file.set_len(size).map_err(batch.failed("write"))?;
        }
        if !batch.is_here(&object, size)? {
            batch.keep(temporary, object, variant, size, &nothing)?;
        }
        Ok(Some(object))
    }

    /// Reads a file in pieces, hashing them; returns digest and length.
    fn pieces(
        &self,
        mut file: &File,
        entry: &Entry,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(Digest, u64), IngestError> {
        if buffer.len() < PIECE_BYTES {
            buffer.resize(PIECE_BYTES, 0);
        }
        let mut hasher = blake3::Hasher::new();
        let mut length = 0;
        loop {
            check(self.cancel)?;
            match file.read(&mut buffer[..PIECE_BYTES]) {
                Ok(0) => break,
                Ok(read) => {
                    let piece = &buffer[..read];
                    hasher.update(piece);
                    each(piece)?;
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

/// Opens a directory below `top`, never leaving it and never through a symbolic link.
pub(crate) fn open_beneath(top: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, IngestError> {
    open_directory_beneath(top, path).map_err(IngestError::io("open", path))
}

pub(crate) fn open_directory_beneath(top: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        // Another process's rename may disturb the check that nothing led out.
        match rustix::fs::openat2(top, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Reads the attributes that a tree holds.
pub(crate) fn attributes(file: impl AsFd, path: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, IngestError> {
    let file = file.as_fd();
    let mut names = [0_u8; 4096];
    let length = match rustix::fs::flistxattr(file, &mut names) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(BTreeMap::new()),
        Ok(length) => length,
        Err(error) => return Err(IngestError::io("read the attributes of", path)(error)),
    };
    let mut xattrs = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        let mut value = vec![0; crate::MAX_XATTR_BYTES];
        match rustix::fs::fgetxattr(file, name, value.as_mut_slice()) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(IngestError::io("read the attributes of", path)(error)),
        }
        xattrs.insert(name.to_vec(), value);
    }
    Ok(xattrs)
}

/// Says whether an attribute belongs to a tree; overlay file systems leave their own behind.
fn is_kept(name: &[u8]) -> bool {
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) || name == b"security.capability"
}

fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "thing of an unknown kind",
    }
}

/// Makes a path of an entry's bytes, for messages.
pub(crate) fn shown(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let path = if path.is_empty() { b"." } else { path };
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}

fn check(cancel: &AtomicBool) -> Result<(), IngestError> {
    if cancel.load(Ordering::Relaxed) { Err(IngestError::Interrupted) } else { Ok(()) }
}
