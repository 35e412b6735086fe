// kitchen/src/fetch/git/mod.rs
//! A commit of a git repository as a tree of the store.
//!
//! The commit's name pins it: every object is checked against its own, with the SHA-1 that detects collisions. What a
//! recipe's content is, is the digest of the exported tree. Only that one commit is fetched where the server gives
//! single commits (all of version 2 do), else all of the repository. Submodules are commits of other
//! repositories that the tree names, and are fetched the same way. The protocol is spoken by ourselves (`wire.rs`) over
//! what carries it (`transport.rs`), and libgit2 takes packs apart; so no configuration of git's, no hook, filter or
//! credential helper has a part in it. A repository on this machine is read in place.

mod archive;
mod attributes;
mod error;
mod export;
mod history;
mod receive;
mod reference;
mod transport;
mod vouch;
mod wire;

use std::fmt;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid};
use libz_sys as _;
use recipes::{Digest, GitProof};
use store::{SourceKind, SourceRow, Store, StoreError, Tree};

use super::error::FetchError;
use super::http::HttpError;
use super::place::candidates;
use super::{Event, Fetching, How};
use export::{Export, Objects, commit_of, submodules};
use receive::Packs;
use transport::{locate, redacted};
use vouch::is_vouched;
use wire::Want;

pub use error::GitError;
pub use history::{History, history};

/// How deep submodules may be within submodules.
const NESTING: usize = 16;

/// A commit that is looked for.
pub(super) struct Commit<'a> {
    pub(super) url: &'a str,
    pub(super) id: &'a str,
    /// A tag that must name it.
    pub(super) tag: Option<&'a str>,
    pub(super) submodules: bool,
    /// Further URLs of the same repository.
    pub(super) mirrors: &'a [String],
    /// What must hold beside its name.
    pub(super) proof: &'a GitProof,
}

/// A commit that is in the store.
pub(super) struct Exported {
    pub(super) tree: Digest,
    pub(super) size_bytes: u64,
    pub(super) commit_secs: i64,
    pub(super) origin: String,
    pub(super) how: How,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Web(String),
    Daemon { host: String, port: Option<u16>, path: String },
    Ssh { host: String, port: Option<u16>, path: String },
    Local(PathBuf),
}

/// The name of a git object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id([u8; 20]);

impl Id {
    fn parse(hex: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(hex).ok().filter(|text| text.len() == 40)?;
        Oid::from_str(text).ok()?.as_bytes().try_into().ok().map(Self)
    }

