// installer/src/rebuild.rs
//! A new database for a root whose own is damaged or gone.
//!
//! Made from the last export, which names what is installed, from the manifests and trees of the root's store, which say its files, and from
//! nothing else: no file of the root is changed. What the export does not know is told in docs/design/transaction.md, "Rebuilding".

use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use store::root_db::{EXPORT_NAME, Exported, FILE_NAME, FLAG_EXISTED, RootDb, RootDbError, TroveRow};
use store::{OpenOptions, Store, durable};

use crate::decide::{self, Arriving, Scene};
use crate::error::{ErrorKind, PlanError, RootError};
use crate::owners::Owners;
use crate::root::{Root, RootOptions};

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many troves are installed again.
    pub troves: usize,
    /// Troves that the store has lost: their files lie there, and belong to nobody.
    pub lost: Vec<String>,
    /// The last changeset that the database knows.
    pub changeset: i64,
}

/// Why a database was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is nothing to mend.
    #[error("the database of {} is sound", path.display())]
    Sound {
        /// The root.
        path: std::path::PathBuf,
    },
    /// There is nothing to rebuild it from.
    #[error("{} cannot be rebuilt: var/lib/conary/{EXPORT_NAME} {why}", path.display())]
    NoExport {
        /// The root.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The root cannot be opened.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Its files cannot be looked at.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The new database cannot be written.
    #[error(transparent)]
    Database(#[from] RootDbError),
}

impl RebuildError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            RebuildError::Sound { .. } => Some("`conary verify` compares the files".to_owned()),
            RebuildError::NoExport { .. } => Some(
                "restore that file or root.db from a backup, or install the packages again with `--replace`".to_owned(),
            ),
            RebuildError::Root(error) => error.hint(),
            RebuildError::Plan(error) => error.hint(),
            RebuildError::Database(error) => error.hint(),
        }
    }

    /// Returns what kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            RebuildError::Sound { .. } => ErrorKind::Refused,
            RebuildError::NoExport { .. } => ErrorKind::Damaged,
            RebuildError::Root(error) => error.kind(),
            RebuildError::Plan(error) => error.kind(),
            RebuildError::Database(_) => ErrorKind::System,
        }
    }
}

impl Root {
    /// Rebuilds the database of the root at `path`; the old one is moved aside as `root.db.damaged`.
    ///
    /// # Errors
    /// Every [`RebuildError`]; the old database is in its place then, unless the new one could not be written.
    pub fn rebuild(path: &Path, options: &RootOptions) -> Result<Rebuilt, RebuildError> {
        let (mut root, state) = Root::open_locked(path, options)?;
        let whole = |database: Result<Option<RootDb>, RootDbError>| match database {
            Ok(Some(database)) => database.check().map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        match whole(RootDb::open_read_only(&state.1)) {
            Ok(true) => return Err(RebuildError::Sound { path: root.path.clone() }),
            Ok(false) => {}
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error.into()),
        }
        let no_export = |why: String| RebuildError::NoExport { path: root.path.clone(), why };
        let mut text = Vec::new();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&state.0, EXPORT_NAME, flags, Mode::empty())
            .map_err(std::io::Error::from)
            .and_then(|file| std::fs::File::from(file).read_to_end(&mut text))
            .map_err(|error| no_export(format!("cannot be read: {error}")))?;
        let exported = Exported::from_json(&text).map_err(|why| no_export(format!("does not read: {why}")))?;
        let directory = options.store.clone().unwrap_or_else(|| state.1.clone());
        let own = Store::open(&directory, &OpenOptions::default()).map_err(RootError::from)?;
        let (arriving, lost) = gather(&own, &exported);
        let owners = Owners::read(&root.beneath);
        let owners = owners.map_err(|source| PlanError::Io { path: b"etc/passwd".to_vec(), source })?;
        let scene = Scene {
            root: &root.beneath,
            db: None,
            uid: options.uid,
            replace: false,
            arriving: &arriving,
            leaving: &[],
            put_back: &std::collections::BTreeMap::new(),
            returns_to: None,
            owners,
            accounts: None,
            hooks_before: crate::hooks::Wanted::default(),
            hooks_after: crate::hooks::Wanted::default(),
            recorded: Vec::new(),
        };
        let mut files = decide::rows(&scene)?;
        if exported.knows_existed() {
            for row in files.iter_mut().flatten() {
                row.flags &= !FLAG_EXISTED;
                if exported.existed.binary_search(&row.path).is_ok() {
                    row.flags |= FLAG_EXISTED;
                }
            }
        }
        let rows: Vec<_> = arriving.into_iter().map(|arriving| arriving.row).zip(files).collect();
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (format!("{FILE_NAME}{suffix}"), format!("{FILE_NAME}.damaged{suffix}"));
            match durable::rename(&state.0, from.as_str(), &state.0, to.as_str()) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RootDbError::Io { path: state.1.join(from), source }.into());
                }
                _ => {}
            }
        }
        let mut db = RootDb::open(&state.1)?;
        db.restore(&exported, &rows)?;
        root.store = Some(own);
        let changeset = db.last_changeset()?;
        Ok(Rebuilt { troves: rows.len(), lost, changeset })
    }
}

/// Returns the troves of an export with their trees, and those that the store has lost.
fn gather(own: &Store, exported: &Exported) -> (Vec<Arriving>, Vec<String>) {
    let (mut arriving, mut lost) = (Vec::new(), Vec::new());
    for trove in &exported.troves {
        let found = own.trove(&trove.digest).and_then(|manifest| {
            let mut trees = Vec::new();
            let mut components = std::collections::BTreeMap::new();
            for component in &trove.components {
                if let Some(known) = manifest.components.get(component) {
                    components.insert(component.clone(), known.tree);
                    trees.push((component.clone(), std::sync::Arc::new(own.tree(&known.tree)?)));
                }
            }
            Ok((manifest, trees, components))
        });
        match found {
            Err(_) => lost.push(trove.name.clone()),
            Ok((manifest, trees, components)) => {
                let row = TroveRow {
                    row: 0,
                    name: trove.name.clone(),
                    digest: trove.digest,
                    manifest: manifest.to_json(),
                    reason: trove.reason,
                    changeset: trove.changeset,
                    components,
                };
                arriving.push(Arriving { row, config: manifest.config.clone(), trees });
            }
        }
    }
    (arriving, lost)
}
