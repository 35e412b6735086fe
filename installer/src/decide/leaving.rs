// installer/src/decide/leaving.rs
//! Paths that nobody wants any more, what a rollback puts back, and directories that become empty.

use std::collections::HashSet;

use store::root_db::{Beside, Displaced, FLAG_CONFIG, FLAG_EXISTED, FileRow, Kind};

use super::disk::io_error;
use super::record::{must_strip, over};
use super::{Claims, Decider, NEW, SAVE};
use crate::beneath::{self, Found};
use crate::error::{Conflict, PlanError};
use crate::paths::{self, PathKey};
use crate::plan::{PathAction, Take};

impl Decider<'_> {
    /// Decides about files and links that leave and that nobody claims.
    pub(super) fn decide_leaving(&mut self, claims: &Claims) -> Result<(), PlanError> {
        let leaving = std::mem::take(&mut self.leaving);
        for (path, row) in &leaving {
            if row.kind == Kind::Directory
                || row.has(FLAG_EXISTED)
                || claims.contains_key(path)
                || !self.staying(&path.0)?.is_empty()
            {
                continue;
            }
            let Some(found) = self.look(&path.0)? else {
                continue;
            };
            // What somebody put in its place is not ours.
            if found.kind == Some(row.kind) {
                self.decide_leaving_file(row, &found)?;
            }
        }
        self.leaving = leaving;
        Ok(())
    }

    pub(super) fn decide_leaving_file(&mut self, row: &FileRow, found: &Found) -> Result<(), PlanError> {
        let path = &row.path;
        let owner = self.installed_owner(row);
        let displaces = !self.is_pristine(path, row, found)?;
        if displaces {
            self.displace(path, found, true)?;
        }
        let seen = found.seen();
        self.gone.insert(path.clone());
        if displaces && row.has(FLAG_CONFIG) && found.kind == Some(Kind::File) {
            let to = self.free_name(path)?;
            let object = self.hash(path)?;
            self.out.takes.push(Take::Save { path: path.clone(), to: to.clone(), seen });
            self.out.beside.push(Beside { path: to.clone(), of: path.clone(), changeset: 0, object });
            self.say(path, owner, PathAction::Save { to });
        } else {
            let strip = must_strip(found, Some(row));
            self.out.takes.push(Take::Remove { path: path.clone(), seen, strip });
            self.say(path, owner, PathAction::Remove { displaces });
        }
        Ok(())
    }

    /// Puts back what a rollback finds displaced and that no trove of the old state has.
    pub(super) fn decide_put_back(&mut self, claims: &Claims) -> Result<(), PlanError> {
        let scene = self.scene;
        for (path, thing) in scene.put_back {
            if thing.edit || claims.contains_key(&PathKey(path.clone())) {
                continue;
            }
            let leaves = self.leaving.get(&PathKey(path.clone())).cloned();
            match (self.look(path)?, leaves) {
                (None, _) => {
                    let parent = paths::split(path).0;
                    if parent.is_empty() || self.look(parent)?.is_some_and(|found| found.kind == Some(Kind::Directory))
                    {
                        self.put_thing(thing, None, None);
                        self.remember_beside(path, thing);
                    }
                }
                (Some(found), row)
                    if row.as_ref().map_or(self.gone.contains(path), |row| found.kind == Some(row.kind))
                        && found.kind != Some(Kind::Directory) =>
                {
                    // Its removal was decided above; the old thing takes its place instead.
                    self.out.takes.retain(|take| take.path() != path.as_slice());
                    self.out.paths.retain(|change| change.path != *path);
                    self.gone.remove(path);
                    let displaces = self.out.displaced.iter().any(|(thing, _)| thing.path == *path);
                    self.put_thing(thing, None, Some(over(&found, displaces)));
                }
                (Some(_), _) => {}
            }
        }
        Ok(())
    }

    /// A file beside a configuration file that comes back waits for a decision again.
    fn remember_beside(&mut self, path: &[u8], thing: &Displaced) {
        let of = path.strip_suffix(NEW);
        if let (Some(of), Some(object)) = (of, thing.object) {
            self.out.beside.push(Beside { path: path.to_vec(), of: of.to_vec(), changeset: 0, object });
        }
    }

    /// Removes unchanged files beside configuration files: of packages that leave, and those that a rollback undoes.
    pub(super) fn decide_beside(&mut self) -> Result<(), PlanError> {
        let Some(db) = self.scene.db else {
            return Ok(());
        };
        for beside in db.beside()? {
            let undone = self.scene.returns_to.is_some_and(|target| beside.changeset > target);
            let left = beside.path.ends_with(NEW) && self.gone.contains(&beside.of);
            let made_anew = self.out.beside.iter().any(|made| made.path == beside.path);
            if !(undone || left) || made_anew {
                continue;
            }
            let Some(found) = self.look(&beside.path)? else {
                self.out.beside_gone.push(beside.path);
                continue;
            };
            if found.kind == Some(Kind::File) && self.hash(&beside.path)? == beside.object {
                self.gone.insert(beside.path.clone());
                if !undone {
                    // It waits for a decision, and does so again when the package comes back.
                    self.displace(&beside.path, &found, false)?;
                }
                let (path, seen) = (beside.path.clone(), found.seen());
                self.out.takes.push(Take::Remove { path, seen, strip: false });
                self.say(&beside.path, paths::show(&beside.of), PathAction::Remove { displaces: !undone });
                self.out.beside_gone.push(beside.path);
            }
        }
        Ok(())
    }

    /// Removes directories that nobody owns any more and that will be empty, the deepest first.
    pub(super) fn decide_directories(&mut self, claims: &Claims) -> Result<(), PlanError> {
        if self.leaving.is_empty() {
            return Ok(());
        }
        let coming: HashSet<Vec<u8>> = self.out.puts.iter().map(|put| paths::split(&put.path).0.to_vec()).collect();
        let leaving = std::mem::take(&mut self.leaving);
        for (path, row) in leaving.iter().rev() {
            if row.kind != Kind::Directory
                || row.has(FLAG_EXISTED)
                || self.gone.contains(&path.0)
                || claims.contains_key(path)
                || coming.contains(&path.0)
                || !self.staying(&path.0)?.is_empty()
            {
                continue;
            }
            let found = self.look(&path.0)?;
            if found.is_none_or(|found| found.kind != Some(Kind::Directory)) {
                continue;
            }
            if self.first_that_stays(&path.0)?.is_none() {
                self.gone.insert(path.0.clone());
                self.out.takes.push(Take::RemoveDirectory { path: path.0.clone() });
                let owner = self.installed_owner(row);
                self.say(&path.0, owner, PathAction::Remove { displaces: false });
            }
        }
        self.leaving = leaving;
        Ok(())
    }

    /// Checks that directories which something else replaces will be empty.
    pub(super) fn check_emptied(&mut self) -> Result<(), PlanError> {
        for (path, owner, wanted) in std::mem::take(&mut self.emptied) {
            if let Some(name) = self.first_that_stays(&path)? {
                let inside = paths::join(&path, &name);
                self.conflicts.push(Conflict::DirectoryInUse { path, owner, wanted, inside });
            }
        }
        Ok(())
    }

    /// Returns a name of a directory that the changeset leaves in it.
    pub(super) fn first_that_stays(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, PlanError> {
        let Some(directory) = self.directory(path)? else {
            return Ok(None);
        };
        let names = beneath::names(&*directory).map_err(|source| io_error(path, source))?;
        let saved = self.out.takes.iter().any(|take| match take {
            Take::Save { to, .. } => paths::split(to).0 == path,
            _ => false,
        });
        if saved {
            return Ok(Some(SAVE.to_vec()));
        }
        Ok(names.into_iter().find(|name| !self.gone.contains(&paths::join(path, name))))
    }
}
