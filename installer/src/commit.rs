// installer/src/commit.rs
//! The engine: carries out a plan, and finishes what an interrupted command began.
//!
//! [`Root::commit`] is the story of docs/design/transaction.md from top to bottom; [`recover`] is its second half, from wherever
//! the first one stopped. What a plan needs is brought into the store by [`incoming`], and laid out beside its targets by [`staging`].

mod incoming;
mod staging;

use std::sync::atomic::AtomicBool;

use store::root_db::{ChangesetRow, RootDb, ScriptDone, State, TriggerDone};
use store::{Batch, Reference, Store};

use self::incoming::{add_accounts, ingest, keep_displaced};
use self::staging::{prepare, stage_all};
use crate::apply::Apply;
use crate::beneath::Beneath;
use crate::error::CommitError;
use crate::event::Event;
use crate::journal::{Journal, Step, Touched};
use crate::plan::{Plan, Work};
use crate::root::Root;
use crate::stage::{self, THREADS_FROM};
use crate::trigger;

/// A changeset that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset {
    /// Its number; none when there was nothing to do.
    pub number: Option<i64>,
    /// The history row.
    pub row: ChangesetRow,
    /// Triggers that failed afterwards, by name, with the reason: they are due until they are run without a failure.
    pub failed: Vec<(String, String)>,
}

/// What a transaction settles beside its work.
struct Settles {
    row: ChangesetRow,
    set_off: Vec<String>,
    trigger: Option<TriggerDone>,
    script: Option<ScriptDone>,
}

impl Root {
    /// Carries out a plan that was made by this root, with the same sources; once. What accounts become is only known with the
    /// contents at hand, and is added to the plan.
    ///
    /// Before the commit point an error leaves the root as it was; after it, the next start of any command goes on.
    ///
    /// # Errors
    /// Every [`CommitError`].
    pub fn commit(
        &self,
        plan: &mut Plan,
        sources: &[&Store],
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Changeset, CommitError> {
        let row =
            ChangesetRow { returns_to: plan.returns_to, changes: plan.troves.clone(), ..self.row(plan.work.number) };
        if plan.is_empty() {
            return Ok(Changeset { number: None, row, failed: Vec::new() });
        }
        let mut db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (Some(db), Some(own), true) = (db.as_mut(), self.store.as_ref(), self.options.write) else {
            return Err(CommitError::ReadOnly);
        };
        let work = &mut plan.work;
        self.check_space(own, work, sources)?;
        self.run_before(db, own, work.number, &work.scripts.before, cancel, events)?;
        // What comes into the store is in this batch until everything is staged: one barrier serves both.
        let batch = own.batch()?;
        ingest(own, &batch, work, sources, cancel, events)?;
        keep_displaced(&self.beneath, &batch, work)?;
        add_accounts(&batch, work)?;
        let set_off = trigger::set_off(db, work)?;
        let settles = Settles { row: row.clone(), set_off, trigger: None, script: None };
        self.carry_out(db, own, batch, work, &settles, cancel, events)?;
        let failed = self.run_due(db, true, cancel, events)?;
        Ok(Changeset { number: Some(work.number), row, failed })
    }

    /// Puts what a trigger wrote into the root: a transaction that is no changeset.
    pub(crate) fn settle_trigger(
        &self,
        db: &mut RootDb,
        own: &Store,
        work: &Work,
        done: TriggerDone,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), CommitError> {
        let row = self.row(work.number);
        let settles = Settles { row, set_off: Vec::new(), trigger: Some(done), script: None };
        self.carry_out(db, own, own.batch()?, work, &settles, cancel, events)
    }

    /// Puts what a scriptlet did into the root: a transaction that is no changeset.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn settle_script(
        &self,
        db: &mut RootDb,
        own: &Store,
        batch: Batch<'_>,
        work: &Work,
        done: ScriptDone,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), CommitError> {
        let set_off = trigger::set_off(db, work)?;
        let row = self.row(work.number);
        let settles = Settles { row, set_off, trigger: None, script: Some(done) };
        self.carry_out(db, own, batch, work, &settles, cancel, events)
    }

    /// Says who changes the root, when and with which command.
    fn row(&self, number: i64) -> ChangesetRow {
        ChangesetRow {
            number,
            at_unix_secs: self.options.now_unix_secs,
            actor: self.options.actor.clone(),
            command_line: self.options.command_line.clone(),
            returns_to: None,
            changes: Vec::new(),
        }
    }

