// kitchen/src/step.rs
//! What a step of a build sees, in one place: for `cook`, and for whoever wants to look around in the same room.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use sandbox::{Bind, Level, Limits, Plan, RootView};

use crate::environment::{BUILD, DESTDIR, STEPS};

/// Everything about a step but its command.
#[derive(Debug, Clone)]
pub struct Room {
    /// What `/` is made of.
    pub root: RootView,
    /// The directory that appears as `/build`, writable.
    pub build: PathBuf,
    /// The directory that appears as `/dest`, writable.
    pub dest: PathBuf,
    /// The directory that appears as `/steps`.
    pub steps: PathBuf,
    /// All variables.
    pub environment: BTreeMap<String, String>,
    /// Where the command starts, as it sees it.
    pub directory: String,
    /// What it may use.
    pub limits: Limits,
    /// Isolated or not.
    pub level: Level,
}

impl Room {
    /// The sandbox's plan for one command in this room.
    #[must_use]
    pub fn plan(&self, command: Vec<OsString>) -> Plan {
        let bind = |source: &Path, target: &str, writable| Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            writable,
        };
        Plan {
            root: self.root.clone(),
            binds: vec![
                bind(&self.build, BUILD, true),
                bind(&self.dest, DESTDIR, true),
                bind(&self.steps, STEPS, false),
            ],
            command,
            environment: self.environment.iter().map(|(name, value)| (name.clone(), OsString::from(value))).collect(),
            directory: self.directory.clone(),
            limits: self.limits,
            level: self.level,
        }
    }
}

/// Empty directories for a room that belongs to no build. They go when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// Makes them below `parent`, reachable for nobody else.
    ///
    /// # Errors
    /// What the system says when a directory cannot be made or given away.
    pub fn create(parent: &Path) -> io::Result<Self> {
        let scratch = Self { directory: tempfile::Builder::new().prefix("conary-").tempdir_in(parent)? };
        for path in [scratch.build(), scratch.dest(), scratch.steps()] {
            DirBuilder::new().mode(0o755).create(&path)?;
            // The caller's umask is no business of the command's.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let (uid, gid) = sandbox::build_owner();
        for path in [scratch.build(), scratch.dest(), scratch.steps()] {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(scratch)
    }

    /// For `/build`.
    #[must_use]
    pub fn build(&self) -> PathBuf {
        self.directory.path().join("build")
    }

    /// For `/dest`.
    #[must_use]
    pub fn dest(&self) -> PathBuf {
        self.directory.path().join("dest")
    }

    /// For `/steps`.
    #[must_use]
    pub fn steps(&self) -> PathBuf {
        self.directory.path().join("steps")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A command may have left directories that even their owner cannot look into.
        open_up(&self.build());
        open_up(&self.dest());
    }
}

/// Makes directories searchable for their owner, following nothing. What cannot be opened stays, and is not removed.
fn open_up(directory: &Path) {
    let Ok(about) = fs::symlink_metadata(directory) else { return };
    if about.permissions().mode() & 0o700 != 0o700 {
        // A failure shows when it is removed.
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_goes_even_when_it_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(parent.path()).unwrap();
        let closed = scratch.build().join("a/b");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(closed.parent().unwrap(), fs::Permissions::from_mode(0o000)).unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
