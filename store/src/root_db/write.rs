// store/src/root_db/write.rs
//! What a transaction writes: that it has begun, everything that it changes, and that it is done.

use std::collections::BTreeMap;

use recipes::Digest;
use rusqlite::{Connection, Statement, params};
use serde::Serialize;

use super::{
    Applied, Beside, ChangesetRow, Displaced, FILE_COLUMNS, FileRow, PathPrint, RootDb, RootDbError, Settlement,
    TroveRow, hooks, map_text, scripts, to_json, triggers, unwritable,
};

/// How hard the journal is compressed: it is mostly paths and digests, written once and hardly ever read.
const JOURNAL_LEVEL: i32 = 1;

/// How many rows of files one statement writes.
const ROWS_TOGETHER: usize = 512;

impl RootDb {
    /// Records that a transaction makes temporary names in `directories`. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`], also when another transaction is under way.
    pub fn begin(&mut self, number: i64, directories: &[u8]) -> Result<(), RootDbError> {
        let sql = "INSERT INTO pending (one, number, state, directories) VALUES (1, ?1, 'begun', ?2)";
        self.connection.execute(sql, params![number, directories])?;
        Ok(())
    }

    /// Writes everything that a transaction changes into a commit that is not made yet; readers do not see it.
    ///
    /// # Errors
    /// [`RootDbError::Sql`]; [`RootDb::abandon`] then drops what was written.
    pub fn write(&mut self, settlement: &Settlement<'_>) -> Result<(), RootDbError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        if let Some(trigger) = settlement.trigger {
            // What a trigger writes is no changeset of its own.
            return triggers::note_done(&self.connection, trigger);
        }
        if let Some(script) = settlement.script {
            scripts::note_done(&self.connection, script)?;
            return triggers::set_off(&self.connection, script.changeset, settlement.set_off);
        }
        let changeset = settlement.changeset;
        insert_changeset(&self.connection, changeset)?;
        for row in settlement.leaving {
            self.connection.prepare_cached("DELETE FROM trove WHERE id = ?1")?.execute([row])?;
        }
        for (row, reason) in settlement.reasons {
            let sql = "UPDATE trove SET reason = ?2 WHERE id = ?1";
            self.connection.execute(sql, params![row, reason.as_str()])?;
        }
        let mut rows = Vec::with_capacity(settlement.files.iter().map(Vec::len).sum());
        for ((trove, files), applied) in settlement.troves.iter().zip(settlement.files).zip(settlement.applied) {
            let trove = insert_trove(&self.connection, trove)?;
            rows.extend(files.iter().zip(applied).map(|(file, applied)| (trove, file, *applied)));
        }
        insert_files(&self.connection, &rows)?;
        insert_record(&self.connection, settlement)?;
        triggers::set_off(&self.connection, changeset.number, settlement.set_off)?;
        let changed: Vec<String> = changeset.changes.iter().map(|change| change.name.clone()).collect();
        scripts::queue(&self.connection, changeset.number, &changed, settlement.scripts)?;
        match settlement.hooks {
            Some(rows) => hooks::replace(&self.connection, rows),
            None => Ok(()),
        }
    }

    /// The commit point, with what was written and the journal of what is to be done: from here on the transaction has happened. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn commit(&mut self, journal: &PackedJournal) -> Result<(), RootDbError> {
        let sql = "UPDATE pending SET state = 'committed', journal = ?1 WHERE state = 'begun'";
        match self.connection.execute(sql, params![journal.0])? {
            1 => Ok(self.connection.execute_batch("COMMIT")?),
            _ => Err(rusqlite::Error::QueryReturnedNoRows.into()),
        }
    }

    /// Drops what was written and is not committed.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn abandon(&mut self) -> Result<(), RootDbError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }

    /// Records that everything is in its place, how the files at some paths look, and which triggers have nothing to do, in one commit that
    /// also drops the journal unless there is something to clean up. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`]; nothing is written then.
    pub fn settle(&mut self, prints: &[PathPrint<'_>], idle: &[String], clean_up: bool) -> Result<(), RootDbError> {
        let transaction = self.connection.transaction()?;
        triggers::forget(&transaction, idle)?;
        for (path, print) in prints {
            let sql = "UPDATE file SET inode = ?2, mtime_ns = ?3, ctime_ns = ?4 WHERE path = ?1";
            transaction.prepare_cached(sql)?.execute(params![
                path,
                print.map(|print| print.inode.cast_signed()),
                print.map(|print| print.mtime_ns),
                print.map(|print| print.ctime_ns),
            ])?;
        }
        let done = if clean_up { "UPDATE pending SET state = 'settled'" } else { "DELETE FROM pending" };
        transaction.execute(done, [])?;
        Ok(transaction.commit()?)
    }

    /// Forgets the transaction under way: it is rolled back, or cleaned up.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn clear(&self) -> Result<(), RootDbError> {
        self.connection.execute("DELETE FROM pending", [])?;
        Ok(())
    }
}

