// kitchen/src/sources.rs
//! Sources as inputs of a key, and laid out for the build.
//!
//! What counts in a key is content. [`identify`] says what the content of every source is, without the
//! network and without the content itself: for a claim that was once verified the store remembers the
//! digest; local files and directories are recognised by their inodes and times, or read.
//!
//! Laid out, the main source is the directory `<name>-<version>`; what an archive holds in one top
//! directory loses that directory. Further sources go into it, or below it with `extract_to`.
//! Then the patches are applied, and every file gets one and the same time.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use recipes::{Digest, Recipe, Source};
use store::{CheckoutError, CheckoutOptions, StatFingerprint, Store, StoreError, durable};

use crate::event::{Event, Listener};
use crate::fetch::{self, Content, FetchError, Fetched, Known, Which};
use crate::patch::{self, PatchError};
use crate::unpack::{self, UnpackError};
use crate::workspace::{Workspace, WorkspaceError};

/// One source or patch as a line of the cook key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceInput {
    /// `main`, or position and file name.
    pub name: String,
    /// Digest of the file, or id of the tree.
    pub content: Digest,
    /// True for a patch.
    pub is_patch: bool,
}

/// Why sources could not be laid out.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An archive that is refused or damaged.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// A patch that does not apply.
    #[error("patch {file} does not apply")]
    Patch {
        /// The patch's file.
        file: String,
        /// Where it fails.
        source: PatchError,
    },
    /// A directory named in the recipe is not in the source.
    #[error("{key} names {directory}, which the source does not have; at its top are {}", .found.join(", "))]
    NoDirectory {
        /// The recipe's key.
        key: &'static str,
        /// What it says.
        directory: String,
        /// What is there instead.
        found: Vec<String>,
    },
    /// The files of a tree could not be laid out.
    #[error(transparent)]
    Checkout(#[from] CheckoutError),
    /// A file or directory of the build.
    #[error("cannot lay out {what}")]
    Place {
        /// What.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The build's directories.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack(error) => error.hint(),
            Self::Patch { source, .. } => source.hint(),
            Self::NoDirectory { .. } => Some("name one of those, or leave the key out".to_owned()),
            Self::Checkout(error) => error.hint(),
            Self::Place { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or put the store on another file system with `--store`".to_owned())
            }
            Self::Place { .. } => None,
            Self::Workspace(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}

/// The content of every source and patch, or `None` if one was never fetched.
///
/// # Errors
/// [`FetchError`] for a local directory that cannot be read.
pub fn identify(
    recipe: &Recipe,
    directory: &Path,
    arch: &str,
    store: &Store,
    cancel: &AtomicBool,
) -> Result<Option<Vec<SourceInput>>, FetchError> {
    let mut all = Vec::new();
    let main = recipe.source_for(arch);
    let known = Known { store, directory };
    let content = match main {
        Source::None => None,
        Source::Archive { .. } | Source::Git { .. } => Some(known.main(main)?),
        Source::Path { path } => Some(Some(fetch::local_tree(&directory.join(path), store, cancel)?.tree)),
    };
    match content {
        None => {}
        Some(None) => return Ok(None),
        Some(Some(content)) => all.push(input(Which::Main, "", content)),
    }
    for (position, additional) in recipe.additional.iter().enumerate().filter(|(_, one)| one.is_for(arch)) {
        let Some(content) = known.additional(additional)? else { return Ok(None) };
        all.push(input(Which::Additional(position), additional.file_name(), content));
    }
    for (position, patch) in recipe.patches.iter().enumerate() {
        let content = if patch.checksum.is_empty() {
            // A patch beside the recipe is its own claim.
            let path = std::path::absolute(directory.join(&patch.file)).ok();
            let about = path.as_deref().and_then(|path| fs::metadata(path).ok());
            match (path, about) {
                (Some(path), Some(about)) => store.cached_stat(&path, &StatFingerprint::of(&about))?,
                _ => None,
            }
        } else {
            known.file(&patch.file, &patch.checksum)?
        };
        let Some(content) = content else { return Ok(None) };
        let name = patch.file.rsplit('/').next().unwrap_or(&patch.file);
        all.push(input(Which::Patch(position), name, content));
    }
    Ok(Some(all))
}

/// The same lines, of what was fetched.
#[must_use]
pub fn inputs(fetched: &[Fetched]) -> Vec<SourceInput> {
    fetched.iter().map(|one| input(one.which, &one.file_name, one.content.digest())).collect()
}

/// Names hold the position, because it decides what lies over what.
fn input(which: Which, file_name: &str, content: Digest) -> SourceInput {
    let (name, is_patch) = match which {
        Which::Main => ("main".to_owned(), false),
        Which::Additional(position) => (format!("additional {position:03} {file_name}"), false),
        Which::Patch(position) => (format!("{position:03} {file_name}"), true),
    };
    SourceInput { name, content, is_patch }
}

/// Where the steps start, and what time the sources have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaidOut {
    /// Below the main source's directory; empty for itself.
    start: String,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch_secs: i64,
}

impl LaidOut {
    /// The directory of the steps as they see it, below `build`.
    #[must_use]
    pub fn start_directory(&self, build: &str, source_name: &str) -> String {
        let mut path = format!("{build}/{source_name}");
        if !self.start.is_empty() {
            path.push('/');
            path.push_str(&self.start);
        }
        path
    }
}

/// Lays out all sources in the workspace, patches them and sets their times.
///
/// # Errors
/// [`SourceError`]: an archive that is refused, a patch that does not apply, no space.
pub fn lay_out(
    recipe: &Recipe,
    arch: &str,
    fetched: &[Fetched],
    store: &Store,
    workspace: &Workspace,
    cancel: &AtomicBool,
    listener: Listener<'_>,
) -> Result<LaidOut, SourceError> {
    let lay = Lay { recipe, store, workspace, cancel, listener };
    let mut start = String::new();
    let mut newest = None;
    if let Some(main) = fetched.iter().find(|one| one.which == Which::Main) {
        if let Content::Tree(tree) = main.content {
            lay.tree(main, &tree, &workspace.source())?;
            newest = main.commit_secs;
        } else {
            let unpacked = lay.main_archive(main)?;
            newest = unpacked.0;
            start = extract_dir(recipe.source_for(arch), workspace, unpacked.1.as_deref())?;
        }
    } else {
        make_directory(&workspace.source())?;
    }
    for one in fetched {
        if let Which::Additional(position) = one.which {
            lay.additional(one, position)?;
        }
    }
    let source = workspace.open(&workspace.source())?;
    for one in fetched {
        if let Which::Patch(position) = one.which {
            lay.patch(one, position, source.as_fd())?;
        }
    }
    if let Some(workdir) = &recipe.build.workdir {
        start = if start.is_empty() { workdir.clone() } else { format!("{start}/{workdir}") };
        if !workspace.source().join(&start).is_dir() {
            let found = top_names(&workspace.source());
            return Err(SourceError::NoDirectory { key: "build.workdir", directory: workdir.clone(), found });
        }
    }
    let epoch_secs = recipe
        .build
        .environment
        .get("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse().ok())
        .or(newest)
        .unwrap_or(store::EPOCH_SECS);
    let build = workspace.open(&workspace.build())?;
    unpack::set_times(build.as_fd(), epoch_secs).map_err(place("times"))?;
    Ok(LaidOut { start, epoch_secs })
}

/// What laying out works with.
struct Lay<'a> {
    recipe: &'a Recipe,
    store: &'a Store,
    workspace: &'a Workspace,
    cancel: &'a AtomicBool,
    listener: Listener<'a>,
}

impl Lay<'_> {
    /// Unpacks the main archive; returns its newest time and the top directory that was taken off.
    fn main_archive(&self, main: &Fetched) -> Result<(Option<i64>, Option<String>), SourceError> {
        let aside = self.workspace.build().join(".unpack");
        make_directory(&aside)?;
        let unpacked = self.unpack(main, &aside)?;
        let build = self.workspace.open(&self.workspace.build())?;
        let name = self.workspace.source_name();
        let only = match unpacked.top_level.as_slice() {
            [only] => std::str::from_utf8(only)
                .ok()
                .filter(|only| aside.join(only).is_dir() && !aside.join(only).is_symlink()),
            _ => None,
        };
        let moved = match only {
            Some(only) => {
                let inside = self.workspace.open(&aside)?;
                durable::rename_noreplace(&inside, only, &build, name).and_then(|()| fs::remove_dir(&aside))
            }
            None => durable::rename_noreplace(&build, ".unpack", &build, name),
        };
        moved.map_err(place(&main.file_name))?;
        Ok((unpacked.newest_mtime, only.map(str::to_owned)))
    }

    fn unpack(&self, one: &Fetched, into: &Path) -> Result<unpack::Unpacked, SourceError> {
        let archive = self.store.open_object(&one.content.digest())?;
        let directory = self.workspace.open(into)?;
        let limits = unpack::Limits::default();
        let unpacked = unpack::unpack(archive, &one.file_name, directory.as_fd(), &limits, self.cancel)?;
        (self.listener)(Event::Unpacked {
            file: one.file_name.clone(),
            entries: unpacked.entries,
            bytes: unpacked.bytes,
        });
        Ok(unpacked)
    }

    /// Copies a tree of the store to a directory that does not exist yet.
    fn tree(&self, one: &Fetched, tree: &Digest, to: &Path) -> Result<(), SourceError> {
        make_directory(to)?;
        let tree = self.store.tree(tree)?;
        let directory = self.workspace.open(to)?;
        // Steps write into their sources: never a link to an object.
        let options = CheckoutOptions { editable: true, ..CheckoutOptions::default() };
        self.store.checkout(&tree, directory.as_fd(), &options, self.cancel)?;
        (self.listener)(Event::Unpacked {
            file: one.file_name.clone(),
            entries: tree.entries().len() as u64,
            bytes: tree.content().1,
        });
        Ok(())
    }

    /// Puts a further source into the main source's directory, or below it.
    fn additional(&self, one: &Fetched, position: usize) -> Result<(), SourceError> {
        let additional = &self.recipe.additional[position];
        let source = self.workspace.source();
        let into = match &additional.extract_to {
            Some(below) => beneath(&source, below)?,
            None => source,
        };
        if let Content::Tree(tree) = one.content {
            // A repository lies in a directory of its own, where nothing says otherwise.
            let named = additional.extract_to.is_none() || additional.name.is_some();
            let to = if named { into.join(additional.laid_out_as()) } else { into };
            return self.tree_over(one, &tree, &to);
        }
        let file = self.store.open_object(&one.content.digest())?;
        let wanted = match additional.extract {
            Some(wanted) => wanted,
            None => unpack::is_archive(&file, &unpack::Limits::default()).map_err(place(&one.file_name))?,
        };
        if wanted {
            self.unpack(one, &into)?;
            if !additional.keep {
                return Ok(());
            }
        }
        let to = into.join(additional.laid_out_as());
        let mut file = self.store.open_object(&one.content.digest())?;
        let mut copy = File::create_new(&to).map_err(place(&one.file_name))?;
        io::copy(&mut file, &mut copy).map_err(place(&one.file_name))?;
        copy.set_permissions(fs::Permissions::from_mode(0o644)).map_err(place(&one.file_name))
    }

    /// As [`Lay::tree`], into a directory that may be there and empty, as one of a submodule is.
    fn tree_over(&self, one: &Fetched, tree: &Digest, to: &Path) -> Result<(), SourceError> {
        if to.is_dir() {
            fs::remove_dir(to).map_err(place(&one.file_name))?;
        }
        self.tree(one, tree, to)
    }

    fn patch(&self, one: &Fetched, position: usize, source: BorrowedFd<'_>) -> Result<(), SourceError> {
        let patch = &self.recipe.patches[position];
        let bytes = self.store.read(&one.content.digest())?;
        let bytes = unpack::decompress(bytes, &one.file_name, &unpack::Limits::default(), self.cancel)?;
        let options = patch::Options { strip: patch.strip, fuzz: patch.fuzz };
        patch::apply(source, &bytes, &options)
            .map_err(|source| SourceError::Patch { file: one.file_name.clone(), source })?;
        (self.listener)(Event::Patched { file: one.file_name.clone() });
        Ok(())
    }
}