    fn oid(self) -> Oid {
        Oid::from_bytes(&self.0).expect("because a name is twenty bytes long")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// What the directory of a repository is called, by its URL.
pub(super) fn directory_name(url: &str) -> &str {
    let name = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(url);
    name.strip_suffix(".git").filter(|name| !name.is_empty()).unwrap_or(name)
}

impl Fetching<'_> {
    /// Brings a commit into the store, or finds it there.
    pub(super) fn git(&self, wanted: &Commit) -> Result<Exported, FetchError> {
        let failed = |source: GitError| match source {
            GitError::Cancelled | GitError::Http(HttpError::Cancelled) => FetchError::Cancelled,
            GitError::Store(source) => FetchError::Store(source),
            source => FetchError::Git { url: redacted(wanted.url), source: Box::new(source) },
        };
        let id = Id::parse(wanted.id.as_bytes())
            .ok_or_else(|| failed(GitError::BadCommit { commit: wanted.id.to_owned() }))?;
        let stored = self.stored_commit(wanted)?;
        if !self.options.refetch
            && let Some(stored) = stored
        {
            return Ok(stored);
        }
        let mut first = None;
        for url in candidates(wanted.url, "", &[], &self.mirrors).into_iter().chain(wanted.mirrors.iter().cloned()) {
            match self.commit_from(&url, id, wanted) {
                Ok(exported) => {
                    if let Some(stored) = &stored
                        && stored.tree != exported.tree
                    {
                        let differs =
                            GitError::Differs { commit: id.to_string(), expected: stored.tree, actual: exported.tree };
                        return Err(failed(differs));
                    }
                    return Ok(exported);
                }
                Err(GitError::Cancelled | GitError::Http(HttpError::Cancelled)) => return Err(FetchError::Cancelled),
                Err(error) => {
                    (self.events)(Event::PlaceFailed {
                        file: directory_name(wanted.url).to_owned(),
                        url: redacted(&url),
                        reason: error.to_string(),
                    });
                    // The place that the recipe names says best what is wrong.
                    if first.is_none() || url == wanted.url {
                        first = Some(error);
                    }
                }
            }
        }
        Err(failed(first.unwrap_or(GitError::Offline)))
    }

    /// What the store has of a commit, if its tag was checked too.
    fn stored_commit(&self, wanted: &Commit) -> Result<Option<Exported>, FetchError> {
        let Some(row) = known(self.store, self.directory, wanted)? else { return Ok(None) };
        let Some(commit) = self.store.source(&commit_claim(wanted.id))? else { return Ok(None) };
        if !self.store.has(&row.object)? || !self.store.has(&commit.object)? {
            return Ok(None);
        }
        let Ok((_, commit_secs)) = commit_of(&self.store.read(&commit.object)?) else { return Ok(None) };
        // A tree without its files, after a collection, is fetched again.
        for object in self.store.tree(&row.object)?.objects() {
            if !self.store.has(&object)? {
                return Ok(None);
            }
        }
        Ok(Some(Exported {
            tree: row.object,
            size_bytes: row.size_bytes,
            commit_secs,
            origin: row.origin,
            how: How::Stored,
        }))
    }

    /// Fetches a commit from one place and writes down what it is.
    fn commit_from(&self, url: &str, id: Id, wanted: &Commit) -> Result<Exported, GitError> {
        (self.events)(Event::Started { file: directory_name(wanted.url).to_owned(), url: redacted(url) });
        let batch = self.store.batch()?;
        let mut export = Export {
            batch: &batch,
            cancel: self.cancel,
            max_bytes: self.options.max_bytes,
            max_entries: self.options.max_entries,
            entries: Vec::new(),
            size_bytes: 0,
        };
        let (how, commit) = self.repository(&mut export, url, id, Some(wanted), wanted.submodules, b"", 0)?;
        let Export { entries, size_bytes, .. } = export;
        let tree =
            Tree::new(entries).map_err(|_| GitError::Malformed { what: "the tree breaks the rules of trees" })?;
        let (_, commit_secs) = commit_of(&commit)?;
        let id_of_tree = batch.add_tree(&tree)?;
        let commit_object = batch.add_bytes(&commit, 0o644)?;
        batch.commit()?;
        let origin = redacted(url);
        let row = SourceRow {
            object: id_of_tree,
            size_bytes,
            kind: SourceKind::Tree,
            origin: origin.clone(),
            file_name: directory_name(wanted.url).to_owned(),
        };
        if !self.options.refetch || self.store.source(&claim(wanted))?.is_none() {
            self.store.record_source(&claim(wanted), &row)?;
        }
        if let Some(tag) = wanted.tag {
            self.store.record_source(&tag_claim(wanted.id, tag), &row)?;
        }
        let of_commit =
            SourceRow { object: commit_object, size_bytes: commit.len() as u64, kind: SourceKind::File, ..row };
        self.store.record_source(&commit_claim(wanted.id), &of_commit)?;
        self.remember_vouched(wanted, &of_commit)?;
        Ok(Exported { tree: id_of_tree, size_bytes, commit_secs, origin, how })
    }

    /// Does something with the objects of a repository that has a commit.
    fn with_objects(
        &self,
        wanted: &Commit,
        work: impl FnOnce(&Objects, Id, &[u8]) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        let id = Id::parse(wanted.id.as_bytes()).ok_or_else(|| GitError::BadCommit { commit: wanted.id.to_owned() })?;
        let location = locate(wanted.url, self.directory)?;
        let packs = Packs::make(self.store)?;
        let objects = match &location {
            Location::Local(path) => Objects::open(&local_git_directory(path)?.join("objects"))?,
            _ if self.options.offline => return Err(GitError::Offline),
            _ => {
                self.receive(&location, &Want { commit: id, tag: None }, &packs, wanted.url)?;
                Objects::open(packs.objects())?
            }
        };
        let commit = objects.read(id, ObjectType::Commit, 16 << 20)?;
        work(&objects, id, &commit)
    }

    /// Adds a repository's commit at `below`, and its submodules; returns where it was and the commit object.
    #[allow(clippy::too_many_arguments)] // One recursive step: what is walked, where to, and how deep.
    fn repository(
        &self,
        export: &mut Export,
        url: &str,
        id: Id,
        wanted: Option<&Commit>,
        with_submodules: bool,
        below: &[u8],
        depth: usize,
    ) -> Result<(How, Vec<u8>), GitError> {
        if depth > NESTING {
            return Err(GitError::TooDeep);
        }
        let location = locate(url, self.directory)?;
        let tag = wanted.and_then(|wanted| wanted.tag);
        let (objects, how, tag_object, _work) = match &location {
            Location::Local(path) => {
                let git = local_git_directory(path)?;
                let mut tag_object = None;
                if let Some(tag) = tag {
                    wire::check_tag(&local_tags(&git, tag)?, tag, id)?;
                    tag_object = Some(reference::named(&git, &format!("refs/tags/{tag}"))?);
                }
                (Objects::open(&git.join("objects"))?, How::Local, tag_object, None)
            }
            _ if self.options.offline => return Err(GitError::Offline),
            _ => {
                let work = Packs::make(self.store)?;
                let tag_object = self.receive(&location, &Want { commit: id, tag }, &work, url)?;
                (Objects::open(work.objects())?, How::Network, tag_object, Some(work))
            }
        };
        if !objects.has(id) {
            return Err(GitError::NotFound { commit: id.to_string() });
        }
        let commit = objects.read(id, ObjectType::Commit, 16 << 20)?;
        if let Some(wanted) = wanted {
            self.vouch(wanted, &objects, id, &commit, tag_object.filter(|tag| *tag != id))?;
        }
        let (tree, _) = commit_of(&commit)?;
        let links = export.tree(&objects, tree, below)?;
        if with_submodules && !links.is_empty() {
            let modules = modules_of(&objects, tree)?;
            for link in links {
                let inner = link.path.strip_prefix(below).unwrap_or(&link.path);
                let inner = inner.strip_prefix(b"/").unwrap_or(inner);
                let fetched = match modules.iter().find(|(path, _)| path == inner) {
                    Some((_, address)) => submodule_url(url, address, &location, self.directory).and_then(|address| {
                        self.repository(export, &address, link.commit, None, true, &link.path, depth + 1)
                    }),
                    None => Err(GitError::UnknownSubmodule),
                };
                match fetched {
                    Ok(_) => {}
                    Err(GitError::Cancelled) => return Err(GitError::Cancelled),
                    Err(source) => {
                        return Err(GitError::Submodule {
                            path: crate::shown::shown(&link.path),
                            source: Box::new(source),
                        });
                    }
                }
            }
        }
        Ok((how, commit))
    }
}

/// What `.gitmodules` at the top of a tree says.
fn modules_of(objects: &Objects, tree: Id) -> Result<Vec<(Vec<u8>, String)>, GitError> {
    let content = objects.read(tree, ObjectType::Tree, 256 << 20)?;
    let entries = export::tree_entries(&content)?;
    let Some((_, _, id)) = entries.iter().find(|(mode, name, _)| *name == b".gitmodules" && mode.starts_with(b"100"))
    else {
        return Ok(Vec::new());
    };
    Ok(submodules(&objects.read(*id, ObjectType::Blob, 1 << 20)?))
}

/// Where a submodule comes from; `./` and `../` start at the repository that names it.
fn submodule_url(parent: &str, address: &str, location: &Location, directory: &Path) -> Result<String, GitError> {
    let mut base = parent.trim_end_matches('/').to_owned();
    let mut rest = address;
    let is_relative = rest.starts_with("./") || rest.starts_with("../");
    while let Some((up, after)) = is_relative.then(|| leading_dots(rest)).flatten() {
        if up {
            let end = base.rfind(['/', ':']).ok_or(GitError::BadUrl { reason: "it leads above its repository" })?;
            base.truncate(end);
        }
        rest = after;
    }
    let url = if is_relative { format!("{base}/{rest}") } else { rest.to_owned() };
    if url.starts_with('-') {
        return Err(GitError::BadUrl { reason: "it looks like an option" });
    }
    // What comes over the network must not make us read this machine's files.
    let is_local = matches!(locate(&url, directory)?, Location::Local(_));
    if is_local && !matches!(location, Location::Local(_)) {
        return Err(GitError::BadUrl { reason: "it is a path on this machine" });
    }
    Ok(url)
}

/// Takes `./` or `../` off a path, and says whether it was the second.
fn leading_dots(path: &str) -> Option<(bool, &str)> {
    let up = path.strip_prefix("../").map(|after| (true, after));
    up.or_else(|| path.strip_prefix("./").map(|after| (false, after)))
}

/// Where a repository on this machine keeps its objects and references.
fn local_git_directory(path: &Path) -> Result<PathBuf, GitError> {
    let none = || GitError::NoRepository { path: path.to_owned() };
    let inner = path.join(".git");
    let git = if inner.is_dir() {
        inner
    } else if let Ok(content) = std::fs::read_to_string(&inner) {
        let target = content.strip_prefix("gitdir: ").ok_or_else(none)?;
        path.join(target.trim_end())
    } else {
        path.to_owned()
    };
    // A linked working tree shares its objects.
    let common =
        std::fs::read_to_string(git.join("commondir")).map_or(git.clone(), |common| git.join(common.trim_end()));
    if common.join("objects").is_dir() { Ok(common) } else { Err(none()) }
}

/// The reference of a repository on this machine that is this tag.
fn local_tags(git: &Path, tag: &str) -> Result<Vec<(Id, Vec<u8>)>, GitError> {
    let name = format!("refs/tags/{tag}");
    match reference::local(git, &name) {
        Ok(id) => Ok(vec![(id, name.into_bytes())]),
        Err(GitError::NoReference { .. }) => Err(GitError::NoTag { tag: tag.to_owned() }),
        Err(error) => Err(error),
    }
}

/// What the store remembers of a commit, if its tag and all that is to vouch for it were seen to hold too.
pub(super) fn known(store: &Store, directory: &Path, wanted: &Commit) -> Result<Option<SourceRow>, StoreError> {
    let Some(row) = store.source(&claim(wanted))? else { return Ok(None) };
    if let Some(tag) = wanted.tag
        && store.source(&tag_claim(wanted.id, tag))?.is_none()
    {
        return Ok(None);
    }
    Ok(is_vouched(store, directory, wanted)?.then_some(row))
}

/// The claim that a recipe makes with a commit: where the store keeps what it turned out to be.
fn claim(wanted: &Commit) -> String {
    format!("git:{}{}", wanted.id, if wanted.submodules { "+submodules" } else { "" })
}

fn commit_claim(commit: &str) -> String {
    format!("git-commit:{commit}")
}

fn tag_claim(commit: &str, tag: &str) -> String {
    format!("git-tag:{commit}:{tag}")
}
