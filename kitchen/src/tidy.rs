// kitchen/src/tidy.rs
//! What `build.options` take out of an output and change in it, stripping aside.
//!
//! The rules, their places and their order are makepkg's, whose names differ in two cases:
//!
//! | option | makepkg | rule |
//! |---|---|---|
//! | `!docs` | `!docs` | `usr{,/local}{,/share}/{doc,gtk-doc}` and `opt/*/{doc,gtk-doc}` go, with all that is in them |
//! | `!emptydirs` | `!emptydirs` | directories with nothing in them go, from the deepest up |
//! | `!libtool` | `!libtool` | `*.la` goes |
//! | `purge` | `purge` | `usr/info/dir`, `usr/share/info/dir`, `.packlist` and `*.pod` go |
//! | `!staticlibs` | `!staticlibs` | `NAME.a` goes where `NAME.so` lies beside it |
//! | `compress-man` | `zipman` | what lies in `usr{,/local}{,/share}/{man,info}` and `opt/*/{man,info}` is compressed |
//!
//! A link to a compressed page gets the page's new name, and one in another directory becomes absolute. A link that is
//! absolute already is left alone, as makepkg does, which looks for its target on the machine that builds.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use recipes::{Policies, Policy};
use store::{Batch, Entry, Node, StoreError, Tree, TreeError};

/// Links that are followed before one is taken for a circle, as the kernel does.
const LINKS: usize = 40;

/// What gzip writes as the system that it ran on: Unix.
const UNIX: u8 = 3;

/// An output could not be tidied.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// Content could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What came out is no tree.
    #[error("the output cannot be tidied")]
    Tree(#[from] TreeError),
}

/// Applies `policies` to one output.
///
/// # Errors
/// [`TidyError`] if content cannot be read or written, or a name grows too long.
pub fn tidy(mut tree: Tree, policies: &Policies, batch: &Batch<'_>) -> Result<Tree, TidyError> {
    if !policies.has(Policy::Docs) {
        tree = without(&tree, |_, path| is_in(path, &["doc", "gtk-doc"]));
    }
    if !policies.has(Policy::EmptyDirs) {
        tree = tree.subset(|entry| entry.node != Node::Directory);
    }
    if !policies.has(Policy::Libtool) {
        tree = without(&tree, |entry, path| entry.node != Node::Directory && path.ends_with(b".la"));
    }
    if policies.has(Policy::Purge) {
        tree = without(&tree, |entry, path| entry.node != Node::Directory && is_purged(path));
    }
    if !policies.has(Policy::StaticLibs) {
        tree = without(&tree, |entry, path| entry.node != Node::Directory && has_shared_library(&tree, path));
    }
    if policies.has(Policy::CompressMan) {
        tree = compress(&tree, batch)?;
    }
    Ok(tree)
}

/// The tree without what `goes` picks.
fn without(tree: &Tree, goes: impl Fn(&Entry, &[u8]) -> bool) -> Tree {
    tree.subset(|entry| !goes(entry, &entry.path))
}

/// True for a path at or below one of the directories `names` below the usual places.
fn is_in(path: &[u8], names: &[&str]) -> bool {
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    let is_name = |part: Option<&[u8]>| part.is_some_and(|part| names.iter().any(|name| name.as_bytes() == part));
    match parts.next() {
        Some(b"usr") => {
            parts.next_if_eq(b"local");
            parts.next_if_eq(b"share");
            is_name(parts.next())
        }
        // As a shell's `*`, which takes no name that begins with a point.
        Some(b"opt") => parts.next().is_some_and(|part| !part.starts_with(b".")) && is_name(parts.next()),
        _ => false,
    }
}

/// True for files that every package of a kind would bring.
fn is_purged(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    matches!(path, b"usr/info/dir" | b"usr/share/info/dir") || name == b".packlist" || name.ends_with(b".pod")
}

/// True for a static library with a shared one of the same name beside it.
fn has_shared_library(tree: &Tree, path: &[u8]) -> bool {
    let Some(stem) = path.strip_suffix(b".a") else { return false };
    tree.get(&[stem, b".so"].concat()).is_some_and(|entry| entry.node != Node::Directory)
}

/// Compresses manual and info pages and renames the links to them.
fn compress(tree: &Tree, batch: &Batch<'_>) -> Result<Tree, TidyError> {
    let is_page = |entry: &Entry| is_in(&entry.path, &["man", "info"]);
    let is_packed = |path: &[u8]| path.ends_with(b".gz") || path.ends_with(b".bz2");
    let is_file = |entry: &Entry| matches!(entry.node, Node::File { .. } | Node::Hardlink { .. });
    // Each page that is compressed, with the first name of its file among them.
    let mut pages: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    let mut firsts: HashMap<&[u8], &[u8]> = HashMap::new();
    for entry in tree.entries().iter().filter(|entry| is_page(entry) && is_file(entry) && !is_packed(&entry.path)) {
        let first = *firsts.entry(file_of(entry)).or_insert(&entry.path);
        pages.insert(&entry.path, first);
    }
    let mut made: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
    let mut packed: HashMap<&[u8], Entry> = HashMap::new();
    // Whatever is not touched stands there first: what is compressed takes the place of a page of its name.
    for entry in tree.entries().iter().filter(|entry| !pages.contains_key(entry.path.as_slice())) {
        let page = match &entry.node {
            Node::Symlink { .. } if is_page(entry) => resolve(tree, &entry.path).map(file_of),
            _ => None,
        };
        let first = page.and_then(|page| firsts.get(page).copied());
        let mut entry = entry.clone();
        if let Some(first) = first {
            let near = parent(first) == parent(&entry.path);
            let target = if near {
                first[parent(first).map_or(0, |above| above.len() + 1)..].to_vec()
            } else {
                [b"/", first].concat()
            };
            entry.path.extend_from_slice(b".gz");
            entry.node = Node::Symlink { target: [&target[..], b".gz"].concat() };
        }
        made.insert(entry.path.clone(), entry);
    }
    // A file with names outside of the manual keeps its content there.
    for (path, first) in &pages {
        let Some(entry) = tree.get(path) else { continue };
        let mut entry = entry.clone();
        entry.path = [*path, b".gz"].concat();
        if path == first {
            let Some(Entry { node: Node::File { object, .. }, .. }) =
                tree.get(file_of(tree.get(path).unwrap_or(&entry)))
            else {
                continue;
            };
            let bytes = gzip(&batch.read(object)?);
            entry.node = Node::File { object: batch.add_bytes(&bytes, entry.mode)?, size: bytes.len() as u64 };
            packed.insert(first, entry.clone());
        } else if let Some(whole) = packed.get(first) {
            // makepkg sets this mode on the one inode that all the names share.
            let mut whole = whole.clone();
            whole.mode = 0o644;
            packed.insert(first, whole.clone());
            entry.mode = 0o644;
            entry.node = Node::Hardlink { first: whole.path.clone() };
            made.insert(whole.path.clone(), whole);
        }
        made.insert(entry.path.clone(), entry);
    }
    relink(made, tree, &pages)
}

