// recipes/src/policy.rs
//! What is done with the files of an output before they are a package, and what may be switched.

use std::collections::BTreeSet;
use std::fmt;

/// One thing that plating does or keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Policy {
    /// Symbols that running does not need are taken out of programs and libraries.
    Strip,
    /// Documentation stays.
    Docs,
    /// Static libraries stay beside shared ones.
    StaticLibs,
    /// `*.la` files stay.
    Libtool,
    /// Directories with nothing in them stay.
    EmptyDirs,
    /// Manual and info pages are compressed.
    CompressMan,
    /// Files that every package would bring and all would overwrite are dropped.
    Purge,
    /// What stripping takes out is kept below `/usr/lib/debug`.
    DebugInfo,
    /// Programs are optimised as a whole when they are linked.
    Lto,
}

impl Policy {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Policy; 9] = [
        Policy::Strip,
        Policy::Docs,
        Policy::StaticLibs,
        Policy::Libtool,
        Policy::EmptyDirs,
        Policy::CompressMan,
        Policy::Purge,
        Policy::DebugInfo,
        Policy::Lto,
    ];

    /// Returns the word that stands in `build.options`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Policy::Strip => "strip",
            Policy::Docs => "docs",
            Policy::StaticLibs => "staticlibs",
            Policy::Libtool => "libtool",
            Policy::EmptyDirs => "emptydirs",
            Policy::CompressMan => "compress-man",
            Policy::Purge => "purge",
            Policy::DebugInfo => "debuginfo",
            Policy::Lto => "lto",
        }
    }

    /// Whether it holds for a recipe that says nothing: an output is packed as the build left it.
    #[must_use]
    pub fn is_default(self) -> bool {
        matches!(self, Policy::Docs | Policy::StaticLibs | Policy::Libtool | Policy::EmptyDirs)
    }
}

/// The policies that hold for an output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    on: BTreeSet<Policy>,
}

impl Policies {
    /// Whether a policy holds.
    #[must_use]
    pub fn has(&self, policy: Policy) -> bool {
        self.on.contains(&policy)
    }

    /// Switches a policy on or off.
    pub fn set(&mut self, policy: Policy, on: bool) {
        if on {
            self.on.insert(policy);
        } else {
            self.on.remove(&policy);
        }
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self { on: Policy::ALL.into_iter().filter(|policy| policy.is_default()).collect() }
    }
}

impl fmt::Display for Policies {
    /// Writes what differs from the default, as `build.options` would say it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let different = Policy::ALL.into_iter().filter(|policy| self.has(*policy) != policy.is_default());
        for (at, policy) in different.enumerate() {
            let (space, not) = (if at > 0 { " " } else { "" }, if self.has(policy) { "" } else { "!" });
            write!(formatter, "{space}{not}{}", policy.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_the_default_is_shown() {
        let mut policies = Policies::default();
        assert_eq!(policies.to_string(), "");
        assert!(policies.has(Policy::Docs) && !policies.has(Policy::Strip));
        policies.set(Policy::Libtool, false);
        policies.set(Policy::Strip, true);
        policies.set(Policy::Purge, false);
        assert_eq!(policies.to_string(), "strip !libtool");
    }
}
