// installer/src/solve.rs
//! From requests to troves: which set of troves the root will hold.
//!
//! Versions are not searched for: the newest trove of the first source that fits is taken, and what does not fit is refused. Nothing here
//! looks at files, except to ask whether the root itself meets a scanned requirement.

mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use recipes::{Capability, Comparison, Digest, Requirement, TroveSpec};
use store::Manifest;
use store::root_db::{ChangeRow, Displaced, Held, Reason, RootDb, TroveRow};

use crate::error::PlanError;
use crate::event::Warning;
use crate::plan::{Origin, Request, Rollback};
use crate::policy;
use crate::provided::RootFiles;
use crate::state;

pub(crate) use sources::Sources;

/// The component that is not installed unless it is asked for.
const NOT_BY_DEFAULT: &str = "debuginfo";

/// A trove of the set.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub manifest: Manifest,
    pub digest: Digest,
    pub components: BTreeSet<String>,
    pub reason: Reason,
    pub origin: Origin,
    /// Somebody asked for exactly this, so that even an equal one is put there again.
    pub asked: bool,
}

impl Member {
    pub fn spec(&self) -> String {
        self.manifest.spec().to_string()
    }

    pub fn held(&self) -> Held {
        Held {
            spec: self.spec(),
            digest: self.digest,
            components: self.components.iter().cloned().collect(),
            reason: self.reason,
        }
    }
}

/// The set that the root will hold, and how it differs.
#[derive(Debug)]
pub(crate) struct Solution {
    pub members: BTreeMap<String, Member>,
    /// What is installed now.
    pub installed: BTreeMap<String, (TroveRow, Member)>,
    pub warnings: Vec<Warning>,
    pub returns_to: Option<i64>,
    /// Things that a rollback puts back, by path.
    pub put_back: BTreeMap<Vec<u8>, Displaced>,
}

impl Solution {
    /// Returns the names whose files are to be looked at: new, changed or asked for.
    pub fn arriving(&self) -> Vec<&str> {
        let differs = |name: &str, member: &Member| match self.installed.get(name) {
            None => true,
            Some((_, now)) => member.asked || now.digest != member.digest || now.components != member.components,
        };
        self.members.iter().filter(|(name, member)| differs(name, member)).map(|(name, _)| name.as_str()).collect()
    }

    /// Returns the rows of names that leave the set.
    pub fn departing(&self) -> Vec<&TroveRow> {
        let gone = self.installed.iter().filter(|(name, _)| !self.members.contains_key(*name));
        gone.map(|(_, (row, _))| row).collect()
    }

    /// Returns what changes, by name; an equal reinstall is not a change.
    pub fn changes(&self) -> Vec<ChangeRow> {
        let names: BTreeSet<&String> = self.members.keys().chain(self.installed.keys()).collect();
        let change = |name: &String| {
            let before = self.installed.get(name).map(|(_, member)| member.held());
            let after = self.members.get(name).map(Member::held);
            (before != after).then(|| ChangeRow { name: name.clone(), before, after })
        };
        names.into_iter().filter_map(change).collect()
    }
}

/// Solves requests against what is installed.
pub(crate) fn solve(
    requests: &[Request],
    db: Option<&RootDb>,
    sources: &mut Sources<'_>,
    files: &mut RootFiles<'_>,
) -> Result<Solution, PlanError> {
    let installed = read_installed(db)?;
    let members = installed.iter().map(|(name, (_, member))| (name.clone(), member.clone())).collect();
    let mut solution =
        Solution { members, installed, warnings: Vec::new(), returns_to: None, put_back: BTreeMap::new() };
    let mut asked = BTreeSet::new();
    let mut orphans_go = false;
    sources.open_ahead(requests);
    for request in requests {
        let name = match request {
            Request::Install { package } => {
                let (manifest, digest) = sources.open_package(package)?;
                install(&mut solution, manifest, digest, Origin::Package(package.clone()), None)?
            }
            Request::InstallName(spec) => install_name(&mut solution, spec, sources)?,
            Request::Remove(spec) => remove(&mut solution, spec)?,
            Request::Repair(spec) => repair(&mut solution, spec)?,
            Request::Mark { spec, reason } => mark(&mut solution, spec, *reason)?,
            Request::RemoveOrphans => {
                orphans_go = true;
                continue;
            }
            Request::Config { .. } => return Err(PlanError::Mixed),
            Request::Rollback(rollback) => {
                if requests.len() > 1 {
                    return Err(PlanError::Mixed);
                }
                roll_back(&mut solution, *rollback, db, sources)?;
                return Ok(solution);
            }
        };
        if !asked.insert((name.clone(), component_of(request))) {
            return Err(PlanError::Twice { name });
        }
    }
    replace(&mut solution, &asked)?;
    pull(&mut solution, sources, files)?;
    if orphans_go {
        let holds = db.map(RootDb::holds).transpose()?.unwrap_or_default();
        for name in policy::orphans(&solution.members, &holds) {
            solution.members.remove(&name);
        }
    }
    check(&mut solution, files)?;
    Ok(solution)
}

