// store/src/database.rs
//! The connection to `store.db`: opening it, its schema, and how a change is made.
//!
//! WAL, synchronous FULL but for what is only noted, foreign keys. The schema is numbered steps; `PRAGMA user_version` says how many of them a
//! database has had. A database with more steps than this version knows is refused. One connection for each
//! open store, one writer at a time; other processes wait [`BUSY_MILLIS`] for a writer, which
//! holds its transaction for milliseconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use recipes::Digest;
use rusqlite::config::DbConfig;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};

use crate::error::{OpenError, StoreError};

/// Name of the database in the store's directory.
pub(crate) const FILE_NAME: &str = "store.db";

/// How long a statement waits for another process's transaction.
const BUSY_MILLIS: u64 = 20_000;

/// A log of at most so many bytes is left beside the database.
const SHORT_LOG_BYTES: u64 = 512 << 10;

/// Marks a database as ours (`PRAGMA application_id`): "CNRY".
const APPLICATION_ID: i64 = 0x434e_5259;

/// The steps that make the schema, oldest first. A step that was released never changes.
const STEPS: [&str; 3] = [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// The database of an open store.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// A transaction was not confirmed, and what of it stands in the log must go with the log.
    failed: AtomicBool,
}

impl Database {
    /// Opens the database in `directory` for writing, making it or bringing it up to date.
    ///
    /// `alone` is called before the schema is touched and returns a guard that keeps others from it; it gets a question to ask
    /// again and again: whether the schema is still to be changed, or another process has done it.
    pub(crate) fn open<G>(
        directory: &Path,
        alone: impl FnOnce(&dyn Fn() -> Result<bool, OpenError>) -> Result<G, OpenError>,
    ) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(failed("open", &path))?;
        configure(&connection).map_err(failed("open", &path))?;
        if version(&connection, &path)? < steps() {
            let _guard = alone(&|| Ok(version(&connection, &path)? < steps()))?;
            migrate(&mut connection, &path)?;
        }
        Ok(Self { path, connection: Mutex::new(connection), failed: AtomicBool::new(false) })
    }

    /// Opens the database in `directory` without ever writing to it.
    ///
    /// On a medium or in a directory that cannot be written, where nobody else can be writing either, it is
    /// read as a file that does not change.
    pub(crate) fn open_read_only(directory: &Path, writable: bool) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let log = fs::metadata(path.with_extension("db-wal"));
        let connection = if writable || log.is_ok_and(|log| log.len() > 0) {
            Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW)
        } else {
            let uri = format!("file:{}?immutable=1", escape(&path));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        .map_err(failed("open", &path))?;
        configure(&connection).map_err(failed("read", &path))?;
        let found = version(&connection, &path)?;
        if found < steps() {
            return Err(OpenError::Older { path, found });
        }
        Ok(Self { path, connection: Mutex::new(connection), failed: AtomicBool::new(false) })
    }

    /// Leaves the log as it is at the end while it is short, or this process has added nothing to it. To bring it into the database, take
    /// it away and make it again in the next command costs three syncs and more than many a command asks; to read a short one
    /// costs less than a tenth of a millisecond.
    fn keep_log(&self) -> rusqlite::Result<()> {
        let connection = self.lock();
        let is_short =
            || fs::metadata(self.path.with_extension("db-wal")).is_ok_and(|log| log.len() <= SHORT_LOG_BYTES);
        if connection.total_changes() == 0 || (is_short() && !self.failed.load(Ordering::Relaxed)) {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        Ok(())
    }

    /// Returns where the database is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs statements that only read, all on one snapshot: by themselves each would lock and unlock the file.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.lock();
        let run = || {
            if !connection.is_autocommit() {
                return work(&connection);
            }
            let snapshot = connection.unchecked_transaction()?;
            let result = work(&snapshot)?;
            snapshot.commit()?;
            Ok(result)
        };
        run().map_err(|source| self.error(action, source))
    }

    /// Begins or ends one read transaction around many reads, which then take the lock of the file once.
    pub(crate) fn hold_still(&self, hold: bool) -> Result<(), StoreError> {
        let statement = if hold { "BEGIN DEFERRED" } else { "COMMIT" };
        self.lock().execute_batch(statement).map_err(|source| self.error("read", source))
    }

    /// Runs statements as one durable transaction.
    pub(crate) fn write<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        transact(&mut self.lock(), work).map_err(|source| {
            self.failed.store(true, Ordering::Relaxed);
            self.error(action, source)
        })
    }

    /// Runs statements as one transaction that a power cut may take back, until the next durable one or the end of the process: for
    /// what is only remembered to save work.
    pub(crate) fn note<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let run = |connection: &mut Connection| {
            connection.execute_batch("PRAGMA synchronous = NORMAL")?;
            let noted = transact(connection, work);
            connection.execute_batch("PRAGMA synchronous = FULL")?;
            noted
        };
        run(&mut connection).map_err(|source| self.error(action, source))
    }

    /// Writes the whole database, as it is now, to a new file. Not durable.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        use std::os::unix::ffi::OsStrExt;
        let name = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
        self.lock().execute("VACUUM INTO ?", [name]).map(drop).map_err(|source| self.error("copy", source))
    }

    /// Makes every later change of this database, by whoever has it open, an error: another one has taken its place.
    pub(crate) fn retire(&self) -> Result<(), StoreError> {
        self.write("retire", |transaction| {
            let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
            let tables: Vec<String> =
                transaction.prepare(tables)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for table in tables {
                for change in ["INSERT", "UPDATE", "DELETE"] {
                    transaction.execute_batch(&format!(
                        "CREATE TRIGGER moved_{table}_{change} BEFORE {change} ON {table}
                         BEGIN SELECT RAISE(ABORT, 'the store has moved to another place'); END"
                    ))?;
                }
            }
            Ok(())
        })
    }

    fn error(&self, action: &'static str, source: rusqlite::Error) -> StoreError {
        StoreError::Database { action, path: self.path.clone(), source }
    }

    /// A panic in another thread rolled its transaction back, so the connection is still sound.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The log is then brought into the database and removed, which is only slower.
        let _ = self.keep_log();
    }
}

fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

/// Reads a BLAKE3 digest that is kept as its 32 bytes.
pub(crate) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get::<_, [u8; 32]>(column).map(Digest::blake3)
}

/// Reads a value that is kept as its text.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Reads a count or size.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// Turns a size into what the database keeps; no file has more than `i64::MAX` bytes.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Database { action, path, source }
}

/// How many steps this version knows.
fn steps() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_millis(BUSY_MILLIS))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;")
}

/// Returns how many steps the database has had, if it is one of ours.
fn version(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let pragma = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(failed("read", path))
    };
    let found = pragma("user_version")?;
    let application = pragma("application_id")?;
    if found > steps() && application == APPLICATION_ID {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: steps() });
    }
    let empty = found == 0 && application == 0 && {
        let tables = "SELECT count(*) FROM sqlite_schema";
        let count: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(failed("read", path))?;
        count == 0
    };
    if application != APPLICATION_ID && !empty {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    Ok(found)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
        .map_err(failed("make", path))?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed("change", path))?;
    let done = version(&transaction, path)?;
    let run = || {
        for step in STEPS.iter().skip(usize::try_from(done).unwrap_or(0)) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", steps())?;
        transaction.commit()
    };
    run().map_err(failed("bring up to date", path))
}

/// Writes a path as part of a `file:` address.
fn escape(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02x}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenOptions, Store};

    /// Makes a database as an earlier version left it, with one object's row.
    fn earlier(directory: &Path, steps_done: usize) {
        let connection = Connection::open(directory.join(FILE_NAME)).unwrap();
        for step in &STEPS[..steps_done] {
            connection.execute_batch(step).unwrap();
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", i64::try_from(steps_done).unwrap()).unwrap();
        let sql = "INSERT INTO objects (digest, variant, size_bytes) VALUES (?, '444', 7)";
        connection.execute(sql, [[5_u8; 32]]).unwrap();
    }

    #[test]
    fn every_earlier_schema_is_brought_up_to_date_and_keeps_its_rows() {
        let schema = |store: &Store| -> Vec<String> {
            let sql = "SELECT ifnull(sql, name) FROM sqlite_schema ORDER BY name";
            let rows = store
                .database()
                .read("read", |connection| connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect());
            rows.unwrap()
        };
        let fresh = tempfile::tempdir().unwrap();
        let expected = schema(&Store::open(fresh.path(), &OpenOptions::default()).unwrap());
        for steps_done in 1..STEPS.len() {
            let directory = tempfile::tempdir().unwrap();
            earlier(directory.path(), steps_done);
            std::fs::create_dir(directory.path().join("objects")).unwrap();
            let read_only = OpenOptions { read_only: true, ..OpenOptions::default() };
            let error = Store::open(directory.path(), &read_only).unwrap_err();
            assert!(matches!(error, OpenError::Older { .. }), "{error}");
            let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
            assert_eq!(schema(&store), expected, "from {steps_done}");
            assert_eq!(store.object_size(&Digest::blake3([5; 32])).unwrap(), Some(7));
            drop(store);
            Store::open(directory.path(), &read_only).unwrap();
        }
    }

    #[test]
    fn a_newer_schema_and_foreign_databases_are_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        drop(Store::open(directory.path(), &OpenOptions::default()).unwrap());
        let path = directory.path().join(FILE_NAME);
        let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        change(&format!("PRAGMA user_version = {}", steps() + 1));
        for read_only in [true, false] {
            let options = OpenOptions { read_only, ..OpenOptions::default() };
            let error = Store::open(directory.path(), &options).unwrap_err();
            let OpenError::Newer { found, known, .. } = error else { panic!("{error}") };
            assert_eq!((found, known), (steps() + 1, steps()));
        }
        change("PRAGMA application_id = 7");
        for read_only in [true, false] {
            let options = OpenOptions { read_only, ..OpenOptions::default() };
            let error = Store::open(directory.path(), &options).unwrap_err();
            assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        }
    }
}
