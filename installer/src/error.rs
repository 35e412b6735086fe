// installer/src/error.rs
//! What can go wrong, by operation, with advice and the kind that an exit code is chosen by.

use std::io;
use std::path::PathBuf;

use recipes::Digest;
use store::root_db::RootDbError;
use store::{OpenError, StoreError};

use crate::canonical::CanonicalError;
use crate::config::ConfigError;
use crate::paths::show;
use crate::policy::PolicyError;

/// What kind of trouble an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The changeset is refused as it was asked for.
    Refused,
    /// Another process holds the root or its store.
    Busy,
    /// Something that was named does not exist.
    NotFound,
    /// A package, the store or the database is not what it should be.
    Damaged,
    /// No space, no permission, read-only, too many links: the system's limits.
    System,
    /// Requests that make no sense together.
    Usage,
    /// The caller's cancel flag was raised.
    Interrupted,
    /// Anything else.
    Other,
}

fn kind_of_io(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::TooManyLinks
        | io::ErrorKind::FileTooLarge => ErrorKind::System,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Other,
    }
}

fn kind_of_store(kind: store::ErrorKind) -> ErrorKind {
    match kind {
        store::ErrorKind::Damaged | store::ErrorKind::Invalid => ErrorKind::Damaged,
        store::ErrorKind::NotFound => ErrorKind::NotFound,
        store::ErrorKind::Busy => ErrorKind::Busy,
        store::ErrorKind::NoSpace | store::ErrorKind::ReadOnly | store::ErrorKind::Permission => ErrorKind::System,
        store::ErrorKind::Interrupted => ErrorKind::Interrupted,
        store::ErrorKind::Other => ErrorKind::Other,
    }
}

fn kind_of_db(error: &RootDbError) -> ErrorKind {
    if error.is_damage() {
        ErrorKind::Damaged
    } else if error.is_system_limit() {
        ErrorKind::System
    } else {
        match error {
            RootDbError::Newer { .. } => ErrorKind::Refused,
            _ => ErrorKind::Other,
        }
    }
}

/// Returns what usually helps against an error of the system.
fn hint_of_io(error: &io::Error) -> Option<String> {
    let text = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that file system, then run the command again"
        }
        io::ErrorKind::ReadOnlyFilesystem => "remount the file system for writing",
        io::ErrorKind::PermissionDenied => {
            "run it as the user who owns the root, or name a root of yours with `--root`"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// A root cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is no such directory.
    #[error("there is no root at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Another process works on it.
    #[error("{} is being changed by process {pid}: {command_line}", path.display())]
    Busy {
        /// The root.
        path: PathBuf,
        /// The other process.
        pid: u32,
        /// What it runs.
        command_line: String,
    },
    /// A step of opening it failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Its database cannot be used.
    #[error(transparent)]
    Database(#[from] RootDbError),
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The interrupted transaction of an earlier command cannot be brought to an end.
    #[error("an interrupted transaction of {} cannot be finished", path.display())]
    Recovery {
        /// The root.
        path: PathBuf,
        /// Why.
        source: Box<CommitError>,
    },
}

impl RootError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            RootError::Missing { .. } => Some("make the directory first, or let `conary install` do it".to_owned()),
            RootError::Busy { .. } => Some("wait until it is done, then run the command again".to_owned()),
            RootError::Io { source, .. } => hint_of_io(source),
            RootError::Database(error) => error.hint(),
            RootError::Store(error) => error.hint(),
            RootError::Recovery { source, .. } => source
                .hint()
                .or_else(|| Some("nothing is lost: remove the cause, and the next command goes on".to_owned())),
        }
    }

    /// Returns what kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            RootError::Missing { .. } => ErrorKind::NotFound,
            RootError::Busy { .. } => ErrorKind::Busy,
            RootError::Io { source, .. } => kind_of_io(source),
            RootError::Database(error) => kind_of_db(error),
            RootError::Store(error) => kind_of_store(error.kind()),
            RootError::Recovery { source, .. } => source.kind(),
        }
    }
}

