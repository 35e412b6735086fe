// store/src/root_db/policy.rs
//! What a root's owner laid down: packages that are pinned or protected, and how far back states are kept.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{RootDb, RootDbError};

/// Tables that schema 2 brought.
pub(super) const TABLES: &str = "
CREATE TABLE hold (
  name TEXT NOT NULL PRIMARY KEY,
  pinned INTEGER NOT NULL,
  protected INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE kept_from (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  number INTEGER NOT NULL
) STRICT;
";

/// What may not be done to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hold {
    /// It stays at its version.
    pub pinned: bool,
    /// It is not removed.
    pub protected: bool,
}

impl Hold {
    /// Whether it forbids nothing.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl RootDb {
    /// Returns what is held, by name.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn holds(&self) -> Result<BTreeMap<String, Hold>, RootDbError> {
        let mut statement = self.connection.prepare_cached("SELECT name, pinned, protected FROM hold")?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, Hold { pinned: row.get(1)?, protected: row.get(2)? })))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Says what may not be done to some packages, in one commit. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn set_holds(&mut self, holds: &[(String, Hold)]) -> Result<(), RootDbError> {
        let transaction = self.connection.transaction()?;
        for (name, hold) in holds {
            transaction.execute("DELETE FROM hold WHERE name = ?1", [name])?;
            if !hold.is_none() {
                let sql = "INSERT INTO hold (name, pinned, protected) VALUES (?1, ?2, ?3)";
                transaction.execute(sql, params![name, hold.pinned, hold.protected])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Returns the number of the oldest state that can be returned to.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn kept_from(&self) -> Result<i64, RootDbError> {
        Ok(self.connection.query_row("SELECT coalesce(max(number), 0) FROM kept_from", [], |row| row.get(0))?)
    }

    /// Forgets what only states before `number` need. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn keep_from(&mut self, number: i64) -> Result<(), RootDbError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM displaced WHERE changeset <= ?1", [number])?;
        transaction.execute("INSERT OR REPLACE INTO kept_from (one, number) VALUES (1, ?1)", [number])?;
        Ok(transaction.commit()?)
    }
}
