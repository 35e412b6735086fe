// kitchen/src/shown.rs
//! How a name that came from outside is written into a message: legible, and unable to drive a terminal.

use std::fmt::Write as _;

/// A longer name is cut in a message.
const LONGEST: usize = 300;

/// Writes `bytes` as text: UTF-8 stays, control characters and invalid bytes become escapes, and what is longer
/// than anyone reads is cut.
#[must_use]
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = bytes.len() > LONGEST;
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let mut text = String::with_capacity(bytes.len() + 3);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_bidi(character) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing into a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if cut {
        text.push('…');
    }
    text
}

/// Whether a character reorders the text around it.
fn is_bidi(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        let table: [(&[u8], &str); 4] = [
            ("häagen.c".as_bytes(), "häagen.c"),
            (b"a\x1b[2Jb", "a\\u{1b}[2Jb"),
            (b"line\nbreak", "line\\nbreak"),
            (b"\xff\xfe", "\\xff\\xfe"),
        ];
        for (bytes, text) in table {
            assert_eq!(shown(bytes), text);
        }
    }
}
