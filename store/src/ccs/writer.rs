// store/src/ccs/writer.rs
//! Writing a package: plan the payload, compress its frames on every thread, then write everything in order.
//!
//! The plan depends on the trees alone and every frame is compressed by itself, so the bytes do not depend on the number of
//! threads. What leaves the store is hashed on the way, and a damaged object is an error and no package.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use blake3::hazmat::ChainingValue;
use rayon::prelude::*;
use recipes::Digest;
use zstd::bulk::Compressor;

use super::contents::{self, Object};
use super::index::{Frame, Index};
use super::layout::{self, Run};
use super::limits::{self, FRAME_BYTES};
use super::spool::{Spool, Spooled};
use super::{CcsError, archive, frame, pieces};
use crate::Store;
use crate::batch::Batch;
use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::pool::Pool;
use crate::tree::Tree;

/// How to write a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// The compression level of zstd, 1 to 22. Equal packages need equal levels.
    pub level: i32,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { level: 6 }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// BLAKE3 of the file.
    pub digest: Digest,
    /// Its length.
    pub size_bytes: u64,
}

/// Where contents are read: in the store, or in a batch that comes into it.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    pub store: &'a Store,
    pub coming: Option<&'a Batch<'a>>,
}

impl Contents<'_> {
    fn read(self, object: &Digest) -> Result<Vec<u8>, StoreError> {
        self.coming.map_or_else(|| self.store.read(object), |batch| batch.read(object))
    }

    fn open(self, object: &Digest) -> Result<File, StoreError> {
        self.coming.map_or_else(|| self.store.open_object(object), |batch| batch.open_object(object))
    }
}

/// Writes a trove's package to `out`, whose objects the store must have, or a batch that is `coming`.
///
/// Bytes depend on the manifest, the level and the version of zstd alone. Nothing is written before all content was
/// read and found to be whole. Not durable: `out` is the caller's. Memory: one frame for each thread, and up to 64 MiB of
/// compressed frames.
///
/// # Errors
/// [`CcsError`]: something is above its limit, the store lacks or has damaged content, `out` cannot be written.
pub fn write(
    store: &Store,
    coming: Option<&Batch<'_>>,
    manifest: &Manifest,
    out: &mut dyn Write,
    options: &WriteOptions,
    cancel: &AtomicBool,
) -> Result<Written, CcsError> {
    manifest.check().map_err(CcsError::Manifest)?;
    let json = manifest.to_json();
    limits::MANIFEST.check(json.len() as u64)?;
    let contents = Contents { store, coming };
    let (encoded, trees) = trees(|tree| contents.read(tree), manifest)?;
    let objects = contents::objects(manifest, &trees)?;
    let payload = Payload::compress(contents, &objects, *options, cancel)?;
    let tree_blocks: u64 = encoded.iter().map(|(_, tree)| archive::blocks(tree.len() as u64)).sum();
    let digest = Digest::blake3(*blake3::hash(&json).as_bytes());
    let index = payload.index(digest, u32::try_from(tree_blocks).unwrap_or(u32::MAX))?;

    let mut out = Hashing::new(out);
    let mut emit = || -> io::Result<()> {
        out.member(archive::MANIFEST, &json)?;
        out.member(archive::INDEX, &index.encode())?;
        for (name, tree) in &encoded {
            out.member(name, tree)?;
        }
        out.payload(&payload)
    };
    emit().map_err(CcsError::io("write the package"))?;
    Ok(out.written())
}

/// Members and what they hold.
type Encoded = Vec<(String, Vec<u8>)>;

