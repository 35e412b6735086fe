// store/src/verify.rs
//! Verification: every object against its name, every row against its file, every trove against its objects.
//!
//! Repair drops what is wrong and keeps every content that is whole somewhere: a damaged file goes when
//! another variant of the same content is whole, since variants are made when they are asked for. The last file of a
//! content goes too, because whoever adds the content again must not be told that it is here; the
//! troves that needed it go with it and are named.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use rusqlite::params;
use rustix::io::Errno;

use crate::Store;
use crate::copy;
use crate::durable;
use crate::error::StoreError;
use crate::event::{Event, Listener, nobody};
use crate::lock::Patience;
use crate::shards::{ObjectRow, Shard};
use crate::work;

/// Finds a content somewhere else, where somebody still has it.
pub type Rescue<'a> = &'a (dyn Fn(&Digest) -> Option<Vec<u8>> + Sync);

/// How to verify a store.
#[derive(Clone)]
pub struct VerifyOptions<'a> {
    /// Mends what can be mended; holds the lease alone meanwhile.
    pub repair: bool,
    /// How long to wait for processes that are adding something.
    pub timeout_secs: u32,
    /// Asked for contents whose last file is damaged, before they are dropped. What it gives is hashed.
    pub rescue: Rescue<'a>,
    /// Hears of every object that was compared.
    pub events: Listener<'a>,
}

impl Default for VerifyOptions<'_> {
    fn default() -> Self {
        Self { repair: false, timeout_secs: 60, rescue: &|_| None, events: &nobody }
    }
}

/// Something in a store that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// A file's bytes are not what its name says.
    #[error("{} holds {actual} instead of {object}", path.display())]
    Damaged {
        /// What it should hold.
        object: Digest,
        /// What it holds.
        actual: Digest,
        /// The file.
        path: PathBuf,
    },
    /// A file of an object is gone, or something that is no file stands in its place.
    #[error("{} is missing, the file of {object}", path.display())]
    Lost {
        /// The object.
        object: Digest,
        /// Where its file should be.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The object.
        object: Digest,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        reason: String,
    },
    /// The bytes are right; mode, owner or time are not.
    #[error("{} has another mode, owner or time than the store gave it", path.display())]
    Touched {
        /// The object.
        object: Digest,
        /// The file.
        path: PathBuf,
    },
    /// A row about an object that no version of Conary writes.
    #[error("the row about {object} names a variant `{variant}` that there cannot be")]
    BadRow {
        /// The object.
        object: Digest,
        /// The text.
        variant: String,
    },
    /// A file without a row.
    #[error("{} belongs to no object", path.display())]
    Stray {
        /// The file.
        path: PathBuf,
    },
    /// A trove needs an object that the store does not have, or not whole.
    #[error("{trove} needs {object}, which is not here")]
    Incomplete {
        /// The trove, as people write it.
        trove: String,
        /// Its id.
        id: Digest,
        /// The object.
        object: Digest,
    },
    /// A trove's row is not what its id says.
    #[error("the row about trove {id} is damaged")]
    BadTrove {
        /// The trove.
        id: Digest,
    },
    /// The database finds fault with itself.
    #[error("the database is damaged: {report}")]
    Database {
        /// What it says.
        report: String,
    },
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Files compared with their names.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, in a fixed order.
    pub problems: Vec<Problem>,
    /// How many of these were mended: the store is consistent without them.
    pub repaired: u64,
    /// Contents that came back from somewhere else.
    pub rescued: u64,
    /// Contents that are lost: no whole file of them was left.
    pub lost: Vec<Digest>,
}

impl Store {
    /// Compares everything in the store with what it should be, on all cores.
    ///
    /// # Errors
    /// [`StoreError`] when the comparison itself fails; what is found wrong is in the report.
    pub fn verify(
        &self,
        options: &VerifyOptions<'_>,
        waiting: &mut dyn FnMut(&str),
        cancel: &AtomicBool,
    ) -> Result<VerifyReport, StoreError> {
        if options.repair {
            self.writable()?;
            let timeout_secs = Some(options.timeout_secs);
            let _lease = self.lease_alone(&mut Patience { waiting, cancel, timeout_secs })?;
            let alone = self.oldest_held()?.is_none();
            return self.verify_all(options, alone, cancel);
        }
        let hold = self.hold()?;
        let mut report = self.verify_all(options, true, cancel)?;
        drop(hold);
        self.drop_false_strays(&mut report, waiting, cancel, options.timeout_secs)?;
        Ok(report)
    }

