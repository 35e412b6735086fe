// kitchen/src/host.rs
//! The fingerprint of the host's part of a build root.
//!
//! In default isolation a build sees the host's `/usr`, read-only. What it is made of is written down as
//! listings, each kept in the store as an object, so that a later miss can name the package that
//! changed:
//!
//! - `packages`: a line `name version` for every installed package, from the first database found: dpkg,
//!   pacman, rpm, apk. Without any, a line for every file below `/usr` with its size and times.
//! - `links`: where the links at the root point, `/lib` and its like.
//! - `alternatives`: where the links in `/etc/alternatives` point.
//! - `loader-cache`: the content of `/etc/ld.so.cache`.
//!
//! A listing is made once and remembered by the device, inode, size and times of what it was made from: of the
//! database's file, or of the directory of links, whose times change with each of them. A file that somebody put below `/usr` by hand, on a host with a package database, is not seen:
//! docs/shortcomings.md says so.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use recipes::Digest;
use store::{StatFingerprint, Store, StoreError};

use crate::key::{InputKind, Inputs};

/// Why the host could not be fingerprinted.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file that describes the host could not be read.
    #[error("cannot read {path}, which describes this host's toolchain")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A listing could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HostError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => Some("make it readable for the user who cooks".to_owned()),
            Self::Store(error) => error.hint(),
        }
    }
}

/// Where a host keeps what it is made of. Another root than `/` serves tests.
#[derive(Debug, Clone)]
pub struct Host {
    root: PathBuf,
}

/// One package database that can be listed.
struct Database {
    file: &'static str,
    list: fn(&Path) -> std::io::Result<String>,
}

/// Where a host chooses between programs of one purpose.
const ALTERNATIVES: &str = "etc/alternatives";

const DATABASES: [Database; 4] = [
    Database { file: "var/lib/dpkg/status", list: list_dpkg },
    Database { file: "var/lib/pacman/local", list: list_directory },
    Database { file: "usr/lib/sysimage/rpm/rpmdb.sqlite", list: list_opaque },
    Database { file: "lib/apk/db/installed", list: list_apk },
];

impl Host {
    /// The host whose root directory is `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Adds the host's listings to `inputs`, keeping each in `store`.
    ///
    /// # Errors
    /// [`HostError::Read`] if a listing's source cannot be read; [`HostError::Store`] if it cannot be kept.
    pub fn fingerprint(&self, store: &Store, inputs: &mut Inputs) -> Result<(), HostError> {
        let packages = match DATABASES.iter().find(|d| self.root.join(d.file).exists()) {
            Some(database) => self.remembered(store, Path::new(database.file), database.list)?,
            None => store.put_bytes(self.walk_usr()?.as_bytes())?,
        };
        inputs.add(InputKind::Host, "packages", packages.to_string());
        let links = list_links(&self.root).map_err(|source| HostError::Read { path: self.root.clone(), source })?;
        inputs.add(InputKind::Host, "links", keep(store, &links)?.to_string());
        if self.root.join(ALTERNATIVES).exists() {
            let alternatives = self.remembered(store, Path::new(ALTERNATIVES), list_links)?;
            inputs.add(InputKind::Host, "alternatives", alternatives.to_string());
        }
        if self.root.join("etc/ld.so.cache").exists() {
            let cache = self.remembered(store, Path::new("etc/ld.so.cache"), list_opaque)?;
            inputs.add(InputKind::Host, "loader-cache", cache.to_string());
        }
        Ok(())
    }

    /// The listing of one file or directory, made again only when its times, size or place changed.
    fn remembered(
        &self,
        store: &Store,
        file: &Path,
        list: fn(&Path) -> std::io::Result<String>,
    ) -> Result<Digest, HostError> {
        let path = self.root.join(file);
        let read = |source| HostError::Read { path: path.clone(), source };
        let now = StatFingerprint::of(&fs::metadata(&path).map_err(read)?);
        if let Some(known) = store.cached_stat(&path, &now)?
            && store.has(&known)?
        {
            return Ok(known);
        }
        let listing = list(&path).map_err(read)?;
        let digest = store.put_bytes(listing.as_bytes())?;
        store.remember_stat(&path, &now, &digest)?;
        Ok(digest)
    }

