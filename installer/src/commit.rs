// installer/src/commit.rs
//! The engine: carries out a plan, and finishes what an interrupted command began.
//!
//! [`Root::commit`] is the story of docs/design/transaction.md from top to bottom; [`recover`] is its second half, from wherever
//! the first one stopped.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use store::ccs::Package;
use store::place::Prepared;
use store::root_db::{ChangesetRow, PackedJournal, RootDb, ScriptDone, Settlement, State, TriggerDone};
use store::{Batch, Node, Reference, Store, StoreError};

use crate::accounts;
use crate::apply::Apply;
use crate::beneath::{self, Beneath, Directories};
use crate::error::CommitError;
use crate::event::Event;
use crate::hooks;
use crate::journal::{Journal, Step, Touched};
use crate::owners::Owners;
use crate::paths;
use crate::plan::{Import, Origin, Plan, Put, What, Work};
use crate::root::Root;
use crate::stage::{self, Stage, Unsynced};
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
        self.check_space(own, work, sources)?;
        self.run_before(db, own, work.number, &work.scripts.before, cancel, events)?;
        // What comes into the store is in this batch until everything is staged: one barrier serves both.
        let batch = own.batch()?;
        ingest(own, &batch, work, sources, cancel, events)?;
        keep_displaced(&self.beneath, &batch, work)?;
        let work = with_accounts(&batch, work)?;
        let work = work.as_ref();
        let set_off = trigger::set_off(db, work)?;
        let settles = Settles { row: row.clone(), set_off, trigger: None, script: None };
        self.carry_out(db, own, batch, work, settles, cancel, events)?;
        self.export(db, events);
        let mut failed = self.run_due_scripts(db, cancel, events)?;
        failed.extend(self.run_due(db, cancel, events)?);
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
        let settles = Settles { row, set_off: Vec::new(), trigger: Some(done), script: None };
        self.carry_out(db, own, own.batch()?, work, settles, cancel, events)
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
        let row = ChangesetRow {
            number: work.number,
            at_unix_secs: self.options.now_unix_secs,
            actor: self.options.actor.clone(),
            command_line: self.options.command_line.clone(),
            returns_to: None,
            changes: Vec::new(),
        };
        let set_off = trigger::set_off(db, work)?;
        let settles = Settles { row, set_off, trigger: None, script: Some(done) };
        self.carry_out(db, own, batch, work, settles, cancel, events)
    }

    /// Everything from staging to cleaning up; `batch` has what came into the store.
    #[allow(clippy::too_many_arguments)]
    fn carry_out(
        &self,
        db: &mut RootDb,
        own: &Store,
        batch: Batch<'_>,
        work: &Work,
        settles: Settles,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<(), CommitError> {
        // No collection takes what came in before the root is known to refer to it.
        let _hold = own.hold()?;
        let mut stage = self.stage(own, &batch, work, cancel, events)?;
        let touched = stage::touched(&self.beneath, self.options.uid, work)?;
        let staged = {
            let prepared = prepare(&mut stage, &batch, work, cancel)?;
            for warning in stage.owners.warnings() {
                events(Event::Warning(warning));
            }
            db.begin(work.number, &to_json(&touched))?;
            stage_all(&mut stage, &batch, &prepared, work, settles, &touched)
        };
        let journal = staged.and_then(|staged| {
            batch.commit()?;
            register(own, &self.path, work)?;
            staged.unsynced.sync()?;
            pass_commit_point(&self.beneath, db, &staged, cancel, events)?;
            Ok(staged.journal)
        });
        let journal = match journal {
            Ok(journal) => journal,
            Err(error) => {
                return Err(undo(&self.beneath, db, work.number, &touched, events, error));
            }
        };
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
        self.check_space(own, &plan.work, sources)?;
        let _hold = own.hold()?;
        let batch = own.batch()?;
        let troves = ingest(own, &batch, &plan.work, sources, cancel, events)?;
        batch.commit()?;
        let references: Vec<_> = plan.work.troves.iter().map(|trove| Reference::Trove(trove.digest)).collect();
        own.add_root_refs(&self.path, &references)?;
        Ok(troves)
    }

    fn stage<'a>(
        &'a self,
        own: &'a Store,
        batch: &Batch<'_>,
        work: &Work,
        cancel: &'a AtomicBool,
        events: &'a dyn Fn(Event),
    ) -> Result<Stage<'a>, CommitError> {
        let fail = |source| CommitError::Stage { action: "read", path: b"etc/passwd".to_vec(), source };
        let coming = |path: &[u8]| -> Result<Option<Vec<u8>>, CommitError> {
            let put = work.puts.iter().find(|put| put.path == path);
            match put.map(|put| &put.what) {
                Some(What::File { object, .. }) => Ok(Some(batch.read(object)?)),
                _ => Ok(None),
            }
        };
        // What the changeset makes of these files comes before what they are.
        let mut owners = Owners::default();
        owners.add(coming(b"etc/passwd")?.as_deref(), coming(b"etc/group")?.as_deref());
        owners.add_all(Owners::read(&self.beneath).map_err(fail)?);
        let (root, store, uid) = (&self.beneath, own, self.options.uid);
        Ok(Stage { root, store, uid, owners, cancel, events })
    }
}

