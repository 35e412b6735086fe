// store/src/ingest.rs
//! From a directory to a tree: every file becomes an object.
//!
//! ```text
//! walk (one thread): names, stats, links, targets → files by directory
//! read (all cores):  open beneath → read and hash → write what the store lacks → compare stat
//! one barrier for everything → Tree
//! ```
//!
//! Names are resolved beneath the open directory, never through a symbolic link. A file that changes while it is
//! read is an error, not a tree that never was.

mod read;
mod walk;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use self::read::{Bench, Reader};
use self::walk::Walk;
use crate::Store;
use crate::batch::Batch;
use crate::error::{ErrorKind, StoreError};
use crate::event::{Listener, nobody};
use crate::tree::{Entry, Node, Tree, TreeError};

/// How many small files make a piece of work.
const CHUNK: usize = 64;

/// Files from this size on are a piece of work each.
const LARGE_BYTES: u64 = 1 << 20;

/// From how much on the disk works while files are still read.
const FLUSHED_BYTES: u64 = 16 << 20;

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
        walk.run()?;
        let Walk { mut entries, stats, .. } = walk;
        let links = hard_links(&entries, &stats);
        let size = |index: &usize| match entries[*index].node {
            Node::File { size, .. } => size,
            _ => 0,
        };
        let mut files: Vec<usize> =
            (0..entries.len()).filter(|index| stats[*index].is_some() && !links.contains_key(index)).collect();
        files.sort_by(|left, right| entries[*left].parent().cmp(&entries[*right].parent()));
        let (large, small): (Vec<usize>, Vec<usize>) = files.iter().partition(|index| size(index) >= LARGE_BYTES);
        // The largest go first, each by itself: whoever is left with one at the end lets the others wait.
        let mut jobs: Vec<&[usize]> = large.chunks(1).chain(small.chunks(CHUNK)).collect();
        jobs[..large.len()].sort_by_key(|job| std::cmp::Reverse(size(&job[0])));
        let reader = Reader {
            batch: self,
            top,
            entries: &entries,
            stats: &stats,
            xattrs: options.xattrs,
            events: options.events,
            cancel,
            clones: AtomicBool::new(true),
        };
        let take = || {
            let jobs = jobs.par_iter().with_max_len(1);
            jobs.map_init(Bench::default, |bench, files| reader.files(files, bench))
                .collect::<Result<Vec<_>, IngestError>>()
        };
        let taken = if files.iter().map(size).sum::<u64>() < FLUSHED_BYTES { take() } else { self.flush_during(take) }?;
        for (index, node, xattrs) in taken.into_iter().flatten() {
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

/// Makes a path of an entry's bytes, for messages.
pub(crate) fn shown(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let path = if path.is_empty() { b"." } else { path };
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}

fn check(cancel: &AtomicBool) -> Result<(), IngestError> {
    if cancel.load(Ordering::Relaxed) { Err(IngestError::Interrupted) } else { Ok(()) }
}
