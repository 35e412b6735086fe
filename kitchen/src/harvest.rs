// kitchen/src/harvest.rs
//! One package of a build becomes a trove of the store.
//!
//! ```text
//! tree of one package → components → provides and requires → trees → manifest
//! ```
//!
//! Nothing of the time, the machine or the user gets into a trove.

use std::collections::{BTreeMap, BTreeSet};

use recipes::{Capability, Comparison, Product, Recipe};
use store::{Batch, Component, IngestError, Manifest, Node, StoreError, Tree, TreeError};

use crate::classify::{self, Classifier, ClassifyError};
use crate::hooks::{self, HookError};
use crate::phases::PhaseError;
use crate::plan::Machine;
use crate::scan;
use crate::tidy::TidyError;
use crate::workspace::WorkspaceError;

/// What plating made.
#[derive(Debug, Clone)]
pub struct Plated {
    /// The manifest; its trees and objects are in the batch, the trove is not yet.
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
    /// The steps put nothing into `DESTDIR`, or nothing is left of it.
    #[error("{name} has no output: its steps left it nothing")]
    Empty {
        /// The package.
        name: String,
        /// Whether it is the build's own package, and the outputs may have taken all.
        is_own: bool,
    },
    /// Only the outputs are packages, and the common output holds something.
    #[error("{name} makes only its outputs, and /{path} lies in the common one")]
    Leftover {
        /// The recipe's name.
        name: String,
        /// The first file.
        path: String,
    },
    /// An output fills a path itself that it also takes out of the common output.
    #[error("the output {name} has a path twice: from its `install` and from its `files`")]
    Twice {
        /// The output.
        name: String,
        /// Which.
        source: TreeError,
    },
    /// The workspace could not be read.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The options could not be applied.
    #[error(transparent)]
    Tidy(#[from] TidyError),
    /// Programs and libraries could not be stripped.
    #[error(transparent)]
    Strip(#[from] PhaseError),
    /// The output holds something that a package cannot.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A declaration does not fit the output.
    #[error(transparent)]
    Hook(#[from] HookError),
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
            Self::Empty { is_own: false, .. } => Some(
                "let its `install` write below \"$DESTDIR\", or let its `files` match what [build] installs".to_owned(),
            ),
            Self::Empty { is_own: true, .. } => Some(
                "let the `install` step write below \"$DESTDIR\", for example `make install DESTDIR=\"$DESTDIR\"`"
                    .to_owned(),
            ),
            Self::Leftover { .. } => Some(
                "move what fills it into an `install` step of [build], or write below another output's directory"
                    .to_owned(),
            ),
            Self::Twice { .. } => Some("leave the path out of `files`, or out of `install`".to_owned()),
            Self::Ingest(error) => error.hint(),
            Self::Hook(error) => error.hint(),
            Self::Classify(_) | Self::Tidy(TidyError::Tree(_)) => None,
            Self::Workspace(error) => error.hint(),
            Self::Strip(error) => error.hint(),
            Self::Tidy(TidyError::Store(error)) | Self::Store(error) => error.hint(),
        }
    }
}

/// Makes the manifest of one package from its files: classified, scanned, their trees in a batch.
///
/// # Errors
/// [`HarvestError::Empty`] when there is nothing in it and it is no collection.
pub fn plate(
    recipe: &Recipe,
    product: &Product<'_>,
    machine: &Machine,
    tree: &Tree,
    batch: &Batch<'_>,
) -> Result<Plated, HarvestError> {
    let is_empty = tree.entries().iter().all(|entry| matches!(entry.node, Node::Directory));
    if is_empty && !product.is_collection && product.hooks.is_empty() {
        let (name, is_own) = (product.package.name.to_string(), product.output.is_none());
        return Err(HarvestError::Empty { name, is_own });
    }
    let (tree, hooks) = hooks::plate(product, tree, batch)?;
    let parts = Classifier::new(recipe)?.split(&tree);
    let mut findings = scan::scan(batch, &parts)?;
    let mut components = BTreeMap::new();
    let (mut files, mut bytes) = (0, 0);
    for (name, part) in &parts {
        let found = findings.remove(name).unwrap_or_default();
        let component = Component {
            tree: batch.add_tree(part)?,
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
    let mut manifest = manifest_of(recipe, product, machine, components);
    versions_of_libraries(&mut manifest, &mut notices);
    manifest.hooks = hooks;
    let mut idle = Vec::new();
    manifest.config = configuration(recipe, &parts, &mut idle)?;
    if recipe.outputs.is_empty() {
        // Of several packages, another one may have the file.
        notices.append(&mut idle);
    }
    Ok(Plated { manifest, files, bytes, notices })
}

/// Takes out what asks for or gives a library without its version, where the files say which: `soname(libz.so)` beside a file that
/// asks for `soname(libz.so.1)`.
fn versions_of_libraries(manifest: &mut Manifest, notices: &mut Vec<String>) {
    let Manifest { components, requires, provides, .. } = manifest;
    let given: Vec<&String> = components.values().flat_map(|component| &component.provides).collect();
    // What the package gives itself, no file of it is found to ask for.
    let asked = components.values().flat_map(|component| &component.requires).chain(given.iter().copied()).collect();
    let mut settle = |texts: &mut Vec<String>, found: &Vec<&String>, word: &str| {
        texts.retain(|text| {
            let Some(name) = text.strip_prefix("soname(").and_then(|rest| rest.strip_suffix(".so)")) else {
                return true;
            };
            let begin = format!("soname({name}.so.");
            let is_found = found.iter().any(|one| *one == text || one.starts_with(&begin));
            if !is_found {
                notices.push(format!("{text} {word}, and no file does"));
            }
            !is_found
        });
    };
    settle(requires, &asked, "is to be asked for");
    settle(provides, &given, "is to be given");
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

fn manifest_of(
    recipe: &Recipe,
    product: &Product<'_>,
    machine: &Machine,
    components: BTreeMap<String, Component>,
) -> Manifest {
    let Product { package, runtime, scripts, .. } = *product;
    let any = package.arch.iter().any(|arch| arch == "any");
    let mut provides: Vec<String> = runtime.provides.iter().map(ToString::to_string).collect();
    let own = Capability::Package {
        name: package.name.clone(),
        component: None,
        constraint: Some((Comparison::Equal, recipe.version().to_string())),
    };
    provides.push(own.to_string());
    provides.sort_unstable();
    provides.dedup();
    // What is needed to build and to run stands in `build.requires`; libraries are found by scanning.
    let of_build = product.output.is_none().then_some(&recipe.build.requires);
    let mut requires: Vec<String> =
        runtime.requires.iter().chain(of_build.into_iter().flatten()).map(ToString::to_string).collect();
    requires.sort_unstable();
    requires.dedup();
    let texts = |list: &[Capability]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    Manifest {
        format: 1,
        name: package.name.clone(),
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
        recommends: runtime.recommends.iter().map(ToString::to_string).collect(),
        provides,
        conflicts: texts(&runtime.conflicts),
        replaces: texts(&runtime.replaces),
        config: store::Config::default(),
        groups: package.groups.clone(),
        suggests: runtime.suggests.iter().map(ToString::to_string).collect(),
        scripts: scripts.clone(),
        hooks: store::Hooks::default(),
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
