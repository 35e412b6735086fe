// installer/src/canonical.rs
//! Canonical paths: where a path of a package really lies in a root.
//!
//! The parent of a path is resolved one component at a time inside the root, so that `lib/libz.so` and `usr/lib/libz.so` are one path where
//! `lib` is a link to `usr/lib`. Links that the changeset will place count as placed; a link of a leaving package that a
//! directory replaces does not count. What is found here is only for comparing and planning: when something is
//! written, the canonical path is opened without following any link.

use std::collections::{HashMap, HashSet};
use std::io;

use store::root_db::Kind;

use crate::beneath::{self, Beneath};
use crate::paths;

/// As many links as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Resolves directories of packages to directories of a root.
#[derive(Debug)]
pub struct Canonical<'a> {
    root: &'a Beneath,
    uid: u32,
    /// Links that will be there, by canonical path.
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// Canonical paths at which a directory takes the place of a link.
    becoming: HashSet<Vec<u8>>,
    known: HashMap<Vec<u8>, Vec<u8>>,
    absent: HashSet<Vec<u8>>,
}

/// Why a path cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Links that lead to each other.
    #[error("too many symbolic links on the way to {}", paths::show(path))]
    TooManyLinks {
        /// The path.
        path: Vec<u8>,
    },
    /// A link that belongs to neither root nor us, and leads to a directory of somebody else.
    #[error("{} is a symbolic link of user {uid}, which is not followed", paths::show(path))]
    Untrusted {
        /// The link.
        path: Vec<u8>,
        /// Its owner.
        uid: u32,
    },
    /// The root cannot be read.
    #[error("cannot look at {}", paths::show(path))]
    Io {
        /// The path.
        path: Vec<u8>,
        /// The system's answer.
        source: io::Error,
    },
}

impl<'a> Canonical<'a> {
    /// Starts from what is on the disk. `uid` is who works.
    #[must_use]
    pub fn new(root: &'a Beneath, uid: u32) -> Self {
        Self {
            root,
            uid,
            links: HashMap::new(),
            becoming: HashSet::new(),
            known: HashMap::new(),
            absent: HashSet::new(),
        }
    }

    /// Counts a link that will be placed at a canonical path.
    pub fn will_be_link(&mut self, path: Vec<u8>, target: &[u8]) {
        self.known.clear();
        self.links.insert(path, target.to_vec());
    }

    /// Counts a directory that will take the place of a link at a canonical path.
    pub fn will_be_directory(&mut self, path: Vec<u8>) {
        self.known.clear();
        self.becoming.insert(path);
    }

    /// Returns where a directory of a package lies in the root.
    ///
    /// # Errors
    /// Every [`CanonicalError`].
    pub fn directory(&mut self, path: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        if path.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(known) = self.known.get(path) {
            return Ok(known.clone());
        }
        let (parent, name) = paths::split(path);
        let parent = self.directory(parent)?;
        let mut left = MOST_LINKS;
        let found = self.step(&parent, name, &mut left, path)?;
        self.known.insert(path.to_vec(), found.clone());
        Ok(found)
    }

    /// Returns where a thing of a package lies: its directory resolved, its own name as it is.
    ///
    /// # Errors
    /// As [`Canonical::directory`].
    pub fn place(&mut self, path: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        let (parent, name) = paths::split(path);
        Ok(paths::join(&self.directory(parent)?, name))
    }

    fn step(&mut self, parent: &[u8], name: &[u8], left: &mut u32, whole: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        let path = paths::join(parent, name);
        if self.becoming.contains(&path) {
            return Ok(path);
        }
        if let Some(target) = self.links.get(&path).cloned() {
            return self.follow(parent, &target, left, whole);
        }
        let io = |source| CanonicalError::Io { path: path.clone(), source };
        if self.absent.contains(parent) {
            self.absent.insert(path.clone());
            return Ok(path);
        }
        let Some(found) = self.root.stat(&path).map_err(io)? else {
            self.absent.insert(path.clone());
            return Ok(path);
        };
        if found.kind != Some(Kind::Symlink) {
            return Ok(path);
        }
        let directory = self.root.directory(parent).map_err(io)?;
        let target = beneath::read_link(&*directory, name).map_err(io)?;
        let to = self.follow(parent, &target, left, whole)?;
        let trusted = found.uid == 0
            || found.uid == self.uid
            || self.root.stat(&to).map_err(io)?.is_some_and(|target| target.uid == found.uid);
        if trusted { Ok(to) } else { Err(CanonicalError::Untrusted { path, uid: found.uid }) }
    }

    fn follow(&mut self, from: &[u8], target: &[u8], left: &mut u32, whole: &[u8]) -> Result<Vec<u8>, CanonicalError> {
        *left = left.checked_sub(1).ok_or_else(|| CanonicalError::TooManyLinks { path: whole.to_vec() })?;
        let mut at = if target.first() == Some(&b'/') { Vec::new() } else { from.to_vec() };
        for part in target.split(|byte| *byte == b'/') {
            at = match part {
                b"" | b"." => at,
                b".." => paths::split(&at).0.to_vec(),
                name => self.step(&at, name, left, whole)?,
            };
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn links_of_the_root_are_followed_inside_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        symlink("/lib/../lib", root.path().join("lib64")).unwrap();
        symlink("../../../..", root.path().join("up")).unwrap();
        symlink("loop2", root.path().join("loop1")).unwrap();
        symlink("loop1", root.path().join("loop2")).unwrap();
        let beneath = Beneath::open(root.path()).unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let mut canonical = Canonical::new(&beneath, uid);
        for (path, place) in [
            ("lib/libz.so", "usr/lib/libz.so"),
            ("lib64/a/b", "usr/lib/a/b"),
            ("up/up/etc/x", "etc/x"),
            ("lib", "lib"),
            ("new/dir/x", "new/dir/x"),
        ] {
            assert_eq!(canonical.place(path.as_bytes()).unwrap(), place.as_bytes(), "{path}");
        }
        assert_eq!(canonical.directory(b"lib").unwrap(), b"usr/lib");
        assert!(matches!(canonical.directory(b"loop1"), Err(CanonicalError::TooManyLinks { .. })));
        canonical.will_be_link(b"bin".to_vec(), b"usr/bin");
        assert_eq!(canonical.place(b"bin/sh").unwrap(), b"usr/bin/sh");
        canonical.will_be_directory(b"lib".to_vec());
        assert_eq!(canonical.place(b"lib/libz.so").unwrap(), b"lib/libz.so");
    }

    #[test]
    fn a_link_of_another_user_is_followed_only_to_what_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make links of another user");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::create_dir_all(root.path().join("home/www")).unwrap();
        for (name, target) in [("evil", "etc"), ("fine", "home/www")] {
            symlink(target, root.path().join(name)).unwrap();
            lchown(root.path().join(name), Some(12345), None).unwrap();
        }
        lchown(root.path().join("home/www"), Some(12345), None).unwrap();
        let beneath = Beneath::open(root.path()).unwrap();
        let mut canonical = Canonical::new(&beneath, 0);
        assert!(matches!(canonical.place(b"evil/x"), Err(CanonicalError::Untrusted { uid: 12345, .. })));
        assert_eq!(canonical.place(b"fine/x").unwrap(), b"home/www/x");
    }
}
