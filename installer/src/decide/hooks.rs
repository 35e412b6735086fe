// installer/src/decide/hooks.rs
//! Links and account lines that hooks want: made, changed and taken away like everything else of a changeset.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use recipes::{Digest, HookAlternative};
use store::root_db::{HookKind, HookRow, Kind};

use super::record::over;
use super::{Claims, Decider};
use crate::accounts::{Accounts, FILES};
use crate::beneath::Found;
use crate::canonical::Canonical;
use crate::error::{Conflict, PlanError};
use crate::event::Warning;
use crate::hooks::is_account;
use crate::paths::{self, PathKey};
use crate::plan::{Over, Ownership, PathAction, Put, Take, What};

/// Who changes account files, where a path's owner is told.
const OWNER: &str = "hooks";

/// A link that is to be at a path.
struct Link {
    kind: HookKind,
    target: Vec<u8>,
    owner: String,
    /// Targets that hooks, too, may have given it.
    known: BTreeSet<Vec<u8>>,
}

impl Decider<'_> {
    /// Decides about links of services and alternatives.
    pub(super) fn decide_links(&mut self, claims: &Claims) -> Result<(), PlanError> {
        let scene = self.scene;
        let (before, after) = (&scene.hooks_before, &scene.hooks_after);
        let recorded: BTreeMap<Vec<u8>, &HookRow> =
            scene.recorded.iter().filter(|row| !is_account(row.kind)).map(|row| (row.key.clone(), row)).collect();
        if recorded.is_empty() && after.services.is_empty() && after.alternatives.is_empty() {
            return Ok(());
        }
        let mut canonical = Canonical::new(scene.root, scene.uid);
        self.note_links(&mut canonical)?;
        let mut links: BTreeMap<Vec<u8>, Link> = BTreeMap::new();
        let mut wanted_before: BTreeSet<Vec<u8>> = BTreeSet::new();
        for link in before.services.keys() {
            wanted_before.insert(canonical.place(link.trim_start_matches('/').as_bytes())?);
        }
        for (link, (target, owner)) in &after.services {
            let path = canonical.place(link.trim_start_matches('/').as_bytes())?;
            let (target, owner) = (target.clone().into_bytes(), owner.clone());
            links.insert(path, Link { kind: HookKind::Service, target, owner, known: BTreeSet::new() });
        }
        let old = grouped(&mut canonical, &before.alternatives)?;
        let new = grouped(&mut canonical, &after.alternatives)?;
        let mut known: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (_, alternative) in before.alternatives.iter().chain(&after.alternatives) {
            for (link, target) in [(&alternative.link, &alternative.target)].into_iter().chain(&alternative.also) {
                let path = canonical.place(link.trim_start_matches('/').as_bytes())?;
                known.entry(path).or_default().insert(target.clone().into_bytes());
            }
        }
        for candidates in old.values() {
            for (_, alternative) in candidates {
                for link in [&alternative.link].into_iter().chain(alternative.also.keys()) {
                    wanted_before.insert(canonical.place(link.trim_start_matches('/').as_bytes())?);
                }
            }
        }
        for (path, candidates) in &new {
            let Some((owner, chosen)) = self.choose(path, candidates, recorded.get(path).copied())? else {
                continue;
            };
            for (link, target) in [(&chosen.link, &chosen.target)].into_iter().chain(&chosen.also) {
                let path = canonical.place(link.trim_start_matches('/').as_bytes())?;
                let known = known.get(&path).cloned().unwrap_or_default();
                let (target, owner) = (target.clone().into_bytes(), owner.clone());
                links.insert(path, Link { kind: HookKind::Alternative, target, owner, known });
            }
        }
        for (path, link) in &links {
            let row = recorded.get(path).copied();
            self.decide_link(path, link, row, wanted_before.contains(path), claims)?;
        }
        for (path, row) in &recorded {
            if !links.contains_key(path) && !claims.contains_key(&PathKey(path.clone())) {
                let none = BTreeSet::new();
                self.remove_link(path, row, known.get(path).unwrap_or(&none))?;
            }
        }
        Ok(())
    }

    /// Chooses who stands behind a name: what somebody set it to, where that is declared, else the highest priority.
    fn choose<'c>(
        &mut self,
        path: &[u8],
        candidates: &'c [&(String, HookAlternative)],
        row: Option<&HookRow>,
    ) -> Result<Option<&'c (String, HookAlternative)>, PlanError> {
        let best = candidates.iter().copied().min_by_key(|(owner, one)| (Reverse(one.priority), owner.clone()));
        let Some(row) = row else {
            return Ok(best);
        };
        let there = self.link_at(path)?.filter(|target| *target != row.value);
        let set = candidates.iter().copied().find(|(_, one)| there.as_deref() == Some(one.target.as_bytes()));
        Ok(set.or(best))
    }

    fn decide_link(
        &mut self,
        path: &[u8],
        link: &Link,
        row: Option<&HookRow>,
        before: bool,
        claims: &Claims,
    ) -> Result<(), PlanError> {
        let claimed = claims.get(&PathKey(path.to_vec())).map(|owners| self.owner_of(owners[0]));
        let other = match claimed {
            Some(owner) => Some(owner),
            None => self.staying(path)?.first().map(|row| self.installed_owner(row)),
        };
        if let Some(other) = other {
            self.conflicts.push(Conflict::TwoOwners { path: path.to_vec(), one: link.owner.clone(), other });
            return Ok(());
        }
        let found = self.look(path)?;
        let there = if found.is_some() { self.link_at(path)? } else { None };
        if let Some(row) = row {
            let ours = there.as_ref().is_some_and(|there| *there == row.value || link.known.contains(there));
            let mut value = row.value.clone();
            if ours && there.as_ref() != Some(&link.target) {
                self.put_link(path, link, found.map(|found| over(&found, false)));
                value.clone_from(&link.target);
            } else if ours {
                value.clone_from(&link.target);
            }
            self.hook_rows.push(HookRow { kind: link.kind, key: path.to_vec(), value });
            return Ok(());
        }
        let made = HookRow { kind: link.kind, key: path.to_vec(), value: link.target.clone() };
        let Some(found) = found else {
            // What was wanted before and is not there was taken out by somebody.
            if !before {
                if self.parent_is_missing(path, &link.owner)? {
                    return Ok(());
                }
                self.put_link(path, link, None);
                self.hook_rows.push(made);
            }
            return Ok(());
        };
        if self.gone.contains(path) {
            // A file of a package that leaves: the link takes its place.
            self.out.takes.retain(|take| take.path() != path);
            self.out.paths.retain(|change| change.path != path);
            self.gone.remove(path);
            let displaces = self.out.displaced.iter().any(|(thing, _)| thing.path == path);
            self.put_link(path, link, Some(over(&found, displaces)));
            self.hook_rows.push(made);
        } else if there.as_ref() == Some(&link.target) {
            self.say(path, link.owner.clone(), PathAction::Adopt);
        } else if before || (there.is_some() && link.kind == HookKind::Service) {
            // An administrator's.
        } else if self.scene.replace && matches!(found.kind, Some(Kind::File | Kind::Symlink)) {
            self.displace(path, &found, false)?;
            self.put_link(path, link, Some(over(&found, true)));
            self.hook_rows.push(made);
        } else {
            let found = super::disk::noun(found.kind);
            self.conflicts.push(Conflict::InTheWay { path: path.to_vec(), owner: link.owner.clone(), found });
        }
        Ok(())
    }

    fn remove_link(&mut self, path: &[u8], row: &HookRow, known: &BTreeSet<Vec<u8>>) -> Result<(), PlanError> {
        let Some(found) = self.look(path)? else {
            return Ok(());
        };
        if self.link_at(path)?.is_some_and(|there| there == row.value || known.contains(&there)) {
            self.gone.insert(path.to_vec());
            self.out.takes.push(Take::Remove { path: path.to_vec(), seen: found.seen(), strip: false });
            self.say(path, OWNER.to_owned(), PathAction::Remove { displaces: false });
        }
        Ok(())
    }

    /// Whether something that nobody owns is a link that a hook made.
    pub(super) fn is_hook_link(&mut self, path: &[u8], found: &Found) -> Result<bool, PlanError> {
        let row = self.scene.recorded.iter().find(|row| !is_account(row.kind) && row.key == path);
        let Some(row) = row.filter(|_| found.kind == Some(Kind::Symlink)) else {
            return Ok(false);
        };
        Ok(self.link_target(path)? == row.value)
    }

    fn parent_is_missing(&mut self, path: &[u8], owner: &str) -> Result<bool, PlanError> {
        let parent = paths::split(path).0;
        let there = parent.is_empty()
            || self.made.contains(parent)
            || self.look(parent)?.is_some_and(|found| found.kind == Some(Kind::Directory));
        if !there {
            let (path, parent) = (path.to_vec(), parent.to_vec());
            self.conflicts.push(Conflict::NoDirectory { path, owner: owner.to_owned(), parent });
        }
        Ok(!there)
    }

    fn link_at(&mut self, path: &[u8]) -> Result<Option<Vec<u8>>, PlanError> {
        match self.look(path)? {
            Some(found) if found.kind == Some(Kind::Symlink) => Ok(Some(self.link_target(path)?)),
            _ => Ok(None),
        }
    }

    fn put_link(&mut self, path: &[u8], link: &Link, over: Option<Over>) {
        let action = match over {
            None => PathAction::Add,
            Some(Over { displaces, .. }) => PathAction::Replace { displaces },
        };
        self.say(path, link.owner.clone(), action);
        self.out.puts.push(Put {
            path: path.to_vec(),
            what: What::Symlink { target: link.target.clone() },
            mode: 0o777,
            owner: Ownership::Names { owner: "root".to_owned(), group: "root".to_owned() },
            xattrs: BTreeMap::new(),
            over,
            rows: Vec::new(),
        });
    }

    /// Decides about account files, once it is known what stays; says whether one of them goes.
    pub(super) fn decide_accounts(&mut self) -> Result<bool, PlanError> {
        let mut removed = false;
        let mut rows = std::mem::take(&mut self.hook_rows);
        if let Some(mut accounts) = self.scene.accounts.clone() {
            accounts.kept = self.kept(&accounts)?;
            let mut leaves = [false; 4];
            for (place, path) in FILES.into_iter().enumerate() {
                leaves[place] = self.out.takes.iter().any(|take| take.path() == path);
                if self.out.puts.iter().any(|put| put.path == path) {
                    accounts.fresh[place] = true;
                    accounts.texts[place] = Some(Vec::new());
                }
            }
            let outcome = accounts.outcome();
            self.out.warnings.extend(outcome.warnings);
            for (place, path) in FILES.into_iter().enumerate() {
                let (before, after) = (&accounts.texts[place], &outcome.texts[place]);
                if !accounts.fresh[place] && !leaves[place] && before != after {
                    removed |= self.change_account_file(path, after.as_deref())?;
                }
            }
            rows.extend(outcome.rows);
            if accounts.fresh.contains(&true) {
                self.out.accounts = Some(accounts);
            }
        }
        rows.sort();
        if rows != self.scene.recorded || self.out.accounts.is_some() {
            self.out.hooks = Some(rows);
        }
        Ok(removed)
    }

    fn change_account_file(&mut self, path: &[u8], after: Option<&[u8]>) -> Result<bool, PlanError> {
        let found = self.look(path)?;
        if let Some(found) = found
            && found.kind != Some(Kind::File)
        {
            let (path, owner) = (path.to_vec(), OWNER.to_owned());
            self.conflicts.push(Conflict::InTheWay { path, owner, found: super::disk::noun(found.kind) });
            return Ok(false);
        }
        let Some(content) = after else {
            if let Some(found) = found {
                self.gone.insert(path.to_vec());
                self.out.takes.push(Take::Remove { path: path.to_vec(), seen: found.seen(), strip: false });
                self.say(path, OWNER.to_owned(), PathAction::Remove { displaces: false });
            }
            return Ok(found.is_some());
        };
        let root = || "root".to_owned();
        let (mode, owner) = match &found {
            Some(found) => (found.mode, Ownership::Ids { uid: found.uid, gid: found.gid }),
            None => (0o644, Ownership::Names { owner: root(), group: root() }),
        };
        if found.is_none() && self.parent_is_missing(path, OWNER)? {
            return Ok(false);
        }
        let object = Digest::blake3(*blake3::hash(content).as_bytes());
        self.out.contents.push(content.to_vec());
        let action = if found.is_some() { PathAction::Replace { displaces: false } } else { PathAction::Add };
        self.say(path, OWNER.to_owned(), action);
        self.out.puts.push(Put {
            path: path.to_vec(),
            what: What::File { object, size: content.len() as u64, private: true, group: None },
            mode,
            owner,
            xattrs: BTreeMap::new(),
            over: found.map(|found| over(&found, false)),
            rows: Vec::new(),
        });
        Ok(false)
    }

    /// Returns the accounts that still own something which stays: their numbers must not fall to others.
    fn kept(&mut self, accounts: &Accounts) -> Result<BTreeSet<String>, PlanError> {
        let mut kept = BTreeSet::new();
        let mut owned: BTreeSet<String> = BTreeSet::new();
        let saved: BTreeSet<Vec<u8>> = (self.out.takes.iter())
            .filter(|take| matches!(take, Take::Save { .. }))
            .map(|take| take.path().to_vec())
            .collect();
        let leaving = std::mem::take(&mut self.leaving);
        for (path, row) in &leaving {
            let stays = match row.kind {
                Kind::Directory => !self.gone.contains(&path.0) && self.look(&path.0)?.is_some(),
                _ => saved.contains(&path.0),
            };
            if stays {
                owned.extend([row.owner.clone(), row.group.clone()]);
            }
        }
        self.leaving = leaving;
        for row in &accounts.recorded {
            let name = String::from_utf8_lossy(&row.key).into_owned();
            let fields: Vec<&[u8]> = row.value.split(|byte| *byte == b':').collect();
            let user = row.kind == HookKind::User && !accounts.users.contains_key(&name);
            let group = row.kind == HookKind::Group && !accounts.groups.contains_key(&name);
            let mut keep = (user || group) && owned.contains(&name);
            if user && let (Some(id), Some(home)) = (fields.get(2), fields.get(5)) {
                let home = home.strip_prefix(b"/").unwrap_or(home);
                let found = if home.is_empty() || self.gone.contains(home) { None } else { self.look(home)? };
                let id = str::from_utf8(id).ok().and_then(|id| id.parse().ok());
                keep |= found.is_some_and(|found| Some(found.uid) == id);
            }
            if keep && kept.insert(name.clone()) {
                self.out.warnings.push(Warning::AccountKept { name: name.clone() });
            }
            if keep && user {
                // And the group that its files are of.
                let gid = fields.get(3).copied().unwrap_or_default();
                let is_first = |row: &&HookRow| {
                    row.kind == HookKind::Group && row.value.split(|byte| *byte == b':').nth(2) == Some(gid)
                };
                let first = accounts.recorded.iter().find(is_first);
                kept.extend(first.map(|row| String::from_utf8_lossy(&row.key).into_owned()));
            }
        }
        Ok(kept)
    }
}

type Candidates<'a> = BTreeMap<Vec<u8>, Vec<&'a (String, HookAlternative)>>;

/// Returns alternatives by the canonical path of their links.
fn grouped<'a>(
    canonical: &mut Canonical<'_>,
    all: &'a [(String, HookAlternative)],
) -> Result<Candidates<'a>, PlanError> {
    let mut grouped = Candidates::new();
    for one in all {
        let path = canonical.place(one.1.link.trim_start_matches('/').as_bytes())?;
        grouped.entry(path).or_default().push(one);
    }
    Ok(grouped)
}
