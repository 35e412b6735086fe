// store/src/refs.rs
//! What keeps content: pins, and the installed roots that refer to this store.
//!
//! A root is known by its path and counts whether it is mounted or not. What it refers to is recorded here
//! *before* the root commits a change that needs it, and dropped after the root has let go of it.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use recipes::Digest;
use rusqlite::{Transaction, params};

use crate::Store;
use crate::database;
use crate::error::StoreError;

/// Something that gc keeps, with everything it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// One object.
    Object(Digest),
    /// A tree and its files.
    Tree(Digest),
    /// A trove, its trees and their files.
    Trove(Digest),
}

impl Reference {
    fn parts(&self) -> (&'static str, &Digest) {
        match self {
            Self::Object(target) => ("object", target),
            Self::Tree(target) => ("tree", target),
            Self::Trove(target) => ("trove", target),
        }
    }

    /// Reads a reference from two columns.
    pub(crate) fn of_row(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Self> {
        let kind: String = row.get(column)?;
        let target = database::digest(row, column + 1)?;
        Ok(match kind.as_str() {
            "tree" => Self::Tree(target),
            "trove" => Self::Trove(target),
            _ => Self::Object(target),
        })
    }
}

impl Store {
    /// Keeps something until it is unpinned for the same reason.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn pin(&self, reference: &Reference, reason: &str) -> Result<(), StoreError> {
        self.writable()?;
        let (kind, target) = reference.parts();
        let _lease = self.lease()?;
        self.revive(&[*reference])?;
        self.database().write("pin", |transaction| {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO pins (kind, target, reason) VALUES (?, ?, ?)")?
                .execute(params![kind, target.as_bytes(), reason])
                .map(drop)
        })
    }

    /// Lets go of what was pinned for a reason; says whether it was.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn unpin(&self, reference: &Reference, reason: &str) -> Result<bool, StoreError> {
        self.writable()?;
        let (kind, target) = reference.parts();
        self.database().write("unpin", |transaction| {
            transaction
                .prepare_cached("DELETE FROM pins WHERE kind = ? AND target = ? AND reason = ?")?
                .execute(params![kind, target.as_bytes(), reason])
                .map(|rows| rows > 0)
        })
    }

    /// Lists what is pinned and why.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn pins(&self) -> Result<Vec<(Reference, String)>, StoreError> {
        self.database().read("list pins", |connection| {
            connection
                .prepare_cached("SELECT kind, target, reason FROM pins ORDER BY reason, kind, target")?
                .query_map([], |row| Ok((Reference::of_row(row, 0)?, row.get(2)?)))?
                .collect()
        })
    }

    /// Makes a root known, with nothing that it refers to yet; one that is known stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn register_root(&self, path: &Path) -> Result<(), StoreError> {
        self.writable()?;
        self.database().write("register a root", |transaction| root(transaction, path).map(drop))
    }

    /// Adds to what a root refers to; a root that is not known is registered.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn add_root_refs(&self, path: &Path, references: &[Reference]) -> Result<(), StoreError> {
        self.writable()?;
        let _lease = self.lease()?;
        self.revive(references)?;
        self.database().write("record what a root needs", |transaction| {
            let root = root(transaction, path)?;
            add_refs(transaction, root, references)
        })
    }

    /// Says what a root refers to from now on, in place of what was recorded.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn set_root_refs(&self, path: &Path, references: &[Reference]) -> Result<(), StoreError> {
        self.writable()?;
        let _lease = self.lease()?;
        self.revive(references)?;
        self.database().write("record what a root needs", |transaction| {
            let root = root(transaction, path)?;
            transaction.prepare_cached("DELETE FROM root_refs WHERE root = ?")?.execute([root])?;
            add_refs(transaction, root, references)
        })
    }

    /// Forgets a root and what it refers to; says whether it was known.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn forget_root(&self, path: &Path) -> Result<bool, StoreError> {
        self.writable()?;
        self.database().write("forget a root", |transaction| {
            transaction
                .prepare_cached("DELETE FROM roots WHERE path = ?")?
                .execute([path.as_os_str().as_bytes()])
                .map(|rows| rows > 0)
        })
    }

    /// Lists the known roots, with how many references each has.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn roots(&self) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        self.database().read("list roots", |connection| {
            connection
                .prepare_cached(
                    "SELECT path, (SELECT count(*) FROM root_refs WHERE root = roots.id)
                     FROM roots ORDER BY path",
                )?
                .query_map([], |row| {
                    let path = std::ffi::OsString::from_vec(row.get(0)?);
                    Ok((PathBuf::from(path), database::unsigned(row, 1)?))
                })?
                .collect()
        })
    }
}

/// Returns the number of a root, registering it first where needed.
fn root(transaction: &Transaction<'_>, path: &Path) -> rusqlite::Result<i64> {
    let path = path.as_os_str().as_bytes();
    transaction.prepare_cached("INSERT OR IGNORE INTO roots (path) VALUES (?)")?.execute([path])?;
    transaction.prepare_cached("SELECT id FROM roots WHERE path = ?")?.query_row([path], |row| row.get(0))
}

fn add_refs(transaction: &Transaction<'_>, root: i64, references: &[Reference]) -> rusqlite::Result<()> {
    let mut insert =
        transaction.prepare_cached("INSERT OR IGNORE INTO root_refs (root, kind, target) VALUES (?, ?, ?)")?;
    for reference in references {
        let (kind, target) = reference.parts();
        insert.execute(params![root, kind, target.as_bytes()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;

    #[test]
    fn pins_and_roots_are_kept_and_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let pinned = Reference::Trove(Digest::blake3([1; 32]));
        store.pin(&pinned, "seed").unwrap();
        store.pin(&pinned, "seed").unwrap();
        assert_eq!(store.pins().unwrap(), [(pinned, "seed".to_owned())]);
        assert!(!store.unpin(&pinned, "other").unwrap());
        assert!(store.unpin(&pinned, "seed").unwrap());
        let root = Path::new("/srv/root");
        store.register_root(root).unwrap();
        let other = Reference::Object(Digest::blake3([2; 32]));
        store.add_root_refs(root, &[pinned, other, other]).unwrap();
        store.register_root(root).unwrap();
        assert_eq!(store.roots().unwrap(), [(root.to_owned(), 2)]);
        store.set_root_refs(root, &[other]).unwrap();
        assert_eq!(store.roots().unwrap(), [(root.to_owned(), 1)]);
        assert!(store.forget_root(root).unwrap());
        assert!(!store.forget_root(root).unwrap());
    }
}