fn component_of(request: &Request) -> Option<String> {
    match request {
        Request::InstallName(spec) | Request::Remove(spec) => spec.component.clone(),
        Request::Install { .. }
        | Request::Repair(_)
        | Request::Mark { .. }
        | Request::RemoveOrphans
        | Request::Config { .. }
        | Request::Rollback(_) => None,
    }
}

pub(crate) fn read_installed(db: Option<&RootDb>) -> Result<BTreeMap<String, (TroveRow, Member)>, PlanError> {
    let rows = db.map(RootDb::troves).transpose()?.unwrap_or_default();
    let mut installed = BTreeMap::new();
    for row in rows {
        let manifest =
            Manifest::from_json(&row.manifest).map_err(|_| PlanError::Manifest { name: row.name.clone() })?;
        let member = Member {
            manifest,
            digest: row.digest,
            components: row.components.keys().cloned().collect(),
            reason: row.reason,
            origin: Origin::Own,
            asked: false,
        };
        installed.insert(row.name.clone(), (row, member));
    }
    Ok(installed)
}

/// Puts a trove into the set; returns its name.
fn install(
    solution: &mut Solution,
    manifest: Manifest,
    digest: Digest,
    origin: Origin,
    component: Option<&str>,
) -> Result<String, PlanError> {
    let name = manifest.name.to_string();
    let present = solution.members.get(&name);
    let mut components: BTreeSet<String> = match component {
        Some(component) if manifest.components.contains_key(component) => BTreeSet::from([component.to_owned()]),
        Some(component) => {
            let (trove, component) = (manifest.spec().to_string(), component.to_owned());
            return Err(PlanError::NoComponent { trove, component });
        }
        None => manifest.components.keys().filter(|name| *name != NOT_BY_DEFAULT).cloned().collect(),
    };
    if let Some(present) = present {
        if present.asked && present.digest != digest {
            return Err(PlanError::Twice { name });
        }
        let kept = present.components.iter().filter(|name| manifest.components.contains_key(*name));
        components.extend(kept.cloned());
    }
    let reason = Reason::Explicit;
    let member = Member { manifest, digest, components, reason, origin, asked: true };
    solution.members.insert(name.clone(), member);
    Ok(name)
}

fn install_name(solution: &mut Solution, spec: &TroveSpec, sources: &Sources<'_>) -> Result<String, PlanError> {
    let present = solution.members.get(spec.name.as_str());
    if let (Some(component), None, Some(present)) = (&spec.component, &spec.version, present)
        && present.manifest.components.contains_key(component)
    {
        let (manifest, digest, origin) = (present.manifest.clone(), present.digest, present.origin.clone());
        return install(solution, manifest, digest, origin, Some(component));
    }
    let fits = |manifest: &Manifest| {
        let found = manifest.spec();
        (spec.version.is_none() || spec.version == found.version)
            && (spec.flavor.is_empty() || spec.flavor == found.flavor)
            && (spec.label.is_none() || spec.label == found.label)
    };
    let found = sources.find(spec.name.as_str(), &fits)?;
    let (manifest, digest, origin) = found.ok_or_else(|| PlanError::NoTrove { spec: spec.to_string() })?;
    install(solution, manifest, digest, origin, spec.component.as_deref())
}

