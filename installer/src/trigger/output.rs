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
use crate::plan::{Over, Ownership, Put, Take, What, Work};
use crate::root::Root;

/// How many files a trigger may write.
pub(crate) const MOST_FILES: usize = 100_000;

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
    let mut found = BTreeMap::new();
    walk(room, b"", &mut found)?;
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
                    work.puts.push(put(root, &path.0, What::Directory, 0o755, None));
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
        work.puts.push(put(root, &path.0, What::File { object, size, private: true, group: None }, 0o644, over));
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

fn put(root: &Root, path: &[u8], what: What, mode: u32, over: Option<Over>) -> Put {
    let (uid, gid) = if root.options.uid == 0 { (0, 0) } else { (root.options.uid, root.options.uid) };
    Put {
        path: path.to_vec(),
        what,
        mode,
        owner: Ownership::Ids { uid, gid },
        xattrs: BTreeMap::new(),
        over,
        rows: Vec::new(),
    }
}

/// Lists the directories and files below a directory, each directory before what it holds.
fn walk(directory: &Path, prefix: &[u8], found: &mut BTreeMap<PathKey, bool>) -> Result<(), TriggerError> {
    let fail = |source| TriggerError::Io { action: "read", path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = paths::join(prefix, entry.file_name().as_bytes());
        let kind = entry.file_type().map_err(fail)?;
        let wrong = |why: &str| TriggerError::Output { path: path.clone(), why: why.to_owned() };
        if found.len() >= MOST_FILES {
            return Err(wrong("more files than a trigger may write"));
        }
        if !kind.is_dir() && !kind.is_file() {
            return Err(wrong("which is neither a file nor a directory"));
        }
        found.insert(PathKey(path.clone()), kind.is_dir());
        if kind.is_dir() {
            walk(&entry.path(), &path, found)?;
        }
    }
    Ok(())
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
