// store/src/ccs/archive.rs
//! The tar around a package: headers that are fully determined by a member's name and size.
//!
//! Writing is [`header`] and [`padding`]. Reading never interprets tar: it takes name and size out of a block, builds the
//! header that a writer would have made of them and compares all of it, so that no other feature of tar exists here.
//! Format: docs/design/ccs.md, "The archive".

use super::CcsError;
use crate::EPOCH_SECS;

/// Bytes of a tar block.
pub const BLOCK: usize = 512;

/// What stands behind the last member.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Name of the first member.
pub const MANIFEST: &str = "manifest.json";
/// Name of the member behind manifest and signatures.
pub const INDEX: &str = "index";

/// Longest name of a member.
const MAX_NAME: usize = 99;

/// Returns the name of a component's tree.
pub fn tree_name(component: &str) -> String {
    format!("trees/{component}")
}

/// Returns the name of a frame.
pub fn frame_name(number: usize) -> String {
    format!("payload/{number:04}.zst")
}

/// Returns how many bytes of padding follow a member of `size` bytes.
pub fn padding(size: u64) -> usize {
    let tail = usize::try_from(size % BLOCK as u64).expect("because a remainder of 512 is small");
    (BLOCK - tail) % BLOCK
}

/// Returns the blocks that a member takes, header and padding included.
pub fn blocks(size: u64) -> u64 {
    1 + size.div_ceil(BLOCK as u64)
}

/// Builds the header of a member.
///
/// # Panics
/// When the name is longer than 99 bytes or the size does not fit eleven octal digits; callers' limits exclude both.
pub fn header(name: &str, size: u64) -> [u8; BLOCK] {
    assert!(name.len() <= MAX_NAME && size < 1 << 33, "because limits exclude it");
    let mut block = [0; BLOCK];
    let mut put = |offset: usize, text: &str| {
        block[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{EPOCH_SECS:011o}"));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    put(265, "root");
    put(297, "root");
    put(329, "0000000");
    put(337, "0000000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Reads the size out of the header of the member that must stand here.
///
/// # Errors
/// [`CcsError::Member`] when the block is anything but the one header that this name can have.
pub fn size_of(block: &[u8; BLOCK], name: &str) -> Result<u64, CcsError> {
    let wrong = || CcsError::Member { expected: name.to_owned(), found: describe(block) };
    let mut size = 0_u64;
    for digit in &block[124..135] {
        if !(b'0'..=b'7').contains(digit) {
            return Err(wrong());
        }
        size = size << 3 | u64::from(digit - b'0');
    }
    if header(name, size) == *block { Ok(size) } else { Err(wrong()) }
}

/// Says whether a block is the header of a member of this name, right or wrong in everything else.
pub fn is_named(block: &[u8; BLOCK], name: &str) -> bool {
    block[..100].strip_prefix(name.as_bytes()).is_some_and(|rest| rest[0] == 0)
}

/// Says what stands where a member was expected, for the error.
fn describe(block: &[u8; BLOCK]) -> String {
    if block.iter().all(|byte| *byte == 0) {
        return "the end of the archive".to_owned();
    }
    if &block[257..262] != b"ustar" {
        return "something that is no header".to_owned();
    }
    let name: &[u8] = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    format!("`{}` of type `{}`", name.escape_ascii(), block[156..157].escape_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_is_as_specified() {
        let block = header("payload/0003.zst", 0o1234);
        assert!(block.starts_with(b"payload/0003.zst\0"));
        assert_eq!(&block[100..124], b"0000644\x000000000\x000000000\0");
        assert_eq!(&block[124..148], b"00000001234\x0002263773600\0");
        assert_eq!(&block[154..157], b"\0 0");
        assert_eq!(&block[257..270], b"ustar\x0000root\0");
        assert_eq!(size_of(&block, "payload/0003.zst").unwrap(), 0o1234);
        // The tar crate, written by other people, agrees on the checksum.
        let other = tar::Header::from_byte_slice(&block);
        let mut again = other.clone();
        again.set_cksum();
        assert_eq!(again.cksum().unwrap(), other.cksum().unwrap());
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let block = header("index", 77);
        for offset in 0..BLOCK {
            for flip in [1, 7, 0x20, 0x80, 0xff] {
                let mut damaged = block;
                damaged[offset] ^= flip;
                assert!(size_of(&damaged, "index").is_err(), "byte {offset} ^ {flip}");
            }
        }
    }

    #[test]
    fn other_tars_are_refused_by_what_stands_there() {
        type Change = Box<dyn Fn(&mut tar::Header)>;
        let cases: [(Change, &str); 4] = [
            (Box::new(|header| header.set_entry_type(tar::EntryType::XHeader)), "of type `x`"),
            (Box::new(|header| header.set_entry_type(tar::EntryType::Symlink)), "of type `2`"),
            (Box::new(|header| header.set_mode(0o600)), "`index` of type `0`"),
            (Box::new(|header| header.as_mut_bytes()[..8].copy_from_slice(b"../index")), "`../index`"),
        ];
        for (change, found) in cases {
            let mut other = tar::Header::from_byte_slice(&header("index", 5)).clone();
            change(&mut other);
            other.set_cksum();
            let error = size_of(other.as_bytes(), "index").unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
        let error = size_of(&[0; BLOCK], "index").unwrap_err().to_string();
        assert!(error.contains("the end of the archive"), "{error}");
    }

    #[test]
    fn base_256_and_signed_sizes_are_refused() {
        for size in [&b"\x80\0\0\0\0\0\0\0\0\0\0\x05"[..], b"-0000000005\0", b"     000005\0"] {
            let mut block = header("index", 5);
            block[124..136].copy_from_slice(size);
            assert!(size_of(&block, "index").is_err());
        }
    }

    proptest! {
        #[test]
        fn any_size_round_trips(size in 0_u64..1 << 33) {
            prop_assert_eq!(size_of(&header("trees/lib", size), "trees/lib").unwrap(), size);
            prop_assert_eq!((size + padding(size) as u64) / 512 + 1, blocks(size));
        }

        #[test]
        fn any_block_is_refused_or_the_one_header(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let block: [u8; BLOCK] = bytes.try_into().unwrap();
            prop_assert!(size_of(&block, "index").is_err());
        }
    }
}
