// installer/src/config.rs
//! Configuration files: what their users did to them, and the decisions that an upgrade left to people.
//!
//! An upgrade never asks: it keeps an edit and puts the packaged file beside it (docs/design/transaction.md, "Decisions per path").
//! Afterwards a person looks at the two and says which one it is. Every such decision is a changeset, so that it can be taken back,
//! and what it takes away is in the rollback record.

use recipes::{Digest, TroveSpec};
use store::root_db::{Beside, Displaced, FLAG_CONFIG, FLAG_NOREPLACE, FileRow, Kind, RootDb};

use crate::beneath::{self, Found};
use crate::canonical::{Canonical, CanonicalError};
use crate::error::{ErrorKind, PlanError, QueryError};
use crate::paths;
use crate::plan::{Over, Ownership, PathAction, PathChange, Plan, Put, Take, What, Work};
use crate::root::Root;

/// What a person decides about one configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigAction {
    /// The file beside it takes its place.
    Accept,
    /// It stays, and the file beside it goes.
    Keep,
    /// It becomes what its package brought.
    Restore,
    /// It becomes what the changeset of this number took away.
    RestoreFrom(i64),
}

/// How a configuration file is, against what its package brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigState {
    /// As packaged.
    Pristine,
    /// Changed by somebody.
    Edited,
    /// Deleted by somebody.
    Missing,
    /// Something else than a file lies there.
    Foreign,
}

/// A configuration file of an installed trove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path, relative to the root.
    pub path: Vec<u8>,
    /// The trove that owns it.
    pub trove: TroveSpec,
    /// How it is.
    pub state: ConfigState,
    /// Content that the package brought.
    pub packaged: Option<Digest>,
    /// Whether later versions leave it alone even when it was not edited.
    pub noreplace: bool,
    /// Files beside it that wait for a decision: the packaged one, or one that was moved aside.
    pub beside: Vec<Vec<u8>>,
}

/// Something of a user's that a changeset took away and the root's store keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The changeset.
    pub changeset: i64,
    /// What it was, and where.
    pub thing: Displaced,
}

/// A decision about a configuration file makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No installed trove has it as configuration.
    #[error("{} is no configuration file of an installed package", paths::show(path))]
    Unknown {
        /// The path.
        path: Vec<u8>,
    },
    /// There is nothing to decide about.
    #[error("nothing lies beside {}", paths::show(path))]
    NothingBeside {
        /// The path.
        path: Vec<u8>,
    },
    /// No changeset of that number took it away.
    #[error("changeset {changeset} kept no copy of {}", paths::show(path))]
    NoBackup {
        /// The path.
        path: Vec<u8>,
        /// The changeset.
        changeset: i64,
    },
    /// Something else than a file is in the way.
    #[error("{} is no file", paths::show(path))]
    NoFile {
        /// The path.
        path: Vec<u8>,
    },
}

impl ConfigError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            ConfigError::Unknown { .. } | ConfigError::NothingBeside { .. } => "`conary config list` shows them all",
            ConfigError::NoBackup { .. } => "`conary config backups` shows which copies there are",
            ConfigError::NoFile { .. } => "move it away, then run the command again",
        };
        Some(text.to_owned())
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ConfigError::Unknown { .. } | ConfigError::NothingBeside { .. } | ConfigError::NoBackup { .. } => {
                ErrorKind::NotFound
            }
            ConfigError::NoFile { .. } => ErrorKind::Refused,
        }
    }
}

impl Root {
    /// Returns every configuration file of the installed troves, by path.
    ///
    /// # Errors
    /// Trouble with the database or with reading the root.
    pub fn configuration(&self) -> Result<Vec<ConfigFile>, QueryError> {
        let troves = self.list()?;
        let beside = self.ask(Vec::new(), |db| Ok(db.beside()?))?;
        let rows = self.ask(Vec::new(), |db| Ok(db.rows_with(FLAG_CONFIG)?))?;
        let mut files = Vec::new();
        for row in rows {
            let Some(trove) = troves.iter().find(|trove| trove.row == row.trove) else {
                continue;
            };
            let fail = |source| QueryError::Io { path: row.path.clone(), source };
            let state = match self.beneath.stat(&row.path).map_err(fail)? {
                None => ConfigState::Missing,
                Some(found) if found.kind != Some(Kind::File) => ConfigState::Foreign,
                Some(found) if found.size == row.size && row.fingerprint == Some(found.print) => ConfigState::Pristine,
                Some(found) if found.size == row.size && self.digest_of(&row.path).map_err(fail)? == row.object => {
                    ConfigState::Pristine
                }
                Some(_) => ConfigState::Edited,
            };
            files.push(ConfigFile {
                beside: beside.iter().filter(|one| one.of == row.path).map(|one| one.path.clone()).collect(),
                trove: trove.manifest.spec(),
                state,
                packaged: row.object,
                noreplace: row.has(FLAG_NOREPLACE),
                path: row.path,
            });
        }
        Ok(files)
    }