/// Two things that want the same path, or something that a package cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Two packages have the path.
    #[error("{} belongs to both {one} and {other}", show(path))]
    TwoOwners {
        /// The path.
        path: Vec<u8>,
        /// The owner that comes, as `name:component`.
        one: String,
        /// The owner that is there or comes too.
        other: String,
    },
    /// Something that no package owns is there.
    #[error("{} is in the way of {owner}: a {found} that no package owns", show(path))]
    InTheWay {
        /// The path.
        path: Vec<u8>,
        /// Who wants it.
        owner: String,
        /// What is there.
        found: &'static str,
    },
    /// A directory is to become something else, and holds things that stay.
    #[error("{} cannot become a {wanted} for {owner}: {} stays in it", show(path), show(inside))]
    DirectoryInUse {
        /// The directory.
        path: Vec<u8>,
        /// Who wants it.
        owner: String,
        /// What it should become.
        wanted: &'static str,
        /// Something in it that stays.
        inside: Vec<u8>,
    },
    /// The directory that should hold the path cannot be.
    #[error("{} of {owner} cannot be: {} is no directory", show(path), show(parent))]
    NoDirectory {
        /// The path.
        path: Vec<u8>,
        /// Who wants it.
        owner: String,
        /// What should be a directory.
        parent: Vec<u8>,
    },
    /// A package may not contain such a path.
    #[error("{owner} contains {}, which is not allowed: {why}", show(path))]
    Forbidden {
        /// The path.
        path: Vec<u8>,
        /// The package and component.
        owner: String,
        /// Why.
        why: &'static str,
    },
}

impl Conflict {
    fn hint(&self) -> Option<String> {
        match self {
            Conflict::TwoOwners { one, other, .. } => {
                let name = |owner: &str| owner.split(':').next().unwrap_or(owner).to_owned();
                let (one, other) = (name(one), name(other));
                (one != other)
                    .then(|| format!("remove {other} first, or install {one} into another root with `--root`"))
            }
            Conflict::InTheWay { .. } => Some(
                "move it away, or use `--replace`, which keeps the old one in the root's store for `conary rollback`"
                    .to_owned(),
            ),
            Conflict::DirectoryInUse { .. } | Conflict::NoDirectory { .. } => {
                Some("move it away, then run the command again".to_owned())
            }
            Conflict::Forbidden { .. } => None,
        }
    }
}

