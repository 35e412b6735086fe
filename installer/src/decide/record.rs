// installer/src/decide/record.rs
//! Writes decisions down: what is put, what it displaces, what is in the way.

use std::collections::BTreeMap;

use store::root_db::{Displaced, FLAG_CONFIG, FileRow, Kind};

use super::Decider;
use super::disk::noun;
use crate::beneath::Found;
use crate::error::{Conflict, PlanError};
use crate::plan::{Over, Ownership, PathAction, Put, What};

impl Decider<'_> {
    pub(super) fn displace_if_edited(&mut self, path: &[u8], left: &FileRow, found: &Found) -> Result<bool, PlanError> {
        if self.is_pristine(path, left, found)? {
            return Ok(false);
        }
        self.displace(path, found, true)?;
        Ok(true)
    }

    /// Writes something of a user's into the rollback record.
    pub(super) fn displace(&mut self, path: &[u8], found: &Found, edit: bool) -> Result<(), PlanError> {
        let Some(kind) = found.kind else {
            return Ok(());
        };
        let target = match kind {
            Kind::Symlink => Some(self.link_target(path)?),
            _ => None,
        };
        let object = match kind {
            Kind::File => Some(self.hash(path)?),
            _ => None,
        };
        let thing = Displaced {
            path: path.to_vec(),
            kind,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            object,
            size: if kind == Kind::File { found.size } else { 0 },
            target,
            edit,
        };
        self.out.displaced.push((thing, found.seen()));
        Ok(())
    }

    /// Puts what the first of the rows says.
    pub(super) fn put(&mut self, path: &[u8], rows: Vec<(usize, usize)>, over: Option<Over>) {
        let row = &self.files[rows[0].0][rows[0].1];
        let what = match row.kind {
            Kind::Directory => What::Directory,
            Kind::Symlink => What::Symlink { target: row.target.clone().unwrap_or_default() },
            Kind::File => What::File {
                object: row.object.expect("because a row of a file is made with its object"),
                size: row.size,
                private: row.has(FLAG_CONFIG),
                group: None,
            },
        };
        let put = Put {
            path: path.to_vec(),
            what,
            mode: row.mode,
            owner: Ownership::Names { owner: row.owner.clone(), group: row.group.clone() },
            xattrs: row.xattrs.clone(),
            over,
            rows,
        };
        let action = match over {
            None => PathAction::Add,
            Some(Over { displaces, .. }) => PathAction::Replace { displaces },
        };
        self.say(path, self.owner_of(put.rows[0]), action);
        self.out.puts.push(put);
    }

    /// Puts a displaced thing back.
    pub(super) fn put_thing(&mut self, thing: &Displaced, owner: Option<(usize, usize)>, over: Option<Over>) {
        let what = match (thing.kind, thing.object) {
            (Kind::File, Some(object)) => What::File { object, size: thing.size, private: true, group: None },
            (Kind::Symlink, _) => What::Symlink { target: thing.target.clone().unwrap_or_default() },
            _ => return,
        };
        let action = match over {
            None => PathAction::Add,
            Some(Over { displaces, .. }) => PathAction::Replace { displaces },
        };
        let name = owner.map_or_else(String::new, |owner| self.owner_of(owner));
        self.say(&thing.path, name, action);
        self.out.puts.push(Put {
            path: thing.path.clone(),
            what,
            mode: thing.mode,
            owner: Ownership::Ids { uid: thing.uid, gid: thing.gid },
            xattrs: BTreeMap::new(),
            over,
            rows: owner.into_iter().collect(),
        });
    }

    pub(super) fn in_the_way(&mut self, path: &[u8], owner: (usize, usize), found: &Found) {
        let (path, owner) = (path.to_vec(), self.owner_of(owner));
        self.conflicts.push(Conflict::InTheWay { path, owner, found: noun(found.kind) });
    }
}

pub(super) fn over(found: &Found, displaces: bool) -> Over {
    Over {
        seen: found.seen(),
        displaces,
        directory: found.kind == Some(Kind::Directory),
        strip: must_strip(found, None),
    }
}

/// Whether a link that a user keeps to this file would keep something that must go with it.
pub(super) fn must_strip(found: &Found, row: Option<&FileRow>) -> bool {
    let capable = |row: &FileRow| row.xattrs.contains_key(b"security.capability".as_slice());
    found.kind == Some(Kind::File) && (found.mode & 0o6000 != 0 || (found.links > 1 && row.is_none_or(capable)))
}
