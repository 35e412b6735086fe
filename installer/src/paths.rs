// installer/src/paths.rs
//! Paths as bytes: relative to the root, without leading slash, `.` or `..`.
//!
//! Splitting, joining, ordering and showing only; nothing here touches a file system.

use std::cmp::Ordering;

/// Where a root keeps its state, relative to it.
pub const STATE_DIRECTORY: &[u8] = b"var/lib/conary";

/// How every temporary name begins.
const TEMPORARY: &[u8] = b".conary-";

/// Splits a path into its directory (empty for the top) and its last component.
#[must_use]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Joins a directory (empty for the top) and a name.
#[must_use]
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Makes a path as people write it plain: no leading slash, no empty part, no `.` and `..`.
#[must_use]
pub fn plain(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => plain = split(&plain).0.to_vec(),
            name => plain = join(&plain, name),
        }
    }
    plain
}

/// Whether `path` lies below `directory`.
#[must_use]
pub fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// A path that orders right before everything below it, and that before its next sibling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathKey(pub Vec<u8>);

impl Ord for PathKey {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// Orders paths as [`PathKey`] does.
#[must_use]
pub fn compare(one: &[u8], other: &[u8]) -> Ordering {
    // Neighbours have long beginnings in common: these are compared as words.
    let whole = |pair: &(&[u8; 8], &[u8; 8])| pair.0 == pair.1;
    let same = 8 * one.as_chunks().0.iter().zip(other.as_chunks().0).take_while(whole).count();
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one[same..].iter().map(rank).cmp(other[same..].iter().map(rank))
}

impl PartialOrd for PathKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns the temporary name number `count` of a transaction.
#[must_use]
pub fn temporary_name(transaction: i64, count: usize) -> Vec<u8> {
    [temporary_prefix(transaction), count.to_string().into_bytes()].concat()
}

/// Returns how the temporary names of a transaction begin.
#[must_use]
pub fn temporary_prefix(transaction: i64) -> Vec<u8> {
    let mut prefix = TEMPORARY.to_vec();
    prefix.extend_from_slice(transaction.to_string().as_bytes());
    prefix.push(b'-');
    prefix
}

/// Whether a name could be a temporary of some transaction: `.conary-<number>-<number>`.
#[must_use]
pub fn looks_temporary(name: &[u8]) -> bool {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    name.strip_prefix(TEMPORARY).is_some_and(|rest| {
        let mut parts = rest.splitn(2, |byte| *byte == b'-');
        parts.next().is_some_and(digits) && parts.next().is_some_and(digits)
    })
}

/// Why a package may not contain a path.
#[must_use]
pub fn forbidden(path: &[u8]) -> Option<&'static str> {
    if path == STATE_DIRECTORY || is_below(path, STATE_DIRECTORY) {
        return Some("it lies where the root keeps its state");
    }
    if path.len() > 4095 {
        return Some("it is longer than 4095 bytes");
    }
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." | b".." => return Some("it is not a plain path"),
            part if part.len() > 255 => return Some("a name in it is longer than 255 bytes"),
            part if part.contains(&0) => return Some("a name in it holds a NUL"),
            part if looks_temporary(part) => {
                return Some("a name in it is kept for unfinished transactions");
            }
            _ => {}
        }
    }
    None
}

/// Shows a path on one line, with a leading slash: control characters and bytes that are not UTF-8 are escaped.
#[must_use]
pub fn show(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len() + 1);
    text.push('/');
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_orders_right_before_its_content() {
        let mut paths = ["a", "a-b", "a/b", "a/b/c", "a.d", "b", "a/b-c"].map(|path| PathKey(path.as_bytes().to_vec()));
        paths.sort();
        let sorted: Vec<_> = paths.iter().map(|path| str::from_utf8(&path.0).unwrap()).collect();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a/b-c", "a-b", "a.d", "b"]);
        let mut long =
            ["usr/share/doc-a", "usr/share/doc", "usr/share/doc/a", "usr/share", "usr/shar", "usr/share/doc/a/b"]
                .map(|path| PathKey(path.as_bytes().to_vec()));
        long.sort();
        let sorted: Vec<_> = long.iter().map(|path| str::from_utf8(&path.0).unwrap()).collect();
        let right =
            ["usr/shar", "usr/share", "usr/share/doc", "usr/share/doc/a", "usr/share/doc/a/b", "usr/share/doc-a"];
        assert_eq!(sorted, right);
    }

    #[test]
    fn temporary_names_are_known_again() {
        assert_eq!(temporary_name(12, 3), b".conary-12-3");
        for (name, ours) in [
            (".conary-12-3", true),
            (".conary-12-", false),
            (".conary--1", false),
            (".conary-a-1", false),
            ("x.conary-save", false),
            (".conary-1-2-3", false),
        ] {
            assert_eq!(looks_temporary(name.as_bytes()), ours, "{name}");
        }
    }

    #[test]
    fn packages_may_not_name_everything() {
        for path in
            ["", "/etc", "a/../b", "a//b", "./a", "var/lib/conary", "var/lib/conary/root.db", "a/.conary-1-1/b", "a\0b"]
        {
            assert!(forbidden(path.as_bytes()).is_some(), "{path:?}");
        }
        assert!(forbidden(&[b'a'; 256]).is_some());
        assert!(forbidden(&[b'a'; 255]).is_none());
        for path in ["var/lib/conary-x", "a/...", "-rf", "a b;c"] {
            assert!(forbidden(path.as_bytes()).is_none(), "{path:?}");
        }
    }

    #[test]
    fn shown_paths_cannot_speak_to_a_terminal() {
        assert_eq!(show(b"a\x1b[2J\n\xff\xc3\xa9"), "/a\\u{1b}[2J\\n\\xff\u{e9}");
    }
}
