// store/src/root_db/triggers.rs
//! Triggers in the database: rules that a root's owner added, what is due, and what each wrote.

use recipes::Digest;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::rows::Kind;
use super::text::bytes_text;
use super::{RootDb, RootDbError, digest_text, json_column, to_json};

/// Tables that schema 3 brought.
pub(super) const TABLES: &str = "
CREATE TABLE trigger_rule (
  name TEXT NOT NULL PRIMARY KEY,
  patterns TEXT NOT NULL,
  command TEXT NOT NULL,
  follows TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE trigger_due (
  name TEXT NOT NULL PRIMARY KEY,
  changeset INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE trigger_output (
  path BLOB NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  object TEXT
) STRICT, WITHOUT ROWID;
";

/// A rule: what is run when some paths change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerRule {
    /// Its name.
    pub name: String,
    /// Globs of absolute paths that set it off.
    pub patterns: Vec<String>,
    /// Shell text.
    pub command: String,
    /// Triggers that are run before it, where they are due.
    pub after: Vec<String>,
}

/// A trigger that has to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTrigger {
    /// Its name.
    pub name: String,
    /// The changeset that first set it off.
    pub changeset: i64,
    /// How often it failed.
    pub attempts: i64,
    /// Why it failed the last time.
    pub error: Option<String>,
}

/// Something that a trigger wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerOutput {
    /// Where.
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    /// What.
    pub kind: Kind,
    /// Content of a file.
    pub object: Option<Digest>,
}

/// A trigger that has run: what it leaves is all that it ever wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerDone {
    /// Its name.
    pub name: String,
    /// What it wrote, by path.
    pub outputs: Vec<TriggerOutput>,
}

impl RootDb {
    /// Returns the rules that were added, by name.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn trigger_rules(&self) -> Result<Vec<TriggerRule>, RootDbError> {
        let sql = "SELECT name, patterns, command, follows FROM trigger_rule ORDER BY name";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(TriggerRule {
                name: row.get(0)?,
                patterns: json_column(row, 1)?.unwrap_or_default(),
                command: row.get(2)?,
                after: json_column(row, 3)?.unwrap_or_default(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds a rule, or changes the one of that name. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn put_trigger_rule(&self, rule: &TriggerRule) -> Result<(), RootDbError> {
        let sql = "INSERT OR REPLACE INTO trigger_rule (name, patterns, command, follows) VALUES (?1, ?2, ?3, ?4)";
        let (patterns, after) = (to_json(Some(&rule.patterns))?, to_json(Some(&rule.after))?);
        self.connection.execute(sql, params![rule.name, patterns, rule.command, after])?;
        Ok(())
    }

    /// Removes a rule, and what is due of it; says whether there was one. What it wrote stays recorded.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn remove_trigger_rule(&mut self, name: &str) -> Result<bool, RootDbError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM trigger_due WHERE name = ?1", [name])?;
        let removed = transaction.execute("DELETE FROM trigger_rule WHERE name = ?1", [name])? > 0;
        transaction.commit()?;
        Ok(removed)
    }

    /// Returns the triggers that have to run, by name.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn due_triggers(&self) -> Result<Vec<DueTrigger>, RootDbError> {
        let sql = "SELECT name, changeset, attempts, error FROM trigger_due ORDER BY name";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(DueTrigger { name: row.get(0)?, changeset: row.get(1)?, attempts: row.get(2)?, error: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Records that a trigger failed; it stays due. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn trigger_failed(&self, name: &str, error: &str) -> Result<(), RootDbError> {
        let sql = "UPDATE trigger_due SET attempts = attempts + 1, error = ?2 WHERE name = ?1";
        self.connection.execute(sql, params![name, error])?;
        Ok(())
    }

    /// Returns what a trigger wrote, by path.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn trigger_outputs(&self, name: &str) -> Result<Vec<TriggerOutput>, RootDbError> {
        let sql = "SELECT path, kind, object FROM trigger_output WHERE name = ?1 ORDER BY path";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([name], read_output)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Returns what every trigger wrote, by its name.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub(super) fn outputs(&self) -> Result<Vec<TriggerDone>, RootDbError> {
        let sql = "SELECT path, kind, object, name FROM trigger_output ORDER BY name, path";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut all: Vec<TriggerDone> = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, output): (String, _) = (row.get(3)?, read_output(row)?);
            match all.last_mut().filter(|last| last.name == name) {
                Some(last) => last.outputs.push(output),
                None => all.push(TriggerDone { name, outputs: vec![output] }),
            }
        }
        Ok(all)
    }
}

fn read_output(row: &Row<'_>) -> rusqlite::Result<TriggerOutput> {
    let object = match row.get_ref(2)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(digest_text(row, 2)?),
    };
    Ok(TriggerOutput { path: row.get(0)?, kind: Kind::parse(row.get_ref(1)?.as_str()?), object })
}

/// Notes what a changeset sets off; a trigger that is due already stays so.
pub(super) fn set_off(connection: &Connection, changeset: i64, names: &[String]) -> Result<(), RootDbError> {
    for name in names {
        let sql = "INSERT OR IGNORE INTO trigger_due (name, changeset, attempts) VALUES (?1, ?2, 0)";
        connection.execute(sql, params![name, changeset])?;
    }
    Ok(())
}

/// Notes that triggers have nothing to do.
pub(super) fn forget(connection: &Connection, names: &[String]) -> Result<(), RootDbError> {
    for name in names {
        connection.execute("DELETE FROM trigger_due WHERE name = ?1", [name])?;
    }
    Ok(())
}

/// Notes that a trigger has run.
pub(super) fn note_done(connection: &Connection, done: &TriggerDone) -> Result<(), RootDbError> {
    connection.execute("DELETE FROM trigger_due WHERE name = ?1", [&done.name])?;
    connection.execute("DELETE FROM trigger_output WHERE name = ?1", [&done.name])?;
    for output in &done.outputs {
        connection.execute(
            "INSERT OR REPLACE INTO trigger_output (path, name, kind, object) VALUES (?1, ?2, ?3, ?4)",
            params![output.path, done.name, output.kind.as_str(), output.object.map(|object| object.to_string())],
        )?;
    }
    Ok(())
}
