// store/src/ccs/frame.rs
//! One zstd frame: compressing 8 MiB, and decoding without trusting a number in it.
//!
//! The decoder's output is a buffer of the size that the index gave, at most 8 MiB; a frame cannot make it larger, and the
//! header is compared with the only one that this size can have. Format: docs/design/ccs.md, "Objects and the payload".

use std::io;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, find_frame_compressed_size};

use super::limits::FRAME_BYTES;

/// Window of the compressor, as a power of two: that of [`FRAME_BYTES`], so that every frame is a single segment.
const WINDOW_LOG: u32 = FRAME_BYTES.trailing_zeros();

/// What is wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It does not begin as a frame of this size must.
    #[error("it does not begin like a frame of {size_bytes} bytes")]
    Header {
        /// The size in the index.
        size_bytes: usize,
    },
    /// Its end is not where the index says.
    #[error("it does not end where the index says")]
    End,
    /// zstd cannot decode it.
    #[error("it does not decode")]
    Decode(#[source] io::Error),
    /// It holds less than the index says.
    #[error("it holds {actual} bytes and not {expected}")]
    Size {
        /// The size in the index.
        expected: usize,
        /// What was decoded.
        actual: usize,
    },
}

/// Makes a compressor for frames at one level.
///
/// # Errors
/// When zstd refuses the level or has no memory.
pub fn compressor(level: i32) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    for parameter in [
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        compressor.set_parameter(parameter)?;
    }
    Ok(compressor)
}

/// Returns how a frame of this size begins, and how long that is.
fn header(size_bytes: usize) -> ([u8; 9], usize) {
    let mut header = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0];
    let (descriptor, value, width) = match size_bytes {
        0..256 => (0x20, size_bytes, 1),
        256..65_792 => (0x60, size_bytes - 256, 2),
        _ => (0xa0, size_bytes, 4),
    };
    header[4] = descriptor;
    header[5..5 + width].copy_from_slice(&value.to_le_bytes()[..width]);
    (header, 5 + width)
}

/// Decodes a frame of `size_bytes` into `content`, whose old content is thrown away.
///
/// # Errors
/// [`FrameError`]; `content` is then of no use.
pub fn decode(
    decompressor: &mut Decompressor<'_>,
    stored: &[u8],
    size_bytes: usize,
    content: &mut Vec<u8>,
) -> Result<(), FrameError> {
    debug_assert!(size_bytes <= FRAME_BYTES);
    let (header, length) = header(size_bytes);
    if !stored.starts_with(&header[..length]) {
        return Err(FrameError::Header { size_bytes });
    }
    if find_frame_compressed_size(stored) != Ok(stored.len()) {
        return Err(FrameError::End);
    }
    content.clear();
    content.reserve_exact(size_bytes);
    let actual = decompressor.decompress_to_buffer(stored, content).map_err(FrameError::Decode)?;
    if actual != size_bytes {
        return Err(FrameError::Size { expected: size_bytes, actual });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(content: &[u8]) -> Vec<u8> {
        compressor(3).unwrap().compress(content).unwrap()
    }

    fn round(stored: &[u8], size_bytes: usize) -> Result<Vec<u8>, FrameError> {
        let mut content = vec![9; 17];
        decode(&mut Decompressor::new().unwrap(), stored, size_bytes, &mut content)?;
        Ok(content)
    }

    #[test]
    fn frames_of_every_header_round_trip() {
        for size in [1, 2, 255, 256, 257, 65_535, 65_791, 65_792, 65_793, 1 << 20, FRAME_BYTES] {
            for level in [1, 3, 9, 19] {
                if level == 19 && size == FRAME_BYTES {
                    continue;
                }
                let content: Vec<u8> = (0..size).map(|at| ((at * at) >> 5).to_le_bytes()[0]).collect();
                let stored = compressor(level).unwrap().compress(&content).unwrap();
                assert!(round(&stored, size).unwrap() == content, "{size} at {level}");
            }
        }
    }

    #[test]
    fn what_does_not_compress_fits_the_limit() {
        let mut state = 1_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        })
        .take(FRAME_BYTES)
        .collect();
        let stored = compress(&content);
        assert!(stored.len() as u64 <= super::super::limits::STORED_FRAME.maximum);
        assert!(round(&stored, FRAME_BYTES).unwrap() == content);
    }

    #[test]
    fn bombs_and_lies_are_refused() {
        let zeros = vec![0; FRAME_BYTES];
        let small = compress(b"content");
        // A frame that says nothing about its size and never needs to end.
        let endless = zstd::stream::encode_all(&zeros[..], 3).unwrap();
        assert!(matches!(round(&endless, FRAME_BYTES), Err(FrameError::Header { .. })));
        // More content than the index gives.
        assert!(matches!(round(&compress(&zeros), 7), Err(FrameError::Header { .. })));
        // A header that claims less than the blocks hold: zstd's own check.
        let mut lying = compress(&vec![0; 300]);
        lying[5] -= 1;
        assert!(matches!(round(&lying, 299), Err(FrameError::Decode(_))));
        let mut lying = compress(&vec![0; 300]);
        lying[5] += 1;
        assert!(round(&lying, 301).is_err());
        // A window of 2 GiB.
        let mut window = small.clone();
        window[4] = 0;
        window[5] = 0xa8;
        assert!(matches!(round(&window, 7), Err(FrameError::Header { .. })));
        // Concatenated, with a skippable frame before or behind, cut.
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0][..]].concat();
        for stored in [
            [&small[..], &small[..]].concat(),
            [&skippable[..], &small[..]].concat(),
            [&small[..], &skippable[..]].concat(),
            [&small[..], &[0]].concat(),
            small[..small.len() - 1].to_vec(),
            vec![],
        ] {
            assert!(round(&stored, 7).is_err());
        }
        assert_eq!(round(&small, 7).unwrap(), b"content");
    }
}