/// The first name of the file that an entry is a name of.
fn file_of(entry: &Entry) -> &[u8] {
    match &entry.node {
        Node::Hardlink { first } => first,
        _ => &entry.path,
    }
}

/// Makes a tree of entries some of which are links to names that are gone, because their file was compressed.
fn relink(made: BTreeMap<Vec<u8>, Entry>, tree: &Tree, pages: &BTreeMap<&[u8], &[u8]>) -> Result<Tree, TidyError> {
    let mut homes: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut entries = Vec::with_capacity(made.len());
    for (path, mut entry) in made {
        if let Node::Hardlink { first } = &entry.node
            && pages.contains_key(first.as_slice())
            && let Some(Entry { node: node @ Node::File { .. }, .. }) = tree.get(first)
        {
            if let Some(home) = homes.get(first) {
                entry.node = Node::Hardlink { first: home.clone() };
            } else {
                homes.insert(first.clone(), path);
                entry.node = node.clone();
            }
        }
        entries.push(entry);
    }
    Ok(Tree::new(entries)?)
}

/// The directory of a path.
fn parent(path: &[u8]) -> Option<&[u8]> {
    path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash])
}

/// Follows a relative link inside the tree to the file that it names in the end.
fn resolve<'t>(tree: &'t Tree, path: &[u8]) -> Option<&'t Entry> {
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut left: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match &part[..] {
            b"" | b"." => continue,
            b".." => {
                done.pop()?;
                continue;
            }
            _ => done.push(part),
        }
        let entry = tree.get(&done.join(&b'/'))?;
        match &entry.node {
            Node::Symlink { target } if !target.starts_with(b"/") => {
                links += 1;
                if links > LINKS {
                    return None;
                }
                done.pop();
                left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
            }
            Node::Symlink { .. } => return None,
            Node::Directory => {}
            Node::File { .. } | Node::Hardlink { .. } => return left.is_empty().then_some(entry),
        }
    }
    None
}

/// Compresses as `gzip -9 -n` does: without name and time.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzBuilder::new().mtime(0).operating_system(UNIX).write(Vec::new(), Compression::best());
    writer.write_all(bytes).and_then(|()| writer.finish()).expect("because a writer into memory does not fail")
}

#[cfg(test)]
pub(crate) mod testing {
    //! Trees in one line an entry.

    use recipes::Digest;

    use super::*;

    /// A tree of files, `path/` for an empty directory, `path@target` for a symbolic link, `path=first` for a hard
    /// link. The content of a file is its path.
    pub(crate) fn tree(lines: &[&str]) -> Tree {
        let mut entries: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
        let put = |entries: &mut BTreeMap<Vec<u8>, Entry>, path: &str, node: Node| {
            let mode = match node {
                Node::Directory => 0o755,
                Node::Symlink { .. } => 0o777,
                _ => 0o644,
            };
            let (owner, group) = ("root".to_owned(), "root".to_owned());
            let path = path.as_bytes().to_vec();
            entries.insert(path.clone(), Entry { path, mode, owner, group, xattrs: BTreeMap::new(), node });
        };
        for line in lines {
            let path = line.split(['@', '=']).next().unwrap_or(line).trim_end_matches('/');
            for (at, _) in path.match_indices('/') {
                put(&mut entries, &path[..at], Node::Directory);
            }
            let node = if let Some((_, target)) = line.split_once('@') {
                Node::Symlink { target: target.as_bytes().to_vec() }
            } else if let Some((_, first)) = line.split_once('=') {
                Node::Hardlink { first: first.as_bytes().to_vec() }
            } else if line.ends_with('/') {
                Node::Directory
            } else {
                let object = Digest::blake3(*blake3::hash(path.as_bytes()).as_bytes());
                Node::File { object, size: path.len() as u64 }
            };
            put(&mut entries, path, node);
        }
        Tree::new(entries.into_values().collect()).unwrap()
    }

    /// The paths of a tree, those of directories with a `/` at their end.
    pub(crate) fn paths(tree: &Tree) -> Vec<String> {
        let shown = |entry: &Entry| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            if entry.node == Node::Directory { path + "/" } else { path }
        };
        tree.entries().iter().map(shown).collect()
    }
}
