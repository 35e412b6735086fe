// store/src/checkout.rs
//! From a tree to a directory.
//!
//! ```text
//! prepare: the link variants that are missing, one barrier      (links only)
//! directories, parents first, mode 0700
//! files and symbolic links, all cores, by directory
//! further names of hard-linked files
//! directories, children first: attributes, owner, mode, time
//! ```
//!
//! Everything is made beneath the open directory and nothing that stands there is replaced. The result is not durable: who
//! needs it to survive a power cut asks for a barrier (`durable::sync_file_system`).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::Store;
use crate::copy::{self, EPOCH};
use crate::durable;
use crate::error::{ErrorKind, StoreError};
use crate::event::{Event, Listener, nobody};
use crate::ingest::{open_directory_beneath, shown};
use crate::place::{Attributes, LinkMode, Placed, Placement, Prepared, clones};
use crate::tree::{Entry, Node, Tree};

/// How many files of one directory make a piece of work.
const CHUNK: usize = 64;

/// A name to be turned into a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerName<'a> {
    /// A user.
    User(&'a str),
    /// A group.
    Group(&'a str),
}

/// Finds the number of a user or group.
pub type LookUp<'a> = &'a (dyn Fn(OwnerName<'_>) -> Option<u32> + Sync);

/// How to lay out a tree.
#[derive(Clone)]
pub struct CheckoutOptions<'a> {
    /// How files are brought out of the store.
    pub link_mode: LinkMode,
    /// Whether somebody will write to the files; they share no inode with the store then.
    pub editable: bool,
    /// Finds owners by name. Without it, and for everyone but root, everything belongs to the caller.
    pub owners: Option<LookUp<'a>>,
    /// Hears how much is laid out.
    pub events: Listener<'a>,
}

impl Default for CheckoutOptions<'_> {
    fn default() -> Self {
        Self { link_mode: LinkMode::Auto, editable: false, owners: None, events: &nobody }
    }
}

/// What a checkout did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckoutReport {
    /// Directories made.
    pub directories: u64,
    /// Symbolic links made.
    pub symlinks: u64,
    /// Files that are links to the store's.
    pub linked: u64,
    /// Files that share blocks with the store's.
    pub cloned: u64,
    /// Files of their own.
    pub copied: u64,
    /// Further names of files.
    pub hardlinks: u64,
    /// Variants of objects that the store did not have.
    pub variants: u64,
    /// Files that lost set-id bits or capabilities, because they belong to somebody else than the tree says.
    pub disarmed: u64,
}

/// A tree could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// Something stands where an entry belongs.
    #[error("{} is there already", path.display())]
    Exists {
        /// Path below the directory.
        path: PathBuf,
    },
    /// The system refused a step.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Path below the directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An owner has no number.
    #[error("no number is known for the owner or group `{name}` of {}", path.display())]
    UnknownOwner {
        /// Path below the directory.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cancel flag was raised.
    #[error("interrupted")]
    Interrupted,
}

impl CheckoutError {
    fn io(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = shown(path);
        move |error| match error {
            Errno::EXIST => Self::Exists { path },
            _ => Self::Io { action, path, source: error.into() },
        }
    }

    /// Returns what kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. } | Self::UnknownOwner { .. } => ErrorKind::Invalid,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Store(error) => error.kind(),
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("use an empty directory".to_owned()),
            Self::UnknownOwner { name, .. } => Some(format!("make the user or group `{name}` there first")),
            Self::Io { .. } => match self.kind() {
                ErrorKind::NoSpace => Some("free space there".to_owned()),
                _ => None,
            },
            Self::Store(error) => error.hint(),
            Self::Interrupted => None,
        }
    }
}

impl Store {
    /// Lays out a tree below an open directory, in which nothing of it may stand yet.
    ///
    /// Every entry gets [`EPOCH_SECS`](crate::EPOCH_SECS) as its time; the directory itself is left as it is.
    /// Not durable on return. After an error what was laid out so far is left for the caller to remove.
    ///
    /// # Errors
    /// [`CheckoutError::Exists`]; [`CheckoutError::UnknownOwner`]; the store's own when an object is missing or damaged.
    pub fn checkout(
        &self,
        tree: &Tree,
        into: impl AsFd,
        options: &CheckoutOptions<'_>,
        cancel: &AtomicBool,
    ) -> Result<CheckoutReport, CheckoutError> {
        let _hold = self.hold()?;
        let into = into.as_fd();
        let root = rustix::process::geteuid().is_root();
        let owners = match options.owners {
            Some(look_up) if root => resolve(tree, look_up)?,
            _ => HashMap::new(),
        };
        let layout = Layout {
            store: self,
            into,
            options,
            cancel,
            root,
            owners,
            linked: AtomicU64::new(0),
            cloned: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            disarmed: AtomicU64::new(0),
            crowded: Mutex::default(),
        };
        layout.run(tree)
    }
}

