// store/src/store.rs
//! An open store: its directory, its database, and who may use it.
//!
//! ```text
//! <store>/store.db     objects, troves, actions, sources, mirrors, settings, logs, pins, roots
//!         objects/ab/  one file for each link variant of a content
//!         roots/       checked-out troves, kept for build roots
//!         logs/        logs of builds that are running
//!         tmp/         work in progress; what no living process holds is garbage
//!         locks/       one file for each action under way
//!         holds/       one file for each epoch that somebody holds
//!         lock         the lease
//! ```
//!
//! A store belongs to one user, who alone may write to it; others may read what its modes let them.
//! Opening one costs a few system calls whatever its size: nothing is scanned. Specification: docs/design/store.md.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::database::Database;
use crate::durable;
use crate::error::{OpenError, StoreError};
use crate::hold::{HOLDS, Held};
use crate::lock::{self, Flock, Hold, Patience};
use crate::place::clones;

/// Hears what a waiting store waits for: the lock, and who holds it.
pub type Waiting = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// How to open a store.
#[derive(Clone)]
pub struct OpenOptions {
    /// Neither make nor change anything; fails when there is no store.
    pub read_only: bool,
    /// How long to wait for another process that collects garbage.
    pub lock_timeout_secs: u32,
    /// Hears when the store has to wait for another process.
    pub waiting: Option<Waiting>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { read_only: false, lock_timeout_secs: 120, waiting: None }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OpenOptions")
            .field("read_only", &self.read_only)
            .field("lock_timeout_secs", &self.lock_timeout_secs)
            .finish_non_exhaustive()
    }
}

/// Objects, trees, troves and facts, kept durably. Threads may share one.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    top: OwnedFd,
    objects: OwnedFd,
    temporary: OwnedFd,
    database: Database,
    options: OpenOptions,
    /// The user whom the store belongs to, and the group that its new files get.
    owner: (u32, u32),
    /// The epoch that this process holds.
    pub(crate) hold: Mutex<Weak<Held>>,
    /// Numbers the work directories of this process.
    pub(crate) work: AtomicU64,
    /// Whether the file system can share blocks, once that was tried.
    pub(crate) clones: AtomicU8,
}

impl Store {
    /// Opens the store in `directory`, making it when it is missing.
    ///
    /// # Errors
    /// [`OpenError`]: no permission, another owner, a read-only medium, a database that is damaged, not a
    /// store's, or of a newer version.
    pub fn open(directory: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |error: Errno| OpenError::Io { action, path, source: error.into() }
        };
        if !options.read_only {
            create_all(directory)?;
        }
        // A store that was moved is found through the link at its old place; SQLite wants no link in its path.
        let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let directory = resolved.as_path();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = match rustix::fs::open(directory, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                return Err(OpenError::NoStore { directory: directory.to_owned() });
            }
            other => other.map_err(io("open", directory))?,
        };
        let stat = rustix::fs::fstat(&top).map_err(io("examine", directory))?;
        let user = rustix::process::geteuid().as_raw();
        if options.read_only {
            return Self::open_read_only(directory, top, (stat.st_uid, stat.st_gid), options);
        }
        if stat.st_uid != user {
            let directory = directory.to_owned();
            return Err(OpenError::NotOwner { directory, owner: stat.st_uid, user });
        }
        let objects = ensure_directory(&top, directory, "objects", 0o755)?;
        let temporary = ensure_directory(&top, directory, "tmp", 0o700)?;
        let alone = |needed: &dyn Fn() -> Result<bool, OpenError>| -> Result<Flock, OpenError> {
            for name in ["roots", "logs", "locks", HOLDS] {
                ensure_directory(&top, directory, name, 0o755)?;
            }
            let path = directory.join(lock::LEASE);
            let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let mode = Mode::from_raw_mode(0o644);
            let mut looks = 0;
            loop {
                let file = rustix::fs::openat(&top, lock::LEASE, flags, mode).map_err(io("make", &path))?;
                let held = wait_alone(file, &path, options)?;
                // A command under way must be able to commit, so it is waited for without the lease.
                if !needed()? || !any_hold(&top, directory)? {
                    durable::sync_directory(&top).map_err(|source| OpenError::Io { action: "sync", path, source })?;
                    return Ok(held);
                }
                drop(held);
                wait_a_little(&mut looks, directory, options)?;
            }
        };
        let database = Database::open(directory, alone)?;
        Ok(Self {
            directory: directory.to_owned(),
            top,
            objects,
            temporary,
            database,
            options: options.clone(),
            owner: if user == 0 { (0, 0) } else { (user, rustix::process::getegid().as_raw()) },
            hold: Mutex::default(),
            work: AtomicU64::new(0),
            clones: AtomicU8::new(clones::UNKNOWN),
        })
    }

    fn open_read_only(
        directory: &Path,
        top: OwnedFd,
        owner: (u32, u32),
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let missing = |name: &str| {
            let path = directory.join(name);
            let directory = directory.to_owned();
            move |source: std::io::Error| match source.kind() {
                std::io::ErrorKind::NotFound => OpenError::NoStore { directory },
                _ => OpenError::Io { action: "open", path, source },
            }
        };
        let objects = durable::open_directory(&top, "objects").map_err(missing("objects"))?;
        rustix::fs::statat(&top, crate::database::FILE_NAME, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| missing(crate::database::FILE_NAME)(error.into()))?;
        let writable = rustix::fs::accessat(&top, ".", Access::WRITE_OK, AtFlags::EACCESS).is_ok();
        let database = Database::open_read_only(directory, writable)?;
        Ok(Self {
            directory: directory.to_owned(),
            // Nothing is ever made there.
            temporary: objects.try_clone().map_err(missing("objects"))?,
            top,
            objects,
            database,
            options: options.clone(),
            owner,
            hold: Mutex::default(),
            work: AtomicU64::new(0),
            clones: AtomicU8::new(clones::UNKNOWN),
        })
    }

    /// Returns where the store is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Says whether the store was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    /// Returns the open directory of the store.
    pub(crate) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Returns the open directory of the objects.
    pub(crate) fn objects(&self) -> BorrowedFd<'_> {
        self.objects.as_fd()
    }

    /// Returns the open directory of work in progress.
    pub(crate) fn temporary(&self) -> BorrowedFd<'_> {
        self.temporary.as_fd()
    }

    /// Opens one of the store's own directories, making it again when somebody removed it.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<OwnedFd, StoreError> {
        let failed = |source| StoreError::io("open", self.directory.join(name))(source);
        match durable::open_directory(&self.top, name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.is_read_only() => {
                match rustix::fs::mkdirat(&self.top, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed(error.into())),
                }
                durable::open_directory(&self.top, name).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Returns numeric user and group of the store's files.
    pub(crate) fn owner(&self) -> (u32, u32) {
        self.owner
    }

    pub(crate) fn lock_timeout_secs(&self) -> u32 {
        self.options.lock_timeout_secs
    }

    pub(crate) fn tell_waiting(&self, lock: &str, holder: &str) {
        if let Some(waiting) = &self.options.waiting {
            waiting(lock, holder);
        }
    }

    /// Refuses when the store was opened for reading only.
    pub(crate) fn writable(&self) -> Result<(), StoreError> {
        if self.is_read_only() {
            return Err(StoreError::ReadOnly { directory: self.directory.clone() });
        }
        Ok(())
    }
}

