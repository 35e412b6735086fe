// kitchen/src/fetch/git/reference.rs
//! Which commit a branch or tag names at this moment: asked once, while a recipe is pinned, and never during a fetch.

use std::path::Path;

use git2::ObjectType;

use super::export::Objects;
use super::transport::{connect, locate, redacted};
use super::{GitError, Id, Location, NESTING, local_git_directory, wire};
use crate::fetch::Fetching;
use crate::fetch::error::FetchError;
use crate::fetch::place::candidates;

impl Fetching<'_> {
    /// The commit that `reference` names (`refs/heads/…`, `refs/tags/…` or `HEAD`), and where that was asked.
    pub(in crate::fetch) fn resolve(&self, url: &str, reference: &str) -> Result<(String, String), FetchError> {
        let mut first = None;
        for place in candidates(url, "", &[], &self.mirrors) {
            match self.resolve_at(&place, reference) {
                Ok(id) => return Ok((id.to_string(), redacted(&place))),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let source = Box::new(first.unwrap_or(GitError::Offline));
        Err(FetchError::Git { url: redacted(url), source })
    }

    fn resolve_at(&self, url: &str, reference: &str) -> Result<Id, GitError> {
        match locate(url, self.directory)? {
            Location::Local(path) => local(&local_git_directory(&path)?, reference),
            _ if self.options.offline => Err(GitError::Offline),
            location => wire::resolve(&mut *connect(self, &location)?, reference),
        }
    }
}

/// What a reference of a repository on this machine names, tag objects followed to their commit.
pub(super) fn local(git: &Path, reference: &str) -> Result<Id, GitError> {
    let mut id = named(git, reference)?;
    // A tag object names what it is a tag of in its first line.
    let objects = Objects::open(&git.join("objects"))?;
    for _ in 0..NESTING {
        let Ok(content) = objects.read(id, ObjectType::Tag, 16 << 20) else { break };
        let target = content.strip_prefix(b"object ").and_then(|rest| Id::parse(rest.get(..40)?));
        id = target.ok_or(GitError::Malformed { what: "the tag is malformed" })?;
    }
    Ok(id)
}

/// What a reference of a repository on this machine names, be it a tag object.
pub(super) fn named(git: &Path, reference: &str) -> Result<Id, GitError> {
    let missing = || GitError::NoReference { reference: reference.to_owned() };
    let mut name = reference.to_owned();
    let mut named = None;
    for _ in 0..NESTING {
        if name.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(missing());
        }
        let loose = std::fs::read_to_string(git.join(&name)).ok();
        if let Some(content) = loose.as_deref().map(str::trim) {
            if let Some(other) = content.strip_prefix("ref: ") {
                other.clone_into(&mut name);
            } else {
                named = Id::parse(content.as_bytes());
                break;
            }
        } else {
            let content = std::fs::read_to_string(git.join("packed-refs")).unwrap_or_default();
            let line = content.lines().find(|line| line.get(41..) == Some(&name));
            named = line.and_then(|line| Id::parse(line.as_bytes().get(..40)?));
            break;
        }
    }
    named.ok_or_else(missing)
}
