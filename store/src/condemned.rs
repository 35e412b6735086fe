// store/src/condemned.rs
//! Garbage that commands under way may still use: out of sight at once, gone when the last of them has ended.
//!
//! The rows of condemned objects and troves are in tables of their own, with the epoch in which they were found; the files stay where they
//! are. Whoever holds that epoch or an earlier one still reads them. Whoever refers to one puts it back ([`Store::revive`]); whoever
//! began later does not see them, and adding the same content again makes it an ordinary object. Rows and files go in one step of
//! gc, which has the lease alone then. See `hold.rs` for epochs.

use std::collections::HashSet;

use recipes::Digest;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::Store;
use crate::cas::Variant;
use crate::database;
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::refs::Reference;
use crate::shards::ObjectRow;
use crate::troves;

impl Store {
    /// Says whether anything is condemned.
    pub(crate) fn any_condemned(&self) -> Result<bool, StoreError> {
        self.database().read("find garbage", any)
    }

    /// Returns the variants of a condemned object that this process may still use, because it holds an early enough epoch.
    pub(crate) fn condemned_variants(&self, object: &Digest) -> Result<Vec<(String, u64)>, StoreError> {
        let Some(epoch) = self.held_epoch() else { return Ok(Vec::new()) };
        self.database().read("find an object", |connection| {
            connection
                .prepare_cached("SELECT variant, size_bytes FROM condemned WHERE digest = ? AND epoch >= ?")?
                .query_map(params![object.as_bytes(), epoch], |row| Ok((row.get(0)?, database::unsigned(row, 1)?)))?
                .collect()
        })
    }

    /// Puts back whatever of these, and of what they name, is condemned. The caller shares the lease until its own row about them
    /// is committed, or has it alone.
    pub(crate) fn revive(&self, references: &[Reference]) -> Result<(), StoreError> {
        if references.is_empty() || !self.any_condemned()? {
            return Ok(());
        }
        let mut objects: HashSet<Digest> = HashSet::new();
        let mut trees: Vec<Digest> = Vec::new();
        for reference in references {
            match reference {
                Reference::Object(object) => drop(objects.insert(*object)),
                Reference::Tree(tree) => trees.push(*tree),
                Reference::Trove(trove) => {
                    if let Some(manifest) = self.revive_trove(trove)? {
                        trees.extend(manifest.components.values().map(|component| component.tree));
                    }
                }
            }
        }
        // A tree must be an object again before it can be read.
        self.database().write("put objects back", |transaction| revive_objects(transaction, &trees))?;
        for tree in trees {
            if self.has(&tree)? {
                objects.extend(self.tree(&tree)?.objects());
            }
        }
        let objects: Vec<Digest> = objects.into_iter().collect();
        self.database().write("put objects back", |transaction| revive_objects(transaction, &objects))
    }

