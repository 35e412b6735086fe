// kitchen/src/seed.rs
//! Seeds: roots made elsewhere, a small distribution with a compiler for instance, that lie under a hermetic build root.
//!
//! A seed is a trove whose content says nothing of the machine that made it. Directories that a system fills when it runs are empty, and
//! what names a host, a user or a time is left out ([`keeps`]); everything belongs to root, programs are 0755 and all else is 0644. So
//! the same root gives the same id, from a directory or a tarball, whoever imports it. Its name is a pin of the store, which
//! keeps gc away.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use recipes::{Digest, Name};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde::Serialize;
use store::{
    Component, Decision, Found, IngestError, IngestOptions, Manifest, Node, Reference, Store, StoreError, Tree,
};

use crate::unpack::{self, UnpackError};

/// What the reason of a pin begins with that names a seed.
const PIN: &str = "seed ";
/// The one component of a seed.
const COMPONENT: &str = "runtime";
/// What all seeds are called as troves.
const TROVE: &str = "seed";

/// Directories that stay and are empty.
const EMPTIED: [&str; 17] = [
    "boot",
    "dev",
    "home",
    "media",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "debootstrap",
    "etc/apt/sources.list.d",
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
    "var/spool",
    "var/tmp",
];
/// Files that name a host, its users or a time.
const LEFT_OUT: [&str; 33] = [
    ".dockerenv",
    "etc/.pwd.lock",
    "etc/adjtime",
    "etc/apt/sources.list",
    "etc/fstab",
    "etc/group",
    "etc/group-",
    "etc/gshadow",
    "etc/gshadow-",
    "etc/hostname",
    "etc/hosts",
    "etc/localtime",
    "etc/machine-id",
    "etc/mtab",
    "etc/passwd",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow",
    "etc/shadow-",
    "etc/subgid",
    "etc/subgid-",
    "etc/subuid",
    "etc/subuid-",
    "etc/timezone",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/available",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
];
/// Beginnings of names of such files.
const BEGINNINGS: [&str; 1] = ["etc/ssh/ssh_host_"];
/// Directories anywhere whose files hold the times of others.
const CACHES: [&str; 1] = ["__pycache__"];

/// Something is wrong with a seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// There is none of this name.
    #[error("there is no seed {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// What is to be imported holds no files.
    #[error("{} holds no files that a seed could have", path.display())]
    Empty {
        /// Where it is.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tarball cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A directory cannot be taken in.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SeedError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => {
                Some("`conary seed list` shows those that there are, `conary seed import` makes one".to_owned())
            }
            Self::Empty { .. } => Some("name the top directory of a root, or a tarball of one".to_owned()),
            Self::Read { .. } => None,
            Self::Unpack(error) => error.hint(),
            Self::Ingest(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// One seed of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seed {
    /// What it is called here.
    pub name: String,
    /// Its content.
    pub id: Digest,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
}

/// What differs between two seeds at one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// Only the first has it.
    Removed,
    /// Only the second has it.
    Added,
    /// Both have it, and it is not the same.
    Changed,
}

/// Takes a root into the store under a name: a directory, or a tarball of one. An earlier seed of that name loses it.
///
/// # Errors
/// [`SeedError`], by what could not be read or taken in. The earlier seed is still there then.
pub fn import(store: &Store, name: &Name, from: &Path, cancel: &AtomicBool) -> Result<Seed, SeedError> {
    let failed = |source| SeedError::Read { path: from.to_owned(), source };
    let _hold = store.hold()?;
    let work = store.work()?;
    let about = std::fs::metadata(from).map_err(failed)?;
    let directory = if about.is_dir() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(from, flags, Mode::empty()).map_err(|error| failed(error.into()))?
    } else {
        let archive = File::open(from).map_err(failed)?;
        let label = from.file_name().unwrap_or(from.as_os_str()).to_string_lossy();
        unpack::unpack_root(archive, &label, work.directory(), &unpack::Limits::default(), cancel)?;
        work.directory().try_clone_to_owned().map_err(failed)?
    };
    let decide = |found: &Found<'_>| decide(directory.as_fd(), found);
    let options = IngestOptions { xattrs: false, decide: Some(&decide), ..IngestOptions::default() };
    let tree = store.ingest(&directory, &options, cancel)?;
    let (files, size_bytes) = measure(&tree);
    if files == 0 {
        return Err(SeedError::Empty { path: from.to_owned() });
    }
    let id = store.put_trove(&manifest(store, &tree)?)?;
    let earlier = list(store)?.into_iter().find(|seed| seed.name == name.as_str());
    store.pin(&Reference::Trove(id), &format!("{PIN}{name}"))?;
    if let Some(earlier) = earlier.filter(|earlier| earlier.id != id) {
        store.unpin(&Reference::Trove(earlier.id), &format!("{PIN}{name}"))?;
    }
    Ok(Seed { name: name.to_string(), id, files, size_bytes })
}

/// The seeds of a store, by name.
///
/// # Errors
/// [`StoreError`].
pub fn list(store: &Store) -> Result<Vec<Seed>, StoreError> {
    let mut seeds = Vec::new();
    for (reference, reason) in store.pins()? {
        if let (Reference::Trove(id), Some(name)) = (reference, reason.strip_prefix(PIN)) {
            let manifest = store.trove(&id)?;
            let parts = || manifest.components.values();
            let (files, size_bytes) = (parts().map(|part| part.files).sum(), parts().map(|part| part.size_bytes).sum());
            seeds.push(Seed { name: name.to_owned(), id, files, size_bytes });
        }
    }
    seeds.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(seeds)
}

