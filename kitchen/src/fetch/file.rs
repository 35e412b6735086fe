// kitchen/src/fetch/file.rs
//! One file into the store, by what its bytes must be.
//!
//! A file on this machine is read (or known to be unchanged since it was). What the checksums of any other say is
//! looked for in this order, and every byte is hashed on its way in:
//!
//! 1. the store, which remembers what each claim turned out to be;
//! 2. the directories of distfiles, by the file's name;
//! 3. the place that the recipe names, behind configured mirrors and before the recipe's own;
//! 4. the directories of distfiles, whatever the file is called there.
//!
//! A claim that the store knows and a place that it was never had from is the mark of a URL that was changed and a
//! checksum that was forgotten: the claim is then checked again against that place. Bytes that differ are
//! an error. A file that was put into the store by hand, or came from a directory of distfiles, counts for any
//! place: whoever put it there vouched for it. When the place cannot be reached, the bytes in the store are what the checksum names and are used, and
//! an event says that nobody checked the new place; it is checked again the next time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use recipes::{Algorithm, Digest};
use rustix::fs::OFlags;
use store::{Batch, Hasher, ObjectWriter, SourceKind, SourceRow, StatFingerprint, Store};

use super::error::{FetchError, Tried};
use super::hashing::Hashing;
use super::http::{HttpError, Sink, redact};
use super::place::{Place, candidates};
use super::{Event, Fetching, How, Options};
use crate::shown::shown;

/// A file that is looked for.
pub(super) struct Wanted<'a> {
    pub(super) url: &'a str,
    pub(super) file_name: &'a str,
    /// All must hold; none only while a recipe is being pinned.
    pub(super) checksums: &'a [Digest],
    pub(super) mirrors: &'a [String],
}

/// A file that is in the store.
#[derive(Debug, Clone)]
pub(super) struct Obtained {
    pub(super) object: Digest,
    pub(super) size_bytes: u64,
    pub(super) origin: String,
    pub(super) how: How,
    pub(super) digests: BTreeMap<Algorithm, Digest>,
}

