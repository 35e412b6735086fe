// kitchen/src/patch/mod.rs
//! Applies a patch to a tree, all of it or nothing.
//!
//! Read are unified, context and git diffs, several files and several commits in one, between any other text.
//! All results are worked out in memory first, and only a patch that fits whole is written. GNU patch is the
//! model for where a hunk may land: at its line, else at the nearest place where every line of it matches, in
//! order, and only with the `fuzz` that the recipe grants may lines at the edge of its context differ. What
//! GNU patch asks about on a terminal (reversed patches, files it cannot find) is an error here.
//!
//! Paths are resolved beneath the open directory and through no symlink (`beneath.rs`). As in GNU patch, a name that
//! is absolute or leads upwards is passed over when the header's other name is sound, and an error when it is not.

mod hunk;
mod parse;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use rustix::fs::{FileType, Mode};

use crate::beneath::{Beneath, EXECUTABLE_MODE, Obstacle, PLAIN_MODE, split};
use crate::shown::shown;
use parse::{FileDiff, FileMode, Parsed, Transfer};

/// A file that a patch changes must not be larger than this.
const LARGEST_FILE_BYTES: u64 = 1 << 30;

/// How a patch is to be read and how exactly it must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many leading names are taken off the paths in the patch, 1 for `a/` and `b/`.
    pub strip: u32,
    /// How many lines at each edge of a hunk's context may differ.
    pub fuzz: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { strip: 1, fuzz: 0 }
    }
}

/// Why a patch was not applied. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// There is no diff in it.
    #[error("there is no patch in it")]
    Empty,
    /// It breaks its own format.
    #[error("the patch is malformed at its line {line}: {reason}")]
    Malformed {
        /// The line of the patch.
        line: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// It does something that is not supported.
    #[error("the patch holds {what} at its line {line}, which is not supported")]
    Unsupported {
        /// The line of the patch.
        line: usize,
        /// What it is.
        what: &'static str,
    },
    /// All names that it gives for a file lead out of the tree.
    #[error("the patch names {file:?}, outside of the tree")]
    Outside {
        /// The name.
        file: String,
    },
    /// A file that it changes does not exist.
    #[error("the patch changes {file:?}, which does not exist")]
    NotFound {
        /// The file.
        file: String,
    },
    /// A file that it creates exists.
    #[error("the patch creates {file:?}, which exists")]
    Exists {
        /// The file.
        file: String,
    },
    /// A hunk fits nowhere.
    #[error("hunk {hunk} of {file:?} does not apply at line {line}")]
    HunkFailed {
        /// The file.
        file: String,
        /// The hunk, counted from 1 within the file.
        hunk: usize,
        /// The line of the file at which it was expected.
        line: usize,
        /// Whether the file already has what the hunk would make.
        already_applied: bool,
        /// Whether it would apply with fuzz, and how much of it.
        fuzz_needed: Option<u32>,
    },
    /// A file that it deletes has content beyond what the patch takes away.
    #[error("the patch deletes {file:?}, but not all that it holds")]
    NotEmptied {
        /// The file.
        file: String,
    },
    /// A path leads through a symlink, or to something that is no regular file.
    #[error("the patch changes {file:?}, which is or lies behind something that is no regular file or directory")]
    NotAFile {
        /// The file.
        file: String,
    },
    /// Reading or writing a file failed.
    #[error("cannot patch {file:?}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
}

impl PatchError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::HunkFailed { already_applied: true, .. } | Self::Exists { .. } => {
                "the source seems to have this change already: drop the patch from the recipe".to_owned()
            }
            Self::HunkFailed { fuzz_needed: Some(fuzz), .. } => {
                format!(
                    "make the patch again from this source, or, when the place is right, set `fuzz = {fuzz}` for it"
                )
            }
            Self::HunkFailed { .. } => "make the patch again from this version of the source".to_owned(),
            Self::NotFound { .. } | Self::Outside { .. } => {
                "check `strip`: it counts the leading names to take off the paths in the patch".to_owned()
            }
            Self::Empty => "check that the file is a unified, context or git diff and was downloaded whole".to_owned(),
            Self::Unsupported { .. } => "put that file beside the recipe and copy it in `setup`".to_owned(),
            Self::Malformed { .. } => "the patch was edited by hand or damaged on its way: make it again".to_owned(),
            Self::NotEmptied { .. } | Self::NotAFile { .. } | Self::Io { .. } => return None,
        })
    }
}

