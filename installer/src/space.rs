// installer/src/space.rs
//! Room: whether every file system that a changeset writes to can take it, asked before anything changes.
//!
//! An upper bound is enough where there is plenty; only where there is not are the objects counted that the store really lacks. Others may fill
//! a file system meanwhile: then a later step fails, and everything is taken back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use store::ccs::Package;
use store::{Node, Store, Tree};

use crate::beneath::{self, Directories};
use crate::error::CommitError;
use crate::paths;
use crate::plan::{Import, Origin, What, Work};
use crate::root::Root;

/// What is left free for the database, its log and directories.
const MARGIN_BYTES: u64 = 1 << 20;

/// What one file system is to take.
struct Need {
    bytes: u64,
    path: Vec<u8>,
    directory: Arc<OwnedFd>,
}

impl Root {
    /// Checks that there is room for a changeset.
    ///
    /// # Errors
    /// [`CommitError::NoSpace`].
    pub(crate) fn check_space(&self, own: &Store, work: &Work, sources: &[&Store]) -> Result<(), CommitError> {
        let fail = |source| CommitError::Stage { action: "look at", path: Vec::new(), source };
        let store: OwnedFd = File::open(own.directory()).map_err(fail)?.into();
        let store_device = beneath::stat_open(&store).map_err(fail)?.device;
        let mut needs = self.for_files(work, store_device)?;
        let path = own.directory().as_os_str().as_bytes().to_vec();
        let need = needs.entry(store_device).or_insert(Need { bytes: 0, path, directory: Arc::new(store) });
        let most: u64 = work.imports.iter().map(|import| import.bytes).sum();
        if available(need)? < need.bytes + most + MARGIN_BYTES {
            need.bytes += for_imports(own, work, sources)?;
        }
        for need in needs.values() {
            let available = available(need)?;
            if available < need.bytes + MARGIN_BYTES {
                return Err(CommitError::NoSpace { path: need.path.clone(), needed: need.bytes, available });
            }
        }
        Ok(())
    }

    /// Returns what staging writes on each file system: files that cannot be links into the store.
    fn for_files(&self, work: &Work, store_device: u64) -> Result<BTreeMap<u64, Need>, CommitError> {
        let mut directories = Directories::new(&self.beneath);
        let mut devices: HashMap<Vec<u8>, u64> = HashMap::new();
        let mut needs: BTreeMap<u64, Need> = BTreeMap::new();
        for put in &work.puts {
            let What::File { size, private, .. } = put.what else {
                continue;
            };
            // A new directory will be where the nearest one is that exists.
            let mut parent = paths::split(&put.path).0;
            let mut missing = Vec::new();
            let (device, directory) = loop {
                if let Some(device) = devices.get(parent) {
                    break (*device, None);
                }
                let fail = |source| CommitError::Stage { action: "look at", path: parent.to_vec(), source };
                if let Some(directory) = directories.get_if_present(parent).map_err(fail)? {
                    break (beneath::stat_open(&*directory).map_err(fail)?.device, Some(directory));
                }
                missing.push(parent);
                parent = paths::split(parent).0;
            };
            devices.extend(missing.into_iter().map(|parent| (parent.to_vec(), device)));
            if let Some(directory) = directory {
                devices.insert(parent.to_vec(), device);
                needs.entry(device).or_insert(Need { bytes: 0, path: parent.to_vec(), directory });
            }
            if (private || device != store_device)
                && let Some(need) = needs.get_mut(&device)
            {
                need.bytes += size;
            }
        }
        Ok(needs)
    }
}

/// Counts the bytes that the store lacks of what comes.
fn for_imports(own: &Store, work: &Work, sources: &[&Store]) -> Result<u64, CommitError> {
    let mut bytes = 0;
    let mut seen = HashSet::new();
    for import in &work.imports {
        if own.has_trove(&import.digest)? {
            continue;
        }
        for tree in trees(import, sources)? {
            for entry in tree.entries() {
                if let Node::File { object, size } = entry.node
                    && seen.insert(object)
                    && !own.has(&object)?
                {
                    bytes += size;
                }
            }
        }
    }
    Ok(bytes)
}

/// Returns the trees that come with a trove.
fn trees(import: &Import, sources: &[&Store]) -> Result<Vec<Tree>, CommitError> {
    match &import.from {
        Origin::Own => Ok(Vec::new()),
        Origin::Source(at) => {
            let missing = || CommitError::NoSource { spec: import.spec.clone() };
            let source = sources.get(*at).ok_or_else(missing)?;
            let components = source.trove(&import.digest)?.components;
            Ok(components.values().map(|component| source.tree(&component.tree)).collect::<Result<_, _>>()?)
        }
        Origin::Package(path) => {
            let file = File::open(path).map_err(|source| CommitError::Open { path: path.clone(), source })?;
            let fail = |source| CommitError::Package { path: path.clone(), source: Box::new(source) };
            let package = Package::open(file).map_err(fail)?;
            let names = package.manifest().components.keys();
            Ok(names.filter_map(|name| package.tree(name)).cloned().collect())
        }
    }
}

fn available(need: &Need) -> Result<u64, CommitError> {
    let fail = |error: rustix::io::Errno| CommitError::Stage {
        action: "ask for the free space at",
        path: need.path.clone(),
        source: error.into(),
    };
    let found = rustix::fs::fstatvfs(&need.directory).map_err(fail)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