impl Fetching<'_> {
    /// Brings a file into the store, or finds it there.
    pub(super) fn file(&self, wanted: &Wanted) -> Result<Obtained, FetchError> {
        if let Place::Local(path) = Place::of(wanted.url, self.directory)? {
            match self.local_file(&path) {
                Ok((object, size_bytes)) => return self.claimed(wanted, &path, object, size_bytes),
                // It may be in the store by its claim, or among the distfiles.
                Err(FetchError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let stored = if self.options.refetch { None } else { self.stored(wanted)? };
        let Some(stored) = stored else {
            let obtained = self.find_anywhere(wanted)?;
            self.remember(wanted, &obtained)?;
            return Ok(obtained);
        };
        if is_known_from(wanted.url, wanted.checksums, self.store)? {
            return Ok(stored);
        }
        if !stored.origin.contains("://") {
            // Somebody put it here by hand, and vouched for it; no URL was changed behind a checksum's back.
            self.remember(wanted, &stored)?;
            return Ok(stored);
        }
        match self.find_anywhere(wanted) {
            Ok(again) => {
                self.remember(wanted, &again)?;
                Ok(again)
            }
            Err(
                FetchError::Unreachable { .. }
                | FetchError::Offline { .. }
                | FetchError::Scheme { .. }
                | FetchError::Missing { .. },
            ) => {
                (self.events)(Event::Unchecked {
                    file: shown(wanted.file_name.as_bytes()),
                    url: redact(wanted.url),
                    known_origin: stored.origin.clone(),
                });
                Ok(stored)
            }
            Err(error) => Err(error),
        }
    }

    /// Holds an object of this machine against the claims.
    fn claimed(&self, wanted: &Wanted, path: &Path, object: Digest, size_bytes: u64) -> Result<Obtained, FetchError> {
        let mut digests = BTreeMap::new();
        for algorithm in algorithms(wanted) {
            digests.insert(algorithm, self.store.digest_of(&object, algorithm)?);
        }
        let origin = path.display().to_string();
        check(wanted, &origin, &digests)?;
        let obtained = Obtained { object, size_bytes, origin, how: How::Local, digests };
        if wanted.checksums.first().is_some_and(
            |claim| !matches!(self.store.source(&claim.to_string()), Ok(Some(row)) if row.object == object),
        ) {
            self.remember(wanted, &obtained)?;
        }
        Ok(obtained)
    }

    /// Brings a regular file of this machine into the store, unless it is known to be there unchanged.
    pub(super) fn local_file(&self, path: &Path) -> Result<(Digest, u64), FetchError> {
        let failed = |source| FetchError::Read { path: path.to_owned(), source };
        let (mut file, size) = open_regular(path)?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        let before = StatFingerprint::of(&file.metadata().map_err(failed)?);
        if let Some(object) = self.store.cached_stat(&absolute, &before)?
            && self.store.has(&object)?
        {
            return Ok((object, size));
        }
        let batch = self.store.batch()?;
        let mut writer = batch.writer(0o644);
        self.each_piece(&mut file, path, |piece| Ok(writer.push(piece)?))?;
        let (object, size) = writer.finish()?;
        if StatFingerprint::of(&file.metadata().map_err(failed)?) != before {
            return Err(FetchError::Changed { path: path.to_owned() });
        }
        batch.commit()?;
        self.store.remember_stat(&absolute, &before, &object)?;
        Ok((object, size))
    }

    /// What the store knows about all of the claims.
    fn stored(&self, wanted: &Wanted) -> Result<Option<Obtained>, FetchError> {
        let mut found: Option<SourceRow> = None;
        for claim in wanted.checksums {
            let row = self.store.source(&claim.to_string())?.filter(|row| row.kind == SourceKind::File);
            if let Some(row) = row
                && self.store.has(&row.object)?
            {
                found = Some(row);
                break;
            }
        }
        let Some(row) = found else { return Ok(None) };
        let mut digests = BTreeMap::new();
        for claim in wanted.checksums {
            digests.insert(claim.algorithm(), self.store.digest_of(&row.object, claim.algorithm())?);
        }
        check(wanted, &row.origin, &digests)?;
        Ok(Some(Obtained {
            object: row.object,
            size_bytes: row.size_bytes,
            origin: row.origin,
            how: How::Stored,
            digests,
        }))
    }

    /// Writes down what the claims turned out to be, and that they held for this place.
    pub(super) fn remember(&self, wanted: &Wanted, obtained: &Obtained) -> Result<(), FetchError> {
        let row = SourceRow {
            object: obtained.object,
            size_bytes: obtained.size_bytes,
            kind: SourceKind::File,
            origin: obtained.origin.clone(),
            file_name: wanted.file_name.to_owned(),
        };
        for digest in obtained.digests.values() {
            self.store.remember_digest(&obtained.object, digest)?;
            self.store.record_source(&digest.to_string(), &row)?;
        }
        if let Some(claim) = wanted.checksums.first() {
            self.store.record_source(&accepted(claim, wanted.url), &row)?;
        }
        Ok(())
    }

    pub(super) fn find_anywhere(&self, wanted: &Wanted) -> Result<Obtained, FetchError> {
        let mut wrong = None;
        for directory in &self.options.distfiles {
            match self.read_checked(&directory.join(wanted.file_name), wanted, How::Distfiles) {
                Ok(obtained) => return Ok(obtained),
                // A stale copy by that name; the real one may still be had.
                Err(error @ FetchError::Mismatch { .. }) => wrong = Some(error),
                Err(FetchError::Missing { .. } | FetchError::Kind { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let failed = match self.try_places(wanted) {
            Err(
                error @ (FetchError::Unreachable { .. }
                | FetchError::Offline { .. }
                | FetchError::Scheme { .. }
                | FetchError::Missing { .. }),
            ) => error,
            done => return done,
        };
        if !wanted.checksums.is_empty()
            && let Some(obtained) = self.search_distfiles(wanted)?
        {
            return Ok(obtained);
        }
        Err(wrong.unwrap_or(failed))
    }

    /// Tries the place that the recipe names and its mirrors.
    fn try_places(&self, wanted: &Wanted) -> Result<Obtained, FetchError> {
        let mut tried = Vec::new();
        let mut first_failure = None;
        let mut is_offline = false;
        for place in candidates(wanted.url, wanted.file_name, wanted.mirrors, &self.mirrors) {
            let result = match Place::of(&place, self.directory)? {
                Place::Local(path) => self.read_checked(&path, wanted, How::Local),
                Place::Web(_) if self.options.offline => {
                    is_offline = true;
                    continue;
                }
                Place::Web(url) => match self.download_checked(&url, wanted) {
                    Ok(result) => result,
                    Err(error) => {
                        if let Some(error) = FetchError::of_http(&error) {
                            return Err(error);
                        }
                        if let HttpError::Sink(_) = &error {
                            return Err(FetchError::Read {
                                path: PathBuf::from(&url),
                                source: io::Error::other(error),
                            });
                        }
                        tried.push(Tried { url: redact(&url), reason: error.to_string() });
                        continue;
                    }
                },
                Place::Other(url) => Err(FetchError::Scheme {
                    url: redact(&url),
                    reason: "only http, https and local files are fetched",
                }),
            };
            match result {
                Ok(obtained) => return Ok(obtained),
                Err(FetchError::Cancelled) => return Err(FetchError::Cancelled),
                Err(error) => {
                    (self.events)(Event::PlaceFailed {
                        file: shown(wanted.file_name.as_bytes()),
                        url: redact(&place),
                        reason: error.to_string(),
                    });
                    // What a place gave that is wrong says more than what another did not give.
                    let says_more = matches!(error, FetchError::Mismatch { .. }) || first_failure.is_none();
                    if says_more && !matches!(first_failure, Some(FetchError::Mismatch { .. })) {
                        first_failure = Some(error);
                    }
                }
            }
        }
        let file = shown(wanted.file_name.as_bytes());
        Err(match first_failure {
            Some(error @ FetchError::Mismatch { .. }) => error,
            _ if !tried.is_empty() => FetchError::Unreachable { file, tried },
            _ if is_offline => FetchError::Offline { file, url: redact(wanted.url) },
            Some(error) => error,
            None => FetchError::Unreachable { file, tried },
        })
    }

    /// Downloads and checks; a failure to download is the outer error, a failure to check the inner one.
    fn download_checked(&self, url: &str, wanted: &Wanted) -> Result<Result<Obtained, FetchError>, HttpError> {
        let name = shown(wanted.file_name.as_bytes());
        (self.events)(Event::Started { file: name.clone(), url: redact(url) });
        let batch = match self.store.batch() {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut landing = Landing::new(&batch, wanted);
        let landed = self.http.download(url, &name, &mut landing)?;
        Ok(landing.settle().and_then(|(object, size_bytes, digests)| {
            check(wanted, &redact(&landed), &digests)?;
            batch.commit()?;
            Ok(Obtained { object, size_bytes, origin: redact(&landed), how: How::Network, digests })
        }))
    }

    /// Reads and checks one file of this machine.
    fn read_checked(&self, path: &Path, wanted: &Wanted, how: How) -> Result<Obtained, FetchError> {
        let (mut file, size) = open_regular(path)?;
        let batch = self.store.batch()?;
        let mut landing = Landing::new(&batch, wanted);
        let name = shown(wanted.file_name.as_bytes());
        self.each_piece(&mut file, path, |piece| {
            landing.push(piece).map_err(|source| FetchError::Read { path: path.to_owned(), source })?;
            (self.events)(Event::Progress { file: name.clone(), done_bytes: landing.done(), total_bytes: Some(size) });
            Ok(())
        })?;
        let (object, size_bytes, digests) = landing.settle()?;
        let origin = path.display().to_string();
        check(wanted, &origin, &digests)?;
        batch.commit()?;
        Ok(Obtained { object, size_bytes, origin, how, digests })
    }

    /// Looks through the directories of distfiles for a file with the right bytes, in the order of names.
    fn search_distfiles(&self, wanted: &Wanted) -> Result<Option<Obtained>, FetchError> {
        for directory in &self.options.distfiles {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                if self.has_digest(&path, &wanted.checksums[0])? {
                    return self.read_checked(&path, wanted, How::Distfiles).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Whether a file has a digest; what cannot be read has not.
    fn has_digest(&self, path: &Path, expected: &Digest) -> Result<bool, FetchError> {
        let Ok((mut file, _)) = open_regular(path) else { return Ok(false) };
        let mut hasher = Hasher::new(expected.algorithm());
        let read = self.each_piece(&mut file, path, |piece| {
            hasher.update(piece);
            Ok(())
        });
        match read {
            Ok(()) => Ok(hasher.finish() == *expected),
            Err(FetchError::Cancelled) => Err(FetchError::Cancelled),
            Err(_) => Ok(false),
        }
    }

    /// Reads a file to its end, piece by piece, until the caller cancels.
    pub(super) fn each_piece(
        &self,
        file: &mut impl Read,
        path: &Path,
        mut work: impl FnMut(&[u8]) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(FetchError::Cancelled);
            }
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => work(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(FetchError::Read { path: path.to_owned(), source }),
            }
        }
    }
}

/// Opens a regular file, without waiting for the other end of a FIFO.
pub(super) fn open_regular(path: &Path) -> Result<(File, u64), FetchError> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => FetchError::Missing { path: path.to_owned() },
        _ => FetchError::Read { path: path.to_owned(), source },
    })?;
    let metadata = file.metadata().map_err(|source| FetchError::Read { path: path.to_owned(), source })?;
    if !metadata.is_file() {
        return Err(FetchError::Kind { path: path.to_owned(), wanted: "a regular file" });
    }
    Ok((file, metadata.len()))
}

/// Whether the store has had what these checksums name from this place before, so that a fetch need not look there.
///
/// # Errors
/// [`FetchError::Store`].
pub(super) fn is_known_from(url: &str, checksums: &[Digest], store: &Store) -> Result<bool, FetchError> {
    match checksums.first() {
        Some(claim) => Ok(store.source(&accepted(claim, url))?.is_some()),
        None => Ok(false),
    }
}

/// The row that says that a claim held for a place.
fn accepted(claim: &Digest, url: &str) -> String {
    format!("{claim} {url}")
}

/// Holds the digests against every claim.
fn check(wanted: &Wanted, origin: &str, digests: &BTreeMap<Algorithm, Digest>) -> Result<(), FetchError> {
    for expected in wanted.checksums {
        let actual = digests[&expected.algorithm()];
        if actual != *expected {
            return Err(mismatch(wanted, origin, expected, actual));
        }
    }
    Ok(())
}

fn mismatch(wanted: &Wanted, origin: &str, expected: &Digest, actual: Digest) -> FetchError {
    FetchError::Mismatch {
        file: shown(wanted.file_name.as_bytes()),
        origin: origin.to_owned(),
        expected: *expected,
        actual,
    }
}

/// The algorithms of the claims, or the one that recipes use while nobody claims anything yet.
fn algorithms(wanted: &Wanted) -> Vec<Algorithm> {
    if wanted.checksums.is_empty() {
        return vec![Algorithm::Sha256];
    }
    wanted.checksums.iter().map(Digest::algorithm).collect()
}

/// A file that was put into the store by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What the file is called.
    pub file_name: String,
    /// Its object.
    pub object: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest by every algorithm that a recipe may use.
    pub digests: Vec<Digest>,
}

/// Puts a distfile into the store, where any checksum of a recipe finds it.
///
/// # Errors
/// [`FetchError`]: it is no regular file, cannot be read, or the store cannot be written.
pub fn add(path: &Path, store: &Store, cancel: &AtomicBool, events: &dyn Fn(Event)) -> Result<Added, FetchError> {
    let options = Options::default();
    let fetching = Fetching::new(store, Path::new("."), &options, cancel, events)?;
    let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (mut file, size) = open_regular(path)?;
    let batch = store.batch()?;
    let mut landing = Landing {
        batch: &batch,
        algorithms: Vec::new(),
        writer: batch.writer(0o644),
        hashing: Hashing::new(&Algorithm::ALL),
        done: 0,
    };
    fetching.each_piece(&mut file, path, |piece| {
        landing.push(piece).map_err(|source| FetchError::Read { path: path.to_owned(), source })?;
        events(Event::Progress {
            file: shown(file_name.as_bytes()),
            done_bytes: landing.done(),
            total_bytes: Some(size),
        });
        Ok(())
    })?;
    let (object, size_bytes, digests) = landing.settle()?;
    batch.commit()?;
    let wanted = Wanted { url: "", file_name: &file_name, checksums: &[], mirrors: &[] };
    let obtained = Obtained { object, size_bytes, origin: path.display().to_string(), how: How::Local, digests };
    fetching.remember(&wanted, &obtained)?;
    Ok(Added { object, size_bytes, digests: obtained.digests.into_values().collect(), file_name })
}

/// A file on its way into the store.
struct Landing<'b, 's> {
    batch: &'b Batch<'s>,
    algorithms: Vec<Algorithm>,
    writer: ObjectWriter<'b, 's>,
    hashing: Hashing,
    done: u64,
}

impl<'b, 's> Landing<'b, 's> {
    fn new(batch: &'b Batch<'s>, wanted: &Wanted) -> Self {
        let algorithms = algorithms(wanted);
        Self { batch, writer: batch.writer(0o644), hashing: Hashing::new(&algorithms), algorithms, done: 0 }
    }

    fn settle(self) -> Result<(Digest, u64, BTreeMap<Algorithm, Digest>), FetchError> {
        let (object, size) = self.writer.finish()?;
        Ok((object, size, self.hashing.finish(object)))
    }
}

impl Sink for Landing<'_, '_> {
    fn done(&self) -> u64 {
        self.done
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.push(bytes).map_err(io::Error::other)?;
        self.hashing.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) {
        self.writer = self.batch.writer(0o644);
        self.hashing = Hashing::new(&self.algorithms);
        self.done = 0;
    }
}
