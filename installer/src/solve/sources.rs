// installer/src/solve/sources.rs
//! Where a solver looks: package files that were named, the stores that were given, and the root's own.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use recipes::{Capability, Digest, Requirement};
use store::ccs::Package;
use store::{Manifest, Store, Tree};

use super::{Member, provides};
use crate::error::PlanError;
use crate::plan::{Origin, Request};

/// Where troves and trees are read from.
pub(crate) struct Sources<'a> {
    pub stores: &'a [&'a Store],
    pub own: Option<&'a Store>,
    packages: HashMap<Digest, Package>,
    /// Package files that were opened beforehand.
    opened: HashMap<PathBuf, Result<Package, PlanError>>,
    trees: HashMap<Digest, Arc<Tree>>,
    /// Requirements that nothing in the stores meets: many packages ask for the same.
    pub(super) unmet: HashSet<Requirement>,
}

impl<'a> Sources<'a> {
    pub fn new(stores: &'a [&'a Store], own: Option<&'a Store>) -> Self {
        Self {
            stores,
            own,
            packages: HashMap::new(),
            opened: HashMap::new(),
            trees: HashMap::new(),
            unmet: HashSet::new(),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Origin, &'a Store)> + use<'a> {
        let given = self.stores.iter().enumerate().map(|(at, store)| (Origin::Source(at), *store));
        given.chain(self.own.map(|own| (Origin::Own, own)))
    }

    /// Returns the tree of a component.
    pub fn tree(&mut self, member: &Member, component: &str) -> Result<Arc<Tree>, PlanError> {
        let no_component = || PlanError::NoComponent { trove: member.spec(), component: component.to_owned() };
        let digest = member.manifest.components.get(component).ok_or_else(no_component)?.tree;
        if let Some(tree) = self.trees.get(&digest) {
            return Ok(Arc::clone(tree));
        }
        let tree = match &member.origin {
            Origin::Package(_) => {
                let package = self.packages.get_mut(&member.digest).ok_or_else(no_component)?;
                package.take_tree(component).ok_or_else(no_component)?
            }
            Origin::Source(at) => self.stores[*at].tree(&digest)?,
            Origin::Own => {
                let gone = PlanError::Gone { spec: member.spec(), digest: member.digest };
                self.own.ok_or(gone)?.tree(&digest)?
            }
        };
        let tree = Arc::new(tree);
        self.trees.insert(digest, Arc::clone(&tree));
        Ok(tree)
    }

    /// Returns the signatures that a trove comes with.
    pub fn signatures(&self, member: &Member) -> Result<Vec<store::ccs::Signature>, PlanError> {
        Ok(match &member.origin {
            Origin::Package(_) => {
                let package = self.packages.get(&member.digest);
                package.map(|package| package.signatures().to_vec()).unwrap_or_default()
            }
            Origin::Source(at) => self.stores[*at].signatures(&member.digest)?,
            Origin::Own => self.own.map(|own| own.signatures(&member.digest)).transpose()?.unwrap_or_default(),
        })
    }

    /// Opens package files at once, for requests to come to.
    pub(super) fn open_ahead(&mut self, requests: &[Request]) {
        let paths: Vec<&PathBuf> = requests
            .iter()
            .filter_map(|request| match request {
                Request::Install { package } => Some(package),
                _ => None,
            })
            .collect();
        if paths.len() > 1 {
            self.opened = paths.par_iter().map(|path| ((*path).clone(), open(path))).collect();
        }
    }

    pub(super) fn open_package(&mut self, path: &Path) -> Result<(Manifest, Digest), PlanError> {
        let package = self.opened.remove(path).unwrap_or_else(|| open(path))?;
        let manifest = package.manifest().clone();
        let digest = manifest.id();
        self.packages.insert(digest, package);
        Ok((manifest, digest))
    }

    /// Finds the newest trove of the first source that has one, and that `fits`.
    pub(super) fn find(
        &self,
        name: &str,
        fits: &dyn Fn(&Manifest) -> bool,
    ) -> Result<Option<(Manifest, Digest, Origin)>, PlanError> {
        for (origin, store) in self.all() {
            for row in store.find_troves(name)? {
                let manifest = store.trove(&row.id)?;
                if fits(&manifest) {
                    return Ok(Some((manifest, row.id, origin)));
                }
            }
        }
        Ok(None)
    }

    /// Finds a trove that gives a capability.
    pub(super) fn find_provider(
        &self,
        wanted: &Capability,
        fits: &dyn Fn(&Manifest) -> bool,
    ) -> Result<Option<(Manifest, Digest, Origin)>, PlanError> {
        if let Capability::Package { name, .. } = wanted {
            let gives = |manifest: &Manifest| {
                fits(manifest)
                    && provides(manifest, manifest.components.keys()).iter().any(|given| wanted.satisfied_by(given))
            };
            if let Some(found) = self.find(name.as_str(), &gives)? {
                return Ok(Some(found));
            }
        }
        for (origin, store) in self.all() {
            for row in store.providers(wanted)? {
                let manifest = store.trove(&row.trove.id)?;
                if fits(&manifest) {
                    return Ok(Some((manifest, row.trove.id, origin)));
                }
            }
        }
        Ok(None)
    }
}

fn open(path: &Path) -> Result<Package, PlanError> {
    let file = File::open(path).map_err(|source| PlanError::Open { path: path.to_owned(), source })?;
    Package::open(file).map_err(|source| package_error(path, source))
}

fn package_error(path: &Path, source: store::ccs::CcsError) -> PlanError {
    PlanError::Package { path: path.to_owned(), source: Box::new(source) }
}
