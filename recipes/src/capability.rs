// recipes/src/capability.rs
//! What packages ask for and give.
//!
//! | text | kind |
//! |---|---|
//! | `zlib`, `zlib:devel`, `zlib >= 1.2`, `zlib = 2:1.2-1` | a package or one component of it |
//! | `soname(libz.so.1)` | a shared library by the name that programs record |
//! | `pkgconfig(zlib) >= 1.2` | a pkg-config module |
//! | `/usr/bin/m4` | a file |
//!
//! A [`Requirement`] is one or several of them joined by `|`, any of which will do. A provide is a capability as
//! well; its version stands behind `=`. Versions compare as in [`crate::compare_versions`], a missing epoch is 0,
//! and releases count only where both sides have one. A provide without version meets no requirement that has one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::name::{Name, NameError};
use crate::spec::split_component;
use crate::text::{first_outside, quote, serde_as_text};
use crate::version::{Bound, VersionError};

/// How the version that is there relates to the one that was named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

impl Comparison {
    /// Returns the sign.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Equal => "=",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Greater => ">",
        }
    }

    /// Whether a version that compares like `order` to the named one is acceptable.
    #[must_use]
    pub fn accepts(self, order: Ordering) -> bool {
        match self {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Equal => order == Ordering::Equal,
            Comparison::GreaterOrEqual => order != Ordering::Less,
            Comparison::Greater => order == Ordering::Greater,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.sign())
    }
}

/// The version that a capability names, and how the one that is there must relate to it.
///
/// The text is `[epoch:]version[-release]`.
pub type Constraint = (Comparison, String);

/// A thing that a package asks for or gives.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Capability {
    /// A package, or one component of it.
    Package {
        /// The package.
        name: Name,
        /// The component, when one is meant.
        component: Option<String>,
        /// Which versions will do, as `[epoch:]version[-release]`.
        constraint: Option<Constraint>,
    },
    /// A shared library.
    Soname {
        /// What `DT_SONAME` says, like `libz.so.1`.
        name: String,
    },
    /// A pkg-config module.
    PkgConfig {
        /// The module, like `zlib`.
        module: String,
        /// Which versions will do.
        constraint: Option<Constraint>,
    },
    /// A file, by absolute path.
    Path {
        /// The path, like `/usr/bin/m4`.
        path: String,
    },
}

impl Capability {
    /// Whether `provide` meets this.
    ///
    /// A package is not met by one of its components, nor the other way round.
    #[must_use]
    pub fn satisfied_by(&self, provide: &Capability) -> bool {
        match (self, provide) {
            (
                Capability::Package { name, component, constraint },
                Capability::Package { name: given, component: given_component, constraint: given_constraint },
            ) => name == given && component == given_component && meets(constraint.as_ref(), given_constraint.as_ref()),
            (
                Capability::PkgConfig { module, constraint },
                Capability::PkgConfig { module: given, constraint: given_constraint },
            ) => module == given && meets(constraint.as_ref(), given_constraint.as_ref()),
            (Capability::Soname { .. }, Capability::Soname { .. })
            | (Capability::Path { .. }, Capability::Path { .. }) => self == provide,
            _ => false,
        }
    }

    /// Returns the constraint on the version, where the kind has one.
    #[must_use]
    pub fn constraint(&self) -> Option<&Constraint> {
        match self {
            Capability::Package { constraint, .. } | Capability::PkgConfig { constraint, .. } => constraint.as_ref(),
            Capability::Soname { .. } | Capability::Path { .. } => None,
        }
    }
}

