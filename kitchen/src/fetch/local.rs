// kitchen/src/fetch/local.rs
//! A directory beside the recipe as a tree: every file below it that git does not ignore.
//!
//! What counts is content, symlinks and whether a file can be executed: modes become 0755 and 0644, so that neither
//! the umask of a checkout nor its owner show. `.git` never counts. Inside a git repository the rules of its `.gitignore` files
//! and of `info/exclude` hold, except for files that git tracks all the same; the ignore file of the user's own configuration does not count, or
//! two people would build two different things. Outside of a repository every file counts.
//!
//! A file that is as it was when it was last read (device, inode, size and times, with git's rule for young files) is
//! not opened.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use recipes::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use store::{Batch, Entry, Node, StatFingerprint, Store, Tree};

use super::error::FetchError;
use super::{Event, Fetching, Options};

/// A directory that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTree {
    /// Its tree.
    pub tree: Digest,
    /// Files in it.
    pub files: u64,
    /// Bytes of all files.
    pub size_bytes: u64,
}

/// Brings every file below `directory` that git does not ignore into the store and returns the tree.
///
/// # Errors
/// [`FetchError`]: it is no directory, holds a device, FIFO or socket, cannot be read, or changes meanwhile.
pub fn local_tree(directory: &Path, store: &Store, cancel: &AtomicBool) -> Result<LocalTree, FetchError> {
    let options = Options::default();
    let ignore_events = |_: Event| {};
    let fetching = Fetching::new(store, directory, &options, cancel, &ignore_events)?;
    fetching.local_source(".")
}

impl Fetching<'_> {
    /// Brings the directory at `path`, below the recipe's, into the store.
    pub(super) fn local_source(&self, path: &str) -> Result<LocalTree, FetchError> {
        let full = self.directory.join(path);
        let failed = |source: io::Error| match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NOENT) => FetchError::Missing { path: full.clone() },
            Some(rustix::io::Errno::NOTDIR) => FetchError::Kind { path: full.clone(), wanted: "a directory" },
            Some(rustix::io::Errno::XDEV) => {
                FetchError::Kind { path: full.clone(), wanted: "below the recipe's directory" }
            }
            _ => FetchError::Read { path: full.clone(), source },
        };
        let directory = if self.directory.as_os_str().is_empty() { Path::new(".") } else { self.directory };
        let absolute = std::path::absolute(directory.join(path)).map_err(failed)?;
        let top = File::open(directory).map_err(failed)?;
        let opened = rustix::fs::openat2(&top, path, DIRECTORY, Mode::empty(), ResolveFlags::BENEATH)
            .map_err(|errno| failed(errno.into()))?;
        let mut walk = Walk {
            store: self.store,
            batch: None,
            cancel: self.cancel,
            rules: Rules::above(&absolute),
            entries: Vec::new(),
            read: Vec::new(),
            size_bytes: 0,
        };
        let still = self.store.still()?;
        walk.directory(&opened, &absolute, b"")?;
        drop(still);
        walk.finish()
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A walk through a directory.
struct Walk<'a> {
    store: &'a Store,
    /// Begun when a file has to be read.
    batch: Option<Batch<'a>>,
    cancel: &'a AtomicBool,
    rules: Rules,
    entries: Vec<Entry>,
    /// What was read, to be remembered.
    read: Vec<(PathBuf, StatFingerprint, Digest)>,
    size_bytes: u64,
}

