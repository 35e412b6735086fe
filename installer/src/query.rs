// installer/src/query.rs
//! Questions about a root: what is installed, which files, who owns a path, what happened.
//!
//! None of them takes the lock; all answer from the last settled state.

use std::io::Read;

use recipes::{Digest, TroveSpec};
use store::Manifest;
use store::root_db::{ChangesetRow, FileRow, Reason, RootDb, TroveRow};

use crate::canonical::Canonical;
use crate::error::QueryError;
use crate::paths;
use crate::root::Root;

/// An installed trove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its metadata.
    pub manifest: Manifest,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its installed components.
    pub components: Vec<String>,
    /// Why it is installed.
    pub reason: Reason,
    /// The changeset that brought it in this form.
    pub changeset: i64,
    pub(crate) row: i64,
}

/// An owner of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The path's row.
    pub file: FileRow,
    /// The trove.
    pub trove: TroveSpec,
}

impl Root {
    pub(crate) fn ask<T>(
        &self,
        nothing: T,
        question: impl FnOnce(&RootDb) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        db.as_ref().map_or(Ok(nothing), question)
    }

    /// Returns a content as one of the installed files still holds it; none where none does.
    ///
    /// # Errors
    /// [`QueryError::Database`].
    pub fn content(&self, object: &Digest) -> Result<Option<Vec<u8>>, QueryError> {
        let rows = self.ask(Vec::new(), |db| Ok(db.rows_holding(object)?))?;
        // A file that is gone, or that somebody has made unreadable, holds it no more.
        let held = rows.iter().filter_map(|row| {
            let mut file = self.beneath.read_inside(&row.path).ok()?;
            if !file.metadata().is_ok_and(|found| found.is_file() && found.len() == row.size) {
                return None;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).ok()?;
            (Digest::blake3(*blake3::hash(&bytes).as_bytes()) == *object).then_some(bytes)
        });
        Ok({ held }.next())
    }

    /// Returns the installed troves by name.
    ///
    /// # Errors
    /// [`QueryError::Database`], [`QueryError::Manifest`].
    pub fn list(&self) -> Result<Vec<Installed>, QueryError> {
        self.ask(Vec::new(), |db| db.troves()?.into_iter().map(installed).collect())
    }

    /// Returns an installed trove; a version, flavor or label in the spec must be its own.
    ///
    /// # Errors
    /// [`QueryError::NotInstalled`], and as [`Root::list`].
    pub fn show(&self, spec: &TroveSpec) -> Result<Installed, QueryError> {
        let fits = |trove: &Installed| {
            let found = trove.manifest.spec();
            found.name == spec.name
                && (spec.version.is_none() || spec.version == found.version)
                && (spec.flavor.is_empty() || spec.flavor == found.flavor)
                && (spec.label.is_none() || spec.label == found.label)
                && spec.component.as_ref().is_none_or(|name| trove.components.contains(name))
        };
        let found = self.list()?.into_iter().find(fits);
        found.ok_or_else(|| QueryError::NotInstalled { spec: spec.to_string() })
    }

    /// Returns the files of an installed trove, or of one component of it, by path.
    ///
    /// # Errors
    /// As [`Root::show`].
    pub fn files(&self, spec: &TroveSpec) -> Result<Vec<FileRow>, QueryError> {
        let trove = self.show(spec)?;
        let mut files = self.ask(Vec::new(), |db| Ok(db.files(trove.row)?))?;
        if let Some(component) = &spec.component {
            files.retain(|file| file.component == *component);
        }
        Ok(files)
    }

    /// Returns who owns a path of the root: several for a shared directory, nobody for what no package brought.
    ///
    /// Links in its directory are followed inside the root.
    ///
    /// # Errors
    /// [`QueryError::Canonical`], and as [`Root::list`].
    pub fn owner(&self, path: &[u8]) -> Result<Vec<Owner>, QueryError> {
        let plain = paths::plain(path);
        let mut canonical = Canonical::new(&self.beneath, self.options.uid);
        let place = canonical.place(&plain)?;
        let mut files = self.ask(Vec::new(), |db| Ok(db.rows_at(&place)?))?;
        if files.is_empty() {
            let directory = canonical.directory(&plain)?;
            files = self.ask(Vec::new(), |db| Ok(db.rows_at(&directory)?))?;
        }
        let troves = if files.is_empty() { Vec::new() } else { self.list()? };
        let owner = |file: FileRow| {
            let trove = troves.iter().find(|trove| trove.row == file.trove)?;
            Some(Owner { trove: trove.manifest.spec(), file })
        };
        Ok(files.into_iter().filter_map(owner).collect())
    }

    /// Returns the history, oldest first.
    ///
    /// # Errors
    /// [`QueryError::Database`].
    pub fn history(&self) -> Result<Vec<ChangesetRow>, QueryError> {
        self.ask(Vec::new(), |db| Ok(db.changesets()?))
    }

    /// Returns every installed file by trove, for [`Root::verify`].
    pub(crate) fn all_files(&self, troves: &[Installed]) -> Result<Vec<(usize, FileRow)>, QueryError> {
        self.ask(Vec::new(), |db| {
            let mut files = Vec::new();
            for (number, trove) in troves.iter().enumerate() {
                files.extend(db.files(trove.row)?.into_iter().map(|file| (number, file)));
            }
            Ok(files)
        })
    }
}

fn installed(row: TroveRow) -> Result<Installed, QueryError> {
    let manifest = Manifest::from_json(&row.manifest).map_err(|_| QueryError::Manifest { name: row.name.clone() })?;
    Ok(Installed {
        manifest,
        digest: row.digest,
        components: row.components.into_keys().collect(),
        reason: row.reason,
        changeset: row.changeset,
        row: row.row,
    })
}
