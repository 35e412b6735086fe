// installer/src/verify.rs
//! Verification: does every installed file still look as the database says?
//!
//! Contents are read, whatever times say; work is spread over threads, and findings come back by path.

use std::io::{self, Read};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use recipes::{Digest, TroveSpec};
use store::root_db::{FLAG_CONFIG, FLAG_EXISTED, FileRow, HookRow, Kind};

use crate::accounts;
use crate::beneath::{self, Beneath, Directories, Found};
use crate::error::QueryError;
use crate::paths::{self, PathKey};
use crate::query::Installed;
use crate::root::Root;

/// Files that a thread takes at a time.
const SHARE: usize = 64;

/// Something that is not as it was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The path.
    pub path: Vec<u8>,
    /// The trove that owns it.
    pub trove: TroveSpec,
    /// Its component.
    pub component: String,
    /// Whether it is configuration, which may be edited.
    pub config: bool,
    /// What differs.
    pub difference: Difference,
}

/// How a path differs from what was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Nothing is there.
    Missing,
    /// It is another kind of thing; none for a special file.
    Kind {
        /// What was installed.
        expected: Kind,
        /// What is there.
        actual: Option<Kind>,
    },
    /// The content of a file.
    Content {
        /// What was installed.
        expected: Option<Digest>,
        /// What is there; none when already its size differs.
        actual: Option<Digest>,
    },
    /// The target of a symbolic link.
    Target {
        /// What was installed.
        expected: Vec<u8>,
        /// What is there.
        actual: Vec<u8>,
    },
    /// Permission bits.
    Mode {
        /// What was installed.
        expected: u32,
        /// What is there.
        actual: u32,
    },
    /// User and group.
    Owner {
        /// What was installed.
        expected: (u32, u32),
        /// What is there.
        actual: (u32, u32),
    },
    /// An extended attribute.
    Attribute {
        /// Its name.
        name: Vec<u8>,
    },
    /// It cannot be looked at.
    Unreadable {
        /// Why.
        error: String,
    },
}

/// What a verification saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// How many paths were looked at.
    pub paths: usize,
    /// What differs, by path.
    pub findings: Vec<Finding>,
}

