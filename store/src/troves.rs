// store/src/troves.rs
//! Troves: manifests, what they are made of and what they give.

use recipes::{Capability, Digest, TroveSpec};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::Store;
use crate::batch::Batch;
use crate::database;
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::refs::Reference;

/// A trove in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroveRow {
    /// Its id.
    pub id: Digest,
    /// Name, version, flavor and label.
    pub spec: TroveSpec,
    /// The architecture it runs on, or `any`.
    pub arch: String,
    /// Grows with every trove that is put: a later one is newer in this store.
    pub sequence: i64,
}

/// A trove that gives something asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRow {
    /// The trove.
    pub trove: TroveRow,
    /// The component that gives it; `None` when the package as a whole does.
    pub component: Option<String>,
    /// What exactly it gives.
    pub capability: Capability,
}

/// The columns of a [`TroveRow`].
const COLUMNS: &str =
    "troves.id, troves.name, troves.version, troves.flavor, troves.label, troves.arch, troves.sequence";

impl Store {
    /// Keeps a trove; durable on return. The same trove again only becomes the newest of its name.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] when a tree of it, or an object of a tree, is not in the store.
    pub fn put_trove(&self, manifest: &Manifest) -> Result<Digest, StoreError> {
        self.writable()?;
        let _hold = self.hold()?;
        let _lease = self.lease()?;
        let prepared = self.prepare_trove(manifest)?;
        self.database().write("record a trove", |transaction| insert(transaction, &prepared))?;
        Ok(prepared.id)
    }

