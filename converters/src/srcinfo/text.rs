// converters/src/srcinfo/text.rs
//! The lines of a `.SRCINFO`.
//!
//! ```text
//! pkgbase = hello
//!     pkgver = 1.0
//!     source_x86_64 = https://example.org/hello-1.0.tar.gz
//!
//! pkgname = hello
//!     depends = glibc
//! ```
//!
//! One `key = value` a line; a key may come again, and a key in a package's part takes the place of all that the base
//! says under it, with an empty value even of nothing. Everything is bounded by the size of the text.

use std::collections::BTreeSet;

use super::SrcinfoError;

/// The largest text: the longest known, of packages with a thousand sources, have a tenth of it.
const SRCINFO_BYTES: usize = 1 << 20;

/// Keys that may end in `_` and an architecture.
const BY_ARCH: [&str; 16] = [
    "source",
    "depends",
    "makedepends",
    "checkdepends",
    "optdepends",
    "provides",
    "conflicts",
    "replaces",
    "md5sums",
    "sha1sums",
    "sha224sums",
    "sha256sums",
    "sha384sums",
    "sha512sums",
    "b2sums",
    "cksums",
];

/// One line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry<'t> {
    pub(super) line: usize,
    pub(super) key: &'t str,
    /// The architecture that the key ends in.
    pub(super) arch: Option<&'t str>,
    pub(super) value: &'t str,
}

/// The base, or one package of it.
#[derive(Debug)]
pub(super) struct Part<'t> {
    pub(super) line: usize,
    pub(super) name: &'t str,
    entries: Vec<Entry<'t>>,
}

/// A whole text.
#[derive(Debug)]
pub(super) struct Srcinfo<'t> {
    pub(super) base: Part<'t>,
    pub(super) packages: Vec<Part<'t>>,
}

impl<'t> Part<'t> {
    /// Returns what it says itself; an empty value takes away what the base says.
    pub(super) fn entries(&self) -> &[Entry<'t>] {
        &self.entries
    }
}

impl<'t> Srcinfo<'t> {
    /// Reads a text.
    pub(super) fn parse(text: &'t str) -> Result<Self, SrcinfoError> {
        if text.len() > SRCINFO_BYTES {
            return Err(SrcinfoError::Large { limit_bytes: SRCINFO_BYTES });
        }
        let mut base: Option<Part<'t>> = None;
        let mut packages: Vec<Part<'t>> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let Some(entry) = entry(at + 1, line)? else {
                continue;
            };
            let part = Part { line: entry.line, name: entry.value, entries: Vec::new() };
            match (entry.key, &mut base) {
                ("pkgbase", None) => base = Some(part),
                ("pkgname", Some(_)) => packages.push(part),
                ("pkgbase", Some(_)) => {
                    return Err(SrcinfoError::Twice { line: entry.line, key: entry.key.to_owned() });
                }
                (_, None) => return Err(SrcinfoError::NoBase { line: entry.line }),
                (_, Some(base)) => packages.last_mut().unwrap_or(base).entries.push(entry),
            }
        }
        let base = base.ok_or(SrcinfoError::Missing { key: "pkgbase" })?;
        if packages.is_empty() {
            return Err(SrcinfoError::Missing { key: "pkgname" });
        }
        Ok(Self { base, packages })
    }

    /// Returns all entries of the one package there is, or of the base where there are several.
    pub(super) fn entries(&self) -> Vec<Entry<'t>> {
        match &self.packages[..] {
            [package] => self.entries_of(package),
            _ => self.base.entries.clone(),
        }
    }

    /// Returns what the base says.
    pub(super) fn base_entries(&self) -> &[Entry<'t>] {
        &self.base.entries
    }

    /// Returns what holds for one package: its own entries, and those of the base under other keys.
    pub(super) fn entries_of(&self, package: &Part<'t>) -> Vec<Entry<'t>> {
        let mut entries = self.base.entries.clone();
        let own: BTreeSet<_> = package.entries.iter().map(|entry| (entry.key, entry.arch)).collect();
        entries.retain(|entry| !own.contains(&(entry.key, entry.arch)));
        entries.extend(package.entries.iter().filter(|entry| !entry.value.is_empty()));
        entries
    }
}

/// Reads one line; `None` for a blank one or a comment.
fn entry(line: usize, text: &str) -> Result<Option<Entry<'_>>, SrcinfoError> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(None);
    }
    if trimmed.contains(char::is_control) {
        return Err(SrcinfoError::Control { line });
    }
    let malformed = || SrcinfoError::Line { line };
    let (key, value) = trimmed.split_once('=').ok_or_else(malformed)?;
    let key = key.trim_end();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(malformed());
    }
    let by_arch =
        |stem: &&str| key.strip_prefix(*stem).and_then(|rest| rest.strip_prefix('_')).filter(|arch| !arch.is_empty());
    let (key, arch) = match BY_ARCH.iter().find_map(|stem| Some((*stem, by_arch(stem)?))) {
        Some((stem, arch)) => (stem, Some(arch)),
        None => (key, None),
    };
    Ok(Some(Entry { line, key, arch, value: value.trim() }))
}
