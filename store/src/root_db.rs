// store/src/root_db.rs
//! The SQL of a root's database, `<root>/var/lib/conary/root.db`.
//!
//! What is installed, what every changeset did, what a rollback needs, and the journal of a transaction under way. The meaning of
//! all of it is docs/design/transaction.md; decisions are crate `installer`'s. Nothing here knows a root's files.
//!
//! One writer at a time: the installer holds the root's lock. Readers need none (WAL).

use std::collections::BTreeMap;

use recipes::Digest;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

mod error;
mod export;
mod hooks;
mod open;
mod policy;
mod rows;
mod scripts;
mod text;
mod triggers;

pub use error::RootDbError;
pub use export::{EXPORT_NAME, Exported, ExportedTrove};
pub use hooks::{HookKind, HookRow};
pub use policy::Hold;
pub use rows::{
    Beside, ChangeRow, ChangesetRow, Displaced, FLAG_CONFIG, FLAG_EXISTED, FLAG_NOREPLACE, FileRow, Fingerprint, Held,
    Kind, Pending, Reason, Settlement, State, TroveRow,
};
pub use scripts::{DueScript, ScriptDone, ScriptRow};
pub use text::{bytes_text, list_text, map_text, optional_bytes_text};
pub use triggers::{DueTrigger, TriggerDone, TriggerOutput, TriggerRule};

/// Name of the database in the state directory.
pub const FILE_NAME: &str = "root.db";

/// How hard the journal is compressed: it is mostly paths and digests, written once and hardly ever read.
const JOURNAL_LEVEL: i32 = 1;

/// The database of one root.
#[derive(Debug)]
pub struct RootDb {
    connection: Connection,
}

impl RootDb {
    /// Returns the installed troves by name.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn troves(&self) -> Result<Vec<TroveRow>, RootDbError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, name, digest, manifest, reason, changeset FROM trove ORDER BY name")?;
        let mut troves = statement
            .query_map([], |row| {
                Ok(TroveRow {
                    row: row.get(0)?,
                    name: row.get(1)?,
                    digest: digest_text(row, 2)?,
                    manifest: row.get(3)?,
                    reason: if row.get_ref(4)?.as_str()? == "explicit" { Reason::Explicit } else { Reason::Dependency },
                    changeset: row.get(5)?,
                    components: BTreeMap::new(),
                })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let at: BTreeMap<i64, usize> = troves.iter().enumerate().map(|(index, trove)| (trove.row, index)).collect();
        let mut statement = self.connection.prepare_cached("SELECT trove, name, tree FROM component")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(index) = at.get(&row.get(0)?) {
                troves[*index].components.insert(row.get(1)?, digest_text(row, 2)?);
            }
        }
        Ok(troves)
    }

