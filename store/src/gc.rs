// store/src/gc.rs
//! Garbage collection: mark from typed roots, sweep the rest.
//!
//! ```text
//! roots   pins · what installed roots refer to · troves and inputs of the latest actions of each package,
//!         and their logs · sources
//! mark    trove → trees → objects
//! sweep   rows of troves and objects, one transaction → their files, and files without a row →
//!         checked-out troves, logs, work of dead processes
//! ```
//!
//! It holds the lease alone, which others share for moments only, and works beside commands that are under way: garbage that one of
//! them may have seen is condemned, and its files go with the first gc after that command's end (`hold.rs`, `condemned.rs`). It
//! stops before it removes anything when something that is to be kept cannot be read. Facts stay: actions, sources, other digests.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use recipes::Digest;
use rusqlite::Connection;
use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use crate::Store;
use crate::actions::Input;
use crate::condemned;
use crate::database;
use crate::error::StoreError;
use crate::event::{Event, Listener, nobody};
use crate::lock::{self, Patience};
use crate::logs::LogOutcome;
use crate::refs::Reference;
use crate::work;

/// What gc keeps and how.
#[derive(Clone)]
pub struct GcOptions<'a> {
    /// How many actions of each package keep what they gave.
    pub keep_actions: u32,
    /// How many logs of each package stay.
    pub keep_logs: u32,
    /// Whether fetched sources stay.
    pub keep_sources: bool,
    /// Counts what would go and removes nothing.
    pub dry_run: bool,
    /// How long to wait for the moment in which a process commits something.
    pub timeout_secs: u32,
    /// Hears of every object that goes.
    pub events: Listener<'a>,
}

impl Default for GcOptions<'_> {
    fn default() -> Self {
        Self { keep_actions: 1, keep_logs: 5, keep_sources: true, dry_run: false, timeout_secs: 60, events: &nobody }
    }
}

/// What gc removed, or would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Objects that stay.
    pub kept_objects: u64,
    /// Troves that go.
    pub troves: u64,
    /// Objects that go.
    pub objects: u64,
    /// Bytes of their files.
    pub object_bytes: u64,
    /// Objects that nothing refers to and that a command under way may still use; they go with a later gc.
    pub deferred: u64,
    /// Bytes of their files.
    pub deferred_bytes: u64,
    /// Files without a row; none while a command is under way, which may be writing them.
    pub strays: u64,
    /// Their bytes.
    pub stray_bytes: u64,
    /// Checked-out troves.
    pub roots: u64,
    /// Logs.
    pub logs: u64,
    /// Work directories of dead processes.
    pub work: u64,
}

/// A digest as the database keeps it.
type Key = [u8; 32];

/// What stays.
#[derive(Default)]
struct Live {
    troves: HashSet<Key>,
    objects: HashSet<Key>,
}

/// What goes: files by shard.
struct Doomed {
    names: Vec<Vec<u8>>,
    byte: u8,
}

impl Store {
    /// Removes everything that nothing refers to, and that no command under way may have seen.
    ///
    /// `waiting` hears who is committing something while gc has to wait for it.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when others do not finish in time; [`StoreError::Damaged`] and the like when something that is to
    /// be kept cannot be read: nothing was removed then.
    pub fn gc(
        &self,
        options: &GcOptions<'_>,
        waiting: &mut dyn FnMut(&str),
        cancel: &AtomicBool,
    ) -> Result<GcReport, StoreError> {
        self.writable()?;
        let timeout_secs = Some(options.timeout_secs);
        let _lease = self.lease_alone(&mut Patience { waiting, cancel, timeout_secs })?;
        let oldest = self.oldest_held()?;
        let live = self.mark(options, cancel)?;
        let mut report = GcReport { kept_objects: live.objects.len() as u64, ..GcReport::default() };
        let doomed = self.doom(&live, oldest, options, cancel, &mut report)?;
        if !options.dry_run {
            self.remove_rows(&live, oldest)?;
            doomed.par_iter().try_for_each(|shard| self.remove_files(shard))?;
        }
        self.sweep_roots(&live, options, &mut report)?;
        self.sweep_logs(options, oldest.is_some(), &mut report)?;
        if !options.dry_run {
            report.work = work::sweep(self)?;
            self.sweep_locks()?;
        }
        Ok(report)
    }

