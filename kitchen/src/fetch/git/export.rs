// kitchen/src/fetch/git/export.rs
//! A commit's tree into the store, without a working copy.
//!
//! Objects are read by name, and libgit2 checks each against its name. Names that are no names for a file system, or that
//! git itself would not check out (`.git` and its aliases), are refused. Files are 0644 or 0755; a submodule is its own tree when
//! submodules are wanted, else an empty directory, as in a plain clone. Attributes (`export-ignore`, line ends,
//! filters) are not applied: the tree is what the commit names, byte for byte.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{ObjectType, Odb};
use store::{Batch, Entry, Node};

use super::super::local::entry_of;
use super::{GitError, Id};
use crate::shown::shown;

/// How deep it may be.
const DEPTH: usize = 128;

/// The objects of one repository.
pub(super) struct Objects {
    odb: Odb<'static>,
}

/// A place where a tree names a commit of another repository.
pub(super) struct Gitlink {
    pub(super) path: Vec<u8>,
    pub(super) commit: Id,
}

impl Objects {
    /// Opens the directories that hold objects.
    pub(super) fn open(directory: &Path) -> Result<Self, GitError> {
        let odb = Odb::new()?;
        let path = directory.to_str().ok_or(GitError::BadUrl { reason: "its path is not UTF-8" })?;
        odb.add_disk_alternate(path)?;
        Ok(Self { odb })
    }

    pub(super) fn has(&self, id: Id) -> bool {
        self.odb.exists(id.oid())
    }

    /// Reads an object of a kind, no larger than `limit`.
    pub(super) fn read(&self, id: Id, kind: ObjectType, limit: u64) -> Result<Vec<u8>, GitError> {
        let oid = id.oid();
        let (size, found) = self.odb.read_header(oid).map_err(|_| GitError::NotFound { commit: id.to_string() })?;
        if found != kind {
            return Err(GitError::Malformed { what: "an object is of the wrong kind" });
        }
        if size as u64 > limit {
            return Err(GitError::TooLarge { limit_bytes: limit });
        }
        Ok(self.odb.read(oid)?.data().to_vec())
    }
}

/// A walk through the trees of a commit.
pub(super) struct Export<'a> {
    pub(super) batch: &'a Batch<'a>,
    pub(super) cancel: &'a AtomicBool,
    pub(super) max_bytes: u64,
    pub(super) max_entries: usize,
    pub(super) entries: Vec<Entry>,
    pub(super) size_bytes: u64,
}

impl Export<'_> {
    /// Adds a tree at `below` and returns the submodules in it.
    pub(super) fn tree(&mut self, objects: &Objects, tree: Id, below: &[u8]) -> Result<Vec<Gitlink>, GitError> {
        let mut links = Vec::new();
        self.level(objects, tree, below, &mut links, 0)?;
        Ok(links)
    }

    fn level(
        &mut self,
        objects: &Objects,
        tree: Id,
        below: &[u8],
        links: &mut Vec<Gitlink>,
        depth: usize,
    ) -> Result<(), GitError> {
        if depth > DEPTH {
            return Err(GitError::Malformed { what: "a tree is too deep" });
        }
        let content = objects.read(tree, ObjectType::Tree, 256 << 20)?;
        for (mode, name, id) in tree_entries(&content)? {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(GitError::Cancelled);
            }
            check_name(name)?;
            let mut path = below.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if self.entries.len() >= self.max_entries || path.len() > 4095 {
                return Err(GitError::Malformed { what: "a tree is too large" });
            }
            match mode {
                b"40000" | b"040000" => {
                    self.entries.push(entry_of(path.clone(), 0o755, Node::Directory));
                    self.level(objects, id, &path, links, depth + 1)?;
                }
                b"160000" => {
                    self.entries.push(entry_of(path.clone(), 0o755, Node::Directory));
                    links.push(Gitlink { path, commit: id });
                }
                b"120000" => {
                    let target = objects.read(id, ObjectType::Blob, 4095)?;
                    if target.is_empty() || target.contains(&0) {
                        return Err(GitError::Malformed { what: "a symlink without a sound target" });
                    }
                    self.entries.push(entry_of(path, 0o777, Node::Symlink { target }));
                }
                _ => {
                    let left = self.max_bytes.saturating_sub(self.size_bytes);
                    let content = objects.read(id, ObjectType::Blob, left)?;
                    let mode = if mode.len() == 6 && mode[3] & 1 == 1 { 0o755 } else { 0o644 };
                    let object = self.batch.add_bytes(&content, mode)?;
                    let size = content.len() as u64;
                    self.size_bytes += size;
                    self.entries.push(entry_of(path, mode, Node::File { object, size }));
                }
            }
        }
        Ok(())
    }
}

