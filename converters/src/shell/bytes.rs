// converters/src/shell/bytes.rs
//! Bytes to text and back, without losing a byte: what is no UTF-8 becomes characters of a private plane.

/// The first of 256 private characters, one for each byte.
const FIRST: u32 = 0x0010_FE00;

/// Text of bytes. Bash drops NULs, and so does this.
#[must_use]
pub fn text_of(bytes: &[u8]) -> String {
    let mut out = text_with_nul(bytes);
    if out.contains('\0') {
        out.retain(|c| c != '\0');
    }
    out
}

/// Text of bytes, with NULs.
pub(crate) fn text_with_nul(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(FIRST + u32::from(*byte))));
    }
    out
}

/// Whether a character stands for a byte that is no UTF-8.
pub(crate) fn is_byte(c: char) -> bool {
    byte_of(c).is_some()
}

/// The byte that is no UTF-8 and that a character stands for.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    u8::try_from((c as u32).wrapping_sub(FIRST)).ok()
}

/// Bytes of a text that [`text_of`] made.
#[must_use]
pub fn bytes_of(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        if let Some(byte) = byte_of(c) {
            out.push(byte);
        } else {
            let mut buffer = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, text_of};

    #[test]
    fn no_byte_is_lost() {
        let bytes: Vec<u8> = (1..=255).chain("\u{e9}\u{10ffff}".bytes()).collect();
        assert_eq!(bytes_of(&text_of(&bytes)), bytes);
        assert_eq!(text_of(b"a\0b"), "ab");
        assert_eq!(text_of("\u{e9}".as_bytes()), "\u{e9}");
    }
}