    /// Finds everything that stays.
    fn mark(&self, options: &GcOptions<'_>, cancel: &AtomicBool) -> Result<Live, StoreError> {
        let (references, inputs) = self.database().read("find what to keep", |connection| {
            let mut references = recorded(connection)?;
            let inputs = of_actions(connection, options.keep_actions, &mut references)?;
            if options.keep_sources {
                of_sources(connection, &mut references)?;
            }
            Ok((references, inputs))
        })?;
        if !options.dry_run {
            // What was condemned and is referred to since stays.
            self.revive(&references)?;
            self.revive(&inputs.iter().copied().map(Reference::Object).collect::<Vec<_>>())?;
        }
        let mut live = Live::default();
        let mut trees: Vec<Digest> = Vec::new();
        for reference in references {
            match reference {
                Reference::Object(object) => drop(live.objects.insert(key(&object))),
                Reference::Tree(tree) => trees.push(tree),
                Reference::Trove(trove) => drop(live.troves.insert(key(&trove))),
            }
        }
        for id in &live.troves {
            trees.extend(self.database().read("find a trove", |connection| {
                connection
                    .prepare_cached(
                        "SELECT tree FROM trove_trees JOIN troves ON troves.sequence = trove_trees.trove
                         WHERE troves.id = ?",
                    )?
                    .query_map([id], |row| database::digest(row, 0))?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })?);
        }
        trees.sort_unstable();
        trees.dedup();
        for tree in trees {
            if cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Interrupted);
            }
            live.objects.insert(key(&tree));
            // A source's tree that was collected before is a fact without content.
            if self.has(&tree)? {
                live.objects.extend(self.tree(&tree)?.objects().map(|object| key(&object)));
            }
        }
        // What a key saw is kept to explain the next miss; whether it is a tree does not matter for that.
        live.objects.extend(inputs.iter().map(key));
        Ok(live)
    }

    /// Finds the files that go: those of garbage that no command under way may use, and those without a row.
    fn doom(
        &self,
        live: &Live,
        oldest: Option<i64>,
        options: &GcOptions<'_>,
        cancel: &AtomicBool,
        report: &mut GcReport,
    ) -> Result<Vec<Doomed>, StoreError> {
        let one = |byte: u8| {
            if cancel.load(Ordering::Relaxed) {
                return Err(StoreError::Interrupted);
            }
            let shard = self.shard_with_files(byte)?;
            let mut sums = GcReport::default();
            let mut names = Vec::new();
            let mut last = None;
            for row in &shard.rows {
                if live.objects.contains(&key(&row.object)) {
                    continue;
                }
                let first = u64::from(last != Some(row.object));
                last = Some(row.object);
                if oldest.is_some() {
                    sums.deferred += first;
                    sums.deferred_bytes += row.size;
                    continue;
                }
                sums.objects += first;
                sums.object_bytes += row.size;
                names.push(row.file_name().into_bytes());
                (options.events)(Event::Removed { bytes: row.size });
            }
            for (row, epoch) in &shard.condemned {
                if live.objects.contains(&key(&row.object)) {
                    continue;
                }
                let first = u64::from(last != Some(row.object));
                last = Some(row.object);
                if oldest.is_some_and(|oldest| *epoch >= oldest) {
                    sums.deferred += first;
                    sums.deferred_bytes += row.size;
                    continue;
                }
                sums.objects += first;
                sums.object_bytes += row.size;
                names.push(row.file_name().into_bytes());
                (options.events)(Event::Removed { bytes: row.size });
            }
            if oldest.is_some() {
                // One of them may be what a command under way has just written.
                return Ok((Doomed { names, byte }, sums));
            }
            for stray in &shard.strays {
                sums.strays += 1;
                sums.stray_bytes += shard.stat(stray).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0));
            }
            names.extend(shard.strays);
            Ok((Doomed { names, byte }, sums))
        };
        let found: Vec<(Doomed, GcReport)> = (0..=255_u8).into_par_iter().map(one).collect::<Result<_, _>>()?;
        let mut doomed = Vec::new();
        for (shard, sums) in found {
            report.objects += sums.objects;
            report.object_bytes += sums.object_bytes;
            report.deferred += sums.deferred;
            report.deferred_bytes += sums.deferred_bytes;
            report.strays += sums.strays;
            report.stray_bytes += sums.stray_bytes;
            if !shard.names.is_empty() {
                doomed.push(shard);
            }
        }
        report.troves = self.dead_troves(live)?.len() as u64;
        Ok(doomed)
    }

    fn dead_troves(&self, live: &Live) -> Result<Vec<Key>, StoreError> {
        self.database().read("list troves", |connection| {
            connection
                .prepare("SELECT id FROM troves")?
                .query_map([], |row| row.get::<_, Key>(0))?
                .filter(|id| !id.as_ref().is_ok_and(|id| live.troves.contains(id)))
                .collect()
        })
    }

    /// Removes the rows of troves and objects that do not stay, in one transaction; those that a command under way may have
    /// seen are condemned.
    fn remove_rows(&self, live: &Live, oldest: Option<i64>) -> Result<(), StoreError> {
        let troves = self.dead_troves(live)?;
        self.database().write("remove garbage", |transaction| {
            condemned::forget(transaction, oldest)?;
            let mut trove = transaction.prepare("DELETE FROM troves WHERE id = ?")?;
            let dead: Vec<Key> = transaction
                .prepare("SELECT DISTINCT digest FROM objects")?
                .query_map([], |row| row.get::<_, Key>(0))?
                .filter(|id| !id.as_ref().is_ok_and(|id| live.objects.contains(id)))
                .collect::<rusqlite::Result<_>>()?;
            if oldest.is_some() {
                condemned::condemn(transaction, &dead, &troves)?;
            }
            for id in &troves {
                trove.execute([id])?;
            }
            let mut object = transaction.prepare("DELETE FROM objects WHERE digest = ?")?;
            for id in &dead {
                object.execute([id])?;
            }
            Ok(())
        })
    }

    fn remove_files(&self, doomed: &Doomed) -> Result<(), StoreError> {
        let (directory, _) = self.shard(doomed.byte)?;
        let path = self.directory().join("objects").join(format!("{:02x}", doomed.byte));
        for name in &doomed.names {
            work::remove_all(directory.as_fd(), name).or_else(|error| match error {
                Errno::NOENT => Ok(()),
                other => Err(StoreError::io("remove files in", &path)(other.into())),
            })?;
        }
        Ok(())
    }

    /// Removes checked-out troves that are garbage.
    fn sweep_roots(&self, live: &Live, options: &GcOptions<'_>, report: &mut GcReport) -> Result<(), StoreError> {
        let parent = self.subdirectory("roots")?;
        // The build root of a command under way may be made of troves that are garbage by now.
        let condemned: HashSet<Digest> = self.condemned_troves()?.into_iter().collect();
        for name in self.names(&parent, "roots")? {
            let text = format!("blake3:{}", String::from_utf8_lossy(&name));
            let stays = |id: Digest| live.troves.contains(&key(&id)) || condemned.contains(&id);
            if text.parse::<Digest>().is_ok_and(stays) {
                continue;
            }
            report.roots += 1;
            if !options.dry_run {
                work::remove_all(parent.as_fd(), &name)
                    .map_err(|error| StoreError::io("remove files in", self.directory().join("roots"))(error.into()))?;
            }
        }
        Ok(())
    }

    /// Removes all but the latest logs of each package, and log files without a row. Where commands are under way, logs that
    /// did not end may be theirs and stay.
    fn sweep_logs(&self, options: &GcOptions<'_>, under_way: bool, report: &mut GcReport) -> Result<(), StoreError> {
        let mut kept: HashSet<Vec<u8>> = HashSet::new();
        let mut counts = std::collections::HashMap::<String, u32>::new();
        let mut dead = Vec::new();
        for log in self.logs(None)? {
            let count = counts.entry(log.name.clone()).or_default();
            *count += 1;
            if *count <= options.keep_logs || (under_way && log.outcome == LogOutcome::Open) {
                kept.extend(log.path.file_name().map(|name| name.as_encoded_bytes().to_vec()));
            } else {
                dead.push(log.id);
            }
        }
        if !options.dry_run && !dead.is_empty() {
            self.database().write("remove logs", |transaction| {
                let mut delete = transaction.prepare("DELETE FROM logs WHERE id = ?")?;
                dead.iter().try_for_each(|id| delete.execute([id]).map(drop))
            })?;
        }
        let parent = self.subdirectory("logs")?;
        for name in self.names(&parent, "logs")? {
            if kept.contains(&name) {
                continue;
            }
            report.logs += 1;
            if !options.dry_run {
                // A log that cannot be removed is only space; the next gc tries again.
                let _ = work::remove_all(parent.as_fd(), &name);
            }
        }
        Ok(())
    }

    /// Removes lock files that died with their holders.
    fn sweep_locks(&self) -> Result<(), StoreError> {
        let parent = self.subdirectory("locks")?;
        for name in self.names(&parent, "locks")? {
            if lock::is_free(&parent, &name) {
                // Whoever opened it in this moment sees that its file is gone and makes a new one.
                let _ = rustix::fs::unlinkat(&parent, name.as_slice(), AtFlags::empty());
            }
        }
        Ok(())
    }

    /// Names what is in one of the store's own directories.
    pub(crate) fn names(&self, directory: &OwnedFd, what: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let failed = |error: Errno| StoreError::io("read", self.directory().join(what))(error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }
}

