// store/src/actions.rs
//! Actions: which troves a cook key gave, and what went into it.

use recipes::Digest;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::database;
use crate::error::StoreError;
use crate::refs::Reference;

/// One input of an action, as its key saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What sort of input.
    pub kind: String,
    /// Which of its kind.
    pub name: String,
    /// Its value, or the digest of its content.
    pub value: String,
}

/// What an action gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRow {
    /// The cook key.
    pub key: Digest,
    /// The package that was cooked.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What the key was made of, in its order.
    pub inputs: Vec<Input>,
    /// What came out.
    pub troves: Vec<Digest>,
    /// The build log, where it is an object.
    pub log: Option<Digest>,
    /// How isolated it ran.
    pub isolation: String,
    /// Who ran it.
    pub made_by_uid: u32,
    /// When it ended, in seconds since 1970.
    pub at_unix_secs: i64,
    /// The detached statement about it, as JSON.
    pub statement: String,
}

const COLUMNS: &str = "key, name, version, inputs, log, isolation, made_by_uid, at_unix_secs, statement, sequence";

impl Store {
    /// Returns what a key gave.
    ///
    /// # Errors
    /// [`StoreError::Database`], also for a row that does not read.
    pub fn action(&self, key: &Digest) -> Result<Option<ActionRow>, StoreError> {
        self.database().read("find an action", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM actions WHERE key = ?");
            let row = connection.prepare_cached(&sql)?.query_row([key.as_bytes()], action_row).optional()?;
            row.map(|row| with_troves(connection, row)).transpose()
        })
    }

    /// Returns the action of a package that was recorded last.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn latest_action(&self, name: &str) -> Result<Option<ActionRow>, StoreError> {
        Ok(self.actions(name, 1)?.pop())
    }

    /// Lists the actions of a package, the one recorded last first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn actions(&self, name: &str, limit: u32) -> Result<Vec<ActionRow>, StoreError> {
        self.database().read("find actions", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM actions WHERE name = ? ORDER BY sequence DESC LIMIT ?");
            let rows = connection
                .prepare_cached(&sql)?
                .query_map(params![name, limit], action_row)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            rows.into_iter().map(|row| with_troves(connection, row)).collect()
        })
    }

    /// Records what an action gave, in place of an earlier answer to the same key.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn record_action(&self, action: &ActionRow) -> Result<(), StoreError> {
        self.writable()?;
        let _lease = self.lease()?;
        let troves: Vec<Reference> = action.troves.iter().map(|trove| Reference::Trove(*trove)).collect();
        self.revive(&troves)?;
        self.database().write("record an action", |transaction| insert(transaction, action))
    }

    /// Says whether a trove is in the store with everything it names.
    ///
    /// That it was complete was checked when it was put, and gc takes a trove with its content or not
    /// at all; here its row and those of its trees are looked up. [`Store::verify`] looks at every file.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn is_complete(&self, trove: &Digest) -> Result<bool, StoreError> {
        let complete = |store: &Self| {
            store.database().read("find a trove", |connection| {
                connection
                    .prepare_cached(
                        "SELECT NOT EXISTS (
                       SELECT 1 FROM trove_trees WHERE trove_trees.trove = troves.sequence
                       AND NOT EXISTS (SELECT 1 FROM objects WHERE objects.digest = trove_trees.tree))
                     FROM troves WHERE id = ?",
                    )?
                    .query_row([trove.as_bytes()], |row| row.get(0))
                    .optional()
                    .map(|found| found.unwrap_or(false))
            })
        };
        // What was condemned is whole, and used again from now on.
        Ok(complete(self)? || (self.revive_whole_trove(trove)? && complete(self)?))
    }
}

/// Writes the row of an action; whoever commits it has revived its troves.
pub(crate) fn insert(connection: &Connection, action: &ActionRow) -> rusqlite::Result<()> {
    let inputs = serde_json::to_string(&action.inputs)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection.prepare_cached("DELETE FROM actions WHERE key = ?")?.execute([action.key.as_bytes()])?;
    connection
        .prepare_cached(
            "INSERT INTO actions
             (key, name, version, inputs, log, isolation, made_by_uid, at_unix_secs, statement)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            action.key.as_bytes(),
            action.name,
            action.version,
            inputs,
            action.log.as_ref().map(Digest::as_bytes),
            action.isolation,
            action.made_by_uid,
            action.at_unix_secs,
            action.statement,
        ])?;
    let sequence = connection.last_insert_rowid();
    let mut trove =
        connection.prepare_cached("INSERT INTO action_troves (action, position, trove) VALUES (?, ?, ?)")?;
    for (position, id) in (0_i64..).zip(&action.troves) {
        trove.execute(params![sequence, position, id.as_bytes()])?;
    }
    Ok(())
}

