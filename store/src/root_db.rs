// store/src/root_db.rs
//! The SQL of a root's database, `<root>/var/lib/conary/root.db`.
//!
//! What is installed, what every changeset did, what a rollback needs, and the journal of a transaction under way. The meaning of
//! all of it is docs/design/transaction.md; decisions are crate `installer`'s. Nothing here knows a root's files.
//!
//! One writer at a time: the installer holds the root's lock. Readers need none (WAL).

use std::collections::BTreeMap;

use recipes::Digest;
use rusqlite::{Connection, OptionalExtension, Row};
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
mod write;

pub use error::RootDbError;
pub use export::{EXPORT_NAME, Exported, ExportedTrove};
pub use hooks::{HookKind, HookRow};
pub use policy::Hold;
pub use rows::{
    Applied, Beside, ChangeRow, ChangesetRow, Displaced, FLAG_CONFIG, FLAG_EXISTED, FLAG_NOREPLACE, FileRow,
    Fingerprint, Held, Kind, PathPrint, Pending, Reason, Settlement, State, TroveRow,
};
pub use scripts::{DueScript, ScriptDone, ScriptRow};
pub use text::{bytes_text, list_text, map_text, optional_bytes_text};
pub use triggers::{DueTrigger, TriggerDone, TriggerOutput, TriggerRule};
pub use write::PackedJournal;

/// Name of the database in the state directory.
pub const FILE_NAME: &str = "root.db";

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

fn unwritable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RootDbError {
    RootDbError::Sql(rusqlite::Error::ToSqlConversionFailure(error.into()))
}

#[derive(Deserialize)]
struct Xattrs(#[serde(with = "map_text")] BTreeMap<Vec<u8>, Vec<u8>>);

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

    /// What a transaction writes.
    struct Given {
        changeset: ChangesetRow,
        leaving: Vec<i64>,
        troves: Vec<TroveRow>,
        files: Vec<Vec<FileRow>>,
        displaced: Displaced,
        hooks: Vec<HookRow>,
        set_off: Vec<String>,
        scripts: Vec<ScriptRow>,
    }

    impl Given {
        fn new(number: i64, name: &str, leaving: Vec<i64>) -> Self {
            let held = Held {
                spec: format!("{name}=1-1"),
                digest: Digest::blake3([1; 32]),
                components: vec!["runtime".to_owned()],
                reason: Reason::Explicit,
            };
            Self {
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
                displaced: Displaced {
                    path: b"etc/\xff".to_vec(),
                    kind: Kind::File,
                    mode: 0o600,
                    uid: 1,
                    gid: 2,
                    object: Some(Digest::blake3([9; 32])),
                    size: 3,
                    target: None,
                    edit: true,
                },
                hooks: vec![HookRow { kind: HookKind::User, key: b"x".to_vec(), value: b"x:x:9".to_vec() }],
                set_off: vec!["ldconfig".to_owned()],
                scripts: vec![ScriptRow {
                    name: "x".to_owned(),
                    scriptlet: "post-install".to_owned(),
                    text: "true".to_owned(),
                    arguments: vec!["1-1".to_owned()],
                }],
            }
        }

        fn write(&self, db: &mut RootDb) {
            let applied: Vec<Vec<Applied>> =
                self.files.iter().map(|files| files.iter().map(Applied::of).collect()).collect();
            let settlement = Settlement {
                changeset: &self.changeset,
                leaving: &self.leaving,
                troves: &self.troves,
                files: &self.files,
                applied: &applied,
                reasons: &[],
                displaced: vec![&self.displaced],
                beside: &[],
                beside_gone: &[],
                hooks: Some(&self.hooks),
                set_off: &self.set_off,
                scripts: &self.scripts,
                script: None,
                trigger: None,
            };
            db.write(&settlement).unwrap();
        }
    }

    #[test]
    fn what_is_settled_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        assert!(RootDb::open_read_only(directory.path()).unwrap().is_none());
        let mut db = RootDb::open(directory.path()).unwrap();
        db.begin(1, b"dirs").unwrap();
        assert!(db.begin(2, b"").is_err(), "one transaction at a time");
        let given = Given::new(1, "x", Vec::new());
        given.write(&mut db);
        db.abandon().unwrap();
        db.abandon().unwrap();
        given.write(&mut db);
        let watcher = RootDb::open_read_only(directory.path()).unwrap().unwrap();
        assert_eq!(watcher.troves().unwrap(), [], "not before the commit point");
        let journal = PackedJournal::new(b"journal").unwrap();
        db.commit(&journal).unwrap();
        assert_eq!(watcher.troves().unwrap().len(), 1);
        assert!(db.commit(&journal).is_err(), "not twice");
        let pending = db.pending().unwrap().unwrap();
        assert_eq!((pending.number, pending.state), (1, State::Committed));
        assert_eq!(pending.journal.as_deref(), Some(b"journal".as_slice()));
        let print = Fingerprint { inode: 7, mtime_ns: 8, ctime_ns: 9 };
        db.settle(&[(b"usr/f", Some(print)), (b"usr/l\xfe", None)], &["ldconfig".to_owned()], false).unwrap();
        assert_eq!(db.pending().unwrap(), None);
        let reader = RootDb::open_read_only(directory.path()).unwrap().unwrap();
        let troves = reader.troves().unwrap();
        assert_eq!(troves[0].components, given.troves[0].components);
        let files: Vec<_> =
            reader.files(troves[0].row).unwrap().into_iter().map(|row| FileRow { trove: 0, ..row }).collect();
        let mut expected = given.files[0].clone();
        (expected[1].fingerprint, expected[2].fingerprint) = (Some(print), None);
        assert_eq!(files, expected);
        assert_eq!(reader.rows_below(b"usr").unwrap().len(), 2);
        assert_eq!(reader.rows_at(b"usr/f").unwrap().len(), 1);
        assert_eq!(reader.changesets().unwrap(), std::slice::from_ref(&given.changeset));
        assert_eq!(reader.displaced_after(0).unwrap(), [given.displaced]);
        assert_eq!(reader.hooks().unwrap(), given.hooks);
        assert_eq!(reader.due_triggers().unwrap(), []);
        let due = reader.due_scripts().unwrap();
        assert_eq!((due.len(), &due[0].script), (1, &given.scripts[0]));
        assert!(reader.displaced_after(1).unwrap().is_empty());
        // The next one takes its place, files and all.
        db.begin(2, b"").unwrap();
        let mut next = Given::new(2, "x", vec![troves[0].row]);
        next.files[0].truncate(1);
        next.write(&mut db);
        db.commit(&PackedJournal::new(b"").unwrap()).unwrap();
        db.settle(&[], &[], true).unwrap();
        assert_eq!(db.pending().unwrap().unwrap().state, State::Settled);
        db.clear().unwrap();
        assert!(db.files(troves[0].row).unwrap().is_empty());
        assert_eq!(db.rows_below(b"usr").unwrap(), []);
        assert_eq!(db.last_changeset().unwrap(), 2);
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
