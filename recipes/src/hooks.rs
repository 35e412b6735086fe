// recipes/src/hooks.rs
//! What a system must have for a package, declared instead of scripted: users, groups, directories, services, alternatives.
//!
//! Declarations can be compared, taken back and shown before anything happens; a script can only be run. What each does to a root is
//! docs/design/transaction.md, "Hooks".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `[hooks]`: all that one package declares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hooks {
    /// Users, in the order of the file.
    pub users: Vec<HookUser>,
    /// Groups, in the order of the file.
    pub groups: Vec<HookGroup>,
    /// Directories with a mode or an owner of their own.
    pub directories: Vec<HookDirectory>,
    /// Lines of a `tmpfiles.d` file.
    pub tmpfiles: Vec<String>,
    /// Kernel settings by key.
    pub sysctl: BTreeMap<String, String>,
    /// Units that are enabled.
    pub services: Vec<String>,
    /// Names that several packages can stand behind.
    pub alternatives: Vec<HookAlternative>,
}

impl Hooks {
    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Hooks::default()
    }
}

/// A system user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookUser {
    /// Its name.
    pub name: String,
    /// Its number, where it must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Its first group; one of its own name where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Further groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Its home, `/` where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Its shell, one that lets nobody in where none is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A system group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookGroup {
    /// Its name.
    pub name: String,
    /// Its number, where it must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
}

/// A directory of the package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookDirectory {
    /// Where, absolute.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: String,
    /// Its group.
    pub group: String,
}

/// A name that several packages can stand behind, of which the one with the highest priority does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookAlternative {
    /// The name, absolute.
    pub link: String,
    /// What this package puts behind it, absolute.
    pub target: String,
    /// The highest one wins.
    pub priority: u32,
    /// Names that follow the choice, with what is behind each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<String, String>,
}

/// Whether a text can be the name of a user or group: what every tool that reads `/etc/passwd` agrees on.
#[must_use]
pub fn is_account_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    (1..=31).contains(&text.len())
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

/// Whether a text can stand in a field of `/etc/passwd`.
#[must_use]
pub fn is_account_field(text: &str) -> bool {
    text.len() <= 256 && !text.chars().any(|character| character == ':' || character.is_control())
}

/// Whether a text is an absolute path without `.`, `..`, empty parts and characters that no terminal shows.
#[must_use]
pub fn is_plain_path(text: &str) -> bool {
    text.len() <= 4000
        && !text.chars().any(char::is_control)
        && text.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= 255)
        })
}

/// Numbers that an account may be given: neither root nor those with a meaning of their own.
pub const ACCOUNT_IDS: std::ops::Range<u64> = 1..65_534;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_plain() {
        for (text, sound) in [
            ("tool", true),
            ("_x-1", true),
            ("", false),
            ("1x", false),
            ("Tool", false),
            ("a:b", false),
            ("a b", false),
            ("-x", false),
        ] {
            assert_eq!(is_account_name(text), sound, "{text}");
        }
        assert!(is_account_name(&"a".repeat(31)) && !is_account_name(&"a".repeat(32)));
        for (text, sound) in [
            ("/a/b", true),
            ("/", false),
            ("a", false),
            ("/a//b", false),
            ("/a/../b", false),
            ("/a/", false),
            ("/a\n", false),
        ] {
            assert_eq!(is_plain_path(text), sound, "{text}");
        }
        assert!(is_account_field("/usr/bin/x y") && !is_account_field("a:b") && !is_account_field("a\nb"));
    }
}
