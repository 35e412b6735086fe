// installer/src/owners.rs
//! Users and groups of the root, by name.
//!
//! Read from the root's own `etc/passwd` and `etc/group`, never the machine's. A number is itself; a name that is not there is 0 and remembered, so that
//! it can be told once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use crate::beneath::{Beneath, is_absence};
use crate::event::Warning;

/// Longest user database that is read.
const MOST_BYTES: u64 = 16 << 20;

/// The users and groups of a root.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
    unknown: BTreeSet<(String, bool)>,
}

impl Owners {
    /// Reads those of a root; a root that has no such files has only numbers and `root`.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read(root: &Beneath) -> io::Result<Self> {
        Ok(Self {
            users: parse(&read(root, b"etc/passwd")?),
            groups: parse(&read(root, b"etc/group")?),
            unknown: BTreeSet::new(),
        })
    }

    /// Adds users and groups of files as they will be.
    pub fn add(&mut self, passwd: Option<&[u8]>, group: Option<&[u8]>) {
        for (name, id) in parse(passwd.unwrap_or_default()) {
            self.users.entry(name).or_insert(id);
        }
        for (name, id) in parse(group.unwrap_or_default()) {
            self.groups.entry(name).or_insert(id);
        }
    }

    /// Adds what others have and this lacks.
    pub fn add_all(&mut self, others: Owners) {
        for (name, id) in others.users {
            self.users.entry(name).or_insert(id);
        }
        for (name, id) in others.groups {
            self.groups.entry(name).or_insert(id);
        }
    }

    /// Returns the id of a user.
    pub fn user(&mut self, name: &str) -> u32 {
        let known = lookup(&self.users, name);
        known.unwrap_or_else(|| self.forget(name, false))
    }

    /// Returns the id of a group.
    pub fn group(&mut self, name: &str) -> u32 {
        let known = lookup(&self.groups, name);
        known.unwrap_or_else(|| self.forget(name, true))
    }

    /// Returns a warning for each name that was asked for and is not known.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let warning = |(name, group): &(String, bool)| Warning::UnknownOwner { name: name.clone(), group: *group };
        self.unknown.iter().map(warning).collect()
    }

    fn forget(&mut self, name: &str, group: bool) -> u32 {
        self.unknown.insert((name.to_owned(), group));
        0
    }
}

fn lookup(known: &BTreeMap<String, u32>, name: &str) -> Option<u32> {
    if let Some(id) = known.get(name) {
        return Some(*id);
    }
    if name == "root" {
        return Some(0);
    }
    // The largest number means "no change" to chown.
    name.parse().ok().filter(|id| *id != u32::MAX && name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn read(root: &Beneath, path: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match root.read_inside(path) {
        Ok(file) => file.take(MOST_BYTES).read_to_end(&mut bytes)?,
        Err(error) if is_absence(&error) => 0,
        Err(error) => return Err(error),
    };
    Ok(bytes)
}

/// Reads `name:password:id:…` lines and passes over all others; the first of a name counts.
fn parse(text: &[u8]) -> BTreeMap<String, u32> {
    let mut ids = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else {
            continue;
        };
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next())
            && !name.is_empty()
            && !name.starts_with('#')
            && let Ok(id) = id.parse::<u32>()
            && id != u32::MAX
        {
            ids.entry(name.to_owned()).or_insert(id);
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_root_and_numbers_from_themselves() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd =
            b"root:x:0:0::/:/bin/sh\ngames:x:5:60:\n\xff:x:1:1\nbad\n#c:x:9:\nmany:x:4294967295:0\ngames:x:6:\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        let mut owners = Owners::read(&Beneath::open(root.path()).unwrap()).unwrap();
        for (name, id) in
            [("root", 0), ("games", 5), ("1234", 1234), ("many", 0), ("4294967295", 0), ("+1", 0), ("../x", 0)]
        {
            assert_eq!(owners.user(name), id, "{name}");
        }
        assert_eq!(owners.group("games"), 0, "there is no etc/group");
        assert_eq!(owners.warnings().len(), 5);
    }

    #[test]
    fn the_machines_users_are_not_looked_at() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("etc/passwd")).unwrap();
        let mut owners = Owners::read(&Beneath::open(root.path()).unwrap()).unwrap();
        assert_eq!(owners.user("daemon"), 0);
        assert_eq!(owners.warnings().len(), 1);
    }
}
