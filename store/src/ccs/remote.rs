// store/src/ccs/remote.rs
//! Packages that lie elsewhere: only the parts that are needed travel.
//!
//! ```text
//! first piece    manifest, signatures, the beginning of the index
//! then           the rest of the index and the trees, in one request
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
use super::index::{self, Beginning, Frame, Index};
use super::layout::Run;
use super::reader::read_manifest;
use super::signature::{self, Signature};
use super::{CcsError, IndexError, Package, limits, signed};
use crate::Store;
use crate::manifest::Manifest;
use crate::need::Need;

/// Bytes that the first request asks for.
const FIRST_BYTES: u64 = 32 << 10;
/// Bytes that a request behind a long manifest asks for beyond it: the most signatures, and the rows of two thousand frames.
const AHEAD_BYTES: u64 = 24 << 10;
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

/// Reads manifest, signatures and sizes of a package that lies elsewhere: one request, and one more where its manifest is long or
/// its frames are thousands. What comes is kept in `scratch`, an empty file.
///
/// # Errors
/// [`CcsError`] for what no writer of this version can have written.
pub fn head(from: &dyn ReadAt, scratch: &File) -> Result<Head, CcsError> {
    let mut parts = Parts::begin(from, scratch)?;
    let front = parts.front()?;
    let frames = parts.frames(&front)?;
    Ok(Head {
        manifest: front.manifest,
        id: front.id,
        signatures: front.signatures,
        size_bytes: parts.length,
        content_bytes: index::content_bytes(&frames),
        stored_bytes: index::stored_bytes(&frames),
    })
}

/// Brings a package, as much of it as is wanted, into an empty local file and opens it.
///
/// # Errors
/// [`CcsError`] as [`Package::open`], and when a part cannot be had or kept.
pub fn bring(from: &dyn ReadAt, into: &File, want: Want<'_>, cancel: &AtomicBool) -> Result<Package, CcsError> {
    let mut coming = Coming::begin(from, into)?;
    coming.bring(from, want, cancel)?;
    Ok(coming.package)
}

/// A package whose metadata has come, and whose content can.
#[derive(Debug)]
pub struct Coming {
    package: Package,
    into: File,
    here: Vec<Range<u64>>,
    payload_at: u64,
}

impl Coming {
    /// Brings everything but content into an empty local file.
    ///
    /// # Errors
    /// [`CcsError`] as [`Package::open`], and when a part cannot be had or kept.
    pub fn begin(from: &dyn ReadAt, into: &File) -> Result<Self, CcsError> {
        let again = || into.try_clone().map_err(CcsError::io("open the package"));
        let mut parts = Parts::begin(from, into)?;
        let front = parts.front()?;
        parts.ensure(front.index_at..front.payload_at)?;
        let frames = parts.frames(&front)?;
        write_between(into, front.payload_at, &frames).map_err(CcsError::io("keep a part of the package"))?;
        let package = Package::open(again()?)?;
        Ok(Self { package, here: parts.here, into: again()?, payload_at: front.payload_at })
    }

    /// Returns the package; frames that have not come are holes in it.
    #[must_use]
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// Returns how many bytes [`Coming::bring`] would have sent.
    ///
    /// # Errors
    /// When the store cannot be asked what it lacks.
    pub fn missing_bytes(&self, want: Want<'_>) -> Result<u64, CcsError> {
        let missing = |range: Range<u64>| {
            let range = missing(&self.here, range);
            range.end - range.start
        };
        Ok(self.ranges(want)?.into_iter().map(missing).sum())
    }

    /// Brings content; what has come does not travel again.
    ///
    /// # Errors
    /// [`CcsError`] when a part cannot be had or kept.
    pub fn bring(&mut self, from: &dyn ReadAt, want: Want<'_>, cancel: &AtomicBool) -> Result<(), CcsError> {
        let ranges = self.ranges(want)?;
        let length = self.package.length;
        let mut parts = Parts { from, into: &self.into, length, here: std::mem::take(&mut self.here) };
        let brought = ranges.into_iter().try_for_each(|range| {
            check(cancel)?;
            parts.ensure(range)
        });
        self.here = parts.here;
        brought?;
        // What the index said stands where the server's bytes stood.
        let frames = &self.package.index.frames;
        write_between(&self.into, self.payload_at, frames).map_err(CcsError::io("keep a part of the package"))
    }