/// Numbers of the owners of a tree by user and group name.
type Owners<'a> = HashMap<(&'a str, &'a str), (u32, u32)>;

/// Finds the numbers of all owners of a tree before anything is made.
fn resolve<'a>(tree: &'a Tree, look_up: LookUp<'_>) -> Result<Owners<'a>, CheckoutError> {
    let mut owners = Owners::new();
    for entry in tree.entries() {
        let names = (entry.owner.as_str(), entry.group.as_str());
        if owners.contains_key(&names) {
            continue;
        }
        let unknown = |name: &str| CheckoutError::UnknownOwner { path: shown(&entry.path), name: name.to_owned() };
        let user = look_up(OwnerName::User(names.0)).ok_or_else(|| unknown(names.0))?;
        let group = look_up(OwnerName::Group(names.1)).ok_or_else(|| unknown(names.1))?;
        owners.insert(names, (user, group));
    }
    Ok(owners)
}

/// A checkout under way.
struct Layout<'a> {
    store: &'a Store,
    into: BorrowedFd<'a>,
    options: &'a CheckoutOptions<'a>,
    cancel: &'a AtomicBool,
    root: bool,
    /// Empty when everything belongs to the caller.
    owners: Owners<'a>,
    linked: AtomicU64,
    cloned: AtomicU64,
    copied: AtomicU64,
    disarmed: AtomicU64,
    /// Entries whose variant has too many links.
    crowded: Mutex<Vec<usize>>,
}

