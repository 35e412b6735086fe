// kitchen/src/harvest.rs
//! Plating: the output directory of a build becomes a trove of the store.
//!
//! ```text
//! destdir → entries (owner root, modes as built) → components → provides and requires → trees → manifest
//! ```
//!
//! Nothing of the time, the machine or the user gets into a trove.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;

use recipes::{Capability, Comparison, Recipe};
use store::{Component, IngestError, IngestOptions, Manifest, Node, Store, StoreError, Tree};

use crate::classify::{self, Classifier, ClassifyError};
use crate::plan::Machine;
use crate::scan;

/// What plating made.
#[derive(Debug, Clone)]
pub struct Plated {
    /// The manifest; its trees and objects are in the store, the trove is not yet recorded.
    pub manifest: Manifest,
    /// Files of all components.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What a packager should look at.
    pub notices: Vec<String>,
}

/// Why an output could not be plated.
#[derive(Debug, thiserror::Error)]
pub enum HarvestError {
    /// The steps put nothing into `DESTDIR`.
    #[error("{name} has no output: its steps left DESTDIR empty")]
    Empty {
        /// The package.
        name: String,
    },
    /// The output holds something that a package cannot.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A glob of the recipe is not valid.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HarvestError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty { .. } => Some(
                "let the `install` step write below \"$DESTDIR\", for example `make install DESTDIR=\"$DESTDIR\"`"
                    .to_owned(),
            ),
            Self::Ingest(error) => error.hint(),
            Self::Classify(_) => None,
            Self::Store(error) => error.hint(),
        }
    }
}

/// Takes the output directory into the store: objects, trees and the manifest of a trove.
///
/// # Errors
/// [`HarvestError::Empty`] when there is nothing in it; [`HarvestError::Ingest`] for device nodes,
/// sockets and names that a package cannot hold.
pub fn plate(
    recipe: &Recipe,
    machine: &Machine,
    output: &OwnedFd,
    store: &Store,
    cancel: &AtomicBool,
) -> Result<Plated, HarvestError> {
    let tree = store.ingest(output, &IngestOptions::default(), cancel)?;
    if !tree.entries().iter().any(|entry| !matches!(entry.node, Node::Directory)) {
        return Err(HarvestError::Empty { name: recipe.name().to_string() });
    }
    let parts = Classifier::new(recipe)?.split(&tree);
    let mut findings = scan::scan(store, &parts)?;
    let mut components = BTreeMap::new();
    let (mut files, mut bytes) = (0, 0);
    for (name, part) in &parts {
        let found = findings.remove(name).unwrap_or_default();
        let component = Component {
            tree: store.put_tree(part)?,
            files: count_files(part),
            size_bytes: part.entries().iter().map(size_of).sum(),
            provides: found.provides.into_iter().collect(),
            requires: found.requires.into_iter().collect(),
        };
        files += component.files;
        bytes += component.size_bytes;
        components.insert(name.clone(), component);
    }
    let mut notices = notices(&tree);
    let mut manifest = manifest_of(recipe, machine, components);
    manifest.config = configuration(recipe, &parts, &mut notices)?;
    Ok(Plated { manifest, files, bytes, notices })
}

/// Returns the files that the recipe's globs of configuration match; one that matches nothing is worth a notice.
fn configuration(
    recipe: &Recipe,
    parts: &BTreeMap<String, Tree>,
    notices: &mut Vec<String>,
) -> Result<store::Config, HarvestError> {
    let mut matching = |key: &str, globs: &[String]| -> Result<Vec<String>, HarvestError> {
        let mut paths = BTreeSet::new();
        for glob in globs {
            let matcher = classify::matcher(glob)?;
            let before = paths.len();
            for entry in parts.values().flat_map(Tree::entries) {
                if matches!(entry.node, Node::File { .. } | Node::Hardlink { .. })
                    && let Ok(path) = str::from_utf8(&entry.path)
                    && matcher.is_match(format!("/{path}"))
                {
                    paths.insert(format!("/{path}"));
                }
            }
            if paths.len() == before {
                notices
                    .push(format!("config.{key}: {glob:?} matches no file of the package that no glob before it does"));
            }
        }
        Ok(paths.into_iter().collect())
    };
    let noreplace = matching("noreplace", &recipe.config.noreplace)?;
    let mut files = matching("files", &recipe.config.files)?;
    files.retain(|path| !noreplace.contains(path));
    Ok(store::Config { files, noreplace })
}

fn manifest_of(recipe: &Recipe, machine: &Machine, components: BTreeMap<String, Component>) -> Manifest {
    let package = &recipe.package;
    let any = package.arch.iter().any(|arch| arch == "any");
    let mut provides: Vec<String> = recipe.runtime.provides.iter().map(ToString::to_string).collect();
    let own = Capability::Package {
        name: recipe.name().clone(),
        component: None,
        constraint: Some((Comparison::Equal, recipe.version().to_string())),
    };
    provides.push(own.to_string());
    provides.sort_unstable();
    provides.dedup();
    // What is needed to build and to run stands in `build.requires`; libraries are found by scanning.
    let mut requires: Vec<String> =
        recipe.runtime.requires.iter().chain(&recipe.build.requires).map(ToString::to_string).collect();
    requires.sort_unstable();
    requires.dedup();
    let texts = |list: &[Capability]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    Manifest {
        format: 1,
        name: recipe.name().clone(),
        version: recipe.version(),
        arch: if any { "any".to_owned() } else { machine.arch.clone() },
        flavor: String::new(),
        label: None,
        summary: package.summary.clone(),
        description: package.description.clone(),
        homepage: package.homepage.clone(),
        license: package.license.clone(),
        components,
        requires,
        recommends: recipe.runtime.recommends.iter().map(ToString::to_string).collect(),
        provides,
        conflicts: texts(&recipe.runtime.conflicts),
        replaces: texts(&recipe.runtime.replaces),
        config: store::Config::default(),
    }
}

fn count_files(tree: &Tree) -> u64 {
    tree.entries().iter().filter(|entry| !matches!(entry.node, Node::Directory)).count() as u64
}

fn size_of(entry: &store::Entry) -> u64 {
    match entry.node {
        Node::File { size, .. } => size,
        _ => 0,
    }
}

/// Things that are allowed and seldom meant.
fn notices(tree: &Tree) -> Vec<String> {
    let mut notices = Vec::new();
    for entry in tree.entries() {
        let path = String::from_utf8_lossy(&entry.path);
        let kind = matches!(entry.node, Node::File { .. });
        if kind && entry.mode & 0o002 != 0 {
            notices.push(format!("/{path} may be written by everyone (mode {:o})", entry.mode));
        }
        if kind && entry.mode & 0o6000 != 0 {
            notices.push(format!("/{path} runs as another user (mode {:o})", entry.mode));
        }
        if path == "usr/local" || path.starts_with("build/") || path == "dest" {
            notices.push(format!("/{path} is in the output: is the prefix /usr?"));
        }
    }
    notices.truncate(20);
    notices
}