/// Reads the trees of a trove; returns their members and themselves by component.
pub(super) fn trees(
    read: impl Fn(&Digest) -> Result<Vec<u8>, StoreError>,
    manifest: &Manifest,
) -> Result<(Encoded, BTreeMap<String, Tree>), CcsError> {
    let mut encoded = Vec::with_capacity(manifest.components.len());
    let mut trees = BTreeMap::new();
    let mut total = 0;
    for (name, component) in &manifest.components {
        let bytes = read(&component.tree)?;
        let tree = Tree::decode(&bytes).map_err(|source| CcsError::Tree { component: name.clone(), source })?;
        trees.insert(name.clone(), tree);
        total += bytes.len() as u64;
        limits::TREES.check(total)?;
        encoded.push((archive::tree_name(name), bytes));
    }
    Ok((encoded, trees))
}

/// Compressed frames, and what lies in them.
pub(super) struct Payload {
    spool: Spool,
    frames: Vec<Spooled>,
    rows: Vec<Frame>,
    order: Vec<u32>,
}

impl Payload {
    /// Compresses objects, in the order of their first paths.
    pub(super) fn compress(
        contents: Contents<'_>,
        objects: &[Object<'_>],
        options: WriteOptions,
        cancel: &AtomicBool,
    ) -> Result<Self, CcsError> {
        let order = payload_order(objects);
        let sizes: Vec<u64> = order.iter().map(|place| objects[*place as usize].size_bytes).collect();
        let total = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
        limits::FRAMES.check(total.div_ceil(limits::FRAME.maximum))?;
        let runs = layout::plan(&sizes);
        let frame_sizes = layout::frame_sizes(&runs, &sizes);
        limits::FRAMES.check(frame_sizes.len() as u64)?;

        let spool = Spool::new(contents.store.temporary(), total);
        let work = Work { contents, objects, order: &order, options, cancel, spool: &spool };
        let frames = work.compress(&runs)?;
        let rows = frames.iter().zip(&frame_sizes).map(|(frame, size)| Frame {
            stored_bytes: u32::try_from(frame.length()).unwrap_or(u32::MAX),
            size_bytes: *size,
        });
        let rows = rows.collect();
        Ok(Self { spool, frames, rows, order })
    }

    /// Returns the index of these frames.
    pub(super) fn index(&self, manifest: Digest, tree_blocks: u32) -> Result<Index, CcsError> {
        let index = Index { manifest, tree_blocks, frames: self.rows.clone(), order: self.order.clone() };
        limits::check_ratio(index.content_bytes(), index.stored_bytes())?;
        Ok(index)
    }
}

/// Returns the places of the objects in the order that the payload has them: by their first path.
fn payload_order(objects: &[Object<'_>]) -> Vec<u32> {
    let count = u32::try_from(objects.len()).expect("because entries are limited to a million");
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_unstable_by_key(|place| objects[*place as usize].path);
    order
}

/// What the threads share.
struct Work<'a> {
    contents: Contents<'a>,
    objects: &'a [Object<'a>],
    order: &'a [u32],
    options: WriteOptions,
    cancel: &'a AtomicBool,
    spool: &'a Spool,
}

/// What one thread uses for frame after frame.
struct Bench {
    compressor: Compressor<'static>,
    content: Vec<u8>,
}

