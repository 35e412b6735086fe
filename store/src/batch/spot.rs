// store/src/batch/spot.rs
//! Where the files of a batch are written: under their own names among the objects, or under numbers in the work directory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use recipes::Digest;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::Batch;
use crate::Store;
use crate::cas::{self, Variant};
use crate::copy;
use crate::durable;
use crate::error::StoreError;

/// How many files lie in one directory while they are written: a directory of thousands is searched for long, and its lock is
/// what threads wait for.
const TOGETHER: u64 = 64;

/// Returns where a file lies in the work directory while it is written.
pub(super) fn temporary_name(number: u64) -> String {
    if number < TOGETHER { number.to_string() } else { format!("{}/{}", temporary_directory(number), number) }
}

/// Returns the directory inside the work directory that all but the first files lie in.
fn temporary_directory(number: u64) -> String {
    format!("d{}", number / TOGETHER)
}

/// An object that is written and that no row speaks of yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) spot: Spot,
    pub(super) size: u64,
}

/// Under which name a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    /// Its own.
    Named,
    /// A temporary one, by its number.
    Temporary(u64),
}

/// The directories of objects by their first byte, opened when they are first used.
#[derive(Debug)]
pub(super) struct Shards {
    open: Box<[OnceLock<OwnedFd>]>,
    /// Whether any was made: `objects/` must be synced then.
    pub(super) made: AtomicBool,
}

impl Shards {
    pub(super) fn new() -> Self {
        Self { open: (0..=255_u8).map(|_| OnceLock::new()).collect(), made: AtomicBool::new(false) }
    }

    pub(super) fn get(&self, store: &Store, byte: u8) -> Result<BorrowedFd<'_>, StoreError> {
        let place = &self.open[usize::from(byte)];
        if let Some(directory) = place.get() {
            return Ok(directory.as_fd());
        }
        let (directory, made) = store.shard(byte)?;
        self.made.fetch_or(made, Ordering::Relaxed);
        // Another thread may have opened it meanwhile; then one of the two is closed.
        Ok(place.get_or_init(|| directory).as_fd())
    }

    pub(super) fn used(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.iter().filter_map(|place| Some(place.get()?.as_fd()))
    }
}

impl<'s> Batch<'s> {
    /// Makes the file for a variant of content that is about to be written.
    pub(crate) fn begin(&self, object: &Digest, variant: &Variant) -> Result<Temporary<'_, 's>, StoreError> {
        let listed = self.store.is_listed(object, variant)?;
        self.begin_as(object, variant, listed)
    }

    /// As [`Batch::begin`], for a caller who knows whether a row speaks of the variant.
    pub(crate) fn begin_as(
        &self,
        object: &Digest,
        variant: &Variant,
        listed: bool,
    ) -> Result<Temporary<'_, 's>, StoreError> {
        if !listed {
            let path = cas::object_path(object, variant);
            match durable::create(self.shards.get(self.store, object.as_bytes()[0])?, &path[3..]) {
                Ok(file) => {
                    let name = Name::Own(*object, variant.clone());
                    return Ok(Temporary { batch: self, name, file, kept: false });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed("make a file for")(error)),
            }
        }
        self.temporary()
    }

    /// Makes a new file in the work directory, for content whose digest is not known yet.
    pub(crate) fn temporary(&self) -> Result<Temporary<'_, 's>, StoreError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (directory, name) = (self.work.directory(), temporary_name(number));
        let mut file = durable::create(directory, name.as_str());
        if matches!(&file, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            match rustix::fs::mkdirat(directory, temporary_directory(number), Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => file = durable::create(directory, name.as_str()),
                Err(error) => file = Err(error.into()),
            }
        }
        let file = file.map_err(self.failed("make a file in"))?;
        Ok(Temporary { batch: self, name: Name::Numbered(number), file, kept: false })
    }

    /// Removes a file from the work directory. What stays is removed with the directory.
    pub(super) fn remove_temporary(&self, number: u64) {
        let _ = rustix::fs::unlinkat(self.work.directory(), temporary_name(number), AtFlags::empty());
    }

    /// Gives a written file what its variant says, and remembers it for the commit.
    pub(crate) fn keep(
        &self,
        mut temporary: Temporary<'_, '_>,
        object: Digest,
        variant: Variant,
        size: u64,
        xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let owner = variant.owner.or(self.work.give_to());
        copy::finish(&temporary.file, variant.mode, owner, xattrs).map_err(self.failed("finish a file in"))?;
        // Two threads may have added the same content at once; then this file is one too many and goes.
        if let Entry::Vacant(place) = self.pending().entry(object).or_default().entry(variant) {
            let spot = match temporary.name {
                Name::Own(..) => Spot::Named,
                Name::Numbered(number) => Spot::Temporary(number),
            };
            place.insert(Pending { spot, size });
            temporary.kept = true;
        }
        Ok(())
    }
}

/// A file being written in a batch; dropped before it is kept, it is removed.
#[derive(Debug)]
pub(crate) struct Temporary<'b, 's> {
    batch: &'b Batch<'s>,
    name: Name,
    pub(crate) file: File,
    kept: bool,
}

/// What a file that is being written is called.
#[derive(Debug)]
enum Name {
    /// Its own, as that variant of the object.
    Own(Digest, Variant),
    /// A number, in the work directory.
    Numbered(u64),
}

impl Drop for Temporary<'_, '_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        match &self.name {
            Name::Own(object, variant) => self.batch.unwanted().push((*object, variant.clone())),
            Name::Numbered(number) => self.batch.remove_temporary(*number),
        }
    }
}
