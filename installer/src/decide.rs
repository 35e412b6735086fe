// installer/src/decide.rs
//! From troves to paths: what happens to each path, by the table in docs/design/transaction.md.
//!
//! Looks at the root and the database, changes nothing. Claims (what the arriving troves want) are taken in path order, so that a
//! directory is decided before what it holds; then the rows of leaving troves that nobody claims.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use recipes::Digest;
use store::root_db::{Beside, Displaced, FLAG_CONFIG, FLAG_EXISTED, FileRow, Kind, RootDb, TroveRow};
use store::{Node, Tree};

use crate::beneath::{self, Beneath, Directories, Found, Seen};
use crate::canonical::Canonical;
use crate::error::{Conflict, PlanError};
use crate::owners::Owners;
use crate::paths::{self, PathKey};
use crate::plan::{Over, Ownership, PathAction, PathChange, Put, Take, What};

/// Suffix of a packaged configuration file beside an edited one.
pub(crate) const NEW: &[u8] = b".conary-new";
/// Suffix of something of a user's that was moved aside.
pub(crate) const SAVE: &[u8] = b".conary-save";

/// A trove whose files are to be put in place.
pub(crate) struct Arriving {
    pub row: TroveRow,
    pub trees: Vec<(String, Arc<Tree>)>,
}

/// What is decided from.
pub(crate) struct Scene<'a> {
    pub root: &'a Beneath,
    pub db: Option<&'a RootDb>,
    /// Who works.
    pub uid: u32,
    pub replace: bool,
    pub arriving: &'a [Arriving],
    /// Rows whose files leave, of troves that go or are written anew.
    pub leaving: &'a [i64],
    pub put_back: &'a BTreeMap<Vec<u8>, Displaced>,
    /// For a rollback, the changeset it returns to.
    pub returns_to: Option<i64>,
}

/// What was decided.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    pub paths: Vec<PathChange>,
    pub puts: Vec<Put>,
    pub takes: Vec<Take>,
    pub displaced: Vec<(Displaced, Seen)>,
    pub beside: Vec<Beside>,
    pub beside_gone: Vec<Vec<u8>>,
    pub files: Vec<Vec<FileRow>>,
}

/// Decides about every path.
pub(crate) fn decide(scene: &Scene<'_>) -> Result<Decisions, PlanError> {
    let mut decider = Decider::new(scene)?;
    decider.read_leaving()?;
    let claims = decider.claim()?;
    decider.refuse_conflicts()?;
    for (path, owners) in &claims {
        decider.decide_claim(&path.0, owners)?;
    }
    decider.keep_groups_together(&claims);
    decider.decide_leaving(&claims)?;
    decider.decide_put_back(&claims)?;
    decider.decide_beside()?;
    decider.decide_directories(&claims)?;
    decider.check_emptied()?;
    decider.refuse_conflicts()?;
    Ok(decider.finish())
}

/// An owner of a claimed path, as (trove, file).
type Owner = (usize, usize);

/// Owners of claimed paths; several for a directory.
type Claims = BTreeMap<PathKey, Vec<Owner>>;

struct Decider<'a> {
    scene: &'a Scene<'a>,
    directories: Directories<'a>,
    owners: Owners,
    names: BTreeMap<i64, String>,
    leaving_rows: HashSet<i64>,
    leaving: BTreeMap<PathKey, FileRow>,
    files: Vec<Vec<FileRow>>,
    conflicts: Vec<Conflict>,
    /// Directories that are made in this changeset: nothing of the disk is in them.
    made: HashSet<Vec<u8>>,
    /// Paths that will be gone from their directories.
    gone: HashSet<Vec<u8>>,
    /// Directories that something else replaces.
    emptied: Vec<(Vec<u8>, String, &'static str)>,
    /// Files that stay as they are although a trove brings them again.
    untouched: HashMap<(usize, usize), Found>,
    out: Decisions,
}