/// A changeset cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Paths are in conflict; the first is the message.
    #[error("{}{}", conflicts[0], more(conflicts.len()))]
    Conflicts {
        /// All of them, by path; at least one.
        conflicts: Vec<Conflict>,
    },
    /// A requirement by name is not met.
    #[error("{trove} requires {requirement}, which nobody provides")]
    Unmet {
        /// Who requires it.
        trove: String,
        /// What.
        requirement: String,
    },
    /// Something installed would lose what it requires.
    #[error("{trove} requires {requirement}, which would be gone")]
    Breaks {
        /// Who requires it.
        trove: String,
        /// What.
        requirement: String,
    },
    /// Two packages declare that they cannot stand beside each other.
    #[error("{trove} conflicts with {other}")]
    Excludes {
        /// Who declares it.
        trove: String,
        /// The other one.
        other: String,
    },
    /// One name is asked for twice.
    #[error("{name} is asked for twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A rollback or a decision about configuration with something else.
    #[error("a rollback, or a decision about configuration, cannot be combined with other requests")]
    Mixed,
    /// A trove that was named is not in any source.
    #[error("no source has {spec}")]
    NoTrove {
        /// What was asked for.
        spec: String,
    },
    /// A trove to be removed is not installed.
    #[error("{spec} is not installed")]
    NotInstalled {
        /// What was asked for.
        spec: String,
    },
    /// The policy of the root's store forbids a trove.
    #[error(transparent)]
    Untrusted(#[from] store::TrustError),
    /// A trove has no such component.
    #[error("{trove} has no component {component}")]
    NoComponent {
        /// The trove.
        trove: String,
        /// The component.
        component: String,
    },
    /// The history has no such changeset.
    #[error("there is no changeset {number}")]
    NoChangeset {
        /// Its number.
        number: i64,
    },
    /// The state was pruned.
    #[error("the state right after changeset {number} is no longer kept; the oldest is {oldest}")]
    Pruned {
        /// Its number.
        number: i64,
        /// The oldest that is kept.
        oldest: i64,
    },
    /// The last changeset is no rollback, or one that was redone.
    #[error("there is nothing to redo: the last changeset took nothing back")]
    NothingToRedo,
    /// The root's owner ruled it out.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Content that a rollback needs is gone from the root's store.
    #[error("the root's store no longer has {spec}")]
    Gone {
        /// The trove.
        spec: String,
        /// Digest of its manifest.
        digest: Digest,
    },
    /// A package file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A package file is not what it should be.
    #[error("{} cannot be installed", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<store::ccs::CcsError>,
    },
    /// A path of a package cannot be resolved in the root.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// What is installed cannot be told.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A decision about a configuration file makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The root cannot be read.
    #[error("cannot read {}", show(path))]
    Io {
        /// The path.
        path: Vec<u8>,
        /// The system's answer.
        source: io::Error,
    },
    /// The root's database failed.
    #[error(transparent)]
    Database(#[from] RootDbError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An installed trove's manifest does not read.
    #[error("the manifest of {name} in the root's database is damaged")]
    Manifest {
        /// The trove.
        name: String,
    },
}

fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        2 => " (and one more conflict)".to_owned(),
        many => format!(" (and {} more conflicts)", many - 1),
    }
}

impl PlanError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::Conflicts { conflicts } => conflicts.first().and_then(Conflict::hint),
            PlanError::Unmet { requirement, .. } => {
                Some(format!("cook or install something that provides {requirement}, in the same command or before"))
            }
            PlanError::Breaks { trove, .. } => {
                let name = trove.split('=').next().unwrap_or(trove);
                Some(format!("remove {name} in the same command, or keep what it requires"))
            }
            PlanError::Excludes { other, .. } => {
                let name = other.split('=').next().unwrap_or(other);
                Some(format!("remove {name} in the same command"))
            }
            PlanError::NoTrove { .. } => {
                Some("cook it first (`conary cook NAME`), or name a package file (`./NAME.ccs`)".to_owned())
            }
            PlanError::NotInstalled { .. } => Some("`conary list` shows what is".to_owned()),
            PlanError::Untrusted(error) => Some(error.hint()),
            PlanError::NoChangeset { .. } => Some("`conary history` shows them all".to_owned()),
            PlanError::Pruned { .. } => Some("`conary state list` shows which are kept".to_owned()),
            PlanError::NothingToRedo => Some("`conary state restore N` returns to any state that is kept".to_owned()),
            PlanError::Policy(error) => error.hint(),
            PlanError::Gone { .. } => Some("install it again from a package file".to_owned()),
            PlanError::Package { source, .. } => source.hint(),
            PlanError::Open { source, .. } | PlanError::Io { source, .. } => hint_of_io(source),
            PlanError::Database(error) => error.hint(),
            PlanError::Store(error) => error.hint(),
            PlanError::Query(error) => error.hint(),
            PlanError::Config(error) => error.hint(),
            PlanError::Canonical(CanonicalError::Untrusted { .. }) => {
                Some("replace the link by a directory, or give it to root".to_owned())
            }
            PlanError::Canonical(_)
            | PlanError::Twice { .. }
            | PlanError::Mixed
            | PlanError::NoComponent { .. }
            | PlanError::Manifest { .. } => None,
        }
    }

    /// Returns what kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            PlanError::Conflicts { .. }
            | PlanError::Unmet { .. }
            | PlanError::Breaks { .. }
            | PlanError::Excludes { .. }
            | PlanError::Policy(_)
            | PlanError::NothingToRedo
            | PlanError::Untrusted(_)
            | PlanError::Canonical(CanonicalError::TooManyLinks { .. } | CanonicalError::Untrusted { .. }) => {
                ErrorKind::Refused
            }
            PlanError::Twice { .. } | PlanError::Mixed => ErrorKind::Usage,
            PlanError::NoTrove { .. }
            | PlanError::NotInstalled { .. }
            | PlanError::NoComponent { .. }
            | PlanError::NoChangeset { .. }
            | PlanError::Pruned { .. }
            | PlanError::Gone { .. } => ErrorKind::NotFound,
            PlanError::Open { source, .. }
            | PlanError::Io { source, .. }
            | PlanError::Canonical(CanonicalError::Io { source, .. }) => kind_of_io(source),
            PlanError::Package { source, .. } => kind_of_store(source.kind()),
            PlanError::Database(error) => kind_of_db(error),
            PlanError::Store(error) => kind_of_store(error.kind()),
            PlanError::Query(error) => error.kind(),
            PlanError::Config(error) => error.kind(),
            PlanError::Manifest { .. } => ErrorKind::Damaged,
        }
    }
}

