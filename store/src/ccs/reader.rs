// store/src/ccs/reader.rs
//! Opening a package: everything is read and checked but the content of the frames.
//!
//! Sizes are compared with their limits before anything is read by them, and with the file's length as soon as the index is
//! known. After opening, only digests stand between the payload and a store; see `import.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;

use recipes::Digest;
use serde::Deserialize;

use super::archive::{self, BLOCK};
use super::contents::{self, Object};
use super::index::{self, Frame, Index};
use super::layout::{self, Run};
use super::remote::Head;
use super::signature::{self, Signature};
use super::{CcsError, IndexError, limits, signed};
use crate::manifest::{MANIFEST_FORMAT, Manifest};
use crate::tree::Tree;

/// An open package whose metadata was read and checked.
pub struct Package {
    pub(super) file: File,
    manifest: Manifest,
    id: Digest,
    trees: BTreeMap<String, Tree>,
    pub(super) signatures: Vec<Signature>,
    /// Where the signatures stand, or would stand.
    pub(super) signatures_at: u64,
    /// Where the header of the index stands.
    pub(super) index_at: u64,
    /// The length of the file.
    pub(super) length: u64,
    pub(super) index: Index,
    pub(super) runs: Vec<Run>,
    /// Where the content of each frame begins.
    pub(super) offsets: Vec<u64>,
}

impl fmt::Debug for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Package").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Package {
    /// Opens a package; neither the payload's content nor any store is touched.
    ///
    /// # Errors
    /// [`CcsError`] for a file that no writer of this version can have written, as far as metadata, layout and length show it.
    pub fn open(file: File) -> Result<Self, CcsError> {
        let mut cursor = Cursor::begin(&file)?;
        let size = limits::MANIFEST.check(cursor.member(archive::MANIFEST)?)?;
        let json = cursor.content(size)?;
        let (manifest, id) = read_manifest(&json)?;
        limits::COMPONENTS.check(manifest.components.len() as u64)?;
        let signatures_at = cursor.next_block();
        let signatures = cursor.signatures()?;

        let index_at = cursor.next_block();
        let size = limits::INDEX.check(cursor.member(archive::INDEX)?)?;
        let index = Index::decode(&cursor.content(size)?)?;
        if index.manifest != id {
            return Err(CcsError::ManifestDigest { expected: index.manifest, actual: id });
        }
        limits::check_ratio(index.content_bytes(), index.stored_bytes())?;
        cursor.check_length(&index)?;

        let begin = cursor.next_block();
        let trees = cursor.trees("", &manifest, &mut 0)?;
        if cursor.next_block() - begin != u64::from(index.tree_blocks) * BLOCK as u64 {
            return Err(CcsError::Index(IndexError::TreeBlocks));
        }
        let objects = contents::objects(&manifest, &trees)?;
        let runs = runs(&index, &objects)?;
        let offsets = cursor.frames(&index)?;
        let length = cursor.length;
        Ok(Self { file, manifest, id, trees, signatures, signatures_at, index_at, length, index, runs, offsets })
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the trove's id: the digest of the manifest.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.id
    }

    /// Returns the signatures, by key; nothing says that they are valid before [`Signature::verify`] does.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns what the package says of itself.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            manifest: self.manifest.clone(),
            id: self.id,
            signatures: self.signatures.clone(),
            size_bytes: self.length,
            content_bytes: self.index.content_bytes(),
            stored_bytes: self.index.stored_bytes(),
        }
    }

    /// Returns the trees of the components by name.
    #[must_use]
    pub fn trees(&self) -> &BTreeMap<String, Tree> {
        &self.trees
    }

    /// Returns the tree of one component.
    #[must_use]
    pub fn tree(&self, component: &str) -> Option<&Tree> {
        self.trees.get(component)
    }

    /// Takes the tree of one component out, for somebody who needs nothing else of it.
    #[must_use]
    pub fn take_tree(&mut self, component: &str) -> Option<Tree> {
        self.trees.remove(component)
    }

    /// Returns the bytes of all contents in the payload, and those that they are stored in.
    #[must_use]
    pub fn payload_bytes(&self) -> (u64, u64) {
        (self.index.content_bytes(), self.index.stored_bytes())
    }
}

/// Reads the manifest and computes its digest.
pub(super) fn read_manifest(json: &[u8]) -> Result<(Manifest, Digest), CcsError> {
    check_format(json, MANIFEST_FORMAT)?;
    let manifest = Manifest::from_json(json).map_err(CcsError::Manifest)?;
    Ok((manifest, Digest::blake3(*blake3::hash(json).as_bytes())))
}

/// Refuses what a newer version wrote, whatever else it has.
pub(super) fn check_format(json: &[u8], known: u32) -> Result<(), CcsError> {
    match serde_json::from_slice(json) {
        Ok(Format { format: found }) if found > known => Err(CcsError::Newer { what: "format", found, known }),
        _ => Ok(()),
    }
}

/// Finds what lies in each frame.
pub(super) fn runs(index: &Index, objects: &[Object<'_>]) -> Result<Vec<Run>, CcsError> {
    if index.order.len() != objects.len() {
        let (expected, found) = (objects.len(), index.order.len());
        return Err(CcsError::Index(IndexError::Objects { expected, found }));
    }
    let place = |place: &u32| objects[*place as usize].size_bytes;
    let sizes: Vec<u64> = index.order.iter().map(place).collect();
    let frames: Vec<u32> = index.frames.iter().map(|frame| frame.size_bytes).collect();
    layout::read(&sizes, &frames).map_err(CcsError::Layout)
}

/// A place in the file.
pub(super) struct Cursor<'a> {
    file: &'a File,
    length: u64,
    offset: u64,
    /// Bytes of padding that come before the next member.
    padding: usize,
}