    /// Puts a condemned trove's row back; returns the manifest of the trove, condemned or not.
    fn revive_trove(&self, id: &Digest) -> Result<Option<Manifest>, StoreError> {
        let condemned: Option<(Vec<u8>, i64)> = self.database().read("find a trove", |connection| {
            connection
                .prepare_cached("SELECT manifest, sequence FROM condemned_troves WHERE id = ?")?
                .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        let Some((json, sequence)) = condemned else {
            return match self.trove_row(id) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(StoreError::NoTrove { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let manifest = Manifest::from_json(&json).map_err(|source| StoreError::Manifest { trove: *id, source })?;
        self.database().write("put a trove back", |transaction| {
            transaction.execute("DELETE FROM condemned_troves WHERE id = ?", [id.as_bytes()])?;
            let prepared = troves::Prepared { id: *id, json, manifest: &manifest };
            troves::insert_as(transaction, &prepared, Some(sequence))
        })?;
        Ok(Some(manifest))
    }

    /// Puts a condemned trove back, with everything it names; says whether it was condemned.
    pub(crate) fn revive_whole_trove(&self, id: &Digest) -> Result<bool, StoreError> {
        if self.is_read_only() || !self.is_condemned_trove(id)? {
            return Ok(false);
        }
        let _lease = self.lease()?;
        self.revive(&[Reference::Trove(*id)])?;
        Ok(true)
    }

    fn is_condemned_trove(&self, id: &Digest) -> Result<bool, StoreError> {
        self.database().read("find a trove", |connection| {
            connection.prepare_cached("SELECT 1 FROM condemned_troves WHERE id = ?")?.exists([id.as_bytes()])
        })
    }

    /// Lists the condemned troves. gc asks.
    pub(crate) fn condemned_troves(&self) -> Result<Vec<Digest>, StoreError> {
        self.database().read("list condemned troves", |connection| {
            let mut statement = connection.prepare("SELECT id FROM condemned_troves")?;
            statement.query_map([], |row| database::digest(row, 0))?.collect()
        })
    }

    /// Reads the rows of condemned objects with one first byte, and the epoch of each.
    pub(crate) fn condemned_of_shard(&self, byte: u8) -> Result<Vec<(ObjectRow, i64)>, StoreError> {
        let (mut low, mut high) = ([0_u8; 32], [0xff_u8; 32]);
        (low[0], high[0]) = (byte, byte);
        self.database().read("list condemned objects", |connection| {
            connection
                .prepare_cached(
                    "SELECT digest, variant, size_bytes, epoch FROM condemned WHERE digest BETWEEN ? AND ?",
                )?
                .query_map([low, high], |row| {
                    let (object, variant) = (database::digest(row, 0)?, row.get(1)?);
                    Ok((ObjectRow { object, variant, size: database::unsigned(row, 2)? }, row.get(3)?))
                })?
                .collect()
        })
    }
}

/// Says whether anything is condemned.
pub(crate) fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM condemned) OR EXISTS (SELECT 1 FROM condemned_troves)")?
        .query_row([], |row| row.get(0))
}

/// Condemns objects and troves in the present epoch, and begins the next one.
pub(crate) fn condemn(
    transaction: &Transaction<'_>,
    objects: &[[u8; 32]],
    troves: &[[u8; 32]],
) -> rusqlite::Result<()> {
    let mut trove = transaction.prepare(
        "INSERT OR REPLACE INTO condemned_troves (id, sequence, manifest, epoch)
         SELECT id, sequence, manifest, (SELECT number FROM epoch) FROM troves WHERE id = ?",
    )?;
    for id in troves {
        trove.execute([id])?;
    }
    let mut object = transaction.prepare(
        "INSERT OR REPLACE INTO condemned (digest, variant, size_bytes, epoch)
         SELECT digest, variant, size_bytes, (SELECT number FROM epoch) FROM objects WHERE digest = ?",
    )?;
    for id in objects {
        object.execute([id])?;
    }
    if objects.is_empty() && troves.is_empty() {
        return Ok(());
    }
    transaction.execute("UPDATE epoch SET number = number + 1", []).map(drop)
}

/// Forgets what was condemned before an epoch, or everything; its files are removed next.
pub(crate) fn forget(transaction: &Transaction<'_>, before: Option<i64>) -> rusqlite::Result<()> {
    let before = before.unwrap_or(i64::MAX);
    transaction.execute("DELETE FROM condemned_troves WHERE epoch < ?", [before])?;
    transaction.execute("DELETE FROM condemned WHERE epoch < ?", [before]).map(drop)
}

/// Takes files that a batch has just written anew out of the condemned ones.
pub(crate) fn replaced<'a>(
    transaction: &Transaction<'_>,
    files: impl Iterator<Item = (&'a Digest, &'a Variant)>,
) -> rusqlite::Result<()> {
    if !any(transaction)? {
        return Ok(());
    }
    let mut delete = transaction.prepare_cached("DELETE FROM condemned WHERE digest = ? AND variant = ?")?;
    for (object, variant) in files {
        delete.execute(params![object.as_bytes(), variant.to_string()])?;
    }
    Ok(())
}

fn revive_objects(transaction: &Transaction<'_>, objects: &[Digest]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO objects (digest, variant, size_bytes)
         SELECT digest, variant, size_bytes FROM condemned WHERE digest = ?",
    )?;
    let mut delete = transaction.prepare_cached("DELETE FROM condemned WHERE digest = ?")?;
    for object in objects {
        insert.execute([object.as_bytes()])?;
        delete.execute([object.as_bytes()])?;
    }
    Ok(())
}