/// The directory that `source.extract_dir` names, below the main source's directory.
fn extract_dir(source: &Source, workspace: &Workspace, taken_off: Option<&str>) -> Result<String, SourceError> {
    let Source::Archive { extract_dir: Some(wanted), .. } = source else { return Ok(String::new()) };
    let wanted = wanted.trim_matches('/');
    let below = match taken_off {
        Some(top) if wanted == top => "",
        Some(top) => wanted.strip_prefix(top).and_then(|rest| rest.strip_prefix('/')).unwrap_or(wanted),
        None => wanted,
    };
    if workspace.source().join(below).is_dir() {
        return Ok(below.to_owned());
    }
    let mut found = top_names(&workspace.source());
    found.extend(taken_off.map(str::to_owned));
    Err(SourceError::NoDirectory { key: "source.extract_dir", directory: wanted.to_owned(), found })
}

/// Makes a directory below another, step by step, through no link.
fn beneath(top: &Path, below: &str) -> Result<PathBuf, SourceError> {
    let mut path = top.to_owned();
    for name in below.split('/').filter(|name| !name.is_empty() && *name != ".") {
        path.push(name);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => {}
            Ok(_) => {
                return Err(SourceError::NoDirectory {
                    key: "extract_to",
                    directory: below.to_owned(),
                    found: top_names(top),
                });
            }
            Err(_) => make_directory(&path)?,
        }
    }
    Ok(path)
}

fn make_directory(path: &Path) -> Result<(), SourceError> {
    // Whatever the caller's umask is.
    let open = |()| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755));
    fs::create_dir(path).and_then(open).map_err(place(&path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Names in a directory, for a message.
fn top_names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .map(|entries| entries.flatten().map(|e| crate::shown::shown(e.file_name().as_encoded_bytes())).collect())
        .unwrap_or_default();
    names.sort_unstable();
    names.truncate(20);
    names
}

fn place(what: &str) -> impl FnOnce(io::Error) -> SourceError {
    let what = what.to_owned();
    move |source| SourceError::Place { what, source }
}
