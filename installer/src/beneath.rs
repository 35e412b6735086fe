// installer/src/beneath.rs
//! The root by descriptor: no path is opened outside it, no last component is followed.
//!
//! Everything that reads or changes files of a root goes through [`Beneath`]. A path is a directory, opened
//! beneath the root without following any link, and a name in it. [`Beneath::stat`] and the rest look at that name only.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags, Timespec, Timestamps,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use store::root_db::{Fingerprint, Kind};

use crate::paths;

/// The directory that a root is.
#[derive(Debug)]
pub struct Beneath {
    root: Arc<OwnedFd>,
}

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its kind; none for devices, sockets and pipes.
    pub kind: Option<Kind>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Inode, times.
    pub print: Fingerprint,
    /// Device.
    pub device: u64,
    /// How many names it has.
    pub links: u64,
}

/// What an inode looked like when it was decided upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes; 0 for a directory.
    pub size: u64,
    /// Time of the last write; 0 for a directory.
    pub mtime_ns: i64,
}

impl Found {
    fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Some(Kind::Directory),
            FileType::RegularFile => Some(Kind::File),
            FileType::Symlink => Some(Kind::Symlink),
            _ => None,
        };
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap, clippy::useless_conversion)]
        let print = Fingerprint {
            inode: stat.st_ino,
            mtime_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            ctime_ns: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        };
        Found {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            print,
            device: stat.st_dev,
            links: stat.st_nlink,
        }
    }

    /// Returns the fingerprint of a file that nobody wrote to since it was put there; none of anything else.
    #[must_use]
    pub fn untouched(&self) -> Option<Fingerprint> {
        let file = self.kind == Some(Kind::File) && self.print.mtime_ns == store::EPOCH_SECS * 1_000_000_000;
        file.then_some(self.print)
    }

    /// Returns what tells it from another thing at the same path.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let directory = self.kind == Some(Kind::Directory);
        Seen {
            inode: self.print.inode,
            size: if directory { 0 } else { self.size },
            mtime_ns: if directory { 0 } else { self.print.mtime_ns },
        }
    }
}

impl Beneath {
    /// Opens the directory `path` as a root.
    ///
    /// # Errors
    /// As `open` with `O_DIRECTORY`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: Arc::new(rustix::fs::open(path, flags, Mode::empty())?) })
    }

    /// Returns the root's own descriptor.
    #[must_use]
    pub fn top(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.root)
    }

    /// Opens a directory beneath the root; no component of `path` may be a link.
    ///
    /// # Errors
    /// As `openat2`; `ELOOP` or `ENOTDIR` when a component is a link, `EXDEV` for an escape.
    pub fn directory(&self, path: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if path.is_empty() {
            return Ok(self.top());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        retry(|| rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), resolve)).map(Arc::new)
    }

    /// Opens a directory like [`Beneath::directory`]; none when it, or something above it, is absent or no directory.
    ///
    /// # Errors
    /// As `openat2`, less those that mean absence.
    pub fn directory_if_present(&self, path: &[u8]) -> io::Result<Option<Arc<OwnedFd>>> {
        match self.directory(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks at a path without following its last component; none when it is absent.
    ///
    /// # Errors
    /// As `openat2` and `fstatat`, less those that mean absence.
    pub fn stat(&self, path: &[u8]) -> io::Result<Option<Found>> {
        let (directory, name) = paths::split(path);
        match self.directory_if_present(directory)? {
            Some(directory) => stat(&*directory, name),
            None => Ok(None),
        }
    }

    /// Opens a file of the root for reading, following links inside the root only.
    ///
    /// # Errors
    /// As `openat2`.
    pub fn read_inside(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(retry(|| rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), resolve))?.into())
    }

    /// Whether something lies at the path, links followed inside the root.
    #[must_use]
    pub fn exists_inside(&self, path: &[u8]) -> bool {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        retry(|| rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), resolve)).is_ok()
    }

    /// Opens a directory of the root, following links inside the root only.
    ///
    /// # Errors
    /// As `openat2`.
    pub fn directory_inside(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        retry(|| rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), resolve))
    }
}

/// Keeps directories open, up to a number of descriptors.
#[derive(Debug)]
pub struct Directories<'a> {
    beneath: &'a Beneath,
    open: BTreeMap<Vec<u8>, Arc<OwnedFd>>,
    /// The latest, beyond that number.
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
}

/// How many directories [`Directories`] keeps open: well below the usual limit of 1,024 descriptors.
const KEPT_OPEN: usize = 400;

impl<'a> Directories<'a> {
    /// Starts with none.
    #[must_use]
    pub fn new(beneath: &'a Beneath) -> Self {
        Self { beneath, open: BTreeMap::new(), last: None }
    }

