// store/src/tree/encoding.rs
//! The one encoding of a tree. Specification: docs/design/store.md, "Trees"; change it first.
//!
//! ```text
//! tree    = "conary-tree 1\n" number(entries) entry*
//! entry   = kind bytes(path) number(mode) bytes(owner) bytes(group)
//!           number(xattrs) (bytes(name) bytes(value))* body
//! kind    = "d" | "f" | "h" | "l"
//! body    = "d": nothing        "f": 32 bytes of BLAKE3, number(size)
//!           "h": bytes(first)   "l": bytes(target)
//! bytes   = number(length) that many bytes
//! number  = unsigned LEB128 in its shortest form, at most 64 bits
//! ```

use std::collections::BTreeMap;

use recipes::Digest;

use super::{Entry, Node, Rule, Tree, TreeError};

/// First bytes of every encoded tree.
const MAGIC: &[u8] = b"conary-tree 1\n";

impl Tree {
    /// Encodes the tree; see the module for the format.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 112);
        out.extend_from_slice(MAGIC);
        put_number(&mut out, self.entries.len() as u64);
        for entry in &self.entries {
            out.push(match entry.node {
                Node::Directory => b'd',
                Node::File { .. } => b'f',
                Node::Hardlink { .. } => b'h',
                Node::Symlink { .. } => b'l',
            });
            put_bytes(&mut out, &entry.path);
            put_number(&mut out, u64::from(entry.mode));
            put_bytes(&mut out, entry.owner.as_bytes());
            put_bytes(&mut out, entry.group.as_bytes());
            put_number(&mut out, entry.xattrs.len() as u64);
            for (name, value) in &entry.xattrs {
                put_bytes(&mut out, name);
                put_bytes(&mut out, value);
            }
            match &entry.node {
                Node::Directory => {}
                Node::File { object, size } => {
                    out.extend_from_slice(object.as_bytes());
                    put_number(&mut out, *size);
                }
                Node::Hardlink { first } => put_bytes(&mut out, first),
                Node::Symlink { target } => put_bytes(&mut out, target),
            }
        }
        out
    }

    /// Decodes an encoded tree, refusing every encoding but the canonical one.
    ///
    /// Memory is bounded by a small multiple of the input's length.
    ///
    /// # Errors
    /// [`TreeError::Encoding`] with the offset where it goes wrong, or the rule that the tree breaks.
    pub fn decode(bytes: &[u8]) -> Result<Tree, TreeError> {
        let mut input = Input { bytes, offset: 0 };
        if input.take(MAGIC.len())? != MAGIC {
            return Err(TreeError::Encoding { offset: 0, expected: "a tree of format 1" });
        }
        let count = input.length()?;
        let mut entries = Vec::with_capacity(count.min(bytes.len() / 8));
        for _ in 0..count {
            let entry = input.entry()?;
            if entries.last().is_some_and(|last: &Entry| last.path >= entry.path) {
                return Err(TreeError::new(&entry.path, Rule::Order));
            }
            entries.push(entry);
        }
        if input.offset != bytes.len() {
            return Err(input.error("the end"));
        }
        let tree = Tree { entries };
        tree.validate()?;
        Ok(tree)
    }
}

/// Appends an unsigned LEB128 number.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Appends bytes behind their length.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes being decoded.
struct Input<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    fn error(&self, expected: &'static str) -> TreeError {
        TreeError::Encoding { offset: self.offset, expected }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TreeError> {
        let rest = &self.bytes[self.offset..];
        let taken = rest.get(..length).ok_or_else(|| self.error("more bytes"))?;
        self.offset += length;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, TreeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(self.error("a number in its shortest form"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.error("a number of at most 64 bits"))
    }

    fn length(&mut self) -> Result<usize, TreeError> {
        usize::try_from(self.number()?).map_err(|_| self.error("a length"))
    }

    fn counted(&mut self) -> Result<&'a [u8], TreeError> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, TreeError> {
        let bytes = self.counted()?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.error("an owner in UTF-8"))
    }

    fn entry(&mut self) -> Result<Entry, TreeError> {
        let kind = self.take(1)?[0];
        let path = self.counted()?.to_vec();
        let mode = u32::try_from(self.number()?).map_err(|_| self.error("a mode"))?;
        let owner = self.text()?;
        let group = self.text()?;
        let mut xattrs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for _ in 0..self.length()? {
            let name = self.counted()?.to_vec();
            let value = self.counted()?.to_vec();
            if xattrs.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(self.error("attributes in order"));
            }
            xattrs.insert(name, value);
        }
        let node = match kind {
            b'd' => Node::Directory,
            b'f' => {
                let mut object = [0; 32];
                object.copy_from_slice(self.take(32)?);
                Node::File { object: Digest::blake3(object), size: self.number()? }
            }
            b'h' => Node::Hardlink { first: self.counted()?.to_vec() },
            b'l' => Node::Symlink { target: self.counted()?.to_vec() },
            _ => return Err(self.error("a kind of entry")),
        };
        Ok(Entry { path, mode, owner, group, xattrs, node })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    #[test]
    fn encoding_round_trips_and_is_canonical() {
        let tree = sample();
        let bytes = tree.encode();
        assert_eq!(Tree::decode(&bytes).unwrap(), tree);
        assert_eq!(Tree::decode(&Tree::default().encode()).unwrap(), Tree::default());
        let mut reversed = tree.entries().to_vec();
        reversed.reverse();
        assert_eq!(Tree::new(reversed).unwrap().id(), tree.id());
    }

    #[test]
    fn encoding_of_one_file_is_as_specified() {
        let bytes = Tree::new(vec![file("a")]).unwrap().encode();
        let mut expected = b"conary-tree 1\n\x01f\x01a\xa4\x03\x04root\x04root\x00".to_vec();
        expected.extend_from_slice(blake3::hash(b"a").as_bytes());
        expected.push(1);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn no_damaged_encoding_decodes_to_the_same_tree() {
        let tree = sample();
        let bytes = tree.encode();
        for length in 0..bytes.len() {
            assert!(Tree::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        for offset in 0..bytes.len() {
            for flip in [1_u8, 0x20, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[offset] ^= flip;
                if let Ok(other) = Tree::decode(&damaged) {
                    assert_ne!(other, tree, "byte {offset}");
                    assert_eq!(other.encode(), damaged, "byte {offset}");
                }
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Tree::decode(&longer).is_err());
    }

    #[test]
    fn overlong_numbers_and_huge_counts_are_refused() {
        let header = b"conary-tree 1\n";
        for tail in [
            &b"\x80\x00"[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(Tree::decode(&[header, tail].concat()).is_err(), "{tail:?}");
        }
    }
}
