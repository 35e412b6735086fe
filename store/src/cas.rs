// store/src/cas.rs
//! Objects: contents named by their BLAKE3, one file for each link variant.
//!
//! Mode, owner, times and attributes live in a file's inode and are shared by all its names. So that a checkout
//! can be links, an object is kept as one file for each combination that is asked for, its [`Variant`]:
//!
//! ```text
//! objects/ab/cdef….644                 mode 0644, the store owner's user and group
//! objects/ab/cdef….755                 the same bytes for programs
//! objects/ab/cdef….640-0-42            another user and group, by number
//! objects/ab/cdef….644-x0123456789abcdef   with attributes, by their digest
//! ```
//!
//! The first variant is the one that whoever adds the content expects to be asked for; others are made by reflink
//! or copy when a checkout needs them. All have [`EPOCH_SECS`](crate::EPOCH_SECS) as their time: a file that
//! somebody wrote to through a link shows it. A file without a row is garbage; a row without a file is damage.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use recipes::Digest;
use rusqlite::{OptionalExtension, params};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::copy::{self, How};
use crate::database;
use crate::durable;
use crate::error::StoreError;
use crate::place::clones;
use crate::work::Work;
use crate::{EPOCH_SECS, Store};

/// The mode of objects that nobody asked to be linked: trees, logs, sources.
pub(crate) const PLAIN_MODE: u32 = 0o444;

/// What a file of an object has beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Variant {
    /// Permission bits.
    pub(crate) mode: u32,
    /// User and group by number; `None` for the store owner's.
    pub(crate) owner: Option<(u32, u32)>,
    /// First eight bytes of the digest of the attributes, as hexadecimal; `None` without any.
    xattrs: Option<u64>,
}

impl Variant {
    /// Returns the variant that content gets when a file of this mode is expected to be linked to it.
    ///
    /// The owner must be able to read it, and no set-id bit is ever kept in the store.
    pub(crate) fn of_mode(mode: u32) -> Self {
        let mode = if mode & 0o400 == 0 { PLAIN_MODE } else { mode & 0o777 };
        Self { mode, owner: None, xattrs: None }
    }

    /// Returns the variant that a file can be a link to; `None` when it must be a file of its own.
    ///
    /// Programs that change identity are never shared: a link to one that somebody keeps would survive its
    /// removal. Neither are files that their owner cannot read, which could not be verified.
    pub(crate) fn of_file(mode: u32, owner: Option<(u32, u32)>, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Self> {
        if mode & 0o7000 != 0 || mode & 0o400 == 0 || xattrs.keys().any(|name| !is_user(name)) {
            return None;
        }
        Some(Self { mode, owner, xattrs: digest_of(xattrs) })
    }

    /// Reads the text that [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').peekable();
        let mode = u32::from_str_radix(parts.next()?, 8).ok()?;
        let mut owner = None;
        if parts.peek().is_some_and(|part| !part.starts_with('x')) {
            owner = Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?));
        }
        let xattrs = match parts.next() {
            None => None,
            Some(part) => Some(u64::from_str_radix(part.strip_prefix('x')?, 16).ok()?),
        };
        let variant = Self { mode, owner, xattrs };
        (parts.next().is_none() && variant.to_string() == text).then_some(variant)
    }

    /// Says whether a file has what this variant says, and nobody wrote to it since it was made.
    ///
    /// Attributes are not looked at: they can be changed only by who could change the bytes.
    pub(crate) fn fits(&self, stat: &Stat, size: u64, store_owner: (u32, u32)) -> bool {
        let (user, group) = self.owner.unwrap_or(store_owner);
        // A user's files are his with whatever group; root's are linked into systems, where it counts.
        let owned = stat.st_uid == user && (user != 0 || stat.st_gid == group);
        rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file()
            && stat.st_mode & 0o7777 == self.mode
            && owned
            && u64::try_from(stat.st_size) == Ok(size)
            && stat.st_mtime == EPOCH_SECS
            && stat.st_mtime_nsec == 0
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:o}", self.mode)?;
        if let Some((user, group)) = self.owner {
            write!(formatter, "-{user}-{group}")?;
        }
        if let Some(xattrs) = self.xattrs {
            write!(formatter, "-x{xattrs:016x}")?;
        }
        Ok(())
    }
}

