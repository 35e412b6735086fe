// installer/src/commit/staging.rs
//! Everything is laid out beside its target and the journal is written down: the last step before the commit point.

use std::sync::atomic::AtomicBool;

use store::place::Prepared;
use store::root_db::{FileRow, PackedJournal, Settlement};
use store::{Batch, Store};

use super::incoming::bring;
use super::{Settles, to_json};
use crate::apply::Apply;
use crate::error::CommitError;
use crate::event::Event;
use crate::journal::{Journal, Touched};
use crate::owners::Owners;
use crate::plan::{Origin, Put, What, Work};
use crate::root::Root;
use crate::stage::{Stage, Unsynced};

impl Root {
    /// Prepares staging: whose numbers belong to which names.
    pub(super) fn stage<'a>(
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

/// Makes the link variants; where the store turns out to have lost something, packages give it again.
pub(super) fn prepare<'b>(
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
pub(super) struct Staged {
    pub journal: Journal,
    pub packed: PackedJournal,
    pub unsynced: Unsynced,
}

/// Stages everything and writes down what comes after the commit point, while what came into the store is written to the disk.
pub(super) fn stage_all(
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
fn fresh(puts: &[Put], files: &[Vec<FileRow>]) -> Vec<(usize, usize)> {
    let packaged = |put: &&Put| match (&put.what, put.rows.first()) {
        (What::File { object, .. }, Some((trove, at))) => files[*trove][*at].object == Some(*object),
        _ => false,
    };
    puts.iter().filter(packaged).flat_map(|put| put.rows.iter().copied()).collect()
}
