// installer/src/script/caught.rs
//! What scriptlets did, on its way from the directory where it was caught into the root.
//!
//! The directory is the upper layer of an overlay: new and changed things as they are now, a character device 0:0 for each that is gone, an
//! attribute on a directory that hides all of the one below it. What belongs to a package is not changed, configuration aside.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use store::Batch;
use store::root_db::{FLAG_CONFIG, Kind, RootDb};

use crate::beneath::{self, Found};
use crate::error::CommitError;
use crate::paths::{self, PathKey};
use crate::plan::{Over, Put, Take, What, Work};
use crate::root::Root;
use crate::trigger::{TriggerError, digest, list};

/// The attribute of a directory that hides the one below it.
const OPAQUE: &str = "user.overlay.opaque";

/// Something that was caught.
enum Caught {
    Directory { mode: u32, opaque: bool },
    File { mode: u32, at: PathBuf },
    Symlink { target: Vec<u8> },
    Gone,
}

/// Takes everything that lies in `upper` into the store, and says what to do to the root.
pub(super) fn take_in(
    root: &Root,
    db: &RootDb,
    batch: &Batch<'_>,
    upper: &Path,
    work: &mut Work,
) -> Result<(), TriggerError> {
    let found = list(upper, &read)?;
    let mut taking = Taking { root, db, batch, work };
    for (PathKey(path), caught) in &found {
        if let Some(why) = paths::forbidden(path) {
            return Err(wrong(path, why));
        }
        match caught {
            Caught::Directory { mode, opaque } => {
                taking.directory(path, *mode)?;
                if *opaque {
                    taking.empty(path, |name| !found.contains_key(&PathKey(paths::join(path, name))))?;
                }
            }
            Caught::File { mode, at } => taking.file(path, *mode, at)?,
            Caught::Symlink { target } => taking.symlink(path, target)?,
            Caught::Gone => taking.gone(path)?,
        }
    }
    Ok(())
}

fn wrong(path: &[u8], why: &str) -> TriggerError {
    TriggerError::Output { path: path.to_vec(), why: why.to_owned() }
}

struct Taking<'a, 's> {
    root: &'a Root,
    db: &'a RootDb,
    batch: &'a Batch<'s>,
    work: &'a mut Work,
}

impl Taking<'_, '_> {
    fn look(&self, path: &[u8]) -> Result<Option<Found>, TriggerError> {
        let fail = |source| CommitError::Stage { action: "look at", path: path.to_vec(), source };
        Ok(self.root.beneath.stat(path).map_err(|source| Box::new(fail(source)))?)
    }

    /// Refuses what belongs to a package and is no configuration.
    fn check_owner(&self, path: &[u8]) -> Result<(), TriggerError> {
        let rows = self.db.rows_at(path).map_err(|error| Box::new(CommitError::from(error)))?;
        let Some(row) = rows.iter().find(|row| !row.has(FLAG_CONFIG)) else {
            return Ok(());
        };
        let names = self.db.names().map_err(|error| Box::new(CommitError::from(error)))?;
        let owner = names.get(&row.trove).cloned().unwrap_or_default();
        Err(wrong(path, &format!("which belongs to {owner}")))
    }