    /// Returns the names of the installed troves by row.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn names(&self) -> Result<BTreeMap<i64, String>, RootDbError> {
        let mut statement = self.connection.prepare_cached("SELECT id, name FROM trove")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the files of an installed trove by path.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn files(&self, trove: i64) -> Result<Vec<FileRow>, RootDbError> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE trove = ?1 ORDER BY path");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([trove], read_file)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the rows of one path: several for a shared directory.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn rows_at(&self, path: &[u8]) -> Result<Vec<FileRow>, RootDbError> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE path = ?1 ORDER BY trove");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([path], read_file)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the rows of everything below a directory.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn rows_below(&self, directory: &[u8]) -> Result<Vec<FileRow>, RootDbError> {
        let (mut first, mut last) = (directory.to_vec(), directory.to_vec());
        first.push(b'/');
        last.push(b'/' + 1);
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE path > ?1 AND path < ?2 ORDER BY path, trove");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([first, last], read_file)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether any installed path is one that `wanted` says yes to.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn any_path(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<bool, RootDbError> {
        let mut statement = self.connection.prepare_cached("SELECT path FROM file WHERE kind <> 'directory'")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if wanted(row.get_ref(0)?.as_blob().map_err(|error| unreadable(0, error))?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the rows that have any of these flags, by path.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn rows_with(&self, flags: u32) -> Result<Vec<FileRow>, RootDbError> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE flags & ?1 <> 0 ORDER BY path, trove");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([flags], read_file)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the paths of packages that were there before them, in order.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn existed(&self) -> Result<Vec<Vec<u8>>, RootDbError> {
        // The words of the index, so that it is used.
        let sql = "SELECT DISTINCT path FROM file WHERE flags & 2 <> 0 ORDER BY path";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the rows of the files that were installed with a content, by path.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn rows_holding(&self, object: &Digest) -> Result<Vec<FileRow>, RootDbError> {
        let sql = format!("SELECT {FILE_COLUMNS} FROM file WHERE object = ?1 ORDER BY path, trove");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([object.as_bytes()], read_file)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the history, oldest first.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn changesets(&self) -> Result<Vec<ChangesetRow>, RootDbError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, at_unix_secs, actor, command_line, returns_to FROM changeset ORDER BY id")?;
        let mut changesets = statement
            .query_map([], |row| {
                Ok(ChangesetRow {
                    number: row.get(0)?,
                    at_unix_secs: row.get(1)?,
                    actor: row.get(2)?,
                    command_line: row.get(3)?,
                    returns_to: row.get(4)?,
                    changes: Vec::new(),
                })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT changeset, name, before, after FROM change ORDER BY changeset, name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            if let Ok(at) = changesets.binary_search_by_key(&number, |changeset| changeset.number) {
                changesets[at].changes.push(ChangeRow {
                    name: row.get(1)?,
                    before: json_column(row, 2)?,
                    after: json_column(row, 3)?,
                });
            }
        }
        Ok(changesets)
    }

    /// Returns the number of the last changeset, 0 before the first.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn last_changeset(&self) -> Result<i64, RootDbError> {
        let sql = "SELECT coalesce(max(id), 0) FROM changeset";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Returns what the changesets after `number` displaced, the oldest first.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn displaced_after(&self, number: i64) -> Result<Vec<Displaced>, RootDbError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT thing FROM displaced WHERE changeset > ?1 ORDER BY changeset, path")?;
        let rows = statement
            .query_map([number], |row| json_column::<Displaced>(row, 0)?.ok_or(rusqlite::Error::InvalidQuery))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns what every changeset displaced, with its number, the oldest first.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn displacements(&self) -> Result<Vec<(i64, Displaced)>, RootDbError> {
        let sql = "SELECT changeset, thing FROM displaced ORDER BY changeset, path";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, json_column::<Displaced>(row, 1)?.ok_or(rusqlite::Error::InvalidQuery)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns the files that lie beside configuration files, by path.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn beside(&self) -> Result<Vec<Beside>, RootDbError> {
        let mut statement =
            self.connection.prepare_cached("SELECT path, beside, changeset, object FROM beside ORDER BY path")?;
        let rows = statement.query_map([], |row| {
            Ok(Beside { path: row.get(0)?, of: row.get(1)?, changeset: row.get(2)?, object: digest_text(row, 3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Reads the whole file for damage.
    ///
    /// # Errors
    /// [`RootDbError::Damaged`], [`RootDbError::Sql`].
    pub fn check(&self) -> Result<(), RootDbError> {
        let said: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if said == "ok" {
            return Ok(());
        }
        Err(RootDbError::Damaged { path: FILE_NAME.into(), what: said })
    }

    /// Returns the transaction under way, if there is one.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn pending(&self) -> Result<Option<Pending>, RootDbError> {
        let sql = "SELECT number, state, directories, journal FROM pending";
        let row = self.connection.query_row(sql, [], |row| {
            Ok(Pending {
                number: row.get(0)?,
                state: match row.get_ref(1)?.as_str()? {
                    "committed" => State::Committed,
                    "settled" => State::Settled,
                    // Also what an earlier version prepared: nothing has happened yet.
                    _ => State::Begun,
                },
                directories: row.get(2)?,
                journal: match row.get_ref(3)?.as_blob_or_null()? {
                    None => None,
                    Some(packed) => Some(zstd::decode_all(packed).map_err(|error| unreadable(3, error))?),
                },
            })
        });
        Ok(row.optional()?)
    }

    /// Records that a transaction makes temporary names in `directories`. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`], also when another transaction is under way.
    pub fn begin(&self, number: i64, directories: &[u8]) -> Result<(), RootDbError> {
        let sql = "INSERT INTO pending (one, number, state, directories) VALUES (1, ?1, 'begun', ?2)";
        self.connection.execute(sql, params![number, directories])?;
        Ok(())
    }

    /// The commit point, with the journal of what is to be done: from here on the transaction has happened. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn commit(&self, journal: &PackedJournal) -> Result<(), RootDbError> {
        let sql = "UPDATE pending SET state = 'committed', journal = ?1 WHERE state = 'begun'";
        match self.connection.execute(sql, params![journal.0])? {
            1 => Ok(()),
            _ => Err(rusqlite::Error::QueryReturnedNoRows.into()),
        }
    }

    /// Writes what the transaction changed, in one commit that also drops the journal unless there is something to clean up.
    ///
    /// # Errors
    /// [`RootDbError::Sql`]; nothing is written then.
    pub fn settle(&mut self, settlement: &Settlement, clean_up: bool) -> Result<(), RootDbError> {
        let transaction = self.connection.transaction()?;
        let done = if clean_up { "UPDATE pending SET state = 'settled'" } else { "DELETE FROM pending" };
        if let Some(trigger) = &settlement.trigger {
            // What a trigger writes is no changeset of its own.
            triggers::note_done(&transaction, trigger)?;
            transaction.execute(done, [])?;
            return Ok(transaction.commit()?);
        }
        if let Some(script) = &settlement.script {
            scripts::note_done(&transaction, script)?;
            triggers::set_off(&transaction, script.changeset, &settlement.set_off)?;
            transaction.execute(done, [])?;
            return Ok(transaction.commit()?);
        }
        let changeset = &settlement.changeset;
        insert_changeset(&transaction, changeset)?;
        for row in &settlement.leaving {
            transaction.execute("DELETE FROM trove WHERE id = ?1", [row])?;
        }
        for (row, reason) in &settlement.reasons {
            transaction.execute("UPDATE trove SET reason = ?2 WHERE id = ?1", params![row, reason.as_str()])?;
        }
        for (trove, files) in settlement.troves.iter().zip(&settlement.files) {
            insert_trove(&transaction, trove, files)?;
        }
        insert_record(&transaction, settlement)?;
        triggers::set_off(&transaction, changeset.number, &settlement.set_off)?;
        let changed: Vec<String> = changeset.changes.iter().map(|change| change.name.clone()).collect();
        scripts::queue(&transaction, changeset.number, &changed, &settlement.scripts)?;
        if let Some(rows) = &settlement.hooks {
            hooks::replace(&transaction, rows)?;
        }
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

const FILE_COLUMNS: &str = "path, trove, component, packaged, kind, mode, owner, grp, applied_mode, uid, gid, \
     object, size, target, link, xattrs, flags, inode, mtime_ns, ctime_ns";

fn read_file(row: &Row<'_>) -> rusqlite::Result<FileRow> {
    let inode: Option<i64> = row.get(17)?;
    Ok(FileRow {
        path: row.get(0)?,
        trove: row.get(1)?,
        component: row.get(2)?,
        packaged: row.get(3)?,
        kind: Kind::parse(row.get_ref(4)?.as_str()?),
        mode: row.get(5)?,
        owner: row.get(6)?,
        group: row.get(7)?,
        applied_mode: row.get(8)?,
        uid: row.get(9)?,
        gid: row.get(10)?,
        object: row.get::<_, Option<[u8; 32]>>(11)?.map(Digest::blake3),
        size: row.get::<_, i64>(12)?.cast_unsigned(),
        target: row.get(13)?,
        link: row.get(14)?,
        xattrs: match row.get::<_, Option<Vec<u8>>>(15)? {
            None => BTreeMap::new(),
            Some(bytes) => serde_json::from_slice::<Xattrs>(&bytes).map_err(|error| unreadable(15, error))?.0,
        },
        flags: row.get(16)?,
        fingerprint: match inode {
            None => None,
            Some(inode) => {
                Some(Fingerprint { inode: inode.cast_unsigned(), mtime_ns: row.get(18)?, ctime_ns: row.get(19)? })
            }
        },
    })
}

/// Writes the row of a changeset and what it changed.
fn insert_changeset(transaction: &Connection, changeset: &ChangesetRow) -> Result<(), RootDbError> {
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
        transaction.execute(
            "INSERT INTO change (changeset, name, before, after) VALUES (?1, ?2, ?3, ?4)",
            params![changeset.number, change.name, to_json(change.before.as_ref())?, to_json(change.after.as_ref())?],
        )?;
    }
    Ok(())
}

fn insert_trove(connection: &Connection, trove: &TroveRow, files: &[FileRow]) -> Result<(), RootDbError> {
    connection.execute(
        "INSERT INTO trove (name, digest, manifest, reason, changeset) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![trove.name, trove.digest.to_string(), trove.manifest, trove.reason.as_str(), trove.changeset],
    )?;
    let row = connection.last_insert_rowid();
    for (name, tree) in &trove.components {
        connection.execute(
            "INSERT INTO component (trove, name, tree) VALUES (?1, ?2, ?3)",
            params![row, name, tree.to_string()],
        )?;
    }
    let sql = format!(
        "INSERT INTO file ({FILE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    for file in files {
        let xattrs = if file.xattrs.is_empty() {
            None
        } else {
            Some(serde_json::to_vec(&XattrsRef(&file.xattrs)).map_err(unwritable)?)
        };
        statement.execute(params![
            file.path,
            row,
            file.component,
            file.packaged,
            file.kind.as_str(),
            file.mode,
            file.owner,
            file.group,
            file.applied_mode,
            file.uid,
            file.gid,
            file.object.as_ref().map(Digest::as_bytes),
            file.size.cast_signed(),
            file.target,
            file.link,
            xattrs,
            file.flags,
            file.fingerprint.map(|print| print.inode.cast_signed()),
            file.fingerprint.map(|print| print.mtime_ns),
            file.fingerprint.map(|print| print.ctime_ns),
        ])?;
    }
    Ok(())
}

fn insert_record(connection: &Connection, settlement: &Settlement) -> Result<(), RootDbError> {
    let number = settlement.changeset.number;
    for thing in &settlement.displaced {
        insert_displaced(connection, number, thing)?;
    }
    for path in &settlement.beside_gone {
        connection.execute("DELETE FROM beside WHERE path = ?1", [path])?;
    }
    for beside in &settlement.beside {
        insert_beside(connection, number, beside)?;
    }
    Ok(())
}

fn insert_displaced(connection: &Connection, changeset: i64, thing: &Displaced) -> Result<(), RootDbError> {
    let sql = "INSERT INTO displaced (changeset, path, thing) VALUES (?1, ?2, ?3)";
    connection.execute(sql, params![changeset, thing.path, to_json(Some(thing))?])?;
    Ok(())
}

fn insert_beside(connection: &Connection, changeset: i64, beside: &Beside) -> Result<(), RootDbError> {
    let sql = "INSERT OR REPLACE INTO beside (path, beside, changeset, object) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![beside.path, beside.of, changeset, beside.object.to_string()])?;
    Ok(())
}

fn digest_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| unreadable(column, error))
}

fn json_column<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| unreadable(column, error))).transpose()
}

fn to_json<T: Serialize>(value: Option<&T>) -> Result<Option<String>, RootDbError> {
    value.map(|value| serde_json::to_string(value).map_err(unwritable)).transpose()
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
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

fn unwritable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RootDbError {
    RootDbError::Sql(rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[derive(Deserialize)]
struct Xattrs(#[serde(with = "map_text")] BTreeMap<Vec<u8>, Vec<u8>>);

#[derive(Serialize)]
struct XattrsRef<'a>(#[serde(serialize_with = "map_text::serialize")] &'a BTreeMap<Vec<u8>, Vec<u8>>);

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8], kind: Kind) -> FileRow {
        FileRow {
            path: path.to_vec(),
            trove: 0,
            component: "runtime".to_owned(),
            packaged: (kind == Kind::Symlink).then(|| b"lib/x".to_vec()),
            kind,
            mode: 0o755,
            owner: "root".to_owned(),
            group: "games".to_owned(),
            applied_mode: 0o755,
            uid: 0,
            gid: 60,
            object: (kind == Kind::File).then(|| Digest::blake3([7; 32])),
            size: 12,
            target: (kind == Kind::Symlink).then(|| b"\xff".to_vec()),
            link: None,
            xattrs: BTreeMap::from([(b"user.a".to_vec(), vec![0, 255])]),
            flags: FLAG_CONFIG,
            fingerprint: Some(Fingerprint { inode: u64::MAX, mtime_ns: -1, ctime_ns: 2 }),
        }
    }

    fn settlement(number: i64, name: &str, leaving: Vec<i64>) -> Settlement {
        let held = Held {
            spec: format!("{name}=1-1"),
            digest: Digest::blake3([1; 32]),
            components: vec!["runtime".to_owned()],
            reason: Reason::Explicit,
        };
        Settlement {
            changeset: ChangesetRow {
                number,
                at_unix_secs: 5,
                actor: "me".to_owned(),
                command_line: "conary install x".to_owned(),
                returns_to: None,
                changes: vec![ChangeRow { name: name.to_owned(), before: None, after: Some(held) }],
            },
            leaving,
            troves: vec![TroveRow {
                row: 0,
                name: name.to_owned(),
                digest: Digest::blake3([1; 32]),
                manifest: b"{}".to_vec(),
                reason: Reason::Explicit,
                changeset: number,
                components: BTreeMap::from([("runtime".to_owned(), Digest::blake3([2; 32]))]),
            }],
            files: vec![vec![
                file(b"usr", Kind::Directory),
                file(b"usr/f", Kind::File),
                file(b"usr/l\xfe", Kind::Symlink),
            ]],
            reasons: Vec::new(),
            displaced: vec![Displaced {
                path: b"etc/\xff".to_vec(),
                kind: Kind::File,
                mode: 0o600,
                uid: 1,
                gid: 2,
                object: Some(Digest::blake3([9; 32])),
                size: 3,
                target: None,
                edit: true,
            }],
            beside: Vec::new(),
            beside_gone: Vec::new(),
            set_off: vec!["ldconfig".to_owned()],
            hooks: Some(vec![HookRow { kind: HookKind::User, key: b"x".to_vec(), value: b"x:x:9".to_vec() }]),
            trigger: None,
            script: None,
            scripts: vec![ScriptRow {
                name: "x".to_owned(),
                scriptlet: "post-install".to_owned(),
                text: "true".to_owned(),
                arguments: vec!["1-1".to_owned()],
            }],
        }
    }

    #[test]
    fn what_is_settled_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        assert!(RootDb::open_read_only(directory.path()).unwrap().is_none());
        let mut db = RootDb::open(directory.path()).unwrap();
        db.begin(1, b"dirs").unwrap();
        assert!(db.begin(2, b"").is_err(), "one transaction at a time");
        let journal = PackedJournal::new(b"journal").unwrap();
        db.commit(&journal).unwrap();
        assert!(db.commit(&journal).is_err(), "not twice");
        let pending = db.pending().unwrap().unwrap();
        assert_eq!((pending.number, pending.state), (1, State::Committed));
        assert_eq!(pending.journal.as_deref(), Some(b"journal".as_slice()));
        let given = settlement(1, "x", Vec::new());
        db.settle(&given, false).unwrap();
        assert_eq!(db.pending().unwrap(), None);
        let reader = RootDb::open_read_only(directory.path()).unwrap().unwrap();
        let troves = reader.troves().unwrap();
        assert_eq!(troves[0].components, given.troves[0].components);
        let files: Vec<_> =
            reader.files(troves[0].row).unwrap().into_iter().map(|row| FileRow { trove: 0, ..row }).collect();
        assert_eq!(files, given.files[0]);
        assert_eq!(reader.rows_below(b"usr").unwrap().len(), 2);
        assert_eq!(reader.rows_at(b"usr/f").unwrap().len(), 1);
        assert_eq!(reader.changesets().unwrap(), std::slice::from_ref(&given.changeset));
        assert_eq!(reader.displaced_after(0).unwrap(), given.displaced);
        assert_eq!(Some(reader.hooks().unwrap()), given.hooks);
        let due = reader.due_scripts().unwrap();
        assert_eq!((due.len(), &due[0].script), (1, &given.scripts[0]));
        assert!(reader.displaced_after(1).unwrap().is_empty());
        // The next one takes its place, files and all.
        db.begin(2, b"").unwrap();
        db.commit(&PackedJournal::new(b"").unwrap()).unwrap();
        let mut next = settlement(2, "x", vec![troves[0].row]);
        next.files[0].truncate(1);
        db.settle(&next, true).unwrap();
        assert_eq!(db.pending().unwrap().unwrap().state, State::Settled);
        db.clear().unwrap();
        assert!(db.files(troves[0].row).unwrap().is_empty());
        assert_eq!(db.rows_below(b"usr").unwrap(), []);
        assert_eq!(db.last_changeset().unwrap(), 2);
    }

    #[test]
    fn settlements_survive_the_journal() {
        let given = settlement(1, "x", vec![3]);
        let text = serde_json::to_vec(&given).unwrap();
        assert_eq!(serde_json::from_slice::<Settlement>(&text).unwrap(), given);
    }

    #[test]
    fn damaged_and_newer_databases_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        drop(RootDb::open(directory.path()).unwrap());
        let path = directory.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        for size in [0, 50, 4096, whole.len() - 4096] {
            std::fs::write(&path, &whole[..size]).unwrap();
            let error = RootDb::open(directory.path()).unwrap_err();
            assert!(error.is_damage(), "{size}: {error:?}");
            assert!(RootDb::open_read_only(directory.path()).unwrap_err().is_damage());
        }
        std::fs::write(&path, &whole).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", open::SCHEMA + 1).unwrap();
        drop(connection);
        assert!(matches!(RootDb::open(directory.path()), Err(RootDbError::Newer { .. })));
    }

    #[test]
    fn a_half_made_database_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("root.db.new"), b"torn").unwrap();
        drop(RootDb::open(directory.path()).unwrap());
        assert!(!directory.path().join("root.db.new").exists());
    }
}
