// store/src/ccs/bundle.rs
//! Bundles: several troves as one file, each content once.
//!
//! ```text
//! bundle.json                the ids of the troves, and how many signatures each has
//! index                      as in a package, for the objects of all troves together
//! 0000/manifest.json, 0000/signatures, 0000/trees/…, 0001/…
//! payload/0000.zst, …        as in a package
//! ```
//!
//! What holds of a package's members holds of these, and every trove is checked as if it came alone. One batch takes all
//! troves into a store: all are there afterwards, or none. Specification: docs/design/ccs.md, "Bundles".

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

use recipes::Digest;
use serde::{Deserialize, Serialize};

use super::contents::{self, Object};
use super::import::{Payload, Progress};
use super::index::Index;
use super::layout::Run;
use super::reader::{self, Cursor};
use super::signature::{self, Signature};
use super::writer::{self, Hashing, WriteOptions, Written};
use super::{CcsError, archive, limits, signed};
use crate::Store;
use crate::manifest::Manifest;
use crate::tree::Tree;

/// Name of the first member.
const LIST: &str = "bundle.json";

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// The first member.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: u32,
    troves: Vec<Row>,
}

/// A trove in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    trove: Digest,
    signatures: u64,
}

/// A trove of a bundle.
#[derive(Debug)]
pub struct Bundled {
    /// Its id: the digest of the manifest.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its signatures; nothing says that they are valid before [`Signature::verify`] does.
    pub signatures: Vec<Signature>,
    trees: BTreeMap<String, Tree>,
}

/// An open bundle whose metadata was read and checked.
pub struct Bundle {
    file: File,
    troves: Vec<Bundled>,
    index: Index,
    runs: Vec<Run>,
    offsets: Vec<u64>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bundle").field("troves", &self.troves.len()).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Opens a bundle; neither the payload's content nor any store is touched.
    ///
    /// # Errors
    /// [`CcsError`] for a file that no writer of this version can have written, as far as metadata, layout and length show it.
    pub fn open(file: File) -> Result<Self, CcsError> {
        let mut cursor = Cursor::begin(&file)?;
        let size = limits::BUNDLE.check(cursor.member(LIST)?)?;
        let json = cursor.content(size)?;
        let list = List::read(&json)?;

        let size = limits::INDEX.check(cursor.member(archive::INDEX)?)?;
        let index = Index::decode(&cursor.content(size)?)?;
        let actual = Digest::blake3(*blake3::hash(&json).as_bytes());
        if index.manifest != actual {
            return Err(CcsError::ManifestDigest { expected: index.manifest, actual });
        }
        limits::check_ratio(index.content_bytes(), index.stored_bytes())?;
        cursor.check_length(&index)?;

        let begin = cursor.next_block();
        let (mut tree_bytes, mut entries) = (0, 0);
        let mut troves = Vec::with_capacity(list.troves.len());
        for (number, row) in list.troves.iter().enumerate() {
            let trove = Bundled::read(&mut cursor, &prefix(number), row, &mut tree_bytes)?;
            entries += trove.trees.values().map(|tree| tree.entries().len() as u64).sum::<u64>();
            limits::ENTRIES.check(entries)?;
            troves.push(trove);
        }
        if cursor.next_block() - begin != u64::from(index.tree_blocks) * archive::BLOCK as u64 {
            return Err(CcsError::Bundle);
        }
        let runs = reader::runs(&index, &objects(&troves)?)?;
        let offsets = cursor.frames(&index)?;
        Ok(Self { file, troves, index, runs, offsets })
    }

    /// Returns the troves in order of their ids.
    #[must_use]
    pub fn troves(&self) -> &[Bundled] {
        &self.troves
    }

    /// Takes all troves into a store, or none; durable on return.
    ///
    /// Only frames with objects that the store lacks are decoded; see [`Package::import`](super::Package::import).
    ///
    /// # Errors
    /// [`CcsError`]: the payload is damaged, or the store cannot be written. The store is then as it was.
    pub fn import(&self, store: &Store, cancel: &AtomicBool, progress: Progress<'_>) -> Result<(), CcsError> {
        let _hold = store.hold()?;
        let batch = store.batch()?;
        let trees = self.troves.iter().flat_map(|trove| trove.trees.values());
        self.payload().add_to(&batch, trees, &objects(&self.troves)?, cancel, progress)?;
        for trove in &self.troves {
            batch.add_trove(trove.manifest.clone(), trove.signatures.clone());
        }
        batch.commit()?;
        Ok(())
    }

    /// Decodes the whole payload and checks the digest of every object in it.
    ///
    /// # Errors
    /// [`CcsError`] with the first damage found.
    pub fn verify(&self, cancel: &AtomicBool, progress: Progress<'_>) -> Result<(), CcsError> {
        self.payload().verify(&objects(&self.troves)?, cancel, progress)
    }

    fn payload(&self) -> Payload<'_> {
        Payload { file: &self.file, index: &self.index, runs: &self.runs, offsets: &self.offsets }
    }
}

