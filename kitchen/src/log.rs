// kitchen/src/log.rs
//! The log of one cook: written whole while the build runs, its last lines kept at hand.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much of the end is kept for a failure message.
const TAIL_BYTES: usize = 64 << 10;

/// Lines shown when a step fails.
pub const TAIL_LINES: usize = 30;

/// A log that grows.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    tail: VecDeque<u8>,
    failed: Option<io::Error>,
}

impl Log {
    /// Begins a log in an open file.
    #[must_use]
    pub fn new(path: PathBuf, file: File) -> Self {
        Self { path, file, tail: VecDeque::new(), failed: None }
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks where a step begins. The tail begins anew, so that a failure shows its own step.
    pub fn begin(&mut self, phase: &str) {
        self.tail.clear();
        self.write(format!("==> {phase}\n").as_bytes());
        self.tail.clear();
    }

    /// Adds what a step printed. A failure to write is kept until [`Log::finish`]: the build's output
    /// goes on being read, for a build that waits on a full pipe would never end.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
        }
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(kept);
    }

    /// What is at hand of the step that runs: its last 64 KiB.
    #[must_use]
    pub fn end(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of the step that runs, oldest first.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        let text = self.end();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// True once a write failed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.failed.is_some()
    }

    /// Ends the log.
    ///
    /// # Errors
    /// The first failure to write, if there was one.
    pub fn finish(self) -> io::Result<PathBuf> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded_and_of_one_step() {
        let mut log = Log::new(PathBuf::from("x"), tempfile::tempfile().unwrap());
        log.begin("make");
        for number in 0..100_000 {
            log.write(format!("line {number}\n").as_bytes());
        }
        assert!(log.tail.len() <= TAIL_BYTES);
        let tail = log.tail();
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().unwrap(), "line 99999");
        log.begin("check");
        assert!(log.tail().is_empty());
    }

    #[test]
    fn one_huge_write_keeps_its_end() {
        let mut log = Log::new(PathBuf::from("x"), tempfile::tempfile().unwrap());
        log.write(&vec![b'a'; 10 << 20]);
        log.write(b"\nend\n");
        assert_eq!(log.tail().last().unwrap(), "end");
    }
}
