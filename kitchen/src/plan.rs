// kitchen/src/plan.rs
//! What a cook is going to do, as plain data: names and digests, no descriptors and no host paths.

use recipes::{Diagnostic, Digest, Facts, Recipe, TroveSpec};
use store::{Store, StoreError};

use crate::dependencies::{self, Dependencies, DependencyError, Ground, Wanted};
use crate::environment;
use crate::host::{Host, HostError};
use crate::key::{InputKind, Inputs, SCHEMA, SEED};
use crate::roots::RootError;
use crate::seed::SeedError;
use crate::sources::SourceInput;

/// The job count as it stands in the key: a name, so that no number can change a key.
const JOBS_NAME: &str = "%(jobs)";

/// One cook: what is built, from what, and the key of its result.
#[derive(Debug, Clone)]
pub struct CookPlan {
    /// The package's name and version.
    pub spec: TroveSpec,
    /// The recipe with everything expanded but the number of jobs.
    pub recipe: Recipe,
    /// What lies at the bottom of the build root.
    pub ground: Ground,
    /// What lies above it.
    pub dependencies: Dependencies,
    /// Everything that the build can see.
    pub inputs: Inputs,
    /// The digest of the inputs.
    pub key: Digest,
}

/// A plan could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The recipe does not expand.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Recipe(Vec<Diagnostic>),
    /// The recipe is for other machines.
    #[error("{name} is for {}, and this machine is {machine}", .arches.join(", "))]
    Architecture {
        /// The package.
        name: String,
        /// What `package.arch` says.
        arches: Vec<String>,
        /// This machine's.
        machine: String,
    },
    /// A build requirement that nothing answers.
    #[error(transparent)]
    Dependency(#[from] DependencyError),
    /// The host's toolchain could not be fingerprinted.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A root of troves alone would hold nothing.
    #[error("the hermetic root of {name} holds nothing, not even a shell")]
    NoRoot {
        /// The recipe.
        name: String,
    },
    /// The seed is not there.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The seed could not be checked out.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PlanError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Recipe(_) => None, // Each diagnostic carries its own.
            Self::Architecture { .. } => Some("cook it on one of those machines, or widen `package.arch`".to_owned()),
            Self::Dependency(error) => error.hint(),
            Self::Host(error) => error.hint(),
            Self::NoRoot { .. } => Some(
                "name what lies below the troves with `--seed NAME`, or `build.seed` in the recipe; `conary seed list` shows what there is".to_owned(),
            ),
            Self::Seed(error) => error.hint(),
            Self::Root(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The machine that builds and for which is built; they are one.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Architecture, as in a package's file name.
    pub arch: String,
    /// The triple, as GNU's `config.guess` gives it.
    pub triple: String,
}

impl Machine {
    /// The machine that this program was compiled for.
    #[must_use]
    pub fn this() -> Self {
        let arch = std::env::consts::ARCH.to_owned();
        let triple = format!("{arch}-pc-linux-gnu");
        Self { arch, triple }
    }
}

/// Expands `recipe` for a build with `jobs` jobs whose output is collected in `destdir`, and below `outputs`.
///
/// # Errors
/// [`PlanError::Recipe`] with every place that does not expand.
pub fn expand(
    recipe: &Recipe,
    machine: &Machine,
    jobs: &str,
    destdir: &str,
    outputs: &str,
) -> Result<Recipe, PlanError> {
    let facts = Facts {
        jobs: jobs.to_owned(),
        arch: machine.arch.clone(),
        target: machine.triple.clone(),
        destdir: destdir.to_owned(),
        outputs: outputs.to_owned(),
    };
    recipe.expand(&facts).map_err(PlanError::Recipe)
}

/// Expands `recipe` as it stands in a key: with a name in place of the number of jobs.
///
/// # Errors
/// As [`expand`], and [`PlanError::Architecture`] for a recipe that is not for this machine.
pub fn expand_for_key(recipe: &Recipe, machine: &Machine) -> Result<Recipe, PlanError> {
    let arches = &recipe.package.arch;
    if !arches.is_empty() && !arches.iter().any(|arch| arch == "any" || *arch == machine.arch) {
        return Err(PlanError::Architecture {
            name: recipe.name().to_string(),
            arches: arches.clone(),
            machine: machine.arch.clone(),
        });
    }
    expand(recipe, machine, JOBS_NAME, environment::DESTDIR, environment::OUTPUTS)
}

/// Makes the plan of a cook from an expanded recipe and the contents of its sources.
///
/// `ground` is what lies below the troves of the build root. Opens no sandbox and touches no network.
///
/// # Errors
/// [`PlanError`]: a requirement without an answer, or a host or store that cannot be read.
pub fn make(
    recipe: Recipe,
    machine: &Machine,
    sources: &[SourceInput],
    wanted: Wanted,
    store: &Store,
    ground: Ground,
) -> Result<CookPlan, PlanError> {
    let with_check = wanted.with_check;
    let dependencies = dependencies::resolve(&recipe, wanted, store, &ground)?;
    if ground == Ground::Nothing && dependencies.troves.is_empty() {
        return Err(PlanError::NoRoot { name: recipe.name().to_string() });
    }
    let mut inputs = Inputs::default();
    inputs.add(InputKind::Policy, "key-schema", SCHEMA);
    inputs.add(InputKind::Policy, "sandbox", sandbox::POLICY_VERSION);
    for (name, value) in recipe.fields() {
        // Variables are inputs of their own kind: what counts is what the steps see.
        if !name.starts_with("build.environment.") {
            inputs.add(InputKind::Recipe, name, value);
        }
    }
    for (name, value) in environment::constant(&recipe) {
        inputs.add(InputKind::Environment, name, value);
    }
    for source in sources {
        let kind = if source.is_patch { InputKind::Patch } else { InputKind::Source };
        inputs.add(kind, source.name.clone(), source.content.to_string());
    }
    for (position, dependency) in dependencies.troves.iter().enumerate() {
        inputs.add(InputKind::Dependency, format!("{position:03} {}", dependency.spec.name), dependency.id.to_string());
    }
    for name in ["build", "host", "target"] {
        inputs.add(InputKind::Target, name, machine.triple.clone());
    }
    inputs.add(InputKind::Target, "arch", machine.arch.clone());
    if !with_check && recipe.build.steps.contains_key(&recipes::Phase::Check) {
        inputs.add(InputKind::Option, "check", "skipped");
    }
    match &ground {
        Ground::Host(root) => Host::at(root).fingerprint(store, &mut inputs)?,
        Ground::Seed(seed, _) => inputs.add(InputKind::Dependency, SEED, seed.to_string()),
        Ground::Nothing => {}
    }
    let version = recipe.version();
    let spec = TroveSpec {
        name: recipe.name().clone(),
        component: None,
        version: Some(version),
        flavor: recipes::Flavor::default(),
        label: None,
    };
    let key = inputs.key();
    Ok(CookPlan { spec, recipe, ground, dependencies, inputs, key })
}