fn remove(solution: &mut Solution, spec: &TroveSpec) -> Result<String, PlanError> {
    let name = spec.name.to_string();
    let not_installed = || PlanError::NotInstalled { spec: spec.to_string() };
    let member = solution.members.get_mut(&name).ok_or_else(not_installed)?;
    let found = member.manifest.spec();
    if (spec.version.is_some() && spec.version != found.version)
        || (!spec.flavor.is_empty() && spec.flavor != found.flavor)
        || (spec.label.is_some() && spec.label != found.label)
    {
        return Err(not_installed());
    }
    if let Some(component) = &spec.component {
        if !member.components.remove(component) {
            return Err(not_installed());
        }
        if !member.components.is_empty() {
            return Ok(name);
        }
    }
    solution.members.remove(&name);
    Ok(name)
}

/// Looks at the files of an installed trove again; returns its name.
fn repair(solution: &mut Solution, spec: &TroveSpec) -> Result<String, PlanError> {
    let name = spec.name.to_string();
    let member = solution.members.get_mut(&name);
    member.ok_or_else(|| PlanError::NotInstalled { spec: spec.to_string() })?.asked = true;
    Ok(name)
}

/// Says why an installed trove is there; returns its name.
fn mark(solution: &mut Solution, spec: &TroveSpec, reason: Reason) -> Result<String, PlanError> {
    let name = spec.name.to_string();
    let member = solution.members.get_mut(&name);
    member.ok_or_else(|| PlanError::NotInstalled { spec: spec.to_string() })?.reason = reason;
    Ok(name)
}

/// Lets troves that declare to replace others take their place.
fn replace(solution: &mut Solution, asked: &BTreeSet<(String, Option<String>)>) -> Result<(), PlanError> {
    let arriving: Vec<String> = solution.arriving().into_iter().map(str::to_owned).collect();
    for name in arriving {
        let Some(member) = solution.members.get(&name) else {
            continue;
        };
        let replaced = capabilities(&member.manifest.replaces);
        let spec = member.spec();
        let gone: Vec<String> = solution
            .members
            .iter()
            .filter(|(other, member)| {
                **other != name && replaced.iter().any(|wanted| wanted.satisfied_by(&own_provide(&member.manifest)))
            })
            .map(|(other, _)| other.clone())
            .collect();
        for other in gone {
            let wanted = solution.members.get(&other).is_some_and(|member| member.asked);
            if wanted && asked.iter().any(|(name, _)| *name == other) {
                let other = solution.members[&other].spec();
                return Err(PlanError::Excludes { trove: spec, other });
            }
            solution.members.remove(&other);
        }
    }
    Ok(())
}

/// Pulls in what arriving troves require.
fn pull(solution: &mut Solution, sources: &mut Sources<'_>, files: &mut RootFiles<'_>) -> Result<(), PlanError> {
    let mut queue: VecDeque<String> = solution.arriving().into_iter().map(str::to_owned).collect();
    let mut given = Given::of(&solution.members);
    for name in &queue {
        note_files(&solution.members[name], sources, files)?;
    }
    while let Some(name) = queue.pop_front() {
        let Some(member) = solution.members.get(&name).cloned() else {
            continue;
        };
        for (requirement, _) in requirements(&member) {
            if given.meets(&requirement) || sources.unmet.contains(&requirement) || files.meets(&requirement) {
                continue;
            }
            let Some((manifest, digest, origin, component)) = find_for(&requirement, &solution.members, sources)?
            else {
                sources.unmet.insert(requirement);
                continue;
            };
            let pulled = manifest.name.to_string();
            let before = solution.members.get(&pulled).map(|member| (member.reason, member.asked));
            install(solution, manifest, digest, origin, None)?;
            if let Some(member) = solution.members.get_mut(&pulled) {
                member.components.extend(component);
                member.reason = before.map_or(Reason::Dependency, |(reason, _)| reason);
                member.asked = before.is_some_and(|(_, asked)| asked);
            }
            note_files(&solution.members[&pulled], sources, files)?;
            given = Given::of(&solution.members);
            queue.push_back(pulled);
        }
    }
    Ok(())
}

/// Tells which paths and sonames a member brings.
fn note_files(member: &Member, sources: &mut Sources<'_>, files: &mut RootFiles<'_>) -> Result<(), PlanError> {
    for component in &member.components {
        let tree = sources.tree(member, component)?;
        files.will_have(tree);
    }
    Ok(())
}

type Found = (Manifest, Digest, Origin, Option<String>);