impl<'a> Decider<'a> {
    fn new(scene: &'a Scene<'a>) -> Result<Self, PlanError> {
        let owners =
            Owners::read(scene.root).map_err(|source| PlanError::Io { path: b"etc/passwd".to_vec(), source })?;
        Ok(Self {
            scene,
            directories: Directories::new(scene.root),
            owners,
            names: scene.db.map(RootDb::names).transpose()?.unwrap_or_default(),
            leaving_rows: scene.leaving.iter().copied().collect(),
            leaving: BTreeMap::new(),
            files: Vec::new(),
            conflicts: Vec::new(),
            made: HashSet::new(),
            gone: HashSet::new(),
            emptied: Vec::new(),
            untouched: HashMap::new(),
            out: Decisions::default(),
        })
    }

    fn read_leaving(&mut self) -> Result<(), PlanError> {
        let Some(db) = self.scene.db else {
            return Ok(());
        };
        for row in self.scene.leaving {
            for file in db.files(*row)? {
                // A directory that two leaving troves share: it is ours to remove unless one of them found it there.
                let flags = file.flags;
                let key = PathKey(file.path.clone());
                self.leaving.entry(key).or_insert(file).flags |= flags & FLAG_EXISTED;
            }
        }
        Ok(())
    }

    /// Returns who wants which path, and fills the rows of the arriving troves.
    fn claim(&mut self) -> Result<Claims, PlanError> {
        let scene = self.scene;
        let mut canonical = Canonical::new(scene.root, scene.uid);
        self.note_links(&mut canonical)?;
        let mut claims = Claims::new();
        for (number, arriving) in scene.arriving.iter().enumerate() {
            self.files.push(Vec::new());
            for (component, tree) in &arriving.trees {
                for entry in tree.entries() {
                    if let Some(why) = paths::forbidden(&entry.path) {
                        let (path, owner) = (entry.path.clone(), owner(arriving, component));
                        self.conflicts.push(Conflict::Forbidden { path, owner, why });
                        continue;
                    }
                    let row = file_row(&mut canonical, component, tree, entry)?;
                    if let Some(why) = paths::forbidden(&row.path) {
                        let (path, owner) = (entry.path.clone(), owner(arriving, component));
                        self.conflicts.push(Conflict::Forbidden { path, owner, why });
                        continue;
                    }
                    self.claim_one(&mut claims, number, row);
                }
            }
        }
        Ok(claims)
    }

    /// Tells the resolver which links and directories the changeset brings.
    fn note_links(&self, canonical: &mut Canonical<'_>) -> Result<(), PlanError> {
        let mut links: Vec<(&[u8], &[u8])> = Vec::new();
        let mut directories: BTreeSet<&[u8]> = BTreeSet::new();
        let trees = self.scene.arriving.iter().flat_map(|arriving| &arriving.trees);
        for entry in trees.flat_map(|(_, tree)| tree.entries()) {
            match &entry.node {
                Node::Symlink { target } => links.push((&entry.path, target)),
                Node::Directory => {
                    directories.insert(&entry.path);
                }
                _ => {}
            }
        }
        // A link of ours that leaves, where a directory comes.
        for (path, row) in &self.leaving {
            if row.kind == Kind::Symlink
                && directories.contains(path.0.as_slice())
                && self.staying(&path.0)?.is_empty()
                && !links.iter().any(|(link, _)| *link == path.0.as_slice())
            {
                canonical.will_be_directory(path.0.clone());
            }
        }
        // Shallow ones first, because deeper ones may lie behind them.
        links.sort_by_key(|(path, _)| path.split(|byte| *byte == b'/').count());
        for (path, target) in links {
            let place = canonical.place(path)?;
            canonical.will_be_link(place, target);
        }
        Ok(())
    }

    fn claim_one(&mut self, claims: &mut Claims, number: usize, row: FileRow) {
        let owners = claims.entry(PathKey(row.path.clone())).or_default();
        if let Some((other, at)) = owners.first().copied() {
            let first = &self.files[other][at];
            let both_directories = first.kind == Kind::Directory && row.kind == Kind::Directory;
            if !both_directories {
                self.conflicts.push(Conflict::TwoOwners {
                    path: row.path.clone(),
                    one: owner(&self.scene.arriving[other], &first.component),
                    other: owner(&self.scene.arriving[number], &row.component),
                });
                return;
            }
            if owners.iter().any(|(other, _)| *other == number) {
                // Several components of one trove, or `lib` and `usr/lib` of it.
                return;
            }
        }
        owners.push((number, self.files[number].len()));
        self.files[number].push(row);
    }

