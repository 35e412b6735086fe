// store/src/ccs/import.rs
//! Taking a package into a store, and checking one whole.
//!
//! ```text
//! what does the store need? → their frames, each on one thread: decode → hash → write as its variant
//!   → one barrier and one transaction for all objects and trees → the trove's row
//! ```
//!
//! The pieces of a large object are decoded by several threads into one file and their hashes merged. An object is handed to
//! the store only after its digest was found right; on any failure the batch is dropped and nothing was stored.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use zstd::bulk::Decompressor;

use super::contents::{self, Object};
use super::index::Index;
use super::layout::Run;
use super::limits::FRAME_BYTES;
use super::reader::Package;
use super::{CcsError, frame, pieces};
use crate::Store;
use crate::batch::Batch;
use crate::cas::Variant;
use crate::copy;
use crate::need::Need;
use crate::pool::Pool;
use crate::tree::{Node, Tree};

/// Hears how many bytes of how many are done.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

impl Package {
    /// Takes the trove into a store and returns its id; durable on return.
    ///
    /// Only frames with objects that the store lacks are decoded. Every object is checked by digest before the store takes it. Each is
    /// kept with the modes that its entries have, so that a checkout can link it. Memory: one frame for each thread. `progress` hears
    /// bytes of missing content, from several threads.
    ///
    /// # Errors
    /// [`CcsError`]: the payload is damaged, or the store cannot be written. The store is then as it was.
    pub fn import(&self, store: &Store, cancel: &AtomicBool, progress: Progress<'_>) -> Result<Digest, CcsError> {
        // Held until the trove's row refers to the objects, so that no collection takes them in between.
        let _hold = store.hold()?;
        let batch = store.batch()?;
        self.import_into(&batch, cancel, progress)?;
        batch.commit()?;
        Ok(self.id())
    }

    /// Adds the trove and its content, as far as neither the batch nor its store has it, to a batch.
    ///
    /// # Errors
    /// As [`Package::import`].
    pub fn import_into(&self, batch: &Batch<'_>, cancel: &AtomicBool, progress: Progress<'_>) -> Result<(), CcsError> {
        let objects = self.objects()?;
        self.payload().add_to(batch, self.trees().values(), &objects, cancel, progress)?;
        batch.add_trove(self.manifest().clone(), self.signatures().to_vec());
        Ok(())
    }

    /// Decodes the whole payload and checks the digest of every object in it.
    ///
    /// Memory: one frame for each thread. `progress` hears bytes of content, from several threads.
    ///
    /// # Errors
    /// [`CcsError`] with the first damage found.
    pub fn verify(&self, cancel: &AtomicBool, progress: Progress<'_>) -> Result<(), CcsError> {
        self.payload().verify(&self.objects()?, cancel, progress)
    }

    pub(super) fn objects(&self) -> Result<Vec<Object<'_>>, CcsError> {
        contents::objects(self.manifest(), self.trees())
    }

    pub(super) fn payload(&self) -> Payload<'_> {
        Payload { file: &self.file, index: &self.index, runs: &self.runs, offsets: &self.offsets }
    }
}

/// Frames in an open file, and what lies in them.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    pub(super) file: &'a File,
    pub(super) index: &'a Index,
    pub(super) runs: &'a [Run],
    pub(super) offsets: &'a [u64],
}

