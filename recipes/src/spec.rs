// recipes/src/spec.rs
//! How a trove is written: `name[:component][=version][[flavor]][@label]`.
//!
//! ```text
//! openssl:devel=1:3.5.4-1[fips,!zlib]@conary.example.org@base:stable
//! └name─┘ └───┘ └version┘ └─flavor──┘ └host─────────────┘ └ns┘ └tag─┘
//! ```
//!
//! Everything after the name may be missing. One spelling, parsed, printed and stored the same way everywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::name::{self, Name, NameError};
use crate::text::{first_outside, quote, serde_as_text};
use crate::version::{Version, VersionError};

/// The build options a trove was made with, sorted by name: `ssl,!x11`. May be empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Flavor(BTreeMap<String, bool>);

impl Flavor {
    /// Whether no option is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the options by name, each with whether it is on.
    pub fn options(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|(name, on)| (name.as_str(), *on))
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, on)) in self.options().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let not = if on { "" } else { "!" };
            write!(formatter, "{comma}{not}{name}")?;
        }
        Ok(())
    }
}

impl FromStr for Flavor {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut options = BTreeMap::new();
        if text.is_empty() {
            return Ok(Self(options));
        }
        for option in text.split(',') {
            let option = option.trim();
            let (name, on) = option.strip_prefix('!').map_or((option, true), |name| (name, false));
            name::check(name).map_err(|source| SpecError::FlavorOption { option: option.to_owned(), source })?;
            if options.insert(name.to_owned(), on).is_some() {
                return Err(SpecError::FlavorTwice { option: name.to_owned() });
            }
        }
        Ok(Self(options))
    }
}

serde_as_text!(Flavor);

/// Where a trove comes from, as text: `host@namespace:tag`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label(String);

impl Label {
    /// Returns the label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let bad = || SpecError::Label { text: text.to_owned() };
        let (host, rest) = text.split_once('@').ok_or_else(bad)?;
        let (namespace, tag) = rest.split_once(':').ok_or_else(bad)?;
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '+');
        let sound = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric()) && first_outside(part, allowed).is_none()
        };
        if text.len() > 255 || ![host, namespace, tag].into_iter().all(sound) {
            return Err(bad());
        }
        Ok(Self(text.to_owned()))
    }
}

serde_as_text!(Label);

/// A trove, named as exactly as the writer cared to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TroveSpec {
    /// The package.
    pub name: Name,
    /// One component of it, such as `devel`.
    pub component: Option<String>,
    /// Its version with release.
    pub version: Option<Version>,
    /// Its build options; empty when none were named.
    pub flavor: Flavor,
    /// Where it comes from.
    pub label: Option<Label>,
}

impl fmt::Display for TroveSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.name)?;
        if let Some(component) = &self.component {
            write!(formatter, ":{component}")?;
        }
        if let Some(version) = &self.version {
            write!(formatter, "={version}")?;
        }
        if !self.flavor.is_empty() {
            write!(formatter, "[{}]", self.flavor)?;
        }
        if let Some(label) = &self.label {
            write!(formatter, "@{label}")?;
        }
        Ok(())
    }
}

impl FromStr for TroveSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (rest, label) = match text.split_once('@') {
            None => (text, None),
            Some((rest, label)) => (rest, Some(label.parse()?)),
        };
        let (rest, flavor) = match rest.split_once('[') {
            None => (rest, Flavor::default()),
            Some((rest, flavor)) => {
                let flavor = flavor.strip_suffix(']').ok_or_else(|| SpecError::Bracket { text: text.to_owned() })?;
                (rest, flavor.parse()?)
            }
        };
        let (rest, version) = match rest.split_once('=') {
            None => (rest, None),
            Some((rest, version)) => (rest, Some(version.parse()?)),
        };
        let (name, component) = split_component(rest)?;
        Ok(Self { name, component, version, flavor, label })
    }
}

serde_as_text!(TroveSpec);

/// Reads `name[:component]`.
pub(crate) fn split_component(text: &str) -> Result<(Name, Option<String>), NameError> {
    match text.split_once(':') {
        None => Ok((text.parse()?, None)),
        Some((name, component)) => {
            name::check(component)?;
            Ok((name.parse()?, Some(component.to_owned())))
        }
    }
}

