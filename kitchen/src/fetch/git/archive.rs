// kitchen/src/fetch/git/archive.rs
//! The tar that `git archive` makes of a commit, for the checksums that packagers take of it.
//!
//! makepkg's checksum of a git source is the one of what `git -c core.abbrev=no archive --format tar COMMIT` prints. Nothing is kept of it here: the
//! bytes go into digests. They begin with a header that names the commit; then come the entries of the tree in its order, a directory before the
//! first of its entries that is not left out. Attributes count as in git (`attributes.rs`): `export-ignore`, `export-subst`, `eol` and `ident`. What an
//! archive cannot be known of, because its text depends on more than the commit (`$Format:%d$`), ends it with the path.

use std::sync::atomic::{AtomicBool, Ordering};

use git2::ObjectType;

use super::attributes::{Attributes, Levels};
use super::export::{Objects, commit_of, tree_entries};
use super::{GitError, Id};
use crate::shown::shown;

/// What tar counts in.
const RECORD: usize = 512;
/// What git fills up to.
const BLOCK: u64 = 10240;
/// How deep it may be.
const DEPTH: usize = 128;
/// The largest file.
const LARGEST: u64 = 8 << 30;

/// Writes the archive of a commit into `sink`.
pub(super) fn write(
    objects: &Objects,
    id: Id,
    commit: &[u8],
    sink: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<(), GitError> {
    let (tree, seconds) = commit_of(commit)?;
    let mut archive = Archive { objects, id, commit, tree, seconds, sink, cancel, written: 0, waiting: Vec::new() };
    let comment = extended("comment", id.to_string().as_bytes());
    archive.entry(b"pax_global_header", b'g', 0o666, b"", &comment)?;
    archive.level(tree, b"", &mut Levels::default(), 0)?;
    // Two empty records at least.
    let mut rest = BLOCK - archive.written % BLOCK;
    if rest < 2 * RECORD as u64 {
        rest += BLOCK;
    }
    archive.put(&vec![0; usize::try_from(rest).unwrap_or(RECORD)]);
    Ok(())
}

struct Archive<'a> {
    objects: &'a Objects,
    id: Id,
    commit: &'a [u8],
    tree: Id,
    seconds: i64,
    sink: &'a mut dyn FnMut(&[u8]),
    cancel: &'a AtomicBool,
    written: u64,
    /// Directories of which nothing was written yet.
    waiting: Vec<(Vec<u8>, Id)>,
}

