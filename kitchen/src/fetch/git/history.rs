// kitchen/src/fetch/git/history.rs
//! A repository with all of its history beside the files of a commit, for a step that asks git about it.
//!
//! Only what is asked before a recipe is written sees one: a build never does, because what a server has of other branches is no part of
//! its inputs.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use git2::{Oid, Repository, ResetType};
use store::Store;

use super::receive::Packs;
use super::transport::{connect, locate, redacted};
use super::wire::{self, Want};
use super::{GitError, Id, Location, local_git_directory};
use crate::fetch::error::FetchError;
use crate::fetch::place::candidates;
use crate::fetch::{Event, Fetching, Options};

/// Which repository, and where the files of its commit lie.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The commit that is laid out.
    pub commit: &'a str,
    /// Where it is laid out; `.git` is made there.
    pub into: &'a Path,
}

/// Puts a repository's branches and tags, with their history, beside the files of a commit.
///
/// # Errors
/// [`FetchError`] where no place gives it.
pub fn history(
    wanted: &History<'_>,
    directory: &Path,
    store: &Store,
    options: &Options,
    cancel: &AtomicBool,
    events: &dyn Fn(Event),
) -> Result<(), FetchError> {
    let fetching = Fetching::new(store, directory, options, cancel, events)?;
    let mut first = None;
    for place in candidates(wanted.url, "", &[], &fetching.mirrors) {
        match fetching.history_from(&place, wanted) {
            Ok(()) => return Ok(()),
            Err(GitError::Cancelled) => return Err(FetchError::Cancelled),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let source = Box::new(first.unwrap_or(GitError::Offline));
    Err(FetchError::Git { url: redacted(wanted.url), source })
}

impl Fetching<'_> {
    fn history_from(&self, url: &str, wanted: &History<'_>) -> Result<(), GitError> {
        let commit = Id::parse(wanted.commit.as_bytes())
            .ok_or_else(|| GitError::BadCommit { commit: wanted.commit.to_owned() })?;
        let git = wanted.into.join(".git");
        Repository::init(wanted.into)?;
        match locate(url, self.directory)? {
            Location::Local(path) => {
                let from = local_git_directory(&path)?;
                for part in ["objects", "refs/heads", "refs/tags", "packed-refs"] {
                    copy(&from.join(part), &git.join(part)).map_err(GitError::Connection)?;
                }
            }
            _ if self.options.offline => return Err(GitError::Offline),
            location => {
                let references = wire::references(&mut *connect(self, &location)?)?;
                let work = Packs::make(self.store)?;
                self.receive_pack(&location, &Want { commit, tag: None }, true, &work, url)?;
                copy(work.objects(), &git.join("objects")).map_err(GitError::Connection)?;
                let own = references.iter().filter(|(_, name)| {
                    !name.ends_with(b"^{}") && (name.starts_with(b"refs/heads/") || name.starts_with(b"refs/tags/"))
                });
                let mut packed = Vec::new();
                for (id, name) in own {
                    packed.extend([id.to_string().as_bytes(), b" ", name, b"\n"].concat());
                }
                fs::write(git.join("packed-refs"), packed).map_err(GitError::Connection)?;
            }
        }
        let repository = Repository::open(wanted.into)?;
        let id: Oid = commit.oid();
        repository.set_head_detached(id)?;
        // The index says that the files are those of the commit.
        repository.reset(&repository.find_object(id, None)?, ResetType::Mixed, None)?;
        Ok(())
    }
}

/// Copies a file, or a directory with all below it; what is not there is passed over, and so is what is neither.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(from) else { return Ok(()) };
    if about.is_file() {
        return fs::copy(from, to).map(drop);
    }
    if about.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
