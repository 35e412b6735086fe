// store/src/place.rs
//! One file of an object, put under a name in any directory: the step that installs and checkouts are made of.
//!
//! A reflink where the file system can share blocks, else a link where the file may share its inode with the store,
//! else a copy. Which variants links need is prepared for many files at once, with one barrier or as part of a batch;
//! placing itself writes no row and syncs nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rayon::prelude::*;
use recipes::Digest;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::Store;
use crate::batch::Batch;
use crate::cas::{Variant, object_path};
use crate::copy::{self, How};
use crate::durable;
use crate::error::StoreError;

/// How files are brought out of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkMode {
    /// By reflink, else by hard link where nobody edits the file, else by copying.
    #[default]
    Auto,
    /// By reflink; an error where the file system cannot.
    Reflink,
    /// By hard link where nobody edits the file, and an error where the file system cannot; else by copying.
    Hardlink,
    /// By copying bytes.
    Copy,
}

/// What a placed file has beside its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
    /// User and group by number; `None` leaves them to be the caller's.
    pub owner: Option<(u32, u32)>,
    /// Extended attributes.
    pub xattrs: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A file to be placed.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// Its content.
    pub object: &'a Digest,
    /// The content's length in bytes.
    pub size: u64,
    /// What else it has.
    pub attributes: Attributes<'a>,
    /// Whether it may share its inode with the store: nobody will write to it in place.
    pub share: bool,
}

/// How a file was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It shares its blocks with the store's file.
    Cloned,
    /// It is a link to the store's file.
    Linked,
    /// It is a file of its own.
    Copied,
    /// It is a file of its own, because the store's file has as many links as the file system allows.
    CopiedForLinks,
}

/// What is known about the store's file system and sharing blocks.
pub(crate) mod clones {
    /// Not tried yet.
    pub(crate) const UNKNOWN: u8 = 0;
    /// It worked.
    pub(crate) const YES: u8 = 1;
    /// It cannot.
    pub(crate) const NO: u8 = 2;
}

/// Gives an open file or directory its attributes and the time that everything materialised has.
///
/// # Errors
/// As `fchown`, `fchmod`, `fsetxattr` and `futimens`.
pub fn dress(file: impl AsFd, attributes: &Attributes<'_>) -> io::Result<()> {
    let Attributes { mode, owner, xattrs } = *attributes;
    copy::finish(file, mode, owner, xattrs)
}

/// What is known of the files that placing needs: which link variants are in the store, or in a batch on its way there.
#[derive(Debug, Default)]
pub struct Prepared<'b> {
    batch: Option<&'b Batch<'b>>,
    ready: HashSet<(Digest, Variant)>,
}

impl<'b> Batch<'b> {
    /// Makes the link variants that placing these files by links needs, as objects of this batch, where neither it nor the store
    /// has them untouched.
    ///
    /// The files may be placed before the batch is committed, and are to be counted on only after that.
    ///
    /// # Errors
    /// [`StoreError`]: an object is missing, or the store cannot be written or is full.
    pub fn prepare<'a>(&'b self, files: impl IntoIterator<Item = Placement<'a>>) -> Result<Prepared<'b>, StoreError> {
        let wanted = self.store.wanted(files);
        let mut ready = self.store.ready(&wanted, Some(self))?;
        self.add_missing(&wanted, &mut ready)?;
        Ok(Prepared { batch: Some(self), ready })
    }

    /// Adds those of the variants that are not ready; returns how many.
    fn add_missing(
        &self,
        wanted: &HashMap<(Digest, Variant), Placement<'_>>,
        ready: &mut HashSet<(Digest, Variant)>,
    ) -> Result<u64, StoreError> {
        let mut made = 0;
        for (name, file) in wanted {
            if !ready.contains(name) {
                self.add_variant(file.object, &name.1, file.size, file.attributes.xattrs)?;
                ready.insert(name.clone());
                made += 1;
            }
        }
        Ok(made)
    }
}