    /// Returns what to ask for, neighbours together.
    fn ranges(&self, want: Want<'_>) -> Result<Vec<Range<u64>>, CcsError> {
        let package = &self.package;
        let objects = package.objects()?;
        let wanted: Vec<bool> = match want {
            Want::Metadata => return Ok(Vec::new()),
            Want::Missing(store) => needs(store, &objects)?.into_iter().map(|need| need != Need::Nothing).collect(),
            Want::All => vec![true; objects.len()],
        };
        let wanted = |place: usize| wanted[package.index.order[place] as usize];
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for run in &package.runs {
            let frames = match run {
                Run::Packed { frame, objects } if objects.clone().any(wanted) => *frame..frame + 1,
                Run::Large { frames, object } if wanted(*object) => frames.clone(),
                Run::Packed { .. } | Run::Large { .. } => continue,
            };
            for frame in frames {
                let begin = package.offsets[frame];
                let end = begin + u64::from(package.index.frames[frame].stored_bytes);
                match ranges.last_mut() {
                    // Between neighbours there is a header, and less than a block of nothing.
                    Some(last) if begin <= last.end + 2 * BLOCK as u64 && end - last.start <= REQUEST_BYTES => {
                        last.end = end;
                    }
                    _ => ranges.push(begin..end),
                }
            }
        }
        Ok(ranges)
    }
}

/// Returns the end of a range that has not come.
fn missing(here: &[Range<u64>], mut range: Range<u64>) -> Range<u64> {
    for here in here {
        if here.contains(&range.start) {
            range.start = here.end.min(range.end);
        }
    }
    range
}