/// A journal as the database keeps it.
#[derive(Debug)]
pub struct PackedJournal(Vec<u8>);

impl PackedJournal {
    /// Compresses a journal.
    ///
    /// # Errors
    /// [`RootDbError::Sql`]: there is no memory for it.
    pub fn new(journal: &[u8]) -> Result<Self, RootDbError> {
        zstd::encode_all(journal, JOURNAL_LEVEL).map(Self).map_err(unwritable)
    }
}

/// Writes the row of a changeset and what it changed.
pub(super) fn insert_changeset(transaction: &Connection, changeset: &ChangesetRow) -> Result<(), RootDbError> {
    transaction.execute(
        "INSERT INTO changeset (id, at_unix_secs, actor, command_line, returns_to) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            changeset.number,
            changeset.at_unix_secs,
            changeset.actor,
            changeset.command_line,
            changeset.returns_to
        ],
    )?;
    for change in &changeset.changes {
        let sql = "INSERT INTO change (changeset, name, before, after) VALUES (?1, ?2, ?3, ?4)";
        let (before, after) = (to_json(change.before.as_ref())?, to_json(change.after.as_ref())?);
        transaction.prepare_cached(sql)?.execute(params![changeset.number, change.name, before, after])?;
    }
    Ok(())
}

/// Writes the row of a trove; returns its number.
pub(super) fn insert_trove(connection: &Connection, trove: &TroveRow) -> Result<i64, RootDbError> {
    let sql = "INSERT INTO trove (name, digest, manifest, reason, changeset) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        trove.name,
        trove.digest.to_string(),
        trove.manifest,
        trove.reason.as_str(),
        trove.changeset
    ])?;
    let row = connection.last_insert_rowid();
    for (name, tree) in &trove.components {
        let sql = "INSERT INTO component (trove, name, tree) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(sql)?.execute(params![row, name, tree.to_string()])?;
    }
    Ok(row)
}

/// Writes rows of files, many with each statement: to begin and end one costs as much as a row.
pub(super) fn insert_files(connection: &Connection, rows: &[(i64, &FileRow, Applied)]) -> Result<(), RootDbError> {
    for rows in rows.chunks(ROWS_TOGETHER) {
        let one = format!("({})", vec!["?"; FILE_COLUMNS.split(',').count()].join(", "));
        let sql = format!("INSERT INTO file ({FILE_COLUMNS}) VALUES {}", vec![one; rows.len()].join(", "));
        let mut statement = connection.prepare_cached(&sql)?;
        let mut place = 0;
        for row in rows {
            bind_file(&mut statement, &mut place, row)?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

fn bind_file(
    statement: &mut Statement<'_>,
    place: &mut usize,
    (trove, file, applied): &(i64, &FileRow, Applied),
) -> Result<(), RootDbError> {
    let xattrs = if file.xattrs.is_empty() {
        None
    } else {
        Some(serde_json::to_vec(&XattrsRef(&file.xattrs)).map_err(unwritable)?)
    };
    let print = applied.fingerprint;
    let values = params![
        file.path,
        trove,
        file.component,
        file.packaged,
        file.kind.as_str(),
        file.mode,
        file.owner,
        file.group,
        applied.mode,
        applied.uid,
        applied.gid,
        file.object.as_ref().map(Digest::as_bytes),
        file.size.cast_signed(),
        file.target,
        file.link,
        xattrs,
        file.flags,
        print.map(|print| print.inode.cast_signed()),
        print.map(|print| print.mtime_ns),
        print.map(|print| print.ctime_ns),
    ];
    for value in values {
        *place += 1;
        statement.raw_bind_parameter(*place, value)?;
    }
    Ok(())
}

fn insert_record(connection: &Connection, settlement: &Settlement<'_>) -> Result<(), RootDbError> {
    let number = settlement.changeset.number;
    for thing in &settlement.displaced {
        insert_displaced(connection, number, thing)?;
    }
    for path in settlement.beside_gone {
        connection.execute("DELETE FROM beside WHERE path = ?1", [path])?;
    }
    for beside in settlement.beside {
        insert_beside(connection, number, beside)?;
    }
    Ok(())
}

pub(super) fn insert_displaced(connection: &Connection, changeset: i64, thing: &Displaced) -> Result<(), RootDbError> {
    let sql = "INSERT INTO displaced (changeset, path, thing) VALUES (?1, ?2, ?3)";
    connection.execute(sql, params![changeset, thing.path, to_json(Some(thing))?])?;
    Ok(())
}

pub(super) fn insert_beside(connection: &Connection, changeset: i64, beside: &Beside) -> Result<(), RootDbError> {
    let sql = "INSERT OR REPLACE INTO beside (path, beside, changeset, object) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![beside.path, beside.of, changeset, beside.object.to_string()])?;
    Ok(())
}

#[derive(Serialize)]
struct XattrsRef<'a>(#[serde(serialize_with = "map_text::serialize")] &'a BTreeMap<Vec<u8>, Vec<u8>>);
