// store/src/tree.rs
//! Trees: what a directory holds, as one value with one encoding and one id.
//!
//! A [`Tree`] is a list of [`Entry`]s sorted bytewise by path. It knows kind, mode, owner and group by name,
//! extended attributes and content digest of each, and no times: every materialised entry gets
//! [`EPOCH_SECS`](crate::EPOCH_SECS). The encoding below is canonical (equal trees have equal bytes, and
//! no other bytes decode to them), so that its BLAKE3 digest is the tree's id. Encoded trees are ordinary
//! objects of the store. Specification: docs/design/store.md, "Trees"; change it first.
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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use recipes::Digest;

/// First bytes of every encoded tree.
const MAGIC: &[u8] = b"conary-tree 1\n";

/// Longest path of an entry, symbolic link target included, in bytes: `PATH_MAX` less the final NUL.
pub const MAX_PATH_BYTES: usize = 4095;
/// Longest name between two slashes, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest owner or group name, in bytes.
pub const MAX_OWNER_BYTES: usize = 255;
/// Longest value of one extended attribute, in bytes.
pub const MAX_XATTR_BYTES: usize = 65_536;
/// Most entries of one tree.
pub const MAX_ENTRIES: usize = 8_000_000;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// A directory; what it holds are entries of their own.
    Directory,
    /// A regular file.
    File {
        /// BLAKE3 of the content, which is an object of the store.
        object: Digest,
        /// Length of the content.
        size: u64,
    },
    /// One more name of a file in the same tree.
    Hardlink {
        /// Path of the bytewise first name, whose entry is the [`Node::File`].
        first: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// Its text, which may be anything.
        target: Vec<u8>,
    },
}

/// One name in a tree and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Path relative to the tree's top: no leading or trailing `/`, no empty, `.` or `..` part.
    pub path: Vec<u8>,
    /// Permission bits, set-id and sticky included (`0o7777`); `0o777` for a symbolic link.
    pub mode: u32,
    /// Owner by name.
    pub owner: String,
    /// Group by name.
    pub group: String,
    /// Extended attributes by name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it is.
    pub node: Node,
}

impl Entry {
    /// Returns the path of the directory that holds this entry; `None` at the top.
    #[must_use]
    pub fn parent(&self) -> Option<&[u8]> {
        parent(&self.path)
    }

    /// Returns the last part of the path.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        let start = self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        &self.path[start..]
    }

    /// Says whether mode, owners and attributes are equal.
    fn same_metadata(&self, other: &Entry) -> bool {
        self.mode == other.mode && self.owner == other.owner && self.group == other.group && self.xattrs == other.xattrs
    }
}

/// A directory's content: entries sorted bytewise by path, each path once, each parent present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    entries: Vec<Entry>,
}

