// store/src/ccs/limits.rs
//! The one table of limits, for writer and reader alike; docs/design/ccs.md, "Limits", has the same rows.
//!
//! A number from a file is compared with its limit before anything is allocated or read by it.

use super::CcsError;
use crate::manifest::{MAX_MANIFEST_BYTES, MAX_SCRIPT_BYTES};
use crate::tree::{MAX_NAME_BYTES, MAX_OWNER_BYTES, MAX_PATH_BYTES, MAX_XATTR_BYTES, Tree};

/// Most bytes that one frame holds, and the size of the pieces of a larger object.
pub const FRAME_BYTES: usize = 8 << 20;

/// A named bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is counted, as errors and the specification call it.
    pub name: &'static str,
    /// The largest number allowed.
    pub maximum: u64,
}

/// Bytes of `manifest.json`.
pub const MANIFEST: Limit = limit("manifest bytes", MAX_MANIFEST_BYTES as u64);
/// Bytes of one scriptlet; kept by every manifest.
pub const SCRIPT: Limit = limit("script bytes", MAX_SCRIPT_BYTES as u64);
/// Components of one package.
pub const COMPONENTS: Limit = limit("components", 64);
/// Bytes of the encoded trees of all components together.
pub const TREES: Limit = limit("tree bytes", 256 << 20);
/// Entries of all trees together.
pub const ENTRIES: Limit = limit("entries", 1_000_000);
/// Parts of a path.
pub const DEPTH: Limit = limit("path depth", 256);
/// Bytes of a path or a symbolic link's target; kept by every [`Tree`].
pub const PATH: Limit = limit("path bytes", MAX_PATH_BYTES as u64);
/// Bytes of one name in a path, or of an attribute's name; kept by every [`Tree`].
pub const NAME: Limit = limit("name bytes", MAX_NAME_BYTES as u64);
/// Bytes of an owner's or group's name; kept by every [`Tree`].
pub const OWNER: Limit = limit("owner bytes", MAX_OWNER_BYTES as u64);
/// Bytes of one extended attribute's value; kept by every [`Tree`].
pub const XATTR: Limit = limit("attribute bytes", MAX_XATTR_BYTES as u64);
/// Extended attributes of one entry.
pub const XATTRS: Limit = limit("attributes of an entry", 64);
/// Bytes of all extended attributes of one entry, names and values.
pub const XATTRS_BYTES: Limit = limit("attribute bytes of an entry", 128 << 10);
/// Bytes of the index: what the most frames and objects need.
pub const INDEX: Limit = limit("index bytes", 56 + 8 * FRAMES.maximum + 4 * ENTRIES.maximum);
/// Frames of the payload.
pub const FRAMES: Limit = limit("frames", 10_000);
/// Bytes of one frame's content, which is its window too.
pub const FRAME: Limit = limit("frame bytes", FRAME_BYTES as u64);
/// Bytes of one frame as it is stored: what zstd may need for [`FRAME_BYTES`] that do not compress.
pub const STORED_FRAME: Limit = limit("stored frame bytes", FRAME_BYTES as u64 + (FRAME_BYTES as u64 >> 8));
/// Times that the payload's content, beyond [`RATIO_FREE_BYTES`], may be larger than its frames.
pub const RATIO: Limit = limit("compression ratio", 1000);
/// Content of a payload that needs no ratio.
pub const RATIO_FREE_BYTES: u64 = 1 << 30;

/// Signatures of one package.
pub const SIGNATURES: Limit = limit("signatures", 64);

/// Troves of one bundle.
pub const TROVES: Limit = limit("troves", 10_000);
/// Bytes of `bundle.json`: what the most troves need.
pub const BUNDLE: Limit = limit("bundle bytes", 2 << 20);

/// All rows, in the order of the specification.
pub const TABLE: [Limit; 20] = [
    MANIFEST,
    SCRIPT,
    COMPONENTS,
    TREES,
    ENTRIES,
    DEPTH,
    PATH,
    NAME,
    OWNER,
    XATTR,
    XATTRS,
    XATTRS_BYTES,
    INDEX,
    FRAMES,
    FRAME,
    STORED_FRAME,
    RATIO,
    SIGNATURES,
    TROVES,
    BUNDLE,
];

