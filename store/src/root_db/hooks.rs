// store/src/root_db/hooks.rs
//! What the hooks of packages made in a root: lines of account files, and links.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::text::bytes_text;
use super::{RootDb, RootDbError};

/// Tables that schema 4 brought.
pub(super) const TABLES: &str = "
CREATE TABLE hook (
  kind TEXT NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE script_due (
  changeset INTEGER NOT NULL,
  place INTEGER NOT NULL,
  name TEXT NOT NULL,
  scriptlet TEXT NOT NULL,
  text TEXT NOT NULL,
  arguments TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  error TEXT,
  PRIMARY KEY (changeset, place)
) STRICT, WITHOUT ROWID;
";

/// What kind of thing a hook made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookKind {
    /// A line of `etc/passwd`; the key is the user.
    User,
    /// A line of `etc/group`; the key is the group.
    Group,
    /// A line of `etc/shadow`.
    Shadow,
    /// A line of `etc/gshadow`.
    Gshadow,
    /// A user in a group; the key is `group:user`.
    Member,
    /// An account file that was not there; the key is its path.
    File,
    /// A link that enables a service; the key is its path, the value its target.
    Service,
    /// A link to an alternative.
    Alternative,
}

impl HookKind {
    const ALL: [HookKind; 8] = [
        HookKind::User,
        HookKind::Group,
        HookKind::Shadow,
        HookKind::Gshadow,
        HookKind::Member,
        HookKind::File,
        HookKind::Service,
        HookKind::Alternative,
    ];

    /// Returns the word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HookKind::User => "user",
            HookKind::Group => "group",
            HookKind::Shadow => "shadow",
            HookKind::Gshadow => "gshadow",
            HookKind::Member => "member",
            HookKind::File => "file",
            HookKind::Service => "service",
            HookKind::Alternative => "alternative",
        }
    }
}

/// Something that a hook made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HookRow {
    /// What it is.
    pub kind: HookKind,
    /// Its name or path.
    #[serde(with = "bytes_text")]
    pub key: Vec<u8>,
    /// The line, or the target of the link.
    #[serde(with = "bytes_text")]
    pub value: Vec<u8>,
}

impl RootDb {
    /// Returns everything that hooks made, by kind and key.
    ///
    /// # Errors
    /// [`RootDbError::Sql`].
    pub fn hooks(&self) -> Result<Vec<HookRow>, RootDbError> {
        let mut statement = self.connection.prepare_cached("SELECT kind, key, value FROM hook")?;
        let rows = statement.query_map([], |row| {
            let kind: String = row.get(0)?;
            let kind = HookKind::ALL.into_iter().find(|known| known.as_str() == kind);
            Ok(HookRow { kind: kind.ok_or(rusqlite::Error::InvalidQuery)?, key: row.get(1)?, value: row.get(2)? })
        })?;
        let mut rows: Vec<HookRow> = rows.collect::<Result<_, _>>()?;
        rows.sort();
        Ok(rows)
    }
}

/// Writes down all that hooks have made now.
pub(super) fn replace(connection: &Connection, rows: &[HookRow]) -> Result<(), RootDbError> {
    connection.execute("DELETE FROM hook", [])?;
    let mut statement = connection.prepare_cached("INSERT INTO hook (kind, key, value) VALUES (?1, ?2, ?3)")?;
    for row in rows {
        statement.execute(params![row.kind.as_str(), row.key, row.value])?;
    }
    Ok(())
}
