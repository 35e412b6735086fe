// store/src/ccs/remote.rs
//! Packages that lie elsewhere: only the parts that are needed travel.
//!
//! ```text
//! first piece    manifest, the beginning of the index
//! then           the rest of the index, trees and signatures, in one request
//! then           frames with content that is wanted, neighbours in one request
//! ```
//!
//! What arrives is put where it belongs in a local file of the same length; headers of frames and the space between members are
//! written from the index, because a writer could not have written others. So the local file is a package that
//! [`Package::open`] reads, and digests decide about whatever came. Frames that were not wanted are holes in it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use recipes::Digest;

use super::archive::{self, BLOCK};
use super::import::needs;
use super::index::Index;
use super::layout::Run;
use super::reader::read_manifest;
use super::signature::{self, Signature};
use super::{CcsError, Package, limits, signed};
use crate::Store;
use crate::manifest::Manifest;
use crate::need::Need;

/// Bytes that the first request asks for.
const FIRST_BYTES: u64 = 32 << 10;
/// Frames that are asked for at once are at most this many bytes, or one frame.
const REQUEST_BYTES: u64 = 64 << 20;

/// Something that can be read in parts, such as a file on a server.
pub trait ReadAt {
    /// Reads bytes from `offset` on: `length` of them, or up to the end of the file. Returns them, and the length of the whole file.
    ///
    /// # Errors
    /// When they cannot be had, or the file is not the one that earlier parts came from.
    fn read_at(&self, offset: u64, length: u64) -> io::Result<(Vec<u8>, u64)>;
}

/// Which content to bring.
#[derive(Debug, Clone, Copy)]
pub enum Want<'s> {
    /// None: manifest, index, trees and signatures only.
    Metadata,
    /// What a store lacks.
    Missing(&'s Store),
    /// All of it.
    All,
}

/// What a package says of itself, without its trees.
#[derive(Debug, Clone)]
pub struct Head {
    /// The manifest.
    pub manifest: Manifest,
    /// The trove's id.
    pub id: Digest,
    /// The signatures, valid or not.
    pub signatures: Vec<Signature>,
    /// Bytes of the whole package.
    pub size_bytes: u64,
    /// Bytes of all contents.
    pub content_bytes: u64,
    /// Bytes that they are stored in.
    pub stored_bytes: u64,
}

/// Reads manifest and signatures of a package that lies elsewhere: one request, and one more where it is signed or its manifest
/// is long. What comes is kept in `scratch`, an empty file.
///
/// # Errors
/// [`CcsError`] for what no writer of this version can have written.
pub fn head(from: &dyn ReadAt, scratch: &File) -> Result<Head, CcsError> {
    let mut parts = Parts::begin(from, scratch)?;
    let front = parts.front()?;
    let signatures = match front.signature_blocks {
        0 => Vec::new(),
        blocks => {
            let block = parts.block(front.signatures_at)?;
            let size = archive::size_of(&block, signed::MEMBER)?;
            if archive::blocks(size) != blocks || size > signature::most_bytes() {
                return Err(CcsError::Signatures);
            }
            signature::decode(&parts.bytes(front.signatures_at + BLOCK as u64, size)?)?
        }
    };
    Ok(Head {
        manifest: front.manifest,
        id: front.id,
        signatures,
        size_bytes: parts.length,
        content_bytes: front.index.content_bytes(),
        stored_bytes: front.index.stored_bytes(),
    })
}

/// Brings a package, as much of it as is wanted, into an empty local file and opens it.
///
/// # Errors
/// [`CcsError`] as [`Package::open`], and when a part cannot be had or kept.
pub fn bring(from: &dyn ReadAt, into: &File, want: Want<'_>, cancel: &AtomicBool) -> Result<Package, CcsError> {
    let mut parts = Parts::begin(from, into)?;
    let front = parts.front()?;
    parts.ensure(front.trees_at..front.payload_at)?;
    write_between(into, &front).map_err(CcsError::io("keep a part of the package"))?;
    let package = Package::open(into.try_clone().map_err(CcsError::io("open the package"))?)?;
    let objects = package.objects()?;
    let wanted: Vec<bool> = match want {
        Want::Metadata => return Ok(package),
        Want::Missing(store) => needs(store, &objects)?.into_iter().map(|need| need != Need::Nothing).collect(),
        Want::All => vec![true; objects.len()],
    };
    let wanted = |place: usize| wanted[package.index.order[place] as usize];
    let mut frames = Vec::new();
    for run in &package.runs {
        match run {
            Run::Packed { frame, objects } if objects.clone().any(wanted) => frames.push(*frame),
            Run::Large { frames: pieces, object } if wanted(*object) => frames.extend(pieces.clone()),
            Run::Packed { .. } | Run::Large { .. } => {}
        }
    }
    let mut range = 0..0;
    for frame in frames {
        let begin = package.offsets[frame];
        let end = begin + u64::from(package.index.frames[frame].stored_bytes);
        // Between neighbours there is a header, and less than a block of nothing.
        let near = begin <= range.end + 2 * BLOCK as u64;
        if near && end - range.start <= REQUEST_BYTES {
            range.end = end;
            continue;
        }
        check(cancel)?;
        parts.ensure(range)?;
        range = begin..end;
    }
    check(cancel)?;
    parts.ensure(range)?;
    // A part that came twice is not written twice; what the index said stands where the server's bytes stood.
    write_between(into, &front).map_err(CcsError::io("keep a part of the package"))?;
    Ok(package)
}

