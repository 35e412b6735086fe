// installer/src/decide.rs
//! From troves to paths: what happens to each path, by the table in docs/design/transaction.md.
//!
//! Looks at the root and the database, changes nothing. Claims (what the arriving troves want) are taken in path order, so that a
//! directory is decided before what it holds; then the rows of leaving troves that nobody claims.

mod claimed;
mod disk;
mod hooks;
mod leaving;
mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use store::root_db::{
    Beside, Displaced, FLAG_CONFIG, FLAG_EXISTED, FLAG_NOREPLACE, FileRow, HookRow, Kind, RootDb, TroveRow,
};
use store::{Config, Node, Tree};

use crate::accounts::Accounts;
use crate::beneath::{Beneath, Directories, Found, Seen};
use crate::canonical::Canonical;
use crate::error::{Conflict, PlanError};
use crate::event::Warning;
use crate::hooks::Wanted;
use crate::owners::Owners;
use crate::paths::{self, PathKey};
use crate::plan::{PathAction, PathChange, Put, Take};

/// Suffix of a packaged configuration file beside an edited one.
pub(crate) const NEW: &[u8] = b".conary-new";
/// Suffix of something of a user's that was moved aside.
pub(crate) const SAVE: &[u8] = b".conary-save";

/// A trove whose files are to be put in place.
pub(crate) struct Arriving {
    pub row: TroveRow,
    pub config: Config,
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
    /// Users and groups, with those that come.
    pub owners: Owners,
    pub accounts: Option<Accounts>,
    /// What the installed troves want, and those that will be.
    pub hooks_before: Wanted,
    pub hooks_after: Wanted,
    /// What hooks made.
    pub recorded: Vec<HookRow>,
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
    pub hooks: Option<Vec<HookRow>>,
    pub accounts: Option<Accounts>,
    pub contents: Vec<Vec<u8>>,
    pub warnings: Vec<Warning>,
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
    decider.decide_links(&claims)?;
    decider.decide_put_back(&claims)?;
    decider.decide_beside()?;
    decider.decide_directories(&claims)?;
    if decider.decide_accounts()? {
        decider.decide_directories(&claims)?;
    }
    decider.check_emptied()?;
    decider.refuse_conflicts()?;
    Ok(decider.finish())
}

/// Returns the rows of troves that are installed already, with nothing decided about them.
pub(crate) fn rows(scene: &Scene<'_>) -> Result<Vec<Vec<FileRow>>, PlanError> {
    let mut decider = Decider::new(scene)?;
    let claims = decider.claim()?;
    decider.refuse_conflicts()?;
    for (path, owners) in claims {
        let found = decider.look(&path.0)?;
        for (trove, at) in owners {
            let row = &mut decider.files[trove][at];
            row.applied_mode = applied_mode(row.mode, scene.uid == 0);
            row.uid = scene.uid;
            row.gid = found.as_ref().map_or(scene.uid, |found| found.gid);
            if scene.uid == 0 {
                (row.uid, row.gid) = (decider.owners.user(&row.owner), decider.owners.group(&row.group));
            }
            // A directory that is otherwise was there before, and was left so.
            let other = found.as_ref().is_some_and(|found| found.mode != row.applied_mode || found.uid != row.uid);
            if row.kind == Kind::Directory && other {
                row.flags |= FLAG_EXISTED;
            }
        }
    }
    Ok(decider.files)
}

/// An owner of a claimed path, as (trove, file).
type Owner = (usize, usize);

/// Owners of claimed paths; several for a directory.
type Claims = BTreeMap<PathKey, Vec<Owner>>;

struct Decider<'a> {
    scene: &'a Scene<'a>,
    directories: Directories<'a>,
    /// Directories that were looked for and are not there.
    absent: HashSet<Vec<u8>>,
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
    /// What hooks have made in the end.
    hook_rows: Vec<HookRow>,
    out: Decisions,
}

impl<'a> Decider<'a> {
    fn new(scene: &'a Scene<'a>) -> Result<Self, PlanError> {
        Ok(Self {
            scene,
            directories: Directories::new(scene.root),
            absent: HashSet::new(),
            owners: scene.owners.clone(),
            names: scene.db.map(RootDb::names).transpose()?.unwrap_or_default(),
            leaving_rows: scene.leaving.iter().copied().collect(),
            leaving: BTreeMap::new(),
            files: Vec::new(),
            conflicts: Vec::new(),
            made: HashSet::new(),
            gone: HashSet::new(),
            emptied: Vec::new(),
            untouched: HashMap::new(),
            hook_rows: Vec::new(),
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
                    let row = file_row(&mut canonical, arriving, component, tree, entry)?;
                    if let Some(why) = row.packaged.as_ref().and_then(|_| paths::forbidden(&row.path)) {
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
        links.sort_by_cached_key(|(path, _)| path.split(|byte| *byte == b'/').count());
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

    fn finish(mut self) -> Decisions {
        self.out.files = self.files;
        self.out.puts.sort_by(|one, other| paths::compare(&one.path, &other.path));
        self.out.paths.sort_by(|one, other| paths::compare(&one.path, &other.path));
        self.out
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
}

/// Returns the mode that a thing gets: an ordinary user cannot give files to others, so set-id bits would be their own.
pub(crate) fn applied_mode(mode: u32, root: bool) -> u32 {
    if root { mode } else { mode & !0o6000 }
}

fn owner(arriving: &Arriving, component: &str) -> String {
    format!("{}:{component}", arriving.row.name)
}

/// Makes the row of an entry at its canonical path.
fn file_row(
    canonical: &mut Canonical<'_>,
    arriving: &Arriving,
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
    let flags = if kind == Kind::File { config_flags(&arriving.config, component, &path, &entry.path) } else { 0 };
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
        flags,
        fingerprint: None,
    })
}

/// Returns the flags of a regular file: configuration is what lies below `etc`, in a component of that name, or is declared.
fn config_flags(config: &Config, component: &str, path: &[u8], packaged: &[u8]) -> u32 {
    let declared = |list: &[String]| list.iter().any(|declared| declared.as_bytes().get(1..) == Some(packaged));
    if declared(&config.noreplace) {
        return FLAG_CONFIG | FLAG_NOREPLACE;
    }
    let below = paths::is_below(path, b"etc") || paths::is_below(packaged, b"etc");
    if component == "config" || below || declared(&config.files) { FLAG_CONFIG } else { 0 }
}
