// store/src/ccs/pieces.rs
//! BLAKE3 of a large object from its pieces, so that each piece can be hashed where it is compressed or decoded.
//!
//! BLAKE3 is a tree over chunks of 1 KiB whose left half is always the largest power of two. Pieces of
//! [`FRAME_BYTES`] are whole subtrees of it, so their values merge into the object's digest.

use blake3::Hasher;
use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};
use recipes::Digest;

use super::limits::FRAME_BYTES;

/// Hashes the piece at place `number` of an object of several pieces.
pub fn hash(number: usize, piece: &[u8]) -> ChainingValue {
    debug_assert!(!piece.is_empty() && piece.len() <= FRAME_BYTES);
    let mut hasher = Hasher::new();
    hasher.set_input_offset((number * FRAME_BYTES) as u64).update(piece);
    hasher.finalize_non_root()
}

/// Returns the digest of an object from the values of its pieces, of which there are at least two.
///
/// # Panics
/// With less than two pieces, whose digest is an ordinary hash.
pub fn merge(pieces: &[ChainingValue]) -> Digest {
    let (left, right) = pieces.split_at(half(pieces.len()));
    let root = hazmat::merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
    Digest::blake3(*root.as_bytes())
}

fn subtree(pieces: &[ChainingValue]) -> ChainingValue {
    if let [only] = pieces {
        return *only;
    }
    let (left, right) = pieces.split_at(half(pieces.len()));
    hazmat::merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// Returns the largest power of two that is smaller than `count`.
fn half(count: usize) -> usize {
    assert!(count > 1, "because a single piece has no halves");
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_merge_into_the_plain_digest() {
        let content: Vec<u8> = (0..6 * FRAME_BYTES + 77).map(|at| (at * 31).to_le_bytes()[1]).collect();
        for size in [
            FRAME_BYTES + 1,
            2 * FRAME_BYTES,
            2 * FRAME_BYTES + 1,
            3 * FRAME_BYTES + 1024,
            4 * FRAME_BYTES,
            5 * FRAME_BYTES + 1,
            content.len(),
        ] {
            let content = &content[..size];
            let values: Vec<_> =
                content.chunks(FRAME_BYTES).enumerate().map(|(number, piece)| hash(number, piece)).collect();
            assert_eq!(merge(&values), Digest::blake3(*blake3::hash(content).as_bytes()), "{size}");
        }
    }
}
