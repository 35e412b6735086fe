// converters/src/vercmp.rs
//! The order of versions in pacman.
//!
//! A version is `[epoch:]version[-release]`; a missing epoch is 0, and releases count only where both sides have
//! one. Texts are cut into runs of digits and runs of letters with separators between them, as in rpm, with
//! three differences: where runs are equal, the longer separator is newer (`1..0` after `1.0`); letters that are left over are
//! older than nothing (`1.0rc1` before `1.0`); and `~` and `^` are separators like any other.

use std::cmp::Ordering;

/// Compares two versions as `vercmp` does.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_version, left_release) = split(left);
    let (right_epoch, right_version, right_release) = split(right);
    compare_texts(left_epoch, right_epoch).then_with(|| compare_texts(left_version, right_version)).then_with(
        || match (left_release, right_release) {
            (Some(left), Some(right)) => compare_texts(left, right),
            _ => Ordering::Equal,
        },
    )
}

/// Splits a version into epoch, version and release.
fn split(text: &str) -> (&str, &str, Option<&str>) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (epoch, rest) = match text[digits..].strip_prefix(':') {
        Some(rest) if digits == 0 => ("0", rest),
        Some(rest) => (&text[..digits], rest),
        None => ("0", text),
    };
    match rest.rsplit_once('-') {
        Some((version, release)) => (epoch, version, Some(release)),
        None => (epoch, rest, None),
    }
}

/// Compares two texts, each a version, a release or an epoch.
fn compare_texts(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() && !right.is_empty() {
        let left_separators = count(left, |byte| !byte.is_ascii_alphanumeric());
        let right_separators = count(right, |byte| !byte.is_ascii_alphanumeric());
        left = &left[left_separators..];
        right = &right[right_separators..];
        let (Some(first), false) = (left.first(), right.is_empty()) else {
            break;
        };
        if left_separators != right_separators {
            return left_separators.cmp(&right_separators);
        }
        let numeric = first.is_ascii_digit();
        let belongs = |byte: u8| {
            if numeric { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() }
        };
        let (ours, left_rest) = left.split_at(count(left, belongs));
        let (theirs, right_rest) = right.split_at(count(right, belongs));
        if theirs.is_empty() {
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let order = if numeric { compare_numbers(ours, theirs) } else { ours.cmp(theirs) };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    let starts_with_letter = |text: &[u8]| text.first().is_some_and(u8::is_ascii_alphabetic);
    if left.is_empty() && right.is_empty() {
        Ordering::Equal
    } else if left.is_empty() && !starts_with_letter(right) || starts_with_letter(left) {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// Compares runs of digits as numbers of any length.
fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    let left = &left[count(left, |byte| byte == b'0')..];
    let right = &right[count(right, |byte| byte == b'0')..];
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Counts the leading bytes that belong together.
fn count(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| belongs(**byte)).count()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::compare;

    /// Left, right and the answer of `vercmp` of pacman 6.0.2.
    const PACMAN: &[(&str, &str, i32)] = &[
        ("1.5.0", "1.5.0", 0),
        ("1.5.1", "1.5.0", 1),
        ("1.5.1", "1.5", 1),
        ("1.5.0-1", "1.5.0-2", -1),
        ("1.5.0-1", "1.5.1-1", -1),
        ("1.5.0-2", "1.5.1-1", -1),
        ("1.5-1", "1.5.1-1", -1),
        ("1.5-2", "1.5.1-1", -1),
        ("1.5-1", "1.5", 0),
        ("1.5", "1.5-1", 0),
        ("1.1-1", "1.1", 0),
        ("1.5b-1", "1.5-1", -1),
        ("1.5b", "1.5", -1),
        ("1.5b-1", "1.5", -1),
        ("1.5", "1.5.1", -1),
        ("1.0a", "1.0alpha", -1),
        ("1.0alpha", "1.0b", -1),
        ("1.0b", "1.0beta", -1),
        ("1.0beta", "1.0rc", -1),
        ("1.0rc", "1.0", -1),
        ("1.5.a", "1.5", 1),
        ("1.5.b", "1.5.a", 1),
        ("1.5.1", "1.5.b", 1),
        ("2.0", "2_0", 0),
        ("2.0_a", "2_0.a", 0),
        ("2.0a", "2.0.a", -1),
        ("2___a", "2_a", 1),
        ("0:1.0", "0:1.0", 0),
        ("0:1.0", "0:1.1", -1),
        ("1:1.0", "0:1.0", 1),
        ("1:1.0", "0:1.1", 1),
        ("1:1.0", "2:1.1", -1),
        ("1:1.0", "0:1.0-1", 1),
        ("1:1.0-1", "0:1.1-1", 1),
        ("0:1.0", "1.0", 0),
        ("0:1.0", "1.1", -1),
        ("0:1.1", "1.0", 1),
        ("1:1.0", "1.0", 1),
        ("1:1.0", "1.1", 1),
        ("1:1.1", "1.1", 1),
        (":1.0", "1.0", 0),
        ("1:", "1", 1),
        ("a:1", "1", -1),
        ("1.0-1-2", "1.0-1", 1),
        ("1.0-1-2", "1.0-2", 1),
        ("r12.abc", "r12.abd", -1),
        ("r12.abc", "1.0", -1),
        ("001", "1", 0),
        ("1.0.0", "1.0", 1),
        ("1.0.", "1.0", 1),
        ("1.0..", "1.0.", 0),
        (".1", "1", 1),
        ("1..0", "1.0", 1),
        ("99999999999999999999", "99999999999999999998", 1),
        ("1.0~rc1", "1.0", 1),
        ("1.0~", "1.0", 1),
        ("1.0^1", "1.0", 1),
        ("1.0+git", "1.0", 1),
        ("1.0+1", "1.0.1", 0),
        ("a", "A", 1),
        ("1.0.a", "1.0.1", -1),
        ("2019.1.1a", "2019.1.1", -1),
    ];

    #[test]
    fn versions_compare_as_in_pacman() {
        for &(left, right, expected) in PACMAN {
            assert_eq!(compare(left, right) as i32, expected, "{left} {right}");
            assert_eq!(compare(right, left) as i32, -expected, "{right} {left}");
        }
    }

    #[test]
    fn versions_compare_as_the_real_tool_says() {
        let parts = [
            "1", "01", "1.0", "1..0", "1.0.", "1a", "1.a", "1.0rc1", "1.0~rc1", "1:1", "0:1", "1-1", "1-2", "a1", "",
            ".",
        ];
        for left in parts {
            for right in parts {
                let Ok(output) = Command::new("vercmp").args([left, right]).output() else {
                    println!("skipped: no vercmp");
                    return;
                };
                let answer = String::from_utf8_lossy(&output.stdout).trim().parse::<i32>().unwrap();
                assert_eq!(compare(left, right) as i32, answer.signum(), "{left} {right}");
            }
        }
    }
}
