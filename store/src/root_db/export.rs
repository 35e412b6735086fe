// store/src/root_db/export.rs
//! What a root's database can be rebuilt from: a small text beside it, written with each change.
//!
//! It holds what no object of the store knows: which troves are installed and why, the history, what is held, the rules of triggers, what hooks made. Files
//! are not in it: manifests and trees of the store say them, and the root itself how they are. Hence it is small however many files there are.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use recipes::Digest;
use rusqlite::params;
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::{
    ChangesetRow, FileRow, Hold, HookRow, Reason, RootDb, RootDbError, TriggerRule, TroveRow, hooks, insert_changeset,
    insert_trove,
};
use crate::durable;

/// Name of the export in the state directory.
pub const EXPORT_NAME: &str = "state.json";

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// What a database can be rebuilt from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// The format.
    pub format: u32,
    /// Installed troves.
    pub troves: Vec<ExportedTrove>,
    /// Packages that are pinned, and that are protected.
    pub holds: BTreeMap<String, (bool, bool)>,
    /// Rules of triggers that were added.
    pub rules: Vec<TriggerRule>,
    /// What hooks made.
    pub hooks: Vec<HookRow>,
    /// The oldest state that can be returned to.
    pub kept_from: i64,
    /// Every changeset, the oldest first.
    pub history: Vec<ChangesetRow>,
}

/// An installed trove in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedTrove {
    /// Its name.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Installed components.
    pub components: Vec<String>,
    /// Why it is there.
    pub reason: Reason,
    /// The changeset that brought it in this form.
    pub changeset: i64,
}

impl Exported {
    /// Reads an export.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let exported: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if exported.format != FORMAT {
            return Err(format!("it has format {}; this version knows {FORMAT}", exported.format));
        }
        Ok(exported)
    }
}

impl RootDb {
    /// Writes the export into the state directory. Durable on return.
    ///
    /// # Panics
    /// Never: an export holds only strings, numbers and lists of them.
    ///
    /// # Errors
    /// Every [`RootDbError`].
    pub fn export(&self, directory: impl AsFd) -> Result<(), RootDbError> {
        let trove = |trove: TroveRow| ExportedTrove {
            name: trove.name,
            digest: trove.digest,
            components: trove.components.into_keys().collect(),
            reason: trove.reason,
            changeset: trove.changeset,
        };
        let holds = self.holds()?.into_iter().map(|(name, hold)| (name, (hold.pinned, hold.protected)));
        let exported = Exported {
            format: FORMAT,
            troves: self.troves()?.into_iter().map(trove).collect(),
            holds: holds.collect(),
            rules: self.trigger_rules()?,
            hooks: self.hooks()?,
            kept_from: self.kept_from()?,
            history: self.changesets()?,
        };
        let bytes = serde_json::to_vec(&exported).expect("because an export has only string keys and plain values");
        let io = |source| RootDbError::Io { path: Path::new(EXPORT_NAME).to_owned(), source };
        durable::write_atomically(directory, EXPORT_NAME, &bytes, Mode::from_raw_mode(0o644)).map_err(io)
    }

    /// Fills an empty database with an export and the rows of its troves, in one commit.
    ///
    /// # Errors
    /// [`RootDbError::Sql`]; nothing is written then.
    pub fn restore(&mut self, exported: &Exported, troves: &[(TroveRow, Vec<FileRow>)]) -> Result<(), RootDbError> {
        let transaction = self.connection.transaction()?;
        for changeset in &exported.history {
            insert_changeset(&transaction, changeset)?;
        }
        for (trove, files) in troves {
            insert_trove(&transaction, trove, files)?;
        }
        hooks::replace(&transaction, &exported.hooks)?;
        transaction.commit()?;
        for rule in &exported.rules {
            self.put_trigger_rule(rule)?;
        }
        let hold = |(pinned, protected): (bool, bool)| Hold { pinned, protected };
        let holds: Vec<(String, Hold)> =
            exported.holds.iter().map(|(name, flags)| (name.clone(), hold(*flags))).collect();
        self.set_holds(&holds)?;
        // Displaced contents are not in the export: earlier states can be returned to without them.
        if exported.kept_from > 0 {
            let sql = "INSERT OR REPLACE INTO kept_from (one, number) VALUES (1, ?1)";
            self.connection.execute(sql, params![exported.kept_from])?;
        }
        Ok(())
    }
}
