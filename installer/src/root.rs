// installer/src/root.rs
//! An open root: its directory, its lock, its database and its store.
//!
//! Opening for writing takes the lock first and finishes what an interrupted command left, so that everything after it sees a root that is
//! exactly old or exactly new. Opening for reading takes no lock and works where nothing may be written.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use store::root_db::{EXPORT_NAME, FILE_NAME, RootDb, RootDbError};
use store::{Flock, OpenOptions, Store};

use crate::beneath::Beneath;
use crate::commit;
use crate::error::RootError;
use crate::event::{Event, Warning};
use crate::paths::STATE_DIRECTORY;

/// Name of the lock file in the state directory; `lock` there is the store's.
const LOCK: &str = "root.lock";

/// How to open a root.
#[derive(Debug, Clone)]
pub struct RootOptions {
    /// Open it to change it: takes the lock.
    pub write: bool,
    /// Make the directory and its state where they are missing; only for writing.
    pub create: bool,
    /// The store that holds the root's objects, in place of its own.
    pub store: Option<PathBuf>,
    /// The effective user id of this process.
    pub uid: u32,
    /// The time that history records.
    pub now_unix_secs: i64,
    /// Who asks, for the history.
    pub actor: String,
    /// With which command, for the history and for others that find the root busy.
    pub command_line: String,
}

/// A root directory and what is installed in it.
#[derive(Debug)]
pub struct Root {
    pub(crate) path: PathBuf,
    pub(crate) beneath: Beneath,
    pub(crate) db: Mutex<Option<RootDb>>,
    pub(crate) store: Option<Store>,
    pub(crate) options: RootOptions,
    notes: Vec<Event>,
    /// Held while it is open.
    lock: Option<Flock>,
}

impl Root {
    /// Opens the root at `path`, and finishes the transaction of an interrupted command where this one may.
    ///
    /// # Errors
    /// Every [`RootError`].
    pub fn open(path: &Path, options: &RootOptions) -> Result<Root, RootError> {
        if options.write && options.create && !path.is_dir() {
            let io = |source| RootError::Io { action: "make", path: path.to_owned(), source };
            std::fs::create_dir_all(path).map_err(io)?;
        }
        let mut root = Self::bare(path, options)?;
        let Some(state) = root.state_directory(options.write && options.create)? else {
            return Ok(root);
        };
        if !state.1.join(FILE_NAME).exists() && state.1.join(EXPORT_NAME).exists() {
            let (path, what) = (state.1.join(FILE_NAME), "it is missing".to_owned());
            return Err(RootDbError::Damaged { path, what }.into());
        }
        if options.write {
            root.open_to_write(&state)?;
        } else {
            root.open_to_read(&state)?;
        }
        Ok(root)
    }

    /// Opens and locks a root whose database cannot be used.
    pub(crate) fn open_locked(path: &Path, options: &RootOptions) -> Result<(Root, (OwnedFd, PathBuf)), RootError> {
        let mut root = Self::bare(path, options)?;
        let missing = || RootError::Missing { path: root.path.clone() };
        let state = root.state_directory(false)?.ok_or_else(missing)?;
        root.lock = Some(root.take_lock(&state.0)?);
        Ok((root, state))
    }

