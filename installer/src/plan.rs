// installer/src/plan.rs
//! A plan: everything that a changeset will do, as data.
//!
//! [`Plan::troves`], [`Plan::paths`] and [`Plan::warnings`] are for people and `--dry-run`; [`Work`] is the same for the
//! engine. Made by [`crate::Root::plan`], carried out by [`crate::Root::commit`], changed by nobody in between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use recipes::{Digest, TroveSpec};
use serde::{Deserialize, Serialize};
use store::root_db::{Beside, ChangeRow, Displaced, FileRow, HookRow, Reason, TroveRow};

use crate::accounts::Accounts;
use crate::beneath::Seen;
use crate::config::ConfigAction;
use crate::event::Warning;
use crate::script::Scripts;

/// Something that is asked of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Install a package file, or upgrade, downgrade or reinstall to it.
    Install {
        /// The `.ccs` file.
        package: PathBuf,
    },
    /// Install the newest trove that fits from one of the sources.
    InstallName(TroveSpec),
    /// Remove a trove, or one component of it.
    Remove(TroveSpec),
    /// Put the files of an installed trove in place again, where they are missing or not as they were installed.
    Repair(TroveSpec),
    /// Say why an installed trove is there.
    Mark {
        /// The trove.
        spec: TroveSpec,
        /// Why.
        reason: Reason,
    },
    /// Remove what nobody asked for and nothing needs, once everything else is done.
    RemoveOrphans,
    /// Decide about a configuration file; can be combined only with others of its kind.
    Config {
        /// The file, as a path of the root.
        path: Vec<u8>,
        /// What is decided.
        action: ConfigAction,
    },
    /// Return to an earlier state; cannot be combined with other requests.
    Rollback(Rollback),
}

/// Which state a rollback returns to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// The one before the last changeset.
    Last,
    /// The one that the last changeset, itself a rollback, left.
    Redo,
    /// The one right after the changeset of this number; 0 is before the first.
    To(i64),
}

/// How to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// Replace things that lie in the way and that no package owns; they are kept in the root's store.
    pub replace: bool,
    /// Run no scriptlet.
    pub no_scripts: bool,
}

/// What will happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Changes to troves, by name.
    pub troves: Vec<ChangeRow>,
    /// Changes to paths, by path, and what is worth saying about unchanged ones.
    pub paths: Vec<PathChange>,
    /// What the user should know beforehand.
    pub warnings: Vec<Warning>,
    /// For a rollback: the changeset whose state it returns to.
    pub returns_to: Option<i64>,
    pub(crate) work: Work,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.troves.is_empty() && self.work.is_idle()
    }
}

impl Plan {
    /// Returns the scriptlets that will run, those before the changeset first.
    #[must_use]
    pub fn scripts(&self) -> Vec<String> {
        let scripts = &self.work.scripts;
        scripts.before.iter().chain(&scripts.after).map(crate::script::title).collect()
    }
}

/// What will happen to one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// The path, relative to the root.
    pub path: Vec<u8>,
    /// The trove that the change is for, as `name:component`.
    pub owner: String,
    /// What happens.
    pub action: PathAction,
}

/// What happens to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathAction {
    /// It is made.
    Add,
    /// It takes the place of what is there.
    Replace {
        /// Whether what is there is somebody's work, which is kept in the root's store.
        displaces: bool,
    },
    /// A directory that stays gets another mode or owner.
    Change,
    /// It is removed.
    Remove {
        /// Whether it is somebody's work, which is kept in the root's store.
        displaces: bool,
    },
    /// An edited configuration file stays as it is; the packaged one may be put beside it.
    Keep {
        /// Where the packaged one goes.
        beside: Option<Vec<u8>>,
    },
    /// It is there already, identical, and is taken over as it is.
    Adopt,
    /// An edited configuration file of a package that leaves is moved.
    Save {
        /// Where it goes.
        to: Vec<u8>,
    },
}

