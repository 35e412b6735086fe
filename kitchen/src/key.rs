// kitchen/src/key.rs
//! The cook key: everything that the build can see, and nothing else.
//!
//! A key is the BLAKE3 digest of a list of [`Input`]s. The list is kept beside the result, so that a
//! later miss can name what changed. This table is the specification; change it first, and raise
//! [`SCHEMA`] with it:
//!
//! | kind | name | value |
//! |---|---|---|
//! | `policy` | `key-schema`, `sandbox` | [`SCHEMA`]; the sandbox's policy version |
//! | `recipe` | dotted key | the key's value after expansion; `%(jobs)` stays a name |
//! | `source` | `main` or the additional source's file name | digest of the file or of the tree |
//! | `patch` | position and file name | digest of the file |
//! | `dependency` | position and trove name | id of the trove in the build root |
//! | `dependency` | `seed` | id of the seed below them, in a hermetic root |
//! | `host` | `packages`, `links`, `alternatives`, `loader-cache` | digest of the listing that is kept as an object; none in a hermetic root |
//! | `environment` | variable | value, for the closed environment; `MAKEFLAGS` and `SOURCE_DATE_EPOCH` aside |
//! | `target` | `arch`, `build`, `host`, `target` | architecture and triples |
//! | `option` | `check` | `skipped` where `--no-check` was given |
//!
//! Left out on purpose: the number of jobs (and so `MAKEFLAGS`), the host's name, the user, the clock,
//! every host path, where a source came from, log settings. `SOURCE_DATE_EPOCH` follows from the sources.
//!
//! Encoding: the text `conary cook key\n`, then for every input, sorted by kind, name and value, three
//! strings, each as its length in bytes (64 bit, little endian) and its bytes. Nothing can be moved from
//! one string to its neighbour without changing the digest.

use std::collections::BTreeMap;

use recipes::Digest;
use serde::{Deserialize, Serialize};

/// Version of this table. Raising it throws all old answers away.
pub const SCHEMA: &str = "2";

/// Name of the input that is a seed.
pub const SEED: &str = "seed";

/// What sort of input a line of the key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Versions of the rules themselves.
    Policy,
    /// A key of the recipe.
    Recipe,
    /// The content of a source.
    Source,
    /// The content of a patch.
    Patch,
    /// The content of a trove in the build root.
    Dependency,
    /// The host's part of a build root in default isolation.
    Host,
    /// A variable of the closed environment.
    Environment,
    /// Architecture and triples.
    Target,
    /// A switch of the command line that changes what is built.
    Option,
}

impl InputKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Policy,
        Self::Recipe,
        Self::Source,
        Self::Patch,
        Self::Dependency,
        Self::Host,
        Self::Environment,
        Self::Target,
        Self::Option,
    ];

    /// The word that stands in the key and in `conary why`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Recipe => "recipe",
            Self::Source => "source",
            Self::Patch => "patch",
            Self::Dependency => "dependency",
            Self::Host => "host",
            Self::Environment => "environment",
            Self::Target => "target",
            Self::Option => "option",
        }
    }
}

/// One line of the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Input {
    /// What sort of input.
    pub kind: InputKind,
    /// Which one of its kind.
    pub name: String,
    /// Its value, or the digest of its content.
    pub value: String,
}

/// The inputs of one cook, collected and then fixed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    lines: BTreeMap<(InputKind, String), String>,
}

impl Inputs {
    /// Adds one input. A later value for the same kind and name takes the place of an earlier one.
    pub fn add(&mut self, kind: InputKind, name: impl Into<String>, value: impl Into<String>) {
        self.lines.insert((kind, name.into()), value.into());
    }

    /// All inputs, sorted by kind and name.
    #[must_use]
    pub fn to_list(&self) -> Vec<Input> {
        self.lines
            .iter()
            .map(|((kind, name), value)| Input { kind: *kind, name: name.clone(), value: value.clone() })
            .collect()
    }

    /// The key of these inputs.
    #[must_use]
    pub fn key(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"conary cook key\n");
        let mut put = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        // By the words, not by the order in which the enum happens to list them.
        let mut lines: Vec<_> =
            self.lines.iter().map(|((kind, name), value)| (kind.as_str(), name.as_str(), value.as_str())).collect();
        lines.sort_unstable();
        for (kind, name, value) in lines {
            put(kind);
            put(name);
            put(value);
        }
        Digest::blake3(*hasher.finalize().as_bytes())
    }
}

/// The inputs as they stand on an action row.
#[must_use]
pub fn to_store(inputs: &Inputs) -> Vec<store::Input> {
    inputs
        .to_list()
        .into_iter()
        .map(|input| store::Input { kind: input.kind.as_str().to_owned(), name: input.name, value: input.value })
        .collect()
}

/// The inputs of an action row. One of a kind that this version does not know is left out: its key
/// schema is another, and the row answers nothing.
#[must_use]
pub fn from_store(inputs: &[store::Input]) -> Vec<Input> {
    inputs
        .iter()
        .filter_map(|input| {
            let kind = InputKind::ALL.into_iter().find(|kind| kind.as_str() == input.kind)?;
            Some(Input { kind, name: input.name.clone(), value: input.value.clone() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(lines: &[(InputKind, &str, &str)]) -> Inputs {
        let mut inputs = Inputs::default();
        for (kind, name, value) in lines {
            inputs.add(*kind, *name, *value);
        }
        inputs
    }

    #[test]
    fn order_of_adding_does_not_matter() {
        let a = inputs(&[(InputKind::Source, "main", "x"), (InputKind::Policy, "p", "1")]);
        let b = inputs(&[(InputKind::Policy, "p", "1"), (InputKind::Source, "main", "x")]);
        assert_eq!(a.key(), b.key());
    }

    #[test]
    fn nothing_moves_between_neighbouring_strings() {
        let a = inputs(&[(InputKind::Environment, "AB", "C")]);
        let b = inputs(&[(InputKind::Environment, "A", "BC")]);
        let c = inputs(&[(InputKind::Recipe, "AB", "C")]);
        assert_ne!(a.key(), b.key());
        assert_ne!(a.key(), c.key());
    }

    #[test]
    fn an_added_input_is_another_key() {
        let a = inputs(&[(InputKind::Source, "main", "x")]);
        let b = inputs(&[(InputKind::Source, "main", "x"), (InputKind::Option, "check", "skipped")]);
        assert_ne!(a.key(), b.key());
    }
}