/// Applies `patch` to the tree below `directory` and returns the paths that it changed, sorted bytewise.
///
/// # Errors
/// [`PatchError`]; nothing has been written then, except for [`PatchError::Io`] while writing.
pub fn apply(directory: BorrowedFd, patch: &[u8], options: &Options) -> Result<Vec<Vec<u8>>, PatchError> {
    let patch = parse::without_carriage_returns(patch);
    let parsed = parse::parse(&patch)?;
    if parsed.is_empty() {
        return Err(PatchError::Empty);
    }
    let mut patched =
        Patched { beneath: Beneath::new(directory), options, files: BTreeMap::new(), base: BTreeMap::new() };
    for part in &parsed {
        match part {
            // Renames and copies of one commit all start from the tree as it was before that commit.
            Parsed::Commit => patched.base = patched.files.clone(),
            Parsed::File(diff) => patched.add(diff)?,
        }
    }
    patched.write()
}

/// One file in the middle of being patched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    bytes: Rc<Vec<u8>>,
    mode: FileMode,
}

/// The tree as the patch makes it, as far as it differs from the disk: `None` is a removed file.
type Overlay = BTreeMap<Vec<u8>, Option<Content>>;

struct Patched<'a> {
    beneath: Beneath<'a>,
    options: &'a Options,
    files: Overlay,
    base: Overlay,
}

impl Patched<'_> {
    /// Works out what one file's diff makes.
    fn add(&mut self, diff: &FileDiff) -> Result<(), PatchError> {
        let (source, target) = self.choose(diff)?;
        let old = match (&source, &diff.transfer) {
            (None, _) => None,
            (Some(source), Transfer::None) => Some(self.existing(source, false)?),
            (Some(source), _) => Some(self.existing(source, true)?),
        };
        let bytes = match &old {
            Some(old) => hunk::apply(&old.bytes, &diff.hunks, self.options.fuzz),
            None => hunk::apply(&[], &diff.hunks, self.options.fuzz),
        };
        let bytes = bytes.map_err(|failure| PatchError::HunkFailed {
            file: shown(&target),
            hunk: failure.hunk,
            line: failure.line,
            already_applied: failure.already_applied,
            fuzz_needed: failure.fuzz_needed,
        })?;
        if diff.deletes && !bytes.is_empty() {
            return Err(PatchError::NotEmptied { file: shown(&target) });
        }
        let old_mode = old.as_ref().map_or(FileMode::Plain, |old| old.mode);
        let mode = diff.new_mode.unwrap_or(old_mode);
        if diff.transfer == Transfer::Rename
            && let Some(source) = source
            // Unless another rename of the same commit has put a new file there.
            && self.files.get(&source) == self.base.get(&source)
        {
            self.files.insert(source, None);
        }
        let removed = diff.deletes || (bytes.is_empty() && diff.new_side_is_absent);
        self.files.insert(target, (!removed).then(|| Content { bytes: Rc::new(bytes), mode }));
        Ok(())
    }

    /// Finds the file that a diff reads, if any, and the one that it writes.
    fn choose(&self, diff: &FileDiff) -> Result<(Option<Vec<u8>>, Vec<u8>), PatchError> {
        let strip = self.options.strip;
        if diff.transfer != Transfer::None {
            // These two come without a/ and b/.
            let name = |name: &Option<Vec<u8>>| sound(name.as_deref().unwrap_or_default(), strip.saturating_sub(1));
            let source = name(&diff.old_name).map_err(|file| PatchError::Outside { file })?;
            let target = name(&diff.new_name).map_err(|file| PatchError::Outside { file })?;
            if target != source && self.exists(&target)? && self.base.get(&target) == self.files.get(&target) {
                // A swap takes its target away in the same commit; anything else would overwrite a file.
                if !diff.replaces_target {
                    return Err(PatchError::Exists { file: shown(&target) });
                }
            }
            return Ok((Some(source), target));
        }
        let mut candidates = Vec::new();
        let mut outside = None;
        for name in [&diff.old_name, &diff.new_name].into_iter().flatten() {
            match sound(name, strip) {
                Ok(name) if !candidates.contains(&name) => candidates.push(name),
                Ok(_) => {}
                Err(name) => outside = Some(name),
            }
        }
        if candidates.is_empty() {
            return Err(PatchError::Outside { file: outside.unwrap_or_default() });
        }
        let mut existing = Vec::new();
        for name in &candidates {
            if self.exists(name)? {
                existing.push(name.clone());
            }
        }
        let best = |names: &[Vec<u8>]| names.iter().min_by_key(|name| preference(name)).cloned();
        match best(&existing) {
            Some(name) if diff.creates => Err(PatchError::Exists { file: shown(&name) }),
            Some(name) => Ok((Some(name.clone()), name)),
            None if diff.creates || diff.old_side_is_empty() => {
                // The new name where it is sound: that is the last one.
                let name = candidates.pop().expect("because it was found not to be empty above");
                Ok((None, name))
            }
            None => {
                let file = best(&candidates).unwrap_or_default();
                Err(PatchError::NotFound { file: shown(&file) })
            }
        }
    }

    fn exists(&self, path: &[u8]) -> Result<bool, PatchError> {
        match self.files.get(path) {
            Some(file) => Ok(file.is_some()),
            None => match self.beneath.kind(path) {
                Ok(kind) => Ok(kind.is_some()),
                // `a/b` where `a` is a file is a path that does not exist.
                Err(Obstacle::NotADirectory) => Ok(false),
                Err(obstacle) => Err(refuse(path, obstacle)),
            },
        }
    }

    fn existing(&self, path: &[u8], from_base: bool) -> Result<Content, PatchError> {
        let overlay = if from_base { &self.base } else { &self.files };
        match overlay.get(path) {
            Some(Some(content)) => return Ok(content.clone()),
            Some(None) => return Err(PatchError::NotFound { file: shown(path) }),
            None => {}
        }
        if self.beneath.kind(path).map_err(|obstacle| refuse(path, obstacle))? == Some(FileType::Symlink) {
            let target = self.beneath.read_link(path).map_err(|obstacle| refuse(path, obstacle))?.unwrap_or_default();
            return Ok(Content { bytes: Rc::new(target), mode: FileMode::Symlink });
        }
        let io = |source| PatchError::Io { file: shown(path), source };
        let file = self.beneath.read(path).map_err(|obstacle| refuse(path, obstacle))?;
        let file = file.ok_or_else(|| PatchError::NotFound { file: shown(path) })?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| io(errno.into()))?;
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > LARGEST_FILE_BYTES {
            return Err(io(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        let mode = if stat.st_mode & 0o111 == 0 { FileMode::Plain } else { FileMode::Executable };
        Ok(Content { bytes: Rc::new(bytes), mode })
    }

    /// Puts the overlay on the disk.
    fn write(mut self) -> Result<Vec<Vec<u8>>, PatchError> {
        let files = std::mem::take(&mut self.files);
        // Removals first: a directory may take the place of a file.
        for (path, _) in files.iter().filter(|(_, content)| content.is_none()) {
            self.remove(path)?;
        }
        for (path, content) in &files {
            if let Some(content) = content {
                self.write_file(path, content).map_err(|obstacle| refuse(path, obstacle))?;
            }
        }
        Ok(files.into_keys().collect())
    }

    fn write_file(&mut self, path: &[u8], content: &Content) -> Result<(), Obstacle> {
        let is_link = content.mode == FileMode::Symlink;
        let wanted = if is_link { FileType::Symlink } else { FileType::RegularFile };
        // A parent that does not exist yet, or was a file until now, is made by the write.
        if self.beneath.kind(path)?.is_some_and(|kind| kind != wanted) {
            self.beneath.remove(path)?;
        }
        if is_link {
            return self.beneath.symlink(path, &content.bytes);
        }
        let mut file = self.beneath.file(path)?;
        file.write_all(&content.bytes).map_err(Obstacle::Io)?;
        let mode = if content.mode == FileMode::Executable { EXECUTABLE_MODE } else { PLAIN_MODE };
        Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?)
    }

    /// Removes a file and, as GNU patch and git do, the directories that are empty without it.
    fn remove(&mut self, path: &[u8]) -> Result<(), PatchError> {
        if self.beneath.kind(path).map_err(|obstacle| refuse(path, obstacle))?.is_none() {
            // Made and removed by the patch itself.
            return Ok(());
        }
        self.beneath.remove(path).map_err(|obstacle| refuse(path, obstacle))?;
        let (mut parent, _) = split(path);
        while !parent.is_empty() {
            match self.beneath.remove_empty_directory(parent) {
                Ok(true) => parent = split(parent).0,
                Ok(false) => break,
                Err(obstacle) => return Err(refuse(parent, obstacle)),
            }
        }
        Ok(())
    }
}

