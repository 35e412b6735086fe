// recipes/src/name.rs
//! Names of packages, and of their components.
//!
//! A name ends up in file names, in the environment of a build and in a shell's command line, so its alphabet
//! is small: lower-case letters, digits and `+ - . _`, with a letter or digit first (never a leading `-` or `.`).

use std::fmt;
use std::str::FromStr;

use crate::text::{first_outside, quote, serde_as_text};

/// The longest name in bytes: name, version, release and architecture together must fit a file name of 255.
pub(crate) const NAME_BYTES: usize = 100;

/// The name of a package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(String);

impl Name {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }
}

serde_as_text!(Name);

/// Checks that `text` is fit to be the name of a package or component.
pub(crate) fn check(text: &str) -> Result<(), NameError> {
    let Some(first) = text.chars().next() else {
        return Err(NameError::Empty);
    };
    if !(first.is_ascii_lowercase() || first.is_ascii_digit() || first.is_ascii_uppercase()) {
        return Err(NameError::First { name: text.to_owned(), first });
    }
    let allowed = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '+' | '-' | '.' | '_')
    };
    if let Some(character) = first_outside(text, allowed) {
        return Err(NameError::Character { name: text.to_owned(), character });
    }
    if text.len() > NAME_BYTES {
        return Err(NameError::Long { name: text.to_owned() });
    }
    Ok(())
}

/// Why a text is not a name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a name cannot be empty")]
    Empty,
    /// A first character that is neither letter nor digit.
    #[error("the name {} starts with {first:?}", quote(name))]
    First {
        /// The whole text.
        name: String,
        /// Its first character.
        first: char,
    },
    /// A character outside the alphabet.
    #[error("the name {} contains {character:?}", quote(name))]
    Character {
        /// The whole text.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// More than fits a file name.
    #[error("the name {} is longer than {NAME_BYTES} bytes", quote(name))]
    Long {
        /// The whole text.
        name: String,
    },
}

impl NameError {
    /// Returns what to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let lower = |name: &str| name.to_lowercase().parse::<Name>().ok();
        Some(match self {
            NameError::Character { name, .. } if lower(name).is_some() => format!("write `{}`", name.to_lowercase()),
            NameError::Long { .. } => "choose a shorter name".to_owned(),
            _ => "names are lower-case letters, digits and `+ - . _`, starting with a letter or digit".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_format_allows() {
        for good in ["hello", "gtk+-3.0", "7zip", "libstdc++", "a", "x_y", "python3.12"] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), good);
        }
        let long = "a".repeat(NAME_BYTES + 1);
        let bad = [
            ("", "empty", "lower-case letters"),
            ("-rf", "starts with '-'", "lower-case letters"),
            (".hidden", "starts with '.'", "lower-case letters"),
            ("../x", "starts with '.'", "lower-case letters"),
            ("a/b", "contains '/'", "lower-case letters"),
            ("Hello", "contains 'H'", "write `hello`"),
            ("a b", "contains ' '", "lower-case letters"),
            ("a\nb", "contains '\\n'", "lower-case letters"),
            ("é", "starts with 'é'", "lower-case letters"),
            (&long, "longer than 100 bytes", "shorter"),
        ];
        for (text, part, hint) in bad {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().unwrap().contains(hint), "{text}");
        }
    }
}