impl Payload<'_> {
    /// Adds trees and the objects in them, as far as neither the batch nor its store has them, to a batch.
    pub(super) fn add_to<'t>(
        self,
        batch: &Batch<'_>,
        trees: impl Iterator<Item = &'t Tree> + Clone,
        objects: &[Object<'_>],
        cancel: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<(), CcsError> {
        let needs = needs(batch.store, objects)?;
        for tree in trees.clone() {
            batch.add_tree(tree)?;
        }
        let empty = contents::empty();
        for entry in trees.flat_map(Tree::entries) {
            if matches!(entry.node, Node::File { object, .. } if object == empty) {
                batch.add_bytes(b"", entry.mode)?;
            }
        }
        let need = |place: usize| needs[self.index.order[place] as usize];
        let wanted = |place: usize| {
            need(place) != Need::Nothing && !batch.is_coming(&objects[self.index.order[place] as usize].digest)
        };
        let lacking = objects.iter().zip(&needs).filter(|(_, need)| **need != Need::Nothing);
        let total = lacking.map(|(object, _)| object.size_bytes).sum();
        let work = Work::new(self, objects, cancel, progress, total);
        self.runs.par_iter().with_max_len(1).try_for_each(|run| match run {
            Run::Packed { frame, objects } if objects.clone().any(wanted) => {
                work.packed(*frame, objects.clone(), wanted, |place, object, content| {
                    for variant in variants(object) {
                        let file = batch.begin_as(&object.digest, &variant, need(place) == Need::Replacement)?;
                        batch.fill_new(file, &object.digest, variant, content)?;
                    }
                    Ok(())
                })
            }
            Run::Large { frames, object } if wanted(*object) => {
                let variants = variants(work.object(*object));
                let digest = work.object(*object).digest;
                let replace = need(*object) == Need::Replacement;
                let files = variants.iter().map(|variant| batch.begin_as(&digest, variant, replace));
                let files = files.collect::<Result<Vec<_>, _>>()?;
                work.large(frames.clone(), *object, |offset, content| {
                    for file in &files {
                        let written = copy::write_at(&file.file, content, offset);
                        written.map_err(batch.failed("write"))?;
                    }
                    Ok(())
                })?;
                let object = work.object(*object);
                for (file, variant) in files.into_iter().zip(variants) {
                    file.file.set_len(object.size_bytes).map_err(batch.failed("write"))?;
                    batch.keep(file, object.digest, variant, object.size_bytes, &NONE)?;
                }
                Ok(())
            }
            Run::Packed { .. } | Run::Large { .. } => Ok(()),
        })
    }

    /// Decodes all frames and checks the digest of every object in them.
    pub(super) fn verify(
        self,
        objects: &[Object<'_>],
        cancel: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<(), CcsError> {
        let work = Work::new(self, objects, cancel, progress, self.index.content_bytes());
        self.runs.par_iter().with_max_len(1).try_for_each(|run| match run {
            Run::Packed { frame, objects } => work.packed(*frame, objects.clone(), |_| true, |_, _, _| Ok(())),
            Run::Large { frames, object } => work.large(frames.clone(), *object, |_, _| Ok(())),
        })
    }
}

/// Says what a store needs of each object.
pub(super) fn needs(store: &Store, objects: &[Object<'_>]) -> Result<Vec<Need>, CcsError> {
    let objects: Vec<_> = objects.iter().map(|object| (object.digest, object.size_bytes)).collect();
    Ok(store.needs(&objects)?)
}

/// No attributes.
const NONE: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();

/// Returns the files that an object is kept as, so that what is installed can be links to them.
fn variants(object: &Object<'_>) -> BTreeSet<Variant> {
    object.modes.iter().map(|mode| Variant::of_mode(*mode)).collect()
}

/// What the threads share.
pub(super) struct Work<'a> {
    payload: Payload<'a>,
    objects: &'a [Object<'a>],
    cancel: &'a AtomicBool,
    progress: Progress<'a>,
    done: AtomicU64,
    total: u64,
    benches: Pool<Bench, fn() -> Result<Bench, CcsError>>,
}

/// What one thread uses for frame after frame.
struct Bench {
    decompressor: Decompressor<'static>,
    stored: Vec<u8>,
    content: Vec<u8>,
}

impl Bench {
    fn new() -> Result<Self, CcsError> {
        let decompressor = Decompressor::new().map_err(CcsError::io("prepare zstd"))?;
        Ok(Self { decompressor, stored: Vec::new(), content: Vec::new() })
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(
        payload: Payload<'a>,
        objects: &'a [Object<'a>],
        cancel: &'a AtomicBool,
        progress: Progress<'a>,
        total: u64,
    ) -> Self {
        let benches: Pool<Bench, fn() -> Result<Bench, CcsError>> = Pool::new(Bench::new);
        Self { payload, objects, cancel, progress, done: AtomicU64::new(0), total, benches }
    }

    fn object(&self, place: usize) -> &Object<'a> {
        &self.objects[self.payload.index.order[place] as usize]
    }

    /// Decodes a frame of whole objects and gives those that are wanted to `take`, by their places in the payload, each after its digest was checked.
    pub(super) fn packed(
        &self,
        frame: usize,
        objects: Range<usize>,
        wanted: impl Fn(usize) -> bool,
        take: impl Fn(usize, &Object<'_>, &[u8]) -> Result<(), CcsError>,
    ) -> Result<(), CcsError> {
        self.benches.with(|bench| {
            self.decode(frame, bench)?;
            let mut rest = &bench.content[..];
            for place in objects {
                let object = self.object(place);
                // The layout was checked: these sizes add up to the frame's, which is in memory.
                let (content, behind) = rest.split_at(length(object.size_bytes));
                rest = behind;
                if !wanted(place) {
                    continue;
                }
                let actual = Digest::blake3(*blake3::hash(content).as_bytes());
                if actual != object.digest {
                    return Err(CcsError::Object { frame, expected: object.digest, actual });
                }
                take(place, object, content)?;
                self.advance(object.size_bytes);
            }
            Ok(())
        })
    }

    /// Decodes the pieces of a large object and gives each to `take` with its offset, from several threads; then checks the digest.
    pub(super) fn large(
        &self,
        frames: Range<usize>,
        place: usize,
        take: impl Fn(u64, &[u8]) -> Result<(), CcsError> + Sync,
    ) -> Result<(), CcsError> {
        let object = self.object(place);
        let first = frames.start;
        let values = frames
            .into_par_iter()
            .with_max_len(1)
            .map(|frame| {
                self.benches.with(|bench| {
                    self.decode(frame, bench)?;
                    let number = frame - first;
                    take((number * FRAME_BYTES) as u64, &bench.content)?;
                    self.advance(bench.content.len() as u64);
                    Ok(pieces::hash(number, &bench.content))
                })
            })
            .collect::<Result<Vec<_>, CcsError>>()?;
        let actual = pieces::merge(&values);
        if actual != object.digest {
            return Err(CcsError::Object { frame: first, expected: object.digest, actual });
        }
        Ok(())
    }

    /// Reads a frame and decodes it onto the bench.
    fn decode(&self, number: usize, bench: &mut Bench) -> Result<(), CcsError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(CcsError::Interrupted);
        }
        let row = self.payload.index.frames[number];
        bench.stored.resize(row.stored_bytes as usize, 0);
        self.payload
            .file
            .read_exact_at(&mut bench.stored, self.payload.offsets[number])
            .map_err(CcsError::io("read the package"))?;
        let size = row.size_bytes as usize;
        frame::decode(&mut bench.decompressor, &bench.stored, size, &mut bench.content)
            .map_err(|source| CcsError::Frame { frame: number, source })
    }

    fn advance(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        (self.progress)(before + bytes, self.total);
    }
}

/// Narrows the size of an object that lies in a frame.
fn length(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).expect("because a frame is at most 8 MiB")
}
