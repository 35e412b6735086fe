// kitchen/src/dependencies.rs
//! Which troves lie in the build root, and what the host answers for.
//!
//! Every requirement of `build.requires`, `build.makedepends` and, where the tests run, `build.checkdepends` is answered by a trove of the store, if
//! one gives it, with all that trove needs to run. In default isolation the host's `/usr` answers for
//! the rest, if it has it; else the cook ends before anything is fetched.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use recipes::{Capability, Digest, Name, Recipe, Requirement, TroveSpec};
use store::{Store, StoreError};

/// A trove of the build root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name and version, for people.
    pub spec: TroveSpec,
    /// Its content.
    pub id: Digest,
}

/// What lies below the troves of a build root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// The host's `/usr`; the root of its file system.
    Host(PathBuf),
    /// A seed by its id, and where it is checked out.
    Seed(Digest, PathBuf),
    /// Nothing.
    Nothing,
}

impl Ground {
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Host(directory) | Self::Seed(_, directory) => Some(directory),
            Self::Nothing => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Host(_) => "this host",
            Self::Seed(..) => "the seed",
            Self::Nothing => "a seed",
        }
    }
}

/// What answers the requirements of one recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Troves, sorted by name: the order of the overlays, highest first.
    pub troves: Vec<Dependency>,
    /// Requirements that the host's `/usr` answers, in the notation of recipes.
    pub from_host: Vec<String>,
}

/// A requirement that nothing answers.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// Neither a trove of the store nor the host gives it.
    #[error("{recipe} needs {requirement} to build, and neither the store nor {ground} has it")]
    Missing {
        /// The recipe's package.
        recipe: Name,
        /// The requirement as written.
        requirement: String,
        /// What lies below the troves.
        ground: &'static str,
        /// A package to cook, when the requirement names one.
        cook: Option<Name>,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DependencyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { cook: Some(name), .. } => Some(format!(
                "cook it first with `conary cook {name}`, or install it on this host; with `--nodeps` it is not looked for"
            )),
            Self::Missing { .. } => Some("cook a package that gives it, or install it on this host".to_owned()),
            Self::Store(error) => error.hint(),
        }
    }
}

/// Which requirements are looked at, and how strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Those of the tests too.
    pub with_check: bool,
    /// One that nothing answers is passed over.
    pub allow_missing: bool,
}

/// Finds what answers the requirements of `recipe`, those of its tests only if they run, by troves or by the files of what lies below
/// them.
///
/// # Errors
/// [`DependencyError::Missing`] for a requirement that nothing answers, unless that is allowed.
pub fn resolve(
    recipe: &Recipe,
    wanted: Wanted,
    store: &Store,
    ground: &Ground,
) -> Result<Dependencies, DependencyError> {
    let has = |wanted: &Capability| ground.directory().is_some_and(|directory| host_has(directory, wanted));
    let own: Vec<&Name> = recipe.products().iter().map(|product| &product.package.name).collect();
    let of_check = wanted.with_check.then_some(&recipe.build.checkdepends).into_iter().flatten();
    let mut chosen: BTreeMap<Name, Dependency> = BTreeMap::new();
    let mut from_host = Vec::new();
    let mut waiting: Vec<Digest> = Vec::new();
    for requirement in recipe.build.requires.iter().chain(&recipe.build.makedepends).chain(of_check) {
        if let Some(found) = provider(store, &own, requirement)? {
            take(found, &mut chosen, &mut waiting);
        } else if requirement.alternatives.iter().any(has) {
            from_host.push(requirement.to_string());
        } else if !wanted.allow_missing {
            return Err(DependencyError::Missing {
                recipe: recipe.name().clone(),
                requirement: requirement.to_string(),
                ground: ground.name(),
                cook: requirement.alternatives.iter().find_map(|wanted| match wanted {
                    Capability::Package { name, .. } => Some(name.clone()),
                    _ => None,
                }),
            });
        }
    }
    // What a dependency needs to run is in the root too, as far as the store has it: the loader's and
    // the C library's sonames come from the host.
    while let Some(id) = waiting.pop() {
        let manifest = store.trove(&id)?;
        let of_components = manifest.components.values().flat_map(|component| &component.requires);
        for text in manifest.requires.iter().chain(of_components) {
            let Ok(requirement) = text.parse::<Requirement>() else { continue };
            if let Some(found) = provider(store, &own, &requirement)? {
                take(found, &mut chosen, &mut waiting);
            }
        }
    }
    from_host.sort_unstable();
    from_host.dedup();
    Ok(Dependencies { troves: chosen.into_values().collect(), from_host })
}

