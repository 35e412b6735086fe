// sandbox/src/owners.rs
//! Owners that a command asked for and could not have: nobody has the right to give files away in a sandbox.
//!
//! [`Ready::run`](crate::Ready::run) writes them down here, answers them back to the command, and whoever takes
//! the files afterwards asks [`Owners::of`]. A record belongs to a file, not to a name: it is found by device, inode and
//! the mark that tells a file from a later one with the same number.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::sys;

/// Files whose owners are remembered; the next one is refused.
const MOST_RECORDS: usize = 1 << 20;
/// Device nodes that are remembered by name.
const MOST_NODES: usize = 16;

/// Users that every command finds whose owners are recorded, beside those that every command finds.
const USERS: [(u32, &str); 13] = [
    (1, "daemon"),
    (2, "bin"),
    (3, "sys"),
    (5, "games"),
    (6, "man"),
    (7, "lp"),
    (8, "mail"),
    (9, "news"),
    (10, "uucp"),
    (13, "proxy"),
    (33, "www-data"),
    (34, "backup"),
    (39, "irc"),
];
/// Groups of the same kind.
const GROUPS: [(u32, &str); 32] = [
    (1, "daemon"),
    (2, "bin"),
    (3, "sys"),
    (4, "adm"),
    (6, "disk"),
    (7, "lp"),
    (8, "mail"),
    (9, "news"),
    (10, "uucp"),
    (12, "man"),
    (13, "proxy"),
    (15, "kmem"),
    (20, "dialout"),
    (21, "fax"),
    (22, "voice"),
    (24, "cdrom"),
    (25, "floppy"),
    (26, "tape"),
    (27, "sudo"),
    (29, "audio"),
    (30, "dip"),
    (33, "www-data"),
    (34, "backup"),
    (37, "operator"),
    (39, "irc"),
    (42, "shadow"),
    (43, "utmp"),
    (44, "video"),
    (46, "plugdev"),
    (50, "staff"),
    (60, "games"),
    (100, "users"),
];

/// The names that a recorded owner may have, and what was recorded.
#[derive(Debug, Default)]
pub struct Owners {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    records: HashMap<(u64, u64), Record>,
    nodes: Vec<Vec<u8>>,
}

/// One file's owner, and what tells it from other files.
#[derive(Debug)]
struct Record {
    mark: Vec<u8>,
    owner: Owner,
}

/// Who is to own a file; `None` where nobody said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Owners {
    /// Nothing recorded yet. The command finds these users and groups by name beside the usual ones; those without a number get
    /// one, by their place in the sorted list.
    #[must_use]
    pub fn new(users: &[(String, Option<u32>)], groups: &[(String, Option<u32>)]) -> Self {
        let table = |usual: &[(u32, &str)], inside: [(u32, &str); 4], further: &[(String, Option<u32>)]| {
            let usual = usual.iter().copied().chain(inside).map(|(id, name)| (id, name.to_owned()));
            number(usual.collect(), further)
        };
        Self {
            users: table(&USERS, [(0, "root"), (1000, "root"), (65534, "nobody"), (4, "sync")], users),
            groups: table(&GROUPS, [(0, "root"), (1000, "root"), (65534, "nogroup"), (5, "tty")], groups),
            ..Self::default()
        }
    }

    /// What follows the fixed lines of `/etc/passwd` and `/etc/group`.
    pub(crate) fn lines(&self, file: &str) -> String {
        let known: fn(&u32) -> bool = match file {
            "passwd" => |id| [0, 1000, 65534].contains(id),
            _ => |id| [0, 5, 1000, 65534].contains(id),
        };
        let line = |(id, name): (&u32, &String)| match file {
            "passwd" => format!("{name}:x:{id}:{id}:{name}:/nonexistent:/bin/false\n"),
            _ => format!("{name}:x:{id}:\n"),
        };
        let table = match file {
            "passwd" => &self.users,
            "group" => &self.groups,
            _ => return String::new(),
        };
        table.iter().filter(|(id, _)| !known(id)).map(line).collect()
    }

    /// The owner and group, by name, that were asked for a file: it is the one at `path` below an open directory, and
    /// `inode` is its device and inode. Who has no name has a number; what nobody asked for is root's. `None` where nobody asked.
    #[must_use]
    pub fn of(&self, directory: BorrowedFd<'_>, path: &[u8], inode: (u64, u64)) -> Option<(String, String)> {
        let record = self.records.get(&inode)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(directory, path, flags, Mode::empty(), beneath).ok()?;
        if sys::file_mark(file.as_raw_fd()) != record.mark {
            return None;
        }
        let name = |table: &BTreeMap<u32, String>, id: Option<u32>| {
            let id = id.unwrap_or(0);
            table.get(&id).cloned().unwrap_or_else(|| id.to_string())
        };
        Some((name(&self.users, record.owner.uid), name(&self.groups, record.owner.gid)))
    }

    /// Takes out the paths at which device nodes were asked for, as the command called them.
    #[must_use]
    pub fn take_nodes(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.nodes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What was recorded about an open file with this device and inode.
    pub(crate) fn find(&self, file: &OwnedFd, inode: (u64, u64)) -> Option<Owner> {
        let record = self.records.get(&inode)?;
        (sys::file_mark(file.as_fd().as_raw_fd()) == record.mark).then_some(record.owner)
    }

    /// Records what is not `None`. `false` where that would be too many.
    pub(crate) fn record(&mut self, file: &OwnedFd, inode: (u64, u64), asked: Owner) -> bool {
        let known = self.find(file, inode).unwrap_or_default();
        if self.records.len() >= MOST_RECORDS && !self.records.contains_key(&inode) {
            return false;
        }
        let owner = Owner { uid: asked.uid.or(known.uid), gid: asked.gid.or(known.gid) };
        self.records.insert(inode, Record { mark: sys::file_mark(file.as_raw_fd()), owner });
        true
    }

    pub(crate) fn record_node(&mut self, path: Vec<u8>) {
        if self.nodes.len() < MOST_NODES {
            self.nodes.push(path);
        }
    }
}

