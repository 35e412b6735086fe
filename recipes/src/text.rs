// recipes/src/text.rs
//! What all vocabulary types share as text.
//!
//! Each of them has exactly one spelling, its `Display`, and reads it back by `FromStr`; serde uses the same
//! spelling, so that a value in JSON or in a database looks as it does on the terminal. Also lives here: how
//! text that somebody else wrote is shown in a message without its control characters reaching a terminal.

use std::fmt::Write as _;

/// Implements serde for a type as the string of its `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize<'de>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// The longest piece of foreign text that a message quotes, in characters.
const QUOTED_CHARS: usize = 80;

/// Returns `text` between backquotes, shortened and with control characters spelled out.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    push_visible(&mut quoted, text.chars().take(QUOTED_CHARS));
    if text.chars().nth(QUOTED_CHARS).is_some() {
        quoted.push('…');
    }
    quoted.push('`');
    quoted
}

/// Appends `chars`, each as itself or, when a terminal would obey or hide it, as its escape.
pub(crate) fn push_visible(out: &mut String, chars: impl Iterator<Item = char>) {
    for character in chars {
        if is_visible(character) {
            out.push(character);
        } else {
            write!(out, "{}", character.escape_unicode()).expect("because writing to a String cannot fail");
        }
    }
}

/// Whether a terminal shows `character` as one mark in the order of the text.
pub(crate) fn is_visible(character: char) -> bool {
    let reorders =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !character.is_control() && !reorders
}

/// Says where `text` first leaves `allowed`, or `None` when it never does.
pub(crate) fn first_outside(text: &str, allowed: impl Fn(char) -> bool) -> Option<char> {
    text.chars().find(|&character| !allowed(character))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoted_text_holds_no_control_characters_and_is_short() {
        assert_eq!(quote("plain"), "`plain`");
        assert_eq!(quote("a\u{1b}[31m\n"), "`a\\u{1b}[31m\\u{a}`");
        assert_eq!(quote("\u{202e}x"), "`\\u{202e}x`");
        assert_eq!(quote(&"x".repeat(81)).chars().count(), 83);
        assert_eq!(quote(&"x".repeat(80)).chars().count(), 82);
    }
}
