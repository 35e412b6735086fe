// store/src/ingest/walk.rs
//! The walk over a directory: names, stats, links and targets; no file is opened.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;

use recipes::Digest;
use rustix::fs::{AtFlags, Dir, FileType, Stat};

use super::{Decision, Found, IngestError, IngestOptions, attributes, check, open_beneath, shown};
use crate::tree::{Entry, MAX_PATH_BYTES, Node};

/// How much of a path that is too long is shown.
const SHOWN_BYTES: usize = 64;

/// The walk over names and stats.
pub(super) struct Walk<'a> {
    pub(super) top: BorrowedFd<'a>,
    pub(super) options: &'a IngestOptions<'a>,
    pub(super) cancel: &'a AtomicBool,
    pub(super) entries: Vec<Entry>,
    /// For each entry that is a regular file, what it was when it was found.
    pub(super) stats: Vec<Option<Stat>>,
}

impl Walk<'_> {
    /// Walks the top directory and all in it.
    pub(super) fn run(&mut self) -> Result<(), IngestError> {
        let mut waiting: Vec<(Vec<u8>, Option<usize>)> = vec![(Vec::new(), None)];
        while let Some((path, index)) = waiting.pop() {
            check(self.cancel)?;
            let directory = open_beneath(self.top, &path)?;
            if let Some(index) = index.filter(|_| self.options.xattrs) {
                self.entries[index].xattrs = attributes(&directory, &path)?;
            }
            for name in Dir::read_from(&directory).map_err(IngestError::io("read", &path))? {
                let name = name.map_err(IngestError::io("read", &path))?;
                let name = name.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                let mut inner = path.clone();
                if !inner.is_empty() {
                    inner.push(b'/');
                }
                inner.extend_from_slice(name);
                if inner.len() > MAX_PATH_BYTES {
                    // Its beginning says where it is; nobody reads the whole.
                    inner.truncate(
                        inner.iter().take(SHOWN_BYTES).rposition(|byte| *byte == b'/').unwrap_or(SHOWN_BYTES),
                    );
                    return Err(IngestError::Unsupported {
                        path: shown(&inner),
                        what: "directory of paths above 4095 bytes",
                    });
                }
                if self.entry(&directory, name, &inner)? {
                    waiting.push((inner, Some(self.entries.len() - 1)));
                }
            }
        }
        Ok(())
    }

    /// Adds one name; says whether it is a directory to walk.
    fn entry(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> Result<bool, IngestError> {
        let stat =
            rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(IngestError::io("examine", path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let found = Found {
            path,
            is_directory: kind.is_dir(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            inode: (stat.st_dev, stat.st_ino),
            size_bytes: if kind.is_file() { size } else { 0 },
        };
        let decision = self.options.decide.map_or(Decision::Keep, |decide| decide(&found));
        let (mode, owner, group) = match decision {
            Decision::Exclude => return Ok(false),
            Decision::Keep => (found.mode, self.options.owner.clone(), self.options.group.clone()),
            Decision::Replace { mode, owner, group } => (mode, owner, group),
        };
        let mut mode = mode & 0o7777 & self.options.mode_mask;
        let node = match kind {
            FileType::Directory => Node::Directory,
            FileType::RegularFile => {
                // Filled in when the file is read.
                Node::File { object: Digest::blake3([0; 32]), size }
            }
            FileType::Symlink => {
                mode = 0o777;
                let target = rustix::fs::readlinkat(directory, name, Vec::new())
                    .map_err(IngestError::io("read the link", path))?;
                Node::Symlink { target: target.into_bytes() }
            }
            other => {
                return Err(IngestError::Unsupported { path: shown(path), what: named(other) });
            }
        };
        let xattrs = BTreeMap::new();
        self.entries.push(Entry { path: path.to_vec(), mode, owner, group, xattrs, node });
        self.stats.push(kind.is_file().then_some(stat));
        Ok(kind.is_dir())
    }
}

fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "thing of an unknown kind",
    }
}