/// What the front of a package says.
struct Front {
    manifest: Manifest,
    id: Digest,
    index: Index,
    trees_at: u64,
    signatures_at: u64,
    signature_blocks: u64,
    payload_at: u64,
}

/// The parts that have come.
struct Parts<'a> {
    from: &'a dyn ReadAt,
    into: &'a File,
    length: u64,
    here: Vec<Range<u64>>,
}

impl<'a> Parts<'a> {
    fn begin(from: &'a dyn ReadAt, into: &'a File) -> Result<Self, CcsError> {
        let (bytes, length) = from.read_at(0, FIRST_BYTES).map_err(CcsError::io("get the package"))?;
        if bytes.len() as u64 != FIRST_BYTES.min(length) {
            return Err(CcsError::Truncated { expected: FIRST_BYTES.min(length), actual: bytes.len() as u64 });
        }
        let mut parts = Self { from, into, length, here: Vec::new() };
        let keep = CcsError::io("keep a part of the package");
        into.set_len(length).and_then(|()| into.write_all_at(&bytes, 0)).map_err(keep)?;
        parts.here.push(0..bytes.len() as u64);
        Ok(parts)
    }

    /// Has what is missing of a range brought, in one request.
    fn ensure(&mut self, mut range: Range<u64>) -> Result<(), CcsError> {
        if range.end > self.length {
            return Err(CcsError::Truncated { expected: range.end, actual: self.length });
        }
        for here in &self.here {
            if here.contains(&range.start) {
                range.start = here.end.min(range.end);
            }
        }
        if range.is_empty() {
            return Ok(());
        }
        let (bytes, length) =
            self.from.read_at(range.start, range.end - range.start).map_err(CcsError::io("get the package"))?;
        if length != self.length || bytes.len() as u64 != range.end - range.start {
            return Err(CcsError::Truncated {
                expected: self.length,
                actual: length.min(range.start + bytes.len() as u64),
            });
        }
        self.into.write_all_at(&bytes, range.start).map_err(CcsError::io("keep a part of the package"))?;
        self.here.push(range);
        Ok(())
    }

    fn bytes(&mut self, offset: u64, size: u64) -> Result<Vec<u8>, CcsError> {
        self.ensure(offset..offset.saturating_add(size))?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.into.read_exact_at(&mut bytes, offset).map_err(CcsError::io("read the package"))?;
        Ok(bytes)
    }

    fn block(&mut self, offset: u64) -> Result<[u8; BLOCK], CcsError> {
        let bytes = self.bytes(offset, BLOCK as u64)?;
        Ok(bytes.try_into().expect("because a block was asked for"))
    }

    /// Reads manifest and index.
    fn front(&mut self) -> Result<Front, CcsError> {
        let block = BLOCK as u64;
        let size = limits::MANIFEST.check(archive::size_of(&self.block(0)?, archive::MANIFEST)?)?;
        let index_at = block * archive::blocks(size);
        // The header of the index and its first rows come with a long manifest.
        self.ensure(0..(index_at + 4 * block).min(self.length))?;
        let (manifest, id) = read_manifest(&self.bytes(block, size)?)?;
        let size = limits::INDEX.check(archive::size_of(&self.block(index_at)?, archive::INDEX)?)?;
        let index = Index::decode(&self.bytes(index_at + block, size)?)?;
        if index.manifest != id {
            return Err(CcsError::ManifestDigest { expected: index.manifest, actual: id });
        }
        limits::check_ratio(index.content_bytes(), index.stored_bytes())?;
        let trees_at = index_at + block * archive::blocks(size);
        // Headers and space of each tree beside its bytes.
        let most = limits::TREES.maximum + 2 * block * limits::COMPONENTS.maximum;
        if block * u64::from(index.tree_blocks) > most {
            limits::TREES.check(block * u64::from(index.tree_blocks))?;
        }
        let signatures_at = trees_at + block * u64::from(index.tree_blocks);
        let frames: u64 = index.frames.iter().map(|frame| archive::blocks(frame.stored_bytes.into())).sum();
        let expected = signatures_at + block * frames + archive::END.len() as u64;
        let actual = self.length;
        let signature_blocks = match actual.checked_sub(expected) {
            None => return Err(CcsError::Truncated { expected, actual }),
            Some(rest) if rest % block != 0 || rest / block > archive::blocks(signature::most_bytes()) => {
                return Err(CcsError::Trailing { expected, actual });
            }
            Some(rest) => rest / block,
        };
        let payload_at = signatures_at + block * signature_blocks;
        Ok(Front { manifest, id, index, trees_at, signatures_at, signature_blocks, payload_at })
    }
}

