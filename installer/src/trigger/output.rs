// installer/src/trigger/output.rs
//! What a trigger wrote, on its way into the root: checked, taken into the store, and laid down as work for the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use store::Store;
use store::root_db::{Kind, RootDb, TriggerOutput};

use super::TriggerError;
use crate::beneath;
use crate::error::CommitError;
use crate::paths::{self, PathKey};
use crate::plan::{Over, Put, Take, What, Work};
use crate::root::Root;

/// How many files a command may leave.
const MOST_FILES: usize = 100_000;

/// Takes what lies in `room` into the store and says what to put into the root; returns all that the trigger has now.
pub(super) fn take_in(
    root: &Root,
    db: &RootDb,
    own: &Store,
    room: &Path,
    name: &str,
    before: &[TriggerOutput],
    work: &mut Work,
) -> Result<Vec<TriggerOutput>, TriggerError> {
    let found = list(room, &|path, _, about| {
        if about.is_dir() || about.is_file() {
            return Ok(about.is_dir());
        }
        Err(TriggerError::Output { path: path.to_vec(), why: "which is neither a file nor a directory".to_owned() })
    })?;
    let uid = root.options.uid;
    let put = |path: &[u8], what, mode, over| Put::plain(path, what, mode, (uid, uid), over);
    let boxed = |error: store::StoreError| TriggerError::Commit(Box::new(error.into()));
    let batch = own.batch().map_err(boxed)?;
    let mut outputs = Vec::new();
    for (path, directory) in &found {
        let wrong = |why: &str| TriggerError::Output { path: path.0.clone(), why: why.to_owned() };
        if let Some(why) = paths::forbidden(&path.0) {
            return Err(wrong(why));
        }
        let looked = root.beneath.stat(&path.0);
        let there = looked.map_err(|source| CommitError::Stage { action: "look at", path: path.0.clone(), source });
        let there = there.map_err(Box::new)?;
        let owned = db.rows_at(&path.0).map_err(|error| Box::new(CommitError::from(error)))?;
        let kept = before.iter().find(|output| output.path == path.0);
        if *directory {
            match there.map(|found| found.kind) {
                None => {
                    work.puts.push(put(&path.0, What::Directory, 0o755, None));
                    outputs.push(TriggerOutput { path: path.0.clone(), kind: Kind::Directory, object: None });
                }
                // One that it made before is still its own.
                Some(Some(Kind::Directory)) => outputs.extend(kept.cloned()),
                Some(_) => return Err(wrong("where something else than a directory lies")),
            }
            continue;
        }
        if let Some(row) = owned.first() {
            let owner = db.names().map_err(|error| Box::new(CommitError::from(error)))?.remove(&row.trove);
            return Err(wrong(&format!("which belongs to {}: trigger {name}", owner.unwrap_or_default())));
        }
        let source = room.join(std::ffi::OsStr::from_bytes(&path.0));
        let fail = |source_error| TriggerError::Io { action: "read", path: source.clone(), source: source_error };
        let mut file = fs::File::open(&source).map_err(fail)?;
        let (object, size) = batch.add_file(&mut file, 0o644).map_err(boxed)?;
        outputs.push(TriggerOutput { path: path.0.clone(), kind: Kind::File, object: Some(object) });
        let mut over = None;
        if let Some(there) = there {
            if there.kind != Some(Kind::File) {
                return Err(wrong("where something else than a file lies"));
            }
            if there.size == size && digest(root, &path.0)? == Some(object) {
                continue;
            }
            over = Some(Over { seen: there.seen(), displaces: false, directory: false, strip: false });
        }
        work.puts.push(put(&path.0, What::File { object, size, private: true, group: None }, 0o644, over));
    }
    batch.commit().map_err(boxed)?;
    Ok(outputs)
}

/// Removes what the trigger wrote before and does not any more, where it is as it was written.
pub(super) fn remove_stale(
    root: &Root,
    before: &[TriggerOutput],
    now: &[TriggerOutput],
    work: &mut Work,
) -> Result<(), TriggerError> {
    let stays: BTreeSet<&[u8]> = now.iter().map(|output| output.path.as_slice()).collect();
    let mut gone: Vec<&TriggerOutput> =
        before.iter().filter(|output| !stays.contains(output.path.as_slice())).collect();
    // What a directory holds goes before it.
    gone.sort_by_cached_key(|output| std::cmp::Reverse(PathKey(output.path.clone())));
    for output in gone {
        let path = output.path.clone();
        let looked = root.beneath.stat(&path);
        let found = looked.map_err(|source| CommitError::Stage { action: "look at", path: path.clone(), source });
        let Some(found) = found.map_err(Box::new)? else {
            continue;
        };
        match output.kind {
            Kind::Directory if found.kind == Some(Kind::Directory) => work.takes.push(Take::RemoveDirectory { path }),
            Kind::File if found.kind == Some(Kind::File) && digest(root, &path)? == output.object => {
                work.takes.push(Take::Remove { path, seen: found.seen(), strip: false });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lists what a command left below a directory, each directory before what it holds; `what` says what each is, or refuses it.
pub(crate) fn list<T>(
    directory: &Path,
    what: &impl Fn(&[u8], &fs::DirEntry, &fs::Metadata) -> Result<T, TriggerError>,
) -> Result<BTreeMap<PathKey, T>, TriggerError> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(directory.to_owned(), Vec::new())];
    while let Some((directory, prefix)) = waiting.pop() {
        let fail = |source| TriggerError::Io { action: "read", path: directory.clone(), source };
        for entry in fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let about = entry.metadata().map_err(fail)?;
            let path = paths::join(&prefix, entry.file_name().as_bytes());
            if found.len() >= MOST_FILES {
                return Err(TriggerError::Output { path, why: "more files than a command may write".to_owned() });
            }
            let what = what(&path, &entry, &about)?;
            if about.is_dir() {
                waiting.push((entry.path(), path.clone()));
            }
            found.insert(PathKey(path), what);
        }
    }
    Ok(found)
}

/// Returns the content of a file of the root.
pub(crate) fn digest(root: &Root, path: &[u8]) -> Result<Option<recipes::Digest>, TriggerError> {
    let (parent, name) = paths::split(path);
    let read = || -> std::io::Result<_> {
        let directory = root.beneath.directory(parent)?;
        crate::hash::of_file(beneath::open_file(&*directory, name)?)
    };
    match read() {
        Ok(digest) => Ok(Some(digest)),
        Err(source) => Err(Box::new(CommitError::Stage { action: "read", path: path.to_vec(), source }).into()),
    }
}
