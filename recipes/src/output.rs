// recipes/src/output.rs
//! What comes out of a build: the package, further packages, and the scriptlets and suggestions that they carry.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::capability::{CapabilityError, Requirement};
use crate::hooks::Hooks;
use crate::policy::Policies;
use crate::recipe::{Package, Phase, Recipe, Runtime};
use crate::text::serde_as_text;

/// A further package of the same build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What it is; what it does not say itself is the recipe's.
    pub package: Package,
    /// Globs of files that it takes out of the common output, in the order of the file.
    pub files: Vec<String>,
    /// Shell text that fills a directory of its own.
    pub install: Option<String>,
    /// Its relations when installed.
    pub runtime: Runtime,
    /// Its policies: its own, or those of the recipe.
    pub policies: Policies,
    /// Its scriptlets.
    pub scripts: Scripts,
    /// What the system must have for it.
    pub hooks: Hooks,
}

/// One package that a build makes, whichever section it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Product<'r> {
    /// What it is.
    pub package: &'r Package,
    /// The output that it stands in; `None` for what `[package]` describes.
    pub output: Option<&'r Output>,
    /// Its relations when installed.
    pub runtime: &'r Runtime,
    /// Its policies.
    pub policies: &'r Policies,
    /// Its scriptlets.
    pub scripts: &'r Scripts,
    /// What the system must have for it.
    pub hooks: &'r Hooks,
    /// Whether it has no files of its own and only brings others.
    pub is_collection: bool,
}

impl Recipe {
    /// Whether `[package]` is itself a package: not where there are outputs and no step fills the common one.
    #[must_use]
    pub fn makes_package(&self) -> bool {
        self.outputs.is_empty() || self.fills_common_output()
    }

    /// Whether a step fills the output that `[package]` and the outputs with `files` share.
    pub(crate) fn fills_common_output(&self) -> bool {
        let steps = &self.build.steps;
        steps.contains_key(&Phase::Install) || steps.contains_key(&Phase::PostInstall)
    }

    /// Returns every package that this recipe makes: that of `[package]` first, then the outputs in the order of the
    /// file. Never empty.
    #[must_use]
    pub fn products(&self) -> Vec<Product<'_>> {
        let own = Product {
            package: &self.package,
            output: None,
            runtime: &self.runtime,
            policies: &self.build.policies,
            scripts: &self.scripts,
            hooks: &self.hooks,
            is_collection: self.build.steps.is_empty() && !(self.runtime.is_empty() && self.hooks.is_empty()),
        };
        let further = self.outputs.iter().map(|output| Product {
            package: &output.package,
            output: Some(output),
            runtime: &output.runtime,
            policies: &output.policies,
            scripts: &output.scripts,
            hooks: &output.hooks,
            is_collection: output.files.is_empty() && output.install.is_none(),
        });
        self.makes_package().then_some(own).into_iter().chain(further).collect()
    }
}

/// Shell texts by the moment at which they run.
pub type Scripts = BTreeMap<Scriptlet, String>;

/// A moment at which a scriptlet runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scriptlet {
    /// Before the files of a package that was not there.
    PreInstall,
    /// After them.
    PostInstall,
    /// Before the files of another version take the place of those that are there.
    PreUpgrade,
    /// After them.
    PostUpgrade,
    /// Before the files are removed.
    PreRemove,
    /// After that.
    PostRemove,
}

impl Scriptlet {
    /// All moments, in order.
    pub const ALL: [Scriptlet; 6] = [
        Scriptlet::PreInstall,
        Scriptlet::PostInstall,
        Scriptlet::PreUpgrade,
        Scriptlet::PostUpgrade,
        Scriptlet::PreRemove,
        Scriptlet::PostRemove,
    ];

    /// Returns its key in `[scripts]`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scriptlet::PreInstall => "pre-install",
            Scriptlet::PostInstall => "post-install",
            Scriptlet::PreUpgrade => "pre-upgrade",
            Scriptlet::PostUpgrade => "post-upgrade",
            Scriptlet::PreRemove => "pre-remove",
            Scriptlet::PostRemove => "post-remove",
        }
    }
}

impl fmt::Display for Scriptlet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text that names no scriptlet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no scriptlet has this name")]
pub struct ScriptletError;

impl FromStr for Scriptlet {
    type Err = ScriptletError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Scriptlet::ALL.into_iter().find(|scriptlet| scriptlet.name() == text).ok_or(ScriptletError)
    }
}

serde_as_text!(Scriptlet);

/// Something that a package can make use of, and what for: `cups: printing`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Suggestion {
    /// What it can make use of.
    pub requirement: Requirement,
    /// What for, on one line.
    pub reason: Option<String>,
}

/// What stands between a suggested requirement and its reason. No requirement holds it.
const BEFORE_REASON: &str = ": ";

impl fmt::Display for Suggestion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(formatter, "{}{BEFORE_REASON}{reason}", self.requirement),
            None => self.requirement.fmt(formatter),
        }
    }
}

impl FromStr for Suggestion {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (requirement, reason) = match text.split_once(BEFORE_REASON) {
            Some((requirement, reason)) => (requirement, Some(reason.trim()).filter(|reason| !reason.is_empty())),
            None => (text.trim_end().trim_end_matches(':'), None),
        };
        Ok(Self { requirement: requirement.parse()?, reason: reason.map(str::to_owned) })
    }
}

serde_as_text!(Suggestion);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_have_one_spelling() {
        let cases = [
            ("cups", "cups", None),
            ("cups: printing", "cups", Some("printing")),
            ("cups:lib >= 2: printing: and more", "cups:lib >= 2", Some("printing: and more")),
            ("a | b: either", "a | b", Some("either")),
            ("cups: ", "cups", None),
            ("cups:", "cups", None),
        ];
        for (text, requirement, reason) in cases {
            let suggestion: Suggestion = text.parse().unwrap();
            assert_eq!(suggestion.requirement.to_string(), requirement, "{text}");
            assert_eq!(suggestion.reason.as_deref(), reason, "{text}");
            assert_eq!(suggestion.to_string().parse::<Suggestion>().unwrap(), suggestion, "{text}");
        }
        assert!("a b: c".parse::<Suggestion>().is_err());
        assert!("".parse::<Suggestion>().is_err());
    }

    #[test]
    fn scriptlets_are_named_as_in_the_recipe() {
        for scriptlet in Scriptlet::ALL {
            assert_eq!(scriptlet.to_string().parse(), Ok(scriptlet));
        }
        assert_eq!("post_install".parse::<Scriptlet>(), Err(ScriptletError));
    }
}