    /// Opens the directory and nothing in it.
    fn bare(path: &Path, options: &RootOptions) -> Result<Root, RootError> {
        let beneath = Beneath::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RootError::Missing { path: path.to_owned() },
            _ => RootError::Io { action: "open", path: path.to_owned(), source },
        })?;
        let path = real_path(beneath.top().as_raw_fd()).unwrap_or_else(|_| path.to_owned());
        Ok(Root {
            path,
            beneath,
            db: Mutex::new(None),
            store: None,
            options: options.clone(),
            notes: Vec::new(),
            lock: None,
        })
    }

    /// Writes down what a database can be rebuilt from. What fails is told and stops nothing: the next change writes it again.
    pub(crate) fn export(&self, db: &RootDb, events: &dyn Fn(Event)) {
        let written = self.beneath.directory_inside(STATE_DIRECTORY).map_err(|error| error.to_string());
        let written = written.and_then(|directory| db.export(directory).map_err(|error| error.to_string()));
        if let Err(why) = written {
            events(Event::Warning(Warning::NotExported { why }));
        }
    }

    /// Returns the root's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what happened while it was opened: a recovery, or a transaction that this command may not finish.
    #[must_use]
    pub fn notes(&self) -> &[Event] {
        &self.notes
    }

    /// Returns the store that holds the root's objects; none where nothing was ever installed.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    fn open_to_write(&mut self, state: &(OwnedFd, PathBuf)) -> Result<(), RootError> {
        self.lock = Some(self.take_lock(&state.0)?);
        let mut db = RootDb::open(&state.1)?;
        self.recover(&mut db)?;
        self.note_degraded(&db)?;
        let directory = self.options.store.clone().unwrap_or_else(|| state.1.clone());
        self.store = Some(Store::open(&directory, &OpenOptions::default())?);
        self.db = Mutex::new(Some(db));
        Ok(())
    }

    fn open_to_read(&mut self, state: &(OwnedFd, PathBuf)) -> Result<(), RootError> {
        let Some(db) = RootDb::open_read_only(&state.1)? else {
            return Ok(());
        };
        let directory = self.options.store.clone().unwrap_or_else(|| state.1.clone());
        // Most questions need no store; one that does says what it misses.
        self.store = Store::open(&directory, &OpenOptions { read_only: true, ..OpenOptions::default() }).ok();
        if let Some(pending) = db.pending()? {
            match self.finish_for_reader(state) {
                Some(db) => {
                    self.db = Mutex::new(Some(db));
                    return Ok(());
                }
                None => {
                    self.notes.push(Event::Warning(Warning::Unfinished { number: pending.number }));
                }
            }
        }
        self.note_degraded(&db)?;
        self.db = Mutex::new(Some(db));
        Ok(())
    }

    /// Finishes an interrupted transaction on behalf of a reader, if nobody else is at it and we may.
    fn finish_for_reader(&mut self, state: &(OwnedFd, PathBuf)) -> Option<RootDb> {
        // Whatever stops it here, the reader goes on with the last settled state and says so.
        let lock = self.take_lock(&state.0).ok()?;
        let mut db = RootDb::open(&state.1).ok()?;
        let done = self.recover(&mut db);
        drop(lock);
        done.ok()?;
        Some(db)
    }

    /// Tells which triggers failed earlier.
    fn note_degraded(&mut self, db: &RootDb) -> Result<(), RootError> {
        let failed = db.due_triggers()?.into_iter().filter(|due| due.attempts > 0);
        let mut names: Vec<String> = failed.map(|due| due.name).collect();
        let scripts = db.due_scripts()?.into_iter().filter(|due| due.attempts > 0);
        names.extend(scripts.map(|due| crate::script::title(&due.script)));
        if !names.is_empty() {
            self.notes.push(Event::Warning(Warning::Degraded { names }));
        }
        Ok(())
    }

    fn recover(&mut self, db: &mut RootDb) -> Result<(), RootError> {
        let notes = Mutex::new(Vec::new());
        let note = |event| {
            if let Ok(mut notes) = notes.lock() {
                notes.push(event);
            }
        };
        let done = commit::recover(&self.beneath, db, &note);
        self.notes.extend(notes.into_inner().unwrap_or_default());
        if self.notes.iter().any(|note| matches!(note, Event::Recovered { .. })) {
            self.export(db, &|_| {});
        }
        done.map_err(|source| RootError::Recovery { path: self.path.clone(), source: Box::new(source) })
    }

    fn take_lock(&self, state: &OwnedFd) -> Result<Flock, RootError> {
        let path = || self.path.join(String::from_utf8_lossy(STATE_DIRECTORY).as_ref()).join(LOCK);
        let failed = |action| move |source: io::Error| RootError::Io { action, path: path(), source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(state, LOCK, flags, Mode::from_raw_mode(0o644));
        let lock = opened.map_err(|error| failed("open")(error.into()))?;
        // The file names its holder: for writing, and for reading by those that find it held.
        let file = lock.try_clone().map(File::from).map_err(failed("open"))?;
        let Some(held) = Flock::try_alone(lock).map_err(failed("lock"))? else {
            return Err(self.busy(file));
        };
        let holder = format!("{}\n{}\n", std::process::id(), self.options.command_line);
        file.set_len(0).and_then(|()| file.write_all_at(holder.as_bytes(), 0)).map_err(failed("write"))?;
        Ok(held)
    }

    /// Reads who holds the lock.
    fn busy(&self, file: File) -> RootError {
        let mut text = Vec::new();
        // An unreadable file only makes the message poorer.
        let _ = file.take(64 << 10).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let command_line = lines.next().unwrap_or("(unknown)");
        let command_line = command_line.chars().filter(|character| !character.is_control()).collect();
        RootError::Busy { path: self.path.clone(), pid, command_line }
    }

    /// Opens the state directory, making it where that is wanted; none when it is missing.
    fn state_directory(&self, create: bool) -> Result<Option<(OwnedFd, PathBuf)>, RootError> {
        let io = |action| {
            let path = self.path.join(String::from_utf8_lossy(STATE_DIRECTORY).as_ref());
            move |source| RootError::Io { action, path, source }
        };
        let directory = match self.beneath.directory_inside(STATE_DIRECTORY) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                self.make_state().map_err(io("make"))?;
                self.beneath.directory_inside(STATE_DIRECTORY).map_err(io("open"))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open")(error)),
        };
        let path = real_path(directory.as_raw_fd()).map_err(io("find"))?;
        Ok(Some((directory, path)))
    }

    fn make_state(&self) -> io::Result<()> {
        let mut parent: OwnedFd = self.beneath.top().try_clone()?;
        let mut path = Vec::new();
        for name in STATE_DIRECTORY.split(|byte| *byte == b'/') {
            path = crate::paths::join(&path, name);
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                // Whatever the caller's umask is, others may read what is installed.
                Ok(()) => rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            parent = self.beneath.directory_inside(&path)?;
        }
        Ok(())
    }
}

/// Returns the path of an open directory, for those who can only open paths.
fn real_path(descriptor: i32) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}"))
}
