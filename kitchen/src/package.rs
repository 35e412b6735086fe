// kitchen/src/package.rs
//! The package file of a trove, in a directory of the user's.
//!
//! It is written under a temporary name beside its place and then renamed, so that a name ending in
//! `.ccs` is always a whole package. A package that already lies there, with the digest that this cook's
//! package has, is left alone.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use recipes::Digest;
use store::ccs::{self, CcsError};
use store::{Batch, Manifest, StatFingerprint, Store, StoreError, durable};

/// A package file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The directory or the file.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The contents.
    #[error(transparent)]
    Ccs(#[from] CcsError),
    /// The store's memory of files.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PackageError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Write { .. } => Some("name a directory that you may write with `--output`".to_owned()),
            Self::Ccs(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// A package file that is in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFile {
    /// Where.
    pub path: PathBuf,
    /// Digest of the file.
    pub digest: Digest,
    /// True if it had to be written.
    pub written: bool,
}

/// Puts the package of a trove into `directory`, which is made when missing; its trees may be in a batch that is `coming`.
///
/// `known` is the digest that this trove's package had before, if it was ever written: with it, a file
/// in place is recognised by its inode and times, or by its content.
///
/// # Errors
/// [`PackageError::Write`] if the directory or the file cannot be written.
pub fn put(
    store: &Store,
    coming: Option<&Batch<'_>>,
    manifest: &Manifest,
    directory: &Path,
    known: Option<&Digest>,
    cancel: &AtomicBool,
) -> Result<PackageFile, PackageError> {
    let path = directory.join(manifest.file_name());
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PackageError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let absolute = std::path::absolute(&path).map_err(failed(&path))?;
    if let Some(known) = known
        && lies_there(store, &absolute, known)?
    {
        return Ok(PackageFile { path, digest: *known, written: false });
    }
    let mut temporary =
        tempfile::Builder::new().prefix(".conary-").suffix(".tmp").tempfile_in(directory).map_err(failed(directory))?;
    let mut output = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
    let written = ccs::write(store, coming, manifest, &mut output, &ccs::WriteOptions::default(), cancel)?;
    output.flush().map_err(failed(&path))?;
    drop(output);
    finish(&temporary, directory, &manifest.file_name()).map_err(failed(&path))?;
    // The name is in place; the temporary has nothing left to remove.
    let _ = temporary.into_temp_path().keep();
    remember(store, &absolute, &written.digest)?;
    Ok(PackageFile { path, digest: written.digest, written: true })
}

/// Makes the file readable and durable and gives it its name.
fn finish(temporary: &tempfile::NamedTempFile, directory: &Path, name: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    durable::sync_file(temporary.as_file())?;
    let directory = File::open(directory)?;
    let from = temporary.path().file_name().unwrap_or_default();
    durable::rename(&directory, from, &directory, name)?;
    durable::sync_directory(&directory)
}

/// True if the file in place is this cook's package.
fn lies_there(store: &Store, path: &Path, known: &Digest) -> Result<bool, PackageError> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(false) };
    if !about.is_file() {
        return Ok(false);
    }
    let now = StatFingerprint::of(&about);
    if let Some(seen) = store.cached_stat(path, &now)? {
        return Ok(seen == *known);
    }
    let mut hasher = blake3::Hasher::new();
    let same = File::open(path)
        .and_then(|file| hasher.update_reader(file).map(|h| Digest::blake3(*h.finalize().as_bytes())))
        .is_ok_and(|digest| digest == *known);
    if same {
        store.remember_stat(path, &now, known)?;
    }
    Ok(same)
}

fn remember(store: &Store, path: &Path, digest: &Digest) -> Result<(), PackageError> {
    if let Ok(about) = fs::symlink_metadata(path) {
        store.remember_stat(path, &StatFingerprint::of(&about), digest)?;
    }
    Ok(())
}