impl Archive<'_> {
    fn level(&mut self, tree: Id, below: &[u8], levels: &mut Levels, depth: usize) -> Result<(), GitError> {
        if depth > DEPTH {
            return Err(GitError::Malformed { what: "a tree is too deep" });
        }
        let content = self.objects.read(tree, ObjectType::Tree, 256 << 20)?;
        let entries = tree_entries(&content)?;
        let own = entries.iter().find(|(mode, name, _)| *name == b".gitattributes" && mode.starts_with(b"100"));
        let text = own.map(|(_, _, id)| self.objects.read(*id, ObjectType::Blob, 16 << 20)).transpose()?;
        levels.enter(below, text.as_deref().unwrap_or_default());
        for (mode, name, id) in entries {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(GitError::Cancelled);
            }
            let mut path = [below, name].concat();
            let is_tree = matches!(mode, b"40000" | b"040000");
            let attributes = levels.of(&path, is_tree);
            if attributes.export_ignore {
                continue;
            }
            if is_tree {
                path.push(b'/');
                let waiting = self.waiting.len();
                self.waiting.push((path.clone(), id));
                self.level(id, &path, levels, depth + 1)?;
                self.waiting.truncate(waiting);
                continue;
            }
            for (directory, id) in std::mem::take(&mut self.waiting) {
                self.file(&directory, b'5', 0o775, b"", &[], id)?;
            }
            match mode {
                b"160000" => {
                    path.push(b'/');
                    self.file(&path, b'5', 0o775, b"", &[], id)?;
                }
                b"120000" => {
                    let target = self.objects.read(id, ObjectType::Blob, 1 << 20)?;
                    self.file(&path, b'2', 0o777, &target, &[], id)?;
                }
                _ => {
                    let content = self.objects.read(id, ObjectType::Blob, LARGEST)?;
                    let content = self.worked(content, &attributes, id, &path)?;
                    let mode = if mode.len() == 6 && mode[3] & 1 == 1 { 0o775 } else { 0o664 };
                    self.file(&path, b'0', mode, b"", &content, id)?;
                }
            }
        }
        levels.leave();
        Ok(())
    }

    /// A file's content as git would check it out into an archive.
    fn worked(&self, content: Vec<u8>, attributes: &Attributes, id: Id, path: &[u8]) -> Result<Vec<u8>, GitError> {
        if attributes.encoding {
            return Err(GitError::NoArchive { path: shown(path), what: "has an encoding of its own" });
        }
        let content = if attributes.ident { with_ident(&content, id) } else { content };
        let content = attributes.with_line_ends(content);
        if !attributes.export_subst {
            return Ok(content);
        }
        super::attributes::substituted(&content, self.id, self.tree, self.commit).ok_or_else(|| GitError::NoArchive {
            path: shown(path),
            what: "holds a `$Format:…$` of more than the commit",
        })
    }

    /// Writes an entry of the tree, with a header in front of it for what does not fit.
    fn file(
        &mut self,
        path: &[u8],
        kind: u8,
        mode: u32,
        target: &[u8],
        content: &[u8],
        id: Id,
    ) -> Result<(), GitError> {
        let mut more = Vec::new();
        let mut header = [0_u8; RECORD];
        if path.len() <= 100 {
            header[..path.len()].copy_from_slice(path);
        } else {
            let prefix = prefix_length(path);
            let rest = path.len() - prefix - 1;
            if prefix > 0 && rest <= 100 {
                header[345..345 + prefix].copy_from_slice(&path[..prefix]);
                header[..rest].copy_from_slice(&path[prefix + 1..]);
            } else {
                let name = format!("{id}.data");
                header[..name.len()].copy_from_slice(name.as_bytes());
                more.extend(extended("path", path));
            }
        }
        if target.len() <= 100 {
            header[157..157 + target.len()].copy_from_slice(target);
        } else {
            let name = format!("see {id}.paxheader");
            header[157..157 + name.len()].copy_from_slice(name.as_bytes());
            more.extend(extended("linkpath", target));
        }
        if !more.is_empty() {
            self.entry(format!("{id}.paxheader").as_bytes(), b'x', 0o666, b"", &more)?;
        }
        self.finish(header, kind, mode, content)
    }

    fn entry(&mut self, name: &[u8], kind: u8, mode: u32, target: &[u8], content: &[u8]) -> Result<(), GitError> {
        let mut header = [0_u8; RECORD];
        header[..name.len()].copy_from_slice(name);
        header[157..157 + target.len()].copy_from_slice(target);
        self.finish(header, kind, mode, content)
    }

    fn finish(&mut self, mut header: [u8; RECORD], kind: u8, mode: u32, content: &[u8]) -> Result<(), GitError> {
        const TIMES: std::ops::RangeInclusive<i64> = 0..=0o777_7777_7777;
        if !TIMES.contains(&self.seconds) || content.len() as u64 >= LARGEST {
            return Err(GitError::Malformed { what: "a time or a size does not fit into an archive" });
        }
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(100, &format!("{mode:07o}"));
        put(108, &format!("{:07o}", 0));
        put(116, &format!("{:07o}", 0));
        put(124, &format!("{:011o}", content.len()));
        put(136, &format!("{:011o}", self.seconds));
        put(257, "ustar");
        put(263, "00");
        put(265, "root");
        put(297, "root");
        put(329, &format!("{:07o}", 0));
        put(337, &format!("{:07o}", 0));
        header[156] = kind;
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
        header[155] = 0;
        self.put(&header);
        self.put(content);
        let over = content.len() % RECORD;
        if over > 0 {
            self.put(&[0; RECORD][over..]);
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) {
        (self.sink)(bytes);
        self.written += bytes.len() as u64;
    }
}

/// How much of a long path goes into the header's second part: up to a slash.
fn prefix_length(path: &[u8]) -> usize {
    let mut at = path.len();
    if at > 1 && path[at - 1] == b'/' {
        at -= 1;
    }
    at = at.min(155);
    loop {
        at -= 1;
        if at == 0 || path[at] == b'/' {
            return at;
        }
    }
}

/// A line of an extended header, which says its own length.
fn extended(key: &str, value: &[u8]) -> Vec<u8> {
    let bare = key.len() + value.len() + 3;
    let mut length = bare + 1;
    while bare + length.to_string().len() > length {
        length += 1;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// `$Id$` with the name of the file's object in it; what names another place, with blanks, stays.
fn with_ident(content: &[u8], id: Id) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 1..];
        let Some(behind) = rest.strip_prefix(b"Id") else { continue };
        let end = match behind.first() {
            Some(b'$') => 2,
            Some(b':') => {
                let line = behind.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let Some(end) = line.iter().position(|byte| *byte == b'$') else { continue };
                let inner = line[1..end].get(1..).unwrap_or_default();
                if inner.iter().position(|byte| *byte == b' ').is_some_and(|blank| blank + 1 < inner.len()) {
                    continue;
                }
                2 + end
            }
            _ => continue,
        };
        out.extend_from_slice(format!("Id: {id} $").as_bytes());
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
    out
}
