// kitchen/src/classify.rs
//! Which component of a package a file belongs to: the first matching rule decides.
//!
//! The recipe's own globs come first, in the order of the recipe, then the rules below. Globs are
//! matched against the path with a leading `/`; `*` does not cross a `/`, `**` does. A recipe's glob
//! without a leading `/` may begin anywhere below the root.
//!
//! | component | default rule |
//! |---|---|
//! | `debuginfo` | `/usr/lib/debug/**` |
//! | `doc` | `/usr/share/{doc,man,info,gtk-doc}/**` |
//! | `devel` | headers, `*.a`, `*.la`, link-time `*.so`, pkg-config, CMake and aclocal files, `*-config` programs' pages |
//! | `config` | `/etc/**` |
//! | `lib` | shared libraries below `/usr/lib*` |
//! | `runtime` | everything else |

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use recipes::Recipe;
use store::{Node, Tree};

/// Default rules, in order.
const DEFAULTS: &[(&str, &str)] = &[
    ("debuginfo", "/usr/lib/debug/**"),
    ("doc", "/usr/share/{doc,man,info,gtk-doc}/**"),
    ("devel", "/usr/include/**"),
    ("devel", "/usr/{lib,lib64,lib/*-linux-*,share}/pkgconfig/**"),
    ("devel", "/usr/{lib,lib64,lib/*-linux-*,share}/cmake/**"),
    ("devel", "/usr/share/aclocal/**"),
    ("devel", "/usr/{lib,lib64,lib/*-linux-*}/*.{a,la,o}"),
    ("config", "/etc/**"),
    ("lib", "/usr/{lib,lib64,lib/*-linux-*}/*.so{,.*}"),
];

/// A glob that cannot be compiled. The recipe's loader has refused such a glob already.
#[derive(Debug, thiserror::Error)]
#[error("components: glob {glob:?} is not valid")]
pub struct ClassifyError {
    /// The glob's text.
    pub glob: String,
    /// What is wrong with it.
    pub source: globset::Error,
}

/// The rules of one recipe over the defaults, compiled.
pub struct Classifier {
    rules: Vec<(String, GlobMatcher)>,
    exclude: Vec<GlobMatcher>,
}

impl Classifier {
    /// Compiles the rules of `recipe` and puts the defaults behind them.
    ///
    /// # Errors
    /// [`ClassifyError`] for a glob that does not parse.
    pub fn new(recipe: &Recipe) -> Result<Self, ClassifyError> {
        let mut rules = Vec::new();
        for (component, globs) in &recipe.components.rules {
            for glob in globs {
                rules.push((component.clone(), matcher(glob)?));
            }
        }
        for (component, glob) in DEFAULTS {
            rules.push(((*component).to_owned(), matcher(glob)?));
        }
        let exclude = recipe.components.exclude.iter().map(|g| matcher(g)).collect::<Result<_, _>>()?;
        Ok(Self { rules, exclude })
    }

    /// Splits `tree` into components; `links` is consulted for what a link-time `.so` is.
    ///
    /// Every component's tree holds the directories above its files. A directory with nothing below it
    /// goes where its own path is matched, else to `runtime`. All names of a hard-linked file go where
    /// the first of them goes, for a link cannot cross packages.
    #[must_use]
    pub fn split(&self, tree: &Tree) -> BTreeMap<String, Tree> {
        let entries = tree.entries();
        let mut of_first: BTreeMap<&[u8], &str> = BTreeMap::new();
        let mut chosen: BTreeMap<&[u8], &str> = BTreeMap::new();
        for (position, entry) in entries.iter().enumerate() {
            if matches!(entry.node, Node::Directory) && has_children(entries, position) {
                continue;
            }
            let path = format!("/{}", String::from_utf8_lossy(&entry.path));
            if self.exclude.iter().any(|glob| glob.is_match(&path)) {
                continue;
            }
            let component = match &entry.node {
                Node::Hardlink { first } => {
                    of_first.get(first.as_slice()).copied().unwrap_or_else(|| self.component(&path, &entry.node))
                }
                _ => self.component(&path, &entry.node),
            };
            if matches!(entry.node, Node::File { .. }) {
                of_first.insert(&entry.path, component);
            }
            chosen.insert(&entry.path, component);
        }
        let mut names: Vec<&str> = chosen.values().copied().collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .map(|name| {
                let part = tree.subset(|entry| chosen.get(entry.path.as_slice()) == Some(&name));
                (name.to_owned(), part)
            })
            .collect()
    }

    /// The component of one path.
    fn component(&self, path: &str, node: &Node) -> &str {
        // A link `libz.so` to `libz.so.1` is for the linker; a plain file of that name is a library.
        if matches!(node, Node::Symlink { .. }) && path.as_bytes().ends_with(b".so") && is_library_directory(path) {
            let own = self.rules.iter().take(self.rules.len() - DEFAULTS.len());
            return own
                .clone()
                .find(|(_, glob)| glob.is_match(path))
                .map_or("devel", |(component, _)| component.as_str());
        }
        self.rules.iter().find(|(_, glob)| glob.is_match(path)).map_or("runtime", |(component, _)| component.as_str())
    }
}