/// Puts a trove into the root, once a name.
fn take(found: Dependency, chosen: &mut BTreeMap<Name, Dependency>, waiting: &mut Vec<Digest>) {
    if let Entry::Vacant(place) = chosen.entry(found.spec.name.clone()) {
        waiting.push(found.id);
        place.insert(found);
    }
}

/// The newest trove that gives one of the alternatives, the first alternative first.
///
/// What a recipe makes is never a dependency of its own build: an older build of itself in the root would make
/// the result depend on what happened to be cooked before.
fn provider(store: &Store, own: &[&Name], requirement: &Requirement) -> Result<Option<Dependency>, StoreError> {
    for wanted in &requirement.alternatives {
        for row in store.providers(wanted)? {
            if !own.contains(&&row.trove.spec.name) {
                return Ok(Some(Dependency { spec: row.trove.spec, id: row.trove.id }));
            }
        }
    }
    Ok(None)
}

/// Directories below the host's root where libraries lie.
fn library_directories(host: &Path) -> Vec<PathBuf> {
    let mut directories = vec![host.join("usr/lib"), host.join("usr/lib64")];
    if let Ok(entries) = fs::read_dir(host.join("usr/lib")) {
        directories.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"))
                .map(|entry| entry.path()),
        );
    }
    directories
}

/// True if the host's `/usr` has what is wanted. Versions of host packages are not compared, except
/// that a pkg-config file's own version is.
fn host_has(host: &Path, wanted: &Capability) -> bool {
    match wanted {
        Capability::Path { path } => {
            let inside = path.trim_start_matches('/');
            let below_usr = if inside.starts_with("usr/") { inside.to_owned() } else { format!("usr/{inside}") };
            !inside.starts_with("usr/local/") && host.join(below_usr).exists()
        }
        Capability::Soname { name } => library_directories(host).iter().any(|d| d.join(name).exists()),
        Capability::PkgConfig { module, constraint } => {
            let mut places = library_directories(host);
            places.push(host.join("usr/share"));
            places.iter().any(|directory| {
                let Ok(text) = fs::read_to_string(directory.join(format!("pkgconfig/{module}.pc"))) else {
                    return false;
                };
                let Some((comparison, bound)) = constraint else { return true };
                text.lines()
                    .find_map(|line| line.strip_prefix("Version:"))
                    .is_some_and(|version| comparison.accepts(recipes::compare_versions(version.trim(), bound)))
            })
        }
        Capability::Package { name, component: None, constraint: None } => {
            host.join("usr/bin").join(name.as_str()).exists()
                || host.join("usr/sbin").join(name.as_str()).exists()
                || host.join("usr/share/doc").join(name.as_str()).exists()
        }
        Capability::Package { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Capability {
        text.parse::<Requirement>().unwrap().alternatives.remove(0)
    }

    #[test]
    fn what_a_host_has() {
        let host = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("usr/bin/m4", ""),
            ("usr/lib/x86_64-linux-gnu/libz.so.1", ""),
            ("usr/lib/x86_64-linux-gnu/pkgconfig/zlib.pc", "Name: zlib\nVersion: 1.2.13\n"),
            ("usr/local/bin/own", ""),
        ] {
            let path = host.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let table = [
            ("/usr/bin/m4", true),
            ("/bin/m4", true),
            ("m4", true),
            ("/usr/bin/bison", false),
            ("/usr/local/bin/own", false),
            ("soname(libz.so.1)", true),
            ("soname(libz.so.2)", false),
            ("pkgconfig(zlib)", true),
            ("pkgconfig(zlib) >= 1.2", true),
            ("pkgconfig(zlib) >= 1.3", false),
            ("m4 >= 1.4", false),
        ];
        for (text, expected) in table {
            assert_eq!(host_has(host.path(), &wanted(text)), expected, "{text}");
        }
    }
}