/// Adds accounts to a table: those with a number of their own under it, the others counted down from 999 in the order of their names.
fn number(mut table: BTreeMap<u32, String>, further: &[(String, Option<u32>)]) -> BTreeMap<u32, String> {
    let mut further: Vec<_> = further.iter().filter(|(name, _)| !table.values().any(|known| known == name)).collect();
    further.sort();
    further.dedup_by(|one, other| one.0 == other.0);
    let (numbered, others): (Vec<_>, Vec<_>) = further.into_iter().partition(|(_, id)| id.is_some());
    for (name, id) in numbered {
        // A number that the usual table has for somebody else goes to who declared it.
        table.insert(id.unwrap_or_default(), name.clone());
    }
    let mut next = 999;
    for (name, _) in others {
        while table.contains_key(&next) && next > 0 {
            next -= 1;
        }
        table.insert(next, name.clone());
    }
    table
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn named(name: &str, id: Option<u32>) -> (String, Option<u32>) {
        (name.to_owned(), id)
    }

    #[test]
    fn accounts_have_the_same_numbers_whatever_their_order() {
        let one = Owners::new(&[named("b", None), named("a", None), named("web", Some(33)), named("root", None)], &[]);
        let other =
            Owners::new(&[named("root", None), named("web", Some(33)), named("a", None), named("b", None)], &[]);
        assert_eq!(one.users, other.users);
        assert_eq!((&one.users[&33], &one.users[&999], &one.users[&998]), (&"web".into(), &"a".into(), &"b".into()));
        let lines = one.lines("passwd");
        assert!(lines.contains("web:x:33:33:web:/nonexistent:/bin/false\n") && !lines.contains("root:"), "{lines}");
        assert!(one.lines("group").contains("mail:x:8:\n") && one.lines("hosts").is_empty());
    }

    #[test]
    fn a_record_belongs_to_a_file_and_not_to_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "x").unwrap();
        let file: OwnedFd = fs::File::open(&path).unwrap().into();
        let top: OwnedFd = fs::File::open(directory.path()).unwrap().into();
        let about = fs::metadata(&path).unwrap();
        let inode = (about.dev(), about.ino());
        let mut owners = Owners::new(&[], &[]);
        assert_eq!(owners.of(top.as_fd(), b"file", inode), None);
        assert!(owners.record(&file, inode, Owner { uid: Some(5), gid: None }));
        assert_eq!(owners.of(top.as_fd(), b"file", inode), Some(("games".into(), "root".into())));
        assert!(owners.record(&file, inode, Owner { uid: None, gid: Some(4711) }));
        assert_eq!(owners.of(top.as_fd(), b"file", inode), Some(("games".into(), "4711".into())));
        // Another file that came to the same number.
        fs::write(directory.path().join("other"), "x").unwrap();
        assert_eq!(owners.of(top.as_fd(), b"other", inode), None);
    }
}