/// The seed of a name, or of a content id or the beginning of one, of at least eight digits.
///
/// # Errors
/// [`SeedError::Unknown`].
pub fn find(store: &Store, name: &str) -> Result<Seed, SeedError> {
    let seeds = list(store)?;
    let by_id = |seed: &&Seed| {
        let digits = name.strip_prefix("blake3:").unwrap_or(name);
        digits.len() >= 8 && seed.id.hex().starts_with(digits)
    };
    let found = seeds.iter().find(|seed| seed.name == name).or_else(|| seeds.iter().find(by_id));
    found.cloned().ok_or_else(|| SeedError::Unknown { name: name.to_owned() })
}

/// Takes the name away; gc takes the rest, unless something else holds it.
///
/// # Errors
/// [`SeedError::Unknown`].
pub fn remove(store: &Store, name: &str) -> Result<Seed, SeedError> {
    let seed = find(store, name)?;
    store.unpin(&Reference::Trove(seed.id), &format!("{PIN}{}", seed.name))?;
    Ok(seed)
}

/// What a seed holds.
///
/// # Errors
/// [`StoreError`].
pub fn tree(store: &Store, seed: &Seed) -> Result<Tree, StoreError> {
    let manifest = store.trove(&seed.id)?;
    match manifest.components.get(COMPONENT) {
        Some(component) => store.tree(&component.tree),
        None => Ok(Tree::default()),
    }
}

/// The paths at which two trees differ, sorted.
#[must_use]
pub fn differences(one: &Tree, other: &Tree) -> Vec<(Difference, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in one.entries() {
        match other.get(&entry.path) {
            None => found.push((Difference::Removed, entry.path.clone())),
            Some(now) if now != entry => found.push((Difference::Changed, entry.path.clone())),
            Some(_) => {}
        }
    }
    let added = other.entries().iter().filter(|entry| one.get(&entry.path).is_none());
    found.extend(added.map(|entry| (Difference::Added, entry.path.clone())));
    found.sort_by(|one, other| one.1.cmp(&other.1));
    found
}

fn measure(tree: &Tree) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in tree.entries() {
        if let Node::File { size, .. } = entry.node {
            sum = (sum.0 + 1, sum.1 + size);
        }
    }
    sum
}

/// The manifest of a seed, which says nothing but the content: nobody can require it, and its name here is not in it.
fn manifest(store: &Store, tree: &Tree) -> Result<Manifest, SeedError> {
    let (files, size_bytes) = measure(tree);
    let component =
        Component { tree: store.put_tree(tree)?, files, size_bytes, provides: Vec::new(), requires: Vec::new() };
    Ok(Manifest {
        format: store::MANIFEST_FORMAT,
        name: TROVE.parse().map_err(|_| SeedError::Unknown { name: TROVE.to_owned() })?,
        version: recipes::Version { epoch: 0, version: "0".to_owned(), release: "1".to_owned() },
        arch: std::env::consts::ARCH.to_owned(),
        flavor: String::new(),
        label: None,
        summary: Some("a seed of build roots".to_owned()),
        description: None,
        homepage: None,
        license: None,
        components: [(COMPONENT.to_owned(), component)].into(),
        requires: Vec::new(),
        recommends: Vec::new(),
        provides: Vec::new(),
        conflicts: Vec::new(),
        replaces: Vec::new(),
        config: store::Config::default(),
        groups: Vec::new(),
        suggests: Vec::new(),
        scripts: recipes::Scripts::default(),
        hooks: store::Hooks::default(),
    })
}

/// What becomes of something found in a root.
fn decide(top: BorrowedFd<'_>, found: &Found<'_>) -> Decision {
    let path = String::from_utf8_lossy(found.path);
    let special = !found.is_directory
        && rustix::fs::statat(top, found.path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|about| {
            let kind = FileType::from_raw_mode(about.st_mode);
            !kind.is_file() && !kind.is_symlink()
        });
    if special || !keeps(&path) {
        return Decision::Exclude;
    }
    let mode = if found.is_directory || found.mode & 0o100 != 0 { 0o755 } else { 0o644 };
    Decision::Replace { mode, owner: "root".to_owned(), group: "root".to_owned() }
}

/// Whether a seed has a path, by its name.
#[must_use]
pub fn keeps(path: &str) -> bool {
    let below = |directory: &str| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
    !(EMPTIED.iter().any(|directory| below(directory))
        || LEFT_OUT.contains(&path)
        || BEGINNINGS.iter().any(|beginning| path.starts_with(beginning))
        || path.split('/').any(|name| CACHES.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_host_is_left_out() {
        let table = [
            ("usr/bin/gcc", true),
            ("dev", true),
            ("dev/null", false),
            ("devices", true),
            ("etc/machine-id", false),
            ("etc/machine-identity", true),
            ("etc/ssh/ssh_host_ed25519_key.pub", false),
            ("etc/ssh/ssh_config", true),
            ("usr/lib/python3/__pycache__", false),
            ("usr/lib/python3/__pycache__/a.pyc", false),
            ("var/cache/ldconfig/aux-cache", false),
            ("var/lib/dpkg/status", true),
        ];
        for (path, kept) in table {
            assert_eq!(keeps(path), kept, "{path}");
        }
    }
}
