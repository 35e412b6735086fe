// recipes/src/recipe.rs
//! A recipe as a value: checked, typed, complete.
//!
//! Two states of one type. As [`crate::parse`] returns it, text stands as written, with its `%(name)s`; only what is
//! more than text (a version, a requirement, a digest) has been expanded, with stand-ins for the facts of a cook.
//! [`Recipe::expand`] reads the same file again with the real [`Facts`] and replaces all of them. The fields
//! are there to be read: what `expand` returns comes from the file, not from a field that was changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::capability::{Capability, Requirement};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::expansion::Facts;
use crate::hooks::Hooks;
use crate::name::Name;
use crate::output::{Output, Scripts, Suggestion};
use crate::policy::Policies;
use crate::read;
use crate::version::Version;

/// One recipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipe {
    /// `[package]`
    pub package: Package,
    /// `[source]` without `source.arch` and `source.additional`.
    pub source: Source,
    /// `[source.arch.NAME]`: sources for one architecture only.
    pub arch_sources: BTreeMap<String, Source>,
    /// `[[source.additional]]`, in the order of the file.
    pub additional: Vec<Additional>,
    /// `[[patches.files]]`, in the order in which they are applied.
    pub patches: Vec<Patch>,
    /// `[build]`
    pub build: Build,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[components]`
    pub components: Components,
    /// `[[outputs]]`, in the order of the file.
    pub outputs: Vec<Output>,
    /// `[scripts]`
    pub scripts: Scripts,
    /// `[hooks]`
    pub hooks: Hooks,
    /// `[config]`
    pub config: Config,
    pub(crate) origin: Origin,
    /// The architecture whose facts were filled in.
    pub(crate) expanded_for: Option<String>,
}

/// Where a recipe was read from; equal for recipes of equal content only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) file: Arc<str>,
    pub(crate) text: Arc<str>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Origin({}, {} bytes)", self.file, self.text.len())
    }
}

impl Recipe {
    /// Returns the recipe with every `%(name)s` replaced.
    ///
    /// # Errors
    /// What is wrong with the recipe under these facts: a value may be sound for one architecture only.
    pub fn expand(&self, facts: &Facts) -> Result<Recipe, Vec<Diagnostic>> {
        read::recipe(&self.origin, Some(facts))
    }

    /// Returns the package's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.package.name
    }

    /// Returns epoch, version and release.
    #[must_use]
    pub fn version(&self) -> Version {
        let Package { epoch, version, release, .. } = &self.package;
        Version { epoch: *epoch, version: version.clone(), release: release.clone() }
    }

    /// Returns the main source for an architecture: its own, or the one for all.
    #[must_use]
    pub fn source_for(&self, arch: &str) -> &Source {
        self.arch_sources.get(arch).unwrap_or(&self.source)
    }
}

/// What the package is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its name.
    pub name: Name,
    /// Upstream's version.
    pub version: String,
    /// Counts packaging changes of one version; `1` by default.
    pub release: String,
    /// Outranks the version; 0 by default.
    pub epoch: u64,
    /// The architectures it is for, sorted; empty for the target's, `any` alone for files that no processor runs.
    pub arch: Vec<String>,
    /// One line.
    pub summary: Option<String>,
    /// Several lines.
    pub description: Option<String>,
    /// The project's page.
    pub homepage: Option<String>,
    /// An SPDX expression.
    pub license: Option<String>,
    /// The collections that it belongs to, sorted.
    pub groups: Vec<String>,
}

/// The main source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nothing to fetch.
    None,
    /// One file, usually packed.
    Archive {
        /// A URL, or a path relative to the recipe.
        url: String,
        /// All must hold. Never empty.
        checksums: Vec<Digest>,
        /// A detached signature that must hold as well.
        signature: Option<Signature>,
        /// Further URL prefixes for the same file.
        mirrors: Vec<String>,
        /// The directory to enter after unpacking.
        extract_dir: Option<String>,
    },
    /// A commit of a git repository.
    Git {
        /// The repository.
        url: String,
        /// The full commit.
        commit: String,
        /// The tag that the commit must have.
        tag: Option<String>,
        /// Whether submodules are fetched too.
        submodules: bool,
        /// Further URLs of the same repository.
        mirrors: Vec<String>,
        /// What must hold beside the commit's name.
        proof: GitProof,
    },
    /// A directory beside the recipe.
    Path {
        /// Relative to the recipe, without `..`.
        path: String,
    },
}

impl Source {
    /// Returns the name of the file that an archive's URL ends with.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        match self {
            Source::Archive { url, .. } => Some(file_name(url)),
            Source::None | Source::Git { .. } | Source::Path { .. } => None,
        }
    }
}

/// A detached signature and who may have made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// A URL, or a path relative to the recipe.
    pub location: String,
    /// Public keys: a file beside the recipe, or the text of an `OpenPGP`, minisign or SSH key. Never empty.
    pub keys: Vec<String>,
}

/// A further source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Additional {
    /// What it is.
    pub from: AdditionalFrom,
    /// What it is called where it is laid out, if not as its URL ends.
    pub name: Option<String>,
    /// The one architecture that it is for, if not for all.
    pub arch: Option<String>,
    /// Whether it is unpacked; by default when it is an archive.
    pub extract: Option<bool>,
    /// The directory below the source that it goes to.
    pub extract_to: Option<String>,
    /// Whether a file that is unpacked stays beside what it held.
    pub keep: bool,
}

impl Additional {
    /// Whether it is a source of a build for this architecture.
    #[must_use]
    pub fn is_for(&self, arch: &str) -> bool {
        self.arch.as_deref().is_none_or(|own| own == arch)
    }

    /// Returns what the file, or the repository's directory, is called where it is laid out.
    #[must_use]
    pub fn laid_out_as(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.file_name())
    }

    /// Returns the name of the file, or of the repository's directory, by its URL.
    #[must_use]
    pub fn file_name(&self) -> &str {
        match &self.from {
            AdditionalFrom::Archive { url, .. } => file_name(url),
            AdditionalFrom::Git { url, .. } => {
                let name = file_name(url.trim_end_matches('/'));
                let name = name.rsplit(':').next().unwrap_or(name);
                name.strip_suffix(".git").filter(|stem| !stem.is_empty()).unwrap_or(name)
            }
        }
    }
}

/// Where a further source comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdditionalFrom {
    /// One file, packed or not.
    Archive {
        /// A URL, or a path relative to the recipe.
        url: String,
        /// All must hold. Never empty.
        checksums: Vec<Digest>,
        /// A detached signature that must hold as well.
        signature: Option<Signature>,
    },
    /// A commit of a git repository.
    Git {
        /// The repository.
        url: String,
        /// The full commit.
        commit: String,
        /// The tag that the commit must have.
        tag: Option<String>,
        /// What must hold beside the commit's name.
        proof: GitProof,
    },
}

/// What vouches for a commit, beside its name.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct GitProof {
    /// Digests of the archive that `git archive --format tar` makes of it. All must hold.
    pub archive: Vec<Digest>,
    /// Public keys, one of which must have signed the tag, or else the commit: files beside the recipe, or texts.
    pub keys: Vec<String>,
}

/// Returns what stands behind the last `/` of a URL or path, without query and fragment.
///
/// May be empty or a dot for a text that the reader would have refused.
pub(crate) fn file_name(url: &str) -> &str {
    let is_url = url.contains("://") || url.starts_with("file:");
    let path = if is_url { url.split(['?', '#']).next().unwrap_or(url) } else { url };
    let path = path.split_once("://").map_or(path, |(_, behind)| behind.split_once('/').map_or("", |(_, path)| path));
    path.rsplit('/').next().unwrap_or(path)
}

/// A patch of the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch {
    /// A file beside the recipe, or a URL.
    pub file: String,
    /// All must hold. Never empty for a URL.
    pub checksum: Vec<Digest>,
    /// How many leading parts of the paths inside are dropped; 1 by default.
    pub strip: u32,
    /// How many lines of context may differ; 0 by default.
    pub fuzz: u32,
}

/// How the package is built.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Build {
    /// Needed to build and to run.
    pub requires: Vec<Requirement>,
    /// Needed to build.
    pub makedepends: Vec<Requirement>,
    /// Needed for the step `check`.
    pub checkdepends: Vec<Requirement>,
    /// Shell text by phase. A phase that the recipe leaves out or empty is not in it.
    pub steps: BTreeMap<Phase, String>,
    /// Variables for the steps.
    pub environment: BTreeMap<String, String>,
    /// Where the steps start, below the source.
    pub workdir: Option<String>,
    /// Upper limit on parallel jobs.
    pub jobs: Option<u32>,
    /// The seed under a hermetic root, by name or by the beginning of its id.
    pub seed: Option<String>,
    /// Limit on memory.
    pub memory_bytes: Option<u64>,
    /// Limit on time.
    pub timeout_secs: Option<u64>,
    /// Limit on what a step has on disk.
    pub disk_bytes: Option<u64>,
    /// Limit on processes and threads at one time.
    pub processes: Option<u64>,
    /// `build.options`: what is done with the output.
    pub policies: Policies,
}

/// A phase of the build, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Prepares the source.
    Setup,
    /// Finds out about the system.
    Configure,
    /// Compiles.
    Make,
    /// Tests what was made.
    Check,
    /// Fills the output.
    Install,
    /// Tidies the output.
    PostInstall,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Phase; 6] =
        [Phase::Setup, Phase::Configure, Phase::Make, Phase::Check, Phase::Install, Phase::PostInstall];

    /// Returns the name of the phase, which is its key in `[build]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Setup => "setup",
            Phase::Configure => "configure",
            Phase::Make => "make",
            Phase::Check => "check",
            Phase::Install => "install",
            Phase::PostInstall => "post_install",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Relations of the package when it is installed, beyond what scanning finds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Runtime {
    /// Must be there.
    pub requires: Vec<Requirement>,
    /// Should be there.
    pub recommends: Vec<Requirement>,
    /// Can be made use of.
    pub suggests: Vec<Suggestion>,
    /// What it gives under another name.
    pub provides: Vec<Capability>,
    /// Must not be there.
    pub conflicts: Vec<Capability>,
    /// Takes the place of these.
    pub replaces: Vec<Capability>,
}

