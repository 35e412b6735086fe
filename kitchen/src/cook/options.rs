// kitchen/src/cook/options.rs
//! How a cook is done, and what it gives back.

use std::num::NonZeroU32;
use std::path::PathBuf;

use recipes::{Digest, TroveSpec};
use sandbox::Level;

use crate::fetch;

/// How a cook is done. Nothing here changes what comes out, but `with_check`, `level` and `least`.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Where the package file goes; it is made when missing.
    pub output: PathBuf,
    /// Parallel jobs; where none is given, as many as `cpus`, else as many as this process may use processors.
    pub jobs: Option<NonZeroU32>,
    /// Processors that a build is held to and told of; as many as the machine has where none is given.
    pub cpus: Option<NonZeroU32>,
    /// Run the `check` step.
    pub with_check: bool,
    /// Isolation asked for.
    pub level: Level,
    /// The lowest level to build at where the host refuses the one asked for, and that an earlier result may have.
    pub least: Level,
    /// Cook even when a result is there.
    pub force: bool,
    /// Leave the tree of a failed build in place.
    pub keep_failed: bool,
    /// Go on where nothing answers a requirement: what is really missing makes a step fail.
    pub allow_missing: bool,
    /// How sources are brought in.
    pub fetch: fetch::Options,
    /// What lies below the troves of build roots.
    pub foundation: Foundation,
    /// Who cooks.
    pub uid: u32,
    /// The time that goes on the action row.
    pub now_unix_secs: i64,
}

/// What lies below the troves of a build root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foundation {
    /// The host's `/usr`; this is the root of its file system.
    Host(PathBuf),
    /// Nothing of the host: a seed, or nothing at all.
    Hermetic {
        /// The seed, by name or id, in place of the one that a recipe names.
        seed: Option<String>,
    },
}

/// What a cook gives back.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Name and version of the build, which are those of the recipe.
    pub spec: TroveSpec,
    /// The packages that it makes, in the order of [`Recipe::products`]. Never empty.
    pub packages: Vec<Package>,
    /// The cook key.
    pub key: Digest,
    /// True if nothing had to be built.
    pub fresh: bool,
    /// The log of the build that made it.
    pub log: Option<PathBuf>,
}

/// One package of a cook.
#[derive(Debug, Clone)]
pub struct Package {
    /// Name and version.
    pub spec: TroveSpec,
    /// The trove in the store.
    pub trove: Digest,
    /// The package file.
    pub path: PathBuf,
}