/// Why a text names no trove.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SpecError {
    /// The name or the component.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// An option of the flavor is not a name.
    #[error("{} is not a build option", quote(option))]
    FlavorOption {
        /// The option as written.
        option: String,
        /// What is wrong with its name.
        source: NameError,
    },
    /// An option stands twice in a flavor.
    #[error("the build option {} is named twice", quote(option))]
    FlavorTwice {
        /// The option's name.
        option: String,
    },
    /// A flavor's bracket is not closed, or something other than a label follows it.
    #[error("the flavor in {} does not end with `]`", quote(text))]
    Bracket {
        /// The whole text.
        text: String,
    },
    /// Something behind the `@` that is not a label.
    #[error("{} is not a label", quote(text))]
    Label {
        /// The text of the label.
        text: String,
    },
}

impl SpecError {
    /// Returns what to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            SpecError::Name(source) => source.hint(),
            SpecError::Version(source) => source.hint(),
            SpecError::FlavorOption { .. } | SpecError::FlavorTwice { .. } | SpecError::Bracket { .. } => {
                Some("a flavor is a list of names, `!` before those that are off: `[ssl,!x11]`".to_owned())
            }
            SpecError::Label { .. } => {
                Some("a label is `host@namespace:tag`, like `conary.example.org@base:stable`".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn specs_round_trip() {
        let cases = [
            "hello",
            "hello=1.0-1",
            "hello:devel",
            "hello:devel=2:1.0-1",
            "hello[ssl]",
            "hello=1.0-1[!gtk,ssl]",
            "hello@h.example@ns:tag",
            "openssl:devel=1:3.5.4-1[fips,!zlib]@conary.example.org@base:stable",
        ];
        for text in cases {
            assert_eq!(text.parse::<TroveSpec>().unwrap().to_string(), text);
        }
        let spec: TroveSpec = "a=1-1[zz, !b,c]".parse().unwrap();
        assert_eq!(spec.to_string(), "a=1-1[!b,c,zz]");
        assert_eq!(spec.flavor.options().collect::<Vec<_>>(), [("b", false), ("c", true), ("zz", true)]);
        assert_eq!("a[]".parse::<TroveSpec>().unwrap().to_string(), "a");
    }

    #[test]
    fn what_is_not_a_spec_is_refused() {
        let cases = [
            ("", "empty"),
            ("=1-1", "empty"),
            ("hello=1.0", "no release"),
            ("hello=", "empty"),
            ("hello:", "empty"),
            ("hello:De", "contains 'D'"),
            ("hello[ssl", "does not end with"),
            ("hello[ssl]x", "does not end with"),
            ("hello[ssl,!ssl]", "named twice"),
            ("hello[,]", "not a build option"),
            ("hello[!!a]", "not a build option"),
            ("hello@x", "not a label"),
            ("hello@x@y", "not a label"),
            ("hello@x@y:", "not a label"),
            ("hello@x@y:z w", "not a label"),
            ("hello@../x@y:z", "not a label"),
        ];
        for (text, part) in cases {
            let error = text.parse::<TroveSpec>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().is_some(), "{text}");
        }
    }

    prop_compose! {
        fn any_spec()(
            name in "[a-z0-9][a-z0-9+._-]{0,20}",
            component in proptest::option::of("[a-z][a-z0-9]{0,9}"),
            version in proptest::option::of(("(0|[1-9][0-9]{0,5})", "[A-Za-z0-9][A-Za-z0-9.+_~^]{0,20}", "[0-9][0-9.]{0,4}")),
            flavor in proptest::collection::btree_map("[a-z][a-z0-9]{0,6}", any::<bool>(), 0..4),
            label in proptest::option::of("[a-z][a-z0-9.-]{0,10}@[a-z][a-z0-9]{0,5}:[a-z][a-z0-9]{0,5}"),
        ) -> TroveSpec {
            TroveSpec {
                name: name.parse().unwrap(),
                component,
                version: version.map(|(epoch, version, release)| Version { epoch: epoch.parse().unwrap(), version, release }),
                flavor: Flavor(flavor),
                label: label.map(|label| label.parse().unwrap()),
            }
        }
    }

    proptest! {
        #[test]
        fn any_spec_survives_being_printed(spec in any_spec()) {
            prop_assert_eq!(spec.to_string().parse::<TroveSpec>(), Ok(spec));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}") {
            if let Ok(spec) = text.parse::<TroveSpec>() {
                prop_assert_eq!(spec.to_string().parse::<TroveSpec>(), Ok(spec));
            }
        }
    }
}
