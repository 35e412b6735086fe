// store/src/ccs/index.rs
//! The index member: sizes of the frames and the order of the objects.
//!
//! It commits to nothing; it only says where to look, and what is found there is checked by digest. Decoding compares every
//! count with the length of the bytes and with its limit before it allocates. Format: docs/design/ccs.md, "Index".

use std::ops::Range;

use recipes::Digest;

use super::{CcsError, IndexError, archive, limits};

/// First bytes of every index.
const MAGIC: &[u8; 8] = b"CCSINDEX";
/// The version that this code writes and reads.
const VERSION: u32 = 1;
/// Bytes before the first frame.
const HEAD: usize = 56;

/// One frame's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the zstd frame.
    pub stored_bytes: u32,
    /// Bytes of its content.
    pub size_bytes: u32,
}

/// A decoded index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Digest of `manifest.json`.
    pub manifest: Digest,
    /// Blocks that the trees' members take together.
    pub tree_blocks: u32,
    /// The frames.
    pub frames: Vec<Frame>,
    /// The objects in payload order, each by its place in the order of digests.
    pub order: Vec<u32>,
}

impl Index {
    /// Returns how many bytes an index of so many frames and objects has.
    pub fn encoded_bytes(frames: usize, objects: usize) -> u64 {
        HEAD as u64 + 8 * frames as u64 + 4 * objects as u64
    }

    /// Encodes the index.
    ///
    /// # Panics
    /// When there are more frames or objects than the limits allow; the writer has checked them.
    pub fn encode(&self) -> Vec<u8> {
        let count = |count: usize| u32::try_from(count).expect("because limits are below 2^32");
        let mut out = Vec::with_capacity(HEAD + 8 * self.frames.len() + 4 * self.order.len());
        out.extend_from_slice(MAGIC);
        for number in [VERSION, count(self.frames.len()), count(self.order.len()), self.tree_blocks] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.manifest.as_bytes());
        for frame in &self.frames {
            out.extend_from_slice(&frame.stored_bytes.to_le_bytes());
            out.extend_from_slice(&frame.size_bytes.to_le_bytes());
        }
        for object in &self.order {
            out.extend_from_slice(&object.to_le_bytes());
        }
        out
    }

    /// Decodes an index.
    ///
    /// # Errors
    /// [`CcsError::Index`] for bytes that [`Index::encode`] cannot have made, [`CcsError::Newer`] for a later version,
    /// [`CcsError::Limit`] for too many frames, objects or bytes of either.
    pub fn decode(bytes: &[u8]) -> Result<Self, CcsError> {
        let beginning = Beginning::decode(bytes)?;
        if bytes.len() as u64 != beginning.index_bytes() {
            return Err(CcsError::Index(IndexError::Length));
        }
        let (frames, order) = bytes[HEAD..].split_at(8 * beginning.frames);
        let frames = decode_frames(frames)?;
        let order: Vec<u32> = numbers_of(order).collect();
        let mut seen = vec![false; beginning.objects];
        for &object in &order {
            match seen.get_mut(object as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(CcsError::Index(IndexError::Order { object })),
            }
        }
        Ok(Self { manifest: beginning.manifest, tree_blocks: beginning.tree_blocks, frames, order })
    }

    /// Returns the bytes that all frames hold.
    pub fn content_bytes(&self) -> u64 {
        content_bytes(&self.frames)
    }

    /// Returns the bytes that all frames are stored in.
    pub fn stored_bytes(&self) -> u64 {
        stored_bytes(&self.frames)
    }
}

/// What stands before the first frame's row: enough to know how long everything before the payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Digest of `manifest.json`.
    pub manifest: Digest,
    /// Blocks that the trees' members take together.
    pub tree_blocks: u32,
    frames: usize,
    objects: usize,
}

impl Beginning {
    /// Decodes it, whatever follows.
    ///
    /// # Errors
    /// As [`Index::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CcsError> {
        let short = || CcsError::Index(IndexError::Length);
        let (head, _) = bytes.split_at_checked(HEAD).ok_or_else(short)?;
        let (magic, head) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(CcsError::Index(IndexError::Magic));
        }
        let (numbers, manifest) = head.split_at(16);
        let mut numbers = numbers_of(numbers);
        let mut next = || numbers.next().unwrap_or_default();
        let (version, frames, objects, tree_blocks) = (next(), next(), next(), next());
        if version != VERSION {
            return Err(CcsError::Newer { what: "index", found: version, known: VERSION });
        }
        limits::FRAMES.check(u64::from(frames))?;
        limits::ENTRIES.check(u64::from(objects))?;
        let manifest = Digest::new(recipes::Algorithm::Blake3, manifest).map_err(|_| short())?;
        // Neither count can wrap: both were just checked.
        Ok(Self { manifest, tree_blocks, frames: frames as usize, objects: objects as usize })
    }

    /// Returns how many bytes the index has.
    pub fn index_bytes(&self) -> u64 {
        Index::encoded_bytes(self.frames, self.objects)
    }

    /// Returns where in the index the rows of its frames stand.
    pub fn rows(&self) -> Range<u64> {
        HEAD as u64..HEAD as u64 + 8 * self.frames as u64
    }
}