/// A changeset was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A scriptlet that runs before the changeset failed; nothing was changed.
    #[error("{script} failed, so nothing was changed")]
    Script {
        /// Which.
        script: String,
        /// Why.
        source: Box<crate::trigger::TriggerError>,
    },
    /// A trigger cannot be added or removed.
    #[error("trigger {name}: {why}")]
    Trigger {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A file system has too little room; nothing was changed.
    #[error("the file system at {} has {available} bytes free, and {needed} are needed", show(path))]
    NoSpace {
        /// A path on it.
        path: Vec<u8>,
        /// What is needed, in bytes.
        needed: u64,
        /// What is free, in bytes.
        available: u64,
    },
    /// A step before the commit point failed: the root is as it was.
    #[error("cannot {action} {}", show(path))]
    Stage {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: Vec<u8>,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody has forbidden to change a path: the root is as it was.
    #[error("{} is not to be changed: it is marked immutable or append-only", show(path))]
    Frozen {
        /// The path.
        path: Vec<u8>,
    },
    /// A step after the commit point failed: the next command goes on.
    #[error("cannot {action} {}", show(path))]
    Apply {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: Vec<u8>,
        /// The system's answer.
        source: io::Error,
    },
    /// Something changed between plan and commit.
    #[error("{} changed in the meantime", show(path))]
    Changed {
        /// The path.
        path: Vec<u8>,
    },
    /// The package file is not the one that was planned with.
    #[error("{} is not the package any more that was planned with", path.display())]
    PackageChanged {
        /// The file.
        path: PathBuf,
    },
    /// A package file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A package file is not what it should be.
    #[error("{} cannot be installed", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<store::ccs::CcsError>,
    },
    /// The plan was made with more sources than it is carried out with.
    #[error("the source of {spec} was not given")]
    NoSource {
        /// The trove.
        spec: String,
    },
    /// The root was opened for reading only.
    #[error("the root was opened for reading only")]
    ReadOnly,
    /// The caller's cancel flag was raised; the root is as it was.
    #[error("interrupted")]
    Interrupted,
    /// The journal of an interrupted transaction does not read.
    #[error("the journal of the interrupted transaction {number} is damaged")]
    Journal {
        /// Number of the transaction.
        number: i64,
    },
    /// The root's database failed.
    #[error(transparent)]
    Database(#[from] RootDbError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            CommitError::Stage { source, .. } | CommitError::Open { source, .. } => hint_of_io(source),
            CommitError::Script { .. } => {
                Some("mend the cause, or leave scriptlets out with `--no-scripts`".to_owned())
            }
            CommitError::Frozen { .. } => {
                Some("`lsattr` shows such marks, and `chattr -i -a` takes them away".to_owned())
            }
            CommitError::Trigger { .. } => Some("`conary trigger list` shows them all".to_owned()),
            CommitError::NoSpace { .. } => {
                Some("make room there (`conary state prune` and `conary gc` free what old states need)".to_owned())
            }
            CommitError::Apply { source, .. } => {
                let cause = hint_of_io(source).unwrap_or_else(|| "remove the cause".to_owned());
                Some(format!("the changeset is committed, and the next command goes on with it: {cause}"))
            }
            CommitError::Changed { .. } | CommitError::PackageChanged { .. } => {
                Some("nothing was changed: run the command again".to_owned())
            }
            CommitError::Package { source, .. } => source.hint(),
            CommitError::Database(error) => error.hint(),
            CommitError::Store(error) => error.hint(),
            CommitError::ReadOnly
            | CommitError::NoSource { .. }
            | CommitError::Interrupted
            | CommitError::Journal { .. } => None,
        }
    }

    /// Returns what kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            CommitError::Stage { source, .. }
            | CommitError::Apply { source, .. }
            | CommitError::Open { source, .. } => kind_of_io(source),
            CommitError::Script { .. }
            | CommitError::Changed { .. }
            | CommitError::Frozen { .. }
            | CommitError::PackageChanged { .. } => ErrorKind::Refused,
            CommitError::Package { source, .. } => kind_of_store(source.kind()),
            CommitError::ReadOnly | CommitError::NoSource { .. } | CommitError::Trigger { .. } => ErrorKind::Usage,
            CommitError::NoSpace { .. } => ErrorKind::System,
            CommitError::Interrupted => ErrorKind::Interrupted,
            CommitError::Journal { .. } => ErrorKind::Damaged,
            CommitError::Database(error) => kind_of_db(error),
            CommitError::Store(error) => kind_of_store(error.kind()),
        }
    }
}

