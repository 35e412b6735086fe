// store/src/verify.rs
//! Verification: every object against its name, every row against its file, every trove against its objects.
//!
//! Repair drops what is wrong and keeps every content that is whole somewhere: a damaged file goes when
//! another variant of the same content is whole, since variants are made when they are asked for. The last file of a
//! content goes too, because whoever adds the content again must not be told that it is here; the
//! troves that needed it go with it and are named.

mod shard;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use recipes::Digest;
use rustix::io::Errno;

use self::shard::Shard;
use crate::Store;
use crate::error::StoreError;
use crate::event::{Listener, nobody};
use crate::lock::Patience;
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
        let shards = self.verify_shards(options, alone, cancel)?;
        let mut whole = HashSet::new();
        for Shard { report: shard, whole: objects } in shards {
            report.files += shard.files;
            report.bytes += shard.bytes;
            report.repaired += shard.repaired;
            report.rescued += shard.rescued;
            report.problems.extend(shard.problems);
            report.lost.extend(shard.lost);
            whole.extend(objects);
        }
        for name in self.strays_beside_shards()? {
            let path = self.directory().join("objects").join(crate::ingest::shown(&name));
            report.problems.push(Problem::Stray { path });
            if options.repair && work::remove_all(self.objects(), &name).is_ok() {
                report.repaired += 1;
            }
        }
        self.verify_troves(options, &whole, &mut report)?;
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

    /// Compares troves with what they name.
    fn verify_troves(
        &self,
        options: &VerifyOptions<'_>,
        whole: &HashSet<Digest>,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let lost: HashSet<Digest> = report.lost.iter().copied().collect();
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
                    // What is in neither is condemned, or came while the files were compared.
                    let is_here =
                        |object: &Digest| Ok(!lost.contains(object) && (whole.contains(object) || self.has(object)?));
                    let absent = self.absent_object(&manifest, &is_here)?;
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

    /// Finds an object that a trove needs and that is not here.
    fn absent_object(
        &self,
        manifest: &crate::Manifest,
        is_here: &dyn Fn(&Digest) -> Result<bool, StoreError>,
    ) -> Result<Option<Digest>, StoreError> {
        for component in manifest.components.values() {
            let id = component.tree;
            if !is_here(&id)? {
                return Ok(Some(id));
            }
            let Ok(tree) = self.tree(&id) else { return Ok(Some(id)) };
            for object in tree.objects() {
                if !is_here(&object)? {
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