    fn refuse_conflicts(&mut self) -> Result<(), PlanError> {
        if self.conflicts.is_empty() {
            return Ok(());
        }
        Err(PlanError::Conflicts { conflicts: std::mem::take(&mut self.conflicts) })
    }

    fn decide_claim(&mut self, path: &[u8], owners: &[(usize, usize)]) -> Result<(), PlanError> {
        let parent = paths::split(path).0;
        let disk = if self.made.contains(parent) { None } else { self.look(path)? };
        if disk.is_none() && !self.parent_will_be_directory(path, owners[0])? {
            return Ok(());
        }
        let staying = self.staying(path)?;
        let (trove, at) = owners[0];
        if self.files[trove][at].kind == Kind::Directory {
            return self.decide_directory(path, owners, disk, &staying);
        }
        if let Some(other) = staying.first() {
            let other = self.installed_owner(other);
            self.conflicts.push(Conflict::TwoOwners { path: path.to_vec(), one: self.owner_of(owners[0]), other });
            return Ok(());
        }
        self.decide_file(path, owners[0], disk)
    }

    /// Whether the directory of a new path is there or comes; otherwise a conflict is noted.
    fn parent_will_be_directory(&mut self, path: &[u8], owner: (usize, usize)) -> Result<bool, PlanError> {
        let parent = paths::split(path).0;
        if parent.is_empty() || self.made.contains(parent) {
            return Ok(true);
        }
        let found = self.look(parent)?.and_then(|found| found.kind);
        if found == Some(Kind::Directory) {
            return Ok(true);
        }
        self.conflicts.push(Conflict::NoDirectory {
            path: path.to_vec(),
            owner: self.owner_of(owner),
            parent: parent.to_vec(),
        });
        Ok(false)
    }

