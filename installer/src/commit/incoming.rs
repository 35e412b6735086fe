// installer/src/commit/incoming.rs
//! What comes into the root's store before anything is staged: troves, what hooks write, and what the changeset displaces.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use store::ccs::Package;
use store::{Batch, Node, Reference, Store, StoreError};

use crate::accounts;
use crate::beneath::{self, Beneath, Directories};
use crate::error::CommitError;
use crate::event::Event;
use crate::hooks;
use crate::paths;
use crate::plan::{Import, Origin, What, Work};

/// Brings the troves of a plan, as far as the root's store does not have them, into a batch of it; returns how many.
///
/// Several packages are taken in at once: each by itself has often no more than one frame to decode.
pub(super) fn ingest(
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
    if !coming.is_empty() {
        batch.flush_during(|| coming.par_iter().try_for_each(|import| bring(batch, import, sources, cancel)))?;
        events(Event::Ingested { troves: coming.len() });
    }
    Ok(coming.len())
}

pub(super) fn bring(
    batch: &Batch<'_>,
    import: &Import,
    sources: &[&Store],
    cancel: &AtomicBool,
) -> Result<(), CommitError> {
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
pub(super) fn keep_displaced(root: &Beneath, batch: &Batch<'_>, work: &Work) -> Result<(), CommitError> {
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
pub(super) fn add_accounts(batch: &Batch<'_>, work: &mut Work) -> Result<(), CommitError> {
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
    Ok(())
}

/// Tells the store what the root will refer to; history keeps it for rollbacks.
pub(super) fn register(own: &Store, root: &Path, work: &Work) -> Result<(), CommitError> {
    let troves = work.troves.iter().map(|trove| Reference::Trove(trove.digest));
    let objects = work.displaced.iter().filter_map(|(thing, _)| thing.object);
    let references: Vec<Reference> = troves.chain(objects.map(Reference::Object)).collect();
    if references.is_empty() {
        return Ok(());
    }
    Ok(own.add_root_refs(root, &references)?)
}