impl Layout<'_> {
    fn run(&self, tree: &Tree) -> Result<CheckoutReport, CheckoutError> {
        let entries = tree.entries();
        let (prepared, variants) = self.prepare(entries)?;
        let mut report = CheckoutReport { variants, ..Default::default() };
        let mut jobs: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        let mut links = Vec::new();
        let mut parent = Parent::new(self.into);
        for (index, entry) in entries.iter().enumerate() {
            match &entry.node {
                Node::Directory => {
                    self.check()?;
                    let directory = parent.open(entry)?;
                    rustix::fs::mkdirat(directory, entry.file_name(), Mode::RWXU)
                        .map_err(CheckoutError::io("make the directory", &entry.path))?;
                    report.directories += 1;
                }
                Node::Hardlink { first } => links.push((entry, first)),
                Node::File { .. } | Node::Symlink { .. } => {
                    report.symlinks += u64::from(matches!(entry.node, Node::Symlink { .. }));
                    jobs.entry(entry.parent().unwrap_or_default()).or_default().push(index);
                }
            }
        }
        let jobs: Vec<(&[u8], &[usize])> =
            jobs.iter().flat_map(|(parent, files)| files.chunks(CHUNK).map(|chunk| (*parent, chunk))).collect();
        jobs.par_iter().try_for_each(|(parent, files)| self.chunk(entries, parent, files, &prepared))?;
        for (entry, first) in &links {
            self.hardlink(entry, first, &mut parent)?;
        }
        for entry in entries.iter().rev().filter(|entry| entry.node == Node::Directory) {
            self.finish_directory(entry)?;
        }
        report.hardlinks = links.len() as u64;
        report.linked = self.linked.load(Ordering::Relaxed);
        report.cloned = self.cloned.load(Ordering::Relaxed);
        report.copied = self.copied.load(Ordering::Relaxed);
        report.disarmed = self.disarmed.load(Ordering::Relaxed);
        self.renew(entries)?;
        Ok(report)
    }

    /// Makes the variants that will be linked, when links will be made.
    fn prepare(&self, entries: &[Entry]) -> Result<(Prepared<'static>, u64), CheckoutError> {
        let links = match self.options.link_mode {
            LinkMode::Hardlink => true,
            LinkMode::Auto => self.same_file_system() && !self.clones(entries),
            LinkMode::Reflink | LinkMode::Copy => false,
        };
        if !links || self.options.editable || self.store.is_read_only() {
            return Ok((Prepared::default(), 0));
        }
        let dressed: Vec<_> = entries.iter().map(|entry| self.dress(entry)).collect();
        let files: Vec<Placement<'_>> =
            entries.iter().zip(&dressed).filter_map(|(entry, dressed)| self.placement(entry, dressed)).collect();
        Ok(self.store.prepare(&files)?)
    }

    /// Says whether the store's file system can share blocks, trying it once.
    fn clones(&self, entries: &[Entry]) -> bool {
        let known = self.store.clones.load(Ordering::Relaxed);
        if known != clones::UNKNOWN || self.store.is_read_only() {
            return known == clones::YES;
        }
        let tried = entries.iter().find_map(|entry| match entry.node {
            Node::File { object, size } if size > 0 => Some(self.store.try_clone(&object, size)),
            _ => None,
        });
        tried.unwrap_or(false)
    }

    fn same_file_system(&self) -> bool {
        match (rustix::fs::fstat(self.into), rustix::fs::fstat(self.store.objects())) {
            (Ok(into), Ok(objects)) => into.st_dev == objects.st_dev,
            _ => false,
        }
    }

    /// Lays out files and symbolic links of one directory.
    fn chunk(
        &self,
        entries: &[Entry],
        parent: &[u8],
        files: &[usize],
        prepared: &Prepared<'_>,
    ) -> Result<(), CheckoutError> {
        self.check()?;
        let directory = open_directory_beneath(self.into, parent).map_err(CheckoutError::io("open", parent))?;
        for index in files {
            let entry = &entries[*index];
            if let Node::Symlink { target } = &entry.node {
                self.symlink(entry, target, &directory)?;
                continue;
            }
            let dressed = self.dress(entry);
            let Some(file) = self.placement(entry, &dressed) else {
                continue;
            };
            if file.size > 1 << 20 {
                self.check()?;
            }
            self.disarmed.fetch_add(u64::from(dressed.disarmed), Ordering::Relaxed);
            let mode = self.options.link_mode;
            let placed = self.store.place_as(&file, mode, prepared, directory.as_fd(), entry.file_name());
            let count = match placed.map_err(|error| in_place(error, entry))? {
                Placed::Linked => &self.linked,
                Placed::Cloned => &self.cloned,
                Placed::Copied => &self.copied,
                Placed::CopiedForLinks => {
                    self.crowded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(*index);
                    &self.copied
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        (self.options.events)(Event::Placed { entries: files.len() as u64 });
        Ok(())
    }

    fn symlink(&self, entry: &Entry, target: &[u8], directory: &OwnedFd) -> Result<(), CheckoutError> {
        let name = entry.file_name();
        let failed = CheckoutError::io("make the symbolic link", &entry.path);
        let make = || {
            rustix::fs::symlinkat(target, directory, name)?;
            if let Some((user, group)) = self.owner(entry) {
                let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
                rustix::fs::chownat(directory, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            rustix::fs::utimensat(directory, name, &EPOCH, AtFlags::SYMLINK_NOFOLLOW)
        };
        make().map_err(failed)
    }

    fn hardlink(&self, entry: &Entry, first: &[u8], parent: &mut Parent<'_>) -> Result<(), CheckoutError> {
        self.check()?;
        let slash = first.iter().rposition(|byte| *byte == b'/');
        let (above, name) = slash.map_or((&b""[..], first), |slash| (&first[..slash], &first[slash + 1..]));
        let from = open_directory_beneath(self.into, above).map_err(CheckoutError::io("open", above))?;
        let to = parent.open(entry)?;
        durable::link(&from, name, to, entry.file_name()).map_err(|error| {
            let path = shown(&entry.path);
            match error.kind() {
                io::ErrorKind::AlreadyExists => CheckoutError::Exists { path },
                _ => CheckoutError::Io { action: "link", path, source: error },
            }
        })
    }

    fn finish_directory(&self, entry: &Entry) -> Result<(), CheckoutError> {
        let directory =
            open_directory_beneath(self.into, &entry.path).map_err(CheckoutError::io("open", &entry.path))?;
        let dressed = self.dress(entry);
        let xattrs = dressed.xattrs.as_ref().unwrap_or(&entry.xattrs);
        copy::finish(&directory, dressed.mode, self.owner(entry), xattrs).map_err(|source| CheckoutError::Io {
            action: "finish",
            path: shown(&entry.path),
            source,
        })
    }

    /// Gives objects whose files have too many links a fresh file, so that the next checkout finds room.
    fn renew(&self, entries: &[Entry]) -> Result<(), CheckoutError> {
        let crowded = std::mem::take(&mut *self.crowded.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if crowded.is_empty() || self.store.is_read_only() {
            return Ok(());
        }
        let dressed: Vec<_> = crowded.iter().map(|index| (&entries[*index], self.dress(&entries[*index]))).collect();
        let files = dressed.iter().filter_map(|(entry, dressed)| self.placement(entry, dressed));
        Ok(self.store.renew_variants(&files.collect::<Vec<_>>())?)
    }

    /// Returns what number owns an entry; `None` for the caller.
    fn owner(&self, entry: &Entry) -> Option<(u32, u32)> {
        self.owners.get(&(entry.owner.as_str(), entry.group.as_str())).copied()
    }

    /// Says what of an entry's mode and attributes can be given to it.
    ///
    /// A file that does not belong to whom the tree says must not act for whom it belongs to.
    fn dress(&self, entry: &Entry) -> Dressed {
        let owned = self.root && (!self.owners.is_empty() || (entry.owner == "root" && entry.group == "root"));
        let directory = entry.node == Node::Directory;
        let privileged = |name: &[u8]| !name.starts_with(b"user.");
        let mode = if owned || directory { entry.mode } else { entry.mode & 0o1777 };
        let strip = !owned && entry.xattrs.keys().any(|name| privileged(name));
        let xattrs = strip.then(|| {
            let kept = entry.xattrs.iter().filter(|(name, _)| !privileged(name));
            kept.map(|(name, value)| (name.clone(), value.clone())).collect()
        });
        Dressed { mode, xattrs, disarmed: strip || mode != entry.mode }
    }

    /// Returns what to place for an entry that is a file.
    fn placement<'e>(&self, entry: &'e Entry, dressed: &'e Dressed) -> Option<Placement<'e>> {
        let Node::File { object, size } = &entry.node else {
            return None;
        };
        let attributes = Attributes {
            mode: dressed.mode,
            owner: self.owner(entry),
            xattrs: dressed.xattrs.as_ref().unwrap_or(&entry.xattrs),
        };
        let share = !self.options.editable && !dressed.disarmed;
        Some(Placement { object, size: *size, attributes, share })
    }

    fn check(&self) -> Result<(), CheckoutError> {
        if self.cancel.load(Ordering::Relaxed) { Err(CheckoutError::Interrupted) } else { Ok(()) }
    }
}

/// What of an entry's mode and attributes is given to it.
struct Dressed {
    mode: u32,
    /// Fewer attributes than the entry's; `None` for all of them.
    xattrs: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    disarmed: bool,
}

/// The directory that was worked in last.
struct Parent<'a> {
    top: BorrowedFd<'a>,
    current: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Parent<'a> {
    fn new(top: BorrowedFd<'a>) -> Self {
        Self { top, current: None }
    }

    /// Opens the directory that holds an entry.
    fn open(&mut self, entry: &Entry) -> Result<&OwnedFd, CheckoutError> {
        let path = entry.parent().unwrap_or_default();
        let known = self.current.take().filter(|(current, _)| current == path);
        let opened = if let Some(known) = known {
            known
        } else {
            let directory = open_directory_beneath(self.top, path).map_err(CheckoutError::io("open", path))?;
            (path.to_vec(), directory)
        };
        Ok(&self.current.insert(opened).1)
    }
}

/// Says where an error of placing a file happened.
fn in_place(error: StoreError, entry: &Entry) -> CheckoutError {
    match error {
        StoreError::Io { action: "make" | "link", source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            CheckoutError::Exists { path: shown(&entry.path) }
        }
        StoreError::Io { action: action @ ("make" | "link" | "finish"), source, .. } => {
            CheckoutError::Io { action, path: shown(&entry.path), source }
        }
        other => CheckoutError::Store(other),
    }
}
