// recipes/src/version.rs
//! Versions and their order.
//!
//! A version is `[epoch:]version-release`: the epoch outranks all, the version is upstream's, the release counts
//! changes of the packaging. Texts are compared as rpm compares them, which is also what pacman users expect:
//!
//! - both texts are cut into runs of digits and runs of letters; everything else only separates;
//! - runs of digits compare as numbers, of any length; runs of letters compare bytewise;
//! - digits are newer than letters, and more runs are newer than fewer;
//! - `~` sorts before everything, even the end (`1.0~rc1` is older than `1.0`);
//! - `^` sorts after the end but before anything else (`1.0^git1` is newer than `1.0`, older than `1.0.1`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::text::{first_outside, quote, serde_as_text};

/// The longest version or release text in bytes.
pub(crate) const VERSION_BYTES: usize = 64;

/// The version of a package.
///
/// Orders by epoch, version and release, the texts by [`compare_versions`]. Texts that compare as equal there
/// without being the same (`1.0` and `1.00`) are ordered bytewise last, so that the order agrees with `Eq`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Version {
    /// Outranks the version; 0 unless upstream's numbers once went backwards.
    pub epoch: u64,
    /// Upstream's version.
    pub version: String,
    /// Counts packaging changes of one version.
    pub release: String,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch != 0 {
            write!(formatter, "{}:", self.epoch)?;
        }
        write!(formatter, "{}-{}", self.version, self.release)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let bound = Bound::parse(text)?;
        match bound.release {
            Some(release) => {
                Ok(Self { epoch: bound.epoch, version: bound.version.to_owned(), release: release.to_owned() })
            }
            None => Err(VersionError::NoRelease { text: text.to_owned() }),
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_versions(&self.version, &other.version))
            .then_with(|| compare_versions(&self.release, &other.release))
            .then_with(|| self.version.cmp(&other.version))
            .then_with(|| self.release.cmp(&other.release))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

serde_as_text!(Version);

/// The version in a requirement: `[epoch:]version[-release]`, where a missing release stands for any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bound<'text> {
    pub(crate) epoch: u64,
    pub(crate) version: &'text str,
    pub(crate) release: Option<&'text str>,
}

impl<'text> Bound<'text> {
    /// Reads and checks a bound.
    pub(crate) fn parse(text: &'text str) -> Result<Self, VersionError> {
        let (epoch, rest) = match text.split_once(':') {
            None => (0, text),
            Some((epoch, rest)) => {
                let plain = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
                let number = if plain { epoch.parse().ok() } else { None };
                (number.ok_or_else(|| VersionError::Epoch { text: epoch.to_owned() })?, rest)
            }
        };
        let (version, release) = match rest.split_once('-') {
            None => (rest, None),
            Some((version, release)) => (version, Some(release)),
        };
        check_version(version)?;
        if let Some(release) = release {
            check_version(release)?;
        }
        Ok(Self { epoch, version, release })
    }

    /// Compares with another bound; releases count only when both have one.
    pub(crate) fn compare(&self, other: &Bound<'_>) -> Ordering {
        self.epoch.cmp(&other.epoch).then_with(|| compare_versions(self.version, other.version)).then_with(|| {
            match (self.release, other.release) {
                (Some(ours), Some(theirs)) => compare_versions(ours, theirs),
                _ => Ordering::Equal,
            }
        })
    }
}

/// Checks the text of a version or a release: letters, digits and `. + _ ~ ^`, starting with a letter or digit.
pub(crate) fn check_version(text: &str) -> Result<(), VersionError> {
    let Some(first) = text.chars().next() else {
        return Err(VersionError::Empty);
    };
    let allowed =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '+' | '_' | '~' | '^');
    if let Some(character) = first_outside(text, allowed) {
        return Err(VersionError::Character { text: text.to_owned(), character });
    }
    if !first.is_ascii_alphanumeric() {
        return Err(VersionError::Character { text: text.to_owned(), character: first });
    }
    if text.len() > VERSION_BYTES {
        return Err(VersionError::Long { text: text.to_owned() });
    }
    Ok(())
}

