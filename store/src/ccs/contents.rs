// store/src/ccs/contents.rs
//! What manifest and trees of a package promise together, and the objects that follow from them.
//!
//! Writer and reader both stand on [`objects`]: a package that it refuses is neither written nor read.
//! Rules: docs/design/ccs.md, "Trees".

use std::collections::BTreeMap;

use recipes::Digest;

use super::{CcsError, limits};
use crate::manifest::Manifest;
use crate::tree::{Entry, Node, Tree};

/// The digest of no bytes, whose object needs no place in a payload.
const EMPTY: [u8; 32] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b, 0xcb, 0x25,
    0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

/// One distinct content of a package.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    /// Its digest.
    pub digest: Digest,
    /// Its length, at least 1.
    pub size_bytes: u64,
    /// The bytewise first path that holds it.
    pub path: &'a [u8],
    /// Modes of the entries that an installed file can be a link for, ascending and each once; never empty.
    pub modes: Vec<u32>,
}

/// Checks manifest and trees against each other and the limits, and returns the objects in order of their digests.
///
/// That the trees are those that the manifest names is the caller's to check.
///
/// # Errors
/// [`CcsError`] naming the first promise that is not kept.
pub fn objects<'a>(manifest: &Manifest, trees: &'a BTreeMap<String, Tree>) -> Result<Vec<Object<'a>>, CcsError> {
    limits::COMPONENTS.check(manifest.components.len() as u64)?;
    let entries = trees.values().map(|tree| tree.entries().len() as u64).sum();
    limits::ENTRIES.check(entries)?;
    for (name, component) in &manifest.components {
        let Some(tree) = trees.get(name) else {
            return Err(CcsError::Component { component: name.clone(), field: "tree" });
        };
        limits::check_tree(tree)?;
        let files = tree.entries().iter().filter(|entry| entry.node != Node::Directory).count();
        let size_bytes = content_bytes(tree)?;
        for (field, said, actual) in
            [("files", component.files, files as u64), ("size_bytes", component.size_bytes, size_bytes)]
        {
            if said != actual {
                return Err(CcsError::Component { component: name.clone(), field });
            }
        }
    }
    if trees.len() > 1 {
        Tree::merge(trees.values()).map_err(CcsError::Conflict)?;
    }
    distinct(trees.values())
}

/// Adds up the bytes of a tree's regular files.
fn content_bytes(tree: &Tree) -> Result<u64, CcsError> {
    tree.entries().iter().try_fold(0_u64, |sum, entry| match &entry.node {
        Node::File { object, size } => sum.checked_add(*size).ok_or(CcsError::ObjectSize { object: *object }),
        _ => Ok(sum),
    })
}

/// Returns the distinct objects of these trees, without the empty one, in order of their digests.
///
/// # Errors
/// [`CcsError::ObjectSize`] when two entries give one content two sizes.
pub fn distinct<'a>(trees: impl Iterator<Item = &'a Tree>) -> Result<Vec<Object<'a>>, CcsError> {
    let mut files: Vec<(Digest, u64, &Entry)> = Vec::new();
    for entry in trees.flat_map(Tree::entries) {
        let Node::File { object, size } = entry.node else {
            continue;
        };
        if (size == 0) != (object.as_bytes() == EMPTY) {
            return Err(CcsError::ObjectSize { object });
        }
        if size > 0 {
            files.push((object, size, entry));
        }
    }
    files.sort_unstable_by(|left, right| left.0.cmp(&right.0).then_with(|| left.2.path.cmp(&right.2.path)));
    let groups = files.chunk_by(|left, right| left.0 == right.0);
    groups.map(object).collect()
}

/// Makes one object of the entries that hold it, sorted by path.
fn object<'a>(entries: &[(Digest, u64, &'a Entry)]) -> Result<Object<'a>, CcsError> {
    let (digest, size_bytes, first) = entries[0];
    if entries.iter().any(|(_, size, _)| *size != size_bytes) {
        return Err(CcsError::ObjectSize { object: digest });
    }
    // What changes identity or has attributes is installed as a file of its own.
    let linked = entries.iter().filter(|(_, _, entry)| entry.mode & 0o7000 == 0 && entry.xattrs.is_empty());
    let mut modes: Vec<u32> = linked.map(|(_, _, entry)| entry.mode).collect();
    modes.sort_unstable();
    modes.dedup();
    if modes.is_empty() {
        modes.push(first.mode);
    }
    Ok(Object { digest, size_bytes, path: &first.path, modes })
}

