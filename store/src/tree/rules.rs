// store/src/tree/rules.rs
//! What every tree keeps to, whoever made it, and what is said of one that does not.

use std::fmt;

use super::{Entry, MAX_ENTRIES, MAX_NAME_BYTES, MAX_OWNER_BYTES, MAX_PATH_BYTES, MAX_XATTR_BYTES, Node, Tree};

impl Tree {
    /// Checks every rule of a tree whose entries are sorted.
    pub(super) fn validate(&self) -> Result<(), TreeError> {
        if self.entries.len() > MAX_ENTRIES {
            return Err(TreeError::TooManyEntries { count: self.entries.len() });
        }
        // The directories above the current entry, outermost first.
        let mut above: Vec<&[u8]> = Vec::new();
        let mut last: Option<&[u8]> = None;
        for entry in &self.entries {
            let fail = |rule| Err(TreeError::new(&entry.path, rule));
            if let Some(rule) = broken_rule(entry) {
                return fail(rule);
            }
            if last == Some(entry.path.as_slice()) {
                return fail(Rule::Twice);
            }
            last = Some(&entry.path);
            if let Some(parent) = entry.parent() {
                // `a.b` sorts between `a` and `a/c`, so a stack alone does not do.
                while above.last().is_some_and(|top| !is_beneath(&entry.path, top)) {
                    above.pop();
                }
                if above.last() != Some(&parent) && self.get(parent).is_none_or(|found| found.node != Node::Directory) {
                    return fail(Rule::Parent);
                }
            }
            match &entry.node {
                Node::Directory => above.push(&entry.path),
                Node::Hardlink { first } => match self.get(first) {
                    Some(file) if matches!(file.node, Node::File { .. }) && file.path < entry.path => {
                        if !file.same_metadata(entry) {
                            return fail(Rule::LinkMetadata);
                        }
                    }
                    _ => return fail(Rule::LinkTarget),
                },
                Node::File { .. } | Node::Symlink { .. } => {}
            }
        }
        Ok(())
    }
}

/// Says whether `path` lies below `directory`.
fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    path.len() > directory.len() && path.starts_with(directory) && path[directory.len()] == b'/'
}

/// Finds the first rule that an entry by itself breaks.
fn broken_rule(entry: &Entry) -> Option<Rule> {
    let bad_path = entry.path.len() > MAX_PATH_BYTES
        || entry.path.split(|byte| *byte == b'/').any(|name| {
            name.is_empty() || name == b"." || name == b".." || name.len() > MAX_NAME_BYTES || name.contains(&0)
        });
    let bad_owner = |name: &str| {
        name.is_empty()
            || name.len() > MAX_OWNER_BYTES
            || name.starts_with(['-', '+', '~'])
            || name.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
    };
    let bad_xattr = |name: &[u8], value: &[u8]| {
        name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(&0) || value.len() > MAX_XATTR_BYTES
    };
    if bad_path {
        return Some(Rule::Path);
    }
    if bad_owner(&entry.owner) || bad_owner(&entry.group) {
        return Some(Rule::Owner);
    }
    if entry.mode > 0o7777 {
        return Some(Rule::Mode);
    }
    if entry.xattrs.iter().any(|(name, value)| bad_xattr(name, value)) {
        return Some(Rule::Xattr);
    }
    match &entry.node {
        Node::File { object, .. } if object.algorithm() != recipes::Algorithm::Blake3 => Some(Rule::Object),
        Node::Symlink { .. } if entry.mode != 0o777 => Some(Rule::Mode),
        Node::Symlink { target } if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains(&0) => {
            Some(Rule::SymlinkTarget)
        }
        _ => None,
    }
}

/// A rule that every entry of a tree keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Paths are relative, plain and of bounded length.
    Path,
    /// A path stands in a tree once.
    Twice,
    /// An encoded tree is sorted.
    Order,
    /// What holds an entry is a directory of the same tree.
    Parent,
    /// Modes are permission bits; a symbolic link's are `0o777`.
    Mode,
    /// Owners and groups are names.
    Owner,
    /// Extended attributes have a name and a bounded value.
    Xattr,
    /// Content is named by BLAKE3.
    Object,
    /// A symbolic link points somewhere, in at most [`MAX_PATH_BYTES`].
    SymlinkTarget,
    /// A hard link's first name is an earlier regular file.
    LinkTarget,
    /// All names of one file have the same metadata.
    LinkMetadata,
    /// Trees that are merged agree on what stands at a path.
    Conflict,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Rule::Path => "is not a plain relative path",
            Rule::Twice => "stands there twice",
            Rule::Order => "is out of order",
            Rule::Parent => "does not lie in a directory of the tree",
            Rule::Mode => "has a mode that its kind cannot have",
            Rule::Owner => "has an owner or group that is not a plain name",
            Rule::Xattr => "has an extended attribute that is empty or too long",
            Rule::Object => "names its content by something else than BLAKE3",
            Rule::SymlinkTarget => "is a symbolic link to an empty or overlong target",
            Rule::LinkTarget => "is a hard link to something that is not an earlier regular file",
            Rule::LinkMetadata => "is a hard link whose mode, owner or attributes differ",
            Rule::Conflict => "is different things in different trees",
        })
    }
}

/// Why entries or bytes are not a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// An entry breaks a rule.
    #[error("entry `{}` {rule}", path.escape_ascii())]
    Entry {
        /// The entry's path.
        path: Vec<u8>,
        /// What it breaks.
        rule: Rule,
    },
    /// The bytes are not the canonical encoding of a tree.
    #[error("encoded tree is damaged at byte {offset}: expected {expected}")]
    Encoding {
        /// Where, from the start.
        offset: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("tree has {count} entries, more than {MAX_ENTRIES}")]
    TooManyEntries {
        /// How many there are.
        count: usize,
    },
}

impl TreeError {
    pub(super) fn new(path: &[u8], rule: Rule) -> Self {
        Self::Entry { path: path.to_vec(), rule }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Entry { rule: Rule::Conflict, .. } => {
                Some("two packages own this path; leave one of them out".to_owned())
            }
            Self::Entry { .. } | Self::TooManyEntries { .. } => None,
            Self::Encoding { .. } => Some("run `conary store verify` to see what else is damaged".to_owned()),
        }
    }
}
