// store/src/ccs/spool.rs
//! Where compressed frames wait until the index, which stands before them, can be written.
//!
//! A small payload waits in memory. What does not fit goes to a file without a name in the store's directory for
//! work in progress, so nothing is left behind whatever happens; where no such file can be made (a store on a
//! medium that cannot be written) it waits in memory too.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};

/// Bytes that may wait in memory.
const MEMORY_BYTES: usize = 64 << 20;

/// A place for frames; threads share it.
pub struct Spool {
    in_memory: AtomicUsize,
    memory_bytes: usize,
    file: Option<File>,
    end: AtomicU64,
}

/// A frame that waits.
pub enum Spooled {
    /// In memory.
    Memory(Vec<u8>),
    /// In the spool's file.
    File {
        /// Where.
        offset: u64,
        /// How long.
        length: usize,
    },
}

impl Spooled {
    /// Returns the length of the frame.
    pub fn length(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { length, .. } => *length,
        }
    }
}

impl Spool {
    /// Makes a spool for at most `expected_bytes`.
    pub fn new(directory: BorrowedFd<'_>, expected_bytes: u64) -> Self {
        Self::with_memory(directory, expected_bytes, MEMORY_BYTES)
    }

    fn with_memory(directory: BorrowedFd<'_>, expected_bytes: u64, memory_bytes: usize) -> Self {
        let file = (expected_bytes > memory_bytes as u64).then(|| {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            rustix::fs::openat(directory, ".", flags, Mode::RUSR | Mode::WUSR)
        });
        Self {
            in_memory: AtomicUsize::new(0),
            memory_bytes,
            file: file.and_then(Result::ok).map(File::from),
            end: AtomicU64::new(0),
        }
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, mut frame: Vec<u8>) -> io::Result<Spooled> {
        let length = frame.len();
        let Some(file) = &self.file else {
            frame.shrink_to_fit();
            return Ok(Spooled::Memory(frame));
        };
        if self.in_memory.fetch_add(length, Ordering::Relaxed) + length <= self.memory_bytes {
            frame.shrink_to_fit();
            return Ok(Spooled::Memory(frame));
        }
        let offset = self.end.fetch_add(length as u64, Ordering::Relaxed);
        file.write_all_at(&frame, offset)?;
        Ok(Spooled::File { offset, length })
    }

    /// Writes a frame out.
    ///
    /// # Errors
    /// When the spool cannot be read or `out` not be written.
    pub fn give(&self, frame: &Spooled, out: &mut dyn Write) -> io::Result<()> {
        match (frame, &self.file) {
            (Spooled::Memory(bytes), _) => out.write_all(bytes),
            (Spooled::File { offset, length }, Some(file)) => {
                let mut bytes = vec![0; *length];
                file.read_exact_at(&mut bytes, *offset)?;
                out.write_all(&bytes)
            }
            (Spooled::File { .. }, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn frames_come_back_from_memory_and_file() {
        let directory = tempfile::tempdir().unwrap();
        let top = File::open(directory.path()).unwrap();
        for memory in [0, 10, 1000] {
            let spool = Spool::with_memory(top.as_fd(), 100, memory);
            let frames: Vec<Vec<u8>> = (1..9).map(|size| vec![size; usize::from(size)]).collect();
            let kept: Vec<_> = frames.iter().map(|frame| spool.keep(frame.clone()).unwrap()).collect();
            for (frame, kept) in frames.iter().zip(&kept) {
                let mut out = Vec::new();
                assert_eq!(kept.length(), frame.len());
                spool.give(kept, &mut out).unwrap();
                assert_eq!(&out, frame);
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_means_memory() {
        let Ok(top) = File::open("/proc/self") else {
            return;
        };
        let spool = Spool::with_memory(top.as_fd(), 100, 1);
        assert!(matches!(spool.keep(vec![1; 9]).unwrap(), Spooled::Memory(_)));
    }
}