/// Mode, name and object.
pub(super) type TreeEntry<'t> = (&'t [u8], &'t [u8], Id);

/// Reads a tree object: mode, a space, name, a NUL byte and twenty bytes, again and again.
pub(super) fn tree_entries(mut content: &[u8]) -> Result<Vec<TreeEntry<'_>>, GitError> {
    let malformed = || GitError::Malformed { what: "a tree is malformed" };
    let mut entries = Vec::new();
    while !content.is_empty() {
        let space = content.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let (mode, rest) = (&content[..space], &content[space + 1..]);
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let id = rest.get(end + 1..end + 21).ok_or_else(malformed)?;
        let known = matches!(mode, b"40000" | b"040000" | b"120000" | b"160000")
            || (mode.len() == 6 && mode.starts_with(b"100"));
        if !known {
            return Err(malformed());
        }
        entries.push((mode, &rest[..end], Id(id.try_into().map_err(|_| malformed())?)));
        content = &rest[end + 21..];
    }
    Ok(entries)
}

/// Refuses what no honest tree names.
fn check_name(name: &[u8]) -> Result<(), GitError> {
    let is_bad = name.is_empty()
        || matches!(name, b"." | b"..")
        || name.contains(&b'/')
        || name.len() > 255
        || name.eq_ignore_ascii_case(b".git");
    if is_bad { Err(GitError::UnsafeName { name: shown(name) }) } else { Ok(()) }
}

/// The tree and the time of a commit object.
pub(super) fn commit_of(content: &[u8]) -> Result<(Id, i64), GitError> {
    let malformed = || GitError::Malformed { what: "the commit is malformed" };
    let mut tree = None;
    let mut seconds = None;
    for line in content.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()) {
        if let Some(id) = line.strip_prefix(b"tree ") {
            tree = tree.or(Id::parse(id));
        } else if let Some(committer) = line.strip_prefix(b"committer ") {
            // NAME <MAIL> SECONDS ZONE
            let after = committer.rsplit(|byte| *byte == b'>').next().unwrap_or_default();
            let text = std::str::from_utf8(after).map_err(|_| malformed())?;
            seconds = text.split_ascii_whitespace().next().and_then(|seconds| seconds.parse::<i64>().ok());
        }
    }
    Ok((tree.ok_or_else(malformed)?, seconds.ok_or_else(malformed)?))
}

/// What `.gitmodules` says: path and URL of each submodule.
pub(super) fn submodules(text: &[u8]) -> Vec<(Vec<u8>, String)> {
    let mut found = Vec::new();
    let (mut path, mut url) = (None, None);
    let text = String::from_utf8_lossy(text);
    for line in text.lines().chain(["[end]"]) {
        let line = line.trim();
        if line.starts_with('[') {
            if let (Some(path), Some(url)) = (path.take(), url.take()) {
                found.push((path, url));
            }
            (path, url) = (None, None);
        } else if let Some((key, value)) = line.split_once('=') {
            let value = unquote(value.trim());
            match key.trim().to_ascii_lowercase().as_str() {
                "path" => path = Some(value.trim_end_matches('/').as_bytes().to_vec()),
                "url" => url = Some(value),
                _ => {}
            }
        }
    }
    found
}

/// Takes quotes, escapes and a comment off a configuration value.
fn unquote(value: &str) -> String {
    let mut plain = String::new();
    let mut quoted = false;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' => plain.extend(characters.next()),
            '#' | ';' if !quoted => break,
            other => plain.push(other),
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_read() {
        let text = b"[submodule \"a\"]\n\tpath = lib/a\n\turl = ../a.git\n# no\n[submodule \"b \\\"c\"]\n url=\"https://x/b # c\"\n path = b ; comment\n[other]\nurl = x\n";
        assert_eq!(
            submodules(text),
            [(b"lib/a".to_vec(), "../a.git".to_owned()), (b"b".to_vec(), "https://x/b # c".to_owned())]
        );
    }

    #[test]
    fn trees_with_odd_content_are_refused() {
        for bad in [&b"100644 a\0short"[..], b"100644", b"777 a\0aaaaaaaaaaaaaaaaaaaa", b"100644 a"] {
            assert!(tree_entries(bad).is_err());
        }
        for name in [&b""[..], b".", b"..", b"a/b", b".git", b".GiT", &[b'n'; 256]] {
            assert!(check_name(name).is_err());
        }
        assert!(check_name(b".gitignore").is_ok());
    }
}
