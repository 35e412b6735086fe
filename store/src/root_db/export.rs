// store/src/root_db/export.rs
//! What a root's database can be rebuilt from: a small text beside it, written with each change.
//!
//! It holds what no object of the store knows: which troves are installed and why, the history with what it displaced, what was there before any package,
//! what lies beside configuration, what is held, triggers and scriptlets, what hooks made. Files are not in it: manifests and trees of the store say them,
//! and the root itself how they are. Hence it is small however many files there are.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use recipes::Digest;
use rusqlite::params;
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::write::{insert_beside, insert_changeset, insert_displaced, insert_files, insert_trove};
use super::{
    Applied, Beside, ChangesetRow, Displaced, FileRow, Hold, HookRow, Reason, RootDb, RootDbError, ScriptRow,
    TriggerDone, TriggerRule, TroveRow, hooks, list_text, scripts, triggers,
};
use crate::durable;

/// Name of the export in the state directory.
pub const EXPORT_NAME: &str = "state.json";

/// The format that this version writes. It reads the first one, too, which had nothing behind the history.
const FORMAT: u32 = 2;

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
    /// What changesets displaced, as far as it can be returned to.
    #[serde(default)]
    pub displaced: Vec<(i64, Displaced)>,
    /// Files beside configuration files.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// Paths of packages that were there before them, in order.
    #[serde(with = "list_text", default)]
    pub existed: Vec<Vec<u8>>,
    /// What each trigger wrote.
    #[serde(default)]
    pub outputs: Vec<TriggerDone>,
    /// Triggers that have to run, with the changeset that set them off.
    #[serde(default)]
    pub due: Vec<(i64, String)>,
    /// Scriptlets that have to run, with their changeset, in their order.
    #[serde(default)]
    pub due_scripts: Vec<(i64, ScriptRow)>,
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
        if !(1..=FORMAT).contains(&exported.format) {
            return Err(format!("it has format {}; this version knows {FORMAT}", exported.format));
        }
        Ok(exported)
    }

    /// Whether it knows which paths were there before their packages.
    #[must_use]
    pub fn knows_existed(&self) -> bool {
        self.format > 1
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
            displaced: self.displacements()?,
            beside: self.beside()?,
            existed: self.existed()?,
            outputs: self.outputs()?,
            due: self.due_triggers()?.into_iter().map(|due| (due.changeset, due.name)).collect(),
            due_scripts: self.due_scripts()?.into_iter().map(|due| (due.changeset, due.script)).collect(),
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
            let trove = insert_trove(&transaction, trove)?;
            let rows: Vec<_> = files.iter().map(|file| (trove, file, Applied::of(file))).collect();
            insert_files(&transaction, &rows)?;
        }
        hooks::replace(&transaction, &exported.hooks)?;
        for (changeset, thing) in &exported.displaced {
            insert_displaced(&transaction, *changeset, thing)?;
        }
        for beside in &exported.beside {
            insert_beside(&transaction, beside.changeset, beside)?;
        }
        for done in &exported.outputs {
            triggers::note_done(&transaction, done)?;
        }
        for (changeset, name) in &exported.due {
            triggers::set_off(&transaction, *changeset, std::slice::from_ref(name))?;
        }
        for due in exported.due_scripts.chunk_by(|one, other| one.0 == other.0) {
            let scripts: Vec<ScriptRow> = due.iter().map(|(_, script)| script.clone()).collect();
            scripts::queue(&transaction, due[0].0, &[], &scripts)?;
        }
        transaction.commit()?;
        for rule in &exported.rules {
            self.put_trigger_rule(rule)?;
        }
        let hold = |(pinned, protected): (bool, bool)| Hold { pinned, protected };
        let holds: Vec<(String, Hold)> =
            exported.holds.iter().map(|(name, flags)| (name.clone(), hold(*flags))).collect();
        self.set_holds(&holds)?;
        if exported.kept_from > 0 {
            let sql = "INSERT OR REPLACE INTO kept_from (one, number) VALUES (1, ?1)";
            self.connection.execute(sql, params![exported.kept_from])?;
        }
        Ok(())
    }
}