/// Compares two version texts, without epoch and release, as rpm does.
///
/// Equal does not mean the same text: separators do not count, and neither do leading zeros.
#[must_use]
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        left = skip_separators(left);
        right = skip_separators(right);
        match (left.first() == Some(&b'~'), right.first() == Some(&b'~')) {
            (true, true) => {
                (left, right) = (&left[1..], &right[1..]);
                continue;
            }
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        match (left.first() == Some(&b'^'), right.first() == Some(&b'^')) {
            (true, true) => {
                (left, right) = (&left[1..], &right[1..]);
                continue;
            }
            (true, false) => {
                return if right.is_empty() { Ordering::Greater } else { Ordering::Less };
            }
            (false, true) => {
                return if left.is_empty() { Ordering::Less } else { Ordering::Greater };
            }
            (false, false) => {}
        }
        let (Some(&first), false) = (left.first(), right.is_empty()) else {
            return left.len().cmp(&right.len());
        };
        let numeric = first.is_ascii_digit();
        let (ours, rest) = take_run(left, numeric);
        left = rest;
        let (theirs, rest) = take_run(right, numeric);
        right = rest;
        if theirs.is_empty() {
            return if numeric { Ordering::Greater } else { Ordering::Less };
        }
        let order = if numeric { compare_digits(ours, theirs) } else { ours.cmp(theirs) };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Drops what only separates.
fn skip_separators(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if first.is_ascii_alphanumeric() || matches!(first, b'~' | b'^') {
            break;
        }
        text = rest;
    }
    text
}

/// Splits off the leading run of digits or of letters.
fn take_run(text: &[u8], numeric: bool) -> (&[u8], &[u8]) {
    let belongs = |byte: &u8| {
        if numeric { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() }
    };
    let length = text.iter().take_while(|byte| belongs(byte)).count();
    text.split_at(length)
}

