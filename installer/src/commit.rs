// installer/src/commit.rs
//! The engine: carries out a plan, and finishes what an interrupted command began.
//!
//! [`Root::commit`] is the story of docs/design/transaction.md from top to bottom; [`recover`] is its second half, from wherever
//! the first one stopped.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use recipes::Digest;
use store::ccs::Package;
use store::root_db::{ChangesetRow, RootDb, Settlement, State, TriggerDone};
use store::{Node, Reference, Store, StoreError};

use crate::apply::Apply;
use crate::beneath::{self, Beneath, Directories};
use crate::error::CommitError;
use crate::event::Event;
use crate::journal::{Journal, Step, Touched};
use crate::owners::Owners;
use crate::paths;
use crate::plan::{Import, Origin, Plan, Put, What, Work};
use crate::root::Root;
use crate::stage::{self, Stage};
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
}

impl Root {
    /// Carries out a plan that was made by this root, with the same sources.
    ///
    /// Before the commit point an error leaves the root as it was; after it, the next start of any command goes on.
    ///
    /// # Errors
    /// Every [`CommitError`].
    pub fn commit(
        &self,
        plan: &Plan,
        sources: &[&Store],
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Changeset, CommitError> {
        let row = ChangesetRow {
            number: plan.work.number,
            at_unix_secs: self.options.now_unix_secs,
            actor: self.options.actor.clone(),
            command_line: self.options.command_line.clone(),
            returns_to: plan.returns_to,
            changes: plan.troves.clone(),
        };
        if plan.is_empty() {
            return Ok(Changeset { number: None, row, failed: Vec::new() });
        }
        let mut db = self.db.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (Some(db), Some(own), true) = (db.as_mut(), self.store.as_ref(), self.options.write) else {
            return Err(CommitError::ReadOnly);
        };
        let work = &plan.work;
        // What comes into the store is not referred to before it is registered, nor linked before it is staged.
        let _hold = own.hold()?;
        self.check_space(own, work, sources)?;
        ingest(own, work, sources, cancel, events)?;
        keep_displaced(&self.beneath, own, work)?;
        register(own, &self.path, plan)?;
        let set_off = trigger::set_off(db, work)?;
        self.carry_out(db, own, work, Settles { row: row.clone(), set_off, trigger: None }, cancel, events)?;
        let failed = self.run_due(db, cancel, events)?;
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
        let row = ChangesetRow {
            number: work.number,
            at_unix_secs: self.options.now_unix_secs,
            actor: self.options.actor.clone(),
            command_line: self.options.command_line.clone(),
            returns_to: None,
            changes: Vec::new(),
        };
        self.carry_out(db, own, work, Settles { row, set_off: Vec::new(), trigger: Some(done) }, cancel, events)
    }

    /// Everything from staging to cleaning up.
    fn carry_out(
        &self,
        db: &mut RootDb,
        own: &Store,
        work: &Work,
        settles: Settles,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), CommitError> {
        let mut stage = self.stage(own, work, cancel, events)?;
        prepare(&mut stage, own, work, cancel)?;
        for warning in stage.owners.warnings() {
            events(Event::Warning(warning));
        }

        let touched = stage::touched(&self.beneath, self.options.uid, work)?;
        db.begin(work.number, &to_json(&touched))?;
        let journal = match stage_all(&mut stage, work, settles, &touched) {
            Ok(journal) => journal,
            Err(error) => {
                return Err(undo(&self.beneath, db, work.number, &touched, events, error));
            }
        };
        if let Err(error) = pass_commit_point(&self.beneath, db, &journal, cancel, events) {
            return Err(undo(&self.beneath, db, work.number, &touched, events, error));
        }
        events(Event::Committed { number: work.number });
        finish(&self.beneath, db, work.number, journal, &touched, events)
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
        let _hold = own.hold()?;
        self.check_space(own, &plan.work, sources)?;
        let troves = ingest(own, &plan.work, sources, cancel, events)?;
        let references: Vec<_> = plan.work.troves.iter().map(|trove| Reference::Trove(trove.digest)).collect();
        own.add_root_refs(&self.path, &references)?;
        Ok(troves)
    }

    fn stage<'a>(
        &'a self,
        own: &'a Store,
        work: &Work,
        cancel: &'a AtomicBool,
        events: &'a dyn Fn(Event),
    ) -> Result<Stage<'a>, CommitError> {
        let fail = |source| CommitError::Stage { action: "read", path: b"etc/passwd".to_vec(), source };
        let mut owners = Owners::read(&self.beneath).map_err(fail)?;
        let coming = |path: &[u8]| -> Result<Option<Vec<u8>>, CommitError> {
            let put = work.puts.iter().find(|put| put.path == path && put.over.is_none());
            match put.map(|put| &put.what) {
                Some(What::File { object, .. }) => Ok(Some(own.read(object)?)),
                _ => Ok(None),
            }
        };
        owners.add(coming(b"etc/passwd")?.as_deref(), coming(b"etc/group")?.as_deref());
        let (root, store, uid) = (&self.beneath, own, self.options.uid);
        Ok(Stage { root, store, uid, owners, cancel, events })
    }
}