    /// Compares everything; `alone` says that no command under way may be writing a file that has no row yet.
    fn verify_all(
        &self,
        options: &VerifyOptions<'_>,
        alone: bool,
        cancel: &AtomicBool,
    ) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        self.verify_database(&mut report)?;
        let shards: Vec<VerifyReport> = (0..=255_u8)
            .into_par_iter()
            .map(|byte| self.verify_shard(byte, options, alone, cancel))
            .collect::<Result<_, _>>()?;
        for shard in shards {
            report.files += shard.files;
            report.bytes += shard.bytes;
            report.repaired += shard.repaired;
            report.rescued += shard.rescued;
            report.problems.extend(shard.problems);
            report.lost.extend(shard.lost);
        }
        for name in self.strays_beside_shards()? {
            let path = self.directory().join("objects").join(crate::ingest::shown(&name));
            report.problems.push(Problem::Stray { path });
            if options.repair && work::remove_all(self.objects(), &name).is_ok() {
                report.repaired += 1;
            }
        }
        self.verify_troves(options, &mut report)?;
        report.problems.sort_unstable();
        report.lost.sort_unstable();
        Ok(report)
    }

    fn verify_database(&self, report: &mut VerifyReport) -> Result<(), StoreError> {
        let lines: Vec<String> = self.database().read("check itself", |connection| {
            let check = "PRAGMA integrity_check(20)";
            connection.prepare(check)?.query_map([], |row| row.get(0))?.collect()
        })?;
        let faults = lines.into_iter().filter(|line| line != "ok");
        report.problems.extend(faults.map(|report| Problem::Database { report }));
        Ok(())
    }

    fn verify_shard(
        &self,
        byte: u8,
        options: &VerifyOptions<'_>,
        alone: bool,
        cancel: &AtomicBool,
    ) -> Result<VerifyReport, StoreError> {
        let shard = self.shard_with_files(byte)?;
        let mut report = VerifyReport::default();
        let found: Vec<Option<Problem>> = shard
            .rows
            .par_iter()
            .map(|row| {
                if cancel.load(Ordering::Relaxed) {
                    return Err(StoreError::Interrupted);
                }
                (options.events)(Event::Verified { bytes: row.size });
                Ok(self.verify_file(&shard, row))
            })
            .collect::<Result<_, _>>()?;
        let mut whole: HashMap<Digest, bool> = HashMap::new();
        for (row, problem) in shard.rows.iter().zip(&found) {
            report.files += 1;
            report.bytes += row.size;
            let sound = matches!(problem, None | Some(Problem::Touched { .. }));
            *whole.entry(row.object).or_default() |= sound;
        }
        report.lost = whole.iter().filter(|(_, whole)| !**whole).map(|(object, _)| *object).collect();
        if options.repair {
            let mut back: HashMap<Digest, Vec<u8>> = HashMap::new();
            for object in &report.lost {
                let bytes = (options.rescue)(object);
                // A reader of other places is believed no more than the disk.
                let bytes = bytes.filter(|bytes| Digest::blake3(*blake3::hash(bytes).as_bytes()) == *object);
                back.extend(bytes.map(|bytes| (*object, bytes)));
            }
            let mut rescued = std::collections::HashSet::new();
            for (row, problem) in shard.rows.iter().zip(&found) {
                let Some(problem) = problem else { continue };
                if let Some(bytes) = back.get(&row.object)
                    && self.rewrite(row, bytes)?
                {
                    rescued.insert(row.object);
                    report.repaired += 1;
                    continue;
                }
                report.repaired += u64::from(self.repair_file(&shard, row, problem)?);
            }
            report.rescued = rescued.len() as u64;
            report.lost.retain(|object| !rescued.contains(object));
        }
        for stray in shard.strays.iter().filter(|_| alone) {
            let path = shard.path(self).join(crate::ingest::shown(stray));
            report.problems.push(Problem::Stray { path });
            if options.repair {
                shard.remove(self, stray)?;
                report.repaired += 1;
            }
        }
        report.problems.extend(found.into_iter().flatten());
        Ok(report)
    }

    /// Compares one file with its row.
    fn verify_file(&self, shard: &Shard, row: &ObjectRow) -> Option<Problem> {
        let object = row.object;
        let path = self.row_path(row);
        let Some(variant) = row.variant() else {
            return Some(Problem::BadRow { object, variant: row.variant.clone() });
        };
        let name = row.file_name();
        let stat = shard.stat(name.as_bytes());
        let Some(stat) = stat.filter(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file()) else {
            return Some(Problem::Lost { object, path });
        };
        match self.hash_file(row, &variant) {
            Err(error) => Some(Problem::Unreadable { object, path, reason: error }),
            Ok(actual) if actual != object => Some(Problem::Damaged { object, actual, path }),
            Ok(_) if !variant.fits(&stat, row.size, self.owner()) => Some(Problem::Touched { object, path }),
            Ok(_) => None,
        }
    }

    fn hash_file(&self, row: &ObjectRow, variant: &crate::cas::Variant) -> Result<Digest, String> {
        let mut file = self.open_variant(&row.object, variant).map_err(|error| {
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        let mut hasher = blake3::Hasher::new();
        // Most files are small, and clearing a large buffer costs more than reading one.
        let mut buffer = vec![0; usize::try_from(row.size).unwrap_or(usize::MAX).clamp(1 << 10, 256 << 10)];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Digest::blake3(*hasher.finalize().as_bytes())),
                Ok(read) => drop(hasher.update(&buffer[..read])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Puts the file of a row anew; not one with attributes, whose values are gone with it.
    fn rewrite(&self, row: &ObjectRow, bytes: &[u8]) -> Result<bool, StoreError> {
        let Some(variant) = row.variant().filter(|_| !row.variant.contains('x') && row.size == bytes.len() as u64)
        else {
            return Ok(false);
        };
        let work = work::Work::make(self)?;
        let failed = |action| StoreError::io(action, self.row_path(row));
        let mut file = durable::create(work.directory(), "0").map_err(failed("make"))?;
        file.write_all(bytes).map_err(failed("write"))?;
        let owner = variant.owner.or((self.owner() == (0, 0)).then_some((0, 0)));
        copy::finish(&file, variant.mode, owner, &std::collections::BTreeMap::new()).map_err(failed("finish"))?;
        durable::sync_file(&file).map_err(failed("sync"))?;
        let (directory, _) = self.shard(row.object.as_bytes()[0])?;
        // Whatever stands there instead, a directory too, makes room.
        let name = row.file_name();
        match work::remove_all(std::os::fd::AsFd::as_fd(&directory), name.as_bytes()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("remove")(error.into())),
        }
        durable::rename(work.directory(), "0", &directory, name.as_str()).map_err(failed("name"))?;
        durable::sync_directory(&directory).map_err(failed("sync"))?;
        Ok(true)
    }

    /// Mends one file; says whether nothing is wrong any more.
    fn repair_file(&self, shard: &Shard, row: &ObjectRow, problem: &Problem) -> Result<bool, StoreError> {
        if let (Problem::Touched { path, .. }, Some(variant)) = (problem, row.variant()) {
            let file = self.open_variant(&row.object, &variant)?;
            let actual = u64::try_from(rustix::fs::fstat(&file).map_or(0, |stat| stat.st_size));
            if actual == Ok(row.size) {
                let owner = variant.owner.or((self.owner() == (0, 0)).then_some((0, 0)));
                let mended = copy::finish(&file, variant.mode, owner, &std::collections::BTreeMap::new());
                mended.map_err(StoreError::io("mend", path))?;
                return Ok(true);
            }
        }
        // The row first: a row without a file is damage, a file without a row is garbage.
        self.database().write("drop a damaged object", |transaction| {
            transaction
                .prepare_cached("DELETE FROM objects WHERE digest = ? AND variant = ?")?
                .execute(params![row.object.as_bytes(), row.variant])
        })?;
        if row.variant().is_some() {
            shard.remove(self, row.file_name().as_bytes())?;
        }
        Ok(true)
    }

    /// Compares troves with what they name.
    fn verify_troves(&self, options: &VerifyOptions<'_>, report: &mut VerifyReport) -> Result<(), StoreError> {
        let ids: Vec<Digest> = self.database().read("list troves", |connection| {
            connection
                .prepare("SELECT id FROM troves ORDER BY id")?
                .query_map([], |row| crate::database::digest(row, 0))?
                .collect()
        })?;
        for id in ids {
            let problem = match self.trove(&id) {
                Err(StoreError::Row { .. } | StoreError::Manifest { .. }) => Some(Problem::BadTrove { id }),
                Err(error) => return Err(error),
                Ok(manifest) => {
                    let lost = |object: &Digest| report.lost.contains(object);
                    let absent = self.absent_object(&manifest, &lost)?;
                    absent.map(|object| Problem::Incomplete { trove: manifest.spec().to_string(), id, object })
                }
            };
            let Some(problem) = problem else { continue };
            report.problems.push(problem);
            if options.repair {
                self.database().write("drop a damaged trove", |transaction| {
                    transaction.execute("DELETE FROM troves WHERE id = ?", [id.as_bytes()])
                })?;
                report.repaired += 1;
            }
        }
        Ok(())
    }

    /// Finds an object that a trove needs and that is not here, or is lost.
    fn absent_object(
        &self,
        manifest: &crate::Manifest,
        lost: &dyn Fn(&Digest) -> bool,
    ) -> Result<Option<Digest>, StoreError> {
        for component in manifest.components.values() {
            let id = component.tree;
            if lost(&id) || !self.has(&id)? {
                return Ok(Some(id));
            }
            let Ok(tree) = self.tree(&id) else { return Ok(Some(id)) };
            for object in tree.objects() {
                if lost(&object) || !self.has(&object)? {
                    return Ok(Some(object));
                }
            }
        }
        Ok(None)
    }

    /// Forgets files that looked like strays because their rows were not yet committed.
    fn drop_false_strays(
        &self,
        report: &mut VerifyReport,
        waiting: &mut dyn FnMut(&str),
        cancel: &AtomicBool,
        timeout_secs: u32,
    ) -> Result<(), StoreError> {
        let stray = |problem: &Problem| matches!(problem, Problem::Stray { .. });
        if !report.problems.iter().any(stray) {
            return Ok(());
        }
        let timeout_secs = Some(timeout_secs);
        let _lease = match self.lease_alone(&mut Patience { waiting, cancel, timeout_secs }) {
            // A medium that nobody writes to has no lease, or one that this user may not take.
            Err(StoreError::Io { .. }) if self.is_read_only() => return Ok(()),
            lease => lease?,
        };
        let objects = self.directory().join("objects");
        let mut failure = None;
        if self.oldest_held()?.is_some() {
            // A command under way may be writing what lies among the objects.
            let among =
                |problem: &Problem| matches!(problem, Problem::Stray { path } if path.parent() != Some(&*objects));
            report.problems.retain(|problem| !among(problem));
            return Ok(());
        }
        report.problems.retain(|problem| {
            let Problem::Stray { path } = problem else { return true };
            let byte = path.parent().and_then(|parent| {
                let name = parent.strip_prefix(&objects).ok()?.to_str()?;
                u8::from_str_radix(name, 16).ok()
            });
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let gone = matches!(rustix::fs::lstat(path), Err(Errno::NOENT));
            let known = byte.map_or(Ok(false), |byte| self.has_row(byte, name));
            match known {
                Ok(known) => !known && !gone,
                Err(error) => {
                    failure = Some(error);
                    true
                }
            }
        });
        failure.map_or(Ok(()), Err)
    }
}