impl Tree {
    /// Makes a tree of entries in any order.
    ///
    /// # Errors
    /// [`TreeError`] naming the first entry that breaks a rule.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        let tree = Self { entries };
        tree.validate()?;
        Ok(tree)
    }

    /// Returns the entries, sorted bytewise by path.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the entries, sorted bytewise by path.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Finds the entry at a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        let found = self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path));
        found.ok().map(|index| &self.entries[index])
    }

    /// Returns the id: BLAKE3 of the encoding.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::blake3(*blake3::hash(&self.encode()).as_bytes())
    }

    /// Counts regular files, each hard-linked file once, and their bytes.
    #[must_use]
    pub fn content(&self) -> (u64, u64) {
        self.entries.iter().fold((0, 0), |(files, bytes), entry| match entry.node {
            Node::File { size, .. } => (files + 1, bytes + size),
            _ => (files, bytes),
        })
    }

    /// Returns the objects of the regular files, in path order, repeated where files are equal.
    pub fn objects(&self) -> impl Iterator<Item = Digest> + '_ {
        self.entries.iter().filter_map(|entry| match entry.node {
            Node::File { object, .. } => Some(object),
            _ => None,
        })
    }

    /// Keeps the entries that `predicate` picks, and the directories above them.
    ///
    /// A hard-linked file whose first name is left out lives on under the first name that is kept.
    #[must_use]
    pub fn subset(&self, predicate: impl Fn(&Entry) -> bool) -> Tree {
        let kept: Vec<&Entry> = self.entries.iter().filter(|entry| predicate(entry)).collect();
        let mut ancestors: BTreeSet<&[u8]> = BTreeSet::new();
        for entry in &kept {
            let mut path = entry.parent();
            while let Some(directory) = path {
                if !ancestors.insert(directory) {
                    break;
                }
                path = parent(directory);
            }
        }
        let kept_paths: BTreeSet<&[u8]> = kept.iter().map(|entry| entry.path.as_slice()).collect();
        // Old first name of a group to the new one; entries come in path order, so the first wins.
        let mut homes: HashMap<&[u8], &[u8]> = HashMap::new();
        let mut entries = Vec::with_capacity(kept.len() + ancestors.len());
        for entry in &self.entries {
            let path = entry.path.as_slice();
            if !kept_paths.contains(path) {
                if ancestors.contains(path) {
                    entries.push(entry.clone());
                }
                continue;
            }
            let mut entry = entry.clone();
            if let Node::Hardlink { first } = &entry.node
                && !kept_paths.contains(first.as_slice())
            {
                let Some(original) = self.get(first) else {
                    continue;
                };
                if let Some(home) = homes.get(original.path.as_slice()) {
                    entry.node = Node::Hardlink { first: home.to_vec() };
                } else {
                    homes.insert(&original.path, path);
                    entry.node = original.node.clone();
                }
            }
            entries.push(entry);
        }
        Tree { entries }
    }

    /// Lays trees over each other: the directories of all, every other path from one of them.
    ///
    /// A directory that several trees have keeps the metadata of the first. Equal entries are one.
    ///
    /// # Errors
    /// [`TreeError::Conflict`] when two trees have different things at one path, and any rule that
    /// the sum breaks (a file of one beneath a symbolic link of another).
    pub fn merge<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> Result<Tree, TreeError> {
        let mut merged: BTreeMap<&[u8], &Entry> = BTreeMap::new();
        for entry in trees.into_iter().flat_map(|tree| &tree.entries) {
            let present = *merged.entry(&entry.path).or_insert(entry);
            let directories = present.node == Node::Directory && entry.node == Node::Directory;
            if !directories && present != entry {
                return Err(TreeError::new(&entry.path, Rule::Conflict));
            }
        }
        Tree::new(merged.into_values().cloned().collect())
    }

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

    /// Checks every rule of a tree whose entries are sorted.
    fn validate(&self) -> Result<(), TreeError> {
        if self.entries.len() > MAX_ENTRIES {
            return Err(TreeError::TooManyEntries { count: self.entries.len() });
        }
        // The directories above the current entry, outermost first.
        let mut above: Vec<&[u8]> = Vec::new();
        let mut last: Option<&[u8]> = None;
        for entry in &self.entries {
            let fail = |rule| Err(TreeError::new(&entry.path, rule));
            if let Some(rule) = broken_rule(entry) {
                return fail(rule);
            }
            if last == Some(entry.path.as_slice()) {
                return fail(Rule::Twice);
            }
            last = Some(&entry.path);
            if let Some(parent) = entry.parent() {
                // `a.b` sorts between `a` and `a/c`, so a stack alone does not do.
                while above.last().is_some_and(|top| !is_beneath(&entry.path, top)) {
                    above.pop();
                }
                if above.last() != Some(&parent) && self.get(parent).is_none_or(|found| found.node != Node::Directory) {
                    return fail(Rule::Parent);
                }
            }
            match &entry.node {
                Node::Directory => above.push(&entry.path),
                Node::Hardlink { first } => match self.get(first) {
                    Some(file) if matches!(file.node, Node::File { .. }) && file.path < entry.path => {
                        if !file.same_metadata(entry) {
                            return fail(Rule::LinkMetadata);
                        }
                    }
                    _ => return fail(Rule::LinkTarget),
                },
                Node::File { .. } | Node::Symlink { .. } => {}
            }
        }
        Ok(())
    }
}

/// Returns the directory part of a path; `None` at the top.
fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash])
}

/// Says whether `path` lies below `directory`.
fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    path.len() > directory.len() && path.starts_with(directory) && path[directory.len()] == b'/'
}