/// One view of the database for many questions; see [`Store::still`].
#[derive(Debug)]
pub struct Still<'s> {
    store: &'s Store,
}

impl Store {
    /// Holds one view of the database while many small questions are asked, so that each of them need not lock and unlock
    /// the file (four system calls). Nothing may be written through this store until the view is dropped.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn still(&self) -> Result<Still<'_>, StoreError> {
        self.database.hold_still(true)?;
        Ok(Still { store: self })
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        // A view that does not end is ended by the next error of a write, which says so.
        let _ = self.store.database.hold_still(false);
    }
}

/// Makes a directory and those above it.
fn create_all(directory: &Path) -> Result<(), OpenError> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(|source| OpenError::Io {
        action: "make the directory",
        path: directory.to_owned(),
        source,
    })
}

/// Opens one of the store's own directories, making it with `mode` when it is missing.
fn ensure_directory(top: &OwnedFd, directory: &Path, name: &str, mode: u32) -> Result<OwnedFd, OpenError> {
    let io = |action: &'static str| {
        let path = directory.join(name);
        move |source| OpenError::Io { action, path, source }
    };
    match durable::open_directory(top, name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        other => return other.map_err(io("open")),
    }
    match rustix::fs::mkdirat(top, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(io("make")(error.into())),
    }
    durable::open_directory(top, name).map_err(io("open"))
}

/// Says whether any command is under way; asked with the lease held alone, so that none begins meanwhile.
fn any_hold(top: &OwnedFd, directory: &Path) -> Result<bool, OpenError> {
    let path = directory.join(HOLDS);
    let io = |source: std::io::Error| OpenError::Io { action: "read", path: path.clone(), source };
    let parent = durable::open_directory(top, HOLDS).map_err(io)?;
    for entry in rustix::fs::Dir::read_from(&parent).map_err(|error| io(error.into()))? {
        let entry = entry.map_err(|error| io(error.into()))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !lock::is_free(&parent, name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits for commands under way to end; says so once, and gives up in time.
fn wait_a_little(looks: &mut u32, directory: &Path, options: &OpenOptions) -> Result<(), OpenError> {
    let path = directory.join(HOLDS);
    if *looks > options.lock_timeout_secs.saturating_mul(10) {
        let source = std::io::Error::new(std::io::ErrorKind::ResourceBusy, "another command is under way");
        return Err(OpenError::Io { action: "change the schema of", path, source });
    }
    if let (0, Some(waiting)) = (*looks, &options.waiting) {
        waiting("the store", "a command that is under way");
    }
    *looks += 1;
    std::thread::sleep(std::time::Duration::from_millis(100));
    Ok(())
}

/// Takes the lease alone before the schema is made or changed.
fn wait_alone(file: OwnedFd, path: &Path, options: &OpenOptions) -> Result<Flock, OpenError> {
    let mut waiting = |holder: &str| {
        if let Some(waiting) = &options.waiting {
            waiting("the store", holder);
        }
    };
    let cancel = AtomicBool::new(false);
    let timeout_secs = Some(options.lock_timeout_secs);
    let mut patience = Patience { waiting: &mut waiting, cancel: &cancel, timeout_secs };
    let held = lock::acquire(file, Hold::Alone, "the store", path, &mut patience);
    held.map_err(|error| OpenError::Io {
        action: "lock",
        path: path.to_owned(),
        source: match error {
            StoreError::Io { source, .. } => source,
            other => std::io::Error::new(std::io::ErrorKind::ResourceBusy, other.to_string()),
        },
    })
}