/// What stands before the rows of the index.
struct Front {
    manifest: Manifest,
    id: Digest,
    signatures: Vec<Signature>,
    index: Beginning,
    /// Where the content of the index begins.
    index_at: u64,
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
    fn ensure(&mut self, range: Range<u64>) -> Result<(), CcsError> {
        if range.end > self.length {
            return Err(CcsError::Truncated { expected: range.end, actual: self.length });
        }
        let range = missing(&self.here, range);
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

    /// Has a range brought, and what lies behind it too where it is not there yet.
    fn ensure_ahead(&mut self, range: Range<u64>) -> Result<(), CcsError> {
        let here = self.here.iter().any(|here| here.start <= range.start && range.end <= here.end);
        let end = if here { range.end } else { (range.end + AHEAD_BYTES).min(self.length).max(range.end) };
        self.ensure(range.start..end)
    }

    /// Reads manifest, signatures and the beginning of the index.
    fn front(&mut self) -> Result<Front, CcsError> {
        let block = BLOCK as u64;
        let size = limits::MANIFEST.check(archive::size_of(&self.block(0)?, archive::MANIFEST)?)?;
        let mut next = block * archive::blocks(size);
        self.ensure_ahead(0..next + block)?;
        let (manifest, id) = read_manifest(&self.bytes(block, size)?)?;
        let mut signatures = Vec::new();
        let mut header = self.block(next)?;
        if archive::is_named(&header, signed::MEMBER) {
            let size = archive::size_of(&header, signed::MEMBER)?;
            if size > signature::most_bytes() {
                return Err(CcsError::Signatures);
            }
            let at = next + block;
            next += block * archive::blocks(size);
            self.ensure_ahead(at..next + block)?;
            signatures = signature::decode(&self.bytes(at, size)?)?;
            header = self.block(next)?;
        }
        let size = limits::INDEX.check(archive::size_of(&header, archive::INDEX)?)?;
        let index_at = next + block;
        let head = Index::encoded_bytes(0, 0).min(size);
        self.ensure_ahead(index_at..index_at + head)?;
        let index = Beginning::decode(&self.bytes(index_at, head)?)?;
        if size != index.index_bytes() {
            return Err(CcsError::Index(IndexError::Length));
        }
        if index.manifest != id {
            return Err(CcsError::ManifestDigest { expected: index.manifest, actual: id });
        }
        // Headers and space of each tree beside its bytes.
        let most = limits::TREES.maximum + 2 * block * limits::COMPONENTS.maximum;
        if block * u64::from(index.tree_blocks) > most {
            limits::TREES.check(block * u64::from(index.tree_blocks))?;
        }
        let payload_at = next + block * (archive::blocks(size) + u64::from(index.tree_blocks));
        Ok(Front { manifest, id, signatures, index, index_at, payload_at })
    }

    /// Reads the rows of the frames, and compares the file's length with them.
    fn frames(&mut self, front: &Front) -> Result<Vec<Frame>, CcsError> {
        let rows = front.index.rows();
        let rows = front.index_at + rows.start..front.index_at + rows.end;
        self.ensure_ahead(rows.clone())?;
        let frames = index::decode_frames(&self.bytes(rows.start, rows.end - rows.start)?)?;
        limits::check_ratio(index::content_bytes(&frames), index::stored_bytes(&frames))?;
        let expected = front.payload_at + BLOCK as u64 * index::blocks_behind(0, &frames);
        match self.length {
            actual if actual < expected => Err(CcsError::Truncated { expected, actual }),
            actual if actual > expected => Err(CcsError::Trailing { expected, actual }),
            _ => Ok(frames),
        }
    }
}

fn check(cancel: &AtomicBool) -> Result<(), CcsError> {
    if cancel.load(Ordering::Relaxed) { Err(CcsError::Interrupted) } else { Ok(()) }
}

/// Writes headers and space between frames, and the end.
fn write_between(into: &File, payload_at: u64, frames: &[Frame]) -> io::Result<()> {
    let mut offset = payload_at;
    for (number, frame) in frames.iter().enumerate() {
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
            assert_eq!(from.asked.borrow().len(), 1);
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
    fn two_requests_are_enough_for_long_manifests_and_many_signatures() {
        for (text, count) in [(0, 64), (20 << 10, 1), (31 << 10, 0), (31 << 10, 64), (200 << 10, 0), (200 << 10, 64)] {
            let (bytes, manifest) = super::super::tests::with_a_long_text(text);
            let bytes = super::super::tests::signed_by(&bytes, count);
            let from = counted(&bytes);
            let found = head(&from, &tempfile::tempfile().unwrap()).unwrap();
            assert_eq!((found.id, found.signatures.len()), (manifest.id(), usize::from(count)));
            let asked = from.asked.borrow();
            assert!(asked.len() <= 2, "{text} {count}: {asked:?}");
            let total: u64 = asked.iter().map(|(_, length)| length).sum();
            assert!(total <= (64 << 10) + manifest.to_json().len() as u64, "{text} {count}: {asked:?}");
        }
    }

    #[test]
    fn what_has_come_with_the_metadata_does_not_travel_again() {
        let never = AtomicBool::new(false);
        let (bytes, _) = super::super::tests::with_a_long_text(0);
        let from = counted(&bytes);
        let mut coming = Coming::begin(&from, &tempfile::tempfile().unwrap()).unwrap();
        assert_eq!(coming.missing_bytes(Want::All).unwrap(), 0);
        coming.bring(&from, Want::All, &never).unwrap();
        assert_eq!(from.asked.borrow().len(), 1);
        coming.package().verify(&never, &|_, _| {}).unwrap();

        let (bytes, _) = super::super::tests::several_frames();
        let from = counted(&bytes);
        let mut coming = Coming::begin(&from, &tempfile::tempfile().unwrap()).unwrap();
        let before: u64 = from.asked.borrow().iter().map(|(_, length)| length).sum();
        let expected = coming.missing_bytes(Want::All).unwrap();
        coming.bring(&from, Want::All, &never).unwrap();
        let after: u64 = from.asked.borrow().iter().map(|(_, length)| length).sum();
        assert_eq!(after - before, expected);
        assert_eq!(coming.missing_bytes(Want::All).unwrap(), 0);
    }

    #[test]
    fn content_of_another_package_is_found_out() {
        let never = AtomicBool::new(false);
        let (bytes, manifest) = super::super::tests::several_frames();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &crate::OpenOptions::default()).unwrap();
        let mut coming = Coming::begin(&counted(&bytes), &tempfile::tempfile().unwrap()).unwrap();
        // Between plan and yes the server has something else of the same length.
        let mut other = bytes.clone();
        let place = usize::try_from(coming.package.offsets[1]).unwrap();
        other[place + 100..place + 200].fill(7);
        coming.bring(&counted(&other), Want::Missing(&store), &never).unwrap();
        assert!(coming.package().import(&store, &never, &|_, _| {}).is_err());
        assert!(store.trove(&manifest.id()).is_err());
        // Or of another one.
        let mut coming = Coming::begin(&counted(&bytes), &tempfile::tempfile().unwrap()).unwrap();
        let short = counted(&bytes[..bytes.len() - 512]);
        assert!(coming.bring(&short, Want::All, &never).is_err());
        coming.bring(&counted(&bytes), Want::All, &never).unwrap();
        coming.package().verify(&never, &|_, _| {}).unwrap();
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