/// Finds the first rule that an entry by itself breaks.
fn broken_rule(entry: &Entry) -> Option<Rule> {
    let bad_path = entry.path.len() > MAX_PATH_BYTES
        || entry.path.split(|byte| *byte == b'/').any(|name| {
            name.is_empty() || name == b"." || name == b".." || name.len() > MAX_NAME_BYTES || name.contains(&0)
        });
    let bad_owner = |name: &str| {
        name.is_empty()
            || name.len() > MAX_OWNER_BYTES
            || name.starts_with(['-', '+', '~'])
            || name.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
    };
    let bad_xattr = |name: &[u8], value: &[u8]| {
        name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(&0) || value.len() > MAX_XATTR_BYTES
    };
    if bad_path {
        return Some(Rule::Path);
    }
    if bad_owner(&entry.owner) || bad_owner(&entry.group) {
        return Some(Rule::Owner);
    }
    if entry.mode > 0o7777 {
        return Some(Rule::Mode);
    }
    if entry.xattrs.iter().any(|(name, value)| bad_xattr(name, value)) {
        return Some(Rule::Xattr);
    }
    match &entry.node {
        Node::File { object, .. } if object.algorithm() != recipes::Algorithm::Blake3 => Some(Rule::Object),
        Node::Symlink { .. } if entry.mode != 0o777 => Some(Rule::Mode),
        Node::Symlink { target } if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains(&0) => {
            Some(Rule::SymlinkTarget)
        }
        _ => None,
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

/// A rule that every entry of a tree keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Paths are relative, plain and of bounded length.
    Path,
    /// A path stands in a tree once.
    Twice,
    /// An encoded tree is sorted.
    Order,
    /// What holds an entry is a directory of the same tree.
    Parent,
    /// Modes are permission bits; a symbolic link's are `0o777`.
    Mode,
    /// Owners and groups are names.
    Owner,
    /// Extended attributes have a name and a bounded value.
    Xattr,
    /// Content is named by BLAKE3.
    Object,
    /// A symbolic link points somewhere, in at most [`MAX_PATH_BYTES`].
    SymlinkTarget,
    /// A hard link's first name is an earlier regular file.
    LinkTarget,
    /// All names of one file have the same metadata.
    LinkMetadata,
    /// Trees that are merged agree on what stands at a path.
    Conflict,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Rule::Path => "is not a plain relative path",
            Rule::Twice => "stands there twice",
            Rule::Order => "is out of order",
            Rule::Parent => "does not lie in a directory of the tree",
            Rule::Mode => "has a mode that its kind cannot have",
            Rule::Owner => "has an owner or group that is not a plain name",
            Rule::Xattr => "has an extended attribute that is empty or too long",
            Rule::Object => "names its content by something else than BLAKE3",
            Rule::SymlinkTarget => "is a symbolic link to an empty or overlong target",
            Rule::LinkTarget => "is a hard link to something that is not an earlier regular file",
            Rule::LinkMetadata => "is a hard link whose mode, owner or attributes differ",
            Rule::Conflict => "is different things in different trees",
        })
    }
}

/// Why entries or bytes are not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// An entry breaks a rule.
    #[error("entry `{}` {rule}", path.escape_ascii())]
    Entry {
        /// The entry's path.
        path: Vec<u8>,
        /// What it breaks.
        rule: Rule,
    },
    /// The bytes are not the canonical encoding of a tree.
    #[error("encoded tree is damaged at byte {offset}: expected {expected}")]
    Encoding {
        /// Where, from the start.
        offset: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("tree has {count} entries, more than {MAX_ENTRIES}")]
    TooManyEntries {
        /// How many there are.
        count: usize,
    },
}

