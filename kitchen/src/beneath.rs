// kitchen/src/beneath.rs
//! Writes below one open directory, and nowhere else.
//!
//! Every path is resolved by the kernel with `openat2` under `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`, from one directory descriptor: no path is joined as a string, and a symlink on
//! the way is an error instead of a way out. A directory that is missing is made. Modes are set by
//! descriptor, so the caller's umask does not show: 0755 for directories and executables, 0644 else.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use store::durable;

/// The mode of directories and executable files.
pub(crate) const EXECUTABLE_MODE: u32 = 0o755;
/// The mode of all other files.
pub(crate) const PLAIN_MODE: u32 = 0o644;

/// Why nothing was written at a path.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// A symlink stands on the way to the path.
    Symlink,
    /// Something that is not a directory stands on the way to the path.
    NotADirectory,
    /// Another kind of file stands at the path already.
    OtherKind,
    /// The target of a hard link does not exist.
    NoTarget,
    /// The target of a hard link is not a regular file.
    TargetNotAFile,
    /// The operating system said no.
    Io(std::io::Error),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP => Self::Symlink,
            Errno::NOTDIR => Self::NotADirectory,
            other => Self::Io(other.into()),
        }
    }
}

/// One open directory, below which files are made.
///
/// Paths given to its methods are relative, normalised and not empty: no `.`, no `..`, no doubled or
/// trailing slash, no NUL byte.
pub(crate) struct Beneath<'a> {
    root: BorrowedFd<'a>,
    /// The directory that was last written into: members of an archive mostly follow one another.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Beneath<'a> {
    /// Confines all work to `root`.
    pub(crate) fn new(root: BorrowedFd<'a>) -> Self {
        Self { root, last: None }
    }

    /// Makes the directory at `path` and the missing ones above it.
    pub(crate) fn directory(&mut self, path: &[u8]) -> Result<(), Obstacle> {
        self.enter(path).map(drop)
    }

    /// Creates the regular file at `path` for writing, in place of a regular file that was there.
    pub(crate) fn file(&mut self, path: &[u8]) -> Result<File, Obstacle> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
        let file = match create() {
            Err(Errno::EXIST) => {
                replaceable(parent, name, FileType::RegularFile)?;
                create()?
            }
            other => other?,
        };
        Ok(File::from(file))
    }

    /// Makes a symlink at `path`, in place of a symlink that was there.
    pub(crate) fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), Obstacle> {
        let (parent, name) = self.parent(path)?;
        match rustix::fs::symlinkat(target, parent, name) {
            Err(Errno::EXIST) => {
                replaceable(parent, name, FileType::Symlink)?;
                Ok(rustix::fs::symlinkat(target, parent, name)?)
            }
            other => Ok(other?),
        }
    }

    /// Makes `path` another name of the regular file `target`, which must exist below the root.
    pub(crate) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), Obstacle> {
        let (target_parent, target_name) = split(target);
        let directory = match self.open_existing(target_parent) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Err(Obstacle::NoTarget),
            Err(errno) => return Err(errno.into()),
        };
        match kind_of(directory.as_fd(), target_name) {
            Ok(FileType::RegularFile) => {}
            Ok(_) => return Err(Obstacle::TargetNotAFile),
            Err(Errno::NOENT) => return Err(Obstacle::NoTarget),
            Err(errno) => return Err(errno.into()),
        }
        if path == target {
            return Ok(());
        }
        let (parent, name) = self.parent(path)?;
        // Never followed: the name was just seen to be a regular file's.
        let link = || durable::link(&directory, target_name, parent, name);
        match link() {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                replaceable(parent, name, FileType::RegularFile)?;
                link().map_err(Obstacle::Io)
            }
            other => other.map_err(Obstacle::Io),
        }
    }

    /// Removes the file or symlink at `path`.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<(), Obstacle> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
    }

    /// Removes the directory at `path` if it is empty, and says whether it did.
    pub(crate) fn remove_empty_directory(&mut self, path: &[u8]) -> Result<bool, Obstacle> {
        self.last = None;
        let (parent, name) = self.parent(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the regular file at `path` for reading; `None` where nothing is there.
    pub(crate) fn read(&self, path: &[u8]) -> Result<Option<File>, Obstacle> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match open(self.root, path, flags) {
            Ok(file) => {
                let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
                if kind == FileType::RegularFile { Ok(Some(File::from(file))) } else { Err(Obstacle::OtherKind) }
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads the target of the symlink at `path`; `None` where nothing is there.
    pub(crate) fn read_link(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Obstacle> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = match open(self.root, path, flags) {
            Ok(link) => link,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&link)?.st_mode) != FileType::Symlink {
            return Err(Obstacle::OtherKind);
        }
        Ok(Some(rustix::fs::readlinkat(&link, c"", Vec::new())?.into_bytes()))
    }

    /// What stands at `path`; `None` where nothing does.
    pub(crate) fn kind(&self, path: &[u8]) -> Result<Option<FileType>, Obstacle> {
        match open(self.root, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
            Ok(found) => Ok(Some(FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The open directory that holds `path`, made where missing, and the last name of `path`.
    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(BorrowedFd<'_>, &'p [u8]), Obstacle> {
        let (parent, name) = split(path);
        Ok((self.enter(parent)?, name))
    }

    /// Opens the directory at `path`, making what is missing.
    fn enter(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Obstacle> {
        if path.is_empty() {
            return Ok(self.root);
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let directory = match self.open_existing(path) {
                Err(Errno::NOENT) => self.make_directory(path)?,
                other => other?,
            };
            self.last = Some((path.to_vec(), directory));
        }
        let (_, directory) = self.last.as_ref().expect("because it was set just above");
        Ok(directory.as_fd())
    }

    /// Makes one directory, and those above it, with their modes.
    fn make_directory(&mut self, path: &[u8]) -> Result<OwnedFd, Obstacle> {
        let (parent, name) = split(path);
        let parent = self.enter(parent)?;
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let directory = open(parent, name, DIRECTORY)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(EXECUTABLE_MODE))?;
        Ok(directory)
    }

    fn open_existing(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            self.root.try_clone_to_owned().map_err(|_| Errno::MFILE)
        } else {
            open(self.root, path, DIRECTORY)
        }
    }
}

// Without O_NOFOLLOW, which would call a symlink at the end "not a directory": RESOLVE_NO_SYMLINKS names it.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens `path` below `root`, following no symlink anywhere.
fn open(root: BorrowedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Removes what stands at `name` when it is of the kind that is to replace it.
fn replaceable(parent: BorrowedFd, name: &[u8], kind: FileType) -> Result<(), Obstacle> {
    if kind_of(parent, name)? != kind {
        return Err(Obstacle::OtherKind);
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
}

fn kind_of(parent: BorrowedFd, name: &[u8]) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Splits a path into its directory (empty at the top) and its last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}