impl Bundled {
    /// Reads the members of one trove.
    fn read(cursor: &mut Cursor<'_>, prefix: &str, row: &Row, tree_bytes: &mut u64) -> Result<Self, CcsError> {
        let size = limits::MANIFEST.check(cursor.member(&format!("{prefix}{}", archive::MANIFEST))?)?;
        let (manifest, id) = reader::read_manifest(&cursor.content(size)?)?;
        if id != row.trove {
            return Err(CcsError::ManifestDigest { expected: row.trove, actual: id });
        }
        limits::COMPONENTS.check(manifest.components.len() as u64)?;
        let mut signatures = Vec::new();
        if row.signatures > 0 {
            signatures = cursor.signed(&format!("{prefix}{}", signed::MEMBER))?;
        }
        if signatures.len() as u64 != row.signatures {
            return Err(CcsError::Signatures);
        }
        let trees = cursor.trees(prefix, &manifest, tree_bytes)?;
        // Every rule of a package that came alone.
        contents::objects(&manifest, &trees)?;
        Ok(Self { id, manifest, signatures, trees })
    }
}

impl List {
    /// Reads the first member, of which only the canonical bytes are taken.
    fn read(json: &[u8]) -> Result<Self, CcsError> {
        reader::check_format(json, FORMAT)?;
        let list: Self = serde_json::from_slice(json).map_err(|_| CcsError::Bundle)?;
        limits::TROVES.check(list.troves.len() as u64)?;
        let ascend = list.troves.windows(2).all(|pair| pair[0].trove < pair[1].trove);
        if list.format != FORMAT || list.troves.is_empty() || !ascend || list.json() != json {
            return Err(CcsError::Bundle);
        }
        Ok(list)
    }

    fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because a list of digests and numbers has plain values")
    }
}

/// Writes a bundle of troves that the store has, with the signatures that it keeps, to `out`.
///
/// Bytes depend on the troves, their signatures, the level and the version of zstd alone; neither the order nor a repetition of
/// `ids` matters. Nothing is written before all content was read and found to be whole. Not durable: `out` is the caller's.
///
/// # Errors
/// [`CcsError`]: there is no id, something is above its limit, the store lacks or has damaged content, `out` cannot be written.
pub fn write_bundle(
    store: &Store,
    ids: &[Digest],
    out: &mut dyn Write,
    options: &WriteOptions,
    cancel: &AtomicBool,
) -> Result<Written, CcsError> {
    let _hold = store.hold()?;
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    limits::TROVES.check(ids.len() as u64)?;
    if ids.is_empty() {
        return Err(CcsError::Bundle);
    }
    let mut list = List { format: FORMAT, troves: Vec::with_capacity(ids.len()) };
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut troves = Vec::with_capacity(ids.len());
    let (mut tree_bytes, mut entries) = (0, 0);
    for (number, id) in ids.into_iter().enumerate() {
        let prefix = prefix(number);
        let manifest = store.trove(&id)?;
        let signatures = store.signatures(&id)?;
        members.push((format!("{prefix}{}", archive::MANIFEST), manifest.to_json()));
        if !signatures.is_empty() {
            members.push((format!("{prefix}{}", signed::MEMBER), signature::encode(&signatures)?));
        }
        let (encoded, trees) = writer::trees(|id| store.read(id), &manifest)?;
        for (name, tree) in encoded {
            tree_bytes += tree.len() as u64;
            limits::TREES.check(tree_bytes)?;
            members.push((format!("{prefix}{name}"), tree));
        }
        contents::objects(&manifest, &trees)?;
        entries += trees.values().map(|tree| tree.entries().len() as u64).sum::<u64>();
        limits::ENTRIES.check(entries)?;
        list.troves.push(Row { trove: id, signatures: signatures.len() as u64 });
        troves.push(Bundled { id, manifest, signatures, trees });
    }
    let payload =
        writer::Payload::compress(writer::Contents { store, coming: None }, &objects(&troves)?, *options, cancel)?;
    let json = list.json();
    limits::BUNDLE.check(json.len() as u64)?;
    let blocks: u64 = members.iter().map(|(_, content)| archive::blocks(content.len() as u64)).sum();
    let digest = Digest::blake3(*blake3::hash(&json).as_bytes());
    let index = payload.index(digest, u32::try_from(blocks).unwrap_or(u32::MAX))?;

    let mut out = Hashing::new(out);
    let mut emit = || -> io::Result<()> {
        out.member(LIST, &json)?;
        out.member(archive::INDEX, &index.encode())?;
        for (name, content) in &members {
            out.member(name, content)?;
        }
        out.payload(&payload)
    };
    emit().map_err(CcsError::io("write the bundle"))?;
    Ok(out.written())
}

/// What the members of a trove begin with.
fn prefix(number: usize) -> String {
    format!("{number:04}/")
}

/// Returns the distinct objects of all troves.
fn objects(troves: &[Bundled]) -> Result<Vec<Object<'_>>, CcsError> {
    contents::distinct(troves.iter().flat_map(|trove| trove.trees.values()))
}