/// The engine's half of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Work {
    /// Number of the transaction and changeset.
    pub number: i64,
    /// Troves to bring into the root's store.
    pub imports: Vec<Import>,
    /// New things, each directory right before its content.
    pub puts: Vec<Put>,
    /// Things to take away or move, and directories to adjust.
    pub takes: Vec<Take>,
    /// What the rollback record will hold; contents are read from the root before anything changes.
    pub displaced: Vec<(Displaced, Seen)>,
    /// Files made beside configuration files, and paths of such that are gone.
    pub beside: Vec<Beside>,
    pub beside_gone: Vec<Vec<u8>>,
    /// Rows that leave, troves that come with their files, and changed reasons.
    pub leaving: Vec<i64>,
    pub troves: Vec<TroveRow>,
    pub files: Vec<Vec<FileRow>>,
    pub reasons: Vec<(i64, Reason)>,
    /// All that hooks have made afterwards, where that changes.
    pub hooks: Option<Vec<HookRow>>,
    /// Scriptlets around it.
    pub scripts: Scripts,
    /// Contents that no trove has.
    pub contents: Vec<Vec<u8>>,
    /// What account files become; where a package brings one, it is made from that when its content is there.
    pub accounts: Option<Accounts>,
}

impl Work {
    fn is_idle(&self) -> bool {
        self.puts.is_empty() && self.takes.is_empty() && self.beside_gone.is_empty() && self.hooks.is_none()
    }
}

/// A trove that the root's store may lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub spec: String,
    pub digest: Digest,
    pub from: Origin,
    /// Bytes of its files, an upper bound of what it adds.
    pub bytes: u64,
}

/// Where a trove comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A package file.
    Package(PathBuf),
    /// One of the given stores, by position.
    Source(usize),
    /// The root's own store.
    Own,
}

/// A new thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Put {
    pub path: Vec<u8>,
    pub what: What,
    pub mode: u32,
    pub owner: Ownership,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it takes the place of.
    pub over: Option<Over>,
    /// Its rows, as (trove, file): several for a shared directory, none for what is no package's.
    pub rows: Vec<(usize, usize)>,
}

impl Put {
    /// Something that no package has.
    pub fn plain(path: &[u8], what: What, mode: u32, (uid, gid): (u32, u32), over: Option<Over>) -> Self {
        let (xattrs, rows) = (BTreeMap::new(), Vec::new());
        Put { path: path.to_vec(), what, mode, owner: Ownership::Ids { uid, gid }, xattrs, over, rows }
    }
}

/// What a new thing takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    pub seen: Seen,
    /// It is somebody's work, and is in the rollback record.
    pub displaces: bool,
    /// It is a directory, which is empty by then.
    pub directory: bool,
    /// It has bits that a user's link to it must not keep.
    pub strip: bool,
}

/// Who a new thing belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// By name, looked up in the root.
    Names { owner: String, group: String },
    /// By number, as it was on the disk.
    Ids { uid: u32, gid: u32 },
}

/// What a new thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    File {
        object: Digest,
        size: u64,
        /// Somebody may write it in place, so that it must not share an inode with the store.
        private: bool,
        /// The first path of its hard link group.
        group: Option<Vec<u8>>,
    },
    Symlink {
        target: Vec<u8>,
    },
}

/// Something that goes, moves, or changes in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Take {
    /// A file or link is removed.
    Remove {
        #[serde(with = "store::root_db::bytes_text")]
        path: Vec<u8>,
        seen: Seen,
        /// It has bits that a user's link to it must not keep.
        strip: bool,
    },
    /// A file is moved aside, to another name in its directory.
    Save {
        #[serde(with = "store::root_db::bytes_text")]
        path: Vec<u8>,
        #[serde(with = "store::root_db::bytes_text")]
        to: Vec<u8>,
        seen: Seen,
    },
    /// A directory is removed if nothing is left in it.
    RemoveDirectory {
        #[serde(with = "store::root_db::bytes_text")]
        path: Vec<u8>,
    },
    /// A directory that stays gets this mode and owner.
    SetDirectory {
        #[serde(with = "store::root_db::bytes_text")]
        path: Vec<u8>,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

impl Take {
    /// Returns the path that it works on.
    pub fn path(&self) -> &[u8] {
        match self {
            Take::Remove { path, .. }
            | Take::Save { path, .. }
            | Take::RemoveDirectory { path }
            | Take::SetDirectory { path, .. } => path,
        }
    }
}