const fn limit(name: &'static str, maximum: u64) -> Limit {
    Limit { name, maximum }
}

impl Limit {
    /// Refuses a number above the limit.
    ///
    /// # Errors
    /// [`CcsError::Limit`].
    pub fn check(self, actual: u64) -> Result<u64, CcsError> {
        if actual > self.maximum {
            return Err(CcsError::Limit { limit: self.name, actual, maximum: self.maximum });
        }
        Ok(actual)
    }
}

/// Checks what a single tree must keep beyond its own rules.
///
/// # Errors
/// [`CcsError::Limit`].
pub(super) fn check_tree(tree: &Tree) -> Result<(), CcsError> {
    for entry in tree.entries() {
        let parts = entry.path.split(|byte| *byte == b'/').count();
        DEPTH.check(parts as u64)?;
        if entry.xattrs.is_empty() {
            continue;
        }
        XATTRS.check(entry.xattrs.len() as u64)?;
        let bytes = entry.xattrs.iter().map(|(name, value)| name.len() + value.len());
        XATTRS_BYTES.check(bytes.sum::<usize>() as u64)?;
    }
    Ok(())
}

/// Checks that a payload's content is in proportion to what it is stored in.
///
/// # Errors
/// [`CcsError::Limit`].
pub(super) fn check_ratio(content_bytes: u64, stored_bytes: u64) -> Result<(), CcsError> {
    let beyond = content_bytes.saturating_sub(RATIO_FREE_BYTES);
    RATIO.check(beyond.div_ceil(stored_bytes.max(1)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tree::{Entry, Node};

    #[test]
    fn specification_has_the_same_rows() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design/ccs.md");
        let page = std::fs::read_to_string(page).unwrap();
        for Limit { name, maximum } in TABLE {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| {name} |")))
                .unwrap_or_else(|| panic!("no row `{name}`"));
            assert!(row.contains(&format!("| {maximum} |")), "{row}: {maximum}");
        }
        let rows = page.lines().skip_while(|line| *line != "## Limits");
        let rows = rows.skip(1).take_while(|line| !line.starts_with("## "));
        assert_eq!(rows.filter(|line| line.starts_with("| ")).count(), TABLE.len() + 1);
    }

    #[test]
    fn the_stored_frame_is_what_zstd_may_need() {
        let bound = zstd::zstd_safe::compress_bound(FRAME_BYTES) as u64;
        assert_eq!(bound, STORED_FRAME.maximum);
    }

    #[test]
    fn exceeding_names_the_limit() {
        assert_eq!(FRAMES.check(10_000).unwrap(), 10_000);
        let error = FRAMES.check(10_001).unwrap_err();
        assert_eq!(error.to_string(), "package has 10001 frames; at most 10000 are allowed");
    }

    #[test]
    fn ratio_lets_small_payloads_and_honest_ones_through() {
        assert!(check_ratio(1 << 30, 1).is_ok());
        assert!(check_ratio((1 << 30) + 1000, 1).is_ok());
        assert!(check_ratio((1 << 30) + 1001, 1).is_err());
        assert!(check_ratio(u64::MAX, 0).is_err());
        assert!(check_ratio(0, 0).is_ok());
    }

    #[test]
    fn deep_paths_and_many_attributes_are_refused() {
        let entry = |path: String, xattrs| Entry {
            path: path.into_bytes(),
            mode: 0o755,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            xattrs,
            node: Node::Directory,
        };
        let deep = |depth: usize| {
            let paths = (1..=depth).map(|count| vec!["d"; count].join("/"));
            Tree::new(paths.map(|path| entry(path, BTreeMap::new())).collect()).unwrap()
        };
        assert!(check_tree(&deep(256)).is_ok());
        assert!(check_tree(&deep(257)).is_err());
        let named = |count: usize, size: usize| {
            let name = |number| format!("user.{number}").into_bytes();
            let xattrs = (0..count).map(|number| (name(number), vec![0; size])).collect();
            Tree::new(vec![entry("d".to_owned(), xattrs)]).unwrap()
        };
        assert!(check_tree(&named(64, 1)).is_ok());
        assert!(check_tree(&named(65, 1)).is_err());
        assert!(check_tree(&named(3, 65_536)).is_err());
    }
}
