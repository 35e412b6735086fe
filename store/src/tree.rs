// store/src/tree.rs
//! Trees: what a directory holds, as one value with one encoding and one id.
//!
//! A [`Tree`] is a list of [`Entry`]s sorted bytewise by path. It knows kind, mode, owner and group by name,
//! extended attributes and content digest of each, and no times: every materialised entry gets
//! [`EPOCH_SECS`](crate::EPOCH_SECS). Its encoding is canonical (equal trees have equal bytes, and
//! no other bytes decode to them), so that its BLAKE3 digest is the tree's id. Encoded trees are ordinary
//! objects of the store. Specification: docs/design/store.md, "Trees"; change it first.

mod encoding;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use recipes::Digest;

pub use rules::{Rule, TreeError};

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
}

/// Returns the directory part of a path; `None` at the top.
fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn entry(path: &str, node: Node) -> Entry {
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

    pub(super) fn file(path: &str) -> Entry {
        let object = Digest::blake3(*blake3::hash(path.as_bytes()).as_bytes());
        entry(path, Node::File { object, size: path.len() as u64 })
    }

    pub(super) fn directory(path: &str) -> Entry {
        entry(path, Node::Directory)
    }

    pub(super) fn link(path: &str, first: &str) -> Entry {
        entry(path, Node::Hardlink { first: first.as_bytes().to_vec() })
    }

    pub(super) fn symlink(path: &str, target: &str) -> Entry {
        entry(path, Node::Symlink { target: target.as_bytes().to_vec() })
    }

    pub(super) fn sample() -> Tree {
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