    /// Returns what changesets took away of somebody's work, newest first; of one path, where one is given.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn backups(&self, path: Option<&[u8]>) -> Result<Vec<Backup>, QueryError> {
        let path = path.map(|path| self.canonical(path)).transpose()?;
        let mut backups = self.ask(Vec::new(), |db| Ok(db.displacements()?))?;
        backups.retain(|(_, thing)| path.as_ref().is_none_or(|path| *path == thing.path));
        Ok(backups.into_iter().rev().map(|(changeset, thing)| Backup { changeset, thing }).collect())
    }

    /// Reads the content that the package brought for a configuration file.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`], and trouble with reading.
    pub fn packaged_content(&self, path: &[u8]) -> Result<Vec<u8>, PlanError> {
        let path = self.canonical(path)?;
        let rows = self.ask(Vec::new(), |db| Ok(db.rows_at(&path)?))?;
        let row = rows.into_iter().find(|row| row.has(FLAG_CONFIG));
        let row = row.ok_or_else(|| ConfigError::Unknown { path: path.clone() })?;
        match (&self.store, row.object) {
            (Some(store), Some(object)) => Ok(store.read(&object)?),
            _ => Err(ConfigError::Unknown { path }.into()),
        }
    }

    /// Reads a file of the root; none where there is none.
    ///
    /// # Errors
    /// Trouble with reading.
    pub fn content_of(&self, path: &[u8]) -> Result<Option<Vec<u8>>, PlanError> {
        let path = self.canonical(path)?;
        let fail = |source| PlanError::Io { path: path.clone(), source };
        let (parent, name) = paths::split(&path);
        let Some(directory) = self.beneath.directory_if_present(parent).map_err(fail)? else {
            return Ok(None);
        };
        if beneath::stat(&*directory, name).map_err(fail)?.is_none_or(|found| found.kind != Some(Kind::File)) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut file = beneath::open_file(&*directory, name).map_err(fail)?;
        std::io::Read::read_to_end(&mut file, &mut bytes).map_err(fail)?;
        Ok(Some(bytes))
    }

    /// Resolves a path as people write it: links in its directory are followed inside the root.
    pub(crate) fn canonical(&self, path: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        Canonical::new(&self.beneath, self.options.uid).place(&paths::plain(path))
    }

    fn digest_of(&self, path: &[u8]) -> std::io::Result<Option<Digest>> {
        let (parent, name) = paths::split(path);
        let directory = self.beneath.directory(parent)?;
        Ok(Some(crate::hash::of_file(beneath::open_file(&*directory, name)?)?))
    }

    /// Plans decisions about configuration files, as one changeset.
    pub(crate) fn plan_config(
        &self,
        db: Option<&RootDb>,
        number: i64,
        decisions: &[(&[u8], ConfigAction)],
    ) -> Result<Plan, PlanError> {
        let mut work = Work { number, ..Work::default() };
        let mut changes = Vec::new();
        let beside = db.map(RootDb::beside).transpose()?.unwrap_or_default();
        for (path, action) in decisions {
            let path = self.canonical(path)?;
            let rows = db.map(|db| db.rows_at(&path)).transpose()?.unwrap_or_default();
            let row = rows.into_iter().find(|row| row.has(FLAG_CONFIG));
            let mut desk = Desk { root: self, work: &mut work, changes: &mut changes, row, path, beside: &beside };
            match action {
                ConfigAction::Accept => desk.accept()?,
                ConfigAction::Keep => desk.keep()?,
                ConfigAction::Restore => desk.restore()?,
                ConfigAction::RestoreFrom(changeset) => desk.restore_from(db, *changeset)?,
            }
        }
        changes.sort_by(|one: &PathChange, other| one.path.cmp(&other.path));
        Ok(Plan { troves: Vec::new(), paths: changes, warnings: Vec::new(), returns_to: None, work })
    }
}

/// One decision while it is written down.
struct Desk<'a> {
    root: &'a Root,
    work: &'a mut Work,
    changes: &'a mut Vec<PathChange>,
    row: Option<FileRow>,
    path: Vec<u8>,
    beside: &'a [Beside],
}

