// store/src/root_db/rows.rs
//! The rows of a root's database, as values.
//!
//! Some are also written into the export, which is JSON: hence the texts for bytes.

use std::collections::BTreeMap;

use recipes::Digest;
use serde::{Deserialize, Serialize};

use super::text::{bytes_text, optional_bytes_text};
use super::{HookRow, ScriptDone, ScriptRow, TriggerDone};

/// Why a trove is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Somebody asked for it.
    Explicit,
    /// Another trove needed it.
    Dependency,
}

impl Reason {
    /// Returns the word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Explicit => "explicit",
            Reason::Dependency => "dependency",
        }
    }
}

/// An installed trove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroveRow {
    /// Row number; 0 before it is written.
    pub row: i64,
    /// Its name.
    pub name: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// The manifest's canonical bytes.
    pub manifest: Vec<u8>,
    /// Why it is there.
    pub reason: Reason,
    /// The changeset that brought it in this form.
    pub changeset: i64,
    /// Installed components and their trees.
    pub components: BTreeMap<String, Digest>,
}

/// What kind of thing a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
}

impl Kind {
    /// Returns the word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Directory => "directory",
            Kind::File => "file",
            Kind::Symlink => "symlink",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "directory" => Kind::Directory,
            "symlink" => Kind::Symlink,
            // The table's CHECK leaves no other.
            _ => Kind::File,
        }
    }
}

/// What tells without reading that a file is as it was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Inode number.
    pub inode: u64,
    /// Time of the last write.
    pub mtime_ns: i64,
    /// Time of the last change of the inode.
    pub ctime_ns: i64,
}

/// How the file at a path looks; none for what is not as it was put there.
pub type PathPrint<'p> = (&'p [u8], Option<Fingerprint>);

/// Configuration: an edit is kept.
pub const FLAG_CONFIG: u32 = 1;
/// It was there before any package: it stays when the last one leaves.
pub const FLAG_EXISTED: u32 = 2;
/// Configuration that only begins as packaged: no later version replaces it.
pub const FLAG_NOREPLACE: u32 = 4;

/// One path of one installed trove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Where it lies, relative to the root, through no symbolic link.
    pub path: Vec<u8>,
    /// Row of its trove; 0 before it is written.
    pub trove: i64,
    /// Component of the trove.
    pub component: String,
    /// The path in the package, where a link of the root made it another.
    pub packaged: Option<Vec<u8>>,
    /// Kind.
    pub kind: Kind,
    /// Packaged permission bits.
    pub mode: u32,
    /// Packaged owner.
    pub owner: String,
    /// Packaged group.
    pub group: String,
    /// Permission bits as applied.
    pub applied_mode: u32,
    /// Owner as applied.
    pub uid: u32,
    /// Group as applied.
    pub gid: u32,
    /// Content of a file.
    pub object: Option<Digest>,
    /// Its size in bytes.
    pub size: u64,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// First path of the hard link group that it belongs to, where it is not that one itself.
    pub link: Option<Vec<u8>>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Sum of `FLAG_…`.
    pub flags: u32,
    /// Fingerprint of what was put there; none where the content on the disk is somebody's edit.
    pub fingerprint: Option<Fingerprint>,
}

impl FileRow {
    /// Whether the flag is set.
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// A changeset of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesetRow {
    /// Its number, counted from 1.
    pub number: i64,
    /// When it was settled.
    pub at_unix_secs: i64,
    /// Who asked for it.
    pub actor: String,
    /// With which command.
    pub command_line: String,
    /// For a rollback: the changeset whose state it returned to.
    pub returns_to: Option<i64>,
    /// What changed, by name.
    pub changes: Vec<ChangeRow>,
}

/// What a changeset did to one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// Name of the trove.
    pub name: String,
    /// The trove before, if it was installed.
    pub before: Option<Held>,
    /// The trove after, if it is installed.
    pub after: Option<Held>,
}

/// A trove as it was or is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// `name=version[flavor]@label`.
    pub spec: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Installed components.
    pub components: Vec<String>,
    /// Why it was installed.
    pub reason: Reason,
}

/// Something of a user's that a changeset took from its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Displaced {
    /// Where it lay.
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    /// What it was.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content of a file, in the root's store.
    pub object: Option<Digest>,
    /// Its size in bytes.
    pub size: u64,
    /// Target of a symbolic link.
    #[serde(with = "optional_bytes_text", skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Vec<u8>>,
    /// Whether a package owned the path, so that this is an edit.
    pub edit: bool,
}

/// A file that we put beside a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// The `.conary-new` or `.conary-save`.
    #[serde(with = "bytes_text")]
    pub path: Vec<u8>,
    /// The configuration file.
    #[serde(with = "bytes_text")]
    pub of: Vec<u8>,
    /// The changeset that made it; 0 before it is written.
    pub changeset: i64,
    /// Its content.
    pub object: Digest,
}

/// How far a transaction came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Temporary names may exist.
    Begun,
    /// The journal is written, and it happened: the rest must follow.
    Committed,
    /// Everything is in its place; only cleaning up is left.
    Settled,
}

/// The transaction under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its number, which becomes the changeset's.
    pub number: i64,
    /// How far it came.
    pub state: State,
    /// Directories that may hold temporary names, as the installer wrote them.
    pub directories: Vec<u8>,
    /// The journal, as the installer wrote it, from `Committed` on.
    pub journal: Option<Vec<u8>>,
}

/// How a path of a trove was really put into the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How it looks; none where the content on the disk is somebody's edit, or not looked at yet.
    pub fingerprint: Option<Fingerprint>,
}

impl Applied {
    /// Returns what the row says.
    #[must_use]
    pub fn of(row: &FileRow) -> Self {
        Self { mode: row.applied_mode, uid: row.uid, gid: row.gid, fingerprint: row.fingerprint }
    }
}

/// Everything that a transaction writes.
#[derive(Debug, Clone)]
pub struct Settlement<'a> {
    /// The history row.
    pub changeset: &'a ChangesetRow,
    /// Rows of troves that leave or are written anew.
    pub leaving: &'a [i64],
    /// Troves that come.
    pub troves: &'a [TroveRow],
    /// Their files, in the same order.
    pub files: &'a [Vec<FileRow>],
    /// How these were put into the root, in the same order; this counts and not what the rows say of it.
    pub applied: &'a [Vec<Applied>],
    /// Troves that only change their reason.
    pub reasons: &'a [(i64, Reason)],
    /// The rollback record.
    pub displaced: Vec<&'a Displaced>,
    /// Files made beside configuration files.
    pub beside: &'a [Beside],
    /// Paths of such files that are gone.
    pub beside_gone: &'a [Vec<u8>],
    /// All that hooks have made then, where that changes.
    pub hooks: Option<&'a [HookRow]>,
    /// Triggers that it sets off.
    pub set_off: &'a [String],
    /// Scriptlets that have to run then.
    pub scripts: &'a [ScriptRow],
    /// Instead of a changeset: a scriptlet that has run, and the triggers that it sets off. Nothing else is written then.
    pub script: Option<&'a ScriptDone>,
    /// Instead of a changeset: a trigger that has run. Nothing else is written then.
    pub trigger: Option<&'a TriggerDone>,
}
