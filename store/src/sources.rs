// store/src/sources.rs
//! Sources: what a claim about a source turned out to be.
//!
//! A claim is somebody else's name for content: `sha256:…` from a recipe, `git:<commit>`. Once it was fetched and checked,
//! the row says which object it is. Rows are facts and outlive the objects: after gc the same claim is fetched
//! again and must give the same object.

use std::io::Read;

use recipes::{Algorithm, Digest};
use rusqlite::{OptionalExtension, Row, params};
use sha2::Digest as _;

use crate::Store;
use crate::database;
use crate::error::StoreError;
use crate::refs::Reference;

/// Whether a source is one file or a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file, as it was fetched.
    File,
    /// A tree, such as the export of a commit; the object is the encoded tree.
    Tree,
}

impl SourceKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tree => "tree",
        }
    }
}

/// What a claim turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// The object.
    pub object: Digest,
    /// Its size, or that of all files of a tree.
    pub size_bytes: u64,
    /// Whether it is a file or a tree.
    pub kind: SourceKind,
    /// Where it came from, for people: an address or a path.
    pub origin: String,
    /// What the file was called.
    pub file_name: String,
}

const COLUMNS: &str = "object, size_bytes, kind, origin, file_name, claim";

impl Store {
    /// Returns what a claim turned out to be; the object itself may have been collected.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn source(&self, claim: &str) -> Result<Option<SourceRow>, StoreError> {
        self.database().read("find a source", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sources WHERE claim = ?"))?
                .query_row([claim], source_row)
                .optional()
        })
    }

    /// Lists the claims and what they turned out to be, by file name.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn sources(&self) -> Result<Vec<(String, SourceRow)>, StoreError> {
        self.database().read("list sources", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sources ORDER BY file_name, claim"))?
                .query_map([], |row| Ok((row.get(5)?, source_row(row)?)))?
                .collect()
        })
    }

    /// Records what a claim turned out to be, in place of what was recorded before.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn record_source(&self, claim: &str, source: &SourceRow) -> Result<(), StoreError> {
        self.writable()?;
        let _lease = self.lease()?;
        self.revive(&[match source.kind {
            SourceKind::File => Reference::Object(source.object),
            SourceKind::Tree => Reference::Tree(source.object),
        }])?;
        self.database().write("record a source", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO sources (claim, object, size_bytes, kind, origin, file_name)
                 VALUES (?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    claim,
                    source.object.as_bytes(),
                    database::signed(source.size_bytes),
                    source.kind.as_str(),
                    source.origin,
                    source.file_name,
                ])
                .map(drop)
        })
    }

    /// Returns another digest of an object, computing it when it is asked for the first time.
    ///
    /// # Errors
    /// As [`Store::open_object`], and [`StoreError::Damaged`] when the object is not what its name says.
    pub fn digest_of(&self, object: &Digest, algorithm: Algorithm) -> Result<Digest, StoreError> {
        if algorithm == Algorithm::Blake3 {
            return Ok(*object);
        }
        let known: Vec<Digest> = self.database().read("find a digest", |connection| {
            connection
                .prepare_cached("SELECT digest FROM digests WHERE object = ?")?
                .query_map([object.as_bytes()], |row| database::parsed(row, 0))?
                .collect()
        })?;
        if let Some(digest) = known.into_iter().find(|digest| digest.algorithm() == algorithm) {
            return Ok(digest);
        }
        let digest = self.compute(object, algorithm)?;
        if !self.is_read_only() {
            self.remember_digest(object, &digest)?;
        }
        Ok(digest)
    }

    /// Remembers another digest of an object that the caller computed while the object was written.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn remember_digest(&self, object: &Digest, digest: &Digest) -> Result<(), StoreError> {
        self.writable()?;
        self.database().write("record a digest", |transaction| {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO digests (object, digest) VALUES (?, ?)")?
                .execute(params![object.as_bytes(), digest.to_string()])
                .map(drop)
        })
    }

    /// Finds an object of this store by any digest of it that is known.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn find_by_digest(&self, digest: &Digest) -> Result<Option<Digest>, StoreError> {
        if digest.algorithm() == Algorithm::Blake3 {
            return Ok(self.has(digest)?.then_some(*digest));
        }
        self.database().read("find a digest", |connection| {
            connection
                .prepare_cached(
                    "SELECT object FROM digests JOIN objects ON objects.digest = digests.object
                     WHERE digests.digest = ? LIMIT 1",
                )?
                .query_row([digest.to_string()], |row| database::digest(row, 0))
                .optional()
        })
    }

    /// Computes a digest of an object, checking the object's own on the way.
    fn compute(&self, object: &Digest, algorithm: Algorithm) -> Result<Digest, StoreError> {
        let mut file = self.open_object(object)?;
        let mut own = blake3::Hasher::new();
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(StoreError::io("read", self.directory().join("objects"))(error));
                }
            };
            own.update(&buffer[..read]);
            hasher.update(&buffer[..read]);
        }
        let actual = Digest::blake3(*own.finalize().as_bytes());
        if actual != *object {
            let path = self.directory().join("objects");
            return Err(StoreError::Damaged { expected: *object, actual, path });
        }
        Ok(hasher.finish())
    }
}