fn action_row(row: &Row<'_>) -> rusqlite::Result<(i64, ActionRow)> {
    let inputs: String = row.get(3)?;
    let inputs = serde_json::from_str(&inputs)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error)))?;
    let action = ActionRow {
        key: database::digest(row, 0)?,
        name: row.get(1)?,
        version: row.get(2)?,
        inputs,
        troves: Vec::new(),
        log: row.get::<_, Option<[u8; 32]>>(4)?.map(Digest::blake3),
        isolation: row.get(5)?,
        made_by_uid: row.get(6)?,
        at_unix_secs: row.get(7)?,
        statement: row.get(8)?,
    };
    Ok((row.get(9)?, action))
}

fn with_troves(connection: &Connection, (sequence, mut action): (i64, ActionRow)) -> rusqlite::Result<ActionRow> {
    action.troves = connection
        .prepare_cached("SELECT trove FROM action_troves WHERE action = ? ORDER BY position")?
        .query_map([sequence], |row| database::digest(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use crate::manifest::tests::sample;

    fn action(key: u8, version: &str) -> ActionRow {
        ActionRow {
            key: Digest::blake3([key; 32]),
            name: "hello".to_owned(),
            version: version.to_owned(),
            inputs: vec![Input { kind: "source".to_owned(), name: "main".to_owned(), value: "x".to_owned() }],
            troves: vec![Digest::blake3([1; 32]), Digest::blake3([0; 32])],
            log: Some(Digest::blake3([2; 32])),
            isolation: "full".to_owned(),
            made_by_uid: 1000,
            at_unix_secs: 1,
            statement: "{}".to_owned(),
        }
    }

    #[test]
    fn actions_are_found_by_key_and_by_age() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        assert_eq!(store.latest_action("hello").unwrap(), None);
        let (one, two) = (action(1, "1-1"), action(2, "2-1"));
        store.record_action(&one).unwrap();
        store.record_action(&two).unwrap();
        assert_eq!(store.action(&one.key).unwrap(), Some(one.clone()));
        assert_eq!(store.latest_action("hello").unwrap(), Some(two.clone()));
        store.record_action(&one).unwrap();
        assert_eq!(store.actions("hello", 9).unwrap(), vec![one, two]);
        assert_eq!(store.action(&Digest::blake3([9; 32])).unwrap(), None);
    }

    #[test]
    fn a_cook_is_recorded_whole_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let made = [sample("hello", "1-1"), sample("hello-doc", "1-1")];
        let ids = [made[0].id(), made[1].id()];
        let batch = store.batch().unwrap();
        for manifest in made {
            batch.add_trove(manifest, Vec::new());
        }
        batch.add_action(ActionRow { troves: ids.to_vec(), ..action(1, "1-1") });
        batch.commit().unwrap();
        assert_eq!(store.latest_action("hello").unwrap().unwrap().troves, ids);
        assert!(ids.iter().all(|id| store.is_complete(id).unwrap()));
        let mut broken = sample("hello", "2-1");
        broken.components.insert(
            "runtime".to_owned(),
            crate::Component {
                tree: Digest::blake3([3; 32]),
                files: 0,
                size_bytes: 0,
                provides: vec![],
                requires: vec![],
            },
        );
        let sound = sample("hello-doc", "2-1");
        let batch = store.batch().unwrap();
        batch.add_trove(sound.clone(), Vec::new());
        batch.add_trove(broken.clone(), Vec::new());
        batch.add_action(action(2, "2-1"));
        let error = batch.commit().unwrap_err();
        assert!(matches!(error, StoreError::Incomplete { .. }));
        assert_eq!(store.action(&Digest::blake3([2; 32])).unwrap(), None);
        assert!(!store.is_complete(&broken.id()).unwrap() && !store.has_trove(&sound.id()).unwrap());
    }
}