/// Whether a version given with `=` lies within what was asked for.
fn meets(wanted: Option<&Constraint>, given: Option<&Constraint>) -> bool {
    let Some((comparison, wanted)) = wanted else {
        return true;
    };
    let Some((Comparison::Equal, given)) = given else {
        return false;
    };
    match (Bound::parse(given), Bound::parse(wanted)) {
        (Ok(given), Ok(wanted)) => comparison.accepts(given.compare(&wanted)),
        _ => false,
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::Package { name, component: None, .. } => write!(formatter, "{name}")?,
            Capability::Package { name, component: Some(component), .. } => write!(formatter, "{name}:{component}")?,
            Capability::Soname { name } => write!(formatter, "soname({name})")?,
            Capability::PkgConfig { module, .. } => write!(formatter, "pkgconfig({module})")?,
            Capability::Path { path } => formatter.write_str(path)?,
        }
        match self.constraint() {
            None => Ok(()),
            Some((comparison, version)) => write!(formatter, " {comparison} {version}"),
        }
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(CapabilityError::Empty);
        }
        if text.starts_with('/') {
            return path(text);
        }
        let (what, constraint) = split_constraint(text)?;
        if let Some(inner) = what.strip_prefix("soname(") {
            let name = close(inner, what)?;
            if constraint.is_some() {
                return Err(CapabilityError::Unversioned { text: text.to_owned() });
            }
            return Ok(Capability::Soname { name });
        }
        if let Some(inner) = what.strip_prefix("pkgconfig(") {
            return Ok(Capability::PkgConfig { module: close(inner, what)?, constraint });
        }
        if let Some((kind, _)) = what.split_once('(') {
            return Err(CapabilityError::Kind { kind: kind.to_owned() });
        }
        let (name, component) = split_component(what)?;
        Ok(Capability::Package { name, component, constraint })
    }
}

serde_as_text!(Capability);

/// Splits `what [sign version]`, checking the version.
fn split_constraint(text: &str) -> Result<(&str, Option<Constraint>), CapabilityError> {
    let Some(at) = text.find(['<', '>', '=']) else {
        return Ok((text, None));
    };
    let (what, rest) = text.split_at(at);
    let signs = [
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("==", Comparison::Equal),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
        ("=", Comparison::Equal),
    ];
    let found = signs.into_iter().find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
    let Some((comparison, version)) = found else {
        return Ok((text, None));
    };
    let version = version.trim();
    Bound::parse(version)?;
    Ok((what.trim_end(), Some((comparison, version.to_owned()))))
}

/// Reads what stands between the parentheses of `whole`.
fn close(inner: &str, whole: &str) -> Result<String, CapabilityError> {
    let bad = || CapabilityError::Parenthesis { text: whole.to_owned() };
    let name = inner.strip_suffix(')').ok_or_else(bad)?;
    let allowed =
        |character: char| character.is_ascii_graphic() && !matches!(character, '(' | ')' | '|' | '<' | '>' | '=');
    if name.is_empty() || first_outside(name, allowed).is_some() {
        return Err(bad());
    }
    Ok(name.to_owned())
}

/// Reads an absolute path without empty, `.` or `..` parts.
fn path(text: &str) -> Result<Capability, CapabilityError> {
    let sound = |part: &str| !matches!(part, "" | "." | "..");
    let allowed = |character: char| character.is_ascii_graphic() && character != '|';
    if !text[1..].split('/').all(sound) || first_outside(text, allowed).is_some() {
        return Err(CapabilityError::Path { text: text.to_owned() });
    }
    Ok(Capability::Path { path: text.to_owned() })
}

/// Something that must be there: one capability, or any of several.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Requirement {
    /// What will do, the preferred first. Never empty.
    pub alternatives: Vec<Capability>,
}

impl Requirement {
    /// Whether `provide` meets one of the alternatives.
    #[must_use]
    pub fn satisfied_by(&self, provide: &Capability) -> bool {
        self.alternatives.iter().any(|alternative| alternative.satisfied_by(provide))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, alternative) in self.alternatives.iter().enumerate() {
            let bar = if at == 0 { "" } else { " | " };
            write!(formatter, "{bar}{alternative}")?;
        }
        Ok(())
    }
}

impl FromStr for Requirement {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let alternatives = text.split('|').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }
}

serde_as_text!(Requirement);

