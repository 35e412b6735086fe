// installer/src/provided.rs
//! What the files of a root give by themselves: sonames in library directories, pkg-config modules, paths.
//!
//! A scanned requirement is met by them although no trove says so, as in a root that something else filled.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use recipes::{Capability, Requirement};
use store::Tree;

use crate::beneath::{self, Beneath};

/// Where a dynamic linker looks by default; below each, also in directories named after a platform.
const LIBRARIES: [&str; 7] = ["lib", "lib64", "lib32", "usr/lib", "usr/lib64", "usr/lib32", "usr/local/lib"];

/// The files that a root has or will have.
#[derive(Debug)]
pub(crate) struct RootFiles<'a> {
    root: &'a Beneath,
    coming: Vec<Arc<Tree>>,
    /// Hashes of all their paths: most of what is asked for is in none of the trees.
    hashes: HashSet<u64>,
    hasher: RandomState,
    libraries: Option<Vec<Library>>,
}

/// A directory of libraries.
#[derive(Debug)]
struct Library {
    path: String,
    /// Whether the root has it by now; otherwise there is nothing in it to look for.
    is_here: bool,
}

impl<'a> RootFiles<'a> {
    /// Starts with what is on the disk, which is looked at when it is asked for.
    pub fn new(root: &'a Beneath) -> Self {
        Self { root, coming: Vec::new(), hashes: HashSet::new(), hasher: RandomState::new(), libraries: None }
    }

    /// Counts the files of a tree.
    pub fn will_have(&mut self, tree: Arc<Tree>) {
        let hasher = &self.hasher;
        self.hashes.extend(tree.entries().iter().map(|entry| hasher.hash_one(entry.path.as_slice())));
        self.coming.push(tree);
    }

    /// Whether a file meets a requirement.
    pub fn meets(&mut self, requirement: &Requirement) -> bool {
        requirement.alternatives.iter().any(|wanted| match wanted {
            Capability::Path { path } => self.has(path.trim_start_matches('/')),
            Capability::Soname { name } => self.in_libraries(name),
            Capability::PkgConfig { module, constraint: None } => {
                let file = format!("pkgconfig/{module}.pc");
                self.in_libraries(&file) || self.has(&format!("usr/share/{file}"))
            }
            Capability::Package { .. } | Capability::PkgConfig { .. } => false,
        })
    }

    fn has(&self, path: &str) -> bool {
        self.is_coming(path) || self.root.exists_inside(path.as_bytes())
    }

    fn is_coming(&self, path: &str) -> bool {
        // A root that is being filled may get the link `bin -> usr/bin` in this very changeset.
        let is_coming = |path: &[u8]| {
            self.hashes.contains(&self.hasher.hash_one(path)) && self.coming.iter().any(|tree| tree.get(path).is_some())
        };
        let merged = || !path.starts_with("usr/") && is_coming(format!("usr/{path}").as_bytes());
        is_coming(path.as_bytes()) || merged()
    }

    fn in_libraries(&mut self, name: &str) -> bool {
        let libraries = self.libraries.take().unwrap_or_else(|| library_directories(self.root));
        let found = libraries.iter().any(|library| {
            let path = format!("{}/{name}", library.path);
            if library.is_here { self.has(&path) } else { self.is_coming(&path) }
        });
        self.libraries = Some(libraries);
        found
    }
}

/// Returns the directories of libraries: the usual ones, and those of the root that are named after a platform, like
/// `usr/lib/x86_64-linux-gnu`.
fn library_directories(root: &Beneath) -> Vec<Library> {
    let usual = |path: &&str| Library { path: (*path).to_owned(), is_here: root.exists_inside(path.as_bytes()) };
    let mut found: Vec<Library> = LIBRARIES.iter().map(usual).collect();
    for library in LIBRARIES {
        // A directory that is missing or closed to us has no libraries for us.
        let Ok(directory) = root.directory_inside(library.as_bytes()) else {
            continue;
        };
        for name in beneath::names(&directory).unwrap_or_default() {
            if let Ok(name) = String::from_utf8(name)
                && name.contains("-linux")
            {
                found.push(Library { path: format!("{library}/{name}"), is_here: true });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_of_the_root_meet_what_was_scanned() {
        let root = tempfile::tempdir().unwrap();
        for file in
            ["usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/pkgconfig/a.pc", "usr/bin/sh", "usr/lib/private/libp.so"]
        {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, b"").unwrap();
        }
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        let beneath = Beneath::open(root.path()).unwrap();
        let mut files = RootFiles::new(&beneath);
        for (text, met) in [
            ("soname(libc.so.6)", true),
            ("soname(libp.so)", false),
            ("/bin/sh", true),
            ("/usr/bin/sh", true),
            ("/bin/nothing", false),
            ("pkgconfig(a)", true),
            ("pkgconfig(a) >= 1", false),
            ("libc", false),
            ("libc | /bin/sh", true),
        ] {
            assert_eq!(files.meets(&text.parse().unwrap()), met, "{text}");
        }
    }
}
