// store/src/shards.rs
//! The files below `objects/`, compared with the rows about them, one first byte at a time.
//!
//! This is the only scan of the store there is; gc, verify and stats share it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use recipes::Digest;
use rustix::fs::{AtFlags, Dir, Stat};
use rustix::io::Errno;

use crate::Store;
use crate::cas::Variant;
use crate::database;
use crate::durable;
use crate::error::StoreError;

/// A row about an object's file.
#[derive(Debug, Clone)]
pub(crate) struct ObjectRow {
    pub(crate) object: Digest,
    /// As the row has it; text of another shape is damage.
    pub(crate) variant: String,
    pub(crate) size: u64,
}

impl ObjectRow {
    pub(crate) fn variant(&self) -> Option<Variant> {
        Variant::parse(&self.variant)
    }

    /// Returns the file's name in its shard.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", &self.object.hex()[2..], self.variant)
    }
}

/// What has one first byte.
pub(crate) struct Shard {
    pub(crate) byte: u8,
    /// The directory; `None` where there is none yet.
    pub(crate) directory: Option<OwnedFd>,
    pub(crate) rows: Vec<ObjectRow>,
    /// Rows of condemned objects, with their epochs.
    pub(crate) condemned: Vec<(ObjectRow, i64)>,
    /// Names of files without a row.
    pub(crate) strays: Vec<Vec<u8>>,
}

impl Shard {
    /// Stats one of its files.
    pub(crate) fn stat(&self, name: &[u8]) -> Option<Stat> {
        let directory = self.directory.as_ref()?;
        rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Removes one of its files, whatever it is; one that is gone is gone.
    pub(crate) fn remove(&self, store: &Store, name: &[u8]) -> Result<(), StoreError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        match crate::work::remove_all(std::os::fd::AsFd::as_fd(directory), name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => {
                let path = self.path(store).join(crate::ingest::shown(name));
                Err(StoreError::io("remove", path)(error.into()))
            }
        }
    }

    /// Returns where the shard is.
    pub(crate) fn path(&self, store: &Store) -> std::path::PathBuf {
        store.directory().join("objects").join(format!("{:02x}", self.byte))
    }
}

impl Store {
    /// Reads the rows of objects with one first byte.
    pub(crate) fn rows_of_shard(&self, byte: u8) -> Result<Vec<ObjectRow>, StoreError> {
        let (mut low, mut high) = ([0_u8; 32], [0xff_u8; 32]);
        (low[0], high[0]) = (byte, byte);
        self.database().read("list objects", |connection| {
            connection
                .prepare_cached("SELECT digest, variant, size_bytes FROM objects WHERE digest BETWEEN ? AND ?")?
                .query_map([low, high], |row| {
                    let object = database::digest(row, 0)?;
                    Ok(ObjectRow { object, variant: row.get(1)?, size: database::unsigned(row, 2)? })
                })?
                .collect()
        })
    }

    /// Compares the files with one first byte with their rows.
    ///
    /// The rows are read after the names, so a file that is being added meanwhile may look like a stray, but no
    /// row like one without a file.
    pub(crate) fn shard_with_files(&self, byte: u8) -> Result<Shard, StoreError> {
        let name = format!("{byte:02x}");
        let path = self.directory().join("objects").join(&name);
        let mut names: HashMap<Vec<u8>, u64> = HashMap::new();
        let directory = match durable::open_directory(self.objects(), &name) {
            Ok(directory) => Some(directory),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("open", path)(error)),
        };
        if let Some(directory) = &directory {
            let failed = |error: Errno| StoreError::io("read", &path)(error.into());
            for entry in Dir::read_from(directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.insert(name.to_vec(), entry.ino());
                }
            }
        }
        let rows = self.rows_of_shard(byte)?;
        let condemned = self.condemned_of_shard(byte)?;
        let mut take = |row: &ObjectRow| names.remove(row.file_name().as_bytes());
        // In order of inodes, which is that of the disk where it has one.
        let mut rows: Vec<_> = rows.into_iter().map(|row| (take(&row), row)).collect();
        rows.sort_by_key(|(inode, _)| *inode);
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        for (row, _) in &condemned {
            take(row);
        }
        let mut strays: Vec<_> = names.into_keys().collect();
        strays.sort_unstable();
        Ok(Shard { byte, directory, rows, condemned, strays })
    }

    /// Names what lies in `objects/` and is not the directory of a first byte.
    pub(crate) fn strays_beside_shards(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let failed = |error: Errno| StoreError::io("read", self.directory().join("objects"))(error.into());
        let mut strays = Vec::new();
        for entry in Dir::read_from(self.objects()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
            let shard = name.len() == 2 && name.iter().all(digit);
            if !shard && name != b"." && name != b".." {
                strays.push(name.to_vec());
            }
        }
        Ok(strays)
    }

    /// Returns where the file of a row is.
    pub(crate) fn row_path(&self, row: &ObjectRow) -> std::path::PathBuf {
        let byte = row.object.as_bytes().first().copied().unwrap_or(0);
        self.directory().join("objects").join(format!("{byte:02x}")).join(row.file_name())
    }

    /// Says whether a row is still there: what is compared may be changing.
    pub(crate) fn has_row(&self, byte: u8, name: &[u8]) -> Result<bool, StoreError> {
        let is_it = |row: &ObjectRow| row.file_name().as_bytes() == name;
        Ok(self.rows_of_shard(byte)?.iter().any(is_it)
            || self.condemned_of_shard(byte)?.iter().any(|(row, _)| is_it(row)))
    }
}