fn find_for(
    requirement: &Requirement,
    members: &BTreeMap<String, Member>,
    sources: &Sources<'_>,
) -> Result<Option<Found>, PlanError> {
    let fits = |manifest: &Manifest| match members.get(manifest.name.as_str()) {
        // What was asked for by version stays; only a component may be added.
        Some(present) => !present.asked || present.digest == manifest.id(),
        None => true,
    };
    for wanted in &requirement.alternatives {
        if let Some((manifest, digest, origin)) = sources.find_provider(wanted, &fits)? {
            let component = match wanted {
                Capability::Package { component, .. } => component.clone(),
                _ => None,
            };
            return Ok(Some((manifest, digest, origin, component)));
        }
    }
    Ok(None)
}

/// Checks the set: requirements by name and exclusions; what is only found out by scanning is a warning.
fn check(solution: &mut Solution, files: &mut RootFiles<'_>) -> Result<(), PlanError> {
    let given = Given::of(&solution.members);
    let before = solution.installed.iter().map(|(name, (_, member))| (name.clone(), member.clone()));
    let before = Given::of(&before.collect());
    let arriving: BTreeSet<String> = solution.arriving().into_iter().map(str::to_owned).collect();
    let mut warnings = Vec::new();
    for (name, member) in &solution.members {
        let comes = arriving.contains(name);
        for (requirement, named) in requirements(member) {
            if given.meets(&requirement) || (!named && files.meets(&requirement)) {
                continue;
            }
            let (trove, text) = (member.spec(), requirement.to_string());
            if !named {
                if comes || before.meets(&requirement) {
                    warnings.push(Warning::Unmet { trove, requirement: text });
                }
            } else if comes && !files.meets(&requirement) {
                return Err(PlanError::Unmet { trove, requirement: text });
            } else if !comes && before.meets(&requirement) {
                return Err(PlanError::Breaks { trove, requirement: text });
            }
        }
        for wanted in capabilities(&member.manifest.conflicts) {
            let hit = given
                .givers(&wanted)
                .into_iter()
                .find(|other| *other != name.as_str() && (comes || arriving.contains(*other)));
            if let Some(other) = hit {
                let other = solution.members[other].spec();
                return Err(PlanError::Excludes { trove: member.spec(), other });
            }
        }
        if comes {
            for text in &member.manifest.recommends {
                let met = text.parse().is_ok_and(|wanted: Requirement| given.meets(&wanted));
                if !met {
                    let requirement = text.clone();
                    warnings.push(Warning::Recommended { trove: member.spec(), requirement });
                }
            }
        }
    }
    solution.warnings.extend(warnings);
    Ok(())
}

/// Makes the set what it was right after an earlier changeset.
fn roll_back(
    solution: &mut Solution,
    rollback: Rollback,
    db: Option<&RootDb>,
    sources: &Sources<'_>,
) -> Result<(), PlanError> {
    let changesets = db.map(RootDb::changesets).transpose()?.unwrap_or_default();
    let last = changesets.last().map_or(0, |changeset| changeset.number);
    let target = match rollback {
        Rollback::Last if last == 0 => return Err(PlanError::NoChangeset { number: 0 }),
        Rollback::Last => last - 1,
        Rollback::Redo => state::redone(&changesets)?,
        Rollback::To(number) => number,
    };
    if target < 0 || target > last {
        return Err(PlanError::NoChangeset { number: target });
    }
    let oldest = db.map(RootDb::kept_from).transpose()?.unwrap_or(0);
    if target < oldest {
        return Err(PlanError::Pruned { number: target, oldest });
    }
    let mut held: BTreeMap<String, Option<Held>> = BTreeMap::new();
    for changeset in changesets.iter().rev().take_while(|changeset| changeset.number > target) {
        for change in &changeset.changes {
            held.insert(change.name.clone(), change.before.clone());
        }
    }
    for (name, held) in held {
        let Some(held) = held else {
            solution.members.remove(&name);
            continue;
        };
        let components: BTreeSet<String> = held.components.iter().cloned().collect();
        if let Some(present) = solution.members.get_mut(&name)
            && present.digest == held.digest
        {
            present.components = components;
            present.reason = held.reason;
            continue;
        }
        let gone = || PlanError::Gone { spec: held.spec.clone(), digest: held.digest };
        let manifest = match sources.own.ok_or_else(gone)?.trove(&held.digest) {
            Ok(manifest) => manifest,
            Err(error) if error.kind() == store::ErrorKind::NotFound => return Err(gone()),
            Err(error) => return Err(error.into()),
        };
        let member = Member {
            manifest,
            digest: held.digest,
            components,
            reason: held.reason,
            origin: Origin::Own,
            asked: false,
        };
        solution.members.insert(name, member);
    }
    for thing in db.map(|db| db.displaced_after(target)).transpose()?.unwrap_or_default() {
        // The oldest is what was there at the time.
        solution.put_back.entry(thing.path.clone()).or_insert(thing);
    }
    // A trove that stays as it is gets its edited files back all the same.
    if let Some(db) = db {
        let names = db.names()?;
        for thing in solution.put_back.values().filter(|thing| thing.edit) {
            for row in db.rows_at(&thing.path)? {
                let name = names.get(&row.trove);
                if let Some(member) = name.and_then(|name| solution.members.get_mut(name)) {
                    member.asked = true;
                }
            }
        }
    }
    solution.returns_to = Some(target);
    Ok(())
}