/// Compares runs of digits as numbers of any length.
fn compare_digits(left: &[u8], right: &[u8]) -> Ordering {
    let (left, right) = (strip_zeros(left), strip_zeros(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Drops leading zeros.
fn strip_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

/// Why a text is not a version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VersionError {
    /// A version or release without a character.
    #[error("a version or release cannot be empty")]
    Empty,
    /// A character outside the alphabet, or one that cannot be the first.
    #[error("{character:?} cannot stand there in the version {}", quote(text))]
    Character {
        /// The version or release.
        text: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// Something before the colon that is not a number.
    #[error("the epoch {} is not a number", quote(text))]
    Epoch {
        /// The text before the colon.
        text: String,
    },
    /// A whole version was wanted.
    #[error("the version {} has no release", quote(text))]
    NoRelease {
        /// The whole text.
        text: String,
    },
    /// More than fits a file name.
    #[error("the version {} is longer than {VERSION_BYTES} bytes", quote(text))]
    Long {
        /// The version or release.
        text: String,
    },
}

impl VersionError {
    /// Returns what to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            VersionError::Character { character: '-', .. } => {
                "a `-` separates version and release: for a pre-release write `~`, as in `1.0~rc1`, else `_` or `.`"
                    .to_owned()
            }
            VersionError::Character { .. } | VersionError::Empty => {
                "versions are letters, digits and `. + _ ~ ^`, starting with a letter or digit".to_owned()
            }
            VersionError::Epoch { .. } => "write it like `2:1.0-1`".to_owned(),
            VersionError::NoRelease { text } => format!("write version and release, like `{text}-1`"),
            VersionError::Long { .. } => "shorten it".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line is left, right and the answer (-1, 0, 1) of `rpm.vercmp(left, right)` of rpm 4.18.
    const RPM: &[(&str, &str, i32)] = &[
        ("1.0", "1.0", 0),
        ("1.0", "2.0", -1),
        ("2.0", "1.0", 1),
        ("2.0.1", "2.0.1", 0),
        ("2.0", "2.0.1", -1),
        ("2.0.1a", "2.0.1", 1),
        ("2.0.1a", "2.0.1b", -1),
        ("5.5p1", "5.5p2", -1),
        ("5.5p10", "5.5p1", 1),
        ("10xyz", "10.1xyz", -1),
        ("xyz10", "xyz10.1", -1),
        ("xyz.4", "8", -1),
        ("xyz.4", "2", -1),
        ("5.5p2", "5.6p1", -1),
        ("5.6p1", "6.5p1", -1),
        ("6.0.rc1", "6.0", 1),
        ("10b2", "10a1", 1),
        ("1.0aa", "1.0a", 1),
        ("10.0001", "10.0039", -1),
        ("10.1", "10.0001", 0),
        ("4.999.9", "5.0", -1),
        ("20101121", "20101122", -1),
        ("2_0", "2.0", 0),
        ("a+", "a_", 0),
        ("+", "_", 0),
        ("+a", "a+", 0),
        ("1.0", "1.0~rc1", 1),
        ("1.0~rc1", "1.0~rc1", 0),
        ("1.0~rc1", "1.0~rc2", -1),
        ("1.0~rc1~git123", "1.0~rc1", -1),
        ("1.0^", "1.0", 1),
        ("1.0^git1", "1.0", 1),
        ("1.0^git1", "1.0^git2", -1),
        ("1.0^git1", "1.01", -1),
        ("1.0^20160101", "1.0.1", -1),
        ("1.0^20160101^git1", "1.0^20160102", -1),
        ("1.0~rc1^git1", "1.0~rc1", 1),
        ("1.0^git1~pre", "1.0^git1", -1),
        ("1.00", "1.0", 0),
        ("001", "1", 0),
        ("1..0", "1.0", 0),
        ("1.0.", "1.0", 0),
        ("1.0a", "1.0.a", 0),
        ("1a", "1.a", 0),
        ("1.0.0", "1.0", 1),
        ("18446744073709551616", "18446744073709551615", 1),
        ("1.0~", "1.0", -1),
        ("1.0~~", "1.0~", -1),
        ("1.0^~", "1.0^", -1),
        ("1.0~^", "1.0~", 1),
        ("1.1.a", "1.1.1", -1),
        ("1", "a", 1),
        ("a", "A", 1),
        ("2.4.8b", "2.4.8", 1),
        ("1.0.rc1", "1.0", 1),
    ];

    #[test]
    fn texts_compare_as_rpm_compares_them() {
        for &(left, right, expected) in RPM {
            assert_eq!(compare_versions(left, right) as i32, expected, "{left} {right}");
            assert_eq!(compare_versions(right, left) as i32, -expected, "{right} {left}");
        }
    }

    #[test]
    fn versions_round_trip_and_order() {
        let order = ["1.0~rc1-1", "1.0-1", "1.0-2", "1.0-10", "1.00-1", "1.0^git1-1", "1.0.1-1", "1:0.1-1"];
        let mut versions: Vec<Version> = order.iter().map(|text| text.parse().unwrap()).collect();
        for (version, text) in versions.iter().zip(order) {
            assert_eq!(version.to_string(), text);
        }
        versions.sort();
        let sorted: Vec<String> = versions.iter().map(ToString::to_string).collect();
        // 1.0 and 1.00 are equal to rpm, so their releases decide.
        assert_eq!(sorted, ["1.0~rc1-1", "1.0-1", "1.00-1", "1.0-2", "1.0-10", "1.0^git1-1", "1.0.1-1", "1:0.1-1"]);
        assert_eq!("0:1.0-1".parse::<Version>().unwrap().to_string(), "1.0-1");
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        let long = format!("{}-1", "1".repeat(65));
        let bad = [
            ("", "empty"),
            ("1.0", "no release"),
            ("1.0-", "empty"),
            ("-1", "empty"),
            ("1.0-rc1-1", "'-' cannot stand"),
            ("1 0-1", "' ' cannot stand"),
            (".1-1", "'.' cannot stand"),
            ("~1-1", "'~' cannot stand"),
            ("x:1.0-1", "epoch `x`"),
            ("+1:1.0-1", "epoch `+1`"),
            (":1.0-1", "epoch ``"),
            ("99999999999999999999:1-1", "epoch"),
            ("1/2-1", "'/' cannot stand"),
            (&long, "longer than 64 bytes"),
        ];
        for (text, part) in bad {
            let error = text.parse::<Version>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().is_some());
        }
    }
}