    fn directory(&mut self, path: &[u8], mode: u32) -> Result<(), TriggerError> {
        match self.look(path)? {
            None => self.put(path, What::Directory, mode, None),
            Some(there) if there.kind != Some(Kind::Directory) => {
                return Err(wrong(path, "where something else than a directory lies"));
            }
            Some(there) if there.mode & 0o777 != mode & 0o777 => {
                self.check_owner(path)?;
                let (uid, gid) = (there.uid, there.gid);
                self.work.takes.push(Take::SetDirectory { path: path.to_vec(), mode, uid, gid });
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], mode: u32, at: &Path) -> Result<(), TriggerError> {
        let fail = |source| TriggerError::Io { action: "read", path: at.to_owned(), source };
        let mut file = fs::File::open(at).map_err(fail)?;
        let store = |error: store::StoreError| Box::new(CommitError::from(error));
        let (object, size) = self.batch.add_file(&mut file, 0o644).map_err(store)?;
        let there = self.look(path)?;
        if let Some(there) = &there {
            if !matches!(there.kind, Some(Kind::File | Kind::Symlink)) {
                return Err(wrong(path, "where something else than a file lies"));
            }
            let file = there.kind == Some(Kind::File);
            if file && there.mode & 0o777 == mode & 0o777 && digest(self.root, path)? == Some(object) {
                return Ok(());
            }
            self.check_owner(path)?;
        }
        self.put(path, What::File { object, size, private: true, group: None }, mode, there.as_ref());
        Ok(())
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), TriggerError> {
        let there = self.look(path)?;
        if let Some(there) = &there {
            if !matches!(there.kind, Some(Kind::File | Kind::Symlink)) {
                return Err(wrong(path, "where something else than a link lies"));
            }
            self.check_owner(path)?;
        }
        self.put(path, What::Symlink { target: target.to_vec() }, 0o777, there.as_ref());
        Ok(())
    }

    fn gone(&mut self, path: &[u8]) -> Result<(), TriggerError> {
        let Some(there) = self.look(path)? else {
            return Ok(());
        };
        self.check_owner(path)?;
        if there.kind == Some(Kind::Directory) {
            self.empty(path, |_| true)?;
            self.work.takes.push(Take::RemoveDirectory { path: path.to_vec() });
        } else {
            self.work.takes.push(Take::Remove { path: path.to_vec(), seen: there.seen(), strip: false });
        }
        Ok(())
    }

    /// Removes what is in a directory of the root, as far as `goes` says.
    fn empty(&mut self, path: &[u8], goes: impl Fn(&[u8]) -> bool) -> Result<(), TriggerError> {
        let fail = |source| Box::new(CommitError::Stage { action: "read", path: path.to_vec(), source });
        let Some(directory) = self.root.beneath.directory_if_present(path).map_err(fail)? else {
            return Ok(());
        };
        for name in beneath::names(&*directory).map_err(fail)? {
            if goes(&name) {
                self.gone(&paths::join(path, &name))?;
            }
        }
        Ok(())
    }

    /// Puts something: what was there keeps its owner, what is new belongs to root, or to who works.
    fn put(&mut self, path: &[u8], what: What, mode: u32, there: Option<&Found>) {
        let uid = self.root.options.uid;
        let (uid, gid) = there.map_or((uid, uid), |there| (there.uid, there.gid));
        let over = there.map(|there| Over {
            seen: there.seen(),
            displaces: false,
            directory: false,
            strip: there.kind == Some(Kind::File) && there.mode & 0o6000 != 0,
        });
        self.work.puts.push(Put::plain(path, what, mode, (uid, gid), over));
    }
}

/// Says what something in the directory of an overlay stands for.
fn read(path: &[u8], entry: &fs::DirEntry, about: &fs::Metadata) -> Result<Caught, TriggerError> {
    let (at, kind, mode) = (entry.path(), about.file_type(), about.mode() & 0o1777);
    if kind.is_dir() {
        let mut value = [0; 8];
        let opaque = rustix::fs::lgetxattr(&at, OPAQUE, &mut value).is_ok_and(|length| value[..length] == *b"y");
        Ok(Caught::Directory { mode, opaque })
    } else if kind.is_file() {
        Ok(Caught::File { mode, at })
    } else if kind.is_symlink() {
        let target = fs::read_link(&at).map_err(|source| TriggerError::Io { action: "read", path: at, source })?;
        Ok(Caught::Symlink { target: target.as_os_str().as_bytes().to_vec() })
    } else if kind.is_char_device() && about.rdev() == 0 {
        Ok(Caught::Gone)
    } else {
        Err(wrong(path, "which is neither a file nor a directory nor a link"))
    }
}
