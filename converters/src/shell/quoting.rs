// converters/src/shell/quoting.rs
//! Escapes: `$'...'`, `echo -e`, and the quoted forms that `@Q` and `printf %q` write.

use std::fmt::Write;

use super::bytes::{self, byte_of, is_byte};

/// Which escapes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// Those of `$'...'` and of a `printf` format.
    Format,
    /// Those of `$'...'`, which has control characters and quotes as well.
    Dollar,
    /// Those of `echo -e`, where octal numbers begin with `\0`.
    Echo,
    /// Those of `%b`, where they may.
    Argument,
}

/// Replaces escapes; says whether `\c` ended the output.
pub(crate) fn unescape(text: &str, escapes: Escapes) -> (String, bool) {
    let chars: Vec<char> = text.chars().collect();
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    let push = |bytes: &mut Vec<u8>, c: char| {
        let mut buffer = [0; 4];
        bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    };
    while at < chars.len() {
        let c = chars[at];
        at += 1;
        if c != '\\' || at >= chars.len() {
            push(&mut bytes, c);
            continue;
        }
        let kind = chars[at];
        at += 1;
        let number = |at: &mut usize, most: usize, radix: u32| {
            let start = *at;
            let mut value = 0_u32;
            while *at < chars.len() && *at - start < most {
                let Some(digit) = chars[*at].to_digit(radix) else { break };
                value = value.wrapping_mul(radix).wrapping_add(digit);
                *at += 1;
            }
            (*at > start).then_some(value)
        };
        #[allow(clippy::cast_possible_truncation, reason = "an octal or hexadecimal escape is one byte")]
        match kind {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'e' | 'E' => bytes.push(27),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' => bytes.push(b'\\'),
            '\'' | '"' | '?' if escapes == Escapes::Dollar => push(&mut bytes, kind),
            '"' if escapes == Escapes::Format => push(&mut bytes, kind),
            'c' if matches!(escapes, Escapes::Echo | Escapes::Argument) => return (text_of(bytes, escapes), true),
            'c' if escapes == Escapes::Dollar && at < chars.len() => {
                bytes.push((chars[at] as u32 as u8) & 0x1f);
                at += 1;
            }
            '0' if matches!(escapes, Escapes::Echo | Escapes::Argument) => {
                bytes.push(number(&mut at, 3, 8).unwrap_or(0) as u8);
            }
            '0'..='7' if escapes != Escapes::Echo => {
                at -= 1;
                bytes.push(number(&mut at, 3, 8).unwrap_or(0) as u8);
            }
            'x' => match number(&mut at, 2, 16) {
                Some(value) => bytes.push(value as u8),
                None => bytes.extend_from_slice(b"\\x"),
            },
            'u' | 'U' => {
                if let Some(value) = number(&mut at, if kind == 'u' { 4 } else { 8 }, 16) {
                    push(&mut bytes, char::from_u32(value).unwrap_or('\u{fffd}'));
                } else {
                    bytes.push(b'\\');
                    push(&mut bytes, kind);
                }
            }
            _ => {
                bytes.push(b'\\');
                push(&mut bytes, kind);
            }
        }
    }
    (text_of(bytes, escapes), false)
}

/// Text of bytes. NUL ends a word, and what `echo` prints goes on behind it; of what `printf` makes of it, `printf` knows.
fn text_of(mut bytes: Vec<u8>, escapes: Escapes) -> String {
    match escapes {
        Escapes::Dollar => {
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                bytes.truncate(end);
            }
            bytes::text_of(&bytes)
        }
        Escapes::Echo => bytes::text_of(&bytes),
        Escapes::Format | Escapes::Argument => bytes::text_with_nul(&bytes),
    }
}

/// Writes a text as `@Q` does.
pub(crate) fn single(text: &str) -> String {
    if text == "'" {
        return "\\'".to_owned();
    }
    if text.chars().any(is_odd) { dollar(text) } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Writes a text as `printf %q` does.
pub(crate) fn backslashed(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    if text.chars().any(is_odd) {
        return dollar(text);
    }
    let mut out = String::new();
    let mut before = None;
    for c in text.chars() {
        let at_start = before.is_none();
        if " \t'\"\\|&;()<>!{}*[]?^$`,".contains(c)
            || (c == '#' && at_start)
            || (c == '~' && (at_start || matches!(before, Some(':' | '='))))
        {
            out.push('\\');
        }
        out.push(c);
        before = Some(c);
    }
    out
}

/// Whether a character is written as an escape: it cannot be seen, or is no character.
fn is_odd(c: char) -> bool {
    c.is_control() || is_byte(c)
}

fn dollar(text: &str) -> String {
    let mut out = String::from("$'");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{1b}' => out.push_str("\\E"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            c if c.is_control() => {
                let _ = write!(out, "\\{:03o}", c as u32);
            }
            c => match byte_of(c) {
                Some(byte) => {
                    let _ = write!(out, "\\{byte:03o}");
                }
                None => out.push(c),
            },
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::backslashed;

    #[test]
    fn a_tilde_is_quoted_where_it_could_mean_a_home() {
        for (text, expected) in [("~a", "\\~a"), (":~a", ":\\~a"), ("a=~b", "a=\\~b"), ("x~", "x~"), ("a#", "a#")] {
            assert_eq!(backslashed(text), expected);
        }
    }
}
