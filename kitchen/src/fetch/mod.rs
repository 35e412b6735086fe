// kitchen/src/fetch/mod.rs
//! Brings what a recipe names into the store: the only phase that has the network.
//!
//! Nothing of a recipe is run here. Files are pinned by checksums (`file.rs`), repositories by a full commit
//! (`git/`), directories beside the recipe are what they are at the moment (`local.rs`). Everything ends as an object
//! or a tree of the store, and the store remembers what each claim turned out to be, so that a second fetch asks
//! neither the network nor the disk. Signatures hold before anything is unpacked (`signature/`).
//! How it is decided is written down in docs/design/fetch.md.

mod error;
mod file;
mod git;
mod hashing;
mod http;
mod known;
mod local;
mod package;
mod pin;
mod place;
mod signature;
mod weak;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use recipes::{AdditionalFrom, Digest, Recipe, Source};
use store::{MirrorRow, Store};

pub use error::{FetchError, Tried};
pub use file::{Added, add};
pub use git::{GitError, History, history};
pub use http::{HttpError, LowSpeed};
pub use known::Known;
pub use local::{LocalTree, local_tree};
pub use package::RemotePackage;
pub use pin::{PinError, Pinned, PinnedSource, pin};
pub use signature::SignatureError;

use file::Wanted;
use git::Commit;
use http::Http;
use place::Place;

/// How to fetch. Nothing here changes what a source is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directories whose files are sources when their digests match.
    pub distfiles: Vec<PathBuf>,
    /// Whether the network must not be used.
    pub offline: bool,
    /// Whether sources that the store has are fetched again and compared.
    pub refetch: bool,
    /// How often a transfer that fails is tried without a byte coming.
    pub attempts: u32,
    /// The delay before the second attempt; doubled for each further one.
    pub retry_delay: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may send nothing.
    pub stall_timeout: Duration,
    /// What counts as too slow.
    pub low_speed: LowSpeed,
    /// The largest file, and the largest repository, that is taken.
    pub max_bytes: u64,
    /// The most files, directories and symlinks that a repository's tree may have.
    pub max_entries: usize,
    /// The proxies.
    pub proxy: Proxy,
    /// Who is trusted to certify servers; without it there is no HTTPS.
    pub tls: Option<rustls::ClientConfig>,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            distfiles: Vec::new(),
            offline: false,
            refetch: false,
            attempts: 4,
            retry_delay: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_mins(1),
            low_speed: LowSpeed { bytes_per_sec: 512, window_secs: 60 },
            max_bytes: 32 << 30,
            max_entries: 1_000_000,
            proxy: Proxy::default(),
            tls: None,
            user_agent: concat!("conary/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The proxies for each kind of address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For http.
    pub http: Option<String>,
    /// For https.
    pub https: Option<String>,
    /// Hosts that need none, separated by commas.
    pub except: Option<String>,
}

/// Which source of a recipe is meant. Counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// `[source]`, or that of the architecture.
    Main,
    /// One of `[[source.additional]]`.
    Additional(usize),
    /// One of `[[patches.files]]`.
    Patch(usize),
}

/// What a source is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// A file, as it was fetched.
    File(Digest),
    /// A tree.
    Tree(Digest),
}

impl Content {
    /// Returns the digest of the file, or the id of the tree.
    #[must_use]
    pub fn digest(self) -> Digest {
        match self {
            Self::File(digest) | Self::Tree(digest) => digest,
        }
    }
}

/// Where a source was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It was in the store.
    Stored,
    /// In a directory of distfiles.
    Distfiles,
    /// Elsewhere on this machine.
    Local,
    /// Over the network.
    Network,
}

/// A source that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Which one of the recipe.
    pub which: Which,
    /// What it is.
    pub content: Content,
    /// What the file is called, or the directory.
    pub file_name: String,
    /// The size of the file, or of all files of the tree.
    pub size_bytes: u64,
    /// Where it came from, for people; never part of a key.
    pub origin: String,
    /// Where it was found this time.
    pub how: How,
    /// When the commit was made, in seconds since 1970; for a git source.
    pub commit_secs: Option<i64>,
}

/// What happens while fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A download begins.
    Started {
        /// The file or repository.
        file: String,
        /// From where.
        url: String,
    },
    /// Bytes came.
    Progress {
        /// The file or repository.
        file: String,
        /// So many are here.
        done_bytes: u64,
        /// So many there are, if anyone said.
        total_bytes: Option<u64>,
    },
    /// A transfer that broke goes on where it broke.
    Resumed {
        /// The file.
        file: String,
        /// From this byte.
        at_bytes: u64,
    },
    /// A transfer failed and will be tried again.
    Retrying {
        /// The file or repository.
        file: String,
        /// From where.
        url: String,
        /// Why it failed.
        reason: String,
        /// When it will be tried.
        delay: Duration,
    },
    /// A place did not have the source; the next one is tried.
    PlaceFailed {
        /// The file.
        file: String,
        /// The place.
        url: String,
        /// Why it is of no use.
        reason: String,
    },
    /// The recipe names a new place for a checksum that the store knows, and nobody could look there. The bytes in the store
    /// are used: they are what the checksum names.
    Unchecked {
        /// The file.
        file: String,
        /// The new place.
        url: String,
        /// Where the bytes in the store came from.
        known_origin: String,
    },
    /// A signature holds.
    Verified {
        /// The file.
        file: String,
        /// Whose key made it.
        key: String,
    },
    /// A source is in the store that was not before.
    Fetched {
        /// The file or repository.
        file: String,
        /// From where.
        origin: String,
        /// Its size.
        size_bytes: u64,
        /// By which way.
        how: How,
    },
}