impl Store {
    /// Makes the link variants that placing these files by links needs, where they are not there and untouched; durable on return. Returns how many were made, too.
    ///
    /// # Errors
    /// As [`Batch::prepare`].
    pub(crate) fn prepare(&self, files: &[Placement<'_>]) -> Result<(Prepared<'static>, u64), StoreError> {
        let wanted = self.wanted(files.iter().copied());
        let mut ready = self.ready(&wanted, None)?;
        let mut made = 0;
        if ready.len() < wanted.len() {
            let batch = self.batch()?;
            made = batch.add_missing(&wanted, &mut ready)?;
            batch.commit()?;
        }
        Ok((Prepared { batch: None, ready }, made))
    }

    /// Names the variants that files can be links to, with one file for each.
    fn wanted<'a>(&self, files: impl IntoIterator<Item = Placement<'a>>) -> HashMap<(Digest, Variant), Placement<'a>> {
        files.into_iter().filter_map(|file| Some(((*file.object, self.linkable(&file)?), file))).collect()
    }

    /// Finds which variants are in a batch, or in the store and untouched.
    fn ready(
        &self,
        wanted: &HashMap<(Digest, Variant), Placement<'_>>,
        batch: Option<&Batch<'_>>,
    ) -> Result<HashSet<(Digest, Variant)>, StoreError> {
        let is_coming = |name: &(Digest, Variant)| batch.is_some_and(|batch| batch.has(&name.0, &name.1));
        let (ready, rest): (Vec<_>, Vec<_>) = wanted.keys().cloned().partition(is_coming);
        let mut ready: HashSet<_> = ready.into_iter().collect();
        let listed = self.which_are_listed(&rest)?;
        let untouched =
            |(name, listed): &(&(Digest, Variant), bool)| *listed && self.fits(&name.0, &name.1, wanted[name].size);
        let found: Vec<_> = rest.par_iter().zip(listed).filter(untouched).map(|(name, _)| name.clone()).collect();
        ready.extend(found);
        Ok(ready)
    }

    /// Puts a file under a name that is free in `directory`. Not durable before a barrier there.
    ///
    /// A file that could be a link but lies on another file system, whose variant is not there or was written to, or whose variant
    /// has as many links as the file system allows, is a copy. `prepared` spares a look into the database for each file.
    ///
    /// # Errors
    /// [`StoreError`]: the object is missing, the name is taken, or the directory cannot be written.
    pub fn place(
        &self,
        file: &Placement<'_>,
        prepared: &Prepared<'_>,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Placed, StoreError> {
        self.place_as(file, LinkMode::Auto, prepared, directory, name)
    }

    /// Puts a file under a free name in a certain way.
    pub(crate) fn place_as(
        &self,
        file: &Placement<'_>,
        mode: LinkMode,
        prepared: &Prepared<'_>,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Placed, StoreError> {
        let failed = |action| StoreError::io(action, crate::ingest::shown(name));
        let may_clone = self.clones.load(Ordering::Relaxed) != clones::NO;
        if (mode == LinkMode::Auto && may_clone && file.size > 0) || mode == LinkMode::Reflink {
            match self.copy_to(file, How::Reflink, prepared, directory, name) {
                Ok(()) => {
                    self.clones.store(clones::YES, Ordering::Relaxed);
                    return Ok(Placed::Cloned);
                }
                Err(error) if mode == LinkMode::Reflink || !cannot_clone(&error) => {
                    return Err(error);
                }
                Err(error) => {
                    if !crosses(&error) {
                        self.clones.store(clones::NO, Ordering::Relaxed);
                    }
                }
            }
        }
        let mut placed = Placed::Copied;
        if mode != LinkMode::Copy
            && let Some(variant) = self.linkable(file)
            && let Some((from, path)) = self.locate(file, &variant, prepared)?
        {
            match durable::link(from, path.as_str(), directory, name) {
                Ok(()) => return Ok(Placed::Linked),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::MLINK) => placed = Placed::CopiedForLinks,
                    Some(Errno::XDEV | Errno::PERM | Errno::NOENT | Errno::NOSYS) if mode == LinkMode::Auto => {}
                    _ => return Err(failed("link")(error)),
                },
            }
        }
        let how = if mode == LinkMode::Copy { How::Bytes } else { How::Any };
        self.copy_to(file, how, prepared, directory, name)?;
        Ok(placed)
    }

    /// Finds the file of a variant, where one is there and untouched.
    fn locate<'a>(
        &'a self,
        file: &Placement<'_>,
        variant: &Variant,
        prepared: &Prepared<'a>,
    ) -> Result<Option<(BorrowedFd<'a>, String)>, StoreError> {
        if let Some(coming) = prepared.batch.and_then(|batch| batch.locate(file.object, variant)) {
            return Ok(Some(coming));
        }
        // What preparing found was looked at then, a moment ago; a link can be written to at any later moment anyway.
        let ready = prepared.ready.contains(&(*file.object, variant.clone()));
        let found = ready || (self.is_listed(file.object, variant)? && self.fits(file.object, variant, file.size));
        Ok(found.then(|| (self.objects(), object_path(file.object, variant))))
    }

    /// Makes a file of its own; on failure the name is free again.
    fn copy_to(
        &self,
        file: &Placement<'_>,
        how: How,
        prepared: &Prepared<'_>,
        directory: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), StoreError> {
        let failed = |action| StoreError::io(action, crate::ingest::shown(name));
        let Attributes { mode, owner, xattrs } = file.attributes;
        let copy = durable::create(directory, name).map_err(failed("make"))?;
        let fill = || match prepared.batch.filter(|batch| batch.is_coming(file.object)) {
            Some(batch) => {
                copy::contents(&batch.open_object(file.object)?, &copy, file.size, how).map_err(failed("fill"))
            }
            None => self.copy_object(file.object, file.size, &copy, how),
        };
        let filled = fill().and_then(|()| copy::finish(&copy, mode, owner, xattrs).map_err(failed("finish")));
        if filled.is_err() {
            // The first error is the one to tell; an empty file left behind is in a directory the caller drops.
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
        filled
    }

    /// Returns the variant that a file can be a link to.
    pub(crate) fn linkable(&self, file: &Placement<'_>) -> Option<Variant> {
        if !file.share {
            return None;
        }
        let owner = file.attributes.owner.filter(|owner| *owner != self.owner());
        Variant::of_file(file.attributes.mode, owner, file.attributes.xattrs)
    }
}