/// A question about a root cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The trove is not installed.
    #[error("{spec} is not installed")]
    NotInstalled {
        /// What was asked for.
        spec: String,
    },
    /// The history has no such state.
    #[error("there is no state {number}")]
    NoState {
        /// Its number.
        number: i64,
    },
    /// An installed trove's manifest does not read.
    #[error("the manifest of {name} in the root's database is damaged")]
    Manifest {
        /// The trove.
        name: String,
    },
    /// A path cannot be resolved in the root.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The root's database failed.
    #[error(transparent)]
    Database(#[from] RootDbError),
    /// The root cannot be read.
    #[error("cannot read {}", show(path))]
    Io {
        /// The path.
        path: Vec<u8>,
        /// The system's answer.
        source: io::Error,
    },
    /// The caller's cancel flag was raised.
    #[error("interrupted")]
    Interrupted,
}

impl QueryError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            QueryError::NotInstalled { .. } => Some("`conary list` shows what is".to_owned()),
            QueryError::NoState { .. } => Some("`conary state list` shows them all".to_owned()),
            QueryError::Database(error) => error.hint(),
            QueryError::Io { source, .. } => hint_of_io(source),
            _ => None,
        }
    }

    /// Returns what kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            QueryError::NotInstalled { .. } | QueryError::NoState { .. } => ErrorKind::NotFound,
            QueryError::Manifest { .. } => ErrorKind::Damaged,
            QueryError::Canonical(CanonicalError::Io { source, .. }) | QueryError::Io { source, .. } => {
                kind_of_io(source)
            }
            QueryError::Canonical(_) => ErrorKind::Refused,
            QueryError::Database(error) => kind_of_db(error),
            QueryError::Interrupted => ErrorKind::Interrupted,
        }
    }
}
