// kitchen/src/fetch/git/receive.rs
//! Packs as they come in, and where they are taken apart.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use git2::Indexer;
use store::{Store, Work};

use super::transport::{connect, redacted};
use super::wire::{self, Want};
use super::{GitError, Id, Location, directory_name};
use crate::fetch::{Event, Fetching};

impl Fetching<'_> {
    /// Receives a pack and takes it apart, trying again when the connection breaks. Gives what the wanted tag names, if there is one.
    pub(super) fn receive(
        &self,
        location: &Location,
        want: &Want,
        work: &Packs,
        url: &str,
    ) -> Result<Option<Id>, GitError> {
        let mut attempt = 1;
        loop {
            let result = self.receive_once(location, want, work, url);
            let again = matches!(
                &result,
                Err(GitError::Connection(_) | GitError::Protocol("the server closed the connection too early"))
            );
            if !again || attempt >= self.options.attempts {
                return result;
            }
            let delay = self.options.retry_delay.saturating_mul(1 << (attempt - 1).min(6));
            let reason = result.err().map(|error| error.to_string()).unwrap_or_default();
            (self.events)(Event::Retrying { file: directory_name(url).to_owned(), url: redacted(url), reason, delay });
            let until = std::time::Instant::now() + delay;
            while std::time::Instant::now() < until {
                if self.cancel.load(Ordering::Relaxed) {
                    return Err(GitError::Cancelled);
                }
                std::thread::sleep(delay.min(std::time::Duration::from_millis(50)));
            }
            attempt += 1;
        }
    }

    fn receive_once(&self, location: &Location, want: &Want, work: &Packs, url: &str) -> Result<Option<Id>, GitError> {
        match self.receive_pack(location, want, false, work, url) {
            // Such a server gives nothing but what a reference names, and is gone after saying so.
            Err(GitError::Remote { message })
                if message.contains("not our ref") || message.contains("unadvertised") =>
            {
                self.receive_pack(location, want, true, work, url)
            }
            done => done,
        }
    }

    pub(super) fn receive_pack(
        &self,
        location: &Location,
        want: &Want,
        everything: bool,
        work: &Packs,
        url: &str,
    ) -> Result<Option<Id>, GitError> {
        let mut talk = connect(self, location)?;
        let indexer = Indexer::new(None, &work.objects.join("pack"), 0o600, false)?;
        let name = directory_name(url).to_owned();
        let progress =
            |done_bytes| (self.events)(Event::Progress { file: name.clone(), done_bytes, total_bytes: None });
        let mut pack = Pack { indexer, received: 0, limit: self.options.max_bytes, progress: &progress };
        let tag = wire::fetch(&mut *talk, want, everything, &mut pack)?;
        pack.indexer.commit()?;
        Ok(tag)
    }
}

/// A pack as it comes in.
struct Pack<'a> {
    indexer: Indexer<'static>,
    received: u64,
    limit: u64,
    progress: &'a dyn Fn(u64),
}

impl Write for Pack<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received += bytes.len() as u64;
        if self.received > self.limit {
            return Err(io::Error::other(GitError::TooLarge { limit_bytes: self.limit }));
        }
        self.indexer
            .write_all(bytes)
            .map_err(|_| io::Error::other(GitError::Malformed { what: "the pack is damaged" }))?;
        (self.progress)(self.received);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A place for packs below the store's `tmp/`, which vanishes with us.
pub(super) struct Packs {
    objects: PathBuf,
    _work: Work,
}

impl Packs {
    pub(super) fn make(store: &Store) -> Result<Self, GitError> {
        let work = store.work()?;
        let objects = work.path().join("objects");
        std::fs::create_dir_all(objects.join("pack")).map_err(GitError::Connection)?;
        Ok(Self { objects, _work: work })
    }

    /// Returns the directory that holds `pack/`.
    pub(super) fn objects(&self) -> &Path {
        &self.objects
    }
}
