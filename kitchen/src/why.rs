// kitchen/src/why.rs
//! Why a cook is not answered from the cache: the inputs of the nearest earlier cook, compared.
//!
//! The nearest earlier cook is the latest one of the same package name. The comparison is by kind and
//! name of input; where an input is a listing or a tree that the store still has, the comparison goes
//! on inside it, so that the line names the package or the file.

use std::collections::BTreeMap;
use std::fmt;

use recipes::Digest;
use serde::Serialize;
use store::Store;

use crate::key::{Input, InputKind};

/// Why nothing in the cache answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum MissReason {
    /// This package was never cooked with this store.
    First,
    /// The user asked for it.
    Forced,
    /// Inputs differ from the nearest earlier cook.
    Changed {
        /// What differs; never empty.
        differences: Vec<Difference>,
    },
    /// There is a result, made at a lower isolation level than asked for.
    Isolation {
        /// The level it was made at.
        had: String,
    },
    /// There is a result, made by a user whom this one does not trust.
    Untrusted {
        /// The user id that made it.
        uid: u32,
    },
    /// There is a result, and its content is gone from the store.
    Collected,
}

/// One input that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What sort of input.
    pub kind: InputKind,
    /// Which one.
    pub name: String,
    /// Its value at the earlier cook.
    pub was: Option<String>,
    /// Its value now.
    pub now: Option<String>,
    /// What differs inside it, where that can be said.
    pub inside: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        if let Some(first) = self.inside.first() {
            write!(f, "{kind} {}: {first}", self.name)?;
            if self.inside.len() > 1 {
                write!(f, " and {} more", self.inside.len() - 1)?;
            }
            return Ok(());
        }
        let plain = matches!(self.kind, InputKind::Environment | InputKind::Target | InputKind::Policy);
        match (&self.was, &self.now) {
            (None, Some(_)) => write!(f, "{kind} {} is new", self.name),
            (Some(_), None) => write!(f, "{kind} {} is gone", self.name),
            (Some(was), Some(now)) if plain || (one_line(was) && one_line(now)) => {
                write!(f, "{kind} {} changed from {was:?} to {now:?}", self.name)
            }
            _ => write!(f, "{kind} {} changed", self.name),
        }
    }
}

/// True for a value that reads well inside a sentence.
fn one_line(value: &str) -> bool {
    value.len() <= 40 && !value.contains('\n') && !value.starts_with("blake3:")
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => write!(f, "first cook"),
            Self::Forced => write!(f, "forced"),
            Self::Isolation { had } => write!(f, "the earlier result was made with isolation {had}"),
            Self::Untrusted { uid } => write!(f, "the earlier result was made by user {uid}"),
            Self::Collected => write!(f, "the earlier result is no longer in the store"),
            Self::Changed { differences } => match differences.split_first() {
                None => write!(f, "nothing differs"),
                Some((first, [])) => write!(f, "{first}"),
                Some((first, rest)) => write!(f, "{first}, and {} more", rest.len()),
            },
        }
    }
}

/// Compares the inputs of an earlier cook with those of now.
///
/// Differences come sorted: sources and patches first, then recipe, environment, dependencies and
/// host, because the first of them is the one line that a cook prints.
#[must_use]
pub fn compare(store: &Store, was: &[Input], now: &[Input]) -> Vec<Difference> {
    let index = |list: &[Input]| -> BTreeMap<(InputKind, String), String> {
        list.iter().map(|i| ((i.kind, i.name.clone()), i.value.clone())).collect()
    };
    let (was, now) = (index(was), index(now));
    let mut names: Vec<_> = was.keys().chain(now.keys()).collect();
    names.sort_unstable_by_key(|(kind, name)| (rank(*kind), name.clone()));
    names.dedup();
    names
        .into_iter()
        .filter(|name| was.get(*name) != now.get(*name))
        .map(|name| {
            let (before, after) = (was.get(name).cloned(), now.get(name).cloned());
            let inside = match (&before, &after) {
                (Some(before), Some(after)) => look_inside(store, name.0, before, after),
                _ => Vec::new(),
            };
            Difference { kind: name.0, name: name.1.clone(), was: before, now: after, inside }
        })
        .collect()
}