impl Walk<'_> {
    /// Adds what is in an open directory; `path` is where it is, `below` its place in the tree.
    fn directory(&mut self, directory: &OwnedFd, path: &Path, below: &[u8]) -> Result<(), FetchError> {
        let failed = |source: io::Error| FetchError::Read { path: path.to_owned(), source };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory).map_err(|errno| failed(errno.into()))? {
            let name = entry.map_err(|errno| failed(errno.into()))?.file_name().to_bytes().to_vec();
            if !matches!(&name[..], b"." | b".." | b".git") {
                names.push(name);
            }
        }
        names.sort_unstable();
        let has_rules = names.iter().any(|name| name == b".gitignore");
        if has_rules {
            self.rules.enter(path);
        }
        for name in names {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(FetchError::Cancelled);
            }
            self.entry(directory, path, below, &name)?;
        }
        if has_rules {
            self.rules.leave();
        }
        Ok(())
    }

    fn entry(&mut self, directory: &OwnedFd, parent: &Path, below: &[u8], name: &[u8]) -> Result<(), FetchError> {
        let path = parent.join(OsStr::from_bytes(name));
        let failed = |errno: rustix::io::Errno| FetchError::Read { path: path.clone(), source: errno.into() };
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.rules.ignores(&path, kind == FileType::Directory) {
            return Ok(());
        }
        let mut place = below.to_vec();
        if !place.is_empty() {
            place.push(b'/');
        }
        place.extend_from_slice(name);
        let (mode, node) = match kind {
            FileType::Directory => {
                let opened =
                    rustix::fs::openat(directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
                let at = self.entries.len();
                self.entries.push(entry_of(place.clone(), 0o755, Node::Directory));
                self.directory(&opened, &path, &place)?;
                // As for git: a directory is there because of what is in it.
                if self.entries.len() == at + 1 {
                    self.entries.pop();
                }
                return Ok(());
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new()).map_err(failed)?;
                (0o777, Node::Symlink { target: target.into_bytes() })
            }
            FileType::RegularFile => {
                let object = self.object(directory, name, &path, &stat)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.size_bytes += size;
                (if stat.st_mode & 0o111 == 0 { 0o644 } else { 0o755 }, Node::File { object, size })
            }
            _ => return Err(FetchError::Kind { path, wanted: "a file, directory or symlink" }),
        };
        self.entries.push(entry_of(place, mode, node));
        Ok(())
    }

    /// The object of one regular file, read only if it may have changed.
    fn object(&mut self, directory: &OwnedFd, name: &[u8], path: &Path, stat: &Stat) -> Result<Digest, FetchError> {
        let before = fingerprint(stat);
        if let Some(object) = self.store.cached_stat(path, &before)?
            && self.store.has(&object)?
        {
            return Ok(object);
        }
        let failed = |source: io::Error| FetchError::Read { path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let mut file = File::from(opened);
        let batch = match &mut self.batch {
            Some(batch) => batch,
            empty => empty.insert(self.store.batch()?),
        };
        let (object, _) = batch.add_file(&mut file, 0o644)?;
        let after = StatFingerprint::of(&file.metadata().map_err(failed)?);
        if after != before {
            return Err(FetchError::Changed { path: path.to_owned() });
        }
        self.read.push((path.to_owned(), before, object));
        Ok(object)
    }

    fn finish(self) -> Result<LocalTree, FetchError> {
        let files = self.entries.iter().filter(|entry| matches!(entry.node, Node::File { .. })).count() as u64;
        let tree = Tree::new(self.entries)
            .map_err(|source| FetchError::Read { path: PathBuf::new(), source: io::Error::other(source) })?;
        let id = tree.id();
        if let Some(batch) = self.batch {
            batch.add_tree(&tree)?;
            batch.commit()?;
            let read: Vec<_> = self.read.iter().map(|(path, stat, object)| (path.as_path(), *stat, *object)).collect();
            self.store.remember_stats(&read)?;
        } else if !self.store.has(&id)? {
            self.store.put_tree(&tree)?;
        }
        Ok(LocalTree { tree: id, files, size_bytes: self.size_bytes })
    }
}

/// An entry of a source tree: nobody's file.
pub(super) fn entry_of(path: Vec<u8>, mode: u32, node: Node) -> Entry {
    Entry { path, mode, owner: "root".to_owned(), group: "root".to_owned(), xattrs: BTreeMap::new(), node }
}