/// Says whether an error means that blocks cannot be shared there, rather than that something is wrong.
fn cannot_clone(error: &StoreError) -> bool {
    let StoreError::Io { source, .. } = error else {
        return false;
    };
    matches!(
        Errno::from_io_error(source),
        Some(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV | Errno::NOSYS)
    )
}

/// Says whether an error means that the target lies on another file system.
fn crosses(error: &StoreError) -> bool {
    let StoreError::Io { source, .. } = error else {
        return false;
    };
    Errno::from_io_error(source) == Some(Errno::XDEV)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn shared_files_are_links_and_private_ones_are_not() {
        let top = tempfile::tempdir().unwrap();
        let store = Store::open(&top.path().join("store"), &OpenOptions::default()).unwrap();
        let object = store.put_bytes(b"content").unwrap();
        let directory = durable::open_directory(rustix::fs::CWD, top.path()).unwrap();
        let none = BTreeMap::new();
        let file = |mode, share| Placement {
            object: &object,
            size: 7,
            attributes: Attributes { mode, owner: None, xattrs: &none },
            share,
        };
        let (prepared, made) = store.prepare(&[file(0o644, true), file(0o4755, true)]).unwrap();
        assert_eq!(made, 1, "a program that changes identity is no link");
        // Links are looked for here whatever the file system can do.
        store.clones.store(clones::NO, Ordering::Relaxed);
        for (name, file, placed) in [
            ("a", file(0o644, true), Placed::Linked),
            ("b", file(0o644, true), Placed::Linked),
            ("c", file(0o644, false), Placed::Copied),
            ("d", file(0o4755, true), Placed::Copied),
        ] {
            let how = store.place(&file, &prepared, directory.as_fd(), name.as_bytes()).unwrap();
            assert_eq!(how, placed, "{name}");
            let found = fs::metadata(top.path().join(name)).unwrap();
            assert_eq!(found.mode() & 0o7777, file.attributes.mode, "{name}");
            assert_eq!(found.mtime(), crate::EPOCH_SECS);
            assert_eq!(fs::read(top.path().join(name)).unwrap(), b"content");
        }
        let inode = |name| fs::metadata(top.path().join(name)).unwrap().ino();
        assert_eq!(inode("a"), inode("b"));
        assert_ne!(inode("a"), inode("c"));
        let taken = store.place(&file(0o644, true), &prepared, directory.as_fd(), b"a");
        assert!(taken.is_err(), "a name is not taken twice");
        // A file that somebody wrote to is never linked again.
        fs::write(top.path().join("b"), b"CONTENT").unwrap();
        let placed = store.place(&file(0o644, true), &Prepared::default(), directory.as_fd(), b"e");
        assert_eq!(placed.unwrap(), Placed::Copied, "the first variant is whole");
        let (prepared, made) = store.prepare(&[file(0o644, true)]).unwrap();
        assert_eq!(made, 1, "it is made anew");
        let placed = store.place(&file(0o644, true), &prepared, directory.as_fd(), b"f");
        assert_eq!(placed.unwrap(), Placed::Linked);
        for name in ["e", "f"] {
            assert_eq!(fs::read(top.path().join(name)).unwrap(), b"content", "{name}");
        }
    }
}