/// Which of two existing names GNU patch takes: fewest directories, then the shortest last name, then the shortest.
fn preference(name: &[u8]) -> (usize, usize, usize) {
    let directories = name.split(|byte| *byte == b'/').count();
    (directories, split(name).1.len(), name.len())
}

/// Takes `strip` leading names off a path and checks that the rest stays within the tree.
fn sound(name: &[u8], strip: u32) -> Result<Vec<u8>, String> {
    let outside = || shown(name);
    let mut rest = name;
    for _ in 0..strip {
        let slash = rest.iter().position(|byte| *byte == b'/').ok_or_else(outside)?;
        rest = &rest[slash..];
        while let [b'/', after @ ..] = rest {
            rest = after;
        }
    }
    if rest.starts_with(b"/") || rest.contains(&0) || rest.len() > 4095 {
        return Err(outside());
    }
    let mut path = Vec::with_capacity(rest.len());
    for part in rest.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(outside()),
            part if part.len() > 255 => return Err(outside()),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    if path.is_empty() { Err(outside()) } else { Ok(path) }
}

fn refuse(path: &[u8], obstacle: Obstacle) -> PatchError {
    let file = shown(path);
    match obstacle {
        Obstacle::Io(source) => PatchError::Io { file, source },
        _ => PatchError::NotAFile { file },
    }
}

#[cfg(test)]
mod tests;