    /// Everything from staging to cleaning up; `batch` has what came into the store.
    #[allow(clippy::too_many_arguments)]
    fn carry_out(
        &self,
        db: &mut RootDb,
        own: &Store,
        batch: Batch<'_>,
        work: &Work,
        settles: &Settles,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), CommitError> {
        // No collection takes what came in before the root is known to refer to it.
        let _hold = own.hold()?;
        let mut stage = self.stage(own, &batch, work, cancel, events)?;
        let touched = stage::touched(&self.beneath, self.options.uid, work)?;
        let directories = to_json(&touched);
        let laid = if work.puts.len() < THREADS_FROM {
            let prepared = prepare(&mut stage, &batch, work, cancel)?;
            db.begin(work.number, &directories)?;
            stage_all(&mut stage, &batch, &prepared, work, &touched)
        } else {
            // The disk is waited for meanwhile.
            let (begun, prepared) = std::thread::scope(|scope| {
                let begun = scope.spawn(|| db.begin(work.number, &directories));
                let prepared = prepare(&mut stage, &batch, work, cancel);
                (begun.join().expect("because a statement does not panic"), prepared)
            });
            begun?;
            prepared.and_then(|prepared| stage_all(&mut stage, &batch, &prepared, work, &touched))
        };
        let journal = laid.and_then(|laid| self.pass_commit_point(db, own, batch, work, settles, laid, cancel, events));
        let journal = match journal {
            Ok(journal) => journal,
            Err(error) => {
                return Err(undo(&self.beneath, db, work.number, &touched, events, error));
            }
        };
        events(Event::Committed { number: work.number });
        finish(&self.beneath, db, work.number, &journal, &touched, events)
    }

    /// Brings everything that a plan needs into the root's store, and changes nothing else; returns how many troves came.
    ///
    /// The root's store keeps them until states are pruned, so that a later command needs no source.
    ///
    /// # Errors
    /// Every [`CommitError`] before the commit point.
    pub fn download(
        &self,
        plan: &Plan,
        sources: &[&Store],
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<usize, CommitError> {
        let (Some(own), true) = (self.store.as_ref(), self.options.write) else {
            return Err(CommitError::ReadOnly);
        };
        self.check_space(own, &plan.work, sources)?;
        let _hold = own.hold()?;
        let batch = own.batch()?;
        let troves = ingest(own, &batch, &plan.work, sources, cancel, events)?;
        batch.commit()?;
        let references: Vec<_> = plan.work.troves.iter().map(|trove| Reference::Trove(trove.digest)).collect();
        own.add_root_refs(&self.path, &references)?;
        Ok(troves)
    }
}

/// Takes back what was staged, and returns the error that made it necessary.
fn undo(
    root: &Beneath,
    db: &mut RootDb,
    number: i64,
    touched: &[Touched],
    events: &dyn Fn(Event),
    error: CommitError,
) -> CommitError {
    // A failed commit of the commit point itself may have happened all the same: then the next start decides.
    let committed = match db.abandon().and_then(|()| db.pending()) {
        Ok(Some(pending)) => matches!(pending.state, State::Committed | State::Settled),
        Ok(None) => false,
        Err(_) => true,
    };
    if !committed {
        // What fails here is done by the next start, which finds the transaction still begun.
        let cleared = Apply::new(root, events).roll_back(number, touched).is_ok();
        if cleared {
            let _ = db.clear();
        }
    }
    error
}

/// Everything after the commit point.
fn finish(
    root: &Beneath,
    db: &mut RootDb,
    number: i64,
    journal: &Journal,
    touched: &[Touched],
    events: &dyn Fn(Event),
) -> Result<(), CommitError> {
    let mut apply = Apply::new(root, events);
    apply.open_up(touched)?;
    apply.run(&journal.steps)?;
    let prints = apply.fingerprints(&journal.fresh)?;
    let clean_up = journal.steps.iter().any(|step| matches!(step, Step::Replace { .. }));
    if !clean_up {
        apply.restore_modes(touched, &journal.steps)?;
    }
    apply.sync(journal.steps.iter().map(Step::path))?;
    db.settle(&prints, &trigger::idle(root, db)?, clean_up)?;
    if clean_up {
        clean_up_all(&mut apply, db, &journal.steps, touched)?;
    }
    events(Event::Settled { number });
    Ok(())
}

/// Removes what was exchanged out and forgets the transaction, in that order also on the disk.
fn clean_up_all(apply: &mut Apply<'_>, db: &RootDb, steps: &[Step], touched: &[Touched]) -> Result<(), CommitError> {
    apply.clean_up(steps)?;
    apply.restore_modes(touched, steps)?;
    let replaced = steps.iter().filter(|step| matches!(step, Step::Replace { .. }));
    apply.sync(replaced.map(Step::path))?;
    Ok(db.clear()?)
}

/// Brings the transaction of an interrupted command to its end, back or forward.
pub(crate) fn recover(root: &Beneath, db: &mut RootDb, events: &dyn Fn(Event)) -> Result<(), CommitError> {
    let Some(pending) = db.pending()? else {
        return Ok(());
    };
    let number = pending.number;
    let damaged = || CommitError::Journal { number };
    let touched: Vec<Touched> = serde_json::from_slice(&pending.directories).map_err(|_| damaged())?;
    let journal = || -> Result<Journal, CommitError> {
        let bytes = pending.journal.as_deref().ok_or_else(damaged)?;
        serde_json::from_slice(bytes).map_err(|_| damaged())
    };
    let forward = match pending.state {
        State::Begun => {
            Apply::new(root, events).roll_back(number, &touched)?;
            db.clear()?;
            false
        }
        State::Committed => {
            finish(root, db, number, &journal()?, &touched, events)?;
            true
        }
        State::Settled => {
            let journal = journal()?;
            let mut apply = Apply::new(root, events);
            apply.open_up(&touched)?;
            clean_up_all(&mut apply, db, &journal.steps, &touched)?;
            true
        }
    };
    events(Event::Recovered { number, forward });
    Ok(())
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("because the journal holds only plain values and text keys")
}