/// Computes a digest of any trusted algorithm, piece by piece.
#[derive(Debug, Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Blake3(Box<blake3::Hasher>),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Blake2b(blake2::Blake2b512),
}

impl Hasher {
    /// Begins a digest.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Blake3 => State::Blake3(Box::default()),
            Algorithm::Sha224 => State::Sha224(sha2::Sha224::new()),
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            Algorithm::Blake2b => State::Blake2b(blake2::Blake2b512::new()),
        };
        Self { algorithm, state }
    }

    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Blake3(state) => {
                state.update(bytes);
            }
            State::Sha224(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Blake2b(state) => state.update(bytes),
        }
    }

    /// Ends the digest.
    ///
    /// # Panics
    /// Never: every algorithm gives as many bytes as it says.
    #[must_use]
    pub fn finish(self) -> Digest {
        let digest = match self.state {
            State::Blake3(state) => Digest::new(self.algorithm, state.finalize().as_bytes()),
            State::Sha224(state) => Digest::new(self.algorithm, &state.finalize()),
            State::Sha256(state) => Digest::new(self.algorithm, &state.finalize()),
            State::Sha384(state) => Digest::new(self.algorithm, &state.finalize()),
            State::Sha512(state) => Digest::new(self.algorithm, &state.finalize()),
            State::Blake2b(state) => Digest::new(self.algorithm, &state.finalize()),
        };
        digest.expect("because each state is the one of its algorithm")
    }
}

fn source_row(row: &Row<'_>) -> rusqlite::Result<SourceRow> {
    let kind: String = row.get(2)?;
    Ok(SourceRow {
        object: database::digest(row, 0)?,
        size_bytes: database::unsigned(row, 1)?,
        kind: if kind == "tree" { SourceKind::Tree } else { SourceKind::File },
        origin: row.get(3)?,
        file_name: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;

    #[test]
    fn claims_are_remembered_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        assert_eq!(store.source("sha256:x").unwrap(), None);
        let mut row = SourceRow {
            object: store.put_bytes(b"one").unwrap(),
            size_bytes: 3,
            kind: SourceKind::File,
            origin: "https://example.org/one".to_owned(),
            file_name: "one".to_owned(),
        };
        store.record_source("sha256:x", &row).unwrap();
        assert_eq!(store.source("sha256:x").unwrap(), Some(row.clone()));
        row.kind = SourceKind::Tree;
        store.record_source("sha256:x", &row).unwrap();
        assert_eq!(store.sources().unwrap(), vec![("sha256:x".to_owned(), row)]);
    }

    #[test]
    fn other_digests_are_computed_once_and_found() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let object = store.put_bytes(b"abc").unwrap();
        let known = [
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ];
        for (algorithm, hex) in known {
            let digest = store.digest_of(&object, algorithm).unwrap();
            assert_eq!(digest.hex(), hex);
            assert_eq!(store.find_by_digest(&digest).unwrap(), Some(object));
        }
        for algorithm in Algorithm::ALL {
            let digest = store.digest_of(&object, algorithm).unwrap();
            assert_eq!(digest, store.digest_of(&object, algorithm).unwrap());
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), digest);
        }
        let absent = Digest::blake3([9; 32]);
        assert!(store.digest_of(&absent, Algorithm::Sha256).is_err());
        assert_eq!(store.find_by_digest(&absent).unwrap(), None);
    }
}