    /// A line for every file below `/usr`, for hosts without a package database.
    fn walk_usr(&self) -> Result<String, HostError> {
        let mut lines = Vec::new();
        let mut waiting = vec![self.root.join("usr")];
        while let Some(directory) = waiting.pop() {
            let entries =
                fs::read_dir(&directory).map_err(|source| HostError::Read { path: directory.clone(), source })?;
            for entry in entries.flatten() {
                let path = entry.path();
                let Ok(about) = entry.metadata() else { continue };
                if about.is_dir() {
                    if path.strip_prefix(&self.root).is_ok_and(|p| p != Path::new("usr/local")) {
                        waiting.push(path);
                    }
                    continue;
                }
                lines.push(format!(
                    "{} {} {} {}\n",
                    path.strip_prefix(&self.root).unwrap_or(&path).display(),
                    about.len(),
                    about.mtime(),
                    about.mtime_nsec()
                ));
            }
        }
        lines.sort_unstable();
        Ok(lines.concat())
    }
}

/// Installed packages of a dpkg status file, `name:architecture version` a line, sorted.
fn list_dpkg(status: &Path) -> std::io::Result<String> {
    let text = String::from_utf8_lossy(&fs::read(status)?).into_owned();
    let mut lines = Vec::new();
    for paragraph in text.split("\n\n") {
        let (mut name, mut version, mut arch, mut installed) = ("", "", "", false);
        for line in paragraph.lines() {
            if let Some(value) = line.strip_prefix("Package: ") {
                name = value;
            } else if let Some(value) = line.strip_prefix("Version: ") {
                version = value;
            } else if let Some(value) = line.strip_prefix("Architecture: ") {
                arch = value;
            } else if let Some(value) = line.strip_prefix("Status: ") {
                installed = value.ends_with(" installed");
            }
        }
        if installed {
            lines.push(format!("{name}:{arch} {version}\n"));
        }
    }
    lines.sort_unstable();
    Ok(lines.concat())
}

/// Installed packages of an apk database, `name version` a line, sorted.
fn list_apk(installed: &Path) -> std::io::Result<String> {
    let text = String::from_utf8_lossy(&fs::read(installed)?).into_owned();
    let mut lines = Vec::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("P:") {
            name = value;
        } else if let Some(value) = line.strip_prefix("V:") {
            lines.push(format!("{name} {value}\n"));
        }
    }
    lines.sort_unstable();
    Ok(lines.concat())
}

/// The links in a directory and where they point, one a line, sorted.
fn list_links(directory: &Path) -> std::io::Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_symlink())
            && let Ok(target) = fs::read_link(entry.path())
        {
            lines.push(format!("{} {}\n", entry.file_name().to_string_lossy(), target.to_string_lossy()));
        }
    }
    lines.sort_unstable();
    Ok(lines.concat())
}

/// Keeps a listing as an object, unless the store has it.
fn keep(store: &Store, listing: &str) -> Result<Digest, StoreError> {
    let digest = Digest::blake3(*blake3::hash(listing.as_bytes()).as_bytes());
    if store.has(&digest)? { Ok(digest) } else { store.put_bytes(listing.as_bytes()) }
}

/// The names in a directory, one a line, sorted: pacman names a package's directory by name and version.
fn list_directory(directory: &Path) -> std::io::Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory)? {
        lines.push(format!("{}\n", entry?.file_name().to_string_lossy()));
    }
    lines.sort_unstable();
    Ok(lines.concat())
}

/// One line with the digest of a file whose inside is not read.
fn list_opaque(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let digest = blake3::hash(&fs::read(file)?);
    let _ = writeln!(text, "content blake3:{digest}");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: gcc-12\nStatus: install ok installed\nArchitecture: amd64\nVersion: 12.2.0-14\nDescription: x\n more\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n\
        Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n";

    #[test]
    fn dpkg_lists_what_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("status");
        fs::write(&file, STATUS).unwrap();
        assert_eq!(list_dpkg(&file).unwrap(), "bash:amd64 5.2\ngcc-12:amd64 12.2.0-14\n");
    }

    #[test]
    fn an_upgraded_compiler_is_another_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), &store::OpenOptions::default()).unwrap();
        let root = dir.path().join("host");
        fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
        fs::write(root.join("var/lib/dpkg/status"), STATUS).unwrap();
        let take = || {
            let mut inputs = Inputs::default();
            Host::at(&root).fingerprint(&store, &mut inputs).unwrap();
            inputs.key()
        };
        let before = take();
        assert_eq!(take(), before);
        fs::write(root.join("var/lib/dpkg/status"), STATUS.replace("12.2.0-14", "12.2.0-15")).unwrap();
        assert_ne!(take(), before);
    }

    #[test]
    fn without_a_database_every_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        fs::write(dir.path().join("usr/bin/cc"), "x").unwrap();
        let host = Host::at(dir.path());
        let before = host.walk_usr().unwrap();
        fs::write(dir.path().join("usr/bin/cc"), "xy").unwrap();
        assert_ne!(host.walk_usr().unwrap(), before);
    }
}