/// Why a text asks for nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CapabilityError {
    /// No text, or none on one side of a `|`.
    #[error("a requirement cannot be empty")]
    Empty,
    /// The name or component of a package.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The version behind the sign.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// A version on a kind that has none.
    #[error("{} cannot have a version", quote(text))]
    Unversioned {
        /// The whole text.
        text: String,
    },
    /// Something before a parenthesis that is not a kind.
    #[error("unknown kind of requirement {}", quote(kind))]
    Kind {
        /// The text before the parenthesis.
        kind: String,
    },
    /// Parentheses that do not close or hold something that cannot be a name.
    #[error("{} is not closed or not a name inside", quote(text))]
    Parenthesis {
        /// The text of the capability.
        text: String,
    },
    /// A path that is not plain.
    #[error("{} is not a plain absolute path", quote(text))]
    Path {
        /// The path.
        text: String,
    },
}

impl CapabilityError {
    /// Returns what to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            CapabilityError::Name(source) => source.hint(),
            CapabilityError::Version(source) => source.hint(),
            CapabilityError::Path { .. } => Some("write it without `//`, `.`, `..`, spaces and a `/` at the end".to_owned()),
            CapabilityError::Unversioned { .. } => Some("a soname carries its version in its name: `soname(libz.so.1)`".to_owned()),
            CapabilityError::Empty | CapabilityError::Kind { .. } | CapabilityError::Parenthesis { .. } => Some(
                "write `name`, `name:component`, `name >= 1.2`, `soname(libz.so.1)`, `pkgconfig(zlib)`, `/usr/bin/m4`, or several with `|`"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requirements_print_one_way() {
        let cases = [
            ("zlib", "zlib"),
            (" zlib:devel ", "zlib:devel"),
            ("zlib>=1.2", "zlib >= 1.2"),
            ("zlib >=  1:1.2-3", "zlib >= 1:1.2-3"),
            ("zlib == 1", "zlib = 1"),
            ("zlib<1", "zlib < 1"),
            ("zlib <= 1", "zlib <= 1"),
            ("zlib > 1~rc1", "zlib > 1~rc1"),
            ("soname(libstdc++.so.6)", "soname(libstdc++.so.6)"),
            ("pkgconfig(gtk+-3.0) >= 3.24", "pkgconfig(gtk+-3.0) >= 3.24"),
            ("/usr/bin/m4", "/usr/bin/m4"),
            ("/usr/bin/[", "/usr/bin/["),
            ("mawk|gawk >= 5 | /usr/bin/awk", "mawk | gawk >= 5 | /usr/bin/awk"),
        ];
        for (text, printed) in cases {
            let requirement: Requirement = text.parse().unwrap();
            assert_eq!(requirement.to_string(), printed);
            assert_eq!(printed.parse::<Requirement>(), Ok(requirement));
        }
    }

    #[test]
    fn what_is_not_a_requirement_is_refused() {
        let cases = [
            ("", "cannot be empty"),
            ("a |", "cannot be empty"),
            ("| a", "cannot be empty"),
            ("zlib >=", "cannot be empty"),
            (">= 1", "cannot be empty"),
            ("zlib >= 1 2", "' ' cannot stand"),
            ("zlib => 1", "'>' cannot stand"),
            ("zlib >= 1 < 2", "' ' cannot stand"),
            ("zlib devel", "contains ' '"),
            ("Zlib", "contains 'Z'"),
            ("soname(libz.so.1", "not closed"),
            ("soname()", "not closed"),
            ("soname(a b)", "not closed"),
            ("soname(libz.so.1) >= 1", "cannot have a version"),
            ("perl(File::Spec)", "unknown kind of requirement `perl`"),
            ("/", "plain absolute path"),
            ("/usr//bin", "plain absolute path"),
            ("/usr/../bin", "plain absolute path"),
            ("/usr/bin/", "plain absolute path"),
            ("/usr/a b", "plain absolute path"),
        ];
        for (text, part) in cases {
            let error = text.parse::<Requirement>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().is_some(), "{text}");
        }
    }

