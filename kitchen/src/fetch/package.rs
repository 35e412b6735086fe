// kitchen/src/fetch/package.rs
//! Packages on servers, read in parts: what `store::ccs` asks for, over HTTP ranges.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use store::ccs::ReadAt;

use super::http::{Http, HttpError, Known, Sink, redact};
use super::{Event, Options};

/// A package file on a server.
pub struct RemotePackage<'o> {
    http: Http<'o>,
    url: String,
    known: RefCell<Known>,
    traffic: RefCell<(u64, u64)>,
}

impl<'o> RemotePackage<'o> {
    /// Names a package by its URL; nothing is asked yet.
    #[must_use]
    pub fn new(url: &str, options: &'o Options, cancel: &'o AtomicBool, events: &'o dyn Fn(Event)) -> Self {
        let http = Http::new(options, cancel, events);
        Self { http, url: url.to_owned(), known: RefCell::default(), traffic: RefCell::default() }
    }

    /// Returns how many parts have come, and their bytes.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        *self.traffic.borrow()
    }

    /// Downloads the whole file, for servers that give no parts.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn download(&self, into: &File) -> Result<(), HttpError> {
        into.set_len(0).map_err(HttpError::Sink)?;
        let mut sink = FileSink { file: into, done: 0 };
        self.http.download(&self.url, &redact(&self.url), &mut sink).map(drop)?;
        let mut traffic = self.traffic.borrow_mut();
        *traffic = (traffic.0 + 1, traffic.1 + sink.done);
        Ok(())
    }
}

impl ReadAt for RemotePackage<'_> {
    /// Fails with [`io::ErrorKind::Unsupported`] when the server gives no parts.
    fn read_at(&self, offset: u64, length: u64) -> io::Result<(Vec<u8>, u64)> {
        let part = self.http.part(&self.url, offset, length, &mut self.known.borrow_mut());
        let (bytes, total) = part.map_err(|error| match error {
            HttpError::NoParts => io::Error::new(io::ErrorKind::Unsupported, error),
            error => io::Error::other(error),
        })?;
        let mut traffic = self.traffic.borrow_mut();
        *traffic = (traffic.0 + 1, traffic.1 + bytes.len() as u64);
        Ok((bytes, total))
    }
}

/// A file that a download fills.
struct FileSink<'f> {
    file: &'f File,
    done: u64,
}

impl Sink for FileSink<'_> {
    fn done(&self) -> u64 {
        self.done
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.done)?;
        self.done += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) {
        self.done = 0;
        // A file that cannot be cut keeps its end, which its reader refuses.
        let _ = self.file.set_len(0);
    }
}