impl Desk<'_> {
    /// The files beside this one, the packaged one first: its name sorts before the other.
    fn waiting(&self) -> Result<Vec<(Vec<u8>, Found)>, PlanError> {
        let mut waiting = Vec::new();
        for beside in self.beside.iter().filter(|beside| beside.of == self.path) {
            if let Some(found) = self.file_at(&beside.path)? {
                waiting.push((beside.path.clone(), found));
            }
        }
        if waiting.is_empty() {
            return Err(ConfigError::NothingBeside { path: self.path.clone() }.into());
        }
        Ok(waiting)
    }

    fn accept(&mut self) -> Result<(), PlanError> {
        let (beside, found) = self.waiting()?.swap_remove(0);
        let object = self.take_away(&beside, &found)?;
        let (mode, uid, gid) = self.dress(&found);
        self.put(object, found.size, mode, uid, gid)
    }

    fn keep(&mut self) -> Result<(), PlanError> {
        for (beside, found) in self.waiting()? {
            self.take_away(&beside, &found)?;
        }
        let (path, owner) = (self.path.clone(), self.owner());
        self.changes.push(PathChange { path, owner, action: PathAction::Keep { beside: None } });
        Ok(())
    }

    fn restore(&mut self) -> Result<(), PlanError> {
        let unknown = || ConfigError::Unknown { path: self.path.clone() };
        let row = self.row.clone().ok_or_else(unknown)?;
        let object = row.object.ok_or_else(unknown)?;
        // The packaged one that waits beside it has nothing more to say.
        let all = self.beside;
        for beside in all {
            if beside.of != self.path || beside.object != object {
                continue;
            }
            if let Some(found) = self.file_at(&beside.path)?
                && self.root.digest_of(&beside.path).map_err(|source| fail(&beside.path, source))? == Some(object)
            {
                self.take_away(&beside.path, &found)?;
            }
        }
        self.put(object, row.size, row.applied_mode, row.uid, row.gid)
    }

    fn restore_from(&mut self, db: Option<&RootDb>, changeset: i64) -> Result<(), PlanError> {
        let kept = db.map(RootDb::displacements).transpose()?.unwrap_or_default();
        let kept = kept.into_iter().find(|(number, thing)| *number == changeset && thing.path == self.path);
        let missing = || ConfigError::NoBackup { path: self.path.clone(), changeset };
        let (_, thing) = kept.ok_or_else(missing)?;
        let object = thing.object.ok_or_else(missing)?;
        self.put(object, thing.size, thing.mode, thing.uid, thing.gid)
    }

    /// Mode and owner for content from elsewhere: the file's own where it is there, else the package's.
    fn dress(&self, from: &Found) -> (u32, u32, u32) {
        match &self.row {
            Some(row) => (row.applied_mode, row.uid, row.gid),
            None => (from.mode, from.uid, from.gid),
        }
    }

    /// Puts content in the file's place; what is there is kept, unless it is the same.
    fn put(&mut self, object: Digest, size: u64, mode: u32, uid: u32, gid: u32) -> Result<(), PlanError> {
        let there = self.root.beneath.stat(&self.path).map_err(|source| fail(&self.path, source))?;
        let mut over = None;
        if let Some(found) = there {
            if found.kind != Some(Kind::File) {
                return Err(ConfigError::NoFile { path: self.path.clone() }.into());
            }
            let path = self.path.clone();
            if self.root.digest_of(&path).map_err(|source| fail(&path, source))? == Some(object) {
                return Ok(());
            }
            self.displace(&path, &found, self.row.is_some())?;
            over = Some(Over { seen: found.seen(), displaces: true, directory: false, strip: false });
        }
        let action = if over.is_some() { PathAction::Replace { displaces: true } } else { PathAction::Add };
        self.changes.push(PathChange { path: self.path.clone(), owner: self.owner(), action });
        self.work.puts.push(Put {
            path: self.path.clone(),
            what: What::File { object, size, private: true, group: None },
            mode,
            owner: Ownership::Ids { uid, gid },
            xattrs: std::collections::BTreeMap::new(),
            over,
            rows: Vec::new(),
        });
        Ok(())
    }

    /// Removes a file beside; its content is kept and returned.
    fn take_away(&mut self, path: &[u8], found: &Found) -> Result<Digest, PlanError> {
        let object = self.displace(path, found, false)?;
        self.work.takes.push(Take::Remove { path: path.to_vec(), seen: found.seen(), strip: false });
        self.work.beside_gone.push(path.to_vec());
        let action = PathAction::Remove { displaces: true };
        self.changes.push(PathChange { path: path.to_vec(), owner: self.owner(), action });
        Ok(object)
    }

    fn displace(&mut self, path: &[u8], found: &Found, edit: bool) -> Result<Digest, PlanError> {
        let missing = || fail(path, std::io::ErrorKind::NotFound.into());
        let object = self.root.digest_of(path).map_err(|source| fail(path, source))?.ok_or_else(missing)?;
        let thing = Displaced {
            path: path.to_vec(),
            kind: Kind::File,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            object: Some(object),
            size: found.size,
            target: None,
            edit,
        };
        self.work.displaced.push((thing, found.seen()));
        Ok(object)
    }

    fn file_at(&self, path: &[u8]) -> Result<Option<Found>, PlanError> {
        let found = self.root.beneath.stat(path).map_err(|source| fail(path, source))?;
        Ok(found.filter(|found| found.kind == Some(Kind::File)))
    }

    fn owner(&self) -> String {
        self.row.as_ref().map_or_else(String::new, |row| row.component.clone())
    }
}

fn fail(path: &[u8], source: std::io::Error) -> PlanError {
    PlanError::Io { path: path.to_vec(), source }
}
