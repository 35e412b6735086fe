// store/src/verify/shard.rs
//! Files compared with their rows, and mended, one first byte at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use rusqlite::params;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Problem, VerifyOptions, VerifyReport};
use crate::Store;
use crate::copy;
use crate::durable;
use crate::error::StoreError;
use crate::event::Event;
use crate::pool::Pool;
use crate::shards::{self, ObjectRow};
use crate::work;

/// How much of a file is read at once.
const PIECE_BYTES: usize = 64 << 10;

/// What threads read into.
type Buffers = Pool<Vec<u8>, fn() -> Result<Vec<u8>, StoreError>>;

/// What was found of one first byte.
pub(super) struct Shard {
    pub(super) report: VerifyReport,
    /// Contents that have a file whose bytes are right.
    pub(super) whole: Vec<Digest>,
}

impl Store {
    /// Compares all files with their rows, on all cores.
    pub(super) fn verify_shards(
        &self,
        options: &VerifyOptions<'_>,
        alone: bool,
        cancel: &AtomicBool,
    ) -> Result<Vec<Shard>, StoreError> {
        let buffers: Buffers = Pool::new(|| Ok(vec![0; PIECE_BYTES]));
        (0..=255_u8).into_par_iter().map(|byte| self.verify_shard(byte, options, alone, cancel, &buffers)).collect()
    }

    /// Compares the files of one first byte.
    fn verify_shard(
        &self,
        byte: u8,
        options: &VerifyOptions<'_>,
        alone: bool,
        cancel: &AtomicBool,
        buffers: &Buffers,
    ) -> Result<Shard, StoreError> {
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
                buffers.with(|buffer| Ok(self.verify_file(&shard, row, buffer)))
            })
            .collect::<Result<_, _>>()?;
        let mut whole: HashMap<Digest, bool> = HashMap::with_capacity(found.len());
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
            let mut rescued = HashSet::new();
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
        let whole = whole.into_iter().filter(|(_, whole)| *whole).map(|(object, _)| object).collect();
        Ok(Shard { report, whole })
    }

    /// Compares one file with its row.
    fn verify_file(&self, shard: &shards::Shard, row: &ObjectRow, buffer: &mut [u8]) -> Option<Problem> {
        let (object, path) = (row.object, || self.row_path(row));
        let Some(variant) = row.variant() else {
            return Some(Problem::BadRow { object, variant: row.variant.clone() });
        };
        let unreadable =
            |error: io::Error| Some(Problem::Unreadable { object, path: path(), reason: error.to_string() });
        let lost = || Some(Problem::Lost { object, path: path() });
        let Some(directory) = &shard.directory else { return lost() };
        // What took the file's place may be a pipe that nobody writes to.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, row.file_name(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return lost(),
            Err(error) => return unreadable(error.into()),
        };
        let stat = match rustix::fs::fstat(&file) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => stat,
            Ok(_) => return lost(),
            Err(error) => return unreadable(error.into()),
        };
        match hash(&file, u64::try_from(stat.st_size).unwrap_or(0), buffer) {
            Err(error) => unreadable(error),
            Ok(actual) if actual != object => Some(Problem::Damaged { object, actual, path: path() }),
            Ok(_) if !variant.fits(&stat, row.size, self.owner()) => Some(Problem::Touched { object, path: path() }),
            Ok(_) => None,
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
        let file = durable::create(work.directory(), "0").map_err(failed("make"))?;
        copy::write_all(&file, bytes).map_err(failed("write"))?;
        let owner = variant.owner.or((self.owner() == (0, 0)).then_some((0, 0)));
        copy::finish(&file, variant.mode, owner, &BTreeMap::new()).map_err(failed("finish"))?;
        durable::sync_file(&file).map_err(failed("sync"))?;
        let (directory, _) = self.shard(row.object.as_bytes()[0])?;
        // Whatever stands there instead, a directory too, makes room.
        let name = row.file_name();
        match work::remove_all(directory.as_fd(), name.as_bytes()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("remove")(error.into())),
        }
        durable::rename(work.directory(), "0", &directory, name.as_str()).map_err(failed("name"))?;
        durable::sync_directory(&directory).map_err(failed("sync"))?;
        Ok(true)
    }

    /// Mends one file; says whether nothing is wrong any more.
    fn repair_file(&self, shard: &shards::Shard, row: &ObjectRow, problem: &Problem) -> Result<bool, StoreError> {
        if let (Problem::Touched { path, .. }, Some(variant)) = (problem, row.variant()) {
            let file = self.open_variant(&row.object, &variant)?;
            let actual = u64::try_from(rustix::fs::fstat(&file).map_or(0, |stat| stat.st_size));
            if actual == Ok(row.size) {
                let owner = variant.owner.or((self.owner() == (0, 0)).then_some((0, 0)));
                let mended = copy::finish(&file, variant.mode, owner, &BTreeMap::new());
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
}

/// Hashes a file that has `size` bytes, as far as is known.
fn hash(mut file: &File, size: u64, buffer: &mut [u8]) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut length = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
                // Asking again at the end is a call for nothing.
                if length == size {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Digest::blake3(*hasher.finalize().as_bytes()))
}