/// Brings the troves of a plan into the root's store.
fn ingest(
    own: &Store,
    work: &Work,
    sources: &[&Store],
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<usize, CommitError> {
    let mut troves = 0;
    for import in &work.imports {
        if cancel.load(Ordering::Relaxed) {
            return Err(CommitError::Interrupted);
        }
        if !own.has_trove(&import.digest)? {
            bring(own, import, sources, cancel, events)?;
            troves += 1;
        }
    }
    if troves > 0 {
        events(Event::Ingested { troves });
    }
    Ok(troves)
}

fn bring(
    own: &Store,
    import: &Import,
    sources: &[&Store],
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<(), CommitError> {
    events(Event::Importing { spec: import.spec.clone() });
    match &import.from {
        Origin::Own => Ok(()),
        Origin::Source(at) => match sources.get(*at) {
            Some(source) => copy_trove(source, own, &import.digest, cancel),
            None => Err(CommitError::NoSource { spec: import.spec.clone() }),
        },
        Origin::Package(path) => {
            let file = File::open(path).map_err(|source| CommitError::Open { path: path.clone(), source })?;
            let fail = |source| CommitError::Package { path: path.clone(), source: Box::new(source) };
            let package = Package::open(file).map_err(fail)?;
            if package.id() != import.digest {
                return Err(CommitError::PackageChanged { path: path.clone() });
            }
            package.import(own, cancel, &|_, _| {}).map_err(fail)?;
            Ok(())
        }
    }
}

/// Copies a trove from one store to another; every byte is checked on the way.
fn copy_trove(from: &Store, to: &Store, trove: &Digest, cancel: &AtomicBool) -> Result<(), CommitError> {
    let manifest = from.trove(trove)?;
    let batch = to.batch()?;
    let mut done: HashSet<Digest> = HashSet::new();
    for component in manifest.components.values() {
        let tree = from.tree(&component.tree)?;
        for entry in tree.entries() {
            if cancel.load(Ordering::Relaxed) {
                return Err(CommitError::Interrupted);
            }
            let Node::File { object, .. } = &entry.node else {
                continue;
            };
            if !done.insert(*object) || to.has(object)? {
                continue;
            }
            let (actual, _) = batch.add_file(&mut from.open_object(object)?, entry.mode)?;
            if actual != *object {
                let path = from.directory().join("objects");
                return Err(StoreError::Damaged { expected: *object, actual, path }.into());
            }
        }
        batch.add_tree(&tree)?;
    }
    batch.commit()?;
    to.put_trove(&manifest)?;
    to.add_signatures(trove, &from.signatures(trove)?)?;
    Ok(())
}

/// Keeps the content of what the changeset displaces, and checks that it is what the plan saw.
fn keep_displaced(root: &Beneath, own: &Store, work: &Work) -> Result<(), CommitError> {
    if work.displaced.is_empty() {
        return Ok(());
    }
    let mut directories = Directories::new(root);
    let batch = own.batch()?;
    for (thing, _) in &work.displaced {
        let Some(expected) = thing.object else {
            continue;
        };
        let (parent, name) = paths::split(&thing.path);
        let fail = |source| CommitError::Stage { action: "read", path: thing.path.clone(), source };
        let directory = directories.get(parent).map_err(fail)?;
        let mut file = beneath::open_file(&*directory, name).map_err(fail)?;
        let (actual, _) = batch.add_file(&mut file, 0o444)?;
        if actual != expected {
            return Err(CommitError::Changed { path: thing.path.clone() });
        }
    }
    batch.commit()?;
    Ok(())
}

/// Tells the store what the root will refer to; history keeps it for rollbacks.
fn register(own: &Store, root: &Path, plan: &Plan) -> Result<(), CommitError> {
    let work = &plan.work;
    let troves = work.troves.iter().map(|trove| Reference::Trove(trove.digest));
    let objects = work.displaced.iter().filter_map(|(thing, _)| thing.object);
    let references: Vec<Reference> = troves.chain(objects.map(Reference::Object)).collect();
    Ok(own.add_root_refs(root, &references)?)
}

/// Makes the link variants; where the store turns out to have lost something, packages give it again.
fn prepare(stage: &mut Stage<'_>, own: &Store, work: &Work, cancel: &AtomicBool) -> Result<(), CommitError> {
    use store::ErrorKind::{Damaged, NotFound};
    match stage.prepare(&work.puts) {
        Err(error) if matches!(error.kind(), Damaged | NotFound) => {
            let mut again = false;
            for import in &work.imports {
                if matches!(import.from, Origin::Package(_)) {
                    bring(own, import, &[], cancel, stage.events)?;
                    again = true;
                }
            }
            if again { Ok(stage.prepare(&work.puts)?) } else { Err(error.into()) }
        }
        other => Ok(other?),
    }
}

/// Stages everything and writes down what comes after the commit point.
fn stage_all(
    stage: &mut Stage<'_>,
    work: &Work,
    settles: Settles,
    touched: &[Touched],
) -> Result<Journal, CommitError> {
    Apply::new(stage.root, stage.events).open_up(touched)?;
    let mut files = work.files.clone();
    let steps = stage.run(work, &mut files)?;
    let settlement = Settlement {
        changeset: settles.row,
        leaving: work.leaving.clone(),
        troves: work.troves.clone(),
        files,
        reasons: work.reasons.clone(),
        displaced: work.displaced.iter().map(|(thing, _)| thing.clone()).collect(),
        beside: work.beside.clone(),
        beside_gone: work.beside_gone.clone(),
        set_off: settles.set_off,
        trigger: settles.trigger,
    };
    Ok(Journal { steps, settlement, fresh: fresh(&work.puts, &work.files) })
}

/// Returns the rows whose content is put as packaged, so that it can be known again.
fn fresh(puts: &[Put], files: &[Vec<store::root_db::FileRow>]) -> Vec<(usize, usize)> {
    let packaged = |put: &&Put| match (&put.what, put.rows.first()) {
        (What::File { object, .. }, Some((trove, at))) => files[*trove][*at].object == Some(*object),
        _ => false,
    };
    puts.iter().filter(packaged).flat_map(|put| put.rows.iter().copied()).collect()
}

fn pass_commit_point(
    root: &Beneath,
    db: &RootDb,
    journal: &Journal,
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<(), CommitError> {
    db.prepare(&to_json(journal))?;
    Apply::new(root, events).check(&journal.steps)?;
    if cancel.load(Ordering::Relaxed) {
        return Err(CommitError::Interrupted);
    }
    Ok(db.commit()?)
}

/// Takes back what was staged, and returns the error that made it necessary.
fn undo(
    root: &Beneath,
    db: &RootDb,
    number: i64,
    touched: &[Touched],
    events: &dyn Fn(Event),
    error: CommitError,
) -> CommitError {
    // A failed commit of the commit point itself may have happened all the same: then the next start decides.
    let committed = match db.pending() {
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
    mut journal: Journal,
    touched: &[Touched],
    events: &dyn Fn(Event),
) -> Result<(), CommitError> {
    let mut apply = Apply::new(root, events);
    apply.open_up(touched)?;
    apply.run(&journal.steps)?;
    apply.note_fingerprints(&mut journal)?;
    let clean_up = journal.steps.iter().any(|step| matches!(step, Step::Replace { .. }));
    if !clean_up {
        apply.restore_modes(touched, &journal.steps)?;
    }
    apply.sync(journal.steps.iter().map(Step::path))?;
    db.settle(&journal.settlement, clean_up)?;
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
        State::Begun | State::Prepared => {
            Apply::new(root, events).roll_back(number, &touched)?;
            db.clear()?;
            false
        }
        State::Committed => {
            finish(root, db, number, journal()?, &touched, events)?;
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
