// installer/src/state.rs
//! States: what was installed right after each changeset, and how long that can be returned to.
//!
//! A state is no copy of anything. It follows from the history, and a root can return to it as long as its store keeps the troves and the
//! displaced contents. [`Root::prune`] forgets old ones, and the store's garbage collection frees what only they needed.

use std::collections::{BTreeMap, BTreeSet};

use recipes::Digest;
use store::Reference;
use store::root_db::{ChangeRow, ChangesetRow, Held, RootDb};

use crate::error::{CommitError, PlanError, QueryError};
use crate::root::Root;

/// The root right after one changeset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The changeset that made it.
    pub changeset: ChangesetRow,
    /// How many troves were installed.
    pub troves: usize,
    /// Whether the root can return to it.
    pub kept: bool,
}

impl Root {
    /// Returns every state, the oldest first; the last one is now.
    ///
    /// # Errors
    /// [`QueryError::Database`].
    pub fn states(&self) -> Result<Vec<State>, QueryError> {
        let kept_from = self.ask(0, |db| Ok(db.kept_from()?))?;
        let mut troves: BTreeSet<String> = BTreeSet::new();
        let state = |changeset: ChangesetRow| {
            for change in &changeset.changes {
                match change.after {
                    Some(_) => troves.insert(change.name.clone()),
                    None => troves.remove(&change.name),
                };
            }
            State { troves: troves.len(), kept: changeset.number >= kept_from, changeset }
        };
        Ok(self.history()?.into_iter().map(state).collect())
    }

    /// Returns what was installed right after a changeset, by name; 0 is before the first.
    ///
    /// # Errors
    /// [`QueryError::NoState`], [`QueryError::Database`].
    pub fn state(&self, number: i64) -> Result<BTreeMap<String, Held>, QueryError> {
        let history = self.history()?;
        if number < 0 || number > history.last().map_or(0, |changeset| changeset.number) {
            return Err(QueryError::NoState { number });
        }
        let mut troves = BTreeMap::new();
        let changes = history.into_iter().take_while(|changeset| changeset.number <= number);
        for change in changes.flat_map(|changeset| changeset.changes) {
            match change.after {
                Some(held) => troves.insert(change.name, held),
                None => troves.remove(&change.name),
            };
        }
        Ok(troves)
    }

    /// Returns how two states differ, by name.
    ///
    /// # Errors
    /// As [`Root::state`].
    pub fn state_difference(&self, from: i64, to: i64) -> Result<Vec<ChangeRow>, QueryError> {
        let (from, to) = (self.state(from)?, self.state(to)?);
        let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        let change = |name: &String| {
            let (before, after) = (from.get(name).cloned(), to.get(name).cloned());
            (before != after).then(|| ChangeRow { name: name.clone(), before, after })
        };
        Ok(names.into_iter().filter_map(change).collect())
    }

    /// Forgets how to return to states before the last `keep` ones; returns the number of the oldest that is kept.
    ///
    /// The history itself stays. What the store held only for them is freed by its next garbage collection.
    ///
    /// # Errors
    /// Every [`CommitError`] that a database and a store have.
    pub fn prune(&self, keep: usize) -> Result<i64, CommitError> {
        let mut db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (Some(db), Some(own), true) = (db.as_mut(), self.store.as_ref(), self.options.write) else {
            return Err(CommitError::ReadOnly);
        };
        let history = db.changesets()?;
        let last = history.last().map_or(0, |changeset| changeset.number);
        let wanted = i64::try_from(keep.max(1)).unwrap_or(i64::MAX) - 1;
        let oldest = db.kept_from()?.max(last.saturating_sub(wanted));
        db.keep_from(oldest)?;
        self.export(db, &|_| {});
        own.set_root_refs(&self.path, &references(db, &history, oldest)?)?;
        Ok(oldest)
    }
}

/// Returns what the root's store has to keep for the present and every state from `oldest` on.
fn references(db: &RootDb, history: &[ChangesetRow], oldest: i64) -> Result<Vec<Reference>, CommitError> {
    let mut troves: BTreeSet<Digest> = db.troves()?.iter().map(|trove| trove.digest).collect();
    let later = history.iter().filter(|changeset| changeset.number > oldest);
    for change in later.flat_map(|changeset| &changeset.changes) {
        troves.extend(change.before.iter().chain(&change.after).map(|held| held.digest));
    }
    let objects: BTreeSet<Digest> = db.displacements()?.into_iter().filter_map(|(_, thing)| thing.object).collect();
    Ok(troves.into_iter().map(Reference::Trove).chain(objects.into_iter().map(Reference::Object)).collect())
}

/// Returns the state that `conary redo` returns to: the one that the last changeset, a rollback, left.
pub(crate) fn redone(history: &[ChangesetRow]) -> Result<i64, PlanError> {
    let [.., before, last] = history else {
        return Err(PlanError::NothingToRedo);
    };
    // A rollback to a rollback stands for the state that this one returned to.
    let meant = |changeset: &ChangesetRow| {
        let (mut number, mut returns_to) = (changeset.number, changeset.returns_to);
        while let Some(target) = returns_to {
            number = target;
            returns_to = history.iter().find(|row| row.number == target).and_then(|row| row.returns_to);
        }
        number
    };
    let undone = last.returns_to.is_some() && meant(last) < meant(before);
    if undone { Ok(before.number) } else { Err(PlanError::NothingToRedo) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(returns: &[Option<i64>]) -> Vec<ChangesetRow> {
        let row = |(at, returns_to): (usize, &Option<i64>)| ChangesetRow {
            number: i64::try_from(at).unwrap() + 1,
            at_unix_secs: 0,
            actor: String::new(),
            command_line: String::new(),
            returns_to: *returns_to,
            changes: Vec::new(),
        };
        returns.iter().enumerate().map(row).collect()
    }

    #[test]
    fn only_what_was_taken_back_can_be_redone() {
        for (returns, expected) in [
            (&[][..], None),
            (&[None], None),
            (&[None, None], None),
            (&[None, Some(0)], Some(1)),
            (&[None, None, Some(1)], Some(2)),
            // Redone already.
            (&[None, None, Some(1), Some(2)], None),
            // Taken back, redone, taken back once more.
            (&[None, None, Some(1), Some(2), Some(1)], Some(4)),
            // Something new since.
            (&[None, None, Some(1), None], None),
        ] {
            assert_eq!(redone(&history(returns)).ok(), expected, "{returns:?}");
        }
    }
}