fn key(digest: &Digest) -> Key {
    let mut key = [0; 32];
    key.copy_from_slice(&digest.as_bytes()[..32]);
    key
}

/// Reads the pins and what installed roots refer to.
fn recorded(connection: &Connection) -> rusqlite::Result<Vec<Reference>> {
    connection
        .prepare("SELECT kind, target FROM pins UNION SELECT kind, target FROM root_refs")?
        .query_map([], |row| Reference::of_row(row, 0))?
        .collect()
}

/// Adds what the latest actions of each package gave; returns the contents that they saw.
fn of_actions(connection: &Connection, keep: u32, references: &mut Vec<Reference>) -> rusqlite::Result<Vec<Digest>> {
    let latest = "SELECT sequence, inputs, log FROM
        (SELECT sequence, inputs, log, row_number() OVER (PARTITION BY name ORDER BY sequence DESC) AS age
         FROM actions) WHERE age <= ?";
    let mut troves = connection.prepare("SELECT trove FROM action_troves WHERE action = ?")?;
    let mut seen = Vec::new();
    let mut statement = connection.prepare(latest)?;
    let mut rows = statement.query([keep])?;
    while let Some(row) = rows.next()? {
        for trove in troves.query_map([row.get::<_, i64>(0)?], |row| database::digest(row, 0))? {
            references.push(Reference::Trove(trove?));
        }
        if let Some(log) = row.get::<_, Option<Key>>(2)? {
            references.push(Reference::Object(Digest::blake3(log)));
        }
        // A row that does not read explains nothing and keeps nothing.
        let inputs: Vec<Input> = serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default();
        let contents = inputs.iter().filter_map(|input| input.value.parse::<Digest>().ok());
        seen.extend(contents.filter(|digest| digest.algorithm() == recipes::Algorithm::Blake3));
    }
    Ok(seen)
}

fn of_sources(connection: &Connection, references: &mut Vec<Reference>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT kind, object FROM sources")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let object = database::digest(row, 1)?;
        let tree = row.get::<_, String>(0)? == "tree";
        references.push(if tree { Reference::Tree(object) } else { Reference::Object(object) });
    }
    Ok(())
}
