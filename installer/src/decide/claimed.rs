// installer/src/decide/claimed.rs
//! Paths that an arriving trove wants: added, replaced, kept, adopted or refused.

use std::collections::{BTreeMap, HashMap, HashSet};

use store::root_db::{Beside, Displaced, FLAG_CONFIG, FLAG_EXISTED, FLAG_NOREPLACE, FileRow, Kind};

use super::disk::noun;
use super::record::over;
use super::{Claims, Decider, NEW, Owner, applied_mode};
use crate::beneath::Found;
use crate::error::PlanError;
use crate::paths::PathKey;
use crate::plan::{Over, Ownership, PathAction, Put, Take, What};

impl Decider<'_> {
    pub(super) fn decide_directory(
        &mut self,
        path: &[u8],
        owners: &[(usize, usize)],
        disk: Option<Found>,
        staying: &[FileRow],
    ) -> Result<(), PlanError> {
        let left = self.leaving.get(&PathKey(path.to_vec())).cloned();
        let Some(found) = disk else {
            self.put_directory(path, owners, None);
            return Ok(());
        };
        if found.kind == Some(Kind::Directory) {
            let known = staying.first().or(left.as_ref().filter(|row| row.kind == Kind::Directory));
            let existed = match known {
                None => true,
                Some(_) => {
                    staying.iter().any(|row| row.has(FLAG_EXISTED))
                        || left.as_ref().is_some_and(|row| row.has(FLAG_EXISTED))
                }
            };
            let mut applied = (found.mode, found.uid, found.gid);
            if !existed && staying.is_empty() {
                applied = self.set_directory(path, owners[0], &found);
            }
            for (trove, at) in owners {
                let row = &mut self.files[*trove][*at];
                row.flags |= if existed { FLAG_EXISTED } else { 0 };
                (row.applied_mode, row.uid, row.gid) = applied;
            }
            return Ok(());
        }
        match left {
            Some(left) if left.kind != Kind::Directory && found.kind == Some(left.kind) => {
                let displaces = self.displace_if_edited(path, &left, &found)?;
                self.put_directory(path, owners, Some(over(&found, displaces)));
            }
            _ => self.in_the_way(path, owners[0], &found),
        }
        Ok(())
    }

    pub(super) fn put_directory(&mut self, path: &[u8], owners: &[(usize, usize)], over: Option<Over>) {
        self.made.insert(path.to_vec());
        self.put(path, owners.to_vec(), over);
    }

    /// Gives a directory of ours that stays the mode and owner that its package says; returns what it then has.
    pub(super) fn set_directory(&mut self, path: &[u8], owner: (usize, usize), found: &Found) -> (u32, u32, u32) {
        let row = &self.files[owner.0][owner.1];
        let now = (found.mode, found.uid, found.gid);
        let wanted = if self.scene.uid == 0 {
            (row.mode, self.owners.user(&row.owner), self.owners.group(&row.group))
        } else {
            (applied_mode(row.mode, false), found.uid, found.gid)
        };
        if wanted == now {
            return now;
        }
        let (mode, uid, gid) = wanted;
        self.out.takes.push(Take::SetDirectory { path: path.to_vec(), mode, uid, gid });
        self.say(path, self.owner_of(owner), PathAction::Change);
        wanted
    }

    pub(super) fn decide_file(
        &mut self,
        path: &[u8],
        owner: (usize, usize),
        disk: Option<Found>,
    ) -> Result<(), PlanError> {
        let put_back = self.scene.put_back.get(path).filter(|thing| thing.edit).cloned();
        let Some(found) = disk else {
            match put_back {
                Some(thing) => self.put_thing(&thing, Some(owner), None),
                None => self.put(path, vec![owner], None),
            }
            return Ok(());
        };
        let Some(left) = self.leaving.get(&PathKey(path.to_vec())).cloned() else {
            return self.decide_unowned(path, owner, &found);
        };
        if left.kind == Kind::Directory && found.kind == Some(Kind::Directory) {
            if left.has(FLAG_EXISTED) {
                self.in_the_way(path, owner, &found);
                return Ok(());
            }
            let wanted = noun(Some(self.files[owner.0][owner.1].kind));
            self.emptied.push((path.to_vec(), self.owner_of(owner), wanted));
            self.put(path, vec![owner], Some(over(&found, false)));
            return Ok(());
        }
        if found.kind.is_none() || found.kind == Some(Kind::Directory) {
            self.in_the_way(path, owner, &found);
            return Ok(());
        }
        if let Some(thing) = put_back {
            return self.decide_put_back_over(path, owner, &left, &found, &thing);
        }
        let pristine = self.is_pristine(path, &left, &found)?;
        let row = &self.files[owner.0][owner.1];
        if pristine && same_thing(&left, row) && is_applied(&left, &found, self.scene.uid) {
            self.leave(owner, &left, &found);
            return Ok(());
        }
        // What only begins as packaged is kept as if it were edited.
        let kept = !pristine || (row.has(FLAG_NOREPLACE) && row.object != left.object);
        if kept && row.has(FLAG_CONFIG) && left.has(FLAG_CONFIG) && found.kind == Some(Kind::File) {
            let (new, old) = (row.object, left.object);
            // A rollback brings the old state, of which there is nothing new to say.
            let news = new != old && self.scene.returns_to.is_none();
            let changed = news && Some(self.hash(path)?) != new;
            self.keep_edit(path, owner, left.flags & FLAG_EXISTED, &found, changed)?;
            return Ok(());
        }
        let displaces = if left.has(FLAG_EXISTED) {
            self.displace(path, &found, false)?;
            true
        } else {
            self.displace_if_edited(path, &left, &found)?
        };
        self.put(path, vec![owner], Some(over(&found, displaces)));
        Ok(())
    }

    /// Decides about something that nobody owns.
    pub(super) fn decide_unowned(
        &mut self,
        path: &[u8],
        owner: (usize, usize),
        found: &Found,
    ) -> Result<(), PlanError> {
        let row = self.files[owner.0][owner.1].clone();
        if self.is_hook_link(path, found)? {
            self.put(path, vec![owner], Some(over(found, false)));
            return Ok(());
        }
        if self.is_identical(path, &row, found)? {
            let row = &mut self.files[owner.0][owner.1];
            row.flags |= FLAG_EXISTED;
            (row.applied_mode, row.uid, row.gid) = (found.mode, found.uid, found.gid);
            self.say(path, self.owner_of(owner), PathAction::Adopt);
            return Ok(());
        }
        let replaceable = matches!(found.kind, Some(Kind::File | Kind::Symlink));
        if !self.scene.replace || !replaceable {
            self.in_the_way(path, owner, found);
            return Ok(());
        }
        if row.has(FLAG_CONFIG) && found.kind == Some(Kind::File) {
            return self.keep_edit(path, owner, FLAG_EXISTED, found, true);
        }
        self.displace(path, found, false)?;
        self.put(path, vec![owner], Some(over(found, true)));
        Ok(())
    }

    /// Keeps an edited configuration file, with the packaged one beside it when that says something new.
    pub(super) fn keep_edit(
        &mut self,
        path: &[u8],
        owner: (usize, usize),
        flags: u32,
        found: &Found,
        beside: bool,
    ) -> Result<(), PlanError> {
        let row = &mut self.files[owner.0][owner.1];
        row.flags |= flags;
        (row.applied_mode, row.uid, row.gid) = (found.mode, found.uid, found.gid);
        let (mode, object, size) = (row.mode, row.object, row.size);
        let names = Ownership::Names { owner: row.owner.clone(), group: row.group.clone() };
        let mut to = None;
        if let (true, Some(object)) = (beside, object) {
            let name = [path, NEW].concat();
            let over = match self.look(&name)? {
                None => None,
                Some(there) if there.kind == Some(Kind::File) => {
                    self.displace(&name, &there, false)?;
                    Some(over(&there, true))
                }
                Some(there) => {
                    self.in_the_way(&name, owner, &there);
                    return Ok(());
                }
            };
            self.out.puts.push(Put {
                path: name.clone(),
                what: What::File { object, size, private: true, group: None },
                mode,
                owner: names,
                xattrs: BTreeMap::new(),
                over,
                rows: Vec::new(),
            });
            self.out.beside.push(Beside { path: name.clone(), of: path.to_vec(), changeset: 0, object });
            to = Some(name);
        }
        self.say(path, self.owner_of(owner), PathAction::Keep { beside: to });
        Ok(())
    }

    /// Decides about an edit that a rollback puts back where a file is now.
    pub(super) fn decide_put_back_over(
        &mut self,
        path: &[u8],
        owner: (usize, usize),
        left: &FileRow,
        found: &Found,
        thing: &Displaced,
    ) -> Result<(), PlanError> {
        if self.is_thing(path, thing, found)? {
            let row = &mut self.files[owner.0][owner.1];
            (row.applied_mode, row.uid, row.gid) = (found.mode, found.uid, found.gid);
            return Ok(());
        }
        let displaces = self.displace_if_edited(path, left, found)?;
        self.put_thing(thing, Some(owner), Some(over(found, displaces)));
        Ok(())
    }

    /// Leaves a file as it is: it is what the trove brings.
    pub(super) fn leave(&mut self, owner: (usize, usize), left: &FileRow, found: &Found) {
        let row = &mut self.files[owner.0][owner.1];
        row.flags |= left.flags & FLAG_EXISTED;
        (row.applied_mode, row.uid, row.gid) = (left.applied_mode, left.uid, left.gid);
        row.fingerprint = left.fingerprint.filter(|print| *print == found.print);
        self.untouched.insert(owner, *found);
    }

    /// A hard link group of which one member is new is put anew as a whole.
    pub(super) fn keep_groups_together(&mut self, claims: &Claims) {
        let mut groups: HashMap<(usize, Vec<u8>), Vec<Owner>> = HashMap::new();
        for owner in claims.values().flatten() {
            let row = &self.files[owner.0][owner.1];
            if let (Kind::File, Some(first)) = (row.kind, &row.link) {
                groups.entry((owner.0, first.clone())).or_default().push(*owner);
            }
        }
        if groups.is_empty() {
            return;
        }
        for ((trove, first), members) in &mut groups {
            let owners = claims.get(&PathKey(first.clone())).into_iter().flatten();
            let is_first = |owner: &&Owner| owner.0 == *trove && self.files[owner.0][owner.1].kind == Kind::File;
            members.extend(owners.copied().find(|owner| is_first(&owner)));
        }
        groups.retain(|_, members| members.len() > 1);
        let put: HashSet<(usize, usize)> = self.out.puts.iter().flat_map(|put| put.rows.iter().copied()).collect();
        let mut fresh: HashMap<Owner, Vec<u8>> = HashMap::new();
        for ((_, first), members) in groups {
            let moved = members.iter().any(|member| put.contains(member));
            for member in members {
                if let (true, Some(found)) = (moved, self.untouched.remove(&member)) {
                    let path = self.files[member.0][member.1].path.clone();
                    self.put(&path, vec![member], Some(over(&found, false)));
                }
                fresh.insert(member, first.clone());
            }
        }
        for put in &mut self.out.puts {
            let first = put.rows.first().and_then(|row| fresh.get(row));
            if let (What::File { group, .. }, Some(first)) = (&mut put.what, first) {
                *group = Some(first.clone());
            }
        }
    }
}

fn same_thing(left: &FileRow, row: &FileRow) -> bool {
    left.kind == row.kind
        && left.object == row.object
        && left.target == row.target
        && left.link == row.link
        && left.mode == row.mode
        && left.owner == row.owner
        && left.group == row.group
        && left.xattrs == row.xattrs
        && left.flags & (FLAG_CONFIG | FLAG_NOREPLACE) == row.flags & (FLAG_CONFIG | FLAG_NOREPLACE)
}

fn is_applied(row: &FileRow, found: &Found, uid: u32) -> bool {
    let mode = row.kind == Kind::Symlink || row.applied_mode == found.mode;
    // An ordinary user's files have whatever group their directory gave them.
    mode && row.uid == found.uid && (uid != 0 || row.gid == found.gid)
}
