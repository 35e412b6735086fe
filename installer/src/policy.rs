// installer/src/policy.rs
//! What a root's owner laid down about packages: held ones, and those that nobody asked for.
//!
//! A *pinned* package stays at its version, a *protected* one is not removed; held is both. An *orphan* was installed because another
//! package needed it, and no package that somebody asked for does any more.

use std::collections::{BTreeMap, BTreeSet};

use store::root_db::{Hold, Reason, RootDb};

use crate::error::{CommitError, PlanError, QueryError};
use crate::root::Root;
use crate::solve::{Given, Member, Solution, recommended, requirements};

/// A change that the root's owner ruled out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It would get another version.
    #[error("{name} is pinned: it stays {spec}")]
    Pinned {
        /// The package.
        name: String,
        /// As it is.
        spec: String,
    },
    /// It would be removed.
    #[error("{name} is protected: it is not removed")]
    Protected {
        /// The package.
        name: String,
    },
}

impl PolicyError {
    /// Returns what the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            PolicyError::Pinned { name, .. } => format!("release it with `conary pin --release {name}`"),
            PolicyError::Protected { name } => format!("release it with `conary protect --release {name}`"),
        })
    }
}

impl Root {
    /// Returns what is held, by name; a name need not be installed.
    ///
    /// # Errors
    /// [`QueryError::Database`].
    pub fn holds(&self) -> Result<BTreeMap<String, Hold>, QueryError> {
        self.ask(BTreeMap::new(), |db| Ok(db.holds()?))
    }

    /// Changes what is held: `change` gets each package's hold and returns the new one.
    ///
    /// # Errors
    /// [`CommitError::ReadOnly`], [`CommitError::Database`].
    pub fn hold(&self, names: &[String], change: impl Fn(Hold) -> Hold) -> Result<(), CommitError> {
        let mut db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (Some(db), true) = (db.as_mut(), self.options.write) else {
            return Err(CommitError::ReadOnly);
        };
        let now = db.holds()?;
        let changed = |name: &String| (name.clone(), change(now.get(name).copied().unwrap_or_default()));
        let held: Vec<_> = names.iter().map(changed).collect();
        db.set_holds(&held)?;
        self.export(db, &|_| {});
        Ok(())
    }

    /// Returns the names of the installed packages that nobody asked for and nothing needs.
    ///
    /// # Errors
    /// [`QueryError::Database`], [`QueryError::Manifest`].
    pub fn orphans(&self) -> Result<Vec<String>, QueryError> {
        self.ask(Vec::new(), |db| {
            let installed = crate::solve::read_installed(Some(db)).map_err(|error| match error {
                PlanError::Manifest { name } => QueryError::Manifest { name },
                PlanError::Database(error) => QueryError::Database(error),
                other => QueryError::Manifest { name: other.to_string() },
            })?;
            let members = installed.into_iter().map(|(name, (_, member))| (name, member)).collect();
            Ok(orphans(&members, &db.holds()?))
        })
    }
}

/// Returns the members that nobody asked for and that nothing which somebody asked for needs.
pub(crate) fn orphans(members: &BTreeMap<String, Member>, holds: &BTreeMap<String, Hold>) -> Vec<String> {
    let given = Given::of(members);
    let wanted = |(name, member): &(&String, &Member)| {
        member.reason == Reason::Explicit || member.asked || holds.contains_key(name.as_str())
    };
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    let mut queue: Vec<&str> = members.iter().filter(wanted).map(|(name, _)| name.as_str()).collect();
    while let Some(name) = queue.pop() {
        if !needed.insert(name) {
            continue;
        }
        let Some(member) = members.get(name) else {
            continue;
        };
        let requirements = requirements(member).into_iter().map(|(requirement, _)| requirement);
        for requirement in requirements.chain(recommended(member)) {
            for alternative in &requirement.alternatives {
                let givers = given.givers(alternative);
                queue.extend(members.keys().map(String::as_str).filter(|name| givers.contains(name)));
            }
        }
    }
    members.keys().filter(|name| !needed.contains(name.as_str())).cloned().collect()
}

/// Refuses a solution that changes what is held.
pub(crate) fn check(solution: &Solution, db: Option<&RootDb>) -> Result<(), PlanError> {
    let holds = db.map(RootDb::holds).transpose()?.unwrap_or_default();
    for change in solution.changes() {
        let (Some(hold), Some(before)) = (holds.get(&change.name), &change.before) else {
            continue;
        };
        let name = change.name.clone();
        match &change.after {
            None if hold.protected => return Err(PolicyError::Protected { name }.into()),
            Some(after) if hold.pinned && after.digest != before.digest => {
                return Err(PolicyError::Pinned { name, spec: before.spec.clone() }.into());
            }
            _ => {}
        }
    }
    Ok(())
}