/// Returns the digest of no bytes.
pub fn empty() -> Digest {
    Digest::blake3(EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Component;

    fn file(path: &str, content: &[u8], mode: u32) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            mode,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            xattrs: BTreeMap::new(),
            node: Node::File { object: Digest::blake3(*blake3::hash(content).as_bytes()), size: content.len() as u64 },
        }
    }

    fn directory(path: &str) -> Entry {
        Entry { node: Node::Directory, ..file(path, b"", 0o755) }
    }

    fn package(parts: &[(&str, Vec<Entry>)]) -> (Manifest, BTreeMap<String, Tree>) {
        let mut manifest = crate::manifest::tests::sample("hello", "1.0-1");
        let mut trees = BTreeMap::new();
        for (name, entries) in parts {
            let tree = Tree::new(entries.clone()).unwrap();
            let files = entries.iter().filter(|entry| entry.node != Node::Directory).count();
            let size_bytes = entries.iter().fold(0_u64, |sum, entry| match entry.node {
                Node::File { size, .. } => sum.wrapping_add(size),
                _ => sum,
            });
            let component =
                Component { tree: tree.id(), files: files as u64, size_bytes, provides: vec![], requires: vec![] };
            manifest.components.insert((*name).to_owned(), component);
            trees.insert((*name).to_owned(), tree);
        }
        (manifest, trees)
    }

    #[test]
    fn the_empty_digest_is_that_of_no_bytes() {
        assert_eq!(empty(), Digest::blake3(*blake3::hash(b"").as_bytes()));
    }

    #[test]
    fn objects_are_distinct_and_know_their_first_path_and_modes() {
        let (manifest, trees) = package(&[
            ("lib", vec![file("b", b"same", 0o755), file("e", b"", 0o644)]),
            ("runtime", vec![file("a", b"same", 0o644), file("c", b"other", 0o4755), file("d", b"same", 0o2755)]),
        ]);
        let objects = objects(&manifest, &trees).unwrap();
        assert_eq!(objects.len(), 2);
        assert!(objects[0].digest < objects[1].digest);
        let same = objects.iter().find(|object| object.size_bytes == 4).unwrap();
        assert_eq!((same.path, &same.modes[..]), (&b"a"[..], &[0o644, 0o755][..]));
    }

    type Parts = Vec<(&'static str, Vec<Entry>)>;

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let good = vec![directory("d"), file("d/a", b"one", 0o644)];
        let lying = |size: u64, content: &[u8]| {
            let mut entry = file("z", content, 0o644);
            if let Node::File { size: said, .. } = &mut entry.node {
                *said = size;
            }
            entry
        };
        let cases: Vec<(Parts, &str)> = vec![
            (vec![("lib", good.clone()), ("run", vec![file("d", b"x", 0o644)])], "contradict"),
            (vec![("lib", good.clone()), ("run", vec![directory("d"), file("d/a", b"two", 0o644)])], "contradict"),
            (vec![("lib", [good.clone(), vec![lying(4, b"one")]].concat())], "a size"),
            (vec![("lib", vec![lying(0, b"one")])], "a size"),
            (vec![("lib", vec![lying(1, b"")])], "a size"),
            (vec![("lib", vec![lying(u64::MAX, b"one"), file("a", b"two", 0o644)])], "a size"),
        ];
        for (parts, message) in cases {
            let (manifest, trees) = package(&parts);
            let error = objects(&manifest, &trees).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let (mut manifest, trees) = package(&[("lib", good.clone())]);
        manifest.components.get_mut("lib").unwrap().files = 2;
        assert!(objects(&manifest, &trees).unwrap_err().to_string().contains("`files`"));
        manifest.components.get_mut("lib").unwrap().files = 1;
        manifest.components.get_mut("lib").unwrap().size_bytes = 4;
        assert!(objects(&manifest, &trees).unwrap_err().to_string().contains("`size_bytes`"));
        assert!(objects(&manifest, &BTreeMap::new()).is_err());
        let shared = vec![directory("d")];
        let (manifest, trees) = package(&[("lib", good), ("run", shared)]);
        assert!(objects(&manifest, &trees).is_ok());
    }
}