fn is_user(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

/// Digests attributes, each name and value behind its length.
fn digest_of(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<u64> {
    if xattrs.is_empty() {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    for text in xattrs.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    Some(u64::from_be_bytes(first))
}

/// Returns where a variant of an object lies below `objects/`.
pub(crate) fn object_path(object: &Digest, variant: &Variant) -> String {
    use fmt::Write;
    let mut path = object.hex();
    path.insert(2, '/');
    // Writing to a string does not fail.
    let _ = write!(path, ".{variant}");
    path
}

impl Store {
    /// Keeps `bytes` as an object, durable on return, and returns its digest.
    ///
    /// # Errors
    /// [`StoreError`]: the store cannot be written, or is full.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let object = Digest::blake3(*blake3::hash(bytes).as_bytes());
        if self.is_whole(&object, bytes.len() as u64)? {
            return Ok(object);
        }
        let batch = self.batch()?;
        let object = batch.add_bytes(bytes, PLAIN_MODE)?;
        batch.commit()?;
        Ok(object)
    }

    /// Says whether the store has an object.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn has(&self, object: &Digest) -> Result<bool, StoreError> {
        Ok(self.object_size(object)?.is_some())
    }

    /// Returns the size of an object in bytes; `None` when the store does not have it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn object_size(&self, object: &Digest) -> Result<Option<u64>, StoreError> {
        let known = self.database().read("find an object", |connection| {
            connection
                .prepare_cached("SELECT size_bytes FROM objects WHERE digest = ? LIMIT 1")?
                .query_row([object.as_bytes()], |row| database::unsigned(row, 0))
                .optional()
        })?;
        match known {
            None => Ok(self.condemned_variants(object)?.first().map(|(_, size)| *size)),
            known => Ok(known),
        }
    }

    /// Reads an object whole and checks that its bytes are what its name says.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or [`StoreError::Damaged`] or [`StoreError::Lost`] when no variant of it is whole.
    pub fn read(&self, object: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut failure = None;
        for (variant, size) in self.variants(object)? {
            match self.read_variant(object, &variant, size) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.missing(object)))
    }

    fn read_variant(&self, object: &Digest, variant: &Variant, size: u64) -> Result<Vec<u8>, StoreError> {
        let file = self.open_variant(object, variant)?;
        let path = self.directory().join("objects").join(object_path(object, variant));
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).min(1 << 30));
        // One byte more than expected shows a file that grew, without reading all of it.
        file.take(size + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        let actual = Digest::blake3(*blake3::hash(&bytes).as_bytes());
        if actual != *object {
            return Err(StoreError::Damaged { expected: *object, actual, path });
        }
        Ok(bytes)
    }

    /// Opens an object for reading. What is read is not checked; [`Store::read`] does that.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Lost`].
    pub fn open_object(&self, object: &Digest) -> Result<File, StoreError> {
        let mut failure = None;
        for (variant, _) in self.variants(object)? {
            match self.open_variant(object, &variant) {
                Ok(file) => return Ok(file),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| self.missing(object)))
    }

    pub(crate) fn open_variant(&self, object: &Digest, variant: &Variant) -> Result<File, StoreError> {
        let path = object_path(object, variant);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.objects(), path.as_str(), flags, Mode::empty()) {
            Ok(file) => Ok(file.into()),
            Err(Errno::NOENT) => {
                Err(StoreError::Lost { object: *object, path: self.directory().join("objects").join(path) })
            }
            Err(error) => {
                let path = self.directory().join("objects").join(path);
                Err(StoreError::io("open", path)(error.into()))
            }
        }
    }

    /// Returns the variants that an object has, with its size; those of a condemned one too, where this process may use it.
    pub(crate) fn variants(&self, object: &Digest) -> Result<Vec<(Variant, u64)>, StoreError> {
        let known = self.listed_variants(object)?;
        if known.is_empty() { self.parse_variants(self.condemned_variants(object)?) } else { Ok(known) }
    }

    /// Returns the variants of an object that is not condemned.
    fn listed_variants(&self, object: &Digest) -> Result<Vec<(Variant, u64)>, StoreError> {
        let rows = self.database().read("find an object", |connection| {
            connection
                .prepare_cached("SELECT variant, size_bytes FROM objects WHERE digest = ?")?
                .query_map([object.as_bytes()], |row| Ok((row.get::<_, String>(0)?, database::unsigned(row, 1)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        self.parse_variants(rows)
    }

    /// Says whether a row speaks of the file of a variant, be it condemned or not.
    pub(crate) fn is_listed(&self, object: &Digest, variant: &Variant) -> Result<bool, StoreError> {
        self.database().read("find an object", |connection| {
            connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM objects WHERE digest = ?1 AND variant = ?2)
                         OR EXISTS (SELECT 1 FROM condemned WHERE digest = ?1 AND variant = ?2)",
                )?
                .query_row(params![object.as_bytes(), variant.to_string()], |row| row.get(0))
        })
    }

    /// Says of each variant whether a row speaks of it as an object of the store.
    pub(crate) fn which_are_listed(&self, variants: &[(Digest, Variant)]) -> Result<Vec<bool>, StoreError> {
        self.database().read("find objects", |connection| {
            let mut find = connection.prepare_cached("SELECT 1 FROM objects WHERE digest = ? AND variant = ?")?;
            variants
                .iter()
                .map(|(object, variant)| find.exists(params![object.as_bytes(), variant.to_string()]))
                .collect()
        })
    }

    /// Removes files that a batch of this process named and that no row speaks of. What cannot be removed now is left to gc.
    ///
    /// With the lease alone nobody is between a rename over such a name and the row about it.
    pub(crate) fn give_up_names(&self, names: &[(Digest, Variant)]) {
        let Ok(Some(_lease)) = self.try_lease_alone() else { return };
        for (object, variant) in names {
            if matches!(self.is_listed(object, variant), Ok(false)) {
                let _ = rustix::fs::unlinkat(self.objects(), object_path(object, variant), AtFlags::empty());
            }
        }
    }

    fn parse_variants(&self, rows: Vec<(String, u64)>) -> Result<Vec<(Variant, u64)>, StoreError> {
        rows.into_iter()
            .map(|(text, size)| Variant::parse(&text).map(|variant| (variant, size)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| StoreError::Row { what: "an object", path: self.database().path().to_owned() })
    }

    /// Says whether an object is here with a file that looks untouched, so that nothing need be written.
    ///
    /// A row whose file is gone or was written to counts as absent, and so does a condemned object: adding the content again heals it.
    pub(crate) fn is_whole(&self, object: &Digest, size: u64) -> Result<bool, StoreError> {
        for (variant, known) in self.listed_variants(object)? {
            if known == size && self.fits(object, &variant, size) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says whether the file of a variant is there and looks untouched.
    pub(crate) fn fits(&self, object: &Digest, variant: &Variant, size: u64) -> bool {
        let path = object_path(object, variant);
        rustix::fs::statat(self.objects(), path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| variant.fits(&stat, size, self.owner()))
    }

    /// Fills an empty file with an object's bytes, from a variant that looks untouched, or, where all were touched, from one that proves whole.
    pub(crate) fn copy_object(&self, object: &Digest, size: u64, to: &File, how: How) -> Result<(), StoreError> {
        for (variant, known) in self.variants(object)? {
            if known == size && self.fits(object, &variant, size) {
                return self.copy_variant(object, &variant, size, to, how);
            }
        }
        let bytes = self.read(object)?;
        copy::write_all(to, &bytes).map_err(StoreError::io("write a copy of", object.to_string()))
    }

    fn copy_variant(
        &self,
        object: &Digest,
        variant: &Variant,
        size: u64,
        to: &File,
        how: How,
    ) -> Result<(), StoreError> {
        let from = self.open_variant(object, variant)?;
        copy::contents(&from, to, size, how).map_err(|source| {
            let path = self.directory().join("objects").join(object_path(object, variant));
            StoreError::io("copy", path)(source)
        })
    }

    /// Says whether the store's file system can share blocks, by trying it with an object.
    pub(crate) fn try_clone(&self, object: &Digest, size: u64) -> bool {
        let tried = || -> Result<(), StoreError> {
            let work = Work::make(self)?;
            let file =
                durable::create(work.directory(), "clone").map_err(StoreError::io("make a file in", work.path()))?;
            self.copy_object(object, size, &file, How::Reflink)
        };
        let works = tried().is_ok();
        self.clones.store(if works { clones::YES } else { clones::NO }, Ordering::Relaxed);
        works
    }

    /// Opens the directory that holds the objects of one first byte, making it when it is missing.
    ///
    /// Returns whether it was made: `objects/` must be synced then.
    pub(crate) fn shard(&self, byte: u8) -> Result<(OwnedFd, bool), StoreError> {
        let name = format!("{byte:02x}");
        let failed = |action| StoreError::io(action, self.directory().join("objects").join(&name));
        let made = match rustix::fs::mkdirat(self.objects(), &name, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(failed("make")(error.into())),
        };
        let directory = durable::open_directory(self.objects().as_fd(), &name).map_err(failed("open"))?;
        Ok((directory, made))
    }

    pub(crate) fn missing(&self, object: &Digest) -> StoreError {
        StoreError::Missing { object: *object, directory: self.directory().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn variants_have_one_spelling() {
        for text in ["644", "755", "444", "640-0-42", "644-x00000000000000ff", "600-1-2-x0123456789abcdef"] {
            assert_eq!(Variant::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "0644", "644-", "644-1", "644-1-2-3", "644-xff", "9", "644-x", "+44", "644-+1-2"] {
            assert_eq!(Variant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_harmless_files_are_linked() {
        let none = BTreeMap::new();
        assert!(Variant::of_file(0o644, None, &none).is_some());
        for mode in [0o4755, 0o2755, 0o1644, 0o200, 0o044, 0] {
            assert_eq!(Variant::of_file(mode, None, &none), None, "{mode:o}");
        }
        let capability = BTreeMap::from([(b"security.capability".to_vec(), vec![1])]);
        assert_eq!(Variant::of_file(0o755, None, &capability), None);
        let noted = BTreeMap::from([(b"user.note".to_vec(), vec![1])]);
        assert_ne!(Variant::of_file(0o755, None, &noted), Variant::of_file(0o755, None, &none));
        assert_eq!(Variant::of_mode(0o4755).mode, 0o755);
        assert_eq!(Variant::of_mode(0o111).mode, PLAIN_MODE);
    }

    #[test]
    fn objects_are_verified_and_healed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let object = store.put_bytes(b"content").unwrap();
        assert_eq!(object.hex(), blake3::hash(b"content").to_hex().as_str());
        assert!(store.has(&object).unwrap());
        assert_eq!(store.read(&object).unwrap(), b"content");
        assert_eq!(store.object_size(&object).unwrap(), Some(7));
        let absent = Digest::blake3([0; 32]);
        assert!(!store.has(&absent).unwrap());
        assert!(matches!(store.read(&absent), Err(StoreError::Missing { .. })));

        let path = directory.path().join("objects").join(object_path(&object, &Variant::of_mode(0o444)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, b"CONTENT").unwrap();
        let error = store.read(&object).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.hint().unwrap().contains("verify"));
        assert_eq!(store.put_bytes(b"content").unwrap(), object);
        assert_eq!(store.read(&object).unwrap(), b"content");

        fs::remove_file(&path).unwrap();
        assert!(matches!(store.read(&object), Err(StoreError::Lost { .. })));
        assert!(matches!(store.open_object(&object), Err(StoreError::Lost { .. })));
        store.put_bytes(b"content").unwrap();
        assert_eq!(store.read(&object).unwrap(), b"content");
    }
}