    fn decide_directory(
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

    fn put_directory(&mut self, path: &[u8], owners: &[(usize, usize)], over: Option<Over>) {
        self.made.insert(path.to_vec());
        self.put(path, owners.to_vec(), over);
    }

    /// Gives a directory of ours that stays the mode and owner that its package says; returns what it then has.
    fn set_directory(&mut self, path: &[u8], owner: (usize, usize), found: &Found) -> (u32, u32, u32) {
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

    fn decide_file(&mut self, path: &[u8], owner: (usize, usize), disk: Option<Found>) -> Result<(), PlanError> {
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
        let edited_config =
            !pristine && row.has(FLAG_CONFIG) && left.has(FLAG_CONFIG) && found.kind == Some(Kind::File);
        if edited_config {
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
    fn decide_unowned(&mut self, path: &[u8], owner: (usize, usize), found: &Found) -> Result<(), PlanError> {
        let row = self.files[owner.0][owner.1].clone();
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
    fn keep_edit(
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
    fn decide_put_back_over(
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
    fn leave(&mut self, owner: (usize, usize), left: &FileRow, found: &Found) {
        let row = &mut self.files[owner.0][owner.1];
        row.flags |= left.flags & FLAG_EXISTED;
        (row.applied_mode, row.uid, row.gid) = (left.applied_mode, left.uid, left.gid);
        row.fingerprint = left.fingerprint.filter(|print| *print == found.print);
        self.untouched.insert(owner, *found);
    }

    /// A hard link group of which one member is new is put anew as a whole.
    fn keep_groups_together(&mut self, claims: &Claims) {
        let put: HashSet<(usize, usize)> = self.out.puts.iter().flat_map(|put| put.rows.iter().copied()).collect();
        let mut groups: HashMap<(usize, Vec<u8>), Vec<Owner>> = HashMap::new();
        for owner in claims.values().flatten() {
            let row = &self.files[owner.0][owner.1];
            if row.kind == Kind::File {
                let first = row.link.as_ref().unwrap_or(&row.path);
                groups.entry((owner.0, first.clone())).or_default().push(*owner);
            }
        }
        groups.retain(|_, members| members.len() > 1);
        let mut fresh = HashSet::new();
        for ((_, first), members) in groups {
            let moved = members.iter().any(|member| put.contains(member));
            for member in members {
                if let (true, Some(found)) = (moved, self.untouched.remove(&member)) {
                    let path = self.files[member.0][member.1].path.clone();
                    self.put(&path, vec![member], Some(over(&found, false)));
                }
                fresh.insert((member, first.clone()));
            }
        }
        let fresh: HashMap<(usize, usize), Vec<u8>> = fresh.into_iter().collect();
        for put in &mut self.out.puts {
            let first = put.rows.first().and_then(|row| fresh.get(row));
            if let (What::File { group, .. }, Some(first)) = (&mut put.what, first) {
                *group = Some(first.clone());
            }
        }
    }

    /// Decides about files and links that leave and that nobody claims.
    fn decide_leaving(&mut self, claims: &Claims) -> Result<(), PlanError> {
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

    fn decide_leaving_file(&mut self, row: &FileRow, found: &Found) -> Result<(), PlanError> {
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
    fn decide_put_back(&mut self, claims: &Claims) -> Result<(), PlanError> {
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
                    }
                }
                (Some(found), Some(row)) if found.kind == Some(row.kind) && row.kind != Kind::Directory => {
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

    /// Removes unchanged files beside configuration files: of packages that leave, and those that a rollback undoes.
    fn decide_beside(&mut self) -> Result<(), PlanError> {
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
                let (path, seen) = (beside.path.clone(), found.seen());
                self.out.takes.push(Take::Remove { path, seen, strip: false });
                self.say(&beside.path, paths::show(&beside.of), PathAction::Remove { displaces: false });
                self.out.beside_gone.push(beside.path);
            }
        }
        Ok(())
    }

    /// Removes directories that nobody owns any more and that will be empty, the deepest first.
    fn decide_directories(&mut self, claims: &Claims) -> Result<(), PlanError> {
        let coming: HashSet<Vec<u8>> = self.out.puts.iter().map(|put| paths::split(&put.path).0.to_vec()).collect();
        let leaving = std::mem::take(&mut self.leaving);
        for (path, row) in leaving.iter().rev() {
            if row.kind != Kind::Directory
                || row.has(FLAG_EXISTED)
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
    fn check_emptied(&mut self) -> Result<(), PlanError> {
        for (path, owner, wanted) in std::mem::take(&mut self.emptied) {
            if let Some(name) = self.first_that_stays(&path)? {
                let inside = paths::join(&path, &name);
                self.conflicts.push(Conflict::DirectoryInUse { path, owner, wanted, inside });
            }
        }
        Ok(())
    }

    /// Returns a name of a directory that the changeset leaves in it.
    fn first_that_stays(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, PlanError> {
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

    fn finish(mut self) -> Decisions {
        self.out.files = self.files;
        self.out.puts.sort_by_cached_key(|put| PathKey(put.path.clone()));
        self.out.paths.sort_by_cached_key(|change| PathKey(change.path.clone()));
        self.out
    }

    // Looking

    fn directory(&mut self, path: &[u8]) -> Result<Option<Arc<OwnedFd>>, PlanError> {
        self.directories.get_if_present(path).map_err(|source| io_error(path, source))
    }

    fn look(&mut self, path: &[u8]) -> Result<Option<Found>, PlanError> {
        let (parent, name) = paths::split(path);
        match self.directory(parent)? {
            None => Ok(None),
            Some(directory) => beneath::stat(&*directory, name).map_err(|source| io_error(path, source)),
        }
    }

    /// Returns the rows of a path whose troves stay as they are.
    fn staying(&self, path: &[u8]) -> Result<Vec<FileRow>, PlanError> {
        let Some(db) = self.scene.db else {
            return Ok(Vec::new());
        };
        if self.names.len() == self.leaving_rows.len() {
            // No trove stays as it is.
            return Ok(Vec::new());
        }
        let mut rows = db.rows_at(path)?;
        rows.retain(|row| !self.leaving_rows.contains(&row.trove));
        Ok(rows)
    }

    fn hash(&mut self, path: &[u8]) -> Result<Digest, PlanError> {
        let (parent, name) = paths::split(path);
        let missing = || io_error(path, io::ErrorKind::NotFound.into());
        let directory = self.directory(parent)?.ok_or_else(missing)?;
        let file = beneath::open_file(&*directory, name).map_err(|source| io_error(path, source))?;
        crate::hash::of_file(file).map_err(|source| io_error(path, source))
    }

    fn link_target(&mut self, path: &[u8]) -> Result<Vec<u8>, PlanError> {
        let (parent, name) = paths::split(path);
        let missing = || io_error(path, io::ErrorKind::NotFound.into());
        let directory = self.directory(parent)?.ok_or_else(missing)?;
        beneath::read_link(&*directory, name).map_err(|source| io_error(path, source))
    }

    /// Whether a path holds what its row says was put there.
    fn is_pristine(&mut self, path: &[u8], row: &FileRow, found: &Found) -> Result<bool, PlanError> {
        if found.kind != Some(row.kind) {
            return Ok(false);
        }
        match row.kind {
            Kind::Directory => Ok(true),
            Kind::Symlink => Ok(Some(self.link_target(path)?) == row.target),
            Kind::File => {
                if found.size != row.size {
                    return Ok(false);
                }
                if row.fingerprint == Some(found.print) {
                    return Ok(true);
                }
                Ok(Some(self.hash(path)?) == row.object)
            }
        }
    }

    /// Whether something unowned is what a package would put there.
    fn is_identical(&mut self, path: &[u8], row: &FileRow, found: &Found) -> Result<bool, PlanError> {
        let link = row.kind == Kind::Symlink;
        let root = self.scene.uid == 0;
        if found.kind != Some(row.kind)
            || (!link && found.mode != applied_mode(row.mode, root))
            || !row.xattrs.is_empty()
        {
            return Ok(false);
        }
        if root && (found.uid, found.gid) != (self.owners.user(&row.owner), self.owners.group(&row.group)) {
            return Ok(false);
        }
        self.is_pristine(path, row, found)
    }

    /// Whether a path holds a displaced thing again.
    fn is_thing(&mut self, path: &[u8], thing: &Displaced, found: &Found) -> Result<bool, PlanError> {
        if found.kind != Some(thing.kind) {
            return Ok(false);
        }
        match thing.kind {
            Kind::Directory => Ok(true),
            Kind::Symlink => Ok(Some(self.link_target(path)?) == thing.target),
            Kind::File => Ok(found.size == thing.size && Some(self.hash(path)?) == thing.object),
        }
    }

    // Writing down

    fn displace_if_edited(&mut self, path: &[u8], left: &FileRow, found: &Found) -> Result<bool, PlanError> {
        if self.is_pristine(path, left, found)? {
            return Ok(false);
        }
        self.displace(path, found, true)?;
        Ok(true)
    }

    /// Writes something of a user's into the rollback record.
    fn displace(&mut self, path: &[u8], found: &Found, edit: bool) -> Result<(), PlanError> {
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
    fn put(&mut self, path: &[u8], rows: Vec<(usize, usize)>, over: Option<Over>) {
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
    fn put_thing(&mut self, thing: &Displaced, owner: Option<(usize, usize)>, over: Option<Over>) {
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

    fn in_the_way(&mut self, path: &[u8], owner: (usize, usize), found: &Found) {
        let (path, owner) = (path.to_vec(), self.owner_of(owner));
        self.conflicts.push(Conflict::InTheWay { path, owner, found: noun(found.kind) });
    }

    fn say(&mut self, path: &[u8], owner: String, action: PathAction) {
        self.out.paths.push(PathChange { path: path.to_vec(), owner, action });
    }

    fn owner_of(&self, (trove, at): (usize, usize)) -> String {
        owner(&self.scene.arriving[trove], &self.files[trove][at].component)
    }

    fn installed_owner(&self, row: &FileRow) -> String {
        let name = self.names.get(&row.trove).map_or("", String::as_str);
        format!("{name}:{}", row.component)
    }

    /// Returns a name beside `path` for something that is moved aside.
    fn free_name(&mut self, path: &[u8]) -> Result<Vec<u8>, PlanError> {
        let mut name = [path, SAVE].concat();
        let mut number = 1;
        while self.look(&name)?.is_some() {
            name = [path, SAVE, format!(".{number}").as_bytes()].concat();
            number += 1;
        }
        Ok(name)
    }
}

fn over(found: &Found, displaces: bool) -> Over {
    Over {
        seen: found.seen(),
        displaces,
        directory: found.kind == Some(Kind::Directory),
        strip: must_strip(found, None),
    }
}

/// Whether a link that a user keeps to this file would keep something that must go with it.
fn must_strip(found: &Found, row: Option<&FileRow>) -> bool {
    let capable = |row: &FileRow| row.xattrs.contains_key(b"security.capability".as_slice());
    found.kind == Some(Kind::File) && (found.mode & 0o6000 != 0 || (found.links > 1 && row.is_none_or(capable)))
}

/// Returns the mode that a thing gets: an ordinary user cannot give files to others, so set-id bits would be their own.
pub(crate) fn applied_mode(mode: u32, root: bool) -> u32 {
    if root { mode } else { mode & !0o6000 }
}

fn owner(arriving: &Arriving, component: &str) -> String {
    format!("{}:{component}", arriving.row.name)
}

/// Names a kind of thing for a message.
fn noun(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Directory) => "directory",
        Some(Kind::File) => "file",
        Some(Kind::Symlink) => "symbolic link",
        None => "special file",
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
        && left.flags & FLAG_CONFIG == row.flags & FLAG_CONFIG
}

fn is_applied(row: &FileRow, found: &Found, uid: u32) -> bool {
    let mode = row.kind == Kind::Symlink || row.applied_mode == found.mode;
    // An ordinary user's files have whatever group their directory gave them.
    mode && row.uid == found.uid && (uid != 0 || row.gid == found.gid)
}

fn io_error(path: &[u8], source: io::Error) -> PlanError {
    PlanError::Io { path: path.to_vec(), source }
}

/// Makes the row of an entry at its canonical path.
fn file_row(
    canonical: &mut Canonical<'_>,
    component: &str,
    tree: &Tree,
    entry: &store::Entry,
) -> Result<FileRow, PlanError> {
    let path = match entry.node {
        Node::Directory => canonical.directory(&entry.path)?,
        _ => canonical.place(&entry.path)?,
    };
    let (mut object, mut size, mut target, mut link) = (None, 0, None, None);
    let kind = match &entry.node {
        Node::Directory => Kind::Directory,
        Node::Symlink { target: text } => {
            target = Some(text.clone());
            Kind::Symlink
        }
        Node::File { object: digest, size: bytes } => {
            (object, size) = (Some(*digest), *bytes);
            Kind::File
        }
        Node::Hardlink { first } => {
            // A valid tree has the first name of each group.
            if let Some(Node::File { object: digest, size: bytes }) = tree.get(first).map(|entry| &entry.node) {
                (object, size) = (Some(*digest), *bytes);
            }
            link = Some(canonical.place(first)?);
            Kind::File
        }
    };
    let config = kind == Kind::File
        && (component == "config" || paths::is_below(&path, b"etc") || paths::is_below(&entry.path, b"etc"));
    Ok(FileRow {
        packaged: (path != entry.path).then(|| entry.path.clone()),
        path,
        trove: 0,
        component: component.to_owned(),
        kind,
        mode: entry.mode,
        owner: entry.owner.clone(),
        group: entry.group.clone(),
        applied_mode: 0,
        uid: 0,
        gid: 0,
        object,
        size,
        target,
        link,
        xattrs: entry.xattrs.clone(),
        flags: if config { FLAG_CONFIG } else { 0 },
        fingerprint: None,
    })
}