impl Work<'_> {
    /// Compresses the frames of all runs; returns them in their order.
    fn compress(&self, runs: &[Run]) -> Result<Vec<Spooled>, CcsError> {
        let level = self.options.level;
        let benches = Pool::new(|| {
            let compressor = frame::compressor(level).map_err(|source| CcsError::Compress { level, source })?;
            Ok(Bench { compressor, content: Vec::new() })
        });
        let frames: Vec<Vec<Spooled>> = runs
            .par_iter()
            .with_max_len(1)
            .map(|run| match run {
                Run::Packed { objects, .. } => benches.with(|bench| Ok(vec![self.packed(objects.clone(), bench)?])),
                Run::Large { frames, object } => self.large(frames.len(), *object, &benches),
            })
            .collect::<Result<_, _>>()?;
        Ok(frames.into_iter().flatten().collect())
    }

    fn object(&self, place: usize) -> &Object<'_> {
        &self.objects[self.order[place] as usize]
    }

    /// Compresses whole objects as one frame.
    fn packed(&self, objects: Range<usize>, bench: &mut Bench) -> Result<Spooled, CcsError> {
        bench.content.clear();
        for place in objects {
            let object = self.object(place);
            let bytes = self.contents.read(&object.digest)?;
            check_size(object, bytes.len() as u64)?;
            bench.content.extend_from_slice(&bytes);
        }
        self.frame(bench)
    }

    /// Compresses one object as several frames.
    fn large(
        &self,
        count: usize,
        place: usize,
        benches: &Pool<Bench, impl Fn() -> Result<Bench, CcsError> + Sync>,
    ) -> Result<Vec<Spooled>, CcsError> {
        let object = self.object(place);
        let file = self.contents.open(&object.digest)?;
        let length = file.metadata().map_err(CcsError::io("examine an object"))?.len();
        check_size(object, length)?;
        let pieces: Vec<(Spooled, ChainingValue)> = (0..count)
            .into_par_iter()
            .with_max_len(1)
            .map(|number| {
                benches.with(|bench| {
                    read_piece(&file, number, object.size_bytes, &mut bench.content)
                        .map_err(CcsError::io("read an object"))?;
                    let value = pieces::hash(number, &bench.content);
                    Ok((self.frame(bench)?, value))
                })
            })
            .collect::<Result<_, CcsError>>()?;
        let (frames, values): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        let actual = pieces::merge(&values);
        if actual != object.digest {
            return Err(CcsError::StoredObject { expected: object.digest, actual });
        }
        Ok(frames)
    }

    /// Compresses what lies on the bench.
    fn frame(&self, bench: &mut Bench) -> Result<Spooled, CcsError> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(CcsError::Interrupted);
        }
        let level = self.options.level;
        let frame = bench.compressor.compress(&bench.content).map_err(|source| CcsError::Compress { level, source })?;
        self.spool.keep(frame).map_err(CcsError::io("keep a compressed frame"))
    }
}

/// Refuses an object of the store whose length is not what its tree says.
fn check_size(object: &Object<'_>, actual: u64) -> Result<(), CcsError> {
    let expected = object.size_bytes;
    if actual != expected {
        return Err(CcsError::StoredSize { object: object.digest, expected, actual });
    }
    Ok(())
}

/// Reads the piece at place `number` of a file of `size_bytes`.
fn read_piece(file: &File, number: usize, size_bytes: u64, content: &mut Vec<u8>) -> io::Result<()> {
    let offset = number as u64 * FRAME_BYTES as u64;
    let length = usize::try_from(size_bytes - offset).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
    content.resize(length, 0);
    file.read_exact_at(content, offset)
}

/// Hashes and counts what passes through.
pub(super) struct Hashing<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl<'a> Hashing<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, hasher: blake3::Hasher::new(), size_bytes: 0 }
    }

    /// Writes the frames, and the end of the archive.
    pub(super) fn payload(&mut self, payload: &Payload) -> io::Result<()> {
        for (number, frame) in payload.frames.iter().enumerate() {
            let length = frame.length() as u64;
            self.write_all(&archive::header(&archive::frame_name(number), length))?;
            payload.spool.give(frame, self)?;
            self.pad(length)?;
        }
        self.write_all(&archive::END)?;
        self.flush()
    }

    /// Writes a member.
    pub(super) fn member(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_all(&archive::header(name, content.len() as u64))?;
        self.write_all(content)?;
        self.pad(content.len() as u64)
    }

    /// Writes what follows a member of `length` bytes.
    fn pad(&mut self, length: u64) -> io::Result<()> {
        self.write_all(&archive::END[..archive::padding(length)])
    }

    pub(super) fn written(&self) -> Written {
        let digest = Digest::blake3(*self.hasher.finalize().as_bytes());
        Written { digest, size_bytes: self.size_bytes }
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.out.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size_bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