/// Brings every source of `recipe` for `arch` into the store, in the recipe's order.
///
/// The recipe is expanded; relative paths in it start at `directory`. What the store has is not fetched again unless
/// `options.refetch` is set; then everything is fetched anew and compared. Nothing is written but the store.
///
/// # Errors
/// [`FetchError`] for the first source that cannot be had; those before it are in the store.
pub fn all(
    recipe: &Recipe,
    directory: &Path,
    arch: &str,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<Vec<Fetched>, FetchError> {
    let sources = Fetching::new(store, directory, options, cancel, events)?;
    let mut fetched = Vec::new();
    fetched.extend(sources.main(recipe.source_for(arch))?);
    for (index, additional) in recipe.additional.iter().enumerate().filter(|(_, one)| one.is_for(arch)) {
        let which = Which::Additional(index);
        fetched.push(match &additional.from {
            AdditionalFrom::Archive { url, checksums, signature } => {
                let wanted = Wanted { url, file_name: additional.file_name(), checksums, mirrors: &[] };
                sources.archive(which, &wanted, signature.as_ref())?
            }
            AdditionalFrom::Git { url, commit, tag, proof } => {
                let commit = Commit { url, id: commit, tag: tag.as_deref(), submodules: false, mirrors: &[], proof };
                sources.commit(which, &commit, additional.file_name())?
            }
        });
    }
    for (index, patch) in recipe.patches.iter().enumerate() {
        fetched.push(sources.patch(Which::Patch(index), patch)?);
    }
    Ok(fetched)
}

/// What all sources of one recipe have in common.
struct Fetching<'a> {
    store: &'a Store,
    /// Where relative paths start.
    directory: &'a Path,
    options: &'a Options,
    mirrors: Vec<MirrorRow>,
    http: Http<'a>,
    cancel: &'a AtomicBool,
    events: &'a dyn Fn(Event),
}

impl<'a> Fetching<'a> {
    fn new(
        store: &'a Store,
        directory: &'a Path,
        options: &'a Options,
        cancel: &'a AtomicBool,
        events: &'a dyn Fn(Event),
    ) -> Result<Self, FetchError> {
        let mirrors = store.mirrors()?;
        Ok(Self { store, directory, options, mirrors, http: Http::new(options, cancel, events), cancel, events })
    }

    fn main(&self, source: &Source) -> Result<Option<Fetched>, FetchError> {
        let which = Which::Main;
        Ok(Some(match source {
            Source::None => return Ok(None),
            Source::Archive { url, checksums, signature, mirrors, .. } => {
                let file_name = source.file_name().unwrap_or_default();
                self.archive(which, &Wanted { url, file_name, checksums, mirrors }, signature.as_ref())?
            }
            Source::Git { url, commit, tag, submodules, mirrors, proof } => {
                let commit = Commit { url, id: commit, tag: tag.as_deref(), submodules: *submodules, mirrors, proof };
                self.commit(which, &commit, git::directory_name(url))?
            }
            Source::Path { path } => {
                let tree = self.local_source(path)?;
                self.report(Fetched {
                    which,
                    content: Content::Tree(tree.tree),
                    file_name: path.clone(),
                    size_bytes: tree.size_bytes,
                    origin: path.clone(),
                    how: How::Local,
                    commit_secs: None,
                })
            }
        }))
    }

    fn archive(
        &self,
        which: Which,
        wanted: &Wanted,
        signature: Option<&recipes::Signature>,
    ) -> Result<Fetched, FetchError> {
        let obtained = self.file(wanted)?;
        if let Some(signature) = signature {
            self.verify_signature(wanted, &obtained.object, signature)?;
        }
        Ok(self.report(Fetched {
            which,
            content: Content::File(obtained.object),
            file_name: wanted.file_name.to_owned(),
            size_bytes: obtained.size_bytes,
            origin: obtained.origin,
            how: obtained.how,
            commit_secs: None,
        }))
    }

    /// A patch from beside the recipe needs no checksum: its content is its own claim.
    fn patch(&self, which: Which, patch: &recipes::Patch) -> Result<Fetched, FetchError> {
        let file_name = patch.file.rsplit('/').next().unwrap_or(&patch.file);
        if !patch.checksum.is_empty() {
            let claimed = Wanted { url: &patch.file, file_name, checksums: &patch.checksum, mirrors: &[] };
            return self.archive(which, &claimed, None);
        }
        let Place::Local(beside) = Place::of(&patch.file, self.directory)? else {
            return Err(FetchError::Scheme {
                url: http::redact(&patch.file),
                reason: "a patch from elsewhere needs a checksum",
            });
        };
        let (object, size_bytes) = self.local_file(&beside)?;
        Ok(Fetched {
            which,
            content: Content::File(object),
            file_name: file_name.to_owned(),
            size_bytes,
            origin: patch.file.clone(),
            how: How::Local,
            commit_secs: None,
        })
    }

    fn commit(&self, which: Which, commit: &Commit, file_name: &str) -> Result<Fetched, FetchError> {
        let exported = self.git(commit)?;
        Ok(self.report(Fetched {
            which,
            content: Content::Tree(exported.tree),
            file_name: file_name.to_owned(),
            size_bytes: exported.size_bytes,
            origin: exported.origin,
            how: exported.how,
            commit_secs: Some(exported.commit_secs),
        }))
    }

    fn report(&self, fetched: Fetched) -> Fetched {
        if fetched.how != How::Stored {
            (self.events)(Event::Fetched {
                file: crate::shown::shown(fetched.file_name.as_bytes()),
                origin: fetched.origin.clone(),
                size_bytes: fetched.size_bytes,
                how: fetched.how,
            });
        }
        fetched
    }
}

#[cfg(test)]
mod tests;
