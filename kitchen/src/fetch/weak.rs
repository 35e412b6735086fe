// kitchen/src/fetch/weak.rs
//! Checksums that prove nothing: MD5, SHA-1 and the CRC of `cksum`.
//!
//! None of them pins a source. While a recipe is made they are held against the bytes once, so that what is pinned in their
//! place is at least what its packager had: a transfer that broke and a page that says "not found" are caught.

use std::fmt::Write as _;
use std::io::{self, Read};

use md5::Md5;
use sha1::{Digest as _, Sha1};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// One such checksum, as a recipe writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weak {
    /// In hexadecimal digits.
    Md5(String),
    /// In hexadecimal digits.
    Sha1(String),
    /// In decimal digits.
    Crc(String),
}

impl Weak {
    /// Reads `md5:…`, `sha1:…` or `cksum:…`, and the two that are known by their length.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, digits) = text.split_once(':').unwrap_or(("", text));
        let digits = digits.trim().to_ascii_lowercase();
        let hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (name.to_ascii_lowercase().as_str(), digits.len()) {
            ("md5" | "", 32) if hex => Some(Self::Md5(digits)),
            ("sha1" | "sha-1" | "", 40) if hex => Some(Self::Sha1(digits)),
            ("cksum", 1..=10) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(Self::Crc(digits)),
            _ => None,
        }
    }

    /// The first of `expected` that does not hold for what `reader` gives, with what it is instead.
    pub(super) fn check(expected: &[Self], reader: &mut impl Read) -> io::Result<Option<(Self, Self)>> {
        let mut sums = Sums::default();
        let mut piece = vec![0; PIECE];
        loop {
            let length = reader.read(&mut piece)?;
            if length == 0 {
                break;
            }
            sums.update(&piece[..length]);
        }
        Ok(sums.first_other(expected))
    }
}

/// All of them, of bytes that come one after another.
#[derive(Default)]
pub(super) struct Sums {
    md5: Md5,
    sha1: Sha1,
    crc: Crc,
}

impl Sums {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha1.update(bytes);
        self.crc.update(bytes);
    }

    /// The first of `expected` that does not hold, with what it is instead.
    pub(super) fn first_other(self, expected: &[Weak]) -> Option<(Weak, Weak)> {
        let (md5, sha1, crc) = (hex(&self.md5.finalize()), hex(&self.sha1.finalize()), self.crc.finish());
        expected.iter().find_map(|one| {
            let actual = match one {
                Weak::Md5(_) => Weak::Md5(md5.clone()),
                Weak::Sha1(_) => Weak::Sha1(sha1.clone()),
                Weak::Crc(_) => Weak::Crc(crc.to_string()),
            };
            (actual != *one).then(|| (one.clone(), actual))
        })
    }
}

impl std::fmt::Display for Weak {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Md5(digits) => write!(formatter, "md5:{digits}"),
            Self::Sha1(digits) => write!(formatter, "sha1:{digits}"),
            Self::Crc(digits) => write!(formatter, "cksum:{digits}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("because writing to a String cannot fail");
        text
    })
}

/// The CRC of POSIX `cksum`: the bytes, then their number.
#[derive(Default)]
struct Crc {
    crc: u32,
    length: u64,
}

impl Crc {
    fn push(&mut self, byte: u8) {
        self.crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            let carry = self.crc & 0x8000_0000 != 0;
            self.crc = (self.crc << 1) ^ if carry { 0x04c1_1db7 } else { 0 };
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.push(*byte);
        }
        self.length += bytes.len() as u64;
    }

    fn finish(mut self) -> u32 {
        // As many bytes of the number as it takes.
        let mut left = self.length;
        while left > 0 {
            self.push(left.to_le_bytes()[0]);
            left >>= 8;
        }
        !self.crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_usual_programs() {
        // As `md5sum`, `sha1sum` and `cksum` print them.
        let cases: [(&[u8], &str, &str, &str); 3] = [
            (b"", "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "4294967295"),
            (b"a", "0cc175b9c0f1b6a831c399e269772661", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8", "1220704766"),
            (b"123456789", "25f9e794323b453885f5181f1b624d0b", "f7c3bc1d808e04732adf679965ccc34ca7ae3441", "930766865"),
        ];
        for (bytes, md5, sha1, crc) in cases {
            let texts = [format!("md5:{md5}"), format!("sha1:{sha1}"), format!("cksum:{crc}"), md5.to_owned()];
            let expected: Vec<Weak> = texts.iter().map(|text| Weak::parse(text).unwrap()).collect();
            assert_eq!(Weak::check(&expected, &mut &bytes[..]).unwrap(), None, "{bytes:?}");
            let wrong = Weak::check(&expected, &mut &b"other"[..]).unwrap();
            assert_eq!(wrong.unwrap().0, expected[0]);
        }
        for text in ["SKIP", "", "sha256:00", "md5:00", "cksum:x", "cksum:12345678901"] {
            assert_eq!(Weak::parse(text), None, "{text}");
        }
    }
}
