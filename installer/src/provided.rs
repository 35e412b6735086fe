// installer/src/provided.rs
//! What the files of a root give by themselves: sonames in library directories, pkg-config modules, paths.
//!
//! A scanned requirement is met by them although no trove says so, as in a root that something else filled.

use std::collections::HashSet;

use recipes::{Capability, Requirement};
use store::Tree;

use crate::beneath::{self, Beneath};

/// Where a dynamic linker looks by default; below each, also in directories named after a platform.
const LIBRARIES: [&str; 7] = ["lib", "lib64", "lib32", "usr/lib", "usr/lib64", "usr/lib32", "usr/local/lib"];

/// The files that a root has or will have.
#[derive(Debug)]
pub(crate) struct RootFiles<'a> {
    root: &'a Beneath,
    coming: HashSet<Vec<u8>>,
    libraries: Option<Vec<String>>,
}

impl<'a> RootFiles<'a> {
    /// Starts with what is on the disk, which is looked at when it is asked for.
    pub fn new(root: &'a Beneath) -> Self {
        Self { root, coming: HashSet::new(), libraries: None }
    }

    /// Counts the files of a tree.
    pub fn will_have(&mut self, tree: &Tree) {
        self.coming.extend(tree.entries().iter().map(|entry| entry.path.clone()));
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
        let merged = format!("usr/{path}");
        self.coming.contains(path.as_bytes())
            || self.root.exists_inside(path.as_bytes())
            // A root that is being filled may get the link `bin -> usr/bin` in this very changeset.
            || (self.coming.contains(merged.as_bytes()) && !path.starts_with("usr/"))
    }

    fn in_libraries(&mut self, name: &str) -> bool {
        let root = self.root;
        let libraries = self.libraries.get_or_insert_with(|| library_directories(root));
        let directories: Vec<String> =
            LIBRARIES.iter().map(|name| (*name).to_owned()).chain(libraries.iter().cloned()).collect();
        directories.iter().any(|directory| self.has(&format!("{directory}/{name}")))
    }
}

/// Returns the platform directories of the root, like `usr/lib/x86_64-linux-gnu`.
fn library_directories(root: &Beneath) -> Vec<String> {
    let mut found = Vec::new();
    for library in LIBRARIES {
        // A directory that is missing or closed to us has no libraries for us.
        let Ok(directory) = root.directory_inside(library.as_bytes()) else {
            continue;
        };
        for name in beneath::names(&directory).unwrap_or_default() {
            if let Ok(name) = String::from_utf8(name)
                && name.contains("-linux")
            {
                found.push(format!("{library}/{name}"));
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