impl Root {
    /// Compares the files of installed troves (all, when none are named) with what was installed.
    ///
    /// `progress` hears how many paths are done, and of how many.
    ///
    /// # Errors
    /// [`QueryError::NotInstalled`], [`QueryError::Interrupted`] and trouble with the database; what is wrong with files is a finding.
    pub fn verify(
        &self,
        specs: &[TroveSpec],
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Verified, QueryError> {
        let troves: Vec<Installed> = if specs.is_empty() {
            self.list()?
        } else {
            specs.iter().map(|spec| self.show(spec)).collect::<Result<_, _>>()?
        };
        let mut files = self.all_files(&troves)?;
        let wanted = |number: usize, file: &FileRow| {
            let component = specs.get(number).and_then(|spec| spec.component.as_ref());
            component.is_none_or(|component| *component == file.component)
        };
        files.retain(|(number, file)| wanted(*number, file));
        files.sort_by_cached_key(|(_, file)| PathKey(file.path.clone()));
        let hooks = self.ask(Vec::new(), |db| Ok(db.hooks()?))?;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut findings = Vec::new();
            let mut directories = Directories::new(&self.beneath);
            loop {
                let from = next.fetch_add(SHARE, Ordering::Relaxed);
                if from >= files.len() || cancel.load(Ordering::Relaxed) {
                    return findings;
                }
                let to = (from + SHARE).min(files.len());
                for (number, file) in &files[from..to] {
                    let found = check(&self.beneath, &mut directories, file, self.options.uid);
                    let finding = |difference| Finding {
                        path: file.path.clone(),
                        trove: troves[*number].manifest.spec(),
                        component: file.component.clone(),
                        config: file.has(FLAG_CONFIG),
                        difference,
                    };
                    findings.extend(found.into_iter().map(finding));
                }
                progress(to, files.len());
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files.len() / SHARE + 1);
        let mut findings: Vec<Finding> = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut findings = work();
            for other in others {
                match other.join() {
                    Ok(more) => findings.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            findings
        });
        if cancel.load(Ordering::Relaxed) {
            return Err(QueryError::Interrupted);
        }
        findings.retain(|finding| !self.differs_by_hooks(finding, &hooks));
        findings.sort_by_cached_key(|finding| PathKey(finding.path.clone()));
        Ok(Verified { paths: files.len(), findings })
    }
}

impl Root {
    /// Whether an account file is as packaged, beside the lines of hooks.
    fn differs_by_hooks(&self, finding: &Finding, hooks: &[HookRow]) -> bool {
        let place = accounts::FILES.iter().position(|path| *path == finding.path.as_slice());
        let (Some(place), Difference::Content { expected: Some(expected), .. }) = (place, &finding.difference) else {
            return false;
        };
        let mut text = Vec::new();
        let read = self.beneath.read_inside(&finding.path).and_then(|mut file| file.read_to_end(&mut text));
        let text = accounts::without(place, &text, hooks);
        read.is_ok() && Digest::blake3(*blake3::hash(&text).as_bytes()) == *expected
    }
}

/// Returns how a path differs from its row.
fn check(root: &Beneath, directories: &mut Directories<'_>, file: &FileRow, uid: u32) -> Vec<Difference> {
    let (parent, name) = paths::split(&file.path);
    let looked = directories.get_if_present(parent).and_then(|directory| match directory {
        None => Ok(None),
        Some(directory) => {
            let found = beneath::stat(&*directory, name)?;
            Ok(found.map(|found| (directory, found)))
        }
    });
    let (directory, found) = match looked {
        Err(error) => return vec![unreadable(&error)],
        Ok(None) => return vec![Difference::Missing],
        Ok(Some(looked)) => looked,
    };
    let mut differences = Vec::new();
    if found.kind != Some(file.kind) {
        return vec![Difference::Kind { expected: file.kind, actual: found.kind }];
    }
    if file.kind == Kind::Directory && file.has(FLAG_EXISTED) {
        return differences;
    }
    match content(&directory, name, file, &found) {
        Err(error) => differences.push(unreadable(&error)),
        Ok(content) => differences.extend(content),
    }
    if file.kind != Kind::Symlink && found.mode != file.applied_mode {
        differences.push(Difference::Mode { expected: file.applied_mode, actual: found.mode });
    }
    let (expected, actual) = ((file.uid, file.gid), (found.uid, found.gid));
    // An ordinary user's files have whatever group their directory gave them.
    if expected != actual && (uid == 0 || expected.0 != actual.0) {
        differences.push(Difference::Owner { expected, actual });
    }
    if let Err(error) = attributes(root, file, uid, &mut differences) {
        differences.push(unreadable(&error));
    }
    differences
}

fn content(
    directory: &std::os::fd::OwnedFd,
    name: &[u8],
    file: &FileRow,
    found: &Found,
) -> io::Result<Option<Difference>> {
    match file.kind {
        Kind::Directory => Ok(None),
        Kind::Symlink => {
            let actual = beneath::read_link(directory, name)?;
            let expected = file.target.clone().unwrap_or_default();
            Ok((actual != expected).then_some(Difference::Target { expected, actual }))
        }
        Kind::File if found.size != file.size => Ok(Some(Difference::Content { expected: file.object, actual: None })),
        Kind::File => {
            let actual = Some(crate::hash::of_file(beneath::open_file(directory, name)?)?);
            let expected = file.object;
            Ok((actual != expected).then_some(Difference::Content { expected, actual }))
        }
    }
}

fn attributes(root: &Beneath, file: &FileRow, uid: u32, differences: &mut Vec<Difference>) -> io::Result<()> {
    if file.xattrs.is_empty() || file.kind == Kind::Symlink {
        return Ok(());
    }
    let (parent, name) = paths::split(&file.path);
    let directory = root.directory(parent)?;
    let open: std::os::fd::OwnedFd = if file.kind == Kind::Directory {
        beneath::open_directory(&*directory, name)?
    } else {
        beneath::open_file(&*directory, name)?.into()
    };
    for (name, expected) in &file.xattrs {
        if uid != 0 && !name.starts_with(b"user.") {
            continue;
        }
        let mut actual = vec![0; expected.len() + 1];
        let same = match rustix::fs::fgetxattr(&open, name.as_slice(), &mut actual) {
            Ok(length) => actual[..length] == expected[..],
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::RANGE | rustix::io::Errno::OPNOTSUPP) => false,
            Err(error) => return Err(error.into()),
        };
        if !same {
            differences.push(Difference::Attribute { name: name.clone() });
        }
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> Difference {
    Difference::Unreadable { error: error.to_string() }
}