impl Runtime {
    /// Whether the package has no relation at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Runtime::default()
    }
}

/// Which files belong to which component.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Components {
    /// Component and globs, in the order of the file: the first that matches wins.
    pub rules: Vec<(String, Vec<String>)>,
    /// Globs of files that are dropped.
    pub exclude: Vec<String>,
}

/// Which files are configuration, beyond those below `/etc`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Globs of files whose edits are kept.
    pub files: Vec<String>,
    /// Globs of files that only begin as packaged: no later version replaces them, edited or not.
    pub noreplace: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_the_end_of_urls() {
        let cases = [
            ("https://a.example/x/y-1.0.tar.gz", "y-1.0.tar.gz"),
            ("https://a.example/x/y-1.0.tar.gz?download=1#top", "y-1.0.tar.gz"),
            ("https://a.example/x/y/", ""),
            ("https://a.example", ""),
            ("https://a.example/", ""),
            ("https://a.example?x=/a/b", ""),
            ("file:///srv/y.tar", "y.tar"),
            ("file:/srv/y.tar", "y.tar"),
            ("../y.tar", "y.tar"),
            ("y#1.tar", "y#1.tar"),
            ("https://a.example/x/..", ".."),
            ("https://a.example/%2e%2e%2fx", "%2e%2e%2fx"),
        ];
        for (url, expected) in cases {
            assert_eq!(file_name(url), expected, "{url}");
        }
        let git = |url: &str| Additional {
            from: AdditionalFrom::Git {
                url: url.to_owned(),
                commit: String::new(),
                tag: None,
                proof: GitProof::default(),
            },
            name: None,
            arch: None,
            extract: None,
            extract_to: None,
            keep: false,
        };
        assert_eq!(git("https://a.example/lib.git").file_name(), "lib");
        assert_eq!(git("https://a.example/lib/").file_name(), "lib");
        assert_eq!(git("git@a.example:lib").file_name(), "lib");
    }
}