impl TreeError {
    fn new(path: &[u8], rule: Rule) -> Self {
        Self::Entry { path: path.to_vec(), rule }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Entry { rule: Rule::Conflict, .. } => {
                Some("two packages own this path; leave one of them out".to_owned())
            }
            Self::Entry { .. } | Self::TooManyEntries { .. } => None,
            Self::Encoding { .. } => Some("run `conary store verify` to see what else is damaged".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, node: Node) -> Entry {
        let mode = match node {
            Node::Directory => 0o755,
            Node::Symlink { .. } => 0o777,
            _ => 0o644,
        };
        Entry {
            path: path.as_bytes().to_vec(),
            mode,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            xattrs: BTreeMap::new(),
            node,
        }
    }

    fn file(path: &str) -> Entry {
        let object = Digest::blake3(*blake3::hash(path.as_bytes()).as_bytes());
        entry(path, Node::File { object, size: path.len() as u64 })
    }

    fn directory(path: &str) -> Entry {
        entry(path, Node::Directory)
    }

    fn link(path: &str, first: &str) -> Entry {
        entry(path, Node::Hardlink { first: first.as_bytes().to_vec() })
    }

    fn symlink(path: &str, target: &str) -> Entry {
        entry(path, Node::Symlink { target: target.as_bytes().to_vec() })
    }

    fn sample() -> Tree {
        let mut special = file("usr/bin/ping");
        special.mode = 0o4755;
        special.owner = "games".to_owned();
        special.xattrs.insert(b"user.note".to_vec(), vec![0, 255]);
        special.xattrs.insert(b"security.capability".to_vec(), vec![1; 20]);
        let mut same = link("usr/bin/ping6", "usr/bin/ping");
        same.mode = special.mode;
        same.owner = special.owner.clone();
        same.xattrs = special.xattrs.clone();
        Tree::new(vec![
            directory("usr"),
            directory("usr/bin"),
            directory("usr/bin.d"),
            special,
            same,
            symlink("bin", "usr/bin"),
            file("usr/bin.d/\u{e9}\n"),
            directory("empty"),
        ])
        .unwrap()
    }

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

    #[test]
    fn rules_are_kept() {
        let long = "n".repeat(256);
        let deep = vec!["n".repeat(200); 21].join("/");
        let cases: Vec<(Vec<Entry>, Rule)> = vec![
            (vec![file("")], Rule::Path),
            (vec![file("/a")], Rule::Path),
            (vec![file("a/")], Rule::Path),
            (vec![directory("a"), file("a//b")], Rule::Path),
            (vec![file("./a")], Rule::Path),
            (vec![directory("a"), file("a/../b")], Rule::Path),
            (vec![file("a\0b")], Rule::Path),
            (vec![file(&long)], Rule::Path),
            (vec![file(&deep)], Rule::Path),
            (vec![file("a"), file("a")], Rule::Twice),
            (vec![file("a"), file("a/b")], Rule::Parent),
            (vec![symlink("a", "/etc"), file("a/b")], Rule::Parent),
            (vec![file("a/b")], Rule::Parent),
            (vec![directory("a"), file("a/b/c")], Rule::Parent),
            (vec![link("b", "a")], Rule::LinkTarget),
            (vec![link("a", "b"), file("b")], Rule::LinkTarget),
            (vec![symlink("a", "b"), link("b", "a")], Rule::LinkTarget),
            (vec![file("a"), link("b", "a"), link("c", "b")], Rule::LinkTarget),
            (vec![file("a"), Entry { mode: 0o600, ..link("b", "a") }], Rule::LinkMetadata),
            (vec![Entry { mode: 0o10644, ..file("a") }], Rule::Mode),
            (vec![Entry { mode: 0o644, ..symlink("a", "b") }], Rule::Mode),
            (vec![symlink("a", "")], Rule::SymlinkTarget),
            (vec![symlink("a", "b\0c")], Rule::SymlinkTarget),
            (vec![Entry { owner: String::new(), ..file("a") }], Rule::Owner),
            (vec![Entry { owner: "a/b".to_owned(), ..file("a") }], Rule::Owner),
            (vec![Entry { group: "a:b".to_owned(), ..file("a") }], Rule::Owner),
        ];
        for (entries, rule) in cases {
            let path = entries.last().map(|entry| entry.path.clone());
            match Tree::new(entries) {
                Err(TreeError::Entry { rule: found, .. }) => assert_eq!(found, rule, "{path:?}"),
                other => panic!("{path:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_name_that_sorts_between_a_directory_and_its_content_is_no_obstacle() {
        let tree = Tree::new(vec![
            directory("a"),
            file("a.b"),
            directory("a-"),
            file("a/c"),
            directory("a/d"),
            file("a/d.e"),
            file("a/d/f"),
        ]);
        assert!(tree.is_ok());
    }

    #[test]
    fn subset_keeps_ancestors_and_rehomes_links() {
        let tree = Tree::new(vec![
            directory("a"),
            directory("a/b"),
            file("a/b/one"),
            link("a/b/two", "a/b/one"),
            directory("c"),
            link("c/four", "a/b/one"),
            link("c/three", "a/b/one"),
            file("d"),
        ])
        .unwrap();
        let part = tree.subset(|entry| entry.path.starts_with(b"c/"));
        let original = tree.get(b"a/b/one").unwrap().node.clone();
        assert_eq!(part.entries().len(), 3);
        assert_eq!(part.get(b"c/four").unwrap().node, original);
        let Node::Hardlink { first } = &part.get(b"c/three").unwrap().node else { panic!() };
        assert_eq!(first, b"c/four");
        assert!(Tree::new(part.into_entries()).is_ok());
        let whole = tree.subset(|_| true);
        assert_eq!(whole, tree);
        assert!(tree.subset(|_| false).entries().is_empty());
        let deep = tree.subset(|entry| entry.path == b"a/b/two");
        assert_eq!(deep.get(b"a/b/two").unwrap().node, original);
        assert!(deep.get(b"a/b").is_some() && deep.get(b"a").is_some());
    }

    #[test]
    fn merge_shares_directories_and_refuses_conflicts() {
        let left = Tree::new(vec![directory("usr"), file("usr/a")]).unwrap();
        let mut other = directory("usr");
        other.mode = 0o700;
        let right = Tree::new(vec![other.clone(), file("usr/a"), file("usr/b")]).unwrap();
        let merged = Tree::merge([&left, &right]).unwrap();
        assert_eq!(merged.entries().len(), 3);
        assert_eq!(merged.get(b"usr").unwrap().mode, 0o755);
        let clash = Tree::new(vec![other, symlink("usr/a", "b")]).unwrap();
        let error = Tree::merge([&left, &clash]).unwrap_err();
        assert!(matches!(error, TreeError::Entry { rule: Rule::Conflict, .. }));
        assert!(error.hint().is_some());
        let above = Tree::new(vec![symlink("usr", "x")]).unwrap();
        assert!(Tree::merge([&above, &left]).is_err());
    }
}