    #[test]
    fn provides_meet_requirements() {
        let cases = [
            ("zlib", "zlib", true),
            ("zlib", "zlib = 1.3-1", true),
            ("zlib", "zlib:devel = 1.3-1", false),
            ("zlib:devel", "zlib = 1.3-1", false),
            ("zlib:devel >= 1.2", "zlib:devel = 1.3-1", true),
            ("zlib >= 1.3", "zlib = 1.3-1", true),
            ("zlib >= 1.3-2", "zlib = 1.3-1", false),
            ("zlib > 1.3", "zlib = 1.3-9", false),
            ("zlib = 1.3", "zlib = 1.3-9", true),
            ("zlib < 1.3", "zlib = 1.3~rc1-1", true),
            ("zlib <= 1.3", "zlib = 1.4-1", false),
            ("zlib >= 9", "zlib = 1:1.3-1", true),
            ("zlib < 9", "zlib = 1:1.3-1", false),
            ("zlib >= 1", "zlib", false),
            ("zlib >= 1", "zlib >= 2", false),
            ("zlib", "zlib-ng", false),
            ("zlib | zlib-ng", "zlib-ng = 2-1", true),
            ("soname(libz.so.1)", "soname(libz.so.1)", true),
            ("soname(libz.so.1)", "soname(libz.so.2)", false),
            ("soname(zlib)", "pkgconfig(zlib)", false),
            ("pkgconfig(zlib) >= 1.2", "pkgconfig(zlib) = 1.3", true),
            ("pkgconfig(zlib) >= 1.4", "pkgconfig(zlib) = 1.3", false),
            ("/usr/bin/m4", "/usr/bin/m4", true),
            ("/usr/bin/m4", "/usr/bin/m5", false),
        ];
        for (requirement, provide, expected) in cases {
            let requirement: Requirement = requirement.parse().unwrap();
            assert_eq!(requirement.satisfied_by(&provide.parse().unwrap()), expected, "{requirement}, {provide}");
        }
    }

    fn any_constraint() -> impl Strategy<Value = Option<Constraint>> {
        let comparison = proptest::sample::select(vec![
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Equal,
            Comparison::GreaterOrEqual,
            Comparison::Greater,
        ]);
        proptest::option::of((comparison, "([0-9]{1,4}:)?[0-9][a-z0-9.~^+_]{0,10}(-[0-9]{1,3})?"))
    }

    fn any_capability() -> impl Strategy<Value = Capability> {
        prop_oneof![
            ("[a-z][a-z0-9+._-]{0,10}", proptest::option::of("[a-z]{1,8}"), any_constraint()).prop_map(
                |(name, component, constraint)| Capability::Package {
                    name: name.parse().unwrap(),
                    component,
                    constraint
                }
            ),
            "[a-z0-9+._-]{1,20}".prop_map(|name| Capability::Soname { name }),
            ("[a-z0-9+._-]{1,20}", any_constraint())
                .prop_map(|(module, constraint)| Capability::PkgConfig { module, constraint }),
            "(/[a-z0-9_\\[=<>]{1,8}){1,5}".prop_map(|path| Capability::Path { path }),
        ]
    }

    proptest! {
        #[test]
        fn any_requirement_survives_being_printed(alternatives in proptest::collection::vec(any_capability(), 1..4)) {
            let requirement = Requirement { alternatives };
            prop_assert_eq!(requirement.to_string().parse::<Requirement>(), Ok(requirement));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9 ()<>=|/.:~^-]{0,40}|.{0,40}") {
            if let Ok(requirement) = text.parse::<Requirement>() {
                prop_assert_eq!(requirement.to_string().parse::<Requirement>(), Ok(requirement));
            }
        }

        #[test]
        fn comparing_versions_is_an_order(a in "[a-b0-1.~^]{0,6}", b in "[a-b0-1.~^]{0,6}", c in "[a-b0-1.~^]{0,6}") {
            let compare = crate::compare_versions;
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater, "{} {} {}", a, b, c);
            }
        }
    }
}