fn check(cancel: &AtomicBool) -> Result<(), CcsError> {
    if cancel.load(Ordering::Relaxed) { Err(CcsError::Interrupted) } else { Ok(()) }
}

/// Writes headers and space between frames, and the end.
fn write_between(into: &File, front: &Front) -> io::Result<()> {
    let mut offset = front.payload_at;
    for (number, frame) in front.index.frames.iter().enumerate() {
        let size = u64::from(frame.stored_bytes);
        into.write_all_at(&archive::header(&archive::frame_name(number), size), offset)?;
        offset += BLOCK as u64 + size;
        let padding = archive::padding(size);
        into.write_all_at(&archive::END[..padding], offset)?;
        offset += padding as u64;
    }
    into.write_all_at(&archive::END, offset)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A file that counts what is asked for.
    pub(super) struct Counted {
        bytes: Vec<u8>,
        asked: RefCell<Vec<(u64, u64)>>,
    }

    impl ReadAt for Counted {
        fn read_at(&self, offset: u64, length: u64) -> io::Result<(Vec<u8>, u64)> {
            let all = self.bytes.len() as u64;
            let end = (offset + length).min(all);
            self.asked.borrow_mut().push((offset, end - offset));
            let range = usize::try_from(offset).unwrap()..usize::try_from(end).unwrap();
            Ok((self.bytes[range].to_vec(), all))
        }
    }

    fn counted(bytes: &[u8]) -> Counted {
        Counted { bytes: bytes.to_vec(), asked: RefCell::new(Vec::new()) }
    }

    #[test]
    fn only_what_is_wanted_travels() {
        let never = AtomicBool::new(false);
        let (bytes, manifest) = super::super::tests::several_frames();
        let signed = super::super::tests::signed_package(&bytes);
        for bytes in [&bytes, &signed] {
            let from = counted(bytes);
            let found = head(&from, &tempfile::tempfile().unwrap()).unwrap();
            assert_eq!((found.id, found.size_bytes), (manifest.id(), bytes.len() as u64));
            assert!(from.asked.borrow().len() <= 2);
            let asked: u64 = from.asked.borrow().iter().map(|(_, length)| length).sum();
            assert!(asked <= 64 << 10, "{asked}");

            let directory = tempfile::tempdir().unwrap();
            let from = counted(bytes);
            let package = bring(&from, &tempfile::tempfile().unwrap(), Want::All, &never).unwrap();
            package.verify(&never, &|_, _| {}).unwrap();
            assert_eq!(package.signatures().len(), found.signatures.len());
            let mut copy = Vec::new();
            package.write_with(package.signatures(), &mut copy).unwrap();
            assert!(copy == *bytes, "all of it is the same file");

            // A store that has all but one frame's content asks for metadata and that frame.
            let store = Store::open(directory.path(), &crate::OpenOptions::default()).unwrap();
            package.import(&store, &never, &|_, _| {}).unwrap();
            let from = counted(bytes);
            bring(&from, &tempfile::tempfile().unwrap(), Want::Missing(&store), &never).unwrap();
            let asked: u64 = from.asked.borrow().iter().map(|(_, length)| length).sum();
            assert!(asked < FIRST_BYTES + 16384, "nothing is missing: {asked}");
            let other = Store::open(&directory.path().join("other"), &crate::OpenOptions::default()).unwrap();
            for content in super::super::tests::first_contents() {
                other.put_bytes(&content).unwrap();
            }
            let from = counted(bytes);
            let partial = bring(&from, &tempfile::tempfile().unwrap(), Want::Missing(&other), &never).unwrap();
            let asked: u64 = from.asked.borrow().iter().map(|(_, length)| length).sum();
            assert!(asked < bytes.len() as u64 / 2, "{asked} of {}", bytes.len());
            partial.import(&other, &never, &|_, _| {}).unwrap();
            assert!(other.is_complete(&manifest.id()).unwrap());
            assert!(partial.verify(&never, &|_, _| {}).is_err(), "the rest is holes");
        }
    }

    #[test]
    fn other_files_are_refused() {
        let never = AtomicBool::new(false);
        let (bytes, _) = super::super::tests::several_frames();
        let short = &bytes[..bytes.len() - 1];
        let long = [&bytes[..], &[0; 511]].concat();
        for other in [&b""[..], b"text", short, &long, &vec![0; 70_000]] {
            assert!(head(&counted(other), &tempfile::tempfile().unwrap()).is_err());
            assert!(bring(&counted(other), &tempfile::tempfile().unwrap(), Want::All, &never).is_err());
        }
    }
}
