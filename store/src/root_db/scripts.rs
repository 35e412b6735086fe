// store/src/root_db/scripts.rs
//! Scriptlets in the database: those that have to run after a changeset.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{RootDb, RootDbError, json_column, to_json};

/// A scriptlet and how it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRow {
    /// Its package.
    pub name: String,
    /// When it runs, as `[scripts]` calls it.
    pub scriptlet: String,
    /// Its text.
    pub text: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A scriptlet that has to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueScript {
    /// The changeset that it belongs to.
    pub changeset: i64,
    /// Its place among those of the changeset.
    pub place: i64,
    /// What is run.
    pub script: ScriptRow,
    /// How often it failed.
    pub attempts: i64,
    /// Why it failed the last time.
    pub error: Option<String>,
}

/// A scriptlet that has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptDone {
    /// The changeset that it belonged to.
    pub changeset: i64,
    /// Its place; none for one that ran before its changeset.
    pub place: Option<i64>,
}

impl RootDb {
    /// Returns the scriptlets that have to run, in their order.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn due_scripts(&self) -> Result<Vec<DueScript>, RootDbError> {
        let sql = "SELECT changeset, place, name, scriptlet, text, arguments, attempts, error FROM script_due \
                   ORDER BY changeset, place";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(DueScript {
                changeset: row.get(0)?,
                place: row.get(1)?,
                script: ScriptRow {
                    name: row.get(2)?,
                    scriptlet: row.get(3)?,
                    text: row.get(4)?,
                    arguments: json_column(row, 5)?.unwrap_or_default(),
                },
                attempts: row.get(6)?,
                error: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Records that a scriptlet failed; it stays due. Durable on return.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn script_failed(&self, due: &DueScript, error: &str) -> Result<(), RootDbError> {
        let sql = "UPDATE script_due SET attempts = attempts + 1, error = ?3 WHERE changeset = ?1 AND place = ?2";
        self.connection.execute(sql, params![due.changeset, due.place, error])?;
        Ok(())
    }
}

/// Notes the scriptlets of a changeset; those of earlier ones that its packages still had to run are out of date.
pub(super) fn queue(
    connection: &Connection,
    changeset: i64,
    changed: &[String],
    scripts: &[ScriptRow],
) -> Result<(), RootDbError> {
    for name in changed {
        connection.execute("DELETE FROM script_due WHERE name = ?1", [name])?;
    }
    for (place, script) in scripts.iter().enumerate() {
        let sql = "INSERT INTO script_due (changeset, place, name, scriptlet, text, arguments, attempts) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        let arguments = to_json(Some(&script.arguments))?;
        connection.execute(sql, params![changeset, place, script.name, script.scriptlet, script.text, arguments])?;
    }
    Ok(())
}

/// Notes that a scriptlet has run.
pub(super) fn note_done(connection: &Connection, done: &ScriptDone) -> Result<(), RootDbError> {
    let sql = "DELETE FROM script_due WHERE changeset = ?1 AND place = ?2";
    connection.execute(sql, params![done.changeset, done.place])?;
    Ok(())
}
