// sandbox/src/budget.rs
//! How much a command may have on disk: looked at again and again, since no file system that we can count on limits a directory.
//!
//! What is counted are the blocks of everything below the writable binds, each file once. A look follows no link and does not see
//! what is deleted and still open, or lies in a directory that the caller may not read. Looks are at least [`PAUSE`] apart, and
//! take a twentieth of the time at most: that is how late the end comes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, Thread};
use std::time::{Duration, Instant};

use crate::plan::Plan;

/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// How many times as long as the last look it takes at least.
const REST: u32 = 20;

/// What somebody who looks, and somebody who runs the command, tell each other.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    over: AtomicBool,
    done: AtomicBool,
}

impl Budget {
    /// Begins to look where the plan has a limit; returns who does.
    pub(crate) fn keep<'s>(&'s self, plan: &Plan, scope: &'s Scope<'s, '_>) -> Option<Thread> {
        let limit = plan.limits.disk_bytes?;
        let places: Vec<PathBuf> =
            plan.binds.iter().filter(|bind| bind.writable).map(|bind| bind.source.clone()).collect();
        Some(scope.spawn(move || self.look(limit, &places)).thread().clone())
    }

    /// Whether there is more than the limit.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Ends the looking.
    pub(crate) fn end(&self, who: Option<Thread>) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(who) = who {
            who.unpark();
        }
    }

    fn look(&self, limit: u64, places: &[PathBuf]) {
        let mut rest = PAUSE;
        loop {
            let until = Instant::now() + rest;
            while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                if self.done.load(Ordering::Relaxed) {
                    return;
                }
                thread::park_timeout(left);
            }
            let started = Instant::now();
            if self.is_more(limit, places) {
                self.over.store(true, Ordering::Relaxed);
                return;
            }
            rest = PAUSE.max(started.elapsed() * REST);
        }
    }

    fn is_more(&self, limit: u64, places: &[PathBuf]) -> bool {
        let (mut left, mut used, mut linked) = (places.to_vec(), 0, HashSet::new());
        while let Some(place) = left.pop() {
            // What vanishes meanwhile counts no more.
            let Ok(found) = fs::symlink_metadata(&place) else { continue };
            if found.nlink() < 2 || found.is_dir() || linked.insert((found.dev(), found.ino())) {
                used += found.blocks() * 512;
            }
            if used > limit {
                return true;
            }
            if self.done.load(Ordering::Relaxed) {
                return false;
            }
            if found.is_dir()
                && let Ok(entries) = fs::read_dir(&place)
            {
                left.extend(entries.flatten().map(|entry| entry.path()));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn every_file_is_counted_once_and_links_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), vec![1; 1 << 20]).unwrap();
        let linked = Command::new("ln").arg(inner.join("file")).arg(place.path().join("again")).status();
        assert!(linked.unwrap().success());
        symlink("/", place.path().join("a/out")).unwrap();
        let (budget, places) = (Budget::default(), [place.path().to_owned()]);
        assert!(budget.is_more(1 << 20, &places), "the file and its directories");
        assert!(!budget.is_more((1 << 20) + (1 << 17), &places), "neither the link nor what lies behind it");
        fs::write(inner.join("more"), vec![1; 1 << 20]).unwrap();
        assert!(budget.is_more((1 << 20) + (1 << 17), &places));
    }
}