/// Brings the troves of a plan, as far as the root's store does not have them, into a batch of it; returns how many.
///
/// Several packages are taken in at once: each by itself has often no more than one frame to decode.
fn ingest(
    own: &Store,
    batch: &Batch<'_>,
    work: &Work,
    sources: &[&Store],
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<usize, CommitError> {
    let mut coming = Vec::new();
    for import in &work.imports {
        if !own.has_trove(&import.digest)? {
            coming.push(import);
        }
    }
    if let Some((first, others)) = coming.split_first() {
        events(Event::Importing { spec: first.spec.clone(), others: others.len() });
    }
    coming.par_iter().try_for_each(|import| bring(batch, import, sources, cancel))?;
    if !coming.is_empty() {
        events(Event::Ingested { troves: coming.len() });
    }
    Ok(coming.len())
}

fn bring(batch: &Batch<'_>, import: &Import, sources: &[&Store], cancel: &AtomicBool) -> Result<(), CommitError> {
    if cancel.load(Ordering::Relaxed) {
        return Err(CommitError::Interrupted);
    }
    match &import.from {
        Origin::Own => Ok(()),
        Origin::Source(at) => match sources.get(*at) {
            Some(source) => copy_trove(source, batch, &import.digest, cancel),
            None => Err(CommitError::NoSource { spec: import.spec.clone() }),
        },
        Origin::Package(path) => {
            let file = File::open(path).map_err(|source| CommitError::Open { path: path.clone(), source })?;
            let fail = |source| CommitError::Package { path: path.clone(), source: Box::new(source) };
            let package = Package::open(file).map_err(fail)?;
            if package.id() != import.digest {
                return Err(CommitError::PackageChanged { path: path.clone() });
            }
            package.import_into(batch, cancel, &|_, _| {}).map_err(fail)
        }
    }
}

/// Copies a trove from another store into a batch; every byte is checked on the way.
fn copy_trove(from: &Store, batch: &Batch<'_>, trove: &Digest, cancel: &AtomicBool) -> Result<(), CommitError> {
    let manifest = from.trove(trove)?;
    let mut done: HashSet<Digest> = HashSet::new();
    for component in manifest.components.values() {
        let tree = from.tree(&component.tree)?;
        for entry in tree.entries() {
            if cancel.load(Ordering::Relaxed) {
                return Err(CommitError::Interrupted);
            }
            let Node::File { object, size } = &entry.node else {
                continue;
            };
            if !done.insert(*object) || batch.is_here(object, *size)? {
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
    batch.add_trove(manifest, from.signatures(trove)?);
    Ok(())
}

/// Keeps the content of what the changeset displaces, and checks that it is what the plan saw.
fn keep_displaced(root: &Beneath, batch: &Batch<'_>, work: &Work) -> Result<(), CommitError> {
    let mut directories = Directories::new(root);
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
    Ok(())
}

/// Takes what hooks wrote into the store, and writes their lines into account files that packages bring.
fn with_accounts<'w>(batch: &Batch<'_>, work: &'w Work) -> Result<Cow<'w, Work>, CommitError> {
    if work.accounts.is_none() && work.contents.is_empty() {
        return Ok(Cow::Borrowed(work));
    }
    let mut work = work.clone();
    if let Some(mut accounts) = work.accounts.take() {
        let mut at = [None; 4];
        for (number, put) in work.puts.iter().enumerate() {
            if let Some(place) = accounts::FILES.iter().position(|path| *path == put.path.as_slice()) {
                at[place] = Some(number);
                if let (true, What::File { object, .. }) = (accounts.fresh[place], &put.what) {
                    accounts.texts[place] = Some(batch.read(object)?);
                }
            }
        }
        let outcome = accounts.outcome();
        for (place, text) in outcome.texts.into_iter().enumerate() {
            if let (Some(number), Some(text)) = (at[place], text)
                && let What::File { object, size, .. } = &mut work.puts[number].what
            {
                (*object, *size) = (Digest::blake3(*blake3::hash(&text).as_bytes()), text.len() as u64);
                work.contents.push(text);
            }
        }
        let mut rows = work.hooks.take().unwrap_or_default();
        rows.retain(|row| !hooks::is_account(row.kind));
        rows.extend(outcome.rows);
        rows.sort();
        work.hooks = Some(rows);
    }
    for content in &work.contents {
        batch.add_bytes(content, 0o444)?;
    }
    Ok(Cow::Owned(work))
}

/// Tells the store what the root will refer to; history keeps it for rollbacks.
fn register(own: &Store, root: &Path, work: &Work) -> Result<(), CommitError> {
    let troves = work.troves.iter().map(|trove| Reference::Trove(trove.digest));
    let objects = work.displaced.iter().filter_map(|(thing, _)| thing.object);
    let references: Vec<Reference> = troves.chain(objects.map(Reference::Object)).collect();
    if references.is_empty() {
        return Ok(());
    }
    Ok(own.add_root_refs(root, &references)?)
}

/// Makes the link variants; where the store turns out to have lost something, packages give it again.
fn prepare<'b>(
    stage: &mut Stage<'_>,
    batch: &'b Batch<'b>,
    work: &Work,
    cancel: &AtomicBool,
) -> Result<Prepared<'b>, CommitError> {
    use store::ErrorKind::{Damaged, NotFound};
    match stage.prepare(batch, &work.puts) {
        Err(error) if matches!(error.kind(), Damaged | NotFound) => {
            let mut again = false;
            for import in &work.imports {
                if matches!(import.from, Origin::Package(_)) {
                    bring(batch, import, &[], cancel)?;
                    again = true;
                }
            }
            if again { Ok(stage.prepare(batch, &work.puts)?) } else { Err(error.into()) }
        }
        other => Ok(other?),
    }
}

/// What was staged, not durable yet, and what comes after the commit point.
struct Staged {
    journal: Journal,
    packed: PackedJournal,
    unsynced: Unsynced,
}

/// Stages everything and writes down what comes after the commit point, while what came into the store is written to the disk.
fn stage_all(
    stage: &mut Stage<'_>,
    batch: &Batch<'_>,
    prepared: &Prepared<'_>,
    work: &Work,
    settles: Settles,
    touched: &[Touched],
) -> Result<Staged, CommitError> {
    Apply::new(stage.root, stage.events).open_up(touched)?;
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| batch.flush());
        let staged = stage_and_note(stage, prepared, work, settles);
        flushed.join().expect("because writing out does not panic")?;
        staged
    })
}

fn stage_and_note(
    stage: &mut Stage<'_>,
    prepared: &Prepared<'_>,
    work: &Work,
    settles: Settles,
) -> Result<Staged, CommitError> {
    let mut files = work.files.clone();
    let (steps, unsynced) = stage.run(work, prepared, &mut files)?;
    let settlement = Settlement {
        changeset: settles.row,
        leaving: work.leaving.clone(),
        troves: work.troves.clone(),
        files,
        reasons: work.reasons.clone(),
        displaced: work.displaced.iter().map(|(thing, _)| thing.clone()).collect(),
        beside: work.beside.clone(),
        beside_gone: work.beside_gone.clone(),
        scripts: work.scripts.after.clone(),
        script: settles.script,
        hooks: work.hooks.clone(),
        set_off: settles.set_off,
        trigger: settles.trigger,
    };
    let journal = Journal { steps, settlement, fresh: fresh(&work.puts, &work.files) };
    let packed = PackedJournal::new(&to_json(&journal))?;
    Ok(Staged { journal, packed, unsynced })
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
    staged: &Staged,
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<(), CommitError> {
    db.prepare(&staged.packed)?;
    Apply::new(root, events).check(&staged.journal.steps)?;
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
