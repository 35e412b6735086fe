// store/src/root_db/open.rs
//! Making, opening and checking the database of a root, and bringing an older one up to date.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Mode, OFlags};

use super::{FILE_NAME, RootDb, RootDbError, hooks, policy, triggers};
use crate::durable;

/// The schema that this version reads and writes, `PRAGMA user_version`.
pub(super) const SCHEMA: i64 = 5;

/// What each schema from the second on added.
const ADDITIONS: [&str; 4] = [policy::TABLES, triggers::TABLES, hooks::TABLES, EXISTED];

/// Finds what has `FLAG_EXISTED` without reading everything.
const EXISTED: &str = "CREATE INDEX file_existed ON file (path) WHERE flags & 2 <> 0;";

/// Bytes of a page of a new database: the rows of one package lie together, and the log takes two writes for each page.
const PAGE_BYTES: u32 = 16 << 10;

/// How much of the database may be kept in memory.
const CACHE_KIB: i64 = 32 << 10;

const TABLES: &str = "
CREATE TABLE trove (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  digest TEXT NOT NULL,
  manifest BLOB NOT NULL,
  reason TEXT NOT NULL CHECK (reason IN ('explicit', 'dependency')),
  changeset INTEGER NOT NULL
) STRICT;
CREATE TABLE component (
  trove INTEGER NOT NULL REFERENCES trove(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  tree TEXT NOT NULL,
  PRIMARY KEY (trove, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE file (
  path BLOB NOT NULL,
  trove INTEGER NOT NULL REFERENCES trove(id) ON DELETE CASCADE,
  component TEXT NOT NULL,
  packaged BLOB,
  kind TEXT NOT NULL CHECK (kind IN ('directory', 'file', 'symlink')),
  mode INTEGER NOT NULL,
  owner TEXT NOT NULL,
  grp TEXT NOT NULL,
  applied_mode INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  gid INTEGER NOT NULL,
  object BLOB,
  size INTEGER NOT NULL,
  target BLOB,
  link BLOB,
  xattrs BLOB,
  flags INTEGER NOT NULL,
  inode INTEGER,
  mtime_ns INTEGER,
  ctime_ns INTEGER,
  PRIMARY KEY (path, trove)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_of_trove ON file (trove);
CREATE TABLE changeset (
  id INTEGER PRIMARY KEY,
  at_unix_secs INTEGER NOT NULL,
  actor TEXT NOT NULL,
  command_line TEXT NOT NULL,
  returns_to INTEGER
) STRICT;
CREATE TABLE change (
  changeset INTEGER NOT NULL REFERENCES changeset(id),
  name TEXT NOT NULL,
  before TEXT,
  after TEXT,
  PRIMARY KEY (changeset, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE displaced (
  changeset INTEGER NOT NULL REFERENCES changeset(id),
  path BLOB NOT NULL,
  thing TEXT NOT NULL,
  PRIMARY KEY (changeset, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE beside (
  path BLOB PRIMARY KEY,
  beside BLOB NOT NULL,
  changeset INTEGER NOT NULL REFERENCES changeset(id),
  object TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  number INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('begun', 'prepared', 'committed', 'settled')),
  directories BLOB NOT NULL,
  journal BLOB
) STRICT;
";

impl RootDb {
    /// Opens the database in `directory` for writing and creates it when it is missing.
    ///
    /// A new database appears whole or not at all.
    ///
    /// # Errors
    /// Every [`RootDbError`].
    pub fn open(directory: &Path) -> Result<RootDb, RootDbError> {
        let path = directory.join(FILE_NAME);
        if !exists(&path)? {
            create(directory, &path)?;
        }
        check_header(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        configure(&connection)?;
        let found = check_schema(&connection, &path)?;
        let mut database = RootDb { connection };
        database.bring_up(found)?;
        Ok(database)
    }

    /// Opens the database in `directory` for reading, also where nothing may be written; none when it is missing.
    ///
    /// # Errors
    /// Every [`RootDbError`].
    pub fn open_read_only(directory: &Path) -> Result<Option<RootDb>, RootDbError> {
        let path = directory.join(FILE_NAME);
        if !exists(&path)? {
            return Ok(None);
        }
        check_header(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        match check_schema(&connection, &path) {
            Ok(found) => stand_in(&connection, found)?,
            // Without permission to make the shared-memory file. With no log beside it, the file is all there is.
            Err(RootDbError::Sql(error)) if cannot_share(&error) && log_is_empty(&path)? => {
                let connection = Connection::open_with_flags(immutable(&path), flags | OpenFlags::SQLITE_OPEN_URI)?;
                let found = check_schema(&connection, &path)?;
                stand_in(&connection, found)?;
                return Ok(Some(RootDb { connection }));
            }
            Err(error) => return Err(error),
        }
        Ok(Some(RootDb { connection }))
    }

    /// Adds what newer schemas have, in one commit.
    fn bring_up(&mut self, found: i64) -> Result<(), RootDbError> {
        if found == SCHEMA {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        for addition in additions_after(found) {
            transaction.execute_batch(addition)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        Ok(transaction.commit()?)
    }
}

fn exists(path: &Path) -> Result<bool, RootDbError> {
    path.try_exists().map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> RootDbError {
    RootDbError::Io { path: path.to_owned(), source }
}

/// Makes an empty database under another name and moves it into place.
fn create(directory: &Path, path: &Path) -> Result<(), RootDbError> {
    let open = durable::open_directory(rustix::fs::CWD, directory).map_err(|source| io(directory, source))?;
    let temporary = format!("{FILE_NAME}.new");
    for leftover in [temporary.clone(), format!("{temporary}-wal"), format!("{temporary}-shm")] {
        match rustix::fs::unlinkat(&open, leftover.as_str(), rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(source) => return Err(io(path, source.into())),
        }
    }
    // Nobody knows this file before it has its name, so it is made durable once, as a whole.
    let mut connection = Connection::open(directory.join(&temporary))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    for addition in ADDITIONS {
        transaction.execute_batch(addition)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&open, temporary.as_str(), flags, Mode::empty())
        .map_err(std::io::Error::from)
        .and_then(durable::sync_file)
        .and_then(|()| durable::rename(&open, temporary.as_str(), &open, FILE_NAME))
        .and_then(|()| durable::sync_directory(&open))
        .map_err(|source| io(path, source))
}

fn configure(connection: &Connection) -> Result<(), RootDbError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Room for what a large changeset writes: what does not fit is written into the log twice.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What a statement of many rows would take back if it failed needs no file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Returns what the schemas after `found` added.
fn additions_after(found: i64) -> impl Iterator<Item = &'static str> {
    let known = usize::try_from(found - 1).unwrap_or(0);
    ADDITIONS.into_iter().skip(known)
}

/// Gives a reader of an older database the tables that it has not got yet, empty and only for this connection.
fn stand_in(connection: &Connection, found: i64) -> Result<(), RootDbError> {
    for addition in additions_after(found).filter(|addition| *addition != EXISTED) {
        connection.execute_batch(&addition.replace("CREATE TABLE", "CREATE TEMP TABLE"))?;
    }
    Ok(())
}

/// Returns the schema of a database, which is this version's or an older one.
fn check_schema(connection: &Connection, path: &Path) -> Result<i64, RootDbError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        1..=SCHEMA => Ok(found),
        newer if newer > SCHEMA => Err(RootDbError::Newer { path: path.to_owned(), found, known: SCHEMA }),
        _ => Err(RootDbError::Damaged { path: path.to_owned(), what: format!("its schema is numbered {found}") }),
    }
}

/// Finds a truncated file, which would otherwise read as an empty database or fail at some later moment.
fn check_header(path: &Path) -> Result<(), RootDbError> {
    let mut header = [0_u8; 100];
    let mut file = File::open(path).map_err(|source| io(path, source))?;
    let size = file.metadata().map_err(|source| io(path, source))?.len();
    let damaged = |what: &str| RootDbError::Damaged { path: path.to_owned(), what: what.to_owned() };
    if size < header.len() as u64 {
        return Err(damaged("it is truncated"));
    }
    file.read_exact(&mut header).map_err(|source| io(path, source))?;
    if &header[..16] != b"SQLite format 3\0" {
        return Err(damaged("it is not a database"));
    }
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        bytes => u64::from(bytes),
    };
    let pages = u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]));
    if size < page * pages && log_is_empty(path)? {
        return Err(damaged("it is truncated"));
    }
    Ok(())
}

fn cannot_share(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
}

fn log_is_empty(path: &Path) -> Result<bool, RootDbError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::metadata(&log) {
        Ok(metadata) => Ok(metadata.len() == 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io(path, error)),
    }
}

/// The address of a file that nobody writes while it is open.
fn immutable(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            address.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(address, "%{byte:02x}");
        }
    }
    address + "?immutable=1"
}