    /// Checks a trove before it is recorded, and puts back what of it was condemned; the caller shares the lease.
    pub(crate) fn prepare_trove<'m>(&self, manifest: &'m Manifest) -> Result<Prepared<'m>, StoreError> {
        self.prepare_trove_of(manifest, None)
    }

    /// As [`Store::prepare_trove`], for a trove of which a batch holds what the store does not have yet.
    pub(crate) fn prepare_trove_of<'m>(
        &self,
        manifest: &'m Manifest,
        batch: Option<&Batch<'_>>,
    ) -> Result<Prepared<'m>, StoreError> {
        manifest.check().map_err(|error| StoreError::Invalid {
            what: "trove",
            value: manifest.spec().to_string(),
            reason: error.to_string(),
        })?;
        let is_coming = |object: &Digest| batch.is_some_and(|batch| batch.is_coming(object));
        for component in manifest.components.values() {
            let id = component.tree;
            let incomplete =
                |object: &Digest| StoreError::Incomplete { trove: manifest.spec().to_string(), object: *object };
            let tree = if let Some(batch) = batch.filter(|_| is_coming(&id)) {
                batch.tree(&id)?
            } else {
                self.revive(&[Reference::Tree(id)])?;
                if !self.has(&id)? {
                    return Err(incomplete(&id));
                }
                self.tree(&id)?
            };
            let mut objects: Vec<Digest> = tree.objects().filter(|object| !is_coming(object)).collect();
            objects.sort_unstable();
            objects.dedup();
            self.revive(&objects.iter().copied().map(Reference::Object).collect::<Vec<_>>())?;
            if let Some(absent) = self.first_absent(&objects)? {
                return Err(incomplete(&absent));
            }
        }
        let json = manifest.to_json();
        let id = Digest::blake3(*blake3::hash(&json).as_bytes());
        Ok(Prepared { id, json, manifest })
    }

    /// Finds one of these objects that is not here.
    fn first_absent(&self, objects: &[Digest]) -> Result<Option<Digest>, StoreError> {
        self.database().read("find objects", |connection| {
            let mut find = connection.prepare_cached("SELECT 1 FROM objects WHERE digest = ? LIMIT 1")?;
            for object in objects {
                if !find.exists([object.as_bytes()])? {
                    return Ok(Some(*object));
                }
            }
            Ok(None)
        })
    }

    /// Reads a trove's manifest, verified. A condemned trove is put back by this: somebody needs it.
    ///
    /// # Errors
    /// [`StoreError::NoTrove`]; [`StoreError::Manifest`] when the row is damaged.
    pub fn trove(&self, id: &Digest) -> Result<Manifest, StoreError> {
        match self.trove_row(id) {
            Err(StoreError::NoTrove { .. }) if self.revive_whole_trove(id)? => self.trove_row(id),
            other => other,
        }
    }

    /// Reads a trove's manifest, verified, if it is not condemned.
    pub(crate) fn trove_row(&self, id: &Digest) -> Result<Manifest, StoreError> {
        let json: Option<Vec<u8>> = self.database().read("find a trove", |connection| {
            connection
                .prepare_cached("SELECT manifest FROM troves WHERE id = ?")?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        let Some(json) = json else {
            return Err(StoreError::NoTrove { trove: *id, directory: self.directory().to_owned() });
        };
        if Digest::blake3(*blake3::hash(&json).as_bytes()) != *id {
            let path = self.database().path().to_owned();
            return Err(StoreError::Row { what: "a trove", path });
        }
        Manifest::from_json(&json).map_err(|source| StoreError::Manifest { trove: *id, source })
    }

    /// Says whether the store has a trove. A condemned trove is put back by this, so that it is still there when it is used.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has_trove(&self, id: &Digest) -> Result<bool, StoreError> {
        let listed = self.database().read("find a trove", |connection| {
            connection.prepare_cached("SELECT 1 FROM troves WHERE id = ?")?.exists([id.as_bytes()])
        })?;
        Ok(listed || self.revive_whole_trove(id)?)
    }

    /// Lists the troves of a name, the one put last first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn find_troves(&self, name: &str) -> Result<Vec<TroveRow>, StoreError> {
        self.database().read("find troves", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM troves WHERE name = ? ORDER BY sequence DESC");
            connection.prepare_cached(&sql)?.query_map([name], trove_row)?.collect()
        })
    }

    /// Lists all troves by name, of each name the one put last first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn troves(&self) -> Result<Vec<TroveRow>, StoreError> {
        self.database().read("list troves", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM troves ORDER BY name, sequence DESC");
            connection.prepare_cached(&sql)?.query_map([], trove_row)?.collect()
        })
    }

    /// Lists what meets a capability, from the trove that was put last.
    ///
    /// A package's own name and version are given by it whether its manifest says so or not.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn providers(&self, wanted: &Capability) -> Result<Vec<ProviderRow>, StoreError> {
        let rows = self.database().read("find providers", |connection| {
            let sql = format!(
                "SELECT {COLUMNS}, provides.component, provides.capability
                 FROM provides JOIN troves ON troves.sequence = provides.trove
                 WHERE provides.subject = ? ORDER BY troves.sequence DESC"
            );
            connection
                .prepare_cached(&sql)?
                .query_map([subject(wanted)], |row| {
                    let component: String = row.get(7)?;
                    Ok(ProviderRow {
                        trove: trove_row(row)?,
                        component: (!component.is_empty()).then_some(component),
                        capability: database::parsed(row, 8)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(rows.into_iter().filter(|row| wanted.satisfied_by(&row.capability)).collect())
    }
}

/// A trove that may be recorded: everything it names is here.
pub(crate) struct Prepared<'m> {
    pub(crate) id: Digest,
    pub(crate) json: Vec<u8>,
    pub(crate) manifest: &'m Manifest,
}

/// Records a trove, or makes it the newest of its name.
pub(crate) fn insert(transaction: &Transaction<'_>, trove: &Prepared<'_>) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM condemned_troves WHERE id = ?")?.execute([trove.id.as_bytes()])?;
    insert_as(transaction, trove, None)
}

/// Records a trove with the number it had, or a new one.
pub(crate) fn insert_as(
    transaction: &Transaction<'_>,
    trove: &Prepared<'_>,
    sequence: Option<i64>,
) -> rusqlite::Result<()> {
    let Prepared { id, json, manifest } = trove;
    transaction.prepare_cached("DELETE FROM troves WHERE id = ?")?.execute([id.as_bytes()])?;
    transaction
        .prepare_cached(
            "INSERT INTO troves (sequence, id, name, version, flavor, label, arch, manifest)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            sequence,
            id.as_bytes(),
            manifest.name.as_str(),
            manifest.version.to_string(),
            manifest.flavor,
            manifest.label,
            manifest.arch,
            json,
        ])?;
    let sequence = transaction.last_insert_rowid();
    insert_parts(transaction, sequence, manifest)
}

fn insert_parts(connection: &Connection, sequence: i64, manifest: &Manifest) -> rusqlite::Result<()> {
    let mut tree = connection.prepare_cached("INSERT INTO trove_trees (trove, component, tree) VALUES (?, ?, ?)")?;
    let mut provide = connection.prepare_cached(
        "INSERT OR IGNORE INTO provides (subject, trove, component, capability)
         VALUES (?, ?, ?, ?)",
    )?;
    let mut give = |component: &str, text: &str| -> rusqlite::Result<()> {
        // Every text was checked when the trove was prepared.
        if let Ok(capability) = text.parse::<Capability>() {
            provide.execute(params![subject(&capability), sequence, component, text])?;
        }
        Ok(())
    };
    let own = format!("{}={}", manifest.name, manifest.version);
    give("", &own)?;
    for text in &manifest.provides {
        give("", text)?;
    }
    for (name, component) in &manifest.components {
        tree.execute(params![sequence, name, component.tree.as_bytes()])?;
        give(name, &format!("{}:{name}={}", manifest.name, manifest.version))?;
        for text in &component.provides {
            give(name, text)?;
        }
    }
    Ok(())
}

/// Returns the part of a capability that a provider must share with it to be considered.
fn subject(capability: &Capability) -> String {
    match capability {
        Capability::Package { name, component: None, .. } => format!("package {name}"),
        Capability::Package { name, component: Some(component), .. } => {
            format!("package {name}:{component}")
        }
        Capability::Soname { name } => format!("soname {name}"),
        Capability::PkgConfig { module, .. } => format!("pkgconfig {module}"),
        Capability::Path { path } => format!("path {path}"),
    }
}

fn trove_row(row: &Row<'_>) -> rusqlite::Result<TroveRow> {
    let label: Option<String> = row.get(4)?;
    let label = label.map(|_| database::parsed(row, 4)).transpose()?;
    Ok(TroveRow {
        id: database::digest(row, 0)?,
        spec: TroveSpec {
            name: database::parsed(row, 1)?,
            component: None,
            version: Some(database::parsed(row, 2)?),
            flavor: database::parsed(row, 3)?,
            label,
        },
        arch: row.get(5)?,
        sequence: row.get(6)?,
    })
}