/// Where a kind stands in the order of what a packager most likely changed.
fn rank(kind: InputKind) -> u8 {
    match kind {
        InputKind::Source => 0,
        InputKind::Patch => 1,
        InputKind::Recipe => 2,
        InputKind::Environment => 3,
        InputKind::Option => 4,
        InputKind::Dependency => 5,
        InputKind::Host => 6,
        InputKind::Target => 7,
        InputKind::Policy => 8,
    }
}

/// What differs inside two listings or trees, as far as the store still has both.
fn look_inside(store: &Store, kind: InputKind, was: &str, now: &str) -> Vec<String> {
    let (Ok(was), Ok(now)) = (was.parse::<Digest>(), now.parse::<Digest>()) else {
        return Vec::new();
    };
    match kind {
        InputKind::Host => match (store.read(&was), store.read(&now)) {
            (Ok(was), Ok(now)) => listing_changes(&String::from_utf8_lossy(&was), &String::from_utf8_lossy(&now)),
            _ => Vec::new(),
        },
        InputKind::Source => match (store.tree(&was), store.tree(&now)) {
            (Ok(was), Ok(now)) => tree_changes(&was, &now),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Names whose second word differs between two listings of `name value` lines.
fn listing_changes(was: &str, now: &str) -> Vec<String> {
    let index = |text: &str| -> BTreeMap<String, String> {
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (was, now) = (index(was), index(now));
    let mut changes = Vec::new();
    for (name, version) in &now {
        match was.get(name) {
            None => changes.push(format!("{name} {version} is new")),
            // A listing of a file that is not read inside has one line, its digest; nobody wants to see two of them.
            Some(before) if before != version && version.starts_with("blake3:") => {
                changes.push(format!("{name} changed"));
            }
            Some(before) if before != version => changes.push(format!("{name} {before} is now {version}")),
            Some(_) => {}
        }
    }
    for name in was.keys().filter(|name| !now.contains_key(*name)) {
        changes.push(format!("{name} is gone"));
    }
    changes
}

/// Paths whose entry differs between two trees.
fn tree_changes(was: &store::Tree, now: &store::Tree) -> Vec<String> {
    let index = |tree: &store::Tree| -> BTreeMap<Vec<u8>, store::Entry> {
        tree.entries().iter().map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    let (was, now) = (index(was), index(now));
    let mut changes = Vec::new();
    for (path, entry) in &now {
        let path_text = String::from_utf8_lossy(path);
        match was.get(path) {
            None => changes.push(format!("{path_text} is new")),
            Some(before) if before != entry => changes.push(format!("{path_text} changed")),
            Some(_) => {}
        }
    }
    for path in was.keys().filter(|path| !now.contains_key(*path)) {
        changes.push(format!("{} is gone", String::from_utf8_lossy(path)));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_name_the_package() {
        let changes = listing_changes("bash 5.2\ngcc 12.2\nold 1\n", "bash 5.2\ngcc 12.3\nnew 2\n");
        assert_eq!(changes, ["gcc 12.2 is now 12.3", "new 2 is new", "old is gone"]);
        assert_eq!(listing_changes("content blake3:aa\n", "content blake3:bb\n"), ["content changed"]);
    }

    #[test]
    fn the_line_counts_the_rest() {
        let difference = |name: &str| Difference {
            kind: InputKind::Environment,
            name: name.to_owned(),
            was: Some("-O2".to_owned()),
            now: Some("-O3".to_owned()),
            inside: Vec::new(),
        };
        let one = MissReason::Changed { differences: vec![difference("CFLAGS")] };
        assert_eq!(one.to_string(), "environment CFLAGS changed from \"-O2\" to \"-O3\"");
        let two = MissReason::Changed { differences: vec![difference("A"), difference("B")] };
        assert!(two.to_string().ends_with(", and 1 more"));
    }
}
