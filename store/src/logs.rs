// store/src/logs.rs
//! Build logs: plain files below `logs/`, so that they can be followed while they grow, and an index of them.

use std::fs::File;
use std::path::PathBuf;

use recipes::{Digest, TroveSpec};
use rusqlite::{OptionalExtension, Row, params};

use crate::Store;
use crate::database;
use crate::durable;
use crate::error::StoreError;

/// How a logged cook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutcome {
    /// It has not, or its process died.
    Open,
    /// It gave a package.
    Succeeded,
    /// It failed.
    Failed,
}

/// One build's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Number; grows.
    pub id: i64,
    /// The package that was built.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The cook key.
    pub key: Digest,
    /// When it began, in seconds since 1970.
    pub started_unix_secs: i64,
    /// How it ended.
    pub outcome: LogOutcome,
    /// The file.
    pub path: PathBuf,
}

const COLUMNS: &str = "id, name, version, key, started_unix_secs, outcome";

impl Store {
    /// Begins a log: a row, and an empty file to write to. Neither is durable before the next barrier.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot be written.
    pub fn create_log(&self, spec: &TroveSpec, key: &Digest, now_unix_secs: i64) -> Result<(LogRow, File), StoreError> {
        self.writable()?;
        let version = spec.version.as_ref().map(ToString::to_string).unwrap_or_default();
        let id = self.database().note("record a log", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO logs (name, version, key, started_unix_secs, outcome)
                     VALUES (?, ?, ?, ?, 'open')",
                )?
                .execute(params![spec.name.as_str(), version, key.as_bytes(), now_unix_secs])?;
            Ok(transaction.last_insert_rowid())
        })?;
        let name = spec.name.to_string();
        let path = self.log_path(id, &name, &version);
        let directory = self.subdirectory("logs")?;
        let file_name = path.file_name().unwrap_or_default();
        let file = durable::create(&directory, file_name).map_err(StoreError::io("make", &path))?;
        let outcome = LogOutcome::Open;
        let row = LogRow { id, name, version, key: *key, started_unix_secs: now_unix_secs, outcome, path };
        Ok((row, file))
    }

    /// Ends a log. Row and text become durable with the next barrier, not by this.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn finish_log(&self, log: &LogRow, success: bool) -> Result<(), StoreError> {
        self.writable()?;
        let outcome = if success { "succeeded" } else { "failed" };
        self.database().note("end a log", |transaction| {
            transaction
                .prepare_cached("UPDATE logs SET outcome = ? WHERE id = ?")?
                .execute(params![outcome, log.id])
                .map(drop)
        })
    }

    /// Returns the log of a package that was begun last.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn latest_log(&self, name: &str) -> Result<Option<LogRow>, StoreError> {
        self.database().read("find a log", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM logs WHERE name = ? ORDER BY id DESC LIMIT 1");
            connection.prepare_cached(&sql)?.query_row([name], |row| self.log_row(row)).optional()
        })
    }

    /// Lists logs, those of one package or all, the one begun last first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn logs(&self, name: Option<&str>) -> Result<Vec<LogRow>, StoreError> {
        self.database().read("list logs", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM logs WHERE ?1 IS NULL OR name = ?1 ORDER BY id DESC");
            connection.prepare_cached(&sql)?.query_map([name], |row| self.log_row(row))?.collect()
        })
    }

    pub(crate) fn log_path(&self, id: i64, name: &str, version: &str) -> PathBuf {
        // Names and versions hold no slash.
        let version = version.replace(':', ".");
        self.directory().join("logs").join(format!("{name}-{version}.{id}.log"))
    }

    fn log_row(&self, row: &Row<'_>) -> rusqlite::Result<LogRow> {
        let (id, name, version) = (row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?);
        let outcome: String = row.get(5)?;
        Ok(LogRow {
            id,
            path: self.log_path(id, &name, &version),
            name,
            version,
            key: database::digest(row, 3)?,
            started_unix_secs: row.get(4)?,
            outcome: match outcome.as_str() {
                "succeeded" => LogOutcome::Succeeded,
                "failed" => LogOutcome::Failed,
                _ => LogOutcome::Open,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use std::io::Write;

    #[test]
    fn logs_are_begun_found_and_ended() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let spec: TroveSpec = "hello=2:1.0-1".parse().unwrap();
        let key = Digest::blake3([1; 32]);
        assert_eq!(store.latest_log("hello").unwrap(), None);
        let (row, mut file) = store.create_log(&spec, &key, 5).unwrap();
        file.write_all(b"text").unwrap();
        assert_eq!(store.latest_log("hello").unwrap(), Some(row.clone()));
        assert_eq!(std::fs::read(&row.path).unwrap(), b"text");
        store.finish_log(&row, false).unwrap();
        assert_eq!(store.latest_log("hello").unwrap().unwrap().outcome, LogOutcome::Failed);
        let (second, _file) = store.create_log(&spec, &key, 6).unwrap();
        store.finish_log(&second, true).unwrap();
        let all = store.logs(None).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].outcome, LogOutcome::Succeeded);
        assert!(store.logs(Some("other")).unwrap().is_empty());
    }
}