fn capabilities(texts: &[String]) -> Vec<Capability> {
    // Manifests are checked when they are read; a text that is none asks for nothing.
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Returns what a member requires, and whether by name.
pub(crate) fn requirements(member: &Member) -> Vec<(Requirement, bool)> {
    let scanned = member.components.iter().filter_map(|name| member.manifest.components.get(name));
    let scanned = scanned.flat_map(|component| &component.requires);
    let texts: BTreeSet<&String> = member.manifest.requires.iter().chain(scanned).collect();
    let named = |requirement: &Requirement| {
        requirement.alternatives.iter().any(|wanted| matches!(wanted, Capability::Package { .. }))
    };
    let parsed = texts.into_iter().filter_map(|text| text.parse::<Requirement>().ok());
    parsed.map(|requirement| (requirement.clone(), named(&requirement))).collect()
}

/// Returns what a member works better with.
pub(crate) fn recommended(member: &Member) -> impl Iterator<Item = Requirement> {
    member.manifest.recommends.iter().filter_map(|text| text.parse().ok())
}

fn own_provide(manifest: &Manifest) -> Capability {
    Capability::Package {
        name: manifest.name.clone(),
        component: None,
        constraint: Some((Comparison::Equal, manifest.version.to_string())),
    }
}

/// Returns everything that a trove gives with these components installed.
fn provides<'a>(manifest: &Manifest, components: impl Iterator<Item = &'a String>) -> Vec<Capability> {
    let mut given = vec![own_provide(manifest)];
    given.extend(capabilities(&manifest.provides));
    for name in components {
        given.push(Capability::Package {
            name: manifest.name.clone(),
            component: Some(name.clone()),
            constraint: Some((Comparison::Equal, manifest.version.to_string())),
        });
        if let Some(component) = manifest.components.get(name) {
            given.extend(capabilities(&component.provides));
        }
    }
    given
}

/// Everything that a set gives, found by what is asked for.
pub(crate) struct Given {
    by_subject: HashMap<String, Vec<(String, Capability)>>,
}

impl Given {
    pub fn of(members: &BTreeMap<String, Member>) -> Self {
        let mut by_subject: HashMap<String, Vec<(String, Capability)>> = HashMap::new();
        for (name, member) in members {
            for capability in provides(&member.manifest, member.components.iter()) {
                by_subject.entry(subject(&capability)).or_default().push((name.clone(), capability));
            }
        }
        Self { by_subject }
    }

    pub fn givers(&self, wanted: &Capability) -> Vec<&str> {
        let given = self.by_subject.get(&subject(wanted)).into_iter().flatten();
        given.filter(|(_, given)| wanted.satisfied_by(given)).map(|(name, _)| name.as_str()).collect()
    }

    fn meets(&self, requirement: &Requirement) -> bool {
        requirement.alternatives.iter().any(|wanted| !self.givers(wanted).is_empty())
    }
}

/// Returns the part of a capability that must be the same on both sides.
fn subject(capability: &Capability) -> String {
    match capability {
        Capability::Package { name, component: None, .. } => name.to_string(),
        Capability::Package { name, component: Some(component), .. } => format!("{name}:{component}"),
        Capability::Soname { name } => format!("soname({name})"),
        Capability::PkgConfig { module, .. } => format!("pkgconfig({module})"),
        Capability::Path { path } => path.clone(),
    }
}