fn fingerprint(stat: &Stat) -> StatFingerprint {
    let nanoseconds =
        |secs: i64, rest: u64| secs.saturating_mul(1_000_000_000).saturating_add(i64::try_from(rest).unwrap_or(0));
    StatFingerprint {
        device: stat.st_dev,
        inode: stat.st_ino,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// What git ignores, from the outermost rules to the innermost.
struct Rules {
    /// Where the repository is, and where its own files are.
    repository: Option<(PathBuf, PathBuf)>,
    matchers: Vec<Gitignore>,
    /// What is tracked; read when something is ignored.
    tracked: Tracked,
}

/// What git's index says.
enum Tracked {
    Unread,
    Nothing,
    Index(git2::Index),
}

impl Rules {
    /// Collects the rules that hold for `directory` from outside of it.
    fn above(directory: &Path) -> Self {
        let mut rules = Self { repository: None, matchers: Vec::new(), tracked: Tracked::Unread };
        let Some((top, git)) = directory.ancestors().find_map(|top| Some((top, git_directory(top)?))) else {
            return rules;
        };
        let mut exclude = GitignoreBuilder::new(top);
        if exclude.add(git.join("info/exclude")).is_none() {
            rules.matchers.extend(exclude.build().ok());
        }
        let above: Vec<&Path> = directory.ancestors().skip(1).take_while(|above| above.starts_with(top)).collect();
        for above in above.into_iter().rev() {
            if above.join(".gitignore").is_file() {
                rules.enter_unconditionally(above);
            }
        }
        rules.repository = Some((top.to_owned(), git));
        rules
    }

    /// Adds the rules in a directory's own file.
    fn enter(&mut self, directory: &Path) {
        if self.repository.is_some() {
            self.enter_unconditionally(directory);
        }
    }

    fn enter_unconditionally(&mut self, directory: &Path) {
        let mut builder = GitignoreBuilder::new(directory);
        // A line that is no pattern is passed over, by git too.
        let _ = builder.add(directory.join(".gitignore"));
        self.matchers.push(builder.build().unwrap_or_else(|_| Gitignore::empty()));
    }

    fn leave(&mut self) {
        if self.repository.is_some() {
            self.matchers.pop();
        }
    }

    /// Whether git would pass over a path.
    fn ignores(&mut self, path: &Path, is_directory: bool) -> bool {
        let rule =
            self.matchers.iter().rev().map(|rules| rules.matched(path, is_directory)).find(|found| !found.is_none());
        matches!(rule, Some(Match::Ignore(_))) && !self.is_tracked(path, is_directory)
    }

    fn is_tracked(&mut self, path: &Path, is_directory: bool) -> bool {
        let Some((top, git)) = &self.repository else { return false };
        let Ok(relative) = path.strip_prefix(top) else { return false };
        if matches!(self.tracked, Tracked::Unread) {
            self.tracked = git2::Index::open(&git.join("index")).map_or(Tracked::Nothing, Tracked::Index);
        }
        let Tracked::Index(index) = &self.tracked else { return false };
        if is_directory {
            let mut prefix = relative.as_os_str().to_owned();
            prefix.push("/");
            index.find_prefix(prefix).is_ok()
        } else {
            index.get_path(relative, 0).is_some()
        }
    }
}

/// The directory in which git keeps its files about the working tree `top`, if that is one.
fn git_directory(top: &Path) -> Option<PathBuf> {
    let git = top.join(".git");
    let metadata = std::fs::symlink_metadata(&git).ok()?;
    if metadata.is_dir() {
        return git.join("HEAD").exists().then_some(git);
    }
    // A linked working tree or a submodule: a file with one line.
    let content = std::fs::read_to_string(&git).ok()?;
    let target = content.strip_prefix("gitdir: ")?.trim_end();
    Some(top.join(target))
}
