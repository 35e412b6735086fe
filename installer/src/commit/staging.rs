// installer/src/commit/staging.rs
//! Everything is laid out beside its target, made durable and written down: the last steps up to the commit point.

use std::sync::atomic::{AtomicBool, Ordering};

use store::place::Prepared;
use store::root_db::{PackedJournal, RootDb, Settlement};
use store::{Batch, Store};

use super::incoming::{bring, register};
use super::{Settles, to_json};
use crate::apply::Apply;
use crate::error::CommitError;
use crate::event::Event;
use crate::journal::{Journal, Touched};
use crate::owners::Owners;
use crate::plan::{Origin, What, Work};
use crate::root::Root;
use crate::stage::{Laid, Stage, THREADS_FROM};

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

/// Stages everything, while what came into the store is written to the disk.
pub(super) fn stage_all(
    stage: &mut Stage<'_>,
    batch: &Batch<'_>,
    prepared: &Prepared<'_>,
    work: &Work,
    touched: &[Touched],
) -> Result<Laid, CommitError> {
    for warning in stage.owners.warnings() {
        (stage.events)(Event::Warning(warning));
    }
    Apply::new(stage.root, stage.events).open_up(touched)?;
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| batch.flush());
        let laid = stage.run(work, prepared);
        flushed.join().expect("because writing out does not panic")?;
        laid
    })
}

impl Root {
    /// Makes durable what was staged and what it needs, and passes the commit point.
    ///
    /// Rows are written while the disk works.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn pass_commit_point(
        &self,
        db: &mut RootDb,
        own: &Store,
        batch: Batch<'_>,
        work: &Work,
        settles: &Settles,
        laid: Laid,
        cancel: &AtomicBool,
        events: &dyn Fn(Event),
    ) -> Result<Journal, CommitError> {
        let Laid { steps, applied, fresh, unsynced } = laid;
        let settlement = Settlement {
            changeset: &settles.row,
            leaving: &work.leaving,
            troves: &work.troves,
            files: &work.files,
            applied: &applied,
            reasons: &work.reasons,
            displaced: work.displaced.iter().map(|(thing, _)| thing).collect(),
            beside: &work.beside,
            beside_gone: &work.beside_gone,
            hooks: work.hooks.as_deref(),
            set_off: &settles.set_off,
            scripts: &work.scripts.after,
            script: settles.script.as_ref(),
            trigger: settles.trigger.as_ref(),
        };
        let journal = Journal { steps, fresh };
        let stored = || -> Result<(), CommitError> {
            batch.commit()?;
            register(own, &self.path, work)
        };
        if work.puts.len() < THREADS_FROM {
            stored()?;
            unsynced.sync()?;
            db.write(&settlement)?;
        } else {
            std::thread::scope(|scope| {
                let synced = scope.spawn(|| unsynced.sync());
                let stored = scope.spawn(stored);
                let written = db.write(&settlement);
                stored.join().expect("because storing does not panic")?;
                synced.join().expect("because syncing does not panic")?;
                Ok::<(), CommitError>(written?)
            })?;
        }
        Apply::new(&self.beneath, events).check(&journal.steps)?;
        if cancel.load(Ordering::Relaxed) {
            return Err(CommitError::Interrupted);
        }
        db.commit(&PackedJournal::new(&to_json(&journal))?)?;
        Ok(journal)
    }
}