/// True for a file directly in one of the directories that the loader searches.
fn is_library_directory(path: &str) -> bool {
    let Some((directory, _)) = path.rsplit_once('/') else { return false };
    directory == "/usr/lib"
        || directory == "/usr/lib64"
        || (directory.starts_with("/usr/lib/") && directory.contains("-linux-") && directory.matches('/').count() == 3)
}

/// True if the entry behind `position` lies below it. Entries are sorted bytewise, so a sibling such as
/// `a-b` may stand between `a` and `a/c`: look on until a name that cannot be below.
pub(crate) fn has_children(entries: &[store::Entry], position: usize) -> bool {
    let directory = &entries[position].path;
    entries[position + 1..]
        .iter()
        .take_while(|entry| entry.path.starts_with(directory))
        .any(|entry| entry.path.get(directory.len()) == Some(&b'/'))
}

/// Compiles one glob; without a leading `/` it may begin below any directory.
pub(crate) fn matcher(glob: &str) -> Result<GlobMatcher, ClassifyError> {
    let anchored = if glob.starts_with('/') { glob.to_owned() } else { format!("/**/{glob}") };
    GlobBuilder::new(&anchored)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|source| ClassifyError { glob: glob.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use recipes::Digest;
    use store::Entry;

    use super::*;

    fn entry(path: &str, node: Node) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            mode: if matches!(node, Node::Symlink { .. }) { 0o777 } else { 0o755 },
            owner: "root".to_owned(),
            group: "root".to_owned(),
            xattrs: BTreeMap::new(),
            node,
        }
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut entries = BTreeMap::new();
        for path in paths {
            let mut at = 0;
            while let Some(slash) = path[at..].find('/') {
                at += slash;
                entries.insert(path[..at].to_owned(), entry(&path[..at], Node::Directory));
                at += 1;
            }
            let node = if let Some(link) = path.strip_suffix('@') {
                entries.insert(link.to_owned(), entry(link, Node::Symlink { target: b"x".to_vec() }));
                continue;
            } else if path.ends_with('/') {
                continue;
            } else {
                Node::File { object: Digest::blake3([0; 32]), size: 0 }
            };
            entries.insert((*path).to_owned(), entry(path, node));
        }
        Tree::new(entries.into_values().collect()).unwrap()
    }

    fn recipe(components: &str) -> Recipe {
        let text = format!(
            "[package]\nname = \"x\"\nversion = \"1\"\n[build]\ninstall = \"true\"\n[components]\n{components}"
        );
        recipes::parse(&text, "recipe.toml").unwrap()
    }

    fn component_of(classifier: &Classifier, all: &Tree, path: &str) -> Option<String> {
        classifier.split(all).into_iter().find_map(|(name, part)| {
            let has = part.entries().iter().any(|e| e.path == path.as_bytes() && !matches!(e.node, Node::Directory));
            has.then_some(name)
        })
    }

    #[test]
    fn defaults() {
        let table = [
            ("usr/bin/hello", "runtime"),
            ("usr/lib/libz.so.1.3", "lib"),
            ("usr/lib/x86_64-linux-gnu/libz.so.1", "lib"),
            ("usr/lib/libz.so@", "devel"),
            ("usr/lib/libz.a", "devel"),
            ("usr/include/z/zlib.h", "devel"),
            ("usr/lib/pkgconfig/zlib.pc", "devel"),
            ("usr/share/man/man1/hello.1", "doc"),
            ("usr/share/doc/hello/README", "doc"),
            ("etc/hello.conf", "config"),
            ("usr/lib/hello/plugin.so", "runtime"),
            ("usr/lib/debug/x.debug", "debuginfo"),
        ];
        let all = tree(&table.map(|row| row.0));
        let classifier = Classifier::new(&recipe("")).unwrap();
        for (path, component) in table {
            let path = path.trim_end_matches('@');
            assert_eq!(component_of(&classifier, &all, path).as_deref(), Some(component), "{path}");
        }
    }

    #[test]
    fn the_recipe_comes_first_and_exclude_drops() {
        let all = tree(&["usr/bin/hello", "usr/bin/hello-config", "usr/share/info/dir"]);
        let rules = "devel = [\"/usr/bin/*-config\"]\nexclude = [\"/usr/share/info/dir\"]\n";
        let classifier = Classifier::new(&recipe(rules)).unwrap();
        assert_eq!(component_of(&classifier, &all, "usr/bin/hello-config").as_deref(), Some("devel"));
        assert_eq!(component_of(&classifier, &all, "usr/share/info/dir"), None);
        let plain = Classifier::new(&recipe("")).unwrap();
        assert_eq!(component_of(&plain, &all, "usr/share/info/dir").as_deref(), Some("doc"));
    }
}