impl<'a> Cursor<'a> {
    /// Stands at the beginning of a file.
    pub(super) fn begin(file: &'a File) -> Result<Self, CcsError> {
        let metadata = file.metadata().map_err(CcsError::io("examine the package"))?;
        if !metadata.is_file() {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidInput);
            return Err(CcsError::io("read a package from something that is not a file")(error));
        }
        Ok(Self { file, length: metadata.len(), offset: 0, padding: 0 })
    }

    /// Reads the header of a member, with the padding before it; returns the member's size.
    pub(super) fn member(&mut self, name: &str) -> Result<u64, CcsError> {
        let mut block = [0; BLOCK];
        self.past_padding(&mut block)?;
        archive::size_of(&block, name)
    }

    /// Reads what follows the padding into `after`.
    fn past_padding(&mut self, after: &mut [u8]) -> Result<(), CcsError> {
        let mut bytes = [0; 3 * BLOCK];
        let bytes = &mut bytes[..self.padding + after.len()];
        self.read(bytes)?;
        let (padding, rest) = bytes.split_at(self.padding);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(CcsError::Padding { offset: self.offset });
        }
        after.copy_from_slice(rest);
        self.offset += bytes.len() as u64;
        self.padding = 0;
        Ok(())
    }

    /// Reads the content of a member whose size was checked.
    pub(super) fn content(&mut self, size: u64) -> Result<Vec<u8>, CcsError> {
        self.reach(size)?;
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        self.skip(size);
        Ok(bytes)
    }

    /// Passes over the content of a member.
    fn skip(&mut self, size: u64) {
        self.offset += size;
        self.padding = archive::padding(size);
    }

    fn read(&self, bytes: &mut [u8]) -> Result<(), CcsError> {
        self.reach(bytes.len() as u64)?;
        self.file.read_exact_at(bytes, self.offset).map_err(CcsError::io("read the package"))
    }

    /// Refuses to read past the end.
    fn reach(&self, size: u64) -> Result<(), CcsError> {
        let expected = self.offset.saturating_add(size);
        if expected > self.length {
            return Err(CcsError::Truncated { expected, actual: self.length });
        }
        Ok(())
    }

    /// Returns where the next member begins.
    pub(super) fn next_block(&self) -> u64 {
        self.offset + self.padding as u64
    }

    /// Reads the signatures of a package, if they are the next member; none otherwise.
    fn signatures(&mut self) -> Result<Vec<Signature>, CcsError> {
        let mut block = [0; BLOCK];
        self.reach(self.padding as u64 + BLOCK as u64)?;
        let next = self.next_block();
        self.file.read_exact_at(&mut block, next).map_err(CcsError::io("read the package"))?;
        if archive::is_named(&block, signed::MEMBER) { self.signed(signed::MEMBER) } else { Ok(Vec::new()) }
    }

    /// Reads signatures out of the next member.
    pub(super) fn signed(&mut self, member: &str) -> Result<Vec<Signature>, CcsError> {
        let size = self.member(member)?;
        if size > signature::most_bytes() {
            return Err(CcsError::Signatures);
        }
        signature::decode(&self.content(size)?)
    }

    /// Compares the file's length with the one that follows from the index, which has just been read.
    pub(super) fn check_length(&self, index: &Index) -> Result<(), CcsError> {
        let expected = self.next_block() + index::blocks_behind(index.tree_blocks, &index.frames) * BLOCK as u64;
        match self.length {
            actual if actual < expected => Err(CcsError::Truncated { expected, actual }),
            actual if actual > expected => Err(CcsError::Trailing { expected, actual }),
            _ => Ok(()),
        }
    }

    /// Reads the trees of all components, whose members' names begin with `prefix`; `total` counts their bytes.
    pub(super) fn trees(
        &mut self,
        prefix: &str,
        manifest: &Manifest,
        total: &mut u64,
    ) -> Result<BTreeMap<String, Tree>, CcsError> {
        let mut trees = BTreeMap::new();
        for (component, row) in &manifest.components {
            let size = self.member(&format!("{prefix}{}", archive::tree_name(component)))?;
            *total += size;
            limits::TREES.check(*total)?;
            let bytes = self.content(size)?;
            let actual = Digest::blake3(*blake3::hash(&bytes).as_bytes());
            if actual != row.tree {
                let (component, expected) = (component.clone(), row.tree);
                return Err(CcsError::TreeDigest { component, expected, actual });
            }
            let tree =
                Tree::decode(&bytes).map_err(|source| CcsError::Tree { component: component.clone(), source })?;
            trees.insert(component.clone(), tree);
        }
        Ok(trees)
    }

    /// Reads the headers of all frames and the end; returns where the frames' contents begin.
    pub(super) fn frames(&mut self, index: &Index) -> Result<Vec<u64>, CcsError> {
        let mut offsets = Vec::with_capacity(index.frames.len());
        for (number, Frame { stored_bytes, .. }) in index.frames.iter().enumerate() {
            let name = archive::frame_name(number);
            let size = self.member(&name)?;
            if size != u64::from(*stored_bytes) {
                return Err(CcsError::Member {
                    found: format!("one of {size} bytes, not {stored_bytes},"),
                    expected: name,
                });
            }
            offsets.push(self.offset);
            self.skip(size);
        }
        let mut end = archive::END;
        self.past_padding(&mut end)?;
        if end != archive::END {
            return Err(CcsError::Member { expected: "the end".to_owned(), found: "something".to_owned() });
        }
        Ok(offsets)
    }
}