    /// Returns the directory, opened now or before.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn get(&mut self, path: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if let Some(directory) = self.open.get(path) {
            return Ok(Arc::clone(directory));
        }
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Arc::clone(directory));
        }
        let directory = self.beneath.directory(path)?;
        if self.open.len() < KEPT_OPEN {
            self.open.insert(path.to_vec(), Arc::clone(&directory));
        } else {
            self.last = Some((path.to_vec(), Arc::clone(&directory)));
        }
        Ok(directory)
    }

    /// Returns the directory, none when it is absent.
    ///
    /// # Errors
    /// As [`Beneath::directory_if_present`].
    pub fn get_if_present(&mut self, path: &[u8]) -> io::Result<Option<Arc<OwnedFd>>> {
        match self.get(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error of a look-up says that there is nothing.
#[must_use]
pub fn is_absence(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// `openat2` confined to a root answers EAGAIN when a rename elsewhere raced with it.
fn retry(open: impl Fn() -> rustix::io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let mut last = Errno::AGAIN;
    for _ in 0..1000 {
        match open() {
            Err(error @ (Errno::AGAIN | Errno::INTR)) => last = error,
            other => return Ok(other?),
        }
    }
    Err(last.into())
}

/// Looks at a name of a directory; none when it is absent.
///
/// # Errors
/// As `fstatat`, less absence.
pub fn stat(directory: impl AsFd, name: &[u8]) -> io::Result<Option<Found>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Found::of(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a name, or with an empty one the directory itself, is marked so that nobody may change it (`chattr +i` or `+a`).
///
/// # Errors
/// As `statx`, less absence.
pub fn is_frozen(directory: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    match rustix::fs::statx(directory, name, flags, StatxFlags::TYPE) {
        Ok(found) => Ok(found.stx_attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Looks at an open file.
///
/// # Errors
/// As `fstat`.
pub fn stat_open(file: impl AsFd) -> io::Result<Found> {
    Ok(Found::of(&rustix::fs::fstat(file)?))
}

/// Reads a link.
///
/// # Errors
/// As `readlinkat`.
pub fn read_link(directory: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes())
}

/// Opens a regular file for reading; anything else at that name is an error, and no device is touched.
///
/// # Errors
/// As `openat`; `InvalidData` for another kind.
pub fn open_file(directory: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    Ok(file.into())
}

/// Opens a directory by name, not through a link.
///
/// # Errors
/// As `openat`.
pub fn open_directory(directory: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Returns the names in a directory, in the order of their bytes.
///
/// # Errors
/// As `getdents`.
pub fn names(directory: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    // A descriptor opened for paths only cannot be read.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Sets the time of a thing to the one that everything installed has.
///
/// # Errors
/// As `utimensat`.
pub fn set_time(directory: impl AsFd, name: &[u8]) -> io::Result<()> {
    let time = Timespec { tv_sec: store::EPOCH_SECS, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Removes a name and everything below it, following nothing.
///
/// Directories without write permission are opened up first, so that an ordinary user can remove their own.
///
/// # Errors
/// The first failure.
pub fn remove_all(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let mut inner = open_directory(directory, name);
    if matches!(&inner, Err(error) if error.kind() == io::ErrorKind::PermissionDenied) {
        rustix::fs::chmodat(directory, name, Mode::RWXU, AtFlags::empty())?;
        inner = open_directory(directory, name);
    }
    let inner = inner?;
    if stat_open(&inner)?.mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&inner, Mode::RWXU)?;
    }
    for child in names(&inner)? {
        remove_all(inner.as_fd(), &child)?;
    }
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn nothing_outside_is_opened() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::create_dir(outer.path().join("secret")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("/", root.join("abs")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        for refused in ["..", "out", "abs", "lib", "usr/../..", "abs/etc"] {
            assert!(beneath.directory(refused.as_bytes()).is_err(), "{refused}");
        }
        assert!(beneath.directory(b"usr/lib").is_ok());
        assert!(beneath.exists_inside(b"/lib"), "links inside are followed where that is wanted");
        assert!(!beneath.exists_inside(b"/abs/secret"));
        assert!(!beneath.exists_inside(b"/out"));
        assert!(beneath.stat(b"lib/x").unwrap().is_none());
        assert_eq!(beneath.stat(b"lib").unwrap().unwrap().kind, Some(Kind::Symlink));
    }

    #[test]
    fn removal_follows_nothing_and_opens_closed_directories() {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir_all(outer.path().join("gone/closed")).unwrap();
        fs::write(outer.path().join("gone/closed/file"), b"").unwrap();
        fs::write(outer.path().join("kept"), b"").unwrap();
        symlink("../../kept", outer.path().join("gone/closed/link")).unwrap();
        fs::set_permissions(outer.path().join("gone/closed"), fs::Permissions::from_mode(0o500)).unwrap();
        let beneath = Beneath::open(outer.path()).unwrap();
        remove_all(beneath.top().as_fd(), b"gone").unwrap();
        remove_all(beneath.top().as_fd(), b"gone").unwrap();
        assert!(outer.path().join("kept").exists());
        assert!(!outer.path().join("gone").exists());
    }
}