/// Decodes rows of frames.
///
/// # Errors
/// [`CcsError::Limit`] for a frame that is too large.
pub fn decode_frames(bytes: &[u8]) -> Result<Vec<Frame>, CcsError> {
    let rows = bytes.chunks_exact(8).map(|row| {
        let mut row = numbers_of(row);
        let frame = Frame { stored_bytes: row.next().unwrap_or_default(), size_bytes: row.next().unwrap_or_default() };
        limits::STORED_FRAME.check(u64::from(frame.stored_bytes))?;
        limits::FRAME.check(u64::from(frame.size_bytes))?;
        Ok(frame)
    });
    rows.collect()
}

/// Returns the bytes that frames hold.
pub fn content_bytes(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| u64::from(frame.size_bytes)).sum()
}

/// Returns the bytes that frames are stored in.
pub fn stored_bytes(frames: &[Frame]) -> u64 {
    frames.iter().map(|frame| u64::from(frame.stored_bytes)).sum()
}

/// Returns how many blocks follow an index: trees, frames and the end.
pub fn blocks_behind(tree_blocks: u32, frames: &[Frame]) -> u64 {
    let frames: u64 = frames.iter().map(|frame| archive::blocks(frame.stored_bytes.into())).sum();
    u64::from(tree_blocks) + frames + (archive::END.len() / archive::BLOCK) as u64
}

/// Reads little-endian numbers of four bytes.
fn numbers_of(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks_exact(4).map(|four| {
        let mut number = [0; 4];
        number.copy_from_slice(four);
        u32::from_le_bytes(number)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Index {
        Index {
            manifest: Digest::blake3([5; 32]),
            tree_blocks: 9,
            frames: vec![
                Frame { stored_bytes: 100, size_bytes: 200 },
                Frame { stored_bytes: 8 << 20, size_bytes: 8 << 20 },
            ],
            order: vec![2, 0, 1],
        }
    }

    #[test]
    fn encoding_round_trips() {
        let index = sample();
        let bytes = index.encode();
        assert_eq!(bytes.len() as u64, Index::encoded_bytes(2, 3));
        assert_eq!(Index::decode(&bytes).unwrap(), index);
        assert_eq!(index.content_bytes(), 200 + (8 << 20));
        assert_eq!(index.stored_bytes(), 100 + (8 << 20));
    }

    #[test]
    fn lies_are_refused() {
        let good = sample().encode();
        let with = |offset: usize, number: u32| {
            let mut bytes = good.clone();
            bytes[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
            let error = Index::decode(&bytes).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        };
        assert!(with(0, 0).contains("does not begin"));
        assert!(with(8, 2).contains("version 2"));
        assert!(with(12, 3).contains("length"));
        assert!(with(12, u32::MAX).contains("frames"));
        assert!(with(16, 4).contains("length"));
        assert!(with(16, u32::MAX).contains("entries"));
        assert!(with(56, u32::MAX).contains("stored frame bytes"));
        assert!(with(60, (8 << 20) + 1).contains("frame bytes"));
        assert!(with(72, 0).contains("object 0"));
        assert!(with(72, 3).contains("object 3"));
        for length in 0..good.len() {
            assert!(Index::decode(&good[..length]).is_err(), "cut at {length}");
        }
        assert!(Index::decode(&[good, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut input = MAGIC.to_vec();
            input.extend_from_slice(&1_u32.to_le_bytes());
            input.extend(bytes);
            if let Ok(index) = Index::decode(&input) {
                prop_assert_eq!(index.encode(), input);
            }
        }

        #[test]
        fn changed_bytes_are_refused_or_canonical(offset in 0_usize..84, value: u8) {
            let mut bytes = sample().encode();
            bytes[offset] = value;
            if let Ok(index) = Index::decode(&bytes) {
                prop_assert_eq!(index.encode(), bytes);
            }
        }
    }
}
